/* The qcow2 header and its extensions: writing, so that a power cut leaves the old or the new one.
 *
 * Only a sector is written whole or not at all. The first one has the fixed fields, the bitmaps'
 * extension and the names of features; what follows ("the tail": other extensions, the backing
 * file's name) may lie anywhere in the cluster, since the names' extension can be longer than they
 * are. A tail that changes is written to sectors that the old header does not use; then the first
 * sector switches to it. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "base/int-math.h"
#include "block/qcow2/qcow2.h"

#include <errno.h>
#include <string.h>

#define SECTOR 512u

typedef struct HeaderWriter {
    uint8_t *raw;
    size_t at, size;
    bool is_full;
} HeaderWriter;

static void put_extension(HeaderWriter *writer, uint32_t type, const void *data, size_t length)
{
    size_t padded = round_up(length, 8);
    if (writer->is_full || padded + 8 > writer->size - writer->at) {
        writer->is_full = true;
        return;
    }
    be32_put(writer->raw + writer->at, type);
    be32_put(writer->raw + writer->at + 4, (uint32_t)length);
    if (length) {
        memcpy(writer->raw + writer->at + 8, data, length);
    }
    writer->at += 8 + padded;
}

/* So that programs can name a feature that they do not know. What follows begins at @next, or at
 * once if that is 0: readers stop at the first entry without a name. */
static void put_feature_names(HeaderWriter *writer, bool has_names, uint64_t next)
{
    static const struct {
        uint8_t type, bit;
        const char *name;
    } features[] = {
        { 0, 0, "dirty bit" },
        { 0, 1, "corrupt bit" },
        { 0, 2, "external data file" },
        { 0, 3, "compression type" },
        { 0, 4, "extended L2 entries" },
        { 1, 0, "lazy refcounts" },
        { 2, 0, "bitmaps" },
        { 2, 1, "raw external data" },
    };
    uint8_t table[G_N_ELEMENTS(features)][48];
    memset(table, 0, sizeof(table));
    for (unsigned i = 0; i < G_N_ELEMENTS(features); i++) {
        table[i][0] = features[i].type;
        table[i][1] = features[i].bit;
        memcpy(table[i] + 2, features[i].name, strlen(features[i].name));
    }
    size_t length = has_names ? sizeof(table) : 0, start = writer->at;
    put_extension(writer, QCOW2_EXT_FEATURE_NAMES, table, length);
    if (next && (writer->at > next || next > writer->size)) {
        writer->is_full = true;
    } else if (next && !writer->is_full) {
        be32_put(writer->raw + start + 4, (uint32_t)(next - start - 8));
        writer->at = next;
    }
}

static void put_bitmaps(HeaderWriter *writer, const Qcow2Header *header)
{
    uint8_t bitmaps[24] = { 0 };
    be32_put(bitmaps, header->bitmap_count);
    be64_put(bitmaps + 8, header->bitmap_directory_size);
    be64_put(bitmaps + 16, header->bitmap_directory_offset);
    put_extension(writer, QCOW2_EXT_BITMAPS, bitmaps, sizeof(bitmaps));
}

static void put_tail(HeaderWriter *writer, const Qcow2Header *header)
{
    if (header->backing_format) {
        put_extension(writer, QCOW2_EXT_BACKING_FORMAT, header->backing_format,
                      strlen(header->backing_format));
    }
    if (header->data_file_name) {
        put_extension(writer, QCOW2_EXT_DATA_FILE, header->data_file_name,
                      strlen(header->data_file_name));
    }
    if (header->crypt_offset) {
        uint8_t place[16];
        be64_put(place, header->crypt_offset);
        be64_put(place + 8, header->crypt_length);
        put_extension(writer, QCOW2_EXT_CRYPT, place, sizeof(place));
    }
    for (unsigned i = 0; header->unknown && i < header->unknown->len; i++) {
        const Qcow2Extension *extension = &g_array_index(header->unknown, Qcow2Extension, i);
        put_extension(writer, extension->type, extension->data, extension->length);
    }
    put_extension(writer, QCOW2_EXT_END, NULL, 0);
}

static void put_fields(uint8_t *raw, const Qcow2Header *header)
{
    be32_put(raw + QCOW2_H_MAGIC, QCOW2_MAGIC);
    be32_put(raw + QCOW2_H_VERSION, header->version);
    be32_put(raw + QCOW2_H_CLUSTER_BITS, header->cluster_bits);
    be64_put(raw + QCOW2_H_SIZE, header->size);
    be32_put(raw + QCOW2_H_CRYPT, header->crypt);
    be32_put(raw + QCOW2_H_L1_SIZE, header->l1_size);
    be64_put(raw + QCOW2_H_L1_OFFSET, header->l1_offset);
    be64_put(raw + QCOW2_H_REFTABLE_OFFSET, header->reftable_offset);
    be32_put(raw + QCOW2_H_REFTABLE_CLUSTERS, header->reftable_clusters);
    be32_put(raw + QCOW2_H_SNAPSHOTS, header->snapshot_count);
    be64_put(raw + QCOW2_H_SNAPSHOTS_OFFSET, header->snapshots_offset);
    if (header->version >= 3) {
        be64_put(raw + QCOW2_H_INCOMPATIBLE, header->incompatible);
        be64_put(raw + QCOW2_H_COMPATIBLE, header->compatible);
        be64_put(raw + QCOW2_H_AUTOCLEAR, header->autoclear);
        be32_put(raw + QCOW2_H_REFCOUNT_ORDER, header->refcount_order);
        be32_put(raw + QCOW2_H_LENGTH, header->header_length);
        if (header->header_length > QCOW2_H_COMPRESSION) {
            raw[QCOW2_H_COMPRESSION] = header->compression;
        }
    }
}

