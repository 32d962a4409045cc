/* What the files of the KVM accelerator share. Nothing outside this folder includes it.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_ACCEL_KVM_KVM_H
#define LODGE_VMM_ACCEL_KVM_KVM_H

#include "vmm/accel/accel.h"

#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#define KVM_PATH "/dev/kvm"
#define KVM_MESSAGE_BYTES 160

/* Interrupts KVM_RUN; its handler does nothing. */
#define KVM_KICK_SIGNAL SIGRTMIN

/* Two pages for task state and one for a page table that Intel processors need for real mode; below
 * the firmware, in a hole of every machine's memory map. */
#define KVM_IDENTITY_MAP_ADDRESS 0xfeffc000u
#define KVM_TSS_ADDRESS 0xfeffd000u

#define KVM_LAPIC_BYTES 1024
#define KVM_TRACKED_MSRS CPU_MSRS_MAX

typedef struct KvmSlot {
    bool is_used;
    GuestAddr base;
} KvmSlot;

struct Vm {
    int kvm_fd, fd;
    AccelHost host;
    size_t run_bytes; /* of the shared page of each vCPU */
    KvmSlot *slots;   /* under slot_lock */
    unsigned slot_count;
    pthread_mutex_t slot_lock;
    bool has_xcrs, has_debugregs, has_xsave, has_readonly_memory;
    /* MSRs that are saved and restored: those of the table that this kernel has. */
    uint32_t msr[KVM_TRACKED_MSRS];
    unsigned msr_count;
    /* Chips as they were at first, for irqchip_reset(). */
    struct kvm_irqchip initial_chip[3];
    struct kvm_pit_state2 initial_pit;
    Vcpu **vcpu; /* @vcpu_count slots by index; NULL: not created */
};

struct Vcpu {
    Vm *vm;
    unsigned index;
    uint32_t apic_id;
    int fd;
    struct kvm_run *run;
    _Atomic(bool) is_kicked;
    _Atomic(bool) wants_nmi;
    _Atomic(bool) is_running; /* @thread is inside vcpu_run() */
    bool signal_unblocked;    /* on the vCPU's thread */
    pthread_t thread;
    /* State after creation, for what a CpuState does not name. */
    uint64_t initial_msr[KVM_TRACKED_MSRS];
    struct kvm_lapic_state initial_lapic;
    /* What the TSC MSRs read last: writing the same back would only move time. */
    uint64_t last_tsc;
    DebugPoint points[4]; /* of the debugger, by hardware register */
    unsigned point_count;
    /* Exits by kind, for statistics; written by the vCPU's thread. */
    _Atomic(uint64_t) port_exits, memory_exits, other_exits;
};

/* ioctl() that is repeated when a signal interrupts it. Returns its result or -errno. */
int kvm_ioctl(int fd, unsigned long request, void *argument);

/* Writes "what: reason of errno" to @message. */
void kvm_fail(char *message, int errnum, const char *fmt, ...) LODGE_PRINTF(3, 4);

/* Opens /dev/kvm and checks its API version. Returns the descriptor or -errno, with @message. */
int kvm_open(char *message);

/* memslot.c: guest RAM to KVM's memory slots, by the address map's listener. */
int memslot_init(Vm *vm);
void memslot_done(Vm *vm);

/* irqchip.c */
int irqchip_create(Vm *vm, char *message);
void irqchip_set_line(Vm *vm, unsigned gsi, bool level);
void irqchip_send_msi(Vm *vm, uint64_t address, uint32_t data);
int irqchip_get_state(Vm *vm, void *buf, unsigned size);
int irqchip_set_state(Vm *vm, const void *buf, unsigned size);
void irqchip_reset(Vm *vm);
void irqchip_silence_pit(Vm *vm, bool is_silent);
void irqchip_describe(Vm *vm, char *buf, unsigned size);
int irqchip_ioeventfd(Vm *vm, bool is_port, GuestAddr addr, unsigned size, bool has_match,
                      uint64_t match, int event_fd, bool assign);

/* vcpu.c */
Vcpu *kvm_vcpu_create(Vm *vm, unsigned index, const CpuidTable *cpuid, const LapicPort *lapic,
                      char *message);
void kvm_vcpu_destroy(Vcpu *vcpu);

/* run.c */
void kvm_vcpu_run(Vcpu *vcpu, VcpuExit *out_exit);
void kvm_vcpu_kick(Vcpu *vcpu);
void kvm_vcpu_request(Vcpu *vcpu, VcpuRequest request, uint8_t vector);

/* cpuid.c */
int kvm_cpuid_limits(CpuidTable *out_limits, char *message);
/* Returns 0 or -errno of KVM_SET_CPUID2. */
int kvm_cpuid_set(Vcpu *vcpu, const CpuidTable *table);

/* msr.c */
int msr_find_tracked(Vm *vm);
/* Fills @value with the vCPU's tracked MSRs; those that cannot be read stay untouched. */
void msr_read_tracked(Vcpu *vcpu, uint64_t *value);
void kvm_msr_save(Vcpu *vcpu, CpuState *state);
/* Tracked MSRs without a value in @state get the one they had first. */
void kvm_msr_load(Vcpu *vcpu, const CpuState *state);

/* state.c */
void kvm_vcpu_get_state(Vcpu *vcpu, CpuState *out_state);
int kvm_vcpu_set_state(Vcpu *vcpu, const CpuState *state);
bool kvm_vcpu_translate(Vcpu *vcpu, uint64_t guest_virtual, GuestAddr *out_physical);

/* debug.c */
int kvm_vcpu_set_debug(Vcpu *vcpu, const DebugPoint *points, unsigned count, bool single_step);
/* Says in @out_exit what KVM_EXIT_DEBUG stopped for. */
void kvm_debug_exit(const Vcpu *vcpu, VcpuExit *out_exit);

#endif
