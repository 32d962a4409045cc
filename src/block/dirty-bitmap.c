/* Dirty bitmaps: bits in words, counted as they change.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/dirty-bitmap.h"

#include "base/cleanup.h"
#include "base/int-math.h"
#include "base/log.h"
#include "block/driver.h"

#include <errno.h>
#include <string.h>

#define WORD_BITS 64

struct DirtyBitmap {
    char *name;
    unsigned refs; /* atomic */
    unsigned granularity_bits;
    pthread_mutex_t lock;
    /* Under lock */
    uint64_t size, bits; /* bytes; granules */
    uint64_t *words;
    uint64_t dirty; /* bits that are set */
    unsigned flags;
};

static uint64_t bits_of(uint64_t size, unsigned granularity_bits)
{
    return (size >> granularity_bits) + ((size & ((1ull << granularity_bits) - 1)) != 0);
}

static size_t words_of(uint64_t bits)
{
    return (size_t)(bits / WORD_BITS + 1);
}

DirtyBitmap *dirty_bitmap_new(const char *name, uint64_t size, uint32_t granularity)
{
    lodge_assert(is_power_of_two(granularity) && granularity >= DIRTY_BITMAP_GRANULARITY_MIN);
    unsigned granularity_bits = (unsigned)__builtin_ctz(granularity);
    uint64_t bits = bits_of(size, granularity_bits);
    uint64_t *words = g_try_new0(uint64_t, words_of(bits));
    if (!words) {
        return NULL;
    }
    DirtyBitmap *bitmap = g_new0(DirtyBitmap, 1);
    pthread_mutex_init(&bitmap->lock, NULL);
    bitmap->name = g_strdup(name);
    bitmap->refs = 1;
    bitmap->granularity_bits = granularity_bits;
    bitmap->size = size;
    bitmap->bits = bits;
    bitmap->words = words;
    bitmap->flags = DIRTY_BITMAP_RECORDING;
    return bitmap;
}

DirtyBitmap *dirty_bitmap_ref(DirtyBitmap *bitmap)
{
    __atomic_add_fetch(&bitmap->refs, 1, __ATOMIC_RELAXED);
    return bitmap;
}

