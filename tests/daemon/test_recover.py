"""lodged --recover-check and --recover on states that crashes, hands and disks left (6 s).

SPDX-License-Identifier: GPL-2.0-or-later
"""
import contextlib
import os
import subprocess
from pathlib import Path

import pytest

from conftest import BUILD, Lodged
from patience import PATIENCE

KERNEL = os.path.join(BUILD, "tests", "guest", "first-instruction.elf")
CLEAN, MENDED, LEFT, FAILED = 0, 1, 4, 8


def guest_xml(name, uuid=None, kernel=KERNEL):
    return f"""<domain type='qemu'><name>{name}</name>{f'<uuid>{uuid}</uuid>' if uuid else ''}
<memory unit='MiB'>32</memory><vcpu>1</vcpu><os><type arch='x86_64' machine='q35'>hvm</type>
<kernel>{kernel}</kernel></os><devices><controller type='usb' model='none'/></devices></domain>"""


def recover(root, word="--recover-check"):
    done = subprocess.run([os.path.join(BUILD, "bin", "lodged"), "--session", "--root", str(root), word],
                          capture_output=True, text=True, timeout=60 * PATIENCE, check=False)
    print(done.stdout, done.stderr)
    return done


def contents(root):
    """All names below, with what they hold and when they were written."""
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            info = os.lstat(path)
            data = b"" if os.path.islink(path) else open(path, "rb").read()
            found[os.path.relpath(path, root)] = (info.st_ino, info.st_mtime_ns, data)
    return found


@pytest.fixture
def root(tmp_path):
    """The state of a daemon that ended well, with the guests alpha and beta."""
    daemon = Lodged(str(tmp_path))
    for name in ("alpha", "beta"):
        # What is started by itself shall not stay.
        (tmp_path / "guest").write_text(guest_xml(name, kernel="/nonexistent/kernel"))
        daemon.virsh("define", str(tmp_path / "guest"))
        daemon.virsh("autostart", name)
    daemon.virsh("autostart", "--disable", "beta")
    daemon.stop()
    (tmp_path / "guest").unlink()
    return tmp_path


def names_after(root):
    daemon = Lodged(str(root))
    names = daemon.virsh("list", "--all", "--name").stdout.split()
    daemon.stop()
    return names


def test_a_good_state_has_no_findings(root):
    before = contents(root)
    for word in ("--recover-check", "--recover", "--recover-check"):
        done = recover(root, word)
        assert done.returncode == CLEAN and done.stdout.startswith("2 definitions, 0 running")
    assert contents(root)["etc/qemu/alpha.xml"] == before["etc/qemu/alpha.xml"]


def test_a_running_daemon_is_left_alone(root):
    daemon = Lodged(str(root))
    answers = [recover(root, word) for word in ("--recover-check", "--recover")]
    daemon.stop()
    for done in answers:
        assert done.returncode == FAILED and f"(pid {daemon.process.pid})" in done.stderr


def test_a_state_directory_that_is_not_there_is_named_and_not_made(tmp_path):
    done = recover(tmp_path / "none")
    assert done.returncode == FAILED and str(tmp_path / "none" / "lib") in done.stderr
    assert not (tmp_path / "none").exists()


def twin(root):
    uuid = (root / "etc/qemu/alpha.xml").read_text().split("<uuid>")[1].split("</uuid>")[0]
    (root / "etc/qemu/twin.xml").write_text(guest_xml("twin", uuid))


def spoil_journal(root):
    (root / "lib/journal.wal").write_bytes(b"\0" * 512 + b"garbage")


def leave_folder(root):
    (root / "run/qemu/domain-7-gone").mkdir(parents=True)
    (root / "run/qemu/domain-7-gone/monitor.sock").write_text("")


