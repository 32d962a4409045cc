"""lodge beside virsh: the same commands to the same libvirtd (its test driver) print the same.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import shutil
import subprocess
import tempfile
import time

import pytest

BUILD = os.environ.get("LODGE_BUILD", os.path.join(os.path.dirname(__file__), "..", "..", "build"))
LODGE = os.path.join(BUILD, "bin", "lodge")

SAME = """
list
list --all
list --all --name
list --uuid
list --id
-q list
list --title
list --state-running
dominfo test
domstate test
domstate test --reason
domid test
domuuid test
domname 1
domstats
domstats test
nodeinfo
hostname
uri
domblkinfo test vda
domblkinfo test vda --human
domcontrol test
maxvcpus
dumpxml test
capabilities
nodememstats
suspend test
resume test
autostart test
autostart test --disable
setmem test 2097152
setvcpus test 2
destroy test
start test
undefine test
echo a b
echo --xml <a>
list;domstate test
nope
list --foo
list --all=3
dominfo
dominfo nope
dominfo test extra
dominfo --domain
shutdown nope
setmem test abc
setmem test
setmem test 5 --live --current
define /nonexistent
""".strip().splitlines()


@pytest.fixture(scope="module")
def uri():
    """A libvirtd of its own with the test driver."""
    libvirtd = shutil.which("libvirtd") or "/usr/sbin/libvirtd"
    if not os.path.exists(libvirtd) or not shutil.which("virsh"):
        pytest.skip("libvirtd and virsh are not installed")
    # Not below pytest's folder, which other users cannot enter.
    folder = tempfile.mkdtemp(prefix="lodge-cli-")
    env = dict(os.environ, HOME=folder)
    for name in ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        env[name] = folder
    command = [libvirtd]
    if os.geteuid() == 0:
        # As root it would be the host's daemon; a session of nobody's is apart.
        shutil.chown(folder, "nobody")
        command = ["setpriv", "--reuid=nobody", "--clear-groups", libvirtd]
    daemon = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    uri = f"test+unix:///default?socket={folder}/libvirt/libvirt-sock"
    deadline = time.monotonic() + 60
    while subprocess.run(["virsh", "-c", uri, "list"], capture_output=True).returncode != 0:
        assert daemon.poll() is None and time.monotonic() < deadline, "libvirtd does not start"
        time.sleep(0.05)
    yield uri
    daemon.terminate()
    daemon.wait(timeout=20)
    shutil.rmtree(folder, ignore_errors=True)


def run(program, uri, line):
    words = [line] if ";" in line else line.split()
    env = dict(os.environ, LC_ALL="C.UTF-8")
    done = subprocess.run([program, "-c", uri, *words], capture_output=True, text=True, env=env, timeout=60)
    lines = [text for text in (done.stdout + done.stderr).splitlines() if not text.startswith("CPU time:")]
    return lines, done.returncode


@pytest.mark.parametrize("line", SAME)
def test_prints_what_virsh_prints(uri, line):
    assert run(LODGE, uri, line) == run("virsh", uri, line)


def test_json_of_a_list_has_an_object_for_each_domain(uri):
    import json
    done = subprocess.run([LODGE, "-c", uri, "--json", "list", "--all"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [{"id": 1, "name": "test", "state": "running"}]


def test_an_unknown_command_brings_the_nearest(uri):
    done = subprocess.run([LODGE, "-c", uri, "strat", "test"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "did you mean 'start'" in done.stderr


def test_completion_offers_commands_options_and_domains(uri):
    def offers(*words):
        done = subprocess.run([LODGE, "-c", uri, "--complete", "--", *words], capture_output=True, text=True, check=True)
        return done.stdout.split()
    assert "domstate" in offers("dom")
    assert offers("domstate", "--r") == ["--reason"]
    assert offers("domstate", "te") == ["test"]
    assert offers("nope", "x") == []


def test_every_command_explains_itself():
    done = subprocess.run([LODGE, "help"], capture_output=True, text=True, check=True)
    names = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("    ")]
    assert len(names) > 30
    for name in names:
        text = subprocess.run([LODGE, "help", name], capture_output=True, text=True, check=True).stdout
        assert "SYNOPSIS" in text


def test_no_daemon_is_named_with_its_socket(tmp_path):
    done = subprocess.run([LODGE, "-c", f"qemu+unix:///system?socket={tmp_path}/none", "list"],
                          capture_output=True, text=True)
    assert done.returncode == 1
    assert "failed to connect to the hypervisor" in done.stderr
    assert f"{tmp_path}/none" in done.stderr
