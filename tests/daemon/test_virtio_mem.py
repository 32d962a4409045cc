"""Memory by virtio, under QEMU: plugged, asked for, taken by guests, beside libvirtd; 5 s, the slow one 25 s.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import re
import tempfile
import xml.etree.ElementTree as ET

import libvirt
import pytest

import images
from conftest import BUILD
from guestxml import QEMU, guest_xml
from libvirt_client import Heard, stop_hearing
from lodged import Lodged

LIVE, CONFIG = libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG
NUMA = ("<maxMemory slots='5' unit='MiB'>1024</maxMemory><cpu mode='custom' match='exact'><model>qemu64</model>"
        "<numa><cell id='0' cpus='0' memory='256' unit='MiB'/></numa></cpu>")
MEMORY = ("<memory model='virtio-mem'><target><size unit='MiB'>{}</size><node>0</node><block unit='MiB'>{}</block>"
          "<requested unit='MiB'>{}</requested></target></memory>")
PMEM = ("<memory model='virtio-pmem' access='shared'><source><path>{}</path></source><target><size unit='MiB'>32</size></target>"
        "</memory>")


@pytest.fixture(scope="module")
def connection(lodged):
    opened = libvirt.open(lodged.uri)
    yield opened
    opened.close()


def guest(name, boot=("/dev/null", "/dev/null"), memory=MEMORY.format(256, 2, 64)):
    text = guest_xml(name, boot, QEMU, memory, extra=NUMA, ports=7)
    return text if boot[0] != "/dev/null" else re.sub(r"<kernel>.*</cmdline>", "", text, flags=re.S)


def state_of(domain, flags=0):
    root = ET.fromstring(domain.XMLDesc(flags))
    devices = [[memory.get("model"), *((e.tag, e.text) for e in memory.find("target")),
                memory.find("address").get("bus"), memory.find("alias") is not None]
               for memory in root.findall("./devices/memory")]
    return root.findtext("memory"), root.findtext("currentMemory"), devices


def code_of(call):
    try:
        return call()
    except libvirt.libvirtError as error:
        return error.get_error_code()


def with_requested(domain, mib, flags=0, model="virtio-mem"):
    """The XML of its first device that asks for another amount, as `virsh update-memory-device` makes it."""
    memory = ET.fromstring(domain.XMLDesc(flags)).find(f"./devices/memory[@model='{model}']")
    if mib is not None:
        memory.find("target/requested").text = str(mib << 10)
    return ET.tostring(memory, encoding="unicode")


def history(connection, path):
    domain = connection.defineXML(guest("history"))
    steps = [state_of(domain)]

    def step(call):
        steps.append((code_of(call), state_of(domain), state_of(domain, libvirt.VIR_DOMAIN_XML_INACTIVE)))

    try:
        step(lambda: domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED))
        for memory, flags in ((MEMORY.format(128, 4, 32), LIVE), (MEMORY.format(128, 2, 0), LIVE | CONFIG), (PMEM.format(path), LIVE),
                              (MEMORY.format(127, 2, 1), LIVE), (MEMORY.format(128, 2, 256), LIVE), (MEMORY.format(128, 3, 3), LIVE),
                              (MEMORY.format(1024, 2, 0), LIVE)):
            step(lambda m=memory, f=flags: domain.attachDeviceFlags(m, f))
        for mib in (128, 0, 256, 1, 512):
            step(lambda m=mib: domain.updateDeviceFlags(with_requested(domain, m), LIVE))
        asked = with_requested(domain, 64)
        for text in (asked.replace(">262144<", ">524288<"), asked.replace(">2048<", ">4096<"), asked.replace("virtiomem0", "virtiomem9"),
                     with_requested(domain, None, model="virtio-pmem"), MEMORY.format(512, 2, 64)):
            step(lambda t=text: domain.updateDeviceFlags(t, LIVE))
        step(lambda: domain.updateDeviceFlags(MEMORY.format(512, 2, 64), CONFIG))
        for alias in ("virtiomem0", "virtiopmem0"):
            step(lambda a=alias: domain.detachDeviceAlias(a, LIVE))
        step(lambda: domain.detachDeviceFlags(MEMORY.format(128, 2, 0), CONFIG))
        step(domain.destroy)
    finally:
        if domain.isActive():
            domain.destroy()
        domain.undefine()
    return steps


def test_memory_that_is_plugged_and_asked_for_is_as_libvirtd_has_it(connection, real_connection):
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        ours = history(connection, os.path.join(folder, "ours"))
        theirs = history(real_connection, os.path.join(folder, "theirs"))
    assert len(ours) == len(theirs) == 24
    for number, (own, other) in enumerate(zip(ours, theirs)):
        assert own == other, number


def test_another_amount_is_kept_in_the_definition_too(connection):
    """libvirt 9.0 does not find the device of the definition when the amount differs."""
    domain = connection.defineXML(guest("kept"))
    try:
        domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
        domain.updateDeviceFlags(with_requested(domain, 128), LIVE | CONFIG)
        stored = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        assert ">131072</requested>" in stored and "<alias" not in stored and "<current " not in stored
        domain.updateDeviceFlags(with_requested(domain, 32, libvirt.VIR_DOMAIN_XML_INACTIVE), CONFIG)
        assert ">32768</requested>" in domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        assert ">131072</requested>" in domain.XMLDesc()
    finally:
        domain.destroy()
        domain.undefine()


def what_a_guest_takes(connection, boot, after_first=None):
    heard = Heard(connection, libvirt.VIR_DOMAIN_EVENT_ID_MEMORY_DEVICE_SIZE_CHANGE)
    domain = connection.createXML(guest("takes", boot, MEMORY.format(256, 128, 128)))
    sizes = []

    def wait_for(mib):
        heard.wait(lambda event: event == ("takes", "virtiomem0", mib << 10), 300)
        sizes.append((state_of(domain), domain.info()[1:3]))

    wait_for(128)
    if after_first:
        connection = after_first(connection)
        domain = connection.lookupByName("takes")
        heard = Heard(connection, libvirt.VIR_DOMAIN_EVENT_ID_MEMORY_DEVICE_SIZE_CHANGE)
    sizes.append((state_of(domain), domain.info()[1:3]))
    domain.updateDeviceFlags(with_requested(domain, 256), LIVE)
    wait_for(256)
    domain.updateDeviceFlags(with_requested(domain, 0), LIVE)
    wait_for(0)
    domain.destroy()
    stop_hearing(connection)
    return sizes


@pytest.mark.slow
def test_a_guest_takes_and_gives_back_what_it_is_asked_for(real_connection, tmp_path):
    """Debian's kernel; the daemon is killed in between."""
    boot = (images.image(BUILD, "fetch-kernel"), images.image(BUILD, "make-initramfs", "--modules", "virtio_mem"))
    daemons = [Lodged(str(tmp_path))]

    def kill(opened):
        daemons[0].process.kill()
        daemons[0].process.wait()
        stop_hearing(opened)
        opened.close()
        daemons.append(Lodged(str(tmp_path)))
        return libvirt.open(daemons[1].uri)

    try:
        ours = what_a_guest_takes(libvirt.open(daemons[0].uri), boot, kill)
    finally:
        daemons[-1].stop()
    assert [entry[1] for entry in ours] == [[524288, 393216], [524288, 393216], [524288, 524288], [524288, 262144]]
    assert ours == what_a_guest_takes(real_connection, boot)
