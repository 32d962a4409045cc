/* The filter of system calls, by libseccomp: everything is allowed but what the tables name.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/sandbox.h"

#include "gbase/error.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/prctl.h>

#define CALL(name) SCMP_SYS(name)

/* What a monitor never does. */
static const int never[] = {
    CALL(acct),
    CALL(add_key),
    CALL(adjtimex),
    CALL(afs_syscall),
    CALL(bpf),
    CALL(chroot),
    CALL(clock_adjtime),
    CALL(clock_settime),
    CALL(delete_module),
    CALL(finit_module),
    CALL(fsconfig),
    CALL(fsmount),
    CALL(fsopen),
    CALL(fspick),
    CALL(getpmsg),
    CALL(init_module),
    CALL(ioperm),
    CALL(iopl),
    CALL(kcmp),
    CALL(kexec_file_load),
    CALL(kexec_load),
    CALL(keyctl),
    CALL(lookup_dcookie),
    CALL(mount),
    CALL(mount_setattr),
    CALL(move_mount),
    CALL(name_to_handle_at),
    CALL(nfsservctl),
    CALL(open_by_handle_at),
    CALL(open_tree),
    CALL(perf_event_open),
    CALL(pivot_root),
    CALL(process_vm_readv),
    CALL(process_vm_writev),
    CALL(ptrace),
    CALL(putpmsg),
    CALL(quotactl),
    CALL(quotactl_fd),
    CALL(reboot),
    CALL(request_key),
    CALL(security),
    CALL(setdomainname),
    CALL(sethostname),
    CALL(setns),
    CALL(settimeofday),
    CALL(swapoff),
    CALL(swapon),
    CALL(syslog),
    CALL(tuxcall),
    CALL(umount2),
    CALL(unshare),
    CALL(vhangup),
    CALL(vserver),
};

/* Calls that new kernels do not have, or that nothing new uses. */
static const int obsolete[] = {
    CALL(_sysctl),      CALL(create_module), CALL(get_kernel_syms), CALL(modify_ldt),
    CALL(query_module), CALL(sysfs),         CALL(uselib),          CALL(ustat),
};

static const int elevating[] = {
    CALL(capset),   CALL(setfsgid),  CALL(setfsuid),  CALL(setgid),   CALL(setgroups),
    CALL(setregid), CALL(setresgid), CALL(setresuid), CALL(setreuid), CALL(setuid),
};

static const int spawning[] = { CALL(execve), CALL(execveat), CALL(fork), CALL(vfork) };

static const int prioritizing[] = {
    CALL(ioprio_set),        CALL(mbind),         CALL(migrate_pages),  CALL(move_pages),
    CALL(sched_setaffinity), CALL(sched_setattr), CALL(sched_setparam), CALL(sched_setscheduler),
    CALL(set_mempolicy),     CALL(setpriority),
};

static int forbid(scmp_filter_ctx filter, const int *calls, unsigned count)
{
    int r = 0;
    for (unsigned i = 0; i < count && r >= 0; i++) {
        /* A negative number is a call that x86-64 does not have. */
        r = calls[i] < 0 ? 0 : seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, calls[i], 0);
    }
    return r;
}

#define FORBID(filter, calls) forbid(filter, calls, G_N_ELEMENTS(calls))

/* Threads are made by clone(); clone3(), whose flags a filter cannot see, is said not to be there,
 * and the C library then uses the other. */
static int forbid_processes(scmp_filter_ctx filter)
{
    int r = FORBID(filter, spawning);
    if (r >= 0) {
        r = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, CALL(clone), 1,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
    }
    return r < 0 ? r : seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), CALL(clone3), 0);
}

static int add_rules(scmp_filter_ctx filter, const SandboxConfig *config)
{
    int r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    r = r < 0 ? r : FORBID(filter, never);
    if (r >= 0 && config->obsolete == SANDBOX_DENY) {
        r = FORBID(filter, obsolete);
    }
    if (r >= 0 && config->elevate == SANDBOX_DENY) {
        r = FORBID(filter, elevating);
    }
    if (r >= 0 && config->spawn == SANDBOX_DENY) {
        r = forbid_processes(filter);
    }
    return r >= 0 && config->resources == SANDBOX_DENY ? FORBID(filter, prioritizing) : r;
}

bool sandbox_enter(const SandboxConfig *config, GError **error)
{
    if (config->elevate == SANDBOX_CHILDREN && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
        lodge_error_set_errno(error, errno, "-sandbox: cannot give up new privileges");
        return false;
    }
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int r = filter ? add_rules(filter, config) : -ENOMEM;
    r = r < 0 ? r : seccomp_load(filter);
    if (filter) {
        seccomp_release(filter);
    }
    if (r < 0) {
        lodge_error_set_errno(error, r, "-sandbox: cannot set up the filter of system calls");
    }
    return r >= 0;
}
