/* Page-table walks.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/paging.h"

#include "vmm/accel/xlate/bits.h"

#include <string.h>

#define ENTRY_P UINT64_C(0x001)
#define ENTRY_RW UINT64_C(0x002)
#define ENTRY_US UINT64_C(0x004)
#define ENTRY_A UINT64_C(0x020)
#define ENTRY_D UINT64_C(0x040)
#define ENTRY_PS UINT64_C(0x080)
#define ENTRY_G UINT64_C(0x100)
#define ENTRY_NX (UINT64_C(1) << 63)
#define ADDRESS_MASK UINT64_C(0x000ffffffffff000)

/* One page-table entry where it lies in RAM; 4 or 8 bytes. */
typedef struct Entry {
    MemPage page;
    uint64_t value;
    unsigned size;
} Entry;

typedef struct Rights {
    uint64_t all; /* AND of the entries' RW and US */
    uint64_t any; /* OR of the entries' NX */
} Rights;

/* False where no RAM is: such an entry is not present. */
static bool entry_read(Vcpu *vcpu, GuestAddr addr, unsigned size, Entry *out)
{
    out->size = size;
    if (!mem_page_at(vcpu, addr, &out->page) || !out->page.host) {
        out->value = 0;
        return false;
    }
    out->value = size == 8 ? __atomic_load_n((uint64_t *)out->page.host, __ATOMIC_RELAXED)
                           : __atomic_load_n((uint32_t *)out->page.host, __ATOMIC_RELAXED);
    return true;
}

/* Sets bits unless somebody changed the entry meanwhile; false: walk again. */
static bool entry_set(Vcpu *vcpu, Entry *entry, uint64_t bits)
{
    if ((entry->value & bits) == bits || !entry->page.writable) {
        return true;
    }
    bool done;
    if (entry->size == 8) {
        uint64_t expected = entry->value;
        done = __atomic_compare_exchange_n((uint64_t *)entry->page.host, &expected,
                                           entry->value | bits, false, __ATOMIC_SEQ_CST,
                                           __ATOMIC_RELAXED);
    } else {
        uint32_t expected = (uint32_t)entry->value;
        done = __atomic_compare_exchange_n((uint32_t *)entry->page.host, &expected,
                                           (uint32_t)(entry->value | bits), false, __ATOMIC_SEQ_CST,
                                           __ATOMIC_RELAXED);
    }
    if (done) {
        ram_block_written(vcpu->vm->host.memory, entry->page.ram, entry->page.ram_offset,
                          entry->size);
        entry->value |= bits;
    }
    return done;
}

static uint64_t reserved_bits(const Vcpu *vcpu)
{
    uint64_t bits = ADDRESS_MASK & ~((UINT64_C(1) << vcpu->physical_bits) - 1);
    if (!(vcpu->efer & EFER_NXE)) {
        bits |= ENTRY_NX;
    }
    return bits;
}

static bool is_allowed(const Vcpu *vcpu, const Rights *rights, MemAccess access, unsigned tlb_mode)
{
    bool is_user_page = rights->all & ENTRY_US;
    if (access == MEM_FETCH) {
        if (rights->any & ENTRY_NX) {
            return false;
        }
        return tlb_mode == TLB_MODE_USER ? is_user_page : !(is_user_page && (vcpu->cr4 & CR4_SMEP));
    }
    if (tlb_mode == TLB_MODE_USER) {
        return is_user_page && (access == MEM_READ || (rights->all & ENTRY_RW));
    }
    if (is_user_page && tlb_mode == TLB_MODE_SUPERVISOR && (vcpu->cr4 & CR4_SMAP)) {
        return false;
    }
    return access == MEM_READ || (rights->all & ENTRY_RW) || !(vcpu->cr0 & CR0_WP);
}

static uint32_t fault_error(const Vcpu *vcpu, MemAccess access, unsigned tlb_mode)
{
    bool pae_nx = (vcpu->cr4 & CR4_PAE) && (vcpu->efer & EFER_NXE);
    return (access == MEM_WRITE ? PF_WRITE : 0) | (tlb_mode == TLB_MODE_USER ? PF_USER : 0) |
           (access == MEM_FETCH && (pae_nx || (vcpu->cr4 & CR4_SMEP)) ? PF_FETCH : 0);
}

/* What a level of the tables is like. */
typedef struct Level {
    unsigned shift; /* of the index in the address */
    unsigned index_bits;
    unsigned entry_size;
    bool may_be_large;
    bool has_rights; /* PAE's PDPTEs have none */
} Level;

static const Level levels_32[] = { { 22, 10, 4, true, true }, { 12, 10, 4, false, true } };
static const Level levels_pae[] = { { 30, 2, 8, false, false },
                                    { 21, 9, 8, true, true },
                                    { 12, 9, 8, false, true } };
