"""Debian's virt-install, unmodified, with both engines (45 s).

There are no storage pools: images that exist are named by path=, others are refused.
SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import shutil
import subprocess
import xml.etree.ElementTree as ET

import pytest

import images
from conftest import BUILD
from patience import PATIENCE

LODGE = os.path.join(BUILD, "bin", "lodge-vmm")
QEMU = "/usr/bin/qemu-system-x86_64"


def virt_install(daemon, *words, check=True):
    if not shutil.which("virt-install"):
        pytest.skip("virt-install is not installed")
    done = subprocess.run(["virt-install", "--connect", daemon.uri, "--memory", "256", "--graphics", "none",
                           "--noautoconsole", *words], capture_output=True, text=True, timeout=120 * PATIENCE, check=False)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture
def disk(tmp_path):
    path = str(tmp_path / "disk.qcow2")
    subprocess.run([os.path.join(BUILD, "bin", "lodge-img"), "create", "-q", "-f", "qcow2", path, "1G"], check=True)
    return path


def test_a_disk_is_imported(lodged, disk):
    virt_install(lodged, "--name", "imported", "--import", "--disk", f"path={disk}",
                 "--network", "user", "--osinfo", "debian11", "--virt-type", "qemu")
    xml = ET.fromstring(lodged.virsh("dumpxml", "imported").stdout)
    # The engine that boots from disks, without a word about it.
    assert xml.findtext("devices/emulator") == QEMU
    assert xml.find("devices/disk/source").get("file") == disk
    assert xml.find("devices/disk/driver").get("type") == "qcow2"
    assert xml.find("devices/disk/target").get("bus") == "virtio"
    lodged.virsh("destroy", "imported")
    assert "shut off" in lodged.virsh("domstate", "imported").stdout
    lodged.virsh("undefine", "imported")


def test_lodge_vmm_runs_a_kernel_with_a_disk(lodged, disk):
    kernel = images.image(BUILD, "fetch-kernel")
    virt_install(lodged, "--name", "direct", "--import", "--disk", f"path={disk},bus=virtio",
                 "--network", "user,model=virtio", "--osinfo", "debian11", "--virt-type", "qemu", "--machine", "q35",
                 "--boot", f"kernel={kernel},kernel_args=console=ttyS0,emulator={LODGE}",
                 "--sound", "none", "--controller", "type=usb,model=none")
    assert lodged.virsh("domstate", "direct").stdout.strip() == "running"
    lodged.virsh("destroy", "direct")
    lodged.virsh("undefine", "direct")


def test_a_transient_guest_is_gone_after_its_end(lodged, disk):
    virt_install(lodged, "--name", "passing", "--import", "--disk", f"path={disk},readonly=on", "--transient",
                 "--network", "user", "--osinfo", "debian11", "--virt-type", "qemu")
    assert "no" in next(line for line in lodged.virsh("dominfo", "passing").stdout.splitlines()
                        if line.startswith("Persistent"))
    lodged.virsh("destroy", "passing")
    assert "passing" not in lodged.virsh("list", "--all", "--name").stdout


def test_a_file_is_a_volume_without_a_pool(lodged, disk):
    """What virt-install asks by path=; read-only clients learn nothing of files."""
    info = lodged.virsh("vol-info", disk).stdout
    assert "disk.qcow2" in info and "1.00 GiB" in info
    xml = ET.fromstring(lodged.virsh("vol-dumpxml", disk).stdout)
    assert xml.findtext("target/path") == disk and xml.findtext("capacity") == str(1 << 30)
    assert "no storage vol" in lodged.virsh("-r", "vol-info", disk, check=False).stderr
    assert lodged.virsh("pool-list", "--all", "--name").stdout.strip() == ""


def test_the_xml_it_prints_can_be_defined(lodged, disk, tmp_path):
    text = virt_install(lodged, "--name", "printed", "--import", "--disk", f"path={disk}", "--network",
                        "user", "--osinfo", "debian11", "--print-xml").stdout
    path = tmp_path / "printed.xml"
    path.write_text(text)
    lodged.virsh("define", str(path), "--validate")
    lodged.virsh("undefine", "printed")


@pytest.mark.parametrize("words, message", [
    (("--import", "--disk", "source.file=/no/such.img"), "/no/such.img"),
    (("--import", "--disk", "path=/no/such.img"), "/no/such.img"),
    (("--import", "--disk", "size=1"), "storage pools are not managed here"),
    (("--import", "--disk", "none", "--network", "bridge=nobridge0"), "nobridge0"),
    (("--import", "--disk", "none", "--network", "network=default"), "default"),
    (("--import", "--disk", "none", "--virt-type", "kvm", "--arch", "s390x"), "s390x"),
], ids=("file", "path", "size", "bridge", "network", "arch"))
def test_what_is_missing_is_named(lodged, words, message):
    done = virt_install(lodged, "--name", "never", "--osinfo", "debian11", *words, check=False)
    assert done.returncode != 0 and message in done.stdout + done.stderr
    assert "never" not in lodged.virsh("list", "--all", "--name").stdout
