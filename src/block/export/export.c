/* Disks that an NBD server offers. SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/export/export.h"

#include "block/nbd/proto.h"
#include "gbase/error.h"

#include <string.h>

NbdExport *nbd_export_new(const NbdExportOptions *options, const NbdDiskSource *source,
                          GError **error)
{
    if (strlen(options->name) > NBD_NAME_MAX ||
        (options->description && strlen(options->description) > NBD_NAME_MAX)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT,
                    "The name and the description of an export have at most %u bytes",
                    NBD_NAME_MAX);
        return NULL;
    }
    if (options->bitmap_count > NBD_EXPORT_BITMAPS_MAX) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT, "An export has at most %u bitmaps",
                    NBD_EXPORT_BITMAPS_MAX);
        return NULL;
    }
    NbdExport *export = g_new0(NbdExport, 1);
    export->refs = 1;
    export->name = g_strdup(options->name);
    export->description = g_strdup(options->description);
    export->has_depth = options->has_depth;
    export->is_through = options->is_through;
    export->source = *source;
    for (unsigned i = 0; i < options->bitmap_count; i++) {
        export->bitmaps[export->bitmap_count++] = dirty_bitmap_ref(options->bitmaps[i]);
    }
    BlockNode *node = source->enter(source->opaque);
    export->size = block_node_size(node);
    export->is_writable = options->is_writable && block_node_is_writable(node);
    export->preferred_block = MAX(block_node_granularity(node), 4096);
    source->leave(source->opaque);
    return export;
}

NbdExport *nbd_export_ref(NbdExport *export)
{
    g_atomic_int_inc(&export->refs);
    return export;
}

void nbd_export_unref(NbdExport *export)
{
    if (!export || !g_atomic_int_dec_and_test(&export->refs)) {
        return;
    }
    for (unsigned i = 0; i < export->bitmap_count; i++) {
        dirty_bitmap_unref(export->bitmaps[i]);
    }
    if (export->source.released) {
        export->source.released(export->source.opaque);
    }
    g_free(export->name);
    g_free(export->description);
    g_free(export);
}
