/* The table of CPU models, the -cpu argument, and which features a guest gets.
 *
 * Level models follow the micro-architecture levels of the x86-64 psABI 1.0; named models carry
 * what the processors have in common with QEMU's models of the same name (Intel models without
 * TSX). SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/cpu/model.h"

#include "gbase/error.h"
#include "gbase/strutil.h"
#include "vmm/cpu/identity.h"

#include <string.h>

typedef enum ModelKind {
    MODEL_FIXED, /* what the table says */
    MODEL_ALL,   /* all the accelerator gives */
    MODEL_HOST,  /* the same, under the host's identity */
} ModelKind;

struct CpuModel {
    const char *name;
    const char *summary;
    ModelKind kind;
    const CpuModel *base;        /* its features are included; identity is not */
    const CpuIdentity *identity; /* NULL: the accelerator's */
    const char *features;        /* expected: missing ones are reported */
    const char *optional;        /* given when they can be, silently; NULL: none */
};

/* Taken by every model where the accelerator gives them: they spare the guest exits, or tell it
 * which weaknesses it need not work around. */
#define PARAVIRTUAL                                                                                \
    "hypervisor kvmclock-old kvmclock kvm-nopiodelay kvm-asyncpf kvm-asyncpf-int kvm-steal-time "  \
    "kvm-pv-eoi kvm-pv-unhalt kvm-pv-tlb-flush kvm-pv-ipi kvm-poll-control kvm-pv-sched-yield "    \
    "kvmclock-stable-bit x2apic tsc-deadline tsc-adjust arat"
#define MITIGATION                                                                                 \
    " spec-ctrl stibp ssbd arch-capabilities md-clear flush-l1d ibpb ibrs amd-stibp amd-ssbd "     \
    "virt-ssbd amd-no-ssb amd-psfd btc-no ibpb-ret no-nested-data-bp lfence-always-serializing "   \
    "verw-clear null-sel-clr-base auto-ibrs sbpb ibpb-brtype srso-no srso-user-kernel-no "         \
    "tsa-sq-no tsa-l1-no mcdt-no"
#define EVERY_MODEL PARAVIRTUAL MITIGATION

/* What systems use and programs of a lower level do not notice. */
#define SYSTEM_EXTRAS                                                                              \
    "pcid invpcid smep smap umip pdpe1gb rdtscp rdpid invtsc erms fsrm fsgsbase xsaveopt xsavec "  \
    "xgetbv1 clflushopt clwb 3dnowprefetch fxsr-opt misalignsse xsaveerptr wbnoinvd clzero "       \
    "cr8legacy mmxext"
/* What programs find by themselves and profit from. */
#define PROGRAM_EXTRAS                                                                             \
    " aes pclmulqdq sha-ni rdrand rdseed adx gfni vaes vpclmulqdq avx-vnni avx-ifma "              \
    "avx-vnni-int8 avx-ne-convert movdiri movdir64b serialize cldemote fsrs fzrm fsrc"

#define BASE_32                                                                                    \
    "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse "    \
    "sse2"

static const CpuIdentity id_qemu64 = { "AuthenticAMD", 15, 107, 1, "Lodge 64-bit processor" };
static const CpuIdentity id_nehalem = { "GenuineIntel", 6, 26, 3,
                                        "Intel Core i7 9xx (Nehalem Class Core i7)" };
static const CpuIdentity id_westmere = { "GenuineIntel", 6, 44, 1,
                                         "Westmere E56xx/L56xx/X56xx (Nehalem-C)" };
static const CpuIdentity id_sandybridge = { "GenuineIntel", 6, 42, 1,
                                            "Intel Xeon E312xx (Sandy Bridge)" };
static const CpuIdentity id_ivybridge = { "GenuineIntel", 6, 58, 9,
                                          "Intel Xeon E3-12xx v2 (Ivy Bridge)" };
static const CpuIdentity id_haswell = { "GenuineIntel", 6, 60, 4,
                                        "Intel Core Processor (Haswell)" };
static const CpuIdentity id_broadwell = { "GenuineIntel", 6, 61, 2,
                                          "Intel Core Processor (Broadwell)" };
static const CpuIdentity id_skylake = { "GenuineIntel", 6, 94, 3,
                                        "Intel Core Processor (Skylake)" };
static const CpuIdentity id_skylake_server = { "GenuineIntel", 6, 85, 4,
                                               "Intel Xeon Processor (Skylake)" };
