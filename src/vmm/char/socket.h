/* Character back end on a stream socket: unix or TCP, server or client.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_CHAR_SOCKET_H
#define LODGE_VMM_CHAR_SOCKET_H

#include "vmm/char/char.h"

extern const CharClass char_socket_class;

#endif
