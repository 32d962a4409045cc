"""The same QMP session on QEMU and on lodge-vmm: every reply and event of the block commands is compared, values included.

What differs is in tables: WORDS (errors of the same class, said in other words: ours name the thing and the way out) and
BEHAVIOUR (another outcome, with the reason). A difference that is in neither, or one that is gone, fails.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import json
import re

import pytest
from block_machine import MIB, tool
from differential_tables import BEHAVIOUR, WORDS

N = "libvirt-1-format"
JOB = {"job-id": "j"}
NO_LIMITS = {"bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0}
# What lodge-vmm adds to a job's error: test_a_jobs_error_names_the_layer (test_block_jobs.py).
LAYER = re.compile(r" \(failed in '[^']*', driver '[^']*'(, backing file \d+ of the chain)?\)$")
QDEV = "/machine/peripheral/virtio-disk0/virtio-backend"


def without(members, *keys):
    return {key: item for key, item in members.items() if key not in keys}


def is_pause(said):
    return said[0] == "JOB_STATUS_CHANGE" and said[1]["status"] == "paused"


def scrub(value, folder):
    """Without what differs from run to run, or means nothing: order of nodes, numbers of edges."""
    if isinstance(value, dict):
        if set(value) == {"nodes", "edges"}:
            return scrub_graph(value, folder)
        if value.get("status") in ("running", "paused"):  # how far a job is: pieces are of different sizes
            value = without(value, "busy", "offset", "current-progress", "total-progress", "len")
        elif value.get("status") == "ready":
            value = without(value, "busy")
        elif value.get("status") == "pending":
            value = without(value, "paused")  # QEMU counts that it holds the graph
        return {key: 0 if key.endswith("_ns") or key == "actual-size" else scrub(item, folder)
                for key, item in value.items()}
    if isinstance(value, list):
        items = [scrub(item, folder) for item in value]
        named = all(isinstance(item, dict) and "node-name" in item and "device" not in item for item in items)
        return sorted(items, key=lambda item: item["node-name"]) if named else items
    if isinstance(value, str):
        if value.startswith("json:"):  # a file with other options than its name says: lodge-vmm shows the name
            value = json.loads(value[len("json:"):])["file"].get("filename", value)
        value = re.sub(r"#block\d+", "#block", value.replace(folder, "DIR"))
        value = LAYER.sub("", value)
        value = re.sub(r"(.)\1{40,}", r"\1...", value)
        return re.sub(r"process \d+ \([a-z-]*\)", "process N", value)
    return value


def scrub_graph(graph, folder):
    """Edges by names; without permissions, of which lodge-vmm has no such sets."""
    names = {node["id"]: node["name"] for node in graph["nodes"]}
    return {"nodes": sorted([node["type"], scrub(node["name"], folder)] for node in graph["nodes"]),
            "edges": sorted([names[edge["parent"]], names[edge["child"]], edge["name"]] for edge in graph["edges"])}


class Session:
    """Notes what each command gave: (command with arguments, reply, events until the next)."""

    def __init__(self, machine):
        self.machine = machine
        self.path = machine.path
        self.steps = []

    def say(self, name, /, **members):
        self.note_events()
        reply = self.machine.qmp.raw(name, members)
        reply.pop("id", None)
        what = f"{name} {json.dumps(members, sort_keys=True)}"
        self.steps.append([scrub(what, self.machine.folder), scrub(reply, self.machine.folder), []])
        return reply

    def note_events(self):
        for event in self.machine.qmp.events:
            data = event.get("data")
            if event["event"] == "BLOCK_JOB_CANCELLED" or "error" in data:
                data = without(data, "len", "offset")
            said = scrub([event["event"], data], self.machine.folder)
            noted = self.steps[-1][2]
            if said[0] == "JOB_STATUS_CHANGE" and noted and is_pause(noted[-1]) and data["status"] == "running":
                noted.pop()  # QEMU's own, for a change of the graph
            else:
                noted.append(said)
        self.machine.qmp.events.clear()

    def wait(self, name, /, **data):
        """Until an event came whose data have these members."""
        events = self.machine.qmp.events
        while not any(event["event"] == name and data.items() <= event["data"].items() for event in events):
            events.append(self.machine.qmp._receive())
        self.note_events()

    def wait_stopped(self):
        """Until a job met an error and was paused for it; QEMU's may be paused before for a change of the graph."""
        events = self.machine.qmp.events
        names = []
        while "BLOCK_JOB_ERROR" not in names or "paused" not in names[names.index("BLOCK_JOB_ERROR"):]:
            if len(names) == len(events):
                events.append(self.machine.qmp._receive())
            event = events[len(names)]
            names.append(event["data"].get("status", event["event"]))
        self.note_events()

    def file(self, name, **more):
        return {"driver": "file", "filename": self.path(name)} | more

    def try_add(self, **options):
        self.say("blockdev-add", **{"node-name": "n"} | options)
        self.say("blockdev-del", **{"node-name": "n"})

    def try_add_qcow2(self, **options):
        self.try_add(**{"driver": "qcow2", "file": self.file("two.qcow2")} | options)

    def add_two(self):
        for number, (node, name) in enumerate((("n", "two.qcow2"), ("t", "three.qcow2"))):
            self.machine.write(name, number, 1, number + 2)
            self.say("blockdev-add", **{"driver": "qcow2", "node-name": node,
                                        "file": self.file(name, **{"node-name": f"{node}f"})})


