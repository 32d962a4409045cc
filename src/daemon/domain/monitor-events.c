/* Events of monitors, turned into states and libvirt's events.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/monitor-events.h"

#include "base/log.h"
#include "daemon/domain/agent.h"
#include "daemon/domain/blocks.h"
#include "daemon/domain/end-actions.h"
#include "daemon/domain/hotplug.h"
#include "daemon/domain/json-peer.h"
#include "daemon/domain/memory-plug.h"
#include "daemon/domain/runtime.h"
#include "daemon/domain/vcpus.h"
#include "gbase/error.h"

#include <signal.h>
#include <string.h>

/* More than any name of a node has. */
#define NODE_NAME_MAX 255u

typedef void (*EventHandler)(Domain *domain, JsonObject *data);

#define EMIT(domain, PROCEDURE, message)                                                           \
    do {                                                                                           \
        EventSubject subject_ = { (domain)->name, (domain)->uuid };                                \
        event_queue_emit((domain)->service->daemon->events,                                        \
                         REMOTE_PROC_DOMAIN_EVENT_CALLBACK_##PROCEDURE, &subject_, message);       \
    } while (0)

static void on_stop(Domain *domain, JsonObject *data)
{
    if (domain->state != DOMAIN_RUNNING) {
        return;
    }
    domain_set_state_locked(domain, DOMAIN_PAUSED, PAUSED_UNKNOWN);
    domain_emit_locked(domain, EVENT_SUSPENDED, SUSPENDED_PAUSED);
}

static void on_resume(Domain *domain, JsonObject *data)
{
    if (domain->state == DOMAIN_RUNNING) {
        return;
    }
    domain_set_state_locked(domain, DOMAIN_RUNNING, RUNNING_UNPAUSED);
    domain_emit_locked(domain, EVENT_RESUMED, RESUMED_UNPAUSED);
}

/* Started with -no-shutdown: the process waits, and what was asked of its end decides. */
static void on_shutdown(Domain *domain, JsonObject *data)
{
    DomainRuntime *runtime = domain->runtime;
    const char *reason = json_peer_string(data, "reason");
    if (runtime->has_shut_down || runtime->has_crashed) {
        return; /* the monitor reports the signal by which it is ended */
    }
    if (g_strcmp0(reason, "host-signal") == 0) {
        runtime->is_destroyed = true;
    }
    bool is_reboot =
        g_strcmp0(reason, "guest-reset") == 0 || g_strcmp0(reason, "host-qmp-system-reset") == 0;
    if (!runtime->is_destroyed && end_actions_shutdown_locked(domain, is_reboot)) {
        return;
    }
    runtime->has_shut_down = true;
    domain_set_state_locked(domain, DOMAIN_SHUTDOWN, SHUTDOWN_USER);
    domain_emit_locked(domain, EVENT_SHUTDOWN,
                       !data || !json_object_has_member(data, "guest") ? SHUTDOWN_FINISHED
                       : json_peer_bool(data, "guest", true)           ? SHUTDOWN_GUEST
                                                                       : SHUTDOWN_HOST);
    process_signal(&runtime->process, SIGTERM);
}

static void on_reset(Domain *domain, JsonObject *data)
{
    RemoteDomainEventCallbackRebootMsg message = { 0 };
    domain_to_wire_locked(domain, NULL, &message.msg.dom);
    EMIT(domain, REBOOT, &message);
}

static void on_rtc_change(Domain *domain, JsonObject *data)
{
    RemoteDomainEventCallbackRtcChangeMsg message = {
        .msg.offset = json_peer_int(data, "offset", 0),
    };
    domain_to_wire_locked(domain, NULL, &message.msg.dom);
    EMIT(domain, RTC_CHANGE, &message);
}

static void on_balloon(Domain *domain, JsonObject *data)
{
    RemoteDomainEventCallbackBalloonChangeMsg message = { 0 };
    gint64 bytes = json_peer_int(data, "actual", 0);
    if (bytes > 0) {
        memory_plug_set_amount_locked(domain, (guint64)bytes / 1024);
    }
    domain_to_wire_locked(domain, NULL, &message.msg.dom);
    message.msg.actual = domain->runtime->balloon_kib;
    EMIT(domain, BALLOON_CHANGE, &message);
}

/* The guest took or gave back blocks of a virtio-mem device. */
static void on_memory_size(Domain *domain, JsonObject *data)
{
    const char *alias = json_peer_string(data, "id");
    guint64 bytes = (guint64)MAX(json_peer_int(data, "size", 0), 0);
    if (!alias || !memory_plug_size_changed_locked(domain, alias, bytes)) {
        return;
    }
    status_write_locked(domain, NULL);
    RemoteDomainEventMemoryDeviceSizeChangeMsg message = { .alias = alias, .size = bytes / 1024 };
    domain_to_wire_locked(domain, NULL, &message.dom);
    EventSubject subject = { domain->name, domain->uuid };
    event_queue_emit(domain->service->daemon->events,
                     REMOTE_PROC_DOMAIN_EVENT_MEMORY_DEVICE_SIZE_CHANGE, &subject, &message);
}

/* Tells the call that waits for it; false: none does. */
static bool tell_waiting(Domain *domain, const char *device, DeviceLeave outcome)
{
    bool is_awaited = domain->leaving && strcmp(domain->leaving, device) == 0;
    if (is_awaited) {
        domain->leave = outcome;
        g_cond_broadcast(&domain->device_event);
    }
    return is_awaited;
}

static void on_device_deleted(Domain *domain, JsonObject *data)
{
    const char *device = json_peer_string(data, "device");
    if (!device || tell_waiting(domain, device, DEVICE_LEFT) || !domain->live) {
        return;
    }
    if (domain_def_find_alias(domain->live, device)) {
        service_run(domain, hotplug_device_left, device);
    } else if (g_str_has_prefix(device, "vcpu")) {
        service_run(domain, vcpus_note, NULL);
    }
}

static void on_unplug_error(Domain *domain, JsonObject *data)
{
    const char *device = json_peer_string(data, "device");
    if (device && !tell_waiting(domain, device, DEVICE_REFUSED) && domain->live &&
        domain_def_find_alias(domain->live, device)) {
        hotplug_emit_removal_failed_locked(domain, device);
    }
}

/* What a guest's firmware interface says of a memory module that is to go. */
static void on_acpi_status(Domain *domain, JsonObject *data)
{
    enum { EJECT_REQUEST = 0x003, EJECTION = 0x103 };
    enum { FAILED = 0x01, SHUTDOWN_DENIED = 0x80, SHUTDOWN_UNSUPPORTED = 0x83 };
    JsonObject *info = json_peer_object(data, "info");
    const char *device = json_peer_string(info, "device");
    gint64 source = json_peer_int(info, "source", 0);
    gint64 status = json_peer_int(info, "status", 0);
    bool has_failed =
        status == FAILED || (status >= SHUTDOWN_DENIED && status <= SHUTDOWN_UNSUPPORTED);
    if (device && g_strcmp0(json_peer_string(info, "slot-type"), "DIMM") == 0 &&
        (source == EJECT_REQUEST || source == EJECTION) && has_failed &&
        !tell_waiting(domain, device, DEVICE_REFUSED)) {
        hotplug_emit_removal_failed_locked(domain, device);
    }
}

/* The device of an event: its id, or the drive that it has. With lock. */
static DomainDisk *event_disk(Domain *domain, JsonObject *data)
{
    const char *id = json_peer_string(data, "id");
    const char *drive = json_peer_string(data, "device");
    XmlList *disks = domain->live ? &domain->live->devices[DEVICE_DISK] : NULL;
    for (unsigned i = 0; disks && i < disks->count; i++) {
        DomainDisk *disk = disks->item[i];
        const char *alias = disk->device.alias ?: "";
        if (g_strcmp0(id, alias) == 0 || (drive && g_str_has_prefix(drive, "drive-") &&
                                          strcmp(drive + strlen("drive-"), alias) == 0)) {
            return disk;
        }
    }
    return NULL;
}

void monitor_emit_agent_locked(Domain *domain, bool is_open, int reason)
{
    enum { AGENT_CONNECTED = 1, AGENT_DISCONNECTED = 2 };
    RemoteDomainEventCallbackAgentLifecycleMsg message = {
        .state = is_open ? AGENT_CONNECTED : AGENT_DISCONNECTED,
        .reason = reason,
    };
    domain_to_wire_locked(domain, NULL, &message.dom);
    EMIT(domain, AGENT_LIFECYCLE, &message);
}

/* A program in the guest opened or closed its end of a channel. */
static void on_port(Domain *domain, JsonObject *data)
{
    const char *id = json_peer_string(data, "id");
    DomainDevice *device = id && domain->live ? domain_def_find_alias(domain->live, id) : NULL;
    if (!device || device->kind != DEVICE_CHANNEL) {
        return;
    }
    DomainCharDevice *channel = (DomainCharDevice *)device;
    bool is_open = json_peer_bool(data, "open", false);
    channel->channel_state = is_open ? CHANNEL_CONNECTED : CHANNEL_DISCONNECTED;
    status_write_locked(domain, NULL);
    if (g_strcmp0(channel->channel_name, AGENT_CHANNEL) == 0) {
        monitor_emit_agent_locked(domain, is_open, AGENT_REASON_CHANNEL);
    }
}

static void on_tray(Domain *domain, JsonObject *data)
{
    DomainDisk *disk = event_disk(domain, data);
    bool is_open = json_peer_bool(data, "tray-open", false);
    if (!disk) {
        return;
    }
    disk->tray = is_open ? TRAY_OPEN : TRAY_CLOSED;
    g_cond_broadcast(&domain->device_event);
    RemoteDomainEventCallbackTrayChangeMsg message = { 0 };
    domain_to_wire_locked(domain, NULL, &message.msg.dom);
    message.msg.dev_alias = disk->device.alias;
    message.msg.reason = is_open ? 0 : 1;
    EMIT(domain, TRAY_CHANGE, &message);
}

static void on_panic(Domain *domain, JsonObject *data)
{
    domain_set_state_locked(domain, DOMAIN_CRASHED, CRASHED_PANICKED);
    domain_emit_locked(domain, EVENT_CRASHED, CRASHED_PANIC);
    end_actions_panic_locked(domain);
}

/* Its kernel has loaded another one, which looks at the crash: the guest goes on. */
static void on_crash_loaded(Domain *domain, JsonObject *data)
{
    domain_emit_locked(domain, EVENT_CRASHED, CRASHED_LOADED);
}

static void on_suspend(Domain *domain, JsonObject *data)
{
    RemoteDomainEventCallbackPmsuspendMsg message = { 0 };
    domain_to_wire_locked(domain, NULL, &message.msg.dom);
    EMIT(domain, PMSUSPEND, &message);
    if (domain->state == DOMAIN_RUNNING) {
        domain_set_state_locked(domain, DOMAIN_PMSUSPENDED, PMSUSPENDED_UNKNOWN);
        domain_emit_locked(domain, EVENT_PMSUSPENDED, PMSUSPENDED_MEMORY);
    }
}

/* To disk: the guest powers off after it. */
static void on_suspend_disk(Domain *domain, JsonObject *data)
{
    RemoteDomainEventCallbackPmsuspendDiskMsg message = { 0 };
    domain_to_wire_locked(domain, NULL, &message.msg.dom);
    EMIT(domain, PMSUSPEND_DISK, &message);
    if (domain->state == DOMAIN_RUNNING) {
        domain_set_state_locked(domain, DOMAIN_PMSUSPENDED, PMSUSPENDED_UNKNOWN);
        domain_emit_locked(domain, EVENT_PMSUSPENDED, PMSUSPENDED_DISK);
    }
}

static void on_wakeup(Domain *domain, JsonObject *data)
{
    RemoteDomainEventCallbackPmwakeupMsg message = { 0 };
    domain_to_wire_locked(domain, NULL, &message.msg.dom);
    EMIT(domain, PMWAKEUP, &message);
    if (domain->state == DOMAIN_PMSUSPENDED) {
        domain_set_state_locked(domain, DOMAIN_RUNNING, RUNNING_WAKEUP);
        domain_emit_locked(domain, EVENT_STARTED, STARTED_WAKEUP);
    }
}

static int index_of(const char *word, const char *const *words)
{
    for (int i = 0; words[i]; i++) {
        if (g_strcmp0(word, words[i]) == 0) {
            return i;
        }
    }
    return -1;
}

static void on_watchdog(Domain *domain, JsonObject *data)
{
    static const char *const actions[] = { "none",     "pause", "reset",      "poweroff",
                                           "shutdown", "debug", "inject-nmi", NULL };
    const char *action = json_peer_string(data, "action");
    RemoteDomainEventCallbackWatchdogMsg message = { .msg.action =
                                                         MAX(index_of(action, actions), 0) };
    domain_to_wire_locked(domain, NULL, &message.msg.dom);
    EMIT(domain, WATCHDOG, &message);
    if (g_strcmp0(action, "pause") == 0 && domain->state == DOMAIN_RUNNING) {
        domain_set_state_locked(domain, DOMAIN_PAUSED, PAUSED_WATCHDOG);
        domain_emit_locked(domain, EVENT_SUSPENDED, SUSPENDED_WATCHDOG);
    }
}

static void read_address(JsonObject *from, RemoteDomainEventGraphicsAddress *to)
{
    enum { FAMILY_IPV4 = 0, FAMILY_IPV6 = 1, FAMILY_UNIX = 2 };
    const char *family = json_peer_string(from, "family");
    to->family = g_strcmp0(family, "ipv6") == 0   ? FAMILY_IPV6
                 : g_strcmp0(family, "unix") == 0 ? FAMILY_UNIX
                                                  : FAMILY_IPV4;
    to->node = json_peer_string(from, "host") ?: "";
    /* VNC's word or SPICE's. */
    to->service = json_peer_string(from, "service") ?: json_peer_string(from, "port") ?: "";
}

/* A client of a screen: 0 connected, 1 ready, 2 left. */
static void emit_graphics(Domain *domain, JsonObject *data, int phase)
{
    JsonObject *server = json_peer_object(data, "server");
    JsonObject *client = json_peer_object(data, "client");
    RemoteDomainEventGraphicsIdentity subjects[2];
    RemoteDomainEventCallbackGraphicsMsg message = {
        .msg = { .phase = phase, .subject = subjects },
    };
    const char *names[] = { "x509dname", "saslUsername" };
    const char *members[] = { "x509_dname", "sasl_username" };
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        const char *name = json_peer_string(client, members[i]);
        if (name) {
            subjects[message.msg.n_subject++] =
                (RemoteDomainEventGraphicsIdentity){ names[i], name };
        }
    }
    domain_to_wire_locked(domain, NULL, &message.msg.dom);
    read_address(server, &message.msg.local);
    read_address(client, &message.msg.remote);
    message.msg.auth_scheme = json_peer_string(server, "auth") ?: "";
    EMIT(domain, GRAPHICS, &message);
}

