/* Stream: an image gets what the images below it have, which then leave its chain.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "block/job/job-private.h"
#include "gbase/error.h"

#include <errno.h>

typedef struct Stream {
    Job job;
    BlockNode *node, *base; /* base: NULL: none */
    char *backing_name;
    bool was_readonly;
    uint8_t *buf;
    int ignored; /* the first such error, -errno: the image still needs its backing file */
} Stream;

/* A part: 0, or -errno; @out_copied: bytes that were. Who ignores errors gets what can be had. */
static int stream_part(Stream *s, uint64_t offset, size_t length, size_t *out_copied)
{
    int rc;
    while ((rc = block_copy_up(s->node, s->base, offset, length, s->buf, out_copied)) < 0) {
        /* Of the image too: QEMU calls all of a stream's errors errors of reading. */
        if (!job_handle_error(&s->job, true, rc)) {
            return rc;
        }
        if (s->job.on_source_error == JOB_ERROR_IGNORE) {
            *out_copied = 0;
            s->ignored = s->ignored ? s->ignored : rc;
            return 0;
        }
    }
    return 0;
}

static int run_stream(Job *job)
{
    Stream *s = (Stream *)job;
    uint64_t size = block_node_size(s->node);
    size_t part, copied;
    job_set_total(job, size);
    for (uint64_t at = 0; at < size && s->node->backing != s->base; at += part) {
        part = MIN(size - at, JOB_PART_BYTES);
        if (!job_go_on(job)) {
            return -ECANCELED;
        }
        int rc = stream_part(s, at, part, &copied);
        if (rc < 0) {
            return rc;
        }
        job_add_progress(job, part);
        job_account(job, copied);
    }
    int rc = block_flush(s->node);
    return s->ignored ? s->ignored : rc;
}

static bool prepare_stream(Job *job, GError **error)
{
    Stream *s = (Stream *)job;
    if (s->node->backing == s->base) {
        return true;
    }
    if (!job_change_backing(job_set_graph(job->set), s->node, s->base, s->backing_name, error)) {
        return false;
    }
    block_graph_set_backing(s->node, s->base);
    return true;
}

static void clean_stream(Job *job)
{
    Stream *s = (Stream *)job;
    g_autoptr(GError) error = NULL;
    if (s->was_readonly &&
        !block_reopen(s->node, block_node_flags(s->node) & ~(unsigned)BLOCK_OPEN_WRITABLE,
                      &error)) {
        log_warn("'%s' stays open for writing: %s", block_node_filename(s->node), error->message);
    }
    block_node_unref(s->base);
    block_node_unref(s->node);
    g_free(s->backing_name);
    g_free(s->buf);
}

static const JobDriver stream_driver = {
    .type = "stream",
    .is_block = true,
    .run = run_stream,
    .prepare = prepare_stream,
    .clean = clean_stream,
};

static bool set_up(Stream *s, GError **error)
{
    bool is_readonly = !block_node_is_writable(s->node);
    if (!job_claim_chain(&s->job, s->node, s->base, error)) {
        return false;
    }
    if (!block_graph_reopen(job_set_graph(s->job.set), s->node,
                            block_node_flags(s->node) | BLOCK_OPEN_WRITABLE, error)) {
        return false;
    }
    s->was_readonly = is_readonly;
    block_node_serialize(s->node);
    return true;
}

Job *job_stream_new(JobSet *set, const JobOptions *options, BlockNode *node, BlockNode *base,
                    const char *backing_name, GError **error)
{
    if (base && (base == node || !block_chain_contains(node, base))) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Node '%s' is not a backing image of '%s'", block_node_name(base),
                    block_node_name(node));
        return NULL;
    }
    Stream *s = (Stream *)job_new(set, &stream_driver, sizeof(*s), options, error);
    if (!s) {
        return NULL;
    }
    s->node = block_node_ref(node);
    s->base = base ? block_node_ref(base) : NULL;
    s->backing_name = g_strdup(backing_name);
    s->buf = g_malloc(JOB_PART_BYTES);
    if (!set_up(s, error)) {
        job_abandon(&s->job);
        return NULL;
    }
    return &s->job;
}
