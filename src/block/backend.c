/* Block back ends: opening of raw images, checks and dispatch of requests.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/backend.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/int-math.h"
#include "base/log.h"
#include "block/lock.h"
#include "block/raw-io.h"
#include "gbase/error.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#define THREADS_MAX 8

struct BlockBackend {
    char *id, *path;
    BlockOptions options; /* strings are those above */
    RawImage image;
    uint64_t size_bytes;
    WorkPool *pool;
    pthread_mutex_t lock;
    pthread_cond_t idle;
    unsigned executing; /* submitted, and memory still in use; under lock */
    BlockErrorHook hook;
    void *hook_opaque;
    BlockStats stats; /* on the loop */
};

/* Opening */

static bool is_direct(BlockCache cache)
{
    return cache == BLOCK_CACHE_NONE || cache == BLOCK_CACHE_DIRECTSYNC;
}

static bool is_write_through(BlockCache cache)
{
    return cache == BLOCK_CACHE_WRITETHROUGH || cache == BLOCK_CACHE_DIRECTSYNC;
}

static bool open_file(BlockBackend *backend, GError **error)
{
    const BlockOptions *options = &backend->options;
    int flags = (options->is_readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    int direct = is_direct(options->cache) ? O_DIRECT : 0;
    backend->image.fd = fd_open(options->path, flags | direct, 0);
    if (backend->image.fd == -EINVAL && direct) {
        log_warn("drive '%s': the file system of '%s' has no direct I/O; the page cache is used",
                 options->id, options->path);
        direct = 0;
        backend->image.fd = fd_open(options->path, flags, 0);
    }
    if (backend->image.fd < 0) {
        lodge_error_set_errno(error, -backend->image.fd, "cannot open '%s'%s", options->path,
                              options->is_readonly ? "" : " for writing");
        return false;
    }
    backend->image.is_direct = direct != 0;
    return true;
}

static bool read_size(BlockBackend *backend, GError **error)
{
    struct stat st;
    uint64_t size = 0;
    if (fstat(backend->image.fd, &st) < 0) {
        lodge_error_set_errno(error, errno, "cannot examine '%s'", backend->path);
        return false;
    }
    if (S_ISREG(st.st_mode)) {
        size = (uint64_t)st.st_size;
    } else if (S_ISBLK(st.st_mode)) {
        backend->image.is_block_device = true;
        if (ioctl(backend->image.fd, BLKGETSIZE64, &size) < 0) {
            lodge_error_set_errno(error, errno, "cannot get the size of '%s'", backend->path);
            return false;
        }
    } else {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "'%s' is neither a regular file nor a block device", backend->path);
        return false;
    }
    backend->size_bytes = round_up(size, BLOCK_SECTOR);
    return true;
}

/* Direct I/O needs aligned requests; the guest's are aligned to 512 bytes only. */
static void probe_alignment(BlockBackend *backend)
{
    void *memory;
    backend->image.alignment = BLOCK_SECTOR;
    if (!backend->image.is_direct || posix_memalign(&memory, 4096, 4096)) {
        return;
    }
    autofree void *buf = memory;
    if (pread(backend->image.fd, (char *)buf + BLOCK_SECTOR, BLOCK_SECTOR, 0) < 0 &&
        errno == EINVAL) {
        log_warn("drive '%s': direct I/O to '%s' needs more than 512-byte alignment; the page "
                 "cache is used",
                 backend->id, backend->path);
        int flags = fcntl(backend->image.fd, F_GETFL);
        if (flags >= 0 && fcntl(backend->image.fd, F_SETFL, flags & ~O_DIRECT) == 0) {
            backend->image.is_direct = false;
        }
    }
}

BlockBackend *block_backend_open(const BlockOptions *options, EventLoop *loop, GError **error)
{
    g_autoptr(BlockBackend) backend = g_new0(BlockBackend, 1);
    backend->id = g_strdup(options->id);
    backend->path = g_strdup(options->path);
    backend->options = *options;
    backend->options.id = backend->id;
    backend->options.path = backend->path;
    backend->image.fd = -1;
    pthread_mutex_init(&backend->lock, NULL);
    pthread_cond_init(&backend->idle, NULL);
    if (!open_file(backend, error) || !read_size(backend, error) ||
        (!options->is_unlocked &&
         !block_lock_image(backend->image.fd, backend->path, !options->is_readonly,
                           options->is_shared, error))) {
        g_prefix_error(error, "drive '%s': ", options->id);
        return NULL;
    }
    probe_alignment(backend);
    backend->pool = workpool_new(loop, THREADS_MAX);
    if (!backend->pool) {
        lodge_error_set_errno(error, errno, "drive '%s': cannot start", options->id);
        return NULL;
    }
    return g_steal_pointer(&backend);
}

void block_backend_close(BlockBackend *backend)
{
    if (!backend) {
        return;
    }
    workpool_free(backend->pool);
    cleanup_close(&backend->image.fd);
    pthread_cond_destroy(&backend->idle);
    pthread_mutex_destroy(&backend->lock);
    g_free(backend->id);
    g_free(backend->path);
    g_free(backend);
}

const char *block_backend_id(const BlockBackend *backend)
{
    return backend->id;
}

const char *block_backend_path(const BlockBackend *backend)
{
    return backend->path;
}

uint64_t block_backend_size(const BlockBackend *backend)
{
    return backend->size_bytes;
}

bool block_backend_is_readonly(const BlockBackend *backend)
{
    return backend->options.is_readonly;
}

BlockCache block_backend_cache(const BlockBackend *backend)
{
    return backend->options.cache;
}

