/* The one GError domain of Lodge, and errors made from errno.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LODGE_GBASE_ERROR_H
#define LODGE_GBASE_ERROR_H

#include <glib.h>

/* What went wrong, coarse enough for a caller to act on. Messages carry the details. */
typedef enum LodgeErrorCode {
    LODGE_ERROR_FAILED,           /* none of the below */
    LODGE_ERROR_INVALID_ARGUMENT, /* a value that is never right */
    LODGE_ERROR_CONFIG,           /* values that do not go together */
    LODGE_ERROR_UNSUPPORTED,      /* known, but not by this program, build or host */
    LODGE_ERROR_NOT_FOUND,        /* no object of that name */
    LODGE_ERROR_NO_DEVICE,        /* no device of the guest of that name (QMP: DeviceNotFound) */
    LODGE_ERROR_EXISTS,           /* the name is taken */
    LODGE_ERROR_BUSY,             /* in use by somebody else; may work later */
    LODGE_ERROR_STATE,            /* not in the present state of the object */
    LODGE_ERROR_INACTIVE,         /* what would do it is not there or not in use */
    LODGE_ERROR_PERMISSION,       /* the host's kernel or a policy says no */
    LODGE_ERROR_AUTH,             /* the peer is not who it should be */
    LODGE_ERROR_IO,               /* reading or writing failed */
    LODGE_ERROR_NO_SPACE,         /* disk, quota or table is full */
    LODGE_ERROR_NO_MEMORY,
    LODGE_ERROR_LIMIT,      /* more than is allowed */
    LODGE_ERROR_TIMEOUT,    /* no answer in time */
    LODGE_ERROR_CANCELLED,  /* somebody asked to stop */
    LODGE_ERROR_CORRUPT,    /* file or stream contradicts its format */
    LODGE_ERROR_PROTOCOL,   /* a peer's message is malformed or out of order */
    LODGE_ERROR_CONNECTION, /* no peer, or the connection ended */
    LODGE_ERROR_INTERNAL,   /* a bug of ours */
} LodgeErrorCode;

#define LODGE_ERROR (lodge_error_quark())
GQuark lodge_error_quark(void);

/* The code that fits @errnum (positive errno) best. */
LodgeErrorCode lodge_error_from_errno(int errnum);

/**
 * lodge_error_set_errno - set an error from errno
 * @errnum: positive or negative errno
 * @fmt:    what could not be done, as "cannot open '%s'"; ": " and the system's reason are appended
 */
void lodge_error_set_errno(GError **error, int errnum, const char *fmt, ...) G_GNUC_PRINTF(3, 4);

#endif
