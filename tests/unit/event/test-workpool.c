/* Worker pool. SPDX-License-Identifier: GPL-2.0-or-later */
#include "event/workpool.h"
#include "lib/check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define JOBS 1000

typedef struct Job {
    Work work;
    atomic_int *ran;
    int *done;
    pthread_t runner;
} Job;

static void job_run(Work *work)
{
    Job *job = container_of(work, Job, work);
    job->runner = pthread_self();
    atomic_fetch_add(job->ran, 1);
}

static void job_done(Work *work)
{
    Job *job = container_of(work, Job, work);
    (*job->done)++;
}

static void every_job_runs_elsewhere_and_reports_here(void **state)
{
    EventLoop *loop = loop_new();
    WorkPool *pool = workpool_new(loop, 4);
    static Job jobs[JOBS];
    atomic_int ran = 0;
    int done = 0;
    for (unsigned i = 0; i < JOBS; i++) {
        jobs[i] = (Job){ .work = { .run = job_run, .done = job_done }, .ran = &ran, .done = &done };
        workpool_submit(pool, &jobs[i].work);
    }
    assert_int_equal(done, 0);
    while (done < JOBS) {
        assert_int_equal(loop_run_once(loop, 1000), 0);
    }
    assert_int_equal(ran, JOBS);
    for (unsigned i = 0; i < JOBS; i++) {
        assert_false(pthread_equal(jobs[i].runner, pthread_self()));
    }
    workpool_free(pool);
    loop_free(loop);
}

static void freeing_finishes_what_was_submitted(void **state)
{
    EventLoop *loop = loop_new();
    WorkPool *pool = workpool_new(loop, 2);
    static Job jobs[100];
    atomic_int ran = 0;
    int done = 0;
    for (unsigned i = 0; i < 100; i++) {
        jobs[i] = (Job){ .work = { .run = job_run, .done = job_done }, .ran = &ran, .done = &done };
        workpool_submit(pool, &jobs[i].work);
    }
    workpool_free(pool);
    assert_int_equal(ran, 100);
    assert_int_equal(done, 100);
    loop_free(loop);
}

typedef struct Chain {
    Work work;
    WorkPool *pool;
    int left;
} Chain;

static void chain_run(Work *work)
{
}

static void chain_done(Work *work)
{
    Chain *chain = container_of(work, Chain, work);
    if (--chain->left) {
        workpool_submit(chain->pool, work);
    }
}

static void a_job_may_submit_itself_again(void **state)
{
    EventLoop *loop = loop_new();
    Chain chain = { .work = { .run = chain_run, .done = chain_done }, .left = 50 };
    chain.pool = workpool_new(loop, 1);
    workpool_submit(chain.pool, &chain.work);
    while (chain.left) {
        assert_int_equal(loop_run_once(loop, 1000), 0);
    }
    workpool_free(chain.pool);
    loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_job_runs_elsewhere_and_reports_here),
        cmocka_unit_test(freeing_finishes_what_was_submitted),
        cmocka_unit_test(a_job_may_submit_itself_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
