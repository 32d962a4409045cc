/* Accuracy of throttling on the real clock: a back end is kept busy for some seconds under each of
 * several limits, and what it did is put beside what it may do. Disks that share a limit must get
 * equal parts of it. Ends with 1 if one is more than 2 % off.
 *
 * Usage: throttle [SECONDS]
 *
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/clock.h"
#include "block/backend.h"
#include "gbase/error.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEPTH 16
#define MEMBERS_MAX 4
#define DISK_BYTES (8u << 20)
#define TOLERANCE 0.02

typedef struct Case {
    const char *name;
    ThrottleBucketKind bucket;
    uint64_t limit;
    unsigned request_bytes;
    unsigned members; /* disks that share the limit */
    bool is_write;
} Case;

static const Case cases[] = {
    { "iops=500, 4k reads", THROTTLE_OPS_TOTAL, 500, 4096, 1, false },
    { "iops_wr=2000, 4k writes", THROTTLE_OPS_WRITE, 2000, 4096, 1, true },
    { "bps=20M, 64k reads", THROTTLE_BPS_TOTAL, 20u << 20, 65536, 1, false },
    { "bps_wr=5M, 16k writes", THROTTLE_BPS_WRITE, 5u << 20, 16384, 1, true },
    { "iops=1000, 2 disks, 4k reads", THROTTLE_OPS_TOTAL, 1000, 4096, 2, false },
    { "bps_wr=20M, 4 disks, 16k writes", THROTTLE_BPS_WRITE, 20u << 20, 16384, 4, true },
};

typedef struct Stream {
    BlockRequest request;
    BlockBackend *backend;
    const Case *what;
    struct iovec iov;
    int64_t end_ns;
    uint64_t *units;
    unsigned *running;
    uint64_t next;
} Stream;

static void submit(Stream *stream);

static void on_done(BlockRequest *request, int result)
{
    Stream *stream = (Stream *)request;
    const Case *what = stream->what;
    if (result < 0) {
        fprintf(stderr, "throttle: %s\n", g_strerror(-result));
        exit(2);
    }
    if (clock_monotonic_ns() >= stream->end_ns) {
        (*stream->running)--;
        return;
    }
    *stream->units += what->bucket < THROTTLE_OPS_TOTAL ? what->request_bytes : 1;
    submit(stream);
}

static void submit(Stream *stream)
{
    uint64_t bytes = stream->what->request_bytes;
    stream->next = (stream->next + 7 * bytes) % (DISK_BYTES - bytes);
    stream->request = (BlockRequest){ .op = stream->what->is_write ? BLOCK_OP_WRITE : BLOCK_OP_READ,
                                      .offset = stream->next / bytes * bytes,
                                      .length = bytes,
                                      .iov = &stream->iov,
                                      .iov_count = 1,
                                      .done = on_done };
    block_submit(stream->backend, &stream->request);
}

static BlockBackend *open_disk(const char *path, EventLoop *loop)
{
    g_autoptr(GError) error = NULL;
    BlockOptions options = { .id = "disk", .path = path, .format = "raw", .is_unlocked = true };
    BlockBackend *backend = block_backend_open(&options, loop, &error);
    if (!backend) {
        fprintf(stderr, "throttle: %s\n", error->message);
        exit(2);
    }
    return backend;
}

/* How far the disk that got least, or most, is from an equal part: 0.01 is 1 %. */
static double unfairness(const uint64_t *units, unsigned members)
{
    double sum = 0, worst = 0;
    for (unsigned m = 0; m < members; m++) {
        sum += (double)units[m];
    }
    for (unsigned m = 0; m < members && sum > 0; m++) {
        worst = fmax(worst, fabs((double)units[m] * members / sum - 1));
    }
    return worst;
}

/* Returns: what was done, as a part of what may be. */
static double run(const Case *what, const char *path, EventLoop *loop, double seconds,
                  double *out_unfairness)
{
    Stream streams[MEMBERS_MAX * DEPTH] = { 0 };
    BlockBackend *backends[MEMBERS_MAX];
    ThrottleConfig config;
    uint64_t units[MEMBERS_MAX] = { 0 }, sum = 0;
    unsigned running = 0;
    throttle_config_init(&config);
    config.limits[what->bucket].average = what->limit;
    ThrottleGroup *group = throttle_group_new(loop, &config, clock_monotonic_ns);
    g_autofree uint8_t *memory = g_malloc0(what->request_bytes);
    int64_t start = clock_monotonic_ns();
    for (unsigned m = 0; m < what->members; m++) {
        backends[m] = open_disk(path, loop);
        block_backend_join_limits(backends[m], group, "shared");
        for (unsigned i = 0; i < DEPTH; i++) {
            Stream *stream = &streams[running++];
            *stream = (Stream){ .backend = backends[m],
                                .what = what,
                                .iov = { memory, what->request_bytes },
                                .end_ns = start + (int64_t)(seconds * (double)NS_PER_SEC),
                                .units = &units[m],
                                .running = &running };
        }
    }
    for (unsigned i = 0; i < what->members * DEPTH; i++) {
        submit(&streams[i]);
    }
    while (running) {
        loop_run_once(loop, 100);
    }
    for (unsigned m = 0; m < what->members; m++) {
        block_backend_close(backends[m]);
        sum += units[m];
    }
    *out_unfairness = unfairness(units, what->members);
    throttle_group_unref(group);
    return (double)sum / ((double)what->limit * seconds);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 10;
    char path[] = "/tmp/lodge-throttle-XXXXXX";
    int fd = mkstemp(path);
    EventLoop *loop = loop_new();
    bool is_good = true;
    if (fd < 0 || ftruncate(fd, DISK_BYTES) < 0 || !loop) {
        perror("throttle");
        return 2;
    }
    printf("%-32s %10s %10s %10s\n", "limit", "done", "goal", "unfair");
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        double unfair;
        double part = run(&cases[i], path, loop, seconds, &unfair);
        bool is_within = fabs(part - 1) <= TOLERANCE && unfair <= TOLERANCE;
        is_good &= is_within;
        printf("%-32s %9.2f%% %10s %9.2f%%%s\n", cases[i].name, part * 100, "98-102%", unfair * 100,
               is_within ? "" : "  missed");
        fflush(stdout);
    }
    loop_free(loop);
    close(fd);
    unlink(path);
    return is_good ? 0 : 1;
}
