/* Network back ends: what all classes share.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/net/net.h"

#include "gbase/error.h"
#include "vmm/net/tap.h"
#include "vmm/net/user.h"

#include <string.h>

#define ETHERNET_HEADER_BYTES 14

const NetClass *const net_classes[] = { &net_tap_class, &net_user_class, NULL };

const NetClass *net_class_find(const char *name, GError **error)
{
    g_autoptr(GString) known = g_string_new(NULL);
    for (unsigned i = 0; net_classes[i]; i++) {
        if (!strcmp(net_classes[i]->name, name)) {
            return net_classes[i];
        }
        g_string_append_printf(known, "%s%s", i ? ", " : "", net_classes[i]->name);
    }
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND,
                "netdev type '%s' is not supported; supported: %s", name, known->str);
    return NULL;
}

NetBackend *net_new(const NetClass *class, const char *id)
{
    NetBackend *backend = g_malloc0(class->instance_size);
    backend->class = class;
    backend->id = g_strdup(id);
    backend->link_is_up = true;
    properties_set_defaults(class->properties, backend);
    return backend;
}

static bool set_property(NetBackend *backend, const char *name, const char *value, GError **error)
{
    bool known = false;
    if (backend->class->add_property) {
        bool is_good = backend->class->add_property(backend, name, value, &known, error);
        if (known) {
            return is_good;
        }
    }
    const Property *property = property_find(backend->class->properties, name);
    if (!property) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND,
                    "'%s' has no property '%s'; see -netdev %s,help", backend->class->name, name,
                    backend->class->name);
        return false;
    }
    return property_set(property, backend, value, error);
}

bool net_set_property(NetBackend *backend, const char *name, const char *value, GError **error)
{
    if (!set_property(backend, name, value, error)) {
        g_prefix_error(error, "netdev '%s': ", backend->id);
        return false;
    }
    return true;
}

bool net_open(NetBackend *backend, EventLoop *loop, GError **error)
{
    backend->loop = loop;
    if (!backend->class->open(backend, error)) {
        g_prefix_error(error, "netdev '%s': ", backend->id);
        return false;
    }
    backend->is_open = true;
    return true;
}

void net_free(NetBackend *backend)
{
    if (!backend) {
        return;
    }
    if (backend->is_open) {
        backend->class->close(backend);
        loop_cancel_calls(backend->loop, backend);
    }
    if (backend->class->clear) {
        backend->class->clear(backend);
    }
    properties_clear(backend->class->properties, backend);
    g_free(backend->id);
    g_free(backend);
}

bool net_attach(NetBackend *backend, const NetFrontend *front, GError **error)
{
    if (backend->has_frontend) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_BUSY,
                    "netdev '%s' serves another network card already", backend->id);
        return false;
    }
    backend->front = *front;
    backend->has_frontend = true;
    return true;
}

void net_detach(NetBackend *backend)
{
    backend->has_frontend = false;
    backend->front = (NetFrontend){ 0 };
}

static size_t total_bytes(const struct iovec *iov, unsigned count)
{
    size_t total = 0;
    for (unsigned i = 0; i < count; i++) {
        total += iov[i].iov_len;
    }
    return total;
}

ssize_t net_send(NetBackend *backend, const struct iovec *iov, unsigned count)
{
    size_t total = total_bytes(iov, count);
    if (total < ETHERNET_HEADER_BYTES || total > NET_FRAME_MAX || !backend->link_is_up) {
        return (ssize_t)(total ? total : 1);
    }
    return backend->class->send(backend, iov, count);
}

void net_accept_frames(NetBackend *backend)
{
    backend->class->accept_frames(backend);
}

void net_set_link(NetBackend *backend, bool is_up)
{
    if (backend->link_is_up != is_up) {
        backend->link_is_up = is_up;
        if (backend->has_frontend) {
            backend->front.link_changed(backend->front.opaque, is_up);
        }
    }
}

unsigned net_offloads(const NetBackend *backend)
{
    return backend->class->offloads;
}

void net_set_offloads(NetBackend *backend, unsigned offloads)
{
    if (backend->class->set_offloads) {
        backend->class->set_offloads(backend, offloads & backend->class->offloads);
    }
}

bool net_set_header_bytes(NetBackend *backend, unsigned bytes)
{
    return backend->class->set_header_bytes ? backend->class->set_header_bytes(backend, bytes)
                                            : bytes == 0;
}

char *net_describe(NetBackend *backend)
{
    return backend->class->describe ? backend->class->describe(backend)
                                    : g_strdup(backend->class->name);
}

ssize_t net_receive(NetBackend *backend, const struct iovec *iov, unsigned count)
{
    if (!backend->has_frontend || !backend->link_is_up) {
        return (ssize_t)total_bytes(iov, count);
    }
    return backend->front.receive(backend->front.opaque, iov, count);
}

void net_can_send(NetBackend *backend)
{
    if (backend->has_frontend) {
        backend->front.can_send(backend->front.opaque);
    }
}
