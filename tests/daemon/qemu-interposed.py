#!/usr/bin/python3
"""QEMU with something between its monitor and the daemon, by which a test says what no guest here says.

An <emulator> for lodged and libvirtd alike: it runs the real QEMU. A test connects to the abstract socket
"lodge-monitor-UUID" (that of the guest); what it writes there goes to the daemon as if QEMU had said it, between two
of QEMU's lines. Used by test_events.py. SPDX-License-Identifier: GPL-2.0-or-later
"""
import ctypes
import os
import re
import select
import signal
import socket
import subprocess
import sys

QEMU = "/usr/bin/qemu-system-x86_64"
PR_SET_PDEATHSIG = 1


def run_qemu(monitor, uuid):
    """Starts it with another listening socket under the descriptor that its command line names."""
    ours = socket.fromfd(monitor, socket.AF_UNIX, socket.SOCK_STREAM)
    theirs = socket.socket(socket.AF_UNIX)
    theirs.bind(f"\0lodge-monitor-{uuid}-qemu")
    theirs.listen(1)
    os.dup2(theirs.fileno(), monitor, inheritable=True)
    libc = ctypes.CDLL(None)
    child = subprocess.Popen([QEMU, *sys.argv[1:]], close_fds=False,
                             preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
    os.close(monitor)
    return child, ours, theirs.getsockname()


class Relay:
    """One client of the monitor at a time."""

    def __init__(self, listener, peer, control):
        self.listener, self.peer, self.control = listener, peer, control
        self.daemon = self.qemu = self.test = None
        self.partial = b""

    def drop_daemon(self):
        for end in (self.daemon, self.qemu):
            if end:
                end.close()
        self.daemon = self.qemu = None

    def accept(self):
        self.drop_daemon()
        self.daemon = self.listener.accept()[0]
        self.qemu = socket.socket(socket.AF_UNIX)
        self.qemu.connect(self.peer)
        self.partial = b""

    def from_daemon(self):
        data, fds, _flags, _address = socket.recv_fds(self.daemon, 65536, 16)
        if not data:
            self.drop_daemon()
            return
        socket.send_fds(self.qemu, [data], fds)
        for fd in fds:
            os.close(fd)

    def from_qemu(self):
        data = self.qemu.recv(65536)
        if not data:
            self.drop_daemon()
            return
        lines, newline, self.partial = (self.partial + data).rpartition(b"\n")
        self.daemon.sendall(lines + newline)

    def from_test(self):
        data = self.test.recv(65536)
        if data and self.daemon:
            self.daemon.sendall(data)
        elif not data:
            self.test.close()
            self.test = None

    def step(self):
        handlers = {self.listener: self.accept, self.daemon: self.from_daemon, self.qemu: self.from_qemu,
                    self.test: self.from_test}
        handlers.pop(None, None)
        for ready in select.select([*handlers, self.control], [], [], 1)[0]:
            if ready is self.control:
                self.test = self.control.accept()[0]
            elif ready.fileno() >= 0:
                try:
                    handlers[ready]()
                except OSError:
                    self.drop_daemon()


def main():
    monitor = re.search(r"socket,id=charmonitor,fd=(\d+)", " ".join(sys.argv))
    if not monitor:
        os.execv(QEMU, [QEMU, *sys.argv[1:]])  # asked for its capabilities
    uuid = sys.argv[sys.argv.index("-uuid") + 1]
    control = socket.socket(socket.AF_UNIX)
    control.bind(f"\0lodge-monitor-{uuid}")
    control.listen(1)
    child, listener, peer = run_qemu(int(monitor.group(1)), uuid)
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    relay = Relay(listener, peer, control)
    while child.poll() is None:
        relay.step()
    sys.exit(max(child.returncode, 0))


main()
