/* Arguments of the engines: the machine, and the order of everything.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/command-line-private.h"

#include "base/cleanup.h"
#include "daemon/domain/iothreads.h"
#include "daemon/error.h"

#include <string.h>

GuestEngine command_line_engine(const char *emulator)
{
    g_autofree char *name = g_path_get_basename(emulator ?: "");
    return strstr(name, "qemu") || strstr(name, "kvm") ? ENGINE_QEMU : ENGINE_LODGE;
}

void line_add(CommandLine *line, const char *option, char *value)
{
    g_ptr_array_add(line->args, g_strdup(option));
    if (value) {
        g_ptr_array_add(line->args, value);
    }
}

static void G_GNUC_PRINTF(4, 0)
    refuse(const CommandLine *line, bool qemu_has, GError **error, const char *fmt, va_list args)
{
    g_autofree char *what = g_strdup_vprintf(fmt, args);
    if (line->engine == ENGINE_LODGE && qemu_has) {
        daemon_error_set(error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
                         "unsupported configuration: lodge-vmm has no %s; "
                         "<emulator>/usr/bin/qemu-system-x86_64</emulator> has",
                         what);
    } else if (line->engine == ENGINE_LODGE) {
        daemon_error_set(
            error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
            "unsupported configuration: lodge-vmm has no %s, and with this daemon QEMU "
            "has none either; leave it out",
            what);
    } else {
        daemon_error_set(error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
                         "unsupported configuration: %s is not supported by this daemon", what);
    }
}

bool line_refuse(const CommandLine *line, GError **error, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    refuse(line, true, error, fmt, args);
    va_end(args);
    return false;
}

bool line_refuse_unless(const CommandLine *line, bool qemu_has, GError **error, const char *fmt,
                        ...)
{
    va_list args;
    va_start(args, fmt);
    refuse(line, qemu_has, error, fmt, args);
    va_end(args);
    return false;
}

void line_add_fd_to(CommandLine *line, unsigned set, int fd)
{
    g_array_append_val(line->fds, fd);
    line_add(line, "-add-fd",
             g_strdup_printf("fd=%d,set=%u%s%s", fd, set, line->owner ? ",opaque=" : "",
                             line->owner ?: ""));
}

unsigned line_add_fd(CommandLine *line, int fd)
{
    unsigned set = ++line->next_set;
    line_add_fd_to(line, set, fd);
    return set;
}

char *line_escape(const char *text)
{
    g_auto(GStrv) parts = g_strsplit(text, ",", -1);
    return g_strjoinv(",,", parts);
}

static void add_name(CommandLine *line)
{
    char uuid[UUID_TEXT_SIZE];
    g_autofree char *name = line_escape(line->def->name);
    line_add(line, "-name",
             line->engine == ENGINE_QEMU ? g_strdup_printf("guest=%s,debug-threads=on", name)
                                         : g_strdup(name));
    line_add(line, "-S", NULL);
    line_add(line, "-no-user-config", NULL);
    line_add(line, "-nodefaults", NULL);
    uuid_format(&line->def->uuid, uuid);
    line_add(line, "-uuid", g_strdup(uuid));
}

/* What both engines' -machine says of memory. */
static void append_memory_options(const CommandLine *line, GString *text)
{
    const DomainDef *def = line->def;
    line_append_tri(text, "dump-guest-core", def->dump_core);
    if (def->memory_backing.nosharepages) {
        g_string_append(text, ",mem-merge=off");
    }
    if (line_has_memory_backend(line)) {
        g_string_append(text, ",memory-backend=pc.ram");
    }
}

static void add_qemu_accel(CommandLine *line)
{
    const DomainFeatures *features = &line->def->features;
    bool is_kvm = line->def->virt == VIRT_KVM;
    GString *text = g_string_new(is_kvm ? "kvm" : "tcg");
    if (is_kvm && features->ioapic) {
        g_string_append_printf(text, ",kernel-irqchip=%s",
                               features->ioapic == IOAPIC_QEMU ? "split" : "on");
    }
    if (is_kvm && features->kvm_dirty_ring == TRI_YES) {
        g_string_append_printf(text, ",dirty-ring-size=%u", features->kvm_dirty_ring_size);
    }
    if (!is_kvm && features->tcg_tb_cache) {
        g_string_append_printf(text, ",tb-size=%" G_GUINT64_FORMAT, features->tcg_tb_cache / 1024);
    }
    line_add(line, "-accel", g_string_free(text, FALSE));
}

