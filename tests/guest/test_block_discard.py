"""What becomes of zeroes and discarded ranges, by the options of -drive: the same bytes are allocated as with QEMU.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import itertools
import json
import os

import pytest
from block_machine import tool
from guest import Guest, Qmp, monitor_command, qemu_command
from images import image

DISCARDS = (None, "ignore", "unmap")
ZEROES = (None, "on", "unmap")
# Clusters of data everywhere; then, a megabyte each: zeroes written, discarded, write-zeroes without and with unmapping.
COMMANDS = ("write -P 0 0 1M", "discard 1M 1M", "write -z 2M 1M", "write -z -u 3M 1M", "write -P 9 4M 64k", "flush")


class Drives:
    """A machine with a drive for each combination, offered by NBD."""

    def __init__(self, engine, build, folder, rows):
        self.folder = str(folder)
        options = ["-m", "128", "-S", "-qmp", f"unix:{self.path('qmp')},server=on,wait=off"]
        for name, more in rows:
            options += ["-drive", f"id={name},if=none,file={self.path(name)}{more}"]
        command = (monitor_command(build, "-accel", "xlate", "-kernel", image(build, "fetch-kernel"), *options)
                   if engine == "lodge" else qemu_command(*options))
        self.vm = Guest(command)
        try:
            self.offer(rows)
        except Exception:
            self.vm.kill()
            raise

    def offer(self, rows):
        self.qmp = Qmp(self.path("qmp"))
        self.qmp.command("nbd-server-start", {"addr": {"type": "unix", "data": {"path": self.path("nbd")}}})
        for name, _ in rows:
            self.qmp.command("nbd-server-add", {"device": name, "writable": True})

    def path(self, name):
        return os.path.join(self.folder, name)

    def io(self, name, commands):
        words = [word for command in commands for word in ("-c", command)]
        return tool("qemu-io", "-f", "raw", "-d", "unmap", f"nbd+unix:///{name}?socket={self.path('nbd')}", *words)

    def end(self):
        self.qmp.command("quit")
        self.vm.wait()


def spread(path, form):
    """Where there are data, zeroes, nothing; not where in the file."""
    kinds = []
    for row in json.loads(tool("qemu-img", "map", "--output=json", "-f", form, path)):
        kind = [row[key] for key in ("depth", "zero", "data")]
        if kinds and kinds[-1][1:] == kind:
            continue
        kinds.append([row["start"], *kind])
    return kinds


def run(engine, build, folder, rows, prepare, commands):
    folder.mkdir()
    for name, _ in rows:
        prepare(str(folder / name), name)
    machine = Drives(engine, build, folder, rows)
    try:
        said = [machine.qmp.command("query-block"), machine.qmp.command("query-named-block-nodes", flat=True)]
        for name, _ in rows:
            machine.io(name, commands)
        machine.end()
    finally:
        machine.vm.kill()
    kept = {disk["device"]: (disk["inserted"]["detect_zeroes"], disk["inserted"]["cache"]) for disk in said[0]}
    return kept, {name: spread(str(folder / name), name.split("-")[0]) for name, _ in rows}


def test_zeroes_and_discards_leave_what_qemu_leaves(build, tmp_path):
    rows = []
    for form, discard, zeroes in itertools.product(("raw", "qcow2"), DISCARDS, ZEROES):
        more = f",format={form}" + (f",discard={discard}" if discard else "") + (
            f",detect-zeroes={zeroes}" if zeroes else "")
        rows.append((f"{form}-{discard}-{zeroes}", more))

    def prepare(path, name):
        tool("qemu-img", "create", "-q", "-f", name.split("-")[0], path, "5M")
        tool("qemu-io", "-f", name.split("-")[0], "-c", "write -P 1 0 5M", path)
    theirs = run("qemu", build, tmp_path / "qemu", rows, prepare, COMMANDS)
    ours = run("lodge", build, tmp_path / "lodge", rows, prepare, COMMANDS)
    assert ours[0] == theirs[0]
    for name, _ in rows:
        assert ours[1][name] == theirs[1][name], name
        tool("qemu-img", "compare", "-q", str(tmp_path / "qemu" / name), str(tmp_path / "lodge" / name))


@pytest.mark.parametrize("copies", ["on", "off"])
def test_what_is_read_is_copied_as_by_qemu(build, tmp_path, copies):
    rows = [("qcow2-over", f",format=qcow2,copy-on-read={copies}")]

    def prepare(path, name):
        tool("qemu-img", "create", "-q", "-f", "qcow2", f"{path}.base", "8M")
        tool("qemu-io", "-f", "qcow2", "-c", "write -P 5 1M 3M", f"{path}.base")
        tool("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", f"{path}.base", path)
    reads = ("read -P 5 1M 64k", "read -P 5 2000000 70000", "read -P 0 6M 64k", "write -P 8 3M 512", "read -P 5 3146240 512")
    theirs = run("qemu", build, tmp_path / "qemu", rows, prepare, reads)
    ours = run("lodge", build, tmp_path / "lodge", rows, prepare, reads)
    assert ours == theirs
    tool("qemu-img", "compare", "-q", str(tmp_path / "qemu" / "qcow2-over"), str(tmp_path / "lodge" / "qcow2-over"))
