/* What the groups of domain procedures share, and their tables.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_HANDLERS_H
#define LODGE_DAEMON_DOMAIN_HANDLERS_H

#include "daemon/domain/module.h"
#include "daemon/domain/service.h"
#include "daemon/error.h"

/* The domain of a call (transfer full), or NULL with @error. */
Domain *call_domain(DaemonCall *call, const RemoteDomain *wire, GError **error);

/* A reply's domain, its strings in the call's arena. Without lock. */
void call_return_domain(DaemonCall *call, Domain *domain, RemoteDomain *out);

/* With lock; the definition may have to be loaded. False with @error. */
bool domain_facts_locked(Domain *domain, DomainFacts *out, GError **error);

/* Makes @xml the persistent definition of a domain, which is entered where it is new, and says so.
 * @parse: DOMAIN_PARSE_VALIDATE or 0. A worker thread. (transfer full), or NULL with @error. */
Domain *domain_define(DomainService *service, const char *xml, unsigned parse, GError **error);

/* Begins to read again what was changed by hand. The loop's thread. */
void domain_reload(Daemon *daemon);

/* Makes @def (transfer full on success) the persistent definition, durably. With the job, without
 * lock. */
bool domain_store_config(Domain *domain, DomainDef *def, GError **error);

/* Works out what bulk statistics tell of an inactive domain, so that those who ask need not wait
 * for it. Without lock. */
void domain_stats_prepare(Domain *domain);

/* Starts all that are marked. A thread of its own. */
void domain_autostart_all(DomainService *service);

/* Whether it is among those that flags of virConnectListAllDomains choose. With lock. */
bool domain_matches_list_locked(const Domain *domain, uint32_t flags);

/* The live definition when active and the persistent one else; with lock, borrowed. */
DomainDef *domain_def_locked(Domain *domain, GError **error);

#endif
