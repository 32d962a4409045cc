/* Starting guests: what they use is opened, their process made and their monitor asked.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "base/log.h"
#include "block/lock.h"
#include "daemon/client.h"
#include "daemon/domain/command-line.h"
#include "daemon/domain/fd-groups.h"
#include "daemon/domain/guest-firmware.h"
#include "daemon/domain/guest-log.h"
#include "daemon/domain/guest-user.h"
#include "daemon/domain/helper-process.h"
#include "daemon/domain/host-devices.h"
#include "daemon/domain/hotplug.h"
#include "daemon/domain/memory-plug.h"
#include "daemon/domain/memory.h"
#include "daemon/domain/perf.h"
#include "daemon/domain/runtime.h"
#include "daemon/domain/tap.h"
#include "daemon/domain/tpm.h"
#include "daemon/domain/tuning.h"
#include "daemon/domain/vcpus.h"
#include "daemon/domain/virtiofs.h"
#include "daemon/error.h"
#include "gbase/error.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LOG_TAIL 2048

/* --- what the guest uses --- */

/* Names the folder that may not be searched, which the system's reason does not. */
static void set_open_error(GError **error, const char *path, int err)
{
    g_autofree char *folder = g_path_get_dirname(path);
    while (err == EACCES && strcmp(folder, "/") != 0 && access(folder, X_OK) == 0) {
        break;
    }
    if (err == EACCES && access(folder, X_OK) < 0) {
        while (strcmp(folder, "/") != 0) {
            g_autofree char *parent = g_path_get_dirname(folder);
            if (access(parent, X_OK) == 0) {
                break;
            }
            g_free(folder);
            folder = g_steal_pointer(&parent);
        }
        daemon_error_set(error, DAEMON_ERROR_SYSTEM,
                         "Cannot access storage file '%s': no permission to search the folder '%s'",
                         path, folder);
        return;
    }
    daemon_error_set(error, DAEMON_ERROR_SYSTEM, "Cannot access storage file '%s': %s", path,
                     g_strerror(err));
}

/* By its path, or what a client gave for it. */
static int open_image(Domain *domain, const DomainSource *source, bool writes, GError **error)
{
    if (source->fd_group) {
        return fd_groups_open(domain, source->fd_group, writes, error);
    }
    int fd = open(source->path, (writes ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        set_open_error(error, source->path, errno);
    }
    return fd;
}

static int open_disk(void *opaque, const DomainDisk *disk, GError **error)
{
    const char *path = disk->source.path;
    bool writes = !disk->is_readonly && disk->device_type != DISK_DEVICE_CDROM;
    autofd fd = open_image(opaque, &disk->source, writes, error);
    struct stat st;
    if (fd < 0) {
        return -1;
    }
    if (fstat(fd, &st) < 0) {
        set_open_error(error, path, errno);
        return -1;
    }
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
        daemon_error_set(error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
                         "disk '%s': '%s' is neither a file nor a block device", disk->target_dev,
                         path);
        return -1;
    }
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0) {
        lodge_error_set_errno(error, errno, "disk '%s'", disk->target_dev);
        return -1;
    }
    g_autoptr(GError) reason = NULL;
    if (!block_lock_image(fd, path, writes, disk->is_shareable, &reason)) {
        daemon_error_set(error, DAEMON_ERROR_RESOURCE_BUSY, "disk '%s': %s", disk->target_dev,
                         reason->message);
        return -1;
    }
    /* QEMU locks by itself, through each descriptor it opens: a lock held here would be in its way.
     * It was taken to refuse early and by name. */
    struct flock unlock = { .l_type = F_UNLCK, .l_whence = SEEK_SET };
    const Domain *domain = opaque;
    if (domain->engine == ENGINE_QEMU && fcntl(fd, F_OFD_SETLK, &unlock) < 0) {
        lodge_error_set_errno(error, errno, "disk '%s': cannot unlock '%s'", disk->target_dev,
                              path);
        return -1;
    }
    return steal_fd(&fd);
}

