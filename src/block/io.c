/* Requests: all checks, and what drivers need not do themselves.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/int-math.h"
#include "block/dirty-bitmap.h"
#include "block/drivers.h"
#include "block/file/ring.h"
#include "gbase/error.h"

#include <errno.h>
#include <string.h>

#define ZERO_BYTES (1u << 20)

/* Checks */

static int check_range(const BlockNode *node, uint64_t offset, uint64_t length)
{
    return range_fits(offset, length, block_node_size(node)) ? 0 : -EIO;
}

static int check_write(const BlockNode *node, uint64_t offset, uint64_t length)
{
    if (!block_node_is_writable(node)) {
        return -EPERM;
    }
    return check_range(node, offset, length);
}

/* A writer that waits for this thread's transfers could wait for ever if the thread waits too. */
static void lock_shared(BlockNode *node)
{
    file_rings_settle();
    pthread_rwlock_rdlock(&node->lock);
}

static void hurry_below(BlockNode *node, GPtrArray **hurried)
{
    if (pthread_rwlock_tryrdlock(&node->lock) != 0) {
        return; /* it is being changed, and whoever does that hurries it */
    }
    BlockNode *const below[] = { node->file, node->data_file, node->backing };
    if (node->driver->hurry) {
        *hurried = *hurried ? *hurried : g_ptr_array_new();
        g_ptr_array_add(*hurried, block_node_ref(node));
        node->driver->hurry(node, true);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(below); i++) {
        if (below[i]) {
            hurry_below(below[i], hurried);
        }
    }
    pthread_rwlock_unlock(&node->lock);
}

GPtrArray *block_node_hurry(BlockNode *node)
{
    GPtrArray *hurried = NULL;
    hurry_below(node, &hurried);
    return hurried;
}

void block_node_hurry_end(GPtrArray *hurried)
{
    for (guint i = 0; hurried && i < hurried->len; i++) {
        BlockNode *node = g_ptr_array_index(hurried, i);
        node->driver->hurry(node, false);
        block_node_unref(node);
    }
    if (hurried) {
        g_ptr_array_unref(hurried);
    }
}

/* A node below may hold requests for minutes: they must not hold the writer up. */
static void lock_hurrying(BlockNode *node)
{
    if (pthread_rwlock_trywrlock(&node->lock) != 0) {
        GPtrArray *hurried = block_node_hurry(node);
        pthread_rwlock_wrlock(&node->lock);
        block_node_hurry_end(hurried);
    }
}

void block_node_lock_alone(BlockNode *node)
{
    file_rings_settle();
    __atomic_add_fetch(&node->alone_wanted, 1, __ATOMIC_SEQ_CST);
    lock_hurrying(node);
    __atomic_sub_fetch(&node->alone_wanted, 1, __ATOMIC_SEQ_CST);
}

static void unlock(BlockNode *node)
{
    pthread_rwlock_unlock(&node->lock);
}

/* Enters @node for a request that changes the range. On a serialized node it waits for who holds
 * bytes of it, and holds them: before it takes the lock, which the holder needs as well. */
static void enter_write(BlockNode *node, RangeHold *hold, uint64_t offset, uint64_t length,
                        unsigned flags)
{
    bool is_exempt = length == 0 || (flags & BLOCK_IO_HELD);
    for (;;) {
        RangeLock *serial = __atomic_load_n(&node->serial, __ATOMIC_ACQUIRE);
        hold->length = 0;
        if (serial && !is_exempt) {
            range_lock_take(serial, hold, offset, length);
        }
        lock_shared(node);
        if (serial || is_exempt || !node->serial) {
            return;
        }
        unlock(node);
    }
}

/* Enters @node to look at the range; on a node whose reads wait as enter_write(). */
static void enter_read(BlockNode *node, RangeHold *hold, uint64_t offset, uint64_t length,
                       unsigned flags)
{
    bool is_exempt = length == 0 || (flags & BLOCK_IO_HELD);
    for (;;) {
        bool waits = __atomic_load_n(&node->reads_wait, __ATOMIC_ACQUIRE);
        hold->length = 0;
        if (waits && !is_exempt) {
            range_lock_take(node->serial, hold, offset, length);
        }
        lock_shared(node);
        if (waits || is_exempt || !node->reads_wait) {
            return;
        }
        unlock(node);
    }
}

