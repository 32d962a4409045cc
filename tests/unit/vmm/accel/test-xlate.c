/* The translator's vCPU as AccelOps shows it, with small guests in every mode.
 *
 * A guest ends by a write to the exit port, which kicks its vCPU. SPDX-License-Identifier:
 * GPL-2.0-or-later */
#include "lib/check.h"
#include "vmm/accel/accel.h"
#include "vmm/bus/region.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RAM_BYTES (16u << 20)
#define CODE_AT 0x10000u
#define STACK_AT 0x20000u
#define IDT_AT 0x3000u
#define GDT_AT 0x4000u
#define TSS_AT 0x5000u
#define PML4_AT 0x100000u
#define EXIT_PORT 0xf4
#define DEVICE_AT 0xd0000000u

#define GUEST(name, bits, text)                                                                    \
    extern const uint8_t guest_##name[], guest_##name##_end[];                                     \
    __asm__(".pushsection .rodata\n.code" #bits "\nguest_" #name ":\n" text "\nguest_" #name       \
            "_end:\n.code64\n.popsection")

typedef struct Fixture {
    GuestMemory memory;
    AddressMap *ports;
    RamBlock *ram;
    Region device;
    Vm *vm;
    Vcpu *vcpu[2];
    CpuidTable cpuid;
    _Atomic(uint64_t) exit_value[2];
    _Atomic(unsigned) exits;
    uint64_t device_value;
    VcpuExit last;
} Fixture;

static uint64_t device_read(void *opaque, uint64_t offset, unsigned size)
{
    Fixture *f = opaque;
    return f->device_value + offset;
}

static void device_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    Fixture *f = opaque;
    f->device_value = value;
}

static const RegionOps device_ops = { device_read, device_write, 1, 8 };

static uint64_t on_read(void *opaque, const AddressMap *map, GuestAddr addr, unsigned size)
{
    return bus_read(map, addr, size);
}

static void on_write(void *opaque, const AddressMap *map, GuestAddr addr, uint64_t value,
                     unsigned size)
{
    Fixture *f = opaque;
    if (map == f->ports && (addr == EXIT_PORT || addr == EXIT_PORT + 1)) {
        f->exit_value[addr - EXIT_PORT] = value;
        f->exits++;
        accel_xlate.vcpu_kick(f->vcpu[addr - EXIT_PORT]);
        return;
    }
    bus_write(map, addr, value, size);
}

static int set_up(void **state)
{
    char message[160];
    Fixture *f = calloc(1, sizeof(*f));
    f->memory.map = address_map_new(0);
    f->ports = address_map_new(65536);
    f->ram = ram_block_new("ram", RAM_BYTES);
    AddressEntry ram = { .size_bytes = RAM_BYTES, .ram = f->ram };
    f->device = (Region){ .name = "test", .size_bytes = 4096, .ops = &device_ops, .opaque = f };
    AddressEntry device = { .base = DEVICE_AT, .size_bytes = 4096, .region = &f->device };
    assert_int_equal(address_map_add(f->memory.map, &ram, 0), 0);
    assert_int_equal(address_map_add(f->memory.map, &device, 0), 0);
    AccelHost host = { .memory = &f->memory,
                       .ports = f->ports,
                       .region_read = on_read,
                       .region_write = on_write,
                       .opaque = f,
                       .vcpu_count = 2 };
    assert_int_equal(accel_xlate.cpuid_limits(&f->cpuid, message), 0);
    f->vm = accel_xlate.vm_create(&host, message);
    assert_non_null(f->vm);
    for (unsigned i = 0; i < 2; i++) {
        f->vcpu[i] = accel_xlate.vcpu_create(f->vm, i, &f->cpuid, NULL, message);
        assert_non_null(f->vcpu[i]);
    }
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    Fixture *f = *state;
    accel_xlate.vcpu_destroy(f->vcpu[0]);
    accel_xlate.vcpu_destroy(f->vcpu[1]);
    accel_xlate.vm_destroy(f->vm);
    address_map_free(f->memory.map);
    address_map_free(f->ports);
    ram_block_free(f->ram);
    free(f);
    return 0;
}

