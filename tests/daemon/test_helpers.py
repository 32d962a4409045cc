"""Processes beside guests: TPM emulators and servers of shared folders, with engine QEMU (2 min, much of it keys for TPMs and a boot).

SPDX-License-Identifier: GPL-2.0-or-later
"""
import json
import os
import shutil
import signal
import subprocess
import time
import xml.etree.ElementTree as ET

import libvirt
import pytest

import images
import libvirtd
from conftest import BUILD, Lodged
from guestxml import Console, guest_xml
from libvirt_client import create_again
from lodged import build_for_others
from patience import PATIENCE

QEMU = "/usr/bin/qemu-system-x86_64"
FIRST = 1900000000  # of the users of guests
PROGRAM = os.path.join(BUILD, "tests", "daemon", "lodged-failpoints")
IS_ROOT = os.geteuid() == 0
SHARED = "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>"
TPM = "<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>"
TPM_1_2 = "<tpm model='tpm-tis'><backend type='emulator' version='1.2'/></tpm>"
KEPT_TPM = "<tpm model='tpm-crb'><backend type='emulator' version='2.0' persistent_state='yes'/></tpm>"
VIRTIOFSD = "/usr/lib/qemu/virtiofsd"

pytestmark = pytest.mark.skipif(not shutil.which("swtpm_setup"), reason="swtpm-tools is not installed")
needs_root = pytest.mark.skipif(not IS_ROOT or not os.path.exists(VIRTIOFSD), reason="virtiofsd, and root for it")


def folder_xml(source, tag="t", driver="<driver type='virtiofs'/>", more=""):
    return f"<filesystem type='mount'>{driver}{more}<source dir='{source}'/><target dir='{tag}'/></filesystem>"


def guest(name, devices, memory="", emulator=QEMU):
    return (f"<domain type='qemu'><name>{name}</name><memory unit='MiB'>32</memory>{memory}<vcpu>1</vcpu><os>"
            f"<type arch='x86_64' machine='q35'>hvm</type></os><devices><emulator>{emulator}</emulator>"
            f"<controller type='usb' model='none'/><memballoon model='none'/>{devices}</devices></domain>")


def code_of(call, *words):
    try:
        call(*words)
    except libvirt.libvirtError as error:
        return error.get_error_code()
    return None


def state_of(root, domain):
    """The folder of its TPM's state."""
    return os.path.join(root, "lib", "swtpm", domain.UUIDString())


def helpers_below(root):
    """{pid: its words} of helpers that a daemon with this folder has noted, by its status files."""
    found = {}
    folder = os.path.join(root, "run", "qemu")
    for name in os.listdir(folder) if os.path.isdir(folder) else []:
        if name.endswith(".xml"):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                for line in file:
                    if line.startswith("<helper "):
                        pid = int(line.split("'")[1])
                        with open(f"/proc/{pid}/cmdline", "rb") as words:
                            found[pid] = words.read().decode().split("\0")
    return found


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition, seconds=20):
    deadline = time.monotonic() + seconds * PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.02)


@pytest.fixture(name="system", scope="module")
def make_system(tmp_path_factory, event_loop):
    """The host's daemon where that is possible, else a session's. With an event loop that runs: once an earlier module has
    had one, connections promise to answer keepalive messages, and idle ones are closed after 30 s if nothing does."""
    daemon = Lodged(str(tmp_path_factory.mktemp("helpers")), session=not IS_ROOT)
    yield daemon
    daemon.stop()


@pytest.fixture(name="connection")
def connect(system):
    connection = libvirt.open(system.uri)
    yield connection
    for domain in connection.listAllDomains():
        is_persistent = domain.isPersistent()
        if domain.isActive():
            domain.destroy()
        if is_persistent:
            domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_TPM)
    connection.close()


@pytest.fixture(name="real", scope="module")
def start_real(event_loop):
    if not libvirtd.find():
        pytest.skip("libvirtd is not installed")
    real = libvirtd.Libvirtd()
    connection = libvirt.open(real.uri)
    yield real, connection
    for domain in connection.listAllDomains():
        if domain.isActive():
            domain.destroy()
    connection.close()
    real.stop()


def qmp(system, name, command):
    return json.loads(system.virsh("qemu-monitor-command", name, json.dumps({"execute": command})).stdout)["return"]


