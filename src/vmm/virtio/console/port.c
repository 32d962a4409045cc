/* Console device: its ports, virtconsole and virtserialport. SPDX-License-Identifier:
 * GPL-2.0-or-later */
#include "base/cleanup.h"
#include "base/int-math.h"
#include "gbase/error.h"
#include "vmm/virtio/console/console-private.h"
#include "vmm/virtio/console/console.h"

#include <string.h>

#define COPY_BYTES 4096

bool serial_port_is_open(const VirtioSerial *serial, unsigned port)
{
    if (!virtio_is_running(&serial->virtio)) {
        return false;
    }
    return serial->state[port].is_guest_open ||
           !virtio_has_feature(&serial->virtio, VIRTIO_CONSOLE_F_MULTIPORT);
}

/* -- bytes of the guest -- */

/* Hands the readable part of @chain to the back end. False: it is not in memory. */
static bool write_chain(SerialPort *port, const VirtqChain *chain)
{
    uint8_t bytes[COPY_BYTES];
    for (uint64_t offset = 0; offset < chain->out_bytes;) {
        size_t n = (size_t)min_u64(chain->out_bytes - offset, sizeof(bytes));
        if (virtq_chain_read(chain, offset, bytes, n) < 0) {
            return false;
        }
        char_write(port->backend, bytes, n);
        offset += n;
    }
    return true;
}

void serial_transmit(VirtioSerial *serial, unsigned number)
{
    unsigned queue = serial_tx_queue(number);
    SerialPort *port = serial->port[number];
    CharBackend *backend = port ? port->backend : NULL;
    VirtqChain *chain;
    /* Agents cannot bear a gap: what a slow peer leaves waits in the guest. Larger requests than
     * all the room go when it is empty. */
    while ((chain = virtio_pop(&serial->virtio, queue))) {
        size_t room = backend ? char_write_room(backend) : CHAR_PENDING_MAX;
        if (room < CHAR_PENDING_MAX && chain->out_bytes > room) {
            virtq_unpop(chain);
            break;
        }
        if (backend && !write_chain(port, chain)) {
            virtq_chain_free(chain);
            virtio_fail(&serial->virtio, "bytes to send are not in memory");
            return;
        }
        virtio_push(&serial->virtio, chain, 0);
    }
    virtio_flush(&serial->virtio, queue);
}

/* -- the back end's calls; on the loop -- */

/* The size of the next buffer. */
static size_t port_can_receive(void *opaque)
{
    SerialPort *port = opaque;
    VirtioSerial *serial = port->serial;
    LOCK_GUARD(&serial->virtio.device.lock);
    if (!serial_port_is_open(serial, (unsigned)port->number)) {
        return 0;
    }
    VirtqChain *chain = virtio_pop(&serial->virtio, serial_rx_queue((unsigned)port->number));
    size_t room = chain ? (size_t)chain->in_bytes : 0;
    if (chain) {
        virtq_unpop(chain);
    }
    return room;
}

static void port_receive(void *opaque, const uint8_t *bytes, size_t length)
{
    SerialPort *port = opaque;
    VirtioSerial *serial = port->serial;
    unsigned queue = serial_rx_queue((unsigned)port->number);
    LOCK_GUARD(&serial->virtio.device.lock);
    while (length) {
        VirtqChain *chain = virtio_pop(&serial->virtio, queue);
        if (!chain) {
            return; /* reset in between */
        }
        size_t n = (size_t)min_u64(chain->in_bytes, length);
        if (virtq_chain_write(chain, 0, bytes, n) < 0) {
            virtq_chain_free(chain);
            virtio_fail(&serial->virtio, "buffer for received bytes is not in memory");
            return;
        }
        virtio_push(&serial->virtio, chain, (uint32_t)n);
        bytes += n;
        length -= n;
    }
    virtio_flush(&serial->virtio, queue);
}

static void port_event(void *opaque, CharEvent event)
{
    SerialPort *port = opaque;
    VirtioSerial *serial = port->serial;
    unsigned number = (unsigned)port->number;
    LOCK_GUARD(&serial->virtio.device.lock);
    if (event == CHAR_EVENT_DRAINED) {
        virtio_kick(&serial->virtio, serial_tx_queue(number));
    } else if ((event == CHAR_EVENT_OPENED || event == CHAR_EVENT_CLOSED) &&
               serial->state[number].is_guest_ready) {
        serial->state[number].tell_open = true;
        serial_send_control(serial);
    }
}

/* -- life -- */

