/* Sizes of images. SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/image-size.h"

#include "base/failpoint.h"
#include "block/block.h"

#include <sys/stat.h>

#define STAT_BLOCK 512u

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

static bool look(const char *path, struct stat *st, ImageSizes *out)
{
    failpoint("image-look");
    if (stat(path, st) < 0) {
        return false;
    }
    *out = (ImageSizes){ .allocation = (uint64_t)st->st_blocks * STAT_BLOCK,
                         .capacity = (uint64_t)st->st_size,
                         .physical = (uint64_t)st->st_size };
    return true;
}

bool image_size_physical(const char *path, ImageSizes *out)
{
    struct stat st;
    return look(path, &st, out);
}

bool image_size_look(const char *path, const char *format, ImageSizes *out)
{
    struct stat st;
    bool ok = look(path, &st, out);
    if (ok && (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode))) {
        out->capacity = image_size(path, format, out->physical);
    }
    return ok;
}
