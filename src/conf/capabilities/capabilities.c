/* Writing capabilities.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/capabilities/capabilities.h"

#include "conf/xml.h"

static void write_flag(XmlWriter *writer, const char *name)
{
    xml_write_start(writer, name);
    xml_write_end(writer);
}

static void write_toggle(XmlWriter *writer, const char *name)
{
    xml_write_start(writer, name);
    xml_write_attr(writer, "default", "on");
    xml_write_attr(writer, "toggle", "yes");
    xml_write_end(writer);
}

static void write_cell(XmlWriter *writer, const HostCell *cell)
{
    xml_write_start(writer, "cell");
    xml_write_attr_fmt(writer, "id", "%u", cell->id);
    xml_write_start(writer, "memory");
    xml_write_attr(writer, "unit", "KiB");
    g_autofree char *memory = g_strdup_printf("%" G_GUINT64_FORMAT, cell->memory);
    xml_write_text(writer, memory);
    xml_write_end(writer);
    for (unsigned i = 0; i < cell->n_pages; i++) {
        xml_write_start(writer, "pages");
        xml_write_attr(writer, "unit", "KiB");
        xml_write_attr_fmt(writer, "size", "%" G_GUINT64_FORMAT, (guint64)cell->pages[i].size);
        g_autofree char *count =
            g_strdup_printf("%" G_GUINT64_FORMAT, (guint64)cell->pages[i].count);
        xml_write_text(writer, count);
        xml_write_end(writer);
    }
    if (cell->n_distances) {
        xml_write_start(writer, "distances");
        for (unsigned i = 0; i < cell->n_distances; i++) {
            xml_write_start(writer, "sibling");
            xml_write_attr_fmt(writer, "id", "%u", cell->distances[i].cell);
            xml_write_attr_fmt(writer, "value", "%u", cell->distances[i].value);
            xml_write_end(writer);
        }
        xml_write_end(writer);
    }
    xml_write_start(writer, "cpus");
    xml_write_attr_fmt(writer, "num", "%u", cell->n_cpus);
    for (unsigned i = 0; i < cell->n_cpus; i++) {
        const HostCpu *cpu = &cell->cpus[i];
        xml_write_start(writer, "cpu");
        xml_write_attr_fmt(writer, "id", "%u", cpu->id);
        xml_write_attr_fmt(writer, "socket_id", "%u", cpu->socket);
        xml_write_attr_fmt(writer, "die_id", "%u", cpu->die);
        xml_write_attr_fmt(writer, "core_id", "%u", cpu->core);
        xml_write_attr(writer, "siblings", cpu->siblings);
        xml_write_end(writer);
    }
    xml_write_end(writer);
    xml_write_end(writer);
}

static void write_host_cpu(XmlWriter *writer, const HostCapabilities *caps)
{
    xml_write_start(writer, "cpu");
    xml_write_leaf(writer, "arch", caps->arch);
    xml_write_leaf(writer, "model", caps->cpu_model);
    xml_write_leaf(writer, "vendor", caps->cpu_vendor);
    if (caps->microcode) {
        xml_write_start(writer, "microcode");
        xml_write_attr(writer, "version", caps->microcode);
        xml_write_end(writer);
    }
    if (caps->has_signature) {
        xml_write_start(writer, "signature");
        xml_write_attr_fmt(writer, "family", "%u", caps->family);
        xml_write_attr_fmt(writer, "model", "%u", caps->model);
        xml_write_attr_fmt(writer, "stepping", "%u", caps->stepping);
        xml_write_end(writer);
    }
    if (caps->sockets != 0) {
        xml_write_start(writer, "topology");
        xml_write_attr_fmt(writer, "sockets", "%u", caps->sockets);
        xml_write_attr_fmt(writer, "dies", "%u", caps->dies);
        xml_write_attr_fmt(writer, "cores", "%u", caps->cores);
        xml_write_attr_fmt(writer, "threads", "%u", caps->threads);
        xml_write_end(writer);
    }
    if (caps->phys_bits) {
        xml_write_start(writer, "maxphysaddr");
        xml_write_attr(writer, "mode", "emulate");
        xml_write_attr_fmt(writer, "bits", "%u", caps->phys_bits);
        xml_write_end(writer);
    }
    for (unsigned i = 0; caps->cpu_features != NULL && caps->cpu_features[i] != NULL; i++) {
        xml_write_start(writer, "feature");
        xml_write_attr(writer, "name", caps->cpu_features[i]);
        xml_write_end(writer);
    }
    for (unsigned i = 0; i < caps->n_page_sizes; i++) {
        xml_write_start(writer, "pages");
        xml_write_attr(writer, "unit", "KiB");
        xml_write_attr_fmt(writer, "size", "%" G_GUINT64_FORMAT, (guint64)caps->page_sizes[i]);
        xml_write_end(writer);
    }
    xml_write_end(writer);
}

static void write_caches(XmlWriter *writer, const HostCapabilities *caps)
{
    xml_write_start(writer, "cache");
    for (unsigned i = 0; i < caps->n_caches; i++) {
        const HostCache *cache = &caps->caches[i];
        bool is_mib = cache->size % 1024 == 0;
        xml_write_start(writer, "bank");
        xml_write_attr_fmt(writer, "id", "%u", cache->id);
        xml_write_attr_fmt(writer, "level", "%u", cache->level);
        xml_write_attr(writer, "type", cache->type);
        xml_write_attr_fmt(writer, "size", "%" G_GUINT64_FORMAT,
                           (guint64)(is_mib ? cache->size / 1024 : cache->size));
        xml_write_attr(writer, "unit", is_mib ? "MiB" : "KiB");
        xml_write_attr(writer, "cpus", cache->cpus);
        xml_write_end(writer);
    }
    xml_write_end_if_any(writer);
}

static void write_security_model(XmlWriter *writer, const HostCapabilities *caps)
{
    if (caps->security_model) {
        xml_write_start(writer, "secmodel");
        xml_write_leaf(writer, "model", caps->security_model);
        xml_write_leaf(writer, "doi", caps->security_doi);
        xml_write_end(writer);
    }
}

static void write_host(XmlWriter *writer, const HostCapabilities *caps)
{
    char uuid[UUID_TEXT_SIZE];
    uuid_format(&caps->uuid, uuid);
    xml_write_start(writer, "host");
    xml_write_leaf(writer, "uuid", uuid);
    write_host_cpu(writer, caps);
    write_flag(writer, "power_management");
    xml_write_start(writer, "iommu");
    xml_write_attr(writer, "support", caps->has_iommu ? "yes" : "no");
    xml_write_end(writer);
    xml_write_start(writer, "migration_features");
    write_flag(writer, "live");
    xml_write_start(writer, "uri_transports");
    xml_write_leaf(writer, "uri_transport", "tcp");
    xml_write_end(writer);
    xml_write_end(writer);
    xml_write_start(writer, "topology");
    xml_write_start(writer, "cells");
    xml_write_attr_fmt(writer, "num", "%u", caps->n_cells);
    for (unsigned i = 0; i < caps->n_cells; i++) {
        write_cell(writer, &caps->cells[i]);
    }
    xml_write_end(writer);
    xml_write_end(writer);
    write_caches(writer, caps);
    write_security_model(writer, caps);
    xml_write_end(writer);
}

static void write_guest(XmlWriter *writer, const CapsGuest *guest)
{
    xml_write_start(writer, "guest");
    xml_write_leaf(writer, "os_type", "hvm");
    xml_write_start(writer, "arch");
    xml_write_attr(writer, "name", guest->arch);
    xml_write_leaf_fmt(writer, "wordsize", "%u", guest->word_size);
    xml_write_leaf(writer, "emulator", guest->emulator);
    for (unsigned i = 0; i < guest->n_machines; i++) {
        const CapsMachine *machine = &guest->machines[i];
        xml_write_start(writer, "machine");
        if (machine->canonical != NULL) {
            xml_write_attr(writer, "canonical", machine->canonical);
        }
        xml_write_attr_fmt(writer, "maxCpus", "%u", machine->max_cpus);
        if (machine->is_deprecated) {
            xml_write_attr(writer, "deprecated", "yes");
        }
        xml_write_text(writer, machine->name);
        xml_write_end(writer);
    }
    const char *const types[] = { "qemu", guest->has_kvm ? "kvm" : NULL };
    for (unsigned i = 0; i < G_N_ELEMENTS(types) && types[i] != NULL; i++) {
        xml_write_start(writer, "domain");
        xml_write_attr(writer, "type", types[i]);
        xml_write_end(writer);
    }
    xml_write_end(writer);
    xml_write_start(writer, "features");
    if (guest->is_x86) {
        if (guest->word_size == 32) {
            write_flag(writer, "pae");
            write_flag(writer, "nonpae");
        }
        write_toggle(writer, "acpi");
        xml_write_start(writer, "apic");
        xml_write_attr(writer, "default", "on");
        xml_write_attr(writer, "toggle", "no");
        xml_write_end(writer);
    }
    write_flag(writer, "cpuselection");
    write_flag(writer, "deviceboot");
    xml_write_start(writer, "disksnapshot");
    xml_write_attr(writer, "default", guest->has_external_snapshot ? "on" : "off");
    xml_write_attr(writer, "toggle", "no");
    xml_write_end(writer);
    if (guest->has_external_snapshot) {
        write_flag(writer, "externalSnapshot");
    }
    xml_write_end(writer);
    xml_write_end(writer);
}

char *host_capabilities_format(const HostCapabilities *caps)
{
    XmlWriter *writer = xml_writer_new();
    xml_write_start(writer, "capabilities");
    write_host(writer, caps);
    for (unsigned i = 0; i < caps->n_guests; i++) {
        write_guest(writer, &caps->guests[i]);
    }
    xml_write_end(writer);
    return xml_writer_finish(writer);
}

/* --- domain capabilities --- */

