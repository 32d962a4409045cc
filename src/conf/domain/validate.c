/* Checks of a filled-in definition that one element alone does not allow.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/cpuset.h"
#include "conf/domain/post-parse.h"
#include "conf/domain/vcpus.h"

#include <string.h>

static bool check_name(const DomainDef *def, GError **error)
{
    if (strchr(def->name, '/') != NULL || strchr(def->name, '\n') != NULL) {
        conf_error_set(error, CONF_ERROR_XML, "name '%s' contains a character that is not allowed",
                       def->name);
        return false;
    }
    if (strspn(def->name, " ") == strlen(def->name)) {
        conf_error_set(error, CONF_ERROR_XML, "the name has only white space");
        return false;
    }
    if (strlen(def->name) > 255) {
        conf_error_set(error, CONF_ERROR_XML, "the name is longer than 255 bytes");
        return false;
    }
    if (def->title != NULL && strchr(def->title, '\n') != NULL) {
        conf_error_set(error, CONF_ERROR_XML, "the title has more than one line");
        return false;
    }
    return true;
}

static bool check_identity(const DomainDef *def, GError **error)
{
    static const char *const archs[] = { "aarch64", "alpha",    "armv6l",  "armv7b",    "armv7l",
                                         "cris",    "hppa",     "i686",    "itanium",   "lm32",
                                         "m68k",    "mips",     "mips64",  "mips64el",  "mipsel",
                                         "or32",    "ppc",      "ppc64",   "ppc64le",   "ppcemb",
                                         "riscv32", "riscv64",  "s390",    "s390x",     "sh4",
                                         "sh4eb",   "sparc",    "sparc64", "unicore32", "x86_64",
                                         "xtensa",  "xtensaeb", NULL };
    if (def->virt != VIRT_QEMU && def->virt != VIRT_KVM) {
        conf_error_set(error, CONF_ERROR_UNSUPPORTED,
                       "no emulator supports the domain type '%s'; there are qemu and kvm",
                       domain_name(virt_type, def->virt));
        return false;
    }
    if (def->os.arch && !g_strv_contains(archs, def->os.arch)) {
        conf_error_set(error, CONF_ERROR_UNSUPPORTED, "Unknown architecture %s", def->os.arch);
        return false;
    }
    return true;
}

static bool check_os(const DomainDef *def, GError **error)
{
    bool is_uefi = def->os.firmware == OS_FIRMWARE_EFI || def->os.loader_type == LOADER_PFLASH;
    if (is_uefi && !def->features.acpi) {
        conf_error_set(error, CONF_ERROR_UNSUPPORTED, "UEFI firmware needs <features><acpi/>");
        return false;
    }
    if (def->os.bios_useserial == TRI_YES && DEVICES(def, DEVICE_SERIAL)->count == 0) {
        conf_error_set(error, CONF_ERROR_XML, "<bios useserial='yes'> needs a serial port");
        return false;
    }
    return true;
}

static bool check_vcpus(const DomainDef *def, GError **error)
{
    if (def->current_vcpus > def->vcpus) {
        conf_error_set(error, CONF_ERROR_UNSUPPORTED,
                       "<vcpu>: current %u is more than the maximum %u", def->current_vcpus,
                       def->vcpus);
        return false;
    }
    const DomainCpu *cpu = def->cpu;
    if (cpu != NULL && (cpu->sockets || cpu->cores || cpu->threads) &&
        !(cpu->sockets && cpu->cores && cpu->threads)) {
        conf_error_set(error, CONF_ERROR_XML, "<topology>: no number may be 0");
        return false;
    }
    if (cpu != NULL && cpu->sockets != 0) {
        uint64_t threads = (uint64_t)cpu->sockets * MAX(cpu->dies, 1) * cpu->cores * cpu->threads;
        if (threads != def->vcpus) {
            conf_error_set(error, CONF_ERROR_UNSUPPORTED,
                           "<topology> makes %" G_GUINT64_FORMAT " CPUs, <vcpu> says %u", threads,
                           def->vcpus);
            return false;
        }
    }
    if (cpu != NULL && cpu->mode == CPU_CUSTOM && cpu->model == NULL && cpu->features.count > 0) {
        conf_error_set(error, CONF_ERROR_XML, "<cpu> has features but no <model>");
        return false;
    }
    for (unsigned i = 0; cpu != NULL && i < cpu->features.count; i++) {
        const DomainCpuFeature *feature = cpu->features.item[i];
        for (unsigned j = 0; j < i; j++) {
            const DomainCpuFeature *other = cpu->features.item[j];
            if (strcmp(feature->name, other->name) == 0) {
                conf_error_set(error, CONF_ERROR_XML, "CPU feature '%s' is named twice",
                               feature->name);
                return false;
            }
        }
    }
    return true;
}

#define LABEL_MIN_KIB 128u /* of NVDIMMs: two copies of the smallest namespace index */

