/* Running translated code: looking blocks up, linking, leaving, invalidation.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/translate.h"

#include "vmm/accel/xlate/bits.h"
#include "vmm/accel/xlate/fault.h"
#include "vmm/accel/xlate/interp.h"
#include "vmm/accel/xlate/jump-cache.h"
#include "vmm/accel/xlate/segment.h"
#include "vmm/accel/xlate/translator.h"
#include "vmm/accel/xlate/verify.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#define HWCAP2_FSGSBASE 2u

/* -- blocks -- */

/* False: not RAM. Raises #PF. */
static bool find_code(Vcpu *vcpu, uint64_t linear, MemPage *out)
{
    uint64_t t = (linear >> 12) + vcpu->tlb_context;
    unsigned i = t % TLB_ENTRIES;
    if (vcpu->tlb[i].fetch == t) {
        mem_page_at(vcpu, tlb_fetch_physical(vcpu, linear), out);
    } else {
        tlb_fill(vcpu, linear, MEM_FETCH, out);
    }
    return out->ram != NULL;
}

/* Marks a page so that writes to it are seen. */
static void watch_page(Vcpu *vcpu, RamBlock *ram, uint64_t offset)
{
    XlateVm *vm = vcpu->vm;
    vm_exclusive_begin(vm, vcpu);
    atomic_fetch_or(&ram->page_flags[offset >> 12], RAM_PAGE_CODE);
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        if (vm->vcpu[i]) {
            tlb_protect_page(vm->vcpu[i], ram->host + (offset & ~UINT64_C(0xfff)));
        }
    }
    vm_exclusive_end(vm, vcpu);
}

static void flush_cache(Vcpu *vcpu)
{
    JitVm *jit = vcpu->vm->jit;
    vm_exclusive_begin(vcpu->vm, vcpu);
    pthread_mutex_lock(&jit->lock);
    if (!code_cache_has_room(jit)) {
        code_cache_clear(jit);
    }
    pthread_mutex_unlock(&jit->lock);
    vm_exclusive_end(vcpu->vm, vcpu);
}

static bool is_watched(const MemPage *page)
{
    return atomic_load(&page->ram->page_flags[page->ram_offset >> 12]) & RAM_PAGE_CODE;
}

/* With jit->lock. */
static Block *translate_at(JitVm *jit, const MemPage *page, uint32_t mode)
{
    CodePage *code = code_cache_page(jit, page->ram, page->ram_offset);
    if (!code) {
        code = code_cache_add_page(jit, page->ram, page->ram_offset);
    }
    Block *block = translate_block(jit, code, page->ram_offset & 0xfff, mode);
    if (block) {
        verify_block(jit, block);
    }
    return block;
}

/* The translation of the code at rip, NULL: the interpreter must go on. May wait for exclusive
 * sections. Raises #PF. */
static Block *get_block(Vcpu *vcpu)
{
    JitVm *jit = vcpu->vm->jit;
    uint32_t mode = vcpu->mode & JIT_MODE_MASK;
    MemPage page;
    if ((mode & MODE_CS64) && !is_canonical(vcpu->rip)) {
        return NULL;
    }
    if (!find_code(vcpu, vcpu->rip, &page)) {
        return NULL;
    }
    for (unsigned tries = 0; tries < 3; tries++) {
        pthread_mutex_lock(&jit->lock);
        Block *block = code_cache_find(jit, page.ram, page.ram_offset, mode);
        bool has_room = code_cache_has_room(jit), watched = is_watched(&page);
        if (!block && has_room && watched) {
            block = translate_at(jit, &page, mode);
            pthread_mutex_unlock(&jit->lock);
            return block;
        }
        pthread_mutex_unlock(&jit->lock);
        if (block) {
            return block;
        }
        if (!has_room) {
            flush_cache(vcpu);
        }
        if (!watched) {
            watch_page(vcpu, page.ram, page.ram_offset);
        }
    }
    return NULL;
}

/* -- running -- */

bool jit_can_run(const Vcpu *vcpu)
{
    uint32_t mode = vcpu->mode;
    return vcpu->jit && (mode & MODE_FLAT) &&
           !(mode & (MODE_SINGLE_STEP | MODE_VM86 | MODE_ALIGN)) &&
           ((mode & MODE_CS64) || (mode & (MODE_CS32 | MODE_SS32)) == (MODE_CS32 | MODE_SS32));
}

static bool is_odd_segment(const CpuSegment *segment)
{
    unsigned wanted = SEGMENT_P | SEGMENT_S | 2, all = wanted | SEGMENT_UNUSABLE | 0xc;
    return segment->limit != 0xffffffff || (segment->attributes & all) != wanted;
}

