/* What several commands need. SPDX-License-Identifier: GPL-2.0-or-later */
#include "img/common.h"

#include "base/int-math.h"
#include "gbase/error.h"
#include "gbase/size.h"
#include "gbase/strutil.h"

#include <stdio.h>
#include <string.h>

BlockObjects *img_objects(const ImgArgs *args, GError **error)
{
    g_autoptr(BlockObjects) objects = block_objects_new();
    const char *option, *value;
    for (unsigned i = 0; img_args_given(args, i, &option, &value); i++) {
        if (g_strcmp0(option, "object") == 0 && !block_objects_add(objects, value, error)) {
            return NULL;
        }
    }
    return g_steal_pointer(&objects);
}

bool img_common_options(const ImgArgs *args)
{
    GError *error = NULL;
    g_autoptr(BlockObjects) objects = img_objects(args, &error);
    if (!objects) {
        img_fail(error);
    }
    return objects != NULL;
}

bool img_cache_flags(const char *mode, unsigned *out_flags)
{
    static const struct {
        const char *name;
        unsigned flags;
    } modes[] = {
        { "none", BLOCK_OPEN_DIRECT },
        { "off", BLOCK_OPEN_DIRECT },
        { "writeback", 0 },
        { "writethrough", 0 },
        { "unsafe", BLOCK_OPEN_NO_FLUSH },
        { "directsync", BLOCK_OPEN_DIRECT },
    };
    *out_flags = 0;
    for (unsigned i = 0; mode && i < G_N_ELEMENTS(modes); i++) {
        if (strcmp(modes[i].name, mode) == 0) {
            *out_flags = modes[i].flags;
            return true;
        }
    }
    if (mode) {
        img_error("Invalid cache option: %s", mode);
    }
    return !mode;
}

bool img_cache_is_through(const char *mode)
{
    return mode && (strcmp(mode, "writethrough") == 0 || strcmp(mode, "directsync") == 0);
}

/* What is written to a raw disk could make it look like another format the next time. */
static void warn_of_guess(const BlockNode *node)
{
    if (block_node_was_probed(node) && block_node_is_writable(node) &&
        strcmp(block_node_driver(node), "raw") == 0) {
        fprintf(stderr,
                "lodge-img: warning: the format of '%s' was guessed to be raw; nothing can be "
                "written to its begin that looks like another format. Say -f raw to avoid that.\n",
                block_node_filename(node));
    }
}

BlockNode *img_open_unshared(const ImgArgs *args, const char *name, const char *format,
                             unsigned flags, GError **error)
{
    g_autoptr(BlockSpec) spec = NULL;
    bool has_options = img_args_flag(args, "image-opts");
    if (has_options && format) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "--image-opts and --format are mutually exclusive");
        return NULL;
    }
    if (format && !block_format_is_known(format)) {
        g_autofree const char **formats = block_formats();
        g_autofree char *hint = str_suggestion(format, formats);
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Could not open '%s': Unknown driver '%s'%s", name, format, hint);
        return NULL;
    }
    spec =
        has_options ? block_spec_from_text(name, error) : block_spec_from_name(name, format, error);
    g_autoptr(BlockObjects) objects = spec ? img_objects(args, error) : NULL;
    if (objects) {
        block_spec_set_objects(spec, objects);
    }
    BlockNode *node = objects ? block_open(spec, flags, error) : NULL;
    g_autofree char *prefix = g_strdup_printf("Could not open '%s': ", name);
    if (!node && error && *error && !g_str_has_prefix((*error)->message, prefix)) {
        g_prefix_error(error, "%s", prefix);
    }
    if (node) {
        warn_of_guess(node);
    }
    return node;
}

BlockNode *img_open(const ImgArgs *args, const char *name, const char *format, unsigned flags,
                    GError **error)
{
    if (img_args_flag(args, "force-share") && (flags & BLOCK_OPEN_WRITABLE)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Could not open '%s': -U is for reading what others write; this command would "
                    "write to it",
                    name);
        return NULL;
    }
    flags |= img_args_flag(args, "force-share") ? BLOCK_OPEN_SHARED : 0;
    return img_open_unshared(args, name, format, flags, error);
}

BlockNode *img_open_or_report(const ImgArgs *args, const char *name, const char *format,
                              unsigned flags)
{
    GError *error = NULL;
    BlockNode *node = img_open(args, name, format, flags, &error);
    if (!node) {
        img_fail(error);
    }
    return node;
}

bool img_parse_size(const char *text, uint64_t *out_bytes, GError **error)
{
    if (!size_parse(text, 1, out_bytes, NULL) || *out_bytes > INT64_MAX) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Invalid image size specified '%s': a number with an optional suffix k, M, G, "
                    "T, P or E, at most 8 EiB - 1",
                    text);
        return false;
    }
    return true;
}

bool img_load_snapshot(BlockNode *node, const char *text, GError **error)
{
    g_autoptr(BlockSpec) spec = NULL;
    if (g_str_has_prefix(text, "snapshot.")) {
        spec = block_spec_from_text(text, error);
        if (!spec) {
            return false;
        }
        const char *name = block_spec_get(spec, "snapshot.name");
        text = name ? name : block_spec_get(spec, "snapshot.id");
    }
    if (!text) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "-l names no snapshot: give snapshot.id or snapshot.name");
        return false;
    }
    if (!block_snapshot_load(node, text, error)) {
        g_prefix_error(error, "Failed to load snapshot: ");
        return false;
    }
    return true;
}

