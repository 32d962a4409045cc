/* Starting, finding and watching the processes of guests.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/process.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "gbase/error.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int open_pidfd(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

static bool read_text(const char *path, char *text, size_t size)
{
    autofd fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : fd_read_full(fd, text, size - 1);
    text[n > 0 ? n : 0] = 0;
    return n > 0;
}

char **process_stat_fields(const char *text)
{
    const char *end = strrchr(text, ')');
    return end && end[1] == ' ' ? g_strsplit(end + 2, " ", -1) : NULL;
}

static bool read_stat(const char *path, char *text, size_t size, char ***out_fields)
{
    if (!read_text(path, text, size)) {
        return false;
    }
    *out_fields = process_stat_fields(text);
    return *out_fields != NULL;
}

#define STAT_FIELD(n) ((n)-3)
#define STAT_FIELDS 39u

static guint64 stat_number(char **fields, unsigned field)
{
    return g_ascii_strtoull(fields[STAT_FIELD(field)], NULL, 10);
}

/* Clock ticks since boot, or 0: gone. */
static guint64 read_start_time(pid_t pid)
{
    char path[64];
    char text[1024];
    g_auto(GStrv) fields = NULL;
    g_snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (!read_stat(path, text, sizeof(text), &fields) || g_strv_length(fields) < STAT_FIELDS - 3) {
        return 0;
    }
    return stat_number(fields, 22);
}

/* Child only from here: no allocation, no locks. */

static void child_fail(int result_fd)
{
    int err = errno;
    ssize_t n = write(result_fd, &err, sizeof(err));
    _exit(n == sizeof(err) ? 127 : 126);
}

/* What the daemon has open is not for this process to hold on to while it waits: locks, and the
 * ends of others' pipes. O_CLOEXEC would let go of it later. */
static void child_close_others(const ProcessSpec *spec, int go_fd, int result_fd)
{
    unsigned from = 3;
    while (from <= INT_MAX) {
        unsigned kept = INT_MAX;
        const int own[] = { go_fd, result_fd, spec->log_fd };
        for (unsigned i = 0; i < G_N_ELEMENTS(own) + spec->n_fds; i++) {
            int fd = i < G_N_ELEMENTS(own) ? own[i] : spec->fds[i - G_N_ELEMENTS(own)];
            if ((unsigned)fd >= from && (unsigned)fd < kept) {
                kept = (unsigned)fd;
            }
        }
        if (kept > from) {
            syscall(SYS_close_range, from, kept - 1, 0);
        }
        from = kept + 1;
    }
}

