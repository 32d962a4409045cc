/* Character back end on a stream socket: unix or TCP, server or client, or a descriptor passed in.
 *
 * A server talks to one peer; the next one waits in the listen queue until it has gone. Descriptors
 * that a unix peer sends along are kept for whoever asks for them. Leaves out TLS and websockets.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/char/socket.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "gbase/error.h"
#include "vmm/char/fd-stream.h"
#include "vmm/char/telnet.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>

/* Descriptors of one message at most; those of the message before are closed by the next. */
#define SENT_FDS_MAX 16

typedef enum SocketWait { SOCKET_WAIT_AUTO, SOCKET_WAIT_ON, SOCKET_WAIT_OFF } SocketWait;

static const char *const wait_choices[] = { "auto", "on", "off", NULL };

typedef struct CharSocket {
    CharBackend base;
    char *path, *host, *port;
    bool is_server, is_telnet, has_delay, has_no_delay;
    uint32_t waits; /* SocketWait */
    uint64_t passed_fd, reconnect_s;
    int listen_fd, fd;
    bool owns_path;
    LoopWatch *listen_watch;
    LoopTimer *timer;
    FdStream stream;
    Telnet telnet;
    int sent_fds[SENT_FDS_MAX]; /* by the peer, oldest first */
    unsigned sent_fd_count;
} CharSocket;

#define NO_PASSED_FD UINT64_MAX

static void on_listen(void *opaque, uint32_t events);

static char *address_text(const CharSocket *s)
{
    if (s->passed_fd != NO_PASSED_FD) {
        return g_strdup_printf("fd:%d", (int)s->passed_fd);
    }
    return s->path ? g_strdup_printf("unix:%s", s->path)
                   : g_strdup_printf("tcp:%s:%s", s->host ? s->host : "", s->port);
}

static bool fail(const CharSocket *s, const char *what, int code, GError **error)
{
    g_autofree char *address = address_text(s);
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONNECTION, "cannot %s '%s': %s", what, address,
                strerror(code));
    return false;
}

/* Fills in a unix address. False: the path does not fit. */
static bool unix_address(const char *path, struct sockaddr_un *out)
{
    *out = (struct sockaddr_un){ .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof(out->sun_path)) {
        return false;
    }
    memcpy(out->sun_path, path, strlen(path));
    return true;
}

/* A left-over socket file that nobody serves may be replaced; one that answers may not. */
static bool is_served(const struct sockaddr_un *address)
{
    autofd probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return connect(probe, (const struct sockaddr *)address, sizeof(*address)) == 0;
}

static bool start_unix(CharSocket *s, GError **error)
{
    struct sockaddr_un address;
    if (!unix_address(s->path, &address)) {
        return fail(s, "use", ENAMETOOLONG, error);
    }
    autofd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (!s->is_server) {
        if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
            return fail(s, "connect to", errno, error);
        }
        s->fd = steal_fd(&fd);
        return true;
    }
    if (is_served(&address)) {
        return fail(s, "listen on", EADDRINUSE, error);
    }
    unlink(s->path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 1) < 0) {
        return fail(s, "listen on", errno, error);
    }
    s->owns_path = true;
    s->listen_fd = steal_fd(&fd);
    return true;
}

/* Tries one resolved address; the descriptor or -1 with errno set. */
static int open_tcp(const CharSocket *s, const struct addrinfo *info)
{
    autofd fd = socket(info->ai_family, info->ai_socktype | SOCK_CLOEXEC, info->ai_protocol);
    int one = 1;
    if (fd < 0) {
        return -1;
    }
    if (!s->is_server) {
        return connect(fd, info->ai_addr, info->ai_addrlen) < 0 ? -1 : steal_fd(&fd);
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, info->ai_addr, info->ai_addrlen) < 0 || listen(fd, 1) < 0) {
        return -1;
    }
    return steal_fd(&fd);
}

static bool start_tcp(CharSocket *s, GError **error)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE };
    struct addrinfo *list;
    const char *host = s->host && *s->host ? s->host : s->is_server ? NULL : "localhost";
    int rc = getaddrinfo(host, s->port, &hints, &list);
    if (rc) {
        g_autofree char *address = address_text(s);
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONNECTION, "cannot resolve '%s': %s", address,
                    gai_strerror(rc));
        return false;
    }
    int fd = -1;
    for (struct addrinfo *info = list; info && fd < 0; info = info->ai_next) {
        fd = open_tcp(s, info);
    }
    int code = errno;
    freeaddrinfo(list);
    if (fd < 0) {
        return fail(s, s->is_server ? "listen on" : "connect to", code, error);
    }
    *(s->is_server ? &s->listen_fd : &s->fd) = fd;
    return true;
}

static bool start_passed(CharSocket *s, GError **error)
{
    int listening = 0;
    socklen_t size = sizeof(listening);
    int fd = s->passed_fd > INT_MAX ? -1 : (int)s->passed_fd;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) < 0) {
        return fail(s, "use", errno, error);
    }
    s->is_server = listening;
    *(listening ? &s->listen_fd : &s->fd) = fd;
    return true;
}

