/* What -object makes, by the kind of back end: "credentials", "iothread", "memory", "rng",
 * "throttle-group". SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_MACHINE_USER_OBJECTS_H
#define LODGE_VMM_MACHINE_USER_OBJECTS_H

#include "block/throttle-group.h"
#include "vmm/machine/machine.h"
#include "vmm/memory/guest-memory.h"
#include "vmm/virtio/rng/rng.h"

typedef struct UserObject UserObject;

/* Of kind "memory": its bytes, and guest RAM as it describes (transfer full), or NULL with @error.
 */
uint64_t user_object_ram_size(const UserObject *object);
RamBlock *user_object_ram(const Machine *machine, const UserObject *object, GError **error);

/* Of kind "rng": what devices get for it. */
const RngSource *user_object_rng(const UserObject *object);

/* "throttle-group", ...: its class by QEMU's name. */
const char *user_object_type(const UserObject *object);

/* Of kind "throttle-group"; borrowed. */
ThrottleGroup *user_object_throttle_group(const UserObject *object);

/* Of kind "iothread"; borrowed. */
LoopThread *user_object_iothread(const UserObject *object);

#endif
