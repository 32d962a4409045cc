/* lodge-img resize and amend. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/int-math.h"
#include "img/commands.h"
#include "img/common.h"
#include "img/progress.h"

#include <inttypes.h>
#include <stdio.h>

const ImgOption img_resize_options[] = {
    IMG_OPTION_FORMAT,
    { 0, "preallocation", "prealloc", "of what is added: off, metadata, falloc, full" },
    { 0, "shrink", NULL, "allow a smaller size; what is behind it is lost" },
    IMG_OPTION_QUIET,
    IMG_OPTION_OBJECT,
    IMG_OPTION_IMAGE_OPTS,
    IMG_OPTIONS_END,
};

const ImgOption img_amend_options[] = {
    { 'o', NULL, "options", "what to change; -o help lists what the format can" },
    IMG_OPTION_FORMAT,
    IMG_OPTION_CACHE,
    IMG_OPTION_PROGRESS,
    IMG_OPTION_QUIET,
    { 0, "force", NULL, "also what may lose access to the data" },
    IMG_OPTION_OBJECT,
    IMG_OPTION_IMAGE_OPTS,
    IMG_OPTIONS_END,
};

/* @text: "4G", "+1G" or "-1G" of @now. False: reported. */
static bool new_size(const char *text, uint64_t now, uint64_t *out_size)
{
    GError *error = NULL;
    int sign = text[0] == '+' ? 1 : text[0] == '-' ? -1 : 0;
    uint64_t bytes;
    if (!img_parse_size(text + (sign != 0), &bytes, &error)) {
        img_fail(error);
        return false;
    }
    if ((sign < 0 && bytes >= now) || (sign > 0 && bytes > INT64_MAX - now) ||
        (sign == 0 && bytes == 0)) {
        img_error("New image size must be positive");
        return false;
    }
    *out_size = sign > 0 ? now + bytes : sign < 0 ? now - bytes : bytes;
    return true;
}

static int resize(BlockNode *node, const ImgArgs *args, BlockPreallocation mode)
{
    uint64_t now = block_node_size(node), wanted;
    GError *error = NULL;
    if (!new_size(img_args_operand(args, 1), now, &wanted)) {
        return 1;
    }
    if (wanted <= now && mode != BLOCK_PREALLOCATION_OFF) {
        img_error("'%s': Preallocation can only be used for growing images",
                  block_node_filename(node));
        return 1;
    }
    if (wanted < now && !img_args_flag(args, "shrink")) {
        img_error("'%s' has %" PRIu64
                  " bytes: Use the --shrink option to perform a shrink operation.\n"
                  "warning: Shrinking an image will delete all data beyond the shrunken image's "
                  "end. Before performing such an operation, make sure there is no important data "
                  "there.",
                  block_node_filename(node), now);
        return 1;
    }
    if (!block_truncate(node, wanted, mode, &error)) {
        return img_fail(error);
    }
    if (block_node_size(node) > round_up(wanted, 512)) {
        img_error("Cannot resize device files: '%s' has %" PRIu64 " bytes",
                  block_node_filename(node), block_node_size(node));
        return 1;
    }
    int result = block_flush(node);
    if (result < 0) {
        img_error("cannot flush '%s': %s", block_node_filename(node), g_strerror(-result));
        return 1;
    }
    if (!img_args_flag(args, "q")) {
        printf("Image resized.\n");
    }
    return 0;
}

int img_resize(const ImgArgs *args)
{
    GError *error = NULL;
    const char *text = img_args_value(args, "preallocation");
    BlockPreallocation mode = BLOCK_PREALLOCATION_OFF;
    if (text && !block_preallocation_parse(text, &mode, &error)) {
        return img_fail(error);
    }
    /* "-1G" looks like an option; it is the last word. */
    if (!img_common_options(args) || !img_args_count(args, 2, 2, "image file name and size")) {
        return 1;
    }
    g_autoptr(BlockNode) node = img_open_or_report(args, img_args_operand(args, 0),
                                                   img_args_value(args, "f"), BLOCK_OPEN_WRITABLE);
    return node ? resize(node, args, mode) : 1;
}

int img_amend(const ImgArgs *args)
{
    GError *error = NULL;
    unsigned flags;
    g_autofree char *text = img_args_joined(args, "o");
    const char *format = img_args_value(args, "f");
    if (!text) {
        img_error("Must specify options (-o)");
        return 1;
    }
    bool wants_help = img_wants_options_help(text);
    if (format && wants_help) {
        return img_print_options(format, true);
    }
    if (!img_common_options(args) || !img_cache_flags(img_args_value(args, "t"), &flags) ||
        !img_args_count(args, 1, 1, "one image file name")) {
        return 1;
    }
    if (wants_help) {
        flags |= BLOCK_OPEN_NO_BACKING | BLOCK_OPEN_NO_DATA;
    } else {
        flags |= BLOCK_OPEN_WRITABLE;
    }
    g_autoptr(BlockNode) node = img_open_or_report(args, img_args_operand(args, 0), format, flags);
    if (!node || wants_help) {
        return node ? img_print_options(block_node_driver(node), true) : 1;
    }
    g_autoptr(BlockSpec) options = img_options_with_objects(args, text, &error);
    if (!options) {
        return img_fail(error);
    }
    ImgProgress progress;
    img_progress_init(&progress, img_args_flag(args, "p") && !img_args_flag(args, "q"), 1);
    bool ok = img_check_options(block_node_driver(node), options, true, &error) &&
              block_amend(node, options, img_args_flag(args, "force"), &error);
    img_progress_end(&progress, ok);
    return ok ? 0 : img_fail(error);
}
