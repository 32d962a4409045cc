/* What of a running guest's devices can be changed in place: media, links, bridges, passwords,
 * requests for memory.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/hotplug.h"

#include "daemon/domain/interfaces.h"
#include "daemon/domain/memory-plug.h"
#include "daemon/domain/runtime.h"
#include "daemon/domain/tap.h"
#include "daemon/error.h"
#include "daemon/threads.h"

#include <string.h>
#include <sys/stat.h>

/* A guest that holds the door shut is asked to open it; it gets so long. */
#define DOOR_WAIT_MS 5000

/* --- media --- */

static int next_set(QmpClient *monitor)
{
    g_autoptr(JsonNode) answer =
        qmp_client_call(monitor, "query-fdsets", NULL, -1, QMP_TIMEOUT_MS, NULL);
    JsonArray *sets = answer && JSON_NODE_HOLDS_ARRAY(answer) ? json_node_get_array(answer) : NULL;
    gint64 highest = 0;
    for (guint i = 0; sets && i < json_array_get_length(sets); i++) {
        JsonNode *node = json_array_get_element(sets, i);
        JsonObject *set = JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
        if (set && json_object_has_member(set, "fdset-id")) {
            highest = MAX(highest, json_object_get_int_member(set, "fdset-id"));
        }
    }
    return highest < INT_MAX / 2 ? (int)highest + 1 : 1;
}

/* @path: of the medium as the engine has it; NULL: none. */
static bool run_change(QmpClient *monitor, const DomainDisk *disk, const char *alias,
                       const char *path, bool force, GError **error)
{
    if (!path) {
        return qmp_client_run(monitor, "eject",
                              qmp_object("s:id", alias, "b:force", (int)force, NULL), error);
    }
    const DomainImageFormat format = disk->driver.format;
    return qmp_client_run(monitor, "blockdev-change-medium",
                          qmp_object("s:id", alias, "s:filename", path, "s:format",
                                     format ? domain_name(image_format, format) : "raw", "b:force",
                                     (int)force, "s:read-only-mode",
                                     disk->is_readonly || disk->device_type == DISK_DEVICE_CDROM
                                         ? "read-only"
                                         : "retain",
                                     NULL),
                          error);
}

/* Until the guest opened the door; false: it did not. */
static bool await_open_door(Domain *domain, const char *alias)
{
    gint64 until = g_get_monotonic_time() + DOOR_WAIT_MS * 1000;
    bool is_open = false;
    bool in_time = true;
    g_mutex_lock(&domain->lock);
    while (domain->live && !is_open && in_time && !daemon_gives_up(domain->service->daemon)) {
        DomainDevice *device = domain_def_find_alias(domain->live, alias);
        is_open = device && ((DomainDisk *)device)->tray == TRAY_OPEN;
        in_time = is_open || g_cond_wait_until(&domain->device_event, &domain->lock, until);
    }
    g_mutex_unlock(&domain->lock);
    return is_open;
}

static bool change_medium(Domain *domain, QmpClient *monitor, const DomainDisk *disk,
                          const char *alias, bool force, GError **error)
{
    int set = -1;
    g_autofree char *path = NULL;
    if (disk->source.path) {
        struct stat st = { 0 };
        int fd = domain_resources.open_disk(domain, disk, error);
        /* QEMU opens disks of the host by a driver of their own. */
        bool is_device =
            fd >= 0 && domain->engine == ENGINE_QEMU && fstat(fd, &st) == 0 && S_ISBLK(st.st_mode);
        set = fd >= 0 ? hotplug_pass_fd(monitor, fd, next_set(monitor), alias, error) : -1;
        if (set < 0) {
            return false;
        }
        path = g_strdup_printf("%s/dev/fdset/%d", is_device ? "host_device:" : "", set);
    }
    g_autoptr(GError) reason = NULL;
    bool ok = run_change(monitor, disk, alias, path, force, &reason);
    if (!ok && strstr(reason->message, "locked")) {
        bool opened = await_open_door(domain, alias);
        g_clear_error(&reason);
        if (opened) {
            ok = run_change(monitor, disk, alias, path, force, &reason);
        } else {
            daemon_error_set(&reason, DAEMON_ERROR_OPERATION_FAILED,
                             "operation failed: the guest keeps the door of '%s' shut; say --force "
                             "to open it all the same",
                             disk->target_dev);
        }
    }
    if (!ok) {
        if (set >= 0) {
            qmp_client_run(monitor, "remove-fd", qmp_object("i:fdset-id", (gint64)set, NULL), NULL);
        }
        g_propagate_error(error, g_steal_pointer(&reason));
        return false;
    }
    hotplug_drop_fds(monitor, alias, set);
    return true;
}

/* Puts @wanted in the place of the live device of that alias, with its alias and address. */
static void enter(Domain *domain, const char *alias, const DomainDevice *wanted)
{
    g_mutex_lock(&domain->lock);
    DomainDevice *old = domain->live ? domain_def_find_alias(domain->live, alias) : NULL;
    if (old) {
        domain_def_replace(domain->live, old, domain_device_copy(wanted));
    }
    g_mutex_unlock(&domain->lock);
}

