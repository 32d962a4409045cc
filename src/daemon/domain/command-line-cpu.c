/* Arguments of processors and memory.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/cpuset.h"
#include "conf/domain/vcpus.h"
#include "daemon/domain/command-line-private.h"
#include "daemon/domain/device-table.h"

#include <string.h>

/* --- processors --- */

typedef struct FlagRow {
    const char *element;  /* of <hyperv>; NULL: of something else */
    const char *property; /* of QEMU's processors, on or off; NULL: it has a value */
    size_t offset;        /* of a TriState in DomainFeatures */
    bool is_inverted;
} FlagRow;

static const FlagRow flag_rows[] = {
    { "relaxed", "hv-relaxed", offsetof(DomainFeatures, relaxed) },
    { "vapic", "hv-vapic", offsetof(DomainFeatures, vapic) },
    { "spinlocks", NULL, offsetof(DomainFeatures, spinlocks) },
    { "vpindex", "hv-vpindex", offsetof(DomainFeatures, vpindex) },
    { "runtime", "hv-runtime", offsetof(DomainFeatures, runtime) },
    { "synic", "hv-synic", offsetof(DomainFeatures, synic) },
    { "stimer", "hv-stimer", offsetof(DomainFeatures, stimer) },
    { NULL, "hv-stimer-direct", offsetof(DomainFeatures, stimer_direct) },
    { "reset", "hv-reset", offsetof(DomainFeatures, reset) },
    { "vendor_id", NULL, offsetof(DomainFeatures, vendor_id) },
    { "frequencies", "hv-frequencies", offsetof(DomainFeatures, frequencies) },
    { "reenlightenment", "hv-reenlightenment", offsetof(DomainFeatures, reenlightenment) },
    { "tlbflush", "hv-tlbflush", offsetof(DomainFeatures, tlbflush) },
    { "ipi", "hv-ipi", offsetof(DomainFeatures, ipi) },
    { "evmcs", "hv-evmcs", offsetof(DomainFeatures, evmcs) },
    { "avic", "hv-avic", offsetof(DomainFeatures, avic) },
    { "emsr_bitmap", "hv-emsr-bitmap", offsetof(DomainFeatures, emsr_bitmap) },
    { "xmm_input", "hv-xmm-input", offsetof(DomainFeatures, xmm_input) },
    { NULL, "kvm", offsetof(DomainFeatures, kvm_hidden), true },
    { NULL, "kvm-hint-dedicated", offsetof(DomainFeatures, kvm_hint_dedicated) },
    { NULL, "kvm-poll-control", offsetof(DomainFeatures, kvm_poll_control) },
    { NULL, "kvm-pv-ipi", offsetof(DomainFeatures, kvm_pv_ipi) },
    { NULL, "kvm-pv-unhalt", offsetof(DomainFeatures, pvspinlock) },
    { NULL, "kvm-pv-eoi", offsetof(DomainFeatures, apic_eoi) },
    { NULL, "pmu", offsetof(DomainFeatures, pmu) },
};

const char *command_line_hyperv(unsigned index, bool is_kvm)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(flag_rows); i++) {
        bool is_there = is_kvm || !flag_rows[i].property;
        if (flag_rows[i].element && is_there && index-- == 0) {
            return flag_rows[i].element;
        }
    }
    return NULL;
}

void line_append_tri(GString *text, const char *name, TriState value)
{
    if (value) {
        g_string_append_printf(text, ",%s=%s", name, value == TRI_YES ? "on" : "off");
    }
}

