/* <disk>, its sources and backing stores.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/domain/tables.h"

const XmlField secret_ref_fields[] = {
    XML_ATTR_ENUM(DomainSecretRef, type, "type", secret_type_names),
    XML_ATTR_STR(DomainSecretRef, usage, "usage"),
    XML_ATTR_STR(DomainSecretRef, uuid, "uuid"),
    XML_END,
};

const XmlField source_host_fields[] = {
    XML_ATTR_ENUM(DomainSourceHost, transport, "transport", net_transport_names),
    XML_ATTR_STR(DomainSourceHost, name, "name"),
    XML_ATTR_STR(DomainSourceHost, port, "port"),
    XML_ATTR_STR(DomainSourceHost, socket, "socket"),
    XML_END,
};

static const XmlField encryption_fields[] = {
    XML_ATTR_ENUM(DomainEncryption, format, "format", encryption_format_names,
                  .flags = XML_REQUIRED),
    XML_ATTR_STR(DomainEncryption, engine, "engine"),
    XML_LIST(DomainEncryption, secrets, "secret", DomainSecretRef, secret_ref_fields),
    XML_NEST("cipher", FIELDS(XML_ATTR_STR(DomainEncryption, cipher_name, "name"),
                              XML_ATTR_STR(DomainEncryption, cipher_size, "size"),
                              XML_ATTR_STR(DomainEncryption, cipher_mode, "mode"),
                              XML_ATTR_STR(DomainEncryption, cipher_hash, "hash"))),
    XML_NEST("ivgen", FIELDS(XML_ATTR_STR(DomainEncryption, ivgen_name, "name"),
                             XML_ATTR_STR(DomainEncryption, ivgen_hash, "hash"))),
    XML_END,
};

static const XmlField slice_fields[] = {
    XML_ATTR_STR(DomainStorageSlice, type, "type"),
    XML_ATTR(DomainStorageSlice, offset_bytes, "offset", xml_u64, .flags = XML_ALWAYS),
    XML_ATTR(DomainStorageSlice, size_bytes, "size", xml_u64, .flags = XML_ALWAYS),
    XML_END,
};

static const XmlField auth_fields[] = {
    XML_ATTR_STR(DomainSource, auth_username, "username", .flags = XML_REQUIRED),
    XML_NEST_AT(DomainSource, auth_secret, "secret", secret_ref_fields),
    XML_END,
};

/* Children of every kind of <source>. */
static const XmlField source_common_fields[] = {
    XML_LIST(DomainSource, seclabels, "seclabel", DomainSeclabel, seclabel_fields),
    XML_NEST("slices",
             FIELDS(XML_LIST(DomainSource, slices, "slice", DomainStorageSlice, slice_fields))),
    XML_PTR(DomainSource, encryption, "encryption", DomainEncryption, encryption_fields),
    XML_NEST(
        "reservations",
        FIELDS(XML_ATTR_ENUM(DomainSource, reservations, "enabled", yes_no_names),
               XML_ATTR_ENUM(DomainSource, reservations_managed, "managed", yes_no_names),
               XML_NEST("source", FIELDS(XML_ATTR_STR(DomainSource, reservations_type, "type"),
                                         XML_ATTR_STR(DomainSource, reservations_path, "path"),
                                         XML_ATTR_STR(DomainSource, reservations_mode, "mode"))))),
    XML_NEST("auth", auth_fields),
    XML_END,
};

#define SOURCE_TAIL                                                                                \
    XML_ATTR_ENUM(DomainSource, startup_policy, "startupPolicy", startup_policy_names),            \
        XML_ATTR(DomainSource, index, "index", xml_opt), XML_INCLUDE(source_common_fields)

static const XmlField file_fields[] = {
    XML_ATTR_STR(DomainSource, path, "file"),
    XML_ATTR_STR(DomainSource, fd_group, "fdgroup"),
    SOURCE_TAIL,
    XML_END,
};

