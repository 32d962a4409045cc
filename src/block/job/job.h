/* Jobs: long operations on nodes (mirror, commit, stream, backup, create) with progress, limit of
 * speed, pause, cancel and completion. States, verbs and events are those of QEMU's QMP.
 *
 * A job's work is done by a thread of its own; what it changes in the graph, it changes on the loop
 * when the work is done: prepare (which may fail), then commit or abort, then clean. Context of all
 * functions: the loop.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_JOB_JOB_H
#define LODGE_BLOCK_JOB_JOB_H

#include "block/dirty-bitmap.h"
#include "block/graph.h"

typedef struct Job Job;
typedef struct JobSet JobSet;

typedef enum JobStatus {
    JOB_STATUS_CREATED,
    JOB_STATUS_RUNNING,
    JOB_STATUS_PAUSED,
    JOB_STATUS_READY,
    JOB_STATUS_STANDBY, /* paused when ready */
    JOB_STATUS_WAITING,
    JOB_STATUS_PENDING, /* waits to be finalized */
    JOB_STATUS_ABORTING,
    JOB_STATUS_CONCLUDED, /* waits to be dismissed */
    JOB_STATUS_NULL,
} JobStatus;

/* "running"; QMP's name. */
const char *job_status_name(JobStatus status);

typedef enum JobErrorPolicy {
    JOB_ERROR_REPORT, /* the job fails */
    JOB_ERROR_IGNORE, /* it tries again; a stream goes on, and fails at its end */
    JOB_ERROR_STOP,   /* it is paused, and tries again when resumed */
    JOB_ERROR_ENOSPC, /* STOP for a full disk, else REPORT; also "auto" */
} JobErrorPolicy;

typedef enum JobEventKind {
    JOB_EVENT_STATUS,
    JOB_EVENT_READY,
    JOB_EVENT_PENDING,
    JOB_EVENT_COMPLETED,
    JOB_EVENT_CANCELLED,
    JOB_EVENT_ERROR, /* is_read, action */
} JobEventKind;

typedef struct JobEvent {
    JobEventKind kind;
    const Job *job;
    bool is_read;
    const char *action; /* "report", "ignore", "stop" */
} JobEvent;

/* Kinds but STATUS come for jobs on nodes only (is_block). */
typedef void (*JobEventFunc)(void *opaque, const JobEvent *event);

/* @graph, @loop: borrowed for its life. */
JobSet *job_set_new(EventLoop *loop, BlockGraph *graph, JobEventFunc func, void *opaque);
/* Cancels all jobs and waits for them. NULL is accepted. */
void job_set_free(JobSet *set);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(JobSet, job_set_free)
BlockGraph *job_set_graph(const JobSet *set);
/* By number; NULL: past the last. */
Job *job_set_get(const JobSet *set, unsigned index);
/* NULL: no such. */
Job *job_set_find(const JobSet *set, const char *id);

/* Facts; texts are borrowed. */
typedef struct JobInfo {
    const char *id, *type;
    JobStatus status;
    bool is_block; /* one of query-block-jobs */
    uint64_t current, total;
    uint64_t speed; /* bytes per second; 0: no limit */
    bool is_busy;   /* not waiting for anybody */
    bool is_paused; /* by the user, or by an error */
    bool is_ready;  /* can be completed */
    bool auto_finalize, auto_dismiss;
    const char *io_status; /* "ok", "failed", "nospace" */
    const char *error;     /* NULL: none */
} JobInfo;
void job_get_info(const Job *job, JobInfo *out_info);

/* Verbs. False with @error: not in this state. */
bool job_set_speed(Job *job, uint64_t bytes_per_second, GError **error);
bool job_pause(Job *job, GError **error);
bool job_resume(Job *job, GError **error);
/* @is_forced: also one that is ready is given up; otherwise that one ends as if nobody had wanted
 * its result in place: a copy of that moment. */
