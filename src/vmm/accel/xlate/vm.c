/* Machines and vCPUs of the translator: AccelOps, requests, exclusive sections.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/vm.h"

#include "base/clock.h"
#include "vmm/accel/xlate/bits.h"
#include "vmm/accel/xlate/cpuid-limits.h"
#include "vmm/accel/xlate/fpu.h"
#include "vmm/accel/xlate/interp.h"
#include "vmm/accel/xlate/msr.h"
#include "vmm/accel/xlate/softmmu.h"
#include "vmm/accel/xlate/tlb.h"
#include "vmm/accel/xlate/translate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <x86intrin.h>

#define VCPUS_MAX 1024u
#define PHYSICAL_BITS_DEFAULT 40
#define MOMENT_READINGS 16u
#define MEASURE_NS (2 * NS_PER_MS)

/* -- requests -- */

void cpu_request(Vcpu *vcpu, uint32_t requests)
{
    atomic_fetch_or(&vcpu->requests, requests);
    if (atomic_load(&vcpu->halted)) {
        pthread_mutex_lock(&vcpu->halt_lock);
        pthread_cond_signal(&vcpu->halt_cond);
        pthread_mutex_unlock(&vcpu->halt_lock);
    }
}

/* -- exclusive sections -- */

static bool is_owner(XlateVm *vm)
{
    return atomic_load(&vm->exclusive) && pthread_equal(vm->exclusive_owner, pthread_self());
}

void vm_code_enter(Vcpu *vcpu)
{
    XlateVm *vm = vcpu->vm;
    for (;;) {
        atomic_store(&vcpu->in_code, true);
        if (likely(!atomic_load(&vm->exclusive)) || is_owner(vm)) {
            return;
        }
        vm_code_leave(vcpu);
        pthread_mutex_lock(&vm->exclusive_lock);
        while (atomic_load(&vm->exclusive)) {
            pthread_cond_wait(&vm->exclusive_cond, &vm->exclusive_lock);
        }
        pthread_mutex_unlock(&vm->exclusive_lock);
    }
}

void vm_code_leave(Vcpu *vcpu)
{
    XlateVm *vm = vcpu->vm;
    atomic_store(&vcpu->in_code, false);
    if (unlikely(atomic_load(&vm->exclusive)) && !is_owner(vm)) {
        pthread_mutex_lock(&vm->exclusive_lock);
        pthread_cond_broadcast(&vm->exclusive_cond);
        pthread_mutex_unlock(&vm->exclusive_lock);
    }
}

/* The vCPU of this thread: code writes are announced without saying who made them. */
static Vcpu *find_self(XlateVm *vm)
{
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        Vcpu *vcpu = vm->vcpu[i];
        if (vcpu && atomic_load(&vcpu->in_code) && pthread_equal(vcpu->thread, pthread_self())) {
            return vcpu;
        }
    }
    return NULL;
}

static bool others_run(XlateVm *vm, const Vcpu *self)
{
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        Vcpu *vcpu = vm->vcpu[i];
        if (vcpu && vcpu != self && atomic_load(&vcpu->in_code)) {
            atomic_fetch_or(&vcpu->requests, REQUEST_SAFEPOINT);
            return true;
        }
    }
    return false;
}

void vm_exclusive_begin(XlateVm *vm, Vcpu *self)
{
    if (is_owner(vm)) {
        vm->exclusive_depth++;
        return;
    }
    self = self && atomic_load(&self->in_code) ? self : find_self(vm);
    if (self) {
        vm_code_leave(self);
    }
    pthread_mutex_lock(&vm->exclusive_lock);
    while (atomic_load(&vm->exclusive)) {
        pthread_cond_wait(&vm->exclusive_cond, &vm->exclusive_lock);
    }
    vm->exclusive_owner = pthread_self();
    vm->exclusive_depth = 1;
    vm->exclusive_vcpu = self;
    atomic_store(&vm->exclusive, true);
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        if (vm->vcpu[i] && vm->vcpu[i] != self) {
            atomic_fetch_or(&vm->vcpu[i]->requests, REQUEST_SAFEPOINT);
        }
    }
    while (others_run(vm, self)) {
        pthread_cond_wait(&vm->exclusive_cond, &vm->exclusive_lock);
    }
    pthread_mutex_unlock(&vm->exclusive_lock);
}

void vm_exclusive_end(XlateVm *vm, Vcpu *self)
{
    if (--vm->exclusive_depth > 0) {
        return;
    }
    self = vm->exclusive_vcpu;
    pthread_mutex_lock(&vm->exclusive_lock);
    if (self) {
        atomic_store(&self->in_code, true);
    }
    atomic_store(&vm->exclusive, false);
    pthread_cond_broadcast(&vm->exclusive_cond);
    pthread_mutex_unlock(&vm->exclusive_lock);
}

/* -- machines -- */

