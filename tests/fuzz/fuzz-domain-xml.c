/* Domain XML, whole or one device: read, filled in, copied, written and read again.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "conf/domain/domain.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *emulator(void *opaque, DomainVirtType virt, const char *arch)
{
    return "/usr/bin/qemu-system-x86_64";
}

static const char *machine(void *opaque, const char *path, const char *arch, const char *name)
{
    return name == NULL || strcmp(name, "pc") == 0 ? "pc-i440fx-7.2"
           : strcmp(name, "q35") == 0              ? "pc-q35-7.2"
                                                   : NULL;
}

static void one_domain(const char *text)
{
    const DomainEnvironment env = { emulator, machine, NULL, NULL };
    g_autoptr(DomainDef) def = domain_def_parse(text, DOMAIN_PARSE_INACTIVE, &env, NULL, NULL);
    if (def == NULL) {
        return;
    }
    g_autoptr(DomainDef) copy = domain_def_copy(def);
    domain_def_assign_aliases(copy);
    g_autofree char *xml = domain_def_format(def, DOMAIN_FORMAT_SECURE);
    G_GNUC_UNUSED g_autoptr(DomainDef) kept =
        domain_def_parse(xml, DOMAIN_PARSE_KEEP, NULL, NULL, NULL);
    DomainSummary summary;
    if (domain_summary_parse(xml, &summary, NULL)) {
        domain_summary_clear(&summary);
    }
}

static void one_device(const char *text)
{
    g_autoptr(DomainDevice) device = domain_device_parse(text, NULL, NULL, 0, NULL, NULL);
    if (device != NULL) {
        g_autoptr(DomainDevice) copy = domain_device_copy(device);
        lodge_assert(domain_device_equal(device, copy));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    one_domain(text);
    one_device(text);
    return 0;
}