/* Of both. */
static void leave(BlockNode *node, RangeHold *hold)
{
    unlock(node);
    if (hold->length) {
        range_lock_release(node->serial, hold);
    }
}

/* Reading and writing */

int block_preadv_flags(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                       uint64_t skip, unsigned flags)
{
    RangeHold hold;
    enter_read(node, &hold, offset, length, flags);
    int rc = check_range(node, offset, length);
    if (rc == 0 && length) {
        rc = node->driver->read(node, offset, length, vec, skip);
    }
    leave(node, &hold);
    return block_node_note_failure(node, rc);
}

int block_preadv(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                 uint64_t skip)
{
    return block_preadv_flags(node, offset, length, vec, skip, 0);
}

int block_pread(BlockNode *node, uint64_t offset, void *buf, size_t length)
{
    struct iovec iov = { buf, length };
    BlockVec vec = { &iov, 1 };
    return block_preadv(node, offset, length, &vec, 0);
}

/* What the kernel could not write it may have dropped: after a failure no flush of a file succeeds.
 * Formats keep what they could not write, and their next flush tries again; direct I/O leaves the
 * kernel nothing to drop. */
static bool loses_data(const BlockNode *node)
{
    return !node->file && !(node->flags & BLOCK_OPEN_DIRECT);
}

static int flush_entered(BlockNode *node)
{
    int rc = __atomic_load_n(&node->flush_error, __ATOMIC_RELAXED);
    if (rc < 0) {
        return rc;
    }
    rc = node->driver->flush ? node->driver->flush(node) : 0;
    if (rc == 0 && node->file) {
        rc = block_flush(node->file);
    }
    if (rc < 0 && loses_data(node)) {
        __atomic_store_n(&node->flush_error, rc, __ATOMIC_RELAXED);
    }
    return block_node_note_failure(node, rc);
}

int block_flush(BlockNode *node)
{
    lock_shared(node);
    int rc = flush_entered(node);
    unlock(node);
    return rc;
}

static int finish_write(BlockNode *node, int rc, unsigned flags)
{
    block_node_note_failure(node, rc);
    return rc == 0 && (flags & BLOCK_IO_FUA) ? block_flush(node) : rc;
}

typedef int (*WriteFunc)(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                         uint64_t skip);

static int write_zero_bytes(BlockNode *node, uint64_t offset, uint64_t length, WriteFunc write)
{
    size_t size = MIN(length, ZERO_BYTES);
    g_autofree uint8_t *zeroes = g_try_malloc0(size);
    if (!zeroes) {
        return -ENOMEM;
    }
    int rc = 0;
    while (length > 0 && rc == 0) {
        struct iovec iov = { zeroes, MIN(length, size) };
        BlockVec vec = { &iov, 1 };
        rc = write(node, offset, iov.iov_len, &vec, 0);
        offset += iov.iov_len;
        length -= iov.iov_len;
    }
    return rc;
}

/* With the node entered, the range checked and not empty. */
static int make_zero(BlockNode *node, uint64_t offset, uint64_t length, unsigned flags)
{
    const BlockDriver *driver = node->driver;
    unsigned passed = node->flags & BLOCK_OPEN_DISCARD ? flags & BLOCK_IO_MAY_UNMAP : 0;
    int rc = driver->write_zeroes ? driver->write_zeroes(node, offset, length, passed) : -ENOTSUP;
    if (rc == -ENOTSUP && !(flags & BLOCK_IO_NO_FALLBACK)) {
        rc = write_zero_bytes(node, offset, length, driver->write);
    }
    return rc;
}

/* @settled: NULL: nobody asks. */
static int write_data(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                      uint64_t skip, const BlockSettled *settled)
{
    if (node->detect_zeroes != BLOCK_DETECT_ZEROES_OFF && block_vec_is_zero(vec, skip, length)) {
        bool may_unmap = node->detect_zeroes == BLOCK_DETECT_ZEROES_UNMAP;
        return make_zero(node, offset, length, may_unmap ? BLOCK_IO_MAY_UNMAP : 0);
    }
    if (settled && node->driver->write_settled) {
        return node->driver->write_settled(node, offset, length, vec, skip, settled);
    }
    return node->driver->write(node, offset, length, vec, skip);
}

