/* The definition of a domain: libvirt's <domain> as structs.
 *
 * Members have the element's names; comments say what is not evident from libvirt's "Domain XML
 * format". NULL, 0 and unset mean that the element or attribute was not given (or, after
 * domain_def_parse(), is to be the engine's default). Memory is in KiB unless the name says
 * otherwise. A definition is plain data: no locks, no references; the owner guards it.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_CONF_DOMAIN_DOMAIN_DEF_H
#define LODGE_CONF_DOMAIN_DOMAIN_DEF_H

#include "conf/domain/enums.h"
#include "gbase/uuid.h"

/* --- what every device has --- */

typedef struct DomainAddress {
    DomainAddressType type;
    uint32_t domain, bus, slot, function; /* PCI; ISA and virtio-mmio do not use them */
    TriState multifunction;
    uint32_t controller, target, unit; /* drive (with bus), virtio-serial, ccid */
    uint32_t port;                     /* virtio-serial */
    char *usb_port;                    /* "1", "1.2"; NULL: to be chosen */
    OptUint iobase, irq;               /* ISA */
    OptUint base;                      /* DIMM (with slot) */
    char *cssid, *ssid, *devno;        /* ccw, spapr: kept, not used on x86 */
} DomainAddress;

/* In the order in which libvirt writes them. */
typedef enum DomainDeviceKind {
    DEVICE_DISK,
    DEVICE_CONTROLLER,
    DEVICE_FILESYSTEM,
    DEVICE_INTERFACE,
    DEVICE_SMARTCARD,
    DEVICE_SERIAL,
    DEVICE_PARALLEL,
    DEVICE_CONSOLE,
    DEVICE_CHANNEL,
    DEVICE_INPUT,
    DEVICE_TPM,
    DEVICE_GRAPHICS,
    DEVICE_SOUND,
    DEVICE_AUDIO,
    DEVICE_VIDEO,
    DEVICE_HOSTDEV,
    DEVICE_REDIRDEV,
    DEVICE_REDIRFILTER,
    DEVICE_HUB,
    DEVICE_WATCHDOG,
    DEVICE_MEMBALLOON,
    DEVICE_RNG,
    DEVICE_NVRAM,
    DEVICE_PANIC,
    DEVICE_SHMEM,
    DEVICE_MEMORY,
    DEVICE_IOMMU,
    DEVICE_VSOCK,
} DomainDeviceKind;

#define DOMAIN_DEVICE_KINDS (DEVICE_VSOCK + 1)

/* First member of every device, so a DomainDevice * points to any of them. */
typedef struct DomainDevice {
    DomainDeviceKind kind;
    char *alias; /* chosen by the user ("ua-..."), or set by domain_def_assign_aliases() */
    DomainAddress address;
    uint32_t boot_order; /* 1..; 0: not by order */
    char *boot_loadparm;
    TriState rom_enabled, rom_bar;
    char *rom_file;
    OptUint acpi_index;
    OptUint master_startport; /* USB companion controllers */
} DomainDevice;

/* <driver iommu= ats= packed= page_per_vq=> of virtio devices. */
typedef struct DomainVirtioOptions {
    TriState iommu, ats, packed, page_per_vq;
} DomainVirtioOptions;

typedef struct DomainSeclabel {
    DomainSeclabelType type;
    char *model, *label, *base_label, *image_label;
    TriState relabel, label_skip;
} DomainSeclabel;

/* --- disks --- */

typedef struct DomainSecretRef {
    DomainSecretType type;
    char *uuid, *usage;
} DomainSecretRef;

typedef struct DomainEncryption {
    DomainEncryptionFormat format;
    char *engine;
    XmlList secrets; /* of DomainSecretRef */
    char *cipher_name, *cipher_size, *cipher_mode, *cipher_hash;
    char *ivgen_name, *ivgen_hash;
} DomainEncryption;

typedef struct DomainSourceHost {
    DomainNetTransport transport;
    char *name;   /* host name or address */
    char *port;   /* text: may be a service */
    char *socket; /* path, transport unix */
} DomainSourceHost;

typedef struct DomainStorageSlice {
    char *type;
    uint64_t offset_bytes, size_bytes;
} DomainStorageSlice;