static void on_screen_connected(Domain *domain, JsonObject *data)
{
    emit_graphics(domain, data, 0);
}

static void on_screen_initialized(Domain *domain, JsonObject *data)
{
    emit_graphics(domain, data, 1);
}

static void on_screen_disconnected(Domain *domain, JsonObject *data)
{
    emit_graphics(domain, data, 2);
}

/* The host's memory is broken where the guest or its emulator has data. */
static void on_memory_failure(Domain *domain, JsonObject *data)
{
    enum { FLAG_ACTION_REQUIRED = 1 << 0, FLAG_RECURSIVE = 1 << 1 };
    static const char *const recipients[] = { "hypervisor", "guest", NULL };
    static const char *const actions[] = { "ignore", "inject", "fatal", "reset", NULL };
    JsonObject *flags = json_peer_object(data, "flags");
    RemoteDomainEventMemoryFailureMsg message = {
        .recipient = index_of(json_peer_string(data, "recipient"), recipients),
        .action = index_of(json_peer_string(data, "action"), actions),
        .flags = (json_peer_bool(flags, "action-required", false) ? FLAG_ACTION_REQUIRED : 0u) |
                 (json_peer_bool(flags, "recursive", false) ? FLAG_RECURSIVE : 0u),
    };
    if (message.recipient < 0 || message.action < 0) {
        return;
    }
    domain_to_wire_locked(domain, NULL, &message.dom);
    EventSubject subject = { domain->name, domain->uuid };
    event_queue_emit(domain->service->daemon->events, REMOTE_PROC_DOMAIN_EVENT_MEMORY_FAILURE,
                     &subject, &message);
}

