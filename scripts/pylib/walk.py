"""A script of commands that virsh and lodge are walked through, and what each gave.

The script's format is explained at the top of tests/daemon/virsh-rows.txt.
SPDX-License-Identifier: GPL-2.0-or-later
"""
import array
import os
import pty
import re
import select
import shlex
import socket
import struct
import subprocess
import threading
import time

from guestxml import Console
from patience import PATIENCE

REGISTER_ANY = 316
REGISTER_MONITOR = 4


class Row:
    """A command with what is expected of it."""

    def __init__(self, number, line):
        self.number, self.line = number, line
        self.expected = []  # (condition or None, "=" or "!", code or None, pattern)
        self.differs = self.may_differ = False  # lodge's output from virsh's
        self.later = None

    @property
    def command(self):
        return next(word for word in shlex.split(self.line) if not re.match(r"[A-Z]+=|-", word))

    def expectation(self, words):
        """[(kind, code, pattern)] where the walk has these words (engine, mode)."""
        special = [item[1:] for item in self.expected if item[0] and item[0] in words]
        return special or [item[1:] for item in self.expected if not item[0]]


class Directive:
    def __init__(self, number, text):
        self.number = number
        self.name, *rest = text.split(None, 1)
        self.rest = rest[0] if rest else ""


def read_script(path):
    """The rows and directives, in their order."""
    steps, row = [], None
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            text = line.rstrip("\n")
            if not text.strip() or text.startswith("#"):
                continue
            if text.startswith("%"):
                steps.append(Directive(number, text[1:].strip()))
            elif not text.startswith(" "):
                row = Row(number, text)
                steps.append(row)
            else:
                read_expectation(row, text.strip(), f"{path}:{number}")
    for row in steps:
        assert not isinstance(row, Row) or row.expected, f"{path}:{row.number}: nothing is expected"
    return steps


def read_expectation(row, text, where):
    match = re.fullmatch(r"(?:@(\S+) +)?(=|!|~\??|later:) ?(.*)", text)
    assert match, f"{where}: no expectation: {text}"
    condition, kind, rest = match.groups()
    if kind[0] == "~":
        row.differs, row.may_differ = kind == "~", True
    elif kind == "later:":
        row.later = rest
    elif kind == "=":
        row.expected.append((condition, kind, None, rest))
    else:
        code, _, pattern = rest.partition(" ")
        row.expected.append((condition, kind, None if code == "-" else int(code), pattern))


class Proxy:
    """Sits between clients and a daemon's socket; notes the codes of errors, and registrations for events."""

    def __init__(self, path, target):
        self.target = target
        self.codes = []
        self.registered = threading.Event()
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(path)
        self.server.listen(16)
        threading.Thread(target=self.accept, daemon=True).start()

    def stop(self):
        self.server.close()

    def accept(self):
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            daemon = socket.socket(socket.AF_UNIX)
            try:
                daemon.connect(self.target)
            except OSError:
                client.close()
                continue
            threading.Thread(target=self.relay, args=(client, daemon, None), daemon=True).start()
            threading.Thread(target=self.relay, args=(daemon, client, Replies(self)), daemon=True).start()

    @staticmethod
    def relay(source, sink, observer):
        try:
            while True:
                data, control, _, _ = source.recvmsg(1 << 16, socket.CMSG_LEN(32 * 4))
                fds = array.array("i")
                for _, _, raw in control:
                    fds.frombytes(raw[:len(raw) - len(raw) % 4])
                if not data:
                    break
                if observer:
                    observer.feed(data)
                sent = sink.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)] if fds else [])
                for fd in fds:
                    os.close(fd)
                sink.sendall(data[sent:])
        except OSError:
            pass
        finally:
            for end in (source, sink):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass


class Replies:
    """Splits what a daemon sends into messages."""

    def __init__(self, proxy):
        self.proxy, self.pending, self.skip = proxy, b"", 0

    def feed(self, data):
        self.pending += data
        while True:
            passed = min(self.skip, len(self.pending))
            self.pending, self.skip = self.pending[passed:], self.skip - passed
            if len(self.pending) < 32:
                return
            length = struct.unpack(">I", self.pending[:4])[0]
            if len(self.pending) < length:
                return
            _, _, procedure, kind, _, status, first = struct.unpack(">7I", self.pending[4:32])
            self.pending = self.pending[length:]
            if kind == 5:  # a reply with descriptors: a byte for each follows
                self.skip = first
            if status == 1:
                self.proxy.codes.append(first)
            elif procedure in (REGISTER_ANY, REGISTER_MONITOR):
                self.proxy.registered.set()


