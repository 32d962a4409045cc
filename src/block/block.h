/* The block layer for its users: opening chains of nodes, input and output, facts about images.
 *
 * A node is a layer of an image: a format (qcow2, raw, vmdk, ...) or filter over a protocol (file,
 * nbd). Format code is plain synchronous C: every call here may block and is made on worker threads
 * (the monitor's front, backend.h, does that). Any number of threads may use a node at once; a node
 * orders what its format needs ordered. Overlapping requests in flight have no order among them, as
 * with any disk.
 *
 * Lengths and offsets are bytes, of any alignment, unless said otherwise. Functions that return int
 * return 0 or -errno. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_BLOCK_H
#define LODGE_BLOCK_BLOCK_H

#include "base/compiler.h"
#include "block/file/file.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

typedef struct BlockNode BlockNode;
typedef struct BlockDriver BlockDriver;
typedef struct BlockObjects BlockObjects; /* objects.h */

/* Specifications: what to open
 *
 * A flat set of keys and texts as QEMU's -drive and -blockdev take them: "driver", "node-name",
 * "read-only", "filename" (of file), "file.driver", "file.filename", "backing.driver", ... "file"
 * or "backing" alone names an open node; "backing" with an empty value: none. */

typedef struct BlockSpec BlockSpec;

BlockSpec *block_spec_new(void);
void block_spec_free(BlockSpec *spec);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BlockSpec, block_spec_free)
BlockSpec *block_spec_copy(const BlockSpec *spec);
/* A key given twice has the later value. @value: copied. */
void block_spec_set(BlockSpec *spec, const char *key, const char *value);
/* Borrowed; NULL: not given. */
const char *block_spec_get(const BlockSpec *spec, const char *key);
/* "on", "off" and their kin. @out_value stays if the key is not given. False with @error: neither.
 */
bool block_spec_get_bool(const BlockSpec *spec, const char *key, bool *out_value, GError **error);
/* A size as "64k" or "1G". */
bool block_spec_get_size(const BlockSpec *spec, const char *key, uint64_t *out_bytes,
                         GError **error);
/* The keys that begin with "@prefix.", without it. */
BlockSpec *block_spec_sub(const BlockSpec *spec, const char *prefix);
/* Whether any key begins with "@prefix.". */
bool block_spec_has_sub(const BlockSpec *spec, const char *prefix);
/* Calls @visit for each key, in the order of the alphabet. */
void block_spec_foreach(const BlockSpec *spec,
                        void (*visit)(const char *key, const char *value, void *opaque),
                        void *opaque);
/* Where the secrets and TLS credentials are that values name; parts of @spec, and backing files
 * opened by it, have them too. @objects: referenced; NULL: none. */
void block_spec_set_objects(BlockSpec *spec, BlockObjects *objects);
/* Borrowed; NULL: none. */
BlockObjects *block_spec_objects(const BlockSpec *spec);
/* Of a name as users type it: a path, "file:PATH", "nbd://HOST/EXPORT", "nbd+unix:///...",
 * "json:{...}". @format: its driver, NULL: to be probed. Returns: NULL with @error for a json: text
 * that is none. */
BlockSpec *block_spec_from_name(const char *name, const char *format, GError **error);
/* Of "key=value,key=value" (--image-opts), ",," is a comma. */
BlockSpec *block_spec_from_text(const char *text, GError **error);

/* Opening */

enum {
    BLOCK_OPEN_WRITABLE = 1u << 0,
    BLOCK_OPEN_NO_BACKING = 1u << 1, /* the top layer alone */
    BLOCK_OPEN_DIRECT = 1u << 2,     /* no host page cache */
    BLOCK_OPEN_NO_FLUSH = 1u << 3,   /* cache=unsafe */
    BLOCK_OPEN_SHARED = 1u << 4,     /* others may write (-U, force-share); not WRITABLE */
    BLOCK_OPEN_UNLOCKED = 1u << 5,   /* take no lock */
    BLOCK_OPEN_DISCARD = 1u << 6,    /* discards reach the host */
    BLOCK_OPEN_REPAIR = 1u << 7,     /* also what is marked as corrupt, for check */
    BLOCK_OPEN_NO_DATA = 1u << 8,    /* metadata alone is wanted: no data file, no key */
    BLOCK_OPEN_THREADS = 1u << 10,   /* aio=threads: never by io_uring */
    BLOCK_OPEN_NATIVE = 1u << 11,    /* aio=native: by io_uring, direct only */
    BLOCK_OPEN_URING = 1u << 12,     /* aio=io_uring; none of the three: as is fastest */
    BLOCK_OPEN_AUTO = 1u << 9,       /* becomes writable when something above it is to write */
    BLOCK_OPEN_BY_USERS = 1u << 13,  /* in a graph, which locks files as its users need it */
};

