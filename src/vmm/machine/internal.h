/* The machine's insides. Within vmm/machine only.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_MACHINE_INTERNAL_H
#define LODGE_VMM_MACHINE_INTERNAL_H

#include "block/graph.h"
#include "block/objects.h"
#include "gbase/fd-sets.h"
#include "vmm/accel/accel.h"
#include "vmm/bus/pci/pci-bus.h"
#include "vmm/cpu/model.h"
#include "vmm/device/device.h"
#include "vmm/device/registry.h"
#include "vmm/firmware/boot.h"
#include "vmm/irq/irqchip.h"
#include "vmm/machine/machine.h"

#include <stdatomic.h>

typedef struct MachineVcpu {
    Machine *machine;
    unsigned index;
    uint32_t apic_id;
    Vcpu *vcpu;
    pthread_t thread;
    bool has_thread;
    bool is_running; /* under run_lock: inside vcpu_run() or about to be */
    bool has_exit;   /* under run_lock: exit is to be handled by the main thread */
    VcpuExit exit;
    pid_t tid; /* of its thread */
} MachineVcpu;

/* A device with what it was given. */
typedef struct MachineDevice {
    Machine *machine;
    Device *device;
    DeviceHost host;
    bool is_plugged;  /* on a PCI bus */
    uint8_t mac_byte; /* of Machine.is_mac_taken, if has_mac */
    bool has_mac;
    _Atomic(uint32_t) notices_pending; /* 1 << DeviceNotice */
    _Atomic(int64_t) notice[DEVICE_NOTICES];
} MachineDevice;

/* A back end that one device may use. */
typedef struct MachineBackend {
    char *kind, *name; /* owned */
    void *object;
    void (*free)(void *object); /* NULL: borrowed */
    const MachineDevice *user;
    bool is_shareable;
    GPtrArray *sharers; /* of MachineDevice, in place of user where it is shareable; may be NULL */
} MachineBackend;

typedef struct MachineGsi MachineGsi;

typedef struct MachineType {
    const char *name, *alias, *summary;
    unsigned vcpus_max;
    const char *default_disk, *default_nic; /* device classes */
    GuestAddr low_ram_limit;                /* if all of it fits below this, it is there */
    GuestAddr low_ram_split;                /* else up to here, the rest above 4 GiB */
    GuestAddr hole_base;                    /* no RAM from here to 4 GiB */
    /* Chips and buses; then the devices of the command line are added. */
    bool (*build)(Machine *machine, GError **error);
    /* Gives a virtio-mmio device its place; NULL: there is no room for any. */
    bool (*place_virtio_mmio)(MachineDevice *md, GError **error);
    /* Devices behind those (-serial ports) and tables for the guest; after all devices. */
    bool (*finish)(Machine *machine, GError **error);
} MachineType;

/* Ends with a NULL name. */
extern const MachineType machine_types[];
const MachineType *machine_type_find(const char *name, GError **error);

/* Every device class a machine can have; ends with NULL. */
extern DeviceFamily *const machine_device_families[];

#define MACHINE_OBSERVERS_MAX 8
#define MACHINE_ISA_LINES 16
/* Default addresses of network cards: MACHINE_MAC_FIRST to ff of the last byte. */
#define MACHINE_MACS 256
#define MACHINE_MAC_FIRST 0x56

struct Machine {
    const MachineConfig *config;
    const MachineType *type;
    EventLoop *loop;

    AddressMap *memory_map, *port_map;
    GuestMemory memory;
    RamBlock *ram;
    uint64_t low_ram_bytes, high_ram_bytes; /* below 4 GiB, above */
    E820Map e820;

    const AccelOps *accel;
    Vm *vm;
    CpuidTable cpuid_limits;
    CpuConfig cpu_config;
    CpuFeatureSet cpu_features;
    CpuTopology topology;
    MachineVcpu *vcpu;
    unsigned vcpu_count;
    unsigned phys_bits;              /* of guest-physical addresses */
    IrqChip *irq_chip;               /* NULL: the accelerator has its own */
    bool is_mac_taken[MACHINE_MACS]; /* the last bytes of addresses that cards have by default */

