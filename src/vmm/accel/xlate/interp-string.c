/* String instructions, with and without REP, and port input and output.
 *
 * A repeated instruction works a piece at a time: plain RAM up to the end of a page in one go,
 * otherwise some iterations, and then gives the run loop a chance to see requests; rip stays at the
 * instruction until the count is used up. Registers are up to date after each iteration.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/int-math.h"
#include "vmm/accel/xlate/interp-ops.h"

#include <string.h>

/* Of the forms with bytes. */
#define OPCODE_MOVS 0xa4
#define OPCODE_STOS 0xaa

#define ITERATIONS_PER_TURN 256u

static void add_to_index(Vcpu *vcpu, unsigned reg, int64_t delta, unsigned address_size)
{
    gpr_write(vcpu, reg, vcpu->gpr[reg] + (uint64_t)delta, address_size);
}

static int64_t step_of(const Vcpu *vcpu, const Insn *insn)
{
    return vcpu->rflags & FLAG_DF ? -(int64_t)insn->operand_size : (int64_t)insn->operand_size;
}

static uint64_t source_linear(Vcpu *vcpu, const Insn *insn)
{
    return segment_linear(vcpu, insn->segment, gpr_read(vcpu, CPU_RSI, insn->address_size),
                          insn->operand_size, false);
}

static uint64_t destination_linear(Vcpu *vcpu, const Insn *insn, bool is_write)
{
    return segment_linear(vcpu, CPU_ES, gpr_read(vcpu, CPU_RDI, insn->address_size),
                          insn->operand_size, is_write);
}

static bool is_repeated(const Insn *insn)
{
    return insn->prefixes & (INSN_REP | INSN_REPNE);
}

/* Takes @done iterations off the count; stays at the instruction unless that was all. */
static void count_down(Vcpu *vcpu, const Insn *insn, uint64_t done)
{
    uint64_t left = gpr_read(vcpu, CPU_RCX, insn->address_size) - done;
    gpr_write(vcpu, CPU_RCX, left, insn->address_size);
    if (left != 0) {
        vcpu->next_rip = vcpu->rip;
    }
}

/* Elements of plain memory from @linear to the end of its page, upwards. */
static uint64_t elements_in_page(uint64_t linear, unsigned size)
{
    return (0x1000 - (linear & 0xfff)) / size;
}

/* Whether offsets may run on as linear addresses do. */
static bool runs_on(const Vcpu *vcpu, const Insn *insn, unsigned reg, uint64_t bytes)
{
    uint64_t offset = gpr_read(vcpu, reg, insn->address_size);
    return (vcpu->mode & MODE_FLAT) && insn->segment < CPU_FS && !(vcpu->rflags & FLAG_DF) &&
           bytes <= size_mask(insn->address_size) - offset;
}

/* A run of MOVS within one page each; 0: go by elements. */
static uint64_t move_run(Vcpu *vcpu, const Insn *insn, uint64_t count)
{
    unsigned size = insn->operand_size;
    uint64_t from = source_linear(vcpu, insn);
    /* Faults of the source come before those of the destination's segment. */
    if (!mem_host(vcpu, from, size, MEM_READ)) {
        return 0;
    }
    uint64_t to = destination_linear(vcpu, insn, true);
    count = min_u64(count, min_u64(elements_in_page(from, size), elements_in_page(to, size)));
    uint64_t bytes = count * size;
    if (count < 2 || !runs_on(vcpu, insn, CPU_RSI, bytes) || !runs_on(vcpu, insn, CPU_RDI, bytes)) {
        return 0;
    }
    const uint8_t *source = mem_host(vcpu, from, (unsigned)bytes, MEM_READ);
    uint8_t *destination = source ? mem_host(vcpu, to, (unsigned)bytes, MEM_WRITE) : NULL;
    if (!destination) {
        return 0;
    }
    /* The second look-up may have thrown out the first. */
    source = mem_host(vcpu, from, (unsigned)bytes, MEM_READ);
    destination = mem_host(vcpu, to, (unsigned)bytes, MEM_WRITE);
    if (!source || !destination || (destination > source && destination < source + bytes)) {
        return 0;
    }
    memmove(destination, source, bytes);
    add_to_index(vcpu, CPU_RSI, (int64_t)bytes, insn->address_size);
    add_to_index(vcpu, CPU_RDI, (int64_t)bytes, insn->address_size);
    return count;
}

static void fill(void *at, uint64_t value, unsigned size, uint64_t count)
{
    uint8_t *to = at;
    if (size == 1 || value == 0) {
        memset(to, (int)(value & 0xff), count * size);
        return;
    }
    for (uint64_t i = 0; i < count; i++) {
        memcpy(to + i * size, &value, size);
    }
}

static uint64_t store_run(Vcpu *vcpu, const Insn *insn, uint64_t count)
{
    unsigned size = insn->operand_size;
    uint64_t to = destination_linear(vcpu, insn, true);
    count = min_u64(count, elements_in_page(to, size));
    if (count < 2 || !runs_on(vcpu, insn, CPU_RDI, count * size)) {
        return 0;
    }
    uint8_t *destination = mem_host(vcpu, to, (unsigned)(count * size), MEM_WRITE);
    if (!destination) {
        return 0;
    }
    fill(destination, gpr_read(vcpu, CPU_RAX, size), size, count);
    add_to_index(vcpu, CPU_RDI, (int64_t)(count * size), insn->address_size);
    return count;
}

