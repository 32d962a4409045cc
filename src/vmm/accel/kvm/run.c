/* Running guest code: KVM_RUN, and what it stops for.
 *
 * A port or memory access is finished only by the next KVM_RUN, so the loop never returns between
 * the two; a kick makes that KVM_RUN return at once. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "vmm/accel/kvm/kvm.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

static void count(_Atomic(uint64_t) *counter)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

static void handle_ports(Vcpu *vcpu)
{
    const AccelHost *host = &vcpu->vm->host;
    struct kvm_run *run = vcpu->run;
    uint8_t *data = (uint8_t *)run + run->io.data_offset;
    uint8_t size = run->io.size;
    for (uint32_t i = 0; i < run->io.count; i++, data += size) {
        uint64_t value = 0;
        if (run->io.direction == KVM_EXIT_IO_OUT) {
            memcpy(&value, data, size);
            host->region_write(host->opaque, host->ports, run->io.port, value, size);
        } else {
            value = host->region_read(host->opaque, host->ports, run->io.port, size);
            memcpy(data, &value, size);
        }
    }
}

/* KVM may report any number of bytes up to 8; regions take powers of two. */
static void handle_memory(Vcpu *vcpu)
{
    const AccelHost *host = &vcpu->vm->host;
    struct kvm_run *run = vcpu->run;
    const AddressMap *map = host->memory->map;
    unsigned length = run->mmio.len;
    for (unsigned done = 0; done < length;) {
        unsigned size = 8;
        uint64_t value = 0;
        while (size > length - done) {
            size /= 2;
        }
        if (run->mmio.is_write) {
            memcpy(&value, run->mmio.data + done, size);
            host->region_write(host->opaque, map, run->mmio.phys_addr + done, value, size);
        } else {
            value = host->region_read(host->opaque, map, run->mmio.phys_addr + done, size);
            memcpy(run->mmio.data + done, &value, size);
        }
        done += size;
    }
}

static void failed(VcpuExit *out_exit, const char *fmt, ...) LODGE_PRINTF(2, 3);
static void failed(VcpuExit *out_exit, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    out_exit->reason = VCPU_EXIT_FAILED;
    vsnprintf(out_exit->message, sizeof(out_exit->message), fmt, args);
    va_end(args);
}

static uint64_t rip_of(const Vcpu *vcpu)
{
    struct kvm_regs regs = { 0 };
    kvm_ioctl(vcpu->fd, KVM_GET_REGS, &regs);
    return regs.rip;
}

static void internal_error(Vcpu *vcpu, VcpuExit *out_exit)
{
    const struct kvm_run *run = vcpu->run;
    if (run->internal.suberror != KVM_INTERNAL_ERROR_EMULATION) {
        failed(out_exit, "KVM internal error %u at rip 0x%" PRIx64, run->internal.suberror,
               rip_of(vcpu));
        return;
    }
    char bytes[3 * sizeof(run->emulation_failure.insn_bytes) + 1] = "";
    if (run->emulation_failure.ndata >= 1 &&
        run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES) {
        unsigned size = run->emulation_failure.insn_size;
        for (unsigned i = 0; i < size && i < sizeof(run->emulation_failure.insn_bytes); i++) {
            snprintf(bytes + 3 * i, 4, " %02x", run->emulation_failure.insn_bytes[i]);
        }
    }
    failed(out_exit, "KVM cannot emulate the guest's instruction at rip 0x%" PRIx64 "%s%s",
           rip_of(vcpu), *bytes ? ":" : "", bytes);
}

