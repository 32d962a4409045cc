/* Hot-plug: arguments of devices run as monitor commands.
 *
 * Left out: TPMs, shared memory, folders but by virtiofs, and devices of buses without hot-plug
 * (ISA, IDE, SATA). SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/hotplug.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "daemon/domain/blocks.h"
#include "daemon/domain/helper-process.h"
#include "daemon/domain/host-devices.h"
#include "daemon/domain/interfaces.h"
#include "daemon/domain/json-peer.h"
#include "daemon/domain/macvtap.h"
#include "daemon/domain/memory-plug.h"
#include "daemon/domain/runtime.h"
#include "daemon/error.h"
#include "daemon/threads.h"
#include "gbase/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A guest under emulation on a busy host needs seconds to let go. */
#define DETACH_WAIT_MS 10000
#define REMOVE_WAIT_MS 5000 /* libvirt's, for vCPUs */
#define OWN_FILES "/proc/self/fd/"
#define FD_NAME "lodge-hotplug"

#define EMIT_ALIAS(domain, NAME, Type, alias)                                                      \
    do {                                                                                           \
        RemoteDomainEventCallback##Type##Msg message_ = { .dev_alias = (alias) };                  \
        EventSubject subject_ = { (domain)->name, (domain)->uuid };                                \
        domain_to_wire_locked(domain, NULL, &message_.dom);                                        \
        event_queue_emit((domain)->service->daemon->events,                                        \
                         REMOTE_PROC_DOMAIN_EVENT_CALLBACK_##NAME, &subject_, &message_);          \
    } while (0)

void hotplug_emit_removal_failed_locked(Domain *domain, const char *alias)
{
    EMIT_ALIAS(domain, DEVICE_REMOVAL_FAILED, DeviceRemovalFailed, alias);
}

static void emit_removed_locked(Domain *domain, const char *alias)
{
    RemoteDomainEventCallbackDeviceRemovedMsg message = { .msg.dev_alias = alias };
    EventSubject subject = { domain->name, domain->uuid };
    domain_to_wire_locked(domain, NULL, &message.msg.dom);
    event_queue_emit(domain->service->daemon->events,
                     REMOTE_PROC_DOMAIN_EVENT_CALLBACK_DEVICE_REMOVED, &subject, &message);
}

/* --- descriptors --- */

int hotplug_pass_fd(QmpClient *monitor, int fd, int set, const char *owner, GError **error)
{
    g_autoptr(JsonNode) answer = qmp_client_call(
        monitor, "add-fd", qmp_object("i:fdset-id", (gint64)set, "s:opaque", owner, NULL), fd,
        QMP_TIMEOUT_MS, error);
    close(fd);
    return answer ? set : -1;
}

typedef void (*EachSet)(JsonObject *set, gint64 id, void *opaque);

static void for_each_set(QmpClient *monitor, EachSet func, void *opaque)
{
    g_autoptr(JsonNode) sets =
        qmp_client_call(monitor, "query-fdsets", NULL, -1, QMP_TIMEOUT_MS, NULL);
    JsonArray *array = sets && JSON_NODE_HOLDS_ARRAY(sets) ? json_node_get_array(sets) : NULL;
    for (guint i = 0; array && i < json_array_get_length(array); i++) {
        JsonObject *set = json_peer_element(array, i);
        func(set, json_peer_int(set, "fdset-id", -1), opaque);
    }
}

static void note_highest(JsonObject *set, gint64 id, void *opaque)
{
    unsigned *highest = opaque;
    if (id > *highest && id < INT_MAX / 2) {
        *highest = (unsigned)id;
    }
}

typedef struct Drop {
    QmpClient *monitor;
    const char *owner;
    int except_set;
} Drop;

static void drop_if_owned(JsonObject *set, gint64 id, void *opaque)
{
    const Drop *drop = opaque;
    JsonObject *first = json_peer_element(json_peer_array(set, "fds"), 0);
    if (id != drop->except_set && g_strcmp0(json_peer_string(first, "opaque"), drop->owner) == 0) {
        qmp_client_run(drop->monitor, "remove-fd", qmp_object("i:fdset-id", id, NULL), NULL);
    }
}

void hotplug_drop_fds(QmpClient *monitor, const char *owner, int except_set)
{
    Drop drop = { monitor, owner, except_set };
    for_each_set(monitor, drop_if_owned, &drop);
}

/* --- arguments as commands --- */

typedef struct UndoStep {
    const char *command;
    JsonObject *arguments;
} UndoStep;

typedef struct Plug {
    QmpClient *monitor;
    const CommandLine *line;
    GArray *undo; /* of UndoStep */
    char *pty;    /* of a character device made */
} Plug;

static void plug_note(Plug *plug, const char *command, JsonObject *arguments)
{
    UndoStep step = { command, arguments };
    g_array_append_val(plug->undo, step);
}

static void plug_undo(Plug *plug)
{
    for (guint i = plug->undo->len; i > 0; i--) {
        UndoStep *step = &g_array_index(plug->undo, UndoStep, i - 1);
        g_autoptr(GError) error = NULL;
        if (!qmp_client_run(plug->monitor, step->command, g_steal_pointer(&step->arguments),
                            &error)) {
            log_write(LOG_LEVEL_DEBUG, "taking back: %s", error->message);
        }
    }
}

static void plug_done(Plug *plug)
{
    for (guint i = 0; i < plug->undo->len; i++) {
        g_clear_pointer(&g_array_index(plug->undo, UndoStep, i).arguments, json_object_unref);
    }
    g_array_unref(plug->undo);
    g_free(plug->pty);
}

static JsonObject *hmp_object(char *command)
{
    g_autofree char *text = command;
    return qmp_object("s:command-line", text, NULL);
}

static bool run_add_fd(Plug *plug, const char *text, GError **error)
{
    int fd = -1;
    int set = -1;
    if (sscanf(text, "fd=%9d,set=%9d", &fd, &set) != 2) {
        daemon_error_set(error, DAEMON_ERROR_INTERNAL, "internal error: '%s' names no descriptor",
                         text);
        return false;
    }
    const char *owner = strstr(text, ",opaque=");
    int own = dup(fd);
    if (own < 0) {
        lodge_error_set_errno(error, errno, "cannot hand over a descriptor");
        return false;
    }
    if (hotplug_pass_fd(plug->monitor, own, set, owner ? owner + strlen(",opaque=") : NULL, error) <
        0) {
        return false;
    }
    plug_note(plug, "remove-fd", qmp_object("i:fdset-id", (gint64)set, NULL));
    return true;
}

/* A word of a command of the old monitor, whatever is in it (transfer full). */
static char *hmp_word(const char *text)
{
    GString *word = g_string_new("\"");
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') {
            g_string_append_c(word, '\\');
        }
        g_string_append_c(word, *text);
    }
    g_string_append_c(word, '"');
    return g_string_free(word, FALSE);
}

