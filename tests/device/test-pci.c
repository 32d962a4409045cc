/* PCI: configuration space, BARs, bridges, interrupts, the q35 chips.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/check.h"
#include "lib/virtq.h"
#include "vmm/bus/pci/q35.h"
#include "vmm/bus/pci/root-port.h"
#include "vmm/virtio/rng/rng.h"

#include <stdio.h>
#include <string.h>

#define ECAM 0xb0000000

typedef struct Machine {
    FakeHost *fake;
    PciBus *root;
    Device *host, *lpc;
    Device *more[8];
    unsigned more_count;
} Machine;

static uint64_t read_stub(void *opaque, uint64_t offset, unsigned size)
{
    return 0x5a;
}

static void write_stub(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
}

static const RegionOps stub_ops = { read_stub, write_stub, 1, 4 };

/* A function with one BAR of each kind, MSI and INTA. */
typedef struct TestFunction {
    PciDevice pci;
    Region io, mem32, mem64;
} TestFunction;

static bool function_realize(Device *dev, GError **error)
{
    TestFunction *f = (TestFunction *)dev;
    static const PciIdentity identity = {
        .vendor = 0x1234, .device = 0x5678, .class_code = 0xff0000, .interrupt_pin = 1
    };
    f->io = (Region){ .name = "io", .size_bytes = 32, .ops = &stub_ops, .opaque = f };
    f->mem32 = (Region){ .name = "mem32", .size_bytes = 4096, .ops = &stub_ops, .opaque = f };
    f->mem64 = (Region){ .name = "mem64", .size_bytes = 8192, .ops = &stub_ops, .opaque = f };
    pci_device_init(&f->pci, &identity);
    pci_bar_init(&f->pci, 0, PCI_BAR_IO, 32);
    pci_bar_add_region(&f->pci, 0, 0, &f->io);
    pci_bar_init(&f->pci, 1, PCI_BAR_MEM32, 4096);
    pci_bar_add_region(&f->pci, 1, 0, &f->mem32);
    pci_bar_init(&f->pci, 2, PCI_BAR_MEM64_PREFETCH, 16384);
    pci_bar_add_region(&f->pci, 2, 8192, &f->mem64);
    pci_msi_init(&f->pci, 4);
    pci_device_seal(&f->pci);
    return true;
}

static void function_unrealize(Device *dev)
{
    pci_device_done((PciDevice *)dev);
}

static void function_reset(Device *dev, ResetKind kind)
{
    pci_device_reset((PciDevice *)dev);
}

static bool function_post_load(Device *dev, GError **error)
{
    return pci_device_post_load((PciDevice *)dev, error);
}

static const Property function_properties[] = { PCI_PROPERTIES, { 0 } };
static const StateField function_fields[] = { STATE_STRUCT(TestFunction, pci, &pci_device_state),
                                              STATE_END };
static const StateTable function_state = { .name = "f", .version = 1, .fields = function_fields };
static const DeviceClass function_class = {
    .name = "test-function",
    .bus = DEVICE_BUS_PCI,
    .instance_size = sizeof(TestFunction),
    .properties = function_properties,
    .state = &function_state,
    .realize = function_realize,
    .unrealize = function_unrealize,
    .reset = function_reset,
    .post_load = function_post_load,
};

static Device *add(Machine *m, const DeviceClass *class, const char *id,
                   const char *const *properties)
{
    Device *dev = fake_pci_add(m->fake, m->root, class, id, properties);
    m->more[m->more_count++] = dev;
    return dev;
}

static int set_up(void **state)
{
    Machine *m = g_new0(Machine, 1);
    m->fake = fake_host_new();
    m->root = pci_root_new(PCI_ROOT_BUS_NAME);
    const char *host[] = { "addr", "0", NULL }, *lpc[] = { "addr", "1f", NULL };
    m->host = fake_pci_add(m->fake, m->root, &q35_host_class, NULL, host);
    m->lpc = fake_pci_add(m->fake, m->root, &ich9_lpc_class, NULL, lpc);
    *state = m;
    return 0;
}

static int tear_down(void **state)
{
    Machine *m = *state;
    while (m->more_count) {
        fake_pci_remove(m->more[--m->more_count]);
    }
    fake_pci_remove(m->lpc);
    fake_pci_remove(m->host);
    pci_root_free(m->root);
    fake_host_free(m->fake);
    g_free(m);
    return 0;
}

