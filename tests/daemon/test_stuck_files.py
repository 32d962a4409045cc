"""Files of guests on servers that do not answer, and folders that take long to remove: nobody else waits (3 s).

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import socket
import subprocess
import threading

import libvirt
import pytest

from conftest import BUILD, Lodged
from guestxml import disk_xml

KERNEL = os.path.join(BUILD, "tests", "guest", "first-instruction.elf")
PROGRAM = os.path.join(BUILD, "tests", "daemon", "lodged-failpoints")
ANSWER = 20  # seconds until which a call that waits for nothing has its answer


def guest(name, devices):
    return f"""<domain type='qemu'><name>{name}</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type><kernel>{KERNEL}</kernel></os>
<devices><emulator>{BUILD}/bin/lodge-vmm</emulator><controller type='usb' model='none'/>{devices}</devices></domain>"""


def make_image(path, *options):
    subprocess.run([os.path.join(BUILD, "bin", "lodge-img"), "create", "-q", *options, str(path)], check=True)


class Held:
    """A lodged in which looks at images (or what else has the failpoint) do not end before release()."""

    def __init__(self, folder, failpoint="image-look"):
        self.folder = folder
        self.fifo = folder / "held"
        programs = folder / "build" / "bin"
        programs.mkdir(parents=True)
        for name in os.listdir(os.path.join(BUILD, "bin")):
            (programs / name).symlink_to(os.path.join(BUILD, "bin", name))
        (programs / "lodged").unlink()
        (programs / "lodged").symlink_to(PROGRAM)
        self.daemon = Lodged(str(folder), build=str(folder / "build"),
                             prefix=("env", f"LODGE_FAILPOINT_HOLD={failpoint}:{self.fifo}"))

    def hold(self):
        os.mkfifo(self.fifo)

    def release(self):
        """Who waits goes on, and nobody waits any more."""
        writer = os.open(self.fifo, os.O_WRONLY)  # as soon as somebody waits
        os.unlink(self.fifo)
        os.close(writer)


@pytest.fixture
def held(tmp_path):
    held = Held(tmp_path)
    yield held
    if held.fifo.exists():
        held.release()
    held.daemon.stop()


def in_background(func, *args):
    results = []

    def run():
        try:
            results.append(func(*args))
        except libvirt.libvirtError as error:
            results.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, results


def wait_until_held(fifo):
    """Opening to write ends when there is a reader: without one it is refused."""
    while True:
        try:
            return os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            threading.Event().wait(0.01)


ASKS = {
    "bulk statistics": lambda d: d.connect().domainListGetStats([d], 0)[0][1],
    "bulk statistics of backing files":
        lambda d: d.connect().domainListGetStats([d], 0, libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_BACKING)[0][1],
    "block info": lambda d: d.blockInfo("vda"),
}


def call_all(uri, name):
    """Everything else about the domain, on a connection of its own."""
    connection = libvirt.open(uri)
    domain = connection.lookupByName(name)
    domain.info()
    domain.XMLDesc()
    domain.state()
    domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_TITLE, "asked", None, None)
    if domain.isActive():
        domain.suspend()
        domain.resume()
        domain.destroy()
    else:  # a start would look at the image, too
        connection.defineXML(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    assert [d.name() for d in connection.listAllDomains()] == [name]
    return True


@pytest.mark.parametrize("is_running", [False, True], ids=["off", "running"])
@pytest.mark.parametrize("ask", ASKS)
def test_a_look_at_a_stuck_image_holds_up_no_other_call(held, tmp_path, ask, is_running):
    make_image(tmp_path / "base.qcow2", "-f", "qcow2", "-o", "size=1M")
    make_image(tmp_path / "top.qcow2", "-f", "qcow2", "-b", str(tmp_path / "base.qcow2"), "-F", "qcow2")
    connection = libvirt.open(held.daemon.uri)
    domain = connection.defineXML(guest("stuck", disk_xml(tmp_path / "top.qcow2", "vda", fmt="qcow2")))
    if is_running:
        domain.create()
    held.hold()
    asking, results = in_background(ASKS[ask], domain)
    wait_until_held(held.fifo)
    # That let those go on who waited then; whoever comes next waits again, here a second client.
    second, _ = in_background(lambda: ASKS[ask](libvirt.open(held.daemon.uri).lookupByName("stuck")))
    others, done = in_background(call_all, held.daemon.uri, "stuck")
    others.join(ANSWER)
    assert done == [True]
    held.release()
    asking.join(ANSWER)
    second.join(ANSWER)
    assert results and not isinstance(results[0], Exception), results
    domain.undefine()


def test_no_definition_waits_for_its_images(held, tmp_path):
    make_image(tmp_path / "one.raw", "-f", "raw", "-o", "size=1M")
    held.hold()
    defined, done = in_background(
        lambda: libvirt.open(held.daemon.uri).defineXML(guest("new", disk_xml(tmp_path / "one.raw", "vda"))).name())
    defined.join(ANSWER)
    assert done == ["new"]
    os.unlink(held.fifo)


def test_sizes_of_a_guest_that_is_off_are_those_of_the_moment(connection, tmp_path):
    path = tmp_path / "grows.qcow2"
    make_image(path, "-f", "qcow2", "-o", "size=1M")
    domain = connection.defineXML(guest("grows", disk_xml(path, "vda", fmt="qcow2")))
    before = connection.domainListGetStats([domain], 0)[0][1]
    subprocess.run([os.path.join(BUILD, "bin", "lodge-img"), "resize", "-q", "-f", "qcow2", str(path), "8M"], check=True)
    after = connection.domainListGetStats([domain], 0)[0][1]
    os.unlink(path)
    gone = connection.domainListGetStats([domain], 0)[0][1]
    assert before["block.0.capacity"] == 1 << 20 and after["block.0.capacity"] == 8 << 20
    assert after["block.0.path"] == gone["block.0.path"] == str(path) and "block.0.capacity" not in gone
    assert {field: value for field, value in after.items() if not field.startswith("block.0.")} == \
           {field: value for field, value in gone.items() if not field.startswith("block.0.")}
    domain.undefine()


def test_a_pipe_as_image_of_a_guest_that_is_off_is_not_opened(connection, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    domain = connection.defineXML(guest("pipe", disk_xml(tmp_path / "pipe", "vda", fmt="qcow2")))
    assert connection.domainListGetStats([domain], 0)[0][1]["block.0.physical"] == 0
    assert domain.blockInfo("vda")[0] == 0
    domain.undefine()


def test_a_console_whose_listener_does_not_accept_holds_up_nothing(connection, lodged, tmp_path):
    """What listens in the guest's place has its backlog full."""
    path = str(tmp_path / "console.sock")
    devices = f"<serial type='unix'><source mode='bind' path='{path}'/></serial>"
    domain = connection.createXML(guest("full", devices))
    os.unlink(path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        clients = [socket.socket(socket.AF_UNIX) for _ in range(4)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex(path)
        opening, results = in_background(lambda: domain.openConsole(None, connection.newStream()))
        opening.join(ANSWER)
        assert isinstance(results[0], libvirt.libvirtError), results
        assert libvirt.open(lodged.uri).lookupByName("full").state()
        for client in clients:
            client.close()
    domain.destroy()


def fill(folder):
    """10,000 files and a nest of 2,000 folders."""
    for number in range(10000):
        os.mknod(folder / f"file-{number}")
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(2000):
        os.mkdir("nest", dir_fd=at)
        below = os.open("nest", os.O_RDONLY | os.O_DIRECTORY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)


def wait_until_empty(folder):
    while folder.exists() and os.listdir(folder):
        threading.Event().wait(0.01)


@pytest.mark.parametrize("is_killed", [False, True], ids=["on", "killed"])
def test_nobody_waits_for_the_removal_of_a_guest_s_folder(tmp_path, is_killed):
    held = Held(tmp_path, "folder-remove")
    connection = libvirt.open(held.daemon.uri)
    domain = connection.createXML(guest("full", ""))
    fill(next((tmp_path / "run" / "qemu").glob("domain-*-full/own")))
    held.hold()
    domain.destroy()
    wait_until_held(held.fifo)
    os.unlink(held.fifo)
    held.hold()
    for number in range(3):  # the removals of their folders wait
        again, done = in_background(lambda: connection.createXML(guest("full", "")).destroy())
        again.join(ANSWER)
        assert done == [0], number
    assert not list((tmp_path / "run" / "qemu").glob("domain-*"))
    if is_killed:
        held.daemon.process.kill()
        held.daemon.process.wait()
        os.unlink(held.fifo)
        held.daemon = Lodged(str(tmp_path))
    else:
        held.release()
    wait_until_empty(tmp_path / "run" / "removed")
    held.daemon.stop()


def test_the_recovery_tool_removes_what_a_killed_daemon_left(tmp_path):
    held = Held(tmp_path, "folder-remove")
    held.hold()
    libvirt.open(held.daemon.uri).createXML(guest("full", "")).destroy()
    held.daemon.process.kill()
    held.daemon.process.wait()
    os.unlink(held.fifo)
    removed = tmp_path / "run" / "removed"
    assert len(os.listdir(removed)) == 1
    words = [os.path.join(BUILD, "bin", "lodged"), "--session", "--root", str(tmp_path)]
    looked = subprocess.run([*words, "--recover-check"], capture_output=True, text=True, check=False)
    assert str(removed) in looked.stdout and os.listdir(removed), looked
    mended = subprocess.run([*words, "--recover"], capture_output=True, text=True, check=False)
    assert mended.returncode == 1 and "1 findings, 1 mended" in mended.stdout and not os.listdir(removed), mended
