/* What mirror and active commit share. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_JOB_MIRROR_H
#define LODGE_BLOCK_JOB_MIRROR_H

#include "block/job/job.h"

/* What a commit does beside, on the loop; and what it needs for that. */
typedef struct MirrorHooks {
    bool (*before_start)(Job *job, struct MirrorHooks *hooks, GError **error);
    /* The nodes are still referenced. */
    void (*clean)(Job *job, const struct MirrorHooks *hooks, bool has_pivoted);
    BlockNode *base;
    uint64_t base_bytes; /* that it must have */
    bool was_readonly;   /* of before_start */
} MirrorHooks;

/* @bottom: images from it on are not copied; NULL: all are. @hooks: NULL: a mirror; else it is a
 * commit (copied). */
Job *mirror_new(JobSet *set, const JobOptions *options, BlockNode *source, BlockNode *target,
                BlockNode *bottom, const MirrorOptions *mirror, const MirrorHooks *hooks,
                GError **error);

#endif
