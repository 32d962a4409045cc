/* Firmware of guests.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/guest-firmware.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "daemon/domain/command-line.h"
#include "daemon/domain/firmware.h"
#include "daemon/error.h"
#include "gbase/error.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEMPLATE_MAX (64 << 20)
#define REASONS_MAX 8

/* --- the choice --- */

static TriState wanted_feature(const DomainOs *os, DomainOsFeature name)
{
    for (unsigned i = 0; i < os->firmware_features.count; i++) {
        const DomainOsFeatureSetting *setting = os->firmware_features.item[i];
        if (setting->name == name) {
            return setting->enabled;
        }
    }
    return TRI_ABSENT;
}

static bool suits(TriState wanted, bool has)
{
    return wanted == TRI_ABSENT || (wanted == TRI_YES) == has;
}

/* Why @firmware is none for @def; NULL: it is one. */
static const char *find_obstacle(const DomainDef *def, const Firmware *firmware)
{
    const DomainOs *os = &def->os;
    unsigned features = firmware->features;
    bool is_secure = features & FIRMWARE_SECURE_BOOT;
    bool has_keys = features & FIRMWARE_ENROLLED_KEYS;
    if (!(os->firmware == OS_FIRMWARE_BIOS ? firmware->is_bios : firmware->is_uefi)) {
        return "other kind of firmware";
    }
    if (!firmware_fits(firmware, os->arch, os->machine ?: "")) {
        return "not for this architecture and machine";
    }
    if (!suits(wanted_feature(os, OS_FEATURE_SECURE_BOOT), is_secure)) {
        return is_secure ? "has secure boot" : "no secure boot";
    }
    if (!suits(wanted_feature(os, OS_FEATURE_ENROLLED_KEYS), has_keys)) {
        return has_keys ? "has enrolled keys" : "no enrolled keys";
    }
    if (os->loader_secure == TRI_YES && !(features & FIRMWARE_REQUIRES_SMM)) {
        return "flash is not protected by SMM";
    }
    if (os->loader_stateless == TRI_YES && firmware->is_flash) {
        return "keeps variables, while <loader stateless='yes'>";
    }
    if (def->pm_suspend_mem == TRI_YES && !(features & FIRMWARE_ACPI_S3)) {
        return "cannot suspend to memory";
    }
    if (def->pm_suspend_disk == TRI_YES && !(features & FIRMWARE_ACPI_S4)) {
        return "cannot suspend to disk";
    }
    return NULL;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* @reasons: of char *, why each was passed over */
static const Firmware *find_for(const DomainDef *def, const GPtrArray *list, GPtrArray *reasons)
{
    for (guint i = 0; i < list->len; i++) {
        const Firmware *firmware = list->pdata[i];
        const char *obstacle = find_obstacle(def, firmware);
        if (!obstacle && firmware->has_other_format) {
            obstacle = "not in the format raw";
        }
        if (!obstacle) {
            return firmware;
        }
        g_ptr_array_add(reasons,
                        g_strdup_printf("%s: %s", base_name(firmware->descriptor), obstacle));
    }
    return NULL;
}

/* Says what was looked at, and what helps. */
static bool fail_choice(const DomainDef *def, const FirmwareHost *host, const GPtrArray *reasons,
                        GError **error)
{
    const char *kind = domain_name(os_firmware, def->os.firmware);
    GString *text = g_string_new(NULL);
    for (guint i = 0; i < reasons->len && i < REASONS_MAX; i++) {
        g_string_append_printf(text, "%s%s", i ? "; " : "", (const char *)reasons->pdata[i]);
    }
    if (reasons->len > REASONS_MAX) {
        g_string_append(text, "; ...");
    }
    g_autofree char *tried = g_string_free(text, FALSE);
    if (reasons->len) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_FAILED,
                         "operation failed: no firmware for <os firmware='%s'> of this guest (%s); "
                         "change what it asks for, or name <loader> and <nvram>",
                         kind, tried);
    } else {
        g_autofree char *folders = host->folders ? g_strjoinv(", ", (char **)host->folders)
                                                 : firmware_folders(host->is_session);
        daemon_error_set(error, DAEMON_ERROR_OPERATION_FAILED,
                         "operation failed: no firmware for <os firmware='%s'>: there are no "
                         "descriptions of any in %s; install the package 'ovmf' ('edk2-ovmf' on "
                         "other distributions), or name <loader> and <nvram>",
                         kind, folders);
    }
    return false;
}

static void set_text(char **out, const char *text)
{
    g_free(*out);
    *out = g_strdup(text);
}

static bool fill_in(DomainDef *def, const Firmware *firmware, const FirmwareHost *host,
                    GError **error)
{
    DomainOs *os = &def->os;
    bool needs_smm = firmware->features & FIRMWARE_REQUIRES_SMM;
    if (needs_smm && def->features.smm == TRI_NO) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_INVALID,
                         "Requested operation is not valid: the firmware of '%s' needs SMM, which "
                         "<smm state='off'/> turns off; remove that, or choose another by "
                         "<firmware><feature enabled='no' name='secure-boot'/></firmware>",
                         firmware->descriptor);
        return false;
    }
    set_text(&os->loader, firmware->executable);
    os->loader_type = firmware->is_flash ? LOADER_PFLASH : LOADER_ROM;
    if (firmware->is_flash) {
        os->loader_readonly = TRI_YES;
        set_text(&os->nvram_template, firmware->variables);
        if (!os->nvram && !os->nvram_source) {
            os->nvram = domain_def_nvram_path(def, host->nvram_dir);
        }
    }
    if (needs_smm) {
        os->loader_secure = TRI_YES;
        def->features.has_smm = true;
        def->features.smm = TRI_YES;
    }
    os->firmware = OS_FIRMWARE_NONE;
    return true;
}

