/* lodge-vmm: the monitor of one guest.
 *
 * Parses the command line, builds the machine, runs it. Signals end it cleanly: disks are flushed
 * and the terminal is given back. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "gbase/error.h"
#include "vmm/control.h"
#include "vmm/gdbstub/attach.h"
#include "vmm/machine/machine.h"
#include "vmm/process.h"
#include "vmm/sandbox.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define STATUS_CONFIG 1

typedef struct SignalWatch {
    Machine *machine;
    LoopWatch *watch;
    int fd;
} SignalWatch;

static void on_signal(void *opaque, uint32_t events)
{
    const SignalWatch *signals = opaque;
    struct signalfd_siginfo info;
    if (read(signals->fd, &info, sizeof(info)) != sizeof(info)) {
        return;
    }
    /* The guest goes on when its terminal is closed. */
    if (info.ssi_signo != SIGHUP) {
        log_info("terminating on signal %u from pid %u", info.ssi_signo, info.ssi_pid);
        machine_quit(signals->machine, CAUSE_HOST_SIGNAL, 0);
    }
}

/* Before any thread starts, so that all inherit it. */
static void block_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
    sigprocmask(SIG_BLOCK, set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static bool watch_signals(SignalWatch *signals, GError **error)
{
    sigset_t set;
    block_signals(&set);
    signals->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    signals->watch = signals->fd < 0 ? NULL
                                     : loop_watch(machine_loop(signals->machine), signals->fd,
                                                  EPOLLIN, on_signal, signals);
    if (!signals->watch) {
        lodge_error_set_errno(error, errno, "cannot watch signals");
    }
    return signals->watch != NULL;
}

static int print_help(const MachineConfig *config)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = machine_help(config->help, config->help_name, &error);
    if (!text) {
        log_error("%s", error->message);
        return STATUS_CONFIG;
    }
    fputs(text, stdout);
    return 0;
}

static int run_machine(Machine *machine, int ready_fd, GError **error)
{
    SignalWatch signals = { .machine = machine, .fd = -1 };
    g_autoptr(Control) control = control_new(machine, error);
    g_autoptr(GdbStub) gdb = NULL;
    const SandboxConfig *sandbox = &machine_config(machine)->sandbox;
    if (!control || !gdb_stub_attach(machine, &gdb, error) || !watch_signals(&signals, error) ||
        (sandbox->is_on && !sandbox_enter(sandbox, error))) {
        return STATUS_CONFIG;
    }
    if (ready_fd >= 0) {
        process_ready(ready_fd);
    }
    int status = machine_run(machine);
    loop_unwatch(signals.watch);
    close(signals.fd);
    return status;
}

static int run(const MachineConfig *config, GError **error)
{
    int ready_fd = -1, pid_fd = -1;
    if (config->daemonize && !process_daemonize(&ready_fd, error)) {
        return STATUS_CONFIG;
    }
    if (config->pidfile) {
        pid_fd = process_write_pidfile(config->pidfile, error);
        if (pid_fd < 0) {
            return STATUS_CONFIG;
        }
    }
    sigset_t set;
    block_signals(&set);
    g_autoptr(Machine) machine = machine_new(config, error);
    int status = machine ? run_machine(machine, ready_fd, error) : STATUS_CONFIG;
    if (pid_fd >= 0) {
        unlink(config->pidfile);
        close(pid_fd);
    }
    return status;
}

int main(int argc, char **argv)
{
    log_init("lodge-vmm", LOG_LEVEL_INFO);
    g_autoptr(GError) error = NULL;
    g_autoptr(MachineConfig) config = options_parse(argc, argv, &error);
    if (!config) {
        log_error("%s", error->message);
        return STATUS_CONFIG;
    }
    if (config->help) {
        return print_help(config);
    }
    if (config->process_name) {
        prctl(PR_SET_NAME, config->process_name);
    }
    log_set_timestamps(config->log_timestamps);
    int status = run(config, &error);
    if (error) {
        log_error("%s", error->message);
    }
    return status;
}
