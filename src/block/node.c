/* Nodes: opening of chains, references, facts.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "block/drivers.h"
#include "block/lock.h"
#include "gbase/error.h"
#include "gbase/strutil.h"

#include <errno.h>
#include <string.h>

#define PROBE_BYTES 2048
#define DEPTH_MAX 200 /* layers of a backing chain; one that names itself ends there */
/* Layers further down are left out of messages, which are to be read and end with the file. */
#define LAYERS_NAMED 16

/* Where in a chain a node is opened, and who knows the nodes that are referred to by name. */
typedef struct OpenContext {
    unsigned depth;
    const BlockLookup *lookup; /* NULL: there are none */
} OpenContext;

static BlockNode *open_at(const BlockSpec *spec, unsigned flags, const OpenContext *at,
                          GError **error);

BlockNode *block_node_new(const BlockDriver *driver, const char *filename, unsigned flags)
{
    BlockNode *node = g_new0(BlockNode, 1);
    pthread_rwlockattr_t attributes;
    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&node->lock, &attributes);
    pthread_rwlockattr_destroy(&attributes);
    pthread_mutex_init(&node->bitmaps_lock, NULL);
    node->driver = driver;
    node->filename = g_strdup(filename ? filename : "");
    node->flags = flags;
    node->refs = 1;
    return node;
}

void block_node_free(BlockNode *node)
{
    if (node->bitmaps) {
        g_ptr_array_unref(node->bitmaps);
    }
    pthread_mutex_destroy(&node->bitmaps_lock);
    pthread_rwlock_destroy(&node->lock);
    g_free(node->filename);
    g_free(node->name);
    g_free(node->backing_name);
    g_free(node->backing_format);
    if (node->serial) {
        range_lock_done(node->serial);
        g_free(node->serial);
    }
    g_free(node->claim);
    g_free(node->job);
    block_node_set_write_threshold(node, NULL);
    block_spec_free(node->spec);
    g_free(node);
}

void block_node_set_backing(BlockNode *node, BlockNode *backing)
{
    block_node_unref(node->backing);
    node->backing = backing;
}

BlockNode *block_node_ref(BlockNode *node)
{
    __atomic_add_fetch(&node->refs, 1, __ATOMIC_RELAXED);
    return node;
}

static int close_node(BlockNode *node)
{
    int rc = node->driver->close(node);
    block_node_unref(node->data_file);
    block_node_unref(node->file);
    block_node_unref(node->backing);
    block_node_free(node);
    return rc;
}

int block_node_close(BlockNode *node)
{
    bool is_last = __atomic_sub_fetch(&node->refs, 1, __ATOMIC_ACQ_REL) == 0;
    return is_last ? close_node(node) : 0;
}

void block_node_unref(BlockNode *node)
{
    if (!node || __atomic_sub_fetch(&node->refs, 1, __ATOMIC_ACQ_REL) > 0) {
        return;
    }
    g_autofree char *filename = g_strdup(node->filename);
    int rc = close_node(node);
    if (rc < 0) {
        log_warn("closing '%s' failed: %s", filename, strerror(-rc));
    }
}

/* Opening */

static bool flag_from(const BlockSpec *spec, const char *key, bool sense, unsigned bit,
                      unsigned *flags, GError **error)
{
    bool value = (*flags & bit) != 0;
    value = value == sense;
    if (!block_spec_get_bool(spec, key, &value, error)) {
        return false;
    }
    *flags = value == sense ? *flags | bit : *flags & ~bit;
    return true;
}

bool block_detect_zeroes_from(const BlockSpec *spec, unsigned flags, BlockDetectZeroes *out,
                              GError **error)
{
    static const char *const names[] = { "off", "on", "unmap" };
    const char *value = spec ? block_spec_get(spec, "detect-zeroes") : NULL;
    unsigned choice = 0;
    while (value && choice < G_N_ELEMENTS(names) && strcmp(value, names[choice]) != 0) {
        choice++;
    }
    if (choice == G_N_ELEMENTS(names)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Invalid detect-zeroes option '%s'; supported: off, on, unmap", value);
        return false;
    }
    if (choice == BLOCK_DETECT_ZEROES_UNMAP && !(flags & BLOCK_OPEN_DISCARD)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "setting detect-zeroes to unmap is not allowed without setting discard "
                    "operation to unmap");
        return false;
    }
    *out = choice;
    return true;
}

