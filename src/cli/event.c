/* Commands that wait for events.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/event-text.h"
#include "cli/groups.h"
#include "cli/tools.h"

#include "base/cleanup.h"
#include "gbase/error.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* Shared by the command and the connection's thread, which prints. */
typedef struct EventLoop {
    const CliSession *session;
    bool goes_on, has_times;
    sigset_t signals; /* that end it; blocked meanwhile */
    int arrived;      /* eventfd: the first event, or the end of the connection */
    GMutex lock;      /* what follows */
    unsigned count;
} EventLoop;

static void print_time(const EventLoop *loop)
{
    if (loop->has_times) {
        g_autoptr(GDateTime) now = g_date_time_new_now_utc();
        g_autofree char *text = g_date_time_format(now, "%Y-%m-%d %H:%M:%S");
        printf("%s.%03d+0000: ", text, g_date_time_get_microsecond(now) / 1000);
    }
}

/* One line, or one JSON object; the first ends a loop that waits for one. */
static void print_event(const EventLoop *loop, const char *name, const char *domain,
                        const char *line, const char *detail)
{
    if (loop->session->is_json) {
        g_autoptr(CliRecord) record = cli_record_new(0);
        cli_record_add(record, "event", "%s", name);
        cli_record_add(record, "domain", "%s", domain);
        cli_record_add(record, "detail", "%s", detail);
        cli_record_print_json(record, stdout);
    } else {
        print_time(loop);
        puts(line);
    }
    fflush(stdout);
    if (!loop->goes_on) {
        uint64_t one = 1;
        (void)!write(loop->arrived, &one, sizeof(one));
    }
}

/* Whether this event is to be printed: all of them, or only the first. */
static bool take_event(EventLoop *loop)
{
    g_mutex_lock(&loop->lock);
    bool is_wanted = loop->goes_on || loop->count == 0;
    loop->count += is_wanted;
    g_mutex_unlock(&loop->lock);
    return is_wanted;
}

/* Waits for the first event, a signal, the end of time or of the connection. */
static const char *wait_for_end(EventLoop *loop, gint64 timeout_s)
{
    const char *reason = NULL;
    gint64 deadline = g_get_monotonic_time() + timeout_s * G_USEC_PER_SEC;
    autofd signals = signalfd(-1, &loop->signals, SFD_CLOEXEC);
    struct pollfd fds[] = { { loop->arrived, POLLIN, 0 }, { signals, POLLIN, 0 } };
    while (!reason) {
        gint64 left_ms = timeout_s ? (deadline - g_get_monotonic_time()) / 1000 : 1000;
        int rc = left_ms > 0 ? poll(fds, 2, (int)MIN(left_ms, 1000)) : 0;
        if (fds[1].revents && rc > 0) {
            /* Taken, so that it is not pending once it is no longer blocked. */
            struct signalfd_siginfo taken;
            (void)!read(signals, &taken, sizeof(taken));
            reason = "event loop interrupted";
        } else if (fds[0].revents && rc > 0) {
            reason = "";
        } else if (timeout_s && g_get_monotonic_time() >= deadline) {
            reason = "event loop timed out";
        } else if (!rpc_client_is_alive(cli_client(loop->session))) {
            reason = "the connection to the daemon was lost";
        }
    }
    return reason;
}

/* Ends a command that waited. Returns: whether there was an event. */
static bool end_loop(EventLoop *loop, const char *reason)
{
    g_mutex_lock(&loop->lock);
    unsigned count = loop->count;
    g_mutex_unlock(&loop->lock);
    if (!loop->session->is_json) {
        printf("%s%sevents received: %u\n", reason, *reason ? "\n" : "", count);
    }
    return count > 0;
}

static void init_loop(EventLoop *loop, CliSession *session, const CliArgs *args)
{
    *loop = (EventLoop){
        .session = session,
        .goes_on = cli_args_flag(args, "loop"),
        .has_times = cli_args_flag(args, "timestamp"),
        .arrived = eventfd(0, EFD_CLOEXEC),
    };
    g_mutex_init(&loop->lock);
    sigemptyset(&loop->signals);
    sigaddset(&loop->signals, SIGINT);
    sigaddset(&loop->signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &loop->signals, NULL);
}

static void clear_loop(EventLoop *loop)
{
    pthread_sigmask(SIG_UNBLOCK, &loop->signals, NULL);
    g_mutex_clear(&loop->lock);
    close(loop->arrived);
}

