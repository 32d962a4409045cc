/* Translated code against the interpreter and against known results, in a machine that has only
 * RAM: 64-bit code under identity paging, and flat 32-bit code.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/check.h"

#include "vmm/accel/accel.h"
#include "vmm/accel/xlate/bits.h"
#include "vmm/accel/xlate/interp.h"
#include "vmm/accel/xlate/translate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RAM_BYTES (UINT64_C(4) << 20)
#define CODE 0x10000u
#define DATA 0x20000u
#define STACK 0x30000u
#define PML4 0x1000u

typedef struct Guest {
    GuestMemory memory;
    AddressMap *ports;
    RamBlock *ram;
    Vm *vm;
    Vcpu *vcpu;
    CpuState state;
} Guest;

static uint64_t no_region_read(void *opaque, const AddressMap *map, GuestAddr addr, unsigned size)
{
    return UINT64_MAX;
}

static void no_region_write(void *opaque, const AddressMap *map, GuestAddr addr, uint64_t value,
                            unsigned size)
{
}

static void put64(Guest *guest, uint64_t at, uint64_t value)
{
    memcpy(guest->ram->host + at, &value, 8);
}

static void make_page_tables(Guest *guest)
{
    put64(guest, PML4, 0x2000 | 7);
    put64(guest, 0x2000, 0x3000 | 7);
    put64(guest, 0x3000, 0x4000 | 7);
    put64(guest, 0x3008, 0x200000 | 0x87);
    for (unsigned i = 0; i < 512; i++) {
        put64(guest, 0x4000 + i * 8, i * 4096 | 7);
    }
}

static CpuSegment flat(uint16_t selector, uint16_t attributes)
{
    return (CpuSegment){ .limit = 0xffffffff, .selector = selector, .attributes = attributes };
}

static void guest_init(Guest *guest, bool is_64)
{
    memset(guest, 0, sizeof(*guest));
    char message[160];
    AddressMap *map = address_map_new(0), *ports = address_map_new(65536);
    guest->ram = ram_block_new("ram", RAM_BYTES);
    assert_non_null(map);
    assert_non_null(ports);
    assert_non_null(guest->ram);
    AddressEntry entry = { .size_bytes = RAM_BYTES, .ram = guest->ram };
    assert_int_equal(address_map_add(map, &entry, 0), 0);
    guest->memory.map = map;
    guest->ports = ports;
    AccelHost host = { .memory = &guest->memory,
                       .ports = ports,
                       .region_read = no_region_read,
                       .region_write = no_region_write,
                       .vcpu_count = 1 };
    CpuidTable cpuid = { .count = 0 };
    cpuid_table_append(&cpuid, &(CpuidLeaf){ .function = 0x40000010, .eax = 1000000 });
    guest->vm = accel_xlate.vm_create(&host, message);
    assert_non_null(guest->vm);
    jit_verify((XlateVm *)guest->vm);
    guest->vcpu = accel_xlate.vcpu_create(guest->vm, 0, &cpuid, NULL, message);
    assert_non_null(guest->vcpu);
    make_page_tables(guest);
    CpuState *state = &guest->state;
    accel_xlate.vcpu_get_state(guest->vcpu, state);
    uint16_t code = is_64 ? SEGMENT_G | SEGMENT_L | 0x9b : SEGMENT_G | SEGMENT_DB | 0x9b;
    state->segment[CPU_CS] = flat(0x10, code);
    for (unsigned i = 0; i < CPU_SEGMENTS; i++) {
        if (i != CPU_CS) {
            state->segment[i] = flat(0x18, SEGMENT_G | SEGMENT_DB | 0x93);
        }
    }
    state->cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_WP | (is_64 ? CR0_PG : 0);
    state->cr3 = PML4;
    state->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
    state->xcr0 = 7;
    state->efer = is_64 ? EFER_LME | EFER_LMA | EFER_SCE | EFER_NXE : 0;
    state->rip = CODE;
    state->gpr[CPU_RSP] = STACK;
    state->rflags = FLAG_FIXED;
}

static void guest_done(Guest *guest)
{
    accel_xlate.vcpu_destroy(guest->vcpu);
    accel_xlate.vm_destroy(guest->vm);
    address_map_free(guest->memory.map);
    address_map_free(guest->ports);
    ram_block_free(guest->ram);
}

/* Runs from CODE to a HLT; @code must end with one. */
static void guest_run(Guest *guest, const void *code, unsigned length, bool by_jit)
{
    memcpy(guest->ram->host + CODE, code, length);
    assert_int_equal(accel_xlate.vcpu_set_state(guest->vcpu, &guest->state), 0);
    atomic_store(&guest->vcpu->requests, 0);
    guest->vcpu->thread = pthread_self();
    vm_code_enter(guest->vcpu);
    for (unsigned i = 0;
         i < 200000 && guest->vcpu->run_state == CPU_RUN_RUNNABLE && !guest->vcpu->shutdown; i++) {
        if (by_jit) {
            assert_true(jit_can_run(guest->vcpu));
            jit_run(guest->vcpu);
        } else {
            interp_one(guest->vcpu);
        }
    }
    vm_code_leave(guest->vcpu);
    assert_false(guest->vcpu->shutdown);
    assert_int_equal(guest->vcpu->run_state, CPU_RUN_HALTED);
    accel_xlate.vcpu_get_state(guest->vcpu, &guest->state);
}

