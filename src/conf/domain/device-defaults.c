/* Defaults of single devices that do not depend on the other devices.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/domain/post-parse.h"

#include "gbase/error.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

int domain_disk_index(const char *target)
{
    static const char *const prefixes[] = { "fd", "hd", "vd", "sd", "xvd", "ubd" };
    const char *letters = NULL;
    for (unsigned i = 0; i < G_N_ELEMENTS(prefixes); i++) {
        if (g_str_has_prefix(target, prefixes[i])) {
            letters = target + strlen(prefixes[i]);
            break;
        }
    }
    if (letters == NULL || !g_ascii_islower(*letters) || strlen(letters) > 4) {
        return -1;
    }
    int index = 0;
    for (; g_ascii_islower(*letters); letters++) {
        index = index * 26 + (*letters - 'a') + 1;
    }
    return *letters == '\0' ? index - 1 : -1;
}

static DomainDiskBus bus_of_target(const char *target)
{
    return g_str_has_prefix(target, "hd")    ? DISK_BUS_IDE
           : g_str_has_prefix(target, "fd")  ? DISK_BUS_FDC
           : g_str_has_prefix(target, "vd")  ? DISK_BUS_VIRTIO
           : g_str_has_prefix(target, "sd")  ? DISK_BUS_SCSI
           : g_str_has_prefix(target, "xvd") ? DISK_BUS_XEN
                                             : DISK_BUS_IDE;
}

static void address_of_target(DomainDisk *disk)
{
    DomainAddress *address = &disk->device.address;
    unsigned index = (unsigned)domain_disk_index(disk->target_dev);
    if (address->type != ADDRESS_NONE) {
        return;
    }
    DomainAddress drive = { .type = ADDRESS_DRIVE };
    switch (disk->bus) {
    case DISK_BUS_SCSI:
        drive.controller = index / 7;
        drive.unit = index % 7;
        break;
    case DISK_BUS_IDE:
        drive.controller = index / 4;
        drive.bus = index % 4 / 2;
        drive.unit = index % 2;
        break;
    case DISK_BUS_SATA:
        drive.controller = index / 6;
        drive.unit = index % 6;
        break;
    case DISK_BUS_FDC:
        drive.controller = index / 2;
        drive.unit = index % 2;
        break;
    default:
        return;
    }
    *address = drive;
}

static bool fill_disk(DomainDisk *disk, GError **error)
{
    if (disk->source.type == SOURCE_NONE) {
        disk->source.type = SOURCE_FILE;
    }
    if (disk->device_type == DISK_DEVICE_NONE) {
        disk->device_type = DISK_DEVICE_DISK;
    }
    if (disk->target_dev == NULL) {
        conf_error_set(error, CONF_ERROR_NO_TARGET, "disk '%s' has no <target dev='...'>",
                       disk->source.path != NULL ? disk->source.path : "");
        return false;
    }
    if (domain_disk_index(disk->target_dev) < 0) {
        conf_error_set(error, CONF_ERROR_XML, "'%s' is no name of a disk, as vda or sdb",
                       disk->target_dev);
        return false;
    }
    if (disk->device_type == DISK_DEVICE_FLOPPY && !g_str_has_prefix(disk->target_dev, "fd")) {
        conf_error_set(error, CONF_ERROR_INTERNAL,
                       "floppy disk '%s': the target's name must begin with 'fd'",
                       disk->target_dev);
        return false;
    }
    if (disk->bus == DISK_BUS_NONE) {
        disk->bus = disk->device_type == DISK_DEVICE_FLOPPY ? DISK_BUS_FDC
                                                            : bus_of_target(disk->target_dev);
    }
    if (disk->driver.name == NULL) {
        disk->driver.name = g_strdup("qemu");
    }
    if (disk->driver.format == IMAGE_NONE && disk->source.type != SOURCE_VHOST_USER &&
        disk->source.type != SOURCE_VOLUME) {
        disk->driver.format = IMAGE_RAW;
    }
    if (disk->device_type == DISK_DEVICE_CDROM) {
        disk->is_readonly = true;
    }
    if (disk->source.encryption != NULL && disk->source.encryption->engine == NULL) {
        disk->source.encryption->engine = g_strdup("qemu");
    }
    address_of_target(disk);
    return true;
}

static const char *default_nic(const DomainDef *def, const DomainEnvironment *env)
{
    const char *model = NULL;
    if (def != NULL && domain_def_is_microvm(def)) {
        model = "virtio";
    } else if (def != NULL && env != NULL && env->default_nic != NULL) {
        model = env->default_nic(env->opaque, def->emulator);
    }
    return model ? model : "rtl8139";
}

static bool fill_interface(DomainInterface *net, const DomainDef *def, const DomainEnvironment *env,
                           GError **error)
{
    if (!net->mac.set) {
        net->mac = (MacAddress){ .byte = { 0x52, 0x54, 0x00 }, .set = true };
        if (getrandom(&net->mac.byte[3], 3, 0) != 3) {
            lodge_error_set_errno(error, EIO, "cannot get random bytes for a MAC address");
            return false;
        }
    }
    if (net->mac_type == MAC_GENERATED) {
        net->mac_type = MAC_TYPE_NONE;
    }
    if ((net->mac.byte[0] & 1) != 0) {
        conf_error_set(error, CONF_ERROR_XML,
                       "interface: MAC address %02x:%02x:... is a multicast address",
                       net->mac.byte[0], net->mac.byte[1]);
        return false;
    }
    if (net->model == NULL && net->type != INTERFACE_HOSTDEV && net->type != INTERFACE_VDPA) {
        net->model = g_strdup(default_nic(def, env));
    } else if (net->model == NULL && net->type == INTERFACE_VDPA) {
        net->model = g_strdup("virtio");
    }
    if (net->type == INTERFACE_DIRECT && net->source_mode == MACVTAP_NONE) {
        net->source_mode = MACVTAP_VEPA;
    }
    return true;
}

static void fill_graphics(DomainGraphics *graphics)
{
    bool has_ports = graphics->type == GRAPHICS_VNC || graphics->type == GRAPHICS_SPICE;
    if (!has_ports && graphics->type != GRAPHICS_RDP) {
        return;
    }
    bool is_open = true;
    if (graphics->listens.count == 0) {
        DomainGraphicsListen *listen = g_new0(DomainGraphicsListen, 1);
        listen->type = LISTEN_ADDRESS;
        xml_list_append(&graphics->listens, listen);
    } else {
        const DomainGraphicsListen *listen = graphics->listens.item[0];
        is_open = listen->type == LISTEN_ADDRESS || listen->type == LISTEN_NETWORK;
    }
    if (!is_open) {
        return;
    }
    bool is_unset = graphics->port == 0 && graphics->tls_port == 0;
    if (graphics->type == GRAPHICS_VNC && graphics->port <= 0) {
        graphics->autoport = TRI_YES;
    } else if (is_unset && graphics->autoport == TRI_ABSENT) {
        graphics->autoport = graphics->type == GRAPHICS_SPICE ? TRI_ABSENT : TRI_YES;
    } else if (graphics->autoport == TRI_ABSENT) {
        graphics->autoport = graphics->port == -1 && graphics->tls_port == -1 ? TRI_YES : TRI_NO;
    }
    if (graphics->autoport == TRI_YES) {
        graphics->port =
            graphics->type == GRAPHICS_VNC || graphics->type == GRAPHICS_RDP || graphics->port == -1
                ? -1
                : 0;
        graphics->tls_port = 0;
        if (graphics->type == GRAPHICS_SPICE) {
            graphics->port = 0;
        }
    }
}

static void fill_video(DomainVideo *video)
{
    if (video->heads == 0 && video->model != VIDEO_NO && video->model != VIDEO_BOCHS &&
        video->model != VIDEO_NONE) {
        video->heads = 1;
    }
    switch (video->model) {
    case VIDEO_NONE:
    case VIDEO_DEFAULT:
        video->model = VIDEO_CIRRUS;
        video->heads = 1;
        video->vram = video->vram != 0 ? video->vram : 16384;
        break;
    case VIDEO_VGA:
    case VIDEO_CIRRUS:
    case VIDEO_VMVGA:
    case VIDEO_BOCHS:
        if (video->vram == 0) {
            video->vram = 16384;
        }
        break;
    case VIDEO_QXL:
        video->ram = video->ram != 0 ? video->ram : 65536;
        video->vram = video->vram != 0 ? video->vram : 65536;
        video->vgamem = video->vgamem != 0 ? video->vgamem : 16384;
        break;
    default:
        break;
    }
    if (video->model == VIDEO_BOCHS) {
        video->heads = 1;
    }
}

static void fill_tpm(DomainTpm *tpm)
{
    if (tpm->model == TPM_MODEL_NONE) {
        tpm->model = TPM_TIS;
    }
    if (tpm->backend == TPM_EMULATOR && tpm->version == TPM_VERSION_NONE) {
        /* As libvirt 9.0: what is not said, is old. */
        tpm->version = tpm->model == TPM_TIS ? TPM_VERSION_1_2 : TPM_VERSION_2_0;
    }
}

