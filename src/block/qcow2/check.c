/* Checking and repairing qcow2 images: all references are counted and compared with the refcounts.
 *
 * One pass repairs: refcounts that are too low or too high, COPIED flags, refcount blocks that are
 * missing, misplaced or shared (the refcount structures are then made anew beside the old ones).
 * Entries that point nowhere are reported and left alone: only the user knows what to do about
 * them. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "base/int-math.h"
#include "block/qcow2/bitmap.h"

#include <errno.h>
#include <string.h>

#define SPAN 64u /* refcounts in a row, of any width whole bytes */

typedef struct Checker {
    Qcow2 *q;
    BlockCheck *check;
    unsigned fix;
    Qcow2Counts *counts;
    uint64_t clusters; /* of the file */
    bool is_short;     /* of memory: the counts are of no use */
    bool differs;      /* refcounts from references, somewhere */
    bool needs_rebuild;
    bool fixes_flags;
} Checker;

static void say(Checker *checker, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
static void say(Checker *checker, const char *fmt, ...)
{
    if (checker->check->report) {
        va_list list;
        va_start(list, fmt);
        g_autofree char *text = g_strdup_vprintf(fmt, list);
        va_end(list);
        checker->check->report(checker->check->opaque, text);
    }
}

#define X64 "%#" G_GINT64_MODIFIER "x"

/* Counts a reference to the clusters that the range touches. */
static void refer(Checker *checker, uint64_t offset, uint64_t length, const char *what)
{
    if (length == 0) {
        return;
    }
    uint64_t first = qcow2_cluster_of(checker->q, offset);
    uint64_t last = qcow2_cluster_of(checker->q, offset + length - 1);
    if (last >= checker->clusters) {
        say(checker, "ERROR: %s at " X64 " lies past the end of the file", what, offset);
        checker->check->corruptions++;
        return;
    }
    for (uint64_t cluster = first; cluster <= last; cluster++) {
        checker->is_short |= qcow2_counts_add(checker->counts, cluster) < 0;
        checker->check->image_end_offset =
            MAX(checker->check->image_end_offset, (cluster + 1) << checker->q->cluster_bits);
    }
}

static void bad_entry(Checker *checker, uint64_t entry, uint64_t guest)
{
    say(checker, "ERROR: L2 entry " X64 " of guest offset " X64 " is invalid", entry, guest);
    checker->check->corruptions++;
}

static void count_stats(Checker *checker, uint64_t host, uint64_t *last)
{
    BlockCheck *check = checker->check;
    check->allocated_clusters++;
    if (*last && host != *last + checker->q->cluster_size) {
        check->fragmented_clusters++;
    }
    *last = host;
}

static void check_l2_entry(Checker *checker, Qcow2Entry entry, uint64_t guest, bool is_active,
                           uint64_t *last)
{
    const Qcow2 *q = checker->q;
    bool is_external = q->header.incompatible & QCOW2_INCOMPATIBLE_DATA_FILE;
    if (qcow2_entry_is_compressed(entry)) {
        uint64_t offset, length;
        if (entry.word & QCOW2_COPIED || entry.bits || is_external) {
            bad_entry(checker, entry.word, guest);
            return;
        }
        qcow2_compressed_place(q, entry.word, &offset, &length);
        /* The last sector may reach past the end of the file. */
        uint64_t end = checker->clusters << q->cluster_bits;
        if (offset < end && offset + length > end) {
            length = end - offset;
        }
        refer(checker, offset, length, "a compressed cluster");
        if (is_active) {
            checker->check->compressed_clusters++;
            checker->check->allocated_clusters++;
            checker->check->fragmented_clusters++;
        }
        return;
    }
    uint64_t host = entry.word & QCOW2_OFFSET_MASK;
    bool has_zero = entry.word & QCOW2_ZERO;
    uint32_t data_bits = (uint32_t)entry.bits, zero_bits = (uint32_t)(entry.bits >> 32);
    if (entry.word & QCOW2_L2_RESERVED || qcow2_in_cluster(q, host) ||
        (has_zero && (q->header.version < 3 || q->l2_entry_size == 16)) ||
        (data_bits & zero_bits) || (data_bits && !host && !is_external)) {
        bad_entry(checker, entry.word, guest);
        return;
    }
    if (host && !is_external) {
        refer(checker, host, q->cluster_size, "a data cluster");
        if (is_active && !has_zero) {
            count_stats(checker, host, last);
        }
    }
}

/* Takes a misplaced cluster away from an entry that reads as zeroes all the same. Returns: whether
 * it could. */
static bool mend_entry(Checker *checker, uint64_t table, unsigned index, Qcow2Entry *entry)
{
    Qcow2 *q = checker->q;
    uint8_t raw[16];
    bool is_zero = q->l2_entry_size == 16 ? !(uint32_t)entry->bits : entry->word & QCOW2_ZERO;
    /* Version 2 has no zero clusters; one that is not there must not show a backing file's. */
    bool can_be = q->header.version >= 3 || !q->header.backing_name;
    if (!(checker->fix & BLOCK_FIX_ERRORS) || !is_zero || !can_be ||
        qcow2_entry_is_compressed(*entry) ||
        qcow2_in_cluster(q, entry->word & QCOW2_OFFSET_MASK) == 0) {
        return false;
    }
    entry->word = q->l2_entry_size == 8 && q->header.version >= 3 ? QCOW2_ZERO : 0;
    be64_put(raw, entry->word);
    be64_put(raw + 8, entry->bits);
    qcow2_cache_forget(&q->l2_cache, table);
    return block_child_write(q->node->file, table + index * (uint64_t)q->l2_entry_size, raw,
                             q->l2_entry_size) == 0;
}

static int check_l2_table(Checker *checker, uint64_t offset, uint64_t guest, bool is_active)
{
    const Qcow2 *q = checker->q;
    g_autofree uint8_t *data = g_malloc(q->cluster_size);
    int rc = block_child_read(q->node->file, offset, data, q->cluster_size);
    if (rc < 0) {
        checker->check->check_errors++;
        return rc;
    }
    uint64_t last = 0;
    Qcow2Table table = { .data = data };
    for (unsigned i = 0; i < 1u << q->l2_bits; i++) {
        Qcow2Entry entry = qcow2_entry_get(q, &table, i);
        uint64_t at = guest + ((uint64_t)i << q->cluster_bits);
        uint64_t corruptions = checker->check->corruptions;
        if (!entry.word && !entry.bits) {
            continue;
        }
        check_l2_entry(checker, entry, at, is_active, &last);
        if (checker->check->corruptions > corruptions && mend_entry(checker, offset, i, &entry)) {
            say(checker, "Repairing the entry of guest offset " X64 ": it reads as zeroes", at);
            checker->check->corruptions_fixed++;
        }
    }
    return 0;
}

static int check_l1(Checker *checker, uint64_t offset, uint32_t entries, bool is_active)
{
    const Qcow2 *q = checker->q;
    if (entries == 0) {
        return 0;
    }
    if (entries > QCOW2_L1_BYTES_MAX / 8 || qcow2_in_cluster(q, offset)) {
        say(checker, "ERROR: the L1 table at " X64 " is invalid", offset);
        checker->check->corruptions++;
        return 0;
    }
    refer(checker, offset, entries * 8ull, "an L1 table");
    g_autofree uint8_t *raw = g_try_malloc(entries * 8ull);
    int rc = raw ? block_child_read(q->node->file, offset, raw, entries * 8ull) : -ENOMEM;
    for (uint32_t i = 0; i < entries && rc == 0; i++) {
        uint64_t entry = be64_get(raw + i * 8ull), table = entry & QCOW2_OFFSET_MASK;
        if (entry & QCOW2_L1_RESERVED || qcow2_in_cluster(q, table)) {
            say(checker, "ERROR: L1 entry " X64 " is invalid", entry);
            checker->check->corruptions++;
        } else if (table) {
            refer(checker, table, q->cluster_size, "an L2 table");
            uint64_t guest = (uint64_t)i << (q->cluster_bits + q->l2_bits);
            if (qcow2_cluster_of(q, table) < checker->clusters) {
                rc = check_l2_table(checker, table, guest, is_active);
            }
        }
    }
    return rc;
}

static int check_snapshots(Checker *checker)
{
    const Qcow2 *q = checker->q;
    int rc = 0;
    for (uint32_t i = 0; i < q->header.snapshot_count && rc == 0; i++) {
        rc = check_l1(checker, q->snapshots[i].l1_offset, q->snapshots[i].l1_size, false);
    }
    if (q->header.snapshot_count) {
        refer(checker, q->header.snapshots_offset, q->snapshots_length, "the snapshot table");
    }
    return rc;
}

static int check_bitmap(Checker *checker, const Qcow2Bitmap *bitmap)
{
    Qcow2 *q = checker->q;
    g_autofree uint64_t *table = NULL;
    refer(checker, bitmap->table_offset, bitmap->table_entries * 8ull, "a bitmap table");
    int rc = qcow2_bitmap_table(q, bitmap, &table);
    if (rc == -EINVAL) {
        say(checker, "ERROR: bitmap '%s' has an invalid table", bitmap->name);
        checker->check->corruptions++;
        return 0;
    }
    for (uint32_t i = 0; i < bitmap->table_entries && rc == 0; i++) {
        if (table[i] & QCOW2_OFFSET_MASK) {
            refer(checker, table[i] & QCOW2_OFFSET_MASK, q->cluster_size, "a bitmap's data");
        }
    }
    return rc;
}

static int check_bitmaps(Checker *checker)
{
    Qcow2 *q = checker->q;
    if (!q->header.has_bitmaps) {
        return 0;
    }
    refer(checker, q->header.bitmap_directory_offset, q->header.bitmap_directory_size,
          "the bitmap directory");
    g_autoptr(GError) error = NULL;
    if (!q->bitmaps && !qcow2_bitmaps_read(q, &error)) {
        say(checker, "ERROR: %s", error->message);
        checker->check->corruptions++;
        return 0;
    }
    int rc = 0;
    for (guint i = 0; i < q->bitmaps->len && rc == 0; i++) {
        rc = check_bitmap(checker, q->bitmaps->pdata[i]);
    }
    return rc;
}

static void check_reftable(Checker *checker)
{
    const Qcow2 *q = checker->q;
    refer(checker, q->header.reftable_offset,
          (uint64_t)q->header.reftable_clusters << q->cluster_bits, "the refcount table");
    for (uint32_t i = 0; i < q->reftable_entries; i++) {
        uint64_t entry = q->reftable[i];
        if (entry == 0) {
            continue;
        }
        if (entry & QCOW2_REFTABLE_RESERVED || qcow2_in_cluster(q, entry) ||
            qcow2_cluster_of(q, entry) >= checker->clusters) {
            say(checker, "ERROR refcount block %u at " X64 " is invalid", i, entry);
            checker->check->corruptions++;
            checker->needs_rebuild = true;
            continue;
        }
        refer(checker, entry, q->cluster_size, "a refcount block");
        if (qcow2_counts_get(checker->counts, qcow2_cluster_of(q, entry)) != 1) {
            say(checker, "ERROR refcount block %u at " X64 " overlaps something", i, entry);
            checker->check->corruptions++;
            checker->needs_rebuild = true;
        }
    }
}

static int set_count(Checker *checker, uint64_t cluster, uint64_t count)
{
    Qcow2 *q = checker->q;
    uint64_t offset = q->reftable[cluster >> q->refblock_bits];
    Qcow2Table *block;
    int rc = qcow2_cache_get(&q->refblock_cache, offset, &block);
    if (rc == 0) {
        uint64_t index = cluster & ((1ull << q->refblock_bits) - 1);
        qcow2_refcount_store(block->data, q->refcount_bits, index, count);
        qcow2_cache_mark(&q->refblock_cache, block);
    }
    return rc;
}

static bool has_block(const Qcow2 *q, uint64_t cluster)
{
    uint64_t index = cluster >> q->refblock_bits;
    return index < q->reftable_entries && q->reftable[index];
}

/* One cluster whose refcount differs from the references found. */
static int settle(Checker *checker, uint64_t cluster, uint64_t has, uint64_t should)
{
    BlockCheck *check = checker->check;
    bool is_leak = has > should;
    bool fixes = checker->fix & (is_leak ? BLOCK_FIX_LEAKS : BLOCK_FIX_ERRORS);
    checker->differs = true;
    say(checker,
        "%s cluster %" G_GUINT64_FORMAT " refcount=%" G_GUINT64_FORMAT
        " reference=%" G_GUINT64_FORMAT,
        fixes     ? "Repairing"
        : is_leak ? "Leaked"
                  : "ERROR",
        cluster, has, should);
    if (is_leak) {
        check->leaks++;
        check->image_end_offset =
            MAX(check->image_end_offset, (cluster + 1) << checker->q->cluster_bits);
    } else {
        check->corruptions++;
    }
    if (!has_block(checker->q, cluster)) {
        checker->needs_rebuild = true;
        return 0;
    }
    unsigned bits = checker->q->refcount_bits;
    if (bits < 64 && should >> bits) {
        say(checker, "ERROR cluster %" G_GUINT64_FORMAT ": refcounts of %u bits cannot count that",
            cluster, bits);
        return 0;
    }
    if (!fixes || checker->needs_rebuild) {
        return 0;
    }
    int rc = set_count(checker, cluster, should);
    if (rc == 0) {
        *(is_leak ? &check->leaks_fixed : &check->corruptions_fixed) += 1;
    }
    return rc;
}

/* Clusters that no refcount block covers, but that the file has. */
static int compare_uncovered(Checker *checker, uint64_t first, uint64_t end)
{
    int rc = 0;
    end = MIN(end, checker->clusters);
    for (uint64_t cluster = first; cluster < end && rc == 0; cluster++) {
        if (qcow2_counts_is_hole(checker->counts, cluster)) {
            cluster |= SPAN - 1;
            continue;
        }
        uint64_t should = qcow2_counts_get(checker->counts, cluster);
        rc = should ? settle(checker, cluster, 0, should) : 0;
    }
    return rc;
}

/* A copy of a table or refcount block, which takes no room in the cache. */
static int read_table(Qcow2 *q, Qcow2Cache *cache, uint64_t offset, uint8_t *data)
{
    Qcow2Table *cached;
    if (!qcow2_cache_holds(cache, offset)) {
        return block_child_read(q->node->file, offset, data, q->cluster_size);
    }
    int rc = qcow2_cache_get(cache, offset, &cached);
    if (rc == 0) {
        memcpy(data, cached->data, q->cluster_size);
    }
    return rc;
}

static int compare_block(Checker *checker, uint64_t offset, uint64_t first, uint8_t *data)
{
    Qcow2 *q = checker->q;
    size_t span = q->refcount_bits * SPAN / 8;
    int rc = read_table(q, &q->refblock_cache, offset, data);
    for (uint64_t i = 0; i < 1ull << q->refblock_bits && rc == 0; i++) {
        if (i % SPAN == 0 && qcow2_counts_is_hole(checker->counts, first + i) &&
            block_is_zero(data + i / SPAN * span, span)) {
            i |= SPAN - 1;
            continue;
        }
        uint64_t has = qcow2_refcount_read(data, q->refcount_bits, i);
        uint64_t should = qcow2_counts_get(checker->counts, first + i);
        rc = has != should ? settle(checker, first + i, has, should) : 0;
    }
    return rc;
}

static int compare_counts(Checker *checker)
{
    const Qcow2 *q = checker->q;
    g_autofree uint8_t *data = g_malloc(q->cluster_size);
    uint64_t of_file = div_round_up(checker->clusters, 1ull << q->refblock_bits);
    uint64_t blocks = MAX(of_file, q->reftable_entries);
    int rc = 0;
    for (uint64_t i = 0; i < blocks && rc == 0; i++) {
        uint64_t offset = i < q->reftable_entries ? q->reftable[i] : 0;
        uint64_t first = i << q->refblock_bits;
        if (offset == 0) {
            rc = compare_uncovered(checker, first, first + (1ull << q->refblock_bits));
        } else if (qcow2_cluster_of(q, offset) < checker->clusters &&
                   !qcow2_in_cluster(q, offset) && !(offset & QCOW2_REFTABLE_RESERVED)) {
            rc = compare_block(checker, offset, first, data);
        } /* else: check_reftable() reported it */
    }
    if (rc < 0) {
        checker->check->check_errors++;
    }
    return rc;
}

/* What the refcount structures say, after all repairs. Those that are broken say nothing. */
static uint64_t stated_count(const Checker *checker, uint64_t cluster)
{
    uint64_t count = qcow2_counts_get(checker->counts, cluster);
    if (checker->differs && !checker->needs_rebuild && has_block(checker->q, cluster) &&
        qcow2_refcount_get(checker->q, cluster, &count) < 0) {
        checker->check->check_errors++;
    }
    return count;
}

/* Whether the COPIED flag of @entry fits the count of its cluster. Returns: true if it was mended.
 */
static bool check_flag(Checker *checker, uint64_t *entry, uint64_t host, const char *what)
{
    uint64_t cluster = qcow2_cluster_of(checker->q, host);
    if (!host || cluster >= checker->clusters) {
        return false;
    }
    uint64_t count = stated_count(checker, cluster);
    if ((count == 1) == !!(*entry & QCOW2_COPIED)) {
        return false;
    }
    say(checker, "%s OFLAG_COPIED %s: entry=" X64 " refcount=%" G_GUINT64_FORMAT,
        checker->fixes_flags ? "Repairing" : "ERROR", what, *entry, count);
    checker->check->corruptions++;
    if (!checker->fixes_flags) {
        return false;
    }
    *entry ^= QCOW2_COPIED;
    checker->check->corruptions_fixed++;
    return true;
}

static int check_table_flags(Checker *checker, uint64_t offset, uint8_t *data)
{
    Qcow2 *q = checker->q;
    Qcow2Table *cached, table = { .data = data };
    int rc = read_table(q, &q->l2_cache, offset, data);
    for (unsigned i = 0; rc == 0 && i < 1u << q->l2_bits; i++) {
        Qcow2Entry entry = qcow2_entry_get(q, &table, i);
        uint64_t host = entry.word & QCOW2_OFFSET_MASK;
        if (!qcow2_entry_is_compressed(entry) && !(entry.word & QCOW2_L2_RESERVED) &&
            qcow2_in_cluster(q, host) == 0 && q->data == q->node->file &&
            !(q->header.incompatible & QCOW2_INCOMPATIBLE_DATA_FILE) &&
            check_flag(checker, &entry.word, host, "data cluster")) {
            rc = qcow2_cache_get(&q->l2_cache, offset, &cached);
            if (rc == 0) {
                qcow2_entry_set(q, cached, i, entry);
            }
        }
    }
    return rc;
}

static int check_flags(Checker *checker)
{
    Qcow2 *q = checker->q;
    const BlockCheck *check = checker->check;
    /* With all refcounts right, flags are mended by "leaks" too, as QEMU does. */
    bool is_right = check->corruptions == check->corruptions_fixed &&
                    check->leaks == check->leaks_fixed && !check->check_errors;
    g_autofree uint8_t *data = g_malloc(q->cluster_size);
    checker->fixes_flags = checker->fix & BLOCK_FIX_ERRORS || (checker->fix && is_right);
    for (uint32_t i = 0; i < q->l1_size; i++) {
        uint64_t table = q->l1[i] & QCOW2_OFFSET_MASK;
        if (!table || q->l1[i] & QCOW2_L1_RESERVED || qcow2_in_cluster(q, table) ||
            qcow2_cluster_of(q, table) >= checker->clusters) {
            continue;
        }
        int rc = 0;
        if (check_flag(checker, &q->l1[i], table, "L2 cluster")) {
            rc = qcow2_write_l1_entry(q, i);
        }
        if (rc == 0) {
            rc = check_table_flags(checker, table, data);
        }
        if (rc < 0) {
            checker->check->check_errors++;
            return rc;
        }
    }
    return 0;
}

/* Counts all but the refcount structures themselves. */
static int count_content(Checker *checker)
{
    const Qcow2 *q = checker->q;
    refer(checker, 0, q->cluster_size, "the header");
    int rc = check_l1(checker, q->header.l1_offset, q->l1_size, true);
    if (rc == 0) {
        rc = check_snapshots(checker);
    }
    if (rc == 0) {
        rc = check_bitmaps(checker);
    }
    if (q->header.crypt_length) {
        refer(checker, q->header.crypt_offset, q->header.crypt_length, "the encryption header");
    }
    return rc < 0 ? rc : checker->is_short ? -ENOMEM : 0;
}

static int count_all(Checker *checker)
{
    int rc = count_content(checker);
    check_reftable(checker);
    return rc < 0 ? rc : checker->is_short ? -ENOMEM : 0;
}

/* New refcount structures. The old ones' clusters are not counted: they are free afterwards. */
static int rebuild(Checker *checker, BlockCheck *quiet)
{
    qcow2_counts_clear(checker->counts);
    Checker again = {
        .q = checker->q, .check = quiet, .counts = checker->counts, .clusters = checker->clusters
    };
    int rc = count_content(&again);
    bool is_complete = !quiet->corruptions && !quiet->check_errors;
    return rc < 0 ? rc : qcow2_rebuild_refcounts(checker->q, checker->counts, is_complete);
}

static int repair_structures(Checker *checker)
{
    if (!checker->needs_rebuild || !(checker->fix & BLOCK_FIX_ERRORS)) {
        return 0;
    }
    say(checker, "Rebuilding refcount structure");
    BlockCheck quiet = { 0 };
    int rc = rebuild(checker, &quiet);
    if (rc == 0) {
        checker->check->corruptions_fixed = checker->check->corruptions - quiet.corruptions;
        checker->check->leaks_fixed = checker->check->leaks;
    }
    return rc;
}

/* Clears the bits that said that something is wrong. */
static int finish(Checker *checker)
{
    Qcow2 *q = checker->q;
    BlockCheck *check = checker->check;
    if (!checker->fix) {
        return 0;
    }
    int rc = qcow2_write_metadata(q);
    if (rc == 0) {
        rc = block_child_flush(q->node->file);
    }
    bool is_clean = check->corruptions == check->corruptions_fixed && !check->check_errors;
    if (rc == 0 && is_clean && checker->fix & BLOCK_FIX_ERRORS) {
        q->is_corrupt = false;
        rc = qcow2_set_incompatible(q, 0, QCOW2_INCOMPATIBLE_CORRUPT | QCOW2_INCOMPATIBLE_DIRTY);
    }
    q->free_hint = 0;
    return rc;
}

/* @counts: to be freed, also on failure. */
static int begin(Qcow2 *q, Checker *checker, Qcow2Counts *counts)
{
    uint64_t size;
    int rc = q->is_writable && !q->is_corrupt ? qcow2_flush_alone(q) : 0;
    if (rc == 0) {
        rc = block_child_size(q->node->file, &size);
    }
    if (rc < 0) {
        return rc;
    }
    checker->q = q;
    checker->counts = counts;
    checker->clusters = div_round_up(size, q->cluster_size);
    return qcow2_counts_init(counts, checker->clusters);
}

static void set_refcount_bits(Qcow2 *q, unsigned bits)
{
    q->header.refcount_order = (uint32_t)g_bit_nth_lsf(bits, -1);
    q->refcount_bits = bits;
    q->refblock_bits = q->cluster_bits + 3 - q->header.refcount_order;
}

int qcow2_change_refcount_bits(Qcow2 *q, unsigned bits)
{
    BlockCheck check = { 0 };
    unsigned before = q->refcount_bits;
    Checker checker = { .check = &check };
    Qcow2Counts counts = { 0 };
    int rc = begin(q, &checker, &counts);
    if (rc < 0) {
        return rc;
    }
    pthread_mutex_lock(&q->lock);
    rc = count_all(&checker);
    if (rc == 0) {
        rc = compare_counts(&checker);
    }
    if (rc == 0 && (check.corruptions || check.leaks || check.check_errors)) {
        rc = -EUCLEAN;
    }
    if (rc == 0) {
        set_refcount_bits(q, bits);
        rc = rebuild(&checker, &check);
    }
    if (rc < 0) {
        set_refcount_bits(q, before);
    }
    q->free_hint = q->compressed_at = 0;
    pthread_mutex_unlock(&q->lock);
    qcow2_counts_done(&counts);
    return rc;
}

int qcow2_check(BlockNode *node, BlockCheck *check, unsigned fix)
{
    Qcow2 *q = qcow2_of(node);
    Checker checker = { .check = check, .fix = fix };
    Qcow2Counts counts = { 0 };
    int rc = begin(q, &checker, &counts);
    if (rc < 0) {
        return rc;
    }
    check->total_clusters = div_round_up(q->header.size, q->cluster_size);
    pthread_mutex_lock(&q->lock);
    rc = count_all(&checker);
    if (rc == 0) {
        rc = compare_counts(&checker);
    }
    if (rc == 0) {
        rc = repair_structures(&checker);
    }
    if (rc == 0) {
        rc = check_flags(&checker);
    }
    if (rc == 0) {
        rc = finish(&checker);
    }
    pthread_mutex_unlock(&q->lock);
    qcow2_counts_done(&counts);
    return rc;
}
