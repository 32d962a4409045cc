/* Firmware of guests: which one a guest gets, and the file for the variables that it keeps there.
 *
 * Chosen anew at each start, as libvirt 9.0 does: the stored definition keeps <os firmware='efi'>,
 * the running one names the files. Context of all functions: worker threads, without locks.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_GUEST_FIRMWARE_H
#define LODGE_DAEMON_DOMAIN_GUEST_FIRMWARE_H

#include "conf/domain/domain.h"

/* What a choice depends on beside the guest. */
typedef struct FirmwareHost {
    bool is_session;
    const char *nvram_dir;
    const char *const *folders; /* of descriptions, the strongest last; NULL: the host's */
} FirmwareHost;

/**
 * guest_firmware_choose - put the firmware's files into a definition that is to run
 * @is_reset: the variables will be taken from the template anew
 *
 * Nothing for engines without firmware (the command line refuses them). Returns: false with @error:
 * OPERATION_FAILED, no firmware does what @def asks for; OPERATION_INVALID, it needs SMM.
 */
bool guest_firmware_choose(DomainDef *def, const FirmwareHost *host, bool is_reset, GError **error);

/* Makes the file of variables from its template, where there is none or @is_reset. Durable. */
bool guest_firmware_prepare_nvram(const DomainDef *def, const FirmwareHost *host, bool is_reset,
                                  GError **error);

/* The file of variables that a stored definition names, or gets when it starts; NULL: it keeps
 * none. (transfer full) */
char *guest_firmware_nvram_path(const DomainDef *def, const char *nvram_dir);

#endif
