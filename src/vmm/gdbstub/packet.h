/* Packets of GDB's remote protocol: framing, checksums, acknowledgements, hexadecimal text.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_GDBSTUB_PACKET_H
#define LODGE_VMM_GDBSTUB_PACKET_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* Longest packet, both ways, without frame; what PacketSize announces. */
#define GDB_PACKET_MAX 0x4000

typedef enum GdbInput {
    GDB_INPUT_NOTHING,   /* more bytes are needed */
    GDB_INPUT_PACKET,    /* @packet holds one, with a NUL behind it */
    GDB_INPUT_BAD,       /* bad checksum or too long: ask again */
    GDB_INPUT_INTERRUPT, /* the byte 0x03 between packets */
    GDB_INPUT_RESEND,    /* the peer asks for the last packet again */
} GdbInput;

typedef struct GdbReader {
    enum { GDB_READ_IDLE, GDB_READ_BODY, GDB_READ_SUM1, GDB_READ_SUM2 } state;
    bool is_too_long;
    uint8_t sum, wanted_sum;
    size_t length;
    char packet[GDB_PACKET_MAX + 1];
} GdbReader;

/* Takes one byte. A packet stays valid until the next byte. */
GdbInput gdb_reader_take(GdbReader *reader, uint8_t byte);

/* Frames @body: "$body#sum". (transfer full); *out_length without the NUL. */
char *gdb_packet_frame(const char *body, size_t length, size_t *out_length);

/* Appends @length bytes as they are, but for the four that must be escaped. */
void gdb_append_binary(GString *body, const void *bytes, size_t length);

void gdb_append_hex(GString *body, const void *bytes, size_t length);

/* Value of a hexadecimal digit, or -1. */
int gdb_hex_digit(char digit);

/**
 * gdb_take_number - a hexadecimal number at *text
 * @text: (inout) moved behind it
 *
 * Returns: false when there is no digit, or more than 64 bits.
 */
bool gdb_take_number(const char **text, uint64_t *out_number);

/* Exactly @length bytes from twice as many digits at *text, which is moved. */
bool gdb_take_hex(const char **text, void *out, size_t length);

/* Undoes the escaping of [text, end) into at most @size bytes. Returns bytes, or -1: more. */
ssize_t gdb_unescape(const char *text, const char *end, uint8_t *out, size_t size);

#endif
