/* lodge-img dd. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "base/int-math.h"
#include "gbase/error.h"
#include "gbase/size.h"
#include "gbase/strutil.h"
#include "img/commands.h"
#include "img/common.h"
#include "img/target.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BLOCK_BYTES_MAX (64 * MIB)

const ImgOption img_dd_options[] = {
    IMG_OPTION_FORMAT,     { 'O', NULL, "output_fmt", "format of the output (raw if not given)" },
    IMG_OPTION_SHARE,      IMG_OPTION_OBJECT,
    IMG_OPTION_IMAGE_OPTS, IMG_OPTIONS_END,
};

typedef struct Copy {
    const char *input, *output;
    uint64_t block, count, skip; /* bytes, blocks, blocks */
} Copy;

static bool parse_operand(const char *word, Copy *copy, GError **error)
{
    static const char *const names[] = { "bs", "count", "if", "of", "skip", NULL };
    const char *equals = strchr(word, '=');
    g_autofree char *name = g_strndup(word, equals ? (size_t)(equals - word) : strlen(word));
    const char *value = equals ? equals + 1 : "";
    if (!equals || !g_strv_contains(names, name)) {
        g_autofree char *hint = str_suggestion(name, names);
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "invalid operand %s%s", word,
                    hint);
        return false;
    }
    if (strcmp(name, "if") == 0) {
        copy->input = value;
    } else if (strcmp(name, "of") == 0) {
        copy->output = value;
    } else {
        uint64_t *number = strcmp(name, "bs") == 0      ? &copy->block
                           : strcmp(name, "count") == 0 ? &copy->count
                                                        : &copy->skip;
        if (!size_parse(value, 1, number, NULL) || *number > INT64_MAX) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "invalid number: '%s'",
                        value);
            return false;
        }
    }
    return true;
}

static bool parse_operands(const ImgArgs *args, Copy *copy, GError **error)
{
    for (unsigned i = 0; i < img_args_operands(args); i++) {
        if (!parse_operand(img_args_operand(args, i), copy, error)) {
            return false;
        }
    }
    if (!copy->input || !copy->output) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Must specify both input and output file names");
        return false;
    }
    if (!copy->block || copy->block > BLOCK_BYTES_MAX) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "bs must be from 1 byte to 64 MiB");
        return false;
    }
    return true;
}

static bool copy_range(BlockNode *from, uint64_t start, BlockNode *to, uint64_t length,
                       uint64_t block, GError **error)
{
    autofree uint8_t *buf = aligned_alloc(4096, round_up(block, 4096));
    int result = buf ? 0 : -12;
    bool is_reading = false;
    for (uint64_t at = 0; result == 0 && at < length;) {
        uint64_t part = min_u64(block, length - at);
        result = block_pread(from, start + at, buf, part);
        is_reading = result < 0;
        if (result == 0) {
            result = block_pwrite(to, at, buf, part, 0);
        }
        at += part;
    }
    result = result == 0 ? block_flush(to) : result;
    if (result < 0) {
        BlockNode *node = is_reading ? from : to;
        g_autofree char *place = block_failure_place(node, result);
        lodge_error_set_errno(error, result, "error while %s '%s'%s",
                              is_reading ? "reading" : "writing", block_node_filename(node), place);
    }
    return result == 0;
}

static bool run(const ImgArgs *args, const Copy *copy, ImgTarget *file, GError **error)
{
    const char *format = img_args_value(args, "O");
    format = format ? format : "raw";
    g_autoptr(BlockNode) from = img_open(args, copy->input, img_args_value(args, "f"), 0, error);
    if (!from) {
        return false;
    }
    uint64_t size = block_node_size(from), start, most;
    if (!checked_mul(copy->skip, copy->block, &start) || start > size) {
        start = size;
        fprintf(stderr, "lodge-img: warning: %s: cannot skip to specified offset\n", copy->input);
    }
    if (!checked_mul(copy->count, copy->block, &most)) {
        most = UINT64_MAX;
    }
    uint64_t length = min_u64(most, size - start);
    g_autoptr(BlockSpec) options = block_spec_new();
    g_autofree char *text = g_strdup_printf("%" PRIu64, length);
    block_spec_set(options, "size", text);
    img_target_begin(file, format, copy->output, options);
    if (!block_create(format, copy->output, options, error)) {
        g_prefix_error(error, "%s: error while creating output image of type %s: ", copy->output,
                       format);
        return false;
    }
    g_autoptr(BlockSpec) target = block_spec_from_name(copy->output, format, error);
    g_autoptr(BlockNode) to = target ? block_open(target, BLOCK_OPEN_WRITABLE, error) : NULL;
    return to && copy_range(from, start, to, length, copy->block, error);
}

int img_dd(const ImgArgs *args)
{
    GError *error = NULL;
    Copy copy = { .block = 512, .count = INT64_MAX };
    if (!img_common_options(args)) {
        return 1;
    }
    ImgTarget file = { 0 };
    bool ok = parse_operands(args, &copy, &error) && run(args, &copy, &file, &error);
    img_target_end(&file, ok, &error);
    return ok ? 0 : img_fail(error);
}
