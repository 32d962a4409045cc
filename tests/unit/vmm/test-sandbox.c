/* The filter of system calls: what it ends, and what it must let pass.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/check.h"
#include "vmm/sandbox.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const SandboxConfig allows_much = { .is_on = true, .obsolete = SANDBOX_DENY };
static const SandboxConfig denies_all = { .is_on = true,
                                          .obsolete = SANDBOX_DENY,
                                          .elevate = SANDBOX_DENY,
                                          .spawn = SANDBOX_DENY,
                                          .resources = SANDBOX_DENY };

static void *do_nothing(void *opaque)
{
    return opaque;
}

static void call_mount(void)
{
    mount("none", "/nowhere", "tmpfs", 0, NULL);
}

static void call_setuid(void)
{
    syscall(SYS_setuid, getuid());
}

static void call_fork(void)
{
    if (fork() == 0) {
        _exit(0);
    }
}

static void call_exec(void)
{
    execl("/nowhere", "nowhere", NULL);
}

static void call_setpriority(void)
{
    setpriority(PRIO_PROCESS, 0, 0);
}

static void call_ustat(void)
{
    syscall(SYS_ustat, 0, NULL);
}

static void start_thread(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, do_nothing, NULL) == 0) {
        pthread_join(thread, NULL);
        _exit(0);
    }
    _exit(1);
}

/* Runs @call behind the filter in a process of its own. True: the filter ended it. */
static bool is_ended(const SandboxConfig *config, void (*call)(void))
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (!sandbox_enter(config, NULL)) {
            _exit(2);
        }
        call();
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status)) {
        assert_int_equal(WEXITSTATUS(status), 0);
    } else {
        assert_int_equal(WTERMSIG(status), SIGSYS);
    }
    return WIFSIGNALED(status);
}

static void what_no_monitor_needs_ends_the_process(void **state)
{
    assert_true(is_ended(&allows_much, call_mount));
    assert_true(is_ended(&allows_much, call_ustat));
    assert_true(is_ended(&denies_all, call_mount));
}

static void switches_forbid_what_they_name(void **state)
{
    static void (*const calls[])(void) = { call_setuid, call_fork, call_exec, call_setpriority };
    for (unsigned i = 0; i < G_N_ELEMENTS(calls); i++) {
        assert_false(is_ended(&allows_much, calls[i]));
        assert_true(is_ended(&denies_all, calls[i]));
    }
}

static void threads_can_be_started_behind_the_filter(void **state)
{
    assert_false(is_ended(&denies_all, start_thread));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_no_monitor_needs_ends_the_process),
        cmocka_unit_test(switches_forbid_what_they_name),
        cmocka_unit_test(threads_can_be_started_behind_the_filter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
