/* The qcow2 driver: opening, closing, its table.
 *
 * Versions 2 and 3 of docs/interop/qcow2.txt (QEMU 7.2).
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "base/int-math.h"
#include "block/drivers.h"
#include "block/lock.h"
#include "block/qcow2/bitmap.h"
#include "gbase/error.h"

#include <errno.h>
#include <string.h>

#define L2_CACHE_BYTES (32ull << 20)
#define REFBLOCK_CACHE_BYTES (4ull << 20)
#define CACHE_SLOTS_MIN 16u
#define CACHE_SLOTS_MAX 16384u

static int probe(const uint8_t *bytes, size_t length, const char *filename)
{
    return length >= 8 && be32_get(bytes) == QCOW2_MAGIC && be32_get(bytes + 4) >= 2
               ? BLOCK_PROBE_SURE
               : BLOCK_PROBE_NO;
}

static int before_l2(void *opaque)
{
    return qcow2_before_l2(opaque);
}

static unsigned slots_for(uint64_t wanted, uint64_t bytes, uint64_t table_size)
{
    uint64_t slots = MIN(wanted, bytes / table_size);
    return (unsigned)CLAMP(slots, CACHE_SLOTS_MIN, CACHE_SLOTS_MAX);
}

static int init_caches(Qcow2 *q)
{
    BlockNode *file = q->node->file;
    unsigned l2 = slots_for(q->header.l1_size + 8ull, L2_CACHE_BYTES, q->cluster_size);
    uint64_t covered = 1ull << (2 * q->cluster_bits + 3 - q->header.refcount_order);
    uint64_t needed = 2 * (q->header.size / covered + q->fresh_from / covered) + CACHE_SLOTS_MIN;
    unsigned blocks = slots_for(needed, REFBLOCK_CACHE_BYTES, q->cluster_size);
    int rc = qcow2_cache_init(&q->l2_cache, file, q->cluster_size, l2, before_l2, q);
    return rc < 0 ? rc
                  : qcow2_cache_init(&q->refblock_cache, file, q->cluster_size, blocks, NULL, NULL);
}

static bool load_l1(Qcow2 *q, GError **error)
{
    q->l1_size = q->header.l1_size;
    q->l1 = g_try_malloc(q->l1_size * 8ull + 1);
    int rc = !q->l1 ? -ENOMEM
             : q->l1_size
                 ? block_child_read(q->node->file, q->header.l1_offset, q->l1, q->l1_size * 8ull)
                 : 0;
    if (rc < 0) {
        lodge_error_set_errno(error, rc, "qcow2: cannot read the L1 table");
        return false;
    }
    for (uint32_t i = 0; i < q->l1_size; i++) {
        q->l1[i] = be64_get(&q->l1[i]);
    }
    return true;
}

static void set_geometry(Qcow2 *q)
{
    bool is_extended = q->header.incompatible & QCOW2_INCOMPATIBLE_EXTENDED_L2;
    q->cluster_bits = q->header.cluster_bits;
    q->cluster_size = 1ull << q->cluster_bits;
    q->l2_entry_size = is_extended ? 16 : 8;
    q->l2_bits = q->cluster_bits - (is_extended ? 4 : 3);
    q->subclusters = is_extended ? QCOW2_SUBCLUSTERS : 1;
    q->subcluster_bits = q->cluster_bits - (is_extended ? 5 : 0);
    q->codecs.cluster_size = q->cluster_size;
    q->codecs.is_zstd = q->header.compression == QCOW2_COMPRESSION_ZSTD;
}

static Qcow2 *state_new(BlockNode *node)
{
    Qcow2 *q = g_new0(Qcow2, 1);
    pthread_rwlockattr_t attributes;
    pthread_rwlockattr_init(&attributes);
    /* Readers come without end; a flush that waits for them must get its turn. */
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&q->in_flight, &attributes);
    pthread_rwlockattr_destroy(&attributes);
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->allocated, NULL);
    list_init(&q->allocations);
    qcow2_codec_pool_init(&q->codecs);
    q->freed = g_array_new(FALSE, FALSE, sizeof(Qcow2Freed));
    q->node = node;
    q->data = node->file;
    return q;
}