/* Where bytes come from: a disk's <source>, <mirror> or <backingStore>. */
typedef struct DomainSource {
    DomainSourceType type;
    DomainImageFormat format; /* of backing stores and mirrors; a disk's own is driver.format */
    char *path;               /* SOURCE_FILE "file", SOURCE_BLOCK "dev", SOURCE_DIR "dir" */
    char *fd_group;
    DomainNetProtocol protocol; /* SOURCE_NETWORK */
    char *name;                 /* export, image or path of the protocol */
    char *query;
    TriState tls;
    char *tls_hostname;
    XmlList hosts; /* of DomainSourceHost */
    char *snapshot_name, *config_file, *initiator_iqn, *nfs_user, *nfs_group;
    OptUint timeout_s, readahead_bytes, reconnect_delay_s;
    TriState ssl_verify;
    XmlList cookies;     /* of DomainSourceCookie */
    char *pool, *volume; /* SOURCE_VOLUME */
    DomainVolumeMode volume_mode;
    DomainAddress nvme; /* SOURCE_NVME */
    OptUint nvme_namespace;
    TriState nvme_managed;
    DomainStartupPolicy startup_policy;
    char *auth_username;
    DomainSecretRef auth_secret;
    DomainEncryption *encryption;
    TriState reservations, reservations_managed;
    char *reservations_type, *reservations_path, *reservations_mode;
    XmlList slices;                                   /* of DomainStorageSlice */
    XmlList seclabels;                                /* of DomainSeclabel */
    OptUint index;                                    /* live: the node's number, "vda[3]" */
    char *chardev_type, *chardev_path, *chardev_mode; /* SOURCE_VHOST_USER */
    char *vdpa_dev;
    uint64_t metadata_cache_bytes;
    struct DomainSource *backing; /* NULL: not given; type SOURCE_NONE: the chain ends here */
} DomainSource;

typedef struct DomainSourceCookie {
    char *name, *value;
} DomainSourceCookie;

typedef struct DomainMirror {
    DomainMirrorJob job;
    char *ready; /* "yes", "pivot", "abort" */
    DomainSource source;
} DomainMirror;

typedef struct DomainIotune {
    uint64_t total_bytes_sec, read_bytes_sec, write_bytes_sec;
    uint64_t total_iops_sec, read_iops_sec, write_iops_sec;
    uint64_t total_bytes_sec_max, read_bytes_sec_max, write_bytes_sec_max;
    uint64_t total_iops_sec_max, read_iops_sec_max, write_iops_sec_max;
    uint64_t size_iops_sec;
    uint64_t total_bytes_sec_max_length, read_bytes_sec_max_length, write_bytes_sec_max_length;
    uint64_t total_iops_sec_max_length, read_iops_sec_max_length, write_iops_sec_max_length;
    char *group_name;
} DomainIotune;

typedef struct DomainDiskDriver {
    char *name; /* "qemu" */
    DomainImageFormat format;
    DomainDiskCache cache;
    DomainErrorPolicy error_policy, rerror_policy;
    DomainDiskIo io;
    TriState ioeventfd, event_idx, copy_on_read, discard_no_unref;
    DomainDiscard discard;
    DomainDetectZeroes detect_zeroes;
    uint32_t iothread; /* 1..; 0: the main thread */
    uint32_t queues, queue_size;
    DomainVirtioOptions virtio;
} DomainDiskDriver;

typedef struct DomainDisk {
    DomainDevice device;
    DomainDiskDevice device_type;
    DomainVirtioModel model;
    TriState rawio, sgio_filtered;
    char *sgio;
    DomainSnapshotLocation snapshot;
    DomainDiskDriver driver;
    DomainSource source; /* its type is the disk's; backing stores in source.backing */
    DomainMirror *mirror;
    char *target_dev; /* "vda" */
    DomainDiskBus bus;
    DomainTray tray;
    TriState removable;
    OptUint rotation_rate;
    DomainIotune iotune;
    bool is_readonly, is_shareable, is_transient;
    TriState transient_share_backing;
    char *serial, *wwn, *vendor, *product;
    uint32_t cyls, heads, secs;
    DomainGeometryTrans trans;
    uint32_t logical_block_size, physical_block_size;
} DomainDisk;

