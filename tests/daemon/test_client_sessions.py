"""The usual session of each client that people use beside virsh and virt-install, under QEMU (40 s).

Programs run unmodified: virt-xml, virt-clone, virt-install's other ways, Pacemaker's VirtualDomain agent. Those that need a screen
or are in no Debian package (virt-viewer, virt-top, Ansible's community.libvirt) are there as the calls that they make.
SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import shutil
import socket
import subprocess
import xml.etree.ElementTree as ET

import libvirt
import pytest

from conftest import BUILD
from patience import PATIENCE

QEMU = "/usr/bin/qemu-system-x86_64"
KERNEL = os.path.join(BUILD, "tests", "guest", "first-instruction.elf")
AGENT = "/usr/lib/ocf/resource.d/heartbeat/VirtualDomain"
SCREEN = "<graphics type='vnc' port='-1' autoport='yes'/><video><model type='vga'/></video>"


def guest_xml(name, devices=""):
    """A guest that halts at once and stays."""
    return f"""<domain type='qemu'>
<name>{name}</name>
<memory unit='MiB'>64</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type><kernel>{KERNEL}</kernel></os><features><acpi/></features>
<devices><emulator>{QEMU}</emulator><serial type='pty'/>{devices}</devices></domain>"""


def run(program, *words, check=True, **more):
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    done = subprocess.run([program, *words], capture_output=True, text=True, timeout=120 * PATIENCE, check=False, **more)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture
def connection(lodged):
    libvirt.registerErrorHandler(lambda *_: None, None)
    connection = libvirt.open(lodged.uri)
    yield connection
    for domain in connection.listAllDomains():
        if domain.isActive():
            domain.destroy()
    for domain in connection.listAllDomains():
        domain.undefine()
    connection.close()


@pytest.fixture
def disk(tmp_path):
    path = str(tmp_path / "disk.qcow2")
    subprocess.run([os.path.join(BUILD, "bin", "lodge-img"), "create", "-q", "-f", "qcow2", path, "16M"], check=True)
    return path


def definition(domain, live=False):
    return ET.fromstring(domain.XMLDesc(0 if live else libvirt.VIR_DOMAIN_XML_INACTIVE))


def test_virt_xml_changes_a_definition(lodged, connection, disk):
    domain = connection.defineXML(guest_xml("edited"))

    def virt_xml(*words, **more):
        return run("virt-xml", "--connect", lodged.uri, "edited", *words, **more).stdout

    for words in (("--memory", "96"), ("--vcpus", "2"), ("--metadata", "title=A title")):
        virt_xml("--edit", *words)
    assert definition(domain).findtext("memory") == str(96 * 1024) and definition(domain).findtext("vcpu") == "2"
    assert definition(domain).findtext("title") == "A title"
    virt_xml("--add-device", "--disk", f"path={disk},target=vdb,bus=virtio")
    assert definition(domain).find("devices/disk/source").get("file") == disk
    virt_xml("--edit", "target=vdb", "--disk", "driver.cache=none,serial=abc")
    assert definition(domain).find("devices/disk/driver").get("cache") == "none"
    virt_xml("--add-device", "--network", "user,model=virtio")
    before = domain.XMLDesc()
    assert "+" in virt_xml("--edit", "--cpu", "qemu64", "--print-diff")
    assert "<model>qemu64</model>" in virt_xml("--edit", "--cpu", "qemu64", "--print-xml")
    assert "<rng" in virt_xml("--build-xml", "--rng", "/dev/urandom")
    assert domain.XMLDesc() == before
    virt_xml("--remove-device", "--disk", "target=vdb")
    virt_xml("--remove-device", "--network", "all")
    assert definition(domain).find("devices/disk") is None and definition(domain).find("devices/interface") is None
    done = run("virt-xml", "--connect", lodged.uri, "edited", "--remove-device", "--disk", "target=vdb", check=False)
    assert done.returncode != 0 and "No matching objects" in done.stderr


def test_virt_xml_plugs_a_running_guest(lodged, connection, disk):
    ports = "".join(f"<controller type='pci' index='{i}' model='pcie-root-port'/>" for i in range(1, 5))
    domain = connection.defineXML(guest_xml("plugged", "<controller type='pci' index='0' model='pcie-root'/>" + ports))
    domain.create()
    run("virt-xml", "--connect", lodged.uri, "plugged", "--update", "--add-device", "--disk", f"path={disk},bus=virtio")
    assert [definition(domain, live).find("devices/disk/source").get("file") for live in (True, False)] == [disk, disk]
    domain.destroy()


def test_virt_install_defines_what_boots_from_the_network(lodged, connection):
    run("virt-install", "--connect", lodged.uri, "--name", "pxe", "--memory", "64", "--pxe", "--disk", "none", "--network",
        "user,model=virtio", "--graphics", "none", "--noautoconsole", "--osinfo", "debian11", "--virt-type", "qemu")
    domain = connection.lookupByName("pxe")
    assert domain.isActive() and domain.isPersistent()
    # It installed by the network; later boots do as well, as there is no disk.
    assert definition(domain, live=True).find("os/boot").get("dev") == "network"


def test_virt_install_prints_each_step(lodged, connection, disk):
    words = ("--connect", lodged.uri, "--name", "steps", "--memory", "64", "--disk", f"path={disk}", "--network", "user",
             "--graphics", "none", "--osinfo", "debian11", "--virt-type", "qemu", "--pxe")
    first, second = (ET.fromstring(run("virt-install", *words, "--print-xml", step).stdout) for step in "12")
    assert first.find("os/boot").get("dev") == "network" and first.findtext("on_reboot") == "destroy"
    assert second.find("os/boot").get("dev") == "hd"
    assert run("virt-install", *words, "--print-xml", "3", check=False).returncode != 0
    run("virt-install", *words, "--dry-run", "--noautoconsole")
    assert not connection.listAllDomains()


def test_virt_clone_copies_a_definition(lodged, connection, disk, tmp_path):
    connection.defineXML(guest_xml("first", f"<disk type='file'><driver name='qemu' type='qcow2'/><source file='{disk}'/>"
                                   "<target dev='vda' bus='virtio'/></disk><interface type='user'/>"))
    copy = str(tmp_path / "copy.qcow2")
    shutil.copyfile(disk, copy)
    run("virt-clone", "--connect", lodged.uri, "--original", "first", "--name", "second", "--file", copy, "--preserve-data")
    first, second = (definition(connection.lookupByName(name)) for name in ("first", "second"))
    assert second.find("devices/disk/source").get("file") == copy
    assert first.findtext("uuid") != second.findtext("uuid")
    assert first.find("devices/interface/mac").get("address") != second.find("devices/interface/mac").get("address")


@pytest.mark.skipif(not os.path.exists(AGENT), reason="resource-agents is not installed")
def test_pacemakers_agent_starts_watches_and_stops(lodged, connection, tmp_path):
    config = tmp_path / "cluster.xml"
    config.write_text(guest_xml("cluster"))
    env = dict(os.environ, OCF_ROOT="/usr/lib/ocf", HA_RSCTMP=str(tmp_path), OCF_RESOURCE_INSTANCE="cluster", HA_LOGFACILITY="none",
               OCF_RESKEY_config=str(config), OCF_RESKEY_hypervisor=lodged.uri, OCF_RESKEY_force_stop="true",
               OCF_RESKEY_CRM_meta_timeout="60000", OCF_RESKEY_CRM_meta_interval="0", OCF_RESKEY_autoset_utilization_cpu="false",
               OCF_RESKEY_autoset_utilization_hv_memory="false", OCF_RESKEY_autoset_utilization_host_memory="false",
               OCF_RA_VERSION_MAJOR="1", OCF_RA_VERSION_MINOR="1")

    def act(action):
        return subprocess.run([AGENT, action], env=env, capture_output=True, text=True, timeout=120 * PATIENCE, check=False)

    running, stopped = 0, 7
    for action, code in (("validate-all", 0), ("monitor", stopped), ("start", 0), ("monitor", running), ("start", 0),
                         ("stop", 0), ("monitor", stopped), ("stop", 0)):
        done = act(action)
        assert done.returncode == code, (action, done.stdout, done.stderr)
    act("start")
    connection.lookupByName("cluster").destroy()  # as if it had crashed
    assert act("monitor").returncode == stopped
    act("stop")


def test_the_calls_of_virt_viewer(lodged, connection):
    """It waits for the guest, reads where the screen is, and takes it by descriptor; with a password nothing else is asked."""
    with pytest.raises(libvirt.libvirtError) as caught:
        connection.lookupByName("seen")
    assert caught.value.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN
    domain = connection.defineXML(guest_xml("seen", SCREEN))
    assert connection.lookupByUUIDString(domain.UUIDString()).name() == "seen"
    assert domain.info()[0] == libvirt.VIR_DOMAIN_SHUTOFF
    domain.create()
    graphics = definition(domain, live=True).find("devices/graphics")
    assert graphics.get("type") == "vnc" and int(graphics.get("port")) >= 5900
    assert graphics.find("listen").get("address") == "127.0.0.1"
    with socket.socket(fileno=domain.openGraphicsFD(0, libvirt.VIR_DOMAIN_OPEN_GRAPHICS_SKIPAUTH)) as screen:
        assert screen.recv(12).startswith(b"RFB 003.")
    with socket.create_connection(("127.0.0.1", int(graphics.get("port"))), timeout=20 * PATIENCE) as screen:
        assert screen.recv(12).startswith(b"RFB 003.")


def test_the_calls_of_virt_top(lodged, connection, disk):
    """Every few seconds: the host, then each running guest with its CPUs, disks and interfaces."""
    domain = connection.createXML(guest_xml("busy", f"<disk type='file'><driver name='qemu' type='qcow2'/><source file='{disk}'/>"
                                            "<target dev='vda' bus='virtio'/></disk>"))
    assert connection.getHostname() and connection.getInfo()[2] >= 1 and connection.getLibVersion()
    assert ET.fromstring(connection.getCapabilities()).find("host/cpu/arch") is not None
    for _ in range(2):
        assert [connection.lookupByID(number).name() for number in connection.listDomainsID()] == ["busy"]
        assert connection.numOfDefinedDomains() == 0 and connection.listDefinedDomains() == []
        state, _, memory, vcpus, cpu_time = domain.info()
        assert (state, memory, vcpus) == (libvirt.VIR_DOMAIN_RUNNING, 65536, 1) and cpu_time > 0
        assert len(domain.blockStats("vda")) == 5
        assert len(domain.vcpus()[0]) == 1 and domain.getCPUStats(True)[0]["cpu_time"] > 0
        records = connection.domainListGetStats([domain], libvirt.VIR_DOMAIN_STATS_VCPU | libvirt.VIR_DOMAIN_STATS_BLOCK)
        assert records[0][1]["block.0.name"] == "vda"


def test_the_calls_of_ansibles_virt_module(lodged, connection):
    """define, start, info, pause, unpause, autostart, shutdown, destroy, undefine, each looked up by name anew."""
    def find(name):
        for number in connection.listDomainsID():
            if connection.lookupByID(number).name() == name:
                return connection.lookupByID(number)
        return connection.lookupByName(name)

    with pytest.raises(libvirt.libvirtError) as caught:
        find("played")
    assert caught.value.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN
    connection.defineXML(guest_xml("played"))
    assert connection.listDefinedDomains() == ["played"]
    before = find("played").XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    connection.defineXML(before)
    assert find("played").XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE) == before, "a second play changes something"
    assert find("played").autostart() == 0
    find("played").setAutostart(1)
    assert find("played").autostart() == 1
    find("played").create()
    assert find("played").info()[0] == libvirt.VIR_DOMAIN_RUNNING and find("played").state()[0] == libvirt.VIR_DOMAIN_RUNNING
    find("played").suspend()
    assert find("played").state()[0] == libvirt.VIR_DOMAIN_PAUSED
    find("played").resume()
    find("played").shutdown()
    assert connection.getFreeMemory() > 0 and connection.getType() == "QEMU" and connection.getInfo()[0] == "x86_64"
    find("played").destroy()
    find("played").undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA |
                                 libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA)
    assert connection.listDefinedDomains() == []
