/* Procedures on a guest's screens.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "daemon/domain/handlers.h"
#include "daemon/domain/runtime.h"
#include "daemon/stream.h"
#include "gbase/error.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define FD_NAME "graphicsfd"

/* --- pictures --- */

/* The "screendump" arguments for @screen, counted over the heads of all video cards; NULL with
 * @error. */
static JsonObject *screen_of_locked(const Domain *domain, uint32_t screen, GError **error)
{
    const XmlList *cards = domain->live ? &domain->live->devices[DEVICE_VIDEO] : NULL;
    if (!cards || !cards->count) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_INVALID,
                         "Requested operation is not valid: domain '%s' has no screen",
                         domain->name);
        return NULL;
    }
    if (!screen) {
        return json_object_new();
    }
    uint32_t head = screen;
    for (unsigned i = 0; i < cards->count; i++) {
        const DomainVideo *card = cards->item[i];
        uint32_t heads = MAX(card->heads, 1);
        if (head < heads) {
            return qmp_object("s:device", card->device.alias, "i:head", (gint64)head, NULL);
        }
        head -= heads;
    }
    daemon_error_set(error, DAEMON_ERROR_OPERATION_INVALID,
                     "Requested operation is not valid: domain '%s' has no screen %u", domain->name,
                     screen);
    return NULL;
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
    g_mutex_lock(&domain->lock);
    JsonObject *arguments = screen_of_locked(domain, args->screen, error);
    g_mutex_unlock(&domain->lock);
    int fd = arguments ? qmp_client_capture(monitor, "screendump", arguments, error) : -1;
    domain_end_job(domain);
    if (fd < 0 || !call_open_fd_stream(call, fd, STREAM_FD_TO_CLIENT, 0, NULL, NULL, error)) {
        return false;
    }
    ret->mime = arena_strdup(call_arena(call), "image/x-portable-pixmap");
    return true;
}

/* --- clients of a screen, by descriptor --- */

enum { SKIP_AUTH = 1 };

/* Gives the guest's server of screen @index a client at the other end of @fd. */
static bool add_client(Domain *domain, QmpClient *monitor, uint32_t index, int fd, bool skip_auth,
                       GError **error)
{
    g_mutex_lock(&domain->lock);
    const XmlList *screens = domain->live ? &domain->live->devices[DEVICE_GRAPHICS] : NULL;
    const DomainGraphics *screen = screens && index < screens->count ? screens->item[index] : NULL;
    bool is_vnc = screen && screen->type == GRAPHICS_VNC;
    g_mutex_unlock(&domain->lock);
    if (!is_vnc) {
        daemon_error_set(error, DAEMON_ERROR_INTERNAL,
                         screen ? "internal error: Can only open VNC graphics backends; %u is of "
                                  "another kind"
                                : "internal error: No graphics backend with index %u",
                         index);
        return false;
    }
    g_autoptr(JsonNode) sent = qmp_client_call(
        monitor, "getfd", qmp_object("s:fdname", FD_NAME, NULL), fd, QMP_TIMEOUT_MS, error);
    if (!sent) {
        return false;
    }
    if (!qmp_client_run(monitor, "add_client",
                        qmp_object("s:protocol", "vnc", "s:fdname", FD_NAME, "b:skipauth",
                                   (int)skip_auth, NULL),
                        error)) {
        qmp_client_run(monitor, "closefd", qmp_object("s:fdname", FD_NAME, NULL), NULL);
        return false;
    }
    return true;
}

static bool open_screen(DaemonCall *call, const RemoteDomain *dom, uint32_t index, uint32_t flags,
                        int fd, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, dom, error);
    g_autoptr(QmpClient) monitor = domain && daemon_check_flags(flags, SKIP_AUTH, error)
                                       ? domain_begin_monitor_job(domain, "graphics", error)
                                       : NULL;
    if (!monitor) {
        return false;
    }
    bool ok = add_client(domain, monitor, index, fd, flags & SKIP_AUTH, error);
    domain_end_job(domain);
    return ok;
}

bool handle_domain_open_graphics(DaemonCall *call, const RemoteDomainOpenGraphicsArgs *args,
                                 GError **error)
{
    autofd fd = call_take_fd(call, 0);
    if (fd < 0) {
        daemon_error_set(error, DAEMON_ERROR_INTERNAL,
                         "internal error: the call comes without the file descriptor to connect");
        return false;
    }
    return open_screen(call, &args->dom, args->idx, args->flags, fd, error);
}

bool handle_domain_open_graphics_fd(DaemonCall *call, const RemoteDomainOpenGraphicsFdArgs *args,
                                    GError **error)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        lodge_error_set_errno(error, errno, "cannot create a socket pair");
        return false;
    }
    bool ok = open_screen(call, &args->dom, args->idx, args->flags, pair[1], error);
    cleanup_close(&pair[1]);
    if (!ok) {
        cleanup_close(&pair[0]);
        return false;
    }
    return call_send_fd(call, pair[0], error);
}

/* Certificates of VNC's TLS. */
bool handle_domain_graphics_reload(DaemonCall *call, const RemoteDomainGraphicsReloadArgs *args,
                                   GError **error)
{
    enum { TYPE_ANY = 0, TYPE_VNC = 1 };
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain || !daemon_check_flags(args->flags, 0, error)) {
        return false;
    }
    if (args->type > TYPE_VNC) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: unknown type of graphics %u", args->type);
        return false;
    }
    g_autoptr(QmpClient) monitor = domain_begin_monitor_job(domain, "graphics", error);
    if (!monitor) {
        return false;
    }
    bool ok = qmp_client_run(monitor, "display-reload",
                             qmp_object("s:type", "vnc", "b:tls-certs", 1, NULL), error);
    domain_end_job(domain);
    return ok;
}

static const DispatchEntry entries[] = {
    HANDLER(domain_graphics_reload),
    HANDLER(domain_open_graphics),
    HANDLER(domain_open_graphics_fd),
    HANDLER(domain_screenshot),
};

const DaemonModule domain_graphics_module = {
    .name = "domain-graphics",
    .handlers = entries,
    .n_handlers = G_N_ELEMENTS(entries),
};
