"""What a monitor says becomes the same events and states with lodged as with libvirtd 9.0.

QEMU runs behind qemu-interposed.py, so that a test says what no guest here says. Each step is the same for both
daemons. Left out, as lodged has no such thing: block jobs, jobs, migration, memory devices of changing size.
Takes 25 s. SPDX-License-Identifier: GPL-2.0-or-later
"""
import json
import os
import shutil
import socket
import tempfile
import threading
import uuid

import libvirt
import pytest

import libvirtd as real
from conftest import BUILD
from guestxml import disk_xml
from libvirt_client import create_again, hear, stop_hearing
from lodged import Lodged
from patience import PATIENCE

HERE = os.path.dirname(os.path.abspath(__file__))
KERNEL = os.path.join(BUILD, "tests", "guest", "first-instruction.elf")
NAMES = {getattr(libvirt, name): name[len("VIR_DOMAIN_EVENT_ID_"):].lower().replace("_", "-")
         for name in dir(libvirt) if name.startswith("VIR_DOMAIN_EVENT_ID_")}
LIVE, CONFIG = 1, 2
EXPLAINED = {"destroy": "the process is killed at once: nothing shuts down before it is stopped"}
ENDED = "ended"  # the step ends the guest: wait for that

def event(name, **data):
    return {"event": name, "data": {key.replace("_", "-"): value for key, value in data.items()}}


def ends(what):
    return {"host": "127.0.0.1", "service": "5900" if what == "server" else "40000", "family": "ipv4", "websocket": False}


def screen(name, **client):
    server = {**ends("server"), "auth": "sasl"}
    return event(name, server=server, client={**ends("client"), **client})


def io_error(action, **data):
    return event("BLOCK_IO_ERROR", device="", node_name="none", qom_path="/x", operation="write", action=action, **data)


