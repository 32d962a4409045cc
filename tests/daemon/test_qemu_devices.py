"""Devices that QEMU alone has: guests with them start, and are what their definitions say; about 15 s.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import pathlib
import re
import tempfile
import xml.etree.ElementTree as ET

import libvirt
import pytest
import rpc

from conftest import BUILD
from guestxml import QEMU
from lodged import Lodged

XHCI = "<controller type='usb' model='qemu-xhci'/>"
NVDIMM = ("<memory model='nvdimm'{0}><source><path>{2}</path>{3}</source><target><size unit='MiB'>32</size><node>0</node>{1}</target>"
          "</memory>")
MODULES = "<features><acpi/></features><maxMemory slots='4' unit='MiB'>512</maxMemory><cpu><numa><cell id='0' cpus='0' memory='64' unit='MiB'/></numa></cpu>"
ROWS = {
    "redirdev": XHCI + "<redirdev bus='usb' type='unix'><source mode='bind' path='{root}/redir'/></redirdev><redirfilter>"
                "<usbdev class='0x08' vendor='0x1234' product='0xBEEF' version='2.56' allow='yes'/><usbdev allow='no'/></redirfilter>",
    "vdagent": "<channel type='qemu-vdagent'><source><clipboard copypaste='yes'/><mouse mode='client'/></source>"
               "<target type='virtio' name='com.redhat.spice.0'/></channel>",
    "guestfwd": "<channel type='pty'><target type='guestfwd' address='10.0.2.1' port='4600'/></channel>",
    "egd": "<rng model='virtio'><backend model='egd' type='udp'><source mode='bind' service='{port}'/>"
           "<source mode='connect' host='127.0.0.1' service='9'/></backend></rng>",
    "shmem": "<shmem name='lodge-test-{port}'><model type='ivshmem-plain'/><size unit='M'>4</size></shmem>",
    "floppy": "<disk type='file' device='floppy'><driver name='qemu' type='raw'/><source file='{root}/disk'/>"
              "<target dev='fda' bus='fdc'/></disk>",
    "floppy-boots": "<disk type='file' device='floppy'><driver name='qemu' type='raw'/><source file='{root}/disk'/>"
                    "<target dev='fdb' bus='fdc'/><boot order='2'/></disk>",
    "usb": "<controller type='usb' index='0' model='nec-xhci' ports='8'/><hub type='usb'/><input type='tablet' bus='usb'/>"
           "<sound model='usb'/><serial type='pty'><target type='usb-serial'/></serial>"
           "<disk type='file'><driver name='qemu' type='raw'/><source file='{root}/disk'/><target dev='sdb' bus='usb'/></disk>",
    "isa": "<serial type='pty'><log file='{root}/serial.log' append='off'/><target type='isa-serial' port='0'/>"
           "<address type='isa' iobase='0x2e8' irq='0x5'/></serial><parallel type='null'><target port='0'/></parallel>",
    "file": "<serial type='file'><source path='{root}/serial.out'/><target port='0'/></serial>",
    "file-append": "<serial type='file'><source path='{root}/serial.out' append='on'/><target port='0'/></serial>",
    "log": "<serial type='pty'><log file='{root}/serial.log'/><target port='0'/></serial>",
    "log-append": "<serial type='pty'><log file='{root}/serial.log' append='on'/><target port='0'/></serial>",
    "pipe": "<serial type='pipe'><source path='{root}/pipe'/><target port='0'/></serial>",
    "udp": "<serial type='udp'><source mode='connect' host='127.0.0.1' service='9'/><target port='0'/></serial>",
    "telnet": "<serial type='tcp'><source mode='bind' host='127.0.0.1' service='0'/><protocol type='telnet'/><target port='0'/></serial>",
    "tcp-log": "<serial type='tcp'><source mode='bind' host='127.0.0.1' service='0'/><log file='{root}/tcp.log' append='off'/><target port='0'/></serial>",
    "display": "<graphics type='vnc' passwd='x' connected='keep'/><sound model='ich9'/><video><model type='bochs' vram='32768'/></video>",
    "audio": "<sound model='ich9'><codec type='micro'/><audio id='2'/></sound><sound model='ac97'/><sound model='es1370'><audio id='4'/></sound>"
             "<audio id='1' type='file' path='{root}/sound.wav'/><audio id='2' type='alsa' timerPeriod='5000'><input dev='hw:0' "
             "mixingEngine='yes' fixedSettings='yes' voices='2' bufferLength='20000'><settings frequency='44100' channels='2' format='s16'/>"
             "</input><output mixingEngine='no' dev='default'/></audio><audio id='4' type='none'/>",
    "nvdimm": NVDIMM.format("", "", "{root}/nvdimm", ""),
    "nvdimm-shared": NVDIMM.format(" access='shared'", "<label><size unit='KiB'>128</size></label>", "{root}/nvdimm-shared",
                                   "<alignsize unit='KiB'>2048</alignsize>"),
    "nvdimm-readonly": NVDIMM.format(" access='private'", "<readonly/>", "{root}/nvdimm-readonly", ""),
    "virtio-pmem": "<memory model='virtio-pmem'><source><path>{root}/pmem</path></source><target><size unit='MiB'>32</size></target></memory>",
    "ports": "<controller type='pci' index='0' model='pcie-root'><pcihole64 unit='KiB'>1048576</pcihole64></controller>"
             "<controller type='pci' index='1' model='pcie-root-port'><model name='ioh3420'/><target hotplug='off'/></controller>",
}


def guest(name, devices, more=""):
    return (f"<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><name>{name}</name>"
            f"<memory unit='MiB'>64</memory><os><type arch='x86_64' machine='q35'>hvm</type></os>{more}"
            f"<devices><emulator>{QEMU}</emulator>{devices}<memballoon model='none'/></devices></domain>")


@pytest.fixture(scope="module")
def connection(lodged):
    opened = libvirt.open(lodged.uri)
    yield opened
    opened.close()


@pytest.mark.parametrize("row", ROWS)
def test_a_guest_with_it_starts(connection, lodged, row):
    with open(os.path.join(lodged.root, "disk"), "wb") as file:
        file.truncate(1474560)
    pipe = os.path.join(lodged.root, "pipe")
    if not os.path.exists(pipe):
        os.mkfifo(pipe)
    port = 20000 + os.getpid() % 20000
    domain = connection.createXML(guest("with-" + row, ROWS[row].format(root=lodged.root, port=port),
                                        MODULES if "<memory " in ROWS[row] else ""), 0)
    try:
        assert domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING
    finally:
        domain.destroy()
        pathlib.Path(f"/dev/shm/lodge-test-{port}").unlink(missing_ok=True)


def pid_of(domain):
    """Of the process that has the guest's UUID among its arguments."""
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if domain.UUIDString().encode() in path.read_bytes().split(b"\0"):
                return int(path.parent.name)
        except OSError:
            continue  # it has ended
    return None