void dirty_bitmap_unref(DirtyBitmap *bitmap)
{
    if (bitmap && __atomic_sub_fetch(&bitmap->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        pthread_mutex_destroy(&bitmap->lock);
        g_free(bitmap->name);
        g_free(bitmap->words);
        g_free(bitmap);
    }
}

const char *dirty_bitmap_name(const DirtyBitmap *bitmap)
{
    return bitmap->name;
}

uint64_t dirty_bitmap_size(const DirtyBitmap *bitmap)
{
    return __atomic_load_n(&bitmap->size, __ATOMIC_RELAXED);
}

uint32_t dirty_bitmap_granularity(const DirtyBitmap *bitmap)
{
    return 1u << bitmap->granularity_bits;
}

unsigned dirty_bitmap_flags(const DirtyBitmap *bitmap)
{
    return __atomic_load_n(&bitmap->flags, __ATOMIC_RELAXED);
}

void dirty_bitmap_set_flags(DirtyBitmap *bitmap, unsigned set, unsigned clear)
{
    LOCK_GUARD(&bitmap->lock);
    __atomic_store_n(&bitmap->flags, (bitmap->flags & ~clear) | set, __ATOMIC_RELAXED);
}

/* Bits, with the lock held. [first, end) */

static uint64_t mask_of(uint64_t word, uint64_t first, uint64_t end)
{
    uint64_t low = word * WORD_BITS;
    uint64_t mask = UINT64_MAX;
    if (first > low) {
        mask &= UINT64_MAX << (first - low);
    }
    if (end < low + WORD_BITS) {
        mask &= ~(UINT64_MAX << (end - low));
    }
    return mask;
}

static void set_bits(DirtyBitmap *bitmap, uint64_t first, uint64_t end)
{
    for (uint64_t word = first / WORD_BITS; first < end && word <= (end - 1) / WORD_BITS; word++) {
        uint64_t fresh = mask_of(word, first, end) & ~bitmap->words[word];
        bitmap->words[word] |= fresh;
        bitmap->dirty += (uint64_t)__builtin_popcountll(fresh);
    }
}

static void clear_bits(DirtyBitmap *bitmap, uint64_t first, uint64_t end)
{
    for (uint64_t word = first / WORD_BITS; first < end && word <= (end - 1) / WORD_BITS; word++) {
        uint64_t gone = mask_of(word, first, end) & bitmap->words[word];
        bitmap->words[word] &= ~gone;
        bitmap->dirty -= (uint64_t)__builtin_popcountll(gone);
    }
}

/* The first bit at or after @from that is @value; bitmap->bits: none. */
static uint64_t find_bit(const DirtyBitmap *bitmap, uint64_t from, bool value)
{
    for (uint64_t word = from / WORD_BITS; from < bitmap->bits && word * WORD_BITS < bitmap->bits;
         word++) {
        uint64_t bits = value ? bitmap->words[word] : ~bitmap->words[word];
        bits &= mask_of(word, from, UINT64_MAX);
        if (bits) {
            return MIN(word * WORD_BITS + (unsigned)__builtin_ctzll(bits), bitmap->bits);
        }
    }
    return bitmap->bits;
}

/* The granules that a range touches. */
static void touched(const DirtyBitmap *bitmap, uint64_t offset, uint64_t length,
                    uint64_t *out_first, uint64_t *out_end)
{
    uint64_t size = bitmap->size;
    uint64_t end = offset < size ? offset + MIN(length, size - offset) : offset;
    *out_first = MIN(offset >> bitmap->granularity_bits, bitmap->bits);
    *out_end = length ? bits_of(MIN(end, size), bitmap->granularity_bits) : *out_first;
}

static void set_range(DirtyBitmap *bitmap, uint64_t offset, uint64_t length)
{
    uint64_t first, end;
    touched(bitmap, offset, length, &first, &end);
    set_bits(bitmap, first, end);
}

void dirty_bitmap_set(DirtyBitmap *bitmap, uint64_t offset, uint64_t length)
{
    LOCK_GUARD(&bitmap->lock);
    set_range(bitmap, offset, length);
}

void dirty_bitmap_record(DirtyBitmap *bitmap, uint64_t offset, uint64_t length)
{
    LOCK_GUARD(&bitmap->lock);
    if (bitmap->flags & DIRTY_BITMAP_RECORDING) {
        set_range(bitmap, offset, length);
    }
}

void dirty_bitmap_reset(DirtyBitmap *bitmap, uint64_t offset, uint64_t length)
{
    uint64_t first, end;
    LOCK_GUARD(&bitmap->lock);
    touched(bitmap, offset, length, &first, &end);
    clear_bits(bitmap, first, end);
}

static void clear_all(DirtyBitmap *bitmap)
{
    memset(bitmap->words, 0, words_of(bitmap->bits) * sizeof(*bitmap->words));
    bitmap->dirty = 0;
}

void dirty_bitmap_clear(DirtyBitmap *bitmap)
{
    LOCK_GUARD(&bitmap->lock);
    clear_all(bitmap);
}

bool dirty_bitmap_get(DirtyBitmap *bitmap, uint64_t offset)
{
    LOCK_GUARD(&bitmap->lock);
    uint64_t bit = offset >> bitmap->granularity_bits;
    return bit < bitmap->bits && (bitmap->words[bit / WORD_BITS] >> (bit % WORD_BITS)) & 1;
}

/* Where granule @bit begins, at most the end. */
static uint64_t offset_of(const DirtyBitmap *bitmap, uint64_t bit)
{
    return bit < bitmap->bits ? bit << bitmap->granularity_bits : bitmap->size;
}

uint64_t dirty_bitmap_count(DirtyBitmap *bitmap)
{
    LOCK_GUARD(&bitmap->lock);
    uint64_t bytes = bitmap->dirty << bitmap->granularity_bits;
    uint64_t last = bitmap->bits - 1;
    if (bitmap->bits && (bitmap->words[last / WORD_BITS] >> (last % WORD_BITS)) & 1) {
        bytes -= (bitmap->bits << bitmap->granularity_bits) - bitmap->size;
    }
    return bytes;
}

/* With the lock held. */
static bool find_range(const DirtyBitmap *bitmap, uint64_t from, uint64_t max, uint64_t *out_offset,
                       uint64_t *out_length)
{
    if (from >= bitmap->size || !bitmap->dirty) {
        return false;
    }
    uint64_t first = find_bit(bitmap, from >> bitmap->granularity_bits, true);
    if (first >= bitmap->bits) {
        return false;
    }
    uint64_t offset = MAX(offset_of(bitmap, first), from);
    uint64_t end = offset_of(bitmap, find_bit(bitmap, first, false));
    *out_offset = offset;
    *out_length = MIN(end - offset, max);
    return true;
}

bool dirty_bitmap_next(DirtyBitmap *bitmap, uint64_t from, uint64_t max, uint64_t *out_offset,
                       uint64_t *out_length)
{
    LOCK_GUARD(&bitmap->lock);
    return find_range(bitmap, from, max, out_offset, out_length);
}

bool dirty_bitmap_take(DirtyBitmap *bitmap, uint64_t from, uint64_t max, uint64_t *out_offset,
                       uint64_t *out_length)
{
    uint64_t first, end;
    LOCK_GUARD(&bitmap->lock);
    max = MAX(round_down(max, 1ull << bitmap->granularity_bits), 1ull << bitmap->granularity_bits);
    if (!find_range(bitmap, from, max, out_offset, out_length)) {
        return false;
    }
    touched(bitmap, *out_offset, *out_length, &first, &end);
    clear_bits(bitmap, first, end);
    return true;
}

void dirty_bitmap_merge(DirtyBitmap *to, DirtyBitmap *from)
{
    uint64_t at = 0, offset, length;
    lodge_assert(to != from);
    while (dirty_bitmap_next(from, at, UINT64_MAX, &offset, &length)) {
        dirty_bitmap_set(to, offset, length);
        at = offset + length;
    }
}

DirtyBitmap *dirty_bitmap_copy(DirtyBitmap *bitmap)
{
    DirtyBitmap *copy =
        dirty_bitmap_new(NULL, dirty_bitmap_size(bitmap), dirty_bitmap_granularity(bitmap));
    if (copy) {
        dirty_bitmap_merge(copy, bitmap);
    }
    return copy;
}

void dirty_bitmap_restore(DirtyBitmap *bitmap, DirtyBitmap *content)
{
    dirty_bitmap_clear(bitmap);
    dirty_bitmap_merge(bitmap, content);
}

void dirty_bitmap_pack(DirtyBitmap *bitmap, uint64_t from, uint8_t *out, size_t length)
{
    LOCK_GUARD(&bitmap->lock);
    uint64_t words = words_of(bitmap->bits);
    for (size_t i = 0; i < length; i++) {
        uint64_t word = (from + i) / 8, shift = (from + i) % 8 * 8;
        out[i] = word < words ? (uint8_t)(bitmap->words[word] >> shift) : 0;
    }
}

void dirty_bitmap_unpack(DirtyBitmap *bitmap, uint64_t from, const uint8_t *bytes, size_t length)
{
    LOCK_GUARD(&bitmap->lock);
    for (size_t i = 0; i < length; i++) {
        uint64_t bit = (from + i) * 8;
        for (unsigned k = 0; bytes[i] && k < 8 && bit + k < bitmap->bits; k++) {
            if (bytes[i] >> k & 1) {
                set_bits(bitmap, bit + k, bit + k + 1);
            }
        }
    }
}

int dirty_bitmap_resize(DirtyBitmap *bitmap, uint64_t size)
{
    LOCK_GUARD(&bitmap->lock);
    uint64_t bits = bits_of(size, bitmap->granularity_bits);
    uint64_t *words = g_try_new0(uint64_t, words_of(bits));
    if (!words) {
        return -ENOMEM;
    }
    if (bits < bitmap->bits) {
        clear_bits(bitmap, bits, bitmap->bits);
    }
    memcpy(words, bitmap->words, MIN(words_of(bits), words_of(bitmap->bits)) * sizeof(*words));
    g_free(bitmap->words);
    bitmap->words = words;
    bitmap->bits = bits;
    __atomic_store_n(&bitmap->size, size, __ATOMIC_RELAXED);
    return 0;
}

/* Of nodes */

void block_node_add_bitmap(BlockNode *node, DirtyBitmap *bitmap)
{
    LOCK_GUARD(&node->bitmaps_lock);
    if (!node->bitmaps) {
        node->bitmaps = g_ptr_array_new_with_free_func((GDestroyNotify)dirty_bitmap_unref);
    }
    g_ptr_array_add(node->bitmaps, dirty_bitmap_ref(bitmap));
    __atomic_store_n(&node->bitmap_count, node->bitmaps->len, __ATOMIC_RELEASE);
}

void block_node_remove_bitmap(BlockNode *node, DirtyBitmap *bitmap)
{
    LOCK_GUARD(&node->bitmaps_lock);
    if (node->bitmaps && g_ptr_array_remove(node->bitmaps, bitmap)) {
        __atomic_store_n(&node->bitmap_count, node->bitmaps->len, __ATOMIC_RELEASE);
    }
}

DirtyBitmap *block_node_bitmap(const BlockNode *node, unsigned index)
{
    return node->bitmaps && index < node->bitmaps->len ? g_ptr_array_index(node->bitmaps, index)
                                                       : NULL;
}

DirtyBitmap *block_node_find_bitmap(const BlockNode *node, const char *name)
{
    DirtyBitmap *bitmap;
    for (unsigned i = 0; (bitmap = block_node_bitmap(node, i)); i++) {
        if (g_strcmp0(bitmap->name, name) == 0) {
            return bitmap;
        }
    }
    return NULL;
}

void block_node_record(BlockNode *node, uint64_t offset, uint64_t length)
{
    if (__atomic_load_n(&node->bitmap_count, __ATOMIC_ACQUIRE) == 0) {
        return;
    }
    LOCK_GUARD(&node->bitmaps_lock);
    for (guint i = 0; i < node->bitmaps->len; i++) {
        dirty_bitmap_record(g_ptr_array_index(node->bitmaps, i), offset, length);
    }
}