static void put(Fixture *f, uint32_t at, const void *bytes, size_t length)
{
    memcpy(f->ram->host + at, bytes, length);
}

static void put64(Fixture *f, uint32_t at, uint64_t value)
{
    put(f, at, &value, 8);
}

#define LOAD(f, name) put(f, CODE_AT, guest_##name, (size_t)(guest_##name##_end - guest_##name))

static void real_state(CpuState *cpu)
{
    cpu_state_reset(cpu, true);
    cpu->segment[CPU_CS] = (CpuSegment){
        .base = CODE_AT, .limit = 0xffff, .selector = CODE_AT >> 4, .attributes = 0x9b
    };
    cpu->rip = 0;
    cpu->gpr[CPU_RSP] = 0x8000;
}

/* Flat, CPL 0, with a GDT: 8 code, 0x10 data, 0x18 user code, 0x20 user data, 0x28 TSS. */
static void flat_state(Fixture *f, CpuState *cpu, bool is_long)
{
    uint64_t l = is_long ? UINT64_C(0x00af000000000000) : UINT64_C(0x00cf000000000000);
    cpu_state_reset(cpu, true);
    put64(f, GDT_AT + 0x08, l | UINT64_C(0x00009b000000ffff));
    put64(f, GDT_AT + 0x10, UINT64_C(0x00cf93000000ffff));
    put64(f, GDT_AT + 0x18, l | UINT64_C(0x0000fb000000ffff));
    put64(f, GDT_AT + 0x20, UINT64_C(0x00cff3000000ffff));
    cpu->gdt = (CpuTable){ .base = GDT_AT, .limit = 0x37 };
    cpu->idt = (CpuTable){ .base = IDT_AT, .limit = 0xfff };
    for (unsigned i = 0; i < CPU_SEGMENTS; i++) {
        cpu->segment[i] =
            (CpuSegment){ .limit = 0xffffffff, .selector = 0x10, .attributes = 0xc93 };
    }
    cpu->segment[CPU_CS] =
        (CpuSegment){ .limit = 0xffffffff, .selector = 8, .attributes = is_long ? 0xa9b : 0xc9b };
    cpu->tr = (CpuSegment){ .base = TSS_AT, .limit = 0x67, .selector = 0x28, .attributes = 0x8b };
    cpu->cr0 = 0x33;
    cpu->rip = CODE_AT;
    cpu->gpr[CPU_RSP] = STACK_AT;
}

/* Identity map of the first 2 MiB by 4 KiB pages, of 4 GiB by large pages above. */
static void long_state(Fixture *f, CpuState *cpu)
{
    flat_state(f, cpu, true);
    put64(f, PML4_AT, (PML4_AT + 0x1000) | 7);
    for (uint64_t i = 0; i < 4; i++) {
        put64(f, (uint32_t)(PML4_AT + 0x1000 + i * 8), (PML4_AT + 0x2000 + i * 0x1000) | 7);
    }
    for (uint64_t i = 0; i < 2048; i++) {
        put64(f, (uint32_t)(PML4_AT + 0x2000 + i * 8), i << 21 | 0x87);
    }
    put64(f, PML4_AT + 0x2000, (PML4_AT + 0x8000) | 7);
    for (uint64_t i = 0; i < 512; i++) {
        put64(f, (uint32_t)(PML4_AT + 0x8000 + i * 8), i << 12 | 7);
    }
    put64(f, TSS_AT + 4, STACK_AT - 0x1000);
    cpu->cr0 |= 0x80010000;
    cpu->cr3 = PML4_AT;
    cpu->cr4 = 0x620;
    cpu->efer = 0xd01;
}

/* Gate of @vector to @target, reachable from every level. */
static void set_gate(Fixture *f, unsigned vector, uint64_t target, bool is_long)
{
    uint64_t low =
        (target & 0xffff) | 8 << 16 | UINT64_C(0xee00) << 32 | (target & 0xffff0000) << 32;
    put64(f, IDT_AT + vector * (is_long ? 16 : 8), low);
    if (is_long) {
        put64(f, IDT_AT + vector * 16 + 8, target >> 32);
    }
}

