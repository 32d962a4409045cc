/* Words of the domain XML (libvirt's domain schema) as enums. Value 0 of each is "not given".
 *
 * One list makes the enum and its table of names: LIST(X) with X(value, "word"). The name of a
 * value is domain_name(TABLE, value), as domain_name(disk_bus, disk->bus). SPDX-License-Identifier:
 * GPL-2.0-or-later */
#ifndef LODGE_CONF_DOMAIN_ENUMS_H
#define LODGE_CONF_DOMAIN_ENUMS_H

#include "conf/xml-map.h"

#define DOMAIN_ENUM_VALUE(value, word) value,
#define DOMAIN_ENUM(Type, UNSET, table, LIST)                                                      \
    typedef enum Type { UNSET, LIST(DOMAIN_ENUM_VALUE) } Type;                                     \
    extern const XmlEnum table##_names;

#define domain_name(table, value) xml_enum_name(&table##_names, (int)(value))

/* clang-format off */
#define TRI_YES_LIST(X) X(TRI_YES, "yes") X(TRI_NO, "no")
DOMAIN_ENUM(TriState, TRI_ABSENT, yes_no, TRI_YES_LIST)
extern const XmlEnum on_off_names; /* a TriState as "on" and "off" */

#define VIRT_TYPE_LIST(X)                                                                          \
    X(VIRT_QEMU, "qemu")                                                                           \
    X(VIRT_KVM, "kvm")                                                                             \
    X(VIRT_XEN, "xen")                                                                             \
    X(VIRT_LXC, "lxc")                                                                             \
    X(VIRT_TEST, "test")                                                                           \
    X(VIRT_HVF, "hvf") X(VIRT_VMWARE, "vmware") X(VIRT_BHYVE, "bhyve") X(VIRT_VBOX, "vbox")
DOMAIN_ENUM(DomainVirtType, VIRT_NONE, virt_type, VIRT_TYPE_LIST)

#define OS_TYPE_LIST(X)                                                                            \
    X(OS_HVM, "hvm")                                                                               \
    X(OS_XEN, "xen") X(OS_LINUX, "linux") X(OS_EXE, "exe") X(OS_UML, "uml") X(OS_XENPVH, "xenpvh")
DOMAIN_ENUM(DomainOsType, OS_NONE, os_type, OS_TYPE_LIST)

#define OS_FIRMWARE_LIST(X) X(OS_FIRMWARE_BIOS, "bios") X(OS_FIRMWARE_EFI, "efi")
DOMAIN_ENUM(DomainOsFirmware, OS_FIRMWARE_NONE, os_firmware, OS_FIRMWARE_LIST)

#define OS_FEATURE_LIST(X)                                                                         \
    X(OS_FEATURE_ENROLLED_KEYS, "enrolled-keys") X(OS_FEATURE_SECURE_BOOT, "secure-boot")
DOMAIN_ENUM(DomainOsFeature, OS_FEATURE_NONE, os_feature, OS_FEATURE_LIST)

#define LOADER_TYPE_LIST(X) X(LOADER_ROM, "rom") X(LOADER_PFLASH, "pflash")
DOMAIN_ENUM(DomainLoaderType, LOADER_TYPE_NONE, loader_type, LOADER_TYPE_LIST)

#define BOOT_DEV_LIST(X)                                                                           \
    X(BOOT_FLOPPY, "fd") X(BOOT_CDROM, "cdrom") X(BOOT_DISK, "hd") X(BOOT_NET, "network")
DOMAIN_ENUM(DomainBootDev, BOOT_NONE, boot_dev, BOOT_DEV_LIST)

#define SMBIOS_MODE_LIST(X)                                                                        \
    X(SMBIOS_EMULATE, "emulate") X(SMBIOS_HOST, "host") X(SMBIOS_SYSINFO, "sysinfo")
DOMAIN_ENUM(DomainSmbiosMode, SMBIOS_NONE, smbios_mode, SMBIOS_MODE_LIST)

#define LIFECYCLE_LIST(X)                                                                          \
    X(LIFECYCLE_DESTROY, "destroy")                                                                \
    X(LIFECYCLE_RESTART, "restart")                                                                \
    X(LIFECYCLE_RENAME_RESTART, "rename-restart")                                                  \
    X(LIFECYCLE_PRESERVE, "preserve")                                                              \
    X(LIFECYCLE_COREDUMP_DESTROY, "coredump-destroy")                                              \
    X(LIFECYCLE_COREDUMP_RESTART, "coredump-restart")
DOMAIN_ENUM(DomainLifecycle, LIFECYCLE_NONE, lifecycle, LIFECYCLE_LIST)

#define LOCK_FAILURE_LIST(X)                                                                       \
    X(LOCK_FAILURE_POWEROFF, "poweroff")                                                           \
    X(LOCK_FAILURE_RESTART, "restart")                                                             \
    X(LOCK_FAILURE_PAUSE, "pause") X(LOCK_FAILURE_IGNORE, "ignore")
DOMAIN_ENUM(DomainLockFailure, LOCK_FAILURE_NONE, lock_failure, LOCK_FAILURE_LIST)

#define CLOCK_OFFSET_LIST(X)                                                                       \
    X(CLOCK_UTC, "utc")                                                                            \
    X(CLOCK_LOCALTIME, "localtime")                                                                \
    X(CLOCK_VARIABLE, "variable") X(CLOCK_TIMEZONE, "timezone") X(CLOCK_ABSOLUTE, "absolute")
DOMAIN_ENUM(DomainClockOffset, CLOCK_NONE, clock_offset, CLOCK_OFFSET_LIST)

#define CLOCK_BASIS_LIST(X) X(CLOCK_BASIS_UTC, "utc") X(CLOCK_BASIS_LOCALTIME, "localtime")
DOMAIN_ENUM(DomainClockBasis, CLOCK_BASIS_NONE, clock_basis, CLOCK_BASIS_LIST)

#define TIMER_NAME_LIST(X)                                                                         \
    X(TIMER_PLATFORM, "platform")                                                                  \
    X(TIMER_PIT, "pit")                                                                            \
    X(TIMER_RTC, "rtc")                                                                            \
    X(TIMER_HPET, "hpet")                                                                          \
    X(TIMER_TSC, "tsc")                                                                            \
    X(TIMER_KVMCLOCK, "kvmclock")                                                                  \
    X(TIMER_HYPERVCLOCK, "hypervclock") X(TIMER_ARMVTIMER, "armvtimer")
DOMAIN_ENUM(DomainTimerName, TIMER_NONE, timer_name, TIMER_NAME_LIST)

#define TICK_POLICY_LIST(X)                                                                        \
    X(TICK_DELAY, "delay")                                                                         \
    X(TICK_CATCHUP, "catchup") X(TICK_MERGE, "merge") X(TICK_DISCARD, "discard")
DOMAIN_ENUM(DomainTickPolicy, TICK_NONE, tick_policy, TICK_POLICY_LIST)

