"""Dirty bitmaps by QMP: each script runs on lodge-vmm and on QEMU; what they answer, what the bitmaps hold and
what an incremental backup copies must agree.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import json
import subprocess

import pytest
from block_machine import JOB, Machine, tool

NODE = "libvirt-1-format"


def bitmaps(m):
    """What query-named-block-nodes and query-block say, for people to read."""
    rows = [row for row in m.qmp.command("query-named-block-nodes") if row["node-name"] == NODE]
    lists = [rows[0].get("dirty-bitmaps", []), m.disk().get("dirty-bitmaps", [])]
    lists = [sorted(({k: v for k, v in one.items() if k != "status"} for one in found), key=lambda x: x["name"])
             for found in lists]
    assert lists[0] == lists[1]
    m.trace.append(("bitmaps", lists[0]))
    return {one["name"]: one for one in lists[0]}


def change(m, what, name, **more):
    return m.say(f"block-dirty-bitmap-{what}", {"node": NODE, "name": name} | more)


def all_commands(m):
    change(m, "add", "plain")
    change(m, "add", "stored", persistent=True, granularity=4096)
    change(m, "add", "off", persistent=True, disabled=True)
    change(m, "add", "stored")
    change(m, "add", "odd", granularity=5000)
    change(m, "add", "")
    change(m, "clear", "none")
    change(m, "disable", "stored")
    change(m, "enable", "off")
    m.say("block-dirty-bitmap-merge", {"node": NODE, "target": "plain", "bitmaps": ["stored", "off"]})
    m.say("block-dirty-bitmap-merge", {"node": NODE, "target": "plain", "bitmaps": ["stored", "none"]})
    m.say("block-dirty-bitmap-merge",
          {"node": NODE, "target": "plain", "bitmaps": [{"node": NODE, "name": "off"}]})
    m.say("block-dirty-bitmap-clear", {"node": "nowhere", "name": "plain"})
    bitmaps(m)
    change(m, "remove", "plain")
    change(m, "remove", "plain")
    bitmaps(m)


def transactions(m):
    def data(kind, name, **more):
        return {"type": f"block-dirty-bitmap-{kind}", "data": {"node": NODE, "name": name} | more}

    change(m, "add", "old")
    m.say("transaction", {"actions": [data("add", "new"), data("disable", "old"), data("clear", "old"),
                                      {"type": "abort", "data": {}}]})
    assert list(bitmaps(m)) == ["old"]
    m.say("transaction", {"actions": [data("add", "new", persistent=True), data("disable", "old"),
                                      {"type": "block-dirty-bitmap-merge",
                                       "data": {"node": NODE, "target": "new", "bitmaps": ["old"]}}]})
    bitmaps(m)
    m.say("transaction", {"actions": [data("remove", "old"), {"type": "abort", "data": {}}]})
    bitmaps(m)
    m.say("transaction", {"actions": [data("remove", "old"), data("add", "newer")]})
    bitmaps(m)


def backup(m):
    """The bitmap that qemu-img made is loaded; what it says is copied and forgotten."""
    assert bitmaps(m)["kept"]["count"] > 0
    open(m.path("copy.qcow2"), "w").close()
    m.add_storage(2, "copy.qcow2")
    m.create(2)
    m.add_format(2)
    m.say("blockdev-backup", JOB | {"device": NODE, "target": "libvirt-2-format", "sync": "incremental",
                                    "bitmap": "kept"})
    m.wait_job("concluded")
    m.say("job-dismiss", id="job")
    m.wait_job("null")
    assert bitmaps(m)["kept"]["count"] == 0
    m.remove(2)


class WithBitmap(Machine):
    def write(self, name, offset, length, pattern, backing=None):
        super().write(name, offset, length, pattern, backing)
        tool("qemu-img", "bitmap", "--add", self.path(name), "kept")
        tool("qemu-io", "-f", "qcow2", "-c", "write -P 9 1M 192k", self.path(name))


@pytest.fixture
def start(build, tmp_path):
    machines = []

    def run(engine, kind):
        folder = tmp_path / engine
        folder.mkdir()
        machines.append(kind(engine, build, folder))
        return machines[-1]
    yield run
    for one in machines:
        one.vm.kill()


@pytest.mark.parametrize("script,kind", [(all_commands, Machine), (transactions, Machine), (backup, WithBitmap)],
                         ids=lambda x: x.__name__)
def test_bitmaps_are_as_qemus(script, kind, start):
    traces, stored = [], []
    for engine in ("lodge", "qemu"):
        m = start(engine, kind)
        script(m)
        m.end()
        traces.append(m.trace)
        info = json.loads(tool("qemu-img", "info", "--output", "json", m.path("base.qcow2")))
        stored.append(sorted(info["format-specific"]["data"].get("bitmaps", []), key=lambda one: one["name"]))
        tool("qemu-img", "check", m.path("base.qcow2"))
        if kind is WithBitmap:
            stored[-1] = (stored[-1], subprocess.run(["qemu-io", "-r", "-f", "qcow2", "-c", "read -P 9 1M 192k",
                                                      "-c", "read -P 0 2M 2M", m.path("copy.qcow2")], check=True,
                                                     capture_output=True, text=True).stdout.count("failed"))
    assert traces[0] == traces[1]
    assert stored[0] == stored[1]
