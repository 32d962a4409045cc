/* The block layer for authors of formats and protocols: one table of functions a driver.
 *
 * io.c has checked every request before a driver sees it: it lies within the node, is not empty,
 * writes go to writable nodes only. Drivers see any alignment unless .granularity says otherwise.
 * Any number of threads call read, write, write_zeroes, discard, flush, status at once, on a node;
 * all other functions run alone on their node (io.c holds the node's lock for writing).
 *
 * Functions returning int return 0 or -errno. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_DRIVER_H
#define LODGE_BLOCK_DRIVER_H

#include "block/block.h"
#include "block/range-lock.h"

#include <pthread.h>

/* Certainty of a probe. */
enum { BLOCK_PROBE_NO = 0, BLOCK_PROBE_MAYBE = 1, BLOCK_PROBE_SURE = 100 };

/* Layers of a chain that block_place() goes through at most. */
#define BLOCK_PLACE_DEPTH 8

/* Where the bytes of a request lie in a file, for who moves them without a thread (file/ring.h). */
typedef struct BlockPlace {
    File *file;
    uint64_t offset;
    BlockNode *held[BLOCK_PLACE_DEPTH]; /* entered: they change nothing of it until block_leave() */
    unsigned count;
} BlockPlace;

struct BlockDriver {
    const char *name;
    bool is_protocol; /* opens files itself; has no node below */
    bool is_filter;   /* shows what node->file has, and is as large */
    bool has_backing; /* may have a backing node */
    bool has_vm_state;

    /* @bytes: the first up to 2048. Returns: BLOCK_PROBE_... */
    int (*probe)(const uint8_t *bytes, size_t length, const char *filename);

    /* Formats: node->file is open. Sets node->state and node->size; for a format with backing
     * node->backing_name and backing_format, which block_open() then opens. @spec: the driver's own
     * keys. False with @error: nothing is left behind, close is not called. */
    bool (*open)(BlockNode *node, const BlockSpec *spec, unsigned flags, GError **error);
    /* Writes what it holds and frees node->state. Returns the first error. */
    int (*close)(BlockNode *node);

    /* Changes the flags of an open node; false with @error: as it was. NULL: it is closed and
     * opened again, so that all that it holds is written. */
    bool (*reopen)(BlockNode *node, unsigned flags, GError **error);
    /* Protocols: what those above do with the node, BLOCK_ACCESS_... of lock.h, to tell other
     * processes; false with @error: these do not allow it, all is as it was. NULL: there is
     * nothing to tell. Context: the thread that changes the graph. */
    bool (*set_access)(BlockNode *node, unsigned access, GError **error);
    /* What the node does with its file where those above do @access with the node. NULL: the same,
     * of a filter; of a format: its file is its own, whoever is above. */
    unsigned (*file_access)(const BlockNode *node, unsigned access);

    int (*read)(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                uint64_t skip);
    /* NULL: read-only format. FUA is done by io.c through flush. */
    int (*write)(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                 uint64_t skip);
    /* As write; tells @settled once no later part of the request needs a place in the file. NULL:
     * write does, and nothing is told. */
    int (*write_settled)(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                         uint64_t skip, const BlockSettled *settled);
    /* Between true and false, requests go at once that it would hold back. Nests. NULL: it never
     * holds any back. */
    void (*hurry)(BlockNode *node, bool on);
    /* Without waiting: finds where all of the range lies in one run of a file, if reading or
     * writing it there is all that there is to do. True: *@place says so, and it stays so until
     * leave(). False: it is not so, or not known without waiting; read or write does it then. NULL:
     * never. */
    bool (*place)(BlockNode *node, uint64_t offset, uint64_t length, bool is_write,
                  BlockPlace *place);
    void (*leave)(BlockNode *node); /* NULL: nothing to do */
    /* NULL or -ENOTSUP: io.c writes zeroes. @flags: BLOCK_IO_MAY_UNMAP. */
    int (*write_zeroes)(BlockNode *node, uint64_t offset, uint64_t length, unsigned flags);
    int (*discard)(BlockNode *node, uint64_t offset, uint64_t length);
    /* Brings the format's own data to the file below; io.c flushes that one. NULL: nothing to do.
     */
    int (*flush)(BlockNode *node);
    /* NULL: all is DATA, ALLOCATED, at the same offset below. */
    int (*status)(BlockNode *node, uint64_t offset, uint64_t length, BlockStatus *out_status);
    int (*write_compressed)(BlockNode *node, uint64_t offset, const void *buf, size_t length);
    bool (*truncate)(BlockNode *node, uint64_t size, BlockPreallocation preallocation,
                     GError **error);
    int (*disk_usage)(BlockNode *node, uint64_t *out_bytes); /* NULL: that of the file below */
    unsigned (*granularity)(const BlockNode *node);          /* NULL: 512 */

