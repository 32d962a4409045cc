/* APIC ids from a topology.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/cpu/topology.h"

/* Bits that numbers 0..count-1 need. */
static unsigned width(unsigned count)
{
    return count > 1 ? 32 - (unsigned)__builtin_clz(count - 1) : 0;
}

unsigned cpu_topology_core_shift(const CpuTopology *topology)
{
    return width(topology->threads);
}

unsigned cpu_topology_die_shift(const CpuTopology *topology)
{
    return cpu_topology_core_shift(topology) + width(topology->cores);
}

unsigned cpu_topology_socket_shift(const CpuTopology *topology)
{
    return cpu_topology_die_shift(topology) + width(topology->dies);
}

uint32_t cpu_topology_apic_id(const CpuTopology *topology, unsigned index)
{
    unsigned thread = index % topology->threads;
    unsigned core = index / topology->threads % topology->cores;
    unsigned die = index / topology->threads / topology->cores % topology->dies;
    unsigned socket = index / topology->threads / topology->cores / topology->dies;
    return thread | core << cpu_topology_core_shift(topology) |
           die << cpu_topology_die_shift(topology) | socket << cpu_topology_socket_shift(topology);
}