#define TIMER_TRACK_LIST(X)                                                                        \
    X(TIMER_TRACK_BOOT, "boot")                                                                    \
    X(TIMER_TRACK_GUEST, "guest") X(TIMER_TRACK_WALL, "wall") X(TIMER_TRACK_REALTIME, "realtime")
DOMAIN_ENUM(DomainTimerTrack, TIMER_TRACK_NONE, timer_track, TIMER_TRACK_LIST)

#define TIMER_MODE_LIST(X)                                                                         \
    X(TIMER_MODE_AUTO, "auto")                                                                     \
    X(TIMER_MODE_NATIVE, "native")                                                                 \
    X(TIMER_MODE_EMULATE, "emulate")                                                               \
    X(TIMER_MODE_PARAVIRT, "paravirt") X(TIMER_MODE_SMPSAFE, "smpsafe")
DOMAIN_ENUM(DomainTimerMode, TIMER_MODE_NONE, timer_mode, TIMER_MODE_LIST)

#define CPU_MODE_LIST(X)                                                                           \
    X(CPU_CUSTOM, "custom")                                                                        \
    X(CPU_HOST_MODEL, "host-model")                                                                \
    X(CPU_HOST_PASSTHROUGH, "host-passthrough") X(CPU_MAXIMUM, "maximum")
DOMAIN_ENUM(DomainCpuMode, CPU_MODE_NONE, cpu_mode, CPU_MODE_LIST)

#define CPU_MATCH_LIST(X)                                                                          \
    X(CPU_MATCH_MINIMUM, "minimum") X(CPU_MATCH_EXACT, "exact") X(CPU_MATCH_STRICT, "strict")
DOMAIN_ENUM(DomainCpuMatch, CPU_MATCH_NONE, cpu_match, CPU_MATCH_LIST)

#define CPU_CHECK_LIST(X)                                                                          \
    X(CPU_CHECK_NO, "none") X(CPU_CHECK_PARTIAL, "partial") X(CPU_CHECK_FULL, "full")
DOMAIN_ENUM(DomainCpuCheck, CPU_CHECK_DEFAULT, cpu_check, CPU_CHECK_LIST)

#define CPU_FALLBACK_LIST(X) X(CPU_FALLBACK_ALLOW, "allow") X(CPU_FALLBACK_FORBID, "forbid")
DOMAIN_ENUM(DomainCpuFallback, CPU_FALLBACK_NONE, cpu_fallback, CPU_FALLBACK_LIST)

#define CPU_POLICY_LIST(X)                                                                         \
    X(CPU_FORCE, "force")                                                                          \
    X(CPU_REQUIRE, "require")                                                                      \
    X(CPU_OPTIONAL, "optional") X(CPU_DISABLE, "disable") X(CPU_FORBID, "forbid")
DOMAIN_ENUM(DomainCpuPolicy, CPU_POLICY_NONE, cpu_policy, CPU_POLICY_LIST)

#define CPU_CACHE_LIST(X)                                                                          \
    X(CPU_CACHE_PASSTHROUGH, "passthrough")                                                        \
    X(CPU_CACHE_EMULATE, "emulate") X(CPU_CACHE_DISABLE, "disable")
DOMAIN_ENUM(DomainCpuCacheMode, CPU_CACHE_NONE, cpu_cache, CPU_CACHE_LIST)

#define MAX_PHYS_ADDR_LIST(X)                                                                      \
    X(MAX_PHYS_ADDR_PASSTHROUGH, "passthrough") X(MAX_PHYS_ADDR_EMULATE, "emulate")
DOMAIN_ENUM(DomainMaxPhysAddrMode, MAX_PHYS_ADDR_NONE, max_phys_addr, MAX_PHYS_ADDR_LIST)

#define NUMA_ACCESS_LIST(X) X(NUMA_ACCESS_SHARED, "shared") X(NUMA_ACCESS_PRIVATE, "private")
DOMAIN_ENUM(DomainMemoryAccess, MEMORY_ACCESS_NONE, memory_access, NUMA_ACCESS_LIST)

#define MEMORY_SOURCE_LIST(X)                                                                      \
    X(MEMORY_SOURCE_ANONYMOUS, "anonymous")                                                        \
    X(MEMORY_SOURCE_FILE, "file") X(MEMORY_SOURCE_MEMFD, "memfd")
DOMAIN_ENUM(DomainMemorySource, MEMORY_SOURCE_NONE, memory_source, MEMORY_SOURCE_LIST)

#define MEMORY_ALLOCATION_LIST(X)                                                                  \
    X(MEMORY_ALLOCATE_IMMEDIATE, "immediate") X(MEMORY_ALLOCATE_ONDEMAND, "ondemand")
DOMAIN_ENUM(DomainMemoryAllocation, MEMORY_ALLOCATION_NONE, memory_allocation,
            MEMORY_ALLOCATION_LIST)

#define NUMATUNE_MODE_LIST(X)                                                                      \
    X(NUMATUNE_STRICT, "strict")                                                                   \
    X(NUMATUNE_PREFERRED, "preferred")                                                             \
    X(NUMATUNE_INTERLEAVE, "interleave") X(NUMATUNE_RESTRICTIVE, "restrictive")
DOMAIN_ENUM(DomainNumatuneMode, NUMATUNE_MODE_NONE, numatune_mode, NUMATUNE_MODE_LIST)

#define PLACEMENT_LIST(X) X(PLACEMENT_STATIC, "static") X(PLACEMENT_AUTO, "auto")
DOMAIN_ENUM(DomainPlacement, PLACEMENT_NONE, placement, PLACEMENT_LIST)

#define SCHEDULER_LIST(X)                                                                          \
    X(SCHEDULER_BATCH, "batch")                                                                    \
    X(SCHEDULER_IDLE, "idle") X(SCHEDULER_FIFO, "fifo") X(SCHEDULER_RR, "rr")
DOMAIN_ENUM(DomainScheduler, SCHEDULER_NONE, scheduler, SCHEDULER_LIST)

#define IOAPIC_LIST(X) X(IOAPIC_QEMU, "qemu") X(IOAPIC_KVM, "kvm")
DOMAIN_ENUM(DomainIoapic, IOAPIC_NONE, ioapic, IOAPIC_LIST)

#define HYPERV_MODE_LIST(X) X(HYPERV_CUSTOM, "custom") X(HYPERV_PASSTHROUGH, "passthrough")
DOMAIN_ENUM(DomainHypervMode, HYPERV_MODE_NONE, hyperv_mode, HYPERV_MODE_LIST)

#define ADDRESS_TYPE_LIST(X)                                                                       \
    X(ADDRESS_PCI, "pci")                                                                          \
    X(ADDRESS_DRIVE, "drive")                                                                      \
    X(ADDRESS_VIRTIO_SERIAL, "virtio-serial")                                                      \
    X(ADDRESS_CCID, "ccid")                                                                        \
    X(ADDRESS_USB, "usb")                                                                          \
    X(ADDRESS_SPAPR_VIO, "spapr-vio")                                                              \
    X(ADDRESS_VIRTIO_S390, "virtio-s390") X(ADDRESS_CCW, "ccw")                                    \
        X(ADDRESS_VIRTIO_MMIO, "virtio-mmio") X(ADDRESS_ISA, "isa") X(ADDRESS_DIMM, "dimm")        \
            X(ADDRESS_UNASSIGNED, "unassigned")
