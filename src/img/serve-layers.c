/* What lodge-img serve puts over an image: a layer that is thrown away (-s), and a part of it (-o).
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "gbase/error.h"
#include "img/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define FILE_OPTIONS (BLOCK_OPEN_WRITABLE | BLOCK_OPEN_NO_FLUSH | BLOCK_OPEN_DISCARD)

static BlockNode *open_layer(const char *path, uint64_t size, GError **error)
{
    g_autoptr(BlockSpec) options = block_spec_new();
    g_autofree char *text = g_strdup_printf("%" PRIu64, size);
    block_spec_set(options, "size", text);
    if (!block_create("qcow2", path, options, error)) {
        return NULL;
    }
    g_autoptr(BlockSpec) spec = block_spec_from_name(path, "qcow2", error);
    return spec ? block_open(spec, FILE_OPTIONS, error) : NULL;
}

BlockNode *img_serve_temporary(BlockNode *below, GError **error)
{
    const char *folder = g_getenv("TMPDIR");
    g_autofree char *path = g_build_filename(folder ? folder : "/var/tmp", "lodge.XXXXXX", NULL);
    int fd = g_mkstemp_full(path, O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) {
        lodge_error_set_errno(error, errno, "Cannot make a temporary file '%s' (TMPDIR says where)",
                              path);
        return NULL;
    }
    close(fd);
    BlockNode *layer = open_layer(path, block_node_size(below), error);
    unlink(path);
    if (!layer) {
        g_prefix_error(error, "Cannot make a temporary layer: ");
        return NULL;
    }
    block_node_set_backing(layer, block_node_ref(below));
    return layer;
}

static BlockNode *find_below(void *opaque, const char *name, GError **error)
{
    return opaque;
}

static bool may_use_below(void *opaque, const BlockNode *node, GError **error)
{
    return true;
}

BlockNode *img_serve_part(BlockNode *below, uint64_t offset, GError **error)
{
    const BlockLookup lookup = { find_below, may_use_below, below };
    g_autoptr(BlockSpec) spec = block_spec_new();
    g_autofree char *text = g_strdup_printf("%" PRIu64, offset);
    uint64_t size = block_node_size(below);
    if (offset >= size) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Offset (%" PRIu64 ") has to be smaller than the image size (%" PRIu64 ")",
                    offset, size);
        return NULL;
    }
    block_spec_set(spec, "driver", "raw");
    block_spec_set(spec, "file", "image");
    block_spec_set(spec, "offset", text);
    return block_open_with(spec, block_node_flags(below) & BLOCK_OPEN_WRITABLE, &lookup, error);
}
