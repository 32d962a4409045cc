/* New refcount structures for qcow2 images whose old ones are broken.
 *
 * Table and blocks go to clusters that neither the content nor the old structures use, are flushed,
 * and the header's one sector switches to them. Blocks that would count nothing are left out: a
 * sparse file stays as small as it is. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "base/int-math.h"
#include "block/qcow2/qcow2.h"

#include <errno.h>
#include <string.h>

#define NEEDED 1 /* in the table: a block that has no place yet; no offset of a cluster */

typedef struct Rebuild {
    Qcow2 *q;
    const Qcow2Counts *counts;
    uint64_t from;   /* clusters before it are not taken */
    uint64_t used;   /* clusters up to the last one in use, by content or old structures */
    uint64_t blocks; /* that the table has to have room for */
    uint64_t table_first, table_clusters;
    uint64_t *table; /* offsets, NEEDED, or 0; of table_clusters */
    GArray *old;     /* of uint64_t, ascending: clusters of the old structures */
    GArray *placed;  /* of uint64_t, ascending: clusters of the new blocks */
} Rebuild;

static int compare_clusters(gconstpointer a, gconstpointer b)
{
    uint64_t first = *(const uint64_t *)a, second = *(const uint64_t *)b;
    return first < second ? -1 : first > second;
}

static void note_cluster(Rebuild *rebuild, uint64_t cluster)
{
    if (cluster > 0 && cluster < rebuild->counts->clusters) {
        g_array_append_val(rebuild->old, cluster);
    }
}

/* What the old header and table name of the file, if only by mistake: it is not written to before
 * the switch. */
static void note_old(Rebuild *rebuild)
{
    const Qcow2 *q = rebuild->q;
    uint64_t first = qcow2_cluster_of(q, q->header.reftable_offset);
    for (uint64_t i = 0; i < q->header.reftable_clusters; i++) {
        note_cluster(rebuild, first + i);
    }
    for (uint32_t i = 0; i < q->reftable_entries; i++) {
        note_cluster(rebuild, qcow2_cluster_of(q, q->reftable[i]));
    }
    g_array_sort(rebuild->old, compare_clusters);
}

/* The end of what is in use: all behind it is free. */
static uint64_t find_end(const Rebuild *rebuild)
{
    uint64_t end = MAX(rebuild->counts->clusters, 1), least = MAX(rebuild->from, 1);
    if (rebuild->old->len > 0) {
        least = MAX(least, g_array_index(rebuild->old, uint64_t, rebuild->old->len - 1) + 1);
    }
    while (end > least && !qcow2_counts_get(rebuild->counts, end - 1)) {
        end--;
    }
    return end;
}

/* How large the table is at most: as if all were put past the end. */
static int lay_out(Rebuild *rebuild)
{
    const Qcow2 *q = rebuild->q;
    rebuild->used = find_end(rebuild);
    rebuild->blocks = rebuild->table_clusters = 1;
    for (;;) {
        uint64_t all = rebuild->used + rebuild->blocks + rebuild->table_clusters;
        uint64_t blocks = div_round_up(all, 1ull << q->refblock_bits);
        uint64_t table = div_round_up(blocks * 8, q->cluster_size);
        if (blocks <= rebuild->blocks && table <= rebuild->table_clusters) {
            break;
        }
        rebuild->blocks = MAX(blocks, rebuild->blocks);
        rebuild->table_clusters = MAX(table, rebuild->table_clusters);
    }
    uint64_t bytes = rebuild->table_clusters << q->cluster_bits;
    if (bytes > MAX(QCOW2_REFTABLE_BYTES_MAX, q->cluster_size)) {
        return -EFBIG;
    }
    rebuild->table = g_try_malloc0(bytes);
    return rebuild->table ? 0 : -ENOMEM;
}

static bool is_free(const Rebuild *rebuild, uint64_t cluster)
{
    return qcow2_counts_get(rebuild->counts, cluster) == 0 &&
           !g_array_binary_search(rebuild->old, &cluster, compare_clusters, NULL);
}

static void need_block(Rebuild *rebuild, uint64_t cluster)
{
    uint64_t *entry = &rebuild->table[cluster >> rebuild->q->refblock_bits];
    *entry = *entry ? *entry : NEEDED;
}

static void place_table(Rebuild *rebuild)
{
    uint64_t first = rebuild->from, length = 0;
    while (length < rebuild->table_clusters) {
        bool is_longer = is_free(rebuild, first + length);
        first = is_longer ? first : first + length + 1;
        length = is_longer ? length + 1 : 0;
    }
    rebuild->table_first = first;
    for (uint64_t i = 0; i < length; i++) {
        need_block(rebuild, first + i);
    }
}

