/* Asking engines what they can do: a monitor without a guest, on standard input and output.
 *
 * QMP as of QEMU 7.2; commands that an older program does not know leave their facts out.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "daemon/domain/json-peer.h"
#include "daemon/error.h"
#include "daemon/host/engine.h"
#include "gbase/error.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* Not "quit": QEMU then leaves without the answers that the pipe had no room for yet. */
#define LAST_ID "last"

static const char questions[] =
    "{\"execute\":\"qmp_capabilities\",\"id\":\"negotiate\"}\n"
    "{\"execute\":\"query-version\",\"id\":\"version\"}\n"
    "{\"execute\":\"query-target\",\"id\":\"target\"}\n"
    "{\"execute\":\"query-kvm\",\"id\":\"kvm\"}\n"
    "{\"execute\":\"query-machines\",\"id\":\"machines\"}\n"
    "{\"execute\":\"query-cpu-definitions\",\"id\":\"cpus\"}\n"
    "{\"execute\":\"query-cpu-model-expansion\",\"arguments\":{\"type\":\"full\","
    "\"model\":{\"name\":\"max\"}},\"id\":\"max\"}\n"
    "{\"execute\":\"qom-list-types\",\"arguments\":{\"implements\":\"device\"},"
    "\"id\":\"devices\"}\n"
    "{\"execute\":\"query-name\",\"id\":\"" LAST_ID "\"}\n";

/* --- the child --- */

/* lodge-vmm makes no machine without a kernel: this one, with a PVH entry, is never run. */
typedef struct ProbeKernel {
    Elf64_Ehdr header;
    Elf64_Phdr load, note;
    struct {
        Elf64_Nhdr header;
        char name[4];
        uint32_t entry;
    } pvh;
} ProbeKernel;

#define PVH_NOTE 18
#define PROBE_ENTRY 0x100000u

static int make_kernel(void)
{
    const ProbeKernel kernel = {
        .header = { .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
                                 EV_CURRENT },
                    .e_type = ET_EXEC,
                    .e_machine = EM_X86_64,
                    .e_version = EV_CURRENT,
                    .e_entry = PROBE_ENTRY,
                    .e_phoff = offsetof(ProbeKernel, load),
                    .e_ehsize = sizeof(Elf64_Ehdr),
                    .e_phentsize = sizeof(Elf64_Phdr),
                    .e_phnum = 2 },
        .load = { .p_type = PT_LOAD,
                  .p_vaddr = PROBE_ENTRY,
                  .p_paddr = PROBE_ENTRY,
                  .p_filesz = sizeof(ProbeKernel),
                  .p_memsz = sizeof(ProbeKernel) },
        .note = { .p_type = PT_NOTE,
                  .p_offset = offsetof(ProbeKernel, pvh),
                  .p_filesz = sizeof(kernel.pvh),
                  .p_align = 4 },
        .pvh = { { 4, sizeof(uint32_t), PVH_NOTE }, "Xen", PROBE_ENTRY },
    };
    int fd = memfd_create("probe-kernel", 0);
    if (fd >= 0 && fd_write_full(fd, &kernel, sizeof(kernel)) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static char **make_arguments(const char *path, bool kvm, int kernel_fd)
{
    GPtrArray *args = g_ptr_array_new();
    const char *const common[] = { path,          "-S",       "-no-user-config",
                                   "-nodefaults", "-display", "none",
                                   "-qmp",        "stdio" };
    for (unsigned i = 0; i < G_N_ELEMENTS(common); i++) {
        g_ptr_array_add(args, g_strdup(common[i]));
    }
    g_ptr_array_add(args, g_strdup("-machine"));
    g_ptr_array_add(args, g_strdup(kernel_fd >= 0 ? "microvm" : "none"));
    g_ptr_array_add(args, g_strdup("-accel"));
    g_ptr_array_add(args, g_strdup(kernel_fd >= 0 ? kvm ? "kvm:xlate" : "xlate"
                                   : kvm          ? "kvm"
                                                  : "tcg"));
    if (kernel_fd >= 0) {
        g_ptr_array_add(args, g_strdup("-m"));
        g_ptr_array_add(args, g_strdup("16"));
        g_ptr_array_add(args, g_strdup("-add-fd"));
        g_ptr_array_add(args, g_strdup_printf("fd=%d,set=1", kernel_fd));
        g_ptr_array_add(args, g_strdup("-kernel"));
        g_ptr_array_add(args, g_strdup("/dev/fdset/1"));
    }
    g_ptr_array_add(args, NULL);
    return (char **)g_ptr_array_free(args, FALSE);
}

/* Only calls that are safe after fork() in a process with threads. */
static void run_child(char *const *args, int in, int out, int kernel_fd)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    setsid();
    int null = open("/dev/null", O_WRONLY);
    if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
        dup2(null, STDERR_FILENO) < 0 || (kernel_fd >= 0 && fcntl(kernel_fd, F_SETFD, 0) < 0)) {
        _exit(126);
    }
    execv(args[0], args);
    _exit(127);
}

