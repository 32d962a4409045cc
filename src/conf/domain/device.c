/* What all devices have in common: address, alias, boot order, option ROM; and the table of kinds.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/domain/tables.h"

const XmlField pci_address_fields[] = {
    XML_ATTR(DomainAddress, domain, "domain", xml_u32, .width = 4, .max = 0xffffffff,
             .flags = XML_ALWAYS),
    XML_ATTR(DomainAddress, bus, "bus", xml_u32, .width = 2, .max = 0xff, .flags = XML_ALWAYS),
    XML_ATTR(DomainAddress, slot, "slot", xml_u32, .width = 2, .max = 0x1f, .flags = XML_ALWAYS),
    XML_ATTR(DomainAddress, function, "function", xml_u32, .width = 1, .max = 7,
             .flags = XML_ALWAYS),
    XML_ATTR_ENUM(DomainAddress, multifunction, "multifunction", on_off_names),
    XML_END,
};

static const XmlField drive_address_fields[] = {
    XML_ATTR(DomainAddress, controller, "controller", xml_u32, .flags = XML_ALWAYS),
    XML_ATTR(DomainAddress, bus, "bus", xml_u32, .flags = XML_ALWAYS),
    XML_ATTR(DomainAddress, target, "target", xml_u32, .flags = XML_ALWAYS),
    XML_ATTR(DomainAddress, unit, "unit", xml_u32, .flags = XML_ALWAYS),
    XML_END,
};

static const XmlField virtio_serial_address_fields[] = {
    XML_ATTR(DomainAddress, controller, "controller", xml_u32, .flags = XML_ALWAYS),
    XML_ATTR(DomainAddress, bus, "bus", xml_u32, .flags = XML_ALWAYS),
    XML_ATTR(DomainAddress, port, "port", xml_u32, .flags = XML_ALWAYS),
    XML_END,
};

static const XmlField ccid_address_fields[] = {
    XML_ATTR(DomainAddress, controller, "controller", xml_u32, .flags = XML_ALWAYS),
    XML_ATTR(DomainAddress, slot, "slot", xml_u32, .flags = XML_ALWAYS),
    XML_END,
};

static const XmlField usb_address_fields[] = {
    XML_ATTR(DomainAddress, bus, "bus", xml_u32, .flags = XML_ALWAYS),
    XML_ATTR_STR(DomainAddress, usb_port, "port"),
    XML_END,
};

static const XmlField isa_address_fields[] = {
    XML_ATTR(DomainAddress, iobase, "iobase", xml_opt, .width = 1, .max = 0xffff),
    XML_ATTR(DomainAddress, irq, "irq", xml_opt, .width = 1, .max = 0xff),
    XML_END,
};

static const XmlField dimm_address_fields[] = {
    XML_ATTR(DomainAddress, slot, "slot", xml_u32, .flags = XML_ALWAYS),
    XML_ATTR(DomainAddress, base, "base", xml_opt, .width = 1),
    XML_END,
};

static const XmlField ccw_address_fields[] = {
    XML_ATTR_STR(DomainAddress, cssid, "cssid"),
    XML_ATTR_STR(DomainAddress, ssid, "ssid"),
    XML_ATTR_STR(DomainAddress, devno, "devno"),
    XML_END,
};

static const XmlField *const address_variants[] = {
    [ADDRESS_PCI] = pci_address_fields,
    [ADDRESS_DRIVE] = drive_address_fields,
    [ADDRESS_VIRTIO_SERIAL] = virtio_serial_address_fields,
    [ADDRESS_CCID] = ccid_address_fields,
    [ADDRESS_USB] = usb_address_fields,
    [ADDRESS_CCW] = ccw_address_fields,
    [ADDRESS_ISA] = isa_address_fields,
    [ADDRESS_DIMM] = dimm_address_fields,
};

const XmlField address_fields[] = {
    XML_ATTR_ENUM(DomainAddress, type, "type", address_type_names, .flags = XML_REQUIRED,
                  .invalid = CONF_ERROR_UNSUPPORTED),
    XML_VARIANT(DomainAddress, type, address_variants),
    XML_END,
};

const XmlField device_fields[] = {
    XML_NEST("boot",
             FIELDS(XML_ATTR(DomainDevice, boot_order, "order", xml_ordinal, .flags = XML_REQUIRED),
                    XML_ATTR_STR(DomainDevice, boot_loadparm, "loadparm"))),
    XML_NEST("alias", FIELDS(XML_ATTR_STR(DomainDevice, alias, "name"))),
    XML_NEST("master", FIELDS(XML_ATTR(DomainDevice, master_startport, "startport", xml_opt))),
    XML_NEST("rom", FIELDS(XML_ATTR_ENUM(DomainDevice, rom_enabled, "enabled", yes_no_names),
                           XML_ATTR_ENUM(DomainDevice, rom_bar, "bar", on_off_names),
                           XML_ATTR_STR(DomainDevice, rom_file, "file"))),
    XML_NEST("acpi", FIELDS(XML_ATTR(DomainDevice, acpi_index, "index", xml_opt))),
    XML_NEST_AT(DomainDevice, address, "address", address_fields),
    XML_END,
};

const XmlField virtio_fields[] = {
    XML_ATTR_ENUM(DomainVirtioOptions, iommu, "iommu", on_off_names),
    XML_ATTR_ENUM(DomainVirtioOptions, ats, "ats", on_off_names),
    XML_ATTR_ENUM(DomainVirtioOptions, packed, "packed", on_off_names),
    XML_ATTR_ENUM(DomainVirtioOptions, page_per_vq, "page_per_vq", on_off_names),
    XML_END,
};

const XmlField seclabel_fields[] = {
    XML_ATTR_ENUM(DomainSeclabel, type, "type", seclabel_type_names),
    XML_ATTR_STR(DomainSeclabel, model, "model"),
    XML_ATTR_ENUM(DomainSeclabel, relabel, "relabel", yes_no_names),
    XML_ATTR_ENUM(DomainSeclabel, label_skip, "labelskip", yes_no_names),
    XML_LEAF(DomainSeclabel, label, "label", xml_lenient),
    XML_LEAF(DomainSeclabel, image_label, "imagelabel", xml_lenient),
    XML_LEAF(DomainSeclabel, base_label, "baselabel", xml_lenient),
    XML_END,
};

const DeviceTable device_tables[DOMAIN_DEVICE_KINDS] = {
    [DEVICE_DISK] = { "disk", sizeof(DomainDisk), disk_fields },
    [DEVICE_CONTROLLER] = { "controller", sizeof(DomainController), controller_fields },
    [DEVICE_FILESYSTEM] = { "filesystem", sizeof(DomainFilesystem), filesystem_fields },
    [DEVICE_INTERFACE] = { "interface", sizeof(DomainInterface), interface_fields },
    [DEVICE_SMARTCARD] = { "smartcard", sizeof(DomainSmartcard), smartcard_fields },
    [DEVICE_SERIAL] = { "serial", sizeof(DomainCharDevice), serial_fields },
    [DEVICE_PARALLEL] = { "parallel", sizeof(DomainCharDevice), parallel_fields },
    [DEVICE_CONSOLE] = { "console", sizeof(DomainCharDevice), console_fields },
    [DEVICE_CHANNEL] = { "channel", sizeof(DomainCharDevice), channel_fields },
    [DEVICE_INPUT] = { "input", sizeof(DomainInput), input_fields },
    [DEVICE_TPM] = { "tpm", sizeof(DomainTpm), tpm_fields },
    [DEVICE_GRAPHICS] = { "graphics", sizeof(DomainGraphics), graphics_fields },
    [DEVICE_SOUND] = { "sound", sizeof(DomainSound), sound_fields },
    [DEVICE_AUDIO] = { "audio", sizeof(DomainAudio), audio_fields },
    [DEVICE_VIDEO] = { "video", sizeof(DomainVideo), video_fields },
    [DEVICE_HOSTDEV] = { "hostdev", sizeof(DomainHostdev), hostdev_fields },
    [DEVICE_REDIRDEV] = { "redirdev", sizeof(DomainRedirdev), redirdev_fields },
    [DEVICE_REDIRFILTER] = { "redirfilter", sizeof(DomainRedirfilter), redirfilter_fields },
    [DEVICE_HUB] = { "hub", sizeof(DomainHub), hub_fields },
    [DEVICE_WATCHDOG] = { "watchdog", sizeof(DomainWatchdog), watchdog_fields },
    [DEVICE_MEMBALLOON] = { "memballoon", sizeof(DomainMemballoon), memballoon_fields },
    [DEVICE_RNG] = { "rng", sizeof(DomainRng), rng_fields },
    [DEVICE_NVRAM] = { "nvram", sizeof(DomainNvramDevice), nvram_fields },
    [DEVICE_PANIC] = { "panic", sizeof(DomainPanic), panic_fields },
    [DEVICE_SHMEM] = { "shmem", sizeof(DomainShmem), shmem_fields },
    [DEVICE_MEMORY] = { "memory", sizeof(DomainMemory), memory_fields },
    [DEVICE_IOMMU] = { "iommu", sizeof(DomainIommu), iommu_fields },
    [DEVICE_VSOCK] = { "vsock", sizeof(DomainVsock), vsock_fields },
};
