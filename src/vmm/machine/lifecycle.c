/* Life of a machine: run, pause, reset, power off; and who is told of it.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "block/backend.h"
#include "gbase/error.h"
#include "vmm/devices/acpi-pm.h"
#include "vmm/devices/ged.h"
#include "vmm/machine/inspect.h"
#include "vmm/machine/internal.h"

#include <errno.h>
#include <sys/random.h>

/* How long devices may take to finish what they began, when the machine ends. */
#define DRAIN_NS (30 * NS_PER_SEC)

#define ACCEL_STATISTICS_BYTES 8192

const char *run_state_to_string(RunState state)
{
    switch (state) {
    case RUN_STATE_PRELAUNCH:
        return "prelaunch";
    case RUN_STATE_RUNNING:
        return "running";
    case RUN_STATE_PAUSED:
        return "paused";
    case RUN_STATE_DEBUG:
        return "debug";
    case RUN_STATE_IO_ERROR:
        return "io-error";
    case RUN_STATE_INTERNAL_ERROR:
        return "internal-error";
    case RUN_STATE_GUEST_PANICKED:
        return "guest-panicked";
    case RUN_STATE_SHUTDOWN:
        return "shutdown";
    }
    lodge_assert(!"run state");
    return NULL;
}

EventLoop *machine_loop(const Machine *machine)
{
    return machine->loop;
}

const MachineConfig *machine_config(const Machine *machine)
{
    return machine->config;
}

const char *machine_accel_name(const Machine *machine)
{
    return machine->accel->name;
}

char *machine_accel_statistics(const Machine *machine)
{
    if (!machine->accel->describe) {
        return NULL;
    }
    char *text = g_malloc0(ACCEL_STATISTICS_BYTES);
    machine->accel->describe(machine->vm, text, ACCEL_STATISTICS_BYTES);
    return text;
}

RunState machine_run_state(const Machine *machine)
{
    return machine->state;
}

void machine_add_observer(Machine *machine, MachineObserver observer, void *opaque)
{
    lodge_assert(machine->observers < MACHINE_OBSERVERS_MAX);
    machine->observer[machine->observers] = observer;
    machine->observer_opaque[machine->observers++] = opaque;
}

void machine_tell(Machine *machine, const MachineEvent *event)
{
    for (unsigned i = 0; i < machine->observers; i++) {
        machine->observer[i](machine->observer_opaque[i], event);
    }
}

static void tell(Machine *machine, MachineEventKind kind, MachineCause cause)
{
    machine_tell(machine, &(MachineEvent){ .kind = kind, .cause = cause });
}

static void for_each_device(Machine *machine, void (*func)(Device *dev))
{
    for (guint i = 0; i < machine->devices->len; i++) {
        const MachineDevice *md = g_ptr_array_index(machine->devices, i);
        func(md->device);
    }
}

void machine_flush_drives(Machine *machine)
{
    MachineBackendInfo info;
    for (unsigned i = 0; machine_backend_at(machine, "drive", i, &info); i++) {
        block_backend_flush(info.object);
    }
}

void machine_drain_drives(Machine *machine)
{
    MachineBackendInfo info;
    for (unsigned i = 0; machine_backend_at(machine, "drive", i, &info); i++) {
        block_backend_drain(info.object);
    }
}

/* vCPUs, clock and devices stand still. */
static void halt(Machine *machine)
{
    machine_park_vcpus(machine);
    if (!machine->is_halted) {
        machine->is_halted = true;
        machine_clock_stop(machine);
        for_each_device(machine, device_quiesce);
    }
}

static void wake_devices(Machine *machine)
{
    if (machine->is_halted) {
        machine->is_halted = false;
        machine_clock_start(machine);
        for_each_device(machine, device_resume);
    }
}

static void go(Machine *machine)
{
    wake_devices(machine);
    machine_release_vcpus(machine);
}

void machine_pause(Machine *machine, RunState state)
{
    bool was_running = machine->state == RUN_STATE_RUNNING;
    halt(machine);
    machine_drain_drives(machine);
    machine_flush_drives(machine);
    machine_drain_drives(machine);
    machine->state = state;
    if (was_running) {
        tell(machine, MACHINE_EVENT_STOP, CAUSE_HOST_QMP_QUIT);
    }
}

/* False: the state needs a reset first. */
static bool can_resume(const Machine *machine, GError **error)
{
    switch (machine->state) {
    case RUN_STATE_SHUTDOWN:
    case RUN_STATE_INTERNAL_ERROR:
    case RUN_STATE_GUEST_PANICKED:
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_STATE,
                    "the guest is in state '%s': it needs a reset to go on",
                    run_state_to_string(machine->state));
        return false;
    case RUN_STATE_RUNNING:
    case RUN_STATE_PRELAUNCH:
    case RUN_STATE_PAUSED:
    case RUN_STATE_DEBUG:
    case RUN_STATE_IO_ERROR:
        break;
    }
    return true;
}