/* The first cluster as it may be. */
typedef struct Layout {
    bool has_names;
    uint64_t tail; /* where it begins; 0: right behind the rest */
    uint64_t end;  /* out: nothing matters from here on */
} Layout;

/* Returns: NULL if it does not fit. */
static uint8_t *format_header(const Qcow2Header *header, uint64_t cluster_size, Layout *layout)
{
    g_autofree uint8_t *raw = g_malloc0(cluster_size);
    HeaderWriter writer = {
        .raw = raw,
        .at = header->header_length,
        .size = cluster_size,
    };
    put_fields(raw, header);
    if (header->has_bitmaps) {
        put_bitmaps(&writer, header);
    }
    bool has_names = layout->has_names && header->version >= 3;
    if (has_names || layout->tail) {
        put_feature_names(&writer, has_names, layout->tail);
    }
    put_tail(&writer, header);
    if (header->backing_name) {
        size_t length = strlen(header->backing_name);
        if (length > QCOW2_BACKING_NAME_MAX || length > cluster_size - writer.at) {
            return NULL;
        }
        be64_put(raw + QCOW2_H_BACKING_OFFSET, writer.at);
        be32_put(raw + QCOW2_H_BACKING_SIZE, (uint32_t)length);
        memcpy(raw + writer.at, header->backing_name, length);
        writer.at += length;
    }
    layout->end = writer.at;
    return writer.is_full ? NULL : g_steal_pointer(&raw);
}

uint8_t *qcow2_header_format(const Qcow2Header *header, uint64_t cluster_size)
{
    Layout whole = { .has_names = true }, nameless = { .has_names = false };
    uint8_t *raw = format_header(header, cluster_size, &whole);
    /* In clusters of 512 bytes the names of features, which nothing needs, make room. */
    return raw ? raw : format_header(header, cluster_size, &nameless);
}

/* Replacing */

/* Bytes of the cluster past its first sector. */
typedef struct Span {
    uint64_t from, to;
} Span;

static void widen(Span *span, uint64_t from, uint64_t to)
{
    from = MAX(from, SECTOR);
    if (from < to) {
        span->from = MIN(span->from, from);
        span->to = MAX(span->to, to);
    }
}

/* What of @raw, the first cluster, a reader needs; the names of features nobody does. */
static Span needed_span(const uint8_t *raw, uint64_t cluster_size)
{
    Span span = { cluster_size, SECTOR };
    uint64_t at =
        be32_get(raw + QCOW2_H_VERSION) >= 3 ? be32_get(raw + QCOW2_H_LENGTH) : QCOW2_H_V2_LENGTH;
    uint64_t name = be64_get(raw + QCOW2_H_BACKING_OFFSET), end = cluster_size;
    if (name && name < cluster_size) {
        widen(&span, name, MIN(name + be32_get(raw + QCOW2_H_BACKING_SIZE), cluster_size));
        end = name;
    }
    while (at + 8 <= end) {
        uint32_t type = be32_get(raw + at), length = be32_get(raw + at + 4);
        widen(&span, at, at + 8);
        if (type == QCOW2_EXT_END) {
            break;
        }
        if (type != QCOW2_EXT_FEATURE_NAMES) {
            widen(&span, at + 8, MIN(at + 8 + length, cluster_size));
        }
        at += 8 + round_up(length, 8);
    }
    return span;
}

static int write_flushed(Qcow2 *q, uint64_t offset, const void *buf, size_t length)
{
    int rc = block_child_write(q->node->file, offset, buf, length);
    return rc < 0 ? rc : block_child_flush(q->node->file);
}

/* Writes the first @length bytes; failed: they are as in @old, or nothing is written any more. */
static int switch_first(Qcow2 *q, const uint8_t *old, const uint8_t *raw, uint64_t length)
{
    int rc = write_flushed(q, 0, raw, length);
    if (rc < 0 && write_flushed(q, 0, old, length) < 0) {
        q->is_corrupt = true; /* nobody knows which header is there */
    }
    return rc;
}

/* The new first cluster, and how to get there. */
typedef struct Plan {
    uint8_t *old, *raw;    /* g_malloc()ed */
    uint64_t tail, length; /* bytes to be written before the first sector */
} Plan;

static void plan_clear(Plan *plan)
{
    g_free(plan->old);
    g_free(plan->raw);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Plan, plan_clear)

