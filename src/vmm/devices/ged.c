/* Registers of hardware-reduced ACPI and its events.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/devices/ged.h"

#include "base/cleanup.h"
#include "vmm/device/guest-timer.h"

#define SLEEP_STATUS (ACPI_GED_SLEEP + 1)
#define SLP_TYP_SHIFT 2
#define SLP_TYP_MASK 7
#define SLP_EN 0x20

typedef struct Ged {
    Device dev;
    Region region;
    uint32_t events; /* not yet read */
    uint8_t sleep_control;
} Ged;

static void update_irq(Ged *ged)
{
    device_set_irq(&ged->dev, 0, ged->events != 0);
}

static uint64_t ged_read8(Ged *ged, uint64_t offset)
{
    return offset == ACPI_GED_SLEEP ? ged->sleep_control : 0;
}

static uint64_t ged_read(void *opaque, uint64_t offset, unsigned size)
{
    Ged *ged = opaque;
    if (offset == ACPI_GED_EVENTS && size == 4) {
        uint32_t events = ged->events;
        ged->events = 0;
        update_irq(ged);
        return events;
    }
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++) {
        value |= ged_read8(ged, offset + i) << (i * 8);
    }
    return value;
}

static void power_event(Ged *ged, PowerEvent event)
{
    ged->dev.host->power_event(ged->dev.host->opaque, event, 0);
}

static void ged_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    Ged *ged = opaque;
    if (offset == ACPI_GED_SLEEP) {
        ged->sleep_control = (uint8_t)value & (SLP_TYP_MASK << SLP_TYP_SHIFT);
        if (value & SLP_EN) {
            bool is_s5 = (value >> SLP_TYP_SHIFT & SLP_TYP_MASK) == ACPI_GED_SLEEP_S5;
            power_event(ged, is_s5 ? POWER_SHUTDOWN : POWER_SUSPEND);
        }
    } else if (offset == ACPI_GED_RESET && (value & 0xff) == ACPI_GED_RESET_VALUE) {
        power_event(ged, POWER_RESET);
    }
}

static const RegionOps ged_ops = { ged_read, ged_write, 1, 4 };

void acpi_ged_power_button(Device *dev)
{
    Ged *ged = (Ged *)dev;
    LOCK_GUARD(&dev->lock);
    ged->events |= ACPI_GED_POWER_BUTTON;
    update_irq(ged);
}

static bool ged_realize(Device *dev, GError **error)
{
    Ged *ged = (Ged *)dev;
    ged->region = (Region){ "acpi-ged", ACPI_GED_SIZE, &ged_ops, ged, &dev->lock };
    return device_map_memory(dev, ACPI_GED_BASE, &ged->region, error);
}

static void ged_unrealize(Device *dev)
{
    device_unmap_memory(dev, ACPI_GED_BASE);
}

static void ged_reset(Device *dev, ResetKind kind)
{
    Ged *ged = (Ged *)dev;
    ged->events = 0;
    ged->sleep_control = 0;
    update_irq(ged);
}

static bool ged_post_load(Device *dev, GError **error)
{
    Ged *ged = (Ged *)dev;
    ged->events &= ACPI_GED_POWER_BUTTON;
    ged->sleep_control &= SLP_TYP_MASK << SLP_TYP_SHIFT;
    update_irq(ged);
    return true;
}

static const StateField ged_fields[] = { STATE_FIELD(Ged, STATE_U32, events),
                                         STATE_FIELD(Ged, STATE_U8, sleep_control), STATE_END };
static const StateTable ged_state = { .name = "acpi-ged", .fields = ged_fields };

const DeviceClass acpi_ged_class = {
    .name = "acpi-ged",
    .summary = "sleep, reset and events of hardware-reduced ACPI",
    .bus = DEVICE_BUS_SYSTEM,
    .is_internal = true,
    .instance_size = sizeof(Ged),
    .state = &ged_state,
    .realize = ged_realize,
    .unrealize = ged_unrealize,
    .reset = ged_reset,
    .post_load = ged_post_load,
};
