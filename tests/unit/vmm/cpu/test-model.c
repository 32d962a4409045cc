/* CPU models: levels, the -cpu argument, limits of the accelerator, topology leaves.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/check.h"
#include "vmm/accel/xlate/cpuid-limits.h"
#include "vmm/cpu/identity.h"
#include "vmm/cpu/model.h"

#include <string.h>

/* An accelerator that can do everything, with the layout of Intel's XSAVE area. */
static void limits_of_all(CpuidTable *limits, const char *vendor, uint32_t signature)
{
    static const uint32_t leaves[][2] = {
        { 6, 0 },          { 7, 0 },          { 7, 1 },          { 7, 2 },
        { 0xd, 1 },        { 0x40000001, 0 }, { 0x80000001, 0 }, { 0x80000007, 0 },
        { 0x8000000a, 0 }, { 0x80000021, 0 },
    };
    CpuidLeaf leaf = { 0 };
    limits->count = 0;
    memcpy(&leaf.ebx, vendor, 4);
    memcpy(&leaf.edx, vendor + 4, 4);
    memcpy(&leaf.ecx, vendor + 8, 4);
    assert_true(cpuid_table_append(limits, &leaf));
    leaf = (CpuidLeaf){ .function = 1, .eax = signature, .ecx = ~0u, .edx = ~0u };
    assert_true(cpuid_table_append(limits, &leaf));
    for (unsigned i = 0; i < ARRAY_LENGTH(leaves); i++) {
        leaf = (CpuidLeaf){ leaves[i][0], leaves[i][1], true, ~0u, ~0u, ~0u, ~0u };
        leaf.has_index = leaf.function == 7 || leaf.function == 0xd;
        assert_true(cpuid_table_append(limits, &leaf));
    }
    static const CpuidLeaf more[] = {
        { 0xd, 0, true, 0x2e7, 0, 0xa88, 0 },
        { 0xd, 2, true, 256, 576, 0, 0 },
        { 0xd, 5, true, 64, 1088, 0, 0 },
        { 0xd, 6, true, 512, 1152, 0, 0 },
        { 0xd, 7, true, 1024, 1664, 0, 0 },
        { 0xd, 9, true, 8, 2688, 0, 0 },
        { 0x80000008, 0, false, 0x302e, ~0u, 0, 0 },
    };
    for (unsigned i = 0; i < ARRAY_LENGTH(more); i++) {
        assert_true(cpuid_table_append(limits, &more[i]));
    }
}

#define SIGNATURE_MILAN 0x00a00f11u

static CpuConfig parse(const char *text)
{
    CpuConfig config;
    GError *error = NULL;
    bool ok = cpu_config_parse(text, &config, &error);
    if (!ok) {
        fail_msg("%s: %s", text, error->message);
    }
    return config;
}

static void refuse(const char *text, const char *part)
{
    CpuConfig config;
    GError *error = NULL;
    assert_false(cpu_config_parse(text, &config, &error));
    if (!strstr(error->message, part)) {
        fail_msg("'%s' does not name '%s'", error->message, part);
    }
    g_error_free(error);
}

static CpuFeatureSet resolve(const CpuConfig *config, const CpuidTable *limits,
                             CpuFeatureSet *out_missing)
{
    CpuFeatureSet features;
    GError *error = NULL;
    if (!cpu_config_resolve(config, limits, &features, out_missing, &error)) {
        fail_msg("%s", error->message);
    }
    return features;
}

static bool has(const CpuFeatureSet *set, const char *name)
{
    int feature = cpu_feature_find(name, strlen(name));
    assert_true(feature >= 0);
    return cpu_feature_has(set, (unsigned)feature);
}

static void unknown_names_are_refused_and_named(void **state)
{
    refuse("x86-64-v9", "'x86-64-v9'");
    refuse("", "''");
    refuse("max,+flux", "'flux'");
    refuse("max,-flux", "'flux'");
    refuse("max,flux=on", "'flux'");
    refuse("max,avx=perhaps", "'perhaps'");
    refuse("max,phys-bits=99", "'99'");
    refuse("max,vendor=me", "'me'");
    refuse("max,+", "''");
}

