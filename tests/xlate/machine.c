/* Four-level page tables, descriptor tables and handlers of the guest that runs cases.
 *
 * Exceptions go to ring 0, where each vector has an address of its own that holds HLT. The
 * page at CASE_EXIT is as in the native child, so that code that reads it sees the same.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "xlate/machine.h"

#include "vmm/accel/xlate/bits.h"
#include "vmm/accel/xlate/code-cache.h"
#include "vmm/accel/xlate/interp.h"
#include "vmm/accel/xlate/translate.h"
#include "xlate/native.h"

#include <stdlib.h>
#include <string.h>

#define STEPS_MAX 4096u
#define KERNEL UINT64_C(0xffffff8000000000)
#define HANDLERS KERNEL
#define TABLES (KERNEL + 0x1000)
#define IDT (KERNEL + 0x2000)
#define STACK (KERNEL + 0x3000)
#define STACK_TOP (STACK + 0x1000)
#define HANDLER_BYTES 16u

#define GDT_CS 0x10
#define GDT_TR 0x40
#define TSS_AT 0x100 /* from TABLES */
#define TSS_LIMIT 0x67
#define TSS_PORT_MAP 102 /* behind the limit: no port is open */

/* Pages of RAM by number. */
enum {
    PAGE_PML4,
    PAGE_PDPT,
    PAGE_PD,
    PAGE_PT_CODE,
    PAGE_PT_DATA,
    PAGE_PDPT_KERNEL,
    PAGE_PD_KERNEL,
    PAGE_PT_KERNEL,
    PAGE_CODE,
    PAGE_CODE_LAST,
    PAGE_EXIT,
    PAGE_DATA,
    PAGE_DATA_LAST,
    PAGE_CONSTANT,
    PAGE_HANDLERS,
    PAGE_TABLES,
    PAGE_IDT,
    PAGE_STACK,
    PAGES
};

#define PTE_P 1u
#define PTE_W 2u
#define PTE_U 4u
#define PTE_NX (UINT64_C(1) << 63)

struct Machine {
    AddressMap *map, *ports;
    GuestMemory memory;
    RamBlock *ram;
    Vm *vm;
    Vcpu *vcpu;
    CpuidTable cpuid;
    const uint8_t *templates;
};

static uint8_t *page_at(Machine *machine, unsigned page)
{
    return machine->ram->host + page * 4096u;
}

static void set_entry(Machine *machine, unsigned table, unsigned index, unsigned page,
                      uint64_t bits)
{
    uint64_t entry = page * UINT64_C(4096) | bits | PTE_P;
    memcpy(page_at(machine, table) + index * 8, &entry, 8);
}

static void build_page_tables(Machine *machine)
{
    const uint64_t all = PTE_W | PTE_U;
    set_entry(machine, PAGE_PML4, 0, PAGE_PDPT, all);
    set_entry(machine, PAGE_PDPT, 0, PAGE_PD, all);
    set_entry(machine, PAGE_PD, CASE_CODE >> 21 & 511, PAGE_PT_CODE, all);
    set_entry(machine, PAGE_PD, CASE_DATA >> 21 & 511, PAGE_PT_DATA, all);
    unsigned code = CASE_CODE >> 12 & 511, data = CASE_DATA >> 12 & 511;
    set_entry(machine, PAGE_PT_CODE, code, PAGE_CODE, PTE_U);
    set_entry(machine, PAGE_PT_CODE, code + 1, PAGE_CODE_LAST, PTE_U);
    set_entry(machine, PAGE_PT_CODE, CASE_EXIT >> 12 & 511, PAGE_EXIT, PTE_U);
    set_entry(machine, PAGE_PT_DATA, data, PAGE_DATA, all | PTE_NX);
    set_entry(machine, PAGE_PT_DATA, data + 1, PAGE_DATA_LAST, all | PTE_NX);
    set_entry(machine, PAGE_PT_DATA, data + 2, PAGE_CONSTANT, PTE_U | PTE_NX);
    set_entry(machine, PAGE_PML4, KERNEL >> 39 & 511, PAGE_PDPT_KERNEL, PTE_W);
    set_entry(machine, PAGE_PDPT_KERNEL, 0, PAGE_PD_KERNEL, PTE_W);
    set_entry(machine, PAGE_PD_KERNEL, 0, PAGE_PT_KERNEL, PTE_W);
    for (unsigned i = 0; i < PAGES - PAGE_HANDLERS; i++) {
        set_entry(machine, PAGE_PT_KERNEL, i, PAGE_HANDLERS + i, PTE_W);
    }
}