/* Memory that a file of the host keeps: NVDIMM and virtio-pmem. */
static bool check_persistent_memory(const DomainMemory *memory, GError **error)
{
    static const Uuid no_uuid;
    const char *model = domain_name(memory_model, memory->model);
    if (memory->source_path == NULL) {
        conf_error_set(error, CONF_ERROR_XML_DETAIL,
                       "<memory model='%s'> needs <source><path>: the file that keeps it", model);
        return false;
    }
    const char *wrong = memory->discard == TRI_YES ? "discard='yes'"
                        : memcmp(&memory->uuid, &no_uuid, sizeof(no_uuid)) != 0
                            ? "<uuid> (it is for other architectures)"
                            : NULL;
    if (memory->model == MEMORY_VIRTIO_PMEM) {
        wrong = memory->node.set ? "<node>"
                : memory->access != NUMA_ACCESS_SHARED
                    ? "access='private'; leave it out, or say 'shared'"
                    : wrong;
    }
    if (wrong != NULL) {
        conf_error_set(error, CONF_ERROR_UNSUPPORTED, "<memory model='%s'> has no %s", model,
                       wrong);
        return false;
    }
    if (memory->label_size != 0 &&
        (memory->label_size < LABEL_MIN_KIB || memory->label_size >= memory->size)) {
        conf_error_set(error, CONF_ERROR_XML,
                       "<memory model='%s'>: a <label> has at least %u KiB, and less than the "
                       "memory",
                       model, LABEL_MIN_KIB);
        return false;
    }
    return true;
}

#define BLOCK_MIN_KIB 2048u /* what the kernel's pages are put together to */

bool domain_memory_check_blocks(const DomainMemory *memory, GError **error)
{
    if (memory->block < BLOCK_MIN_KIB || (memory->block & (memory->block - 1)) != 0) {
        conf_error_set(error, CONF_ERROR_XML_DETAIL,
                       "<memory model='virtio-mem'>: its <block> is %" G_GUINT64_FORMAT
                       " KiB, but must be a power of two from %u KiB on",
                       memory->block, BLOCK_MIN_KIB);
        return false;
    }
    if (memory->requested % memory->block != 0) {
        conf_error_set(error, CONF_ERROR_XML_DETAIL,
                       "<memory model='virtio-mem'>: <requested> is %" G_GUINT64_FORMAT
                       " KiB, but must be whole blocks of %" G_GUINT64_FORMAT " KiB",
                       memory->requested, memory->block);
        return false;
    }
    if (memory->requested > memory->size) {
        conf_error_set(error, CONF_ERROR_XML_DETAIL,
                       "<memory model='virtio-mem'>: <requested> is %" G_GUINT64_FORMAT
                       " KiB, more than its <size> of %" G_GUINT64_FORMAT " KiB",
                       memory->requested, memory->size);
        return false;
    }
    return true;
}

static bool check_memory_device(const DomainDef *def, const DomainMemory *memory, GError **error)
{
    unsigned n_cells = def->cpu != NULL ? def->cpu->cells.count : 0;
    bool is_file = memory->model == MEMORY_NVDIMM || memory->model == MEMORY_VIRTIO_PMEM;
    bool needs_node = memory->model != MEMORY_VIRTIO_PMEM;
    if (n_cells > 0 && needs_node && !memory->node.set) {
        conf_error_set(error, CONF_ERROR_UNSUPPORTED,
                       "<memory model='%s'> needs <target><node>: a cell of <numa>",
                       domain_name(memory_model, memory->model));
        return false;
    }
    if (n_cells > 0 && memory->node.set && memory->node.value >= n_cells) {
        conf_error_set(error, CONF_ERROR_XML_DETAIL,
                       "<memory>: there is no node %" G_GUINT64_FORMAT "; the guest has %u",
                       memory->node.value, n_cells);
        return false;
    }
    return is_file                              ? check_persistent_memory(memory, error)
           : memory->model == MEMORY_VIRTIO_MEM ? domain_memory_check_blocks(memory, error)
                                                : true;
}

