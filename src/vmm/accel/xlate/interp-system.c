/* Privileged and other system instructions.
 * Left out: performance counters, MONITOR, virtualization, machine check.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/interp-ops.h"
#include "vmm/accel/xlate/msr.h"

static void gp(Vcpu *vcpu)
{
    raise_error(vcpu, EXCEPTION_GP, 0);
}

static void require(Vcpu *vcpu, bool is_allowed)
{
    if (!is_allowed) {
        gp(vcpu);
    }
}

static void require_defined(Vcpu *vcpu, bool is_defined)
{
    if (!is_defined) {
        raise_exception(vcpu, EXCEPTION_UD);
    }
}

static bool is_protected(const Vcpu *vcpu)
{
    return (vcpu->mode & (MODE_PE | MODE_VM86)) == MODE_PE;
}

/* -- control registers -- */

static void write_cr0(Vcpu *vcpu, uint64_t value)
{
    uint64_t changed;
    require(vcpu, !(value >> 32) && !((value & CR0_PG) && !(value & CR0_PE)) &&
                      !((value & CR0_NW) && !(value & CR0_CD)));
    value = (value & CR0_VALID) | CR0_ET;
    changed = value ^ vcpu->cr0;
    if ((changed & CR0_PG) && (value & CR0_PG) && (vcpu->efer & EFER_LME)) {
        require(vcpu, (vcpu->cr4 & CR4_PAE) && !(vcpu->segment[CPU_CS].attributes & SEGMENT_L));
        vcpu->efer |= EFER_LMA;
    } else if ((changed & CR0_PG) && !(value & CR0_PG)) {
        require(vcpu, !(vcpu->mode & MODE_CS64) && !(vcpu->cr4 & CR4_PCIDE));
        vcpu->efer &= ~(uint64_t)EFER_LMA;
    }
    vcpu->cr0 = value;
    if (changed & (CR0_PG | CR0_WP | CR0_PE)) {
        tlb_flush(vcpu);
    }
    cpu_update_mode(vcpu);
}

static void write_cr3(Vcpu *vcpu, uint64_t value)
{
    bool keep = (vcpu->cr4 & CR4_PCIDE) && value >> 63;
    if (vcpu->mode & MODE_LMA) {
        value &= ~(UINT64_C(1) << 63);
        require(vcpu, !(value >> vcpu->physical_bits));
    } else {
        value &= 0xffffffff;
    }
    vcpu->cr3 = value;
    if (keep) {
        tlb_select_context(vcpu);
    } else {
        tlb_flush_space(vcpu, vcpu->cr4 & CR4_PCIDE ? value & 0xfff : 0);
    }
}

static void write_cr4(Vcpu *vcpu, uint64_t value)
{
    uint64_t changed = value ^ vcpu->cr4;
    require(vcpu, !(value & ~(uint64_t)CR4_VALID));
    require(vcpu, !((vcpu->mode & MODE_LMA) && !(value & CR4_PAE)));
    if ((changed & CR4_PCIDE) && (value & CR4_PCIDE)) {
        require(vcpu, (vcpu->mode & MODE_LMA) && !(vcpu->cr3 & 0xfff));
    }
    vcpu->cr4 = value;
    if (changed & (CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCIDE | CR4_SMEP | CR4_SMAP)) {
        tlb_flush(vcpu);
    }
    cpu_update_mode(vcpu);
}

static uint64_t read_cr(Vcpu *vcpu, unsigned reg)
{
    switch (reg) {
    case 0:
        return vcpu->cr0;
    case 2:
        return vcpu->cr2;
    case 3:
        return vcpu->cr3;
    case 4:
        return vcpu->cr4;
    default:
        return vcpu->lapic ? vcpu->lapic->get_cr8(vcpu->lapic->lapic) : 0;
    }
}

static void write_cr(Vcpu *vcpu, unsigned reg, uint64_t value)
{
    switch (reg) {
    case 0:
        write_cr0(vcpu, value);
        break;
    case 2:
        vcpu->cr2 = value;
        break;
    case 3:
        write_cr3(vcpu, value);
        break;
    case 4:
        write_cr4(vcpu, value);
        break;
    default:
        require(vcpu, value < 16);
        if (vcpu->lapic) {
            vcpu->lapic->set_cr8(vcpu->lapic->lapic, (uint8_t)value);
            vcpu->interrupt_pending = true;
            cpu_recheck_interrupt(vcpu);
        }
        break;
    }
}

