/* LUKS headers: reading, unlocking and changing slots. What lies behind the input reads as zeroes.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/int-math.h"
#include "block/luks/luks.h"

#include <errno.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ROOM_BYTES (3u << 20)
#define ITERATIONS_MAX 2000u

typedef struct Input {
    const uint8_t *data;
    size_t size;
} Input;

static int read_input(void *opaque, uint64_t offset, void *buf, size_t length)
{
    const Input *input = opaque;
    if (!range_fits(offset, length, ROOM_BYTES)) {
        __builtin_trap(); /* the header's checks let it pass */
    }
    size_t there = offset < input->size ? min_u64(length, input->size - offset) : 0;
    memcpy(buf, input->data + (there ? offset : 0), there);
    memset((uint8_t *)buf + there, 0, length - there);
    return 0;
}

static int write_input(void *opaque, uint64_t offset, const void *buf, size_t length)
{
    if (!range_fits(offset, length, ROOM_BYTES)) {
        __builtin_trap();
    }
    return 0;
}

static int flush_input(void *opaque)
{
    return 0;
}

/* What a header asks for may take minutes; here it may not. */
static bool is_quick(const LuksHeader *header)
{
    unsigned active = 0;
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        active += header->slots[i].is_active;
        if (header->slots[i].is_active && header->slots[i].iterations > ITERATIONS_MAX) {
            return false;
        }
    }
    return active <= 1 && header->digest_iterations <= ITERATIONS_MAX;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Input input = { data, size };
    LuksStore store = { read_input, write_input, flush_input, &input };
    LuksHeader header;
    uint8_t key[CRYPTO_KEY_MAX];
    if (!luks_read(&store, ROOM_BYTES, &header, NULL)) {
        return 0;
    }
    if (is_quick(&header)) {
        GBytes *secret = g_bytes_new_static("abc", 3);
        (void)!luks_unlock(&store, &header, secret, key, NULL);
        g_bytes_unref(secret);
    }
    return 0;
}