static bool has_last_answer(const GByteArray *bytes)
{
    static const char last[] = "\"" LAST_ID "\"";
    const uint8_t *found =
        bytes->len ? memmem(bytes->data, bytes->len, last, sizeof(last) - 1) : NULL;
    return found && memchr(found, '\n', bytes->len - (size_t)(found - bytes->data));
}

/* Reads until the last answer, the end, too much or @deadline_ns. */
static bool read_answers(int fd, GByteArray *bytes, int64_t deadline_ns)
{
    uint8_t buffer[16384];
    while (!has_last_answer(bytes)) {
        int64_t left_ms = (deadline_ns - clock_monotonic_ns()) / 1000000;
        struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
        int ready = left_ms > 0 ? poll(&poll_fd, 1, (int)left_ms) : 0;
        if (ready < 0 && errno == EINTR) {
            continue;
        }
        ssize_t n = ready > 0 ? read(fd, buffer, sizeof(buffer)) : 0;
        if (n <= 0 || bytes->len + (size_t)n > ENGINE_ANSWER_MAX) {
            return false;
        }
        g_byte_array_append(bytes, buffer, (guint)n);
    }
    return true;
}

static bool run(char *const *args, int kernel_fd, GByteArray *bytes, GError **error)
{
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC) < 0) {
        lodge_error_set_errno(error, errno, "cannot create a pipe");
        return false;
    }
    if (pipe2(out, O_CLOEXEC) < 0) {
        lodge_error_set_errno(error, errno, "cannot create a pipe");
        close(in[0]);
        close(in[1]);
        return false;
    }
    int64_t deadline_ns = clock_monotonic_ns() + ENGINE_TIMEOUT_MS * INT64_C(1000000);
    pid_t pid = fork();
    if (pid == 0) {
        run_child(args, in[0], out[1], kernel_fd);
    }
    close(in[0]);
    close(out[1]);
    /* The questions fit a pipe; a program that has ended gives EPIPE. */
    bool ok = pid > 0 && fd_write_full(in[1], questions, sizeof(questions) - 1) == 0 &&
              read_answers(out[0], bytes, deadline_ns);
    close(in[1]);
    close(out[0]);
    int status = 0;
    if (pid > 0) {
        kill(-pid, SIGKILL); /* what a script started, too */
        kill(pid, SIGKILL);  /* perhaps not yet in a session of its own */
        waitpid(pid, &status, 0);
    }
    if (!ok) {
        daemon_error_set(error, DAEMON_ERROR_INTERNAL,
                         "internal error: '%s' does not answer as a monitor: is it QEMU or "
                         "lodge-vmm? (%s)",
                         args[0],
                         WIFEXITED(status) ? "it ended at once" : "nothing within its time");
    }
    return ok;
}

char *engine_ask(const char *path, bool kvm, GError **error)
{
    if (access(path, X_OK) < 0) {
        daemon_error_set(error, DAEMON_ERROR_SYSTEM, "Cannot check QEMU binary %s: %s", path,
                         g_strerror(errno));
        return NULL;
    }
    autofd kernel_fd = engine_is_lodge_path(path) ? make_kernel() : -1;
    g_auto(GStrv) args = make_arguments(path, kvm, kernel_fd);
    GByteArray *bytes = g_byte_array_new();
    if (!run(args, kernel_fd, bytes, error)) {
        g_byte_array_free(bytes, TRUE);
        return NULL;
    }
    g_byte_array_append(bytes, (const uint8_t *)"", 1);
    return (char *)g_byte_array_free(bytes, FALSE);
}