/* Does not wait for who writes to a pipe. */
static int open_to_read(const char *path, GError **error)
{
    struct stat st;
    autofd fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int rc = fd < 0 || fstat(fd, &st) < 0 ? -errno : fd_set_nonblocking(fd, false);
    if (rc < 0) {
        set_open_error(error, path, -rc);
        return -1;
    }
    if (S_ISFIFO(st.st_mode)) {
        daemon_error_set(error, DAEMON_ERROR_INTERNAL,
                         "internal error: cannot open '%s': it is a pipe", path);
        return -1;
    }
    return steal_fd(&fd);
}

static int open_file(void *opaque, const char *path, bool for_writing, GError **error)
{
    if (!for_writing) {
        return open_to_read(path, error);
    }
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        set_open_error(error, path, errno);
    }
    return fd;
}

static int listen_unix(void *opaque, const char *path, GError **error)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof(address.sun_path)) {
        daemon_error_set(error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
                         "the path of the socket '%s' has more than %zu bytes", path,
                         sizeof(address.sun_path) - 1);
        return -1;
    }
    /* The guest's own is there, or the guest has ended and took it along. */
    const Domain *domain = opaque;
    g_autofree char *folder = g_path_get_dirname(path);
    if (!domain || g_strcmp0(folder, domain->dir) != 0) {
        g_mkdir_with_parents(folder, 0700);
    }
    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    autofd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct stat st;
    if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode)) {
        g_unlink(path);
    }
    /* The file gets the socket's mode: at no time may others connect. */
    if (fd < 0 || fchmod(fd, 0600) < 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 4) < 0) {
        lodge_error_set_errno(error, errno, "cannot listen on '%s'", path);
        return -1;
    }
    return steal_fd(&fd);
}

static int lend_file(void *opaque, const char *path, GError **error)
{
    return guest_user_lend(opaque, path, error);
}

static int open_vsock(void *opaque, DomainVsock *vsock, GError **error)
{
    return host_vsock_open(&host_tree, vsock, error);
}

static bool take_hostdev(void *opaque, DomainHostdev *hostdev, int *out_fd, GError **error)
{
    Domain *domain = opaque;
    g_autoptr(DomainDef) live = domain_copy_live(domain, error);
    if (!live) {
        return false;
    }
    const HostClaim claim = { .lock = &domain->service->host_devices,
                              .folder = domain->dir,
                              .def = live,
                              .uid = domain->uid };
    return host_device_take(&host_tree, &claim, hostdev, out_fd, error);
}

static int open_device(void *opaque, const char *path, int flags, GError **error)
{
    int fd = open(path, flags | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        daemon_error_set(error, DAEMON_ERROR_SYSTEM, "Could not open device '%s': %s", path,
                         g_strerror(errno));
    }
    return fd;
}

static int connect_unix(void *opaque, const char *path, GError **error)
{
    int fd = runtime_connect_unix(path);
    if (fd < 0) {
        daemon_error_set(error, DAEMON_ERROR_SYSTEM,
                         "Cannot connect to the socket '%s': %s; start what listens there first",
                         path, g_strerror(-fd));
        return -1;
    }
    return fd;
}

static int start_helper(void *opaque, DomainDevice *device, GError **error)
{
    return device->kind == DEVICE_TPM ? tpm_start(opaque, (const DomainTpm *)device, error)
                                      : virtiofs_start(opaque, (DomainFilesystem *)device, error);
}

const CommandLineOps domain_resources = {
    .open_vsock = open_vsock,
    .take_hostdev = take_hostdev,
    .lend_file = lend_file,
    .open_disk = open_disk,
    .open_file = open_file,
    .listen_unix = listen_unix,
    .open_tap = tap_open,
    .open_device = open_device,
    .connect_unix = connect_unix,
    .start_helper = start_helper,
    .has_images = true,
};