static bool has_nvdimm(const DomainDef *def)
{
    const XmlList *list = &def->devices[DEVICE_MEMORY];
    for (unsigned i = 0; i < list->count; i++) {
        if (((const DomainMemory *)list->item[i])->model == MEMORY_NVDIMM) {
            return true;
        }
    }
    return false;
}

static void add_qemu_machine(CommandLine *line)
{
    const DomainDef *def = line->def;
    GString *text = g_string_new(def->os.machine ?: "q35");
    g_string_append(text, ",usb=off");
    if (def->features.vmport) {
        g_string_append_printf(text, ",vmport=%s", def->features.vmport == TRI_YES ? "on" : "off");
    }
    if (def->features.has_smm && def->features.smm) {
        g_string_append_printf(text, ",smm=%s", def->features.smm == TRI_YES ? "on" : "off");
    }
    for (unsigned i = 0; i < def->clock.timers.count; i++) {
        const DomainTimer *timer = def->clock.timers.item[i];
        if (timer->name == TIMER_PIT && timer->present == TRI_NO) {
            g_string_append(text, ",pit=off");
        }
    }
    if (def->os.bios_useserial == TRI_YES) {
        g_string_append(text, ",graphics=off");
    }
    append_memory_options(line, text);
    if (has_nvdimm(def)) {
        g_string_append(text, ",nvdimm=on");
    }
    line_add(line, "-machine", g_string_free(text, FALSE));
    add_qemu_accel(line);
    if (!def->features.acpi) {
        line_add(line, "-no-acpi", NULL);
    }
    if (def->features.smm_tseg) {
        line_add(line, "-global",
                 g_strdup_printf("mch.extended-tseg-mbytes=%" G_GUINT64_FORMAT,
                                 def->features.smm_tseg / 1024));
    }
    for (unsigned i = 0; i < def->clock.timers.count; i++) {
        const DomainTimer *timer = def->clock.timers.item[i];
        if (timer->name == TIMER_HPET && timer->present == TRI_NO) {
            line_add(line, "-no-hpet", NULL);
        } else if (timer->name == TIMER_PIT && timer->tick_policy == TICK_DELAY) {
            line_add(line, "-global", g_strdup("kvm-pit.lost_tick_policy=delay"));
        }
    }
}

static bool add_lodge_machine(CommandLine *line, GError **error)
{
    const DomainDef *def = line->def;
    bool microvm = domain_def_is_microvm(def);
    if (!microvm && !domain_def_is_q35(def)) {
        return line_refuse(line, error, "machine '%s'", def->os.machine);
    }
    GString *text = g_string_new(microvm ? "microvm" : "q35");
    g_string_append_printf(text, ",acpi=%s", def->features.acpi ? "on" : "off");
    for (unsigned i = 0; !microvm && i < def->clock.timers.count; i++) {
        const DomainTimer *timer = def->clock.timers.item[i];
        if (timer->name == TIMER_HPET && timer->present == TRI_NO) {
            g_string_append(text, ",hpet=off");
        }
    }
    append_memory_options(line, text);
    line_add(line, "-machine", g_string_free(text, FALSE));
    line_add(line, "-accel",
             def->features.tcg_tb_cache ? g_strdup_printf("%sxlate,tb-size=%" G_GUINT64_FORMAT,
                                                          def->virt == VIRT_KVM ? "kvm:" : "",
                                                          def->features.tcg_tb_cache / 1024)
                                        : g_strdup(def->virt == VIRT_KVM ? "kvm:xlate" : "xlate"));
    return true;
}

static bool add_boot_file(CommandLine *line, const char *option, const char *path, GError **error)
{
    if (!path) {
        return true;
    }
    int fd = line->ops->open_file(line->opaque, path, false, error);
    if (fd < 0) {
        return false;
    }
    line_add(line, option, g_strdup_printf("/dev/fdset/%u", line_add_fd(line, fd)));
    return true;
}

