"""Guests of a host's daemon: a user of its own for each, no capabilities, files of root's (15 s).

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import pathlib
import subprocess
import tempfile

import pytest

import images
from conftest import BUILD, Lodged
from patience import PATIENCE

QEMU = "/usr/bin/qemu-system-x86_64"
FIRST = 1900000000

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give guests other users")


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    daemon = Lodged(str(tmp_path_factory.mktemp("system")), session=False)
    yield daemon
    daemon.stop()


def private(daemon, name, source=None):
    """A file that none but root may read, in a folder that none but root may search."""
    folder = os.path.join(daemon.root, "private")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    path = os.path.join(folder, name)
    if source:
        with open(source, "rb") as old, open(path, "wb") as new:
            new.write(old.read())
    else:
        subprocess.run([os.path.join(BUILD, "bin", "lodge-img"), "create", "-q", path, "1M"], check=True)
    os.chmod(path, 0o600)
    return path


def start(daemon, name, emulator, extra=""):
    kernel = private(daemon, "kernel", images.image(BUILD, "fetch-kernel"))
    disk = private(daemon, f"{name}.img")
    xml = os.path.join(daemon.root, f"{name}.xml")
    with open(xml, "w", encoding="utf-8") as file:
        file.write(f"""<domain type='qemu'><name>{name}</name><memory unit='MiB'>128</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type><kernel>{kernel}</kernel><initrd>{kernel}</initrd></os><devices>
{f'<emulator>{emulator}</emulator>' if emulator else ''}<console type='pty'/>{extra}
<disk type='file'><driver name='qemu' type='raw'/><source file='{disk}'/><target dev='vda' bus='virtio'/></disk>
</devices></domain>""")
    daemon.virsh("create", xml, "--paused")


def process_of(daemon, name):
    """The lines of /proc/PID/status of the guest's process."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
            if b"-name" in words and words[words.index(b"-name") + 1] in (name.encode(), f"guest={name},debug-threads=on".encode()):
                with open(f"/proc/{pid}/status", encoding="utf-8") as file:
                    return dict(line.rstrip("\n").split(":", 1) for line in file)
        except (FileNotFoundError, ProcessLookupError):
            continue
    raise AssertionError(f"no process of {name}")


@pytest.mark.parametrize("emulator", [None, QEMU], ids=["lodge-vmm", "qemu"])
def test_a_guest_has_a_user_of_its_own_and_no_rights(system, emulator):
    name = "own-qemu" if emulator else "own-lodge"
    start(system, name, emulator)
    status = process_of(system, name)
    uids = {int(word) for word in status["Uid"].split()}
    assert len(uids) == 1 and FIRST <= min(uids) < FIRST + 16384
    assert set(status["Gid"].split()) == set(status["Uid"].split())
    assert not status["Groups"].split()
    for name_of_set in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name_of_set], 16) == 0, name_of_set
    assert status["NoNewPrivs"].strip() == "1"
    uid = min(uids)
    assert f"+{uid}:+{uid}" in system.virsh("dominfo", name).stdout
    # The console is the guest's user's, and the daemon reaches it.
    console = system.virsh("ttyconsole", name).stdout.strip()
    assert os.stat(console).st_uid == uid
    system.virsh("resume", name)
    assert system.virsh("domstate", name).stdout.strip() == "running"
    system.virsh("destroy", name)


def test_two_guests_have_two_users(system):
    for name in ("one", "two"):
        start(system, name, None)
    assert process_of(system, "one")["Uid"] != process_of(system, "two")["Uid"]
    for name in ("one", "two"):
        system.virsh("destroy", name)


