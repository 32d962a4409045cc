/* qcow2: the driver's state, and what its files offer one another.
 *
 * Order on disk (reliability): an L2 entry that points to a cluster reaches the disk after the
 * cluster's refcount and, where the guest could see the difference, after its data; a refcount is
 * lowered after the entry that pointed to the cluster is gone from the disk. So a power cut leaves
 * leaks, never a cluster that is used twice. For the second half, freed clusters wait on a list
 * until the tables that named them are on disk, and are handed out again only then.
 *
 * Threads: `lock` protects all metadata and is held over metadata's I/O, not over data's. Requests
 * that allocate register the guest clusters in `allocations` while they write data without the
 * lock; others that need the same clusters wait. `in_flight` is held shared by all requests over
 * their data I/O; clusters are released for reuse with it held alone, so that nobody reads or
 * writes data through a mapping that is no more. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_QCOW2_QCOW2_H
#define LODGE_BLOCK_QCOW2_QCOW2_H

#include "base/list.h"
#include "block/driver.h"
#include "block/luks/disk.h"
#include "block/qcow2/cache.h"
#include "block/qcow2/codec.h"
#include "block/qcow2/counts.h"
#include "block/qcow2/format.h"

#include <pthread.h>

/* A header extension that is kept as it is. */
typedef struct Qcow2Extension {
    uint32_t type, length;
    uint8_t *data;
} Qcow2Extension;

typedef struct Qcow2Header {
    uint32_t version, cluster_bits, crypt, refcount_order, header_length;
    uint32_t l1_size, reftable_clusters, snapshot_count;
    uint64_t backing_offset, size, l1_offset, reftable_offset, snapshots_offset;
    uint32_t backing_length;
    uint64_t incompatible, compatible, autoclear;
    uint8_t compression;
    /* Extensions */
    char *backing_name, *backing_format, *data_file_name;
    GArray *unknown; /* of Qcow2Extension */
    uint32_t bitmap_count;
    uint64_t bitmap_directory_offset, bitmap_directory_size;
    bool has_bitmaps;
    bool lost_bitmaps; /* a program that does not know of them has written to the image */
    uint64_t crypt_offset, crypt_length;
} Qcow2Header;

typedef struct Qcow2Snapshot {
    uint64_t l1_offset;
    uint32_t l1_size;
    uint64_t disk_size, vm_state_size, vm_clock_ns, icount;
    uint32_t date_seconds, date_nanoseconds;
    char *id, *name;
    uint8_t *extra; /* unknown extra data, kept */
    uint32_t extra_length;
} Qcow2Snapshot;

/* A run of guest clusters that a request is allocating. */
typedef struct Qcow2Allocation {
    List node;
    uint64_t first, count; /* clusters */
} Qcow2Allocation;

typedef struct Qcow2Freed {
    uint64_t offset, length; /* bytes of the file */
} Qcow2Freed;

typedef struct Qcow2 {
    BlockNode *node;
    BlockNode *data;   /* where clusters of data are: the data file, or node->file */
    CryptoDisk *crypt; /* NULL: not encrypted */
    Qcow2Header header;
    bool is_writable;

    uint64_t cluster_size;
    unsigned cluster_bits, l2_bits; /* entries of an L2 table, log2 */
    unsigned l2_entry_size;         /* 8, or 16 with subclusters */
    unsigned subclusters, subcluster_bits;

    pthread_rwlock_t in_flight;
    pthread_mutex_t lock;
    pthread_cond_t allocated;
    List allocations;

    uint64_t *l1; /* host order */
    uint32_t l1_size;
    Qcow2Cache l2_cache, refblock_cache;

    uint64_t *reftable; /* host order */
    uint32_t reftable_entries;
    unsigned refcount_bits, refblock_bits; /* refcounts of a block, log2 */

    uint64_t free_hint;     /* cluster index: none below it is free, as far as known */
    uint64_t fresh_from;    /* offset of the file past which nothing was ever written */
    uint64_t compressed_at; /* where the next compressed data go; 0: into a new cluster */
    bool is_switching;      /* refcount structures do not grow (switch.h) */
    bool needs_barrier;     /* data and refcounts must be on disk before dirty L2 tables */
    GArray *freed;          /* of Qcow2Freed: still referred to on disk */
    bool is_corrupt;        /* found while running: no more writes */

    enum { QCOW2_SPARSE_UNKNOWN, QCOW2_SPARSE, QCOW2_NOT_SPARSE } sparseness; /* atomic; of .data */
    Qcow2CodecPool codecs;

    GPtrArray *bitmaps; /* of Qcow2Bitmap, as on disk; NULL: not read */
    Qcow2Snapshot *snapshots;
    uint64_t snapshots_length; /* bytes of the table on disk */
} Qcow2;