DOMAIN_ENUM(DomainAddressType, ADDRESS_NONE, address_type, ADDRESS_TYPE_LIST)

#define VIRTIO_MODEL_LIST(X)                                                                       \
    X(VIRTIO_MODEL_VIRTIO, "virtio")                                                               \
    X(VIRTIO_MODEL_TRANSITIONAL, "virtio-transitional")                                            \
    X(VIRTIO_MODEL_NON_TRANSITIONAL, "virtio-non-transitional")
DOMAIN_ENUM(DomainVirtioModel, VIRTIO_MODEL_NONE, virtio_model, VIRTIO_MODEL_LIST)

/* --- disks and controllers --- */

#define SOURCE_TYPE_LIST(X)                                                                        \
    X(SOURCE_FILE, "file")                                                                         \
    X(SOURCE_BLOCK, "block")                                                                       \
    X(SOURCE_DIR, "dir")                                                                           \
    X(SOURCE_NETWORK, "network")                                                                   \
    X(SOURCE_VOLUME, "volume")                                                                     \
    X(SOURCE_NVME, "nvme") X(SOURCE_VHOST_USER, "vhostuser") X(SOURCE_VHOST_VDPA, "vhostvdpa")
DOMAIN_ENUM(DomainSourceType, SOURCE_NONE, source_type, SOURCE_TYPE_LIST)

#define DISK_DEVICE_LIST(X)                                                                        \
    X(DISK_DEVICE_DISK, "disk")                                                                    \
    X(DISK_DEVICE_CDROM, "cdrom") X(DISK_DEVICE_FLOPPY, "floppy") X(DISK_DEVICE_LUN, "lun")
DOMAIN_ENUM(DomainDiskDevice, DISK_DEVICE_NONE, disk_device, DISK_DEVICE_LIST)

#define DISK_BUS_LIST(X)                                                                           \
    X(DISK_BUS_IDE, "ide")                                                                         \
    X(DISK_BUS_FDC, "fdc")                                                                         \
    X(DISK_BUS_SCSI, "scsi")                                                                       \
    X(DISK_BUS_VIRTIO, "virtio")                                                                   \
    X(DISK_BUS_XEN, "xen")                                                                         \
    X(DISK_BUS_USB, "usb") X(DISK_BUS_UML, "uml") X(DISK_BUS_SATA, "sata") X(DISK_BUS_SD, "sd")
DOMAIN_ENUM(DomainDiskBus, DISK_BUS_NONE, disk_bus, DISK_BUS_LIST)

#define IMAGE_FORMAT_LIST(X)                                                                       \
    X(IMAGE_RAW, "raw")                                                                            \
    X(IMAGE_DIR, "dir")                                                                            \
    X(IMAGE_BOCHS, "bochs")                                                                        \
    X(IMAGE_CLOOP, "cloop")                                                                        \
    X(IMAGE_DMG, "dmg")                                                                            \
    X(IMAGE_ISO, "iso")                                                                            \
    X(IMAGE_VPC, "vpc") X(IMAGE_VDI, "vdi") X(IMAGE_FAT, "fat") X(IMAGE_VHD, "vhd")                \
        X(IMAGE_PLOOP, "ploop") X(IMAGE_COW, "cow") X(IMAGE_QCOW, "qcow") X(IMAGE_QCOW2, "qcow2")  \
            X(IMAGE_QED, "qed") X(IMAGE_VMDK, "vmdk") X(IMAGE_LUKS, "luks") X(IMAGE_VHDX, "vhdx")  \
                X(IMAGE_AIO, "aio")
DOMAIN_ENUM(DomainImageFormat, IMAGE_NONE, image_format, IMAGE_FORMAT_LIST)

#define DISK_CACHE_LIST(X)                                                                         \
    X(DISK_CACHE_DEFAULT, "default")                                                               \
    X(DISK_CACHE_OFF, "none")                                                                      \
    X(DISK_CACHE_WRITETHROUGH, "writethrough")                                                     \
    X(DISK_CACHE_WRITEBACK, "writeback")                                                           \
    X(DISK_CACHE_DIRECTSYNC, "directsync") X(DISK_CACHE_UNSAFE, "unsafe")
DOMAIN_ENUM(DomainDiskCache, DISK_CACHE_NONE, disk_cache, DISK_CACHE_LIST)

#define DISK_IO_LIST(X)                                                                            \
    X(DISK_IO_NATIVE, "native") X(DISK_IO_THREADS, "threads") X(DISK_IO_URING, "io_uring")
DOMAIN_ENUM(DomainDiskIo, DISK_IO_NONE, disk_io, DISK_IO_LIST)

#define ERROR_POLICY_LIST(X)                                                                       \
    X(ERROR_POLICY_STOP, "stop")                                                                   \
    X(ERROR_POLICY_REPORT, "report")                                                               \
    X(ERROR_POLICY_IGNORE, "ignore") X(ERROR_POLICY_ENOSPACE, "enospace")
DOMAIN_ENUM(DomainErrorPolicy, ERROR_POLICY_NONE, error_policy, ERROR_POLICY_LIST)

#define DISCARD_LIST(X) X(DISCARD_UNMAP, "unmap") X(DISCARD_IGNORE, "ignore")
DOMAIN_ENUM(DomainDiscard, DISCARD_NONE, discard, DISCARD_LIST)

#define DETECT_ZEROES_LIST(X)                                                                      \
    X(DETECT_ZEROES_OFF, "off") X(DETECT_ZEROES_ON, "on") X(DETECT_ZEROES_UNMAP, "unmap")
DOMAIN_ENUM(DomainDetectZeroes, DETECT_ZEROES_NONE, detect_zeroes, DETECT_ZEROES_LIST)

#define STARTUP_POLICY_LIST(X)                                                                     \
    X(STARTUP_MANDATORY, "mandatory")                                                              \
    X(STARTUP_REQUISITE, "requisite") X(STARTUP_OPTIONAL, "optional")
DOMAIN_ENUM(DomainStartupPolicy, STARTUP_NONE, startup_policy, STARTUP_POLICY_LIST)

#define TRAY_LIST(X) X(TRAY_CLOSED, "closed") X(TRAY_OPEN, "open")
DOMAIN_ENUM(DomainTray, TRAY_NONE, tray, TRAY_LIST)

#define SNAPSHOT_LOCATION_LIST(X)                                                                  \
    X(SNAPSHOT_NO, "no")                                                                           \
    X(SNAPSHOT_INTERNAL, "internal") X(SNAPSHOT_EXTERNAL, "external") X(SNAPSHOT_MANUAL, "manual")
