/* Jobs for their authors. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_JOB_JOB_PRIVATE_H
#define LODGE_BLOCK_JOB_JOB_PRIVATE_H

#include "block/drivers.h"
#include "block/job/job.h"

#define JOB_PART_BYTES (1u << 20) /* copied at once */

typedef struct JobDriver {
    const char *type;
    bool is_block;
    bool is_backup;    /* see is_of_backup of nodes */
    bool can_complete; /* becomes ready and waits for that */
    /* The work, on the job's thread. Returns: 0 or -errno; job_fail() may say more. */
    int (*run)(Job *job);
    /* On the loop, after the work: what may fail of the end. NULL: nothing. */
    bool (*prepare)(Job *job, GError **error);
    /* On the loop: one of the two, then clean, which frees what the job has. NULL: nothing. */
    void (*commit)(Job *job);
    void (*abort)(Job *job);
    void (*clean)(Job *job);
} JobDriver;

/* Jobs that succeed together or not at all. */
typedef struct JobGroup {
    GPtrArray *jobs; /* of Job: those that have not ended */
    bool is_failing; /* one has failed, the others are being cancelled */
} JobGroup;

/* First member of each job. */
struct Job {
    const JobDriver *driver;
    JobSet *set;
    char *id;
    JobStatus status; /* the loop's */
    bool auto_finalize, auto_dismiss;
    JobErrorPolicy on_source_error, on_target_error;
    GPtrArray *claimed; /* of BlockNode, referenced */
    JobGroup *group;    /* freed by the last of its jobs; NULL: none */
    pthread_t thread;
    bool has_thread;
    int result; /* of run(), read after the thread has ended */

    uint64_t current, total; /* bytes; atomic */

    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* Under lock */
    uint64_t speed;
    int64_t next_ns; /* when the limit lets it go on */
    bool is_user_paused, is_waiting;
    bool is_cancelled, is_force_cancelled, is_completing;
    bool is_ready; /* said by the thread */
    int io_error;  /* errno of the error that paused it; 0: none */
    bool error_is_read;
    const char *error_action; /* of the errors not yet told; NULL: told */
    char *error;              /* why it failed */
};

/* A job of @size bytes that begins with a Job; NULL with @error: the id is in use or none. */
Job *job_new(JobSet *set, const JobDriver *driver, size_t size, const JobOptions *options,
             GError **error);
/* The job relies on @node until its end. */
bool job_claim(Job *job, BlockNode *node, GError **error);
/* The same, of one that the job writes to, as long as nobody else minds. */
bool job_claim_target(Job *job, BlockNode *node, GError **error);
/* Changes what @node says of its backing file, read-only or not. @name: NULL: that of @backing,
 * which may be NULL for none. */
bool job_change_backing(BlockGraph *graph, BlockNode *node, BlockNode *backing, const char *name,
                        GError **error);
/* All images from @top down to above @base (NULL: all), with the filters between them. */
bool job_claim_chain(Job *job, BlockNode *top, BlockNode *base, GError **error);

/* On the job's thread */

typedef enum JobNote { JOB_NOTE_PAUSED, JOB_NOTE_RESUMED, JOB_NOTE_READY, JOB_NOTE_ERROR } JobNote;
/* Lets the loop know. */
void job_post(Job *job, JobNote note);

/* Waits while the job is paused. False: it is to end at once. */
bool job_go_on(Job *job);
/* Waits as the limit of speed says for @bytes that were moved. */
void job_account(Job *job, uint64_t bytes);
/* Waits @ms, less if the user asks for something. */
void job_sleep(Job *job, unsigned ms);
/* The job can be completed; it goes on. */
void job_say_ready(Job *job);
/* Whether it is to end now that it is ready: completed or cancelled. */
bool job_is_ending(Job *job);
bool job_is_completing(Job *job);
void job_set_total(Job *job, uint64_t bytes);
void job_add_progress(Job *job, uint64_t bytes);
/* What to do about -@rc of a read or write: true: try again, after a while (JOB_ERROR_IGNORE) or
 * when the user resumed it; false: fail. */
bool job_handle_error(Job *job, bool is_read, int rc);
/* The reason, for messages; the first one is kept. */
void job_fail(Job *job, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* Copies a part, with the error policies: 0 or -errno. @buf: of @length
 * bytes; @length <= JOB_PART_BYTES. */
typedef struct JobCopy {
    BlockNode *source, *target;
    bool unmaps, is_compressed;
    uint8_t *buf; /* JOB_PART_BYTES */
} JobCopy;
int job_copy_part(Job *job, const JobCopy *copy, uint64_t offset, size_t length);
/* One try. *@out_is_read: what failed. */
int job_try_copy(const JobCopy *copy, uint64_t offset, size_t length, bool *out_is_read);

#endif
