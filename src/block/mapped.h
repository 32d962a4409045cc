/* Formats that map fixed-size blocks of the disk to places in a file (vdi, vpc, vmdk, vhdx, qcow):
 * what they have in common. A format says where a block is and where a new one goes; reading,
 * writing, copy-on-write and status are done here.
 *
 * Context: any thread; Mapped.lock orders the format's tables. Data are read and written without
 * it. libc only. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_MAPPED_H
#define LODGE_BLOCK_MAPPED_H

#include "block/driver.h"

typedef enum MappedKind {
    MAPPED_HOLE,   /* the backing file, or zeroes */
    MAPPED_ZERO,   /* zeroes, whatever the backing file has */
    MAPPED_DATA,   /* at .host */
    MAPPED_PACKED, /* compressed: read by the format's unpack */
} MappedKind;

typedef struct MappedPiece {
    MappedKind kind;
    uint64_t length;  /* in: at most; out: bytes of this kind from the offset on, at least 1 */
    uint64_t host;    /* DATA: offset in the file; PACKED: of the format's choice */
    BlockNode *child; /* in: node->file; out: the file that has the data (vmdk's extents) */
} MappedPiece;

typedef struct MappedOps {
    /* Where @offset is. The piece does not cross a border of blocks unless all of it is contiguous.
     * Lock held. */
    int (*lookup)(BlockNode *node, uint64_t offset, MappedPiece *piece);
    /* Finds a place for the block around @offset, which is no DATA, and enters it into the tables;
     * @out_piece: the place of the block's start, and its length. *out_is_zero: what is there reads
     * as zeroes. Lock held. NULL: read-only. */
    int (*place)(BlockNode *node, uint64_t offset, MappedPiece *out_piece, bool *out_is_zero);
    /* DATA in the file, from @offset on. No lock held. NULL: they lie there as they are. */
    int (*read_data)(BlockNode *node, const MappedPiece *piece, uint64_t offset,
                     const BlockVec *vec, uint64_t skip);
    /* All of the block around @offset, at @host, to @buf (mapped->block_bytes). No lock held. NULL:
     * there are none. */
    int (*unpack)(BlockNode *node, const MappedPiece *piece, uint64_t offset, void *buf);
    /* The block around @offset, for formats whose blocks do not all begin at multiples of
     * mapped->block_bytes. No lock needed. NULL: they do. */
    void (*range)(BlockNode *node, uint64_t offset, uint64_t *out_start, uint64_t *out_bytes);
} MappedOps;

/* First member of a format's state. */
typedef struct Mapped {
    pthread_mutex_t lock;
    const MappedOps *ops;
    uint64_t block_bytes; /* bytes; at most 256 MiB, at most 2 MiB if there can be PACKED or a
                             backing file */
    /* The block unpacked last; under .unpack_lock */
    pthread_mutex_t unpack_lock;
    uint8_t *unpacked;
    uint64_t unpacked_offset; /* on the disk; UINT64_MAX: none */
} Mapped;

void mapped_init(Mapped *mapped, const MappedOps *ops, uint64_t block_bytes);
void mapped_done(Mapped *mapped);

/* A driver's functions. Their node's state begins with a Mapped. */
int mapped_read(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                uint64_t skip);
int mapped_write(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                 uint64_t skip);
/* Succeeds without writing where there are zeroes already; -ENOTSUP elsewhere. */
int mapped_write_zeroes(BlockNode *node, uint64_t offset, uint64_t length, unsigned flags);
int mapped_status(BlockNode *node, uint64_t offset, uint64_t length, BlockStatus *out_status);

/* Of a part of the disk that lies unmapped in @child at @host: what @child says. */
int mapped_flat_status(BlockNode *node, uint64_t offset, uint64_t length, BlockNode *child,
                       uint64_t host, BlockStatus *out_status);

/* Forgets what was unpacked last: the block changed. */
void mapped_forget_unpacked(Mapped *mapped);

/* Lengthens @child to @size bytes if it is shorter. */
int mapped_lengthen(BlockNode *child, uint64_t size) LODGE_MUST_CHECK;

#endif