DISK = {"device": "drive-virtio-disk0", "qom-path": "/machine/peripheral/virtio-disk0/virtio-backend"}
# Step, what is said, events that come late (a worker makes them).
STEPS = [
    ("nothing", [], 0),
    ("reset by the guest", [event("RESET", guest=True, reason="guest-reset")], 0),
    ("reset by the host", [event("RESET", guest=False, reason="host-qmp-system-reset")], 0),
    ("stop", [event("STOP")], 0),
    ("stop again", [event("STOP")], 0),
    ("resume", [event("RESUME")], 0),
    ("resume again", [event("RESUME")], 0),
    *((f"watchdog {action}", [event("WATCHDOG", action=action)], 0)
      for action in ("none", "reset", "poweroff", "shutdown", "debug", "inject-nmi", "nonsense")),
    ("watchdog pause", [event("WATCHDOG", action="pause"), event("STOP")], 0),
    ("resume after the watchdog", [event("RESUME")], 0),
    *((f"I/O error {action}", [io_error(action, **data)], 0)
      for action, data in (("report", {"nospace": False, "reason": "Input/output error"}), ("ignore", {"nospace": False}))),
    ("I/O error full", [io_error("report", nospace=True, reason="No space left on device")], 0),
    ("I/O error stop", [io_error("stop", nospace=True, reason="No space left on device"), event("STOP")], 0),
    ("resume after the error", [event("RESUME")], 0),
    ("tray opens", [event("DEVICE_TRAY_MOVED", device="", id="sata0-0-1", tray_open=True)], 0),
    ("tray closes", [event("DEVICE_TRAY_MOVED", device="", id="sata0-0-1", tray_open=False)], 0),
    ("tray of nothing", [event("DEVICE_TRAY_MOVED", device="", id="none", tray_open=True)], 0),
    ("balloon", [event("BALLOON_CHANGE", actual=24 << 20)], 0),
    ("VNC comes", [screen("VNC_CONNECTED")], 0),
    ("VNC ready", [screen("VNC_INITIALIZED", sasl_username="fred", x509_dname="CN=x")], 0),
    ("VNC goes", [screen("VNC_DISCONNECTED", sasl_username="fred")], 0),
    ("VNC by IPv6", [event("VNC_CONNECTED", server={"host": "::1", "service": "5900", "family": "ipv6", "auth": "none"},
                           client={"host": "::1", "service": "4", "family": "ipv6"})], 0),
    ("VNC by a path", [event("VNC_CONNECTED", server={"host": "", "service": "/s", "family": "unix", "auth": "none"},
                             client={"host": "", "service": "", "family": "unix"})], 0),
    ("SPICE comes", [event("SPICE_CONNECTED", server={"host": "127.0.0.1", "port": "5901", "family": "ipv4"},
                           client={"host": "127.0.0.1", "port": "4001", "family": "ipv4"})], 0),
    ("SPICE ready", [event("SPICE_INITIALIZED", server={"host": "127.0.0.1", "port": "5901", "family": "ipv4", "auth": "spice"},
                           client={"host": "127.0.0.1", "port": "4001", "family": "ipv4", "channel-type": 1})], 0),
    ("SPICE goes", [event("SPICE_DISCONNECTED", server={"host": "127.0.0.1", "port": "5901", "family": "ipv4"},
                          client={"host": "127.0.0.1", "port": "4001", "family": "ipv4"})], 0),
    ("suspends", [event("SUSPEND")], 0),
    ("wakes up", [event("WAKEUP")], 0),
    ("wakes up again", [event("WAKEUP")], 0),
    ("suspends to disk", [event("SUSPEND_DISK")], 0),
    ("wakes up from disk", [event("WAKEUP")], 0),
    ("agent comes", [event("VSERPORT_CHANGE", id="channel0", open=True)], 1),
    ("agent goes", [event("VSERPORT_CHANGE", id="channel0", open=False)], 1),
    ("unknown port", [event("VSERPORT_CHANGE", id="channel9", open=True)], 0),
    ("refuses to unplug", [event("DEVICE_UNPLUG_GUEST_ERROR", device="net0", path="/machine/peripheral/net0")], 0),
    ("refuses by ACPI", [event("ACPI_DEVICE_OST", info={"device": "dimm0", "slot": "0", "slot-type": "DIMM", "source": 3, "status": 1})], 0),
    ("refuses otherwise", [event("ACPI_DEVICE_OST", info={"device": "dimm0", "slot": "0", "slot-type": "DIMM", "source": 0x103, "status": 0x80})], 0),
    ("takes it by ACPI", [event("ACPI_DEVICE_OST", info={"device": "dimm0", "slot": "0", "slot-type": "DIMM", "source": 0x103, "status": 0})], 0),
    ("CPU by ACPI", [event("ACPI_DEVICE_OST", info={"device": "vcpu1", "slot": "1", "slot-type": "CPU", "source": 3, "status": 1})], 0),
    ("unplugged", [event("DEVICE_DELETED", device="net0", path="/machine/peripheral/net0")], 1),
    ("unplugged unknown", [event("DEVICE_DELETED", device="net9", path="/machine/peripheral/net9")], 0),
    ("unplugged without name", [event("DEVICE_DELETED", path="/machine/peripheral/net1")], 0),
    *((f"memory failure {recipient} {action} {flags}",
       [event("MEMORY_FAILURE", recipient=recipient, action=action, flags={"action-required": flags > 1, "recursive": flags % 2 == 1})], 0)
      for recipient, action, flags in (("hypervisor", "ignore", 0), ("guest", "inject", 1), ("guest", "fatal", 2),
                                       ("guest", "reset", 3))),
    ("memory failure nonsense", [event("MEMORY_FAILURE", recipient="x", action="y", flags={})], 0),
    ("memory size", [event("MEMORY_DEVICE_SIZE_CHANGE", id="virtiomem9", size=1 << 20, qom_path="/x")], 0),
    ("threshold of nothing", [event("BLOCK_WRITE_THRESHOLD", node_name="none", amount_exceeded=1, write_threshold=2)], 0),
    ("crash kernel", [event("GUEST_CRASHLOADED", action="run", info={"type": "hyper-v"})], 1),
    ("unknown event", [event("NO_SUCH_EVENT", x=1)], 0),
    ("shuts down", [event("SHUTDOWN", guest=True, reason="guest-shutdown")], ENDED),
    ("shut down by the host", [event("SHUTDOWN", guest=False, reason="host-qmp-quit")], ENDED),
    ("shuts down without a word", [event("SHUTDOWN")], ENDED),
    ("panics", [event("GUEST_PANICKED", action="pause", info={"type": "hyper-v"})], ENDED),
    ("panics differently", [event("GUEST_PANICKED", action="poweroff")], ENDED),
    ("killed", "kill", ENDED),
    ("talks nonsense", "nonsense", 1),
]


def guest_xml(name, identity, folder):
    devices = disk_xml(f"{folder}/disk.img", "vda", "<shareable/>") + disk_xml(None, "sdb", bus="sata", device="cdrom") + (
        "<interface type='user'><mac address='52:54:00:00:00:01'/><model type='virtio'/></interface>"
        "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
        "<memballoon model='virtio'/><watchdog model='i6300esb' action='none'/>")
    return f"""<domain type='qemu'><name>{name}</name><uuid>{identity}</uuid><memory unit='MiB'>32</memory>
<vcpu>1</vcpu><os><type arch='x86_64' machine='q35'>hvm</type><kernel>{folder}/kernel.elf</kernel></os><features><acpi/></features>
<devices><emulator>{folder}/qemu-interposed.py</emulator><controller type='usb' model='none'/>{devices}</devices></domain>"""