static void build_descriptors(Machine *machine)
{
    uint64_t tss = TABLES + TSS_AT, stack = STACK_TOP;
    const uint64_t gdt[10] = {
        [2] = UINT64_C(0x00af9b000000ffff),
        [3] = UINT64_C(0x00cf93000000ffff),
        [CASE_CS32 >> 3] = UINT64_C(0x00cffb000000ffff),
        [CASE_DS >> 3] = UINT64_C(0x00cff3000000ffff),
        [CASE_CS64 >> 3] = UINT64_C(0x00affb000000ffff),
        [8] = TSS_LIMIT | (tss & 0xffffff) << 16 | UINT64_C(0x8b) << 40 | (tss >> 24 & 0xff) << 56,
        [9] = tss >> 32,
    };
    memcpy(page_at(machine, PAGE_TABLES), gdt, sizeof(gdt));
    memcpy(page_at(machine, PAGE_TABLES) + TSS_AT + 4, &stack, sizeof(stack));
    page_at(machine, PAGE_TABLES)[TSS_AT + TSS_PORT_MAP] = TSS_LIMIT + 1;
    for (unsigned i = 0; i < 256; i++) {
        uint64_t handler = HANDLERS + i * HANDLER_BYTES;
        uint64_t dpl = i == 3 || i == 4 ? 3 : 0;
        uint64_t gate[2] = {
            (handler & 0xffff) | GDT_CS << 16 | (UINT64_C(0x8e) | dpl << 5) << 40 |
                (handler >> 16 & 0xffff) << 48,
            handler >> 32,
        };
        memcpy(page_at(machine, PAGE_IDT) + i * 16, gate, 16);
        memset(page_at(machine, PAGE_HANDLERS) + i * HANDLER_BYTES, 0xf4, HANDLER_BYTES);
    }
}

static void build_contents(Machine *machine, const uint8_t *constant)
{
    memset(page_at(machine, PAGE_CODE), CASE_FILLER, CASE_CODE_BYTES);
    native_write_exits(page_at(machine, PAGE_EXIT));
    memcpy(page_at(machine, PAGE_CONSTANT), constant, CASE_CONSTANT_BYTES);
}

static void initial_state(CpuState *state)
{
    cpu_state_reset(state, true);
    state->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG;
    state->cr3 = PAGE_PML4 * 4096;
    state->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE | CR4_FSGSBASE;
    state->efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
    state->xcr0 = 7;
    state->gdt = (CpuTable){ TABLES, 10 * 8 - 1 };
    state->idt = (CpuTable){ IDT, 0xfff };
    state->tr = (CpuSegment){ TABLES + TSS_AT, TSS_LIMIT, GDT_TR, 0x8b };
}

/* No device is there. */
static uint64_t read_nothing(void *opaque, const AddressMap *map, GuestAddr addr, unsigned size)
{
    return UINT64_MAX;
}

static void write_nothing(void *opaque, const AddressMap *map, GuestAddr addr, uint64_t value,
                          unsigned size)
{
}