/* What <features> and <clock> say of QEMU's processors. */
static void append_features(GString *text, const DomainDef *def)
{
    const DomainFeatures *features = &def->features;
    for (unsigned i = 0; i < G_N_ELEMENTS(flag_rows); i++) {
        TriState value =
            *(const TriState *)(const void *)((const char *)features + flag_rows[i].offset);
        if (flag_rows[i].is_inverted && value) {
            value = value == TRI_YES ? TRI_NO : TRI_ABSENT;
        }
        /* Without KVM there is nothing to hide or to hint at. */
        const char *property = flag_rows[i].property;
        if (property && (def->virt == VIRT_KVM || !g_str_has_prefix(property, "kvm"))) {
            line_append_tri(text, property, value);
        }
    }
    if (features->hyperv_mode == HYPERV_PASSTHROUGH) {
        g_string_append(text, ",hv-passthrough=on");
    }
    if (features->spinlocks == TRI_YES) {
        g_string_append_printf(text, ",hv-spinlocks=0x%x", features->spinlock_retries);
    }
    if (features->vendor_id == TRI_YES && features->vendor_id_value) {
        g_autofree char *id = line_escape(features->vendor_id_value);
        g_string_append_printf(text, ",hv-vendor-id=%s", id);
    }
    for (unsigned i = 0; i < def->devices[DEVICE_PANIC].count; i++) {
        if (((const DomainPanic *)def->devices[DEVICE_PANIC].item[i])->model == PANIC_HYPERV) {
            g_string_append(text, ",hv-crash=on");
        }
    }
    for (unsigned i = 0; i < def->clock.timers.count; i++) {
        const DomainTimer *timer = def->clock.timers.item[i];
        if (timer->name == TIMER_HYPERVCLOCK) {
            line_append_tri(text, "hv-time", timer->present);
        } else if (timer->name == TIMER_KVMCLOCK && def->virt == VIRT_KVM) {
            line_append_tri(text, "kvmclock", timer->present);
        } else if (timer->name == TIMER_TSC && timer->frequency_hz) {
            g_string_append_printf(text, ",tsc-frequency=%" G_GUINT64_FORMAT, timer->frequency_hz);
        }
    }
}

static void append_cache(GString *text, const DomainCpu *cpu)
{
    static const char *const words[] = {
        [CPU_CACHE_PASSTHROUGH] = ",host-cache-info=on,l3-cache=off",
        [CPU_CACHE_EMULATE] = ",host-cache-info=off,l3-cache=on",
        [CPU_CACHE_DISABLE] = ",host-cache-info=off,l3-cache=off",
    };
    g_string_append(text, cpu->cache_mode ? words[cpu->cache_mode] : "");
    if (cpu->max_phys_addr == MAX_PHYS_ADDR_PASSTHROUGH) {
        g_string_append(text, ",host-phys-bits=on");
    }
    if (cpu->max_phys_addr_bits.set) {
        g_string_append_printf(
            text, ",%s=%" G_GUINT64_FORMAT,
            cpu->max_phys_addr == MAX_PHYS_ADDR_PASSTHROUGH ? "host-phys-bits-limit" : "phys-bits",
            cpu->max_phys_addr_bits.value);
    }
}

static const char *cpu_model(const CommandLine *line)
{
    const DomainCpu *cpu = line->def->cpu;
    const char *model = !cpu                       ? NULL
                        : cpu->mode == CPU_MAXIMUM ? "max"
                        : cpu->mode == CPU_HOST_PASSTHROUGH || cpu->mode == CPU_HOST_MODEL
                            ? "host"
                            : cpu->model;
    return model && strcmp(model, "host") == 0 && line->def->virt != VIRT_KVM ? "max" : model;
}

void line_add_cpu(CommandLine *line)
{
    const DomainCpu *cpu = line->def->cpu;
    const char *model = cpu_model(line);
    g_autoptr(GString) text = g_string_new(NULL);
    if (line->engine == ENGINE_QEMU && cpu) {
        if (model && strcmp(model, "host") == 0) {
            line_append_tri(text, "migratable", cpu->migratable);
        }
        if (cpu->vendor_id) {
            g_autofree char *vendor = line_escape(cpu->vendor_id);
            g_string_append_printf(text, ",vendor=%s", vendor);
        }
        append_cache(text, cpu);
    }
    for (unsigned i = 0; cpu && i < cpu->features.count; i++) {
        const DomainCpuFeature *feature = cpu->features.item[i];
        bool on = feature->policy != CPU_DISABLE && feature->policy != CPU_FORBID;
        if (line->engine == ENGINE_QEMU) {
            g_string_append_printf(text, ",%s=%s", feature->name, on ? "on" : "off");
        } else {
            g_string_append_printf(text, ",%c%s", on ? '+' : '-', feature->name);
        }
    }
    if (line->engine == ENGINE_QEMU) {
        append_features(text, line->def);
    }
    if (model || text->len) {
        line_add(line, "-cpu",
                 g_strdup_printf("%s%s",
                                 model
                                     ?: line->engine == ENGINE_QEMU ? "qemu64"
                                                                    : "max",
                                 text->str));
    }
}

/* --- memory --- */