/* The path, or that of a copy that the guest can open (transfer full). */
static char *lent_path(CommandLine *line, const char *path, GError **error)
{
    g_autoptr(GError) why = NULL;
    int fd = line->ops->lend_file ? line->ops->lend_file(line->opaque, path, &why) : -1;
    if (why) {
        g_propagate_error(error, g_steal_pointer(&why));
        return NULL;
    }
    if (fd >= 0) {
        g_array_append_val(line->fds, fd);
        return g_strdup_printf("/proc/self/fd/%d", fd);
    }
    /* Refused here, by name, rather than by the engine. */
    autofd trial = line->ops->open_file(line->opaque, path, false, error);
    return trial >= 0 ? g_strdup(path) : NULL;
}

/* An option that QEMU reads a file for by its name, once. */
static bool add_lent(CommandLine *line, const char *option, const char *path, GError **error)
{
    g_autofree char *lent = path ? lent_path(line, path, error) : NULL;
    if (lent) {
        line_add(line, option, g_steal_pointer(&lent));
        return true;
    }
    return !path;
}

/* Flash that the guest writes, with what its firmware keeps there: a set with the two modes QEMU
 * opens it by. */
static bool add_flash(CommandLine *line, const char *path, unsigned unit, GError **error)
{
    int fd = line->ops->open_file(line->opaque, path, true, error);
    if (fd < 0) {
        return false;
    }
    unsigned set = line_add_fd(line, fd);
    if (!line_add_reader(line, set, fd, error)) {
        return false;
    }
    line_add(line, "-drive",
             g_strdup_printf("file=/dev/fdset/%u,if=pflash,format=raw,unit=%u", set, unit));
    return true;
}

static bool add_loader(CommandLine *line, GError **error)
{
    const DomainOs *os = &line->def->os;
    if (os->loader_type != LOADER_PFLASH) {
        return add_lent(line, "-bios", os->loader, error);
    }
    g_autofree char *lent = lent_path(line, os->loader, error);
    if (!lent) {
        return false;
    }
    if (os->loader_secure == TRI_YES) {
        line_add(line, "-global", g_strdup("driver=cfi.pflash01,property=secure,value=on"));
    }
    if (os->loader_readonly != TRI_YES) {
        return add_flash(line, os->loader, 0, error);
    }
    g_autofree char *path = line_escape(lent);
    line_add(line, "-drive",
             g_strdup_printf("file=%s,if=pflash,format=raw,unit=0,readonly=on", path));
    const char *nvram = domain_os_nvram_path(os);
    return !nvram || add_flash(line, nvram, 1, error);
}

static bool add_firmware(CommandLine *line, GError **error)
{
    const DomainOs *os = &line->def->os;
    if (line->engine == ENGINE_LODGE && !os->kernel) {
        return line_refuse(line, error, "firmware to boot from disk with (<kernel> is missing)");
    }
    if (line->engine == ENGINE_LODGE && os->loader) {
        return line_refuse(line, error, "firmware <loader>");
    }
    if (os->loader && !add_loader(line, error)) {
        return false;
    }
    /* QEMU reads kernels by name: seeking in a set's descriptor is not all it does. */
    if (line->engine == ENGINE_QEMU) {
        if (!add_lent(line, "-kernel", os->kernel, error) ||
            !add_lent(line, "-initrd", os->initrd, error)) {
            return false;
        }
    } else if (!add_boot_file(line, "-kernel", os->kernel, error) ||
               !add_boot_file(line, "-initrd", os->initrd, error)) {
        return false;
    }
    if (os->kernel && os->cmdline) {
        line_add(line, "-append", g_strdup(os->cmdline));
    }
    return true;
}

