/* A machine for the GDB stub that only remembers what it was told: two vCPUs, 64 KiB of RAM at 0
 * seen at 0 and at FAKE_GDB_HIGH. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_TESTS_LIB_FAKE_GDB_TARGET_H
#define LODGE_TESTS_LIB_FAKE_GDB_TARGET_H

#include "vmm/gdbstub/target.h"

#define FAKE_GDB_RAM_BYTES 0x10000u
#define FAKE_GDB_HIGH UINT64_C(0xffffffff80000000)
#define FAKE_GDB_VCPUS 2
#define FAKE_GDB_POINTS 4

struct Vcpu {
    CpuState state;
    DebugPoint point[FAKE_GDB_POINTS];
    unsigned points;
    bool steps;
};

typedef struct FakeGdbTarget {
    GdbTarget target;
    AddressMap *map;
    RamBlock *ram;
    GuestMemory memory;
    Vcpu vcpu[FAKE_GDB_VCPUS];
    bool is_running, is_killed;
    int only_vcpu;
} FakeGdbTarget;

void fake_gdb_target_init(FakeGdbTarget *fake);
void fake_gdb_target_done(FakeGdbTarget *fake);

#endif