void op_mov_cr(Vcpu *vcpu, const Insn *insn)
{
    bool to_cr = insn->operand[0].kind == OPERAND_CR;
    unsigned cr = insn->operand[!to_cr].reg, gpr = insn->operand[to_cr].reg;
    unsigned size = vcpu->mode & MODE_CS64 ? 8 : 4;
    require_defined(vcpu, cr == 0 || cr == 2 || cr == 3 || cr == 4 || cr == 8);
    require_cpl0(vcpu);
    if (to_cr) {
        write_cr(vcpu, cr, gpr_read(vcpu, gpr, size));
    } else {
        gpr_write(vcpu, gpr, read_cr(vcpu, cr), size);
    }
}

void op_clts(Vcpu *vcpu, const Insn *insn)
{
    require_cpl0(vcpu);
    vcpu->cr0 &= ~(uint64_t)CR0_TS;
    cpu_update_mode(vcpu);
}

void op_lmsw(Vcpu *vcpu, const Insn *insn)
{
    require_cpl0(vcpu);
    uint64_t value = op_read(vcpu, insn, 0) & 0xf;
    write_cr0(vcpu, (vcpu->cr0 & ~UINT64_C(0xe)) | value);
}

static void require_umip(Vcpu *vcpu)
{
    require(vcpu, !(vcpu->cr4 & CR4_UMIP) || cpu_cpl(vcpu) == 0);
}

/* Stores to memory are 16 bits wide, to registers as wide as the operand. */
static void store_word(Vcpu *vcpu, const Insn *insn, uint64_t value)
{
    const InsnOperand *op = &insn->operand[0];
    if (op->kind == OPERAND_MEM) {
        mem_write(vcpu, insn_linear(vcpu, insn, 2, true), value, 2);
    } else {
        gpr_write(vcpu, op->reg, value, insn->operand_size);
    }
}

void op_smsw(Vcpu *vcpu, const Insn *insn)
{
    require_umip(vcpu);
    store_word(vcpu, insn, vcpu->cr0);
}

/* -- debug registers -- */

void op_mov_dr(Vcpu *vcpu, const Insn *insn)
{
    bool to_dr = insn->operand[0].kind == OPERAND_DR;
    unsigned dr = insn->operand[!to_dr].reg, gpr = insn->operand[to_dr].reg;
    unsigned size = vcpu->mode & MODE_CS64 ? 8 : 4;
    require_defined(vcpu, dr < 8 && !((dr == 4 || dr == 5) && (vcpu->cr4 & CR4_DE)));
    require_cpl0(vcpu);
    if (vcpu->dr[7] & DR7_GD) {
        raise_debug(vcpu, DR6_BD);
    }
    dr = dr == 4 || dr == 5 ? dr + 2 : dr;
    if (!to_dr) {
        gpr_write(vcpu, gpr, vcpu->dr[dr], size);
        return;
    }
    uint64_t value = gpr_read(vcpu, gpr, size);
    require(vcpu, dr < 6 || !(value >> 32));
    if (dr == 6) {
        value = (value & 0xe00f) | DR6_FIXED;
    } else if (dr == 7) {
        value = (value & 0xffff2bff) | DR7_FIXED;
    }
    vcpu->dr[dr] = value;
    cpu_update_mode(vcpu);
}

/* -- flags, halt -- */

void op_cli(Vcpu *vcpu, const Insn *insn)
{
    require(vcpu, vcpu->mode & MODE_IOPL);
    vcpu->rflags &= ~(uint64_t)FLAG_IF;
}

void op_sti(Vcpu *vcpu, const Insn *insn)
{
    require(vcpu, vcpu->mode & MODE_IOPL);
    vcpu->interrupt_shadow = vcpu->rflags & FLAG_IF ? 0 : SHADOW_STI;
    vcpu->rflags |= FLAG_IF;
    cpu_recheck_interrupt(vcpu);
}

