/* The probe: a loop of 2 million supervisor instructions in long mode.
 *
 * Hardware needs about 1 ms for it, an instruction emulator more than a second. The guest has its
 * page tables, code and nothing else in 16 KiB. SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/kvm/probe.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/endian.h"
#include "vmm/accel/kvm/kvm.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define MEMORY_BYTES 0x4000
#define PML4_AT 0x0000
#define PDPT_AT 0x1000
#define PD_AT 0x2000
#define CODE_AT 0x3000
#define PTE_TABLE 0x3u /* present, writable */
#define PTE_LARGE 0x83u
#define LIMIT_NS (50 * NS_PER_MS)
#define TICK_NS (10 * NS_PER_MS)

#define CR0_LONG_MODE 0x80000033u /* PG NE ET MP PE */
#define CR4_PAE 0x20u
#define EFER_LONG_MODE 0x500u /* LME LMA */

typedef struct Probe {
    int kvm_fd, vm_fd, vcpu_fd;
    uint8_t *memory;
    struct kvm_run *run;
    size_t run_bytes;
    timer_t timer;
    bool has_timer;
} Probe;

/* mov ecx, 1000000; 1: dec ecx; jnz 1b; hlt */
static const uint8_t probe_code[] = { 0xb9, 0x40, 0x42, 0x0f, 0x00, 0xff, 0xc9, 0x75, 0xfc, 0xf4 };

static void probe_done(Probe *probe)
{
    if (probe->has_timer) {
        timer_delete(probe->timer);
    }
    if (probe->run) {
        munmap(probe->run, probe->run_bytes);
    }
    if (probe->memory) {
        munmap(probe->memory, MEMORY_BYTES);
    }
    cleanup_close(&probe->vcpu_fd);
    cleanup_close(&probe->vm_fd);
    cleanup_close(&probe->kvm_fd);
}

static void fill_memory(uint8_t *memory)
{
    le64_put(memory + PML4_AT, PDPT_AT | PTE_TABLE);
    le64_put(memory + PDPT_AT, PD_AT | PTE_TABLE);
    le64_put(memory + PD_AT, PTE_LARGE);
    memcpy(memory + CODE_AT, probe_code, sizeof(probe_code));
}

static int set_registers(const Probe *probe)
{
    struct kvm_sregs sregs;
    struct kvm_regs regs = { .rip = CODE_AT, .rflags = 2 };
    int rc = kvm_ioctl(probe->vcpu_fd, KVM_GET_SREGS, &sregs);
    if (rc < 0) {
        return rc;
    }
    struct kvm_segment data = {
        .limit = ~0u, .selector = 16, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1
    };
    sregs.cs = data;
    sregs.cs.selector = 8;
    sregs.cs.type = 11;
    sregs.cs.l = 1;
    sregs.cs.db = 0;
    sregs.ds = sregs.es = sregs.ss = sregs.fs = sregs.gs = data;
    sregs.cr0 = CR0_LONG_MODE;
    sregs.cr3 = PML4_AT;
    sregs.cr4 = CR4_PAE;
    sregs.efer = EFER_LONG_MODE;
    rc = kvm_ioctl(probe->vcpu_fd, KVM_SET_SREGS, &sregs);
    return rc < 0 ? rc : kvm_ioctl(probe->vcpu_fd, KVM_SET_REGS, &regs);
}

static int create_machine(Probe *probe)
{
    probe->vm_fd = kvm_ioctl(probe->kvm_fd, KVM_CREATE_VM, NULL);
    if (probe->vm_fd < 0) {
        return probe->vm_fd;
    }
    void *memory =
        mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return -errno;
    }
    probe->memory = memory;
    fill_memory(memory);
    struct kvm_userspace_memory_region region = { .memory_size = MEMORY_BYTES,
                                                  .userspace_addr = (uintptr_t)memory };
    /* Intel processors without unrestricted guests need it; others ignore it. */
    int rc = kvm_ioctl(probe->vm_fd, KVM_SET_TSS_ADDR, (void *)(uintptr_t)KVM_TSS_ADDRESS);
    if (rc >= 0) {
        rc = kvm_ioctl(probe->vm_fd, KVM_SET_USER_MEMORY_REGION, &region);
    }
    return rc;
}

static int create_vcpu(Probe *probe)
{
    probe->vcpu_fd = kvm_ioctl(probe->vm_fd, KVM_CREATE_VCPU, NULL);
    if (probe->vcpu_fd < 0) {
        return probe->vcpu_fd;
    }
    int bytes = kvm_ioctl(probe->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, NULL);
    if (bytes < (int)sizeof(struct kvm_run)) {
        return bytes < 0 ? bytes : -EINVAL;
    }
    void *run = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, probe->vcpu_fd, 0);
    if (run == MAP_FAILED) {
        return -errno;
    }
    probe->run = run;
    probe->run_bytes = (size_t)bytes;
    return set_registers(probe);
}

static void wake(int number)
{
}

/* A signal to this thread after each tick of its CPU time: ends a KVM_RUN that takes too long. */
static int start_timer(Probe *probe)
{
    struct sigaction action = { .sa_handler = wake };
    struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = KVM_KICK_SIGNAL };
    struct itimerspec tick = { .it_interval.tv_nsec = TICK_NS, .it_value.tv_nsec = TICK_NS };
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, KVM_KICK_SIGNAL);
    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    if (sigaction(KVM_KICK_SIGNAL, &action, NULL) < 0 ||
        timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &probe->timer) < 0) {
        return -errno;
    }
    probe->has_timer = true;
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    return timer_settime(probe->timer, 0, &tick, NULL) < 0 ? -errno : 0;
}

/* Runs the guest to its HLT. Returns 0, -ETIME when that takes too long, or -errno of KVM_RUN. */
static int run_guest(Probe *probe)
{
    int64_t started = clock_read_ns(CLOCK_THREAD_CPUTIME_ID);
    for (;;) {
        int rc = ioctl(probe->vcpu_fd, KVM_RUN, NULL) < 0 ? -errno : 0;
        if (rc == 0) {
            return probe->run->exit_reason == KVM_EXIT_HLT ? 0 : -EPROTO;
        }
        if (rc != -EINTR && rc != -EAGAIN) {
            return rc;
        }
        if (clock_read_ns(CLOCK_THREAD_CPUTIME_ID) - started > LIMIT_NS) {
            return -ETIME;
        }
    }
}

bool kvm_probe(char *reason)
{
    Probe probe = { .vm_fd = -1, .vcpu_fd = -1 };
    probe.kvm_fd = kvm_open(reason);
    if (probe.kvm_fd < 0) {
        return false;
    }
    int rc = create_machine(&probe);
    if (rc >= 0) {
        rc = create_vcpu(&probe);
    }
    if (rc >= 0) {
        rc = start_timer(&probe);
    }
    if (rc < 0) {
        kvm_fail(reason, rc, "'%s' does not make virtual machines", KVM_PATH);
    } else {
        rc = run_guest(&probe);
        if (rc == -ETIME) {
            kvm_fail(reason, 0, "'%s' emulates the guest's instructions instead of running them%s",
                     KVM_PATH,
                     access("/sys/module/kvm_pvm", F_OK) == 0 ? " (paravirtual nested KVM)" : "");
        } else if (rc < 0) {
            kvm_fail(reason, rc == -EPROTO ? 0 : rc, "'%s' does not run a test guest (exit %u)",
                     KVM_PATH, probe.run->exit_reason);
        }
    }
    probe_done(&probe);
    return rc >= 0;
}