def queries(s):
    s.add_two()
    for name in ("query-block", "query-named-block-nodes", "query-blockstats", "query-jobs", "query-block-jobs",
                 "x-debug-query-block-graph", "query-block-exports"):
        s.say(name)
    s.say("query-named-block-nodes", flat=True)
    s.say("query-blockstats", **{"query-nodes": True})
    s.say("query-blockstats", **{"query-nodes": False})
    s.say("query-blockstats", nodes=True)


def chains(s):
    """A disk over two backing files, and an image with internal snapshots."""
    s.machine.write("mid.qcow2", 4, 1, 2, "base.qcow2")
    s.say("blockdev-add", **{"driver": "qcow2", "node-name": "mid", "file": s.file("mid.qcow2"), "backing": None})
    s.say("blockdev-del", **{"node-name": "mid"})
    for number, name in ((2, "overlay2.qcow2"), (3, "overlay3.qcow2")):
        s.machine.write(name, number, 1, number)
        s.say("blockdev-add", **{"driver": "qcow2", "node-name": f"o{number}", "backing": None,
                                 "file": s.file(name, **{"node-name": f"f{number}"})})
        s.say("blockdev-snapshot", node=N if number == 2 else "o2", overlay=f"o{number}")
    for name in ("query-block", "query-blockstats", "query-named-block-nodes", "x-debug-query-block-graph"):
        s.say(name)
    s.say("blockdev-del", **{"node-name": "o2"})
    s.say("blockdev-reopen", options=[{"driver": "qcow2", "node-name": "o2", "file": "f2", "backing": "o3"}])
    s.say("blockdev-reopen", options=[{"driver": "qcow2", "node-name": "o2", "file": "f2", "backing": "o2"}])


def resizing(s):
    s.add_two()
    for more in ({"size": 16 * MIB}, {"size": -1}, {"size": 16 * MIB + 100}, {"size": 4 * MIB}, {"size": "x"}, {},
                 {"size": 1 << 62}):
        s.say("block_resize", **{"node-name": N} | more)
    for more in ({"node-name": "nope"}, {"device": "nope"}, {}, {"device": "a", "node-name": "b"},
                 {"node-name": "libvirt-1-storage"}, {"device": "virtio-disk0"}, {"device": ""},
                 {"node-name": "n"}, {"node-name": "nf"}):
        s.say("block_resize", **{"size": 16 * MIB} | more)
    s.say("query-named-block-nodes", flat=True)


def adding(s):
    s.machine.write("two.qcow2", 0, 1, 2)
    for more in ({"driver": "qcow2"}, {"driver": "nope"}, {"driver": "file"}, {"driver": "null-co"},
                 {"driver": "file", "filename": s.machine.folder}, {"driver": "file", "filename": s.path("missing")},
                 {"driver": "nbd", "server": {"type": "unix", "path": s.path("nosock")}},
                 {"driver": "nbd", "server": {"type": "inet", "host": "127.0.0.1", "port": "1"}},
                 {"driver": "luks", "file": s.file("two.qcow2"), "key-secret": "nosec"},
                 {"driver": "throttle", "file": s.file("two.qcow2"), "throttle-group": "nogroup"},
                 {"driver": "throttle", "file": s.file("two.qcow2")},
                 {"driver": "copy-on-read", "file": s.file("two.qcow2")},
                 {"driver": "copy-on-read", "file": s.file("two.qcow2"), "bottom": "zz"}):
        s.try_add(**more)
    for more in ({"size": 1000}, {"offset": 1}, {"offset": 1 << 40}, {"size": 1 << 40}, {"size": 4096, "offset": 512}):
        s.try_add(driver="raw", file=s.file("two.qcow2"), **more)
    for more in ({"file": s.file("missing")}, {"node-name": N}, {"node-name": "-bad"}, {"node-name": "n" * 40},
                 {"file": s.file("base.qcow2")}, {"driver": "vmdk"}, {"file": "nope"}, {"file": "libvirt-1-storage"},
                 {"backing": "nope"}, {"read-only": "x"}, {"read-only": True}, {"discard": "x"},
                 {"detect-zeroes": "x"}, {"detect-zeroes": "unmap"}, {"detect-zeroes": "unmap", "discard": "unmap"},
                 {"cache": {"direct": "x"}}, {"encrypt": {"format": "luks", "key-secret": "nosec"}},
                 {"colour": "red"}):
        s.try_add_qcow2(**more)
    s.say("blockdev-add", **{"driver": "qcow2", "file": s.file("two.qcow2")})
    s.say("blockdev-add", **{"node-name": "n"})
    for more in ({"node-name": "nope"}, {"node-name": N}, {"node-name": "libvirt-1-storage"}, {}):
        s.say("blockdev-del", **more)


