/* Devices that come and go while the machine is there: functions in slots of PCI Express ports, and
 * ports of virtio-serial devices.
 *
 * A device comes at once. One that is to go is announced to the guest, and leaves when the guest
 * has let go of it; then its id is free again and observers are told.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "gbase/error.h"
#include "gbase/strutil.h"
#include "vmm/bus/pci/root-port.h"
#include "vmm/machine/inspect.h"
#include "vmm/machine/internal.h"
#include "vmm/virtio/console/console.h"

#include <string.h>

/* vCPUs stand still while the tree of devices changes. */
static void thaw(Machine *machine)
{
    if (machine->state == RUN_STATE_RUNNING) {
        machine_release_vcpus(machine);
    }
}

static MachineDevice *find_device(const Machine *machine, const char *id)
{
    for (guint i = 0; i < machine->devices->len; i++) {
        MachineDevice *md = g_ptr_array_index(machine->devices, i);
        if (!g_strcmp0(md->device->id, id)) {
            return md;
        }
    }
    return NULL;
}

static bool is_virtio_serial(const DeviceClass *class)
{
    return class == &virtio_serial_pci_class || class == &virtio_serial_device_class;
}

/* Coming */

static bool check_bus(const Machine *machine, const DeviceConfig *config, GError **error)
{
    const char *name = keyval_get(config->properties, "bus");
    PciBus *root = machine->pci_root;
    PciBus *bus = !root ? NULL : name ? pci_bus_find(root, name) : root;
    if (!bus) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "Bus '%s' not found",
                    name ? name : "PCI");
        return false;
    }
    if (!pcie_slot_is_hotpluggable(bus)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "Bus '%s' does not support hotplugging; a pcie-root-port's does", bus->name);
        return false;
    }
    return true;
}

static bool check_new(const Machine *machine, const DeviceConfig *config, GError **error)
{
    const DeviceClass *class = device_registry_find(machine_device_families, config->driver, error);
    if (!class) {
        return false;
    }
    if (config->id && !str_is_id(config->id)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Parameter 'id' expects an identifier");
        return false;
    }
    if (config->id && find_device(machine, config->id)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_EXISTS, "Duplicate device ID '%s'", config->id);
        return false;
    }
    switch (class->bus) {
    case DEVICE_BUS_PCI:
        return check_bus(machine, config, error);
    case DEVICE_BUS_VIRTIO_SERIAL:
        return true;
    case DEVICE_BUS_SYSTEM:
    case DEVICE_BUS_ISA:
    case DEVICE_BUS_VIRTIO_MMIO:
        break;
    }
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                "device '%s' cannot be added while the machine is there", class->name);
    return false;
}

/* As if the device had been there since the machine's last reset. */
static void join(Machine *machine, Device *dev)
{
    device_reset(dev, RESET_COLD);
    if (machine->is_halted) {
        device_quiesce(dev); /* what device_resume() undoes when the guest goes on */
    }
    if (dev->class->bus == DEVICE_BUS_PCI) {
        pcie_slot_announce(((PciDevice *)dev)->bus);
    }
}

bool machine_add_device(Machine *machine, const DeviceConfig *config, GError **error)
{
    if (!check_new(machine, config, error)) {
        return false;
    }
    machine_park_vcpus(machine);
    bool ok = machine_add_configured(machine, config, error);
    if (ok) {
        const MachineDevice *md = g_ptr_array_index(machine->devices, machine->devices->len - 1);
        join(machine, md->device);
    }
    thaw(machine);
    return ok;
}

/* Going */

static void take_out(Machine *machine, MachineDevice *md)
{
    g_autofree char *id = g_strdup(md->device->id);
    device_quiesce(md->device);
    machine_drain_drives(machine);
    g_ptr_array_remove(machine->devices, md);
    machine_device_destroy(md);
    if (id) {
        machine_tell(machine,
                     &(MachineEvent){ .kind = MACHINE_EVENT_DEVICE_DELETED, .device = id });
    }
}