static bool create_vcpu(Machine *machine)
{
    char message[160] = "";
    AccelHost host = { .memory = &machine->memory,
                       .ports = machine->ports,
                       .region_read = read_nothing,
                       .region_write = write_nothing,
                       .vcpu_count = 1 };
    if (accel_xlate.cpuid_limits(&machine->cpuid, message) < 0) {
        return false;
    }
    machine->vm = accel_xlate.vm_create(&host, message);
    if (!machine->vm) {
        return false;
    }
    jit_verify((XlateVm *)machine->vm);
    JitVm *jit = ((XlateVm *)machine->vm)->jit;
    if (jit) {
        jit->is_verified = true;
    }
    machine->vcpu = accel_xlate.vcpu_create(machine->vm, 0, &machine->cpuid, NULL, message);
    if (!machine->vcpu) {
        return false;
    }
    CpuState *state = calloc(1, sizeof(*state));
    bool ok = state != NULL;
    if (ok) {
        initial_state(state);
        ok = accel_xlate.vcpu_set_state(machine->vcpu, state) == 0;
    }
    free(state);
    return ok;
}

Machine *machine_new(const uint8_t *templates, const uint8_t *constant)
{
    Machine *machine = calloc(1, sizeof(*machine));
    if (!machine) {
        return NULL;
    }
    machine->templates = templates;
    machine->map = address_map_new(0);
    machine->ports = address_map_new(0x10000);
    machine->ram = ram_block_new("cases", PAGES * 4096);
    if (!machine->map || !machine->ports || !machine->ram) {
        machine_free(machine);
        return NULL;
    }
    machine->memory.map = machine->map;
    AddressEntry entry = { .size_bytes = PAGES * 4096, .ram = machine->ram };
    build_page_tables(machine);
    build_descriptors(machine);
    build_contents(machine, constant);
    if (address_map_add(machine->map, &entry, 0) < 0 || !create_vcpu(machine)) {
        machine_free(machine);
        return NULL;
    }
    return machine;
}

void machine_free(Machine *machine)
{
    if (!machine) {
        return;
    }
    if (machine->vcpu) {
        accel_xlate.vcpu_destroy(machine->vcpu);
    }
    if (machine->vm) {
        accel_xlate.vm_destroy(machine->vm);
    }
    address_map_free(machine->map);
    address_map_free(machine->ports);
    ram_block_free(machine->ram);
    free(machine);
}

/* -- running -- */

static void write_code(Machine *machine, const Case *test, bool erase)
{
    uint8_t *code = page_at(machine, PAGE_CODE) + test->code_offset;
    if (erase) {
        memset(code, CASE_FILLER, test->code_length);
    } else {
        memcpy(code, test->code, test->code_length);
    }
    ram_block_written(&machine->memory, machine->ram, PAGE_CODE * 4096 + test->code_offset,
                      test->code_length);
}

static void load_segments(Vcpu *vcpu, bool is_32bit)
{
    const CpuSegment data = { 0, 0xffffffff, CASE_DS, 0xcf3 };
    const CpuSegment null = { 0, 0, 0, SEGMENT_UNUSABLE };
    vcpu->segment[CPU_CS] = is_32bit ? (CpuSegment){ 0, 0xffffffff, CASE_CS32, 0xcfb }
                                     : (CpuSegment){ 0, 0xffffffff, CASE_CS64, 0xafb };
    vcpu->segment[CPU_SS] = data;
    vcpu->segment[CPU_DS] = data;
    vcpu->segment[CPU_ES] = data;
    vcpu->segment[CPU_FS] = null;
    vcpu->segment[CPU_GS] = null;
    vcpu->segment[CPU_FS].base = CASE_FS_BASE;
    vcpu->segment[CPU_GS].base = CASE_GS_BASE;
}

