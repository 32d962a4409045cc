/* The process of a guest: started so that it outlives the daemon, found again by a daemon started
 * later. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_PROCESS_H
#define LODGE_DAEMON_DOMAIN_PROCESS_H

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

/* Names one process for good: numbers of processes are used again. */
typedef struct GuestProcess {
    pid_t pid;          /* 0: none */
    guint64 start_time; /* clock ticks since boot */
    int pidfd;          /* readable once it has ended; -1: none */
    int go_fd;          /* a process that was not released waits for it; -1 */
    int result_fd;      /* tells whether it could be executed; -1 */
    bool is_child;      /* to be waited for */
} GuestProcess;

typedef struct ProcessSpec {
    char *const *argv; /* [0]: absolute path of the program; ends with NULL */
    const int *fds;    /* @n_fds that it keeps under the same numbers */
    unsigned n_fds;
    char *const *env; /* "NAME=VALUE" besides what it is given anyway; ends with NULL, or NULL */
    int log_fd;       /* standard output and error */
    uid_t uid;        /* (uid_t)-1: the daemon's own */
    gid_t gid;
    gid_t kvm_gid;                   /* a further group, with @uid; (gid_t)-1: none */
    const char *const *cgroup_procs; /* files to enter itself into; ends with NULL, or NULL */
} ProcessSpec;

#define GUEST_PROCESS_NONE                                                                         \
    {                                                                                              \
        .pidfd = -1, .go_fd = -1, .result_fd = -1                                                  \
    }

/**
 * process_spawn - make the process, which waits before it executes the program
 *
 * In between its pid can be written where a later daemon finds it; should this daemon end, the
 * process ends too. It has a session of its own, no standard input, default signals and cannot
 * gain privileges. Returns: false with @error.
 */
bool process_spawn(const ProcessSpec *spec, GuestProcess *out_process, GError **error);

/* Lets it execute the program; false with @error when that cannot be done (it has ended then). */
bool process_release(GuestProcess *process, const char *program, GError **error);

/* Finds a process again. False: it is gone, and perhaps another has its number. */
bool process_adopt(pid_t pid, guint64 start_time, GuestProcess *out_process);

/* Sends a signal; nothing happens when it is gone. */
void process_signal(const GuestProcess *process, int signal);

/* Waits until it has ended: true. Context: any thread but the loop's. */
bool process_wait(const GuestProcess *process, int timeout_ms);

/* How a child ended, once its pidfd is readable: its wait status, or -1 for one that was adopted.
 * Reaps it. */
int process_reap(GuestProcess *process);

/* Forgets it, without ending it. */
void process_clear(GuestProcess *process);

/* CPU time and memory from /proc. False: it is gone. */
typedef struct ProcessUsage {
    guint64 user_ns;
    guint64 system_ns;
    guint64 resident_kib;
    guint64 minor_faults;
    guint64 major_faults;
} ProcessUsage;
bool process_usage(pid_t pid, ProcessUsage *out_usage);

/* Time on CPUs of one thread in ns, the CPU it ran on last and how long it waited for one. */
bool process_thread_usage(pid_t pid, pid_t tid, guint64 *out_ns, int *out_cpu, guint64 *out_delay);

/* Numbers of the text of /proc/PID/stat from field 3 on; the name before may hold anything. NULL:
 * it is no such text. (transfer full) */
char **process_stat_fields(const char *text);

/* This boot of the host (36 characters), or "" when unknown; @out: 64 bytes. */
void process_boot_id(char *out);

#endif
