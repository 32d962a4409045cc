/* GDB stub: the guest as a remote target of GDB.
 *
 * Implements the remote serial protocol of GDB's manual (appendix E of version 13), in all-stop
 * mode, for i386:x86-64; each vCPU is a thread. Left out: non-stop mode, reverse execution, file
 * I/O, monitor commands. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_GDBSTUB_GDBSTUB_H
#define LODGE_VMM_GDBSTUB_GDBSTUB_H

#include "vmm/char/char.h"
#include "vmm/gdbstub/target.h"

typedef struct GdbStub GdbStub;

/**
 * gdb_stub_new - serve a debugger on a character back end
 * @backend: of -gdb; borrowed until gdb_stub_free()
 * @target:  copied
 *
 * The machine is paused when a debugger connects; when it goes, its points are taken away and the
 * machine runs on. Returns: the stub (transfer full), or NULL with @error (back end in use).
 */
GdbStub *gdb_stub_new(CharBackend *backend, const GdbTarget *target, GError **error);

/* NULL is accepted. */
void gdb_stub_free(GdbStub *stub);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GdbStub, gdb_stub_free)

/* What it was made with. */
const GdbTarget *gdb_stub_target(const GdbStub *stub);

/**
 * gdb_stub_stopped - the machine stands, and not because the stub asked
 * @vcpu: that caused it
 * @exit: VCPU_EXIT_DEBUG: a point or a step was reached; NULL: for another reason
 *
 * Without a debugger nothing happens.
 */
void gdb_stub_stopped(GdbStub *stub, unsigned vcpu, const VcpuExit *exit);

/* The guest is gone: the process ends with @status. */
void gdb_stub_exited(GdbStub *stub, int status);

#endif
