/* A file system in memory whose power can be cut: what was not synced is then there or not, sector
 * by sector and name by name. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_TESTS_LIB_FAKE_DISK_H
#define LODGE_TESTS_LIB_FAKE_DISK_H

#include "daemon/state/file-ops.h"

#include <stdbool.h>

typedef struct FakeDisk FakeDisk;

FakeDisk *fake_disk_new(guint32 seed);
void fake_disk_free(FakeDisk *disk);

/* Valid until the disk is freed. */
const FileOps *fake_disk_ops(FakeDisk *disk);

/* After @calls more calls that change something, all calls fail with @err; -1: never. */
void fake_disk_fail_after(FakeDisk *disk, int calls, int err);
/* The one call after @calls others fails with @err, those after it do not. */
void fake_disk_fail_once(FakeDisk *disk, int calls, int err);
/* Calls so far that change something. */
int fake_disk_calls(const FakeDisk *disk);

/* What may be left when the power goes now: one of many, by the disk's random numbers. */
FakeDisk *fake_disk_cut(FakeDisk *disk);

/* Replaces a file's bytes, durably. */
void fake_disk_put(FakeDisk *disk, const char *path, const void *data, gsize size);

#endif