/* --- the process --- */

/* The command, for a person who reads the log. */
static void log_command(int fd, char *const *argv)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    g_autofree char *date = g_date_time_format(now, "%Y-%m-%d %H:%M:%S");
    g_autofree char *command = g_strjoinv(" ", (char **)argv);
    dprintf(fd, "%s: starting up, lodge %s\n%s\n", date, LODGE_VERSION, command);
}

/* What the process said since @start; it ends up in error messages. (transfer full) */
static char *read_log(int fd, off_t start)
{
    struct stat st;
    char *text = g_malloc0(LOG_TAIL + 1);
    if (fstat(fd, &st) == 0) {
        /* It may have been emptied since. */
        off_t from = MAX(start <= st.st_size ? start : 0, st.st_size - LOG_TAIL);
        if (pread(fd, text, LOG_TAIL, from) < 0) {
            text[0] = 0;
        }
    }
    return g_strstrip(text);
}

static off_t size_of(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 ? st.st_size : 0;
}

/* Spawns and notes the process, so that a daemon started later finds it, before it begins. */
static bool spawn(Domain *domain, const CommandLine *line, int log_fd, GError **error)
{
    ProcessSpec spec = {
        .argv = (char *const *)line->args->pdata,
        .env = (char *const *)line->env->pdata,
        .fds = (const int *)(void *)line->fds->data,
        .n_fds = line->fds->len,
        .log_fd = log_fd,
        .uid = (uid_t)-1,
    };
    GuestProcess process;
    if (!guest_user_prepare(domain, &spec, error) ||
        !guest_user_check_paths(domain, &spec, error) ||
        (spec.uid != (uid_t)-1 && !host_devices_give(&host_tree, domain->live, spec.uid, error)) ||
        !process_spawn(&spec, &process, error)) {
        return false;
    }
    failpoint("start-spawned");
    g_mutex_lock(&domain->lock);
    domain->runtime->process = process;
    bool ok = status_write_locked(domain, error);
    g_mutex_unlock(&domain->lock);
    failpoint("start-noted");
    return ok && runtime_watch_exit(domain, error) &&
           host_devices_raise_limits(domain->live, domain->runtime->process.pid, error) &&
           process_release(&domain->runtime->process, spec.argv[0], error);
}

/* Whether nobody listens there, by IPv6 with IPv4, or by IPv4 where the host has no other. */
static bool port_is_free(unsigned port)
{
    struct sockaddr_in6 any6 = { .sin6_family = AF_INET6, .sin6_port = g_htons(port) };
    struct sockaddr_in any4 = { .sin_family = AF_INET, .sin_port = g_htons(port) };
    int one = 1;
    autofd fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        return bind(fd, (struct sockaddr *)&any6, sizeof(any6)) == 0;
    }
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    return fd >= 0 && bind(fd, (struct sockaddr *)&any4, sizeof(any4)) == 0;
}

static bool prepare_graphics(DomainDef *def, GError **error)
{
    XmlList *list = &def->devices[DEVICE_GRAPHICS];
    for (unsigned i = 0; i < list->count; i++) {
        DomainGraphics *graphics = list->item[i];
        if (graphics->type != GRAPHICS_VNC) {
            continue;
        }
        if (graphics->port > 0 && !port_is_free((unsigned)graphics->port)) {
            daemon_error_set(error, DAEMON_ERROR_INTERNAL,
                             "internal error: port %" G_GINT64_FORMAT
                             " of <graphics type='vnc'> is in use by another "
                             "program; choose another, or autoport='yes'",
                             (gint64)graphics->port);
            return false;
        }
        for (unsigned port = 5900; port < 6900 && graphics->port <= 0; port++) {
            if (port_is_free(port)) {
                graphics->port = (int)port;
            }
        }
        if (graphics->port <= 0) {
            daemon_error_set(error, DAEMON_ERROR_INTERNAL,
                             "internal error: no port from 5900 to 6899 is free");
            return false;
        }
    }
    return true;
}

