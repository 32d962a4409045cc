"""Starts a guest in lodge-vmm (or QEMU, as the peer) and talks to its serial console.

Used by the demo, the guest tests and the benches. Needs nothing but Python.
SPDX-License-Identifier: GPL-2.0-or-later
"""
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time

from patience import PATIENCE


class GuestError(Exception):
    """The guest or its monitor did not do what was waited for; the text ends with its last output."""


class Guest:
    """One monitor process with its serial console on a pipe. Use as a context manager: it never outlives the block."""

    def __init__(self, argv, echo=None, env=None):
        """@argv: whole command, its serial port on standard input and output. @echo: stream that shows the console."""
        self.argv = argv
        self.echo = echo
        self.output = ""
        self.started = time.monotonic()
        self._position = 0
        self._errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self._errors, env=env, start_new_session=True)
        os.set_blocking(self.process.stdout.fileno(), False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def errors(self):
        """What the monitor wrote on standard error so far."""
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")

    def _read(self, timeout):
        """Takes in console output; False at its end."""
        stream = self.process.stdout
        if not select.select([stream], [], [], timeout)[0]:
            return True
        data = stream.read()
        if not data:
            return data is None
        text = data.decode(errors="replace")
        self.output += text
        if self.echo:
            self.echo.write(text.replace("\r\n", "\n"))
            self.echo.flush()
        return True

    def _fail(self, what):
        tail = "\n".join(self.output.splitlines()[-25:])
        raise GuestError(f"{what}\n--- standard error:\n{self.errors()}\n--- console:\n{tail}")

    def expect(self, pattern, timeout=120):
        """Waits until @pattern (regular expression) appears after the last match; returns the match."""
        timeout *= PATIENCE
        deadline = time.monotonic() + timeout
        compiled = re.compile(pattern)
        while True:
            match = compiled.search(self.output, self._position)
            if match:
                self._position = match.end()
                return match
            left = deadline - time.monotonic()
            if left <= 0:
                self._fail(f"'{pattern}' did not appear within {timeout} s")
            if not self._read(min(left, 1.0)) and not compiled.search(self.output, self._position):
                self.process.wait()
                self._fail(f"the monitor ended (status {self.process.returncode}) before '{pattern}'")

    def send(self, text):
        """Types @text on the console."""
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def log_in(self, boot=1800, step=300):
        """Waits @boot seconds for the login prompt of make-rootfs' disk and logs in as root, each step in @step seconds:
        from there on the terminal echoes nothing and the shell's prompt is "# "."""
        self.expect("lodge login: ", boot)
        self.send("root\n")
        self.expect("Password: ", step)
        self.send("lodge\n")
        self.expect("# ", step)
        self.run("stty -echo; export PS1='# ' TERM=dumb", step)

    def run(self, command, timeout=120):
        """Runs a shell command in the guest's shell; returns (status, output)."""
        mark = f"done{time.monotonic_ns()}"
        # The mark is split in what is typed, so that the echo of the line is not taken for the answer.
        self.send(f"{command}; echo {mark[:4]}''{mark[4:]}=$?\n")
        before = self._position
        match = self.expect(rf"{mark}=(\d+)\r*\n", timeout)
        lines = self.output[before:match.start()].replace("\r", "").split("\n")
        if lines and f"{mark[:4]}''{mark[4:]}" in lines[0]:
            del lines[0]  # the echo
        return int(match.group(1)), "\n".join(lines)

    def wait(self, timeout=60):
        """Waits for the monitor's own end; returns its exit status."""
        timeout *= PATIENCE
        deadline = time.monotonic() + timeout
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                self._fail(f"the monitor did not end within {timeout} s")
            if not self._read(0.1):
                time.sleep(0.02)
        while self._read(0) and select.select([self.process.stdout], [], [], 0)[0]:
            pass
        return self.process.returncode

    def kill(self):
        """Ends the monitor if it still runs."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Qmp:
    """A QMP connection on a unix socket."""

    def __init__(self, path, timeout=10):
        timeout *= PATIENCE
        deadline = time.monotonic() + timeout
        self.socket = socket.socket(socket.AF_UNIX)
        while True:
            try:
                self.socket.connect(path)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        self.socket.settimeout(timeout)
        self.stream = self.socket.makefile("rwb")
        self.events = []
        self.greeting = self._receive()
        self.command("qmp_capabilities")

    def _receive(self):
        line = self.stream.readline()
        if not line:
            raise GuestError("the QMP connection was closed")
        return json.loads(line)

    def raw(self, name, members=None, **arguments):
        """Sends a command; returns the whole reply. @members go as they are, with their underscores."""
        message = {"execute": name}
        if arguments or members:
            message["arguments"] = {k.replace("_", "-"): v for k, v in arguments.items()} | (members or {})
        self.stream.write(json.dumps(message).encode() + b"\n")
        self.stream.flush()
        while True:
            reply = self._receive()
            if "event" in reply:
                self.events.append(reply)
            else:
                return reply

    def command(self, name, members=None, **arguments):
        """Sends a command; returns what it returns, or raises with its error."""
        reply = self.raw(name, members, **arguments)
        if "error" in reply:
            raise GuestError(f"{name}: {reply['error']['desc']}")
        return reply["return"]

    def wait_event(self, name, timeout=30):
        """The next event of this name, also one that came before."""
        self.socket.settimeout(timeout * PATIENCE)
        while True:
            for event in self.events:
                if event["event"] == name:
                    self.events.remove(event)
                    return event
            reply = self._receive()
            if "event" in reply:
                self.events.append(reply)

    def close(self):
        self.stream.close()
        self.socket.close()


def monitor_command(build, *options):
    """The command line of the built lodge-vmm with its serial console on standard input and output."""
    return [os.path.join(build, "bin", "lodge-vmm"), "-nodefaults", "-display", "none",
            "-serial", "stdio", *options]


def qemu_command(*options):
    """The same for the peer, QEMU with its own translator."""
    return ["qemu-system-x86_64", "-accel", "tcg", "-machine", "q35", "-nodefaults", "-display", "none",
            "-serial", "stdio", "-no-user-config", *options]


def cpu_seconds(pid):
    """User and system time of a process so far."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit("guest.py is a module; see scripts/demo and tests/guest")