static void child_signals(void)
{
    sigset_t none;
    struct sigaction action = { .sa_handler = SIG_DFL };
    for (int i = 1; i < NSIG; i++) {
        sigaction(i, &action, NULL);
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static bool child_cgroups(const ProcessSpec *spec)
{
    for (const char *const *path = spec->cgroup_procs; path && *path; path++) {
        int fd = open(*path, O_WRONLY | O_CLOEXEC);
        if (fd < 0 || write(fd, "0", 1) != 1) {
            return false;
        }
        close(fd);
    }
    return true;
}

static bool child_ids(const ProcessSpec *spec)
{
    if (spec->uid == (uid_t)-1) {
        return true;
    }
    /* Nothing that the program executes gets them back either. */
    for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++) {
        prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
    }
    return setgroups(spec->kvm_gid == (gid_t)-1 ? 0 : 1, &spec->kvm_gid) == 0 &&
           setresgid(spec->gid, spec->gid, spec->gid) == 0 &&
           setresuid(spec->uid, spec->uid, spec->uid) == 0;
}

static bool child_fds(const ProcessSpec *spec)
{
    int null_fd = open("/dev/null", O_RDONLY);
    if (null_fd < 0 || dup2(null_fd, 0) < 0 || dup2(spec->log_fd, 1) < 0 ||
        dup2(spec->log_fd, 2) < 0) {
        return false;
    }
    if (null_fd > 2) {
        close(null_fd);
    }
    for (unsigned i = 0; i < spec->n_fds; i++) {
        if (fcntl(spec->fds[i], F_SETFD, 0) < 0) {
            return false;
        }
    }
    return true;
}

static void run_child(const ProcessSpec *spec, int go_fd, int result_fd, char *const *environment)
{
    char go;
    ssize_t n;
    child_close_others(spec, go_fd, result_fd);
    do {
        n = read(go_fd, &go, 1);
    } while (n < 0 && errno == EINTR);
    if (n != 1) {
        _exit(125); /* the daemon ended */
    }
    child_signals();
    umask(0077);
    int program = open(spec->argv[0], O_PATH | O_CLOEXEC);
    if (!child_cgroups(spec) || !child_fds(spec) || !child_ids(spec) || chdir("/") < 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
        child_fail(result_fd);
    }
    execve(spec->argv[0], spec->argv, environment);
    /* Where only the daemon may search the folders above the program. */
    if (errno == EACCES && program >= 0) {
        syscall(SYS_execveat, program, "", spec->argv, environment, AT_EMPTY_PATH);
    }
    child_fail(result_fd);
}

/* What the program is given of the daemon's environment. */
static char **make_environment(const ProcessSpec *spec)
{
    static const char *const kept[] = {
        "PATH",         "HOME",          "LANG",         "LC_ALL", "TMPDIR", "XDG_RUNTIME_DIR",
        "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", NULL
    };
    char **all = g_new0(char *, 1);
    for (const char *const *name = kept; *name; name++) {
        const char *value = getenv(*name);
        if (value) {
            all = g_environ_setenv(all, *name, value, TRUE);
        }
    }
    for (char *const *one = spec->env; one && *one; one++) {
        g_auto(GStrv) pair = g_strsplit(*one, "=", 2);
        if (pair[0] && *pair[0] && pair[1]) {
            all = g_environ_setenv(all, pair[0], pair[1], TRUE);
        }
    }
    return all;
}

bool process_spawn(const ProcessSpec *spec, GuestProcess *out_process, GError **error)
{
    int go[2], result[2];
    if (pipe2(go, O_CLOEXEC) < 0) {
        lodge_error_set_errno(error, errno, "cannot create a pipe");
        return false;
    }
    if (pipe2(result, O_CLOEXEC) < 0) {
        lodge_error_set_errno(error, errno, "cannot create a pipe");
        close(go[0]);
        close(go[1]);
        return false;
    }
    g_auto(GStrv) environment = make_environment(spec);
    pid_t pid = fork();
    if (pid == 0) {
        setsid();
        close(go[1]);
        run_child(spec, go[0], result[1], environment);
    }
    int err = errno;
    close(go[0]);
    close(result[1]);
    GuestProcess process = { pid, 0, -1, go[1], result[0], true };
    if (pid > 0) {
        process.pidfd = open_pidfd(pid);
        err = errno;
        process.start_time = read_start_time(pid);
    }
    if (pid < 0 || process.pidfd < 0) {
        lodge_error_set_errno(error, err, "cannot start a process");
        process_clear(&process);
        if (pid > 0) {
            waitpid(pid, NULL, 0);
        }
        return false;
    }
    *out_process = process;
    return true;
}

bool process_release(GuestProcess *process, const char *program, GError **error)
{
    int err = 0;
    if (fd_write_full(process->go_fd, "g", 1) < 0) {
        err = EPIPE;
    } else {
        ssize_t n = fd_read_full(process->result_fd, &err, sizeof(err));
        err = n == 0 ? 0 : n == sizeof(err) ? err : EIO;
    }
    cleanup_close(&process->go_fd);
    cleanup_close(&process->result_fd);
    process->go_fd = process->result_fd = -1;
    if (err) {
        lodge_error_set_errno(error, err, "cannot execute '%s'", program);
    }
    return err == 0;
}

bool process_adopt(pid_t pid, guint64 start_time, GuestProcess *out_process)
{
    autofd fd = pid > 0 ? open_pidfd(pid) : -1;
    if (fd < 0 || read_start_time(pid) != start_time) {
        return false;
    }
    *out_process = (GuestProcess){ pid, start_time, steal_fd(&fd), -1, -1, false };
    return true;
}

void process_signal(const GuestProcess *process, int signal)
{
    if (process->pidfd >= 0) {
        syscall(SYS_pidfd_send_signal, process->pidfd, signal, NULL, 0);
    }
}

bool process_wait(const GuestProcess *process, int timeout_ms)
{
    struct pollfd poll_fd = { .fd = process->pidfd, .events = POLLIN };
    return process->pidfd < 0 || poll(&poll_fd, 1, timeout_ms) == 1;
}

int process_reap(GuestProcess *process)
{
    int status = -1;
    if (process->is_child && process->pid > 0 && waitpid(process->pid, &status, WNOHANG) <= 0) {
        status = -1;
    }
    process->is_child = false;
    return status;
}

void process_clear(GuestProcess *process)
{
    cleanup_close(&process->pidfd);
    cleanup_close(&process->go_fd);
    cleanup_close(&process->result_fd);
    *process = (GuestProcess)GUEST_PROCESS_NONE;
}

bool process_usage(pid_t pid, ProcessUsage *out_usage)
{
    char path[64];
    char text[1024];
    g_auto(GStrv) fields = NULL;
    g_snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (!read_stat(path, text, sizeof(text), &fields) || g_strv_length(fields) < STAT_FIELDS - 3) {
        return false;
    }
    guint64 tick_ns = 1000000000u / (guint64)sysconf(_SC_CLK_TCK);
    out_usage->minor_faults = stat_number(fields, 10);
    out_usage->major_faults = stat_number(fields, 12);
    out_usage->user_ns = stat_number(fields, 14) * tick_ns;
    out_usage->system_ns = stat_number(fields, 15) * tick_ns;
    out_usage->resident_kib = stat_number(fields, 24) * ((guint64)sysconf(_SC_PAGESIZE) / 1024);
    return true;
}

bool process_thread_usage(pid_t pid, pid_t tid, guint64 *out_ns, int *out_cpu, guint64 *out_delay)
{
    char path[96];
    char text[1024];
    g_auto(GStrv) fields = NULL;
    g_snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", (int)pid, (int)tid);
    if (!read_stat(path, text, sizeof(text), &fields) || g_strv_length(fields) < STAT_FIELDS - 2) {
        return false;
    }
    guint64 tick_ns = 1000000000u / (guint64)sysconf(_SC_CLK_TCK);
    *out_ns = (stat_number(fields, 14) + stat_number(fields, 15)) * tick_ns;
    *out_cpu = (int)stat_number(fields, 39);
    *out_delay = 0;
    g_snprintf(path, sizeof(path), "/proc/%d/task/%d/schedstat", (int)pid, (int)tid);
    unsigned long long run, delay;
    if (read_text(path, text, sizeof(text)) && sscanf(text, "%llu %llu", &run, &delay) == 2) {
        *out_ns = run;
        *out_delay = delay;
    }
    return true;
}

void process_boot_id(char *out)
{
    read_text("/proc/sys/kernel/random/boot_id", out, 64);
    g_strchomp(out);
}
