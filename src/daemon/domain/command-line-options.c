/* What a definition can say and an engine cannot do. A guest that would lack it is not started: the
 * rows name what is refused; all else in a definition becomes arguments, is done by the daemon
 * (limits, pins, addresses), or has no meaning for these engines.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/command-line-private.h"
#include "daemon/error.h"

#include <string.h>

typedef enum OptionOwner {
    OF_DEVICE, /* of the kind in the row */
    OF_DOMAIN,
    OF_CPU,
    OF_COMMANDLINE,
} OptionOwner;

typedef enum OptionReach { QEMU_HAS, NONE_HAS } OptionReach;

typedef struct OptionRow {
    OptionOwner owner;
    DomainDeviceKind kind;
    OptionReach reach;
    const char *what;    /* as in the XML */
    size_t offset, size; /* of the member: given when not all zero */
    unsigned only;       /* not 0: refused with this value of an enum alone */
} OptionRow;

#define MEMBER(type, member) offsetof(type, member), sizeof(((type *)NULL)->member)
#define DEVICE(kind, reach, type, member, what)                                                    \
    {                                                                                              \
        OF_DEVICE, DEVICE_##kind, reach, what, MEMBER(type, member)                                \
    }
#define DEVICE_IF(kind, reach, type, member, value, what)                                          \
    {                                                                                              \
        OF_DEVICE, DEVICE_##kind, reach, what, MEMBER(type, member), value                         \
    }
#define DOMAIN(reach, member, what)                                                                \
    {                                                                                              \
        OF_DOMAIN, 0, reach, what, MEMBER(DomainDef, member)                                       \
    }
#define DOMAIN_IF(reach, member, value, what)                                                      \
    {                                                                                              \
        OF_DOMAIN, 0, reach, what, MEMBER(DomainDef, member), value                                \
    }
#define CPU(reach, member, what)                                                                   \
    {                                                                                              \
        OF_CPU, 0, reach, what, MEMBER(DomainCpu, member)                                          \
    }
#define DISK(reach, member, what) DEVICE(DISK, reach, DomainDisk, member, what)
#define NET(reach, member, what) DEVICE(INTERFACE, reach, DomainInterface, member, what)