@pytest.mark.parametrize("device, folder, model", [(TPM, "tpm2", "tpm-crb"), (TPM_1_2, "tpm1.2", "tpm-tis")])
def test_a_guest_has_its_tpm_and_keeps_what_is_in_it(system, connection, device, folder, model):
    domain = connection.defineXML(guest("tpm", device))
    state = os.path.join(state_of(system.root, domain), folder)
    assert not os.path.exists(state)
    domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    assert [one["model"] for one in qmp(system, "tpm", "query-tpm")] == [model]
    (pid, words), = helpers_below(system.root).items()
    assert os.path.basename(words[0]) == "swtpm" and ("--tpm2" in words) == (folder == "tpm2")
    files = {name: os.stat(os.path.join(state, name)).st_ino for name in os.listdir(state) if "permall" in name}
    assert files
    if IS_ROOT:
        uid = os.stat(f"/proc/{pid}").st_uid
        assert FIRST <= uid < FIRST + 16384 and os.stat(state).st_uid == uid
        assert f"+{uid}:+{uid}" in system.virsh("dominfo", "tpm").stdout  # the engine has it too
        with open(f"/proc/{pid}/status", encoding="utf-8") as file:
            status = dict(line.rstrip("\n").split(":", 1) for line in file)
        assert int(status["CapPrm"], 16) == 0 and status["NoNewPrivs"].strip() == "1"
    domain.destroy()
    assert not is_alive(pid)
    before = {name: open(os.path.join(state, name), "rb").read() for name in files}
    domain.create()
    assert {name: open(os.path.join(state, name), "rb").read() for name in files} == before
    domain.destroy()
    domain.undefine()
    assert not os.path.exists(state_of(system.root, domain))


def test_undefining_says_what_becomes_of_the_state(system, connection, real):
    """As libvirtd's: the default is to remove it, with persistent_state to keep it."""
    both = ((connection, lambda d: state_of(system.root, d)),
            (real[1], lambda d: os.path.join(real[0].folder, "libvirt", "qemu", "swtpm", d.UUIDString())))
    keep, remove = libvirt.VIR_DOMAIN_UNDEFINE_KEEP_TPM, libvirt.VIR_DOMAIN_UNDEFINE_TPM
    for device, flags in ((TPM, 0), (TPM, keep), (TPM, remove), (KEPT_TPM, 0), (KEPT_TPM, keep), (KEPT_TPM, remove)):
        left = []
        for peer, path in both:
            domain = peer.defineXML(guest("gone", device))
            os.makedirs(os.path.join(path(domain), "tpm2"))  # as a start makes it
            if IS_ROOT and peer is real[1]:
                for folder in (os.path.dirname(path(domain)), path(domain), os.path.join(path(domain), "tpm2")):
                    shutil.chown(folder, "nobody")
            domain.undefineFlags(flags)
            left.append(os.path.exists(path(domain)))
            shutil.rmtree(path(domain), ignore_errors=True)
        assert left[0] == left[1], (device, flags)
    codes = [code_of(peer.defineXML(guest("gone", TPM)).undefineFlags, keep | remove) for peer, _ in both]
    assert codes[0] is not None and codes[0] == codes[1]
    for peer, _ in both:
        peer.lookupByName("gone").undefine()


def test_transient_guests_take_their_state_along(system, connection, real):
    both = ((connection, lambda d: state_of(system.root, d)),
            (real[1], lambda d: os.path.join(real[0].folder, "libvirt", "qemu", "swtpm", d.UUIDString())))
    for device, stays in ((TPM, False), (KEPT_TPM, True)):
        for peer, path in both:
            domain = create_again(peer, guest("passing", device))
            assert os.path.exists(path(domain))
            domain.destroy()
            assert os.path.exists(path(domain)) == stays, (peer is connection, device)
            shutil.rmtree(path(domain), ignore_errors=True)


def test_state_is_kept_when_that_was_said_of_a_running_guest(system, connection):
    domain = connection.defineXML(guest("said", TPM))
    domain.create()
    domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_KEEP_TPM)
    domain.destroy()
    assert os.listdir(state_of(system.root, domain)) == ["tpm2"]