/* --- the answers --- */

static void free_machine(gpointer data)
{
    EngineMachine *machine = data;
    g_free(machine->name);
    g_free(machine->alias);
    g_free(machine->default_cpu);
    g_free(machine);
}

static void free_cpu(gpointer data)
{
    EngineCpu *cpu = data;
    g_free(cpu->name);
    g_free(cpu);
}

Engine *engine_new(const char *path)
{
    Engine *engine = g_new0(Engine, 1);
    engine->refs = 1;
    engine->path = g_strdup(path);
    engine->is_lodge = engine_is_lodge_path(path);
    engine->machines = g_ptr_array_new_with_free_func(free_machine);
    engine->devices = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    engine->tcg.cpus = g_ptr_array_new_with_free_func(free_cpu);
    engine->kvm.cpus = g_ptr_array_new_with_free_func(free_cpu);
    return engine;
}

static void clear_accel(EngineAccel *accel)
{
    g_ptr_array_unref(accel->cpus);
    g_free(accel->vendor);
}

Engine *engine_ref(Engine *engine)
{
    g_atomic_int_inc(&engine->refs);
    return engine;
}

void engine_unref(Engine *engine)
{
    if (engine && g_atomic_int_dec_and_test(&engine->refs)) {
        g_free(engine->path);
        g_free(engine->arch);
        g_ptr_array_unref(engine->machines);
        g_hash_table_unref(engine->devices);
        clear_accel(&engine->tcg);
        clear_accel(&engine->kvm);
        g_free(engine);
    }
}

/* "qemu64-x86_64-cpu" without what follows the model. */
static char *model_of_type(const char *type)
{
    const char *end = type ? strstr(type, "-cpu") : NULL;
    const char *dash = end ? g_strrstr_len(type, end - type, "-") : NULL;
    return dash ? g_strndup(type, (gsize)(dash - type)) : NULL;
}

static void read_machines(Engine *engine, EngineAccel *accel, JsonArray *array)
{
    g_ptr_array_set_size(engine->machines, 0);
    for (guint i = 0; array && i < json_array_get_length(array); i++) {
        JsonObject *object = json_peer_element(array, i);
        const char *name = object ? json_peer_string(object, "name") : NULL;
        if (!name || !strcmp(name, "none")) {
            continue;
        }
        EngineMachine *machine = g_new0(EngineMachine, 1);
        machine->name = g_strdup(name);
        machine->alias = g_strdup(json_peer_string(object, "alias"));
        machine->default_cpu = model_of_type(json_peer_string(object, "default-cpu-type"));
        machine->max_cpus = (unsigned)CLAMP(json_peer_int(object, "cpu-max", 1), 1, 65536);
        machine->is_default = json_peer_bool(object, "is-default", false);
        machine->is_deprecated = json_peer_bool(object, "deprecated", false);
        g_ptr_array_add(engine->machines, machine);
    }
}

/* Models that only stand for what there is, and versions of others, are not for users to choose. */
static bool is_chosen_by_name(const char *name)
{
    const char *version = g_strrstr(name, "-v");
    return strcmp(name, "max") && strcmp(name, "host") && strcmp(name, "base") &&
           (!version || !g_ascii_isdigit(version[2]) || g_str_has_prefix(name, "x86-64-v"));
}

static void read_cpus(Engine *engine, EngineAccel *accel, JsonArray *array)
{
    for (guint i = 0; array && i < json_array_get_length(array); i++) {
        JsonObject *object = json_peer_element(array, i);
        const char *name = object ? json_peer_string(object, "name") : NULL;
        if (!name || !is_chosen_by_name(name)) {
            continue;
        }
        JsonArray *missing = json_peer_array(object, "unavailable-features");
        EngineCpu *cpu = g_new0(EngineCpu, 1);
        cpu->name = g_strdup(name);
        cpu->is_usable = !missing || json_array_get_length(missing) == 0;
        cpu->is_deprecated = json_peer_bool(object, "deprecated", false);
        g_ptr_array_add(accel->cpus, cpu);
    }
}