typedef struct DomainController {
    DomainDevice device;
    DomainControllerType type;
    OptUint index; /* set by domain_def_parse() */
    DomainControllerModel model;
    OptUint ports, vectors; /* virtio-serial; USB ports in usb_ports */
    OptUint max_grant_frames;
    uint32_t queues, cmd_per_lun, max_sectors, iothread;
    TriState ioeventfd;
    DomainVirtioOptions virtio;
    char *model_name; /* PCI: the engine's device, "pcie-root-port" */
    OptUint chassis_nr, chassis, port, bus_nr, target_index, node;
    TriState hotplug;
    uint64_t pcihole64; /* KiB */
} DomainController;

typedef struct DomainFilesystem {
    DomainDevice device;
    DomainFsType type;
    DomainFsAccess access;
    DomainFsModel model;
    char *fmode, *dmode; /* octal text */
    DomainFsMultidevs multidevs;
    DomainFsDriver driver;
    char *driver_format;
    DomainFsWrpolicy wrpolicy;
    uint32_t queue_size;
    DomainVirtioOptions virtio;
    char *binary_path;
    TriState binary_xattr, lock_posix, lock_flock;
    DomainFsCache cache;
    DomainFsSandbox sandbox;
    uint32_t thread_pool_size;
    char *source_dir, *source_file, *source_dev, *source_name, *source_pool, *source_volume;
    char *source_socket;
    uint64_t source_usage_bytes;
    char *target_dir; /* the tag in the guest */
    bool is_readonly;
    uint64_t space_hard_limit_bytes, space_soft_limit_bytes;
} DomainFilesystem;

/* --- interfaces --- */

typedef struct DomainBandwidth {
    uint64_t average, peak, burst, floor; /* KiB/s, KiB/s, KiB, KiB/s */
} DomainBandwidth;

typedef struct DomainVlanTag {
    uint32_t id;
    DomainNativeVlan native;
} DomainVlanTag;

typedef struct DomainIp {
    char *address, *family, *prefix, *peer;
} DomainIp;

typedef struct DomainRoute {
    char *family, *address, *netmask, *prefix, *gateway, *metric;
} DomainRoute;

typedef struct DomainFilterParameter {
    char *name, *value;
} DomainFilterParameter;

typedef struct DomainPortRange {
    uint32_t start, end, to;
    TriState exclude;
} DomainPortRange;

typedef struct DomainPortForward {
    char *proto; /* "tcp", "udp" */
    char *address, *dev;
    XmlList ranges; /* of DomainPortRange */
} DomainPortForward;

typedef struct DomainNetOffloads {
    TriState csum, gso, tso4, tso6, ecn, ufo, mrg_rxbuf;
} DomainNetOffloads;

typedef struct DomainInterface {
    DomainDevice device;
    DomainInterfaceType type;
    TriState managed, trust_guest_rx_filters;
    MacAddress mac;
    DomainMacType mac_type;
    TriState mac_check;
    char *source_network, *source_portgroup, *source_portid; /* INTERFACE_NETWORK */
    char *source_bridge; /* INTERFACE_BRIDGE; live also INTERFACE_NETWORK */
    char *source_dev;    /* INTERFACE_DIRECT, _VDPA */
    DomainMacvtapMode source_mode;
    char *source_name;                                    /* INTERFACE_INTERNAL */
    char *source_type, *source_path, *source_socket_mode; /* INTERFACE_VHOST_USER */
    char *source_reconnect_enabled, *source_reconnect_timeout;
    char *source_address, *source_port, *local_address,
        *local_port;                /* server, client, mcast, udp */
    DomainHostdevType hostdev_type; /* INTERFACE_HOSTDEV */
    DomainAddress hostdev_address;
    XmlList ips;        /* of DomainIp: of the guest's side */
    XmlList routes;     /* of DomainRoute */
    XmlList source_ips; /* of DomainIp: of the host's side */
    char *script, *downscript, *backenddomain;
    DomainNetBackend backend;
    char *backend_tap, *backend_vhost, *backend_log_file;
    XmlList port_forwards; /* of DomainPortForward */
    char *target_dev;      /* tap's name; live "vnetN" */
    TriState target_managed;
    char *guest_dev;
    TriState isolated;
    char *filter;
    XmlList filter_parameters; /* of DomainFilterParameter */
    DomainVirtualportType virtualport;
    char *vp_managerid, *vp_typeid, *vp_typeidversion, *vp_instanceid, *vp_profileid,
        *vp_interfaceid;
    TriState vlan_trunk;
    XmlList vlan_tags; /* of DomainVlanTag */
    DomainTeaming teaming;
    char *teaming_persistent;
    DomainBandwidth inbound, outbound;
    char *model; /* "virtio", "e1000", ... */
    DomainNetDriver driver;
    DomainTxMode txmode;
    TriState ioeventfd, event_idx, rss, rss_hash_report;
    uint32_t queues, rx_queue_size, tx_queue_size;
    DomainVirtioOptions virtio;
    DomainNetOffloads host, guest;
    OptUint sndbuf_bytes;
    uint32_t mtu;
    DomainLinkState link;
    OptUint coalesce_rx_frames;
} DomainInterface;