def environment_of(domain):
    return set(pathlib.Path(f"/proc/{pid_of(domain)}/environ").read_bytes().split(b"\0"))


def test_qemu_cannot_block_in_its_monitors_accept(connection):
    domain = connection.createXML(guest("monitored", ""), 0)
    try:
        process = pathlib.Path(f"/proc/{pid_of(domain)}")
        number = re.search(rb"socket,id=charmonitor,fd=(\d+)", (process / "cmdline").read_bytes()).group(1).decode()
        flags = re.search(r"flags:\s+(\d+)", (process / "fdinfo" / number).read_text()).group(1)
        assert int(flags, 8) & os.O_NONBLOCK
    finally:
        domain.destroy()


def test_the_environment_that_a_definition_names_is_the_programs(connection):
    text = guest("env", "", "<clock offset='timezone' timezone='Pacific/Auckland'/>").replace(
        "</domain>", "<qemu:commandline><qemu:env name='LODGE_A' value='b c'/>"
        "<qemu:env name='HOME' value='/nonexistent'/></qemu:commandline></domain>")
    domain = connection.createXML(text, 0)
    try:
        environment = environment_of(domain)
        assert {b"LODGE_A=b c", b"TZ=Pacific/Auckland", b"HOME=/nonexistent"} <= environment
        assert sum(one.startswith(b"HOME=") for one in environment) == 1
    finally:
        domain.destroy()


