/* lodge-img compare. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "base/int-math.h"
#include "block/driver.h"
#include "img/commands.h"
#include "img/common.h"
#include "img/json-out.h"
#include "img/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BUFFER_BYTES (2 * MIB)

const ImgOption img_compare_options[] = {
    { 'f', NULL, "fmt", "format of the first image" },
    { 'F', NULL, "fmt", "format of the second image" },
    IMG_OPTION_OUTPUT,
    { 's', NULL, NULL, "strict: the sizes and what is allocated must agree too" },
    IMG_OPTION_SOURCE_CACHE,
    IMG_OPTION_PROGRESS,
    IMG_OPTION_QUIET,
    IMG_OPTION_SHARE,
    IMG_OPTION_OBJECT,
    IMG_OPTION_IMAGE_OPTS,
    IMG_OPTIONS_END,
};

typedef struct Comparison {
    BlockNode *nodes[2];
    const char *names[2];
    uint8_t *buffers[2];
    bool is_strict, is_quiet, is_json;
    ImgProgress progress;
} Comparison;

static void G_GNUC_PRINTF(2, 3) say(Comparison *comparison, const char *fmt, ...)
{
    img_progress_end(&comparison->progress, false);
    if (!comparison->is_quiet && !comparison->is_json) {
        va_list args;
        va_start(args, fmt);
        vprintf(fmt, args);
        va_end(args);
        putchar('\n');
    }
}

/* Tells a difference. @what: as JSON names it; @offset: of its first byte, UINT64_MAX: none. */
static int differs(Comparison *comparison, const char *what, uint64_t offset)
{
    if (comparison->is_json) {
        JsonOut *json = json_out_new();
        json_out_open(json, NULL, '{');
        json_out_bool(json, "identical", false);
        json_out_string(json, "difference", what);
        if (offset != UINT64_MAX) {
            json_out_uint(json, "offset", offset);
        }
        json_out_close(json, '}');
        json_out_print(json);
    }
    return IMG_EXIT_DIFFERENT;
}

static int read_part(Comparison *comparison, unsigned which, uint64_t offset, uint64_t length)
{
    int result = block_pread(comparison->nodes[which], offset, comparison->buffers[which], length);
    if (result < 0) {
        g_autofree char *place = block_failure_place(comparison->nodes[which], result);
        img_error("Error while reading offset %" PRIu64 " of %s%s: %s", offset,
                  comparison->names[which], place, g_strerror(-result));
        return IMG_EXIT_READ;
    }
    return 0;
}

static size_t first_difference(const uint8_t *a, const uint8_t *b, size_t length)
{
    size_t i = 0;
    while (i + 4096 <= length && memcmp(a + i, b + i, 4096) == 0) {
        i += 4096;
    }
    while (i < length && a[i] == b[i]) {
        i++;
    }
    return i;
}

static int report_mismatch(Comparison *comparison, uint64_t offset)
{
    say(comparison, "Content mismatch at offset %" PRIu64 "!", offset);
    return differs(comparison, "content", offset);
}

/* @length bytes of both images, of which not both are zero. */
static int compare_data(Comparison *comparison, uint64_t offset, uint64_t length,
                        const bool *is_zero)
{
    while (length > 0) {
        uint64_t part = min_u64(length, BUFFER_BYTES);
        for (unsigned i = 0; i < 2; i++) {
            int status = 0;
            if (is_zero[i]) {
                memset(comparison->buffers[i], 0, part);
            } else {
                status = read_part(comparison, i, offset, part);
            }
            if (status) {
                return status;
            }
        }
        size_t same = first_difference(comparison->buffers[0], comparison->buffers[1], part);
        if (same < part) {
            return report_mismatch(comparison, offset + same);
        }
        offset += part;
        length -= part;
    }
    return 0;
}

static int status_failed(const Comparison *comparison, unsigned which, int result)
{
    g_autofree char *place = block_failure_place(comparison->nodes[which], result);
    img_error("Sector allocation test failed for %s%s: %s", comparison->names[which], place,
              g_strerror(-result));
    return IMG_EXIT_STATUS;
}