void block_node_set_detect_zeroes(BlockNode *node, BlockDetectZeroes detect_zeroes)
{
    block_node_lock_alone(node);
    node->detect_zeroes = detect_zeroes;
    pthread_rwlock_unlock(&node->lock);
}

bool block_aio_parse(const char *text, unsigned *flags, GError **error)
{
    static const struct {
        const char *name;
        unsigned flag;
    } modes[] = { { "threads", BLOCK_OPEN_THREADS },
                  { "native", BLOCK_OPEN_NATIVE },
                  { "io_uring", BLOCK_OPEN_URING } };
    for (unsigned i = 0; i < G_N_ELEMENTS(modes); i++) {
        if (strcmp(modes[i].name, text) == 0) {
            *flags = (*flags & ~(unsigned)BLOCK_OPEN_AIO) | modes[i].flag;
            return true;
        }
    }
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                "Invalid aio option '%s'; supported: threads, native, io_uring", text);
    return false;
}

/* Who takes no notice of writers must not be one. */
static bool check_share(unsigned flags, GError **error)
{
    bool ok = !(flags & BLOCK_OPEN_SHARED) || !(flags & BLOCK_OPEN_WRITABLE);
    if (!ok) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "force-share=on can only be used with read-only images; add read-only=on");
    }
    return ok;
}

/* What @spec says itself goes before @flags. */
static bool apply_flags(const BlockSpec *spec, unsigned *flags, GError **error)
{
    const char *discard = block_spec_get(spec, "discard");
    if (discard && (strcmp(discard, "unmap") == 0 || strcmp(discard, "on") == 0)) {
        *flags |= BLOCK_OPEN_DISCARD;
    } else if (discard && (strcmp(discard, "ignore") == 0 || strcmp(discard, "off") == 0)) {
        *flags &= ~(unsigned)BLOCK_OPEN_DISCARD;
    } else if (discard) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Invalid discard option '%s'; supported: ignore, unmap", discard);
        return false;
    }
    const char *locking = block_spec_get(spec, "locking");
    if (locking && strcmp(locking, "off") == 0) {
        *flags |= BLOCK_OPEN_UNLOCKED;
    }
    const char *aio = block_spec_get(spec, "aio");
    if (aio && !block_aio_parse(aio, flags, error)) {
        return false;
    }
    return flag_from(spec, "read-only", false, BLOCK_OPEN_WRITABLE, flags, error) &&
           flag_from(spec, "cache.direct", true, BLOCK_OPEN_DIRECT, flags, error) &&
           flag_from(spec, "cache.no-flush", true, BLOCK_OPEN_NO_FLUSH, flags, error) &&
           flag_from(spec, "force-share", true, BLOCK_OPEN_SHARED, flags, error) &&
           check_share(*flags, error);
}

static const BlockDriver *find_driver(const char *name, GError **error)
{
    const BlockDriver *driver = block_driver_find(name);
    if (!driver) {
        g_autofree const char **names = block_formats();
        g_autofree char *hint = str_suggestion(name, names);
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "Unknown driver '%s'%s", name,
                    hint);
    }
    return driver;
}

static BlockNode *open_protocol(const BlockDriver *driver, const BlockSpec *spec, unsigned flags,
                                const OpenContext *at, GError **error)
{
    bool may_fall_back = false;
    g_autoptr(GError) first = NULL;
    if (!block_spec_get_bool(spec, "auto-read-only", &may_fall_back, error)) {
        return NULL;
    }
    if (may_fall_back && at->lookup && at->depth == 0 && flags & BLOCK_OPEN_WRITABLE) {
        /* On its own nobody writes to it yet; who is put above it says. */
        flags = (flags & ~(unsigned)BLOCK_OPEN_WRITABLE) | BLOCK_OPEN_AUTO;
    }
    BlockNode *node = block_node_new(driver, NULL, flags & ~(unsigned)BLOCK_OPEN_BY_USERS);
    node->name = g_strdup(block_spec_get(spec, "node-name"));
    node->spec = block_spec_copy(spec);
    if (driver->open(node, spec, flags, &first)) {
        return node;
    }
    block_node_free(node);
    if (may_fall_back && flags & BLOCK_OPEN_WRITABLE &&
        g_error_matches(first, LODGE_ERROR, LODGE_ERROR_PERMISSION)) {
        return open_protocol(driver, spec, flags & ~(unsigned)BLOCK_OPEN_WRITABLE, at, error);
    }
    g_propagate_error(error, g_steal_pointer(&first));
    return NULL;
}

