/* Reading and writing through a map of blocks. SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/mapped.h"

#include "base/cleanup.h"
#include "base/int-math.h"

#include <errno.h>
#include <string.h>

void mapped_init(Mapped *mapped, const MappedOps *ops, uint64_t block_bytes)
{
    pthread_mutex_init(&mapped->lock, NULL);
    pthread_mutex_init(&mapped->unpack_lock, NULL);
    mapped->ops = ops;
    mapped->block_bytes = block_bytes;
    mapped->unpacked = NULL;
    mapped->unpacked_offset = UINT64_MAX;
}

void mapped_done(Mapped *mapped)
{
    free(mapped->unpacked);
    pthread_mutex_destroy(&mapped->unpack_lock);
    pthread_mutex_destroy(&mapped->lock);
}

void mapped_forget_unpacked(Mapped *mapped)
{
    LOCK_GUARD(&mapped->unpack_lock);
    mapped->unpacked_offset = UINT64_MAX;
}

/* The block around @offset; its length does not heed the end of the disk. */
static void block_around(BlockNode *node, uint64_t offset, uint64_t *out_start, uint64_t *out_bytes)
{
    const Mapped *mapped = node->state;
    if (mapped->ops->range) {
        mapped->ops->range(node, offset, out_start, out_bytes);
    } else {
        *out_bytes = mapped->block_bytes;
        *out_start = offset - offset % mapped->block_bytes;
    }
}

static int lookup(BlockNode *node, uint64_t offset, uint64_t length, MappedPiece *piece)
{
    Mapped *mapped = node->state;
    *piece = (MappedPiece){ .length = length, .child = node->file };
    LOCK_GUARD(&mapped->lock);
    int result = mapped->ops->lookup(node, offset, piece);
    piece->length = min_u64(piece->length, length);
    return result;
}

static int read_backing(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                        uint64_t skip)
{
    uint64_t size = node->backing ? block_node_size(node->backing) : 0;
    uint64_t there = offset < size ? min_u64(length, size - offset) : 0;
    if (there < length) {
        block_vec_zero(vec, skip + there, length - there);
    }
    return there ? block_preadv(node->backing, offset, there, vec, skip) : 0;
}

static int read_packed(BlockNode *node, const MappedPiece *piece, uint64_t offset,
                       const BlockVec *vec, uint64_t skip)
{
    Mapped *mapped = node->state;
    uint64_t start, bytes;
    block_around(node, offset, &start, &bytes);
    LOCK_GUARD(&mapped->unpack_lock);
    if (mapped->unpacked_offset != start) {
        mapped->unpacked_offset = UINT64_MAX;
        if (!mapped->unpacked) {
            mapped->unpacked = malloc(mapped->block_bytes);
        }
        int result =
            mapped->unpacked ? mapped->ops->unpack(node, piece, start, mapped->unpacked) : -ENOMEM;
        if (result < 0) {
            return result;
        }
        mapped->unpacked_offset = start;
    }
    block_vec_write(vec, skip, mapped->unpacked + (offset - start), piece->length);
    return 0;
}

static int read_piece(BlockNode *node, const MappedPiece *piece, uint64_t offset,
                      const BlockVec *vec, uint64_t skip)
{
    const Mapped *mapped = node->state;
    switch (piece->kind) {
    case MAPPED_HOLE:
        return read_backing(node, offset, piece->length, vec, skip);
    case MAPPED_DATA:
        if (mapped->ops->read_data) {
            return mapped->ops->read_data(node, piece, offset, vec, skip);
        }
        return block_child_readv(piece->child, piece->host, piece->length, vec, skip);
    case MAPPED_PACKED:
        return read_packed(node, piece, offset, vec, skip);
    case MAPPED_ZERO:
        break;
    }
    block_vec_zero(vec, skip, piece->length);
    return 0;
}

int mapped_read(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                uint64_t skip)
{
    while (length > 0) {
        MappedPiece piece;
        int result = lookup(node, offset, length, &piece);
        if (result == 0) {
            result = read_piece(node, &piece, offset, vec, skip);
        }
        if (result < 0) {
            return result;
        }
        offset += piece.length;
        skip += piece.length;
        length -= piece.length;
    }
    return 0;
}

int mapped_lengthen(BlockNode *child, uint64_t size)
{
    uint64_t now;
    int result = block_child_size(child, &now);
    return result == 0 && now < size ? block_child_truncate(child, size) : result;
}

/* The block at @start gets its old content with @length bytes at @offset replaced; for content that
 * a fresh block does not have. Lock held, so that nobody sees the block half-made. */
static int copy_on_write(BlockNode *node, const MappedPiece *old, uint64_t offset, uint64_t length,
                         const BlockVec *vec, uint64_t skip)
{
    Mapped *mapped = node->state;
    uint64_t start, bytes;
    block_around(node, offset, &start, &bytes);
    uint64_t block = min_u64(bytes, node->size - start);
    /* Whole blocks even at the end of the disk: unpack fills one. */
    autofree uint8_t *buf = calloc(1, mapped->block_bytes);
    if (!buf) {
        return -ENOMEM;
    }
    struct iovec iov = { buf, block };
    const BlockVec whole = { &iov, 1 };
    int result = old->kind == MAPPED_PACKED ? mapped->ops->unpack(node, old, start, buf)
                                            : read_backing(node, start, block, &whole, 0);
    if (result < 0) {
        return result;
    }
    block_vec_read(vec, skip, buf + (offset - start), length);
    MappedPiece fresh = { .child = node->file };
    bool is_zero;
    result = mapped->ops->place(node, start, &fresh, &is_zero);
    if (result == 0) {
        result = block_child_write(fresh.child, fresh.host, buf, fresh.length);
    }
    mapped_forget_unpacked(mapped);
    return result;
}

