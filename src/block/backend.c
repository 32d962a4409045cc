/* Block back ends: opening, checks and dispatch of a device's requests.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/backend.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/int-math.h"
#include "base/log.h"
#include "block/filter/filter.h"
#include "gbase/error.h"

#include <string.h>

#define THREADS_MAX 16

struct BlockBackend {
    char *id;
    char *device;         /* for messages; NULL: the id */
    BlockOptions options; /* its pointers are not used after opening */
    BlockNode *node;      /* changed on the loop under lock while drained */
    EventLoop *loop;
    WorkPool *pool;
    FileRing *ring; /* of the loop; NULL: the host has none for us */
    pthread_mutex_t lock;
    pthread_cond_t idle, opened;
    unsigned undelivered; /* submitted, and done() not called yet; under lock */
    unsigned executing;   /* submitted, and memory still in use; under lock */
    unsigned inside;      /* between enter() and leave(): they use node; under lock */
    unsigned drains;      /* while there are any, enter() waits; under lock */
    BlockErrorHook hook;
    void *hook_opaque;
    _Atomic(int) io_error; /* positive errno that stopped the guest; 0: none */
    bool is_attached;      /* a device uses it; the loop's */
    BlockResizeHook resize_hook;
    void *resize_opaque;
    ThrottleGroup *limits;      /* referenced; NULL: none */
    char *limits_name;          /* of that group */
    ThrottleMember member;      /* of limits */
    _Atomic(bool) is_throttled; /* requests go through the limits */
    BlockStats stats;           /* under lock */
};

/* Opening */

static bool is_write_through(BlockCache cache)
{
    return cache == BLOCK_CACHE_WRITETHROUGH || cache == BLOCK_CACHE_DIRECTSYNC;
}

static unsigned open_flags(const BlockOptions *options)
{
    bool is_direct = options->cache == BLOCK_CACHE_NONE || options->cache == BLOCK_CACHE_DIRECTSYNC;
    return (options->is_readonly ? 0 : BLOCK_OPEN_WRITABLE) |
           (options->is_unlocked ? BLOCK_OPEN_UNLOCKED : 0) |
           (options->is_in_graph ? BLOCK_OPEN_BY_USERS : 0) |
           (options->can_discard ? BLOCK_OPEN_DISCARD : 0) | (is_direct ? BLOCK_OPEN_DIRECT : 0) |
           (options->cache == BLOCK_CACHE_UNSAFE ? BLOCK_OPEN_NO_FLUSH : 0);
}

static BlockSpec *make_spec(const BlockOptions *options, GError **error)
{
    BlockSpec *spec;
    if (options->spec) {
        spec = block_spec_copy(options->spec);
    } else {
        spec = block_spec_from_name(options->path, options->format, error);
    }
    if (spec && options->objects) {
        block_spec_set_objects(spec, options->objects);
    }
    return spec;
}

/* -drive takes unmap without discard=unmap too, and then unmaps nothing. */
static bool set_detect_zeroes(BlockNode *node, const char *text, GError **error)
{
    g_autoptr(BlockSpec) spec = block_spec_new();
    BlockDetectZeroes detect_zeroes;
    block_spec_set(spec, "detect-zeroes", text);
    if (!block_detect_zeroes_from(spec, BLOCK_OPEN_DISCARD, &detect_zeroes, error)) {
        return false;
    }
    if (detect_zeroes != BLOCK_DETECT_ZEROES_OFF) {
        block_node_set_detect_zeroes(node, detect_zeroes);
    }
    return true;
}

/* The filter copy-on-read above @node (taken). */
static BlockNode *add_copy_on_read(BlockNode *node, GError **error)
{
    if (!block_node_is_writable(node)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "Can't use copy-on-read on read-only device");
        block_node_unref(node);
        return NULL;
    }
    BlockNode *filter = block_filter_new(&block_driver_copy_on_read, node, NULL, NULL);
    block_node_unref(node);
    return filter;
}