DOMAIN_ENUM(DomainSnapshotLocation, SNAPSHOT_DEFAULT, snapshot_location, SNAPSHOT_LOCATION_LIST)

#define GEOMETRY_TRANS_LIST(X)                                                                     \
    X(GEOMETRY_TRANS_NO, "none") X(GEOMETRY_TRANS_AUTO, "auto") X(GEOMETRY_TRANS_LBA, "lba")
DOMAIN_ENUM(DomainGeometryTrans, GEOMETRY_TRANS_DEFAULT, geometry_trans, GEOMETRY_TRANS_LIST)

#define NET_PROTOCOL_LIST(X)                                                                       \
    X(NET_PROTOCOL_NBD, "nbd")                                                                     \
    X(NET_PROTOCOL_RBD, "rbd")                                                                     \
    X(NET_PROTOCOL_SHEEPDOG, "sheepdog")                                                           \
    X(NET_PROTOCOL_GLUSTER, "gluster")                                                             \
    X(NET_PROTOCOL_ISCSI, "iscsi")                                                                 \
    X(NET_PROTOCOL_HTTP, "http")                                                                   \
    X(NET_PROTOCOL_HTTPS, "https") X(NET_PROTOCOL_FTP, "ftp") X(NET_PROTOCOL_FTPS, "ftps")         \
        X(NET_PROTOCOL_TFTP, "tftp") X(NET_PROTOCOL_SSH, "ssh") X(NET_PROTOCOL_VXHS, "vxhs")       \
            X(NET_PROTOCOL_NFS, "nfs")
DOMAIN_ENUM(DomainNetProtocol, NET_PROTOCOL_NONE, net_protocol, NET_PROTOCOL_LIST)

#define NET_TRANSPORT_LIST(X)                                                                      \
    X(NET_TRANSPORT_TCP, "tcp") X(NET_TRANSPORT_UNIX, "unix") X(NET_TRANSPORT_RDMA, "rdma")
DOMAIN_ENUM(DomainNetTransport, NET_TRANSPORT_NONE, net_transport, NET_TRANSPORT_LIST)

#define VOLUME_MODE_LIST(X) X(VOLUME_MODE_HOST, "host") X(VOLUME_MODE_DIRECT, "direct")
DOMAIN_ENUM(DomainVolumeMode, VOLUME_MODE_NONE, volume_mode, VOLUME_MODE_LIST)

#define SECRET_TYPE_LIST(X)                                                                        \
    X(SECRET_PASSPHRASE, "passphrase")                                                             \
    X(SECRET_ISCSI, "iscsi")                                                                       \
    X(SECRET_CEPH, "ceph") X(SECRET_TLS, "tls") X(SECRET_VTPM, "vtpm") X(SECRET_VOLUME, "volume")
DOMAIN_ENUM(DomainSecretType, SECRET_NONE, secret_type, SECRET_TYPE_LIST)

#define ENCRYPTION_FORMAT_LIST(X)                                                                  \
    X(ENCRYPTION_DEFAULT, "default")                                                               \
    X(ENCRYPTION_QCOW, "qcow")                                                                     \
    X(ENCRYPTION_LUKS, "luks") X(ENCRYPTION_LUKS2, "luks2") X(ENCRYPTION_LUKS_ANY, "luks-any")
DOMAIN_ENUM(DomainEncryptionFormat, ENCRYPTION_NONE, encryption_format, ENCRYPTION_FORMAT_LIST)

#define MIRROR_JOB_LIST(X) X(MIRROR_COPY, "copy") X(MIRROR_ACTIVE_COMMIT, "active-commit")
DOMAIN_ENUM(DomainMirrorJob, MIRROR_NONE, mirror_job, MIRROR_JOB_LIST)

#define CONTROLLER_TYPE_LIST(X)                                                                    \
    X(CONTROLLER_IDE, "ide")                                                                       \
    X(CONTROLLER_FDC, "fdc")                                                                       \
    X(CONTROLLER_SCSI, "scsi")                                                                     \
    X(CONTROLLER_SATA, "sata")                                                                     \
    X(CONTROLLER_VIRTIO_SERIAL, "virtio-serial")                                                   \
    X(CONTROLLER_CCID, "ccid")                                                                     \
    X(CONTROLLER_USB, "usb") X(CONTROLLER_PCI, "pci") X(CONTROLLER_XENBUS, "xenbus")               \
        X(CONTROLLER_ISA, "isa")
DOMAIN_ENUM(DomainControllerType, CONTROLLER_NONE, controller_type, CONTROLLER_TYPE_LIST)

#define CONTROLLER_MODEL_LIST(X)                                                                   \
    X(PCI_MODEL_ROOT, "pci-root")                                                                  \
    X(PCI_MODEL_PCIE_ROOT, "pcie-root")                                                            \
    X(PCI_MODEL_BRIDGE, "pci-bridge")                                                              \
    X(PCI_MODEL_DMI_TO_PCI, "dmi-to-pci-bridge")                                                   \
    X(PCI_MODEL_PCIE_TO_PCI, "pcie-to-pci-bridge")                                                 \
    X(PCI_MODEL_ROOT_PORT, "pcie-root-port")                                                       \
    X(PCI_MODEL_UPSTREAM_PORT, "pcie-switch-upstream-port") X(                                     \
        PCI_MODEL_DOWNSTREAM_PORT, "pcie-switch-downstream-port") X(PCI_MODEL_EXPANDER,            \
                                                                    "pci-expander-bus")            \
        X(PCI_MODEL_PCIE_EXPANDER, "pcie-expander-bus") X(USB_MODEL_PIIX3_UHCI, "piix3-uhci") X(   \
            USB_MODEL_PIIX4_UHCI, "piix4-uhci") X(USB_MODEL_EHCI, "ehci")                          \
            X(USB_MODEL_ICH9_EHCI1, "ich9-ehci1") X(USB_MODEL_ICH9_UHCI1, "ich9-uhci1") X(         \
                USB_MODEL_ICH9_UHCI2, "ich9-uhci2") X(USB_MODEL_ICH9_UHCI3, "ich9-uhci3")          \
                X(USB_MODEL_VT82C686B_UHCI, "vt82c686b-uhci") X(USB_MODEL_PCI_OHCI, "pci-ohci") X( \
                    USB_MODEL_NEC_XHCI, "nec-xhci") X(USB_MODEL_QUSB1, "qusb1")                    \
                    X(USB_MODEL_QUSB2, "qusb2") X(USB_MODEL_QEMU_XHCI, "qemu-xhci") X(             \
                        USB_MODEL_NONE, "none") X(SCSI_MODEL_AUTO, "auto") X(SCSI_MODEL_BUSLOGIC,  \
                                                                             "buslogic")           \
                        X(SCSI_MODEL_LSILOGIC, "lsilogic") X(SCSI_MODEL_LSISAS1068, "lsisas1068")  \
                            X(SCSI_MODEL_VMPVSCSI, "vmpvscsi") X(SCSI_MODEL_IBMVSCSI, "ibmvscsi")  \
                                X(SCSI_MODEL_VIRTIO, "virtio-scsi")                                \
                                    X(SCSI_MODEL_LSISAS1078, "lsisas1078")                         \
                                        X(SCSI_MODEL_VIRTIO_TRANSITIONAL, "virtio-transitional")   \
                                            X(SCSI_MODEL_VIRTIO_NON_TRANSITIONAL,                  \
                                              "virtio-non-transitional") X(SCSI_MODEL_NCR53C90,    \
                                                                           "ncr53c90")             \
                                                X(SCSI_MODEL_DC390, "dc390")                       \
                                                    X(SCSI_MODEL_AM53C974, "am53c974")             \
                                                        X(IDE_MODEL_PIIX3, "piix3")                \
                                                            X(IDE_MODEL_PIIX4, "piix4")            \
                                                                X(IDE_MODEL_ICH6, "ich6")          \
                                                                    X(VIRTIO_SERIAL_MODEL_VIRTIO,  \
                                                                      "virtio")
