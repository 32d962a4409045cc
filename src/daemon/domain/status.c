/* Status files of running guests, and finding the guests again.
 *
 * RUN/qemu/NAME.xml: <domstatus ...> with the process, then the live definition. They are below
 * /run: gone after a reboot, so nothing is synced; each is replaced by rename.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/failpoint.h"
#include "base/log.h"
#include "daemon/domain/command-line.h"
#include "daemon/domain/guest-user.h"
#include "daemon/domain/helper-process.h"
#include "daemon/domain/memory-plug.h"
#include "daemon/domain/perf.h"
#include "daemon/domain/runtime.h"
#include "daemon/domain/tpm.h"
#include "daemon/domain/tuning.h"
#include "daemon/error.h"
#include "gbase/error.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>

#define STATUS_MAX (16u << 20)

static char *folder_of(const DomainService *service)
{
    return g_strdup_printf("%s/qemu", service->daemon->paths.run_dir);
}

static char *path_of(const Domain *domain)
{
    return g_strdup_printf("%s/qemu/%s.xml", domain->service->daemon->paths.run_dir, domain->name);
}

bool status_write_locked(Domain *domain, GError **error)
{
    const DomainRuntime *runtime = domain->runtime;
    char boot[64];
    process_boot_id(boot);
    g_autoptr(GString) helpers = g_string_new(NULL);
    helpers_format(runtime, helpers);
    g_autofree char *definition = domain_def_format(domain->live, DOMAIN_FORMAT_SECURE);
    g_autofree char *text = g_strdup_printf(
        "<domstatus version='1' boot='%s' pid='%d' starttime='%" G_GUINT64_FORMAT
        "' id='%d' persistent='%d' state='%d' reason='%d' owned='%d'>\n%s%s</domstatus>\n",
        boot, (int)runtime->process.pid, runtime->process.start_time, domain->id,
        domain->is_persistent, (int)domain->state, domain->reason, runtime->is_owned, helpers->str,
        definition);
    g_autofree char *folder = folder_of(domain->service);
    g_autofree char *path = path_of(domain);
    g_autofree char *temporary = g_strdup_printf("%s/.%s.new", folder, domain->name);
    g_mkdir_with_parents(folder, 0700);
    int err = file_ops_write(&file_ops_posix, temporary, text, strlen(text));
    failpoint("status-before-rename");
    if (err == 0 && g_rename(temporary, path) < 0) {
        err = -errno;
    }
    if (err < 0) {
        g_unlink(temporary);
        lodge_error_set_errno(error, err, "cannot write the status file '%s'", path);
    }
    return err == 0;
}

void status_remove(Domain *domain)
{
    g_autofree char *path = path_of(domain);
    g_unlink(path);
    failpoint("status-removed");
}

typedef struct Status {
    char boot[64];
    int pid;
    guint64 start_time;
    int id, persistent, state, reason, owned;
    DomainDef *def;
    GPtrArray *helpers; /* those that run */
} Status;

static void status_clear(Status *status)
{
    g_clear_pointer(&status->def, domain_def_free);
    g_clear_pointer(&status->helpers, g_ptr_array_unref);
}

static bool is_this_boot(const Status *status)
{
    char boot[64];
    process_boot_id(boot);
    return strcmp(boot, status->boot) == 0;
}

static bool parse(const char *text, Status *out, GError **error)
{
    int version = 0, end = 0;
    const char *tail = strstr(text, "</domstatus>");
    if (sscanf(
            text,
            "<domstatus version='%9d' boot='%63[0-9a-f-]' pid='%9d' starttime='%20" G_GUINT64_FORMAT
            "' id='%9d' persistent='%9d' state='%9d' reason='%9d' owned='%9d'>%n",
            &version, out->boot, &out->pid, &out->start_time, &out->id, &out->persistent,
            &out->state, &out->reason, &out->owned, &end) != 9 ||
        !end || version != 1 || !tail || tail < text + end || out->id < 1) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT, "it is no status file");
        return false;
    }
    out->helpers = helper_list_new();
    const char *xml_start = helpers_parse(text + end, is_this_boot(out), out->helpers);
    if (!xml_start || xml_start > tail) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT, "its lines on helpers are damaged");
        return false;
    }
    g_autofree char *xml = g_strndup(xml_start, (gsize)(tail - xml_start));
    out->def = domain_def_parse(xml, DOMAIN_PARSE_KEEP, NULL, NULL, error);
    return out->def != NULL;
}

/* The second half of finding one again, with its job, which it ends. */
static void reconnect(Domain *domain, const char *unused)
{
    g_autoptr(GError) reason = NULL;
    if (!runtime_connect_monitor(domain, &reason) ||
        !runtime_refresh(domain, REFRESH_FOUND, &reason) || !perf_apply(domain, &reason)) {
        log_write(LOG_LEVEL_WARN, "domain '%s': found again, but %s", domain->name,
                  reason->message);
    }
    g_autoptr(QmpClient) monitor = domain_get_monitor(domain, NULL);
    if (monitor) {
        memory_plug_refresh(domain, monitor);
    }
    domain_end_job(domain);
}

/* On the loop, once it runs: before, what a thread asks of the loop it would do itself, beside the
 * thread that sets the daemon up. */
static void begin_reconnect(void *opaque)
{
    Domain *domain = opaque;
    service_run(domain, reconnect, NULL);
    domain_unref(domain);
}

