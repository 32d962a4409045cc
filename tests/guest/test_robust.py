"""Ends that nobody asked for: signals, a closed console, a full host disk under the guest's.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import select
import signal
import socket
import subprocess
import time

import pytest
from guest import Guest, Qmp, monitor_command
from images import image
from patience import PATIENCE


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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_what_the_guest_flushed_survives_every_end(build, tmp_path, number):
    """The guest writes on when the end comes: what it was told is on disk is there, and nothing strange."""
    disk = tmp_path / "disk.raw"
    disk.write_bytes(bytes(4 << 20))
    command = monitor_command(build, *hold_options(build, "lodge.shell"),
                              "-drive", f"file={disk},format=raw,if=virtio")
    with Guest(command) as vm:
        vm.expect("reached init", 300)
        # Line n of the disk says n; "flushed n" follows its flush.
        vm.send("n=0; while :; do printf '%0511d\\n' $n | dd of=/dev/vda bs=512 seek=$n conv=notrunc,fsync 2>/dev/null "
                "&& echo flushed:$n:; n=$((n+1)); done\n")
        flushed = int(vm.expect(r"flushed:(\d\d+):", 60).group(1))
        vm.process.send_signal(number)
        status = vm.process.wait(30 * PATIENCE)
        assert status == (-number if number == signal.SIGKILL else 0)
        assert is_gone(vm.process.pid)
    lines = disk.read_bytes()
    for n in range(len(lines) // 512):
        line = lines[512 * n:512 * n + 512]
        if n <= flushed:
            assert int(line) == n
        else:
            assert line == bytes(512) or int(line) == n


def test_a_hang_up_of_the_terminal_does_not_end_the_guest(build, tmp_path):
    qmp_path = str(tmp_path / "qmp")
    command = monitor_command(build, *hold_options(build), "-qmp", f"unix:{qmp_path},server=on,wait=off")
    with Guest(command) as vm:
        vm.expect("reached init", 300)
        vm.process.send_signal(signal.SIGHUP)
        qmp = Qmp(qmp_path)
        assert qmp.command("query-status")["status"] == "running"
        qmp.command("quit")
        assert vm.wait(30) == 0


def test_what_a_killed_monitor_leaves_is_taken_over(build, tmp_path):
    """Sockets and the pid file of a dead monitor are in nobody's way; those of a living one are."""
    qmp_path, pid_path = str(tmp_path / "qmp"), tmp_path / "pid"
    command = monitor_command(build, *hold_options(build), "-S", "-pidfile", str(pid_path),
                              "-qmp", f"unix:{qmp_path},server=on,wait=off")
    with Guest(command) as vm:
        Qmp(qmp_path).close()
        second = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60 * PATIENCE)
        assert second.returncode == 1 and f"is in use by process {vm.process.pid}" in second.stderr
        vm.kill()
        assert pid_path.exists() and os.path.exists(qmp_path)
    with Guest(command) as vm:
        qmp = Qmp(qmp_path)
        assert int(pid_path.read_text()) == vm.process.pid
        qmp.command("quit")
        assert vm.wait(30) == 0
    assert not pid_path.exists() and not os.path.exists(qmp_path)


def test_a_monitor_that_is_not_read_ends_nothing(build, tmp_path):
    """A peer that asks and never reads: its answers are dropped whole, others are served."""
    qmp_path, other_path = str(tmp_path / "qmp"), str(tmp_path / "other")
    command = monitor_command(build, *hold_options(build), "-S", "-qmp", f"unix:{qmp_path},server=on,wait=off",
                              "-qmp", f"unix:{other_path},server=on,wait=off")
    with Guest(command) as vm:
        deaf = Qmp(qmp_path)
        deaf.socket.setblocking(False)
        try:
            for _ in range(2000):
                deaf.socket.send(b'{"execute":"query-qmp-schema"}\n')
        except BlockingIOError:
            pass
        other = Qmp(other_path)
        assert other.command("query-status")["status"] == "prelaunch"
        deaf.socket.close()
        other.command("quit")
        assert vm.wait(30) == 0