DOMAIN_ENUM(DomainControllerModel, CONTROLLER_MODEL_DEFAULT, controller_model,
            CONTROLLER_MODEL_LIST)

/* --- networks --- */

#define INTERFACE_TYPE_LIST(X)                                                                     \
    X(INTERFACE_USER, "user")                                                                      \
    X(INTERFACE_ETHERNET, "ethernet")                                                              \
    X(INTERFACE_VHOST_USER, "vhostuser")                                                           \
    X(INTERFACE_SERVER, "server")                                                                  \
    X(INTERFACE_CLIENT, "client")                                                                  \
    X(INTERFACE_MCAST, "mcast")                                                                    \
    X(INTERFACE_NETWORK, "network") X(INTERFACE_BRIDGE, "bridge")                                  \
        X(INTERFACE_INTERNAL, "internal") X(INTERFACE_DIRECT, "direct")                            \
            X(INTERFACE_HOSTDEV, "hostdev") X(INTERFACE_UDP, "udp") X(INTERFACE_VDPA, "vdpa")      \
                X(INTERFACE_NULL, "null") X(INTERFACE_VDS, "vds")
DOMAIN_ENUM(DomainInterfaceType, INTERFACE_NONE, interface_type, INTERFACE_TYPE_LIST)

#define MACVTAP_MODE_LIST(X)                                                                       \
    X(MACVTAP_VEPA, "vepa")                                                                        \
    X(MACVTAP_PRIVATE, "private")                                                                  \
    X(MACVTAP_BRIDGE, "bridge")                                                                    \
    X(MACVTAP_PASSTHROUGH, "passthroug"                                                            \
                           "h")
DOMAIN_ENUM(DomainMacvtapMode, MACVTAP_NONE, macvtap_mode, MACVTAP_MODE_LIST)

#define LINK_STATE_LIST(X) X(LINK_UP, "up") X(LINK_DOWN, "down")
DOMAIN_ENUM(DomainLinkState, LINK_NONE, link_state, LINK_STATE_LIST)

#define NET_DRIVER_LIST(X)                                                                         \
    X(NET_DRIVER_QEMU, "qemu")                                                                     \
    X(NET_DRIVER_VHOST, "vhost")                                                                   \
    X(NET_DRIVER_VFIO, "vfio") X(NET_DRIVER_KVM, "kvm") X(NET_DRIVER_XEN, "xen")
DOMAIN_ENUM(DomainNetDriver, NET_DRIVER_NONE, net_driver, NET_DRIVER_LIST)

#define TX_MODE_LIST(X) X(TX_IOTHREAD, "iothread") X(TX_TIMER, "timer")
DOMAIN_ENUM(DomainTxMode, TX_NONE, tx_mode, TX_MODE_LIST)

#define NET_BACKEND_LIST(X) X(NET_BACKEND_DEFAULT, "default") X(NET_BACKEND_PASST, "passt")
DOMAIN_ENUM(DomainNetBackend, NET_BACKEND_NONE, net_backend, NET_BACKEND_LIST)

#define MAC_TYPE_LIST(X) X(MAC_GENERATED, "generated") X(MAC_STATIC, "static")
DOMAIN_ENUM(DomainMacType, MAC_TYPE_NONE, mac_type, MAC_TYPE_LIST)

#define NATIVE_VLAN_LIST(X) X(NATIVE_VLAN_TAGGED, "tagged") X(NATIVE_VLAN_UNTAGGED, "untagged")
DOMAIN_ENUM(DomainNativeVlan, NATIVE_VLAN_NONE, native_vlan, NATIVE_VLAN_LIST)

#define VIRTUALPORT_TYPE_LIST(X)                                                                   \
    X(VIRTUALPORT_802_1QBG, "802.1Qbg")                                                            \
    X(VIRTUALPORT_802_1QBH, "802.1Qbh")                                                            \
    X(VIRTUALPORT_OVS, "openvswitch") X(VIRTUALPORT_MIDONET, "midonet")
DOMAIN_ENUM(DomainVirtualportType, VIRTUALPORT_NONE, virtualport_type, VIRTUALPORT_TYPE_LIST)

#define TEAMING_LIST(X) X(TEAMING_PERSISTENT, "persistent") X(TEAMING_TRANSIENT, "transient")
DOMAIN_ENUM(DomainTeaming, TEAMING_NONE, teaming, TEAMING_LIST)

/* --- character devices --- */

#define CHARDEV_TYPE_LIST(X)                                                                       \
    X(CHARDEV_NULL, "null")                                                                        \
    X(CHARDEV_VC, "vc")                                                                            \
    X(CHARDEV_PTY, "pty")                                                                          \
    X(CHARDEV_DEV, "dev")                                                                          \
    X(CHARDEV_FILE, "file")                                                                        \
    X(CHARDEV_PIPE, "pipe")                                                                        \
    X(CHARDEV_STDIO, "stdio") X(CHARDEV_UDP, "udp") X(CHARDEV_TCP, "tcp") X(CHARDEV_UNIX, "unix")  \
        X(CHARDEV_SPICEVMC, "spicevmc") X(CHARDEV_SPICEPORT, "spiceport") X(CHARDEV_NMDM, "nmdm")  \
            X(CHARDEV_QEMU_VDAGENT, "qemu-vdagent") X(CHARDEV_DBUS, "dbus")
DOMAIN_ENUM(DomainChardevType, CHARDEV_NONE, chardev_type, CHARDEV_TYPE_LIST)

#define SOCKET_MODE_LIST(X) X(SOCKET_CONNECT, "connect") X(SOCKET_BIND, "bind")
DOMAIN_ENUM(DomainSocketMode, SOCKET_MODE_NONE, socket_mode, SOCKET_MODE_LIST)

#define TCP_PROTOCOL_LIST(X)                                                                       \
    X(TCP_RAW, "raw") X(TCP_TELNET, "telnet") X(TCP_TELNETS, "telnets") X(TCP_TLS, "tls")
DOMAIN_ENUM(DomainTcpProtocol, TCP_PROTOCOL_NONE, tcp_protocol, TCP_PROTOCOL_LIST)