bool job_cancel(Job *job, bool is_forced, GError **error);
bool job_complete(Job *job, GError **error);
bool job_finalize(Job *job, GError **error);
/* Frees @job. */
bool job_dismiss(Job *job, GError **error);

/* Starting */

typedef struct JobOptions {
    const char *id;       /* required */
    bool keeps_pending;   /* auto-finalize=false */
    bool keeps_concluded; /* auto-dismiss=false */
    uint64_t speed;
    JobErrorPolicy on_source_error, on_target_error;
} JobOptions;

/* A job that job_..._new() made runs after job_start(); job_abandon() takes it back, as if it had
 * never been. */
void job_start(Job *job);
void job_abandon(Job *job);
/* Before they are started: those that are done wait for the others, all are finalized at once, and
 * if one fails or is cancelled, all are cancelled. */
void job_group(Job *const *jobs, unsigned count);

typedef enum JobSync {
    JOB_SYNC_FULL,
    JOB_SYNC_TOP,         /* what the topmost image has */
    JOB_SYNC_NONE,        /* what is written from here on; backup: what it replaces */
    JOB_SYNC_INCREMENTAL, /* backup: what a bitmap says; the bitmap starts anew if all went well */
    JOB_SYNC_BITMAP,      /* backup: the same, .bitmap_mode says what becomes of the bitmap */
} JobSync;

typedef enum JobBitmapMode {
    JOB_BITMAP_ON_SUCCESS, /* starts anew if all went well */
    JOB_BITMAP_NEVER,
    JOB_BITMAP_ALWAYS, /* has what was not copied */
} JobBitmapMode;

/* Copies @source to @target (open for writing, at least as large) and keeps it the same until it is
 * completed: then those who use @replaces (NULL: @source) use the target. */
typedef struct MirrorOptions {
    JobSync sync;            /* FULL, TOP, NONE */
    uint32_t granularity;    /* of what is copied again; 0: a default */
    bool is_active;          /* writes reach the target too before they are reported */
    bool unmaps;             /* zeroes may be given back on the target */
    const char *filter_name; /* node-name; NULL: none is wanted */
    BlockNode *replaces;
    /* What becomes the target's backing when it takes over; NULL: stays as it is. Borrowed. */
    BlockNode *backing;
} MirrorOptions;
Job *job_mirror_new(JobSet *set, const JobOptions *options, BlockNode *source, BlockNode *target,
                    const MirrorOptions *mirror, GError **error);

/* Copies what is in images from @top down to above @base into @base, and takes them out of the
 * chain. @top is the topmost image of a back end, or lies below @overlay. @backing_name: what the
 * overlay says of its backing file afterwards; NULL: @base's file name. */
Job *job_commit_new(JobSet *set, const JobOptions *options, BlockNode *top, BlockNode *base,
                    const char *backing_name, const char *filter_name, GError **error);

/* Copies what images between @node and @base (NULL: all) have into @node, then takes them out of
 * its chain. @backing_name: as above. */
Job *job_stream_new(JobSet *set, const JobOptions *options, BlockNode *node, BlockNode *base,
                    const char *backing_name, GError **error);

/* Copies what @source has at this moment to @target. */
typedef struct BackupOptions {
    JobSync sync;
    DirtyBitmap *bitmap; /* INCREMENTAL, BITMAP */
    JobBitmapMode bitmap_mode;
    bool is_compressed;
    const char *filter_name; /* NULL: none is wanted */
} BackupOptions;
Job *job_backup_new(JobSet *set, const JobOptions *options, BlockNode *source, BlockNode *target,
                    const BackupOptions *backup, GError **error);

/* Creates an image: "file" with "filename" and "size", or a format with "file" naming a node.
 * @spec: members of blockdev-create's options; copied. */
Job *job_create_new(JobSet *set, const JobOptions *options, const BlockSpec *spec, GError **error);

#endif