def reopening(s):
    def reopen(*options):
        s.say("blockdev-reopen", options=list(options))
    s.add_two()
    good = {"driver": "qcow2", "node-name": "n", "file": "nf"}
    for more in ({}, {"driver": "qcow2"}, good | {"node-name": "nope"}, good | {"driver": "raw"}, good,
                 good | {"read-only": True}, good | {"file": "libvirt-1-storage"},
                 good | {"file": s.file("two.qcow2", **{"node-name": "nf"})},
                 good | {"file": s.file("base.qcow2", **{"node-name": "nf"})},
                 good | {"backing": "nope"}, good | {"backing": None}, good | {"lazy-refcounts": True},
                 good | {"detect-zeroes": "unmap"}, good | {"colour": "red"}, 5):
        reopen(more)
        s.say("query-named-block-nodes", flat=True)
    reopen(good | {"cache": {"direct": False, "no-flush": True}, "detect-zeroes": "on", "discard": "unmap"})
    s.say("query-named-block-nodes", flat=True)
    reopen(good | {"detect-zeroes": "unmap", "discard": "unmap"}, good | {"node-name": "nope"})
    s.say("query-named-block-nodes", flat=True)
    reopen(s.file("two.qcow2", **{"node-name": "nf"}))
    reopen(s.file("base.qcow2", **{"node-name": "nf"}))
    reopen({"driver": "qcow2", "node-name": N, "file": "libvirt-1-storage", "read-only": True})
    s.say("blockdev-reopen", options=5)
    s.say("blockdev-reopen")


def limits(s):
    def throttle(**more):
        s.say("block_set_io_throttle", **NO_LIMITS | {"id": QDEV} | more)
    for more in ({"id": "nope"}, {"device": "nope"}, {}, {"device": "a", "id": "b"}, {"id": "virtio-disk0"}):
        s.say("block_set_io_throttle", **NO_LIMITS | more)
    s.say("block_set_io_throttle", id=QDEV)
    for more in ({"bps": 100, "bps_rd": 1}, {"bps": -100}, {"bps_max": 5}, {"bps": 100, "bps_max": 5},
                 {"bps": 100, "bps_max_length": 0}, {"bps": 100, "bps_max_length": 5}, {"bps": 1 << 60},
                 {"iops_size": 4096}):
        throttle(**more)
    for more in ({"iops": 100, "iops_max": 1000, "iops_max_length": 3, "bps_rd": 100000, "bps_wr": 2000000,
                  "iops_size": 4096}, {"iops": 10, "group": "g"}, {"iops": 20}, {}, {"bps": 5}):
        throttle(**more)
        s.say("query-block")


def bitmaps(s):
    s.add_two()
    for more in ({"node": "nope"}, {"name": ""}, {"granularity": 3}, {"granularity": 0}, {"granularity": 256},
                 {"node": "tf", "persistent": True}, {"name": "b" * 1024}, {"persistent": True}, {}):
        s.say("block-dirty-bitmap-add", **{"node": N, "name": "b"} | more)
    s.say("block-dirty-bitmap-add", node=N, name="other", disabled=True)
    for verb in ("remove", "clear", "enable", "disable"):
        s.say(f"block-dirty-bitmap-{verb}", node=N, name="c")
        s.say(f"block-dirty-bitmap-{verb}", node="nope", name="b")
    for more in ({"target": "c"}, {"bitmaps": ["c"]}, {"bitmaps": [{"node": "t", "name": "x"}]}, {"bitmaps": [5]},
                 {"bitmaps": ["other"]}):
        s.say("block-dirty-bitmap-merge", **{"node": N, "target": "b", "bitmaps": ["b"]} | more)
    s.say("query-block")
    s.say("block-dirty-bitmap-remove", node=N, name="b")
    s.say("block-dirty-bitmap-remove", node=N, name="other")


