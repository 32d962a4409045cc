/* lodge-img create. SPDX-License-Identifier: GPL-2.0-or-later */
#include "img/commands.h"
#include "img/common.h"
#include "img/target.h"

#include "base/fd.h"
#include "gbase/error.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

const ImgOption img_create_options[] = {
    { 'f', NULL, "fmt", "format of the image to create (raw if not given)" },
    { 'o', NULL, "options", "options of the format: name=value,...; -o help lists them" },
    { 'b', NULL, "backing_file", "the image is a layer over this one" },
    { 'F', NULL, "backing_fmt", "format of the backing file" },
    { 'u', NULL, NULL, "do not open the backing file (needs a size)" },
    IMG_OPTION_QUIET,
    IMG_OPTION_OBJECT,
    IMG_OPTIONS_END,
};

/* False with @error: the new image would take the place of what it is to show. */
static bool keeps_file(const char *filename, const char *layer, GError **error)
{
    if (!fd_is_same_path(filename, layer)) {
        return true;
    }
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                "Trying to create an image with the same filename as the backing file '%s': its "
                "content would be lost",
                layer);
    return false;
}

static bool keeps_chain(const char *filename, const BlockNode *node, GError **error)
{
    for (; node; node = block_node_backing(node)) {
        const BlockNode *data = block_node_data_file(node);
        if (!keeps_file(filename, block_node_filename(node), error) ||
            (data && !keeps_file(filename, block_node_filename(data), error))) {
            return false;
        }
    }
    return true;
}

/* The size of the backing file, for images made without one; checks that it can be opened. */
static bool use_backing(const ImgArgs *args, BlockSpec *options, const char *filename,
                        GError **error)
{
    const char *backing = block_spec_get(options, "backing_file");
    const char *format = block_spec_get(options, "backing_fmt");
    if (!backing) {
        return true;
    }
    if (!format) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "backing file specified without backing format; say its format with -F");
        return false;
    }
    g_autofree char *path = block_backing_path(filename, backing);
    if (!keeps_file(filename, path, error)) {
        return false;
    }
    if (img_args_flag(args, "u")) {
        return true;
    }
    g_autoptr(BlockSpec) spec = block_spec_from_name(path, format, error);
    if (spec) {
        block_spec_set_objects(spec, block_spec_objects(options));
    }
    g_autoptr(BlockNode) node = spec ? block_open(spec, 0, error) : NULL;
    if (!node) {
        g_prefix_error(error, "Could not open backing file: ");
        return false;
    }
    const char *data = block_spec_get(options, "data_file");
    g_autofree char *data_path = data ? block_backing_path(filename, data) : NULL;
    if (!keeps_chain(filename, node, error) || (data && !keeps_chain(data_path, node, error))) {
        return false;
    }
    if (!block_spec_get(options, "size")) {
        g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, block_node_size(node));
        block_spec_set(options, "size", text);
    }
    return true;
}

/* "Formatting 'a.qcow2', fmt=qcow2 cluster_size=65536 ...": what was given and what goes without
 * saying, in the format's order. */
static void print_creation(const char *filename, const char *format, const BlockSpec *options)
{
    printf("Formatting '%s', fmt=%s", filename, format);
    for (const BlockCreateOption *o = block_create_options(format); o->name; o++) {
        const char *value = block_spec_get(options, o->name);
        uint64_t bytes;
        if (value && o->kind == BLOCK_OPTION_SIZE &&
            block_spec_get_size(options, o->name, &bytes, NULL)) {
            printf(" %s=%" PRIu64, o->name, bytes);
        } else if (value || o->standard) {
            printf(" %s=%s", o->name, value ? value : o->standard);
        }
    }
    putchar('\n');
}

static bool fill_options(const ImgArgs *args, BlockSpec *options, GError **error)
{
    const char *size = img_args_operand(args, 1);
    uint64_t bytes;
    if (img_args_flag(args, "b")) {
        block_spec_set(options, "backing_file", img_args_value(args, "b"));
    }
    if (img_args_flag(args, "F")) {
        block_spec_set(options, "backing_fmt", img_args_value(args, "F"));
    }
    if (size && block_spec_get(options, "size")) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "The image size must be specified only once: as SIZE or as -o size=SIZE");
        return false;
    }
    if (size) {
        if (!img_parse_size(size, &bytes, error)) {
            return false;
        }
        g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, bytes);
        block_spec_set(options, "size", text);
    }
    return true;
}

int img_create(const ImgArgs *args)
{
    GError *error = NULL;
    const char *format = img_args_value(args, "f");
    g_autofree char *text = img_args_joined(args, "o");
    format = format ? format : "raw";
    if (img_wants_options_help(text)) {
        return img_print_options(format, false);
    }
    if (!img_common_options(args) || !img_args_count(args, 1, 2, "image file name")) {
        return 1;
    }
    const char *filename = img_args_operand(args, 0);
    g_autoptr(BlockSpec) options = img_options_with_objects(args, text, &error);
    if (!options || !fill_options(args, options, &error) ||
        !img_check_options(format, options, false, &error) ||
        !use_backing(args, options, filename, &error)) {
        g_prefix_error(&error, "%s: ", filename);
        return img_fail(error);
    }
    if (!block_spec_get(options, "size")) {
        img_error("%s: Image creation needs a size parameter", filename);
        return 1;
    }
    if (!img_args_flag(args, "q")) {
        print_creation(filename, format, options);
    }
    ImgTarget files = { 0 };
    img_target_begin(&files, format, filename, options);
    bool ok = block_create(format, filename, options, &error);
    if (!ok) {
        g_prefix_error(&error, "%s: ", filename);
    }
    img_target_end(&files, ok, &error);
    return ok ? 0 : img_fail(error);
}