void op_hlt(Vcpu *vcpu, const Insn *insn)
{
    require_cpl0(vcpu);
    vcpu->run_state = CPU_RUN_HALTED;
}

void op_stac(Vcpu *vcpu, const Insn *insn)
{
    require_defined(vcpu, (vcpu->cr4 & CR4_SMAP) && cpu_cpl(vcpu) == 0);
    vcpu->rflags |= FLAG_AC;
    tlb_select_context(vcpu);
}

void op_clac(Vcpu *vcpu, const Insn *insn)
{
    require_defined(vcpu, (vcpu->cr4 & CR4_SMAP) && cpu_cpl(vcpu) == 0);
    vcpu->rflags &= ~(uint64_t)FLAG_AC;
    tlb_select_context(vcpu);
}

/* -- descriptor tables -- */

static void load_table(Vcpu *vcpu, const Insn *insn, CpuTable *table)
{
    bool is_long = vcpu->mode & MODE_CS64;
    require_cpl0(vcpu);
    uint64_t linear = insn_linear(vcpu, insn, is_long ? 10 : 6, false);
    uint16_t limit = (uint16_t)mem_read(vcpu, linear, 2);
    uint64_t base = mem_read(vcpu, linear + 2, is_long ? 8 : 4);
    require(vcpu, !is_long || is_canonical(base));
    if (!is_long && insn->operand_size == 2) {
        base &= 0xffffff;
    }
    table->base = base;
    table->limit = limit;
}

static void store_table(Vcpu *vcpu, const Insn *insn, const CpuTable *table)
{
    bool is_long = vcpu->mode & MODE_CS64;
    uint8_t bytes[10] = { table->limit & 0xff, table->limit >> 8 };
    require_umip(vcpu);
    for (unsigned i = 0; i < 8; i++) {
        bytes[2 + i] = table->base >> (i * 8) & 0xff;
    }
    unsigned size = is_long ? 10 : 6;
    mem_write_bytes(vcpu, insn_linear(vcpu, insn, size, true), bytes, size);
}

void op_lgdt(Vcpu *vcpu, const Insn *insn)
{
    load_table(vcpu, insn, &vcpu->gdt);
}

void op_lidt(Vcpu *vcpu, const Insn *insn)
{
    load_table(vcpu, insn, &vcpu->idt);
}

void op_sgdt(Vcpu *vcpu, const Insn *insn)
{
    store_table(vcpu, insn, &vcpu->gdt);
}

void op_sidt(Vcpu *vcpu, const Insn *insn)
{
    store_table(vcpu, insn, &vcpu->idt);
}

static uint16_t read_selector(Vcpu *vcpu, const Insn *insn, unsigned i)
{
    const InsnOperand *op = &insn->operand[i];
    return op->kind == OPERAND_MEM ? (uint16_t)mem_read(vcpu, insn_linear(vcpu, insn, 2, false), 2)
                                   : (uint16_t)vcpu->gpr[op->reg];
}

void op_lldt(Vcpu *vcpu, const Insn *insn)
{
    require_defined(vcpu, is_protected(vcpu));
    require_cpl0(vcpu);
    segment_load_ldt(vcpu, read_selector(vcpu, insn, 0));
}

void op_ltr(Vcpu *vcpu, const Insn *insn)
{
    require_defined(vcpu, is_protected(vcpu));
    require_cpl0(vcpu);
    segment_load_tr(vcpu, read_selector(vcpu, insn, 0));
}

void op_sldt(Vcpu *vcpu, const Insn *insn)
{
    require_defined(vcpu, is_protected(vcpu));
    require_umip(vcpu);
    store_word(vcpu, insn, vcpu->ldt.selector);
}

void op_str(Vcpu *vcpu, const Insn *insn)
{
    require_defined(vcpu, is_protected(vcpu));
    require_umip(vcpu);
    store_word(vcpu, insn, vcpu->tr.selector);
}

