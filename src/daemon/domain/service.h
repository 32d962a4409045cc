/* All guests of this daemon, found by name, UUID and id.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_SERVICE_H
#define LODGE_DAEMON_DOMAIN_SERVICE_H

#include "daemon/domain/config-cache.h"
#include "daemon/domain/domain.h"
#include "daemon/state/store.h"

struct DomainService {
    Daemon *daemon;
    StateStore *store;
    char *lodge_vmm;        /* default emulator */
    char *nvram_dir;        /* variables of guests' firmware, below the daemon's state */
    GThreadPool *workers;   /* of what events bring about: see service_run() */
    GMutex tasks;           /* of what waits for the workers; below a domain's lock */
    GThreadPool *removers;  /* see removal.h */
    struct GuestLogs *logs; /* see guest-log.h */

    /* Taken before any domain's lock. */
    GRWLock lock;
    GHashTable *by_uuid; /* Uuid -> Domain (owned) */
    GHashTable *by_name; /* name -> Domain (borrowed) */
    GHashTable *by_id;   /* id -> Domain (borrowed); active ones */
    GPtrArray *sorted;   /* what service_all() gives, or NULL when the tables changed */
    int next_id;
    unsigned active;
    gint is_reloading;   /* atomic */
    GMutex host_devices; /* held while one is taken for a guest; a leaf */
    GMutex users;        /* held while a guest is given one; taken before all other locks */
    ConfigCache configs;
    GThread *preparer; /* of statistics, after the start */
    DomainEnvironment environment;
};

/* References (transfer full) or NULL; with @error NO_DOMAIN where there is one. */
Domain *service_find(DomainService *service, const RemoteDomain *wire, GError **error);
Domain *service_find_name(DomainService *service, const char *name);
Domain *service_find_uuid(DomainService *service, const Uuid *uuid);
Domain *service_find_id(DomainService *service, int id);

/* All of them (Domain, transfer full), by name. The array is shared: it must not be changed. */
GPtrArray *service_all(DomainService *service);

/**
 * service_claim - the domain that a definition is for
 * @is_start: the caller starts it: it must not be active
 *
 * Either the one of the same UUID and name, or one made and entered now (@out_is_new). NULL with
 * @error: name or UUID belong to another.
 */
Domain *service_claim(DomainService *service, const Uuid *uuid, const char *name, bool *out_is_new,
                      GError **error);

/* Takes it out of the tables. */
void service_remove(DomainService *service, Domain *domain);

/* Gives it another name. False: taken. Neither locks may be held. */
bool service_rename(DomainService *service, Domain *domain, const char *name, GError **error);

/* Gives it an id (@wanted, or -1 for the next) and counts it as active; and the reverse. */
void service_activate(DomainService *service, Domain *domain, int wanted);
void service_deactivate(DomainService *service, Domain *domain);

/* Runs @func on a worker thread of the service, with a reference on @domain, after what this domain
 * waits for already; domains take turns. @argument: copied.
 * What a guest's process brings about without end is dropped, with a warning. Any thread, locks may
 * be held. */
void service_run(Domain *domain, void (*func)(Domain *domain, const char *argument),
                 const char *argument);

/* Makes the persistent definition, the autostart mark and what else is in @txn durable. */
bool service_commit(DomainService *service, const StateTxn *txn, GError **error);

/* The definitions' environment: default emulator and machines. */
const DomainEnvironment *service_environment(DomainService *service);

/* Paths below the store (transfer full). */
char *service_config_path(const char *name);
char *service_autostart_path(const char *name);

/* The persistent definition; loads it when it is not in memory. Borrowed until the domain's lock is
 * released: it may be freed then. */
DomainDef *service_config_locked(Domain *domain, GError **error);

/* The persistent definition as the file has it (transfer full): NUL-terminated, without secrets if
 * @only_public: NULL without @error then means that it holds some. With the domain's lock. */
GBytes *service_config_text_locked(Domain *domain, bool only_public, GError **error);

/* The file changed: @def and its @text, or NULL when there is none any more. With the domain's
 * lock. */
void service_config_changed_locked(Domain *domain, const DomainDef *def, const char *text);

/* Numbers of a definition. */
void domain_def_facts(const DomainDef *def, DomainFacts *out);

#endif