def test_wrong_tpms_have_libvirts_codes(connection, real):
    emulator = "<backend type='emulator' version='{}'/>"
    wrong = {
        "crb and 1.2": f"<tpm model='tpm-crb'>{emulator.format('1.2')}</tpm>",
        "another machine's": f"<tpm model='tpm-spapr'>{emulator.format('2.0')}</tpm>",
        "another machine's proxy": "<tpm model='spapr-tpm-proxy'><backend type='passthrough'/></tpm>",
        "two": TPM + TPM,
        "banks and 1.2": "<tpm model='tpm-tis'><backend type='emulator' version='1.2'><active_pcr_banks><sha256/>"
                         "</active_pcr_banks></backend></tpm>",
    }
    for name, device in wrong.items():
        codes = [code_of(peer.defineXML, guest("wrong", device)) for peer in (connection, real[1])]
        assert codes[0] is not None and codes[0] == codes[1], name
    versions = [ET.fromstring(peer.defineXML(guest("default", "<tpm><backend type='emulator'/></tpm>")).XMLDesc(0))
                .find("devices/tpm/backend").get("version") for peer in (connection, real[1])]
    assert versions[0] == versions[1]
    starts = {
        "no device": "<tpm model='tpm-tis'><backend type='passthrough'><device path='/dev/tpm77'/></backend></tpm>",
        "no secret": "<tpm model='tpm-crb'><backend type='emulator' version='2.0'>"
                     "<encryption secret='6dd3e4a5-1d76-44ce-961f-f119f5aad935'/></backend></tpm>",
    }
    for name, device in starts.items():
        domain = connection.defineXML(guest("wrong", device))
        with pytest.raises(libvirt.libvirtError, match="/dev/tpm77" if name == "no device" else "<encryption>") as error:
            domain.create()
        other = real[1].defineXML(guest("wrong", device))
        assert name != "no device" or error.value.get_error_code() == code_of(other.create)
        assert not domain.isActive()
        domain.undefine()
        other.undefine()


def test_devices_with_helpers_come_and_go_as_with_libvirt(connection, real):
    for peer in (connection, real[1]):
        domain = peer.defineXML(guest("plug", ""))
        domain.create()
    for call in ("attachDeviceFlags", "detachDeviceFlags", "updateDeviceFlags"):
        codes = [code_of(getattr(peer.lookupByName("plug"), call), TPM, libvirt.VIR_DOMAIN_AFFECT_LIVE)
                 for peer in (connection, real[1])]
        assert codes[0] is not None and codes[0] == codes[1], call
    real[1].lookupByName("plug").destroy()


def test_lodge_vmm_names_the_emulator_that_has_them(system, connection):
    for device, memory in ((TPM, ""), (folder_xml("/tmp"), SHARED)):
        domain = connection.defineXML(guest("lodge", device, memory, os.path.join(BUILD, "bin", "lodge-vmm"))
                                      .replace("hvm</type>", "hvm</type><kernel>/dev/null</kernel>"))
        with pytest.raises(libvirt.libvirtError, match="lodge-vmm has no .*qemu-system-x86_64"):
            domain.create()
        assert not helpers_below(system.root)
        domain.undefine()


@needs_root
def test_a_folder_is_served_and_its_server_ends_with_the_guest(system, connection, tmp_path):
    more = ("<binary xattr='on'><cache mode='always'/><sandbox mode='chroot'/><lock posix='on' flock='on'/>"
            "<thread_pool size='4'/></binary>")
    domain = connection.defineXML(guest("folder", folder_xml(tmp_path, driver="<driver type='virtiofs' queue='256'/>",
                                                             more=more), SHARED))
    domain.create()
    (pid, words), = helpers_below(system.root).items()
    assert words[0] == VIRTIOFSD and "--thread-pool-size=4" in words
    assert words[words.index("-o") + 1] == f"source={tmp_path},cache=always,sandbox=chroot,xattr,flock,posix_lock"
    live = ET.fromstring(domain.XMLDesc(0)).find("devices/filesystem")
    assert live.find("binary").get("path") == VIRTIOFSD and live.find("alias").get("name") == "fs0"
    domain.destroy()
    assert not is_alive(pid)
    # An odd name; QEMU would take a comma for an end.
    odd = tmp_path / "a,b \\c"
    odd.mkdir()
    domain = connection.defineXML(guest("folder", folder_xml(odd), SHARED).replace(
        "<name>", f"<uuid>{domain.UUIDString()}</uuid><name>"))
    domain.create()
    (pid, _), = helpers_below(system.root).items()
    wait_until(lambda: "Received vhost-user" in open(os.path.join(system.root, "log", "qemu", "folder-fs0-virtiofsd.log"),
                                                     encoding="utf-8").read())
    domain.destroy()
    assert not is_alive(pid)


