/* Checked and rounding integer arithmetic on sizes and addresses.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LODGE_BASE_INT_MATH_H
#define LODGE_BASE_INT_MATH_H

#include <stdbool.h>
#include <stdint.h>

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

/* False on overflow; *out is then unspecified. */
#define checked_add(a, b, out) (!__builtin_add_overflow((a), (b), (out)))
#define checked_mul(a, b, out) (!__builtin_mul_overflow((a), (b), (out)))

static inline bool is_power_of_two(uint64_t v)
{
    return v && !(v & (v - 1));
}

/* @align is a power of two. */
static inline uint64_t round_down(uint64_t v, uint64_t align)
{
    return v & ~(align - 1);
}

static inline uint64_t round_up(uint64_t v, uint64_t align)
{
    return (v + align - 1) & ~(align - 1);
}

static inline uint64_t div_round_up(uint64_t n, uint64_t d)
{
    return n / d + (n % d != 0);
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Whether [offset, offset+length) lies within [0, size). */
static inline bool range_fits(uint64_t offset, uint64_t length, uint64_t size)
{
    return offset <= size && length <= size - offset;
}

#endif
