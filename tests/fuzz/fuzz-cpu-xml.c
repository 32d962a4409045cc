/* <cpu> elements of other hosts, parted by NUL bytes: read, compared and made into one.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/cpu/cpu.h"

#include "base/log.h"

#include <stdint.h>
#include <string.h>

#define CPUS_MAX 4u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void compare(const char *xml)
{
    CpuSpec spec;
    if (!cpu_spec_parse(xml, &spec, NULL)) {
        return;
    }
    const CpuHave same = { spec.vendor, spec.required };
    const CpuHave none = { NULL, { { 0 } } };
    g_autofree char *reason = NULL;
    g_autofree char *other = NULL;
    cpu_compare(&same, &spec, &reason);
    cpu_compare(&none, &spec, &other);
    cpu_spec_clear(&spec);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *all = g_malloc0(size + 1);
    const char *xmls[CPUS_MAX];
    unsigned count = 0;
    memcpy(all, data, size);
    for (size_t at = 0; at < size && count < CPUS_MAX; at += strlen(all + at) + 1) {
        xmls[count++] = all + at;
    }
    compare(all);
    if (count) {
        const CpuHave limit = { NULL, { { 0 } } };
        g_autofree char *plain = cpu_baseline(xmls, count, 0, NULL, NULL, NULL, NULL);
        G_GNUC_UNUSED g_autofree char *full = cpu_baseline(
            xmls, count, CPU_BASELINE_EXPAND | CPU_BASELINE_MIGRATABLE, &limit, NULL, NULL, NULL);
        /* What it makes, it reads. */
        CpuSpec spec;
        if (plain) {
            lodge_assert(cpu_spec_parse(plain, &spec, NULL));
            cpu_spec_clear(&spec);
        }
    }
    return 0;
}
