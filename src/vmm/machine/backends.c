/* Back ends by kind and name, each used by one device.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "gbase/error.h"
#include "gbase/strutil.h"
#include "vmm/char/mux.h"
#include "vmm/machine/inspect.h"
#include "vmm/machine/internal.h"
#include "vmm/machine/user-objects.h"
#include "vmm/virtio/console/console.h"

#include <string.h>

static void backend_free(gpointer object)
{
    MachineBackend *backend = object;
    if (backend->free) {
        backend->free(backend->object);
    }
    g_clear_pointer(&backend->sharers, g_ptr_array_unref);
    g_free(backend->kind);
    g_free(backend->name);
    g_free(backend);
}

MachineBackend *machine_find_backend(const Machine *machine, const char *kind, const char *name)
{
    for (guint i = 0; i < machine->backends->len; i++) {
        MachineBackend *backend = g_ptr_array_index(machine->backends, i);
        if (!strcmp(backend->kind, kind) && !strcmp(backend->name, name)) {
            return backend;
        }
    }
    return NULL;
}

bool machine_backend_is_object(const MachineBackend *backend)
{
    static const char *const kinds[] = { "credentials", "iothread",       "memory",
                                         "rng",         "throttle-group", NULL };
    return g_strv_contains(kinds, backend->kind);
}

void machine_add_backend(Machine *machine, const char *kind, const char *name, void *object,
                         void (*free)(void *object))
{
    MachineBackend *backend = g_new0(MachineBackend, 1);
    backend->kind = g_strdup(kind);
    backend->name = g_strdup(name);
    backend->object = object;
    backend->free = free;
    g_ptr_array_add(machine->backends, backend);
}

static void set_missing_error(const Machine *machine, const char *kind, const char *name,
                              GError **error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    for (guint i = 0; i < machine->backends->len; i++) {
        const MachineBackend *backend = g_ptr_array_index(machine->backends, i);
        if (!strcmp(backend->kind, kind)) {
            g_ptr_array_add(names, backend->name);
        }
    }
    guint count = names->len;
    g_ptr_array_add(names, NULL);
    g_autofree char *list = str_list_join((const char *const *)names->pdata);
    bool is_netdev = strcmp(kind, "netdev") == 0;
    g_set_error(error, LODGE_ERROR, is_netdev ? LODGE_ERROR_NO_DEVICE : LODGE_ERROR_NOT_FOUND,
                "there is no %s '%s'%s%s", kind, name, count ? "; there are: " : "", list);
}

/* The virtio-serial device of this name ("ID" or "ID.0"), or the first of all for "". */
static Device *find_serial_bus(Machine *machine, const char *name, GError **error)
{
    for (guint i = 0; i < machine->devices->len; i++) {
        MachineDevice *md = g_ptr_array_index(machine->devices, i);
        Device *dev = md->device;
        if (dev->class != &virtio_serial_pci_class && dev->class != &virtio_serial_device_class) {
            continue;
        }
        g_autofree char *bus = g_strdup_printf("%s.0", dev->id ? dev->id : "");
        if (!*name || !g_strcmp0(dev->id, name) || !strcmp(bus, name)) {
            return dev;
        }
    }
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND,
                *name ? "there is no virtio-serial device '%s'"
                      : "there is no virtio-serial device%s; add -device virtio-serial-pci first",
                name);
    return NULL;
}

static bool is_named_drive(const MachineBackend *backend)
{
    return strcmp(backend->kind, "drive") == 0 && !block_backend_is_anonymous(backend->object);
}

static void detach_drive(const Machine *machine, const MachineBackend *backend)
{
    block_backend_set_attached(backend->object, false, false);
    block_graph_settle_access(machine->graph);
}

/* A drive that waited for its device may be exported, or in use by another process, meanwhile. */
static bool attach_drive(const Machine *machine, const MachineDevice *user,
                         const MachineBackend *backend, GError **error)
{
    if (!user || !is_named_drive(backend) || block_backend_is_attached(backend->object)) {
        return true;
    }
    BlockNode *node = block_backend_node(backend->object);
    if (!block_backend_is_readonly(backend->object) && !block_node_check_unclaimed(node, error)) {
        return false;
    }
    block_backend_set_attached(backend->object, true, machine_shares_writes(user->device));
    if (!block_graph_update_access(machine->graph, node, error)) {
        detach_drive(machine, backend);
        return false;
    }
    return true;
}