/* Where the file of variables is made, no other guest may have it: that one would go on with a file
 * that has no name any more. */
static bool check_nvram_is_free(const Domain *domain, const char *nvram, GError **error)
{
    g_autoptr(GPtrArray) all = service_all(domain->service);
    for (guint i = 0; i < all->len; i++) {
        Domain *other = g_ptr_array_index(all, i);
        if (other == domain) {
            continue;
        }
        g_mutex_lock(&other->lock);
        bool is_live = other->live != NULL;
        g_autofree char *name = is_live ? g_strdup(other->name) : NULL;
        g_autofree char *path = is_live ? g_strdup(domain_os_nvram_path(&other->live->os)) : NULL;
        g_mutex_unlock(&other->lock);
        if (fd_is_same_path(path, nvram)) {
            daemon_error_set(error, DAEMON_ERROR_RESOURCE_BUSY,
                             "the file of the firmware's variables '%s' cannot be made anew: the "
                             "running domain '%s' uses it",
                             nvram, name);
            return false;
        }
    }
    return true;
}

/* What the guest boots by, and the file it keeps its variables in. */
static bool prepare_firmware(const Domain *domain, DomainDef *def, bool is_reset, GError **error)
{
    const DomainService *service = domain->service;
    FirmwareHost host = { .is_session = service->daemon->session, .nvram_dir = service->nvram_dir };
    if (def->os.firmware == OS_FIRMWARE_NONE && !def->os.loader) {
        return true;
    }
    if (!guest_firmware_choose(def, &host, is_reset, error)) {
        return false;
    }
    const char *nvram = domain_os_nvram_path(&def->os);
    bool is_made = nvram && (is_reset || !g_file_test(nvram, G_FILE_TEST_EXISTS));
    return (!is_made || check_nvram_is_free(domain, nvram, error)) &&
           guest_firmware_prepare_nvram(def, &host, is_reset, error);
}

static bool make_folder(const Domain *domain, GError **error)
{
    g_autofree char *own = g_build_filename(domain->dir, ENGINE_FOLDER, NULL);
    if (g_mkdir_with_parents(own, 0700) < 0) {
        lodge_error_set_errno(error, errno, "cannot create '%s'", own);
        return false;
    }
    return true;
}

/* QEMU's main loop and the thread of its monitor may both see the daemon's connection: who comes
 * second to an accept() that blocks would wait for another, and the guest would never start. */
static int listen_for_monitor(const char *path, GError **error)
{
    int fd = listen_unix(NULL, path, error);
    int rc = fd < 0 ? 0 : fd_set_nonblocking(fd, true);
    if (rc < 0) {
        lodge_error_set_errno(error, -rc, "cannot listen on '%s'", path);
        cleanup_close(&fd);
    }
    return fd;
}

/* Opens all that the guest uses, and fills in what was chosen for it. That takes time, while others
 * read the live definition: a copy takes its place in the end. (transfer full) */
static CommandLine *prepare(Domain *domain, unsigned flags, GError **error)
{
    g_autoptr(DomainDef) def = domain_copy_live(domain, error);
    if (!def || !make_folder(domain, error)) {
        return NULL;
    }
    int monitor_fd = listen_for_monitor(domain->runtime->monitor_path, error);
    if (monitor_fd < 0 || !prepare_graphics(def, error) ||
        !prepare_firmware(domain, def, flags & START_RESET_NVRAM, error)) {
        cleanup_close(&monitor_fd);
        return NULL;
    }
    CommandLine *line =
        command_line_build(def, &domain_resources, domain, domain->dir, monitor_fd, error);
    if (line) {
        g_mutex_lock(&domain->lock);
        DomainDef *old = domain->live;
        domain->live = g_steal_pointer(&def);
        g_mutex_unlock(&domain->lock);
        domain_def_free(old);
    }
    return line;
}

