/* Jobs on a disk that a guest writes to: copies are what they should be; states, errors,
 * cancelling. SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/drivers.h"
#include "block/filter/filter.h"
#include "block/job/job.h"
#include "lib/block-bench.h"
#include "lib/check.h"

#include <errno.h>
#include <string.h>

/* The words of all events, "job:running READY". */
typedef struct Log {
    GString *text;
    unsigned errors;
} Log;

static void on_event(void *opaque, const JobEvent *event)
{
    static const char *const names[] = {
        [JOB_EVENT_READY] = "READY",         [JOB_EVENT_PENDING] = "PENDING",
        [JOB_EVENT_COMPLETED] = "COMPLETED", [JOB_EVENT_CANCELLED] = "CANCELLED",
        [JOB_EVENT_ERROR] = "ERROR",
    };
    Log *log = opaque;
    JobInfo info;
    job_get_info(event->job, &info);
    if (event->kind == JOB_EVENT_ERROR) {
        log->errors++;
        return;
    }
    g_string_append_printf(log->text, "%s%s", log->text->len ? " " : "",
                           event->kind == JOB_EVENT_STATUS ? job_status_name(info.status)
                                                           : names[event->kind]);
}

typedef struct Fixture {
    BlockBench *bench;
    JobSet *set;
    Log log;
} Fixture;

static void begin(Fixture *f, void **state)
{
    *f = (Fixture){ .bench = *state, .log.text = g_string_new(NULL) };
    f->set = job_set_new(f->bench->loop, f->bench->graph, on_event, &f->log);
}

static void end(Fixture *f)
{
    block_bench_stop(f->bench);
    job_set_free(f->set);
    g_string_free(f->log.text, TRUE);
}

static const JobOptions job_options = { .id = "j" };

static void wait_status(const Fixture *f, const char *word)
{
    while (!strstr(f->log.text->str, word)) {
        block_bench_turn(f->bench);
    }
}

static void wait_end(const Fixture *f)
{
    while (job_set_get(f->set, 0)) {
        block_bench_turn(f->bench);
    }
}

static void run_requests(BlockBench *b, unsigned count)
{
    unsigned until = b->requests + count;
    while (b->requests < until) {
        block_bench_turn(b);
    }
}

/* The guest fills some of the disk. */
static void fill(BlockBench *b, unsigned requests)
{
    block_bench_start(b);
    run_requests(b, requests);
    block_bench_stop(b);
}

static BlockNode *target(const Fixture *f, const char *name)
{
    block_bench_make_image(f->bench, name, "4M");
    BlockNode *node = block_bench_add(f->bench, name, "", NULL);
    assert_non_null(node);
    return node;
}

static void snapshot(const Fixture *f, const char *name)
{
    block_bench_make_image(f->bench, name, "4M");
    BlockNode *overlay = block_bench_add(f->bench, name, ",'backing':null", NULL);
    BlockNode *node = block_backend_node(f->bench->backend);
    assert_true(block_graph_snapshot(f->bench->graph, node, overlay, NULL));
}

static BlockNode *find(const Fixture *f, const char *name)
{
    return block_graph_find(f->bench->graph, name, NULL);
}

/* Mirror */

static void mirror(Fixture *f, bool is_active, bool completes)
{
    GError *error = NULL;
    BlockBench *b = f->bench;
    fill(b, 500);
    BlockNode *source = block_backend_node(b->backend), *copy = target(f, "copy");
    const MirrorOptions options = { .is_active = is_active };
    Job *job = job_mirror_new(f->set, &job_options, source, copy, &options, &error);
    assert_non_null(job);
    assert_false(block_node_check_unclaimed(source, NULL));
    block_bench_start(b);
    job_start(job);
    run_requests(b, 1000);
    if (!is_active) {
        /* A guest that never pauses keeps ahead of the copy. */
        block_bench_stop(b);
        wait_status(f, "READY");
        block_bench_start(b);
    }
    wait_status(f, "READY");
    run_requests(b, 500);
    assert_true(completes ? job_complete(job, &error) : job_cancel(job, false, &error));
    if (!is_active) {
        block_bench_stop(b);
    }
    wait_end(f);
    assert_string_equal(f->log.text->str,
                        "created running ready READY waiting pending COMPLETED concluded null");
    assert_ptr_equal(block_backend_node(b->backend), completes ? copy : source);
    if (completes && !is_active) {
        block_bench_start(b);
    }
    if (completes) {
        run_requests(b, 500);
    }
    block_bench_stop(b);
    block_bench_compare(block_backend_node(b->backend), b->model);
    assert_true(block_node_check_unclaimed(source, NULL));
    assert_true(block_graph_del(b->graph, completes ? "top" : "copy", NULL));
}