static const CpuIdentity id_cascadelake = { "GenuineIntel", 6, 85, 6,
                                            "Intel Xeon Processor (Cascadelake)" };
static const CpuIdentity id_icelake = { "GenuineIntel", 6, 106, 0,
                                        "Intel Xeon Processor (Icelake)" };
static const CpuIdentity id_epyc = { "AuthenticAMD", 23, 1, 2, "AMD EPYC Processor" };
static const CpuIdentity id_epyc_rome = { "AuthenticAMD", 23, 49, 0, "AMD EPYC-Rome Processor" };
static const CpuIdentity id_epyc_milan = { "AuthenticAMD", 25, 1, 1, "AMD EPYC-Milan Processor" };
static const CpuIdentity id_epyc_genoa = { "AuthenticAMD", 25, 17, 0, "AMD EPYC-Genoa Processor" };

static const CpuModel model_v1 = {
    .name = "x86-64-v1",
    .summary = "x86-64 baseline",
    .features = BASE_32 " syscall nx lm",
    .optional = SYSTEM_EXTRAS,
};
static const CpuModel model_v2 = {
    .name = "x86-64-v2",
    .summary = "x86-64 level 2: SSE4.2, POPCNT, CMPXCHG16B",
    .base = &model_v1,
    .features = "cx16 lahf-lm popcnt pni sse4.1 sse4.2 ssse3",
    .optional = SYSTEM_EXTRAS,
};
static const CpuModel model_v3 = {
    .name = "x86-64-v3",
    .summary = "x86-64 level 3: AVX2, BMI, FMA; AES, SHA and others as the host has them (default)",
    .base = &model_v2,
    .features = "avx avx2 bmi1 bmi2 f16c fma abm movbe xsave",
    .optional = SYSTEM_EXTRAS PROGRAM_EXTRAS,
};
static const CpuModel model_v4 = {
    .name = "x86-64-v4",
    .summary = "x86-64 level 4: AVX-512; AES, SHA and others as the host has them",
    .base = &model_v3,
    .features = "avx512f avx512bw avx512cd avx512dq avx512vl",
    .optional = SYSTEM_EXTRAS PROGRAM_EXTRAS
    " avx512ifma avx512vbmi avx512vbmi2 avx512vnni avx512bitalg avx512-vpopcntdq avx512-bf16",
};
static const CpuModel model_qemu64 = {
    .name = "qemu64",
    .summary = "QEMU's oldest 64-bit processor",
    .identity = &id_qemu64,
    .features = BASE_32 " pni cx16 syscall nx lm lahf-lm",
};
static const CpuModel model_max = {
    .name = "max",
    .summary = "all features that the accelerator can give",
    .kind = MODEL_ALL,
};
static const CpuModel model_host = {
    .name = "host",
    .summary = "as max, with the vendor and family of the host's processor",
    .kind = MODEL_HOST,
};
static const CpuModel model_nehalem = {
    .name = "Nehalem",
    .summary = "Intel, 2008",
    .base = &model_v2,
    .identity = &id_nehalem,
    .features = "",
};
static const CpuModel model_westmere = {
    .name = "Westmere",
    .summary = "Intel, 2010",
    .base = &model_nehalem,
    .identity = &id_westmere,
    .features = "aes pclmulqdq",
};
static const CpuModel model_sandybridge = {
    .name = "SandyBridge",
    .summary = "Intel, 2011",
    .base = &model_westmere,
    .identity = &id_sandybridge,
    .features = "avx xsave xsaveopt rdtscp",
};
static const CpuModel model_ivybridge = {
    .name = "IvyBridge",
    .summary = "Intel, 2012",
    .base = &model_sandybridge,
    .identity = &id_ivybridge,
    .features = "f16c rdrand fsgsbase smep erms",
};
static const CpuModel model_haswell = {
    .name = "Haswell",
    .summary = "Intel, 2013, without TSX",
    .base = &model_ivybridge,
    .identity = &id_haswell,
    .features = "fma movbe pcid invpcid bmi1 bmi2 avx2 abm",
};
static const CpuModel model_broadwell = {
    .name = "Broadwell",
    .summary = "Intel, 2014, without TSX",
    .base = &model_haswell,
    .identity = &id_broadwell,
    .features = "rdseed adx smap 3dnowprefetch",
};
static const CpuModel model_skylake = {
    .name = "Skylake-Client",
    .summary = "Intel, 2015, without TSX",
    .base = &model_broadwell,
    .identity = &id_skylake,
    .features = "xsavec xgetbv1",
};
static const CpuModel model_skylake_server = {
    .name = "Skylake-Server",
    .summary = "Intel Xeon, 2017, without TSX",
    .base = &model_skylake,
    .identity = &id_skylake_server,
    .features = "pdpe1gb clwb clflushopt avx512f avx512dq avx512cd avx512bw avx512vl",
};
static const CpuModel model_cascadelake = {
    .name = "Cascadelake-Server",
    .summary = "Intel Xeon, 2019, without TSX",
    .base = &model_skylake_server,
    .identity = &id_cascadelake,
    .features = "avx512vnni",
};
static const CpuModel model_icelake = {
    .name = "Icelake-Server",
    .summary = "Intel Xeon, 2021, without TSX",
    .base = &model_cascadelake,
    .identity = &id_icelake,
    .features = "avx512vbmi umip avx512vbmi2 gfni vaes vpclmulqdq avx512bitalg avx512-vpopcntdq",
};
static const CpuModel model_epyc = {
    .name = "EPYC",
    .summary = "AMD, 2017",
    .base = &model_v3,
    .identity = &id_epyc,
    .features = "vme ht aes pclmulqdq rdrand mmxext fxsr-opt pdpe1gb rdtscp cr8legacy sse4a "
                "misalignsse 3dnowprefetch osvw topoext fsgsbase smep rdseed adx smap clflushopt "
                "sha-ni xsaveopt xsavec xgetbv1",
};
static const CpuModel model_epyc_rome = {
    .name = "EPYC-Rome",
    .summary = "AMD, 2019",
    .base = &model_epyc,
    .identity = &id_epyc_rome,
    .features = "umip clwb rdpid wbnoinvd clzero xsaveerptr",
};
static const CpuModel model_epyc_milan = {
    .name = "EPYC-Milan",
    .summary = "AMD, 2021",
    .base = &model_epyc_rome,
    .identity = &id_epyc_milan,
    .features = "pcid invpcid erms fsrm",
};
static const CpuModel model_epyc_genoa = {
    .name = "EPYC-Genoa",
    .summary = "AMD, 2022",
    .base = &model_epyc_milan,
    .identity = &id_epyc_genoa,
    .features =
        "avx512f avx512dq avx512ifma avx512cd avx512bw avx512vl avx512vbmi avx512vbmi2 gfni "
        "vaes vpclmulqdq avx512vnni avx512bitalg avx512-vpopcntdq avx512-bf16",
};

