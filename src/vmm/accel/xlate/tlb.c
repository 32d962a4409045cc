/* Software TLB: contexts, flushing.
 *
 * An address space (PCID) owns up to three contexts, one for each kind of rights. Flushing a space
 * takes its contexts away; new ones are handed out until all are used up, and then everything is
 * cleared. INVLPG has to find the entries of a large page that were entered for each 4 KiB piece:
 * hashed bitmaps say whether an address may lie in a large page, and then all is flushed.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/tlb.h"

#include "vmm/accel/xlate/bits.h"
#include "vmm/accel/xlate/softmmu.h"
#include "vmm/accel/xlate/translate.h"

#include <stdlib.h>
#include <string.h>

#define SPACES 16
/* Context id of the supervisor where it cannot reach user pages, in all spaces: nearly all that it
 * can reach are global pages, which a switch of the space does not change. The entries of others
 * are listed, and vanish with a switch. Ids of other contexts follow. */
#define ID_GLOBAL 1
#define LOCAL_ENTRIES_MAX 1024u
#define LARGE_HASH_BITS 12
#define LARGE_HASH_WORDS ((1u << LARGE_HASH_BITS) / 64)

typedef struct TlbSpace {
    bool used;
    uint16_t pcid;
    uint16_t id[TLB_MODES]; /* context ids, 0: none yet */
} TlbSpace;

struct TlbSpaces {
    TlbSpace space[SPACES];
    unsigned current, next_victim;
    bool kernel_is_local;              /* its pages are not global: no use of ID_GLOBAL */
    unsigned local_count;              /* entries under ID_GLOBAL of pages that are not global .. */
    uint64_t local[LOCAL_ENTRIES_MAX]; /* .. t .. */
    uint64_t local_cr3;                /* .. and the space that they are of */
    unsigned next_id;                  /* 1..TLB_CONTEXTS */
    uint64_t large_2m[LARGE_HASH_WORDS]; /* by hash of linear >> 21 */
    uint64_t large_1g[LARGE_HASH_WORDS]; /* by hash of linear >> 30 */
};

bool tlb_init(Vcpu *vcpu)
{
    vcpu->spaces = calloc(1, sizeof(*vcpu->spaces));
    if (!vcpu->spaces) {
        return false;
    }
    tlb_flush(vcpu);
    return true;
}

void tlb_done(Vcpu *vcpu)
{
    free(vcpu->spaces);
    vcpu->spaces = NULL;
}

static unsigned hash(uint64_t page)
{
    return (page ^ page >> LARGE_HASH_BITS) & ((1u << LARGE_HASH_BITS) - 1);
}

static void set_bit(uint64_t *words, uint64_t page)
{
    words[hash(page) / 64] |= UINT64_C(1) << hash(page) % 64;
}

static bool has_bit(const uint64_t *words, uint64_t page)
{
    return words[hash(page) / 64] >> hash(page) % 64 & 1;
}

void tlb_note_large_page(Vcpu *vcpu, uint64_t linear, unsigned page_shift)
{
    if (page_shift == 30) {
        set_bit(vcpu->spaces->large_1g, linear >> 30);
    } else if (page_shift > 12) {
        set_bit(vcpu->spaces->large_2m, linear >> 21);
    }
}

static unsigned present_pcid(const Vcpu *vcpu)
{
    return vcpu->cr4 & CR4_PCIDE ? vcpu->cr3 & 0xfff : 0;
}

static TlbSpace *space_of(TlbSpaces *spaces, unsigned pcid)
{
    TlbSpace *current = &spaces->space[spaces->current];
    if (current->used && current->pcid == pcid) {
        return current;
    }
    for (unsigned i = 0; i < SPACES; i++) {
        if (spaces->space[i].used && spaces->space[i].pcid == pcid) {
            spaces->current = i;
            return &spaces->space[i];
        }
    }
    spaces->current = spaces->next_victim++ % SPACES;
    current = &spaces->space[spaces->current];
    *current = (TlbSpace){ .used = true, .pcid = (uint16_t)pcid };
    return current;
}

static void clear_all(Vcpu *vcpu)
{
    memset(vcpu->tlb, 0xff, sizeof(vcpu->tlb));
    bool is_local = vcpu->spaces->kernel_is_local;
    memset(vcpu->spaces, 0, sizeof(*vcpu->spaces));
    vcpu->spaces->kernel_is_local = is_local;
    vcpu->spaces->next_id = ID_GLOBAL + 1;
    vcpu->fetch_tag = TLB_INVALID;
}

static void forget(Vcpu *vcpu, uint64_t t)
{
    TlbEntry *entry = &vcpu->tlb[t % TLB_ENTRIES];
    entry->read = entry->read == t ? TLB_INVALID : entry->read;
    entry->write = entry->write == t ? TLB_INVALID : entry->write;
    entry->fetch = entry->fetch == t ? TLB_INVALID : entry->fetch;
}

static void forget_local(Vcpu *vcpu)
{
    TlbSpaces *spaces = vcpu->spaces;
    if (spaces->local_count > 0) {
        for (unsigned i = 0; i < spaces->local_count; i++) {
            forget(vcpu, spaces->local[i]);
        }
        spaces->local_count = 0;
        vcpu->fetch_tag = TLB_INVALID;
    }
}

