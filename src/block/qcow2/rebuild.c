/* New refcount structures for qcow2 images whose old ones are broken.
 *
 * Table and blocks go past everything that is in use, are flushed, and the header's one sector
 * switches to them. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "base/int-math.h"
#include "block/qcow2/qcow2.h"

#include <errno.h>
#include <string.h>

typedef struct Rebuild {
    Qcow2 *q;
    const Qcow2Counts *counts;
    uint64_t used; /* clusters up to the last one in use */
    uint64_t table_clusters, blocks;
} Rebuild;

static void lay_out(Rebuild *rebuild)
{
    const Qcow2 *q = rebuild->q;
    rebuild->blocks = rebuild->table_clusters = 1;
    for (;;) {
        uint64_t all = rebuild->used + rebuild->blocks + rebuild->table_clusters;
        uint64_t blocks = div_round_up(all, 1ull << q->refblock_bits);
        uint64_t table = div_round_up(blocks * 8, q->cluster_size);
        if (blocks <= rebuild->blocks && table <= rebuild->table_clusters) {
            return;
        }
        rebuild->blocks = MAX(blocks, rebuild->blocks);
        rebuild->table_clusters = MAX(table, rebuild->table_clusters);
    }
}

static int write_blocks(const Rebuild *rebuild, uint64_t *table)
{
    Qcow2 *q = rebuild->q;
    uint64_t max = q->refcount_bits == 64 ? UINT64_MAX : (1ull << q->refcount_bits) - 1;
    uint64_t end = rebuild->used + rebuild->table_clusters + rebuild->blocks;
    g_autofree uint8_t *block = g_malloc(q->cluster_size);
    int rc = 0;
    for (uint64_t i = 0; i < rebuild->blocks && rc == 0; i++) {
        memset(block, 0, q->cluster_size);
        for (uint64_t j = 0; j < 1ull << q->refblock_bits; j++) {
            uint64_t cluster = (i << q->refblock_bits) + j;
            uint64_t count = cluster < rebuild->used ? qcow2_counts_get(rebuild->counts, cluster)
                                                     : cluster < end;
            if (count > max) {
                return -EOVERFLOW;
            }
            qcow2_refcount_store(block, q->refcount_bits, j, count);
        }
        table[i] = (rebuild->used + rebuild->table_clusters + i) << q->cluster_bits;
        rc = block_child_write(q->node->file, table[i], block, q->cluster_size);
    }
    return rc;
}

int qcow2_rebuild_refcounts(Qcow2 *q, const Qcow2Counts *counts)
{
    Rebuild rebuild = { .q = q, .counts = counts, .used = counts->clusters };
    lay_out(&rebuild);
    uint64_t entries = rebuild.table_clusters * q->cluster_size / 8;
    g_autofree uint64_t *table = g_try_new0(uint64_t, entries);
    g_autofree uint8_t *raw = g_try_malloc0(entries * 8);
    if (!table || !raw) {
        return -ENOMEM;
    }
    qcow2_cache_clear(&q->refblock_cache);
    int rc = write_blocks(&rebuild, table);
    for (uint64_t i = 0; i < entries; i++) {
        be64_put(raw + i * 8, table[i]);
    }
    uint64_t offset = rebuild.used << q->cluster_bits;
    if (rc == 0) {
        rc = block_child_write(q->node->file, offset, raw, entries * 8);
    }
    if (rc == 0) {
        rc = block_child_flush(q->node->file);
    }
    if (rc < 0) {
        return rc;
    }
    q->header.reftable_offset = offset;
    q->header.reftable_clusters = (uint32_t)rebuild.table_clusters;
    g_free(q->reftable);
    q->reftable = g_steal_pointer(&table);
    q->reftable_entries = (uint32_t)entries;
    q->fresh_from = MAX(q->fresh_from, (rebuild.used + rebuild.table_clusters + rebuild.blocks)
                                           << q->cluster_bits);
    return qcow2_switch_header(q);
}
