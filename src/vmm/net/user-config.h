/* Options of the user network: texts to addresses.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_NET_USER_CONFIG_H
#define LODGE_VMM_NET_USER_CONFIG_H

#include <glib.h>
#include <netinet/in.h>
#include <stdbool.h>

typedef struct UserAddresses {
    struct in_addr network, mask, host, dhcp_start, dns;
} UserAddresses;

typedef struct HostForward {
    bool is_udp;
    struct in_addr host, guest; /* guest 0: the first address that DHCP gives */
    uint16_t host_port, guest_port;
} HostForward;

/**
 * user_addresses_resolve - the addresses of a user network
 * @net: "A.B.C.D/BITS" or "A.B.C.D/MASK" or "A.B.C.D" (/24); the rest: "A.B.C.D" or NULL for the
 * defaults .2, .15 and .3
 *
 * Returns: false with @error: a malformed text, an address outside the network, two that are the
 * same.
 */
bool user_addresses_resolve(const char *net, const char *host, const char *dhcp_start,
                            const char *dns, UserAddresses *out, GError **error);

/* "[tcp|udp]:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT" */
bool host_forward_parse(const char *text, HostForward *out, GError **error);

#endif