/* Whether @raw, of @layout, can replace plan->old: its tail is there already, or the old header
 * needs nothing of where it goes. Then it is the plan's. */
static bool take_layout(Plan *plan, uint8_t *raw, const Layout *layout, const Span *needed)
{
    uint64_t tail = layout->tail ? layout->tail : SECTOR;
    uint64_t length = layout->end > tail ? layout->end - tail : 0;
    bool is_there = memcmp(plan->old + tail, raw + tail, length) == 0;
    bool is_free = tail >= needed->to || needed->from >= round_up(layout->end, SECTOR);
    if (is_there || is_free) {
        plan->raw = raw;
        plan->tail = tail;
        plan->length = is_there ? 0 : length;
    }
    return is_there || is_free;
}

/* Returns: 0, -ENOSPC if there is no room beside the old header, or -errno. */
static int make_plan(const Qcow2 *q, const Qcow2Header *header, Plan *plan)
{
    plan->old = g_malloc(q->cluster_size);
    int rc = block_child_read(q->node->file, 0, plan->old, q->cluster_size);
    if (rc < 0) {
        return rc;
    }
    Span needed = needed_span(plan->old, q->cluster_size);
    const Layout layouts[] = {
        { .has_names = true },
        { .has_names = true, .tail = needed.from / SECTOR * SECTOR },
        { .has_names = true, .tail = SECTOR },
        { .has_names = true, .tail = 2 * SECTOR },
        { .has_names = true, .tail = round_up(needed.to, SECTOR) },
        { .has_names = false },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(layouts); i++) {
        Layout layout = layouts[i];
        uint8_t *raw = format_header(header, q->cluster_size, &layout);
        if (raw && take_layout(plan, raw, &layout, &needed)) {
            return 0;
        }
        g_free(raw);
    }
    return -ENOSPC;
}

static int carry_out(Qcow2 *q, const Plan *plan)
{
    size_t gap = plan->tail - SECTOR;
    int rc = plan->length ? write_flushed(q, plan->tail, plan->raw + plan->tail, plan->length) : 0;
    if (rc == 0) {
        rc = switch_first(q, plan->old, plan->raw, SECTOR);
    }
    if (rc == 0 && memcmp(plan->old + SECTOR, plan->raw + SECTOR, gap) != 0) {
        /* The old tail lies where names of features could be. Nothing needs it to be gone. */
        (void)!block_child_write(q->node->file, SECTOR, plan->raw + SECTOR, gap);
    }
    return rc;
}

static Qcow2Header next_header(const Qcow2 *q)
{
    Qcow2Header next = q->header;
    next.header_length = next.version >= 3 ? QCOW2_H_V3_LENGTH : QCOW2_H_V2_LENGTH;
    return next;
}

bool qcow2_header_has_room_for_bitmaps(const Qcow2 *q)
{
    g_auto(Plan) plan = { 0 };
    Qcow2Header next = next_header(q);
    next.has_bitmaps = true;
    return make_plan(q, &next, &plan) != -ENOSPC;
}

int qcow2_header_write(Qcow2 *q, bool may_tear)
{
    g_auto(Plan) plan = { 0 };
    Qcow2Header next = next_header(q);
    int rc = make_plan(q, &next, &plan);
    if (rc == 0) {
        rc = carry_out(q, &plan);
    } else if (rc == -ENOSPC && may_tear) {
        plan.raw = qcow2_header_format(&next, q->cluster_size);
        rc = plan.raw ? switch_first(q, plan.old, plan.raw, q->cluster_size) : -ENOSPC;
    }
    if (rc == 0) {
        q->header.header_length = next.header_length;
        q->header.backing_offset = be64_get(plan.raw + QCOW2_H_BACKING_OFFSET);
        q->header.backing_length = be32_get(plan.raw + QCOW2_H_BACKING_SIZE);
    }
    return rc;
}

int qcow2_header_write_fields(Qcow2 *q)
{
    uint8_t raw[QCOW2_H_V3_LENGTH] = { 0 };
    put_fields(raw, &q->header);
    be64_put(raw + QCOW2_H_BACKING_OFFSET, q->header.backing_offset);
    be32_put(raw + QCOW2_H_BACKING_SIZE, q->header.backing_length);
    return block_child_write(q->node->file, 0, raw, MIN(q->header.header_length, sizeof(raw)));
}

int qcow2_set_incompatible(Qcow2 *q, uint64_t set, uint64_t clear)
{
    uint8_t field[8];
    if (q->header.version < 3) {
        return 0;
    }
    uint64_t value = (q->header.incompatible | set) & ~clear;
    if (value == q->header.incompatible) {
        return 0;
    }
    be64_put(field, value);
    int rc = block_child_write(q->node->file, QCOW2_H_INCOMPATIBLE, field, sizeof(field));
    if (rc == 0) {
        rc = block_child_flush(q->node->file);
    }
    if (rc == 0) {
        q->header.incompatible = value;
    }
    return rc;
}