/* The node is a disk's, or the file below one's: the monitor knows. */
static void on_threshold(Domain *domain, JsonObject *data)
{
    const char *node = json_peer_string(data, "node-name");
    if (!node || strlen(node) > NODE_NAME_MAX) {
        return; /* such texts may have to wait, each as long as a line of the monitor's */
    }
    g_autofree char *text = g_strdup_printf("%" G_GINT64_FORMAT " %" G_GINT64_FORMAT " %s",
                                            json_peer_int(data, "write-threshold", 0),
                                            json_peer_int(data, "amount-exceeded", 0), node);
    service_run(domain, block_threshold_passed, text);
}

static void on_io_error(Domain *domain, JsonObject *data)
{
    /* libvirt's actions: 0 none, 1 pause, 2 report. */
    const char *action = json_peer_string(data, "action");
    const DomainDisk *disk = event_disk(domain, data);
    bool no_space = json_peer_bool(data, "nospace", false);
    RemoteDomainEventCallbackIoErrorReasonMsg message = { 0 };
    RemoteDomainEventCallbackIoErrorMsg plain = { 0 };
    domain_to_wire_locked(domain, NULL, &plain.msg.dom);
    plain.msg.src_path = disk && disk->source.path ? disk->source.path : "";
    plain.msg.dev_alias = disk && disk->device.alias ? disk->device.alias : "";
    plain.msg.action = g_strcmp0(action, "stop") == 0     ? 1
                       : g_strcmp0(action, "report") == 0 ? 2
                                                          : 0;
    EMIT(domain, IO_ERROR, &plain);
    message.msg.dom = plain.msg.dom;
    message.msg.src_path = plain.msg.src_path;
    message.msg.dev_alias = plain.msg.dev_alias;
    message.msg.action = plain.msg.action;
    message.msg.reason = no_space ? "enospc" : "";
    EMIT(domain, IO_ERROR_REASON, &message);
    if (plain.msg.action == 1 && domain->state == DOMAIN_RUNNING) {
        domain_set_state_locked(domain, DOMAIN_PAUSED, PAUSED_IOERROR);
        domain_emit_locked(domain, EVENT_SUSPENDED, SUSPENDED_IOERROR);
    }
}