/* There is no QMP command that makes what -drive makes; the old monitor has one. */
static bool run_drive(Plug *plug, const char *text, GError **error)
{
    static const char id_option[] = "if=none,id=";
    g_autofree char *word = hmp_word(text);
    g_autoptr(JsonNode) answer = qmp_client_call(
        plug->monitor, "human-monitor-command", hmp_object(g_strdup_printf("drive_add 0 %s", word)),
        -1, QMP_TIMEOUT_MS, error);
    const char *said =
        answer && JSON_NODE_HOLDS_VALUE(answer) ? json_node_get_string(answer) : NULL;
    /* The last: names of images come before, and may have any text. */
    const char *id = g_strrstr(text, id_option);
    const char *value = id ? id + strlen(id_option) : NULL;
    g_autofree char *name = value ? g_strndup(value, strcspn(value, ",")) : NULL;
    if (!answer) {
        return false;
    }
    if (!said || !g_str_has_prefix(said, "OK") || !name) {
        g_autofree char *words = g_strstrip(g_strdup(said ?: "no answer"));
        daemon_error_set(error, DAEMON_ERROR_OPERATION_FAILED,
                         "operation failed: adding the drive failed: %s", words);
        return false;
    }
    plug_note(plug, "human-monitor-command", hmp_object(g_strdup_printf("drive_del %s", name)));
    return true;
}

