/* What the host is, for <capabilities>: processors, cells, caches, engines.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/capabilities/capabilities.h"

#include "base/log.h"
#include "daemon/host/host.h"
#include "daemon/host/sysfs.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CACHES_MAX 64

/* Everything that the structs for the text point to. */
typedef struct Gather {
    GPtrArray *kept; /* freed by g_free() */
    GArray *cells;   /* of HostCell */
    GArray *caches;  /* of HostCache */
    GArray *sizes;   /* of uint64_t KiB */
    GArray *guests;  /* of CapsGuest */
    GPtrArray *engines;
} Gather;

static void *keep(Gather *gather, void *ptr)
{
    if (ptr) {
        g_ptr_array_add(gather->kept, ptr);
    }
    return ptr;
}

/* The array's items, which stay until the end. */
static void *keep_array(Gather *gather, GArray *array)
{
    return keep(gather, g_array_free(array, FALSE));
}

static unsigned cpu_number(unsigned cpu, const char *file)
{
    guint64 value = 0;
    sysfs_number(&value, CPU_DIR "/cpu%u/topology/%s", cpu, file);
    return (unsigned)value;
}

static char *cpu_text(unsigned cpu, const char *file)
{
    g_autofree char *path = g_strdup_printf(CPU_DIR "/cpu%u/%s", cpu, file);
    return sysfs_text(path);
}

static void add_cpus(Gather *gather, HostCell *cell, const uint8_t *bits, unsigned end)
{
    GArray *cpus = g_array_new(FALSE, FALSE, sizeof(HostCpu));
    for (unsigned i = 0; i < end; i++) {
        if (sysfs_has_bit(bits, i)) {
            char *siblings = keep(gather, cpu_text(i, "topology/thread_siblings_list"));
            HostCpu cpu = { .id = i,
                            .socket = cpu_number(i, "physical_package_id"),
                            .die = cpu_number(i, "die_id"),
                            .core = cpu_number(i, "core_id"),
                            .siblings = siblings ?: "" };
            g_array_append_val(cpus, cpu);
        }
    }
    cell->n_cpus = cpus->len;
    cell->cpus = keep_array(gather, cpus);
}

