/* QMP: jobs, what is asked of and told about those that run.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "gbase/error.h"
#include "vmm/monitor/block.h"

#include <string.h>

/* Events */

static JsonObject *job_data(const JobInfo *info)
{
    JsonObject *data = json_object_new();
    json_object_set_string_member(data, "device", info->id);
    json_object_set_int_member(data, "len", (gint64)info->total);
    json_object_set_int_member(data, "offset", (gint64)info->current);
    json_object_set_int_member(data, "speed", (gint64)info->speed);
    json_object_set_string_member(data, "type", info->type);
    return data;
}

void qmp_on_job_event(void *opaque, const JobEvent *event)
{
    static const char *const names[] = {
        [JOB_EVENT_STATUS] = "JOB_STATUS_CHANGE",
        [JOB_EVENT_READY] = "BLOCK_JOB_READY",
        [JOB_EVENT_PENDING] = "BLOCK_JOB_PENDING",
        [JOB_EVENT_COMPLETED] = "BLOCK_JOB_COMPLETED",
        [JOB_EVENT_CANCELLED] = "BLOCK_JOB_CANCELLED",
        [JOB_EVENT_ERROR] = "BLOCK_JOB_ERROR",
    };
    JobInfo info;
    JsonObject *data;
    job_get_info(event->job, &info);
    if (event->kind == JOB_EVENT_STATUS) {
        data = json_object_new();
        json_object_set_string_member(data, "status", job_status_name(info.status));
        json_object_set_string_member(data, "id", info.id);
    } else if (event->kind == JOB_EVENT_PENDING) {
        data = json_object_new();
        json_object_set_string_member(data, "type", info.type);
        json_object_set_string_member(data, "id", info.id);
    } else if (event->kind == JOB_EVENT_ERROR) {
        data = json_object_new();
        json_object_set_string_member(data, "device", info.id);
        json_object_set_string_member(data, "operation", event->is_read ? "read" : "write");
        json_object_set_string_member(data, "action", event->action);
    } else {
        data = job_data(&info);
        if (event->kind == JOB_EVENT_COMPLETED && info.error) {
            json_object_set_string_member(data, "error", info.error);
        }
    }
    monitor_emit_data(opaque, names[event->kind], data);
}

/* Queries */

JsonNode *qmp_query_jobs(MonitorSession *session, JsonObject *arguments, GError **error)
{
    JsonArray *array = json_array_new();
    Job *job;
    for (unsigned i = 0; session->set->jobs && (job = job_set_get(session->set->jobs, i)); i++) {
        JobInfo info;
        job_get_info(job, &info);
        JsonObject *object = json_object_new();
        json_object_set_string_member(object, "id", info.id);
        json_object_set_string_member(object, "type", info.type);
        json_object_set_string_member(object, "status", job_status_name(info.status));
        json_object_set_int_member(object, "current-progress", (gint64)info.current);
        json_object_set_int_member(object, "total-progress", (gint64)info.total);
        if (info.error) {
            json_object_set_string_member(object, "error", info.error);
        }
        json_array_add_object_element(array, object);
    }
    return qmp_take_array(array);
}

JsonNode *qmp_query_block_jobs(MonitorSession *session, JsonObject *arguments, GError **error)
{
    JsonArray *array = json_array_new();
    Job *job;
    for (unsigned i = 0; session->set->jobs && (job = job_set_get(session->set->jobs, i)); i++) {
        JobInfo info;
        job_get_info(job, &info);
        if (!info.is_block) {
            continue;
        }
        JsonObject *object = job_data(&info);
        json_object_set_boolean_member(object, "auto-finalize", info.auto_finalize);
        json_object_set_boolean_member(object, "auto-dismiss", info.auto_dismiss);
        json_object_set_string_member(object, "io-status", info.io_status);
        json_object_set_boolean_member(object, "busy", info.is_busy);
        json_object_set_boolean_member(object, "paused", info.is_paused);
        json_object_set_boolean_member(object, "ready", info.is_ready);
        json_object_set_string_member(object, "status", job_status_name(info.status));
        if (info.error) {
            json_object_set_string_member(object, "error", info.error);
        }
        json_array_add_object_element(array, object);
    }
    return qmp_take_array(array);
}

/* Verbs of job-... */