#define RUN(guest, code, by_jit) guest_run(guest, code, sizeof(code) - 1, by_jit)

static void loop_adds_up(void **unused)
{
    Guest guest;
    guest_init(&guest, true);
    /* xor eax,eax; mov ecx,1000; l: add rax,rcx; dec ecx; jnz l; hlt */
    static const char code[] = "\x31\xc0\xb9\xe8\x03\x00\x00\x48\x01\xc8\xff\xc9\x75\xf9\xf4";
    RUN(&guest, code, true);
    assert_int_equal(guest.state.gpr[CPU_RAX], 500500);
    guest_done(&guest);
}

static void memory_and_high_registers_work(void **unused)
{
    Guest guest;
    guest_init(&guest, true);
    /* mov r13d,0x20000; mov r14,0x1122334455667788; mov [r13+8],r14; add qword [r13+8],1;
     * mov r15,[r13+8]; push r15; pop rsi; call f; hlt; f: lea r14,[r15+r13]; ret */
    static const char code[] = "\x41\xbd\x00\x00\x02\x00"
                               "\x49\xbe\x88\x77\x66\x55\x44\x33\x22\x11"
                               "\x4d\x89\x75\x08"
                               "\x49\x83\x45\x08\x01"
                               "\x4d\x8b\x7d\x08"
                               "\x41\x57"
                               "\x5e"
                               "\xe8\x01\x00\x00\x00"
                               "\xf4"
                               "\x4f\x8d\x34\x2f"
                               "\xc3";
    RUN(&guest, code, true);
    assert_int_equal(guest.state.gpr[CPU_RSI], 0x1122334455667789);
    assert_int_equal(guest.state.gpr[14], 0x1122334455687789);
    assert_int_equal(guest.state.gpr[CPU_RSP], STACK);
    guest_done(&guest);
}

static void flags_survive_a_memory_access(void **unused)
{
    Guest guest;
    guest_init(&guest, true);
    /* mov ebx,0x20000; mov ecx,77; xor eax,eax; cmp eax,1 (CF); mov [rbx+rcx],rcx; mov
     * rdx,[rbx+rcx]; adc eax,0; setc..; hlt */
    static const char code[] = "\xbb\x00\x00\x02\x00\xb9\x4d\x00\x00\x00\x31\xc0\x83\xf8\x01"
                               "\x48\x89\x0c\x0b\x48\x8b\x14\x0b\x83\xd0\x00\xf4";
    RUN(&guest, code, true);
    assert_int_equal(guest.state.gpr[CPU_RAX], 1);
    assert_int_equal(guest.state.gpr[CPU_RDX], 77);
    assert_int_equal(guest.state.gpr[CPU_RCX], 77);
    guest_done(&guest);
}

