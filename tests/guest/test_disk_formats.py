"""Guests on disks of formats other than raw; qemu-img and qemu-io look at what is left of them. Some minutes.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import contextlib
import hashlib
import json
import subprocess

import pytest
from guest import Guest, Qmp, monitor_command
from images import image
from patience import PATIENCE


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def qemu_img(*arguments):
    return subprocess.run(["qemu-img", *arguments], check=True, capture_output=True, text=True, timeout=120 * PATIENCE).stdout


@contextlib.contextmanager
def root_shell(build, *options):
    """A guest on the disk of @options, logged in as root; it is powered off at the end."""
    command = monitor_command(
        build, "-accel", "xlate", "-m", "512", "-kernel", image(build, "fetch-kernel"),
        "-initrd", image(build, "make-initramfs", "--root"),
        "-append", "console=ttyS0 root=/dev/vda rw", *options)
    with Guest(command) as vm:
        vm.log_in()
        yield vm
        vm.send("poweroff\n")
        assert vm.wait(600) == 0, vm.errors()


def write_in_guest(vm):
    for command in ("dd if=/dev/urandom of=/root/noise bs=1M count=24 conv=fsync 2>&1",
                    "sha256sum /root/noise > /root/noise.sum", "sync", "echo 3 > /proc/sys/vm/drop_caches",
                    "sha256sum -c /root/noise.sum"):
        status, text = vm.run(command, 600)
        assert status == 0, text


@pytest.mark.parametrize("create", [
    pytest.param([], id="default"),
    pytest.param(["-o", "cluster_size=4k,lazy_refcounts=on"], id="small-clusters", marks=pytest.mark.slow),
    pytest.param(["-o", "extended_l2=on,cluster_size=128k"], id="subclusters", marks=pytest.mark.slow),
])
def test_a_guest_writes_an_overlay_and_leaves_it_consistent(build, tmp_path, create):
    base = image(build, "make-rootfs")
    before = sha256(base)
    overlay = tmp_path / "overlay.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", *create, str(overlay))
    with root_shell(build, "-drive", f"file={overlay},format=qcow2,if=virtio,discard=unmap") as vm:
        write_in_guest(vm)
    check = json.loads(qemu_img("check", "--output=json", str(overlay)))
    assert "corruptions" not in check and "leaks" not in check and check["check-errors"] == 0
    assert sha256(base) == before
    raw = tmp_path / "flat.raw"
    qemu_img("convert", "-O", "raw", str(overlay), str(raw))
    fsck = subprocess.run(["e2fsck", "-fn", str(raw)], capture_output=True, text=True, timeout=120 * PATIENCE)
    assert fsck.returncode == 0, fsck.stdout


def test_a_format_is_guessed_with_a_warning_for_raw(build, tmp_path):
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(1 << 20))
    socket = tmp_path / "qmp"
    command = monitor_command(build, "-accel", "xlate", "-S", "-kernel", image(build, "fetch-kernel"), "-drive", f"file={disk},if=virtio",
                              "-qmp", f"unix:{socket},server=on,wait=off")
    with Guest(command) as vm:
        qmp = Qmp(str(socket))
        qmp.command("quit")
        assert vm.wait(30) == 0
        assert "looks like raw" in vm.errors()


def test_nodes_given_by_name_make_a_drive(build, tmp_path):
    """As libvirt writes them: the file and the format apart, the one naming the other."""
    disk = tmp_path / "disk.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", str(disk), "64M")
    socket = tmp_path / "qmp"
    storage = {"driver": "file", "filename": str(disk), "node-name": "storage", "auto-read-only": True}
    form = {"driver": "qcow2", "file": "storage", "node-name": "format", "read-only": False, "backing": None}
    command = monitor_command(
        build, "-accel", "xlate", "-S", "-kernel", image(build, "fetch-kernel"), "-blockdev", json.dumps(storage),
        "-blockdev", json.dumps(form), "-device", "virtio-blk-pci,drive=format,id=disk0",
        "-qmp", f"unix:{socket},server=on,wait=off")
    with Guest(command) as vm:
        qmp = Qmp(str(socket))
        inserted = [disk for disk in qmp.command("query-block") if "inserted" in disk][0]["inserted"]
        assert (inserted["drv"], inserted["image"]["virtual-size"]) == ("qcow2", 64 << 20)
        busy = subprocess.run(["qemu-img", "info", str(disk)], capture_output=True, text=True, timeout=60 * PATIENCE)
        assert busy.returncode != 0 and "lock" in busy.stderr
        qmp.command("block_resize", **{"node-name": "format", "size": 128 << 20})
        limits = {"bps": 0, "bps_rd": 0, "bps_wr": 1 << 20, "iops": 500, "iops_rd": 0, "iops_wr": 0, "iops_max": 1000}
        qmp.command("block_set_io_throttle", limits, id="disk0")
        inserted = [disk for disk in qmp.command("query-block") if "inserted" in disk][0]["inserted"]
        assert (inserted["iops"], inserted["bps_wr"], inserted["iops_max"]) == (500, 1 << 20, 1000)
        qmp.command("quit")
        assert vm.wait(30) == 0, vm.errors()
    assert json.loads(qemu_img("info", "--output=json", str(disk)))["virtual-size"] == 128 << 20
    qemu_img("check", "-q", str(disk))
