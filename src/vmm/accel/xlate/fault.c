/* Host faults in translated code.
 *
 * A signal handler has no argument of its own: the vCPU of a thread and the handlers that were
 * there before are the only variables of this folder outside the VM.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/fault.h"

#include <asm/prctl.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

static const int signals[] = { SIGFPE, SIGSEGV, SIGBUS, SIGILL };
static struct sigaction before[ARRAY_LENGTH(signals)];
static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Thread_local Vcpu *running;

static void pass_on(int number)
{
    for (unsigned i = 0; i < ARRAY_LENGTH(signals); i++) {
        if (signals[i] == number) {
            /* The instruction faults again, and the earlier handler sees it. */
            sigaction(number, &before[i], NULL);
        }
    }
}

static void handle(int number, siginfo_t *info, void *context)
{
    ucontext_t *at = context;
    Vcpu *vcpu = running;
    const JitVm *jit = vcpu ? vcpu->vm->jit : NULL;
    uint64_t pc = (uint64_t)at->uc_mcontext.gregs[REG_RIP];
    if (!jit || pc - (uintptr_t)jit->exec >= jit->bytes ||
        pc - (uintptr_t)jit->exec < jit->stubs.end || info->si_code <= 0) {
        pass_on(number);
        return;
    }
    vcpu->exit_info = pc - (uintptr_t)jit->exec;
    at->uc_mcontext.gregs[REG_RIP] = (greg_t)((uintptr_t)jit->exec + jit->stubs.exit_fault);
}

static void install(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof(action));
    action.sa_sigaction = handle;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    for (unsigned i = 0; i < ARRAY_LENGTH(signals); i++) {
        sigaction(signals[i], &action, &before[i]);
    }
}

void fault_init(void)
{
    pthread_once(&once, install);
}

void fault_attach(Vcpu *vcpu, const JitVm *jit)
{
    running = vcpu;
    if (jit->has_fsgsbase) {
        __asm__ volatile("wrgsbase %0" : : "r"(vcpu));
    } else {
        syscall(SYS_arch_prctl, ARCH_SET_GS, vcpu);
    }
}

void fault_detach(const Vcpu *vcpu)
{
    if (running == vcpu) {
        running = NULL;
    }
}