static inline Qcow2 *qcow2_of(const BlockNode *node)
{
    return node->state;
}

/* Whether data are in a file of their own: then nothing counts them, and COPIED says that they are
 * there. */
static inline bool qcow2_has_data_file(const Qcow2 *q)
{
    return q->header.incompatible & QCOW2_INCOMPATIBLE_DATA_FILE;
}

static inline uint64_t qcow2_cluster_of(const Qcow2 *q, uint64_t offset)
{
    return offset >> q->cluster_bits;
}

static inline uint64_t qcow2_in_cluster(const Qcow2 *q, uint64_t offset)
{
    return offset & (q->cluster_size - 1);
}

/* header.c */

/* Reads and checks the header and its extensions. False with @error: not one byte of it is trusted.
 */
bool qcow2_header_read(BlockNode *node, Qcow2Header *header, unsigned flags, GError **error);
void qcow2_header_clear(Qcow2Header *header);

/* header-write.c */

/* The first cluster's content: header, extensions, backing name. Returns: g_malloc()ed, of
 * @cluster_size bytes; NULL: it does not fit. */
uint8_t *qcow2_header_format(const Qcow2Header *header, uint64_t cluster_size);
/* Writes the header, its extensions and the backing file's name, flushed; a power cut leaves the
 * old or the new ones. That needs room beside the old ones: where there is none (long names in
 * clusters of 1 or 2 KiB), one write overwrites them if @may_tear, else -ENOSPC. Failed: the old
 * header is there, or the image is marked corrupt in memory. */
int qcow2_header_write(Qcow2 *q, bool may_tear);
/* Whether a first bitmap can be added without @may_tear. */
bool qcow2_header_has_room_for_bitmaps(const Qcow2 *q);
/* Writes the fixed fields alone: within one sector, so that a power cut leaves old or new. */
int qcow2_header_write_fields(Qcow2 *q);
/* Sets incompatible feature bits on disk, flushed. */
int qcow2_set_incompatible(Qcow2 *q, uint64_t set, uint64_t clear);

/* refcount.c; the lock is held by all */

bool qcow2_refcounts_load(Qcow2 *q, GError **error);
int qcow2_refcount_get(Qcow2 *q, uint64_t cluster, uint64_t *out_count);
/* Adds @delta (-1 or 1) to the refcounts of the clusters that @length bytes at @offset touch. */
int qcow2_refcount_change(Qcow2 *q, uint64_t offset, uint64_t length, int delta);
/* Finds at most @count free clusters in a row, at least one, and gives them refcount 1. Returns the
 * offset, or -errno. @out_count: how many. */
int64_t qcow2_alloc_clusters(Qcow2 *q, uint64_t count, uint64_t *out_count);
/* The same, exactly @count. */
int64_t qcow2_alloc_exact(Qcow2 *q, uint64_t count);
/* Space for compressed data; may share a cluster with others. */
int64_t qcow2_alloc_bytes(Qcow2 *q, uint64_t length);
/* Lowers the refcounts of the clusters touched once nothing on disk refers to them. */
void qcow2_free_later(Qcow2 *q, uint64_t offset, uint64_t length);
/* Lowers them now: for clusters that nothing on disk refers to. */
int qcow2_free_now(Qcow2 *q, uint64_t offset, uint64_t length);
/* Brings to the disk what must be there before an L2 table. */
int qcow2_before_l2(Qcow2 *q);
/* Brings all metadata to the file in their order; the last writes are not flushed. */
int qcow2_write_metadata(Qcow2 *q);
/* Carries out what qcow2_free_later() noted. The metadata are on disk; in_flight is held alone. */
int qcow2_release_freed(Qcow2 *q);
/* Replaces the refcount structures by ones made from @counts, which are of all but those
 * structures. Not @is_complete: there may be content where they are 0: nothing of the file is
 * written over. */
