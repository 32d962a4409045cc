"""A daemon that is told to end leaves within moments, whatever its guests do; they stay, and the next one finds them.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import signal
import tempfile
import time

import pytest
import rpc
from test_crash import guest_xml

from lodged import Lodged
from patience import PATIENCE

LEAVES = 4  # seconds; what guests are waited for is 10 s and more
AGENT = ("<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
         "<controller type='virtio-serial'/>")
DISK = "<disk type='file'><source file='{}'/><target dev='vda' bus='virtio'/></disk>"
COMMAND = '{"execute":"guest-ping"}'

CALLS = {
    "a command of the monitor": ("DOMAIN_SUSPEND", "remote", {}, True),
    "statistics": ("CONNECT_GET_ALL_DOMAIN_STATS", "remote", {"stats": 0}, True),
    "a guest that does not power off": ("DOMAIN_DESTROY_FLAGS", "remote", {"flags": 1}, True),
    "a guest that keeps a device": ("DOMAIN_DETACH_DEVICE_FLAGS", "remote", {"flags": 1}, False),
    "the guest's agent": ("DOMAIN_AGENT_COMMAND", "qemu", {"cmd": COMMAND, "timeout": -2, "flags": 0}, False),
}


@pytest.fixture
def daemon():
    """A short path: names of sockets hold 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="lodge-") as folder:
        running = Lodged(folder)
        yield running
        if running.process.poll() is None:
            running.stop()


def pid_of(daemon, name):
    folder = os.path.join(daemon.root, "run", "qemu")
    with open(os.path.join(folder, name + ".xml"), encoding="utf-8") as status:
        return int(status.read().split(" pid='")[1].split("'")[0])


def end(daemon):
    """How long it takes."""
    begun = time.monotonic()
    daemon.stop()
    return time.monotonic() - begun


def check_found_again(root, name):
    later = Lodged(root)
    try:
        client = later.client().open("qemu:///session")
        dom = client.call("DOMAIN_LOOKUP_BY_NAME", name=name)["dom"]
        assert dom["id"] > 0
        client.call("DOMAIN_DESTROY", dom=dom)
        client.close()
    finally:
        later.stop()


@pytest.mark.parametrize("waits_for", CALLS)
def test_a_call_that_waits_for_a_guest_keeps_no_daemon(daemon, tmp_path, waits_for):
    name, program, values, is_stopped = CALLS[waits_for]
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(1 << 20))
    devices = AGENT if "agent" in waits_for else DISK.format(disk)
    client = daemon.client().open("qemu:///session")
    xml = guest_xml("deaf").replace("</devices>", devices + "</devices>")
    dom = client.call("DOMAIN_CREATE_XML", xml_desc=xml)["dom"]
    pid = pid_of(daemon, "deaf")
    if "DETACH" in name:
        values = {**values, "xml": devices}
    if name.startswith("DOMAIN"):
        values = {**values, "dom": dom}
    if is_stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        client.start(name, program, **values)
        time.sleep(0.5)
        assert end(daemon) < LEAVES * PATIENCE
        assert os.path.exists(f"/proc/{pid}")
    finally:
        os.kill(pid, signal.SIGCONT)
    if "DESTROY" not in name:  # that one has been told to end
        check_found_again(daemon.root, "deaf")


def test_a_guest_that_does_not_answer_its_new_daemon_keeps_it_neither(daemon):
    client = daemon.client().open("qemu:///session")
    client.call("DOMAIN_CREATE_XML", xml_desc=guest_xml("deaf"))
    client.close()
    pid = pid_of(daemon, "deaf")
    os.kill(pid, signal.SIGSTOP)
    try:
        daemon.stop()
        later = Lodged(daemon.root)
        client = later.client().open("qemu:///session")  # and what waits for it to be found
        dom = client.call("DOMAIN_LOOKUP_BY_NAME", name="deaf")["dom"]
        for _ in range(3):
            client.start("DOMAIN_SUSPEND", dom=dom)
        assert end(later) < LEAVES * PATIENCE
    finally:
        os.kill(pid, signal.SIGCONT)
    check_found_again(daemon.root, "deaf")


def test_what_ends_within_a_moment_ends_well(daemon):
    """A start under way is not cut off."""
    client = daemon.client().open("qemu:///session")
    dom = client.call("DOMAIN_DEFINE_XML", xml=guest_xml("fast"))["dom"]
    client.start("DOMAIN_CREATE", dom=dom)
    time.sleep(0.02)
    daemon.stop()
    later = Lodged(daemon.root)
    try:
        client = later.client().open("qemu:///session")
        try:
            client.call("DOMAIN_DESTROY", dom=dom)
        except rpc.RpcError as error:
            assert error.code == 55  # the daemon ended before it began
        client.call("DOMAIN_UNDEFINE", dom=dom)
        client.close()
    finally:
        later.stop()