bool line_has_memory_backend(const CommandLine *line)
{
    const DomainMemoryBacking *backing = &line->def->memory_backing;
    bool has_cells = line->def->cpu && line->def->cpu->cells.count;
    return !has_cells && (backing->has_hugepages || backing->source == MEMORY_SOURCE_MEMFD ||
                          backing->access == NUMA_ACCESS_SHARED ||
                          backing->allocation == MEMORY_ALLOCATE_IMMEDIATE);
}

static const char *numa_policy(DomainNumatuneMode mode)
{
    return mode == NUMATUNE_PREFERRED    ? "preferred"
           : mode == NUMATUNE_INTERLEAVE ? "interleave"
                                         : "bind";
}

/* Which nodes of the host the memory of a cell comes from. */
static void append_host_nodes(GString *text, const char *nodes, DomainNumatuneMode mode)
{
    CpuSet set;
    if (!nodes || mode == NUMATUNE_RESTRICTIVE || !cpuset_parse(nodes, &set)) {
        return;
    }
    g_auto(GStrv) ranges = g_strsplit(nodes, ",", -1);
    for (unsigned i = 0; ranges[i]; i++) {
        g_string_append_printf(text, ",host-nodes=%s", ranges[i]);
    }
    g_string_append_printf(text, ",policy=%s", numa_policy(mode));
}

/* An -object for @size_kib of memory. @page_kib: 0: as the guest's. */
static char *memory_object(const CommandLine *line, const char *id, guint64 size_kib,
                           DomainMemoryAccess access, guint64 page_kib)
{
    const DomainMemoryBacking *backing = &line->def->memory_backing;
    const DomainHugepage *page = backing->pages.count ? backing->pages.item[0] : NULL;
    bool is_huge = backing->has_hugepages || page_kib;
    page_kib = page_kib ? page_kib : page ? page->size : 0;
    access = access ? access : backing->access;
    /* Other processes that map QEMU's memory do so by a file. */
    bool is_shared = access == NUMA_ACCESS_SHARED && line->engine == ENGINE_QEMU;
    DomainMemorySource source = is_huge || is_shared || backing->source == MEMORY_SOURCE_MEMFD
                                    ? MEMORY_SOURCE_MEMFD
                                    : MEMORY_SOURCE_ANONYMOUS;
    GString *text =
        g_string_new(device_table_word(PROPERTY_MEMORY_SOURCE, (int)source, line->engine));
    g_string_append_printf(text, ",id=%s,size=%" G_GUINT64_FORMAT "k", id, size_kib);
    if (access || source == MEMORY_SOURCE_MEMFD) {
        g_string_append_printf(text, ",share=%s", access == NUMA_ACCESS_SHARED ? "on" : "off");
    }
    if (is_huge) {
        g_string_append(text, ",hugetlb=on");
    }
    if (is_huge && page_kib) {
        g_string_append_printf(text, ",hugetlbsize=%" G_GUINT64_FORMAT "k", page_kib);
    }
    if (backing->allocation == MEMORY_ALLOCATE_IMMEDIATE) {
        g_string_append(text, ",prealloc=on");
        if (backing->allocation_threads) {
            g_string_append_printf(text, ",prealloc-threads=%u", backing->allocation_threads);
        }
    }
    return g_string_free(text, FALSE);
}

static void add_cell(CommandLine *line, const DomainNumaCell *cell, unsigned index)
{
    const DomainDef *def = line->def;
    unsigned id = cell->id.set ? (unsigned)cell->id.value : index;
    g_autofree char *name = g_strdup_printf("ram-node%u", id);
    g_autofree char *object = memory_object(line, name, cell->memory, cell->access, 0);
    GString *text = g_string_new(object);
    for (unsigned i = 0; i < def->memnodes.count; i++) {
        const DomainMemnode *node = def->memnodes.item[i];
        if (node->cell == id) {
            append_host_nodes(text, node->nodeset, node->mode);
        }
    }
    line_add(line, "-object", g_string_free(text, FALSE));
    text = g_string_new(NULL);
    g_string_printf(text, "node,nodeid=%u", id);
    g_auto(GStrv) ranges = g_strsplit(cell->cpus ?: "", ",", -1);
    for (unsigned i = 0; ranges[i]; i++) {
        g_string_append_printf(text, ",cpus=%s", ranges[i]);
    }
    g_string_append_printf(text, ",memdev=%s", name);
    line_add(line, "-numa", g_string_free(text, FALSE));
}

