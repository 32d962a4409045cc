"""lodge doctor: each check forced to fail on a host made for it, and what it then says to do (10 s).

SPDX-License-Identifier: GPL-2.0-or-later
"""
import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from lodged import BUILD, Lodged
from patience import PATIENCE

LODGE = os.path.join(BUILD, "bin", "lodge")
CHECKS = {"programs", "kvm", "network", "vhost", "session", "daemon", "engine", "libvirt", "permissions", "cgroups",
          "forwarding", "firewall", "limits", "space"}


class Findings:
    """The report of one run: check, verdict, finding, advice."""

    def __init__(self, done):
        self.status, self.text = done.returncode, done.stdout + done.stderr
        self.rows = re.findall(r"^(ok|note|problem) +(\w+) +(.*)\n(?: +-> (.*)\n)?", done.stdout, re.M)

    def of(self, check, verdict):
        rows = [(finding, advice) for word, name, finding, advice in self.rows if (name, word) == (check, verdict)]
        assert rows, f"no {verdict} of {check} in:\n{self.text}"
        assert verdict == "ok" or all(advice for _, advice in rows)
        return " ".join(rows[0])


def doctor(*words, prefix=(), **variables):
    env = dict(os.environ, LC_ALL="C", **{name: str(value) for name, value in variables.items()})
    for name in ("LODGE_URI", "LIBVIRT_DEFAULT_URI", "VIRSH_DEFAULT_CONNECT_URI"):
        env.pop(name, None)
    return Findings(subprocess.run([*prefix, LODGE, *words, "doctor"], env=env, capture_output=True, text=True, timeout=60 * PATIENCE,
                                   check=False))


needs_namespace = pytest.mark.skipif(
    os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode != 0,
    reason="needs a mount namespace")


def on_a_host(script):
    """A prefix for commands of a host that the script makes in a mount namespace of its own."""
    return ["unshare", "--mount", "sh", "-c", f'set -e; {script}; exec "$@"', "sh"]


BARE_DEV = ("mkdir -p /run/lodge-dev; mount -t tmpfs none /run/lodge-dev; for n in null zero urandom; do "
            "touch /run/lodge-dev/$n; mount --bind /dev/$n /run/lodge-dev/$n; done; mount --move /run/lodge-dev /dev")


@pytest.fixture
def nobody():
    """A folder of a user's that is not root with copies of the programs, and what begins this user's commands."""
    if os.geteuid() != 0:
        pytest.skip("becomes another user")
    folder = Path(tempfile.mkdtemp(prefix="lodge-doctor-"))
    shutil.copy(LODGE, folder / "lodge")
    shutil.chown(folder, "nobody")
    yield folder, ["setpriv", "--reuid=nobody", "--clear-groups", "env", f"PATH={folder}:/usr/bin:/bin", "sh", "-c",
                   f'shift; exec {shlex.quote(str(folder / "lodge"))} "$@"', "sh"]
    shutil.rmtree(folder, ignore_errors=True)


def test_a_daemon_that_answers_has_engines(lodged):
    found = doctor("-c", lodged.uri)
    assert "lodged answers at" in found.of("daemon", "ok")
    found.of("engine", "ok")
    assert {name for _, name, _, _ in found.rows} >= CHECKS - {"session"}


@needs_namespace
def test_a_daemon_without_engines(tmp_path):
    """Its folder has no monitor, and no QEMU is in sight."""
    (tmp_path / "bin").mkdir()
    shutil.copy(os.path.join(BUILD, "bin", "lodged"), tmp_path / "bin" / "lodged")
    hidden = "; ".join(f"mount --bind /bin/false {path}" for path in Path("/usr/bin").glob("qemu-system-*"))
    daemon = Lodged(str(tmp_path), build=str(tmp_path), prefix=on_a_host(hidden or "true"))
    try:
        found = doctor("-c", daemon.uri)
    finally:
        daemon.stop()
    assert "can run no guests" in found.of("engine", "problem") and "journalctl" in found.text


