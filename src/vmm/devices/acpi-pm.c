/* ACPI power management registers of the ICH9.
 *
 * Source: ACPI Specification 6.4, "ACPI Hardware Specification"; Intel ICH9 data sheet. There is no
 * system management mode: SMI_CMD itself switches ACPI mode. Left out: sleep states with wake-up,
 * TCO watchdog, C states. SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/devices/acpi-pm.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "gbase/error.h"
#include "vmm/device/guest-timer.h"

#define PM_TIMER_HZ 3579545
#define PM_TIMER_BITS 24

#define STATUS_TIMER 0x0001
#define STATUS_BUTTON 0x0100
#define STATUS_KNOWN 0x8731
#define ENABLE_KNOWN 0x0721
#define ENABLE_SCI (STATUS_TIMER | STATUS_BUTTON)

#define CONTROL_SCI_ENABLE 0x0001
#define CONTROL_SLEEP_TYPE_SHIFT 10
#define CONTROL_SLEEP_TYPE 0x1c00
#define CONTROL_SLEEP 0x2000
#define CONTROL_WRITABLE 0x1c03

#define REG_SMI_ENABLE 0x30
#define REG_SMI_STATUS 0x34
#define SMI_ENABLE_VALUE 0x02 /* EOS; no SMI source can be enabled */

#define GPE_BYTES (ACPI_GPE0_BYTES / 2)

typedef struct AcpiPm {
    Device dev;
    uint64_t iobase; /* property; 0: a bridge maps the block */
    uint16_t status, enable, control;
    uint8_t gpe_status[GPE_BYTES], gpe_enable[GPE_BYTES];
    uint8_t smi_command, smi_status; /* ports 0xb2 and 0xb3 */
    int64_t carried_ns;              /* guest time up to which carries of the timer were seen */
    GuestTimer timer;                /* next carry, while its interrupt is enabled */
    Region region, smi_ports;
} AcpiPm;

static uint64_t timer_ticks(int64_t ns)
{
    return (uint64_t)((unsigned __int128)(uint64_t)ns * PM_TIMER_HZ / NS_PER_SEC);
}

/* The status bit is set whenever the top bit of the counter changes. */
static uint64_t timer_carries(int64_t ns)
{
    return timer_ticks(ns) >> (PM_TIMER_BITS - 1);
}

static void see_carries(AcpiPm *pm)
{
    int64_t now = device_now_ns(&pm->dev);
    if (timer_carries(now) != timer_carries(pm->carried_ns)) {
        pm->status |= STATUS_TIMER;
    }
    pm->carried_ns = now;
}

static void update(AcpiPm *pm)
{
    see_carries(pm);
    bool level = pm->status & pm->enable & ENABLE_SCI;
    for (unsigned i = 0; i < GPE_BYTES; i++) {
        level |= pm->gpe_status[i] & pm->gpe_enable[i];
    }
    device_set_irq(&pm->dev, 0, level && (pm->control & CONTROL_SCI_ENABLE));
    int64_t deadline = DEVICE_TIMER_OFF;
    if ((pm->enable & STATUS_TIMER) && !(pm->status & STATUS_TIMER)) {
        uint64_t ticks = (timer_carries(pm->carried_ns) + 1) << (PM_TIMER_BITS - 1);
        deadline = (int64_t)((unsigned __int128)ticks * NS_PER_SEC / PM_TIMER_HZ + 1);
    }
    guest_timer_set(&pm->timer, deadline);
}

static void timer_expired(Device *dev)
{
    update((AcpiPm *)dev);
}

static void write_control(AcpiPm *pm, uint16_t value)
{
    pm->control = value & CONTROL_WRITABLE;
    if (!(value & CONTROL_SLEEP)) {
        return;
    }
    const DeviceHost *host = pm->dev.host;
    unsigned type = (value & CONTROL_SLEEP_TYPE) >> CONTROL_SLEEP_TYPE_SHIFT;
    if (type == ACPI_SLEEP_S5 || type == ACPI_SLEEP_S4) {
        host->power_event(host->opaque, POWER_SHUTDOWN, 0);
    } else if (type == ACPI_SLEEP_S3) {
        host->power_event(host->opaque, POWER_SUSPEND, 0);
    }
}

