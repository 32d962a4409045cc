/* One conversation with a debugger: bytes in, bytes out, and the target in between.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_GDBSTUB_SESSION_H
#define LODGE_VMM_GDBSTUB_SESSION_H

#include "vmm/gdbstub/target.h"

#include <glib.h>

typedef struct GdbSession GdbSession;

typedef void (*GdbSend)(void *opaque, const void *bytes, size_t length);

/* @target: borrowed. @send gets what is for the debugger. Pauses the target. */
GdbSession *gdb_session_new(const GdbTarget *target, GdbSend send, void *opaque);

/* Takes the debugger's points away and lets the target run on if it was the session that paused
 * it. NULL is accepted. */
void gdb_session_free(GdbSession *session);

/* Bytes of the debugger; anything is survived. */
void gdb_session_receive(GdbSession *session, const uint8_t *bytes, size_t length);

/* As gdb_stub_stopped() and gdb_stub_exited(). */
void gdb_session_stopped(GdbSession *session, unsigned vcpu, const VcpuExit *exit);
void gdb_session_exited(GdbSession *session, int status);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(GdbSession, gdb_session_free)

#endif