/* --- character devices --- */

/* The host's side of serial, parallel, console, channel, redirdev, smartcard, rng (egd). */
typedef struct DomainChardev {
    DomainChardevType type;
    char *path;                     /* pty (live: the slave), dev, file, pipe, unix */
    DomainSocketMode mode;          /* unix, tcp */
    char *host, *service;           /* tcp; udp: where to send to */
    char *bind_host, *bind_service; /* udp: where to listen */
    TriState tls;
    TriState append;
    DomainTcpProtocol protocol;
    TriState reconnect_enabled;
    uint32_t reconnect_timeout_s;
    char *channel;        /* spiceport, dbus */
    char *master, *slave; /* nmdm */
    TriState clipboard_copypaste;
    char *mouse_mode;
    char *log_file;
    TriState log_append;
    XmlList seclabels; /* of DomainSeclabel */
} DomainChardev;

/* DEVICE_SERIAL, DEVICE_PARALLEL, DEVICE_CONSOLE, DEVICE_CHANNEL. */
typedef struct DomainCharDevice {
    DomainDevice device;
    DomainChardev source;
    char *tty;    /* console, live: as source.path of a pty */
    OptUint port; /* target number */
    DomainSerialTarget serial_type;
    DomainSerialModel serial_model;
    DomainConsoleTarget console_type;
    DomainChannelTarget channel_type;
    char *channel_name; /* "org.qemu.guest_agent.0" */
    DomainChannelState channel_state;
    char *guestfwd_address, *guestfwd_port;
} DomainCharDevice;

typedef struct DomainSmartcard {
    DomainDevice device;
    DomainSmartcardMode mode;
    char *database;
    DomainChardev source;
} DomainSmartcard;

/* --- input and output for people --- */

typedef struct DomainInput {
    DomainDevice device;
    DomainInputType type;
    DomainInputBus bus;
    DomainVirtioModel model;
    DomainVirtioOptions virtio;
    char *source_evdev, *source_dev, *source_grab, *source_grab_toggle;
    TriState source_repeat;
} DomainInput;

typedef struct DomainTpm {
    DomainDevice device;
    DomainTpmModel model;
    DomainTpmBackend backend;
    char *path; /* passthrough */
    DomainTpmVersion version;
    TriState persistent_state;
    char *encryption_secret;
    char *active_pcr_banks; /* raw XML element */
    DomainChardev source;   /* external */
} DomainTpm;

typedef struct DomainGraphicsListen {
    DomainListenType type;
    char *address, *network, *socket;
} DomainGraphicsListen;

typedef struct DomainGraphics {
    DomainDevice device;
    DomainGraphicsType type;
    int64_t port;      /* 5900...; -1: chosen at start; 0: not given */
    int64_t tls_port;  /* spice; as above */
    int64_t websocket; /* -1: chosen at start; 0: none */
    TriState autoport;
    char *keymap;
    char *passwd; /* secret */
    char *passwd_valid_to;
    DomainGraphicsConnected connected;
    DomainVncShare share_policy;
    TriState power_control;
    char *display, *xauth; /* sdl, desktop */
    TriState fullscreen;
    char *multi_user, *replace_user; /* rdp */
    XmlList listens;                 /* of DomainGraphicsListen; domain_def_parse() makes one */
    char *default_mode;              /* spice */
    XmlList channels;                /* of DomainSpiceChannel */
    char *image_compression, *jpeg_compression, *zlib_compression, *streaming_mode, *mouse_mode;
    TriState playback_compression, clipboard_copypaste, filetransfer_enable;
    TriState gl_enable;
    char *gl_rendernode;
    OptUint audio_id;
    TriState p2p; /* dbus */
    char *address;
} DomainGraphics;

