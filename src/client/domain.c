/* liblodge: domains, their events and streams.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "client/private.h"

#include "gbase/error.h"

#include <stdlib.h>
#include <string.h>

/* Events kept for watches that are being registered. */
#define EARLY_MAX 1024u

struct LodgeStream {
    RpcClientStream *rpc;
};

RemoteDomain domain_to_wire(const LodgeDomain *domain)
{
    RemoteDomain wire = { .name = domain->name, .id = domain->id };
    memcpy(wire.uuid.byte, domain->uuid, LODGE_UUID_BYTES);
    return wire;
}

LodgeDomain *domain_from_wire(const RemoteDomain *wire)
{
    LodgeDomain *domain = malloc(sizeof(*domain));
    char *name = strdup(wire->name);
    if (!domain || !name) {
        free(domain);
        free(name);
        return NULL;
    }
    domain->name = name;
    domain->id = wire->id;
    memcpy(domain->uuid, wire->uuid.byte, LODGE_UUID_BYTES);
    return domain;
}

void lodge_domain_free(LodgeDomain *domain)
{
    if (domain) {
        free(domain->name);
        free(domain);
    }
}

void lodge_domains_free(LodgeDomain **domains)
{
    for (LodgeDomain **at = domains; at && *at; at++) {
        lodge_domain_free(*at);
    }
    free(domains);
}

LodgeDomain **lodge_list_domains(LodgeConnection *connection, unsigned flags, size_t *out_count,
                                 LodgeError **out_error)
{
    GError *error = NULL;
    Arena arena;
    RemoteConnectListAllDomainsArgs args = { .need_results = 1, .flags = flags };
    RemoteConnectListAllDomainsRet ret;
    LodgeDomain **list = NULL;
    arena_init(&arena, ANSWER_LIMIT);
    bool ok = remote_connect_list_all_domains(connection->client, &args, &arena, &ret, &error);
    if (!ok) {
        lodge_fail(error, out_error);
    } else if ((list = calloc((size_t)ret.n_domains + 1, sizeof(LodgeDomain *)))) {
        size_t n = 0;
        while (n < ret.n_domains && (list[n] = domain_from_wire(&ret.domains[n]))) {
            n++;
        }
        if (n < ret.n_domains) {
            g_clear_pointer(&list, lodge_domains_free);
        } else if (out_count) {
            *out_count = n;
        }
    }
    if (ok && !list) {
        lodge_fail_memory(out_error);
    }
    arena_clear(&arena);
    return list;
}

/* A procedure that answers with one domain, which is the first member of its result. */
static LodgeDomain *get_domain(LodgeConnection *connection, uint32_t procedure, const void *args,
                               LodgeError **out_error)
{
    GError *error = NULL;
    Arena arena;
    RemoteDomainLookupByNameRet ret;
    LodgeDomain *domain = NULL;
    arena_init(&arena, ANSWER_LIMIT);
    if (rpc_client_call(connection->client, &remote_program, procedure, args, &arena, &ret,
                        &error)) {
        domain = domain_from_wire(&ret.dom);
        if (!domain) {
            lodge_fail_memory(out_error);
        }
    } else {
        lodge_fail(error, out_error);
    }
    arena_clear(&arena);
    return domain;
}

LodgeDomain *lodge_find_domain(LodgeConnection *connection, const char *name, LodgeError **error)
{
    RemoteDomainLookupByNameArgs args = { .name = name };
    return get_domain(connection, REMOTE_PROC_DOMAIN_LOOKUP_BY_NAME, &args, error);
}

LodgeDomain *lodge_define_domain(LodgeConnection *connection, const char *xml, unsigned flags,
                                 LodgeError **error)
{
    RemoteDomainDefineXmlFlagsArgs args = { .xml = xml, .flags = flags };
    return get_domain(connection, REMOTE_PROC_DOMAIN_DEFINE_XML_FLAGS, &args, error);
}

LodgeDomain *lodge_create_domain(LodgeConnection *connection, const char *xml, unsigned flags,
                                 LodgeError **error)
{
    RemoteDomainCreateXmlArgs args = { .xml_desc = xml, .flags = flags };
    return get_domain(connection, REMOTE_PROC_DOMAIN_CREATE_XML, &args, error);
}

