/* The KVM accelerator with tiny guests: ports, memory, kicks, state, debugging, interrupts.
 *
 * Sized for a KVM that emulates every instruction. Skipped where /dev/kvm cannot be opened.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "lib/check.h"
#include "vmm/accel/accel.h"
#include "vmm/cpu/model.h"

#include <cpuid.h>
#include <errno.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define RAM_BYTES 0x100000u
#define CODE_AT 0x1000
#define PORT 0x10
#define HOLE 0xd0000000u
#define LOG_MAX 16

typedef struct Access {
    bool is_port, is_write;
    GuestAddr addr;
    uint64_t value;
    unsigned size;
} Access;

/* One machine: RAM at 0, ROM at 2 MiB, vCPUs, and the accesses that reached devices. */
typedef struct Fixture {
    AddressMap *map, *ports;
    GuestMemory memory;
    RamBlock *ram, *rom;
    Vm *vm;
    Vcpu *vcpu[2];
    Access log[LOG_MAX];
    unsigned logged;
    uint64_t answer;     /* what reads of regions give */
    Vcpu *kick_on_write; /* kicked by the next write */
} Fixture;

static void record(Fixture *f, const AddressMap *map, bool is_write, GuestAddr addr, uint64_t value,
                   unsigned size)
{
    if (f->logged < LOG_MAX) {
        f->log[f->logged++] = (Access){ map == f->ports, is_write, addr, value, size };
    }
}

static uint64_t region_in(void *opaque, const AddressMap *map, GuestAddr addr, unsigned size)
{
    Fixture *f = opaque;
    record(f, map, false, addr, f->answer, size);
    return f->answer;
}

static void region_out(void *opaque, const AddressMap *map, GuestAddr addr, uint64_t value,
                       unsigned size)
{
    Fixture *f = opaque;
    record(f, map, true, addr, value, size);
    if (f->kick_on_write) {
        accel_kvm.vcpu_kick(f->kick_on_write);
    }
}

static void make_vcpus(Fixture *f, unsigned count)
{
    CpuidTable limits, table;
    CpuConfig config;
    CpuFeatureSet features;
    CpuTopology topology = { 1, 1, count, 1 };
    char message[160] = "";
    if (accel_kvm.cpuid_limits(&limits, message) != 0) {
        fail_msg("%s", message);
    }
    assert_true(cpu_config_parse("max", &config, NULL));
    assert_true(cpu_config_resolve(&config, &limits, &features, NULL, NULL));
    for (unsigned i = 0; i < count; i++) {
        cpu_config_build(&config, &features, &limits, &topology, i, &table);
        f->vcpu[i] = accel_kvm.vcpu_create(f->vm, i, &table, NULL, message);
        if (!f->vcpu[i]) {
            fail_msg("%s", message);
        }
    }
}

static int set_up(void **state)
{
    Fixture *f = calloc(1, sizeof(*f));
    char message[160] = "";
    AccelHost host = { .memory = &f->memory,
                       .region_read = region_in,
                       .region_write = region_out,
                       .opaque = f,
                       .vcpu_count = 2 };
    f->map = address_map_new(0);
    f->ports = address_map_new(0x10000);
    f->memory.map = f->map;
    host.ports = f->ports;
    f->ram = ram_block_new("ram", RAM_BYTES);
    f->rom = ram_block_new("rom", 4096);
    AddressEntry ram = { .base = 0, .size_bytes = RAM_BYTES, .ram = f->ram };
    AddressEntry rom = { .base = 0x200000, .size_bytes = 4096, .ram = f->rom, .readonly = true };
    assert_int_equal(address_map_add(f->map, &ram, 0), 0);
    f->vm = accel_kvm.vm_create(&host, message);
    if (!f->vm) {
        fail_msg("%s", message);
    }
    assert_int_equal(address_map_add(f->map, &rom, 0), 0);
    make_vcpus(f, 2);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    Fixture *f = *state;
    accel_kvm.vcpu_destroy(f->vcpu[0]);
    accel_kvm.vcpu_destroy(f->vcpu[1]);
    accel_kvm.vm_destroy(f->vm);
    address_map_free(f->map);
    address_map_free(f->ports);
    ram_block_free(f->ram);
    ram_block_free(f->rom);
    free(f);
    return 0;
}

