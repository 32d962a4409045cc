/* Logs of guests' processes, kept within bounds. SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/guest-log.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "daemon/threads.h"
#include "gbase/error.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define SUFFIX ".log"
/* What a guest can write meanwhile is on the disk at most. */
#define LOOK_NS NS_PER_SEC
#define COPY_SIZE (64u << 10)
#define EVENTS_SIZE (64u << 10)

typedef struct GuestLogs {
    Daemon *daemon;
    char *folder;
    int fd; /* of inotify, or -1 */
    LoopWatch *watch;
    LoopTimer *timer;
    GThreadPool *rotator; /* of a GHashTable of names: those that grew; an empty one: all */
    gint is_rotating;     /* atomic */
} GuestLogs;

/* --- one file --- */

/* NAME.0 becomes NAME.1, and so on; the last one goes. */
static void shift(const char *path, unsigned backups)
{
    for (unsigned i = backups; i > 1; i--) {
        g_autofree char *from = g_strdup_printf("%s.%u", path, i - 2);
        g_autofree char *to = g_strdup_printf("%s.%u", path, i - 1);
        if (g_rename(from, to) < 0 && errno != ENOENT) {
            log_write(LOG_LEVEL_WARN, "cannot rename '%s': %s", from, g_strerror(errno));
        }
    }
}

/* The bytes of @from from @start up to @end. Returns: 0, or -errno. */
static int copy(int from, off_t start, off_t end, const char *path)
{
    g_autofree char *buffer = g_malloc(COPY_SIZE);
    autofd to = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (to < 0) {
        return -errno;
    }
    while (start < end) {
        ssize_t n = pread(from, buffer, (size_t)MIN(end - start, (off_t)COPY_SIZE), start);
        if (n <= 0) {
            return n < 0 ? -errno : 0;
        }
        ssize_t written = write(to, buffer, (size_t)n);
        if (written < 0) {
            return -errno;
        }
        start += written;
    }
    return 0;
}

/* Empties the log when it is too long; what it said last is kept, as far as there is room for it.
 */
static void rotate(const Daemon *daemon, int fd, const char *path)
{
    off_t max_size = (off_t)g_atomic_int_get(&daemon->guest_log_max_size);
    unsigned backups = (unsigned)g_atomic_int_get(&daemon->guest_log_max_backups);
    struct stat st;
    if (max_size == 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size <= max_size) {
        return;
    }
    int err = 0;
    if (backups > 0) {
        g_autofree char *first = g_strdup_printf("%s.0", path);
        shift(path, backups);
        err = copy(fd, st.st_size - max_size, st.st_size, first);
    }
    if (err < 0) {
        log_write(LOG_LEVEL_WARN, "'%s' is emptied without a copy: %s", path, g_strerror(-err));
    }
    if (ftruncate(fd, 0) < 0) {
        log_write(LOG_LEVEL_WARN, "cannot empty '%s': %s", path, g_strerror(errno));
    }
}

int guest_log_open(const Domain *domain, const char *kind, GError **error)
{
    const Daemon *daemon = domain->service->daemon;
    g_autofree char *folder = g_build_filename(daemon->paths.log_dir, "qemu", NULL);
    g_autofree char *path =
        g_strdup_printf("%s/%s%s%s" SUFFIX, folder, domain->name, kind ? "-" : "", kind ?: "");
    g_mkdir_with_parents(folder, 0700);
    int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        lodge_error_set_errno(error, errno, "cannot open '%s'", path);
        return -1;
    }
    rotate(daemon, fd, path);
    return fd;
}

/* --- those that grow --- */

static void rotate_name(const GuestLogs *logs, const char *name)
{
    g_autofree char *path = g_build_filename(logs->folder, name, NULL);
    autofd fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd >= 0) {
        rotate(logs->daemon, fd, path);
    }
}

static void rotate_all(const GuestLogs *logs)
{
    GDir *dir = g_dir_open(logs->folder, 0, NULL);
    const char *name;
    while (dir && !daemon_is_stopping(logs->daemon) && (name = g_dir_read_name(dir))) {
        if (g_str_has_suffix(name, SUFFIX)) {
            rotate_name(logs, name);
        }
    }
    g_clear_pointer(&dir, g_dir_close);
}

