"""Backups of several disks that succeed together or not at all (completion-mode=grouped), on lodge-vmm and on QEMU.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import pytest
from block_machine import tool


def prepare(m):
    for number, name in ((2, "a"), (3, "b"), (4, "ta"), (5, "tb")):
        m.write(f"{name}.qcow2", 0, 8 if number < 4 else 1, number)
        m.qmp.command("blockdev-add", {"driver": "qcow2", "node-name": name,
                                       "file": {"driver": "file", "filename": m.path(f"{name}.qcow2")}})
        if number < 4:
            m.qmp.command("block-dirty-bitmap-add", {"node": name, "name": "bits"})


def start(m, more=None, first=None, mode="grouped"):
    actions = [{"type": "blockdev-backup", "data": {"job-id": f"job-{name}", "device": name, "target": f"t{name}", "sync": "full",
                                                    "auto-dismiss": False} | (more or {}) | (first or {} if name == "a" else {})}
               for name in "ab"]
    return m.say("transaction", {"actions": actions, "properties": {"completion-mode": mode}})


def until(m, statuses):
    """The statuses of each job until both have one of @statuses, without short pauses of QEMU's own."""
    seen = {"job-a": [], "job-b": []}
    while not all(steps and steps[-1] in statuses for steps in seen.values()):
        event = m.qmp.wait_event("JOB_STATUS_CHANGE")["data"]
        steps = seen[event["id"]]
        if event["status"] != "paused" and (not steps or steps[-1] != event["status"]):
            steps.append(event["status"])
    return seen


def dirty(m):
    nodes = m.qmp.command("query-named-block-nodes")
    return {node["node-name"]: [bitmap["count"] for bitmap in node["dirty-bitmaps"]] for node in nodes if node.get("dirty-bitmaps")}


def both_end_together(m):
    start(m)
    m.trace.append(until(m, ["concluded"]))
    return ["ta.qcow2", "tb.qcow2"]


def one_is_cancelled(m):
    slow = {"speed": 65536}
    start(m, first=slow)
    while not any(job["id"] == "job-b" and job["status"] == "waiting" for job in m.qmp.command("query-jobs")):
        pass
    m.say("job-cancel", id="job-a")
    m.trace.append(until(m, ["concluded"]))
    m.trace.append(sorted((job["id"], job["status"], "error" in job) for job in m.qmp.command("query-jobs")))
    return []


def finalized_by_hand(m):
    start(m, {"auto-finalize": False})
    m.trace.append(until(m, ["pending"]))
    m.say("job-finalize", id="job-b")
    m.trace.append(until(m, ["concluded"]))
    return ["ta.qcow2", "tb.qcow2"]


def cancelled_when_pending(m):
    start(m, {"auto-finalize": False})
    until(m, ["pending"])
    m.say("job-cancel", id="job-b")
    m.trace.append(until(m, ["concluded"]))
    return []


def bitmaps_come_back(m):
    """A backup that was done takes its bitmap's content back when the other fails."""
    for name in "ab":
        m.say("block-dirty-bitmap-add", {"node": name, "name": "inc"})
    m.say("nbd-server-start", {"addr": {"type": "unix", "data": {"path": m.path("nbd")}}})
    for name in "ab":
        m.say("block-export-add", {"type": "nbd", "id": name, "node-name": name, "writable": True})
        tool("qemu-io", "-f", "raw", "-c", "write -P 9 0 8M", f"nbd+unix:///{name}?socket={m.path('nbd')}")
    m.say("nbd-server-stop")
    before = dirty(m)
    m.trace.append(before)
    assert start(m, {"sync": "incremental", "bitmap": "inc"}, {"speed": 65536}) == {}
    while not any(job["id"] == "job-b" and job["status"] == "waiting" for job in m.qmp.command("query-jobs")):
        pass
    m.say("job-cancel", id="job-a")
    until(m, ["concluded"])
    assert dirty(m) == before
    return []


def refusals(m):
    m.say("transaction", {"actions": [{"type": "block-dirty-bitmap-clear", "data": {"node": "a", "name": "bits"}}],
                          "properties": {"completion-mode": "grouped"}})
    start(m, mode="sometimes")
    m.say("transaction", {"actions": [], "properties": {"other": 1}})
    return []


@pytest.mark.parametrize("script", [both_end_together, one_is_cancelled, finalized_by_hand, cancelled_when_pending,
                                    bitmaps_come_back, refusals], ids=lambda script: script.__name__)
def test_grouped_jobs_are_qemus(machine, script):
    machines = []
    for engine in ("qemu", "lodge"):
        m = machine(engine)
        prepare(m)
        images = script(m)
        m.end()
        machines.append(m)
    qemu, lodge = machines
    assert lodge.trace == qemu.trace
    for name in images:
        tool("qemu-img", "compare", "-q", qemu.path(name), lodge.path(name))
