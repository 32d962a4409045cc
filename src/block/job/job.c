/* Jobs, the loop's side: states, verbs, events, the end.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "base/log.h"
#include "block/job/job-private.h"
#include "gbase/error.h"

#include <errno.h>
#include <string.h>

#define JOBS_MAX 256

struct JobSet {
    EventLoop *loop;
    BlockGraph *graph;
    JobEventFunc func;
    void *opaque;
    GPtrArray *jobs;
};

static void say_paused(void *opaque);
static void say_resumed(void *opaque);
static void say_ready(void *opaque);
static void say_error(void *opaque);
static void finish(void *opaque);

/* The set */

JobSet *job_set_new(EventLoop *loop, BlockGraph *graph, JobEventFunc func, void *opaque)
{
    JobSet *set = g_new0(JobSet, 1);
    set->loop = loop;
    set->graph = graph;
    set->func = func;
    set->opaque = opaque;
    set->jobs = g_ptr_array_new();
    return set;
}

BlockGraph *job_set_graph(const JobSet *set)
{
    return set->graph;
}

Job *job_set_get(const JobSet *set, unsigned index)
{
    return index < set->jobs->len ? g_ptr_array_index(set->jobs, index) : NULL;
}

Job *job_set_find(const JobSet *set, const char *id)
{
    Job *job;
    for (unsigned i = 0; (job = job_set_get(set, i)); i++) {
        if (strcmp(job->id, id) == 0) {
            return job;
        }
    }
    return NULL;
}

static const struct {
    const char *name;
    /* Which verbs are taken */
    bool cancel, pause, speed, complete, finalize, dismiss;
} states[] = {
    [JOB_STATUS_CREATED] = { "created", true, true, true, false, false, false },
    [JOB_STATUS_RUNNING] = { "running", true, true, true, false, false, false },
    [JOB_STATUS_PAUSED] = { "paused", true, true, true, false, false, false },
    [JOB_STATUS_READY] = { "ready", true, true, true, true, false, false },
    [JOB_STATUS_STANDBY] = { "standby", true, true, true, true, false, false },
    [JOB_STATUS_WAITING] = { "waiting", true, false, false, false, false, false },
    [JOB_STATUS_PENDING] = { "pending", true, false, false, false, true, false },
    [JOB_STATUS_ABORTING] = { "aborting", false, false, false, false, false, false },
    [JOB_STATUS_CONCLUDED] = { "concluded", false, false, false, false, false, true },
    [JOB_STATUS_NULL] = { "null", false, false, false, false, false, false },
};

const char *job_status_name(JobStatus status)
{
    return states[status].name;
}

static bool check_verb(const Job *job, bool is_taken, const char *verb, GError **error)
{
    if (!is_taken) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_BUSY,
                    "Job '%s' in state '%s' cannot accept command verb '%s'", job->id,
                    job_status_name(job->status), verb);
    }
    return is_taken;
}

static void emit(const Job *job, JobEventKind kind)
{
    if (kind == JOB_EVENT_STATUS || job->driver->is_block) {
        job->set->func(job->set->opaque, &(JobEvent){ .kind = kind, .job = job });
    }
}

static void go_to(Job *job, JobStatus status)
{
    job->status = status;
    emit(job, JOB_EVENT_STATUS);
}

/* Making */

Job *job_new(JobSet *set, const JobDriver *driver, size_t size, const JobOptions *options,
             GError **error)
{
    if (job_set_find(set, options->id)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_EXISTS, "Job ID '%s' already in use",
                    options->id);
        return NULL;
    }
    if (set->jobs->len >= JOBS_MAX) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT, "there are %u jobs already",
                    set->jobs->len);
        return NULL;
    }
    Job *job = g_malloc0(size);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&job->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&job->lock, NULL);
    job->driver = driver;
    job->set = set;
    job->id = g_strdup(options->id);
    job->auto_finalize = !options->keeps_pending;
    job->auto_dismiss = !options->keeps_concluded;
    job->speed = options->speed;
    job->on_source_error = options->on_source_error;
    job->on_target_error = options->on_target_error;
    job->claimed = g_ptr_array_new();
    g_ptr_array_add(set->jobs, job);
    go_to(job, JOB_STATUS_CREATED);
    return job;
}

static bool claim(Job *job, BlockNode *node, bool is_target, GError **error)
{
    g_autofree char *user =
        g_strdup_printf("block device is in use by block job: %s", job->driver->type);
    if (!block_node_claim(node, user, error)) {
        return false;
    }
    node->job = g_strdup_printf("%s job '%s'", job->driver->type, job->id);
    node->is_target = is_target;
    node->is_of_backup = job->driver->is_backup;
    g_ptr_array_add(job->claimed, block_node_ref(node));
    block_graph_hold(job->set->graph, node);
    return block_graph_update_access(job->set->graph, node, error);
}

