/* Host bridge of a q35 machine (Intel 3 Series Express Chipset Family data sheet, as 82G33/Q35):
 * ports 0xcf8 and 0xcfc, the PCI Express configuration region (PCIEXBAR) and the memory attributes
 * of 0xc0000-0xfffff (PAM). Port 0xcf9 lies between and is the reset control register of the ICH9.
 * Leaves out: SMRAM, DRAM controller registers, remapping.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "base/int-math.h"
#include "base/log.h"
#include "gbase/error.h"
#include "vmm/bus/pci/pci-private.h"
#include "vmm/bus/pci/q35.h"

#define VENDOR_INTEL 0x8086
#define DEVICE_Q35_HOST 0x29c0

#define PORT_BASE 0xcf8
#define PORT_COUNT 8
#define PORT_RESET_CONTROL 1 /* 0xcf9 */
#define PORT_DATA 4          /* 0xcfc */
#define ADDRESS_ENABLE (UINT32_C(1) << 31)
#define RESET_HARD 0x02 /* kind of the reset that... */
#define RESET_NOW 0x04  /* ...a change of this bit to 1 starts */

#define REG_PCIEXBAR 0x60
#define PCIEXBAR_ENABLE 1
#define PCIEXBAR_BITS_LOW 0xfc000007u
#define PCIEXBAR_BITS_HIGH 0xfu
#define REG_PAM 0x90
#define PAM_COUNT 7
#define PAM_READABLE 1
#define PAM_WRITABLE 2
#define REG_SMRAM 0x9d

#define ECAM_PRIORITY 1
#define SEGMENTS 13 /* 12 of 16 KiB from 0xc0000, then 64 KiB at 0xf0000 */

typedef struct Q35Host {
    PciDevice pci;
    uint64_t ecam_base; /* property */
    Region port_region, ecam_region;
    pthread_mutex_t port_lock;
    uint32_t address;      /* of the 0xcf8 mechanism; under port_lock */
    uint8_t reset_control; /* under port_lock */
    bool ports_mapped;
    uint64_t ecam_mapped; /* where ECAM is, 0: nowhere; on the loop */
    Q35PamFunc pam_func;
    void *pam_opaque;
    uint8_t pam_shown[SEGMENTS]; /* what pam_func was told; on the loop */
} Q35Host;

/* Ports 0xcf8-0xcff */

static bool decode_address(uint32_t address, uint64_t port, unsigned *out_bus, uint8_t *out_devfn,
                           unsigned *out_offset)
{
    if (!(address & ADDRESS_ENABLE)) {
        return false;
    }
    *out_bus = address >> 16 & 0xff;
    *out_devfn = (uint8_t)(address >> 8);
    *out_offset = (address & 0xfc) | (unsigned)(port - PORT_DATA);
    return true;
}

static uint32_t current_address(Q35Host *host)
{
    LOCK_GUARD(&host->port_lock);
    return host->address;
}

static uint64_t port_read(void *opaque, uint64_t port, unsigned size)
{
    Q35Host *host = opaque;
    unsigned bus, offset;
    uint8_t devfn;
    if (port < PORT_DATA) {
        LOCK_GUARD(&host->port_lock);
        if (port == PORT_RESET_CONTROL && size == 1) {
            return host->reset_control;
        }
        return port == 0 && size == 4 ? host->address : UINT64_MAX;
    }
    if (!decode_address(current_address(host), port, &bus, &devfn, &offset)) {
        return UINT64_MAX;
    }
    return pci_config_read(host->pci.bus->root, bus, devfn, offset, size);
}

static void write_reset_control(Q35Host *host, uint8_t value)
{
    uint8_t before = host->reset_control;
    host->reset_control = value & (RESET_HARD | RESET_NOW | 0x08);
    if (value & RESET_NOW && !(before & RESET_NOW)) {
        const DeviceHost *dev_host = host->pci.device.host;
        dev_host->power_event(dev_host->opaque, POWER_RESET, 0);
    }
}

static void port_write(void *opaque, uint64_t port, uint64_t value, unsigned size)
{
    Q35Host *host = opaque;
    unsigned bus, offset;
    uint8_t devfn;
    if (port < PORT_DATA) {
        LOCK_GUARD(&host->port_lock);
        if (port == PORT_RESET_CONTROL && size == 1) {
            write_reset_control(host, (uint8_t)value);
        } else if (port == 0 && size == 4) {
            host->address = (uint32_t)value & ~UINT32_C(0x7f000003);
        }
    } else if (decode_address(current_address(host), port, &bus, &devfn, &offset)) {
        pci_config_write(host->pci.bus->root, bus, devfn, offset, (uint32_t)value, size);
    }
}

