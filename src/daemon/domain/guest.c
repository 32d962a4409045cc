/* Procedures that reach into a running guest: consoles, channels, keys, screens, its monitor.
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
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

/* --- consoles and channels --- */

enum { CONSOLE_FORCE = 1, CONSOLE_SAFE = 2 };

typedef struct OpenConsole {
    Domain *domain;
    char *alias;
} OpenConsole;

static void console_closed(void *opaque)
{
    OpenConsole *console = opaque;
    g_mutex_lock(&console->domain->lock);
    if (console->domain->open_consoles) {
        g_hash_table_remove(console->domain->open_consoles, console->alias);
    }
    g_mutex_unlock(&console->domain->lock);
    domain_unref(console->domain);
    g_free(console->alias);
    g_free(console);
}

static bool take_console_locked(Domain *domain, const char *alias, unsigned flags, GError **error)
{
    if (!domain->open_consoles) {
        domain->open_consoles = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    }
    if (g_hash_table_contains(domain->open_consoles, alias) && !(flags & CONSOLE_FORCE)) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_FAILED,
                         "operation failed: Active console session exists for this domain");
        return false;
    }
    g_hash_table_add(domain->open_consoles, g_strdup(alias));
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
    autofd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
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

static bool open_chardev(DaemonCall *call, Domain *domain, const char *name, bool is_channel,
                         unsigned flags, GError **error)
{
    g_mutex_lock(&domain->lock);
    int fd = -1;
    OpenConsole *console = NULL;
    if (domain_check_active_locked(domain, error) && domain->live) {
        DomainCharDevice *device = NULL;
        if (is_channel) {
            device = find_in(domain->live, DEVICE_CHANNEL, name);
        } else {
            device = find_in(domain->live, DEVICE_CONSOLE, name);
            device = device ? device : find_in(domain->live, DEVICE_SERIAL, name);
        }
        const char *alias = device && device->device.alias ? device->device.alias : "none";
        if (!device) {
            daemon_error_set(error, DAEMON_ERROR_INTERNAL, "internal error: cannot find %s '%s'",
                             is_channel ? "channel" : "character device", name ?: "(default)");
        } else if (take_console_locked(domain, alias, flags, error)) {
            fd = open_source(&device->source, alias, error);
            console = g_new0(OpenConsole, 1);
            console->domain = domain_ref(domain);
            console->alias = g_strdup(alias);
        }
    }
    g_mutex_unlock(&domain->lock);
    if (fd < 0 || !call_open_fd_stream(call, fd, STREAM_FD_TO_CLIENT | STREAM_FD_TO_FD, 0,
                                       console_closed, console, error)) {
        if (console) {
            console_closed(console);
        }
        return false;
    }
    return true;
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

bool handle_qemu_domain_monitor_command(DaemonCall *call, const QemuDomainMonitorCommandArgs *args,
                                        QemuDomainMonitorCommandRet *ret, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain || !daemon_check_flags(args->flags, MONITOR_HMP, error)) {
        return false;
    }
    JsonObject *message;
    if (args->flags & MONITOR_HMP) {
        message = qmp_object("s:execute", "human-monitor-command", "o:arguments",
                             qmp_object("s:command-line", args->cmd, NULL), NULL);
    } else {
        g_autoptr(GError) reason = NULL;
        message = json_peer_parse(args->cmd, strlen(args->cmd), &reason);
        if (!message) {
            daemon_error_set(error, DAEMON_ERROR_INTERNAL, "internal error: cannot parse json: %s",
                             reason->message);
        }
    }
    G_GNUC_UNUSED g_autoptr(JsonObject) owned = message;
    g_autoptr(QmpClient) monitor =
        message ? domain_begin_monitor_job(domain, "monitor", error) : NULL;
    if (!monitor) {
        return false;
    }
    char *answer = qmp_client_raw(monitor, message, QMP_TIMEOUT_MS, error);
    domain_end_job(domain);
    if (answer && (args->flags & MONITOR_HMP)) {
        g_autoptr(JsonObject) object = json_peer_parse(answer, strlen(answer), NULL);
        const char *text = json_peer_string(object, "return");
        g_autofree char *raw = answer;
        answer = g_strdup(text ?: raw);
    }
    ret->result = answer ? arena_take(call_arena(call), answer, g_free) : NULL;
    return answer != NULL;
}

/* --- keys --- */

/* Linux' input codes are QEMU's "qnum" for the first 83 keys. */
enum { CODESET_LINUX = 0, CODESET_XT = 1, CODESET_QNUM = 9, CODESETS = 10 };