typedef void ElementFunc(Vcpu *vcpu, const Insn *insn);

static void move_element(Vcpu *vcpu, const Insn *insn)
{
    uint64_t value = mem_read(vcpu, source_linear(vcpu, insn), insn->operand_size);
    mem_write(vcpu, destination_linear(vcpu, insn, true), value, insn->operand_size);
    add_to_index(vcpu, CPU_RSI, step_of(vcpu, insn), insn->address_size);
    add_to_index(vcpu, CPU_RDI, step_of(vcpu, insn), insn->address_size);
}

static void store_element(Vcpu *vcpu, const Insn *insn)
{
    mem_write(vcpu, destination_linear(vcpu, insn, true), vcpu->gpr[CPU_RAX], insn->operand_size);
    add_to_index(vcpu, CPU_RDI, step_of(vcpu, insn), insn->address_size);
}

static void load_element(Vcpu *vcpu, const Insn *insn)
{
    uint64_t value = mem_read(vcpu, source_linear(vcpu, insn), insn->operand_size);
    gpr_write(vcpu, CPU_RAX, value, insn->operand_size);
    add_to_index(vcpu, CPU_RSI, step_of(vcpu, insn), insn->address_size);
}

/* Without an iteration, 32-bit addresses still cut the count, and the index of a destination. */
static void truncate_count(Vcpu *vcpu, const Insn *insn)
{
    if (insn->address_size != 4) {
        return;
    }
    vcpu->gpr[CPU_RCX] = 0;
    if ((insn->opcode & 0xfe) == OPCODE_MOVS || (insn->opcode & 0xfe) == OPCODE_STOS) {
        vcpu->gpr[CPU_RDI] = (uint32_t)vcpu->gpr[CPU_RDI];
    }
}

/* Traps come after each element. */
static uint64_t iterations_now(const Vcpu *vcpu, uint64_t count)
{
    return vcpu->mode & MODE_SINGLE_STEP ? 1 : min_u64(count, ITERATIONS_PER_TURN);
}

static void repeat(Vcpu *vcpu, const Insn *insn, ElementFunc *element,
                   uint64_t (*run)(Vcpu *, const Insn *, uint64_t count))
{
    if (!is_repeated(insn)) {
        element(vcpu, insn);
        return;
    }
    uint64_t count = gpr_read(vcpu, CPU_RCX, insn->address_size);
    if (count == 0) {
        truncate_count(vcpu, insn);
        return;
    }
    uint64_t done = run && !(vcpu->mode & MODE_SINGLE_STEP) ? run(vcpu, insn, count) : 0;
    if (done > 0) {
        count_down(vcpu, insn, done);
        return;
    }
    uint64_t turn = iterations_now(vcpu, count), next_rip = vcpu->next_rip;
    for (uint64_t i = 0; i < turn; i++) {
        element(vcpu, insn);
        vcpu->next_rip = next_rip;
        count_down(vcpu, insn, 1);
    }
}

void op_movs(Vcpu *vcpu, const Insn *insn)
{
    repeat(vcpu, insn, move_element, move_run);
}

void op_stos(Vcpu *vcpu, const Insn *insn)
{
    repeat(vcpu, insn, store_element, store_run);
}

void op_lods(Vcpu *vcpu, const Insn *insn)
{
    repeat(vcpu, insn, load_element, NULL);
}

static void compare_values(Vcpu *vcpu, uint64_t a, uint64_t b, unsigned size)
{
    uint64_t result = (a - b) & size_mask(size);
    uint64_t overflow = (a ^ b) & (a ^ result);
    set_flags(vcpu, FLAGS_ARITHMETIC,
              result_flags(result, size) | (a < b ? FLAG_CF : 0) | ((a ^ b ^ result) & FLAG_AF) |
                  (overflow >> (size * 8 - 1) & 1 ? FLAG_OF : 0));
}

static void compare_element(Vcpu *vcpu, const Insn *insn)
{
    unsigned size = insn->operand_size;
    uint64_t b = mem_read(vcpu, destination_linear(vcpu, insn, false), size);
    uint64_t a = mem_read(vcpu, source_linear(vcpu, insn), size);
    add_to_index(vcpu, CPU_RSI, step_of(vcpu, insn), insn->address_size);
    add_to_index(vcpu, CPU_RDI, step_of(vcpu, insn), insn->address_size);
    compare_values(vcpu, a, b, size);
}

static void scan_element(Vcpu *vcpu, const Insn *insn)
{
    unsigned size = insn->operand_size;
    uint64_t b = mem_read(vcpu, destination_linear(vcpu, insn, false), size);
    add_to_index(vcpu, CPU_RDI, step_of(vcpu, insn), insn->address_size);
    compare_values(vcpu, gpr_read(vcpu, CPU_RAX, size), b, size);
}