int lodge_domain_start(LodgeConnection *connection, LodgeDomain *domain, unsigned flags,
                       LodgeError **error)
{
    RemoteDomainCreateWithFlagsArgs args = { .dom = domain_to_wire(domain), .flags = flags };
    LodgeDomain *started =
        get_domain(connection, REMOTE_PROC_DOMAIN_CREATE_WITH_FLAGS, &args, error);
    if (!started) {
        return -1;
    }
    domain->id = started->id;
    lodge_domain_free(started);
    return 0;
}

/* A procedure that has no result. */
static int act(LodgeConnection *connection, uint32_t procedure, const void *args,
               LodgeError **out_error)
{
    GError *error = NULL;
    if (!rpc_client_call(connection->client, &remote_program, procedure, args, NULL, NULL,
                         &error)) {
        return lodge_fail(error, out_error);
    }
    return 0;
}

int lodge_domain_shutdown(LodgeConnection *connection, const LodgeDomain *domain, unsigned flags,
                          LodgeError **error)
{
    RemoteDomainShutdownFlagsArgs args = { .dom = domain_to_wire(domain), .flags = flags };
    return act(connection, REMOTE_PROC_DOMAIN_SHUTDOWN_FLAGS, &args, error);
}

int lodge_domain_reboot(LodgeConnection *connection, const LodgeDomain *domain, unsigned flags,
                        LodgeError **error)
{
    RemoteDomainRebootArgs args = { .dom = domain_to_wire(domain), .flags = flags };
    return act(connection, REMOTE_PROC_DOMAIN_REBOOT, &args, error);
}

int lodge_domain_reset(LodgeConnection *connection, const LodgeDomain *domain, LodgeError **error)
{
    RemoteDomainResetArgs args = { .dom = domain_to_wire(domain) };
    return act(connection, REMOTE_PROC_DOMAIN_RESET, &args, error);
}

int lodge_domain_destroy(LodgeConnection *connection, const LodgeDomain *domain, unsigned flags,
                         LodgeError **error)
{
    RemoteDomainDestroyFlagsArgs args = { .dom = domain_to_wire(domain), .flags = flags };
    return act(connection, REMOTE_PROC_DOMAIN_DESTROY_FLAGS, &args, error);
}

int lodge_domain_suspend(LodgeConnection *connection, const LodgeDomain *domain, LodgeError **error)
{
    RemoteDomainSuspendArgs args = { .dom = domain_to_wire(domain) };
    return act(connection, REMOTE_PROC_DOMAIN_SUSPEND, &args, error);
}

int lodge_domain_resume(LodgeConnection *connection, const LodgeDomain *domain, LodgeError **error)
{
    RemoteDomainResumeArgs args = { .dom = domain_to_wire(domain) };
    return act(connection, REMOTE_PROC_DOMAIN_RESUME, &args, error);
}

int lodge_domain_undefine(LodgeConnection *connection, const LodgeDomain *domain, unsigned flags,
                          LodgeError **error)
{
    RemoteDomainUndefineFlagsArgs args = { .dom = domain_to_wire(domain), .flags = flags };
    return act(connection, REMOTE_PROC_DOMAIN_UNDEFINE_FLAGS, &args, error);
}

char *lodge_domain_get_xml(LodgeConnection *connection, const LodgeDomain *domain, unsigned flags,
                           LodgeError **out_error)
{
    GError *error = NULL;
    Arena arena;
    RemoteDomainGetXmlDescArgs args = { .dom = domain_to_wire(domain), .flags = flags };
    RemoteDomainGetXmlDescRet ret;
    char *xml = NULL;
    arena_init(&arena, ANSWER_LIMIT);
    if (remote_domain_get_xml_desc(connection->client, &args, &arena, &ret, &error)) {
        xml = strdup(ret.xml);
        if (!xml) {
            lodge_fail_memory(out_error);
        }
    } else {
        lodge_fail(error, out_error);
    }
    arena_clear(&arena);
    return xml;
}

int lodge_domain_get_state(LodgeConnection *connection, const LodgeDomain *domain, int *out_state,
                           int *out_reason, LodgeError **out_error)
{
    GError *error = NULL;
    RemoteDomainGetStateArgs args = { .dom = domain_to_wire(domain) };
    RemoteDomainGetStateRet ret;
    if (!remote_domain_get_state(connection->client, &args, NULL, &ret, &error)) {
        return lodge_fail(error, out_error);
    }
    *out_state = ret.state;
    if (out_reason) {
        *out_reason = ret.reason;
    }
    return 0;
}

/* --- events --- */

/* Where the domain of an event's message is: after the callback's number, and after a reason in
 * some that wrap an older message. */