static bool check_memory(const DomainDef *def, GError **error)
{
    if (def->max_memory != 0 && def->max_memory < def->memory) {
        conf_error_set(error, CONF_ERROR_XML, "<maxMemory> is less than <memory>");
        return false;
    }
    if ((def->max_memory != 0) != (def->max_memory_slots != 0)) {
        conf_error_set(error, CONF_ERROR_XML, "<maxMemory> needs both a size and slots");
        return false;
    }
    const XmlList *dimms = DEVICES(def, DEVICE_MEMORY);
    if (dimms->count > 0 && def->max_memory == 0) {
        conf_error_set(error, CONF_ERROR_UNSUPPORTED, "memory devices need <maxMemory>");
        return false;
    }
    for (unsigned i = 0; i < dimms->count; i++) {
        if (!check_memory_device(def, dimms->item[i], error)) {
            return false;
        }
    }
    return true;
}

static bool check_tuning(const DomainDef *def, GError **error)
{
    const DomainCputune *tune = &def->cputune;
    for (unsigned i = 0; i < tune->vcpu_pins.count; i++) {
        const DomainPin *pin = tune->vcpu_pins.item[i];
        for (unsigned j = 0; j < i; j++) {
            if (((const DomainPin *)tune->vcpu_pins.item[j])->id == pin->id) {
                conf_error_set(error, CONF_ERROR_INTERNAL, "vCPU %u is pinned twice", pin->id);
                return false;
            }
        }
        CpuSet set;
        if (!cpuset_parse(pin->cpuset, &set) || cpuset_count(&set) == 0) {
            conf_error_set(error, CONF_ERROR_INVALID_ARG, "<vcpupin>: '%s' is empty", pin->cpuset);
            return false;
        }
    }
    const uint64_t periods[] = { tune->period, tune->global_period, tune->emulator_period,
                                 tune->iothread_period };
    for (unsigned i = 0; i < G_N_ELEMENTS(periods); i++) {
        if (periods[i] != 0 && (periods[i] < 1000 || periods[i] > 1000000)) {
            conf_error_set(error, CONF_ERROR_XML, "<cputune>: a period is 1000 to 1000000 us");
            return false;
        }
    }
    return true;
}

static bool check_hosts(const DomainDisk *disk, GError **error)
{
    const XmlList *hosts = &disk->source.hosts;
    for (unsigned i = 0; i < hosts->count; i++) {
        const DomainSourceHost *host = hosts->item[i];
        if (host->transport == NET_TRANSPORT_UNIX && host->socket == NULL) {
            conf_error_set(error, CONF_ERROR_XML, "disk '%s': missing socket for unix transport",
                           disk->target_dev);
            return false;
        }
    }
    return true;
}

