/* The engines of this host: finding them, and keeping what they answered.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/host/engine.h"

#include "base/clock.h"
#include "base/log.h"
#include "daemon/error.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#define CACHE_FORMAT "lodge-engine-1"
#define KNOWN_MAX 64
#define LIST_LASTS_NS (5 * NS_PER_SEC)
#define FAILURE_LASTS_NS (30 * NS_PER_SEC)

/* What became of asking one program. */
typedef struct Known {
    char *stamp; /* of the program's file and of the host */
    Engine *engine;
    GError *failure;   /* when there is no engine */
    int64_t failed_ns; /* monotonic */
} Known;

struct EngineSet {
    char *cache_dir;
    char *default_path;
    GMutex lock;
    GHashTable *known; /* path -> Known; under lock */
    GPtrArray *paths;  /* of char *: the list of programs; under lock */
    int64_t listed_ns; /* monotonic; when it was made */
    GMutex asking;     /* one program is asked at a time; taken before lock */
};

static void known_free(gpointer data)
{
    Known *known = data;
    g_free(known->stamp);
    engine_unref(known->engine);
    g_clear_error(&known->failure);
    g_free(known);
}

bool engine_is_lodge_path(const char *path)
{
    g_autofree char *name = g_path_get_basename(path ?: "");
    return !strstr(name, "qemu") && !strstr(name, "kvm");
}

const char *engine_host_arch(void)
{
    static const char *const names[] = {
        "x86_64", "i686", "aarch64", "ppc64le", "s390x", "riscv64"
    };
    struct utsname host;
    if (uname(&host) == 0) {
        for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
            if (!strcmp(host.machine, names[i])) {
                return names[i];
            }
        }
    }
    return "x86_64";
}

/* lodge-vmm beside this program, or where programs are. (transfer full) */
static char *find_lodge_vmm(void)
{
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *folder = self ? g_path_get_dirname(self) : NULL;
    g_autofree char *beside = folder ? g_build_filename(folder, "lodge-vmm", NULL) : NULL;
    if (beside && access(beside, X_OK) == 0) {
        return g_steal_pointer(&beside);
    }
    char *found = g_find_program_in_path("lodge-vmm");
    return found ? found : g_strdup("/usr/bin/lodge-vmm");
}

EngineSet *engine_set_new(const DaemonPaths *paths)
{
    EngineSet *set = g_new0(EngineSet, 1);
    set->cache_dir = g_build_filename(paths->cache_dir, "engines", NULL);
    set->default_path = find_lodge_vmm();
    g_mutex_init(&set->lock);
    g_mutex_init(&set->asking);
    set->known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, known_free);
    return set;
}

void engine_set_free(EngineSet *set)
{
    if (set) {
        g_hash_table_unref(set->known);
        g_clear_pointer(&set->paths, g_ptr_array_unref);
        g_mutex_clear(&set->lock);
        g_mutex_clear(&set->asking);
        g_free(set->cache_dir);
        g_free(set->default_path);
        g_free(set);
    }
}

const char *engine_set_default(const EngineSet *set)
{
    return set->default_path;
}

/* --- finding --- */

static gint compare_names(gconstpointer a, gconstpointer b)
{
    const char *const *one = a, *const *other = b;
    return strcmp(*one, *other);
}

static void add_folder(GPtrArray *paths, GHashTable *seen, const char *folder)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name;
    g_autoptr(GPtrArray) found = g_ptr_array_new_with_free_func(g_free);
    while (dir && (name = g_dir_read_name(dir))) {
        /* "qemu-system-x86_64-microvm" and the like are variants for a purpose. */
        const char *rest = g_str_has_prefix(name, "qemu-system-") ? name + 12 : NULL;
        if ((rest && !strchr(rest, '-')) || !strcmp(name, "qemu-kvm")) {
            g_ptr_array_add(found, g_build_filename(folder, name, NULL));
        }
    }
    g_ptr_array_sort(found, compare_names);
    for (guint i = 0; i < found->len; i++) {
        const char *path = found->pdata[i];
        g_autofree char *base = g_path_get_basename(path);
        if (access(path, X_OK) == 0 && g_hash_table_add(seen, g_steal_pointer(&base))) {
            g_ptr_array_add(paths, g_strdup(path));
        }
    }
}

