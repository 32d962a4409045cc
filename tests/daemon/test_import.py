"""lodge import-libvirt on what the real libvirtd keeps (5 s).

SPDX-License-Identifier: GPL-2.0-or-later
"""
import json
import os
import shutil
from pathlib import Path

import pytest

from conftest import Lodged  # first: it sets the path
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
