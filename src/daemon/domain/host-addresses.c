/* Leases by dnsmasq's files, neighbours by rtnetlink.
 *
 * Left out: leases of other DHCP servers; IPv6 leases of clients whose DUID has no MAC.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/host-addresses.h"

#include "base/cleanup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <ifaddrs.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LEASE_FILE_MAX (4u << 20)
#define DATAGRAM_MAX (64u << 10)

/* --- leases --- */

static const char *const lease_files[] = {
    "/var/lib/misc/dnsmasq.leases",      "/var/lib/misc/dnsmasq.*.leases",
    "/var/lib/dnsmasq/*.leases",         "/var/lib/NetworkManager/dnsmasq-*.leases",
    "/var/lib/libvirt/dnsmasq/*.leases", NULL,
};

/* Six pairs of hexadecimal digits with colons, to the end of @text. */
static bool read_mac(const char *text, uint8_t out[6])
{
    for (unsigned i = 0; i < 6; i++, text += 3) {
        int high = g_ascii_xdigit_value(text[0]);
        int low = high < 0 ? -1 : g_ascii_xdigit_value(text[1]);
        if (low < 0 || text[2] != (i < 5 ? ':' : 0)) {
            return false;
        }
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

/* DUIDs of Ethernet cards end with the MAC: type 1 has a time before it, type 3 has not. */
static bool read_duid(const char *text, uint8_t out[6])
{
    size_t length = strlen(text);
    bool is_llt = g_str_has_prefix(text, "00:01:00:01:") && length == 14 * 3 - 1;
    bool is_ll = g_str_has_prefix(text, "00:03:00:01:") && length == 10 * 3 - 1;
    return (is_llt || is_ll) && read_mac(text + length - 17, out);
}

static bool read_address(const char *text, HostAddress *out)
{
    uint8_t bytes[16];
    out->is_v6 = strchr(text, ':') != NULL;
    int family = out->is_v6 ? AF_INET6 : AF_INET;
    return inet_pton(family, text, bytes) == 1 &&
           inet_ntop(family, bytes, out->text, sizeof(out->text)) != NULL;
}

static void read_lease(char *line, gint64 now, GArray *out)
{
    char *words[5] = { NULL };
    unsigned n = 0;
    for (char *save = NULL, *word = strtok_r(line, " \t\r", &save); word && n < 5;
         word = strtok_r(NULL, " \t\r", &save)) {
        words[n++] = word;
    }
    if (n < 4) {
        return;
    }
    char *end;
    gint64 expiry = g_ascii_strtoll(words[0], &end, 10);
    HostAddress address = { .is_v6 = false };
    if (*end || (expiry != 0 && expiry < now) || !read_address(words[2], &address)) {
        return;
    }
    if (read_mac(words[1], address.mac) ||
        (address.is_v6 && words[4] && read_duid(words[4], address.mac))) {
        g_array_append_val(out, address);
    }
}

void leases_read(const char *text, gint64 now, GArray *out)
{
    while (*text && out->len < HOST_ADDRESSES_MAX) {
        size_t length = strcspn(text, "\n");
        char line[512];
        /* dnsmasq's lines are shorter. */
        if (length < sizeof(line)) {
            memcpy(line, text, length);
            line[length] = 0;
            read_lease(line, now, out);
        }
        text += length + (text[length] == '\n');
    }
}

static void add_file(const char *path, gint64 now, GArray *out)
{
    autofd fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        return;
    }
    g_autofree char *text = g_malloc(LEASE_FILE_MAX + 1);
    size_t size = 0;
    ssize_t got;
    while (size < LEASE_FILE_MAX && (got = read(fd, text + size, LEASE_FILE_MAX - size)) > 0) {
        size += (size_t)got;
    }
    text[size] = 0;
    leases_read(text, now, out);
}

GArray *host_leases(char *const *globs)
{
    GArray *out = g_array_new(FALSE, TRUE, sizeof(HostAddress));
    gint64 now = g_get_real_time() / G_USEC_PER_SEC;
    const char *const *patterns = globs ? (const char *const *)globs : lease_files;
    for (unsigned i = 0; patterns[i]; i++) {
        glob_t found;
        if (glob(patterns[i], 0, NULL, &found) == 0) {
            for (size_t f = 0; f < found.gl_pathc; f++) {
                add_file(found.gl_pathv[f], now, out);
            }
            globfree(&found);
        }
    }
    return out;
}

/* --- neighbours --- */

/* What the attributes of one entry say; each is looked at within @size alone. */
static void read_neighbour(const struct ndmsg *head, const uint8_t *at, size_t size, GArray *out)
{
    HostAddress address = { .is_v6 = head->ndm_family == AF_INET6 };
    size_t wanted = address.is_v6 ? 16 : 4;
    bool has_address = false;
    bool has_mac = false;
    while (size >= sizeof(struct rtattr)) {
        struct rtattr attribute;
        memcpy(&attribute, at, sizeof(attribute));
        size_t length = attribute.rta_len;
        if (length < sizeof(attribute) || length > size) {
            return;
        }
        const uint8_t *data = at + sizeof(attribute);
        size_t data_size = length - sizeof(attribute);
        if (attribute.rta_type == NDA_DST && data_size == wanted) {
            has_address = inet_ntop(head->ndm_family, data, address.text, sizeof(address.text));
        } else if (attribute.rta_type == NDA_LLADDR && data_size == 6) {
            memcpy(address.mac, data, 6);
            has_mac = true;
        }
        size_t step = MIN(RTA_ALIGN(length), size);
        at += step;
        size -= step;
    }
    if (has_address && has_mac && out->len < HOST_ADDRESSES_MAX) {
        g_array_append_val(out, address);
    }
}

bool neighbours_read(const void *data, size_t size, GArray *out)
{
    const uint8_t *at = data;
    while (size >= sizeof(struct nlmsghdr)) {
        struct nlmsghdr header;
        memcpy(&header, at, sizeof(header));
        if (header.nlmsg_len < sizeof(header) || header.nlmsg_len > size ||
            header.nlmsg_type == NLMSG_DONE || header.nlmsg_type == NLMSG_ERROR) {
            return false;
        }
        struct ndmsg neighbour;
        if (header.nlmsg_type == RTM_NEWNEIGH &&
            header.nlmsg_len >= sizeof(header) + NLMSG_ALIGN(sizeof(neighbour))) {
            memcpy(&neighbour, at + sizeof(header), sizeof(neighbour));
            size_t skip = sizeof(header) + NLMSG_ALIGN(sizeof(neighbour));
            bool is_ip = neighbour.ndm_family == AF_INET || neighbour.ndm_family == AF_INET6;
            bool is_dead = neighbour.ndm_state & (NUD_FAILED | NUD_INCOMPLETE | NUD_NOARP);
            if (is_ip && !is_dead) {
                read_neighbour(&neighbour, at + skip, header.nlmsg_len - skip, out);
            }
        }
        size_t step = MIN(NLMSG_ALIGN((size_t)header.nlmsg_len), size);
        at += step;
        size -= step;
    }
    return true;
}

GArray *host_neighbours(void)
{
    GArray *out = g_array_new(FALSE, TRUE, sizeof(HostAddress));
    struct {
        struct nlmsghdr header;
        struct ndmsg neighbour;
    } request = {
        .header = { .nlmsg_len = sizeof(request),
                    .nlmsg_type = RTM_GETNEIGH,
                    .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
        .neighbour = { .ndm_family = AF_UNSPEC },
    };
    autofd fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    struct timeval patience = { .tv_sec = 2 };
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ||
        send(fd, &request, sizeof(request), 0) < 0) {
        return out;
    }
    g_autofree uint8_t *answer = g_malloc(DATAGRAM_MAX);
    ssize_t got;
    do {
        got = recv(fd, answer, DATAGRAM_MAX, 0);
    } while ((got < 0 && errno == EINTR) || (got > 0 && neighbours_read(answer, (size_t)got, out)));
    return out;
}

/* --- networks --- */

static unsigned bits_of(const uint8_t *mask, unsigned size)
{
    unsigned bits = 0;
    for (unsigned i = 0; i < size; i++) {
        bits += (unsigned)__builtin_popcount(mask[i]);
    }
    return bits;
}

static bool is_in(const uint8_t *a, const uint8_t *b, const uint8_t *mask, unsigned size)
{
    for (unsigned i = 0; i < size; i++) {
        if ((a[i] ^ b[i]) & mask[i]) {
            return false;
        }
    }
    return true;
}

/* The bytes of an address of @family, or NULL. */
static const uint8_t *bytes_of(const struct sockaddr *address, int family)
{
    if (!address || address->sa_family != family) {
        return NULL;
    }
    return family == AF_INET6
               ? ((const struct sockaddr_in6 *)(const void *)address)->sin6_addr.s6_addr
               : (const uint8_t *)&((const struct sockaddr_in *)(const void *)address)->sin_addr;
}

unsigned host_prefix_of(const HostAddress *address)
{
    int family = address->is_v6 ? AF_INET6 : AF_INET;
    unsigned size = address->is_v6 ? 16 : 4;
    uint8_t wanted[16];
    struct ifaddrs *all = NULL;
    unsigned best = 0;
    if (inet_pton(family, address->text, wanted) != 1 || getifaddrs(&all) < 0) {
        return 0;
    }
    for (struct ifaddrs *one = all; one; one = one->ifa_next) {
        const uint8_t *own = bytes_of(one->ifa_addr, family);
        const uint8_t *mask = bytes_of(one->ifa_netmask, family);
        if (own && mask && is_in(own, wanted, mask, size)) {
            best = MAX(best, bits_of(mask, size));
        }
    }
    freeifaddrs(all);
    return best;
}
