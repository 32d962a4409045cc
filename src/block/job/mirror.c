/* Mirror: copies a node and keeps the copy the same until it takes the node's place; and the commit
 * of an active image, which is the same with an image of its own chain for the target.
 *
 * A dirty bitmap of the source says what is left to copy. With copy-mode write-blocking a filter
 * above the source writes to the target as well; ranges are locked so that neither overtakes the
 * other. The last bytes are copied on the loop while the source is drained.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/job/mirror.h"
#include "base/int-math.h"
#include "base/log.h"
#include "block/filter/filter.h"
#include "block/job/job-private.h"
#include "gbase/error.h"

#include <errno.h>
#include <string.h>

#define IDLE_MS 20
#define CLOSE_BYTES JOB_PART_BYTES /* left, that may be copied at the end at once */
#define PASSES_BEFORE_CLOSE 3

typedef struct Mirror {
    Job job;
    BlockNode *source, *target, *replaces;
    BlockNode *bottom;  /* images from it on are not copied; NULL: all are */
    BlockNode *backing; /* that the target gets; NULL: none */
    BlockNode *filter;  /* active, or asked for; NULL */
    JobSync sync;
    bool is_active, has_pivoted;
    uint32_t granularity;
    DirtyBitmap *dirty;
    RangeLock ranges;
    JobCopy copy;
    MirrorHooks hooks;
} Mirror;

/* The filter of an active mirror */

/* Whole granules that the target has by now are clean. */
static void note_written(Mirror *m, uint64_t offset, uint64_t length)
{
    uint64_t size = dirty_bitmap_size(m->dirty);
    uint64_t first = round_up(offset, m->granularity);
    uint64_t end = offset + length >= size ? size : round_down(offset + length, m->granularity);
    if (first < end) {
        dirty_bitmap_reset(m->dirty, first, end - first);
    }
}

static void hold(Mirror *m, RangeHold *range, uint64_t offset, uint64_t length)
{
    uint64_t first = round_down(offset, m->granularity);
    range_lock_take(&m->ranges, range, first, round_up(offset + length, m->granularity) - first);
}

static int filter_write(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                        uint64_t skip)
{
    Mirror *m = node->state;
    RangeHold range;
    hold(m, &range, offset, length);
    int rc = block_pwritev(node->file, offset, length, vec, skip, 0);
    if (rc == 0 && m->is_active && block_pwritev(m->target, offset, length, vec, skip, 0) == 0) {
        note_written(m, offset, length);
    }
    range_lock_release(&m->ranges, &range);
    return rc;
}

static int filter_write_zeroes(BlockNode *node, uint64_t offset, uint64_t length, unsigned flags)
{
    Mirror *m = node->state;
    RangeHold range;
    hold(m, &range, offset, length);
    int rc = block_write_zeroes(node->file, offset, length, flags | BLOCK_IO_NO_FALLBACK);
    if (rc == 0 && m->is_active && block_write_zeroes(m->target, offset, length, flags) == 0) {
        note_written(m, offset, length);
    }
    range_lock_release(&m->ranges, &range);
    return rc;
}

static const BlockDriver mirror_filter = {
    .name = "mirror_top",
    .close = block_filter_close,
    .read = block_filter_read,
    .write = filter_write,
    .write_zeroes = filter_write_zeroes,
    .discard = block_filter_discard, /* what it changes is copied again */
    .status = block_filter_status,
    BLOCK_FILTER_PASSES,
};

/* The job's thread */

static int mark_allocated(Mirror *m)
{
    BlockStatus status;
    BlockNode *where;
    unsigned depth;
    uint64_t size = block_node_size(m->source);
    for (uint64_t at = 0; at < size; at += status.length) {
        int rc = block_status_chain(m->source, m->bottom, at, size - at, &status, &where, &depth);
        if (rc < 0 || status.length == 0) {
            return rc;
        }
        if (status.flags & BLOCK_STATUS_ALLOCATED) {
            dirty_bitmap_set(m->dirty, at, status.length);
        }
        if (!job_go_on(&m->job)) {
            return -ECANCELED;
        }
    }
    return 0;
}

static int mark_initial(Mirror *m)
{
    if (m->sync == JOB_SYNC_NONE) {
        return 0;
    }
    if (m->sync == JOB_SYNC_FULL) {
        dirty_bitmap_set(m->dirty, 0, dirty_bitmap_size(m->dirty));
        return 0;
    }
    return mark_allocated(m);
}

/* One try at a dirty range. It is dirty again if it failed. */
static int copy_range(Mirror *m, uint64_t offset, uint64_t length, bool *out_is_read)
{
    RangeHold range;
    hold(m, &range, offset, length);
    dirty_bitmap_reset(m->dirty, offset, length);
    int rc = job_try_copy(&m->copy, offset, length, out_is_read);
    if (rc < 0) {
        dirty_bitmap_set(m->dirty, offset, length);
    }
    range_lock_release(&m->ranges, &range);
    return rc;
}

