/* Nodes that become read-only or writable, or get other options, while they are in use.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "block/drivers.h"
#include "gbase/error.h"

#include <errno.h>
#include <string.h>

/* What a node is that could neither be reopened nor be opened again as it was. */

static int dead_read(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                     uint64_t skip)
{
    return -EIO;
}

static int dead_write(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                      uint64_t skip)
{
    return -EIO;
}

static int dead_flush(BlockNode *node)
{
    return -EIO;
}

static int dead_close(BlockNode *node)
{
    return 0;
}

static const BlockDriver dead_driver = {
    .name = "dead",
    .close = dead_close,
    .read = dead_read,
    .write = dead_write,
    .flush = dead_flush,
};

static void forget_state(BlockNode *node)
{
    g_clear_pointer(&node->data_file, block_node_unref);
    g_clear_pointer(&node->backing_name, g_free);
    g_clear_pointer(&node->backing_format, g_free);
}

/* @data: a data file that the driver shall not open itself; NULL: it may. */
static bool open_format(BlockNode *node, const BlockSpec *spec, unsigned flags, BlockNode *data,
                        GError **error)
{
    node->flags = flags;
    node->data_file = data ? block_node_ref(data) : NULL;
    if (node->driver->open(node, spec, flags, error)) {
        return true;
    }
    forget_state(node);
    return false;
}

/* Closes the format and opens it again. Alone on the node. */
static bool open_again(BlockNode *node, const BlockSpec *spec, unsigned flags, GError **error)
{
    unsigned before = node->flags;
    BlockNode *data = node->is_data_named ? block_node_ref(node->data_file) : NULL;
    int rc = node->driver->close(node);
    bool ok = false;
    forget_state(node);
    if (rc < 0) {
        lodge_error_set_errno(error, rc, "cannot write what is pending of '%s'", node->filename);
    } else {
        ok = open_format(node, spec, flags, data, error);
    }
    g_autoptr(GError) second = NULL;
    if (!ok && !open_format(node, node->spec, before, data, &second)) {
        log_error("'%s' cannot be opened again and fails from here on: %s", node->filename,
                  second->message);
        node->flags = before;
        node->driver = &dead_driver;
    }
    block_node_unref(data);
    return ok;
}

static bool reopen_alone(BlockNode *node, const BlockSpec *spec, unsigned flags, GError **error)
{
    if (node->driver->is_filter) {
        node->flags = flags;
        return true;
    }
    if (!node->driver->reopen || spec != node->spec) {
        return open_again(node, spec, flags, error);
    }
    if (!node->driver->reopen(node, flags, error)) {
        return false;
    }
    node->flags = flags;
    return true;
}

static bool is_change(const BlockNode *node, const BlockSpec *spec, unsigned flags)
{
    return node->flags != flags || node->spec != spec;
}

/* Whether the file of @node is read-only and writable as @node is: not below a filter, if the file
 * says itself which it is. */
static bool file_follows(const BlockNode *node)
{
    const BlockNode *file = node->file;
    return file && (!node->driver->is_filter || !node->spec || file->flags & BLOCK_OPEN_AUTO ||
                    (block_spec_has_sub(node->spec, "file") &&
                     !(file->spec && block_spec_get(file->spec, "read-only"))));
}

static bool reopen_to(BlockNode *node, const BlockSpec *spec, unsigned flags, GError **error)
{
    BlockNode *file = file_follows(node) ? node->file : NULL;
    bool becomes_writable = flags & ~node->flags & BLOCK_OPEN_WRITABLE;
    bool becomes_readonly = node->flags & ~flags & BLOCK_OPEN_WRITABLE;
    if (becomes_writable && !node->driver->write) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "'%s': format '%s' can be read only", node->filename, node->driver->name);
        return false;
    }
    if (becomes_writable && node->file && !file && !block_node_is_writable(node->file)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_PERMISSION, "Block node '%s' is read-only",
                    node->file->name ? node->file->name : node->file->filename);
        return false;
    }
    BlockNode *data = node->is_data_named ? node->data_file : NULL;
    if (becomes_writable &&
        ((file && !block_reopen(file, file->flags | BLOCK_OPEN_WRITABLE, error)) ||
         (data && !block_reopen(data, data->flags | BLOCK_OPEN_WRITABLE, error)))) {
        return false;
    }
    block_node_lock_alone(node);
    bool ok = reopen_alone(node, spec, flags, error);
    pthread_rwlock_unlock(&node->lock);
    /* Another one above the file may write to it. */
    if (file && file->users <= 1 && (ok ? becomes_readonly : becomes_writable)) {
        g_autoptr(GError) ignored = NULL;
        if (!block_reopen(file, file->flags & ~(unsigned)BLOCK_OPEN_WRITABLE, &ignored)) {
            log_warn("'%s' stays open for writing: %s", file->filename, ignored->message);
        }
    }
    return ok;
}

bool block_reopen(BlockNode *node, unsigned flags, GError **error)
{
    return !is_change(node, node->spec, flags) || reopen_to(node, node->spec, flags, error);
}

bool block_reopen_with(BlockNode *node, const BlockSpec *spec, unsigned flags, GError **error)
{
    if (!reopen_to(node, spec, flags, error)) {
        return false;
    }
    block_spec_free(node->spec);
    node->spec = block_spec_copy(spec);
    return true;
}
