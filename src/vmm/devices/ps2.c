/* PS/2 keyboard (scan code sets 1 and 2) and mouse (with wheel).
 *
 * Source: IBM PS/2 Hardware Interface Technical Reference; Microsoft's description of the wheel
 * mouse. Left out: scan code set 3 and its per-key modes.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/devices/ps2.h"

#include <string.h>

#define ACK 0xfa
#define RESEND 0xfe
#define SELF_TEST_PASSED 0xaa

/* Space that events leave free for answers. */
#define ANSWER_ROOM 16

static void put(Ps2Queue *queue, uint8_t byte)
{
    if (queue->count < PS2_QUEUE_BYTES) {
        queue->byte[(queue->first + queue->count) % PS2_QUEUE_BYTES] = byte;
        queue->count++;
    }
}

static bool has_room(const Ps2Queue *queue, unsigned bytes)
{
    return queue->count + bytes + ANSWER_ROOM <= PS2_QUEUE_BYTES;
}

static void clear(Ps2Queue *queue)
{
    queue->first = 0;
    queue->count = 0;
}

int ps2_queue_take(Ps2Queue *queue)
{
    if (!queue->count) {
        return -1;
    }
    uint8_t byte = queue->byte[queue->first];
    queue->first = (queue->first + 1) % PS2_QUEUE_BYTES;
    queue->count--;
    return byte;
}

static bool queue_check_loaded(const Ps2Queue *queue)
{
    return queue->first < PS2_QUEUE_BYTES && queue->count <= PS2_QUEUE_BYTES;
}

/* Keyboard ------------------------------------------------------------------------------------- */

/* Scan code set 2 by that of set 1; 0: no such key. */
static const uint8_t set2_of_set1[0x80] = {
    0x00, 0x76, 0x16, 0x1e, 0x26, 0x25, 0x2e, 0x36, 0x3d, 0x3e, 0x46, 0x45, 0x4e, 0x55, 0x66,
    0x0d, 0x15, 0x1d, 0x24, 0x2d, 0x2c, 0x35, 0x3c, 0x43, 0x44, 0x4d, 0x54, 0x5b, 0x5a, 0x14,
    0x1c, 0x1b, 0x23, 0x2b, 0x34, 0x33, 0x3b, 0x42, 0x4b, 0x4c, 0x52, 0x0e, 0x12, 0x5d, 0x1a,
    0x22, 0x21, 0x2a, 0x32, 0x31, 0x3a, 0x41, 0x49, 0x4a, 0x59, 0x7c, 0x11, 0x29, 0x58, 0x05,
    0x06, 0x04, 0x0c, 0x03, 0x0b, 0x83, 0x0a, 0x01, 0x09, 0x77, 0x7e, 0x6c, 0x75, 0x7d, 0x7b,
    0x6b, 0x73, 0x74, 0x79, 0x69, 0x72, 0x7a, 0x70, 0x71, 0x84, 0x00, 0x61, 0x78, 0x07, 0x00,
    0x00, 0x1f, 0x27, 0x2f, 0x37, 0x3f, 0x00, 0x00, 0x00, 0x5e,
};

enum {
    KEYBOARD_LEDS = 0xed,
    KEYBOARD_ECHO = 0xee,
    KEYBOARD_SCAN_SET = 0xf0,
    KEYBOARD_ID = 0xf2,
    KEYBOARD_RATE = 0xf3,
    KEYBOARD_ENABLE = 0xf4,
    KEYBOARD_DISABLE = 0xf5,
    KEYBOARD_DEFAULTS = 0xf6,
    KEYBOARD_RESEND = 0xfe,
    KEYBOARD_RESET = 0xff,
};

static void keyboard_defaults(Ps2Keyboard *keyboard)
{
    keyboard->scan_set = 2;
    keyboard->rate = 0x2b;
    keyboard->is_scanning = true;
}

void ps2_keyboard_reset(Ps2Keyboard *keyboard)
{
    memset(keyboard, 0, sizeof(*keyboard));
    keyboard_defaults(keyboard);
}

