/* The format luks: a LUKS version 1 header, then the encrypted disk.
 *
 * Sectors are numbered from the begin of the disk, not of the file.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/int-math.h"
#include "block/drivers.h"
#include "block/lock.h"
#include "block/luks/disk.h"
#include "gbase/error.h"

#include <errno.h>
#include <string.h>

static CryptoDisk *luks_of(const BlockNode *node)
{
    return node->state;
}

static int probe(const uint8_t *bytes, size_t length, const char *filename)
{
    static const uint8_t start[] = { 'L', 'U', 'K', 'S', 0xba, 0xbe, 0, 1 };
    return length >= sizeof(start) && memcmp(bytes, start, sizeof(start)) == 0 ? BLOCK_PROBE_SURE
                                                                               : BLOCK_PROBE_NO;
}

/* The header in the file below */

static int read_below(void *opaque, uint64_t offset, void *buf, size_t length)
{
    return block_child_read(opaque, offset, buf, length);
}

static int write_below(void *opaque, uint64_t offset, const void *buf, size_t length)
{
    return block_child_write(opaque, offset, buf, length);
}

static int flush_below(void *opaque)
{
    return block_child_flush(opaque);
}

static LuksStore store_below(BlockNode *file)
{
    return (LuksStore){ read_below, write_below, flush_below, file };
}

static int close_luks(BlockNode *node)
{
    crypto_disk_free(luks_of(node));
    return 0;
}

static bool open_luks(BlockNode *node, const BlockSpec *spec, unsigned flags, GError **error)
{
    LuksStore store = store_below(node->file);
    uint64_t room = node->file->size;
    const char *key = flags & BLOCK_OPEN_NO_DATA ? NULL : "key-secret";
    CryptoDisk *luks = crypto_disk_open(&store, room, spec, key, error);
    if (!luks) {
        return false;
    }
    node->state = luks;
    node->size = round_down(room - luks->header.payload_offset, LUKS_SECTOR);
    return true;
}

/* The header is read, and written by amending alone. */
static unsigned access_luks(const BlockNode *node, unsigned access)
{
    return access | BLOCK_ACCESS_READ;
}

/* Requests */

static int read_luks(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                     uint64_t skip)
{
    CryptoDisk *luks = luks_of(node);
    return crypto_disk_readv(luks, node->file, luks->header.payload_offset, offset, length, vec,
                             skip);
}

static int write_luks(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                      uint64_t skip)
{
    CryptoDisk *luks = luks_of(node);
    return crypto_disk_writev(luks, node->file, luks->header.payload_offset, offset, length, vec,
                              skip);
}

static int status_luks(BlockNode *node, uint64_t offset, uint64_t length, BlockStatus *out_status)
{
    out_status->flags = BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED;
    return 0;
}

static bool truncate_luks(BlockNode *node, uint64_t size, BlockPreallocation preallocation,
                          GError **error)
{
    uint64_t whole = luks_of(node)->header.payload_offset + round_up(size, LUKS_SECTOR);
    if (preallocation == BLOCK_PREALLOCATION_METADATA) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "Unsupported preallocation mode 'metadata'");
        return false;
    }
    if (!block_truncate(node->file, whole, preallocation, error)) {
        return false;
    }
    node->size = round_up(size, LUKS_SECTOR);
    return true;
}

static unsigned granularity(const BlockNode *node)
{
    return block_node_granularity(node->file);
}

/* Facts, creating, amending */

static bool get_info(BlockNode *node, BlockInfo *info, GError **error)
{
    info->is_encrypted = true;
    luks_add_facts(&luks_of(node)->header, info->facts, false);
    return true;
}

static const BlockCreateOption create_options[] = {
    { "size", BLOCK_OPTION_SIZE, "Virtual disk size", false },
    { "preallocation", BLOCK_OPTION_TEXT, "Preallocation mode (allowed values: off, falloc, full)",
      false },
    LUKS_OPTIONS(""),
    BLOCK_FILE_CREATE_OPTIONS,
    { NULL },
};

static bool create_on(BlockNode *file, const LuksWish *wish, const BlockSpec *options,
                      GError **error)
{
    uint8_t key[CRYPTO_KEY_MAX];
    uint64_t size = 0, room = luks_room(wish);
    BlockPreallocation preallocation = BLOCK_PREALLOCATION_OFF;
    const char *mode = block_spec_get(options, "preallocation");
    g_autoptr(GBytes) secret = luks_secret(options, "key-secret", error);
    LuksStore store = store_below(file);
    if (!secret || !block_spec_get_size(options, "size", &size, error) ||
        (mode && !block_preallocation_parse(mode, &preallocation, error))) {
        return false;
    }
    if (size > INT64_MAX - room - LUKS_SECTOR || preallocation == BLOCK_PREALLOCATION_METADATA) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    size > INT64_MAX / 2 ? "The image size is too large"
                                         : "Unsupported preallocation mode 'metadata'");
        return false;
    }
    bool ok = block_truncate(file, room + round_up(size, LUKS_SECTOR), preallocation, error) &&
              luks_create(&store, wish, secret, key, error);
    crypto_forget(key, sizeof(key));
    return ok;
}

static bool create_luks(File *file, const char *name, const BlockSpec *options, GError **error)
{
    LuksWish wish;
    if (!luks_wish_parse(options, "", &wish, error)) {
        return false;
    }
    /* Only freed afterwards: @file stays the caller's. */
    BlockNode *node = block_file_node(file, name, BLOCK_OPEN_WRITABLE, error);
    bool ok = node && create_on(node, &wish, options, error);
    if (node) {
        block_node_free(node);
    }
    return ok;
}

static bool amend_luks(BlockNode *node, const BlockSpec *options, bool is_forced, GError **error)
{
    CryptoDisk *luks = luks_of(node);
    LuksStore store = store_below(node->file);
    /* Who reads it meanwhile, may see half a header. */
    const unsigned access = BLOCK_ACCESS_WRITE | BLOCK_ACCESS_ALONE | BLOCK_ACCESS_HIDDEN;
    return block_node_add_access(node, access, error) &&
           luks_amend(&store, &luks->header, options, "", luks->secret, is_forced, error);
}

static bool measure_luks(uint64_t size, uint64_t data_bytes, const BlockSpec *options,
                         BlockMeasure *out_measure, GError **error)
{
    LuksWish wish;
    if (!luks_wish_parse(options, "", &wish, error)) {
        return false;
    }
    out_measure->required = out_measure->fully_allocated =
        luks_room(&wish) + round_up(size, LUKS_SECTOR);
    return true;
}

const BlockDriver block_driver_luks = {
    .name = "luks",
    .probe = probe,
    .open = open_luks,
    .close = close_luks,
    .file_access = access_luks,
    .read = read_luks,
    .write = write_luks,
    .status = status_luks,
    .truncate = truncate_luks,
    .granularity = granularity,
    .get_info = get_info,
    .create_options = create_options,
    .create = create_luks,
    .amend = amend_luks,
    .measure = measure_luks,
};
