/* Fuzz target: lodged.conf, as a person or a tool may leave it.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/config.h"

#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fd = memfd_create("lodged.conf", MFD_CLOEXEC);
    char path[64];
    DaemonConfig config;
    uid_t first;
    unsigned count;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (fd >= 0 && write(fd, data, size) == (ssize_t)size) {
        g_autoptr(GError) error = NULL;
        daemon_config_init(&config, size % 2);
        if (daemon_config_load(&config, path, true, &error)) {
            daemon_config_guest_uids(&config, &first, &count, &error);
        }
        daemon_config_clear(&config);
    }
    close(fd);
    return 0;
}
