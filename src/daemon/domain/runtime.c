/* The monitor and the end of running guests.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/runtime.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "daemon/client.h"
#include "daemon/domain/agent.h"
#include "daemon/domain/helper-process.h"
#include "daemon/domain/host-devices.h"
#include "daemon/domain/json-peer.h"
#include "daemon/domain/macvtap.h"
#include "daemon/domain/monitor-events.h"
#include "daemon/domain/perf.h"
#include "daemon/domain/removal.h"
#include "daemon/domain/tpm.h"
#include "daemon/domain/tuning.h"
#include "daemon/error.h"
#include "daemon/folder.h"
#include "daemon/threads.h"
#include "gbase/error.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONNECT_TIMEOUT_MS 30000
#define VCPUS_MAX 4096
#define TERM_TIMEOUT_MS 15000
#define KILL_TIMEOUT_MS 15000

DomainRuntime *runtime_new(Domain *domain, const char *run_dir, int id)
{
    DomainRuntime *runtime = g_new0(DomainRuntime, 1);
    runtime->process = (GuestProcess)GUEST_PROCESS_NONE;
    /* Socket paths hold 107 bytes: long names are cut, the id tells them apart. */
    g_free(domain->dir);
    domain->dir = g_strdup_printf("%s/qemu/domain-%d-%.20s", run_dir, id, domain->name);
    runtime->monitor_path = g_strdup_printf("%s/monitor.sock", domain->dir);
    runtime->ptys = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    runtime->vcpu_tids = g_array_new(FALSE, TRUE, sizeof(pid_t));
    runtime->helpers = helper_list_new();
    return runtime;
}

void runtime_free(DomainRuntime *runtime)
{
    if (runtime) {
        lodge_assert(!runtime->monitor && !runtime->exit_watch && !runtime->helper_timer);
        process_clear(&runtime->process);
        perf_free(runtime->perf);
        g_free(runtime->monitor_path);
        g_hash_table_unref(runtime->ptys);
        g_array_unref(runtime->vcpu_tids);
        g_ptr_array_unref(runtime->helpers);
        g_free(runtime);
    }
}

void runtime_remove_folder(DomainService *service, const char *path)
{
    macvtap_remove_all(&macvtap_host, path);
    host_devices_return_all(&host_tree, path);
    if (service) {
        removal_take(service, service->daemon->paths.run_dir, path);
    } else {
        folder_remove(path, NULL);
    }
}

/* What the end of the process means for the domain. With lock. */
static void judge_end_locked(Domain *domain, int status, int *out_detail)
{
    const DomainRuntime *runtime = domain->runtime;
    if (runtime->has_failed) {
        domain_set_state_locked(domain, DOMAIN_SHUTOFF, SHUTOFF_FAILED);
        *out_detail = STOPPED_FAILED;
    } else if (runtime->is_destroyed) {
        domain_set_state_locked(domain, DOMAIN_SHUTOFF, SHUTOFF_DESTROYED);
        *out_detail = STOPPED_DESTROYED;
    } else if (runtime->has_crashed) {
        domain_set_state_locked(domain, DOMAIN_SHUTOFF, SHUTOFF_CRASHED);
        *out_detail = STOPPED_CRASHED;
    } else if (runtime->has_shut_down ||
               (status >= 0 && WIFEXITED(status) && !WEXITSTATUS(status))) {
        domain_set_state_locked(domain, DOMAIN_SHUTOFF, SHUTOFF_SHUTDOWN);
        *out_detail = STOPPED_SHUTDOWN;
    } else {
        domain_set_state_locked(domain, DOMAIN_SHUTOFF, SHUTOFF_CRASHED);
        *out_detail = STOPPED_FAILED; /* libvirt's word for an end that nobody announced */
    }
}

/* Its client's end is no business of the domain any more. The loop's thread, without lock. */
static void leave_owner(Domain *domain, DomainRuntime *runtime)
{
    if (runtime->owner && client_off_close(runtime->owner, runtime->owner_handle)) {
        domain_unref(domain); /* the hook's */
    }
    g_clear_pointer(&runtime->owner, client_unref);
}

