/* Cache of indirect jumps' targets, and what translated code calls to find targets. Compiled
 * without vector instructions, as the guest's vector state may be in the registers.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/jump-cache.h"

#include "vmm/accel/xlate/bits.h"
#include "vmm/accel/xlate/paging.h"
#include "vmm/accel/xlate/trampoline.h"
#include "vmm/accel/xlate/translate.h"

#include <string.h>

#define KEY_SHIFT 48 /* addresses are 48 bits, sign-extended: keys do not meet */
#define KEYS_MAX 65535u
#define SPACE_KERNEL 0x10000u /* global pages */
#define SPACE_LOCAL 0x20000u  /* with a PCID: the kernel's other pages */
#define SPACE_PCID 0xfffu

void jump_cache_clear(Vcpu *vcpu)
{
    const JitVm *vm = vcpu->vm->jit;
    JitVcpu *jit = vcpu->jit;
    uint64_t nowhere = (uintptr_t)vm->exec + vm->stubs.exit_jump;
    vcpu->count.value[COUNT_JUMPS_CLEARED]++;
    for (unsigned i = 0; i < JUMP_ENTRIES; i++) {
        vcpu->jump[i] = (JumpEntry){ 0, nowhere };
    }
    memset(jit->page_filter, 0, sizeof(jit->page_filter));
    jit->keys = 0;
    jit->clears = vm->flushes;
    jit_flush_jumps(vcpu);
}

void jit_flush_jumps(Vcpu *vcpu)
{
    JitVcpu *jit = vcpu->jit;
    if (jit) {
        vcpu->count.value[COUNT_JUMPS_FLUSHED]++;
        memset(jit->slot, 0, sizeof(jit->slot));
        memset(jit->global, 0, sizeof(jit->global));
        jit->key_valid = false;
        jit->kernel_is_local = jit->has_unlisted = false;
    }
}

/* Whether the kernel's code is where it was. */
static bool kernel_is_unmoved(Vcpu *vcpu)
{
    const JitVcpu *jit = vcpu->jit;
    if (jit->kernel_is_local || jit->has_unlisted) {
        return false;
    }
    for (unsigned i = 0; i < GLOBAL_PAGES; i++) {
        const GlobalPage *page = &jit->global[i];
        PageWalk walk;
        if (page->shift != 0 &&
            (!page_walk(vcpu, page->linear, MEM_FETCH, TLB_MODE_SUPERVISOR, false, &walk) ||
             !walk.is_global || walk.physical != page->physical || walk.page_shift < page->shift)) {
            return false;
        }
    }
    return true;
}

void jit_recheck_jumps(Vcpu *vcpu)
{
    JitVcpu *jit = vcpu->jit;
    if (!jit) {
        return;
    }
    if (!kernel_is_unmoved(vcpu)) {
        jit_flush_jumps(vcpu);
        return;
    }
    vcpu->count.value[COUNT_JUMPS_RECHECKED]++;
    for (unsigned i = 0; i < KEY_SLOTS; i++) {
        jit->slot[i].used &= jit->slot[i].space == SPACE_KERNEL;
    }
    jit->key_valid = false;
}

void jit_note_global_code(Vcpu *vcpu, uint64_t linear, uint64_t physical, unsigned shift)
{
    JitVcpu *jit = vcpu->jit;
    uint64_t offset_mask = (UINT64_C(1) << shift) - 1, base = linear & ~offset_mask;
    if (!jit) {
        return;
    }
    for (unsigned i = 0; i < GLOBAL_PAGE_TRIES; i++) {
        uint64_t hash = base * UINT64_C(0x9e3779b97f4a7c15) >> 32;
        GlobalPage *page = &jit->global[(hash + i) % GLOBAL_PAGES];
        if (page->shift == 0 || page->linear == base) {
            *page = (GlobalPage){ base, physical & ~offset_mask, shift };
            return;
        }
    }
    jit->has_unlisted = true;
}

void jit_flush_jumps_space(Vcpu *vcpu, unsigned pcid)
{
    JitVcpu *jit = vcpu->jit;
    if (!jit) {
        return;
    }
    vcpu->count.value[COUNT_JUMPS_FLUSHED]++;
    for (unsigned i = 0; i < KEY_SLOTS; i++) {
        uint32_t space = jit->slot[i].space;
        if (space != SPACE_KERNEL && (space & SPACE_PCID) == pcid) {
            jit->slot[i].used = false;
        }
    }
    jit->key_valid = false;
}

/* Without the key, and what distinguishes the halves of the address space. */
static uint64_t page_of(uint64_t linear)
{
    return linear << 16 >> 28;
}

static unsigned page_bit(uint64_t linear)
{
    uint64_t page = linear >> 12;
    return (unsigned)((page ^ page >> 14) % PAGE_FILTER_BITS);
}

void jit_flush_jumps_page(Vcpu *vcpu, uint64_t linear)
{
    const JitVm *vm = vcpu->vm->jit;
    const JitVcpu *jit = vcpu->jit;
    unsigned bit = page_bit(linear);
    if (!jit || !(jit->page_filter[bit / 64] >> bit % 64 & 1)) {
        return;
    }
    vcpu->count.value[COUNT_JUMPS_SEARCHED]++;
    uint64_t nowhere = (uintptr_t)vm->exec + vm->stubs.exit_jump;
    for (unsigned i = 0; i < JUMP_ENTRIES; i++) {
        if (page_of(-vcpu->jump[i].tag) == page_of(linear)) {
            vcpu->jump[i] = (JumpEntry){ 0, nowhere };
        }
    }
}