@pytest.mark.parametrize("append", ["on", "off"])
def test_files_of_serial_ports_are_kept_or_begun_anew(connection, lodged, append):
    path = pathlib.Path(lodged.root, "kept." + append)
    path.write_text("before\n", encoding="utf-8")
    serial = f"<serial type='file'><source path='{path}' append='{append}'/><target port='0'/></serial>"
    domain = connection.createXML(guest("append-" + append, serial), libvirt.VIR_DOMAIN_START_PAUSED)
    domain.destroy()
    assert path.read_text(encoding="utf-8") == ("before\n" if append == "on" else "")


def module_of(path, more=""):
    return NVDIMM.format(" access='shared'", more, path, "")


def test_an_nvdimm_keeps_its_file(connection, lodged):
    path = pathlib.Path(lodged.root, "kept.nvdimm")
    path.write_bytes(b"kept" + bytes((32 << 20) - 4))
    domain = connection.createXML(guest("keeps", module_of(path), MODULES), libvirt.VIR_DOMAIN_START_PAUSED)
    maps = [line for line in pathlib.Path(f"/proc/{pid_of(domain)}/maps").read_text(encoding="utf-8").splitlines() if str(path) in line]
    domain.destroy()
    assert any("rw-s" in line for line in maps), maps
    assert path.read_bytes()[:8] == b"kept\0\0\0\0"
    assert path.stat().st_size == 32 << 20


