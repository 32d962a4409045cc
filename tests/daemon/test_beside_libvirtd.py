"""Life of guests under QEMU: what lodged answers beside libvirtd 9.0, step by step.

Each test is a session of steps, run with both at the same time: values, codes and XML must be the same.
Takes 90 s. SPDX-License-Identifier: GPL-2.0-or-later
"""
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time

import libvirt
import libvirt_qemu
import pytest

import libvirtd as real
from conftest import BUILD
from libvirt_client import hear, stop_hearing
from lodged import Lodged
from patience import PATIENCE

HERE = os.path.dirname(os.path.abspath(__file__))
LODGE_VMM = os.path.join(BUILD, "bin", "lodge-vmm")
QEMU = "/usr/bin/qemu-system-x86_64"
# Steps that differ, and why.
EXPLAINED = {"restart: state": "libvirtd 9.0 leaves a guest that it started again after a panic as 'crashed'"}
LIVE, CONFIG, MAXIMUM, HOTPLUGGABLE = 1, 2, 4, 16


class Steps:
    """Keeps what each step gave: a value, or "error CODE"."""

    def __init__(self, uri, folder, emulator=QEMU):
        self.connection = libvirt.open(uri)
        self.folder = folder
        self.emulator = emulator
        self.results = []

    def step(self, name, action, *arguments):
        try:
            value = action(*arguments)
        except libvirt.libvirtError as error:
            value = f"error {error.get_error_code()}"
        self.results.append((name, value))
        return value

    def xml(self, name, vcpu="<vcpu>1</vcpu>", emulator=None, extra="", devices="", machine="q35"):
        return f"""<domain type='qemu'><name>{name}</name><memory unit='MiB'>32</memory>{vcpu}
<os><type arch='x86_64' machine='{machine}'>hvm</type><kernel>{self.folder}/kernel.elf</kernel></os><features><acpi/></features>{extra}
<devices><emulator>{emulator or self.emulator}</emulator><controller type='usb' model='none'/>{devices}</devices></domain>"""


@pytest.fixture(scope="module")
def folder():
    """With what the emulator needs, also where libvirtd runs it as nobody."""
    with tempfile.TemporaryDirectory(prefix="lodge-beside-") as path:
        os.chmod(path, 0o755)
        shutil.copy(os.path.join(BUILD, "tests", "guest", "first-instruction.elf"), os.path.join(path, "kernel.elf"))
        shutil.copy(os.path.join(HERE, "qemu-interposed.py"), path)
        os.mkdir(os.path.join(path, "l"))
        yield path


