/* Each kind of event as virsh words it.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/event-text.h"

#include "cli/tools.h"

#include <inttypes.h>
#include <string.h>

/* The word of a number in a list that ends with NULL. */
static const char *word_of(const char *const *words, int number)
{
    for (int i = 0; words[i]; i++) {
        if (i == number) {
            return words[i];
        }
    }
    return "unknown";
}

static void lifecycle(const void *message, GString *out)
{
    static const char *const events[] = { "Defined", "Undefined", "Started",  "Suspended",
                                          "Resumed", "Stopped",   "Shutdown", "PMSuspended",
                                          "Crashed", NULL };
    static const char *const details[][12] = {
        { "Added", "Updated", "Renamed", "Snapshot" },
        { "Removed", "Renamed" },
        { "Booted", "Migrated", "Restored", "Snapshot", "Event wakeup" },
        { "Paused", "Migrated", "I/O Error", "Watchdog", "Restored", "Snapshot", "API error",
          "Post-copy", "Post-copy Error" },
        { "Unpaused", "Migrated", "Snapshot", "Post-copy", "Post-copy Error" },
        { "Shutdown", "Destroyed", "Crashed", "Migrated", "Saved", "Failed", "Snapshot" },
        { "Finished", "Finished after guest request", "Finished after host request" },
        { "Memory", "Disk" },
        { "Panicked", "Crashloaded" },
    };
    const RemoteDomainEventLifecycleMsg *msg =
        &((const RemoteDomainEventCallbackLifecycleMsg *)message)->msg;
    bool is_known = msg->event >= 0 && msg->event < (int)G_N_ELEMENTS(details);
    g_string_append_printf(out, ": %s %s", word_of(events, msg->event),
                           is_known ? word_of(details[msg->event], msg->detail) : "unknown");
}

static void rtc_change(const void *message, GString *out)
{
    const RemoteDomainEventCallbackRtcChangeMsg *msg = message;
    g_string_append_printf(out, ": %" PRId64, msg->msg.offset);
}

static void watchdog(const void *message, GString *out)
{
    static const char *const actions[] = { "none",     "pause", "reset",      "poweroff",
                                           "shutdown", "debug", "inject-nmi", NULL };
    const RemoteDomainEventCallbackWatchdogMsg *msg = message;
    g_string_append_printf(out, ": %s", word_of(actions, msg->msg.action));
}

static const char *const io_error_actions[] = { "none", "pause", "report", NULL };

static void io_error(const void *message, GString *out)
{
    const RemoteDomainEventIoErrorMsg *msg =
        &((const RemoteDomainEventCallbackIoErrorMsg *)message)->msg;
    g_string_append_printf(out, ": %s (%s) %s", msg->src_path, msg->dev_alias,
                           word_of(io_error_actions, msg->action));
}

static void io_error_reason(const void *message, GString *out)
{
    const RemoteDomainEventIoErrorReasonMsg *msg =
        &((const RemoteDomainEventCallbackIoErrorReasonMsg *)message)->msg;
    g_string_append_printf(out, ": %s (%s) %s due to %s", msg->src_path, msg->dev_alias,
                           word_of(io_error_actions, msg->action), msg->reason);
}

static void graphics(const void *message, GString *out)
{
    static const char *const phases[] = { "connect", "initialize", "disconnect", NULL };
    static const char *const families[] = { "IPv4", "IPv6", "unix", NULL };
    const RemoteDomainEventGraphicsMsg *msg =
        &((const RemoteDomainEventCallbackGraphicsMsg *)message)->msg;
    g_string_append_printf(out, ": %s local[%s %s %s] remote[%s %s %s] %s",
                           word_of(phases, msg->phase), word_of(families, msg->local.family),
                           msg->local.node, msg->local.service,
                           word_of(families, msg->remote.family), msg->remote.node,
                           msg->remote.service, msg->auth_scheme);
    for (uint32_t i = 0; i < msg->n_subject; i++) {
        g_string_append_printf(out, "\n\t%s=%s", msg->subject[i].type, msg->subject[i].name);
    }
}

static void describe_job(const char *path, int type, int status, GString *out)
{
    static const char *const types[] = {
        "Unknown job",         "Block Pull", "Block Copy", "Block Commit",
        "Active Block Commit", "Backup",     NULL
    };
    static const char *const states[] = { "completed", "failed", "canceled", "ready", NULL };
    g_string_append_printf(out, ": %s for %s %s", word_of(types, type), path,
                           word_of(states, status));
}

