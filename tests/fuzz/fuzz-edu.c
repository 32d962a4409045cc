/* The lesson device on a PCI bus, its BAR mapped and bus mastering on.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuzz/fuzz-device.h"
#include "lib/virtq.h"
#include "vmm/bus/pci/pci-bus.h"
#include "vmm/devices/devices.h"

static Device *make(FakeHost *fake)
{
    PciBus *root = pci_root_new(PCI_ROOT_BUS_NAME);
    Device *dev = fake_pci_add(fake, root, &edu_class, NULL, NULL);
    fake_host_add_backend(fake, "pci-bus", "root", root);
    PciDevice *pci = (PciDevice *)dev;
    pci_config_write(root, 0, pci->devfn, PCI_BASE_ADDRESS_0, 0xe0000000, 4);
    pci_config_write(root, 0, pci->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
    return dev;
}

static void remove_device(Device *dev)
{
    PciBus *root = dev->host->find_backend(dev->host->opaque, "pci-bus", "root", NULL);
    fake_pci_remove(dev);
    pci_root_free(root);
}

/* Configuration accesses. */
static void poke(Device *dev, uint8_t what, uint32_t value)
{
    PciDevice *pci = (PciDevice *)dev;
    pci_config_write(pci->bus, 0, pci->devfn, what & 0xfc, value, 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const FuzzDevice fuzz = {
        .class = &edu_class, .make = make, .remove = remove_device, .poke = poke
    };
    return fuzz_device_run(&fuzz, data, size);
}