typedef struct DomainSpiceChannel {
    char *name, *mode;
} DomainSpiceChannel;

typedef struct DomainSound {
    DomainDevice device;
    DomainSoundModel model;
    XmlList codecs; /* of DomainSoundCodec */
    OptUint audio_id;
    TriState multichannel;
} DomainSound;

typedef struct DomainSoundCodec {
    char *type;
} DomainSoundCodec;

/* One direction of a back end. */
typedef struct DomainAudioIo {
    TriState mixing_engine, fixed_settings;
    uint32_t voices, buffer_length /* us */;
    bool has_settings;
    uint32_t frequency, channels;
    DomainAudioFormat format;
    char *dev;             /* alsa, oss */
    uint32_t buffer_count; /* coreaudio, oss, sdl */
    TriState oss_try_poll;
    char *name, *stream_name;                        /* pulseaudio */
    uint32_t latency;                                /* us; pulseaudio */
    char *server_name, *client_name, *connect_ports; /* jack */
    TriState exact_name;
} DomainAudioIo;

typedef struct DomainAudio {
    DomainDevice device;
    OptUint id;
    DomainAudioType type;
    uint32_t timer_period; /* us; 0: QEMU's own */
    char *server_name;     /* pulseaudio */
    char *path;            /* file */
    DomainSdlAudio sdl_driver;
    TriState oss_try_mmap, oss_exclusive;
    OptUint oss_dsp_policy;
    DomainAudioIo input, output;
} DomainAudio;

typedef struct DomainVideo {
    DomainDevice device;
    DomainVideoModel model;
    uint32_t ram, vram, vram64, vgamem; /* KiB */
    uint32_t heads;
    TriState primary, blob;
    DomainVideoDriver driver;
    DomainVgaconf vgaconf;
    DomainVirtioOptions virtio;
    TriState accel2d, accel3d;
    char *rendernode;
    uint32_t res_x, res_y;
} DomainVideo;

/* --- host devices --- */

typedef struct DomainHostdev {
    DomainDevice device;
    DomainHostdevMode mode;
    DomainHostdevType type;
    TriState managed;
    DomainMdevModel mdev_model;
    TriState display, ramfb;
    char *sgio;
    TriState rawio;
    DomainPciDriver driver;
    TriState write_filtering;
    char *guest_reset;
    DomainStartupPolicy startup_policy;
    TriState missing;                 /* live: optional, and not there */
    uint32_t usb_vendor, usb_product; /* 0: by address */
    uint32_t usb_bus, usb_device;
    DomainAddress pci;
    Uuid mdev;
    char *scsi_adapter, *scsi_protocol, *scsi_wwpn;
    OptUint scsi_bus, scsi_target, scsi_unit;
    char *iscsi_name;
    XmlList iscsi_hosts; /* of DomainSourceHost */
    char *auth_username;
    DomainSecretRef auth_secret;
    char *initiator_iqn;
    char *caps_block, *caps_char, *caps_net; /* HOSTDEV_CAPABILITIES */
    DomainTeaming teaming;
    char *teaming_persistent;
    bool is_readonly, is_shareable;
} DomainHostdev;

typedef struct DomainRedirdev {
    DomainDevice device;
    char *bus; /* "usb" */
    DomainChardev source;
} DomainRedirdev;

typedef struct DomainRedirfilterRule {
    char *usb_class, *vendor, *product, *version;
    TriState allow;
} DomainRedirfilterRule;

typedef struct DomainRedirfilter {
    DomainDevice device;
    XmlList rules; /* of DomainRedirfilterRule */
} DomainRedirfilter;

typedef struct DomainHub {
    DomainDevice device;
    char *type; /* "usb" */
} DomainHub;

