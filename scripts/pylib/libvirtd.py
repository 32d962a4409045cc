"""The real libvirtd, a session's own, as the oracle of differential tests.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import shutil
import subprocess
import tempfile
import time

from patience import PATIENCE


def find():
    """Path of libvirtd, or None where it or virsh is not installed."""
    path = shutil.which("libvirtd") or "/usr/sbin/libvirtd"
    return path if os.path.exists(path) and shutil.which("virsh") else None


class Libvirtd:
    """A running daemon; as root it runs as nobody, apart from the host's.

    @config: lines of its libvirtd.conf. @prepare, called with its folder before it starts, gives more
    variables of its environment. @probe: what to ask until it answers, where virsh alone cannot.
    """

    def __init__(self, config="", prepare=lambda folder: {},
                 probe=None):
        # Not below a test's folder, which other users cannot enter.
        self.folder = tempfile.mkdtemp(prefix="lodge-libvirtd-")
        env = dict(os.environ, HOME=self.folder)
        for name in ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
            env[name] = self.folder
        os.makedirs(os.path.join(self.folder, "libvirt"))
        with open(os.path.join(self.folder, "libvirt", "libvirtd.conf"), "w", encoding="utf-8") as file:
            file.write(config)
        env.update(prepare(self.folder))
        command = [find()]
        if os.geteuid() == 0:
            for path, _, names in os.walk(self.folder):
                for name in (path, *(os.path.join(path, name) for name in names)):
                    shutil.chown(name, "nobody")
            command = ["setpriv", "--reuid=nobody", "--clear-groups", *command]
        self.process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        self.socket = os.path.join(self.folder, "libvirt", "libvirt-sock")
        self.uri = f"qemu+unix:///session?socket={self.socket}"
        deadline = time.monotonic() + 120 * PATIENCE
        while not (probe(self) if probe else self.virsh("uri", check=False).returncode == 0):
            assert self.process.poll() is None and time.monotonic() < deadline, "libvirtd does not start"
            time.sleep(0.05)
        if not probe:
            self.let_it_look_at_qemu()

    def let_it_look_at_qemu(self):
        """Once, and again where QEMU 7.2 never answers: two of its threads may accept the one connection of its monitor,
        and the second then waits for another. libvirtd waits as long as that QEMU is there."""
        for _ in range(3):
            try:
                self.virsh("domcapabilities", "--virttype", "qemu", check=False, timeout=20)
                return
            except subprocess.TimeoutExpired:
                subprocess.run(["pkill", "-KILL", "-f", f"qmp unix:{self.folder}/"], check=False)

    def virsh(self, *words, check=True, timeout=120):
        done = subprocess.run(["virsh", "-c", self.uri, *words], capture_output=True, text=True,
                              timeout=timeout * PATIENCE, check=False)
        assert not check or done.returncode == 0, done.stderr
        return done

    def stop(self):
        self.process.terminate()
        self.process.wait(30 * PATIENCE)
        shutil.rmtree(self.folder, ignore_errors=True)
