/* Backup: copies what a node has at one moment, while guests go on writing to it.
 *
 * A filter above the source copies what a write is about to replace before it lets the write
 * through. The bitmap "todo" says what was not copied yet. Should a copy before a write fail, the
 * write goes on and the job fails: a full backup disk is none of the guest's.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/int-math.h"
#include "block/filter/filter.h"
#include "block/job/job-private.h"
#include "block/lock.h"
#include "gbase/error.h"

#include <errno.h>

#define IDLE_MS 100
#define GRANULARITY_MIN 65536u
#define BEFORE_WRITE_BYTES (256u << 10) /* copied at once before a write */

typedef struct Backup {
    Job job;
    BlockNode *source, *target, *filter;
    JobSync sync;
    DirtyBitmap *todo;
    RangeLock ranges;
    uint32_t granularity;
    JobCopy copy;
    int broken; /* atomic; -errno of the copy before a write that failed */
    /* Of sync=bitmap and incremental */
    DirtyBitmap *bitmap, *before; /* before: its content when the job began */
    JobBitmapMode bitmap_mode;
    bool is_bitmap_taken; /* bitmap begins anew with what is written from here on */
} Backup;

/* Copies what of the range is to be copied. @copy: has a buffer of @part bytes. */
static int copy_todo(Backup *b, const JobCopy *copy, uint64_t offset, uint64_t length,
                     uint64_t part, bool *out_is_read)
{
    RangeHold range;
    uint64_t at = offset, at_length;
    int rc = 0;
    range_lock_take(&b->ranges, &range, offset, length);
    while (rc == 0 && at < offset + length &&
           dirty_bitmap_next(b->todo, at, part, &at, &at_length) && at < offset + length) {
        at_length = MIN(at_length, offset + length - at);
        rc = job_try_copy(copy, at, at_length, out_is_read);
        if (rc == 0) {
            dirty_bitmap_reset(b->todo, at, at_length);
            job_add_progress(&b->job, at_length);
        }
        at += at_length;
    }
    range_lock_release(&b->ranges, &range);
    return rc;
}

/* The filter */

static void copy_before(const BlockNode *node, uint64_t offset, uint64_t length)
{
    Backup *b = node->state;
    uint64_t first = round_down(offset, b->granularity), at, at_length;
    uint64_t end = MIN(round_up(offset + length, b->granularity), dirty_bitmap_size(b->todo));
    bool is_read;
    if (!dirty_bitmap_next(b->todo, first, 1, &at, &at_length) || at >= end) {
        /* Nothing is to be copied; but who copies it now must be through with reading. */
        RangeHold range;
        range_lock_take(&b->ranges, &range, first, MAX(end, first + 1) - first);
        range_lock_release(&b->ranges, &range);
        return;
    }
    JobCopy copy = b->copy;
    copy.buf = g_try_malloc(BEFORE_WRITE_BYTES);
    uint64_t part = MAX(BEFORE_WRITE_BYTES, b->granularity);
    if (part > BEFORE_WRITE_BYTES) {
        g_free(copy.buf);
        copy.buf = g_try_malloc(part);
    }
    int rc = copy.buf ? copy_todo(b, &copy, first, end - first, part, &is_read) : -ENOMEM;
    g_free(copy.buf);
    if (rc < 0) {
        int none = 0;
        __atomic_compare_exchange_n(&b->broken, &none, rc, false, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED);
    }
}

static int filter_write(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                        uint64_t skip)
{
    copy_before(node, offset, length);
    return block_filter_write(node, offset, length, vec, skip);
}

static int filter_write_zeroes(BlockNode *node, uint64_t offset, uint64_t length, unsigned flags)
{
    copy_before(node, offset, length);
    return block_filter_write_zeroes(node, offset, length, flags);
}

static int filter_discard(BlockNode *node, uint64_t offset, uint64_t length)
{
    copy_before(node, offset, length);
    return block_filter_discard(node, offset, length);
}

/* A write that does not come through here would be lost for the backup. */
static unsigned filter_access(const BlockNode *node, unsigned access)
{
    return access | BLOCK_ACCESS_READ | BLOCK_ACCESS_ALONE | BLOCK_ACCESS_SIZE;
}

static const BlockDriver backup_filter = {
    .name = "copy-before-write",
    .close = block_filter_close,
    .file_access = filter_access,
    .read = block_filter_read,
    .write = filter_write,
    .write_zeroes = filter_write_zeroes,
    .discard = filter_discard,
    .status = block_filter_status,
    BLOCK_FILTER_PASSES,
};

/* The job's thread */

static int check_broken(Backup *b)
{
    int rc = __atomic_load_n(&b->broken, __ATOMIC_RELAXED);
    if (rc < 0) {
        job_fail(&b->job, "could not copy what the guest was about to replace: %s",
                 g_strerror(-rc));
    }
    return rc;
}

