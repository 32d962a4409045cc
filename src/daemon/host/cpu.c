/* The host's processor, and procedures that compare processors.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "daemon/error.h"
#include "daemon/host/host.h"
#include "daemon/host/sysfs.h"
#include "daemon/modules.h"

#include <cpuid.h>
#include <stdlib.h>
#include <string.h>

/* --- the host's --- */

static void read_cpuid(void *opaque, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
    (void)opaque;
    if (!__get_cpuid_count(leaf, subleaf, &out[0], &out[1], &out[2], &out[3])) {
        memset(out, 0, 4 * sizeof(*out));
    }
}

static const char *read_vendor(void)
{
    uint32_t out[4] = { 0 };
    read_cpuid(NULL, 0, 0, out);
    return out[1] == signature_INTEL_ebx ? "Intel"
           : out[1] == signature_AMD_ebx ? "AMD"
           : out[1] == 0x6f677948        ? "Hygon"
                                         : NULL;
}

static void read_signature(HostProcessor *processor)
{
    uint32_t out[4] = { 0 };
    read_cpuid(NULL, 1, 0, out);
    unsigned family = out[0] >> 8 & 15;
    processor->family = family == 15 ? family + (out[0] >> 20 & 255) : family;
    processor->model = (out[0] >> 4 & 15) | (family == 6 || family == 15 ? out[0] >> 12 & 0xf0 : 0);
    processor->stepping = out[0] & 15;
    memset(out, 0, sizeof(out));
    read_cpuid(NULL, 0x80000008u, 0, out);
    processor->phys_bits = out[0] & 255;
}

static char *read_microcode(void)
{
    g_autofree char *text = sysfs_text("/proc/cpuinfo");
    const char *at = text ? strstr(text, "microcode") : NULL;
    at = at ? strchr(at, ':') : NULL;
    return at ? g_strdup_printf("%" G_GUINT64_FORMAT, g_ascii_strtoull(at + 1, NULL, 0)) : NULL;
}

const HostProcessor *host_processor(void)
{
    static gsize made;
    if (g_once_init_enter(&made)) {
        HostProcessor *processor = g_new0(HostProcessor, 1);
        processor->have.vendor = read_vendor();
        x86_set_from_cpuid(&processor->have.features, read_cpuid, NULL);
        read_signature(processor);
        processor->microcode = read_microcode();
        g_once_init_leave(&made, (gsize)processor);
    }
    return (const HostProcessor *)made;
}

/* --- procedures --- */

enum { COMPARE_FAIL_INCOMPATIBLE = 1, COMPARE_VALIDATE = 2 };

static bool answer(const CpuHave *have, const char *xml, unsigned flags, const char *whose,
                   int32_t *out_result, GError **error)
{
    CpuSpec spec;
    g_autofree char *reason = NULL;
    if (!daemon_check_flags(flags, COMPARE_FAIL_INCOMPATIBLE | COMPARE_VALIDATE, error) ||
        ((flags & COMPARE_VALIDATE) && !cpu_spec_validate(xml, error)) ||
        !cpu_spec_parse(xml, &spec, error)) {
        return false;
    }
    *out_result = cpu_compare(have, &spec, &reason);
    cpu_spec_clear(&spec);
    if (*out_result == CPU_COMPARE_INCOMPATIBLE && (flags & COMPARE_FAIL_INCOMPATIBLE)) {
        daemon_error_set(error, DAEMON_ERROR_CPU_INCOMPATIBLE,
                         "the CPU is incompatible with %s CPU: %s", whose, reason);
        return false;
    }
    return true;
}

bool handle_connect_compare_cpu(DaemonCall *call, const RemoteConnectCompareCpuArgs *args,
                                RemoteConnectCompareCpuRet *ret, GError **error)
{
    (void)call;
    return answer(&host_processor()->have, args->xml, args->flags, "host", &ret->result, error);
}

/* What guests of an engine can have. */
static bool engine_cpu(DaemonCall *call, const char *emulator, const char *arch,
                       const char *machine, const char *virt, Engine **out_engine,
                       const EngineAccel **out_accel, CpuHave *out, GError **error)
{
    const EngineMachine *found;
    bool is_kvm;
    g_autoptr(Engine) engine = host_choose_engine(call_daemon(call), emulator, arch, machine, virt,
                                                  &found, &is_kvm, error);
    if (!engine) {
        return false;
    }
    if (strcmp(engine->arch, "x86_64") != 0 && strcmp(engine->arch, "i686") != 0) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_UNSUPPORTED,
                         "CPUs of architecture '%s' cannot be compared; x86_64 and i686 can",
                         engine->arch);
        return false;
    }
    *out_accel = is_kvm ? &engine->kvm : &engine->tcg;
    *out = (CpuHave){ (*out_accel)->vendor, (*out_accel)->features };
    *out_engine = g_steal_pointer(&engine);
    return true;
}