static VcpuExitReason run(Fixture *f, const CpuState *cpu)
{
    assert_int_equal(accel_xlate.vcpu_set_state(f->vcpu[0], cpu), 0);
    accel_xlate.vcpu_run(f->vcpu[0], &f->last);
    return f->last.reason;
}

static void expect_exit(Fixture *f, const CpuState *cpu, uint64_t value)
{
    assert_int_equal(run(f, cpu), VCPU_EXIT_KICKED);
    assert_int_equal(f->exit_value[0], value);
}

GUEST(real, 16,
      "xor %ax, %ax\n mov %ax, %ds\n mov %ax, %ss\n mov $0x7000, %sp\n"
      "movw $0x100, %bx\n movw $0x1234, (%bx)\n addw $1, (%bx)\n"
      "push %ds\n pushw (%bx)\n pop %ax\n pop %ds\n outl %eax, $0xf4\n hlt");

static void real_mode_moves_words(void **state)
{
    Fixture *f = *state;
    CpuState cpu;
    real_state(&cpu);
    LOAD(f, real);
    expect_exit(f, &cpu, 0x1235);
}

GUEST(
    real_int, 16,
    "xor %ax, %ax\n mov %ax, %ds\n movw $1f - guest_real_int, 0x84\n movw %cs, 0x86\n"
    "stc\n int $0x21\n jmp 2f\n 1: mov $0x77, %eax\n iret\n 2: setc %ah\n outl %eax, $0xf4\n hlt");

static void real_mode_interrupts_return(void **state)
{
    Fixture *f = *state;
    CpuState cpu;
    real_state(&cpu);
    LOAD(f, real_int);
    expect_exit(f, &cpu, 0x177);
}

GUEST(to_long, 16,
      "cli\n xor %eax, %eax\n mov %ax, %ds\n lgdtl 0x600\n"
      "mov %cr4, %eax\n or $0x20, %eax\n mov %eax, %cr4\n mov $0x100000, %eax\n mov %eax, %cr3\n"
      "mov $0xc0000080, %ecx\n rdmsr\n or $0x100, %eax\n wrmsr\n"
      "mov %cr0, %eax\n or $0x80000001, %eax\n mov %eax, %cr0\n ljmpl $8, $1f - guest_to_long + "
      "0x10000\n"
      ".code64\n 1: mov $0x10, %eax\n mov %eax, %ds\n mov %eax, %ss\n mov $0x20000, %esp\n"
      "movabs $0x1122334455667788, %rax\n push %rax\n pop %rbx\n shr $32, %rbx\n mov %ebx, %eax\n"
      "outl %eax, $0xf4\n hlt");

static void a_guest_goes_from_real_to_long_mode(void **state)
{
    Fixture *f = *state;
    CpuState cpu, ignored;
    static const struct {
        uint16_t limit;
        uint32_t base;
    } __attribute__((packed)) table = { 0x37, GDT_AT };
    long_state(f, &ignored);
    real_state(&cpu);
    put(f, 0x600, &table, sizeof(table));
    LOAD(f, to_long);
    expect_exit(f, &cpu, 0x11223344);
    accel_xlate.vcpu_get_state(f->vcpu[0], &cpu);
    assert_int_equal(cpu.efer & 0x500, 0x500);
}

GUEST(
    fault, 64,
    "mov $0x5000000000, %rax\n 1: mov (%rax), %rcx\n hlt\n"
    ".org 0x100 + guest_fault\n mov %cr2, %rax\n shr $32, %rax\n mov (%rsp), %ecx\n shl $8, %ecx\n"
    "or %ecx, %eax\n outl %eax, $0xf4\n hlt");

static void a_page_fault_gives_address_and_error(void **state)
{
    Fixture *f = *state;
    CpuState cpu;
    long_state(f, &cpu);
    set_gate(f, 14, CODE_AT + 0x100, true);
    LOAD(f, fault);
    expect_exit(f, &cpu, 0x50);
}

