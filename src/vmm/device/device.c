/* The life of a device: one place for what every class would otherwise do alone.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/device/device.h"

#include "base/log.h"
#include "gbase/error.h"
#include "gbase/strutil.h"

Device *device_new(const DeviceClass *class, const char *id)
{
    lodge_assert(class->instance_size >= sizeof(Device) && class->realize);
    lodge_assert(class->state || class->unmigratable);
    Device *dev = g_malloc0(class->instance_size);
    dev->class = class;
    dev->id = g_strdup(id);
    pthread_mutex_init(&dev->lock, NULL);
    properties_set_defaults(class->properties, dev);
    return dev;
}

EventLoop *device_loop(const Device *dev)
{
    return dev->thread ? loop_thread_loop(dev->thread) : dev->host->loop;
}

const char *device_label(const Device *dev)
{
    return dev->id ? dev->id : dev->class->name;
}

static void set_unknown_property_error(const Device *dev, const char *name, GError **error)
{
    g_autoptr(GPtrArray) known = g_ptr_array_new();
    for (const Property *p = dev->class->properties; p && p->name; p++) {
        g_ptr_array_add(known, (void *)p->name);
    }
    g_autofree char *hint = NULL;
    if (known->len) {
        g_ptr_array_add(known, NULL);
        g_autofree char *list = str_list_join((const char *const *)known->pdata);
        const char *near = str_closest(name, (const char *const *)known->pdata);
        hint = near ? g_strdup_printf("did you mean '%s'? it has: %s", near, list)
                    : g_strdup_printf("it has: %s", list);
    } else {
        hint = g_strdup("it has none");
    }
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                "device '%s' has no property '%s'; %s", dev->class->name, name, hint);
}

bool device_set_property(Device *dev, const char *name, const char *value, GError **error)
{
    lodge_assert(!dev->is_realized);
    const Property *property = property_find(dev->class->properties, name);
    if (!property) {
        set_unknown_property_error(dev, name, error);
        return false;
    }
    if (!property_set(property, dev, value, error)) {
        g_prefix_error(error, "device '%s': ", device_label(dev));
        return false;
    }
    return true;
}

bool device_realize(Device *dev, const DeviceHost *host, GError **error)
{
    lodge_assert(!dev->is_realized);
    dev->host = host;
    if (!dev->class->realize(dev, error)) {
        g_prefix_error(error, "device '%s': ", device_label(dev));
        dev->host = NULL;
        return false;
    }
    dev->is_realized = true;
    return true;
}

void device_unrealize(Device *dev)
{
    if (!dev->is_realized) {
        return;
    }
    if (dev->class->unrealize) {
        loop_thread_pause(dev->thread);
        dev->class->unrealize(dev);
        loop_thread_continue(dev->thread);
    }
    dev->thread = NULL;
    dev->is_realized = false;
    dev->host = NULL;
}

void device_free(Device *dev)
{
    if (!dev) {
        return;
    }
    device_unrealize(dev);
    properties_clear(dev->class->properties, dev);
    pthread_mutex_destroy(&dev->lock);
    g_free(dev->id);
    g_free(dev);
}

/* Alone with the device: its thread pauses, its registers wait. */
static void enter(Device *dev)
{
    loop_thread_pause(dev->thread);
    pthread_mutex_lock(&dev->lock);
}

static void leave(Device *dev)
{
    pthread_mutex_unlock(&dev->lock);
    loop_thread_continue(dev->thread);
}

void device_reset(Device *dev, ResetKind kind)
{
    lodge_assert(dev->is_realized);
    if (dev->class->reset) {
        enter(dev);
        dev->class->reset(dev, kind);
        leave(dev);
    }
}

void device_quiesce(Device *dev)
{
    if (dev->class->quiesce) {
        enter(dev);
        dev->class->quiesce(dev);
        leave(dev);
    }
}

bool device_is_drained(Device *dev)
{
    enter(dev);
    bool is_drained = !dev->class->is_drained || dev->class->is_drained(dev);
    leave(dev);
    return is_drained;
}

void device_resume(Device *dev)
{
    if (dev->class->resume) {
        enter(dev);
        dev->class->resume(dev);
        leave(dev);
    }
}

void device_save(Device *dev, GByteArray *out)
{
    enter(dev);
    if (dev->class->state) {
        state_save(dev->class->state, dev, out);
    }
    leave(dev);
}

static bool load(Device *dev, const uint8_t *bytes, size_t length, GError **error)
{
    if (!dev->class->state) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED, "device '%s' has no state: %s",
                    device_label(dev), dev->class->unmigratable);
        return false;
    }
    if (!state_load(dev->class->state, dev, bytes, length, error) ||
        (dev->class->post_load && !dev->class->post_load(dev, error))) {
        g_prefix_error(error, "device '%s': ", device_label(dev));
        return false;
    }
    return true;
}

bool device_load(Device *dev, const uint8_t *bytes, size_t length, GError **error)
{
    enter(dev);
    bool ok = load(dev, bytes, length, error);
    leave(dev);
    return ok;
}
