/* Options of the user network: texts to addresses.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/net/user-config.h"

#include "gbase/error.h"

#include <arpa/inet.h>
#include <string.h>

static bool parse_address(const char *name, const char *text, struct in_addr *out, GError **error)
{
    if (inet_pton(AF_INET, text, out) != 1) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "%s: '%s' is no IPv4 address",
                    name, text);
        return false;
    }
    return true;
}

static bool parse_mask(const char *text, struct in_addr *out, GError **error)
{
    char *end;
    guint64 bits = g_ascii_strtoull(text, &end, 10);
    if (*text && !*end && bits >= 1 && bits <= 29) {
        out->s_addr = htonl(~0u << (32 - bits));
        return true;
    }
    if (!parse_address("net", text, out, error)) {
        return false;
    }
    uint32_t hosts = ~ntohl(out->s_addr);
    if (hosts & (hosts + 1) || hosts < 7) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "net: '%s' is no network mask", text);
        return false;
    }
    return true;
}

static bool parse_network(const char *text, UserAddresses *out, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(text, "/", 2);
    if (!parse_mask(parts[1] ? parts[1] : "24", &out->mask, error) ||
        !parse_address("net", parts[0], &out->network, error)) {
        return false;
    }
    out->network.s_addr &= out->mask.s_addr;
    return true;
}

/* An address of the network, @offset hosts from its start unless @text says otherwise. */
static bool parse_member(const char *name, const char *text, uint32_t offset,
                         const UserAddresses *all, struct in_addr *out, GError **error)
{
    uint32_t hosts = ~ntohl(all->mask.s_addr);
    if (!text) {
        /* Small networks have no room for the usual numbers. */
        uint32_t number = offset < hosts ? offset : 1 + offset % (hosts - 1);
        out->s_addr = all->network.s_addr | htonl(number);
        return true;
    }
    if (!parse_address(name, text, out, error)) {
        return false;
    }
    if ((out->s_addr & all->mask.s_addr) != all->network.s_addr) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG, "%s: '%s' lies outside the network",
                    name, text);
        return false;
    }
    return true;
}

bool user_addresses_resolve(const char *net, const char *host, const char *dhcp_start,
                            const char *dns, UserAddresses *out, GError **error)
{
    UserAddresses all = { 0 };
    if (!parse_network(net ? net : "10.0.2.0/24", &all, error) ||
        !parse_member("host", host, 2, &all, &all.host, error) ||
        !parse_member("dhcpstart", dhcp_start, 15, &all, &all.dhcp_start, error) ||
        !parse_member("dns", dns, 3, &all, &all.dns, error)) {
        return false;
    }
    if (all.host.s_addr == all.dns.s_addr || all.host.s_addr == all.dhcp_start.s_addr) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "'host' has the address of 'dns' or 'dhcpstart'; give each its own");
        return false;
    }
    *out = all;
    return true;
}

static bool parse_port(const char *text, uint16_t *out)
{
    char *end;
    guint64 port = g_ascii_strtoull(text, &end, 10);
    *out = (uint16_t)port;
    return *text && !*end && port >= 1 && port <= 65535;
}

/* "[ADDRESS]:PORT"; an empty address is 0.0.0.0. */
static bool parse_end(const char *text, struct in_addr *address, uint16_t *port)
{
    g_auto(GStrv) parts = g_strsplit(text, ":", 2);
    return parts[0] && parts[1] && parse_port(parts[1], port) &&
           inet_pton(AF_INET, *parts[0] ? parts[0] : "0.0.0.0", address) == 1;
}

bool host_forward_parse(const char *text, HostForward *out, GError **error)
{
    HostForward forward = { .is_udp = g_str_has_prefix(text, "udp:") };
    const char *colon = strchr(text, ':');
    bool known = forward.is_udp || g_str_has_prefix(text, "tcp:") || *text == ':';
    g_auto(GStrv) ends = g_strsplit(colon ? colon + 1 : "", "-", 2);
    if (!known || !ends[0] || !ends[1] || !parse_end(ends[0], &forward.host, &forward.host_port) ||
        !parse_end(ends[1], &forward.guest, &forward.guest_port)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "hostfwd: '%s' is not [tcp|udp]:[ADDRESS]:PORT-[ADDRESS]:PORT", text);
        return false;
    }
    *out = forward;
    return true;
}