static BlockNode *open_node(const BlockOptions *options, GError **error)
{
    unsigned flags = open_flags(options);
    if (options->aio && !block_aio_parse(options->aio, &flags, error)) {
        return NULL;
    }
    g_autoptr(BlockSpec) spec = make_spec(options, error);
    BlockNode *node = spec ? block_open(spec, flags, error) : NULL;
    if (node && options->detect_zeroes && !set_detect_zeroes(node, options->detect_zeroes, error)) {
        g_clear_pointer(&node, block_node_unref);
    }
    if (node && block_node_was_probed(node) && strcmp(block_node_driver(node), "raw") == 0) {
        log_warn("drive '%s': the format of '%s' was not given and looks like raw; the guest may "
                 "not write there what would look like another format: give format=raw",
                 options->id, block_node_filename(node));
    }
    return node && options->copies_up ? add_copy_on_read(node, error) : node;
}

BlockBackend *block_backend_open(const BlockOptions *options, EventLoop *loop, GError **error)
{
    g_autoptr(BlockBackend) backend = g_new0(BlockBackend, 1);
    backend->id = g_strdup(options->id);
    backend->device = g_strdup(options->device);
    backend->options = *options;
    pthread_mutex_init(&backend->lock, NULL);
    pthread_cond_init(&backend->idle, NULL);
    pthread_cond_init(&backend->opened, NULL);
    backend->node = options->node ? block_node_ref(options->node) : open_node(options, error);
    if (!backend->node) {
        g_prefix_error(error, "drive '%s': ", options->id);
        return NULL;
    }
    bool is_alone = !options->node && !options->is_in_graph && !options->is_shared;
    if (is_alone && !block_keep_alone(backend->node, error)) {
        g_prefix_error(error, "drive '%s': ", options->id);
        return NULL;
    }
    backend->options.is_readonly |= !block_node_is_writable(backend->node);
    if (!block_backend_move(backend, loop, error)) {
        return NULL;
    }
    return g_steal_pointer(&backend);
}

bool block_backend_move(BlockBackend *backend, EventLoop *loop, GError **error)
{
    if (backend->loop == loop) {
        return true;
    }
    WorkPool *pool = workpool_new(loop, THREADS_MAX);
    if (!pool) {
        lodge_error_set_errno(error, errno, "drive '%s': cannot start", backend->id);
        return false;
    }
    file_ring_free(backend->ring);
    workpool_free(backend->pool);
    backend->pool = pool;
    backend->loop = loop;
    backend->ring = file_ring_new(loop);
    if (!backend->ring) {
        log_info("drive '%s': no io_uring (%s); threads do all requests", backend->id,
                 strerror(errno));
    }
    return true;
}

void block_backend_close(BlockBackend *backend)
{
    if (!backend) {
        return;
    }
    block_backend_leave_limits(backend);
    if (backend->pool) {
        block_backend_wait_idle(backend);
    }
    file_ring_free(backend->ring);
    workpool_free(backend->pool);
    block_node_unref(backend->node);
    pthread_cond_destroy(&backend->opened);
    pthread_cond_destroy(&backend->idle);
    pthread_mutex_destroy(&backend->lock);
    g_free(backend->id);
    g_free(backend->device);
    g_free(backend);
}

const char *block_backend_id(const BlockBackend *backend)
{
    return backend->id;
}

const char *block_backend_user(const BlockBackend *backend)
{
    return backend->device ? backend->device : backend->id;
}

bool block_backend_is_anonymous(const BlockBackend *backend)
{
    return backend->options.is_anonymous;
}

const char *block_backend_path(const BlockBackend *backend)
{
    return block_node_filename(backend->node);
}

BlockNode *block_backend_node(const BlockBackend *backend)
{
    return backend->node;
}

bool block_backend_resize(BlockBackend *backend, uint64_t size_bytes, GError **error)
{
    if (size_bytes % BLOCK_SECTOR) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "the size of a disk must be a multiple of %d bytes", BLOCK_SECTOR);
        return false;
    }
    block_backend_drain_begin(backend);
    bool ok = block_truncate(backend->node, size_bytes, BLOCK_PREALLOCATION_OFF, error);
    block_backend_drain_end(backend);
    if (!ok) {
        g_prefix_error(error, "drive '%s': ", backend->id);
        return false;
    }
    if (backend->resize_hook) {
        backend->resize_hook(backend->resize_opaque);
    }
    return true;
}

void block_backend_set_resize_hook(BlockBackend *backend, BlockResizeHook hook, void *opaque)
{
    backend->resize_hook = hook;
    backend->resize_opaque = opaque;
}