/* A node that is there already, referred to by name. (transfer full) */
static BlockNode *refer_to(const char *name, const OpenContext *at, GError **error)
{
    BlockNode *node = NULL;
    if (at->lookup) {
        node = at->lookup->find(at->lookup->opaque, name, error);
    } else {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND, "there is no node '%s'", name);
    }
    return node ? block_node_ref(node) : NULL;
}

static BlockNode *refer_to_file(const BlockSpec *spec, const char *name, unsigned flags,
                                const OpenContext *at, GError **error)
{
    BlockNode *file = refer_to(name, at, error);
    bool wants_write = file && (flags & BLOCK_OPEN_WRITABLE) && !block_node_is_writable(file);
    if (wants_write && !(file->flags & BLOCK_OPEN_AUTO) && block_spec_get(spec, "read-only")) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_PERMISSION, "Block node '%s' is read-only",
                    name);
    } else if (!wants_write || !(file->flags & BLOCK_OPEN_AUTO) ||
               block_reopen(file, file->flags | BLOCK_OPEN_WRITABLE, error)) {
        return file;
    }
    block_node_unref(file);
    return NULL;
}

/* The layer below a format: "file.*", or the image's own "filename". */
static BlockNode *open_below(const BlockSpec *spec, unsigned flags, const OpenContext *at,
                             GError **error)
{
    const char *name = block_spec_get(spec, "file");
    if (name && *name) {
        return refer_to_file(spec, name, flags, at, error);
    }
    g_autoptr(BlockSpec) sub = block_spec_sub(spec, "file");
    const char *filename = block_spec_get(spec, "filename");
    if (!block_spec_has_sub(spec, "file") && filename) {
        block_spec_set(sub, "filename", filename);
    } else if (!block_spec_has_sub(spec, "file")) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "A block device must be specified for \"file\"");
        return NULL;
    }
    if (!block_spec_get(sub, "driver")) {
        block_spec_set(sub, "driver", "file");
    }
    return open_at(sub, flags, &(OpenContext){ MAX(at->depth, 1), at->lookup }, error);
}

static const char *probe_node(BlockNode *file)
{
    uint8_t bytes[PROBE_BYTES] = { 0 };
    size_t length = MIN(file->size, sizeof(bytes));
    if (length && block_child_read(file, 0, bytes, sizeof(bytes)) < 0) {
        return NULL;
    }
    return block_probe(bytes, length, file->filename);
}

static BlockNode *open_backing(const BlockNode *node, const BlockSpec *spec, unsigned flags,
                               const OpenContext *at, GError **error)
{
    g_autoptr(BlockSpec) sub = NULL;
    const char *name = block_spec_get(spec, "backing");
    if (name && *name) {
        return refer_to(name, at, error);
    }
    if (spec && block_spec_has_sub(spec, "backing")) {
        sub = block_spec_sub(spec, "backing");
    } else {
        g_autofree char *path = block_backing_path(node->filename, node->backing_name);
        sub = block_spec_from_name(path, node->backing_format, error);
    }
    if (!sub) {
        return NULL;
    }
    block_spec_set_objects(sub, block_spec_objects(spec));
    unsigned keep = BLOCK_OPEN_SHARED | BLOCK_OPEN_UNLOCKED | BLOCK_OPEN_DIRECT |
                    BLOCK_OPEN_NO_FLUSH | BLOCK_OPEN_NO_DATA | BLOCK_OPEN_AIO | BLOCK_OPEN_BY_USERS;
    BlockNode *backing =
        open_at(sub, flags & keep, &(OpenContext){ at->depth + 1, at->lookup }, error);
    if (!backing && at->depth < LAYERS_NAMED) {
        g_prefix_error(error, "Could not open backing file of '%s': ", node->filename);
    }
    return backing;
}

static bool wants_backing(const BlockNode *node, const BlockSpec *spec, unsigned flags)
{
    const char *backing = spec ? block_spec_get(spec, "backing") : NULL;
    if (!node->driver->has_backing || (flags & BLOCK_OPEN_NO_BACKING) ||
        (backing && *backing == '\0')) {
        return false;
    }
    return node->backing_name || backing || (spec && block_spec_has_sub(spec, "backing"));
}

bool block_node_passes_access(const BlockNode *node)
{
    return node->driver->is_filter || node->driver->file_access;
}

