"""The node "throttle": what waits at one request a second must hold up nobody but its client.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import socket
import struct
import subprocess
import threading

import pytest

from patience import PATIENCE

REQUESTS = 300  # five minutes at one a second
LENGTH = 512


class Client:
    """An NBD client with many requests on their way, of which the first is through when this returns."""

    def __init__(self, m, data=None):
        self.data = data
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60 * PATIENCE)
        self.socket.connect(m.path("nbd"))
        self.stream = self.socket.makefile("rb")
        self.stream.read(18)  # the greeting; then: no padding, the export "th"
        self.socket.sendall(struct.pack(">I8sII2s", 3, b"IHAVEOPT", 1, 2, b"th"))
        self.stream.read(10)
        requests = [struct.pack(">IHHQQI", 0x25609513, 0, data is not None, number, number * LENGTH, LENGTH) +
                    (data or b"") * LENGTH for number in range(REQUESTS)]
        self.sender = threading.Thread(target=self.send, args=(b"".join(requests),))
        self.sender.start()
        self.take()

    def send(self, text):
        """All that the server takes."""
        try:
            self.socket.sendall(text)
        except OSError:
            pass  # it has gone

    def take(self):
        """One answer; False: the server has gone."""
        head = self.stream.read(16)
        if not head:
            return False
        assert struct.unpack(">II", head[:8]) == (0x67446698, 0)
        return self.data is not None or len(self.stream.read(LENGTH)) == LENGTH

    def end(self):
        """How many answers came until the end."""
        count = 1
        while count < REQUESTS and self.take():
            count += 1
        self.sender.join()
        self.socket.close()
        return count


@pytest.fixture
def throttled(machine):
    """A machine that exports a node "th" above a file at one operation a second."""
    def start(*options):
        m = machine("lodge", *options)
        m.write("two.qcow2", 0, 4, 2)
        assert m.say("object-add", {"qom-type": "throttle-group", "id": "g", "limits": {"iops-total": 1}}) == {}
        assert m.say("blockdev-add", {"driver": "throttle", "node-name": "th", "throttle-group": "g", "file": {
            "driver": "qcow2", "node-name": "n", "file": {"driver": "file", "filename": m.path("two.qcow2")}}}) == {}
        m.say("nbd-server-start", {"addr": {"type": "unix", "data": {"path": m.path("nbd")}}})
        m.say("block-export-add", {"type": "nbd", "id": "e", "node-name": "th", "writable": True})
        return m
    return start


def test_requests_go_when_limits_are_taken_away(throttled):
    m = throttled()
    client = Client(m)
    m.say("qom-set", path="/objects/g", property="limits", value={"iops-total": 0})
    assert client.end() == REQUESTS


def test_writes_are_whole_after_the_limits_went(throttled):
    m = throttled()
    client = Client(m, b"\7")
    m.say("qom-set", path="/objects/g", property="limits", value={"iops-total": 0})
    assert client.end() == REQUESTS
    m.end()
    done = subprocess.run(["qemu-io", "-f", "qcow2", "-c", f"read -P 7 0 {REQUESTS * LENGTH}", m.path("two.qcow2")],
                          capture_output=True, text=True, check=True)
    assert "verification failed" not in done.stdout


@pytest.mark.parametrize("name, arguments", [
    ("nbd-server-stop", {}),
    ("block-export-del", {"id": "e", "mode": "hard"}),
    ("query-named-block-nodes", {}),
    ("query-block", {}),
    ("block_resize", {"node-name": "n", "size": 16 << 20}),
    ("block-dirty-bitmap-add", {"node": "n", "name": "b"}),
    ("blockdev-reopen", {"options": [{"driver": "throttle", "node-name": "th", "file": "n", "throttle-group": "h"}]}),
    ("quit", {}),
])
def test_the_monitor_does_not_wait_for_the_limits(throttled, name, arguments):
    m = throttled()
    m.say("object-add", {"qom-type": "throttle-group", "id": "h"})
    client = Client(m)
    assert "desc" not in m.say(name, arguments)
    if name != "quit":
        assert m.say("query-status")["status"] == "prelaunch"
        m.end()
    m.vm.wait()
    client.sender.join()
    client.socket.close()


def test_a_group_in_use_stays(throttled):
    m = throttled("-object", "throttle-group,id=own,x-iops-total=5", "-object",
                  '{"qom-type":"throttle-group","id":"json","limits":{"bps-read":1048576}}')
    assert "in use" in m.say("object-del", id="g")["desc"]
    for name, limit, value in (("own", "iops-total", 5), ("json", "bps-read", 1 << 20)):
        assert m.say("qom-get", path=f"/objects/{name}", property="limits")[limit] == value
        assert m.say("object-del", id=name) == {}
    m.say("nbd-server-stop")
    m.say("blockdev-del", node_name="th")
    assert m.say("object-del", id="g") == {}


def test_a_disk_and_a_node_share_a_group(throttled):
    m = throttled()
    limits = {"bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": 5, "iops_rd": 0, "iops_wr": 0, "group": "g"}
    assert m.say("block_set_io_throttle", {"id": "virtio-disk0", **limits}) == {}
    assert m.disk()["group"] == "g"
    assert m.say("qom-get", path="/objects/g", property="limits")["iops-total"] == 5