/* Everything up to a monitor that answers. */
static bool launch(Domain *domain, int log_fd, unsigned flags, GError **error)
{
    g_autoptr(CommandLine) line = prepare(domain, flags, error);
    if (!line) {
        return false;
    }
    failpoint("start-prepared");
    log_command(log_fd, (char *const *)line->args->pdata);
    return spawn(domain, line, log_fd, error) && runtime_connect_monitor(domain, error) &&
           runtime_refresh(domain, REFRESH_STARTED, error);
}

/* Puts what the engine chose into the live definition. With lock. */
static void note_ptys_in_def_locked(Domain *domain)
{
    static const DomainDeviceKind kinds[] = { DEVICE_SERIAL, DEVICE_PARALLEL, DEVICE_CONSOLE,
                                              DEVICE_CHANNEL };
    const char *first_serial = NULL;
    for (unsigned k = 0; k < G_N_ELEMENTS(kinds); k++) {
        XmlList *list = &domain->live->devices[kinds[k]];
        for (unsigned i = 0; i < list->count; i++) {
            DomainCharDevice *device = list->item[i];
            const char *alias = device->device.alias ?: "";
            const char *path = g_hash_table_lookup(domain->runtime->ptys, alias);
            if (kinds[k] == DEVICE_CONSOLE && !path && i == 0) {
                path = first_serial;
            }
            if (kinds[k] == DEVICE_SERIAL && i == 0) {
                first_serial = path;
            }
            if (path && device->source.type == CHARDEV_PTY) {
                g_free(device->source.path);
                device->source.path = g_strdup(path);
                if (kinds[k] == DEVICE_CONSOLE) {
                    g_free(device->tty);
                    device->tty = g_strdup(path);
                }
            }
        }
    }
}

static bool set_vnc_password(Domain *domain, QmpClient *monitor, GError **error)
{
    XmlList *list = &domain->live->devices[DEVICE_GRAPHICS];
    const DomainGraphics *graphics = list->count ? list->item[0] : NULL;
    if (!graphics || !graphics->passwd || graphics->type != GRAPHICS_VNC) {
        return true;
    }
    return qmp_client_run(monitor, "set_password",
                          qmp_object("s:protocol", "vnc", "s:password", graphics->passwd,
                                     "s:connected",
                                     domain_name(graphics_connected, graphics->connected), NULL),
                          error);
}

/* Sets the balloon to what is less than the most, links that are down, and lets it run. */
static bool run_guest(Domain *domain, unsigned flags, GError **error)
{
    g_autoptr(QmpClient) monitor = domain_get_monitor(domain, error);
    if (!monitor || !set_vnc_password(domain, monitor, error) ||
        !hotplug_finish_start(domain, monitor, error) ||
        !vcpus_plug_at_start(domain, monitor, error) || !tuning_apply(domain, monitor, error) ||
        !memory_apply_period(domain, monitor, error) || !perf_apply(domain, error)) {
        return false;
    }
    g_mutex_lock(&domain->lock);
    note_ptys_in_def_locked(domain);
    const DomainDef *def = domain->live;
    guint64 current = def->current_memory;
    bool has_balloon =
        def->devices[DEVICE_MEMBALLOON].count &&
        ((DomainMemballoon *)def->devices[DEVICE_MEMBALLOON].item[0])->model != BALLOON_NO;
    bool shrink = has_balloon && current && current < def->memory;
    domain->runtime->balloon_kib =
        has_balloon && domain->runtime->balloon_kib ? domain->runtime->balloon_kib : def->memory;
    g_mutex_unlock(&domain->lock);
    if (shrink) {
        qmp_client_run(monitor, "balloon", qmp_object("i:value", (gint64)current * 1024, NULL),
                       NULL);
    }
    memory_plug_refresh(domain, monitor); /* NVDIMMs are not counted as memory it has */
    if (!(flags & START_PAUSED) && !qmp_client_run(monitor, "cont", NULL, error)) {
        return false;
    }
    g_mutex_lock(&domain->lock);
    if (flags & START_PAUSED) {
        domain_set_state_locked(domain, DOMAIN_PAUSED, PAUSED_USER);
    } else {
        failpoint("start-continued");
        domain_set_state_locked(domain, DOMAIN_RUNNING, RUNNING_BOOTED);
    }
    bool ok = status_write_locked(domain, error);
    g_mutex_unlock(&domain->lock);
    return ok;
}

