/* Reading chains of backing files.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/backing-chain.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "block/block.h"
#include "daemon/error.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define PROBE_BYTES 4096u

static void layer_free(gpointer data)
{
    BackingLayer *layer = data;
    g_free(layer->path);
    g_free(layer->format);
    g_free(layer);
}

/* What the header of an image says of its backing file. False: nothing can be told. */
static bool read_header(const char *path, const char *format, BlockInfo *out)
{
    failpoint("image-look");
    g_autoptr(BlockSpec) spec = block_spec_new();
    block_spec_set(spec, "driver", format);
    block_spec_set(spec, "file.driver", "file");
    block_spec_set(spec, "file.filename", path);
    g_autoptr(BlockNode) node = block_open(
        spec, BLOCK_OPEN_NO_BACKING | BLOCK_OPEN_SHARED | BLOCK_OPEN_UNLOCKED | BLOCK_OPEN_NO_DATA,
        NULL);
    return node && block_get_info(node, out, NULL);
}

/* "json:..." and "nbd://..." are no files; a name with a colon behind a slash is one. */
static bool is_file_name(const char *name)
{
    const char *colon = strchr(name, ':');
    const char *slash = strchr(name, '/');
    return !colon || (slash && slash < colon);
}

static const char *probe(const char *path)
{
    guint8 head[PROBE_BYTES];
    autofd fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    ssize_t n = fd >= 0 ? pread(fd, head, sizeof(head), 0) : -1;
    return n >= 0 ? block_probe(head, (size_t)n, path) : "raw";
}

/* The layer below, or NULL: there is none, or with @error. @out_is_other: it is no file. */
static BackingLayer *next_layer(const char *path, const char *format, bool *out_is_other,
                                GError **error)
{
    BlockInfo info;
    if (!block_format_has_backing(format) || !read_header(path, format, &info)) {
        return NULL;
    }
    BackingLayer *layer = NULL;
    if (info.backing_filename && !is_file_name(info.backing_filename)) {
        *out_is_other = true;
    } else if (info.backing_filename) {
        g_autofree char *below = block_backing_path(path, info.backing_filename);
        const char *said = info.backing_format;
        const char *found = said ? said : probe(below);
        if (!said && strcmp(found, "raw") != 0) {
            daemon_error_set(error, DAEMON_ERROR_OPERATION_INVALID,
                             "Requested operation is not valid: image '%s' does not say the format "
                             "of its backing file '%s'; say it by lodge-img rebase -u -F %s -b ...",
                             path, below, found);
        } else {
            layer = g_new0(BackingLayer, 1);
            layer->path = g_steal_pointer(&below);
            layer->format = g_strdup(found);
        }
    }
    block_info_clear(&info);
    return layer;
}

bool backing_chain_read(const char *path, const char *format, GPtrArray **out_layers,
                        GError **error)
{
    g_autoptr(GPtrArray) layers = g_ptr_array_new_with_free_func(layer_free);
    bool is_other = false;
    GError *reason = NULL;
    *out_layers = NULL;
    while (layers->len < BACKING_CHAIN_MAX) {
        BackingLayer *layer = next_layer(path, format, &is_other, &reason);
        if (!layer) {
            break;
        }
        g_ptr_array_add(layers, layer);
        path = layer->path;
        format = layer->format;
    }
    if (layers->len == BACKING_CHAIN_MAX) {
        daemon_error_set(&reason, DAEMON_ERROR_OPERATION_INVALID,
                         "Requested operation is not valid: image '%s' has %u backing files or "
                         "more, or is its own",
                         path, BACKING_CHAIN_MAX);
    }
    if (reason) {
        g_propagate_error(error, reason);
        return false;
    }
    if (layers->len > 0 && !is_other) {
        *out_layers = g_steal_pointer(&layers);
    }
    return true;
}