/* --- the rest --- */

typedef struct DomainWatchdog {
    DomainDevice device;
    DomainWatchdogModel model;
    DomainWatchdogAction action;
} DomainWatchdog;

typedef struct DomainMemballoon {
    DomainDevice device;
    DomainBalloonModel model;
    TriState autodeflate, free_page_reporting;
    OptUint stats_period_s;
    DomainVirtioOptions virtio;
} DomainMemballoon;

typedef struct DomainRng {
    DomainDevice device;
    DomainVirtioModel model;
    DomainRngBackend backend;
    char *path;           /* RNG_RANDOM */
    DomainChardev source; /* RNG_EGD; its type is the backend's "type" attribute */
    uint32_t rate_bytes, rate_period_ms;
    DomainVirtioOptions virtio;
} DomainRng;

typedef struct DomainNvramDevice {
    DomainDevice device;
} DomainNvramDevice;

typedef struct DomainPanic {
    DomainDevice device;
    DomainPanicModel model;
} DomainPanic;

typedef struct DomainShmem {
    DomainDevice device;
    char *name;
    DomainShmemRole role;
    DomainShmemModel model;
    uint64_t size_mib; /* as given, in MiB */
    char *server_path;
    TriState msi, msi_ioeventfd;
    bool has_server, has_msi;
    OptUint msi_vectors;
} DomainShmem;

typedef struct DomainMemory {
    DomainDevice device;
    DomainMemoryModel model;
    DomainMemoryAccess access;
    TriState discard;
    Uuid uuid;
    char *source_path;
    uint64_t page_size, align_size; /* KiB */
    bool is_pmem;
    char *node_mask;
    uint64_t size; /* KiB */
    OptUint node;
    uint64_t label_size;
    uint64_t block, requested, current; /* KiB, of virtio-mem: a part of @size */
    bool is_readonly;
} DomainMemory;

typedef struct DomainIommu {
    DomainDevice device;
    DomainIommuModel model;
    TriState intremap, caching_mode, eim, iotlb;
    OptUint aw_bits;
} DomainIommu;

typedef struct DomainVsock {
    DomainDevice device;
    DomainVirtioModel model;
    TriState cid_auto;
    OptUint cid; /* 3.. */
    DomainVirtioOptions virtio;
} DomainVsock;

/* --- memory, CPUs --- */

typedef struct DomainHugepage {
    uint64_t size; /* KiB */
    char *nodeset;
} DomainHugepage;

typedef struct DomainMemoryBacking {
    bool has_hugepages;
    XmlList pages; /* of DomainHugepage; empty with has_hugepages: the host's default size */
    bool nosharepages, locked, discard;
    DomainMemorySource source;
    DomainMemoryAccess access;
    DomainMemoryAllocation allocation;
    uint32_t allocation_threads;
} DomainMemoryBacking;

typedef struct DomainCpuFeature {
    char *name;
    DomainCpuPolicy policy;
} DomainCpuFeature;

typedef struct DomainNumaDistance {
    uint32_t id, value;
} DomainNumaDistance;

typedef struct DomainNumaCell {
    OptUint id;
    char *cpus;
    uint64_t memory; /* KiB */
    DomainMemoryAccess access;
    TriState discard;
    XmlList distances; /* of DomainNumaDistance */
} DomainNumaCell;

typedef struct DomainCpu {
    DomainCpuMode mode;
    DomainCpuMatch match;
    DomainCpuCheck check;
    TriState migratable;
    char *model, *vendor, *vendor_id;
    DomainCpuFallback fallback;
    uint32_t sockets, dies, cores, threads; /* 0: no topology given */
    DomainCpuCacheMode cache_mode;
    OptUint cache_level;
    DomainMaxPhysAddrMode max_phys_addr;
    OptUint max_phys_addr_bits;
    XmlList features; /* of DomainCpuFeature */
    XmlList cells;    /* of DomainNumaCell */
} DomainCpu;

typedef struct DomainVcpu {
    uint32_t id;
    TriState enabled, hotpluggable;
    uint32_t order;
} DomainVcpu;

typedef struct DomainPin {
    uint32_t id; /* vCPU or IOThread */
    char *cpuset;
} DomainPin;

