"""Nodes and devices that come and go, and options that nobody knows, on lodge-vmm and on QEMU.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import subprocess

import pytest
from block_machine import MIB, tool


def unknown_options(m):
    m.write("two.qcow2", 0, 1, 2)
    good = {"driver": "qcow2", "node-name": "n", "file": {"driver": "file", "filename": m.path("two.qcow2")}}
    for more in ({"colour": "red"}, {"size": 5}, {"key-secret": "s"}, {"cache": {"direct": False, "size": 3}}):
        m.say("blockdev-add", good | more)
    m.say("blockdev-add", good | {"file": good["file"] | {"lockin": "off"}})
    m.say("blockdev-add", good | {"file": good["file"] | {"backing": "x"}})
    m.say("blockdev-add", {"driver": "raw", "node-name": "n", "file": good["file"], "backing": None})
    m.say("blockdev-add", good | {"l2-cache-size": 65536, "discard": "unmap", "detect-zeroes": "on",
                                  "cache": {"direct": False, "no-flush": False}})
    m.say("blockdev-reopen", {"options": [good | {"colour": "red"}]})
    m.say("blockdev-del", node_name="n")
    return []


def drives(m):
    """Made and taken back by the old commands; names are looked for afterwards."""
    m.write("two.qcow2", 0, 1, 2)
    for number in range(20):
        line = f"drive_add 0 if=none,id=d{number},format=qcow2,file={m.path('two.qcow2')}"
        m.say("human-monitor-command", {"command-line": line})
        m.say("human-monitor-command", {"command-line": f"drive_del d{number}"})
        m.say("device_add", {"driver": "virtio-blk-pci", "id": "gone", "drive": f"d{number}", "bus": "port1"})
        m.say("query-block")
    m.say("human-monitor-command", {"command-line": line})
    m.say("device_add", {"driver": "virtio-blk-pci", "id": "there", "drive": f"d{number}", "bus": "port1"})
    return []


def shared_disk(m):
    """Two devices on one node: only if both share."""
    m.write("two.qcow2", 0, 1, 2)
    m.add_storage(2, "two.qcow2")
    m.add_format(2)
    device = {"driver": "virtio-blk-pci", "drive": "libvirt-2-format"}
    m.say("device_add", device | {"id": "d1", "bus": "port1", "share-rw": True})
    m.say("device_add", device | {"id": "d2", "bus": "port2"})
    m.say("device_add", device | {"id": "d2", "bus": "port2", "share-rw": True})
    m.say("blockdev-del", node_name="libvirt-2-format")
    m.say("nbd-server-start", {"addr": {"type": "unix", "data": {"path": m.path("nbd")}}})
    m.say("block-export-add", {"type": "nbd", "id": "e", "node-name": "libvirt-2-format", "writable": True})
    m.say("block-export-add", {"type": "nbd", "id": "e2", "node-name": "libvirt-1-format", "writable": True})
    m.say("nbd-server-stop")
    m.wait_export("e")
    return []


def host_devices(m):
    """A disk of the host's, named by its own driver, that grows while a guest has it: lvextend, then block_resize."""
    path = m.path("below")
    with open(path, "wb") as file:
        file.truncate(8 * MIB)
    done = subprocess.run(["losetup", "--find", "--show", path], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no loop device: {done.stderr}")
    device = done.stdout.strip()
    m.say("blockdev-add", {"driver": "host_device", "node-name": "f", "filename": m.path("base.qcow2")})
    m.say("blockdev-add", {"driver": "host_device", "node-name": "f", "filename": device, "discard": "unmap",
                           "aio": "threads", "cache": {"direct": True, "no-flush": False}})
    m.say("blockdev-add", {"driver": "raw", "node-name": "r", "file": "f"})
    m.say("device_add", {"driver": "virtio-blk-pci", "id": "d", "drive": "r", "bus": "port1"})
    for capacity, size in ((8, 16), (8, 4), (16, 32), (16, 16)):
        os.truncate(path, capacity * MIB)
        subprocess.run(["losetup", "--set-capacity", device], check=True)
        m.say("block_resize", node_name="r", size=size * MIB)
        m.trace += [block["inserted"]["image"]["virtual-size"] for block in m.qmp.command("query-block")
                    if block["inserted"]["node-name"] == "r"]
    subprocess.run(["losetup", "--detach", device], check=True)
    return []


@pytest.mark.parametrize("script", [unknown_options, shared_disk, drives, host_devices], ids=lambda script: script.__name__)
def test_nodes_are_qemus(machine, script, monkeypatch):
    monkeypatch.setenv("MALLOC_PERTURB_", "165")  # nothing reads unnoticed what was freed
    machines = []
    for engine in ("qemu", "lodge"):
        m = machine(engine, "-device", "pcie-root-port,id=port1,chassis=1", "-device", "pcie-root-port,id=port2,chassis=2")
        images = script(m)
        m.end()
        machines.append(m)
    qemu, lodge = machines
    assert lodge.trace == qemu.trace
    for name in images:
        tool("qemu-img", "compare", "-q", qemu.path(name), lodge.path(name))


def test_a_node_in_use_stays_and_its_user_is_named(machine):
    m = machine("lodge")
    assert "by block device" in m.say("blockdev-del", node_name="libvirt-1-format")["desc"]
    assert "by node 'libvirt-1-format' as its 'file'" in m.say("blockdev-del", node_name="libvirt-1-storage")["desc"]
    m.say("nbd-server-start", {"addr": {"type": "unix", "data": {"path": m.path("nbd")}}})
    m.write("two.qcow2", 0, 1, 2)
    m.add_storage(2, "two.qcow2")
    m.add_format(2)
    m.say("block-export-add", {"type": "nbd", "id": "e", "node-name": "libvirt-2-format"})
    assert "by the export 'e'" in m.say("blockdev-del", node_name="libvirt-2-format")["desc"]
