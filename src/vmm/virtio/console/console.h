/* Console device of virtio and its ports. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_VIRTIO_CONSOLE_CONSOLE_H
#define LODGE_VMM_VIRTIO_CONSOLE_CONSOLE_H

#include "vmm/device/device.h"

/* Kinds for DeviceHost.find_backend(). The bus: a Device of one of the two serial classes, by the
 * name of its -device
 * ("ID" or "ID.0"); the name "" asks for the first there is. */
#define VIRTIO_SERIAL_BUS "virtio-serial-bus"
#define VIRTIO_SERIAL_BACKEND "chardev"

extern const DeviceClass virtio_serial_pci_class, virtio_serial_device_class;
extern const DeviceClass virtconsole_class, virtserialport_class;

/* The virtio-serial device that @port, a realized device of one of the two port classes, is on. */
const Device *virtio_serial_of_port(const Device *port);

#endif
