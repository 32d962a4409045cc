/* Streams: bytes that follow a call, as consoles, screenshots and volumes.
 *
 * The handler of a procedure with a stream opens one before it returns true; data flows after the
 * reply. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_STREAM_H
#define LODGE_DAEMON_STREAM_H

#include "daemon/dispatch.h"

typedef struct DaemonStream DaemonStream;

/* Functions of a stream; all on the loop's thread, none may block. NULL where not needed. */
typedef struct StreamOps {
    /* The client sent bytes. Returns how many were taken, 1..@size, or 0 to be asked again after
     * stream_resume(); the rest comes again. -1: failed, @error is sent and the stream ends. */
    gssize (*receive)(void *opaque, const uint8_t *data, size_t size, GError **error);
    /* The client sent a hole of @length bytes. False: as -1 above. */
    bool (*receive_hole)(void *opaque, int64_t length, GError **error);
    /* No more bytes come from the client. False: as above. */
    bool (*receive_end)(void *opaque, GError **error);
    /* There is room for stream_send() again. Also called once after the reply went out. */
    void (*writable)(void *opaque);
    /* The stream is over: finished, aborted, or the connection ended. Called once, last. */
    void (*closed)(void *opaque);
} StreamOps;

/* Opens the stream of @call. Context: its handler. */
DaemonStream *call_open_stream(DaemonCall *call, const StreamOps *ops, void *opaque,
                               GError **error);

/* Sends up to @size bytes; returns how many were taken, 0 when the client has too much unread
 * (writable() tells when it goes on). Context: the loop's thread. */
size_t stream_send(DaemonStream *stream, const uint8_t *data, size_t size);
/* False: no room, as above. Only for calls with the sparse flag. */
bool stream_send_hole(DaemonStream *stream, int64_t length);
/* No more bytes to the client. */
void stream_send_end(DaemonStream *stream);
/* Ends the stream with @error (transfer full). closed() is called. */
void stream_fail(DaemonStream *stream, GError *error);
/* Whether the reply of its call went out: until then stream_fail() may not be called by others than
 * the functions above. */
bool stream_is_started(const DaemonStream *stream);
/* The stream that @call has open, or NULL. It is there until closed() is called. */
DaemonStream *call_stream(const DaemonCall *call);
/* After receive() returned 0: offers the bytes again. */
void stream_resume(DaemonStream *stream);

typedef enum StreamFdFlags {
    STREAM_FD_TO_CLIENT = 1 << 0, /* what is read from the descriptor is sent */
    STREAM_FD_TO_FD = 1 << 1,     /* what the client sends is written */
    STREAM_FD_SPARSE = 1 << 2,    /* holes of a file are sent and punched */
} StreamFdFlags;

/**
 * call_open_fd_stream - connect the stream of a call to a descriptor
 * @fd:     (transfer full) pty, socket, pipe, file or memfd; also closed on failure
 * @flags:  StreamFdFlags
 * @length: most bytes to move, 0 for no limit
 * @closed: called once on the loop's thread when the stream is over, or NULL
 *
 * A file is read in small pieces on the loop's thread: for what the page cache holds. Context: the
 * call's handler.
 */
bool call_open_fd_stream(DaemonCall *call, int fd, unsigned flags, uint64_t length,
                         void (*closed)(void *opaque), void *opaque, GError **error);

#endif