/* Whether LAR, LSL, VERR or VERW may look at @selector; @types: mask of system types seen. */
static bool is_visible(Vcpu *vcpu, uint16_t selector, uint32_t types, Descriptor *d)
{
    if (!(selector & 0xfffc) || !descriptor_read(vcpu, selector, d)) {
        return false;
    }
    if (!descriptor_is_segment(d) && !(types >> descriptor_type(d) & 1)) {
        return false;
    }
    bool conforming = descriptor_is_segment(d) && (descriptor_type(d) & TYPE_CODE) &&
                      (descriptor_type(d) & TYPE_CONFORMING);
    return conforming ||
           (descriptor_dpl(d) >= cpu_cpl(vcpu) && descriptor_dpl(d) >= (selector & 3u));
}

static void set_zf(Vcpu *vcpu, bool value)
{
    set_flags(vcpu, FLAG_ZF, value ? FLAG_ZF : 0);
}

static void verify(Vcpu *vcpu, const Insn *insn, bool for_write)
{
    Descriptor d;
    require_defined(vcpu, is_protected(vcpu));
    bool ok = is_visible(vcpu, read_selector(vcpu, insn, 0), 0, &d);
    if (ok) {
        bool is_code = descriptor_type(&d) & TYPE_CODE, bit = descriptor_type(&d) & TYPE_WRITABLE;
        ok = for_write ? !is_code && bit : !is_code || bit;
    }
    set_zf(vcpu, ok);
}

void op_verr(Vcpu *vcpu, const Insn *insn)
{
    verify(vcpu, insn, false);
}

void op_verw(Vcpu *vcpu, const Insn *insn)
{
    verify(vcpu, insn, true);
}

void op_lar(Vcpu *vcpu, const Insn *insn)
{
    Descriptor d;
    require_defined(vcpu, is_protected(vcpu));
    uint32_t types = vcpu->mode & MODE_LMA ? 0x1a04 : 0x1a3e;
    bool ok = is_visible(vcpu, read_selector(vcpu, insn, 1), types, &d);
    if (ok) {
        gpr_write(vcpu, insn->operand[0].reg, d.low >> 32 & 0xffff00, insn->operand_size);
    }
    set_zf(vcpu, ok);
}

void op_lsl(Vcpu *vcpu, const Insn *insn)
{
    Descriptor d;
    require_defined(vcpu, is_protected(vcpu));
    uint32_t types = vcpu->mode & MODE_LMA ? 0x0a04 : 0x0a0e;
    bool ok = is_visible(vcpu, read_selector(vcpu, insn, 1), types, &d);
    if (ok) {
        gpr_write(vcpu, insn->operand[0].reg, descriptor_segment(&d, 0).limit, insn->operand_size);
    }
    set_zf(vcpu, ok);
}

void op_arpl(Vcpu *vcpu, const Insn *insn)
{
    require_defined(vcpu, is_protected(vcpu));
    uint64_t to = op_read(vcpu, insn, 0), from = reg_read(vcpu, &insn->operand[1]);
    bool raises = (to & 3) < (from & 3);
    op_write(vcpu, insn, 0, raises ? (to & 0xfffc) | (from & 3) : to);
    set_zf(vcpu, raises);
}

/* -- TLB and caches -- */

void op_invlpg(Vcpu *vcpu, const Insn *insn)
{
    require_cpl0(vcpu);
    uint64_t ea = insn_ea(vcpu, insn);
    unsigned segment = insn->mem.segment;
    bool has_base = !(vcpu->mode & MODE_CS64) || segment >= CPU_FS;
    uint64_t linear = (has_base ? vcpu->segment[segment].base : 0) + ea;
    tlb_flush_page(vcpu, vcpu->mode & MODE_CS64 ? linear : (uint32_t)linear);
}