static void repeat_while(Vcpu *vcpu, const Insn *insn, ElementFunc *element)
{
    if (!is_repeated(insn)) {
        element(vcpu, insn);
        return;
    }
    uint64_t count = gpr_read(vcpu, CPU_RCX, insn->address_size);
    bool wanted = !(insn->prefixes & INSN_REPNE);
    if (count == 0) {
        truncate_count(vcpu, insn);
        return;
    }
    /* A fault leaves the flags as before the first iteration. */
    uint64_t rflags = vcpu->rflags;
    uint64_t turn = iterations_now(vcpu, count), next_rip = vcpu->next_rip;
    for (uint64_t i = 0; i < turn; i++) {
        vcpu->rflags = rflags;
        element(vcpu, insn);
        vcpu->next_rip = next_rip;
        count_down(vcpu, insn, 1);
        if (!(vcpu->rflags & FLAG_ZF) == wanted) {
            vcpu->next_rip = next_rip;
            return;
        }
    }
}

void op_cmps(Vcpu *vcpu, const Insn *insn)
{
    repeat_while(vcpu, insn, compare_element);
}

void op_scas(Vcpu *vcpu, const Insn *insn)
{
    repeat_while(vcpu, insn, scan_element);
}

/* -- ports -- */

static void check_port(Vcpu *vcpu, uint16_t port, unsigned size)
{
    if ((vcpu->mode & MODE_IOPL) && !(vcpu->mode & MODE_VM86)) {
        return;
    }
    if (vcpu->tr.limit < 103 || (vcpu->tr.attributes & SEGMENT_UNUSABLE)) {
        raise_error(vcpu, EXCEPTION_GP, 0);
    }
    uint32_t map = (uint32_t)mem_read_system(vcpu, vcpu->tr.base + 102, 2);
    uint32_t at = map + port / 8;
    if (at + 1 > vcpu->tr.limit) {
        raise_error(vcpu, EXCEPTION_GP, 0);
    }
    uint64_t bits = mem_read_system(vcpu, vcpu->tr.base + at, 2);
    if (bits >> port % 8 & size_mask(1) >> (8 - size)) {
        raise_error(vcpu, EXCEPTION_GP, 0);
    }
}

static uint64_t port_read(Vcpu *vcpu, uint16_t port, unsigned size)
{
    const AccelHost *host = &vcpu->vm->host;
    vm_code_leave(vcpu);
    uint64_t value = host->region_read(host->opaque, host->ports, port, size);
    vm_code_enter(vcpu);
    return value;
}

static void port_write(Vcpu *vcpu, uint16_t port, uint64_t value, unsigned size)
{
    const AccelHost *host = &vcpu->vm->host;
    vm_code_leave(vcpu);
    host->region_write(host->opaque, host->ports, port, value & size_mask(size), size);
    vm_code_enter(vcpu);
}

static uint16_t port_operand(Vcpu *vcpu, const InsnOperand *op, const Insn *insn)
{
    return op->kind == OPERAND_IMM ? (uint8_t)insn->imm : (uint16_t)vcpu->gpr[CPU_RDX];
}

void op_in(Vcpu *vcpu, const Insn *insn)
{
    unsigned size = insn->operand[0].size;
    uint16_t port = port_operand(vcpu, &insn->operand[1], insn);
    check_port(vcpu, port, size);
    gpr_write(vcpu, CPU_RAX, port_read(vcpu, port, size), size);
}

void op_out(Vcpu *vcpu, const Insn *insn)
{
    unsigned size = insn->operand[1].size;
    uint16_t port = port_operand(vcpu, &insn->operand[0], insn);
    check_port(vcpu, port, size);
    port_write(vcpu, port, vcpu->gpr[CPU_RAX], size);
}

static unsigned port_size(const Insn *insn)
{
    return insn->operand_size == 8 ? 4 : insn->operand_size;
}

static void input_element(Vcpu *vcpu, const Insn *insn)
{
    unsigned size = port_size(insn);
    uint16_t port = (uint16_t)vcpu->gpr[CPU_RDX];
    uint64_t linear = destination_linear(vcpu, insn, true);
    check_port(vcpu, port, size);
    mem_probe_write(vcpu, linear, size);
    mem_write(vcpu, linear, port_read(vcpu, port, size), size);
    add_to_index(vcpu, CPU_RDI, vcpu->rflags & FLAG_DF ? -(int64_t)size : (int64_t)size,
                 insn->address_size);
}

static void output_element(Vcpu *vcpu, const Insn *insn)
{
    unsigned size = port_size(insn);
    uint16_t port = (uint16_t)vcpu->gpr[CPU_RDX];
    check_port(vcpu, port, size);
    port_write(vcpu, port, mem_read(vcpu, source_linear(vcpu, insn), size), size);
    add_to_index(vcpu, CPU_RSI, vcpu->rflags & FLAG_DF ? -(int64_t)size : (int64_t)size,
                 insn->address_size);
}

void op_ins(Vcpu *vcpu, const Insn *insn)
{
    repeat(vcpu, insn, input_element, NULL);
}

void op_outs(Vcpu *vcpu, const Insn *insn)
{
    repeat(vcpu, insn, output_element, NULL);
}
