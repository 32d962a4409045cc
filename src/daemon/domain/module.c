/* The domain module: what happens when the daemon starts and stops.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/module.h"

#include "base/log.h"
#include "daemon/domain/guest-log.h"
#include "daemon/domain/handlers.h"
#include "daemon/domain/removal.h"
#include "daemon/domain/runtime.h"
#include "daemon/host/engine.h"
#include "daemon/threads.h"
#include "gbase/error.h"

#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define WORKERS 4
/* What one guest may have waiting for them: more than devices that go at once. */
#define TASKS_MAX 512
#define PREPARER_NICE 10

static guint uuid_hash(gconstpointer key)
{
    guint64 halves[2];
    memcpy(halves, key, sizeof(halves));
    /* All of its bits: those of one maker often share most. */
    guint64 mixed = (halves[0] ^ halves[1] * 0x9e3779b97f4a7c15u) * 0xff51afd7ed558ccdu;
    return (guint)(mixed >> 32);
}

static gboolean uuid_equal(gconstpointer a, gconstpointer b)
{
    return memcmp(a, b, sizeof(Uuid)) == 0;
}

/* Borrowed strings of engines, which may go: names are few. */
static const char *lasting(const char *text)
{
    return g_intern_string(text);
}

static const char *default_emulator(void *opaque, DomainVirtType virt, const char *arch)
{
    const DomainService *service = opaque;
    (void)virt;
    if (!arch || strcmp(arch, "x86_64") == 0) {
        return service->lodge_vmm;
    }
    g_autoptr(Engine) engine = engine_set_for_arch(service->daemon->engines, arch);
    return engine ? lasting(engine->path) : NULL;
}

/* Machines of lodge-vmm have one name each. */
static const char *canonical_machine(void *opaque, const char *emulator, const char *arch,
                                     const char *machine)
{
    const DomainService *service = opaque;
    (void)arch;
    if (engine_is_lodge_path(emulator)) {
        return machine ?: "q35";
    }
    g_autoptr(Engine) engine = engine_set_get(service->daemon->engines, emulator, NULL);
    const EngineMachine *found = engine ? engine_machine(engine, machine) : NULL;
    /* What cannot be asked is believed; starting it tells. */
    return found ? lasting(found->name) : machine ?: "pc-i440fx-7.2";
}

/* lodge-vmm has this one alone. */
static const char *default_nic(void *opaque, const char *emulator)
{
    (void)opaque;
    return engine_is_lodge_path(emulator) ? "virtio" : NULL;
}

const DomainEnvironment *service_environment(DomainService *service)
{
    return &service->environment;
}

/* The UUID of a file of ours, without parsing all of it. */
static bool peek_uuid(const char *text, Uuid *out)
{
    const char *element = strstr(text, "<uuid>");
    if (!element || strlen(element) < 6 + UUID_TEXT_SIZE) {
        return false;
    }
    g_autofree char *word = g_strndup(element + 6, UUID_TEXT_SIZE - 1);
    return uuid_parse(word, out, NULL);
}

static bool load_one(DomainService *service, const char *name, const char *path, GError **error)
{
    bool is_edited = false;
    g_autofree char *text = state_store_read(service->store, path, &is_edited, error);
    if (!text) {
        return false;
    }
    Uuid uuid;
    g_autoptr(DomainDef) def = NULL;
    if (is_edited || !peek_uuid(text, &uuid)) {
        def = domain_def_parse(text, DOMAIN_PARSE_INACTIVE, service_environment(service), NULL,
                               error);
        if (!def) {
            return false;
        }
        if (strcmp(def->name, name) != 0) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT,
                        "it defines '%s', which is not the file's name", def->name);
            return false;
        }
        uuid = def->uuid;
    }
    bool is_new;
    Domain *domain = service_claim(service, &uuid, name, &is_new, error);
    if (!domain) {
        return false;
    }
    domain->is_persistent = true;
    domain_unref(domain);
    return true;
}

static bool load_all(DomainService *service, GError **error)
{
    g_autoptr(GPtrArray) names = state_store_list(service->store, "qemu", ".xml", error);
    g_autoptr(GPtrArray) marks =
        names ? state_store_list(service->store, "qemu/autostart", ".xml", error) : NULL;
    if (!marks) {
        return false;
    }
    for (guint i = 0; i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        g_autofree char *path = service_config_path(name);
        g_autoptr(GError) reason = NULL;
        if (!load_one(service, name, path, &reason)) {
            G_GNUC_UNUSED g_autofree char *kept =
                state_store_quarantine(service->store, path, reason->message, NULL);
        }
    }
    for (guint i = 0; i < marks->len; i++) {
        g_autoptr(Domain) domain = service_find_name(service, g_ptr_array_index(marks, i));
        if (domain) {
            domain->is_autostart = true;
        }
    }
    return true;
}

typedef struct Task {
    void (*func)(Domain *domain, const char *argument);
    char *argument;
} Task;

/* The domain's next task; NULL: there is none, and the domain goes without a worker. */
static Task *next_task(Domain *domain)
{
    GMutex *lock = &domain->service->tasks;
    g_mutex_lock(lock);
    Task *task = g_queue_pop_head(&domain->tasks);
    domain->has_worker = task != NULL;
    g_mutex_unlock(lock);
    return task;
}

/* One task of a domain, which then waits for its turn again: a guest that lets its task wait has
 * one worker, not all of them. */
