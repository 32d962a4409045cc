"""Debian's virt-install, unmodified, with both engines (25 s).

There are no storage pools: files are named by source.file, as path= makes a pool of their folder.
SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import shutil
import subprocess
import xml.etree.ElementTree as ET

import pytest

import images
from conftest import BUILD

LODGE = os.path.join(BUILD, "bin", "lodge-vmm")
QEMU = "/usr/bin/qemu-system-x86_64"


def virt_install(daemon, *words, check=True):
    if not shutil.which("virt-install"):
        pytest.skip("virt-install is not installed")
    done = subprocess.run(["virt-install", "--connect", daemon.uri, "--memory", "256", "--graphics", "none",
                           "--noautoconsole", *words], capture_output=True, text=True, timeout=120, check=False)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture
def disk(tmp_path):
    path = str(tmp_path / "disk.qcow2")
    subprocess.run([os.path.join(BUILD, "bin", "lodge-img"), "create", "-q", "-f", "qcow2", path, "1G"], check=True)
    return path


def test_a_disk_is_imported(lodged, disk):
    virt_install(lodged, "--name", "imported", "--import", "--disk", f"source.file={disk},driver.type=qcow2",
                 "--network", "user", "--osinfo", "debian11", "--virt-type", "qemu")
    xml = ET.fromstring(lodged.virsh("dumpxml", "imported").stdout)
    # The engine that boots from disks, without a word about it.
    assert xml.findtext("devices/emulator") == QEMU
    assert xml.find("devices/disk/source").get("file") == disk
    assert xml.find("devices/disk/target").get("bus") == "virtio"
    lodged.virsh("destroy", "imported")
    assert "shut off" in lodged.virsh("domstate", "imported").stdout
    lodged.virsh("undefine", "imported")


def test_lodge_vmm_runs_a_kernel_with_a_disk(lodged, disk):
    kernel = images.image(BUILD, "fetch-kernel")
    virt_install(lodged, "--name", "direct", "--import", "--disk", f"source.file={disk},driver.type=qcow2,target.bus=virtio",
                 "--network", "user,model=virtio", "--osinfo", "debian11", "--virt-type", "qemu", "--machine", "q35",
                 "--boot", f"kernel={kernel},kernel_args=console=ttyS0,emulator={LODGE}",
                 "--sound", "none", "--controller", "type=usb,model=none")
    assert lodged.virsh("domstate", "direct").stdout.strip() == "running"
    lodged.virsh("destroy", "direct")
    lodged.virsh("undefine", "direct")


def test_the_xml_it_prints_can_be_defined(lodged, tmp_path):
    text = virt_install(lodged, "--name", "printed", "--import", "--disk", "none", "--network", "none",
                        "--osinfo", "debian11", "--print-xml").stdout
    path = tmp_path / "printed.xml"
    path.write_text(text)
    lodged.virsh("define", str(path), "--validate")
    lodged.virsh("undefine", "printed")


@pytest.mark.parametrize("words, message", [
    (("--import", "--disk", "source.file=/no/such.img"), "/no/such.img"),
    (("--import", "--disk", "none", "--network", "network=default"), "default"),
    (("--import", "--disk", "none", "--virt-type", "kvm", "--arch", "s390x"), "s390x"),
], ids=("file", "network", "arch"))
def test_what_is_missing_is_named(lodged, words, message):
    done = virt_install(lodged, "--name", "never", "--osinfo", "debian11", *words, check=False)
    assert done.returncode != 0 and message in done.stdout + done.stderr
    assert "never" not in lodged.virsh("list", "--all", "--name").stdout