static const OptionRow rows[] = {
    DOMAIN(NONE_HAS, hwuuid, "<hwuuid>"),
    DOMAIN_IF(NONE_HAS, on_crash, LIFECYCLE_COREDUMP_DESTROY,
              "<on_crash>coredump-destroy</on_crash> (use destroy or preserve)"),
    DOMAIN_IF(NONE_HAS, on_crash, LIFECYCLE_COREDUMP_RESTART,
              "<on_crash>coredump-restart</on_crash> (use restart)"),
    DOMAIN(QEMU_HAS, has_genid, "<genid>"),
    DOMAIN(QEMU_HAS, max_memory, "<maxMemory>"),
    DOMAIN_IF(NONE_HAS, memory_backing.source, MEMORY_SOURCE_FILE,
              "<memoryBacking><source type='file'>"),
    DOMAIN(NONE_HAS, memory_backing.discard, "<memoryBacking><discard>"),
    DOMAIN(NONE_HAS, resource_fibrechannel_appid, "<fibrechannel>"),
    DOMAIN(NONE_HAS, mem_min_guarantee, "<memtune><min_guarantee>"),
    DOMAIN_IF(NONE_HAS, numatune_placement, PLACEMENT_AUTO, "<numatune placement='auto'>"),
    DOMAIN_IF(NONE_HAS, vcpu_placement, PLACEMENT_AUTO, "<vcpu placement='auto'>"),
    DOMAIN(NONE_HAS, cputune.emulator_scheds.count, "<emulatorsched>"),
    DOMAIN(NONE_HAS, cputune.iothread_scheds.count, "<iothreadsched>"),
    DOMAIN(NONE_HAS, cputune.vcpu_scheds.count, "<vcpusched>"),
    DOMAIN_IF(QEMU_HAS, clock.offset, CLOCK_TIMEZONE, "<clock offset='timezone'>"),
    DOMAIN(NONE_HAS, keywrap, "<keywrap>"),
    DOMAIN(NONE_HAS, launch_security, "<launchSecurity>"),
    DOMAIN(NONE_HAS, os.dtb, "<dtb>"),
    DOMAIN(NONE_HAS, os.shim, "<shim>"),
    DOMAIN(QEMU_HAS, os.acpi_table, "<acpi><table>"),
    DOMAIN_IF(NONE_HAS, os.nvram_format, IMAGE_QCOW2, "<nvram format='qcow2'>"),
    DOMAIN_IF(NONE_HAS, os.nvram_template_format, IMAGE_QCOW2, "<nvram templateFormat='qcow2'>"),
    DOMAIN_IF(NONE_HAS, os.loader_format, IMAGE_QCOW2, "<loader format='qcow2'>"),
    DOMAIN_IF(NONE_HAS, os.smbios, SMBIOS_HOST, "<smbios mode='host'>"),
    DOMAIN_IF(QEMU_HAS, os.bios_useserial, TRI_YES, "<bios useserial='yes'>"),
    DOMAIN(QEMU_HAS, os.bios_reboot_timeout, "<bios rebootTimeout>"),
    DOMAIN(QEMU_HAS, features.hyperv, "<hyperv>"),
    DOMAIN_IF(QEMU_HAS, features.kvm_hidden, TRI_YES, "<kvm><hidden>"),
    DOMAIN_IF(QEMU_HAS, features.kvm_dirty_ring, TRI_YES, "<kvm><dirty-ring>"),
    DOMAIN_IF(QEMU_HAS, features.vmport, TRI_YES, "<vmport>"),
    DOMAIN_IF(QEMU_HAS, features.vmcoreinfo, TRI_YES, "<vmcoreinfo>"),
    DOMAIN_IF(QEMU_HAS, features.smm, TRI_YES, "<smm>"),
    DOMAIN(QEMU_HAS, features.smm_tseg, "<smm><tseg>"),
    DOMAIN(NONE_HAS, features.htm, "<htm>"),
    DOMAIN(NONE_HAS, features.nested_hv, "<nested-hv>"),
    DOMAIN(NONE_HAS, features.msrs_unknown, "<msrs>"),
    DOMAIN_IF(NONE_HAS, features.async_teardown, TRI_YES, "<async-teardown>"),

    CPU(QEMU_HAS, vendor_id, "<cpu><model vendor_id>"),
    CPU(QEMU_HAS, cache_mode, "<cpu><cache>"),
    CPU(QEMU_HAS, max_phys_addr, "<cpu><maxphysaddr>"),
    CPU(QEMU_HAS, cells.count, "<cpu><numa>"),

    { OF_COMMANDLINE, 0, QEMU_HAS, "<qemu:env>", MEMBER(DomainQemuCommandline, envs.count) },
    { OF_COMMANDLINE, 0, NONE_HAS, "<qemu:deprecation>",
      MEMBER(DomainQemuCommandline, deprecation) },
    { OF_COMMANDLINE, 0, NONE_HAS, "<qemu:capabilities>",
      MEMBER(DomainQemuCommandline, capabilities) },
    { OF_COMMANDLINE, 0, NONE_HAS, "<qemu:override>", MEMBER(DomainQemuCommandline, override) },

    DEVICE_IF(DISK, NONE_HAS, DomainDisk, rawio, TRI_YES, "rawio='yes'"),
    DISK(NONE_HAS, sgio, "sgio"),
    DISK(NONE_HAS, source.encryption, "<encryption>"),
    DISK(NONE_HAS, source.slices.count, "<slices>"),
    DISK(NONE_HAS, source.reservations, "<reservations>"),
    DISK(NONE_HAS, source.snapshot_name, "<snapshot>"),
    DISK(NONE_HAS, source.config_file, "<config>"),
    DISK(NONE_HAS, source.auth_username, "<auth>"),
    DISK(NONE_HAS, source.cookies.count, "<cookies>"),
    DISK(NONE_HAS, source.metadata_cache_bytes, "<metadata_cache>"),
    DEVICE_IF(DISK, NONE_HAS, DomainDisk, source.tls, TRI_YES, "<source tls='yes'>"),
    DISK(NONE_HAS, source.readahead_bytes.set, "<readahead>"),
    DISK(NONE_HAS, source.ssl_verify, "<ssl verify>"),
    DISK(NONE_HAS, source.reconnect_delay_s.set, "<reconnect>"),
    DISK(NONE_HAS, trans, "<geometry trans>"),
    DISK(NONE_HAS, mirror, "<mirror>"),
    DISK(NONE_HAS, is_transient, "<transient>"),
    DEVICE_IF(DISK, NONE_HAS, DomainDisk, tray, TRAY_OPEN, "<target tray='open'>"),
    DISK(NONE_HAS, driver.discard_no_unref, "discard_no_unref"),
    DISK(QEMU_HAS, driver.virtio, "<driver> with iommu, ats, packed or page_per_vq"),
    DISK(QEMU_HAS, wwn, "<wwn>"),
    DISK(QEMU_HAS, vendor, "<vendor>"),
    DISK(QEMU_HAS, product, "<product>"),
    DISK(QEMU_HAS, cyls, "<geometry>"),

    NET(NONE_HAS, vlan_tags.count, "<vlan>"),
    NET(NONE_HAS, virtualport, "<virtualport>"),
    NET(NONE_HAS, filter, "<filterref>"),
    NET(NONE_HAS, script, "<script>"),
    NET(NONE_HAS, downscript, "<downscript>"),
    NET(NONE_HAS, backenddomain, "<backenddomain>"),
    NET(NONE_HAS, routes.count, "<route>"),
    NET(NONE_HAS, source_ips.count, "<source><ip>"),
    NET(NONE_HAS, guest_dev, "<guest>"),
    NET(NONE_HAS, teaming, "<teaming>"),
    NET(NONE_HAS, backend_tap, "<backend tap>"),
    NET(NONE_HAS, backend_vhost, "<backend vhost>"),
    NET(NONE_HAS, backend_log_file, "<backend logFile>"),
    NET(NONE_HAS, coalesce_rx_frames.set, "<coalesce>"),
    DEVICE_IF(INTERFACE, NONE_HAS, DomainInterface, trust_guest_rx_filters, TRI_YES,
              "trustGuestRxFilters='yes'"),
    DEVICE_IF(INTERFACE, QEMU_HAS, DomainInterface, driver, NET_DRIVER_VHOST,
              "<driver name='vhost'>"),
    NET(QEMU_HAS, virtio, "<driver> with iommu, ats, packed or page_per_vq"),
    NET(QEMU_HAS, host, "<driver><host>"),
    NET(QEMU_HAS, guest, "<driver><guest>"),
    NET(QEMU_HAS, txmode, "<driver txmode>"),
    NET(QEMU_HAS, rss, "<driver rss>"),
    NET(QEMU_HAS, tx_queue_size, "<driver tx_queue_size>"),
    NET(QEMU_HAS, sndbuf_bytes.set, "<tune><sndbuf>"),

    DEVICE(CONTROLLER, QEMU_HAS, DomainController, virtio,
           "<driver> with iommu, ats, packed or page_per_vq"),
    DEVICE(CONTROLLER, QEMU_HAS, DomainController, pcihole64, "<pcihole64>"),
    DEVICE_IF(CONTROLLER, QEMU_HAS, DomainController, hotplug, TRI_NO, "<target hotplug='off'>"),
    DEVICE(INPUT, NONE_HAS, DomainInput, model, "model"),
    DEVICE(GRAPHICS, NONE_HAS, DomainGraphics, passwd_valid_to, "passwdValidTo"),
    DEVICE_IF(VIDEO, NONE_HAS, DomainVideo, accel3d, TRI_YES, "<acceleration accel3d='yes'>"),
    DEVICE_IF(VIDEO, NONE_HAS, DomainVideo, blob, TRI_YES, "<model blob='on'>"),
    DEVICE_IF(VIDEO, NONE_HAS, DomainVideo, driver, VIDEO_DRIVER_VHOST_USER,
              "<driver name='vhostuser'>"),
    DEVICE(AUDIO, QEMU_HAS, DomainAudio, input, "<audio><input>"),
    DEVICE(AUDIO, QEMU_HAS, DomainAudio, output, "<audio><output>"),
    DEVICE(AUDIO, QEMU_HAS, DomainAudio, timer_period, "timerPeriod"),
    DEVICE(MEMBALLOON, QEMU_HAS, DomainMemballoon, virtio,
           "<driver> with iommu, ats, packed or page_per_vq"),
    DEVICE(HOSTDEV, NONE_HAS, DomainHostdev, write_filtering, "writeFiltering"),
    DEVICE(HOSTDEV, NONE_HAS, DomainHostdev, teaming, "<teaming>"),
    DEVICE_IF(HOSTDEV, NONE_HAS, DomainHostdev, rawio, TRI_YES, "rawio='yes'"),
    DEVICE(RNG, QEMU_HAS, DomainRng, virtio, "<driver> with iommu, ats, packed or page_per_vq"),
};

