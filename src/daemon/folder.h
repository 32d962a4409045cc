/* Removing folders that others may write into.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_FOLDER_H
#define LODGE_DAEMON_FOLDER_H

/**
 * folder_remove - remove the folder @path with all that is in it
 *
 * A guest's user may write into it, even while this runs: links are not followed, and folders
 * deeper than 32 stay, with a warning in the log. Nothing happens where there is none.
 */
void folder_remove(const char *path);

#endif