static void load(Fixture *f, const void *code, size_t bytes)
{
    memcpy(f->ram->host + CODE_AT, code, bytes);
}

/* QEMU's translator, as of 7.2, virtualizes by AMD's SVM with gaps: debug registers that VMRUN
 * loads are not armed, and XSETBV is not intercepted. */
static bool is_host_translated(void)
{
    uint32_t regs[4];
    __cpuid(0x40000000, regs[0], regs[1], regs[2], regs[3]);
    return !memcmp(&regs[1], "TCGTCGTCGTCG", 12);
}

/* Real mode at CODE_AT, flat segments at 0. */
static void start_real_mode(Fixture *f)
{
    CpuState state;
    cpu_state_reset(&state, true);
    state.segment[CPU_CS].base = 0;
    state.segment[CPU_CS].selector = 0;
    state.rip = CODE_AT;
    state.gpr[CPU_RSP] = 0x8000;
    assert_int_equal(accel_kvm.vcpu_set_state(f->vcpu[0], &state), 0);
}

static CpuSegment flat_segment(uint16_t selector, uint16_t attributes)
{
    return (CpuSegment){ .limit = ~0u, .selector = selector, .attributes = attributes };
}

/* 64-bit mode at CODE_AT; 2 MiB pages identity-mapped up to 1 GiB, and HOLE. */
static void start_long_mode(Fixture *f)
{
    CpuState state;
    uint8_t *tables = f->ram->host + 0x10000;
    le64_put(tables, 0x11000 | 3);
    le64_put(tables + 0x1000, 0x12000 | 3);
    le64_put(tables + 0x1000 + 8 * (HOLE >> 30), 0x13000 | 3);
    for (uint64_t i = 0; i < 512; i++) {
        le64_put(tables + 0x2000 + 8 * i, i << 21 | 0x83);
        le64_put(tables + 0x3000 + 8 * i, ((uint64_t)(HOLE >> 30) << 30 | i << 21) | 0x83);
    }
    cpu_state_reset(&state, true);
    for (unsigned i = 0; i < CPU_SEGMENTS; i++) {
        state.segment[i] = flat_segment(16, SEGMENT_G | SEGMENT_DB | SEGMENT_P | SEGMENT_S | 3);
    }
    state.segment[CPU_CS] = flat_segment(8, SEGMENT_G | SEGMENT_L | SEGMENT_P | SEGMENT_S | 11);
    state.cr0 = 0x80000033;
    state.cr3 = 0x10000;
    state.cr4 = 0x620; /* PAE OSFXSR OSXMMEXCPT */
    state.efer = 0x500;
    state.rip = CODE_AT;
    state.gpr[CPU_RSP] = 0x8000;
    assert_int_equal(accel_kvm.vcpu_set_state(f->vcpu[0], &state), 0);
}

static VcpuExit run(Fixture *f)
{
    VcpuExit exit;
    accel_kvm.vcpu_run(f->vcpu[0], &exit);
    if (exit.reason == VCPU_EXIT_FAILED) {
        print_message("# %s\n", exit.message);
    }
    return exit;
}

