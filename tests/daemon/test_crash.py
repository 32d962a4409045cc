"""kill -9 of lodged under load, at random moments and at every failpoint, with guests running.

After each kill: no guest died, all are found again at the first look, what was acknowledged is there,
and nothing is left behind: processes, files, network devices. The quick run kills 5 times, the slow
one 500 ($LODGE_SEED chooses the moments).
SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import random
import statistics
import subprocess
import tempfile
import threading
import time
import uuid

import pytest
import rpc

from lodged import BUILD
from patience import PATIENCE

GUESTS = 20
QEMU = "/usr/bin/qemu-system-x86_64"
KERNEL = os.path.join(BUILD, "tests", "guest", "first-instruction.elf")
PROGRAM = os.path.join(BUILD, "tests", "daemon", "lodged-failpoints")
FAILPOINTS = ["commit-before-write", "commit-before-sync", "commit-synced", "file-before-rename", "file-written",
              "journal-before-rename", "journal-renamed", "status-before-rename",
              "status-removed", "start-prepared", "start-spawned", "start-noted", "start-continued",
              "end-before-status"]


def guest_xml(name, emulator=os.path.join(BUILD, "bin", "lodge-vmm")):
    """A guest that halts at once and stays: it costs no processor time."""
    return f"""<domain type='qemu'><name>{name}</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type><kernel>{KERNEL}</kernel></os>
