/* Exports of a machine's nodes. SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/export/exports.h"

#include "base/log.h"
#include "block/driver.h"
#include "block/export/server.h"
#include "block/named-bitmap.h"
#include "gbase/error.h"
#include "gbase/strutil.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

struct BlockExports {
    EventLoop *loop;
    BlockGraph *graph;
    NbdServer *server; /* NULL: not started */
    char *path;        /* of its socket, or NULL */
    GPtrArray *list;   /* of Export, in the order made */
    GPtrArray *untold; /* of char *: ids of those that are gone */
    BlockExportDeletedFunc deleted;
    void *opaque;
};

typedef struct Export {
    BlockExports *exports;
    char *id, *name; /* name: that clients know */
    BlockBackend *backend;
    GPtrArray *bitmaps; /* of DirtyBitmap, busy as long as this is there */
    bool is_shutting_down;
} Export;

/* Going */

static void tell_deleted(void *opaque)
{
    BlockExports *exports = opaque;
    g_autoptr(GPtrArray) untold = exports->untold;
    exports->untold = g_ptr_array_new_with_free_func(g_free);
    for (guint i = 0; i < untold->len; i++) {
        exports->deleted(exports->opaque, g_ptr_array_index(untold, i));
    }
}

static void export_free(Export *export)
{
    for (guint i = 0; i < export->bitmaps->len; i++) {
        DirtyBitmap *bitmap = g_ptr_array_index(export->bitmaps, i);
        dirty_bitmap_set_flags(bitmap, 0, DIRTY_BITMAP_BUSY);
        dirty_bitmap_unref(bitmap);
    }
    g_ptr_array_unref(export->bitmaps);
    if (export->backend) {
        block_graph_remove_backend(export->exports->graph, export->backend);
        block_backend_close(export->backend);
    }
    g_free(export->id);
    g_free(export->name);
    g_free(export);
}

/* The server and its sessions do not use it any more. */
static void on_released(void *opaque)
{
    Export *export = opaque;
    BlockExports *exports = export->exports;
    if (!g_ptr_array_remove(exports->list, export)) {
        return; /* it was never added; its maker frees it */
    }
    g_ptr_array_add(exports->untold, g_steal_pointer(&export->id));
    export_free(export);
    if (loop_call(exports->loop, tell_deleted, exports) < 0) {
        log_warn("no memory to tell at once that an export is gone");
    }
}

/* Requests */

static BlockNode *enter(void *opaque)
{
    return block_backend_enter(((Export *)opaque)->backend);
}

static void leave(void *opaque)
{
    block_backend_leave(((Export *)opaque)->backend);
}

static GPtrArray *hurry(void *opaque)
{
    return block_node_hurry(block_backend_node(((Export *)opaque)->backend));
}

/* Coming */

static Export *find(const BlockExports *exports, const char *id)
{
    for (guint i = 0; i < exports->list->len; i++) {
        Export *export = g_ptr_array_index(exports->list, i);
        if (strcmp(export->id, id) == 0) {
            return export;
        }
    }
    return NULL;
}

static bool check_options(const BlockExports *exports, const BlockExportOptions *options,
                          GError **error)
{
    if (!str_is_id(options->id)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "Invalid block export id");
    } else if (find(exports, options->id)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_EXISTS,
                    "Block export id '%s' is already in use", options->id);
    } else if (!exports->server) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_STATE, "NBD server not running");
    } else {
        return true;
    }
    return false;
}

static bool check_node(const BlockExportOptions *options, const BlockNode *node, GError **error)
{
    if (options->is_writable && !block_node_is_writable(node)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_PERMISSION,
                    "Cannot export read-only node as writable");
        return false;
    }
    return !(node->is_hollow || options->is_writable) || block_node_check_unclaimed(node, error);
}

static bool take_bitmap(Export *export, const BlockExportOptions *options, BlockNode *node,
                        const BlockExportBitmap *wanted, GError **error)
{
    if (wanted->node) {
        node = block_graph_find(export->exports->graph, wanted->node, error);
        if (!node) {
            return false;
        }
    }
    BlockNode *owner = node;
    while (!wanted->node && owner && !block_node_find_bitmap(owner, wanted->name)) {
        owner = owner->driver->is_filter ? owner->file : owner->backing;
    }
    if (!owner || !block_node_find_bitmap(owner, wanted->name)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "Bitmap '%s' is not found",
                    wanted->name);
        return false;
    }
    DirtyBitmap *bitmap =
        block_bitmap_get(owner, wanted->name, BLOCK_BITMAP_REFUSE_UNSTABLE, error);
    if (!bitmap) {
        return false;
    }
    if (!options->is_writable && !block_node_is_writable(owner) &&
        dirty_bitmap_flags(bitmap) & DIRTY_BITMAP_RECORDING) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "Enabled bitmap '%s' incompatible with readonly export", wanted->name);
        return false;
    }
    dirty_bitmap_set_flags(bitmap, DIRTY_BITMAP_BUSY, 0);
    g_ptr_array_add(export->bitmaps, dirty_bitmap_ref(bitmap));
    return true;
}

