/* Fuzz target: lease files of dnsmasq (first byte even), and answers of the kernel about its
 * neighbours.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "daemon/domain/host-addresses.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GArray) found = g_array_new(FALSE, TRUE, sizeof(HostAddress));
    if (size == 0) {
        return 0;
    }
    if (data[0] & 1) {
        /* Of just this size, so that reading past it is seen. */
        g_autofree uint8_t *copy = g_memdup2(data + 1, size - 1);
        neighbours_read(copy, size - 1, found);
    } else {
        g_autofree char *text = g_strndup((const char *)data + 1, size - 1);
        leases_read(text, 1000, found);
    }
    lodge_assert(found->len <= size);
    for (guint i = 0; i < found->len; i++) {
        lodge_assert(g_array_index(found, HostAddress, i).text[0] != 0);
    }
    return 0;
}