/* What emitted code reads of state that only the interpreter changes. */
static void synchronize(Vcpu *vcpu)
{
    JitVm *vm = vcpu->vm->jit;
    JitVcpu *jit = vcpu->jit;
    if (jit->clears != vm->flushes) {
        jump_cache_clear(vcpu);
    }
    jump_cache_choose_key(vcpu);
    if (!(vcpu->mode & MODE_CS64)) {
        vcpu->segment_odd[0] = is_odd_segment(&vcpu->segment[CPU_FS]);
        vcpu->segment_odd[1] = is_odd_segment(&vcpu->segment[CPU_GS]);
    }
}

static bool may_go_on(const Vcpu *vcpu)
{
    return vcpu->run_state == CPU_RUN_RUNNABLE && !vcpu->shutdown && !vcpu->debug_stop &&
           !vcpu->failure && atomic_load_explicit(&vcpu->requests, memory_order_relaxed) == 0 &&
           jit_can_run(vcpu);
}

/* False: the host's signal came from a place that no guest instruction stands behind, a defect of
 * the translator; the guest's state cannot be told then. */
static bool find_faulting_rip(Vcpu *vcpu)
{
    JitVm *jit = vcpu->vm->jit;
    uint32_t guest = 0;
    pthread_mutex_lock(&jit->lock);
    bool found = code_cache_guest_position(jit, (uint32_t)vcpu->exit_info, &guest);
    pthread_mutex_unlock(&jit->lock);
    if (!found) {
        vcpu->failure = "a host fault in translated code has no guest instruction";
        return false;
    }
    vcpu->rip = vcpu->code_base + guest;
    jit->faults++;
    return true;
}

/* After a jump to an address that is not canonical: back to before the jump. */
static void undo_jump(Vcpu *vcpu)
{
    uint32_t from = (uint32_t)vcpu->jump_from;
    vcpu->rip = vcpu->code_base + (from & 0xfff);
    vcpu->gpr[CPU_RSP] -= from >> 12;
}

/* Runs one stretch of translated code, or one instruction by the interpreter. */
static void run_once(Vcpu *vcpu)
{
    JitVm *jit = vcpu->vm->jit;
    JitVcpu *own = vcpu->jit;
    /* Both are from the last exit; a link counts only if nothing was dropped since. */
    bool is_link = vcpu->exit_reason == JIT_EXIT_LINK, is_jump = vcpu->exit_reason == JIT_EXIT_JUMP;
    uint64_t info = vcpu->exit_info;
    vcpu->exit_reason = JIT_EXIT_POLL;
    Block *block = get_block(vcpu);
    if (!block) {
        vcpu->count.value[COUNT_NO_BLOCK]++;
        interp_one(vcpu);
        return;
    }
    uint64_t t = (vcpu->rip >> 12) + vcpu->tlb_context;
    jump_cache_note_page(vcpu, vcpu->tlb[t % TLB_ENTRIES].fetch == t &&
                                   (vcpu->fetch[t % TLB_ENTRIES].page & TLB_PAGE_GLOBAL));
    synchronize(vcpu);
    if (is_link && own->generation == jit->generation) {
        jump_cache_patch(jit, info, block);
    }
    if (is_jump) {
        jump_cache_enter(vcpu, vcpu->rip, block);
    }
    vcpu->code_base = vcpu->rip & ~UINT64_C(0xfff);
    jit->stubs.enter(vcpu, jit->exec + block->entry_direct);
    own->generation = jit->generation;
    vcpu->count.value[COUNT_EXIT_JUMP + vcpu->exit_reason]++;
    if (vcpu->exit_reason == JIT_EXIT_JUMP && (vcpu->mode & MODE_CS64) &&
        !is_canonical(vcpu->rip) && (int64_t)vcpu->jump_from != JIT_FROM_NOWHERE) {
        undo_jump(vcpu);
        vcpu->exit_reason = JIT_EXIT_INTERP;
    }
    if (vcpu->exit_reason == JIT_EXIT_FAULT) {
        vcpu->exit_reason = find_faulting_rip(vcpu) ? JIT_EXIT_INTERP : JIT_EXIT_POLL;
    }
    if (vcpu->exit_reason == JIT_EXIT_INTERP) {
        interp_one(vcpu);
    }
}

