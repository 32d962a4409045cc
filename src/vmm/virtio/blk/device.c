/* Block device of virtio 1.2: configuration, features, life. Leaves out: zoned devices, secure
 * erase, lifetime.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "base/endian.h"
#include "base/int-math.h"
#include "base/log.h"
#include "gbase/error.h"
#include "vmm/virtio/blk/blk-private.h"

#include <linux/virtio_blk.h>
#include <string.h>

#define PCI_CLASS_SCSI 0x010000
#define CONFIG_SIZE 60 /* up to and with unused1 of write zeroes */

static void blk_get_config(VirtioDevice *dev, uint8_t *config)
{
    const VirtioBlk *blk = (const VirtioBlk *)dev;
    unsigned physical_exponent =
        (unsigned)__builtin_ctzll(blk->physical_block_size / blk->logical_block_size);
    uint32_t alignment = (uint32_t)(blk->logical_block_size / BLOCK_SECTOR);
#define FIELD(name) (config + offsetof(struct virtio_blk_config, name))
    le64_put(FIELD(capacity), block_backend_size(blk->backend) / BLOCK_SECTOR);
    le32_put(FIELD(seg_max), (uint32_t)max_u64(blk->queue_size, 3) - 2);
    le32_put(FIELD(blk_size), (uint32_t)blk->logical_block_size);
    *FIELD(physical_block_exp) = (uint8_t)physical_exponent;
    le16_put(FIELD(min_io_size), 1);
    *FIELD(wce) = blk->is_writeback;
    le16_put(FIELD(num_queues), dev->queue_count);
    le32_put(FIELD(max_discard_sectors), BLK_RANGE_SECTORS_MAX);
    le32_put(FIELD(max_discard_seg), 1);
    le32_put(FIELD(discard_sector_alignment), alignment);
    le32_put(FIELD(max_write_zeroes_sectors), BLK_RANGE_SECTORS_MAX);
    le32_put(FIELD(max_write_zeroes_seg), 1);
    *FIELD(write_zeroes_may_unmap) = block_backend_can_discard(blk->backend);
#undef FIELD
}

static void blk_set_config(VirtioDevice *dev, unsigned offset, const uint8_t *bytes, unsigned size)
{
    VirtioBlk *blk = (VirtioBlk *)dev;
    unsigned wce = offsetof(struct virtio_blk_config, wce);
    if (offset <= wce && offset + size > wce && virtio_has_feature(dev, VIRTIO_BLK_F_CONFIG_WCE)) {
        blk->is_writeback = bytes[wce - offset] & 1;
    }
}

static uint64_t blk_get_features(VirtioDevice *dev)
{
    const VirtioBlk *blk = (const VirtioBlk *)dev;
    bool is_readonly = block_backend_is_readonly(blk->backend);
    uint64_t features = VIRTIO_FEATURE(VIRTIO_BLK_F_SEG_MAX) |
                        VIRTIO_FEATURE(VIRTIO_BLK_F_BLK_SIZE) | VIRTIO_FEATURE(VIRTIO_BLK_F_FLUSH) |
                        VIRTIO_FEATURE(VIRTIO_BLK_F_TOPOLOGY);
    if (is_readonly) {
        features |= VIRTIO_FEATURE(VIRTIO_BLK_F_RO);
    }
    if (blk->offers_config_wce) {
        features |= VIRTIO_FEATURE(VIRTIO_BLK_F_CONFIG_WCE);
    }
    if (dev->queue_count > 1) {
        features |= VIRTIO_FEATURE(VIRTIO_BLK_F_MQ);
    }
    if (blk->offers_discard && !is_readonly) {
        features |= VIRTIO_FEATURE(VIRTIO_BLK_F_DISCARD);
    }
    if (blk->offers_write_zeroes && !is_readonly) {
        features |= VIRTIO_FEATURE(VIRTIO_BLK_F_WRITE_ZEROES);
    }
    return features;
}

/* A driver that knows no flush expects each write to reach the disk. */
static void blk_activate(VirtioDevice *dev)
{
    VirtioBlk *blk = (VirtioBlk *)dev;
    if (!virtio_has_feature(dev, VIRTIO_BLK_F_FLUSH)) {
        blk->is_writeback = false;
    }
}

static bool has_cache(const VirtioBlk *blk)
{
    BlockCache cache = block_backend_cache(blk->backend);
    if (blk->cache_choice) {
        return blk->cache_choice == 1;
    }
    return cache != BLOCK_CACHE_WRITETHROUGH && cache != BLOCK_CACHE_DIRECTSYNC;
}

