/* What a telnet client sends beside its bytes (RFC 854): commands are taken out of the stream.
 *
 * Options are offered once, in the greeting, and answers to it are not looked at.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_CHAR_TELNET_H
#define LODGE_VMM_CHAR_TELNET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TELNET_GREETING_BYTES 12

/* The server echoes, sends no go-ahead, and both sides send eight bits. */
extern const uint8_t telnet_greeting[TELNET_GREETING_BYTES];

/* Where in a command the stream is; zero at its start. */
typedef struct Telnet {
    uint8_t state;
} Telnet;

/**
 * telnet_filter - take commands out of received bytes
 * @bytes:     (inout) @length bytes; those that are input move to the front
 * @out_break: becomes true when the client sent a break
 *
 * Returns: bytes of input, at most @length.
 */
size_t telnet_filter(Telnet *telnet, uint8_t *bytes, size_t length, bool *out_break);

#endif
