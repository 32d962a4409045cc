/* ACPI and SMBIOS tables: checksums and pointers here, meaning by iasl where it is installed.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "lib/check.h"
#include "vmm/firmware/acpi/acpi.h"
#include "vmm/firmware/acpi/aml.h"
#include "vmm/firmware/smbios.h"

#include <glib/gstdio.h>
#include <stdio.h>
#include <unistd.h>

#define BASE 0xe0000u
#define TABLES_MAX 16

static const uint32_t apic_ids[] = { 0, 1, 2, 300 };

static AcpiConfig pc_config(AcpiPci *pci)
{
    *pci = (AcpiPci){ .ecam = 0xb0000000u,
                      .window32 = { 0xc0000000u, 0xfebfffffu },
                      .window64 = { UINT64_C(0x100000000), UINT64_C(0x8ffffffff) } };
    for (unsigned slot = 0; slot < ACPI_PCI_SLOTS; slot++) {
        for (unsigned pin = 0; pin < ACPI_PCI_PINS; pin++) {
            pci->gsi[slot][pin] = (uint8_t)(16 + (slot + pin) % 8);
        }
    }
    return (AcpiConfig){ .vcpu_count = 4,
                         .apic_ids = apic_ids,
                         .is_pc = true,
                         .has_hpet = true,
                         .has_rtc = true,
                         .has_i8042 = true,
                         .has_timer_override = true,
                         .pci = pci,
                         .serial = { { 0x3f8, 4 }, { 0x2f8, 3 } } };
}

static AcpiConfig reduced_config(void)
{
    return (AcpiConfig){ .vcpu_count = 2,
                         .apic_ids = apic_ids,
                         .serial = { { 0x3f8, 4 } },
                         .virtio_mmio = { { 0xfeb00000u, 512, 16 }, { 0xfeb00200u, 512, 17 } },
                         .virtio_mmio_count = 2,
                         .sleep_register = 0xfea00010u,
                         .reset_register = 0xfea00018u,
                         .reset_value = 0x42,
                         .event_register = 0xfea00000u,
                         .event_gsi = 9 };
}

static uint8_t sum(const uint8_t *bytes, size_t length)
{
    uint8_t total = 0;
    for (size_t i = 0; i < length; i++) {
        total = (uint8_t)(total + bytes[i]);
    }
    return total;
}

/* The table at @address, its checksum checked. */
static const uint8_t *table_at(const GByteArray *tables, uint64_t address)
{
    assert_true(address >= BASE && address - BASE + 36 <= tables->len);
    const uint8_t *table = tables->data + (address - BASE);
    uint32_t length = le32_get(table + 4);
    assert_true(address - BASE + length <= tables->len);
    assert_int_equal(sum(table, length), 0);
    return table;
}

/* Follows RSDP, XSDT and FADT. Returns how many tables there are, DSDT included. */
static unsigned collect(const GByteArray *tables, const uint8_t **out)
{
    const uint8_t *rsdp = tables->data;
    assert_memory_equal(rsdp, "RSD PTR ", 8);
    assert_int_equal(sum(rsdp, 20), 0);
    assert_int_equal(sum(rsdp, 36), 0);
    const uint8_t *xsdt = table_at(tables, le64_get(rsdp + 24));
    assert_memory_equal(xsdt, "XSDT", 4);
    unsigned count = 0;
    for (uint32_t at = 36; at < le32_get(xsdt + 4); at += 8) {
        assert_true(count + 1 < TABLES_MAX);
        out[count++] = table_at(tables, le64_get(xsdt + at));
    }
    assert_memory_equal(out[0], "FACP", 4);
    out[count++] = table_at(tables, le64_get(out[0] + 140));
    return count;
}

static void all_tables_are_found_from_the_root_pointer(void **state)
{
    AcpiPci pci;
    AcpiConfig config = pc_config(&pci);
    g_autoptr(GByteArray) tables = acpi_build(&config, BASE);
    const uint8_t *found[TABLES_MAX];
    unsigned count = collect(tables, found);
    static const char *const names[] = { "FACP", "APIC", "MCFG", "HPET", "WAET", "DSDT" };
    assert_int_equal(count, 6);
    for (unsigned i = 0; i < count; i++) {
        assert_memory_equal(found[i], names[i], 4);
    }
}

static void the_most_vcpus_fit_below_1_mib(void **state)
{
    AcpiPci pci;
    uint32_t ids[255];
    for (unsigned i = 0; i < G_N_ELEMENTS(ids); i++) {
        ids[i] = i;
    }
    AcpiConfig config = pc_config(&pci);
    config.apic_ids = ids;
    config.vcpu_count = G_N_ELEMENTS(ids);
    g_autoptr(GByteArray) tables = acpi_build(&config, BASE);
    assert_true(tables->len < 0x10000);
}

