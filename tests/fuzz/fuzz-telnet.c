/* Bytes of a telnet client, in two pieces: what comes out is no more than went in, and does not
 * depend on where the pieces meet. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "vmm/char/telnet.h"

#include <string.h>

#define BYTES_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > BYTES_MAX) {
        return 0;
    }
    uint8_t whole[BYTES_MAX], pieces[BYTES_MAX];
    size_t length = size - 1, cut = length ? data[0] % length : 0;
    memcpy(whole, data + 1, length);
    memcpy(pieces, data + 1, length);
    bool has_break = false, has_piece_break = false;
    Telnet one = { 0 }, two = { 0 };
    size_t kept = telnet_filter(&one, whole, length, &has_break);
    size_t first = telnet_filter(&two, pieces, cut, &has_piece_break);
    size_t second = telnet_filter(&two, pieces + cut, length - cut, &has_piece_break);
    lodge_assert(kept <= length && first + second == kept);
    lodge_assert(!memcmp(whole, pieces, first) && !memcmp(whole + first, pieces + cut, second));
    lodge_assert(has_break == has_piece_break && one.state == two.state);
    return 0;
}