static const XmlField block_fields[] = {
    XML_ATTR_STR(DomainSource, path, "dev"),
    SOURCE_TAIL,
    XML_END,
};

static const XmlField dir_fields[] = {
    XML_ATTR_STR(DomainSource, path, "dir"),
    SOURCE_TAIL,
    XML_END,
};

static const XmlField network_fields[] = {
    XML_ATTR_ENUM(DomainSource, protocol, "protocol", net_protocol_names, .flags = XML_REQUIRED),
    XML_ATTR_STR(DomainSource, name, "name"),
    XML_ATTR_STR(DomainSource, query, "query"),
    XML_ATTR_ENUM(DomainSource, tls, "tls", yes_no_names),
    XML_ATTR_STR(DomainSource, tls_hostname, "tlsHostname"),
    XML_LIST(DomainSource, hosts, "host", DomainSourceHost, source_host_fields),
    XML_NEST("snapshot", FIELDS(XML_ATTR_STR(DomainSource, snapshot_name, "name"))),
    XML_NEST("config", FIELDS(XML_ATTR_STR(DomainSource, config_file, "file"))),
    XML_NEST("initiator",
             FIELDS(XML_NEST("iqn", FIELDS(XML_ATTR_STR(DomainSource, initiator_iqn, "name"))))),
    XML_NEST("identity", FIELDS(XML_ATTR_STR(DomainSource, nfs_user, "user"),
                                XML_ATTR_STR(DomainSource, nfs_group, "group"))),
    XML_NEST("ssl", FIELDS(XML_ATTR_ENUM(DomainSource, ssl_verify, "verify", yes_no_names))),
    XML_NEST("cookies", FIELDS(XML_LIST(DomainSource, cookies, "cookie", DomainSourceCookie,
                                        FIELDS(XML_ATTR_STR(DomainSourceCookie, name, "name",
                                                            .flags = XML_REQUIRED),
                                               XML_TEXT(DomainSourceCookie, value, xml_string))))),
    XML_NEST("timeout", FIELDS(XML_ATTR(DomainSource, timeout_s, "seconds", xml_opt))),
    XML_NEST("readahead", FIELDS(XML_ATTR(DomainSource, readahead_bytes, "size", xml_opt))),
    XML_NEST("reconnect", FIELDS(XML_ATTR(DomainSource, reconnect_delay_s, "delay", xml_opt))),
    SOURCE_TAIL,
    XML_END,
};

static const XmlField volume_fields[] = {
    XML_ATTR_STR(DomainSource, pool, "pool", .flags = XML_REQUIRED),
    XML_ATTR_STR(DomainSource, volume, "volume", .flags = XML_REQUIRED),
    XML_ATTR_ENUM(DomainSource, volume_mode, "mode", volume_mode_names),
    SOURCE_TAIL,
    XML_END,
};

static const XmlField nvme_fields[] = {
    XML_ATTR_STR(DomainSource, name, "type"), /* "pci" */
    XML_ATTR_ENUM(DomainSource, nvme_managed, "managed", yes_no_names),
    XML_ATTR(DomainSource, nvme_namespace, "namespace", xml_opt),
    XML_NEST_AT(DomainSource, nvme, "address", pci_address_fields),
    SOURCE_TAIL,
    XML_END,
};

static const XmlField vhost_user_fields[] = {
    XML_ATTR_STR(DomainSource, chardev_type, "type"),
    XML_ATTR_STR(DomainSource, chardev_path, "path"),
    XML_ATTR_STR(DomainSource, chardev_mode, "mode"),
    SOURCE_TAIL,
    XML_END,
};

static const XmlField vhost_vdpa_fields[] = {
    XML_ATTR_STR(DomainSource, vdpa_dev, "dev"),
    SOURCE_TAIL,
    XML_END,
};

#define SOURCE_OF(table) FIELDS(XML_NEST("source", table))