/* Octal text, made "0644"; NULL stays. */
static bool fill_mode(const char *name, char **mode, GError **error)
{
    char *end = NULL;
    guint64 value = *mode != NULL ? g_ascii_strtoull(*mode, &end, 8) : 0;
    if (*mode != NULL && (!g_ascii_isdigit(**mode) || *end != '\0' || value > UINT32_MAX)) {
        conf_error_set(error, CONF_ERROR_XML, "<filesystem %s='%s'>: expected an octal number",
                       name, *mode);
        return false;
    }
    if (*mode != NULL) {
        g_free(*mode);
        *mode = g_strdup_printf("%04" G_GINT64_MODIFIER "o", value);
    }
    return true;
}

static bool fill_filesystem(DomainFilesystem *fs, GError **error)
{
    if (!fill_mode("fmode", &fs->fmode, error) || !fill_mode("dmode", &fs->dmode, error)) {
        return false;
    }
    if (fs->type == FS_TYPE_NONE) {
        fs->type = FS_MOUNT;
    }
    if (fs->access == FS_ACCESS_NONE) {
        fs->access = FS_ACCESS_PASSTHROUGH;
    }
    if (fs->type != FS_MOUNT) {
        conf_error_set(error, CONF_ERROR_UNSUPPORTED,
                       "<filesystem type='%s'> is for containers; guests have 'mount'",
                       domain_name(fs_type, fs->type));
        return false;
    }
    if ((fs->fmode != NULL || fs->dmode != NULL) && fs->access != FS_ACCESS_MAPPED) {
        conf_error_set(error, CONF_ERROR_UNSUPPORTED,
                       "fmode and dmode of <filesystem> go with accessmode='mapped' only");
        return false;
    }
    return true;
}