/* Hands over the descriptor that @member names by number, under a name that takes its place. */
static bool pass_named_fd(Plug *plug, JsonObject *options, const char *member, GError **error)
{
    const char *number = json_peer_string(options, member);
    if (!number) {
        return true;
    }
    g_autoptr(JsonNode) answer =
        qmp_client_call(plug->monitor, "getfd", qmp_object("s:fdname", FD_NAME, NULL),
                        (int)g_ascii_strtoll(number, NULL, 10), QMP_TIMEOUT_MS, error);
    json_object_set_string_member(options, member, FD_NAME);
    return answer != NULL;
}

/* Runs a command that makes something with an id; @undo takes it back. */
static JsonNode *run_make(Plug *plug, const char *command, JsonObject *arguments, bool has_fd,
                          const char *undo, GError **error)
{
    g_autofree char *id = g_strdup(json_peer_string(arguments, "id"));
    JsonNode *answer =
        qmp_client_call(plug->monitor, command, arguments, -1, QMP_TIMEOUT_MS, error);
    if (answer) {
        plug_note(plug, undo, qmp_object("s:id", id, NULL));
    } else if (has_fd) {
        qmp_client_run(plug->monitor, "closefd", qmp_object("s:fdname", FD_NAME, NULL), NULL);
    }
    return answer;
}

/* Makes something whose @fd_key, where it has one, is a descriptor that goes along. */
static bool run_with_fd(Plug *plug, const char *command, JsonObject *arguments, const char *fd_key,
                        const char *undo, GError **error)
{
    bool has_fd = json_object_has_member(arguments, fd_key);
    if (!pass_named_fd(plug, arguments, fd_key, error)) {
        json_object_unref(arguments);
        return false;
    }
    g_autoptr(JsonNode) answer = run_make(plug, command, arguments, has_fd, undo, error);
    return answer != NULL;
}

static bool run_netdev(Plug *plug, const char *text, GError **error)
{
    return run_with_fd(plug, "netdev_add", command_line_to_qmp(text, "type"), "fd", "netdev_del",
                       error);
}

static bool run_object(Plug *plug, const char *text, GError **error)
{
    g_autoptr(JsonNode) answer = run_make(plug, "object-add", command_line_to_qmp(text, "qom-type"),
                                          false, "object-del", error);
    return answer != NULL;
}

/* A node of a SCSI device: its file is a descriptor of the engine's, by the number it has there. */
static bool run_blockdev(Plug *plug, const char *text, GError **error)
{
    g_autoptr(JsonObject) options = command_line_to_qmp(text, "driver");
    const char *node = json_peer_string(options, "node-name");
    const char *file = json_peer_string(options, "filename");
    const char *alias = node && g_str_has_prefix(node, "drive-") ? node + strlen("drive-") : "";
    int fd = file && g_str_has_prefix(file, OWN_FILES) ? atoi(file + strlen(OWN_FILES)) : -1;
    g_autoptr(JsonNode) passed = qmp_client_call(
        plug->monitor, "add-fd", qmp_object("s:opaque", alias, NULL), fd, QMP_TIMEOUT_MS, error);
    JsonObject *set =
        passed && JSON_NODE_HOLDS_OBJECT(passed) ? json_node_get_object(passed) : NULL;
    if (!set) {
        return false;
    }
    plug_note(plug, "remove-fd",
              qmp_object("i:fdset-id", json_peer_int(set, "fdset-id", -1), NULL));
    g_autofree char *path = g_strdup_printf(OWN_FILES "%d", (int)json_peer_int(set, "fd", -1));
    JsonObject *arguments =
        qmp_object("s:driver", "host_device", "s:node-name", node, "s:filename", path,
                   "b:read-only", (int)json_peer_bool(options, "read-only", false), NULL);
    if (!qmp_client_run(plug->monitor, "blockdev-add", arguments, error)) {
        return false;
    }
    plug_note(plug, "blockdev-del", qmp_object("s:node-name", node, NULL));
    return true;
}

static bool run_device(Plug *plug, const char *text, GError **error)
{
    return run_with_fd(plug, "device_add", command_line_to_qmp(text, "driver"), "vhostfd",
                       "device_del", error);
}

