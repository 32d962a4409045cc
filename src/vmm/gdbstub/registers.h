/* The registers GDB sees, their order, and where they lie in a CpuState.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_GDBSTUB_REGISTERS_H
#define LODGE_VMM_GDBSTUB_REGISTERS_H

#include "vmm/accel/cpu-state.h"

#include <glib.h>

#define GDB_REGISTER_BYTES_MAX 16

unsigned gdb_register_count(void);

/* Bytes of register @number as GDB sees it; 0: there is none. */
unsigned gdb_register_size(unsigned number);

/* Value of register @number, little endian, into @out of GDB_REGISTER_BYTES_MAX bytes. Returns its
 * size, 0: there is none. */
unsigned gdb_register_read(const CpuState *state, unsigned number, uint8_t *out);

/* Changes a register. Selectors and a few x87 registers take no value: the write is ignored. */
void gdb_register_write(CpuState *state, unsigned number, const uint8_t *value);

/* The target description for qXfer:features:read. (transfer full) */
char *gdb_target_xml(void);

#endif
