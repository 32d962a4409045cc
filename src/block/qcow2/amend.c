/* Changing options of qcow2 images: version, refcount width, lazy refcounts, size, data file, keys.
 *
 * Version 2 has no zero clusters: those of the active tables become unallocated or, over a backing
 * file, are written as zeroes. Left out: images whose snapshots have zero clusters keep version 3.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "base/int-math.h"
#include "block/qcow2/qcow2.h"
#include "gbase/error.h"

#include <errno.h>
#include <string.h>

typedef struct Amendment {
    const char *data_file, *backing, *backing_format;
    uint32_t version;
    uint64_t refcount_bits, size;
    bool is_lazy;
    bool is_raw; /* data_file_raw */
} Amendment;

static bool refuse(GError **error, const char *text)
{
    g_set_error_literal(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED, text);
    return false;
}

static bool parse_version(const char *compat, uint32_t *out_version, GError **error)
{
    if (!compat) {
        return true;
    }
    *out_version = strcmp(compat, "0.10") == 0 || strcmp(compat, "v2") == 0  ? 2
                   : strcmp(compat, "1.1") == 0 || strcmp(compat, "v3") == 0 ? 3
                                                                             : 0;
    return *out_version != 0 || refuse(error, "Unknown compatibility level; supported: 0.10, 1.1");
}

static bool parse(const Qcow2 *q, const BlockSpec *options, Amendment *a, GError **error)
{
    const Qcow2Header *header = &q->header;
    *a = (Amendment){
        .version = header->version,
        .refcount_bits = q->refcount_bits,
        .size = header->size,
        .is_lazy = header->compatible & QCOW2_COMPATIBLE_LAZY_REFCOUNTS,
        .is_raw = header->autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW,
        .data_file = block_spec_get(options, "data_file"),
        .backing = block_spec_get(options, "backing_file"),
        .backing_format = block_spec_get(options, "backing_fmt"),
    };
    bool says_lazy = block_spec_get(options, "lazy_refcounts") != NULL;
    if (!parse_version(block_spec_get(options, "compat"), &a->version, error) ||
        !block_spec_get_bool(options, "lazy_refcounts", &a->is_lazy, error) ||
        !block_spec_get_bool(options, "data_file_raw", &a->is_raw, error) ||
        !block_spec_get_size(options, "size", &a->size, error) ||
        !block_spec_get_size(options, "refcount_bits", &a->refcount_bits, error)) {
        return false;
    }
    a->is_lazy &= a->version >= 3 || says_lazy;
    return true;
}

/* Whether the options fit one another and the image. */
static bool check_options(const Qcow2 *q, const Amendment *a, GError **error)
{
    const Qcow2Header *header = &q->header;
    const char *why = NULL;
    if (q->is_corrupt) {
        why = "the image is corrupt";
    } else if (a->is_lazy && a->version < 3) {
        why = "Lazy refcounts only supported with compatibility level 1.1 and above (use "
              "compat=1.1 or greater)";
    } else if (!is_power_of_two(a->refcount_bits) || a->refcount_bits > 64) {
        why = "Refcount width must be a power of two and may not exceed 64 bits";
    } else if (a->refcount_bits != 16 && a->version < 3) {
        why = "Refcount widths other than 16 bits require compatibility level 1.1 or above (use "
              "compat=1.1 or greater)";
    } else if (a->is_raw && !(header->autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW)) {
        why = "data-file-raw cannot be set on existing images";
    } else if (a->data_file && q->data == q->node->file) {
        why = "data-file can only be set for images that use an external data file";
    } else if ((a->backing && g_strcmp0(a->backing, header->backing_name)) ||
               (a->backing_format && g_strcmp0(a->backing_format, header->backing_format))) {
        why = "Cannot amend the backing file; 'rebase -u' changes what the image says of it";
    }
    return !why || refuse(error, why);
}

/* Version 2 */

