"""A guest's process that was taken over answers its monitor with anything: the daemon carries on.

Every procedure for guests is called while hostile-engine.py makes up events and answers. The quick
run does 600 calls (10 s; 20 s for all the points at which a monitor may end), the slow one 20,000; $LODGE_SEED chooses them.
SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import random
import tempfile
import time
import uuid

import pytest
import rpc
from test_crash import guest_xml

from lodged import Lodged
from patience import PATIENCE

ENGINE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "hostile-engine.py")
ENDING = ENGINE.replace("hostile-", "ending-")
CLOSING = ENGINE.replace("hostile-", "closing-")
# What waits for a guest that never answers in the end, or would only end the fun.
LEFT_OUT = ("DESTROY", "UNDEFINE", "DETACH", "MIGRATE", "OPEN_", "CREATE", "RENAME", "SCREENSHOT", "SHUTDOWN", "REBOOT",
            "DEVICE_ALIAS", "AGENT", "PM_", "_FS", "GUEST_INFO", "TIME", "ABORT")
TEXTS = ["", "x", "vda", "serial0", "net0", "charserial0", "drive", "52:54:00:11:22:33", "<disk/>", '{"execute":"query-status"}']
NUMBERS = [0, 0, 0, 1, 2, 3, 4, 8, 255, 1024, 0x7fffffff]
DEVICES = """<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{disk}'/><target dev='vda' bus='virtio'/></disk>
<interface type='user'><mac address='52:54:00:11:22:33'/><model type='virtio'/></interface><memballoon model='virtio'/></devices>"""


def procedures():
    return [p for p in rpc.Protocol().procedures
            if p.program in ("remote", "qemu") and "dom:D" in p.args and not set("ERWc") & set(p.flags)
            and not any(word in p.name for word in LEFT_OUT)]


def random_values(client, procedure, rng):
    values = {}
    for name, kind, suffix in client.protocol.members(procedure.args):
        if kind in rpc.SIMPLE and not suffix:
            values[name] = rng.choice(NUMBERS) if kind not in ("uc", "c") else 1
        elif kind == "s" and (not suffix or suffix == "?"):
            values[name] = rng.choice(TEXTS)
    return values


def start(client, dom):
    try:
        client.call("DOMAIN_CREATE", dom=dom)
    except rpc.RpcError:
        pass  # it said something that no guest says


def state_of(client, dom):
    return client.call("DOMAIN_GET_STATE", dom=dom, flags=0)["state"]


def destroy(client, dom):
    """It may have ended by itself, just before too."""
    try:
        client.call("DOMAIN_DESTROY", dom=dom)
    except rpc.RpcError as error:
        assert error.code == 55, error


def run_calls(daemon, folder, count):
    rng = random.Random(int(os.environ.get("LODGE_SEED", "1")))
    disk = folder / "disk.img"
    disk.write_bytes(bytes(1 << 20))
    xml = guest_xml("taken", ENGINE).replace("</devices>", DEVICES.format(disk=disk))
    client = daemon.client().open("qemu:///session")
    dom = client.call("DOMAIN_DEFINE_XML", xml=xml)["dom"]
    xml = xml.replace("<memory", f"<uuid>{uuid.UUID(bytes=bytes(dom['uuid']))}</uuid><memory", 1)
    good = client.call("DOMAIN_CREATE_XML", xml_desc=guest_xml("good"))["dom"]
    all_of_them, answered, starts = procedures(), 0, 0
    assert len(all_of_them) > 80
    rss = None
    for i in range(count):
        if i % 100 == 0:
            destroy(client, dom)
            client.call("DOMAIN_DEFINE_XML", xml=xml)  # calls have changed what is defined
        if i % 20 == 0 and state_of(client, dom) == 5:
            for _ in range(5):
                if state_of(client, dom) == 5:
                    start(client, dom)
            starts += state_of(client, dom) != 5
            rss = rss or daemon.rss_kib()
        procedure = rng.choice(all_of_them)
        try:
            client.call(procedure.name, procedure.program, dom=dom, **random_values(client, procedure, rng))
            answered += 1
        except rpc.RpcError:
            pass
        if i % 50 == 0:
            client.call("CONNECT_GET_ALL_DOMAIN_STATS")
            assert state_of(client, good) == 1
    assert starts and answered > count // 20, (starts, answered)
    assert daemon.is_sanitized() or daemon.rss_kib() - rss < 32 << 10
    for each in (dom, good):
        destroy(client, each)
    print(f"{count} calls, {answered} answered with a result, {starts} starts")
    client.call("DOMAIN_UNDEFINE", dom=dom)
    client.close()


@pytest.fixture
def daemon():
    """A short path: names of sockets hold 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="lodge-") as folder:
        running = Lodged(folder)
        yield running
        running.stop()


def test_no_answer_of_a_monitor_harms_the_daemon(daemon, tmp_path):
    run_calls(daemon, tmp_path, 600)


@pytest.mark.slow
def test_no_answer_of_a_monitor_harms_the_daemon_in_the_long_run(daemon, tmp_path):
    run_calls(daemon, tmp_path, 20000)