def job_verbs(s):
    for verb in ("pause", "resume", "cancel", "complete", "finalize", "dismiss"):
        s.say(f"job-{verb}", id="nope")
        s.say(f"job-{verb}")
    for verb in ("pause", "resume", "cancel", "complete"):
        s.say(f"block-job-{verb}", device="nope")
        s.say(f"block-job-{verb}")
    for verb in ("finalize", "dismiss"):
        s.say(f"block-job-{verb}", id="nope")
    s.say("block-job-set-speed", device="nope", speed=1)


def job_starts(s):
    s.add_two()

    def start(name, /, *choices, **common):
        for more in choices:
            s.say(name, **{key: item for key, item in (JOB | {"device": N} | common | more).items() if item is not None})
    start("block-stream", {"device": "nope"}, {"device": "nope", "job-id": None}, {"base": "x", "base-node": "y"},
          {"job-id": None}, {"job-id": "-x"}, {"base-node": "nope"}, {"base-node": "n"}, {"base": "n"},
          {"speed": -1}, {"on-error": "x"}, {"bottom": "n"}, {"bottom": "n", "base": "e"}, {"backing-file": "x"})
    start("block-commit", {"job-id": None}, {"device": "nope"}, {}, {"top-node": "n"}, {"base-node": N}, {"top": "x"},
          {"base": "x"}, {"base": "x", "base-node": "n"}, {"top": "x", "top-node": "n"}, {"base-node": "n"}, {"speed": -1})
    start("blockdev-mirror", {"device": "nope"}, {"target": "nope"}, {"job-id": None}, {"target": N},
          {"sync": "bitmap"}, {"sync": "incremental"}, {"sync": "x"}, {"sync": None}, {"granularity": 3},
          {"granularity": 100}, {"granularity": 1000}, {"speed": -1}, {"replaces": "nope"}, {"buf-size": -1},
          {"filter-node-name": N}, {"target": "libvirt-1-storage"}, target="t", sync="full")
    start("blockdev-backup", {"device": "nope"}, {"target": "nope"}, {"job-id": None}, {"target": N},
          {"sync": "bitmap"}, {"sync": "incremental"}, {"bitmap": "b"}, {"sync": "bitmap", "bitmap": "b"},
          {"sync": "bitmap", "bitmap": "b", "bitmap-mode": "never"},
          {"sync": "incremental", "bitmap": "b", "bitmap-mode": "never"}, {"bitmap-mode": "never"}, {"speed": -1},
          {"filter-node-name": N}, target="t", sync="full")
    for name in ("drive-mirror", "drive-backup"):
        start(name, {"target": s.path("base.qcow2"), "mode": "existing"}, {"target": s.path("nope"), "mode": "existing"},
              {"target": s.path("no/such")}, {"target": s.path("x"), "format": "nope"}, sync="full")
    s.say("query-jobs")


def snapshots(s):
    s.add_two()
    for more in ({"node": "nope", "overlay": "t"}, {"node": N, "overlay": "nope"}, {"node": N, "overlay": N}, {"node": N},
                 {"node": N, "overlay": "nf"}):
        s.say("blockdev-snapshot", **more)
    for more in ({"device": "nope"}, {"node-name": "nope"}, {}, {"node-name": N, "device": "x"}, {"node-name": N},
                 {"node-name": N, "snapshot-node-name": "sn", "snapshot-file": s.path("no/s")},
                 {"node-name": N, "snapshot-node-name": N}, {"node-name": N, "snapshot-node-name": "sn", "format": "nope"},
                 {"node-name": N, "snapshot-node-name": "sn", "format": "raw"},
                 {"node-name": N, "snapshot-node-name": "sn", "mode": "x"}):
        s.say("blockdev-snapshot-sync", **{"snapshot-file": s.path("s")} | more)
    for more in ({"device": "nope"}, {"image-node-name": "nope"}, {}, {"image-node-name": "n"}):
        s.say("change-backing-file", **{"device": N, "image-node-name": N, "backing-file": "x"} | more)
    abort = {"type": "abort", "data": {}}
    bitmap = {"type": "block-dirty-bitmap-add", "data": {"node": N, "name": "q"}}
    for actions in ([], None, [{"type": "x", "data": {}}], [abort], [{"type": "abort"}], [5], [bitmap, abort]):
        s.say("transaction", **({} if actions is None else {"actions": actions}))
    s.say("transaction", actions=[], properties={"completion-mode": "x"})
    s.say("transaction", actions=[bitmap], properties={"completion-mode": "grouped"})
    s.say("query-named-block-nodes", flat=True)
    s.say("blockdev-snapshot", node="libvirt-1-storage", overlay="n")


