"""Devices that QEMU alone has: guests with them start, and are what their definitions say; about 10 s.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import pathlib

import libvirt
import pytest

from guestxml import QEMU

XHCI = "<controller type='usb' model='qemu-xhci'/>"
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
    domain = connection.createXML(guest("with-" + row, ROWS[row].format(root=lodged.root, port=port)), 0)
    try:
        assert domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING
    finally:
        domain.destroy()
        pathlib.Path(f"/dev/shm/lodge-test-{port}").unlink(missing_ok=True)


def environment_of(domain):
    """Of the process that has the guest's UUID among its arguments."""
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if domain.UUIDString().encode() in path.read_bytes().split(b"\0"):
                return set((path.parent / "environ").read_bytes().split(b"\0"))
        except OSError:
            continue  # it has ended
    return None


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
