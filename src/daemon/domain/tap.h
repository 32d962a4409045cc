/* TAP interfaces of guests, and the bridges they join.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_TAP_H
#define LODGE_DAEMON_DOMAIN_TAP_H

#include "conf/domain/domain.h"

#include <glib.h>

/* The tap of an interface of type bridge or ethernet, which goes when the last descriptor is
 * closed, or the link of one of type direct (macvtap.h); its name is filled in. A CommandLineOps
 * function;
 * @opaque: the Domain, with its runtime. */
int tap_open(void *opaque, DomainInterface *interface, GError **error);

/* Takes the tap out of the bridge @from and puts it into @to. False with @error: it is where it
 * was. */
bool tap_move(const char *name, const char *from, const char *to, GError **error);

#endif