static void ports_and_memory_reach_the_regions(void **state)
{
    Fixture *f = *state;
    static const uint8_t code[] = {
        0xb0, 0x5a,                      /* mov al, 0x5a */
        0xe6, PORT,                      /* out PORT, al */
        0xec,                            /* in al, dx */
        0x67, 0x66, 0xa1, 0, 0, 0, 0xd0, /* mov eax, [HOLE] */
        0x67, 0x66, 0xa3, 4, 0, 0, 0xd0, /* mov [HOLE + 4], eax */
        0xe6, PORT,                      /* out PORT, al: kicks */
        0xf4,
    };
    load(f, code, sizeof(code));
    f->answer = 0x11223344;
    start_real_mode(f);
    CpuState cpu;
    accel_kvm.vcpu_get_state(f->vcpu[0], &cpu);
    cpu.gpr[CPU_RDX] = 0x3f8;
    for (unsigned i = 0; i < CPU_SEGMENTS; i++) {
        cpu.segment[i].limit = ~0u;
        cpu.segment[i].attributes |= SEGMENT_G;
    }
    cpu.segment[CPU_CS].limit = 0xffff;
    cpu.segment[CPU_CS].attributes &= ~SEGMENT_G;
    assert_int_equal(accel_kvm.vcpu_set_state(f->vcpu[0], &cpu), 0);
    static const Access wanted[] = {
        { true, true, PORT, 0x5a, 1 },         { true, false, 0x3f8, 0x11223344, 1 },
        { false, false, HOLE, 0x11223344, 4 }, { false, true, HOLE + 4, 0x11223344, 4 },
        { true, true, PORT, 0x44, 1 },
    };
    f->kick_on_write = f->vcpu[0];
    while (f->logged < ARRAY_LENGTH(wanted)) {
        assert_int_equal(run(f).reason, VCPU_EXIT_KICKED);
    }
    for (unsigned i = 0; i < ARRAY_LENGTH(wanted); i++) {
        assert_int_equal(f->log[i].is_port, wanted[i].is_port);
        assert_int_equal(f->log[i].is_write, wanted[i].is_write);
        assert_int_equal(f->log[i].addr, wanted[i].addr);
        assert_int_equal(f->log[i].size, wanted[i].size);
        if (wanted[i].is_write) {
            assert_int_equal(f->log[i].value, wanted[i].value);
        }
    }
}

static void a_write_to_rom_reaches_the_region(void **state)
{
    Fixture *f = *state;
    static const uint8_t code[] = {
        0xc6, 0x04, 0x25, 0x08, 0x00, 0x20, 0x00, 0x77, /* mov byte [0x200008], 0x77 */
        0x8a, 0x04, 0x25, 0x08, 0x00, 0x20, 0x00,       /* mov al, [0x200008] */
        0xe6, PORT, 0xf4,
    };
    load(f, code, sizeof(code));
    f->rom->host[8] = 0x42;
    f->kick_on_write = f->vcpu[0];
    start_long_mode(f);
    while (f->logged < 2) {
        assert_int_equal(run(f).reason, VCPU_EXIT_KICKED);
    }
    assert_false(f->log[0].is_port);
    assert_int_equal(f->log[0].addr, 0x200008);
    assert_int_equal(f->log[1].value, 0x42);
}

static void a_string_of_ports_is_taken_apart(void **state)
{
    Fixture *f = *state;
    static const uint8_t code[] = {
        0xfc, 0xf3, 0x6e, /* cld; rep outsb */
        0xe6, PORT, 0xf4,
    };
    load(f, code, sizeof(code));
    memcpy(f->ram->host + 0x2000, "abc", 3);
    start_long_mode(f);
    CpuState cpu;
    accel_kvm.vcpu_get_state(f->vcpu[0], &cpu);
    cpu.gpr[CPU_RSI] = 0x2000;
    cpu.gpr[CPU_RCX] = 3;
    cpu.gpr[CPU_RDX] = 0x80;
    assert_int_equal(accel_kvm.vcpu_set_state(f->vcpu[0], &cpu), 0);
    f->kick_on_write = f->vcpu[0];
    while (f->logged < 4) {
        assert_int_equal(run(f).reason, VCPU_EXIT_KICKED);
    }
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(f->log[i].addr, 0x80);
        assert_int_equal(f->log[i].value, "abc"[i]);
    }
}

static void *kick_later(void *opaque)
{
    Fixture *f = opaque;
    accel_kvm.vcpu_kick(f->vcpu[0]);
    return NULL;
}

static void a_kick_ends_an_endless_loop_and_hlt(void **state)
{
    Fixture *f = *state;
    static const uint8_t loops[][2] = { { 0xeb, 0xfe }, { 0xf4, 0xf4 } };
    for (unsigned i = 0; i < ARRAY_LENGTH(loops); i++) {
        pthread_t thread;
        load(f, loops[i], 2);
        start_real_mode(f);
        assert_int_equal(pthread_create(&thread, NULL, kick_later, f), 0);
        assert_int_equal(run(f).reason, VCPU_EXIT_KICKED);
        pthread_join(thread, NULL);
    }
    /* Before the run: also seen, and once only. */
    accel_kvm.vcpu_kick(f->vcpu[0]);
    assert_int_equal(run(f).reason, VCPU_EXIT_KICKED);
}

