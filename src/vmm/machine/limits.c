/* Groups of disks that share limits: those of -object throttle-group, and those that a drive or
 * block_set_io_throttle named without there being one, which go with their last disk.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/clock.h"
#include "gbase/error.h"
#include "vmm/machine/inspect.h"
#include "vmm/machine/internal.h"
#include "vmm/machine/user-objects.h"

#include <errno.h>
#include <string.h>

#define KIND_UNASKED "limits" /* of back ends: groups that nobody made as an object */

static void free_group(void *object)
{
    throttle_group_unref(object);
}

/* Those that no disk is in any more. */
static void drop_unused(Machine *machine)
{
    for (guint i = machine->backends->len; i > 0; i--) {
        const MachineBackend *backend = g_ptr_array_index(machine->backends, i - 1);
        if (!strcmp(backend->kind, KIND_UNASKED) && !throttle_group_has_members(backend->object)) {
            g_autofree char *name = g_strdup(backend->name);
            machine_remove_backend(machine, KIND_UNASKED, name, NULL);
        }
    }
}

static ThrottleGroup *find_group(Machine *machine, const char *name, GError **error)
{
    MachineBackend *found = machine_find_backend(machine, "throttle-group", name);
    if (found) {
        return user_object_throttle_group(found->object);
    }
    found = machine_find_backend(machine, KIND_UNASKED, name);
    if (found) {
        return found->object;
    }
    ThrottleConfig none;
    throttle_config_init(&none);
    ThrottleGroup *group = throttle_group_new(machine->loop, &none, clock_monotonic_ns);
    if (!group) {
        lodge_error_set_errno(error, ENOMEM, "cannot make the throttle group '%s'", name);
        return NULL;
    }
    machine_add_backend(machine, KIND_UNASKED, name, group, free_group);
    return group;
}

bool machine_join_limits(Machine *machine, BlockBackend *backend, const Device *user,
                         const char *name, GError **error)
{
    LoopThread *thread = user ? user->thread : NULL;
    ThrottleGroup *group = name ? find_group(machine, name, error) : NULL;
    if (name && !group) {
        return false;
    }
    loop_thread_pause(thread);
    if (group) {
        block_backend_join_limits(backend, group, name);
    } else {
        block_backend_leave_limits(backend);
    }
    loop_thread_continue(thread);
    drop_unused(machine);
    return true;
}
