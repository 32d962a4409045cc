"""Devices of the host in guests under QEMU: what a start without them says, beside the real libvirtd; about 10 s.

Machines that run tests have no USB, no IOMMU and no vhost-vsock; tests/unit/daemon/test-host-devices.c plays a host
that has, and test_in_guest.py makes one.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import re
import xml.etree.ElementTree as ET

import libvirt
import libvirtd
import pytest

from guestxml import QEMU

XHCI = "<controller type='usb' model='qemu-xhci'/>"
USB = XHCI + "<hostdev mode='subsystem' type='usb'><source{}>{}</source></hostdev>"
VENDOR = "<vendor id='0x1234'/><product id='0x5678'/>"
PCI = "<hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0' bus='0' slot='31' function='7'/></source></hostdev>"
SCSI = "<hostdev mode='subsystem' type='scsi'><source><adapter name='{}'/><address bus='0' target='0' unit='0'/></source></hostdev>"
ROWS = {
    "usb-vendor": USB.format("", VENDOR),
    "usb-address": USB.format("", "<address bus='1' device='77'/>"),
    "usb-requisite": USB.format(" startupPolicy='requisite'", VENDOR),
    "pci": PCI,
    "mdev": "<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address "
            "uuid='b1ae8bf6-38b0-4c81-9d44-78ce3f520496'/></source></hostdev>",
    "scsi": SCSI.format("scsi_host97"),
    "scsi-adapter": SCSI.format("bad"),
    "vsock": "<vsock model='virtio'><cid auto='yes'/></vsock>",
    "vsock-cid": "<vsock model='virtio'><cid auto='no' address='2'/></vsock>",
}


def guest(name, device):
    return (f"<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory><os><type arch='x86_64' machine='q35'>hvm"
            f"</type></os><devices><emulator>{QEMU}</emulator>{device}<memballoon model='none'/></devices></domain>")


def code_of_start(connection, name, device):
    try:
        domain = connection.createXML(guest(name, device), 0)
    except libvirt.libvirtError as error:
        return error.get_error_code(), error.get_error_message()
    domain.destroy()
    return None, ""


@pytest.fixture(scope="module")
def oracle():
    if libvirtd.find() is None:
        pytest.skip("no libvirtd")
    daemon = libvirtd.Libvirtd()
    connection = libvirt.open(daemon.uri)
    yield connection
    connection.close()
    daemon.stop()


@pytest.fixture(scope="module")
def connection(lodged):
    opened = libvirt.open(lodged.uri)
    yield opened
    opened.close()


@pytest.mark.skipif(any(os.path.exists(path) for path in ("/sys/bus/usb/devices", "/dev/vhost-vsock", "/dev/vfio/vfio")),
                    reason="this host has such devices")
@pytest.mark.parametrize("row", ROWS)
def test_what_the_host_lacks_is_refused_with_libvirts_code(connection, oracle, row):
    name = "none-" + row
    code, why = code_of_start(connection, name, ROWS[row])
    assert code is not None
    assert code == code_of_start(oracle, name, ROWS[row])[0], why
    assert name not in [domain.name() for domain in connection.listAllDomains()]


def test_an_optional_device_that_is_not_there_is_left_out_and_told(connection):
    domain = connection.createXML(guest("optional", USB.format(" startupPolicy='optional'", VENDOR)), 0)
    try:
        source = ET.fromstring(domain.XMLDesc(0)).find("./devices/hostdev/source")
        assert source.get("missing") == "yes"
        assert ET.fromstring(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)).find("./devices/hostdev/source").get("missing") is None
    finally:
        domain.destroy()


@pytest.mark.parametrize("device", [USB.format("", VENDOR).removeprefix(XHCI), PCI, ROWS["vsock"], ROWS["scsi"]],
                         ids=["usb", "pci", "vsock", "scsi"])
def test_plugging_what_is_not_there_changes_nothing(connection, device):
    ports = "<controller type='pci' model='pcie-root'/>" + "<controller type='pci' model='pcie-root-port'/>" * 4
    domain = connection.createXML(guest("plug", XHCI + ports), 0)
    try:
        before = domain.XMLDesc(0)
        with pytest.raises(libvirt.libvirtError) as error:
            domain.attachDevice(device)
        assert error.value.get_error_code() in (1, 38, 67, 84), error.value
        assert domain.XMLDesc(0) == before
        objects = domain.info()
        assert objects[0] == libvirt.VIR_DOMAIN_RUNNING
    finally:
        domain.destroy()


def test_devices_come_into_definitions_and_go(connection):
    name = "defined"
    domain = connection.defineXML(guest(name, XHCI))
    try:
        for device in (USB.format("", VENDOR).removeprefix(XHCI), PCI, ROWS["scsi"], ROWS["vsock"]):
            tag = re.match(r"<(\w+)", device).group(1)
            domain.attachDeviceFlags(device, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
            assert ET.fromstring(domain.XMLDesc(0)).find(f"./devices/{tag}") is not None
            domain.detachDeviceFlags(device, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
            assert ET.fromstring(domain.XMLDesc(0)).find(f"./devices/{tag}") is None
    finally:
        domain.undefine()