DAMAGE = {
    "torn definition": (lambda root: (root / "etc/qemu/gamma.xml").write_text("<domain><name>gam"),
                        "qemu/gamma.xml: ", ["alpha", "beta"]),
    "definition of another name": (lambda root: (root / "etc/qemu/gamma.xml").write_text(guest_xml("delta")),
                                   "it defines 'delta'", ["alpha", "beta"]),
    "definition with a NUL byte": (lambda root: (root / "etc/qemu/beta.xml").write_bytes(b"<domain>\0</domain>"),
                                   "NUL", ["alpha"]),
    "the same UUID twice": (twin, "has the UUID of 'alpha'", ["alpha", "beta"]),
    "mark without a guest": (lambda root: (root / "etc/qemu/autostart/gone.xml").symlink_to("../gone.xml"),
                             "marks a guest that is not defined", ["alpha", "beta"]),
    "half-written file": (lambda root: (root / "etc/qemu/.beta.xml.new").write_text("<dom"),
                          "half-written", ["alpha", "beta"]),
    "journal of garbage": (spoil_journal, "has no valid header", ["alpha", "beta"]),
    "broken status": (lambda root: (root / "run/qemu").mkdir(exist_ok=True) or
                      (root / "run/qemu/alpha.xml").write_text("<domstatus"),
                      "no status file", ["alpha", "beta"]),
    "folder of no guest": (leave_folder, "folder of a guest that does not run", ["alpha", "beta"]),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_told_first_and_mended_when_asked(root, kind):
    damage, words, names = DAMAGE[kind]
    damage(root)
    before = contents(root)
    check = recover(root)
    assert check.returncode == LEFT and words in check.stdout and "would be" in check.stdout
    assert contents(root) == before, "a check changes nothing"
    mended = recover(root, "--recover")
    assert mended.returncode == MENDED and words in mended.stdout
    assert recover(root).returncode == CLEAN
    assert names_after(root) == names


def test_what_cannot_be_read_is_kept_with_the_reason(root):
    (root / "etc/qemu/gamma.xml").write_text("<domain>half")
    recover(root, "--recover")
    assert (root / "etc/corrupt/gamma.xml.0").read_text() == "<domain>half"
    assert "set aside" in recover(root).stdout


def test_a_file_changed_by_hand_is_noted_and_taken(root):
    path = root / "etc/qemu/beta.xml"
    path.write_text(path.read_text().replace("<memory unit='KiB'>32768", "<memory unit='KiB'>65536"))
    done = recover(root)
    assert done.returncode == CLEAN and "note: qemu/beta.xml: changed by hand" in done.stdout


def test_the_journal_brings_back_what_the_files_lack(tmp_path):
    daemon = Lodged(str(tmp_path))
    (tmp_path / "guest").write_text(guest_xml("kept"))
    daemon.virsh("define", str(tmp_path / "guest"))
    daemon.process.kill()
    daemon.process.wait()
    path = tmp_path / "etc/qemu/kept.xml"
    path.unlink(missing_ok=True)  # as a power cut before its folder was synced
    check = recover(tmp_path)
    assert check.returncode == LEFT and "holds 1 changes" in check.stdout and not path.exists()
    assert check.stdout.splitlines()[-1].startswith("1 definitions")
    assert recover(tmp_path, "--recover").returncode == MENDED and "kept" in path.read_text()
    assert names_after(tmp_path) == ["kept"]


def test_running_guests_are_found_and_ended_ones_cleared(tmp_path):
    daemon = Lodged(str(tmp_path))
    for name in ("runs", "ended"):
        (tmp_path / "guest").write_text(guest_xml(name))
        daemon.virsh("create", str(tmp_path / "guest"))
    status = (tmp_path / "run/qemu/ended.xml").read_text()
    daemon.process.kill()
    daemon.process.wait()
    pid = int(status.split("pid='")[1].split("'")[0])
    os.kill(pid, 9)
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        while (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z":
            pass  # some hosts reap orphans late
    check = recover(tmp_path)
    assert check.returncode == LEFT
    assert "guest 'runs' runs and will be found again" in check.stdout
    assert "ended.xml: its guest ended" in check.stdout
    assert recover(tmp_path, "--recover").returncode == MENDED
    assert not (tmp_path / "run/qemu/ended.xml").exists()
    daemon = Lodged(str(tmp_path))
    assert daemon.virsh("list", "--name").stdout.split() == ["runs"]
    daemon.virsh("destroy", "runs")
    daemon.stop()