/* "a,b=c" becomes "a=on,b=c"; ",," inside a value stays. */
static char *complete_flags(const char *text)
{
    GString *whole = g_string_new(NULL);
    while (*text) {
        size_t length = 0;
        bool has_value = false;
        for (; text[length] && (text[length] != ',' || text[length + 1] == ','); length++) {
            has_value |= text[length] == '=';
            length += text[length] == ',';
        }
        g_string_append_len(whole, text, (gssize)length);
        g_string_append(whole, length && !has_value ? "=on" : "");
        text += length;
        if (*text) {
            g_string_append_c(whole, *text++);
        }
    }
    return g_string_free(whole, FALSE);
}

BlockSpec *img_options(const char *text, GError **error)
{
    if (text && (!*text || *text == ',')) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Invalid option list: '%s'; -o takes NAME=VALUE,... and lists all by -o help",
                    text);
        return NULL;
    }
    g_autofree char *whole = complete_flags(text ? text : "");
    return block_spec_from_text(whole, error);
}

BlockSpec *img_options_with_objects(const ImgArgs *args, const char *text, GError **error)
{
    g_autoptr(BlockSpec) options = img_options(text, error);
    g_autoptr(BlockObjects) objects = options ? img_objects(args, error) : NULL;
    if (!objects) {
        return NULL;
    }
    block_spec_set_objects(options, objects);
    return g_steal_pointer(&options);
}

bool img_wants_options_help(const char *text)
{
    g_auto(GStrv) words = g_strsplit(text ? text : "", ",", -1);
    return g_strv_contains((const char *const *)words, "help") ||
           g_strv_contains((const char *const *)words, "?");
}

static bool has_amendable(const BlockCreateOption *options)
{
    while (options->name && !options->can_amend) {
        options++;
    }
    return options->name != NULL;
}

int img_print_options(const char *format, bool is_amend)
{
    static const char *const kinds[] = { "size", "str", "bool (on/off)", "num" };
    const BlockCreateOption *options = block_create_options(format);
    if (!options) {
        img_error("Format driver '%s' does not support image creation", format);
        return 1;
    }
    if (is_amend && !has_amendable(options)) {
        img_error("Format driver '%s' does not support option amendment", format);
        return 1;
    }
    printf(is_amend ? "Amend options for '%s':\n" : "Supported %s options:\n", format);
    for (; options->name; options++) {
        if (is_amend ? !options->can_amend : options->is_amend_only) {
            continue;
        }
        g_autofree char *left = g_strdup_printf("%s=<%s>", options->name, kinds[options->kind]);
        printf("  %-22s - %s\n", left, options->help);
    }
    return 0;
}

typedef struct OptionCheck {
    const BlockCreateOption *known;
    const char *format;
    bool is_amend;
    GError *error;
} OptionCheck;

static void check_option(const char *key, const char *value, void *opaque)
{
    OptionCheck *check = opaque;
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    if (check->error) {
        return;
    }
    for (const BlockCreateOption *o = check->known; o->name; o++) {
        bool fits = check->is_amend ? o->can_amend : !o->is_amend_only;
        if (fits && strcmp(o->name, key) == 0) {
            return;
        }
        if (fits) {
            g_ptr_array_add(names, (char *)o->name);
        }
    }
    g_ptr_array_add(names, NULL);
    g_autofree char *hint = str_suggestion(key, (const char *const *)names->pdata);
    check->error = g_error_new(LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                               check->is_amend ? "Invalid option '%s' for amending a %s image%s"
                                               : "Invalid parameter '%s' for format '%s'%s",
                               key, check->format, hint);
}

bool img_check_options(const char *format, const BlockSpec *options, bool is_amend, GError **error)
{
    OptionCheck check = { .known = block_create_options(format),
                          .format = format,
                          .is_amend = is_amend };
    if (!check.known && block_format_is_known(format)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "Format driver '%s' does not support image creation", format);
        return false;
    }
    if (!check.known) {
        g_autofree const char **formats = block_formats();
        g_autofree char *hint = str_suggestion(format, formats);
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "Unknown file format '%s'%s",
                    format, hint);
        return false;
    }
    block_spec_foreach(options, check_option, &check);
    if (check.error) {
        g_propagate_error(error, check.error);
        return false;
    }
    return true;
}

int img_next_status(BlockNode *node, BlockNode *base, uint64_t offset, uint64_t limit,
                    BlockStatus *out_status)
{
    BlockNode *layer;
    unsigned depth;
    const unsigned mask = BLOCK_STATUS_DATA | BLOCK_STATUS_ZERO | BLOCK_STATUS_ALLOCATED;
    int result = block_status_chain(node, base, offset, limit, out_status, &layer, &depth);
    if (result < 0) {
        return result;
    }
    while (out_status->length > 0 && out_status->length < limit) {
        BlockStatus more;
        /* A failure there is told when it is asked for by itself. */
        result = block_status_chain(node, base, offset + out_status->length,
                                    limit - out_status->length, &more, &layer, &depth);
        if (result < 0 || !more.length || ((more.flags ^ out_status->flags) & mask)) {
            break;
        }
        out_status->length += more.length;
    }
    return 0;
}