static bool choose_number(VirtioSerial *serial, SerialPort *port, GError **error)
{
    /* Drivers without several ports know number 0 only, and take it for a console. */
    if (port->number == SERIAL_PORT_AUTO) {
        port->number = port->is_console ? 0 : 1;
        while (port->number < serial->max_ports && serial->port[port->number]) {
            port->number++;
        }
    }
    if (port->number >= serial->max_ports) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT,
                    "the bus has no port %" G_GUINT64_FORMAT
                    "; its max_ports is %" G_GUINT64_FORMAT,
                    port->number, serial->max_ports);
        return false;
    }
    if (serial->port[port->number]) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_EXISTS,
                    "port %" G_GUINT64_FORMAT " of the bus is taken", port->number);
        return false;
    }
    if (port->number == 0 && !port->is_console) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG, "port 0 is for a virtconsole only");
        return false;
    }
    return true;
}

bool serial_add_port(VirtioSerial *serial, SerialPort *port, GError **error)
{
    LOCK_GUARD(&serial->virtio.device.lock);
    if (!choose_number(serial, port, error)) {
        return false;
    }
    port->serial = serial;
    serial->port[port->number] = port;
    serial->state[port->number] = (SerialPortState){ .tell_add = serial->is_driver_ready };
    serial_send_control(serial);
    return true;
}

void serial_remove_port(SerialPort *port)
{
    VirtioSerial *serial = port->serial;
    LOCK_GUARD(&serial->virtio.device.lock);
    serial->port[port->number] = NULL;
    serial->state[port->number] = (SerialPortState){ .tell_remove = serial->is_driver_ready };
    serial_send_control(serial);
}

const Device *virtio_serial_of_port(const Device *port)
{
    return &((const SerialPort *)port)->serial->virtio.device;
}

static bool port_attach(SerialPort *port, GError **error)
{
    CharFrontend front = { .can_receive = port_can_receive,
                           .receive = port_receive,
                           .event = port_event,
                           .opaque = port };
    return !port->backend || char_attach(port->backend, &front, error);
}

static bool port_realize(SerialPort *port, GError **error)
{
    const DeviceHost *host = port->device.host;
    Device *bus =
        host->find_backend(host->opaque, VIRTIO_SERIAL_BUS, port->bus ? port->bus : "", error);
    if (!bus) {
        return false;
    }
    if (port->chardev) {
        port->backend =
            host->find_backend(host->opaque, VIRTIO_SERIAL_BACKEND, port->chardev, error);
        if (!port->backend) {
            return false;
        }
    }
    if (!serial_add_port((VirtioSerial *)bus, port, error)) {
        return false;
    }
    if (!port_attach(port, error)) {
        serial_remove_port(port);
        return false;
    }
    return true;
}

static bool console_realize(Device *dev, GError **error)
{
    SerialPort *port = (SerialPort *)dev;
    port->is_console = true;
    return port_realize(port, error);
}

static bool serialport_realize(Device *dev, GError **error)
{
    return port_realize((SerialPort *)dev, error);
}

static void port_unrealize(Device *dev)
{
    SerialPort *port = (SerialPort *)dev;
    if (port->backend) {
        char_detach(port->backend);
        port->backend = NULL;
    }
    serial_remove_port(port);
}

static const Property properties[] = {
    { .name = "bus",
      .kind = PROPERTY_LINK,
      .offset = offsetof(SerialPort, bus),
      .help = "id of the virtio-serial device; default: the first" },
    { .name = "chardev",
      .kind = PROPERTY_LINK,
      .offset = offsetof(SerialPort, chardev),
      .help = "id of the -chardev its bytes go to" },
    { .name = "name",
      .kind = PROPERTY_STRING,
      .offset = offsetof(SerialPort, name),
      .help = "name that the guest sees, such as org.qemu.guest_agent.0" },
    { .name = "nr",
      .kind = PROPERTY_UINT,
      .offset = offsetof(SerialPort, number),
      .max = UINT64_MAX,
      .fallback = "18446744073709551615",
      .help = "number of the port; default: the next that is free" },
    { 0 },
};

/* All that changes is the serial device's. */
static const StateField fields[] = { STATE_END };
static const StateTable state = { .name = "virtio-serial-port", .version = 1, .fields = fields };

const DeviceClass virtconsole_class = {
    .name = "virtconsole",
    .summary = "console on a virtio-serial device",
    .bus = DEVICE_BUS_VIRTIO_SERIAL,
    .instance_size = sizeof(SerialPort),
    .properties = properties,
    .state = &state,
    .realize = console_realize,
    .unrealize = port_unrealize,
};

const DeviceClass virtserialport_class = {
    .name = "virtserialport",
    .summary = "named channel on a virtio-serial device",
    .bus = DEVICE_BUS_VIRTIO_SERIAL,
    .instance_size = sizeof(SerialPort),
    .properties = properties,
    .state = &state,
    .realize = serialport_realize,
    .unrealize = port_unrealize,
};
