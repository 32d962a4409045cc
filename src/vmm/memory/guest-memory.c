/* Guest RAM blocks, and checked copies between them and device buffers.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/memory/guest-memory.h"

#include "base/cleanup.h"
#include "base/int-math.h"
#include "base/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE_BYTES 4096u
#define PAGE_SHIFT 12

static bool is_ram_size(uint64_t bytes)
{
    return bytes != 0 && bytes % PAGE_BYTES == 0 && bytes <= (UINT64_C(1) << 47);
}

/* A file that is shorter grows; a longer one keeps what is behind. */
static int make_room(int fd, uint64_t size_bytes)
{
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0) {
        return -1;
    }
    return (uint64_t)st.st_size >= size_bytes ? 0 : ftruncate(fd, (off_t)size_bytes);
}

RamBlock *ram_block_new_file(const char *name, uint64_t size_bytes, int fd)
{
    RamBlock *block = calloc(1, sizeof(*block));
    if (!block) {
        cleanup_close(&fd);
        return NULL;
    }
    snprintf(block->name, sizeof(block->name), "%s", name);
    block->size_bytes = size_bytes;
    block->fd = fd;
    if (!is_ram_size(size_bytes)) {
        errno = EINVAL;
        goto fail;
    }
    block->page_flags = calloc(size_bytes >> PAGE_SHIFT, 1);
    if (!block->page_flags || make_room(fd, size_bytes) < 0) {
        goto fail;
    }
    void *host = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (host == MAP_FAILED) {
        goto fail;
    }
    block->host = host;
    return block;
fail:;
    int saved = errno;
    ram_block_free(block);
    errno = saved;
    return NULL;
}

RamBlock *ram_block_new(const char *name, uint64_t size_bytes)
{
    if (!is_ram_size(size_bytes)) {
        errno = EINVAL;
        return NULL;
    }
    char short_name[sizeof(((RamBlock *)0)->name)];
    snprintf(short_name, sizeof(short_name), "%s", name);
    int fd = memfd_create(short_name, MFD_CLOEXEC);
    return fd < 0 ? NULL : ram_block_new_file(name, size_bytes, fd);
}

void ram_block_free(RamBlock *block)
{
    if (!block) {
        return;
    }
    if (block->host) {
        munmap(block->host, block->size_bytes);
    }
    if (block->fd >= 0) {
        close(block->fd);
    }
    free((void *)block->page_flags);
    free(block);
}

void *guest_memory_map(const GuestMemory *memory, GuestAddr addr, uint64_t *length, bool for_write)
{
    AddressEntry entry;
    if (!address_map_find(memory->map, addr, &entry) || !entry.ram ||
        (for_write && entry.readonly)) {
        return NULL;
    }
    uint64_t skip = addr - entry.base;
    *length = min_u64(*length, entry.size_bytes - skip);
    return entry.ram->host + entry.ram_offset + skip;
}

/* Naturally aligned words are copied whole: drivers and devices share flags and indices in RAM. */
static void copy_bytes(void *to, const void *from, size_t length)
{
    uintptr_t bits = (uintptr_t)to | (uintptr_t)from | length;
    if (length == 8 && bits % 8 == 0) {
        *(volatile uint64_t *)to = *(const volatile uint64_t *)from;
    } else if (length == 4 && bits % 4 == 0) {
        *(volatile uint32_t *)to = *(const volatile uint32_t *)from;
    } else if (length == 2 && bits % 2 == 0) {
        *(volatile uint16_t *)to = *(const volatile uint16_t *)from;
    } else {
        memcpy(to, from, length);
    }
}

int guest_memory_read(const GuestMemory *memory, GuestAddr addr, void *buf, size_t length)
{
    uint8_t *to = buf;
    while (length > 0) {
        uint64_t part = length;
        const void *from = guest_memory_map(memory, addr, &part, false);
        if (!from) {
            return -EFAULT;
        }
        copy_bytes(to, from, part);
        to += part;
        addr += part;
        length -= part;
    }
    return 0;
}

int guest_memory_write(const GuestMemory *memory, GuestAddr addr, const void *buf, size_t length)
{
    const uint8_t *from = buf;
    while (length > 0) {
        uint64_t part = length;
        void *to = guest_memory_map(memory, addr, &part, true);
        if (!to) {
            return -EFAULT;
        }
        copy_bytes(to, from, part);
        guest_memory_written(memory, addr, part);
        from += part;
        addr += part;
        length -= part;
    }
    return 0;
}

void ram_block_written(const GuestMemory *memory, RamBlock *block, uint64_t offset, uint64_t length)
{
    lodge_assert(range_fits(offset, length, block->size_bytes));
    if (length == 0) {
        return;
    }
    bool log = atomic_load_explicit(&memory->dirty_logging, memory_order_relaxed);
    uint8_t seen = 0;
    for (uint64_t page = offset >> PAGE_SHIFT; page <= (offset + length - 1) >> PAGE_SHIFT;
         page++) {
        seen |= atomic_load_explicit(&block->page_flags[page], memory_order_relaxed);
        if (log) {
            atomic_fetch_or_explicit(&block->page_flags[page], RAM_PAGE_DIRTY,
                                     memory_order_relaxed);
        }
    }
    if ((seen & RAM_PAGE_CODE) && memory->code_written) {
        memory->code_written(memory->code_opaque, block, offset, length);
    }
}

void guest_memory_written(const GuestMemory *memory, GuestAddr addr, uint64_t length)
{
    while (length > 0) {
        AddressEntry entry;
        if (!address_map_find(memory->map, addr, &entry) || !entry.ram) {
            return;
        }
        uint64_t skip = addr - entry.base;
        uint64_t part = min_u64(length, entry.size_bytes - skip);
        ram_block_written(memory, entry.ram, entry.ram_offset + skip, part);
        addr += part;
        length -= part;
    }
}