static void run_rotator(gpointer data, gpointer opaque)
{
    GuestLogs *logs = opaque;
    GHashTable *names = data;
    GHashTableIter iter;
    gpointer name;
    if (g_hash_table_size(names) == 0) {
        rotate_all(logs);
    }
    g_hash_table_iter_init(&iter, names);
    while (!daemon_is_stopping(logs->daemon) && g_hash_table_iter_next(&iter, &name, NULL)) {
        rotate_name(logs, name);
    }
    g_hash_table_unref(names);
    g_atomic_int_set(&logs->is_rotating, 0);
}

static GHashTable *names_new(void)
{
    return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
}

static void push(GuestLogs *logs, GHashTable *names)
{
    g_atomic_int_set(&logs->is_rotating, 1);
    g_thread_pool_push(logs->rotator, names, NULL);
}

/* Adds the names in @size bytes of events. False: some were lost. */
static bool note_names(GHashTable *names, const char *events, size_t size)
{
    struct inotify_event event;
    for (size_t at = 0; at + sizeof(event) <= size; at += sizeof(event) + event.len) {
        memcpy(&event, events + at, sizeof(event));
        if (event.mask & IN_Q_OVERFLOW) {
            return false;
        }
        const char *name = event.len ? events + at + sizeof(event) : "";
        if (g_str_has_suffix(name, SUFFIX)) {
            g_hash_table_add(names, g_strdup(name));
        }
    }
    return true;
}

/* What grew since the last look. */
static void look(void *opaque)
{
    GuestLogs *logs = opaque;
    if (g_atomic_int_get(&logs->is_rotating)) {
        loop_timer_set(logs->timer, clock_monotonic_ns() + LOOK_NS);
        return;
    }
    g_autofree char *events = g_malloc(EVENTS_SIZE);
    g_autoptr(GHashTable) names = names_new();
    bool is_complete = true;
    ssize_t n;
    while ((n = read(logs->fd, events, EVENTS_SIZE)) > 0) {
        is_complete &= note_names(names, events, (size_t)n);
    }
    if (!is_complete) {
        g_hash_table_remove_all(names);
    }
    if (!is_complete || g_hash_table_size(names) > 0) {
        push(logs, g_steal_pointer(&names));
    }
    loop_watch_set_events(logs->watch, EPOLLIN);
}

/* Something grew: what else does within a second is looked at together. */
static void on_growth(void *opaque, uint32_t events)
{
    GuestLogs *logs = opaque;
    (void)events;
    loop_watch_set_events(logs->watch, 0);
    loop_timer_set(logs->timer, clock_monotonic_ns() + LOOK_NS);
}

static bool watch_folder(GuestLogs *logs)
{
    logs->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (logs->fd < 0 || inotify_add_watch(logs->fd, logs->folder, IN_MODIFY | IN_ONLYDIR) < 0) {
        return false;
    }
    logs->timer = loop_timer_new(logs->daemon->loop, look, logs);
    logs->watch = loop_watch(logs->daemon->loop, logs->fd, EPOLLIN, on_growth, logs);
    return logs->timer && logs->watch;
}

void guest_logs_start(DomainService *service)
{
    GuestLogs *logs = g_new0(GuestLogs, 1);
    service->logs = logs;
    logs->daemon = service->daemon;
    logs->folder = g_build_filename(service->daemon->paths.log_dir, "qemu", NULL);
    logs->rotator = g_thread_pool_new(run_rotator, logs, 1, FALSE, NULL);
    g_mkdir_with_parents(logs->folder, 0700);
    if (!watch_folder(logs)) {
        log_write(LOG_LEVEL_WARN,
                  "cannot watch '%s' (%s): logs of guests are shortened at their start alone",
                  logs->folder, g_strerror(errno));
    }
    /* Guests may have gone on without a daemon. */
    push(logs, names_new());
}

void guest_logs_stop(DomainService *service)
{
    GuestLogs *logs = g_steal_pointer(&service->logs);
    loop_unwatch(logs->watch);
    loop_timer_free(logs->timer);
    g_thread_pool_free(logs->rotator, FALSE, TRUE);
    cleanup_close(&logs->fd);
    g_free(logs->folder);
    g_free(logs);
}