int qcow2_rebuild_refcounts(Qcow2 *q, const Qcow2Counts *counts, bool is_complete);
/* Reading and writing counts within a block. */
uint64_t qcow2_refcount_read(const uint8_t *block, unsigned bits, uint64_t index);
void qcow2_refcount_store(uint8_t *block, unsigned bits, uint64_t index, uint64_t count);

/* cluster.c; the lock is held by all */

typedef enum Qcow2Kind {
    QCOW2_UNALLOCATED, /* the backing says; a host cluster may be there (subclusters) */
    QCOW2_ZEROES,      /* reads as zeroes; a host cluster may be there */
    QCOW2_NORMAL,
    QCOW2_COMPRESSED_DATA,
} Qcow2Kind;

typedef struct Qcow2Mapping {
    Qcow2Kind kind;
    bool has_host;     /* a host cluster is there */
    bool is_exclusive; /* ... with refcount 1: may be written in place */
    uint64_t host;     /* its offset for the guest offset asked for; NORMAL or has_host */
    uint64_t entry;    /* the L2 entry (COMPRESSED_DATA: for qcow2_compressed_place()) */
    uint64_t length;   /* bytes of the same kind, with hosts in a row; at least 1 */
} Qcow2Mapping;

/* What @offset is mapped to, over at most @length bytes. -EIO: the tables are corrupt (the image is
 * marked so). */
int qcow2_map(Qcow2 *q, uint64_t offset, uint64_t length, Qcow2Mapping *out_mapping);

/* Whether qcow2_map() says it without reading a table. */
bool qcow2_is_mapped_in_memory(Qcow2 *q, uint64_t offset);

/* An L2 entry with its subcluster bits (0 without them). */
typedef struct Qcow2Entry {
    uint64_t word, bits;
} Qcow2Entry;

/* The L2 table for the guest offset; loaded, and made (and made this image's own) if @make.
 * *out_table is NULL if there is none. Valid until the next call. */
int qcow2_l2_table(Qcow2 *q, uint64_t offset, bool make, Qcow2Table **out_table);
unsigned qcow2_l2_index(const Qcow2 *q, uint64_t offset);
Qcow2Entry qcow2_entry_get(const Qcow2 *q, const Qcow2Table *table, unsigned index);
void qcow2_entry_set(Qcow2 *q, Qcow2Table *table, unsigned index, Qcow2Entry entry);
/* Whether @entry is COMPRESSED and not a pointer; kind of the whole cluster without subclusters. */
static inline bool qcow2_entry_is_compressed(Qcow2Entry entry)
{
    return entry.word & QCOW2_COMPRESSED;
}
/* Where compressed data lie. */
void qcow2_compressed_place(const Qcow2 *q, uint64_t word, uint64_t *out_offset,
                            uint64_t *out_length);