/* Makes place for a part of one block. *out_piece: where to write it; kind HOLE: it is written. */
static int allocate(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                    uint64_t skip, MappedPiece *out_piece)
{
    Mapped *mapped = node->state;
    LOCK_GUARD(&mapped->lock);
    *out_piece = (MappedPiece){ .length = length, .child = node->file };
    int result = mapped->ops->lookup(node, offset, out_piece);
    if (result < 0 || out_piece->kind == MAPPED_DATA) {
        return result;
    }
    uint64_t start, bytes;
    block_around(node, offset, &start, &bytes);
    bool is_whole = length == min_u64(bytes, node->size - start);
    if ((out_piece->kind == MAPPED_PACKED || (out_piece->kind == MAPPED_HOLE && node->backing)) &&
        !is_whole) {
        result = copy_on_write(node, out_piece, offset, length, vec, skip);
        out_piece->kind = MAPPED_HOLE;
        out_piece->length = length;
        return result;
    }
    MappedPiece fresh = { .child = node->file };
    bool is_zero = false;
    result = mapped->ops->place(node, offset, &fresh, &is_zero);
    if (result == 0 && !is_zero && length < fresh.length) {
        result = block_child_zero(fresh.child, fresh.host, fresh.length, 0);
    }
    mapped_forget_unpacked(mapped);
    *out_piece = (MappedPiece){ .kind = MAPPED_DATA,
                                .length = length,
                                .host = fresh.host + (offset - start),
                                .child = fresh.child };
    return result;
}

int mapped_write(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                 uint64_t skip)
{
    Mapped *mapped = node->state;
    while (length > 0) {
        MappedPiece piece;
        int result = lookup(node, offset, length, &piece);
        if (result == 0 && piece.kind != MAPPED_DATA) {
            uint64_t start, bytes;
            block_around(node, offset, &start, &bytes);
            uint64_t part = min_u64(length, start + bytes - offset);
            if (!mapped->ops->place) {
                return -EROFS;
            }
            result = allocate(node, offset, part, vec, skip, &piece);
            piece.length = min_u64(piece.length, part);
        }
        if (result == 0 && piece.kind == MAPPED_DATA) {
            result = block_child_writev(piece.child, piece.host, piece.length, vec, skip);
        }
        if (result < 0) {
            return result;
        }
        offset += piece.length;
        skip += piece.length;
        length -= piece.length;
    }
    return 0;
}

int mapped_write_zeroes(BlockNode *node, uint64_t offset, uint64_t length, unsigned flags)
{
    for (uint64_t end = offset + length; offset < end;) {
        MappedPiece piece;
        int result = lookup(node, offset, end - offset, &piece);
        if (result < 0) {
            return result;
        }
        bool is_zero = piece.kind == MAPPED_ZERO || (piece.kind == MAPPED_HOLE && !node->backing);
        if (!is_zero) {
            return -ENOTSUP;
        }
        offset += piece.length;
    }
    return 0;
}

int mapped_status(BlockNode *node, uint64_t offset, uint64_t length, BlockStatus *out_status)
{
    MappedPiece piece;
    int result = lookup(node, offset, length, &piece);
    if (result < 0) {
        return result;
    }
    *out_status = (BlockStatus){ .length = piece.length };
    switch (piece.kind) {
    case MAPPED_HOLE:
        out_status->flags =
            node->driver->has_backing ? 0 : BLOCK_STATUS_ZERO | BLOCK_STATUS_ALLOCATED;
        break;
    case MAPPED_ZERO:
        out_status->flags = BLOCK_STATUS_ZERO | BLOCK_STATUS_ALLOCATED;
        break;
    case MAPPED_DATA:
        out_status->flags = BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED;
        if (piece.child == node->file && !((Mapped *)node->state)->ops->read_data) {
            out_status->flags |= BLOCK_STATUS_OFFSET;
            out_status->offset = piece.host;
        }
        break;
    case MAPPED_PACKED:
        out_status->flags = BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_COMPRESSED;
        break;
    }
    return 0;
}

int mapped_flat_status(BlockNode *node, uint64_t offset, uint64_t length, BlockNode *child,
                       uint64_t host, BlockStatus *out_status)
{
    uint64_t size;
    int result = block_child_size(child, &size);
    *out_status = (BlockStatus){ .flags = BLOCK_STATUS_DATA, .length = length };
    if (result == 0 && host < size) {
        result = block_status(child, host, min_u64(length, size - host), out_status);
    }
    out_status->flags &= BLOCK_STATUS_DATA | BLOCK_STATUS_ZERO;
    out_status->flags |= BLOCK_STATUS_ALLOCATED;
    if (child == node->file) {
        out_status->flags |= BLOCK_STATUS_OFFSET;
        out_status->offset = host;
    }
    return result;
}
