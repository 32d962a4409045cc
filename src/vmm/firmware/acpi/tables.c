/* ACPI: root pointer, table of tables, and what all tables share.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/int-math.h"
#include "base/log.h"
#include "vmm/firmware/acpi/internal.h"

#include <string.h>

#define RSDP_BYTES 36
#define TABLE_ALIGN 16
#define LENGTH_OFFSET 4
#define CHECKSUM_OFFSET 9
#define TABLES_MAX 8

void acpi_put8(AcpiTables *tables, uint8_t value)
{
    g_byte_array_append(tables->bytes, &value, 1);
}

void acpi_put16(AcpiTables *tables, uint16_t value)
{
    uint8_t bytes[2];
    le16_put(bytes, value);
    g_byte_array_append(tables->bytes, bytes, sizeof(bytes));
}

void acpi_put32(AcpiTables *tables, uint32_t value)
{
    uint8_t bytes[4];
    le32_put(bytes, value);
    g_byte_array_append(tables->bytes, bytes, sizeof(bytes));
}

void acpi_put64(AcpiTables *tables, uint64_t value)
{
    uint8_t bytes[8];
    le64_put(bytes, value);
    g_byte_array_append(tables->bytes, bytes, sizeof(bytes));
}

void acpi_zeroes(AcpiTables *tables, unsigned count)
{
    guint old = tables->bytes->len;
    g_byte_array_set_size(tables->bytes, old + count);
    memset(tables->bytes->data + old, 0, count);
}

void acpi_put_address(AcpiTables *tables, uint8_t space, uint8_t bits, uint8_t access,
                      uint64_t address)
{
    acpi_put8(tables, space);
    acpi_put8(tables, bits);
    acpi_put8(tables, 0);
    acpi_put8(tables, access);
    acpi_put64(tables, address);
}

static uint8_t checksum(const uint8_t *bytes, guint length)
{
    uint8_t sum = 0;
    for (guint i = 0; i < length; i++) {
        sum = (uint8_t)(sum + bytes[i]);
    }
    return (uint8_t)-sum;
}

guint acpi_begin_table(AcpiTables *tables, const char *signature, uint8_t revision)
{
    acpi_zeroes(tables, (unsigned)(round_up(tables->bytes->len, TABLE_ALIGN) - tables->bytes->len));
    guint start = tables->bytes->len;
    g_byte_array_append(tables->bytes, (const guint8 *)signature, 4);
    acpi_put32(tables, 0); /* length */
    acpi_put8(tables, revision);
    acpi_put8(tables, 0); /* checksum */
    g_byte_array_append(tables->bytes, (const guint8 *)"LODGE ", 6);
    g_byte_array_append(tables->bytes, (const guint8 *)"LODGEVM ", 8);
    acpi_put32(tables, 1);
    g_byte_array_append(tables->bytes, (const guint8 *)"LDGE", 4);
    acpi_put32(tables, 1);
    return start;
}

GuestAddr acpi_end_table(AcpiTables *tables, guint start)
{
    uint8_t *table = tables->bytes->data + start;
    guint length = tables->bytes->len - start;
    le32_put(table + LENGTH_OFFSET, length);
    table[CHECKSUM_OFFSET] = checksum(table, length);
    return tables->base + start;
}

static GuestAddr add_xsdt(AcpiTables *tables, const GuestAddr *addresses, unsigned count)
{
    guint start = acpi_begin_table(tables, "XSDT", 1);
    for (unsigned i = 0; i < count; i++) {
        acpi_put64(tables, addresses[i]);
    }
    return acpi_end_table(tables, start);
}

static void fill_rsdp(uint8_t *rsdp, GuestAddr xsdt)
{
    memcpy(rsdp, "RSD PTR ", 8);
    memcpy(rsdp + 9, "LODGE ", 6);
    rsdp[15] = 2; /* revision */
    le32_put(rsdp + 20, RSDP_BYTES);
    le64_put(rsdp + 24, xsdt);
    rsdp[8] = checksum(rsdp, 20);
    rsdp[32] = checksum(rsdp, RSDP_BYTES);
}

GByteArray *acpi_build(const AcpiConfig *config, GuestAddr base)
{
    lodge_assert(base % TABLE_ALIGN == 0);
    AcpiTables tables = { g_byte_array_new(), base };
    GuestAddr addresses[TABLES_MAX];
    unsigned count = 0;
    acpi_zeroes(&tables, RSDP_BYTES);
    GuestAddr dsdt = acpi_add_dsdt(&tables, config);
    addresses[count++] = acpi_add_fadt(&tables, config, dsdt);
    addresses[count++] = acpi_add_madt(&tables, config);
    if (config->pci) {
        addresses[count++] = acpi_add_mcfg(&tables, config);
    }
    if (config->has_hpet) {
        addresses[count++] = acpi_add_hpet(&tables);
    }
    if (config->has_rtc) {
        addresses[count++] = acpi_add_waet(&tables);
    }
    GuestAddr xsdt = add_xsdt(&tables, addresses, count);
    fill_rsdp(tables.bytes->data, xsdt);
    return tables.bytes;
}
