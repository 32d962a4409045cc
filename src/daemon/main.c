/* lodged: manages the guests of a host, or of one user, and speaks libvirt's protocol.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "daemon/config.h"
#include "daemon/domain/recover.h"
#include "daemon/event-queue-private.h"
#include "daemon/modules.h"
#include "daemon/sockets.h"
#include "daemon/threads.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define IDLE_CHECK_NS NS_PER_SEC

typedef struct Options {
    bool session, background, verbose, listen, libvirt_sockets, recover, recover_check;
    const char *root, *config, *pid_file;
    unsigned timeout_s; /* 0: stay */
} Options;

typedef struct Run {
    Daemon daemon;
    Options options;
    DaemonConfig config;
    LoopTimer *idle;
    int signals;      /* descriptor, or -1 */
    unsigned started; /* modules */
} Run;

static const char usage[] =
    "Usage: lodged [OPTION...]\n"
    "Manages virtual machines; speaks libvirt's protocol on its sockets.\n"
    "\n"
    "  -S, --session          one user's daemon (default: the host's for root)\n"
    "  -r, --root DIR         keep all files below DIR; sockets DIR/run/lodge-sock*\n"
    "  -f, --config FILE      configuration (default: lodged.conf in the configuration folder)\n"
    "      --libvirt-sockets  listen on libvirt's own socket paths too\n"
    "  -l, --listen           listen for TLS connections\n"
    "  -d, --daemon           go into the background once ready\n"
    "  -p, --pid-file FILE    write the process's number to FILE\n"
    "  -t, --timeout SECONDS  end after so long without clients and running guests\n"
    "      --recover-check    say what is wrong with the files of a daemon that does not run, "
    "then\n"
    "                         end: 0 nothing, 4 something, 8 cannot tell\n"
    "      --recover          mend it, then end: 0 nothing to do, 1 mended, 4 not all of it, 8 "
    "cannot\n"
    "  -v, --verbose          log more\n"
    "  -V, --version          print the version\n"
    "  -h, --help             print this text\n";

enum { OPTION_LIBVIRT_SOCKETS = 256, OPTION_RECOVER, OPTION_RECOVER_CHECK };

/* As fsck's. */
enum { RECOVER_CLEAN = 0, RECOVER_MENDED = 1, RECOVER_LEFT = 4, RECOVER_FAILED = 8 };

