/* Control groups by their files. SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/cgroup.h"

#include "base/cleanup.h"
#include "daemon/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BFQ_WEIGHT_MAX 1000u

static const struct {
    const char *mounts[2]; /* version 1: below the root */
    const char *v2;        /* name in cgroup.controllers; NULL: not there */
} controllers[CGROUP_CONTROLLERS] = {
    [CGROUP_CPU] = { { "cpu", "cpu,cpuacct" }, "cpu" },
    [CGROUP_CPUACCT] = { { "cpuacct", "cpu,cpuacct" }, NULL },
    [CGROUP_CPUSET] = { { "cpuset", NULL }, "cpuset" },
    [CGROUP_MEMORY] = { { "memory", NULL }, "memory" },
    [CGROUP_BLKIO] = { { "blkio", NULL }, "io" },
};

/* --- files --- */

static char *read_file(const char *folder, const char *file)
{
    g_autofree char *path = g_build_filename(folder, file, NULL);
    char *text = NULL;
    g_file_get_contents(path, &text, NULL, NULL);
    return text ? g_strstrip(text) : NULL;
}

static bool write_file(const char *folder, const char *file, const char *text, GError **error)
{
    g_autofree char *path = g_build_filename(folder, file, NULL);
    autofd fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text)) {
        return true;
    }
    daemon_error_set(error,
                     errno == ENOENT ? DAEMON_ERROR_OPERATION_UNSUPPORTED : DAEMON_ERROR_SYSTEM,
                     "cannot write '%s' to the control group's file '%s': %s", text, path,
                     errno == ENOENT ? "the host's kernel has no such limit" : g_strerror(errno));
    return false;
}

static bool write_number(const char *folder, const char *file, gint64 value, GError **error)
{
    g_autofree char *text = g_strdup_printf("%" G_GINT64_FORMAT, value);
    return write_file(folder, file, text, error);
}

static bool has_word(const char *text, const char *word)
{
    g_auto(GStrv) words = g_strsplit(text ?: "", " ", -1);
    return g_strv_contains((const char *const *)words, word);
}

/* --- where they are --- */

static char *find_v1(const char *root, CgroupController controller)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(controllers[controller].mounts); i++) {
        const char *mount = controllers[controller].mounts[i];
        g_autofree char *procs = mount ? g_build_filename(root, mount, "cgroup.procs", NULL) : NULL;
        if (procs && access(procs, F_OK) == 0) {
            return g_build_filename(root, mount, NULL);
        }
    }
    return NULL;
}

Cgroup *cgroup_find(const char *root, const char *name)
{
    Cgroup *group = g_new0(Cgroup, 1);
    g_autofree char *available = read_file(root, "cgroup.controllers");
    group->root = g_strdup(root);
    group->name = g_strdup(name);
    group->is_v2 = available != NULL;
    for (unsigned i = 0; i < CGROUP_CONTROLLERS; i++) {
        g_autofree char *base = NULL;
        if (!group->is_v2) {
            base = find_v1(root, i);
        } else if (controllers[i].v2 && has_word(available, controllers[i].v2)) {
            base = g_strdup(root);
        }
        group->folders[i] = base ? g_build_filename(base, name, NULL) : NULL;
    }
    return group;
}

void cgroup_free(Cgroup *group)
{
    if (group) {
        for (unsigned i = 0; i < CGROUP_CONTROLLERS; i++) {
            g_free(group->folders[i]);
        }
        g_free(group->root);
        g_free(group->name);
        g_free(group);
    }
}

/* --- making and entering --- */

static bool make_folder(const char *path, GError **error)
{
    if (mkdir(path, 0755) == 0 || errno == EEXIST) {
        return true;
    }
    daemon_error_set(error, DAEMON_ERROR_SYSTEM, "cannot create the control group '%s': %s", path,
                     g_strerror(errno));
    return false;
}

/* A new group of cpuset (version 1) has no CPUs and nodes: nothing can enter it. */
static bool inherit_cpuset(const char *folder, GError **error)
{
    static const char *const files[] = { "cpuset.cpus", "cpuset.mems" };
    g_autofree char *parent = g_path_get_dirname(folder);
    for (unsigned i = 0; i < G_N_ELEMENTS(files); i++) {
        g_autofree char *own = read_file(folder, files[i]);
        g_autofree char *above = read_file(parent, files[i]);
        if (own && !*own && above && !write_file(folder, files[i], above, error)) {
            return false;
        }
    }
    return true;
}