class Session:
    """Runs the steps with one daemon, and keeps what each brought."""

    def __init__(self, uri, folder):
        self.connection = libvirt.open(uri)
        self.folder = folder
        self.identity = str(uuid.uuid4())
        self.heard = []
        self.changed = threading.Condition()
        self.mark = 1000000
        for number in NAMES:
            hear(self.connection, None, number, self.note, NAMES[number])
        self.control = None

    def note(self, _connection, _domain, *values):
        *values, name = values
        with self.changed:
            self.heard.append([name, *(value.replace(self.folder, "") if isinstance(value, str) else value for value in values)])
            self.changed.notify_all()

    def wait(self, fits, what):
        with self.changed:
            assert self.changed.wait_for(fits, 60 * PATIENCE), (what, self.heard)

    def start(self):
        self.domain = create_again(self.connection, guest_xml("told", self.identity, self.folder))
        self.control = socket.socket(socket.AF_UNIX)
        self.control.connect(f"\0lodge-monitor-{self.identity}")
        # "started" is the last event of a start.
        self.wait(lambda: ["lifecycle", 2, 0] in self.heard, "start")

    def say(self, message):
        self.control.sendall(json.dumps({**message, "timestamp": {"seconds": 1, "microseconds": 2}}).encode() + b"\r\n")

    def say_specially(self, what):
        if what == "kill":
            os.kill(self.pid(), 9)
        else:
            self.control.sendall(b"}this is no JSON\r\n")

    def pid(self):
        for each in os.listdir("/proc"):
            if each.isdigit():
                try:
                    with open(f"/proc/{each}/cmdline", "rb") as file:
                        words = file.read().split(b"\0")
                except OSError:
                    continue
                if self.identity.encode() in words and words[1].endswith(b"qemu-interposed.py"):
                    return int(each)
        raise AssertionError("no such process")

    def step(self, messages, late):
        if not self.control:
            self.start()
        with self.changed:
            del self.heard[:]
        if isinstance(messages, str):
            self.say_specially(messages)
        else:
            for message in messages:
                self.say(message)
        if late == ENDED:
            self.wait(lambda: any(e[:2] == ["lifecycle", 5] for e in self.heard), messages)
            self.control.close()
            self.control = None
            return {"events": self.heard[:], "state": "gone"}
        if isinstance(messages, str):
            self.wait(lambda: len(self.heard) >= late, messages)
            self.control.close()
            self.control = None
            self.domain.destroy()
            return {"events": self.heard[:1]}
        self.mark += 1
        self.say(event("RTC_CHANGE", offset=self.mark))
        mark = ["rtc-change", self.mark]
        self.wait(lambda: mark in self.heard and len(self.heard) > late, messages)
        return {"events": [e for e in self.heard if e != mark], "state": list(self.domain.state())}

    def run(self):
        results = {name: self.step(messages, late) for name, messages, late in STEPS}
        stop_hearing(self.connection)
        self.connection.close()
        return results


@pytest.fixture(scope="module")
def folder():
    """With what the emulator needs, also where libvirtd runs it as nobody."""
    with tempfile.TemporaryDirectory(prefix="lodge-events-") as path:
        os.chmod(path, 0o755)
        shutil.copy(KERNEL, os.path.join(path, "kernel.elf"))
        shutil.copy(os.path.join(HERE, "qemu-interposed.py"), path)
        disk = os.path.join(path, "disk.img")
        with open(disk, "wb") as file:
            file.truncate(1 << 20)
        os.chmod(disk, 0o666)
        os.mkdir(os.path.join(path, "l"))
        yield path


