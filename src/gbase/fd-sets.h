/* Descriptors that others passed to this process: in numbered sets, opened by the path
 * "/dev/fdset/N" (QEMU's -add-fd), and under names (QMP's getfd).
 *
 * A set holds one file opened in several access modes. Main thread.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LODGE_GBASE_FD_SETS_H
#define LODGE_GBASE_FD_SETS_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define FD_SET_NEXT (-1)

typedef struct PassedFd {
    int fd;
    char *note; /* or NULL */
} PassedFd;

typedef struct PassedFdSet {
    int64_t id;
    GPtrArray *fds; /* of PassedFd, at least one */
} PassedFdSet;

typedef struct FdSets FdSets;

FdSets *fd_sets_new(void);
/* Closes all descriptors. NULL is accepted. */
void fd_sets_free(FdSets *sets);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FdSets, fd_sets_free)

/**
 * fd_sets_add - put a descriptor into a set, which is made if it is not there
 * @id:   of the set, or FD_SET_NEXT: a new set with the lowest free number
 * @fd:   (transfer full) also on failure
 * @note: what it is for, or NULL
 *
 * Returns: the set's id, or -1 with @error (a negative id, too many descriptors).
 */
int64_t fd_sets_add(FdSets *sets, int64_t id, int fd, const char *note, GError **error);

/* Closes descriptor @fd of set @id, or all of it for @fd -1. What was opened by the set's path
 * stays open. */
bool fd_sets_remove(FdSets *sets, int64_t id, int fd, GError **error);

/* Set number @index by id, or NULL: past the last. */
const PassedFdSet *fd_sets_at(const FdSets *sets, unsigned index);

/**
 * fd_sets_resolve - what to hand to fd_open()
 * @flags: of open(); the access mode counts
 *
 * Returns: (transfer full) for "/dev/fdset/N" the path of its descriptor with just that access
 * mode, or one that reads and writes; other paths as they are, NULL for NULL. NULL with @error:
 * there is no such set or no such descriptor in it.
 */
char *fd_sets_resolve(const FdSets *sets, const char *path, int flags, GError **error);

/* Keeps @fd (transfer full) as @name; one of that name is closed. False with @error: bad name. */
bool fd_sets_set_name(FdSets *sets, const char *name, int fd, GError **error);
/* The descriptor of that name (transfer full), which is forgotten; -1 with @error. */
int fd_sets_take_name(FdSets *sets, const char *name, GError **error);

#endif
