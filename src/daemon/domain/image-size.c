/* Sizes of images. SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/image-size.h"

#include "block/block.h"

uint64_t image_size(const char *path, const char *format, uint64_t otherwise)
{
    g_autoptr(BlockSpec) spec = block_spec_new();
    block_spec_set(spec, "driver", format ? format : "raw");
    block_spec_set(spec, "file.driver", "file");
    block_spec_set(spec, "file.filename", path);
    g_autoptr(BlockNode) node = block_open(
        spec, BLOCK_OPEN_NO_BACKING | BLOCK_OPEN_SHARED | BLOCK_OPEN_UNLOCKED | BLOCK_OPEN_NO_DATA,
        NULL);
    return node ? block_node_size(node) : otherwise;
}
