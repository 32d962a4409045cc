"""Runs a program on a terminal of its own. SPDX-License-Identifier: GPL-2.0-or-later
"""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time

from patience import PATIENCE


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, command, env=None, rows=24, columns=80):
        self.text, self.position = "", 0
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also where the tests were started by nohup
            os.execvpe(command[0], command, dict(os.environ, TERM="xterm", LC_ALL="C.UTF-8", **(env or {})))
        self.resize(rows, columns)

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def type(self, keys):
        os.write(self.fd, keys.encode())

    def read(self):
        if not select.select([self.fd], [], [], 0.2)[0]:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return False
        self.text += data.decode(errors="replace")
        return True

    def expect(self, pattern, timeout=60):
        deadline = time.monotonic() + timeout * PATIENCE
        while not (match := re.compile(pattern, re.S).search(self.text, self.position)):
            assert self.read() and time.monotonic() < deadline, f"no {pattern!r} in {self.text[self.position:]!r}"
        self.position = match.end()
        return match

    def end(self, timeout=60):
        """The exit status, once the program has ended."""
        deadline = time.monotonic() + timeout * PATIENCE
        while self.read():
            assert time.monotonic() < deadline, "it does not end: " + self.text[-500:]
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
