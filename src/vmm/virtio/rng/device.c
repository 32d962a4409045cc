/* Entropy device of virtio 1.2: fills the guest's buffers with the host kernel's random bytes.
 *
 * The rate can be limited (max-bytes in each period), as a guest that drains it costs the host CPU
 * time; requests over the limit wait for the next period.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/virtio/rng/rng.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/int-math.h"
#include "base/log.h"
#include "gbase/error.h"
#include "vmm/virtio/device.h"

#include <errno.h>
#include <sys/random.h>
#include <unistd.h>

#define QUEUE_SIZE 8
/* One request is answered with at most this much; fewer bytes than asked for are in order. */
#define BYTES_PER_REQUEST 4096
#define RETRY_NS (100 * NS_PER_MS)

typedef struct VirtioRng {
    VirtioDevice virtio;
    char *source; /* property: a back end of kind "rng"; NULL: the host kernel */
    const RngSource *backend;
    uint64_t max_bytes; /* property: in one period */
    uint64_t period_ms; /* property */
    uint64_t quota;     /* bytes left of this period */
    bool is_waiting;    /* for the next period */
    LoopTimer *timer;
} VirtioRng;

static void start_period(VirtioRng *rng)
{
    const DeviceHost *host = rng->virtio.device.host;
    int64_t deadline = host->clock_ns(host->opaque) + (int64_t)rng->period_ms * NS_PER_MS;
    rng->is_waiting = true;
    host->timer_set(host->opaque, rng->timer, deadline);
}

static int source_fd(const VirtioRng *rng)
{
    return rng->backend ? rng->backend->fd : -1;
}

/* Random bytes for @chain; 0: there are none at the moment. */
static size_t take_bytes(VirtioRng *rng, const VirtqChain *chain, uint8_t *bytes, size_t size)
{
    int fd = source_fd(rng);
    size = min_u64(min_u64(size, chain->in_bytes), rng->quota);
    ssize_t got = fd >= 0 ? read(fd, bytes, size) : getrandom(bytes, size, GRND_NONBLOCK);
    if (got < 0 && errno != EAGAIN && errno != EINTR) {
        log_guest_error("%s: the host gives no random bytes: %s", device_label(&rng->virtio.device),
                        g_strerror(errno));
    }
    return got < 0 ? 0 : (size_t)got;
}

/* Returns: the bytes written to @chain. */
static uint32_t fill(VirtioRng *rng, VirtqChain *chain, const uint8_t *bytes, size_t size)
{
    if (virtq_chain_write(chain, 0, bytes, size) < 0) {
        virtio_fail(&rng->virtio, "buffer for random bytes is not in memory");
        return 0;
    }
    rng->quota -= size;
    return (uint32_t)size;
}

static void wait_for_source(VirtioRng *rng)
{
    const DeviceHost *host = rng->virtio.device.host;
    rng->is_waiting = true;
    host->timer_set(host->opaque, rng->timer, host->clock_ns(host->opaque) + RETRY_NS);
}

static void rng_handle_queue(VirtioDevice *dev, unsigned index)
{
    VirtioRng *rng = (VirtioRng *)dev;
    VirtqChain *chain;
    uint8_t bytes[BYTES_PER_REQUEST];
    while (rng->quota > 0 && (chain = virtio_pop(dev, index))) {
        size_t size = take_bytes(rng, chain, bytes, sizeof(bytes));
        if (!size && chain->in_bytes && source_fd(rng) >= 0) {
            virtq_unpop(chain);
            if (!rng->is_waiting) {
                wait_for_source(rng);
            }
            break;
        }
        virtio_push(dev, chain, fill(rng, chain, bytes, size));
    }
    virtio_flush(dev, index);
    if (rng->quota == 0 && !rng->is_waiting) {
        start_period(rng);
    }
}

