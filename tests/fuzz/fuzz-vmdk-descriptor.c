/* Descriptors of VMDK images. SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/vmdk/descriptor.h"

#include <stddef.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    VmdkDescriptor descriptor;
    g_autofree char *text = g_strndup((const char *)data, size);
    vmdk_descriptor_find_cid(text);
    if (vmdk_descriptor_parse(text, &descriptor, NULL)) {
        vmdk_descriptor_clear(&descriptor);
    }
    return 0;
}
