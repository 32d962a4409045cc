/* vCPUs of running guests.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_VCPUS_H
#define LODGE_DAEMON_DOMAIN_VCPUS_H

#include "daemon/domain/domain.h"

/* Asks the monitor which vCPUs there are: one came or went without a call waiting for it. Context:
 * a worker thread without the domain's lock or job. */
void vcpus_note(Domain *domain, const char *unused);

#endif