static Job *find_job(const MonitorSession *session, JsonObject *arguments, GError **error)
{
    const char *id = qmp_text(arguments, "id");
    Job *job = session->set->jobs ? job_set_find(session->set->jobs, id) : NULL;
    if (!job) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "Job not found");
    }
    return job;
}

typedef bool (*Verb)(Job *job, GError **error);

static JsonNode *run_verb(const MonitorSession *session, JsonObject *arguments, Verb verb,
                          GError **error)
{
    Job *job = find_job(session, arguments, error);
    if (job) {
        verb(job, error);
    }
    return NULL;
}

static bool cancel_hard(Job *job, GError **error)
{
    return job_cancel(job, true, error);
}

JsonNode *qmp_run_job_pause(MonitorSession *session, JsonObject *arguments, GError **error)
{
    return run_verb(session, arguments, job_pause, error);
}

JsonNode *qmp_run_job_resume(MonitorSession *session, JsonObject *arguments, GError **error)
{
    return run_verb(session, arguments, job_resume, error);
}

JsonNode *qmp_run_job_cancel(MonitorSession *session, JsonObject *arguments, GError **error)
{
    return run_verb(session, arguments, cancel_hard, error);
}

JsonNode *qmp_run_job_complete(MonitorSession *session, JsonObject *arguments, GError **error)
{
    return run_verb(session, arguments, job_complete, error);
}

JsonNode *qmp_run_job_finalize(MonitorSession *session, JsonObject *arguments, GError **error)
{
    return run_verb(session, arguments, job_finalize, error);
}

JsonNode *qmp_run_job_dismiss(MonitorSession *session, JsonObject *arguments, GError **error)
{
    return run_verb(session, arguments, job_dismiss, error);
}

/* Verbs of block-job-... */

static Job *find_block_job(const MonitorSession *session, const char *id, GError **error)
{
    JobInfo info = { 0 };
    Job *job = session->set->jobs ? job_set_find(session->set->jobs, id) : NULL;
    if (job) {
        job_get_info(job, &info);
    }
    if (!info.is_block) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INACTIVE, "Block job '%s' not found", id);
        return NULL;
    }
    return job;
}

static JsonNode *run_block_verb(const MonitorSession *session, const char *id, Verb verb,
                                GError **error)
{
    Job *job = find_block_job(session, id, error);
    if (job) {
        verb(job, error);
    }
    return NULL;
}

JsonNode *qmp_run_block_job_pause(MonitorSession *session, JsonObject *arguments, GError **error)
{
    return run_block_verb(session, qmp_text(arguments, "device"), job_pause, error);
}

JsonNode *qmp_run_block_job_resume(MonitorSession *session, JsonObject *arguments, GError **error)
{
    return run_block_verb(session, qmp_text(arguments, "device"), job_resume, error);
}

JsonNode *qmp_run_block_job_complete(MonitorSession *session, JsonObject *arguments, GError **error)
{
    return run_block_verb(session, qmp_text(arguments, "device"), job_complete, error);
}

JsonNode *qmp_run_block_job_finalize(MonitorSession *session, JsonObject *arguments, GError **error)
{
    return run_block_verb(session, qmp_text(arguments, "id"), job_finalize, error);
}

JsonNode *qmp_run_block_job_dismiss(MonitorSession *session, JsonObject *arguments, GError **error)
{
    return run_block_verb(session, qmp_text(arguments, "id"), job_dismiss, error);
}

JsonNode *qmp_run_block_job_cancel(MonitorSession *session, JsonObject *arguments, GError **error)
{
    const char *id = qmp_text(arguments, "device");
    bool is_forced = qmp_flag(arguments, "force", false);
    Job *job = find_block_job(session, id, error);
    JobInfo info;
    if (!job) {
        return NULL;
    }
    job_get_info(job, &info);
    if (info.is_paused && !is_forced) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_BUSY,
                    "The block job for device '%s' is currently paused", id);
        return NULL;
    }
    job_cancel(job, is_forced, error);
    return NULL;
}

JsonNode *qmp_run_block_job_set_speed(MonitorSession *session, JsonObject *arguments,
                                      GError **error)
{
    uint64_t speed = 0;
    Job *job = find_block_job(session, qmp_text(arguments, "device"), error);
    if (job && qmp_size(arguments, "speed", &speed, error)) {
        job_set_speed(job, speed, error);
    }
    return NULL;
}
