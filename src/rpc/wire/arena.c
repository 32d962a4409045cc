/* A bump allocator with a limit and a list of things to release.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rpc/wire/arena.h"

#include "base/log.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES 4096u
#define CHUNK_MAX_BYTES (1u << 20)
#define ALIGNMENT 16u

struct ArenaChunk {
    ArenaChunk *next;
    size_t size;
    char LODGE_ALIGNED(ALIGNMENT) bytes[];
};

struct ArenaTaken {
    ArenaTaken *next;
    void *ptr;
    GDestroyNotify free_func;
};

void arena_init(Arena *arena, size_t limit)
{
    *arena = (Arena){ .limit = limit };
}

void arena_clear(Arena *arena)
{
    for (ArenaTaken *taken = arena->taken; taken; taken = taken->next) {
        taken->free_func(taken->ptr);
    }
    ArenaChunk *chunk = arena->chunks;
    while (chunk) {
        ArenaChunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
    arena_init(arena, arena->limit);
}

/* A chunk that holds @size bytes at least; later ones are larger, so that there are few. */
static bool grow(Arena *arena, size_t size, bool limited)
{
    size_t want = arena->used < CHUNK_BYTES ? CHUNK_BYTES - sizeof(ArenaChunk) : arena->used;
    want = MIN(want, CHUNK_MAX_BYTES);
    if (limited && arena->used + want > arena->limit) {
        want = size;
    }
    want = MAX(want, size);
    if (limited && (size > arena->limit || arena->used > arena->limit - size)) {
        return false;
    }
    ArenaChunk *chunk = malloc(sizeof(*chunk) + want);
    if (!chunk) {
        return false;
    }
    chunk->next = arena->chunks;
    chunk->size = want;
    arena->chunks = chunk;
    arena->next = chunk->bytes;
    arena->left = want;
    arena->used += want;
    return true;
}

static void *allocate(Arena *arena, size_t size, bool limited)
{
    if (size > SIZE_MAX - ALIGNMENT) {
        return NULL;
    }
    size_t rounded = (MAX(size, 1) + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    if (rounded > arena->left && !grow(arena, rounded, limited)) {
        return NULL;
    }
    void *ptr = arena->next;
    arena->next += rounded;
    arena->left -= rounded;
    return memset(ptr, 0, size);
}

void *arena_alloc(Arena *arena, size_t size)
{
    return allocate(arena, size, true);
}

void *arena_alloc_array(Arena *arena, size_t n, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) {
        return NULL;
    }
    return allocate(arena, bytes, true);
}

static char *copy(Arena *arena, const char *text, size_t size)
{
    char *out = allocate(arena, size, false);
    /* As g_malloc(): without memory for our own strings there is no going on. */
    lodge_assert(out);
    return memcpy(out, text, size);
}

char *arena_strdup(Arena *arena, const char *text)
{
    return text ? copy(arena, text, strlen(text) + 1) : NULL;
}

char *arena_printf(Arena *arena, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    char *text = g_strdup_vprintf(fmt, args);
    va_end(args);
    return arena_take(arena, text, NULL);
}

void *arena_take(Arena *arena, void *ptr, GDestroyNotify free_func)
{
    if (ptr) {
        ArenaTaken *taken = allocate(arena, sizeof(*taken), false);
        lodge_assert(taken);
        *taken = (ArenaTaken){ arena->taken, ptr, free_func ? free_func : g_free };
        arena->taken = taken;
    }
    return ptr;
}