static const XmlField *const source_variants[] = {
    [SOURCE_NONE] = SOURCE_OF(file_fields), /* what a disk is without a type */
    [SOURCE_FILE] = SOURCE_OF(file_fields),
    [SOURCE_BLOCK] = SOURCE_OF(block_fields),
    [SOURCE_DIR] = SOURCE_OF(dir_fields),
    [SOURCE_NETWORK] = SOURCE_OF(network_fields),
    [SOURCE_VOLUME] = SOURCE_OF(volume_fields),
    [SOURCE_NVME] = SOURCE_OF(nvme_fields),
    [SOURCE_VHOST_USER] = SOURCE_OF(vhost_user_fields),
    [SOURCE_VHOST_VDPA] = SOURCE_OF(vhost_vdpa_fields),
};

const XmlField nvram_source_fields[] = {
    XML_VARIANT(DomainSource, type, source_variants),
    XML_END,
};

static const XmlField format_fields[] = {
    XML_ATTR_ENUM(DomainSource, format, "type", image_format_names),
    XML_NEST("metadata_cache",
             FIELDS(XML_LEAF(DomainSource, metadata_cache_bytes, "max_size", xml_bytes))),
    XML_END,
};

static const XmlField backing_fields[] = {
    XML_ATTR_ENUM(DomainSource, type, "type", source_type_names),
    XML_NEST("format", format_fields),
    XML_VARIANT(DomainSource, type, source_variants),
    XML_PTR(DomainSource, backing, "backingStore", DomainSource, backing_fields),
    XML_END,
};

static const XmlField mirror_fields[] = {
    XML_ATTR_ENUM(DomainMirror, source.type, "type", source_type_names),
    XML_ATTR_ENUM(DomainMirror, job, "job", mirror_job_names),
    XML_ATTR_STR(DomainMirror, ready, "ready"),
    XML_NEST_AT(DomainMirror, source, "format", format_fields),
    XML_INLINE(DomainMirror, source, nvram_source_fields),
    XML_PTR(DomainMirror, source.backing, "backingStore", DomainSource, backing_fields),
    XML_END,
};

static const XmlField disk_driver_fields[] = {
    XML_ATTR_STR(DomainDiskDriver, name, "name"),
    XML_ATTR_ENUM(DomainDiskDriver, format, "type", image_format_names,
                  .invalid = CONF_ERROR_UNSUPPORTED),
    XML_ATTR_ENUM(DomainDiskDriver, cache, "cache", disk_cache_names),
    XML_ATTR_ENUM(DomainDiskDriver, error_policy, "error_policy", error_policy_names),
    XML_ATTR_ENUM(DomainDiskDriver, rerror_policy, "rerror_policy", error_policy_names),
    XML_ATTR_ENUM(DomainDiskDriver, io, "io", disk_io_names),
    XML_ATTR_ENUM(DomainDiskDriver, ioeventfd, "ioeventfd", on_off_names),
    XML_ATTR_ENUM(DomainDiskDriver, event_idx, "event_idx", on_off_names),
    XML_ATTR_ENUM(DomainDiskDriver, copy_on_read, "copy_on_read", on_off_names),
    XML_ATTR_ENUM(DomainDiskDriver, discard, "discard", discard_names),
    XML_ATTR(DomainDiskDriver, iothread, "iothread", xml_u32),
    XML_ATTR_ENUM(DomainDiskDriver, detect_zeroes, "detect_zeroes", detect_zeroes_names),
    XML_ATTR(DomainDiskDriver, queues, "queues", xml_u32),
    XML_ATTR(DomainDiskDriver, queue_size, "queue_size", xml_u32),
    XML_ATTR_ENUM(DomainDiskDriver, discard_no_unref, "discard_no_unref", on_off_names),
    XML_INLINE(DomainDiskDriver, virtio, virtio_fields),
    XML_END,
};

#define TUNE(member) XML_LEAF(DomainIotune, member, #member, xml_u64)