static bool check_disk(const DomainDef *def, const DomainDisk *disk, GError **error)
{
    if (!check_hosts(disk, error)) {
        return false;
    }
    if (disk->driver.iothread > def->iothreads) {
        conf_error_set(error, CONF_ERROR_UNSUPPORTED, "disk '%s': there is no IOThread %u",
                       disk->target_dev, disk->driver.iothread);
        return false;
    }
    if (disk->driver.name != NULL && strcmp(disk->driver.name, "qemu") != 0) {
        conf_error_set(error, CONF_ERROR_UNSUPPORTED,
                       "disk '%s': there is no driver '%s'; the one there is, is 'qemu'",
                       disk->target_dev, disk->driver.name);
        return false;
    }
    if (disk->driver.io == DISK_IO_NATIVE && disk->driver.cache != DISK_CACHE_OFF &&
        disk->driver.cache != DISK_CACHE_DIRECTSYNC) {
        conf_error_set(error, CONF_ERROR_UNSUPPORTED,
                       "disk '%s': io='native' needs cache='none' or 'directsync'",
                       disk->target_dev);
        return false;
    }
    bool is_removable =
        disk->device_type == DISK_DEVICE_CDROM || disk->device_type == DISK_DEVICE_FLOPPY;
    if (!is_removable && disk->source.path == NULL &&
        (disk->source.type == SOURCE_FILE || disk->source.type == SOURCE_BLOCK)) {
        conf_error_set(error, CONF_ERROR_NO_SOURCE, "disk '%s' has no source", disk->target_dev);
        return false;
    }
    const DomainIotune *tune = &disk->iotune;
    if ((tune->total_bytes_sec && (tune->read_bytes_sec || tune->write_bytes_sec)) ||
        (tune->total_iops_sec && (tune->read_iops_sec || tune->write_iops_sec))) {
        conf_error_set(error, CONF_ERROR_XML,
                       "disk '%s': <iotune> has a limit for the total and one for a direction",
                       disk->target_dev);
        return false;
    }
    if (disk->driver.copy_on_read == TRI_YES && disk->is_readonly) {
        conf_error_set(error, CONF_ERROR_UNSUPPORTED,
                       "disk '%s': copy_on_read does not go with a read-only disk",
                       disk->target_dev);
        return false;
    }
    if (disk->bus == DISK_BUS_FDC && disk->device_type != DISK_DEVICE_FLOPPY) {
        conf_error_set(error, CONF_ERROR_UNSUPPORTED, "disk '%s': bus 'fdc' is for floppy disks",
                       disk->target_dev);
        return false;
    }
    if (disk->device_type == DISK_DEVICE_CDROM && disk->bus == DISK_BUS_VIRTIO) {
        conf_error_set(error, CONF_ERROR_XML, "disk '%s': bus 'virtio' has no CD-ROM drives",
                       disk->target_dev);
        return false;
    }
    if (disk->bus == DISK_BUS_IDE && domain_def_is_q35(def)) {
        conf_error_set(error, CONF_ERROR_UNSUPPORTED,
                       "disk '%s': machine '%s' has no IDE controller; use bus 'sata'",
                       disk->target_dev, def->os.machine);
        return false;
    }
    if (disk->serial != NULL && strspn(disk->serial, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS
                                       " ()!*+,-./:;<=>?@_") != strlen(disk->serial)) {
        conf_error_set(error, CONF_ERROR_INTERNAL, "disk '%s': serial '%s' has unsafe characters",
                       disk->target_dev, disk->serial);
        return false;
    }
    return true;
}

static bool check_disks(const DomainDef *def, GError **error)
{
    const XmlList *list = DEVICES(def, DEVICE_DISK);
    for (unsigned i = 0; i < list->count; i++) {
        const DomainDisk *disk = list->item[i];
        if (!check_disk(def, disk, error)) {
            return false;
        }
        for (unsigned j = 0; j < i; j++) {
            const DomainDisk *other = list->item[j];
            if (strcmp(disk->target_dev, other->target_dev) == 0) {
                conf_error_set(error, CONF_ERROR_XML, "two disks have the target '%s'",
                               disk->target_dev);
                return false;
            }
        }
    }
    return true;
}

typedef struct Seen {
    GHashTable *keys;
    const DomainDef *def;
    GError **error;
} Seen;

static bool claim(Seen *seen, char *key, ConfErrorCode code, const char *what)
{
    if (!g_hash_table_add(seen->keys, key)) {
        conf_error_set(seen->error, code, "%s '%s' is used by two devices", what, key + 2);
        return false;
    }
    return true;
}

static bool check_unique(DomainDevice *device, void *opaque)
{
    Seen *seen = opaque;
    const DomainAddress *at = &device->address;
    if (at->type == ADDRESS_PCI &&
        !claim(seen,
               g_strdup_printf("p %04x:%02x:%02x.%x", at->domain, at->bus, at->slot, at->function),
               CONF_ERROR_XML, "PCI address")) {
        return false;
    }
    if (device->kind == DEVICE_DISK && at->type == ADDRESS_DRIVE) {
        const DomainDisk *disk = (const DomainDisk *)device;
        if (!claim(seen,
                   g_strdup_printf("d %s %u:%u:%u:%u", domain_name(disk_bus, disk->bus),
                                   at->controller, at->bus, at->target, at->unit),
                   CONF_ERROR_XML, "drive address")) {
            return false;
        }
    }
    if (device->boot_order > 0 && seen->def->os.boots.count > 0) {
        conf_error_set(seen->error, CONF_ERROR_UNSUPPORTED,
                       "<boot order='%u'/> of a device cannot be used together with <os><boot>; "
                       "take one of them out",
                       device->boot_order);
        return false;
    }
    if (device->boot_order > 0 && !claim(seen, g_strdup_printf("b %u", device->boot_order),
                                         CONF_ERROR_UNSUPPORTED, "boot order")) {
        return false;
    }
    bool shares_alias = device->kind == DEVICE_CONSOLE;
    return device->alias == NULL || shares_alias ||
           claim(seen, g_strdup_printf("a %s", device->alias), CONF_ERROR_UNSUPPORTED, "alias");
}