static void a_mirror_pivots_under_writes(void **state)
{
    Fixture f;
    begin(&f, state);
    mirror(&f, false, true);
    end(&f);
}

static void an_active_mirror_pivots_under_writes(void **state)
{
    Fixture f;
    begin(&f, state);
    mirror(&f, true, true);
    end(&f);
}

static void a_cancelled_mirror_leaves_the_source(void **state)
{
    Fixture f;
    begin(&f, state);
    mirror(&f, true, false);
    end(&f);
}

static void a_mirror_of_the_top_image_leaves_the_rest(void **state)
{
    Fixture f;
    begin(&f, state);
    GError *error = NULL;
    fill(f.bench, 500);
    snapshot(&f, "over");
    fill(f.bench, 300);
    block_bench_make_image(f.bench, "copy", "4M");
    BlockNode *copy = block_bench_add(f.bench, "copy", ",'backing':'top'", &error);
    assert_non_null(copy);
    const MirrorOptions options = { .sync = JOB_SYNC_TOP };
    Job *job = job_mirror_new(f.set, &job_options, block_backend_node(f.bench->backend), copy,
                              &options, &error);
    assert_non_null(job);
    job_start(job);
    wait_status(&f, "READY");
    assert_true(job_complete(job, NULL));
    wait_end(&f);
    assert_ptr_equal(block_backend_node(f.bench->backend), copy);
    block_bench_compare(copy, f.bench->model);
    assert_ptr_equal(block_node_backing(copy), find(&f, "top"));
    end(&f);
}

/* Commit and stream */

static void make_chain(Fixture *f)
{
    fill(f->bench, 400);
    snapshot(f, "s1");
    fill(f->bench, 300);
    snapshot(f, "s2");
    fill(f->bench, 300);
    snapshot(f, "s3");
    fill(f->bench, 200);
}

static void an_inner_commit_keeps_the_content(void **state)
{
    Fixture f;
    begin(&f, state);
    GError *error = NULL;
    make_chain(&f);
    block_bench_start(f.bench);
    BlockNode *base = find(&f, "top");
    assert_true(block_reopen(base, block_node_flags(base) & ~(unsigned)BLOCK_OPEN_WRITABLE, NULL));
    Job *job = job_commit_new(f.set, &job_options, find(&f, "s2"), base, "a-name", NULL, &error);
    assert_non_null(job);
    job_start(job);
    wait_end(&f);
    assert_string_equal(f.log.text->str,
                        "created running waiting pending COMPLETED concluded null");
    block_bench_stop(f.bench);
    BlockNode *active = block_backend_node(f.bench->backend);
    assert_ptr_equal(block_node_backing(active), base);
    assert_false(block_node_is_writable(base));
    BlockInfo info;
    assert_true(block_get_info(active, &info, NULL));
    assert_string_equal(info.backing_filename, "a-name");
    assert_string_equal(info.backing_format, "qcow2");
    block_info_clear(&info);
    block_bench_compare(active, f.bench->model);
    assert_true(block_graph_del(f.bench->graph, "s2", NULL));
    end(&f);
}

static void an_active_commit_pivots_to_the_base(void **state)
{
    Fixture f;
    begin(&f, state);
    GError *error = NULL;
    make_chain(&f);
    block_bench_start(f.bench);
    Job *job = job_commit_new(f.set, &job_options, block_backend_node(f.bench->backend),
                              find(&f, "s1"), NULL, NULL, &error);
    assert_non_null(job);
    job_start(job);
    run_requests(f.bench, 500);
    block_bench_stop(f.bench);
    wait_status(&f, "READY");
    assert_true(job_complete(job, NULL));
    wait_end(&f);
    assert_ptr_equal(block_backend_node(f.bench->backend), find(&f, "s1"));
    fill(f.bench, 300);
    block_bench_compare(block_backend_node(f.bench->backend), f.bench->model);
    end(&f);
}

