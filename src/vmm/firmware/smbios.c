/* SMBIOS tables.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/firmware/smbios.h"

#include "base/endian.h"
#include "base/int-math.h"
#include "base/log.h"

#include <string.h>

#define ENTRY_BYTES 24
#define STRUCTURES_OFFSET 32
#define STRING_BYTES_MAX 1024
#define STRINGS_MAX 32
#define KIB_IN_EXTENDED 0x80000000u

/* One structure under construction: formatted bytes, then its strings. */
typedef struct Structure {
    uint8_t bytes[128];
    unsigned length;
    const char *strings[STRINGS_MAX];
    unsigned string_count;
} Structure;

typedef struct Builder {
    GByteArray *out;
    uint16_t next_handle;
} Builder;

static Structure begin(Builder *builder, uint8_t type)
{
    Structure s = { .length = 4 };
    s.bytes[0] = type;
    le16_put(s.bytes + 2, builder->next_handle++);
    return s;
}

static void put8(Structure *s, uint8_t value)
{
    lodge_assert(s->length < sizeof(s->bytes));
    s->bytes[s->length++] = value;
}

static void put16(Structure *s, uint16_t value)
{
    put8(s, (uint8_t)value);
    put8(s, (uint8_t)(value >> 8));
}

static void put32(Structure *s, uint32_t value)
{
    put16(s, (uint16_t)value);
    put16(s, (uint16_t)(value >> 16));
}

static void put64(Structure *s, uint64_t value)
{
    put32(s, (uint32_t)value);
    put32(s, (uint32_t)(value >> 32));
}

/* The number of a string, 0 for none. */
static void put_string(Structure *s, const char *text)
{
    if (!text || !*text || s->string_count == STRINGS_MAX) {
        put8(s, 0);
        return;
    }
    s->strings[s->string_count++] = text;
    put8(s, (uint8_t)s->string_count);
}

/* Returns the handle. */
static uint16_t end(Builder *builder, Structure *s)
{
    s->bytes[1] = (uint8_t)s->length;
    g_byte_array_append(builder->out, s->bytes, s->length);
    for (unsigned i = 0; i < s->string_count; i++) {
        size_t length = strnlen(s->strings[i], STRING_BYTES_MAX);
        g_byte_array_append(builder->out, (const guint8 *)s->strings[i], (guint)length);
        g_byte_array_append(builder->out, (const guint8 *)"", 1);
    }
    g_byte_array_append(builder->out, (const guint8 *)"\0", s->string_count ? 1 : 2);
    return le16_get(s->bytes + 2);
}

static void add_bios(Builder *builder, const SmbiosInfo *info)
{
    Structure s = begin(builder, 0);
    put_string(&s, info->bios_vendor);
    put_string(&s, info->bios_version);
    put16(&s, 0xe000); /* start segment */
    put_string(&s, info->bios_date);
    put8(&s, 0);       /* 64 KiB of ROM */
    put64(&s, 1 << 3); /* characteristics are not supported */
    put8(&s, 0);
    put8(&s, 0x14); /* a virtual machine; targeted content distribution */
    put8(&s, 0);    /* release */
    put8(&s, 0);
    put8(&s, 0xff); /* embedded controller's release */
    put8(&s, 0xff);
    end(builder, &s);
}

static void add_system(Builder *builder, const SmbiosInfo *info)
{
    /* The first three fields of a UUID are little-endian here. */
    static const uint8_t order[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };
    Structure s = begin(builder, 1);
    put_string(&s, info->system.manufacturer);
    put_string(&s, info->system.product);
    put_string(&s, info->system.version);
    put_string(&s, info->system.serial);
    for (unsigned i = 0; i < sizeof(order); i++) {
        put8(&s, info->uuid[order[i]]);
    }
    put8(&s, 6); /* woken by the power switch */
    put_string(&s, info->system.sku);
    put_string(&s, info->system.family);
    end(builder, &s);
}

static void add_board(Builder *builder, const SmbiosInfo *info, uint16_t chassis)
{
    Structure s = begin(builder, 2);
    put_string(&s, info->board.manufacturer);
    put_string(&s, info->board.product);
    put_string(&s, info->board.version);
    put_string(&s, info->board.serial);
    put_string(&s, info->board.asset);
    put8(&s, 1); /* hosting board */
    put_string(&s, info->board.location);
    put16(&s, chassis);
    put8(&s, 0x0a); /* motherboard */
    put8(&s, 0);
    end(builder, &s);
}

static uint16_t add_chassis(Builder *builder, const SmbiosInfo *info)
{
    Structure s = begin(builder, 3);
    put_string(&s, info->chassis.manufacturer);
    put8(&s, 1); /* other */
    put_string(&s, info->chassis.version);
    put_string(&s, info->chassis.serial);
    put_string(&s, info->chassis.asset);
    put8(&s, 3); /* boot-up, power, thermal state: safe */
    put8(&s, 3);
    put8(&s, 3);
    put8(&s, 2); /* security: unknown */
    put32(&s, 0);
    put8(&s, 0); /* height */
    put8(&s, 0); /* power cords */
    put8(&s, 0); /* contained elements */
    put8(&s, 0);
    put_string(&s, info->chassis.sku);
    return end(builder, &s);
}