static int write_vec(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                     uint64_t skip, unsigned flags, const BlockSettled *settled)
{
    RangeHold hold;
    enter_write(node, &hold, offset, length, flags);
    int rc = check_write(node, offset, length);
    if (rc == 0 && length) {
        rc = write_data(node, offset, length, vec, skip, settled);
        block_node_record(node, offset, length);
        block_node_note_write(node, offset + length);
    }
    leave(node, &hold);
    return finish_write(node, rc, flags);
}

int block_pwritev(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                  uint64_t skip, unsigned flags)
{
    return write_vec(node, offset, length, vec, skip, flags, NULL);
}

int block_pwrite(BlockNode *node, uint64_t offset, const void *buf, size_t length, unsigned flags)
{
    struct iovec iov = { (void *)buf, length };
    BlockVec vec = { &iov, 1 };
    return block_pwritev(node, offset, length, &vec, 0, flags);
}

int block_pwrite_settled(BlockNode *node, uint64_t offset, const void *buf, size_t length,
                         const BlockSettled *settled)
{
    struct iovec iov = { (void *)buf, length };
    BlockVec vec = { &iov, 1 };
    return write_vec(node, offset, length, &vec, 0, 0, settled);
}

int block_write_zeroes(BlockNode *node, uint64_t offset, uint64_t length, unsigned flags)
{
    RangeHold hold;
    enter_write(node, &hold, offset, length, flags);
    int rc = check_write(node, offset, length);
    if (rc == 0 && length) {
        rc = make_zero(node, offset, length, flags);
        block_node_record(node, offset, length);
        block_node_note_write(node, offset + length);
    }
    leave(node, &hold);
    return finish_write(node, rc, flags);
}

int block_discard(BlockNode *node, uint64_t offset, uint64_t length)
{
    RangeHold hold;
    enter_write(node, &hold, offset, length, 0);
    int rc = check_write(node, offset, length);
    if (rc == 0 && length && node->driver->discard && (node->flags & BLOCK_OPEN_DISCARD)) {
        rc = node->driver->discard(node, offset, length);
        rc = rc == -ENOTSUP ? 0 : rc;
        block_node_record(node, offset, length);
    }
    leave(node, &hold);
    return block_node_note_failure(node, rc);
}

int block_write_compressed(BlockNode *node, uint64_t offset, const void *buf, size_t length)
{
    if (!node->driver->write_compressed) {
        return -ENOTSUP;
    }
    RangeHold hold;
    enter_write(node, &hold, offset, length, 0);
    int rc = check_write(node, offset, length);
    if (rc == 0 && length) {
        rc = node->driver->write_compressed(node, offset, buf, length);
        block_node_record(node, offset, length);
        block_node_note_write(node, offset + length);
    }
    leave(node, &hold);
    return block_node_note_failure(node, rc);
}

/* Requests that need no thread */

bool block_place(BlockNode *node, uint64_t offset, uint64_t length, bool is_write,
                 BlockPlace *place)
{
    if (!node->driver->place || place->count == BLOCK_PLACE_DEPTH || length == 0 ||
        __atomic_load_n(&node->alone_wanted, __ATOMIC_RELAXED) ||
        pthread_rwlock_tryrdlock(&node->lock) != 0) {
        return false;
    }
    place->held[place->count++] = node;
    bool is_plain = is_write ? !node->serial && node->detect_zeroes == BLOCK_DETECT_ZEROES_OFF &&
                                   !block_node_write_threshold(node)
                             : !node->reads_wait;
    int rc = is_write ? check_write(node, offset, length) : check_range(node, offset, length);
    if (rc == 0 && is_plain && node->driver->place(node, offset, length, is_write, place)) {
        return true;
    }
    place->count--;
    unlock(node);
    return false;
}

void block_release(BlockPlace *place)
{
    while (place->count > 0) {
        BlockNode *node = place->held[--place->count];
        if (node->driver->leave) {
            node->driver->leave(node);
        }
        unlock(node);
    }
}

/* The bytes lie at one offset of the node entered first, and at another of all below the last. */
static void note_place(const BlockPlace *place, uint64_t offset, uint64_t length)
{
    for (unsigned i = 0; i < place->count; i++) {
        block_node_note_write(place->held[i], offset + length);
    }
    BlockNode *below = place->held[place->count - 1];
    while ((below = below->data_file ? below->data_file : below->file)) {
        block_node_note_write(below, place->offset + length);
    }
}