static void call_ended(void *opaque)
{
    runtime_ended(opaque);
}

/* Without a process there is nothing to watch: the runtime goes at once. */
static void drop_runtime(Domain *domain)
{
    g_mutex_lock(&domain->lock);
    DomainRuntime *runtime = g_steal_pointer(&domain->runtime);
    g_autoptr(DomainDef) live = g_steal_pointer(&domain->live);
    bool is_gone = !domain->is_persistent;
    domain_set_state_locked(domain, DOMAIN_SHUTOFF, SHUTOFF_FAILED);
    g_mutex_unlock(&domain->lock);
    helpers_clear(runtime);
    cleanup_close(&runtime->process.go_fd);
    runtime->process.go_fd = -1;
    process_wait(&runtime->process, 5000);
    process_reap(&runtime->process);
    status_remove(domain);
    runtime_remove_folder(domain->service, domain->dir);
    runtime_free(runtime);
    if (is_gone && live) {
        tpm_forget(domain->service->daemon, live, 0);
    }
    service_deactivate(domain->service, domain);
}

/* Nothing was started, or it ended: the domain is as before. */
static void undo_start(Domain *domain)
{
    g_mutex_lock(&domain->lock);
    DomainRuntime *runtime = domain->runtime;
    bool has_ended = runtime->has_ended;
    bool is_watched = runtime->exit_watch != NULL;
    runtime->has_failed = true;
    runtime->is_starting = false;
    process_signal(&runtime->process, SIGKILL);
    g_mutex_unlock(&domain->lock);
    if (has_ended || !is_watched) {
        helpers_kill(domain);
    }
    if (has_ended) {
        if (loop_call_wait(domain->service->daemon->loop, call_ended, domain) < 0) {
            log_write(LOG_LEVEL_ERROR, "domain '%s': out of memory while it ends", domain->name);
        }
    } else if (is_watched) {
        runtime_wait_ended(domain, 15000);
    } else {
        drop_runtime(domain);
    }
}

/* The end of starting: from here on an end is the loop's to handle. False: it has ended already. */
static bool finish_start(Domain *domain, GError **error)
{
    g_mutex_lock(&domain->lock);
    bool has_ended = domain->runtime->has_ended;
    domain->runtime->is_starting = has_ended;
    g_mutex_unlock(&domain->lock);
    if (has_ended) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_FAILED,
                         "the guest's process ended right after its start");
    }
    return !has_ended;
}

static void owner_left(void *opaque)
{
    Domain *domain = opaque;
    g_mutex_lock(&domain->lock);
    if (domain->runtime) {
        domain->runtime->is_destroyed = true;
        process_signal(&domain->runtime->process, SIGKILL);
    }
    g_mutex_unlock(&domain->lock);
    domain_unref(domain);
}

/* The guest may have ended meanwhile: then nobody has it. */
static void give_to_client(Domain *domain, DaemonClient *client)
{
    domain_ref(domain);
    g_mutex_lock(&domain->lock);
    unsigned handle = domain->runtime ? client_on_close(client, owner_left, domain) : 0;
    bool is_late = domain->runtime && !handle;
    if (handle) {
        domain->runtime->owner = client_ref(client);
        domain->runtime->owner_handle = handle;
    }
    g_mutex_unlock(&domain->lock);
    if (is_late) {
        owner_left(domain);
    } else if (!handle) {
        domain_unref(domain);
    }
}