void jit_run(Vcpu *vcpu)
{
    jmp_buf here;
    jmp_buf *outer = vcpu->unwind;
    const JitVm *jit = vcpu->vm->jit;
    if (vcpu->interrupt_shadow) {
        /* Whatever is requested waits for the end of the shadow. */
        interp_run(vcpu, 1);
    }
    if (!may_go_on(vcpu)) {
        return;
    }
    fault_attach(vcpu, jit);
    vcpu->exit_reason = JIT_EXIT_POLL;
    vcpu->unwind = &here;
    if (setjmp(here) != 0) {
        /* Code cannot be fetched: the interpreter finds and delivers the same fault. */
        vcpu->unwind = outer;
        interp_one(vcpu);
        vcpu->unwind = &here;
    }
    while (may_go_on(vcpu)) {
        if (vcpu->interrupt_shadow) {
            interp_one(vcpu);
        } else {
            run_once(vcpu);
        }
    }
    vcpu->unwind = outer;
}

/* The arithmetic flags of translated code are in scratch[6]. */
static void take_flags(Vcpu *vcpu)
{
    vcpu->rflags = (vcpu->rflags & ~(uint64_t)JIT_FLAGS) | (vcpu->scratch[6] & JIT_FLAGS);
}

uint64_t jit_interpret(Vcpu *vcpu, uint64_t unused, uint64_t what)
{
    const JitVm *jit = vcpu->vm->jit;
    uint64_t generation = jit->generation, key = vcpu->jump_key;
    uint32_t mode = vcpu->mode & JIT_MODE_MASK;
    uint64_t mask = mode & MODE_CS64 ? UINT64_MAX : UINT32_MAX;
    uint64_t start = (vcpu->code_base + (what & 0xfff)) & mask;
    uint64_t next = (start + (what >> 12 & 15)) & mask;
    vcpu->count.value[COUNT_CALL_INTERP]++;
    vcpu->vector_away = 1;
    vcpu->exit_reason = JIT_EXIT_POLL;
    vcpu->jump_from = (uint64_t)JIT_FROM_NOWHERE;
    vcpu->rip = start;
    take_flags(vcpu);
    do {
        interp_one(vcpu);
    } while (vcpu->rip == start && !vcpu->interrupt_shadow && may_go_on(vcpu));
    vcpu->scratch[6] = vcpu->rflags & JIT_FLAGS;
    bool goes_on = (what & JIT_INTERPRET_MORE) && vcpu->rip == next;
    if (!may_go_on(vcpu) || jit->generation != generation) {
        return JIT_GO_EXIT;
    }
    if (vcpu->interrupt_shadow) {
        if (!goes_on) {
            return JIT_GO_EXIT;
        }
        /* Requests are not looked at before the next instruction is done. */
        vcpu->interrupt_shadow = 0;
    }
    synchronize(vcpu);
    goes_on &= mode == (vcpu->mode & JIT_MODE_MASK) && key == vcpu->jump_key;
    return goes_on ? JIT_GO_ON : JIT_GO_JUMP;
}

uint64_t jit_slow_access(Vcpu *vcpu, uint64_t linear, uint64_t what)
{
    jmp_buf here;
    jmp_buf *outer = vcpu->unwind;
    unsigned size = what & 0xff;
    MemAccess access = what >> 8 & 1 ? MEM_WRITE : MEM_READ;
    uint64_t t = (linear >> 12) + vcpu->tlb_context;
    uint64_t generation = ((const JitVm *)vcpu->vm->jit)->generation;
    MemPage page;
    if ((linear & 0xfff) + size <= 0x1000 && (!(vcpu->mode & MODE_CS64) || is_canonical(linear))) {
        vcpu->unwind = &here;
        if (setjmp(here) == 0) {
            tlb_fill(vcpu, linear, access, &page);
        }
        vcpu->unwind = outer;
        if (((const JitVm *)vcpu->vm->jit)->generation != generation) {
            /* Accessed bits were set in a page with code. */
            vcpu->rip = vcpu->code_base + (what >> 16);
            vcpu->exit_reason = JIT_EXIT_POLL;
            return JIT_GO_EXIT;
        }
        if (tlb_tag(vcpu, t, access) == t) {
            vcpu->count.value[access == MEM_WRITE ? COUNT_FILL_WRITE : COUNT_FILL_READ]++;
            return JIT_GO_ON;
        }
    }
    vcpu->count.value[COUNT_SLOW_ACCESS]++;
    return jit_interpret(vcpu, 0, JIT_INTERPRET(what >> 16, 0, false));
}

/* -- invalidation -- */

static bool has_code(JitVm *jit, RamBlock *ram, uint64_t offset, uint64_t length)
{
    bool found = false;
    pthread_mutex_lock(&jit->lock);
    for (uint64_t page = offset >> 12; page <= (offset + length - 1) >> 12 && !found; page++) {
        const CodePage *code = code_cache_page(jit, ram, page << 12);
        if (code) {
            uint64_t first = offset > page << 12 ? (offset & 0xfff) / 64 : 0;
            uint64_t end = offset + length - (page << 12);
            uint64_t last = end < 4096 ? (end - 1) / 64 : 63;
            found = code->chunks >> first << first << (63 - last) != 0;
        }
    }
    pthread_mutex_unlock(&jit->lock);
    return found;
}