static void each_level_contains_the_one_below(void **state)
{
    static const char *const names[] = { "x86-64-v1", "x86-64-v2", "x86-64-v3", "x86-64-v4" };
    static const char *const added[] = {
        "cmov cx8 fpu fxsr mmx syscall sse sse2 lm nx",
        "cx16 lahf-lm popcnt pni sse4.1 sse4.2 ssse3",
        "avx avx2 bmi1 bmi2 f16c fma lzcnt movbe xsave",
        "avx512f avx512bw avx512cd avx512dq avx512vl",
    };
    CpuidTable limits;
    CpuFeatureSet psabi = { 0 };
    limits_of_all(&limits, "AuthenticAMD", SIGNATURE_MILAN);
    for (unsigned level = 0; level < 4; level++) {
        CpuConfig config = parse(names[level]);
        CpuFeatureSet missing, absent, features = resolve(&config, &limits, &missing);
        assert_true(cpu_feature_set_is_empty(&missing));
        cpu_feature_set_add_names(&psabi, added[level]);
        cpu_feature_set_without(&absent, &psabi, &features);
        assert_true(cpu_feature_set_is_empty(&absent));
        for (unsigned above = level + 1; above < 4; above++) {
            CpuFeatureSet next = { 0 }, both;
            cpu_feature_set_add_names(&next, added[above]);
            cpu_feature_set_and(&both, &next, &features);
            assert_true(cpu_feature_set_is_empty(&both));
        }
    }
}

static void every_model_resolves_and_builds(void **state)
{
    CpuidTable limits, table;
    CpuTopology topology = { 1, 1, 2, 1 };
    limits_of_all(&limits, "GenuineIntel", 0xa0671);
    for (unsigned i = 0; cpu_model_at(i); i++) {
        CpuConfig config = parse(cpu_model_name(cpu_model_at(i)));
        CpuFeatureSet missing, features = resolve(&config, &limits, &missing);
        assert_true(cpu_feature_set_is_empty(&missing));
        cpu_config_build(&config, &features, &limits, &topology, 1, &table);
        assert_non_null(cpuid_table_find(&table, 0xb, 2));
        assert_true(cpuid_table_find(&table, 0, 0)->eax >= 0xb);
    }
}

static void what_the_accelerator_lacks_is_left_out_and_reported(void **state)
{
    CpuidTable limits;
    CpuFeatureSet missing, features;
    CpuConfig config = parse("x86-64-v3,+svm");
    limits_of_all(&limits, "AuthenticAMD", SIGNATURE_MILAN);
    for (unsigned i = 0; i < limits.count; i++) {
        if (limits.leaf[i].function == 1) {
            limits.leaf[i].ecx &= ~(1u << 26); /* XSAVE */
        } else if (limits.leaf[i].function == 0x80000001) {
            limits.leaf[i].ecx &= ~4u; /* SVM */
        }
    }
    features = resolve(&config, &limits, &missing);
    assert_false(has(&features, "xsave"));
    assert_false(has(&features, "avx"));
    assert_false(has(&features, "avx2"));
    assert_false(has(&features, "fma"));
    assert_false(has(&features, "vaes"));
    assert_true(has(&features, "bmi2"));
    assert_true(has(&missing, "svm"));
    assert_true(has(&missing, "avx2"));
    assert_false(has(&missing, "vaes")); /* never promised by the level */

    GError *error = NULL;
    config = parse("x86-64-v3,+svm,enforce");
    assert_false(cpu_config_resolve(&config, &limits, &features, NULL, &error));
    assert_non_null(strstr(error->message, "svm"));
    assert_non_null(strstr(error->message, "avx2"));
    g_error_free(error);
}

static void the_later_switch_wins(void **state)
{
    CpuidTable limits;
    limits_of_all(&limits, "AuthenticAMD", SIGNATURE_MILAN);
    CpuConfig config = parse("max,-avx2,+avx2,avx=off,rdrand=off,rdrand=on,tsc_deadline=off");
    CpuFeatureSet features = resolve(&config, &limits, NULL);
    assert_false(has(&features, "avx"));
    assert_false(has(&features, "avx2")); /* cannot be without AVX */
    assert_true(has(&features, "rdrand"));
    assert_false(has(&features, "tsc-deadline"));
}

