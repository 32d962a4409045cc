/* Control groups of guests, version 1 and 2: one group for each guest, below "machine".
 *
 * A guest has none until something is limited: entering one costs the kernel more than starting a
 * small guest. Linux: Documentation/admin-guide/cgroup-v1, cgroup-v2.rst. Left out: systemd's own
 * slices and scopes.
 *
 * Context: any thread that may wait for the kernel.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_CGROUP_H
#define LODGE_DAEMON_DOMAIN_CGROUP_H

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

#define CGROUP_ROOT "/sys/fs/cgroup"
#define CGROUP_PARENT "machine"

typedef enum CgroupController {
    CGROUP_CPU,
    CGROUP_CPUACCT, /* version 1 */
    CGROUP_CPUSET,
    CGROUP_MEMORY,
    CGROUP_BLKIO, /* "io" in version 2 */
    CGROUP_CONTROLLERS,
} CgroupController;

typedef struct Cgroup {
    char *root;
    char *name; /* "machine/lodge-..." */
    bool is_v2;
    /* Folders of the guest's group; NULL: the host has no such controller. */
    char *folders[CGROUP_CONTROLLERS];
} Cgroup;

/* Where the group @name would be; nothing is made. */
Cgroup *cgroup_find(const char *root, const char *name);
void cgroup_free(Cgroup *group);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Cgroup, cgroup_free)

/* Makes the group of a controller, puts the process into it. False with @error: the host has no
 * such controller, or no right to use it. */
bool cgroup_enter(const Cgroup *group, CgroupController controller, pid_t pid, GError **error);

/* Whether the guest, or with @sub some threads of it, has a group of the controller. */
bool cgroup_exists(const Cgroup *group, CgroupController controller, const char *sub);

/* A group for some threads of the guest below its own, as "vcpu0"; CPU time only. */
bool cgroup_enter_threads(const Cgroup *group, const char *sub, const GArray *tids, GError **error);

/* Removes all that is left of it, once no process is in it. */
void cgroup_remove(const Cgroup *group);

/* Removes the groups of guests that are gone: those whose name ends in @suffix but the ones named
 * (as in Cgroup) in @kept. */
void cgroup_remove_others(const char *root, const char *suffix, GHashTable *kept);

/* --- limits; the group was entered --- */

/* What may be set on this host: version 2 has other numbers, which are passed on as they are. */
typedef struct CgroupRanges {
    struct {
        unsigned least, most;
    } shares;
    unsigned shares_default;
    struct {
        unsigned least, most;
    } io_weight;
} CgroupRanges;

CgroupRanges cgroup_ranges(const char *root);

bool cgroup_set_shares(const Cgroup *group, guint64 shares, GError **error);

/* @sub: of threads, or NULL: the whole guest. @quota_us: < 0: none. */
bool cgroup_set_quota(const Cgroup *group, const char *sub, guint64 period_us, gint64 quota_us,
                      GError **error);

/* KiB; G_MAXUINT64: no limit. @swap_kib: memory and swap together. */
bool cgroup_set_memory(const Cgroup *group, guint64 hard_kib, guint64 soft_kib, guint64 swap_kib,
                       GError **error);

bool cgroup_set_io_weight(const Cgroup *group, unsigned weight, GError **error);

/* The weight for one disk of the host, instead of the guest's; the kernel takes it only for disks
 * whose scheduler knows weights. */
bool cgroup_set_disk_weight(const Cgroup *group, unsigned major, unsigned minor, unsigned weight,
                            GError **error);

typedef struct CgroupIoLimit {
    unsigned major, minor;
    guint64 read_bytes, write_bytes, read_ops, write_ops; /* for each second; 0: no limit */
} CgroupIoLimit;

bool cgroup_set_io_limit(const Cgroup *group, const CgroupIoLimit *limit, GError **error);

/* Memory of these nodes alone ("0-1"). */
bool cgroup_set_nodes(const Cgroup *group, const char *nodes, GError **error);

/* ns on each of the host's CPUs (of guint64, transfer full); NULL: nobody counts. */
GArray *cgroup_cpu_times(const Cgroup *group);

#endif
