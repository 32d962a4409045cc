/* Procedures on titles, descriptions and what applications keep in a definition.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/domain/metadata.h"

#include "daemon/domain/change.h"

#include <string.h>

enum { METADATA_DESCRIPTION = 0, METADATA_TITLE = 1, METADATA_ELEMENT = 2 };

static bool check_type(int type, const char *uri, GError **error)
{
    if (type < METADATA_DESCRIPTION || type > METADATA_ELEMENT) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: unknown metadata type");
        return false;
    }
    if (type == METADATA_ELEMENT && (!uri || !*uri)) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: an element's namespace (uri) is needed");
        return false;
    }
    return true;
}

/* (transfer full), or NULL: there is none. */
static char *get_text(const DomainDef *def, int type, const char *uri)
{
    return type == METADATA_TITLE         ? g_strdup(def->title)
           : type == METADATA_DESCRIPTION ? g_strdup(def->description)
                                          : domain_def_get_metadata(def, uri);
}

bool handle_domain_get_metadata(DaemonCall *call, const RemoteDomainGetMetadataArgs *args,
                                RemoteDomainGetMetadataRet *ret, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain || !daemon_check_flags(args->flags, 3, error) ||
        !check_type(args->type, args->uri, error)) {
        return false;
    }
    g_mutex_lock(&domain->lock);
    const DomainDef *def = domain_def_by_flags_locked(domain, args->flags, error);
    char *text = def ? get_text(def, args->type, args->uri) : NULL;
    g_mutex_unlock(&domain->lock);
    if (def && !text) {
        static const char *const names[] = { "description", "title", "metadata element" };
        daemon_error_set(error, DAEMON_ERROR_NO_DOMAIN_METADATA,
                         "metadata not found: Requested %s is not present", names[args->type]);
    }
    ret->metadata = text ? arena_take(call_arena(call), text, g_free) : NULL;
    return text != NULL;
}

static void replace(char **member, const char *text)
{
    g_free(*member);
    *member = text && *text ? g_strdup(text) : NULL;
}

static bool set_text(DomainDef *def, const RemoteDomainSetMetadataArgs *args, GError **error)
{
    switch (args->type) {
    case METADATA_TITLE:
        replace(&def->title, args->metadata);
        return true;
    case METADATA_DESCRIPTION:
        replace(&def->description, args->metadata);
        return true;
    default:
        return domain_def_set_metadata(def, args->uri, args->key, args->metadata, error);
    }
}

static bool set_live(Domain *domain, const RemoteDomainSetMetadataArgs *args, GError **error)
{
    g_mutex_lock(&domain->lock);
    bool ok = domain->live && set_text(domain->live, args, error);
    g_mutex_unlock(&domain->lock);
    return ok;
}

static void emit_change(Domain *domain, const RemoteDomainSetMetadataArgs *args)
{
    RemoteDomainEventCallbackMetadataChangeMsg message = { .type = args->type, .nsuri = args->uri };
    EventSubject subject = { domain->name, domain->uuid };
    g_mutex_lock(&domain->lock);
    domain_to_wire_locked(domain, NULL, &message.dom);
    event_queue_emit(domain->service->daemon->events,
                     REMOTE_PROC_DOMAIN_EVENT_CALLBACK_METADATA_CHANGE, &subject, &message);
    g_mutex_unlock(&domain->lock);
}

static bool check_text(const RemoteDomainSetMetadataArgs *args, GError **error)
{
    if (args->type == METADATA_TITLE && args->metadata && strchr(args->metadata, '\n')) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: metadata title can't contain newlines");
        return false;
    }
    if (args->type == METADATA_ELEMENT && args->metadata && (!args->key || !*args->key)) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: an element's prefix (key) is needed");
        return false;
    }
    return check_type(args->type, args->uri, error);
}

bool handle_domain_set_metadata(DaemonCall *call, const RemoteDomainSetMetadataArgs *args,
                                GError **error)
{
    DomainChange change;
    if (!daemon_check_flags(args->flags, 3, error) || !check_text(args, error) ||
        !change_begin(&change, call, &args->dom, "metadata", args->flags, error)) {
        return false;
    }
    bool ok = (!change.config || set_text(change.config, args, error)) &&
              change_store(&change, error) &&
              (!(change.flags & AFFECT_LIVE) || set_live(change.domain, args, error));
    if (ok) {
        emit_change(change.domain, args);
    }
    return change_end(&change, ok);
}

static const DispatchEntry entries[] = {
    HANDLER_INLINE(domain_get_metadata),
    HANDLER(domain_set_metadata),
};

const DaemonModule domain_metadata_module = {
    .name = "domain-metadata",
    .handlers = entries,
    .n_handlers = G_N_ELEMENTS(entries),
};
