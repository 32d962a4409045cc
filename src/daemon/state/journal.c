/* Encoding and decoding of the intent journal.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/state/journal.h"

#include "base/endian.h"

#include <string.h>

#define HEADER_MAGIC 0x4c41574c /* "LWAL" */
#define RECORD_MAGIC 0x4345524c /* "LREC" */
#define HASH_SIZE 32u
#define FIELDS_SIZE 24u
#define PREFIX_SIZE (FIELDS_SIZE + HASH_SIZE)
#define STEP_PREFIX 8u

void step_free(Step *step)
{
    if (step) {
        g_free(step->path);
        g_clear_pointer(&step->data, g_bytes_unref);
        g_free(step);
    }
}

bool journal_path_is_safe(const char *path)
{
    gsize size = strlen(path);
    if (size == 0 || size > JOURNAL_PATH_MAX || path[0] == '/') {
        return false;
    }
    for (const char *part = path; part;) {
        const char *end = strchr(part, '/');
        gsize length = end ? (gsize)(end - part) : strlen(part);
        if (length == 0 || (length == 1 && part[0] == '.') ||
            (length == 2 && part[0] == '.' && part[1] == '.')) {
            return false;
        }
        for (gsize i = 0; i < length; i++) {
            if ((guchar)part[i] < 32) {
                return false;
            }
        }
        part = end ? end + 1 : NULL;
    }
    return true;
}

static void put32(GByteArray *out, guint32 value)
{
    guint8 bytes[4];
    le32_put(bytes, value);
    g_byte_array_append(out, bytes, sizeof(bytes));
}

static void put64(GByteArray *out, guint64 value)
{
    guint8 bytes[8];
    le64_put(bytes, value);
    g_byte_array_append(out, bytes, sizeof(bytes));
}

static void hash_record(const guint8 *record, const guint8 *payload, gsize size, guint8 *out_hash)
{
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
    gsize length = HASH_SIZE;
    g_checksum_update(sum, record, FIELDS_SIZE);
    g_checksum_update(sum, payload, (gssize)size);
    g_checksum_get_digest(sum, out_hash, &length);
}

static void write_frame(GByteArray *out, guint32 magic, guint64 epoch, guint64 sequence,
                        const GByteArray *payload)
{
    guint start = out->len;
    guint8 hash[HASH_SIZE] = { 0 };
    put32(out, magic);
    put32(out, payload->len);
    put64(out, epoch);
    put64(out, sequence);
    hash_record(out->data + start, payload->data, payload->len, hash);
    g_byte_array_append(out, hash, sizeof(hash));
    g_byte_array_append(out, payload->data, payload->len);
    guint used = out->len - start;
    guint padded = (used + JOURNAL_ALIGN - 1) / JOURNAL_ALIGN * JOURNAL_ALIGN;
    g_byte_array_set_size(out, start + padded);
    memset(out->data + start + used, 0, padded - used);
}

void journal_write_header(GByteArray *out, guint64 epoch)
{
    g_autoptr(GByteArray) nothing = g_byte_array_new();
    write_frame(out, HEADER_MAGIC, epoch, 0, nothing);
}

bool journal_write_record(GByteArray *out, guint64 epoch, guint64 sequence, const GPtrArray *steps)
{
    g_autoptr(GByteArray) payload = g_byte_array_new();
    for (guint i = 0; i < steps->len; i++) {
        const Step *step = g_ptr_array_index(steps, i);
        gsize size = 0;
        const guint8 *data = step->data ? g_bytes_get_data(step->data, &size) : NULL;
        gsize path = strlen(step->path);
        if (payload->len + STEP_PREFIX + path + size > JOURNAL_RECORD_MAX) {
            return false;
        }
        guint8 prefix[STEP_PREFIX] = { (guint8)step->kind, 0 };
        le16_put(prefix + 2, (guint16)path);
        le32_put(prefix + 4, (guint32)size);
        g_byte_array_append(payload, prefix, sizeof(prefix));
        g_byte_array_append(payload, (const guint8 *)step->path, (guint)path);
        if (size) {
            g_byte_array_append(payload, data, (guint)size);
        }
    }
    write_frame(out, RECORD_MAGIC, epoch, sequence, payload);
    return true;
}

/* Bytes of the valid frame at @data, padding counted, or 0. */
static gsize check_frame(const guint8 *data, gsize size, guint32 magic)
{
    if (size < PREFIX_SIZE || le32_get(data) != magic) {
        return 0;
    }
    gsize payload = le32_get(data + 4);
    if (payload > JOURNAL_RECORD_MAX || payload > size - PREFIX_SIZE) {
        return 0;
    }
    guint8 hash[HASH_SIZE];
    hash_record(data, data + PREFIX_SIZE, payload, hash);
    if (memcmp(hash, data + FIELDS_SIZE, HASH_SIZE) != 0) {
        return 0;
    }
    return (PREFIX_SIZE + payload + JOURNAL_ALIGN - 1) / JOURNAL_ALIGN * JOURNAL_ALIGN;
}

static Step *read_step(const guint8 *data, gsize size, gsize *out_used)
{
    if (size < STEP_PREFIX) {
        return NULL;
    }
    gsize path_size = le16_get(data + 2);
    gsize data_size = le32_get(data + 4);
    if (path_size > size - STEP_PREFIX || data_size > size - STEP_PREFIX - path_size ||
        data[0] < STEP_PUT || data[0] > STEP_LINK) {
        return NULL;
    }
    g_autofree char *path = g_strndup((const char *)data + STEP_PREFIX, path_size);
    if (!journal_path_is_safe(path)) {
        return NULL;
    }
    Step *step = g_new0(Step, 1);
    step->kind = data[0];
    step->path = g_steal_pointer(&path);
    if (step->kind != STEP_DELETE) {
        step->data = g_bytes_new(data + STEP_PREFIX + path_size, data_size);
    }
    *out_used = STEP_PREFIX + path_size + data_size;
    return step;
}

static GPtrArray *read_steps(const guint8 *payload, gsize size)
{
    g_autoptr(GPtrArray) steps = g_ptr_array_new_with_free_func((GDestroyNotify)step_free);
    while (size) {
        gsize used;
        Step *step = read_step(payload, size, &used);
        if (!step) {
            return NULL;
        }
        g_ptr_array_add(steps, step);
        payload += used;
        size -= used;
    }
    return g_steal_pointer(&steps);
}

bool journal_read(const guint8 *data, gsize size, guint64 *out_epoch, GPtrArray **out_records)
{
    gsize at = check_frame(data, size, HEADER_MAGIC);
    if (!at) {
        return false;
    }
    guint64 epoch = le64_get(data + 8);
    GPtrArray *records = g_ptr_array_new_with_free_func((GDestroyNotify)g_ptr_array_unref);
    for (guint64 sequence = 1; at < size; sequence++) {
        const guint8 *record = data + at;
        gsize used = check_frame(record, size - at, RECORD_MAGIC);
        if (!used || le64_get(record + 8) != epoch || le64_get(record + 16) != sequence) {
            break;
        }
        GPtrArray *steps = read_steps(record + PREFIX_SIZE, le32_get(record + 4));
        if (!steps) {
            break;
        }
        g_ptr_array_add(records, steps);
        at += used;
    }
    *out_epoch = epoch;
    *out_records = records;
    return true;
}