def end_guests(uri):
    """Those that a session left when it failed: both daemons leave guests running at their own end."""
    connection = libvirt.open(uri)
    try:
        for domain in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
            try:
                domain.destroy()
            except libvirt.libvirtError:
                assert not domain.isActive(), domain.name()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def compare(folder):
    """Runs a session's function with both, lodged with any emulator, and fails with what differs."""
    if not real.find():
        pytest.skip("libvirtd is not installed")
    daemons = [real.Libvirtd(), Lodged(os.path.join(folder, "l"))]

    def run(script, *arguments, emulator=QEMU):
        failed = []
        sessions = [Steps(daemons[0].uri, folder), Steps(daemons[1].uri, folder, emulator)]

        def play(session):
            try:
                script(session, *arguments)
            except BaseException as error:  # pylint: disable=broad-except
                failed.append(error)
            finally:
                stop_hearing(session.connection)
                session.connection.close()

        threads = [threading.Thread(target=play, args=(session,)) for session in sessions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failed:
            raise failed[0]
        theirs, ours = (session.results for session in sessions)
        assert len(theirs) == len(ours) > 0
        differing = [f"{mine[0]}: ours {mine[1]}, libvirtd's {other[1]}" for mine, other in zip(ours, theirs)
                     if mine != other and mine[0] not in EXPLAINED]
        assert not differing, "\n".join(differing)
        return theirs

    with contextlib.ExitStack() as ends:
        for daemon in daemons:
            ends.callback(daemon.stop)
            ends.callback(end_guests, daemon.uri)
        yield run


# --- vCPUs ---

def vcpus_of(domain, flags=0):
    found = re.findall(r"<vcpu .*?</vcpu>|<vcpus>.*?</vcpus>", domain.XMLDesc(flags), re.DOTALL)
    return re.sub(r"\s+", " ", "".join(found))


def all_vcpus_of(domain):
    return vcpus_of(domain), vcpus_of(domain, libvirt.VIR_DOMAIN_XML_INACTIVE), domain.vcpusFlags(LIVE), domain.vcpusFlags(CONFIG)


def vcpus_go(session, machine, port):
    domain = session.connection.defineXML(session.xml("go-" + machine, "<vcpu current='2'>4</vcpu>", machine=machine))
    domain.create()

    def count(name, number, flags):
        session.step(name, domain.setVcpusFlags, number, flags)
        session.step(name + ": then", all_vcpus_of, domain)

    def switch(name, which, on, flags):
        session.step(name, domain.setVcpu, which, on, flags)
        session.step(name + ": then", all_vcpus_of, domain)

    try:
        session.step("at first", all_vcpus_of, domain)
        count("one of the start", 1, LIVE)
        count("more", 4, LIVE)
        count("fewer, by a guest that never looked", 3, LIVE)
        # What a guest's system does: it turns to QEMU's way of plugging that can take vCPUs out.
        session.step("a system starts", libvirt_qemu.qemuMonitorCommand, domain, f"o /4 {port:#x} 0", 1)
        count("fewer", 3, LIVE)
        switch("one off in both", "2", 0, LIVE | CONFIG)
        switch("one of the start off", "1", 0, LIVE)
        switch("the first off", "0", 0, LIVE)
        switch("none such", "9", 0, LIVE)
        switch("two off", "2-3", 0, LIVE)
        switch("one on that is on", "3", 1, LIVE)
        switch("no such state", "3", 2, LIVE)
        switch("no number", "x", 1, LIVE)
        count("none", 0, LIVE)
        count("too many", 5, LIVE)
        count("as many as there are, to be plugged", 4, LIVE | HOTPLUGGABLE)
    finally:
        domain.destroy()
    session.step("off", vcpus_of, domain)
    domain.undefine()


@pytest.mark.parametrize("machine, port", [("q35", 0xcd8), pytest.param("pc", 0xaf00, marks=pytest.mark.slow)], ids=["q35", "pc"])
def test_vcpus_go_or_stay_as_with_libvirtd(compare, machine, port):
    results = dict(compare(vcpus_go, machine, port))
    assert results["fewer"] == "error 68" and results["one off in both"] == "error 68"
    assert results["fewer, by a guest that never looked"] == "error 1"


def vcpus_of_definitions(session):
    domain = session.connection.defineXML(session.xml("numbers", "<vcpu current='2'>4</vcpu>"))
    steps = [("setVcpusFlags", 3, CONFIG), ("setVcpusFlags", 2, CONFIG), ("setVcpusFlags", 3, CONFIG | HOTPLUGGABLE),
             ("setVcpusFlags", 4, CONFIG), ("setVcpusFlags", 3, CONFIG), ("setVcpusFlags", 2, CONFIG | MAXIMUM),
             ("setVcpu", "1", 0, CONFIG), ("setVcpu", "1", 1, CONFIG), ("setVcpu", "1", 1, CONFIG), ("setVcpu", "0", 0, CONFIG),
             ("setVcpu", "9", 1, CONFIG), ("setVcpu", "x", 1, CONFIG), ("setVcpusFlags", 1, CONFIG), ("setVcpu", "1", 1, LIVE)]
    for name, *arguments in steps:
        session.step(f"{name} {arguments}", getattr(domain, name), *arguments)
        session.step(f"{name} {arguments}: then", vcpus_of, domain)
    domain.undefine()
    singles = "<vcpu id='2' enabled='no'/><vcpu id='0' enabled='yes' hotpluggable='no'{}/>" \
        "<vcpu id='1' enabled='yes' hotpluggable='yes'{}/><vcpu id='3' enabled='yes' hotpluggable='yes'{}/>"
    for name, orders in (("by number", ("", "", "")), ("by order", (" order='1'", " order='3'", " order='2'"))):
        domain = session.connection.defineXML(session.xml("single", f"<vcpu>4</vcpu><vcpus>{singles.format(*orders)}</vcpus>"))
        session.step(name, vcpus_of, domain)
        session.step(name + " start", domain.create)
        session.step(name + " live", all_vcpus_of, domain)
        session.step(name + " one more", domain.setVcpu, "2", 1, LIVE | CONFIG)
        session.step(name + " then", all_vcpus_of, domain)
        domain.destroy()
        domain.undefine()
    for name, vcpus in (
            ("first off", "<vcpu id='0' enabled='no'/>"), ("first plugged", "<vcpu id='0' enabled='yes' hotpluggable='yes'/>"),
            ("first late", "<vcpu id='0' enabled='yes' order='3'/>"), ("order twice", "<vcpu id='0' enabled='yes' order='1'/><vcpu id='1' enabled='yes' order='1'/>"),
            ("some orders", "<vcpu id='0' enabled='yes' order='1'/><vcpu id='1' enabled='yes'/>"),
            ("off, not to plug", "<vcpu id='0' enabled='yes'/><vcpu id='1' enabled='no' hotpluggable='no'/>"),
            ("off with order", "<vcpu id='0' enabled='yes' order='1'/><vcpu id='1' enabled='no' order='2'/>"),
            ("number out of range", "<vcpu id='7' enabled='yes'/>"), ("one alone", "<vcpu id='3' enabled='yes'/>")):
        def define(xml=session.xml("bad", f"<vcpu current='2'>4</vcpu><vcpus>{vcpus}</vcpus>")):
            domain = session.connection.defineXML(xml)
            try:
                return vcpus_of(domain)
            finally:
                domain.undefine()
        session.step(name, define)


def test_numbers_of_vcpus_in_definitions_are_libvirtds(compare):
    compare(vcpus_of_definitions)


# --- ends ---

ACTIONS = ("destroy", "restart", "rename-restart", "preserve", "coredump-destroy", "coredump-restart")


def actions_of(domain, flags=0):
    return re.findall(r"<on_\w+>([^<]+)<", domain.XMLDesc(flags))


def ends_of_definitions(session):
    def define(extra):
        domain = session.connection.defineXML(session.xml("end", extra=extra))
        try:
            return actions_of(domain)
        finally:
            domain.undefine()

    for element in ("on_poweroff", "on_reboot", "on_crash"):
        for action in (*ACTIONS, "nonsense", ""):
            session.step(f"{element} {action}", define, f"<{element}>{action}</{element}>")
    for poweroff in ACTIONS[:2]:
        for reboot in ACTIONS[:2]:
            extra = f"<on_poweroff>{poweroff}</on_poweroff><on_reboot>{reboot}</on_reboot>"
            session.step(f"poweroff {poweroff}, reboot {reboot}", define, extra)


def test_the_same_ends_can_be_defined(compare):
    results = dict(compare(ends_of_definitions))
    assert results["poweroff restart, reboot destroy"] == "error 67"


def ends_are_set(session):
    domain = session.connection.defineXML(session.xml("sets"))
    domain.create()
    try:
        for kind in range(4):
            for action in range(7):
                for flags in (0, CONFIG, LIVE | CONFIG, 4):
                    if kind == 2 and action in (4, 5) and flags != CONFIG:
                        continue  # core dumps of running guests: lodged makes none, and says so
                    session.step(f"set {kind} {action} {flags}", domain.setLifecycleAction, kind, action, flags)
                    session.step("then", lambda: (actions_of(domain), actions_of(domain, libvirt.VIR_DOMAIN_XML_INACTIVE)))
    finally:
        domain.destroy()
        domain.undefine()


def test_ends_are_set_with_the_same_answers(compare):
    compare(ends_are_set)


def say(identity, name, **data):
    """Has QEMU say it, see qemu-interposed.py; gives the connection, by which more can be said."""
    control = socket.socket(socket.AF_UNIX)
    control.connect(f"\0lodge-monitor-{identity}")
    message = {"event": name, "data": data, "timestamp": {"seconds": 1, "microseconds": 2}}
    control.sendall(json.dumps(message).encode() + b"\r\n")
    return control


class Events:
    """Those of one domain, in order."""

    KINDS = libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, libvirt.VIR_DOMAIN_EVENT_ID_REBOOT

    def __init__(self, session, domain):
        self.seen = []
        self.changed = threading.Condition()
        self.connection = session.connection
        for kind in self.KINDS:
            hear(self.connection, domain, kind, lambda _c, _d, *words, kind=kind: self.note((kind, *words[:-1])))

    def note(self, event):
        with self.changed:
            self.seen.append(event)
            self.changed.notify_all()

    def wait(self, *event, times=1):
        with self.changed:
            assert self.changed.wait_for(lambda: self.seen.count(event) >= times, 25 * PATIENCE), self.seen

    def stop(self):
        stop_hearing(self.connection)


CRASHED, DESTROYED = libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED, libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED


def panics(session):
    emulator = os.path.join(session.folder, "qemu-interposed.py")
    for action in ACTIONS[:2] + ACTIONS[3:4]:
        domain = session.connection.defineXML(session.xml("panic", emulator=emulator, extra=f"<on_crash>{action}</on_crash>",
                                                          devices="<panic model='isa'/>"))
        events = Events(session, domain)
        domain.create()
        events.wait(0, libvirt.VIR_DOMAIN_EVENT_STARTED, 0)
        before = domain.ID()
        libvirt_qemu.qemuMonitorCommand(domain, "stop", 1)  # as it is for a panic
        events.wait(0, libvirt.VIR_DOMAIN_EVENT_SUSPENDED, 0)
        control = say(domain.UUIDString(), "GUEST_PANICKED", action="pause", info={"type": "hyper-v", "arg1": 1, "arg2": 2,
                                                                                   "arg3": 3, "arg4": 4, "arg5": 5})
        events.wait(0, libvirt.VIR_DOMAIN_EVENT_CRASHED, 0)
        if action == "destroy":
            events.wait(0, libvirt.VIR_DOMAIN_EVENT_STOPPED, CRASHED)
        elif action == "restart":
            events.wait(libvirt.VIR_DOMAIN_EVENT_ID_REBOOT)
            events.wait(0, libvirt.VIR_DOMAIN_EVENT_RESUMED, 0, times=2)  # after its start, and then
        session.step(f"{action}: state", domain.state)
        session.step(f"{action}: the same guest", lambda: domain.ID() == before if domain.isActive() else None)
        session.step(f"{action}: suspend", domain.suspend)
        session.step(f"{action}: resume", domain.resume)
        session.step(f"{action}: reset", domain.reset)
        session.step(f"{action}: state then", domain.state)
        control.close()
        session.step(f"{action}: destroy", domain.destroy)
        session.step(f"{action}: state at the end", domain.state)
        events.wait(0, libvirt.VIR_DOMAIN_EVENT_STOPPED, CRASHED if action == "destroy" else DESTROYED)
        # Resets may be told before or after the end; "shutdown (host)" of destroying: see differences.txt.
        host = (0, libvirt.VIR_DOMAIN_EVENT_SHUTDOWN, libvirt.VIR_DOMAIN_EVENT_SHUTDOWN_HOST)
        session.step(f"{action}: events", lambda: [e for e in events.seen if e[0] == 0 and e != host])
        events.stop()
        domain.undefine()


def test_panics_end_restart_or_keep_guests_as_with_libvirtd(compare):
    compare(panics)


def end_by_reset(domain):
    """The guest may end before the engine has answered, even before it is asked: SeaBIOS resets once more by itself."""
    try:
        domain.reset()
    except libvirt.libvirtError as error:
        assert error.get_error_code() in (libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_ERR_OPERATION_FAILED,
                                          libvirt.VIR_ERR_OPERATION_INVALID), error


def resets(session):
    for reboot in ("restart", "destroy"):
        domain = session.connection.defineXML(session.xml("reset", extra=f"<on_reboot>{reboot}</on_reboot>"))
        for paused in (False, True):
            events = Events(session, domain)
            domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED if paused else 0)
            domain.setLifecycleAction(libvirt.VIR_DOMAIN_LIFECYCLE_CRASH, 3, LIVE)
            if reboot == "destroy":
                end_by_reset(domain)
                events.wait(0, libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN)
            else:
                session.step(f"{reboot} {paused}: reset", domain.reset)
                events.wait(libvirt.VIR_DOMAIN_EVENT_ID_REBOOT)
            session.step(f"{reboot} {paused}: state", domain.state)
            session.step(f"{reboot} {paused}: reset again", domain.reset)
            if reboot == "restart":
                events.wait(libvirt.VIR_DOMAIN_EVENT_ID_REBOOT, times=2)
                # The other way, while it runs; and back.
                domain.setLifecycleAction(libvirt.VIR_DOMAIN_LIFECYCLE_REBOOT, 0, LIVE)
                end_by_reset(domain)
                events.wait(0, libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN)
            # Whose reset it was that ended the guest, the host's or SeaBIOS's own, is a matter of time.
            session.step(f"{reboot} {paused}: events", lambda seen=events.seen: [
                e[:2] if e[1] == libvirt.VIR_DOMAIN_EVENT_SHUTDOWN else e for e in seen if e[0] == 0])
            events.stop()
        domain.undefine()


