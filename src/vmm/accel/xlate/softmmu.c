/* Guest-virtual memory accesses that miss the software TLB.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/softmmu.h"

#include "base/int-math.h"
#include "vmm/accel/xlate/bits.h"
#include "vmm/accel/xlate/exception.h"
#include "vmm/accel/xlate/paging.h"
#include "vmm/accel/xlate/tlb.h"
#include "vmm/accel/xlate/translate.h"

#include <string.h>

#define PAGE_MASK UINT64_C(0xfff)
#define PAGE_BYTES 4096u

bool mem_page_at(Vcpu *vcpu, GuestAddr physical, MemPage *out)
{
    const AddressMap *map = vcpu->vm->host.memory->map;
    uint64_t generation = address_map_generation(map);
    RamCacheEntry *cache = &vcpu->ram_cache[physical >> 20 & (RAM_CACHE_ENTRIES - 1)];
    AddressEntry *entry = &cache->entry;
    if (cache->generation != generation || entry->size_bytes == 0 ||
        physical - entry->base >= entry->size_bytes) {
        cache->generation = generation;
        if (!address_map_find(map, physical, entry)) {
            entry->size_bytes = 0;
            *out = (MemPage){ .physical = physical };
            return false;
        }
    }
    uint64_t skip = physical - entry->base;
    *out = (MemPage){ .physical = physical };
    /* A page that is only partly RAM is served by the slow path, as a device is. */
    if (entry->ram && skip - (physical & PAGE_MASK) < entry->size_bytes &&
        skip - (physical & PAGE_MASK) + PAGE_BYTES <= entry->size_bytes) {
        out->ram = entry->ram;
        out->ram_offset = entry->ram_offset + skip;
        out->host = entry->ram->host + out->ram_offset;
        out->writable = !entry->readonly;
    }
    return true;
}

static bool has_flag(const MemPage *page, uint8_t flag)
{
    return atomic_load_explicit(&page->ram->page_flags[page->ram_offset >> 12],
                                memory_order_relaxed) &
           flag;
}

static void enter_data(Vcpu *vcpu, uint64_t linear, const PageWalk *walk, const MemPage *page)
{
    uint64_t t = (linear >> 12) + vcpu->tlb_context;
    unsigned i = t % TLB_ENTRIES;
    vcpu->tlb[i].read = t;
    vcpu->tlb[i].write = TLB_INVALID;
    vcpu->tlb[i].addend = (uintptr_t)page->host - linear;
    vcpu->tlb_host_page[i] = (uintptr_t)page->host & ~PAGE_MASK;
    if (!walk->may_write || !page->writable || has_flag(page, RAM_PAGE_CODE)) {
        return;
    }
    if (vcpu->vm->host.memory->dirty_logging && !has_flag(page, RAM_PAGE_DIRTY)) {
        return;
    }
    vcpu->tlb[i].write = t;
}

void tlb_fill(Vcpu *vcpu, uint64_t linear, MemAccess access, MemPage *out)
{
    PageWalk walk;
    if (!page_walk(vcpu, linear, access, vcpu->access_mode, false, &walk)) {
        raise_page_fault(vcpu, linear, walk.error);
    }
    mem_page_at(vcpu, walk.physical, out);
    if (walk.page_shift > 12) {
        tlb_note_large_page(vcpu, linear, walk.page_shift);
    }
    if (!out->host) {
        return;
    }
    if (!walk.is_global) {
        tlb_note_local(vcpu, linear);
    }
    if (access == MEM_FETCH) {
        uint64_t t = (linear >> 12) + vcpu->tlb_context;
        vcpu->tlb[t % TLB_ENTRIES].fetch = t;
        vcpu->fetch[t % TLB_ENTRIES] = (FetchEntry){ .page = (walk.physical & ~PAGE_MASK) |
                                                             (walk.is_global ? TLB_PAGE_GLOBAL : 0),
                                                     .ram = out->ram,
                                                     .offset = out->ram_offset & ~PAGE_MASK };
        if (walk.is_global && !(vcpu->mode & MODE_USER)) {
            jit_note_global_code(vcpu, linear, walk.physical, walk.page_shift);
        }
        return;
    }
    if (access == MEM_WRITE && vcpu->vm->host.memory->dirty_logging && out->writable) {
        atomic_fetch_or_explicit(&out->ram->page_flags[out->ram_offset >> 12], RAM_PAGE_DIRTY,
                                 memory_order_relaxed);
    }
    enter_data(vcpu, linear, &walk, out);
}