static const struct {
    const char *name;
    EventHandler handler;
} handlers[] = {
    { "ACPI_DEVICE_OST", on_acpi_status },
    { "BALLOON_CHANGE", on_balloon },
    { "BLOCK_IO_ERROR", on_io_error },
    { "BLOCK_WRITE_THRESHOLD", on_threshold },
    { "DEVICE_DELETED", on_device_deleted },
    { "DEVICE_TRAY_MOVED", on_tray },
    { "DEVICE_UNPLUG_GUEST_ERROR", on_unplug_error },
    { "GUEST_CRASHLOADED", on_crash_loaded },
    { "GUEST_PANICKED", on_panic },
    { "MEMORY_DEVICE_SIZE_CHANGE", on_memory_size },
    { "MEMORY_FAILURE", on_memory_failure },
    { "RESET", on_reset },
    { "RESUME", on_resume },
    { "RTC_CHANGE", on_rtc_change },
    { "SHUTDOWN", on_shutdown },
    { "SPICE_CONNECTED", on_screen_connected },
    { "SPICE_DISCONNECTED", on_screen_disconnected },
    { "SPICE_INITIALIZED", on_screen_initialized },
    { "STOP", on_stop },
    { "SUSPEND", on_suspend },
    { "SUSPEND_DISK", on_suspend_disk },
    { "VNC_CONNECTED", on_screen_connected },
    { "VNC_DISCONNECTED", on_screen_disconnected },
    { "VNC_INITIALIZED", on_screen_initialized },
    { "VSERPORT_CHANGE", on_port },
    { "WAKEUP", on_wakeup },
    { "WATCHDOG", on_watchdog },
};

