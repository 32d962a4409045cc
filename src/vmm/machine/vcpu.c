/* vCPU threads: one for each vCPU; parked while the machine is paused.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "base/log.h"
#include "gbase/error.h"
#include "vmm/machine/internal.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

/* Parks until the vCPU may run. False: the thread is to end. */
static bool may_run(const Machine *machine, const MachineVcpu *v)
{
    return machine->vcpus_wanted && (machine->only_vcpu < 0 || machine->only_vcpu == (int)v->index);
}

static bool wait_turn(MachineVcpu *v)
{
    Machine *machine = v->machine;
    LOCK_GUARD(&machine->run_lock);
    if (v->is_running) {
        v->is_running = false;
        if (--machine->vcpus_running == 0) {
            loop_wake(machine->loop);
        }
    }
    while (!may_run(machine, v) && !machine->vcpus_end) {
        pthread_cond_wait(&machine->run_cond, &machine->run_lock);
    }
    if (machine->vcpus_end) {
        return false;
    }
    v->is_running = true;
    machine->vcpus_running++;
    return true;
}

/* The vCPU stopped for a reason that the main thread acts on: until then none goes on. */
static void report_exit(MachineVcpu *v, const VcpuExit *exit)
{
    Machine *machine = v->machine;
    {
        LOCK_GUARD(&machine->run_lock);
        v->exit = *exit;
        v->has_exit = true;
        machine->vcpus_wanted = false;
    }
    if (loop_call(machine->loop, machine_handle_exits, machine) < 0) {
        log_error("vCPU %u: no memory to report its stop", v->index);
    }
}

/* Tells the thread's number to machine_start_vcpu_threads(). */
static void announce(MachineVcpu *v)
{
    Machine *machine = v->machine;
    LOCK_GUARD(&machine->run_lock);
    v->tid = gettid();
    pthread_cond_broadcast(&machine->run_cond);
}

static void *vcpu_thread(void *opaque)
{
    MachineVcpu *v = opaque;
    char name[16];
    snprintf(name, sizeof(name), "vcpu %u", v->index);
    pthread_setname_np(pthread_self(), name);
    announce(v);
    while (wait_turn(v)) {
        VcpuExit exit = { .reason = VCPU_EXIT_KICKED };
        v->machine->accel->vcpu_run(v->vcpu, &exit);
        if (exit.reason != VCPU_EXIT_KICKED) {
            report_exit(v, &exit);
        }
    }
    return NULL;
}

/* Whoever asks for the threads' numbers, which are read without a lock, gets them from the start.
 */
static void wait_until_announced(Machine *machine)
{
    LOCK_GUARD(&machine->run_lock);
    for (unsigned i = 0; i < machine->vcpu_count; i++) {
        while (machine->vcpu[i].tid == 0) {
            pthread_cond_wait(&machine->run_cond, &machine->run_lock);
        }
    }
}

bool machine_start_vcpu_threads(Machine *machine, GError **error)
{
    /* Signals for the process go to the main thread. */
    sigset_t all, old;
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGTRAP);
    sigdelset(&all, SIGUSR1); /* accelerators may kick by these */
    sigdelset(&all, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    int r = 0;
    for (unsigned i = 0; i < machine->vcpu_count && !r; i++) {
        MachineVcpu *v = &machine->vcpu[i];
        r = pthread_create(&v->thread, NULL, vcpu_thread, v);
        v->has_thread = r == 0;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (r) {
        lodge_error_set_errno(error, r, "cannot start the threads of the vCPUs");
        return false;
    }
    wait_until_announced(machine);
    return true;
}

void machine_park_vcpus(Machine *machine)
{
    pthread_mutex_lock(&machine->run_lock);
    machine->vcpus_wanted = false;
    unsigned running = machine->vcpus_running;
    pthread_mutex_unlock(&machine->run_lock);
    for (unsigned i = 0; running && i < machine->vcpu_count; i++) {
        machine->accel->vcpu_kick(machine->vcpu[i].vcpu);
    }
    while (running) {
        /* A vCPU may be waiting for the loop, to map a BAR or to reset a device. */
        loop_run_calls(machine->loop);
        LOCK_GUARD(&machine->run_lock);
        running = machine->vcpus_running;
    }
}

static void release(Machine *machine, int only_vcpu)
{
    LOCK_GUARD(&machine->run_lock);
    machine->vcpus_wanted = true;
    machine->only_vcpu = only_vcpu;
    pthread_cond_broadcast(&machine->run_cond);
}

void machine_release_vcpus(Machine *machine)
{
    release(machine, -1);
}

void machine_release_one_vcpu(Machine *machine, unsigned index)
{
    release(machine, (int)index);
}

void machine_end_vcpu_threads(Machine *machine)
{
    machine_park_vcpus(machine);
    {
        LOCK_GUARD(&machine->run_lock);
        machine->vcpus_end = true;
        pthread_cond_broadcast(&machine->run_cond);
    }
    for (unsigned i = 0; i < machine->vcpu_count; i++) {
        if (machine->vcpu[i].has_thread) {
            pthread_join(machine->vcpu[i].thread, NULL);
            machine->vcpu[i].has_thread = false;
        }
    }
}