<devices><emulator>{emulator}</emulator><controller type='usb' model='none'/><serial type='pty'/></devices></domain>"""


class Host:
    """A root folder whose daemon comes and goes."""

    def __init__(self, root):
        self.root = root
        self.tag = f"crash{os.getpid()}-"  # begins the name of each of its guests
        self.process = None
        self.socket = os.path.join(root, "run", "lodge-sock")
        self.took = []  # seconds until the guests were seen again
        self.cpu = []  # processor time for it

    def start(self, failpoint=None):
        env = dict(os.environ)
        env.pop("LODGE_FAILPOINT", None)
        if failpoint:
            env["LODGE_FAILPOINT"] = failpoint
        with open(os.path.join(self.root, "lodged.log"), "ab") as log:
            self.started = time.monotonic()
            self.process = subprocess.Popen([PROGRAM, "--session", "--root", self.root], env=env,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def connect(self):
        """A client as soon as one is accepted; None when the daemon ended instead."""
        deadline = time.monotonic() + 120 * PATIENCE
        while self.process.poll() is None:
            try:
                return rpc.Client(self.socket).open("qemu:///session")
            except (ConnectionError, FileNotFoundError):
                assert time.monotonic() < deadline, "the daemon does not answer"
                time.sleep(0.002)
        return None

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def cpu_time(self):
        """Seconds of processor time that the daemon has used."""
        folder, total = f"/proc/{self.process.pid}/task", 0
        for thread in os.listdir(folder):
            try:
                with open(f"{folder}/{thread}/schedstat", encoding="ascii") as file:
                    total += int(file.read().split()[0])
            except (FileNotFoundError, ProcessLookupError):
                pass
        return total / 1e9

    def guests(self):
        """Process ids of the guests by name, from their command lines."""
        found = {}
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    words = file.read().split(b"\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            name = words[words.index(b"-name") + 1].decode() if b"-name" in words else ""
            name = name.removeprefix("guest=").split(",")[0]
            if name.startswith(self.tag):
                assert name not in found, f"two processes of guest '{name}'"
                found[name] = int(entry)
        return found

    def files(self):
        """All but the cache, which may grow at any time."""
        paths = [os.path.relpath(os.path.join(folder, name), self.root)
                 for folder, _, names in os.walk(self.root) for name in names]
        return sorted(path for path in paths if not path.startswith("cache/"))


def domains(client, flags=0):
    return {d["name"]: d for d in client.call("CONNECT_LIST_ALL_DOMAINS", need_results=1, flags=flags)["domains"]}


class Load:
    """Threads that define, undefine, start and end guests of their own, and note what was acknowledged."""

    def __init__(self, host, seed, names):
        self.host, self.names = host, names
        self.defined = {}  # name -> True, False or None: nobody knows
        self.stopping = threading.Event()
        self.problems = []
        self.threads = [threading.Thread(target=self.run, args=(work, random.Random(seed + i)))
                        for i, work in enumerate((self.define, self.define, self.cycle, self.pause, self.look))]
        for thread in self.threads:
            thread.start()

    def run(self, work, rng):
        try:
            client = rpc.Client(self.host.socket).open("qemu:///session")
            while not self.stopping.is_set():
                work(client, rng)
        except (ConnectionError, FileNotFoundError, TimeoutError):
            pass  # killed
        except Exception as error:  # shown by check()
            self.problems.append(error)

    def define(self, client, rng):
        name = f"{self.host.tag}paper-{threading.get_ident() % 97}-{rng.randrange(4)}"
        self.defined[name] = None
        if rng.random() < 0.6:
            client.call("DOMAIN_DEFINE_XML", xml=guest_xml(name).replace("<memory", f"<uuid>{self.uuid(name)}</uuid><memory"))
            self.defined[name] = True
        else:
            try:
                client.call("DOMAIN_UNDEFINE", dom=client.call("DOMAIN_LOOKUP_BY_NAME", name=name)["dom"])
            except rpc.RpcError as error:
                assert error.code == 42, error
            self.defined[name] = False

    @staticmethod
    def uuid(name):
        return uuid.uuid5(uuid.NAMESPACE_DNS, name)

    def cycle(self, client, rng):
        """A transient guest."""
        dom = client.call("DOMAIN_CREATE_XML", xml_desc=guest_xml(f"{self.host.tag}brief-{rng.randrange(1 << 30)}"))["dom"]
        client.call("DOMAIN_DESTROY", dom=dom)

    def pause(self, client, rng):
        dom = client.call("DOMAIN_LOOKUP_BY_NAME", name=rng.choice(self.names))["dom"]
        client.call("DOMAIN_SUSPEND", dom=dom)
        client.call("DOMAIN_RESUME", dom=dom)

    @staticmethod
    def look(client, rng):
        client.call("CONNECT_GET_ALL_DOMAIN_STATS")
        time.sleep(0.005)

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        assert not self.problems, self.problems


def start_guests(host, count):
    names = [f"{host.tag}guest-{i}" for i in range(count)]
    host.start()
    with host.connect() as client:
        for i, name in enumerate(names):
            xml = guest_xml(name, QEMU) if i % 10 == 9 else guest_xml(name)
            dom = client.call("DOMAIN_DEFINE_XML", xml=xml)["dom"]
            client.call("DOMAIN_CREATE", dom=dom)
    return names


def check_back(host, names, pids, load):
    """What must be true after a restart."""
    with host.connect() as client:
        found = domains(client)
        host.took.append(time.monotonic() - host.started)
        host.cpu.append(host.cpu_time())
        # The first look shows all of them.
        assert not [name for name in names if found[name]["id"] < 0]
        for name, is_defined in (load.defined if load else {}).items():
            assert is_defined is None or (name in found) == is_defined, (name, is_defined)
        for name in names:  # and every monitor answers
            answer = client.call("DOMAIN_MONITOR_COMMAND", "qemu", dom=found[name],
                                 cmd='{"execute":"query-status"}', flags=0)
            assert "running" in answer["result"]
            # A change that was not noted before the kill is known once the monitor has been asked.
            info = client.call("DOMAIN_GET_STATE", dom=found[name], flags=0)
            assert info["state"] in (1, 3), (name, info)
            if info["state"] == 3:
                client.call("DOMAIN_RESUME", dom=found[name])
        # Guests that were being started or ended are there whole, or gone.
        for name in [n for n in found if "-brief-" in n and found[n]["id"] >= 0]:
            client.call("DOMAIN_DESTROY", dom=found[name])
    running = host.guests()
    assert {name: running.get(name) for name in names} == pids
    assert set(running) == set(names), "a process is left"


def kill_at(host, names, rng, failpoint, seed):
    """One life of the daemon, ended by a kill; then the next one is looked at."""
    host.kill()
    host.start(f"{failpoint}:{rng.randrange(1, 4)}" if failpoint else None)
    client = host.connect()
    load = None
    if client:
        client.close()
        load = Load(host, seed, names)
        try:
            host.process.wait(8 if failpoint else rng.random() * 0.3)
        except subprocess.TimeoutExpired:
            pass
    host.kill()
    if load:
        load.stop()
    return load


def census(host):
    """Network devices and files; the state's journal comes and goes."""
    left_out = (".log", "journal.wal", ".journal.wal.new")
    return set(os.listdir("/sys/class/net")), [f for f in host.files() if not f.endswith(left_out)]


