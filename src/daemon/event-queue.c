/* Registrations of clients, and sending. A message is encoded once for all who want it.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/event-queue-private.h"

#include "base/log.h"
#include "daemon/error.h"
#include "rpc/connection.h"

#include <string.h>

/* A client that has more than this unread is cut off. */
#define CLIENT_QUEUE_MAX (16u << 20)
#define REGISTRATIONS_MAX 1024u

typedef struct Registration {
    DaemonClient *client; /* dropped with it */
    int32_t callback_id;
    RpcEventObject object;
    int event_id;
    bool active; /* its reply is out */
    bool for_one;
    char *name;
    Uuid uuid;
    char *monitor_name;
    GRegex *monitor_pattern;
} Registration;

struct EventQueue {
    GMutex lock;
    GPtrArray *registrations;
};

static void registration_free(void *data)
{
    Registration *reg = data;
    g_free(reg->name);
    g_free(reg->monitor_name);
    g_clear_pointer(&reg->monitor_pattern, g_regex_unref);
    g_free(reg);
}

EventQueue *event_queue_new(void)
{
    EventQueue *queue = g_new0(EventQueue, 1);
    g_mutex_init(&queue->lock);
    queue->registrations = g_ptr_array_new_with_free_func(registration_free);
    return queue;
}

void event_queue_free(EventQueue *queue)
{
    if (queue) {
        g_ptr_array_free(queue->registrations, TRUE);
        g_mutex_clear(&queue->lock);
        g_free(queue);
    }
}

static const RpcProcedure *find_event(RpcEventObject object, int event_id,
                                      const RpcProgram **out_program)
{
    const RpcProgram *program = object == RPC_EVENT_QEMU_MONITOR ? &qemu_program : &remote_program;
    for (uint32_t i = 0; i < program->n_procedures; i++) {
        const RpcProcedure *p = &program->procedures[i];
        if (p->number && p->access == RPC_ACCESS_EVENT && p->event_object == object &&
            p->event_id == event_id) {
            *out_program = program;
            return p;
        }
    }
    return NULL;
}

/* No event goes out before the reply, and none after it is left out: what the client does as soon
 * as it has its answer may be what it waits for. */
static void reply_and_activate(DaemonClient *client, RpcMessage *reply)
{
    EventQueue *queue = client->daemon->events;
    G_GNUC_UNUSED g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&queue->lock);
    rpc_connection_send(client->connection, reply);
    for (unsigned i = 0; i < queue->registrations->len; i++) {
        Registration *reg = queue->registrations->pdata[i];
        reg->active |= reg->client == client;
    }
}

int32_t event_queue_register(EventQueue *queue, DaemonCall *call, RpcEventObject object,
                             int event_id, const EventSubject *subject, const char *monitor_name,
                             GRegex *monitor_pattern, GError **error)
{
    const RpcProgram *program;
    if (!find_event(object, event_id, &program)) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG, "unsupported event ID %d", event_id);
        return -1;
    }
    DaemonClient *client = call->client;
    G_GNUC_UNUSED g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&queue->lock);
    unsigned n = 0;
    for (unsigned i = 0; i < queue->registrations->len; i++) {
        n += ((Registration *)queue->registrations->pdata[i])->client == client;
    }
    if (n >= REGISTRATIONS_MAX) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_FAILED,
                         "a connection can register for %u events", REGISTRATIONS_MAX);
        return -1;
    }
    Registration *reg = g_new0(Registration, 1);
    reg->client = client;
    reg->callback_id = client->next_callback_id++;
    reg->object = object;
    reg->event_id = event_id;
    reg->monitor_name = g_strdup(monitor_name);
    reg->monitor_pattern = monitor_pattern ? g_regex_ref(monitor_pattern) : NULL;
    if (subject) {
        reg->for_one = true;
        reg->name = g_strdup(subject->name);
        reg->uuid = subject->uuid;
    }
    g_ptr_array_add(queue->registrations, reg);
    call->send_reply = reply_and_activate;
    return reg->callback_id;
}

bool event_queue_deregister(EventQueue *queue, DaemonClient *client, RpcEventObject object,
                            int32_t callback_id, GError **error)
{
    G_GNUC_UNUSED g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&queue->lock);
    for (unsigned i = 0; i < queue->registrations->len; i++) {
        const Registration *reg = queue->registrations->pdata[i];
        if (reg->client == client && reg->object == object && reg->callback_id == callback_id) {
            g_ptr_array_remove_index(queue->registrations, i);
            return true;
        }
    }
    daemon_error_set(error, DAEMON_ERROR_INVALID_ARG, "no event is registered with callback ID %d",
                     callback_id);
    return false;
}