/* Runs iasl over every table; its disassembly lands in @out. False: not installed. */
static bool disassemble(const GByteArray *tables, GString *out)
{
    g_autofree char *iasl = g_find_program_in_path("iasl");
    if (!iasl) {
        return false;
    }
    g_autofree char *folder = g_dir_make_tmp("test-acpi-XXXXXX", NULL);
    const uint8_t *found[TABLES_MAX];
    unsigned count = collect(tables, found);
    for (unsigned i = 0; i < count; i++) {
        g_autofree char *aml = g_strdup_printf("%s/%.4s.aml", folder, (const char *)found[i]);
        g_autofree char *dsl = g_strdup_printf("%s/%.4s.dsl", folder, (const char *)found[i]);
        assert_true(g_file_set_contents(aml, (const char *)found[i], le32_get(found[i] + 4), NULL));
        const char *const argv[] = { iasl, "-d", aml, NULL };
        int status = -1;
        g_autofree char *messages = NULL, *errors = NULL, *text = NULL;
        assert_true(g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, &messages,
                                 &errors, &status, NULL));
        assert_int_equal(status, 0);
        assert_null(strstr(messages, "Error"));
        assert_null(strstr(errors, "Warning"));
        assert_true(g_file_get_contents(dsl, &text, NULL, NULL));
        g_string_append(out, text);
        /* Compiling it again finds what a disassembler overlooks. */
        if (!memcmp(found[i], "DSDT", 4)) {
            const char *const compile[] = { iasl, "-oa", dsl, NULL };
            g_autofree char *result = NULL;
            assert_true(g_spawn_sync(NULL, (char **)compile, NULL, G_SPAWN_DEFAULT, NULL, NULL,
                                     &result, NULL, &status, NULL));
            if (!strstr(result, " 0 Errors")) {
                fail_msg("%s", result);
            }
        }
        g_remove(aml);
        g_remove(dsl);
    }
    g_rmdir(folder);
    return true;
}

static void expect(const GString *text, const char *part)
{
    if (!strstr(text->str, part)) {
        fail_msg("the tables do not say: %s", part);
    }
}

static void iasl_reads_the_tables_of_a_pc(void **state)
{
    AcpiPci pci;
    AcpiConfig config = pc_config(&pci);
    g_autoptr(GByteArray) tables = acpi_build(&config, BASE);
    g_autoptr(GString) text = g_string_new(NULL);
    if (!disassemble(tables, text)) {
        print_message("# iasl is not installed (package acpica-tools)\n");
        skip();
    }
    expect(text, "Device (PCI0)");
    expect(text, "Name (_HID, EisaId (\"PNP0A08\")");
    expect(text, "EisaId (\"PNP0501\")");
    expect(text, "Method (_OSC, 4");
    expect(text, "00000000B0000000"); /* MCFG */
    expect(text, "Name (\\_S5, Package (0x04)");
    expect(text, "33db4d5b-1ff7-401c-9657-7441c03dd766");
    assert_null(strstr(text->str, "Invalid"));
    assert_null(strstr(text->str, "Incorrect"));
}

static void iasl_reads_the_tables_of_a_microvm(void **state)
{
    AcpiConfig config = reduced_config();
    g_autoptr(GByteArray) tables = acpi_build(&config, BASE);
    g_autoptr(GString) text = g_string_new(NULL);
    if (!disassemble(tables, text)) {
        print_message("# iasl is not installed (package acpica-tools)\n");
        skip();
    }
    expect(text, "LNRO0005");
    expect(text, "ACPI0013");
    expect(text, "Notify (PWRB, 0x80)");
    expect(text, "Hardware Reduced (V5) : 1");
    assert_null(strstr(text->str, "Incorrect"));
}

static void aml_lengths_of_every_size_are_right(void **state)
{
    /* Contents of a scope around the borders of the length's encodings. */
    static const unsigned sizes[] = { 0, 50, 57, 58, 59, 60, 4080, 4086, 4087, 4088, 4089, 70000 };
    for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_autoptr(Aml) aml = aml_new();
        aml_begin_scope(aml, "ABCD");
        for (unsigned j = 0; j < sizes[i]; j++) {
            aml_integer(aml, 1);
        }
        aml_end(aml);
        const GByteArray *bytes = aml_bytes(aml);
        unsigned extra = bytes->data[1] >> 6;
        unsigned length = extra ? bytes->data[1] & 0xf : bytes->data[1] & 0x3f;
        for (unsigned j = 0; j < extra; j++) {
            length |= (unsigned)bytes->data[2 + j] << (4 + 8 * j);
        }
        assert_int_equal(length, bytes->len - 1);
        assert_int_equal(bytes->len, 2 + extra + 4 + sizes[i]);
    }
}

static void smbios_structures_end_where_the_entry_says(void **state)
{
    static const char *const strings[] = { "one", "two" };
    SmbiosInfo info = { .system = { .manufacturer = "Lodge", .product = "x", .serial = "42" },
                        .oem_strings = strings,
                        .oem_count = 2,
                        .uuid = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 },
                        .sockets = 2,
                        .cores = 2,
                        .threads = 2,
                        .low_ram_bytes = 1 << 28,
                        .high_ram_bytes = UINT64_C(1) << 40 };
    g_autoptr(GByteArray) tables = smbios_build(&info, 0xf0000);
    assert_memory_equal(tables->data, "_SM3_", 5);
    assert_int_equal(sum(tables->data, 24), 0);
    assert_int_equal(le64_get(tables->data + 16), 0xf0020);
    unsigned at = 32, end = 32 + le32_get(tables->data + 12), count[256] = { 0 };
    while (at < end) {
        uint8_t type = tables->data[at];
        count[type]++;
        if (type == 1) {
            static const uint8_t uuid[] = { 4, 3, 2, 1, 6, 5, 8, 7, 9, 10 };
            assert_memory_equal(tables->data + at + 8, uuid, sizeof(uuid));
        }
        at += tables->data[at + 1];
        while (tables->data[at] || tables->data[at + 1]) {
            at++;
        }
        at += 2;
    }
    assert_int_equal(at, end);
    assert_int_equal(end, tables->len);
    assert_int_equal(count[4], 2);
    assert_int_equal(count[19], 2);
    assert_int_equal(count[127], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_tables_are_found_from_the_root_pointer),
        cmocka_unit_test(the_most_vcpus_fit_below_1_mib),
        cmocka_unit_test(iasl_reads_the_tables_of_a_pc),
        cmocka_unit_test(iasl_reads_the_tables_of_a_microvm),
        cmocka_unit_test(aml_lengths_of_every_size_are_right),
        cmocka_unit_test(smbios_structures_end_where_the_entry_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
