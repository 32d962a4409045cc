"""Every command of virsh 9.0's groups domain, monitor, events and host, and the same by lodge, under both engines.

virsh-rows.txt is the script; each walk has a daemon of its own.
SPDX-License-Identifier: GPL-2.0-or-later
"""
import json
import os
import re
import shutil
import subprocess
import tempfile

import pytest

import walk
from conftest import BUILD, Lodged
from guestagent import Agent
from guestxml import QEMU, boot_files

ROWS = os.path.join(os.path.dirname(__file__), "virsh-rows.txt")
GROUPS = ["domain", "monitor", "events", "host"]
LODGE = os.path.join(BUILD, "bin", "lodge")
PROGRAMS = {"virsh": ["virsh"], "lodge": [LODGE], "json": [LODGE, "--json"]}

pytestmark = pytest.mark.skipif(not shutil.which("virsh"), reason="virsh is not installed")

# What the guest's agent answers.
ANSWERS = {
    "guest-ping": {}, "guest-get-host-name": {"host-name": "inside"}, "guest-get-time": 1700000000123456789,
    "guest-get-users": [{"user": "root", "login-time": 1.5}],
    "guest-get-osinfo": {"id": "debian", "pretty-name": "Debian"},
    "guest-get-timezone": {"zone": "CET", "offset": 3600},
    "guest-get-fsinfo": [{"name": "vda1", "mountpoint": "/", "type": "ext4", "total-bytes": 10, "used-bytes": 5, "disk": [
        {"pci-controller": {"domain": 9, "bus": 0, "slot": 0, "function": 0}, "bus-type": "virtio", "bus": 0, "target": 0,
         "unit": 0, "dev": "/dev/vda1"}]}],
    "guest-network-get-interfaces": [{"name": "eth0", "hardware-address": "52:54:00:00:00:01", "ip-addresses": [
        {"ip-address": "10.0.2.15", "ip-address-type": "ipv4", "prefix": 24},
        {"ip-address": "fe80::1", "ip-address-type": "ipv6", "prefix": 64}]}],
    "guest-get-vcpus": [{"logical-id": 0, "online": True, "can-offline": False},
                        {"logical-id": 1, "online": True, "can-offline": True}],
    "guest-set-vcpus": 1, "guest-set-user-password": {}, "guest-fsfreeze-freeze": 2, "guest-fsfreeze-freeze-list": 1,
    "guest-fsfreeze-thaw": 2, "guest-fstrim": {}, "guest-set-time": {}, "guest-suspend-ram": None, "guest-shutdown": None,
    "guest-ssh-get-authorized-keys": {"keys": ["ssh-rsa x"]}, "guest-ssh-add-authorized-keys": {},
    "guest-ssh-remove-authorized-keys": {},
}


def names_for(engine):
    """The $NAMES of the script that an engine decides: what lodge-vmm lacks is left out of the guest."""
    kernel, initrd = boot_files(BUILD)
    names = {"QEMU": QEMU, "KERNEL": os.path.realpath(kernel), "INITRD": os.path.realpath(initrd)}
    if engine == "qemu":
        screen = "<graphics type='vnc' port='-1' autoport='yes'/><video><model type='vga'/></video>"
        return names | {"EMULATOR": f"<emulator>{QEMU}</emulator>", "MORE": screen, "VCPUS": "4",
                        "IOTHREADS": "<iothreads>1</iothreads>"}
    return names | {"EMULATOR": "", "MORE": "", "VCPUS": "2", "IOTHREADS": ""}


@pytest.fixture(scope="module")
def walks():
    """walk_through(program, engine, mode): the results of all rows, made once."""
    done, folders = {}, []

    def walk_through(program, engine, mode):
        key = (program, engine, mode)
        if key not in done:
            # Not below pytest's folder, which guests of other users cannot enter.
            root = tempfile.mkdtemp(prefix="lodge-walk-")
            folders.append(root)
            os.chmod(root, 0o755)
            daemon = Lodged(root, session=mode == "session")
            agent = Agent(os.path.join(root, "agent"))
            os.chmod(os.path.join(root, "agent"), 0o777)
            agent.answers = ANSWERS
            try:
                done[key] = walk.Walk(daemon, PROGRAMS[program], names_for(engine)).run(walk.read_script(ROWS))
            finally:
                daemon.lodge("rm", "--all", "--force", check=False)
                daemon.stop()
                agent.stop()
        return done[key]

    yield walk_through
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def test_every_command_has_a_row():
    covered = {row.command for row in walk.read_script(ROWS) if isinstance(row, walk.Row)}
    for group in GROUPS:
        text = subprocess.run(["virsh", "help", group], capture_output=True, text=True, check=True).stdout
        commands = {line.split()[0] for line in text.splitlines() if line.startswith("    ")}
        assert len(commands) >= 1 and commands <= covered, commands - covered


