/* Character back ends on terminals: the process's own (stdio) and a new one (pty).
 *
 * stdio puts its terminal into raw mode and gives it back as it was when it is closed; main.c
 * closes back ends on every orderly end, signals included. SPDX-License-Identifier:
 * GPL-2.0-or-later */
#include "vmm/char/terminal.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "gbase/error.h"
#include "vmm/char/fd-stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <string.h>
#include <termios.h>

/* -- stdio -- */

typedef struct CharStdio {
    CharBackend base;
    bool has_signals;
    FdStream stream;
    struct termios saved;
    bool is_raw;
    int saved_flags[2]; /* F_GETFL of standard input and output: shared with whoever started us */
} CharStdio;

static void make_raw(CharStdio *stdio)
{
    if (tcgetattr(STDIN_FILENO, &stdio->saved) < 0) {
        return; /* no terminal */
    }
    struct termios raw = stdio->saved;
    cfmakeraw(&raw);
    raw.c_oflag |= OPOST;
    if (stdio->has_signals) {
        raw.c_lflag |= ISIG;
    }
    stdio->is_raw = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

static void stdio_close(CharBackend *backend)
{
    CharStdio *stdio = (CharStdio *)backend;
    fd_stream_stop(&stdio->stream);
    if (stdio->is_raw) {
        tcsetattr(STDIN_FILENO, TCSANOW, &stdio->saved);
    }
    for (int fd = 0; fd < 2; fd++) {
        if (stdio->saved_flags[fd] >= 0) {
            fcntl(fd, F_SETFL, stdio->saved_flags[fd]);
        }
    }
}

static void stdio_hung_up(CharBackend *backend)
{
    char_event(backend, CHAR_EVENT_CLOSED);
}

static bool stdio_open(CharBackend *backend, GError **error)
{
    CharStdio *stdio = (CharStdio *)backend;
    for (int fd = 0; fd < 2; fd++) {
        stdio->saved_flags[fd] = fcntl(fd, F_GETFL);
    }
    make_raw(stdio);
    if (!fd_stream_start(&stdio->stream, backend, STDIN_FILENO, STDOUT_FILENO, stdio_hung_up,
                         error)) {
        stdio_close(backend);
        return false;
    }
    backend->is_connected = true;
    return true;
}

static ssize_t stdio_write(CharBackend *backend, const uint8_t *bytes, size_t length)
{
    return fd_stream_write(&((CharStdio *)backend)->stream, bytes, length);
}

static void stdio_want_write(CharBackend *backend)
{
    fd_stream_want_write(&((CharStdio *)backend)->stream);
}

static void stdio_accept_input(CharBackend *backend)
{
    fd_stream_accept_input(&((CharStdio *)backend)->stream);
}

static const Property stdio_properties[] = {
    { "signal", PROPERTY_BOOL, offsetof(CharStdio, has_signals), .fallback = "on",
      .help = "Ctrl-C and the like end the monitor instead of reaching the guest" },
    { 0 },
};

const CharClass char_stdio_class = {
    .name = "stdio",
    .summary = "standard input and output",
    .instance_size = sizeof(CharStdio),
    .properties = stdio_properties,
    .open = stdio_open,
    .close = stdio_close,
    .write = stdio_write,
    .want_write = stdio_want_write,
    .accept_input = stdio_accept_input,
};

/* -- pty: a new pseudo-terminal; a hung-up one is looked at again from time to time -- */

#define PTY_LOOK_AGAIN_NS (500 * NS_PER_MS)

typedef struct CharPty {
    CharBackend base;
    char *link_path;
    char name[64];
    int fd;
    FdStream stream;
    LoopTimer *timer;
} CharPty;

static void pty_hung_up(CharBackend *backend)
{
    CharPty *pty = (CharPty *)backend;
    if (backend->is_connected) {
        char_event(backend, CHAR_EVENT_CLOSED);
    }
    loop_timer_set(pty->timer, clock_monotonic_ns() + PTY_LOOK_AGAIN_NS);
}

/* The master reports a hang-up as long as nobody has the slave open. */
static void pty_look(void *opaque)
{
    CharPty *pty = opaque;
    struct pollfd p = { .fd = pty->fd, .events = POLLOUT };
    bool is_open = poll(&p, 1, 0) >= 0 && !(p.revents & POLLHUP);
    if (!is_open ||
        !fd_stream_start(&pty->stream, &pty->base, pty->fd, pty->fd, pty_hung_up, NULL)) {
        loop_timer_set(pty->timer, clock_monotonic_ns() + PTY_LOOK_AGAIN_NS);
        return;
    }
    char_event(&pty->base, CHAR_EVENT_OPENED);
}

static void pty_close(CharBackend *backend)
{
    CharPty *pty = (CharPty *)backend;
    loop_timer_free(pty->timer);
    fd_stream_stop(&pty->stream);
    cleanup_close(&pty->fd);
    if (pty->link_path) {
        unlink(pty->link_path);
    }
}

static bool pty_open(CharBackend *backend, GError **error)
{
    CharPty *pty = (CharPty *)backend;
    autofd slave = -1;
    struct termios raw;
    cfmakeraw(memset(&raw, 0, sizeof(raw)));
    raw.c_cflag |= CREAD | CS8;
    if (openpty(&pty->fd, &slave, pty->name, &raw, NULL) < 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_IO, "cannot make a pseudo-terminal: %s",
                    strerror(errno));
        return false;
    }
    if (pty->link_path && symlink(pty->name, pty->link_path) < 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_IO, "cannot make the link '%s': %s",
                    pty->link_path, strerror(errno));
        cleanup_close(&pty->fd);
        return false;
    }
    fcntl(pty->fd, F_SETFD, FD_CLOEXEC);
    pty->stream.in_fd = pty->stream.out_fd = -1;
    pty->timer = loop_timer_new(backend->loop, pty_look, pty);
    loop_timer_set(pty->timer, clock_monotonic_ns() + PTY_LOOK_AGAIN_NS);
    return true;
}

static ssize_t pty_write(CharBackend *backend, const uint8_t *bytes, size_t length)
{
    return fd_stream_write(&((CharPty *)backend)->stream, bytes, length);
}

static void pty_want_write(CharBackend *backend)
{
    CharPty *pty = (CharPty *)backend;
    if (pty->stream.in_fd >= 0) {
        fd_stream_want_write(&pty->stream);
    }
}

static void pty_accept_input(CharBackend *backend)
{
    fd_stream_accept_input(&((CharPty *)backend)->stream);
}

static char *pty_describe(CharBackend *backend)
{
    return g_strdup_printf("pty:%s", ((CharPty *)backend)->name);
}

static const Property pty_properties[] = {
    { "path", PROPERTY_STRING, offsetof(CharPty, link_path),
      .help = "symbolic link to make to the terminal" },
    { 0 },
};

const CharClass char_pty_class = {
    .name = "pty",
    .summary = "a new pseudo-terminal",
    .instance_size = sizeof(CharPty),
    .properties = pty_properties,
    .open = pty_open,
    .close = pty_close,
    .write = pty_write,
    .want_write = pty_want_write,
    .accept_input = pty_accept_input,
    .describe = pty_describe,
};
