/* Monitors, joined to their machine. Main thread.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_CONTROL_H
#define LODGE_VMM_CONTROL_H

#include "vmm/machine/machine.h"

typedef struct Control Control;

/* Those that the machine's configuration asks for. @machine outlives the control. Returns NULL with
 * @error: a back end that is not there or in use. */
Control *control_new(Machine *machine, GError **error);

/* NULL is accepted. */
void control_free(Control *control);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Control, control_free)

#endif
