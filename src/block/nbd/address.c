/* Addresses of NBD servers. SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/nbd/address.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "block/nbd/proto.h"
#include "gbase/error.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/un.h>

void nbd_address_clear(NbdAddress *address)
{
    g_clear_pointer(&address->path, g_free);
    g_clear_pointer(&address->host, g_free);
    g_clear_pointer(&address->port, g_free);
    g_clear_pointer(&address->export_name, g_free);
}

static bool refuse(GError **error, const char *text, const char *why)
{
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "'%s' names no NBD server: %s",
                text, why);
    return false;
}

/* nbd:HOST:PORT[:exportname=NAME], nbd:unix:PATH[:exportname=NAME] */
static bool parse_old(const char *text, NbdAddress *address, GError **error)
{
    static const char export_mark[] = ":exportname=";
    g_autofree char *place = g_strdup(text + strlen("nbd:"));
    char *mark = strstr(place, export_mark);
    if (mark) {
        address->export_name = g_strdup(mark + strlen(export_mark));
        *mark = '\0';
    }
    if (g_str_has_prefix(place, "unix:")) {
        address->path = g_strdup(place + strlen("unix:"));
        return *address->path || refuse(error, text, "the socket's path is missing");
    }
    char *colon = strrchr(place, ':');
    if (!colon || colon == place || !colon[1]) {
        return refuse(error, text, "'nbd:HOST:PORT' or 'nbd:unix:PATH' is needed");
    }
    *colon = '\0';
    size_t length = strlen(place);
    bool is_bracketed = place[0] == '[' && place[length - 1] == ']';
    address->host = is_bracketed ? g_strndup(place + 1, length - 2) : g_strdup(place);
    address->port = g_strdup(colon + 1);
    return true;
}

static bool parse_uri(const char *text, NbdAddress *address, GError **error)
{
    g_autoptr(GError) reason = NULL;
    g_autoptr(GUri) uri = g_uri_parse(text, G_URI_FLAGS_NONE, &reason);
    if (!uri) {
        return refuse(error, text, reason->message);
    }
    const char *scheme = g_uri_get_scheme(uri), *path = g_uri_get_path(uri);
    const char *host = g_uri_get_host(uri);
    bool is_unix = g_str_has_suffix(scheme, "+unix");
    address->wants_tls = g_str_has_prefix(scheme, "nbds");
    address->export_name = g_strdup(*path == '/' ? path + 1 : path);
    if (!is_unix) {
        address->host = g_strdup(host && *host ? host : "localhost");
        address->port = g_uri_get_port(uri) > 0 ? g_strdup_printf("%d", g_uri_get_port(uri))
                                                : g_strdup(NBD_DEFAULT_PORT);
        return true;
    }
    const char *query = g_uri_get_query(uri);
    g_autoptr(GHashTable) values =
        query ? g_uri_parse_params(query, -1, "&;", G_URI_PARAMS_NONE, NULL) : NULL;
    address->path = values ? g_strdup(g_hash_table_lookup(values, "socket")) : NULL;
    return (address->path && *address->path) || refuse(error, text, "'?socket=PATH' is missing");
}

bool nbd_address_parse(const char *text, NbdAddress *out_address, GError **error)
{
    static const char *const schemes[] = { "nbd://",      "nbds://",     "nbd+tcp://",
                                           "nbds+tcp://", "nbd+unix://", "nbds+unix://" };
    NbdAddress address = { 0 };
    bool is_uri = false;
    for (unsigned i = 0; i < G_N_ELEMENTS(schemes); i++) {
        is_uri |= g_str_has_prefix(text, schemes[i]);
    }
    bool ok = is_uri ? parse_uri(text, &address, error)
              : g_str_has_prefix(text, "nbd:")
                  ? parse_old(text, &address, error)
                  : refuse(error, text, "nbd:// or nbd+unix:// is needed");
    if (!ok) {
        nbd_address_clear(&address);
        return false;
    }
    if (!address.export_name) {
        address.export_name = g_strdup("");
    }
    *out_address = address;
    return true;
}

static bool from_keys(const BlockSpec *spec, NbdAddress *address, GError **error)
{
    const char *type = block_spec_get(spec, "server.type");
    const char *path = block_spec_get(spec, type ? "server.path" : "path");
    const char *host = block_spec_get(spec, type ? "server.host" : "host");
    const char *port = block_spec_get(spec, type ? "server.port" : "port");
    bool is_known = !type || strcmp(type, "unix") == 0 || strcmp(type, "inet") == 0;
    if (!is_known) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "The 'nbd' driver has no 'server.type' '%s'; supported: inet, unix", type);
        return false;
    }
    bool wants_path = type ? strcmp(type, "unix") == 0 : path != NULL;
    if (wants_path ? !path || !*path || host : !host) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    wants_path ? "The 'nbd' driver needs 'server.path' for a Unix socket (and no "
                                 "host)"
                               : "The 'nbd' driver needs 'server.type' with 'server.path' or "
                                 "'server.host' and 'server.port'");
        return false;
    }
    address->path = wants_path ? g_strdup(path) : NULL;
    address->host = wants_path ? NULL : g_strdup(host);
    address->port = wants_path ? NULL : g_strdup(port ? port : NBD_DEFAULT_PORT);
    return true;
}