static void run_task(gpointer data, gpointer opaque)
{
    Domain *domain = data;
    Task *task = next_task(domain);
    if (!task) {
        domain_unref(domain);
        return;
    }
    /* The next daemon asks the guest anew. */
    if (!daemon_is_stopping(domain->service->daemon)) {
        task->func(domain, task->argument);
    }
    g_free(task->argument);
    g_free(task);
    g_thread_pool_push(domain->service->workers, domain, NULL);
    daemon_work_ended(opaque);
}

/* With the lock of tasks. False: it is one too many. */
static bool add_task_locked(Domain *domain, Task *task)
{
    if (g_queue_get_length(&domain->tasks) >= TASKS_MAX) {
        if (!domain->has_dropped) {
            log_write(LOG_LEVEL_WARN, "a guest's monitor sends more events than can be handled");
        }
        domain->has_dropped = true;
        return false;
    }
    daemon_work_begins(domain->service->daemon);
    g_queue_push_tail(&domain->tasks, task);
    if (!domain->has_worker) {
        domain->has_worker = true;
        g_thread_pool_push(domain->service->workers, domain_ref(domain), NULL);
    }
    return true;
}

void service_run(Domain *domain, void (*func)(Domain *domain, const char *argument),
                 const char *argument)
{
    Task *task = g_new0(Task, 1);
    task->func = func;
    task->argument = g_strdup(argument);
    g_mutex_lock(&domain->service->tasks);
    bool is_taken = add_task_locked(domain, task);
    g_mutex_unlock(&domain->service->tasks);
    if (!is_taken) {
        g_free(task->argument);
        g_free(task);
    }
}

static gpointer run_autostart(gpointer data)
{
    DomainService *service = data;
    domain_autostart_all(service);
    daemon_work_ended(service->daemon);
    return NULL;
}

/* On the loop, once it runs. */
static void begin_autostart(void *opaque)
{
    DomainService *service = opaque;
    daemon_work_begins(service->daemon);
    g_thread_unref(g_thread_new("autostart", run_autostart, service));
}

/* Those who list ten thousand guests right after the start should not wait for all to be read. */
static gpointer run_preparer(gpointer data)
{
    DomainService *service = data;
    g_autoptr(GPtrArray) all = service_all(service);
    setpriority(PRIO_PROCESS, (id_t)gettid(), PREPARER_NICE);
    for (guint i = 0; i < all->len && !daemon_is_stopping(service->daemon); i++) {
        domain_stats_prepare(g_ptr_array_index(all, i));
    }
    return NULL;
}

/* Monitors are closed: what is asked of them fails from then on. Guests do not mind. */
static void give_up(Daemon *daemon)
{
    g_autoptr(GPtrArray) all = service_all(daemon->domains);
    for (guint i = 0; i < all->len; i++) {
        Domain *domain = g_ptr_array_index(all, i);
        g_mutex_lock(&domain->lock);
        DomainRuntime *runtime = domain->runtime;
        QmpClient *monitor = runtime && runtime->monitor ? qmp_client_ref(runtime->monitor) : NULL;
        g_cond_broadcast(&domain->job_ended);
        g_cond_broadcast(&domain->device_event);
        g_cond_broadcast(&domain->agent_free);
        g_mutex_unlock(&domain->lock);
        if (monitor) {
            qmp_client_close(monitor);
            qmp_client_unref(monitor);
        }
    }
}

static bool start(Daemon *daemon, GError **error)
{
    DomainService *service = g_new0(DomainService, 1);
    service->daemon = daemon;
    g_rw_lock_init(&service->lock);
    service->by_uuid = g_hash_table_new(uuid_hash, uuid_equal);
    service->by_name = g_hash_table_new(g_str_hash, g_str_equal);
    service->by_id = g_hash_table_new(NULL, NULL);
    service->next_id = 1;
    config_cache_init(&service->configs);
    service->lodge_vmm = g_strdup(engine_set_default(daemon->engines));
    service->nvram_dir = g_build_filename(daemon->paths.state_dir, "nvram", NULL);
    service->environment = (DomainEnvironment){ .default_emulator = default_emulator,
                                                .canonical_machine = canonical_machine,
                                                .opaque = service,
                                                .nvram_dir = service->nvram_dir,
                                                .default_nic = default_nic };
    service->workers = g_thread_pool_new(run_task, daemon, WORKERS, FALSE, NULL);
    daemon->domains = service;
    daemon->give_up = give_up;
    removal_start(service);
    StateStoreConfig config = {
        .files_dir = daemon->paths.config_dir,
        .journal_dir = daemon->paths.state_dir,
    };
    service->store = state_store_open(&config, error);
    if (!service->store || !load_all(service, error)) {
        return false;
    }
    status_adopt_all(service);
    guest_logs_start(service);
    service->preparer = g_thread_new("preparer", run_preparer, service);
    return loop_call(daemon->loop, begin_autostart, service) == 0;
}

/* Guests run on; their status files lead the next daemon to them. */
static void stop(Daemon *daemon)
{
    DomainService *service = daemon->domains;
    if (!service) {
        return;
    }
    daemon_finish_work(daemon);
    g_clear_pointer(&service->preparer, g_thread_join);
    g_thread_pool_free(service->workers, FALSE, TRUE);
    guest_logs_stop(service);
    removal_stop(service);
    state_store_close(service->store);
    /* The objects stay: the process ends right after, and threads may still hold some. */
}

static bool is_busy(Daemon *daemon)
{
    return daemon->domains && daemon->domains->active > 0;
}

const DaemonModule domain_module = {
    .name = "domain",
    .start = start,
    .stop = stop,
    .is_busy = is_busy,
    .reload = domain_reload,
};