/* Makes the domain of a process that is there. */
static bool revive(DomainService *service, Status *status, const GuestProcess *process,
                   GError **error)
{
    bool is_new;
    g_autoptr(Domain) domain =
        service_claim(service, &status->def->uuid, status->def->name, &is_new, error);
    if (!domain) {
        return false;
    }
    service_activate(service, domain, status->id);
    g_mutex_lock(&domain->lock);
    domain->is_persistent = domain->is_persistent || (is_new && status->persistent);
    domain->is_persistent = status->persistent && domain->is_persistent;
    domain->live = g_steal_pointer(&status->def);
    domain->live->id = status->id;
    domain->runtime = runtime_new(domain, service->daemon->paths.run_dir, status->id);
    domain->runtime->process = *process;
    g_ptr_array_unref(domain->runtime->helpers);
    domain->runtime->helpers = g_steal_pointer(&status->helpers);
    domain->engine = command_line_engine(domain->live->emulator);
    domain->uid = guest_user_of_process(process->pid);
    domain->runtime->is_reconnected = true;
    domain->runtime->is_owned = status->owned;
    domain->runtime->is_destroyed = status->owned;
    domain_set_state_locked(domain, (DomainState)status->state, status->reason);
    if (status->owned) {
        process_signal(process, 9); /* its client went with the daemon */
    }
    g_mutex_unlock(&domain->lock);
    if (!runtime_watch_exit(domain, error)) {
        return false;
    }
    /* The loop does not run yet: the monitor is asked by a thread, whose job others wait for. */
    g_mutex_lock(&domain->lock);
    domain->job = "adopt";
    domain->job_since = g_get_monotonic_time();
    g_mutex_unlock(&domain->lock);
    if (loop_call(service->daemon->loop, begin_reconnect, domain_ref(domain)) < 0) {
        domain_unref(domain);
        domain_end_job(domain);
        daemon_error_set(error, DAEMON_ERROR_NO_MEMORY, "out of memory");
        return false;
    }
    return true;
}

static bool read_status(const char *path, Status *out, GError **error)
{
    g_autofree char *text = NULL;
    size_t size = 0;
    int err = file_ops_read(&file_ops_posix, path, STATUS_MAX, &text, &size);
    if (err < 0) {
        lodge_error_set_errno(error, err, "cannot read it");
        return false;
    }
    *out = (Status){ .def = NULL };
    bool ok = parse(text, out, error);
    if (!ok) {
        status_clear(out);
    }
    return ok;
}

static bool find_process(const Status *status, GuestProcess *out)
{
    return is_this_boot(status) && process_adopt(status->pid, status->start_time, out);
}

StatusVerdict status_examine(const char *path, char **out_name, int *out_id, GError **error)
{
    Status status;
    GuestProcess process;
    if (!read_status(path, &status, error)) {
        return STATUS_BROKEN;
    }
    bool runs = find_process(&status, &process);
    if (runs) {
        /* One that nobody has reaped yet is no guest either. */
        runs = !process_wait(&process, 0);
        process_clear(&process);
    }
    *out_name = g_strdup(status.def->name);
    *out_id = status.id;
    status_clear(&status);
    return runs ? STATUS_RUNS : STATUS_ENDED;
}

/* Nobody will start a guest again that was not defined. */
static void forget_tpm(DomainService *service, const DomainDef *def, bool is_persistent)
{
    g_autoptr(Domain) defined = service_find_uuid(service, &def->uuid);
    if (!is_persistent && !defined) {
        tpm_forget(service->daemon, def, 0);
    }
}

static bool adopt(DomainService *service, const char *path, GError **error)
{
    Status status;
    GuestProcess process;
    bool ok = true;
    if (!read_status(path, &status, error)) {
        return false;
    }
    if (find_process(&status, &process)) {
        ok = revive(service, &status, &process, error);
    } else {
        log_write(LOG_LEVEL_INFO, "domain '%s' ended while no daemon ran", status.def->name);
        helpers_end_found(status.helpers);
        forget_tpm(service, status.def, status.persistent != 0);
        g_unlink(path);
    }
    status_clear(&status);
    return ok;
}

/* Removes what a daemon left that was killed while it started or ended guests: folders of no guest
 * and status files that were being written. */
static void sweep(DomainService *service, const char *folder)
{
    g_autoptr(GHashTable) kept = g_hash_table_new(g_str_hash, g_str_equal);
    GHashTableIter iter;
    gpointer domain;
    /* No call runs yet, and ends of guests are handled by the loop, which does not either. */
    g_hash_table_iter_init(&iter, service->by_id);
    while (g_hash_table_iter_next(&iter, NULL, &domain)) {
        g_hash_table_add(kept, ((Domain *)domain)->dir);
    }
    GDir *dir = g_dir_open(folder, 0, NULL);
    const char *name;
    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        if (name[0] == '.' && g_str_has_suffix(name, ".new")) {
            g_unlink(path);
        } else if (g_str_has_prefix(name, "domain-") && !g_str_has_suffix(name, ".xml") &&
                   !g_hash_table_contains(kept, path)) {
            runtime_remove_folder(service, path);
        }
    }
    g_clear_pointer(&dir, g_dir_close);
}

void status_adopt_all(DomainService *service)
{
    g_autofree char *folder = folder_of(service);
    GDir *dir = g_dir_open(folder, 0, NULL);
    const char *name;
    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        g_autoptr(GError) error = NULL;
        if (name[0] == '.' || !g_str_has_suffix(name, ".xml")) {
            continue;
        }
        if (!adopt(service, path, &error)) {
            log_write(LOG_LEVEL_ERROR, "status file '%s': %s", path, error->message);
        }
    }
    g_clear_pointer(&dir, g_dir_close);
    sweep(service, folder);
    tuning_remove_left(service);
}