static const Level levels_64[] = { { 39, 9, 8, false, true },
                                   { 30, 9, 8, true, true },
                                   { 21, 9, 8, true, true },
                                   { 12, 9, 8, false, true } };

static uint64_t level_reserved(const Vcpu *vcpu, const Level *level, uint64_t entry, bool is_large)
{
    if (level->entry_size == 4) {
        return is_large ? entry & 0x200000 : 0; /* bits 13-20 are address bits 32-39 */
    }
    uint64_t bad = entry & reserved_bits(vcpu);
    if (!level->has_rights) {
        return bad | (entry & UINT64_C(0x1e6));
    }
    if (is_large) {
        return bad | (entry & ((UINT64_C(1) << level->shift) - 1) & ~UINT64_C(0x1fff));
    }
    return bad | (level->shift > 30 ? entry & ENTRY_PS : 0);
}

static GuestAddr leaf_address(const Level *level, uint64_t entry, uint64_t linear)
{
    uint64_t offset = linear & ((UINT64_C(1) << level->shift) - 1);
    if (level->entry_size == 4 && level->shift == 22) {
        return (entry & 0xffc00000) | (entry & 0x1fe000) << 19 | offset;
    }
    return (entry & ADDRESS_MASK & ~((UINT64_C(1) << level->shift) - 1)) | offset;
}

typedef enum WalkResult { WALK_OK, WALK_FAULT, WALK_AGAIN } WalkResult;

/* The last entry of a walk: rights, accessed and dirty bits. */
static WalkResult finish_walk(Vcpu *vcpu, uint64_t linear, MemAccess access, unsigned tlb_mode,
                              bool debug, const Level *level, Entry *entry, const Rights *rights,
                              PageWalk *out)
{
    out->page_shift = level->shift;
    out->physical = leaf_address(level, entry->value, linear);
    if (debug) {
        return WALK_OK;
    }
    if (!is_allowed(vcpu, rights, access, tlb_mode)) {
        out->error |= PF_PRESENT;
        return WALK_FAULT;
    }
    if (!entry_set(vcpu, entry, access == MEM_WRITE ? ENTRY_A | ENTRY_D : ENTRY_A)) {
        return WALK_AGAIN;
    }
    out->is_global = (entry->value & ENTRY_G) && (vcpu->cr4 & CR4_PGE);
    out->may_write = (entry->value & ENTRY_D) && is_allowed(vcpu, rights, MEM_WRITE, tlb_mode);
    return WALK_OK;
}

static WalkResult walk_once(Vcpu *vcpu, uint64_t linear, MemAccess access, unsigned tlb_mode,
                            bool debug, PageWalk *out)
{
    const Level *level = levels_32;
    uint64_t table = vcpu->cr3 & 0xfffff000;
    Rights rights = { .all = ENTRY_RW | ENTRY_US };
    if (vcpu->efer & EFER_LMA) {
        level = levels_64;
        table = vcpu->cr3 & ADDRESS_MASK;
    } else if (vcpu->cr4 & CR4_PAE) {
        level = levels_pae;
        table = vcpu->cr3 & 0xffffffe0;
    }
    for (;; level++) {
        Entry entry;
        uint64_t index = linear >> level->shift & ((1u << level->index_bits) - 1);
        entry_read(vcpu, table + index * level->entry_size, level->entry_size, &entry);
        if (!(entry.value & ENTRY_P)) {
            return WALK_FAULT;
        }
        bool is_large = level->may_be_large && (entry.value & ENTRY_PS) &&
                        (level->entry_size == 8 || (vcpu->cr4 & CR4_PSE));
        if (level_reserved(vcpu, level, entry.value, is_large)) {
            out->error |= PF_PRESENT | PF_RESERVED;
            return WALK_FAULT;
        }
        if (level->has_rights) {
            rights.all &= entry.value;
            rights.any |= level->entry_size == 8 ? entry.value & ENTRY_NX : 0;
        }
        if (is_large || level->shift == 12) {
            return finish_walk(vcpu, linear, access, tlb_mode, debug, level, &entry, &rights, out);
        }
        if (!debug && level->has_rights && !entry_set(vcpu, &entry, ENTRY_A)) {
            return WALK_AGAIN;
        }
        table = level->entry_size == 8 ? entry.value & ADDRESS_MASK : entry.value & 0xfffff000;
    }
}

bool page_walk(Vcpu *vcpu, uint64_t linear, MemAccess access, unsigned tlb_mode, bool debug,
               PageWalk *out)
{
    WalkResult result;
    memset(out, 0, sizeof(*out));
    if (!(vcpu->cr0 & CR0_PG)) {
        out->physical = linear & 0xffffffff;
        out->page_shift = 12;
        out->may_write = true;
        return true;
    }
    do {
        out->error = fault_error(vcpu, access, tlb_mode);
        result = walk_once(vcpu, linear, access, tlb_mode, debug, out);
    } while (result == WALK_AGAIN);
    return result == WALK_OK;
}