static void a_triple_fault_is_a_shutdown(void **state)
{
    Fixture *f = *state;
    static const uint8_t code[] = { 0x0f, 0x0b }; /* ud2 without an IDT */
    load(f, code, sizeof(code));
    start_long_mode(f);
    CpuState cpu;
    accel_kvm.vcpu_get_state(f->vcpu[0], &cpu);
    cpu.idt.limit = 0;
    assert_int_equal(accel_kvm.vcpu_set_state(f->vcpu[0], &cpu), 0);
    assert_int_equal(run(f).reason, VCPU_EXIT_SHUTDOWN);
}

static void state_survives_a_round_trip(void **state)
{
    Fixture *f = *state;
    CpuState before, after;
    start_long_mode(f);
    accel_kvm.vcpu_get_state(f->vcpu[0], &before);
    for (unsigned i = 0; i < 16; i++) {
        before.gpr[i] = 0x1111111111111111u * i;
    }
    before.rflags = 0x246;
    before.dr[0] = 0x1234;
    before.cr2 = 0xdead000;
    before.nmi_masked = true;
    memset(before.xsave + 160, 0xa5, 16); /* xmm0 */
    before.segment[CPU_FS].base = 0xffff800000001000;
    for (unsigned i = 0; i < before.msr_count; i++) {
        if (before.msr[i].index == 0xc0000082) {
            before.msr[i].value = 0xffffffff81000000; /* LSTAR */
        }
    }
    assert_int_equal(accel_kvm.vcpu_set_state(f->vcpu[0], &before), 0);
    accel_kvm.vcpu_get_state(f->vcpu[0], &after);
    assert_memory_equal(before.gpr, after.gpr, sizeof(before.gpr));
    assert_int_equal(before.rflags, after.rflags);
    assert_int_equal(before.cr2, after.cr2);
    assert_int_equal(before.dr[0], after.dr[0]);
    assert_true(after.nmi_masked);
    assert_memory_equal(before.xsave + 160, after.xsave + 160, 16);
    assert_int_equal(before.segment[CPU_FS].base, after.segment[CPU_FS].base);
    assert_int_equal(before.msr_count, after.msr_count);
    for (unsigned i = 0; i < before.msr_count; i++) {
        assert_int_equal(before.msr[i].index, after.msr[i].index);
        if (before.msr[i].index != 0x10) {
            assert_int_equal(before.msr[i].value, after.msr[i].value);
        }
    }
    /* Reset: what the state does not name is as after creation. */
    cpu_state_reset(&before, true);
    assert_int_equal(accel_kvm.vcpu_set_state(f->vcpu[0], &before), 0);
    accel_kvm.vcpu_get_state(f->vcpu[0], &after);
    for (unsigned i = 0; i < after.msr_count; i++) {
        assert_true(after.msr[i].index != 0xc0000082 || after.msr[i].value == 0);
    }
    accel_kvm.vcpu_get_state(f->vcpu[1], &after);
    assert_int_equal(after.run_state, CPU_RUN_WAIT_FOR_SIPI);
}

/* The guest's XSETBV shows in its state, and in the size that its CPUID reports. */
static void xcr0_is_the_one_that_the_guest_set(void **state)
{
    Fixture *f = *state;
    static const uint8_t code[] = {
        0x31, 0xc9, 0x31, 0xd2, 0xb8, 3, 0, 0, 0, /* xor ecx, ecx; xor edx, edx; mov eax, 3 */
        0x0f, 0x01, 0xd1,                         /* xsetbv */
        0xe6, PORT, 0xf4,
    };
    CpuState cpu;
    load(f, code, sizeof(code));
    start_long_mode(f);
    accel_kvm.vcpu_get_state(f->vcpu[0], &cpu);
    cpu.cr4 |= 1u << 18; /* OSXSAVE */
    if (is_host_translated()) {
        print_message("# XSETBV is not intercepted under QEMU's translator\n");
        skip();
    }
    if (accel_kvm.vcpu_set_state(f->vcpu[0], &cpu) < 0) {
        print_message("# this KVM gives guests no XSAVE\n");
        skip();
    }
    f->kick_on_write = f->vcpu[0];
    assert_int_equal(run(f).reason, VCPU_EXIT_KICKED);
    accel_kvm.vcpu_get_state(f->vcpu[0], &cpu);
    assert_int_equal(cpu.xcr0, 3);
}

