"""lodge import-libvirt on what the real libvirtd keeps (60 s).

SPDX-License-Identifier: GPL-2.0-or-later
"""
import json
import os
import shutil
import socket
import struct
import subprocess
import threading
import uuid
from pathlib import Path

import pytest

from conftest import BUILD, Lodged  # first: it sets the path
import libvirtd

XML = """<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory><vcpu>2</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type></os><devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<disk type='file'><driver name='qemu' type='qcow2'/><source file='/images/{name}.qcow2'/><target dev='vda' bus='virtio'/></disk>
<interface type='user'><model type='virtio'/></interface><console type='pty'/></devices></domain>"""


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """libvirt's folder of definitions, made by libvirtd."""
    if not libvirtd.find():
        pytest.skip("libvirtd is not installed")
    folder = tmp_path_factory.mktemp("libvirt")
    peer = libvirtd.Libvirtd()
    for name in ("one", "two", "three"):
        path = folder / f"{name}.xml"
        path.write_text(XML.format(name=name))
        peer.virsh("define", str(path))
    peer.virsh("autostart", "two")
    yield Path(peer.folder) / "libvirt" / "qemu"
    peer.stop()


@pytest.fixture
def copy(kept, tmp_path):
    shutil.copytree(kept, tmp_path / "qemu", symlinks=True)
    return tmp_path / "qemu"


@pytest.fixture
def lodged(tmp_path):
    (tmp_path / "lodged").mkdir()
    daemon = Lodged(str(tmp_path / "lodged"))
    yield daemon
    daemon.stop()


def outcomes(lodged, *words):
    done = lodged.lodge("--json", "import-libvirt", *words, check=False)
    return done.returncode, {row["name"]: row["outcome"] for row in json.loads(done.stdout)}, done.stderr


def test_guests_and_their_marks_are_taken_over(lodged, kept):
    done = lodged.lodge("import-libvirt", str(kept))
    assert "3 imported, 0 there already, 0 not imported" in done.stdout
    assert sorted(lodged.virsh("list", "--all", "--name").stdout.split()) == ["one", "three", "two"]
    assert lodged.virsh("list", "--all", "--autostart", "--name").stdout.split() == ["two"]
    uuid = lodged.virsh("domuuid", "one").stdout.strip()
    assert uuid in (kept / "one.xml").read_text()
    # Again, and by the folder above: nothing changes.
    status, rows, _ = outcomes(lodged, str(kept.parent))
    assert status == 0 and set(rows.values()) == {"there already"}


def test_a_dry_run_changes_nothing(lodged, kept):
    status, rows, _ = outcomes(lodged, str(kept), "--dry-run")
    assert status == 0 and set(rows.values()) == {"would import"}
    assert lodged.virsh("list", "--all", "--name").stdout.strip() == ""


def test_clashes_and_bad_files_are_told_and_the_rest_imported(lodged, copy, tmp_path):
    other = tmp_path / "other.xml"
    other.write_text(XML.format(name="one"))
    lodged.virsh("define", str(other))  # the name, with another UUID
    uuid = lodged.virsh("domuuid", "one").stdout.strip()
    text = (copy / "two.xml").read_text()
    known = text.split("<uuid>")[1].split("</uuid>")[0]
    other.write_text(XML.format(name="renamed").replace("<memory", f"<uuid>{known}</uuid><memory"))
    lodged.virsh("define", str(other))
    (copy / "torn.xml").write_text("<domain type='qemu'><name>torn")
    (copy / "alias.xml").write_text((copy / "three.xml").read_text())
    (copy / "xen.xml").write_text("<domain type='xen'><name>xen</name><memory>1</memory><os><type>hvm</type></os></domain>")
    for words in (("--dry-run",), ()):
        status, rows, error = outcomes(lodged, str(copy), *words)
        assert status == 1 and "5 of the guests" in error
        assert rows == {"one": "name taken", "two": "UUID taken", "torn": "refused", "alias": "refused", "xen": "refused",
                        "three": "would import" if words else "imported"}
    assert lodged.virsh("domuuid", "one").stdout.strip() == uuid
    assert sorted(lodged.virsh("list", "--all", "--name").stdout.split()) == ["one", "renamed", "three"]