/* Events of domains */

static const CliOption event_options[] = {
    { "domain", CLI_STRING, 0, CLI_VALUE_DOMAIN, "only this one's" },
    { "event", CLI_STRING, 0, CLI_VALUE_EVENT, "which event" },
    { "all", CLI_FLAG, 0, CLI_VALUE_ANY, "all kinds" },
    { "loop", CLI_FLAG, 0, CLI_VALUE_ANY, "go on after the first event" },
    { "timeout", CLI_NUMBER, 0, CLI_VALUE_ANY, "seconds to wait at most" },
    { "list", CLI_FLAG, 0, CLI_VALUE_ANY, "list the kinds" },
    { "timestamp", CLI_FLAG, 0, CLI_VALUE_ANY, "print when each came" },
    CLI_OPTIONS_END,
};

/* The domain of a message: the first struct of that type in it. */
static const char *domain_name(const XdrStruct *type, const void *message)
{
    for (uint32_t i = 0; i < type->n_fields; i++) {
        const XdrField *field = &type->fields[i];
        const void *member = (const char *)message + field->offset;
        if (field->kind != XDR_STRUCT || field->shape != XDR_ONE) {
            continue;
        }
        return field->type == &type_remote_domain ? ((const RemoteDomain *)member)->name
                                                  : domain_name(field->type, member);
    }
    return "";
}

static void on_event(void *opaque, const RpcProgram *program, const RpcProcedure *procedure,
                     const void *message)
{
    EventLoop *loop = opaque;
    const EventKind *kind = program == &remote_program ? event_kind_of(procedure->number) : NULL;
    if (!kind || !take_event(loop)) {
        return;
    }
    const char *name = domain_name(procedure->args, message);
    g_autoptr(GString) detail = g_string_new(NULL);
    if (kind->describe) {
        kind->describe(message, detail);
    }
    g_autofree char *line =
        g_strdup_printf("event '%s' for domain '%s'%s", kind->name, name, detail->str);
    const char *plain = detail->str + strspn(detail->str, ": ");
    print_event(loop, kind->name, name, line, plain);
}

static bool register_kind(CliSession *session, const EventKind *kind, RemoteDomain *domain,
                          GError **error)
{
    RemoteConnectDomainEventCallbackRegisterAnyArgs call = { kind->id, domain };
    RemoteConnectDomainEventCallbackRegisterAnyRet ret;
    return remote_connect_domain_event_callback_register_any(cli_client(session), &call,
                                                             &session->arena, &ret, error);
}

static bool register_kinds(CliSession *session, const EventKind *only, RemoteDomain *domain,
                           GError **error)
{
    if (only) {
        return register_kind(session, only, domain, error);
    }
    unsigned known = 0;
    for (unsigned i = 0; i < event_kind_count; i++) {
        /* An older server does not know the newest. */
        known += register_kind(session, &event_kinds[i], domain,
                               known == 0 && i + 1 == event_kind_count ? error : NULL);
    }
    return known > 0;
}

static void list_kinds(const CliSession *session)
{
    static const char *const headings[] = { "Name", NULL };
    g_autoptr(CliTable) table = cli_table_new(headings);
    for (unsigned i = 0; i < event_kind_count; i++) {
        if (session->is_json) {
            cli_table_add(table, event_kinds[i].name);
        } else {
            printf("%s\n", event_kinds[i].name);
        }
    }
    if (session->is_json) {
        cli_table_print_json(table, stdout);
    }
}

static bool run_event(CliSession *session, const CliArgs *args, GError **error)
{
    const char *name = cli_args_string(args, "event");
    const EventKind *only = name ? event_kind_find(name) : NULL;
    gint64 timeout = 0;
    RemoteDomain domain;
    if (!cli_args_exclusive(args, "all", "event", error) ||
        !cli_args_exclusive(args, "list", "all", error) ||
        !cli_args_exclusive(args, "list", "event", error) ||
        !cli_args_int(args, "timeout", 1, G_MAXINT32, &timeout, error)) {
        return false;
    }
    if (cli_args_flag(args, "list")) {
        list_kinds(session);
        return true;
    }
    if (name && !only) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "unknown event type %s",
                    name);
        return false;
    }
    if (!only && !cli_args_flag(args, "all")) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "one of --list, --all, or --event <type> is required");
        return false;
    }
    bool has_domain = cli_args_string(args, "domain") != NULL;
    if (has_domain && !cli_domain(session, args, &domain, error)) {
        return false;
    }
    EventLoop loop;
    init_loop(&loop, session, args);
    lodge_tap_events(session->connection, on_event, &loop);
    bool ok = register_kinds(session, only, has_domain ? &domain : NULL, error);
    if (ok) {
        ok = end_loop(&loop, wait_for_end(&loop, timeout));
    }
    lodge_tap_events(session->connection, NULL, NULL);
    clear_loop(&loop);
    return ok;
}

