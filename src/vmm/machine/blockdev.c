/* -blockdev: nodes of disks by name. Each is a set of options; "file" and "backing" may name one
 * that was given before. A node that no other one names becomes a drive for -device drive=NAME;
 * the nodes that it names are opened with it.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/backend.h"
#include "gbase/error.h"
#include "vmm/machine/internal.h"

#include <fcntl.h>
#include <string.h>

typedef struct NamedSpec {
    char *name;
    BlockSpec *spec; /* references put in */
    bool is_used;    /* by another one */
} NamedSpec;

static void named_spec_free(gpointer object)
{
    NamedSpec *named = object;
    g_free(named->name);
    block_spec_free(named->spec);
    g_free(named);
}

static NamedSpec *find_spec(GPtrArray *specs, const char *name)
{
    for (guint i = 0; i < specs->len; i++) {
        NamedSpec *named = g_ptr_array_index(specs, i);
        if (strcmp(named->name, name) == 0) {
            return named;
        }
    }
    return NULL;
}

/* A walk over the options of one node. */
typedef struct Resolve {
    const Machine *machine;
    GPtrArray *specs;
    BlockSpec *out;
    const char *prefix; /* of the keys of a node that was named */
    bool is_writable, has_failed;
    GError **error;
} Resolve;

static void copy_prefixed(const char *key, const char *value, void *opaque)
{
    Resolve *resolve = opaque;
    g_autofree char *full = g_strdup_printf("%s.%s", resolve->prefix, key);
    block_spec_set(resolve->out, full, value);
}

static bool is_reference(const char *key, const char *value)
{
    const char *last = strrchr(key, '.');
    last = last ? last + 1 : key;
    return *value && (strcmp(last, "file") == 0 || strcmp(last, "backing") == 0);
}

static void put_reference(Resolve *resolve, const char *key, const char *name)
{
    NamedSpec *named = find_spec(resolve->specs, name);
    if (!named || named->is_used) {
        g_set_error(resolve->error, LODGE_ERROR, named ? LODGE_ERROR_BUSY : LODGE_ERROR_NOT_FOUND,
                    named ? "node '%s' is in use already" : "there is no node '%s'", name);
        resolve->has_failed = true;
        return;
    }
    named->is_used = true;
    resolve->prefix = key;
    block_spec_foreach(named->spec, copy_prefixed, resolve);
}

static void put_filename(Resolve *resolve, const char *key, const char *value)
{
    int flags = resolve->is_writable ? O_RDWR : O_RDONLY;
    g_autofree char *path = machine_resolve_path(resolve->machine, value, flags, resolve->error);
    if (path) {
        block_spec_set(resolve->out, key, path);
    } else {
        resolve->has_failed = true;
    }
}

static void put_option(const char *key, const char *value, void *opaque)
{
    Resolve *resolve = opaque;
    if (resolve->has_failed) {
        return;
    }
    if (is_reference(key, value)) {
        put_reference(resolve, key, value);
    } else if (strcmp(key, "filename") == 0 || g_str_has_suffix(key, ".filename")) {
        put_filename(resolve, key, value);
    } else {
        block_spec_set(resolve->out, key, value);
    }
}

static BlockSpec *parse_spec(const char *text, GError **error)
{
    if (*text != '{') {
        return block_spec_from_text(text, error);
    }
    g_autofree char *name = g_strconcat("json:", text, NULL);
    return block_spec_from_name(name, NULL, error);
}

static bool add_spec(const Machine *machine, GPtrArray *specs, const char *text, GError **error)
{
    g_autoptr(BlockSpec) given = parse_spec(text, error);
    if (!given) {
        return false;
    }
    const char *name = block_spec_get(given, "node-name");
    bool is_readonly = false;
    if (!name || !*name || !block_spec_get(given, "driver")) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "'driver' and 'node-name' are needed");
        return false;
    }
    if (find_spec(specs, name)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_EXISTS, "there is a node '%s' already", name);
        return false;
    }
    if (!block_spec_get_bool(given, "read-only", &is_readonly, error)) {
        return false;
    }
    Resolve resolve = { machine, specs, block_spec_new(), NULL, !is_readonly, false, error };
    block_spec_foreach(given, put_option, &resolve);
    if (resolve.has_failed) {
        g_prefix_error(error, "node '%s': ", name);
        block_spec_free(resolve.out);
        return false;
    }
    NamedSpec *named = g_new0(NamedSpec, 1);
    named->name = g_strdup(name);
    named->spec = resolve.out;
    g_ptr_array_add(specs, named);
    return true;
}

static BlockCache cache_of(const BlockSpec *spec)
{
    bool is_direct = false, ignores_flush = false;
    (void)block_spec_get_bool(spec, "cache.direct", &is_direct, NULL);
    (void)block_spec_get_bool(spec, "cache.no-flush", &ignores_flush, NULL);
    return ignores_flush ? BLOCK_CACHE_UNSAFE
           : is_direct   ? BLOCK_CACHE_NONE
                         : BLOCK_CACHE_WRITEBACK;
}

static bool open_spec(Machine *machine, const NamedSpec *named, GError **error)
{
    const char *discard = block_spec_get(named->spec, "discard");
    BlockOptions options = {
        .id = named->name,
        .spec = named->spec,
        .can_discard = discard && strcmp(discard, "unmap") == 0,
        .cache = cache_of(named->spec),
        .on_write_error = BLOCK_ERROR_ENOSPC,
        .on_read_error = BLOCK_ERROR_REPORT,
    };
    return machine_open_drive(machine, &options, error);
}

bool machine_open_blockdevs(Machine *machine, const GPtrArray *texts, GError **error)
{
    g_autoptr(GPtrArray) specs = g_ptr_array_new_with_free_func(named_spec_free);
    bool done = true;
    for (guint i = 0; done && i < texts->len; i++) {
        done = add_spec(machine, specs, g_ptr_array_index(texts, i), error);
    }
    for (guint i = 0; done && i < specs->len; i++) {
        const NamedSpec *named = g_ptr_array_index(specs, i);
        done = named->is_used || open_spec(machine, named, error);
    }
    if (!done) {
        g_prefix_error(error, "-blockdev: ");
    }
    return done;
}