    /* Fills in what the format knows; the rest is done. NULL: nothing. */
    bool (*get_info)(BlockNode *node, BlockInfo *info, GError **error);
    int (*check)(BlockNode *node, BlockCheck *check, unsigned fix);
    /* Forgets all content, so that the backing shows; it is on disk then. NULL: cannot. */
    int (*make_empty)(BlockNode *node);

    const BlockCreateOption *create_options; /* "size" is one of them */
    /* Formats @file, which is empty. @name: of the image, to place further files beside it. */
    bool (*create)(File *file, const char *name, const BlockSpec *options, GError **error);
    /* Adds to @paths (char *) the further files that create() makes. NULL: it makes none. */
    void (*create_files)(const char *name, const BlockSpec *options, GPtrArray *paths);
    /* @is_forced: also what makes data unreadable. */
    bool (*amend)(BlockNode *node, const BlockSpec *options, bool is_forced, GError **error);
    bool (*measure)(uint64_t size, uint64_t data_bytes, const BlockSpec *options,
                    BlockMeasure *out_measure, GError **error);
    bool (*change_backing)(BlockNode *node, const char *filename, const char *format,
                           GError **error);

    /* Bitmaps that the format stores: those of the node that are DIRTY_BITMAP_PERSISTENT, on
     * closing. Whether one more can be. NULL: none. */
    bool (*bitmap_can_add)(BlockNode *node, const char *name, uint32_t granularity, GError **error);
    /* Takes one off the disk, if it is there. */
    bool (*bitmap_remove)(BlockNode *node, const char *name, GError **error);

    bool (*snapshot_create)(BlockNode *node, const char *name, GError **error);
    bool (*snapshot_apply)(BlockNode *node, const char *which, GError **error);
    bool (*snapshot_delete)(BlockNode *node, const char *which, GError **error);
    bool (*snapshot_load)(BlockNode *node, const char *which, GError **error);
};

/* What becomes of zeroes that are written (detect-zeroes). */
typedef enum BlockDetectZeroes {
    BLOCK_DETECT_ZEROES_OFF,
    BLOCK_DETECT_ZEROES_ON,    /* write_zeroes */
    BLOCK_DETECT_ZEROES_UNMAP, /* that, and the space may be given back where discards may be */
} BlockDetectZeroes;

/* The option "detect-zeroes" of a node that is opened with @flags. */
bool block_detect_zeroes_from(const BlockSpec *spec, unsigned flags, BlockDetectZeroes *out,
                              GError **error);
/* Context: the thread that changes the graph. */
void block_node_set_detect_zeroes(BlockNode *node, BlockDetectZeroes detect_zeroes);

