/* Devices with few elements: file systems, TPM, balloon, random numbers, watchdog, memory and more.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/domain/tables.h"

static const XmlField *const fs_source_variants[] = {
    [FS_TYPE_NONE] =
        FIELDS(XML_NEST("source", FIELDS(XML_ATTR_STR(DomainFilesystem, source_dir, "dir"),
                                         XML_ATTR_STR(DomainFilesystem, source_socket, "socket")))),
    [FS_MOUNT] =
        FIELDS(XML_NEST("source", FIELDS(XML_ATTR_STR(DomainFilesystem, source_dir, "dir"),
                                         XML_ATTR_STR(DomainFilesystem, source_socket, "socket")))),
    [FS_BIND] =
        FIELDS(XML_NEST("source", FIELDS(XML_ATTR_STR(DomainFilesystem, source_dir, "dir")))),
    [FS_BLOCK] =
        FIELDS(XML_NEST("source", FIELDS(XML_ATTR_STR(DomainFilesystem, source_dev, "dev")))),
    [FS_FILE] =
        FIELDS(XML_NEST("source", FIELDS(XML_ATTR_STR(DomainFilesystem, source_file, "file")))),
    [FS_TEMPLATE] =
        FIELDS(XML_NEST("source", FIELDS(XML_ATTR_STR(DomainFilesystem, source_name, "name")))),
    [FS_RAM] = FIELDS(XML_NEST(
        "source", FIELDS(XML_ATTR(DomainFilesystem, source_usage_bytes, "usage", xml_bytes)))),
    [FS_VOLUME] =
        FIELDS(XML_NEST("source", FIELDS(XML_ATTR_STR(DomainFilesystem, source_pool, "pool"),
                                         XML_ATTR_STR(DomainFilesystem, source_volume, "volume")))),
};

static const XmlField fs_binary_fields[] = {
    XML_ATTR_STR(DomainFilesystem, binary_path, "path"),
    XML_ATTR_ENUM(DomainFilesystem, binary_xattr, "xattr", on_off_names),
    XML_NEST("cache", FIELDS(XML_ATTR_ENUM(DomainFilesystem, cache, "mode", fs_cache_names))),
    XML_NEST("lock", FIELDS(XML_ATTR_ENUM(DomainFilesystem, lock_posix, "posix", on_off_names),
                            XML_ATTR_ENUM(DomainFilesystem, lock_flock, "flock", on_off_names))),
    XML_NEST("sandbox", FIELDS(XML_ATTR_ENUM(DomainFilesystem, sandbox, "mode", fs_sandbox_names))),
    XML_NEST("thread_pool", FIELDS(XML_ATTR(DomainFilesystem, thread_pool_size, "size", xml_u32))),
    XML_END,
};

const XmlField filesystem_fields[] = {
    XML_ATTR_ENUM(DomainFilesystem, type, "type", fs_type_names),
    XML_ATTR_ENUM(DomainFilesystem, model, "model", fs_model_names),
    XML_ATTR_ENUM(DomainFilesystem, access, "accessmode", fs_access_names),
    XML_ATTR_ENUM(DomainFilesystem, multidevs, "multidevs", fs_multidevs_names),
    XML_ATTR_STR(DomainFilesystem, fmode, "fmode"),
    XML_ATTR_STR(DomainFilesystem, dmode, "dmode"),
    XML_NEST("driver",
             FIELDS(XML_ATTR_ENUM(DomainFilesystem, driver, "type", fs_driver_names),
                    XML_ATTR_STR(DomainFilesystem, driver_format, "format"),
                    XML_ATTR_ENUM(DomainFilesystem, wrpolicy, "wrpolicy", fs_wrpolicy_names),
                    XML_ATTR(DomainFilesystem, queue_size, "queue", xml_u32),
                    XML_INLINE(DomainFilesystem, virtio, virtio_fields))),
    XML_NEST("binary", fs_binary_fields),
    XML_VARIANT(DomainFilesystem, type, fs_source_variants),
    XML_NEST("target",
             FIELDS(XML_ATTR_STR(DomainFilesystem, target_dir, "dir", .flags = XML_REQUIRED)),
             .flags = XML_REQUIRED),
    XML_FLAG(DomainFilesystem, is_readonly, "readonly"),
    XML_LEAF(DomainFilesystem, space_hard_limit_bytes, "space_hard_limit", xml_bytes),
    XML_LEAF(DomainFilesystem, space_soft_limit_bytes, "space_soft_limit", xml_bytes),
    XML_INLINE(DomainFilesystem, device, device_fields),
    XML_END,
};

static const XmlField *const tpm_backend_variants[] = {
    [TPM_PASSTHROUGH] = FIELDS(XML_NEST("device", FIELDS(XML_ATTR_STR(DomainTpm, path, "path")))),
    [TPM_EMULATOR] =
        FIELDS(XML_ATTR_ENUM(DomainTpm, version, "version", tpm_version_names),
               XML_ATTR_ENUM(DomainTpm, persistent_state, "persistent_state", yes_no_names),
               XML_NEST("encryption", FIELDS(XML_ATTR_STR(DomainTpm, encryption_secret, "secret"))),
               XML_RAW(DomainTpm, active_pcr_banks, "active_pcr_banks", .width = 4)),
    [TPM_EXTERNAL] =
        FIELDS(XML_NEST_AT(DomainTpm, source, "source",
                           FIELDS(XML_ATTR_ENUM(DomainChardev, type, "type", chardev_type_names),
                                  XML_ATTR_ENUM(DomainChardev, mode, "mode", socket_mode_names),
                                  XML_ATTR_STR(DomainChardev, path, "path")))),
};

const XmlField tpm_fields[] = {
    XML_ATTR_ENUM(DomainTpm, model, "model", tpm_model_names),
    XML_NEST(
        "backend",
        FIELDS(XML_ATTR_ENUM(DomainTpm, backend, "type", tpm_backend_names, .flags = XML_REQUIRED),
               XML_VARIANT(DomainTpm, backend, tpm_backend_variants)),
        .flags = XML_REQUIRED),
    XML_INLINE(DomainTpm, device, device_fields),
    XML_END,
};

const XmlField watchdog_fields[] = {
    XML_ATTR_ENUM(DomainWatchdog, model, "model", watchdog_model_names, .flags = XML_REQUIRED,
                  .invalid = CONF_ERROR_UNSUPPORTED),
    XML_ATTR_ENUM(DomainWatchdog, action, "action", watchdog_action_names,
                  .invalid = CONF_ERROR_UNSUPPORTED),
    XML_INLINE(DomainWatchdog, device, device_fields),
    XML_END,
};

const XmlField memballoon_fields[] = {
    XML_ATTR_ENUM(DomainMemballoon, model, "model", balloon_model_names, .flags = XML_REQUIRED),
    XML_ATTR_ENUM(DomainMemballoon, autodeflate, "autodeflate", on_off_names),
    XML_ATTR_ENUM(DomainMemballoon, free_page_reporting, "freePageReporting", on_off_names),
    XML_NEST("stats", FIELDS(XML_ATTR(DomainMemballoon, stats_period_s, "period", xml_opt,
                                      .max = INT32_MAX))),
    XML_NEST("driver", FIELDS(XML_INLINE(DomainMemballoon, virtio, virtio_fields))),
    XML_INLINE(DomainMemballoon, device, device_fields),
    XML_END,
};

static const XmlField *const rng_backend_variants[] = {
    [RNG_RANDOM] = FIELDS(XML_TEXT(DomainRng, path, xml_path)),
    [RNG_EGD] = FIELDS(XML_INLINE(DomainRng, source, chardev_fields)),
};

const XmlField rng_fields[] = {
    XML_ATTR_ENUM(DomainRng, model, "model", virtio_model_names, .flags = XML_REQUIRED,
                  .invalid = CONF_ERROR_UNSUPPORTED),
    XML_NEST("rate", FIELDS(XML_ATTR(DomainRng, rate_bytes, "bytes", xml_u32),
                            XML_ATTR(DomainRng, rate_period_ms, "period", xml_u32))),
    XML_NEST(
        "backend",
        FIELDS(XML_ATTR_ENUM(DomainRng, backend, "model", rng_backend_names, .flags = XML_REQUIRED),
               XML_VARIANT(DomainRng, backend, rng_backend_variants)),
        .flags = XML_REQUIRED),
    XML_NEST("driver", FIELDS(XML_INLINE(DomainRng, virtio, virtio_fields))),
    XML_INLINE(DomainRng, device, device_fields),
    XML_END,
};

const XmlField nvram_fields[] = {
    XML_INLINE(DomainNvramDevice, device, device_fields),
    XML_END,
};

const XmlField panic_fields[] = {
    XML_ATTR_ENUM(DomainPanic, model, "model", panic_model_names),
    XML_INLINE(DomainPanic, device, device_fields),
    XML_END,
};

/* <size unit='M'>: libvirt writes it so. */
static bool mib_parse(const XmlField *field, const xmlNode *node, const char *text, void *out,
                      GError **error)
{
    uint64_t bytes;
    if (!xml_bytes.parse(field, node, text, &bytes, error)) {
        return false;
    }
    if (bytes == 0 || (bytes & (bytes - 1)) != 0 || bytes < 1 << 20) {
        xml_error(node, CONF_ERROR_XML, error,
                  "shared memory must be a power of two and at least 1 MiB");
        return false;
    }
    *(uint64_t *)out = bytes >> 20;
    return true;
}

