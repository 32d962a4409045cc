/* The user network: a private network of the guest behind the host's own sockets, by libslirp.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_NET_USER_H
#define LODGE_VMM_NET_USER_H

#include "vmm/net/net.h"

extern const NetClass net_user_class;

#endif