static bool check_properties(const VirtioBlk *blk, GError **error)
{
    const char *problem = NULL;
    if (!blk->drive) {
        problem = "needs a drive: drive=ID of a -drive or -blockdev";
    } else if (!is_power_of_two(blk->queue_size)) {
        problem = "queue-size must be a power of two";
    } else if (!is_power_of_two(blk->logical_block_size) ||
               !is_power_of_two(blk->physical_block_size)) {
        problem = "block sizes must be powers of two";
    } else if (blk->physical_block_size < blk->logical_block_size) {
        problem = "physical_block_size is smaller than logical_block_size";
    } else if (blk->serial && strlen(blk->serial) > VIRTIO_BLK_ID_BYTES) {
        problem = "serial is longer than 20 characters";
    }
    if (problem) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG, "%s", problem);
    }
    return !problem;
}

/* 0, "auto", leaves what the drive says. */
static void set_error_action(VirtioBlk *blk, bool is_write, uint32_t choice)
{
    static const BlockErrorAction actions[] = { BLOCK_ERROR_REPORT, BLOCK_ERROR_REPORT,
                                                BLOCK_ERROR_IGNORE, BLOCK_ERROR_STOP,
                                                BLOCK_ERROR_ENOSPC };
    if (choice) {
        block_backend_set_error_action(blk->backend, is_write, actions[choice]);
    }
}

/* By default one for each vCPU, where each has an interrupt of its own. */
static uint64_t queue_count(const VirtioBlk *blk)
{
    const Device *dev = &blk->virtio.device;
    if (blk->queue_count) {
        return blk->queue_count;
    }
    uint64_t vcpus = dev->class->bus == DEVICE_BUS_PCI ? dev->host->vcpus : 1;
    return min_u64(max_u64(vcpus, 1), VIRTIO_QUEUES_MAX);
}

/* The driver reads the capacity again. */
static void on_resize(void *opaque)
{
    VirtioBlk *blk = opaque;
    LOCK_GUARD(&blk->virtio.device.lock);
    virtio_config_changed(&blk->virtio);
}

/* The device's thread pauses meanwhile. */
static bool move_backend(VirtioBlk *blk, EventLoop *loop, GError **error)
{
    LoopThread *thread = blk->virtio.device.thread;
    loop_thread_pause(thread);
    bool ok = block_backend_move(blk->backend, loop, error);
    loop_thread_continue(thread);
    return ok;
}

static bool blk_realize(VirtioDevice *dev, GError **error)
{
    VirtioBlk *blk = (VirtioBlk *)dev;
    const DeviceHost *host = dev->device.host;
    list_init(&blk->in_flight);
    list_init(&blk->failed);
    if (!check_properties(blk, error)) {
        return false;
    }
    blk->backend = host->find_backend(host->opaque, VIRTIO_BLK_BACKEND, blk->drive, error);
    if (!blk->backend) {
        return false;
    }
    if (blk->iothread) {
        dev->device.thread =
            host->find_backend(host->opaque, VIRTIO_BLK_IOTHREAD, blk->iothread, error);
        if (!dev->device.thread) {
            return false;
        }
    }
    if (block_backend_size(blk->backend) % blk->logical_block_size) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "the size of '%s' is not a multiple of logical_block_size",
                    block_backend_path(blk->backend));
        return false;
    }
    if (!move_backend(blk, device_loop(&dev->device), error)) {
        return false;
    }
    blk->is_writeback = has_cache(blk);
    set_error_action(blk, true, blk->werror);
    set_error_action(blk, false, blk->rerror);
    uint64_t queues = queue_count(blk);
    for (uint64_t i = 0; i < queues; i++) {
        virtio_add_queue(dev, (uint16_t)blk->queue_size);
    }
    block_backend_set_resize_hook(blk->backend, on_resize, blk);
    return true;
}

static void blk_unrealize(VirtioDevice *dev)
{
    VirtioBlk *blk = (VirtioBlk *)dev;
    if (blk->backend) {
        g_autoptr(GError) error = NULL;
        block_backend_set_resize_hook(blk->backend, NULL, NULL);
        if (!move_backend(blk, dev->device.host->loop, &error)) {
            log_error("%s: %s", device_label(&dev->device), error->message);
        }
    }
    g_clear_pointer(&blk->failed_chains, g_free);
    blk->failed_length = 0;
    blk->backend = NULL;
}

static void blk_reset(VirtioDevice *dev)
{
    VirtioBlk *blk = (VirtioBlk *)dev;
    blk_forget_requests(blk);
    blk->failed_length = 0;
    blk->is_writeback = has_cache(blk);
}

static bool blk_is_drained(VirtioDevice *dev)
{
    return list_is_empty(&((VirtioBlk *)dev)->in_flight);
}

static void blk_resume(VirtioDevice *dev)
{
    VirtioBlk *blk = (VirtioBlk *)dev;
    block_backend_forget_error(blk->backend);
    blk_retry_failed(blk);
}

static bool blk_post_load(VirtioDevice *dev, GError **error)
{
    blk_forget_requests((VirtioBlk *)dev);
    return blk_reload_failed((VirtioBlk *)dev, error);
}