static void impossible_state_is_refused(void **state)
{
    Fixture *f = *state;
    CpuState cpu;
    start_long_mode(f);
    accel_kvm.vcpu_get_state(f->vcpu[0], &cpu);
    cpu.run_state = (CpuRunState)77;
    assert_int_equal(accel_kvm.vcpu_set_state(f->vcpu[0], &cpu), -EINVAL);
    accel_kvm.vcpu_get_state(f->vcpu[0], &cpu);
    cpu.xcr0 = 2; /* without x87 */
    assert_int_equal(accel_kvm.vcpu_set_state(f->vcpu[0], &cpu), -EINVAL);
}

static void translation_follows_the_page_tables(void **state)
{
    Fixture *f = *state;
    GuestAddr physical;
    start_long_mode(f);
    assert_true(accel_kvm.vcpu_translate(f->vcpu[0], HOLE + 0x1234, &physical));
    assert_int_equal(physical, HOLE + 0x1234);
    assert_false(accel_kvm.vcpu_translate(f->vcpu[0], UINT64_C(0x7f0000000000), &physical));
}

static void a_single_step_is_one_instruction(void **state)
{
    Fixture *f = *state;
    static const uint8_t code[] = { 0x90, 0x90, 0xe6, PORT, 0xf4 };
    load(f, code, sizeof(code));
    start_long_mode(f);
    f->kick_on_write = f->vcpu[0];
    assert_int_equal(accel_kvm.vcpu_set_debug(f->vcpu[0], NULL, 0, true), 0);
    for (unsigned i = 1; i <= 2; i++) {
        VcpuExit exit = run(f);
        assert_int_equal(exit.reason, VCPU_EXIT_DEBUG);
        assert_int_equal(exit.debug_address, CODE_AT + i);
    }
    assert_int_equal(accel_kvm.vcpu_set_debug(f->vcpu[0], NULL, 0, false), 0);
    assert_int_equal(run(f).reason, VCPU_EXIT_KICKED);
    assert_int_equal(f->logged, 1);
}

static void breakpoints_and_watchpoints_stop(void **state)
{
    Fixture *f = *state;
    static const uint8_t code[] = {
        0x90, 0x90, 0xc6, 0x04, 0x25, 0x00, 0x20, 0x00, 0x00, 0x77, /* mov byte [0x2000], 0x77 */
        0xe6, PORT, 0xf4,
    };
    if (is_host_translated()) {
        print_message("# debug registers do not work under QEMU's translator\n");
        skip();
    }
    load(f, code, sizeof(code));
    start_long_mode(f);
    f->kick_on_write = f->vcpu[0];
    DebugPoint points[2] = { { DEBUG_BREAKPOINT, CODE_AT + 1, 1 },
                             { DEBUG_WATCH_WRITE, 0x2000, 1 } };
    assert_int_equal(accel_kvm.vcpu_set_debug(f->vcpu[0], points, 1, false), 0);
    VcpuExit exit = run(f);
    assert_int_equal(exit.reason, VCPU_EXIT_DEBUG);
    assert_int_equal(exit.debug_address, CODE_AT + 1);
    assert_false(exit.debug_is_watchpoint);
    assert_int_equal(accel_kvm.vcpu_set_debug(f->vcpu[0], points + 1, 1, false), 0);
    exit = run(f);
    if (exit.reason == VCPU_EXIT_DEBUG) { /* an instruction emulator may not watch */
        assert_int_equal(exit.debug_address, 0x2000);
        assert_true(exit.debug_is_watchpoint);
        assert_int_equal(accel_kvm.vcpu_set_debug(f->vcpu[0], NULL, 0, false), 0);
        exit = run(f);
    }
    assert_int_equal(exit.reason, VCPU_EXIT_KICKED);
    assert_int_equal(f->logged, 1);
}