/* A range, with the error policies: 0 or -errno. */
static int copy_or_handle(Mirror *m, uint64_t offset, uint64_t length)
{
    bool is_read;
    int rc = copy_range(m, offset, length, &is_read);
    if (rc == 0) {
        job_add_progress(&m->job, length);
        job_account(&m->job, length);
        return 0;
    }
    return job_handle_error(&m->job, is_read, rc) ? 0 : rc;
}

static int get_ready(Mirror *m)
{
    int rc;
    while ((rc = block_flush(m->target)) < 0) {
        if (!job_handle_error(&m->job, false, rc)) {
            return rc;
        }
    }
    job_say_ready(&m->job);
    return 0;
}

static int run_mirror(Job *job)
{
    Mirror *m = (Mirror *)job;
    uint64_t at = 0, offset, length;
    unsigned passes = 0;
    bool is_ready = false;
    int rc = mark_initial(m);
    while (rc == 0) {
        uint64_t left = dirty_bitmap_count(m->dirty);
        bool is_close = left == 0 || (passes >= PASSES_BEFORE_CLOSE && left <= CLOSE_BYTES);
        job_set_total(job, __atomic_load_n(&job->current, __ATOMIC_RELAXED) + left);
        if (!job_go_on(job)) {
            return -ECANCELED;
        }
        if (is_close && !is_ready) {
            rc = get_ready(m);
            is_ready = true;
        } else if (is_close && job_is_ending(job)) {
            return 0;
        } else if (dirty_bitmap_next(m->dirty, at, JOB_PART_BYTES, &offset, &length)) {
            rc = copy_or_handle(m, offset, length);
            at = offset + length;
        } else if (at) {
            at = 0;
            passes++;
        } else {
            job_sleep(job, IDLE_MS);
        }
    }
    return rc;
}

/* The end, on the loop */

/* What failed, where in which chain, and why. */
static void set_copy_error(GError **error, const char *what, BlockNode *node, int rc)
{
    g_autofree char *place = block_failure_place(node, rc);
    lodge_error_set_errno(error, rc, "cannot %s '%s'%s", what, block_node_filename(node), place);
}

/* What is left; the source is drained. */
static bool copy_rest(Mirror *m, GError **error)
{
    uint64_t offset, length;
    bool is_read;
    int rc;
    while (dirty_bitmap_next(m->dirty, 0, JOB_PART_BYTES, &offset, &length)) {
        rc = copy_range(m, offset, length, &is_read);
        if (rc < 0) {
            set_copy_error(error, is_read ? "read the last bytes of" : "write the last bytes to",
                           is_read ? m->source : m->target, rc);
            return false;
        }
    }
    rc = block_flush(m->target);
    if (rc < 0) {
        set_copy_error(error, "flush", m->target, rc);
    }
    return rc == 0;
}

static void remove_filter(Mirror *m)
{
    BlockGraph *graph = job_set_graph(m->job.set);
    if (m->filter) {
        block_graph_replace(graph, m->filter, m->source);
        block_graph_release(graph, m->filter);
        g_clear_pointer(&m->filter, block_node_unref);
    }
}

static bool pivot(Mirror *m, GError **error)
{
    BlockGraph *graph = job_set_graph(m->job.set);
    if (!block_graph_check_replace(graph, m->replaces, m->target, error)) {
        return false;
    }
    remove_filter(m);
    if (m->backing && !m->target->backing) {
        block_graph_set_backing(m->target, m->backing);
    }
    block_graph_replace(graph, m->replaces, m->target);
    m->has_pivoted = true;
    return true;
}

static bool prepare_mirror(Job *job, GError **error)
{
    Mirror *m = (Mirror *)job;
    BlockDrain *drain = block_graph_drain_begin(job_set_graph(job->set), m->source);
    bool ok = copy_rest(m, error) && (!job_is_completing(job) || pivot(m, error));
    block_graph_drain_end(drain);
    return ok;
}

static void clean_mirror(Job *job)
{
    Mirror *m = (Mirror *)job;
    remove_filter(m);
    if (m->dirty) {
        block_node_remove_bitmap(m->source, m->dirty);
    }
    if (m->hooks.clean) {
        m->hooks.clean(job, &m->hooks, m->has_pivoted);
    }
    dirty_bitmap_unref(m->dirty);
    block_node_unref(m->backing);
    block_node_unref(m->replaces);
    block_node_unref(m->source);
    block_node_unref(m->target);
    range_lock_done(&m->ranges);
    g_free(m->copy.buf);
}

