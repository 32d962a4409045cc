/* Devices in and out of a definition, and what the reader refuses.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/cpuset.h"
#include "conf/domain/domain.h"
#include "lib/check.h"

#include <string.h>
#include <time.h>

static const char *emulator(void *opaque, DomainVirtType virt, const char *arch)
{
    return "/emu";
}

static const char *machine(void *opaque, const char *path, const char *arch, const char *name)
{
    return "pc-q35-7.2";
}

static DomainDef *parse(const char *devices)
{
    const DomainEnvironment env = { emulator, machine, NULL, NULL };
    g_autofree char *xml =
        g_strdup_printf("<domain type='kvm'><name>a</name><memory>1024</memory>"
                        "<os><type>hvm</type></os><devices>%s</devices></domain>",
                        devices);
    g_autoptr(GError) error = NULL;
    DomainDef *def = domain_def_parse(xml, DOMAIN_PARSE_INACTIVE, &env, NULL, &error);
    if (def == NULL) {
        print_message("# %s\n", error->message);
    }
    assert_non_null(def);
    return def;
}

static int parse_error(const char *xml, unsigned flags)
{
    const DomainEnvironment env = { emulator, machine, NULL, NULL };
    g_autoptr(GError) error = NULL;
    g_autoptr(DomainDef) def = domain_def_parse(xml, flags, &env, NULL, &error);
    assert_null(def);
    return error->code;
}

#define DISK(target)                                                                               \
    "<disk type='file'><source file='/" target "'/><target dev='" target "'/></disk>"

static const char *only_card(void *opaque, const char *path)
{
    return strcmp(path, "/emu") == 0 ? "virtio" : NULL;
}

static void an_interface_without_a_model_gets_the_one_that_the_emulator_has(void **state)
{
    static const char user[] = "<interface type='user'/>";
    const DomainEnvironment env = { .default_emulator = emulator,
                                    .canonical_machine = machine,
                                    .default_nic = only_card };
    static const char *const emulators[] = { "", "<emulator>/other</emulator>" };
    for (unsigned i = 0; i < 2; i++) {
        g_autofree char *xml =
            g_strdup_printf("<domain type='kvm'><name>a</name><memory>1024</memory><os><type>hvm"
                            "</type></os><devices>%s%s</devices></domain>",
                            emulators[i], user);
        g_autoptr(DomainDef) def = domain_def_parse(xml, DOMAIN_PARSE_INACTIVE, &env, NULL, NULL);
        assert_non_null(def);
        const DomainInterface *defined = def->devices[DEVICE_INTERFACE].item[0];
        const char *expected = i == 0 ? "virtio" : "rtl8139";
        assert_string_equal(defined->model, expected);
        g_autoptr(DomainDevice) plugged = domain_device_parse(user, def, &env, 0, NULL, NULL);
        assert_string_equal(((DomainInterface *)plugged)->model, expected);
    }
}

static void a_disk_is_found_by_target_and_taken_out(void **state)
{
    g_autoptr(DomainDef) def = parse(DISK("vda") DISK("vdb"));
    g_autoptr(DomainDevice) like = domain_device_parse(DISK("vdb"), def, NULL, 0, NULL, NULL);
    DomainDevice *found = domain_def_find(def, like, NULL);
    assert_non_null(found);
    assert_string_equal(((DomainDisk *)found)->target_dev, "vdb");
    assert_ptr_equal(domain_def_find_disk(def, "/vdb"), found);
    domain_device_free(domain_def_remove(def, found));
    g_autoptr(GError) error = NULL;
    assert_null(domain_def_find(def, like, &error));
    assert_int_equal(error->code, CONF_ERROR_DEVICE_MISSING);
}

static void an_inserted_disk_gets_an_address_of_its_own(void **state)
{
    g_autoptr(DomainDef) def = parse(DISK("vda"));
    DomainDevice *disk = domain_device_parse(DISK("vdb"), def, NULL, 0, NULL, NULL);
    assert_true(domain_def_insert(def, disk, NULL));
    assert_int_equal(disk->address.type, ADDRESS_PCI);
    assert_true(domain_def_validate(def, NULL));
    g_autoptr(DomainDevice) again = domain_device_parse(DISK("vdb"), def, NULL, 0, NULL, NULL);
    g_autoptr(GError) error = NULL;
    assert_false(domain_def_insert(def, again, &error));
    assert_int_equal(error->code, CONF_ERROR_OPERATION_INVALID);
}

static void aliases_are_given_once_and_left_out_of_what_is_kept(void **state)
{
    g_autoptr(DomainDef) def = parse(DISK("vda") "<interface type='user'/><console type='pty'/>");
    def->id = 7;
    domain_def_assign_aliases(def);
    assert_string_equal(domain_def_find_disk(def, "vda")->device.alias, "virtio-disk0");
    assert_non_null(domain_def_find_alias(def, "net0"));
    assert_non_null(domain_def_find_alias(def, "serial0"));
    g_autofree char *live = domain_def_format(def, 0);
    assert_non_null(strstr(live, "id='7'"));
    assert_non_null(strstr(live, "<alias name='net0'/>"));
    g_autofree char *kept = domain_def_format(def, DOMAIN_FORMAT_INACTIVE);
    assert_null(strstr(kept, "<alias"));
    assert_null(strstr(kept, "id='7'"));
}

static void passwords_are_written_on_request_only(void **state)
{
    g_autoptr(DomainDef) def = parse("<graphics type='vnc' passwd='sesame'/>");
    g_autofree char *open = domain_def_format(def, 0);
    assert_null(strstr(open, "sesame"));
    g_autofree char *secure = domain_def_format(def, DOMAIN_FORMAT_SECURE);
    assert_non_null(strstr(secure, "passwd='sesame'"));
}

static char *repeat(const char *device, unsigned n)
{
    GString *text = g_string_new(NULL);
    for (unsigned i = 0; i < n; i++) {
        g_string_append(text, device);
    }
    return g_string_free(text, FALSE);
}

#define CHANNEL "<channel type='pty'><target type='virtio'/></channel>"
#define SCSI                                                                                       \
    "<hostdev mode='subsystem' type='scsi'><source><adapter name='scsi_host1'/>"                   \
    "<address bus='0' target='0' unit='1'/></source></hostdev>"

/* Searches that begin anew for each device take minutes. */
static void thousands_of_devices_get_places_and_names(void **state)
{
    g_autofree char *channels = repeat(CHANNEL, 2000);
    g_autofree char *scsi = repeat(SCSI, 1500);
    g_autofree char *both = g_strconcat(channels, scsi, NULL);
    g_autoptr(DomainDef) def = parse(both);
    domain_def_assign_aliases(def);
    const DomainDevice *last = def->devices[DEVICE_CHANNEL].item[1999];
    assert_int_equal(last->address.port, 2000);
    assert_string_equal(last->alias, "channel1999");
    last = def->devices[DEVICE_HOSTDEV].item[1499];
    assert_int_equal(last->address.controller, 99);
    assert_int_equal(last->address.unit, 15);
    assert_string_equal(last->alias, "hostdev1499");
}

