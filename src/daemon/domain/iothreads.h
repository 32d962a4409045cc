/* IOThreads of definitions.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_IOTHREADS_H
#define LODGE_DAEMON_DOMAIN_IOTHREADS_H

#include "conf/domain/domain.h"

/* Names all IOThreads that a definition only counts: the lowest free ids. */
void iothreads_fill(DomainDef *def);

#endif
