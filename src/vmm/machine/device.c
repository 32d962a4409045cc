/* Devices of a machine: what each one is given, where it is plugged, and how it goes away.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/device/device.h"

#include "base/log.h"
#include "gbase/error.h"
#include "vmm/devices/devices.h"
#include "vmm/machine/internal.h"
#include "vmm/machine/pc.h"
#include "vmm/machine/user-objects.h"
#include "vmm/virtio/blk/blk.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

static AddressMap *map_of(const Machine *machine, DeviceSpace space)
{
    return space == DEVICE_SPACE_PORTS ? machine->port_map : machine->memory_map;
}

static void set_map_error(const char *name, DeviceSpace space, GuestAddr base, int r,
                          GError **error)
{
    const char *where = space == DEVICE_SPACE_PORTS ? "port" : "address";
    if (r == -EBUSY) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "'%s' cannot be at %s 0x%" PRIx64 ": another device is there", name, where,
                    base);
    } else {
        lodge_error_set_errno(error, r, "'%s' cannot be at %s 0x%" PRIx64, name, where, base);
    }
}

static bool host_map_region(void *opaque, DeviceSpace space, GuestAddr base, Region *region,
                            int priority, GError **error)
{
    const MachineDevice *md = opaque;
    AddressEntry entry = { .base = base, .size_bytes = region->size_bytes, .region = region };
    int r = address_map_add(map_of(md->machine, space), &entry, priority);
    if (r < 0) {
        set_map_error(region->name, space, base, r, error);
        return false;
    }
    return true;
}

static void host_unmap_region(void *opaque, DeviceSpace space, GuestAddr base, int priority)
{
    const MachineDevice *md = opaque;
    int r = address_map_remove(map_of(md->machine, space), base, priority);
    lodge_assert(r == 0);
}

static bool host_map_ram(void *opaque, GuestAddr base, RamBlock *block, bool readonly, int priority,
                         GError **error)
{
    const MachineDevice *md = opaque;
    AddressEntry entry = {
        .base = base, .size_bytes = block->size_bytes, .ram = block, .readonly = readonly
    };
    int r = address_map_add(md->machine->memory_map, &entry, priority);
    if (r < 0) {
        set_map_error(block->name, DEVICE_SPACE_MEMORY, base, r, error);
        return false;
    }
    return true;
}

static void host_unmap_ram(void *opaque, GuestAddr base, int priority)
{
    host_unmap_region(opaque, DEVICE_SPACE_MEMORY, base, priority);
}

static int64_t host_clock_ns(void *opaque)
{
    const MachineDevice *md = opaque;
    return machine_clock_ns(md->machine);
}

static void host_timer_set(void *opaque, LoopTimer *timer, int64_t deadline_ns)
{
    const MachineDevice *md = opaque;
    machine_timer_set(md->machine, timer, deadline_ns);
}

static void host_power_event(void *opaque, PowerEvent event, int code)
{
    const MachineDevice *md = opaque;
    machine_power_event(md->machine, event, code);
}

static void *host_find_backend(void *opaque, const char *kind, const char *name, GError **error)
{
    const MachineDevice *md = opaque;
    void *object = machine_use_backend(md->machine, md, kind, name, error);
    if (object && !strcmp(kind, VIRTIO_BLK_IOTHREAD)) {
        return user_object_iothread(object);
    }
    bool is_source = object && !strcmp(kind, "rng");
    return is_source ? (void *)user_object_rng(object) : object;
}

/* Addresses of cards that were given none count up: 52:54:00:12:34:56, :57, ... */
static void host_claim_mac(void *opaque, uint8_t mac[6])
{
    static const uint8_t prefix[] = { 0x52, 0x54, 0x00, 0x12, 0x34 };
    static const uint8_t none[6];
    MachineDevice *md = opaque;
    bool *is_taken = md->machine->is_mac_taken;
    if (!memcmp(mac, none, sizeof(none))) {
        unsigned byte = MACHINE_MAC_FIRST;
        while (byte < MACHINE_MACS - 1 && is_taken[byte]) {
            byte++;
        }
        memcpy(mac, prefix, sizeof(prefix));
        mac[5] = (uint8_t)byte;
    }
    if (!memcmp(mac, prefix, sizeof(prefix)) && !is_taken[mac[5]]) {
        is_taken[mac[5]] = true;
        md->mac_byte = mac[5];
        md->has_mac = true;
    }
}

static void tell_notices(void *opaque)
{
    MachineDevice *md = opaque;
    uint32_t pending = atomic_exchange(&md->notices_pending, 0);
    for (unsigned i = 0; i < DEVICE_NOTICES; i++) {
        if (pending & 1u << i) {
            machine_tell(md->machine, &(MachineEvent){ .kind = MACHINE_EVENT_NOTICE,
                                                       .device = md->device->id,
                                                       .notice = (DeviceNotice)i,
                                                       .value = md->notice[i] });
        }
    }
}

