/* Disks that an NBD server offers. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_EXPORT_EXPORT_H
#define LODGE_BLOCK_EXPORT_EXPORT_H

#include "block/dirty-bitmap.h"

#define NBD_EXPORT_BITMAPS_MAX 64

/* Whose disk it is. Requests come from threads of the server's. */
typedef struct NbdDiskSource {
    /* The node for one request; leave() follows. May wait. */
    BlockNode *(*enter)(void *opaque);
    void (*leave)(void *opaque);
    /* Nobody uses it any more. Context: the server's loop. May be NULL. */
    void (*released)(void *opaque);
    void *opaque;
    /* block_node_hurry() of the disk. Context: the server's loop. May be NULL. */
    GPtrArray *(*hurry)(void *opaque);
} NbdDiskSource;

typedef struct NbdExportOptions {
    const char *name;        /* "" : what clients get that name none */
    const char *description; /* NULL: none */
    bool is_writable;
    bool is_through;       /* each write reaches the disk before it is answered */
    bool has_depth;        /* qemu:allocation-depth */
    DirtyBitmap **bitmaps; /* qemu:dirty-bitmap:NAME; referenced */
    unsigned bitmap_count;
} NbdExportOptions;

/* Read by many threads, changed by none but for the atomics. */
typedef struct NbdExport {
    gint refs;
    bool is_removed; /* atomic: no session may begin with it */
    char *name, *description;
    uint64_t size; /* bytes, when it was made */
    bool is_writable, is_through, has_depth;
    NbdDiskSource source;
    unsigned preferred_block;
    DirtyBitmap *bitmaps[NBD_EXPORT_BITMAPS_MAX];
    unsigned bitmap_count;
} NbdExport;

/* False with @error: a name that is too long, too many bitmaps. */
NbdExport *nbd_export_new(const NbdExportOptions *options, const NbdDiskSource *source,
                          GError **error);
NbdExport *nbd_export_ref(NbdExport *export);
/* NULL is accepted. Context: the loop. */
void nbd_export_unref(NbdExport *export);

#endif