static const VirtioDeviceClass blk_class = {
    .device_id = VIRTIO_ID_BLOCK,
    .pci_class = PCI_CLASS_SCSI,
    .config_size = CONFIG_SIZE,
    .realize = blk_realize,
    .unrealize = blk_unrealize,
    .get_features = blk_get_features,
    .get_config = blk_get_config,
    .set_config = blk_set_config,
    .activate = blk_activate,
    .handle_queue = blk_handle_queue,
    .reset = blk_reset,
    .is_drained = blk_is_drained,
    .resume = blk_resume,
    .post_load = blk_post_load,
};

#define BLK_UINT(name_, member, min_, max_, default_, help_)                                       \
    {                                                                                              \
        .name = name_, .kind = PROPERTY_UINT, .offset = offsetof(VirtioBlk, member), .min = min_,  \
        .max = max_, .fallback = default_, .help = help_                                           \
    }
#define BLK_BOOL(name_, member, fallback_, help_)                                                  \
    {                                                                                              \
        .name = name_, .kind = PROPERTY_BOOL, .offset = offsetof(VirtioBlk, member),               \
        .fallback = fallback_, .help = help_                                                       \
    }
static const char *const error_choices[] = { "auto", "report", "ignore", "stop", "enospc", NULL };
static const char *const cache_choices[] = { "auto", "on", "off", NULL };
#define BLK_PROPERTIES                                                                             \
    { .name = "drive",                                                                             \
      .kind = PROPERTY_LINK,                                                                       \
      .offset = offsetof(VirtioBlk, drive),                                                        \
      .help = "id of a drive" },                                                                   \
        { .name = "iothread",                                                                      \
          .kind = PROPERTY_LINK,                                                                   \
          .offset = offsetof(VirtioBlk, iothread),                                                 \
          .help = "id of the -object iothread that serves the disk" },                             \
        { .name = "serial",                                                                        \
          .kind = PROPERTY_STRING,                                                                 \
          .offset = offsetof(VirtioBlk, serial),                                                   \
          .help = "serial number, at most 20 characters" },                                        \
        { .name = "write-cache",                                                                   \
          .kind = PROPERTY_ENUM,                                                                   \
          .offset = offsetof(VirtioBlk, cache_choice),                                             \
          .choices = cache_choices,                                                                \
          .fallback = "auto",                                                                      \
          .help = "the driver flushes; off: each write reaches the disk (auto: by cache=)" },      \
        { .name = "werror",                                                                        \
          .kind = PROPERTY_ENUM,                                                                   \
          .offset = offsetof(VirtioBlk, werror),                                                   \
          .choices = error_choices,                                                                \
          .fallback = "auto",                                                                      \
          .help = "after a failed write (auto: as the drive says)" },                              \
        { .name = "rerror",                                                                        \
          .kind = PROPERTY_ENUM,                                                                   \
          .offset = offsetof(VirtioBlk, rerror),                                                   \
          .choices = error_choices,                                                                \
          .fallback = "auto",                                                                      \
          .help = "after a failed read (auto: as the drive says)" },                               \
        BLK_UINT("num-queues", queue_count, 0, VIRTIO_QUEUES_MAX, "0",                             \
                 "request queues; 0: one for each vCPU (PCI)"),                                    \
        BLK_UINT("queue-size", queue_size, 2, VIRTQ_SIZE_MAX, "256", "entries of each queue"),     \
        BLK_UINT("logical_block_size", logical_block_size, 512, 32768, "512",                      \
                 "smallest unit of access, bytes"),                                                \
        BLK_UINT("physical_block_size", physical_block_size, 512, 32768, "512",                    \
                 "unit of access that is fast, bytes"),                                            \
        BLK_UINT("bootindex", boot_index, 0, INT32_MAX, "0", "boot order for the firmware"),       \
        BLK_BOOL("discard", offers_discard, "on", "offer discard requests"),                       \
        BLK_BOOL("write-zeroes", offers_write_zeroes, "on", "offer write-zeroes requests"),        \
        BLK_BOOL("config-wce", offers_config_wce, "on", "let the driver switch the write cache"),  \
        BLK_BOOL("share-rw", shares_writes, "off",                                                 \
                 "others may write to the node, or to its raw image from another process")

static const Property pci_properties[] = { BLK_PROPERTIES, VIRTIO_PCI_PROPERTIES, { 0 } };
static const Property mmio_properties[] = { BLK_PROPERTIES, VIRTIO_MMIO_PROPERTIES, { 0 } };

const DeviceClass virtio_blk_pci_class = {
    VIRTIO_PCI_CLASS,
    .name = "virtio-blk-pci",
    .alias = "virtio-blk",
    .summary = "disk",
    .instance_size = sizeof(VirtioBlk),
    .properties = pci_properties,
    .state = &blk_state,
    .family = &blk_class,
};

const DeviceClass virtio_blk_device_class = {
    VIRTIO_MMIO_CLASS,
    .name = "virtio-blk-device",
    .summary = "disk",
    .instance_size = sizeof(VirtioBlk),
    .properties = mmio_properties,
    .state = &blk_state,
    .family = &blk_class,
};