void op_invpcid(Vcpu *vcpu, const Insn *insn)
{
    require_defined(vcpu, cpuid_has(vcpu, 7, 0, 1, 10) && !(vcpu->mode & MODE_VM86));
    require_cpl0(vcpu);
    uint64_t kind = gpr_read(vcpu, insn->operand[0].reg, vcpu->mode & MODE_CS64 ? 8 : 4);
    uint64_t at = insn_linear(vcpu, insn, 16, false);
    uint64_t pcid = mem_read(vcpu, at, 8), linear = mem_read(vcpu, at + 8, 8);
    require(vcpu, kind <= 3 && (kind >= 2 || !(pcid >> 12)) && (kind != 0 || is_canonical(linear)));
    require(vcpu, kind >= 2 || (vcpu->cr4 & CR4_PCIDE) || pcid == 0);
    switch (kind) {
    case 0:
        tlb_flush_page(vcpu, linear);
        break;
    case 1:
        tlb_flush_space(vcpu, (unsigned)pcid);
        break;
    default:
        tlb_flush_mappings(vcpu);
        break;
    }
}

void op_wbinvd(Vcpu *vcpu, const Insn *insn)
{
    require_cpl0(vcpu);
}

/* Caches are the host's affair; only the address is checked. */
void op_clflush(Vcpu *vcpu, const Insn *insn)
{
    mem_read(vcpu, insn_linear(vcpu, insn, 1, false), 1);
}

/* -- CPUID, time, MSRs -- */

void op_cpuid(Vcpu *vcpu, const Insn *insn)
{
    CpuidLeaf leaf;
    cpuid_answer(vcpu, (uint32_t)vcpu->gpr[CPU_RAX], (uint32_t)vcpu->gpr[CPU_RCX], &leaf);
    vcpu->gpr[CPU_RAX] = leaf.eax;
    vcpu->gpr[CPU_RBX] = leaf.ebx;
    vcpu->gpr[CPU_RCX] = leaf.ecx;
    vcpu->gpr[CPU_RDX] = leaf.edx;
}

void op_rdtsc(Vcpu *vcpu, const Insn *insn)
{
    require(vcpu, !(vcpu->cr4 & CR4_TSD) || cpu_cpl(vcpu) == 0);
    uint64_t tsc = guest_tsc(vcpu);
    vcpu->gpr[CPU_RAX] = (uint32_t)tsc;
    vcpu->gpr[CPU_RDX] = tsc >> 32;
}

void op_rdtscp(Vcpu *vcpu, const Insn *insn)
{
    require_defined(vcpu, cpuid_has(vcpu, 0x80000001, 0, 3, 27));
    op_rdtsc(vcpu, insn);
    vcpu->gpr[CPU_RCX] = (uint32_t)vcpu->msr_tsc_aux;
}

void op_rdpid(Vcpu *vcpu, const Insn *insn)
{
    require_defined(vcpu, cpuid_has(vcpu, 7, 0, 2, 22));
    gpr_write(vcpu, insn->operand[0].reg, vcpu->msr_tsc_aux, vcpu->mode & MODE_CS64 ? 8 : 4);
}

void op_rdpmc(Vcpu *vcpu, const Insn *insn)
{
    gp(vcpu);
}

void op_rdmsr(Vcpu *vcpu, const Insn *insn)
{
    uint64_t value;
    require_cpl0(vcpu);
    require(vcpu, msr_read(vcpu, (uint32_t)vcpu->gpr[CPU_RCX], &value));
    vcpu->gpr[CPU_RAX] = (uint32_t)value;
    vcpu->gpr[CPU_RDX] = value >> 32;
}

void op_wrmsr(Vcpu *vcpu, const Insn *insn)
{
    require_cpl0(vcpu);
    uint64_t value = (uint32_t)vcpu->gpr[CPU_RAX] | vcpu->gpr[CPU_RDX] << 32;
    require(vcpu, msr_write(vcpu, (uint32_t)vcpu->gpr[CPU_RCX], value));
    vcpu->interrupt_pending = true;
    cpu_recheck_interrupt(vcpu);
}

/* -- system calls -- */

#define CODE64_ATTRIBUTES (SEGMENT_G | SEGMENT_L | SEGMENT_P | SEGMENT_S | 0xb)
#define CODE32_ATTRIBUTES (SEGMENT_G | SEGMENT_DB | SEGMENT_P | SEGMENT_S | 0xb)
#define DATA_ATTRIBUTES (SEGMENT_G | SEGMENT_DB | SEGMENT_P | SEGMENT_S | 0x3)