static void vectors_stay_live_across_blocks(void **unused)
{
    Guest guest;
    guest_init(&guest, true);
    /* mov eax,5; movq xmm3,rax; jmp +0; paddq xmm3,xmm3; mov ebx,0x20000; movups [rbx],xmm3;
     * mov rcx,[rbx]; hlt */
    static const char code[] = "\xb8\x05\x00\x00\x00\x66\x48\x0f\x6e\xd8\xeb\x00"
                               "\x66\x0f\xd4\xdb\xbb\x00\x00\x02\x00\x0f\x11\x1b"
                               "\x48\x8b\x0b\xf4";
    RUN(&guest, code, true);
    assert_int_equal(guest.state.gpr[CPU_RCX], 10);
    assert_int_equal(guest.state.xsave[160 + 3 * 16], 10);
    guest_done(&guest);
}

static void code_that_changes_itself_is_seen(void **unused)
{
    Guest guest;
    guest_init(&guest, true);
    /* l: mov eax,1 (imm at CODE+1); cmp eax,2; je e; mov byte [CODE+1],2; jmp l; e: hlt */
    static const char code[] = "\xb8\x01\x00\x00\x00\x83\xf8\x02\x74\x0a"
                               "\xc6\x04\x25\x01\x00\x01\x00\x02\xeb\xec\xf4";
    RUN(&guest, code, true);
    assert_int_equal(guest.state.gpr[CPU_RAX], 2);
    guest_done(&guest);
}

static void page_crossing_access_works(void **unused)
{
    Guest guest;
    guest_init(&guest, true);
    /* mov ebx,0x20ffd; mov rax,0x1122334455667788; mov [rbx],rax; mov rcx,[rbx]; lock inc qword
     * [rbx]; hlt */
    static const char code[] = "\xbb\xfd\x0f\x02\x00\x48\xb8\x88\x77\x66\x55\x44\x33\x22\x11"
                               "\x48\x89\x03\x48\x8b\x0b\xf0\x48\xff\x03\xf4";
    RUN(&guest, code, true);
    assert_int_equal(guest.state.gpr[CPU_RCX], 0x1122334455667788);
    uint64_t value;
    memcpy(&value, guest.ram->host + 0x20ffd, 8);
    assert_int_equal(value, 0x1122334455667789);
    guest_done(&guest);
}

static void flat_32_bit_code_works(void **unused)
{
    Guest guest;
    guest_init(&guest, false);
    /* mov ecx,10; xor eax,eax; l: inc eax; push eax; pop ebx; mov [0x20000+ecx*4],ebx; dec ecx;
     * jnz l; call f; hlt; f: mov edx,[esp]; ret */
    static const char code[] = "\xb9\x0a\x00\x00\x00\x31\xc0\x40\x50\x5b"
                               "\x89\x1c\x8d\x00\x00\x02\x00\x49\x75\xf3"
                               "\xe8\x01\x00\x00\x00\xf4\x8b\x14\x24\xc3";
    RUN(&guest, code, true);
    assert_int_equal(guest.state.gpr[CPU_RBX], 10);
    assert_int_equal(guest.state.gpr[CPU_RDX], CODE + 25);
    assert_int_equal(guest.state.gpr[CPU_RSP], STACK);
    guest_done(&guest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loop_adds_up),
        cmocka_unit_test(memory_and_high_registers_work),
        cmocka_unit_test(flags_survive_a_memory_access),
        cmocka_unit_test(vectors_stay_live_across_blocks),
        cmocka_unit_test(code_that_changes_itself_is_seen),
        cmocka_unit_test(page_crossing_access_works),
        cmocka_unit_test(flat_32_bit_code_works),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