static void read_devices(Engine *engine, EngineAccel *accel, JsonArray *array)
{
    for (guint i = 0; array && i < json_array_get_length(array); i++) {
        JsonObject *object = json_peer_element(array, i);
        const char *name = object ? json_peer_string(object, "name") : NULL;
        if (name && !g_str_has_suffix(name, "-cpu")) {
            g_hash_table_add(engine->devices, g_strdup(name));
        }
    }
}

static void read_max(EngineAccel *accel, JsonObject *answer)
{
    static const struct {
        const char *cpuid, *name;
    } vendors[] = { { "GenuineIntel", "Intel" },
                    { "AuthenticAMD", "AMD" },
                    { "HygonGenuine", "Hygon" } };
    JsonObject *model = json_peer_object(answer, "model");
    JsonObject *props = model ? json_peer_object(model, "props") : NULL;
    const char *vendor = props ? json_peer_string(props, "vendor") : NULL;
    g_autoptr(GList) names = props ? json_object_get_members(props) : NULL;
    for (GList *name = names; name; name = name->next) {
        int feature = x86_feature_find(name->data);
        if (feature >= 0 && json_peer_bool(props, name->data, false)) {
            x86_set_put(&accel->features, (unsigned)feature, true);
        }
    }
    for (unsigned i = 0; vendor && i < G_N_ELEMENTS(vendors); i++) {
        if (!strcmp(vendor, vendors[i].cpuid)) {
            g_free(accel->vendor);
            accel->vendor = g_strdup(vendors[i].name);
        }
    }
}

static void read_version(Engine *engine, JsonObject *answer)
{
    JsonObject *version = json_peer_object(answer, "qemu");
    if (version) {
        engine->version = (guint)(CLAMP(json_peer_int(version, "major", 0), 0, 999) * 1000000 +
                                  CLAMP(json_peer_int(version, "minor", 0), 0, 999) * 1000 +
                                  CLAMP(json_peer_int(version, "micro", 0), 0, 999));
    }
}

static void read_target(Engine *engine, JsonObject *answer)
{
    const char *arch = json_peer_string(answer, "arch");
    if (arch) {
        g_free(engine->arch);
        engine->arch = g_strdup(!strcmp(arch, "i386")    ? "i686"
                                : !strcmp(arch, "arm")   ? "armv7l"
                                : !strcmp(arch, "sh4eb") ? "sh4eb"
                                                         : arch);
    }
}

static void read_answer(Engine *engine, EngineAccel *accel, const char *id, JsonObject *line)
{
    static const struct {
        const char *id;
        void (*read)(Engine *engine, EngineAccel *accel, JsonArray *array);
    } lists[] = { { "machines", read_machines },
                  { "cpus", read_cpus },
                  { "devices", read_devices } };
    for (unsigned i = 0; i < G_N_ELEMENTS(lists); i++) {
        if (!strcmp(id, lists[i].id)) {
            lists[i].read(engine, accel, json_peer_array(line, "return"));
        }
    }
    JsonObject *answer = json_peer_object(line, "return");
    if (!answer) {
        return;
    }
    if (!strcmp(id, "version")) {
        read_version(engine, answer);
    } else if (!strcmp(id, "target")) {
        read_target(engine, answer);
    } else if (!strcmp(id, "max")) {
        read_max(accel, answer);
    } else if (!strcmp(id, "kvm")) {
        accel->works = accel == &engine->tcg || json_peer_bool(answer, "enabled", false);
    }
}

bool engine_read_answers(Engine *engine, EngineAccel *accel, const char *lines, GError **error)
{
    g_auto(GStrv) all = g_strsplit(lines, "\n", -1);
    g_ptr_array_set_size(accel->cpus, 0);
    accel->features = (X86Set){ 0 };
    for (char **text = all; *text; text++) {
        if (!*g_strstrip(*text)) {
            continue;
        }
        JsonObject *line = json_peer_parse(*text, strlen(*text), error);
        if (!line) {
            return false;
        }
        const char *id = json_peer_string(line, "id");
        if (id) {
            read_answer(engine, accel, id, line);
        }
        json_object_unref(line);
    }
    if (!engine->arch || engine->machines->len == 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_PROTOCOL,
                    "'%s' did not say which machines it has", engine->path);
        return false;
    }
    return true;
}