void jit_invalidate(XlateVm *vm, RamBlock *ram, uint64_t offset, uint64_t length)
{
    JitVm *jit = vm->jit;
    if (!jit || length == 0 || !has_code(jit, ram, offset, length)) {
        return;
    }
    vm_exclusive_begin(vm, NULL);
    pthread_mutex_lock(&jit->lock);
    for (uint64_t page = offset >> 12; page <= (offset + length - 1) >> 12; page++) {
        CodePage *code = code_cache_page(jit, ram, page << 12);
        if (code) {
            code_cache_drop_page(jit, code);
            jit->invalidations++;
        }
    }
    pthread_mutex_unlock(&jit->lock);
    vm_exclusive_end(vm, NULL);
}

void jit_forget_all(XlateVm *vm)
{
    JitVm *jit = vm->jit;
    if (jit) {
        pthread_mutex_lock(&jit->lock);
        code_cache_clear(jit);
        pthread_mutex_unlock(&jit->lock);
    }
}

static void code_written(void *opaque, RamBlock *ram, uint64_t offset, uint64_t length)
{
    jit_invalidate(opaque, ram, offset, length);
}

/* -- life -- */

int jit_vm_init(XlateVm *vm, uint64_t cache_bytes)
{
    JitVm *jit = calloc(1, sizeof(*jit));
    if (!jit) {
        return -ENOMEM;
    }
    int error = code_cache_init(jit, cache_bytes);
    if (error) {
        free(jit);
        return error;
    }
    jit->is_verified = VERIFY_DEFAULT;
    __builtin_cpu_init();
    jit->has_bmi2 = __builtin_cpu_supports("bmi2") && !vm->host.without_bmi2;
    jit->has_avx = __builtin_cpu_supports("avx");
    jit->has_fsgsbase = (getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE) && !vm->host.without_fsgsbase;
    pthread_mutex_init(&jit->lock, NULL);
    trampoline_emit(jit);
    fault_init();
    vm->jit = jit;
    vm->host.memory->code_opaque = vm;
    vm->host.memory->code_written = code_written;
    return 0;
}

void jit_vm_done(XlateVm *vm)
{
    JitVm *jit = vm->jit;
    if (jit) {
        vm->host.memory->code_written = NULL;
        code_cache_clear(jit);
        code_cache_done(jit);
        pthread_mutex_destroy(&jit->lock);
        free(jit);
        vm->jit = NULL;
    }
}

int jit_vcpu_init(Vcpu *vcpu)
{
    if (!vcpu->vm->jit) {
        return 0;
    }
    vcpu->jit = calloc(1, sizeof(JitVcpu));
    if (!vcpu->jit || counters_init(&vcpu->count) != 0) {
        return -ENOMEM;
    }
    vcpu->page_mask = ~UINT64_C(0xfff);
    vcpu->index_mask = TLB_ENTRIES - 1;
    vcpu->high_mask = ~UINT64_C(0) << 47;
    vcpu->vector_away = 1;
    vcpu->jump_mask = JUMP_ENTRIES - 1;
    jump_cache_clear(vcpu);
    return 0;
}

void jit_vcpu_done(Vcpu *vcpu)
{
    fault_detach(vcpu);
    counters_done(&vcpu->count);
    free(vcpu->jit);
    vcpu->jit = NULL;
}

void jit_verify(XlateVm *vm)
{
    JitVm *jit = vm->jit;
    if (jit) {
        jit->is_verified = true;
    }
}

void jit_describe(XlateVm *vm, char *buf, unsigned size)
{
    JitVm *jit = vm->jit;
    if (!jit) {
        return;
    }
    XlateCounters sum;
    unsigned used = 0;
    if (counters_init(&sum) == 0) {
        for (unsigned i = 0; i < vm->vcpu_count; i++) {
            if (vm->vcpu[i]) {
                counters_add(&sum, &vm->vcpu[i]->count);
            }
        }
        used = counters_print(&sum, buf, size);
        counters_done(&sum);
    }
    pthread_mutex_lock(&jit->lock);
    snprintf(buf + used, size - used,
             "translations %llu\ninvalidations %llu\ncache-flushes %llu\nhost-faults %llu\n"
             "code-bytes %llu\n",
             (unsigned long long)jit->translations, (unsigned long long)jit->invalidations,
             (unsigned long long)jit->flushes, (unsigned long long)jit->faults,
             (unsigned long long)(jit->next - jit->write + (jit->next_cold - jit->cold)));
    pthread_mutex_unlock(&jit->lock);
}
