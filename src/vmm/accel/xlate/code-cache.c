/* Translated blocks of a VM.
 *
 * Code memory is a memfd mapped twice: written through one mapping, executed through the other.
 * It is filled from one end; when it or a table is full, everything is dropped.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/code-cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HOT_EIGHTHS 5 /* of the code memory */
#define PAGES_MAX 32768u
/* Code memory for each block and each noted instruction, below what they need on average. */
#define BYTES_PER_BLOCK 128
#define BYTES_PER_SITE 24

static int map_code(JitVm *jit, uint64_t bytes)
{
    int fd = memfd_create("lodge-code", MFD_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int error = 0;
    void *write = MAP_FAILED, *exec = MAP_FAILED;
    if (ftruncate(fd, (off_t)bytes) != 0) {
        error = -errno;
    }
    if (!error) {
        write = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        error = write == MAP_FAILED ? -errno : 0;
    }
    if (!error) {
        exec = mmap(NULL, bytes, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
        error = exec == MAP_FAILED ? -errno : 0;
    }
    close(fd);
    if (error) {
        if (write != MAP_FAILED) {
            munmap(write, bytes);
        }
        return error;
    }
    jit->write = write;
    jit->exec = exec;
    jit->bytes = bytes;
    jit->next = jit->write;
    jit->cold = jit->next_cold = jit->write + bytes / 8 * HOT_EIGHTHS;
    return 0;
}

int code_cache_init(JitVm *jit, uint64_t bytes)
{
    int error = map_code(jit, bytes);
    if (error) {
        return error;
    }
    jit->block_limit = (unsigned)(bytes / BYTES_PER_BLOCK);
    jit->site_limit = (unsigned)(bytes / BYTES_PER_SITE);
    jit->page_limit = PAGES_MAX;
    jit->block = calloc(jit->block_limit, sizeof(*jit->block));
    jit->site = calloc(jit->site_limit, sizeof(*jit->site));
    jit->page = calloc(jit->page_limit, sizeof(*jit->page));
    jit->block_hash = calloc(CODE_BLOCK_BUCKETS, sizeof(*jit->block_hash));
    jit->page_hash = calloc(CODE_PAGE_BUCKETS, sizeof(*jit->page_hash));
    if (!jit->block || !jit->site || !jit->page || !jit->block_hash || !jit->page_hash) {
        code_cache_done(jit);
        return -ENOMEM;
    }
    return 0;
}

void code_cache_done(JitVm *jit)
{
    free(jit->block);
    free(jit->site);
    free(jit->page);
    free(jit->block_hash);
    free(jit->page_hash);
    if (jit->write) {
        munmap(jit->write, jit->bytes);
        munmap((void *)(uintptr_t)jit->exec, jit->bytes);
    }
}

CodePage *code_cache_add_page(JitVm *jit, RamBlock *ram, uint64_t ram_offset)
{
    CodePage *page = jit->page_free;
    if (page) {
        jit->page_free = page->hash_next;
    } else if (jit->page_count < jit->page_limit) {
        page = &jit->page[jit->page_count++];
    } else {
        return NULL;
    }
    CodePage **bucket = &jit->page_hash[code_page_bucket(ram, ram_offset >> 12)];
    *page = (CodePage){ .hash_next = *bucket, .ram = ram, .ram_page = ram_offset >> 12 };
    __atomic_store_n(bucket, page, __ATOMIC_RELEASE);
    return page;
}

bool code_cache_has_room(const JitVm *jit)
{
    return jit->cold - jit->next >= BLOCK_BYTES_MAX &&
           jit->write + jit->bytes - jit->next_cold >= BLOCK_BYTES_MAX &&
           jit->block_count < jit->block_limit &&
           jit->site_count + BLOCK_INSNS_MAX <= jit->site_limit &&
           (jit->page_free || jit->page_count < jit->page_limit);
}

Block *code_cache_new_block(JitVm *jit)
{
    Block *block = &jit->block[jit->block_count++];
    memset(block, 0, sizeof(*block));
    return block;
}

void code_cache_insert(JitVm *jit, Block *block)
{
    Block **bucket = &jit->block_hash[code_block_bucket(block->page, block->offset)];
    block->hash_next = *bucket;
    __atomic_store_n(bucket, block, __ATOMIC_RELEASE);
    block->page_next = block->page->blocks;
    block->page->blocks = block;
    for (unsigned at = block->offset / 64;
         at <= (block->offset + block->length - 1u) / 64 && at < 64; at++) {
        block->page->chunks |= UINT64_C(1) << at;
    }
}

bool code_cache_guest_position(const JitVm *jit, uint32_t host, uint32_t *out_guest)
{
    unsigned low = 0, high = jit->site_count;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (jit->site[middle].host <= host) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == 0) {
        return false;
    }
    *out_guest = jit->site[low - 1].guest;
    return true;
}

static void remove_from_hash(JitVm *jit, Block *block)
{
    Block **at = &jit->block_hash[code_block_bucket(block->page, block->offset)];
    while (*at != block) {
        at = &(*at)->hash_next;
    }
    *at = block->hash_next;
}

static void unmark(CodePage *page)
{
    atomic_fetch_and(&page->ram->page_flags[page->ram_page], (uint8_t)~RAM_PAGE_CODE);
}

/* Entries of jump caches may still name the block: they go on to look for the target anew. */
static void close_entry(JitVm *jit, const Block *block)
{
    Emit e = { .at = jit->write + block->entry_jump, .end = jit->write + block->end };
    emit_jmp_to(&e, jit->write + jit->stubs.exit_jump);
}

void code_cache_drop_page(JitVm *jit, CodePage *page)
{
    for (Block *block = page->blocks; block; block = block->page_next) {
        remove_from_hash(jit, block);
        close_entry(jit, block);
    }
    CodePage **at = &jit->page_hash[code_page_bucket(page->ram, page->ram_page)];
    while (*at != page) {
        at = &(*at)->hash_next;
    }
    *at = page->hash_next;
    unmark(page);
    page->ram = NULL;
    page->blocks = NULL;
    page->hash_next = jit->page_free;
    jit->page_free = page;
    jit->generation++;
}

void code_cache_clear(JitVm *jit)
{
    for (unsigned i = 0; i < CODE_PAGE_BUCKETS; i++) {
        for (CodePage *page = jit->page_hash[i]; page; page = page->hash_next) {
            unmark(page);
        }
        jit->page_hash[i] = NULL;
    }
    memset(jit->block_hash, 0, CODE_BLOCK_BUCKETS * sizeof(*jit->block_hash));
    jit->page_free = NULL;
    jit->page_count = jit->block_count = jit->site_count = 0;
    jit->next = jit->write + jit->stubs.end;
    jit->next_cold = jit->cold;
    jit->generation++;
    jit->flushes++;
}