def test_a_guest_that_ends_while_a_device_comes_takes_nothing_along(daemon, tmp_path):
    """Where the sockets of a guest are, and its user, is used by the call until it has ended."""
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(1 << 20))
    device = f"<disk type='file'><source file='{disk}'/><target dev='vda' bus='virtio'/></disk>"
    client = daemon.client().open("qemu:///session")
    dom = client.call("DOMAIN_DEFINE_XML", xml=guest_xml("ends", ENDING))["dom"]
    for _ in range(30):
        client.call("DOMAIN_CREATE", dom=dom)
        with pytest.raises(rpc.RpcError):
            client.call("DOMAIN_ATTACH_DEVICE_FLAGS", dom=dom, xml=device, flags=1)
        destroy(client, dom)
    assert not [name for name in os.listdir(os.path.join(daemon.root, "run", "qemu")) if "ends" in name]
    client.close()


def points():
    """How a monitor ends, after what, and whether its process ends with it."""
    for how in "shut", "half", "junk", "long", "flood":
        for number in range(0, 16, 1 if how in ("shut", "half") else 5):
            yield f"{how}-{number}"
            yield f"{how}-{number}-exits"


def test_a_monitor_may_end_at_any_point(daemon):
    """Between the start's commands and after them: the call says why, the guest ends when told to, and nothing stays."""
    client = daemon.client().open("qemu:///session")
    good = client.call("DOMAIN_CREATE_XML", xml_desc=guest_xml("good"))["dom"]
    before = rss = None
    started = 0
    for name in points():
        dom = client.call("DOMAIN_DEFINE_XML", xml=guest_xml(name, CLOSING))["dom"]
        start(client, dom)
        started += state_of(client, dom) != 5
        for _ in range(8):  # commands on which the rest of the numbers end
            try:
                client.call("DOMAIN_MEMORY_STATS", dom=dom, max_stats=16, flags=0)
            except rpc.RpcError:
                pass
        client.call("CONNECT_GET_ALL_DOMAIN_STATS")
        destroy(client, dom)
        client.call("DOMAIN_UNDEFINE", dom=dom)
        assert state_of(client, good) == 1
        assert not [left for left in os.listdir(os.path.join(daemon.root, "run", "qemu")) if name in left]
        before, rss = before or daemon.count_fds(), rss or daemon.rss_kib()
    assert started > 5, started
    assert daemon.count_fds() <= before + 2
    assert daemon.is_sanitized() or daemon.rss_kib() - rss < 24 << 10, (rss, daemon.rss_kib())
    destroy(client, good)
    client.close()


def test_a_guest_that_never_answers_holds_up_no_other_guest_s_events(daemon):
    """What its events bring about waits for it, one after the other."""
    client = daemon.client().open("qemu:///session")
    silent = client.call("DOMAIN_DEFINE_XML", xml=guest_xml("deaf-7", CLOSING))["dom"]
    card = "<interface type='user'><mac address='52:54:00:11:22:44'/><model type='virtio'/><alias name='ua-card'/></interface>"
    port = "<controller type='pci' model='pcie-root'/><controller type='pci' model='pcie-root-port'/>"
    xml = guest_xml("good").replace("</devices>", f"{port}{card}</devices>")
    good = client.call("DOMAIN_CREATE_XML", xml_desc=xml, flags=1)["dom"]
    start(client, silent)
    assert state_of(client, silent) == 1
    asking = daemon.client().open("qemu:///session")
    for _ in range(8):
        asking.start("DOMAIN_MEMORY_STATS", dom=silent, max_stats=16, flags=0)
    client.call("DOMAIN_DETACH_DEVICE_ALIAS", dom=good, alias="ua-card", flags=1)
    client.call("DOMAIN_RESET", dom=good)
    deadline = time.monotonic() + 25 * PATIENCE
    while "ua-card" in client.call("DOMAIN_GET_XML_DESC", dom=good)["xml"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for dom in silent, good:
        destroy(client, dom)
    client.call("DOMAIN_UNDEFINE", dom=silent)
    asking.close()
    client.close()


def test_what_waits_for_a_guest_that_never_answers_is_small(daemon):
    client = daemon.client().open("qemu:///session")
    dom = client.call("DOMAIN_DEFINE_XML", xml=guest_xml("wordy-7", CLOSING))["dom"]
    client.call("DOMAIN_CREATE_WITH_FLAGS", dom=dom, flags=1)
    asking = daemon.client().open("qemu:///session")
    rss = daemon.rss_kib()
    for _ in range(8):
        asking.start("DOMAIN_MEMORY_STATS", dom=dom, max_stats=16, flags=0)
    deadline = time.monotonic() + 60 * PATIENCE
    while state_of(client, dom) != 1:  # its last event
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert daemon.is_sanitized() or daemon.rss_kib() - rss < 48 << 10, (rss, daemon.rss_kib())
    destroy(client, dom)
    client.call("DOMAIN_UNDEFINE", dom=dom)
    asking.close()
    client.close()


def test_statistics_wait_for_a_guest_that_never_answers_once(daemon):
    """Not for each of the questions: 5 s, not 15."""
    client = daemon.client().open("qemu:///session")
    dom = client.call("DOMAIN_DEFINE_XML", xml=guest_xml("deaf-7", CLOSING))["dom"]
    start(client, dom)
    asking = daemon.client().open("qemu:///session")
    asking.start("DOMAIN_MEMORY_STATS", dom=dom, max_stats=16, flags=0)  # may be the last that it answers
    began = time.monotonic()
    client.call("CONNECT_GET_ALL_DOMAIN_STATS")
    assert time.monotonic() - began < 10 * PATIENCE
    destroy(client, dom)
    client.call("DOMAIN_UNDEFINE", dom=dom)
    asking.close()
    client.close()