/* In the order of "-cpu help". */
static const CpuModel *const models[] = {
    &model_v1,          &model_v2,      &model_v3,        &model_v4,        &model_host,
    &model_max,         &model_qemu64,  &model_nehalem,   &model_westmere,  &model_sandybridge,
    &model_ivybridge,   &model_haswell, &model_broadwell, &model_skylake,   &model_skylake_server,
    &model_cascadelake, &model_icelake, &model_epyc,      &model_epyc_rome, &model_epyc_milan,
    &model_epyc_genoa,
};

const CpuModel *cpu_model_at(unsigned i)
{
    return i < ARRAY_LENGTH(models) ? models[i] : NULL;
}

const char *cpu_model_name(const CpuModel *model)
{
    return model->name;
}

const char *cpu_model_summary(const CpuModel *model)
{
    return model->summary;
}

static const CpuModel *model_find(const char *name)
{
    for (unsigned i = 0; i < ARRAY_LENGTH(models); i++) {
        if (g_str_equal(models[i]->name, name)) {
            return models[i];
        }
    }
    return NULL;
}

char *cpu_model_help(void)
{
    CpuFeatureSet known;
    GString *text = g_string_new("Available CPUs:\n");
    for (unsigned i = 0; i < ARRAY_LENGTH(models); i++) {
        g_string_append_printf(text, "  %-20s %s\n", models[i]->name, models[i]->summary);
    }
    g_string_append(text, "\nProperties: check=on|off enforce=on|off kvm=on|off phys-bits=N "
                          "vendor=TEXT family=N\n  model=N stepping=N model-id=TEXT\n"
                          "\nRecognized CPUID flags (+NAME, -NAME or NAME=on|off):\n");
    cpu_feature_set_known(&known);
    g_autofree char *names = cpu_feature_set_format(&known);
    size_t column = 0;
    for (char *name = strtok(names, " "); name; name = strtok(NULL, " ")) {
        if (column && column + 1 + strlen(name) > 78) {
            g_string_append_c(text, '\n');
            column = 0;
        }
        g_string_append_printf(text, column ? " %s" : "  %s", name);
        column += strlen(name) + (column ? 1 : 2);
    }
    g_string_append_c(text, '\n');
    return g_string_free(text, FALSE);
}