static void set_flat(Vcpu *vcpu, uint64_t cs, uint64_t ss, bool is_long, unsigned cpl)
{
    uint32_t code = is_long ? CODE64_ATTRIBUTES : CODE32_ATTRIBUTES;
    vcpu->segment[CPU_CS] =
        (CpuSegment){ .selector = (uint16_t)((cs & 0xfffc) | cpl),
                      .limit = 0xffffffff,
                      .attributes = (uint16_t)(code | cpl << SEGMENT_DPL_SHIFT) };
    vcpu->segment[CPU_SS] =
        (CpuSegment){ .selector = (uint16_t)((ss & 0xfffc) | cpl),
                      .limit = 0xffffffff,
                      .attributes = (uint16_t)(DATA_ATTRIBUTES | cpl << SEGMENT_DPL_SHIFT) };
}

void op_syscall(Vcpu *vcpu, const Insn *insn)
{
    require_defined(vcpu, (vcpu->efer & EFER_SCE) && (vcpu->mode & MODE_LMA));
    uint64_t selector = vcpu->msr_star >> 32;
    bool was_long = vcpu->mode & MODE_CS64;
    vcpu->gpr[CPU_RCX] = vcpu->next_rip;
    vcpu->gpr[11] = vcpu->rflags & ~(uint64_t)FLAG_RF;
    set_flat(vcpu, selector & 0xfffc, (selector & 0xfffc) + 8, true, 0);
    vcpu->rflags = (vcpu->rflags & ~vcpu->msr_sfmask & ~(uint64_t)FLAG_RF) | FLAG_FIXED;
    vcpu->steps_into_handler = !(vcpu->rflags & FLAG_TF);
    vcpu->next_rip = was_long ? vcpu->msr_lstar : vcpu->msr_cstar;
    cpu_update_mode(vcpu);
}

void op_sysret(Vcpu *vcpu, const Insn *insn)
{
    bool to_long = insn->operand_size == 8;
    uint64_t selector = vcpu->msr_star >> 48;
    require_defined(vcpu, (vcpu->efer & EFER_SCE) && (vcpu->mode & MODE_CS64));
    require_cpl0(vcpu);
    require(vcpu, !to_long || is_canonical(vcpu->gpr[CPU_RCX]));
    vcpu->next_rip = to_long ? vcpu->gpr[CPU_RCX] : (uint32_t)vcpu->gpr[CPU_RCX];
    vcpu->rflags = (vcpu->gpr[11] & 0x3c7fd7) | FLAG_FIXED;
    set_flat(vcpu, to_long ? selector + 16 : selector, selector + 8, to_long, 3);
    cpu_update_mode(vcpu);
}

void op_sysenter(Vcpu *vcpu, const Insn *insn)
{
    uint64_t selector = vcpu->msr_sysenter_cs & 0xfffc;
    bool is_long = vcpu->mode & MODE_LMA;
    require(vcpu, (vcpu->mode & MODE_PE) && selector != 0);
    vcpu->rflags &= ~(uint64_t)(FLAG_VM | FLAG_IF | FLAG_RF);
    set_flat(vcpu, selector, selector + 8, is_long, 0);
    vcpu->gpr[CPU_RSP] = is_long ? vcpu->msr_sysenter_esp : (uint32_t)vcpu->msr_sysenter_esp;
    vcpu->next_rip = is_long ? vcpu->msr_sysenter_eip : (uint32_t)vcpu->msr_sysenter_eip;
    cpu_update_mode(vcpu);
}

void op_sysexit(Vcpu *vcpu, const Insn *insn)
{
    uint64_t selector = vcpu->msr_sysenter_cs & 0xfffc;
    bool to_long = insn->operand_size == 8;
    require(vcpu, (vcpu->mode & MODE_PE) && selector != 0 && cpu_cpl(vcpu) == 0);
    uint64_t rip = vcpu->gpr[CPU_RDX], rsp = vcpu->gpr[CPU_RCX];
    require(vcpu, !to_long || (is_canonical(rip) && is_canonical(rsp)));
    set_flat(vcpu, selector + (to_long ? 32 : 16), selector + (to_long ? 40 : 24), to_long, 3);
    vcpu->next_rip = to_long ? rip : (uint32_t)rip;
    vcpu->gpr[CPU_RSP] = to_long ? rsp : (uint32_t)rsp;
    cpu_update_mode(vcpu);
}