@needs_root
def test_a_folder_is_plugged_and_unplugged(system, connection, tmp_path):
    """By a guest that lets go of devices: Debian's kernel does, firmware alone does not."""
    ports = "<controller type='pci' model='pcie-root'/>" + "<controller type='pci' model='pcie-root-port'/>" * 3
    domain = connection.defineXML(guest("plugfs", ports, SHARED))
    domain.create()
    domain.attachDeviceFlags(folder_xml(tmp_path), libvirt.VIR_DOMAIN_AFFECT_LIVE)
    (pid, words), = helpers_below(system.root).items()
    assert f"source={tmp_path}" in words
    assert ET.fromstring(domain.XMLDesc(0)).find("devices/filesystem/target").get("dir") == "t"
    with pytest.raises(libvirt.libvirtError):
        domain.attachDeviceFlags(folder_xml(tmp_path), libvirt.VIR_DOMAIN_AFFECT_LIVE)  # the tag is taken
    with pytest.raises(libvirt.libvirtError):
        domain.attachDeviceFlags(folder_xml("/nonexistent", "u"), libvirt.VIR_DOMAIN_AFFECT_LIVE)
    assert list(helpers_below(system.root)) == [pid]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: "domain 'plugfs': the helper of device 'fs0' ended while the guest runs" in system.read_log())
    domain.destroy()
    assert not is_alive(pid)