void runtime_ended(Domain *domain)
{
    g_mutex_lock(&domain->lock);
    DomainRuntime *runtime = domain->runtime;
    if (!runtime) {
        g_mutex_unlock(&domain->lock);
        return;
    }
    loop_unwatch(runtime->exit_watch);
    runtime->exit_watch = NULL;
    helpers_clear(runtime);
    QmpClient *monitor = g_steal_pointer(&runtime->monitor);
    g_autoptr(Cgroup) group = tuning_group_locked(domain);
    int detail = 0;
    judge_end_locked(domain, process_reap(&runtime->process), &detail);
    g_mutex_unlock(&domain->lock);
    if (monitor) {
        qmp_client_close(monitor);
        qmp_client_unref(monitor);
    }
    failpoint("end-before-status");
    status_remove(domain);
    runtime_remove_folder(domain->service, domain->dir);
    cgroup_remove(group);

    g_mutex_lock(&domain->lock);
    domain_emit_locked(domain, EVENT_STOPPED, detail);
    domain->runtime = NULL;
    bool is_gone = !domain->is_persistent;
    g_autoptr(DomainDef) ended = g_steal_pointer(&domain->live);
    g_cond_broadcast(&domain->device_event);
    g_mutex_unlock(&domain->lock);
    leave_owner(domain, runtime);
    runtime_free(runtime);
    if (is_gone && ended) {
        tpm_forget(domain->service->daemon, ended, 0);
    }
    service_deactivate(domain->service, domain);
    if (is_gone) {
        service_remove(domain->service, domain);
    }
    g_mutex_lock(&domain->lock);
    g_cond_broadcast(&domain->job_ended);
    g_mutex_unlock(&domain->lock);
    domain_unref(domain); /* the watch's */
}

/* The process ended while it was being started: that call cleans up. */
static bool leave_to_starter(Domain *domain)
{
    QmpClient *monitor = NULL;
    g_mutex_lock(&domain->lock);
    DomainRuntime *runtime = domain->runtime;
    bool leave = runtime && runtime->is_starting;
    if (leave) {
        loop_unwatch(runtime->exit_watch);
        runtime->exit_watch = NULL;
        runtime->has_ended = true;
        monitor = g_steal_pointer(&runtime->monitor);
    }
    g_mutex_unlock(&domain->lock);
    if (monitor) {
        qmp_client_close(monitor);
        qmp_client_unref(monitor);
    }
    return leave;
}

static void on_exit_ready(void *opaque, uint32_t events)
{
    if (!leave_to_starter(opaque) && !helpers_await_end(opaque)) {
        runtime_ended(opaque);
    }
}

typedef struct WatchCall {
    Domain *domain;
    LoopWatch *watch;
} WatchCall;

static void start_exit_watch(void *opaque)
{
    WatchCall *call = opaque;
    Domain *domain = call->domain;
    EventLoop *loop = domain->service->daemon->loop;
    g_mutex_lock(&domain->lock);
    call->watch = loop_watch(loop, domain->runtime->process.pidfd, EPOLLIN, on_exit_ready, domain);
    domain->runtime->exit_watch = call->watch;
    if (call->watch) {
        helpers_watch_locked(domain);
    }
    g_mutex_unlock(&domain->lock);
}

bool runtime_watch_exit(Domain *domain, GError **error)
{
    WatchCall call = { domain_ref(domain), NULL };
    int err = loop_call_wait(domain->service->daemon->loop, start_exit_watch, &call);
    if (err < 0 || !call.watch) {
        lodge_error_set_errno(error, err ?: ENOMEM, "cannot watch the guest's process");
        domain_unref(domain);
        return false;
    }
    return true;
}

bool runtime_wait_ended(Domain *domain, int timeout_ms)
{
    gint64 until = g_get_monotonic_time() + (gint64)timeout_ms * 1000;
    g_mutex_lock(&domain->lock);
    while ((domain->runtime || domain_is_active_locked(domain)) &&
           g_cond_wait_until(&domain->job_ended, &domain->lock, until)) {
    }
    bool ended = !domain->runtime && !domain_is_active_locked(domain);
    g_mutex_unlock(&domain->lock);
    return ended;
}