bool job_claim(Job *job, BlockNode *node, GError **error)
{
    return claim(job, node, false, error);
}

bool job_claim_target(Job *job, BlockNode *node, GError **error)
{
    return claim(job, node, true, error);
}

bool job_claim_chain(Job *job, BlockNode *top, BlockNode *base, GError **error)
{
    for (BlockNode *node = top; node && node != base;
         node = node->driver->is_filter ? node->file : node->backing) {
        if (!job_claim(job, node, error)) {
            return false;
        }
    }
    return true;
}

static void free_job(Job *job)
{
    loop_cancel_calls(job->set->loop, job);
    g_ptr_array_remove(job->set->jobs, job);
    g_ptr_array_unref(job->claimed);
    pthread_cond_destroy(&job->changed);
    pthread_mutex_destroy(&job->lock);
    g_free(job->id);
    g_free(job->error);
    g_free(job);
}

static void clean(Job *job)
{
    for (guint i = 0; i < job->claimed->len; i++) {
        block_node_unclaim(g_ptr_array_index(job->claimed, i));
    }
    if (job->driver->clean) {
        job->driver->clean(job);
    }
    for (guint i = 0; i < job->claimed->len; i++) {
        BlockNode *node = g_ptr_array_index(job->claimed, i);
        block_graph_release(job->set->graph, node);
        block_node_unref(node);
    }
    g_ptr_array_set_size(job->claimed, 0);
}

static void *run_job(void *opaque)
{
    Job *job = opaque;
    job->result = job->driver->run(job);
    while (loop_call(job->set->loop, finish, job) < 0) {
        job_sleep(job, 100);
    }
    return NULL;
}

void job_start(Job *job)
{
    go_to(job, JOB_STATUS_RUNNING);
    int rc = pthread_create(&job->thread, NULL, run_job, job);
    job->has_thread = rc == 0;
    if (rc != 0) {
        job_fail(job, "cannot start a thread: %s", g_strerror(rc));
        job->result = -rc;
        /* Later: others of its group are still to be started. */
        if (loop_call(job->set->loop, finish, job) < 0) {
            finish(job);
        }
    }
}

/* Groups */

void job_group(Job *const *jobs, unsigned count)
{
    JobGroup *group = count > 1 ? g_new0(JobGroup, 1) : NULL;
    for (unsigned i = 0; group && i < count; i++) {
        group->jobs = group->jobs ? group->jobs : g_ptr_array_new();
        g_ptr_array_add(group->jobs, jobs[i]);
        jobs[i]->group = group;
    }
}

static void leave_group(Job *job)
{
    JobGroup *group = g_steal_pointer(&job->group);
    if (group) {
        g_ptr_array_remove(group->jobs, job);
        if (group->jobs->len == 0) {
            g_ptr_array_unref(group->jobs);
            g_free(group);
        }
    }
}

void job_abandon(Job *job)
{
    if (job->driver->abort) {
        job->driver->abort(job);
    }
    leave_group(job);
    clean(job);
    go_to(job, JOB_STATUS_NULL);
    free_job(job);
}

/* The end */

static void conclude(Job *job)
{
    clean(job);
    emit(job, job->is_force_cancelled ? JOB_EVENT_CANCELLED : JOB_EVENT_COMPLETED);
    go_to(job, JOB_STATUS_CONCLUDED);
    if (job->auto_dismiss) {
        go_to(job, JOB_STATUS_NULL);
        free_job(job);
    }
}

static void give_up(Job *job);

/* The others of @job's group cannot succeed any more. */
static void cancel_group(const Job *job)
{
    JobGroup *group = job->group;
    if (!group || group->is_failing) {
        return;
    }
    group->is_failing = true;
    g_autoptr(GPtrArray) jobs = g_ptr_array_copy(group->jobs, NULL, NULL);
    for (guint i = 0; i < jobs->len; i++) {
        Job *other = g_ptr_array_index(jobs, i);
        if (other != job) {
            (void)job_cancel(other, true, NULL);
        }
    }
}

/* Which layer below a node of the job failed; "" if none did. (transfer full) */
static char *failure_place(const Job *job)
{
    for (guint i = 0; i < job->claimed->len; i++) {
        g_autofree char *place =
            block_failure_place(g_ptr_array_index(job->claimed, i), job->result);
        if (*place) {
            return g_steal_pointer(&place);
        }
    }
    return g_strdup("");
}

