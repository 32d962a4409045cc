/* Arguments of devices that another process serves: TPMs, folders by virtiofs. What connects them
 * is passed as descriptors. SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/command-line-private.h"
#include "daemon/domain/device-table.h"
#include "daemon/error.h"

#include <fcntl.h>
#include <string.h>

static void add_connection(CommandLine *line, const char *id, int fd)
{
    g_array_append_val(line->fds, fd);
    line_add(line, "-chardev", g_strdup_printf("socket,id=%s,fd=%d", id, fd));
}

/* --- TPM --- */

/* Where the kernel takes a word to end a command; TPMs of version 2.0 have no such file.
 * (transfer full) */
static char *cancel_path(const char *device)
{
    g_autofree char *name = g_path_get_basename(device);
    static const char *const forms[] = { "/sys/class/tpm/%s/device/cancel",
                                         "/sys/class/misc/%s/device/cancel" };
    for (unsigned i = 0; i < G_N_ELEMENTS(forms); i++) {
        g_auto(GStrv) halves = g_strsplit(forms[i], "%s", 2);
        char *path = g_strconcat(halves[0], name, halves[1], NULL);
        if (g_file_test(path, G_FILE_TEST_EXISTS)) {
            return path;
        }
        g_free(path);
    }
    return g_strdup("/dev/null");
}

static bool add_passthrough(CommandLine *line, const DomainTpm *tpm, const char *id, GError **error)
{
    const char *path = tpm->path ?: "/dev/tpm0";
    g_autofree char *cancel = cancel_path(path);
    int fd = line->ops->open_device(line->opaque, path, O_RDWR, error);
    if (fd < 0) {
        return false;
    }
    unsigned set = line_add_fd(line, fd);
    fd = line->ops->open_device(line->opaque, cancel, O_WRONLY, error);
    if (fd < 0) {
        return false;
    }
    line_add(line, "-tpmdev",
             g_strdup_printf("passthrough,id=%s,path=/dev/fdset/%u,cancel-path=/dev/fdset/%u", id,
                             set, line_add_fd(line, fd)));
    return true;
}

static bool add_emulator(CommandLine *line, DomainTpm *tpm, const char *id, GError **error)
{
    bool is_external = tpm->backend == TPM_EXTERNAL;
    if (tpm->encryption_secret) {
        return line_refuse_unless(line, false, error,
                                  "<encryption> of a TPM's state (secrets are missing)");
    }
    if (is_external && (tpm->source.type != CHARDEV_UNIX || !tpm->source.path)) {
        return line_refuse_unless(line, false, error,
                                  "TPM with the back end 'external' but by a socket's path");
    }
    int fd = is_external ? line->ops->connect_unix(line->opaque, tpm->source.path, error)
                         : line->ops->start_helper(line->opaque, &tpm->device, error);
    if (fd < 0) {
        return false;
    }
    add_connection(line, "chrtpm", fd);
    line_add(line, "-tpmdev", g_strdup_printf("emulator,id=%s,chardev=chrtpm", id));
    return true;
}

bool line_add_tpm(CommandLine *line, DomainDevice *device, GError **error)
{
    DomainTpm *tpm = (DomainTpm *)device;
    const char *model = device_table_word(PROPERTY_TPM, (int)tpm->model, line->engine);
    if (!model) {
        return line_refuse_unless(line,
                                  device_table_has(PROPERTY_TPM, (int)tpm->model, ENGINE_QEMU),
                                  error, "TPM model '%s'", domain_name(tpm_model, tpm->model));
    }
    g_autofree char *id = g_strdup_printf("tpm-%s", device->alias);
    if (tpm->backend == TPM_PASSTHROUGH ? !add_passthrough(line, tpm, id, error)
                                        : !add_emulator(line, tpm, id, error)) {
        return false;
    }
    line_add(line, "-device", g_strdup_printf("%s,tpmdev=%s,id=%s", model, id, device->alias));
    return true;
}

/* --- virtiofs --- */

bool line_add_virtiofs(CommandLine *line, DomainDevice *device, GError **error)
{
    DomainFilesystem *fs = (DomainFilesystem *)device;
    if (line->engine == ENGINE_LODGE) {
        return line_refuse_unless(line, fs->model <= FS_MODEL_VIRTIO, error,
                                  "device <filesystem> with <driver type='virtiofs'>");
    }
    if (fs->model > FS_MODEL_VIRTIO) {
        return line_refuse_unless(line, false, error,
                                  "<filesystem model='%s'> with <driver type='virtiofs'>",
                                  domain_name(fs_model, fs->model));
    }
    g_autofree char *address = line_address(line, device);
    g_autofree char *options = line_virtio_options(&fs->virtio);
    g_autofree char *tag = line_escape(fs->target_dir);
    g_autofree char *id = g_strdup_printf("chr-vu-%s", device->alias);
    int fd = fs->source_socket ? line->ops->connect_unix(line->opaque, fs->source_socket, error)
                               : line->ops->start_helper(line->opaque, device, error);
    if (fd < 0) {
        return false;
    }
    add_connection(line, id, fd);
    GString *text = g_string_new("vhost-user-fs-pci");
    g_string_append_printf(text, ",chardev=%s,tag=%s,id=%s%s%s", id, tag, device->alias, options,
                           address);
    if (fs->queue_size) {
        g_string_append_printf(text, ",queue-size=%u", fs->queue_size);
    }
    line_add(line, "-device", line_finish(line, g_string_free(text, FALSE), device));
    return true;
}
