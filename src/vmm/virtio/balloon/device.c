/* Memory balloon of virtio 1.2 (traditional): pages that the guest gives up are returned to the
 * host. Leaves out: free-page hints, page poisoning.
 *
 * A page is returned by punching a hole in its RAM's memfd, so a page that the guest takes back, or
 * touches without asking, is zero.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/virtio/balloon/balloon.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/endian.h"
#include "base/int-math.h"
#include "base/log.h"
#include "gbase/error.h"
#include "vmm/virtio/device.h"

#include <errno.h>
#include <linux/virtio_balloon.h>
#include <sys/mman.h>

#define QUEUE_SIZE 128
#define PAGE_SHIFT 12
#define PAGE_BYTES 4096
#define PFNS_AT_ONCE 256
#define STAT_BYTES 10 /* tag and value, packed */
/* One request describes at most this many pages; Linux sends 256. */
#define PFNS_PER_REQUEST_MAX 16384
#define RANGE_ALIGN_BYTES PAGE_BYTES

enum { QUEUE_INFLATE, QUEUE_DEFLATE, QUEUE_STATS }; /* and one of reports, if offered */

typedef struct VirtioBalloon {
    VirtioDevice virtio;
    bool offers_deflate_on_oom, offers_reporting; /* properties */
    uint32_t target, actual;                      /* pages */
    BalloonStats stats;
    uint32_t poll_seconds;
    VirtqChain *stats_chain; /* the guest's buffer, kept until statistics are wanted; or NULL */
    bool has_stats_chain;    /* saved: stats_head is valid */
    uint16_t stats_head;
    LoopTimer *timer;
} VirtioBalloon;

/* Pages */

/* RAM only; what is mapped over or read-only is left alone. */
static void release_range(VirtioBalloon *balloon, GuestAddr addr, uint64_t length)
{
    const GuestMemory *memory = balloon->virtio.device.host->memory;
    while (length) {
        uint64_t part = length;
        void *host = guest_memory_map(memory, addr, &part, true);
        if (!host) {
            log_guest_error("%s: page %#" G_GINT64_MODIFIER "x is no memory",
                            device_label(&balloon->virtio.device), (guint64)addr);
            return;
        }
        if (madvise(host, part, MADV_REMOVE) < 0) {
            log_warn("%s: cannot return memory to the host: %s",
                     device_label(&balloon->virtio.device), g_strerror(errno));
            return;
        }
        guest_memory_written(memory, addr, part);
        addr += part;
        length -= part;
    }
}

static bool inflate(VirtioBalloon *balloon, const VirtqChain *chain)
{
    uint8_t pfns[4 * PFNS_AT_ONCE];
    uint64_t bytes = round_down(chain->out_bytes, 4);
    if (bytes > (uint64_t)4 * PFNS_PER_REQUEST_MAX) {
        virtio_fail(&balloon->virtio, "balloon request names too many pages");
        return false;
    }
    for (uint64_t at = 0; at < bytes; at += sizeof(pfns)) {
        size_t part = min_u64(sizeof(pfns), bytes - at);
        if (virtq_chain_read(chain, at, pfns, part) < 0) {
            virtio_fail(&balloon->virtio, "balloon request is not in memory");
            return false;
        }
        for (size_t i = 0; i < part; i += 4) {
            release_range(balloon, (GuestAddr)le32_get(pfns + i) << PAGE_SHIFT, PAGE_BYTES);
        }
    }
    return true;
}

/* Free pages that the guest reports but may take back at any time. */
static void report(VirtioBalloon *balloon, const VirtqChain *chain)
{
    const VirtqSegment *segment = chain->segment + chain->out_count;
    for (unsigned i = 0; i < chain->in_count; i++) {
        GuestAddr start = round_up(segment[i].addr, RANGE_ALIGN_BYTES);
        GuestAddr end = round_down(segment[i].addr + segment[i].length, RANGE_ALIGN_BYTES);
        if (start < end) {
            release_range(balloon, start, end - start);
        }
    }
}

static void handle_pages(VirtioBalloon *balloon, unsigned index)
{
    VirtioDevice *dev = &balloon->virtio;
    VirtqChain *chain;
    while ((chain = virtio_pop(dev, index))) {
        if (index == QUEUE_INFLATE && !inflate(balloon, chain)) {
            virtq_chain_free(chain);
            return;
        }
        if (index >= QUEUE_STATS) {
            report(balloon, chain);
        }
        virtio_push(dev, chain, 0); /* deflation needs nothing: the page comes back by itself */
    }
    virtio_flush(dev, index);
}

/* Statistics: the guest hands in a full buffer each time it gets one back. */

static void arm_timer(VirtioBalloon *balloon)
{
    const DeviceHost *host = balloon->virtio.device.host;
    int64_t deadline = DEVICE_TIMER_OFF;
    if (balloon->poll_seconds && balloon->stats_chain) {
        deadline = host->clock_ns(host->opaque) + (int64_t)balloon->poll_seconds * NS_PER_SEC;
    }
    host->timer_set(host->opaque, balloon->timer, deadline);
}