bool domain_kill(Domain *domain, bool graceful, GError **error)
{
    g_mutex_lock(&domain->lock);
    bool ok = domain_check_active_locked(domain, error);
    GuestProcess process = GUEST_PROCESS_NONE;
    if (ok && domain->runtime && domain->runtime->process.pidfd >= 0) {
        process.pidfd = dup(domain->runtime->process.pidfd);
        domain->runtime->is_destroyed = true;
    }
    g_mutex_unlock(&domain->lock);
    if (!ok) {
        return false;
    }
    process_signal(&process, graceful ? SIGTERM : SIGKILL);
    int wait_ms = graceful ? TERM_TIMEOUT_MS : KILL_TIMEOUT_MS;
    bool ended = process.pidfd < 0 ||
                 daemon_poll(domain->service->daemon, process.pidfd, POLLIN, wait_ms) > 0;
    cleanup_close(&process.pidfd);
    if (!ended || !runtime_wait_ended(domain, KILL_TIMEOUT_MS)) {
        daemon_error_set(error, DAEMON_ERROR_RESOURCE_BUSY,
                         "Failed to terminate the guest's process: it did not end %s",
                         graceful ? "within 15 seconds after SIGTERM" : "although it was killed");
        return false;
    }
    return true;
}

int runtime_connect_unix(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof(address.sun_path)) {
        return -ENAMETOOLONG;
    }
    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    autofd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        return -errno;
    }
    return steal_fd(&fd);
}

static const QmpClientOps monitor_ops = {
    .event = monitor_on_event,
    .closed = monitor_on_closed,
};

bool runtime_connect_monitor(Domain *domain, GError **error)
{
    /* An adopted guest may end at any time. */
    g_mutex_lock(&domain->lock);
    DomainRuntime *runtime = domain->runtime;
    g_autofree char *path = runtime ? g_strdup(runtime->monitor_path) : NULL;
    g_autofree char *name = g_strdup(domain->name);
    g_autofree char *emulator = domain->live ? g_strdup(domain->live->emulator) : NULL;
    g_mutex_unlock(&domain->lock);
    if (!path) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_FAILED, "the guest's process ended");
        return false;
    }
    int fd = runtime_connect_unix(path);
    if (fd < 0) {
        lodge_error_set_errno(error, fd, "cannot connect to the monitor '%s'", path);
        return false;
    }
    EventLoop *loop = domain->service->daemon->loop;
    g_autoptr(QmpClient) monitor = qmp_client_new(loop, fd, &monitor_ops, domain, error);
    if (!monitor) {
        return false;
    }
    qmp_client_set_peer(monitor, name, emulator);
    g_mutex_lock(&domain->lock);
    bool is_alive = domain->runtime == runtime;
    if (is_alive) {
        runtime->monitor = qmp_client_ref(monitor);
    }
    g_mutex_unlock(&domain->lock);
    if (!is_alive) {
        qmp_client_close(monitor);
        daemon_error_set(error, DAEMON_ERROR_OPERATION_FAILED, "the guest's process ended");
        return false;
    }
    return qmp_client_await_greeting(monitor, CONNECT_TIMEOUT_MS, error);
}

static void note_status_locked(Domain *domain, JsonObject *status)
{
    const char *name = json_peer_string(status, "status");
    bool is_running = json_peer_bool(status, "running", false);
    DomainState state = is_running ? DOMAIN_RUNNING : DOMAIN_PAUSED;
    int reason = is_running ? domain->reason : PAUSED_UNKNOWN;
    if (g_strcmp0(name, "shutdown") == 0) {
        state = DOMAIN_SHUTDOWN;
        reason = SHUTDOWN_USER;
    } else if (g_strcmp0(name, "guest-panicked") == 0) {
        state = DOMAIN_CRASHED;
        reason = CRASHED_PANICKED;
    } else if (g_strcmp0(name, "suspended") == 0) {
        state = DOMAIN_PMSUSPENDED;
        reason = PMSUSPENDED_UNKNOWN;
    } else if (g_strcmp0(name, "io-error") == 0) {
        reason = PAUSED_IOERROR;
    }
    if (state != domain->state) {
        domain_set_state_locked(domain, state, is_running ? RUNNING_UNPAUSED : reason);
    }
}

static void note_vcpus_locked(DomainRuntime *runtime, JsonArray *cpus)
{
    g_array_set_size(runtime->vcpu_tids, 0);
    for (guint i = 0; cpus && i < json_array_get_length(cpus) && i < VCPUS_MAX; i++) {
        JsonObject *cpu = json_peer_element(cpus, i);
        gint64 index = json_peer_int(cpu, "cpu-index", i);
        if (index < 0 || index >= VCPUS_MAX) {
            continue;
        }
        if (index >= runtime->vcpu_tids->len) {
            g_array_set_size(runtime->vcpu_tids, (guint)index + 1);
        }
        g_array_index(runtime->vcpu_tids, pid_t, index) = (pid_t)json_peer_int(cpu, "thread-id", 0);
    }
}

