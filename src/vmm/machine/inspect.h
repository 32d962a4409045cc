/* What monitors and debuggers may see of a machine, and hold of it. Main thread.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_MACHINE_INSPECT_H
#define LODGE_VMM_MACHINE_INSPECT_H

#include "block/graph.h"
#include "gbase/fd-sets.h"
#include "vmm/char/char.h"
#include "vmm/cpu/feature.h"
#include "vmm/device/registry.h"
#include "vmm/machine/machine.h"

typedef struct MachineVcpuInfo {
    pid_t thread_id;
    unsigned socket, die, core, thread;
} MachineVcpuInfo;

typedef struct MachineTypeInfo {
    const char *name, *alias; /* alias: or NULL */
    unsigned vcpus_max;
} MachineTypeInfo;

/* A back end in its list; names are borrowed. */
typedef struct MachineBackendInfo {
    void *object; /* as its kind says: BlockBackend, CharBackend, NetBackend */
    const char *name;
    const Device *user; /* or NULL */
} MachineBackendInfo;

/* What -object made; all borrowed. */
typedef struct MachineObjectInfo {
    const char *id, *type;
    ThrottleGroup *limits; /* of a throttle-group; else NULL */
} MachineObjectInfo;
/* False: past the last. */
bool machine_object_at(const Machine *machine, unsigned index, MachineObjectInfo *out);
/* A type that -object knows; NULL: past the last. */
const char *machine_object_type_at(unsigned index);

/* Of a back end of kind "iothread". */
typedef struct MachineIothreadInfo {
    int64_t thread_id;
    uint64_t poll_max_ns, poll_grow, poll_shrink, batch;
} MachineIothreadInfo;
void machine_iothread_info(const void *object, MachineIothreadInfo *out);
/* Sets one of its numbers, by the name it has for -object. */
bool machine_iothread_set(void *object, const char *property, const char *value, GError **error);

const char *machine_type_name(const Machine *machine);
/* False: past the last. */
bool machine_type_at(unsigned index, MachineTypeInfo *out);
DeviceFamily *const *machine_families(void);

const AccelOps *machine_accel(const Machine *machine);
/* Whether KVM works on this host, in use or not. */
bool machine_host_has_kvm(const Machine *machine);
GuestMemory *machine_memory(Machine *machine);

unsigned machine_vcpu_count(const Machine *machine);
/* The accelerator's vCPU @index, which exists. */
Vcpu *machine_vcpu(const Machine *machine, unsigned index);
void machine_vcpu_info(const Machine *machine, unsigned index, MachineVcpuInfo *out);
/* Stops the vCPUs for that moment, if they run. */
void machine_vcpu_state(Machine *machine, unsigned index, CpuState *out);
bool machine_vcpu_translate(Machine *machine, unsigned index, uint64_t guest_virtual,
                            GuestAddr *out_physical);

/* As machine_resume(), with one vCPU only; it makes a single step for the debugger. */
bool machine_resume_one(Machine *machine, unsigned vcpu, GError **error);

/* Back ends of @kind ("drive", "chardev", "netdev") by number. False: past the last. */
bool machine_backend_at(const Machine *machine, const char *kind, unsigned index,
                        MachineBackendInfo *out);
/* @backend, which @user (or NULL) shows, shares the limits of the group @name from here on, which
 * is made if there is none; @name NULL: it has no limits. Context: main. */
bool machine_join_limits(Machine *machine, BlockBackend *backend, const Device *user,
                         const char *name, GError **error);
BlockGraph *machine_graph(const Machine *machine);
/* Secrets and credentials of -object; borrowed. */
BlockObjects *machine_block_objects(const Machine *machine);
/* @spec with its file names as this process opens them ("/dev/fdset/N"). (transfer full) */
BlockSpec *machine_resolve_spec(const Machine *machine, const BlockSpec *spec, GError **error);
/* Begins to write what the host's caches hold of the drives. */
void machine_flush_drives(Machine *machine);
/* Number @index of all devices, those of the machine itself too; NULL: past the last. */
const Device *machine_device_at(const Machine *machine, unsigned index);

/* Adds and removes devices while the machine is there; @config is read only. A removal goes on when
 * the guest agrees: MACHINE_EVENT_DEVICE_DELETED tells. */
bool machine_add_device(Machine *machine, const DeviceConfig *config, GError **error);
bool machine_remove_device(Machine *machine, const char *id, GError **error);

/* Makes a back end of @kind ("chardev", "netdev", "object"); @config has an id. */
bool machine_create_backend(Machine *machine, const char *kind, const BackendConfig *config,
                            GError **error);
/* False: there is none, or it is in use. */
bool machine_remove_backend(Machine *machine, const char *kind, const char *name, GError **error);
/* Descriptors passed by -add-fd and the monitor. */
FdSets *machine_fds(const Machine *machine);
/* Bytes of RAM that the guest keeps. False: there is no balloon. */
bool machine_get_balloon(Machine *machine, uint64_t *out_bytes);
bool machine_set_balloon(Machine *machine, uint64_t bytes);
/* Name of the guest's CPU model. */
const char *machine_cpu_model(const Machine *machine);
/* Guest clock in ns. */
int64_t machine_guest_ns(Machine *machine);
/* The balloon device, or NULL. */
Device *machine_balloon(const Machine *machine);
/* What -cpu @name would give a guest here, and what it asks for that cannot be had. */
bool machine_cpu_features(const Machine *machine, const char *name, CpuFeatureSet *out,
                          CpuFeatureSet *out_missing, GError **error);
/* A non-maskable interrupt to every vCPU. */
void machine_nmi(Machine *machine);
/* What the interrupt chips hold, as text for people. (transfer full) */
char *machine_format_irq(Machine *machine);
/* The character back end @id for a front end that is no device: a port of it if it is multiplexed.
 */
CharBackend *machine_chardev(Machine *machine, const char *id, GError **error);

/* What a guest's reset and power-off do; at first as -no-reboot and -no-shutdown say. */
void machine_get_actions(const Machine *machine, bool *out_reset_ends, bool *out_shutdown_pauses);
void machine_set_actions(Machine *machine, bool reset_ends, bool shutdown_pauses);

#endif
