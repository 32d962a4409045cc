/* Back ends of the command line: disks, networks, character devices.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "block/backend.h"
#include "gbase/error.h"
#include "gbase/fd-sets.h"
#include "gbase/strutil.h"
#include "vmm/char/char.h"
#include "vmm/char/mux.h"
#include "vmm/machine/inspect.h"
#include "vmm/machine/internal.h"
#include "vmm/machine/user-objects.h"
#include "vmm/net/net.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

char *machine_resolve_path(const Machine *machine, const char *path, int flags, GError **error)
{
    return fd_sets_resolve(machine->fds, path, flags, error);
}

/* From here on the sets own the descriptors. */
bool machine_take_passed_fds(Machine *machine, GError **error)
{
    const GPtrArray *fds = machine->config->fds;
    for (guint i = 0; i < fds->len; i++) {
        const FdConfig *config = g_ptr_array_index(fds, i);
        int fd = fcntl((int)config->fd, F_DUPFD_CLOEXEC, 3);
        if (fd < 0) {
            lodge_error_set_errno(error, errno, "-add-fd: descriptor %d", (int)config->fd);
            return false;
        }
        close((int)config->fd);
        if (fd_sets_add(machine->fds, (int64_t)config->set, fd, config->note, error) < 0) {
            g_prefix_error(error, "-add-fd: ");
            return false;
        }
    }
    return true;
}

/* Sets each pair by @set, which knows the class's @table: "nowait" there means wait=off. */
static bool apply_options(const KeyvalList *options, const Property *table, void *object,
                          bool (*set)(void *object, const char *name, const char *value,
                                      GError **error),
                          GError **error)
{
    for (guint i = 0; i < options->pairs->len; i++) {
        const Keyval *pair = g_ptr_array_index(options->pairs, i);
        bool is_negated = pair->is_bare && g_str_has_prefix(pair->key, "no") &&
                          !property_find(table, pair->key) && property_find(table, pair->key + 2);
        if (!set(object, is_negated ? pair->key + 2 : pair->key, is_negated ? "off" : pair->value,
                 error)) {
            return false;
        }
    }
    return true;
}

/* Drives */

static void on_block_error(void *opaque, BlockBackend *backend, bool is_write,
                           BlockErrorAction action, int error)
{
    machine_block_error(opaque,
                        &(MachineEvent){ .kind = MACHINE_EVENT_BLOCK_IO_ERROR,
                                         .drive = block_backend_id(backend),
                                         .node = block_node_name(block_backend_node(backend)),
                                         .is_write = is_write,
                                         .is_stop = action == BLOCK_ERROR_STOP,
                                         .is_ignored = action == BLOCK_ERROR_IGNORE,
                                         .no_space = error == ENOSPC || error == EDQUOT,
                                         .error = error });
}

static BlockErrorAction error_action(uint32_t choice, BlockErrorAction fallback)
{
    switch ((DriveErrorAction)choice) {
    case DRIVE_ERROR_REPORT:
        return BLOCK_ERROR_REPORT;
    case DRIVE_ERROR_IGNORE:
        return BLOCK_ERROR_IGNORE;
    case DRIVE_ERROR_STOP:
        return BLOCK_ERROR_STOP;
    case DRIVE_ERROR_ENOSPC:
        return BLOCK_ERROR_ENOSPC;
    case DRIVE_ERROR_DEFAULT:
        break;
    }
    return fallback;
}

static BlockCache cache_mode(uint32_t choice)
{
    static const BlockCache modes[] = { BLOCK_CACHE_WRITEBACK, BLOCK_CACHE_NONE,
                                        BLOCK_CACHE_WRITETHROUGH, BLOCK_CACHE_DIRECTSYNC,
                                        BLOCK_CACHE_UNSAFE };
    return modes[choice];
}

static void free_drive(void *object)
{
    block_backend_close(object);
}