#define SERIAL_TARGET_LIST(X)                                                                      \
    X(SERIAL_ISA, "isa-serial")                                                                    \
    X(SERIAL_USB, "usb-serial")                                                                    \
    X(SERIAL_PCI, "pci-serial")                                                                    \
    X(SERIAL_SPAPR_VIO, "spapr-vio-serial")                                                        \
    X(SERIAL_SYSTEM, "system-serial")                                                              \
    X(SERIAL_SCLP, "sclp-serial") X(SERIAL_ISA_DEBUG, "isa-"                                       \
                                                      "debug")
DOMAIN_ENUM(DomainSerialTarget, SERIAL_TARGET_NONE, serial_target, SERIAL_TARGET_LIST)

#define SERIAL_MODEL_LIST(X)                                                                       \
    X(SERIAL_MODEL_ISA, "isa-serial")                                                              \
    X(SERIAL_MODEL_USB, "usb-serial")                                                              \
    X(SERIAL_MODEL_PCI, "pci-serial")                                                              \
    X(SERIAL_MODEL_SPAPR_VTY, "spapr-vty")                                                         \
    X(SERIAL_MODEL_PL011, "pl011")                                                                 \
    X(SERIAL_MODEL_SCLPCONSOLE, "sclpconsole")                                                     \
    X(SERIAL_MODEL_SCLPLMCONSOLE, "sclplmconsole") X(SERIAL_MODEL_16550A, "16550a")                \
        X(SERIAL_MODEL_ISA_DEBUGCON, "isa-debugcon")
DOMAIN_ENUM(DomainSerialModel, SERIAL_MODEL_NONE, serial_model, SERIAL_MODEL_LIST)

#define CONSOLE_TARGET_LIST(X)                                                                     \
    X(CONSOLE_SERIAL, "serial")                                                                    \
    X(CONSOLE_XEN, "xen")                                                                          \
    X(CONSOLE_UML, "uml")                                                                          \
    X(CONSOLE_VIRTIO, "virtio")                                                                    \
    X(CONSOLE_LXC, "lxc")                                                                          \
    X(CONSOLE_OPENVZ, "openvz") X(CONSOLE_SCLP, "sclp") X(CONSOLE_SCLPLM, "sclplm")
DOMAIN_ENUM(DomainConsoleTarget, CONSOLE_TARGET_NONE, console_target, CONSOLE_TARGET_LIST)

#define CHANNEL_TARGET_LIST(X)                                                                     \
    X(CHANNEL_GUESTFWD, "guestfwd") X(CHANNEL_VIRTIO, "virtio") X(CHANNEL_XEN, "xen")
DOMAIN_ENUM(DomainChannelTarget, CHANNEL_TARGET_NONE, channel_target, CHANNEL_TARGET_LIST)

#define CHANNEL_STATE_LIST(X)                                                                      \
    X(CHANNEL_CONNECTED, "connected") X(CHANNEL_DISCONNECTED, "disconnected")
DOMAIN_ENUM(DomainChannelState, CHANNEL_STATE_NONE, channel_state, CHANNEL_STATE_LIST)

#define SMARTCARD_MODE_LIST(X)                                                                     \
    X(SMARTCARD_HOST, "host")                                                                      \
    X(SMARTCARD_HOST_CERTIFICATES, "host-certificates") X(SMARTCARD_PASSTHROUGH, "passthrough")
DOMAIN_ENUM(DomainSmartcardMode, SMARTCARD_NONE, smartcard_mode, SMARTCARD_MODE_LIST)

/* --- display, input, sound --- */

#define INPUT_TYPE_LIST(X)                                                                         \
    X(INPUT_MOUSE, "mouse")                                                                        \
    X(INPUT_TABLET, "tablet")                                                                      \
    X(INPUT_KEYBOARD, "keyboard") X(INPUT_PASSTHROUGH, "passthrough") X(INPUT_EVDEV, "evdev")
DOMAIN_ENUM(DomainInputType, INPUT_NONE, input_type, INPUT_TYPE_LIST)

#define INPUT_BUS_LIST(X)                                                                          \
    X(INPUT_BUS_PS2, "ps2")                                                                        \
    X(INPUT_BUS_USB, "usb")                                                                        \
    X(INPUT_BUS_XEN, "xen") X(INPUT_BUS_PARALLELS, "parallels") X(INPUT_BUS_VIRTIO, "virtio")
DOMAIN_ENUM(DomainInputBus, INPUT_BUS_NONE, input_bus, INPUT_BUS_LIST)

#define GRAPHICS_TYPE_LIST(X)                                                                      \
    X(GRAPHICS_SDL, "sdl")                                                                         \
    X(GRAPHICS_VNC, "vnc")                                                                         \
    X(GRAPHICS_RDP, "rdp")                                                                         \
    X(GRAPHICS_DESKTOP, "desktop")                                                                 \
    X(GRAPHICS_SPICE, "spice") X(GRAPHICS_EGL_HEADLESS, "egl-headless") X(GRAPHICS_DBUS, "dbus")
DOMAIN_ENUM(DomainGraphicsType, GRAPHICS_NONE, graphics_type, GRAPHICS_TYPE_LIST)

#define LISTEN_TYPE_LIST(X)                                                                        \
    X(LISTEN_NOWHERE, "none")                                                                      \
    X(LISTEN_ADDRESS, "address") X(LISTEN_NETWORK, "network") X(LISTEN_SOCKET, "socket")
DOMAIN_ENUM(DomainListenType, LISTEN_TYPE_NONE, listen_type, LISTEN_TYPE_LIST)

#define VNC_SHARE_LIST(X)                                                                          \
    X(VNC_SHARE_ALLOW_EXCLUSIVE, "allow-exclusive")                                                \
    X(VNC_SHARE_FORCE_SHARED, "force-shared") X(VNC_SHARE_IGNORE, "ignore")
DOMAIN_ENUM(DomainVncShare, VNC_SHARE_NONE, vnc_share, VNC_SHARE_LIST)

#define GRAPHICS_CONNECTED_LIST(X)                                                                 \
    X(GRAPHICS_CONNECTED_FAIL, "fail")                                                             \
    X(GRAPHICS_CONNECTED_DISCONNECT, "disconnect") X(GRAPHICS_CONNECTED_KEEP, "keep")
DOMAIN_ENUM(DomainGraphicsConnected, GRAPHICS_CONNECTED_NONE, graphics_connected,
            GRAPHICS_CONNECTED_LIST)

#define VIDEO_MODEL_LIST(X)                                                                        \
    X(VIDEO_DEFAULT, "default")                                                                    \
    X(VIDEO_VGA, "vga")                                                                            \
    X(VIDEO_CIRRUS, "cirrus")                                                                      \
    X(VIDEO_VMVGA, "vmvga")                                                                        \
    X(VIDEO_XEN, "xen")                                                                            \
    X(VIDEO_VBOX, "vbox")                                                                          \
    X(VIDEO_QXL, "qxl") X(VIDEO_PARALLELS, "parallels") X(VIDEO_VIRTIO, "virtio")                  \
        X(VIDEO_GOP, "gop") X(VIDEO_NO, "none") X(VIDEO_BOCHS, "bochs") X(VIDEO_RAMFB, "ramfb")
