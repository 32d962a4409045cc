/* No failpoints. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/failpoint.h"

void failpoint(const char *name)
{
    (void)name;
}