@pytest.mark.parametrize("emulator", [LODGE_VMM, QEMU], ids=["lodge-vmm", "qemu"])
def test_resets_end_guests_whose_reboots_do(compare, emulator):
    compare(resets, emulator=emulator)


# --- what guests tell of themselves ---

def sizes_of_images(session):
    def image(name, target, kind):
        return (f"<disk type='file' device='disk'><driver name='qemu' type='{kind}'/><source file='{session.folder}/{name}'/>"
                f"<target dev='{target}' bus='virtio'/></disk>")

    devices = image("a.qcow2", "vda", "qcow2") + image("b.raw", "vdb", "raw") + image("none.raw", "vdc", "raw")
    domain = session.connection.defineXML(session.xml("sizes", devices=devices + "<disk type='file' device='cdrom'>"
                                                      "<target dev='sda' bus='sata'/></disk>"))
    for flags in (0, libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_BACKING):
        session.step(f"statistics {flags}", lambda flags=flags: sorted(
            session.connection.domainListGetStats([domain], libvirt.VIR_DOMAIN_STATS_BLOCK, flags)[0][1].items()))
    for target in ("vda", "vdb", "vdc", "sda", "vdz"):
        session.step(target, domain.blockInfo, target)
    domain.undefine()


def test_images_of_guests_that_are_off_have_the_same_sizes(compare, folder):
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", f"{folder}/a.qcow2", "64M"], check=True)
    with open(f"{folder}/b.raw", "wb") as file:
        file.write(b"x" * 8192)
        file.truncate(3 << 20)
    os.sync()  # what is allocated is known then
    for name in ("a.qcow2", "b.raw"):
        os.chmod(f"{folder}/{name}", 0o666)
    results = dict(compare(sizes_of_images))
    assert ("block.0.capacity", 64 << 20) in results["statistics 0"] and results["sda"] == "error 8"