static void a_fault_without_a_handler_is_a_shutdown(void **state)
{
    Fixture *f = *state;
    CpuState cpu;
    long_state(f, &cpu);
    cpu.idt.limit = 0;
    LOAD(f, fault);
    assert_int_equal(run(f, &cpu), VCPU_EXIT_SHUTDOWN);
}

GUEST(double_fault, 64,
      "mov $0x5000000000, %rsp\n push %rax\n hlt\n"
      ".org 0x100 + guest_double_fault\n mov $0xdf, %eax\n outl %eax, $0xf4\n hlt");

static void a_fault_in_a_page_fault_is_a_double_fault(void **state)
{
    Fixture *f = *state;
    CpuState cpu;
    long_state(f, &cpu);
    set_gate(f, 14, CODE_AT + 0x200, true);
    set_gate(f, 8, CODE_AT + 0x100, true);
    f->ram->host[IDT_AT + 8 * 16 + 4] = 1;
    put64(f, TSS_AT + 36, STACK_AT);
    LOAD(f, double_fault);
    expect_exit(f, &cpu, 0xdf);
}

GUEST(dirty, 64,
      "mov 0x150000, %eax\n mov %eax, 0x151000\n lock incl 0x152000\n outl %eax, $0xf4\n hlt");

static void accesses_set_accessed_and_dirty_bits(void **state)
{
    Fixture *f = *state;
    CpuState cpu;
    const uint64_t *table;
    long_state(f, &cpu);
    LOAD(f, dirty);
    expect_exit(f, &cpu, 0);
    table = (const uint64_t *)(f->ram->host + PML4_AT + 0x8000);
    assert_int_equal(table[0x150] & 0x60, 0x20);
    assert_int_equal(table[0x151] & 0x60, 0x60);
    assert_int_equal(table[0x152] & 0x60, 0x60);
    assert_int_equal(table[0x153] & 0x60, 0);
}

GUEST(changing, 64,
      "mov $3, %ecx\n xor %ebx, %ebx\n 1: mov $1, %eax\n add %eax, %ebx\n"
      "incb 1b + 1 - guest_changing + 0x10000\n dec %ecx\n jnz 1b\n mov %ebx, %eax\n"
      "outl %eax, $0xf4\n hlt");

static void changed_code_is_executed_as_changed(void **state)
{
    Fixture *f = *state;
    CpuState cpu;
    long_state(f, &cpu);
    LOAD(f, changing);
    expect_exit(f, &cpu, 1 + 2 + 3);
}

GUEST(user, 64,
      "pushq $0x23\n pushq $0x18000\n pushq $2\n pushq $0x1b\n pushq $0x10100\n iretq\n"
      ".org 0x100 + guest_user\n mov $0x55, %eax\n int $0x80\n"
      ".org 0x200 + guest_user\n mov %cs, %ecx\n shl $8, %ecx\n or %ecx, %eax\n"
      "mov 8(%rsp), %ecx\n shl $16, %ecx\n or %ecx, %eax\n outl %eax, $0xf4\n hlt");

static void user_code_enters_the_kernel_by_an_interrupt(void **state)
{
    Fixture *f = *state;
    CpuState cpu;
    long_state(f, &cpu);
    set_gate(f, 0x80, CODE_AT + 0x200, true);
    LOAD(f, user);
    expect_exit(f, &cpu, 0x1b0855);
}

GUEST(syscall, 64,
      "mov $0xc0000081, %ecx\n xor %eax, %eax\n mov $0x00100008, %edx\n wrmsr\n"
      "mov $0xc0000082, %ecx\n mov $0x10200, %eax\n xor %edx, %edx\n wrmsr\n"
      "mov $0xc0000084, %ecx\n mov $0x200, %eax\n wrmsr\n"
      "mov $0x10100, %ecx\n mov $0x202, %r11d\n mov $0x18000, %esp\n sysretq\n"
      ".org 0x100 + guest_syscall\n syscall\n"
      ".org 0x200 + guest_syscall\n mov %cs, %eax\n shl $16, %eax\n or %ecx, %eax\n"
      "outl %eax, $0xf4\n hlt");