static const JobDriver mirror_driver = {
    .type = "mirror",
    .is_block = true,
    .can_complete = true,
    .run = run_mirror,
    .prepare = prepare_mirror,
    .clean = clean_mirror,
};

static const JobDriver active_commit_driver = {
    .type = "commit",
    .is_block = true,
    .can_complete = true,
    .run = run_mirror,
    .prepare = prepare_mirror,
    .clean = clean_mirror,
};

static uint32_t default_granularity(BlockNode *target)
{
    BlockInfo info;
    uint64_t cluster = 0;
    if (block_get_info(target, &info, NULL)) {
        cluster = info.cluster_size;
        block_info_clear(&info);
    }
    return (uint32_t)MIN(MAX(cluster, 4096), 65536);
}

static bool check_sizes(const BlockNode *source, const BlockNode *target, GError **error)
{
    if (block_node_size(source) != block_node_size(target)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Source and target image have different sizes");
        return false;
    }
    if (!block_node_is_writable(target)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_PERMISSION, "Block node is read-only");
        return false;
    }
    return true;
}

static bool insert_filter(Mirror *m, const char *name, GError **error)
{
    BlockGraph *graph = job_set_graph(m->job.set);
    m->filter = block_filter_new(&mirror_filter, m->source, name, m);
    if ((name && !block_graph_is_free_name(graph, name, error)) ||
        !block_graph_check_replace(graph, m->source, m->filter, error)) {
        g_clear_pointer(&m->filter, block_node_unref);
        return false;
    }
    block_graph_hold(graph, m->filter);
    block_graph_replace(graph, m->source, m->filter);
    return true;
}

static bool set_up(Mirror *m, const MirrorOptions *options, GError **error)
{
    m->copy.buf = g_try_malloc(JOB_PART_BYTES);
    m->dirty = dirty_bitmap_new(NULL, block_node_size(m->source), m->granularity);
    if (!m->copy.buf || !m->dirty) {
        lodge_error_set_errno(error, ENOMEM, "cannot start a mirror");
        return false;
    }
    block_node_add_bitmap(m->source, m->dirty);
    return (!options->filter_name && !m->is_active) ||
           insert_filter(m, options->filter_name, error);
}

Job *mirror_new(JobSet *set, const JobOptions *options, BlockNode *source, BlockNode *target,
                BlockNode *bottom, const MirrorOptions *mirror, const MirrorHooks *hooks,
                GError **error)
{
    const JobDriver *driver = hooks ? &active_commit_driver : &mirror_driver;
    Mirror *m = (Mirror *)job_new(set, driver, sizeof(*m), options, error);
    if (!m) {
        return NULL;
    }
    range_lock_init(&m->ranges);
    m->source = block_node_ref(source);
    m->target = block_node_ref(target);
    m->replaces = block_node_ref(mirror->replaces ? mirror->replaces : source);
    m->backing = mirror->backing ? block_node_ref(mirror->backing) : NULL;
    m->bottom = bottom;
    m->sync = mirror->sync;
    m->is_active = mirror->is_active;
    m->granularity = mirror->granularity ? mirror->granularity : default_granularity(target);
    m->copy.source = source;
    m->copy.target = target;
    m->copy.unmaps = mirror->unmaps;
    bool claims_target = !block_chain_contains(source, target);
    bool ok = job_claim_chain(&m->job, source, NULL, error) &&
              (!claims_target ||
               (check_sizes(source, target, error) && job_claim_target(&m->job, target, error))) &&
              set_up(m, mirror, error);
    if (ok && hooks) {
        m->hooks = *hooks;
        ok = m->hooks.before_start(&m->job, &m->hooks, error);
    }
    if (!ok) {
        job_abandon(&m->job);
        return NULL;
    }
    return &m->job;
}

Job *job_mirror_new(JobSet *set, const JobOptions *options, BlockNode *source, BlockNode *target,
                    const MirrorOptions *mirror, GError **error)
{
    BlockNode *bottom = mirror->sync == JOB_SYNC_TOP ? block_chain_next(source) : NULL;
    if (block_skip_filters(source) == block_skip_filters(target)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Can't mirror node into itself");
        return NULL;
    }
    const BlockNode *user = block_graph_parent(job_set_graph(set), source);
    const BlockNode *overlay = block_graph_parent(job_set_graph(set), target);
    if (user) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Need a root block node: '%s' is below '%s'; mirror that one",
                    block_node_name(source), block_node_name(user));
        return NULL;
    }
    if (overlay && overlay->backing == target) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_BUSY,
                    "Node '%s' is busy: node is used as backing hd of '%s'",
                    block_node_name(target), block_node_name(overlay));
        return NULL;
    }
    return mirror_new(set, options, source, target, bottom, mirror, NULL, error);
}