def test_an_nvdimm_is_plugged_and_unplugged_in_the_definition(connection, lodged):
    domain = connection.defineXML(guest("modules", "", MODULES))
    try:
        module = module_of(os.path.join(lodged.root, "plugged.nvdimm"), "<label><size unit='KiB'>128</size></label>")
        domain.attachDeviceFlags(module, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
        assert "<label>" in domain.XMLDesc(0) and ">98304</memory>" in domain.XMLDesc(0)
        domain.create()
        domain.destroy()
        domain.detachDeviceFlags(module, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
        assert "nvdimm" not in domain.XMLDesc(0) and ">65536</memory>" in domain.XMLDesc(0)
    finally:
        domain.undefine()


def test_a_file_that_cannot_be_an_nvdimms_is_refused_by_name(connection, lodged):
    missing = os.path.join(lodged.root, "no", "such", "file")
    for path in (missing, "relative"):
        with pytest.raises(libvirt.libvirtError) as error:
            connection.createXML(guest("refused", module_of(path), MODULES), 0)
        assert error.value.get_error_code() == 38 and path in str(error.value)
    assert "refused" not in [domain.name() for domain in connection.listAllDomains()]


DIMM = "<memory model='dimm'><target><size unit='MiB'>32</size><node>0</node></target>{}</memory>"


def modules_of(domain, flags):
    root = ET.fromstring(domain.XMLDesc(flags))
    slots = [(module.get("model"), module.find("address").get("slot")) for module in root.findall("./devices/memory")]
    return root.findtext("memory"), root.findtext("currentMemory"), slots


def history_of_modules(connection, path):
    """Amounts of memory and slots after each step."""
    steps = []
    nvdimm = module_of(path)
    domain = connection.defineXML(guest("history", DIMM.format("<address type='dimm' slot='1'/>"), MODULES))
    try:
        steps.append(modules_of(domain, 0))
        for module in (DIMM.format(""), nvdimm):
            domain.attachDeviceFlags(module, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
            steps.append(modules_of(domain, 0))
        domain.create()
        steps += [modules_of(domain, 0), modules_of(domain, libvirt.VIR_DOMAIN_XML_INACTIVE)]
        domain.destroy()
        domain.detachDeviceFlags(nvdimm, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
        steps.append(modules_of(domain, 0))
    finally:
        if domain.isActive():
            domain.destroy()
        domain.undefine()
    return steps


def test_modules_that_come_and_go_are_counted_as_libvirtd_does(connection, real_connection):
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        ours = history_of_modules(connection, os.path.join(folder, "ours"))
        assert ours == history_of_modules(real_connection, os.path.join(folder, "theirs"))


def test_a_plugged_module_is_known_after_the_daemon_was_killed(tmp_path):
    daemon = Lodged(str(tmp_path))
    opened = libvirt.open(daemon.uri)
    domain = opened.createXML(guest("adopted", "", MODULES), 0)
    domain.attachDevice(DIMM.format(""))
    before = domain.XMLDesc()
    assert "base='0x100000000'" in before and domain.info()[1:3] == [98304, 98304]
    daemon.process.kill()
    daemon.process.wait()
    opened.close()
    again = Lodged(str(tmp_path))
    try:
        opened = libvirt.open(again.uri)
        domain = opened.lookupByName("adopted")
        assert domain.XMLDesc() == before and domain.info()[1] == 98304
        domain.attachDevice(DIMM.format(""))
        assert modules_of(domain, 0) == ("131072", "131072", [("dimm", "0"), ("dimm", "1")])
        domain.destroy()
        opened.close()
    finally:
        again.stop()


def test_a_module_for_lodge_vmm_is_refused_by_its_name(connection):
    emulator = os.path.join(BUILD, "bin", "lodge-vmm")
    kernel = os.path.join(BUILD, "tests", "guest", "first-instruction.elf")
    xml = guest("plain", "").replace(QEMU, emulator).replace("</os>", f"<kernel>{kernel}</kernel></os>")
    domain = connection.createXML(xml, libvirt.VIR_DOMAIN_START_PAUSED)
    try:
        with pytest.raises(libvirt.libvirtError) as error:
            domain.attachDevice(DIMM.format(""))
        assert error.value.get_error_code() == 84 and "lodge-vmm has no memory modules ('dimm')" in str(error.value)
    finally:
        domain.destroy()


def test_reloading_a_screens_certificates_checks_its_arguments_and_asks_qemu(connection, lodged):
    domain = connection.defineXML(guest("reload", "<graphics type='vnc'/>"))
    try:
        with lodged.client().open() as client:
            def code(kind, flags=0):
                dom = client.call("DOMAIN_LOOKUP_BY_NAME", name="reload")["dom"]
                with pytest.raises(rpc.RpcError) as error:
                    client.call("DOMAIN_GRAPHICS_RELOAD", dom=dom, type=kind, flags=flags)
                return error.value.code, error.value.message

            assert code(1)[0] == 55
            domain.create()
            assert [code(2)[0], code(1 << 31)[0], code(1, 1)[0]] == [8, 8, 8]
            # Without TLS there is nothing to load, and QEMU says so.
            for kind in (0, 1):
                assert code(kind)[0] == 1 and "tls" in code(kind)[1].lower()
    finally:
        if domain.isActive():
            domain.destroy()
        domain.undefine()


def test_sockets_of_guests_do_not_take_each_others_place(lodged, connection):
    """Not those that the daemon has in the guest's folder, either: the guest would be its monitor."""
    names = ("monitor.sock", "own", "a/b", "a_b")
    channels = "".join(f"<channel type='unix'><target type='virtio' name='{name}'/></channel>" for name in names)
    domain = connection.createXML(guest("sockets", channels), 0)
    try:
        sources = ET.fromstring(domain.XMLDesc()).findall("devices/channel/source")
        paths = [source.get("path") for source in sources]
        assert len(set(paths)) == 4 and all(map(os.path.exists, paths))
        assert not any(path.endswith(("/monitor.sock", "/own")) for path in paths)
        assert any(path.endswith("/a_b") for path in paths)
        assert domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING
    finally:
        domain.destroy()
