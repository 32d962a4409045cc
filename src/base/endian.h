/* Unaligned loads and stores in a given byte order.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LODGE_BASE_ENDIAN_H
#define LODGE_BASE_ENDIAN_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define ENDIAN_ACCESSORS(bits, order)                                                              \
    static inline uint##bits##_t order##bits##_get(const void *p)                                  \
    {                                                                                              \
        uint##bits##_t v;                                                                          \
        memcpy(&v, p, sizeof(v));                                                                  \
        return order##bits##toh(v);                                                                \
    }                                                                                              \
    static inline void order##bits##_put(void *p, uint##bits##_t value)                            \
    {                                                                                              \
        uint##bits##_t v = hto##order##bits(value);                                                \
        memcpy(p, &v, sizeof(v));                                                                  \
    }

/* le16_get(p), le16_put(p, v), ... be64_put(p, v) */
ENDIAN_ACCESSORS(16, le)
ENDIAN_ACCESSORS(32, le)
ENDIAN_ACCESSORS(64, le)
ENDIAN_ACCESSORS(16, be)
ENDIAN_ACCESSORS(32, be)
ENDIAN_ACCESSORS(64, be)

#undef ENDIAN_ACCESSORS

#endif
