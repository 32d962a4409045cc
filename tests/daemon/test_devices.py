"""Devices in and out of running guests and of definitions, as virsh and libvirt-python see it, under both engines.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import subprocess
import threading
import xml.etree.ElementTree as ET

import libvirt
import pytest

from guestxml import QEMU, Console, disk_xml, guest_xml
from libvirt_client import hear, stop_hearing
from patience import PATIENCE

ENGINES = pytest.mark.parametrize("emulator", [None, QEMU], ids=["lodge-vmm", "qemu"])
# The same, with QEMU among the slow tests: they wait for what guests do, or do not.
QEMU_SLOWLY = pytest.mark.parametrize("emulator", [None, pytest.param(QEMU, marks=pytest.mark.slow)], ids=["lodge-vmm", "qemu"])


def put(daemon, name, text):
    path = os.path.join(daemon.root, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def image(daemon, name, size=1 << 20, text=b""):
    path = os.path.join(daemon.root, name)
    with open(path, "wb") as file:
        file.write(text)
        file.truncate(size)
    return path


def fails(daemon, *words):
    done = daemon.virsh(*words, check=False)
    assert done.returncode != 0, done.stdout
    return done.stderr


class Running:
    """A defined guest that was started; destroyed and undefined at the end."""

    def __init__(self, daemon, name, xml, wait_for_shell=True):
        self.daemon = daemon
        self.name = name
        daemon.virsh("define", put(daemon, name + ".xml", xml))
        daemon.virsh("start", name, *([] if wait_for_shell else ["--paused"]))
        self.console = None
        if wait_for_shell:
            self.console = Console(daemon.virsh("ttyconsole", name).stdout.strip())
            self.console.expect("reached init", 300)
            self.console.run("true")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.console:
            self.console.close()
        self.daemon.virsh("destroy", self.name, check=False)
        self.daemon.virsh("undefine", self.name)

    def virsh(self, command, *words, **options):
        return self.daemon.virsh(command, self.name, *words, **options)

    def fails(self, command, *words):
        return fails(self.daemon, command, self.name, *words)

    def device(self, xpath, *flags):
        text = self.daemon.virsh("dumpxml", self.name, *flags).stdout
        return ET.fromstring(text).find("./devices/" + xpath)

    def attach(self, text, *flags):
        self.virsh("attach-device", put(self.daemon, "device.xml", text), *flags)

    def detach(self, text, *flags):
        self.virsh("detach-device", put(self.daemon, "device.xml", text), *flags)


class Events:
    """Device events of all guests, gathered by a thread."""

    NAMES = {libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_ADDED: "added", libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED: "removed",
             libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED: "failed"}

    def __init__(self, uri):
        self.seen = []
        self.changed = threading.Condition()
        self.connection = libvirt.open(uri)
        for number, name in self.NAMES.items():
            hear(self.connection, None, number, self.note, name)

    def note(self, _connection, domain, alias, name):
        with self.changed:
            self.seen.append((domain.name(), name, alias))
            self.changed.notify_all()

    def wait(self, *event):
        with self.changed:
            assert self.changed.wait_for(lambda: event in self.seen, 30 * PATIENCE), (event, self.seen)
            self.seen.remove(event)


@pytest.fixture
def events(lodged):
    gathered = Events(lodged.uri)
    yield gathered
    stop_hearing(gathered.connection)
    gathered.connection.close()


@ENGINES
def test_a_disk_comes_and_goes(lodged, boot, events, emulator):
    name = "disk-" + ("q" if emulator else "l")
    path = image(lodged, name + ".img", text=b"hot-plugged")
    with Running(lodged, name, guest_xml(name, boot, emulator)) as guest:
        guest.attach(disk_xml(path, "vdb"), "--live", "--config")
        events.wait(name, "added", "virtio-disk1")
        status, text = guest.console.run("until [ -b /dev/vda ]; do sleep 0.1; done; head -c 11 /dev/vda", 60)
        assert status == 0 and "hot-plugged" in text
        for flags in ([], ["--inactive"]):
            assert guest.device("disk/source", *flags).get("file") == path
            assert guest.device("disk/address", *flags).get("type") == "pci"
        assert "vdb" in guest.fails("attach-device", put(lodged, "d.xml", disk_xml(path, "vdb")))
        guest.virsh("domblkstat", "vdb")
        guest.virsh("detach-disk", "vdb", "--live", "--config")
        events.wait(name, "removed", "virtio-disk1")
        guest.console.run("while [ -e /sys/block/vda ]; do sleep 0.1; done", 60)
        assert guest.device("disk") is None and guest.device("disk", "--inactive") is None
        # Nobody holds the image any more: it can be written to, and attached again.
        holders = subprocess.run(["fuser", path], capture_output=True, text=True, check=False).stdout
        assert holders.strip() == ""
        guest.virsh("attach-disk", path, "vdc", "--live")
        assert guest.device("disk", "--inactive") is None
        guest.virsh("detach-disk", "vdc")


@ENGINES
def test_an_interface_comes_and_goes(lodged, boot, events, emulator):
    name = "net-" + ("q" if emulator else "l")
    xml = "<interface type='user'><mac address='52:54:00:11:22:33'/><model type='virtio'/></interface>"
    with Running(lodged, name, guest_xml(name, boot, emulator)) as guest:
        guest.attach(xml)
        events.wait(name, "added", "net0")
        assert guest.console.run("until [ -e /sys/class/net/eth0 ]; do sleep 0.1; done; ip link set eth0 up", 60)[0] == 0
        guest.virsh("domif-setlink", "52:54:00:11:22:33", "down")
        assert guest.virsh("domif-getlink", "52:54:00:11:22:33").stdout.strip().endswith("down")
        assert guest.console.run("while [ $(cat /sys/class/net/eth0/carrier) = 1 ]; do sleep 0.1; done", 60)[0] == 0
        guest.virsh("domif-setlink", "52:54:00:11:22:33", "up")
        assert guest.console.run("until [ $(cat /sys/class/net/eth0/carrier) = 1 ]; do sleep 0.1; done", 60)[0] == 0
        guest.virsh("detach-interface", "user", "--mac", "52:54:00:11:22:33")
        events.wait(name, "removed", "net0")
        assert guest.device("interface") is None
        guest.attach(xml)  # its names are free again
        guest.virsh("detach-device-alias", "net0")
        events.wait(name, "removed", "net0")
        assert guest.device("interface") is None


@ENGINES
def test_a_channel_a_generator_and_a_controller_come_and_go(lodged, boot, events, emulator):
    name = "chan-" + ("q" if emulator else "l")
    channel = "<channel type='unix'><target type='virtio' name='org.test.0'/></channel>"
    with Running(lodged, name, guest_xml(name, boot, emulator)) as guest:
        guest.attach(channel)  # brings its controller along
        events.wait(name, "added", "virtio-serial0")
        events.wait(name, "added", "channel0")
        path = guest.device("channel/source").get("path")
        assert os.path.exists(path)
        guest.detach(channel)
        events.wait(name, "removed", "channel0")
        assert not os.path.exists(path)
        rng = "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>"
        guest.attach(rng)
        events.wait(name, "added", "rng0")
        assert guest.console.run("until [ -e /dev/hwrng ] && head -c 4 /dev/hwrng | grep -q ...; do sleep 0.1; done", 60)[0] == 0
        guest.detach(rng)
        events.wait(name, "removed", "rng0")


@QEMU_SLOWLY
def test_a_guest_that_does_not_let_go_is_told_of(lodged, boot, emulator):
    """The guest was never run: nobody answers. The client hears so, and the disk stays on the list."""
    name = "stuck-" + ("q" if emulator else "l")
    path = image(lodged, name + ".img")
    xml = guest_xml(name, boot, emulator, disk_xml(path, "vda"))
    with Running(lodged, name, xml, wait_for_shell=False) as guest:
        message = guest.fails("detach-disk", "vda", "--live", "--config")
        assert "has not let go" in message and "device-removed" in message
        assert guest.device("disk") is not None and guest.device("disk", "--inactive") is not None


@ENGINES
def test_what_fails_half_way_leaves_nothing(lodged, boot, emulator):
    name = "half-" + ("q" if emulator else "l")
    path = image(lodged, name + ".img")
    xml = guest_xml(name, boot, emulator, ports=1)
    with Running(lodged, name, xml, wait_for_shell=False) as guest:
        assert "/nowhere" in guest.fails("attach-disk", "/nowhere/x", "vdc")
        used = disk_xml(path, "vda")
        guest.attach(used)
        other = image(lodged, name + "2.img")
        for flags in (["--live"], ["--live", "--config"]):
            message = guest.fails("attach-device", put(lodged, "d.xml", disk_xml(other, "vdb")), *flags)
            assert "PCI slots" in message or "slot" in message, message
            assert guest.device("disk[2]") is None and guest.device("disk", "--inactive") is None
        assert subprocess.run(["fuser", other], capture_output=True, text=True, check=False).stdout.strip() == ""
        for bad in ("<nonsense/>", "<disk/>", "<serial type='pty'/>"):
            guest.fails("attach-device", put(lodged, "d.xml", bad), "--live")
        assert "hotplugged" in guest.fails("attach-disk", other, "sda", "--targetbus", "sata")


def test_definitions_alone(lodged, boot):
    name = "still"
    lodged.virsh("define", put(lodged, "still.xml", guest_xml(name, boot)))
    path = image(lodged, "still.img")
    lodged.virsh("attach-disk", name, path, "vdb", "--config")
    lodged.virsh("attach-disk", name, path, "vdb", check=False)
    assert "not running" in fails(lodged, "attach-disk", name, path, "vdc", "--live")
    card = "<interface type='user'><mac address='52:54:00:00:00:07'/><model type='virtio'/></interface>"
    lodged.virsh("attach-device", name, put(lodged, "card.xml", card), "--config")
    lodged.virsh("domif-setlink", name, "52:54:00:00:00:07", "down", "--config")
    definition = ET.fromstring(lodged.virsh("dumpxml", name).stdout)
    assert definition.find("devices/interface/link").get("state") == "down"
    lodged.virsh("detach-interface", name, "user", "--mac", "52:54:00:00:00:07", "--config")
    lodged.virsh("detach-disk", name, "vdb", "--config")
    fails(lodged, "detach-disk", name, "vdb", "--config")
    connection = libvirt.open(lodged.uri)
    domain = connection.lookupByName(name)
    for call, code in ((lambda: domain.detachDeviceAlias("ua-gone", 2), libvirt.VIR_ERR_INTERNAL_ERROR),
                       (lambda: domain.attachDevice("<disk/>"), libvirt.VIR_ERR_OPERATION_INVALID),
                       (lambda: domain.attachDeviceFlags("<disk", 2), libvirt.VIR_ERR_XML_DETAIL)):
        with pytest.raises(libvirt.libvirtError) as caught:
            call()
        assert caught.value.get_error_code() == code, caught.value
    connection.close()
    lodged.virsh("undefine", name)


def test_media_change(lodged, boot):
    name = "media"
    first, second = image(lodged, "one.iso", text=b"first disc"), image(lodged, "two.iso", text=b"second disc")
    xml = guest_xml(name, boot, QEMU, disk_xml(first, "sda", "<readonly/>", bus="sata", device="cdrom"))
    with Running(lodged, name, xml, wait_for_shell=False) as guest:
        guest.virsh("resume")
        guest.virsh("change-media", "sda", second, "--update", "--live", "--config")
        assert guest.device("disk/source").get("file") == second
        assert guest.device("disk/source", "--inactive").get("file") == second
        assert "two.iso" in guest.virsh("domblklist").stdout
        assert subprocess.run(["fuser", first], capture_output=True, text=True, check=False).stdout.strip() == ""
        guest.virsh("change-media", "sda", "--eject", "--live")
        assert guest.device("disk/source") is None
        assert guest.device("disk").get("device") == "cdrom"
        assert subprocess.run(["fuser", second], capture_output=True, text=True, check=False).stdout.strip() == ""
        guest.virsh("change-media", "sda", first, "--insert", "--live")
        assert guest.device("disk/source").get("file") == first
        assert "/nowhere.iso" in guest.fails("change-media", "sda", "/nowhere.iso", "--update", "--live")
        assert guest.device("disk/source").get("file") == first
