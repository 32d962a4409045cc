/* The KVM accelerator: a virtual machine of the kernel, and the table of operations.
 *
 * Uses the API of Linux' Documentation/virt/kvm/api.rst, version 12, with the in-kernel interrupt
 * chips and PIT. Left out: the dirty log, SMM, nested state.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "base/log.h"
#include "vmm/accel/kvm/kvm.h"
#include "vmm/accel/kvm/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

int kvm_ioctl(int fd, unsigned long request, void *argument)
{
    int rc;
    do {
        rc = ioctl(fd, request, argument);
    } while (rc < 0 && errno == EINTR);
    return rc < 0 ? -errno : rc;
}

void kvm_fail(char *message, int errnum, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int used = vsnprintf(message, KVM_MESSAGE_BYTES, fmt, args);
    va_end(args);
    if (errnum && used >= 0 && used < KVM_MESSAGE_BYTES) {
        char reason[64];
        snprintf(message + used, KVM_MESSAGE_BYTES - (unsigned)used, ": %s",
                 strerror_r(errnum < 0 ? -errnum : errnum, reason, sizeof(reason)));
    }
}

int kvm_open(char *message)
{
    autofd fd = open(KVM_PATH, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        int rc = -errno;
        kvm_fail(message, rc, "cannot open '%s'", KVM_PATH);
        return rc;
    }
    int version = kvm_ioctl(fd, KVM_GET_API_VERSION, NULL);
    if (version != KVM_API_VERSION) {
        kvm_fail(message, 0, "'%s' has API version %d, not %d", KVM_PATH, version, KVM_API_VERSION);
        return -ENOTSUP;
    }
    return steal_fd(&fd);
}

static int capability(const Vm *vm, long number)
{
    int value = kvm_ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, (void *)number);
    return value > 0 ? value : 0;
}

static int check_capabilities(Vm *vm, char *message)
{
    static const struct {
        int number;
        const char *name;
    } needed[] = {
        { KVM_CAP_USER_MEMORY, "user memory" },
        { KVM_CAP_SET_TSS_ADDR, "SET_TSS_ADDR" },
        { KVM_CAP_SET_IDENTITY_MAP_ADDR, "SET_IDENTITY_MAP_ADDR" },
        { KVM_CAP_EXT_CPUID, "extended CPUID" },
        { KVM_CAP_IRQCHIP, "in-kernel interrupt chips" },
        { KVM_CAP_PIT2, "in-kernel PIT" },
        { KVM_CAP_IRQ_ROUTING, "interrupt routing" },
        { KVM_CAP_SIGNAL_MSI, "SIGNAL_MSI" },
        { KVM_CAP_IOEVENTFD, "ioeventfd" },
        { KVM_CAP_IMMEDIATE_EXIT, "immediate exit" },
        { KVM_CAP_MP_STATE, "MP state" },
        { KVM_CAP_VCPU_EVENTS, "vCPU events" },
        { KVM_CAP_XSAVE, "XSAVE state" },
    };
    for (unsigned i = 0; i < ARRAY_LENGTH(needed); i++) {
        if (!capability(vm, needed[i].number)) {
            kvm_fail(message, 0, "the host's KVM lacks %s", needed[i].name);
            return -ENOTSUP;
        }
    }
    unsigned most = (unsigned)capability(vm, KVM_CAP_MAX_VCPUS);
    if (vm->host.vcpu_count > most) {
        kvm_fail(message, 0, "the host's KVM allows %u vCPUs, not %u", most, vm->host.vcpu_count);
        return -ENOTSUP;
    }
    vm->has_xcrs = capability(vm, KVM_CAP_XCRS);
    vm->has_debugregs = capability(vm, KVM_CAP_DEBUGREGS);
    vm->has_readonly_memory = capability(vm, KVM_CAP_READONLY_MEM);
    vm->slot_count = (unsigned)capability(vm, KVM_CAP_NR_MEMSLOTS);
    return 0;
}

static void ignore_signal(int number)
{
}

/* The handler is the process's; setting it again changes nothing. */
static int set_kick_handler(void)
{
    struct sigaction action = { .sa_handler = ignore_signal };
    return sigaction(KVM_KICK_SIGNAL, &action, NULL) ? -errno : 0;
}