static int compare_common(Comparison *comparison, uint64_t size)
{
    for (uint64_t offset = 0; offset < size;) {
        BlockStatus status[2];
        uint64_t length = size - offset;
        bool is_zero[2];
        for (unsigned i = 0; i < 2; i++) {
            int result = img_next_status(comparison->nodes[i], NULL, offset, length, &status[i]);
            if (result < 0 || !status[i].length) {
                return status_failed(comparison, i, result);
            }
            length = min_u64(length, status[i].length);
            is_zero[i] = status[i].flags & BLOCK_STATUS_ZERO;
        }
        if (comparison->is_strict &&
            (status[0].flags ^ status[1].flags) &
                (BLOCK_STATUS_DATA | BLOCK_STATUS_ZERO | BLOCK_STATUS_ALLOCATED)) {
            say(comparison, "Strict mode: Offset %" PRIu64 " block status mismatch!", offset);
            return differs(comparison, "allocation", offset);
        }
        int result =
            is_zero[0] && is_zero[1] ? 0 : compare_data(comparison, offset, length, is_zero);
        if (result) {
            return result;
        }
        offset += length;
        img_progress_set(&comparison->progress, offset);
    }
    return 0;
}

/* What the larger image has behind the end of the smaller must be zeroes. */
static int compare_tail(Comparison *comparison, unsigned larger, uint64_t offset)
{
    uint64_t size = block_node_size(comparison->nodes[larger]);
    while (offset < size) {
        BlockStatus status;
        int result =
            img_next_status(comparison->nodes[larger], NULL, offset, size - offset, &status);
        if (result < 0 || !status.length) {
            return status_failed(comparison, larger, result);
        }
        bool is_zero[2] = { true, true };
        is_zero[larger] = status.flags & BLOCK_STATUS_ZERO;
        result = is_zero[larger] ? 0 : compare_data(comparison, offset, status.length, is_zero);
        if (result) {
            return result;
        }
        offset += status.length;
    }
    return 0;
}

static int compare(Comparison *comparison)
{
    uint64_t size[2] = { block_node_size(comparison->nodes[0]),
                         block_node_size(comparison->nodes[1]) };
    if (comparison->is_strict && size[0] != size[1]) {
        say(comparison, "Strict mode: Image size mismatch!");
        return differs(comparison, "size", UINT64_MAX);
    }
    int status = compare_common(comparison, min_u64(size[0], size[1]));
    if (status == 0 && size[0] != size[1]) {
        if (!comparison->is_quiet && !comparison->is_json) {
            say(comparison, "Warning: Image size mismatch!");
        }
        status = compare_tail(comparison, size[1] > size[0], min_u64(size[0], size[1]));
    }
    if (status == 0) {
        img_progress_end(&comparison->progress, true);
        say(comparison, "Images are identical.");
        if (comparison->is_json) {
            JsonOut *json = json_out_new();
            json_out_open(json, NULL, '{');
            json_out_bool(json, "identical", true);
            json_out_bool(json, "same-size", size[0] == size[1]);
            json_out_close(json, '}');
            json_out_print(json);
        }
    }
    return status;
}

int img_compare(const ImgArgs *args)
{
    unsigned flags;
    bool is_json;
    if (!img_common_options(args) || !img_args_output(args, &is_json) ||
        !img_cache_flags(img_args_value(args, "T"), &flags)) {
        return IMG_EXIT_TROUBLE;
    }
    if (!img_args_count(args, 2, 2, "two image file names")) {
        return 1;
    }
    Comparison comparison = { .is_strict = img_args_flag(args, "s"),
                              .is_quiet = img_args_flag(args, "q"),
                              .is_json = is_json };
    g_autoptr(BlockNode) first =
        img_open_or_report(args, img_args_operand(args, 0), img_args_value(args, "f"), flags);
    g_autoptr(BlockNode) second = first ? img_open_or_report(args, img_args_operand(args, 1),
                                                             img_args_value(args, "F"), flags)
                                        : NULL;
    if (!second) {
        return IMG_EXIT_TROUBLE;
    }
    autofree uint8_t *a = aligned_alloc(4096, BUFFER_BYTES), *b = aligned_alloc(4096, BUFFER_BYTES);
    if (!a || !b) {
        img_error("out of memory");
        return IMG_EXIT_READ;
    }
    for (unsigned i = 0; i < 2; i++) {
        comparison.nodes[i] = i ? second : first;
        comparison.buffers[i] = i ? b : a;
        comparison.names[i] = img_args_operand(args, i);
    }
    img_progress_init(&comparison.progress, img_args_flag(args, "p") && !comparison.is_quiet,
                      min_u64(block_node_size(first), block_node_size(second)));
    return compare(&comparison);
}