static void keyboard_parameter(Ps2Keyboard *keyboard, uint8_t byte)
{
    uint8_t command = keyboard->command;
    keyboard->command = 0;
    put(&keyboard->out, ACK);
    if (command == KEYBOARD_LEDS) {
        keyboard->leds = byte & 7;
    } else if (command == KEYBOARD_RATE) {
        keyboard->rate = byte & 0x7f;
    } else if (byte == 0) {
        put(&keyboard->out, keyboard->scan_set);
    } else if (byte == 1 || byte == 2) {
        keyboard->scan_set = byte;
    }
}

void ps2_keyboard_write(Ps2Keyboard *keyboard, uint8_t byte)
{
    if (keyboard->command && byte < KEYBOARD_LEDS) {
        keyboard_parameter(keyboard, byte);
        return;
    }
    keyboard->command = 0;
    switch (byte) {
    case KEYBOARD_LEDS:
    case KEYBOARD_SCAN_SET:
    case KEYBOARD_RATE:
        keyboard->command = byte;
        put(&keyboard->out, ACK);
        break;
    case KEYBOARD_ECHO:
        put(&keyboard->out, KEYBOARD_ECHO);
        break;
    case KEYBOARD_ID:
        put(&keyboard->out, ACK);
        put(&keyboard->out, 0xab);
        put(&keyboard->out, 0x83);
        break;
    case KEYBOARD_ENABLE:
        keyboard->is_scanning = true;
        put(&keyboard->out, ACK);
        break;
    case KEYBOARD_DISABLE:
    case KEYBOARD_DEFAULTS:
        clear(&keyboard->out);
        keyboard_defaults(keyboard);
        keyboard->is_scanning = byte == KEYBOARD_DEFAULTS;
        put(&keyboard->out, ACK);
        break;
    case KEYBOARD_RESET:
        ps2_keyboard_reset(keyboard);
        put(&keyboard->out, ACK);
        put(&keyboard->out, SELF_TEST_PASSED);
        break;
    case KEYBOARD_RESEND:
    default:
        put(&keyboard->out, RESEND);
        break;
    }
}

void ps2_keyboard_event(Ps2Keyboard *keyboard, uint16_t code, bool is_down, bool translated)
{
    uint8_t key = code & 0x7f;
    if (!keyboard->is_scanning || !set2_of_set1[key] || !has_room(&keyboard->out, 3)) {
        return;
    }
    if (code & 0xff00) {
        put(&keyboard->out, 0xe0);
    }
    if (translated || keyboard->scan_set == 1) {
        put(&keyboard->out, is_down ? key : key | 0x80);
        return;
    }
    if (!is_down) {
        put(&keyboard->out, 0xf0);
    }
    put(&keyboard->out, set2_of_set1[key]);
}

bool ps2_keyboard_check_loaded(const Ps2Keyboard *keyboard)
{
    return queue_check_loaded(&keyboard->out) &&
           (keyboard->scan_set == 1 || keyboard->scan_set == 2);
}

/* Mouse ---------------------------------------------------------------------------------------- */

enum {
    MOUSE_SCALING_1 = 0xe6,
    MOUSE_SCALING_2 = 0xe7,
    MOUSE_RESOLUTION = 0xe8,
    MOUSE_STATUS = 0xe9,
    MOUSE_STREAM = 0xea,
    MOUSE_READ = 0xeb,
    MOUSE_WRAP_END = 0xec,
    MOUSE_WRAP = 0xee,
    MOUSE_REMOTE = 0xf0,
    MOUSE_ID = 0xf2,
    MOUSE_RATE = 0xf3,
    MOUSE_ENABLE = 0xf4,
    MOUSE_DISABLE = 0xf5,
    MOUSE_DEFAULTS = 0xf6,
    MOUSE_RESET = 0xff,
};

#define MOVE_MAX 1000000 /* movement that gathers while nobody reads */

static void mouse_defaults(Ps2Mouse *mouse)
{
    mouse->resolution = 2;
    mouse->rate = 100;
    mouse->is_reporting = false;
    mouse->is_remote = false;
    mouse->is_scaled = false;
    mouse->dx = mouse->dy = mouse->wheel = 0;
}

void ps2_mouse_reset(Ps2Mouse *mouse)
{
    memset(mouse, 0, sizeof(*mouse));
    mouse_defaults(mouse);
}

