/* <os>, <sysinfo>, <features>, <clock>.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/domain/tables.h"

#include "conf/domain/domain.h"

static const XmlField os_feature_fields[] = {
    XML_ATTR_ENUM(DomainOsFeatureSetting, enabled, "enabled", yes_no_names, .flags = XML_REQUIRED),
    XML_ATTR_ENUM(DomainOsFeatureSetting, name, "name", os_feature_names, .flags = XML_REQUIRED),
    XML_END,
};

static const XmlField loader_fields[] = {
    XML_ATTR_ENUM(DomainOs, loader_readonly, "readonly", yes_no_names),
    XML_ATTR_ENUM(DomainOs, loader_secure, "secure", yes_no_names),
    XML_ATTR_ENUM(DomainOs, loader_type, "type", loader_type_names),
    XML_ATTR_ENUM(DomainOs, loader_stateless, "stateless", yes_no_names),
    XML_ATTR_ENUM(DomainOs, loader_format, "format", image_format_names),
    XML_TEXT(DomainOs, loader, xml_lenient),
    XML_END,
};

/* <nvram>: a path, or a <source> of the type. */
static bool nvram_parse(XmlParse *parse, xmlNode *node, void *base, GError **error)
{
    static const XmlField attrs[] = {
        XML_ATTR_STR(DomainOs, nvram_template, "template"),
        XML_ATTR_ENUM(DomainOs, nvram_format, "format", image_format_names),
        XML_ATTR_ENUM(DomainOs, nvram_template_format, "templateFormat", image_format_names),
        XML_ATTR_ENUM(DomainOs, nvram_type, "type", source_type_names),
        XML_END,
    };
    DomainOs *os = base;
    XmlParse lax = { .flags = parse->flags & ~(unsigned)XML_PARSE_STRICT };
    if (os->nvram != NULL || os->nvram_source != NULL) {
        xml_error(node, CONF_ERROR_XML, error, "there can be only one");
        return false;
    }
    if (!xml_map_parse(&lax, attrs, node, os, error)) {
        return false;
    }
    if (os->nvram_type == SOURCE_NONE) {
        g_autofree char *path = xml_text(node);
        os->nvram = path != NULL && *path != '\0' ? g_steal_pointer(&path) : NULL;
        return true;
    }
    os->nvram_source = g_new0(DomainSource, 1);
    os->nvram_source->type = os->nvram_type;
    if (!xml_map_parse(&lax, nvram_source_fields, node, os->nvram_source, error)) {
        return false;
    }
    /* Of disks alone. */
    os->nvram_source->startup_policy = STARTUP_NONE;
    os->nvram_source->index.set = false;
    return true;
}

static void nvram_format(XmlWriter *writer, const void *base, unsigned flags)
{
    const DomainOs *os = base;
    xml_write_start(writer, "nvram");
    if (os->nvram_template != NULL) {
        xml_write_attr(writer, "template", os->nvram_template);
    }
    if (os->nvram_template_format != IMAGE_NONE) {
        xml_write_attr(writer, "templateFormat",
                       domain_name(image_format, os->nvram_template_format));
    }
    if (os->nvram_format != IMAGE_NONE) {
        xml_write_attr(writer, "format", domain_name(image_format, os->nvram_format));
    }
    if (os->nvram_source != NULL) {
        xml_write_attr(writer, "type", domain_name(source_type, os->nvram_source->type));
        xml_map_format(writer, nvram_source_fields, os->nvram_source, flags);
    } else if (os->nvram != NULL) {
        xml_write_text(writer, os->nvram);
    }
    xml_write_end_if_any(writer);
}

static const XmlHook nvram_hook = { nvram_parse, nvram_format };

