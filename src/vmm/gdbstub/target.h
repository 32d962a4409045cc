/* What the GDB stub may use of the machine; the machine fills it in. All functions run on the main
 * thread. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_GDBSTUB_TARGET_H
#define LODGE_VMM_GDBSTUB_TARGET_H

#include "vmm/accel/accel.h"

typedef struct GdbTarget {
    unsigned vcpu_count;
    const AccelOps *accel; /* state, debugger points and page walks of vCPUs that stand */
    GuestMemory *memory;
    Vcpu *(*vcpu)(void *opaque, unsigned index);
    /* Pauses the machine, if it runs; returns when no vCPU runs. No gdb_stub_stopped() follows. */
    void (*pause)(void *opaque);
    /* Lets the machine run on. @only_vcpu: the one that runs while the others stand (it makes a
     * single step), or -1 for all. Nothing happens when the machine's state does not allow it. */
    void (*resume)(void *opaque, int only_vcpu);
    /* The debugger kills the guest: ends the process as a quit does, after the stub returned. */
    void (*kill)(void *opaque);
    void *opaque;
} GdbTarget;

#endif
