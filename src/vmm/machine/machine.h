/* A machine: owner of memory, accelerator, vCPUs, buses, devices and back ends of one guest.
 *
 * Built from a MachineConfig on the main thread, which then runs the machine's loop. One thread
 * runs each vCPU. All functions run on the main thread unless they say otherwise.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_MACHINE_MACHINE_H
#define LODGE_VMM_MACHINE_MACHINE_H

#include "event/loop.h"
#include "vmm/accel/accel.h"
#include "vmm/device/host.h"
#include "vmm/options/config.h"

typedef struct Machine Machine;

/* As QMP names them. */
typedef enum RunState {
    RUN_STATE_PRELAUNCH,
    RUN_STATE_RUNNING,
    RUN_STATE_PAUSED,
    RUN_STATE_DEBUG,          /* stopped by the debugger */
    RUN_STATE_IO_ERROR,       /* a disk asked for a pause */
    RUN_STATE_INTERNAL_ERROR, /* a vCPU cannot go on */
    RUN_STATE_GUEST_PANICKED,
    RUN_STATE_SHUTDOWN, /* powered off, kept by -no-shutdown */
} RunState;

const char *run_state_to_string(RunState state);

/* Why a machine ends or resets. */
typedef enum MachineCause {
    CAUSE_GUEST_SHUTDOWN,
    CAUSE_GUEST_RESET,
    CAUSE_GUEST_PANIC,
    CAUSE_HOST_SIGNAL,
    CAUSE_HOST_QMP_QUIT,
    CAUSE_HOST_QMP_RESET,
    CAUSE_DEBUG_EXIT,
} MachineCause;

/* What a machine tells its observers. Context: main thread. */
typedef enum MachineEventKind {
    MACHINE_EVENT_STOP,
    MACHINE_EVENT_RESUME,
    MACHINE_EVENT_RESET,    /* cause */
    MACHINE_EVENT_SHUTDOWN, /* cause; the loop ends soon unless -no-shutdown holds it */
    MACHINE_EVENT_POWERDOWN,
    MACHINE_EVENT_GUEST_PANICKED,
    MACHINE_EVENT_BLOCK_IO_ERROR,
    MACHINE_EVENT_DEVICE_DELETED, /* device */
    MACHINE_EVENT_NOTICE,         /* device (may be NULL), notice, value */
    MACHINE_EVENT_DEBUG_STOP,     /* vcpu, and where */
} MachineEventKind;

typedef struct MachineEvent {
    MachineEventKind kind;
    MachineCause cause;
    const char *device; /* DEVICE_DELETED, NOTICE: its id */
    DeviceNotice notice;
    int64_t value;
    /* BLOCK_IO_ERROR */
    const char *drive, *node; /* ids; node may be NULL */
    bool is_write, no_space, is_stop, is_ignored;
    int error;
    /* DEBUG_STOP */
    unsigned vcpu;
    const VcpuExit *exit;
} MachineEvent;

typedef void (*MachineObserver)(void *opaque, const MachineEvent *event);

/**
 * machine_new - build a machine, ready to run
 * @config: borrowed for the machine's life
 *
 * Returns: the machine (transfer full), or NULL with @error of one line: unknown names, values that
 * do not fit, files that cannot be used, no accelerator.
 */
Machine *machine_new(const MachineConfig *config, GError **error);

/* Stops vCPUs, flushes disks and releases all. NULL is accepted. */
void machine_free(Machine *machine);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Machine, machine_free)

/* Runs the loop until the machine ends; vCPUs start unless -S was given. Returns the exit status
 * of the process: 0 after a power-off, a quit or a signal, (v << 1) | 1 after a debug exit. */
int machine_run(Machine *machine);

EventLoop *machine_loop(const Machine *machine);
const MachineConfig *machine_config(const Machine *machine);
const char *machine_accel_name(const Machine *machine);

/* The accelerator's "name value" lines; NULL: it has none. (transfer full) */
char *machine_accel_statistics(const Machine *machine);

/* Observers are called in the order added. */
void machine_add_observer(Machine *machine, MachineObserver observer, void *opaque);

RunState machine_run_state(const Machine *machine);

/* Pauses: returns when no vCPU runs and what disks had to do is done and on stable storage. The
 * guest's clock and timers stop. */
void machine_pause(Machine *machine, RunState state);
/* False: the state does not allow it (shut down, cannot go on); @error says what would help. */
bool machine_resume(Machine *machine, GError **error);

/* Reset as by the reset button or by the guest; the machine keeps running, or stays paused. Where
 * resets are to end the guest, this ends it. */
void machine_reset(Machine *machine, MachineCause cause);

/* The ACPI power button. */
void machine_power_button(Machine *machine);

/* Ends machine_run() with @status. Context: main thread. */
void machine_quit(Machine *machine, MachineCause cause, int status);

/* Help texts. (transfer full); NULL with @error: no such thing. */
char *machine_help(HelpTopic topic, const char *name, GError **error);

#endif