/* A guest that repeats itself makes one posted call, not many. */
static void host_notify(void *opaque, DeviceNotice notice, int64_t value)
{
    MachineDevice *md = opaque;
    atomic_store(&md->notice[notice], value);
    if (!atomic_fetch_or(&md->notices_pending, 1u << notice) &&
        loop_call(md->machine->loop, tell_notices, md) < 0) {
        log_warn("%s: no memory to tell of an event", device_label(md->device));
    }
}

static void host_slot_off(void *opaque)
{
    machine_slot_off(opaque);
}

static int host_ioeventfd(void *opaque, DeviceSpace space, GuestAddr addr, unsigned size,
                          bool has_match, uint64_t match, int event_fd, bool assign)
{
    const MachineDevice *md = opaque;
    const Machine *machine = md->machine;
    return machine->accel->ioeventfd(machine->vm, space == DEVICE_SPACE_PORTS, addr, size,
                                     has_match, match, event_fd, assign);
}

MachineDevice *machine_device_new(Machine *machine, const DeviceClass *class, const char *id)
{
    MachineDevice *md = g_new0(MachineDevice, 1);
    md->machine = machine;
    md->device = device_new(class, id);
    md->host = (DeviceHost){
        .memory = &machine->memory,
        .loop = machine->loop,
        .vcpus = (unsigned)machine->config->smp.cpus,
        .msi = machine_msi_sink(machine),
        .clock_ns = host_clock_ns,
        .timer_set = host_timer_set,
        .map_region = host_map_region,
        .unmap_region = host_unmap_region,
        .map_ram = host_map_ram,
        .unmap_ram = host_unmap_ram,
        .power_event = host_power_event,
        .find_backend = host_find_backend,
        .slot_off = host_slot_off,
        .notify = host_notify,
        .claim_mac = host_claim_mac,
        .ioeventfd = machine->accel->ioeventfd ? host_ioeventfd : NULL,
        .opaque = md,
    };
    return md;
}

void machine_device_destroy(MachineDevice *md)
{
    Device *dev = md->device;
    device_unrealize(dev);
    if (md->is_plugged) {
        pci_bus_unplug((PciDevice *)dev);
    }
    machine_leave_backends(md);
    loop_cancel_calls(md->machine->loop, md);
    if (md->has_mac) {
        md->machine->is_mac_taken[md->mac_byte] = false;
    }
    device_free(dev);
    g_free(md);
}

static bool plug(MachineDevice *md, GError **error)
{
    if (md->device->class->bus != DEVICE_BUS_PCI) {
        return true;
    }
    if (!md->machine->pci_root) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "device '%s' needs PCI, which machine '%s' does not have",
                    md->device->class->name, md->machine->type->name);
        return false;
    }
    if (!pci_bus_plug(md->machine->pci_root, (PciDevice *)md->device, error)) {
        return false;
    }
    md->is_plugged = true;
    return true;
}

bool machine_device_realize(MachineDevice *md, GError **error)
{
    if (!plug(md, error) || !device_realize(md->device, &md->host, error)) {
        machine_device_destroy(md);
        return false;
    }
    g_ptr_array_add(md->machine->devices, md);
    return true;
}

static bool class_is_called(const DeviceClass *class, const char *name)
{
    return !strcmp(name, class->name) || (class->alias && !strcmp(name, class->alias));
}

/* Properties that -global gives to every device of this class. */
static bool apply_globals(MachineDevice *md, GError **error)
{
    const GPtrArray *globals = md->machine->config->globals;
    for (guint i = 0; i < globals->len; i++) {
        const GlobalConfig *global = g_ptr_array_index(globals, i);
        if (class_is_called(md->device->class, global->driver) &&
            !device_set_property(md->device, global->property, global->value, error)) {
            g_prefix_error(error, "-global: ");
            return false;
        }
    }
    return true;
}

/* Properties of devices that other monitors have, with the one value that is true here. */
static const struct {
    const char *driver, *property, *value;
} fixed_globals[] = {
    { "ICH9-LPC", "disable_s3", "1" },
    { "ICH9-LPC", "disable_s4", "1" },
    { "ICH9-LPC", "noreboot", "off" },
    { "PIIX4_PM", "disable_s3", "1" },
    { "PIIX4_PM", "disable_s4", "1" },
    { "kvm-pit", "lost_tick_policy", "delay" },
    { "kvm-pit", "lost_tick_policy", "discard" },
    { "mc146818rtc", "lost_tick_policy", "discard" },
};

static bool is_fixed_global(const GlobalConfig *global)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(fixed_globals); i++) {
        if (!strcmp(fixed_globals[i].driver, global->driver) &&
            !strcmp(fixed_globals[i].property, global->property) &&
            !strcmp(fixed_globals[i].value, global->value)) {
            return true;
        }
    }
    return false;
}