@needs_root
def test_a_guest_uses_its_folders_and_its_tpm(system, connection, tmp_path):
    """Debian's kernel: one folder from the start, one that comes and goes."""
    boot = (images.image(BUILD, "fetch-kernel"),
            images.image(BUILD, "make-initramfs", "--modules", "fuse virtiofs"))
    (tmp_path / "hello").write_text("from the host")
    text = guest_xml("uses", boot, QEMU, TPM + folder_xml(tmp_path, "first"), extra=SHARED)
    domain = connection.createXML(text)
    console = Console(system.virsh("ttyconsole", "uses").stdout.strip())

    def run(command):
        status, output = console.run(command, 240)
        assert status == 0, output
        return (output.strip().splitlines() or [""])[-1]  # the command before it

    console.expect("# ", 240)
    assert run("cat /sys/class/tpm/tpm0/tpm_version_major") == "2"
    assert run("mkdir -p /first /second; mount -t virtiofs first /first; cat /first/hello") == "from the host"
    run("echo from the guest > /first/answer")
    assert (tmp_path / "answer").read_text() == "from the guest\n"
    later = folder_xml(tmp_path, "second")
    domain.attachDeviceFlags(later, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    helpers = helpers_below(system.root)
    assert len(helpers) == 3
    run("until mount -t virtiofs second /second 2>/dev/null; do sleep 0.1; done")
    assert run("cat /second/hello") == "from the host"
    run("umount /second")
    live = ET.fromstring(domain.XMLDesc(0)).findall("devices/filesystem")[1]
    domain.detachDeviceFlags(ET.tostring(live, encoding="unicode"), libvirt.VIR_DOMAIN_AFFECT_LIVE)
    left = helpers_below(system.root)
    assert len(left) == 2 and not any(is_alive(pid) for pid in helpers.keys() - left.keys())
    assert run("cat /first/hello") == "from the host"
    console.close()
    domain.destroy()


@needs_root
def test_folders_without_what_they_need_are_refused(connection):
    wrong = [guest("wrong", folder_xml("/tmp")), guest("wrong", folder_xml("/tmp"), SHARED.replace("shared", "private")),
             guest("wrong", folder_xml("/tmp").replace("'mount'", "'mount' accessmode='mapped'"), SHARED),
             guest("wrong", folder_xml("/tmp").replace("'mount'", "'mount' multidevs='remap'"), SHARED),
             guest("wrong", folder_xml("/tmp", more="<readonly/>"), SHARED),
             guest("wrong", folder_xml("/tmp") + folder_xml("/var"), SHARED)]
    for text in wrong:
        assert code_of(connection.defineXML, text) == libvirt.VIR_ERR_CONFIG_UNSUPPORTED, text
    with pytest.raises(libvirt.libvirtError, match="<memoryBacking><source type='memfd'/><access mode='shared'/>"):
        connection.defineXML(wrong[0])
    domain = connection.defineXML(guest("wrong", folder_xml("/nonexistent"), SHARED))
    with pytest.raises(libvirt.libvirtError, match="/nonexistent"):
        domain.create()


@pytest.mark.skipif(not IS_ROOT, reason="only root can become another user")
def test_a_session_says_that_virtiofsd_needs_root(real, tmp_path):
    root = f"/tmp/lodge-helpers-{os.getpid()}"
    os.makedirs(root)
    shutil.chown(root, "nobody")
    try:
        daemon = Lodged(root, build=build_for_others(root), prefix=("setpriv", "--reuid=nobody", "--clear-groups"))
        try:
            connection = libvirt.open(daemon.uri)
            with pytest.raises(libvirt.libvirtError, match="qemu:///system.*<source socket=") as error:
                connection.defineXML(guest("session", folder_xml("/tmp"), SHARED))
            assert error.value.get_error_code() == code_of(real[1].defineXML, guest("session", folder_xml("/tmp"), SHARED))
            socket = folder_xml("/tmp").replace("dir='/tmp'", "socket='/nonexistent'")
            domain = connection.defineXML(guest("session", socket, SHARED))
            with pytest.raises(libvirt.libvirtError, match="/nonexistent"):
                domain.create()
            # TPMs are for sessions too.
            domain = connection.defineXML(guest("session-tpm", TPM))
            domain.create()
            domain.destroy()
            connection.close()
        finally:
            daemon.stop()
    finally:
        shutil.rmtree(root)


def test_a_failed_start_leaves_no_helper(system, connection, tmp_path):
    devices = TPM + (folder_xml(tmp_path) if IS_ROOT else "")
    # The kernel is looked at before, the disk after the devices' helpers.
    bad = guest("failing", devices + "<sound model='ich9'><codec type='micro'/></sound>", SHARED).replace(
        "</domain>", "<qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>"
        "<qemu:arg value='-nonsense'/></qemu:commandline></domain>")
    domain = connection.defineXML(bad)
    with pytest.raises(libvirt.libvirtError, match="nonsense"):
        domain.create()
    assert not helpers_below(system.root) and not domain.isActive()
    marks = [state_of(system.root, domain), str(tmp_path)]
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().decode(errors="replace")
            folders = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")] if "swtpm" in words else []
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        assert not any(mark in words or any(mark in one for one in folders) for mark in marks), words


@needs_root
def test_more_helpers_than_are_kept_track_of_are_refused(system, connection, tmp_path):
    folders = "".join(folder_xml(tmp_path, f"t{i}") for i in range(65))
    domain = connection.defineXML(guest("many", folders, SHARED))
    with pytest.raises(libvirt.libvirtError, match="'fs64' needs a helper process, and a guest has at most 64 of them") as caught:
        domain.create()
    assert caught.value.get_error_code() == libvirt.VIR_ERR_CONFIG_UNSUPPORTED
    assert not helpers_below(system.root) and not domain.isActive()
    domain.undefine()


def test_a_helper_that_dies_is_told_in_the_log(system, connection):
    domain = connection.defineXML(guest("lonely", TPM))
    domain.create()
    (pid, _), = helpers_below(system.root).items()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: "domain 'lonely': the helper of device 'tpm0' ended while the guest runs, by signal 9"
               in system.read_log())
    assert domain.isActive()
    domain.destroy()


def test_a_helper_that_does_not_end_is_killed(system, connection):
    domain = connection.defineXML(guest("stopped", TPM))
    domain.create()
    (pid, _), = helpers_below(system.root).items()
    os.kill(pid, signal.SIGSTOP)
    domain.destroy()
    assert not is_alive(pid) and not domain.isActive()