struct BlockNode {
    const BlockDriver *driver;
    void *state; /* the driver's */
    uint64_t size;
    BlockNode *file;      /* owned; NULL for protocols */
    BlockNode *backing;   /* owned; NULL: none */
    BlockNode *data_file; /* owned; of formats that keep data apart; NULL: none */
    char *backing_name;   /* what the image says; NULL: none */
    char *backing_format; /* NULL: the image does not say */
    char *filename, *name;
    BlockSpec *spec;    /* as it was opened; NULL: without one */
    unsigned flags;     /* BLOCK_OPEN_... */
    bool was_probed;    /* nobody named the format */
    bool is_data_named; /* data_file was there before, and is another's too */
    bool is_implicit;   /* a filter that no user asked for: not shown where disks are listed */
    RangeLock *serial;  /* held over each write; NULL: nobody needs that */
    bool reads_wait;    /* reads and looks at the status hold serial too */
    char *claim;        /* the job that relies on the node, as messages say it; NULL: none */
    char *job;          /* "mirror job 'j'", which claimed it; NULL: none, or a filter did */
    bool is_target;     /* claimed by a job that writes to it, and got it from nobody else */
    bool is_of_backup;  /* claimed by a job that keeps an earlier state, or is to hold it */
    bool is_hollow;     /* claimed by a job that changes what lies below it: no whole image */
    unsigned access;    /* as set_access() said last */
    unsigned users;     /* in the graph, when that changed last */
    BlockDetectZeroes detect_zeroes;

    /* io.c's */
    unsigned refs;         /* atomic */
    unsigned alone_wanted; /* atomic; wait to enter it alone: block_place() then gives way */
    unsigned bitmap_count; /* atomic; of bitmaps */
    GPtrArray *bitmaps;    /* of DirtyBitmap, owned; may be NULL; changed under bitmaps_lock */
    pthread_mutex_t bitmaps_lock;
    pthread_rwlock_t lock;     /* read: requests; write: everything that must run alone */
    BlockDiscards discards;    /* atomic; of the driver "file" */
    uint64_t highest_offset;   /* atomic; end of the furthest write so far */
    uint64_t threshold_offset; /* atomic; 0: none */
    BlockThreshold *threshold; /* atomic; owned by who takes it away */
    int failed;                /* atomic; -errno of the last request that failed; 0: none */
    int64_t failed_ns;         /* atomic; when */
    int flush_error; /* atomic; of the first flush of a file that failed: so do later ones */
};

/* All drivers; ends with NULL. */
extern const BlockDriver *const block_drivers[];
const BlockDriver *block_driver_find(const char *name);

/* The File below a format over a file; NULL: another protocol. Borrowed. Formats use node->file
 * with block_pread() and its kin; this is for what only files have (allocate). */
File *block_node_below_file(const BlockNode *node);

/* A write ended at @end: for the node's threshold and its highest offset. */
void block_node_note_write(BlockNode *node, uint64_t end);

/* failure.c: notes that a request of @node ended with @rc, and returns it. Any thread. */
int block_node_note_failure(BlockNode *node, int rc);

/* io.c */

/**
 * block_place - where the bytes of a read or write lie, for moving them without a thread
 * @place: zeroed
 *
 * True: they may be moved there until block_leave(), which the same thread calls. Never waits.
 */
bool block_place(BlockNode *node, uint64_t offset, uint64_t length, bool is_write,
                 BlockPlace *place) LODGE_MUST_CHECK;
/* They were moved, or some of them; the arguments are those of block_place(). */
void block_leave(BlockPlace *place, uint64_t offset, uint64_t length, bool is_write);
/* They were not. */
void block_release(BlockPlace *place);
/* Until block_node_hurry_end(), nothing is held back on its way through @node or below: who waits
 * for its requests need not wait for limits. Returns: NULL if nothing there holds requests back.
 * Never waits. */
GPtrArray *block_node_hurry(BlockNode *node);
void block_node_hurry_end(GPtrArray *hurried); /* takes it; NULL is accepted */
/* Enters @node for what runs alone. Transfers that the calling thread has in flight are finished
 * first: they hold their nodes. Ended by pthread_rwlock_unlock(). */
void block_node_lock_alone(BlockNode *node);

/* copy-up.c */

/* Writes to @node wait from here on for who holds their range in node->serial. Context: any thread
 * that is not within a request of @node. */
