/* The descriptor pair of a character back end.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/char/fd-stream.h"

#include "base/fd.h"
#include "base/log.h"
#include "gbase/error.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define READ_BYTES 4096

static bool is_shared(const FdStream *stream)
{
    return stream->in_fd == stream->out_fd;
}

static void update_events(FdStream *stream)
{
    uint32_t in = stream->reads ? EPOLLIN : 0;
    uint32_t out = stream->writes ? EPOLLOUT : 0;
    if (stream->in_watch) {
        loop_watch_set_events(stream->in_watch, is_shared(stream) ? in | out : in);
    }
    if (stream->out_watch) {
        loop_watch_set_events(stream->out_watch, out);
    }
}

/* The end of an input of its own leaves the output as it is: a guest whose console has no keyboard.
 */
static void hang_up(FdStream *stream)
{
    CharBackend *backend = stream->backend;
    if (!is_shared(stream)) {
        loop_unwatch(stream->in_watch);
        stream->in_watch = NULL;
        stream->in_fd = -1;
        return;
    }
    fd_stream_stop(stream);
    stream->hung_up(backend);
}

/* False when the peer is gone. */
static bool read_some(FdStream *stream)
{
    uint8_t bytes[READ_BYTES];
    size_t room = char_can_receive(stream->backend);
    if (!room) {
        stream->reads = false;
        update_events(stream);
        return true;
    }
    size_t size = room < sizeof(bytes) ? room : sizeof(bytes);
    ssize_t n = stream->read ? stream->read(stream->backend, bytes, size)
                             : read(stream->in_fd, bytes, size);
    if (n > 0) {
        char_receive(stream->backend, bytes, (size_t)n);
        return true;
    }
    return n < 0 && (errno == EAGAIN || errno == EINTR);
}

static void on_events(void *opaque, uint32_t events)
{
    FdStream *stream = opaque;
    if (events & (EPOLLOUT | EPOLLERR) && stream->writes) {
        stream->writes = false;
        update_events(stream);
        char_flush(stream->backend);
    }
    if (stream->in_fd < 0 || !(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) {
        return;
    }
    bool can_read = stream->reads || events & EPOLLIN;
    if (!can_read || !read_some(stream)) {
        hang_up(stream);
    }
}

/* An output that fails for good ends the stream if there is no input either. */
static void on_out_events(void *opaque, uint32_t events)
{
    FdStream *stream = opaque;
    if (events & (EPOLLERR | EPOLLHUP)) {
        loop_unwatch(stream->out_watch);
        stream->out_watch = NULL;
        stream->out_fd = -1;
        stream->writes = false;
        char_flush(stream->backend);
        return;
    }
    on_events(stream, EPOLLOUT);
}

/* A watch on @fd; NULL without error for a file that cannot be polled. */
static bool watch_fd(FdStream *stream, int fd, LoopWatchFunc func, LoopWatch **out_watch,
                     GError **error)
{
    int rc = fd_set_nonblocking(fd, 1);
    LoopWatch *watch = rc < 0 ? NULL : loop_watch(stream->backend->loop, fd, 0, func, stream);
    if (!watch && (rc < 0 || errno != EPERM)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_IO, "cannot wait for descriptor %d: %s", fd,
                    strerror(rc < 0 ? -rc : errno));
        return false;
    }
    *out_watch = watch;
    return true;
}

bool fd_stream_start(FdStream *stream, CharBackend *backend, int in_fd, int out_fd,
                     void (*hung_up)(CharBackend *backend), GError **error)
{
    *stream = (FdStream){
        .backend = backend, .in_fd = in_fd, .out_fd = out_fd, .reads = true, .hung_up = hung_up
    };
    if (in_fd >= 0 && !watch_fd(stream, in_fd, on_events, &stream->in_watch, error)) {
        fd_stream_stop(stream);
        return false;
    }
    if (out_fd >= 0 && out_fd != in_fd &&
        !watch_fd(stream, out_fd, on_out_events, &stream->out_watch, error)) {
        fd_stream_stop(stream);
        return false;
    }
    update_events(stream);
    return true;
}

void fd_stream_stop(FdStream *stream)
{
    loop_unwatch(stream->in_watch);
    loop_unwatch(stream->out_watch);
    stream->in_watch = stream->out_watch = NULL;
    stream->in_fd = stream->out_fd = -1;
}

ssize_t fd_stream_write(FdStream *stream, const uint8_t *bytes, size_t length)
{
    if (stream->out_fd < 0) {
        return -EPIPE;
    }
    size_t done = 0;
    while (done < length) {
        ssize_t n = write(stream->out_fd, bytes + done, length - done);
        if (n > 0) {
            done += (size_t)n;
        } else if (n < 0 && errno == EAGAIN) {
            break;
        } else if (n == 0 || errno != EINTR) {
            return -EPIPE;
        }
    }
    return (ssize_t)done;
}

void fd_stream_want_write(FdStream *stream)
{
    stream->writes = true;
    update_events(stream);
}

void fd_stream_accept_input(FdStream *stream)
{
    if (!stream->reads && stream->in_fd >= 0) {
        stream->reads = true;
        update_events(stream);
    }
}