static bool update_disk(Domain *domain, QmpClient *monitor, const DomainDisk *old,
                        const DomainDisk *wanted, bool force, GError **error)
{
    if (old->device_type != DISK_DEVICE_CDROM && old->device_type != DISK_DEVICE_FLOPPY) {
        daemon_error_set(
            error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
            "unsupported configuration: disk '%s' is neither CD-ROM nor floppy: nothing "
            "of it can be changed this way while the guest runs",
            old->target_dev);
        return false;
    }
    if (wanted->device_type != old->device_type || wanted->bus != old->bus) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_UNSUPPORTED,
                         "Operation not supported: kind and bus of disk '%s' cannot be changed "
                         "while the guest runs",
                         old->target_dev);
        return false;
    }
    if (!change_medium(domain, monitor, wanted, old->device.alias, force, error)) {
        return false;
    }
    enter(domain, old->device.alias, &wanted->device);
    return true;
}

/* --- interfaces --- */

/* What cannot be changed must be as it was. */
static bool check_same_card(const DomainInterface *old, const DomainInterface *wanted,
                            GError **error)
{
    g_autoptr(DomainDevice) a = domain_device_copy(&old->device);
    g_autoptr(DomainDevice) b = domain_device_copy(&wanted->device);
    DomainInterface *cards[] = { (DomainInterface *)a, (DomainInterface *)b };
    for (unsigned i = 0; i < G_N_ELEMENTS(cards); i++) {
        DomainInterface *card = cards[i];
        card->link = 0;
        card->inbound = card->outbound = (DomainBandwidth){ 0 };
        g_clear_pointer(&card->source_bridge, g_free);
        g_clear_pointer(&card->target_dev, g_free);
    }
    if (!domain_device_equal(a, b)) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_UNSUPPORTED,
                         "Operation not supported: of a running guest's interface only link state, "
                         "bandwidth and bridge can be changed");
        return false;
    }
    return true;
}

static bool update_interface(Domain *domain, QmpClient *monitor, const DomainInterface *old,
                             DomainInterface *wanted, GError **error)
{
    if (!wanted->target_dev) {
        wanted->target_dev = g_strdup(old->target_dev);
    }
    if (!check_same_card(old, wanted, error)) {
        return false;
    }
    bool is_up = wanted->link != LINK_DOWN;
    if (is_up != (old->link != LINK_DOWN) && !hotplug_set_link(monitor, old, is_up, error)) {
        return false;
    }
    if (old->type == INTERFACE_BRIDGE &&
        g_strcmp0(old->source_bridge, wanted->source_bridge) != 0 &&
        !tap_move(old->target_dev, old->source_bridge, wanted->source_bridge, error)) {
        return false;
    }
    if (memcmp(&old->inbound, &wanted->inbound, sizeof(old->inbound)) != 0 ||
        memcmp(&old->outbound, &wanted->outbound, sizeof(old->outbound)) != 0) {
        if (!interface_set_bandwidth(old->target_dev, &wanted->inbound, &wanted->outbound, error)) {
            interface_set_bandwidth(old->target_dev, &old->inbound, &old->outbound, NULL);
            return false;
        }
    }
    enter(domain, old->device.alias, &wanted->device);
    return true;
}

/* --- graphics --- */

static bool update_graphics(Domain *domain, QmpClient *monitor, const DomainGraphics *old,
                            const DomainGraphics *wanted, GError **error)
{
    bool same_port = wanted->autoport == TRI_YES || wanted->port <= 0 || wanted->port == old->port;
    if (!same_port || wanted->type != old->type || wanted->type != GRAPHICS_VNC) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_UNSUPPORTED,
                         "Operation not supported: of a running guest's graphics only the password "
                         "of 'vnc' can be changed");
        return false;
    }
    if (wanted->passwd &&
        !qmp_client_run(monitor, "set_password",
                        qmp_object("s:protocol", "vnc", "s:password", wanted->passwd, NULL),
                        error)) {
        return false;
    }
    if (wanted->passwd_valid_to &&
        !qmp_client_run(monitor, "expire_password",
                        qmp_object("s:protocol", "vnc", "s:time", wanted->passwd_valid_to, NULL),
                        error)) {
        return false;
    }
    g_mutex_lock(&domain->lock);
    DomainGraphics *live = domain->live && domain->live->devices[DEVICE_GRAPHICS].count
                               ? domain->live->devices[DEVICE_GRAPHICS].item[0]
                               : NULL;
    if (live && wanted->passwd) {
        g_free(live->passwd);
        live->passwd = g_strdup(wanted->passwd);
    }
    g_mutex_unlock(&domain->lock);
    return true;
}

bool hotplug_update(Domain *domain, QmpClient *monitor, const DomainDevice *wanted, bool force,
                    GError **error)
{
    g_mutex_lock(&domain->lock);
    const DomainDevice *found = domain->live ? domain_def_find(domain->live, wanted, error) : NULL;
    g_autoptr(DomainDevice) old = found ? domain_device_copy(found) : NULL;
    g_mutex_unlock(&domain->lock);
    g_autoptr(DomainDevice) device = domain_device_copy(wanted);
    if (!old) {
        return false;
    }
    switch (old->kind) {
    case DEVICE_DISK:
        return update_disk(domain, monitor, (DomainDisk *)old, (DomainDisk *)device, force, error);
    case DEVICE_INTERFACE:
        return update_interface(domain, monitor, (DomainInterface *)old, (DomainInterface *)device,
                                error);
    case DEVICE_MEMORY:
        return memory_plug_update(domain, monitor, (DomainMemory *)old, (DomainMemory *)device,
                                  error);
    case DEVICE_GRAPHICS:
        return update_graphics(domain, monitor, (DomainGraphics *)old, (DomainGraphics *)device,
                               error);
    default:
        daemon_error_set(error, DAEMON_ERROR_OPERATION_UNSUPPORTED,
                         "Operation not supported: a device '%s' of a running guest cannot be "
                         "changed; use --config",
                         domain_device_kind_name(old->kind));
        return false;
    }
}