static bool open_root(Export *export, const BlockExportOptions *options, BlockNode *node,
                      GError **error)
{
    const BlockOptions root = { .id = options->id,
                                .node = node,
                                .is_readonly = !options->is_writable,
                                .is_anonymous = true,
                                .is_export = true };
    export->backend = block_backend_open(&root, export->exports->loop, error);
    if (!export->backend) {
        return false;
    }
    block_graph_add_backend(export->exports->graph, export->backend);
    if (!block_graph_update_access(export->exports->graph, node, error)) {
        return false;
    }
    for (unsigned i = 0; i < options->bitmap_count; i++) {
        if (!take_bitmap(export, options, node, &options->bitmaps[i], error)) {
            return false;
        }
    }
    return true;
}

/* Gives the export to the server. */
static bool offer(Export *export, const BlockExportOptions *options, GError **error)
{
    const NbdExportOptions nbd = {
        .name = export->name,
        .description = options->description,
        .is_writable = options->is_writable,
        .is_through = options->is_through,
        .has_depth = options->has_depth,
        .bitmaps = (DirtyBitmap **)export->bitmaps->pdata,
        .bitmap_count = export->bitmaps->len,
    };
    const NbdDiskSource source = { enter, leave, on_released, export, hurry };
    NbdExport *offered = nbd_export_new(&nbd, &source, error);
    bool ok = offered && nbd_server_add(export->exports->server, offered, error);
    if (ok) {
        g_ptr_array_add(export->exports->list, export);
    }
    nbd_export_unref(offered);
    return ok;
}

bool block_exports_add(BlockExports *exports, const BlockExportOptions *options, GError **error)
{
    if (!check_options(exports, options, error)) {
        return false;
    }
    BlockNode *node = block_graph_find(exports->graph, options->node, error);
    if (!node || !check_node(options, node, error)) {
        return false;
    }
    Export *export = g_new0(Export, 1);
    export->exports = exports;
    export->id = g_strdup(options->id);
    export->name = g_strdup(options->name ? options->name : options->node);
    export->bitmaps = g_ptr_array_new();
    if (!open_root(export, options, node, error) || !offer(export, options, error)) {
        export_free(export);
        return false;
    }
    return true;
}

bool block_exports_remove(BlockExports *exports, const char *id, bool is_hard, GError **error)
{
    Export *export = find(exports, id);
    if (!export) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "Export '%s' is not found",
                    id);
        return false;
    }
    if (export->is_shutting_down) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_STATE, "Export '%s' is already shutting down",
                    id);
        return false;
    }
    export->is_shutting_down = true;
    g_autofree char *name = g_strdup(export->name);
    GError *reason = NULL;
    if (!nbd_server_remove(exports->server, name, is_hard, &reason)) {
        export->is_shutting_down = false;
        g_propagate_error(error, reason);
        return false;
    }
    return true;
}

bool block_exports_get(const BlockExports *exports, unsigned index, BlockExportInfo *out_info)
{
    if (index >= exports->list->len) {
        return false;
    }
    const Export *export = g_ptr_array_index(exports->list, index);
    *out_info = (BlockExportInfo){ export->id, block_node_name(block_backend_node(export->backend)),
                                   export->is_shutting_down };
    return true;
}

/* The server */

bool block_exports_check_no_server(const BlockExports *exports, GError **error)
{
    if (exports->server) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_STATE, "NBD server already running");
    }
    return !exports->server;
}

bool block_exports_start_server(BlockExports *exports, int fd, const char *path, NbdTls *tls,
                                unsigned max_connections, GError **error)
{
    if (!block_exports_check_no_server(exports, error)) {
        close(fd);
        return false;
    }
    const NbdServerOptions options = { exports->loop, tls, max_connections, NULL, NULL };
    exports->server = nbd_server_new(&options);
    if (!nbd_server_listen(exports->server, fd, error)) {
        g_clear_pointer(&exports->server, nbd_server_free);
        return false;
    }
    exports->path = g_strdup(path);
    return true;
}

bool block_exports_stop_server(BlockExports *exports, GError **error)
{
    if (!exports->server) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_STATE, "NBD server not running");
        return false;
    }
    g_clear_pointer(&exports->server, nbd_server_free);
    if (exports->path && unlink(exports->path) < 0 && errno != ENOENT) {
        log_warn("cannot unlink '%s': %s", exports->path, g_strerror(errno));
    }
    g_clear_pointer(&exports->path, g_free);
    loop_cancel_calls(exports->loop, exports);
    tell_deleted(exports);
    return true;
}

/* Life */

BlockExports *block_exports_new(EventLoop *loop, BlockGraph *graph, BlockExportDeletedFunc deleted,
                                void *opaque)
{
    BlockExports *exports = g_new0(BlockExports, 1);
    exports->loop = loop;
    exports->graph = graph;
    exports->list = g_ptr_array_new();
    exports->untold = g_ptr_array_new_with_free_func(g_free);
    exports->deleted = deleted;
    exports->opaque = opaque;
    return exports;
}

void block_exports_free(BlockExports *exports)
{
    if (exports) {
        if (exports->server) {
            block_exports_stop_server(exports, NULL);
        }
        loop_cancel_calls(exports->loop, exports);
        g_ptr_array_unref(exports->list);
        g_ptr_array_unref(exports->untold);
        g_free(exports);
    }
}