static void set_running(Machine *machine)
{
    machine->state = RUN_STATE_RUNNING;
    tell(machine, MACHINE_EVENT_RESUME, CAUSE_HOST_QMP_QUIT);
}

bool machine_resume(Machine *machine, GError **error)
{
    if (!can_resume(machine, error)) {
        return false;
    }
    if (machine->state != RUN_STATE_RUNNING) {
        set_running(machine);
        go(machine);
    }
    return true;
}

bool machine_resume_one(Machine *machine, unsigned vcpu, GError **error)
{
    if (!can_resume(machine, error)) {
        return false;
    }
    if (machine->state != RUN_STATE_RUNNING) {
        set_running(machine);
        wake_devices(machine);
        machine_release_one_vcpu(machine, vcpu);
    }
    return true;
}

/* Reset */

static bool load_boot(Machine *machine, CpuState *out_bsp, GError **error)
{
    BootTarget target = {
        .memory = &machine->memory,
        .e820 = &machine->e820,
        .rsdp = machine->rsdp,
        .command_line = machine->command_line,
    };
    target.has_seed =
        getrandom(target.seed, sizeof(target.seed), GRND_NONBLOCK) == sizeof(target.seed);
    if (machine->tables) {
        gsize length;
        const void *bytes = g_bytes_get_data(machine->tables, &length);
        int r = guest_memory_write(&machine->memory, machine->tables_address, bytes, length);
        lodge_assert(r == 0);
    }
    return boot_image_load(machine->boot, &target, out_bsp, error);
}

bool machine_load_reset_state(Machine *machine, ResetKind kind, GError **error)
{
    for (guint i = 0; i < machine->devices->len; i++) {
        const MachineDevice *md = g_ptr_array_index(machine->devices, i);
        device_reset(md->device, kind);
    }
    g_autofree CpuState *state = g_new0(CpuState, 1);
    if (!load_boot(machine, state, error)) {
        return false;
    }
    machine_set_memory_types(machine, state);
    for (unsigned i = 0; i < machine->vcpu_count; i++) {
        if (i) {
            cpu_state_reset(state, false);
            machine_set_memory_types(machine, state);
        }
        int r = machine->accel->vcpu_set_state(machine->vcpu[i].vcpu, state);
        if (r < 0) {
            lodge_error_set_errno(error, r, "vCPU %u refuses its first state", i);
            return false;
        }
    }
    if (machine->accel->has_irqchip) {
        machine->accel->irqchip_reset(machine->vm);
    }
    return true;
}

static void reset(Machine *machine, MachineCause cause)
{
    bool was_running = machine->state == RUN_STATE_RUNNING;
    halt(machine);
    tell(machine, MACHINE_EVENT_RESET, cause);
    machine_finish_ejects(machine);
    g_autoptr(GError) error = NULL;
    if (!machine_load_reset_state(machine, RESET_WARM, &error)) {
        log_error("the guest cannot be reset: %s", error->message);
        machine_pause(machine, RUN_STATE_INTERNAL_ERROR);
        return;
    }
    if (was_running) {
        go(machine);
    } else if (machine->state != RUN_STATE_PRELAUNCH) {
        machine->state = RUN_STATE_PAUSED;
    }
}

/* End */

static bool are_drained(const Machine *machine)
{
    for (guint i = 0; i < machine->devices->len; i++) {
        const MachineDevice *md = g_ptr_array_index(machine->devices, i);
        if (!device_is_drained(md->device)) {
            return false;
        }
    }
    return true;
}

static void drain(Machine *machine)
{
    int64_t end = clock_monotonic_ns() + DRAIN_NS;
    while (!are_drained(machine) && clock_monotonic_ns() < end) {
        loop_run_once(machine->loop, 10);
    }
}

void machine_quit(Machine *machine, MachineCause cause, int status)
{
    if (machine->is_ended) {
        return;
    }
    machine->is_ended = true;
    machine->exit_status = status;
    halt(machine);
    tell(machine, MACHINE_EVENT_SHUTDOWN, cause);
    drain(machine);
    loop_quit(machine->loop);
}

/* The guest ended by itself. */
static void shut_down(Machine *machine, MachineCause cause, RunState state)
{
    if (machine->shutdown_pauses) {
        tell(machine, MACHINE_EVENT_SHUTDOWN, cause);
        machine_pause(machine, state);
    } else {
        machine_quit(machine, cause, 0);
    }
}

void machine_reset(Machine *machine, MachineCause cause)
{
    if (machine->reset_ends) {
        shut_down(machine, cause, RUN_STATE_SHUTDOWN);
    } else {
        reset(machine, cause);
    }
}

