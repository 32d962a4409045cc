"""The GDB stub with the real GDB, on a bare guest that counts.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import re
import shutil
import socket
import subprocess
import time

import pytest
from guest import Guest, monitor_command
from patience import PATIENCE

pytestmark = pytest.mark.skipif(not shutil.which("gdb"), reason="gdb is not installed")


class Debugger:
    """The counting guest, not started, and a way to run GDB commands on it."""

    def __init__(self, build, folder, *options):
        self.elf = os.path.join(build, "tests", "guest", "debuggee.elf")
        self.socket = os.path.join(folder, "gdb")
        self.command = monitor_command(build, "-m", "64", "-kernel", self.elf, "-S",
                                       "-gdb", f"unix:{self.socket},server=on,wait=off",
                                       "-device", "isa-debug-exit,iobase=0xf4,iosize=4", *options)

    def gdb_command(self, *commands):
        argv = ["gdb", "-nx", "-batch", "-ex", "set pagination off", "-ex", "set tcp connect-timeout 30",
                self.elf, "-ex", f"target remote {self.socket}"]
        for command in commands:
            argv += ["-ex", command]
        return argv

    def wait_for_socket(self):
        deadline = time.monotonic() + 30 * PATIENCE
        while not os.path.exists(self.socket):
            assert time.monotonic() < deadline, "the monitor made no socket"
            time.sleep(0.02)

    def run(self, *commands):
        """Returns what GDB printed."""
        self.wait_for_socket()
        return subprocess.run(self.gdb_command(*commands), stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=120 * PATIENCE, check=False).stdout


@pytest.fixture(params=["xlate", "kvm"])
def debugger(request, build, tmp_path):
    if request.param == "kvm" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("/dev/kvm cannot be opened")
    return Debugger(build, str(tmp_path), "-accel", request.param)


def test_breakpoints_steps_and_registers(debugger):
    with Guest(debugger.command):
        text = debugger.run("break *count", "continue", "print $rdi", "continue", "print $rdi", "stepi",
                            "print (long)$pc - (long)count", "finish", "print $rax", "print (long)counter",
                            "info registers cr0 efer")
    assert text.count("Breakpoint 1, ") == 2, text
    assert "$1 = 0\n" in text and "$2 = 1\n" in text, text
    assert "$3 = 1\n" in text, text
    assert "$4 = 2\n" in text and "$5 = 2\n" in text, text
    assert re.search(r"cr0 +0x8000001[13]", text) and re.search(r"efer +0x500", text), text


def test_watchpoints_tell_old_and_new_value(debugger):
    if "kvm" in debugger.command and os.path.exists("/sys/module/kvm_pvm"):
        pytest.skip("this host's KVM emulates instructions, and its emulator does not watch data")
    with Guest(debugger.command):
        text = debugger.run("break count", "continue", "delete", "watch *(long *)&counter", "continue", "continue")
    assert "Old value = 0\nNew value = 1" in text, text
    assert "Old value = 1\nNew value = 2" in text, text


def test_many_breakpoints_and_a_condition(debugger):
    with Guest(debugger.command):
        text = debugger.run("break count if $rdi == 20", "continue", "print $rdi", "backtrace")
    assert "$1 = 20\n" in text, text


def test_memory_and_registers_can_be_changed(debugger):
    with Guest(debugger.command) as vm:
        text = debugger.run("break count", "continue", "set $rdi = 41", "finish", "print (long)counter",
                            "delete", "set {long}&wanted = 1", "continue")
        assert "$1 = 42\n" in text, text
        assert vm.wait(30) == 33
    assert "exited" in text or "Remote connection closed" in text, text


def test_a_running_guest_is_interrupted_and_left_running(debugger):
    with Guest(debugger.command) as vm:
        debugger.run("break count", "continue", "detach")
        # The guest runs again. A second debugger finds it anywhere; an interrupt stops it.
        text = debugger.run("print (long)counter > 0")
        assert "$1 = 1\n" in text, text
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(30 * PATIENCE)
            peer.connect(debugger.socket)
            peer.sendall(b"$vCont;c#a8")
            answer = peer.recv(100)
            assert answer == b"+", answer
            peer.sendall(b"\x03")
            while answer.count(b"#") == 0:
                answer += peer.recv(100)
            assert b"$T02thread:1;" in answer, answer
        text = debugger.run("set {long}&wanted = 1", "detach")
        assert vm.wait(30) == 33, text


def test_killing_from_gdb_ends_the_monitor(debugger):
    with Guest(debugger.command) as vm:
        debugger.run("kill")
        assert vm.wait(30) == 0


def test_garbage_on_the_socket_is_survived(debugger):
    with Guest(debugger.command) as vm:
        debugger.wait_for_socket()
        for junk in (b"$m#00", b"\x03" * 100, b"$" + b"x" * 100000, b"$vCont;s:77#d9", os.urandom(4096)):
            with socket.socket(socket.AF_UNIX) as peer:
                peer.connect(debugger.socket)
                peer.sendall(junk)
        assert "count" in debugger.run("break count", "continue")
        assert vm.process.poll() is None