bool block_backend_can_discard(const BlockBackend *backend)
{
    return backend->options.can_discard;
}

/* Requests */

static uint64_t iov_bytes(const BlockRequest *request)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < request->iov_count; i++) {
        bytes += request->iov[i].iov_len;
    }
    return bytes;
}

static bool changes_image(BlockOp op)
{
    return op == BLOCK_OP_WRITE || op == BLOCK_OP_DISCARD || op == BLOCK_OP_WRITE_ZEROES;
}

static int check(const BlockBackend *backend, const BlockRequest *request)
{
    if (request->op == BLOCK_OP_FLUSH) {
        return 0;
    }
    if (changes_image(request->op) && backend->options.is_readonly) {
        return -EPERM;
    }
    bool has_data = request->op == BLOCK_OP_READ || request->op == BLOCK_OP_WRITE;
    if (request->offset % BLOCK_SECTOR || request->length % BLOCK_SECTOR ||
        !range_fits(request->offset, request->length, backend->size_bytes) ||
        (has_data && iov_bytes(request) != request->length)) {
        return -EINVAL;
    }
    return 0;
}

static int execute(BlockBackend *backend, BlockRequest *request)
{
    RawImage *image = &backend->image;
    bool may_unmap = backend->options.can_discard && request->may_unmap;
    if (request->length == 0 && request->op != BLOCK_OP_FLUSH) {
        return 0;
    }
    switch (request->op) {
    case BLOCK_OP_READ:
        return raw_read(image, request->iov, request->iov_count, request->offset);
    case BLOCK_OP_WRITE:
        return raw_write(image, request->iov, request->iov_count, request->offset);
    case BLOCK_OP_FLUSH:
        return backend->options.cache == BLOCK_CACHE_UNSAFE ? 0 : raw_flush(image);
    case BLOCK_OP_DISCARD:
        return backend->options.can_discard ? raw_discard(image, request->offset, request->length)
                                            : 0;
    case BLOCK_OP_WRITE_ZEROES:
        return raw_write_zeroes(image, request->offset, request->length, may_unmap);
    }
    return -EINVAL;
}

static void run_request(Work *work)
{
    BlockRequest *request = container_of(work, BlockRequest, work);
    BlockBackend *backend = request->backend;
    BlockCache cache = backend->options.cache;
    if (request->result == 0) {
        request->result = execute(backend, request);
    }
    if (request->result == 0 && changes_image(request->op) && cache != BLOCK_CACHE_UNSAFE &&
        (request->must_reach_disk || is_write_through(cache))) {
        request->result = raw_flush(&backend->image);
    }
    LOCK_GUARD(&backend->lock);
    if (--backend->executing == 0) {
        pthread_cond_broadcast(&backend->idle);
    }
}

static void request_done(Work *work)
{
    BlockRequest *request = container_of(work, BlockRequest, work);
    BlockStats *stats = &request->backend->stats;
    if (request->result < 0) {
        stats->failed[request->op]++;
    } else {
        stats->operations[request->op]++;
        stats->bytes[request->op] += request->op == BLOCK_OP_FLUSH ? 0 : request->length;
    }
    request->done(request, request->result);
}

void block_submit(BlockBackend *backend, BlockRequest *request)
{
    request->backend = backend;
    request->work = (Work){ .run = run_request, .done = request_done };
    request->result = check(backend, request);
    pthread_mutex_lock(&backend->lock);
    backend->executing++;
    pthread_mutex_unlock(&backend->lock);
    workpool_submit(backend->pool, &request->work);
}

void block_backend_wait_idle(BlockBackend *backend)
{
    LOCK_GUARD(&backend->lock);
    while (backend->executing) {
        pthread_cond_wait(&backend->idle, &backend->lock);
    }
}

static bool is_executing(BlockBackend *backend)
{
    LOCK_GUARD(&backend->lock);
    return backend->executing > 0;
}

void block_backend_drain(BlockBackend *backend)
{
    do {
        block_backend_wait_idle(backend);
        workpool_poll(backend->pool);
    } while (is_executing(backend));
}

static void flush_done(BlockRequest *request, int result)
{
    if (result < 0) {
        log_error("drive '%s': cannot flush '%s': %s", request->backend->id, request->backend->path,
                  strerror(-result));
    }
    free(request);
}

void block_backend_flush(BlockBackend *backend)
{
    BlockRequest *request = backend->options.is_readonly ? NULL : calloc(1, sizeof(*request));
    if (request) {
        request->op = BLOCK_OP_FLUSH;
        request->done = flush_done;
        block_submit(backend, request);
    }
}

/* Errors */

BlockErrorAction block_backend_error_action(const BlockBackend *backend, bool is_write, int error)
{
    BlockErrorAction action =
        is_write ? backend->options.on_write_error : backend->options.on_read_error;
    if (action == BLOCK_ERROR_ENOSPC) {
        return error == ENOSPC || error == EDQUOT ? BLOCK_ERROR_STOP : BLOCK_ERROR_REPORT;
    }
    return action;
}

void block_backend_set_error_hook(BlockBackend *backend, BlockErrorHook hook, void *opaque)
{
    backend->hook = hook;
    backend->hook_opaque = opaque;
}

void block_backend_tell_error(BlockBackend *backend, bool is_write, BlockErrorAction action,
                              int error)
{
    if (backend->hook) {
        backend->hook(backend->hook_opaque, backend, is_write, action, error);
    }
}

void block_backend_get_stats(const BlockBackend *backend, BlockStats *out_stats)
{
    *out_stats = backend->stats;
}