typedef struct DomainScheduling {
    char *ids; /* vcpus or iothreads; NULL: the emulator */
    DomainScheduler scheduler;
    OptUint priority;
} DomainScheduling;

typedef struct DomainCputune {
    OptUint shares;                                                   /* 2..262144 */
    uint64_t period, global_period, emulator_period, iothread_period; /* us */
    int64_t quota, global_quota, emulator_quota, iothread_quota;      /* us; -1: no limit */
    XmlList vcpu_pins, iothread_pins;                                 /* of DomainPin */
    char *emulator_pin;
    XmlList vcpu_scheds, iothread_scheds, emulator_scheds; /* of DomainScheduling */
} DomainCputune;

typedef struct DomainMemnode {
    uint32_t cell;
    DomainNumatuneMode mode;
    char *nodeset;
} DomainMemnode;

typedef struct DomainBlkioDevice {
    char *path;
    uint32_t weight, read_iops_sec, write_iops_sec;
    uint64_t read_bytes_sec, write_bytes_sec;
} DomainBlkioDevice;

typedef struct DomainIothread {
    uint32_t id;
    OptUint thread_pool_min, thread_pool_max, poll_max_ns, poll_grow, poll_shrink;
} DomainIothread;

/* --- operating system, features, clock --- */

typedef struct DomainBoot {
    DomainBootDev dev;
} DomainBoot;

typedef struct DomainOsFeatureSetting {
    DomainOsFeature name;
    TriState enabled;
} DomainOsFeatureSetting;

typedef struct DomainText {
    char *text;
} DomainText;

typedef struct DomainOs {
    DomainOsType type;
    char *arch;    /* "x86_64" */
    char *machine; /* canonical after domain_def_parse() */
    DomainOsFirmware firmware;
    XmlList firmware_features; /* of DomainOsFeatureSetting */
    char *loader;
    TriState loader_readonly, loader_secure, loader_stateless;
    DomainLoaderType loader_type;
    DomainImageFormat loader_format;
    char *nvram, *nvram_template;
    DomainImageFormat nvram_format, nvram_template_format;
    DomainSourceType nvram_type;
    DomainSource *nvram_source; /* <nvram type='...'><source/></nvram> */
    char *kernel, *initrd, *cmdline, *dtb, *shim;
    char *init, *initdir, *inituser, *initgroup; /* containers: kept */
    XmlList initargs;                            /* of DomainText */
    XmlList boots;                               /* of DomainBoot */
    TriState bootmenu;
    OptUint bootmenu_timeout_ms;
    DomainSmbiosMode smbios;
    TriState bios_useserial;
    char *bios_reboot_timeout; /* ms, "-1": never */
    char *acpi_table, *acpi_table_type;
} DomainOs;

typedef struct DomainFeatures {
    bool acpi, pae, privnet, viridian;
    bool apic;
    TriState apic_eoi;
    TriState hap, pvspinlock;
    bool hyperv;
    DomainHypervMode hyperv_mode;
    TriState relaxed, vapic, spinlocks;
    uint32_t spinlock_retries;
    TriState vpindex, runtime, synic, stimer, stimer_direct, reset, vendor_id;
    char *vendor_id_value;
    TriState frequencies, reenlightenment, tlbflush, ipi, evmcs, avic, emsr_bitmap, xmm_input;
    bool kvm;
    TriState kvm_hidden, kvm_hint_dedicated, kvm_poll_control, kvm_pv_ipi, kvm_dirty_ring;
    uint32_t kvm_dirty_ring_size;
    TriState vmport, pmu, vmcoreinfo;
    TriState smm;
    bool has_smm;
    uint64_t smm_tseg; /* KiB */
    DomainIoapic ioapic;
    TriState htm, nested_hv;
    char *msrs_unknown;
    uint64_t tcg_tb_cache; /* KiB */
    TriState async_teardown;
} DomainFeatures;

typedef struct DomainTimer {
    DomainTimerName name;
    DomainTickPolicy tick_policy;
    DomainTimerTrack track;
    TriState present;
    DomainTimerMode mode;
    uint64_t frequency_hz;
    OptUint catchup_threshold, catchup_slew, catchup_limit;
} DomainTimer;

