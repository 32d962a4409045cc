/* The descriptor pair of a character back end: reads while the front end takes input, writes when
 * the peer does. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_CHAR_FD_STREAM_H
#define LODGE_VMM_CHAR_FD_STREAM_H

#include "vmm/char/char.h"

#include <sys/types.h>

/* Embedded in a back end. Descriptors are non-blocking and owned by the class; -1: none. */
typedef struct FdStream {
    CharBackend *backend;
    int in_fd, out_fd;
    LoopWatch *in_watch, *out_watch; /* one watch serves both when the descriptors are the same */
    bool reads, writes;
    void (*hung_up)(CharBackend *backend); /* the peer is gone; loop thread */
    /* As read(2) on in_fd, which it is without; may be set after fd_stream_start(). */
    ssize_t (*read)(CharBackend *backend, uint8_t *bytes, size_t size);
} FdStream;

/**
 * fd_stream_start - begin to move bytes
 *
 * @in_fd and @out_fd may be the same, and may be plain files (then written at once and never read).
 * Returns: false with @error set.
 */
bool fd_stream_start(FdStream *stream, CharBackend *backend, int in_fd, int out_fd,
                     void (*hung_up)(CharBackend *backend), GError **error);
/* Forgets the descriptors, which stay open. */
void fd_stream_stop(FdStream *stream);

/* The classes' functions of the same names. */
ssize_t fd_stream_write(FdStream *stream, const uint8_t *bytes, size_t length);
void fd_stream_want_write(FdStream *stream);
void fd_stream_accept_input(FdStream *stream);

#endif