DOMAIN_ENUM(DomainVideoModel, VIDEO_NONE, video_model, VIDEO_MODEL_LIST)

#define VIDEO_DRIVER_LIST(X) X(VIDEO_DRIVER_QEMU, "qemu") X(VIDEO_DRIVER_VHOST_USER, "vhostuser")
DOMAIN_ENUM(DomainVideoDriver, VIDEO_DRIVER_NONE, video_driver, VIDEO_DRIVER_LIST)

#define VGACONF_LIST(X) X(VGACONF_IO, "io") X(VGACONF_ON, "on") X(VGACONF_OFF, "off")
DOMAIN_ENUM(DomainVgaconf, VGACONF_NONE, vgaconf, VGACONF_LIST)

#define SOUND_MODEL_LIST(X)                                                                        \
    X(SOUND_SB16, "sb16")                                                                          \
    X(SOUND_ES1370, "es1370")                                                                      \
    X(SOUND_PCSPK, "pcspk")                                                                        \
    X(SOUND_AC97, "ac97")                                                                          \
    X(SOUND_ICH6, "ich6") X(SOUND_ICH9, "ich9") X(SOUND_USB, "usb") X(SOUND_ICH7, "ich7")
DOMAIN_ENUM(DomainSoundModel, SOUND_NONE, sound_model, SOUND_MODEL_LIST)

#define AUDIO_TYPE_LIST(X)                                                                         \
    X(AUDIO_NOWHERE, "none")                                                                       \
    X(AUDIO_ALSA, "alsa")                                                                          \
    X(AUDIO_COREAUDIO, "coreaudio")                                                                \
    X(AUDIO_JACK, "jack")                                                                          \
    X(AUDIO_OSS, "oss")                                                                            \
    X(AUDIO_PULSEAUDIO, "pulseaudio")                                                              \
    X(AUDIO_SDL, "sdl") X(AUDIO_SPICE, "spice") X(AUDIO_FILE, "file") X(AUDIO_DBUS, "dbus")
DOMAIN_ENUM(DomainAudioType, AUDIO_NONE, audio_type, AUDIO_TYPE_LIST)

#define AUDIO_FORMAT_LIST(X)                                                                       \
    X(AUDIO_U8, "u8")                                                                              \
    X(AUDIO_S8, "s8")                                                                              \
    X(AUDIO_U16, "u16") X(AUDIO_S16, "s16") X(AUDIO_U32, "u32") X(AUDIO_S32, "s32") X(AUDIO_F32, "f32")
DOMAIN_ENUM(DomainAudioFormat, AUDIO_FORMAT_NONE, audio_format, AUDIO_FORMAT_LIST)

#define SDL_AUDIO_LIST(X)                                                                          \
    X(SDL_AUDIO_ESD, "esd")                                                                        \
    X(SDL_AUDIO_ALSA, "alsa") X(SDL_AUDIO_ARTS, "arts") X(SDL_AUDIO_PULSEAUDIO, "pulseaudio")
DOMAIN_ENUM(DomainSdlAudio, SDL_AUDIO_NONE, sdl_audio, SDL_AUDIO_LIST)

/* --- host devices and the rest --- */

#define HOSTDEV_MODE_LIST(X)                                                                       \
    X(HOSTDEV_SUBSYSTEM, "subsystem") X(HOSTDEV_CAPABILITIES, "capabilities")
DOMAIN_ENUM(DomainHostdevMode, HOSTDEV_MODE_NONE, hostdev_mode, HOSTDEV_MODE_LIST)

#define HOSTDEV_TYPE_LIST(X)                                                                       \
    X(HOSTDEV_USB, "usb")                                                                          \
    X(HOSTDEV_PCI, "pci")                                                                          \
    X(HOSTDEV_SCSI, "scsi")                                                                        \
    X(HOSTDEV_SCSI_HOST, "scsi_host")                                                              \
    X(HOSTDEV_MDEV, "mdev")                                                                        \
    X(HOSTDEV_STORAGE, "storage") X(HOSTDEV_MISC, "misc") X(HOSTDEV_NET, "net")
DOMAIN_ENUM(DomainHostdevType, HOSTDEV_TYPE_NONE, hostdev_type, HOSTDEV_TYPE_LIST)

#define PCI_DRIVER_LIST(X)                                                                         \
    X(PCI_DRIVER_KVM, "kvm") X(PCI_DRIVER_VFIO, "vfio") X(PCI_DRIVER_XEN, "xen")
DOMAIN_ENUM(DomainPciDriver, PCI_DRIVER_NONE, pci_driver, PCI_DRIVER_LIST)

#define MDEV_MODEL_LIST(X)                                                                         \
    X(MDEV_VFIO_PCI, "vfio-pci") X(MDEV_VFIO_CCW, "vfio-ccw") X(MDEV_VFIO_AP, "vfio-ap")
DOMAIN_ENUM(DomainMdevModel, MDEV_MODEL_NONE, mdev_model, MDEV_MODEL_LIST)

#define FS_TYPE_LIST(X)                                                                            \
    X(FS_MOUNT, "mount")                                                                           \
    X(FS_BLOCK, "block")                                                                           \
    X(FS_FILE, "file")                                                                             \
    X(FS_TEMPLATE, "template") X(FS_RAM, "ram") X(FS_BIND, "bind") X(FS_VOLUME, "volume")
DOMAIN_ENUM(DomainFsType, FS_TYPE_NONE, fs_type, FS_TYPE_LIST)

#define FS_DRIVER_LIST(X)                                                                          \
    X(FS_DRIVER_PATH, "path")                                                                      \
    X(FS_DRIVER_HANDLE, "handle")                                                                  \
    X(FS_DRIVER_LOOP, "loop")                                                                      \
    X(FS_DRIVER_NBD, "nbd") X(FS_DRIVER_PLOOP, "ploop") X(FS_DRIVER_VIRTIOFS, "virtiofs")
DOMAIN_ENUM(DomainFsDriver, FS_DRIVER_NONE, fs_driver, FS_DRIVER_LIST)

#define FS_ACCESS_LIST(X)                                                                          \
    X(FS_ACCESS_PASSTHROUGH, "passthrough")                                                        \
    X(FS_ACCESS_MAPPED, "mapped") X(FS_ACCESS_SQUASH, "squash")
DOMAIN_ENUM(DomainFsAccess, FS_ACCESS_NONE, fs_access, FS_ACCESS_LIST)

#define FS_WRPOLICY_LIST(X) X(FS_WRPOLICY_IMMEDIATE, "immediate")
DOMAIN_ENUM(DomainFsWrpolicy, FS_WRPOLICY_NONE, fs_wrpolicy, FS_WRPOLICY_LIST)