static void points_that_no_register_holds_are_refused(void **state)
{
    Fixture *f = *state;
    DebugPoint many[5] = { { DEBUG_BREAKPOINT, CODE_AT, 1 } };
    assert_int_equal(accel_kvm.vcpu_set_debug(f->vcpu[0], many, 5, false), -ENOSPC);
    many[0] = (DebugPoint){ DEBUG_WATCH_WRITE, 0x2000, 3 };
    assert_int_equal(accel_kvm.vcpu_set_debug(f->vcpu[0], many, 1, false), -ENOSPC);
    many[0] = (DebugPoint){ DEBUG_WATCH_WRITE, 0x2001, 4 };
    assert_int_equal(accel_kvm.vcpu_set_debug(f->vcpu[0], many, 1, false), -ENOSPC);
}

/* Of a record of the chips: after 16 bytes, the 8259s and the IO-APIC. */
static uint32_t pit_flags(const uint8_t *record)
{
    struct kvm_pit_state2 pit;
    memcpy(&pit, record + 16 + 3 * sizeof(struct kvm_irqchip), sizeof(pit));
    return pit.flags;
}

static void chips_save_load_and_reset(void **state)
{
    Fixture *f = *state;
    uint8_t before[8192], after[8192];
    int bytes = accel_kvm.irqchip_get_state(f->vm, before, sizeof(before));
    assert_true(bytes > 0);
    assert_int_equal(accel_kvm.irqchip_get_state(f->vm, after, 100), -ENOSPC);
    assert_int_equal(accel_kvm.irqchip_set_state(f->vm, before, 100), -EINVAL);
    accel_kvm.irq_line(f->vm, 4, true);
    assert_int_equal(accel_kvm.irqchip_get_state(f->vm, after, sizeof(after)), bytes);
    assert_memory_not_equal(before, after, (size_t)bytes);
    assert_int_equal(accel_kvm.irqchip_set_state(f->vm, before, (unsigned)bytes), 0);
    accel_kvm.irqchip_reset(f->vm);
    /* The HPET in the PIT's place and back; a reset ends it, too. */
    accel_kvm.irqchip_get_state(f->vm, before, sizeof(before));
    accel_kvm.pit_silence(f->vm, true);
    accel_kvm.irqchip_get_state(f->vm, after, sizeof(after));
    assert_int_not_equal(pit_flags(before), pit_flags(after));
    accel_kvm.pit_silence(f->vm, true);
    accel_kvm.pit_silence(f->vm, false);
    accel_kvm.irqchip_get_state(f->vm, after, sizeof(after));
    assert_int_equal(pit_flags(before), pit_flags(after));
    char text[4096];
    accel_kvm.irqchip_describe(f->vm, text, sizeof(text));
    assert_non_null(strstr(text, "pic1: irr="));
    assert_non_null(strstr(text, "  pin 23 "));
    before[0] ^= 1;
    assert_int_equal(accel_kvm.irqchip_set_state(f->vm, before, (unsigned)bytes), -EINVAL);
}