static void block_job(const void *message, GString *out)
{
    const RemoteDomainEventCallbackBlockJobMsg *msg = message;
    describe_job(msg->msg.path, msg->msg.type, msg->msg.status, out);
}

static void block_job_2(const void *message, GString *out)
{
    const RemoteDomainEventBlockJob2Msg *msg = message;
    describe_job(msg->dst, msg->type, msg->status, out);
}

static void disk_change(const void *message, GString *out)
{
    static const char *const reasons[] = { "missing on start", "dropped on start", NULL };
    const RemoteDomainEventDiskChangeMsg *msg =
        &((const RemoteDomainEventCallbackDiskChangeMsg *)message)->msg;
    g_string_append_printf(
        out, " disk %s: %s -> %s: %s", msg->dev_alias, msg->old_src_path ? msg->old_src_path : "",
        msg->new_src_path ? msg->new_src_path : "", word_of(reasons, msg->reason));
}

static void tray_change(const void *message, GString *out)
{
    static const char *const reasons[] = { "opened", "closed", NULL };
    const RemoteDomainEventCallbackTrayChangeMsg *msg = message;
    g_string_append_printf(out, " disk %s: %s", msg->msg.dev_alias,
                           word_of(reasons, msg->msg.reason));
}

static void balloon_change(const void *message, GString *out)
{
    const RemoteDomainEventCallbackBalloonChangeMsg *msg = message;
    g_string_append_printf(out, ": %" PRIu64 "KiB", msg->msg.actual);
}

static void device_removed(const void *message, GString *out)
{
    const RemoteDomainEventCallbackDeviceRemovedMsg *msg = message;
    g_string_append_printf(out, ": %s", msg->msg.dev_alias);
}

static void device_added(const void *message, GString *out)
{
    const RemoteDomainEventCallbackDeviceAddedMsg *msg = message;
    g_string_append_printf(out, ": %s", msg->dev_alias);
}

static void device_removal_failed(const void *message, GString *out)
{
    const RemoteDomainEventCallbackDeviceRemovalFailedMsg *msg = message;
    g_string_append_printf(out, ": %s", msg->dev_alias);
}

static void describe_params(const TypedParam *params, uint32_t count, GString *out)
{
    g_string_append_c(out, ':');
    for (uint32_t i = 0; i < count; i++) {
        g_autofree char *text = cli_param_text(&params[i]);
        g_string_append_printf(out, "\n\t%s: %s", params[i].field, text);
    }
}

static void tunable(const void *message, GString *out)
{
    const RemoteDomainEventCallbackTunableMsg *msg = message;
    describe_params(msg->params, msg->n_params, out);
}

static void job_completed(const void *message, GString *out)
{
    const RemoteDomainEventCallbackJobCompletedMsg *msg = message;
    describe_params(msg->params, msg->n_params, out);
}

static void agent_lifecycle(const void *message, GString *out)
{
    static const char *const states[] = { "unknown", "connected", "disconnected", NULL };
    static const char *const reasons[] = { "unknown", "domain started", "channel event", NULL };
    const RemoteDomainEventCallbackAgentLifecycleMsg *msg = message;
    g_string_append_printf(out, ": state: '%s' reason: '%s'", word_of(states, msg->state),
                           word_of(reasons, msg->reason));
}

static void migration_iteration(const void *message, GString *out)
{
    const RemoteDomainEventCallbackMigrationIterationMsg *msg = message;
    g_string_append_printf(out, ": iteration: '%d'", msg->iteration);
}

static void metadata_change(const void *message, GString *out)
{
    static const char *const types[] = { "description", "title", "element", NULL };
    const RemoteDomainEventCallbackMetadataChangeMsg *msg = message;
    g_string_append_printf(out, ": type %s, uri %s", word_of(types, msg->type),
                           msg->nsuri ? msg->nsuri : "<null>");
}

static void block_threshold(const void *message, GString *out)
{
    const RemoteDomainEventBlockThresholdMsg *msg = message;
    g_string_append_printf(out, ": dev: %s(%s) %" PRIu64 " %" PRIu64, msg->dev,
                           msg->path ? msg->path : "", msg->threshold, msg->excess);
}

