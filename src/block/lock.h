/* Image locks, as QEMU takes them. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_LOCK_H
#define LODGE_BLOCK_LOCK_H

#include <glib.h>
#include <stdbool.h>

/* What whoever has an image open does with it, and wants of others. */
enum {
    BLOCK_ACCESS_READ = 1u << 0,
    BLOCK_ACCESS_WRITE = 1u << 1,
    BLOCK_ACCESS_ALONE = 1u << 2,  /* nobody else writes */
    BLOCK_ACCESS_RESIZE = 1u << 3, /* changes the size of the file */
    BLOCK_ACCESS_SIZE = 1u << 4,   /* relies on it: nobody else changes it */
    BLOCK_ACCESS_HIDDEN = 1u << 5, /* nobody else reads: it is not complete yet */
    BLOCK_ACCESS_SAME = 1u << 6,   /* writes what is there already; everybody allows it */
};

/**
 * block_change_locks - lock an open image, and refuse what others do not allow
 * @fd:     open description that holds the locks until it is closed
 * @held:   BLOCK_ACCESS_...: what @fd has locked so far
 * @wanted: the same: what it has locked afterwards
 *
 * Returns: false with @error naming the process in the way; @held is what is locked then. A file
 * system without locks gives a warning and true. Giving up what is held does not fail.
 */
bool block_change_locks(int fd, const char *path, unsigned held, unsigned wanted, GError **error);

/* Has @fd, another open description of the image, locked for BLOCK_ACCESS_... that one description
 * holds already. 0 or -errno. */
int block_copy_locks(int fd, unsigned access);

/* The same as block_change_locks(), from nothing: for reading and, if it @writes, writing;
 * @shares_write: so may others. */
bool block_lock_image(int fd, const char *path, bool writes, bool shares_write, GError **error);

#endif
