/* The interface between the machine and what executes guest code: KVM or the translator.
 *
 * Accelerators know nothing of devices. They reach memory and ports through AccelHost, and are
 * driven by AccelOps. One Vm holds the vCPUs of one machine; several may live in one process
 * (tests). SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_ACCEL_ACCEL_H
#define LODGE_VMM_ACCEL_ACCEL_H

#include "base/compiler.h"
#include "vmm/accel/cpu-state.h"
#include "vmm/memory/guest-memory.h"

#include <stdbool.h>
#include <stdint.h>

/* One leaf of what CPUID answers; by (function, index) if @has_index, else for every index. */
typedef struct CpuidLeaf {
    uint32_t function, index;
    bool has_index;
    uint32_t eax, ebx, ecx, edx;
} CpuidLeaf;

#define CPUID_LEAVES_MAX 96

/* What one vCPU's CPUID answers; built by vmm/cpu. Bits that follow run-time state (OSXSAVE, APIC
 * enable, XSAVE size) are the accelerator's to fill in. */
typedef struct CpuidTable {
    CpuidLeaf leaf[CPUID_LEAVES_MAX];
    unsigned count;
} CpuidTable;

/* The leaf for (function, index), or NULL; pure look-up. */
const CpuidLeaf *cpuid_table_find(const CpuidTable *table, uint32_t function, uint32_t index);

/* Appends a copy of @leaf; false: the table is full. */
static inline bool cpuid_table_append(CpuidTable *table, const CpuidLeaf *leaf)
{
    if (table->count == CPUID_LEAVES_MAX) {
        return false;
    }
    table->leaf[table->count++] = *leaf;
    return true;
}

/* The local APIC of one vCPU as the translator calls it (KVM has its own). All are called on the
 * vCPU's thread. */
typedef struct LapicPort {
    void *lapic;
    /* Vector to be delivered at the present priority, or -1. Without side effect; lock-free when
     * nothing is pending. */
    int (*pending)(void *lapic);
    /* Takes that vector into service and returns it, or -1 if it is gone (the 8259's vector for
     * ExtINT). */
    int (*acknowledge)(void *lapic);
    /* CR8, 0..15. */
    uint8_t (*get_cr8)(void *lapic);
    void (*set_cr8)(void *lapic, uint8_t value);
    /* IA32_APIC_BASE, TSC deadline, x2APIC registers. False: raise #GP. */
    bool (*read_msr)(void *lapic, uint32_t msr, uint64_t *out_value);
    bool (*write_msr)(void *lapic, uint32_t msr, uint64_t value);
    /* Accesses to the xAPIC registers, tried before the memory map wherever that shows no RAM.
     * False: @addr is not in this vCPU's enabled register page. */
    bool (*read_mmio)(void *lapic, GuestAddr addr, unsigned size, uint64_t *out_value);
    bool (*write_mmio)(void *lapic, GuestAddr addr, unsigned size, uint64_t value);
    /* Called once by vcpu_create: how the guest's time-stamp counter is read (on the vCPU's thread,
     * or while it does not run) and its frequency; the deadline timer needs both. */
    void (*bind_tsc)(void *lapic, uint64_t (*read_tsc)(void *opaque), void *opaque,
                     uint64_t tsc_hz);
    /* An INIT reached this vCPU: all but the id and the base address go back to power-on state. */
    void (*reset)(void *lapic);
} LapicPort;

/* What an accelerator may use of the machine. Copied at vm_create; what it points to outlives the
 * Vm. */
typedef struct AccelHost {
    GuestMemory
        *memory; /* its map answers memory accesses; reads and writes of regions by vmm/bus rules */
    AddressMap *ports;
    /* Accesses to device regions; @size 1, 2, 4 or 8 (8 only for memory). Context: the vCPU's
     * thread. */
    uint64_t (*region_read)(void *opaque, const AddressMap *map, GuestAddr addr, unsigned size);
    void (*region_write)(void *opaque, const AddressMap *map, GuestAddr addr, uint64_t value,
                         unsigned size);
    void *opaque;
    unsigned vcpu_count;
    bool is_interpreted;       /* xlate: execute instruction by instruction (jit=off) */
    uint64_t code_cache_bytes; /* xlate: room for translated code (tb-size); 0: the default */
    /* xlate: do as on a host without these, to test what is done there. */
    bool without_bmi2, without_fsgsbase;
} AccelHost;

typedef enum VcpuExitReason {
    VCPU_EXIT_KICKED,   /* vcpu_kick() was called */
    VCPU_EXIT_SHUTDOWN, /* triple fault */
    VCPU_EXIT_DEBUG,    /* breakpoint, watchpoint or single step of the debugger */
    VCPU_EXIT_FAILED,   /* the accelerator cannot go on; @message says why */
} VcpuExitReason;

typedef struct VcpuExit {
    VcpuExitReason reason;
    char message[160]; /* VCPU_EXIT_FAILED */
    uint64_t
        debug_address; /* VCPU_EXIT_DEBUG: guest-virtual rip, or the data address of a watchpoint */
    bool debug_is_watchpoint;
} VcpuExit;

typedef enum VcpuRequest {
    VCPU_REQUEST_INTERRUPT, /* lapic->pending() may have something; leaves HLT */
    VCPU_REQUEST_NMI,
    VCPU_REQUEST_INIT,
    VCPU_REQUEST_SIPI, /* with its vector */
} VcpuRequest;

