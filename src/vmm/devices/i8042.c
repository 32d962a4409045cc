/* Keyboard controller of the PC AT with auxiliary port, keyboard and mouse attached.
 *
 * Source: IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device
 * Controller". Bytes arrive at once. Left out: password functions; the A20 bit is kept, nothing is
 * masked. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "gbase/error.h"
#include "vmm/device/guest-timer.h"
#include "vmm/devices/devices.h"
#include "vmm/devices/ps2.h"

#define PORT_DATA 0x60
#define PORT_COMMAND 0x64

#define IRQ_KEYBOARD 0
#define IRQ_MOUSE 1

#define STATUS_OUTPUT 0x01
#define STATUS_SYSTEM 0x04
#define STATUS_COMMAND 0x08
#define STATUS_UNLOCKED 0x10
#define STATUS_AUX 0x20

#define MODE_KEYBOARD_IRQ 0x01
#define MODE_AUX_IRQ 0x02
#define MODE_SYSTEM 0x04
#define MODE_KEYBOARD_OFF 0x10
#define MODE_AUX_OFF 0x20
#define MODE_TRANSLATE 0x40

#define OUTPUT_PORT_RUN 0x01 /* low resets the processor */
#define OUTPUT_PORT_A20 0x02

enum {
    COMMAND_READ_RAM = 0x20, /* to 0x3f; 0x20 is the mode */
    COMMAND_WRITE_RAM = 0x60,
    COMMAND_AUX_OFF = 0xa7,
    COMMAND_AUX_ON = 0xa8,
    COMMAND_AUX_TEST = 0xa9,
    COMMAND_SELF_TEST = 0xaa,
    COMMAND_KEYBOARD_TEST = 0xab,
    COMMAND_KEYBOARD_OFF = 0xad,
    COMMAND_KEYBOARD_ON = 0xae,
    COMMAND_READ_INPUT_PORT = 0xc0,
    COMMAND_READ_OUTPUT_PORT = 0xd0,
    COMMAND_WRITE_OUTPUT_PORT = 0xd1,
    COMMAND_WRITE_KEYBOARD_BUFFER = 0xd2,
    COMMAND_WRITE_AUX_BUFFER = 0xd3,
    COMMAND_WRITE_AUX = 0xd4,
    COMMAND_PULSE = 0xf0, /* to 0xff */
};

/* Where the byte in the output buffer came from. */
enum { FROM_NOWHERE, FROM_CONTROLLER, FROM_KEYBOARD, FROM_AUX };

typedef struct I8042 {
    Device dev;
    uint8_t ram[32]; /* ram[0] is the mode byte */
    uint8_t command; /* that waits for its parameter, or 0 */
    uint8_t output_port;
    bool last_was_command;
    uint8_t buffer, buffer_source;
    uint8_t answer; /* of the controller itself, waiting for the buffer */
    bool has_answer, answer_is_aux;
    Ps2Keyboard keyboard;
    Ps2Mouse mouse;
    Region data, control;
} I8042;

static uint8_t mode(const I8042 *self)
{
    return self->ram[0];
}

/* Moves the next byte into the empty output buffer, and drives the lines. */
static void update(I8042 *self)
{
    int byte = -1;
    uint8_t source = FROM_NOWHERE;
    if (self->buffer_source == FROM_NOWHERE) {
        if (self->has_answer) {
            byte = self->answer;
            source = self->answer_is_aux ? FROM_AUX : FROM_CONTROLLER;
            self->has_answer = false;
        } else if (!(mode(self) & MODE_KEYBOARD_OFF) && self->keyboard.out.count) {
            byte = ps2_queue_take(&self->keyboard.out);
            source = FROM_KEYBOARD;
        } else if (!(mode(self) & MODE_AUX_OFF) && self->mouse.out.count) {
            byte = ps2_queue_take(&self->mouse.out);
            source = FROM_AUX;
        }
        if (byte >= 0) {
            self->buffer = (uint8_t)byte;
            self->buffer_source = source;
        }
    }
    bool is_aux = self->buffer_source == FROM_AUX;
    bool is_full = self->buffer_source != FROM_NOWHERE;
    device_set_irq(&self->dev, IRQ_KEYBOARD,
                   is_full && !is_aux && (mode(self) & MODE_KEYBOARD_IRQ));
    device_set_irq(&self->dev, IRQ_MOUSE, is_aux && (mode(self) & MODE_AUX_IRQ));
}

static void answer(I8042 *self, uint8_t byte, bool is_aux)
{
    self->answer = byte;
    self->answer_is_aux = is_aux;
    self->has_answer = true;
}

