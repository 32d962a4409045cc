/* Descriptions of firmware: docs/interop/firmware.json of QEMU 7.2.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/firmware.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "daemon/domain/json-peer.h"
#include "gbase/error.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DESCRIPTIONS_MAX 1000u

const FirmwarePair firmware_pairs[] = {
    { "x86_64", "/usr/share/OVMF/OVMF_CODE_4M.ms.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd" },
    { "x86_64", "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd" },
    { "x86_64", "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd" },
    { "x86_64", "/usr/share/OVMF/OVMF_CODE.ms.fd", "/usr/share/OVMF/OVMF_VARS.ms.fd" },
    { "x86_64", "/usr/share/OVMF/OVMF_CODE.secboot.fd", "/usr/share/OVMF/OVMF_VARS.fd" },
    { "x86_64", "/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd" },
    { "x86_64", "/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd",
      "/usr/share/edk2/ovmf/OVMF_VARS.secboot.fd" },
    { "x86_64", "/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd" },
    { "aarch64", "/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd" },
    { "aarch64", "/usr/share/edk2/aarch64/QEMU_EFI-pflash.raw",
      "/usr/share/edk2/aarch64/vars-template-pflash.raw" },
    { NULL, NULL, NULL },
};

static void target_free(gpointer data)
{
    FirmwareTarget *target = data;
    g_free(target->arch);
    g_strfreev(target->machines);
    g_free(target);
}

void firmware_free(Firmware *firmware)
{
    if (firmware) {
        g_free(firmware->descriptor);
        g_free(firmware->executable);
        g_free(firmware->variables);
        g_ptr_array_unref(firmware->targets);
        g_free(firmware);
    }
}

static void free_item(gpointer data)
{
    firmware_free(data);
}

static bool refuse(GError **error, const char *reason)
{
    g_set_error_literal(error, LODGE_ERROR, LODGE_ERROR_PROTOCOL, reason);
    return false;
}

/* The text at @index, or NULL: it is none. Borrowed. */
static const char *text_at(JsonArray *array, guint index)
{
    JsonNode *node = json_array_get_element(array, index);
    return JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_STRING
               ? json_node_get_string(node)
               : NULL;
}

/* "filename" of an object with "format". (transfer full) */
static char *read_file_name(Firmware *firmware, JsonObject *file)
{
    const char *format = json_peer_string(file, "format");
    const char *name = json_peer_string(file, "filename");
    if (!format || strcmp(format, "raw") != 0) {
        firmware->has_other_format = true;
    }
    return name && g_path_is_absolute(name) ? g_strdup(name) : NULL;
}

static bool read_mapping(Firmware *firmware, JsonObject *root, GError **error)
{
    JsonObject *mapping = json_peer_object(root, "mapping");
    const char *device = json_peer_string(mapping, "device") ?: "";
    if (strcmp(device, "memory") == 0) {
        const char *name = json_peer_string(mapping, "filename");
        firmware->executable = name && g_path_is_absolute(name) ? g_strdup(name) : NULL;
        return firmware->executable || refuse(error, "'mapping' has no absolute 'filename'");
    }
    if (strcmp(device, "flash") != 0) {
        return refuse(error, "'mapping' is neither to 'flash' nor to 'memory'");
    }
    const char *mode = json_peer_string(mapping, "mode") ?: "split";
    if (strcmp(mode, "split") != 0) {
        return refuse(error,
                      "the flash has no part of its own for variables ('mode' is not 'split')");
    }
    firmware->is_flash = true;
    firmware->executable = read_file_name(firmware, json_peer_object(mapping, "executable"));
    firmware->variables = read_file_name(firmware, json_peer_object(mapping, "nvram-template"));
    return (firmware->executable && firmware->variables) ||
           refuse(error,
                  "'executable' and 'nvram-template' do not both have an absolute 'filename'");
}

static void read_interfaces(Firmware *firmware, JsonArray *array)
{
    for (guint i = 0; array && i < json_array_get_length(array); i++) {
        const char *name = text_at(array, i) ?: "";
        firmware->is_uefi |= strcmp(name, "uefi") == 0;
        firmware->is_bios |= strcmp(name, "bios") == 0;
    }
}

static void read_features(Firmware *firmware, JsonArray *array)
{
    static const struct {
        const char *name;
        FirmwareFeatures bit;
    } known[] = {
        { "acpi-s3", FIRMWARE_ACPI_S3 },
        { "acpi-s4", FIRMWARE_ACPI_S4 },
        { "enrolled-keys", FIRMWARE_ENROLLED_KEYS },
        { "requires-smm", FIRMWARE_REQUIRES_SMM },
        { "secure-boot", FIRMWARE_SECURE_BOOT },
    };
    for (guint i = 0; array && i < json_array_get_length(array); i++) {
        const char *name = text_at(array, i) ?: "";
        for (guint k = 0; k < G_N_ELEMENTS(known); k++) {
            if (strcmp(known[k].name, name) == 0) {
                firmware->features |= known[k].bit;
            }
        }
    }
}