static bool fill_chardev(DomainChardev *chardev, DomainDeviceKind kind, GError **error)
{
    if (chardev->type == CHARDEV_NONE) {
        chardev->type = CHARDEV_PTY;
    }
    if (chardev->type == CHARDEV_TCP && chardev->protocol == TCP_PROTOCOL_NONE) {
        chardev->protocol = TCP_RAW;
    }
    if ((chardev->type == CHARDEV_TCP || chardev->type == CHARDEV_UNIX) &&
        chardev->mode == SOCKET_MODE_NONE &&
        (chardev->type == CHARDEV_TCP || chardev->path != NULL)) {
        chardev->mode = SOCKET_CONNECT;
    }
    if (chardev->type == CHARDEV_UNIX && chardev->path == NULL) {
        chardev->mode = SOCKET_MODE_NONE;
    }
    bool needs_path = chardev->type == CHARDEV_FILE || chardev->type == CHARDEV_DEV ||
                      chardev->type == CHARDEV_PIPE;
    if (needs_path && chardev->path == NULL) {
        conf_error_set(error, CONF_ERROR_INTERNAL, "%s of type '%s' has no <source path='...'>",
                       domain_device_kind_name(kind), domain_name(chardev_type, chardev->type));
        return false;
    }
    if (chardev->type == CHARDEV_TCP && (chardev->host == NULL || chardev->service == NULL)) {
        conf_error_set(error, CONF_ERROR_XML, "%s of type 'tcp' lacks host or service",
                       domain_device_kind_name(kind));
        return false;
    }
    return true;
}

