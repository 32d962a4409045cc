/* From a configuration to a machine, and back to nothing.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "gbase/error.h"
#include "vmm/machine/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

static bool build_boot(Machine *machine, GError **error)
{
    const MachineConfig *config = machine->config;
    if (config->bios) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "-bios: firmware cannot run yet; boot a kernel with -kernel FILE");
        return false;
    }
    if (!config->kernel) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "no bootable firmware is there; boot a kernel with -kernel FILE");
        return false;
    }
    g_autofree char *kernel = machine_resolve_path(machine, config->kernel, O_RDONLY, error);
    g_autofree char *initrd =
        kernel ? machine_resolve_path(machine, config->initrd, O_RDONLY, error) : NULL;
    if (!kernel || !initrd != !config->initrd) {
        return false;
    }
    machine->boot = boot_image_open(kernel, initrd, error);
    machine->command_line = g_strdup(config->append);
    return machine->boot != NULL;
}

static bool build_devices(Machine *machine, GError **error)
{
    const GPtrArray *devices = machine->config->devices;
    for (guint i = 0; i < devices->len; i++) {
        if (!machine_add_configured(machine, g_ptr_array_index(devices, i), error)) {
            g_prefix_error(error, "-device: ");
            return false;
        }
    }
    return true;
}

static bool lock_memory(const Machine *machine, GError **error)
{
    if (machine->config->locks_memory && mlockall(MCL_CURRENT | MCL_FUTURE) < 0) {
        lodge_error_set_errno(error, errno, "-overcommit: cannot lock memory");
        return false;
    }
    return true;
}

static bool build(Machine *machine, GError **error)
{
    machine->type = machine_type_find(machine->config->machine.type, error);
    return machine->type && machine_take_passed_fds(machine, error) && build_boot(machine, error) &&
           machine_build_backends(machine, error) && machine_build_memory(machine, error) &&
           machine_build_accel(machine, error) && machine_build_irq_chip(machine, error) &&
           machine->type->build(machine, error) && machine_build_vcpus(machine, error) &&
           build_devices(machine, error) && machine->type->finish(machine, error) &&
           machine_check_globals(machine, error) &&
           machine_load_reset_state(machine, RESET_COLD, error) && lock_memory(machine, error) &&
           machine_start_vcpu_threads(machine, error);
}

Machine *machine_new(const MachineConfig *config, GError **error)
{
    g_autoptr(Machine) machine = g_new0(Machine, 1);
    machine->config = config;
    machine->state = RUN_STATE_PRELAUNCH;
    machine->is_halted = true;
    machine->only_vcpu = -1;
    machine->reset_ends = config->no_reboot;
    machine->shutdown_pauses = config->no_shutdown;
    machine->devices = g_ptr_array_new();
    machine->backends = g_ptr_array_new();
    machine->graph = block_graph_new();
    machine->block_objects = block_objects_new();
    machine->gsis = g_ptr_array_new();
    machine->fds = fd_sets_new();
    pthread_mutex_init(&machine->run_lock, NULL);
    pthread_cond_init(&machine->run_cond, NULL);
    machine_clock_init(machine);
    machine->loop = loop_new();
    if (!machine->loop) {
        lodge_error_set_errno(error, errno, "cannot make the event loop");
        return NULL;
    }
    return build(machine, error) ? g_steal_pointer(&machine) : NULL;
}

void machine_free(Machine *machine)
{
    if (!machine) {
        return;
    }
    if (machine->vcpu) {
        machine_end_vcpu_threads(machine);
    }
    irq_chip_stop(machine->irq_chip);
    machine_done_vcpus(machine);
    machine_done_devices(machine);
    machine_done_accel(machine);
    machine_done_gsis(machine);
    block_graph_free(machine->graph);
    machine_done_backends(machine);
    block_objects_unref(machine->block_objects);
    machine_done_memory(machine);
    fd_sets_free(machine->fds);
    boot_image_free(machine->boot);
    g_clear_pointer(&machine->tables, g_bytes_unref);
    g_free(machine->command_line);
    machine_clock_done(machine);
    loop_free(machine->loop);
    pthread_cond_destroy(&machine->run_cond);
    pthread_mutex_destroy(&machine->run_lock);
    g_free(machine);
}
