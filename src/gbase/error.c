/* The one GError domain of Lodge.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gbase/error.h"

#include <errno.h>
#include <stdlib.h>

GQuark lodge_error_quark(void)
{
    return g_quark_from_static_string("lodge-error");
}

LodgeErrorCode lodge_error_from_errno(int errnum)
{
    switch (errnum) {
    case EINVAL:
    case EDOM:
    case ERANGE:
    case ENAMETOOLONG:
        return LODGE_ERROR_INVALID_ARGUMENT;
    case ENOSYS:
    case EOPNOTSUPP:
        return LODGE_ERROR_UNSUPPORTED;
    case ENOENT:
    case ENODEV:
    case ENXIO:
    case ESRCH:
        return LODGE_ERROR_NOT_FOUND;
    case EEXIST:
        return LODGE_ERROR_EXISTS;
    case EBUSY:
    case EAGAIN:
    case EADDRINUSE:
        return LODGE_ERROR_BUSY;
    case EPERM:
    case EACCES:
    case EROFS:
        return LODGE_ERROR_PERMISSION;
    case EIO:
        return LODGE_ERROR_IO;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return LODGE_ERROR_NO_SPACE;
    case ENOMEM:
        return LODGE_ERROR_NO_MEMORY;
    case EMFILE:
    case ENFILE:
    case E2BIG:
        return LODGE_ERROR_LIMIT;
    case ETIMEDOUT:
        return LODGE_ERROR_TIMEOUT;
    case ECANCELED:
        return LODGE_ERROR_CANCELLED;
    case EBADMSG:
    case EPROTO:
        return LODGE_ERROR_PROTOCOL;
    case EPIPE:
    case ECONNREFUSED:
    case ECONNRESET:
    case ENOTCONN:
    case EHOSTUNREACH:
    case ENETUNREACH:
        return LODGE_ERROR_CONNECTION;
    default:
        return LODGE_ERROR_FAILED;
    }
}

void lodge_error_set_errno(GError **error, int errnum, const char *fmt, ...)
{
    int positive = abs(errnum);
    va_list args;
    va_start(args, fmt);
    g_autofree char *what = g_strdup_vprintf(fmt, args);
    va_end(args);
    g_set_error(error, LODGE_ERROR, lodge_error_from_errno(positive), "%s: %s", what,
                g_strerror(positive));
}