def test_a_guest_whose_mark_cannot_be_set_is_not_left_half_imported(lodged, kept):
    """The folder of marks is a file: defining works, marking does not."""
    os.makedirs(os.path.join(lodged.root, "etc", "qemu"), exist_ok=True)
    with open(os.path.join(lodged.root, "etc", "qemu", "autostart"), "w", encoding="utf-8"):
        pass
    status, rows, _ = outcomes(lodged, str(kept))
    left = lodged.virsh("list", "--all", "--name").stdout.split()
    assert [name for name in rows if rows[name] == "imported"] == sorted(left)
    assert status == (0 if rows["two"] == "imported" else 1)


def test_marks_can_be_left_out(lodged, kept):
    lodged.lodge("import-libvirt", str(kept), "--no-autostart")
    assert lodged.virsh("list", "--all", "--autostart", "--name").stdout.strip() == ""


def test_a_folder_that_is_not_there_is_named(lodged, tmp_path):
    done = lodged.lodge("import-libvirt", str(tmp_path / "none"), check=False)
    assert done.returncode == 1 and str(tmp_path / "none") in done.stderr


UEFI = """<domain type='qemu'><name>{name}</name>{uuid}<memory unit='MiB'>128</memory><vcpu>1</vcpu>
<os{os}</os><features><acpi/></features><devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<controller type='usb' model='none'/><memballoon model='none'/>{devices}</devices></domain>"""
MACHINE = "<type arch='x86_64' machine='q35'>hvm</type>"
LOADER = "<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>"
TPM = "<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>"
TPM_UUID = "5d2d3f63-0c0e-4b06-8f3b-0f4a4f3c1b11"


def uefi_guests(elsewhere):
    return {
        "chosen": UEFI.format(name="chosen", uuid="", os=f" firmware='efi'>{MACHINE}", devices=""),
        "named": UEFI.format(name="named", uuid="", os=f">{MACHINE}{LOADER}", devices=""),
        "elsewhere": UEFI.format(name="elsewhere", uuid="", os=f">{MACHINE}{LOADER}<nvram>{elsewhere}</nvram>", devices=""),
        "unstarted": UEFI.format(name="unstarted", uuid="", os=f">{MACHINE}{LOADER}", devices=""),
        "trusted": UEFI.format(name="trusted", uuid=f"<uuid>{TPM_UUID}</uuid>", os=f">{MACHINE}", devices=TPM),
    }


@pytest.fixture(scope="module")
def uefi(tmp_path_factory):
    """(libvirt's folder, a path of variables elsewhere, the daemon) of guests that libvirtd has started."""
    if not libvirtd.find() or not os.path.exists("/usr/share/OVMF/OVMF_CODE_4M.fd"):
        pytest.skip("libvirtd or ovmf is not installed")
    folder = tmp_path_factory.mktemp("uefi")
    peer = libvirtd.Libvirtd()
    elsewhere = os.path.join(peer.folder, "own.fd")
    for name, xml in uefi_guests(elsewhere).items():
        (folder / name).write_text(xml)
        peer.virsh("define", str(folder / name))
        if name not in ("unstarted", "trusted"):  # a TPM is not every host's
            peer.virsh("start", name, "--paused")
            peer.virsh("destroy", name)
    kept = Path(peer.folder) / "libvirt" / "qemu"
    for path in (kept / "nvram").iterdir():
        path.write_bytes(path.read_bytes()[:-6] + path.name[:6].encode())  # each its own
    # What libvirtd and swtpm leave, in their places for a session's daemon.
    tpm = kept / "swtpm" / TPM_UUID / "tpm2"
    tpm.mkdir(parents=True)
    (tpm / "tpm2-00.permall").write_bytes(b"secrets")
    (tpm / ".lock").write_bytes(b"")
    (kept / "save").mkdir(exist_ok=True)
    (kept / "save" / "named.save").write_bytes(b"memory")
    yield kept, elsewhere, peer
    peer.stop()


def notes(lodged, *words):
    done = lodged.lodge("--json", "import-libvirt", *words, check=False)
    return {row["name"]: (row["outcome"], row["note"] or "") for row in json.loads(done.stdout)}


def nvram_of(lodged, name):
    return Path(lodged.root) / "lib" / "nvram" / f"{name}_VARS.fd"


