/* Cuts a stream of bytes into JSON objects.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/monitor/json-frame.h"

#include <string.h>

void json_frame_init(JsonFrame *frame)
{
    *frame = (JsonFrame){ .text = g_string_new(NULL) };
}

void json_frame_done(JsonFrame *frame)
{
    if (frame->text) {
        g_string_free(frame->text, TRUE);
        frame->text = NULL;
    }
}

void json_frame_reset(JsonFrame *frame)
{
    GString *text = g_string_truncate(frame->text, 0);
    *frame = (JsonFrame){ .text = text };
}

static bool refuse(JsonFrame *frame, const char *problem)
{
    frame->problem = problem;
    return false;
}

/* A UTF-16 unit of an escape is complete. */
static bool end_unit(JsonFrame *frame)
{
    bool is_first = frame->unit >= 0xd800 && frame->unit < 0xdc00;
    bool is_second = frame->unit >= 0xdc00 && frame->unit < 0xe000;
    if (is_second != frame->wants_second || frame->unit == 0) {
        return refuse(frame, "escape that makes no character");
    }
    frame->wants_second = is_first;
    frame->escape = 0;
    return true;
}

static bool push_escaped(JsonFrame *frame, uint8_t byte)
{
    if (frame->escape == 1) {
        if (byte == 'u') {
            frame->escape = 2;
            frame->unit = 0;
            return true;
        }
        frame->escape = 0;
        return !frame->wants_second || refuse(frame, "half a surrogate pair");
    }
    if (!g_ascii_isxdigit((char)byte)) {
        return refuse(frame, "bad digit in an escape");
    }
    frame->unit = (uint16_t)(frame->unit << 4 | (uint16_t)g_ascii_xdigit_value((char)byte));
    return frame->escape++ < 5 || end_unit(frame);
}

static bool push_in_string(JsonFrame *frame, uint8_t byte)
{
    if (frame->escape) {
        return push_escaped(frame, byte);
    }
    if (byte == '\\') {
        frame->escape = 1;
        return true;
    }
    if (frame->wants_second) {
        return refuse(frame, "half a surrogate pair");
    }
    if (byte < 0x20) {
        return refuse(frame, "control character in a string");
    }
    frame->in_string = byte != '"';
    return true;
}

static bool push_outside(JsonFrame *frame, uint8_t byte)
{
    switch (byte) {
    case '"':
        frame->in_string = true;
        return true;
    case '{':
    case '[':
        return ++frame->depth <= JSON_FRAME_DEPTH_MAX || refuse(frame, "nested too deeply");
    case '}':
    case ']':
        frame->depth--; /* not 0: the text begins with an opening one */
        return true;
    default:
        return g_ascii_isalnum((char)byte) || (byte && strchr(":,+-. \t\r\n", byte)) ||
               refuse(frame, "stray character");
    }
}

static bool push_byte(JsonFrame *frame, uint8_t byte)
{
    if (frame->depth == 0 && byte != '{' && byte != '[') {
        return refuse(frame, "no object");
    }
    if (frame->text->len >= JSON_FRAME_BYTES_MAX) {
        return refuse(frame, "too long");
    }
    g_string_append_c(frame->text, (char)byte);
    return frame->in_string ? push_in_string(frame, byte) : push_outside(frame, byte);
}

JsonFrameResult json_frame_push(JsonFrame *frame, uint8_t byte)
{
    if (frame->is_complete) {
        json_frame_reset(frame);
    }
    if (frame->is_skipping) {
        frame->is_skipping = byte != '\n';
        return JSON_FRAME_MORE;
    }
    if (frame->depth == 0 && g_ascii_isspace((char)byte)) {
        return JSON_FRAME_MORE;
    }
    if (!push_byte(frame, byte)) {
        const char *problem = frame->problem;
        json_frame_reset(frame);
        frame->problem = problem;
        frame->is_skipping = byte != '\n';
        return JSON_FRAME_BAD;
    }
    frame->is_complete = frame->depth == 0;
    return frame->is_complete ? JSON_FRAME_TEXT : JSON_FRAME_MORE;
}