static bool mib_is_set(const XmlField *field, const void *value)
{
    return *(const uint64_t *)value != 0;
}

static void mib_format(const XmlField *field, const void *value, GString *out)
{
    g_string_append_printf(out, "%" G_GUINT64_FORMAT, *(const uint64_t *)value);
}

static const XmlScalar shmem_mib = { false, mib_parse, mib_is_set, mib_format };

static bool megabyte_parse(const XmlField *field, const xmlNode *node, const char *text, void *out,
                           GError **error)
{
    return true; /* shmem_mib reads it */
}

static void megabyte_format(const XmlField *field, const void *value, GString *out)
{
    g_string_append(out, "M");
}

static const XmlScalar shmem_unit = { false, megabyte_parse, mib_is_set, megabyte_format };

const XmlField shmem_fields[] = {
    XML_ATTR_STR(DomainShmem, name, "name", .flags = XML_REQUIRED),
    XML_ATTR_ENUM(DomainShmem, role, "role", shmem_role_names),
    XML_NEST("model", FIELDS(XML_ATTR_ENUM(DomainShmem, model, "type", shmem_model_names))),
    XML_NEST("size", FIELDS(XML_ATTR(DomainShmem, size_mib, "unit", shmem_unit),
                            XML_TEXT(DomainShmem, size_mib, shmem_mib))),
    XML_NEST("server", FIELDS(XML_ATTR_STR(DomainShmem, server_path, "path")),
             XML_PRESENT(DomainShmem, has_server)),
    XML_NEST("msi",
             FIELDS(XML_ATTR_ENUM(DomainShmem, msi, "enabled", on_off_names),
                    XML_ATTR(DomainShmem, msi_vectors, "vectors", xml_opt),
                    XML_ATTR_ENUM(DomainShmem, msi_ioeventfd, "ioeventfd", on_off_names)),
             XML_PRESENT(DomainShmem, has_msi)),
    XML_INLINE(DomainShmem, device, device_fields),
    XML_END,
};

