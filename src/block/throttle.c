/* Leaky buckets.
 *
 * Each bucket drains at its average rate; a request pours its size in. While the level is above
 * what the bucket holds, the next request waits for the excess to drain. Without a burst rate the
 * bucket holds a tenth of a second's average, so that short hiccups even out; with one it holds
 * burst * burst_time. A burst longer than a second would pass that at once, so a second level that
 * drains at the burst rate and holds a tenth of a second's burst keeps it to the burst rate.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/throttle.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#define SECOND_NS 1000000000.0

void throttle_config_init(ThrottleConfig *config)
{
    memset(config, 0, sizeof(*config));
    for (unsigned i = 0; i < THROTTLE_BUCKETS; i++) {
        config->limits[i].burst_time = 1;
    }
}

static const char *limit_problem(const ThrottleLimit *limit)
{
    if (limit->average > THROTTLE_RATE_MAX || limit->burst > THROTTLE_RATE_MAX) {
        return "bps/iops/max values must be within [0, 1000000000000000]";
    }
    if (limit->burst_time == 0) {
        return "the burst length (max-length) cannot be 0";
    }
    if (limit->burst_time > 1 && limit->burst == 0) {
        return "a burst length (max-length) needs a burst rate (max)";
    }
    if (limit->burst && limit->average == 0) {
        return "a burst rate (bps_max, iops_max) needs the limit itself (bps, iops)";
    }
    if (limit->burst && limit->burst < limit->average) {
        return "a burst rate (bps_max, iops_max) cannot be lower than the limit (bps, iops)";
    }
    if (limit->burst && limit->burst_time > THROTTLE_RATE_MAX / limit->burst) {
        return "the burst length (max-length) is too long for its burst rate";
    }
    return NULL;
}

const char *throttle_config_problem(const ThrottleConfig *config)
{
    static const ThrottleBucketKind totals[] = { THROTTLE_BPS_TOTAL, THROTTLE_OPS_TOTAL };
    for (unsigned i = 0; i < sizeof(totals) / sizeof(totals[0]); i++) {
        const ThrottleLimit *limits = config->limits + totals[i];
        if (limits[0].average && (limits[1].average || limits[2].average)) {
            return "a total limit (bps, iops) cannot be given beside one for reads or writes";
        }
        if (limits[0].burst && (limits[1].burst || limits[2].burst)) {
            return "a total burst rate cannot be given beside one for reads or writes";
        }
    }
    bool has_operations = false;
    for (unsigned i = 0; i < THROTTLE_BUCKETS; i++) {
        const char *problem = limit_problem(&config->limits[i]);
        if (problem) {
            return problem;
        }
        has_operations |= i >= THROTTLE_OPS_TOTAL && config->limits[i].average;
    }
    if (config->operation_size && !has_operations) {
        return "iops_size needs a limit of operations (iops, iops_rd, iops_wr)";
    }
    return NULL;
}

bool throttle_config_is_active(const ThrottleConfig *config)
{
    for (unsigned i = 0; i < THROTTLE_BUCKETS; i++) {
        if (config->limits[i].average) {
            return true;
        }
    }
    return false;
}

void throttle_init(Throttle *throttle, const ThrottleConfig *config, int64_t now_ns)
{
    memset(throttle, 0, sizeof(*throttle));
    throttle->config = *config;
    throttle->last_ns = now_ns;
}

static double capacity(const ThrottleLimit *limit)
{
    return limit->burst ? (double)limit->burst * (double)limit->burst_time
                        : (double)limit->average / 10;
}

static void drain(Throttle *throttle, int64_t now_ns)
{
    double seconds = (double)(now_ns - throttle->last_ns) / SECOND_NS;
    if (seconds <= 0) {
        return; /* a clock that other threads read a little earlier */
    }
    throttle->last_ns = now_ns;
    for (unsigned i = 0; i < THROTTLE_BUCKETS; i++) {
        const ThrottleLimit *limit = &throttle->config.limits[i];
        ThrottleBucket *bucket = &throttle->buckets[i];
        bucket->level = fmax(bucket->level - (double)limit->average * seconds, 0);
        bucket->burst_level = fmax(bucket->burst_level - (double)limit->burst * seconds, 0);
    }
}

void throttle_set_config(Throttle *throttle, const ThrottleConfig *config, int64_t now_ns)
{
    drain(throttle, now_ns);
    throttle->config = *config;
    for (unsigned i = 0; i < THROTTLE_BUCKETS; i++) {
        /* A high level left by laxer limits must not hold requests back for minutes. */
        ThrottleBucket *bucket = &throttle->buckets[i];
        bucket->level = fmin(bucket->level, capacity(&config->limits[i]));
        bucket->burst_level = fmin(bucket->burst_level, (double)config->limits[i].burst / 10);
    }
}

static double bucket_wait(const ThrottleLimit *limit, const ThrottleBucket *bucket)
{
    if (!limit->average) {
        return 0;
    }
    double wait = (bucket->level - capacity(limit)) / (double)limit->average;
    if (limit->burst_time > 1) {
        double over = bucket->burst_level - (double)limit->burst / 10;
        wait = fmax(wait, over / (double)limit->burst);
    }
    return fmax(wait, 0);
}

int64_t throttle_wait_ns(Throttle *throttle, bool is_write, int64_t now_ns)
{
    const ThrottleBucketKind kinds[] = {
        THROTTLE_BPS_TOTAL,
        THROTTLE_OPS_TOTAL,
        is_write ? THROTTLE_BPS_WRITE : THROTTLE_BPS_READ,
        is_write ? THROTTLE_OPS_WRITE : THROTTLE_OPS_READ,
    };
    double wait = 0;
    drain(throttle, now_ns);
    for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        wait = fmax(wait,
                    bucket_wait(&throttle->config.limits[kinds[i]], &throttle->buckets[kinds[i]]));
    }
    return (int64_t)ceil(wait * SECOND_NS);
}

static void pour(Throttle *throttle, ThrottleBucketKind kind, double units)
{
    throttle->buckets[kind].level += units;
    if (throttle->config.limits[kind].burst_time > 1) {
        throttle->buckets[kind].burst_level += units;
    }
}

void throttle_account(Throttle *throttle, bool is_write, uint64_t bytes)
{
    double operations = 1;
    if (throttle->config.operation_size && bytes > throttle->config.operation_size) {
        operations = (double)bytes / (double)throttle->config.operation_size;
    }
    pour(throttle, THROTTLE_BPS_TOTAL, (double)bytes);
    pour(throttle, THROTTLE_OPS_TOTAL, operations);
    pour(throttle, is_write ? THROTTLE_BPS_WRITE : THROTTLE_BPS_READ, (double)bytes);
    pour(throttle, is_write ? THROTTLE_OPS_WRITE : THROTTLE_OPS_READ, operations);
}