void op_swapgs(Vcpu *vcpu, const Insn *insn)
{
    require_defined(vcpu, vcpu->mode & MODE_CS64);
    require_cpl0(vcpu);
    uint64_t base = vcpu->segment[CPU_GS].base;
    vcpu->segment[CPU_GS].base = vcpu->msr_kernel_gs_base;
    vcpu->msr_kernel_gs_base = base;
}

static void read_base(Vcpu *vcpu, const Insn *insn, unsigned segment)
{
    require_defined(vcpu, (vcpu->mode & MODE_CS64) && (vcpu->cr4 & CR4_FSGSBASE));
    reg_write(vcpu, &insn->operand[0], vcpu->segment[segment].base);
}

static void write_base(Vcpu *vcpu, const Insn *insn, unsigned segment)
{
    require_defined(vcpu, (vcpu->mode & MODE_CS64) && (vcpu->cr4 & CR4_FSGSBASE));
    uint64_t value = reg_read(vcpu, &insn->operand[0]);
    require(vcpu, is_canonical(value));
    vcpu->segment[segment].base = value;
}

void op_rdfsbase(Vcpu *vcpu, const Insn *insn)
{
    read_base(vcpu, insn, CPU_FS);
}

void op_rdgsbase(Vcpu *vcpu, const Insn *insn)
{
    read_base(vcpu, insn, CPU_GS);
}

void op_wrfsbase(Vcpu *vcpu, const Insn *insn)
{
    write_base(vcpu, insn, CPU_FS);
}

void op_wrgsbase(Vcpu *vcpu, const Insn *insn)
{
    write_base(vcpu, insn, CPU_GS);
}

/* -- extended control registers, random numbers -- */

void op_xgetbv(Vcpu *vcpu, const Insn *insn)
{
    uint32_t index = (uint32_t)vcpu->gpr[CPU_RCX];
    require_defined(vcpu, vcpu->cr4 & CR4_OSXSAVE);
    require(vcpu, index == 0 || (index == 1 && cpuid_has(vcpu, 0xd, 1, 0, 2)));
    vcpu->gpr[CPU_RAX] = (uint32_t)vcpu->xcr0;
    vcpu->gpr[CPU_RDX] = vcpu->xcr0 >> 32;
}

void op_xsetbv(Vcpu *vcpu, const Insn *insn)
{
    require_defined(vcpu, vcpu->cr4 & CR4_OSXSAVE);
    require_cpl0(vcpu);
    uint64_t value = (uint32_t)vcpu->gpr[CPU_RAX] | vcpu->gpr[CPU_RDX] << 32;
    require(vcpu, (uint32_t)vcpu->gpr[CPU_RCX] == 0 && (value & 1) &&
                      !(value & ~(uint64_t)XCR0_SUPPORTED) && !((value & 4) && !(value & 2)));
    vcpu->xcr0 = value;
    cpu_update_mode(vcpu);
}

static void give_random(Vcpu *vcpu, const Insn *insn, uint64_t value, bool ok)
{
    reg_write(vcpu, &insn->operand[0], ok ? value : 0);
    set_flags(vcpu, FLAGS_ARITHMETIC, ok ? FLAG_CF : 0);
}

void op_rdrand(Vcpu *vcpu, const Insn *insn)
{
    uint64_t value;
    bool ok;
    require_defined(vcpu, cpuid_has(vcpu, 1, 0, 2, 30));
    __asm__ volatile("rdrand %0" : "=r"(value), "=@ccc"(ok));
    give_random(vcpu, insn, value, ok);
}

void op_rdseed(Vcpu *vcpu, const Insn *insn)
{
    uint64_t value;
    bool ok;
    require_defined(vcpu, cpuid_has(vcpu, 7, 0, 1, 18));
    __asm__ volatile("rdseed %0" : "=r"(value), "=@ccc"(ok));
    give_random(vcpu, insn, value, ok);
}
