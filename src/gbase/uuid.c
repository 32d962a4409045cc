/* UUIDs (RFC 4122).
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gbase/uuid.h"

#include "gbase/error.h"

#include <errno.h>
#include <sys/random.h>

bool uuid_generate(Uuid *out_uuid, GError **error)
{
    Uuid uuid;
    if (getrandom(uuid.byte, sizeof(uuid.byte), 0) != sizeof(uuid.byte)) {
        lodge_error_set_errno(error, errno, "cannot read random bytes");
        return false;
    }
    uuid.byte[6] = (uuid.byte[6] & 0x0f) | 0x40; /* version 4 */
    uuid.byte[8] = (uuid.byte[8] & 0x3f) | 0x80; /* RFC 4122 variant */
    *out_uuid = uuid;
    return true;
}

bool uuid_parse(const char *text, Uuid *out_uuid, GError **error)
{
    Uuid uuid;
    const char *p = text;
    unsigned i = 0;
    while (i < UUID_BYTES) {
        if (*p == '-' && i) {
            p++;
        }
        if (!g_ascii_isxdigit(p[0]) || !g_ascii_isxdigit(p[1])) {
            break;
        }
        uuid.byte[i++] = (uint8_t)(g_ascii_xdigit_value(p[0]) << 4 | g_ascii_xdigit_value(p[1]));
        p += 2;
    }
    if (i < UUID_BYTES || *p) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "'%s' is not a UUID", text);
        return false;
    }
    *out_uuid = uuid;
    return true;
}

void uuid_format(const Uuid *uuid, char *text)
{
    static const char digits[] = "0123456789abcdef";
    for (unsigned i = 0; i < UUID_BYTES; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *text++ = '-';
        }
        *text++ = digits[uuid->byte[i] >> 4];
        *text++ = digits[uuid->byte[i] & 15];
    }
    *text = 0;
}