static const RemoteDomain *domain_of(const XdrStruct *type, const void *message)
{
    for (uint32_t i = 0; i < type->n_fields; i++) {
        const XdrField *field = &type->fields[i];
        const void *member = (const char *)message + field->offset;
        if (field->kind == XDR_STRUCT && field->type == &type_remote_domain) {
            return member;
        }
        if (field->kind == XDR_STRUCT && field->shape == XDR_ONE && field->type->n_fields > 0 &&
            field->type->fields[0].type == &type_remote_domain) {
            return member;
        }
    }
    return NULL;
}

/* Called with the lock. */
static bool find_watch(const LodgeConnection *connection, int32_t callback_id, EventWatch *out)
{
    for (unsigned i = 0; i < connection->watches->len; i++) {
        const EventWatch *at = &g_array_index(connection->watches, EventWatch, i);
        if (at->id == callback_id) {
            *out = *at;
            return true;
        }
    }
    return false;
}

static void keep_early(LodgeConnection *connection, int32_t callback_id, const LodgeEvent *event)
{
    size_t size = strlen(event->name) + 1;
    EarlyEvent *early = g_malloc(sizeof(*early) + size);
    early->callback_id = callback_id;
    early->event = *event;
    memcpy(early->uuid, event->uuid, LODGE_UUID_BYTES);
    memcpy(early->name, event->name, size);
    early->event.uuid = early->uuid;
    early->event.name = early->name;
    g_queue_push_tail(&connection->early, early);
}

void lodge_tap_events(LodgeConnection *connection, RpcClientEventFunc func, void *opaque)
{
    g_mutex_lock(&connection->watches_lock);
    connection->tap = func;
    connection->tap_opaque = opaque;
    g_mutex_unlock(&connection->watches_lock);
}

void connection_deliver(void *opaque, const RpcProgram *program, const RpcProcedure *procedure,
                        const void *message)
{
    LodgeConnection *connection = opaque;
    g_mutex_lock(&connection->watches_lock);
    RpcClientEventFunc tap = connection->tap;
    void *tap_opaque = connection->tap_opaque;
    if (tap) {
        /* With the lock, so that it has returned when lodge_tap_events() has. */
        tap(tap_opaque, program, procedure, message);
    }
    g_mutex_unlock(&connection->watches_lock);
    if (program != &remote_program || procedure->event_object != RPC_EVENT_DOMAIN) {
        return;
    }
    const RemoteDomain *domain = domain_of(procedure->args, message);
    int32_t callback_id = *(const int32_t *)message;
    if (!domain) {
        return;
    }
    LodgeEvent event = { .id = procedure->event_id,
                         .name = domain->name,
                         .uuid = domain->uuid.byte };
    if (procedure->number == REMOTE_PROC_DOMAIN_EVENT_CALLBACK_LIFECYCLE) {
        const RemoteDomainEventCallbackLifecycleMsg *lifecycle = message;
        event.event = lifecycle->msg.event;
        event.detail = lifecycle->msg.detail;
    }
    EventWatch watch;
    g_mutex_lock(&connection->watches_lock);
    bool known = find_watch(connection, callback_id, &watch);
    if (!known && connection->registering > 0 && connection->early.length < EARLY_MAX) {
        keep_early(connection, callback_id, &event);
    }
    g_mutex_unlock(&connection->watches_lock);
    if (known) {
        watch.func(connection, &event, watch.opaque);
    }
}

/* Takes the events that came before the watch's number did. Called with the lock. */
static GQueue take_early(LodgeConnection *connection, int32_t callback_id)
{
    GQueue mine = G_QUEUE_INIT;
    GList *at = connection->early.head;
    while (at) {
        GList *next = at->next;
        EarlyEvent *early = at->data;
        if (early->callback_id == callback_id) {
            g_queue_unlink(&connection->early, at);
            g_queue_push_tail_link(&mine, at);
        }
        at = next;
    }
    if (connection->registering == 0) {
        g_queue_clear_full(&connection->early, g_free);
    }
    return mine;
}