    PciBus *pci_root;    /* NULL: no PCI */
    GPtrArray *devices;  /* of MachineDevice, in the order made */
    GPtrArray *backends; /* of MachineBackend */
    BlockGraph *graph;
    BlockObjects *block_objects; /* secrets and credentials */
    FdSets *fds;                 /* passed by -add-fd and the monitor */
    GPtrArray *gsis;             /* of MachineGsi */
    /* Known to their type's build and to lifecycle. NULL: not there. */
    Device *acpi_pm, *acpi_ged, *rtc, *fw_cfg;

    BootImage *boot;
    GBytes *tables; /* firmware tables, copied to tables_address at each reset */
    GuestAddr tables_address, rsdp;
    char *command_line;

    /* Run state; main thread */
    RunState state;
    bool is_ended, is_halted;
    bool reset_ends, shutdown_pauses; /* what a guest's reset and power-off do */
    bool has_run;                     /* the loop runs, or ran */
    int exit_status;
    MachineObserver observer[MACHINE_OBSERVERS_MAX];
    void *observer_opaque[MACHINE_OBSERVERS_MAX];
    unsigned observers;

    /* vCPU threads */
    pthread_mutex_t run_lock;
    pthread_cond_t run_cond;
    bool vcpus_wanted;      /* under run_lock */
    int only_vcpu;          /* under run_lock: the one that runs when wanted, or -1: all */
    bool vcpus_end;         /* under run_lock */
    unsigned vcpus_running; /* under run_lock */

    /* Guest clock: host time minus offset, or the time it stands at. */
    _Atomic(int64_t) clock_offset_ns, clock_frozen_ns; /* frozen < 0: it runs */
    /* Timers of devices by guest time. */
    pthread_mutex_t timer_lock;
    GHashTable *timers; /* LoopTimer * -> MachineTimer *; under timer_lock */
    bool timers_posted; /* under timer_lock: a call to apply changes is under way */

    _Atomic(uint32_t) power_pending; /* 1 << PowerEvent */
    _Atomic(int) debug_exit_code;
};

/* memory.c */
bool machine_build_memory(Machine *machine, GError **error);
void machine_done_memory(Machine *machine);

/* accel.c */
bool machine_build_accel(Machine *machine, GError **error);
bool machine_build_vcpus(Machine *machine, GError **error);
void machine_done_vcpus(Machine *machine);
void machine_done_accel(Machine *machine);
bool machine_build_irq_chip(Machine *machine, GError **error);
/* The input itself; devices use machine_gsi_line(). */
IrqLine machine_raw_gsi_line(Machine *machine, unsigned gsi);
MsiSink machine_msi_sink(Machine *machine);
char *machine_accel_help(void);

/* gsi.c */
/* One more source of interrupt input @gsi (0-23). */
IrqLine machine_gsi_line(Machine *machine, unsigned gsi);
bool machine_gsi_is_full(Machine *machine, unsigned gsi);
void machine_done_gsis(Machine *machine);

/* clock.c */
void machine_clock_init(Machine *machine);
void machine_clock_done(Machine *machine);
int64_t machine_clock_ns(void *opaque);
void machine_clock_stop(Machine *machine);
void machine_clock_start(Machine *machine);
void machine_timer_set(void *opaque, LoopTimer *timer, int64_t deadline_ns);

/* device.c */
MachineDevice *machine_device_new(Machine *machine, const DeviceClass *class, const char *id);
/* Unrealizes, unplugs and frees; back ends can be used again. Not for one in Machine.devices. */
void machine_device_destroy(MachineDevice *md);
/* Plugs and realizes; on failure the device is gone. */
bool machine_device_realize(MachineDevice *md, GError **error);
/* The two in one, for devices of the machine itself. @properties: "name", "value", ..., NULL. */
Device *machine_add(Machine *machine, const DeviceClass *class, const char *const *properties,
                    const IrqLine *lines, unsigned line_count, GError **error);
/* A device with its properties, not yet realized. */
MachineDevice *machine_device_prepare(Machine *machine, const DeviceClass *class,
                                      const char *const *properties, const IrqLine *lines,
                                      unsigned line_count, GError **error);