def wait_for_files(host, names):
    """Definitions are acknowledged when the journal has them; their files follow."""
    deadline = time.monotonic() + 60 * PATIENCE
    wanted = {os.path.join("etc", "qemu", f"{name}.xml") for name in names}
    while not wanted <= set(host.files()):
        assert time.monotonic() < deadline, f"without a file: {sorted(wanted - set(host.files()))}"
        time.sleep(0.01)


def run_kills(root, points, seed):
    host = Host(root)
    try:
        names = start_guests(host, GUESTS)
        pids = host.guests()
        assert set(pids) == set(names)
        wait_for_files(host, names)
        net, before = census(host)
        rng = random.Random(seed)
        for i, failpoint in enumerate(points):
            load = kill_at(host, names, rng, failpoint, seed + i * 10)
            host.start()
            check_back(host, names, pids, load)
        finish(host, names, net, before)
        took = sorted(host.took)
        print(f"{len(points)} kills: {GUESTS} guests seen again after {statistics.median(took):.3f} s "
              f"(median; {sum(t > 0.3 for t in took)} over 0.3 s, most {took[-1]:.3f} s) from the daemon's start, "
              f"{statistics.median(host.cpu):.3f} s of processor time (most {max(host.cpu):.3f} s)")
    except ConnectionError as error:
        status = host.process.wait(10 * PATIENCE)
        with open(os.path.join(root, "lodged.log"), encoding="utf-8", errors="replace") as log:
            raise AssertionError(f"the daemon ended by itself ({status}):\n{log.read()[-4000:]}") from error
    finally:
        host.kill()
        for pid in host.guests().values():
            os.kill(pid, 9)


def finish(host, names, net, before):
    """All is as it was before the kills, and nothing once the guests are gone."""
    with host.connect() as client:
        for name, dom in domains(client).items():
            if name not in names:
                client.call("DOMAIN_UNDEFINE", dom=dom)
    host.process.terminate()
    assert host.process.wait(60 * PATIENCE) == 0
    host.start()
    with host.connect() as client:
        net_after, after = census(host)
        assert net_after == net
        assert set(after) ^ set(before) == set(), "files that came or went"
        for name, dom in domains(client).items():
            client.call("DOMAIN_DESTROY", dom=dom)
    assert not host.guests()
    assert not [f for f in host.files() if f.startswith("run/qemu/")]


def points_of(count, rng):
    """Half at random moments, the others at failpoints in turn."""
    order = FAILPOINTS * (count // (2 * len(FAILPOINTS)) + 1)
    rng.shuffle(order)
    points = order[:count // 2] + [None] * (count - count // 2)
    rng.shuffle(points)
    return points


def seed():
    return int(os.environ.get("LODGE_SEED", "1"))


@pytest.fixture
def root():
    """A short path: names of sockets hold 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="lodge-") as folder:
        yield folder


def test_five_kills_of_the_daemon_under_load(root):
    run_kills(root, [None, "start-noted", None, "commit-before-sync", "end-before-status"], seed())


@pytest.mark.slow
def test_500_kills_of_the_daemon_under_load(root):
    points = points_of(500, random.Random(seed()))
    assert set(FAILPOINTS) <= set(points)
    run_kills(root, points, seed())
