/* Reading, comparing and merging <cpu> elements.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/cpu/cpu.h"

#include "conf/xml.h"

#include <string.h>

/* --- reading --- */

static bool parse_policy(const xmlNode *node, CpuSpec *spec, GError **error)
{
    g_autofree char *name = xml_attr(node, "name");
    g_autofree char *policy = xml_attr(node, "policy");
    int feature = name ? x86_feature_find(name) : -1;
    if (!name || !*name) {
        xml_error(node, CONF_ERROR_XML, error, "a CPU feature needs a name");
        return false;
    }
    if (feature < 0) {
        xml_error(node, CONF_ERROR_INTERNAL, error, "Unknown CPU feature %s", name);
        return false;
    }
    if (!policy || !strcmp(policy, "require")) {
        x86_set_put(&spec->required, (unsigned)feature, true);
    } else if (!strcmp(policy, "forbid")) {
        x86_set_put(&spec->forbidden, (unsigned)feature, true);
        x86_set_put(&spec->required, (unsigned)feature, false);
    } else if (!strcmp(policy, "disable") || !strcmp(policy, "force") ||
               !strcmp(policy, "optional")) {
        /* The guest gets it, or not, whatever the host has. */
        x86_set_put(&spec->required, (unsigned)feature, false);
    } else {
        xml_error(node, CONF_ERROR_INTERNAL, error, "Invalid CPU feature policy '%s'", policy);
        return false;
    }
    return true;
}

static bool parse_match(const xmlNode *root, CpuSpec *spec, GError **error)
{
    static const char *const names[] = { "exact", "minimum", "strict", NULL };
    g_autofree char *match = xml_attr(root, "match");
    g_autofree char *mode = xml_attr(root, "mode");
    spec->is_guest = match || mode;
    if (mode && strcmp(mode, "custom") && strcmp(mode, "host-model") &&
        strcmp(mode, "host-passthrough") && strcmp(mode, "maximum")) {
        xml_error(root, CONF_ERROR_XML, error, "Invalid mode attribute '%s'", mode);
        return false;
    }
    spec->has_model = !mode || !strcmp(mode, "custom");
    if (!match) {
        return true;
    }
    for (unsigned i = 0; names[i]; i++) {
        if (!strcmp(match, names[i])) {
            spec->match = (CpuMatch)i;
            return true;
        }
    }
    xml_error(root, CONF_ERROR_XML, error, "Invalid match attribute '%s' for CPU specification",
              match);
    return false;
}

static bool parse_model(const xmlNode *root, CpuSpec *spec, GError **error)
{
    const xmlNode *node = xml_child(root, "model");
    g_autofree char *name = node ? xml_text(node) : NULL;
    if (!node && spec->is_guest) {
        spec->has_model = false;
    }
    if (!spec->has_model) {
        return true;
    }
    if (!name || !*name) {
        xml_error(root, CONF_ERROR_XML, error, "Missing CPU model name");
        return false;
    }
    spec->model = x86_model_find(name);
    if (!spec->model) {
        xml_error(node, CONF_ERROR_INTERNAL, error, "Unknown CPU model %s", name);
        return false;
    }
    spec->required = spec->model->features;
    return true;
}

static bool parse_root(const xmlNode *root, CpuSpec *spec, GError **error)
{
    const xmlNode *arch = xml_child(root, "arch");
    const xmlNode *vendor = xml_child(root, "vendor");
    g_autofree char *arch_name = arch ? xml_text(arch) : NULL;
    if (!xml_is(root, "cpu")) {
        xml_error(root, CONF_ERROR_XML, error, "XML does not contain expected 'cpu' element");
        return false;
    }
    if (arch_name && strcmp(arch_name, "x86_64") && strcmp(arch_name, "i686")) {
        xml_error(arch, CONF_ERROR_UNSUPPORTED, error,
                  "CPUs of architecture '%s' cannot be compared; x86_64 and i686 can", arch_name);
        return false;
    }
    spec->vendor = vendor ? xml_text(vendor) : NULL;
    if (!parse_match(root, spec, error) || !parse_model(root, spec, error)) {
        return false;
    }
    for (const xmlNode *node = xml_first(root); node; node = xml_next(node)) {
        if (xml_is(node, "feature") && !parse_policy(node, spec, error)) {
            return false;
        }
    }
    return true;
}

bool cpu_spec_parse(const char *xml, CpuSpec *out, GError **error)
{
    *out = (CpuSpec){ 0 };
    g_autoptr(XmlDoc) doc = xml_doc_parse(xml, "CPU", error);
    if (!doc || !parse_root(xml_doc_root(doc), out, error)) {
        cpu_spec_clear(out);
        return false;
    }
    return true;
}

bool cpu_spec_validate(const char *xml, GError **error)
{
    static const char *const known[] = { "arch",
                                         "model",
                                         "vendor",
                                         "topology",
                                         "feature",
                                         "numa",
                                         "cache",
                                         "maxphysaddr",
                                         "counter",
                                         "microcode",
                                         "pages",
                                         "signature",
                                         "migration_features",
                                         NULL };
    g_autoptr(XmlDoc) doc = xml_doc_parse(xml, "CPU", error);
    if (!doc) {
        return false;
    }
    for (xmlNode *node = xml_first(xml_doc_root(doc)); node; node = xml_next(node)) {
        if (!g_strv_contains(known, (const char *)node->name)) {
            xml_error(node, CONF_ERROR_INVALID_SCHEMA, error, "unknown element");
            return false;
        }
    }
    return true;
}