static void fill_input(DomainInput *input)
{
    if (input->bus == INPUT_BUS_NONE) {
        input->bus = input->type == INPUT_PASSTHROUGH            ? INPUT_BUS_VIRTIO
                     : input->type == INPUT_TABLET               ? INPUT_BUS_USB
                     : input->type == INPUT_EVDEV                ? INPUT_BUS_NONE
                     : input->device.address.type == ADDRESS_USB ? INPUT_BUS_USB
                                                                 : INPUT_BUS_PS2;
    }
}

static void fill_hostdev(DomainHostdev *hostdev)
{
    if (hostdev->mode == HOSTDEV_MODE_NONE) {
        hostdev->mode = HOSTDEV_SUBSYSTEM;
    }
    if (hostdev->managed == TRI_ABSENT) {
        hostdev->managed = TRI_NO;
    }
    if (hostdev->type == HOSTDEV_MDEV && hostdev->mdev_model == MDEV_VFIO_PCI &&
        hostdev->display == TRI_ABSENT) {
        hostdev->display = TRI_NO;
    }
}

/* Engines know the device by it. One with other characters is dropped, as libvirt does. */
static void drop_odd_alias(DomainDevice *device)
{
    static const char allowed[] = G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "-_";
    if (device->alias != NULL && strspn(device->alias, allowed) != strlen(device->alias)) {
        g_clear_pointer(&device->alias, g_free);
    }
}

bool domain_device_post_parse(DomainDevice *device, const DomainDef *def,
                              const DomainEnvironment *env, GError **error)
{
    drop_odd_alias(device);
    switch (device->kind) {
    case DEVICE_DISK:
        return fill_disk((DomainDisk *)device, error);
    case DEVICE_INTERFACE:
        return fill_interface((DomainInterface *)device, def, env, error);
    case DEVICE_SERIAL:
    case DEVICE_PARALLEL:
    case DEVICE_CHANNEL:
    case DEVICE_CONSOLE:
        return fill_chardev(&((DomainCharDevice *)device)->source, device->kind, error);
    case DEVICE_GRAPHICS:
        fill_graphics((DomainGraphics *)device);
        return true;
    case DEVICE_VIDEO:
        fill_video((DomainVideo *)device);
        return true;
    case DEVICE_RNG: {
        DomainRng *rng = (DomainRng *)device;
        return rng->backend != RNG_EGD || fill_chardev(&rng->source, device->kind, error);
    }
    case DEVICE_REDIRDEV:
        return fill_chardev(&((DomainRedirdev *)device)->source, device->kind, error);
    case DEVICE_TPM:
        fill_tpm((DomainTpm *)device);
        return true;
    case DEVICE_FILESYSTEM:
        return fill_filesystem((DomainFilesystem *)device, error);
    case DEVICE_INPUT:
        fill_input((DomainInput *)device);
        return true;
    case DEVICE_HOSTDEV:
        fill_hostdev((DomainHostdev *)device);
        return true;
    case DEVICE_WATCHDOG:
        if (((DomainWatchdog *)device)->action == WATCHDOG_ACTION_NONE) {
            ((DomainWatchdog *)device)->action = WATCHDOG_RESET;
        }
        return true;
    case DEVICE_PANIC: {
        DomainPanic *panic = (DomainPanic *)device;
        if (panic->model == PANIC_NONE) {
            panic->model = PANIC_ISA;
        }
        return true;
    }
    case DEVICE_SHMEM:
        if (((DomainShmem *)device)->model == SHMEM_NONE) {
            ((DomainShmem *)device)->model = SHMEM_IVSHMEM;
        }
        return true;
    case DEVICE_MEMORY: {
        DomainMemory *memory = (DomainMemory *)device;
        if (memory->model == MEMORY_VIRTIO_PMEM && memory->access == MEMORY_ACCESS_NONE) {
            memory->access = NUMA_ACCESS_SHARED; /* what the guest writes is the file's */
        }
        return true;
    }
    case DEVICE_VSOCK:
        if (((DomainVsock *)device)->model == VIRTIO_MODEL_NONE) {
            ((DomainVsock *)device)->model = VIRTIO_MODEL_VIRTIO;
        }
        return true;
    default:
        return true;
    }
}
