"""Disks that change under a machine, by QMP as libvirt 9.0 writes it: snapshots, commit, mirror, stream,
backup. Each script runs on lodge-vmm and on QEMU; replies, the order of events and images must agree.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import pytest
from block_machine import JOB, tool


def snapshots_and_commit(m):
    m.snapshot(2, "s1.qcow2", "base.qcow2", "libvirt-1-format")
    m.snapshot(3, "s2.qcow2", "s1.qcow2", "libvirt-2-format")
    assert m.disk()["node-name"] == "libvirt-3-format"
    assert m.disk()["backing_file_depth"] == 2
    # virsh blockcommit --top s1 (below the active image)
    m.say("block-commit", JOB | {"device": "libvirt-3-format", "speed": 0, "top-node": "libvirt-2-format",
                                 "base-node": "libvirt-1-format", "backing-file": m.path("base.qcow2")})
    m.wait_job("concluded")
    m.say("query-jobs")
    m.say("job-dismiss", id="job")
    m.wait_job("null")
    m.remove(2)
    # virsh blockcommit --active --pivot
    m.say("block-commit", JOB | {"device": "libvirt-3-format", "speed": 0, "top-node": "libvirt-3-format",
                                 "base-node": "libvirt-1-format"})
    m.wait_job("ready")
    m.qmp.wait_event("BLOCK_JOB_READY")
    m.say("query-block-jobs")
    m.say("job-complete", id="job")
    m.wait_job("concluded")
    m.say("job-dismiss", id="job")
    m.wait_job("null")
    m.remove(3)
    assert m.disk()["node-name"] == "libvirt-1-format"
    return ["base.qcow2"]


def pull(m):
    m.write("over.qcow2", 2, 3, 2, "base.qcow2")
    m.add_storage(2, "over.qcow2")
    m.add_format(2)
    m.say("blockdev-snapshot", node="libvirt-1-format", overlay="libvirt-2-format")
    m.say("block-stream", JOB | {"device": "libvirt-2-format", "speed": 0})
    m.wait_job("concluded")
    m.say("job-dismiss", id="job")
    m.wait_job("null")
    assert "backing_file" not in m.disk() and m.disk()["backing_file_depth"] == 0
    m.remove(1)
    return ["over.qcow2"]


def copy(m, **more):
    open(m.path("copy.qcow2"), "w").close()
    m.add_storage(2, "copy.qcow2")
    m.create(2)
    m.add_format(2)
    m.say("blockdev-mirror", JOB | more | {"device": "libvirt-1-format", "target": "libvirt-2-format",
                                           "speed": 0, "sync": "full"})
    m.wait_job("ready")
    m.qmp.wait_event("BLOCK_JOB_READY")
    m.say("blockdev-del", node_name="libvirt-1-format")
    m.say("job-complete", id="job")
    m.wait_job("concluded")
    m.say("job-dismiss", id="job")
    m.wait_job("null")
    m.remove(1)
    assert m.disk()["node-name"] == "libvirt-2-format"
    return ["copy.qcow2", "base.qcow2"]


def active_copy(m):
    return copy(m, **{"copy-mode": "write-blocking"})


def cancelled_copy(m):
    open(m.path("copy.qcow2"), "w").close()
    m.add_storage(2, "copy.qcow2")
    m.create(2)
    m.add_format(2)
    m.say("blockdev-mirror", JOB | {"device": "libvirt-1-format", "target": "libvirt-2-format", "sync": "full",
                                    "auto-dismiss": True, "speed": 1})
    m.wait_job("running")
    m.say("block-job-cancel", device="job")
    m.wait_job("null")
    m.say("block-job-cancel", device="job")
    m.say("job-cancel", id="job")
    m.remove(2)
    assert m.disk()["node-name"] == "libvirt-1-format"
    return ["base.qcow2"]


def backup(m):
    for number, name in ((2, "full.qcow2"), (3, "scratch.qcow2")):
        open(m.path(name), "w").close()
        m.add_storage(number, name)
        m.create(number)
    m.add_format(2)
    m.add_format(3, "libvirt-1-format")
    m.say("transaction", {"actions": [
        {"type": "blockdev-backup", "data": JOB | {"device": "libvirt-1-format", "target": "libvirt-2-format",
                                                   "sync": "full"}}]})
    m.wait_job("concluded")
    m.say("query-jobs")
    m.say("job-dismiss", id="job")
    m.wait_job("null")
    m.say("blockdev-backup", JOB | {"device": "libvirt-1-format", "target": "libvirt-3-format", "sync": "none",
                                    "auto-dismiss": True})
    m.wait_job("running")
    m.say("block-job-cancel", device="job", force=True)
    m.wait_job("null")
    m.remove(3)
    m.remove(2)
    return ["full.qcow2", "base.qcow2"]


def failing_transaction(m):
    open(m.path("s1.qcow2"), "w").close()
    m.add_storage(2, "s1.qcow2")
    m.create(2, "base.qcow2")
    m.add_format(2)
    m.say("transaction", {"actions": [
        {"type": "blockdev-snapshot", "data": {"node": "libvirt-1-format", "overlay": "libvirt-2-format"}},
        {"type": "blockdev-snapshot", "data": {"node": "libvirt-1-format", "overlay": "missing"}}]})
    assert m.disk()["node-name"] == "libvirt-1-format"
    m.say("transaction", {"actions": [
        {"type": "blockdev-snapshot-sync", "data": {"node-name": "libvirt-1-format",
                                                    "snapshot-file": m.path("sync.qcow2"),
                                                    "snapshot-node-name": "sync"}}]})
    assert m.disk()["node-name"] == "sync"
    return ["sync.qcow2"]


def manual_end(m):
    open(m.path("copy.qcow2"), "w").close()
    m.add_storage(2, "copy.qcow2")
    m.create(2)
    m.add_format(2)
    m.say("blockdev-backup", {"job-id": "job", "device": "libvirt-1-format", "target": "libvirt-2-format",
                              "sync": "full", "auto-finalize": False, "auto-dismiss": False})
    m.wait_job("pending")
    m.qmp.wait_event("BLOCK_JOB_PENDING")
    m.say("query-block-jobs")
    m.say("job-pause", id="job")
    m.say("job-dismiss", id="job")
    m.say("block-job-finalize", id="job")
    m.wait_job("concluded")
    m.say("block-job-dismiss", id="job")
    m.wait_job("null")
    m.say("query-block-jobs")
    return ["copy.qcow2"]


SCRIPTS = [snapshots_and_commit, pull, copy, active_copy, cancelled_copy, backup, failing_transaction, manual_end]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_libvirts_commands_do_what_they_do_in_qemu(machine, script):
    traces = []
    for engine in ("qemu", "lodge"):
        m = machine(engine)
        images = script(m)
        m.end()
        traces.append((m, images))
    (qemu, images), (lodge, _) = traces
    assert lodge.trace == qemu.trace
    for name in images:
        tool("qemu-img", "check", "-q", lodge.path(name))
        tool("qemu-img", "compare", "-q", qemu.path(name), lodge.path(name))


def test_nodes_come_and_go_with_devices(machine):
    m = machine("lodge")
    m.add_storage(2, "base.qcow2")
    assert "in use" in m.say("blockdev-add", {"driver": "qcow2", "node-name": "twice",
                                             "file": {"driver": "file", "filename": m.path("base.qcow2")}})["desc"]
    m.write("second.qcow2", 0, 1, 7)
    m.say("blockdev-add", {"driver": "file", "filename": m.path("second.qcow2"), "node-name": "second-file"})
    m.say("blockdev-add", {"driver": "qcow2", "file": "second-file", "node-name": "second"})
    names = [node["node-name"] for node in m.qmp.command("query-named-block-nodes", flat=True)]
    assert {"libvirt-1-format", "libvirt-1-storage", "second", "second-file"} <= set(names)
    m.qmp.command("blockdev-reopen", {"options": [{"driver": "qcow2", "file": "second-file", "node-name": "second",
                                                   "read-only": True}]})
    node = [node for node in m.qmp.command("query-named-block-nodes") if node["node-name"] == "second"][0]
    assert node["ro"] is True
    graph = m.qmp.command("x-debug-query-block-graph")
    assert {"root", "file"} <= {edge["name"] for edge in graph["edges"]}
    m.say("blockdev-del", node_name="second")
    m.say("blockdev-del", node_name="second-file")
    tool("qemu-img", "check", "-q", m.path("second.qcow2"))


@pytest.mark.parametrize("ops, command, arguments", [
    ("read", "block-stream", {"device": "top"}),
    ("read", "blockdev-backup", {"device": "top", "target": "target", "sync": "full"}),
    ("read", "blockdev-mirror", {"device": "top", "target": "target", "sync": "full"}),
    ("write", "block-commit", {"device": "top", "top-node": "mid", "base-node": "low"}),
    ("write", "block-commit", {"device": "top", "base-node": "low"})],
    ids=["stream", "backup", "mirror", "inner_commit", "active_commit"])
def test_a_jobs_error_names_the_layer(machine, ops, command, arguments):
    """The lowest of three images fails; the event and the list of jobs say which one it was."""
    m = machine("lodge")
    for number, node in enumerate(("low", "mid", "top", "target")):
        m.write(f"{node}.qcow2", number, 1, number + 1)
    m.qmp.command("blockdev-add", {"driver": "qcow2", "node-name": "target", "file": {
        "driver": "file", "filename": m.path("target.qcow2")}})
    m.qmp.command("blockdev-add", {"driver": "fault", "ops": ops, "node-name": "low", "file": {
        "driver": "qcow2", "file": {"driver": "file", "filename": m.path("low.qcow2")}}})
    for node, backing in (("mid", "low"), ("top", "mid")):
        m.qmp.command("blockdev-add", {"driver": "qcow2", "node-name": node, "backing": backing, "file": {
            "driver": "file", "filename": m.path(f"{node}.qcow2")}})
    m.qmp.command(command, JOB | arguments)
    reason = f"Input/output error (failed in '{m.path('low.qcow2')}', driver 'fault', backing file 2 of the chain)"
    assert m.qmp.wait_event("BLOCK_JOB_COMPLETED")["data"]["error"] == reason
    m.wait_job("concluded")
    assert [job["error"] for job in m.qmp.command("query-jobs")] == [reason]
    m.end()