static JsonObject *socket_address(JsonObject *options)
{
    const char *fd = json_peer_string(options, "fd");
    const char *path = json_peer_string(options, "path");
    if (fd) {
        return qmp_object("s:type", "fd", "o:data", qmp_object("s:str", fd, NULL), NULL);
    }
    if (path) {
        return qmp_object("s:type", "unix", "o:data", qmp_object("s:path", path, NULL), NULL);
    }
    return qmp_object("s:type", "inet", "o:data",
                      qmp_object("s:host", json_peer_string(options, "host"), "s:port",
                                 json_peer_string(options, "port"), NULL),
                      NULL);
}

/* -chardev's options as QAPI's ChardevBackend. */
static JsonObject *chardev_backend(JsonObject *options)
{
    const char *type = json_peer_string(options, "type");
    const char *path = json_peer_string(options, "path");
    JsonObject *data = qmp_object("s:logfile", json_peer_string(options, "logfile"), NULL);
    if (json_object_has_member(options, "logappend")) {
        json_object_set_boolean_member(data, "logappend",
                                       json_peer_bool(options, "logappend", false));
    }
    if (g_strcmp0(type, "socket") == 0) {
        json_object_set_object_member(data, "addr", socket_address(options));
        json_object_set_boolean_member(data, "server", json_peer_bool(options, "server", false));
        if (json_peer_bool(options, "server", false)) {
            json_object_set_boolean_member(data, "wait", json_peer_bool(options, "wait", true));
        }
        if (json_peer_bool(options, "telnet", false)) {
            json_object_set_boolean_member(data, "telnet", TRUE);
        }
    } else if (g_strcmp0(type, "file") == 0) {
        json_object_set_string_member(data, "out", path);
        if (json_object_has_member(options, "append")) {
            json_object_set_boolean_member(data, "append", TRUE);
        }
    } else if (path) {
        json_object_set_string_member(data, "device", path);
    }
    return qmp_object("s:type", type, "o:data", data, NULL);
}

static bool run_chardev(Plug *plug, const char *text, GError **error)
{
    g_autoptr(JsonObject) options = command_line_to_qmp(text, "type");
    bool has_fd = json_object_has_member(options, "fd");
    if (!pass_named_fd(plug, options, "fd", error)) {
        return false;
    }
    JsonObject *arguments = qmp_object("s:id", json_peer_string(options, "id"), "o:backend",
                                       chardev_backend(options), NULL);
    g_autoptr(JsonNode) answer =
        run_make(plug, "chardev-add", arguments, has_fd, "chardev-remove", error);
    if (answer && JSON_NODE_HOLDS_OBJECT(answer)) {
        g_free(plug->pty);
        plug->pty = g_strdup(json_peer_string(json_node_get_object(answer), "pty"));
    }
    return answer != NULL;
}

static bool plug_run(Plug *plug, GError **error)
{
    static const struct {
        const char *option;
        bool (*run)(Plug *plug, const char *text, GError **error);
    } runners[] = {
        { "-add-fd", run_add_fd }, { "-blockdev", run_blockdev }, { "-chardev", run_chardev },
        { "-device", run_device }, { "-drive", run_drive },       { "-netdev", run_netdev },
        { "-object", run_object },
    };
    const GPtrArray *args = plug->line->args;
    for (guint i = 0; i + 1 < args->len; i += 2) {
        const char *option = g_ptr_array_index(args, i);
        for (unsigned r = 0; r < G_N_ELEMENTS(runners); r++) {
            if (strcmp(option, runners[r].option) == 0 &&
                !runners[r].run(plug, g_ptr_array_index(args, i + 1), error)) {
                return false;
            }
        }
    }
    return true;
}

/* --- attaching --- */