def test_every_finding_is_json_too(lodged):
    done = subprocess.run([LODGE, "-c", lodged.uri, "--json", "doctor"], capture_output=True, text=True, check=False)
    rows = json.loads(done.stdout)
    assert {row["result"] for row in rows} <= {"ok", "note", "problem"}
    assert (done.returncode != 0) == any(row["result"] == "problem" for row in rows)


def test_missing_programs(tmp_path):
    shutil.copy(LODGE, tmp_path / "lodge")
    done = subprocess.run([tmp_path / "lodge", "doctor"], env=dict(os.environ, PATH="/usr/bin:/bin"), capture_output=True, text=True,
                          timeout=60 * PATIENCE, check=False)
    found = Findings(done)
    assert "lodged is nowhere in PATH" in found.of("programs", "problem") and found.status == 1


@needs_namespace
def test_missing_devices():
    found = doctor(prefix=on_a_host(BARE_DEV))
    assert "no /dev/kvm" in found.of("kvm", "note") and "nested virtualization" in found.of("kvm", "note")
    assert "modprobe tun" in found.of("network", "note")
    assert "modprobe vhost_net" in found.of("vhost", "note")


@needs_namespace
@pytest.mark.parametrize("group, mode, advice", [("games", "660", "usermod -aG games"), ("games", "600", "chgrp kvm")])
def test_kvm_that_the_user_may_not_open(nobody, group, mode, advice):
    _, prefix = nobody
    host = on_a_host(f"{BARE_DEV}; touch /dev/kvm; chgrp {group} /dev/kvm; chmod {mode} /dev/kvm")
    assert advice in doctor(prefix=[*host, *prefix]).of("kvm", "problem")


@needs_namespace
@pytest.mark.parametrize("line, begins", [("", "sudo groupadd -r kvm; sudo chgrp"), ("kvm:x:106:", "sudo chgrp")], ids=["none", "there"])
def test_a_system_without_a_group_for_kvm(nobody, tmp_path, line, begins):
    """As one without udev, which makes the group."""
    _, prefix = nobody
    with open("/etc/group", encoding="utf-8") as file:
        (tmp_path / "group").write_text("".join(at for at in file if not at.startswith("kvm:")) + f"{line}\n")
    host = on_a_host(f"mount --bind {tmp_path}/group /etc/group; {BARE_DEV}; touch /dev/kvm; chmod 600 /dev/kvm")
    assert f"does not run: {begins}" in doctor(prefix=[*host, *prefix]).of("kvm", "problem")


