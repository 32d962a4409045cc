/* Memory with one end of life: what belongs to one message or one call.
 *
 * A bump allocator with a limit, since sizes come from peers. Not for several threads at once.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LODGE_RPC_WIRE_ARENA_H
#define LODGE_RPC_WIRE_ARENA_H

#include "base/compiler.h"

#include <glib.h>
#include <stdbool.h>

typedef struct ArenaChunk ArenaChunk;
typedef struct ArenaTaken ArenaTaken;

typedef struct Arena {
    ArenaChunk *chunks;
    ArenaTaken *taken;
    char *next; /* free bytes of the newest chunk */
    size_t left;
    size_t used;  /* bytes asked of the heap */
    size_t limit; /* largest @used */
} Arena;

/* @limit: bytes; asking for more fails. */
void arena_init(Arena *arena, size_t limit);

/* Frees all that was allocated or taken; the arena is as after arena_init(). */
void arena_clear(Arena *arena);

/* @size zeroed bytes, aligned for any type; NULL when past the limit or out of memory. */
void *arena_alloc(Arena *arena, size_t size) LODGE_MUST_CHECK;

/* As arena_alloc(), for @n items of @size bytes; NULL when the product overflows too. */
void *arena_alloc_array(Arena *arena, size_t n, size_t size) LODGE_MUST_CHECK;

/* A copy of @text (NULL stays NULL). A limit cannot be reached: for our own strings. */
char *arena_strdup(Arena *arena, const char *text);

char *arena_printf(Arena *arena, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

/* Hands @ptr (from GLib's allocator, may be NULL) over, to be released with @free_func (NULL:
 * g_free) when the arena is cleared. Returns: @ptr. */
void *arena_take(Arena *arena, void *ptr, GDestroyNotify free_func);

#endif