static void a_stream_takes_images_out_of_the_chain(void **state)
{
    Fixture f;
    begin(&f, state);
    GError *error = NULL;
    make_chain(&f);
    block_bench_start(f.bench);
    BlockNode *active = block_backend_node(f.bench->backend);
    Job *job = job_stream_new(f.set, &job_options, active, find(&f, "s1"), NULL, &error);
    assert_non_null(job);
    job_start(job);
    wait_end(&f);
    assert_ptr_equal(block_node_backing(active), find(&f, "s1"));
    job = job_stream_new(f.set, &job_options, active, NULL, NULL, &error);
    assert_non_null(job);
    job_start(job);
    wait_end(&f);
    block_bench_stop(f.bench);
    assert_null(block_node_backing(active));
    block_bench_compare(active, f.bench->model);
    BlockInfo info;
    assert_true(block_get_info(active, &info, NULL));
    assert_null(info.backing_filename);
    block_info_clear(&info);
    end(&f);
}

/* Backup */

static void a_backup_has_the_content_of_its_beginning(void **state)
{
    Fixture f;
    begin(&f, state);
    GError *error = NULL;
    fill(f.bench, 800);
    BlockNode *copy = target(&f, "copy");
    const BackupOptions options = { 0 };
    g_autofree uint8_t *then = g_memdup2(f.bench->model, BENCH_BYTES);
    Job *job = job_backup_new(f.set, &(JobOptions){ .id = "j", .speed = 20 << 20 },
                              block_backend_node(f.bench->backend), copy, &options, &error);
    assert_non_null(job);
    block_bench_start(f.bench);
    job_start(job);
    wait_end(&f);
    block_bench_stop(f.bench);
    assert_string_equal(f.log.text->str,
                        "created running waiting pending COMPLETED concluded null");
    block_bench_compare(copy, then);
    block_bench_compare(block_backend_node(f.bench->backend), f.bench->model);
    assert_string_equal(block_node_driver(block_backend_node(f.bench->backend)), "qcow2");
    end(&f);
}

static void a_fleecing_backup_shows_the_content_of_its_beginning(void **state)
{
    Fixture f;
    begin(&f, state);
    GError *error = NULL;
    fill(f.bench, 800);
    block_bench_make_image(f.bench, "scratch", "4M");
    BlockNode *scratch = block_bench_add(f.bench, "scratch", ",'backing':'top'", &error);
    g_autofree uint8_t *then = g_memdup2(f.bench->model, BENCH_BYTES);
    const BackupOptions options = { .sync = JOB_SYNC_NONE };
    Job *job = job_backup_new(f.set, &job_options, block_backend_node(f.bench->backend), scratch,
                              &options, &error);
    assert_non_null(job);
    job_start(job);
    block_bench_start(f.bench);
    run_requests(f.bench, 1000);
    block_bench_compare(scratch, then);
    assert_true(job_cancel(job, false, NULL));
    wait_end(&f);
    assert_non_null(strstr(f.log.text->str, "aborting CANCELLED"));
    end(&f);
}

/* A filter whose first read lets the test act before it is carried out. */
typedef struct Gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_inside, is_open;
} Gate;

static int gate_read(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                     uint64_t skip)
{
    Gate *gate = node->state;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 200 * 1000 * 1000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&gate->lock);
    gate->is_inside = true;
    pthread_cond_broadcast(&gate->changed);
    while (!gate->is_open && pthread_cond_timedwait(&gate->changed, &gate->lock, &until) == 0) {
    }
    gate->is_open = true;
    pthread_mutex_unlock(&gate->lock);
    return block_filter_read(node, offset, length, vec, skip);
}

static const BlockDriver gate_driver = {
    .name = "gate",
    .close = block_filter_close,
    .read = gate_read,
    .status = block_filter_status,
    BLOCK_FILTER_PASSES,
};

typedef struct Look {
    BlockNode *node;
    uint8_t bytes[BENCH_BLOCK];
} Look;

