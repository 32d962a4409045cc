/* The list of drivers, and what is found by a name.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/drivers.h"
#include "block/driver.h"
#include "gbase/error.h"
#include "gbase/strutil.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

const BlockDriver *const block_drivers[] = {
    &block_driver_file,
    &block_driver_luks,
    &block_driver_nbd,
    &block_driver_raw,
    &block_driver_qcow,
    &block_driver_qcow2,
    &block_driver_vdi,
    &block_driver_vhdx,
    &block_driver_vmdk,
    &block_driver_vpc,
    &block_driver_copy_on_read,
    &block_driver_fault,
    &block_driver_throttle,
    &block_driver_null_co,
    &block_driver_null_aio,
    &block_driver_host_device,
    NULL,
};

const BlockDriver *block_driver_find(const char *name)
{
    for (const BlockDriver *const *driver = block_drivers; *driver; driver++) {
        if (strcmp((*driver)->name, name) == 0) {
            return *driver;
        }
    }
    return NULL;
}

const char **block_formats(void)
{
    GPtrArray *names = g_ptr_array_new();
    for (const BlockDriver *const *driver = block_drivers; *driver; driver++) {
        if (!(*driver)->is_protocol && !(*driver)->is_filter) {
            g_ptr_array_add(names, (gpointer)(*driver)->name);
        }
    }
    g_ptr_array_add(names, NULL);
    return (const char **)g_ptr_array_free(names, FALSE);
}

bool block_format_is_known(const char *format)
{
    const BlockDriver *driver = block_driver_find(format);
    return driver && !driver->is_protocol;
}

bool block_format_compresses(const char *format)
{
    const BlockDriver *driver = block_driver_find(format);
    return driver && driver->write_compressed;
}

bool block_format_has_backing(const char *format)
{
    const BlockCreateOption *option = block_create_options(format);
    while (option && option->name && strcmp(option->name, "backing_file") != 0) {
        option++;
    }
    return option && option->name;
}

const char *block_probe(const uint8_t *bytes, size_t length, const char *filename)
{
    const char *best = "raw";
    int certainty = BLOCK_PROBE_NO;
    for (const BlockDriver *const *driver = block_drivers; *driver; driver++) {
        int score = (*driver)->probe ? (*driver)->probe(bytes, length, filename) : BLOCK_PROBE_NO;
        if (score > certainty) {
            certainty = score;
            best = (*driver)->name;
        }
    }
    return best;
}

/* The driver for creating; NULL with @error. */
static const BlockDriver *find_creator(const char *format, GError **error)
{
    const BlockDriver *driver = block_driver_find(format);
    if (!driver || driver->is_protocol) {
        g_autofree const char **names = block_formats();
        g_autofree char *hint = str_suggestion(format, names);
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "Unknown file format '%s'%s",
                    format, hint);
        return NULL;
    }
    if (!driver->create) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "Format driver '%s' does not support image creation", format);
        return NULL;
    }
    return driver;
}

const BlockCreateOption *block_create_options(const char *format)
{
    const BlockDriver *driver = block_driver_find(format);
    return driver && driver->create ? driver->create_options : NULL;
}

typedef struct OptionCheck {
    const BlockDriver *driver;
    GError **error;
    bool ok;
} OptionCheck;

static void check_option(const char *key, const char *value, void *opaque)
{
    OptionCheck *check = opaque;
    if (!check->ok) {
        return;
    }
    const BlockCreateOption *option = check->driver->create_options;
    for (; option->name; option++) {
        if (strcmp(option->name, key) == 0 && !option->is_amend_only) {
            return;
        }
    }
    check->ok = false;
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    for (option = check->driver->create_options; option->name; option++) {
        g_ptr_array_add(names, (gpointer)option->name);
    }
    g_ptr_array_add(names, NULL);
    g_autofree char *hint = str_suggestion(key, (const char *const *)names->pdata);
    g_set_error(check->error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                "Invalid parameter '%s' for format '%s'%s", key, check->driver->name, hint);
}