/* Every -global names a device class that exists. */
bool machine_check_globals(const Machine *machine, GError **error);
bool machine_add_configured(Machine *machine, const DeviceConfig *config, GError **error);
/* A number property of a device. */
uint64_t machine_device_number(const Device *dev, const char *property);
void machine_done_devices(Machine *machine);

/* q35.c, microvm.c */
bool q35_build(Machine *machine, GError **error);
bool q35_finish(Machine *machine, GError **error);
bool microvm_build(Machine *machine, GError **error);
bool microvm_finish(Machine *machine, GError **error);
bool microvm_place_virtio_mmio(MachineDevice *md, GError **error);

/* backends.c */
/* The descriptors of -add-fd. */
bool machine_take_passed_fds(Machine *machine, GError **error);
/* fd_sets_resolve() with the machine's sets: each path that users name goes through it. */
char *machine_resolve_path(const Machine *machine, const char *path, int flags, GError **error);
bool machine_add_object(Machine *machine, const BackendConfig *config, GError **error);
bool machine_add_drive(Machine *machine, const BackendConfig *config, GError **error);
bool machine_add_netdev(Machine *machine, const BackendConfig *config, GError **error);
bool machine_add_chardev(Machine *machine, const BackendConfig *config, GError **error);
bool machine_build_backends(Machine *machine, GError **error);
void machine_add_backend(Machine *machine, const char *kind, const char *name, void *object,
                         void (*free)(void *object));
MachineBackend *machine_find_backend(const Machine *machine, const char *kind, const char *name);
/* Whether -object made it. */
bool machine_backend_is_object(const MachineBackend *backend);
/* Whether a monitor may add one of "chardev", "drive", "netdev" or "object" by that id. */
bool machine_check_new_backend(const Machine *machine, const char *kind, const char *id,
                               GError **error);
/* @user: NULL for one that is no device. */
void *machine_use_backend(Machine *machine, const MachineDevice *user, const char *kind,
                          const char *name, GError **error);
void machine_leave_backends(const MachineDevice *user);
char *machine_object_help(void);
void machine_done_backends(Machine *machine);

/* hotplug.c */
/* The guest switched off the slot of port @md. Context: any thread, with device locks held. */
void machine_slot_off(MachineDevice *md);
/* Takes out what the guest was asked to let go: with a reset nobody uses it. vCPUs are parked. */
void machine_finish_ejects(Machine *machine);

/* mtrr.c */
void machine_set_memory_types(const Machine *machine, CpuState *state);

/* vcpu.c */
bool machine_start_vcpu_threads(Machine *machine, GError **error);
void machine_end_vcpu_threads(Machine *machine);
void machine_park_vcpus(Machine *machine);
void machine_release_vcpus(Machine *machine);
/* All but vCPU @index stay parked. */
void machine_release_one_vcpu(Machine *machine, unsigned index);

/* lifecycle.c */
void machine_power_event(void *opaque, PowerEvent event, int code);
void machine_tell(Machine *machine, const MachineEvent *event);
/* A disk request failed. Context: the loop, with device locks held. */
void machine_block_error(Machine *machine, const MachineEvent *event);
void machine_handle_exits(void *opaque);
/* Opens a drive that devices find by its id. */
bool machine_open_drive(Machine *machine, const BlockOptions *options, GError **error);
/* @texts: of char *, arguments of -blockdev. */
bool machine_open_blockdevs(Machine *machine, const GPtrArray *texts, GError **error);
/* The device's property share-rw. */
bool machine_shares_writes(const Device *dev);
/* A drive on the node @name for a device. NULL with @error, or without: there is no such node. */
MachineBackend *machine_open_node_drive(Machine *machine, const MachineDevice *user,
                                        const char *name, GError **error);
/* What drives began is done, and told to their devices. */
void machine_drain_drives(Machine *machine);
/* Memory, devices and vCPUs as after power on, boot data loaded. */
bool machine_load_reset_state(Machine *machine, ResetKind kind, GError **error);

#endif
