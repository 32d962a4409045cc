/* What a qcow2 image says of itself; changes of what it says.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/qcow2/bitmap.h"
#include "gbase/error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void add_facts(const Qcow2 *q, GArray *facts)
{
    const Qcow2Header *header = &q->header;
    block_fact_text(facts, "compat", header->version >= 3 ? "1.1" : "0.10");
    if (header->version >= 3) {
        block_fact_text(facts, "compression-type",
                        header->compression == QCOW2_COMPRESSION_ZSTD ? "zstd" : "zlib");
        block_fact_bool(facts, "lazy-refcounts",
                        header->compatible & QCOW2_COMPATIBLE_LAZY_REFCOUNTS);
        qcow2_bitmaps_add_facts(q, facts);
        block_fact_number(facts, "refcount-bits", 1 << header->refcount_order);
        if (header->data_file_name) {
            block_fact_text(facts, "data-file", header->data_file_name);
            block_fact_bool(facts, "data-file-raw",
                            header->autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW);
        }
        block_fact_bool(facts, "corrupt",
                        header->incompatible & QCOW2_INCOMPATIBLE_CORRUPT || q->is_corrupt);
        block_fact_bool(facts, "extended-l2",
                        header->incompatible & QCOW2_INCOMPATIBLE_EXTENDED_L2);
    } else {
        block_fact_text(facts, "compression-type", "zlib");
        block_fact_number(facts, "refcount-bits", 16);
    }
}

static void add_encryption(const Qcow2 *q, GArray *facts)
{
    if (q->crypt && q->crypt->is_aes) {
        block_fact_text(block_fact_object(facts, "encrypt"), "format", "aes");
    } else if (q->crypt) {
        luks_add_facts(&q->crypt->header, block_fact_object(facts, "encrypt"), true);
    }
}

static void add_snapshots(const Qcow2 *q, GArray *snapshots)
{
    for (uint32_t i = 0; i < q->header.snapshot_count; i++) {
        const Qcow2Snapshot *from = &q->snapshots[i];
        BlockSnapshot snapshot = {
            .id = g_strdup(from->id),
            .name = g_strdup(from->name),
            .vm_state_size = from->vm_state_size,
            .date_seconds = from->date_seconds,
            .date_nanoseconds = from->date_nanoseconds,
            .vm_clock_ns = from->vm_clock_ns,
            .icount = from->icount,
            .disk_size = from->disk_size,
        };
        g_array_append_val(snapshots, snapshot);
    }
}

bool qcow2_get_info(BlockNode *node, BlockInfo *info, GError **error)
{
    const Qcow2 *q = qcow2_of(node);
    info->cluster_size = q->cluster_size;
    info->is_encrypted = q->header.crypt != QCOW2_CRYPT_NONE;
    info->is_dirty = q->header.incompatible & QCOW2_INCOMPATIBLE_DIRTY;
    add_facts(q, info->facts);
    add_encryption(q, info->facts);
    add_snapshots(q, info->snapshots);
    return true;
}

static char *text_or_null(const char *text)
{
    return text && *text ? g_strdup(text) : NULL;
}

bool qcow2_change_backing(BlockNode *node, const char *filename, const char *format, GError **error)
{
    Qcow2 *q = qcow2_of(node);
    Qcow2Header *header = &q->header;
    g_autofree char *old_name = g_steal_pointer(&header->backing_name);
    g_autofree char *old_format = g_steal_pointer(&header->backing_format);
    header->backing_name = text_or_null(filename);
    header->backing_format = header->backing_name ? text_or_null(format) : NULL;
    int rc = qcow2_header_write(q, true);
    if (rc < 0) {
        g_free(header->backing_name);
        g_free(header->backing_format);
        header->backing_name = g_steal_pointer(&old_name);
        header->backing_format = g_steal_pointer(&old_format);
        lodge_error_set_errno(error, rc, "Could not change the backing file to '%s'",
                              filename ? filename : "");
        return false;
    }
    g_free(node->backing_name);
    g_free(node->backing_format);
    node->backing_name = g_strdup(header->backing_name);
    node->backing_format = g_strdup(header->backing_format);
    return true;
}
