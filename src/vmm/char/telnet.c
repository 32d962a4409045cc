/* Telnet commands in a stream of bytes.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/char/telnet.h"

enum { IAC = 255, DONT = 254, DO = 253, WILL = 251, SB = 250, BRK = 243, SE = 240 };
enum { OPTION_BINARY = 0, OPTION_ECHO = 1, OPTION_NO_GO_AHEAD = 3 };

const uint8_t telnet_greeting[TELNET_GREETING_BYTES] = {
    IAC, WILL, OPTION_ECHO,   IAC, WILL, OPTION_NO_GO_AHEAD,
    IAC, WILL, OPTION_BINARY, IAC, DO,   OPTION_BINARY,
};

enum {
    STATE_DATA,
    STATE_COMMAND,      /* after IAC */
    STATE_OPTION,       /* after WILL, WONT, DO, DONT */
    STATE_PARAMETER,    /* after SB */
    STATE_PARAMETER_IAC /* IAC within it */
};

/* The state after command byte @byte. */
static uint8_t after_command(uint8_t byte, bool *out_break)
{
    if (byte == BRK) {
        *out_break = true;
    }
    return byte == SB ? STATE_PARAMETER : byte >= WILL && byte <= DONT ? STATE_OPTION : STATE_DATA;
}

size_t telnet_filter(Telnet *telnet, uint8_t *bytes, size_t length, bool *out_break)
{
    size_t kept = 0;
    for (size_t i = 0; i < length; i++) {
        uint8_t byte = bytes[i];
        switch (telnet->state) {
        case STATE_COMMAND:
            if (byte == IAC) {
                bytes[kept++] = byte;
                telnet->state = STATE_DATA;
            } else {
                telnet->state = after_command(byte, out_break);
            }
            break;
        case STATE_OPTION:
            telnet->state = STATE_DATA;
            break;
        case STATE_PARAMETER:
            telnet->state = byte == IAC ? STATE_PARAMETER_IAC : STATE_PARAMETER;
            break;
        case STATE_PARAMETER_IAC:
            telnet->state = byte == SE ? STATE_DATA : STATE_PARAMETER;
            break;
        default:
            if (byte == IAC) {
                telnet->state = STATE_COMMAND;
            } else {
                bytes[kept++] = byte;
            }
            break;
        }
    }
    return kept;
}