static void start_supported(XmlWriter *writer, const char *name, bool is_supported)
{
    xml_write_start(writer, name);
    xml_write_attr(writer, "supported", is_supported ? "yes" : "no");
}

static void write_supported(XmlWriter *writer, const char *name, bool is_supported)
{
    start_supported(writer, name, is_supported);
    xml_write_end(writer);
}

static void write_values(XmlWriter *writer, const char *const *values)
{
    for (unsigned i = 0; values != NULL && values[i] != NULL; i++) {
        xml_write_leaf(writer, "value", values[i]);
    }
}

static void write_enum(XmlWriter *writer, const char *name, const char *const *values)
{
    xml_write_start(writer, "enum");
    xml_write_attr(writer, "name", name);
    write_values(writer, values);
    xml_write_end(writer);
}

static void write_os(XmlWriter *writer, const DomainCapabilities *caps)
{
    static const char *const loader_types[] = { "rom", "pflash", NULL };
    static const char *const yes_no[] = { "yes", "no", NULL };
    static const char *const no[] = { "no", NULL };
    start_supported(writer, "os", true);
    write_enum(writer, "firmware", caps->firmwares);
    start_supported(writer, "loader", caps->loaders != NULL);
    if (caps->loaders != NULL) {
        write_values(writer, caps->loaders);
        write_enum(writer, "type", loader_types);
        write_enum(writer, "readonly", yes_no);
        write_enum(writer, "secure", caps->has_secure_loader ? yes_no : no);
    }
    xml_write_end(writer);
    xml_write_end(writer);
}