bool handle_connect_compare_hypervisor_cpu(DaemonCall *call,
                                           const RemoteConnectCompareHypervisorCpuArgs *args,
                                           RemoteConnectCompareHypervisorCpuRet *ret,
                                           GError **error)
{
    g_autoptr(Engine) engine = NULL;
    const EngineAccel *accel;
    CpuHave have;
    return engine_cpu(call, args->emulator, args->arch, args->machine, args->virttype, &engine,
                      &accel, &have, error) &&
           answer(&have, args->xml_cpu, args->flags, "hypervisor", &ret->result, error);
}

static bool check_baseline(unsigned flags, unsigned n, GError **error)
{
    if (!daemon_check_flags(flags, CPU_BASELINE_EXPAND | CPU_BASELINE_MIGRATABLE, error)) {
        return false;
    }
    if (n == 0) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG, "there is no CPU to make a baseline of");
        return false;
    }
    return true;
}

bool handle_connect_baseline_cpu(DaemonCall *call, const RemoteConnectBaselineCpuArgs *args,
                                 RemoteConnectBaselineCpuRet *ret, GError **error)
{
    if (!check_baseline(args->flags, args->n_xml_cpus, error)) {
        return false;
    }
    char *xml =
        cpu_baseline(args->xml_cpus, args->n_xml_cpus, args->flags, NULL, NULL, NULL, error);
    ret->cpu = xml ? arena_take(call_arena(call), xml, NULL) : NULL;
    return xml != NULL;
}

static bool is_known_to(void *opaque, const X86Model *model)
{
    const EngineAccel *accel = opaque;
    for (guint i = 0; i < accel->cpus->len; i++) {
        const EngineCpu *cpu = accel->cpus->pdata[i];
        if (!strcmp(cpu->name, model->name)) {
            return true;
        }
    }
    return false;
}

bool handle_connect_baseline_hypervisor_cpu(DaemonCall *call,
                                            const RemoteConnectBaselineHypervisorCpuArgs *args,
                                            RemoteConnectBaselineHypervisorCpuRet *ret,
                                            GError **error)
{
    g_autoptr(Engine) engine = NULL;
    const EngineAccel *accel;
    CpuHave have;
    if (!check_baseline(args->flags, args->n_xml_cpus, error) ||
        !engine_cpu(call, args->emulator, args->arch, args->machine, args->virttype, &engine,
                    &accel, &have, error)) {
        return false;
    }
    char *xml = cpu_baseline(args->xml_cpus, args->n_xml_cpus, args->flags, &have, is_known_to,
                             (void *)accel, error);
    ret->cpu = xml ? arena_take(call_arena(call), xml, NULL) : NULL;
    return xml != NULL;
}

bool handle_connect_get_cpu_model_names(DaemonCall *call,
                                        const RemoteConnectGetCpuModelNamesArgs *args,
                                        RemoteConnectGetCpuModelNamesRet *ret, GError **error)
{
    static const char *const free_choice[] = { "aarch64", "armv7l",  "ppc64", "ppc64le", "s390x",
                                               "riscv64", "riscv32", "mips",  "sparc64", NULL };
    if (!daemon_check_flags(args->flags, 0, error)) {
        return false;
    }
    if (strcmp(args->arch, "x86_64") != 0 && strcmp(args->arch, "i686") != 0) {
        /* Any name goes, as far as this daemon knows. */
        if (g_strv_contains(free_choice, args->arch)) {
            return true;
        }
        bool is_arch = host_knows_arch(args->arch);
        daemon_error_set(error, is_arch ? DAEMON_ERROR_NO_SUPPORT : DAEMON_ERROR_INVALID_ARG,
                         is_arch ? "this function is not supported by the connection driver: there "
                                   "are no CPU models for architecture %s"
                                 : "cannot find architecture %s",
                         args->arch);
        return false;
    }
    ret->ret = (int32_t)x86_n_models;
    if (args->need_results) {
        ret->models = arena_alloc_array(call_arena(call), x86_n_models, sizeof(*ret->models));
        for (unsigned i = 0; ret->models && i < x86_n_models; i++) {
            ret->models[i] = x86_models[i].name;
            ret->n_models = i + 1;
        }
    }
    return true;
}

static const DispatchEntry handlers[] = {
    HANDLER(connect_baseline_cpu),
    HANDLER(connect_baseline_hypervisor_cpu),
    HANDLER(connect_compare_cpu),
    HANDLER(connect_compare_hypervisor_cpu),
    HANDLER_INLINE(connect_get_cpu_model_names),
};

const DaemonModule host_cpu_module = {
    .name = "host-cpu",
    .handlers = handlers,
    .n_handlers = G_N_ELEMENTS(handlers),
};
