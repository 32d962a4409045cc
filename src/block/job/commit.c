/* Commit: images of a chain are copied into one below them and taken out of the chain.
 *
 * Below the active image this ends by itself: what is copied is hidden by what it is copied from
 * until then. The active image is committed as a mirror (mirror.c) whose target is the base.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "block/job/job-private.h"
#include "block/job/mirror.h"
#include "gbase/error.h"

#include <errno.h>
#include <string.h>

typedef struct Commit {
    Job job;
    BlockNode *top, *base, *overlay; /* overlay's backing is top */
    char *backing_name;              /* that the overlay says; NULL: of the base */
    bool base_was_readonly;
    JobCopy copy;
} Commit;

static bool make_writable(BlockGraph *graph, BlockNode *node, uint64_t size, bool *out_was_readonly,
                          GError **error)
{
    *out_was_readonly = !block_node_is_writable(node);
    if (!block_graph_reopen(graph, node, block_node_flags(node) | BLOCK_OPEN_WRITABLE, error)) {
        *out_was_readonly = false;
        return false;
    }
    return block_node_size(node) >= size ||
           block_truncate(node, size, BLOCK_PREALLOCATION_OFF, error);
}

static void make_readonly(BlockNode *node)
{
    g_autoptr(GError) error = NULL;
    if (!block_reopen(node, block_node_flags(node) & ~(unsigned)BLOCK_OPEN_WRITABLE, &error)) {
        log_warn("'%s' stays open for writing: %s", block_node_filename(node), error->message);
    }
}

/* A part that is in an image above the base: 0, -errno, or 1: left out. */
static int commit_part(Commit *c, uint64_t offset, uint64_t length, uint64_t *out_length)
{
    BlockStatus status;
    BlockNode *where;
    unsigned depth;
    int rc;
    while ((rc = block_status_chain(c->top, c->base, offset, length, &status, &where, &depth)) <
           0) {
        if (!job_handle_error(&c->job, true, rc)) {
            return rc;
        }
    }
    *out_length = status.length;
    if (!(status.flags & BLOCK_STATUS_ALLOCATED)) {
        return 1;
    }
    return job_copy_part(&c->job, &c->copy, offset, status.length);
}

static int run_commit(Job *job)
{
    Commit *c = (Commit *)job;
    uint64_t size = block_node_size(c->top), length;
    job_set_total(job, size);
    for (uint64_t at = 0; at < size; at += length) {
        if (!job_go_on(job)) {
            return -ECANCELED;
        }
        int rc = commit_part(c, at, MIN(size - at, JOB_PART_BYTES), &length);
        if (rc < 0 || length == 0) {
            return rc;
        }
        job_add_progress(job, length);
        job_account(job, rc == 0 ? length : 0);
    }
    return block_flush(c->base);
}

bool job_change_backing(BlockGraph *graph, BlockNode *node, BlockNode *backing, const char *name,
                        GError **error)
{
    bool was_readonly = !block_node_is_writable(node);
    BlockNode *image = block_skip_filters(backing);
    if (!block_graph_reopen(graph, node, block_node_flags(node) | BLOCK_OPEN_WRITABLE, error)) {
        return false;
    }
    bool ok = block_change_backing(node,
                                   !image ? NULL
                                   : name ? name
                                          : block_node_filename(image),
                                   image ? block_node_driver(image) : NULL, error);
    if (was_readonly) {
        make_readonly(node);
    }
    return ok;
}

static bool prepare_commit(Job *job, GError **error)
{
    Commit *c = (Commit *)job;
    if (!job_change_backing(job_set_graph(job->set), c->overlay, c->base, c->backing_name, error)) {
        return false;
    }
    block_graph_set_backing(c->overlay, c->base);
    return true;
}

static void clean_commit(Job *job)
{
    Commit *c = (Commit *)job;
    if (c->base_was_readonly) {
        make_readonly(c->base);
    }
    block_node_unref(c->top);
    block_node_unref(c->base);
    block_node_unref(c->overlay);
    g_free(c->backing_name);
    g_free(c->copy.buf);
}

static const JobDriver commit_driver = {
    .type = "commit",
    .is_block = true,
    .run = run_commit,
    .prepare = prepare_commit,
    .clean = clean_commit,
};

