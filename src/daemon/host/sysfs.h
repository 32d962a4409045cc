/* Small files of the kernel's: /proc and /sys.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_HOST_SYSFS_H
#define LODGE_DAEMON_HOST_SYSFS_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define CPU_DIR "/sys/devices/system/cpu"
#define NODE_DIR "/sys/devices/system/node"
#define CPUS_MAX 8192u
#define NODES_MAX 1024

/* The file's text without its last newline, or NULL. (transfer full) */
char *sysfs_text(const char *path);

/* A decimal number in the file that the format names. */
bool sysfs_number(guint64 *out_value, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

/* Sets a bit for each number of a list as "0-3,8" in a file; returns the highest plus one. */
unsigned sysfs_list(const char *path, uint8_t *bits, unsigned max);
bool sysfs_has_bit(const uint8_t *bits, unsigned i);

/* A line "NAME: N" (or NAME N) of a /proc file with sizes in KiB. */
bool sysfs_find_kib(const char *text, const char *name, guint64 *out_kib);

#endif
