/* The loop of a vCPU's thread: requests, interrupts, HLT, guest code.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/bits.h"
#include "vmm/accel/xlate/exception.h"
#include "vmm/accel/xlate/interp.h"
#include "vmm/accel/xlate/softmmu.h"
#include "vmm/accel/xlate/translate.h"
#include "vmm/accel/xlate/vm.h"

#include <stdio.h>
#include <string.h>

/* Without the translator, and while it cannot run. */
#define INTERPRETED_PER_TURN 100000u
#define INTERPRETED_PER_LOOK 256u

/* What ends HLT, or waiting for SIPI, besides an exit. */
static uint32_t waking_requests(const Vcpu *vcpu)
{
    uint32_t always = REQUEST_KICK | REQUEST_INIT;
    return vcpu->run_state == CPU_RUN_HALTED ? always | REQUEST_INTERRUPT | REQUEST_NMI
                                             : always | REQUEST_SIPI;
}

static void wait_for_request(Vcpu *vcpu)
{
    uint32_t wanted = waking_requests(vcpu);
    atomic_store(&vcpu->halted, true);
    pthread_mutex_lock(&vcpu->halt_lock);
    while (!(atomic_load(&vcpu->requests) & wanted)) {
        pthread_cond_wait(&vcpu->halt_cond, &vcpu->halt_lock);
    }
    pthread_mutex_unlock(&vcpu->halt_lock);
    atomic_store(&vcpu->halted, false);
}

static bool take_request(Vcpu *vcpu, uint32_t request)
{
    if (!(atomic_load_explicit(&vcpu->requests, memory_order_relaxed) & request)) {
        return false;
    }
    atomic_fetch_and(&vcpu->requests, ~request);
    return true;
}

static void start_at_sipi(Vcpu *vcpu)
{
    uint8_t vector = atomic_load(&vcpu->sipi_vector);
    CpuSegment *cs = &vcpu->segment[CPU_CS];
    cs->selector = (uint16_t)(vector << 8);
    cs->base = (uint32_t)vector << 12;
    vcpu->rip = 0;
    vcpu->run_state = CPU_RUN_RUNNABLE;
    cpu_update_mode(vcpu);
}

static void deliver_interrupt(Vcpu *vcpu)
{
    const LapicPort *port = vcpu->lapic;
    vcpu->interrupt_pending = false;
    if (!port || port->pending(port->lapic) < 0) {
        return;
    }
    if (!(vcpu->rflags & FLAG_IF) || vcpu->interrupt_shadow) {
        vcpu->interrupt_pending = true;
        if (vcpu->interrupt_shadow) {
            /* The shadow ends with the next instruction; then look again. */
            atomic_fetch_or(&vcpu->requests, REQUEST_INTERRUPT);
        }
        return;
    }
    int vector = port->acknowledge(port->lapic);
    if (vector < 0) {
        return;
    }
    vcpu->run_state = CPU_RUN_RUNNABLE;
    event_deliver(vcpu, (uint8_t)vector, EVENT_INTERRUPT, vcpu->rip);
    vcpu->interrupt_pending = true;
}

static void deliver_nmi(Vcpu *vcpu)
{
    if (vcpu->nmi_masked || vcpu->interrupt_shadow) {
        vcpu->nmi_pending = true;
        return;
    }
    vcpu->nmi_pending = false;
    vcpu->run_state = CPU_RUN_RUNNABLE;
    event_deliver(vcpu, EXCEPTION_NMI, EVENT_INTERRUPT, vcpu->rip);
    vcpu->nmi_masked = true;
}

/* An interrupt that a HLT with interrupts on waits for may have come before the HLT. */
static void check_pending_at_halt(Vcpu *vcpu)
{
    if (vcpu->run_state == CPU_RUN_HALTED && vcpu->interrupt_pending && (vcpu->rflags & FLAG_IF)) {
        atomic_fetch_or(&vcpu->requests, REQUEST_INTERRUPT);
    }
}

/* False: leave vcpu_run() with @out. */
static bool handle_requests(Vcpu *vcpu, VcpuExit *out)
{
    if (take_request(vcpu, REQUEST_FLUSH_TLB)) {
        tlb_flush(vcpu);
    }
    take_request(vcpu, REQUEST_SAFEPOINT);
    if (take_request(vcpu, REQUEST_INIT)) {
        state_init(vcpu);
    }
    if (vcpu->run_state == CPU_RUN_WAIT_FOR_SIPI) {
        if (take_request(vcpu, REQUEST_SIPI)) {
            start_at_sipi(vcpu);
        }
    } else {
        take_request(vcpu, REQUEST_SIPI);
        if (take_request(vcpu, REQUEST_NMI) || (vcpu->nmi_pending && !vcpu->nmi_masked)) {
            deliver_nmi(vcpu);
        }
        if (take_request(vcpu, REQUEST_INTERRUPT)) {
            deliver_interrupt(vcpu);
        }
    }
    if (take_request(vcpu, REQUEST_KICK)) {
        out->reason = VCPU_EXIT_KICKED;
        return false;
    }
    return true;
}

static bool has_stopped(Vcpu *vcpu, VcpuExit *out)
{
    if (vcpu->shutdown) {
        vcpu->shutdown = false;
        out->reason = VCPU_EXIT_SHUTDOWN;
        return true;
    }
    if (vcpu->failure) {
        out->reason = VCPU_EXIT_FAILED;
        snprintf(out->message, sizeof(out->message), "%s", vcpu->failure);
        vcpu->failure = NULL;
        return true;
    }
    if (vcpu->debug_stop) {
        vcpu->debug_stop = false;
        vcpu->debug_resume = true;
        vcpu->debug_resume_rip =
            vcpu->mode & MODE_CS64 ? vcpu->rip : (uint32_t)(vcpu->segment[CPU_CS].base + vcpu->rip);
        out->reason = VCPU_EXIT_DEBUG;
        out->debug_address = vcpu->debug_address;
        out->debug_is_watchpoint = vcpu->debug_is_watchpoint;
        return true;
    }
    return false;
}

static void run_code(Vcpu *vcpu)
{
    vm_code_enter(vcpu);
    if (vcpu->vm->use_jit) {
        jit_run(vcpu);
        if (!jit_can_run(vcpu)) {
            interp_run(vcpu, INTERPRETED_PER_LOOK);
        }
    } else {
        interp_run(vcpu, INTERPRETED_PER_TURN);
    }
    vm_code_leave(vcpu);
}

void vcpu_run(Vcpu *vcpu, VcpuExit *out)
{
    memset(out, 0, sizeof(*out));
    vcpu->thread = pthread_self();
    if (vcpu->fault_pending) {
        vcpu->fault_pending = false;
        exception_deliver(vcpu);
    }
    for (;;) {
        check_pending_at_halt(vcpu);
        if (atomic_load_explicit(&vcpu->requests, memory_order_relaxed) != 0 &&
            !handle_requests(vcpu, out)) {
            return;
        }
        if (has_stopped(vcpu, out)) {
            return;
        }
        if (vcpu->run_state == CPU_RUN_RUNNABLE) {
            run_code(vcpu);
        } else {
            wait_for_request(vcpu);
        }
    }
}
