/* Processes beside a guest's.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/helper-process.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "daemon/domain/runtime.h"
#include "daemon/error.h"
#include "gbase/error.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

/* How long one may take to end by itself after its engine, and after it was killed. */
#define LEAVE_NS 2000000000
#define KILL_NS 3000000000
#define KILL_TIMEOUT_MS 3000
/* One that ends this long before its guest does so because of it. */
#define REPORT_NS 500000000
#define HELPERS_MAX 64

struct HelperProcess {
    char *alias;
    Domain *domain; /* borrowed: the guest's process holds it */
    GuestProcess process;
    LoopWatch *watch;
    bool is_leaving; /* its device does */
    bool is_lost;    /* ended, which has not been told yet */
    int status;      /* as waitpid() says it; -1: unknown */
};

static bool is_there(const HelperProcess *helper)
{
    return helper->process.pidfd >= 0;
}

static void helper_free(gpointer data)
{
    HelperProcess *helper = data;
    lodge_assert(!helper->watch);
    process_clear(&helper->process);
    g_free(helper->alias);
    g_free(helper);
}

GPtrArray *helper_list_new(void)
{
    return g_ptr_array_new_with_free_func(helper_free);
}

static HelperProcess *helper_new(const char *alias, const GuestProcess *process)
{
    HelperProcess *helper = g_new0(HelperProcess, 1);
    helper->alias = g_strdup(alias);
    helper->process = *process;
    helper->status = -1;
    return helper;
}

/* With those it has made: each leads a process group, whose number is its own while it is there. */
static void kill_group(const HelperProcess *helper)
{
    if (is_there(helper) && !process_wait(&helper->process, 0)) {
        kill(-helper->process.pid, SIGKILL);
        process_signal(&helper->process, SIGKILL);
    }
}

/* --- starting --- */

char *helper_find_program(const char *name, const char *const *known)
{
    char *found = g_find_program_in_path(name);
    for (unsigned i = 0; !found && known && known[i]; i++) {
        found = access(known[i], X_OK) == 0 ? g_strdup(known[i]) : NULL;
    }
    return found;
}

/* Waits for the end of one that was killed, and forgets it. */
static void await_killed(HelperProcess *helper)
{
    if (!process_wait(&helper->process, KILL_TIMEOUT_MS)) {
        log_write(LOG_LEVEL_ERROR, "helper %d of device '%s' does not end although it was killed",
                  (int)helper->process.pid, helper->alias);
    }
    process_reap(&helper->process);
    process_clear(&helper->process);
}

/* One that is plugged joins those that are watched. */
static void watch_plugged(void *opaque)
{
    Domain *domain = opaque;
    g_mutex_lock(&domain->lock);
    if (domain->runtime && domain->runtime->exit_watch) {
        helpers_watch_locked(domain);
    }
    g_mutex_unlock(&domain->lock);
}

/* Into the list and the status file. False with @error: it is in neither, and was killed. */
static bool note(Domain *domain, const char *alias, HelperProcess *helper, GError **error)
{
    g_mutex_lock(&domain->lock);
    DomainRuntime *runtime = domain->runtime;
    bool is_active = runtime && !runtime->awaits_helpers;
    bool is_kept = is_active && runtime->helpers->len < HELPERS_MAX;
    bool ok = is_kept;
    if (is_kept) {
        g_ptr_array_add(runtime->helpers, helper);
        ok = status_write_locked(domain, error);
    }
    g_mutex_unlock(&domain->lock);
    if (!is_active) {
        lodge_error_set_errno(error, ESRCH, "the guest has ended meanwhile");
    } else if (!is_kept) {
        daemon_error_set(error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
                         "device '%s' needs a helper process, and a guest has at most %d of them",
                         alias, HELPERS_MAX);
    }
    if (!is_kept) {
        kill_group(helper);
        await_killed(helper);
        helper_free(helper);
    } else if (!ok) {
        helper_stop(domain, alias);
    }
    return ok;
}

bool helper_start(Domain *domain, const char *alias, const ProcessSpec *spec, GError **error)
{
    GuestProcess process;
    if (!process_spawn(spec, &process, error)) {
        return false;
    }
    failpoint("helper-spawned");
    HelperProcess *helper = helper_new(alias, &process);
    helper->domain = domain;
    /* The ends of its pipes stay with this call, all else goes with the list: a guest that runs may
     * end at any time, and its helpers with it. */
    helper->process.go_fd = helper->process.result_fd = -1;
    process.pidfd = -1;
    bool ok = note(domain, alias, helper, error);
    failpoint("helper-noted");
    if (!ok) {
        process_clear(&process);
        return false;
    }
    ok = process_release(&process, spec->argv[0], error);
    failpoint("helper-started");
    if (!ok) {
        helper_stop(domain, alias);
    } else if (loop_call_wait(domain->service->daemon->loop, watch_plugged, domain) < 0) {
        log_write(LOG_LEVEL_WARN, "domain '%s': the helper of device '%s' is not watched",
                  domain->name, alias);
    }
    return ok;
}