/* Returns true when vcpu_run() is to return @out_exit. */
static bool handle_exit(Vcpu *vcpu, VcpuExit *out_exit)
{
    struct kvm_run *run = vcpu->run;
    switch (run->exit_reason) {
    case KVM_EXIT_IO:
        count(&vcpu->port_exits);
        handle_ports(vcpu);
        return false;
    case KVM_EXIT_MMIO:
        count(&vcpu->memory_exits);
        handle_memory(vcpu);
        return false;
    case KVM_EXIT_INTR:
    case KVM_EXIT_IRQ_WINDOW_OPEN:
    case KVM_EXIT_SET_TPR:
        return false;
    case KVM_EXIT_SHUTDOWN:
        out_exit->reason = VCPU_EXIT_SHUTDOWN;
        return true;
    case KVM_EXIT_DEBUG:
        out_exit->reason = VCPU_EXIT_DEBUG;
        kvm_debug_exit(vcpu, out_exit);
        return true;
    case KVM_EXIT_INTERNAL_ERROR:
        internal_error(vcpu, out_exit);
        return true;
    case KVM_EXIT_FAIL_ENTRY:
        failed(out_exit,
               "the processor refuses to enter the guest (hardware reason 0x%" PRIx64
               ") at rip 0x%" PRIx64,
               (uint64_t)run->fail_entry.hardware_entry_failure_reason, rip_of(vcpu));
        return true;
    default:
        failed(out_exit, "KVM stopped for an unknown reason (%u) at rip 0x%" PRIx64,
               run->exit_reason, rip_of(vcpu));
        return true;
    }
}

/* After KVM_RUN was interrupted. Returns true for a kick. */
static bool take_requests(Vcpu *vcpu)
{
    /* Cleared before the flags are looked at: who sets a flag later sets this again. */
    vcpu->run->immediate_exit = 0;
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_exchange(&vcpu->wants_nmi, false)) {
        kvm_ioctl(vcpu->fd, KVM_NMI, NULL);
    }
    return atomic_exchange(&vcpu->is_kicked, false);
}

static void enter(Vcpu *vcpu)
{
    if (!vcpu->signal_unblocked) {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, KVM_KICK_SIGNAL);
        pthread_sigmask(SIG_UNBLOCK, &set, NULL);
        vcpu->thread = pthread_self();
        vcpu->signal_unblocked = true;
    }
    atomic_store(&vcpu->is_running, true);
}

void kvm_vcpu_run(Vcpu *vcpu, VcpuExit *out_exit)
{
    memset(out_exit, 0, sizeof(*out_exit));
    enter(vcpu);
    for (;;) {
        if (ioctl(vcpu->fd, KVM_RUN, NULL) == 0) {
            if (handle_exit(vcpu, out_exit)) {
                count(&vcpu->other_exits);
                break;
            }
        } else if (errno == EINTR) {
            if (take_requests(vcpu)) {
                out_exit->reason = VCPU_EXIT_KICKED;
                break;
            }
        } else if (errno != EAGAIN) { /* EAGAIN: a processor that was waiting for SIPI got it */
            int reason = errno;
            if (reason == EFAULT && vcpu->run->exit_reason == KVM_EXIT_INTERNAL_ERROR) {
                internal_error(vcpu, out_exit);
            } else {
                failed(out_exit, "KVM_RUN failed: %s", strerrordesc_np(reason));
            }
            break;
        }
    }
    atomic_store(&vcpu->is_running, false);
}

/* Makes KVM_RUN return, or the next one at once. */
static void interrupt(Vcpu *vcpu)
{
    atomic_thread_fence(memory_order_seq_cst);
    *(volatile uint8_t *)&vcpu->run->immediate_exit = 1;
    if (atomic_load(&vcpu->is_running)) {
        pthread_kill(vcpu->thread, KVM_KICK_SIGNAL);
    }
}

void kvm_vcpu_kick(Vcpu *vcpu)
{
    atomic_store(&vcpu->is_kicked, true);
    interrupt(vcpu);
}

void kvm_vcpu_request(Vcpu *vcpu, VcpuRequest request, uint8_t vector)
{
    switch (request) {
    case VCPU_REQUEST_NMI:
        atomic_store(&vcpu->wants_nmi, true);
        interrupt(vcpu);
        break;
    case VCPU_REQUEST_INTERRUPT:
    case VCPU_REQUEST_INIT:
    case VCPU_REQUEST_SIPI:
        break; /* between the kernel's local APICs */
    }
}