/* Frees later what @entry refers to. */
void qcow2_entry_free(Qcow2 *q, Qcow2Entry entry);
/* Marks the image as corrupt, and says why once. Returns -EIO. */
int qcow2_corrupt(Qcow2 *q, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
/* Refuses host ranges that overlap metadata. Returns: 0 or -EIO. */
int qcow2_check_overlap(Qcow2 *q, uint64_t offset, uint64_t length);

/* io.c: the driver's functions */
int qcow2_read(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
               uint64_t skip);
int qcow2_write_settled(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                        uint64_t skip, const BlockSettled *settled);
int qcow2_write(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                uint64_t skip);
bool qcow2_place(BlockNode *node, uint64_t offset, uint64_t length, bool is_write,
                 BlockPlace *place);
void qcow2_leave(BlockNode *node);
int qcow2_status(BlockNode *node, uint64_t offset, uint64_t length, BlockStatus *out_status);
int qcow2_flush(BlockNode *node);
/* The same with in_flight held by the caller (alone). */
int qcow2_flush_alone(Qcow2 *q);

/* zero.c */
int qcow2_write_zeroes(BlockNode *node, uint64_t offset, uint64_t length, unsigned flags);
int qcow2_discard(BlockNode *node, uint64_t offset, uint64_t length);
/* All reads as the backing. Alone on the node. */
int qcow2_make_empty(BlockNode *node);

/* compress.c */
int qcow2_write_compressed(BlockNode *node, uint64_t offset, const void *buf, size_t length);

/* create.c */
extern const BlockCreateOption qcow2_create_options[];
bool qcow2_create(File *file, const char *name, const BlockSpec *options, GError **error);
void qcow2_create_files(const char *name, const BlockSpec *options, GPtrArray *paths);
bool qcow2_measure(uint64_t size, uint64_t data_bytes, const BlockSpec *options,
                   BlockMeasure *out_measure, GError **error);

/* resize.c */
bool qcow2_truncate(BlockNode *node, uint64_t size, BlockPreallocation preallocation,
                    GError **error);
/* Makes room for an L1 table of @entries. */
int qcow2_grow_l1(Qcow2 *q, uint32_t entries);
int qcow2_write_l1_entry(Qcow2 *q, uint32_t index);
/* Allocates clusters for an L1 table and writes it there, not flushed. */
int qcow2_store_l1(Qcow2 *q, const uint64_t *l1, uint32_t entries, uint64_t *out_offset);
/* Brings all metadata and then the header's fields to the disk. After a failure nothing is written
 * any more, as nobody knows which header is there. */
int qcow2_switch_header(Qcow2 *q);

/* snapshot.c */
bool qcow2_snapshots_load(Qcow2 *q, GError **error);
void qcow2_snapshots_free(Qcow2 *q);
bool qcow2_snapshot_create(BlockNode *node, const char *name, GError **error);
bool qcow2_snapshot_apply(BlockNode *node, const char *which, GError **error);
bool qcow2_snapshot_delete(BlockNode *node, const char *which, GError **error);
bool qcow2_snapshot_load(BlockNode *node, const char *which, GError **error);

/* bitmap-directory.c, bitmap.c: see bitmap.h */

/* check.c */
int qcow2_check(BlockNode *node, BlockCheck *check, unsigned fix);

/* Replaces the refcount structures by ones of @bits a count. -EUCLEAN: the old ones are wrong;
 * -EOVERFLOW: a count does not fit; the image stays as it was. in_flight is held alone. */
int qcow2_change_refcount_bits(Qcow2 *q, unsigned bits);

/* info.c */
bool qcow2_get_info(BlockNode *node, BlockInfo *info, GError **error);
bool qcow2_change_backing(BlockNode *node, const char *filename, const char *format,
                          GError **error);

/* amend.c */
bool qcow2_amend(BlockNode *node, const BlockSpec *options, bool is_forced, GError **error);

/* crypt.c */

/* Sets q->crypt if the image is encrypted; without BLOCK_OPEN_NO_DATA it is unlocked. */
bool qcow2_crypt_open(Qcow2 *q, const BlockSpec *spec, unsigned flags, GError **error);
/* Changes key slots, where @options has any of "encrypt.". */
bool qcow2_crypt_amend(Qcow2 *q, const BlockSpec *options, bool is_forced, GError **error);
/* How an image is to be encrypted: *out_method is QCOW2_CRYPT_..., *out_wish of LUKS. */
bool qcow2_crypt_wanted(const BlockSpec *options, LuksWish *out_wish, uint32_t *out_method,
                        GError **error);
/* Adds the encryption header to an image without data. */
bool qcow2_crypt_create(File *file, const char *name, const LuksWish *wish,
                        const BlockSpec *options, GError **error);
/* Data clusters, encrypted where the image is. @offset, @host: bytes into the disk and into the
 * file; any alignment. */
int qcow2_data_readv(Qcow2 *q, uint64_t offset, uint64_t host, uint64_t length, const BlockVec *vec,
                     uint64_t skip) LODGE_MUST_CHECK;
int qcow2_data_writev(Qcow2 *q, uint64_t offset, uint64_t host, uint64_t length,
                      const BlockVec *vec, uint64_t skip) LODGE_MUST_CHECK;

#endif