#define BLOCK_OPEN_AIO (BLOCK_OPEN_THREADS | BLOCK_OPEN_NATIVE | BLOCK_OPEN_URING)
/* "threads", "native", "io_uring" as the flag of that name, in *@flags in place of any before.
 * False with @error: none of them. */
bool block_aio_parse(const char *text, unsigned *flags, GError **error);

/* Opens a chain and locks its files: a format has its file for itself, others may write to files
 * that are read or written as they are, unless block_keep_alone() is asked for. Returns: the top
 * node, or NULL with @error, which names the file and the layer. */
BlockNode *block_open(const BlockSpec *spec, unsigned flags, GError **error);
/* Whether what is committed from @top to @base, below it in its chain, has room there or may make
 * it: a filter right above @base relies on its size. */
bool block_check_grow(const BlockNode *top, const BlockNode *base, GError **error);
/* For an image that was opened so: until it is closed no other process changes the size of its
 * file; or changes any layer of the chain. False with @error: one does not allow it. */
bool block_keep_size(BlockNode *node, GError **error);
bool block_keep_alone(BlockNode *node, GError **error);
/* Knows the nodes that a specification refers to by name ("file", "backing"). */
typedef struct BlockLookup {
    /* NULL with @error: there is no such node. */
    BlockNode *(*find)(void *opaque, const char *name, GError **error);
    /* Whether @node, which is not open yet, may have the node->file that it was given. */
    bool (*may_use)(void *opaque, const BlockNode *node, GError **error);
    void *opaque;
} BlockLookup;
/* As block_open(), with references. */
BlockNode *block_open_with(const BlockSpec *spec, unsigned flags, const BlockLookup *lookup,
                           GError **error);
/**
 * block_reopen - change the flags of an open node
 * @flags: BLOCK_OPEN_...; of those WRITABLE is what usually changes
 *
 * Requests wait meanwhile. The file below follows: it becomes writable before, read-only after the
 * node. False with @error: the node is as it was (or, if that cannot be had back, fails all
 * requests from here on, which the log says). Context: the thread that changes the graph.
 */
bool block_reopen(BlockNode *node, unsigned flags, GError **error);
/* As block_reopen(), with other options of the driver. @spec: copied. */
bool block_reopen_with(BlockNode *node, const BlockSpec *spec, unsigned flags, GError **error);
/* Opens a file that is open already (taken, also on failure) with the format named. For tests,
 * passed descriptors and the like. @name: for messages. */
BlockNode *block_open_file(File *file, const char *name, const char *format, unsigned flags,
                           GError **error);
/* Gives @node, which has none, a backing node (taken). No request is in flight. */
void block_node_set_backing(BlockNode *node, BlockNode *backing);
BlockNode *block_node_ref(BlockNode *node);
/* The last one flushes and closes the node and its children. Errors of that flush go to the log:
 * who cares calls block_flush() first, or block_node_close(). NULL is accepted. */
void block_node_unref(BlockNode *node);
/* The same; returns what went wrong with the node itself: what is stored on closing (bitmaps) may
 * be lost then. 0 if it was not the last reference. */
int block_node_close(BlockNode *node) LODGE_MUST_CHECK;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BlockNode, block_node_unref)

/* Facts */