static GPtrArray *find_programs(const EngineSet *set)
{
    GPtrArray *paths = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_auto(GStrv) folders = g_strsplit(g_getenv("PATH") ?: "", ":", -1);
    add_folder(paths, seen, "/usr/bin");
    for (char **folder = folders; *folder; folder++) {
        if (g_path_is_absolute(*folder)) {
            add_folder(paths, seen, *folder);
        }
    }
    add_folder(paths, seen, "/usr/libexec");
    if (access(set->default_path, X_OK) == 0) {
        g_ptr_array_add(paths, g_strdup(set->default_path));
    }
    return paths;
}

GPtrArray *engine_set_list(EngineSet *set)
{
    int64_t now = clock_monotonic_ns();
    g_mutex_lock(&set->lock);
    if (!set->paths || now - set->listed_ns > LIST_LASTS_NS) {
        g_clear_pointer(&set->paths, g_ptr_array_unref);
        set->paths = find_programs(set);
        set->listed_ns = now;
    }
    GPtrArray *paths = g_ptr_array_ref(set->paths);
    g_mutex_unlock(&set->lock);
    return paths;
}

/* --- asking, and the cache --- */

/* Changes whenever an answer could. (transfer full) NULL: there is no such file. */
static char *make_stamp(const char *path)
{
    struct stat st;
    g_autofree char *boot = NULL;
    if (stat(path, &st) < 0) {
        return NULL;
    }
    g_file_get_contents("/proc/sys/kernel/random/boot_id", &boot, NULL, NULL);
    return g_strdup_printf("%s %s %lld.%09ld %lld %llu kvm=%d uid=%d %s", CACHE_FORMAT, path,
                           (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec, (long long)st.st_size,
                           (unsigned long long)st.st_ino, access("/dev/kvm", R_OK | W_OK) == 0,
                           (int)geteuid(), boot ? g_strchomp(boot) : "");
}

static char *cache_path(EngineSet *set, const char *path)
{
    g_autofree char *sum = g_compute_checksum_for_string(G_CHECKSUM_SHA256, path, -1);
    return g_strdup_printf("%s/%s", set->cache_dir, sum);
}

/* Two texts: by translation, by KVM (or ""). The file's lines: stamp, number of bytes of the first,
 * both. */
static bool read_cache(EngineSet *set, const char *path, const char *stamp, char *out[2])
{
    g_autofree char *file = cache_path(set, path);
    g_autofree char *text = NULL;
    gsize size, length = strlen(stamp);
    if (!g_file_get_contents(file, &text, &size, NULL) || strlen(text) != size || size <= length ||
        strncmp(text, stamp, length) || text[length] != '\n') {
        return false;
    }
    char *at;
    guint64 first = g_ascii_strtoull(text + length + 1, &at, 10);
    if (*at != '\n' || first > strlen(at + 1)) {
        return false;
    }
    out[0] = g_strndup(at + 1, first);
    out[1] = g_strdup(at + 1 + first);
    return true;
}

static void write_cache(EngineSet *set, const char *path, const char *stamp, char *const texts[2])
{
    g_autofree char *file = cache_path(set, path);
    g_autofree char *whole =
        g_strdup_printf("%s\n%zu\n%s%s", stamp, strlen(texts[0]), texts[0], texts[1]);
    g_autoptr(GError) error = NULL;
    if (g_mkdir_with_parents(set->cache_dir, 0700) < 0 ||
        !g_file_set_contents(file, whole, -1, &error)) {
        log_warn("what '%s' can do is not kept in '%s': %s", path, set->cache_dir,
                 error ? error->message : g_strerror(errno));
    }
}

static Engine *make_engine(const char *path, char *const texts[2], GError **error)
{
    g_autoptr(Engine) engine = engine_new(path);
    if (!engine_read_answers(engine, &engine->tcg, texts[0], error)) {
        return NULL;
    }
    engine->tcg.works = true;
    if (*texts[1] && !engine_read_answers(engine, &engine->kvm, texts[1], error)) {
        return NULL;
    }
    return g_steal_pointer(&engine);
}

static bool lodge_has_kvm(EngineSet *set);

/* Whether /dev/kvm is worth a QEMU that tries it: lodge-vmm's probe knows. */
static bool may_try_kvm(EngineSet *set, const char *path)
{
    if (access("/dev/kvm", R_OK | W_OK) < 0) {
        return false;
    }
    return engine_is_lodge_path(path) || access(set->default_path, X_OK) < 0 || lodge_has_kvm(set);
}

static Engine *ask(EngineSet *set, const char *path, const char *stamp, GError **error)
{
    char *texts[2] = { NULL, NULL };
    Engine *engine = NULL;
    if (stamp && read_cache(set, path, stamp, texts)) {
        engine = make_engine(path, texts, NULL);
    }
    if (!engine) {
        g_clear_pointer(&texts[0], g_free);
        g_clear_pointer(&texts[1], g_free);
        texts[0] = engine_ask(path, false, error);
        bool tries_kvm = texts[0] && may_try_kvm(set, path);
        texts[1] = tries_kvm ? engine_ask(path, true, NULL) : NULL;
        texts[1] = texts[1] ?: g_strdup("");
        engine = texts[0] ? make_engine(path, texts, error) : NULL;
        if (engine && stamp) {
            write_cache(set, path, stamp, texts);
        }
    }
    g_free(texts[0]);
    g_free(texts[1]);
    return engine;
}

/* What is known of @path under that stamp (transfer full), or NULL; @error: it failed lately. */
static Engine *look_up(EngineSet *set, const char *path, const char *stamp, GError **error)
{
    Engine *engine = NULL;
    g_mutex_lock(&set->lock);
    const Known *known = g_hash_table_lookup(set->known, path);
    if (known && g_strcmp0(known->stamp, stamp) == 0) {
        if (known->engine) {
            engine = engine_ref(known->engine);
        } else if (error && clock_monotonic_ns() - known->failed_ns < FAILURE_LASTS_NS) {
            g_propagate_error(error, g_error_copy(known->failure));
        }
    }
    g_mutex_unlock(&set->lock);
    return engine;
}

Engine *engine_set_peek(EngineSet *set, const char *path)
{
    g_autofree char *stamp = make_stamp(path);
    return look_up(set, path, stamp, NULL);
}

static Engine *get_locked(EngineSet *set, const char *path, const char *stamp, GError **error)
{
    g_autoptr(GError) why = NULL;
    Engine *engine = look_up(set, path, stamp, &why);
    if (!engine && !why) {
        engine = ask(set, path, stamp, &why);
        Known *known = g_new0(Known, 1);
        known->stamp = g_strdup(stamp);
        known->engine = engine ? engine_ref(engine) : NULL;
        known->failure = why ? g_error_copy(why) : NULL;
        known->failed_ns = clock_monotonic_ns();
        g_mutex_lock(&set->lock);
        /* Clients choose the paths. */
        if (g_hash_table_size(set->known) >= KNOWN_MAX) {
            g_hash_table_remove_all(set->known);
        }
        g_hash_table_replace(set->known, g_strdup(path), known);
        g_mutex_unlock(&set->lock);
    }
    if (!engine) {
        g_propagate_error(error, g_steal_pointer(&why));
    }
    return engine;
}

/* Under "asking", or for lodge-vmm alone, which does not come back here. */
static bool lodge_has_kvm(EngineSet *set)
{
    g_autofree char *stamp = make_stamp(set->default_path);
    g_autoptr(Engine) engine = get_locked(set, set->default_path, stamp, NULL);
    return engine && engine->kvm.works;
}

Engine *engine_set_get(EngineSet *set, const char *path, GError **error)
{
    g_autofree char *stamp = make_stamp(path);
    Engine *engine = look_up(set, path, stamp, NULL);
    if (engine) {
        return engine;
    }
    g_mutex_lock(&set->asking);
    engine = get_locked(set, path, stamp, error);
    g_mutex_unlock(&set->asking);
    return engine;
}

bool engine_set_has_kvm(EngineSet *set)
{
    g_autoptr(Engine) engine = engine_set_get(set, set->default_path, NULL);
    return engine && engine->kvm.works;
}

Engine *engine_set_for_arch(EngineSet *set, const char *arch)
{
    g_autoptr(GPtrArray) paths = engine_set_list(set);
    for (guint i = 0; i < paths->len; i++) {
        g_autoptr(Engine) engine = engine_set_get(set, paths->pdata[i], NULL);
        if (engine && !strcmp(engine->arch, arch ?: engine_host_arch())) {
            return g_steal_pointer(&engine);
        }
    }
    return NULL;
}

const EngineMachine *engine_machine(const Engine *engine, const char *name)
{
    for (guint i = 0; i < engine->machines->len; i++) {
        const EngineMachine *machine = engine->machines->pdata[i];
        if (name ? !strcmp(machine->name, name) || g_strcmp0(machine->alias, name) == 0
                 : machine->is_default) {
            return machine;
        }
    }
    return name || engine->machines->len == 0 ? NULL : engine->machines->pdata[0];
}

bool engine_has_device(const Engine *engine, const char *name)
{
    return g_hash_table_contains(engine->devices, name);
}
