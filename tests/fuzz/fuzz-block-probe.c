/* Files of which nobody says what they are: probed, and opened as what they look like.
 *
 * The first byte: bit 0 writable, the others choose the name. SPDX-License-Identifier:
 * GPL-2.0-or-later */
#include "base/int-math.h"
#include "base/log.h"
#include "block/block.h"
#include "fuzz/fuzz-image.h"

#include <string.h>

#define FILE_BYTES_MAX (16 * MIB)
#define PROBE_BYTES 2048u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = { "fuzz", "fuzz.vmdk", "fuzz.vhd", "", "/dev/fuzz", ".vdi" };
    if (size < 1) {
        return 0;
    }
    log_init("fuzz", LOG_LEVEL_ERROR);
    const char *name = names[(data[0] >> 1) % G_N_ELEMENTS(names)];
    /* A copy of its own, so that the sanitizer sees reads past its end. */
    size_t length = MIN(size - 1, PROBE_BYTES);
    g_autofree uint8_t *head = g_malloc(length + !length);
    memcpy(head, data + 1, length);
    const char *format = block_probe(head, length, name);
    lodge_assert(block_format_is_known(format));
    File *file = file_memory_new(data + 1, size - 1, FILE_BYTES_MAX);
    if (file) {
        fuzz_image_file(format, file, data[0] & 1);
    }
    return 0;
}