def test_a_daemon_started_later_finds_helpers_again(tmp_path):
    daemon = Lodged(str(tmp_path), session=not IS_ROOT)
    devices = TPM + (folder_xml(tmp_path) if IS_ROOT else "")
    connection = libvirt.open(daemon.uri)
    for name in ("stays", "ends", "alone"):
        connection.createXML(guest(name, devices, SHARED))
    helpers = helpers_below(daemon.root)
    assert len(helpers) == (6 if IS_ROOT else 3)
    daemon.process.kill()
    daemon.process.wait()
    connection.close()
    assert all(is_alive(pid) for pid in helpers)
    again = Lodged(daemon.root, session=not IS_ROOT)
    connection = libvirt.open(again.uri)
    assert {domain.name() for domain in connection.listAllDomains()} == {"stays", "ends", "alone"}
    assert helpers_below(daemon.root).keys() == helpers.keys()
    alone = connection.lookupByName("alone")
    with open(os.path.join(daemon.root, "run", "qemu", "alone.xml"), encoding="utf-8") as file:
        own = [int(line.split("'")[1]) for line in file if line.startswith("<helper ")]
    os.kill(own[-1], signal.SIGKILL)
    wait_until(lambda: "domain 'alone': the helper of device 'tpm0' ended while the guest runs" in again.read_log())
    for domain in connection.listAllDomains():
        domain.destroy()
        assert not os.path.exists(state_of(daemon.root, domain)), "it was transient"
    assert not any(is_alive(pid) for pid in helpers)
    assert alone.name() == "alone"
    connection.close()
    again.stop()


def test_what_ends_while_no_daemon_runs_leaves_nothing(tmp_path):
    daemon = Lodged(str(tmp_path), session=not IS_ROOT)
    connection = libvirt.open(daemon.uri)
    transient = connection.createXML(guest("transient", TPM))
    kept = connection.defineXML(guest("kept", TPM))
    kept.create()
    helpers = helpers_below(daemon.root)
    states = state_of(daemon.root, transient), state_of(daemon.root, kept)
    daemon.process.kill()
    daemon.process.wait()
    for name in ("transient", "kept"):
        with open(os.path.join(daemon.root, "run", "qemu", f"{name}.xml"), encoding="utf-8") as file:
            os.kill(int(file.readline().split(" pid='")[1].split("'")[0]), signal.SIGKILL)
    for pid in helpers:
        try:
            os.kill(pid, signal.SIGSTOP)  # so that it does not end by itself
        except ProcessLookupError:
            pass
    again = Lodged(daemon.root, session=not IS_ROOT)
    # An engine that nobody has reaped looks as if it ran, for a moment.
    wait_until(lambda: not any(is_alive(pid) for pid in helpers))
    wait_until(lambda: [os.path.exists(state) for state in states] == [False, True])
    connection.close()
    again.stop()


@pytest.mark.parametrize("failpoint", ["tpm-set-up", "helper-spawned", "helper-noted", "helper-started",
                                       "start-spawned", "start-noted"])
def test_a_daemon_killed_while_it_starts_helpers_leaves_none(tmp_path, failpoint):
    """Beside test_crash.py, whose guests have none."""
    log = os.path.join(tmp_path, "lodged.log")
    with open(log, "ab") as file:
        process = subprocess.Popen([PROGRAM, "--session", "--root", str(tmp_path)], stdout=file, stderr=file,
                                   env=dict(os.environ, LODGE_FAILPOINT=failpoint + ":1"))
    wait_until(lambda: b"ready:" in open(log, "rb").read())
    uri = f"qemu+unix:///session?socket={tmp_path}/run/lodge-sock"
    (tmp_path / "guest.xml").write_text(guest("crashing", TPM + (folder_xml(tmp_path) if IS_ROOT else ""), SHARED))
    subprocess.run(["virsh", "-c", uri, "define", str(tmp_path / "guest.xml")], capture_output=True, check=True)
    done = subprocess.run(["virsh", "-c", uri, "start", "crashing"], capture_output=True, check=False)
    assert done.returncode != 0
    process.wait(20 * PATIENCE)
    again = Lodged(str(tmp_path))
    connection = libvirt.open(again.uri)
    domain = connection.lookupByName("crashing")
    started = domain.isActive()  # where it was noted in time
    assert started or not helpers_below(str(tmp_path))
    if started:
        domain.destroy()
    domain.create()  # whatever is half made is in no way
    helpers = helpers_below(str(tmp_path))
    domain.destroy()
    assert not any(is_alive(pid) for pid in helpers)
    assert os.listdir(state_of(str(tmp_path), domain)) == ["tpm2"]
    domain.undefine()
    connection.close()
    again.stop()