static void add_cells(CommandLine *line, const XmlList *cells)
{
    for (unsigned i = 0; i < cells->count; i++) {
        add_cell(line, cells->item[i], i);
    }
    for (unsigned i = 0; i < cells->count; i++) {
        const DomainNumaCell *cell = cells->item[i];
        for (unsigned d = 0; d < cell->distances.count; d++) {
            const DomainNumaDistance *distance = cell->distances.item[d];
            line_add(line, "-numa",
                     g_strdup_printf("dist,src=%u,dst=%u,val=%u",
                                     cell->id.set ? (unsigned)cell->id.value : i, distance->id,
                                     distance->value));
        }
    }
}

static void add_iothreads(CommandLine *line)
{
    const XmlList *list = &line->def->iothread_list;
    for (unsigned i = 0; i < list->count; i++) {
        const DomainIothread *thread = list->item[i];
        GString *text = g_string_new(NULL);
        g_string_printf(text, "iothread,id=iothread%u", thread->id);
        const struct {
            const char *name;
            const OptUint *value;
        } settings[] = { { "thread-pool-min", &thread->thread_pool_min },
                         { "thread-pool-max", &thread->thread_pool_max },
                         { "poll-max-ns", &thread->poll_max_ns },
                         { "poll-grow", &thread->poll_grow },
                         { "poll-shrink", &thread->poll_shrink } };
        for (unsigned s = 0; line->engine == ENGINE_QEMU && s < G_N_ELEMENTS(settings); s++) {
            if (settings[s].value->set) {
                g_string_append_printf(text, ",%s=%" G_GUINT64_FORMAT, settings[s].name,
                                       settings[s].value->value);
            }
        }
        line_add(line, "-object", g_string_free(text, FALSE));
    }
}

static void add_processors(CommandLine *line)
{
    const DomainDef *def = line->def;
    GString *smp = g_string_new(NULL);
    g_string_printf(smp, "%u",
                    line->engine == ENGINE_QEMU ? domain_def_boot_vcpus(def) : def->current_vcpus);
    g_string_append_printf(smp, ",maxcpus=%u", def->vcpus);
    if (def->cpu && def->cpu->sockets) {
        g_string_append_printf(smp, ",sockets=%u,dies=%u,cores=%u,threads=%u", def->cpu->sockets,
                               MAX(def->cpu->dies, 1), def->cpu->cores, def->cpu->threads);
    } else {
        g_string_append_printf(smp, ",sockets=%u,cores=1,threads=1", def->vcpus);
    }
    line_add(line, "-smp", g_string_free(smp, FALSE));
}

bool line_add_memory(CommandLine *line, GError **error)
{
    const DomainDef *def = line->def;
    GString *size = g_string_new(NULL);
    g_string_printf(size, "size=%" G_GUINT64_FORMAT "k", domain_def_initial_memory(def));
    if (def->max_memory) {
        g_string_append_printf(size, ",slots=%u,maxmem=%" G_GUINT64_FORMAT "k",
                               def->max_memory_slots, def->max_memory);
    }
    line_add(line, "-m", g_string_free(size, FALSE));
    if (line_has_memory_backend(line)) {
        line_add(
            line, "-object",
            memory_object(line, "pc.ram", domain_def_initial_memory(def), MEMORY_ACCESS_NONE, 0));
    }
    if (def->memory_backing.locked) {
        line_add(line, "-overcommit", g_strdup("mem-lock=on"));
    }
    add_processors(line);
    if (def->cpu && def->cpu->cells.count) {
        add_cells(line, &def->cpu->cells);
    } else if (def->max_memory) {
        return line_refuse_unless(line, false, error, "<maxMemory> without <cpu><numa>");
    }
    add_iothreads(line);
    return true;
}

/* Memory modules come in these steps on x86. */
#define MODULE_STEP_KIB 2048u

static guint64 module_size(const DomainMemory *memory)
{
    return (memory->size + MODULE_STEP_KIB - 1) / MODULE_STEP_KIB * MODULE_STEP_KIB;
}

/* Its own, else that of the cell it is plugged into, else the guest's. */
static DomainMemoryAccess module_access(const CommandLine *line, const DomainMemory *memory)
{
    const DomainCpu *cpu = line->def->cpu;
    DomainMemoryAccess access = memory->access;
    if (!access && cpu && memory->node.set && memory->node.value < cpu->cells.count) {
        access = ((const DomainNumaCell *)cpu->cells.item[memory->node.value])->access;
    }
    return access ? access : line->def->memory_backing.access;
}

