/* Error lines of commands. SPDX-License-Identifier: GPL-2.0-or-later */
#include "img/command.h"

#include <stdarg.h>
#include <stdio.h>

void img_error(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    g_autofree char *message = g_strdup_vprintf(fmt, args);
    va_end(args);
    fflush(stdout);
    fprintf(stderr, "lodge-img: %s\n", message);
}

int img_fail(GError *error)
{
    img_error("%s", error->message);
    g_error_free(error);
    return 1;
}