def exports(s):
    s.add_two()
    s.say("nbd-server-stop")
    s.say("nbd-server-add", device=N)
    s.say("nbd-server-remove", name="x")
    s.say("block-export-add", type="nbd", id="e", **{"node-name": N})
    s.say("block-export-add", type="x", id="e", **{"node-name": N})
    s.say("block-export-del", id="x")
    good = {"type": "unix", "data": {"path": s.path("nbd")}}
    for more in ({"addr": {"type": "unix", "data": {"path": s.path("no/such")}}}, {"addr": {"type": "x", "data": {}}},
                 {"tls-creds": "x"}, {}, {}):
        s.say("nbd-server-start", **{"addr": good} | more)
    for more in ({"device": "nope"}, {"device": N, "writable": True}, {"device": "t", "writable": True},
                 {"device": "t", "writable": True}, {"device": N, "name": "t"}, {"name": "n" * 300}, {"bitmap": "x"},
                 {"description": "d" * 5000}, {"device": "n", "name": "a b"}):
        s.say("nbd-server-add", **{"device": "n"} | more)
    s.say("query-block-exports")
    for more in ({"node-name": "nope"}, {"id": "-e"}, {"name": "xx"}, {}):
        s.say("block-export-add", **{"type": "nbd", "id": "e", "node-name": "n"} | more)
    s.say("block-export-del", id="e")
    s.wait("BLOCK_EXPORT_DELETED", id="e")
    s.say("query-block-exports")
    s.say("nbd-server-remove", name="t", mode="x")
    s.say("nbd-server-remove", name="t")
    s.wait("BLOCK_EXPORT_DELETED", id="t")
    s.say("nbd-server-stop")
    s.wait("BLOCK_EXPORT_DELETED")
    s.say("query-block-exports")


def thresholds(s):
    for more in ({"node-name": "nope"}, {"write-threshold": -1}, {"write-threshold": "x"}, {}, {"write-threshold": 0}):
        s.say("block-set-write-threshold", **{"node-name": "libvirt-1-storage", "write-threshold": 4096} | more)
        s.say("query-named-block-nodes", flat=True)


def throttle_nodes(s):
    s.machine.write("two.qcow2", 0, 1, 2)
    group = {"qom-type": "throttle-group", "id": "g"}
    for more in ({"limits": {"iops-total": -1}}, {"limits": {"iops-total": 1, "iops-read": 1}}, {"limits": {"colour": 1}},
                 {"limits": {"bps-total": 1, "bps-total-max-length": 0}}, {"limits": {"bps-read-max": 1}}, {"limits": 5},
                 {"colour": 1}, {"x-iops-total": 5}, {}):
        s.say("object-add", **group | more)
        s.say("qom-get", path="/objects/g", property="limits")
        s.say("object-del", id="g")
    s.say("object-add", **group | {"limits": {"iops-total": 100, "iops-total-max": 200, "iops-total-max-length": 3,
                                              "iops-size": 4096, "bps-write": 1 << 20}})
    s.say("object-add", **group)
    s.say("qom-get", path="/objects/g", property="limits")
    s.say("qom-get", path="/objects/g", property="x-iops-total")
    s.say("qom-set", path="/objects/g", property="x-iops-total", value=50)
    s.say("qom-set", path="/objects/g", property="limits", value={"iops-read": 1, "iops-total": 1})
    s.say("qom-set", path="/objects/g", property="limits", value={"bps-read": 7})
    s.say("qom-set", path="/objects/g", property="limits", value={"bps-write": 0, "bps-read": 1 << 30})
    s.say("qom-set", path="/objects/g", property="limits", value=7)
    s.say("qom-get", path="/objects/g", property="limits")
    s.say("qom-get", path="/objects/g", property="type")
    s.say("qom-get", path="/objects/none", property="limits")
    node = {"driver": "throttle", "node-name": "th"}
    image = {"driver": "qcow2", "node-name": "n", "file": s.file("two.qcow2", **{"node-name": "nf"})}
    for more in ({}, {"file": image}, {"throttle-group": "g"}, {"throttle-group": "g", "file": "nope"},
                 {"throttle-group": "g", "file": image, "colour": "red"}, {"throttle-group": "g", "file": image}):
        s.say("blockdev-add", **node | more)
    for name in ("query-named-block-nodes", "x-debug-query-block-graph", "query-blockstats"):
        s.say(name)
    s.say("query-blockstats", **{"query-nodes": True})
    s.say("object-del", id="g")
    s.say("block_resize", **{"node-name": "th", "size": 16 * MIB})
    s.say("block_resize", **{"node-name": "n", "size": 16 * MIB})
    s.say("object-add", **group | {"id": "h"})
    for more in ({"throttle-group": "nope"}, {"throttle-group": "h"}, {}, {"throttle-group": "g", "read-only": True}):
        s.say("blockdev-reopen", options=[node | {"file": "n"} | more])
        s.say("object-del", id="h")
    s.say("query-named-block-nodes", flat=True)
    s.say("blockdev-del", **{"node-name": "n"})
    s.say("blockdev-del", **{"node-name": "th"})
    s.say("object-del", id="g")
    s.say("object-del", id="g")
    s.say("query-named-block-nodes", flat=True)


