/* Character back ends: what all classes share.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/char/char.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "gbase/error.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

const CharClass *char_class_find(const char *name, GError **error)
{
    g_autoptr(GString) known = g_string_new(NULL);
    for (unsigned i = 0; char_classes[i]; i++) {
        if (!strcmp(char_classes[i]->name, name)) {
            return char_classes[i];
        }
        g_string_append_printf(known, "%s%s", i ? ", " : "", char_classes[i]->name);
    }
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND,
                "chardev type '%s' is not supported; supported: %s", name, known->str);
    return NULL;
}

const Property char_common_properties[] = {
    { .name = "logfile",
      .kind = PROPERTY_STRING,
      .offset = offsetof(CharBackend, log_path),
      .help = "file that gets all output as well" },
    { .name = "logappend",
      .kind = PROPERTY_BOOL,
      .offset = offsetof(CharBackend, log_appends),
      .fallback = "off",
      .help = "keep what the log holds" },
    { .name = NULL },
};

CharBackend *char_new(const CharClass *class, const char *id)
{
    CharBackend *backend = g_malloc0(class->instance_size);
    backend->class = class;
    backend->id = g_strdup(id);
    backend->pending = g_byte_array_new();
    backend->log_fd = -1;
    pthread_mutex_init(&backend->lock, NULL);
    properties_set_defaults(char_common_properties, backend);
    properties_set_defaults(class->properties, backend);
    return backend;
}

bool char_set_property(CharBackend *backend, const char *name, const char *value, GError **error)
{
    const Property *property = property_find(backend->class->properties, name);
    if (!property) {
        property = property_find(char_common_properties, name);
    }
    if (!property) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND,
                    "chardev '%s': '%s' has no property '%s'; see -chardev %s,help", backend->id,
                    backend->class->name, name, backend->class->name);
        return false;
    }
    if (!property_set(property, backend, value, error)) {
        g_prefix_error(error, "chardev '%s': ", backend->id);
        return false;
    }
    return true;
}

/* Not blocking: a pipe whose reader sleeps must not hold up the guest. */
static bool open_log(CharBackend *backend, GError **error)
{
    int flags = O_WRONLY | O_CREAT | O_NONBLOCK | O_CLOEXEC | O_NOCTTY |
                (backend->log_appends ? O_APPEND : O_TRUNC);
    backend->log_fd = backend->log_path ? fd_open(backend->log_path, flags, 0666) : -1;
    if (backend->log_path && backend->log_fd < 0) {
        lodge_error_set_errno(error, -backend->log_fd, "cannot open the log '%s'",
                              backend->log_path);
        return false;
    }
    return true;
}

bool char_open(CharBackend *backend, EventLoop *loop, GError **error)
{
    backend->loop = loop;
    if (!open_log(backend, error) || !backend->class->open(backend, error)) {
        g_prefix_error(error, "chardev '%s': ", backend->id);
        return false;
    }
    backend->is_open = true;
    return true;
}

void char_free(CharBackend *backend)
{
    if (!backend) {
        return;
    }
    if (backend->is_open) {
        backend->class->close(backend);
        loop_cancel_calls(backend->loop, backend);
    }
    if (backend->dropped) {
        log_debug("chardev '%s': %lu bytes found no taker", backend->id, backend->dropped);
    }
    properties_clear(backend->class->properties, backend);
    properties_clear(char_common_properties, backend);
    cleanup_close(&backend->log_fd);
    g_byte_array_unref(backend->pending);
    pthread_mutex_destroy(&backend->lock);
    g_free(backend->id);
    g_free(backend);
}

bool char_attach(CharBackend *backend, const CharFrontend *front, GError **error)
{
    if (backend->has_frontend) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_BUSY,
                    "chardev '%s' is in use already; give mux=on to share it", backend->id);
        return false;
    }
    backend->front = *front;
    backend->has_frontend = true;
    if (backend->is_connected && front->event) {
        front->event(front->opaque, CHAR_EVENT_OPENED);
    }
    char_accept_input(backend);
    return true;
}

void char_detach(CharBackend *backend)
{
    backend->has_frontend = false;
    backend->front = (CharFrontend){ 0 };
}