static bool check_options(const BlockDriver *driver, const BlockSpec *options, GError **error)
{
    OptionCheck check = { driver, error, true };
    block_spec_foreach(options, check_option, &check);
    return check.ok;
}

bool block_create_on_file(const char *format, File *file, const char *name,
                          const BlockSpec *options, GError **error)
{
    const BlockDriver *driver = find_creator(format, error);
    return driver && check_options(driver, options, error) &&
           block_file_prepare(file, name, options, error) &&
           driver->create(file, name, options, error);
}

/* NULL with @error: @name is no file's. */
static const char *path_of_new(const char *name, GError **error)
{
    g_autoptr(BlockSpec) spec = block_spec_from_name(name, NULL, error);
    const char *driver = spec ? block_spec_get(spec, "file.driver") : NULL;
    if (!spec || (driver && strcmp(driver, "file") == 0)) {
        return spec ? block_name_path(name, error) : NULL;
    }
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                "Protocol driver '%s' does not support image creation; make it in a file, or write "
                "to what is there (convert -n)",
                driver ? driver : "json");
    return NULL;
}

static void drop_existing(GPtrArray *paths)
{
    struct stat st;
    for (guint i = paths->len; i-- > 0;) {
        if (lstat(g_ptr_array_index(paths, i), &st) == 0 || errno != ENOENT) {
            g_ptr_array_remove_index(paths, i);
        }
    }
}

GPtrArray *block_create_new_files(const char *format, const char *name, const BlockSpec *options)
{
    GPtrArray *paths = g_ptr_array_new_with_free_func(g_free);
    const BlockDriver *driver = find_creator(format, NULL);
    const char *filename = driver ? path_of_new(name, NULL) : NULL;
    if (filename) {
        g_ptr_array_add(paths, g_strdup(filename));
    }
    if (filename && driver->create_files) {
        driver->create_files(filename, options, paths);
    }
    drop_existing(paths);
    return paths;
}

bool block_create(const char *format, const char *name, const BlockSpec *options, GError **error)
{
    const BlockDriver *driver = find_creator(format, error);
    const char *filename = driver ? path_of_new(name, error) : NULL;
    if (!filename || !check_options(driver, options, error)) {
        return false;
    }
    g_autoptr(GPtrArray) fresh = block_create_new_files(format, name, options);
    bool is_new;
    File *file = block_file_create(filename, &is_new, error);
    if (!file) {
        return false;
    }
    bool ok = block_file_prepare(file, filename, options, error) &&
              driver->create(file, filename, options, error);
    file_close(file);
    for (guint i = 0; i < fresh->len && !ok; i++) {
        const char *path = g_ptr_array_index(fresh, i);
        if (is_new || strcmp(path, filename) != 0) {
            block_file_remove(path);
        }
    }
    return ok;
}

bool block_measure(const char *format, uint64_t size, uint64_t data_bytes, const BlockSpec *options,
                   BlockMeasure *out_measure, GError **error)
{
    const BlockDriver *driver = find_creator(format, error);
    if (!driver || !check_options(driver, options, error)) {
        return false;
    }
    if (!driver->measure) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "Format driver '%s' does not support measurement", format);
        return false;
    }
    *out_measure = (BlockMeasure){ 0 };
    return driver->measure(size, data_bytes, options, out_measure, error);
}

bool block_preallocation_parse(const char *text, BlockPreallocation *out_mode, GError **error)
{
    static const char *const names[] = { "off", "metadata", "falloc", "full", NULL };
    for (unsigned i = 0; names[i]; i++) {
        if (strcmp(names[i], text) == 0) {
            *out_mode = (BlockPreallocation)i;
            return true;
        }
    }
    g_autofree char *hint = str_suggestion(text, names);
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                "Invalid preallocation mode '%s'%s", text, hint);
    return false;
}