static void start_mode(XmlWriter *writer, const char *name, bool is_supported)
{
    xml_write_start(writer, "mode");
    xml_write_attr(writer, "name", name);
    xml_write_attr(writer, "supported", is_supported ? "yes" : "no");
}

static void write_policies(XmlWriter *writer, const char *policy, const char *const *names)
{
    for (; names != NULL && *names != NULL; names++) {
        xml_write_start(writer, "feature");
        xml_write_attr(writer, "policy", policy);
        xml_write_attr(writer, "name", *names);
        xml_write_end(writer);
    }
}

static void write_host_model(XmlWriter *writer, const DomainCapabilities *caps)
{
    start_mode(writer, "host-model", caps->host_model != NULL);
    if (caps->host_model != NULL) {
        xml_write_start(writer, "model");
        xml_write_attr(writer, "fallback", "forbid");
        xml_write_text(writer, caps->host_model);
        xml_write_end(writer);
        xml_write_leaf(writer, "vendor", caps->host_vendor);
        write_policies(writer, "require", caps->host_features);
        write_policies(writer, "disable", caps->host_disabled);
    }
    xml_write_end(writer);
}

static void write_cpu(XmlWriter *writer, const DomainCapabilities *caps)
{
    static const char *const on_off[] = { "on", "off", NULL };
    xml_write_start(writer, "cpu");
    start_mode(writer, "host-passthrough", caps->has_host_passthrough);
    if (caps->has_host_passthrough) {
        write_enum(writer, "hostPassthroughMigratable", on_off);
    }
    xml_write_end(writer);
    start_mode(writer, "maximum", caps->has_maximum);
    if (caps->has_maximum) {
        write_enum(writer, "maximumMigratable", on_off);
    }
    xml_write_end(writer);
    write_host_model(writer, caps);
    start_mode(writer, "custom", caps->n_models > 0);
    for (unsigned i = 0; i < caps->n_models; i++) {
        const CapsCpuModel *model = &caps->models[i];
        xml_write_start(writer, "model");
        xml_write_attr(writer, "usable", model->is_usable ? "yes" : "no");
        if (model->is_deprecated) {
            xml_write_attr(writer, "deprecated", "yes");
        }
        xml_write_attr(writer, "vendor", model->vendor != NULL ? model->vendor : "unknown");
        xml_write_text(writer, model->name);
        xml_write_end(writer);
    }
    xml_write_end(writer);
    xml_write_end(writer);
}

