/* Life of a machine configuration, and the checks between options.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/options/config.h"

#include "base/int-math.h"
#include "gbase/error.h"
#include "vmm/options/table.h"

#include <string.h>

#define RAM_DEFAULT (128 * MIB)

MachineConfig *machine_config_new(void)
{
    MachineConfig *config = g_new0(MachineConfig, 1);
    config->machine.dumps_core = true;
    config->machine.merges_pages = true;
    config->machine.has_hpet = true;
    config->machine.has_acpi = true;
    config->machine.has_isa_serial = true;
    config->accel.uses_jit = true;
    config->accel.host_bmi2 = true;
    config->accel.host_fsgsbase = true;
    config->boot_strict = false;
    config->smbios.oem_strings = g_ptr_array_new_with_free_func(g_free);
    config->drives = g_ptr_array_new_with_free_func(drive_config_free);
    config->blockdevs = g_ptr_array_new_with_free_func(g_free);
    config->netdevs = g_ptr_array_new_with_free_func(backend_config_free);
    config->chardevs = g_ptr_array_new_with_free_func(backend_config_free);
    config->objects = g_ptr_array_new_with_free_func(backend_config_free);
    config->devices = g_ptr_array_new_with_free_func(device_config_free);
    config->serials = g_ptr_array_new_with_free_func(g_free);
    config->monitors = g_ptr_array_new_with_free_func(monitor_config_free);
    config->globals = g_ptr_array_new_with_free_func(global_config_free);
    config->fds = g_ptr_array_new_with_free_func(fd_config_free);
    return config;
}

static void free_strings(void *strings, size_t size)
{
    for (char **s = strings; (char *)s < (char *)strings + size; s++) {
        g_free(*s);
    }
}

static void free_arrays(MachineConfig *config)
{
    GPtrArray *arrays[] = { config->drives,   config->netdevs,
                            config->chardevs, config->objects,
                            config->devices,  config->serials,
                            config->monitors, config->globals,
                            config->fds,      config->smbios.oem_strings,
                            config->blockdevs };
    for (unsigned i = 0; i < G_N_ELEMENTS(arrays); i++) {
        g_ptr_array_unref(arrays[i]);
    }
}

void machine_config_free(MachineConfig *config)
{
    if (!config) {
        return;
    }
    free_arrays(config);
    free_strings(&config->smbios, offsetof(SmbiosConfig, oem_strings));
    for (unsigned i = 0; i < config->accel.count; i++) {
        g_free(config->accel.name[i]);
    }
    char *strings[] = {
        config->help_name,     config->machine.type,
        config->machine.accel, config->machine.memory_backend,
        config->cpu,           config->name,
        config->process_name,  config->rtc.base_text,
        config->boot_order,    config->boot_once,
        config->kernel,        config->initrd,
        config->append,        config->bios,
        config->gdb,           config->pidfile,
    };
    free_strings(strings, sizeof(strings));
    g_free(config);
}

BackendConfig *backend_config_new(const char *type, const char *id)
{
    BackendConfig *backend = g_new0(BackendConfig, 1);
    backend->type = g_strdup(type);
    backend->id = g_strdup(id);
    backend->options = keyval_list_new();
    return backend;
}

void backend_config_free(gpointer object)
{
    BackendConfig *backend = object;
    g_free(backend->type);
    g_free(backend->id);
    keyval_list_free(backend->options);
    g_free(backend);
}

DeviceConfig *device_config_new(const char *driver, const char *id)
{
    DeviceConfig *device = g_new0(DeviceConfig, 1);
    device->driver = g_strdup(driver);
    device->id = g_strdup(id);
    device->properties = keyval_list_new();
    return device;
}

void device_config_free(gpointer object)
{
    DeviceConfig *device = object;
    g_free(device->driver);
    g_free(device->id);
    keyval_list_free(device->properties);
    g_free(device);
}

BackendConfig *option_find_backend(const GPtrArray *array, const char *id)
{
    for (guint i = 0; i < array->len; i++) {
        BackendConfig *backend = g_ptr_array_index(array, i);
        if (backend->id && !strcmp(backend->id, id)) {
            return backend;
        }
    }
    return NULL;
}

bool option_add_backend(GPtrArray *array, const char *what, char *type, KeyvalList *options,
                        bool needs_id, GError **error)
{
    BackendConfig *backend = g_new0(BackendConfig, 1);
    backend->type = type;
    backend->options = options;
    backend->id = keyval_take(options, "id");
    if (needs_id && !(backend->id && *backend->id)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "%s needs a name: id=NAME",
                    what);
        backend_config_free(backend);
        return false;
    }
    if (backend->id && option_find_backend(array, backend->id)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_EXISTS, "there is a %s '%s' already", what,
                    backend->id);
        backend_config_free(backend);
        return false;
    }
    g_ptr_array_add(array, backend);
    return true;
}

/* -smp: what was left out follows from the rest, cores first of all. */
static bool finish_smp(SmpConfig *smp, GError **error)
{
    bool has_topology = smp->sockets || smp->dies || smp->cores || smp->threads;
    uint64_t total = smp->maxcpus ? smp->maxcpus : smp->cpus;
    uint64_t given = (smp->sockets ? smp->sockets : 1) * (smp->dies ? smp->dies : 1) *
                     (smp->cores ? smp->cores : 1) * (smp->threads ? smp->threads : 1);
    if (!total) {
        total = has_topology ? given : 1;
    }
    if (smp->cores == 0 && total % given == 0) {
        smp->cores = total / given;
    } else if (smp->sockets == 0 && total % given == 0) {
        smp->sockets = total / given;
    }
    smp->sockets = smp->sockets ? smp->sockets : 1;
    smp->dies = smp->dies ? smp->dies : 1;
    smp->cores = smp->cores ? smp->cores : 1;
    smp->threads = smp->threads ? smp->threads : 1;
    uint64_t product = smp->sockets * smp->dies * smp->cores * smp->threads;
    smp->cpus = smp->cpus ? smp->cpus : total;
    smp->maxcpus = smp->maxcpus ? smp->maxcpus : total;
    if (product != smp->maxcpus) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "-smp: sockets %" G_GUINT64_FORMAT " * dies %" G_GUINT64_FORMAT
                    " * cores %" G_GUINT64_FORMAT " * threads %" G_GUINT64_FORMAT
                    " do not make %" G_GUINT64_FORMAT " vCPUs",
                    smp->sockets, smp->dies, smp->cores, smp->threads, smp->maxcpus);
        return false;
    }
    if (smp->maxcpus > CONFIG_VCPUS_MAX) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT,
                    "-smp: %" G_GUINT64_FORMAT " vCPUs are too many; the most is %d", smp->maxcpus,
                    CONFIG_VCPUS_MAX);
        return false;
    }
    if (smp->maxcpus != smp->cpus) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "-smp: maxcpus %" G_GUINT64_FORMAT " differs from cpus %" G_GUINT64_FORMAT
                    "; adding vCPUs later is not supported",
                    smp->maxcpus, smp->cpus);
        return false;
    }
    return true;
}