static void read_target(Firmware *firmware, JsonObject *object)
{
    const char *arch = json_peer_string(object, "architecture");
    JsonArray *machines = json_peer_array(object, "machines");
    if (!arch || !machines) {
        return;
    }
    g_autoptr(GStrvBuilder) names = g_strv_builder_new();
    for (guint i = 0; i < json_array_get_length(machines); i++) {
        const char *name = text_at(machines, i);
        if (name) {
            g_strv_builder_add(names, name);
        }
    }
    FirmwareTarget *target = g_new0(FirmwareTarget, 1);
    target->arch = g_strdup(strcmp(arch, "i386") == 0 ? "i686" : arch);
    target->machines = g_strv_builder_end(names);
    g_ptr_array_add(firmware->targets, target);
}

static bool read_root(Firmware *firmware, JsonObject *root, GError **error)
{
    JsonArray *targets = json_peer_array(root, "targets");
    read_interfaces(firmware, json_peer_array(root, "interface-types"));
    read_features(firmware, json_peer_array(root, "features"));
    for (guint i = 0; targets && i < json_array_get_length(targets); i++) {
        JsonObject *target = json_peer_element(targets, i);
        if (target) {
            read_target(firmware, target);
        }
    }
    return read_mapping(firmware, root, error);
}

Firmware *firmware_parse(const char *text, gsize size, const char *path, GError **error)
{
    JsonObject *root = json_peer_parse(text, size, error);
    if (!root) {
        return NULL;
    }
    g_autoptr(Firmware) firmware = g_new0(Firmware, 1);
    firmware->descriptor = g_strdup(path);
    firmware->targets = g_ptr_array_new_with_free_func(target_free);
    bool ok = read_root(firmware, root, error);
    json_object_unref(root);
    return ok ? g_steal_pointer(&firmware) : NULL;
}

/* --- folders --- */

#define SYSTEM_FOLDERS "/usr/share/qemu/firmware", "/etc/qemu/firmware"

/* Name -> path of the strongest file of that name. */
static void collect(const char *folder, GHashTable *files)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name;
    while (dir && (name = g_dir_read_name(dir)) && g_hash_table_size(files) < DESCRIPTIONS_MAX) {
        if (name[0] != '.' && g_str_has_suffix(name, ".json")) {
            g_hash_table_replace(files, g_strdup(name), g_build_filename(folder, name, NULL));
        }
    }
}

/* False with @error; an empty file gives NULL. */
static bool read_description(const char *path, Firmware **out, GError **error)
{
    struct stat st;
    autofd fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0) {
        lodge_error_set_errno(error, errno, "cannot open it");
        return false;
    }
    if (!S_ISREG(st.st_mode) || st.st_size > (off_t)FIRMWARE_DESCRIPTION_MAX) {
        return refuse(error, "it is no file of at most 1 MiB");
    }
    g_autofree char *text = g_malloc(FIRMWARE_DESCRIPTION_MAX);
    ssize_t size = fd_read_full(fd, text, FIRMWARE_DESCRIPTION_MAX);
    if (size < 0) {
        lodge_error_set_errno(error, (int)-size, "cannot read it");
        return false;
    }
    *out = size ? firmware_parse(text, (gsize)size, path, error) : NULL;
    return size == 0 || *out;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

GPtrArray *firmware_list_in(const char *const *folders, GPtrArray *unusable)
{
    GPtrArray *list = g_ptr_array_new_with_free_func(free_item);
    g_autoptr(GHashTable) files = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    for (; *folders; folders++) {
        collect(*folders, files);
    }
    guint n = 0;
    g_autofree gpointer *names = g_hash_table_get_keys_as_array(files, &n);
    qsort(names, n, sizeof(names[0]), by_text);
    for (guint i = 0; i < n; i++) {
        const char *path = g_hash_table_lookup(files, names[i]);
        g_autoptr(GError) reason = NULL;
        Firmware *firmware = NULL;
        if (!read_description(path, &firmware, &reason)) {
            if (unusable) {
                g_ptr_array_add(unusable, g_strdup_printf("%s: %s", path, reason->message));
            }
        } else if (firmware) {
            g_ptr_array_add(list, firmware);
        }
    }
    return list;
}

static char **folders_new(bool is_session)
{
    static const char *const system[] = { SYSTEM_FOLDERS };
    GPtrArray *folders = g_ptr_array_new();
    for (guint i = 0; i < G_N_ELEMENTS(system); i++) {
        g_ptr_array_add(folders, g_strdup(system[i]));
    }
    if (is_session) {
        g_ptr_array_add(folders,
                        g_build_filename(g_get_user_config_dir(), "qemu", "firmware", NULL));
    }
    g_ptr_array_add(folders, NULL);
    return (char **)g_ptr_array_free(folders, FALSE);
}

GPtrArray *firmware_list(bool is_session, GPtrArray *unusable)
{
    g_auto(GStrv) folders = folders_new(is_session);
    return firmware_list_in((const char *const *)folders, unusable);
}

char *firmware_folders(bool is_session)
{
    g_auto(GStrv) folders = folders_new(is_session);
    return g_strjoinv(", ", folders);
}

bool firmware_fits(const Firmware *firmware, const char *arch, const char *machine)
{
    for (guint i = 0; i < firmware->targets->len; i++) {
        const FirmwareTarget *target = firmware->targets->pdata[i];
        for (char **pattern = target->machines; *pattern; pattern++) {
            if (strcmp(target->arch, arch) == 0 && g_pattern_match_simple(*pattern, machine)) {
                return true;
            }
        }
    }
    return false;
}
