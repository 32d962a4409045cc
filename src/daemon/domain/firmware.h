/* The host's firmware for guests, as its packages describe it.
 *
 * The descriptions are those of QEMU 7.2's docs/interop/firmware.json: a JSON file for each image,
 * in folders of the system, of its administrator and, for a user's guests, of the user. Left out:
 * firmware loaded as a kernel, and flash without a part of its own for variables, which libvirt 9.0
 * does not choose either.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_FIRMWARE_H
#define LODGE_DAEMON_DOMAIN_FIRMWARE_H

#include <glib.h>
#include <stdbool.h>

typedef enum FirmwareFeatures {
    FIRMWARE_ACPI_S3 = 1 << 0,
    FIRMWARE_ACPI_S4 = 1 << 1,
    FIRMWARE_ENROLLED_KEYS = 1 << 2,
    FIRMWARE_REQUIRES_SMM = 1 << 3,
    FIRMWARE_SECURE_BOOT = 1 << 4,
} FirmwareFeatures;

typedef struct FirmwareTarget {
    char *arch;      /* libvirt's name: "x86_64" */
    char **machines; /* patterns with '*' and '?'; ends with NULL */
} FirmwareTarget;

typedef struct Firmware {
    char *descriptor;      /* path of the description */
    bool is_uefi, is_bios; /* interfaces; a description may name both, or others */
    bool is_flash;         /* else memory: a ROM */
    char *executable;      /* path; for flash of the read-only part */
    char *variables;       /* flash: path of the template of the part that guests write */
    bool has_other_format; /* flash: one of the parts is not raw */
    unsigned features;     /* FirmwareFeatures */
    GPtrArray *targets;    /* of FirmwareTarget */
} Firmware;

/* Where distributions put UEFI for flash, for what no description tells. Ends with NULLs. */
typedef struct FirmwarePair {
    const char *arch, *executable, *variables;
} FirmwarePair;

extern const FirmwarePair firmware_pairs[];

void firmware_free(Firmware *firmware);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Firmware, firmware_free)

#define FIRMWARE_DESCRIPTION_MAX (1u << 20)

/**
 * firmware_parse - one description
 * @text: @size bytes; foreign
 * @path: where it came from
 *
 * What is not known (features, interfaces, tags) is passed over. Returns: (transfer full), or NULL
 * with @error: it is no description, or one of a kind that is left out.
 */
Firmware *firmware_parse(const char *text, gsize size, const char *path, GError **error);

/**
 * firmware_list - all descriptions, in the order in which they are to be tried
 * @is_session: also those of the user
 * @unusable:   (nullable) gets char *, "PATH: REASON", of descriptions that cannot be used
 *
 * By the names of their files; of files of one name, the user's before the administrator's before
 * the system's; an empty file hides those behind it. Returns: (transfer full) of Firmware.
 */
GPtrArray *firmware_list(bool is_session, GPtrArray *unusable);

/* The same, from folders, the strongest last; ends with NULL. */
GPtrArray *firmware_list_in(const char *const *folders, GPtrArray *unusable);

/* The folders themselves, for messages: "/usr/share/qemu/firmware, ..." (transfer full) */
char *firmware_folders(bool is_session);

/* Whether it is made for guests of @arch with @machine ("pc-q35-7.2"). */
bool firmware_fits(const Firmware *firmware, const char *arch, const char *machine);

#endif
