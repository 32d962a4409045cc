/* Where a vCPU sits among sockets, dies, cores and threads, and the APIC id that follows.
 *
 * APIC ids have one bit field for each level, as wide as the level's count needs, thread lowest:
 * CPUID leaf 0xB of the Intel SDM. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_CPU_TOPOLOGY_H
#define LODGE_VMM_CPU_TOPOLOGY_H

#include <stdint.h>

/* Each at least 1; vCPU indexes count threads first, then cores, dies, sockets. */
typedef struct CpuTopology {
    unsigned sockets, dies, cores, threads; /* dies per socket, cores per die, threads per core */
} CpuTopology;

/* How many vCPUs fill the topology. */
static inline unsigned cpu_topology_count(const CpuTopology *topology)
{
    return topology->sockets * topology->dies * topology->cores * topology->threads;
}

/* Bits of the APIC id below the core, the die and the socket number. */
unsigned cpu_topology_core_shift(const CpuTopology *topology);
unsigned cpu_topology_die_shift(const CpuTopology *topology);
unsigned cpu_topology_socket_shift(const CpuTopology *topology);

/* The APIC id of vCPU @index. Ids have gaps when a count is no power of two. */
uint32_t cpu_topology_apic_id(const CpuTopology *topology, unsigned index);

#endif
