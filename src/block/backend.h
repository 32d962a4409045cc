/* Block back ends: disk images behind a guest's disk, read and written asynchronously.
 *
 * The front of the node graph (block.h) for devices. A request that comes on the loop's thread and
 * only moves bytes of a file (see BlockDriver.place) goes to the kernel by io_uring, if the file is
 * one for that; all others are executed by a pool of threads. Both are reported on the loop. While
 * a back end is open the image is locked as QEMU locks it, so that neither program opens for
 * writing what the other has in use. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_BACKEND_H
#define LODGE_BLOCK_BACKEND_H

#include "block/block.h"
#include "block/driver.h"
#include "block/file/ring.h"
#include "block/throttle-group.h"
#include "event/loop.h"
#include "event/workpool.h"

#include <glib.h>
#include <sys/uio.h>

typedef struct BlockBackend BlockBackend;
typedef struct BlockRequest BlockRequest;

#define BLOCK_SECTOR 512

typedef enum BlockCache {
    BLOCK_CACHE_WRITEBACK,    /* host page cache; the guest's flushes reach the disk */
    BLOCK_CACHE_NONE,         /* no host page cache (O_DIRECT); as above */
    BLOCK_CACHE_WRITETHROUGH, /* host page cache; every write reaches the disk */
    BLOCK_CACHE_DIRECTSYNC,   /* no host page cache; every write reaches the disk */
    BLOCK_CACHE_UNSAFE,       /* flushes are ignored: a host crash loses data */
} BlockCache;

typedef enum BlockErrorAction {
    BLOCK_ERROR_REPORT, /* the guest sees an I/O error */
    BLOCK_ERROR_IGNORE, /* the guest sees success */
    BLOCK_ERROR_STOP,   /* the guest is paused, the request tried again when it goes on */
    BLOCK_ERROR_ENOSPC, /* STOP for a full disk, else REPORT */
} BlockErrorAction;

typedef struct BlockOptions {
    const char *id;        /* for messages; required */
    const char *device;    /* for messages: of the device that it is of; NULL: the same as @id */
    const char *path;      /* as people name images; required without @spec */
    const char *format;    /* NULL: to be probed, with a warning */
    BlockNode *node;       /* open already, instead of these; referenced */
    const BlockSpec *spec; /* what to open, instead of @path and @format; borrowed for the call */
    BlockObjects *objects; /* what @path names (json:); NULL: none */
    const char *aio;       /* "threads", "native", "io_uring"; NULL: as @spec says */
    const char *detect_zeroes; /* "off", "on", "unmap"; NULL: as @spec says */
    bool is_readonly;
    bool is_anonymous; /* goes with the device that it was made for */
    bool is_export;    /* of an export: nobody's device */
    bool is_shared;    /* others may write too (share-rw) */
    bool is_unlocked;  /* take no lock (locking=off) */
    bool is_in_graph;  /* locked as those who use it need it (graph.h) */
    bool takes_bytes;  /* requests of any alignment, not only of sectors */
    bool copies_up;    /* copy-on-read: what is read from backing files is written to the image */
    bool can_discard;  /* discard=unmap: give freed space back to the host */
    BlockCache cache;
    BlockErrorAction on_write_error, on_read_error;
} BlockOptions;

typedef enum BlockOp {
    BLOCK_OP_READ,
    BLOCK_OP_WRITE,
    BLOCK_OP_FLUSH,
    BLOCK_OP_DISCARD,
    BLOCK_OP_WRITE_ZEROES,
} BlockOp;

/* One request; embedded in the caller's. */
struct BlockRequest {
    BlockOp op;
    bool must_reach_disk;    /* a write that flushes itself */
    bool may_unmap;          /* WRITE_ZEROES: the space may be given back */
    uint64_t offset, length; /* bytes; READ and WRITE: length is that of @iov */
    struct iovec *iov;       /* READ, WRITE: borrowed until done; may be changed */
    unsigned iov_count;
    /* Called on the loop, never inside block_submit(). @result: 0 or -errno. The request is the
     * caller's again. */
    void (*done)(BlockRequest *request, int result);

    /* private */
    BlockBackend *backend;
    int result;
    bool is_refused;       /* by the checks */
    int64_t started_ns;    /* when it was submitted */
    ThrottleRequest turn;  /* while the limits hold it back */
    Work work;             /* by a thread */
    FileTransfer transfer; /* or without one, where place says */
    BlockPlace place;
};

/* Opens and locks an image with its backing files. Returns: the back end, or NULL with @error: no
 * such file, no permission, in use (naming the process that holds it), no regular file or block
 * device, not of its format. Context: the loop. */
BlockBackend *block_backend_open(const BlockOptions *options, EventLoop *loop, GError **error);
/* Waits for requests in flight and reports them. NULL is accepted. Context: the loop. */
void block_backend_close(BlockBackend *backend);