const char *block_node_driver(const BlockNode *node);   /* "qcow2" */
const char *block_node_filename(const BlockNode *node); /* as messages show it */
const char *block_node_name(const BlockNode *node);     /* node-name, or NULL */
uint64_t block_node_size(const BlockNode *node);
unsigned block_node_flags(const BlockNode *node); /* BLOCK_OPEN_... */
bool block_node_is_writable(const BlockNode *node);
/* Whether its format was guessed from its content: callers warn if that said raw. */
bool block_node_was_probed(const BlockNode *node);
BlockNode *block_node_file(const BlockNode *node);    /* the layer below, or NULL; borrowed */
BlockNode *block_node_backing(const BlockNode *node); /* the backing node, or NULL; borrowed */
/* Below @node through filters: what they show. @node itself if it is none; NULL gives NULL. */
BlockNode *block_skip_filters(BlockNode *node);
/* Where a format that keeps data apart has it (qcow2's data_file), or NULL; borrowed. */
BlockNode *block_node_data_file(const BlockNode *node);
/* Bytes that requests should be aligned to for speed. */
unsigned block_node_granularity(const BlockNode *node);
/* Bytes that the image takes on the host's disk. */
int block_node_disk_usage(BlockNode *node, uint64_t *out_bytes);

/* Write thresholds */

typedef struct BlockThreshold {
    uint64_t offset; /* bytes; a write that ends behind it is told, once */
    /* Of the two one is called, once: with the bytes by which it was passed, on the thread that
     * writes; or when it was replaced or the node closed. */
    void (*passed)(void *opaque, uint64_t excess);
    void (*release)(void *opaque);
    void *opaque;
} BlockThreshold;

/* Replaces the node's. @threshold: copied; NULL or an offset of 0: none. Context: one thread at a
 * time. */
void block_node_set_write_threshold(BlockNode *node, const BlockThreshold *threshold);
/* 0: none, or it was passed. */
uint64_t block_node_write_threshold(const BlockNode *node);

/* Where the furthest write since the node was opened ended. */
uint64_t block_node_highest_offset(const BlockNode *node);

typedef struct BlockDiscards {
    uint64_t done, failed; /* requests */
    uint64_t bytes;        /* of those done */
} BlockDiscards;

/* What was discarded of a file. False: the node is none. */
bool block_node_get_discards(const BlockNode *node, BlockDiscards *out_discards);

/* Input and output */

enum {
    BLOCK_IO_FUA = 1u << 0,         /* on disk when the call returns */
    BLOCK_IO_MAY_UNMAP = 1u << 1,   /* zeroes: the space may be given back */
    BLOCK_IO_NO_FALLBACK = 1u << 2, /* zeroes: -ENOTSUP rather than writing them */
    BLOCK_IO_HELD = 1u << 3,        /* the caller holds the range in node->serial (driver.h) */
};

int block_pread(BlockNode *node, uint64_t offset, void *buf, size_t length) LODGE_MUST_CHECK;
int block_pwrite(BlockNode *node, uint64_t offset, const void *buf, size_t length,
                 unsigned flags) LODGE_MUST_CHECK;
/* What a write is to tell, on its thread, once it is settled where in the file its bytes go: writes
 * that begin then get their places behind it, also where they overtake it. */
typedef struct BlockSettled {
    void (*tell)(void *opaque);
    void *opaque;
} BlockSettled;
/* As block_pwrite(); tells @settled once, or not at all: formats need not know. */
int block_pwrite_settled(BlockNode *node, uint64_t offset, const void *buf, size_t length,
                         const BlockSettled *settled) LODGE_MUST_CHECK;
/* Vectors: @length bytes of them, from byte @skip on. They stay as they are. */
typedef struct BlockVec {
    const struct iovec *iov;
    unsigned count;
} BlockVec;
int block_preadv(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                 uint64_t skip) LODGE_MUST_CHECK;
int block_pwritev(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                  uint64_t skip, unsigned flags) LODGE_MUST_CHECK;
int block_write_zeroes(BlockNode *node, uint64_t offset, uint64_t length,
                       unsigned flags) LODGE_MUST_CHECK;
/* A hint: whole clusters of the range may be given back. */
int block_discard(BlockNode *node, uint64_t offset, uint64_t length) LODGE_MUST_CHECK;
int block_flush(BlockNode *node) LODGE_MUST_CHECK;
/* The image has nothing of its own any more: its backing shows. -ENOTSUP: the format cannot. */
int block_make_empty(BlockNode *node) LODGE_MUST_CHECK;
/* Whole clusters (the last may be shorter at the image's end), compressed. -ENOTSUP: the format
 * cannot. */
int block_write_compressed(BlockNode *node, uint64_t offset, const void *buf,
                           size_t length) LODGE_MUST_CHECK;

