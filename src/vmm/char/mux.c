/* Multiplexer: several front ends on one back end, chosen by Ctrl-a keys.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/char/mux.h"

#include "base/clock.h"
#include "gbase/error.h"

#include <stdio.h>
#include <string.h>

#define ESCAPE 0x01 /* Ctrl-a */
#define QUEUE_BYTES 64

typedef struct MuxPort {
    CharBackend base;
    CharMux *mux;
    /* Input typed while the front end took none. */
    uint8_t queue[QUEUE_BYTES];
    unsigned queued;
} MuxPort;

struct CharMux {
    CharBackend *below;
    CharMuxTarget target;
    MuxPort *ports[CHAR_MUX_FRONTENDS_MAX];
    unsigned port_count, focus;
    bool escaped;
    bool has_timestamps, at_line_start; /* any thread writes: a race garbles one stamp at worst */
    int64_t start_ns;
};

static void mux_print(CharMux *mux, const char *text)
{
    char_write(mux->below, text, strlen(text));
}

static void print_help(CharMux *mux)
{
    mux_print(mux, "\r\nCtrl-a h    this help\r\n"
                   "Ctrl-a x    end the monitor\r\n"
                   "Ctrl-a s    write what disks hold back\r\n"
                   "Ctrl-a t    time stamps on or off\r\n"
                   "Ctrl-a b    send a break\r\n"
                   "Ctrl-a c    switch between console and monitor\r\n"
                   "Ctrl-a Ctrl-a  send Ctrl-a\r\n");
}

static MuxPort *focused(CharMux *mux)
{
    return mux->port_count ? mux->ports[mux->focus] : NULL;
}

static void switch_focus(CharMux *mux)
{
    if (mux->port_count > 1) {
        mux->focus = (mux->focus + 1) % mux->port_count;
        char_event(&focused(mux)->base, CHAR_EVENT_FOCUS);
    }
}

/* One key after Ctrl-a; true: the byte is for the front end. */
static bool handle_key(CharMux *mux, uint8_t key)
{
    MuxPort *port = focused(mux);
    switch (key) {
    case ESCAPE:
        return true;
    case 'x':
        if (mux->target.quit) {
            mux->target.quit(mux->target.opaque);
        }
        return false;
    case 's':
        if (mux->target.flush) {
            mux->target.flush(mux->target.opaque);
        }
        return false;
    case 'b':
        if (port) {
            char_event(&port->base, CHAR_EVENT_BREAK);
        }
        return false;
    case 'c':
        switch_focus(mux);
        return false;
    case 't':
        mux->has_timestamps = !mux->has_timestamps;
        mux->start_ns = clock_monotonic_ns();
        mux->at_line_start = false;
        return false;
    default:
        print_help(mux);
        return false;
    }
}

/* Hands over what was typed before. Called again through the port's accept_input. */
static void drain_queue(MuxPort *port)
{
    while (port->queued) {
        size_t room = char_can_receive(&port->base);
        size_t n = room < port->queued ? room : port->queued;
        if (!n) {
            return;
        }
        uint8_t bytes[QUEUE_BYTES];
        memcpy(bytes, port->queue, n);
        port->queued -= (unsigned)n;
        memmove(port->queue, port->queue + n, port->queued);
        char_receive(&port->base, bytes, n);
    }
}

static void deliver(MuxPort *port, uint8_t byte)
{
    if (port && port->queued < QUEUE_BYTES) {
        port->queue[port->queued++] = byte;
        drain_queue(port);
    }
}

/* Keys must get through even while the guest takes no input, so reading stops only when the queue
 * is full. */
static size_t mux_can_receive(void *opaque)
{
    CharMux *mux = opaque;
    MuxPort *port = focused(mux);
    return port ? QUEUE_BYTES - port->queued : 1;
}