def dirty_rate(session):
    domain = session.connection.defineXML(session.xml("dirty"))
    session.step("off", domain.startDirtyRateCalc, 1, 0)
    domain.create()
    try:
        session.step("before", lambda: session.connection.domainListGetStats([domain], libvirt.VIR_DOMAIN_STATS_DIRTYRATE)[0][1])
        for seconds, flags in ((0, 0), (61, 0), (-1, 0), (1, 4), (1, 8), (1, 0)):
            session.step(f"{seconds} s, {flags}", domain.startDirtyRateCalc, seconds, flags)
    finally:
        domain.destroy()
        domain.undefine()


def test_dirty_rates_are_asked_for_with_the_same_answers(compare):
    compare(dirty_rate)


# --- what guests boot from ---

def boots(session):
    def disk(target, order=0, kind="disk", bus="virtio"):
        boot = f"<boot order='{order}'/>" if order else ""
        return (f"<disk type='file' device='{kind}'><driver name='qemu' type='raw'/><source file='{session.folder}/kernel.elf'/>"
                f"<target dev='{target}' bus='{bus}'/>{boot}<readonly/></disk>")

    def card(order=0):
        return f"<interface type='user'><model type='e1000'/>{f'''<boot order='{order}'/>''' if order else ''}</interface>"

    def index(domain, alias):
        query = {"execute": "qom-get", "arguments": {"path": f"/machine/peripheral/{alias}", "property": "bootindex"}}
        return json.loads(libvirt_qemu.qemuMonitorCommand(domain, json.dumps(query), 0)).get("return")

    kinds = "".join(f"<boot dev='{kind}'/>" for kind in ("network", "hd", "cdrom"))
    guests = {"kinds": (kinds, disk("vdb") + disk("vda") + disk("hda", kind="cdrom", bus="ide") + card() + card()),
              "orders": ("", disk("vda") + disk("vdb", 2) + disk("hda", 3, "cdrom", "ide") + card() + card(1))}
    for name, (boot, devices) in guests.items():
        text = session.xml(name, devices=devices, machine="pc")
        session.step(f"{name}: both", lambda text=text, bad=boot or kinds, odd=disk("vdc", 9):
                     session.connection.defineXML(text.replace("</kernel>", "</kernel>" + bad).replace("</devices>", odd + "</devices>")))
        domain = session.connection.defineXML(text.replace("</kernel>", "</kernel>" + boot))
        domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
        try:
            for target, place in (("vdc", 0), ("vdd", 2), ("vde", 7)):
                session.step(f"{name}: plug {place}", domain.attachDeviceFlags, disk(target, place), LIVE)
                session.step(f"{name}: store {place}", domain.attachDeviceFlags, disk(target, place), CONFIG)
                for alias in ("virtio-disk0", "virtio-disk1", "virtio-disk2", "virtio-disk4", "ide0-0-0", "net0", "net1"):
                    session.step(f"{name}: {alias} after {place}", index, domain, alias)
            for flags in (0, libvirt.VIR_DOMAIN_XML_INACTIVE):
                session.step(f"{name}: disks {flags}", lambda flags=flags: re.findall(r"<target dev='(\w+)' bus", domain.XMLDesc(flags)))
            session.step(f"{name}: plug again", domain.attachDeviceFlags, disk("vda", 0), LIVE)
        finally:
            domain.destroy()
            domain.undefine()


