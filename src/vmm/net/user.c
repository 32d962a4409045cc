/* The user network, by libslirp: DHCP, DNS, TFTP and NAT through the host's own sockets; no rights
 * needed.
 *
 * libslirp asks for a poll() over all its sockets in each round, so it has a thread of its own and
 * the event loop stays free of them. Frames for the guest wait in a bounded queue and are handed
 * over on the loop. SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/net/user.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "gbase/error.h"
#include "vmm/net/user-config.h"

#include <arpa/inet.h>
#include <poll.h>
#include <slirp/libslirp.h>
#include <string.h>
#include <sys/eventfd.h>

#define QUEUE_FRAMES_MAX 256

/* libslirp keeps its clock and address caches in globals: all instances of the process share one
 * lock. */
static pthread_mutex_t slirp_lock = PTHREAD_MUTEX_INITIALIZER;

typedef struct NetUser {
    NetBackend base;
    char *net, *host, *dhcp_start, *dns, *hostname, *domain, *tftp, *bootfile;
    bool is_restricted, has_ipv4, has_ipv6;
    GArray *forwards; /* of HostForward */
    UserAddresses addresses;

    Slirp *slirp;   /* under slirp_lock, with timers and queue */
    List timers;    /* of UserTimer */
    GQueue queue;   /* of GBytes: frames for the guest */
    bool is_posted; /* deliver() is under way on the loop */
    bool stops;
    int wake_fd;
    pthread_t thread;
    GArray *polls; /* of struct pollfd; of the thread */
} NetUser;

typedef struct UserTimer {
    List node;
    int64_t deadline_ms; /* INT64_MAX: not armed */
    SlirpTimerCb func;
    void *opaque;
} UserTimer;

/* -- callbacks of libslirp; slirp_lock is held -- */

static void deliver(void *opaque);

static ssize_t on_packet(const void *frame, size_t length, void *opaque)
{
    NetUser *user = opaque;
    if (user->queue.length >= QUEUE_FRAMES_MAX) {
        return (ssize_t)length; /* dropped; TCP sends it again */
    }
    g_queue_push_tail(&user->queue, g_bytes_new(frame, length));
    if (!user->is_posted && !loop_call(user->base.loop, deliver, user)) {
        user->is_posted = true;
    }
    return (ssize_t)length;
}

static void on_guest_error(const char *message, void *opaque)
{
    log_guest_error("netdev '%s': %s", ((NetUser *)opaque)->base.id, message);
}

static int64_t on_clock(void *opaque)
{
    return clock_monotonic_ns();
}

static void *on_timer_new(SlirpTimerCb func, void *func_opaque, void *opaque)
{
    UserTimer *timer = g_new0(UserTimer, 1);
    timer->func = func;
    timer->opaque = func_opaque;
    timer->deadline_ms = INT64_MAX;
    list_append(&((NetUser *)opaque)->timers, &timer->node);
    return timer;
}

static void on_timer_free(void *timer, void *opaque)
{
    list_remove(&((UserTimer *)timer)->node);
    g_free(timer);
}

static void wake(NetUser *user)
{
    uint64_t one = 1;
    ssize_t rc = write(user->wake_fd, &one, sizeof(one));
    (void)rc; /* EAGAIN: awake already */
}

static void on_timer_mod(void *timer, int64_t deadline_ms, void *opaque)
{
    ((UserTimer *)timer)->deadline_ms = deadline_ms;
    wake(opaque);
}

static void on_fd(int fd, void *opaque)
{
}

static void on_notify(void *opaque)
{
    wake(opaque);
}

static const SlirpCb callbacks = {
    .send_packet = on_packet,
    .guest_error = on_guest_error,
    .clock_get_ns = on_clock,
    .timer_new = on_timer_new,
    .timer_free = on_timer_free,
    .timer_mod = on_timer_mod,
    .register_poll_fd = on_fd,
    .unregister_poll_fd = on_fd,
    .notify = on_notify,
};

/* -- the thread -- */

static const struct {
    int slirp;
    short poll;
} poll_bits[] = {
    { SLIRP_POLL_IN, POLLIN },   { SLIRP_POLL_OUT, POLLOUT }, { SLIRP_POLL_PRI, POLLPRI },
    { SLIRP_POLL_ERR, POLLERR }, { SLIRP_POLL_HUP, POLLHUP },
};

static int add_poll(int fd, int events, void *opaque)
{
    NetUser *user = opaque;
    struct pollfd p = { .fd = fd };
    for (unsigned i = 0; i < G_N_ELEMENTS(poll_bits); i++) {
        p.events |= events & poll_bits[i].slirp ? poll_bits[i].poll : 0;
    }
    g_array_append_val(user->polls, p);
    return (int)user->polls->len - 1;
}

static int get_events(int index, void *opaque)
{
    const struct pollfd *p = &g_array_index(((NetUser *)opaque)->polls, struct pollfd, index);
    int events = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(poll_bits); i++) {
        events |= p->revents & poll_bits[i].poll ? poll_bits[i].slirp : 0;
    }
    return events;
}