/* HLT with interrupts on; vector 0x40 by MSI, whose handler writes to the port. */
static void a_message_wakes_a_halted_guest(void **state)
{
    Fixture *f = *state;
    static const uint8_t code[] = {
        0x48, 0xb8,     0xf0, 0x00, 0xe0, 0xfe, 0, 0, 0, 0, /* mov rax, 0xfee000f0 */
        0xc7, 0x00,     0xff, 0x01, 0x00, 0x00,             /* mov dword [rax], 0x1ff: APIC on */
        0xe6, PORT + 1,                                     /* out: ready */
        0xfb, 0xf4,     0xeb, 0xfd,                         /* sti; 1: hlt; jmp 1b */
    };
    static const uint8_t handler[] = { 0xe6, PORT, 0xf4 };
    load(f, code, sizeof(code));
    memcpy(f->ram->host + 0x3000, handler, sizeof(handler));
    start_long_mode(f);
    /* APIC page mapped; GDT and IDT for the delivery. */
    uint8_t *tables = f->ram->host + 0x10000;
    le64_put(tables + 0x1000 + 8 * 3, 0x14000 | 3);
    le64_put(f->ram->host + 0x14000 + 8 * ((0xfee00000u >> 21) & 511), 0xfee00000u | 0x83);
    le64_put(f->ram->host + 0x5008, 0x00af9b000000ffff);
    le64_put(f->ram->host + 0x6000 + 16 * 0x40, 0x00008e0000083000);
    CpuState cpu;
    accel_kvm.vcpu_get_state(f->vcpu[0], &cpu);
    cpu.gdt = (CpuTable){ 0x5000, 0x17 };
    cpu.idt = (CpuTable){ 0x6000, 0xfff };
    assert_int_equal(accel_kvm.vcpu_set_state(f->vcpu[0], &cpu), 0);
    f->kick_on_write = f->vcpu[0];
    assert_int_equal(run(f).reason, VCPU_EXIT_KICKED);
    assert_int_equal(f->log[0].addr, PORT + 1);
    accel_kvm.msi_send(f->vm, 0xfee00000, 0x40);
    assert_int_equal(run(f).reason, VCPU_EXIT_KICKED);
    assert_int_equal(f->log[1].addr, PORT);
}

static void an_ioeventfd_takes_the_place_of_the_region(void **state)
{
    Fixture *f = *state;
    static const uint8_t code[] = { 0xe6, PORT, 0xe6, PORT + 1, 0xf4 };
    uint64_t value = 0;
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    load(f, code, sizeof(code));
    start_long_mode(f);
    assert_int_equal(accel_kvm.ioeventfd(f->vm, true, PORT, 1, false, 0, fd, true), 0);
    f->kick_on_write = f->vcpu[0];
    assert_int_equal(run(f).reason, VCPU_EXIT_KICKED);
    assert_int_equal(read(fd, &value, sizeof(value)), sizeof(value));
    assert_int_equal(value, 1);
    assert_int_equal(f->logged, 1);
    assert_int_equal(f->log[0].addr, PORT + 1);
    assert_int_equal(accel_kvm.ioeventfd(f->vm, true, PORT, 1, false, 0, fd, false), 0);
    assert_true(accel_kvm.ioeventfd(f->vm, true, PORT, 1, false, 0, fd, false) < 0);
    close(fd);
}

static void the_probe_answers_with_a_reason(void **state)
{
    char reason[160] = "";
    bool usable = accel_kvm.probe(reason);
    print_message("# usable: %s%s%s\n", usable ? "yes" : "no", usable ? "" : ": ", reason);
    assert_int_equal(usable, reason[0] == 0);
}

int main(void)
{
    if (access("/dev/kvm", R_OK | W_OK) != 0) {
        print_message("1..0 # SKIP /dev/kvm cannot be opened\n");
        return 0;
    }
#define GUEST_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        GUEST_TEST(ports_and_memory_reach_the_regions),
        GUEST_TEST(a_write_to_rom_reaches_the_region),
        GUEST_TEST(a_string_of_ports_is_taken_apart),
        GUEST_TEST(a_kick_ends_an_endless_loop_and_hlt),
        GUEST_TEST(a_triple_fault_is_a_shutdown),
        GUEST_TEST(state_survives_a_round_trip),
        GUEST_TEST(xcr0_is_the_one_that_the_guest_set),
        GUEST_TEST(impossible_state_is_refused),
        GUEST_TEST(translation_follows_the_page_tables),
        GUEST_TEST(a_single_step_is_one_instruction),
        GUEST_TEST(breakpoints_and_watchpoints_stop),
        GUEST_TEST(points_that_no_register_holds_are_refused),
        GUEST_TEST(chips_save_load_and_reset),
        GUEST_TEST(a_message_wakes_a_halted_guest),
        GUEST_TEST(an_ioeventfd_takes_the_place_of_the_region),
        cmocka_unit_test(the_probe_answers_with_a_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