/* Processor time of reading @n devices, the least of three. */
static double effort(const char *device, unsigned n)
{
    double least = 0;
    g_autofree char *devices = repeat(device, n);
    for (unsigned i = 0; i < 3; i++) {
        struct timespec from, to;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
        DomainDef *def = parse(devices);
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
        domain_def_free(def);
        double took = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
        least = i == 0 || took < least ? took : least;
    }
    return least;
}

/* Four times the devices: 4 times the work, or somewhat more; 16 or 64 times where each search
 * begins anew and goes through all devices for each place. */
static void the_work_grows_with_the_number_of_devices(void **state)
{
    enum { FEW = 900, MANY = 3600, LIMIT = 12 };
    static const char *const devices[] = { CHANNEL, SCSI, "<hub type='usb'/>",
                                           "<serial type='pty'/>", "<graphics type='vnc'/>" };
    for (unsigned i = 0; i < G_N_ELEMENTS(devices); i++) {
        double growth = effort(devices[i], MANY) / effort(devices[i], FEW);
        if (growth >= LIMIT) {
            print_message("# %s: %.1f\n", devices[i], growth);
        }
        assert_true(growth < LIMIT);
    }
}

static void hubs_and_what_is_on_them_have_ports_of_their_own(void **state)
{
    g_autofree char *hubs = repeat("<hub type='usb'/>", 20);
    g_autofree char *inputs = repeat("<input type='tablet' bus='usb'/>", 60);
    g_autofree char *all = g_strconcat(
        "<hub type='usb'><address type='usb' bus='0' port='2'/></hub>"
        "<input type='mouse' bus='usb'><address type='usb' bus='0' port='1.3'/></input>",
        hubs, inputs, NULL);
    static const DomainDeviceKind kinds[] = { DEVICE_HUB, DEVICE_INPUT };
    g_autoptr(DomainDef) def = parse(all);
    g_autoptr(GHashTable) ports = g_hash_table_new(g_str_hash, g_str_equal);
    for (unsigned k = 0; k < G_N_ELEMENTS(kinds); k++) {
        const XmlList *list = &def->devices[kinds[k]];
        for (unsigned i = 0; i < list->count; i++) {
            const DomainDevice *device = list->item[i];
            if (device->address.type == ADDRESS_USB) {
                assert_non_null(device->address.usb_port);
                assert_true(g_hash_table_add(ports, device->address.usb_port));
            }
        }
    }
    assert_int_equal(g_hash_table_size(ports), 82);
    const DomainDevice *second = def->devices[DEVICE_HUB].item[1];
    assert_string_equal(second->address.usb_port, "1");
}