/* Of every device. */
static const OptionRow common_rows[] = {
    { OF_DEVICE, 0, QEMU_HAS, "<acpi index>", MEMBER(DomainDevice, acpi_index.set) },
    { OF_DEVICE, 0, QEMU_HAS, "<rom>", MEMBER(DomainDevice, rom_file) },
    { OF_DEVICE, 0, QEMU_HAS, "<rom bar>", MEMBER(DomainDevice, rom_bar) },
};

static bool is_given(const OptionRow *row, const void *owner)
{
    const uint8_t *bytes = (const uint8_t *)owner + row->offset;
    if (row->only) {
        unsigned value;
        memcpy(&value, bytes, sizeof(value));
        return value == row->only;
    }
    for (size_t i = 0; i < row->size; i++) {
        if (bytes[i]) {
            return true;
        }
    }
    return false;
}

/* NULL: @owner asks for nothing that the engine of @line lacks. */
static const OptionRow *find_refused(const CommandLine *line, const OptionRow *table, unsigned n,
                                     OptionOwner kind_of_owner, DomainDeviceKind kind,
                                     const void *owner)
{
    for (unsigned i = 0; owner && i < n; i++) {
        const OptionRow *row = &table[i];
        bool lacks = row->reach == NONE_HAS || line->engine == ENGINE_LODGE;
        if (row->owner == kind_of_owner && row->kind == kind && lacks && is_given(row, owner)) {
            return row;
        }
    }
    return NULL;
}