static void syscall_and_sysret_change_the_level(void **state)
{
    Fixture *f = *state;
    CpuState cpu;
    long_state(f, &cpu);
    LOAD(f, syscall);
    expect_exit(f, &cpu, 0x8 << 16 | 0x10102);
}

GUEST(
    vectors, 64,
    "mov $0x3ff00000, %eax\n shl $32, %rax\n movq %rax, %xmm1\n movddup %xmm1, %xmm1\n"
    "addpd %xmm1, %xmm1\n movapd %xmm1, 0x30000\n movapd 0x30000, %xmm9\n mulpd 0x30000, %xmm9\n"
    "cvtsd2si %xmm9, %eax\n fninit\n fildl 1f - guest_vectors + 0x10000\n fsqrt\n fistpl 0x30010\n"
    "mov 0x30010, %ecx\n shl $8, %ecx\n or %ecx, %eax\n popcnt %rax, %rcx\n shl $16, %ecx\n"
    "or %ecx, %eax\n outl %eax, $0xf4\n hlt\n 1: .long 144");

static void vector_and_x87_instructions_compute(void **state)
{
    Fixture *f = *state;
    CpuState cpu;
    long_state(f, &cpu);
    LOAD(f, vectors);
    expect_exit(f, &cpu, 0x030c04);
}

GUEST(device, 64,
      "mov $0xd0000000, %ebx\n movl $0x40, (%rbx)\n mov 8(%rbx), %eax\n lock addl $2, (%rbx)\n"
      "mov (%rbx), %ecx\n shl $8, %ecx\n or %ecx, %eax\n outl %eax, $0xf4\n hlt");

static void device_registers_are_read_and_written(void **state)
{
    Fixture *f = *state;
    CpuState cpu;
    long_state(f, &cpu);
    LOAD(f, device);
    expect_exit(f, &cpu, 0x4248);
}

GUEST(strings, 64,
      "cld\n mov $0x40ff0, %edi\n mov $0x1234, %eax\n mov $0x2000, %ecx\n rep stosw\n"
      "mov $0x40ff1, %esi\n mov $0x60003, %edi\n mov $0x3000, %ecx\n rep movsb\n"
      "std\n mov $0x62000, %edi\n mov $0x12, %al\n mov $-1, %rcx\n repne scasb\n cld\n"
      "mov %edi, %eax\n outl %eax, $0xf4\n hlt");

static void string_instructions_cross_pages(void **state)
{
    Fixture *f = *state;
    CpuState cpu;
    long_state(f, &cpu);
    LOAD(f, strings);
    expect_exit(f, &cpu, 0x61ffe);
    for (unsigned i = 0; i < 0x3000; i++) {
        assert_int_equal(f->ram->host[0x60003 + i], i % 2 ? 0x34 : 0x12);
    }
}

GUEST(steps, 64, "1: inc %eax\n inc %eax\n jmp 1b");

static void the_debugger_steps_and_breaks(void **state)
{
    Fixture *f = *state;
    CpuState cpu;
    DebugPoint point = { .kind = DEBUG_BREAKPOINT, .address = CODE_AT + 2, .length = 1 };
    long_state(f, &cpu);
    LOAD(f, steps);
    assert_int_equal(accel_xlate.vcpu_set_debug(f->vcpu[0], &point, 1, false), 0);
    assert_int_equal(run(f, &cpu), VCPU_EXIT_DEBUG);
    assert_int_equal(f->last.debug_address, CODE_AT + 2);
    accel_xlate.vcpu_run(f->vcpu[0], &f->last);
    accel_xlate.vcpu_get_state(f->vcpu[0], &cpu);
    assert_int_equal(cpu.gpr[CPU_RAX], 3);
    assert_int_equal(cpu.rip, CODE_AT + 2);
    assert_int_equal(accel_xlate.vcpu_set_debug(f->vcpu[0], NULL, 0, true), 0);
    accel_xlate.vcpu_run(f->vcpu[0], &f->last);
    assert_int_equal(f->last.reason, VCPU_EXIT_DEBUG);
    assert_int_equal(f->last.debug_address, CODE_AT + 4);
    assert_int_equal(accel_xlate.vcpu_set_debug(f->vcpu[0], NULL, 0, false), 0);
}