static bool check_devices(const DomainDef *def, GError **error)
{
    g_autoptr(GHashTable) keys = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    Seen seen = { keys, def, error };
    if (!domain_def_for_each(def, check_unique, &seen)) {
        return false;
    }
    const XmlList *controllers = DEVICES(def, DEVICE_CONTROLLER);
    const DomainController *root = domain_def_controller(def, CONTROLLER_PCI, 0);
    DomainControllerModel root_model =
        domain_def_is_q35(def) ? PCI_MODEL_PCIE_ROOT : PCI_MODEL_ROOT;
    if (root != NULL && root->model != root_model) {
        conf_error_set(error, CONF_ERROR_XML,
                       "PCI controller 0 of machine '%s' must be '%s', not '%s'", def->os.machine,
                       domain_name(controller_model, root_model),
                       domain_name(controller_model, root->model));
        return false;
    }
    for (unsigned i = 0; i < controllers->count; i++) {
        const DomainController *controller = controllers->item[i];
        for (unsigned j = 0; j < i; j++) {
            const DomainController *other = controllers->item[j];
            if (controller->type == other->type && controller->index.value == other->index.value &&
                controller->type != CONTROLLER_USB) {
                conf_error_set(error, CONF_ERROR_XML, "two '%s' controllers have the index %u",
                               domain_name(controller_type, controller->type),
                               (unsigned)controller->index.value);
                return false;
            }
        }
    }
    static const DomainDeviceKind single[] = { DEVICE_MEMBALLOON, DEVICE_NVRAM, DEVICE_IOMMU,
                                               DEVICE_VSOCK, DEVICE_REDIRFILTER };
    for (unsigned i = 0; i < G_N_ELEMENTS(single); i++) {
        if (DEVICES(def, single[i])->count > 1) {
            conf_error_set(error, CONF_ERROR_XML, "only one <%s> is supported",
                           domain_device_kind_name(single[i]));
            return false;
        }
    }
    const XmlList *vsocks = DEVICES(def, DEVICE_VSOCK);
    const DomainVsock *vsock = vsocks->count ? vsocks->item[0] : NULL;
    if (vsock && vsock->cid.set && vsock->cid.value < 3) {
        conf_error_set(error, CONF_ERROR_UNSUPPORTED, "guest CIDs must be >= 3");
        return false;
    }
    const XmlList *videos = DEVICES(def, DEVICE_VIDEO);
    for (unsigned i = 1; i < videos->count; i++) {
        if (((const DomainVideo *)videos->item[i])->primary == TRI_YES) {
            conf_error_set(error, CONF_ERROR_UNSUPPORTED,
                           "only one video device is the primary one");
            return false;
        }
    }
    return true;
}

static bool check_tpm(const DomainTpm *tpm, const DomainDef *def, GError **error)
{
    bool is_power = def->os.arch && g_str_has_prefix(def->os.arch, "ppc64");
    if (tpm->model == TPM_CRB && tpm->version == TPM_VERSION_1_2) {
        conf_error_set(error, CONF_ERROR_UNSUPPORTED,
                       "model 'tpm-crb' is no TPM of version 1.2; use version='2.0' or 'tpm-tis'");
        return false;
    }
    if ((tpm->model == TPM_SPAPR || tpm->model == TPM_SPAPR_PROXY) && !is_power) {
        conf_error_set(error, CONF_ERROR_UNSUPPORTED,
                       "TPM model '%s' is for pSeries machines; use 'tpm-crb' or 'tpm-tis'",
                       domain_name(tpm_model, tpm->model));
        return false;
    }
    if (tpm->active_pcr_banks && tpm->version != TPM_VERSION_2_0) {
        conf_error_set(error, CONF_ERROR_XML, "<active_pcr_banks> needs a TPM of version 2.0");
        return false;
    }
    return true;
}

