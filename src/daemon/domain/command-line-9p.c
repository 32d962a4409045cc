/* Arguments of folders of the host that a guest mounts: 9P, served by the engine itself.
 * Left out: virtiofs, and file systems that only containers have.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/command-line-private.h"
#include "daemon/domain/device-table.h"
#include "daemon/error.h"

#include <string.h>

#define MOUNT_TAG_MAX 31u /* bytes: QEMU's limit */

/* What keeps a definition from being served; false with @error. */
static bool check(const CommandLine *line, const DomainFilesystem *fs, GError **error)
{
    DomainFsDriver driver = fs->driver ? fs->driver : FS_DRIVER_PATH;
    if (fs->type != FS_MOUNT ||
        !device_table_word(PROPERTY_FILESYSTEM, (int)driver, line->engine)) {
        return line_refuse_unless(
            line,
            fs->type == FS_MOUNT && device_table_has(PROPERTY_FILESYSTEM, (int)driver, ENGINE_QEMU),
            error, "device <filesystem type='%s'> with <driver type='%s'>",
            domain_name(fs_type, fs->type), domain_name(fs_driver, driver));
    }
    if (!fs->source_dir) {
        daemon_error_set(error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
                         "unsupported configuration: <filesystem> '%s' has no <source dir='...'>",
                         fs->target_dir);
        return false;
    }
    if (strlen(fs->target_dir) > MOUNT_TAG_MAX) {
        daemon_error_set(error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
                         "unsupported configuration: the name of <filesystem> '%s', <target dir>, "
                         "has more than %u bytes",
                         fs->target_dir, MOUNT_TAG_MAX);
        return false;
    }
    return true;
}

static void add_back_end(CommandLine *line, const DomainFilesystem *fs)
{
    static const char *const security[] = { [FS_ACCESS_NONE] = "passthrough",
                                            [FS_ACCESS_PASSTHROUGH] = "passthrough",
                                            [FS_ACCESS_MAPPED] = "mapped",
                                            [FS_ACCESS_SQUASH] = "none" };
    g_autofree char *path = line_escape(fs->source_dir);
    GString *text = g_string_new(NULL);
    g_string_printf(text, "%s,security_model=%s",
                    device_table_word(PROPERTY_FILESYSTEM, FS_DRIVER_PATH, line->engine),
                    security[fs->access]);
    if (fs->multidevs) {
        g_string_append_printf(text, ",multidevs=%s", domain_name(fs_multidevs, fs->multidevs));
    }
    if (fs->fmode) {
        g_string_append_printf(text, ",fmode=%s", fs->fmode);
    }
    if (fs->dmode) {
        g_string_append_printf(text, ",dmode=%s", fs->dmode);
    }
    if (fs->wrpolicy) {
        g_string_append_printf(text, ",writeout=%s", domain_name(fs_wrpolicy, fs->wrpolicy));
    }
    g_string_append_printf(text, ",id=fsdev-%s,path=%s%s", fs->device.alias, path,
                           fs->is_readonly ? ",readonly=on" : "");
    line_add(line, "-fsdev", g_string_free(text, FALSE));
}

bool line_add_9p(CommandLine *line, DomainDevice *device, GError **error)
{
    static const char *const models[] = {
        [FS_MODEL_NONE] = "",
        [FS_MODEL_VIRTIO] = "",
        [FS_MODEL_TRANSITIONAL] = ",disable-legacy=off,disable-modern=off",
        [FS_MODEL_NON_TRANSITIONAL] = ",disable-legacy=on,disable-modern=off",
    };
    const DomainFilesystem *fs = (const DomainFilesystem *)device;
    if (!check(line, fs, error)) {
        return false;
    }
    add_back_end(line, fs);
    g_autofree char *name = line_virtio_name(line, "9p");
    g_autofree char *address = line_address(line, device);
    g_autofree char *options = line_virtio_options(&fs->virtio);
    g_autofree char *tag = line_escape(fs->target_dir);
    char *text = g_strdup_printf("%s,id=%s,fsdev=fsdev-%s,mount_tag=%s%s%s%s", name, device->alias,
                                 device->alias, tag, address, models[fs->model], options);
    line_add(line, "-device", line_finish(line, text, device));
    return true;
}