static void memory_failure(const void *message, GString *out)
{
    static const char *const recipients[] = { "hypervisor", "guest", NULL };
    static const char *const actions[] = { "ignore", "inject", "fatal", "reset", NULL };
    const RemoteDomainEventMemoryFailureMsg *msg = message;
    g_string_append_printf(out, ":\nrecipient: %s\naction: %s", word_of(recipients, msg->recipient),
                           word_of(actions, msg->action));
    g_string_append_printf(out, "\naction required: %d\nrecursive: %d", (msg->flags & 1) != 0,
                           (msg->flags & 2) != 0);
}

static void memory_size(const void *message, GString *out)
{
    const RemoteDomainEventMemoryDeviceSizeChangeMsg *msg = message;
    g_string_append_printf(out, ":\nalias: %s\nsize: %" PRIu64, msg->alias, msg->size);
}

#define CALLBACK(name) REMOTE_PROC_DOMAIN_EVENT_CALLBACK_##name

const EventKind event_kinds[] = {
    { 0, "lifecycle", CALLBACK(LIFECYCLE), lifecycle },
    { 1, "reboot", CALLBACK(REBOOT), NULL },
    { 2, "rtc-change", CALLBACK(RTC_CHANGE), rtc_change },
    { 3, "watchdog", CALLBACK(WATCHDOG), watchdog },
    { 4, "io-error", CALLBACK(IO_ERROR), io_error },
    { 5, "graphics", CALLBACK(GRAPHICS), graphics },
    { 6, "io-error-reason", CALLBACK(IO_ERROR_REASON), io_error_reason },
    { 7, "control-error", CALLBACK(CONTROL_ERROR), NULL },
    { 8, "block-job", CALLBACK(BLOCK_JOB), block_job },
    { 9, "disk-change", CALLBACK(DISK_CHANGE), disk_change },
    { 10, "tray-change", CALLBACK(TRAY_CHANGE), tray_change },
    { 11, "pm-wakeup", CALLBACK(PMWAKEUP), NULL },
    { 12, "pm-suspend", CALLBACK(PMSUSPEND), NULL },
    { 13, "balloon-change", CALLBACK(BALLOON_CHANGE), balloon_change },
    { 14, "pm-suspend-disk", CALLBACK(PMSUSPEND_DISK), NULL },
    { 15, "device-removed", CALLBACK(DEVICE_REMOVED), device_removed },
    { 16, "block-job-2", REMOTE_PROC_DOMAIN_EVENT_BLOCK_JOB_2, block_job_2 },
    { 17, "tunable", CALLBACK(TUNABLE), tunable },
    { 18, "agent-lifecycle", CALLBACK(AGENT_LIFECYCLE), agent_lifecycle },
    { 19, "device-added", CALLBACK(DEVICE_ADDED), device_added },
    { 20, "migration-iteration", CALLBACK(MIGRATION_ITERATION), migration_iteration },
    { 21, "job-completed", CALLBACK(JOB_COMPLETED), job_completed },
    { 22, "device-removal-failed", CALLBACK(DEVICE_REMOVAL_FAILED), device_removal_failed },
    { 23, "metadata-change", CALLBACK(METADATA_CHANGE), metadata_change },
    { 24, "block-threshold", REMOTE_PROC_DOMAIN_EVENT_BLOCK_THRESHOLD, block_threshold },
    { 25, "memory-failure", REMOTE_PROC_DOMAIN_EVENT_MEMORY_FAILURE, memory_failure },
    { 26, "memory-device-size-change", REMOTE_PROC_DOMAIN_EVENT_MEMORY_DEVICE_SIZE_CHANGE,
      memory_size },
};
const unsigned event_kind_count = G_N_ELEMENTS(event_kinds);

const EventKind *event_kind_find(const char *name)
{
    for (unsigned i = 0; i < event_kind_count; i++) {
        if (strcmp(event_kinds[i].name, name) == 0) {
            return &event_kinds[i];
        }
    }
    return NULL;
}

const EventKind *event_kind_of(uint32_t procedure)
{
    for (unsigned i = 0; i < event_kind_count; i++) {
        if (event_kinds[i].procedure == procedure) {
            return &event_kinds[i];
        }
    }
    return NULL;
}