void block_leave(BlockPlace *place, uint64_t offset, uint64_t length, bool is_write)
{
    if (is_write) {
        block_node_record(place->held[0], offset, length);
        note_place(place, offset, length);
    }
    block_release(place);
}

/* Status */

int block_status(BlockNode *node, uint64_t offset, uint64_t length, BlockStatus *out_status)
{
    int rc = 0;
    lock_shared(node);
    uint64_t size = block_node_size(node);
    length = offset < size ? MIN(length, size - offset) : 0;
    *out_status = (BlockStatus){
        .flags = BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_OFFSET,
        .length = length,
        .offset = offset,
    };
    if (length && node->driver->status) {
        rc = node->driver->status(node, offset, length, out_status);
        out_status->length = MIN(out_status->length, length);
    }
    if (rc == 0 && offset + out_status->length >= size) {
        out_status->flags |= BLOCK_STATUS_EOF;
    }
    unlock(node);
    return block_node_note_failure(node, rc);
}

/* From @node on, as block_status_chain(); @depth: of @node. */
static int find_in_chain(BlockNode *node, BlockNode *base, uint64_t offset, uint64_t length,
                         BlockStatus *out_status, BlockNode **out_node, unsigned *out_depth,
                         unsigned flags);

/* The same, with the range held in a node whose reads wait. */
static int find_held(BlockNode *node, BlockNode *base, uint64_t offset, uint64_t length,
                     BlockStatus *out_status, BlockNode **out_node, unsigned *out_depth)
{
    RangeHold hold;
    range_lock_take(node->serial, &hold, offset, length);
    int rc =
        find_in_chain(node, base, offset, length, out_status, out_node, out_depth, BLOCK_IO_HELD);
    range_lock_release(node->serial, &hold);
    return rc;
}

static int find_in_chain(BlockNode *node, BlockNode *base, uint64_t offset, uint64_t length,
                         BlockStatus *out_status, BlockNode **out_node, unsigned *out_depth,
                         unsigned flags)
{
    for (unsigned depth = *out_depth; node && node != base && length;
         node = node->backing, depth++, flags = 0) {
        while (node->driver->is_filter && node->file != base) {
            node = node->file;
        }
        *out_node = node;
        *out_depth = depth;
        if (!(flags & BLOCK_IO_HELD) && __atomic_load_n(&node->reads_wait, __ATOMIC_ACQUIRE)) {
            return find_held(node, base, offset, length, out_status, out_node, out_depth);
        }
        if (depth > 0 && offset >= block_node_size(node)) {
            /* A short backing file: its zeroes past the end hide what lies deeper. */
            *out_status = (BlockStatus){ BLOCK_STATUS_ZERO | BLOCK_STATUS_ALLOCATED, length, 0 };
            break;
        }
        int rc = block_status(node, offset, length, out_status);
        if (rc < 0) {
            return rc;
        }
        if (out_status->flags & BLOCK_STATUS_ALLOCATED) {
            break;
        }
        length = out_status->length;
        out_status->flags = BLOCK_STATUS_ZERO;
    }
    return 0;
}

int block_status_chain_flags(BlockNode *node, BlockNode *base, uint64_t offset, uint64_t length,
                             BlockStatus *out_status, BlockNode **out_node, unsigned *out_depth,
                             unsigned flags)
{
    uint64_t size = block_node_size(node);
    length = offset < size ? MIN(length, size - offset) : 0;
    *out_status = (BlockStatus){ .flags = BLOCK_STATUS_ZERO, .length = length };
    *out_node = node;
    *out_depth = 0;
    int rc = find_in_chain(node, base, offset, length, out_status, out_node, out_depth, flags);
    if (rc < 0) {
        return rc;
    }
    out_status->flags &= ~(unsigned)BLOCK_STATUS_EOF;
    if (offset + out_status->length >= size) {
        out_status->flags |= BLOCK_STATUS_EOF;
    }
    return 0;
}

int block_status_chain(BlockNode *node, BlockNode *base, uint64_t offset, uint64_t length,
                       BlockStatus *out_status, BlockNode **out_node, unsigned *out_depth)
{
    return block_status_chain_flags(node, base, offset, length, out_status, out_node, out_depth, 0);
}

/* Layers below a format */