static void write_devices(XmlWriter *writer, const CapsDevice *device)
{
    xml_write_start(writer, "devices");
    for (; device != NULL && device->element != NULL; device++) {
        start_supported(writer, device->element, device->is_supported);
        for (unsigned i = 0; device->is_supported && i < G_N_ELEMENTS(device->enums) &&
                             device->enums[i].name != NULL;
             i++) {
            write_enum(writer, device->enums[i].name, device->enums[i].values);
        }
        xml_write_end(writer);
    }
    xml_write_end(writer);
}

char *domain_capabilities_format(const DomainCapabilities *caps)
{
    XmlWriter *writer = xml_writer_new();
    xml_write_start(writer, "domainCapabilities");
    xml_write_leaf(writer, "path", caps->emulator);
    xml_write_leaf(writer, "domain", caps->domain);
    xml_write_leaf(writer, "machine", caps->machine);
    xml_write_leaf(writer, "arch", caps->arch);
    xml_write_start(writer, "vcpu");
    xml_write_attr_fmt(writer, "max", "%u", caps->max_vcpus);
    xml_write_end(writer);
    write_supported(writer, "iothreads", caps->has_iothreads);
    write_os(writer, caps);
    write_cpu(writer, caps);
    start_supported(writer, "memoryBacking", caps->memory_sources != NULL);
    if (caps->memory_sources != NULL) {
        write_enum(writer, "sourceType", caps->memory_sources);
    }
    xml_write_end(writer);
    write_devices(writer, caps->devices);
    xml_write_start(writer, "features");
    write_supported(writer, "gic", false);
    write_supported(writer, "vmcoreinfo", caps->has_vmcoreinfo);
    write_supported(writer, "genid", caps->has_genid);
    write_supported(writer, "backingStoreInput", caps->has_backing_store_input);
    write_supported(writer, "backup", caps->has_backup);
    write_supported(writer, "sev", false);
    write_supported(writer, "sgx", false);
    start_supported(writer, "hyperv", caps->hyperv != NULL);
    if (caps->hyperv != NULL) {
        write_enum(writer, "features", caps->hyperv);
    }
    xml_write_end(writer);
    xml_write_end(writer);
    xml_write_end(writer);
    return xml_writer_finish(writer);
}