static void select_register(Machine *m, unsigned bus, uint8_t devfn, unsigned offset)
{
    fake_out32(m->fake, 0xcf8, 1u << 31 | bus << 16 | (unsigned)devfn << 8 | (offset & 0xfc));
}

static uint32_t cfg_read(Machine *m, uint8_t devfn, unsigned offset)
{
    select_register(m, 0, devfn, offset);
    return fake_in32(m->fake, 0xcfc);
}

static void cfg_write(Machine *m, uint8_t devfn, unsigned offset, uint32_t value)
{
    select_register(m, 0, devfn, offset);
    fake_out32(m->fake, 0xcfc, value);
}

static void both_config_mechanisms_show_the_same(void **state)
{
    Machine *m = *state;
    assert_int_equal(cfg_read(m, 0, 0), 0x29c08086);
    assert_int_equal(cfg_read(m, PCI_DEVFN_OF(31, 0), 0), 0x29188086);
    assert_int_equal(cfg_read(m, PCI_DEVFN_OF(5, 0), 0), 0xffffffff);
    select_register(m, 0, 0, 0);
    assert_int_equal(fake_in16(m->fake, 0xcfe), 0x29c0);
    assert_int_equal(fake_in8(m->fake, 0xcfd), 0x80);
    assert_int_equal(fake_in32(m->fake, 0xcf8), 0x80000000);
    assert_int_equal(fake_mmio_read(m->fake, ECAM, 4), 0xffffffff);
    cfg_write(m, 0, 0x60, ECAM | 1);
    assert_int_equal(fake_mmio_read(m->fake, ECAM, 4), 0x29c08086);
    assert_int_equal(fake_mmio_read(m->fake, ECAM + (0x1f << 15) + 2, 2), 0x2918);
    assert_int_equal(fake_mmio_read(m->fake, ECAM + 0x100, 4), 0xffffffff);
    cfg_write(m, 0, 0x60, 0xc0000000 | 1 | 2 << 1);
    assert_int_equal(fake_mmio_read(m->fake, ECAM, 4), 0xffffffff);
    assert_int_equal(fake_mmio_read(m->fake, 0xc0000000, 4), 0x29c08086);
    assert_int_equal(fake_mmio_read(m->fake, 0xc4000000, 4), 0xffffffff);
}

static void port_cf9_resets_once_for_each_edge(void **state)
{
    Machine *m = *state;
    fake_out8(m->fake, 0xcf9, 0x02);
    assert_int_equal(m->fake->power_count, 0);
    fake_out8(m->fake, 0xcf9, 0x06);
    fake_out8(m->fake, 0xcf9, 0x06);
    assert_int_equal(m->fake->power_count, 1);
    assert_int_equal(m->fake->power[0].event, POWER_RESET);
    assert_int_equal(fake_in8(m->fake, 0xcf9), 0x06);
}

