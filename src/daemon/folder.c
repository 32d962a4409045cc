/* Removing folders that others may write into.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/folder.h"

#include "base/cleanup.h"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#define DEPTH_MAX 32

static void remove_tree(int parent, const char *name, unsigned depth)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd >= 0 && depth < DEPTH_MAX ? fdopendir(fd) : NULL;
    const struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            unlinkat(fd, entry->d_name, 0) < 0) {
            remove_tree(fd, entry->d_name, depth + 1);
        }
    }
    if (dir) {
        closedir(dir);
    } else {
        cleanup_close(&fd);
    }
    if (unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT) {
        log_write(LOG_LEVEL_WARN, "cannot remove the folder '%s': %s", name, strerror(errno));
    }
}

void folder_remove(const char *path)
{
    remove_tree(AT_FDCWD, path, 0);
}
