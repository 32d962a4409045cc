/* Image locks, as QEMU takes them. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_LOCK_H
#define LODGE_BLOCK_LOCK_H

#include <glib.h>
#include <stdbool.h>

/**
 * block_lock_image - lock an open image, and refuse what others do not allow
 * @fd:           open description that holds the locks until it is closed
 * @writes:       for writing too
 * @shares_write: others may write
 *
 * Returns: false with @error naming the process in the way. A file system without locks gives a
 * warning and true.
 */
bool block_lock_image(int fd, const char *path, bool writes, bool shares_write, GError **error);

/* Lets go of all locks that @fd's open description holds. */
void block_unlock_image(int fd);

#endif