typedef enum BlockPreallocation {
    BLOCK_PREALLOCATION_OFF,
    BLOCK_PREALLOCATION_METADATA,
    BLOCK_PREALLOCATION_FALLOC,
    BLOCK_PREALLOCATION_FULL,
} BlockPreallocation;

/* "off", "metadata", "falloc", "full". False with @error: none of them. */
bool block_preallocation_parse(const char *text, BlockPreallocation *out_mode, GError **error);

/* Changes the size. */
bool block_truncate(BlockNode *node, uint64_t size, BlockPreallocation preallocation,
                    GError **error);

enum {
    BLOCK_STATUS_DATA = 1u << 0,      /* must be read from this layer */
    BLOCK_STATUS_ZERO = 1u << 1,      /* reads as zeroes */
    BLOCK_STATUS_ALLOCATED = 1u << 2, /* this layer says what is there, not its backing */
    BLOCK_STATUS_OFFSET = 1u << 3,    /* .offset says where in the file below */
    BLOCK_STATUS_COMPRESSED = 1u << 4,
    BLOCK_STATUS_EOF = 1u << 5, /* the range ends at the end of the image */
};

typedef struct BlockStatus {
    unsigned flags;
    uint64_t length; /* bytes of this status, from the offset asked for; never 0 but at the end */
    uint64_t offset; /* in the file below */
} BlockStatus;

/* What this layer alone says about @offset. @length: at most. */
int block_status(BlockNode *node, uint64_t offset, uint64_t length,
                 BlockStatus *out_status) LODGE_MUST_CHECK;
/* What the chain from @node down to (not including) @base says; @base NULL: the whole chain. The
 * layer that says it goes to @out_node (borrowed) and its distance from @node to @out_depth. What
 * no layer has is ZERO without ALLOCATED. */
int block_status_chain(BlockNode *node, BlockNode *base, uint64_t offset, uint64_t length,
                       BlockStatus *out_status, BlockNode **out_node,
                       unsigned *out_depth) LODGE_MUST_CHECK;

/* For messages about a request of @node that failed with @rc (-errno): where it did so, as "
 * (failed in 'base.qcow2', ...)"; "" if that is @node's own file. (transfer full) */
char *block_failure_place(BlockNode *node, int rc);

/* Information */

/* A value that a format has to tell; printed as text or JSON in this order. Names are qemu-img's
 * ("compat", "refcount-bits"). */
typedef struct BlockFact {
    const char *name; /* static; NULL: the only value of its object, which is that value */
    enum {
        BLOCK_FACT_TEXT,
        BLOCK_FACT_NUMBER,
        BLOCK_FACT_BOOL,
        BLOCK_FACT_LIST,
        BLOCK_FACT_OBJECT,
    } kind;
    char *text;
    int64_t number;  /* NUMBER, BOOL */
    GPtrArray *list; /* LIST: of GArray of BlockFact: objects; OBJECT: one of them */
} BlockFact;

typedef struct BlockSnapshot {
    char *id, *name;
    uint64_t vm_state_size, date_seconds;
    uint32_t date_nanoseconds;
    uint64_t vm_clock_ns;
    uint64_t icount; /* UINT64_MAX: not recorded */
    uint64_t disk_size;
} BlockSnapshot;

typedef struct BlockInfo {
    const char *format; /* static */
    uint64_t virtual_size;
    uint64_t cluster_size; /* 0: none */
    bool is_compressed, is_encrypted, is_dirty;
    char *backing_filename;      /* as the image says it; NULL: none */
    char *backing_format;        /* NULL: not said */
    char *full_backing_filename; /* relative to the image's folder */
    GArray *facts;               /* of BlockFact; format-specific */
    GArray *snapshots;           /* of BlockSnapshot */
} BlockInfo;

bool block_get_info(BlockNode *node, BlockInfo *out_info, GError **error);
void block_info_clear(BlockInfo *info);
/* Whether an image that was made just before, without backing file, reads as zeroes. Not what lies
 * encrypted without ever being written, nor what a device had before. */
bool block_node_is_blank(BlockNode *node);

/* Checking */

typedef struct BlockCheck {
    uint64_t corruptions, leaks, check_errors;
    uint64_t corruptions_fixed, leaks_fixed;
    uint64_t image_end_offset;
    uint64_t total_clusters, allocated_clusters, fragmented_clusters, compressed_clusters;
    /* Told of each finding; may be NULL. */
    void (*report)(void *opaque, const char *text);
    void *opaque;
} BlockCheck;