static void *look(void *opaque)
{
    Look *l = opaque;
    assert_int_equal(block_pread(l->node, 0, l->bytes, sizeof(l->bytes)), 0);
    return NULL;
}

typedef struct Overwrite {
    BlockRequest request;
    Gate *gate;
    bool is_done;
} Overwrite;

static void overwritten(BlockRequest *request, int result)
{
    Overwrite *o = container_of(request, Overwrite, request);
    assert_int_equal(result, 0);
    o->is_done = true;
    pthread_mutex_lock(&o->gate->lock);
    o->gate->is_open = true;
    pthread_cond_broadcast(&o->gate->changed);
    pthread_mutex_unlock(&o->gate->lock);
}

/* The reader has found that the scratch image does not have the block, and is about to read it from
 * the disk, when the guest writes there. */
static void a_write_waits_for_readers_of_a_fleecing_backup(void **state)
{
    Fixture f;
    begin(&f, state);
    fill(f.bench, 300);
    BlockNode *source = block_backend_node(f.bench->backend);
    Gate gate = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, false };
    BlockNode *slow = block_filter_new(&gate_driver, source, "slow", &gate);
    block_bench_make_image(f.bench, "scratch", "4M");
    Look l = { .node = block_bench_add(f.bench, "scratch", ",'backing':null", NULL) };
    block_graph_set_backing(l.node, slow);
    const BackupOptions options = { .sync = JOB_SYNC_NONE };
    Job *job = job_backup_new(f.set, &job_options, source, l.node, &options, NULL);
    assert_non_null(job);
    job_start(job);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, look, &l), 0);
    pthread_mutex_lock(&gate.lock);
    while (!gate.is_inside) {
        pthread_cond_wait(&gate.changed, &gate.lock);
    }
    pthread_mutex_unlock(&gate.lock);
    uint8_t later[BENCH_BLOCK];
    memset(later, 0xee, sizeof(later));
    struct iovec iov = { later, sizeof(later) };
    Overwrite o = { .request = { .op = BLOCK_OP_WRITE,
                                 .length = sizeof(later),
                                 .iov = &iov,
                                 .iov_count = 1,
                                 .done = overwritten },
                    .gate = &gate };
    block_submit(f.bench->backend, &o.request);
    while (!o.is_done) {
        block_bench_turn(f.bench);
    }
    pthread_join(thread, NULL);
    assert_memory_equal(l.bytes, f.bench->model, sizeof(l.bytes));
    assert_true(job_cancel(job, true, NULL));
    wait_end(&f);
    block_graph_set_backing(l.node, NULL);
    block_node_unref(slow);
    end(&f);
}

static void an_incremental_backup_brings_the_copy_up_to_date(void **state)
{
    Fixture f;
    begin(&f, state);
    GError *error = NULL;
    BlockNode *node = block_backend_node(f.bench->backend), *copy = target(&f, "copy");
    g_autoptr(DirtyBitmap) bitmap = dirty_bitmap_new("b", BENCH_BYTES, 65536);
    block_node_add_bitmap(node, bitmap);
    for (int round = 0; round < 3; round++) {
        fill(f.bench, 40);
        const BackupOptions options = { .sync = JOB_SYNC_INCREMENTAL, .bitmap = bitmap };
        g_autofree uint8_t *then = g_memdup2(f.bench->model, BENCH_BYTES);
        Job *job = job_backup_new(f.set, &job_options, node, copy, &options, &error);
        assert_non_null(job);
        assert_true(dirty_bitmap_flags(bitmap) & DIRTY_BITMAP_BUSY);
        block_bench_start(f.bench);
        job_start(job);
        if (round == 1) {
            /* Given up: the bitmap has it all for the next time. */
            assert_true(job_cancel(job, true, NULL));
        }
        wait_end(&f);
        block_bench_stop(f.bench);
        assert_false(dirty_bitmap_flags(bitmap) & DIRTY_BITMAP_BUSY);
        if (round != 1) {
            block_bench_compare(copy, then);
        }
    }
    block_node_remove_bitmap(node, bitmap);
    end(&f);
}

/* Errors and verbs */

