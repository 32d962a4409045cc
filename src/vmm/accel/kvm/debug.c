/* The debugger's breakpoints, watchpoints and single steps, by the processor's debug registers.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/kvm/kvm.h"

#include <errno.h>
#include <string.h>

#define DR7_FIXED 0x400u /* always one */
#define DR7_EXACT 0x200u

/* Type and length fields of DR7. Returns false for lengths no register watches. */
static bool dr7_fields(const DebugPoint *point, uint64_t *out_fields)
{
    static const uint64_t types[] = {
        [DEBUG_BREAKPOINT] = 0, [DEBUG_WATCH_WRITE] = 1, [DEBUG_WATCH_ACCESS] = 3
    };
    uint64_t length;
    switch (point->kind == DEBUG_BREAKPOINT ? 1 : point->length) {
    case 1:
        length = 0;
        break;
    case 2:
        length = 1;
        break;
    case 4:
        length = 3;
        break;
    case 8:
        length = 2;
        break;
    default:
        return false;
    }
    if (point->kind != DEBUG_BREAKPOINT && point->address % point->length) {
        return false;
    }
    *out_fields = types[point->kind] | length << 2;
    return true;
}

int kvm_vcpu_set_debug(Vcpu *vcpu, const DebugPoint *points, unsigned count, bool single_step)
{
    struct kvm_guest_debug debug;
    memset(&debug, 0, sizeof(debug));
    if (count > ARRAY_LENGTH(vcpu->points)) {
        return -ENOSPC;
    }
    if (count || single_step) {
        debug.control = KVM_GUESTDBG_ENABLE;
    }
    if (single_step) {
        debug.control |= KVM_GUESTDBG_SINGLESTEP;
    }
    if (count) {
        debug.control |= KVM_GUESTDBG_USE_HW_BP;
        debug.arch.debugreg[7] = DR7_FIXED | DR7_EXACT;
    }
    for (unsigned i = 0; i < count; i++) {
        uint64_t fields;
        if (!dr7_fields(&points[i], &fields)) {
            return -ENOSPC;
        }
        debug.arch.debugreg[i] = points[i].address;
        debug.arch.debugreg[7] |= UINT64_C(2) << (2 * i) | fields << (16 + 4 * i);
    }
    int rc = kvm_ioctl(vcpu->fd, KVM_SET_GUEST_DEBUG, &debug);
    if (rc < 0) {
        return -ENOSPC;
    }
    if (count) {
        memcpy(vcpu->points, points, count * sizeof(*points));
    }
    vcpu->point_count = count;
    return 0;
}

void kvm_debug_exit(const Vcpu *vcpu, VcpuExit *out_exit)
{
    const struct kvm_debug_exit_arch *arch = &vcpu->run->debug.arch;
    out_exit->debug_address = arch->pc;
    for (unsigned i = 0; i < vcpu->point_count; i++) {
        if (arch->dr6 >> i & 1 && vcpu->points[i].kind != DEBUG_BREAKPOINT) {
            out_exit->debug_address = vcpu->points[i].address;
            out_exit->debug_is_watchpoint = true;
            return;
        }
    }
}
