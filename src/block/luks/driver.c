/* The format luks: a LUKS version 1 header, then the encrypted disk.
 *
 * Sectors are numbered from the begin of the disk, not of the file.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/int-math.h"
#include "block/drivers.h"
#include "block/luks/luks.h"
#include "gbase/error.h"

#include <errno.h>
#include <string.h>

#define PIECE_BYTES (256u << 10) /* encrypted at a time */

typedef struct Luks {
    LuksHeader header;
    CryptoVolume *volume; /* NULL: opened without a key, to tell of the header */
    GBytes *secret;       /* that opened it */
    /* Requests on whole sectors share it; who changes a part of one has it alone. */
    pthread_rwlock_t sectors;
} Luks;

static Luks *luks_of(const BlockNode *node)
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

static bool unlock(Luks *luks, const LuksStore *store, const BlockSpec *spec, GError **error)
{
    uint8_t key[CRYPTO_KEY_MAX];
    GBytes *secret = luks_secret(spec, "key-secret", error);
    if (!secret || !luks_unlock(store, &luks->header, secret, key, error)) {
        return false;
    }
    luks->volume = crypto_volume_new(&luks->header.spec, key, error);
    luks->secret = g_bytes_ref(secret);
    crypto_forget(key, sizeof(key));
    return luks->volume != NULL;
}

static int close_luks(BlockNode *node)
{
    Luks *luks = luks_of(node);
    crypto_volume_free(luks->volume);
    g_clear_pointer(&luks->secret, g_bytes_unref);
    pthread_rwlock_destroy(&luks->sectors);
    g_free(luks);
    return 0;
}

static bool open_luks(BlockNode *node, const BlockSpec *spec, unsigned flags, GError **error)
{
    LuksStore store = store_below(node->file);
    uint64_t room = node->file->size;
    Luks *luks = g_new0(Luks, 1);
    pthread_rwlock_init(&luks->sectors, NULL);
    node->state = luks;
    if (!luks_read(&store, room, &luks->header, error) ||
        (!(flags & BLOCK_OPEN_NO_DATA) && !unlock(luks, &store, spec, error))) {
        close_luks(node);
        node->state = NULL;
        return false;
    }
    node->size = round_down(room - luks->header.payload_offset, LUKS_SECTOR);
    return true;
}

/* Requests */

/* Whole sectors, decrypted in a buffer of their own, or encrypted from it. */
static int move_sectors(BlockNode *node, uint64_t offset, uint8_t *buf, size_t length,
                        bool is_write)
{
    Luks *luks = luks_of(node);
    uint64_t below = luks->header.payload_offset + offset, sector = offset / LUKS_SECTOR;
    if (is_write) {
        int rc = crypto_volume_run(luks->volume, true, sector, buf, length);
        return rc < 0 ? rc : block_child_write(node->file, below, buf, length);
    }
    int rc = block_child_read(node->file, below, buf, length);
    return rc < 0 ? rc : crypto_volume_run(luks->volume, false, sector, buf, length);
}

typedef struct Piece {
    uint64_t start, end; /* whole sectors around ... */
    uint64_t offset;     /* ... what is wanted */
    size_t length;
} Piece;

static Piece next_piece(uint64_t offset, uint64_t length)
{
    Piece piece = { .start = round_down(offset, LUKS_SECTOR), .offset = offset };
    piece.end = min_u64(round_up(offset + length, LUKS_SECTOR), piece.start + PIECE_BYTES);
    piece.length = min_u64(length, piece.end - offset);
    return piece;
}

static int write_piece(BlockNode *node, const Piece *piece, uint8_t *buf, const BlockVec *vec,
                       uint64_t skip)
{
    uint64_t stop = piece->offset + piece->length;
    int rc = 0;
    if (piece->offset > piece->start) {
        rc = move_sectors(node, piece->start, buf, LUKS_SECTOR, false);
    }
    if (rc == 0 && stop < piece->end &&
        (piece->offset == piece->start || piece->end - piece->start > LUKS_SECTOR)) {
        rc = move_sectors(node, piece->end - LUKS_SECTOR,
                          buf + (piece->end - LUKS_SECTOR - piece->start), LUKS_SECTOR, false);
    }
    if (rc < 0) {
        return rc;
    }
    block_vec_read(vec, skip, buf + (piece->offset - piece->start), piece->length);
    return move_sectors(node, piece->start, buf, piece->end - piece->start, true);
}

static int transfer(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                    uint64_t skip, bool is_write)
{
    g_autofree uint8_t *buf = g_try_malloc(min_u64(PIECE_BYTES, length + 2 * LUKS_SECTOR));
    int rc = !buf ? -ENOMEM : luks_of(node)->volume ? 0 : -EPERM;
    while (length > 0 && rc == 0) {
        Piece piece = next_piece(offset, length);
        if (is_write) {
            rc = write_piece(node, &piece, buf, vec, skip);
        } else {
            rc = move_sectors(node, piece.start, buf, piece.end - piece.start, false);
            if (rc == 0) {
                block_vec_write(vec, skip, buf + (piece.offset - piece.start), piece.length);
            }
        }
        offset += piece.length;
        length -= piece.length;
        skip += piece.length;
    }
    return rc;
}

static int read_luks(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                     uint64_t skip)
{
    return transfer(node, offset, length, vec, skip, false);
}

static int write_luks(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                      uint64_t skip)
{
    Luks *luks = luks_of(node);
    if (offset % LUKS_SECTOR || length % LUKS_SECTOR) {
        pthread_rwlock_wrlock(&luks->sectors);
    } else {
        pthread_rwlock_rdlock(&luks->sectors);
    }
    int rc = transfer(node, offset, length, vec, skip, true);
    pthread_rwlock_unlock(&luks->sectors);
    return rc;
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
    { NULL },
};

static bool create_on(BlockNode *file, const LuksWish *wish, const BlockSpec *options,
                      GError **error)
{
    uint8_t key[CRYPTO_KEY_MAX];
    uint64_t size = 0, room = luks_room(wish);
    BlockPreallocation preallocation = BLOCK_PREALLOCATION_OFF;
    const char *mode = block_spec_get(options, "preallocation");
    GBytes *secret = luks_secret(options, "key-secret", error);
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

static bool amend_luks(BlockNode *node, const BlockSpec *options, GError **error)
{
    Luks *luks = luks_of(node);
    LuksStore store = store_below(node->file);
    return luks_amend(&store, &luks->header, options, "", luks->secret, error);
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