/* Lets groups below @folder use the controller (version 2). */
static bool enable_below(const char *folder, CgroupController controller, GError **error)
{
    g_autofree char *text = g_strconcat("+", controllers[controller].v2, NULL);
    g_autofree char *enabled = read_file(folder, "cgroup.subtree_control");
    return has_word(enabled, controllers[controller].v2) ||
           write_file(folder, "cgroup.subtree_control", text, error);
}

/* Makes "machine" and the group in it. */
static bool make_group(const Cgroup *group, CgroupController controller, GError **error)
{
    const char *folder = group->folders[controller];
    g_autofree char *parent = g_path_get_dirname(folder);
    g_autofree char *base = g_path_get_dirname(parent);
    if (group->is_v2 && !enable_below(base, controller, error)) {
        return false;
    }
    if (!make_folder(parent, error) ||
        (controller == CGROUP_CPUSET && !group->is_v2 && !inherit_cpuset(parent, error)) ||
        (group->is_v2 && !enable_below(parent, controller, error))) {
        return false;
    }
    return make_folder(folder, error) &&
           (controller != CGROUP_CPUSET || group->is_v2 || inherit_cpuset(folder, error));
}

/* Version 2: whether the process, with all its threads, is in the group or those of threads in it.
 * Entering it again would take the threads out of theirs. */
static bool is_inside(const Cgroup *group, pid_t pid)
{
    g_autofree char *proc = g_strdup_printf("/proc/%d", (int)pid);
    g_autofree char *text = group->is_v2 ? read_file(proc, "cgroup") : NULL;
    g_autofree char *own = g_strconcat("0::/", group->name, NULL);
    g_auto(GStrv) lines = g_strsplit(text ?: "", "\n", -1);
    for (unsigned i = 0; lines[i]; i++) {
        const char *rest = g_str_has_prefix(lines[i], own) ? lines[i] + strlen(own) : "none";
        if (*rest == '\0' || *rest == '/') {
            return true;
        }
    }
    return false;
}

bool cgroup_enter(const Cgroup *group, CgroupController controller, pid_t pid, GError **error)
{
    static const char *const names[] = { "cpu", "cpuacct", "cpuset", "memory", "blkio" };
    if (!group->folders[controller]) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_INVALID,
                         "Requested operation is not valid: cgroup %s controller is not mounted "
                         "below '%s'",
                         names[controller], group->root);
        return false;
    }
    return make_group(group, controller, error) &&
           (is_inside(group, pid) ||
            write_number(group->folders[controller], "cgroup.procs", pid, error));
}

bool cgroup_exists(const Cgroup *group, CgroupController controller, const char *sub)
{
    g_autofree char *folder =
        group->folders[controller] ? g_build_filename(group->folders[controller], sub, NULL) : NULL;
    return folder && access(folder, F_OK) == 0;
}

bool cgroup_enter_threads(const Cgroup *group, const char *sub, const GArray *tids, GError **error)
{
    const char *folder = group->folders[CGROUP_CPU];
    g_autofree char *below = g_build_filename(folder, sub, NULL);
    if (!make_folder(below, error)) {
        return false;
    }
    /* Version 2: threads of one process in several groups take a threaded subtree. */
    if (group->is_v2 && (!write_file(below, "cgroup.type", "threaded", error) ||
                         !enable_below(folder, CGROUP_CPU, error))) {
        return false;
    }
    for (guint i = 0; i < tids->len; i++) {
        pid_t tid = g_array_index(tids, pid_t, i);
        if (tid > 0 &&
            !write_number(below, group->is_v2 ? "cgroup.threads" : "tasks", tid, error)) {
            return false;
        }
    }
    return true;
}

/* A group and those of threads in it. */
static void remove_group(const char *folder)
{
    GDir *dir = g_dir_open(folder, 0, NULL);
    const char *name;
    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *below = g_build_filename(folder, name, NULL);
        rmdir(below);
    }
    g_clear_pointer(&dir, g_dir_close);
    rmdir(folder);
}