static const XmlField *const memory_target_variants[] = {
    [MEMORY_VIRTIO_MEM] =
        FIELDS(XML_LEAF(DomainMemory, block, "block", xml_kib),
               XML_LEAF(DomainMemory, requested, "requested", xml_kib, .flags = XML_ALWAYS),
               XML_LEAF(DomainMemory, current, "current", xml_kib, .flags = XML_ALWAYS | XML_LIVE)),
};

const XmlField memory_fields[] = {
    XML_ATTR_ENUM(DomainMemory, model, "model", memory_model_names, .flags = XML_REQUIRED),
    XML_ATTR_ENUM(DomainMemory, access, "access", memory_access_names),
    XML_ATTR_ENUM(DomainMemory, discard, "discard", yes_no_names),
    XML_LEAF(DomainMemory, uuid, "uuid", xml_uuid),
    XML_NEST("source", FIELDS(XML_LEAF(DomainMemory, node_mask, "nodemask", xml_cpus),
                              XML_LEAF(DomainMemory, page_size, "pagesize", xml_kib),
                              XML_LEAF(DomainMemory, source_path, "path", xml_lenient),
                              XML_LEAF(DomainMemory, align_size, "alignsize", xml_kib),
                              XML_FLAG(DomainMemory, is_pmem, "pmem"))),
    XML_NEST("target",
             FIELDS(XML_LEAF(DomainMemory, size, "size", xml_kib, .flags = XML_REQUIRED),
                    XML_LEAF(DomainMemory, node, "node", xml_opt, .max = INT32_MAX),
                    XML_NEST("label", FIELDS(XML_LEAF(DomainMemory, label_size, "size", xml_kib))),
                    XML_FLAG(DomainMemory, is_readonly, "readonly"),
                    XML_VARIANT(DomainMemory, model, memory_target_variants)),
             .flags = XML_REQUIRED),
    XML_INLINE(DomainMemory, device, device_fields),
    XML_END,
};

const XmlField iommu_fields[] = {
    XML_ATTR_ENUM(DomainIommu, model, "model", iommu_model_names, .flags = XML_REQUIRED),
    XML_NEST("driver",
             FIELDS(XML_ATTR_ENUM(DomainIommu, intremap, "intremap", on_off_names),
                    XML_ATTR_ENUM(DomainIommu, caching_mode, "caching_mode", on_off_names),
                    XML_ATTR_ENUM(DomainIommu, eim, "eim", on_off_names),
                    XML_ATTR_ENUM(DomainIommu, iotlb, "iotlb", on_off_names),
                    XML_ATTR(DomainIommu, aw_bits, "aw_bits", xml_opt))),
    XML_INLINE(DomainIommu, device, device_fields),
    XML_END,
};

const XmlField vsock_fields[] = {
    XML_ATTR_ENUM(DomainVsock, model, "model", virtio_model_names),
    XML_NEST("cid", FIELDS(XML_ATTR_ENUM(DomainVsock, cid_auto, "auto", yes_no_names),
                           XML_ATTR(DomainVsock, cid, "address", xml_opt, .max = UINT32_MAX))),
    XML_NEST("driver", FIELDS(XML_INLINE(DomainVsock, virtio, virtio_fields))),
    XML_INLINE(DomainVsock, device, device_fields),
    XML_END,
};
