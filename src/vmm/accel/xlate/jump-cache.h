/* Cache of indirect jumps' targets, per vCPU: linear address to translation.
 *
 * An entry's tag is the address plus a key. A key stands for what the meaning of an address depends
 * on: the mode, and the address space (PCID). Flushing a space takes its keys away. The kernel's
 * code in global pages has keys that do not depend on the space, as in the processor's own TLB, and
 * keeps its entries over switches; they are given up as soon as the kernel runs code from a page
 * that is not global. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_ACCEL_XLATE_JUMP_CACHE_H
#define LODGE_VMM_ACCEL_XLATE_JUMP_CACHE_H

#include "vmm/accel/xlate/code-cache.h"

#define KEY_SLOTS 64u
#define PAGE_FILTER_BITS 16384u

/* The key for one address space and mode. */
typedef struct KeySlot {
    uint64_t key;
    uint32_t space, mode;
    bool used;
} KeySlot;

/* A global page that the kernel runs code from. */
typedef struct GlobalPage {
    uint64_t linear, physical;
    unsigned shift; /* of its size; 0: no entry */
} GlobalPage;

#define GLOBAL_PAGES 2048u /* slots; not all can be used */
#define GLOBAL_PAGE_TRIES 8u

/* The translator's part of a vCPU. */
typedef struct JitVcpu {
    KeySlot slot[KEY_SLOTS];
    uint64_t cr3;
    uint64_t context; /* what jump_key is for, if @key_valid */
    uint32_t mode;
    bool key_valid;
    bool kernel_is_local; /* the kernel's code is not only in global pages */
    bool has_unlisted;    /* some of them are not in @global */
    GlobalPage global[GLOBAL_PAGES];
    unsigned keys;                               /* handed out */
    uint64_t page_filter[PAGE_FILTER_BITS / 64]; /* pages of addresses in the cache, hashed */
    uint64_t clears;                             /* JitVm.flushes that the cache has seen */
    uint64_t generation;                         /* JitVm.generation at the last exit */
} JitVcpu;

/* Forgets everything. */
void jump_cache_clear(Vcpu *vcpu);

/* Makes vcpu->jump_key fit the present mode and address space; cheap if it does. */
void jump_cache_choose_key(Vcpu *vcpu);

/* Call before entering code at an address: whether its page is global decides about keys. */
void jump_cache_note_page(Vcpu *vcpu, bool is_global);

/* The key must be chosen. */
void jump_cache_enter(Vcpu *vcpu, uint64_t linear, const Block *block);

/**
 * jump_cache_find - look for the translation behind an address and enter it
 *
 * Called from translated code, with vector registers in use: knows only what needs no walk of page
 * tables and no translation. Returns: whether it is in the cache then.
 */
uint64_t jump_cache_find(Vcpu *vcpu, uint64_t linear);

/**
 * jump_cache_link - link a direct jump to the translation at its target
 * @linear: the target
 * @info: as in Vcpu.exit_info for JIT_EXIT_LINK
 *
 * Called as jump_cache_find(). Returns: host address to go on at, or 0.
 */
uint64_t jump_cache_link(Vcpu *vcpu, uint64_t linear, uint64_t info);

/* Patches the jump at @info to @block if both are in the same page of RAM. */
void jump_cache_patch(JitVm *jit, uint64_t info, const Block *block);

#endif