static void load_state(Machine *machine, const Case *test)
{
    Vcpu *vcpu = machine->vcpu;
    memcpy(vcpu->gpr, test->in.gpr, sizeof(vcpu->gpr));
    memcpy(vcpu->xsave, test->in.xsave, CASE_XSAVE_BYTES);
    vcpu->rip = CASE_CODE + test->code_offset;
    vcpu->rflags = test->in.rflags;
    vcpu->cr2 = 0;
    vcpu->run_state = CPU_RUN_RUNNABLE;
    vcpu->shutdown = false;
    vcpu->interrupt_shadow = false;
    atomic_store(&vcpu->requests, 0);
    load_segments(vcpu, test->is_32bit);
    cpu_update_mode(vcpu);
}

static bool has_error_code(uint8_t vector)
{
    return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
}

/* What the exception pushed. */
static void read_frame(Machine *machine, bool is_32bit, CaseResult *out)
{
    Vcpu *vcpu = machine->vcpu;
    uint64_t frame[6];
    uint8_t vector = (uint8_t)((vcpu->rip - HANDLERS) / HANDLER_BYTES);
    bool has_error = has_error_code(vector);
    memcpy(frame, page_at(machine, PAGE_STACK) + 4096 - sizeof(frame), sizeof(frame));
    out->vector = vector;
    out->error = has_error ? (uint32_t)frame[0] : 0;
    out->cr2 = vector == 14 ? vcpu->cr2 : 0;
    out->out.rip = frame[1];
    out->out.rflags = frame[3];
    out->out.gpr[CPU_RSP] = frame[4];
    /* The way out jumps to where nothing is mapped here. */
    bool is_exit = vector == 14 && frame[1] == native_exit_address();
    out->end = is_exit ? CASE_REACHED_EXIT : CASE_FAULTED;
    if (is_exit) {
        out->out.rip = is_32bit ? CASE_EXIT32 : CASE_EXIT;
        out->vector = 0;
        out->error = 0;
        out->cr2 = 0;
    }
}

static void interpret(Vcpu *vcpu)
{
    for (unsigned i = 0; i < STEPS_MAX && cpu_cpl(vcpu) == 3 && !vcpu->shutdown; i++) {
        interp_one(vcpu);
    }
}

static void translate(Vcpu *vcpu)
{
    vcpu->thread = pthread_self();
    vm_code_enter(vcpu);
    for (unsigned i = 0; i < STEPS_MAX && vcpu->run_state == CPU_RUN_RUNNABLE && !vcpu->shutdown;
         i++) {
        if (jit_can_run(vcpu)) {
            jit_run(vcpu);
        } else {
            interp_one(vcpu);
        }
        atomic_store(&vcpu->requests, 0);
    }
    vm_code_leave(vcpu);
}

bool machine_can_translate(const Machine *machine)
{
    return machine->vcpu->vm->use_jit;
}

void machine_run(Machine *machine, MachineEngine engine, const Case *test, CaseResult *out)
{
    Vcpu *vcpu = machine->vcpu;
    uint8_t *data = page_at(machine, PAGE_DATA);
    const uint8_t *template = machine->templates + test->template * CASE_DATA_BYTES;
    memcpy(data, template, CASE_DATA_BYTES);
    write_code(machine, test, false);
    load_state(machine, test);
    if (engine == MACHINE_TRANSLATOR) {
        translate(vcpu);
    } else {
        interpret(vcpu);
    }
    memcpy(out->out.gpr, vcpu->gpr, sizeof(vcpu->gpr));
    memcpy(out->out.xsave, vcpu->xsave, CASE_XSAVE_BYTES);
    if (vcpu->shutdown) {
        out->end = CASE_DIED;
    } else if (cpu_cpl(vcpu) != 0) {
        out->end = CASE_HUNG;
        out->out.rip = vcpu->rip;
        out->out.rflags = vcpu->rflags;
    } else {
        read_frame(machine, test->is_32bit, out);
    }
    out->memory_changed = memcmp(data, template, CASE_DATA_BYTES) != 0;
    if (out->memory_changed) {
        memcpy(out->memory, data, CASE_DATA_BYTES);
    }
    write_code(machine, test, true);
}