static void add_clock(CommandLine *line)
{
    const DomainClock *clock = &line->def->clock;
    GString *text = g_string_new(NULL);
    if (clock->offset == CLOCK_TIMEZONE && line->engine == ENGINE_QEMU) {
        /* QEMU has no zones, but its own. */
        g_string_append(text, "base=localtime");
        g_ptr_array_add(line->env, g_strdup_printf("TZ=%s", clock->timezone ?: ""));
    } else if (clock->offset == CLOCK_LOCALTIME) {
        g_string_append(text, "base=localtime");
    } else if (clock->offset == CLOCK_VARIABLE || clock->offset == CLOCK_ABSOLUTE) {
        gint64 seconds = clock->offset == CLOCK_ABSOLUTE
                             ? (gint64)clock->start.value
                             : g_get_real_time() / G_USEC_PER_SEC +
                                   g_ascii_strtoll(clock->adjustment ?: "0", NULL, 10);
        bool is_local = clock->offset == CLOCK_VARIABLE && clock->basis == CLOCK_BASIS_LOCALTIME;
        g_autoptr(GDateTime) time = is_local ? g_date_time_new_from_unix_local(seconds)
                                             : g_date_time_new_from_unix_utc(seconds);
        g_autofree char *date = time ? g_date_time_format(time, "%Y-%m-%dT%H:%M:%S") : NULL;
        g_string_append_printf(text, "base=%s", date ?: "utc");
    } else {
        g_string_append(text, "base=utc");
    }
    for (unsigned i = 0; line->engine == ENGINE_QEMU && i < clock->timers.count; i++) {
        const DomainTimer *timer = clock->timers.item[i];
        if (timer->name == TIMER_RTC && timer->tick_policy == TICK_CATCHUP) {
            g_string_append(text, ",driftfix=slew");
        }
    }
    for (unsigned i = 0; i < clock->timers.count; i++) {
        const DomainTimer *timer = clock->timers.item[i];
        if (timer->name == TIMER_RTC && timer->track == TIMER_TRACK_GUEST) {
            g_string_append(text, ",clock=vm");
        }
    }
    line_add(line, "-rtc", g_string_free(text, FALSE));
}

static void add_smbios_table(CommandLine *line, int type, const DomainSysinfoTable *table)
{
    if (!table->entries.count) {
        return;
    }
    GString *text = g_string_new(NULL);
    g_string_printf(text, "type=%d", type);
    for (unsigned i = 0; i < table->entries.count; i++) {
        const DomainSysinfoEntry *entry = table->entries.item[i];
        g_autofree char *value = line_escape(entry->value ?: "");
        g_string_append_printf(text, ",%s=%s", type == 11 ? "value" : entry->name, value);
    }
    line_add(line, "-smbios", g_string_free(text, FALSE));
}

static bool add_fw_cfg(CommandLine *line, const DomainSysinfoEntry *entry, GError **error)
{
    g_autofree char *name = line_escape(entry->name ?: "");
    if (line->engine == ENGINE_LODGE) {
        return line_refuse(line, error, "<sysinfo type='fwcfg'>");
    }
    if (!entry->file) {
        g_autofree char *value = line_escape(entry->value ?: "");
        line_add(line, "-fw_cfg", g_strdup_printf("name=%s,string=%s", name, value));
        return true;
    }
    g_autofree char *lent = lent_path(line, entry->file, error);
    if (lent) {
        g_autofree char *path = line_escape(lent);
        line_add(line, "-fw_cfg", g_strdup_printf("name=%s,file=%s", name, path));
    }
    return lent != NULL;
}

static bool add_sysinfo(CommandLine *line, GError **error)
{
    const DomainDef *def = line->def;
    for (unsigned i = 0; i < def->sysinfos.count; i++) {
        const DomainSysinfo *info = def->sysinfos.item[i];
        for (unsigned f = 0; f < info->fwcfg.count; f++) {
            if (!add_fw_cfg(line, info->fwcfg.item[f], error)) {
                return false;
            }
        }
        if (def->os.smbios != SMBIOS_SYSINFO) {
            continue;
        }
        add_smbios_table(line, 0, &info->bios);
        add_smbios_table(line, 1, &info->system);
        for (unsigned b = 0; b < info->base_boards.count; b++) {
            add_smbios_table(line, 2, info->base_boards.item[b]);
        }
        add_smbios_table(line, 3, &info->chassis);
        add_smbios_table(line, 11, &info->oem_strings);
    }
    return true;
}