typedef struct Faulty {
    FaultPlan plan;
    BlockNode *node;
} Faulty;

/* A raw image whose file fails as the plan says. */
static void make_faulty(Faulty *faulty, unsigned ops, uint64_t at, int error)
{
    g_autofree uint8_t *zeroes = g_malloc0(BENCH_BYTES);
    faulty->plan = (FaultPlan){ .ops = ops, .at = at, .error = error };
    File *file = file_fault_new(file_memory_new(zeroes, BENCH_BYTES, BENCH_BYTES), &faulty->plan);
    faulty->node = block_open_file(file, "faulty", "raw", BLOCK_OPEN_WRITABLE, NULL);
    assert_non_null(faulty->node);
}

static bool is_paused(const Fixture *f)
{
    JobInfo info;
    if (!job_set_get(f->set, 0)) {
        return false;
    }
    job_get_info(job_set_get(f->set, 0), &info);
    return info.status == JOB_STATUS_PAUSED || info.status == JOB_STATUS_STANDBY;
}

/* A backup whose n-th operation on the target fails, under each policy. */
static void run_with_error(void **state, JobErrorPolicy policy, uint64_t at, int error)
{
    Fixture f;
    Faulty faulty;
    begin(&f, state);
    make_faulty(&faulty, FAULT_WRITE | FAULT_RESIZE | FAULT_FLUSH, at, error);
    const BackupOptions options = { 0 };
    Job *job = job_backup_new(f.set, &(JobOptions){ .id = "j", .on_target_error = policy },
                              block_backend_node(f.bench->backend), faulty.node, &options, NULL);
    assert_non_null(job);
    job_start(job);
    bool stops = policy == JOB_ERROR_STOP || (policy == JOB_ERROR_ENOSPC && error == ENOSPC);
    while (job_set_get(f.set, 0)) {
        block_bench_turn(f.bench);
        if (is_paused(&f)) {
            JobInfo info;
            job_get_info(job, &info);
            assert_true(stops);
            assert_string_equal(info.io_status, error == ENOSPC ? "nospace" : "failed");
            assert_true(job_resume(job, NULL));
        }
    }
    bool was_flush = f.log.errors == 0;
    bool is_retried = stops || policy == JOB_ERROR_IGNORE;
    if (faulty.plan.seen < at || (is_retried && !was_flush)) {
        assert_non_null(strstr(f.log.text->str, "pending COMPLETED"));
        block_bench_compare(faulty.node, f.bench->model);
    } else {
        assert_non_null(strstr(f.log.text->str, "aborting COMPLETED"));
    }
    block_node_unref(faulty.node);
    end(&f);
}

static void errors_are_handled_as_the_policy_says(void **state)
{
    fill(*state, 300);
    for (uint64_t at = 1; at < 12; at++) {
        for (JobErrorPolicy policy = JOB_ERROR_REPORT; policy <= JOB_ERROR_ENOSPC; policy++) {
            run_with_error(state, policy, at, EIO);
            run_with_error(state, policy, at, ENOSPC);
        }
    }
}

static void a_guest_goes_on_when_the_backup_disk_is_full(void **state)
{
    Fixture f;
    Faulty faulty;
    begin(&f, state);
    fill(f.bench, 800);
    make_faulty(&faulty, FAULT_WRITE | FAULT_RESIZE, 3, ENOSPC);
    faulty.plan.is_sticky = true;
    const BackupOptions options = { .sync = JOB_SYNC_NONE };
    Job *job = job_backup_new(f.set, &job_options, block_backend_node(f.bench->backend),
                              faulty.node, &options, NULL);
    assert_non_null(job);
    block_bench_start(f.bench);
    job_start(job);
    wait_end(&f);
    assert_non_null(strstr(f.log.text->str, "aborting COMPLETED"));
    block_bench_stop(f.bench);
    block_bench_compare(block_backend_node(f.bench->backend), f.bench->model);
    block_node_unref(faulty.node);
    end(&f);
}

/* A mirror that fails when all but the last bytes are copied: in @ops of the target, or reading
 * the backing file of the source. (transfer full) */
