/* Processors as sets of features: what fits what.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/cpu/cpu.h"
#include "lib/check.h"

#include <string.h>

static X86Set features_of(const char *model)
{
    const X86Model *found = x86_model_find(model);
    assert_non_null(found);
    return found->features;
}

static void names_of_qemu_and_libvirt_are_one_feature(void **state)
{
    assert_int_equal(x86_feature_find("tsc-adjust"), x86_feature_find("tsc_adjust"));
    assert_int_equal(x86_feature_find("pclmulqdq"), x86_feature_find("pclmuldq"));
    assert_int_equal(x86_feature_find("sse3"), x86_feature_find("pni"));
    assert_int_equal(x86_feature_find("avx5"), -1);
    assert_int_equal(x86_feature_find("avx512bw2"), -1);
    assert_int_equal(x86_feature_find(""), -1);
}

static void every_feature_has_one_place(void **state)
{
    for (unsigned i = 0; i < x86_n_features; i++) {
        assert_int_equal(x86_feature_find(x86_features[i].name), i);
        for (unsigned k = 0; k < i; k++) {
            const X86Feature *a = &x86_features[i], *b = &x86_features[k];
            assert_false(a->source == b->source && a->leaf == b->leaf && a->subleaf == b->subleaf &&
                         a->bit == b->bit);
        }
    }
}

static void fake_cpuid(void *opaque, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
    memset(out, 0, 16);
    if (leaf == 1) {
        out[X86_EDX] = 1u << 26;
    } else if (leaf == 7 && subleaf == 0) {
        out[X86_EBX] = 1u << 5;
    }
}

static void cpuid_bits_become_features(void **state)
{
    X86Set set;
    x86_set_from_cpuid(&set, fake_cpuid, NULL);
    assert_int_equal(x86_set_count(&set), 2);
    assert_true(x86_set_has(&set, (unsigned)x86_feature_find("sse2")));
    assert_true(x86_set_has(&set, (unsigned)x86_feature_find("avx2")));
}

static CpuComparison compare(const char *host, const char *xml, char **reason)
{
    CpuHave have = { "Intel", features_of(host) };
    CpuSpec spec;
    assert_true(cpu_spec_parse(xml, &spec, NULL));
    CpuComparison result = cpu_compare(&have, &spec, reason);
    cpu_spec_clear(&spec);
    return result;
}

static void a_newer_host_is_a_superset_and_an_older_one_names_what_it_lacks(void **state)
{
    g_autofree char *reason = NULL;
    const char *haswell = "<cpu><arch>x86_64</arch><model>Haswell</model></cpu>";
    assert_int_equal(compare("Broadwell", haswell, NULL), CPU_COMPARE_SUPERSET);
    assert_int_equal(compare("Haswell", haswell, NULL), CPU_COMPARE_IDENTICAL);
    assert_int_equal(compare("Nehalem", haswell, &reason), CPU_COMPARE_INCOMPATIBLE);
    assert_non_null(strstr(reason, "avx2"));
}

static void policies_change_what_is_needed(void **state)
{
    assert_int_equal(compare("Haswell", "<cpu match='strict'><model>Nehalem</model></cpu>", NULL),
                     CPU_COMPARE_INCOMPATIBLE);
    assert_int_equal(compare("Haswell",
                             "<cpu match='exact'><model>Nehalem</model>"
                             "<feature policy='forbid' name='avx'/></cpu>",
                             NULL),
                     CPU_COMPARE_INCOMPATIBLE);
    assert_int_equal(compare("Nehalem",
                             "<cpu match='exact'><model>Westmere</model>"
                             "<feature policy='disable' name='aes'/>"
                             "<feature policy='disable' name='pclmulqdq'/></cpu>",
                             NULL),
                     CPU_COMPARE_IDENTICAL);
    assert_int_equal(
        compare("Haswell", "<cpu><model>Nehalem</model><vendor>AMD</vendor></cpu>", NULL),
        CPU_COMPARE_INCOMPATIBLE);
}

static void bad_elements_have_libvirts_codes(void **state)
{
    static const struct {
        const char *xml;
        int code;
    } rows[] = {
        { "<cpu>", CONF_ERROR_XML_DETAIL },
        { "<cpu/>", CONF_ERROR_XML },
        { "<domain/>", CONF_ERROR_XML },
        { "<cpu><model>NoSuch</model></cpu>", CONF_ERROR_INTERNAL },
        { "<cpu><model>Haswell</model><feature name='nosuch'/></cpu>", CONF_ERROR_INTERNAL },
        { "<cpu match='nearly'><model>Haswell</model></cpu>", CONF_ERROR_XML },
        { "<cpu><arch>s390x</arch><model>z13</model></cpu>", CONF_ERROR_UNSUPPORTED },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        CpuSpec spec;
        g_autoptr(GError) error = NULL;
        assert_false(cpu_spec_parse(rows[i].xml, &spec, &error));
        assert_int_equal(error->code, rows[i].code);
    }
}

static void a_baseline_has_what_all_have(void **state)
{
    const char *const two[] = { "<cpu><model>Haswell</model></cpu>",
                                "<cpu><model>Skylake-Client</model></cpu>" };
    const char *const vendors[] = { "<cpu><model>Haswell</model><vendor>Intel</vendor></cpu>",
                                    "<cpu><model>EPYC</model><vendor>AMD</vendor></cpu>" };
    g_autofree char *xml = cpu_baseline(two, 2, 0, NULL, NULL, NULL, NULL);
    assert_non_null(strstr(xml, "<model fallback='allow'>Haswell</model>"));
    assert_null(strstr(xml, "<feature"));
    g_autofree char *expanded = cpu_baseline(two, 2, CPU_BASELINE_EXPAND, NULL, NULL, NULL, NULL);
    assert_non_null(strstr(expanded, "<feature policy='require' name='avx2'/>"));
    g_autoptr(GError) error = NULL;
    assert_null(cpu_baseline(vendors, 2, 0, NULL, NULL, NULL, &error));
    assert_int_equal(error->code, CONF_ERROR_OPERATION_FAILED);
}

static void what_the_hypervisor_lacks_is_disabled(void **state)
{
    const char *const one[] = { "<cpu><model>Haswell</model></cpu>" };
    CpuHave limit = { "Intel", features_of("Haswell") };
    x86_set_put(&limit.features, (unsigned)x86_feature_find("pcid"), false);
    g_autofree char *xml = cpu_baseline(one, 1, 0, &limit, NULL, NULL, NULL);
    assert_non_null(strstr(xml, "<feature policy='disable' name='pcid'/>"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_qemu_and_libvirt_are_one_feature),
        cmocka_unit_test(every_feature_has_one_place),
        cmocka_unit_test(cpuid_bits_become_features),
        cmocka_unit_test(a_newer_host_is_a_superset_and_an_older_one_names_what_it_lacks),
        cmocka_unit_test(policies_change_what_is_needed),
        cmocka_unit_test(bad_elements_have_libvirts_codes),
        cmocka_unit_test(a_baseline_has_what_all_have),
        cmocka_unit_test(what_the_hypervisor_lacks_is_disabled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
