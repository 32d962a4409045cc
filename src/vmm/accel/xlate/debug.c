/* Debug registers and debugger stops. Data breakpoints of both kinds are found by looking at the
 * memory operand of each instruction; implicit accesses (stack, descriptor tables) are not
 * watched.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/debug.h"

#include "vmm/accel/xlate/bits.h"
#include "vmm/accel/xlate/exception.h"
#include "vmm/accel/xlate/interp-ops.h"

#include <string.h>

#define KIND_EXECUTE 0u
#define KIND_WRITE 1u
#define KIND_IO 2u

static uint64_t rip_linear(const Vcpu *vcpu)
{
    return vcpu->mode & MODE_CS64 ? vcpu->rip : (uint32_t)(vcpu->segment[CPU_CS].base + vcpu->rip);
}

static unsigned guest_kind(const Vcpu *vcpu, unsigned i)
{
    return vcpu->dr[7] >> (16 + i * 4) & 3;
}

static bool guest_enabled(const Vcpu *vcpu, unsigned i)
{
    return vcpu->dr[7] >> (i * 2) & 3;
}

static void check_guest_breakpoints(Vcpu *vcpu, uint64_t linear)
{
    uint64_t hits = 0;
    if (!(vcpu->dr[7] & 0xff) || (vcpu->rflags & FLAG_RF)) {
        return;
    }
    for (unsigned i = 0; i < 4; i++) {
        if (guest_enabled(vcpu, i) && guest_kind(vcpu, i) == KIND_EXECUTE &&
            vcpu->dr[i] == linear) {
            hits |= 1u << i;
        }
    }
    if (hits) {
        raise_debug(vcpu, hits);
    }
}

static bool overlaps(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
    return a < b + b_size && b < a + a_size;
}

static void note_access(Vcpu *vcpu, uint64_t linear, unsigned size, bool reads, bool writes)
{
    for (unsigned i = 0; i < 4; i++) {
        static const uint8_t lengths[] = { 1, 2, 8, 4 };
        unsigned kind = guest_kind(vcpu, i);
        unsigned length = lengths[vcpu->dr[7] >> (18 + i * 4) & 3];
        bool wanted = kind == KIND_WRITE ? writes : kind == 3 && (reads || writes);
        if (guest_enabled(vcpu, i) && wanted &&
            overlaps(linear, size, vcpu->dr[i] & ~(uint64_t)(length - 1), length)) {
            vcpu->pending_db |= 1u << i;
        }
    }
    for (unsigned i = 0; i < vcpu->debug_point_count; i++) {
        const DebugPoint *point = &vcpu->debug_point[i];
        bool wanted = point->kind == DEBUG_WATCH_WRITE    ? writes
                      : point->kind == DEBUG_WATCH_ACCESS ? reads || writes
                                                          : false;
        if (wanted && overlaps(linear, size, point->address, point->length)) {
            vcpu->debug_stop = true;
            vcpu->debug_is_watchpoint = true;
            vcpu->debug_address = point->address;
        }
    }
}

/* The memory operand of the instruction about to run. */
static void check_operand(Vcpu *vcpu, uint64_t linear_rip)
{
    uint8_t bytes[16];
    MemPage page;
    Insn insn;
    unsigned length = mem_fetch(vcpu, linear_rip, bytes, &page);
    if (insn_decode(bytes, length, vcpu->mode, &insn) < 0) {
        return;
    }
    for (unsigned i = 0; i < insn.operand_count; i++) {
        const InsnOperand *op = &insn.operand[i];
        if (op->kind == OPERAND_MEM && op->access && op->size) {
            uint64_t offset = insn_ea(vcpu, &insn);
            bool has_base = !(vcpu->mode & MODE_CS64) || insn.mem.segment >= CPU_FS;
            uint64_t linear = (has_base ? vcpu->segment[insn.mem.segment].base : 0) + offset;
            note_access(vcpu, vcpu->mode & MODE_CS64 ? linear : (uint32_t)linear, op->size,
                        op->access & OPERAND_READ, op->access & OPERAND_WRITTEN);
        }
    }
    if (insn.kind & INSN_STRING) {
        unsigned size = insn.operand_size;
        bool is_store = insn.opcode == 0xa4 || insn.opcode == 0xa5 || insn.opcode == 0xaa ||
                        insn.opcode == 0xab;
        note_access(vcpu, vcpu->gpr[CPU_RDI], size, !is_store, is_store);
        note_access(vcpu, vcpu->gpr[CPU_RSI], size, true, false);
    }
}

static bool has_watchpoints(const Vcpu *vcpu)
{
    for (unsigned i = 0; i < 4; i++) {
        if (guest_enabled(vcpu, i) && guest_kind(vcpu, i) != KIND_EXECUTE) {
            return true;
        }
    }
    for (unsigned i = 0; i < vcpu->debug_point_count; i++) {
        if (vcpu->debug_point[i].kind != DEBUG_BREAKPOINT) {
            return true;
        }
    }
    return false;
}

bool debug_before(Vcpu *vcpu)
{
    uint64_t linear = rip_linear(vcpu);
    bool resumes = vcpu->debug_resume && vcpu->debug_resume_rip == linear;
    vcpu->debug_resume = false;
    for (unsigned i = 0; i < vcpu->debug_point_count && !resumes; i++) {
        const DebugPoint *point = &vcpu->debug_point[i];
        if (point->kind == DEBUG_BREAKPOINT && point->address == linear) {
            vcpu->debug_stop = true;
            vcpu->debug_is_watchpoint = false;
            vcpu->debug_address = linear;
            return false;
        }
    }
    check_guest_breakpoints(vcpu, linear);
    if (has_watchpoints(vcpu)) {
        check_operand(vcpu, linear);
    }
    return true;
}

void debug_after(Vcpu *vcpu, uint64_t rip, bool traps)
{
    uint64_t bits = vcpu->pending_db | (traps ? DR6_BS : 0);
    vcpu->pending_db = 0;
    if (vcpu->debug_single_step && !vcpu->debug_stop) {
        vcpu->debug_stop = true;
        vcpu->debug_is_watchpoint = false;
        vcpu->debug_address = rip_linear(vcpu);
    }
    /* A trap after MOV SS waits for the next instruction; one after STI does not. */
    if (bits && !(vcpu->interrupt_shadow == SHADOW_SS && !(bits & ~(uint64_t)DR6_BS))) {
        raise_debug(vcpu, bits);
    }
}
