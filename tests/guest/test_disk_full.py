"""A guest whose disk lies on a file system that fills up: it is paused, and after there is room again and `cont`
all it wrote is there. Needs the right to mount a tmpfs. About a minute.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import json
import subprocess

import pytest
from guest import Guest, Qmp, monitor_command
from images import image


def mount(*arguments):
    return subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def small(tmp_path):
    """A folder with room for 6 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if mount("-t", "tmpfs", "-o", "size=6m", "lodge-test", str(folder)).returncode:
        pytest.skip("no right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("policy", ["device", pytest.param("drive", marks=pytest.mark.slow),
                                    pytest.param("iothread", marks=pytest.mark.slow)])
def test_a_full_disk_pauses_the_guest_and_nothing_is_lost(build, small, tmp_path, policy):
    fmt = "raw" if policy == "iothread" else "qcow2"
    disk, socket = small / f"disk.{fmt}", tmp_path / "qmp"
    subprocess.run(["qemu-img", "create", "-q", "-f", fmt, str(disk), "16M"], check=True)
    if policy == "drive":
        options = ["-drive", f"file={disk},format=qcow2,if=none,id=d0,werror=enospc",
                   "-device", "virtio-blk-pci,drive=d0,id=disk0"]
    else:
        node = {"driver": fmt, "node-name": "d0", "file": {"driver": "file", "filename": str(disk), "aio": "io_uring"}}
        device = "virtio-blk-pci,drive=d0,id=disk0,werror=stop,rerror=stop"
        options = ["-object", "iothread,id=io0", "-blockdev", json.dumps(node),
                   "-device", device + (",iothread=io0" if policy == "iothread" else "")]
    command = monitor_command(build, "-accel", "xlate", "-m", "128", "-kernel", image(build, "fetch-kernel"),
                              "-initrd", image(build, "make-initramfs"), "-append", "console=ttyS0 lodge.shell",
                              "-qmp", f"unix:{socket},server=on,wait=off", *options)
    with Guest(command) as vm:
        vm.expect("# ", 600)
        qmp = Qmp(str(socket))
        vm.run("stty -echo; export PS1='# '", 300)
        status, before = vm.run("yes 0123456789abcde | head -c 8388608 > /tmp/data; md5sum < /tmp/data", 300)
        assert status == 0
        vm.send("dd if=/tmp/data of=/dev/vda bs=64k conv=fsync; echo written $?\n")
        data = qmp.wait_event("BLOCK_IO_ERROR", 300)["data"]
        assert (data["operation"], data["action"], data["nospace"]) == ("write", "stop", True)
        assert data["reason"] == "No space left on device"
        assert data["device"] == ("d0" if policy == "drive" else "")
        assert data.get("node-name") == (None if policy == "drive" else "d0")
        qmp.wait_event("STOP", 60)
        assert qmp.command("query-status")["status"] == "io-error"
        assert [d["io-status"] for d in qmp.command("query-block") if "inserted" in d] == ["nospace"]
        assert mount("-o", "remount,size=40m", str(small)).returncode == 0
        qmp.command("cont")
        vm.expect("written 0", 300)
        assert [d["io-status"] for d in qmp.command("query-block") if "inserted" in d] == ["ok"]
        vm.run("echo 3 > /proc/sys/vm/drop_caches", 60)
        status, after = vm.run("dd if=/dev/vda bs=64k count=128 2>/dev/null | md5sum", 300)
        assert status == 0 and after.split()[0] == before.split()[0]
        qmp.command("quit")
        assert vm.wait(60) == 0, vm.errors()
    if fmt == "qcow2":
        subprocess.run(["qemu-img", "check", "-q", str(disk)], check=True)
