"""What people do wrong, through virsh and lodge: libvirt's code, a sentence that names the thing, nothing half-done (30 s).

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import re
import shutil
import socket
import subprocess
import tempfile

import pytest

import walk
from conftest import BUILD, Lodged
from guestxml import QEMU, boot_files
from lodged import build_for_others

PROGRAMS = {"virsh": ["virsh"], "lodge": [os.path.join(BUILD, "bin", "lodge")]}
UUID = "11111111-2222-4333-8444-555555555555"

pytestmark = pytest.mark.skipif(not shutil.which("virsh"), reason="virsh is not installed")


def definition(name, devices="", uuid="", kernel="$KERNEL", emulator=f"<emulator>{QEMU}</emulator>", more=""):
    return f"""<domain type='qemu'><name>{name}</name>{f'<uuid>{uuid}</uuid>' if uuid else ''}
<memory unit='MiB'>64</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type><kernel>{kernel}</kernel></os>{more}
<devices>{emulator}<console type='pty'/>
{devices}
</devices></domain>"""


def disk(path, target="vda"):
    return (f"<disk type='file'><driver name='qemu' type='raw'/><source file='{path}'/>"
            f"<target dev='{target}' bus='virtio'/></disk>")


# The files that the commands below name.
FILES = {
    "here.xml": definition("here", uuid=UUID),
    "open.xml": definition("new").replace("</devices>", ""),
    "word.xml": definition("new", more="\n<memtune><hard_limit>lots</hard_limit></memtune>"),
    "choice.xml": definition("new", "<disk type='file' device='turntable'><target dev='vda'/></disk>"),
    "twice.xml": definition("new", disk("/a") + disk("/b")),
    "name.xml": definition("here", uuid="99999999-2222-4333-8444-555555555555"),
    "uuid.xml": definition("new", uuid=UUID),
    "no-disk.xml": definition("new", disk("$ROOT/nowhere/disk.img")),
    "no-kernel.xml": definition("new", kernel="$ROOT/nowhere/vmlinuz"),
    "pipe.xml": definition("new", kernel="$ROOT/pipe"),
    "no-emulator.xml": definition("new", emulator="<emulator>$ROOT/nowhere/qemu</emulator>"),
    "no-bridge.xml": definition("new", "<interface type='bridge'><source bridge='nowhere0'/><model type='virtio'/></interface>"),
    "no-screen.xml": definition("new", "<graphics type='vnc'/><video><model type='vga'/></video>", emulator=""),
    "busy-port.xml": definition("new", "<graphics type='vnc' port='$PORT'/><video><model type='vga'/></video>"),
    "busy-disk.xml": definition("new", disk("$ROOT/held.img")),
    "busy-address.xml": definition("new", disk("/a") + "<rng model='virtio'><backend model='random'>/dev/random</backend>"
                                   "<address type='pci' bus='0' slot='3'/></rng><memballoon model='virtio'>"
                                   "<address type='pci' bus='0' slot='3'/></memballoon>"),
    "holder.xml": definition("holder", disk("$ROOT/held.img")),
}

# command | libvirt's code ("-": the client's own) | what it says
CASES = [
    ("define $ROOT/open.xml", 35, r"line \d+: .*devices"),
    ("create $ROOT/open.xml", 35, r"line \d+: .*devices"),
    ("define $ROOT/word.xml", 27, r"line \d+.*hard_limit.*lots"),
    ("define $ROOT/choice.xml", 27, r"line \d+.*disk.*turntable"),
    ("define $ROOT/twice.xml", 27, "vda"),
    ("define $ROOT/name.xml", 9, f"'here'.*{UUID}"),
    ("create $ROOT/name.xml", 9, f"'here'.*{UUID}"),
    ("define $ROOT/uuid.xml", 9, f"'here'.*{UUID}"),
    ("define $ROOT/busy-address.xml", 27, r"(?i)address.*0000:00:03"),
    ("define $ROOT/nowhere.xml", "-", "nowhere.xml.*No such file"),
    ("create $ROOT/no-disk.xml", 38, r"\S+/nowhere.*No such file"),
    ("create $ROOT/no-kernel.xml", 38, r"\S+/nowhere/vmlinuz.*No such file"),
    ("create $ROOT/pipe.xml", 1, r"\S+/pipe'.* is a pipe"),
    ("create $ROOT/no-emulator.xml", 38, r"\S+/nowhere/qemu.*No such file"),
    ("create $ROOT/no-bridge.xml", 38, "nowhere0"),
    ("create $ROOT/no-screen.xml", 67, f"lodge-vmm has no .*; <emulator>{QEMU}</emulator> has"),
    ("create $ROOT/busy-port.xml", 1, r"$PORT.*(in use|busy)"),
    ("create $ROOT/busy-disk.xml", 87, r"held\.img' is in use by process \d+"),
    ("dominfo nope", 42, "failed to get domain 'nope'"),
    ("start 4711", 42, "failed to get domain '4711'"),
    ("dumpxml 22222222-2222-4333-8444-555555555555", 42, "22222222-2222-4333-8444-555555555555"),
    ("destroy here", 55, "not running"),
    ("resume here", 55, "not running"),
    ("start holder", "-", "already active"),
    ("undefine nope", 42, "nope"),
    ("setmem here 1T --config", 8, "max"),
    ("setvcpus here 9 --config", 8, "9"),
    ("attach-disk holder $ROOT/nowhere/disk.img vdb", 38, r"\S+/nowhere.*No such file"),
    ("attach-disk holder $ROOT/held.img vda", 27, "vda"),
    ("detach-disk holder vdz", "-", "vdz"),
    ("domifaddr here", 55, "not running"),
    ("blockresize here vda 1M", 55, "not running"),
    ("qemu-agent-command holder {}", 74, "agent"),
    ("metadata here http://nowhere", 80, "not found"),
]


@pytest.fixture(scope="module")
def busy_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield str(listener.getsockname()[1])


@pytest.fixture(scope="module")
def walker(busy_port):
    root = tempfile.mkdtemp(prefix="lodge-bad-")
    daemon = Lodged(root)
    names = {"KERNEL": boot_files(BUILD)[0], "PORT": busy_port}
    walks = walk.Walk(daemon, PROGRAMS["virsh"], names)
    for name, text in FILES.items():
        with open(os.path.join(root, name), "w", encoding="utf-8") as file:
            file.write(walks.fill(text))
    with open(os.path.join(root, "held.img"), "wb") as file:
        file.truncate(1 << 20)
    os.mkfifo(os.path.join(root, "pipe"))
    daemon.virsh("define", os.path.join(root, "here.xml"))
    daemon.virsh("create", os.path.join(root, "holder.xml"), "--paused")
    yield walks
    daemon.virsh("destroy", "holder")
    daemon.stop()
    shutil.rmtree(root)


def traces(daemon):
    """What a command could leave behind: domains, files, processes. The journal is renewed whenever the daemon likes."""
    daemon.wait_for_removals()
    files = [os.path.join(folder, name) for folder, _, names in os.walk(daemon.root) for name in names
             if not name.endswith(".log") and not name.startswith("journal.wal") and "/cache" not in folder]
    children = subprocess.run(["pgrep", "-P", str(daemon.process.pid)], capture_output=True, text=True, check=False).stdout
    return daemon.virsh("list", "--all").stdout, children, set(files)


def assert_same(after, before):
    assert after[:2] == before[:2]
    assert not after[2] ^ before[2]


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("command, code, text", CASES, ids=[case[0].replace("$ROOT/", "") for case in CASES])
def test_a_mistake_is_told_and_leaves_nothing(walker, program, command, code, text):
    before = traces(walker.daemon)
    walker.program = PROGRAMS[program]
    result = walker.run_row(walk.Row(0, command))
    assert result.status == 1
    if code != "-":
        assert result.codes and result.codes[-1] == code, (result.codes, result.err)
    assert re.search(walker.fill(text), result.err), result.err
    assert_same(traces(walker.daemon), before)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes folders that another user cannot search")
def test_a_folder_without_permission_is_named(program):
    """The daemon runs as nobody; the disk is two folders below one that only root may search."""
    top = tempfile.mkdtemp(prefix="lodge-bad-")
    os.chmod(top, 0o755)
    private = os.path.join(top, "private")
    os.makedirs(os.path.join(private, "disks"))
    with open(os.path.join(private, "disks", "disk.img"), "wb") as file:
        file.truncate(1 << 20)
    os.chmod(private, 0o700)
    root = os.path.join(top, "root")
    os.mkdir(root)
    shutil.chown(root, "nobody")
    daemon = Lodged(root, build=build_for_others(top), prefix=["setpriv", "--reuid=nobody", "--clear-groups"])
    try:
        kernel = shutil.copy(boot_files(BUILD)[0], top)  # the build may be below such a folder too
        walks = walk.Walk(daemon, PROGRAMS[program], {"KERNEL": kernel})
        path = os.path.join(top, "private.xml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(walks.fill(definition("new", disk(f"{private}/disks/disk.img"))))
        before = traces(daemon)
        result = walks.run_row(walk.Row(0, f"create {path}"))
        assert result.status == 1 and result.codes[-1] == 38, result.err
        assert f"no permission to search the folder '{private}'" in result.err, result.err
        assert_same(traces(daemon), before)
        walks.proxy.stop()
    finally:
        daemon.stop()
        shutil.rmtree(top)


@pytest.fixture
def small_disk():
    """A folder on a file system of 16 MiB."""
    folder = tempfile.mkdtemp(prefix="lodge-bad-")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder], capture_output=True, check=False).returncode:
        os.rmdir(folder)
        pytest.skip("cannot mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)
    os.rmdir(folder)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_full_disk_is_told_and_leaves_nothing(small_disk, program):
    """What the journal still took is kept, over a restart too; what it did not take is told, and leaves nothing."""
    daemon = Lodged(small_disk)
    walks = walk.Walk(daemon, PROGRAMS[program], {"KERNEL": boot_files(BUILD)[0]})
    folder = tempfile.mkdtemp(prefix="lodge-bad-")
    for number in range(100):
        with open(os.path.join(folder, f"d{number}.xml"), "w", encoding="utf-8") as file:
            words = "word " * 40000
            file.write(walks.fill(definition(f"d{number}", more=f"<description>{words}</description>")))
    daemon.virsh("define", os.path.join(folder, "d0.xml"))
    with open(os.path.join(small_disk, "filler"), "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    known = {"d0"}
    for number in range(1, 100):
        result = walks.run_row(walk.Row(0, f"define {folder}/d{number}.xml"))
        if result.status:
            break
        known.add(f"d{number}")
    assert result.status == 1 and result.codes[-1] == 38, (result.codes, result.err)
    assert "No space left on device" in result.err and small_disk in result.err, result.err
    result = walks.run_row(walk.Row(0, "desc d0 --config " + "nowhere" * 10000))
    assert result.status == 1 and result.codes[-1] == 38, (result.codes, result.err)
    for restarted in (False, True):
        assert set(daemon.virsh("list", "--all", "--name").stdout.split()) == known
        assert "nowhere" not in daemon.virsh("dumpxml", "d0").stdout
        if not restarted:
            daemon.stop()
            os.unlink(daemon.log)
            daemon = Lodged(small_disk)
    os.unlink(os.path.join(small_disk, "filler"))
    daemon.virsh("define", f"{folder}/d99.xml")
    walks.proxy.stop()
    daemon.stop()
    shutil.rmtree(folder)