/* sync=top: what the topmost image does not have is not copied. */
static int forget_unallocated(Backup *b)
{
    BlockStatus status;
    uint64_t size = block_node_size(b->source);
    for (uint64_t at = 0; at < size; at += status.length) {
        int rc = block_status(b->source, at, size - at, &status);
        if (rc < 0 || status.length == 0) {
            return rc;
        }
        uint64_t first = round_up(at, b->granularity);
        uint64_t end =
            at + status.length == size ? size : round_down(at + status.length, b->granularity);
        if (!(status.flags & BLOCK_STATUS_ALLOCATED) && first < end) {
            dirty_bitmap_reset(b->todo, first, end - first);
        }
    }
    return 0;
}

static int copy_next(Backup *b, uint64_t offset, uint64_t length)
{
    bool is_read;
    int rc = copy_todo(b, &b->copy, offset, length, JOB_PART_BYTES, &is_read);
    if (rc == 0) {
        job_account(&b->job, length);
    } else if (!job_handle_error(&b->job, is_read, rc)) {
        return rc;
    }
    return 0;
}

static int run_backup(Job *job)
{
    Backup *b = (Backup *)job;
    uint64_t offset = 0, length = 0;
    int rc = b->sync == JOB_SYNC_TOP ? forget_unallocated(b) : 0;
    job_set_total(job,
                  __atomic_load_n(&job->current, __ATOMIC_RELAXED) + dirty_bitmap_count(b->todo));
    while (rc == 0 && job_go_on(job)) {
        rc = check_broken(b);
        if (rc == 0 && b->sync == JOB_SYNC_NONE) {
            job_sleep(job, IDLE_MS);
        } else if (rc == 0 && dirty_bitmap_next(b->todo, 0, JOB_PART_BYTES, &offset, &length)) {
            rc = copy_next(b, offset, length);
        } else if (rc == 0) {
            rc = block_flush(b->target);
            return rc < 0 ? rc : check_broken(b);
        }
    }
    return rc < 0 ? rc : -ECANCELED;
}

/* The end, on the loop */

static void end_bitmap(Backup *b, bool is_done)
{
    if (!b->is_bitmap_taken) {
        return;
    }
    if (b->bitmap_mode == JOB_BITMAP_ALWAYS && !is_done) {
        dirty_bitmap_merge(b->bitmap, b->todo);
    } else if (b->bitmap_mode == JOB_BITMAP_NEVER || !is_done) {
        dirty_bitmap_merge(b->bitmap, b->before);
    }
    dirty_bitmap_set_flags(b->bitmap, 0, DIRTY_BITMAP_BUSY);
    b->is_bitmap_taken = false;
}

static void remove_filter(Backup *b)
{
    if (b->filter && b->target->reads_wait) {
        block_node_set_reads_wait(b->target, false);
    }
    if (b->filter) {
        BlockGraph *graph = job_set_graph(b->job.set);
        block_graph_replace(graph, b->filter, b->source);
        block_graph_release(graph, b->filter);
        g_clear_pointer(&b->filter, block_node_unref);
    }
}

static bool prepare_backup(Job *job, GError **error)
{
    Backup *b = (Backup *)job;
    int rc = check_broken(b);
    if (rc < 0) {
        lodge_error_set_errno(error, rc, "the backup is not complete");
    }
    return rc == 0;
}

static void commit_backup(Job *job)
{
    Backup *b = (Backup *)job;
    remove_filter(b);
    end_bitmap(b, true);
}

static void abort_backup(Job *job)
{
    Backup *b = (Backup *)job;
    remove_filter(b);
    end_bitmap(b, false);
}

static void clean_backup(Job *job)
{
    Backup *b = (Backup *)job;
    dirty_bitmap_unref(b->before);
    dirty_bitmap_unref(b->bitmap);
    dirty_bitmap_unref(b->todo);
    block_node_unref(b->source);
    block_node_unref(b->target);
    range_lock_done(&b->ranges);
    g_free(b->copy.buf);
}

static const JobDriver backup_driver = {
    .type = "backup",
    .is_backup = true,
    .is_block = true,
    .run = run_backup,
    .prepare = prepare_backup,
    .commit = commit_backup,
    .abort = abort_backup,
    .clean = clean_backup,
};

