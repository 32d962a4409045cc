/* Command lines: words separated by newlines.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "vmm/options/config.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_malloc(size + 1);
    for (size_t i = 0; i < size; i++) {
        text[i] = data[i] ? (char)data[i] : ' ';
    }
    text[size] = 0;
    g_autofree char *command = g_strdup_printf("lodge-vmm\n%s", text);
    g_auto(GStrv) words = g_strsplit(command, "\n", 0);
    g_autoptr(GError) error = NULL;
    g_autoptr(MachineConfig) config = options_parse((int)g_strv_length(words), words, &error);
    lodge_assert(!config == !!error);
    return 0;
}
