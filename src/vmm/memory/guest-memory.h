/* Guest-physical address spaces: RAM blocks and device regions by address.
 *
 * An AddressMap turns an address into RAM or a region; one map serves memory, another the I/O
 * ports. GuestMemory is the memory map seen by devices: checked copies to and from RAM, and the
 * marks that the translator and dirty logging need. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_MEMORY_GUEST_MEMORY_H
#define LODGE_VMM_MEMORY_GUEST_MEMORY_H

#include "base/compiler.h"
#include "vmm/memory/address-map.h"

#include <stdbool.h>
#include <sys/types.h>

/* Guest RAM or ROM: one host mapping of a memfd or a file. Free with ram_block_free(). */
typedef struct RamBlock {
    char name[32];
    uint8_t *host;       /* page-aligned, @size_bytes long */
    uint64_t size_bytes; /* multiple of 4096 */
    int fd;              /* behind @host, owned */
    /* One byte for each 4 KiB page; RAM_PAGE_* bits, changed atomically. */
    _Atomic(uint8_t) *page_flags;
} RamBlock;

#define RAM_PAGE_CODE 0x01 /* translated code came from this page: writes must be announced */
#define RAM_PAGE_DIRTY                                                                             \
    0x02 /* written since the dirty log was last read; kept only while logging                     \
          */

/**
 * ram_block_new - allocate guest RAM, zeroed and not yet backed by host pages
 * @name:       for messages and /proc; truncated to 31 characters
 * @size_bytes: > 0, multiple of 4096
 *
 * Returns: the block, or NULL with errno set (ENOMEM, EINVAL).
 */
RamBlock *ram_block_new(const char *name, uint64_t size_bytes) LODGE_MUST_CHECK;

/* The same in the file @fd (transfer full, also on failure), which is made longer if need be: guest
 * writes go there. */
RamBlock *ram_block_new_file(const char *name, uint64_t size_bytes, int fd) LODGE_MUST_CHECK;
void ram_block_free(RamBlock *block);

/* Told after RAM that holds translated code changed by anything but the writing vCPU's own
 * translated stores. */
typedef void (*CodeWriteFunc)(void *opaque, RamBlock *block, uint64_t offset, uint64_t length);

typedef struct GuestMemory {
    AddressMap *map;            /* memory space, borrowed */
    CodeWriteFunc code_written; /* NULL: no translator; set before the first vCPU runs */
    void *code_opaque;
    _Atomic(bool) dirty_logging;
} GuestMemory;

/**
 * guest_memory_read, guest_memory_write - copy between RAM and a buffer
 *
 * The range may span RAM entries. Reads may hit ROM; writes to ROM are refused. Device regions are
 * never touched (a device's DMA cannot reach another device). Context: any thread. Returns: 0, or
 * -EFAULT when a byte is not RAM; bytes before it may have been copied.
 */
int guest_memory_read(const GuestMemory *memory, GuestAddr addr, void *buf,
                      size_t length) LODGE_MUST_CHECK;
int guest_memory_write(const GuestMemory *memory, GuestAddr addr, const void *buf,
                       size_t length) LODGE_MUST_CHECK;

/**
 * guest_memory_map - host address of RAM for zero-copy I/O
 * @addr:       guest-physical
 * @length:     (inout) in: wanted, > 0; out: contiguous bytes at the result, 1..in
 * @for_write:  the caller will write; ROM is then refused
 *
 * Valid until the RAM is removed from the map (which drains devices first). The guest may change
 * the bytes at any time: read each once. After writing, call guest_memory_written(). Returns: the
 * host address, or NULL when @addr is no RAM.
 */
void *guest_memory_map(const GuestMemory *memory, GuestAddr addr, uint64_t *length, bool for_write);

/* Announces bytes written through guest_memory_map(): marks dirty pages, drops translated code.
 * Context: any thread. */
void guest_memory_written(const GuestMemory *memory, GuestAddr addr, uint64_t length);

/* As guest_memory_written(), by block. @offset and @length lie inside the block. */
void ram_block_written(const GuestMemory *memory, RamBlock *block, uint64_t offset,
                       uint64_t length);

#endif
