/* Cuts a stream of bytes into JSON objects, and lets nothing through that is costly or dangerous to
 * parse: size and depth have limits, escapes in strings make valid characters.
 *
 * A check of form only; the parser proper decides what is JSON (RFC 8259). Comments and strings in
 * single quotes are refused. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_MONITOR_JSON_FRAME_H
#define LODGE_VMM_MONITOR_JSON_FRAME_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define JSON_FRAME_BYTES_MAX (256 * 1024)
#define JSON_FRAME_DEPTH_MAX 64

typedef enum JsonFrameResult {
    JSON_FRAME_MORE, /* nothing to do yet */
    JSON_FRAME_TEXT, /* frame->text holds one object or array, until the next byte */
    JSON_FRAME_BAD,  /* frame->problem says why; the rest of the line is skipped */
} JsonFrameResult;

typedef struct JsonFrame {
    GString *text;
    const char *problem; /* static phrase */
    unsigned depth;
    bool is_complete; /* text was handed out */
    bool is_skipping; /* up to the end of the line */
    bool in_string;
    unsigned escape;   /* 0: none, 1: behind a backslash, 2-5: digit of \uXXXX that comes next */
    uint16_t unit;     /* UTF-16 unit made of the digits so far */
    bool wants_second; /* the first half of a surrogate pair came */
} JsonFrame;

void json_frame_init(JsonFrame *frame);
void json_frame_done(JsonFrame *frame);
/* Forgets what came so far. */
void json_frame_reset(JsonFrame *frame);
JsonFrameResult json_frame_push(JsonFrame *frame, uint8_t byte);

#endif