GUEST(watched, 64, "mov $0x30000, %ebx\n mov (%rbx), %eax\n movl $1, (%rbx)\n outl %eax, $0xf4");

static void a_watchpoint_stops_at_the_write(void **state)
{
    Fixture *f = *state;
    CpuState cpu;
    DebugPoint point = { .kind = DEBUG_WATCH_WRITE, .address = 0x30002, .length = 1 };
    long_state(f, &cpu);
    LOAD(f, watched);
    assert_int_equal(accel_xlate.vcpu_set_debug(f->vcpu[0], &point, 1, false), 0);
    assert_int_equal(run(f, &cpu), VCPU_EXIT_DEBUG);
    assert_true(f->last.debug_is_watchpoint);
    assert_int_equal(f->ram->host[0x30000], 1);
    assert_int_equal(accel_xlate.vcpu_set_debug(f->vcpu[0], NULL, 0, false), 0);
}

GUEST(trap, 64,
      "pushfq\n orl $0x100, (%rsp)\n popfq\n inc %ebx\n inc %ebx\n hlt\n"
      ".org 0x100 + guest_trap\n mov %dr6, %rax\n and $0x4000, %eax\n or %ebx, %eax\n"
      "outl %eax, $0xf4\n hlt");

static void the_trap_flag_traps_after_the_next_instruction(void **state)
{
    Fixture *f = *state;
    CpuState cpu;
    long_state(f, &cpu);
    set_gate(f, 1, CODE_AT + 0x100, true);
    LOAD(f, trap);
    expect_exit(f, &cpu, 0x4001);
}

GUEST(startup, 16, "mov %cs, %eax\n out %eax, $0xf5\n 1: hlt\n jmp 1b");

static void *run_second(void *opaque)
{
    Fixture *f = opaque;
    VcpuExit last;
    accel_xlate.vcpu_run(f->vcpu[1], &last);
    return NULL;
}

static void a_processor_starts_at_its_startup_vector(void **state)
{
    Fixture *f = *state;
    pthread_t thread;
    put(f, 0x9000, guest_startup, (size_t)(guest_startup_end - guest_startup));
    assert_int_equal(pthread_create(&thread, NULL, run_second, f), 0);
    accel_xlate.vcpu_request(f->vcpu[1], VCPU_REQUEST_INIT, 0);
    accel_xlate.vcpu_request(f->vcpu[1], VCPU_REQUEST_SIPI, 9);
    pthread_join(thread, NULL);
    assert_int_equal(f->exit_value[1], 0x900);
}

GUEST(counting, 64, "1: lock incl 0x30000\n loop 1b\n mov %eax, %eax\n outl %eax, %dx\n hlt");

static void locked_additions_of_two_processors_all_count(void **state)
{
    Fixture *f = *state;
    CpuState cpu;
    pthread_t thread;
    long_state(f, &cpu);
    LOAD(f, counting);
    put64(f, 0x30000, 0);
    cpu.gpr[CPU_RCX] = 100000;
    cpu.gpr[CPU_RDX] = EXIT_PORT + 1;
    assert_int_equal(accel_xlate.vcpu_set_state(f->vcpu[1], &cpu), 0);
    cpu.gpr[CPU_RDX] = EXIT_PORT;
    assert_int_equal(pthread_create(&thread, NULL, run_second, f), 0);
    assert_int_equal(run(f, &cpu), VCPU_EXIT_KICKED);
    pthread_join(thread, NULL);
    assert_int_equal(*(uint32_t *)(f->ram->host + 0x30000), 200000);
}

GUEST(crossing, 64, "1: lock incl 0x30ffe\n loop 1b\n mov %eax, %eax\n outl %eax, %dx\n hlt");