def test_kinds_and_devices_to_boot_from_get_the_same_numbers(compare):
    results = dict(compare(boots))
    assert results["kinds: net0 after 0"] == 1 and results["kinds: virtio-disk0 after 0"] == 2
    assert results["kinds: virtio-disk2 after 7"] == -1 and results["orders: virtio-disk4 after 7"] == 7


# --- memory modules ---

CELL = "<cpu><numa><cell id='0' cpus='0' memory='32' unit='MiB'/></numa></cpu>"
SLOTS, FLAGS, STATUS_EVENT, STATUS = 0xa00, 0xa14, 0xa04, 0xa08  # ports of QEMU's interface for firmware
REMOVING, EJECT = 4, 8


def room(slots, mib):
    return f"<maxMemory slots='{slots}' unit='MiB'>{mib}</maxMemory>{CELL}"


def module(size="<size unit='MiB'>32</size>", node="<node>0</node>", rest="", model="dimm", source="", access=""):
    return f"<memory model='{model}'{access}>{source}<target>{size}{node}</target>{rest}</memory>"


def at_slot(slot, base=""):
    return module(rest=f"<address type='dimm' slot='{slot}'{base}/>")


def modules_of(domain, flags=0):
    """What the guest has by its XML and by dominfo; its modules with their names and places."""
    text = re.sub(r">\s+<", "><", domain.XMLDesc(flags))
    return re.findall(r"<(?:memory|currentMemory) unit='KiB'>\d+", text), domain.info()[1:3], re.findall(r"<memory model.*?</memory>", text)