static void handle_power(void *opaque)
{
    Machine *machine = opaque;
    uint32_t pending = atomic_exchange(&machine->power_pending, 0);
    if (machine->is_ended || machine->state == RUN_STATE_SHUTDOWN) {
        return;
    }
    if (pending & 1u << POWER_DEBUG_EXIT) {
        machine_quit(machine, CAUSE_DEBUG_EXIT, machine->debug_exit_code);
    } else if (pending & 1u << POWER_PANIC) {
        halt(machine);
        tell(machine, MACHINE_EVENT_GUEST_PANICKED, CAUSE_GUEST_PANIC);
        shut_down(machine, CAUSE_GUEST_PANIC, RUN_STATE_GUEST_PANICKED);
    } else if (pending & 1u << POWER_SHUTDOWN) {
        shut_down(machine, CAUSE_GUEST_SHUTDOWN, RUN_STATE_SHUTDOWN);
    } else if (pending & 1u << POWER_RESET) {
        machine_reset(machine, CAUSE_GUEST_RESET);
    } else if (pending & 1u << POWER_SUSPEND) {
        log_guest_error("the guest asked for a sleep state that the machine does not have");
    }
}

/* The vCPU that causes an event must not run past it: what follows the write to a power-off port
 * is a guest's error path. */
void machine_power_event(void *opaque, PowerEvent event, int code)
{
    Machine *machine = opaque;
    if (event == POWER_DEBUG_EXIT) {
        atomic_store(&machine->debug_exit_code, code);
    }
    if (event != POWER_SUSPEND) {
        LOCK_GUARD(&machine->run_lock);
        machine->vcpus_wanted = false;
    }
    uint32_t before = atomic_fetch_or(&machine->power_pending, 1u << event);
    if (!before && loop_call(machine->loop, handle_power, machine) < 0) {
        log_error("no memory to act on a power event");
    }
    for (unsigned i = 0; i < machine->vcpu_count; i++) {
        if (machine->vcpu[i].vcpu) {
            machine->accel->vcpu_kick(machine->vcpu[i].vcpu);
        }
    }
}

typedef struct BlockErrorNote {
    Machine *machine;
    MachineEvent event;
    char *drive, *node;
} BlockErrorNote;

static void note_free(BlockErrorNote *note)
{
    g_free(note->drive);
    g_free(note->node);
    g_free(note);
}

static void handle_block_error(void *opaque)
{
    BlockErrorNote *note = opaque;
    machine_tell(note->machine, &note->event);
    if (note->event.is_stop && note->machine->state == RUN_STATE_RUNNING) {
        machine_pause(note->machine, RUN_STATE_IO_ERROR);
    }
    note_free(note);
}

void machine_block_error(Machine *machine, const MachineEvent *event)
{
    BlockErrorNote *note = g_new0(BlockErrorNote, 1);
    note->machine = machine;
    note->event = *event;
    note->event.drive = note->drive = g_strdup(event->drive);
    note->event.node = note->node = g_strdup(event->node);
    if (loop_call(machine->loop, handle_block_error, note) < 0) {
        log_error("drive '%s': no memory to act on an error", event->drive);
        note_free(note);
    }
}

void machine_power_button(Machine *machine)
{
    tell(machine, MACHINE_EVENT_POWERDOWN, CAUSE_HOST_QMP_QUIT);
    if (machine->acpi_pm) {
        acpi_pm_power_button(machine->acpi_pm);
    } else if (machine->acpi_ged) {
        acpi_ged_power_button(machine->acpi_ged);
    }
}

static void handle_exit(Machine *machine, MachineVcpu *v)
{
    switch (v->exit.reason) {
    case VCPU_EXIT_SHUTDOWN:
        log_info("vCPU %u: triple fault", v->index);
        machine_reset(machine, CAUSE_GUEST_RESET);
        break;
    case VCPU_EXIT_DEBUG:
        machine_pause(machine, RUN_STATE_DEBUG);
        machine_tell(machine, &(MachineEvent){ .kind = MACHINE_EVENT_DEBUG_STOP,
                                               .vcpu = v->index,
                                               .exit = &v->exit });
        break;
    case VCPU_EXIT_FAILED:
        log_error("vCPU %u cannot go on: %s", v->index, v->exit.message);
        machine_pause(machine, RUN_STATE_INTERNAL_ERROR);
        break;
    case VCPU_EXIT_KICKED:
        break;
    }
}

/* Acts on the vCPUs that stopped by themselves. Context: the loop. */
void machine_handle_exits(void *opaque)
{
    Machine *machine = opaque;
    for (unsigned i = 0; i < machine->vcpu_count && !machine->is_ended; i++) {
        MachineVcpu *v = &machine->vcpu[i];
        bool has_exit;
        {
            LOCK_GUARD(&machine->run_lock);
            has_exit = v->has_exit;
            v->has_exit = false;
        }
        if (has_exit) {
            handle_exit(machine, v);
        }
    }
}

static void start(void *opaque)
{
    Machine *machine = opaque;
    machine->has_run = true;
    if (!machine->config->starts_paused && machine->state == RUN_STATE_PRELAUNCH) {
        machine->state = RUN_STATE_RUNNING;
        go(machine);
    }
}

int machine_run(Machine *machine)
{
    if (loop_call(machine->loop, start, machine) < 0) {
        log_error("no memory to start the guest");
        return 1;
    }
    loop_run(machine->loop);
    return machine->exit_status;
}
