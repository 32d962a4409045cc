/* The raw format: the file below is the disk; "offset" and "size" choose a part of it.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/int-math.h"
#include "block/drivers.h"
#include "block/lock.h"
#include "gbase/error.h"

#include <errno.h>
#include <string.h>

#define SECTOR 512
#define PROBE_BYTES 2048

typedef struct Raw {
    uint64_t offset;
    bool has_size; /* the part does not grow with the file */
} Raw;

static Raw *raw_of(const BlockNode *node)
{
    return node->state;
}

static bool open_raw(BlockNode *node, const BlockSpec *spec, unsigned flags, GError **error)
{
    g_autofree Raw *raw = g_new0(Raw, 1);
    uint64_t size = 0;
    if (!block_spec_get_size(spec, "offset", &raw->offset, error) ||
        !block_spec_get_size(spec, "size", &size, error)) {
        return false;
    }
    raw->has_size = block_spec_get(spec, "size") != NULL;
    uint64_t whole = node->file->size;
    if (raw->has_size && size % SECTOR) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "raw: the size of a part is no multiple of %d bytes", SECTOR);
        return false;
    }
    if (raw->offset > whole || (raw->has_size && size > whole - raw->offset)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "raw: offset and size lie outside '%s'", node->filename);
        return false;
    }
    if (whole > INT64_MAX - SECTOR) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT, "raw: '%s' is too large",
                    node->filename);
        return false;
    }
    /* A last sector that is cut short counts whole; its rest reads as zeroes. */
    node->size = raw->has_size ? size : round_up(whole - raw->offset, SECTOR);
    node->state = g_steal_pointer(&raw);
    return true;
}

static int close_raw(BlockNode *node)
{
    g_free(node->state);
    return 0;
}

static int read_raw(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                    uint64_t skip)
{
    return block_child_readv(node->file, raw_of(node)->offset + offset, length, vec, skip);
}

/* Whether a write would make a disk that nobody called raw look like an image: opened again it
 * would be taken for one, with a backing file of the guest's choice. */
static bool is_disguise(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                        uint64_t skip)
{
    uint8_t head[PROBE_BYTES];
    if (!node->was_probed || offset >= sizeof(head)) {
        return false;
    }
    if (block_child_read(node->file, raw_of(node)->offset, head, sizeof(head)) < 0) {
        return true;
    }
    block_vec_read(vec, skip, head + offset, min_u64(length, sizeof(head) - offset));
    return strcmp(block_probe(head, sizeof(head), node->filename), "raw") != 0;
}

static int write_raw(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                     uint64_t skip)
{
    if (is_disguise(node, offset, length, vec, skip)) {
        return -EPERM;
    }
    return block_child_writev(node->file, raw_of(node)->offset + offset, length, vec, skip);
}

static int write_raw_settled(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                             uint64_t skip, const BlockSettled *settled)
{
    settled->tell(settled->opaque);
    return write_raw(node, offset, length, vec, skip);
}

static bool place_raw(BlockNode *node, uint64_t offset, uint64_t length, bool is_write,
                      BlockPlace *place)
{
    bool may_disguise = is_write && node->was_probed && offset < PROBE_BYTES;
    return !may_disguise &&
           block_child_place(node->file, raw_of(node)->offset + offset, length, is_write, place);
}

static int zero_raw(BlockNode *node, uint64_t offset, uint64_t length, unsigned flags)
{
    return block_child_zero(node->file, raw_of(node)->offset + offset, length, flags);
}

static int discard_raw(BlockNode *node, uint64_t offset, uint64_t length)
{
    return block_child_discard(node->file, raw_of(node)->offset + offset, length);
}

static int status_raw(BlockNode *node, uint64_t offset, uint64_t length, BlockStatus *out_status)
{
    uint64_t shift = raw_of(node)->offset;
    if (shift + offset >= block_node_size(node->file)) {
        out_status->flags = BLOCK_STATUS_ZERO | BLOCK_STATUS_ALLOCATED;
        return 0;
    }
    int rc = block_status(node->file, shift + offset, length, out_status);
    out_status->flags |= BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_OFFSET;
    out_status->flags &= ~(unsigned)BLOCK_STATUS_EOF;
    out_status->offset = shift + offset;
    return rc;
}

static bool truncate_raw(BlockNode *node, uint64_t size, BlockPreallocation preallocation,
                         GError **error)
{
    if (raw_of(node)->has_size || raw_of(node)->offset) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "Cannot resize a part of a file (raw with offset or size)");
        return false;
    }
    if (preallocation == BLOCK_PREALLOCATION_METADATA) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "Unsupported preallocation mode 'metadata'");
        return false;
    }
    if (!block_truncate(node->file, size, preallocation, error)) {
        return false;
    }
    node->size = node->file->size;
    return true;
}

static unsigned granularity(const BlockNode *node)
{
    return block_node_granularity(node->file);
}

static const BlockCreateOption create_options[] = {
    { "size", BLOCK_OPTION_SIZE, "Virtual disk size", false },
    { "preallocation", BLOCK_OPTION_TEXT, "Preallocation mode (allowed values: off, falloc, full)",
      false },
    BLOCK_FILE_CREATE_OPTIONS,
    { NULL },
};

static bool create_raw(File *file, const char *name, const BlockSpec *options, GError **error)
{
    uint64_t size = 0;
    BlockPreallocation preallocation = BLOCK_PREALLOCATION_OFF;
    const char *mode = block_spec_get(options, "preallocation");
    if (!block_spec_get_size(options, "size", &size, error) ||
        (mode && !block_preallocation_parse(mode, &preallocation, error))) {
        return false;
    }
    if (size > INT64_MAX - 4096) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "The image size is too large");
        return false;
    }
    size = round_up(size, 512);
    if (file->is_block_device) {
        uint64_t there;
        int rc = file_size(file, &there);
        if (rc < 0 || there < size) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_NO_SPACE,
                        "the device is smaller than the image");
            return false;
        }
        return true;
    }
    /* Only freed afterwards: @file stays the caller's. */
    BlockNode *node = block_file_node(file, name, BLOCK_OPEN_WRITABLE, error);
    if (!node) {
        return false;
    }
    bool ok = preallocation == BLOCK_PREALLOCATION_METADATA
                  ? (g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                                 "Unsupported preallocation mode 'metadata'"),
                     false)
                  : block_truncate(node, size, preallocation, error);
    block_node_free(node);
    return ok;
}

static bool measure_raw(uint64_t size, uint64_t data_bytes, const BlockSpec *options,
                        BlockMeasure *out_measure, GError **error)
{
    out_measure->required = out_measure->fully_allocated = round_up(size, 512);
    return true;
}

/* A part lies where it does for as long as the file is as long. */
static unsigned access_raw(const BlockNode *node, unsigned access)
{
    const BlockSpec *spec = node->spec;
    bool is_part = spec && (block_spec_get(spec, "offset") || block_spec_get(spec, "size"));
    return is_part ? access | BLOCK_ACCESS_SIZE : access;
}

const BlockDriver block_driver_raw = {
    .name = "raw",
    .open = open_raw,
    .close = close_raw,
    .file_access = access_raw,
    .read = read_raw,
    .write = write_raw,
    .write_settled = write_raw_settled,
    .place = place_raw,
    .write_zeroes = zero_raw,
    .discard = discard_raw,
    .status = status_raw,
    .truncate = truncate_raw,
    .granularity = granularity,
    .create_options = create_options,
    .create = create_raw,
    .measure = measure_raw,
};
