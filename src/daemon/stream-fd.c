/* Streams connected to a descriptor: ptys, sockets, pipes by readiness; files as they can be read.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "base/fd.h"
#include "daemon/daemon.h"
#include "daemon/error.h"
#include "daemon/stream.h"
#include "gbase/error.h"

#include <sys/epoll.h>

#define CHUNK_BYTES 65536u

typedef struct FdStream {
    EventLoop *loop;
    DaemonStream *stream;
    int fd;
    unsigned flags;
    uint64_t left;    /* bytes to the client, UINT64_MAX: no limit */
    LoopWatch *watch; /* NULL: a file, always ready */
    bool has_room, wants_write, at_end;
    void (*closed)(void *opaque);
    void *opaque;
    uint8_t held[CHUNK_BYTES]; /* read, not yet sent */
    size_t held_at, held_size;
} FdStream;

static void watch_what_is_needed(FdStream *s)
{
    if (s->watch) {
        bool reads = (s->flags & STREAM_FD_TO_CLIENT) && s->has_room && !s->at_end;
        loop_watch_set_events(s->watch, (reads ? EPOLLIN : 0u) | (s->wants_write ? EPOLLOUT : 0u));
    }
}

static void end_of_input(FdStream *s)
{
    s->at_end = true;
    stream_send_end(s->stream);
}

/* Sends what is held. False: no room, or the stream was ended by it. */
static bool send_held(FdStream *s)
{
    size_t sent = stream_send(s->stream, s->held + s->held_at, s->held_size - s->held_at);
    s->held_at += sent;
    s->has_room = s->held_at == s->held_size;
    return s->has_room;
}

/* Reads and sends until the source is dry or the client has enough. False: the stream is over. */
static bool pump(FdStream *s)
{
    s->has_room = true;
    while (!s->at_end && send_held(s)) {
        size_t want = MIN(CHUNK_BYTES, s->left);
        ssize_t got = want ? read(s->fd, s->held, want) : 0;
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
            break;
        }
        /* A pty whose other side is closed answers EIO. */
        if (got < 0 && errno != EIO && errno != ECONNRESET) {
            GError *error = NULL;
            lodge_error_set_errno(&error, errno, "cannot read for the stream");
            stream_fail(s->stream, error);
            return false;
        }
        if (got <= 0) {
            end_of_input(s);
            break;
        }
        s->held_at = 0;
        s->held_size = (size_t)got;
        s->left -= s->left == UINT64_MAX ? 0 : (uint64_t)got;
    }
    watch_what_is_needed(s);
    return true;
}

static void on_ready(void *opaque, uint32_t events)
{
    FdStream *s = opaque;
    if ((events & EPOLLOUT) && s->wants_write) {
        s->wants_write = false;
        watch_what_is_needed(s);
        /* May end the stream and free @s. */
        stream_resume(s->stream);
        return;
    }
    if (!(s->flags & STREAM_FD_TO_CLIENT) || s->at_end) {
        /* Only a hang-up is left to hear of; writing finds it. */
        loop_unwatch(s->watch);
        s->watch = NULL;
        return;
    }
    pump(s);
}

static gssize on_receive(void *opaque, const uint8_t *data, size_t size, GError **error)
{
    FdStream *s = opaque;
    if (!(s->flags & STREAM_FD_TO_FD)) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_STREAM, "this stream is only read from");
        return -1;
    }
    ssize_t put = write(s->fd, data, size);
    if (put > 0) {
        return put;
    }
    if (put < 0 && errno == EAGAIN && s->watch) {
        s->wants_write = true;
        watch_what_is_needed(s);
        return 0;
    }
    lodge_error_set_errno(error, put < 0 ? errno : ENOSPC, "cannot write for the stream");
    return -1;
}

static void on_writable(void *opaque)
{
    FdStream *s = opaque;
    if (s->flags & STREAM_FD_TO_CLIENT) {
        pump(s);
    }
}

static void on_closed(void *opaque)
{
    FdStream *s = opaque;
    loop_unwatch(s->watch);
    close(s->fd);
    if (s->closed) {
        s->closed(s->opaque);
    }
    g_free(s);
}

static const StreamOps fd_stream_ops = {
    .receive = on_receive,
    .writable = on_writable,
    .closed = on_closed,
};

/* Context: the loop's thread; before the stream starts. */
static void watch_fd(void *opaque)
{
    FdStream *s = opaque;
    s->watch = loop_watch(s->loop, s->fd, 0, on_ready, s);
}

bool call_open_fd_stream(DaemonCall *call, int fd, unsigned flags, uint64_t length,
                         void (*closed)(void *opaque), void *opaque, GError **error)
{
    autofd owned = fd;
    int rc = fd_set_nonblocking(fd, 1);
    if (rc < 0) {
        lodge_error_set_errno(error, rc, "cannot use the descriptor for a stream");
        return false;
    }
    FdStream *s = g_new0(FdStream, 1);
    s->loop = call_daemon(call)->loop;
    s->fd = fd;
    s->flags = flags;
    s->left = length ? length : UINT64_MAX;
    s->stream = call_open_stream(call, &fd_stream_ops, s, error);
    if (!s->stream) {
        g_free(s);
        return false;
    }
    s->closed = closed;
    s->opaque = opaque;
    (void)steal_fd(&owned);
    /* Posted before the stream's start is, so it comes first. */
    if (loop_is_current(s->loop)) {
        watch_fd(s);
    } else if (loop_call(s->loop, watch_fd, s) < 0) {
        s->watch = NULL;
    }
    return true;
}
