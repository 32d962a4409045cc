/* Network interfaces of guests, seen from the host: counters and limits of their taps.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_INTERFACES_H
#define LODGE_DAEMON_DOMAIN_INTERFACES_H

#include "conf/domain/domain.h"

#include <glib.h>
#include <linux/if_link.h>

/* Counters of a host interface; the guest's receive is the tap's transmit. False: there are none.
 */
bool interface_counters(const char *name, struct rtnl_link_stats *out);

/**
 * interface_set_bandwidth - limit a tap; zero averages take limits away
 * @inbound:  to the guest
 * @outbound: from the guest
 *
 * False with @error: one direction may be limited; the caller sets what was before.
 * Context: a worker thread: runs "tc". The limits go with the tap.
 */
bool interface_set_bandwidth(const char *name, const DomainBandwidth *inbound,
                             const DomainBandwidth *outbound, GError **error);

#endif