static bool can_grow(const BlockNode *child)
{
    return block_driver_is_file(child->driver) ||
           (child->driver == &block_driver_raw && can_grow(child->file));
}

int block_child_readv(BlockNode *child, uint64_t offset, uint64_t length, const BlockVec *vec,
                      uint64_t skip)
{
    if (length == 0) {
        return 0;
    }
    if (offset > INT64_MAX || length > INT64_MAX - offset) {
        return -EIO;
    }
    if (can_grow(child)) {
        return block_node_note_failure(child,
                                       child->driver->read(child, offset, length, vec, skip));
    }
    uint64_t size = block_node_size(child);
    uint64_t there = offset < size ? MIN(length, size - offset) : 0;
    block_vec_zero(vec, skip + there, length - there);
    int rc = there ? child->driver->read(child, offset, there, vec, skip) : 0;
    return block_node_note_failure(child, rc);
}

int block_child_read(BlockNode *child, uint64_t offset, void *buf, size_t length)
{
    struct iovec iov = { buf, length };
    BlockVec vec = { &iov, 1 };
    return block_child_readv(child, offset, length, &vec, 0);
}

static int check_child_write(const BlockNode *child, uint64_t offset, uint64_t length)
{
    if (!block_node_is_writable(child)) {
        return -EPERM;
    }
    if (offset > INT64_MAX || length > INT64_MAX - offset) {
        return -EFBIG;
    }
    return can_grow(child) || range_fits(offset, length, block_node_size(child)) ? 0 : -ENOSPC;
}

int block_child_writev(BlockNode *child, uint64_t offset, uint64_t length, const BlockVec *vec,
                       uint64_t skip)
{
    int rc = check_child_write(child, offset, length);
    if (rc < 0 || length == 0) {
        return rc;
    }
    rc = child->driver->write(child, offset, length, vec, skip);
    block_node_note_write(child, offset + length);
    return block_node_note_failure(child, rc);
}

int block_child_write(BlockNode *child, uint64_t offset, const void *buf, size_t length)
{
    struct iovec iov = { (void *)buf, length };
    BlockVec vec = { &iov, 1 };
    return block_child_writev(child, offset, length, &vec, 0);
}

bool block_child_place(BlockNode *child, uint64_t offset, uint64_t length, bool is_write,
                       BlockPlace *place)
{
    bool lies_within = range_fits(offset, length, block_node_size(child)) ||
                       (can_grow(child) && range_fits(offset, length, INT64_MAX));
    bool is_plain =
        !is_write || (block_node_is_writable(child) && !block_node_write_threshold(child));
    return child->driver->place && lies_within && is_plain &&
           child->driver->place(child, offset, length, is_write, place);
}

int block_child_zero(BlockNode *child, uint64_t offset, uint64_t length, unsigned flags)
{
    int rc = check_child_write(child, offset, length);
    if (rc < 0 || length == 0) {
        return rc;
    }
    rc = child->driver->write_zeroes
             ? child->driver->write_zeroes(child, offset, length, flags & BLOCK_IO_MAY_UNMAP)
             : -ENOTSUP;
    if (rc == -ENOTSUP && !(flags & BLOCK_IO_NO_FALLBACK)) {
        rc = write_zero_bytes(child, offset, length, child->driver->write);
    }
    block_node_note_write(child, offset + length);
    return block_node_note_failure(child, rc);
}

int block_child_discard(BlockNode *child, uint64_t offset, uint64_t length)
{
    int rc = check_child_write(child, offset, length);
    if (rc == 0 && length && child->driver->discard) {
        rc = child->driver->discard(child, offset, length);
        rc = rc == -ENOTSUP ? 0 : rc;
    }
    return block_node_note_failure(child, rc);
}

int block_child_flush(BlockNode *child)
{
    return block_flush(child);
}

int block_child_size(BlockNode *child, uint64_t *out_size)
{
    if (block_driver_is_file(child->driver)) {
        return file_size(child->state, out_size);
    }
    *out_size = block_node_size(child);
    return 0;
}

int block_child_truncate(BlockNode *child, uint64_t size)
{
    return block_truncate(child, size, BLOCK_PREALLOCATION_OFF, NULL) ? 0 : -EIO;
}