static GPtrArray *list_for(const FirmwareHost *host, GPtrArray *unusable)
{
    return host->folders ? firmware_list_in(host->folders, unusable)
                         : firmware_list(host->is_session, unusable);
}

/* A <loader> without a template for its variables: that of the description it is in. */
static void find_template(DomainDef *def, const FirmwareHost *host)
{
    g_autoptr(GPtrArray) list = list_for(host, NULL);
    for (guint i = 0; i < list->len; i++) {
        const Firmware *firmware = list->pdata[i];
        if (firmware->is_flash && !firmware->has_other_format &&
            strcmp(firmware->executable, def->os.loader) == 0 && !find_obstacle(def, firmware)) {
            set_text(&def->os.nvram_template, firmware->variables);
            return;
        }
    }
}

bool guest_firmware_choose(DomainDef *def, const FirmwareHost *host, bool is_reset, GError **error)
{
    const DomainOs *os = &def->os;
    if (command_line_engine(def->emulator) != ENGINE_QEMU) {
        return true;
    }
    if (os->loader) {
        const char *nvram = domain_os_nvram_path(os);
        bool is_made = is_reset || (nvram && !g_file_test(nvram, G_FILE_TEST_EXISTS));
        if (nvram && is_made && !os->nvram_template && os->loader_type == LOADER_PFLASH) {
            find_template(def, host);
        }
        return true;
    }
    if (os->firmware == OS_FIRMWARE_NONE) {
        return true;
    }
    g_autoptr(GPtrArray) reasons = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) list = list_for(host, reasons);
    const Firmware *chosen = find_for(def, list, reasons);
    return chosen ? fill_in(def, chosen, host, error) : fail_choice(def, host, reasons, error);
}

/* --- variables --- */

/* For loaders that no description names. */
static const char *template_of(const DomainOs *os)
{
    if (os->nvram_template) {
        return os->nvram_template;
    }
    for (const FirmwarePair *pair = firmware_pairs; os->loader && pair->executable; pair++) {
        if (strcmp(pair->executable, os->loader) == 0) {
            return pair->variables;
        }
    }
    return NULL;
}

/* Whole under its name, or not there. */
static bool copy_template(const char *from, const char *to, GError **error)
{
    struct stat st;
    autofd source = open(from, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (source < 0 || fstat(source, &st) < 0 || !S_ISREG(st.st_mode)) {
        const char *reason = source < 0 ? g_strerror(errno) : "it is no file";
        daemon_error_set(error, DAEMON_ERROR_SYSTEM,
                         "cannot read '%s', from which the firmware's variables begin: %s; install "
                         "the package it belongs to ('ovmf'), or name another <nvram template=>",
                         from, reason);
        return false;
    }
    g_autofree char *folder = g_path_get_dirname(to);
    g_autofree char *draft = g_strdup_printf("%s.XXXXXX", to);
    autofd file = g_mkstemp_full(draft, O_WRONLY | O_CLOEXEC, 0600);
    int rc = file < 0 ? -errno : fd_copy(source, file, TEMPLATE_MAX);
    if (rc == 0 && (fsync(file) < 0 || rename(draft, to) < 0)) {
        rc = -errno;
    }
    if (rc < 0 && file >= 0) {
        g_unlink(draft);
    }
    rc = rc == 0 ? fd_sync_folder(folder) : rc;
    if (rc < 0) {
        daemon_error_set(error, DAEMON_ERROR_SYSTEM,
                         "cannot make '%s', the file of the firmware's variables, from '%s': %s",
                         to, from, g_strerror(-rc));
    }
    return rc == 0;
}

bool guest_firmware_prepare_nvram(const DomainDef *def, const FirmwareHost *host, bool is_reset,
                                  GError **error)
{
    const DomainOs *os = &def->os;
    const char *nvram = domain_os_nvram_path(os);
    if (!nvram || command_line_engine(def->emulator) != ENGINE_QEMU ||
        (!is_reset && g_file_test(nvram, G_FILE_TEST_EXISTS))) {
        return true;
    }
    const char *from = template_of(os);
    if (!from) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_FAILED,
                         "operation failed: there is no '%s', and no template for the variables of "
                         "the loader '%s' is known; name it in <nvram template=>",
                         nvram, os->loader ?: "");
        return false;
    }
    if (g_mkdir_with_parents(host->nvram_dir, 0700) < 0) {
        lodge_error_set_errno(error, errno, "cannot create '%s'", host->nvram_dir);
        return false;
    }
    return copy_template(from, nvram, error);
}

char *guest_firmware_nvram_path(const DomainDef *def, const char *nvram_dir)
{
    const char *named = domain_os_nvram_path(&def->os);
    if (named) {
        return g_strdup(named);
    }
    bool may_choose = def->os.firmware == OS_FIRMWARE_EFI && !def->os.nvram_source &&
                      def->os.loader_stateless != TRI_YES;
    return may_choose ? domain_def_nvram_path(def, nvram_dir) : NULL;
}