enum {
    BLOCK_FIX_LEAKS = 1u << 0,
    BLOCK_FIX_ERRORS = 1u << 1,
};

/* @check: its report and opaque are set, the rest is filled in. -ENOTSUP: nothing to check in this
 * format. */
int block_check(BlockNode *node, BlockCheck *check, unsigned fix) LODGE_MUST_CHECK;

/* Creating */

typedef enum BlockOptionKind {
    BLOCK_OPTION_SIZE,
    BLOCK_OPTION_TEXT,
    BLOCK_OPTION_BOOL,
    BLOCK_OPTION_NUMBER,
} BlockOptionKind;

typedef struct BlockCreateOption {
    const char *name; /* "cluster_size" */
    BlockOptionKind kind;
    const char *help;
    bool can_amend;
    bool is_amend_only;   /* not for creating */
    const char *standard; /* what it is if it is not given, as text; NULL: nothing to tell */
} BlockCreateOption;

/* Options that the file of an image has, whatever its format: rows of each table. */
#define BLOCK_FILE_CREATE_OPTIONS                                                                  \
    { "nocow", BLOCK_OPTION_BOOL, "Turn off copy-on-write (valid only on btrfs)", false },         \
    {                                                                                              \
        "extent_size_hint", BLOCK_OPTION_SIZE,                                                     \
            "Extent size hint for the image file, 0 to disable (valid only on XFS)", false         \
    }

/* The -o options of @format; ends with a row without name. NULL: it cannot be created. */
const BlockCreateOption *block_create_options(const char *format);
/* Creates an image. @name: a path or "file:PATH". @options: values by name ("size", "cluster_size",
 * "backing_file", ...). A file that is there is emptied; what failed half-way is left as it was
 * found or removed. */
bool block_create(const char *format, const char *name, const BlockSpec *options, GError **error);
/* The files that block_create() makes of these arguments and that are not there yet: paths, the
 * image's own first. (free with g_ptr_array_unref) */
GPtrArray *block_create_new_files(const char *format, const char *name, const BlockSpec *options);
/* Formats @file (empty; borrowed). For tests and targets that are open already. */
bool block_create_on_file(const char *format, File *file, const char *name,
                          const BlockSpec *options, GError **error);
/* Changes options of an image. @is_forced: also what may make the data unreadable for ever: erasing
 * or overwriting the last key. */
bool block_amend(BlockNode *node, const BlockSpec *options, bool is_forced, GError **error);

typedef struct BlockMeasure {
    uint64_t required, fully_allocated; /* bytes of the file */
    uint64_t bitmaps;                   /* the caller's: of those that are copied too */
    bool has_bitmaps;                   /* the format stores them */
} BlockMeasure;

/* How large an image of @format would be with @options for @data_bytes of data in @size bytes. */
bool block_measure(const char *format, uint64_t size, uint64_t data_bytes, const BlockSpec *options,
                   BlockMeasure *out_measure, GError **error);

/* Changes what the image says of its backing; the data stay. @filename NULL: none. */
bool block_change_backing(BlockNode *node, const char *filename, const char *format,
                          GError **error);

/* Snapshots within the image. @which: an id or a name. */
bool block_snapshot_create(BlockNode *node, const char *name, GError **error);
bool block_snapshot_apply(BlockNode *node, const char *which, GError **error);
bool block_snapshot_delete(BlockNode *node, const char *which, GError **error);
/* Reads go to the snapshot from here on; the node is read-only. */
bool block_snapshot_load(BlockNode *node, const char *which, GError **error);

/* Drivers */

/* Names of all drivers that can open images; ends with NULL. (free the array with g_free) */
const char **block_formats(void);
bool block_format_is_known(const char *format);
/* Whether its images take compressed writes, and can be created over a backing file. */
bool block_format_compresses(const char *format);
bool block_format_has_backing(const char *format);
/* The format that the first bytes look like; "raw" if none. Static. */
const char *block_probe(const uint8_t *bytes, size_t length, const char *filename);

/* The file name of a backing file @backing that an image @image names: relative names start from
 * the image's folder. (transfer full) */
char *block_backing_path(const char *image, const char *backing);

#endif
