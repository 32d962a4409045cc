/* <vcpus>: the single vCPUs of a definition. A definition that only counts them has an empty list;
 * else there is one entry for each, in the order of their numbers.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_CONF_DOMAIN_VCPUS_H
#define LODGE_CONF_DOMAIN_VCPUS_H

#include "conf/domain/domain-def.h"

/* Makes the list complete: of what is counted the first are on; what a list lacks is off. */
void domain_def_spread_vcpus(DomainDef *def);

/* How many the guest is started with: the first ones, up to one that is off or hotpluggable. The
 * others that are on are plugged before it runs. */
unsigned domain_def_boot_vcpus(const DomainDef *def);

/* After parsing: completes what <vcpus> says, which decides how many are on. */
bool domain_def_fill_vcpus(DomainDef *def, GError **error);

/* Whether <vcpus> can be. */
bool domain_def_check_vcpus(const DomainDef *def, GError **error);

#endif