def fail_with(lines):
    if lines:
        pytest.fail("\n".join(lines), pytrace=False)


SETTINGS = [("qemu", "session"),
            pytest.param("lodge-vmm", "system", marks=pytest.mark.slow),
            pytest.param("qemu", "system", marks=pytest.mark.slow),
            pytest.param("lodge-vmm", "session", marks=pytest.mark.slow)]


@pytest.mark.parametrize("engine, mode", SETTINGS)
def test_virsh_gets_what_is_written(walks, engine, mode):
    if mode == "system" and os.geteuid() != 0:
        pytest.skip("only root runs a host's daemon")
    fail_with([fault for fault in (result.fault({engine, mode}) for result in walks("virsh", engine, mode)) if fault])


# What moves between two daemons: folders, times, counters, ids, process numbers, the first free VNC port; and what virsh says
# of itself when its thread for events ends late.
MOVING = [(re.compile(pattern), "~") for pattern in (
    r"(?m)^(vnc://)?127\.0\.0\.1:\d+$", r"(?m)^error: One or more references were leaked after disconnect .*$",
    r"/tmp/lodge-walk-\w+", r"/tmp/(virsh|lodge)\w+\.xml", r"/dev/pts/\d+", r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[.\d+: ]*",
    r"(?m)^.*(CPU time|cpu\.|vcpu\.\d+\.|_time|rss|delay|last.update|memory\.|block\.|net\.|balloon\.|swap_|fault|usable|"
    r"unused|available|disk_caches|perf\.|hugetlb|state\.reason).*$",
    r"(?m)^ *(rd|wr|fl)_\S+ +.*$", r"(?m)^ ?(number of|total duration|vda (rd|wr|fl)_).*$",
    r"\d+ KiB", r"(?m)^CPU: +\d+$", r"<pages [^\n]*", r"(?m)^(user|system|idle|iowait|usage): .*$", r"(?m)^\S*: \d+$", r"at [\d.]+ for")]


def comparable(result):
    text = result.out + result.err
    for pattern, word in MOVING:
        text = pattern.sub(word, text)
    text = re.sub(" +~", " ~", text)  # numbers of other lengths, filled up
    return result.status, [line.rstrip() for line in text.splitlines() if line.strip(" ~\t")]


@pytest.mark.slow
@pytest.mark.parametrize("engine, mode", SETTINGS)
def test_lodge_prints_what_virsh_prints(walks, engine, mode):
    if mode == "system" and os.geteuid() != 0:
        pytest.skip("only root runs a host's daemon")
    wrong = []
    for ours, theirs in zip(walks("lodge", engine, mode), walks("virsh", engine, mode)):
        same = comparable(ours) == comparable(theirs)
        if ours.row.differs if same else not ours.row.may_differ:
            wrong.append(f"line {ours.row.number}: {ours.row.line}\n   {comparable(ours)}\n   {comparable(theirs)}")
    fail_with(wrong)


def json_fault(result):
    """Data is one JSON document, events and errors one a line; what guests, editors and prompts say is theirs."""
    if "KEYS=" in result.row.line or result.row.command in ("console", "edit") or "--hmp" in result.row.line:
        return None
    text = result.out if result.status == 0 else result.err
    try:
        json.loads(text)
    except ValueError:
        try:
            for line in filter(str.strip, text.splitlines()):
                json.loads(line)
        except ValueError:
            return f"line {result.row.number}: {result.row.line}: {text[:300]!r}"
    return None


@pytest.mark.slow
def test_json_is_json(walks):
    fail_with([fault for fault in map(json_fault, walks("json", "qemu", "session")) if fault])