/* Milliseconds until the first timer, at most @wait_ms. */
static int first_timer_ms(NetUser *user, uint32_t wait_ms)
{
    int64_t wait = wait_ms > INT_MAX ? INT_MAX : wait_ms;
    int64_t now = clock_monotonic_ns() / NS_PER_MS;
    list_for_each(&user->timers, timer, UserTimer, node) {
        if (timer->deadline_ms != INT64_MAX) {
            int64_t left = timer->deadline_ms - now;
            wait = left < 0 ? 0 : left < wait ? left : wait;
        }
    }
    return (int)wait;
}

static void run_timers(NetUser *user)
{
    int64_t now = clock_monotonic_ns() / NS_PER_MS;
    list_for_each(&user->timers, timer, UserTimer, node) {
        if (timer->deadline_ms <= now) {
            timer->deadline_ms = INT64_MAX;
            timer->func(timer->opaque);
        }
    }
}

static void *user_thread(void *opaque)
{
    NetUser *user = opaque;
    pthread_mutex_lock(&slirp_lock);
    while (!user->stops) {
        struct pollfd wake_poll = { .fd = user->wake_fd, .events = POLLIN };
        uint32_t wait_ms = UINT32_MAX;
        g_array_set_size(user->polls, 0);
        g_array_append_val(user->polls, wake_poll);
        slirp_pollfds_fill(user->slirp, &wait_ms, add_poll, user);
        int wait = first_timer_ms(user, wait_ms);
        pthread_mutex_unlock(&slirp_lock);

        int rc = poll((struct pollfd *)(void *)user->polls->data, user->polls->len, wait);
        uint64_t count;
        ssize_t drained = read(user->wake_fd, &count, sizeof(count));
        (void)drained; /* EAGAIN: nobody woke us */

        pthread_mutex_lock(&slirp_lock);
        slirp_pollfds_poll(user->slirp, rc < 0, get_events, user);
        run_timers(user);
    }
    pthread_mutex_unlock(&slirp_lock);
    return NULL;
}

/* -- the loop's side -- */

/* Hands waiting frames to the card until it takes no more. */
static void deliver(void *opaque)
{
    NetUser *user = opaque;
    for (;;) {
        pthread_mutex_lock(&slirp_lock);
        user->is_posted = false;
        GBytes *frame = g_queue_pop_head(&user->queue);
        pthread_mutex_unlock(&slirp_lock);
        if (!frame) {
            return;
        }
        gsize length;
        gconstpointer bytes = g_bytes_get_data(frame, &length);
        struct iovec iov = { .iov_base = (void *)bytes, .iov_len = length };
        if (!net_receive(&user->base, &iov, 1)) {
            LOCK_GUARD(&slirp_lock);
            g_queue_push_head(&user->queue, frame);
            return;
        }
        g_bytes_unref(frame);
    }
}

static ssize_t user_send(NetBackend *backend, const struct iovec *iov, unsigned count)
{
    NetUser *user = (NetUser *)backend;
    uint8_t frame[NET_FRAME_MAX];
    size_t length = 0;
    for (unsigned i = 0; i < count; i++) {
        memcpy(frame + length, iov[i].iov_base, iov[i].iov_len);
        length += iov[i].iov_len;
    }
    pthread_mutex_lock(&slirp_lock);
    slirp_input(user->slirp, frame, (int)length);
    pthread_mutex_unlock(&slirp_lock);
    wake(user);
    return (ssize_t)length;
}

static void user_accept_frames(NetBackend *backend)
{
    deliver(backend);
}

static bool add_forwards(NetUser *user, GError **error)
{
    for (unsigned i = 0; user->forwards && i < user->forwards->len; i++) {
        const HostForward *f = &g_array_index(user->forwards, HostForward, i);
        struct in_addr guest = f->guest.s_addr ? f->guest : user->addresses.dhcp_start;
        if (slirp_add_hostfwd(user->slirp, f->is_udp, f->host, f->host_port, guest, f->guest_port) <
            0) {
            char address[INET_ADDRSTRLEN];
            inet_ntop(AF_INET, &f->host, address, sizeof(address));
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_BUSY,
                        "hostfwd: cannot listen on %s port %u of the host: %s",
                        f->is_udp ? "udp" : "tcp", f->host_port, strerror(errno));
            g_prefix_error(error, "%s: ", address);
            return false;
        }
    }
    return true;
}

static SlirpConfig make_config(NetUser *user)
{
    SlirpConfig config = {
        .version = 4,
        .restricted = user->is_restricted,
        .in_enabled = user->has_ipv4,
        .vnetwork = user->addresses.network,
        .vnetmask = user->addresses.mask,
        .vhost = user->addresses.host,
        .vdhcp_start = user->addresses.dhcp_start,
        .vnameserver = user->addresses.dns,
        .in6_enabled = user->has_ipv6,
        .vprefix_len = 64,
        .vhostname = user->hostname,
        .vdomainname = user->domain,
        .tftp_path = user->tftp,
        .bootfile = user->bootfile,
    };
    inet_pton(AF_INET6, "fec0::", &config.vprefix_addr6);
    inet_pton(AF_INET6, "fec0::2", &config.vhost6);
    inet_pton(AF_INET6, "fec0::3", &config.vnameserver6);
    return config;
}