static int clamp(int value, int limit)
{
    return value > limit ? limit : value < -limit ? -limit : value;
}

static void put_packet(Ps2Mouse *mouse)
{
    int dx = clamp(mouse->dx, 127), dy = clamp(-mouse->dy, 127);
    int wheel = clamp(mouse->wheel, 7);
    mouse->dx -= dx;
    mouse->dy += dy;
    put(&mouse->out,
        (uint8_t)(0x08 | (mouse->buttons & 7) | (dx < 0 ? 0x10 : 0) | (dy < 0 ? 0x20 : 0)));
    put(&mouse->out, (uint8_t)dx);
    put(&mouse->out, (uint8_t)dy);
    if (mouse->kind == 3) {
        put(&mouse->out, (uint8_t)wheel);
    } else if (mouse->kind == 4) {
        put(&mouse->out, (uint8_t)((wheel & 0x0f) | (mouse->buttons & 0x18) << 1));
    }
    mouse->wheel = mouse->kind ? mouse->wheel - wheel : 0;
}

void ps2_mouse_report(Ps2Mouse *mouse)
{
    while ((mouse->dx || mouse->dy || mouse->wheel) && mouse->is_reporting && !mouse->is_remote &&
           has_room(&mouse->out, 4)) {
        put_packet(mouse);
    }
}

void ps2_mouse_event(Ps2Mouse *mouse, int dx, int dy, int wheel, unsigned buttons)
{
    bool changed = mouse->buttons != (buttons & 0x1f);
    mouse->buttons = buttons & 0x1f;
    mouse->dx = clamp(mouse->dx + clamp(dx, MOVE_MAX), MOVE_MAX);
    mouse->dy = clamp(mouse->dy + clamp(dy, MOVE_MAX), MOVE_MAX);
    mouse->wheel = clamp(mouse->wheel + clamp(wheel, MOVE_MAX), MOVE_MAX);
    if (changed && mouse->is_reporting && !mouse->is_remote && has_room(&mouse->out, 4)) {
        put_packet(mouse);
    }
    ps2_mouse_report(mouse);
}

static void set_rate(Ps2Mouse *mouse, uint8_t rate)
{
    if (mouse->knock[0] == 200 && mouse->knock[1] == 100 && rate == 80) {
        mouse->kind = 3;
    } else if (mouse->knock[0] == 200 && mouse->knock[1] == 200 && rate == 80 && mouse->kind == 3) {
        mouse->kind = 4;
    }
    mouse->knock[0] = mouse->knock[1];
    mouse->knock[1] = rate;
    mouse->rate = rate;
}

static void mouse_parameter(Ps2Mouse *mouse, uint8_t byte)
{
    if (mouse->command == MOUSE_RATE) {
        set_rate(mouse, byte);
    } else {
        mouse->resolution = byte & 3;
    }
    mouse->command = 0;
    put(&mouse->out, ACK);
}

static void put_status(Ps2Mouse *mouse)
{
    uint8_t buttons = (uint8_t)((mouse->buttons & 1) << 2 | (mouse->buttons & 2) >> 1 |
                                (mouse->buttons & 4) >> 1);
    put(&mouse->out, (uint8_t)(buttons | (mouse->is_scaled ? 0x10 : 0) |
                               (mouse->is_reporting ? 0x20 : 0) | (mouse->is_remote ? 0x40 : 0)));
    put(&mouse->out, mouse->resolution);
    put(&mouse->out, mouse->rate);
}

static void mouse_command(Ps2Mouse *mouse, uint8_t byte)
{
    switch (byte) {
    case MOUSE_SCALING_1:
    case MOUSE_SCALING_2:
        mouse->is_scaled = byte == MOUSE_SCALING_2;
        break;
    case MOUSE_RESOLUTION:
    case MOUSE_RATE:
        mouse->command = byte;
        break;
    case MOUSE_STATUS:
        put_status(mouse);
        break;
    case MOUSE_STREAM:
    case MOUSE_REMOTE:
        mouse->is_remote = byte == MOUSE_REMOTE;
        break;
    case MOUSE_READ:
        put_packet(mouse);
        break;
    case MOUSE_WRAP:
        mouse->is_wrapping = true;
        break;
    case MOUSE_ID:
        put(&mouse->out, mouse->kind);
        break;
    case MOUSE_ENABLE:
    case MOUSE_DISABLE:
        mouse->is_reporting = byte == MOUSE_ENABLE;
        break;
    case MOUSE_DEFAULTS:
        mouse_defaults(mouse);
        break;
    default:
        break;
    }
}