void cgroup_remove(const Cgroup *group)
{
    for (unsigned i = 0; i < CGROUP_CONTROLLERS; i++) {
        if (group->folders[i] && access(group->folders[i], F_OK) == 0) {
            g_autofree char *parent = g_path_get_dirname(group->folders[i]);
            remove_group(group->folders[i]);
            /* Stays while others are in it. */
            rmdir(parent);
        }
    }
}

void cgroup_remove_others(const char *root, const char *suffix, GHashTable *kept)
{
    g_autoptr(Cgroup) any = cgroup_find(root, CGROUP_PARENT "/any");
    for (unsigned i = 0; i < CGROUP_CONTROLLERS; i++) {
        g_autofree char *parent = any->folders[i] ? g_path_get_dirname(any->folders[i]) : NULL;
        GDir *dir = parent ? g_dir_open(parent, 0, NULL) : NULL;
        const char *name;
        while (dir && (name = g_dir_read_name(dir))) {
            g_autofree char *group = g_build_filename(CGROUP_PARENT, name, NULL);
            g_autofree char *folder = g_build_filename(parent, name, NULL);
            if (g_str_has_suffix(name, suffix) && !g_hash_table_contains(kept, group)) {
                remove_group(folder);
            }
        }
        g_clear_pointer(&dir, g_dir_close);
        if (parent) {
            rmdir(parent);
        }
    }
}

/* --- limits --- */

CgroupRanges cgroup_ranges(const char *root)
{
    g_autofree char *v2 = g_build_filename(root, "cgroup.controllers", NULL);
    if (access(v2, F_OK) == 0) {
        return (CgroupRanges){ { 1, 10000 }, 100, { 1, 10000 } };
    }
    return (CgroupRanges){ { 2, 262144 }, 1024, { 10, 1000 } };
}

bool cgroup_set_shares(const Cgroup *group, guint64 shares, GError **error)
{
    CgroupRanges ranges = cgroup_ranges(group->root);
    if (shares < ranges.shares.least || shares > ranges.shares.most) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: CPU shares of %" G_GUINT64_FORMAT
                         " are not possible on this host: its control groups take %u to %u",
                         shares, ranges.shares.least, ranges.shares.most);
        return false;
    }
    return write_number(group->folders[CGROUP_CPU], group->is_v2 ? "cpu.weight" : "cpu.shares",
                        (gint64)shares, error);
}

bool cgroup_set_quota(const Cgroup *group, const char *sub, guint64 period_us, gint64 quota_us,
                      GError **error)
{
    g_autofree char *folder = g_build_filename(group->folders[CGROUP_CPU], sub, NULL);
    guint64 period = period_us ? period_us : 100000;
    if (group->is_v2) {
        g_autofree char *text =
            quota_us > 0
                ? g_strdup_printf("%" G_GINT64_FORMAT " %" G_GUINT64_FORMAT, quota_us, period)
                : g_strdup_printf("max %" G_GUINT64_FORMAT, period);
        return write_file(folder, "cpu.max", text, error);
    }
    /* The kernel checks either against the other: without a quota any period is right. */
    return write_number(folder, "cpu.cfs_quota_us", -1, error) &&
           write_number(folder, "cpu.cfs_period_us", (gint64)period, error) &&
           write_number(folder, "cpu.cfs_quota_us", quota_us > 0 ? quota_us : -1, error);
}

static bool write_bytes(const char *folder, const char *file, guint64 kib, const char *none,
                        GError **error)
{
    if (kib >= G_MAXINT64 / 1024) {
        return write_file(folder, file, none, error);
    }
    return write_number(folder, file, (gint64)kib * 1024, error);
}

bool cgroup_set_memory(const Cgroup *group, guint64 hard_kib, guint64 soft_kib, guint64 swap_kib,
                       GError **error)
{
    const char *folder = group->folders[CGROUP_MEMORY];
    bool has_swap = swap_kib < G_MAXINT64 / 1024;
    if (group->is_v2) {
        guint64 swap = has_swap && hard_kib <= swap_kib ? swap_kib - hard_kib : G_MAXUINT64;
        return write_bytes(folder, "memory.max", hard_kib, "max", error) &&
               write_bytes(folder, "memory.high", soft_kib, "max", error) &&
               (write_bytes(folder, "memory.swap.max", swap, "max", has_swap ? error : NULL) ||
                !has_swap);
    }
    /* Both together must stay above the first alone: it is let go first, and set last. */
    write_file(folder, "memory.memsw.limit_in_bytes", "-1", NULL);
    return write_bytes(folder, "memory.limit_in_bytes", hard_kib, "-1", error) &&
           write_bytes(folder, "memory.soft_limit_in_bytes", soft_kib, "-1", error) &&
           (!has_swap || write_bytes(folder, "memory.memsw.limit_in_bytes", swap_kib, "-1", error));
}

