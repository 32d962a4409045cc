/* The failpoints of lodged-failpoints, which is lodged for tests and not installed:
 * LODGE_FAILPOINT=NAME:N kills the process as SIGKILL does when NAME is reached for the Nth time;
 * LODGE_FAILPOINT_HOLD=NAME:FIFO holds each thread that reaches NAME until the pipe FIFO has had a
 * writer, or is gone, as a file system whose server is away would.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/failpoint.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What follows "@name:" in the variable, or NULL. */
static const char *value_for(const char *variable, const char *name)
{
    const char *wanted = getenv(variable);
    size_t length = strlen(name);
    bool is_it = wanted && strncmp(wanted, name, length) == 0 && wanted[length] == ':';
    return is_it ? wanted + length + 1 : NULL;
}

static void hold(const char *fifo)
{
    int fd = open(fifo, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        close(fd);
    }
}

void failpoint(const char *name)
{
    static atomic_int count;
    const char *number = value_for("LODGE_FAILPOINT", name);
    const char *fifo = value_for("LODGE_FAILPOINT_HOLD", name);
    if (number && atomic_fetch_add(&count, 1) + 1 == atoi(number)) {
        raise(SIGKILL);
    }
    if (fifo) {
        hold(fifo);
    }
}
