"""Starts a session's lodged below a folder of its own and runs the clients against it.

Used by the demo and the tests. SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import shutil
import subprocess
import time
from pathlib import Path

import rpc
from patience import PATIENCE

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("LODGE_BUILD", os.path.join(TOP, "build"))


def build_for_others(folder):
    """A build folder whose programs every user may start: BUILD, or a copy of them below the folder where BUILD is in
    one that only its owner may search, as /root."""
    if all(parent.stat().st_mode & 0o001 for parent in Path(BUILD, "bin").resolve().parents):
        return BUILD
    programs = os.path.join(folder, "build", "bin")
    if not os.path.exists(programs):
        os.makedirs(programs)
        for entry in os.scandir(os.path.join(BUILD, "bin")):
            if entry.is_file():
                shutil.copy(entry.path, programs)
    return os.path.dirname(programs)


class Lodged:
    """A running daemon."""

    def __init__(self, root, *options, build=BUILD, session=True, prefix=()):
        self.root = root
        self.session = session
        self.build = build
        self.log = os.path.join(root, "lodged.log")
        self.socket = os.path.join(root, "run", "lodge-sock")
        with open(self.log, "ab") as log:
            self.log_start = log.tell()  # of a daemon before, on the same folder, it says "ready" too
            self.process = subprocess.Popen(
                [*prefix, os.path.join(build, "bin", "lodged"), *(["--session"] if session else []),
                 "--root", root, *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.wait_until_ready()

    def wait_until_ready(self):
        deadline = time.monotonic() + 30 * PATIENCE
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.read_log()
            if "ready:" in self.read_log():
                return
            time.sleep(0.02)
        raise AssertionError("lodged is not ready: " + self.read_log())

    def read_log(self):
        with open(self.log, "rb") as log:
            log.seek(self.log_start)
            return log.read().decode(errors="replace")

    @property
    def uri(self):
        return f"qemu+unix:///{'session' if self.session else 'system'}?socket={self.socket}"

    def wait_for_removals(self):
        """Until the folders of guests that have ended are gone: that goes on behind the calls."""
        folders = [os.path.join(self.root, name, "removed") for name in ("run", "lib")]
        while any(os.path.isdir(folder) and os.listdir(folder) for folder in folders):
            time.sleep(0.01)

    def client(self, suffix=""):
        return rpc.Client(self.socket + suffix)

    def virsh(self, *words, check=True, timeout=60):
        done = subprocess.run(["virsh", "-c", self.uri, *words], capture_output=True, text=True,
                              timeout=timeout * PATIENCE, check=False)
        assert not check or done.returncode == 0, done.stderr
        return done

    def lodge_command(self, *words):
        """The command line of the built lodge, connected to this daemon."""
        return [os.path.join(self.build, "bin", "lodge"), "-c", self.uri, *words]

    def lodge(self, *words, check=True, timeout=60):
        done = subprocess.run(self.lodge_command(*words), capture_output=True, text=True,
                              timeout=timeout * PATIENCE, check=False)
        assert not check or done.returncode == 0, done.stderr
        return done

    def rss_kib(self):
        with open(f"/proc/{self.process.pid}/status", encoding="utf-8") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

    def peak_kib(self):
        with open(f"/proc/{self.process.pid}/status", encoding="utf-8") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

    def is_sanitized(self):
        """Sanitizers keep freed memory: how much is resident says nothing then."""
        with open(f"/proc/{self.process.pid}/maps", encoding="utf-8") as maps:
            return "libasan" in maps.read()

    def count_fds(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        assert self.process.wait(30 * PATIENCE) == 0, self.read_log()