/* Whether a program in the guest has the channel open. lodge-vmm tells that by events alone. */
static void note_channel_locked(Domain *domain, const char *alias, bool is_open, bool is_start)
{
    DomainDevice *device = domain->live ? domain_def_find_alias(domain->live, alias) : NULL;
    if (!device || device->kind != DEVICE_CHANNEL) {
        return;
    }
    DomainCharDevice *channel = (DomainCharDevice *)device;
    if (domain->engine == ENGINE_QEMU || channel->channel_state == CHANNEL_STATE_NONE) {
        channel->channel_state =
            is_open && domain->engine == ENGINE_QEMU ? CHANNEL_CONNECTED : CHANNEL_DISCONNECTED;
    }
    if (is_start && g_strcmp0(channel->channel_name, AGENT_CHANNEL) == 0) {
        monitor_emit_agent_locked(domain, channel->channel_state == CHANNEL_CONNECTED,
                                  AGENT_REASON_STARTED);
    }
}

/* A chardev "pty:/dev/pts/N" belongs to the device that its label "charALIAS" names. */
static void note_chardevs_locked(Domain *domain, JsonArray *chardevs, bool is_start)
{
    DomainRuntime *runtime = domain->runtime;
    for (guint i = 0; chardevs && i < json_array_get_length(chardevs); i++) {
        JsonObject *chardev = json_peer_element(chardevs, i);
        const char *label = json_peer_string(chardev, "label");
        const char *file = json_peer_string(chardev, "filename");
        if (!label || !g_str_has_prefix(label, "char")) {
            continue;
        }
        if (file && g_str_has_prefix(file, "pty:/dev/pts/")) {
            g_hash_table_replace(runtime->ptys, g_strdup(label + 4), g_strdup(file + 4));
        }
        note_channel_locked(domain, label + 4, json_peer_bool(chardev, "frontend-open", false),
                            is_start);
    }
}

static JsonArray *array_of(JsonNode *node)
{
    return node && JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;
}

static JsonObject *object_of(JsonNode *node)
{
    return node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
}

enum { CAPABILITIES, CHARDEVS, CPUS, STATUS, BALLOON, QUERIES };

/* Asks, in one round. False with @error when what must be answered is not. */
static bool ask(Domain *domain, RefreshKind kind, JsonNode **answers, GError **error)
{
    static const char *const names[QUERIES + 1] = { "qmp_capabilities", "query-chardev",
                                                    "query-cpus-fast",  "query-status",
                                                    "query-balloon",    NULL };
    g_autoptr(QmpClient) monitor = domain_get_monitor(domain, error);
    if (!monitor) {
        return false;
    }
    /* A guest that has just been made is known to wait, with all of its memory. */
    const char *started[] = { names[CAPABILITIES], names[CHARDEVS], names[CPUS], NULL };
    unsigned first = kind == REFRESH_CONNECTED ? CHARDEVS : CAPABILITIES;
    if (!qmp_client_query(monitor, kind == REFRESH_STARTED ? started : names + first,
                          answers + first, QMP_TIMEOUT_MS, error)) {
        return false;
    }
    for (unsigned i = first; i <= (kind == REFRESH_STARTED ? CPUS : STATUS); i++) {
        if (!answers[i]) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_PROTOCOL, "monitor command '%s' failed",
                        names[i]);
            return false;
        }
    }
    return true;
}

bool runtime_refresh(Domain *domain, RefreshKind kind, GError **error)
{
    JsonNode *answers[QUERIES] = { NULL };
    bool ok = ask(domain, kind, answers, error);
    g_mutex_lock(&domain->lock);
    DomainRuntime *runtime = domain->runtime;
    if (ok && runtime) {
        note_chardevs_locked(domain, array_of(answers[CHARDEVS]), kind == REFRESH_STARTED);
        note_vcpus_locked(runtime, array_of(answers[CPUS]));
        if (object_of(answers[STATUS])) {
            note_status_locked(domain, object_of(answers[STATUS]));
        }
        if (object_of(answers[BALLOON])) {
            gint64 bytes = json_peer_int(object_of(answers[BALLOON]), "actual", 0);
            runtime->balloon_kib = (guint64)MAX(bytes, 0) / 1024;
        }
    }
    g_mutex_unlock(&domain->lock);
    for (unsigned i = 0; i < QUERIES; i++) {
        g_clear_pointer(&answers[i], json_node_unref);
    }
    return ok;
}