static bool check_tpms(const DomainDef *def, GError **error)
{
    const XmlList *tpms = DEVICES(def, DEVICE_TPM);
    unsigned n = 0;
    for (unsigned i = 0; i < tpms->count; i++) {
        const DomainTpm *tpm = tpms->item[i];
        n += tpm->model != TPM_SPAPR_PROXY;
        if (!check_tpm(tpm, def, error)) {
            return false;
        }
    }
    if (n > 1) {
        conf_error_set(error, CONF_ERROR_UNSUPPORTED, "only one <tpm> is supported");
    }
    return n <= 1;
}

/* Whether all memory can be mapped by another process too. */
static bool has_shared_memory(const DomainDef *def)
{
    bool by_default = def->memory_backing.access == NUMA_ACCESS_SHARED;
    const DomainCpu *cpu = def->cpu;
    for (unsigned i = 0; cpu != NULL && i < cpu->cells.count; i++) {
        const DomainNumaCell *cell = cpu->cells.item[i];
        if (cell->access ? cell->access != NUMA_ACCESS_SHARED : !by_default) {
            return false;
        }
    }
    return by_default || (cpu != NULL && cpu->cells.count > 0);
}

static bool check_virtiofs(const DomainFilesystem *fs, const DomainDef *def, GError **error)
{
    const char *wrong = fs->type != FS_MOUNT ? "type='mount' alone"
                        : fs->access && fs->access != FS_ACCESS_PASSTHROUGH
                            ? "accessmode='passthrough' alone"
                        : fs->multidevs          ? "no multidevs"
                        : fs->fmode || fs->dmode ? "no fmode or dmode"
                        : fs->model              ? "no model"
                        : fs->is_readonly ? "no <readonly/>; make the folder read-only on the host"
                                          : NULL;
    if (wrong != NULL) {
        conf_error_set(error, CONF_ERROR_UNSUPPORTED, "filesystem '%s': virtiofs has %s",
                       fs->target_dir, wrong);
        return false;
    }
    if (fs->source_dir == NULL && fs->source_socket == NULL) {
        conf_error_set(error, CONF_ERROR_NO_SOURCE, "filesystem '%s': <source> is missing",
                       fs->target_dir);
        return false;
    }
    if (!has_shared_memory(def)) {
        conf_error_set(error, CONF_ERROR_UNSUPPORTED,
                       "filesystem '%s': virtiofs needs memory that virtiofsd can map too: add "
                       "<memoryBacking><source type='memfd'/><access mode='shared'/>"
                       "</memoryBacking> to the domain",
                       fs->target_dir);
        return false;
    }
    return true;
}

static bool check_filesystems(const DomainDef *def, GError **error)
{
    const XmlList *list = DEVICES(def, DEVICE_FILESYSTEM);
    for (unsigned i = 0; i < list->count; i++) {
        const DomainFilesystem *fs = list->item[i];
        if (fs->driver == FS_DRIVER_VIRTIOFS && !check_virtiofs(fs, def, error)) {
            return false;
        }
        for (unsigned j = 0; j < i; j++) {
            const DomainFilesystem *other = list->item[j];
            if (g_strcmp0(fs->target_dir, other->target_dir) == 0) {
                conf_error_set(error, CONF_ERROR_UNSUPPORTED,
                               "two filesystems have the target '%s'", fs->target_dir);
                return false;
            }
        }
    }
    return true;
}

static bool check_scsi_hostdev(const DomainHostdev *hostdev, GError **error)
{
    bool is_iscsi = g_strcmp0(hostdev->scsi_protocol, "iscsi") == 0;
    if (hostdev->scsi_protocol != NULL && !is_iscsi &&
        strcmp(hostdev->scsi_protocol, "adapter") != 0) {
        conf_error_set(error, CONF_ERROR_UNSUPPORTED,
                       "<hostdev type='scsi'>: there is no protocol '%s'; 'adapter' and 'iscsi' "
                       "are",
                       hostdev->scsi_protocol);
        return false;
    }
    if (g_strcmp0(hostdev->sgio, "unfiltered") == 0) {
        conf_error_set(error, CONF_ERROR_UNSUPPORTED,
                       "<hostdev type='scsi'>: no kernel has sgio='unfiltered' any more");
        return false;
    }
    if (!is_iscsi && (hostdev->scsi_adapter == NULL || !hostdev->scsi_bus.set ||
                      !hostdev->scsi_target.set || !hostdev->scsi_unit.set)) {
        conf_error_set(error, CONF_ERROR_XML,
                       "<hostdev type='scsi'> needs <adapter name='scsi_hostN'/> and "
                       "<address bus= target= unit=/> in its <source>");
        return false;
    }
    return true;
}