/* The largest power of two that fits; devices take 1, 2, 4 or 8 bytes. */
static unsigned device_piece(unsigned left)
{
    return left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

static bool lapic_read(Vcpu *vcpu, GuestAddr addr, unsigned size, uint64_t *out)
{
    const LapicPort *port = vcpu->lapic;
    return port && port->read_mmio && port->read_mmio(port->lapic, addr, size, out);
}

static bool lapic_write(Vcpu *vcpu, GuestAddr addr, unsigned size, uint64_t value)
{
    const LapicPort *port = vcpu->lapic;
    return port && port->write_mmio && port->write_mmio(port->lapic, addr, size, value);
}

static void device_read(Vcpu *vcpu, GuestAddr addr, uint8_t *to, unsigned size)
{
    const AccelHost *host = &vcpu->vm->host;
    vm_code_leave(vcpu);
    for (unsigned done = 0; done < size;) {
        unsigned piece = device_piece(size - done);
        uint64_t value;
        if (!lapic_read(vcpu, addr + done, piece, &value)) {
            value = host->region_read(host->opaque, host->memory->map, addr + done, piece);
        }
        memcpy(to + done, &value, piece);
        done += piece;
    }
    vm_code_enter(vcpu);
}

static void device_write(Vcpu *vcpu, GuestAddr addr, const uint8_t *from, unsigned size)
{
    const AccelHost *host = &vcpu->vm->host;
    vm_code_leave(vcpu);
    for (unsigned done = 0; done < size;) {
        unsigned piece = device_piece(size - done);
        uint64_t value = 0;
        memcpy(&value, from + done, piece);
        if (!lapic_write(vcpu, addr + done, piece, value)) {
            host->region_write(host->opaque, host->memory->map, addr + done, value, piece);
        }
        done += piece;
    }
    vm_code_enter(vcpu);
    /* It may have been the local APIC: end of interrupt, task priority. */
    vcpu->interrupt_pending = true;
    cpu_recheck_interrupt(vcpu);
}

/* Single host accesses for the sizes that have one. */
static void copy_word(void *to, const void *from, unsigned size)
{
    switch (size) {
    case 1:
        __builtin_memcpy(to, from, 1);
        break;
    case 2:
        __builtin_memcpy(to, from, 2);
        break;
    case 4:
        __builtin_memcpy(to, from, 4);
        break;
    case 8:
        __builtin_memcpy(to, from, 8);
        break;
    default:
        memcpy(to, from, size);
        break;
    }
}

static void page_read(Vcpu *vcpu, const MemPage *page, void *to, unsigned size)
{
    if (page->host) {
        copy_word(to, page->host, size);
    } else {
        device_read(vcpu, page->physical, to, size);
    }
}

static void page_write(Vcpu *vcpu, const MemPage *page, const void *from, unsigned size)
{
    if (page->host && page->writable) {
        copy_word(page->host, from, size);
        ram_block_written(vcpu->vm->host.memory, page->ram, page->ram_offset, size);
    } else {
        device_write(vcpu, page->physical, from, size);
    }
}

void mem_read_bytes(Vcpu *vcpu, uint64_t linear, void *buf, unsigned size)
{
    MemPage first, second;
    unsigned here = (unsigned)min_u64(size, PAGE_BYTES - (linear & PAGE_MASK));
    tlb_fill(vcpu, linear, MEM_READ, &first);
    if (here < size) {
        tlb_fill(vcpu, mem_next_page(vcpu, linear), MEM_READ, &second);
        page_read(vcpu, &first, buf, here);
        page_read(vcpu, &second, (uint8_t *)buf + here, size - here);
    } else {
        page_read(vcpu, &first, buf, size);
    }
}

void mem_write_bytes(Vcpu *vcpu, uint64_t linear, const void *buf, unsigned size)
{
    MemPage first, second;
    unsigned here = (unsigned)min_u64(size, PAGE_BYTES - (linear & PAGE_MASK));
    tlb_fill(vcpu, linear, MEM_WRITE, &first);
    if (here < size) {
        tlb_fill(vcpu, mem_next_page(vcpu, linear), MEM_WRITE, &second);
        page_write(vcpu, &first, buf, here);
        page_write(vcpu, &second, (const uint8_t *)buf + here, size - here);
    } else {
        page_write(vcpu, &first, buf, size);
    }
}

void mem_probe_write(Vcpu *vcpu, uint64_t linear, unsigned size)
{
    MemPage page;
    tlb_fill(vcpu, linear, MEM_WRITE, &page);
    if ((linear & PAGE_MASK) + size > PAGE_BYTES) {
        tlb_fill(vcpu, mem_next_page(vcpu, linear), MEM_WRITE, &page);
    }
}

uint64_t mem_read_slow(Vcpu *vcpu, uint64_t linear, unsigned size)
{
    uint64_t value = 0;
    mem_read_bytes(vcpu, linear, &value, size);
    return value;
}

void mem_write_slow(Vcpu *vcpu, uint64_t linear, uint64_t value, unsigned size)
{
    mem_write_bytes(vcpu, linear, &value, size);
}

uint64_t mem_read_system(Vcpu *vcpu, uint64_t linear, unsigned size)
{
    uint8_t mode = vcpu->access_mode;
    tlb_use_mode(vcpu, vcpu->cr4 & CR4_SMAP ? TLB_MODE_SUPERVISOR : TLB_MODE_OVERRIDE);
    uint64_t value = mem_read(vcpu, linear, size);
    tlb_use_mode(vcpu, mode);
    return value;
}

void mem_write_system(Vcpu *vcpu, uint64_t linear, uint64_t value, unsigned size)
{
    uint8_t mode = vcpu->access_mode;
    tlb_use_mode(vcpu, vcpu->cr4 & CR4_SMAP ? TLB_MODE_SUPERVISOR : TLB_MODE_OVERRIDE);
    mem_write(vcpu, linear, value, size);
    tlb_use_mode(vcpu, mode);
}

void *mem_host(Vcpu *vcpu, uint64_t linear, unsigned size, MemAccess access)
{
    MemPage page;
    uint64_t t = (linear >> 12) + vcpu->tlb_context;
    if ((linear & PAGE_MASK) + size > PAGE_BYTES) {
        tlb_fill(vcpu, linear, access, &page);
        tlb_fill(vcpu, mem_next_page(vcpu, linear), access, &page);
        return NULL;
    }
    if (tlb_tag(vcpu, t, access) != t) {
        tlb_fill(vcpu, linear, access, &page);
        t = (linear >> 12) + vcpu->tlb_context;
        if (!page.host || tlb_tag(vcpu, t, access) != t) {
            return NULL;
        }
    }
    return (void *)(uintptr_t)(linear + vcpu->tlb[t % TLB_ENTRIES].addend);
}

static void fetch_page(Vcpu *vcpu, uint64_t linear, MemPage *out)
{
    uint64_t t = (linear >> 12) + vcpu->tlb_context;
    if (vcpu->tlb[t % TLB_ENTRIES].fetch == t) {
        mem_page_at(vcpu, tlb_fetch_physical(vcpu, linear), out);
        return;
    }
    tlb_fill(vcpu, linear, MEM_FETCH, out);
}

/* Whether the second page of an instruction can be fetched from, without raising. */
static bool second_page(Vcpu *vcpu, uint64_t linear, MemPage *out)
{
    PageWalk walk;
    if (!page_walk(vcpu, linear, MEM_FETCH, vcpu->access_mode, false, &walk)) {
        return false;
    }
    mem_page_at(vcpu, walk.physical, out);
    return true;
}

unsigned mem_fetch(Vcpu *vcpu, uint64_t linear, uint8_t bytes[16], MemPage *out)
{
    MemPage second;
    unsigned here = (unsigned)min_u64(15, PAGE_BYTES - (linear & PAGE_MASK));
    fetch_page(vcpu, linear, out);
    page_read(vcpu, out, bytes, here);
    if (here < 15 && second_page(vcpu, mem_next_page(vcpu, linear), &second)) {
        page_read(vcpu, &second, bytes + here, 15 - here);
        return 15;
    }
    return here;
}

bool mem_translate_debug(Vcpu *vcpu, uint64_t linear, GuestAddr *out_physical)
{
    PageWalk walk;
    if (!page_walk(vcpu, linear, MEM_READ, TLB_MODE_OVERRIDE, true, &walk)) {
        return false;
    }
    *out_physical = walk.physical;
    return true;
}
