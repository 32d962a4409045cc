/* Folders of guests that have ended. SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/removal.h"

#include "base/log.h"
#include "daemon/folder.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>

/* One at a time: nobody waits for it. */
#define REMOVERS 1

static void run_removal(gpointer path, gpointer opaque)
{
    Daemon *daemon = opaque;
    folder_remove(path, &daemon->is_stopping);
    g_free(path);
}

typedef void (*LeftoverFunc)(char *path, void *opaque);

static unsigned for_each_leftover(const char *base, LeftoverFunc func, void *opaque)
{
    unsigned count = 0;
    g_autofree char *folder = g_build_filename(base, REMOVAL_FOLDER, NULL);
    GDir *dir = g_dir_open(folder, 0, NULL);
    const char *name;
    while (dir && (name = g_dir_read_name(dir))) {
        func(g_build_filename(folder, name, NULL), opaque);
        count++;
    }
    g_clear_pointer(&dir, g_dir_close);
    return count;
}

static void push(char *path, void *removers)
{
    g_thread_pool_push(removers, path, NULL);
}

void removal_start(DomainService *service)
{
    Daemon *daemon = service->daemon;
    service->removers = g_thread_pool_new(run_removal, daemon, REMOVERS, FALSE, NULL);
    for_each_leftover(daemon->paths.run_dir, push, service->removers);
    for_each_leftover(daemon->paths.state_dir, push, service->removers);
}

void removal_stop(DomainService *service)
{
    /* Each looks at daemon_is_stopping(). */
    g_thread_pool_free(service->removers, FALSE, TRUE);
}

void removal_take(DomainService *service, const char *base, const char *path)
{
    g_autofree char *folder = g_build_filename(base, REMOVAL_FOLDER, NULL);
    g_autofree char *aside = g_build_filename(folder, "XXXXXX", NULL);
    if (!g_file_test(path, G_FILE_TEST_IS_DIR)) {
        return;
    }
    if (g_mkdir_with_parents(folder, 0700) == 0 && g_mkdtemp_full(aside, 0700)) {
        /* Replaces the one just made, which is empty. */
        if (g_rename(path, aside) == 0) {
            push(g_steal_pointer(&aside), service->removers);
            return;
        }
        int err = errno;
        g_rmdir(aside);
        errno = err;
    }
    log_write(LOG_LEVEL_WARN, "cannot move '%s' to '%s' (%s): it is removed where it is", path,
              folder, g_strerror(errno));
    push(g_strdup(path), service->removers);
}

static void remove_now(char *path, void *mend)
{
    if (mend) {
        folder_remove(path, NULL);
    }
    g_free(path);
}

unsigned removal_of_leftovers(const char *base, bool mend)
{
    return for_each_leftover(base, remove_now, mend ? (void *)base : NULL);
}