bool hotplug_check(const DomainDevice *device, GError **error)
{
    bool ok = true;
    switch (device->kind) {
    case DEVICE_DISK: {
        const DomainDisk *disk = (const DomainDisk *)device;
        ok =
            disk->bus == DISK_BUS_VIRTIO || disk->bus == DISK_BUS_SCSI || disk->bus == DISK_BUS_USB;
        if (!ok) {
            daemon_error_set(error, DAEMON_ERROR_OPERATION_UNSUPPORTED,
                             "Operation not supported: disk bus '%s' cannot be hotplugged; use bus "
                             "'virtio', 'scsi' or 'usb', or --config",
                             domain_name(disk_bus, disk->bus) ?: "none");
            return false;
        }
        break;
    }
    case DEVICE_CONTROLLER: {
        const DomainController *controller = (const DomainController *)device;
        ok = controller->type == CONTROLLER_SCSI || controller->type == CONTROLLER_USB ||
             controller->type == CONTROLLER_VIRTIO_SERIAL;
        break;
    }
    case DEVICE_CONSOLE:
        ok = ((const DomainCharDevice *)device)->console_type == CONSOLE_VIRTIO;
        break;
    case DEVICE_CHANNEL:
    case DEVICE_HOSTDEV:
    case DEVICE_INPUT:
    case DEVICE_INTERFACE:
    case DEVICE_MEMBALLOON:
    case DEVICE_MEMORY:
    case DEVICE_RNG:
    case DEVICE_SOUND:
    case DEVICE_WATCHDOG:
    case DEVICE_VSOCK:
        break;
    case DEVICE_FILESYSTEM:
        ok = ((const DomainFilesystem *)device)->driver == FS_DRIVER_VIRTIOFS;
        break;
    default:
        ok = false;
    }
    if (!ok) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_UNSUPPORTED,
                         "Operation not supported: a device '%s' of this kind cannot be added to "
                         "or taken from a running guest; use --config",
                         domain_device_kind_name(device->kind));
    }
    return ok;
}

static bool has_controller(const DomainDef *def, const DomainController *wanted)
{
    const XmlList *list = &def->devices[DEVICE_CONTROLLER];
    for (unsigned i = 0; i < list->count; i++) {
        const DomainController *controller = list->item[i];
        if (controller->type == wanted->type && controller->index.value == wanted->index.value) {
            return true;
        }
    }
    return false;
}

/* The device with its place, and controllers made for it, as they will be. */
typedef struct Trial {
    DomainDef *def;       /* with them */
    DomainDevice *device; /* in def */
    GPtrArray *added;     /* of DomainDevice in def: controllers first, the device last */
} Trial;

/* Whether memory fits; gives it the size that it will have. */
static bool check_room(const DomainDef *def, DomainDevice *device, GError **error)
{
    if (device->kind != DEVICE_MEMORY) {
        return true;
    }
    memory_plug_round((DomainMemory *)device);
    return memory_plug_check(def, (const DomainMemory *)device, true, error);
}

static bool place(Domain *domain, const DomainDevice *wanted, Trial *trial, GError **error)
{
    trial->def = domain_copy_live(domain, error);
    if (!trial->def) {
        return false;
    }
    const DomainDisk *disk = wanted->kind == DEVICE_DISK ? (const DomainDisk *)wanted : NULL;
    if (disk && disk->target_dev && domain_def_find_disk(trial->def, disk->target_dev)) {
        daemon_error_set(error, DAEMON_ERROR_XML, "target '%s' already exists: another disk has it",
                         disk->target_dev);
        return false;
    }
    g_autoptr(DomainDef) before = domain_def_copy(trial->def);
    DomainDevice *device = domain_device_copy(wanted);
    if (!check_room(trial->def, device, error) || !domain_def_insert(trial->def, device, error)) {
        domain_device_free(device);
        return false;
    }
    domain_def_assign_aliases(trial->def);
    trial->device = device;
    trial->added = g_ptr_array_new();
    const XmlList *controllers = &trial->def->devices[DEVICE_CONTROLLER];
    for (unsigned i = 0; i < controllers->count; i++) {
        const DomainController *controller = controllers->item[i];
        if (&controller->device == device || has_controller(before, controller)) {
            continue;
        }
        if (controller->type == CONTROLLER_PCI) {
            daemon_error_set(error, DAEMON_ERROR_INTERNAL,
                             "internal error: No more available PCI slots: add a controller "
                             "'pcie-root-port' to the definition while the guest is off");
            return false;
        }
        g_ptr_array_add(trial->added, (void *)(uintptr_t)controller);
    }
    g_ptr_array_add(trial->added, device);
    return true;
}