unsigned block_file_access(const BlockNode *node, unsigned flags, unsigned access)
{
    if (node->driver->file_access) {
        return node->driver->file_access(node, access);
    }
    if (node->driver->is_filter) {
        return access;
    }
    unsigned changes = flags & BLOCK_OPEN_WRITABLE ? BLOCK_ACCESS_WRITE | BLOCK_ACCESS_RESIZE : 0;
    unsigned refuses = flags & BLOCK_OPEN_SHARED ? 0 : BLOCK_ACCESS_ALONE | BLOCK_ACCESS_SIZE;
    unsigned passed = access & (BLOCK_ACCESS_HIDDEN | BLOCK_ACCESS_SAME);
    return BLOCK_ACCESS_READ | changes | refuses | passed;
}

bool block_node_add_access(BlockNode *node, unsigned access, GError **error)
{
    while (node->file && block_node_passes_access(node)) {
        node = node->file;
    }
    return !node->driver->set_access ||
           node->driver->set_access(node, node->access | access, error);
}

bool block_check_grow(const BlockNode *top, const BlockNode *base, GError **error)
{
    const BlockNode *at = top, *above = NULL;
    while (at && at != base) {
        above = at;
        at = at->driver->is_filter ? at->file : at->backing;
    }
    if (!above || !above->driver->is_filter || block_node_size(base) >= block_node_size(top)) {
        return true;
    }
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_BUSY,
                "Permission conflict on node '%s': permissions 'resize' are needed by the commit, "
                "as '%s' is larger, and not shared by the filter '%s' above it; take the filter "
                "away, or resize '%s' before",
                base->name ? base->name : base->filename, top->name ? top->name : top->filename,
                above->name ? above->name : above->driver->name, base->filename);
    return false;
}

bool block_keep_size(BlockNode *node, GError **error)
{
    return block_node_add_access(node, BLOCK_ACCESS_SIZE, error);
}

bool block_keep_alone(BlockNode *node, GError **error)
{
    const unsigned access = BLOCK_ACCESS_ALONE | BLOCK_ACCESS_SIZE;
    for (; node; node = node->driver->is_filter ? node->file : node->backing) {
        if (!block_node_add_access(node, access, error) ||
            (node->data_file && !block_node_add_access(node->data_file, access, error))) {
            return false;
        }
    }
    return true;
}

/* What lies in the file below is this format's alone from before its first look on. */
static bool lock_below(const BlockNode *node, const OpenContext *at, GError **error)
{
    if (at->lookup && !at->lookup->may_use(at->lookup->opaque, node, error)) {
        return false;
    }
    return block_node_add_access(node->file, block_file_access(node, node->flags, 0), error);
}

/* What is to hold the data of the image, where that is a node by its name; else the driver opens
 * it.
 */
static bool refer_to_data_file(BlockNode *node, const BlockSpec *spec, unsigned flags,
                               const OpenContext *at, GError **error)
{
    const char *name = spec ? block_spec_get(spec, "data-file") : NULL;
    if (!name || flags & BLOCK_OPEN_NO_DATA) {
        return true;
    }
    node->data_file = refer_to_file(spec, name, flags, at, error);
    node->is_data_named = node->data_file != NULL;
    return node->is_data_named;
}

/* A format over @file (taken, also on failure). */
static BlockNode *open_format(const BlockDriver *driver, BlockNode *file, const BlockSpec *spec,
                              unsigned flags, const OpenContext *at, GError **error)
{
    unsigned own_flags = flags & ~(unsigned)BLOCK_OPEN_BY_USERS;
    BlockNode *node = block_node_new(driver, file->filename, own_flags);
    node->file = file;
    node->spec = spec ? block_spec_copy(spec) : NULL;
    node->name = g_strdup(spec ? block_spec_get(spec, "node-name") : NULL);
    if ((flags & BLOCK_OPEN_WRITABLE) && !driver->write) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "Could not open '%s': format '%s' can be read only", node->filename,
                    driver->name);
    } else if (!refer_to_data_file(node, spec, flags, at, error) || !lock_below(node, at, error)) {
        /* The error names the file. */
    } else if (block_detect_zeroes_from(spec, flags, &node->detect_zeroes, error) &&
               driver->open(node, spec, own_flags, error)) {
        if (!wants_backing(node, spec, flags)) {
            return node;
        }
        node->backing = open_backing(node, spec, flags, at, error);
        if (node->backing) {
            return node;
        }
        block_node_unref(node);
        return NULL;
    } else {
        g_prefix_error(error, "Could not open '%s': ", node->filename);
    }
    block_node_unref(node->data_file);
    block_node_unref(file);
    block_node_free(node);
    return NULL;
}

