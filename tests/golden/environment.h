/* A host with QEMU 7.2, for tests that read domains' XML.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_TESTS_GOLDEN_ENVIRONMENT_H
#define LODGE_TESTS_GOLDEN_ENVIRONMENT_H

#include "conf/domain/domain.h"

#include <string.h>

static const char *default_emulator(void *opaque, DomainVirtType virt, const char *arch)
{
    bool is_known = (virt == VIRT_QEMU || virt == VIRT_KVM) && strcmp(arch, "x86_64") == 0;
    return is_known ? "/usr/bin/qemu-system-x86_64" : NULL;
}

static const char *canonical_machine(void *opaque, const char *emulator, const char *arch,
                                     const char *machine)
{
    if (machine == NULL || strcmp(machine, "pc") == 0) {
        return "pc-i440fx-7.2";
    }
    return strcmp(machine, "q35") == 0 ? "pc-q35-7.2" : NULL;
}

static const char *default_cpu(void *opaque, const char *emulator, DomainVirtType virt)
{
    return "qemu64";
}

static const DomainEnvironment test_environment = { default_emulator, canonical_machine,
                                                    default_cpu, NULL, "/var/lib/lodge/nvram" };

#endif