static void locked_additions_across_pages_all_count(void **state)
{
    Fixture *f = *state;
    CpuState cpu;
    pthread_t thread;
    long_state(f, &cpu);
    LOAD(f, crossing);
    put64(f, 0x30ffe, 0);
    cpu.gpr[CPU_RCX] = 2000;
    cpu.gpr[CPU_RDX] = EXIT_PORT + 1;
    assert_int_equal(accel_xlate.vcpu_set_state(f->vcpu[1], &cpu), 0);
    cpu.gpr[CPU_RDX] = EXIT_PORT;
    assert_int_equal(pthread_create(&thread, NULL, run_second, f), 0);
    assert_int_equal(run(f, &cpu), VCPU_EXIT_KICKED);
    pthread_join(thread, NULL);
    assert_memory_equal(f->ram->host + 0x30ffe, "\xa0\x0f\0\0", 4);
}

GUEST(halted, 64, "hlt\n mov $0x99, %eax\n outl %eax, $0xf4\n hlt");

static void *kick_first(void *opaque)
{
    Fixture *f = opaque;
    accel_xlate.vcpu_kick(f->vcpu[0]);
    return NULL;
}

static void a_kick_ends_the_wait_in_hlt(void **state)
{
    Fixture *f = *state;
    CpuState cpu;
    pthread_t thread;
    long_state(f, &cpu);
    LOAD(f, halted);
    assert_int_equal(accel_xlate.vcpu_set_state(f->vcpu[0], &cpu), 0);
    assert_int_equal(pthread_create(&thread, NULL, kick_first, f), 0);
    accel_xlate.vcpu_run(f->vcpu[0], &f->last);
    assert_int_equal(f->last.reason, VCPU_EXIT_KICKED);
    pthread_join(thread, NULL);
}

static void state_that_no_processor_has_is_refused(void **state)
{
    Fixture *f = *state;
    CpuState cpu;
    long_state(f, &cpu);
    cpu.cr4 = 0;
    assert_int_equal(accel_xlate.vcpu_set_state(f->vcpu[0], &cpu), -22);
    long_state(f, &cpu);
    cpu.efer |= UINT64_C(1) << 40;
    assert_int_equal(accel_xlate.vcpu_set_state(f->vcpu[0], &cpu), -22);
}

static void state_read_back_is_state_set(void **state)
{
    Fixture *f = *state;
    CpuState cpu, back;
    long_state(f, &cpu);
    for (unsigned i = 0; i < 16; i++) {
        cpu.gpr[i] = i * 0x1111;
    }
    cpu.xsave[160] = 7;
    assert_int_equal(accel_xlate.vcpu_set_state(f->vcpu[0], &cpu), 0);
    accel_xlate.vcpu_get_state(f->vcpu[0], &back);
    assert_memory_equal(back.gpr, cpu.gpr, sizeof(cpu.gpr));
    assert_int_equal(back.xsave[160], 7);
    assert_int_equal(back.cr3, cpu.cr3);
    assert_int_equal(back.segment[CPU_CS].attributes, cpu.segment[CPU_CS].attributes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(real_mode_moves_words, set_up, tear_down),
        cmocka_unit_test_setup_teardown(real_mode_interrupts_return, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_guest_goes_from_real_to_long_mode, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_page_fault_gives_address_and_error, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_fault_without_a_handler_is_a_shutdown, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_fault_in_a_page_fault_is_a_double_fault, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(accesses_set_accessed_and_dirty_bits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(changed_code_is_executed_as_changed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(user_code_enters_the_kernel_by_an_interrupt, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(syscall_and_sysret_change_the_level, set_up, tear_down),
        cmocka_unit_test_setup_teardown(vector_and_x87_instructions_compute, set_up, tear_down),
        cmocka_unit_test_setup_teardown(device_registers_are_read_and_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(string_instructions_cross_pages, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_debugger_steps_and_breaks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_watchpoint_stops_at_the_write, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_trap_flag_traps_after_the_next_instruction, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_processor_starts_at_its_startup_vector, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(locked_additions_of_two_processors_all_count, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(locked_additions_across_pages_all_count, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_kick_ends_the_wait_in_hlt, set_up, tear_down),
        cmocka_unit_test_setup_teardown(state_that_no_processor_has_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(state_read_back_is_state_set, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