class Result:
    def __init__(self, row, status, out, err, codes):
        self.row, self.status, self.out, self.err, self.codes = row, status, out, err, codes

    def fault(self, words):
        """What is not as expected, or None."""
        for kind, code, pattern in self.row.expectation(words):
            text = self.out if kind == "=" else self.err
            if (self.status == 0) != (kind == "="):
                return self.describe("it failed" if kind == "=" else "it did not fail")
            if code is not None and (not self.codes or self.codes[-1] != code):
                return self.describe(f"not code {code}")
            if not re.search(pattern, text, re.S | re.M):
                return self.describe(f"no match for {pattern!r}")
        return None

    def describe(self, why):
        return f"line {self.row.number}: {self.row.line}: {why}\n" \
               f"    status {self.status}, codes {self.codes}\n    {(self.out + self.err)[:1500]!r}"


class Walk:
    """One daemon and one client program that goes through the script."""

    def __init__(self, daemon, program, names, agent=None):
        """@program: the client's command line; @names: values of $NAMES in the script."""
        self.daemon, self.program, self.agent = daemon, list(program), agent
        self.names = dict(names, ROOT=daemon.root)
        path = os.path.join(daemon.root, "proxy")
        self.proxy = Proxy(path, daemon.socket)
        self.uri = daemon.uri.replace(daemon.socket, path)
        self.console = None
        self.results = []

    def fill(self, text):
        return re.sub(r"\$([A-Z]+)", lambda match: self.names.get(match[1], match[0]), text)

    def run(self, steps):
        for step in steps:
            if isinstance(step, Row):
                self.results.append(self.run_row(step))
            else:
                getattr(self, "do_" + step.name)(self.fill(step.rest))
        if self.console:
            self.console.close()
        self.proxy.stop()
        return self.results

    # --- directives ---

    def do_file(self, rest):
        """file NAME TEXT"""
        name, text = rest.split(None, 1)
        with open(os.path.join(self.daemon.root, name), "w", encoding="utf-8") as file:
            file.write(text)

    def do_image(self, rest):
        """image NAME SIZE"""
        name, size = rest.split()
        with open(os.path.join(self.daemon.root, name), "wb") as file:
            file.truncate(int(size))

    def do_wait(self, rest):
        """wait GUEST: until its shell is there"""
        if self.console:
            self.console.close()
        self.console = Console(self.daemon.virsh("ttyconsole", rest).stdout.strip())
        self.console.expect("reached init", 300)
        self.console.run("true")

    def do_guest(self, rest):
        """guest COMMAND: run by the guest's shell"""
        status, text = self.console.run(rest, 60)
        assert status == 0, text

    def do_until(self, rest):
        """until PATTERN COMMAND...: virsh's output matches"""
        pattern, *words = shlex.split(rest)
        deadline = time.monotonic() + 60 * PATIENCE
        while not re.search(pattern, self.daemon.virsh(*words, check=False).stdout):
            assert time.monotonic() < deadline, f"{rest}: {self.daemon.virsh(*words, check=False).stdout}"
            time.sleep(0.05)

    def do_section(self, _rest):
        """section NAME: for readers"""

    # --- rows ---

    def run_row(self, row):
        words = [self.fill(word) for word in shlex.split(row.line)]
        settings = {}
        while re.match(r"[A-Z]+=", words[0]):
            name, _, value = words.pop(0).partition("=")
            settings[name] = value
        env = dict(os.environ, LC_ALL="C.UTF-8", **settings)
        self.proxy.codes.clear()
        self.proxy.registered.clear()
        command = [*self.program, "-c", self.uri, *words]
        if "KEYS" in settings:
            status, out, err = self.run_on_terminal(command, env, settings["KEYS"])
        else:
            status, out, err = self.run_plain(command, env, settings.get("WHILE"))
        return Result(row, status, out, err, list(self.proxy.codes))

    def run_plain(self, command, env, meanwhile):
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env=env, text=True, errors="replace")
        if meanwhile:
            self.proxy.registered.wait(20 * PATIENCE)
            codes = self.proxy.codes
            self.proxy.codes = []
            self.daemon.virsh(*shlex.split(meanwhile))
            self.proxy.codes = codes
        try:
            out, err = process.communicate(timeout=120 * PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            err += "(killed after 120 s)"
        return process.returncode, out, err

    @staticmethod
    def run_on_terminal(command, env, keys):
        """Types @keys (^] is written \\x1d) from the time that "Escape character" is shown until the program ends. Where
        it prints JSON it does not show that."""
        pid, fd = pty.fork()
        if pid == 0:
            os.execvpe(command[0], command, env)
        text, deadline = b"", time.monotonic() + 60 * PATIENCE
        while time.monotonic() < deadline:
            if not select.select([fd], [], [], 0.3)[0]:
                if b"Escape character" in text or "--json" in command:
                    os.write(fd, keys.encode().decode("unicode_escape").encode())
                continue
            try:
                text += os.read(fd, 4096)
            except OSError:
                break
        os.close(fd)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return status, text.decode(errors="replace").replace("\r\n", "\n"), ""