static char *error_of_the_last_bytes(void **state, FaultOp op)
{
    Fixture f;
    Faulty faulty;
    GError *error = NULL;
    JobInfo info;
    begin(&f, state);
    bool is_read = op == FAULT_READ;
    make_faulty(&faulty, op, 0, EIO);
    BlockNode *image = target(&f, "image");
    if (is_read) {
        block_node_set_backing(image, block_node_ref(faulty.node));
    }
    const JobOptions options = { .id = "j",
                                 .keeps_concluded = true,
                                 .on_source_error = JOB_ERROR_IGNORE,
                                 .on_target_error = JOB_ERROR_IGNORE };
    Job *job = job_mirror_new(f.set, &options, image, is_read ? target(&f, "copy") : faulty.node,
                              &(MirrorOptions){ .granularity = 1 << 20 }, &error);
    assert_non_null(job);
    job_start(job);
    wait_status(&f, "READY");
    assert_true(job_pause(job, &error));
    wait_status(&f, "standby");
    if (op != FAULT_FLUSH) {
        /* What is dirty has clusters that are not in the source itself. */
        assert_int_equal(block_pwrite(image, 0, "x", 1, 0), 0);
    }
    faulty.plan.at = 1;
    faulty.plan.seen = 0;
    faulty.plan.is_sticky = true;
    assert_true(job_resume(job, &error));
    assert_true(job_complete(job, &error));
    wait_status(&f, "concluded");
    job_get_info(job, &info);
    char *said = g_strdup(info.error);
    assert_true(job_dismiss(job, NULL));
    if (is_read) {
        block_node_set_backing(image, NULL);
    }
    block_node_unref(faulty.node);
    end(&f);
    return said;
}

static void a_mirror_names_the_file_that_fails_at_the_end(void **state)
{
    const BlockBench *b = *state;
    g_autofree char *image = block_bench_path(b, "image");
    g_autofree char *reading =
        g_strdup_printf("cannot read the last bytes of '%s' (failed in 'faulty', driver 'file', "
                        "backing file 1 of the chain): Input/output error",
                        image);
    g_autofree char *read_error = error_of_the_last_bytes(state, FAULT_READ);
    assert_string_equal(read_error, reading);
}

static void a_mirror_names_the_target_that_cannot_be_written_at_the_end(void **state)
{
    g_autofree char *said = error_of_the_last_bytes(state, FAULT_WRITE);
    assert_string_equal(said, "cannot write the last bytes to 'faulty': Input/output error");
}

static void a_mirror_names_the_target_that_cannot_be_flushed(void **state)
{
    g_autofree char *said = error_of_the_last_bytes(state, FAULT_FLUSH);
    assert_string_equal(said, "cannot flush 'faulty': Input/output error");
}

static void verbs_need_their_states(void **state)
{
    Fixture f;
    begin(&f, state);
    g_autoptr(GError) error = NULL;
    fill(f.bench, 2000);
    BlockNode *node = block_backend_node(f.bench->backend), *copy = target(&f, "copy");
    const BackupOptions options = { 0 };
    const JobOptions slow = {
        .id = "j", .speed = 1 << 20, .keeps_pending = true, .keeps_concluded = true
    };
    Job *job = job_backup_new(f.set, &slow, node, copy, &options, &error);
    assert_null(job_backup_new(f.set, &slow, node, copy, &options, &error));
    assert_string_equal(error->message, "Job ID 'j' already in use");
    g_clear_error(&error);
    assert_null(job_backup_new(f.set, &(JobOptions){ .id = "k" }, node, copy, &options, &error));
    assert_non_null(strstr(error->message, "is busy: block device is in use by block job: backup"));
    g_clear_error(&error);
    g_string_truncate(f.log.text, 0);
    job_start(job);
    assert_false(job_complete(job, &error));
    assert_string_equal(error->message,
                        "Job 'j' in state 'running' cannot accept command verb 'complete'");
    g_clear_error(&error);
    assert_false(job_resume(job, NULL));
    assert_true(job_pause(job, NULL));
    assert_false(job_pause(job, NULL));
    wait_status(&f, "paused");
    assert_true(job_set_speed(job, 0, NULL));
    assert_true(job_resume(job, NULL));
    wait_status(&f, "PENDING");
    assert_string_equal(f.log.text->str, "running paused running waiting pending PENDING");
    assert_false(job_dismiss(job, NULL));
    assert_true(job_finalize(job, NULL));
    JobInfo info;
    job_get_info(job, &info);
    assert_int_equal(info.status, JOB_STATUS_CONCLUDED);
    assert_int_equal(info.current, info.total);
    assert_false(job_cancel(job, true, NULL));
    assert_true(job_dismiss(job, NULL));
    assert_null(job_set_find(f.set, "j"));
    end(&f);
}

