/* The table of devices. Rows of a property stand together, in libvirt's order.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/device-table.h"

static const char *const redirdev_buses[] = { [REDIRDEV_USB] = "usb" };
static const XmlEnum redirdev_bus_names = { redirdev_buses, G_N_ELEMENTS(redirdev_buses) };

const DevicePropertyInfo device_properties[DEVICE_PROPERTIES] = {
    [PROPERTY_DISK_DEVICE] = { "disk", "diskDevice", &disk_device_names },
    [PROPERTY_DISK_BUS] = { "disk", "bus", &disk_bus_names },
    [PROPERTY_DISK_MODEL] = { "disk", "model", &virtio_model_names },
    [PROPERTY_GRAPHICS] = { "graphics", "type", &graphics_type_names },
    [PROPERTY_VIDEO] = { "video", "modelType", &video_model_names },
    [PROPERTY_HOSTDEV_MODE] = { "hostdev", "mode", &hostdev_mode_names },
    [PROPERTY_HOSTDEV_STARTUP] = { "hostdev", "startupPolicy", &startup_policy_names },
    [PROPERTY_HOSTDEV_TYPE] = { "hostdev", "subsysType", &hostdev_type_names },
    [PROPERTY_RNG_MODEL] = { "rng", "model", &virtio_model_names },
    [PROPERTY_RNG_BACKEND] = { "rng", "backendModel", &rng_backend_names },
    [PROPERTY_FILESYSTEM] = { "filesystem", "driverType", &fs_driver_names },
    [PROPERTY_TPM] = { "tpm", "model", &tpm_model_names },
    [PROPERTY_TPM_BACKEND] = { "tpm", "backendModel", &tpm_backend_names },
    [PROPERTY_TPM_VERSION] = { "tpm", "backendVersion", &tpm_version_names },
    [PROPERTY_REDIRDEV] = { "redirdev", "bus", &redirdev_bus_names },
    [PROPERTY_CHANNEL] = { "channel", "type", &chardev_type_names },
    [PROPERTY_MEMORY_SOURCE] = { NULL, NULL, &memory_source_names },
    [PROPERTY_BALLOON] = { NULL, NULL, &balloon_model_names },
    [PROPERTY_CHARDEV] = { NULL, NULL, &chardev_type_names },
    [PROPERTY_INPUT_BUS] = { NULL, NULL, &input_bus_names },
    [PROPERTY_INTERFACE] = { NULL, NULL, &interface_type_names },
    [PROPERTY_MDEV] = { NULL, NULL, &mdev_model_names },
    [PROPERTY_SERIAL] = { NULL, NULL, &serial_target_names },
    [PROPERTY_SOUND] = { NULL, NULL, &sound_model_names },
    [PROPERTY_VSOCK] = { NULL, NULL, &virtio_model_names },
    [PROPERTY_WATCHDOG] = { NULL, NULL, &watchdog_model_names },
};

#define BOTH(word)                                                                                 \
    {                                                                                              \
        [ENGINE_LODGE] = word, [ENGINE_QEMU] = word                                                \
    }
#define QEMU(word)                                                                                 \
    {                                                                                              \
        [ENGINE_QEMU] = word                                                                       \
    }

const DeviceValue device_values[] = {
    { PROPERTY_DISK_DEVICE, DISK_DEVICE_DISK, BOTH("disk"), "virtio-blk-device" },
    { PROPERTY_DISK_DEVICE, DISK_DEVICE_CDROM, QEMU("cd"), "ide-cd" },
    { PROPERTY_DISK_DEVICE, DISK_DEVICE_FLOPPY, QEMU("floppy"), "floppy" },

    { PROPERTY_DISK_BUS, DISK_BUS_IDE, QEMU("ide"), "piix3-ide" },
    { PROPERTY_DISK_BUS, DISK_BUS_FDC, QEMU("floppy"), "floppy" },
    { PROPERTY_DISK_BUS, DISK_BUS_SCSI, QEMU("scsi"), "virtio-scsi-device" },
    { PROPERTY_DISK_BUS, DISK_BUS_VIRTIO, BOTH("blk"), "virtio-blk-device" },
    { PROPERTY_DISK_BUS, DISK_BUS_USB, QEMU("usb-storage"), "usb-storage" },
    { PROPERTY_DISK_BUS, DISK_BUS_SATA, QEMU("ide"), "ich9-ahci" },

    { PROPERTY_DISK_MODEL, VIRTIO_MODEL_VIRTIO, BOTH(""), "virtio-blk-device" },
    { PROPERTY_DISK_MODEL, VIRTIO_MODEL_TRANSITIONAL,
      BOTH(",disable-legacy=off,disable-modern=off"), "virtio-blk-device" },
    { PROPERTY_DISK_MODEL, VIRTIO_MODEL_NON_TRANSITIONAL,
      BOTH(",disable-legacy=on,disable-modern=off"), "virtio-blk-device" },

    { PROPERTY_GRAPHICS, GRAPHICS_VNC, QEMU("vnc"), "VGA" },

    { PROPERTY_VIDEO, VIDEO_VGA, QEMU("VGA"), "VGA" },
    { PROPERTY_VIDEO, VIDEO_CIRRUS, QEMU("cirrus-vga"), "cirrus-vga" },
    { PROPERTY_VIDEO, VIDEO_VMVGA, QEMU("vmware-svga"), "vmware-svga" },
    { PROPERTY_VIDEO, VIDEO_QXL, QEMU("qxl-vga"), "qxl-vga" },
    { PROPERTY_VIDEO, VIDEO_VIRTIO, QEMU("virtio-vga"), "virtio-vga" },
    { PROPERTY_VIDEO, VIDEO_NO, BOTH(""), "VGA" },
    { PROPERTY_VIDEO, VIDEO_BOCHS, QEMU("bochs-display"), "bochs-display" },
    { PROPERTY_VIDEO, VIDEO_RAMFB, QEMU("ramfb"), "ramfb" },

    { PROPERTY_HOSTDEV_MODE, HOSTDEV_SUBSYSTEM, QEMU(""), "usb-host" },
    { PROPERTY_HOSTDEV_STARTUP, STARTUP_MANDATORY, QEMU(""), "usb-host" },
    { PROPERTY_HOSTDEV_STARTUP, STARTUP_REQUISITE, QEMU(""), "usb-host" },
    { PROPERTY_HOSTDEV_STARTUP, STARTUP_OPTIONAL, QEMU(""), "usb-host" },
    { PROPERTY_HOSTDEV_TYPE, HOSTDEV_USB, QEMU("usb-host"), "usb-host" },
    { PROPERTY_HOSTDEV_TYPE, HOSTDEV_SCSI, QEMU("scsi-generic"), "scsi-generic" },
    { PROPERTY_HOSTDEV_TYPE, HOSTDEV_PCI, QEMU("vfio-pci"), "vfio-pci" },

    { PROPERTY_RNG_MODEL, VIRTIO_MODEL_VIRTIO, BOTH(""), "virtio-rng-device" },
    { PROPERTY_RNG_MODEL, VIRTIO_MODEL_TRANSITIONAL, BOTH(",disable-legacy=off,disable-modern=off"),
      "virtio-rng-device" },
    { PROPERTY_RNG_MODEL, VIRTIO_MODEL_NON_TRANSITIONAL,
      BOTH(",disable-legacy=on,disable-modern=off"), "virtio-rng-device" },

    { PROPERTY_RNG_BACKEND, RNG_RANDOM, BOTH("rng-random"), "virtio-rng-device" },
    { PROPERTY_RNG_BACKEND, RNG_EGD, QEMU("rng-egd"), "virtio-rng-device" },
    { PROPERTY_RNG_BACKEND, RNG_BUILTIN, BOTH("rng-builtin"), "virtio-rng-device" },

    { PROPERTY_FILESYSTEM, FS_DRIVER_PATH, QEMU("local"), "virtio-9p-device" },
    { PROPERTY_FILESYSTEM, FS_DRIVER_VIRTIOFS, QEMU("vhost-user-fs"), "vhost-user-fs-device" },

    { PROPERTY_TPM, TPM_TIS, QEMU("tpm-tis"), "tpm-tis" },
    { PROPERTY_TPM, TPM_CRB, QEMU("tpm-crb"), "tpm-crb" },
    { PROPERTY_TPM, TPM_SPAPR, QEMU("tpm-spapr"), "tpm-spapr" },

    { PROPERTY_TPM_BACKEND, TPM_PASSTHROUGH, QEMU("passthrough"), "tpm-tis" },
    { PROPERTY_TPM_BACKEND, TPM_EMULATOR, QEMU("emulator"), "tpm-tis" },
    { PROPERTY_TPM_BACKEND, TPM_EXTERNAL, QEMU("emulator"), "tpm-tis" },

    { PROPERTY_TPM_VERSION, TPM_VERSION_1_2, QEMU(""), "tpm-tis" },
    { PROPERTY_TPM_VERSION, TPM_VERSION_2_0, QEMU("--tpm2"), "tpm-tis" },

    { PROPERTY_REDIRDEV, REDIRDEV_USB, QEMU("usb-redir"), "usb-redir" },

    { PROPERTY_CHANNEL, CHARDEV_PTY, BOTH("pty"), "virtserialport" },
    { PROPERTY_CHANNEL, CHARDEV_UNIX, BOTH("socket"), "virtserialport" },

    { PROPERTY_MEMORY_SOURCE, MEMORY_SOURCE_ANONYMOUS, BOTH("memory-backend-ram"), NULL },
    { PROPERTY_MEMORY_SOURCE, MEMORY_SOURCE_MEMFD, BOTH("memory-backend-memfd"), NULL },

    { PROPERTY_AUDIO, AUDIO_NOWHERE, BOTH("none"), NULL },
    { PROPERTY_AUDIO, AUDIO_ALSA, QEMU("alsa"), NULL },
    { PROPERTY_AUDIO, AUDIO_COREAUDIO, QEMU("coreaudio"), NULL },
    { PROPERTY_AUDIO, AUDIO_JACK, QEMU("jack"), NULL },
    { PROPERTY_AUDIO, AUDIO_OSS, QEMU("oss"), NULL },
    { PROPERTY_AUDIO, AUDIO_PULSEAUDIO, QEMU("pa"), NULL },
    { PROPERTY_AUDIO, AUDIO_SDL, QEMU("sdl"), NULL },
    { PROPERTY_AUDIO, AUDIO_FILE, QEMU("wav"), NULL },
    { PROPERTY_AUDIO, AUDIO_DBUS, QEMU("dbus"), NULL },

    { PROPERTY_BALLOON, BALLOON_VIRTIO, BOTH(""), NULL },
    { PROPERTY_BALLOON, BALLOON_TRANSITIONAL, BOTH(",disable-legacy=off,disable-modern=off"),
      NULL },
    { PROPERTY_BALLOON, BALLOON_NON_TRANSITIONAL, BOTH(",disable-legacy=on,disable-modern=off"),
      NULL },
    { PROPERTY_BALLOON, BALLOON_NO, BOTH(""), NULL },

    { PROPERTY_CHARDEV, CHARDEV_NULL, BOTH("null"), NULL },
    { PROPERTY_CHARDEV, CHARDEV_PTY, BOTH("pty"), NULL },
    { PROPERTY_CHARDEV, CHARDEV_DEV, QEMU("serial"), NULL },
    { PROPERTY_CHARDEV, CHARDEV_FILE, BOTH("file"), NULL },
    { PROPERTY_CHARDEV, CHARDEV_PIPE, BOTH("pipe"), NULL },
    { PROPERTY_CHARDEV, CHARDEV_UDP, QEMU("udp"), NULL },
    { PROPERTY_CHARDEV, CHARDEV_TCP, BOTH("socket"), NULL },
    { PROPERTY_CHARDEV, CHARDEV_UNIX, BOTH("socket"), NULL },
    { PROPERTY_CHARDEV, CHARDEV_QEMU_VDAGENT, QEMU("qemu-vdagent"), NULL },

    { PROPERTY_INPUT_BUS, INPUT_BUS_PS2, BOTH(""), NULL }, /* the machine has them */
    { PROPERTY_INPUT_BUS, INPUT_BUS_USB, QEMU("usb"), NULL },
    { PROPERTY_INPUT_BUS, INPUT_BUS_VIRTIO, QEMU("virtio"), NULL },

    { PROPERTY_INTERFACE, INTERFACE_USER, BOTH("user"), NULL },
    { PROPERTY_INTERFACE, INTERFACE_ETHERNET, BOTH("tap"), NULL },
    { PROPERTY_INTERFACE, INTERFACE_BRIDGE, BOTH("tap"), NULL },
    { PROPERTY_INTERFACE, INTERFACE_DIRECT, BOTH("tap"), NULL },
    { PROPERTY_INTERFACE, INTERFACE_SERVER, QEMU("socket"), NULL },
    { PROPERTY_INTERFACE, INTERFACE_CLIENT, QEMU("socket"), NULL },
    { PROPERTY_INTERFACE, INTERFACE_MCAST, QEMU("socket"), NULL },
    { PROPERTY_INTERFACE, INTERFACE_UDP, QEMU("socket"), NULL },

    { PROPERTY_MDEV, MDEV_VFIO_PCI, QEMU("vfio-pci"), NULL },

    { PROPERTY_SERIAL, SERIAL_ISA, BOTH("isa-serial"), NULL },
    { PROPERTY_SERIAL, SERIAL_ISA_DEBUG, BOTH("isa-debugcon"), NULL },
    { PROPERTY_SERIAL, SERIAL_PCI, QEMU("pci-serial"), NULL },
    { PROPERTY_SERIAL, SERIAL_USB, QEMU("usb-serial"), NULL },

    { PROPERTY_SOUND, SOUND_SB16, QEMU("sb16"), NULL },
    { PROPERTY_SOUND, SOUND_ES1370, QEMU("ES1370"), NULL },
    { PROPERTY_SOUND, SOUND_AC97, QEMU("AC97"), NULL },
    { PROPERTY_SOUND, SOUND_ICH6, QEMU("intel-hda"), NULL },
    { PROPERTY_SOUND, SOUND_ICH9, QEMU("ich9-intel-hda"), NULL },
    { PROPERTY_SOUND, SOUND_USB, QEMU("usb-audio"), NULL },

    { PROPERTY_VSOCK, VIRTIO_MODEL_VIRTIO, QEMU(""), NULL },
    { PROPERTY_VSOCK, VIRTIO_MODEL_TRANSITIONAL, QEMU("-transitional"), NULL },
    { PROPERTY_VSOCK, VIRTIO_MODEL_NON_TRANSITIONAL, QEMU("-non-transitional"), NULL },

    { PROPERTY_WATCHDOG, WATCHDOG_I6300ESB, QEMU("i6300esb"), NULL },
    { PROPERTY_WATCHDOG, WATCHDOG_IB700, QEMU("ib700"), NULL },
    { PROPERTY_WATCHDOG, WATCHDOG_ITCO, QEMU("itco"), NULL }, /* the chipset's */
};

const unsigned device_n_values = G_N_ELEMENTS(device_values);

bool device_table_has(DeviceProperty property, int value, GuestEngine engine)
{
    return device_table_word(property, value, engine) != NULL;
}

const char *device_table_word(DeviceProperty property, int value, GuestEngine engine)
{
    for (unsigned i = 0; i < device_n_values; i++) {
        const DeviceValue *row = &device_values[i];
        if (row->property == property && row->value == value) {
            return row->device[engine];
        }
    }
    return NULL;
}
