/* Changes of a guest that runs, of the definition it starts by, or of both at once.
 *
 *     DomainChange change;
 *     if (!change_begin(&change, call, &args->dom, "pin", args->flags, error)) {
 *         return false;
 *     }
 *     bool ok = edit(change.config) && change_store(&change, error) && edit_guest(change.monitor);
 *     return change_end(&change, ok);
 *
 * The definition is written before the guest is changed: it can be put back when the guest refuses.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_CHANGE_H
#define LODGE_DAEMON_DOMAIN_CHANGE_H

#include "daemon/domain/handlers.h"
#include "daemon/domain/params.h"

typedef struct DomainChange {
    Domain *domain;      /* with its job */
    unsigned flags;      /* AFFECT_LIVE, AFFECT_CONFIG or both */
    DomainDef *config;   /* a copy to be edited; NULL without AFFECT_CONFIG, and once stored */
    DomainDef *previous; /* once stored: what it was */
    QmpClient *monitor;  /* NULL without AFFECT_LIVE */
} DomainChange;

/* Takes the domain's job and what @flags ask for; other bits than AFFECT_ are ignored. False with
 * @error: nothing is taken. Not on the loop. */
bool change_begin(DomainChange *change, DaemonCall *call, const RemoteDomain *dom, const char *job,
                  unsigned flags, GError **error);

/* Makes the edited definition the persistent one; true without AFFECT_CONFIG. */
bool change_store(DomainChange *change, GError **error);

/* Ends the job; @ok false: puts the definition back; true: notes the guest in its status file.
 * Returns: @ok. */
bool change_end(DomainChange *change, bool ok);

/* The definition that a question with AFFECT_ flags is about; with lock, borrowed. */
DomainDef *domain_def_by_flags_locked(Domain *domain, unsigned flags, GError **error);

/* Puts what @def says into @list; @what is the caller's (a disk's name, say). With the domain's
 * lock. False with @error. */
typedef bool (*ParamsFill)(ParamList *list, DomainDef *def, const char *what, GError **error);

/* Answers a question for typed parameters: lets @fill tell of the definition that @flags (AFFECT_
 * and PARAMS_STRING_OKAY) choose. @list lives as long as the call. False with @error. */
bool domain_get_params(DaemonCall *call, const RemoteDomain *dom, unsigned flags, ParamsFill fill,
                       const char *what, ParamList *list, GError **error);

#endif