static void give_up(Job *job)
{
    cancel_group(job);
    leave_group(job);
    go_to(job, JOB_STATUS_ABORTING);
    if (job->is_force_cancelled) {
        job_fail(job, "%s", g_strerror(ECANCELED));
    } else if (!job->error) {
        g_autofree char *place = failure_place(job);
        job_fail(job, "%s%s", g_strerror(-job->result), place);
    }
    if (job->driver->abort) {
        job->driver->abort(job);
    }
    conclude(job);
}

static bool prepare(Job *job)
{
    g_autoptr(GError) error = NULL;
    if (!job->driver->prepare || job->driver->prepare(job, &error)) {
        return true;
    }
    job_fail(job, "%s", error->message);
    job->result = -EIO;
    give_up(job);
    return false;
}

/* @job and its group, who are all pending. */
static void end_well(Job *job)
{
    g_autoptr(GPtrArray) jobs =
        job->group ? g_ptr_array_copy(job->group->jobs, NULL, NULL) : g_ptr_array_new();
    if (!job->group) {
        g_ptr_array_add(jobs, job);
    }
    for (guint i = 0; i < jobs->len; i++) {
        if (!prepare(g_ptr_array_index(jobs, i))) {
            return;
        }
    }
    for (guint i = 0; i < jobs->len; i++) {
        Job *one = g_ptr_array_index(jobs, i);
        leave_group(one);
        if (one->driver->commit) {
            one->driver->commit(one);
        }
        conclude(one);
    }
}

static void become_pending(Job *job)
{
    go_to(job, JOB_STATUS_PENDING);
    if (!job->auto_finalize) {
        emit(job, JOB_EVENT_PENDING);
    }
}

/* @job is done; it waits for its group. */
static void wait_for_group(Job *job)
{
    const GPtrArray *jobs = job->group->jobs;
    bool is_automatic = true;
    for (guint i = 0; i < jobs->len; i++) {
        const Job *other = g_ptr_array_index(jobs, i);
        if (other->status != JOB_STATUS_WAITING) {
            return;
        }
        is_automatic = is_automatic && other->auto_finalize;
    }
    for (guint i = 0; i < jobs->len; i++) {
        become_pending(g_ptr_array_index(jobs, i));
    }
    if (is_automatic) {
        end_well(job);
    }
}

/* The thread is done. */
static void finish(void *opaque)
{
    Job *job = opaque;
    if (job->has_thread) {
        pthread_join(job->thread, NULL);
        job->has_thread = false;
    }
    if (job->result < 0 || job->is_force_cancelled) {
        give_up(job);
        return;
    }
    go_to(job, JOB_STATUS_WAITING);
    if (job->group) {
        wait_for_group(job);
        return;
    }
    become_pending(job);
    if (job->auto_finalize) {
        end_well(job);
    }
}

void job_set_free(JobSet *set)
{
    if (!set) {
        return;
    }
    while (set->jobs->len) {
        Job *job = g_ptr_array_index(set->jobs, set->jobs->len - 1);
        job->auto_dismiss = true;
        if (job->status == JOB_STATUS_CONCLUDED) {
            (void)job_dismiss(job, NULL);
            continue;
        }
        bool has_thread = job->has_thread;
        if (states[job->status].cancel) {
            (void)job_cancel(job, true, NULL); /* frees one that has no thread */
        }
        if (has_thread) {
            finish(job);
        }
    }
    g_ptr_array_unref(set->jobs);
    g_free(set);
}

/* What the thread says */

static bool is_paused(const Job *job)
{
    return job->status == JOB_STATUS_PAUSED || job->status == JOB_STATUS_STANDBY;
}

static void say_paused(void *opaque)
{
    Job *job = opaque;
    if (job->status == JOB_STATUS_RUNNING || job->status == JOB_STATUS_READY) {
        go_to(job, job->status == JOB_STATUS_READY ? JOB_STATUS_STANDBY : JOB_STATUS_PAUSED);
    }
}

static void say_resumed(void *opaque)
{
    Job *job = opaque;
    if (is_paused(job)) {
        go_to(job, job->status == JOB_STATUS_STANDBY ? JOB_STATUS_READY : JOB_STATUS_RUNNING);
    }
}

static void say_ready(void *opaque)
{
    Job *job = opaque;
    go_to(job, JOB_STATUS_READY);
    emit(job, JOB_EVENT_READY);
}