int block_child_allocate(BlockNode *child, uint64_t offset, uint64_t length)
{
    if (!block_driver_is_file(child->driver)) {
        return -ENOTSUP;
    }
    File *file = child->state;
    return file->ops->allocate(file, offset, length);
}

/* What runs alone */

int block_make_empty(BlockNode *node)
{
    if (!node->driver->make_empty) {
        return -ENOTSUP;
    }
    if (!block_node_is_writable(node)) {
        return -EPERM;
    }
    block_node_lock_alone(node);
    int rc = node->driver->make_empty(node);
    unlock(node);
    return rc == 0 ? block_flush(node) : rc;
}

static bool needs_write(const BlockNode *node, bool has_function, const char *what, GError **error)
{
    if (!has_function) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "%s: format '%s' does not support %s", node->filename, node->driver->name,
                    what);
        return false;
    }
    if (!block_node_is_writable(node)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_PERMISSION, "%s: the image is read-only",
                    node->filename);
        return false;
    }
    return true;
}

static bool resize_bitmaps(const BlockNode *node, uint64_t size, GError **error)
{
    DirtyBitmap *bitmap;
    for (unsigned i = 0; (bitmap = block_node_bitmap(node, i)); i++) {
        if (dirty_bitmap_resize(bitmap, size) < 0) {
            lodge_error_set_errno(error, ENOMEM, "%s: cannot resize the dirty bitmap '%s'",
                                  node->filename,
                                  dirty_bitmap_name(bitmap) ? dirty_bitmap_name(bitmap) : "");
            return false;
        }
    }
    return true;
}

bool block_truncate(BlockNode *node, uint64_t size, BlockPreallocation preallocation,
                    GError **error)
{
    if (!needs_write(node, node->driver->truncate, "resizing", error)) {
        return false;
    }
    if (size > INT64_MAX - (1 << 21)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "the new size is too large");
        return false;
    }
    block_node_lock_alone(node);
    bool ok = resize_bitmaps(node, size, error) &&
              node->driver->truncate(node, size, preallocation, error);
    if (!ok) {
        (void)resize_bitmaps(node, block_node_size(node), NULL);
    }
    unlock(node);
    return ok;
}

int block_check(BlockNode *node, BlockCheck *check, unsigned fix)
{
    if (!node->driver->check) {
        return -ENOTSUP;
    }
    if (fix && !block_node_is_writable(node)) {
        return -EPERM;
    }
    block_node_lock_alone(node);
    int rc = node->driver->check(node, check, fix);
    unlock(node);
    return rc;
}

bool block_amend(BlockNode *node, const BlockSpec *options, bool is_forced, GError **error)
{
    if (!needs_write(node, node->driver->amend, "amending", error)) {
        return false;
    }
    block_node_lock_alone(node);
    bool ok = node->driver->amend(node, options, is_forced, error);
    unlock(node);
    return ok;
}

bool block_change_backing(BlockNode *node, const char *filename, const char *format, GError **error)
{
    if (!needs_write(node, node->driver->change_backing, "backing files", error)) {
        return false;
    }
    block_node_lock_alone(node);
    bool ok = node->driver->change_backing(node, filename, format, error);
    unlock(node);
    return ok;
}

static bool run_snapshot(BlockNode *node, const char *which,
                         bool (*run)(BlockNode *node, const char *which, GError **error),
                         GError **error)
{
    if (!needs_write(node, run, "snapshots", error)) {
        return false;
    }
    block_node_lock_alone(node);
    bool ok = run(node, which, error);
    unlock(node);
    return ok;
}

bool block_snapshot_create(BlockNode *node, const char *name, GError **error)
{
    return run_snapshot(node, name, node->driver->snapshot_create, error);
}

bool block_snapshot_apply(BlockNode *node, const char *which, GError **error)
{
    return run_snapshot(node, which, node->driver->snapshot_apply, error);
}

bool block_snapshot_delete(BlockNode *node, const char *which, GError **error)
{
    return run_snapshot(node, which, node->driver->snapshot_delete, error);
}

bool block_snapshot_load(BlockNode *node, const char *which, GError **error)
{
    if (!node->driver->snapshot_load) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "%s: format '%s' does not support snapshots", node->filename,
                    node->driver->name);
        return false;
    }
    block_node_lock_alone(node);
    bool ok = node->driver->snapshot_load(node, which, error);
    unlock(node);
    return ok;
}