static void try_again(CharSocket *s)
{
    if (s->reconnect_s) {
        loop_timer_set(s->timer, clock_monotonic_ns() + (int64_t)s->reconnect_s * NS_PER_SEC);
    }
}

static void close_sent_fds(CharSocket *s)
{
    while (s->sent_fd_count) {
        close(s->sent_fds[--s->sent_fd_count]);
    }
}

static void keep_sent_fds(CharSocket *s, struct msghdr *message)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        close_sent_fds(s);
        s->sent_fd_count = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(s->sent_fds, CMSG_DATA(c), s->sent_fd_count * sizeof(int));
    }
}

static ssize_t socket_read(CharBackend *backend, uint8_t *bytes, size_t size)
{
    CharSocket *s = (CharSocket *)backend;
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * SENT_FDS_MAX)];
    struct iovec iov = { bytes, size };
    struct msghdr message = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
    };
    ssize_t n = recvmsg(s->fd, &message, MSG_CMSG_CLOEXEC);
    if (n <= 0) {
        return n;
    }
    keep_sent_fds(s, &message);
    if (!s->is_telnet) {
        return n;
    }
    bool has_break = false;
    n = (ssize_t)telnet_filter(&s->telnet, bytes, (size_t)n, &has_break);
    if (has_break) {
        char_event(backend, CHAR_EVENT_BREAK);
    }
    errno = EAGAIN;
    return n ? n : -1;
}

static int socket_take_fd(CharBackend *backend)
{
    CharSocket *s = (CharSocket *)backend;
    if (!s->sent_fd_count) {
        return -1;
    }
    int fd = s->sent_fds[0];
    memmove(s->sent_fds, s->sent_fds + 1, --s->sent_fd_count * sizeof(int));
    return fd;
}

static void peer_gone(CharBackend *backend)
{
    CharSocket *s = (CharSocket *)backend;
    close_sent_fds(s);
    cleanup_close(&s->fd);
    s->fd = -1;
    char_event(backend, CHAR_EVENT_CLOSED);
    if (s->listen_watch) {
        loop_watch_set_events(s->listen_watch, EPOLLIN);
    } else if (s->listen_fd < 0) {
        try_again(s);
    }
}

static bool peer_came(CharSocket *s, GError **error)
{
    int on = !s->has_delay || s->has_no_delay;
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* no matter on unix sockets */
    if (!fd_stream_start(&s->stream, &s->base, s->fd, s->fd, peer_gone, error)) {
        cleanup_close(&s->fd);
        s->fd = -1;
        return false;
    }
    s->stream.read = socket_read;
    s->telnet = (Telnet){ 0 };
    if (s->listen_watch) {
        loop_watch_set_events(s->listen_watch, 0);
    }
    if (s->is_telnet && s->is_server) {
        ssize_t n = fd_stream_write(&s->stream, telnet_greeting, sizeof(telnet_greeting));
        (void)n; /* a peer that is gone again is noticed when it is read */
    }
    char_event(&s->base, CHAR_EVENT_OPENED);
    return true;
}

static void on_listen(void *opaque, uint32_t events)
{
    CharSocket *s = opaque;
    g_autoptr(GError) error = NULL;
    int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) {
        return;
    }
    s->fd = fd;
    if (!peer_came(s, &error)) {
        log_warn("chardev '%s': %s", s->base.id, error->message);
    }
}

static bool connect_or_listen(CharSocket *s, GError **error)
{
    return s->passed_fd != NO_PASSED_FD ? start_passed(s, error)
           : s->path                    ? start_unix(s, error)
                                        : start_tcp(s, error);
}

static void reconnect(void *opaque)
{
    CharSocket *s = opaque;
    if (!connect_or_listen(s, NULL) || !peer_came(s, NULL)) {
        try_again(s);
    }
}

static void socket_close(CharBackend *backend)
{
    CharSocket *s = (CharSocket *)backend;
    loop_timer_free(s->timer);
    loop_unwatch(s->listen_watch);
    fd_stream_stop(&s->stream);
    close_sent_fds(s);
    cleanup_close(&s->fd);
    cleanup_close(&s->listen_fd);
    if (s->owns_path) {
        unlink(s->path);
    }
}

/* Waits for a peer, or for a signal that ends the process: those are blocked and read later by the
 * loop, which does not run yet. */
static bool wait_for_peer(CharSocket *s, GError **error)
{
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGINT);
    sigaddset(&ending, SIGTERM);
    autofd signals = signalfd(-1, &ending, SFD_CLOEXEC);
    struct pollfd p[] = { { .fd = s->listen_fd, .events = POLLIN },
                          { .fd = signals, .events = POLLIN } };
    g_autofree char *address = address_text(s);
    log_info("waiting for connection on: %s", address);
    do {
        if (poll(p, G_N_ELEMENTS(p), -1) > 0 && p[1].revents) {
            struct signalfd_siginfo info = { 0 };
            ssize_t n = read(signals, &info, sizeof(info));
            (void)n; /* poll() said that it is there */
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_CANCELLED,
                        "signal %u from pid %u ended the wait for a connection on '%s'",
                        info.ssi_signo, info.ssi_pid, address);
            return false;
        }
        s->fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    } while (s->fd < 0 && (errno == EINTR || errno == EAGAIN || errno == ECONNABORTED));
    return s->fd >= 0 || fail(s, "accept on", errno, error);
}

