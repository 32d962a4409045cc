/* Rows of option tables for limits of disks: QEMU's names for the fields of a ThrottleConfig.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_OPTIONS_THROTTLE_H
#define LODGE_VMM_OPTIONS_THROTTLE_H

#include "block/throttle.h"
#include "vmm/device/property.h"

#define THROTTLE_NUMBER(type, field, name_, help_)                                                 \
    {                                                                                              \
        .name = name_, .kind = PROPERTY_UINT, .offset = offsetof(type, field),                     \
        .max = THROTTLE_RATE_MAX, .help = help_                                                    \
    }

#define THROTTLE_SECONDS(type, field, name_)                                                       \
    {                                                                                              \
        .name = name_, .kind = PROPERTY_UINT, .offset = offsetof(type, field),                     \
        .max = THROTTLE_RATE_MAX, .fallback = "1", .help = "seconds that a burst may last"         \
    }

#define THROTTLE_LIMIT(type, member, bucket, name, max, length)                                    \
    THROTTLE_NUMBER(type, member.limits[bucket].average, name, "limit a second"),                  \
        THROTTLE_NUMBER(type, member.limits[bucket].burst, name max, "rate of bursts"),            \
        THROTTLE_SECONDS(type, member.limits[bucket].burst_time, name length)

/* "bps-total", "bps-total-max", "bps-total-max-length", ... "iops-size" behind @prefix; @member: a
 * ThrottleConfig of @type, which throttle_config_problem() looks at after they were applied. */
#define THROTTLE_OPTIONS(type, member, prefix)                                                     \
    THROTTLE_LIMIT(type, member, THROTTLE_BPS_TOTAL, prefix "bps-total", "-max", "-max-length"),   \
        THROTTLE_LIMIT(type, member, THROTTLE_BPS_READ, prefix "bps-read", "-max", "-max-length"), \
        THROTTLE_LIMIT(type, member, THROTTLE_BPS_WRITE, prefix "bps-write", "-max",               \
                       "-max-length"),                                                             \
        THROTTLE_LIMIT(type, member, THROTTLE_OPS_TOTAL, prefix "iops-total", "-max",              \
                       "-max-length"),                                                             \
        THROTTLE_LIMIT(type, member, THROTTLE_OPS_READ, prefix "iops-read", "-max",                \
                       "-max-length"),                                                             \
        THROTTLE_LIMIT(type, member, THROTTLE_OPS_WRITE, prefix "iops-write", "-max",              \
                       "-max-length"),                                                             \
        THROTTLE_NUMBER(type, member.operation_size, prefix "iops-size",                           \
                        "bytes that count as one operation")

/* The short names of -drive. */
#define THROTTLE_OPTIONS_SHORT(type, member)                                                       \
    THROTTLE_LIMIT(type, member, THROTTLE_BPS_TOTAL, "bps", "_max", "_max_length"),                \
        THROTTLE_LIMIT(type, member, THROTTLE_BPS_READ, "bps_rd", "_max", "_max_length"),          \
        THROTTLE_LIMIT(type, member, THROTTLE_BPS_WRITE, "bps_wr", "_max", "_max_length"),         \
        THROTTLE_LIMIT(type, member, THROTTLE_OPS_TOTAL, "iops", "_max", "_max_length"),           \
        THROTTLE_LIMIT(type, member, THROTTLE_OPS_READ, "iops_rd", "_max", "_max_length"),         \
        THROTTLE_LIMIT(type, member, THROTTLE_OPS_WRITE, "iops_wr", "_max", "_max_length"),        \
        THROTTLE_NUMBER(type, member.operation_size, "iops_size",                                  \
                        "bytes that count as one operation")

#endif