/* A virtio-serial device does not leave its ports behind. */
static void take_out_ports(Machine *machine, const Device *serial)
{
    for (guint i = machine->devices->len; i; i--) {
        MachineDevice *md = g_ptr_array_index(machine->devices, i - 1);
        if (md->device->class->bus == DEVICE_BUS_VIRTIO_SERIAL &&
            virtio_serial_of_port(md->device) == serial) {
            take_out(machine, md);
        }
    }
}

/* All functions of the slot behind @bus, the last one first. vCPUs are parked. */
static void empty_slot(Machine *machine, PciBus *bus)
{
    for (guint i = machine->devices->len; i; i--) {
        if (i > machine->devices->len) {
            continue; /* ports of the one before went with it */
        }
        MachineDevice *md = g_ptr_array_index(machine->devices, i - 1);
        if (!md->is_plugged || ((PciDevice *)md->device)->bus != bus) {
            continue;
        }
        if (is_virtio_serial(md->device->class)) {
            take_out_ports(machine, md->device);
        }
        take_out(machine, md);
    }
    pcie_slot_announce(bus);
}

static void handle_slot_off(void *opaque)
{
    MachineDevice *port = opaque;
    Machine *machine = port->machine;
    machine_park_vcpus(machine);
    empty_slot(machine, ((PciDevice *)port->device)->secondary);
    thaw(machine);
}

void machine_slot_off(MachineDevice *md)
{
    if (loop_call(md->machine->loop, handle_slot_off, md) < 0) {
        log_error("device '%s': no memory to empty the slot", device_label(md->device));
    }
}

void machine_finish_ejects(Machine *machine)
{
    for (guint i = machine->devices->len; i; i--) {
        if (i > machine->devices->len) {
            continue; /* other functions of the slot went with it */
        }
        MachineDevice *md = g_ptr_array_index(machine->devices, i - 1);
        PciBus *bus = md->is_plugged ? ((PciDevice *)md->device)->bus : NULL;
        if (bus && pcie_slot_is_leaving(bus)) {
            empty_slot(machine, bus);
        }
    }
}

static bool request_eject(Machine *machine, MachineDevice *md, GError **error)
{
    PciBus *bus = ((PciDevice *)md->device)->bus;
    if (!pcie_slot_is_hotpluggable(bus)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG, "Bus '%s' does not support hotplugging",
                    bus->name);
        return false;
    }
    machine_park_vcpus(machine);
    if (pcie_slot_request_eject(bus)) {
        empty_slot(machine, bus);
    }
    thaw(machine);
    return true;
}

bool machine_remove_device(Machine *machine, const char *id, GError **error)
{
    MachineDevice *md = find_device(machine, id);
    if (!md) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NO_DEVICE, "Device '%s' not found", id);
        return false;
    }
    if (md->is_plugged) {
        return request_eject(machine, md, error);
    }
    if (md->device->class->bus != DEVICE_BUS_VIRTIO_SERIAL) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "device '%s' cannot be removed while the machine is there", id);
        return false;
    }
    machine_park_vcpus(machine);
    take_out(machine, md);
    thaw(machine);
    return true;
}

const Device *machine_device_at(const Machine *machine, unsigned index)
{
    const MachineDevice *md =
        index < machine->devices->len ? g_ptr_array_index(machine->devices, index) : NULL;
    return md ? md->device : NULL;
}

/* Back ends */

bool machine_create_backend(Machine *machine, const char *kind, const BackendConfig *config,
                            GError **error)
{
    static const struct {
        const char *kind;
        bool (*add)(Machine *machine, const BackendConfig *config, GError **error);
    } kinds[] = { { "chardev", machine_add_chardev },
                  { "drive", machine_add_drive },
                  { "netdev", machine_add_netdev },
                  { "object", machine_add_object } };
    if (!machine_check_new_backend(machine, kind, config->id, error)) {
        return false;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if (!strcmp(kinds[i].kind, kind)) {
            return kinds[i].add(machine, config, error);
        }
    }
    lodge_assert(!"kind of back end");
    return false;
}