/* For clients of the QEMU program: any event, as it came. With lock. */
static void pass_on(Domain *domain, const char *name, JsonObject *data, gint64 seconds,
                    unsigned microseconds)
{
    QemuDomainMonitorEventMsg message = { .event = name,
                                          .seconds = seconds,
                                          .micros = microseconds };
    EventSubject subject = { domain->name, domain->uuid };
    g_autofree char *text = NULL;
    if (data) {
        g_autoptr(JsonNode) node = json_node_init_object(json_node_alloc(), data);
        text = json_to_string(node, FALSE);
        message.details = text;
    }
    domain_to_wire_locked(domain, NULL, &message.dom);
    event_queue_emit_monitor(domain->service->daemon->events, &subject, &message);
}

void monitor_on_event(void *opaque, const char *name, JsonObject *data, gint64 seconds,
                      unsigned microseconds)
{
    Domain *domain = opaque;
    g_mutex_lock(&domain->lock);
    if (domain->runtime) {
        for (unsigned i = 0; i < G_N_ELEMENTS(handlers); i++) {
            if (strcmp(handlers[i].name, name) == 0) {
                handlers[i].handler(domain, data);
            }
        }
        pass_on(domain, name, data, seconds, microseconds);
    }
    g_mutex_unlock(&domain->lock);
}

void monitor_on_closed(void *opaque, const GError *reason)
{
    Domain *domain = opaque;
    g_mutex_lock(&domain->lock);
    QmpClient *monitor = NULL;
    if (domain->runtime && g_error_matches(reason, LODGE_ERROR, LODGE_ERROR_PROTOCOL)) {
        RemoteDomainEventCallbackControlErrorMsg message = { 0 };
        domain_to_wire_locked(domain, NULL, &message.msg.dom);
        EMIT(domain, CONTROL_ERROR, &message);
    }
    if (domain->runtime) {
        monitor = g_steal_pointer(&domain->runtime->monitor);
        log_write(LOG_LEVEL_DEBUG, "domain '%s': %s", domain->name, reason->message);
    }
    g_mutex_unlock(&domain->lock);
    qmp_client_unref(monitor);
}