typedef enum DebugPointKind {
    DEBUG_BREAKPOINT,
    DEBUG_WATCH_WRITE,
    DEBUG_WATCH_ACCESS
} DebugPointKind;

typedef struct DebugPoint {
    DebugPointKind kind;
    uint64_t address; /* guest-virtual */
    uint32_t length;  /* bytes watched; 1 for breakpoints */
} DebugPoint;

typedef struct Vm Vm; /* the accelerator's own, opaque here */
typedef struct Vcpu Vcpu;

/* An interrupt route of a kernel chip: what irqfd and vm_irq_line address by number. */
typedef struct AccelOps {
    const char *name;    /* "kvm", "xlate" */
    const char *summary; /* for -accel help */
    /* Interrupt controllers (8259s, IO-APIC, local APICs, PIT) live in the accelerator; @irq_line
     * and @msi_send then exist and the machine makes none. */
    bool has_irqchip;

    /* optional: whether guests run at a usable speed on this host; NULL: they always do. Takes up
     * to 50 ms of CPU time. @reason: 160 bytes, one phrase when the answer is no. */
    bool (*probe)(char *reason);

    /* required; before any Vm exists. The most that CPUID may show a guest, as leaves: feature bits
     * in their registers, vendor in leaf 0 and signature in leaf 1 (the identity of models that
     * name none), XCR0 bits and component sizes in leaf 0xD, brand in 0x80000002-4, address widths
     * in 0x80000008, paravirtual features in 0x40000001, TSC kHz in 0x40000010 eax if known before
     * a vCPU exists. vmm/cpu makes the tables of vCPUs within it. @message: 160 bytes. Returns 0 or
     * -errno. */
    int (*cpuid_limits)(CpuidTable *out_limits, char *message);

    /* required. @message: 160 bytes for one phrase on failure. Returns the Vm or NULL. */
    Vm *(*vm_create)(const AccelHost *host, char *message);
    /* required; every vCPU was destroyed before. NULL is accepted. */
    void (*vm_destroy)(Vm *vm);
    /* required. @index: also the APIC id unless the CPUID table says otherwise. @lapic: NULL with
     * has_irqchip. The state is that after reset. */
    Vcpu *(*vcpu_create)(Vm *vm, unsigned index, const CpuidTable *cpuid, const LapicPort *lapic,
                         char *message);
    void (*vcpu_destroy)(Vcpu *vcpu);

    /* required. Runs guest code on the calling thread (always the same for a vCPU) until an exit;
     * HLT waits inside. */
    void (*vcpu_run)(Vcpu *vcpu, VcpuExit *out_exit);
    /* required. Makes the present or next vcpu_run() return VCPU_EXIT_KICKED soon. Context: any
     * thread. */
    void (*vcpu_kick)(Vcpu *vcpu);
    /* required without has_irqchip (NMI also with it). Context: any thread, with device locks held.
     */
    void (*vcpu_request)(Vcpu *vcpu, VcpuRequest request, uint8_t vector);

    /* required; while the vCPU does not run. get leaves rip at an instruction's start. set returns
     * 0 or -EINVAL (state no processor can have). */
    void (*vcpu_get_state)(Vcpu *vcpu, CpuState *out_state);
    int (*vcpu_set_state)(Vcpu *vcpu, const CpuState *state);

    /* required; while no vCPU runs. Replaces all debugger points and the single-step wish. Returns
     * 0 or -ENOSPC (no more hardware points). */
    int (*vcpu_set_debug)(Vcpu *vcpu, const DebugPoint *points, unsigned count, bool single_step);
    /* required; while the vCPU does not run. Page walk without side effects; false: not mapped. */
    bool (*vcpu_translate)(Vcpu *vcpu, uint64_t guest_virtual, GuestAddr *out_physical);

    /* with has_irqchip. @gsi: 0-23 the IO-APIC's pins (0-15 also the 8259s'), but for 0, the PIT's,
     * which reaches pin 2 as on PCs. Context: any thread. */
    void (*irq_line)(Vm *vm, unsigned gsi, bool level);
    void (*msi_send)(Vm *vm, uint64_t address, uint32_t data);
    /* optional, with has_irqchip: one opaque, versioned record of the chips' state. get returns
     * bytes used or -ENOSPC; set 0 or -EINVAL. */
    int (*irqchip_get_state)(Vm *vm, void *buf, unsigned size);
    int (*irqchip_set_state)(Vm *vm, const void *buf, unsigned size);

    /* required with has_irqchip: whether the PIT's interrupt is cut off, as the HPET's legacy mode
     * does. Context: any thread, with device locks held. */
    void (*pit_silence)(Vm *vm, bool is_silent);
    /* optional: the chips' registers as lines of text. */
    void (*irqchip_describe)(Vm *vm, char *buf, unsigned size);

    /* required with has_irqchip: the chips as after power-on; no vCPU runs, and vcpu_set_state()
     * came before. */
    void (*irqchip_reset)(Vm *vm);

    /* optional: signals @event_fd instead of a region write of @size bytes at @addr (@datamatch
     * only if has_match). Returns 0 or -errno. */
    int (*ioeventfd)(Vm *vm, bool is_port, GuestAddr addr, unsigned size, bool has_match,
                     uint64_t match, int event_fd, bool assign);

    /* optional: statistics for the monitor and benches, "name value" lines. */
    void (*describe)(Vm *vm, char *buf, unsigned size);
} AccelOps;

extern const AccelOps accel_kvm;
extern const AccelOps accel_xlate;

#endif
