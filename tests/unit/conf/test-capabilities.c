/* Capabilities as clients read them.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/capabilities/capabilities.h"
#include "lib/check.h"

#include <string.h>

static const char *const efi[] = { "efi", NULL };
static const char *const loaders[] = { "/ovmf.fd", NULL };
static const char *const memfd[] = { "memfd", NULL };
static const char *const buses[] = { "virtio", "sata", NULL };

static void machines_and_domain_types_are_listed(void **state)
{
    const CapsMachine machines[] = { { "pc-q35-7.2", NULL, 288, false },
                                     { "q35", "pc-q35-7.2", 288, false } };
    const CapsGuest guest = { "x86_64", 64, "/emu", machines, 2, true, true, true };
    const HostCpu cpu = { .siblings = "0" };
    const HostCell cell = { .memory = 4096, .cpus = &cpu, .n_cpus = 1 };
    const HostCapabilities caps = {
        .arch = "x86_64", .cells = &cell, .n_cells = 1, .guests = &guest, .n_guests = 1
    };
    g_autofree char *xml = host_capabilities_format(&caps);
    assert_non_null(strstr(xml, "<machine canonical='pc-q35-7.2' maxCpus='288'>q35</machine>"));
    assert_non_null(strstr(xml, "<domain type='kvm'/>"));
    assert_non_null(strstr(xml, "<externalSnapshot/>"));
}

static void a_loader_is_offered_only_where_there_is_one(void **state)
{
    const CapsCpuModel models[] = { { "Haswell", "Intel", true, false },
                                    { "EPYC", NULL, false, false } };
    const CapsDevice devices[] = { { "disk", true, { { "bus", buses } } },
                                   { "graphics", false, { { NULL, NULL } } },
                                   { NULL, false, { { NULL, NULL } } } };
    DomainCapabilities caps = { .emulator = "/emu",
                                .domain = "kvm",
                                .machine = "pc-q35-7.2",
                                .arch = "x86_64",
                                .max_vcpus = 255,
                                .firmwares = efi,
                                .loaders = loaders,
                                .has_host_passthrough = true,
                                .host_model = "Haswell",
                                .host_vendor = "Intel",
                                .models = models,
                                .n_models = 2,
                                .memory_sources = memfd,
                                .devices = devices };
    g_autofree char *xml = domain_capabilities_format(&caps);
    assert_non_null(strstr(xml, "<value>/ovmf.fd</value>"));
    assert_non_null(strstr(xml, "<model usable='no' vendor='unknown'>EPYC</model>"));
    assert_non_null(strstr(xml, "<graphics supported='no'/>"));
    caps.loaders = NULL;
    caps.host_model = NULL;
    g_autofree char *bare = domain_capabilities_format(&caps);
    assert_non_null(strstr(bare, "<loader supported='no'/>"));
    assert_non_null(strstr(bare, "<mode name='host-model' supported='no'/>"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(machines_and_domain_types_are_listed),
        cmocka_unit_test(a_loader_is_offered_only_where_there_is_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