bool machine_check_globals(const Machine *machine, GError **error)
{
    const GPtrArray *globals = machine->config->globals;
    for (guint i = 0; i < globals->len; i++) {
        const GlobalConfig *global = g_ptr_array_index(globals, i);
        if (!is_fixed_global(global) &&
            !device_registry_find(machine_device_families, global->driver, error)) {
            g_prefix_error(error, "-global: ");
            return false;
        }
    }
    return true;
}

MachineDevice *machine_device_prepare(Machine *machine, const DeviceClass *class,
                                      const char *const *properties, const IrqLine *lines,
                                      unsigned line_count, GError **error)
{
    MachineDevice *md = machine_device_new(machine, class, NULL);
    lodge_assert(line_count <= DEVICE_IRQS_MAX);
    for (unsigned i = 0; i < line_count; i++) {
        md->host.irq[i] = lines[i];
    }
    for (; properties && properties[0]; properties += 2) {
        bool ok = device_set_property(md->device, properties[0], properties[1], NULL);
        lodge_assert(ok);
    }
    if (!apply_globals(md, error)) {
        machine_device_destroy(md);
        return NULL;
    }
    return md;
}

Device *machine_add(Machine *machine, const DeviceClass *class, const char *const *properties,
                    const IrqLine *lines, unsigned line_count, GError **error)
{
    MachineDevice *md =
        machine_device_prepare(machine, class, properties, lines, line_count, error);
    Device *dev = md ? md->device : NULL;
    return md && machine_device_realize(md, error) ? dev : NULL;
}

uint64_t machine_device_number(const Device *dev, const char *property)
{
    const Property *p = property_find(dev->class->properties, property);
    lodge_assert(p && p->kind == PROPERTY_UINT);
    return *(const uint64_t *)((const char *)dev + p->offset);
}

static bool set_configured(MachineDevice *md, const DeviceConfig *config, GError **error)
{
    for (guint i = 0; i < config->properties->pairs->len; i++) {
        const Keyval *pair = g_ptr_array_index(config->properties->pairs, i);
        if (!device_set_property(md->device, pair->key, pair->value, error)) {
            return false;
        }
    }
    return true;
}

/* The line of an ISA device, by its property irq. */
static bool set_isa_line(MachineDevice *md, GError **error)
{
    uint64_t irq = machine_device_number(md->device, "irq");
    if (irq == 2 || irq >= MACHINE_ISA_LINES || machine_gsi_is_full(md->machine, (unsigned)irq)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "property 'irq' cannot be '%" PRIu64 "'; allowed: 0 to 15 without 2, each for "
                    "a few devices",
                    irq);
        return false;
    }
    if (md->device->class == &isa_serial_class) {
        return pc_place_serial(md, error);
    }
    md->host.irq[0] = machine_gsi_line(md->machine, (unsigned)irq);
    return true;
}

/* The lines of a device by its bus. */
static bool set_lines(MachineDevice *md, GError **error)
{
    const DeviceClass *class = md->device->class;
    if (class->bus == DEVICE_BUS_ISA && property_find(class->properties, "irq")) {
        return set_isa_line(md, error);
    }
    if (class->bus == DEVICE_BUS_VIRTIO_MMIO) {
        if (md->machine->type->place_virtio_mmio) {
            return md->machine->type->place_virtio_mmio(md, error);
        }
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "device '%s' needs virtio-mmio, which machine '%s' does not have; there is a "
                    "device of the same kind for PCI",
                    class->name, md->machine->type->name);
        return false;
    }
    return true;
}

static const char *class_name(const Machine *machine, const char *driver)
{
    if (!strcmp(driver, "default-disk")) {
        return machine->type->default_disk;
    }
    return !strcmp(driver, "default-nic") ? machine->type->default_nic : driver;
}

bool machine_add_configured(Machine *machine, const DeviceConfig *config, GError **error)
{
    const DeviceClass *class =
        device_registry_find(machine_device_families, class_name(machine, config->driver), error);
    if (!class) {
        return false;
    }
    if (class->is_internal) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "device '%s' is part of the machine and cannot be added", class->name);
        return false;
    }
    MachineDevice *md = machine_device_new(machine, class, config->id);
    if (!apply_globals(md, error) || !set_configured(md, config, error) || !set_lines(md, error)) {
        machine_device_destroy(md);
        return false;
    }
    return machine_device_realize(md, error);
}

void machine_done_devices(Machine *machine)
{
    /* The last one first: what is behind a bridge goes before it. */
    while (machine->devices && machine->devices->len) {
        machine_device_destroy(
            g_ptr_array_steal_index(machine->devices, machine->devices->len - 1));
    }
    if (machine->devices) {
        g_ptr_array_unref(machine->devices);
    }
    pci_root_free(machine->pci_root);
}