static bool is_of_table(const Rebuild *rebuild, uint64_t cluster)
{
    return cluster >= rebuild->table_first &&
           cluster < rebuild->table_first + rebuild->table_clusters;
}

/* A block's own cluster is counted too, maybe by a block that was not needed before. */
static void place_blocks(Rebuild *rebuild)
{
    uint64_t next = rebuild->from;
    bool is_done = false;
    while (!is_done) {
        is_done = true;
        for (uint64_t i = 0; i < rebuild->blocks; i++) {
            if (rebuild->table[i] != NEEDED) {
                continue;
            }
            while (!is_free(rebuild, next) || is_of_table(rebuild, next)) {
                next++;
            }
            rebuild->table[i] = next << rebuild->q->cluster_bits;
            g_array_append_val(rebuild->placed, next);
            need_block(rebuild, next);
            next++;
            is_done = false;
        }
    }
}

static void place(Rebuild *rebuild)
{
    for (uint64_t i = 0; i < rebuild->used; i++) {
        if (qcow2_counts_get(rebuild->counts, i)) {
            need_block(rebuild, i);
        } else if (qcow2_counts_is_hole(rebuild->counts, i)) {
            i |= 63;
        }
    }
    place_table(rebuild);
    place_blocks(rebuild);
}

static uint64_t count_of(const Rebuild *rebuild, uint64_t cluster)
{
    uint64_t count = qcow2_counts_get(rebuild->counts, cluster);
    bool is_own = is_of_table(rebuild, cluster) ||
                  g_array_binary_search(rebuild->placed, &cluster, compare_clusters, NULL);
    return count ? count : is_own;
}

static int write_blocks(const Rebuild *rebuild)
{
    Qcow2 *q = rebuild->q;
    uint64_t max = q->refcount_bits == 64 ? UINT64_MAX : (1ull << q->refcount_bits) - 1;
    g_autofree uint8_t *block = g_malloc(q->cluster_size);
    int rc = 0;
    for (uint64_t i = 0; i < rebuild->blocks && rc == 0; i++) {
        if (!rebuild->table[i]) {
            continue;
        }
        memset(block, 0, q->cluster_size);
        for (uint64_t j = 0; j < 1ull << q->refblock_bits; j++) {
            uint64_t count = count_of(rebuild, (i << q->refblock_bits) + j);
            if (count > max) {
                return -EOVERFLOW;
            }
            qcow2_refcount_store(block, q->refcount_bits, j, count);
        }
        rc = block_child_write(q->node->file, rebuild->table[i], block, q->cluster_size);
    }
    return rc;
}

static int write_table(const Rebuild *rebuild)
{
    Qcow2 *q = rebuild->q;
    uint64_t bytes = rebuild->table_clusters << q->cluster_bits;
    g_autofree uint8_t *raw = g_try_malloc(bytes);
    if (!raw) {
        return -ENOMEM;
    }
    for (uint64_t i = 0; i < bytes / 8; i++) {
        be64_put(raw + i * 8, rebuild->table[i]);
    }
    int rc = block_child_write(q->node->file, rebuild->table_first << q->cluster_bits, raw, bytes);
    return rc == 0 ? block_child_flush(q->node->file) : rc;
}

static int switch_over(Rebuild *rebuild)
{
    Qcow2 *q = rebuild->q;
    uint64_t last = g_array_index(rebuild->placed, uint64_t, rebuild->placed->len - 1);
    uint64_t end = MAX(last + 1, rebuild->table_first + rebuild->table_clusters);
    q->header.reftable_offset = rebuild->table_first << q->cluster_bits;
    q->header.reftable_clusters = (uint32_t)rebuild->table_clusters;
    g_free(q->reftable);
    q->reftable = g_steal_pointer(&rebuild->table);
    q->reftable_entries = (uint32_t)(rebuild->table_clusters << q->cluster_bits >> 3);
    q->fresh_from = MAX(q->fresh_from, end << q->cluster_bits);
    return qcow2_switch_header(q);
}

int qcow2_rebuild_refcounts(Qcow2 *q, const Qcow2Counts *counts, bool is_complete)
{
    Rebuild rebuild = { .q = q, .counts = counts, .from = is_complete ? 0 : counts->clusters };
    rebuild.old = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    rebuild.placed = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    note_old(&rebuild);
    int rc = lay_out(&rebuild);
    if (rc == 0) {
        place(&rebuild);
        qcow2_cache_clear(&q->refblock_cache);
        rc = write_blocks(&rebuild);
    }
    if (rc == 0) {
        rc = write_table(&rebuild);
    }
    if (rc == 0) {
        rc = switch_over(&rebuild);
    }
    g_array_unref(rebuild.old);
    g_array_unref(rebuild.placed);
    g_free(rebuild.table);
    return rc;
}