static void kvm_off_hides_the_paravirtual_leaves(void **state)
{
    CpuidTable limits, table;
    CpuTopology topology = { 1, 1, 1, 1 };
    limits_of_all(&limits, "AuthenticAMD", SIGNATURE_MILAN);
    CpuConfig config = parse("max");
    CpuFeatureSet features = resolve(&config, &limits, NULL);
    cpu_config_build(&config, &features, &limits, &topology, 0, &table);
    const CpuidLeaf *leaf = cpuid_table_find(&table, 0x40000000, 0);
    assert_memory_equal(&leaf->ebx, "KVMK", 4);
    assert_int_equal(leaf->eax, 0x40000010);
    config = parse("max,kvm=off");
    features = resolve(&config, &limits, NULL);
    cpu_config_build(&config, &features, &limits, &topology, 0, &table);
    assert_null(cpuid_table_find(&table, 0x40000000, 0));
    assert_true(cpuid_table_find(&table, 1, 0)->ecx >> 31);
}

static void identity_is_the_accelerators_unless_the_model_has_one(void **state)
{
    CpuidTable limits, table;
    CpuTopology topology = { 1, 1, 1, 1 };
    limits_of_all(&limits, "AuthenticAMD", SIGNATURE_MILAN);
    CpuConfig config = parse("x86-64-v2");
    CpuFeatureSet features = resolve(&config, &limits, NULL);
    cpu_config_build(&config, &features, &limits, &topology, 0, &table);
    assert_memory_equal(&cpuid_table_find(&table, 0, 0)->ebx, "Auth", 4);
    assert_int_equal(cpuid_table_find(&table, 1, 0)->eax, SIGNATURE_MILAN);
    assert_true(cpuid_table_find(&table, 0x80000021, 0)->eax >> 8 & 1); /* automatic IBRS */

    config = parse("Skylake-Client,family=6,model=94,stepping=2,model-id=Some name");
    features = resolve(&config, &limits, NULL);
    cpu_config_build(&config, &features, &limits, &topology, 0, &table);
    assert_memory_equal(&cpuid_table_find(&table, 0, 0)->ebx, "Genu", 4);
    assert_int_equal(cpuid_table_find(&table, 1, 0)->eax, 0x506e2);
    assert_memory_equal(&cpuid_table_find(&table, 0x80000002, 0)->eax, "Some", 4);
    assert_null(cpuid_table_find(&table, 0x8000001e, 0));
}

static void check_topology(const CpuTopology *topology, const char *model)
{
    CpuidTable limits;
    unsigned count = cpu_topology_count(topology);
    uint32_t before = 0;
    limits_of_all(&limits, "AuthenticAMD", SIGNATURE_MILAN);
    CpuConfig config = parse(model);
    CpuFeatureSet features = resolve(&config, &limits, NULL);
    for (unsigned i = 0; i < count; i++) {
        CpuidTable table;
        cpu_config_build(&config, &features, &limits, topology, i, &table);
        uint32_t id = cpu_topology_apic_id(topology, i);
        assert_true(i == 0 ? id == 0 : id > before);
        before = id;
        const CpuidLeaf *one = cpuid_table_find(&table, 1, 0);
        const CpuidLeaf *threads = cpuid_table_find(&table, 0xb, 0);
        const CpuidLeaf *cores = cpuid_table_find(&table, 0xb, 1);
        assert_int_equal(one->ebx >> 24, id & 0xff);
        assert_int_equal(one->edx >> 28 & 1, count / topology->sockets > 1);
        assert_int_equal(threads->edx, id);
        assert_int_equal(cores->edx, id);
        assert_int_equal(cpuid_table_find(&table, 0xb, 2)->ecx, 2);
        /* The fields of the id, by the shifts that the guest is told. */
        assert_int_equal(id & ((1u << threads->eax) - 1), i % topology->threads);
        assert_int_equal(id >> cores->eax, i / (count / topology->sockets));
        assert_int_equal(cores->ebx, count / topology->sockets);
        const CpuidLeaf *amd = cpuid_table_find(&table, 0x8000001e, 0);
        if (amd) {
            assert_int_equal(amd->eax, id);
            assert_int_equal(amd->ebx >> 8 & 0xff, topology->threads - 1);
            assert_int_equal(cpuid_table_find(&table, 0x80000008, 0)->ecx >> 12, cores->eax);
        }
    }
}