bool machine_open_drive(Machine *machine, const BlockOptions *options, GError **error)
{
    BlockOptions in_graph = *options;
    in_graph.is_in_graph = true;
    BlockBackend *backend = block_backend_open(&in_graph, machine->loop, error);
    if (!backend) {
        return false;
    }
    block_backend_set_error_hook(backend, on_block_error, machine);
    block_graph_add_backend(machine->graph, backend);
    if (!block_graph_update_access(machine->graph, block_backend_node(backend), error)) {
        block_graph_remove_backend(machine->graph, backend);
        block_backend_close(backend);
        return false;
    }
    /* The node's name may be another node's one day: devices do not find the drive by it. */
    g_autofree char *name = g_strconcat(options->is_anonymous ? "#" : "", options->id, NULL);
    machine_add_backend(machine, "drive", name, backend, free_drive);
    return true;
}

/* A drive with limits has a group of its own name unless it is in another. */
static bool apply_limits(Machine *machine, const DriveConfig *config, GError **error)
{
    BlockBackend *backend = machine_find_backend(machine, "drive", config->id)->object;
    bool is_active = throttle_config_is_active(&config->limits);
    const char *group = config->limits_group ? config->limits_group : config->id;
    if (!config->limits_group && !is_active) {
        return true;
    }
    if (!machine_join_limits(machine, backend, NULL, group, error)) {
        return false;
    }
    if (is_active) {
        block_backend_set_throttle(backend, &config->limits);
    }
    return true;
}

/* What file=json:{...} describes, with the descriptors of sets in it. (transfer full) */
static BlockSpec *drive_spec(const Machine *machine, const DriveConfig *config, GError **error)
{
    g_autoptr(BlockSpec) given = block_spec_from_name(config->file, config->format, error);
    if (given && config->readonly) {
        block_spec_set(given, "read-only", "on");
    }
    return given ? machine_resolve_spec(machine, given, error) : NULL;
}

static bool add_drive(Machine *machine, const DriveConfig *config, GError **error)
{
    bool is_tree = config->file && g_str_has_prefix(config->file, "json:");
    g_autoptr(BlockSpec) spec = is_tree ? drive_spec(machine, config, error) : NULL;
    g_autofree char *path = is_tree
                                ? NULL
                                : machine_resolve_path(machine, config->file,
                                                       config->readonly ? O_RDONLY : O_RDWR, error);
    if (!path && !spec) {
        g_prefix_error(error, "-drive: ");
        return false;
    }
    BlockOptions options = {
        .id = config->id,
        .path = path,
        .format = config->format,
        .spec = spec,
        .objects = machine->block_objects,
        .aio = config->aio ? drive_aios[config->aio] : NULL,
        .detect_zeroes = drive_detect_zeroes[config->detect_zeroes],
        .is_readonly = config->readonly,
        .copies_up = config->copies_on_read,
        .can_discard =
            config->discard == DRIVE_DISCARD_UNMAP || config->discard == DRIVE_DISCARD_ON,
        .cache = cache_mode(config->cache),
        .on_write_error = error_action(config->werror, BLOCK_ERROR_ENOSPC),
        .on_read_error = error_action(config->rerror, BLOCK_ERROR_REPORT),
    };
    if (!machine_open_drive(machine, &options, error) || !apply_limits(machine, config, error)) {
        g_prefix_error(error, "-drive: ");
        return false;
    }
    return true;
}

bool machine_add_drive(Machine *machine, const BackendConfig *config, GError **error)
{
    DriveConfig *drive = drive_config_new(config->id, config->options, error);
    bool ok = drive && add_drive(machine, drive, error);
    g_clear_pointer(&drive, drive_config_free);
    return ok;
}

/* Character devices */

static bool set_char_property(void *object, const char *name, const char *value, GError **error)
{
    return char_set_property(object, name, value, error);
}

static void free_char(void *object)
{
    char_free(object);
}

static void free_mux(void *object)
{
    char_mux_free(object);
}

static void mux_quit(void *opaque)
{
    machine_quit(opaque, CAUSE_HOST_SIGNAL, 0);
}