static void trial_clear(Trial *trial)
{
    domain_def_free(trial->def);
    if (trial->added) {
        g_ptr_array_unref(trial->added);
    }
}

static void note_pty(DomainDevice *device, const char *pty)
{
    if (pty && (device->kind == DEVICE_CHANNEL || device->kind == DEVICE_CONSOLE)) {
        DomainCharDevice *character = (DomainCharDevice *)device;
        g_free(character->source.path);
        character->source.path = g_strdup(pty);
        if (device->kind == DEVICE_CONSOLE) {
            g_free(character->tty);
            character->tty = g_strdup(pty);
        }
    }
}

/* What does not go with a descriptor, as a tap does: macvtap links, devices of the host. */
static void release(Domain *domain, const DomainDevice *device)
{
    helper_stop(domain, device->alias);
    if (device->kind == DEVICE_HOSTDEV) {
        host_device_return(&host_tree, domain->dir, (const DomainHostdev *)device);
    }
    const DomainInterface *interface = (const DomainInterface *)device;
    if (device->kind == DEVICE_INTERFACE && interface->type == INTERFACE_DIRECT &&
        interface->target_dev) {
        macvtap_remove(&macvtap_host, domain->dir, interface->target_dev);
    }
}

static bool plug_one(Domain *domain, QmpClient *monitor, DomainDef *def, DomainDevice *device,
                     Plug *plug, GError **error)
{
    unsigned highest = 0;
    for_each_set(monitor, note_highest, &highest);
    g_autoptr(CommandLine) line = command_line_for_device(def, device, &domain_resources, domain,
                                                          domain->dir, highest, error);
    plug->line = line;
    bool ok = line && plug_run(plug, error);
    plug->line = NULL;
    if (ok && device->kind == DEVICE_MEMORY) {
        memory_plug_note_places(monitor, def);
    }
    if (ok) {
        note_pty(device, plug->pty);
    } else {
        release(domain, device);
    }
    return ok;
}

/* A link that is down, and limits: what is set only once the device is there. */
static bool finish_device(QmpClient *monitor, const DomainDevice *device, GError **error)
{
    if (device->kind == DEVICE_DISK) {
        return block_apply_limits(monitor, (const DomainDisk *)device, error);
    }
    if (device->kind != DEVICE_INTERFACE) {
        return true;
    }
    const DomainInterface *card = (const DomainInterface *)device;
    return (card->link != LINK_DOWN || hotplug_set_link(monitor, card, false, error)) &&
           ((!card->inbound.average && !card->outbound.average) ||
            interface_set_bandwidth(card->target_dev, &card->inbound, &card->outbound, error));
}

bool hotplug_set_link(QmpClient *monitor, const DomainInterface *interface, bool is_up,
                      GError **error)
{
    g_autofree char *name = g_strconcat("host", interface->device.alias, NULL);
    return qmp_client_run(monitor, "set_link", qmp_object("s:name", name, "b:up", (int)is_up, NULL),
                          error);
}

bool hotplug_finish_start(Domain *domain, QmpClient *monitor, GError **error)
{
    g_autoptr(DomainDef) def = domain_copy_live(domain, error);
    static const DomainDeviceKind kinds[] = { DEVICE_DISK, DEVICE_INTERFACE };
    for (unsigned k = 0; def && k < G_N_ELEMENTS(kinds); k++) {
        const XmlList *list = &def->devices[kinds[k]];
        for (unsigned i = 0; i < list->count; i++) {
            if (!finish_device(monitor, list->item[i], error)) {
                return false;
            }
        }
    }
    return def != NULL;
}

/* Enters what was made into the live definition. */
static bool enter(Domain *domain, const Trial *trial, GError **error)
{
    bool ok = true;
    g_mutex_lock(&domain->lock);
    if (!domain->live) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_FAILED, "the domain has just ended");
        ok = false;
    }
    for (guint i = 0; ok && i < trial->added->len; i++) {
        const DomainDevice *made = g_ptr_array_index(trial->added, i);
        DomainDevice *device = domain_device_copy(made);
        ok = domain_def_insert(domain->live, device, error);
        if (ok) {
            EMIT_ALIAS(domain, DEVICE_ADDED, DeviceAdded, device->alias);
        } else {
            domain_device_free(device);
        }
    }
    g_mutex_unlock(&domain->lock);
    return ok;
}