static void reset_processor(const I8042 *self)
{
    self->dev.host->power_event(self->dev.host->opaque, POWER_RESET, 0);
}

static void write_output_port(I8042 *self, uint8_t value)
{
    self->output_port = value & OUTPUT_PORT_A20;
    if (!(value & OUTPUT_PORT_RUN)) {
        reset_processor(self);
    }
}

static uint8_t read_output_port(const I8042 *self)
{
    return OUTPUT_PORT_RUN | self->output_port | (self->buffer_source == FROM_AUX ? 0x20 : 0) |
           (self->buffer_source == FROM_KEYBOARD ? 0x10 : 0);
}

static void run_command(I8042 *self, uint8_t command)
{
    if (command >= COMMAND_PULSE) {
        if (!(command & OUTPUT_PORT_RUN)) {
            reset_processor(self);
        }
        return;
    }
    if (command >= COMMAND_READ_RAM && command < COMMAND_READ_RAM + 32) {
        answer(self, self->ram[command - COMMAND_READ_RAM], false);
        return;
    }
    if (command >= COMMAND_WRITE_RAM && command < COMMAND_WRITE_RAM + 32) {
        self->command = command;
        return;
    }
    switch (command) {
    case COMMAND_AUX_OFF:
        self->ram[0] |= MODE_AUX_OFF;
        break;
    case COMMAND_AUX_ON:
        self->ram[0] &= (uint8_t)~MODE_AUX_OFF;
        break;
    case COMMAND_AUX_TEST:
    case COMMAND_KEYBOARD_TEST:
        answer(self, 0x00, false);
        break;
    case COMMAND_SELF_TEST:
        self->ram[0] |= MODE_SYSTEM;
        answer(self, 0x55, false);
        break;
    case COMMAND_KEYBOARD_OFF:
        self->ram[0] |= MODE_KEYBOARD_OFF;
        break;
    case COMMAND_KEYBOARD_ON:
        self->ram[0] &= (uint8_t)~MODE_KEYBOARD_OFF;
        break;
    case COMMAND_READ_INPUT_PORT:
        answer(self, 0x80, false);
        break;
    case COMMAND_READ_OUTPUT_PORT:
        answer(self, read_output_port(self), false);
        break;
    case COMMAND_WRITE_OUTPUT_PORT:
    case COMMAND_WRITE_KEYBOARD_BUFFER:
    case COMMAND_WRITE_AUX_BUFFER:
    case COMMAND_WRITE_AUX:
        self->command = command;
        break;
    default:
        break;
    }
}

static void write_data(I8042 *self, uint8_t value)
{
    uint8_t command = self->command;
    self->command = 0;
    switch (command) {
    case 0:
        /* A byte for the keyboard opens its line. */
        self->ram[0] &= (uint8_t)~MODE_KEYBOARD_OFF;
        ps2_keyboard_write(&self->keyboard, value);
        break;
    case COMMAND_WRITE_OUTPUT_PORT:
        write_output_port(self, value);
        break;
    case COMMAND_WRITE_KEYBOARD_BUFFER:
        answer(self, value, false);
        break;
    case COMMAND_WRITE_AUX_BUFFER:
        answer(self, value, true);
        break;
    case COMMAND_WRITE_AUX:
        self->ram[0] &= (uint8_t)~MODE_AUX_OFF;
        ps2_mouse_write(&self->mouse, value);
        break;
    default:
        self->ram[command - COMMAND_WRITE_RAM] = value;
        break;
    }
}

static uint64_t data_read(void *opaque, uint64_t offset, unsigned size)
{
    I8042 *self = opaque;
    uint8_t value = self->buffer;
    self->buffer_source = FROM_NOWHERE;
    device_set_irq(&self->dev, IRQ_KEYBOARD, false);
    device_set_irq(&self->dev, IRQ_MOUSE, false);
    ps2_mouse_report(&self->mouse);
    update(self);
    return value;
}

static void data_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    I8042 *self = opaque;
    self->last_was_command = false;
    write_data(self, (uint8_t)value);
    update(self);
}

static uint64_t control_read(void *opaque, uint64_t offset, unsigned size)
{
    const I8042 *self = opaque;
    uint8_t status = STATUS_UNLOCKED | (mode(self) & MODE_SYSTEM ? STATUS_SYSTEM : 0) |
                     (self->last_was_command ? STATUS_COMMAND : 0);
    if (self->buffer_source != FROM_NOWHERE) {
        status |= STATUS_OUTPUT | (self->buffer_source == FROM_AUX ? STATUS_AUX : 0);
    }
    return status;
}