class Calls(Session):
    """What calls bring about."""

    def call(self, *names):
        """Each is a call of the domain; its error code is what it brings, too."""
        codes = []
        for name, *arguments in names:
            try:
                getattr(self.domain, name)(*arguments)
            except libvirt.libvirtError as error:
                codes.append(error.get_error_code())
        # Events keep their order: this one, of another guest, is the last.
        self.mark += 1
        text = f"urn:mark{self.mark}"
        self.other.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, f"<m>{self.mark}</m>", "m", text, CONFIG)
        mark = ["metadata-change", libvirt.VIR_DOMAIN_METADATA_ELEMENT, text]
        self.wait(lambda: mark in self.heard, names)
        with self.changed:
            # The guest's program may end in a reset at any time; that resets are told is a step of the other session.
            told = [e for e in self.heard if e not in (mark, ["reboot"])]
            del self.heard[:]
        return {"events": told, "errors": codes}

    def run(self):
        other = guest_xml("other", str(uuid.uuid4()), self.folder)
        self.other = self.connection.defineXML(other)
        self.domain = self.connection.defineXML(guest_xml("told", self.identity, self.folder))
        results = {"define": self.call(), **{name: self.call(*calls) for name, *calls in CALLS}}
        self.other.undefine()
        stop_hearing(self.connection)
        self.connection.close()
        return results


NET = "<interface type='user'><mac address='52:54:00:00:00:02'/><model type='virtio'/></interface>"
CALLS = [
    ("title", ("setMetadata", libvirt.VIR_DOMAIN_METADATA_TITLE, "a", None, None, CONFIG)),
    ("title without a change", ("setMetadata", libvirt.VIR_DOMAIN_METADATA_TITLE, "a", None, None, CONFIG)),
    ("description", ("setMetadata", libvirt.VIR_DOMAIN_METADATA_DESCRIPTION, "b", None, None, CONFIG)),
    ("element", ("setMetadata", libvirt.VIR_DOMAIN_METADATA_ELEMENT, "<x/>", "k", "urn:x", CONFIG)),
    ("element removed", ("setMetadata", libvirt.VIR_DOMAIN_METADATA_ELEMENT, None, "k", "urn:x", CONFIG)),
    ("renamed", ("rename", "renamed")),
    ("renamed back", ("rename", "told")),
    ("pin of the definition", ("pinVcpuFlags", 0, (True,), CONFIG)),
    ("start", ("create",)),
    ("title of the running one", ("setMetadata", libvirt.VIR_DOMAIN_METADATA_TITLE, "c", None, None, LIVE)),
    ("suspend and resume", ("suspend",), ("suspend",), ("resume",), ("resume",)),
    ("pins", ("pinVcpu", 0, (True,)), ("pinEmulator", (True,), LIVE)),
    ("limits of a disk", ("setBlockIoTune", "vda", {"total_iops_sec": 500, "total_bytes_sec": 1 << 20}, LIVE)),
    ("limits of a disk in a group", ("setBlockIoTune", "vda", {"read_iops_sec": 7, "group_name": "g"}, LIVE)),
    ("limits of both", ("setBlockIoTune", "vda", {"write_bytes_sec": 7 << 20, "read_bytes_sec_max": 8 << 20}, LIVE | CONFIG)),
    ("interface", ("attachDeviceFlags", NET, CONFIG)),
    ("interface plugged", ("attachDeviceFlags", NET.replace("00:02", "00:03"), LIVE)),
    ("reset", ("reset",)),
    ("statistics of memory", ("setMemoryStatsPeriod", 3, LIVE)),
    ("medium", ("updateDeviceFlags", disk_xml("/nowhere.iso", "sdb", bus="sata", device="cdrom"), LIVE)),
    ("destroy", ("destroy",)),
    ("start paused", ("createWithFlags", libvirt.VIR_DOMAIN_START_PAUSED)),
    ("resume", ("resume",)),
    ("destroy gracefully", ("destroyFlags", libvirt.VIR_DOMAIN_DESTROY_GRACEFUL)),
    ("undefine", ("undefine",)),
]


@pytest.fixture(scope="module")
def two(folder):
    """Runs a session with libvirtd, then with lodged; gives what both told."""
    if not real.find():
        pytest.skip("libvirtd is not installed")
    daemons = [real.Libvirtd(), Lodged(os.path.join(folder, "l"))]
    yield lambda kind: [kind(daemon.uri, folder).run() for daemon in daemons]
    for daemon in daemons:
        daemon.stop()


def test_each_word_of_a_monitor_means_the_same_to_both_daemons(two):
    theirs, ours = two(Session)
    kinds = {event[0] for step in theirs.values() for event in step["events"]}
    assert len(kinds) >= 16, kinds
    differing = [f"{name}: ours {ours[name]}, libvirtd's {theirs[name]}" for name in theirs if ours[name] != theirs[name]]
    assert not differing, "\n".join(differing)


def test_calls_bring_the_same_events_with_both_daemons(two):
    theirs, ours = two(Calls)
    differing = [f"{name}: ours {ours[name]}, libvirtd's {theirs[name]}" for name in theirs
                 if ours[name] != theirs[name] and name not in EXPLAINED]
    assert not differing, "\n".join(differing)
