/* Small devices of one or two ports: fast reset (0x92), reset control (0xcf9), debug exit, pvpanic.
 *
 * Source: Intel ICH9 data sheet (port 0x92, RST_CNT); QEMU's documentation of isa-debug-exit and of
 * the pvpanic device. SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/device/guest-timer.h"
#include "vmm/devices/devices.h"

static void power_event(const Device *dev, PowerEvent event, int code)
{
    dev->host->power_event(dev->host->opaque, event, code);
}

/* A device that is one register. */
typedef struct PortDevice {
    Device dev;
    uint64_t iobase, iosize; /* properties, or fixed at realize */
    uint8_t value;
    Region region;
} PortDevice;

static bool port_realize(PortDevice *port, const char *name, const RegionOps *ops, GError **error)
{
    port->region = (Region){ name, port->iosize, ops, port, &port->dev.lock };
    return device_map_ports(&port->dev, port->iobase, &port->region, error);
}

static void port_unrealize(Device *dev)
{
    device_unmap_ports(dev, ((PortDevice *)dev)->iobase);
}

static void port_reset(Device *dev, ResetKind kind)
{
    ((PortDevice *)dev)->value = 0;
}

static uint64_t port_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((PortDevice *)opaque)->value;
}

static const StateField port_fields[] = { STATE_FIELD(PortDevice, STATE_U8, value), STATE_END };

/* Port 0x92. Processors of today have no A20 gate: the bit is kept, and nothing is masked. */

#define PORT92_RESET 0x01
#define PORT92_A20 0x02

static void port92_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    PortDevice *port = opaque;
    bool was = port->value & PORT92_RESET;
    port->value = value & (PORT92_RESET | PORT92_A20);
    if ((value & PORT92_RESET) && !was) {
        power_event(&port->dev, POWER_RESET, 0);
    }
}

static const RegionOps port92_ops = { port_read, port92_write, 1, 1 };

static bool port92_realize(Device *dev, GError **error)
{
    PortDevice *port = (PortDevice *)dev;
    port->iobase = 0x92;
    port->iosize = 1;
    return port_realize(port, "port92", &port92_ops, error);
}

static void port92_reset(Device *dev, ResetKind kind)
{
    ((PortDevice *)dev)->value = PORT92_A20;
}

static const StateTable port92_state = { .name = "port92", .fields = port_fields };

const DeviceClass port92_class = {
    .name = "port92",
    .summary = "system control port A",
    .bus = DEVICE_BUS_SYSTEM,
    .is_internal = true,
    .instance_size = sizeof(PortDevice),
    .state = &port92_state,
    .realize = port92_realize,
    .unrealize = port_unrealize,
    .reset = port92_reset,
};

/* Port 0xcf9. */

#define RESET_CPU 0x04
#define RESET_WRITABLE 0x0a

static void reset_port_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    PortDevice *port = opaque;
    port->value = value & RESET_WRITABLE;
    if (value & RESET_CPU) {
        power_event(&port->dev, POWER_RESET, 0);
    }
}

static const RegionOps reset_port_ops = { port_read, reset_port_write, 1, 1 };

static bool reset_port_realize(Device *dev, GError **error)
{
    PortDevice *port = (PortDevice *)dev;
    port->iobase = 0xcf9;
    port->iosize = 1;
    return port_realize(port, "reset-port", &reset_port_ops, error);
}

static const StateTable reset_port_state = { .name = "reset-port", .fields = port_fields };

const DeviceClass reset_port_class = {
    .name = "reset-port",
    .summary = "reset control register",
    .bus = DEVICE_BUS_SYSTEM,
    .is_internal = true,
    .instance_size = sizeof(PortDevice),
    .state = &reset_port_state,
    .realize = reset_port_realize,
    .unrealize = port_unrealize,
    .reset = port_reset,
};

/* isa-debug-exit. */

static void debug_exit_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    PortDevice *port = opaque;
    power_event(&port->dev, POWER_DEBUG_EXIT, (int)((value & 0x7f) << 1 | 1));
}

static const RegionOps debug_exit_ops = { port_read, debug_exit_write, 1, 4 };

static bool debug_exit_realize(Device *dev, GError **error)
{
    return port_realize((PortDevice *)dev, "isa-debug-exit", &debug_exit_ops, error);
}

static const Property debug_exit_properties[] = {
    { "iobase", PROPERTY_UINT, offsetof(PortDevice, iobase), "0x501", .max = 0xfff8,
      .help = "first I/O port" },
    { "iosize", PROPERTY_UINT, offsetof(PortDevice, iosize), "2", .min = 1, .max = 8,
      .help = "number of I/O ports" },
    { NULL },
};
static const StateTable debug_exit_state = { .name = "isa-debug-exit", .fields = port_fields };

const DeviceClass isa_debug_exit_class = {
    .name = "isa-debug-exit",
    .summary = "a write ends the monitor with a status, for test guests",
    .bus = DEVICE_BUS_ISA,
    .instance_size = sizeof(PortDevice),
    .properties = debug_exit_properties,
    .state = &debug_exit_state,
    .realize = debug_exit_realize,
    .unrealize = port_unrealize,
    .reset = port_reset,
};

/* pvpanic. */

#define PVPANIC_PANICKED 0x01

static uint64_t pvpanic_read(void *opaque, uint64_t offset, unsigned size)
{
    return PVPANIC_PANICKED; /* the events that are understood */
}

static void pvpanic_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    PortDevice *port = opaque;
    if (value & PVPANIC_PANICKED) {
        power_event(&port->dev, POWER_PANIC, 0);
    }
}

static const RegionOps pvpanic_ops = { pvpanic_read, pvpanic_write, 1, 1 };

static bool pvpanic_realize(Device *dev, GError **error)
{
    PortDevice *port = (PortDevice *)dev;
    port->iosize = 1;
    return port_realize(port, "pvpanic", &pvpanic_ops, error);
}

static const Property pvpanic_properties[] = {
    { "ioport", PROPERTY_UINT, offsetof(PortDevice, iobase), "0x505", .max = 0xffff,
      .help = "I/O port" },
    { NULL },
};
static const StateTable pvpanic_state = { .name = "pvpanic", .fields = port_fields };

const DeviceClass pvpanic_class = {
    .name = "pvpanic",
    .summary = "lets the guest tell that it crashed",
    .bus = DEVICE_BUS_ISA,
    .instance_size = sizeof(PortDevice),
    .properties = pvpanic_properties,
    .state = &pvpanic_state,
    .realize = pvpanic_realize,
    .unrealize = port_unrealize,
    .reset = port_reset,
};
