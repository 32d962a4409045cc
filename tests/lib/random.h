/* Numbers that look random and are the same in each run: xorshift64 (Marsaglia, 2003).
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_TESTS_LIB_RANDOM_H
#define LODGE_TESTS_LIB_RANDOM_H

#include <stdint.h>

/* The next number; @state begins with any seed but 0. */
static inline uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

#endif
