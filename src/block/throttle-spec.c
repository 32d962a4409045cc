/* Limits as QEMU's object "throttle-group" has them: "limits.iops-total", "x-bps-read-max", ...
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/throttle-spec.h"

#include "gbase/error.h"
#include "gbase/strutil.h"

#include <string.h>

const char *const throttle_limit_names[THROTTLE_BUCKETS] = {
    [THROTTLE_BPS_TOTAL] = "bps-total", [THROTTLE_BPS_READ] = "bps-read",
    [THROTTLE_BPS_WRITE] = "bps-write", [THROTTLE_OPS_TOTAL] = "iops-total",
    [THROTTLE_OPS_READ] = "iops-read",  [THROTTLE_OPS_WRITE] = "iops-write",
};

uint64_t *throttle_config_member(ThrottleConfig *config, const char *name)
{
    if (strcmp(name, "iops-size") == 0) {
        return &config->operation_size;
    }
    for (unsigned i = 0; i < THROTTLE_BUCKETS; i++) {
        const char *limit = throttle_limit_names[i];
        if (!g_str_has_prefix(name, limit)) {
            continue;
        }
        const char *rest = name + strlen(limit);
        ThrottleLimit *values = &config->limits[i];
        return *rest == '\0'                      ? &values->average
               : strcmp(rest, "-max") == 0        ? &values->burst
               : strcmp(rest, "-max-length") == 0 ? &values->burst_time
                                                  : NULL;
    }
    return NULL;
}

typedef struct Reading {
    ThrottleConfig *config;
    GError **error;
    bool ok;
} Reading;

static void read_option(const char *key, const char *value, void *opaque)
{
    Reading *reading = opaque;
    const char *name = g_str_has_prefix(key, "limits.") ? key + strlen("limits.")
                       : g_str_has_prefix(key, "x-")    ? key + strlen("x-")
                                                        : NULL;
    if (!reading->ok || strcmp(key, "id") == 0 || strcmp(key, "qom-type") == 0) {
        return;
    }
    uint64_t *member = name ? throttle_config_member(reading->config, name) : NULL;
    guint64 number;
    if (!member) {
        g_set_error(reading->error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Property 'throttle-group.%s' not found", key);
        reading->ok = false;
    } else if (!str_parse_u64(value, &number)) {
        g_set_error(reading->error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Parameter '%s' expects a number", key);
        reading->ok = false;
    } else {
        *member = number;
    }
}

bool throttle_config_from_spec(const BlockSpec *spec, ThrottleConfig *out, GError **error)
{
    ThrottleConfig config;
    throttle_config_init(&config);
    Reading reading = { &config, error, true };
    block_spec_foreach(spec, read_option, &reading);
    const char *problem = reading.ok ? throttle_config_problem(&config) : NULL;
    if (problem) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "%s", problem);
    }
    if (!reading.ok || problem) {
        return false;
    }
    *out = config;
    return true;
}
