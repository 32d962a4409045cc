/* The failpoints of lodged-failpoints, which is lodged for tests and not installed:
 * LODGE_FAILPOINT=NAME:N kills the process as SIGKILL does when NAME is reached for the Nth time.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/failpoint.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

void failpoint(const char *name)
{
    static atomic_int count;
    const char *wanted = getenv("LODGE_FAILPOINT");
    const char *colon = wanted ? strchr(wanted, ':') : NULL;
    size_t length = strlen(name);
    if (!colon || (size_t)(colon - wanted) != length || strncmp(name, wanted, length) != 0) {
        return;
    }
    if (atomic_fetch_add(&count, 1) + 1 == atoi(colon + 1)) {
        raise(SIGKILL);
    }
}
