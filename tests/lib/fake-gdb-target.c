/* The fake machine of the GDB stub's tests.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/fake-gdb-target.h"

#include "base/log.h"

#include <errno.h>
#include <string.h>

static void get_state(Vcpu *vcpu, CpuState *out_state)
{
    *out_state = vcpu->state;
}

static int set_state(Vcpu *vcpu, const CpuState *state)
{
    if (state->cr0 >> 32) {
        return -EINVAL;
    }
    vcpu->state = *state;
    return 0;
}

static int set_debug(Vcpu *vcpu, const DebugPoint *points, unsigned count, bool single_step)
{
    if (count > FAKE_GDB_POINTS) {
        return -ENOSPC;
    }
    memcpy(vcpu->point, points, count * sizeof(*points));
    vcpu->points = count;
    vcpu->steps = single_step;
    return 0;
}

static bool translate(Vcpu *vcpu, uint64_t guest_virtual, GuestAddr *out_physical)
{
    *out_physical = guest_virtual >= FAKE_GDB_HIGH ? guest_virtual - FAKE_GDB_HIGH : guest_virtual;
    return *out_physical < 2 * FAKE_GDB_RAM_BYTES; /* the second half is mapped to nothing */
}

static const AccelOps fake_accel = {
    .name = "fake",
    .vcpu_get_state = get_state,
    .vcpu_set_state = set_state,
    .vcpu_set_debug = set_debug,
    .vcpu_translate = translate,
};

static Vcpu *vcpu_at(void *opaque, unsigned index)
{
    FakeGdbTarget *fake = opaque;
    lodge_assert(index < FAKE_GDB_VCPUS);
    return &fake->vcpu[index];
}

static void pause_machine(void *opaque)
{
    FakeGdbTarget *fake = opaque;
    fake->is_running = false;
}

static void resume_machine(void *opaque, int only_vcpu)
{
    FakeGdbTarget *fake = opaque;
    fake->is_running = true;
    fake->only_vcpu = only_vcpu;
}

static void kill_machine(void *opaque)
{
    FakeGdbTarget *fake = opaque;
    fake->is_killed = true;
}

void fake_gdb_target_init(FakeGdbTarget *fake)
{
    memset(fake, 0, sizeof(*fake));
    fake->map = address_map_new(0);
    fake->ram = ram_block_new("ram", FAKE_GDB_RAM_BYTES);
    AddressEntry ram = { .size_bytes = FAKE_GDB_RAM_BYTES, .ram = fake->ram };
    int rc = address_map_add(fake->map, &ram, 0);
    lodge_assert(rc == 0);
    fake->memory.map = fake->map;
    fake->is_running = true;
    for (unsigned i = 0; i < FAKE_GDB_VCPUS; i++) {
        cpu_state_reset(&fake->vcpu[i].state, i == 0);
    }
    fake->target = (GdbTarget){
        .vcpu_count = FAKE_GDB_VCPUS,
        .accel = &fake_accel,
        .memory = &fake->memory,
        .vcpu = vcpu_at,
        .pause = pause_machine,
        .resume = resume_machine,
        .kill = kill_machine,
        .opaque = fake,
    };
}

void fake_gdb_target_done(FakeGdbTarget *fake)
{
    address_map_free(fake->map);
    ram_block_free(fake->ram);
}