/* --- watching --- */

static void report(Domain *domain, HelperProcess *helper)
{
    g_autofree char *how = helper->status < 0 ? g_strdup("")
                           : WIFSIGNALED(helper->status)
                               ? g_strdup_printf(", by signal %d", WTERMSIG(helper->status))
                               : g_strdup_printf(", with status %d", WEXITSTATUS(helper->status));
    log_write(
        LOG_LEVEL_WARN,
        "domain '%s': the helper of device '%s' ended while the guest runs%s; the device does "
        "not work until the guest is started again; see the logs of the guest",
        domain->name, helper->alias, how);
    helper->is_lost = false;
}

static bool any_there_locked(const DomainRuntime *runtime)
{
    for (guint i = 0; i < runtime->helpers->len; i++) {
        if (is_there(runtime->helpers->pdata[i])) {
            return true;
        }
    }
    return false;
}

static void on_timer(void *opaque)
{
    Domain *domain = opaque;
    bool give_up = false;
    g_mutex_lock(&domain->lock);
    DomainRuntime *runtime = domain->runtime;
    for (guint i = 0; i < runtime->helpers->len; i++) {
        HelperProcess *helper = runtime->helpers->pdata[i];
        if (runtime->awaits_helpers && is_there(helper)) {
            log_write(runtime->has_killed_helpers ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN,
                      "domain '%s': the helper %d of device '%s' does not end%s", domain->name,
                      (int)helper->process.pid, helper->alias,
                      runtime->has_killed_helpers ? " although it was killed" : ": it is killed");
            kill_group(helper);
        } else if (!runtime->awaits_helpers && helper->is_lost &&
                   !process_wait(&runtime->process, 0)) {
            report(domain, helper);
        }
    }
    if (runtime->awaits_helpers) {
        give_up = runtime->has_killed_helpers;
        runtime->has_killed_helpers = true;
        loop_timer_set(runtime->helper_timer, clock_monotonic_ns() + KILL_NS);
    }
    g_mutex_unlock(&domain->lock);
    if (give_up) {
        runtime_ended(domain);
    }
}

/* With lock. The loop's thread. */
static void set_timer_locked(Domain *domain, int64_t after_ns)
{
    DomainRuntime *runtime = domain->runtime;
    if (!runtime->helper_timer) {
        runtime->helper_timer = loop_timer_new(domain->service->daemon->loop, on_timer, domain);
    }
    if (runtime->helper_timer) {
        loop_timer_set(runtime->helper_timer, clock_monotonic_ns() + after_ns);
    }
}

static void on_exit_ready(void *opaque, uint32_t events)
{
    HelperProcess *helper = opaque;
    Domain *domain = helper->domain;
    g_mutex_lock(&domain->lock);
    DomainRuntime *runtime = domain->runtime;
    loop_unwatch(helper->watch);
    helper->watch = NULL;
    helper->status = process_reap(&helper->process);
    process_clear(&helper->process);
    bool is_last = runtime->awaits_helpers && !any_there_locked(runtime);
    if (!runtime->awaits_helpers && !helper->is_leaving) {
        helper->is_lost = true;
        set_timer_locked(domain, REPORT_NS);
    }
    g_mutex_unlock(&domain->lock);
    if (is_last) {
        runtime_ended(domain);
    }
}

void helpers_watch_locked(Domain *domain)
{
    DomainRuntime *runtime = domain->runtime;
    for (guint i = 0; i < runtime->helpers->len; i++) {
        HelperProcess *helper = runtime->helpers->pdata[i];
        helper->domain = domain;
        if (is_there(helper) && !helper->watch) {
            helper->watch = loop_watch(domain->service->daemon->loop, helper->process.pidfd,
                                       EPOLLIN, on_exit_ready, helper);
        }
    }
}

/* --- ending --- */

bool helpers_await_end(Domain *domain)
{
    g_mutex_lock(&domain->lock);
    DomainRuntime *runtime = domain->runtime;
    bool wait = runtime && any_there_locked(runtime);
    if (wait && !runtime->awaits_helpers) {
        runtime->awaits_helpers = true;
        set_timer_locked(domain, LEAVE_NS);
        wait = runtime->helper_timer != NULL;
    }
    if (wait) {
        helpers_watch_locked(domain);
        loop_unwatch(runtime->exit_watch);
        runtime->exit_watch = NULL;
    }
    g_mutex_unlock(&domain->lock);
    return wait;
}

static HelperProcess *find_locked(Domain *domain, const char *alias)
{
    DomainRuntime *runtime = domain->runtime;
    for (guint i = 0; runtime && i < runtime->helpers->len; i++) {
        HelperProcess *helper = runtime->helpers->pdata[i];
        if (!alias || strcmp(helper->alias, alias) == 0) {
            return helper;
        }
    }
    return NULL;
}

