/* Procedures that reach into a running guest: consoles, channels, its monitor.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "daemon/domain/handlers.h"
#include "daemon/domain/json-peer.h"
#include "daemon/domain/runtime.h"
#include "daemon/stream.h"
#include "gbase/error.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

/* --- consoles and channels --- */

enum { CONSOLE_FORCE = 1, CONSOLE_SAFE = 2 };

/* A client at a device's other end. */
typedef struct OpenConsole {
    gint refs; /* atomic: the stream's, and those that want it to end */
    Domain *domain;
    char *alias;
    DaemonStream *stream; /* on the loop's thread; NULL: closed */
} OpenConsole;

static void console_unref(OpenConsole *console)
{
    if (g_atomic_int_dec_and_test(&console->refs)) {
        domain_unref(console->domain);
        g_free(console->alias);
        g_free(console);
    }
}

static void console_closed(void *opaque)
{
    OpenConsole *console = opaque;
    GHashTable *open = console->domain->open_consoles;
    g_mutex_lock(&console->domain->lock);
    /* Another may have taken it over. */
    if (g_hash_table_lookup(open, console->alias) == console) {
        g_hash_table_remove(open, console->alias);
    }
    g_mutex_unlock(&console->domain->lock);
    console->stream = NULL;
    console_unref(console);
}

/* The loop's thread. */
static void take_away(void *opaque)
{
    OpenConsole *console = opaque;
    EventLoop *loop = console->domain->service->daemon->loop;
    if (console->stream && !stream_is_started(console->stream)) {
        if (loop_call(loop, take_away, console) == 0) {
            return; /* its reply is on the way */
        }
    } else if (console->stream) {
        GError *error = NULL;
        daemon_error_set(&error, DAEMON_ERROR_OPERATION_FAILED,
                         "operation failed: another client took the console over");
        stream_fail(console->stream, error);
    }
    console_unref(console);
}

/* Enters @console as the one of its device. False with @error: there is one, and no force. */
static bool take_console_locked(OpenConsole *console, unsigned flags, GError **error)
{
    Domain *domain = console->domain;
    if (!domain->open_consoles) {
        domain->open_consoles = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    }
    OpenConsole *before = g_hash_table_lookup(domain->open_consoles, console->alias);
    if (before && !(flags & CONSOLE_FORCE)) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_FAILED,
                         "operation failed: Active console session exists for this domain");
        return false;
    }
    if (before) {
        g_atomic_int_inc(&before->refs);
        if (loop_call(domain->service->daemon->loop, take_away, before) < 0) {
            console_unref(before);
        }
    }
    g_hash_table_replace(domain->open_consoles, g_strdup(console->alias), console);
    return true;
}

static DomainCharDevice *find_in(const DomainDef *def, DomainDeviceKind kind, const char *name)
{
    const XmlList *list = &def->devices[kind];
    for (unsigned i = 0; i < list->count; i++) {
        DomainCharDevice *device = list->item[i];
        if (!name || g_strcmp0(device->device.alias, name) == 0 ||
            (kind == DEVICE_CHANNEL && g_strcmp0(device->channel_name, name) == 0)) {
            return device;
        }
    }
    return NULL;
}

/* A terminal that hands bytes on as they are. */
static int open_pty(const char *path, GError **error)
{
    int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    struct termios settings;
    if (fd < 0) {
        lodge_error_set_errno(error, errno, "cannot open '%s'", path);
    } else if (tcgetattr(fd, &settings) == 0) {
        cfmakeraw(&settings);
        tcsetattr(fd, TCSANOW, &settings);
    }
    return fd;
}

static int open_socket(const char *path, GError **error)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    /* The lock is held: who listens and does not accept is not waited for. */
    autofd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        lodge_error_set_errno(error, errno, "cannot connect to '%s'", path);
        return -1;
    }
    return steal_fd(&fd);
}

static int open_source(const DomainChardev *source, const char *what, GError **error)
{
    if (source->type == CHARDEV_PTY && source->path) {
        return open_pty(source->path, error);
    }
    if (source->type == CHARDEV_UNIX && source->path) {
        return open_socket(source->path, error);
    }
    daemon_error_set(error, DAEMON_ERROR_OPERATION_FAILED,
                     "internal error: character device %s is not using a PTY or UNIX socket", what);
    return -1;
}

static DomainCharDevice *find_device_locked(Domain *domain, const char *name, bool is_channel,
                                            GError **error)
{
    DomainCharDevice *device = NULL;
    if (!domain_check_active_locked(domain, error)) {
        return NULL;
    }
    if (domain->live && is_channel) {
        device = find_in(domain->live, DEVICE_CHANNEL, name);
    } else if (domain->live) {
        static const DomainDeviceKind kinds[] = { DEVICE_CONSOLE, DEVICE_SERIAL, DEVICE_PARALLEL };
        for (unsigned i = 0; !device && i < G_N_ELEMENTS(kinds); i++) {
            device = find_in(domain->live, kinds[i], name);
        }
    }
    if (!device) {
        daemon_error_set(error, DAEMON_ERROR_INTERNAL, "internal error: cannot find %s '%s'",
                         is_channel ? "channel" : "character device", name ?: "(default)");
    }
    return device;
}