/* Registers are handled as bytes: guests read and write parts of them. */
static uint8_t read_byte(AcpiPm *pm, uint64_t offset)
{
    unsigned shift = 8 * (offset & 1);
    if (offset >= ACPI_GPE0 && offset < ACPI_GPE0 + GPE_BYTES) {
        return pm->gpe_status[offset - ACPI_GPE0];
    }
    if (offset >= ACPI_GPE0 + GPE_BYTES && offset < ACPI_GPE0 + ACPI_GPE0_BYTES) {
        return pm->gpe_enable[offset - ACPI_GPE0 - GPE_BYTES];
    }
    switch (offset & ~UINT64_C(1)) {
    case ACPI_PM1_EVENT:
        see_carries(pm);
        return (uint8_t)(pm->status >> shift);
    case ACPI_PM1_EVENT + 2:
        return (uint8_t)(pm->enable >> shift);
    case ACPI_PM1_CONTROL:
        return (uint8_t)(pm->control >> shift);
    case REG_SMI_ENABLE:
        return offset & 1 ? 0 : SMI_ENABLE_VALUE;
    default:
        return 0;
    }
}

static void write_byte(AcpiPm *pm, uint64_t offset, uint8_t value)
{
    unsigned shift = 8 * (offset & 1);
    uint16_t wide = (uint16_t)(value << shift), mask = (uint16_t)(0xff << shift);
    if (offset >= ACPI_GPE0 && offset < ACPI_GPE0 + GPE_BYTES) {
        pm->gpe_status[offset - ACPI_GPE0] &= ~value;
        return;
    }
    if (offset >= ACPI_GPE0 + GPE_BYTES && offset < ACPI_GPE0 + ACPI_GPE0_BYTES) {
        pm->gpe_enable[offset - ACPI_GPE0 - GPE_BYTES] = value;
        return;
    }
    switch (offset & ~UINT64_C(1)) {
    case ACPI_PM1_EVENT:
        see_carries(pm);
        pm->status &= ~wide;
        break;
    case ACPI_PM1_EVENT + 2:
        pm->enable = ((pm->enable & ~mask) | wide) & ENABLE_KNOWN;
        break;
    case ACPI_PM1_CONTROL:
        write_control(pm, (pm->control & ~mask) | wide);
        break;
    default:
        break;
    }
}

static uint64_t pm_read(void *opaque, uint64_t offset, unsigned size)
{
    AcpiPm *pm = opaque;
    if (offset >= ACPI_PM_TIMER && offset < ACPI_PM_TIMER + 4) {
        /* Firmware reads it a million times: without the lock. */
        uint32_t ticks = timer_ticks(device_now_ns(&pm->dev)) & ((1u << PM_TIMER_BITS) - 1);
        return ticks >> (8 * (offset & 3));
    }
    LOCK_GUARD(&pm->dev.lock);
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++) {
        value |= (uint64_t)read_byte(pm, offset + i) << (8 * i);
    }
    return value;
}

static void pm_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    AcpiPm *pm = opaque;
    LOCK_GUARD(&pm->dev.lock);
    for (unsigned i = 0; i < size; i++) {
        write_byte(pm, offset + i, (uint8_t)(value >> (8 * i)));
    }
    update(pm);
}

static uint64_t smi_read(void *opaque, uint64_t offset, unsigned size)
{
    const AcpiPm *pm = opaque;
    return offset ? pm->smi_status : pm->smi_command;
}

static void smi_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    AcpiPm *pm = opaque;
    if (offset) {
        pm->smi_status = (uint8_t)value;
        return;
    }
    pm->smi_command = (uint8_t)value;
    if (pm->smi_command == ACPI_SMI_ENABLE) {
        pm->control |= CONTROL_SCI_ENABLE;
    } else if (pm->smi_command == ACPI_SMI_DISABLE) {
        pm->control &= (uint16_t)~CONTROL_SCI_ENABLE;
    }
    update(pm);
}

static const RegionOps pm_ops = { pm_read, pm_write, 1, 4 };
static const RegionOps smi_ops = { smi_read, smi_write, 1, 1 };

Region *acpi_pm_region(Device *dev)
{
    AcpiPm *pm = (AcpiPm *)dev;
    /* Without the lock: the timer is read without it, the rest takes it. */
    pm->region = (Region){ "acpi-pm", ACPI_PM_SIZE, &pm_ops, pm, NULL };
    return &pm->region;
}