static void on_period(void *opaque)
{
    VirtioRng *rng = opaque;
    LOCK_GUARD(&rng->virtio.device.lock);
    rng->is_waiting = false;
    rng->quota = rng->quota ? rng->quota : rng->max_bytes;
    virtio_kick(&rng->virtio, 0);
}

static bool rng_realize(VirtioDevice *dev, GError **error)
{
    VirtioRng *rng = (VirtioRng *)dev;
    const DeviceHost *host = dev->device.host;
    rng->backend = rng->source ? host->find_backend(host->opaque, "rng", rng->source, error) : NULL;
    if (rng->source && !rng->backend) {
        return false;
    }
    rng->timer = loop_timer_new(host->loop, on_period, rng);
    if (!rng->timer) {
        lodge_error_set_errno(error, errno, "cannot make a timer");
        return false;
    }
    rng->quota = rng->max_bytes;
    virtio_add_queue(dev, QUEUE_SIZE);
    return true;
}

static void rng_unrealize(VirtioDevice *dev)
{
    VirtioRng *rng = (VirtioRng *)dev;
    const DeviceHost *host = dev->device.host;
    host->timer_set(host->opaque, rng->timer, DEVICE_TIMER_OFF);
    loop_timer_free(rng->timer);
    rng->timer = NULL;
}

/* After a load the timer is armed again if the quota was used up. */
static bool rng_post_load(VirtioDevice *dev, GError **error)
{
    VirtioRng *rng = (VirtioRng *)dev;
    rng->quota = min_u64(rng->quota, rng->max_bytes);
    rng->is_waiting = false;
    if (rng->quota == 0) {
        start_period(rng);
    }
    return true;
}

static const VirtioDeviceClass rng_class = {
    .device_id = VIRTIO_ID_RNG,
    .pci_class = 0x00ff00,
    .realize = rng_realize,
    .unrealize = rng_unrealize,
    .handle_queue = rng_handle_queue,
    .post_load = rng_post_load,
};

#define RNG_PROPERTIES                                                                             \
    { .name = "rng",                                                                               \
      .kind = PROPERTY_LINK,                                                                       \
      .offset = offsetof(VirtioRng, source),                                                       \
      .help = "id of an -object rng-*; without it the host kernel is the source" },                \
        { .name = "max-bytes",                                                                     \
          .kind = PROPERTY_SIZE,                                                                   \
          .offset = offsetof(VirtioRng, max_bytes),                                                \
          .min = 1,                                                                                \
          .max = INT64_MAX,                                                                        \
          .fallback = "9223372036854775807",                                                       \
          .help = "bytes that the guest may take in one period" },                                 \
    {                                                                                              \
        .name = "period", .kind = PROPERTY_UINT, .offset = offsetof(VirtioRng, period_ms),         \
        .min = 1, .max = 3600000, .fallback = "65536", .help = "length of a period in ms"          \
    }

static const Property pci_properties[] = { RNG_PROPERTIES, VIRTIO_PCI_PROPERTIES, { 0 } };
static const Property mmio_properties[] = { RNG_PROPERTIES, VIRTIO_MMIO_PROPERTIES, { 0 } };

static const StateField fields[] = { VIRTIO_STATE, STATE_FIELD(VirtioRng, STATE_U64, quota),
                                     STATE_END };
static const StateTable state = { .name = "virtio-rng", .version = 1, .fields = fields };

const DeviceClass virtio_rng_pci_class = {
    VIRTIO_PCI_CLASS,
    .name = "virtio-rng-pci",
    .alias = "virtio-rng",
    .summary = "random numbers from the host",
    .instance_size = sizeof(VirtioRng),
    .properties = pci_properties,
    .state = &state,
    .family = &rng_class,
};

const DeviceClass virtio_rng_device_class = {
    VIRTIO_MMIO_CLASS,
    .name = "virtio-rng-device",
    .summary = "random numbers from the host",
    .instance_size = sizeof(VirtioRng),
    .properties = mmio_properties,
    .state = &state,
    .family = &rng_class,
};