/* Features the model expects, with those of its bases. */
static void model_features(const CpuModel *model, CpuFeatureSet *out)
{
    memset(out, 0, sizeof(*out));
    for (const CpuModel *m = model; m; m = m->base) {
        if (m->features) {
            cpu_feature_set_add_names(out, m->features);
        }
    }
}

static void set_absent(CpuConfig *config, unsigned number, bool on)
{
    uint64_t bit = UINT64_C(1) << number % 64;
    config->absent[number / 64] &= ~bit;
    config->absent[number / 64] |= on ? bit : 0;
}

char *cpu_config_format_absent(const CpuConfig *config)
{
    g_autoptr(GString) out = g_string_new(NULL);
    const char *name;
    for (unsigned i = 0; (name = cpu_absent_feature_name(i)); i++) {
        if (config->absent[i / 64] >> i % 64 & 1) {
            g_string_append_printf(out, "%s%s", out->len ? ", " : "", name);
        }
    }
    return out->len ? g_strdup(out->str) : NULL;
}

static bool set_switch(CpuConfig *config, const char *name, bool on, GError **error)
{
    int feature = cpu_feature_find(name, strlen(name));
    int absent = feature < 0 ? cpu_absent_feature_find(name) : -1;
    if (absent >= 0) {
        set_absent(config, (unsigned)absent, on);
        return true;
    }
    if (feature < 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND,
                    "unknown CPU feature or property '%s'; '-cpu help' lists the known ones", name);
        return false;
    }
    cpu_feature_add(on ? &config->plus : &config->minus, (unsigned)feature);
    cpu_feature_remove(on ? &config->minus : &config->plus, (unsigned)feature);
    return true;
}

static bool bad_value(const char *name, const char *value, const char *wanted, GError **error)
{
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                "CPU property '%s' cannot be '%s': %s", name, value, wanted);
    return false;
}

static bool set_number(const char *name, const char *value, unsigned min, unsigned max, int *out,
                       GError **error)
{
    guint64 number;
    if (!g_ascii_string_to_unsigned(value, 10, min, max, &number, NULL)) {
        g_autofree char *wanted = g_strdup_printf("a number from %u to %u", min, max);
        return bad_value(name, value, wanted, error);
    }
    *out = (int)number;
    return true;
}

static bool set_property(CpuConfig *config, const char *name, const char *value, GError **error)
{
    bool on = false;
    int bits;
    if (g_str_equal(name, "family")) {
        return set_number(name, value, 0, 15 + 255, &config->family, error);
    }
    if (g_str_equal(name, "model")) {
        return set_number(name, value, 0, 255, &config->number, error);
    }
    if (g_str_equal(name, "stepping")) {
        return set_number(name, value, 0, 15, &config->stepping, error);
    }
    if (g_str_equal(name, "phys-bits")) {
        if (!set_number(name, value, 32, 52, &bits, error)) {
            return false;
        }
        config->phys_bits = (uint8_t)bits;
        return true;
    }
    if (g_str_equal(name, "vendor")) {
        if (strlen(value) != 12) {
            return bad_value(name, value, "a vendor has 12 characters", error);
        }
        memcpy(config->vendor, value, 13);
        return true;
    }
    if (g_str_equal(name, "model-id")) {
        if (strlen(value) > 48) {
            return bad_value(name, value, "at most 48 characters", error);
        }
        g_strlcpy(config->model_id, value, sizeof(config->model_id));
        return true;
    }
    if (!str_parse_bool(value, &on)) {
        return bad_value(name, value, "'on' or 'off' wanted", error);
    }
    if (g_str_equal(name, "check")) {
        config->check = on;
    } else if (g_str_equal(name, "enforce")) {
        config->enforce = on;
    } else if (g_str_equal(name, "kvm")) {
        config->hide_kvm = !on;
    } else if (g_str_equal(name, "host-phys-bits")) {
        config->phys_bits = 0; /* as the accelerator has: it is the default */
    } else if (g_str_equal(name, "migratable")) {
        /* All that a guest can see can be moved. */
    } else {
        return set_switch(config, name, on, error);
    }
    return true;
}