static void state_free(Qcow2 *q)
{
    qcow2_snapshots_free(q);
    qcow2_codec_pool_done(&q->codecs);
    crypto_disk_free(q->crypt);
    g_clear_pointer(&q->bitmaps, g_ptr_array_unref);
    qcow2_header_clear(&q->header);
    qcow2_cache_done(&q->l2_cache);
    qcow2_cache_done(&q->refblock_cache);
    g_array_unref(q->freed);
    g_free(q->l1);
    g_free(q->reftable);
    pthread_cond_destroy(&q->allocated);
    pthread_mutex_destroy(&q->lock);
    pthread_rwlock_destroy(&q->in_flight);
    g_free(q);
}

/* The data file that the image names, or that @spec describes. (transfer full) */
static BlockNode *open_own_data(const Qcow2 *q, const BlockSpec *spec, unsigned flags,
                                GError **error)
{
    g_autoptr(BlockSpec) sub = NULL;
    if (spec && block_spec_has_sub(spec, "data-file")) {
        sub = block_spec_sub(spec, "data-file");
    } else if (q->header.data_file_name) {
        g_autofree char *path = block_backing_path(q->node->filename, q->header.data_file_name);
        sub = block_spec_new();
        block_spec_set(sub, "driver", "raw");
        block_spec_set(sub, "file.driver", "file");
        block_spec_set(sub, "file.filename", path);
    } else {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "qcow2: 'data-file' is required for this image");
        return NULL;
    }
    return block_open(sub, flags, error);
}

static bool open_data_file(Qcow2 *q, const BlockSpec *spec, unsigned flags, GError **error)
{
    BlockNode *node = q->node;
    bool is_given = node->data_file || (spec && block_spec_has_sub(spec, "data-file"));
    if (!(q->header.incompatible & QCOW2_INCOMPATIBLE_DATA_FILE)) {
        if (is_given) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                        "qcow2: 'data-file' can only be set for images with an external data file");
        }
        return !is_given;
    }
    if (flags & BLOCK_OPEN_NO_DATA) {
        return true;
    }
    if (!node->data_file) {
        node->data_file = open_own_data(q, spec, flags, error);
    }
    unsigned resize = flags & BLOCK_OPEN_WRITABLE ? BLOCK_ACCESS_RESIZE : 0;
    q->data = node->data_file;
    return q->data && block_node_add_access(q->data, BLOCK_ACCESS_SIZE | resize, error);
}

/* What a writer does first: finishes what the last one left, clears bits of features that it does
 * not keep up to date. */
static bool prepare_writing(Qcow2 *q, GError **error)
{
    uint64_t keeps = QCOW2_AUTOCLEAR_KNOWN;
    int rc = 0;
    if (q->header.incompatible & QCOW2_INCOMPATIBLE_DIRTY) {
        BlockCheck check = { 0 };
        rc = qcow2_check(q->node, &check, BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS);
        if (rc == 0 && (check.corruptions > check.corruptions_fixed || check.check_errors)) {
            rc = -EIO;
        }
        if (rc == 0) {
            rc = qcow2_set_incompatible(q, 0, QCOW2_INCOMPATIBLE_DIRTY);
        }
    }
    if (rc == 0 && q->header.version >= 3 && (q->header.autoclear & ~keeps)) {
        q->header.autoclear &= keeps;
        rc = qcow2_header_write_fields(q);
    }
    if (rc < 0) {
        lodge_error_set_errno(error, rc, "qcow2: cannot repair the dirty image");
        return false;
    }
    return true;
}

