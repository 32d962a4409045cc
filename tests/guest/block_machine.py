"""A machine that never runs, with one disk, for tests of QMP's block commands on lodge-vmm and on QEMU.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import json
import os

from guest import Guest, Qmp, monitor_command, qemu_command
from images import image
from patience import PATIENCE
from peer import run_tool

MIB = 1 << 20
SIZE = 8 * MIB
JOB = {"job-id": "job", "auto-finalize": True, "auto-dismiss": False}


def tool(*words):
    done = run_tool(words)
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout.decode()


def shape(value):
    """The keys of a reply, nothing that differs from run to run."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in sorted(value.items())}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return type(value).__name__


class Machine:
    """A machine that never runs, with one disk in a folder of its own; notes what QMP answers."""

    def __init__(self, engine, build, folder, *more):
        self.folder = str(folder)
        self.trace = []
        self.is_paused = False
        self.write("base.qcow2", 0, 4, 1)
        storage = {"driver": "file", "filename": self.path("base.qcow2"), "node-name": "libvirt-1-storage",
                   "auto-read-only": True, "discard": "unmap"}
        form = {"node-name": "libvirt-1-format", "read-only": False, "discard": "unmap", "driver": "qcow2",
                "file": "libvirt-1-storage", "backing": None}
        self.engine = engine
        options = ["-m", "128", "-S", "-qmp", f"unix:{self.path('qmp')},server=on,wait=off",
                   "-blockdev", json.dumps(storage), "-blockdev", json.dumps(form),
                   "-device", "virtio-blk-pci,drive=libvirt-1-format,id=virtio-disk0", *more]
        command = (monitor_command(build, "-accel", "xlate", "-kernel", image(build, "fetch-kernel"), *options)
                   if engine == "lodge" else qemu_command(*options))
        self.vm = Guest(command)
        try:
            self.qmp = Qmp(self.path("qmp"))
        except OSError as problem:
            self.vm.process.wait(10 * PATIENCE)
            raise AssertionError(self.vm.errors()) from problem

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, offset, length, pattern, backing=None):
        """An image with @length MiB of a byte at @offset MiB."""
        tool("qemu-img", "create", "-q", "-f", "qcow2", self.path(name), str(SIZE))
        tool("qemu-io", "-f", "qcow2", "-c", f"write -P {pattern} {offset}M {length}M", self.path(name))
        if backing:  # it is in use: only its name is written down
            tool("qemu-img", "rebase", "-q", "-u", "-b", self.path(backing), "-F", "qcow2", self.path(name))

    def say(self, name, members=None, **arguments):
        reply = self.qmp.raw(name, members, **arguments)
        if "error" in reply:
            self.trace.append((name, reply["error"]["class"]))
        else:
            self.trace.append((name, shape(reply["return"])))
        return reply.get("return", reply.get("error"))

    def wait_job(self, status, job="job"):
        """The events of a job up to a status; they go to the trace."""
        while True:
            for index, event in enumerate(self.qmp.events):
                if (event["event"] == "JOB_STATUS_CHANGE" and event["data"]["id"] == job and
                        event["data"]["status"] == status):
                    self.take_events(index + 1)
                    return
            reply = self.qmp._receive()
            self.qmp.events.append(reply)

    def wait_export(self, name):
        """Until an export is gone."""
        event = self.qmp.wait_event("BLOCK_EXPORT_DELETED")
        self.trace.append((event["event"], event["data"]))
        assert event["data"] == {"id": name}

    def take_events(self, count):
        """QEMU pauses jobs for a moment when the graph changes: that is its own matter."""
        for event in self.qmp.events[:count]:
            data = event.get("data", {})
            detail = data.get("status") or sorted(data)
            if detail == "paused":
                self.is_paused = True
            elif detail == "running" and self.is_paused:
                self.is_paused = False
            else:
                self.trace.append((event["event"], detail))
        del self.qmp.events[:count]

    def add_storage(self, number, name):
        self.say("blockdev-add", {"driver": "file", "filename": self.path(name),
                                  "node-name": f"libvirt-{number}-storage", "auto-read-only": True,
                                  "discard": "unmap"})

    def add_format(self, number, backing=None):
        self.say("blockdev-add", {"node-name": f"libvirt-{number}-format", "read-only": False, "driver": "qcow2",
                                  "file": f"libvirt-{number}-storage", "backing": backing})

    def create(self, number, backing=None):
        """Formats a storage node as libvirt does."""
        options = {"driver": "qcow2", "file": f"libvirt-{number}-storage", "size": SIZE}
        if backing:
            options |= {"backing-file": self.path(backing), "backing-fmt": "qcow2"}
        self.say("blockdev-create", {"job-id": "create", "options": options})
        self.wait_job("concluded", "create")
        self.say("query-jobs")
        self.say("job-dismiss", id="create")

    def snapshot(self, number, name, backing, active):
        open(self.path(name), "w").close()
        self.add_storage(number, name)
        self.create(number, backing)
        self.add_format(number)
        self.say("transaction", {"actions": [{"type": "blockdev-snapshot", "data": {
            "node": active, "overlay": f"libvirt-{number}-format"}}]})

    def remove(self, number):
        self.say("blockdev-del", node_name=f"libvirt-{number}-format")
        self.say("blockdev-del", node_name=f"libvirt-{number}-storage")

    def disk(self):
        row = [disk for disk in self.qmp.command("query-block")
               if disk.get("qdev", "").startswith(("virtio-disk0", "/machine/peripheral/virtio-disk0"))][0]
        return row["inserted"]

    def end(self):
        self.qmp.command("quit")
        self.vm.wait()