static void release(NetUser *user)
{
    pthread_mutex_lock(&slirp_lock);
    if (user->slirp) {
        slirp_cleanup(user->slirp);
        user->slirp = NULL;
    }
    list_for_each(&user->timers, timer, UserTimer, node) {
        on_timer_free(timer, user);
    }
    g_queue_clear_full(&user->queue, (GDestroyNotify)g_bytes_unref);
    pthread_mutex_unlock(&slirp_lock);
    cleanup_close(&user->wake_fd);
    g_clear_pointer(&user->polls, g_array_unref);
}

static bool start(NetUser *user, GError **error)
{
    SlirpConfig config = make_config(user);
    pthread_mutex_lock(&slirp_lock);
    user->slirp = slirp_new(&config, &callbacks, user);
    bool is_good = user->slirp && add_forwards(user, error);
    pthread_mutex_unlock(&slirp_lock);
    if (!user->slirp) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG, "libslirp refuses these options");
    }
    if (is_good && pthread_create(&user->thread, NULL, user_thread, user)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT, "cannot start another thread");
        is_good = false;
    }
    return is_good;
}

static bool user_open(NetBackend *backend, GError **error)
{
    NetUser *user = (NetUser *)backend;
    if (!user_addresses_resolve(user->net, user->host, user->dhcp_start, user->dns,
                                &user->addresses, error)) {
        return false;
    }
    list_init(&user->timers);
    g_queue_init(&user->queue);
    user->polls = g_array_new(FALSE, FALSE, sizeof(struct pollfd));
    user->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (!start(user, error)) {
        release(user);
        return false;
    }
    return true;
}

static void user_close(NetBackend *backend)
{
    NetUser *user = (NetUser *)backend;
    pthread_mutex_lock(&slirp_lock);
    user->stops = true;
    pthread_mutex_unlock(&slirp_lock);
    wake(user);
    pthread_join(user->thread, NULL);
    release(user);
}

static bool user_add_property(NetBackend *backend, const char *name, const char *value,
                              bool *out_known, GError **error)
{
    NetUser *user = (NetUser *)backend;
    HostForward forward;
    *out_known = !strcmp(name, "hostfwd");
    if (!*out_known || !host_forward_parse(value, &forward, error)) {
        return false;
    }
    if (!user->forwards) {
        user->forwards = g_array_new(FALSE, FALSE, sizeof(HostForward));
    }
    g_array_append_val(user->forwards, forward);
    return true;
}

static void user_clear(NetBackend *backend)
{
    g_clear_pointer(&((NetUser *)backend)->forwards, g_array_unref);
}

static char *user_describe(NetBackend *backend)
{
    NetUser *user = (NetUser *)backend;
    char network[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &user->addresses.network, network, sizeof(network));
    return g_strdup_printf("type=user,net=%s,restrict=%s", network,
                           user->is_restricted ? "on" : "off");
}

static const Property user_properties[] = {
    { "net", PROPERTY_STRING, offsetof(NetUser, net), .fallback = "10.0.2.0/24",
      .help = "the guest's network" },
    { "host", PROPERTY_STRING, offsetof(NetUser, host),
      .help = "address of the host in it (default: .2)" },
    { "dhcpstart", PROPERTY_STRING, offsetof(NetUser, dhcp_start),
      .help = "first address that DHCP gives (default: .15)" },
    { "dns", PROPERTY_STRING, offsetof(NetUser, dns),
      .help = "address of the name server (default: .3)" },
    { "hostname", PROPERTY_STRING, offsetof(NetUser, hostname),
      .help = "host name that DHCP gives" },
    { "domainname", PROPERTY_STRING, offsetof(NetUser, domain), .help = "domain that DHCP gives" },
    { "tftp", PROPERTY_STRING, offsetof(NetUser, tftp), .help = "folder that TFTP serves" },
    { "bootfile", PROPERTY_STRING, offsetof(NetUser, bootfile),
      .help = "boot file that DHCP names" },
    { "restrict", PROPERTY_BOOL, offsetof(NetUser, is_restricted), .fallback = "off",
      .help = "no way out but hostfwd" },
    { "ipv4", PROPERTY_BOOL, offsetof(NetUser, has_ipv4), .fallback = "on", .help = "IPv4" },
    { "ipv6", PROPERTY_BOOL, offsetof(NetUser, has_ipv6), .fallback = "on", .help = "IPv6" },
    { 0 },
};

const NetClass net_user_class = {
    .name = "user",
    .summary = "private network behind the host's sockets, no rights needed "
               "(hostfwd=[tcp|udp]:[ADDRESS]:PORT-[ADDRESS]:PORT may come several times)",
    .instance_size = sizeof(NetUser),
    .properties = user_properties,
    .add_property = user_add_property,
    .open = user_open,
    .close = user_close,
    .clear = user_clear,
    .send = user_send,
    .accept_frames = user_accept_frames,
    .describe = user_describe,
};