void acpi_pm_power_button(Device *dev)
{
    AcpiPm *pm = (AcpiPm *)dev;
    LOCK_GUARD(&dev->lock);
    pm->status |= STATUS_BUTTON;
    update(pm);
}

void acpi_pm_raise_gpe(Device *dev, unsigned bit)
{
    AcpiPm *pm = (AcpiPm *)dev;
    LOCK_GUARD(&dev->lock);
    pm->gpe_status[bit / 8 % GPE_BYTES] |= (uint8_t)(1u << (bit & 7));
    update(pm);
}

static bool acpi_pm_realize(Device *dev, GError **error)
{
    AcpiPm *pm = (AcpiPm *)dev;
    acpi_pm_region(dev);
    pm->smi_ports = (Region){ "smi-command", 2, &smi_ops, pm, &dev->lock };
    if (!guest_timer_init(&pm->timer, dev, timer_expired, error)) {
        return false;
    }
    if (!device_map_ports(dev, ACPI_SMI_COMMAND, &pm->smi_ports, error)) {
        guest_timer_done(&pm->timer);
        return false;
    }
    if (pm->iobase && !device_map_ports(dev, pm->iobase, &pm->region, error)) {
        device_unmap_ports(dev, ACPI_SMI_COMMAND);
        guest_timer_done(&pm->timer);
        return false;
    }
    return true;
}

static void acpi_pm_unrealize(Device *dev)
{
    AcpiPm *pm = (AcpiPm *)dev;
    if (pm->iobase) {
        device_unmap_ports(dev, pm->iobase);
    }
    device_unmap_ports(dev, ACPI_SMI_COMMAND);
    guest_timer_done(&pm->timer);
}

static void acpi_pm_reset(Device *dev, ResetKind kind)
{
    AcpiPm *pm = (AcpiPm *)dev;
    pm->status = 0;
    pm->enable = 0;
    pm->control = 0;
    for (unsigned i = 0; i < GPE_BYTES; i++) {
        pm->gpe_status[i] = 0;
        pm->gpe_enable[i] = 0;
    }
    pm->smi_command = 0;
    pm->smi_status = 0;
    pm->carried_ns = device_now_ns(dev);
    update(pm);
}

static void acpi_pm_resume(Device *dev)
{
    update((AcpiPm *)dev);
}

static bool acpi_pm_post_load(Device *dev, GError **error)
{
    const AcpiPm *pm = (const AcpiPm *)dev;
    if (pm->status & ~STATUS_KNOWN || pm->enable & ~ENABLE_KNOWN ||
        pm->control & ~CONTROL_WRITABLE || pm->carried_ns < 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT, "impossible register values");
        return false;
    }
    return true;
}

static const Property acpi_pm_properties[] = {
    { "iobase", PROPERTY_UINT, offsetof(AcpiPm, iobase), NULL, .max = 0xff80,
      .help = "I/O port of the block; 0: the LPC bridge maps it" },
    { NULL },
};

static const StateField acpi_pm_fields[] = {
    STATE_FIELD(AcpiPm, STATE_U16, status),
    STATE_FIELD(AcpiPm, STATE_U16, enable),
    STATE_FIELD(AcpiPm, STATE_U16, control),
    STATE_BYTES_FIELD(AcpiPm, gpe_status),
    STATE_BYTES_FIELD(AcpiPm, gpe_enable),
    STATE_FIELD(AcpiPm, STATE_U8, smi_command),
    STATE_FIELD(AcpiPm, STATE_U8, smi_status),
    STATE_FIELD(AcpiPm, STATE_U64, carried_ns),
    STATE_END,
};
static const StateTable acpi_pm_state = { .name = "acpi-pm", .fields = acpi_pm_fields };

const DeviceClass acpi_pm_class = {
    .name = "acpi-pm",
    .summary = "ACPI power management registers",
    .bus = DEVICE_BUS_SYSTEM,
    .is_internal = true,
    .instance_size = sizeof(AcpiPm),
    .properties = acpi_pm_properties,
    .state = &acpi_pm_state,
    .realize = acpi_pm_realize,
    .unrealize = acpi_pm_unrealize,
    .reset = acpi_pm_reset,
    .resume = acpi_pm_resume,
    .post_load = acpi_pm_post_load,
};