static bool has_zero_clusters(Qcow2 *q, const Qcow2Snapshot *snapshot, bool *out_has)
{
    g_autofree uint8_t *l1 = g_try_malloc(snapshot->l1_size * 8ull + 1);
    g_autofree uint8_t *data = g_try_malloc(q->cluster_size);
    *out_has = false;
    if (!l1 || !data ||
        block_child_read(q->node->file, snapshot->l1_offset, l1, snapshot->l1_size * 8ull) < 0) {
        return false;
    }
    for (uint32_t i = 0; i < snapshot->l1_size; i++) {
        uint64_t offset = be64_get(l1 + i * 8ull) & QCOW2_OFFSET_MASK;
        if (offset && block_child_read(q->node->file, offset, data, q->cluster_size) < 0) {
            return false;
        }
        const Qcow2Table table = { .data = data };
        for (unsigned index = 0; offset && index < 1u << q->l2_bits; index++) {
            Qcow2Entry entry = qcow2_entry_get(q, &table, index);
            *out_has |= !qcow2_entry_is_compressed(entry) && entry.word & QCOW2_ZERO;
        }
    }
    return true;
}

static bool snapshots_fit_version_2(Qcow2 *q, GError **error)
{
    for (uint32_t i = 0; i < q->header.snapshot_count; i++) {
        const Qcow2Snapshot *snapshot = &q->snapshots[i];
        bool has_zeroes;
        if (snapshot->vm_state_size > UINT32_MAX || snapshot->disk_size != q->header.size) {
            return refuse(error, "Internal snapshots prevent downgrade of image: delete those that "
                                 "have another size or more than 4 GiB of VM state");
        }
        if (!has_zero_clusters(q, snapshot, &has_zeroes)) {
            return refuse(error, "cannot read the tables of a snapshot");
        }
        if (has_zeroes) {
            return refuse(error, "Internal snapshots prevent downgrade of image: delete those that "
                                 "have zero clusters, or convert the image");
        }
    }
    return true;
}

static bool fits_version_2(Qcow2 *q, const Amendment *a, GError **error)
{
    const Qcow2Header *header = &q->header;
    const char *why = NULL;
    if (header->incompatible & QCOW2_INCOMPATIBLE_DATA_FILE) {
        why = "Cannot downgrade an image with a data file";
    } else if (header->has_bitmaps) {
        why = "Cannot downgrade an image with dirty bitmaps; remove them first";
    } else if (header->compression) {
        why = "Cannot downgrade an image whose compression type is not zlib";
    } else if (q->l2_entry_size != 8) {
        why = "Cannot downgrade an image with extended L2 tables";
    } else if (q->refcount_bits != 16) {
        why = "compat=0.10 requires refcount_bits=16; change them first";
    }
    return why ? refuse(error, why) : snapshots_fit_version_2(q, error);
}

static bool is_zero_cluster(Qcow2Entry entry)
{
    return !qcow2_entry_is_compressed(entry) && entry.word & QCOW2_ZERO;
}

/* Zero clusters of the table for @offset become unallocated. The lock is held. */
static int clear_zero_entries(Qcow2 *q, uint64_t offset)
{
    Qcow2Table *table;
    int rc = qcow2_l2_table(q, offset, false, &table);
    unsigned first = 0, end = 1u << q->l2_bits;
    while (rc == 0 && table && first < end && !is_zero_cluster(qcow2_entry_get(q, table, first))) {
        first++;
    }
    if (rc < 0 || !table || first == end) {
        return rc;
    }
    rc = qcow2_l2_table(q, offset, true, &table);
    for (unsigned i = first; rc == 0 && i < end; i++) {
        Qcow2Entry entry = qcow2_entry_get(q, table, i);
        if (is_zero_cluster(entry)) {
            qcow2_entry_set(q, table, i, (Qcow2Entry){ 0 });
            qcow2_entry_free(q, entry);
        }
    }
    return rc;
}

/* Zero clusters within the range are written. */
static int write_zero_clusters(Qcow2 *q, uint64_t offset, uint64_t length, uint8_t *zeroes)
{
    int rc = 0;
    while (length > 0 && rc == 0) {
        Qcow2Mapping mapping;
        pthread_mutex_lock(&q->lock);
        rc = qcow2_map(q, offset, length, &mapping);
        pthread_mutex_unlock(&q->lock);
        for (uint64_t done = 0; rc == 0 && mapping.kind == QCOW2_ZEROES && done < mapping.length;) {
            uint64_t part = MIN(q->cluster_size, mapping.length - done);
            struct iovec iov = { zeroes, part };
            BlockVec vec = { &iov, 1 };
            rc = qcow2_write(q->node, offset + done, part, &vec, 0);
            done += part;
        }
        offset += mapping.length;
        length -= mapping.length;
    }
    return rc;
}

