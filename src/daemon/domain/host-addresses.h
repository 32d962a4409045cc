/* Addresses of guests as the host knows them: leases of dnsmasq, and its neighbours (ARP, ND).
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_HOST_ADDRESSES_H
#define LODGE_DAEMON_DOMAIN_HOST_ADDRESSES_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct HostAddress {
    uint8_t mac[6];
    char text[46]; /* INET6_ADDRSTRLEN */
    bool is_v6;
} HostAddress;

#define HOST_ADDRESSES_MAX 65536u

/**
 * leases_read - what a lease file of dnsmasq says
 * @text:    any bytes, ended by NUL
 * @now:     seconds since 1970; leases that ended before are left out
 * @out:     of HostAddress: appended to, HOST_ADDRESSES_MAX at most
 *
 * Lines "EXPIRY MAC ADDRESS NAME ID"; of IPv6 leases, whose second word is no MAC, the MAC is taken
 * from the DUID where it has one. Lines that are none of these are skipped.
 */
void leases_read(const char *text, gint64 now, GArray *out);

/* What one datagram of netlink (RTM_NEWNEIGH) says; @out as above. False: it was the last one, or
 * makes no sense. */
bool neighbours_read(const void *data, size_t size, GArray *out);

/* All that is in @globs, NULL: where distributions put lease files. (transfer full) */
GArray *host_leases(char *const *globs);

/* The kernel's tables. (transfer full) */
GArray *host_neighbours(void);

/* Bits of the network of the host that the address is in; 0: none. */
unsigned host_prefix_of(const HostAddress *address);

#endif