/* RAM moved: every cached translation may be stale. */
static void map_changed(void *opaque, const AddressEntry *entry, bool added)
{
    XlateVm *vm = opaque;
    vm_exclusive_begin(vm, NULL);
    if (!added) {
        jit_forget_all(vm);
    }
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        if (vm->vcpu[i]) {
            atomic_fetch_or(&vm->vcpu[i]->requests, REQUEST_FLUSH_TLB);
        }
    }
    vm_exclusive_end(vm, NULL);
}

/* One moment on two clocks. */
typedef struct Moment {
    int64_t ns;
    uint64_t tsc;
} Moment;

/* The best of some readings: between the two clocks of one the host may run something else. */
static Moment read_moment(void)
{
    Moment best = { 0 };
    uint64_t least = UINT64_MAX;
    for (unsigned i = 0; i < MOMENT_READINGS; i++) {
        uint64_t before = __rdtsc();
        int64_t ns = clock_monotonic_ns();
        uint64_t took = __rdtsc() - before;
        if (took < least) {
            least = took;
            best = (Moment){ ns, before + took / 2 };
        }
    }
    return best;
}

/* The frequency of the time-stamp counter since the VM was made, which is mostly long enough ago.
 */
static uint64_t measure_tsc_khz(const XlateVm *vm)
{
    Moment first = { -vm->clock_offset_ns, -vm->tsc_offset };
    Moment last;
    do {
        last = read_moment();
    } while (last.ns - first.ns < MEASURE_NS);
    return (uint64_t)((unsigned __int128)(last.tsc - first.tsc) * 1000000 /
                      (uint64_t)(last.ns - first.ns));
}

static uint64_t tsc_khz_of(const CpuidTable *cpuid)
{
    const CpuidLeaf *leaf = cpuid_table_find(cpuid, 0x40000010, 0);
    if (leaf && leaf->eax) {
        return leaf->eax;
    }
    leaf = cpuid_table_find(cpuid, 0x15, 0);
    if (leaf && leaf->eax && leaf->ebx && leaf->ecx) {
        return (uint64_t)leaf->ecx * leaf->ebx / leaf->eax / 1000;
    }
    return 0;
}

static Vm *xlate_vm_create(const AccelHost *host, char *message)
{
    XlateVm *vm = calloc(1, sizeof(*vm));
    if (!vm || host->vcpu_count == 0 || host->vcpu_count > VCPUS_MAX) {
        snprintf(message, 160, vm ? "bad number of vCPUs" : "out of memory");
        free(vm);
        return NULL;
    }
    vm->host = *host;
    vm->vcpu_count = host->vcpu_count;
    vm->vcpu = calloc(vm->vcpu_count, sizeof(*vm->vcpu));
    if (!vm->vcpu) {
        snprintf(message, 160, "out of memory");
        free(vm);
        return NULL;
    }
    pthread_mutex_init(&vm->exclusive_lock, NULL);
    pthread_cond_init(&vm->exclusive_cond, NULL);
    Moment start = read_moment();
    vm->clock_offset_ns = -start.ns;
    vm->tsc_offset = -start.tsc;
    if (!host->is_interpreted) {
        /* Without executable memory the guest runs all the same, slowly. */
        uint64_t bytes = host->code_cache_bytes ? host->code_cache_bytes : JIT_CACHE_BYTES_DEFAULT;
        vm->use_jit = jit_vm_init(vm, bytes) == 0;
    }
    address_map_set_listener(host->memory->map, map_changed, vm);
    return (Vm *)vm;
}

static void xlate_vm_destroy(Vm *opaque)
{
    XlateVm *vm = (XlateVm *)opaque;
    if (!vm) {
        return;
    }
    address_map_set_listener(vm->host.memory->map, NULL, NULL);
    jit_vm_done(vm);
    pthread_mutex_destroy(&vm->exclusive_lock);
    pthread_cond_destroy(&vm->exclusive_cond);
    free(vm->vcpu);
    free(vm);
}

/* -- vCPUs -- */

static uint64_t read_tsc(void *opaque)
{
    return guest_tsc(opaque);
}

static unsigned physical_bits_of(const CpuidTable *cpuid)
{
    const CpuidLeaf *leaf = cpuid_table_find(cpuid, 0x80000008, 0);
    unsigned bits = leaf ? leaf->eax & 0xff : PHYSICAL_BITS_DEFAULT;
    return bits < 32 || bits > 52 ? PHYSICAL_BITS_DEFAULT : bits;
}

static void free_vcpu(Vcpu *vcpu)
{
    jit_vcpu_done(vcpu);
    tlb_done(vcpu);
    interp_done(vcpu);
    native_done(vcpu);
    pthread_mutex_destroy(&vcpu->halt_lock);
    pthread_cond_destroy(&vcpu->halt_cond);
    free((void *)vcpu->cpuid);
    free(vcpu);
}

