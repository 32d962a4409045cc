/* Console device: what its files share. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_VIRTIO_CONSOLE_CONSOLE_PRIVATE_H
#define LODGE_VMM_VIRTIO_CONSOLE_CONSOLE_PRIVATE_H

#include "vmm/char/char.h"
#include "vmm/virtio/device.h"

#include <linux/virtio_console.h>

#define SERIAL_PORTS_MAX 31 /* two queues each, and two for control */
#define SERIAL_CONTROL_RX 2 /* to the driver */
#define SERIAL_CONTROL_TX 3

typedef struct VirtioSerial VirtioSerial;

/* A port, as a device of its own on the serial bus. */
typedef struct SerialPort {
    Device device;
    char *bus, *chardev, *name; /* properties */
    uint64_t number;            /* property; SERIAL_PORT_AUTO: the next free one */
    bool is_console;
    VirtioSerial *serial;
    CharBackend *backend; /* NULL: none */
} SerialPort;

#define SERIAL_PORT_AUTO UINT64_MAX

/* What the driver knows of a port, and what it is still to be told: each message is a flag, so that
 * none can pile up. Under the serial device's lock. */
typedef struct SerialPortState {
    bool is_guest_ready, is_guest_open;
    bool tell_add, tell_remove, tell_console, tell_name, tell_open;
} SerialPortState;

struct VirtioSerial {
    VirtioDevice virtio;
    uint64_t max_ports; /* property */
    bool is_driver_ready;
    SerialPort *port[SERIAL_PORTS_MAX]; /* NULL: none of that number */
    SerialPortState state[SERIAL_PORTS_MAX];
};

extern const StateTable virtio_serial_state;

/* Queues of a port. */
static inline unsigned serial_rx_queue(unsigned port)
{
    return port ? 2 + 2 * port : 0;
}

static inline unsigned serial_tx_queue(unsigned port)
{
    return serial_rx_queue(port) + 1;
}

/* Lock held: messages of the driver, and those to it that found no buffer before. */
void serial_handle_control(VirtioSerial *serial);
void serial_send_control(VirtioSerial *serial);
/* Lock held: bytes of the guest on @port, until its back end takes no more. */
void serial_transmit(VirtioSerial *serial, unsigned port);
/* Whether bytes flow: the driver opened the port, or knows of no others. Lock held. */
bool serial_port_is_open(const VirtioSerial *serial, unsigned port);

/* A port comes and goes. Context: main thread, lock not held. */
bool serial_add_port(VirtioSerial *serial, SerialPort *port, GError **error);
void serial_remove_port(SerialPort *port);

#endif
