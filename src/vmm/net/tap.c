/* A TAP device of the host, by name or as a descriptor that somebody with the right to make one
 * passed in.
 *
 * Interface scripts and vhost are left out: an address, a bridge or a route is the administrator's
 * or the daemon's affair. SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/net/tap.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "gbase/error.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#define FRAMES_PER_ROUND 64
#define SEND_IOV_MAX 256
#define NO_PASSED_FD UINT64_MAX

typedef struct NetTap {
    NetBackend base;
    char *ifname, *script, *downscript;
    uint64_t passed_fd;
    bool wants_vhost;
    int fd;
    unsigned header_bytes; /* virtio_net_hdr that the card wants */
    bool has_header;       /* the kernel puts one before each frame */
    LoopWatch *watch;
    bool reads, writes;
    uint8_t *frame; /* one frame that waits for room; NET_FRAME_MAX bytes */
    size_t frame_bytes;
} NetTap;

static void update_events(NetTap *tap)
{
    loop_watch_set_events(tap->watch, (tap->reads ? EPOLLIN : 0) | (tap->writes ? EPOLLOUT : 0));
}

/* Offers the frame in the buffer. False: it stays there and reading stops. */
static bool offer_frame(NetTap *tap)
{
    size_t skip = tap->has_header && !tap->header_bytes ? sizeof(struct virtio_net_hdr_v1) : 0;
    struct iovec iov = { .iov_base = tap->frame + skip, .iov_len = tap->frame_bytes - skip };
    if (tap->frame_bytes > skip && !net_receive(&tap->base, &iov, 1)) {
        return false;
    }
    tap->frame_bytes = 0;
    return true;
}

static void read_frames(NetTap *tap)
{
    for (int i = 0; i < FRAMES_PER_ROUND; i++) {
        ssize_t n = read(tap->fd, tap->frame, NET_FRAME_MAX);
        if (n <= 0) {
            return;
        }
        tap->frame_bytes = (size_t)n;
        if (!offer_frame(tap)) {
            tap->reads = false;
            update_events(tap);
            return;
        }
    }
}

static void on_events(void *opaque, uint32_t events)
{
    NetTap *tap = opaque;
    if (events & EPOLLOUT && tap->writes) {
        tap->writes = false;
        update_events(tap);
        net_can_send(&tap->base);
    }
    if (events & EPOLLIN && tap->reads) {
        read_frames(tap);
    }
    if (events & EPOLLERR && tap->watch) {
        /* The interface was deleted under us: the guest sees its cable unplugged. */
        loop_unwatch(tap->watch);
        tap->watch = NULL;
        net_set_link(&tap->base, false);
    }
}

static void tap_accept_frames(NetBackend *backend)
{
    NetTap *tap = (NetTap *)backend;
    if (!tap->reads && tap->watch && (!tap->frame_bytes || offer_frame(tap))) {
        tap->reads = true;
        update_events(tap);
    }
}

static ssize_t tap_send(NetBackend *backend, const struct iovec *iov, unsigned count)
{
    NetTap *tap = (NetTap *)backend;
    struct virtio_net_hdr_v1 none = { 0 };
    struct iovec all[SEND_IOV_MAX + 1] = { { .iov_base = &none, .iov_len = sizeof(none) } };
    if (count > SEND_IOV_MAX) {
        return 1;
    }
    memcpy(all + 1, iov, count * sizeof(*iov));
    bool adds_header = tap->has_header && !tap->header_bytes;
    ssize_t n =
        adds_header ? writev(tap->fd, all, (int)count + 1) : writev(tap->fd, iov, (int)count);
    if (n < 0 && errno == EAGAIN && tap->watch) {
        tap->writes = true;
        update_events(tap);
        return 0;
    }
    return n > 0 ? n : 1; /* the kernel refuses the frame: dropped */
}

static void tap_set_offloads(NetBackend *backend, unsigned offloads)
{
    static const struct {
        unsigned offload, flag;
    } map[] = {
        { NET_OFFLOAD_CSUM, TUN_F_CSUM }, { NET_OFFLOAD_TSO4, TUN_F_TSO4 },
        { NET_OFFLOAD_TSO6, TUN_F_TSO6 }, { NET_OFFLOAD_ECN, TUN_F_TSO_ECN },
        { NET_OFFLOAD_UFO, TUN_F_UFO },
    };
    unsigned flags = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(map); i++) {
        flags |= offloads & map[i].offload ? map[i].flag : 0;
    }
    NetTap *tap = (NetTap *)backend;
    if (ioctl(tap->fd, TUNSETOFFLOAD, flags) < 0) {
        /* Kernels without UFO refuse the whole set. */
        ioctl(tap->fd, TUNSETOFFLOAD, flags & ~(unsigned)TUN_F_UFO);
    }
}

static bool tap_set_header_bytes(NetBackend *backend, unsigned bytes)
{
    NetTap *tap = (NetTap *)backend;
    int size = (int)bytes;
    if (!bytes) {
        tap->header_bytes = 0;
        return true;
    }
    if (!tap->has_header || ioctl(tap->fd, TUNSETVNETHDRSZ, &size) < 0) {
        return false;
    }
    tap->header_bytes = bytes;
    return true;
}