static void control_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    I8042 *self = opaque;
    self->last_was_command = true;
    self->command = 0;
    run_command(self, (uint8_t)value);
    update(self);
}

static const RegionOps data_ops = { data_read, data_write, 1, 1 };
static const RegionOps control_ops = { control_read, control_write, 1, 1 };

void i8042_key_event(Device *dev, uint16_t code, bool is_down)
{
    I8042 *self = (I8042 *)dev;
    LOCK_GUARD(&dev->lock);
    ps2_keyboard_event(&self->keyboard, code, is_down, mode(self) & MODE_TRANSLATE);
    update(self);
}

void i8042_mouse_event(Device *dev, int dx, int dy, int wheel, unsigned buttons)
{
    I8042 *self = (I8042 *)dev;
    LOCK_GUARD(&dev->lock);
    ps2_mouse_event(&self->mouse, dx, dy, wheel, buttons);
    update(self);
}

static bool i8042_realize(Device *dev, GError **error)
{
    I8042 *self = (I8042 *)dev;
    self->data = (Region){ "i8042-data", 1, &data_ops, self, &dev->lock };
    self->control = (Region){ "i8042-control", 1, &control_ops, self, &dev->lock };
    if (!device_map_ports(dev, PORT_DATA, &self->data, error)) {
        return false;
    }
    if (!device_map_ports(dev, PORT_COMMAND, &self->control, error)) {
        device_unmap_ports(dev, PORT_DATA);
        return false;
    }
    return true;
}

static void i8042_unrealize(Device *dev)
{
    device_unmap_ports(dev, PORT_DATA);
    device_unmap_ports(dev, PORT_COMMAND);
}

/* As firmware leaves it: interrupts of the keyboard, translation to set 1. */
static void i8042_reset(Device *dev, ResetKind kind)
{
    I8042 *self = (I8042 *)dev;
    for (unsigned i = 0; i < sizeof(self->ram); i++) {
        self->ram[i] = 0;
    }
    self->ram[0] = MODE_KEYBOARD_IRQ | MODE_SYSTEM | MODE_TRANSLATE;
    self->command = 0;
    self->output_port = OUTPUT_PORT_A20;
    self->last_was_command = false;
    self->buffer = 0;
    self->buffer_source = FROM_NOWHERE;
    self->answer = 0;
    self->has_answer = false;
    self->answer_is_aux = false;
    ps2_keyboard_reset(&self->keyboard);
    ps2_mouse_reset(&self->mouse);
    update(self);
}

static void i8042_resume(Device *dev)
{
    update((I8042 *)dev);
}

static bool is_parameter_command(uint8_t command)
{
    return command == 0 || (command >= COMMAND_WRITE_RAM && command < COMMAND_WRITE_RAM + 32) ||
           (command >= COMMAND_WRITE_OUTPUT_PORT && command <= COMMAND_WRITE_AUX);
}

static bool i8042_post_load(Device *dev, GError **error)
{
    const I8042 *self = (const I8042 *)dev;
    if (!is_parameter_command(self->command) || self->buffer_source > FROM_AUX ||
        !ps2_keyboard_check_loaded(&self->keyboard) || !ps2_mouse_check_loaded(&self->mouse)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT, "impossible controller state");
        return false;
    }
    return true;
}

static const StateField i8042_fields[] = {
    STATE_BYTES_FIELD(I8042, ram),
    STATE_FIELD(I8042, STATE_U8, command),
    STATE_FIELD(I8042, STATE_U8, output_port),
    STATE_FIELD(I8042, STATE_BOOL, last_was_command),
    STATE_FIELD(I8042, STATE_U8, buffer),
    STATE_FIELD(I8042, STATE_U8, buffer_source),
    STATE_FIELD(I8042, STATE_U8, answer),
    STATE_FIELD(I8042, STATE_BOOL, has_answer),
    STATE_FIELD(I8042, STATE_BOOL, answer_is_aux),
    STATE_STRUCT(I8042, keyboard, &ps2_keyboard_state),
    STATE_STRUCT(I8042, mouse, &ps2_mouse_state),
    STATE_END,
};
static const StateTable i8042_state = { .name = "i8042", .fields = i8042_fields };

const DeviceClass i8042_class = {
    .name = "i8042",
    .summary = "keyboard controller with keyboard and mouse",
    .bus = DEVICE_BUS_SYSTEM,
    .is_internal = true,
    .instance_size = sizeof(I8042),
    .state = &i8042_state,
    .realize = i8042_realize,
    .unrealize = i8042_unrealize,
    .reset = i8042_reset,
    .resume = i8042_resume,
    .post_load = i8042_post_load,
};