bool cgroup_set_io_weight(const Cgroup *group, unsigned weight, GError **error)
{
    const char *folder = group->folders[CGROUP_BLKIO];
    if (group->is_v2) {
        g_autofree char *text = g_strdup_printf("default %u", weight);
        g_autofree char *bfq = g_strdup_printf("default %u", MIN(weight, BFQ_WEIGHT_MAX));
        /* The one is for disks that the kernel's cost model rules, the other for BFQ's. */
        bool has_bfq = write_file(folder, "io.bfq.weight", bfq, NULL);
        return write_file(folder, "io.weight", text, has_bfq ? NULL : error) || has_bfq;
    }
    return write_number(folder, "blkio.weight", weight, NULL) ||
           write_number(folder, "blkio.bfq.weight", weight, error);
}

bool cgroup_set_disk_weight(const Cgroup *group, unsigned major, unsigned minor, unsigned weight,
                            GError **error)
{
    const char *folder = group->folders[CGROUP_BLKIO];
    g_autofree char *text = g_strdup_printf("%u:%u %u", major, minor, weight);
    if (group->is_v2) {
        return write_file(folder, "io.weight", text, NULL) ||
               write_file(folder, "io.bfq.weight", text, error);
    }
    return write_file(folder, "blkio.weight_device", text, NULL) ||
           write_file(folder, "blkio.bfq.weight_device", text, error);
}

static void append_limit(GString *text, const char *name, guint64 value)
{
    if (value) {
        g_string_append_printf(text, " %s=%" G_GUINT64_FORMAT, name, value);
    } else {
        g_string_append_printf(text, " %s=max", name);
    }
}

bool cgroup_set_io_limit(const Cgroup *group, const CgroupIoLimit *limit, GError **error)
{
    const char *folder = group->folders[CGROUP_BLKIO];
    const struct {
        const char *v1, *v2;
        guint64 value;
    } parts[] = {
        { "blkio.throttle.read_bps_device", "rbps", limit->read_bytes },
        { "blkio.throttle.write_bps_device", "wbps", limit->write_bytes },
        { "blkio.throttle.read_iops_device", "riops", limit->read_ops },
        { "blkio.throttle.write_iops_device", "wiops", limit->write_ops },
    };
    g_autoptr(GString) text = g_string_new(NULL);
    g_string_printf(text, "%u:%u", limit->major, limit->minor);
    for (unsigned i = 0; i < G_N_ELEMENTS(parts); i++) {
        if (group->is_v2) {
            append_limit(text, parts[i].v2, parts[i].value);
            continue;
        }
        g_autofree char *line =
            g_strdup_printf("%u:%u %" G_GUINT64_FORMAT, limit->major, limit->minor, parts[i].value);
        if (!write_file(folder, parts[i].v1, line, error)) {
            return false;
        }
    }
    return !group->is_v2 || write_file(folder, "io.max", text->str, error);
}

bool cgroup_set_nodes(const Cgroup *group, const char *nodes, GError **error)
{
    return write_file(group->folders[CGROUP_CPUSET], "cpuset.mems", nodes, error);
}

GArray *cgroup_cpu_times(const Cgroup *group)
{
    const char *folder = group->folders[CGROUP_CPUACCT];
    g_autofree char *text = folder ? read_file(folder, "cpuacct.usage_percpu") : NULL;
    if (!text) {
        return NULL;
    }
    g_auto(GStrv) words = g_strsplit(text, " ", -1);
    GArray *times = g_array_new(FALSE, FALSE, sizeof(guint64));
    for (unsigned i = 0; words[i] && *words[i]; i++) {
        guint64 ns = g_ascii_strtoull(words[i], NULL, 10);
        g_array_append_val(times, ns);
    }
    return times;
}