static int set_up(Vm *vm, char *message)
{
    uint64_t identity_map = KVM_IDENTITY_MAP_ADDRESS;
    int rc = check_capabilities(vm, message);
    if (rc < 0) {
        return rc;
    }
    vm->fd = kvm_ioctl(vm->kvm_fd, KVM_CREATE_VM, NULL);
    if (vm->fd < 0) {
        kvm_fail(message, vm->fd, "cannot create a virtual machine");
        return vm->fd;
    }
    rc = kvm_ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, NULL);
    if (rc < (int)sizeof(struct kvm_run)) {
        kvm_fail(message, rc < 0 ? rc : EINVAL, "cannot learn the size of the shared vCPU page");
        return rc < 0 ? rc : -EINVAL;
    }
    vm->run_bytes = (size_t)rc;
    rc = kvm_ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map);
    if (rc >= 0) {
        rc = kvm_ioctl(vm->fd, KVM_SET_TSS_ADDR, (void *)(uintptr_t)KVM_TSS_ADDRESS);
    }
    if (rc >= 0) {
        rc = msr_find_tracked(vm);
    }
    if (rc >= 0) {
        rc = set_kick_handler();
    }
    if (rc < 0) {
        kvm_fail(message, rc, "cannot set up the virtual machine");
        return rc;
    }
    rc = irqchip_create(vm, message);
    if (rc < 0) {
        return rc;
    }
    rc = memslot_init(vm);
    if (rc < 0) {
        kvm_fail(message, rc, "cannot give guest memory to KVM");
    }
    return rc;
}

static void kvm_vm_destroy(Vm *vm)
{
    if (!vm) {
        return;
    }
    memslot_done(vm);
    free(vm->vcpu);
    cleanup_close(&vm->fd);
    cleanup_close(&vm->kvm_fd);
    pthread_mutex_destroy(&vm->slot_lock);
    free(vm);
}

static Vm *kvm_vm_create(const AccelHost *host, char *message)
{
    Vm *vm = calloc(1, sizeof(*vm));
    Vcpu **vcpus = calloc(host->vcpu_count, sizeof(*vcpus));
    if (!vm || !vcpus) {
        free(vm);
        free(vcpus);
        kvm_fail(message, ENOMEM, "cannot create a virtual machine");
        return NULL;
    }
    vm->host = *host;
    vm->vcpu = vcpus;
    vm->fd = -1;
    pthread_mutex_init(&vm->slot_lock, NULL);
    vm->kvm_fd = kvm_open(message);
    if (vm->kvm_fd < 0 || set_up(vm, message) < 0) {
        kvm_vm_destroy(vm);
        return NULL;
    }
    return vm;
}

static void kvm_describe(Vm *vm, char *buf, unsigned size)
{
    uint64_t ports = 0, memory = 0, other = 0;
    for (unsigned i = 0; i < vm->host.vcpu_count; i++) {
        if (vm->vcpu[i]) {
            ports += atomic_load_explicit(&vm->vcpu[i]->port_exits, memory_order_relaxed);
            memory += atomic_load_explicit(&vm->vcpu[i]->memory_exits, memory_order_relaxed);
            other += atomic_load_explicit(&vm->vcpu[i]->other_exits, memory_order_relaxed);
        }
    }
    snprintf(buf, size,
             "kvm.exits.port %" PRIu64 "\nkvm.exits.memory %" PRIu64 "\nkvm.exits.other %" PRIu64
             "\n",
             ports, memory, other);
}

const AccelOps accel_kvm = {
    .name = "kvm",
    .summary = "hardware virtualization by Linux' KVM",
    .has_irqchip = true,
    .probe = kvm_probe,
    .cpuid_limits = kvm_cpuid_limits,
    .vm_create = kvm_vm_create,
    .vm_destroy = kvm_vm_destroy,
    .vcpu_create = kvm_vcpu_create,
    .vcpu_destroy = kvm_vcpu_destroy,
    .vcpu_run = kvm_vcpu_run,
    .vcpu_kick = kvm_vcpu_kick,
    .vcpu_request = kvm_vcpu_request,
    .vcpu_get_state = kvm_vcpu_get_state,
    .vcpu_set_state = kvm_vcpu_set_state,
    .vcpu_set_debug = kvm_vcpu_set_debug,
    .vcpu_translate = kvm_vcpu_translate,
    .irq_line = irqchip_set_line,
    .msi_send = irqchip_send_msi,
    .irqchip_get_state = irqchip_get_state,
    .irqchip_set_state = irqchip_set_state,
    .irqchip_reset = irqchip_reset,
    .irqchip_describe = irqchip_describe,
    .pit_silence = irqchip_silence_pit,
    .ioeventfd = irqchip_ioeventfd,
    .describe = kvm_describe,
};
