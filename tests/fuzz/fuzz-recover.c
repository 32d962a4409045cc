/* Fuzz target: the recovery tool on a state folder with a journal, a definition, an autostart mark
 * or a status file that is anything. The first byte says which, and whether it is mended.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/config.h"
#include "daemon/domain/recover.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void remove_tree(const char *path)
{
    GDir *dir = g_dir_open(path, 0, NULL);
    const char *name;
    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *inner = g_build_filename(path, name, NULL);
        if (g_unlink(inner) < 0) {
            remove_tree(inner);
        }
    }
    g_clear_pointer(&dir, g_dir_close);
    g_rmdir(path);
}

static char *file_of(const DaemonPaths *paths, unsigned which)
{
    switch (which) {
    case 0:
        return g_build_filename(paths->state_dir, "journal.wal", NULL);
    case 1:
        return g_build_filename(paths->config_dir, "qemu", "a.xml", NULL);
    case 2:
        return g_build_filename(paths->config_dir, "qemu", "autostart", "a.xml", NULL);
    default:
        return g_build_filename(paths->run_dir, "qemu", "a.xml", NULL);
    }
}

/* What the tool prints is not of interest. */
static void recover_quietly(const DaemonPaths *paths, bool mend)
{
    RecoverCounts counts;
    fflush(stdout);
    int kept = dup(STDOUT_FILENO);
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(nowhere, STDOUT_FILENO);
    recover_state(paths, mend, &counts, NULL);
    fflush(stdout);
    dup2(kept, STDOUT_FILENO);
    close(nowhere);
    close(kept);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char root[64];
    DaemonPaths paths;
    if (size == 0) {
        return 0;
    }
    g_snprintf(root, sizeof(root), "%s/fuzz-recover-XXXXXX",
               g_access("/dev/shm", 7) == 0 ? "/dev/shm" : g_get_tmp_dir());
    if (!g_mkdtemp(root)) {
        return 0;
    }
    daemon_paths_init(&paths, true, root);
    if (daemon_paths_make(&paths, true, NULL)) {
        g_autofree char *file = file_of(&paths, data[0] % 4);
        g_autofree char *folder = g_path_get_dirname(file);
        g_mkdir_with_parents(folder, 0700);
        g_file_set_contents_full(file, (const char *)data + 1, (gssize)size - 1,
                                 G_FILE_SET_CONTENTS_NONE, 0600, NULL);
        recover_quietly(&paths, data[0] & 4);
    }
    daemon_paths_clear(&paths);
    remove_tree(root);
    return 0;
}