typedef struct DomainClock {
    DomainClockOffset offset;
    char *adjustment; /* seconds, or "reset" */
    DomainClockBasis basis;
    char *timezone;
    OptUint start;  /* CLOCK_ABSOLUTE: seconds since 1970 */
    XmlList timers; /* of DomainTimer */
} DomainClock;

typedef struct DomainSysinfoEntry {
    char *name, *value, *file;
} DomainSysinfoEntry;

typedef struct DomainSysinfoTable {
    XmlList entries; /* of DomainSysinfoEntry */
} DomainSysinfoTable;

/* <sysinfo type='smbios'> or 'fwcfg'. */
typedef struct DomainSysinfo {
    char *type;
    DomainSysinfoTable bios, system, chassis;
    XmlList base_boards;            /* of DomainSysinfoTable */
    DomainSysinfoTable oem_strings; /* entries have values only */
    XmlList fwcfg;                  /* of DomainSysinfoEntry */
} DomainSysinfo;

typedef struct DomainLaunchSecurity {
    char *type; /* "sev" */
    TriState kernel_hashes;
    char *cbitpos, *reduced_phys_bits, *policy, *dh_cert, *session;
} DomainLaunchSecurity;

typedef struct DomainEnv {
    char *name, *value;
} DomainEnv;

/* <qemu:commandline>: kept, and given to the engine qemu. */
typedef struct DomainQemuCommandline {
    XmlList args;                                /* of DomainText */
    XmlList envs;                                /* of DomainEnv */
    char *capabilities, *override, *deprecation; /* raw elements, or NULL */
} DomainQemuCommandline;

/* --- the domain --- */

typedef struct DomainDef {
    DomainVirtType virt;
    int64_t id; /* 1.. while it runs, else 0 */
    char *name;
    Uuid uuid;
    Uuid genid;
    bool has_genid; /* zero genid: to be generated */
    char *title, *description;
    char *metadata; /* the whole <metadata> element as text */
    char *hwuuid;

    uint64_t memory;         /* KiB: <memory>, DIMMs included */
    uint64_t current_memory; /* KiB */
    TriState dump_core;
    uint64_t max_memory; /* KiB; 0: none */
    uint32_t max_memory_slots;
    DomainMemoryBacking memory_backing;

    uint32_t vcpus;         /* most; 1.. */
    uint32_t current_vcpus; /* 1..vcpus */
    char *vcpu_cpuset;
    DomainPlacement vcpu_placement;
    XmlList vcpu_list; /* of DomainVcpu */
    uint32_t iothreads;
    XmlList iothread_list; /* of DomainIothread */
    DomainCputune cputune;
    DomainNumatuneMode numatune_mode;
    char *numatune_nodeset;
    DomainPlacement numatune_placement;
    XmlList memnodes; /* of DomainMemnode */
    uint32_t blkio_weight;
    XmlList blkio_devices; /* of DomainBlkioDevice */
    uint64_t mem_hard_limit, mem_soft_limit, mem_swap_hard_limit, mem_min_guarantee; /* KiB */
    char *resource_partition;
    char *resource_fibrechannel_appid;

    XmlList sysinfos; /* of DomainSysinfo */
    DomainOs os;
    DomainFeatures features;
    DomainCpu *cpu; /* NULL: the engine's default */
    DomainClock clock;
    DomainLifecycle on_poweroff, on_reboot, on_crash;
    DomainLockFailure on_lockfailure;
    TriState pm_suspend_mem, pm_suspend_disk;
    XmlList perf_events; /* of DomainPerfEvent */

    char *emulator;
    XmlList devices[DOMAIN_DEVICE_KINDS]; /* of the kind's struct */

    XmlList seclabels; /* of DomainSeclabel */
    char *keywrap;     /* raw element */
    DomainLaunchSecurity *launch_security;
    DomainQemuCommandline *qemu;
} DomainDef;

typedef struct DomainPerfEvent {
    char *name;
    TriState enabled;
} DomainPerfEvent;

/* Definitions and devices of them are freed with all that they own. NULL is accepted. */
void domain_def_free(DomainDef *def);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DomainDef, domain_def_free)
DomainDef *domain_def_copy(const DomainDef *def);

#endif