bool line_check_device_options(const CommandLine *line, const DomainDevice *device, GError **error)
{
    const OptionRow *row =
        find_refused(line, rows, G_N_ELEMENTS(rows), OF_DEVICE, device->kind, device)
            ?: find_refused(line, common_rows, G_N_ELEMENTS(common_rows), OF_DEVICE, 0, device);
    return !row ||
           line_refuse_unless(line, row->reach == QEMU_HAS, error, "%s of %s '%s'", row->what,
                              domain_device_kind_name(device->kind), device->alias ?: "");
}

static bool check_nvram(const CommandLine *line, GError **error)
{
    const DomainSource *source = line->def->os.nvram_source;
    if (source && source->type != SOURCE_FILE) {
        return line_refuse_unless(line, false, error, "<nvram type='%s'> (use type='file')",
                                  domain_name(source_type, source->type));
    }
    const char *what = !source                 ? NULL
                       : source->fd_group      ? "fdgroup"
                       : source->encryption    ? "<encryption>"
                       : source->slices.count  ? "<slices>"
                       : source->reservations  ? "<reservations>"
                       : source->auth_username ? "<auth>"
                                               : NULL;
    return !what ||
           line_refuse_unless(line, false, error, "<nvram type='file'><source> with %s", what);
}

static bool check_special(const CommandLine *line, GError **error)
{
    const DomainDef *def = line->def;
    /* By QEMU guest_firmware_choose() has named it. */
    if (def->os.firmware && (line->engine == ENGINE_LODGE || !def->os.loader)) {
        return line_refuse(line, error, "firmware <os firmware='%s'>",
                           domain_name(os_firmware, def->os.firmware));
    }
    if (!check_nvram(line, error)) {
        return false;
    }
    if (def->resource_partition && strcmp(def->resource_partition, "/machine") != 0) {
        return line_refuse_unless(line, false, error, "<resource><partition> '%s'",
                                  def->resource_partition);
    }
    for (unsigned i = 0; i < def->seclabels.count; i++) {
        const DomainSeclabel *label = def->seclabels.item[i];
        if (label->type == SECLABEL_STATIC) {
            return line_refuse_unless(line, false, error, "<seclabel type='static' model='%s'>",
                                      label->model ?: "none");
        }
    }
    const XmlList *pages = &def->memory_backing.pages;
    const DomainHugepage *first = pages->count ? pages->item[0] : NULL;
    if (pages->count > 1 || (first && first->nodeset)) {
        return line_refuse_unless(line, false, error,
                                  "<hugepages> of several sizes, or with a nodeset");
    }
    for (unsigned i = 0; line->engine == ENGINE_LODGE && i < def->clock.timers.count; i++) {
        const DomainTimer *timer = def->clock.timers.item[i];
        if (timer->frequency_hz ||
            (timer->name == TIMER_HYPERVCLOCK && timer->present == TRI_YES) ||
            (timer->name == TIMER_KVMCLOCK && timer->present == TRI_NO) ||
            (timer->name == TIMER_PIT && timer->present == TRI_NO)) {
            return line_refuse(line, error, "<timer name='%s'> like that",
                               domain_name(timer_name, timer->name));
        }
    }
    return true;
}