static void set_stats_chain(VirtioBalloon *balloon, VirtqChain *chain)
{
    balloon->stats_chain = chain;
    balloon->has_stats_chain = chain != NULL;
    balloon->stats_head = chain ? chain->head : 0;
}

static void read_stats(VirtioBalloon *balloon, const VirtqChain *chain)
{
    const DeviceHost *host = balloon->virtio.device.host;
    uint8_t stat[STAT_BYTES];
    uint64_t end = min_u64(chain->out_bytes, 2 * BALLOON_STATS * STAT_BYTES);
    for (uint64_t at = 0; at + STAT_BYTES <= end; at += STAT_BYTES) {
        if (virtq_chain_read(chain, at, stat, STAT_BYTES) < 0) {
            return;
        }
        uint16_t tag = le16_get(stat);
        if (tag < BALLOON_STATS) {
            balloon->stats.value[tag] = le64_get(stat + 2);
        }
    }
    balloon->stats.updated_ns = host->clock_ns(host->opaque);
}

static void give_back_stats_chain(VirtioBalloon *balloon)
{
    VirtqChain *chain = balloon->stats_chain;
    set_stats_chain(balloon, NULL);
    if (chain) {
        virtio_push(&balloon->virtio, chain, 0);
        virtio_flush(&balloon->virtio, QUEUE_STATS);
    }
}

static void handle_stats(VirtioBalloon *balloon)
{
    VirtqChain *chain;
    while ((chain = virtio_pop(&balloon->virtio, QUEUE_STATS))) {
        give_back_stats_chain(balloon); /* only one is kept */
        read_stats(balloon, chain);
        set_stats_chain(balloon, chain);
        arm_timer(balloon);
    }
}

static void on_timer(void *opaque)
{
    VirtioBalloon *balloon = opaque;
    LOCK_GUARD(&balloon->virtio.device.lock);
    if (virtio_is_running(&balloon->virtio)) {
        give_back_stats_chain(balloon);
    }
}

/* The class */

static void balloon_handle_queue(VirtioDevice *dev, unsigned index)
{
    VirtioBalloon *balloon = (VirtioBalloon *)dev;
    /* A driver that wants no statistics numbers the queue behind theirs lower. */
    if (index == QUEUE_STATS && virtio_has_feature(dev, VIRTIO_BALLOON_F_STATS_VQ)) {
        handle_stats(balloon);
    } else {
        handle_pages(balloon, index);
    }
}

static void balloon_get_config(VirtioDevice *dev, uint8_t *config)
{
    const VirtioBalloon *balloon = (const VirtioBalloon *)dev;
    le32_put(config + offsetof(struct virtio_balloon_config, num_pages), balloon->target);
    le32_put(config + offsetof(struct virtio_balloon_config, actual), balloon->actual);
}

static void balloon_set_config(VirtioDevice *dev, unsigned offset, const uint8_t *bytes,
                               unsigned size)
{
    VirtioBalloon *balloon = (VirtioBalloon *)dev;
    if (offset == offsetof(struct virtio_balloon_config, actual) && size == 4) {
        balloon->actual = le32_get(bytes);
        device_host_notify(dev->device.host, DEVICE_NOTICE_BALLOON,
                           (int64_t)balloon->actual * PAGE_BYTES);
    }
}

static uint64_t balloon_get_features(VirtioDevice *dev)
{
    const VirtioBalloon *balloon = (const VirtioBalloon *)dev;
    uint64_t features = VIRTIO_FEATURE(VIRTIO_BALLOON_F_STATS_VQ);
    if (balloon->offers_deflate_on_oom) {
        features |= VIRTIO_FEATURE(VIRTIO_BALLOON_F_DEFLATE_ON_OOM);
    }
    if (balloon->offers_reporting) {
        features |= VIRTIO_FEATURE(VIRTIO_BALLOON_F_REPORTING);
    }
    return features;
}

static void clear_stats(VirtioBalloon *balloon)
{
    for (unsigned i = 0; i < BALLOON_STATS; i++) {
        balloon->stats.value[i] = BALLOON_NO_STAT;
    }
    balloon->stats.updated_ns = 0;
}

static bool balloon_realize(VirtioDevice *dev, GError **error)
{
    VirtioBalloon *balloon = (VirtioBalloon *)dev;
    balloon->timer = loop_timer_new(dev->device.host->loop, on_timer, balloon);
    if (!balloon->timer) {
        lodge_error_set_errno(error, errno, "cannot make a timer");
        return false;
    }
    clear_stats(balloon);
    virtio_add_queue(dev, QUEUE_SIZE);
    virtio_add_queue(dev, QUEUE_SIZE);
    virtio_add_queue(dev, QUEUE_SIZE);
    if (balloon->offers_reporting) {
        virtio_add_queue(dev, 32);
    }
    return true;
}

static void drop_stats_chain(VirtioBalloon *balloon)
{
    virtq_chain_free(balloon->stats_chain);
    balloon->stats_chain = NULL;
}