static bool check_options(const BlockNode *source, BlockNode *target, const BackupOptions *options,
                          GError **error)
{
    const char *problem = NULL;
    if (block_node_size(source) != block_node_size(target)) {
        problem = "Source and target image have different sizes";
    } else if (!block_node_is_writable(target)) {
        problem = "Block node is read-only";
    } else if (source == target) {
        problem = "Source and target cannot be the same";
    } else if (options->is_compressed && !target->driver->write_compressed) {
        problem = "Compression is not supported for this target";
    } else if (options->bitmap && (dirty_bitmap_flags(options->bitmap) & DIRTY_BITMAP_BUSY)) {
        problem = "Bitmap is currently in use by another operation and cannot be used";
    } else if (options->bitmap &&
               (dirty_bitmap_flags(options->bitmap) & DIRTY_BITMAP_INCONSISTENT)) {
        problem = "Bitmap is inconsistent and cannot be used; try block-dirty-bitmap-remove to "
                  "delete this bitmap from disk";
    }
    if (problem) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "%s", problem);
    }
    return !problem;
}

static bool choose_granularity(Backup *b, GError **error)
{
    BlockInfo info;
    uint64_t cluster = 0;
    if (block_get_info(b->target, &info, NULL)) {
        cluster = info.cluster_size;
        block_info_clear(&info);
    }
    if (cluster > JOB_PART_BYTES) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "clusters of the target are larger than %u bytes", JOB_PART_BYTES);
        return false;
    }
    b->granularity = MAX((uint32_t)cluster, GRANULARITY_MIN);
    return true;
}

/* What is to be copied is fixed when the filter is in place; the source is drained. */
static bool take_bitmap(Backup *b, const BackupOptions *options, GError **error)
{
    if (!options->bitmap) {
        dirty_bitmap_set(b->todo, 0, dirty_bitmap_size(b->todo));
        return true;
    }
    b->before = dirty_bitmap_copy(options->bitmap);
    if (!b->before) {
        lodge_error_set_errno(error, ENOMEM, "cannot start a backup");
        return false;
    }
    b->bitmap = dirty_bitmap_ref(options->bitmap);
    b->bitmap_mode = options->bitmap_mode;
    b->is_bitmap_taken = true;
    dirty_bitmap_merge(b->todo, b->before);
    dirty_bitmap_clear(b->bitmap);
    dirty_bitmap_set_flags(b->bitmap, DIRTY_BITMAP_BUSY, 0);
    return true;
}

/* A target over its source shows what the source had, and somebody may read it meanwhile (an
 * export): who found that the target does not have a part yet must be through with reading it from
 * the source before a write there goes on. */
static void guard_target(Backup *b)
{
    if (block_chain_contains(b->target, b->source)) {
        block_node_serialize(b->target);
        block_node_set_reads_wait(b->target, true);
    }
}

static bool insert_filter(Backup *b, const BackupOptions *options, GError **error)
{
    BlockGraph *graph = job_set_graph(b->job.set);
    const char *name = options->filter_name;
    BlockNode *filter = block_filter_new(&backup_filter, b->source, name, b);
    BlockDrain *drain = block_graph_drain_begin(graph, b->source);
    bool ok = (!name || block_graph_is_free_name(graph, name, error)) &&
              block_graph_check_replace(graph, b->source, filter, error) &&
              take_bitmap(b, options, error);
    if (ok) {
        b->filter = filter;
        guard_target(b);
        block_graph_hold(graph, filter);
        block_graph_replace(graph, b->source, filter);
    } else {
        block_node_unref(filter);
    }
    block_graph_drain_end(drain);
    return ok;
}

static bool set_up(Backup *b, const BackupOptions *options, GError **error)
{
    if (!job_claim_chain(&b->job, b->source, NULL, error) ||
        (!block_chain_contains(b->source, b->target) &&
         !job_claim_target(&b->job, b->target, error)) ||
        !choose_granularity(b, error)) {
        return false;
    }
    b->copy.buf = g_try_malloc(JOB_PART_BYTES);
    b->todo = dirty_bitmap_new(NULL, block_node_size(b->source), b->granularity);
    if (!b->copy.buf || !b->todo) {
        lodge_error_set_errno(error, ENOMEM, "cannot start a backup");
        return false;
    }
    return insert_filter(b, options, error);
}

Job *job_backup_new(JobSet *set, const JobOptions *options, BlockNode *source, BlockNode *target,
                    const BackupOptions *backup, GError **error)
{
    if (!check_options(source, target, backup, error)) {
        return NULL;
    }
    Backup *b = (Backup *)job_new(set, &backup_driver, sizeof(*b), options, error);
    if (!b) {
        return NULL;
    }
    range_lock_init(&b->ranges);
    b->source = block_node_ref(source);
    b->target = block_node_ref(target);
    b->sync = backup->sync;
    b->copy.source = source;
    b->copy.target = target;
    b->copy.is_compressed = backup->is_compressed;
    if (!set_up(b, backup, error)) {
        job_abandon(&b->job);
        return NULL;
    }
    return &b->job;
}