static bool parse_item(CpuConfig *config, const char *item, GError **error)
{
    const char *equals = strchr(item, '=');
    if (*item == '+' || *item == '-') {
        return set_switch(config, item + 1, *item == '+', error);
    }
    if (equals) {
        g_autofree char *name = g_strndup(item, (gsize)(equals - item));
        return set_property(config, name, equals + 1, error);
    }
    return set_property(config, item, "on", error);
}

bool cpu_config_parse(const char *text, CpuConfig *out, GError **error)
{
    g_auto(GStrv) items = g_strsplit(text ? text : CPU_MODEL_DEFAULT, ",", -1);
    CpuConfig config = { .check = true, .family = -1, .number = -1, .stepping = -1 };
    const char *name = items[0] ? items[0] : "";

    config.model = model_find(name);
    if (!config.model) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND,
                    "unknown CPU model '%s'; '-cpu help' lists the known ones", name);
        return false;
    }
    for (unsigned i = 1; items[i]; i++) {
        if (!parse_item(&config, items[i], error)) {
            return false;
        }
    }
    *out = config;
    return true;
}

/* Without a processor's help: they describe the topology, which is made here. */
static void add_topology_features(CpuFeatureSet *limits)
{
    cpu_feature_add(limits, CPU_FEATURE_HTT);
    cpu_feature_add(limits, CPU_FEATURE_CMP_LEGACY);
    cpu_feature_add(limits, CPU_FEATURE_TOPOEXT);
    cpu_feature_add(limits, CPU_FEATURE_HYPERVISOR);
}

bool cpu_config_resolve(const CpuConfig *config, const CpuidTable *limits,
                        CpuFeatureSet *out_features, CpuFeatureSet *out_missing, GError **error)
{
    CpuFeatureSet given, expected, wanted, missing;
    const CpuModel *model = config->model;

    cpu_feature_set_from_cpuid(&given, limits);
    add_topology_features(&given);
    if (config->hide_kvm) {
        given.word[CPU_WORD_KVM_EAX] = 0;
    }
    model_features(model, &expected);
    cpu_feature_set_or(&expected, &expected, &config->plus);
    cpu_feature_set_without(&expected, &expected, &config->minus);

    wanted = expected;
    if (model->kind == MODEL_FIXED) {
        cpu_feature_set_add_names(&wanted, EVERY_MODEL);
        if (model->optional) {
            cpu_feature_set_add_names(&wanted, model->optional);
        }
        if (cpu_identity_has_topoext(config, limits)) {
            cpu_feature_add(&wanted, CPU_FEATURE_TOPOEXT);
        }
    } else {
        wanted = given;
        if (!cpu_identity_has_topoext(config, limits)) {
            cpu_feature_remove(&wanted, CPU_FEATURE_TOPOEXT);
        }
        cpu_feature_set_or(&wanted, &wanted, &config->plus);
    }
    cpu_feature_set_without(&wanted, &wanted, &config->minus);
    cpu_feature_set_and(&wanted, &wanted, &given);
    cpu_feature_set_close(&wanted);

    cpu_feature_set_without(&missing, &expected, &wanted);
    g_autofree char *absent = cpu_config_format_absent(config);
    if (config->enforce && absent) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED, "no guest can have: %s", absent);
        return false;
    }
    if (config->enforce && !cpu_feature_set_is_empty(&missing)) {
        g_autofree char *names = cpu_feature_set_format(&missing);
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "CPU model '%s' needs features that cannot be had: %s", model->name, names);
        return false;
    }
    *out_features = wanted;
    if (out_missing) {
        *out_missing = missing;
    }
    return true;
}

void cpu_identity_resolve(const CpuConfig *config, const CpuidTable *limits, CpuIdentity *out)
{
    if (config->model->identity) {
        *out = *config->model->identity;
    } else if (config->model->kind == MODEL_HOST) {
        cpu_identity_of_host(out);
    } else {
        cpu_identity_from_cpuid(out, limits);
    }
    if (config->vendor[0]) {
        memcpy(out->vendor, config->vendor, sizeof(out->vendor));
    }
    if (config->model_id[0]) {
        memcpy(out->model_id, config->model_id, sizeof(out->model_id));
    }
    out->family = config->family >= 0 ? (unsigned)config->family : out->family;
    out->model = config->number >= 0 ? (unsigned)config->number : out->model;
    out->stepping = config->stepping >= 0 ? (unsigned)config->stepping : out->stepping;
}
