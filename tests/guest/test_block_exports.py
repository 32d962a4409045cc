"""Nodes of a running machine as NBD exports: QMP's nbd-server-... and block-export-... on lodge-vmm and on QEMU; replies,
events and what clients read must agree.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import json
import subprocess

import pytest
from block_machine import JOB, SIZE, tool
from patience import PATIENCE

MIB = 1 << 20


def address(m, name="nbd"):
    return {"addr": {"type": "unix", "data": {"path": m.path(name)}}}


def url(m, name):
    return f"nbd+unix:///{name}?socket={m.path('nbd')}"


def info(m, name):
    return json.loads(tool("nbdinfo", "--no-content", "--json", url(m, name)))["exports"][0]


def extents(m, name, context):
    """What a client is told of a metadata context."""
    rows = json.loads(tool("nbdinfo", "--json", f"--map={context}", url(m, name)))
    return [(row["offset"], row["length"], row["type"]) for row in rows]


def io(m, name, *commands, code=0):
    words = [word for command in commands for word in ("-c", command)]
    mode = ["-r"] if all(command.startswith("read") for command in commands) else []
    done = subprocess.run(["qemu-io", "-f", "raw", *mode, *words, url(m, name)], capture_output=True, text=True, timeout=60 * PATIENCE,
                          check=False)
    said = done.stdout + done.stderr
    assert ("failed" in said or "denied" in said) == bool(code), (commands, said)


def live_disk(m):
    """The disk of a machine, read-only, while a device has it."""
    m.say("query-block-exports")
    m.say("nbd-server-stop")
    m.say("nbd-server-start", address(m))
    m.say("nbd-server-start", address(m, "other"))
    m.say("block-export-add", {"type": "nbd", "id": "e1", "node-name": "libvirt-1-format", "name": "disk",
                               "description": "the disk", "allocation-depth": True})
    m.trace.append(m.say("query-block-exports"))
    facts = info(m, "disk")
    m.trace.append({key: facts[key] for key in ("export-size", "description", "is_read_only", "can_multi_conn", "contexts")})
    m.trace.append(extents(m, "disk", "base:allocation"))
    tool("nbdcopy", url(m, "disk"), m.path("copy.raw"))
    tool("qemu-img", "convert", "-f", "raw", "-O", "raw", url(m, "disk"), m.path("copy2.raw"))
    io(m, "disk", "read -P 1 0 1M", "read -P 0 4M 1M")
    io(m, "disk", "write -P 1 0 1M", code=1)
    m.say("block-export-del", id="e1")
    m.wait_export("e1")
    m.say("query-block-exports")
    m.say("nbd-server-stop")
    return ["copy.raw", "copy2.raw"]


def refusals(m):
    m.say("block-export-add", {"type": "nbd", "id": "e1", "node-name": "libvirt-1-format"})
    m.say("nbd-server-add", device="libvirt-1-format")
    m.say("nbd-server-start", {"addr": {"type": "inet", "data": {"host": "127.0.0.1"}}})
    m.say("nbd-server-start", {"addr": {"type": "bogus", "data": {}}})
    m.say("nbd-server-start", address(m) | {"tls-creds": "none"})
    m.say("nbd-server-start", address(m) | {"max-connections": 2})
    good = {"type": "nbd", "id": "e1", "node-name": "libvirt-1-format", "name": "disk"}
    m.say("block-export-add", good | {"node-name": "missing"})
    m.say("block-export-add", good | {"type": "none"})
    m.say("block-export-add", good | {"id": "0x"})
    m.say("block-export-add", good | {"bitmaps": ["missing"]})
    m.say("block-export-add", good | {"name": "x" * 5000})
    m.say("block-export-add", good | {"writable": True})  # a device writes to it and does not share that
    m.say("block-export-add", good | {"other": True})
    m.say("block-export-add", good)
    m.say("block-export-add", good)
    m.say("block-export-add", good | {"id": "e2"})
    m.say("block-export-del", id="missing")
    m.say("nbd-server-remove", {"name": "missing"})
    m.say("blockdev-del", node_name="libvirt-1-format")
    m.say("nbd-server-stop")
    m.wait_export("e1")
    m.write("ro.qcow2", 0, 1, 1)
    m.add_storage(2, "ro.qcow2")
    m.say("blockdev-add", {"driver": "qcow2", "node-name": "ro", "file": "libvirt-2-storage", "read-only": True})
    m.say("nbd-server-start", address(m))
    m.say("block-export-add", {"type": "nbd", "id": "e3", "node-name": "ro", "writable": True})
    m.say("nbd-server-add", device="ro", writable=True)
    m.say("blockdev-del", node_name="ro")
    m.say("nbd-server-remove", {"name": "ro", "mode": "hard"})
    m.wait_export("ro")
    m.say("blockdev-del", node_name="ro")
    return []


def written_disk(m):
    """A node that clients write to; a client that stays keeps it from going."""
    m.write("w.qcow2", 0, 1, 9)
    m.add_storage(2, "w.qcow2")
    m.add_format(2)
    m.say("nbd-server-start", address(m))
    m.say("block-export-add", {"type": "nbd", "id": "w", "node-name": "libvirt-2-format", "name": "w", "writable": True})
    assert not info(m, "w")["is_read_only"]
    io(m, "w", "write -P 3 1M 2M", "write -z 512k 64k", "discard 3M 1M", "flush", "read -P 3 1M 2M", "read -P 0 512k 64k")
    # What grows below the export is what its clients write to.
    m.snapshot(3, "over.qcow2", "w.qcow2", "libvirt-2-format")
    m.trace.append(m.say("query-block-exports"))
    io(m, "w", "write -P 4 2M 64k", "read -P 3 1M 1M", "read -P 4 2M 64k")
    with subprocess.Popen(["qemu-io", "-f", "raw", url(m, "w")], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
        client.stdin.write(b"read -P 4 2M 64k\n")
        client.stdin.flush()
        client.stdout.readline()
        m.say("block-export-del", id="w", mode="safe")
        m.say("block-export-del", id="w", mode="hard")
        m.wait_export("w")
        client.stdin.close()
    m.say("blockdev-del", node_name="libvirt-3-format")
    m.say("nbd-server-stop")
    return ["w.qcow2", "over.qcow2"]


def pull_backup(m):
    """What a backup program does by libvirt: it pulls the state of one moment, and what changed since a checkpoint."""
    m.write("src.qcow2", 0, 8, 5)
    m.add_storage(2, "src.qcow2")
    m.add_format(2)
    m.say("nbd-server-start", address(m))
    m.say("block-export-add", {"type": "nbd", "id": "guest", "node-name": "libvirt-2-format", "name": "guest", "writable": True})
    m.say("block-dirty-bitmap-add", {"node": "libvirt-2-format", "name": "check", "granularity": 65536})
    io(m, "guest", "write -P 6 1M 64k", "write -P 6 5M 100k")
    open(m.path("scratch.qcow2"), "w").close()
    m.add_storage(3, "scratch.qcow2")
    m.create(3, "src.qcow2")
    m.add_format(3, "libvirt-2-format")
    m.say("transaction", {"actions": [
        {"type": "block-dirty-bitmap-add", "data": {"node": "libvirt-2-format", "name": "backup", "granularity": 65536,
                                                    "disabled": True}},
        {"type": "block-dirty-bitmap-merge", "data": {"node": "libvirt-2-format", "target": "backup", "bitmaps": ["check"]}},
        {"type": "block-dirty-bitmap-add", "data": {"node": "libvirt-2-format", "name": "next"}},
        {"type": "block-dirty-bitmap-disable", "data": {"node": "libvirt-2-format", "name": "check"}},
        {"type": "blockdev-backup", "data": JOB | {"device": "libvirt-2-format", "target": "libvirt-3-format", "sync": "none",
                                                   "auto-dismiss": True}}]})
    m.wait_job("running")
    m.say("block-export-add", {"type": "nbd", "id": "pull", "node-name": "libvirt-3-format", "name": "pull",
                               "bitmaps": ["backup"]})
    m.say("block-dirty-bitmap-remove", {"node": "libvirt-2-format", "name": "backup"})
    io(m, "guest", "write -P 7 0 3M", "write -P 7 5M 3M", "discard 4M 64k", "write -z 3M 64k", "read -P 7 0 3M")
    m.trace.append(info(m, "pull")["contexts"])
    m.trace.append(extents(m, "pull", "qemu:dirty-bitmap:backup"))
    io(m, "pull", "read -P 5 0 1M", "read -P 6 1M 64k", "read -P 5 1088k 3008k", "read -P 5 4M 1M", "read -P 6 5M 100k",
       "read -P 5 6M 2M")
    tool("qemu-img", "convert", "-f", "raw", "-O", "raw", url(m, "pull"), m.path("pulled.raw"))
    m.say("block-export-del", id="pull", mode="hard")
    m.wait_export("pull")
    m.say("job-cancel", id="job")
    m.wait_job("null")
    m.say("block-dirty-bitmap-remove", {"node": "libvirt-2-format", "name": "backup"})
    m.say("nbd-server-stop")
    m.remove(3)
    return ["pulled.raw", "src.qcow2"]


@pytest.mark.parametrize("script", [live_disk, refusals, written_disk, pull_backup], ids=lambda script: script.__name__)
def test_exports_are_qemus(machine, script):
    traces = []
    for engine in ("qemu", "lodge"):
        m = machine(engine)
        images = script(m)
        m.end()
        traces.append(m)
    qemu, lodge = traces
    assert lodge.trace == qemu.trace
    for name in images:
        if name.endswith("qcow2"):
            tool("qemu-img", "check", "-q", lodge.path(name))
        tool("qemu-img", "compare", "-q", qemu.path(name), lodge.path(name))


def test_a_pulled_copy_has_no_later_write(machine):
    """A client reads while another writes without pause: what it gets is the moment of the job's start."""
    m = machine("lodge")
    m.write("src.qcow2", 0, 8, 5)
    m.add_storage(2, "src.qcow2")
    m.add_format(2)
    open(m.path("scratch.qcow2"), "w").close()
    m.add_storage(3, "scratch.qcow2")
    m.create(3, "src.qcow2")
    m.add_format(3, "libvirt-2-format")
    m.say("nbd-server-start", address(m))
    m.say("block-export-add", {"type": "nbd", "id": "g", "node-name": "libvirt-2-format", "name": "g", "writable": True})
    m.say("blockdev-backup", JOB | {"device": "libvirt-2-format", "target": "libvirt-3-format", "sync": "none"})
    m.say("block-export-add", {"type": "nbd", "id": "p", "node-name": "libvirt-3-format", "name": "p"})
    commands = "".join(f"aio_write -P 6 {(at * 37 % 128) * 65536} 64k\n" for at in range(128)) + "flush\n"
    with subprocess.Popen(["qemu-io", "-f", "raw", url(m, "g")], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as writer:
        writer.stdin.write(commands.encode())
        writer.stdin.flush()
        for _ in range(6):
            tool("nbdcopy", "--request-size=65536", url(m, "p"), m.path("out.raw"))
            with open(m.path("out.raw"), "rb") as out:
                assert out.read() == b"\5" * SIZE
        writer.stdin.close()
    io(m, "g", "read -P 6 0 8M")
    m.say("nbd-server-stop")
    m.say("job-cancel", id="job")
    m.wait_job("concluded")
    assert not [entry for entry in m.trace if entry[1] == "GenericError"]
    m.end()