/* Events of monitors */

static const CliOption qemu_monitor_event_options[] = {
    { "domain", CLI_STRING, 0, CLI_VALUE_DOMAIN, "its name, id or UUID" },
    { "event", CLI_STRING, 0, CLI_VALUE_EVENT, "the event's name" },
    { "pretty", CLI_FLAG, 0, CLI_VALUE_ANY, "for people" },
    { "loop", CLI_FLAG, 0, CLI_VALUE_ANY, "go on after the first event" },
    { "timeout", CLI_NUMBER, 0, CLI_VALUE_ANY, "seconds to wait at most" },
    { "regex", CLI_FLAG, 0, CLI_VALUE_ANY, "--event is a regular expression" },
    { "no-case", CLI_FLAG, 0, CLI_VALUE_ANY, "whatever the case" },
    { "timestamp", CLI_FLAG, 0, CLI_VALUE_ANY, "print when each came" },
    CLI_OPTIONS_END,
};

typedef struct MonitorLoop {
    EventLoop loop; /* first: is passed on as such */
    bool is_pretty;
} MonitorLoop;

static void on_monitor_event(void *opaque, const RpcProgram *program, const RpcProcedure *procedure,
                             const void *message)
{
    MonitorLoop *loop = opaque;
    const QemuDomainMonitorEventMsg *msg = message;
    if (program != &qemu_program || procedure->number != QEMU_PROC_DOMAIN_MONITOR_EVENT ||
        !take_event(&loop->loop)) {
        return;
    }
    const char *details = msg->details ? msg->details : "<null>";
    g_autofree char *line =
        g_strdup_printf("event %s at %" G_GINT64_FORMAT ".%06u for domain '%s': %s", msg->event,
                        (gint64)msg->seconds, msg->micros, msg->dom.name, details);
    g_autofree char *timed =
        g_strdup_printf("event %s for domain '%s': %s", msg->event, msg->dom.name, details);
    print_event(&loop->loop, msg->event, msg->dom.name, loop->loop.has_times ? timed : line,
                details);
}

static bool run_monitor_event(CliSession *session, const CliArgs *args, GError **error)
{
    static const CliBit bits[] = { { "regex", 1 }, { "no-case", 2 }, { NULL } };
    QemuConnectDomainMonitorEventRegisterArgs call = { .event = cli_args_string(args, "event"),
                                                       .flags = cli_args_bits(args, bits) };
    QemuConnectDomainMonitorEventRegisterRet ret;
    gint64 timeout = 0;
    RemoteDomain domain;
    if (!cli_args_int(args, "timeout", 1, G_MAXINT32, &timeout, error)) {
        return false;
    }
    if (cli_args_string(args, "domain")) {
        if (!cli_domain(session, args, &domain, error)) {
            return false;
        }
        call.dom = &domain;
    }
    MonitorLoop loop = { .is_pretty = cli_args_flag(args, "pretty") };
    init_loop(&loop.loop, session, args);
    lodge_tap_events(session->connection, on_monitor_event, &loop);
    bool ok = qemu_connect_domain_monitor_event_register(cli_client(session), &call,
                                                         &session->arena, &ret, error);
    if (ok) {
        ok = end_loop(&loop.loop, wait_for_end(&loop.loop, timeout));
    }
    lodge_tap_events(session->connection, NULL, NULL);
    clear_loop(&loop.loop);
    return ok;
}

const CliCommand cli_event_commands[] = {
    { "event", "wait for events of domains",
      "Prints the first, or with --loop all until --timeout or Ctrl-C.", event_options, 0,
      run_event },
    { NULL },
};

const CliCommand cli_monitor_event_commands[] = {
    { "qemu-monitor-event", "wait for events of monitors",
      "Prints the first, or with --loop all until --timeout or Ctrl-C.", qemu_monitor_event_options,
      0, run_monitor_event },
    { NULL },
};