static const XmlField iotune_fields[] = {
    TUNE(total_bytes_sec),
    TUNE(read_bytes_sec),
    TUNE(write_bytes_sec),
    TUNE(total_iops_sec),
    TUNE(read_iops_sec),
    TUNE(write_iops_sec),
    TUNE(total_bytes_sec_max),
    TUNE(read_bytes_sec_max),
    TUNE(write_bytes_sec_max),
    TUNE(total_iops_sec_max),
    TUNE(read_iops_sec_max),
    TUNE(write_iops_sec_max),
    TUNE(size_iops_sec),
    XML_LEAF(DomainIotune, group_name, "group_name", xml_nonempty),
    TUNE(total_bytes_sec_max_length),
    TUNE(read_bytes_sec_max_length),
    TUNE(write_bytes_sec_max_length),
    TUNE(total_iops_sec_max_length),
    TUNE(read_iops_sec_max_length),
    TUNE(write_iops_sec_max_length),
    XML_END,
};

const XmlField disk_fields[] = {
    XML_ATTR_ENUM(DomainDisk, source.type, "type", source_type_names),
    XML_ATTR_ENUM(DomainDisk, device_type, "device", disk_device_names),
    XML_ATTR_ENUM(DomainDisk, model, "model", virtio_model_names),
    XML_ATTR_ENUM(DomainDisk, rawio, "rawio", yes_no_names),
    XML_ATTR_STR(DomainDisk, sgio, "sgio"),
    XML_ATTR_ENUM(DomainDisk, snapshot, "snapshot", snapshot_location_names),
    XML_NEST_AT(DomainDisk, driver, "driver", disk_driver_fields),
    XML_NEST_AT(DomainDisk, source, "auth", auth_fields, .flags = XML_READ),
    XML_INLINE(DomainDisk, source, nvram_source_fields),
    XML_PTR(DomainDisk, source.backing, "backingStore", DomainSource, backing_fields),
    XML_NEST("geometry", FIELDS(XML_ATTR(DomainDisk, cyls, "cyls", xml_u32),
                                XML_ATTR(DomainDisk, heads, "heads", xml_u32),
                                XML_ATTR(DomainDisk, secs, "secs", xml_u32),
                                XML_ATTR_ENUM(DomainDisk, trans, "trans", geometry_trans_names))),
    XML_NEST("blockio",
             FIELDS(XML_ATTR(DomainDisk, logical_block_size, "logical_block_size", xml_u32),
                    XML_ATTR(DomainDisk, physical_block_size, "physical_block_size", xml_u32))),
    XML_PTR(DomainDisk, mirror, "mirror", DomainMirror, mirror_fields),
    XML_NEST("target", FIELDS(XML_ATTR_STR(DomainDisk, target_dev, "dev"),
                              XML_ATTR_ENUM(DomainDisk, bus, "bus", disk_bus_names),
                              XML_ATTR_ENUM(DomainDisk, tray, "tray", tray_names),
                              XML_ATTR_ENUM(DomainDisk, removable, "removable", on_off_names),
                              XML_ATTR(DomainDisk, rotation_rate, "rotation_rate", xml_opt))),
    XML_NEST_AT(DomainDisk, iotune, "iotune", iotune_fields),
    XML_FLAG(DomainDisk, is_readonly, "readonly"),
    XML_FLAG(DomainDisk, is_shareable, "shareable"),
    XML_NEST(
        "transient",
        FIELDS(XML_ATTR_ENUM(DomainDisk, transient_share_backing, "shareBacking", yes_no_names)),
        XML_PRESENT(DomainDisk, is_transient)),
    XML_LEAF(DomainDisk, serial, "serial", xml_lenient),
    XML_LEAF(DomainDisk, wwn, "wwn", xml_lenient),
    XML_LEAF(DomainDisk, vendor, "vendor", xml_lenient),
    XML_LEAF(DomainDisk, product, "product", xml_lenient),
    XML_INLINE(DomainDisk, source,
               FIELDS(XML_PTR(DomainSource, encryption, "encryption", DomainEncryption,
                              encryption_fields, .flags = XML_READ))),
    XML_INLINE(DomainDisk, device, device_fields),
    XML_END,
};