/* An -object of memory that a file keeps. QEMU opens it by its path, as the guest's user: it takes
 * no sets here. */
static char *file_object(const CommandLine *line, const char *id, const DomainMemory *memory)
{
    g_autofree char *path = line_escape(memory->source_path);
    DomainMemoryAccess access = module_access(line, memory);
    GString *text = g_string_new(NULL);
    g_string_printf(text, "memory-backend-file,id=%s,mem-path=%s,size=%" G_GUINT64_FORMAT "k", id,
                    path, module_size(memory));
    if (access) {
        g_string_append_printf(text, ",share=%s", access == NUMA_ACCESS_SHARED ? "on" : "off");
    }
    if (memory->model == MEMORY_NVDIMM && !memory->is_pmem) {
        g_string_append(text, ",prealloc=on"); /* no room on the host is found out by the guest */
    }
    if (memory->align_size) {
        g_string_append_printf(text, ",align=%" G_GUINT64_FORMAT "k", memory->align_size);
    }
    if (memory->is_pmem) {
        g_string_append(text, ",pmem=on");
    }
    return g_string_free(text, FALSE);
}

/* The -device in front of the memory @id. */
static char *memory_device(const CommandLine *line, const DomainMemory *memory, const char *id)
{
    static const char *const drivers[] = { [MEMORY_DIMM] = "pc-dimm",
                                           [MEMORY_NVDIMM] = "nvdimm",
                                           [MEMORY_VIRTIO_PMEM] = "virtio-pmem-pci",
                                           [MEMORY_VIRTIO_MEM] = "virtio-mem-pci" };
    const DomainDevice *device = &memory->device;
    const DomainAddress *at = &device->address;
    g_autofree char *address = line_address(line, device);
    GString *text = g_string_new(drivers[memory->model]);
    g_string_append_printf(text, ",id=%s,memdev=%s", device->alias, id);
    if (memory->node.set) {
        g_string_append_printf(text, ",node=%" G_GUINT64_FORMAT, memory->node.value);
    }
    if (memory->model == MEMORY_VIRTIO_MEM) {
        g_string_append_printf(
            text, ",block-size=%" G_GUINT64_FORMAT ",requested-size=%" G_GUINT64_FORMAT,
            memory->block * 1024, memory->requested * 1024);
    }
    if (memory->model == MEMORY_NVDIMM && memory->label_size) {
        g_string_append_printf(text, ",label-size=%" G_GUINT64_FORMAT, memory->label_size * 1024);
    }
    if (memory->model == MEMORY_NVDIMM && memory->is_readonly) {
        g_string_append(text, ",unarmed=on"); /* the guest is told that nothing is kept */
    }
    if (at->type == ADDRESS_DIMM) {
        g_string_append_printf(text, ",slot=%u", at->slot);
    }
    if (at->type == ADDRESS_DIMM && at->base.set) {
        g_string_append_printf(text, ",addr=%" G_GUINT64_FORMAT, at->base.value);
    }
    g_string_append(text, address);
    return g_string_free(text, FALSE);
}

bool line_add_memory_device(CommandLine *line, DomainDevice *device, GError **error)
{
    const DomainMemory *memory = (const DomainMemory *)device;
    bool is_virtio = memory->model == MEMORY_VIRTIO_MEM;
    bool is_file = memory->model == MEMORY_NVDIMM || memory->model == MEMORY_VIRTIO_PMEM;
    bool is_known = memory->model == MEMORY_DIMM || is_virtio || is_file;
    if (line->engine == ENGINE_LODGE || !is_known) {
        return line_refuse_unless(line, is_known, error, "<memory model='%s'>",
                                  domain_name(memory_model, memory->model));
    }
    g_autofree char *id = g_strdup_printf("mem%s", device->alias);
    g_autofree char *object =
        is_file ? file_object(line, id, memory)
                : memory_object(line, id, is_virtio ? memory->size : module_size(memory),
                                module_access(line, memory), memory->page_size);
    GString *text = g_string_new(object);
    append_host_nodes(text, memory->node_mask, NUMATUNE_STRICT);
    if (is_virtio && line->def->memory_backing.allocation != MEMORY_ALLOCATE_IMMEDIATE) {
        g_string_append(text, ",reserve=off"); /* most of it is not there yet */
    }
    line_add(line, "-object", g_string_free(text, FALSE));
    line_add(line, "-device", memory_device(line, memory, id));
    return true;
}
