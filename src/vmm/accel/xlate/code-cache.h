/* Translated blocks of a VM: host code memory, look-up by page of RAM, invalidation.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_ACCEL_XLATE_CODE_CACHE_H
#define LODGE_VMM_ACCEL_XLATE_CODE_CACHE_H

#include "vmm/accel/xlate/cpu.h"
#include "vmm/accel/xlate/decode.h"
#include "vmm/accel/xlate/emit.h"
#include "vmm/accel/xlate/softmmu.h"

#define BLOCK_INSNS_MAX 48
#define BLOCK_BYTES_MAX 32768 /* of host code; see translate.c */

#define CODE_BLOCK_BITS 18
#define CODE_BLOCK_BUCKETS (1u << CODE_BLOCK_BITS)
#define CODE_PAGE_BUCKETS 16384u

/* What of Vcpu.mode a translation depends on. */
#define JIT_MODE_MASK                                                                              \
    (MODE_CS64 | MODE_CS32 | MODE_SS32 | MODE_FLAT | MODE_FPU_OFF | MODE_SSE_OFF | MODE_AVX_OFF |  \
     MODE_IOPL)

typedef struct CodePage CodePage;

typedef struct Block {
    struct Block *hash_next, *page_next;
    CodePage *page;
    uint32_t mode;   /* & JIT_MODE_MASK */
    uint16_t offset; /* of the first instruction in the page */
    uint16_t length; /* guest bytes */
    /* Offsets in the code memory; each entry runs into the next. */
    uint32_t entry_jump;     /* from an indirect jump: checks the address, then .. */
    uint32_t entry_poll;     /* .. checks for requests, then .. */
    uint32_t entry_direct;   /* .. runs the block */
    uint32_t end;            /* of its code */
    uint32_t cold, cold_end; /* what it seldom needs */
} Block;

/* A page of RAM that code was translated from. */
struct CodePage {
    CodePage *hash_next;
    RamBlock *ram;
    uint64_t ram_page; /* offset in @ram / 4096; vCPUs keep pointers to pages and look at these
                          two fields again */
    Block *blocks;
    uint64_t chunks; /* one bit for each 64 bytes that a translation depends on */
};

/* Host position to guest position, for host faults. */
typedef struct CodeSite {
    uint32_t host;  /* offset in the code memory */
    uint32_t guest; /* offset in the guest page */
} CodeSite;

/* Common pieces of code, positions in the executable mapping or offsets as noted. */
typedef struct JitStubs {
    void (*enter)(Vcpu *vcpu, const void *code);
    /* Offsets in the code memory. */
    uint32_t exit_jump;   /* r15: linear address of the target */
    uint32_t exit_link;   /* r14: rip, r15: which jump to patch */
    uint32_t exit_interp; /* r14: rip */
    uint32_t exit_poll;   /* r14: rip */
    uint32_t exit_fault;  /* exit_info: host position */
    uint32_t slow;        /* call; r15: linear address, r14: JIT_SLOW() */
    uint32_t interpret;   /* call; r14: JIT_INTERPRET() */
    uint32_t vector_load; /* call */
    uint32_t end;
} JitStubs;

typedef struct JitVm {
    pthread_mutex_t lock; /* all below but what is constant after init; never held while waiting for
                             an exclusive section */
    uint8_t *write;       /* writable mapping */
    const uint8_t *exec;  /* executable mapping of the same memory */
    uint64_t bytes;
    bool has_bmi2, has_avx, has_fsgsbase;
    bool is_verified; /* see verify.h */
    JitStubs stubs;

    /* In @write. Code that seldom runs lies apart, so that the rest fills pages and cache lines. */
    uint8_t *next, *next_cold;
    uint8_t *cold; /* where that part begins */
    /* Grows whenever blocks vanish; whoever holds a Block across an exclusive section looks it up
     * again if this changed. */
    uint64_t generation;
    Block *block;
    unsigned block_count, block_limit;
    CodePage *page;
    CodePage *page_free;
    unsigned page_count, page_limit;
    CodeSite *site;
    unsigned site_count, site_limit;
    Block **block_hash;
    CodePage **page_hash;

    uint64_t translations, invalidations, flushes, faults; /* statistics */
} JitVm;

/* Returns 0 or -errno; on failure nothing is left behind. */
int code_cache_init(JitVm *jit, uint64_t bytes) LODGE_MUST_CHECK;
void code_cache_done(JitVm *jit);

static inline unsigned code_page_bucket(const RamBlock *ram, uint64_t ram_page)
{
    return (unsigned)((ram_page ^ (uintptr_t)ram >> 6) % CODE_PAGE_BUCKETS);
}

static inline unsigned code_block_bucket(const CodePage *page, unsigned offset)
{
    uint64_t key = (uintptr_t)page >> 4 ^ (uint64_t)offset << 40;
    return (unsigned)(key * UINT64_C(0x9e3779b97f4a7c15) >> (64 - CODE_BLOCK_BITS));
}

/* Look-ups: under jit->lock, or on a vCPU's thread inside guest code, as nothing vanishes but in
 * exclusive sections. */
static inline CodePage *code_cache_page(const JitVm *jit, const RamBlock *ram, uint64_t ram_offset)
{
    uint64_t ram_page = ram_offset >> 12;
    CodePage *page =
        __atomic_load_n(&jit->page_hash[code_page_bucket(ram, ram_page)], __ATOMIC_ACQUIRE);
    while (page && (page->ram != ram || page->ram_page != ram_page)) {
        page = page->hash_next;
    }
    return page;
}

static inline Block *code_page_find(const JitVm *jit, const CodePage *page, unsigned offset,
                                    uint32_t mode)
{
    Block *block =
        __atomic_load_n(&jit->block_hash[code_block_bucket(page, offset)], __ATOMIC_ACQUIRE);
    while (block && (block->page != page || block->offset != offset || block->mode != mode)) {
        block = block->hash_next;
    }
    return block;
}

static inline Block *code_cache_find(const JitVm *jit, const RamBlock *ram, uint64_t ram_offset,
                                     uint32_t mode)
{
    const CodePage *page = code_cache_page(jit, ram, ram_offset);
    return page ? code_page_find(jit, page, ram_offset & 0xfff, mode) : NULL;
}

/* The others: under jit->lock. NULL: full. */
CodePage *code_cache_add_page(JitVm *jit, RamBlock *ram, uint64_t ram_offset) LODGE_MUST_CHECK;
/* Whether there is room for one more block and page. */
bool code_cache_has_room(const JitVm *jit);
/* A block to be filled in, then entered with code_cache_insert(). */
Block *code_cache_new_block(JitVm *jit);
void code_cache_insert(JitVm *jit, Block *block);
/* False: none. @guest: offset in the page. */
bool code_cache_guest_position(const JitVm *jit, uint32_t host, uint32_t *out_guest);

/* Also with all vCPUs stopped: removes all blocks of a page, or everything. */
void code_cache_drop_page(JitVm *jit, CodePage *page);
void code_cache_clear(JitVm *jit);

#endif