void cpu_spec_clear(CpuSpec *spec)
{
    g_free(spec->vendor);
    *spec = (CpuSpec){ 0 };
}

/* --- comparing --- */

static CpuComparison refuse(char **out_reason, const char *why, const X86Set *features)
{
    if (out_reason) {
        g_autofree char *names = features ? x86_set_join(features) : NULL;
        *out_reason = g_strconcat(why, names, NULL);
    }
    return CPU_COMPARE_INCOMPATIBLE;
}

CpuComparison cpu_compare(const CpuHave *have, const CpuSpec *spec, char **out_reason)
{
    X86Set missing = x86_set_without(&spec->required, &have->features);
    X86Set unwanted = x86_set_and(&spec->forbidden, &have->features);
    X86Set extra = x86_set_without(&have->features, &spec->required);
    if (spec->vendor && g_strcmp0(spec->vendor, have->vendor) != 0) {
        return refuse(out_reason, "host CPU vendor does not match required CPU vendor", NULL);
    }
    if (!x86_set_is_empty(&unwanted)) {
        return refuse(out_reason, "Host CPU provides forbidden features: ", &unwanted);
    }
    if (!x86_set_is_empty(&missing)) {
        return refuse(out_reason, "Host CPU does not provide required features: ", &missing);
    }
    if (x86_set_is_empty(&extra)) {
        return CPU_COMPARE_IDENTICAL;
    }
    if (spec->has_model && spec->match == CPU_SPEC_STRICT) {
        return refuse(out_reason,
                      "Host CPU does not strictly match guest CPU: Extra features: ", &extra);
    }
    return CPU_COMPARE_SUPERSET;
}

/* --- one that fits all --- */

/* Vendors must agree; CPUs without one fit all. */
static bool merge_vendor(char **vendor, const CpuSpec *spec, GError **error)
{
    if (!spec->vendor || g_strcmp0(*vendor, spec->vendor) == 0) {
        return true;
    }
    if (*vendor) {
        conf_error_set(error, CONF_ERROR_OPERATION_FAILED, "CPU vendors do not match: '%s', '%s'",
                       *vendor, spec->vendor);
        return false;
    }
    *vendor = g_strdup(spec->vendor);
    return true;
}

static bool merge(const char *const *xmls, unsigned n, char **vendor, X86Set *features,
                  const X86Model **out_only, GError **error)
{
    memset(features, 0xff, sizeof(*features));
    for (unsigned i = 0; i < n; i++) {
        CpuSpec spec;
        if (!cpu_spec_parse(xmls[i], &spec, error)) {
            return false;
        }
        bool ok = merge_vendor(vendor, &spec, error);
        if (ok && !spec.has_model) {
            conf_error_set(error, CONF_ERROR_OPERATION_FAILED, "no CPU model specified at index %u",
                           i);
            ok = false;
        }
        *features = x86_set_and(features, &spec.required);
        *out_only = i == 0 || *out_only == spec.model ? spec.model : NULL;
        cpu_spec_clear(&spec);
        if (!ok) {
            return false;
        }
    }
    return true;
}

static void write_features(XmlWriter *writer, const X86Set *set, const char *policy)
{
    for (unsigned i = 0; i < x86_n_features; i++) {
        if (x86_set_has(set, i)) {
            xml_write_start(writer, "feature");
            xml_write_attr(writer, "policy", policy);
            xml_write_attr(writer, "name", x86_features[i].name);
            xml_write_end(writer);
        }
    }
}

static char *format(const X86Model *model, const char *vendor, const X86Set *features,
                    bool is_forced, bool expands)
{
    XmlWriter *writer = xml_writer_new();
    X86Set more = expands ? *features : x86_set_without(features, &model->features);
    X86Set less = x86_set_without(&model->features, features);
    xml_write_start(writer, "cpu");
    xml_write_attr(writer, "mode", "custom");
    xml_write_attr(writer, "match", "exact");
    xml_write_start(writer, "model");
    xml_write_attr(writer, "fallback", is_forced ? "forbid" : "allow");
    xml_write_text(writer, model->name);
    xml_write_end(writer);
    xml_write_leaf(writer, "vendor", vendor);
    write_features(writer, &more, "require");
    write_features(writer, &less, "disable");
    xml_write_end(writer);
    return xml_writer_finish(writer);
}

char *cpu_baseline(const char *const *xmls, unsigned n, unsigned flags, const CpuHave *limit,
                   bool (*is_candidate)(void *opaque, const X86Model *model), void *opaque,
                   GError **error)
{
    g_autofree char *vendor = NULL;
    X86Set features;
    const X86Model *only = NULL;
    if (!merge(xmls, n, &vendor, &features, &only, error)) {
        return NULL;
    }
    if (limit) {
        features = x86_set_and(&features, &limit->features);
    }
    if (flags & CPU_BASELINE_MIGRATABLE) {
        x86_set_put(&features, (unsigned)x86_feature_find("invtsc"), false);
    }
    /* All have the same model: that stays, where it may. */
    X86Set less = { 0 };
    if (only) {
        less = x86_set_without(&only->features, &features);
    }
    bool keeps = only && x86_set_is_empty(&less) && (!is_candidate || is_candidate(opaque, only));
    const X86Model *model =
        keeps ? only : x86_decode(&features, vendor, limit != NULL, is_candidate, opaque);
    if (!model) {
        conf_error_set(error, CONF_ERROR_OPERATION_FAILED,
                       "no CPU model has few enough features for all of the CPUs");
        return NULL;
    }
    return format(model, vendor, &features, limit != NULL, flags & CPU_BASELINE_EXPAND);
}
