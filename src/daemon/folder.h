/* Removing folders that others may write into.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_FOLDER_H
#define LODGE_DAEMON_FOLDER_H

#include <glib.h>
#include <stdbool.h>

/**
 * folder_remove - remove the folder @path with all that is in it
 * @stop: what is atomically set by who cannot wait for a large one any longer, or NULL
 *
 * A guest's user may write into it, even while this runs: links are not followed, nothing below a
 * mount point is touched, and folders are taken from their owners before they are looked into. Any
 * depth takes the same memory and descriptors: folders are moved up and emptied one by one.
 * Nothing happens where there is none. Context: may take long: not the loop's thread. Returns:
 * whether there is nothing left; else the log says why.
 */
bool folder_remove(const char *path, const gint *stop);

#endif