#define FS_MODEL_LIST(X)                                                                           \
    X(FS_MODEL_VIRTIO, "virtio")                                                                   \
    X(FS_MODEL_TRANSITIONAL, "virtio-transitional")                                                \
    X(FS_MODEL_NON_TRANSITIONAL, "virtio-non-transitional")
DOMAIN_ENUM(DomainFsModel, FS_MODEL_NONE, fs_model, FS_MODEL_LIST)

#define FS_MULTIDEVS_LIST(X)                                                                       \
    X(FS_MULTIDEVS_REMAP, "remap") X(FS_MULTIDEVS_FORBID, "forbid") X(FS_MULTIDEVS_WARN, "warn")
DOMAIN_ENUM(DomainFsMultidevs, FS_MULTIDEVS_NONE, fs_multidevs, FS_MULTIDEVS_LIST)

#define FS_CACHE_LIST(X) X(FS_CACHE_NO, "none") X(FS_CACHE_ALWAYS, "always")
DOMAIN_ENUM(DomainFsCache, FS_CACHE_NONE, fs_cache, FS_CACHE_LIST)

#define FS_SANDBOX_LIST(X) X(FS_SANDBOX_NAMESPACE, "namespace") X(FS_SANDBOX_CHROOT, "chroot")
DOMAIN_ENUM(DomainFsSandbox, FS_SANDBOX_NONE, fs_sandbox, FS_SANDBOX_LIST)

#define TPM_MODEL_LIST(X)                                                                          \
    X(TPM_TIS, "tpm-tis")                                                                          \
    X(TPM_CRB, "tpm-crb") X(TPM_SPAPR, "tpm-spapr") X(TPM_SPAPR_PROXY, "spapr-tpm-proxy")
DOMAIN_ENUM(DomainTpmModel, TPM_MODEL_NONE, tpm_model, TPM_MODEL_LIST)

#define TPM_BACKEND_LIST(X)                                                                        \
    X(TPM_PASSTHROUGH, "passthrough") X(TPM_EMULATOR, "emulator") X(TPM_EXTERNAL, "external")
DOMAIN_ENUM(DomainTpmBackend, TPM_BACKEND_NONE, tpm_backend, TPM_BACKEND_LIST)

#define TPM_VERSION_LIST(X) X(TPM_VERSION_1_2, "1.2") X(TPM_VERSION_2_0, "2.0")
DOMAIN_ENUM(DomainTpmVersion, TPM_VERSION_NONE, tpm_version, TPM_VERSION_LIST)

#define RNG_BACKEND_LIST(X) X(RNG_RANDOM, "random") X(RNG_EGD, "egd") X(RNG_BUILTIN, "builtin")
DOMAIN_ENUM(DomainRngBackend, RNG_BACKEND_NONE, rng_backend, RNG_BACKEND_LIST)

#define BALLOON_MODEL_LIST(X)                                                                      \
    X(BALLOON_VIRTIO, "virtio")                                                                    \
    X(BALLOON_XEN, "xen")                                                                          \
    X(BALLOON_NO, "none")                                                                          \
    X(BALLOON_TRANSITIONAL, "virtio-transitional")                                                 \
    X(BALLOON_NON_TRANSITIONAL, "virtio-non-transitional")
DOMAIN_ENUM(DomainBalloonModel, BALLOON_NONE, balloon_model, BALLOON_MODEL_LIST)

#define WATCHDOG_MODEL_LIST(X)                                                                     \
    X(WATCHDOG_I6300ESB, "i6300esb")                                                               \
    X(WATCHDOG_IB700, "ib700") X(WATCHDOG_DIAG288, "diag288") X(WATCHDOG_ITCO, "itco")
DOMAIN_ENUM(DomainWatchdogModel, WATCHDOG_NONE, watchdog_model, WATCHDOG_MODEL_LIST)

#define WATCHDOG_ACTION_LIST(X)                                                                    \
    X(WATCHDOG_RESET, "reset")                                                                     \
    X(WATCHDOG_SHUTDOWN, "shutdown")                                                               \
    X(WATCHDOG_POWEROFF, "poweroff")                                                               \
    X(WATCHDOG_PAUSE, "pause")                                                                     \
    X(WATCHDOG_DUMP, "dump") X(WATCHDOG_NO_ACTION, "none") X(WATCHDOG_INJECT_NMI, "inject-nmi")
DOMAIN_ENUM(DomainWatchdogAction, WATCHDOG_ACTION_NONE, watchdog_action, WATCHDOG_ACTION_LIST)

#define PANIC_MODEL_LIST(X)                                                                        \
    X(PANIC_ISA, "isa")                                                                            \
    X(PANIC_PSERIES, "pseries")                                                                    \
    X(PANIC_HYPERV, "hyperv") X(PANIC_S390, "s390") X(PANIC_PVPANIC, "pvpanic")
DOMAIN_ENUM(DomainPanicModel, PANIC_NONE, panic_model, PANIC_MODEL_LIST)

#define SHMEM_MODEL_LIST(X)                                                                        \
    X(SHMEM_IVSHMEM, "ivshmem")                                                                    \
    X(SHMEM_IVSHMEM_PLAIN, "ivshmem-plain") X(SHMEM_IVSHMEM_DOORBELL, "ivshmem-doorbell")
DOMAIN_ENUM(DomainShmemModel, SHMEM_NONE, shmem_model, SHMEM_MODEL_LIST)

#define SHMEM_ROLE_LIST(X) X(SHMEM_ROLE_MASTER, "master") X(SHMEM_ROLE_PEER, "peer")
DOMAIN_ENUM(DomainShmemRole, SHMEM_ROLE_NONE, shmem_role, SHMEM_ROLE_LIST)

#define MEMORY_MODEL_LIST(X)                                                                       \
    X(MEMORY_DIMM, "dimm")                                                                         \
    X(MEMORY_NVDIMM, "nvdimm")                                                                     \
    X(MEMORY_VIRTIO_PMEM, "virtio-pmem")                                                           \
    X(MEMORY_VIRTIO_MEM, "virtio-mem") X(MEMORY_SGX_EPC, "sgx-epc")
DOMAIN_ENUM(DomainMemoryModel, MEMORY_MODEL_NONE, memory_model, MEMORY_MODEL_LIST)

#define IOMMU_MODEL_LIST(X)                                                                        \
    X(IOMMU_INTEL, "intel") X(IOMMU_SMMUV3, "smmuv3") X(IOMMU_VIRTIO, "virtio")
DOMAIN_ENUM(DomainIommuModel, IOMMU_NONE, iommu_model, IOMMU_MODEL_LIST)

#define SECLABEL_TYPE_LIST(X)                                                                      \
    X(SECLABEL_NO, "none") X(SECLABEL_DYNAMIC, "dynamic") X(SECLABEL_STATIC, "static")
DOMAIN_ENUM(DomainSeclabelType, SECLABEL_NONE, seclabel_type, SECLABEL_TYPE_LIST)

/* clang-format on */
#endif
