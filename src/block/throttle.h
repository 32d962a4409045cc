/* Throttling of disks: leaky buckets for bytes and operations a second, with bursts, shared by the
 * members of a group.
 *
 * Limits have the meaning of QEMU's -drive throttling.* and of libvirt's <iotune>: an average rate;
 * a burst rate ("max") that may be kept for "max length" seconds; and iops_size, above which a
 * request counts as several. Time is the caller's: tests use a virtual clock.
 *
 * Context: a Throttle belongs to its caller's lock. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_THROTTLE_H
#define LODGE_BLOCK_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

typedef enum ThrottleBucketKind {
    THROTTLE_BPS_TOTAL,
    THROTTLE_BPS_READ,
    THROTTLE_BPS_WRITE,
    THROTTLE_OPS_TOTAL,
    THROTTLE_OPS_READ,
    THROTTLE_OPS_WRITE,
    THROTTLE_BUCKETS,
} ThrottleBucketKind;

/* Bytes or operations a second. */
typedef struct ThrottleLimit {
    uint64_t average;    /* 0: no limit */
    uint64_t burst;      /* the rate of bursts; 0: no bursts but for the tenth of a second below */
    uint64_t burst_time; /* seconds that a burst may last, at least 1 */
} ThrottleLimit;

typedef struct ThrottleConfig {
    ThrottleLimit limits[THROTTLE_BUCKETS];
    uint64_t operation_size; /* bytes that count as one operation; 0: any request is one */
} ThrottleConfig;

#define THROTTLE_RATE_MAX 1000000000000000ull /* 10^15 */

/* No limits. */
void throttle_config_init(ThrottleConfig *config);

/* What is wrong with @config, as a sentence without full stop that names QEMU's option, or NULL.
 * A static text. */
const char *throttle_config_problem(const ThrottleConfig *config);

/* Whether anything is limited. */
bool throttle_config_is_active(const ThrottleConfig *config);

typedef struct ThrottleBucket {
    double level;       /* units above what the average has drained */
    double burst_level; /* the same for the burst rate */
} ThrottleBucket;

typedef struct Throttle {
    ThrottleConfig config;
    ThrottleBucket buckets[THROTTLE_BUCKETS];
    int64_t last_ns; /* when the buckets were drained last */
} Throttle;

/* Empty buckets. @config: passed throttle_config_problem(). */
void throttle_init(Throttle *throttle, const ThrottleConfig *config, int64_t now_ns);
/* Other limits; the buckets keep what they hold as far as it fits. */
void throttle_set_config(Throttle *throttle, const ThrottleConfig *config, int64_t now_ns);

/* How long a request of that direction must wait from @now_ns; 0: it may go. */
int64_t throttle_wait_ns(Throttle *throttle, bool is_write, int64_t now_ns);
/* Counts a request that goes. */
void throttle_account(Throttle *throttle, bool is_write, uint64_t bytes);

#endif
