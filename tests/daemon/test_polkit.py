"""polkit decides who may use the host's sockets: a private bus and an authority of the test's own (6 s).

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import pwd
import shutil
import subprocess
import tempfile

import pytest

from conftest import Lodged
from patience import PATIENCE

HERE = os.path.dirname(os.path.abspath(__file__))
CONFIG = 'auth_unix_rw = "polkit"\nauth_unix_ro = "polkit"\nunix_sock_rw_perms = "0777"\n'
BUS = """<busconfig><type>system</type><listen>unix:path={0}/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
<allow own="*"/><allow user="*"/></policy></busconfig>"""

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user"),
    pytest.mark.skipif(not all(map(shutil.which, ("dbus-daemon", "pkcheck"))), reason="dbus-daemon or pkcheck is not installed"),
]


@pytest.fixture
def host():
    """start(answer): a host's daemon beside a bus whose authority gives that answer; None: there is no authority."""
    folder = tempfile.mkdtemp(prefix="lodge-polkit-")
    os.chmod(folder, 0o755)
    running = []

    def start(answer):
        with open(f"{folder}/bus.conf", "w", encoding="utf-8") as file:
            file.write(BUS.format(folder))
        os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = f"unix:path={folder}/bus"
        bus = subprocess.Popen(["dbus-daemon", f"--config-file={folder}/bus.conf", "--nofork", "--print-address"],
                               stdout=subprocess.PIPE, text=True)
        running.append(bus)
        assert "unix:path" in bus.stdout.readline()
        authority = None
        if answer:
            authority = subprocess.Popen(["/usr/bin/python3", f"{HERE}/fake-polkit.py", answer], stdout=subprocess.PIPE, text=True)
            running.append(authority)
            assert authority.stdout.readline() == "ready\n"
        with open(f"{folder}/lodged.conf", "w", encoding="utf-8") as file:
            file.write(CONFIG)
        daemon = Lodged(folder, "--config", f"{folder}/lodged.conf", session=False)
        running.append(daemon.process)
        daemon.authority = authority
        return daemon

    yield start
    os.environ.pop("DBUS_SYSTEM_BUS_ADDRESS", None)
    for process in reversed(running):
        process.terminate()
        process.wait(30 * PATIENCE)
    shutil.rmtree(folder)


def virsh_as_nobody(daemon, *words, suffix=""):
    return subprocess.run(["setpriv", "--reuid=nobody", "--clear-groups", "virsh", "-c", daemon.uri + suffix, *words],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60 * PATIENCE, check=False,
                          env=dict(os.environ, HOME="/nonexistent"))


def test_polkit_is_asked_about_the_process_and_its_yes_lets_it_in(host):
    daemon = host("yes")
    done = virsh_as_nobody(daemon, "list", "--all")
    assert done.returncode == 0, done.stderr
    kind, action, pid, start_time, uid, flags = daemon.authority.stdout.readline().split()
    assert (kind, action, flags) == ("unix-process", "org.libvirt.unix.manage", "1")
    assert int(uid) == pwd.getpwnam("nobody").pw_uid and int(pid) > 1 and int(start_time) > 0


@pytest.mark.parametrize("answer, code, words", [
    ("no", 45, "access denied by policy"),
    ("challenge", 94, "no polkit agent available"),
    ("cancelled", 79, "user cancelled"),
    (None, 94, "polkit cannot be asked here"),
])
def test_without_a_yes_nobody_comes_in(host, answer, code, words):
    daemon = host(answer)
    done = virsh_as_nobody(daemon, "list")
    assert done.returncode == 1 and words in done.stderr
    script = ("import libvirt, sys\n"
              "libvirt.registerErrorHandler(lambda *_: None, None)\n"
              "try:\n    libvirt.open(sys.argv[1])\n"
              "except libvirt.libvirtError as error:\n    print(error.get_error_code())\n")
    python = subprocess.run(["setpriv", "--reuid=nobody", "--clear-groups", "/usr/bin/python3", "-c", script, daemon.uri],
                            capture_output=True, text=True, timeout=60 * PATIENCE, check=False)
    assert python.stdout.strip() == str(code), python.stderr
    assert daemon.virsh("list").returncode == 0, "root needs no policy"


def test_who_may_look_may_not_change(host):
    daemon = host("yes-to-look")
    socket = daemon.uri + "-ro"
    done = subprocess.run(["setpriv", "--reuid=nobody", "--clear-groups", "virsh", "-r", "-c", socket, "list", "--all"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60 * PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    assert "org.libvirt.unix.monitor" in daemon.authority.stdout.readline()
    assert "denied by policy" in virsh_as_nobody(daemon, "list").stderr
