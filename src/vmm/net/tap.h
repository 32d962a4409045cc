/* A TAP device of the host: frames go to a bridge or a route of the host's kernel.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_NET_TAP_H
#define LODGE_VMM_NET_TAP_H

#include "vmm/net/net.h"

extern const NetClass net_tap_class;

#endif