bool handle_domain_send_key(DaemonCall *call, const RemoteDomainSendKeyArgs *args, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain || !daemon_check_flags(args->flags, 0, error)) {
        return false;
    }
    if (args->codeset >= CODESETS || args->n_keycodes == 0) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG, "unsupported codeset %u", args->codeset);
        return false;
    }
    if (args->codeset != CODESET_LINUX && args->codeset != CODESET_XT &&
        args->codeset != CODESET_QNUM) {
        daemon_error_set(error, DAEMON_ERROR_ARGUMENT_UNSUPPORTED,
                         "keys of codeset %u are not translated; use 'linux' or 'qnum'",
                         args->codeset);
        return false;
    }
    JsonArray *keys = json_array_new();
    for (uint32_t i = 0; i < args->n_keycodes; i++) {
        json_array_add_object_element(
            keys, qmp_object("s:type", "number", "i:data", (gint64)args->keycodes[i], NULL));
    }
    JsonObject *arguments = qmp_object("a:keys", keys, NULL);
    if (args->holdtime) {
        json_object_set_int_member(arguments, "hold-time", args->holdtime);
    }
    g_autoptr(QmpClient) monitor = domain_begin_monitor_job(domain, "send-key", error);
    if (!monitor) {
        json_object_unref(arguments);
        return false;
    }
    bool ok = qmp_client_run(monitor, "send-key", arguments, error);
    domain_end_job(domain);
    return ok;
}

/* --- screens --- */

/* Into memory that is handed over: the guest's user may have no folder to write to. Returns: a
 * descriptor to read it from (transfer full), or -1 with @error. */
static int take_screenshot(QmpClient *monitor, GError **error)
{
    autofd picture = memfd_create("screenshot", MFD_CLOEXEC);
    g_autofree char *own = g_strdup_printf("/proc/self/fd/%d", picture);
    autofd writer = picture >= 0 ? open(own, O_WRONLY | O_CLOEXEC) : -1;
    if (writer < 0) {
        lodge_error_set_errno(error, errno, "cannot make room for a screenshot");
        return -1;
    }
    g_autoptr(JsonNode) added =
        qmp_client_call(monitor, "add-fd", NULL, writer, QMP_TIMEOUT_MS, error);
    if (!added || !JSON_NODE_HOLDS_OBJECT(added)) {
        return -1;
    }
    gint64 set = json_peer_int(json_node_get_object(added), "fdset-id", -1);
    g_autofree char *path = g_strdup_printf("/dev/fdset/%" G_GINT64_FORMAT, set);
    bool ok = qmp_client_run(monitor, "screendump", qmp_object("s:filename", path, NULL), error);
    qmp_client_run(monitor, "remove-fd", qmp_object("i:fdset-id", set, NULL), NULL);
    return ok ? steal_fd(&picture) : -1;
}

bool handle_domain_screenshot(DaemonCall *call, const RemoteDomainScreenshotArgs *args,
                              RemoteDomainScreenshotRet *ret, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    g_autoptr(QmpClient) monitor =
        domain ? domain_begin_monitor_job(domain, "screenshot", error) : NULL;
    if (!monitor) {
        return false;
    }
    int fd = take_screenshot(monitor, error);
    domain_end_job(domain);
    if (fd < 0 || !call_open_fd_stream(call, fd, STREAM_FD_TO_CLIENT, 0, NULL, NULL, error)) {
        return false;
    }
    ret->mime = arena_strdup(call_arena(call), "image/x-portable-pixmap");
    return true;
}

bool handle_domain_open_graphics_fd(DaemonCall *call, const RemoteDomainOpenGraphicsFdArgs *args,
                                    GError **error)
{
    enum { SKIP_AUTH = 1 };
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain || !daemon_check_flags(args->flags, SKIP_AUTH, error)) {
        return false;
    }
    g_autoptr(QmpClient) monitor = domain_begin_monitor_job(domain, "graphics", error);
    if (!monitor) {
        return false;
    }
    int pair[2] = { -1, -1 };
    bool ok = false;
    g_mutex_lock(&domain->lock);
    bool has_screen = domain->live && domain->live->devices[DEVICE_GRAPHICS].count > args->idx;
    g_mutex_unlock(&domain->lock);
    if (!has_screen) {
        daemon_error_set(error, DAEMON_ERROR_INTERNAL,
                         "internal error: No graphics backend with index %u", args->idx);
    } else if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        lodge_error_set_errno(error, errno, "cannot create a socket pair");
    } else {
        JsonNode *answer =
            qmp_client_call(monitor, "getfd", qmp_object("s:fdname", "graphicsfd", NULL), pair[1],
                            QMP_TIMEOUT_MS, error);
        ok = answer != NULL;
        g_clear_pointer(&answer, json_node_unref);
        ok = ok && qmp_client_run(monitor, "add_client",
                                  qmp_object("s:protocol", "vnc", "s:fdname", "graphicsfd",
                                             "b:skipauth", (args->flags & SKIP_AUTH) != 0, NULL),
                                  error);
    }
    domain_end_job(domain);
    cleanup_close(&pair[1]);
    if (!ok) {
        cleanup_close(&pair[0]);
        return false;
    }
    return call_send_fd(call, pair[0], error);
}

static const DispatchEntry entries[] = {
    HANDLER(domain_open_channel),     HANDLER(domain_open_console),
    HANDLER(domain_open_graphics_fd), HANDLER(domain_screenshot),
    HANDLER(domain_send_key),         HANDLER(qemu_domain_monitor_command),
};

const DaemonModule domain_guest_module = {
    .name = "domain-guest",
    .handlers = entries,
    .n_handlers = G_N_ELEMENTS(entries),
};