bool hotplug_attach(Domain *domain, QmpClient *monitor, const DomainDevice *device, GError **error)
{
    Trial trial = { 0 };
    Plug plug = { .monitor = monitor };
    if (!hotplug_check(device, error)) {
        return false;
    }
    plug.undo = g_array_new(FALSE, FALSE, sizeof(UndoStep));
    bool ok = place(domain, device, &trial, error);
    for (guint i = 0; ok && i < trial.added->len; i++) {
        ok = plug_one(domain, monitor, trial.def, g_ptr_array_index(trial.added, i), &plug, error);
    }
    bool is_plugged = ok;
    ok = ok && finish_device(monitor, trial.device, error) && enter(domain, &trial, error);
    if (!ok) {
        plug_undo(&plug);
        if (is_plugged) {
            release(domain, trial.device);
        }
    }
    if (ok && device->kind == DEVICE_MEMORY) {
        memory_plug_note_amount(domain, monitor);
    }
    plug_done(&plug);
    trial_clear(&trial);
    return ok;
}

/* --- detaching --- */

/* Takes back what the device was made with. */
static void remove_backend(QmpClient *monitor, const DomainDevice *device)
{
    static const struct {
        DomainDeviceKind kind;
        const char *command, *prefix;
    } backends[] = {
        { DEVICE_INTERFACE, "netdev_del", "host" },
        { DEVICE_CHANNEL, "chardev-remove", "char" },
        { DEVICE_CONSOLE, "chardev-remove", "char" },
        { DEVICE_RNG, "object-del", "obj" },
        { DEVICE_FILESYSTEM, "chardev-remove", "chr-vu-" },
        { DEVICE_MEMORY, "object-del", "mem" },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(backends); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *id = g_strconcat(backends[i].prefix, device->alias, NULL);
        if (backends[i].kind == device->kind &&
            !qmp_client_run(monitor, backends[i].command, qmp_object("s:id", id, NULL), &error)) {
            log_write(LOG_LEVEL_WARN, "device '%s': %s", device->alias, error->message);
        }
    }
    if (device->kind == DEVICE_DISK) {
        /* It mostly went with the device; where not, its image is still open. */
        qmp_client_run(monitor, "human-monitor-command",
                       hmp_object(g_strdup_printf("drive_del drive-%s", device->alias)), NULL);
    }
    if (device->kind == DEVICE_HOSTDEV && ((const DomainHostdev *)device)->type == HOSTDEV_SCSI) {
        g_autofree char *node = g_strdup_printf("drive-%s", device->alias);
        qmp_client_run(monitor, "blockdev-del", qmp_object("s:node-name", node, NULL), NULL);
    }
    hotplug_drop_fds(monitor, device->alias, -1);
}

static void remove_socket(const Domain *domain, const DomainDevice *device)
{
    if (device->kind == DEVICE_CHANNEL || device->kind == DEVICE_CONSOLE) {
        const DomainChardev *source = &((const DomainCharDevice *)device)->source;
        if (source->type == CHARDEV_UNIX && source->path && source->mode != SOCKET_CONNECT) {
            unlink(source->path);
        }
    }
}

/* The device has left the guest: nothing of it stays. */
static void finish_detach(Domain *domain, QmpClient *monitor, const char *alias)
{
    g_mutex_lock(&domain->lock);
    DomainDevice *found = domain->live ? domain_def_find_alias(domain->live, alias) : NULL;
    g_autoptr(DomainDevice) device = found ? domain_def_remove(domain->live, found) : NULL;
    g_mutex_unlock(&domain->lock);
    if (!device) {
        return;
    }
    remove_backend(monitor, device);
    if (device->kind == DEVICE_MEMORY) {
        memory_plug_note_amount(domain, monitor);
    }
    remove_socket(domain, device);
    release(domain, device);
    g_mutex_lock(&domain->lock);
    emit_removed_locked(domain, alias);
    g_mutex_unlock(&domain->lock);
}

