/* Numbers of a PC's keys in the codes that clients name them by.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_KEY_CODES_H
#define LODGE_DAEMON_DOMAIN_KEY_CODES_H

#include <stdbool.h>
#include <stdint.h>

/* libvirt's numbers (virKeycodeSet). */
typedef enum KeyCodeset {
    CODESET_LINUX = 0,
    CODESET_XT = 1,
    CODESET_ATSET1 = 2,
    CODESET_ATSET2 = 3,
    CODESET_ATSET3 = 4,
    CODESET_OSX = 5,
    CODESET_XT_KBD = 6,
    CODESET_USB = 7,
    CODESET_WIN32 = 8,
    CODESET_QNUM = 9, /* QEMU's: set 1, with bit 7 for the prefix 0xe0 */
    CODESETS = 10,
} KeyCodeset;

/* 0: it has no such key. */
uint32_t key_to_qnum(KeyCodeset codeset, uint32_t code);

#endif