static Vcpu *xlate_vcpu_create(Vm *opaque, unsigned index, const CpuidTable *cpuid,
                               const LapicPort *lapic, char *message)
{
    XlateVm *vm = (XlateVm *)opaque;
    size_t bytes = (sizeof(Vcpu) + 63) & ~(size_t)63;
    Vcpu *vcpu = aligned_alloc(64, bytes);
    CpuidTable *table = malloc(sizeof(*table));
    if (!vcpu || !table) {
        free(vcpu);
        free(table);
        snprintf(message, 160, "out of memory");
        return NULL;
    }
    memset(vcpu, 0, bytes);
    *table = *cpuid;
    vcpu->vm = vm;
    vcpu->index = index;
    vcpu->cpuid = table;
    vcpu->physical_bits = physical_bits_of(cpuid);
    pthread_mutex_init(&vcpu->halt_lock, NULL);
    pthread_cond_init(&vcpu->halt_cond, NULL);
    if (!tlb_init(vcpu) || !interp_init(vcpu) || !native_init(vcpu) || jit_vcpu_init(vcpu) != 0) {
        free_vcpu(vcpu);
        snprintf(message, 160, "out of memory");
        return NULL;
    }
    if (vm->tsc_khz == 0) {
        vm->tsc_khz = tsc_khz_of(cpuid);
        vm->tsc_khz = vm->tsc_khz ? vm->tsc_khz : measure_tsc_khz(vm);
    }
    if (lapic) {
        vcpu->lapic_port = *lapic;
        vcpu->lapic = &vcpu->lapic_port;
        if (lapic->bind_tsc) {
            lapic->bind_tsc(lapic->lapic, read_tsc, vcpu, vm->tsc_khz * 1000);
        }
    }
    vcpu->tsc_offset = vm->tsc_offset;
    vcpu->msr_arch_capabilities = ARCH_CAPABILITIES;
    CpuState *state = malloc(sizeof(*state));
    if (!state) {
        free_vcpu(vcpu);
        snprintf(message, 160, "out of memory");
        return NULL;
    }
    cpu_state_reset(state, index == 0);
    msr_reset(vcpu);
    state_set(vcpu, state);
    free(state);
    vm->vcpu[index] = vcpu;
    return vcpu;
}

static void xlate_vcpu_destroy(Vcpu *vcpu)
{
    if (vcpu) {
        vcpu->vm->vcpu[vcpu->index] = NULL;
        free_vcpu(vcpu);
    }
}

static void xlate_vcpu_kick(Vcpu *vcpu)
{
    cpu_request(vcpu, REQUEST_KICK);
}

static void xlate_vcpu_request(Vcpu *vcpu, VcpuRequest request, uint8_t vector)
{
    switch (request) {
    case VCPU_REQUEST_INTERRUPT:
        cpu_request(vcpu, REQUEST_INTERRUPT);
        break;
    case VCPU_REQUEST_NMI:
        cpu_request(vcpu, REQUEST_NMI);
        break;
    case VCPU_REQUEST_INIT:
        cpu_request(vcpu, REQUEST_INIT);
        break;
    case VCPU_REQUEST_SIPI:
        atomic_store(&vcpu->sipi_vector, vector);
        cpu_request(vcpu, REQUEST_SIPI);
        break;
    }
}

static int xlate_vcpu_set_debug(Vcpu *vcpu, const DebugPoint *points, unsigned count,
                                bool single_step)
{
    if (count > DEBUG_POINTS_MAX) {
        return -ENOSPC;
    }
    if (count) {
        memcpy(vcpu->debug_point, points, count * sizeof(*points));
    }
    vcpu->debug_point_count = count;
    vcpu->debug_single_step = single_step;
    cpu_update_mode(vcpu);
    return 0;
}

static void xlate_describe(Vm *opaque, char *buf, unsigned size)
{
    XlateVm *vm = (XlateVm *)opaque;
    uint64_t instructions = 0;
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        instructions += vm->vcpu[i] ? vm->vcpu[i]->instructions : 0;
    }
    snprintf(buf, size, "interpreted-instructions %llu\ntsc-khz %llu\n",
             (unsigned long long)instructions, (unsigned long long)vm->tsc_khz);
    unsigned used = (unsigned)strlen(buf);
    jit_describe(vm, buf + used, size - used);
}

const AccelOps accel_xlate = {
    .name = "xlate",
    .summary = "binary translation, needs no hardware virtualization (also called tcg)",
    .cpuid_limits = xlate_cpuid_limits,
    .vm_create = xlate_vm_create,
    .vm_destroy = xlate_vm_destroy,
    .vcpu_create = xlate_vcpu_create,
    .vcpu_destroy = xlate_vcpu_destroy,
    .vcpu_run = vcpu_run,
    .vcpu_kick = xlate_vcpu_kick,
    .vcpu_request = xlate_vcpu_request,
    .vcpu_get_state = state_get,
    .vcpu_set_state = state_set,
    .vcpu_set_debug = xlate_vcpu_set_debug,
    .vcpu_translate = mem_translate_debug,
    .describe = xlate_describe,
};
