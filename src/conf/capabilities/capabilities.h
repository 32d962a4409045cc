/* Host and domain capabilities (libvirt's <capabilities> and <domainCapabilities>) from plain
 * structs that the daemon fills; pure.
 *
 * Left out: migration transports beyond tcp, power management, memory bandwidth banks.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_CONF_CAPABILITIES_CAPABILITIES_H
#define LODGE_CONF_CAPABILITIES_CAPABILITIES_H

#include "gbase/uuid.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct HostCpu {
    unsigned id, socket, die, core;
    const char *siblings; /* set of CPUs, "0-1" */
} HostCpu;

typedef struct HostPages {
    uint64_t size;  /* KiB */
    uint64_t count; /* on the cell */
} HostPages;

typedef struct HostDistance {
    unsigned cell, value; /* 10: itself */
} HostDistance;

typedef struct HostCell {
    unsigned id;
    uint64_t memory; /* KiB */
    const HostPages *pages;
    unsigned n_pages;
    const HostDistance *distances;
    unsigned n_distances;
    const HostCpu *cpus;
    unsigned n_cpus;
} HostCell;

typedef struct HostCache {
    unsigned id, level;
    const char *type; /* "both", "data", "code" */
    uint64_t size;    /* KiB */
    const char *cpus; /* "0-1" */
} HostCache;

typedef struct CapsMachine {
    const char *name;
    const char *canonical; /* of an alias, else NULL */
    unsigned max_cpus;
    bool is_deprecated;
} CapsMachine;

/* One emulator for one architecture. */
typedef struct CapsGuest {
    const char *arch;
    unsigned word_size; /* 32 or 64 */
    const char *emulator;
    const CapsMachine *machines;
    unsigned n_machines;
    bool has_kvm; /* also domains of type "kvm" */
    bool has_external_snapshot;
    bool is_x86;
} CapsGuest;

/* Arrays and strings are borrowed. NULL strings are left out. */
typedef struct HostCapabilities {
    Uuid uuid;
    const char *arch, *cpu_model, *cpu_vendor;
    const char *microcode; /* decimal, or NULL */
    bool has_signature;
    unsigned family, model, stepping;
    unsigned phys_bits; /* 0: unknown */
    unsigned sockets, dies, cores, threads;
    const char *const *cpu_features; /* ends with NULL; may be NULL */
    const uint64_t *page_sizes;      /* KiB */
    unsigned n_page_sizes;
    const HostCache *caches;
    unsigned n_caches;
    const char *security_model, *security_doi; /* NULL: not told */
    const HostCell *cells;
    unsigned n_cells;
    bool has_iommu;
    const CapsGuest *guests;
    unsigned n_guests;
} HostCapabilities;

/* libvirt's <capabilities>. (transfer full) */
char *host_capabilities_format(const HostCapabilities *caps);

/* <NAME supported='yes'> with enums; names end with NULL. */
typedef struct CapsEnum {
    const char *name;
    const char *const *values; /* NULL: none */
} CapsEnum;

typedef struct CapsDevice {
    const char *element; /* "disk", "graphics", ...; NULL ends a list */
    bool is_supported;
    CapsEnum enums[6]; /* up to the first without a name */
} CapsDevice;

typedef struct CapsCpuModel {
    const char *name, *vendor; /* vendor NULL: unknown */
    bool is_usable, is_deprecated;
} CapsCpuModel;

typedef struct DomainCapabilities {
    const char *emulator, *domain, *machine, *arch;
    unsigned max_vcpus;
    const char *const *firmwares; /* "efi", "bios"; end with NULL */
    const char *const *loaders;   /* paths; end with NULL; NULL: no loader */
    bool has_secure_loader;
    bool has_host_passthrough, has_maximum;
    const char *host_model, *host_vendor; /* NULL: host-model is not supported */
    const char *const *host_features;     /* required; end with NULL */
    const char *const *host_disabled;     /* of the model's; end with NULL */
    const CapsCpuModel *models;
    unsigned n_models;
    const char *const *memory_sources; /* "memfd", ...; end with NULL */
    const CapsDevice *devices;         /* ends with an element NULL */
    bool has_iothreads, has_vmcoreinfo, has_genid, has_backup, has_backing_store_input;
    const char *const *hyperv; /* features; end with NULL; NULL: none */
} DomainCapabilities;

/* libvirt's <domainCapabilities>. (transfer full) */
char *domain_capabilities_format(const DomainCapabilities *caps);

#endif