void *machine_use_backend(Machine *machine, const MachineDevice *user, const char *kind,
                          const char *name, GError **error)
{
    if (!strcmp(kind, VIRTIO_SERIAL_BUS)) {
        return find_serial_bus(machine, name, error);
    }
    MachineBackend *backend = machine_find_backend(machine, kind, name);
    if (!backend && !strcmp(kind, "chardev")) {
        MachineBackend *mux = machine_find_backend(machine, "mux", name);
        if (mux) {
            return char_mux_port(mux->object, error);
        }
    }
    if (!backend && !strcmp(kind, "drive")) {
        g_autoptr(GError) reason = NULL;
        backend = machine_open_node_drive(machine, user, name, &reason);
        if (reason) {
            g_propagate_error(error, g_steal_pointer(&reason));
            return NULL;
        }
    }
    if (!backend) {
        set_missing_error(machine, kind, name, error);
        return NULL;
    }
    if (backend->user && backend->user != user) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_BUSY, "%s '%s' is used by another device", kind,
                    name);
        return NULL;
    }
    if (!attach_drive(machine, user, backend, error)) {
        return NULL;
    }
    if (!backend->is_shareable) {
        backend->user = user;
    } else if (user) {
        backend->sharers = backend->sharers ? backend->sharers : g_ptr_array_new();
        g_ptr_array_add(backend->sharers, (void *)user);
    }
    return backend->object;
}

void machine_leave_backends(const MachineDevice *user)
{
    Machine *machine = user->machine;
    for (guint i = machine->backends->len; i > 0; i--) {
        MachineBackend *backend = g_ptr_array_index(machine->backends, i - 1);
        while (backend->sharers && g_ptr_array_remove(backend->sharers, (void *)user)) {
        }
        if (backend->user != user) {
            continue;
        }
        backend->user = NULL;
        if (is_named_drive(backend)) {
            detach_drive(machine, backend);
        } else if (!strcmp(backend->kind, "drive")) {
            block_graph_remove_backend(machine->graph, backend->object);
            g_ptr_array_remove_index(machine->backends, i - 1);
            backend_free(backend);
        }
    }
}

static bool is_in_use(const MachineBackend *backend)
{
    if (!strcmp(backend->kind, "chardev")) {
        return ((const CharBackend *)backend->object)->has_frontend;
    }
    if (!strcmp(backend->kind, "throttle-group")) {
        return throttle_group_has_members(user_object_throttle_group(backend->object));
    }
    bool is_shared = backend->sharers && backend->sharers->len > 0;
    return backend->user || is_shared || !strcmp(backend->kind, "mux") ||
           !strcmp(backend->kind, "memory");
}

/* @kind: as options and monitors have them: "object" is several. */
static MachineBackend *find_by_option(const Machine *machine, const char *kind, const char *name)
{
    bool is_object = !strcmp(kind, "object"), is_chardev = !strcmp(kind, "chardev");
    for (guint i = 0; i < machine->backends->len; i++) {
        MachineBackend *backend = g_ptr_array_index(machine->backends, i);
        bool fits = is_object ? machine_backend_is_object(backend)
                              : !strcmp(backend->kind, kind) ||
                                    (is_chardev && !strcmp(backend->kind, "mux"));
        if (fits && !strcmp(backend->name, name)) {
            return backend;
        }
    }
    return NULL;
}

bool machine_check_new_backend(const Machine *machine, const char *kind, const char *id,
                               GError **error)
{
    /* QEMU's chardev-add takes any. */
    if (strcmp(kind, "chardev") != 0 && !str_is_id(id)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Parameter 'id' expects an identifier");
        return false;
    }
    if (!find_by_option(machine, kind, id)) {
        return true;
    }
    if (!strcmp(kind, "object")) { /* in QEMU's words: QMP clients look for them */
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_EXISTS,
                    "attempt to add duplicate property '%s' to object (type 'container')", id);
    } else {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_EXISTS, "there is a %s '%s' already", kind, id);
    }
    return false;
}

bool machine_remove_backend(Machine *machine, const char *kind, const char *name, GError **error)
{
    MachineBackend *backend = find_by_option(machine, kind, name);
    if (!backend && !strcmp(kind, "object")) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "object '%s' not found",
                    name);
        return false;
    }
    if (!backend) {
        set_missing_error(machine, kind, name, error);
        return false;
    }
    if (is_in_use(backend)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_BUSY, "%s '%s' is in use", kind, name);
        return false;
    }
    if (!strcmp(backend->kind, "drive")) {
        block_graph_remove_backend(machine->graph, backend->object);
    }
    g_ptr_array_remove(machine->backends, backend);
    backend_free(backend);
    return true;
}

void machine_done_backends(Machine *machine)
{
    if (machine->backends) {
        g_ptr_array_set_free_func(machine->backends, backend_free);
        g_ptr_array_unref(machine->backends);
    }
}