/* What names something on the command line: no commas are doubled in it. */
static bool check_word(const char *text, const char *what, GError **error)
{
    if (text && !strpbrk(text, ",=")) {
        return true;
    }
    daemon_error_set(error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
                     "unsupported configuration: %s '%s' is no word without ',' and '='", what,
                     text ?: "");
    return false;
}

static bool check_entries(const DomainSysinfoTable *table, GError **error)
{
    bool ok = true;
    for (unsigned i = 0; i < table->entries.count && ok; i++) {
        const DomainSysinfoEntry *entry = table->entries.item[i];
        ok = check_word(entry->name, "<sysinfo>: the <entry name=>", error);
    }
    return ok;
}

static bool check_words(const DomainDef *def, GError **error)
{
    const DomainCpu *cpu = def->cpu;
    bool ok = check_word(def->os.machine ?: "", "<os>: the machine", error) &&
              check_word(cpu && cpu->model ? cpu->model : "", "<cpu>: the <model>", error);
    for (unsigned i = 0; ok && cpu && i < cpu->features.count; i++) {
        const DomainCpuFeature *feature = cpu->features.item[i];
        ok = check_word(feature->name, "<cpu>: the <feature name=>", error);
    }
    for (unsigned i = 0; ok && def->os.smbios == SMBIOS_SYSINFO && i < def->sysinfos.count; i++) {
        const DomainSysinfo *info = def->sysinfos.item[i];
        ok = check_entries(&info->bios, error) && check_entries(&info->system, error) &&
             check_entries(&info->chassis, error);
        for (unsigned b = 0; ok && b < info->base_boards.count; b++) {
            ok = check_entries(info->base_boards.item[b], error);
        }
    }
    return ok;
}

bool line_check_options(const CommandLine *line, GError **error)
{
    const DomainDef *def = line->def;
    const struct {
        OptionOwner kind;
        const void *owner;
    } owners[] = { { OF_DOMAIN, def }, { OF_CPU, def->cpu }, { OF_COMMANDLINE, def->qemu } };
    for (unsigned i = 0; i < G_N_ELEMENTS(owners); i++) {
        const OptionRow *row =
            find_refused(line, rows, G_N_ELEMENTS(rows), owners[i].kind, 0, owners[i].owner);
        if (row) {
            return line_refuse_unless(line, row->reach == QEMU_HAS, error, "%s", row->what);
        }
    }
    return check_special(line, error) && check_words(def, error);
}