void event_queue_drop_client(EventQueue *queue, DaemonClient *client)
{
    G_GNUC_UNUSED g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&queue->lock);
    for (unsigned i = queue->registrations->len; i-- > 0;) {
        if (((Registration *)queue->registrations->pdata[i])->client == client) {
            g_ptr_array_remove_index(queue->registrations, i);
        }
    }
}

static bool wants(const Registration *reg, const RpcProcedure *event, const EventSubject *subject,
                  const char *monitor_name)
{
    static const Uuid no_uuid;
    if (!reg->active || reg->object != event->event_object || reg->event_id != event->event_id) {
        return false;
    }
    if (reg->monitor_name && g_strcmp0(reg->monitor_name, monitor_name) != 0) {
        return false;
    }
    if (reg->monitor_pattern && !g_regex_match(reg->monitor_pattern, monitor_name, 0, NULL)) {
        return false;
    }
    if (!reg->for_one) {
        return true;
    }
    if (memcmp(&subject->uuid, &no_uuid, sizeof(no_uuid)) != 0) {
        return memcmp(&reg->uuid, &subject->uuid, sizeof(Uuid)) == 0;
    }
    return g_strcmp0(reg->name, subject->name) == 0;
}

static RpcMessage *encode(const RpcProgram *program, const RpcProcedure *event, const void *message)
{
    RpcHeader header = { program->number, program->version, event->number, RPC_MESSAGE, 0, RPC_OK };
    g_autoptr(RpcMessage) out = rpc_message_new(&header);
    g_autoptr(GError) error = NULL;
    if (!xdr_encode(&out->writer, event->args, message, &error) || !rpc_message_finish(out)) {
        log_warn("event %s cannot be sent: %s", event->name, error ? error->message : "too long");
        return NULL;
    }
    return g_steal_pointer(&out);
}

static RpcMessage *copy_for(const RpcMessage *model, int32_t callback_id)
{
    RpcMessage *copy = g_new0(RpcMessage, 1);
    xdr_writer_init(&copy->writer, RPC_MESSAGE_MAX);
    uint8_t *bytes = xdr_writer_reserve(&copy->writer, model->writer.size);
    lodge_assert(bytes);
    memcpy(bytes, model->writer.data, model->writer.size);
    uint32_t id = GUINT32_TO_BE((uint32_t)callback_id);
    memcpy(bytes + RPC_MESSAGE_MIN, &id, sizeof(id));
    return copy;
}

static void emit(EventQueue *queue, const RpcProgram *program, const RpcProcedure *event,
                 const EventSubject *subject, const char *monitor_name, const void *message)
{
    g_autoptr(RpcMessage) model = NULL;
    G_GNUC_UNUSED g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&queue->lock);
    for (unsigned i = 0; i < queue->registrations->len; i++) {
        const Registration *reg = queue->registrations->pdata[i];
        if (!wants(reg, event, subject, monitor_name)) {
            continue;
        }
        if (!model && !(model = encode(program, event, message))) {
            return;
        }
        if (rpc_connection_queued(reg->client->connection) > CLIENT_QUEUE_MAX) {
            rpc_connection_abort(reg->client->connection, "it does not read its events");
            continue;
        }
        rpc_connection_send(reg->client->connection, copy_for(model, reg->callback_id));
    }
}

void event_queue_emit(EventQueue *queue, uint32_t procedure, const EventSubject *subject,
                      const void *message)
{
    const RpcProcedure *event = rpc_program_find(&remote_program, procedure);
    lodge_assert(event && event->access == RPC_ACCESS_EVENT && event->event_id >= 0);
    emit(queue, &remote_program, event, subject, NULL, message);
}

void event_queue_emit_monitor(EventQueue *queue, const EventSubject *subject, const void *message)
{
    const RpcProcedure *event = rpc_program_find(&qemu_program, QEMU_PROC_DOMAIN_MONITOR_EVENT);
    const QemuDomainMonitorEventMsg *msg = message;
    emit(queue, &qemu_program, event, subject, msg->event, message);
}

bool event_queue_is_wanted(EventQueue *queue, uint32_t procedure)
{
    const RpcProcedure *event = rpc_program_find(&remote_program, procedure);
    G_GNUC_UNUSED g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&queue->lock);
    for (unsigned i = 0; event && i < queue->registrations->len; i++) {
        const Registration *reg = queue->registrations->pdata[i];
        if (reg->object == event->event_object && reg->event_id == event->event_id) {
            return true;
        }
    }
    return false;
}