int lodge_watch_domains(LodgeConnection *connection, const LodgeDomain *domain, int event_id,
                        LodgeEventFunc func, void *opaque, LodgeError **out_error)
{
    GError *error = NULL;
    RemoteDomain wire;
    RemoteConnectDomainEventCallbackRegisterAnyArgs args = { .event_id = event_id };
    RemoteConnectDomainEventCallbackRegisterAnyRet ret;
    if (domain) {
        wire = domain_to_wire(domain);
        args.dom = &wire;
    }
    g_mutex_lock(&connection->watches_lock);
    connection->registering++;
    g_mutex_unlock(&connection->watches_lock);
    /* Without the lock: the thread that reads the answer may have an event to deliver first. */
    bool ok = remote_connect_domain_event_callback_register_any(connection->client, &args, NULL,
                                                                &ret, &error);
    g_mutex_lock(&connection->watches_lock);
    connection->registering--;
    if (ok) {
        EventWatch watch = { ret.callback_id, func, opaque };
        g_array_append_val(connection->watches, watch);
    }
    GQueue early = take_early(connection, ok ? ret.callback_id : -1);
    g_mutex_unlock(&connection->watches_lock);
    EarlyEvent *event;
    while ((event = g_queue_pop_head(&early))) {
        func(connection, &event->event, opaque);
        g_free(event);
    }
    return ok ? ret.callback_id : lodge_fail(error, out_error);
}

int lodge_unwatch_domains(LodgeConnection *connection, int watch, LodgeError **out_error)
{
    GError *error = NULL;
    RemoteConnectDomainEventCallbackDeregisterAnyArgs args = { .callback_id = watch };
    if (!remote_connect_domain_event_callback_deregister_any(connection->client, &args, &error)) {
        return lodge_fail(error, out_error);
    }
    g_mutex_lock(&connection->watches_lock);
    for (unsigned i = 0; i < connection->watches->len; i++) {
        if (g_array_index(connection->watches, EventWatch, i).id == watch) {
            g_array_remove_index(connection->watches, i);
            break;
        }
    }
    g_mutex_unlock(&connection->watches_lock);
    return 0;
}

/* --- streams --- */

static LodgeStream *stream_new(RpcClientStream *rpc, GError *error, LodgeError **out_error)
{
    if (!rpc) {
        lodge_fail(error, out_error);
        return NULL;
    }
    LodgeStream *stream = g_new0(LodgeStream, 1);
    stream->rpc = rpc;
    return stream;
}

LodgeStream *lodge_domain_open_console(LodgeConnection *connection, const LodgeDomain *domain,
                                       const char *device, unsigned flags, LodgeError **out_error)
{
    GError *error = NULL;
    RemoteDomainOpenConsoleArgs args = { .dom = domain_to_wire(domain),
                                         .dev_name = device,
                                         .flags = flags };
    RpcClientStream *rpc =
        rpc_client_open_stream(connection->client, &remote_program, REMOTE_PROC_DOMAIN_OPEN_CONSOLE,
                               &args, NULL, NULL, &error);
    return stream_new(rpc, error, out_error);
}

LodgeStream *lodge_domain_take_screenshot(LodgeConnection *connection, const LodgeDomain *domain,
                                          unsigned screen, char **out_mime, LodgeError **out_error)
{
    GError *error = NULL;
    Arena arena;
    RemoteDomainScreenshotArgs args = { .dom = domain_to_wire(domain), .screen = screen };
    RemoteDomainScreenshotRet ret;
    arena_init(&arena, ANSWER_LIMIT);
    RpcClientStream *rpc =
        rpc_client_open_stream(connection->client, &remote_program, REMOTE_PROC_DOMAIN_SCREENSHOT,
                               &args, &arena, &ret, &error);
    if (rpc && out_mime) {
        *out_mime = strdup(ret.mime ? ret.mime : "");
    }
    arena_clear(&arena);
    return stream_new(rpc, error, out_error);
}

ptrdiff_t lodge_stream_read(LodgeStream *stream, void *buffer, size_t size, LodgeError **out_error)
{
    GError *error = NULL;
    gssize got = rpc_client_stream_read(stream->rpc, buffer, size, &error);
    return got >= 0 ? got : lodge_fail(error, out_error);
}

int lodge_stream_write(LodgeStream *stream, const void *data, size_t size, LodgeError **out_error)
{
    GError *error = NULL;
    return rpc_client_stream_write(stream->rpc, data, size, &error) ? 0
                                                                    : lodge_fail(error, out_error);
}

int lodge_stream_finish(LodgeStream *stream, LodgeError **out_error)
{
    GError *error = NULL;
    return rpc_client_stream_finish(stream->rpc, &error) ? 0 : lodge_fail(error, out_error);
}

void lodge_stream_free(LodgeStream *stream)
{
    if (stream) {
        rpc_client_stream_free(stream->rpc);
        g_free(stream);
    }
}
