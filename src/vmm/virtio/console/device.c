/* Console device of virtio 1.2 with several named ports and emergency write. Leaves out the
 * console's size. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "vmm/virtio/console/console-private.h"
#include "vmm/virtio/console/console.h"

#define QUEUE_SIZE 128
#define CONTROL_QUEUE_SIZE 32

static uint64_t serial_get_features(VirtioDevice *dev)
{
    return VIRTIO_FEATURE(VIRTIO_CONSOLE_F_MULTIPORT) |
           VIRTIO_FEATURE(VIRTIO_CONSOLE_F_EMERG_WRITE);
}

static void serial_get_config(VirtioDevice *dev, uint8_t *config)
{
    VirtioSerial *serial = (VirtioSerial *)dev;
    le32_put(config + offsetof(struct virtio_console_config, max_nr_ports),
             (uint32_t)serial->max_ports);
}

static void serial_set_config(VirtioDevice *dev, unsigned offset, const uint8_t *bytes,
                              unsigned size)
{
    VirtioSerial *serial = (VirtioSerial *)dev;
    SerialPort *port = serial->port[0];
    if (offset == offsetof(struct virtio_console_config, emerg_wr) && size && port &&
        port->backend) {
        char_write(port->backend, bytes, 1);
    }
}

static void serial_handle_queue(VirtioDevice *dev, unsigned index)
{
    VirtioSerial *serial = (VirtioSerial *)dev;
    if (index == SERIAL_CONTROL_RX) {
        serial_send_control(serial);
        return;
    }
    if (index == SERIAL_CONTROL_TX) {
        serial_handle_control(serial);
        return;
    }
    unsigned number = index < SERIAL_CONTROL_RX ? 0 : index / 2 - 1;
    SerialPort *port = serial->port[number];
    if (index & 1) {
        serial_transmit(serial, number);
    } else if (port && port->backend) {
        char_accept_input(port->backend);
    }
}

static void serial_reset(VirtioDevice *dev)
{
    VirtioSerial *serial = (VirtioSerial *)dev;
    serial->is_driver_ready = false;
    for (unsigned i = 0; i < SERIAL_PORTS_MAX; i++) {
        if (serial->port[i] && serial->state[i].is_guest_open) {
            device_host_notify(serial->port[i]->device.host, DEVICE_NOTICE_PORT, 0);
        }
        serial->state[i] = (SerialPortState){ 0 };
    }
}

/* Input may have stood still while there was no driver. */
static void serial_activate(VirtioDevice *dev)
{
    VirtioSerial *serial = (VirtioSerial *)dev;
    for (unsigned i = 0; i < serial->max_ports; i++) {
        if (serial->port[i] && serial->port[i]->backend) {
            char_accept_input(serial->port[i]->backend);
        }
    }
}

static bool serial_realize(VirtioDevice *dev, GError **error)
{
    VirtioSerial *serial = (VirtioSerial *)dev;
    for (unsigned i = 0; i < serial->max_ports; i++) {
        virtio_add_queue(dev, QUEUE_SIZE);
        virtio_add_queue(dev, QUEUE_SIZE);
        if (i == 0) {
            virtio_add_queue(dev, CONTROL_QUEUE_SIZE);
            virtio_add_queue(dev, CONTROL_QUEUE_SIZE);
        }
    }
    return true;
}

/* Peers may have come or gone since the state was saved. */
static bool serial_post_load(VirtioDevice *dev, GError **error)
{
    VirtioSerial *serial = (VirtioSerial *)dev;
    for (unsigned i = 0; i < SERIAL_PORTS_MAX; i++) {
        SerialPortState *state = &serial->state[i];
        bool is_there = serial->port[i] != NULL;
        state->tell_console = state->tell_console && is_there;
        state->tell_name = state->tell_name && is_there;
        state->tell_open = is_there && state->is_guest_ready;
    }
    return true;
}

static const StateField port_fields[] = {
    STATE_FIELD(SerialPortState, STATE_BOOL, is_guest_ready),
    STATE_FIELD(SerialPortState, STATE_BOOL, is_guest_open),
    STATE_FIELD(SerialPortState, STATE_BOOL, tell_add),
    STATE_FIELD(SerialPortState, STATE_BOOL, tell_remove),
    STATE_FIELD(SerialPortState, STATE_BOOL, tell_console),
    STATE_FIELD(SerialPortState, STATE_BOOL, tell_name),
    STATE_FIELD(SerialPortState, STATE_BOOL, tell_open),
    STATE_END,
};
static const StateTable port_state = { .name = "port", .version = 1, .fields = port_fields };

static const StateField fields[] = {
    VIRTIO_STATE,
    STATE_FIELD(VirtioSerial, STATE_BOOL, is_driver_ready),
    STATE_STRUCTS(VirtioSerial, state, &port_state),
    STATE_END,
};
const StateTable virtio_serial_state = { .name = "virtio-serial", .version = 1, .fields = fields };

static const VirtioDeviceClass serial_class = {
    .device_id = VIRTIO_ID_CONSOLE,
    .pci_class = 0x078000,
    .config_size = sizeof(struct virtio_console_config),
    .realize = serial_realize,
    .get_features = serial_get_features,
    .get_config = serial_get_config,
    .set_config = serial_set_config,
    .activate = serial_activate,
    .handle_queue = serial_handle_queue,
    .reset = serial_reset,
    .post_load = serial_post_load,
};

#define SERIAL_PROPERTIES                                                                          \
    {                                                                                              \
        .name = "max_ports", .kind = PROPERTY_UINT, .offset = offsetof(VirtioSerial, max_ports),   \
        .min = 1, .max = SERIAL_PORTS_MAX, .fallback = "31", .help = "ports it may have"           \
    }

static const Property pci_properties[] = { SERIAL_PROPERTIES, VIRTIO_PCI_PROPERTIES, { 0 } };
static const Property mmio_properties[] = { SERIAL_PROPERTIES, VIRTIO_MMIO_PROPERTIES, { 0 } };

const DeviceClass virtio_serial_pci_class = {
    VIRTIO_PCI_CLASS,
    .name = "virtio-serial-pci",
    .alias = "virtio-serial",
    .summary = "consoles and channels (virtconsole, virtserialport)",
    .instance_size = sizeof(VirtioSerial),
    .properties = pci_properties,
    .state = &virtio_serial_state,
    .family = &serial_class,
};

const DeviceClass virtio_serial_device_class = {
    VIRTIO_MMIO_CLASS,
    .name = "virtio-serial-device",
    .summary = "consoles and channels (virtconsole, virtserialport)",
    .instance_size = sizeof(VirtioSerial),
    .properties = mmio_properties,
    .state = &virtio_serial_state,
    .family = &serial_class,
};