static void jobs_end_with_their_set(void **state)
{
    Fixture f;
    begin(&f, state);
    fill(f.bench, 800);
    BlockNode *node = block_backend_node(f.bench->backend), *copy = target(&f, "copy");
    const MirrorOptions options = { .is_active = true };
    block_bench_start(f.bench);
    job_start(
        job_mirror_new(f.set, &(JobOptions){ .id = "j", .speed = 1 }, node, copy, &options, NULL));
    run_requests(f.bench, 50);
    block_bench_stop(f.bench);
    job_set_free(f.set);
    assert_non_null(strstr(f.log.text->str, "aborting CANCELLED concluded null"));
    assert_ptr_equal(block_backend_node(f.bench->backend), node);
    g_string_free(f.log.text, TRUE);
}

static void images_are_created_by_a_job(void **state)
{
    Fixture f;
    begin(&f, state);
    GError *error = NULL;
    g_autofree char *text =
        g_strdup_printf("{'driver':'file','filename':'%s/new','size':0}", f.bench->folder);
    g_autoptr(BlockSpec) file = block_bench_spec(text);
    job_start(job_create_new(f.set, &job_options, file, &error));
    wait_end(&f);
    g_autofree char *node_text = g_strdup_printf(
        "{'driver':'file','filename':'%s/new','node-name':'new-file','auto-read-only':true}",
        f.bench->folder);
    g_autoptr(BlockSpec) below = block_bench_spec(node_text);
    assert_non_null(block_graph_add(f.bench->graph, below, &error));
    g_autoptr(BlockSpec) format = block_bench_spec(
        "{'driver':'qcow2','file':'new-file','size':1048576,'version':'v3','cluster-size':4096}");
    Job *job =
        job_create_new(f.set, &(JobOptions){ .id = "k", .keeps_concluded = true }, format, &error);
    assert_non_null(job);
    job_start(job);
    wait_status(&f, "pending concluded null created running waiting pending concluded");
    JobInfo info;
    job_get_info(job, &info);
    assert_null(info.error);
    assert_true(job_dismiss(job, NULL));
    g_autoptr(BlockSpec) open =
        block_bench_spec("{'driver':'qcow2','file':'new-file','node-name':'n'}");
    BlockNode *node = block_graph_add(f.bench->graph, open, &error);
    assert_non_null(node);
    assert_int_equal(block_node_size(node), 1 << 20);
    end(&f);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, block_bench_set_up, block_bench_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_mirror_pivots_under_writes),
        TEST(an_active_mirror_pivots_under_writes),
        TEST(a_cancelled_mirror_leaves_the_source),
        TEST(a_mirror_of_the_top_image_leaves_the_rest),
        TEST(an_inner_commit_keeps_the_content),
        TEST(an_active_commit_pivots_to_the_base),
        TEST(a_stream_takes_images_out_of_the_chain),
        TEST(a_backup_has_the_content_of_its_beginning),
        TEST(a_fleecing_backup_shows_the_content_of_its_beginning),
        TEST(a_write_waits_for_readers_of_a_fleecing_backup),
        TEST(an_incremental_backup_brings_the_copy_up_to_date),
        TEST(errors_are_handled_as_the_policy_says),
        TEST(a_guest_goes_on_when_the_backup_disk_is_full),
        TEST(a_mirror_names_the_file_that_fails_at_the_end),
        TEST(a_mirror_names_the_target_that_cannot_be_written_at_the_end),
        TEST(a_mirror_names_the_target_that_cannot_be_flushed),
        TEST(verbs_need_their_states),
        TEST(jobs_end_with_their_set),
        TEST(images_are_created_by_a_job),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