static bool finish_boot(const MachineConfig *config, GError **error)
{
    const char *lonely = config->initrd ? "-initrd" : config->append ? "-append" : NULL;
    if (lonely && !config->kernel) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG, "%s needs a kernel: -kernel FILE",
                    lonely);
        return false;
    }
    return true;
}

/* A process in the background has no terminal. */
static bool check_daemonize(const MachineConfig *config, GError **error)
{
    for (guint i = 0; config->daemonize && i < config->chardevs->len; i++) {
        const BackendConfig *chardev = g_ptr_array_index(config->chardevs, i);
        if (!strcmp(chardev->type, "stdio")) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                        "-daemonize: '%s' needs the terminal (stdio)", chardev->id);
            return false;
        }
    }
    return true;
}

static void finish_accel(MachineConfig *config)
{
    if (!config->accel.count) {
        config->accel.name[0] = g_strdup("kvm");
        config->accel.name[1] = g_strdup("xlate");
        config->accel.count = 2;
    }
}

/* What a guest gets without -nodefaults: a network card, and a console on the terminal when that
 * is where the user looks. */
static bool finish_defaults(MachineConfig *config, GError **error)
{
    bool has_terminal = config->is_nographic || (!config->has_display_option && !config->daemonize);
    if (config->no_defaults && !config->is_nographic) {
        return true;
    }
    if (has_terminal && !config->serials->len) {
        char *id = chardev_shorthand(config, "mon:stdio", "serial0", error);
        if (!id) {
            return false;
        }
        g_ptr_array_add(config->serials, id);
    }
    if (!config->no_defaults && !config->has_net_option) {
        g_ptr_array_add(config->netdevs, backend_config_new("user", "net-default"));
        DeviceConfig *nic = device_config_new("default-nic", NULL);
        keyval_add(nic->properties, "netdev", "net-default");
        g_ptr_array_add(config->devices, nic);
    }
    return true;
}

bool options_finish(MachineConfig *config, GError **error)
{
    if (!config->machine.type) {
        config->machine.type = g_strdup("q35");
    }
    if (!config->ram_bytes) {
        config->ram_bytes = RAM_DEFAULT;
    }
    finish_accel(config);
    return finish_smp(&config->smp, error) && finish_boot(config, error) &&
           finish_defaults(config, error) && check_daemonize(config, error);
}
