/* PS/2 keyboard and mouse as the keyboard controller sees them: command bytes in, bytes out.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_DEVICES_PS2_H
#define LODGE_VMM_DEVICES_PS2_H

#include "vmm/device/state.h"

#define PS2_QUEUE_BYTES 64

typedef struct Ps2Queue {
    uint8_t byte[PS2_QUEUE_BYTES];
    uint8_t first, count;
} Ps2Queue;

/* The next byte; -1 when there is none. */
int ps2_queue_take(Ps2Queue *queue);

typedef struct Ps2Keyboard {
    Ps2Queue out;
    uint8_t command;  /* that waits for its parameter, or 0 */
    uint8_t scan_set; /* 1 or 2 */
    uint8_t leds, rate;
    bool is_scanning;
} Ps2Keyboard;

typedef struct Ps2Mouse {
    Ps2Queue out;
    uint8_t command;
    uint8_t kind; /* 0 plain, 3 with wheel, 4 with wheel and five buttons */
    uint8_t resolution, rate;
    uint8_t knock[2]; /* sample rates set before the last: wheel mice are found by them */
    bool is_reporting, is_remote, is_scaled, is_wrapping;
    uint8_t buttons;
    int32_t dx, dy, wheel; /* not yet reported */
} Ps2Mouse;

extern const StateTable ps2_keyboard_state;
extern const StateTable ps2_mouse_state;

void ps2_keyboard_reset(Ps2Keyboard *keyboard);
void ps2_keyboard_write(Ps2Keyboard *keyboard, uint8_t byte);
/* @code as for i8042_key_event(); @translated: the controller turns set 2 into set 1. */
void ps2_keyboard_event(Ps2Keyboard *keyboard, uint16_t code, bool is_down, bool translated);
bool ps2_keyboard_check_loaded(const Ps2Keyboard *keyboard);

void ps2_mouse_reset(Ps2Mouse *mouse);
void ps2_mouse_write(Ps2Mouse *mouse, uint8_t byte);
void ps2_mouse_event(Ps2Mouse *mouse, int dx, int dy, int wheel, unsigned buttons);
/* Queues a report of what has gathered, if there is room and anything to tell. */
void ps2_mouse_report(Ps2Mouse *mouse);
bool ps2_mouse_check_loaded(const Ps2Mouse *mouse);

#endif