uint64_t block_backend_size(BlockBackend *backend)
{
    LOCK_GUARD(&backend->lock);
    return round_up(block_node_size(backend->node), BLOCK_SECTOR);
}

bool block_backend_is_readonly(const BlockBackend *backend)
{
    return backend->options.is_readonly;
}

bool block_backend_is_export(const BlockBackend *backend)
{
    return backend->options.is_export;
}

bool block_backend_is_attached(const BlockBackend *backend)
{
    return backend->is_attached || backend->options.is_export || backend->options.is_anonymous;
}

void block_backend_set_attached(BlockBackend *backend, bool is_attached, bool shares_writes)
{
    backend->is_attached = is_attached;
    backend->options.is_shared = is_attached && shares_writes;
}

bool block_backend_shares_writes(const BlockBackend *backend)
{
    return backend->options.is_shared || backend->options.is_export;
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

static int check(BlockBackend *backend, const BlockRequest *request)
{
    if (request->op == BLOCK_OP_FLUSH) {
        return 0;
    }
    if (changes_image(request->op) && backend->options.is_readonly) {
        return -EPERM;
    }
    bool has_data = request->op == BLOCK_OP_READ || request->op == BLOCK_OP_WRITE;
    if ((!backend->options.takes_bytes &&
         (request->offset % BLOCK_SECTOR || request->length % BLOCK_SECTOR)) ||
        !range_fits(request->offset, request->length, block_backend_size(backend)) ||
        (has_data && iov_bytes(request) != request->length)) {
        return -EINVAL;
    }
    return 0;
}

BlockNode *block_backend_enter(BlockBackend *backend)
{
    LOCK_GUARD(&backend->lock);
    while (backend->drains) {
        pthread_cond_wait(&backend->opened, &backend->lock);
    }
    backend->inside++;
    return backend->node;
}

void block_backend_leave(BlockBackend *backend)
{
    LOCK_GUARD(&backend->lock);
    if (--backend->inside == 0 && backend->drains) {
        pthread_cond_broadcast(&backend->idle);
    }
}

/* Until *@count, which broadcasts idle at 0, is none. The lock is held. */
static void wait_for_none(BlockBackend *backend, const unsigned *count)
{
    if (*count == 0) {
        return;
    }
    GPtrArray *hurried = block_node_hurry(backend->node);
    while (*count) {
        pthread_cond_wait(&backend->idle, &backend->lock);
    }
    block_node_hurry_end(hurried);
}

void block_backend_drain_begin(BlockBackend *backend)
{
    pthread_mutex_lock(&backend->lock);
    backend->drains++;
    pthread_mutex_unlock(&backend->lock);
    file_rings_settle();
    LOCK_GUARD(&backend->lock);
    wait_for_none(backend, &backend->inside);
}

void block_backend_drain_end(BlockBackend *backend)
{
    LOCK_GUARD(&backend->lock);
    lodge_assert(backend->drains > 0);
    if (--backend->drains == 0) {
        pthread_cond_broadcast(&backend->opened);
    }
}

BlockNode *block_backend_replace_node(BlockBackend *backend, BlockNode *node)
{
    LOCK_GUARD(&backend->lock);
    lodge_assert(backend->drains > 0 && backend->inside == 0);
    BlockNode *before = backend->node;
    backend->node = node;
    return before;
}

static bool reaches_disk(const BlockBackend *backend, const BlockRequest *request)
{
    BlockCache cache = backend->options.cache;
    return cache != BLOCK_CACHE_UNSAFE && (request->must_reach_disk || is_write_through(cache));
}

static int execute(BlockBackend *backend, BlockNode *node, const BlockRequest *request)
{
    BlockCache cache = backend->options.cache;
    BlockVec vec = { request->iov, request->iov_count };
    uint64_t offset = request->offset, length = request->length;
    unsigned flags = reaches_disk(backend, request) ? BLOCK_IO_FUA : 0;
    switch (request->op) {
    case BLOCK_OP_READ:
        return block_preadv(node, offset, length, &vec, 0);
    case BLOCK_OP_WRITE:
        return block_pwritev(node, offset, length, &vec, 0, flags);
    case BLOCK_OP_FLUSH:
        return cache == BLOCK_CACHE_UNSAFE ? 0 : block_flush(node);
    case BLOCK_OP_DISCARD: {
        int rc = block_discard(node, offset, length);
        return rc == 0 && flags ? block_flush(node) : rc;
    }
    case BLOCK_OP_WRITE_ZEROES:
        return block_write_zeroes(node, offset, length,
                                  flags | (request->may_unmap ? BLOCK_IO_MAY_UNMAP : 0));
    }
    return -EINVAL;
}

static void note_executed(BlockBackend *backend)
{
    LOCK_GUARD(&backend->lock);
    if (--backend->executing == 0) {
        pthread_cond_broadcast(&backend->idle);
    }
}

static void run_request(Work *work)
{
    BlockRequest *request = container_of(work, BlockRequest, work);
    BlockBackend *backend = request->backend;
    if (request->result == 0) {
        request->result = execute(backend, block_backend_enter(backend), request);
        block_backend_leave(backend);
    }
    note_executed(backend);
}

static void report(BlockRequest *request)
{
    BlockStats *stats = &request->backend->stats;
    pthread_mutex_lock(&request->backend->lock);
    int64_t now = clock_monotonic_ns();
    request->backend->undelivered--;
    if (request->is_refused) {
        stats->invalid[request->op]++;
    } else if (request->result < 0) {
        stats->failed[request->op]++;
    } else {
        stats->operations[request->op]++;
        stats->bytes[request->op] += request->op == BLOCK_OP_FLUSH ? 0 : request->length;
    }
    stats->time_ns[request->op] += (uint64_t)(now - request->started_ns);
    stats->last_ns = now;
    pthread_mutex_unlock(&request->backend->lock);
    request->done(request, request->result);
}

static void on_work_done(Work *work)
{
    report(container_of(work, BlockRequest, work));
}

/* Requests without a thread */

static void on_transfer_finished(FileTransfer *transfer, int result)
{
    BlockRequest *request = container_of(transfer, BlockRequest, transfer);
    request->result = result;
    block_leave(&request->place, request->offset, request->length, transfer->is_write);
    block_backend_leave(request->backend);
    note_executed(request->backend);
}

static void on_transfer_done(FileTransfer *transfer)
{
    report(container_of(transfer, BlockRequest, transfer));
}

/* As enter(), without waiting. NULL: the back end is drained. */
static BlockNode *try_enter(BlockBackend *backend)
{
    LOCK_GUARD(&backend->lock);
    if (backend->drains) {
        return NULL;
    }
    backend->inside++;
    return backend->node;
}

static bool may_go_without_thread(const BlockBackend *backend, const BlockRequest *request)
{
    return backend->ring && request->result == 0 &&
           (request->op == BLOCK_OP_READ ||
            (request->op == BLOCK_OP_WRITE && !reaches_disk(backend, request))) &&
           loop_is_current(backend->loop);
}

/* Starts @request by the ring; false: it needs a thread. */
static bool start_transfer(BlockBackend *backend, BlockRequest *request)
{
    BlockNode *node = may_go_without_thread(backend, request) ? try_enter(backend) : NULL;
    if (!node) {
        return false;
    }
    bool is_write = request->op == BLOCK_OP_WRITE;
    request->place.count = 0;
    if (!block_place(node, request->offset, request->length, is_write, &request->place)) {
        block_backend_leave(backend);
        return false;
    }
    request->transfer = (FileTransfer){ .file = request->place.file,
                                        .is_write = is_write,
                                        .offset = request->place.offset,
                                        .iov = request->iov,
                                        .count = request->iov_count,
                                        .finished = on_transfer_finished,
                                        .done = on_transfer_done };
    if (file_ring_submit(backend->ring, &request->transfer)) {
        return true;
    }
    block_release(&request->place);
    block_backend_leave(backend);
    return false;
}

static void start(BlockBackend *backend, BlockRequest *request)
{
    if (!start_transfer(backend, request)) {
        workpool_submit(backend->pool, &request->work);
    }
}

/* The limits let it go. */
static void start_request(ThrottleRequest *turn)
{
    BlockRequest *request = container_of(turn, BlockRequest, turn);
    start(request->backend, request);
}

void block_submit(BlockBackend *backend, BlockRequest *request)
{
    request->backend = backend;
    request->work = (Work){ .run = run_request, .done = on_work_done };
    request->started_ns = clock_monotonic_ns();
    request->result = check(backend, request);
    request->is_refused = request->result < 0;
    pthread_mutex_lock(&backend->lock);
    backend->executing++;
    backend->undelivered++;
    pthread_mutex_unlock(&backend->lock);
    if (backend->is_throttled && request->op != BLOCK_OP_FLUSH && request->result == 0) {
        request->turn = (ThrottleRequest){ .is_write = request->op != BLOCK_OP_READ,
                                           .bytes = request->length,
                                           .go = start_request };
        throttle_group_submit(&backend->member, &request->turn);
    } else {
        start(backend, request);
    }
}

void block_backend_join_limits(BlockBackend *backend, ThrottleGroup *group, const char *name)
{
    if (group == backend->limits) {
        return;
    }
    g_autofree char *copy = g_strdup(name);
    throttle_group_ref(group);
    block_backend_leave_limits(backend);
    backend->limits = group;
    backend->limits_name = g_steal_pointer(&copy);
    throttle_group_join(group, &backend->member);
    backend->is_throttled = true;
}

void block_backend_leave_limits(BlockBackend *backend)
{
    backend->is_throttled = false;
    if (backend->limits) {
        throttle_group_leave(&backend->member);
        g_clear_pointer(&backend->limits, throttle_group_unref);
        g_clear_pointer(&backend->limits_name, g_free);
    }
}

void block_backend_set_throttle(BlockBackend *backend, const ThrottleConfig *config)
{
    throttle_group_set_config(backend->limits, config);
}

const char *block_backend_get_throttle(BlockBackend *backend, ThrottleConfig *out_config)
{
    if (backend->limits) {
        throttle_group_get_config(backend->limits, out_config);
    }
    return backend->limits_name;
}

void block_backend_wait_idle(BlockBackend *backend)
{
    if (backend->is_throttled) {
        throttle_group_release(&backend->member);
    }
    file_rings_settle();
    LOCK_GUARD(&backend->lock);
    wait_for_none(backend, &backend->executing);
}

static bool has_undelivered(BlockBackend *backend)
{
    LOCK_GUARD(&backend->lock);
    return backend->undelivered > 0;
}

static void drain_here(void *opaque)
{
    BlockBackend *backend = opaque;
    do {
        block_backend_wait_idle(backend);
        workpool_poll(backend->pool);
        if (backend->ring && loop_is_current(backend->loop)) {
            file_ring_poll(backend->ring);
        }
        /* A thread that has just executed one may not have handed it back yet. */
        sched_yield();
    } while (has_undelivered(backend));
}

void block_backend_drain(BlockBackend *backend)
{
    while (loop_call_wait(backend->loop, drain_here, backend) < 0) {
        sched_yield(); /* memory is short: others give some back */
    }
}

static void flush_done(BlockRequest *request, int result)
{
    if (result < 0) {
        log_error("drive '%s': cannot flush '%s': %s", request->backend->id,
                  block_backend_path(request->backend), strerror(-result));
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

void block_backend_set_error_action(BlockBackend *backend, bool is_write, BlockErrorAction action)
{
    if (is_write) {
        backend->options.on_write_error = action;
    } else {
        backend->options.on_read_error = action;
    }
}

int block_backend_io_error(const BlockBackend *backend)
{
    return backend->io_error;
}

void block_backend_forget_error(BlockBackend *backend)
{
    backend->io_error = 0;
}

void block_backend_set_error_hook(BlockBackend *backend, BlockErrorHook hook, void *opaque)
{
    backend->hook = hook;
    backend->hook_opaque = opaque;
}

void block_backend_tell_error(BlockBackend *backend, bool is_write, BlockErrorAction action,
                              int error)
{
    if (action == BLOCK_ERROR_STOP && !backend->io_error) {
        backend->io_error = error;
    }
    if (backend->hook) {
        backend->hook(backend->hook_opaque, backend, is_write, action, error);
    }
}

void block_backend_get_stats(BlockBackend *backend, BlockStats *out_stats)
{
    LOCK_GUARD(&backend->lock);
    *out_stats = backend->stats;
}