static Job *commit_inner(JobSet *set, const JobOptions *options, BlockNode *top, BlockNode *base,
                         BlockNode *overlay, const char *backing_name, GError **error)
{
    Commit *c = (Commit *)job_new(set, &commit_driver, sizeof(*c), options, error);
    if (!c) {
        return NULL;
    }
    c->top = block_node_ref(top);
    c->base = block_node_ref(base);
    c->overlay = block_node_ref(overlay);
    c->backing_name = g_strdup(backing_name);
    c->copy = (JobCopy){ .source = top, .target = base, .buf = g_malloc(JOB_PART_BYTES) };
    if (job_claim(&c->job, overlay, error) && job_claim_chain(&c->job, top, base, error) &&
        job_claim(&c->job, base, error) &&
        make_writable(job_set_graph(set), base, block_node_size(top), &c->base_was_readonly,
                      error)) {
        return &c->job;
    }
    job_abandon(&c->job);
    return NULL;
}

/* The active image */

static bool prepare_base(Job *job, MirrorHooks *hooks, GError **error)
{
    return make_writable(job_set_graph(job->set), hooks->base, hooks->base_bytes,
                         &hooks->was_readonly, error);
}

static void clean_active(Job *job, const MirrorHooks *hooks, bool has_pivoted)
{
    if (hooks->was_readonly && !has_pivoted) {
        make_readonly(hooks->base);
    }
}

static Job *commit_active(JobSet *set, const JobOptions *options, BlockNode *top, BlockNode *base,
                          const char *filter_name, GError **error)
{
    const MirrorOptions mirror = { .sync = JOB_SYNC_TOP, .filter_name = filter_name };
    const MirrorHooks hooks = { .before_start = prepare_base,
                                .clean = clean_active,
                                .base = base,
                                .base_bytes = block_node_size(top) };
    return mirror_new(set, options, top, base, base, &mirror, &hooks, error);
}

/* The one node whose backing is @top; NULL: none, or several (*out_is_shared). */
static BlockNode *find_overlay(BlockGraph *graph, const BlockNode *top, bool *out_is_shared)
{
    g_autoptr(GPtrArray) nodes = block_graph_nodes(graph);
    BlockNode *overlay = NULL;
    *out_is_shared = false;
    for (guint i = 0; i < nodes->len; i++) {
        BlockNode *node = g_ptr_array_index(nodes, i);
        if (node->backing == top) {
            *out_is_shared = overlay != NULL;
            overlay = node;
        }
    }
    return *out_is_shared ? NULL : overlay;
}

/* Exports are of images whose content stays what it is. */
static bool check_exports(BlockGraph *graph, BlockNode *top, const BlockNode *base, GError **error)
{
    for (BlockNode *node = top; node && node != base; node = block_chain_next(node)) {
        BlockBackend *backend;
        for (unsigned i = 0; (backend = block_graph_backend(graph, i)); i++) {
            if (block_backend_is_export(backend) && block_backend_node(backend) == node) {
                g_set_error(error, LODGE_ERROR, LODGE_ERROR_BUSY,
                            "Node '%s' is busy: the export '%s' reads it; remove that first",
                            block_node_name(node), block_backend_id(backend));
                return false;
            }
        }
    }
    return true;
}

/* What the job claims above its base cannot be exported while it runs. */
static Job *hide_from_exports(Job *job, BlockNode *top, const BlockNode *base)
{
    for (BlockNode *node = top; job && node && node != base; node = block_chain_next(node)) {
        node->is_hollow = node->claim != NULL;
    }
    return job;
}

Job *job_commit_new(JobSet *set, const JobOptions *options, BlockNode *top, BlockNode *base,
                    const char *backing_name, const char *filter_name, GError **error)
{
    bool is_shared;
    BlockNode *overlay = find_overlay(job_set_graph(set), top, &is_shared);
    bool is_same = block_skip_filters(top) == block_skip_filters(base);
    if (is_same || !block_chain_contains(top, base)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    is_same ? "top and base are the same node '%s'"
                            : "'%s' is not in this backing file chain",
                    block_node_name(base));
        return NULL;
    }
    if (is_shared) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_BUSY,
                    "'%s' is the backing file of several nodes", block_node_name(top));
        return NULL;
    }
    if (!check_exports(job_set_graph(set), block_chain_next(top), base, error) ||
        !block_check_grow(top, base, error)) {
        return NULL;
    }
    if (overlay) {
        return hide_from_exports(
            commit_inner(set, options, top, base, overlay, backing_name, error), top, base);
    }
    if (backing_name) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "'backing-file' specified, but 'top' is the active layer");
        return NULL;
    }
    return hide_from_exports(commit_active(set, options, top, base, filter_name, error), top, base);
}
