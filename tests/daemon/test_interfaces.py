"""Interfaces of guests on the host: taps, bridges, macvtap, and the addresses behind them (30 s).

Each daemon has a network of its own: lodged runs in a network namespace with a bridge.
SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import subprocess

import pytest

from guestxml import QEMU, guest_xml
from lodged import Lodged
from patience import PATIENCE

ENGINES = pytest.mark.parametrize("emulator", [None, QEMU], ids=["lodge-vmm", "qemu"])
MAC = "52:54:00:0a:0b:0c"


class Network:
    """A network namespace with the bridge br7 (192.0.2.1/24, fd07::1/64)."""

    def __init__(self):
        self.holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec cat"], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE)
        self.holder.stdout.readline()  # it is there
        self.enter = ("nsenter", f"--net=/proc/{self.holder.pid}/ns/net")
        for words in ("link add br7 type bridge", "link set br7 up", "addr add 192.0.2.1/24 dev br7",
                      "addr add fd07::1/64 dev br7 nodad"):
            self.ip(*words.split())

    def ip(self, *words, check=True):
        return subprocess.run([*self.enter, "ip", *words], check=check, capture_output=True, text=True)

    def links(self):
        return {line.split(":")[1].strip().split("@")[0] for line in self.ip("-o", "link").stdout.splitlines()}

    def stop(self):
        self.holder.stdin.close()
        self.holder.wait(10 * PATIENCE)


@pytest.fixture(scope="module")
def network():
    if os.geteuid() or subprocess.run(["unshare", "--net", "ip", "link", "add", "try0", "type", "bridge"],
                                      capture_output=True, check=False).returncode:
        pytest.skip("needs root and bridges in a network namespace")
    made = Network()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    path = tmp_path_factory.mktemp("lodged")
    (path / "leases").write_text(f"0 {MAC} 192.0.2.9 guest *\nduid 00:01:00:01:2a:2b:2c:2d:52:54:00:00:00:01\n"
                                 f"0 1122867 fd07::9 guest 00:03:00:01:{MAC}\n1 {MAC} 192.0.2.10 old *\n")
    (path / "lodged.conf").write_text(f'lease_files = ["{path}/lease*"]\n')
    return str(path)


def start(root, network):
    return Lodged(root, "--config", f"{root}/lodged.conf", prefix=network.enter)


@pytest.fixture(scope="module")
def daemon(root, network):
    lodged = start(root, network)
    yield lodged
    lodged.stop()


def run(daemon, name, boot, emulator, interface):
    path = os.path.join(daemon.root, f"{name}.xml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(guest_xml(name, boot, emulator, interface))
    return daemon.virsh("create", path, "--paused", check=False)


def bridged(mac=MAC, extra=""):
    return (f"<interface type='bridge'><mac address='{mac}'/><source bridge='br7'/><model type='virtio'/>{extra}"
            "</interface>")


@ENGINES
def test_a_bridged_guest_has_a_tap_that_goes_with_it(daemon, network, boot, emulator):
    before = network.links()
    done = run(daemon, "tap", boot, emulator, bridged(extra="<mtu size='1400'/><port isolated='yes'/>"))
    assert done.returncode == 0, done.stderr
    tap, = network.links() - before
    assert tap.startswith("vnet")
    shown = network.ip("-d", "link", "show", tap).stdout
    assert "master br7" in shown and "mtu 1400" in shown and "isolated on" in shown
    assert tap in daemon.virsh("domiflist", "tap").stdout
    daemon.virsh("destroy", "tap")
    assert network.links() == before


@ENGINES
def test_addresses_are_those_of_leases_and_neighbours(daemon, network, boot, emulator):
    done = run(daemon, "here", boot, emulator, bridged() + bridged("52:54:00:0a:0b:0d"))
    assert done.returncode == 0, done.stderr
    # Only then: a bridge that gets another port, and so another MAC, forgets its neighbours.
    network.ip("neigh", "replace", "192.0.2.77", "lladdr", MAC, "dev", "br7", "nud", "permanent")
    network.ip("neigh", "replace", "fd07::77", "lladdr", MAC, "dev", "br7", "nud", "permanent")
    try:
        lease = daemon.virsh("domifaddr", "here").stdout
        assert "192.0.2.9/24" in lease and "fd07::9/64" in lease and MAC in lease
        assert "192.0.2.10" not in lease  # it has ended
        assert "52:54:00:0a:0b:0d" not in lease
        arp = daemon.virsh("domifaddr", "here", "--source", "arp").stdout
        assert "192.0.2.77" in arp and "fd07::77" in arp and "192.0.2.9/" not in arp
    finally:
        daemon.virsh("destroy", "here")


def test_taps_of_guests_that_end_without_a_daemon_are_gone(tmp_path, network, root, boot):
    (tmp_path / "lodged.conf").write_text("")
    before = network.links()
    lodged = start(str(tmp_path), network)
    name = f"left-{os.getpid()}"
    assert run(lodged, name, boot, None, bridged()).returncode == 0
    pids = [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and is_guest(pid, name)]
    assert len(pids) == 1 and len(network.links()) == len(before) + 1
    lodged.process.kill()
    lodged.process.wait()
    os.kill(pids[0], 9)
    lodged = start(str(tmp_path), network)
    try:
        assert name not in lodged.virsh("list", "--name").stdout
        assert network.links() == before
    finally:
        lodged.stop()


def is_guest(pid, name):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().decode(errors="replace").split("\0")
    except OSError:
        return False
    return "-name" in words and words[words.index("-name") + 1] == name


@ENGINES
@pytest.mark.parametrize("mode", ["bridge", "vepa", "private", "passthrough"])
def test_macvtap_is_made_or_the_missing_driver_named(daemon, network, boot, emulator, mode):
    interface = (f"<interface type='direct'><mac address='{MAC}'/><source dev='up7' mode='{mode}'/>"
                 "<model type='virtio'/></interface>")
    network.ip("tuntap", "add", "up7", "mode", "tap", check=False)
    before = network.links()
    has_driver = network.ip("link", "add", "link", "up7", "name", "try7", "type", "macvtap", check=False).returncode == 0
    network.ip("link", "del", "try7", check=False)
    done = run(daemon, "direct", boot, emulator, interface)
    if not has_driver:
        assert "the host's kernel has no macvtap" in done.stderr
    else:
        link, = network.links() - before
        assert f"mode {mode.replace('through', 'thru')}" in network.ip("-d", "link", "show", link).stdout
        daemon.virsh("destroy", "direct")
    assert network.links() == before