static const RegionOps port_ops = { port_read, port_write, 1, 4 };

/* ECAM */

static uint64_t ecam_read(void *opaque, uint64_t offset, unsigned size)
{
    Q35Host *host = opaque;
    return pci_config_read(host->pci.bus->root, (unsigned)(offset >> 20), (uint8_t)(offset >> 12),
                           offset & 0xfff, size);
}

static void ecam_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    Q35Host *host = opaque;
    pci_config_write(host->pci.bus->root, (unsigned)(offset >> 20), (uint8_t)(offset >> 12),
                     offset & 0xfff, (uint32_t)value, size);
}

static const RegionOps ecam_ops = { ecam_read, ecam_write, 1, 4 };

/* Where PCIEXBAR puts ECAM; 0: disabled or a reserved length. */
static uint64_t ecam_wanted(const Q35Host *host, uint64_t *out_size)
{
    uint32_t low = pci_get32(&host->pci, REG_PCIEXBAR);
    unsigned length = low >> 1 & 3;
    if (!(low & PCIEXBAR_ENABLE) || length == 3) {
        return 0;
    }
    *out_size = 256 * MIB >> length;
    uint64_t base = (uint64_t)pci_get32(&host->pci, REG_PCIEXBAR + 4) << 32 | low;
    return round_down(base, *out_size);
}

static void sync_ecam(Q35Host *host)
{
    const DeviceHost *dev_host = host->pci.device.host;
    uint64_t size = 0, wanted = ecam_wanted(host, &size);
    if (wanted == host->ecam_mapped && (!wanted || size == host->ecam_region.size_bytes)) {
        return;
    }
    if (host->ecam_mapped) {
        dev_host->unmap_region(dev_host->opaque, DEVICE_SPACE_MEMORY, host->ecam_mapped,
                               ECAM_PRIORITY);
        host->ecam_mapped = 0;
    }
    g_autoptr(GError) error = NULL;
    host->ecam_region.size_bytes = size;
    if (!wanted) {
        return;
    }
    if (dev_host->map_region(dev_host->opaque, DEVICE_SPACE_MEMORY, wanted, &host->ecam_region,
                             ECAM_PRIORITY, &error)) {
        host->ecam_mapped = wanted;
    } else {
        log_guest_error("q35-host: cannot map configuration space: %s", error->message);
    }
}

/* PAM */

static uint8_t pam_wanted(const Q35Host *host, unsigned segment)
{
    /* The first register holds the last segment in its upper half; the others hold two each. */
    unsigned nibble = segment == SEGMENTS - 1 ? 1 : segment + 2;
    uint8_t value = pci_get8(&host->pci, REG_PAM + nibble / 2);
    return value >> (nibble % 2 * 4) & (PAM_READABLE | PAM_WRITABLE);
}

static void sync_pam(Q35Host *host, bool is_forced)
{
    for (unsigned i = 0; host->pam_func && i < SEGMENTS; i++) {
        uint8_t wanted = pam_wanted(host, i);
        if (is_forced || wanted != host->pam_shown[i]) {
            host->pam_shown[i] = wanted;
            host->pam_func(host->pam_opaque, 0xc0000 + i * 16 * KIB,
                           i == SEGMENTS - 1 ? 64 * KIB : 16 * KIB, wanted & PAM_READABLE,
                           wanted & PAM_WRITABLE);
        }
    }
}

static void sync_maps(void *opaque)
{
    sync_ecam(opaque);
    sync_pam(opaque, false);
}

static void config_settled(PciDevice *pci, unsigned offset, unsigned size)
{
    Q35Host *host = (Q35Host *)pci;
    if ((pci_ranges_overlap(offset, size, REG_PCIEXBAR, 8) ||
         pci_ranges_overlap(offset, size, REG_PAM, PAM_COUNT)) &&
        loop_call_wait(pci->device.host->loop, sync_maps, host) < 0) {
        log_warn("q35-host: no memory to change the memory map");
    }
}

/* Life */

