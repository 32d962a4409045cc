/* Status files of running guests, as whatever a disk or a person left in their place.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/runtime.h"

#include <glib/gstdio.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One file for the whole run, in memory. */
static char path[64];

static void remove_file(void)
{
    g_unlink(path);
}

static void make_file(void)
{
    const char *folder = g_access("/dev/shm", 7) == 0 ? "/dev/shm" : g_get_tmp_dir();
    g_snprintf(path, sizeof(path), "%s/fuzz-status-XXXXXX", folder);
    g_close(g_mkstemp(path), NULL);
    atexit(remove_file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *name = NULL;
    g_autoptr(GError) error = NULL;
    int id;
    if (!path[0]) {
        make_file();
    }
    if (g_file_set_contents_full(path, (const char *)data, (gssize)size, G_FILE_SET_CONTENTS_NONE,
                                 0600, NULL)) {
        status_examine(path, &name, &id, &error);
    }
    return 0;
}