static void bars_tell_their_size_and_are_mapped_where_written(void **state)
{
    Machine *m = *state;
    Device *dev = add(m, &function_class, "f", NULL);
    uint8_t devfn = ((PciDevice *)dev)->devfn;
    assert_int_equal(devfn, PCI_DEVFN_OF(1, 0));
    for (unsigned reg = 0x10; reg < 0x28; reg += 4) {
        cfg_write(m, devfn, reg, 0xffffffff);
    }
    assert_int_equal(cfg_read(m, devfn, 0x10), 0xffffffe1);
    assert_int_equal(cfg_read(m, devfn, 0x14), 0xfffff000);
    assert_int_equal(cfg_read(m, devfn, 0x18), 0xffffc00c);
    assert_int_equal(cfg_read(m, devfn, 0x1c), 0xffffffff);
    assert_int_equal(cfg_read(m, devfn, 0x20), 0);
    cfg_write(m, devfn, 0x10, 0xc000);
    cfg_write(m, devfn, 0x14, 0xe0000000);
    cfg_write(m, devfn, 0x18, 0x40000000);
    cfg_write(m, devfn, 0x1c, 0x1);
    assert_int_equal(fake_in8(m->fake, 0xc000), 0xff);
    cfg_write(m, devfn, PCI_COMMAND, PCI_COMMAND_IO);
    assert_int_equal(fake_in8(m->fake, 0xc000), 0x5a);
    assert_int_equal(fake_mmio_read(m->fake, 0xe0000000, 1), 0xff);
    cfg_write(m, devfn, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
    assert_int_equal(fake_mmio_read(m->fake, 0xe0000000, 1), 0x5a);
    assert_int_equal(fake_mmio_read(m->fake, 0x140000000, 1), 0xff);
    assert_int_equal(fake_mmio_read(m->fake, 0x140002000, 1), 0x5a);
    cfg_write(m, devfn, 0x14, 0xe0001000);
    assert_int_equal(fake_mmio_read(m->fake, 0xe0000000, 1), 0xff);
    assert_int_equal(fake_mmio_read(m->fake, 0xe0001000, 1), 0x5a);
    device_reset(dev, RESET_WARM);
    assert_int_equal(fake_mmio_read(m->fake, 0xe0001000, 1), 0xff);
    assert_int_equal(cfg_read(m, devfn, 0x14), 0);
}

static void sizing_with_decoding_on_does_not_cover_the_top_of_memory(void **state)
{
    Machine *m = *state;
    Device *dev = add(m, &function_class, "f", NULL);
    uint8_t devfn = ((PciDevice *)dev)->devfn;
    cfg_write(m, devfn, PCI_COMMAND, PCI_COMMAND_MEMORY);
    cfg_write(m, devfn, 0x14, 0xffffffff);
    cfg_write(m, devfn, 0x18, 0xffffffff);
    cfg_write(m, devfn, 0x1c, 0xffffffff);
    assert_int_equal(fake_mmio_read(m->fake, 0xfffff000, 1), 0xff);
}

static void overlapping_bars_do_not_refuse_each_other(void **state)
{
    Machine *m = *state;
    Device *a = add(m, &function_class, "a", NULL), *b = add(m, &function_class, "b", NULL);
    for (unsigned i = 0; i < 2; i++) {
        uint8_t devfn = ((PciDevice *)(i ? b : a))->devfn;
        cfg_write(m, devfn, 0x14, 0xe0000000);
        cfg_write(m, devfn, PCI_COMMAND, PCI_COMMAND_MEMORY);
    }
    cfg_write(m, ((PciDevice *)a)->devfn, 0x14, 0xe1000000);
    assert_int_equal(fake_mmio_read(m->fake, 0xe0000000, 1), 0x5a);
    assert_int_equal(fake_mmio_read(m->fake, 0xe1000000, 1), 0x5a);
}

static void a_bridge_passes_only_its_windows_and_buses(void **state)
{
    Machine *m = *state;
    add(m, &pcie_root_port_class, "port0", NULL);
    const char *behind[] = { "bus", "port0", NULL };
    Device *dev = add(m, &function_class, "f", behind);
    PciBus *bus = ((PciDevice *)dev)->bus;
    uint8_t bridge = bus->bridge->devfn;
    assert_int_equal(cfg_read(m, bridge, PCI_CLASS_REVISION) >> 8, 0x060400);
    assert_int_equal(cfg_read(m, bridge, PCI_HEADER_TYPE - 2) >> 16 & 0x7f, 1);
    assert_int_equal(pci_config_read(m->root, 1, 0, 0, 4), 0xffffffff);
    cfg_write(m, bridge, PCI_PRIMARY_BUS, 0x00020100);
    assert_int_equal(pci_config_read(m->root, 1, 0, 0, 4), 0x56781234);
    assert_int_equal(pci_config_read(m->root, 1, 8, 0, 4), 0xffffffff);
    assert_int_equal(pci_config_read(m->root, 2, 0, 0, 4), 0xffffffff);
    pci_config_write(m->root, 1, 0, 0x14, 0xe0000000, 4);
    pci_config_write(m->root, 1, 0, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
    assert_int_equal(fake_mmio_read(m->fake, 0xe0000000, 1), 0xff);
    cfg_write(m, bridge, PCI_MEMORY_BASE, 0xe000e000);
    assert_int_equal(fake_mmio_read(m->fake, 0xe0000000, 1), 0xff);
    cfg_write(m, bridge, PCI_COMMAND, PCI_COMMAND_MEMORY);
    assert_int_equal(fake_mmio_read(m->fake, 0xe0000000, 1), 0x5a);
    cfg_write(m, bridge, PCI_MEMORY_BASE, 0xe010e010);
    assert_int_equal(fake_mmio_read(m->fake, 0xe0000000, 1), 0xff);
}

static void a_slot_shows_presence(void **state)
{
    Machine *m = *state;
    PciDevice *port = (PciDevice *)add(m, &pcie_root_port_class, "port0", NULL);
    unsigned status = port->pcie_capability + PCI_EXP_SLTSTA;
    assert_false(pci_config_read(m->root, 0, port->devfn, status, 2) & PCI_EXP_SLTSTA_PDS);
    const char *behind[] = { "bus", "port0", NULL };
    add(m, &function_class, "f", behind);
    assert_true(pci_config_read(m->root, 0, port->devfn, status, 2) & PCI_EXP_SLTSTA_PDS);
}

/* The port's slot registers as a driver of hot-plug uses them. */
static void a_slot_tells_of_what_comes_and_asks_before_it_goes(void **state)
{
    Machine *m = *state;
    PciDevice *port = (PciDevice *)add(m, &pcie_root_port_class, "port0", NULL);
    device_reset(&port->device, RESET_COLD);
    unsigned control = port->pcie_capability + PCI_EXP_SLTCTL;
    unsigned status = port->pcie_capability + PCI_EXP_SLTSTA;
    unsigned pirq = 16 + pci_pirq_of(m->root, port->devfn, 1);
    unsigned on = PCI_EXP_SLTCTL_ABPE | PCI_EXP_SLTCTL_PDCE | PCI_EXP_SLTCTL_DLLSCE |
                  PCI_EXP_SLTCTL_HPIE | PCI_EXP_SLTCTL_PWR_IND_ON;
    unsigned off =
        (on & ~(unsigned)PCI_EXP_SLTCTL_PIC) | PCI_EXP_SLTCTL_PWR_IND_OFF | PCI_EXP_SLTCTL_PWR_OFF;
    assert_true(pci_config_read(m->root, 0, port->devfn, control, 2) & PCI_EXP_SLTCTL_PWR_OFF);
    assert_true(pcie_slot_request_eject(port->secondary)); /* nobody would have to let go */
    pci_config_write(m->root, 0, port->devfn, control, off, 2);
    assert_int_equal(m->fake->slots_off, 0); /* the slot is empty */
    const char *behind[] = { "bus", "port0", NULL };
    add(m, &function_class, "f", behind);
    pcie_slot_announce(port->secondary);
    assert_true(m->fake->irq[pirq].level);
    pci_config_write(m->root, 0, port->devfn, status, PCI_EXP_SLTSTA_PDC | PCI_EXP_SLTSTA_DLLSC, 2);
    assert_false(m->fake->irq[pirq].level);
    pci_config_write(m->root, 0, port->devfn, control, on, 2);
    assert_false(pcie_slot_is_leaving(port->secondary));
    assert_false(pcie_slot_request_eject(port->secondary));
    assert_true(pcie_slot_is_leaving(port->secondary));
    assert_true(pci_config_read(m->root, 0, port->devfn, status, 2) & PCI_EXP_SLTSTA_ABP);
    assert_true(m->fake->irq[pirq].level);
    pci_config_write(m->root, 0, port->devfn, status, PCI_EXP_SLTSTA_ABP, 2);
    pci_config_write(m->root, 0, port->devfn, control, on | PCI_EXP_SLTCTL_PWR_OFF, 2);
    assert_int_equal(m->fake->slots_off, 0); /* its indicator says that it is not yet safe */
    pci_config_write(m->root, 0, port->devfn, control, off, 2);
    assert_int_equal(m->fake->slots_off, 1);
    pcie_slot_announce(port->secondary);
    assert_false(pcie_slot_is_leaving(port->secondary));
    assert_false(pcie_slot_is_hotpluggable(m->root));
}

#define SLOT_EVENTS (PCI_EXP_SLTCTL_ABPE | PCI_EXP_SLTCTL_PDCE | PCI_EXP_SLTCTL_HPIE)
#define SLOT_OFF (PCI_EXP_SLTCTL_PWR_IND_OFF | PCI_EXP_SLTCTL_PWR_OFF)

static PciDevice *add_empty_slot(Machine *m)
{
    PciDevice *port = (PciDevice *)add(m, &pcie_root_port_class, "port0", NULL);
    device_reset(&port->device, RESET_COLD);
    return port;
}

static void come_into_slot(Machine *m, const PciDevice *port)
{
    const char *behind[] = { "bus", "port0", NULL };
    add(m, &function_class, "f", behind);
    pcie_slot_announce(port->secondary);
}

/* Linux enables the events of a slot when its driver starts, and reads then what is in it. */
static void a_device_that_comes_before_the_slots_driver_stays(void **state)
{
    Machine *m = *state;
    PciDevice *port = add_empty_slot(m);
    unsigned control = port->pcie_capability + PCI_EXP_SLTCTL;
    come_into_slot(m, port);
    unsigned power = pci_config_read(m->root, 0, port->devfn, control, 2);
    assert_int_equal(power, PCI_EXP_SLTCTL_PWR_IND_ON); /* as if it had been there at power on */
    assert_false(pcie_slot_request_eject(port->secondary));
    pci_config_write(m->root, 0, port->devfn, control, power | SLOT_EVENTS, 2);
    assert_int_equal(m->fake->slots_off, 0);
    pci_config_write(m->root, 0, port->devfn, control, SLOT_OFF | SLOT_EVENTS, 2);
    assert_int_equal(m->fake->slots_off, 1);
}

/* The driver writes other bits before it has seen that something came. */
static void a_device_that_comes_into_a_slot_that_is_off_stays(void **state)
{
    Machine *m = *state;
    PciDevice *port = add_empty_slot(m);
    unsigned control = port->pcie_capability + PCI_EXP_SLTCTL;
    pci_config_write(m->root, 0, port->devfn, control, SLOT_OFF | PCI_EXP_SLTCTL_PDCE, 2);
    come_into_slot(m, port);
    pci_config_write(m->root, 0, port->devfn, control, SLOT_OFF | SLOT_EVENTS, 2);
    assert_int_equal(m->fake->slots_off, 0);
    pci_config_write(m->root, 0, port->devfn, control, PCI_EXP_SLTCTL_PWR_IND_ON | SLOT_EVENTS, 2);
    pci_config_write(m->root, 0, port->devfn, control, SLOT_OFF | SLOT_EVENTS, 2);
    assert_int_equal(m->fake->slots_off, 1);
}

static void lines_follow_swizzle_and_command(void **state)
{
    Machine *m = *state;
    Device *dev = add(m, &function_class, "f", NULL);
    PciDevice *pci = (PciDevice *)dev;
    assert_int_equal(pci_pirq_of(m->root, PCI_DEVFN_OF(1, 0), 1), 5);
    assert_int_equal(pci_pirq_of(m->root, PCI_DEVFN_OF(4, 0), 2), 5);
    assert_int_equal(pci_pirq_of(m->root, PCI_DEVFN_OF(31, 2), 4), 3);
    pci_set_irq(pci, true);
    assert_true(m->fake->irq[16 + 5].level);
    assert_true(cfg_read(m, pci->devfn, PCI_COMMAND) >> 16 & PCI_STATUS_INTERRUPT);
    cfg_write(m, pci->devfn, PCI_COMMAND, PCI_COMMAND_INTX_DISABLE);
    assert_false(m->fake->irq[16 + 5].level);
    cfg_write(m, pci->devfn, PCI_COMMAND, 0);
    assert_true(m->fake->irq[16 + 5].level);
    /* Routing to the 8259s: PIRQF is register 0x69. */
    assert_false(m->fake->irq[11].level);
    cfg_write(m, PCI_DEVFN_OF(31, 0), 0x68, 0x80800b80);
    assert_true(m->fake->irq[11].level);
    cfg_write(m, PCI_DEVFN_OF(31, 0), 0x68, 0x80808080);
    assert_false(m->fake->irq[11].level);
    pci_set_irq(pci, false);
    assert_false(m->fake->irq[16 + 5].level);
}

static void a_shared_line_falls_when_the_last_lets_go(void **state)
{
    Machine *m = *state;
    const char *at2[] = { "addr", "2", NULL }, *at6[] = { "addr", "6", NULL };
    PciDevice *a = (PciDevice *)add(m, &function_class, "a", at2);
    PciDevice *b = (PciDevice *)add(m, &function_class, "b", at6);
    pci_set_irq(a, true);
    pci_set_irq(b, true);
    pci_set_irq(a, false);
    assert_true(m->fake->irq[16 + 6].level);
    pci_set_irq(b, false);
    assert_false(m->fake->irq[16 + 6].level);
}

static void msi_is_sent_only_by_an_enabled_unmasked_master(void **state)
{
    Machine *m = *state;
    PciDevice *pci = (PciDevice *)add(m, &function_class, "f", NULL);
    unsigned at = pci->msi_capability;
    cfg_write(m, pci->devfn, at + 4, 0xfee01000);
    cfg_write(m, pci->devfn, at + 12, 0x40);
    assert_false(pci_notify_message(pci, 0));
    cfg_write(m, pci->devfn, at, (2u << 4 | 1) << 16);
    assert_true(pci_notify_message(pci, 3));
    assert_int_equal(m->fake->msi_count, 0);
    cfg_write(m, pci->devfn, PCI_COMMAND, PCI_COMMAND_MASTER);
    assert_true(pci_notify_message(pci, 3));
    assert_int_equal(m->fake->msi_count, 1);
    assert_int_equal(m->fake->msi[0].address, 0xfee01000);
    assert_int_equal(m->fake->msi[0].data, 0x43);
    cfg_write(m, pci->devfn, at + 16, 2);
    pci_notify_message(pci, 1);
    assert_int_equal(m->fake->msi_count, 1);
    assert_int_equal(cfg_read(m, pci->devfn, at + 20), 2);
    cfg_write(m, pci->devfn, at + 16, 0);
    assert_int_equal(m->fake->msi_count, 2);
    assert_int_equal(m->fake->msi[1].data, 0x41);
}

static void places_are_checked(void **state)
{
    Machine *m = *state;
    const struct {
        const char *address, *bus, *problem;
    } cases[] = {
        { "20", NULL, "bad PCI address" },
        { "1.8", NULL, "bad PCI address" },
        { "x", NULL, "bad PCI address" },
        { "3.", NULL, "bad PCI address" },
        { "0", NULL, "taken by" },
        { NULL, "pci.7", "no bus 'pci.7'" },
        { "1f.1", NULL, "not multifunction" },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(Device) dev = device_new(&function_class, "f");
        if (cases[i].address) {
            assert_true(device_set_property(dev, "addr", cases[i].address, NULL));
        }
        if (cases[i].bus) {
            assert_true(device_set_property(dev, "bus", cases[i].bus, NULL));
        }
        assert_false(pci_bus_plug(m->root, (PciDevice *)dev, &error));
        assert_non_null(strstr(error->message, cases[i].problem));
    }
}

static void a_bus_can_be_full(void **state)
{
    Machine *m = *state;
    Device *devices[30];
    for (unsigned i = 0; i < 30; i++) {
        devices[i] = fake_pci_add(m->fake, m->root, &function_class, "f", NULL);
    }
    g_autoptr(GError) error = NULL;
    g_autoptr(Device) dev = device_new(&function_class, "one-too-many");
    assert_false(pci_bus_plug(m->root, (PciDevice *)dev, &error));
    assert_non_null(strstr(error->message, "no slot left"));
    for (unsigned i = 0; i < 30; i++) {
        fake_pci_remove(devices[i]);
    }
}

static void pam_hook(void *opaque, GuestAddr base, uint64_t size, bool readable, bool writable)
{
    if (readable || writable) {
        char *text = opaque;
        size_t used = strlen(text);
        snprintf(text + used, 256 - used, "%x+%x:%d%d ", (unsigned)base, (unsigned)size, readable,
                 writable);
    }
}

static void pam_registers_say_what_the_segments_show(void **state)
{
    Machine *m = *state;
    char text[256] = "";
    PciBus *root = pci_root_new("pcie.1");
    Device *host = device_new(&q35_host_class, NULL);
    q35_host_set_pam_hook(host, pam_hook, text);
    fake_pci_remove(m->host); /* frees the ports */
    assert_true(pci_bus_plug(root, (PciDevice *)host, NULL));
    assert_true(device_realize(host, &m->fake->host, NULL));
    assert_string_equal(text, "");
    pci_config_write(root, 0, ((PciDevice *)host)->devfn, 0x90, 0x30, 1);
    pci_config_write(root, 0, ((PciDevice *)host)->devfn, 0x91, 0x21, 1);
    pci_config_write(root, 0, ((PciDevice *)host)->devfn, 0x96, 0x30, 1);
    assert_string_equal(text, "f0000+10000:11 c0000+4000:10 c4000+4000:01 ec000+4000:11 ");
    fake_pci_remove(host);
    pci_root_free(root);
    const char *properties[] = { "addr", "0", NULL };
    m->host = fake_pci_add(m->fake, m->root, &q35_host_class, NULL, properties);
}

static void power_management_moves_with_pmbase(void **state)
{
    Machine *m = *state;
    Region pm = { .name = "pm", .size_bytes = 128, .ops = &stub_ops };
    fake_pci_remove(m->lpc);
    m->lpc = device_new(&ich9_lpc_class, NULL);
    ich9_lpc_set_pm_region(m->lpc, &pm);
    assert_true(device_set_property(m->lpc, "pm-base", "0x600", NULL));
    assert_true(device_set_property(m->lpc, "addr", "1f", NULL));
    assert_true(pci_bus_plug(m->root, (PciDevice *)m->lpc, NULL));
    assert_true(device_realize(m->lpc, &m->fake->host, NULL));
    assert_int_equal(ich9_lpc_pm_base(m->lpc), 0x600);
    assert_int_equal(fake_in8(m->fake, 0x600), 0x5a);
    assert_int_equal(cfg_read(m, PCI_DEVFN_OF(31, 0), 0x40), 0x601);
    cfg_write(m, PCI_DEVFN_OF(31, 0), 0x40, 0xb001);
    assert_int_equal(fake_in8(m->fake, 0x600), 0xff);
    assert_int_equal(fake_in8(m->fake, 0xb000), 0x5a);
    cfg_write(m, PCI_DEVFN_OF(31, 0), 0x44, 0);
    assert_int_equal(fake_in8(m->fake, 0xb000), 0xff);
    fake_pci_remove(m->lpc);
    const char *properties[] = { "addr", "1f", NULL };
    m->lpc = fake_pci_add(m->fake, m->root, &ich9_lpc_class, NULL, properties);
}

static void state_survives_a_round_trip(void **state)
{
    Machine *m = *state;
    Device *port = add(m, &pcie_root_port_class, "port0", NULL);
    const char *behind[] = { "bus", "port0", NULL };
    Device *dev = add(m, &function_class, "f", behind);
    cfg_write(m, 0, 0x60, ECAM | 1);
    cfg_write(m, ((PciDevice *)port)->devfn, PCI_PRIMARY_BUS, 0x00020100);
    pci_set_irq((PciDevice *)dev, true);
    Device *all[] = { m->host, m->lpc, port, dev };
    for (unsigned i = 0; i < G_N_ELEMENTS(all); i++) {
        fake_host_check_round_trip(all[i]);
    }
    assert_int_equal(fake_mmio_read(m->fake, ECAM, 4), 0x29c08086);
}

static void a_loaded_state_cannot_change_what_a_guest_cannot(void **state)
{
    Machine *m = *state;
    Device *dev = add(m, &function_class, "f", NULL);
    PciDevice *pci = (PciDevice *)dev;
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    pci->config[PCI_VENDOR_ID] = 0x77;
    pci->config[PCI_CAPABILITY_LIST] = 0xfc;
    device_save(dev, bytes);
    assert_true(device_load(dev, bytes->data, bytes->len, NULL));
    assert_int_equal(cfg_read(m, pci->devfn, 0), 0x56781234);
    assert_int_equal(pci_get8(pci, PCI_CAPABILITY_LIST), pci->msi_capability);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(both_config_mechanisms_show_the_same),
        CASE(port_cf9_resets_once_for_each_edge),
        CASE(bars_tell_their_size_and_are_mapped_where_written),
        CASE(sizing_with_decoding_on_does_not_cover_the_top_of_memory),
        CASE(overlapping_bars_do_not_refuse_each_other),
        CASE(a_bridge_passes_only_its_windows_and_buses),
        CASE(a_slot_shows_presence),
        CASE(a_slot_tells_of_what_comes_and_asks_before_it_goes),
        CASE(a_device_that_comes_before_the_slots_driver_stays),
        CASE(a_device_that_comes_into_a_slot_that_is_off_stays),
        CASE(lines_follow_swizzle_and_command),
        CASE(a_shared_line_falls_when_the_last_lets_go),
        CASE(msi_is_sent_only_by_an_enabled_unmasked_master),
        CASE(places_are_checked),
        CASE(a_bus_can_be_full),
        CASE(pam_registers_say_what_the_segments_show),
        CASE(power_management_moves_with_pmbase),
        CASE(state_survives_a_round_trip),
        CASE(a_loaded_state_cannot_change_what_a_guest_cannot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