static bool is_global_context(const Vcpu *vcpu, unsigned tlb_mode)
{
    return tlb_mode == TLB_MODE_SUPERVISOR && (vcpu->cr4 & CR4_PGE) && (vcpu->cr4 & CR4_SMAP) &&
           (vcpu->cr0 & CR0_PG) && !vcpu->spaces->kernel_is_local;
}

static unsigned context_id(Vcpu *vcpu, unsigned tlb_mode)
{
    if (is_global_context(vcpu, tlb_mode)) {
        if (unlikely(vcpu->spaces->local_cr3 != vcpu->cr3)) {
            forget_local(vcpu);
        }
        return ID_GLOBAL;
    }
    TlbSpace *space = space_of(vcpu->spaces, present_pcid(vcpu));
    if (space->id[tlb_mode] == 0) {
        if (vcpu->spaces->next_id == TLB_CONTEXTS) {
            clear_all(vcpu);
            jit_recheck_jumps(vcpu);
            space = space_of(vcpu->spaces, present_pcid(vcpu));
        }
        space->id[tlb_mode] = (uint16_t)vcpu->spaces->next_id++;
    }
    return space->id[tlb_mode];
}

void tlb_use_mode(Vcpu *vcpu, unsigned tlb_mode)
{
    vcpu->tlb_context = context_id(vcpu, tlb_mode) * TLB_CONTEXT_STEP;
    vcpu->tlb_index = vcpu->tlb_context * 4;
    vcpu->access_mode = (uint8_t)tlb_mode;
}

void tlb_note_local(Vcpu *vcpu, uint64_t linear)
{
    TlbSpaces *spaces = vcpu->spaces;
    if (vcpu->tlb_context != ID_GLOBAL * TLB_CONTEXT_STEP) {
        return;
    }
    if (spaces->local_count == LOCAL_ENTRIES_MAX) {
        forget_local(vcpu);
        spaces->kernel_is_local = true;
        tlb_use_mode(vcpu, vcpu->access_mode);
        return;
    }
    spaces->local_cr3 = vcpu->cr3;
    spaces->local[spaces->local_count++] = (linear >> 12) + vcpu->tlb_context;
}

void tlb_select_context(Vcpu *vcpu)
{
    unsigned tlb_mode = TLB_MODE_OVERRIDE;
    if (vcpu->mode & MODE_USER) {
        tlb_mode = TLB_MODE_USER;
    } else if ((vcpu->cr4 & CR4_SMAP) && !(vcpu->rflags & FLAG_AC)) {
        tlb_mode = TLB_MODE_SUPERVISOR;
    }
    tlb_use_mode(vcpu, tlb_mode);
}

void tlb_flush(Vcpu *vcpu)
{
    vcpu->count.value[COUNT_FLUSH_ALL]++;
    vcpu->spaces->kernel_is_local = false;
    clear_all(vcpu);
    jit_flush_jumps(vcpu);
    tlb_select_context(vcpu);
}

void tlb_flush_mappings(Vcpu *vcpu)
{
    vcpu->count.value[COUNT_FLUSH_ALL]++;
    clear_all(vcpu);
    jit_recheck_jumps(vcpu);
    tlb_select_context(vcpu);
}

void tlb_flush_space(Vcpu *vcpu, unsigned pcid)
{
    vcpu->count.value[COUNT_FLUSH_SPACE]++;
    for (unsigned i = 0; i < SPACES; i++) {
        TlbSpace *space = &vcpu->spaces->space[i];
        if (space->used && space->pcid == pcid) {
            memset(space->id, 0, sizeof(space->id));
        }
    }
    forget_local(vcpu);
    vcpu->fetch_tag = TLB_INVALID;
    jit_flush_jumps_space(vcpu, pcid);
    tlb_select_context(vcpu);
}

void tlb_flush_page(Vcpu *vcpu, uint64_t linear)
{
    const TlbSpaces *spaces = vcpu->spaces;
    uint64_t large = linear >> 21;
    vcpu->count.value[COUNT_FLUSH_PAGE]++;
    /* A 4 MiB page of 32-bit paging is noted by one of its halves. */
    if (has_bit(spaces->large_2m, large) || has_bit(spaces->large_2m, large ^ 1) ||
        has_bit(spaces->large_1g, linear >> 30)) {
        vcpu->count.value[COUNT_FLUSH_LARGE]++;
        tlb_flush_mappings(vcpu);
        return;
    }
    forget(vcpu, (linear >> 12) + ID_GLOBAL * TLB_CONTEXT_STEP);
    for (unsigned i = 0; i < SPACES; i++) {
        for (unsigned mode = 0; mode < TLB_MODES; mode++) {
            if (spaces->space[i].used && spaces->space[i].id[mode] != 0) {
                uint64_t t = (linear >> 12) + spaces->space[i].id[mode] * TLB_CONTEXT_STEP;
                forget(vcpu, t);
            }
        }
    }
    vcpu->fetch_tag = TLB_INVALID;
    jit_flush_jumps_page(vcpu, linear);
}

void tlb_protect_page(Vcpu *vcpu, const uint8_t *host_page)
{
    for (unsigned i = 0; i < TLB_ENTRIES; i++) {
        if (vcpu->tlb_host_page[i] == (uintptr_t)host_page) {
            vcpu->tlb[i].write = TLB_INVALID;
        }
    }
}
