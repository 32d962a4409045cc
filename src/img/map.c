/* lodge-img map. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/int-math.h"
#include "img/commands.h"
#include "img/common.h"

#include <inttypes.h>
#include <stdio.h>

const ImgOption img_map_options[] = {
    IMG_OPTION_FORMAT,
    { 's', "start-offset", "offset", "begin there" },
    { 'l', "max-length", "len", "at most so many bytes" },
    IMG_OPTION_OUTPUT,
    IMG_OPTION_SHARE,
    IMG_OPTION_OBJECT,
    IMG_OPTION_IMAGE_OPTS,
    IMG_OPTIONS_END,
};

typedef struct Piece {
    uint64_t start;
    BlockStatus status;
    BlockNode *layer;
    unsigned depth;
} Piece;

static bool can_join(const Piece *a, const Piece *b)
{
    const unsigned ignored = BLOCK_STATUS_EOF;
    if (((a->status.flags ^ b->status.flags) & ~ignored) || a->layer != b->layer ||
        a->depth != b->depth) {
        return false;
    }
    return !(a->status.flags & BLOCK_STATUS_OFFSET) ||
           a->status.offset + a->status.length == b->status.offset;
}

static const char *word(bool value)
{
    return value ? "true" : "false";
}

static bool print_piece(const Piece *piece, bool is_json, bool is_last)
{
    unsigned flags = piece->status.flags;
    if (is_json) {
        printf("{ \"start\": %" PRIu64 ", \"length\": %" PRIu64
               ", \"depth\": %u, \"present\": %s, \"zero\": %s, \"data\": %s",
               piece->start, piece->status.length, piece->depth,
               word(flags & BLOCK_STATUS_ALLOCATED), word(flags & BLOCK_STATUS_ZERO),
               word(flags & BLOCK_STATUS_DATA));
        if (flags & BLOCK_STATUS_OFFSET) {
            printf(", \"offset\": %" PRIu64, piece->status.offset);
        }
        fputs(is_last ? "}" : "},\n", stdout);
        return true;
    }
    if (!(flags & BLOCK_STATUS_DATA) || flags & BLOCK_STATUS_ZERO) {
        return true;
    }
    if (!(flags & BLOCK_STATUS_OFFSET)) {
        img_error("File contains external, encrypted or compressed clusters.");
        return false;
    }
    const BlockNode *data = block_node_data_file(piece->layer);
    printf("%#-16" PRIx64 "%#-16" PRIx64 "%#-16" PRIx64 "%s\n", piece->start, piece->status.length,
           piece->status.offset, block_node_filename(data ? data : piece->layer));
    return true;
}

static int next_piece(BlockNode *node, uint64_t offset, uint64_t end, Piece *out_piece)
{
    out_piece->start = offset;
    int result = block_status_chain(node, NULL, offset, end - offset, &out_piece->status,
                                    &out_piece->layer, &out_piece->depth);
    /* Behind the end of a short backing file: what is above it has nothing there. */
    if (result == 0 && out_piece->depth > 0 && offset >= block_node_size(out_piece->layer)) {
        out_piece->depth--;
        out_piece->status.flags &= ~(unsigned)BLOCK_STATUS_ALLOCATED;
    }
    return result;
}

static int print_map(BlockNode *node, uint64_t offset, uint64_t end, bool is_json)
{
    Piece piece = { 0 };
    if (is_json) {
        putchar('[');
    } else {
        printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File");
    }
    while (offset < end) {
        Piece next;
        int result = next_piece(node, offset, end, &next);
        if (result < 0 || !next.status.length) {
            g_autofree char *place = block_failure_place(node, result);
            img_error("Failed to read image metadata of '%s'%s: %s", block_node_filename(node),
                      place, g_strerror(-result));
            return 1;
        }
        offset += next.status.length;
        if (piece.status.length && can_join(&piece, &next)) {
            piece.status.length += next.status.length;
            continue;
        }
        if (piece.status.length && !print_piece(&piece, is_json, false)) {
            return 1;
        }
        piece = next;
    }
    if (piece.status.length && !print_piece(&piece, is_json, true)) {
        return 1;
    }
    if (is_json) {
        printf("]\n");
    }
    return 0;
}

int img_map(const ImgArgs *args)
{
    bool is_json;
    uint64_t start = 0, length = INT64_MAX;
    if (!img_common_options(args) || !img_args_output(args, &is_json) ||
        !img_args_size(args, "start-offset", INT64_MAX, &start) ||
        !img_args_size(args, "max-length", INT64_MAX, &length) ||
        !img_args_count(args, 1, 1, "one image file name")) {
        return 1;
    }
    g_autoptr(BlockNode) node =
        img_open_or_report(args, img_args_operand(args, 0), img_args_value(args, "f"), 0);
    if (!node) {
        return 1;
    }
    uint64_t size = block_node_size(node);
    uint64_t end = start < size ? start + min_u64(length, size - start) : start;
    return print_map(node, start, end, is_json);
}
