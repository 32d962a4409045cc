/* The exports of a machine: an NBD server and the nodes that it offers while guests and jobs use
 * them (QMP's nbd-server-..., block-export-...).
 *
 * Each export is a root of the graph: changes of the graph wait for its requests, and it follows
 * the node as disks do. Messages are QEMU's. Context of all functions: the loop.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_EXPORT_EXPORTS_H
#define LODGE_BLOCK_EXPORT_EXPORTS_H

#include "block/graph.h"
#include "block/nbd/tls.h"

typedef struct BlockExports BlockExports;

/* Told when an export is gone; never within a call of these functions but stop and free. */
typedef void (*BlockExportDeletedFunc)(void *opaque, const char *id);

/* @loop, @graph: borrowed for its life. */
BlockExports *block_exports_new(EventLoop *loop, BlockGraph *graph, BlockExportDeletedFunc deleted,
                                void *opaque);
/* Stops the server. NULL is accepted. */
void block_exports_free(BlockExports *exports);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BlockExports, block_exports_free)

/* Serves at @fd, a listening socket (transfer full, also on failure). @path: of its file, which is
 * unlinked at the end; NULL: none. @tls: referenced; NULL: plain connections. @max_connections: 0:
 * any number. False with @error: there is a server already. */
bool block_exports_start_server(BlockExports *exports, int fd, const char *path, NbdTls *tls,
                                unsigned max_connections, GError **error);
/* False with @error: there is one. */
bool block_exports_check_no_server(const BlockExports *exports, GError **error);
/* Cuts the clients and removes all exports. False with @error: there is no server. */
bool block_exports_stop_server(BlockExports *exports, GError **error);

typedef struct BlockExportBitmap {
    const char *node; /* NULL: the first one of that name from the exported node down */
    const char *name;
} BlockExportBitmap;

typedef struct BlockExportOptions {
    const char *id;
    const char *node; /* node-name */
    const char *name; /* for clients; NULL: as @node */
    const char *description;
    bool is_writable, is_through, has_depth;
    const BlockExportBitmap *bitmaps;
    unsigned bitmap_count;
} BlockExportOptions;

/* False with @error: no server, no such node or bitmap, a name that is taken, a node that may not
 * be used so. */
bool block_exports_add(BlockExports *exports, const BlockExportOptions *options, GError **error);
/* @is_hard: clients are cut off; else false with @error if there are any. */
bool block_exports_remove(BlockExports *exports, const char *id, bool is_hard, GError **error);

typedef struct BlockExportInfo {
    const char *id, *node; /* borrowed */
    bool is_shutting_down; /* its last clients are leaving */
} BlockExportInfo;
/* By number; false: past the last. */
bool block_exports_get(const BlockExports *exports, unsigned index, BlockExportInfo *out_info);

#endif