static void init_registers(Q35Host *host)
{
    PciDevice *pci = &host->pci;
    pci_set_writable(pci, REG_PCIEXBAR, 4, PCIEXBAR_BITS_LOW);
    pci_set_writable(pci, REG_PCIEXBAR + 4, 4, PCIEXBAR_BITS_HIGH);
    if (host->ecam_base) {
        pci_put32(pci, REG_PCIEXBAR, (uint32_t)host->ecam_base | PCIEXBAR_ENABLE);
        pci_put32(pci, REG_PCIEXBAR + 4, (uint32_t)(host->ecam_base >> 32));
    }
    pci_set_writable(pci, REG_PAM, 1, 0x30);
    for (unsigned i = 1; i < PAM_COUNT; i++) {
        pci_set_writable(pci, REG_PAM + i, 1, 0x33);
    }
    pci_set_writable(pci, REG_SMRAM, 1, 0x78);
    pci_put8(pci, REG_SMRAM, 0x02);
}

static bool q35_host_realize(Device *dev, GError **error)
{
    Q35Host *host = (Q35Host *)dev;
    static const PciIdentity identity = { .vendor = VENDOR_INTEL,
                                          .device = DEVICE_Q35_HOST,
                                          .class_code = 0x060000 };
    if (host->ecam_base % (256 * MIB) || host->ecam_base >> 36) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "ecam-base must be a multiple of 256 MiB below 64 GiB");
        return false;
    }
    pci_device_init(&host->pci, &identity);
    host->pci.config_settled = config_settled;
    init_registers(host);
    pthread_mutex_init(&host->port_lock, NULL);
    host->port_region = (Region){
        .name = "pci-config-ports", .size_bytes = PORT_COUNT, .ops = &port_ops, .opaque = host
    };
    host->ecam_region =
        (Region){ .name = "pci-ecam", .size_bytes = 256 * MIB, .ops = &ecam_ops, .opaque = host };
    pci_device_seal(&host->pci);
    if (!dev->host->map_region(dev->host->opaque, DEVICE_SPACE_PORTS, PORT_BASE, &host->port_region,
                               0, error)) {
        pthread_mutex_destroy(&host->port_lock);
        pci_device_done(&host->pci);
        return false;
    }
    sync_ecam(host);
    sync_pam(host, true);
    return true;
}

static void q35_host_unrealize(Device *dev)
{
    Q35Host *host = (Q35Host *)dev;
    dev->host->unmap_region(dev->host->opaque, DEVICE_SPACE_PORTS, PORT_BASE, 0);
    if (host->ecam_mapped) {
        dev->host->unmap_region(dev->host->opaque, DEVICE_SPACE_MEMORY, host->ecam_mapped,
                                ECAM_PRIORITY);
        host->ecam_mapped = 0;
    }
    pthread_mutex_destroy(&host->port_lock);
    pci_device_done(&host->pci);
}

static void q35_host_reset(Device *dev, ResetKind kind)
{
    Q35Host *host = (Q35Host *)dev;
    pci_device_reset(&host->pci);
    host->address = 0;
    host->reset_control = 0;
    sync_ecam(host);
    sync_pam(host, true);
}

static bool q35_host_post_load(Device *dev, GError **error)
{
    Q35Host *host = (Q35Host *)dev;
    if (!pci_device_post_load(&host->pci, error)) {
        return false;
    }
    host->address &= ~UINT32_C(0x7f000003);
    sync_ecam(host);
    sync_pam(host, true);
    return true;
}

void q35_host_set_pam_hook(Device *host_bridge, Q35PamFunc func, void *opaque)
{
    lodge_assert(host_bridge->class == &q35_host_class && !host_bridge->is_realized);
    Q35Host *host = (Q35Host *)host_bridge;
    host->pam_func = func;
    host->pam_opaque = opaque;
}

static const Property properties[] = {
    PCI_PROPERTIES,
    { .name = "ecam-base",
      .kind = PROPERTY_UINT,
      .offset = offsetof(Q35Host, ecam_base),
      .max = UINT64_MAX,
      .help = "where configuration space is after reset; 0: the firmware says" },
    { .name = NULL },
};

static const StateField fields[] = {
    STATE_STRUCT(Q35Host, pci, &pci_device_state),
    STATE_FIELD(Q35Host, STATE_U32, address),
    STATE_FIELD(Q35Host, STATE_U8, reset_control),
    STATE_END,
};
static const StateTable state = { .name = "q35-host", .version = 1, .fields = fields };

const DeviceClass q35_host_class = {
    .name = "q35-host",
    .summary = "host bridge with PCI Express configuration space",
    .bus = DEVICE_BUS_PCI,
    .is_internal = true,
    .instance_size = sizeof(Q35Host),
    .properties = properties,
    .state = &state,
    .realize = q35_host_realize,
    .unrealize = q35_host_unrealize,
    .reset = q35_host_reset,
    .post_load = q35_host_post_load,
};
