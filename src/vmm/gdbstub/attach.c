/* What the GDB stub needs, by the functions of a machine.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/gdbstub/attach.h"

#include "base/log.h"
#include "vmm/machine/inspect.h"

static Vcpu *vcpu_at(void *opaque, unsigned index)
{
    return machine_vcpu(opaque, index);
}

static void pause_machine(void *opaque)
{
    if (machine_run_state(opaque) == RUN_STATE_RUNNING) {
        machine_pause(opaque, RUN_STATE_DEBUG);
    }
}

static void resume_machine(void *opaque, int only_vcpu)
{
    g_autoptr(GError) error = NULL;
    bool ok = only_vcpu < 0 ? machine_resume(opaque, &error)
                            : machine_resume_one(opaque, (unsigned)only_vcpu, &error);
    if (!ok) {
        log_warn("gdb: %s", error->message);
    }
}

static void kill_machine(void *opaque)
{
    machine_quit(opaque, CAUSE_HOST_SIGNAL, 0);
}

static void observe(void *opaque, const MachineEvent *event)
{
    GdbStub *stub = opaque;
    const Machine *machine = gdb_stub_target(stub)->opaque;
    if (event->kind == MACHINE_EVENT_DEBUG_STOP) {
        gdb_stub_stopped(stub, event->vcpu, event->exit);
    } else if (event->kind == MACHINE_EVENT_STOP && machine_run_state(machine) != RUN_STATE_DEBUG) {
        gdb_stub_stopped(stub, 0, NULL);
    }
}

bool gdb_stub_attach(Machine *machine, GdbStub **out_stub, GError **error)
{
    const char *id = machine_config(machine)->gdb;
    GdbTarget target = {
        .vcpu_count = machine_vcpu_count(machine),
        .accel = machine_accel(machine),
        .memory = machine_memory(machine),
        .vcpu = vcpu_at,
        .pause = pause_machine,
        .resume = resume_machine,
        .kill = kill_machine,
        .opaque = machine,
    };
    if (!id) {
        *out_stub = NULL;
        return true;
    }
    CharBackend *backend = machine_chardev(machine, id, error);
    GdbStub *stub = backend ? gdb_stub_new(backend, &target, error) : NULL;
    if (!stub) {
        g_prefix_error(error, "-gdb: ");
        return false;
    }
    machine_add_observer(machine, observe, stub);
    *out_stub = stub;
    return true;
}