def test_kvm_that_only_seems_to_be_one(tmp_path):
    """The monitor's verdict counts, not that the device can be opened."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("no /dev/kvm")
    shutil.copy(LODGE, tmp_path / "lodge")
    for verdict, text in (("note", "kvm not usable: it emulates"), ("ok", "kvm usable")):
        (tmp_path / "lodge-vmm").write_text(f"#!/bin/sh\necho '  {text}'\n")
        (tmp_path / "lodge-vmm").chmod(0o755)
        done = subprocess.run([tmp_path / "lodge", "doctor"], capture_output=True, text=True, timeout=60 * PATIENCE, check=False)
        assert ("it emulates" in Findings(done).of("kvm", verdict)) == (verdict == "note")


@pytest.mark.parametrize("value", [None, "/nowhere", "/proc"], ids=["not-set", "absent", "not-writable"])
def test_a_session_without_a_runtime_folder(nobody, value):
    _, prefix = nobody
    words = ["env", "-u", "XDG_RUNTIME_DIR"] if value is None else ["env", f"XDG_RUNTIME_DIR={value}"]
    assert "loginctl" in doctor("-c", "qemu+unix:///session?socket=/nowhere", prefix=[*words, *prefix]).of("session", "note")


def test_an_absent_daemon(tmp_path, nobody):
    socket = tmp_path / "none"
    found = doctor("-c", f"qemu+unix:///session?socket={socket}")
    assert str(socket) in found.of("daemon", "problem") and found.status == 1
    if not os.path.exists("/run/lodge/lodge-sock"):
        assert "lodged" in doctor("-c", "qemu:///system").of("daemon", "problem")
    found = doctor("-c", "qemu+tcp://127.0.0.1:1/system")
    assert "firewall" in found.of("daemon", "problem") and "Connection refused" in found.text


def test_a_socket_of_others(start_daemon, nobody):
    _, prefix = nobody
    assert "usermod -aG" in doctor("-c", start_daemon().uri, prefix=prefix).of("daemon", "problem")


@needs_namespace
def test_libvirts_daemon_beside():
    made = "mkdir -p /run/libvirt; mount -t tmpfs none /run/libvirt; touch /run/libvirt/libvirt-sock"
    found = doctor(prefix=on_a_host(made))
    assert "libvirt_sockets = yes" in found.of("libvirt", "note")


def test_a_folder_that_cannot_be_written_to(nobody):
    _, prefix = nobody
    found = doctor("-c", "qemu+unix:///session?socket=/nowhere", prefix=["env", "XDG_DATA_HOME=/etc/lodge-none", *prefix])
    assert "/etc cannot be written to" in found.of("permissions", "problem") and "sudo chown" in found.text


@needs_namespace
def test_a_host_without_control_groups():
    found = doctor(prefix=on_a_host("mount -t tmpfs -o ro none /sys/fs/cgroup"))
    assert "mount -t cgroup2" in found.of("cgroups", "note")


@needs_namespace
@pytest.mark.parametrize("value, verdict", [(0, "note"), (1, "ok")])
def test_forwarding(tmp_path, value, verdict):
    (tmp_path / "value").write_text(f"{value}\n")
    found = doctor(prefix=on_a_host(f"mount --bind {tmp_path}/value /proc/sys/net/ipv4/ip_forward"))
    assert (value == 1) or "sysctl net.ipv4.ip_forward=1" in found.of("forwarding", verdict)
    found.of("forwarding", verdict)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root looks at rules")
@pytest.mark.parametrize("rules, verdict, told", [
    ("-P FORWARD ACCEPT", "ok", "not dropped"), ("-P FORWARD DROP", "problem", "iptables -I FORWARD -i virbr0"),
    ("-P FORWARD DROP\n-A FORWARD -j DOCKER-USER", "problem", "iptables -I DOCKER-USER -i virbr0"),
], ids=["open", "drops", "docker"])
def test_the_firewall(tmp_path, rules, verdict, told):
    (tmp_path / "iptables").write_text(f"#!/bin/sh\ncat <<END\n{rules}\nEND\n")
    (tmp_path / "iptables").chmod(0o755)
    assert told in doctor(PATH=f"{tmp_path}:/usr/bin:/bin").of("firewall", verdict)


def test_the_firewall_of_others(nobody, tmp_path):
    _, prefix = nobody
    found = doctor("-c", "qemu+unix:///session?socket=/nowhere", prefix=prefix)
    assert "only root may read" in found.of("firewall", "note")  # whether iptables is in their PATH or not
    assert "sudo lodge doctor" in found.text


@pytest.mark.parametrize("limit, verdict", [(1024, "note"), (8192, "ok")])
def test_few_open_files(limit, verdict):
    found = doctor(prefix=["prlimit", f"--nofile={limit}:{limit}"])
    assert f"{limit} open files" in found.of("limits", verdict)


@needs_namespace
def test_little_space(tmp_path):
    script = f"mount -t tmpfs -o size=1m none {tmp_path}"
    found = doctor(prefix=on_a_host(script), TMPDIR=tmp_path)
    assert f"temporary files ({tmp_path})" in found.of("space", "problem") and "make room" in found.text
