/* The state store's journal and envelopes: whatever a disk holds after a crash.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "daemon/state/envelope.h"
#include "daemon/state/journal.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    guint64 epoch = 0;
    GPtrArray *records = NULL;
    if (journal_read(data, size, &epoch, &records)) {
        for (guint r = 0; r < records->len; r++) {
            const GPtrArray *steps = g_ptr_array_index(records, r);
            for (guint i = 0; i < steps->len; i++) {
                lodge_assert(journal_path_is_safe(((Step *)g_ptr_array_index(steps, i))->path));
            }
        }
        g_ptr_array_unref(records);
    }
    g_autofree char *text = g_strndup((const char *)data, size);
    lodge_assert(envelope_open(text, strlen(text)).body_size <= strlen(text));
    g_autofree char *sealed = envelope_seal(text, strlen(text), 1);
    lodge_assert(envelope_open(sealed, strlen(sealed)).state == ENVELOPE_INTACT);
    return 0;
}
