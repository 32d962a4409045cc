"""Which bytes of its images a machine locks, on lodge-vmm as on QEMU, and who is refused for it.

Byte 100 is held by who reads, 101 by who writes, 102 by who copies data up into an image, 103 by who changes the size;
201 by who lets nobody else write, 203 by who lets nobody else change the size. Takes about 30 s.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import subprocess

import pytest
from block_machine import MIB, SIZE, tool
from guest import Guest, Qmp, monitor_command, qemu_command
from images import image
from patience import PATIENCE

DISK = {"driver": "virtio-blk-pci", "id": "d"}
USED = (100, 101, 201)


def locks(process, path):
    """The bytes that a process has locked of a file."""
    facts = os.stat(path)
    name = f"{os.major(facts.st_dev):02x}:{os.minor(facts.st_dev):02x}:{facts.st_ino}"
    found = set()
    for number in os.listdir(f"/proc/{process.pid}/fdinfo"):
        try:
            with open(f"/proc/{process.pid}/fdinfo/{number}") as file:
                rows = [line.split() for line in file if line.startswith("lock:")]
        except OSError:
            continue
        for row in rows:
            if row[6] == name:
                found |= set(range(int(row[7]), int(row[8]) + 1))
    return sorted(found)


class Walk:
    """Commands, and what is locked after each."""

    def __init__(self, machine):
        self.machine = machine
        self.noted = []
        self.names = []

    def make(self, name, form="raw", *more):
        tool("qemu-img", "create", "-q", "-f", form, *more, self.machine.path(name), str(SIZE))
        self.names.append(name)

    def note(self, what):
        self.noted.append((what, {name: locks(self.machine.vm.process, self.machine.path(name)) for name in self.names}))

    def say(self, name, /, **members):
        reply = self.machine.qmp.raw(name, members)
        self.note((name, members.get("node-name") or members.get("id"), "error" in reply))
        return reply

    def add_file(self, name, node, **more):
        return self.say("blockdev-add", **{"driver": "file", "filename": self.machine.path(name), "node-name": node} | more)

    def unplug(self, id):
        self.machine.qmp.raw("device_del", {"id": id})
        self.machine.qmp.raw("system_reset", {})
        self.machine.qmp.wait_event("DEVICE_DELETED")
        self.say("query-block")


def raw_nodes(w):
    w.make("a.raw")
    w.add_file("a.raw", "f")
    w.say("blockdev-add", driver="raw", file="f", **{"node-name": "r"})
    w.say("device_add", drive="r", bus="port1", **DISK)
    w.say("device_add", drive="r", bus="port2", **DISK | {"id": "second", "share-rw": True})


def raw_shared(w):
    w.make("a.raw")
    w.add_file("a.raw", "f")
    w.say("device_add", drive="f", bus="port1", **DISK | {"share-rw": True})
    w.say("nbd-server-start", addr={"type": "unix", "data": {"path": w.machine.path("nbd")}})
    w.say("block-export-add", type="nbd", id="e", writable=True, **{"node-name": "f"})
    w.say("block-export-del", id="e", mode="hard")
    w.machine.qmp.wait_event("BLOCK_EXPORT_DELETED")
    w.say("query-block")


def export_alone(w):
    w.make("a.raw")
    w.add_file("a.raw", "f")
    w.say("nbd-server-start", addr={"type": "unix", "data": {"path": w.machine.path("nbd")}})
    w.say("block-export-add", type="nbd", id="e", **{"node-name": "f"})
    w.say("block-export-del", id="e", mode="hard")
    w.machine.qmp.wait_event("BLOCK_EXPORT_DELETED")
    w.say("query-block")


def readers(w):
    w.make("a.raw")
    w.make("b.raw")
    w.add_file("a.raw", "f", **{"read-only": True})
    w.say("device_add", drive="f", bus="port1", **DISK)
    w.add_file("b.raw", "g", **{"read-only": True})
    w.say("device_add", drive="g", bus="port2", **DISK | {"id": "d2", "share-rw": True})
    w.say("blockdev-del", **{"node-name": "f"})


def formats(w):
    """A format has its file for itself from when it is opened to when it is closed."""
    w.make("base.raw")
    w.make("two.qcow2", "qcow2")
    w.add_file("two.qcow2", "f")
    w.add_file("base.raw", "b", **{"read-only": True})
    w.say("blockdev-add", driver="raw", file="b", **{"node-name": "br", "read-only": True})
    w.say("blockdev-add", driver="vmdk", file="f", **{"node-name": "q"})
    w.say("blockdev-add", driver="qcow2", file="f", backing="br", **{"node-name": "q"})
    w.say("device_add", drive="q", bus="port1", **DISK | {"share-rw": True})
    w.say("device_add", drive="q", bus="port2", **DISK | {"id": "d2"})
    w.say("blockdev-del", **{"node-name": "q"})


def format_comes_and_goes(w):
    w.make("base.raw")
    w.make("two.qcow2", "qcow2")
    w.add_file("two.qcow2", "f")
    w.say("blockdev-add", driver="raw", file=w_file(w, "base.raw"), **{"node-name": "br", "read-only": True})
    w.say("blockdev-add", driver="qcow2", file="f", backing="br", **{"node-name": "q"})
    w.say("blockdev-del", **{"node-name": "q"})
    w.say("blockdev-add", driver="qcow2", file="f", backing="br", **{"node-name": "q", "read-only": True})
    w.say("device_add", drive="q", bus="port1", **DISK)


def w_file(w, name):
    return {"driver": "file", "filename": w.machine.path(name)}


def snapshots(w):
    """An overlay above a raw disk: that one is only read from there on."""
    w.make("a.raw")
    w.make("top.qcow2", "qcow2")
    w.add_file("a.raw", "f", **{"auto-read-only": True})
    w.say("blockdev-add", driver="raw", file="f", **{"node-name": "r"})
    w.say("device_add", drive="r", bus="port1", **DISK)
    w.add_file("top.qcow2", "tf")
    w.say("blockdev-add", driver="qcow2", file="tf", backing=None, **{"node-name": "t"})
    w.say("blockdev-snapshot", node="r", overlay="t")


def mirrors(w):
    """The target is the job's, then the disk's; the source is free afterwards."""
    w.make("a.raw")
    w.make("b.raw")
    for node, name in (("f", "a.raw"), ("g", "b.raw")):
        w.add_file(name, node)
    w.say("device_add", drive="f", bus="port1", **DISK | {"share-rw": True})
    w.machine.qmp.raw("blockdev-mirror", {"job-id": "j", "device": "f", "target": "g", "sync": "full"})
    w.machine.qmp.wait_event("BLOCK_JOB_READY")
    w.note("ready")
    w.machine.qmp.raw("block-job-complete", {"device": "j"})
    w.machine.qmp.wait_event("BLOCK_JOB_COMPLETED")
    w.say("query-block")


def backups(w):
    w.make("a.raw")
    w.make("b.raw")
    for node, name in (("f", "a.raw"), ("g", "b.raw")):
        w.add_file(name, node)
    w.say("device_add", drive="f", bus="port1", **DISK | {"share-rw": True})
    w.say("blockdev-backup", device="f", target="g", sync="full", speed=1, **{"job-id": "j"})
    w.machine.qmp.raw("block-job-cancel", {"device": "j", "force": True})
    w.machine.qmp.wait_event("BLOCK_JOB_CANCELLED")
    w.say("query-block")


def resizes(w):
    w.make("a.raw")
    w.make("q.qcow2", "qcow2")
    w.add_file("a.raw", "f")
    w.say("device_add", drive="f", bus="port1", **DISK)
    w.say("block_resize", size=2 * SIZE, **{"node-name": "f"})
    w.say("blockdev-add", driver="qcow2", file=w_file(w, "q.qcow2"), **{"node-name": "q"})
    w.say("block_resize", size=2 * SIZE, **{"node-name": "q"})


def copies_up(w):
    """A chain that a filter keeps together is locked as its users need it."""
    w.make("base.raw")
    w.make("over.qcow2", "qcow2")
    w.add_file("base.raw", "b", **{"read-only": True})
    w.say("blockdev-add", driver="raw", file="b", **{"node-name": "br", "read-only": True})
    w.say("blockdev-add", driver="qcow2", file=w_file(w, "over.qcow2"), backing="br", **{"node-name": "o"})
    w.say("blockdev-add", driver="copy-on-read", file="o", bottom="br", **{"node-name": "c"})
    w.say("device_add", drive="c", bus="port1", **DISK)
    w.unplug("d")
    w.say("blockdev-del", **{"node-name": "c"})


def luks(w):
    """Its header is only read: the file is used as the disk is."""
    w.machine.qmp.command("object-add", {"qom-type": "secret", "id": "s", "data": "x"})
    w.make("a.luks", "luks", "--object", "secret,id=s,data=x", "-o", "key-secret=s,iter-time=10")
    w.add_file("a.luks", "f")
    w.say("blockdev-add", driver="luks", file="f", **{"key-secret": "s", "node-name": "l"})
    w.say("device_add", drive="l", bus="port1", **DISK | {"share-rw": True})
    w.say("device_add", drive="l", bus="port2", **DISK | {"id": "second"})
    w.say("block_resize", size=2 * SIZE, **{"node-name": "l"})
    w.unplug("d")
    w.say("blockdev-del", **{"node-name": "l"})
    w.say("blockdev-add", driver="luks", file="f", **{"key-secret": "s", "node-name": "l", "read-only": True})
    w.say("device_add", drive="l", bus="port1", **DISK)


WALKS = [luks, backups, copies_up, resizes, raw_nodes, raw_shared, export_alone, readers, formats, format_comes_and_goes, snapshots, mirrors]


@pytest.mark.parametrize("walk", WALKS, ids=lambda walk: walk.__name__)
def test_what_is_locked_follows_the_users(machine, walk):
    noted = []
    for engine in ("qemu", "lodge"):
        m = machine(engine, "-device", "pcie-root-port,id=port1,chassis=1", "-device", "pcie-root-port,id=port2,chassis=2")
        w = Walk(m)
        walk(w)
        noted.append(w.noted)
        m.end()
    assert noted[1] == noted[0]


# Drives of two processes on one image

DRIVES = {
    "alone": ("", ""), "shared": ("", ",share-rw=on"), "reads": (",read-only=on", ""), "reads shared": (",read-only=on", ",share-rw=on"),
    "drive only": ("", None)}


def command(engine, build, folder, form, kind, *last):
    of_drive, of_device = DRIVES[kind]
    options = ["-m", "128", "-S", "-drive", f"if=none,id=d,format={form},file={folder}/disk{of_drive}"]
    if of_device is not None:
        options += ["-device", f"virtio-blk-pci,drive=d{of_device}"]
    options += last
    return (monitor_command(build, "-accel", "xlate", "-kernel", image(build, "fetch-kernel"), *options) if engine == "lodge"
            else qemu_command(*options))


def outcomes(build, folder, form, kinds, first, second):
    """For each kind of drive of the first process, which kinds the second may have beside it."""
    found = {}
    for kind in kinds:
        qmp = str(folder / f"{first}-{second}-{form}-{len(found)}")
        with Guest(command(first, build, folder, form, kind, "-qmp", f"unix:{qmp},server=on,wait=off")) as vm:
            session = Qmp(qmp)
            for other in kinds:
                # It ends at once where it is let in: there is no such chardev.
                last = ("-device", "virtio-rng-pci,rng=nosuch")
                done = subprocess.run(command(second, build, folder, form, other, *last), stdin=subprocess.DEVNULL,
                                      capture_output=True, text=True, timeout=60 * PATIENCE)
                assert done.returncode == 1
                is_refused = "nosuch" not in done.stderr
                if is_refused and second == "lodge":
                    assert f"{folder}/disk' is in use by process {vm.process.pid}" in done.stderr and "share-rw=on" in done.stderr
                found[kind, other] = is_refused
            session.command("quit")
            vm.wait(30)
    return found


@pytest.mark.parametrize("form, kinds", [("raw", list(DRIVES)), ("qcow2", ["shared", "reads shared"])], ids=["raw", "qcow2"])
def test_two_processes_share_an_image_as_qemus_do(build, tmp_path, form, kinds):
    tool("qemu-img", "create", "-q", "-f", form, str(tmp_path / "disk"), str(MIB))
    expected = outcomes(build, tmp_path, form, kinds, "qemu", "qemu")
    assert any(expected.values()) and not all(expected.values())
    for first, second in (("lodge", "lodge"), ("lodge", "qemu"), ("qemu", "lodge")):
        assert outcomes(build, tmp_path, form, kinds, first, second) == expected, (first, second)


def test_a_device_that_comes_later_is_refused_and_the_node_stays_usable(machine, tmp_path):
    first, second = machine("lodge", "-device", "pcie-root-port,id=port1,chassis=1"), machine("lodge", "-device", "pcie-root-port,id=port1,chassis=1")
    disk = str(tmp_path / "disk")
    tool("qemu-img", "create", "-q", "-f", "raw", disk, str(MIB))
    for m in (first, second):
        m.qmp.command("blockdev-add", driver="file", filename=disk, **{"node-name": "f"})
    first.qmp.command("device_add", drive="f", bus="port1", **DISK)
    for more in ({}, {"share-rw": True}):
        error = second.qmp.raw("device_add", {"drive": "f", "bus": "port1"} | DISK | more)["error"]
        assert f"'{disk}' is in use by process {first.vm.process.pid}" in error["desc"]
    assert locks(second.vm.process, disk) == []
    first.end()
    second.qmp.command("device_add", drive="f", bus="port1", **DISK)
    assert locks(second.vm.process, disk) == list(USED)
    second.end()