static void add_processor(Builder *builder, const SmbiosInfo *info, unsigned socket)
{
    g_autofree char *name = g_strdup_printf("CPU %u", socket);
    Structure s = begin(builder, 4);
    put_string(&s, name);
    put8(&s, 3); /* central processor */
    put8(&s, 1); /* family: other */
    put_string(&s, info->system.manufacturer);
    put64(&s, info->cpu_signature);
    put_string(&s, NULL);
    put8(&s, 0);
    put16(&s, 0); /* external clock, speeds: unknown */
    put16(&s, 0);
    put16(&s, 0);
    put8(&s, 0x41);    /* populated, enabled */
    put8(&s, 1);       /* upgrade: other */
    put16(&s, 0xffff); /* caches */
    put16(&s, 0xffff);
    put16(&s, 0xffff);
    put_string(&s, NULL);
    put_string(&s, NULL);
    put_string(&s, NULL);
    put8(&s, (uint8_t)MIN(info->cores, 0xff));
    put8(&s, (uint8_t)MIN(info->cores, 0xff));
    put8(&s, (uint8_t)MIN(info->threads, 0xff));
    put16(&s, 0x0004); /* 64-bit */
    put16(&s, 1);
    put16(&s, (uint16_t)info->cores);
    put16(&s, (uint16_t)info->cores);
    put16(&s, (uint16_t)info->threads);
    end(builder, &s);
}

static void add_oem_strings(Builder *builder, const SmbiosInfo *info)
{
    unsigned count = MIN(info->oem_count, STRINGS_MAX);
    if (!count) {
        return;
    }
    Structure s = begin(builder, 11);
    put8(&s, (uint8_t)count);
    for (unsigned i = 0; i < count; i++) {
        s.strings[s.string_count++] = info->oem_strings[i];
    }
    end(builder, &s);
}

static void add_mapping(Builder *builder, uint16_t array, GuestAddr base, uint64_t bytes)
{
    if (!bytes) {
        return;
    }
    Structure s = begin(builder, 19);
    put32(&s, UINT32_MAX); /* see the extended addresses */
    put32(&s, UINT32_MAX);
    put16(&s, array);
    put8(&s, 1);
    put64(&s, base);
    put64(&s, base + bytes - 1);
    end(builder, &s);
}

static void add_memory(Builder *builder, const SmbiosInfo *info)
{
    uint64_t total = info->low_ram_bytes + info->high_ram_bytes;
    Structure array = begin(builder, 16);
    put8(&array, 1);                /* other place */
    put8(&array, 3);                /* system memory */
    put8(&array, 6);                /* multi-bit error correction */
    put32(&array, KIB_IN_EXTENDED); /* see the extended capacity */
    put16(&array, 0xfffe);
    put16(&array, 1);
    put64(&array, total);
    uint16_t handle = end(builder, &array);

    uint64_t mib = total / MIB;
    Structure s = begin(builder, 17);
    put16(&s, handle);
    put16(&s, 0xfffe);
    put16(&s, 64); /* widths */
    put16(&s, 64);
    put16(&s, mib < 0x7fff ? (uint16_t)mib : 0x7fff);
    put8(&s, 9); /* DIMM */
    put8(&s, 0);
    put_string(&s, "DIMM 0");
    put_string(&s, NULL);
    put8(&s, 7);  /* RAM */
    put16(&s, 2); /* other */
    put16(&s, 0);
    put_string(&s, info->system.manufacturer);
    put_string(&s, NULL);
    put_string(&s, NULL);
    put_string(&s, NULL);
    put8(&s, 0);
    put32(&s, mib < 0x7fff ? 0 : (uint32_t)MIN(mib, INT32_MAX));
    put16(&s, 0);
    put16(&s, 0); /* voltages */
    put16(&s, 0);
    put16(&s, 0);
    end(builder, &s);
    add_mapping(builder, handle, 0, info->low_ram_bytes);
    add_mapping(builder, handle, 4 * GIB, info->high_ram_bytes);
}

static void add_end(Builder *builder)
{
    Structure boot = begin(builder, 32);
    for (unsigned i = 0; i < 7; i++) {
        put8(&boot, 0);
    }
    end(builder, &boot);
    Structure s = begin(builder, 127);
    end(builder, &s);
}

static void fill_entry(GByteArray *out, GuestAddr base)
{
    uint8_t *entry = out->data;
    memcpy(entry, "_SM3_", 5);
    entry[6] = ENTRY_BYTES;
    entry[7] = 3; /* version 3.0 */
    entry[10] = 1;
    le32_put(entry + 12, out->len - STRUCTURES_OFFSET);
    le64_put(entry + 16, base + STRUCTURES_OFFSET);
    uint8_t sum = 0;
    for (unsigned i = 0; i < ENTRY_BYTES; i++) {
        sum = (uint8_t)(sum + entry[i]);
    }
    entry[5] = (uint8_t)-sum;
}

GByteArray *smbios_build(const SmbiosInfo *info, GuestAddr base)
{
    Builder builder = { .out = g_byte_array_new() };
    g_byte_array_set_size(builder.out, STRUCTURES_OFFSET);
    memset(builder.out->data, 0, STRUCTURES_OFFSET);
    add_bios(&builder, info);
    add_system(&builder, info);
    uint16_t chassis = add_chassis(&builder, info);
    if (info->has_board) {
        add_board(&builder, info, chassis);
    }
    for (unsigned i = 0; i < info->sockets; i++) {
        add_processor(&builder, info, i);
    }
    add_oem_strings(&builder, info);
    add_memory(&builder, info);
    add_end(&builder);
    fill_entry(builder.out, base);
    return builder.out;
}