def test_variables_come_along_and_the_definition_names_them(lodged, uefi):
    kept, elsewhere, _ = uefi
    before = {path: path.read_bytes() for path in (kept / "nvram").iterdir()}
    told = notes(lodged, str(kept), "--dry-run")
    assert not nvram_of(lodged, "chosen").parent.exists() or not any(nvram_of(lodged, "chosen").parent.iterdir())
    assert notes(lodged, str(kept)) == {name: (outcome.replace("would import", "imported"), note)
                                        for name, (outcome, note) in told.items()}
    assert {outcome for outcome, _ in told.values()} == {"would import"}
    assert f"'{kept}/nvram/chosen_VARS.fd'" in told["chosen"][1] and f"stay in '{elsewhere}'" in told["elsewhere"][1]
    assert f"'{kept}/save/named.save' is not taken over" in told["named"][1]
    for name in ("chosen", "named"):
        assert nvram_of(lodged, name).read_bytes() == (kept / "nvram" / f"{name}_VARS.fd").read_bytes()
        assert nvram_of(lodged, name).stat().st_mode & 0o777 == 0o600
        lodged.virsh("start", name, "--paused")
        assert f">{nvram_of(lodged, name)}</nvram>" in lodged.virsh("dumpxml", name).stdout
        lodged.virsh("destroy", name)
        assert nvram_of(lodged, name).read_bytes()[-6:] == name[:6].encode().ljust(6, b"_")
    for name in ("named", "unstarted"):
        assert f"<nvram>{nvram_of(lodged, name)}</nvram>" in lodged.virsh("dumpxml", name, "--inactive").stdout
    assert f"<nvram>{elsewhere}</nvram>" in lodged.virsh("dumpxml", "elsewhere", "--inactive").stdout
    assert not nvram_of(lodged, "elsewhere").exists() and not nvram_of(lodged, "unstarted").exists()
    assert before == {path: path.read_bytes() for path in (kept / "nvram").iterdir()}


def test_the_state_of_a_tpm_comes_along(lodged, uefi):
    kept, _, _ = uefi
    lodged.lodge("import-libvirt", str(kept))
    state = Path(lodged.root) / "lib" / "swtpm" / TPM_UUID / "tpm2"
    assert [path.name for path in state.iterdir()] == ["tpm2-00.permall"]
    assert (state / "tpm2-00.permall").read_bytes() == b"secrets"


def test_files_that_are_there_are_not_overwritten(lodged, uefi):
    kept, _, _ = uefi
    nvram_of(lodged, "named").parent.mkdir(parents=True)
    nvram_of(lodged, "named").write_bytes(b"mine")
    nvram_of(lodged, "chosen").write_bytes((kept / "nvram" / "chosen_VARS.fd").read_bytes())
    state = Path(lodged.root) / "lib" / "swtpm" / TPM_UUID / "tpm2"
    state.mkdir(parents=True)
    told = notes(lodged, str(kept))
    assert told["named"][0] == "refused" and f"'{nvram_of(lodged, 'named')}' is there already" in told["named"][1]
    assert told["trusted"][0] == "refused" and f"'{state}' is there already" in told["trusted"][1]
    assert told["chosen"][0] == "imported"
    assert nvram_of(lodged, "named").read_bytes() == b"mine" and not any(state.iterdir())
    assert "named" not in lodged.virsh("list", "--all", "--name").stdout.split()


def test_a_guest_that_is_not_imported_leaves_no_files(lodged, uefi):
    """The folder of marks is a file: defining works, marking does not."""
    kept, _, _ = uefi
    os.makedirs(os.path.join(lodged.root, "etc", "qemu"), exist_ok=True)
    with open(os.path.join(lodged.root, "etc", "qemu", "autostart"), "w", encoding="utf-8"):
        pass
    marks = kept / "autostart"
    marks.mkdir(exist_ok=True)
    for name in ("named", "trusted"):
        (marks / f"{name}.xml").symlink_to(kept / f"{name}.xml")
    try:
        told = notes(lodged, str(kept))
    finally:
        for name in ("named", "trusted"):
            (marks / f"{name}.xml").unlink()
    for name, path in (("named", nvram_of(lodged, "named")), ("trusted", Path(lodged.root) / "lib" / "swtpm" / TPM_UUID)):
        assert (told[name][0] == "imported") == path.exists()
        assert (name in lodged.virsh("list", "--all", "--name").stdout.split()) == path.exists()
    assert told["chosen"][0] == "imported"