void block_node_serialize(BlockNode *node);
/* As block_preadv() and block_status_chain(). @flags: BLOCK_IO_HELD: the caller holds the range in
 * node->serial. */
int block_preadv_flags(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                       uint64_t skip, unsigned flags) LODGE_MUST_CHECK;
int block_status_chain_flags(BlockNode *node, BlockNode *base, uint64_t offset, uint64_t length,
                             BlockStatus *out_status, BlockNode **out_node, unsigned *out_depth,
                             unsigned flags) LODGE_MUST_CHECK;
/* Reads of @node, which is serialized, and looks at its status exclude writes to the same bytes:
 * for a node whose backing changes as soon as a write here has kept what was there. No request is
 * on its way through @node. */
void block_node_set_reads_wait(BlockNode *node, bool reads_wait);
/* Copies into @node, which is serialized, what of the range it does not have and images below it
 * down to (not including) @base have. @buf: of @length bytes. *@out_copied: bytes. */
int block_copy_up(BlockNode *node, BlockNode *base, uint64_t offset, size_t length, uint8_t *buf,
                  size_t *out_copied) LODGE_MUST_CHECK;

/* Requests of a format to a layer below it (node->file, a data file), which may lie past its end:
 * reads give zeroes there, writes lengthen the file. */
int block_child_read(BlockNode *child, uint64_t offset, void *buf, size_t length) LODGE_MUST_CHECK;
int block_child_write(BlockNode *child, uint64_t offset, const void *buf,
                      size_t length) LODGE_MUST_CHECK;
int block_child_readv(BlockNode *child, uint64_t offset, uint64_t length, const BlockVec *vec,
                      uint64_t skip) LODGE_MUST_CHECK;
int block_child_writev(BlockNode *child, uint64_t offset, uint64_t length, const BlockVec *vec,
                       uint64_t skip) LODGE_MUST_CHECK;
/* As block_write_zeroes(), block_discard(), block_flush(). */
/* As BlockDriver.place, of a layer below. */
bool block_child_place(BlockNode *child, uint64_t offset, uint64_t length, bool is_write,
                       BlockPlace *place);
int block_child_zero(BlockNode *child, uint64_t offset, uint64_t length,
                     unsigned flags) LODGE_MUST_CHECK;
int block_child_discard(BlockNode *child, uint64_t offset, uint64_t length) LODGE_MUST_CHECK;
int block_child_flush(BlockNode *child) LODGE_MUST_CHECK;
/* The present length of the file: not node->size, which is of the time of opening. */
int block_child_size(BlockNode *child, uint64_t *out_size) LODGE_MUST_CHECK;
int block_child_truncate(BlockNode *child, uint64_t size) LODGE_MUST_CHECK;
/* Reserves space; -ENOTSUP: cannot. */
int block_child_allocate(BlockNode *child, uint64_t offset, uint64_t length) LODGE_MUST_CHECK;

/* Copies @length bytes of @vec from @skip on to @buf, or the other way. */
void block_vec_read(const BlockVec *vec, uint64_t skip, void *buf, size_t length);
void block_vec_write(const BlockVec *vec, uint64_t skip, const void *buf, size_t length);
void block_vec_zero(const BlockVec *vec, uint64_t skip, size_t length);
bool block_vec_is_zero(const BlockVec *vec, uint64_t skip, size_t length);

/* Facts for BlockInfo. */
void block_fact_text(GArray *facts, const char *name, const char *text);
void block_fact_number(GArray *facts, const char *name, int64_t number);
void block_fact_bool(GArray *facts, const char *name, bool value);
/* Returns: the list, to which block_fact_list_add() adds objects (arrays of facts). */
GPtrArray *block_fact_list(GArray *facts, const char *name);
GArray *block_fact_list_add(GPtrArray *list);
/* Returns: the facts of an object, to be filled. */
GArray *block_fact_object(GArray *facts, const char *name);

/* Whether all bytes are zero; fast. */
bool block_is_zero(const void *buf, size_t length);

#endif
