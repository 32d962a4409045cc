/* Options of disks.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "gbase/error.h"
#include "vmm/options/table.h"
#include "vmm/options/throttle.h"

const char *const drive_interfaces[] = { "none", "virtio", NULL };
const char *const drive_caches[] = { "writeback",  "none",   "writethrough",
                                     "directsync", "unsafe", NULL };
const char *const drive_aios[] = { "auto", "threads", "io_uring", "native", NULL };
const char *const drive_medias[] = { "disk", NULL };
const char *const drive_discards[] = { "ignore", "off", "unmap", "on", NULL };
const char *const drive_detect_zeroes[] = { "off", "on", "unmap", NULL };
const char *const drive_error_actions[] = { "default", "report", "ignore", "stop", "enospc", NULL };

#define DRIVE_STRING(name_, member, help_)                                                         \
    {                                                                                              \
        .name = name_, .kind = PROPERTY_STRING, .offset = offsetof(DriveConfig, member),           \
        .help = help_                                                                              \
    }
#define DRIVE_ENUM(name_, member, table, help_)                                                    \
    {                                                                                              \
        .name = name_, .kind = PROPERTY_ENUM, .offset = offsetof(DriveConfig, member),             \
        .choices = (table), .help = help_                                                          \
    }

static const Property drive_properties[] = {
    DRIVE_STRING("file", file, "image"),
    DRIVE_STRING("format", format, "of the image: raw, qcow2, ...; without it, it is guessed"),
    DRIVE_STRING("id", id, "name for -device NAME,drive="),
    DRIVE_STRING("serial", serial, "serial number that the guest sees"),
    DRIVE_ENUM("if", interface, drive_interfaces, "none: for a -device; virtio: makes a device"),
    DRIVE_ENUM("cache", cache, drive_caches, "use of the host's cache"),
    DRIVE_ENUM("aio", aio, drive_aios,
               "threads, io_uring, native (io_uring, for cache=none and directsync), or as is "
               "fastest (auto)"),
    DRIVE_ENUM("media", media, drive_medias, "kind of drive"),
    DRIVE_ENUM("discard", discard, drive_discards, "what becomes of discarded blocks"),
    DRIVE_ENUM("detect-zeroes", detect_zeroes, drive_detect_zeroes,
               "what becomes of zeroes written"),
    DRIVE_ENUM("werror", werror, drive_error_actions, "after a failed write"),
    DRIVE_ENUM("rerror", rerror, drive_error_actions, "after a failed read"),
    { .name = "readonly",
      .kind = PROPERTY_BOOL,
      .offset = offsetof(DriveConfig, readonly),
      .help = "no writes" },
    { .name = "read-only",
      .kind = PROPERTY_BOOL,
      .offset = offsetof(DriveConfig, readonly),
      .help = "no writes" },
    { .name = "copy-on-read",
      .kind = PROPERTY_BOOL,
      .offset = offsetof(DriveConfig, copies_on_read),
      .help = "what is read from backing files is written to the image" },
    { .name = "snapshot",
      .kind = PROPERTY_BOOL,
      .offset = offsetof(DriveConfig, snapshot),
      .help = "not supported: must be off" },
    THROTTLE_OPTIONS(DriveConfig, limits, "throttling."),
    THROTTLE_OPTIONS_SHORT(DriveConfig, limits),
    DRIVE_STRING("throttling.group", limits_group, "drives of the same group share the limits"),
    DRIVE_STRING("group", limits_group, "drives of the same group share the limits"),
    { .name = "index",
      .kind = PROPERTY_UINT,
      .offset = offsetof(DriveConfig, index),
      .max = 255,
      .help = "accepted: drives come in the order given" },
    { .name = NULL },
};

void drive_config_free(gpointer object)
{
    DriveConfig *drive = object;
    g_free(drive->id);
    g_free(drive->file);
    g_free(drive->format);
    g_free(drive->serial);
    g_free(drive->limits_group);
    g_free(drive);
}

static DriveConfig *drive_new(void)
{
    DriveConfig *drive = g_new0(DriveConfig, 1);
    throttle_config_init(&drive->limits);
    return drive;
}

static bool check_drive(DriveConfig *drive, GError **error)
{
    const char *problem = throttle_config_problem(&drive->limits);
    if (problem) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "%s", problem);
        return false;
    }
    if (!drive->file || !*drive->file) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "the image is missing: file=PATH");
        return false;
    }
    if (drive->snapshot) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED, "snapshot=on is not supported");
        return false;
    }
    if (drive->rerror == DRIVE_ERROR_ENOSPC) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "rerror cannot be 'enospc'; allowed: report, ignore, stop");
        return false;
    }
    return true;
}

DriveConfig *drive_config_new(const char *id, const KeyvalList *options, GError **error)
{
    DriveConfig *drive = drive_new();
    if (!keyval_apply(options, drive_properties, drive, error) || !check_drive(drive, error)) {
        drive_config_free(drive);
        return NULL;
    }
    g_free(drive->id);
    drive->id = g_strdup(id);
    return drive;
}

/* The device that -drive if=virtio stands for. */
static void add_drive_device(MachineConfig *config, DriveConfig *drive)
{
    if (!drive->id) {
        drive->id = g_strdup_printf("virtio%u", config->drives->len - 1);
    }
    DeviceConfig *device = device_config_new("default-disk", NULL);
    keyval_add(device->properties, "drive", drive->id);
    if (drive->serial) {
        keyval_add(device->properties, "serial", drive->serial);
    }
    g_ptr_array_add(config->devices, device);
}

static bool is_drive_id_taken(const MachineConfig *config, const DriveConfig *drive)
{
    for (guint i = 0; i < config->drives->len; i++) {
        const DriveConfig *other = g_ptr_array_index(config->drives, i);
        if (other != drive && drive->id && !g_strcmp0(other->id, drive->id)) {
            return true;
        }
    }
    return false;
}

static bool apply_drive(MachineConfig *config, const char *argument, GError **error)
{
    DriveConfig *drive = drive_new();
    drive->interface = DRIVE_VIRTIO;
    g_ptr_array_add(config->drives, drive);
    if (!option_apply(argument, "file", drive_properties, drive, error) ||
        !check_drive(drive, error)) {
        return false;
    }
    if (is_drive_id_taken(config, drive)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_EXISTS, "there is a drive '%s' already",
                    drive->id);
        return false;
    }
    if (drive->interface == DRIVE_VIRTIO) {
        add_drive_device(config, drive);
    } else if (!drive->id) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "a drive with if=none needs a name: id=NAME");
        return false;
    }
    return true;
}

static bool apply_blockdev(MachineConfig *config, const char *argument, GError **error)
{
    g_ptr_array_add(config->blockdevs, g_strdup(argument));
    return true;
}

static const OptionRow rows[] = {
    { .name = "blockdev",
      .argument = "driver=FORMAT,node-name=NAME,file=NODE|file.driver=file,file.filename=PATH...",
      .apply = apply_blockdev,
      .help = "disk image as a named node, also as JSON; for -device NAME,drive=" },
    { .name = "drive",
      .argument = "file=PATH[,format=FORMAT][,if=virtio|none][,id=NAME]...",
      .apply = apply_drive,
      .help = "disk image; with if=none for a -device, else (if=virtio) with a device of its own" },
    { .name = NULL },
};

const OptionGroup block_option_group = { "Disks", rows };