def objects_of(domain):
    query = {"execute": "qom-list", "arguments": {"path": "/objects"}}
    answer = json.loads(libvirt_qemu.qemuMonitorCommand(domain, json.dumps(query), 0))
    return sorted(row["name"] for row in answer["return"] if row["name"].startswith("mem"))


class PlugEvents(Events):
    """Devices that came, went and stayed. libvirtd names one that came by its memory object."""

    KINDS = {libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_ADDED: "added", libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED: "removed",
             libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED: "stays"}

    def note(self, event):
        kind, alias = event
        super().note((self.KINDS[kind], re.sub("^mem", "", alias)))


class Firmware:
    """Does what a guest's firmware does with modules, by a monitor of its own that the guest was started with."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.read()

    def read(self):
        text = b""
        while not text.endswith(b"(qemu) "):
            data = self.socket.recv(4096)
            assert data, text
            text += data
        return text.decode(errors="replace")

    def say(self, line):
        self.socket.sendall(line.encode() + b"\n")
        return self.read()

    def wait_for_request(self, slot):
        deadline = time.monotonic() + 60 * PATIENCE
        while True:
            self.say(f"o /4 {SLOTS:#x} {slot}")
            flags = int(re.findall(r"= 0x([0-9a-f]+)", self.say(f"i /1 {FLAGS:#x}"))[-1], 16)
            if flags & REMOVING:
                self.say(f"o /1 {FLAGS:#x} {REMOVING}")  # seen: the flag goes
                return
            assert time.monotonic() < deadline, "nobody asks the guest"
            time.sleep(0.02)

    def eject(self, slot):
        self.wait_for_request(slot)
        self.say(f"o /1 {FLAGS:#x} {EJECT}")

    def refuse(self, slot):
        self.wait_for_request(slot)
        self.say(f"o /4 {STATUS_EVENT:#x} 3")
        self.say(f"o /4 {STATUS:#x} 0x80")


def modules_come(session, machine):
    domain = session.connection.defineXML(session.xml("come-" + machine, extra=room(5, 256), devices=module(), machine=machine))
    domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    events = PlugEvents(session, domain)
    try:
        session.step("at first", modules_of, domain)
        for name, xml, flags in (
                ("one", module(), LIVE), ("no node", module(node=""), LIVE), ("no such node", module(node="<node>9</node>"), LIVE),
                ("no size", module(size=""), LIVE), ("none of it", module(size="<size>0</size>"), LIVE),
                ("too large", module(size="<size unit='MiB'>512</size>"), LIVE), ("too large, stored", module(size="<size unit='MiB'>512</size>"), CONFIG),
                ("no whole step", module(size="<size unit='MiB'>33</size>"), LIVE), ("nearly 2 MiB", module(size="<size unit='KiB'>2047</size>"), LIVE),
                ("slot that is taken", at_slot(0), LIVE), ("slot that is not there", at_slot(9), LIVE),
                ("slot that is taken, stored", at_slot(0), CONFIG),
                ("odd address", at_slot(4, " base='0x1234'"), LIVE), ("address that is taken", at_slot(4, " base='0x100000000'"), LIVE),
                ("other address", module(rest="<address type='pci'/>"), LIVE),
                ("NVDIMM of a machine without", module(model="nvdimm", source="<source><path>/dev/null</path></source>"), LIVE),
                ("shared, in both", module(access=" access='shared'"), LIVE | CONFIG),
                ("alias and place", module(rest="<alias name='ua-mine'/><address type='dimm' slot='4' base='0x120000000'/>"), LIVE | CONFIG),
                ("alias that is taken", module(rest="<alias name='ua-mine'/>"), LIVE), ("no slot", module(), LIVE), ("stored", module(), CONFIG),
                ("slots for the stored alone", module(), LIVE | CONFIG)):
            session.step(name, domain.attachDeviceFlags, xml, flags)
            session.step(name + ": then", modules_of, domain)
            session.step(name + ": stored", modules_of, domain, libvirt.VIR_DOMAIN_XML_INACTIVE)
        session.step("objects", objects_of, domain)
        events.wait("added", "ua-mine")
        session.step("events", lambda: events.seen)
        session.step("detach none such", domain.detachDevice, module(size="<size unit='MiB'>64</size>"))
        session.step("detach elsewhere", domain.detachDevice, at_slot(3))
        session.step("detach by half an address", domain.detachDevice, at_slot(4))
        session.step("detach by none's alias", domain.detachDeviceAlias, "dimm77", LIVE)
        session.step("detach from the definition", domain.detachDeviceFlags, at_slot(4, " base='0x55000000'"), CONFIG)
        session.step("stored then", modules_of, domain, libvirt.VIR_DOMAIN_XML_INACTIVE)
    finally:
        events.stop()
        domain.destroy()
    session.step("off", modules_of, domain)
    domain.undefine()
    for name, extra in (("without", CELL), ("small", room(4, 65)), ("single", room(1, 256))):
        domain = session.connection.defineXML(session.xml(name, extra=extra, devices="<memballoon model='none'/>", machine=machine))
        domain.create()
        try:
            for flags in (LIVE, CONFIG, LIVE | CONFIG, LIVE):
                session.step(f"{name}: {flags}", domain.attachDeviceFlags, module(), flags)
                session.step(f"{name}: {flags}: then", modules_of, domain)
        finally:
            domain.destroy()
            domain.undefine()


@pytest.mark.parametrize("machine", ["q35", pytest.param("pc", marks=pytest.mark.slow)])
def test_memory_modules_are_plugged_as_with_libvirtd(compare, machine):
    results = dict(compare(modules_come, machine))
    assert results["one"] == 0 and results["no slot"] == "error 67" and results["no such node"] == "error 35"
    assert results["one: then"][1] == [98304, 98304] and "base='0x102000000'" in results["one: then"][2][1]


def modules_go(session, folder):
    path = os.path.join(folder, f"monitor-{id(session)}")
    source = f"<source><path>{folder}/nvdimm-{id(session)}-{{}}</path></source>"
    text = session.xml("go-modules", extra=room(6, 512), devices=module(model="nvdimm", source=source.format(0)))
    text = text.replace("<domain ", "<domain xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0' ").replace(
        "</domain>", f"<qemu:commandline><qemu:arg value='-monitor'/><qemu:arg value='unix:{path},server=on,wait=off'/></qemu:commandline></domain>")
    domain = session.connection.defineXML(text)
    domain.create()
    events = PlugEvents(session, domain)
    firmware = Firmware(path)

    def then(name):
        session.step(name + ": then", lambda: [re.sub(r"<path>.*?</path>", "", str(modules_of(domain))), objects_of(domain)])

    def go(name, act, slot, action, *arguments):
        thread = threading.Thread(target=act, args=(slot,))
        thread.start()
        try:
            session.step(name, action, *arguments)
        finally:
            thread.join()

    try:
        then("at first")
        for name, xml in (("one", module()), ("like it", module()), ("NVDIMM", module(model="nvdimm", source=source.format(1)))):
            session.step(name, domain.attachDevice, xml)
            then(name)
        go("refused", firmware.refuse, 1, domain.detachDevice, module())
        events.wait("stays", "dimm1")
        then("refused")
        go("let go", firmware.eject, 1, domain.detachDevice, module())
        events.wait("removed", "dimm1")
        then("let go")
        session.step("asked", domain.detachDeviceAlias, "dimm2", LIVE)
        firmware.refuse(2)
        events.wait("stays", "dimm2")
        then("asked")
        go("asked again", firmware.eject, 2, domain.detachDeviceAlias, "dimm2", LIVE)
        events.wait("removed", "dimm2")
        then("let go later")
        session.step("NVDIMM, which QEMU never lets go", domain.detachDeviceAlias, "nvdimm3", LIVE)
        then("NVDIMM")
        session.step("again", domain.attachDeviceFlags, module(), LIVE | CONFIG)
        then("again")
        go("from both", firmware.eject, 1, domain.detachDeviceFlags, module(), LIVE | CONFIG)
        events.wait("removed", "dimm1", times=2)
        then("from both")
        session.step("stored", lambda: modules_of(domain, libvirt.VIR_DOMAIN_XML_INACTIVE)[0])
        session.step("events", lambda: [event for event in events.seen if event[0] != "added"])
    finally:
        events.stop()
        domain.destroy()
        domain.undefine()


def test_memory_modules_go_or_stay_as_with_libvirtd(compare, folder):
    path = os.path.join(folder, "modules")
    os.mkdir(path)
    os.chmod(path, 0o777)
    results = dict(compare(modules_go, path))
    assert results["refused"] == "error 9" and results["let go"] == 0 and results["NVDIMM"] == 0
    assert ("removed", "dimm2") in results["events"] and ("stays", "dimm2") in results["events"]