@pytest.mark.parametrize("emulator", [None, QEMU], ids=["lodge-vmm", "qemu"])
def test_a_guest_that_was_taken_over_leaves_no_notes_for_the_daemon(system, tmp_path, emulator):
    """Notes on devices of the host and the monitor's socket are out of its reach; what it may write is just removed."""
    name = "taken-qemu" if emulator else "taken-lodge"
    start(system, name, emulator)
    uid = process_of(system, name)["Uid"].split()[0]
    folder = next(str(path) for path in pathlib.Path(system.root, "run", "qemu").glob(f"domain-*-{name}"))
    (tmp_path / "precious").write_text("")

    def as_guest(where, *command):
        """Where it is, not by the path: tests' folders are root's."""
        return subprocess.run(["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *command],
                              cwd=where, capture_output=True, check=False).returncode

    assert as_guest(folder, "mkfifo", "hostdev-usb-001:001") != 0
    assert as_guest(folder, "ln", "-s", "/dev/null", "macvtap-eth0") != 0
    assert as_guest(folder, "rm", "-f", "monitor.sock") != 0
    own = os.path.join(folder, "own")
    assert as_guest(own, "mkfifo", "hostdev-usb-001:001") == 0
    assert as_guest(own, "ln", "-s", str(tmp_path), "link") == 0
    assert as_guest(own, "mkdir", "-p", "/".join(["deep"] * 20)) == 0
    system.virsh("destroy", name, timeout=60)
    assert not os.path.exists(folder)
    assert os.listdir(tmp_path) == ["precious"]


def test_a_later_daemon_knows_the_user_of_a_guest(system):
    start(system, "older", None)
    user = system.virsh("dominfo", "older").stdout
    system.process.kill()
    system.process.wait()
    system.__init__(system.root, session=False)
    again = system.virsh("dominfo", "older").stdout
    assert "runs as root" not in user + again
    assert "+19000" in again
    system.virsh("destroy", "older")


def layered(system, name):
    """base (private) <- middle, by a relative name <- top."""
    folder = os.path.join(system.root, "private")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    image = [os.path.join(BUILD, "bin", "lodge-img"), "create", "-q"]
    base, middle, top = (os.path.join(folder, f"{name}-{part}") for part in ("base.raw", "middle.qcow2", "top.qcow2"))
    subprocess.run([*image, base, "2M"], check=True)
    subprocess.run([*image, "-f", "qcow2", "-b", os.path.basename(base), "-F", "raw", middle], check=True, cwd=folder)
    subprocess.run([*image, "-f", "qcow2", "-b", middle, "-F", "qcow2", top], check=True, cwd=folder)
    for path in (base, middle, top):
        os.chmod(path, 0o600)
    return top


def disk_xml(path, target):
    return (f"<disk type='file'><driver name='qemu' type='qcow2'/><source file='{path}'/>"
            f"<target dev='{target}' bus='virtio'/></disk>")


@pytest.mark.parametrize("emulator", [None, QEMU], ids=["lodge-vmm", "qemu"])
def test_backing_files_need_no_rights_either(system, emulator):
    name = "layers-qemu" if emulator else "layers-lodge"
    ports = "".join(f"<controller type='pci' index='{n}' model='pcie-root-port'/>" for n in range(1, 9))
    start(system, name, emulator, disk_xml(layered(system, name), "vdb") + ports)
    assert "2097152" in system.virsh("domblkinfo", name, "vdb").stdout
    # Plugged later, and with a daemon that was killed in between.
    system.process.kill()
    system.process.wait()
    system.__init__(system.root, session=False)
    later = layered(system, name + "-later")
    path = os.path.join(system.root, "later.xml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(disk_xml(later, "vdc"))
    system.virsh("attach-device", name, path, "--live")
    assert "vdc" in system.virsh("domblklist", name).stdout and "2097152" in system.virsh("domblkinfo", name, "vdc").stdout
    nic = os.path.join(system.root, "nic.xml")
    with open(nic, "w", encoding="utf-8") as file:
        file.write("<interface type='user'><mac address='52:54:00:00:00:77'/><model type='virtio'/></interface>")
    system.virsh("attach-device", name, nic, "--live")
    assert "52:54:00:00:00:77" in system.virsh("domiflist", name).stdout
    system.virsh("destroy", name)


@pytest.mark.parametrize("emulator", [None, QEMU], ids=["lodge-vmm", "qemu"])
def test_a_backing_file_of_no_said_format_is_refused(system, emulator):
    top = layered(system, "unsaid")
    plain = top.replace("-top", "-plain")
    subprocess.run([os.path.join(BUILD, "bin", "lodge-img"), "create", "-q", "-f", "qcow2", plain, "2M"], check=True)
    # The header alone: no extension with a format.
    with open(plain, "r+b") as image:
        name = top.replace("-top", "-middle").encode()
        image.seek(8)
        image.write((1024).to_bytes(8, "big") + len(name).to_bytes(4, "big"))
        image.seek(1024)
        image.write(name)
    with pytest.raises(AssertionError, match="does not say the format of its backing file"):
        start(system, "unsaid", emulator, disk_xml(plain, "vdb"))


def test_a_screen_is_shot_though_the_guest_may_write_nowhere(system):
    start(system, "screen", QEMU, "<graphics type='vnc'/><video><model type='vga'/></video>")
    shot = os.path.join(system.root, "shot.ppm")
    system.virsh("screenshot", "screen", shot)
    with open(shot, "rb") as file:
        assert file.read(2) == b"P6"
    system.virsh("destroy", "screen")


def test_a_user_is_told_when_the_setting_is_no_range(tmp_path):
    config = tmp_path / "lodged.conf"
    config.write_text('guest_uids = "many"\n')
    done = subprocess.run([os.path.join(BUILD, "bin", "lodged"), "--root", str(tmp_path), "--config", str(config)],
                          capture_output=True, text=True, timeout=30 * PATIENCE, check=False)
    assert done.returncode != 0 and "guest_uids: 'many' is not FIRST-LAST" in done.stderr


def test_guests_run_as_the_daemons_user_when_told_so(tmp_path):
    config = tmp_path / "lodged.conf"
    config.write_text('guest_uids = ""\n')
    daemon = Lodged(str(tmp_path), "--config", str(config), session=False)
    start(daemon, "mine", None)
    assert process_of(daemon, "mine")["Uid"].split()[0] == str(os.geteuid())
    daemon.virsh("destroy", "mine")
    daemon.stop()


def start_with_module(daemon, name, path):
    xml = os.path.join(daemon.root, f"{name}.xml")
    with open(xml, "w", encoding="utf-8") as file:
        file.write(f"""<domain type='qemu'><name>{name}</name><maxMemory slots='2' unit='MiB'>512</maxMemory><memory unit='MiB'>96</memory>
<os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features>
<cpu><numa><cell id='0' cpus='0' memory='64' unit='MiB'/></numa></cpu><devices><emulator>{QEMU}</emulator><memballoon model='none'/>
<memory model='nvdimm' access='shared'><source><path>{path}</path></source><target><size unit='MiB'>32</size><node>0</node></target>
</memory></devices></domain>""")
    return daemon.virsh("create", xml, "--paused", check=False)


@pytest.fixture
def open_folder():
    """Below one that all may search, which tests' folders are not."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield pathlib.Path(folder)


def test_persistent_memory_is_the_guests_only_where_its_user_may_write(system, open_folder):
    folder = open_folder
    path = folder / "nvdimm"
    path.write_bytes(bytes(32 << 20))
    os.chmod(path, 0o600)
    done = start_with_module(system, "module", path)
    assert done.returncode and f"may not read and write the file '{path}'" in done.stderr
    done = start_with_module(system, "module", folder / "new")
    assert done.returncode and f"may not make a file in the folder '{folder}'" in done.stderr
    assert not (folder / "new").exists()
    os.chmod(folder, 0o700)
    os.chmod(path, 0o666)
    done = start_with_module(system, "module", path)
    assert done.returncode and f"may not search the folder '{folder}'" in done.stderr
    os.chmod(folder, 0o755)
    done = start_with_module(system, "module", path)
    assert done.returncode == 0, done.stderr
    system.virsh("destroy", "module")
