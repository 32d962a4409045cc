/* Fuzz target: what is read of /proc, /sys and control groups. The first byte says which.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/cgroup.h"
#include "daemon/domain/process.h"
#include "daemon/host/sysfs.h"

#include <glib/gstdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One folder for the whole run, in memory. */
static char folder[64];

static void remove_folder(void)
{
    static const char *const files[] = {
        "cgroup.controllers", "list", "a/cgroup.subtree_control", "a/cpu.max", "a/cpu.weight", NULL
    };
    for (unsigned i = 0; files[i]; i++) {
        g_autofree char *path = g_build_filename(folder, files[i], NULL);
        g_unlink(path);
    }
    g_autofree char *inner = g_build_filename(folder, "a", NULL);
    g_rmdir(inner);
    g_rmdir(folder);
}

static void put(const char *name, const char *text)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);
    g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_NONE, 0600, NULL);
}

static void read_list(const char *text)
{
    uint8_t bits[CPUS_MAX / 8 + 1] = { 0 };
    g_autofree char *path = g_build_filename(folder, "list", NULL);
    put("list", text);
    if (sysfs_list(path, bits, CPUS_MAX) > CPUS_MAX) {
        abort();
    }
}

static void read_cgroup(const char *text)
{
    put("cgroup.controllers", text);
    put("a/cgroup.subtree_control", text);
    put("a/cpu.max", text);
    put("a/cpu.weight", text);
    Cgroup *group = cgroup_find(folder, "a");
    cgroup_set_shares(group, 1024, NULL);
    cgroup_set_quota(group, NULL, 100000, 50000, NULL);
    cgroup_free(group);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    guint64 number;
    if (size == 0) {
        return 0;
    }
    if (!folder[0]) {
        g_snprintf(folder, sizeof(folder), "%s/fuzz-host-XXXXXX",
                   g_access("/dev/shm", 7) == 0 ? "/dev/shm" : g_get_tmp_dir());
        g_mkdtemp(folder);
        g_autofree char *inner = g_build_filename(folder, "a", NULL);
        g_mkdir(inner, 0700);
        atexit(remove_folder);
    }
    g_autofree char *text = g_strndup((const char *)data + 1, size - 1);
    g_auto(GStrv) fields = NULL;
    switch (data[0] % 4) {
    case 0:
        fields = process_stat_fields(text);
        break;
    case 1:
        sysfs_find_kib(text, "MemTotal", &number);
        sysfs_find_kib(text, "Node 0 MemFree", &number);
        break;
    case 2:
        read_list(text);
        break;
    default:
        read_cgroup(text);
    }
    return 0;
}