const XmlField os_fields[] = {
    XML_ATTR_ENUM(DomainOs, firmware, "firmware", os_firmware_names),
    XML_NEST("type", FIELDS(XML_ATTR_STR(DomainOs, arch, "arch"),
                            XML_ATTR_STR(DomainOs, machine, "machine"),
                            XML_TEXT(DomainOs, type, xml_enum, .names = &os_type_names,
                                     .invalid = CONF_ERROR_UNSUPPORTED))),
    XML_NEST("firmware", FIELDS(XML_LIST(DomainOs, firmware_features, "feature",
                                         DomainOsFeatureSetting, os_feature_fields))),
    XML_LEAF(DomainOs, init, "init", xml_lenient),
    XML_LIST(DomainOs, initargs, "initarg", DomainText,
             FIELDS(XML_TEXT(DomainText, text, xml_string))),
    XML_LEAF(DomainOs, initdir, "initdir", xml_lenient),
    XML_LEAF(DomainOs, inituser, "inituser", xml_lenient),
    XML_LEAF(DomainOs, initgroup, "initgroup", xml_lenient),
    XML_NEST("loader", loader_fields),
    XML_HOOK("nvram", nvram_hook),
    XML_OWNED(DomainOs, nvram),
    XML_OWNED(DomainOs, nvram_template),
    { .kind = XML_KIND_PTR,
      .name = "",
      .offset = offsetof(DomainOs, nvram_source),
      .fields = FIELDS(XML_ATTR_ENUM(DomainSource, type, "type", source_type_names),
                       XML_INCLUDE(nvram_source_fields)),
      .size = sizeof(DomainSource),
      .flags = XML_READ },
    XML_LEAF(DomainOs, kernel, "kernel", xml_lenient),
    XML_LEAF(DomainOs, initrd, "initrd", xml_lenient),
    XML_LEAF(DomainOs, cmdline, "cmdline", xml_lenient),
    XML_LEAF(DomainOs, dtb, "dtb", xml_lenient),
    XML_LEAF(DomainOs, shim, "shim", xml_lenient),
    XML_NEST("acpi",
             FIELDS(XML_NEST("table", FIELDS(XML_ATTR_STR(DomainOs, acpi_table_type, "type"),
                                             XML_TEXT(DomainOs, acpi_table, xml_path))))),
    XML_LIST(DomainOs, boots, "boot", DomainBoot,
             FIELDS(XML_ATTR_ENUM(DomainBoot, dev, "dev", boot_dev_names, .flags = XML_REQUIRED))),
    XML_NEST("bootmenu",
             FIELDS(XML_ATTR_ENUM(DomainOs, bootmenu, "enable", yes_no_names),
                    XML_ATTR(DomainOs, bootmenu_timeout_ms, "timeout", xml_opt, .max = 65535))),
    XML_NEST("bios", FIELDS(XML_ATTR_ENUM(DomainOs, bios_useserial, "useserial", yes_no_names),
                            XML_ATTR_STR(DomainOs, bios_reboot_timeout, "rebootTimeout"))),
    XML_NEST("smbios", FIELDS(XML_ATTR_ENUM(DomainOs, smbios, "mode", smbios_mode_names,
                                            .flags = XML_REQUIRED))),
    XML_END,
};

char *domain_text_set_nvram(const char *text, const char *path, GError **error)
{
    g_autoptr(XmlDoc) doc = xml_doc_parse(text, "domain", error);
    xmlNode *root = doc != NULL ? xml_doc_root(doc) : NULL;
    xmlNode *os = root != NULL ? xml_child(root, "os") : NULL;
    xmlNode *nvram = os != NULL ? xml_child(os, "nvram") : NULL;
    xmlNode *source = nvram != NULL && xmlHasProp(nvram, BAD_CAST "type") != NULL
                          ? xml_child(nvram, "source")
                          : NULL;
    if (root == NULL || nvram == NULL) {
        if (root != NULL) {
            conf_error_set(error, CONF_ERROR_XML, "<os> has no <nvram> to change");
        }
        return NULL;
    }
    if (source != NULL) {
        xmlSetProp(source, BAD_CAST "file", BAD_CAST path);
    } else {
        xmlNodeSetContent(nvram, NULL);
        xmlNodeAddContent(nvram, BAD_CAST path);
    }
    return xml_node_to_text(root, 0);
}