static uint32_t present_space(const Vcpu *vcpu)
{
    const JitVcpu *jit = vcpu->jit;
    uint32_t pcid = vcpu->cr4 & CR4_PCIDE ? vcpu->cr3 & SPACE_PCID : 0;
    if (vcpu->mode & MODE_USER) {
        return pcid;
    }
    return jit->kernel_is_local || !(vcpu->cr0 & CR0_PG) ? pcid | SPACE_LOCAL : SPACE_KERNEL;
}

static bool key_fits(const Vcpu *vcpu)
{
    const JitVcpu *jit = vcpu->jit;
    return jit->key_valid && jit->context == vcpu->tlb_context && jit->cr3 == vcpu->cr3 &&
           jit->mode == (vcpu->mode & JIT_MODE_MASK);
}

void jump_cache_choose_key(Vcpu *vcpu)
{
    JitVcpu *jit = vcpu->jit;
    if (key_fits(vcpu)) {
        return;
    }
    uint32_t mode = vcpu->mode & JIT_MODE_MASK, space = present_space(vcpu);
    KeySlot *slot = &jit->slot[(space * 0x9e3779b1u ^ mode * 0x85ebca6bu) >> 26];
    if (!slot->used || slot->space != space || slot->mode != mode) {
        if (jit->keys == KEYS_MAX) {
            jump_cache_clear(vcpu);
            space = present_space(vcpu);
        }
        *slot = (KeySlot){ (uint64_t)++jit->keys << KEY_SHIFT, space, mode, true };
    }
    vcpu->jump_key = slot->key;
    jit->context = vcpu->tlb_context;
    jit->cr3 = vcpu->cr3;
    jit->mode = mode;
    jit->key_valid = true;
}

void jump_cache_note_page(Vcpu *vcpu, bool is_global)
{
    JitVcpu *jit = vcpu->jit;
    if (!is_global && !(vcpu->mode & MODE_USER) && !jit->kernel_is_local) {
        jit_flush_jumps(vcpu);
        jit->kernel_is_local = true;
    }
}

/* Same as the code of trampoline_emit_jump(). */
static unsigned jump_index(const JitVm *jit, uint64_t address)
{
    if (!jit->has_bmi2) {
        return address & 0xff;
    }
    return (unsigned)(address + (address >> JUMP_BITS | address << (64 - JUMP_BITS))) %
           JUMP_ENTRIES;
}

void jump_cache_enter(Vcpu *vcpu, uint64_t linear, const Block *block)
{
    const JitVm *vm = vcpu->vm->jit;
    JitVcpu *jit = vcpu->jit;
    unsigned i = jump_index(vm, linear), bit = page_bit(linear);
    vcpu->jump[i] =
        (JumpEntry){ -(linear + vcpu->jump_key), (uintptr_t)vm->exec + block->entry_jump };
    jit->page_filter[bit / 64] |= UINT64_C(1) << bit % 64;
}

static bool is_page(const CodePage *page, const FetchEntry *fetch)
{
    return page->ram == fetch->ram && page->ram_page == fetch->offset >> 12;
}

/* The block at an address whose page is in the TLB, if there is one. */
static const Block *find_known(Vcpu *vcpu, uint64_t linear)
{
    const JitVm *vm = vcpu->vm->jit;
    const JitVcpu *jit = vcpu->jit;
    uint64_t t = (linear >> 12) + vcpu->tlb_context;
    unsigned i = t % TLB_ENTRIES;
    if (vcpu->tlb[i].fetch != t || !key_fits(vcpu)) {
        return NULL;
    }
    FetchEntry *fetch = &vcpu->fetch[i];
    if (!(fetch->page & TLB_PAGE_GLOBAL) && !(vcpu->mode & MODE_USER) && !jit->kernel_is_local) {
        return NULL;
    }
    const CodePage *page = fetch->code;
    if (!page || !is_page(page, fetch)) {
        page = code_cache_page(vm, fetch->ram, fetch->offset);
        fetch->code = page;
    }
    const Block *block =
        page ? code_page_find(vm, page, linear & 0xfff, vcpu->mode & JIT_MODE_MASK) : NULL;
    /* Another vCPU may be about to use the CodePage anew; then it did so before the block. */
    return block && is_page(page, fetch) ? block : NULL;
}

uint64_t jump_cache_find(Vcpu *vcpu, uint64_t linear)
{
    const Block *block = find_known(vcpu, linear);
    if (!block) {
        return false;
    }
    vcpu->count.value[COUNT_JUMPS_FOUND]++;
    jump_cache_enter(vcpu, linear, block);
    return true;
}

void jump_cache_patch(JitVm *jit, uint64_t info, const Block *block)
{
    uint32_t site = (uint32_t)info & (uint32_t)~JIT_LINK_BACK;
    uint32_t entry = info & JIT_LINK_BACK ? block->entry_poll : block->entry_direct;
    if (block->page == &jit->page[info >> JIT_LINK_PAGE_SHIFT]) {
        __atomic_store_n((uint32_t *)(void *)(jit->write + site), entry - (site + 4),
                         __ATOMIC_RELEASE);
    }
}

uint64_t jump_cache_link(Vcpu *vcpu, uint64_t linear, uint64_t info)
{
    JitVm *vm = vcpu->vm->jit;
    const Block *block = find_known(vcpu, linear);
    if (!block) {
        return 0;
    }
    vcpu->count.value[COUNT_LINKED]++;
    jump_cache_patch(vm, info, block);
    return (uintptr_t)vm->exec + block->entry_poll;
}