/* What @said is about, by its name on the host: the engine has it as a descriptor. NULL: nothing of
 * that kind. (transfer full) */
static char *subject_of(const DomainDef *def, const char *said)
{
    const XmlList *disks = &def->devices[DEVICE_DISK];
    for (unsigned i = 0; i < disks->count; i++) {
        const DomainDisk *disk = disks->item[i];
        g_autofree char *drive = g_strdup_printf("drive-%s", disk->device.alias);
        const char *at = strstr(said, drive);
        if (at && disk->source.path && !g_ascii_isdigit(at[strlen(drive)])) {
            return g_strdup_printf("disk '%s' is '%s'", disk->target_dev, disk->source.path);
        }
    }
    if (!strstr(said, "/fdset/") && !strstr(said, "/proc/self/fd/")) {
        return NULL;
    }
    return strstr(said, "initrd") && def->os.initrd   ? g_strdup_printf("'%s'", def->os.initrd)
           : strstr(said, "kernel") && def->os.kernel ? g_strdup_printf("'%s'", def->os.kernel)
                                                      : NULL;
}

static void explain_failure(const DomainDef *def, int log_fd, off_t log_start, GError **error)
{
    g_autofree char *said = read_log(log_fd, log_start);
    const char *newline = strrchr(said, '\n');
    const char *last = newline ? newline + 1 : said;
    if (!def || !error || !*error || (*error)->domain != LODGE_ERROR) {
        return;
    }
    g_autofree char *old = g_strdup((*error)->message);
    /* The log begins with the date and the command. */
    if (strstr(last, " -uuid ")) {
        g_prefix_error(error, "the emulator '%s' said nothing, then: ", def->emulator);
    } else if (*last) {
        g_autofree char *subject = subject_of(def, last);
        g_clear_error(error);
        daemon_error_set(error, DAEMON_ERROR_INTERNAL,
                         "internal error: process exited while connecting to monitor: %s (%s)",
                         last, subject ?: old);
    }
}

bool domain_start(Domain *domain, unsigned flags, DaemonClient *client, GError **error)
{
    DomainService *service = domain->service;
    autofd log_fd = guest_log_open(domain, NULL, error);
    service_activate(service, domain, -1);
    g_mutex_lock(&domain->lock);
    domain->live->id = domain->id;
    domain_def_assign_aliases(domain->live);
    domain->runtime = runtime_new(domain, service->daemon->paths.run_dir, domain->id);
    domain->engine = command_line_engine(domain->live->emulator);
    domain->uid = 0;
    domain->runtime->is_starting = true;
    domain->runtime->is_owned = client && (flags & START_AUTODESTROY);
    domain_set_state_locked(domain, DOMAIN_PAUSED, PAUSED_STARTING_UP);
    g_mutex_unlock(&domain->lock);
    off_t log_start = log_fd >= 0 ? size_of(log_fd) : 0;
    bool launched = log_fd >= 0 && launch(domain, log_fd, flags, error);
    if (!launched || !run_guest(domain, flags, error) || !finish_start(domain, error)) {
        g_autoptr(DomainDef) def = domain_copy_live(domain, NULL);
        undo_start(domain);
        if (log_fd >= 0) {
            explain_failure(def, log_fd, log_start, error);
        }
        return false;
    }
    g_mutex_lock(&domain->lock);
    domain_emit_locked(domain, EVENT_STARTED, STARTED_BOOTED);
    /* "Resumed" was told when the monitor said so. */
    if (flags & START_PAUSED) {
        domain_emit_locked(domain, EVENT_SUSPENDED, SUSPENDED_PAUSED);
    }
    g_mutex_unlock(&domain->lock);
    if (client && (flags & START_AUTODESTROY)) {
        give_to_client(domain, client);
    }
    return true;
}