static void mux_flush(void *opaque)
{
    machine_flush_drives(opaque);
}

/* A path that names a passed descriptor becomes one that opens it. */
static bool add_char_option(const Machine *machine, KeyvalList *options, const Keyval *pair,
                            GError **error)
{
    static const struct {
        const char *key;
        int flags;
    } paths[] = { { "path", O_WRONLY }, { "input-path", O_RDONLY }, { "logfile", O_WRONLY } };
    g_autofree char *value = g_strdup(pair->value);
    for (unsigned i = 0; i < G_N_ELEMENTS(paths); i++) {
        if (!strcmp(pair->key, paths[i].key)) {
            g_free(value);
            value = machine_resolve_path(machine, pair->value, paths[i].flags, error);
        }
    }
    if (!value) {
        return false;
    }
    keyval_add(options, pair->key, value);
    Keyval *last = g_ptr_array_index(options->pairs, options->pairs->len - 1);
    last->is_bare = pair->is_bare;
    return true;
}

bool machine_add_chardev(Machine *machine, const BackendConfig *config, GError **error)
{
    const CharClass *class = char_class_find(config->type, error);
    if (!class) {
        g_prefix_error(error, "-chardev: ");
        return false;
    }
    g_autoptr(KeyvalList) options = keyval_list_new();
    bool is_mux = false;
    for (guint i = 0; i < config->options->pairs->len; i++) {
        const Keyval *pair = g_ptr_array_index(config->options->pairs, i);
        if (strcmp(pair->key, "mux") == 0) {
            is_mux = !strcmp(pair->value, "on");
        } else if (!add_char_option(machine, options, pair, error)) {
            g_prefix_error(error, "chardev '%s': ", config->id);
            return false;
        }
    }
    CharBackend *backend = char_new(class, config->id);
    if (!apply_options(options, class->properties, backend, set_char_property, error) ||
        !char_open(backend, machine->loop, error)) {
        char_free(backend);
        return false;
    }
    if (is_mux) {
        const CharMuxTarget target = { mux_quit, mux_flush, machine };
        CharMux *mux = char_mux_new(backend, &target);
        machine_add_backend(machine, "mux", config->id, mux, free_mux);
    } else {
        machine_add_backend(machine, "chardev", config->id, backend, free_char);
    }
    return true;
}

/* Networks */

static bool set_net_property(void *object, const char *name, const char *value, GError **error)
{
    return net_set_property(object, name, value, error);
}

static void free_net(void *object)
{
    net_free(object);
}

bool machine_add_netdev(Machine *machine, const BackendConfig *config, GError **error)
{
    const NetClass *class = net_class_find(config->type, error);
    if (!class) {
        g_prefix_error(error, "-netdev: ");
        return false;
    }
    NetBackend *backend = net_new(class, config->id);
    if (!apply_options(config->options, class->properties, backend, set_net_property, error) ||
        !net_open(backend, machine->loop, error)) {
        net_free(backend);
        return false;
    }
    machine_add_backend(machine, "netdev", config->id, backend, free_net);
    return true;
}

bool machine_build_backends(Machine *machine, GError **error)
{
    const MachineConfig *config = machine->config;
    for (guint i = 0; i < config->objects->len; i++) {
        if (!machine_add_object(machine, g_ptr_array_index(config->objects, i), error)) {
            return false;
        }
    }
    if (!machine_open_blockdevs(machine, config->blockdevs, error)) {
        return false;
    }
    for (guint i = 0; i < config->drives->len; i++) {
        if (!add_drive(machine, g_ptr_array_index(config->drives, i), error)) {
            return false;
        }
    }
    for (guint i = 0; i < config->netdevs->len; i++) {
        if (!machine_add_netdev(machine, g_ptr_array_index(config->netdevs, i), error)) {
            return false;
        }
    }
    for (guint i = 0; i < config->chardevs->len; i++) {
        if (!machine_add_chardev(machine, g_ptr_array_index(config->chardevs, i), error)) {
            return false;
        }
    }
    return true;
}