def test_what_a_hostile_engine_put_beside_definitions_is_not_followed(lodged, uefi, tmp_path):
    """libvirt's engines own these folders: links, pipes and folders in them are refused, and nothing is left."""
    kept = tmp_path / "qemu"
    shutil.copytree(uefi[0], kept, symlinks=True)
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    nvram = kept / "nvram" / "named_VARS.fd"
    nvram.unlink()
    os.mkfifo(nvram)
    for path in kept.glob("*.xml"):
        path.write_text(path.read_text().replace(str(uefi[0]), str(kept)))
    (kept / "swtpm" / TPM_UUID / "tpm2" / "tpm2-01.permall").symlink_to(secret)
    nvram_of(lodged, "named").parent.mkdir(parents=True)
    nvram_of(lodged, "named").write_bytes(b"mine")  # is compared with the pipe
    told = notes(lodged, str(kept))
    assert told["named"][0] == told["trusted"][0] == "refused", told
    assert "tpm2-01.permall'" in told["trusted"][1], told["trusted"]
    swtpm = Path(lodged.root) / "lib" / "swtpm"
    assert not (swtpm / TPM_UUID).exists()
    nvram_of(lodged, "named").unlink()
    nvram.unlink()
    nvram.symlink_to(secret)
    assert notes(lodged, str(kept))["named"][0] == "refused"
    assert not nvram_of(lodged, "named").exists()


def test_the_hosts_folders_below_another_root(lodged, uefi, tmp_path):
    """As of a disk that is mounted: definitions name the places they had."""
    kept, _, _ = uefi
    below = tmp_path / "mnt"
    definitions = below / "etc" / "libvirt" / "qemu"
    definitions.mkdir(parents=True)
    nvram = below / "var" / "lib" / "libvirt" / "qemu" / "nvram"
    nvram.mkdir(parents=True)
    text = (kept / "named.xml").read_text().replace(f"{kept}/nvram/named_VARS.fd", "/var/lib/libvirt/qemu/nvram/old_VARS.fd")
    (definitions / "named.xml").write_text(text)
    (nvram / "old_VARS.fd").write_bytes(b"vars")
    assert notes(lodged, str(definitions))["named"] == ("imported", f"variables copied from '{nvram}/old_VARS.fd'")
    assert nvram_of(lodged, "named").read_bytes() == b"vars"
    assert f"<nvram>{nvram_of(lodged, 'named')}</nvram>" in lodged.virsh("dumpxml", "named", "--inactive").stdout