static bool load(Qcow2 *q, const BlockSpec *spec, unsigned flags, GError **error)
{
    if (!qcow2_crypt_open(q, spec, flags, error)) {
        return false;
    }
    set_geometry(q);
    int rc = block_child_size(q->node->file, &q->fresh_from);
    if (rc == 0) {
        rc = init_caches(q);
    }
    if (rc < 0) {
        lodge_error_set_errno(error, rc, "qcow2: cannot open the image");
        return false;
    }
    q->fresh_from = round_up(q->fresh_from, q->cluster_size);
    const File *file = block_node_below_file(q->node);
    if (!file || file->is_block_device) {
        q->fresh_from = UINT64_MAX;
    }
    return load_l1(q, error) && qcow2_refcounts_load(q, error) && qcow2_snapshots_load(q, error) &&
           open_data_file(q, spec, flags, error) &&
           ((flags & BLOCK_OPEN_REPAIR) || qcow2_bitmaps_read(q, error)) &&
           (!q->is_writable || (flags & BLOCK_OPEN_REPAIR) || prepare_writing(q, error)) &&
           ((flags & BLOCK_OPEN_NO_DATA && !q->is_writable) || qcow2_bitmaps_load(q, error));
}

static bool open_image(BlockNode *node, const BlockSpec *spec, unsigned flags, GError **error)
{
    Qcow2 *q = state_new(node);
    if (!qcow2_header_read(node, &q->header, flags, error)) {
        state_free(q);
        return false;
    }
    node->state = q;
    node->size = q->header.size;
    q->is_writable = flags & BLOCK_OPEN_WRITABLE;
    if (!load(q, spec, flags, error)) {
        g_clear_pointer(&node->data_file, block_node_unref);
        node->state = NULL;
        state_free(q);
        return false;
    }
    node->backing_name = g_strdup(q->header.backing_name);
    node->backing_format = g_strdup(q->header.backing_format);
    return true;
}

static int close_image(BlockNode *node)
{
    Qcow2 *q = qcow2_of(node);
    int rc = 0;
    if (q->is_writable && !q->is_corrupt) {
        rc = qcow2_flush_alone(q);
        /* Bitmaps that cannot be stored stay marked as in use: honest, and no harm to the data. */
        int stored = rc == 0 ? qcow2_bitmaps_store(q) : 0;
        if (rc == 0 && !q->is_corrupt) {
            rc = qcow2_flush_alone(q);
        }
        rc = rc == 0 ? stored : rc;
    }
    node->state = NULL;
    state_free(q);
    return rc;
}

static int disk_usage(BlockNode *node, uint64_t *out_bytes)
{
    uint64_t data = 0;
    int rc = block_node_disk_usage(node->file, out_bytes);
    if (rc == 0 && node->data_file) {
        rc = block_node_disk_usage(node->data_file, &data);
        *out_bytes += data;
    }
    return rc;
}

static unsigned granularity(const BlockNode *node)
{
    return 1u << qcow2_of(node)->subcluster_bits;
}

const BlockDriver block_driver_qcow2 = {
    .name = "qcow2",
    .has_backing = true,
    .has_vm_state = true,
    .probe = probe,
    .open = open_image,
    .close = close_image,
    .read = qcow2_read,
    .write = qcow2_write,
    .write_settled = qcow2_write_settled,
    .place = qcow2_place,
    .leave = qcow2_leave,
    .write_zeroes = qcow2_write_zeroes,
    .discard = qcow2_discard,
    .make_empty = qcow2_make_empty,
    .flush = qcow2_flush,
    .status = qcow2_status,
    .write_compressed = qcow2_write_compressed,
    .truncate = qcow2_truncate,
    .disk_usage = disk_usage,
    .granularity = granularity,
    .get_info = qcow2_get_info,
    .check = qcow2_check,
    .create_options = qcow2_create_options,
    .create = qcow2_create,
    .create_files = qcow2_create_files,
    .amend = qcow2_amend,
    .measure = qcow2_measure,
    .change_backing = qcow2_change_backing,
    .bitmap_can_add = qcow2_bitmap_can_add,
    .bitmap_remove = qcow2_bitmap_remove,
    .snapshot_create = qcow2_snapshot_create,
    .snapshot_apply = qcow2_snapshot_apply,
    .snapshot_delete = qcow2_snapshot_delete,
    .snapshot_load = qcow2_snapshot_load,
};