void hotplug_device_left(Domain *domain, const char *alias)
{
    g_autoptr(QmpClient) monitor = domain_begin_monitor_job(domain, "detach", NULL);
    if (!monitor) {
        return;
    }
    finish_detach(domain, monitor, alias);
    g_mutex_lock(&domain->lock);
    if (domain->runtime && domain->live) {
        status_write_locked(domain, NULL);
    }
    g_mutex_unlock(&domain->lock);
    domain_end_job(domain);
}

/* What became of the device within the time; with lock. */
static DeviceLeave await_locked(Domain *domain, int wait_ms)
{
    gint64 until = g_get_monotonic_time() + (gint64)wait_ms * 1000;
    while (domain->runtime && domain->leave == DEVICE_STAYS &&
           !daemon_gives_up(domain->service->daemon) &&
           g_cond_wait_until(&domain->device_event, &domain->lock, until)) {
    }
    return domain->leave;
}

static bool judge(Domain *domain, const char *alias, DeviceLeave leave, int wait_ms, GError **error)
{
    if (leave == DEVICE_LEFT) {
        return true;
    }
    if (leave == DEVICE_REFUSED) {
        g_mutex_lock(&domain->lock);
        hotplug_emit_removal_failed_locked(domain, alias);
        g_mutex_unlock(&domain->lock);
        daemon_error_set(error, DAEMON_ERROR_OPERATION_FAILED,
                         "operation failed: the guest refused to let go of device '%s'", alias);
        return false;
    }
    if (!domain_is_active(domain)) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_FAILED,
                         "operation failed: the domain ended while device '%s' was to go", alias);
        return false;
    }
    daemon_error_set(error, DAEMON_ERROR_TIMEOUT,
                     "Timed out during operation: the guest has not let go of device '%s' within "
                     "%d seconds; it is still attached, and goes when the guest lets go of it "
                     "(event 'device-removed')",
                     alias, wait_ms / 1000);
    return false;
}

static bool check_detachable(Domain *domain, const char *alias, GError **error)
{
    g_mutex_lock(&domain->lock);
    const DomainDevice *device = domain->live ? domain_def_find_alias(domain->live, alias) : NULL;
    bool ok = device != NULL;
    if (!ok) {
        daemon_error_set(error, DAEMON_ERROR_INTERNAL,
                         "internal error: no device found with alias '%s'", alias);
    } else {
        ok = hotplug_check(device, error);
    }
    g_mutex_unlock(&domain->lock);
    return ok;
}

/* Asks the guest to let go of a device; @wait_ms: until it did, that long at most; 0: not. */
static bool request_removal(Domain *domain, QmpClient *monitor, const char *alias, int wait_ms,
                            GError **error)
{
    g_mutex_lock(&domain->lock);
    domain->leaving = wait_ms ? alias : NULL;
    domain->leave = DEVICE_STAYS;
    g_mutex_unlock(&domain->lock);
    g_autoptr(GError) reason = NULL;
    bool asked = qmp_client_run(monitor, "device_del", qmp_object("s:id", alias, NULL), &reason) ||
                 strstr(reason->message, "in the process of unplug") != NULL;
    g_mutex_lock(&domain->lock);
    DeviceLeave leave = asked && wait_ms ? await_locked(domain, wait_ms) : domain->leave;
    domain->leaving = NULL;
    g_mutex_unlock(&domain->lock);
    if (!asked) {
        g_propagate_error(error, g_steal_pointer(&reason));
        return false;
    }
    return !wait_ms || judge(domain, alias, leave, wait_ms, error);
}

bool hotplug_remove(Domain *domain, QmpClient *monitor, const char *id, GError **error)
{
    return request_removal(domain, monitor, id, REMOVE_WAIT_MS, error);
}

bool hotplug_detach(Domain *domain, QmpClient *monitor, const char *alias, bool wait,
                    GError **error)
{
    if (!check_detachable(domain, alias, error) ||
        !request_removal(domain, monitor, alias, wait ? DETACH_WAIT_MS : 0, error)) {
        return false;
    }
    if (wait) {
        finish_detach(domain, monitor, alias);
    }
    return true;
}
