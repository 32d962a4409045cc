/* Locked read-modify-write, and the double-width exchanges.
 *
 * On plain RAM the host's locked instructions do the work. Where the translator must see the store
 * (pages with code), or the operand spans two pages, all other vCPUs are stopped instead. Device
 * registers are read and written one after the other, as a bridge without locking does.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/interp-ops.h"

#include <string.h>

/* Starts a section if @linear is RAM that cannot be exchanged in place. */
static bool begin_exclusive(Vcpu *vcpu, uint64_t linear, unsigned size)
{
    MemPage page;
    tlb_fill(vcpu, linear, MEM_WRITE, &page);
    if (!page.host) {
        return false;
    }
    vm_exclusive_begin(vcpu->vm, vcpu);
    vcpu->in_exclusive = true;
    /* May have changed while this vCPU waited; raises inside the section, which unwinding ends. */
    mem_probe_write(vcpu, linear, size);
    return true;
}

static void end_exclusive(Vcpu *vcpu)
{
    vcpu->in_exclusive = false;
    vm_exclusive_end(vcpu->vm, vcpu);
}

void rmw_begin_locked(Vcpu *vcpu, Rmw *rmw)
{
    rmw->host = mem_host(vcpu, rmw->linear, rmw->op->size, MEM_WRITE);
    if (!rmw->host) {
        rmw->exclusive = begin_exclusive(vcpu, rmw->linear, rmw->op->size);
    }
}

uint64_t rmw_load_locked(Vcpu *vcpu, const Rmw *rmw)
{
    uint64_t value = 0;
    if (!rmw->host) {
        return mem_read(vcpu, rmw->linear, rmw->op->size);
    }
    memcpy(&value, rmw->host, rmw->op->size);
    return value;
}

static bool exchange(void *host, unsigned size, uint64_t old, uint64_t value)
{
    uint8_t old8 = (uint8_t)old;
    uint16_t old16 = (uint16_t)old;
    uint32_t old32 = (uint32_t)old;
    switch (size) {
    case 1:
        return __atomic_compare_exchange_n((uint8_t *)host, &old8, (uint8_t)value, false,
                                           __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    case 2:
        return __atomic_compare_exchange_n((uint16_t *)host, &old16, (uint16_t)value, false,
                                           __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    case 4:
        return __atomic_compare_exchange_n((uint32_t *)host, &old32, (uint32_t)value, false,
                                           __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    default:
        return __atomic_compare_exchange_n((uint64_t *)host, &old, value, false, __ATOMIC_SEQ_CST,
                                           __ATOMIC_SEQ_CST);
    }
}

bool rmw_store_locked(Vcpu *vcpu, Rmw *rmw, uint64_t old, uint64_t value)
{
    if (rmw->host) {
        return exchange(rmw->host, rmw->op->size, old, value);
    }
    mem_write(vcpu, rmw->linear, value, rmw->op->size);
    if (rmw->exclusive) {
        end_exclusive(vcpu);
    }
    return true;
}

/* @size is that of each half. Without LOCK it is done atomically too, which a program cannot tell.
 */
static void compare_exchange_pair(Vcpu *vcpu, const Insn *insn, unsigned size)
{
    /* Alignment comes before all other faults. */
    if (size == 8 &&
        segment_linear_unchecked(vcpu, insn->mem.segment, insn_ea(vcpu, insn)) % 16 != 0) {
        raise_error(vcpu, EXCEPTION_GP, 0);
    }
    uint64_t linear = insn_linear(vcpu, insn, size * 2, true);
    uint64_t low = gpr_read(vcpu, CPU_RAX, size), high = gpr_read(vcpu, CPU_RDX, size);
    uint64_t new_low = gpr_read(vcpu, CPU_RBX, size), new_high = gpr_read(vcpu, CPU_RCX, size);
    uint64_t old_low, old_high;
    bool equal;
    void *host = mem_host(vcpu, linear, size * 2, MEM_WRITE);
    if (host && size == 4) {
        uint64_t expected = low | high << 32;
        equal = __atomic_compare_exchange_n((uint64_t *)host, &expected, new_low | new_high << 32,
                                            false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
        old_low = (uint32_t)expected;
        old_high = expected >> 32;
    } else if (host) {
        old_low = low;
        old_high = high;
        __asm__ volatile("lock cmpxchg16b %1"
                         : "=@ccz"(equal), "+m"(*(__uint128_t *)host), "+a"(old_low), "+d"(old_high)
                         : "b"(new_low), "c"(new_high)
                         : "memory");
    } else {
        bool exclusive = begin_exclusive(vcpu, linear, size * 2);
        old_low = mem_read(vcpu, linear, size);
        old_high = mem_read(vcpu, linear + size, size);
        equal = old_low == low && old_high == high;
        mem_write(vcpu, linear, equal ? new_low : old_low, size);
        mem_write(vcpu, linear + size, equal ? new_high : old_high, size);
        if (exclusive) {
            end_exclusive(vcpu);
        }
    }
    if (!equal) {
        gpr_write(vcpu, CPU_RAX, old_low, size);
        gpr_write(vcpu, CPU_RDX, old_high, size);
    }
    set_flags(vcpu, FLAG_ZF, equal ? FLAG_ZF : 0);
}

void op_cmpxchg8b(Vcpu *vcpu, const Insn *insn)
{
    compare_exchange_pair(vcpu, insn, 4);
}

void op_cmpxchg16b(Vcpu *vcpu, const Insn *insn)
{
    compare_exchange_pair(vcpu, insn, 8);
}