bool nbd_address_from_spec(const BlockSpec *spec, NbdAddress *out_address, GError **error)
{
    const char *uri = block_spec_get(spec, "uri");
    const char *name = block_spec_get(spec, "export");
    NbdAddress address = { 0 };
    if (!(uri ? nbd_address_parse(uri, &address, error) : from_keys(spec, &address, error))) {
        return false;
    }
    if (name) {
        g_free(address.export_name);
        address.export_name = g_strdup(name);
    } else if (!address.export_name) {
        address.export_name = g_strdup("");
    }
    if (strlen(address.export_name) > NBD_NAME_MAX) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT,
                    "The name of an NBD export has at most %u bytes", NBD_NAME_MAX);
        nbd_address_clear(&address);
        return false;
    }
    *out_address = address;
    return true;
}

char *nbd_address_name(const NbdAddress *address)
{
    const char *s = address->wants_tls ? "s" : "", *name = address->export_name;
    if (address->path) {
        return *name ? g_strdup_printf("nbd%s+unix:///%s?socket=%s", s, name, address->path)
                     : g_strdup_printf("nbd%s+unix://?socket=%s", s, address->path);
    }
    bool is_v6 = strchr(address->host, ':') != NULL;
    return g_strdup_printf("nbd%s://%s%s%s:%s%s%s", s, is_v6 ? "[" : "", address->host,
                           is_v6 ? "]" : "", address->port, *name ? "/" : "", name);
}

/* Connecting */

void nbd_socket_tune(int fd)
{
    const int on = 1, idle_s = 60, interval_s = 15, count = 4;
    /* On sockets that are not TCP's these fail, which is right. */
    (void)!setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)!setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    (void)!setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
    (void)!setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
    (void)!setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

static int wait_connected(int fd, int64_t deadline_ns)
{
    struct pollfd poll_fd = { .fd = fd, .events = POLLOUT };
    int problem = 0;
    socklen_t size = sizeof(problem);
    for (;;) {
        int64_t left_ns = deadline_ns ? deadline_ns - clock_monotonic_ns() : 0;
        if (deadline_ns && left_ns <= 0) {
            return -ETIMEDOUT;
        }
        int timeout_ms = deadline_ns ? (int)MIN(left_ns / NS_PER_MS + 1, G_MAXINT) : -1;
        int rc = poll(&poll_fd, 1, timeout_ms);
        if (rc > 0) {
            rc = getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &size);
            return rc < 0 ? -errno : -problem;
        }
        if (rc < 0 && errno != EINTR) {
            return -errno;
        }
    }
}

/* Returns: a blocking socket or -errno. */
static int connect_to(const struct sockaddr *where, socklen_t length, int64_t deadline_ns)
{
    autofd fd = socket(where->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -errno;
    }
    if (connect(fd, where, length) < 0) {
        int rc = errno == EINPROGRESS || errno == EINTR ? wait_connected(fd, deadline_ns) : -errno;
        if (rc < 0) {
            return rc;
        }
    }
    if (fcntl(fd, F_SETFL, 0) < 0) {
        return -errno;
    }
    nbd_socket_tune(fd);
    return steal_fd(&fd);
}

static int connect_unix(const char *path, int64_t deadline_ns)
{
    struct sockaddr_un where = { .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof(where.sun_path)) {
        return -ENAMETOOLONG;
    }
    memcpy(where.sun_path, path, strlen(path) + 1);
    return connect_to((struct sockaddr *)&where, sizeof(where), deadline_ns);
}

static int connect_tcp(const NbdAddress *address, int64_t deadline_ns, GError **error)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found = NULL;
    int rc = getaddrinfo(address->host, address->port, &hints, &found);
    if (rc != 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONNECTION,
                    "Failed to look up the address of '%s:%s': %s", address->host, address->port,
                    gai_strerror(rc));
        return -1;
    }
    int fd = -ENOENT;
    for (struct addrinfo *at = found; at && fd < 0; at = at->ai_next) {
        fd = connect_to(at->ai_addr, at->ai_addrlen, deadline_ns);
    }
    freeaddrinfo(found);
    if (fd < 0) {
        lodge_error_set_errno(error, fd, "Failed to connect to '%s:%s'", address->host,
                              address->port);
        return -1;
    }
    return fd;
}

int nbd_address_connect(const NbdAddress *address, int64_t deadline_ns, GError **error)
{
    if (!address->path) {
        return connect_tcp(address, deadline_ns, error);
    }
    int fd = connect_unix(address->path, deadline_ns);
    if (fd < 0) {
        lodge_error_set_errno(error, fd, "Failed to connect to '%s'", address->path);
        return -1;
    }
    return fd;
}
