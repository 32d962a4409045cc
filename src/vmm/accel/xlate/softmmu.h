/* Guest-virtual memory: software TLB and the accesses that go through it.
 *
 * All functions run on the vCPU's thread. "Raises" means: fills in the fault fields of the Vcpu and
 * unwinds to vcpu->unwind; nothing of the access was done then.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_ACCEL_XLATE_SOFTMMU_H
#define LODGE_VMM_ACCEL_XLATE_SOFTMMU_H

#include "vmm/accel/xlate/cpu.h"

typedef enum MemAccess { MEM_READ, MEM_WRITE, MEM_FETCH } MemAccess;

/* What a guest-physical page is. */
typedef struct MemPage {
    GuestAddr physical; /* of the byte asked for */
    uint8_t *host;      /* of the byte asked for; NULL: no RAM there (device, nothing) */
    RamBlock *ram;      /* with @host */
    uint64_t ram_offset;
    bool writable; /* RAM, and not ROM */
} MemPage;

/**
 * mem_read, mem_write - up to 8 bytes at a linear address, little endian
 * @size: 1, 2, 4 or 8
 *
 * Any alignment, page crossing, devices. Aligned accesses to RAM are single host accesses. Raises
 * #PF.
 */
uint64_t mem_read(Vcpu *vcpu, uint64_t linear, unsigned size);
void mem_write(Vcpu *vcpu, uint64_t linear, uint64_t value, unsigned size);

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
