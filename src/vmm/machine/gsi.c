/* Global system interrupts that several devices share: the line is up while one of them asks.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "base/log.h"
#include "vmm/machine/internal.h"

#define SOURCES_MAX 32

/* One interrupt input; its sources are numbered in the order they were made. */
struct MachineGsi {
    unsigned gsi;
    IrqLine out;
    unsigned source_count;
    pthread_mutex_t lock; /* leaf but for the chips' own */
    uint32_t levels;      /* one bit for each source; under lock */
};

static void set_level(void *opaque, unsigned source, bool level)
{
    MachineGsi *gsi = opaque;
    LOCK_GUARD(&gsi->lock);
    uint32_t before = gsi->levels;
    gsi->levels = level ? before | 1u << source : before & ~(1u << source);
    if (!before != !gsi->levels) {
        irq_line_set(&gsi->out, gsi->levels != 0);
    }
}

static MachineGsi *find_gsi(Machine *machine, unsigned number)
{
    for (guint i = 0; i < machine->gsis->len; i++) {
        MachineGsi *gsi = g_ptr_array_index(machine->gsis, i);
        if (gsi->gsi == number) {
            return gsi;
        }
    }
    MachineGsi *gsi = g_new0(MachineGsi, 1);
    gsi->gsi = number;
    gsi->out = machine_raw_gsi_line(machine, number);
    pthread_mutex_init(&gsi->lock, NULL);
    g_ptr_array_add(machine->gsis, gsi);
    return gsi;
}

IrqLine machine_gsi_line(Machine *machine, unsigned number)
{
    MachineGsi *gsi = find_gsi(machine, number);
    lodge_assert(gsi->source_count < SOURCES_MAX);
    return (IrqLine){ set_level, gsi, gsi->source_count++ };
}

bool machine_gsi_is_full(Machine *machine, unsigned number)
{
    return find_gsi(machine, number)->source_count >= SOURCES_MAX;
}

void machine_done_gsis(Machine *machine)
{
    for (guint i = 0; i < machine->gsis->len; i++) {
        MachineGsi *gsi = g_ptr_array_index(machine->gsis, i);
        pthread_mutex_destroy(&gsi->lock);
        g_free(gsi);
    }
    g_ptr_array_unref(machine->gsis);
}