static bool begin(CharSocket *s, GError **error)
{
    g_autoptr(GError) why = NULL;
    if (!connect_or_listen(s, &why)) {
        if (s->is_server || !s->reconnect_s) {
            g_propagate_error(error, g_steal_pointer(&why));
            return false;
        }
        try_again(s);
        return true;
    }
    if (s->listen_fd >= 0) {
        if (fd_set_nonblocking(s->listen_fd, 1) < 0) {
            return fail(s, "use", errno, error);
        }
        if (s->waits != SOCKET_WAIT_OFF && !wait_for_peer(s, error)) {
            return false;
        }
        if (!(s->listen_watch =
                  loop_watch(s->base.loop, s->listen_fd, s->fd < 0 ? EPOLLIN : 0, on_listen, s))) {
            return fail(s, "wait for connections on", errno, error);
        }
    }
    return s->fd < 0 || peer_came(s, error);
}

static bool socket_open(CharBackend *backend, GError **error)
{
    CharSocket *s = (CharSocket *)backend;
    s->listen_fd = s->fd = s->stream.in_fd = s->stream.out_fd = -1;
    if (s->passed_fd == NO_PASSED_FD && !s->path == !s->port) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "give either 'path' (unix), or 'host' and 'port' (tcp), or 'fd'");
        return false;
    }
    if (s->is_server && s->reconnect_s) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG, "'reconnect' is for clients only");
        return false;
    }
    if (!s->is_server && s->passed_fd == NO_PASSED_FD && s->waits != SOCKET_WAIT_AUTO) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG, "'wait' is for servers only");
        return false;
    }
    s->timer = loop_timer_new(backend->loop, reconnect, s);
    if (!begin(s, error)) {
        socket_close(backend);
        return false;
    }
    return true;
}

static ssize_t socket_write(CharBackend *backend, const uint8_t *bytes, size_t length)
{
    return fd_stream_write(&((CharSocket *)backend)->stream, bytes, length);
}

static void socket_want_write(CharBackend *backend)
{
    CharSocket *s = (CharSocket *)backend;
    if (s->stream.out_fd >= 0) {
        fd_stream_want_write(&s->stream);
    }
}

static void socket_accept_input(CharBackend *backend)
{
    fd_stream_accept_input(&((CharSocket *)backend)->stream);
}

static char *socket_describe(CharBackend *backend)
{
    CharSocket *s = (CharSocket *)backend;
    g_autofree char *address = address_text(s);
    return g_strdup_printf("%s%s", s->fd < 0 ? "disconnected:" : "", address);
}

static const Property socket_properties[] = {
    { "path", PROPERTY_STRING, offsetof(CharSocket, path), .help = "of a unix socket" },
    { "host", PROPERTY_STRING, offsetof(CharSocket, host), .help = "name or address (tcp)" },
    { "port", PROPERTY_STRING, offsetof(CharSocket, port), .help = "number or service (tcp)" },
    { "fd", PROPERTY_UINT, offsetof(CharSocket, passed_fd), .fallback = "18446744073709551615",
      .max = UINT64_MAX, .help = "open socket to use, connected or listening" },
    { "server", PROPERTY_BOOL, offsetof(CharSocket, is_server), .fallback = "off",
      .help = "listen instead of connecting" },
    { "wait", PROPERTY_ENUM, offsetof(CharSocket, waits), .fallback = "auto",
      .choices = wait_choices,
      .help = "server: do not start the machine before a peer came (auto: on)" },
    { "telnet", PROPERTY_BOOL, offsetof(CharSocket, is_telnet), .fallback = "off",
      .help = "speak telnet to the peer" },
    { "delay", PROPERTY_BOOL, offsetof(CharSocket, has_delay), .fallback = "off",
      .help = "tcp: let the kernel gather small writes" },
    { "nodelay", PROPERTY_BOOL, offsetof(CharSocket, has_no_delay), .fallback = "off",
      .help = "tcp: send small writes at once, as it does without 'delay'" },
    { "reconnect", PROPERTY_UINT, offsetof(CharSocket, reconnect_s), .fallback = "0", .max = 3600,
      .help = "client: seconds until the next try; 0: none" },
    { 0 },
};

const CharClass char_socket_class = {
    .name = "socket",
    .summary = "unix or tcp stream socket",
    .instance_size = sizeof(CharSocket),
    .properties = socket_properties,
    .open = socket_open,
    .close = socket_close,
    .write = socket_write,
    .want_write = socket_want_write,
    .accept_input = socket_accept_input,
    .describe = socket_describe,
    .take_fd = socket_take_fd,
};