def watch(s, job):
    """What is said of a running job, in both lists."""
    s.say("query-jobs")
    s.say("query-block-jobs")
    s.say("job-complete", id=job)  # too early, but for a mirror that is ready


def pause(s, job):
    s.say("job-pause", id=job)
    s.wait("JOB_STATUS_CHANGE", id=job, status="paused")
    s.say("query-jobs")
    s.say("query-block-jobs")
    s.say("job-pause", id=job)
    s.say("block-job-set-speed", device=job, speed=2)
    s.say("job-resume", id=job)
    s.wait("JOB_STATUS_CHANGE", id=job, status="running")
    s.say("job-resume", id=job)


def run_job(s, name, /, is_cut=True, **arguments):
    """Twice: cancelled while it runs; and to its end by hand, for finish().

    Each pause and change of speed lets a job of QEMU's do a piece; @is_cut: it still runs after a few.
    """
    slow = {"speed": 1}
    by_hand = {"auto-finalize": False, "auto-dismiss": False}
    s.say(name, **JOB | arguments | slow)
    s.say(name, **JOB | arguments | slow)
    watch(s, "j")
    if is_cut:
        pause(s, "j")
    for verb in ("finalize", "dismiss"):
        s.say(f"job-{verb}", id="j")
        s.say(f"block-job-{verb}", id="j")
    s.say("block-job-set-speed", device="j", speed=-1)
    s.say("block-job-cancel", device="j")
    s.wait("JOB_STATUS_CHANGE", id="j", status="null")
    s.say("query-block-jobs")
    s.say(name, **JOB | arguments | slow | by_hand)
    s.say("query-block-jobs")
    s.say("block-job-pause", device="j")
    s.wait("JOB_STATUS_CHANGE", id="j", status="paused")
    s.say("block-job-pause", device="j")
    s.say("block-job-set-speed", device="j", speed=0)
    s.say("block-job-resume", device="j")
    s.wait("JOB_STATUS_CHANGE", id="j", status="running")


def finish(s, has_ready=False):
    """A job that run_job() left: completed, finalized, dismissed."""
    if has_ready:
        s.wait("BLOCK_JOB_READY", device="j")
        watch_ready(s)
    s.wait("BLOCK_JOB_PENDING", id="j")
    for verb in ("query-jobs", "query-block-jobs"):
        s.say(verb)
    for verb in ("pause", "resume", "complete", "dismiss"):
        s.say(f"job-{verb}", id="j")
    s.say("block-job-set-speed", device="j", speed=5)
    s.say("job-finalize", id="j")
    s.wait("JOB_STATUS_CHANGE", id="j", status="concluded")
    for verb in ("query-jobs", "query-block-jobs"):
        s.say(verb)
    for verb in ("pause", "resume", "complete", "finalize", "cancel"):
        s.say(f"job-{verb}", id="j")
    s.say("job-dismiss", id="j")
    s.say("query-jobs")
    s.say("query-block")


def watch_ready(s):
    for verb in ("query-jobs", "query-block-jobs"):
        s.say(verb)
    for verb in ("finalize", "dismiss"):
        s.say(f"job-{verb}", id="j")
    s.say("job-pause", id="j")
    s.wait("JOB_STATUS_CHANGE", id="j", status="standby")
    s.say("query-block-jobs")
    s.say("job-complete", id="j")  # for when it goes on
    s.say("job-resume", id="j")


def add_chain(s):
    """n over the disk's node N, of which it becomes the active layer's backing file; and m between."""
    for number, length, node in ((1, 6, "m"), (7, 1, "n")):
        s.machine.write(f"{node}.qcow2", number, length, number)
        s.say("blockdev-add", **{"driver": "qcow2", "node-name": node, "backing": None,
                                 "file": s.file(f"{node}.qcow2", **{"node-name": f"{node}f"})})
        s.say("blockdev-snapshot", node=N if node == "m" else "m", overlay=node)


