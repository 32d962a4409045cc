"""liblodge's example programs, against lodged and against the real libvirtd's test driver host.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import subprocess

from conftest import BUILD
from patience import PATIENCE

EXAMPLES = os.path.join(BUILD, "src", "client", "examples")


def run(name, *words, env=None):
    return subprocess.run([os.path.join(EXAMPLES, name), *words], capture_output=True, text=True,
                          timeout=30 * PATIENCE, check=False, stdin=subprocess.DEVNULL,
                          env=dict(os.environ, **(env or {})))


def test_the_host_is_shown(lodged):
    done = run("list-domains", lodged.uri)
    assert done.stdout.startswith("host: x86_64, "), done.stderr


def test_events_can_be_watched(lodged):
    done = run("watch-events", lodged.uri)
    assert done.returncode == 0 and done.stdout == "watching\n", done.stderr


def test_an_absent_daemon_is_named(tmp_path):
    done = run("list-domains", f"qemu+unix:///system?socket={tmp_path}/none")
    assert done.returncode == 1 and "is lodged running" in done.stderr


def test_a_malformed_uri_is_quoted():
    for uri in ("vbox:///system", "qemu:///nowhere", "qemu+udp://h/system", "qemu+tls:///system",
                "::", ""):
        done = run("list-domains", uri)
        assert done.returncode == 1 and "(8)" in done.stderr, (uri, done.stderr)


def test_the_session_daemon_is_started_when_absent(tmp_path):
    env = {"XDG_RUNTIME_DIR": str(tmp_path / "run"), "HOME": str(tmp_path),
           "XDG_CONFIG_HOME": str(tmp_path / "c"), "XDG_DATA_HOME": str(tmp_path / "d"),
           "XDG_CACHE_HOME": str(tmp_path / "k"),
           "LODGED_PATH": os.path.join(BUILD, "bin", "lodged")}
    (tmp_path / "run").mkdir(mode=0o700)
    done = run("list-domains", "qemu:///session", env=env)
    try:
        assert done.stdout.startswith("host: x86_64"), done.stderr
    finally:
        # By the socket's owner: the daemon runs on its own.
        found = subprocess.run(["fuser", str(tmp_path / "run" / "lodge" / "lodge-sock")],
                               capture_output=True, text=True, check=False)
        for pid in found.stdout.split():
            os.kill(int(pid), 15)