static bool open_chardev(DaemonCall *call, Domain *domain, const char *name, bool is_channel,
                         unsigned flags, GError **error)
{
    OpenConsole *console = NULL;
    bool ok = false;
    /* Under the lock until it has its stream, so that who takes it away finds that. */
    g_mutex_lock(&domain->lock);
    DomainCharDevice *device = find_device_locked(domain, name, is_channel, error);
    if (device) {
        console = g_new0(OpenConsole, 1);
        console->refs = 1;
        console->domain = domain_ref(domain);
        console->alias = g_strdup(device->device.alias ?: "none");
        int fd = take_console_locked(console, flags, error)
                     ? open_source(&device->source, console->alias, error)
                     : -1;
        ok = fd >= 0 && call_open_fd_stream(call, fd, STREAM_FD_TO_CLIENT | STREAM_FD_TO_FD, 0,
                                            console_closed, console, error);
        console->stream = ok ? call_stream(call) : NULL;
    }
    g_mutex_unlock(&domain->lock);
    if (!ok && console) {
        console_closed(console);
    }
    return ok;
}

bool handle_domain_open_console(DaemonCall *call, const RemoteDomainOpenConsoleArgs *args,
                                GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    return domain && daemon_check_flags(args->flags, CONSOLE_FORCE | CONSOLE_SAFE, error) &&
           open_chardev(call, domain, args->dev_name, false, args->flags, error);
}

bool handle_domain_open_channel(DaemonCall *call, const RemoteDomainOpenChannelArgs *args,
                                GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    return domain && daemon_check_flags(args->flags, CONSOLE_FORCE, error) &&
           open_chardev(call, domain, args->name, true, args->flags, error);
}

/* --- the monitor itself --- */

enum { MONITOR_DEFAULT = 0, MONITOR_HMP = 1 };

/* @cmd as the client sent it, to the monitor; the answer as text (transfer full). @fd: -1 or goes
 * along. */
static char *send_command(DaemonCall *call, const RemoteDomain *dom, const char *cmd, bool is_hmp,
                          int fd, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, dom, error);
    JsonObject *message = NULL;
    if (domain && is_hmp) {
        message = qmp_object("s:execute", "human-monitor-command", "o:arguments",
                             qmp_object("s:command-line", cmd, NULL), NULL);
    } else if (domain) {
        g_autoptr(GError) reason = NULL;
        message = json_peer_parse(cmd, strlen(cmd), &reason);
        if (!message) {
            daemon_error_set(error, DAEMON_ERROR_INTERNAL, "internal error: cannot parse json: %s",
                             reason->message);
        }
    }
    G_GNUC_UNUSED g_autoptr(JsonObject) owned = message;
    g_autoptr(QmpClient) monitor =
        message ? domain_begin_monitor_job(domain, "monitor", error) : NULL;
    if (!monitor) {
        return NULL;
    }
    g_mutex_lock(&domain->lock);
    if (domain->runtime) {
        domain->runtime->has_foreign_commands = true;
    }
    g_mutex_unlock(&domain->lock);
    char *answer = qmp_client_raw(monitor, message, fd, QMP_TIMEOUT_MS, error);
    domain_end_job(domain);
    if (answer && is_hmp) {
        g_autoptr(JsonObject) object = json_peer_parse(answer, strlen(answer), NULL);
        const char *text = json_peer_string(object, "return");
        g_autofree char *raw = answer;
        answer = g_strdup(text ?: raw);
    }
    return answer;
}

bool handle_qemu_domain_monitor_command(DaemonCall *call, const QemuDomainMonitorCommandArgs *args,
                                        QemuDomainMonitorCommandRet *ret, GError **error)
{
    if (!daemon_check_flags(args->flags, MONITOR_HMP, error)) {
        return false;
    }
    char *answer = send_command(call, &args->dom, args->cmd, args->flags & MONITOR_HMP, -1, error);
    ret->result = answer ? arena_take(call_arena(call), answer, g_free) : NULL;
    return answer != NULL;
}

/* No command of a monitor sends descriptors back. */
bool handle_qemu_domain_monitor_command_with_files(
    DaemonCall *call, const QemuDomainMonitorCommandWithFilesArgs *args,
    QemuDomainMonitorCommandWithFilesRet *ret, GError **error)
{
    if (!daemon_check_flags(args->flags, MONITOR_HMP, error)) {
        return false;
    }
    if (call_n_fds(call) > 1) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: a command takes one file descriptor along, not %u",
                         call_n_fds(call));
        return false;
    }
    autofd fd = call_take_fd(call, 0);
    char *answer = send_command(call, &args->dom, args->cmd, args->flags & MONITOR_HMP, fd, error);
    ret->result = answer ? arena_take(call_arena(call), answer, g_free) : NULL;
    return answer != NULL;
}

static const DispatchEntry entries[] = {
    HANDLER(domain_open_channel),
    HANDLER(domain_open_console),
    HANDLER(qemu_domain_monitor_command),
    HANDLER(qemu_domain_monitor_command_with_files),
};

const DaemonModule domain_guest_module = {
    .name = "domain-guest",
    .handlers = entries,
    .n_handlers = G_N_ELEMENTS(entries),
};