static bool check_hostdevs(const DomainDef *def, GError **error)
{
    const XmlList *list = DEVICES(def, DEVICE_HOSTDEV);
    for (unsigned i = 0; i < list->count; i++) {
        const DomainHostdev *hostdev = list->item[i];
        if (hostdev->type == HOSTDEV_SCSI && !check_scsi_hostdev(hostdev, error)) {
            return false;
        }
    }
    return true;
}

bool domain_def_check_lifecycle(const DomainDef *def, GError **error)
{
    const struct {
        const char *element;
        DomainLifecycle action;
        bool is_crash;
    } ends[] = { { "on_poweroff", def->on_poweroff, false },
                 { "on_reboot", def->on_reboot, false },
                 { "on_crash", def->on_crash, true } };
    for (unsigned i = 0; i < G_N_ELEMENTS(ends); i++) {
        DomainLifecycle action = ends[i].action;
        bool is_known = action == LIFECYCLE_NONE || action == LIFECYCLE_DESTROY ||
                        action == LIFECYCLE_RESTART ||
                        (ends[i].is_crash && action != LIFECYCLE_RENAME_RESTART);
        if (!is_known) {
            conf_error_set(error, CONF_ERROR_UNSUPPORTED,
                           "<%s>: '%s' is not for this element: 'destroy' and 'restart' are%s",
                           ends[i].element, domain_name(lifecycle, action),
                           ends[i].is_crash ? ", 'preserve', 'coredump-destroy' and "
                                              "'coredump-restart'"
                                            : "");
            return false;
        }
    }
    /* QEMU makes one of both where reboots end a guest, so the one cannot be undone alone. */
    if (def->on_poweroff == LIFECYCLE_RESTART && def->on_reboot == LIFECYCLE_DESTROY) {
        conf_error_set(error, CONF_ERROR_UNSUPPORTED,
                       "<on_poweroff>restart</on_poweroff> cannot be together with "
                       "<on_reboot>destroy</on_reboot>");
        return false;
    }
    return true;
}

/* The name is one of a file in /dev/shm. */
static bool check_shmem(const DomainShmem *shmem, GError **error)
{
    const char *name = shmem->name != NULL ? shmem->name : "";
    const char *fault = strchr(name, '/') != NULL ? "cannot include '/' character"
                        : *name == '\0'           ? "cannot be empty"
                        : strcmp(name, ".") == 0  ? "cannot be equal to '.'"
                        : strcmp(name, "..") == 0 ? "cannot be equal to '..'"
                                                  : NULL;
    if (fault != NULL) {
        conf_error_set(error, CONF_ERROR_UNSUPPORTED, "<shmem name='%s'>: shmem name %s", name,
                       fault);
        return false;
    }
    bool is_doorbell = shmem->model == SHMEM_IVSHMEM_DOORBELL;
    if ((is_doorbell && !shmem->has_server) ||
        (shmem->model == SHMEM_IVSHMEM_PLAIN && shmem->has_server)) {
        conf_error_set(error, CONF_ERROR_UNSUPPORTED,
                       "<shmem name='%s'>: shmem model '%s' is supported only with server option "
                       "%s",
                       name, is_doorbell ? "ivshmem-doorbell" : "ivshmem-plain",
                       is_doorbell ? "enabled" : "disabled");
        return false;
    }
    return true;
}

static bool check_shmems(const DomainDef *def, GError **error)
{
    const XmlList *list = DEVICES(def, DEVICE_SHMEM);
    for (unsigned i = 0; i < list->count; i++) {
        if (!check_shmem(list->item[i], error)) {
            return false;
        }
    }
    return true;
}

bool domain_def_validate(const DomainDef *def, GError **error)
{
    return check_name(def, error) && check_identity(def, error) && check_os(def, error) &&
           domain_def_check_lifecycle(def, error) && check_vcpus(def, error) &&
           domain_def_check_vcpus(def, error) && check_memory(def, error) &&
           check_tuning(def, error) && check_disks(def, error) && check_devices(def, error) &&
           check_tpms(def, error) && check_filesystems(def, error) &&
           domain_def_check_audio(def, error) && check_hostdevs(def, error) &&
           check_shmems(def, error);
}