/* Hands as much as possible to the class. Under lock. Returns the bytes that are dealt with. */
static size_t write_some(CharBackend *backend, const uint8_t *bytes, size_t length)
{
    if (!backend->class->write || !backend->is_connected) {
        backend->dropped += length;
        return length;
    }
    ssize_t n = backend->class->write(backend, bytes, length);
    if (n < 0) {
        backend->dropped += length;
        return length;
    }
    return (size_t)n;
}

static void keep_pending(CharBackend *backend, const uint8_t *bytes, size_t length)
{
    size_t room = CHAR_PENDING_MAX - backend->pending->len;
    size_t kept = length < room ? length : room;
    g_byte_array_append(backend->pending, bytes, (guint)kept);
    backend->dropped += length - kept;
}

static void ask_for_flush(void *opaque)
{
    CharBackend *backend = opaque;
    backend->class->want_write(backend);
}

/* What a full disk or pipe does not take is missing in the log. Under lock. */
static void write_log(CharBackend *backend, const void *bytes, size_t length)
{
    ssize_t n;
    for (size_t done = 0; done < length; done += (size_t)n) {
        n = write(backend->log_fd, (const char *)bytes + done, length - done);
        if (n <= 0) {
            return;
        }
    }
}

void char_write(CharBackend *backend, const void *bytes, size_t length)
{
    LOCK_GUARD(&backend->lock);
    if (backend->log_fd >= 0) {
        write_log(backend, bytes, length);
    }
    size_t done = backend->pending->len ? 0 : write_some(backend, bytes, length);
    if (done == length) {
        return;
    }
    keep_pending(backend, (const uint8_t *)bytes + done, length - done);
    if (!backend->wants_flush && !loop_call(backend->loop, ask_for_flush, backend)) {
        backend->wants_flush = true;
    }
}

void char_flush(CharBackend *backend)
{
    bool again;
    pthread_mutex_lock(&backend->lock);
    size_t done = write_some(backend, backend->pending->data, backend->pending->len);
    g_byte_array_remove_range(backend->pending, 0, (guint)done);
    again = backend->pending->len > 0;
    backend->wants_flush = again;
    pthread_mutex_unlock(&backend->lock);
    if (again) {
        backend->class->want_write(backend);
    } else {
        char_event(backend, CHAR_EVENT_DRAINED);
    }
}

size_t char_write_room(CharBackend *backend)
{
    LOCK_GUARD(&backend->lock);
    return CHAR_PENDING_MAX - backend->pending->len;
}

static void accept_on_loop(void *opaque)
{
    CharBackend *backend = opaque;
    backend->class->accept_input(backend);
}

void char_accept_input(CharBackend *backend)
{
    if (!backend->class->accept_input || !backend->is_open) {
        return;
    }
    if (loop_call(backend->loop, accept_on_loop, backend) < 0) {
        log_warn("chardev '%s': no memory: input stands still", backend->id);
    }
}

int char_take_fd(CharBackend *backend)
{
    return backend->class->take_fd ? backend->class->take_fd(backend) : -1;
}

char *char_describe(CharBackend *backend)
{
    return backend->class->describe ? backend->class->describe(backend)
                                    : g_strdup(backend->class->name);
}

size_t char_can_receive(CharBackend *backend)
{
    const CharFrontend *front = &backend->front;
    return front->receive ? front->can_receive ? front->can_receive(front->opaque) : SIZE_MAX : 0;
}

void char_receive(CharBackend *backend, const uint8_t *bytes, size_t length)
{
    if (backend->front.receive) {
        backend->front.receive(backend->front.opaque, bytes, length);
    }
}

void char_event(CharBackend *backend, CharEvent event)
{
    if (event == CHAR_EVENT_OPENED || event == CHAR_EVENT_CLOSED) {
        backend->is_connected = event == CHAR_EVENT_OPENED;
    }
    if (event == CHAR_EVENT_CLOSED) {
        LOCK_GUARD(&backend->lock);
        backend->dropped += backend->pending->len;
        g_byte_array_set_size(backend->pending, 0);
        backend->wants_flush = false;
    }
    if (backend->front.event) {
        backend->front.event(backend->front.opaque, event);
    }
}