def test_variables_that_a_running_guest_writes_are_not_copied(lodged, uefi, monkeypatch):
    kept, _, peer = uefi
    for name in ("XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, peer.folder)
    peer.virsh("start", "chosen", "--paused")
    try:
        told = notes(lodged)
    finally:
        peer.virsh("destroy", "chosen")
    assert told["chosen"][0] == "refused" and "it runs under libvirt" in told["chosen"][1]
    assert told["named"][0] == "imported" and not nvram_of(lodged, "chosen").exists()
    assert notes(lodged)["chosen"][0] == "imported"


def make_many(folder, count):
    """As libvirt keeps them: definitions of @count guests, variables of each, marks of every second. What is started by
    itself does not stay: its kernel is missing."""
    kept = folder / "many" / "qemu"
    for below in ("nvram", "autostart"):
        (kept / below).mkdir(parents=True)
    for number in range(count):
        name = f"g{number:03}"
        nvram = kept / "nvram" / f"{name}_VARS.fd"
        nvram.write_bytes(name.encode() * 1000)
        (kept / f"{name}.xml").write_text(UEFI.format(
            name=name, uuid=f"<uuid>{uuid.uuid4()}</uuid>", os=f">{MACHINE}{LOADER}<nvram>{nvram}</nvram><kernel>/nonexistent/kernel</kernel>",
            devices=""))
        if number % 2:
            (kept / "autostart" / f"{name}.xml").symlink_to(kept / f"{name}.xml")
    return kept


def check_whole(lodged, kept, rows):
    """Guests that the daemon has, have their variables; those told of as imported are there, with their marks."""
    there = lodged.virsh("list", "--all", "--name").stdout.split()
    marked = lodged.virsh("list", "--all", "--autostart", "--name").stdout.split()
    for name in there:
        assert nvram_of(lodged, name).read_bytes() == name.encode() * 1000
    for name, (outcome, note) in rows.items():
        if outcome == "imported":
            assert name in there and (name in marked) == (kept / "autostart" / f"{name}.xml").is_symlink(), note
    return there


def test_five_hundred_guests_are_taken_over(lodged, tmp_path):
    kept = make_many(tmp_path, 500)
    rows = notes(lodged, str(kept))
    assert len(check_whole(lodged, kept, rows)) == 500 and {outcome for outcome, _ in rows.values()} == {"imported"}


@pytest.mark.parametrize("failpoint", ["commit-before-write:5", "commit-synced:5", "commit-before-write:6", "commit-synced:6"])
def test_a_daemon_that_is_killed_meanwhile_leaves_no_guest_without_its_files(tmp_path, failpoint):
    """While a guest is defined (5) or marked (6): nobody can say what came of it, and the rest is not tried."""
    kept = make_many(tmp_path, 8)
    root = tmp_path / "killed"
    programs = tmp_path / "build" / "bin"
    programs.mkdir(parents=True)
    root.mkdir()
    for name in os.listdir(os.path.join(BUILD, "bin")):
        (programs / name).symlink_to(os.path.join(BUILD, "bin", name))
    (programs / "lodged").unlink()
    (programs / "lodged").symlink_to(os.path.join(BUILD, "tests", "daemon", "lodged-failpoints"))
    daemon = Lodged(str(root), build=str(programs.parent), prefix=("env", f"LODGE_FAILPOINT={failpoint}"))
    rows = notes(daemon, str(kept))
    assert daemon.process.wait(30) == -9
    refused = [name for name, (outcome, _) in rows.items() if outcome == "refused"]
    assert refused == sorted(rows)[-len(refused):] and "not known" in rows[refused[0]][1], rows
    assert all("not tried" in rows[name][1] for name in refused[1:])
    again = Lodged(str(root))
    check_whole(again, kept, rows)
    later = notes(again, str(kept))
    assert {outcome for outcome, _ in later.values()} == {"imported", "there already"}
    assert len(check_whole(again, kept, later)) == 8
    again.stop()


class Proxy:
    """Between client and daemon; cuts a connection once, after the daemon answered the call @procedure @number times."""

    def __init__(self, lodged, procedure, number):
        self.target, self.procedure, self.left = lodged.socket, procedure, number
        self.path = os.path.join(os.path.dirname(lodged.socket), "proxy-sock")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client = self.listener.accept()[0]
            server = socket.socket(socket.AF_UNIX)
            server.connect(self.target)
            threading.Thread(target=self.pump, args=(client, server), daemon=True).start()
            threading.Thread(target=self.pump_replies, args=(server, client), daemon=True).start()

    @staticmethod
    def pump(source, to):
        while data := source.recv(65536):
            to.sendall(data)
        to.shutdown(socket.SHUT_RDWR)

    def pump_replies(self, source, to):
        with source.makefile("rb") as stream:
            while head := stream.read(4):
                message = stream.read(struct.unpack(">I", head)[0] - 4)
                if struct.unpack(">IIII", message[:16])[2:] == (self.procedure, 1):
                    self.left -= 1
                    if self.left == 0:
                        break
                to.sendall(head + message)
        to.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("procedure", [11, 29], ids=["define", "mark"])
def test_a_connection_that_is_lost_after_the_daemon_has_done_it_is_made_anew(lodged, tmp_path, procedure):
    kept = make_many(tmp_path, 8)
    proxy = Proxy(lodged, procedure, 2)
    done = subprocess.run([os.path.join(BUILD, "bin", "lodge"), "-c", f"qemu+unix:///session?socket={proxy.path}", "--json",
                           "import-libvirt", str(kept)], capture_output=True, text=True, check=False)
    assert proxy.left <= 0
    rows = {row["name"]: (row["outcome"], row["note"] or "") for row in json.loads(done.stdout)}
    assert {outcome for outcome, _ in rows.values()} == {"imported"}, done
    assert len(check_whole(lodged, kept, rows)) == 8