def test_kill_leaves_no_process_and_no_lock(build, tmp_path):
    disk = tmp_path / "disk.raw"
    disk.write_bytes(bytes(1 << 20))
    drive = ["-drive", f"file={disk},format=raw,if=virtio"]
    with Guest(monitor_command(build, *hold_options(build), *drive)) as vm:
        vm.expect("reached init", 300)
        pid = vm.process.pid
        second = subprocess.run(monitor_command(build, *hold_options(build), *drive),
                                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60 * PATIENCE)
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
        assert vm.process.wait(30 * PATIENCE) == 0


def test_a_console_whose_peer_stops_reading_holds_nobody_up(build, tmp_path):
    """The peer of the serial port's socket reads nothing, goes away, and another one comes."""
    qmp_path, serial_path = str(tmp_path / "qmp"), str(tmp_path / "serial")
    command = [os.path.join(build, "bin", "lodge-vmm"), "-nodefaults", "-display", "none",
               *hold_options(build, "lodge.shell"), "-serial", f"unix:{serial_path},server=on,wait=off",
               "-qmp", f"unix:{qmp_path},server=on,wait=off"]
    with Guest(command) as vm:
        qmp = Qmp(qmp_path)
        deaf = socket.socket(socket.AF_UNIX)
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(serial_path)
        deaf.sendall(b"while :; do echo a line that nobody reads; done\n")
        # The kernel's messages and the loop fill every buffer on the way.
        deadline = time.monotonic() + 60 * PATIENCE
        while time.monotonic() < deadline and not select.select([deaf], [], [], 0.1)[0]:
            pass
        assert qmp.command("query-status")["status"] == "running"
        deaf.close()
        peer = socket.socket(socket.AF_UNIX)
        peer.settimeout(120 * PATIENCE)
        peer.connect(serial_path)
        assert peer.recv(1)
        qmp.command("quit")
        assert vm.wait(30) == 0


@pytest.fixture
def small(tmp_path):
    """A file system of 4 MiB; needs the right to mount."""
    if os.geteuid() != 0:
        pytest.skip("mounts a small file system: needs root")
    mount = tmp_path / "small"
    mount.mkdir()
    subprocess.check_call(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(mount)])
    yield mount
    subprocess.check_call(["umount", "-l", str(mount)])


def test_a_full_host_disk_is_an_error_to_a_guest_that_wants_it_so(build, small, tmp_path):
    """werror=report: the guest sees the error; logs on the full disk lose lines; the monitor lives on."""
    disk, log, qmp_path = small / "disk.raw", small / "log", str(tmp_path / "qmp")
    with open(disk, "wb") as file:
        file.truncate(16 << 20)
    command = [os.path.join(build, "bin", "lodge-vmm"), "-nodefaults", "-display", "none",
               *hold_options(build, "lodge.shell"), "-chardev", f"stdio,id=s,logfile={log}", "-serial", "chardev:s",
               "-drive", f"file={disk},format=raw,if=virtio,werror=report",
               "-qmp", f"unix:{qmp_path},server=on,wait=off"]
    with Guest(command) as vm:
        vm.expect("reached init", 300)
        qmp = Qmp(qmp_path)
        status, text = vm.run("dd if=/dev/zero of=/dev/vda bs=64k count=200 conv=fsync", 60)
        assert status != 0 and "error" in text.lower()
        event = qmp.wait_event("BLOCK_IO_ERROR", 10)["data"]
        assert event["action"] == "report" and event["nospace"] is True
        assert qmp.command("query-status")["status"] == "running"
        assert vm.run("echo still here; head -c 512 /dev/vda | wc -c")[0] == 0
        qmp.command("quit")
        assert vm.wait(30) == 0
    assert "Linux version" in log.read_text(errors="replace")


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