static int expand_zero_clusters(Qcow2 *q)
{
    uint64_t cover = 1ull << (q->cluster_bits + q->l2_bits);
    g_autofree uint8_t *zeroes = g_try_malloc0(q->cluster_size);
    int rc = zeroes ? 0 : -ENOMEM;
    for (uint64_t at = 0; at < q->header.size && rc == 0; at += cover) {
        if (q->node->backing) {
            rc = write_zero_clusters(q, at, MIN(cover, q->header.size - at), zeroes);
        } else {
            pthread_mutex_lock(&q->lock);
            rc = clear_zero_entries(q, at);
            pthread_mutex_unlock(&q->lock);
        }
    }
    return rc < 0 ? rc : qcow2_flush_alone(q);
}

static bool set_version(Qcow2 *q, const Amendment *a, GError **error)
{
    Qcow2Header *header = &q->header;
    if (a->version >= header->version) {
        header->version = a->version;
        return true;
    }
    if (!fits_version_2(q, a, error)) {
        return false;
    }
    int rc = expand_zero_clusters(q);
    if (rc == 0) {
        rc = block_child_flush(q->node->file);
    }
    if (rc == 0) {
        rc = qcow2_set_incompatible(q, 0, QCOW2_INCOMPATIBLE_DIRTY);
    }
    if (rc == 0 && header->incompatible) {
        return refuse(error, "Cannot downgrade an image with incompatible features set");
    }
    if (rc < 0) {
        lodge_error_set_errno(error, rc, "Turning zero clusters into data clusters failed");
        return false;
    }
    header->version = 2;
    header->compatible = header->autoclear = 0;
    return true;
}

/* The rest */

static bool set_refcount_bits(Qcow2 *q, const Amendment *a, GError **error)
{
    if (a->refcount_bits == q->refcount_bits) {
        return true;
    }
    if (q->header.version < 3) {
        return refuse(error, "Refcount widths other than 16 bits require compatibility level 1.1");
    }
    int rc = qcow2_change_refcount_bits(q, (unsigned)a->refcount_bits);
    if (rc == -EUCLEAN) {
        return refuse(error, "the image's refcounts are wrong; repair it by 'check -r all' first");
    }
    if (rc == -EOVERFLOW) {
        return refuse(error, "Cannot decrease refcount entry width: there are clusters with more "
                             "references than that can count");
    }
    if (rc < 0) {
        lodge_error_set_errno(error, rc, "Could not change the refcount width");
    }
    return rc == 0;
}

static bool write_header(Qcow2 *q, const Amendment *a, GError **error)
{
    Qcow2Header *header = &q->header;
    header->compatible &= ~(uint64_t)QCOW2_COMPATIBLE_LAZY_REFCOUNTS;
    header->compatible |= a->is_lazy ? QCOW2_COMPATIBLE_LAZY_REFCOUNTS : 0;
    header->autoclear &= ~(a->is_raw ? 0 : (uint64_t)QCOW2_AUTOCLEAR_DATA_FILE_RAW);
    if (a->data_file) {
        g_free(header->data_file_name);
        header->data_file_name = *a->data_file ? g_strdup(a->data_file) : NULL;
    }
    int rc = qcow2_header_write(q, true);
    if (rc < 0) {
        q->is_corrupt = true; /* nobody knows which header is there */
        lodge_error_set_errno(error, rc, "Could not write the header");
    }
    return rc == 0;
}

bool qcow2_amend(BlockNode *node, const BlockSpec *options, bool is_forced, GError **error)
{
    Qcow2 *q = qcow2_of(node);
    Amendment a;
    if (!parse(q, options, &a, error) || !check_options(q, &a, error) ||
        !qcow2_crypt_amend(q, options, is_forced, error)) {
        return false;
    }
    /* To version 3 before, to version 2 after the refcounts change. */
    bool is_upgrade = a.version > q->header.version;
    return (!is_upgrade || (set_version(q, &a, error) && write_header(q, &a, error))) &&
           set_refcount_bits(q, &a, error) && (is_upgrade || set_version(q, &a, error)) &&
           write_header(q, &a, error) &&
           (a.size == q->header.size ||
            qcow2_truncate(node, a.size, BLOCK_PREALLOCATION_OFF, error));
}