static void too_many_devices_are_refused(void **state)
{
    g_autofree char *devices = repeat(CHANNEL, 4097);
    g_autofree char *xml =
        g_strdup_printf("<domain type='kvm'><name>a</name><memory>1024</memory>"
                        "<os><type>hvm</type></os><devices>%s</devices></domain>",
                        devices);
    assert_int_equal(parse_error(xml, DOMAIN_PARSE_INACTIVE), CONF_ERROR_UNSUPPORTED);
}

static void unknown_elements_are_warned_of_or_refused(void **state)
{
    const char *xml = "<domain type='kvm'><name>a</name><memory>1</memory><os><type>hvm</type></os>"
                      "<bogus/><devices/></domain>";
    const DomainEnvironment env = { emulator, machine, NULL, NULL };
    g_autoptr(GPtrArray) warnings = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(DomainDef) def = domain_def_parse(xml, 0, &env, warnings, NULL);
    assert_non_null(def);
    assert_int_equal(warnings->len, 1);
    assert_int_equal(parse_error(xml, DOMAIN_PARSE_VALIDATE), CONF_ERROR_INVALID_SCHEMA);
}

static void document_types_and_deep_nesting_are_refused(void **state)
{
    assert_int_equal(parse_error("<!DOCTYPE d [<!ENTITY a 'b'>]><domain>&a;</domain>", 0),
                     CONF_ERROR_XML_DETAIL);
    g_autoptr(GString) deep = g_string_new("");
    for (unsigned i = 0; i < 100; i++) {
        g_string_append(deep, "<a>");
    }
    assert_int_equal(parse_error(deep->str, 0), CONF_ERROR_XML_DETAIL);
}

static void summaries_have_what_lists_show(void **state)
{
    g_autoptr(DomainDef) def = parse("");
    g_autofree char *xml = domain_def_format(def, DOMAIN_FORMAT_INACTIVE);
    DomainSummary summary;
    assert_true(domain_summary_parse(xml, &summary, NULL));
    assert_string_equal(summary.name, "a");
    assert_int_equal(summary.memory, 1024);
    assert_int_equal(summary.vcpus, 1);
    assert_memory_equal(&summary.uuid, &def->uuid, sizeof(Uuid));
    domain_summary_clear(&summary);
}

static void sets_of_cpus_have_one_text(void **state)
{
    CpuSet set;
    assert_true(cpuset_parse("3,0-4,^2, 7", &set));
    g_autofree char *text = cpuset_format(&set);
    assert_string_equal(text, "0-1,3-4,7");
    assert_false(cpuset_parse("1-", &set));
    assert_false(cpuset_parse("4-1", &set));
    assert_false(cpuset_parse("99999999999", &set));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_disk_is_found_by_target_and_taken_out),
        cmocka_unit_test(an_inserted_disk_gets_an_address_of_its_own),
        cmocka_unit_test(aliases_are_given_once_and_left_out_of_what_is_kept),
        cmocka_unit_test(passwords_are_written_on_request_only),
        cmocka_unit_test(thousands_of_devices_get_places_and_names),
        cmocka_unit_test(the_work_grows_with_the_number_of_devices),
        cmocka_unit_test(hubs_and_what_is_on_them_have_ports_of_their_own),
        cmocka_unit_test(too_many_devices_are_refused),
        cmocka_unit_test(an_interface_without_a_model_gets_the_one_that_the_emulator_has),
        cmocka_unit_test(unknown_elements_are_warned_of_or_refused),
        cmocka_unit_test(document_types_and_deep_nesting_are_refused),
        cmocka_unit_test(summaries_have_what_lists_show),
        cmocka_unit_test(sets_of_cpus_have_one_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
