"""Reaching into guests: consoles, channels, keys, NMI, screens, descriptors, memory, disks; events of what goes on in them.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import json
import os
import socket
import time

import libvirt
import libvirt_qemu
import pytest

from guestxml import QEMU, Console, disk_xml, guest_xml
from libvirt_client import Heard, code_of, receive
from patience import PATIENCE

ENGINES = pytest.mark.parametrize("emulator", [None, QEMU], ids=["lodge-vmm", "qemu"])
LIVE, CONFIG = 1, 2


@pytest.fixture
def start(connection):
    made = []

    def run(name, xml, paused=True):
        domain = connection.createXML(xml, libvirt.VIR_DOMAIN_START_PAUSED if paused else 0)
        made.append(domain)
        return domain

    yield run
    for domain in made:
        try:
            domain.destroy()
        except libvirt.libvirtError:
            pass


def image(daemon, name, size=1 << 20):
    path = os.path.join(daemon.root, name)
    with open(path, "wb") as file:
        file.write(b"first bytes")
        file.truncate(size)
    return path


def shell_of(domain):
    import xml.etree.ElementTree as ET
    console = Console(ET.fromstring(domain.XMLDesc()).find("devices/console").get("tty"))
    console.expect("reached init", 300)
    console.run("true")
    return console


def read_until(stream, text, most=1 << 20):
    data = b""
    while text not in data and len(data) < most:
        part = receive(stream)
        assert part, data
        data += part
    return data


@ENGINES
def test_a_console_is_talked_to_and_taken_over(connection, lodged, boot, start, emulator):
    name = "talk-" + ("q" if emulator else "l")
    domain = start(name, guest_xml(name, boot, emulator), paused=False)
    first = connection.newStream(libvirt.VIR_STREAM_NONBLOCK)
    domain.openConsole(None, first, libvirt.VIR_DOMAIN_CONSOLE_SAFE)
    read_until(first, b"reached init")
    first.send(b"echo one''two\n")
    read_until(first, b"onetwo")
    assert code_of(domain.openConsole, None, connection.newStream(), 0) == libvirt.VIR_ERR_OPERATION_FAILED
    other = libvirt.open(lodged.uri)
    second = other.newStream(libvirt.VIR_STREAM_NONBLOCK)
    other.lookupByName(name).openConsole(None, second, libvirt.VIR_DOMAIN_CONSOLE_FORCE)
    with pytest.raises(libvirt.libvirtError, match="another client took"):
        while receive(first):
            pass
    second.send(b"echo three''four\n")
    read_until(second, b"threefour")
    # The first one's end is not the second one's.
    assert code_of(domain.openConsole, None, connection.newStream(), 0) == libvirt.VIR_ERR_OPERATION_FAILED
    second.abort()
    other.close()
    third = connection.newStream(libvirt.VIR_STREAM_NONBLOCK)
    domain.openConsole(None, third, 0)
    third.send(b"echo five''six\n")
    read_until(third, b"fivesix")
    domain.destroy()
    try:
        while receive(third):
            pass
    except libvirt.libvirtError:
        pass


@ENGINES
def test_a_channel_is_a_stream(connection, boot, start, emulator):
    name = "channel-" + ("q" if emulator else "l")
    channel = "<channel type='unix'><target type='virtio' name='org.test.0'/></channel>"
    domain = start(name, guest_xml(name, boot, emulator, channel), paused=False)
    console = shell_of(domain)
    stream = connection.newStream(libvirt.VIR_STREAM_NONBLOCK)
    domain.openChannel("org.test.0", stream, 0)
    find = "for p in /sys/class/virtio-ports/*; do grep -q org.test.0 $p/name && dev=/dev/$(basename $p); done"
    assert console.run(f"until {find} && [ -e $dev ]; do sleep 0.1; done; echo inside > $dev", 60)[0] == 0
    assert b"inside" in read_until(stream, b"inside")
    stream.send(b"outside\n")
    assert "outside" in console.run("head -n 1 $dev", 60)[1]
    assert code_of(domain.openChannel, "org.test.9", connection.newStream(), 0) == libvirt.VIR_ERR_INTERNAL_ERROR
    stream.finish()
    console.close()


def test_streams_of_peers_that_vanish_leave_nothing(lodged, connection, boot, start):
    start("vanish", guest_xml("vanish", boot))
    before = lodged.count_fds()
    for _ in range(20):
        with lodged.client().open() as client:
            domain = client.call("DOMAIN_LOOKUP_BY_NAME", name="vanish")["dom"]
            client.call("DOMAIN_OPEN_CONSOLE", dom=domain, dev_name=None, flags=1)
    for _ in range(200):
        connection.getLibVersion()
        if lodged.count_fds() <= before:
            break
    assert lodged.count_fds() <= before


def test_keys_reach_the_guest_in_every_codeset(lodged, boot, start):
    domain = start("keys", guest_xml("keys", boot, QEMU))
    a = {"linux": 30, "xt": 30, "atset1": 30, "atset2": 28, "atset3": 28, "os_x": 0, "xt_kbd": 30, "usb": 4, "win32": 65, "rfb": 30}
    for codeset, number in a.items():
        lodged.virsh("send-key", "keys", "--codeset", codeset, str(number))
    lodged.virsh("send-key", "keys", "KEY_LEFTCTRL", "KEY_LEFTALT", "KEY_DELETE", "--holdtime", "50")
    assert code_of(domain.sendKey, 0, 0, [4000], 1, 0) == libvirt.VIR_ERR_INTERNAL_ERROR
    assert code_of(domain.sendKey, 77, 0, [30], 1, 0) == libvirt.VIR_ERR_INVALID_ARG


def test_lodge_vmm_has_no_keyboard_to_press(boot, start):
    domain = start("nokeys", guest_xml("nokeys", boot))
    with pytest.raises(libvirt.libvirtError) as caught:
        domain.sendKey(0, 0, [30], 1, 0)
    said = caught.value.get_error_message()
    assert caught.value.get_error_code() == libvirt.VIR_ERR_OPERATION_UNSUPPORTED
    assert "'nokeys'" in said and "lodge-vmm' " in said and "no monitor command 'send-key'" in said
    raw = libvirt_qemu.qemuMonitorCommand(domain, '{"execute":"send-key"}', 0)
    assert json.loads(raw)["error"]["class"] == "CommandNotFound"


@ENGINES
def test_an_nmi_arrives(lodged, boot, start, emulator):
    name = "nmi-" + ("q" if emulator else "l")
    domain = start(name, guest_xml(name, boot, emulator), paused=False)
    console = shell_of(domain)
    domain.injectNMI(0)
    wait = "until grep NMI: /proc/interrupts | grep -q '[1-9]'; do sleep 0.1; done; grep NMI: /proc/interrupts"
    assert console.run(wait, 60)[0] == 0
    console.close()


def test_a_screen_is_shot_and_joined(lodged, connection, boot, start):
    devices = "<graphics type='vnc' port='-1'/><video><model type='vga'/></video>"
    domain = start("screen", guest_xml("screen", boot, QEMU, devices))
    stream = connection.newStream(libvirt.VIR_STREAM_NONBLOCK)
    assert domain.screenshot(stream, 0, 0) == "image/x-portable-pixmap"
    data = bytearray()
    while part := receive(stream):
        data += part
    stream.finish()
    assert data.startswith(b"P6")
    heard = Heard(connection, libvirt.VIR_DOMAIN_EVENT_ID_GRAPHICS)
    fd = domain.openGraphicsFD(0, libvirt.VIR_DOMAIN_OPEN_GRAPHICS_SKIPAUTH)
    with socket.socket(fileno=fd) as ours:
        assert ours.recv(12).startswith(b"RFB ")
    ours, theirs = socket.socketpair()
    domain.openGraphics(0, theirs.fileno(), 0)
    theirs.close()
    assert ours.recv(12).startswith(b"RFB ")
    ours.close()
    heard.wait(lambda event: event[0] == "screen" and event[1] == libvirt.VIR_DOMAIN_EVENT_GRAPHICS_CONNECT)
    heard.wait(lambda event: event[1] == libvirt.VIR_DOMAIN_EVENT_GRAPHICS_DISCONNECT)
    assert code_of(domain.openGraphicsFD, 7, 0) == libvirt.VIR_ERR_INTERNAL_ERROR


def test_lodge_vmm_says_that_it_has_no_screen(connection, boot, start):
    domain = start("dark", guest_xml("dark", boot))
    for call in (lambda: domain.screenshot(connection.newStream(), 0, 0), lambda: domain.openGraphicsFD(0, 0)):
        with pytest.raises(libvirt.libvirtError) as caught:
            call()
        assert "has no screen" in str(caught.value) or "graphics" in str(caught.value)


@ENGINES
def test_autodestroy_belongs_to_one_client_and_one_life(lodged, connection, boot, emulator):
    name = "owned-" + ("q" if emulator else "l")
    heard = Heard(connection, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE)
    owner = libvirt.open(lodged.uri)
    domain = owner.defineXML(guest_xml(name, boot, emulator))
    flags = libvirt.VIR_DOMAIN_START_AUTODESTROY | libvirt.VIR_DOMAIN_START_PAUSED
    domain.createWithFlags(flags)
    domain.destroy()
    mine = connection.lookupByName(name)
    mine.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)  # another life, nobody's
    second = libvirt.open(lodged.uri)
    second.createXML(guest_xml(name + "-2", boot, emulator), flags)
    del domain
    owner.close()
    second.close()
    stopped = libvirt.VIR_DOMAIN_EVENT_STOPPED
    heard.wait(lambda event: event[:3] == (name + "-2", stopped, libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED))
    assert mine.isActive()
    mine.destroy()
    mine.undefine()


@ENGINES
def test_a_disk_by_descriptor(lodged, connection, boot, emulator):
    name = "by-fd-" + ("q" if emulator else "l")
    path = image(lodged, name + ".img")
    disk = disk_xml("/not/there/at/all", "vda").replace("<source ", "<source fdgroup='mine' ")
    domain = connection.defineXML(guest_xml(name, boot, emulator, disk))
    assert code_of(domain.create) == libvirt.VIR_ERR_INVALID_ARG
    with open(path, "r+b") as file:
        domain.FDAssociate("mine", [file.fileno()], libvirt.VIR_DOMAIN_FD_ASSOCIATE_SECLABEL_WRITABLE)
    domain.createWithFlags(0)
    console = shell_of(domain)
    assert "first bytes" in console.run("until [ -b /dev/vda ]; do sleep 0.1; done; head -c 11 /dev/vda", 60)[1]
    console.close()
    other = libvirt.open(lodged.uri)
    with open(path, "rb") as file:
        assert code_of(other.lookupByName(name).FDAssociate, "mine", [file.fileno()], 0) == libvirt.VIR_ERR_OPERATION_FAILED
    other.close()
    domain.destroy()
    domain.undefine()


@ENGINES
def test_contents_are_looked_at(lodged, boot, start, emulator):
    name = "peek-" + ("q" if emulator else "l")
    path = image(lodged, name + ".img")
    domain = start(name, guest_xml(name, boot, emulator, disk_xml(path, "vda")), paused=False)
    assert domain.blockPeek("vda", 6, 5, 0) == b"bytes"
    assert code_of(domain.blockPeek, "vda", 1 << 40, 5, 0) == libvirt.VIR_ERR_INTERNAL_ERROR
    # The interrupt table that firmware or boot loader left, or zeroes: 1 KiB that can be read.
    assert len(domain.memoryPeek(0, 1024, libvirt.VIR_MEMORY_PHYSICAL)) == 1024
    kernel = bytes(65536)
    deadline = time.monotonic() + 60 * PATIENCE
    while not any(kernel) and time.monotonic() < deadline:  # until firmware has put it there, for QEMU at 1 MiB first
        kernel = domain.memoryPeek((1 if emulator else 16) << 20, 65536, libvirt.VIR_MEMORY_PHYSICAL)
    assert len(kernel) == 65536 and any(kernel)
    assert not [n for n in os.listdir(os.path.join(lodged.root, "run", "qemu")) if n.endswith("peek")]


@pytest.mark.parametrize("emulator", [None, pytest.param(QEMU, marks=pytest.mark.slow)], ids=["lodge-vmm", "qemu"])
def test_lifecycle_actions_decide_about_the_end(lodged, connection, boot, start, emulator):
    name = "ends-" + ("q" if emulator else "l")
    domain = start(name, guest_xml(name, boot, emulator), paused=False)
    console = shell_of(domain)
    heard = Heard(connection, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE)
    assert code_of(domain.setLifecycleAction, 0, 3, LIVE) == libvirt.VIR_ERR_CONFIG_UNSUPPORTED
    assert code_of(domain.setLifecycleAction, 9, 0, LIVE) == libvirt.VIR_ERR_INVALID_ARG
    domain.setLifecycleAction(libvirt.VIR_DOMAIN_LIFECYCLE_POWEROFF, libvirt.VIR_DOMAIN_LIFECYCLE_ACTION_RESTART, LIVE)
    assert "<on_poweroff>restart<" in domain.XMLDesc()
    os.write(console.fd, b"poweroff -f\n")
    console.expect("reached init", 300)  # again
    console.run("true")
    assert domain.isActive() and not [e for e in heard.seen if e[1] == libvirt.VIR_DOMAIN_EVENT_STOPPED]
    for kind in (libvirt.VIR_DOMAIN_LIFECYCLE_POWEROFF, libvirt.VIR_DOMAIN_LIFECYCLE_REBOOT):  # not the second alone
        domain.setLifecycleAction(kind, libvirt.VIR_DOMAIN_LIFECYCLE_ACTION_DESTROY, LIVE)
    assert "<on_reboot>destroy<" in domain.XMLDesc()
    os.write(console.fd, b"reboot -f\n")
    heard.wait(lambda event: event[:2] == (name, libvirt.VIR_DOMAIN_EVENT_STOPPED))
    console.close()


def test_qemus_reset_ends_a_guest_once_whose_reboot_does(lodged, connection, boot, start):
    name = "reset-q"
    xml = guest_xml(name, boot, QEMU, extra="<on_reboot>destroy</on_reboot>")
    heard = Heard(connection, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE)
    domain = start(name, xml, paused=False)
    domain.reset()
    heard.wait(lambda event: event[:2] == (name, libvirt.VIR_DOMAIN_EVENT_STOPPED))
    assert "cannot start a guest again" not in lodged.read_log()


def test_a_monitor_command_takes_a_descriptor_along(lodged, boot, start):
    start("pass", guest_xml("pass", boot))
    done = lodged.virsh("qemu-monitor-command", "pass", "--pass-fds", "0", '{"execute":"getfd","arguments":{"fdname":"x"}}')
    assert '"return":{}' in done.stdout.replace(" ", "")
    assert "monitor" in lodged.virsh("dominfo", "pass").stdout.lower()


def test_a_full_disk_stops_the_guest_and_says_which(connection, boot, start):
    devices = disk_xml("/dev/full", "vda").replace("type='file'", "type='block'").replace("file=", "dev=")
    with pytest.raises(libvirt.libvirtError, match="/dev/full"):  # neither file nor block device
        start("full", guest_xml("full", boot, QEMU, devices))


@ENGINES
def test_bulk_statistics_have_libvirts_names(lodged, connection, boot, start, emulator):
    name = "stats-" + ("q" if emulator else "l")
    path = image(lodged, name + ".img")
    overlay = os.path.join(lodged.root, name + ".qcow2")
    os.system(f"qemu-img create -q -f qcow2 -b {path} -F raw {overlay}")
    devices = disk_xml(overlay, "vda", fmt="qcow2") + "<memballoon model='virtio'><stats period='1'/></memballoon>"
    extra = "<iothreads>1</iothreads>" if emulator else ""
    domain = start(name, guest_xml(name, boot, emulator, devices, extra=extra), paused=False)
    domain.setPerfEvents({"task_clock": True, "page_faults": True}, LIVE)
    assert domain.perfEvents(LIVE)["task_clock"] and not domain.perfEvents(LIVE)["cpu_clock"]
    stats = connection.domainListGetStats([domain], 0, libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_BACKING)[0][1]
    wanted = ["state.state", "state.reason", "cpu.time", "cpu.user", "cpu.system", "balloon.current", "balloon.maximum",
              "balloon.rss", "vcpu.current", "vcpu.maximum", "vcpu.0.state", "vcpu.0.time", "vcpu.0.wait", "vcpu.0.delay",
              "block.count", "block.0.name", "block.0.path", "block.0.rd.reqs", "block.0.rd.bytes", "block.0.wr.reqs",
              "block.0.wr.bytes", "block.0.fl.reqs", "block.0.capacity", "block.0.physical", "block.0.backingIndex",
              "block.1.path", "perf.task_clock", "perf.page_faults"]
    wanted += ["iothread.count", "iothread.1.poll-max-ns", "dirtyrate.calc_status"] if emulator else []
    assert not [field for field in wanted if field not in stats], stats
    assert stats["block.1.path"] == path and stats["block.count"] == 2
    assert stats["perf.task_clock"] >= 0
    for _ in range(200):
        domain.memoryStats()
        if "balloon.unused" in connection.domainListGetStats([domain], libvirt.VIR_DOMAIN_STATS_BALLOON)[0][1]:
            break
    if emulator:
        lodged.virsh("domdirtyrate-calc", name, "--seconds", "1")
    total = domain.getCPUStats(True)[0]
    assert total["cpu_time"] > 0
    single = domain.getCPUStats(False)
    assert len(single) >= 1 and all("cpu_time" in cpu for cpu in single)
    domain.setPerfEvents({"task_clock": False}, LIVE)
    assert "perf.task_clock" not in connection.domainListGetStats([domain], libvirt.VIR_DOMAIN_STATS_PERF)[0][1]
    assert code_of(domain.setPerfEvents, {"cmt": True}, LIVE) == libvirt.VIR_ERR_SYSTEM_ERROR


@ENGINES
def test_a_threshold_that_is_passed_is_told_once(lodged, connection, boot, start, emulator):
    name = "mark-" + ("q" if emulator else "l")
    path = image(lodged, name + ".img")
    heard = Heard(connection, libvirt.VIR_DOMAIN_EVENT_ID_BLOCK_THRESHOLD)
    domain = start(name, guest_xml(name, boot, emulator, disk_xml(path, "vda")), paused=False)
    shell = shell_of(domain)
    domain.setBlockThreshold("vda", 512 * 1024)
    assert code_of(domain.setBlockThreshold, "vdz", 1) == libvirt.VIR_ERR_INVALID_ARG
    shell.run("dd if=/dev/zero of=/dev/vda bs=64k count=4 conv=fsync")
    shell.run("dd if=/dev/zero of=/dev/vda bs=64k count=1 seek=8 conv=fsync")
    shell.close()
    _, device, told, threshold, excess = heard.wait(lambda event: event[0] == name)
    assert (device, told, threshold) == ("vda", path, 512 * 1024) and 0 < excess <= 65536
    assert len([event for event in heard.seen if event[0] == name]) == 1
