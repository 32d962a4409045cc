/* Authentication by polkit: local users are let in as the host's policy says.
 *
 * polkit's own pkcheck asks its daemon, so no D-Bus is spoken here. Who asks is told by process,
 * its start time and user, all three: a number that another process got since then is not
 * mistaken for it. Without pkcheck, polkit or D-Bus nobody is let in this way. Decisions on single
 * calls (org.libvirt.api.*) are left out.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/clock.h"
#include "base/log.h"
#include "daemon/client.h"
#include "daemon/error.h"
#include "daemon/modules.h"
#include "daemon/server.h"
#include "daemon/threads.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define ACTION_WRITE "org.libvirt.unix.manage"
#define ACTION_READ "org.libvirt.unix.monitor"
#define WAIT_S 60 /* a person types a password */

/* pkcheck's exit statuses (pkcheck(1)). */
typedef enum Verdict {
    VERDICT_YES = 0,
    VERDICT_NO = 1,
    VERDICT_NO_AGENT = 2, /* somebody would have to be asked, and nobody can be */
    VERDICT_CANCELLED = 3,
    VERDICT_LATE = 126,    /* nobody answered in time */
    VERDICT_UNKNOWN = 127, /* polkit cannot be asked */
} Verdict;

static Verdict wait_for(Daemon *daemon, GPid pid)
{
    int status = -1;
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    int ready = fd < 0 ? -1 : daemon_poll(daemon, fd, POLLIN, WAIT_S * 1000);
    if (ready != 1) {
        kill(pid, SIGKILL);
    }
    if (fd >= 0) {
        close(fd);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) <= VERDICT_CANCELLED) {
        return WEXITSTATUS(status);
    }
    return ready == 0 ? VERDICT_LATE : VERDICT_UNKNOWN;
}

static Verdict ask(Daemon *daemon, const DaemonIdentity *who, const char *action)
{
    g_autofree char *subject = g_strdup_printf("%d,%" G_GUINT64_FORMAT ",%u", (int)who->pid,
                                               (guint64)who->start_time, (unsigned)who->uid);
    const char *const words[] = { "pkcheck",   "--action-id", action,
                                  "--process", subject,       "--allow-user-interaction",
                                  NULL };
    g_autoptr(GError) why = NULL;
    GPid pid;
    if (!g_spawn_async(NULL, (char **)words, NULL,
                       G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD |
                           G_SPAWN_STDOUT_TO_DEV_NULL | G_SPAWN_STDERR_TO_DEV_NULL,
                       NULL, NULL, &pid, &why)) {
        log_warn("polkit cannot be asked: %s", why->message);
        return VERDICT_UNKNOWN;
    }
    return wait_for(daemon, pid);
}

static void refuse(Verdict verdict, const char *action, GError **error)
{
    switch (verdict) {
    case VERDICT_NO:
        daemon_error_set(error, DAEMON_ERROR_AUTH_FAILED,
                         "authentication failed: access denied by policy (%s)", action);
        break;
    case VERDICT_CANCELLED:
        daemon_error_set(error, DAEMON_ERROR_AUTH_CANCELLED,
                         "authentication cancelled: user cancelled authentication process");
        break;
    case VERDICT_LATE:
        daemon_error_set(error, DAEMON_ERROR_AUTH_CANCELLED,
                         "authentication cancelled: nobody showed who they are within %d s",
                         WAIT_S);
        break;
    case VERDICT_NO_AGENT:
        daemon_error_set(error, DAEMON_ERROR_AUTH_UNAVAILABLE,
                         "authentication unavailable: no polkit agent available to authenticate "
                         "action '%s'",
                         action);
        break;
    default:
        daemon_error_set(error, DAEMON_ERROR_AUTH_UNAVAILABLE,
                         "authentication unavailable: polkit cannot be asked here; connect as "
                         "root, or set auth_unix_rw = \"none\" and unix_sock_group in lodged.conf");
        break;
    }
}

/* On the loop's thread. */
static void give_time(void *opaque)
{
    DaemonClient *client = opaque;
    client->deadline_ns = clock_monotonic_ns() + (int64_t)(WAIT_S + 1) * NS_PER_SEC;
}

static void let_in(void *opaque)
{
    client_set_authenticated(opaque);
}

bool handle_auth_polkit(DaemonCall *call, RemoteAuthPolkitRet *ret, GError **error)
{
    DaemonClient *client = call->client;
    const DaemonIdentity *who = &client->identity;
    const char *action = who->read_only ? ACTION_READ : ACTION_WRITE;
    if (client->authenticated) {
        ret->complete = 1;
        return true;
    }
    if (client->auth != AUTH_METHOD_POLKIT || !client->local) {
        daemon_error_set(error, DAEMON_ERROR_AUTH_FAILED,
                         "polkit is not what this connection is authenticated by");
        return false;
    }
    if (who->pid <= 0 || who->start_time == 0 ||
        loop_call_wait(client->server->loop, give_time, client) < 0) {
        refuse(VERDICT_UNKNOWN, action, error);
        return false;
    }
    Verdict verdict = ask(client->daemon, who, action);
    if (verdict != VERDICT_YES || loop_call_wait(client->server->loop, let_in, client) < 0) {
        log_warn("user %u, process %d: %s is not granted by polkit", (unsigned)who->uid,
                 (int)who->pid, action);
        refuse(verdict, action, error);
        return false;
    }
    ret->complete = 1;
    return true;
}

static const DispatchEntry handlers[] = {
    HANDLER(auth_polkit),
};

const DaemonModule polkit_module = {
    .name = "polkit",
    .handlers = handlers,
    .n_handlers = G_N_ELEMENTS(handlers),
};
