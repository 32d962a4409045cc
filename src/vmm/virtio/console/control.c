/* Console device: the control queues. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "base/log.h"
#include "vmm/virtio/console/console-private.h"

#include <string.h>

#define MESSAGE_BYTES sizeof(struct virtio_console_control)
#define NAME_MAX_BYTES 256

/* The next thing that the driver is to be told of @port. False: nothing. Clears its flag. */
static bool next_event(VirtioSerial *serial, unsigned number, uint16_t *event, uint16_t *value)
{
    SerialPortState *state = &serial->state[number];
    SerialPort *port = serial->port[number];
    struct {
        bool *flag;
        uint16_t event, value;
    } rows[] = {
        { &state->tell_add, VIRTIO_CONSOLE_PORT_ADD, 1 },
        { &state->tell_console, VIRTIO_CONSOLE_CONSOLE_PORT, 1 },
        { &state->tell_name, VIRTIO_CONSOLE_PORT_NAME, 1 },
        { &state->tell_open, VIRTIO_CONSOLE_PORT_OPEN,
          port && (!port->backend || port->backend->is_connected) },
        { &state->tell_remove, VIRTIO_CONSOLE_PORT_REMOVE, 1 },
    };
    for (unsigned i = 0; i < ARRAY_LENGTH(rows); i++) {
        if (*rows[i].flag) {
            *rows[i].flag = false;
            *event = rows[i].event;
            *value = rows[i].value;
            return true;
        }
    }
    return false;
}

/* Returns the bytes of the message in @message. */
static size_t build_message(const SerialPort *port, unsigned number, uint16_t event, uint16_t value,
                            uint8_t *message)
{
    le32_put(message + offsetof(struct virtio_console_control, id), number);
    le16_put(message + offsetof(struct virtio_console_control, event), event);
    le16_put(message + offsetof(struct virtio_console_control, value), value);
    size_t length = MESSAGE_BYTES;
    if (event == VIRTIO_CONSOLE_PORT_NAME && port && port->name) {
        size_t name = strnlen(port->name, NAME_MAX_BYTES);
        memcpy(message + length, port->name, name);
        length += name;
    }
    return length;
}

/* False: there is no buffer; the message stays flagged for later. */
static bool send_message(VirtioSerial *serial, unsigned number)
{
    uint8_t message[MESSAGE_BYTES + NAME_MAX_BYTES];
    uint16_t event, value;
    SerialPortState before = serial->state[number];
    while (next_event(serial, number, &event, &value)) {
        VirtqChain *chain = virtio_pop(&serial->virtio, SERIAL_CONTROL_RX);
        if (!chain) {
            serial->state[number] = before;
            return false;
        }
        size_t length = build_message(serial->port[number], number, event, value, message);
        if (length > chain->in_bytes) {
            length = MESSAGE_BYTES;
        }
        if (virtq_chain_write(chain, 0, message, length) < 0) {
            virtq_chain_free(chain);
            virtio_fail(&serial->virtio,
                        "buffer for control messages is too small or not in memory");
            return false;
        }
        virtio_push(&serial->virtio, chain, (uint32_t)length);
        before = serial->state[number];
    }
    return true;
}

void serial_send_control(VirtioSerial *serial)
{
    if (!serial->is_driver_ready || !virtio_is_running(&serial->virtio)) {
        return;
    }
    for (unsigned i = 0; i < serial->max_ports && send_message(serial, i); i++) {
    }
    virtio_flush(&serial->virtio, SERIAL_CONTROL_RX);
}

static void driver_ready(VirtioSerial *serial, bool is_ready)
{
    serial->is_driver_ready = is_ready;
    for (unsigned i = 0; i < serial->max_ports; i++) {
        serial->state[i] = (SerialPortState){ .tell_add = is_ready && serial->port[i] };
    }
}

static void port_ready(VirtioSerial *serial, unsigned number, bool is_ready)
{
    const SerialPort *port = serial->port[number];
    SerialPortState *state = &serial->state[number];
    if (!port || !is_ready) {
        log_guest_error("%s: the driver could not set up port %u",
                        device_label(&serial->virtio.device), number);
        return;
    }
    state->is_guest_ready = true;
    state->tell_console = port->is_console;
    state->tell_name = port->name != NULL;
    state->tell_open = true;
}

static void port_open(VirtioSerial *serial, unsigned number, bool is_open)
{
    SerialPort *port = serial->port[number];
    bool was_open = serial->state[number].is_guest_open;
    serial->state[number].is_guest_open = is_open;
    if (port && was_open != is_open) {
        device_host_notify(port->device.host, DEVICE_NOTICE_PORT, is_open);
    }
    if (port && port->backend && is_open) {
        char_accept_input(port->backend);
    }
}

static void handle_message(VirtioSerial *serial, const uint8_t *message)
{
    uint32_t number = le32_get(message + offsetof(struct virtio_console_control, id));
    uint16_t event = le16_get(message + offsetof(struct virtio_console_control, event));
    bool value = le16_get(message + offsetof(struct virtio_console_control, value)) != 0;
    if (event == VIRTIO_CONSOLE_DEVICE_READY) {
        driver_ready(serial, value);
    } else if (number >= serial->max_ports) {
        log_guest_error("%s: control message for port %u, which is not there",
                        device_label(&serial->virtio.device), number);
    } else if (event == VIRTIO_CONSOLE_PORT_READY) {
        port_ready(serial, number, value);
    } else if (event == VIRTIO_CONSOLE_PORT_OPEN) {
        port_open(serial, number, value);
    }
}

void serial_handle_control(VirtioSerial *serial)
{
    uint8_t message[MESSAGE_BYTES];
    VirtqChain *chain;
    while ((chain = virtio_pop(&serial->virtio, SERIAL_CONTROL_TX))) {
        if (virtq_chain_read(chain, 0, message, sizeof(message)) < 0) {
            virtq_chain_free(chain);
            virtio_fail(&serial->virtio, "control message is too short or not in memory");
            return;
        }
        handle_message(serial, message);
        virtio_push(&serial->virtio, chain, 0);
    }
    virtio_flush(&serial->virtio, SERIAL_CONTROL_TX);
    serial_send_control(serial);
}