/* Returns: -1 to go on, else the exit status. */
static int parse_options(int argc, char **argv, Options *out)
{
    static const struct option list[] = {
        { "session", no_argument, NULL, 'S' },
        { "root", required_argument, NULL, 'r' },
        { "config", required_argument, NULL, 'f' },
        { "libvirt-sockets", no_argument, NULL, OPTION_LIBVIRT_SOCKETS },
        { "listen", no_argument, NULL, 'l' },
        { "daemon", no_argument, NULL, 'd' },
        { "pid-file", required_argument, NULL, 'p' },
        { "timeout", required_argument, NULL, 't' },
        { "recover", no_argument, NULL, OPTION_RECOVER },
        { "recover-check", no_argument, NULL, OPTION_RECOVER_CHECK },
        { "verbose", no_argument, NULL, 'v' },
        { "version", no_argument, NULL, 'V' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    guint64 seconds;
    int option;
    *out = (Options){ .session = geteuid() != 0 };
    while ((option = getopt_long(argc, argv, "Sr:f:ldp:t:vVh", list, NULL)) != -1) {
        switch (option) {
        case 'S':
            out->session = true;
            break;
        case 'r':
            out->root = optarg;
            break;
        case 'f':
            out->config = optarg;
            break;
        case OPTION_LIBVIRT_SOCKETS:
            out->libvirt_sockets = true;
            break;
        case 'l':
            out->listen = true;
            break;
        case 'd':
            out->background = true;
            break;
        case 'p':
            out->pid_file = optarg;
            break;
        case 't':
            if (!g_ascii_string_to_unsigned(optarg, 10, 1, G_MAXINT32, &seconds, NULL)) {
                fprintf(stderr, "lodged: --timeout '%s' is no number of seconds\n", optarg);
                return EXIT_FAILURE;
            }
            out->timeout_s = (unsigned)seconds;
            break;
        case OPTION_RECOVER:
            out->recover = true;
            break;
        case OPTION_RECOVER_CHECK:
            out->recover_check = true;
            break;
        case 'v':
            out->verbose = true;
            break;
        case 'V':
            printf("lodged %s\n", LODGE_VERSION);
            return EXIT_SUCCESS;
        case 'h':
            fputs(usage, stdout);
            return EXIT_SUCCESS;
        default:
            fputs("lodged: try --help\n", stderr);
            return EXIT_FAILURE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "lodged: unexpected '%s'; try --help\n", argv[optind]);
        return EXIT_FAILURE;
    }
    return -1;
}

static bool is_busy(Run *run)
{
    for (unsigned i = 0; i < run->started; i++) {
        const DaemonModule *module = daemon_modules[i];
        if (module->is_busy && module->is_busy(&run->daemon)) {
            return true;
        }
    }
    return run->daemon.server->n_clients > 0;
}

static void check_idle(void *opaque)
{
    Run *run = opaque;
    int64_t now = clock_monotonic_ns();
    if (is_busy(run)) {
        run->daemon.server->idle_since_ns = now;
    } else if (now - run->daemon.server->idle_since_ns >=
               (int64_t)run->options.timeout_s * NS_PER_SEC) {
        log_info("nobody was here for %u seconds", run->options.timeout_s);
        loop_quit(run->daemon.loop);
        return;
    }
    loop_timer_set(run->idle, now + IDLE_CHECK_NS);
}

/* The file's settings and the command line's. @out is to be cleared in any case. */
static bool read_config(const Run *run, DaemonConfig *out, GError **error)
{
    const Options *options = &run->options;
    daemon_config_init(out, run->daemon.session);
    g_autofree char *standard = g_build_filename(run->daemon.paths.config_dir, "lodged.conf", NULL);
    if (!daemon_config_load(out, options->config ? options->config : standard,
                            options->config != NULL, error)) {
        return false;
    }
    out->libvirt_sockets |= options->libvirt_sockets;
    out->listen_tls |= options->listen;
    return true;
}

/* Settings that can change: see LIVE_KEY in config.c. */
static void apply_config(Run *run)
{
    const DaemonConfig *config = &run->config;
    g_atomic_int_set(&run->daemon.guest_log_max_size, (gint)config->guest_log_max_size);
    g_atomic_int_set(&run->daemon.guest_log_max_backups,
                     (gint)MIN(config->guest_log_max_backups, GUEST_LOG_BACKUPS_MAX));
    loop_set_busy_wait(run->daemon.loop, MIN(config->busy_wait_us, BUSY_WAIT_MAX_US) * NS_PER_US);
}

static bool load_config(Run *run, GError **error)
{
    if (!read_config(run, &run->config, error)) {
        return false;
    }
    run->daemon.lease_files = run->config.lease_files;
    apply_config(run);
    return daemon_config_guest_uids(&run->config, &run->daemon.guest_uid_first,
                                    &run->daemon.guest_uid_count, error);
}

static bool start(Run *run, GError **error)
{
    Daemon *daemon = &run->daemon;
    daemon->session = run->options.session;
    daemon->uri = g_strdup(daemon->session ? "qemu:///session" : "qemu:///system");
    daemon_paths_init(&daemon->paths, daemon->session, run->options.root);
    if (!daemon_paths_make(&daemon->paths, daemon->session, error) || !load_config(run, error)) {
        return false;
    }
    daemon->events = event_queue_new();
    daemon->server = server_new(daemon, &run->config.limits);
    for (; daemon_modules[run->started]; run->started++) {
        const DaemonModule *module = daemon_modules[run->started];
        if (module->start && !module->start(daemon, error)) {
            g_prefix_error(error, "%s: ", module->name);
            return false;
        }
        server_add_handlers(daemon->server, module->handlers, module->n_handlers);
    }
    if (!daemon_sockets_open(daemon, &run->config, error)) {
        return false;
    }
    if (run->options.timeout_s) {
        run->idle = loop_timer_new(daemon->loop, check_idle, run);
        check_idle(run);
    }
    return true;
}

static void stop(Run *run)
{
    Daemon *daemon = &run->daemon;
    loop_timer_free(run->idle);
    if (daemon->server) {
        daemon_sockets_unlink(daemon);
    }
    server_free(daemon->server);
    while (run->started > 0) {
        const DaemonModule *module = daemon_modules[--run->started];
        if (module->stop) {
            module->stop(daemon);
        }
    }
    event_queue_free(daemon->events);
    daemon_config_clear(&run->config);
    daemon_paths_clear(&daemon->paths);
    g_free(daemon->uri);
}

/* The child goes on; the parent waits for a byte that says it is ready. Returns the end to write
 * to in the child; the parent does not return. -1: failed. */
static int go_into_background(void)
{
    int ends[2];
    char byte;
    if (pipe(ends) < 0) {
        return -1;
    }
    pid_t child = fork();
    if (child < 0) {
        return -1;
    }
    if (child > 0) {
        close(ends[1]);
        _exit(read(ends[0], &byte, 1) == 1 ? EXIT_SUCCESS : EXIT_FAILURE);
    }
    close(ends[0]);
    setsid();
    return ends[1];
}

/* The log of a daemon in the background; it goes on with the one it has where there is none. */
static void open_log(const Daemon *daemon)
{
    g_autofree char *path = g_build_filename(daemon->paths.log_dir, "lodged.log", NULL);
    int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log < 0) {
        log_error("cannot open '%s': %s", path, strerror(errno));
        return;
    }
    dup2(log, STDERR_FILENO);
    if (log > STDERR_FILENO) {
        close(log);
    }
}

/* Lets go of the terminal, or pipe, of the starting process; the log goes on in a file. */
static void let_go(const Daemon *daemon)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    dup2(null, STDERR_FILENO);
    if (null > STDERR_FILENO) {
        close(null);
    }
    open_log(daemon);
}

