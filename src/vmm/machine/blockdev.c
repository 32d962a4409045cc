/* -blockdev: nodes of disks by name, in the machine's graph. A device whose drive=NAME names a node
 * gets a back end of its own on it, which goes with the device.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/backend.h"
#include "gbase/error.h"
#include "vmm/machine/inspect.h"
#include "vmm/machine/internal.h"

#include <fcntl.h>
#include <string.h>

/* A walk over the options of a node. */
typedef struct Resolve {
    const Machine *machine;
    BlockSpec *out;
    int flags; /* O_... of files */
    bool has_failed;
    GError **error;
} Resolve;

static void put_option(const char *key, const char *value, void *opaque)
{
    Resolve *resolve = opaque;
    if (resolve->has_failed) {
        return;
    }
    if (strcmp(key, "filename") != 0 && !g_str_has_suffix(key, ".filename")) {
        block_spec_set(resolve->out, key, value);
        return;
    }
    /* Backing files are only read. */
    bool is_backing = g_str_has_prefix(key, "backing.") || strstr(key, ".backing.");
    g_autofree char *path = machine_resolve_path(
        resolve->machine, value, is_backing ? O_RDONLY : resolve->flags, resolve->error);
    if (path) {
        block_spec_set(resolve->out, key, path);
    } else {
        resolve->has_failed = true;
    }
}

BlockSpec *machine_resolve_spec(const Machine *machine, const BlockSpec *spec, GError **error)
{
    bool is_readonly = false;
    if (!block_spec_get_bool(spec, "read-only", &is_readonly, error)) {
        return NULL;
    }
    Resolve resolve = { machine, block_spec_new(), is_readonly ? O_RDONLY : O_RDWR, false, error };
    block_spec_set_objects(resolve.out, machine->block_objects);
    block_spec_foreach(spec, put_option, &resolve);
    if (resolve.has_failed) {
        g_clear_pointer(&resolve.out, block_spec_free);
    }
    return resolve.out;
}

static BlockSpec *parse_spec(const char *text, GError **error)
{
    if (*text != '{') {
        return block_spec_from_text(text, error);
    }
    g_autofree char *name = g_strconcat("json:", text, NULL);
    return block_spec_from_name(name, NULL, error);
}

static bool add_node(const Machine *machine, const char *text, GError **error)
{
    g_autoptr(BlockSpec) given = parse_spec(text, error);
    if (!given) {
        return false;
    }
    if (!block_spec_get(given, "node-name") || !block_spec_get(given, "driver")) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "'driver' and 'node-name' are needed");
        return false;
    }
    g_autoptr(BlockSpec) spec = machine_resolve_spec(machine, given, error);
    if (!spec || !block_graph_add(machine->graph, spec, error)) {
        g_prefix_error(error, "node '%s': ", block_spec_get(given, "node-name"));
        return false;
    }
    return true;
}

bool machine_open_blockdevs(Machine *machine, const GPtrArray *texts, GError **error)
{
    for (guint i = 0; i < texts->len; i++) {
        if (!add_node(machine, g_ptr_array_index(texts, i), error)) {
            g_prefix_error(error, "-blockdev: ");
            return false;
        }
    }
    return true;
}

static BlockCache cache_of(unsigned flags)
{
    return flags & BLOCK_OPEN_NO_FLUSH ? BLOCK_CACHE_UNSAFE
           : flags & BLOCK_OPEN_DIRECT ? BLOCK_CACHE_NONE
                                       : BLOCK_CACHE_WRITEBACK;
}

bool machine_shares_writes(const Device *dev)
{
    const Property *property = property_find(dev->class->properties, "share-rw");
    return property && *(const bool *)((const char *)dev + property->offset);
}

MachineBackend *machine_open_node_drive(Machine *machine, const MachineDevice *user,
                                        const char *name, GError **error)
{
    BlockNode *node = block_graph_find(machine->graph, name, NULL);
    bool is_shared = user && machine_shares_writes(user->device);
    if (!node || (block_node_is_writable(node) && !block_node_check_unclaimed(node, error))) {
        return NULL;
    }
    unsigned flags = block_node_flags(node);
    BlockOptions options = {
        .id = name,
        .device = user ? user->device->id : NULL,
        .node = node,
        .is_anonymous = true,
        .is_shared = is_shared,
        .can_discard = flags & BLOCK_OPEN_DISCARD,
        .cache = cache_of(flags),
        .on_write_error = BLOCK_ERROR_ENOSPC,
        .on_read_error = BLOCK_ERROR_REPORT,
    };
    return machine_open_drive(machine, &options, error)
               ? g_ptr_array_index(machine->backends, machine->backends->len - 1)
               : NULL;
}