static BlockNode *open_at(const BlockSpec *spec, unsigned flags, const OpenContext *at,
                          GError **error)
{
    const char *format = block_spec_get(spec, "driver");
    const BlockDriver *driver = NULL;
    if (at->depth > DEPTH_MAX) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT,
                    "the backing chain is longer than %u images, or names itself", DEPTH_MAX);
        return NULL;
    }
    if (!apply_flags(spec, &flags, error) || (format && !(driver = find_driver(format, error))) ||
        (driver && !block_spec_check_keys(spec, driver, error))) {
        return NULL;
    }
    if (driver && driver->is_protocol) {
        return open_protocol(driver, spec, flags, at, error);
    }
    BlockNode *file = open_below(spec, flags | BLOCK_OPEN_DISCARD, at, error);
    if (!file) {
        return NULL;
    }
    if (!driver) {
        format = probe_node(file);
        driver = format ? block_driver_find(format) : NULL;
        if (!driver) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_IO, "Could not read '%s' for its format",
                        file->filename);
            block_node_unref(file);
            return NULL;
        }
        if (!block_spec_check_keys(spec, driver, error)) {
            block_node_unref(file);
            return NULL;
        }
    }
    if (!block_node_is_writable(file)) {
        flags &= ~(unsigned)BLOCK_OPEN_WRITABLE;
    }
    BlockNode *node = open_format(driver, file, spec, flags, at, error);
    if (node) {
        node->was_probed = block_spec_get(spec, "driver") == NULL;
    }
    return node;
}

BlockNode *block_open(const BlockSpec *spec, unsigned flags, GError **error)
{
    return open_at(spec, flags, &(OpenContext){ 0, NULL }, error);
}

BlockNode *block_open_with(const BlockSpec *spec, unsigned flags, const BlockLookup *lookup,
                           GError **error)
{
    return open_at(spec, flags, &(OpenContext){ 0, lookup }, error);
}

BlockNode *block_open_file(File *file, const char *name, const char *format, unsigned flags,
                           GError **error)
{
    const BlockDriver *driver = find_driver(format, error);
    BlockNode *below =
        driver ? block_file_node(file, name, flags | BLOCK_OPEN_DISCARD, error) : NULL;
    if (!below) {
        file_close(file);
        return NULL;
    }
    return open_format(driver, below, NULL, flags, &(OpenContext){ 0, NULL }, error);
}

char *block_backing_path(const char *image, const char *backing)
{
    const char *colon = strchr(backing, ':');
    const char *slash = strchr(backing, '/');
    bool has_protocol = colon && (!slash || colon < slash);
    if (g_path_is_absolute(backing) || has_protocol) {
        return g_strdup(backing);
    }
    g_autofree char *folder = g_path_get_dirname(image);
    return strcmp(folder, ".") == 0 && !g_str_has_prefix(image, "./")
               ? g_strdup(backing)
               : g_build_filename(folder, backing, NULL);
}

/* Facts */

const char *block_node_driver(const BlockNode *node)
{
    return node->driver->name;
}

const char *block_node_filename(const BlockNode *node)
{
    return node->filename;
}

const char *block_node_name(const BlockNode *node)
{
    return node->name;
}

BlockNode *block_skip_filters(BlockNode *node)
{
    while (node && node->driver->is_filter) {
        node = node->file;
    }
    return node;
}

uint64_t block_node_size(const BlockNode *node)
{
    if (node->driver->is_filter) {
        return block_node_size(node->file);
    }
    return __atomic_load_n(&node->size, __ATOMIC_RELAXED);
}

unsigned block_node_flags(const BlockNode *node)
{
    return node->flags;
}

bool block_node_is_writable(const BlockNode *node)
{
    return node->flags & BLOCK_OPEN_WRITABLE;
}

bool block_node_was_probed(const BlockNode *node)
{
    return node->was_probed;
}

BlockNode *block_node_file(const BlockNode *node)
{
    return node->file;
}

BlockNode *block_node_backing(const BlockNode *node)
{
    return node->backing;
}

BlockNode *block_node_data_file(const BlockNode *node)
{
    return node->data_file;
}

unsigned block_node_granularity(const BlockNode *node)
{
    return node->driver->granularity ? node->driver->granularity(node) : 512;
}

int block_node_disk_usage(BlockNode *node, uint64_t *out_bytes)
{
    if (node->driver->disk_usage) {
        return node->driver->disk_usage(node, out_bytes);
    }
    return node->file ? block_node_disk_usage(node->file, out_bytes) : -ENOTSUP;
}