def mirrors(s):
    s.add_two()
    run_job(s, "blockdev-mirror", **{"device": N, "target": "t", "sync": "full", "buf-size": 65536, "granularity": 65536})
    finish(s, has_ready=True)
    s.say("blockdev-mirror", **JOB | {"device": N, "target": "n", "sync": "top"})
    s.wait("BLOCK_JOB_READY", device="j")
    s.say("block-job-cancel", device="j")
    s.wait("JOB_STATUS_CHANGE", id="j", status="null")
    s.say("blockdev-mirror", **JOB | {"device": N, "target": "n", "sync": "top"})
    s.wait("BLOCK_JOB_READY", device="j")
    s.say("block-job-set-speed", device="j", speed=1 << 20)
    s.say("query-block-jobs")
    s.say("block-job-complete", device="j")
    s.wait("JOB_STATUS_CHANGE", id="j", status="null")
    s.say("blockdev-mirror", **JOB | {"device": "n", "target": N, "sync": "none"})
    s.wait("BLOCK_JOB_READY", device="j")
    s.say("block-job-cancel", device="j", force=True)
    s.wait("JOB_STATUS_CHANGE", id="j", status="null")
    s.say("query-block")


def backups(s):
    s.add_two()
    run_job(s, "blockdev-backup", device=N, target="t", sync="full")
    finish(s)
    s.say("blockdev-backup", **JOB | {"device": N, "target": "n", "sync": "none"})
    s.say("query-block-jobs")
    s.say("job-cancel", id="j")
    s.wait("JOB_STATUS_CHANGE", id="j", status="null")


def streams(s):
    add_chain(s)
    run_job(s, "block-stream", device="n")
    finish(s)


def inner_streams(s):
    add_chain(s)
    run_job(s, "block-stream", **{"device": "n", "base-node": N, "on-error": "stop"})
    finish(s)


def inner_commits(s):
    add_chain(s)
    run_job(s, "block-commit", **{"device": "n", "top-node": "m", "base-node": N})
    finish(s)


def active_commits(s):
    add_chain(s)
    run_job(s, "block-commit", is_cut=False, **{"device": "n", "base-node": N})
    finish(s, has_ready=True)


def commits_and_exports(s):
    """What lies above the base of a commit cannot be exported, nor committed while it is."""
    def export(node):
        s.say("block-export-add", type="nbd", id=f"e-{node}", name=node, **{"node-name": node})

    def unexport(node):
        s.say("block-export-del", id=f"e-{node}", mode="hard")
        if "error" not in s.steps[-1][1]:
            s.wait("BLOCK_EXPORT_DELETED", id=f"e-{node}")

    add_chain(s)
    s.say("nbd-server-start", addr={"type": "unix", "data": {"path": s.path("nbd")}})
    for top, others in (("m", ("n", N)), ("n", ())):
        commit = JOB | {"device": "n", "top-node": top, "base-node": N, "speed": 1}
        if top == "n":
            export("m")
            s.say("block-commit", **commit)
            unexport("m")
        s.say("block-commit", **commit)
        for node in ("m", *others):
            export(node)
        for node in others:
            unexport(node)
        s.say("block-job-cancel", device="j", force=True)
        s.wait("JOB_STATUS_CHANGE", id="j", status="null")
        export("m")
        unexport("m")


def add_fault(s, iotype, errno, **more):
    """The node "e" over three.qcow2, whose first read or write fails."""
    image = {"driver": "qcow2", "file": s.file("three.qcow2")} | more
    qemu = {"driver": "blkdebug", "image": image,
            "inject-error": [{"event": "none", "iotype": iotype, "errno": errno, "once": True}]}
    lodge = {"driver": "fault", "file": image, "ops": iotype, "errno": errno, "times": 1}
    s.note_events()
    s.machine.qmp.command("blockdev-add", {"node-name": "e"} | (qemu if s.machine.engine == "qemu" else lodge))


POLICIES = (("report", 5), ("ignore", 5), ("ignore", 28), ("stop", 5), ("stop", 28), ("enospc", 5), ("enospc", 28))


def meet_error(s, name, row, /, **arguments):
    s.say(name, **JOB | arguments)
    if row[0] == "stop" or row == ("enospc", 28):
        s.wait_stopped()
        s.say("query-jobs")
        s.say("query-block-jobs")
        s.say("job-resume", id="j")
    has_ready = name == "blockdev-mirror" or arguments.get("top-node") == arguments["device"]
    if has_ready and row not in (("report", 5), ("enospc", 5)):
        s.wait("BLOCK_JOB_READY", device="j")
        s.say("query-block-jobs")
        s.say("block-job-complete" if name == "block-commit" else "block-job-cancel", device="j")
    s.wait("JOB_STATUS_CHANGE", id="j", status="null")


def meet_errors(s, name, iotype, policy_key, /, **arguments):
    """A job with one fault in "e", by each policy."""
    for row in POLICIES:
        add_fault(s, iotype, row[1])
        meet_error(s, name, row, **arguments | {policy_key: row[0]})
        s.say("blockdev-del", **{"node-name": "e"})


