/* Framing of GDB packets.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/gdbstub/packet.h"

#include <string.h>

#define INTERRUPT 0x03
#define ESCAPE '}'
#define ESCAPE_FLIP 0x20

int gdb_hex_digit(char digit)
{
    return g_ascii_xdigit_value(digit);
}

static GdbInput take_idle(GdbReader *reader, uint8_t byte)
{
    switch (byte) {
    case '$':
        reader->state = GDB_READ_BODY;
        reader->length = 0;
        reader->sum = 0;
        reader->is_too_long = false;
        return GDB_INPUT_NOTHING;
    case '-':
        return GDB_INPUT_RESEND;
    case INTERRUPT:
        return GDB_INPUT_INTERRUPT;
    default:
        return GDB_INPUT_NOTHING; /* '+', and noise */
    }
}

static GdbInput take_body(GdbReader *reader, uint8_t byte)
{
    if (byte == '#') {
        reader->state = GDB_READ_SUM1;
    } else if (byte == '$') {
        /* The rest of a packet was lost; this one is whole. */
        reader->state = GDB_READ_IDLE;
        return take_idle(reader, byte);
    } else if (reader->length == GDB_PACKET_MAX) {
        reader->is_too_long = true;
    } else {
        reader->sum = (uint8_t)(reader->sum + byte);
        reader->packet[reader->length++] = (char)byte;
    }
    return GDB_INPUT_NOTHING;
}

GdbInput gdb_reader_take(GdbReader *reader, uint8_t byte)
{
    int digit = gdb_hex_digit((char)byte);
    switch (reader->state) {
    case GDB_READ_IDLE:
        return take_idle(reader, byte);
    case GDB_READ_BODY:
        return take_body(reader, byte);
    case GDB_READ_SUM1:
        reader->wanted_sum = (uint8_t)((digit & 0xf) << 4);
        reader->is_too_long |= digit < 0;
        reader->state = GDB_READ_SUM2;
        return GDB_INPUT_NOTHING;
    case GDB_READ_SUM2:
        reader->wanted_sum |= digit & 0xf;
        reader->state = GDB_READ_IDLE;
        reader->packet[reader->length] = 0;
        return digit < 0 || reader->is_too_long || reader->wanted_sum != reader->sum
                   ? GDB_INPUT_BAD
                   : GDB_INPUT_PACKET;
    }
    return GDB_INPUT_NOTHING;
}

char *gdb_packet_frame(const char *body, size_t length, size_t *out_length)
{
    uint8_t sum = 0;
    char *frame = g_malloc(length + 5); /* bodies are ours, a few packets long at most */
    for (size_t i = 0; i < length; i++) {
        sum = (uint8_t)(sum + (uint8_t)body[i]);
    }
    frame[0] = '$';
    memcpy(frame + 1, body, length);
    g_snprintf(frame + 1 + length, 4, "#%02x", sum);
    *out_length = length + 4;
    return frame;
}

void gdb_append_binary(GString *body, const void *bytes, size_t length)
{
    const char *p = bytes;
    for (size_t i = 0; i < length; i++) {
        if (p[i] == '$' || p[i] == '#' || p[i] == ESCAPE || p[i] == '*') {
            g_string_append_c(body, ESCAPE);
            g_string_append_c(body, (char)(p[i] ^ ESCAPE_FLIP));
        } else {
            g_string_append_c(body, p[i]);
        }
    }
}

void gdb_append_hex(GString *body, const void *bytes, size_t length)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *p = bytes;
    for (size_t i = 0; i < length; i++) {
        g_string_append_c(body, digits[p[i] >> 4]);
        g_string_append_c(body, digits[p[i] & 0xf]);
    }
}

bool gdb_take_number(const char **text, uint64_t *out_number)
{
    const char *p = *text;
    uint64_t number = 0;
    for (; gdb_hex_digit(*p) >= 0; p++) {
        if (number >> 60) {
            return false;
        }
        number = number << 4 | (uint64_t)gdb_hex_digit(*p);
    }
    if (p == *text) {
        return false;
    }
    *text = p;
    *out_number = number;
    return true;
}

bool gdb_take_hex(const char **text, void *out, size_t length)
{
    const char *p = *text;
    uint8_t *bytes = out;
    for (size_t i = 0; i < length; i++, p += 2) {
        int high = gdb_hex_digit(p[0]);
        int low = high < 0 ? -1 : gdb_hex_digit(p[1]);
        if (low < 0) {
            return false;
        }
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    *text = p;
    return true;
}

ssize_t gdb_unescape(const char *text, const char *end, uint8_t *out, size_t size)
{
    size_t used = 0;
    while (text < end) {
        uint8_t byte = (uint8_t)*text++;
        if (byte == ESCAPE && text < end) {
            byte = (uint8_t)*text++ ^ ESCAPE_FLIP;
        }
        if (used == size) {
            return -1;
        }
        out[used++] = byte;
    }
    return (ssize_t)used;
}
