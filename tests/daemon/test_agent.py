"""Procedures that the guest agent carries out, against an agent played by this test on the channel's socket.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import base64
import json
import os
import threading
import time

import libvirt
import libvirt_qemu
import pytest

from conftest import BUILD
from guestagent import Agent
from guestxml import AGENT, QEMU, boot_files, guest_xml
from libvirt_client import code_of

AGENT_COMMAND_FAILED = 113  # libvirt 11's; this machine's module does not name it


@pytest.fixture(scope="module", params=[None, QEMU], ids=["lodge-vmm", "qemu"])
def guest(request, lodged):
    """(domain, agent)"""
    name = "agent-" + ("q" if request.param else "l")
    path = os.path.join(lodged.root, name + ".sock")
    agent = Agent(path)
    channel = f"<channel type='unix'><source mode='connect' path='{path}'/><target type='virtio' name='{AGENT}'/></channel>"
    connection = libvirt.open(lodged.uri)
    domain = connection.createXML(guest_xml(name, boot_files(BUILD), request.param, channel))
    yield domain, agent
    domain.destroy()
    connection.close()
    agent.server.close()


def test_any_command(guest, lodged):
    domain, agent = guest
    agent.answers = {"guest-ping": {}}
    assert json.loads(libvirt_qemu.qemuAgentCommand(domain, '{"execute":"guest-ping"}', 10, 0)) == {"return": {}}
    assert '"return"' in lodged.virsh("qemu-agent-command", domain.name(), '{"execute":"guest-ping"}').stdout
    assert "CommandNotFound" in libvirt_qemu.qemuAgentCommand(domain, '{"execute":"guest-nothing"}', 10, 0)
    assert code_of(libvirt_qemu.qemuAgentCommand, domain, "no json", 10, 0) == libvirt.VIR_ERR_INTERNAL_ERROR


def test_what_the_guest_tells(guest, lodged):
    domain, agent = guest
    agent.answers = {
        "guest-get-host-name": {"host-name": "inside"},
        "guest-get-time": 1700000000123456789,
        "guest-get-users": [{"user": "root", "login-time": 1.5}],
        "guest-get-osinfo": {"id": "debian", "pretty-name": "Debian"},
        "guest-get-timezone": {"zone": "CET", "offset": 3600},
        "guest-get-fsinfo": [{"name": "vda1", "mountpoint": "/", "type": "ext4", "total-bytes": 10, "used-bytes": 5,
                              "disk": [{"pci-controller": {"domain": 9, "bus": 0, "slot": 0, "function": 0}, "dev": "/dev/vda1"}]}],
        "guest-network-get-interfaces": [{"name": "eth0", "hardware-address": "52:54:00:00:00:01", "ip-addresses": [
            {"ip-address": "10.0.2.15", "ip-address-type": "ipv4", "prefix": 24},
            {"ip-address": "fe80::1", "ip-address-type": "ipv6", "prefix": 64}]}],
        "guest-get-vcpus": [{"logical-id": 0, "online": True, "can-offline": False},
                            {"logical-id": 1, "online": True, "can-offline": True}],
        "guest-set-vcpus": 1,
    }
    assert domain.hostname(libvirt.VIR_DOMAIN_GET_HOSTNAME_AGENT) == "inside"
    assert domain.getTime() == {"seconds": 1700000000, "nseconds": 123456789}
    assert domain.fsInfo() == [("/", "vda1", "ext4", [])]
    info = domain.guestInfo()
    assert info["os.id"] == "debian" and info["user.0.login-time"] == 1500 and info["timezone.offset"] == 3600
    assert info["fs.0.disk.0.device"] == "/dev/vda1" and info["if.0.addr.1.addr"] == "fe80::1"
    assert code_of(domain.guestInfo, libvirt.VIR_DOMAIN_GUEST_INFO_DISKS) == AGENT_COMMAND_FAILED
    addresses = domain.interfaceAddresses(libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT)
    assert addresses["eth0"]["addrs"][0] == {"addr": "10.0.2.15", "prefix": 24, "type": 0}
    assert "10.0.2.15/24" in lodged.virsh("domifaddr", domain.name(), "--source", "agent").stdout
    assert domain.guestVcpus() == {"vcpus": "0-1", "online": "0-1", "offlinable": "1"}
    assert domain.vcpusFlags(libvirt.VIR_DOMAIN_VCPU_GUEST) == 2
    domain.setVcpusFlags(1, libvirt.VIR_DOMAIN_VCPU_GUEST)
    assert agent.calls[-1] == ("guest-set-vcpus", {"vcpus": [{"logical-id": 1, "online": False}]})
    lodged.virsh("domfsinfo", domain.name())
    lodged.virsh("guestinfo", domain.name())


def test_what_the_guest_is_told(guest, lodged):
    domain, agent = guest
    agent.answers = {"guest-set-user-password": {}, "guest-fsfreeze-freeze": 2, "guest-fsfreeze-freeze-list": 1,
                     "guest-fsfreeze-thaw": 2, "guest-fstrim": {}, "guest-set-time": {}, "guest-suspend-ram": None,
                     "guest-ssh-get-authorized-keys": {"keys": ["ssh-rsa x"]}, "guest-ssh-add-authorized-keys": {}}
    domain.setUserPassword("root", "secret")
    assert agent.calls[-1][1] == {"username": "root", "password": base64.b64encode(b"secret").decode(), "crypted": False}
    assert domain.fsFreeze() == 2 and domain.fsFreeze(["/"]) == 1 and domain.fsThaw() == 2
    domain.fSTrim(None, 4096)
    assert agent.calls[-1] == ("guest-fstrim", {"minimum": 4096})
    domain.setTime({"seconds": 1, "nseconds": 2})
    assert agent.calls[-1] == ("guest-set-time", {"time": 1000000002})
    domain.setTime({"seconds": 0}, libvirt.VIR_DOMAIN_TIME_SYNC)
    assert agent.calls[-1] == ("guest-set-time", {})
    domain.pMSuspendForDuration(libvirt.VIR_NODE_SUSPEND_TARGET_MEM, 0)
    assert domain.authorizedSSHKeysGet("root") == ["ssh-rsa x"]
    domain.authorizedSSHKeysSet("root", ["ssh-rsa y"])
    assert agent.calls[-1] == ("guest-ssh-add-authorized-keys", {"username": "root", "keys": ["ssh-rsa y"], "reset": True})
    assert code_of(domain.fsThaw, ["/"]) == libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED
    assert code_of(domain.fSTrim, "/", 0) == libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED


def test_shutdown_and_reboot_by_the_agent(guest):
    domain, agent = guest
    agent.answers = {"guest-shutdown": None}
    domain.reboot(libvirt.VIR_DOMAIN_REBOOT_GUEST_AGENT)
    assert agent.calls[-1] == ("guest-shutdown", {"mode": "reboot"})
    domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_GUEST_AGENT)
    assert agent.calls[-1] == ("guest-shutdown", {"mode": "powerdown"})
    agent.answers = {}
    assert code_of(domain.shutdownFlags, libvirt.VIR_DOMAIN_SHUTDOWN_GUEST_AGENT) == AGENT_COMMAND_FAILED


def test_a_silent_agent_is_in_nobodys_way(guest, lodged):
    domain, agent = guest
    agent.silent = True
    # A connection of its own: libvirt's client lets a second thread wait for the first one's answer.
    connection = libvirt.open(lodged.uri)
    beside = connection.lookupByName(domain.name())
    results = []
    waiting = threading.Thread(target=lambda: results.append(code_of(domain.hostname, libvirt.VIR_DOMAIN_GET_HOSTNAME_AGENT)))
    waiting.start()
    calls = 0
    while waiting.is_alive():  # jobs and questions go on beside it
        beside.setMetadata(libvirt.VIR_DOMAIN_METADATA_TITLE, str(calls), None, None, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        beside.state()
        calls += 1
        time.sleep(0.05)
    agent.silent = False
    connection.close()
    assert results == [libvirt.VIR_ERR_AGENT_UNRESPONSIVE] and calls > 3


def test_a_guest_without_agent(lodged):
    connection = libvirt.open(lodged.uri)
    domain = connection.createXML(guest_xml("mute", boot_files(BUILD)), libvirt.VIR_DOMAIN_START_PAUSED)
    assert code_of(domain.hostname, libvirt.VIR_DOMAIN_GET_HOSTNAME_AGENT) == libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED
    assert code_of(domain.shutdownFlags, libvirt.VIR_DOMAIN_SHUTDOWN_GUEST_AGENT) == libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED
    domain.destroy()
    channel = f"<channel type='unix'><target type='virtio' name='{AGENT}'/></channel>"
    domain = connection.createXML(guest_xml("mute", boot_files(BUILD), None, channel))
    assert code_of(domain.hostname, libvirt.VIR_DOMAIN_GET_HOSTNAME_AGENT) == libvirt.VIR_ERR_AGENT_UNRESPONSIVE
    domain.destroy()
    connection.close()
