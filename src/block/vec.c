/* Vectors, zero detection, and facts of images.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/driver.h"

#include <string.h>

typedef enum VecOp { VEC_READ, VEC_WRITE, VEC_ZERO } VecOp;

static void walk(const BlockVec *vec, uint64_t skip, uint8_t *buf, size_t length, VecOp op)
{
    for (unsigned i = 0; i < vec->count && length > 0; i++) {
        if (skip >= vec->iov[i].iov_len) {
            skip -= vec->iov[i].iov_len;
            continue;
        }
        uint8_t *memory = (uint8_t *)vec->iov[i].iov_base + skip;
        size_t part = MIN(vec->iov[i].iov_len - skip, length);
        if (op == VEC_READ) {
            memcpy(buf, memory, part);
        } else if (op == VEC_WRITE) {
            memcpy(memory, buf, part);
        } else {
            memset(memory, 0, part);
        }
        buf = buf ? buf + part : NULL;
        length -= part;
        skip = 0;
    }
}

void block_vec_read(const BlockVec *vec, uint64_t skip, void *buf, size_t length)
{
    walk(vec, skip, buf, length, VEC_READ);
}

void block_vec_write(const BlockVec *vec, uint64_t skip, const void *buf, size_t length)
{
    walk(vec, skip, (uint8_t *)buf, length, VEC_WRITE);
}

void block_vec_zero(const BlockVec *vec, uint64_t skip, size_t length)
{
    walk(vec, skip, NULL, length, VEC_ZERO);
}

bool block_is_zero(const void *buf, size_t length)
{
    /* The first bytes are looked at one by one, the rest is compared with what lies before it. */
    const uint8_t *bytes = buf;
    for (size_t i = 0; i < 16; i++) {
        if (i == length) {
            return true;
        }
        if (bytes[i]) {
            return false;
        }
    }
    return memcmp(bytes, bytes + 16, length - 16) == 0;
}

bool block_vec_is_zero(const BlockVec *vec, uint64_t skip, size_t length)
{
    for (unsigned i = 0; i < vec->count && length > 0; i++) {
        if (skip >= vec->iov[i].iov_len) {
            skip -= vec->iov[i].iov_len;
            continue;
        }
        size_t part = MIN(vec->iov[i].iov_len - skip, length);
        if (!block_is_zero((uint8_t *)vec->iov[i].iov_base + skip, part)) {
            return false;
        }
        length -= part;
        skip = 0;
    }
    return true;
}