/* What has no element among the devices, and is one for QEMU. */
static bool add_extras(CommandLine *line, GError **error)
{
    const DomainDef *def = line->def;
    if (def->has_genid) {
        char text[UUID_TEXT_SIZE];
        uuid_format(&def->genid, text);
        line_add(line, "-device", g_strdup_printf("vmgenid,guid=%s,id=vmgenid0", text));
    }
    if (def->features.vmcoreinfo == TRI_YES) {
        line_add(line, "-device", g_strdup("vmcoreinfo"));
    }
    if (def->os.acpi_table) {
        g_autofree char *lent = lent_path(line, def->os.acpi_table, error);
        g_autofree char *path = lent ? line_escape(lent) : NULL;
        if (!path) {
            return false;
        }
        line_add(line, "-acpitable", g_strdup_printf("sig=SLIC,file=%s", path));
    }
    return true;
}

static void add_pm(CommandLine *line)
{
    const DomainDef *def = line->def;
    if (line->engine == ENGINE_QEMU) {
        const char *chip = domain_def_is_q35(def) ? "ICH9-LPC" : "PIIX4_PM";
        if (def->pm_suspend_mem) {
            line_add(line, "-global",
                     g_strdup_printf("%s.disable_s3=%d", chip, def->pm_suspend_mem == TRI_NO));
        }
        if (def->pm_suspend_disk) {
            line_add(line, "-global",
                     g_strdup_printf("%s.disable_s4=%d", chip, def->pm_suspend_disk == TRI_NO));
        }
    }
    line_add(line, "-no-shutdown", NULL);
    if (def->on_reboot == LIFECYCLE_DESTROY) {
        line_add(line, "-no-reboot", NULL);
    }
}

static void add_passthrough(CommandLine *line)
{
    const DomainQemuCommandline *qemu = line->def->qemu;
    for (unsigned i = 0; qemu && i < qemu->args.count; i++) {
        const DomainText *argument = qemu->args.item[i];
        g_ptr_array_add(line->args, g_strdup(argument->text));
    }
    for (unsigned i = 0; qemu && i < qemu->envs.count; i++) {
        const DomainEnv *env = qemu->envs.item[i];
        g_ptr_array_add(line->env, g_strdup_printf("%s=%s", env->name, env->value ?: ""));
    }
}

static bool build(CommandLine *line, int monitor_fd, GError **error)
{
    g_array_append_val(line->fds, monitor_fd);
    if (!line_check_options(line, error)) {
        return false;
    }
    add_name(line);
    line_add(line, "-chardev",
             g_strdup_printf("socket,id=charmonitor,fd=%d,server=on,wait=off", monitor_fd));
    line_add(line, "-mon", g_strdup("chardev=charmonitor,id=monitor,mode=control"));
    if (line->engine == ENGINE_QEMU) {
        add_qemu_machine(line);
    } else if (!add_lodge_machine(line, error)) {
        return false;
    }
    if (line->engine == ENGINE_LODGE && line->def->current_vcpus != line->def->vcpus) {
        return line_refuse(line, error, "vCPUs that come later (<vcpu current='%u'>%u</vcpu>)",
                           line->def->current_vcpus, line->def->vcpus);
    }
    line_add_cpu(line);
    if (!line_add_memory(line, error)) {
        return false;
    }
    add_clock(line);
    add_pm(line);
    line_add_boot(line);
    if (!add_firmware(line, error)) {
        return false;
    }
    if (!add_sysinfo(line, error) || !add_extras(line, error) || !line_add_devices(line, error)) {
        return false;
    }
    if (line->engine == ENGINE_QEMU) {
        line_add(line, "-sandbox",
                 g_strdup("on,obsolete=deny,elevateprivileges=deny,spawn=deny,"
                          "resourcecontrol=deny"));
    }
    line_add(line, "-msg", g_strdup("timestamp=on"));
    add_passthrough(line);
    g_ptr_array_add(line->args, NULL);
    g_ptr_array_add(line->env, NULL);
    return true;
}

static CommandLine *line_new(const DomainDef *def, const CommandLineOps *ops, void *opaque,
                             const char *socket_dir)
{
    CommandLine *line = g_new0(CommandLine, 1);
    line->engine = command_line_engine(def->emulator);
    line->def = def;
    line->ops = ops;
    line->opaque = opaque;
    line->socket_dir = socket_dir;
    line->args = g_ptr_array_new_with_free_func(g_free);
    line->env = g_ptr_array_new_with_free_func(g_free);
    line->fds = g_array_new(FALSE, FALSE, sizeof(int));
    return line;
}