/* SIGHUP: a log that was moved away is begun anew, files are read again. */
static void reload(Run *run)
{
    g_autoptr(GError) error = NULL;
    DaemonConfig fresh;
    if (run->options.background) {
        open_log(&run->daemon);
    }
    if (read_config(run, &fresh, &error)) {
        daemon_config_take(&run->config, &fresh);
        apply_config(run);
    } else {
        log_error("settings stay as they are: %s", error->message);
    }
    daemon_config_clear(&fresh);
    for (unsigned i = 0; i < run->started; i++) {
        if (daemon_modules[i]->reload) {
            daemon_modules[i]->reload(&run->daemon);
        }
    }
}

static void on_signal(void *opaque, uint32_t events)
{
    Run *run = opaque;
    struct signalfd_siginfo info;
    (void)events;
    if (read(run->signals, &info, sizeof(info)) != sizeof(info)) {
        return;
    }
    if (info.ssi_signo != SIGHUP) {
        loop_quit(run->daemon.loop);
    } else if (!daemon_is_stopping(&run->daemon)) {
        reload(run);
    }
}

/* SIGTERM and SIGINT end the daemon between two events, SIGHUP has it read its files again. */
static bool watch_signals(Run *run)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    run->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return run->signals >= 0 &&
           loop_watch(run->daemon.loop, run->signals, EPOLLIN, on_signal, run) != NULL;
}

/* systemd's way to be told (sd_notify(3)): a datagram to the socket that it names. */
static void notify_manager(void)
{
    static const char ready[] = "READY=1";
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    const char *path = getenv("NOTIFY_SOCKET");
    size_t length = path ? strlen(path) : 0;
    if ((length > 0 && *path != '/' && *path != '@') || length >= sizeof(address.sun_path)) {
        log_warn("NOTIFY_SOCKET='%s' is no socket's name", path);
    } else if (length > 0) {
        memcpy(address.sun_path, path, length);
        /* An abstract name begins with a zero byte. */
        address.sun_path[0] = *path == '@' ? '\0' : *path;
        socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
        autofd fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || sendto(fd, ready, strlen(ready), MSG_NOSIGNAL,
                             (const struct sockaddr *)&address, size) < 0) {
            log_warn("cannot tell '%s' that all is ready: %s", path, strerror(errno));
        }
    }
    unsetenv("NOTIFY_SOCKET");
}

/* Tells who started the daemon, and the log. */
static void tell_ready(const Daemon *daemon, int ready_fd)
{
    if (ready_fd >= 0) {
        let_go(daemon);
    }
    log_info("ready: %s, socket %s/lodge-sock", daemon->uri, daemon->paths.run_dir);
    notify_manager();
    if (ready_fd >= 0) {
        if (write(ready_fd, "", 1) != 1) {
            log_warn("the starting process is gone");
        }
        close(ready_fd);
    }
}

static int run_daemon(Run *run, int ready_fd)
{
    g_autoptr(GError) error = NULL;
    bool ok = watch_signals(run) && start(run, &error);
    if (ok && run->options.pid_file) {
        g_autofree char *text = g_strdup_printf("%d\n", (int)getpid());
        ok = g_file_set_contents(run->options.pid_file, text, -1, &error);
    }
    if (ok) {
        tell_ready(&run->daemon, ready_fd);
        loop_run(run->daemon.loop);
    } else {
        log_error("%s", error ? error->message : "cannot watch for signals");
    }
    stop(run);
    loop_free(run->daemon.loop);
    if (run->signals >= 0) {
        close(run->signals);
    }
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Returns: the exit status. */
static int run_recovery(const Options *options)
{
    g_autoptr(GError) error = NULL;
    DaemonPaths paths;
    RecoverCounts counts;
    daemon_paths_init(&paths, options->session, options->root);
    bool ok = recover_state(&paths, !options->recover_check, &counts, &error);
    daemon_paths_clear(&paths);
    if (!ok) {
        fprintf(stderr, "lodged: %s\n", error->message);
        return RECOVER_FAILED;
    }
    printf("%u definitions, %u running or ended guests, %u changes in the journal: "
           "%u findings, %u mended\n",
           counts.definitions, counts.statuses, counts.journal_records, counts.found,
           counts.mended);
    return counts.found == 0               ? RECOVER_CLEAN
           : counts.mended == counts.found ? RECOVER_MENDED
                                           : RECOVER_LEFT;
}

int main(int argc, char **argv)
{
    Run run = { .signals = -1 };
    int ready_fd = -1;
    int status = parse_options(argc, argv, &run.options);
    if (status >= 0) {
        return status;
    }
    log_init("lodged", run.options.verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
    if (run.options.recover || run.options.recover_check) {
        return run_recovery(&run.options);
    }
    if (run.options.background && (ready_fd = go_into_background()) < 0) {
        log_error("cannot go into the background: %s", strerror(errno));
        return EXIT_FAILURE;
    }
    run.daemon.loop = loop_new();
    if (!run.daemon.loop) {
        log_error("cannot make an event loop: %s", strerror(errno));
        return EXIT_FAILURE;
    }
    loop_own(run.daemon.loop);
    return run_daemon(&run, ready_fd);
}
