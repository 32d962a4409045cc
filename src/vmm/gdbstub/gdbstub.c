/* The stub on its character back end: a session for each debugger that connects.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/gdbstub/gdbstub.h"

#include "vmm/gdbstub/session.h"

#define RECEIVE_BYTES 4096

struct GdbStub {
    GdbTarget target;
    CharBackend *backend;
    GdbSession *session; /* NULL: no debugger */
};

static void send_bytes(void *opaque, const void *bytes, size_t length)
{
    GdbStub *stub = opaque;
    char_write(stub->backend, bytes, length);
}

static size_t can_receive(void *opaque)
{
    return RECEIVE_BYTES;
}

static void receive(void *opaque, const uint8_t *bytes, size_t length)
{
    GdbStub *stub = opaque;
    if (!stub->session) { /* a back end without connections, as a serial line */
        stub->session = gdb_session_new(&stub->target, send_bytes, stub);
    }
    gdb_session_receive(stub->session, bytes, length);
}

static void event(void *opaque, CharEvent what)
{
    GdbStub *stub = opaque;
    if (what == CHAR_EVENT_OPENED) {
        g_clear_pointer(&stub->session, gdb_session_free);
        stub->session = gdb_session_new(&stub->target, send_bytes, stub);
    } else if (what == CHAR_EVENT_CLOSED) {
        g_clear_pointer(&stub->session, gdb_session_free);
    }
}

GdbStub *gdb_stub_new(CharBackend *backend, const GdbTarget *target, GError **error)
{
    GdbStub *stub = g_new0(GdbStub, 1);
    CharFrontend front = {
        .can_receive = can_receive, .receive = receive, .event = event, .opaque = stub
    };
    stub->target = *target;
    stub->backend = backend;
    if (!char_attach(backend, &front, error)) {
        g_free(stub);
        return NULL;
    }
    return stub;
}

const GdbTarget *gdb_stub_target(const GdbStub *stub)
{
    return &stub->target;
}

void gdb_stub_free(GdbStub *stub)
{
    if (!stub) {
        return;
    }
    gdb_stub_exited(stub, 0); /* the machine may be half gone: it is not resumed */
    char_detach(stub->backend);
    gdb_session_free(stub->session);
    g_free(stub);
}

void gdb_stub_stopped(GdbStub *stub, unsigned vcpu, const VcpuExit *exit)
{
    if (stub->session) {
        gdb_session_stopped(stub->session, vcpu, exit);
    }
}

void gdb_stub_exited(GdbStub *stub, int status)
{
    if (stub->session) {
        gdb_session_exited(stub->session, status);
    }
}