void ps2_mouse_write(Ps2Mouse *mouse, uint8_t byte)
{
    if (mouse->is_wrapping && byte != MOUSE_WRAP_END && byte != MOUSE_RESET) {
        put(&mouse->out, byte);
        return;
    }
    if (mouse->command) {
        mouse_parameter(mouse, byte);
        return;
    }
    if (byte == MOUSE_RESET) {
        ps2_mouse_reset(mouse);
        put(&mouse->out, ACK);
        put(&mouse->out, SELF_TEST_PASSED);
        put(&mouse->out, mouse->kind);
        return;
    }
    if (byte == MOUSE_WRAP_END) {
        mouse->is_wrapping = false;
    } else if (byte < MOUSE_SCALING_1 || (byte > MOUSE_DEFAULTS && byte < MOUSE_RESET)) {
        put(&mouse->out, RESEND);
        return;
    }
    put(&mouse->out, ACK);
    mouse_command(mouse, byte);
}

bool ps2_mouse_check_loaded(const Ps2Mouse *mouse)
{
    return queue_check_loaded(&mouse->out) &&
           (mouse->kind == 0 || mouse->kind == 3 || mouse->kind == 4) && mouse->dx <= MOVE_MAX &&
           mouse->dx >= -MOVE_MAX && mouse->dy <= MOVE_MAX && mouse->dy >= -MOVE_MAX &&
           mouse->wheel <= MOVE_MAX && mouse->wheel >= -MOVE_MAX;
}

/* State ---------------------------------------------------------------------------------------- */

static const StateField queue_fields[] = {
    STATE_BYTES_FIELD(Ps2Queue, byte),
    STATE_FIELD(Ps2Queue, STATE_U8, first),
    STATE_FIELD(Ps2Queue, STATE_U8, count),
    STATE_END,
};
static const StateTable queue_state = { .name = "queue", .fields = queue_fields };

static const StateField keyboard_fields[] = {
    STATE_STRUCT(Ps2Keyboard, out, &queue_state),
    STATE_FIELD(Ps2Keyboard, STATE_U8, command),
    STATE_FIELD(Ps2Keyboard, STATE_U8, scan_set),
    STATE_FIELD(Ps2Keyboard, STATE_U8, leds),
    STATE_FIELD(Ps2Keyboard, STATE_U8, rate),
    STATE_FIELD(Ps2Keyboard, STATE_BOOL, is_scanning),
    STATE_END,
};
const StateTable ps2_keyboard_state = { .name = "ps2-keyboard", .fields = keyboard_fields };

static const StateField mouse_fields[] = {
    STATE_STRUCT(Ps2Mouse, out, &queue_state),
    STATE_FIELD(Ps2Mouse, STATE_U8, command),
    STATE_FIELD(Ps2Mouse, STATE_U8, kind),
    STATE_FIELD(Ps2Mouse, STATE_U8, resolution),
    STATE_FIELD(Ps2Mouse, STATE_U8, rate),
    STATE_BYTES_FIELD(Ps2Mouse, knock),
    STATE_FIELD(Ps2Mouse, STATE_BOOL, is_reporting),
    STATE_FIELD(Ps2Mouse, STATE_BOOL, is_remote),
    STATE_FIELD(Ps2Mouse, STATE_BOOL, is_scaled),
    STATE_FIELD(Ps2Mouse, STATE_BOOL, is_wrapping),
    STATE_FIELD(Ps2Mouse, STATE_U8, buttons),
    STATE_FIELD(Ps2Mouse, STATE_U32, dx),
    STATE_FIELD(Ps2Mouse, STATE_U32, dy),
    STATE_FIELD(Ps2Mouse, STATE_U32, wheel),
    STATE_END,
};
const StateTable ps2_mouse_state = { .name = "ps2-mouse", .fields = mouse_fields };
