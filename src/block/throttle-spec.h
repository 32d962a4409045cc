/* Limits by the names that QEMU's object "throttle-group" has for them.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_THROTTLE_SPEC_H
#define LODGE_BLOCK_THROTTLE_SPEC_H

#include "block/block.h"
#include "block/throttle.h"

/* "bps-total", ...; with "-max" and "-max-length" behind for bursts. */
extern const char *const throttle_limit_names[THROTTLE_BUCKETS];

/* The value of such a name, or of "iops-size"; NULL: there is none. */
uint64_t *throttle_config_member(ThrottleConfig *config, const char *name);

/* Of options "limits.NAME" and "x-NAME"; what is not given is without limit. False with @error: an
 * unknown option, no number, or limits that do not go together. */
bool throttle_config_from_spec(const BlockSpec *spec, ThrottleConfig *out, GError **error);

#endif