const char *block_backend_id(const BlockBackend *backend);
/* The device's id if the back end goes with it, otherwise its own. */
const char *block_backend_user(const BlockBackend *backend);
bool block_backend_is_anonymous(const BlockBackend *backend);
const char *block_backend_path(const BlockBackend *backend);
/* The image; borrowed. */
BlockNode *block_backend_node(const BlockBackend *backend);
/* Changes the size of the image. Devices learn of it by the hook. Context: the loop; waits. */
bool block_backend_resize(BlockBackend *backend, uint64_t size_bytes, GError **error);
/* Told when the size has changed; one device each. @hook NULL: none. Context: the loop. */
typedef void (*BlockResizeHook)(void *opaque);
void block_backend_set_resize_hook(BlockBackend *backend, BlockResizeHook hook, void *opaque);
/* Bytes, a multiple of BLOCK_SECTOR: a trailing part of a sector counts whole. */
uint64_t block_backend_size(BlockBackend *backend);
bool block_backend_is_readonly(const BlockBackend *backend);
bool block_backend_is_export(const BlockBackend *backend);
/* Whether a device or an export uses it: a drive may wait for its device. Context: the loop. */
bool block_backend_is_attached(const BlockBackend *backend);
/* A device that uses it came or went. @shares_writes: others may write too. Context: the loop. */
void block_backend_set_attached(BlockBackend *backend, bool is_attached, bool shares_writes);
/* Whether others may write to the image too (share-rw). */
bool block_backend_shares_writes(const BlockBackend *backend);
BlockCache block_backend_cache(const BlockBackend *backend);
bool block_backend_can_discard(const BlockBackend *backend);

/* Starts @request. What does not lie within the image, or changes a read-only one, is answered with
 * -EINVAL or -EPERM. Context: any thread. */
void block_submit(BlockBackend *backend, BlockRequest *request);

/* Returns when no request is being executed, those that the limits hold back too: nobody touches
 * the requests' memory any more, but done is still to be called. Context: any thread but the
 * pool's. */
void block_backend_wait_idle(BlockBackend *backend);

/* As block_backend_wait_idle(), and done was called for each request that was submitted before and
 * for those that their done submitted. Context: the loop, or a thread that its thread does not wait
 * for; without a device's lock. */
void block_backend_drain(BlockBackend *backend);

/* For requests that do not go through block_submit(), as those of exports: the node, until leave().
 * enter() waits while the back end is drained. Context: any thread; the loop only where no drained
 * section is open. */
BlockNode *block_backend_enter(BlockBackend *backend);
void block_backend_leave(BlockBackend *backend);

/* Drain for changes of the graph: between begin and end no request uses the node or what is below
 * it; those that come, and those that wait in the pool, go on afterwards, on the node of then.
 * Sections may be nested. begin waits for requests that are being executed. Context: the loop. */
void block_backend_drain_begin(BlockBackend *backend);
void block_backend_drain_end(BlockBackend *backend);
/* @node (taken) in place of the node, which is returned (transfer full). Drained. */
BlockNode *block_backend_replace_node(BlockBackend *backend, BlockNode *node);

/* Requests are executed and reported on @loop from here on. No request is in flight; throttling
 * stays with the loop of opening. Neither loop's thread is in a handler: it is the caller's or
 * pauses. False with @error: as before. */
bool block_backend_move(BlockBackend *backend, EventLoop *loop, GError **error);

/* Begins to write what the host's cache holds of the image; a failure is logged. Context: the loop.
 */
void block_backend_flush(BlockBackend *backend);

/* What to do about @error (positive errno) of a read or write: never BLOCK_ERROR_ENOSPC. */
BlockErrorAction block_backend_error_action(const BlockBackend *backend, bool is_write, int error);

/* A device's own choice in place of the options'. Context: the loop. */
void block_backend_set_error_action(BlockBackend *backend, bool is_write, BlockErrorAction action);

/* What stopped the guest: 0, or the errno (positive) of the first failed request since it ran. */
int block_backend_io_error(const BlockBackend *backend);
/* The guest goes on. */
void block_backend_forget_error(BlockBackend *backend);

/* Told of each failed request that a device handled. @action: BLOCK_ERROR_STOP asks for a pause of
 * the guest. Context: the loop, with the device's lock held: it only takes notes and posts. */
typedef void (*BlockErrorHook)(void *opaque, BlockBackend *backend, bool is_write,
                               BlockErrorAction action, int error);
void block_backend_set_error_hook(BlockBackend *backend, BlockErrorHook hook, void *opaque);
void block_backend_tell_error(BlockBackend *backend, bool is_write, BlockErrorAction action,
                              int error);

/* Limits of reads and writes, discards and zeroes counting as writes.
 *
 * Shares the limits of @group (referenced) with its other members from here on; what waits goes at
 * once. @name: of the group, copied. Nothing submits requests meanwhile: the loop's thread is the
 * caller's or pauses. Context: the loop of opening. */
void block_backend_join_limits(BlockBackend *backend, ThrottleGroup *group, const char *name);
/* No limits from here on. The same holds. */
void block_backend_leave_limits(BlockBackend *backend);
/* Changes the limits of the group, for all its members. It has one. @config: passed
 * throttle_config_problem(). Context: the loop of opening. */
void block_backend_set_throttle(BlockBackend *backend, const ThrottleConfig *config);
/* Returns: the name of the group, or NULL without one; @out_config is not touched then. */
const char *block_backend_get_throttle(BlockBackend *backend, ThrottleConfig *out_config);

typedef struct BlockStats {
    uint64_t operations[BLOCK_OP_WRITE_ZEROES + 1]; /* by BlockOp; finished without error */
    uint64_t bytes[BLOCK_OP_WRITE_ZEROES + 1];
    uint64_t failed[BLOCK_OP_WRITE_ZEROES + 1];
    uint64_t invalid[BLOCK_OP_WRITE_ZEROES + 1]; /* refused: not within the image, or read-only */
    uint64_t time_ns[BLOCK_OP_WRITE_ZEROES + 1]; /* of all, from submission on */
    int64_t last_ns;                             /* when one ended last; 0: never */
} BlockStats;

/* Context: any thread. */
void block_backend_get_stats(BlockBackend *backend, BlockStats *out_stats);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(BlockBackend, block_backend_close)

#endif
