/* What the files about the host share.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_HOST_HOST_H
#define LODGE_DAEMON_HOST_HOST_H

#include "conf/cpu/cpu.h"
#include "daemon/host/engine.h"

typedef struct HostTopology {
    unsigned cpus, sockets, cores, threads;
} HostTopology;

/* Processors that are online. */
void host_read_topology(HostTopology *out);

/* NUMA nodes; 1 for hosts without. */
unsigned host_count_nodes(void);

/* The NUMA nodes as a set's text, "0" for hosts without. (transfer full) */
char *host_nodes_text(void);

/* The text of a NUMA node's meminfo (transfer full), or NULL. */
char *host_node_meminfo(int cell);

/* The host's processor as CPUID tells. */
typedef struct HostProcessor {
    CpuHave have;
    unsigned family, model, stepping;
    unsigned phys_bits;
    char *microcode; /* decimal, or NULL */
} HostProcessor;

/* Once; any thread. */
const HostProcessor *host_processor(void);

/* The XML of <capabilities>. Not on the loop. (transfer full) */
char *host_capabilities_xml(Daemon *daemon);

/* "none", or "dac" when guests have a user of their own. */
const char *host_security_model(Daemon *daemon);

/* Whether libvirt knows an architecture of that name, be there an engine for it or not. */
bool host_knows_arch(const char *arch);

/**
 * host_choose_engine - the engine and domain type that a client asks about
 *
 * NULL words are filled in as libvirt does: the emulator by the architecture, the type "kvm" where
 * it works. Not on the loop. Returns: (transfer full), or NULL with @error.
 */
Engine *host_choose_engine(Daemon *daemon, const char *emulator, const char *arch,
                           const char *machine, const char *virt, const EngineMachine **out_machine,
                           bool *out_is_kvm, GError **error);

#endif