static void add_pages(Gather *gather, HostCell *cell)
{
    uint64_t small = (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
    GArray *pages = g_array_new(FALSE, FALSE, sizeof(HostPages));
    uint64_t left = cell->memory;
    g_array_set_size(pages, 1);
    for (guint i = 0; i < gather->sizes->len; i++) {
        uint64_t size = g_array_index(gather->sizes, uint64_t, i);
        guint64 count = 0;
        if (size == small) {
            continue;
        }
        if (!sysfs_number(
                &count, NODE_DIR "/node%u/hugepages/hugepages-%" G_GUINT64_FORMAT "kB/nr_hugepages",
                cell->id, (guint64)size)) {
            continue;
        }
        HostPages row = { size, count };
        g_array_append_val(pages, row);
        left -= MIN(left, size * count);
    }
    g_array_index(pages, HostPages, 0) = (HostPages){ small, left / small };
    cell->n_pages = pages->len;
    cell->pages = keep_array(gather, pages);
}

static void add_distances(Gather *gather, HostCell *cell, const uint8_t *nodes, unsigned end)
{
    g_autofree char *path = g_strdup_printf(NODE_DIR "/node%u/distance", cell->id);
    g_autofree char *text = sysfs_text(path);
    GArray *distances = g_array_new(FALSE, FALSE, sizeof(HostDistance));
    char *at = text;
    for (unsigned node = 0; at && *at && node < end; node++) {
        if (sysfs_has_bit(nodes, node)) {
            HostDistance row = { node, (unsigned)g_ascii_strtoull(at, &at, 10) };
            g_array_append_val(distances, row);
        }
    }
    cell->n_distances = distances->len;
    cell->distances = keep_array(gather, distances);
}

static void add_cells(Gather *gather)
{
    uint8_t nodes[NODES_MAX / 8] = { 0 };
    unsigned end = sysfs_list(NODE_DIR "/online", nodes, NODES_MAX);
    if (end == 0) {
        nodes[0] = 1;
        end = 1;
    }
    for (unsigned i = 0; i < end; i++) {
        uint8_t cpus[CPUS_MAX / 8] = { 0 };
        HostCell cell = { .id = i };
        if (!sysfs_has_bit(nodes, i)) {
            continue;
        }
        g_autofree char *list = g_strdup_printf(NODE_DIR "/node%u/cpulist", i);
        g_autofree char *meminfo = host_node_meminfo((int)i);
        unsigned n = sysfs_list(list, cpus, CPUS_MAX);
        if (n == 0 && i == 0 && access(list, F_OK) < 0) {
            n = sysfs_list(CPU_DIR "/online", cpus, CPUS_MAX);
        }
        guint64 kib = 0;
        sysfs_find_kib(meminfo, "MemTotal:", &kib);
        cell.memory = kib;
        add_cpus(gather, &cell, cpus, n);
        add_pages(gather, &cell);
        add_distances(gather, &cell, nodes, end);
        g_array_append_val(gather->cells, cell);
    }
}

static int compare_sizes(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void add_page_sizes(Gather *gather)
{
    uint64_t size = (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
    g_autoptr(GDir) dir = g_dir_open("/sys/kernel/mm/hugepages", 0, NULL);
    const char *name;
    g_array_append_val(gather->sizes, size);
    while (dir && (name = g_dir_read_name(dir))) {
        if (g_str_has_prefix(name, "hugepages-") &&
            (size = g_ascii_strtoull(name + strlen("hugepages-"), NULL, 10))) {
            g_array_append_val(gather->sizes, size);
        }
    }
    g_array_sort(gather->sizes, compare_sizes);
}

/* The last level's caches, each once: by the first of the CPUs that share it. */
static void add_caches(Gather *gather)
{
    uint8_t online[CPUS_MAX / 8] = { 0 };
    unsigned end = sysfs_list(CPU_DIR "/online", online, CPUS_MAX);
    for (unsigned cpu = 0; cpu < end && gather->caches->len < CACHES_MAX; cpu++) {
        guint64 level, id = 0;
        if (!sysfs_has_bit(online, cpu) ||
            !sysfs_number(&level, CPU_DIR "/cpu%u/cache/index3/level", cpu)) {
            continue;
        }
        char *cpus = keep(gather, cpu_text(cpu, "cache/index3/shared_cpu_list"));
        g_autofree char *type = cpu_text(cpu, "cache/index3/type");
        g_autofree char *size = cpu_text(cpu, "cache/index3/size");
        sysfs_number(&id, CPU_DIR "/cpu%u/cache/index3/id", cpu);
        if (!cpus || !size || g_ascii_strtoull(cpus, NULL, 10) != cpu) {
            continue;
        }
        HostCache cache = { .id = (unsigned)id,
                            .level = (unsigned)level,
                            .type = g_strcmp0(type, "Data") == 0          ? "data"
                                    : g_strcmp0(type, "Instruction") == 0 ? "code"
                                                                          : "both",
                            .size = g_ascii_strtoull(size, NULL, 10),
                            .cpus = cpus };
        g_array_append_val(gather->caches, cache);
    }
}

/* --- engines --- */

static bool is_32_bits(const char *arch)
{
    static const char *const narrow[] = { "i686",  "armv7l",  "ppc",        "mips",  "mipsel",
                                          "sparc", "riscv32", "sh4",        "sh4eb", "m68k",
                                          "or1k",  "xtensa",  "microblaze", NULL };
    return g_strv_contains(narrow, arch);
}

static void add_guest(Gather *gather, const Engine *engine)
{
    GArray *machines = g_array_new(FALSE, TRUE, sizeof(CapsMachine));
    for (guint i = 0; i < engine->machines->len; i++) {
        const EngineMachine *machine = engine->machines->pdata[i];
        CapsMachine row = { machine->name, NULL, machine->max_cpus, machine->is_deprecated };
        CapsMachine alias = { machine->alias, machine->name, machine->max_cpus, false };
        bool is_first = machine->is_default;
        /* The default one is first, and so is its short name. */
        if (is_first) {
            g_array_prepend_val(machines, row);
        } else {
            g_array_append_val(machines, row);
        }
        if (machine->alias) {
            g_array_insert_val(machines, is_first ? 1 : machines->len, alias);
        }
    }
    bool is_x86 = !strcmp(engine->arch, "x86_64") || !strcmp(engine->arch, "i686");
    CapsGuest guest = { .arch = engine->arch,
                        .word_size = is_32_bits(engine->arch) ? 32 : 64,
                        .emulator = engine->path,
                        .n_machines = machines->len,
                        .has_kvm = engine->kvm.works,
                        .is_x86 = is_x86 };
    guest.machines = keep_array(gather, machines);
    g_array_append_val(gather->guests, guest);
}

static void add_engines(Gather *gather, EngineSet *set)
{
    g_autoptr(GPtrArray) paths = engine_set_list(set);
    for (guint i = 0; i < paths->len; i++) {
        g_autoptr(GError) error = NULL;
        Engine *engine = engine_set_get(set, paths->pdata[i], &error);
        if (engine) {
            g_ptr_array_add(gather->engines, engine);
            add_guest(gather, engine);
        } else {
            log_warn("engine left out of the capabilities: %s", error->message);
        }
    }
}

/* --- the whole --- */

/* The firmware's, else the system's own, which is as long. */
static void read_uuid(Uuid *out)
{
    static const char *const files[] = { "/sys/class/dmi/id/product_uuid", "/etc/machine-id",
                                         "/var/lib/dbus/machine-id" };
    *out = (Uuid){ 0 };
    for (unsigned i = 0; i < G_N_ELEMENTS(files); i++) {
        g_autofree char *text = sysfs_text(files[i]);
        if (text && uuid_parse(text, out, NULL)) {
            return;
        }
    }
}

static const char **feature_names(const X86Set *features, const X86Model *model, Gather *gather)
{
    GPtrArray *names = g_ptr_array_new();
    for (unsigned i = 0; i < x86_n_features; i++) {
        if (x86_set_has(features, i) && !(model && x86_set_has(&model->features, i))) {
            g_ptr_array_add(names, (char *)x86_features[i].name);
        }
    }
    g_ptr_array_add(names, NULL);
    return keep(gather, g_ptr_array_free(names, FALSE));
}

static bool has_iommu(void)
{
    DIR *dir = opendir("/sys/kernel/iommu_groups");
    const struct dirent *entry;
    bool found = false;
    while (dir && !found && (entry = readdir(dir))) {
        found = entry->d_name[0] != '.';
    }
    if (dir) {
        closedir(dir);
    }
    return found;
}

static char *format(Daemon *daemon, Gather *gather)
{
    const HostProcessor *processor = host_processor();
    HostTopology topology;
    host_read_topology(&topology);
    const X86Model *model =
        x86_decode(&processor->have.features, processor->have.vendor, false, NULL, NULL);
    HostCapabilities caps = {
        .arch = engine_host_arch(),
        .cpu_model = model ? model->name : NULL,
        .cpu_vendor = processor->have.vendor,
        .microcode = processor->microcode,
        .has_signature = true,
        .family = processor->family,
        .model = processor->model,
        .stepping = processor->stepping,
        .phys_bits = processor->phys_bits,
        .sockets = topology.sockets,
        .dies = 1,
        .cores = topology.cores,
        .threads = topology.threads,
        .cpu_features = feature_names(&processor->have.features, model, gather),
        .page_sizes = (const uint64_t *)(void *)gather->sizes->data,
        .n_page_sizes = gather->sizes->len,
        .caches = (const HostCache *)(void *)gather->caches->data,
        .n_caches = gather->caches->len,
        .security_model = host_security_model(daemon),
        .security_doi = "0",
        .cells = (const HostCell *)(void *)gather->cells->data,
        .n_cells = gather->cells->len,
        .has_iommu = has_iommu(),
        .guests = (const CapsGuest *)(void *)gather->guests->data,
        .n_guests = gather->guests->len,
    };
    read_uuid(&caps.uuid);
    return host_capabilities_format(&caps);
}

char *host_capabilities_xml(Daemon *daemon)
{
    Gather gather = {
        .kept = g_ptr_array_new_with_free_func(g_free),
        .cells = g_array_new(FALSE, TRUE, sizeof(HostCell)),
        .caches = g_array_new(FALSE, TRUE, sizeof(HostCache)),
        .sizes = g_array_new(FALSE, TRUE, sizeof(uint64_t)),
        .guests = g_array_new(FALSE, TRUE, sizeof(CapsGuest)),
        .engines = g_ptr_array_new_with_free_func((GDestroyNotify)engine_unref),
    };
    add_page_sizes(&gather);
    add_cells(&gather);
    add_caches(&gather);
    add_engines(&gather, daemon->engines);
    char *xml = format(daemon, &gather);
    g_array_unref(gather.cells);
    g_array_unref(gather.caches);
    g_array_unref(gather.sizes);
    g_array_unref(gather.guests);
    g_ptr_array_unref(gather.engines);
    g_ptr_array_unref(gather.kept);
    return xml;
}
