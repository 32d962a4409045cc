/* Guest-virtual memory: software TLB and the accesses that go through it.
 *
 * All functions run on the vCPU's thread. "Raises" means: fills in the fault fields of the Vcpu and
 * unwinds to vcpu->unwind; nothing of the access was done then.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_ACCEL_XLATE_SOFTMMU_H
#define LODGE_VMM_ACCEL_XLATE_SOFTMMU_H

#include "vmm/accel/xlate/cpu.h"

typedef enum MemAccess { MEM_READ, MEM_WRITE, MEM_FETCH } MemAccess;

/* Words of guest memory at any alignment. */
typedef uint16_t LODGE_ALIGNED(1) MemWord16;
typedef uint32_t LODGE_ALIGNED(1) MemWord32;
typedef uint64_t LODGE_ALIGNED(1) MemWord64;

/* What a guest-physical page is. */
typedef struct MemPage {
    GuestAddr physical; /* of the byte asked for */
    uint8_t *host;      /* of the byte asked for; NULL: no RAM there (device, nothing) */
    RamBlock *ram;      /* with @host */
    uint64_t ram_offset;
    bool writable; /* RAM, and not ROM */
} MemPage;

/* Tag of an entry for a kind of access. */
static inline uint64_t tlb_tag(const Vcpu *vcpu, uint64_t t, MemAccess access)
{
    const TlbEntry *entry = &vcpu->tlb[t % TLB_ENTRIES];
    return access == MEM_WRITE ? entry->write : access == MEM_READ ? entry->read : entry->fetch;
}

/* Guest-physical address behind a linear one whose page has an entry for instruction fetches. */
static inline GuestAddr tlb_fetch_physical(const Vcpu *vcpu, uint64_t linear)
{
    unsigned i = ((linear >> 12) + vcpu->tlb_context) % TLB_ENTRIES;
    return (vcpu->fetch[i].page & ~UINT64_C(0xfff)) | (linear & 0xfff);
}

uint64_t mem_read_slow(Vcpu *vcpu, uint64_t linear, unsigned size);
void mem_write_slow(Vcpu *vcpu, uint64_t linear, uint64_t value, unsigned size);

/**
 * mem_read, mem_write - up to 8 bytes at a linear address, little endian
 * @size: 1, 2, 4 or 8
 *
 * Any alignment, page crossing, devices. Aligned accesses to RAM are single host accesses. Raises
 * #PF.
 */
static inline uint64_t mem_read(Vcpu *vcpu, uint64_t linear, unsigned size)
{
    uint64_t t = (linear >> 12) + vcpu->tlb_context;
    if (unlikely(vcpu->tlb[t % TLB_ENTRIES].read != t || (linear & 0xfff) + size > 0x1000)) {
        return mem_read_slow(vcpu, linear, size);
    }
    const void *host = (const void *)(uintptr_t)(linear + vcpu->tlb[t % TLB_ENTRIES].addend);
    switch (size) {
    case 1:
        return *(const uint8_t *)host;
    case 2:
        return *(const volatile MemWord16 *)host;
    case 4:
        return *(const volatile MemWord32 *)host;
    default:
        return *(const volatile MemWord64 *)host;
    }
}

static inline void mem_write(Vcpu *vcpu, uint64_t linear, uint64_t value, unsigned size)
{
    uint64_t t = (linear >> 12) + vcpu->tlb_context;
    if (unlikely(vcpu->tlb[t % TLB_ENTRIES].write != t || (linear & 0xfff) + size > 0x1000)) {
        mem_write_slow(vcpu, linear, value, size);
        return;
    }
    void *host = (void *)(uintptr_t)(linear + vcpu->tlb[t % TLB_ENTRIES].addend);
    switch (size) {
    case 1:
        *(volatile uint8_t *)host = (uint8_t)value;
        break;
    case 2:
        *(volatile MemWord16 *)host = (uint16_t)value;
        break;
    case 4:
        *(volatile MemWord32 *)host = (uint32_t)value;
        break;
    default:
        *(volatile MemWord64 *)host = value;
        break;
    }
}

/* Where the page after @linear's begins; addresses wrap at 4 GiB outside 64-bit mode. */
static inline uint64_t mem_next_page(const Vcpu *vcpu, uint64_t linear)
{
    uint64_t next = (linear | 0xfff) + 1;
    return vcpu->mode & MODE_CS64 ? next : (uint32_t)next;
}

/* Any size up to 4096 bytes. A write that faults on its second page has not written the first. */
void mem_read_bytes(Vcpu *vcpu, uint64_t linear, void *buf, unsigned size);
void mem_write_bytes(Vcpu *vcpu, uint64_t linear, const void *buf, unsigned size);

/* Raises what a write of these bytes would raise; up to 4096 bytes. */
void mem_probe_write(Vcpu *vcpu, uint64_t linear, unsigned size);

/* As mem_read() and mem_write(), with supervisor rights at any CPL: descriptor tables, TSS. */
uint64_t mem_read_system(Vcpu *vcpu, uint64_t linear, unsigned size);
void mem_write_system(Vcpu *vcpu, uint64_t linear, uint64_t value, unsigned size);

/**
 * mem_host - host address of RAM for a direct access
 *
 * Raises #PF. Returns: the address, valid until the TLB is next flushed, if all @size bytes lie in
 * one page of RAM which may be accessed so directly (for writes: writable, without translated
 * code); otherwise NULL: use mem_read() and mem_write().
 */
void *mem_host(Vcpu *vcpu, uint64_t linear, unsigned size, MemAccess access);

/**
 * tlb_fill - walk the page tables and enter the result into the TLB
 * @out_page: where @linear lies
 *
 * Sets accessed and dirty bits. Raises #PF. The tag for @access is set only where translated code
 * may use the entry (see cpu.h), so the look-up may still miss afterwards.
 */
void tlb_fill(Vcpu *vcpu, uint64_t linear, MemAccess access, MemPage *out_page);

/**
 * mem_fetch - instruction bytes at a linear address
 * @out_page: of the first byte
 *
 * Copies up to 15 bytes; stops at a page end when the next page cannot be fetched from, as long as
 * there is one byte. Raises #PF for the first byte. Returns: bytes copied.
 */
unsigned mem_fetch(Vcpu *vcpu, uint64_t linear, uint8_t bytes[16], MemPage *out_page);

/* Guest-physical look-up through a small cache of the address map. */
bool mem_page_at(Vcpu *vcpu, GuestAddr physical, MemPage *out_page);

/* Everything, in all contexts. */
void tlb_flush(Vcpu *vcpu);
/* The same where only page tables changed, not what control registers make of them. */
void tlb_flush_mappings(Vcpu *vcpu);
/* One linear address in all contexts (INVLPG); a large page that holds it too. */
void tlb_flush_page(Vcpu *vcpu, uint64_t linear);
/* All of one PCID (0 without PCIDs), or of all PCIDs. */
void tlb_flush_space(Vcpu *vcpu, unsigned pcid);
/* Write tags of one RAM page, before it is marked RAM_PAGE_CODE. Context: the vCPU's thread, or any
 * other inside vm_exclusive_begin(). */
void tlb_protect_page(Vcpu *vcpu, const uint8_t *host_page);

/* Chooses tlb_context for the present CR3, CPL, CR4.SMAP and RFLAGS.AC; called by
 * cpu_update_mode(). */
void tlb_select_context(Vcpu *vcpu);

/* Page walk without side effects, with supervisor rights; false: not mapped. */
bool mem_translate_debug(Vcpu *vcpu, uint64_t linear, GuestAddr *out_physical);

#endif