static void topology_leaves_match_the_apic_ids(void **state)
{
    static const CpuTopology topologies[] = {
        { 1, 1, 1, 1 }, { 1, 1, 2, 1 }, { 2, 1, 1, 1 },  { 1, 1, 3, 2 },
        { 2, 2, 3, 2 }, { 1, 4, 6, 2 }, { 3, 1, 64, 1 }, { 1, 1, 64, 1 },
    };
    for (unsigned i = 0; i < ARRAY_LENGTH(topologies); i++) {
        check_topology(&topologies[i], "x86-64-v3");
        check_topology(&topologies[i], "Skylake-Server");
    }
}

static void xsave_leaves_follow_the_features(void **state)
{
    static const struct {
        const char *model;
        uint32_t components, size;
    } rows[] = {
        { "x86-64-v3", 0x7, 832 },
        { "x86-64-v3,-avx", 0x3, 576 },
        { "x86-64-v4", 0xe7, 2688 },
        { "max", 0x2e7, 2696 },
    };
    CpuTopology topology = { 1, 1, 1, 1 };
    CpuidTable limits, table;
    limits_of_all(&limits, "AuthenticAMD", SIGNATURE_MILAN);
    for (unsigned i = 0; i < ARRAY_LENGTH(rows); i++) {
        CpuConfig config = parse(rows[i].model);
        CpuFeatureSet features = resolve(&config, &limits, NULL);
        cpu_config_build(&config, &features, &limits, &topology, 0, &table);
        const CpuidLeaf *leaf = cpuid_table_find(&table, 0xd, 0);
        assert_int_equal(leaf->eax, rows[i].components);
        assert_int_equal(leaf->ecx, rows[i].size);
        assert_int_equal(cpuid_table_find(&table, 0xd, 2) != NULL, rows[i].components >> 2 & 1);
    }
    CpuConfig config = parse("x86-64-v2");
    CpuFeatureSet features = resolve(&config, &limits, NULL);
    cpu_config_build(&config, &features, &limits, &topology, 0, &table);
    assert_null(cpuid_table_find(&table, 0xd, 0));
}

/* What the guest's kernel reads to switch its work-arounds off. */
static void translated_guests_are_told_they_are_safe(void **state)
{
    CpuTopology topology = { 1, 1, 2, 1 };
    CpuidTable limits, table;
    assert_int_equal(xlate_cpuid_limits(&limits, NULL), 0);
    CpuConfig config = parse("max");
    CpuFeatureSet features = resolve(&config, &limits, NULL);
    static const char *const wanted[] = { "auto-ibrs", "null-sel-clr-base",
                                          "srso-no",   "amd-no-ssb",
                                          "kvmclock",  "x2apic",
                                          "pcid",      "smap" };
    for (unsigned i = 0; i < ARRAY_LENGTH(wanted); i++) {
        assert_true(has(&features, wanted[i]));
    }
    assert_false(has(&features, "avx512f"));
    assert_false(has(&features, "svm"));
    cpu_config_build(&config, &features, &limits, &topology, 1, &table);
    assert_int_equal(cpuid_table_find(&table, 1, 0)->eax >> 20 & 0xff, 0xa); /* family 19h */
    assert_int_equal(cpuid_table_find(&table, 0x8000001e, 0)->eax, 1);
    if (has(&features, "avx2")) {
        config = parse("x86-64-v3,enforce");
        resolve(&config, &limits, NULL);
    }
}

static void help_lists_models_and_features(void **state)
{
    g_autofree char *text = cpu_model_help();
    assert_non_null(strstr(text, "  x86-64-v3 "));
    assert_non_null(strstr(text, " EPYC-Milan "));
    assert_non_null(strstr(text, " tsc-deadline"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_names_are_refused_and_named),
        cmocka_unit_test(each_level_contains_the_one_below),
        cmocka_unit_test(every_model_resolves_and_builds),
        cmocka_unit_test(what_the_accelerator_lacks_is_left_out_and_reported),
        cmocka_unit_test(the_later_switch_wins),
        cmocka_unit_test(kvm_off_hides_the_paravirtual_leaves),
        cmocka_unit_test(identity_is_the_accelerators_unless_the_model_has_one),
        cmocka_unit_test(topology_leaves_match_the_apic_ids),
        cmocka_unit_test(xsave_leaves_follow_the_features),
        cmocka_unit_test(translated_guests_are_told_they_are_safe),
        cmocka_unit_test(help_lists_models_and_features),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