static bool fail(const char *what, const char *name, GError **error)
{
    int code = errno;
    g_set_error(error, LODGE_ERROR, code == EPERM ? LODGE_ERROR_PERMISSION : LODGE_ERROR_IO,
                "%s '%s': %s%s", what, name, strerror(code),
                code == EPERM ? "; make it beforehand: ip tuntap add NAME mode tap user $USER"
                              : "");
    return false;
}

/* Attaches to the interface, which is made if it is not there and the right to do so is. */
static bool open_by_name(NetTap *tap, GError **error)
{
    struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
    const char *name = tap->ifname ? tap->ifname : "tap%d";
    if (strlen(name) >= IFNAMSIZ) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "ifname '%s' is longer than %d characters", name, IFNAMSIZ - 1);
        return false;
    }
    memcpy(request.ifr_name, name, strlen(name));
    tap->fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (tap->fd < 0) {
        return fail("cannot open", "/dev/net/tun", error);
    }
    if (ioctl(tap->fd, TUNSETIFF, &request) < 0) {
        return fail("cannot attach to interface", name, error);
    }
    g_free(tap->ifname);
    tap->ifname = g_strdup(request.ifr_name);
    return true;
}

static bool open_passed(NetTap *tap, GError **error)
{
    struct ifreq request = { 0 };
    int fd = tap->passed_fd > INT_MAX ? -1 : (int)tap->passed_fd;
    if (ioctl(fd, TUNGETIFF, &request) < 0 || !(request.ifr_flags & IFF_TAP)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "fd=%d is no open TAP device",
                    fd);
        return false;
    }
    tap->fd = fd;
    g_free(tap->ifname);
    tap->ifname = g_strndup(request.ifr_name, IFNAMSIZ);
    return true;
}

static bool refuse_unsupported(const NetTap *tap, GError **error)
{
    const char *script = tap->script ? tap->script : tap->downscript;
    if (script && strcmp(script, "no")) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "interface scripts are not supported; give script=no,downscript=no and set "
                    "the interface up beforehand");
        return false;
    }
    if (tap->wants_vhost) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "vhost is not supported; leave it out or give vhost=off");
        return false;
    }
    if (tap->ifname && tap->passed_fd != NO_PASSED_FD) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG, "give 'ifname' or 'fd', not both");
        return false;
    }
    return true;
}

static void tap_close(NetBackend *backend)
{
    NetTap *tap = (NetTap *)backend;
    loop_unwatch(tap->watch);
    cleanup_close(&tap->fd);
    g_free(tap->frame);
}

static bool start(NetTap *tap, GError **error)
{
    struct ifreq request = { 0 };
    int size = sizeof(struct virtio_net_hdr_v1);
    tap->has_header = ioctl(tap->fd, TUNGETIFF, &request) == 0 &&
                      request.ifr_flags & IFF_VNET_HDR &&
                      ioctl(tap->fd, TUNSETVNETHDRSZ, &size) == 0;
    tap->frame = g_malloc(NET_FRAME_MAX);
    tap->reads = true;
    if (fd_set_nonblocking(tap->fd, 1) < 0 ||
        !(tap->watch = loop_watch(tap->base.loop, tap->fd, EPOLLIN, on_events, tap))) {
        return fail("cannot wait for interface", tap->ifname, error);
    }
    return true;
}

static bool tap_open(NetBackend *backend, GError **error)
{
    NetTap *tap = (NetTap *)backend;
    tap->fd = -1;
    if (!refuse_unsupported(tap, error)) {
        return false;
    }
    bool is_open =
        tap->passed_fd == NO_PASSED_FD ? open_by_name(tap, error) : open_passed(tap, error);
    if (!is_open || !start(tap, error)) {
        tap_close(backend);
        return false;
    }
    return true;
}

static char *tap_describe(NetBackend *backend)
{
    return g_strdup_printf("type=tap,ifname=%s", ((NetTap *)backend)->ifname);
}

static const Property tap_properties[] = {
    { "ifname", PROPERTY_STRING, offsetof(NetTap, ifname),
      .help = "interface of the host (default: a new one)" },
    { "fd", PROPERTY_UINT, offsetof(NetTap, passed_fd), .fallback = "18446744073709551615",
      .max = UINT64_MAX, .help = "open TAP device to use" },
    { "script", PROPERTY_STRING, offsetof(NetTap, script), .help = "'no' is all there is" },
    { "downscript", PROPERTY_STRING, offsetof(NetTap, downscript), .help = "'no' is all there is" },
    { "vhost", PROPERTY_BOOL, offsetof(NetTap, wants_vhost), .fallback = "off",
      .help = "'off' is all there is" },
    { 0 },
};

const NetClass net_tap_class = {
    .name = "tap",
    .summary = "a TAP interface of the host",
    .instance_size = sizeof(NetTap),
    .properties = tap_properties,
    .open = tap_open,
    .close = tap_close,
    .send = tap_send,
    .accept_frames = tap_accept_frames,
    .offloads =
        NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6 | NET_OFFLOAD_ECN | NET_OFFLOAD_UFO,
    .set_offloads = tap_set_offloads,
    .set_header_bytes = tap_set_header_bytes,
    .describe = tap_describe,
};
