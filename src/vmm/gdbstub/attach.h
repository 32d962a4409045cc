/* The GDB stub of a machine, as -gdb and -s ask for it.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_GDBSTUB_ATTACH_H
#define LODGE_VMM_GDBSTUB_ATTACH_H

#include "vmm/gdbstub/gdbstub.h"
#include "vmm/machine/machine.h"

/**
 * gdb_stub_attach - serve a debugger of @machine on the character back end that its config names
 * @out_stub: (transfer full) freed before the machine; NULL when no debugger was asked for
 *
 * Call before machine_run(). Returns: false with @error set: the back end cannot be used.
 */
bool gdb_stub_attach(Machine *machine, GdbStub **out_stub, GError **error);

#endif
