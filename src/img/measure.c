/* lodge-img measure. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/int-math.h"
#include "block/named-bitmap.h"
#include "img/commands.h"
#include "img/common.h"
#include "img/json-out.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const ImgOption img_measure_options[] = {
    IMG_OPTION_FORMAT,
    { 'O', NULL, "output_fmt", "format to measure (raw if not given)" },
    { 'o', NULL, "options", "options of that format" },
    { 0, "size", "N", "of a new image, instead of an input" },
    { 'l', NULL, "snapshot_param", "a snapshot of the input" },
    IMG_OPTION_OUTPUT,
    IMG_OPTION_SHARE,
    IMG_OPTION_OBJECT,
    IMG_OPTION_IMAGE_OPTS,
    IMG_OPTIONS_END,
};

/* Bytes of target clusters that hold data of the chain. */
static int count_data(BlockNode *node, uint64_t cluster, uint64_t *out_bytes)
{
    uint64_t size = block_node_size(node), counted = 0, bytes = 0;
    for (uint64_t offset = 0; offset < size;) {
        BlockStatus status;
        int result = img_next_status(node, NULL, offset, size - offset, &status);
        if (result < 0 || !status.length) {
            return result;
        }
        uint64_t end = offset + status.length;
        if (!(status.flags & BLOCK_STATUS_ZERO) && end > counted) {
            uint64_t first = max_u64(offset - offset % cluster, counted);
            counted = min_u64(div_round_up(end, cluster) * cluster, size);
            bytes += counted - first;
        }
        offset = end;
    }
    *out_bytes = bytes;
    return 0;
}

static void print(const BlockMeasure *measure, bool is_json)
{
    if (!is_json) {
        printf("required size: %" PRIu64 "\nfully allocated size: %" PRIu64 "\n", measure->required,
               measure->fully_allocated);
        if (measure->has_bitmaps) {
            printf("bitmaps size: %" PRIu64 "\n", measure->bitmaps);
        }
        return;
    }
    JsonOut *json = json_out_new();
    json_out_open(json, NULL, '{');
    if (measure->has_bitmaps) {
        json_out_uint(json, "bitmaps", measure->bitmaps);
    }
    json_out_uint(json, "required", measure->required);
    json_out_uint(json, "fully-allocated", measure->fully_allocated);
    json_out_close(json, '}');
    json_out_print(json);
}

typedef struct Input {
    uint64_t size, data, bitmaps; /* bytes */
    bool has_bitmaps;             /* can have them */
} Input;

/* The size of the disk and of its data, from --size or the input. False: reported. */
static bool measure_input(const ImgArgs *args, const BlockSpec *options, Input *out_input)
{
    GError *error = NULL;
    uint64_t cluster = 64 * KIB;
    const char *size = img_args_value(args, "size");
    *out_input = (Input){ 0 };
    if (size) {
        if (!img_parse_size(size, &out_input->size, &error)) {
            img_fail(error);
            return false;
        }
        return true;
    }
    g_autoptr(BlockNode) node =
        img_open_or_report(args, img_args_operand(args, 0), img_args_value(args, "f"), 0);
    const char *snapshot = img_args_value(args, "l");
    if (!node) {
        return false;
    }
    if (!block_spec_get_size(options, "cluster_size", &cluster, &error) ||
        (snapshot && !img_load_snapshot(node, snapshot, &error))) {
        img_fail(error);
        return false;
    }
    out_input->size = block_node_size(node);
    out_input->has_bitmaps = block_bitmaps_are_storable(node);
    out_input->bitmaps = block_bitmaps_measure(node, max_u64(cluster, 512));
    int result = count_data(node, max_u64(cluster, 512), &out_input->data);
    if (result < 0) {
        g_autofree char *place = block_failure_place(node, result);
        img_error("Unable to get block status of '%s'%s: %s", block_node_filename(node), place,
                  g_strerror(-result));
    }
    return result == 0;
}

int img_measure(const ImgArgs *args)
{
    GError *error = NULL;
    bool is_json, has_size = img_args_flag(args, "size");
    g_autofree char *text = img_args_joined(args, "o");
    const char *format = img_args_value(args, "O");
    format = format ? format : "raw";
    if (!img_common_options(args) || !img_args_output(args, &is_json)) {
        return 1;
    }
    if (has_size && (img_args_flag(args, "f") || img_args_flag(args, "l") ||
                     img_args_flag(args, "image-opts") || img_args_operands(args))) {
        img_error("--image-opts, -f, -l, or filename cannot be used with --size.");
        return 1;
    }
    if (!has_size && img_args_operands(args) != 1) {
        img_error("Either --size N or one filename must be specified.");
        return 1;
    }
    g_autoptr(BlockSpec) options = img_options_with_objects(args, text, &error);
    Input input;
    BlockMeasure measure = { 0 };
    if (!options || !img_check_options(format, options, false, &error)) {
        return img_fail(error);
    }
    if (!measure_input(args, options, &input)) {
        return 1;
    }
    const char *mode = block_spec_get(options, "preallocation");
    if (mode && (strcmp(mode, "falloc") == 0 || strcmp(mode, "full") == 0)) {
        input.data = input.size;
    }
    if (!block_measure(format, input.size, input.data, options, &measure, &error)) {
        return img_fail(error);
    }
    measure.has_bitmaps = measure.has_bitmaps && input.has_bitmaps;
    measure.bitmaps = input.bitmaps;
    print(&measure, is_json);
    return 0;
}
