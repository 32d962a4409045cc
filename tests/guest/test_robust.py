"""Ends that nobody asked for: signals, a closed console, a full host disk under the guest's.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import signal
import subprocess

import pytest
from guest import Guest, Qmp, monitor_command
from images import image


def hold_options(build, append=""):
    """A guest that stays at its init until it is told otherwise."""
    return ["-accel", "xlate", "-m", "256", "-kernel", image(build, "fetch-kernel"),
            "-initrd", image(build, "make-initramfs"), "-append", f"console=ttyS0 lodge.hold {append}"]


def is_gone(pid):
    """Whether no process of this id is left (a zombie is gone as well)."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_sigterm_ends_the_monitor_cleanly(build):
    with Guest(monitor_command(build, *hold_options(build))) as vm:
        vm.expect("reached init", 300)
        vm.process.send_signal(signal.SIGTERM)
        assert vm.wait(30) == 0
        assert "terminating on signal" in vm.errors()


def test_kill_leaves_no_process_and_no_lock(build, tmp_path):
    disk = tmp_path / "disk.raw"
    disk.write_bytes(bytes(1 << 20))
    drive = ["-drive", f"file={disk},format=raw,if=virtio"]
    with Guest(monitor_command(build, *hold_options(build), *drive)) as vm:
        vm.expect("reached init", 300)
        pid = vm.process.pid
        second = subprocess.run(monitor_command(build, *hold_options(build), *drive),
                                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        assert second.returncode == 1
        assert str(pid) in second.stderr and "disk.raw" in second.stderr
        vm.kill()
        assert is_gone(pid)
    third = monitor_command(build, *hold_options(build), *drive)
    with Guest(third) as vm:
        vm.expect("reached init", 300)


def test_a_closed_console_does_not_end_or_block_the_guest(build, tmp_path):
    qmp_path = str(tmp_path / "qmp")
    command = monitor_command(build, *hold_options(build), "-qmp", f"unix:{qmp_path},server=on,wait=off")
    with Guest(command) as vm:
        vm.expect("reached init", 300)
        vm.process.stdout.close()
        vm.process.stdin.close()
        qmp = Qmp(qmp_path)
        assert qmp.command("query-status")["status"] == "running"
        qmp.command("quit")
        assert vm.process.wait(30) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system: needs root")
def test_a_full_host_disk_pauses_the_guest_and_cont_goes_on(build, tmp_path):
    mount = tmp_path / "small"
    mount.mkdir()
    subprocess.check_call(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(mount)])
    try:
        disk = mount / "disk.raw"
        with open(disk, "wb") as file:
            file.truncate(16 << 20)
        qmp_path = str(tmp_path / "qmp")
        command = monitor_command(build, *hold_options(build, "lodge.shell"),
                                  "-drive", f"file={disk},format=raw,if=virtio,werror=enospc",
                                  "-qmp", f"unix:{qmp_path},server=on,wait=off")
        with Guest(command) as vm:
            vm.expect("reached init", 300)
            qmp = Qmp(qmp_path)
            vm.send("dd if=/dev/zero of=/dev/vda bs=64k count=200 conv=fsync && echo write''-is-done\n")
            event = qmp.wait_event("BLOCK_IO_ERROR", 60)
            assert event["data"]["nospace"] is True
            qmp.wait_event("STOP", 10)
            assert qmp.command("query-status")["status"] == "io-error"
            subprocess.check_call(["mount", "-o", "remount,size=64m", str(mount)])
            qmp.command("cont")
            vm.expect("write-is-done", 60)
            qmp.command("quit")
            assert vm.wait(30) == 0
    finally:
        subprocess.check_call(["umount", "-l", str(mount)])