static void mux_receive(void *opaque, const uint8_t *bytes, size_t length)
{
    CharMux *mux = opaque;
    for (size_t i = 0; i < length; i++) {
        bool is_key = mux->escaped;
        mux->escaped = !is_key && bytes[i] == ESCAPE;
        if (is_key ? handle_key(mux, bytes[i]) : !mux->escaped) {
            deliver(focused(mux), bytes[i]);
        }
    }
}

static void mux_event(void *opaque, CharEvent event)
{
    CharMux *mux = opaque;
    for (unsigned i = 0; i < mux->port_count; i++) {
        char_event(&mux->ports[i]->base, event);
    }
}

static bool port_open(CharBackend *backend, GError **error)
{
    return true;
}

static void port_close(CharBackend *backend)
{
}

static void write_stamped(CharMux *mux, const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (mux->at_line_start) {
            int64_t ms = (clock_monotonic_ns() - mux->start_ns) / NS_PER_MS;
            char stamp[40];
            snprintf(stamp, sizeof(stamp), "[%02d:%02d:%02d.%03d] ", (int)(ms / 3600000),
                     (int)(ms / 60000 % 60), (int)(ms / 1000 % 60), (int)(ms % 1000));
            mux_print(mux, stamp);
        }
        char_write(mux->below, &bytes[i], 1);
        mux->at_line_start = bytes[i] == '\n';
    }
}

static ssize_t port_write(CharBackend *backend, const uint8_t *bytes, size_t length)
{
    CharMux *mux = ((MuxPort *)backend)->mux;
    if (mux->has_timestamps) {
        write_stamped(mux, bytes, length);
    } else {
        char_write(mux->below, bytes, length);
    }
    return (ssize_t)length;
}

static void port_want_write(CharBackend *backend)
{
}

static void port_accept_input(CharBackend *backend)
{
    MuxPort *port = (MuxPort *)backend;
    drain_queue(port);
    char_accept_input(port->mux->below);
}

static char *port_describe(CharBackend *backend)
{
    return char_describe(((MuxPort *)backend)->mux->below);
}

static const CharClass char_mux_port_class = {
    .name = "mux",
    .summary = "port of a multiplexer",
    .instance_size = sizeof(MuxPort),
    .open = port_open,
    .close = port_close,
    .write = port_write,
    .want_write = port_want_write,
    .accept_input = port_accept_input,
    .describe = port_describe,
};

CharMux *char_mux_new(CharBackend *backend, const CharMuxTarget *target)
{
    CharMux *mux = g_new0(CharMux, 1);
    mux->below = backend;
    if (target) {
        mux->target = *target;
    }
    CharFrontend front = {
        .can_receive = mux_can_receive, .receive = mux_receive, .event = mux_event, .opaque = mux
    };
    bool attached = char_attach(backend, &front, NULL);
    (void)attached; /* nobody else had the chance: the back end is new */
    return mux;
}

CharBackend *char_mux_port(CharMux *mux, GError **error)
{
    if (mux->port_count == CHAR_MUX_FRONTENDS_MAX) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT,
                    "chardev '%s' is shared by %d users already, which is the most", mux->below->id,
                    CHAR_MUX_FRONTENDS_MAX);
        return NULL;
    }
    CharBackend *port = char_new(&char_mux_port_class, mux->below->id);
    ((MuxPort *)port)->mux = mux;
    bool is_open = char_open(port, mux->below->loop, error);
    (void)is_open; /* a port acquires nothing */
    port->is_connected = mux->below->is_connected;
    mux->ports[mux->port_count++] = (MuxPort *)port;
    return port;
}

CharBackend *char_mux_backend(CharMux *mux)
{
    return mux->below;
}

void char_mux_free(CharMux *mux)
{
    if (!mux) {
        return;
    }
    char_detach(mux->below);
    for (unsigned i = 0; i < mux->port_count; i++) {
        char_free(&mux->ports[i]->base);
    }
    char_free(mux->below);
    g_free(mux);
}