CommandLine *command_line_for_device(DomainDef *def, DomainDevice *device,
                                     const CommandLineOps *ops, void *opaque,
                                     const char *socket_dir, unsigned first_set, GError **error)
{
    CommandLine *line = line_new(def, ops, opaque, socket_dir);
    line->next_set = first_set;
    if (!line_add_device(line, device, error)) {
        command_line_free(line);
        return NULL;
    }
    return line;
}

CommandLine *command_line_build(DomainDef *def, const CommandLineOps *ops, void *opaque,
                                const char *socket_dir, int monitor_fd, GError **error)
{
    iothreads_fill(def);
    CommandLine *line = line_new(def, ops, opaque, socket_dir);
    line->is_whole = true;
    g_ptr_array_add(line->args, g_strdup(def->emulator));
    if (!build(line, monitor_fd, error)) {
        command_line_free(line);
        return NULL;
    }
    return line;
}

void command_line_free(CommandLine *line)
{
    if (line) {
        for (guint i = 0; i < line->fds->len; i++) {
            cleanup_close(&g_array_index(line->fds, int, i));
        }
        g_array_unref(line->fds);
        g_ptr_array_unref(line->args);
        g_ptr_array_unref(line->env);
        g_free(line);
    }
}

/* The list @name, made where it is not there. */
static JsonArray *list_member(JsonObject *object, const char *name)
{
    if (!json_object_has_member(object, name)) {
        json_object_set_array_member(object, name, json_array_new());
    }
    return json_object_get_array_member(object, name);
}

/* The numbers of "N" or "N-M", a part of a checked list of host nodes. */
static void add_range(JsonArray *list, const char *range)
{
    const char *dash = strchr(range, '-');
    gint64 first = g_ascii_strtoll(range, NULL, 10);
    gint64 last = dash ? g_ascii_strtoll(dash + 1, NULL, 10) : first;
    for (gint64 node = first; node <= MIN(last, (gint64)G_MAXUINT16); node++) {
        json_array_add_int_element(list, node);
    }
}

/* A value's JSON type: engines take "on" and digits as strings only for properties of that type. */
static void set_member(JsonObject *object, const char *name, const char *value)
{
    static const char *const texts[] = { "addr", "serial", "name",    "id",
                                         "fd",   "port",   "vhostfd", NULL };
    /* Where a memory module is in the guest's memory is a number; other places are text. */
    bool is_text = g_strv_contains(texts, name) && !json_object_has_member(object, "memdev");
    static const char *const sizes[] = { "size", "align", "hugetlbsize", NULL };
    char *end;
    gint64 number = g_ascii_strtoll(value, &end, 10);
    if (strcmp(name, "hostfwd") == 0) {
        json_array_add_object_element(list_member(object, name), qmp_object("s:str", value, NULL));
    } else if (strcmp(name, "host-nodes") == 0) {
        add_range(list_member(object, name), value);
    } else if (strcmp(end, "k") == 0 && g_strv_contains(sizes, name)) {
        json_object_set_int_member(object, name, number * 1024);
    } else if (strcmp(value, "on") == 0 || strcmp(value, "off") == 0) {
        json_object_set_boolean_member(object, name, value[1] == 'n');
    } else if (*value && !*end && !is_text) {
        json_object_set_int_member(object, name, number);
    } else {
        json_object_set_string_member(object, name, value);
    }
}

JsonObject *command_line_to_qmp(const char *text, const char *first)
{
    JsonObject *object = json_object_new();
    g_autofree char *joined = g_strdup(text);
    GString *word = g_string_new(NULL);
    const char *at = joined;
    for (bool is_first = true;; is_first = false) {
        g_string_truncate(word, 0);
        while (*at && (*at != ',' || at[1] == ',')) {
            at += *at == ',';
            g_string_append_c(word, *at++);
        }
        char *equals = strchr(word->str, '=');
        if (is_first) {
            json_object_set_string_member(object, first, word->str);
        } else if (equals) {
            *equals = 0;
            set_member(object, word->str, equals + 1);
        }
        if (!*at) {
            break;
        }
        at++;
    }
    g_string_free(word, TRUE);
    return object;
}