static const XmlField entry_fields[] = {
    XML_ATTR_STR(DomainSysinfoEntry, name, "name"),
    XML_ATTR_STR(DomainSysinfoEntry, file, "file"),
    XML_TEXT(DomainSysinfoEntry, value, xml_string),
    XML_END,
};

static const XmlField sysinfo_table_fields[] = {
    XML_LIST(DomainSysinfoTable, entries, "entry", DomainSysinfoEntry, entry_fields),
    XML_END,
};

const XmlField sysinfo_fields[] = {
    XML_ATTR_STR(DomainSysinfo, type, "type", .flags = XML_REQUIRED),
    XML_NEST_AT(DomainSysinfo, bios, "bios", sysinfo_table_fields),
    XML_NEST_AT(DomainSysinfo, system, "system", sysinfo_table_fields),
    XML_LIST(DomainSysinfo, base_boards, "baseBoard", DomainSysinfoTable, sysinfo_table_fields),
    XML_NEST_AT(DomainSysinfo, chassis, "chassis", sysinfo_table_fields),
    XML_NEST_AT(DomainSysinfo, oem_strings, "oemStrings", sysinfo_table_fields),
    XML_LIST(DomainSysinfo, fwcfg, "entry", DomainSysinfoEntry, entry_fields),
    XML_END,
};

#define HYPERV(member, element) XML_SWITCH(DomainFeatures, member, element, on_off_names)

static const XmlField hyperv_fields[] = {
    XML_ATTR_ENUM(DomainFeatures, hyperv_mode, "mode", hyperv_mode_names),
    HYPERV(relaxed, "relaxed"),
    HYPERV(vapic, "vapic"),
    XML_NEST("spinlocks", FIELDS(XML_ATTR_ENUM(DomainFeatures, spinlocks, "state", on_off_names,
                                               .flags = XML_REQUIRED),
                                 XML_ATTR(DomainFeatures, spinlock_retries, "retries", xml_u32))),
    HYPERV(vpindex, "vpindex"),
    HYPERV(runtime, "runtime"),
    HYPERV(synic, "synic"),
    XML_NEST("stimer", FIELDS(XML_ATTR_ENUM(DomainFeatures, stimer, "state", on_off_names,
                                            .flags = XML_REQUIRED),
                              HYPERV(stimer_direct, "direct"))),
    HYPERV(reset, "reset"),
    XML_NEST("vendor_id", FIELDS(XML_ATTR_ENUM(DomainFeatures, vendor_id, "state", on_off_names,
                                               .flags = XML_REQUIRED),
                                 XML_ATTR_STR(DomainFeatures, vendor_id_value, "value"))),
    HYPERV(frequencies, "frequencies"),
    HYPERV(reenlightenment, "reenlightenment"),
    HYPERV(tlbflush, "tlbflush"),
    HYPERV(ipi, "ipi"),
    HYPERV(evmcs, "evmcs"),
    HYPERV(avic, "avic"),
    HYPERV(emsr_bitmap, "emsr_bitmap"),
    HYPERV(xmm_input, "xmm_input"),
    XML_END,
};

static const XmlField kvm_fields[] = {
    XML_SWITCH(DomainFeatures, kvm_hidden, "hidden", on_off_names),
    XML_SWITCH(DomainFeatures, kvm_hint_dedicated, "hint-dedicated", on_off_names),
    XML_SWITCH(DomainFeatures, kvm_poll_control, "poll-control", on_off_names),
    XML_SWITCH(DomainFeatures, kvm_pv_ipi, "pv-ipi", on_off_names),
    XML_NEST("dirty-ring",
             FIELDS(XML_ATTR_ENUM(DomainFeatures, kvm_dirty_ring, "state", on_off_names),
                    XML_ATTR(DomainFeatures, kvm_dirty_ring_size, "size", xml_u32))),
    XML_END,
};