static void balloon_unrealize(VirtioDevice *dev)
{
    VirtioBalloon *balloon = (VirtioBalloon *)dev;
    const DeviceHost *host = dev->device.host;
    drop_stats_chain(balloon);
    host->timer_set(host->opaque, balloon->timer, DEVICE_TIMER_OFF);
    loop_timer_free(balloon->timer);
    balloon->timer = NULL;
}

static void balloon_reset(VirtioDevice *dev)
{
    VirtioBalloon *balloon = (VirtioBalloon *)dev;
    drop_stats_chain(balloon);
    set_stats_chain(balloon, NULL);
    balloon->actual = 0;
    clear_stats(balloon);
    arm_timer(balloon);
}

static bool balloon_post_load(VirtioDevice *dev, GError **error)
{
    VirtioBalloon *balloon = (VirtioBalloon *)dev;
    drop_stats_chain(balloon);
    if (balloon->has_stats_chain) {
        VirtqChain *chain = virtq_reload(&dev->queue[QUEUE_STATS].ring, balloon->stats_head);
        set_stats_chain(balloon, chain);
        if (!chain) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT,
                        "state has a statistics buffer that is not in its queue");
            return false;
        }
    }
    arm_timer(balloon);
    return true;
}

static const VirtioDeviceClass balloon_class = {
    .device_id = VIRTIO_ID_BALLOON,
    .pci_class = 0x00ff00,
    .config_size = 8, /* num_pages, actual */
    .realize = balloon_realize,
    .unrealize = balloon_unrealize,
    .get_features = balloon_get_features,
    .get_config = balloon_get_config,
    .set_config = balloon_set_config,
    .handle_queue = balloon_handle_queue,
    .reset = balloon_reset,
    .post_load = balloon_post_load,
};

/* Of the monitor */

void virtio_balloon_set_target(Device *dev, uint32_t pages)
{
    VirtioBalloon *balloon = (VirtioBalloon *)dev;
    LOCK_GUARD(&dev->lock);
    if (balloon->target != pages) {
        balloon->target = pages;
        virtio_config_changed(&balloon->virtio);
    }
}

uint32_t virtio_balloon_actual(Device *dev)
{
    LOCK_GUARD(&dev->lock);
    return ((const VirtioBalloon *)dev)->actual;
}

void virtio_balloon_get_stats(Device *dev, BalloonStats *out_stats)
{
    LOCK_GUARD(&dev->lock);
    *out_stats = ((const VirtioBalloon *)dev)->stats;
}

void virtio_balloon_set_polling(Device *dev, uint32_t seconds)
{
    VirtioBalloon *balloon = (VirtioBalloon *)dev;
    LOCK_GUARD(&dev->lock);
    balloon->poll_seconds = seconds;
    arm_timer(balloon);
}

uint32_t virtio_balloon_polling(Device *dev)
{
    LOCK_GUARD(&dev->lock);
    return ((VirtioBalloon *)dev)->poll_seconds;
}

#define BALLOON_PROPERTIES                                                                         \
    { .name = "deflate-on-oom",                                                                    \
      .kind = PROPERTY_BOOL,                                                                       \
      .offset = offsetof(VirtioBalloon, offers_deflate_on_oom),                                    \
      .fallback = "off",                                                                           \
      .help = "let the guest take pages back when it runs out of memory" },                        \
    {                                                                                              \
        .name = "free-page-reporting", .kind = PROPERTY_BOOL,                                      \
        .offset = offsetof(VirtioBalloon, offers_reporting), .fallback = "off",                    \
        .help = "let the guest report pages that it does not use"                                  \
    }

static const Property pci_properties[] = { BALLOON_PROPERTIES, VIRTIO_PCI_PROPERTIES, { 0 } };
static const Property mmio_properties[] = { BALLOON_PROPERTIES, VIRTIO_MMIO_PROPERTIES, { 0 } };

static const StateField fields[] = {
    VIRTIO_STATE,
    STATE_FIELD(VirtioBalloon, STATE_U32, target),
    STATE_FIELD(VirtioBalloon, STATE_U32, actual),
    STATE_ARRAY(VirtioBalloon, STATE_U64, stats.value),
    STATE_FIELD(VirtioBalloon, STATE_U64, stats.updated_ns),
    STATE_FIELD(VirtioBalloon, STATE_U32, poll_seconds),
    STATE_FIELD(VirtioBalloon, STATE_BOOL, has_stats_chain),
    STATE_FIELD(VirtioBalloon, STATE_U16, stats_head),
    STATE_END,
};
static const StateTable state = { .name = "virtio-balloon", .version = 1, .fields = fields };

const DeviceClass virtio_balloon_pci_class = {
    VIRTIO_PCI_CLASS,
    .name = "virtio-balloon-pci",
    .alias = "virtio-balloon",
    .summary = "memory that the guest gives back",
    .instance_size = sizeof(VirtioBalloon),
    .properties = pci_properties,
    .state = &state,
    .family = &balloon_class,
};

const DeviceClass virtio_balloon_device_class = {
    VIRTIO_MMIO_CLASS,
    .name = "virtio-balloon-device",
    .summary = "memory that the guest gives back",
    .instance_size = sizeof(VirtioBalloon),
    .properties = mmio_properties,
    .state = &state,
    .family = &balloon_class,
};