typedef struct Removal {
    Domain *domain;
    const char *alias;
} Removal;

/* On the loop's thread, where nobody else looks at its watch. */
static void remove_one(void *opaque)
{
    const Removal *removal = opaque;
    Domain *domain = removal->domain;
    g_mutex_lock(&domain->lock);
    HelperProcess *helper = find_locked(domain, removal->alias);
    if (helper) {
        if (helper->watch) {
            loop_unwatch(helper->watch);
            helper->watch = NULL;
        }
        process_reap(&helper->process);
        g_ptr_array_remove(domain->runtime->helpers, helper);
    }
    g_mutex_unlock(&domain->lock);
}

/* Kills those of @alias (NULL: all) and waits for their ends, which the loop may see too. */
static void kill_and_wait(Domain *domain, const char *alias)
{
    struct pollfd ends[HELPERS_MAX];
    unsigned n = 0;
    g_mutex_lock(&domain->lock);
    GPtrArray *list = domain->runtime ? domain->runtime->helpers : NULL;
    for (guint i = 0; list && i < list->len && n < HELPERS_MAX; i++) {
        HelperProcess *helper = list->pdata[i];
        if (is_there(helper) && (!alias || strcmp(helper->alias, alias) == 0)) {
            helper->is_leaving = true;
            kill_group(helper);
            ends[n++] = (struct pollfd){ .fd = dup(helper->process.pidfd), .events = POLLIN };
        }
    }
    g_mutex_unlock(&domain->lock);
    for (unsigned i = 0; i < n; i++) {
        if (ends[i].fd >= 0 && poll(&ends[i], 1, KILL_TIMEOUT_MS) != 1) {
            log_write(LOG_LEVEL_ERROR, "domain '%s': a helper does not end although it was killed",
                      domain->name);
        }
        cleanup_close(&ends[i].fd);
    }
}

void helper_stop(Domain *domain, const char *alias)
{
    Removal removal = { domain, alias };
    g_mutex_lock(&domain->lock);
    bool is_known = find_locked(domain, alias) != NULL;
    g_mutex_unlock(&domain->lock);
    if (!is_known) {
        return;
    }
    kill_and_wait(domain, alias);
    if (loop_call_wait(domain->service->daemon->loop, remove_one, &removal) < 0) {
        log_write(LOG_LEVEL_ERROR, "domain '%s': out of memory while a device goes", domain->name);
    }
}

void helpers_kill(Domain *domain)
{
    kill_and_wait(domain, NULL);
}

void helpers_clear(DomainRuntime *runtime)
{
    for (guint i = 0; i < runtime->helpers->len; i++) {
        HelperProcess *helper = runtime->helpers->pdata[i];
        if (helper->watch) {
            loop_unwatch(helper->watch);
            helper->watch = NULL;
        }
        process_reap(&helper->process);
    }
    g_ptr_array_set_size(runtime->helpers, 0);
    g_clear_pointer(&runtime->helper_timer, loop_timer_free);
}

/* --- the status file --- */

void helpers_format(const DomainRuntime *runtime, GString *out)
{
    for (guint i = 0; i < runtime->helpers->len; i++) {
        const HelperProcess *helper = runtime->helpers->pdata[i];
        if (is_there(helper)) {
            g_string_append_printf(
                out, "<helper pid='%d' starttime='%" G_GUINT64_FORMAT "'>%s</helper>\n",
                (int)helper->process.pid, helper->process.start_time, helper->alias);
        }
    }
}

const char *helpers_parse(const char *text, bool is_this_boot, GPtrArray *list)
{
    text += strspn(text, "\n");
    while (g_str_has_prefix(text, "<helper ")) {
        int pid = 0;
        int used = 0;
        guint64 start_time = 0;
        GuestProcess process;
        const char *end = strstr(text, "</helper>\n");
        if (sscanf(text, "<helper pid='%9d' starttime='%20" G_GUINT64_FORMAT "'>%n", &pid,
                   &start_time, &used) != 2 ||
            !used || !end || end < text + used || list->len >= HELPERS_MAX) {
            return NULL;
        }
        if (is_this_boot && process_adopt(pid, start_time, &process)) {
            g_autofree char *alias = g_strndup(text + used, (gsize)(end - text) - (gsize)used);
            g_ptr_array_add(list, helper_new(alias, &process));
        }
        text = end + strlen("</helper>\n");
    }
    return text;
}

void helpers_end_found(GPtrArray *list)
{
    for (guint i = 0; i < list->len; i++) {
        kill_group(list->pdata[i]);
    }
    for (guint i = 0; i < list->len; i++) {
        await_killed(list->pdata[i]);
    }
    g_ptr_array_set_size(list, 0);
}