const XmlField features_fields[] = {
    XML_FLAG(DomainFeatures, acpi, "acpi"),
    XML_NEST("apic", FIELDS(XML_ATTR_ENUM(DomainFeatures, apic_eoi, "eoi", on_off_names)),
             XML_PRESENT(DomainFeatures, apic)),
    XML_FLAG(DomainFeatures, pae, "pae"),
    XML_SWITCH(DomainFeatures, hap, "hap", on_off_names),
    XML_FLAG(DomainFeatures, viridian, "viridian"),
    XML_FLAG(DomainFeatures, privnet, "privnet"),
    XML_NEST("hyperv", hyperv_fields, XML_PRESENT(DomainFeatures, hyperv)),
    XML_SWITCH(DomainFeatures, pvspinlock, "pvspinlock", on_off_names),
    XML_NEST("kvm", kvm_fields, XML_PRESENT(DomainFeatures, kvm)),
    XML_SWITCH(DomainFeatures, pmu, "pmu", on_off_names),
    XML_SWITCH(DomainFeatures, vmport, "vmport", on_off_names),
    XML_NEST("smm",
             FIELDS(XML_ATTR_ENUM(DomainFeatures, smm, "state", on_off_names),
                    XML_LEAF(DomainFeatures, smm_tseg, "tseg", xml_kib)),
             XML_PRESENT(DomainFeatures, has_smm)),
    XML_NEST("ioapic", FIELDS(XML_ATTR_ENUM(DomainFeatures, ioapic, "driver", ioapic_names))),
    XML_SWITCH(DomainFeatures, vmcoreinfo, "vmcoreinfo", on_off_names),
    XML_SWITCH(DomainFeatures, htm, "htm", on_off_names),
    XML_SWITCH(DomainFeatures, nested_hv, "nested-hv", on_off_names),
    XML_NEST("msrs", FIELDS(XML_ATTR_STR(DomainFeatures, msrs_unknown, "unknown"))),
    XML_NEST("tcg", FIELDS(XML_LEAF(DomainFeatures, tcg_tb_cache, "tb-cache", xml_kib))),
    XML_SWITCH(DomainFeatures, async_teardown, "async-teardown", yes_no_names),
    XML_END,
};

static const XmlField timer_fields[] = {
    XML_ATTR_ENUM(DomainTimer, name, "name", timer_name_names, .flags = XML_REQUIRED),
    XML_ATTR_ENUM(DomainTimer, present, "present", yes_no_names),
    XML_ATTR_ENUM(DomainTimer, tick_policy, "tickpolicy", tick_policy_names),
    XML_ATTR_ENUM(DomainTimer, track, "track", timer_track_names),
    XML_ATTR(DomainTimer, frequency_hz, "frequency", xml_u64),
    XML_ATTR_ENUM(DomainTimer, mode, "mode", timer_mode_names),
    XML_NEST("catchup", FIELDS(XML_ATTR(DomainTimer, catchup_threshold, "threshold", xml_opt),
                               XML_ATTR(DomainTimer, catchup_slew, "slew", xml_opt),
                               XML_ATTR(DomainTimer, catchup_limit, "limit", xml_opt))),
    XML_END,
};

const XmlField clock_fields[] = {
    XML_ATTR_ENUM(DomainClock, offset, "offset", clock_offset_names,
                  .invalid = CONF_ERROR_UNSUPPORTED),
    XML_ATTR_STR(DomainClock, adjustment, "adjustment"),
    XML_ATTR_ENUM(DomainClock, basis, "basis", clock_basis_names),
    XML_ATTR_STR(DomainClock, timezone, "timezone"),
    XML_ATTR(DomainClock, start, "start", xml_opt),
    XML_LIST(DomainClock, timers, "timer", DomainTimer, timer_fields),
    XML_END,
};