static void say_error(void *opaque)
{
    Job *job = opaque;
    JobEvent event = { .kind = JOB_EVENT_ERROR, .job = job };
    pthread_mutex_lock(&job->lock);
    event.is_read = job->error_is_read;
    event.action = job->error_action;
    job->error_action = NULL;
    pthread_mutex_unlock(&job->lock);
    if (event.action) {
        job->set->func(job->set->opaque, &event);
    }
}

void job_post(Job *job, JobNote note)
{
    static const LoopFunc funcs[] = {
        [JOB_NOTE_PAUSED] = say_paused,
        [JOB_NOTE_RESUMED] = say_resumed,
        [JOB_NOTE_READY] = say_ready,
        [JOB_NOTE_ERROR] = say_error,
    };
    if (loop_call(job->set->loop, funcs[note], job) < 0) {
        log_error("job '%s': no memory to tell its state", job->id);
    }
}

/* Verbs */

void job_get_info(const Job *job, JobInfo *out_info)
{
    Job *unlocked = (Job *)job;
    LOCK_GUARD(&unlocked->lock);
    *out_info = (JobInfo){
        .id = job->id,
        .type = job->driver->type,
        .status = job->status,
        .is_block = job->driver->is_block,
        .current = __atomic_load_n(&job->current, __ATOMIC_RELAXED),
        .total = __atomic_load_n(&job->total, __ATOMIC_RELAXED),
        .speed = job->speed,
        .is_busy = job->has_thread && !job->is_waiting,
        .is_paused = job->is_user_paused,
        .is_ready = job->status == JOB_STATUS_READY || job->status == JOB_STATUS_STANDBY,
        .auto_finalize = job->auto_finalize,
        .auto_dismiss = job->auto_dismiss,
        .io_status = !job->io_error                                       ? "ok"
                     : job->io_error == ENOSPC || job->io_error == EDQUOT ? "nospace"
                                                                          : "failed",
        .error = job->error,
    };
}

bool job_set_speed(Job *job, uint64_t bytes_per_second, GError **error)
{
    if (!check_verb(job, states[job->status].speed, "set-speed", error)) {
        return false;
    }
    LOCK_GUARD(&job->lock);
    job->speed = bytes_per_second;
    job->next_ns = 0;
    pthread_cond_broadcast(&job->changed);
    return true;
}

bool job_pause(Job *job, GError **error)
{
    if (!check_verb(job, states[job->status].pause, "pause", error)) {
        return false;
    }
    LOCK_GUARD(&job->lock);
    if (job->is_user_paused) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_BUSY, "Job is already paused");
        return false;
    }
    job->is_user_paused = true;
    pthread_cond_broadcast(&job->changed);
    return true;
}

bool job_resume(Job *job, GError **error)
{
    LOCK_GUARD(&job->lock);
    if (!job->is_user_paused) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_BUSY, "Can't resume a job that was not paused");
        return false;
    }
    if (!check_verb(job, states[job->status].pause, "resume", error)) {
        return false;
    }
    job->is_user_paused = false;
    job->io_error = 0;
    pthread_cond_broadcast(&job->changed);
    return true;
}

bool job_cancel(Job *job, bool is_forced, GError **error)
{
    if (!check_verb(job, states[job->status].cancel, "cancel", error)) {
        return false;
    }
    pthread_mutex_lock(&job->lock);
    /* One that cannot be completed has no result to leave. */
    bool is_hard = is_forced || !job->driver->can_complete || !job->is_ready;
    job->is_cancelled = true;
    job->is_force_cancelled = job->is_force_cancelled || is_hard;
    job->is_user_paused = false;
    pthread_cond_broadcast(&job->changed);
    pthread_mutex_unlock(&job->lock);
    if (!job->has_thread) {
        job->is_force_cancelled = true;
        give_up(job);
    }
    return true;
}

bool job_complete(Job *job, GError **error)
{
    if (!check_verb(job, states[job->status].complete, "complete", error)) {
        return false;
    }
    LOCK_GUARD(&job->lock);
    if (job->is_cancelled || !job->driver->can_complete) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INACTIVE,
                    "The active block job '%s' cannot be completed", job->id);
        return false;
    }
    job->is_completing = true;
    pthread_cond_broadcast(&job->changed);
    return true;
}

bool job_finalize(Job *job, GError **error)
{
    if (!check_verb(job, states[job->status].finalize, "finalize", error)) {
        return false;
    }
    end_well(job);
    return true;
}

bool job_dismiss(Job *job, GError **error)
{
    if (!check_verb(job, states[job->status].dismiss, "dismiss", error)) {
        return false;
    }
    go_to(job, JOB_STATUS_NULL);
    free_job(job);
    return true;
}