def copy_errors(s, command):
    """Faults of the target, then of the source."""
    s.machine.write("three.qcow2", 1, 1, 3)
    meet_errors(s, command, "write", "on-target-error", device=N, target="e", sync="full")
    s.machine.write("two.qcow2", 0, 1, 2)
    s.say("blockdev-add", **{"driver": "qcow2", "node-name": "n", "file": s.file("two.qcow2")})
    meet_errors(s, command, "read", "on-source-error", device="e", target="n", sync="full")


def mirror_errors(s):
    copy_errors(s, "blockdev-mirror")


def backup_errors(s):
    copy_errors(s, "blockdev-backup")


def stream_errors(s):
    s.machine.write("three.qcow2", 1, 1, 3)
    for row in POLICIES:
        s.machine.write("two.qcow2", 0, 1, 2)
        add_fault(s, "read", row[1])
        s.say("blockdev-add", **{"driver": "qcow2", "node-name": "n", "backing": "e", "file": s.file("two.qcow2")})
        meet_error(s, "block-stream", row, device="n", **{"on-error": row[0]})
        s.say("blockdev-del", **{"node-name": "n"})
        s.say("blockdev-del", **{"node-name": "e"})


def commit_error(s, iotype, row, is_active):
    """A commit with a fault in the image that is read, or in the base that is written."""
    def add(node, name, **more):
        s.say("blockdev-add", **{"driver": "qcow2", "node-name": node, "file": s.file(name)} | more)

    for number, name in enumerate(("two.qcow2", "three.qcow2", "over.qcow2")):
        s.machine.write(name, number, 1, number + 1)
    if iotype == "read":
        base, top, file = "n", "e", "two.qcow2"
        add("n", file)
        add_fault(s, iotype, row[1], backing="n")
    else:
        base, top, file = "e", "n", "three.qcow2"
        add_fault(s, iotype, row[1])
        add("n", "two.qcow2", backing="e")
    if is_active:  # with top-node: QEMU takes the filter for the active image, lodge-vmm what is below it
        overlays, more = (), {"device": top}
    else:
        overlays, more = ("o",), {"device": "o", "backing-file": s.path(file)}
        add("o", "over.qcow2", backing=top)
    meet_error(s, "block-commit", row, **more | {"top-node": top, "base-node": base, "on-error": row[0]})
    for node in (*overlays, top, base):
        s.say("blockdev-del", **{"node-name": node})
    if row not in (("report", 5), ("enospc", 5)):
        for number in (0, 1):
            tool("qemu-io", "-r", "-f", "qcow2", "-c", f"read -P {number + 1} {number}M 1M", s.path(file))


def commit_errors(s, is_active):
    for iotype in ("read", "write"):
        for row in POLICIES:
            commit_error(s, iotype, row, is_active)


def inner_commit_errors(s):
    commit_errors(s, False)


def active_commit_errors(s):
    commit_errors(s, True)
    add_fault(s, "read", 5, **{"node-name": "n"})
    for more in ({}, {"top-node": "e"}):  # into the image that it shows
        s.say("block-commit", **JOB | {"device": "e", "base-node": "n"} | more)


SCRIPTS = [queries, chains, resizing, adding, reopening, limits, bitmaps, job_verbs, job_starts, snapshots, exports, thresholds, throttle_nodes,
           mirrors, backups, streams, inner_streams, inner_commits, active_commits,
           mirror_errors, backup_errors, stream_errors, inner_commit_errors, active_commit_errors, commits_and_exports]


def run(machine, engine, script):
    session = Session(machine(engine))
    script(session)
    session.note_events()
    session.machine.end()
    return session.steps


def compare(script, qemu, lodge):
    """What is different without being in a table; and which rows of BEHAVIOUR were met."""
    strange, met = [], set()
    for theirs, ours in zip(qemu, lodge, strict=True):
        what = f"{script}: {theirs[0]}"
        assert theirs[0] == ours[0]
        if theirs[1:] == ours[1:]:
            continue
        if what in BEHAVIOUR:
            met.add(what)
            continue
        errors = [step[1].get("error") for step in (theirs, ours)]
        if theirs[2] == ours[2] and all(errors) and errors[0]["class"] == errors[1]["class"]:
            if errors[1]["desc"].split("; ")[0] in WORDS:
                continue
        strange.append((what, theirs[1:], ours[1:]))
    return strange, met


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_a_session_is_qemus(machine, script):
    name = script.__name__
    strange, met = compare(name, run(machine, "qemu", script), run(machine, "lodge", script))
    assert not strange, "\n".join(json.dumps(row) for row in strange)
    assert met == {row for row in BEHAVIOUR if row.startswith(f"{name}: ")}
