"""What is asked wrongly of each command of virsh: lodged answers with the code that libvirtd 9.0 answers with (40 s).

The rows are in wrong-arguments.txt beside this file, with those that differ and why. Both daemons run as the same user, with
QEMU, on the same guests.
SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import re
import shlex
import shutil
import subprocess
import tempfile

import pytest

import libvirtd
import walk
from conftest import BUILD, Lodged
from guestxml import QEMU
from lodged import build_for_others

ROWS = os.path.join(os.path.dirname(__file__), "wrong-arguments.txt")
KERNEL = os.path.join(BUILD, "tests", "guest", "first-instruction.elf")
UUIDS = {"off": "11111111-2222-4333-8444-555555555551", "on": "11111111-2222-4333-8444-555555555552",
         "brief": "11111111-2222-4333-8444-555555555553", "other": "11111111-2222-4333-8444-555555555554"}
GUESTS = ["off", "on", "brief"]

pytestmark = pytest.mark.skipif(not libvirtd.find(), reason="libvirtd is not installed")


def disk(path, target="vda", bus="virtio", more=""):
    return (f"<disk type='file'><driver name='qemu' type='raw'/><source file='{path}'/>"
            f"<target dev='{target}' bus='{bus}'/>{more}</disk>")


NIC = "<interface type='user'><mac address='52:54:00:00:00:01'/><model type='virtio'/></interface>"
CDROM = "<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><target dev='sda' bus='sata'/><readonly/></disk>"


def domain(name="new", devices="", uuid="", kernel="$DIR/kernel.elf", emulator=QEMU, memory="<memory unit='MiB'>32</memory>",
           more="", kind="<type arch='x86_64' machine='q35'>hvm</type>", boot="", vcpu="<vcpu>1</vcpu>", kernels=True):
    return f"""<domain type='qemu'><name>{name}</name>{f'<uuid>{uuid}</uuid>' if uuid else ''}{memory}{vcpu}
<os>{kind}{f'<kernel>{kernel}</kernel>' if kernels else ''}{boot}</os>{more}
<devices><emulator>{emulator}</emulator>{devices}</devices></domain>"""


PORTS = "<controller type='pci' index='0' model='pcie-root'/>" + "".join(
    f"<controller type='pci' index='{index}' model='pcie-root-port'/>" for index in range(1, 9))
VIDEO = "<video><model type='vga'/></video>"


def guest(name):
    """One of those that the rows name; each has a disk of its own, as locks want it. "brief" has no screen."""
    return domain(name, disk(f"$DIR/{name}.img") + CDROM + NIC + "<serial type='pty'/><memballoon model='virtio'/>" + PORTS +
                  VIDEO * (name != "brief"), UUIDS[name], vcpu="<vcpu current='2'>4</vcpu>", more="<iothreads>1</iothreads>")


def cpu(model, arch="x86_64", more=""):
    return f"<cpu><arch>{arch}</arch><model>{model}</model>{more}</cpu>"


FILES = {
    "broken.xml": "<domain type='qemu'><name>x</name>", "nonsense.xml": "<nonsense/>", "domain.xml": domain(),
    # devices
    "no-target.xml": "<disk type='file'><source file='$DIR/a.img'/></disk>",
    "disk-vda.xml": disk("$DIR/a.img"), "disk-vdx.xml": disk("$DIR/a.img", "vdx"),
    "disk-missing.xml": disk("$DIR/nowhere", "vdx"), "disk-bus.xml": disk("$DIR/a.img", "vdx", "nope"),
    "disk-serial.xml": disk("$DIR/a.img", "vdx", more="<serial>a\nb</serial>"),
    "nic-same.xml": NIC.replace("user", "nope"), "nic-type.xml": NIC.replace("'user'", "'bridge'"),
    "nic-other.xml": NIC.replace(":01", ":99"), "nic-model.xml": NIC.replace("'virtio'", "'e1000'"),
    "graphics.xml": "<graphics type='vnc'/>", "watchdog.xml": "<watchdog model='nope'/>", "input.xml": "<input type='nope'/>",
    "dimm.xml": "<memory model='dimm'><target><size unit='MiB'>128</size><node>0</node></target></memory>",
    # definitions
    "unknown.xml": domain(more="<nonsense/>"), "new.xml": domain(), "same-name.xml": domain("off", uuid=UUIDS["other"]),
    "same-uuid.xml": domain("other", uuid=UUIDS["off"]), "no-memory.xml": domain(memory=""),
    "no-os.xml": "<domain type='qemu'><name>new</name><memory>1024</memory></domain>",
    "bad-uuid.xml": domain(uuid="nope"), "bad-emulator.xml": domain(emulator="/bin/true"),
    "bad-arch.xml": domain(kind="<type arch='nope'>hvm</type>"), "bad-os.xml": domain(kind="<type>nope</type>"),
    "bad-clock.xml": domain(more="<clock offset='nope'/>"), "bad-feature.xml": domain(more="<features><apic eoi='nope'/></features>"),
    "bad-cpu.xml": domain(more="<cpu mode='custom'><model>nope</model></cpu>"), "bad-cpu-mode.xml": domain(more="<cpu mode='nope'/>"),
    "bad-topology.xml": domain(more="<cpu><topology sockets='3' cores='1' threads='1'/></cpu>"),
    "bad-vcpus.xml": domain(vcpu="<vcpu current='3'>2</vcpu>"), "bad-boot.xml": domain(boot="<boot dev='nope'/>"),
    "bad-controller.xml": domain(devices="<controller type='nope'/>"),
    "bad-address.xml": domain(devices=disk("/a", more="<address type='pci' slot='99'/>")),
    "bad-mac.xml": domain(devices=NIC.replace("52:54:00:00:00:01", "nope")),
    "bad-disk-size.xml": domain(devices=disk("/a", more="<blockio logical_block_size='nope'/>")),
    "bad-iothread.xml": domain(devices=disk("/a").replace("type='raw'", "type='raw' iothread='9'")),
    "bad-poweroff.xml": domain(more="<on_poweroff>nope</on_poweroff>"), "bad-console.xml": domain(devices="<console type='nope'/>"),
    "bad-graphics.xml": domain(devices="<graphics type='nope'/>"), "bad-video.xml": domain(devices="<video><model type='nope'/></video>"),
    "bad-input.xml": domain(devices="<input type='nope'/>"), "bad-sound.xml": domain(devices="<sound model='nope'/>"),
    "bad-rng.xml": domain(devices="<rng model='nope'/>"), "bad-balloon.xml": domain(devices="<memballoon model='nope'/>"),
    "bad-hostdev.xml": domain(devices="<hostdev mode='nope'/>"), "bad-tpm.xml": domain(devices="<tpm model='nope'/>"),
    "bad-numa.xml": domain(more="<numatune><memory mode='nope' nodeset='0'/></numatune>"),
    "bad-metadata.xml": domain(more="<metadata><a/><a/></metadata>"),
    "bad-boot-order.xml": domain(devices=disk("/a", more="<boot order='0'/>"), kernels=False),
    "two-boot-orders.xml": domain(devices=disk("/a", more="<boot order='1'/>") + disk("/b", "vdb", more="<boot order='1'/>"), kernels=False),
    "two-aliases.xml": domain(devices=disk("/a", more="<alias name='ua-a'/>") + disk("/b", "vdb", more="<alias name='ua-a'/>")),
    "two-addresses.xml": domain(devices=disk("/a", more="<address type='pci' slot='9'/>") +
                                disk("/b", "vdb", more="<address type='pci' slot='9'/>")),
    "current-memory.xml": domain(more="<currentMemory unit='MiB'>64</currentMemory>"),
    "missing-disk.xml": domain(devices=disk("$DIR/nowhere")), "missing-kernel.xml": domain(kernel="$DIR/nowhere"),
    "missing-emulator.xml": domain(emulator="/nonexistent/qemu"),
    "missing-bridge.xml": domain(devices="<interface type='bridge'><source bridge='nowhere0'/></interface>"),
    "missing-network.xml": domain(devices="<interface type='network'><source network='nowhere'/></interface>"),
    "missing-volume.xml": domain(devices="<disk type='volume'><source pool='nowhere' volume='nope'/><target dev='vda'/></disk>"),
    # CPUs
    "cpu.xml": cpu("qemu64"), "no-cpu.xml": "<nonsense/>", "cpu-nope.xml": cpu("nope"), "cpu-arch.xml": cpu("qemu64", "nope"),
    "cpu-unknown.xml": cpu("qemu64", more="<nonsense/>"),
}


class Row:
    def __init__(self, number, line):
        self.number, self.line = number, line
        self.expected = {}  # guest or "*" -> (our answer, libvirtd's, why)

    def commands(self):
        """[(guest, words)]"""
        if "$G" not in self.line:
            return [("*", self.line)]
        return [(name, self.line.replace("$G", name)) for name in GUESTS]


def read_rows():
    rows = []
    with open(ROWS, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            text = line.rstrip("\n")
            if not text.strip() or text.startswith("#"):
                continue
            if not text.startswith(" "):
                rows.append(Row(number, text))
                continue
            match = re.fullmatch(r" +(\S+) (\S+) (\S+): (.+)", text)
            assert match, f"{ROWS}:{number}: {text}"
            rows[-1].expected[match[1]] = match.groups()[1:]
    return rows


class Side:
    """A daemon with the guests of the rows, and a proxy that notes the codes."""

    def __init__(self, daemon, folder):
        self.daemon, self.folder = daemon, folder
        os.mkdir(folder)
        os.chmod(folder, 0o777)
        shutil.copyfile(KERNEL, os.path.join(folder, "kernel.elf"))
        for name in ("a", *GUESTS):
            path = os.path.join(folder, f"{name}.img")
            with open(path, "wb") as file:
                file.truncate(1 << 20)
            os.chmod(path, 0o666)
        for name, text in (FILES | {f"{name}.xml": guest(name) for name in GUESTS}).items():
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                # Each definition has a name of its own: one that is taken wrongly does not change what follows.
                file.write(self.fill(text).replace("<name>new</name>", f"<name>{name[:-4]}</name>"))
        self.proxy = walk.Proxy(os.path.join(folder, "proxy"), daemon.socket)
        self.uri = daemon.uri.replace(daemon.socket, os.path.join(folder, "proxy"))
        for words in (["define", "off.xml"], ["define", "on.xml"], ["create", "brief.xml"]):
            self.daemon.virsh(words[0], os.path.join(folder, words[1]))
        self.daemon.virsh("start", "on")
        self.asked = 0
        self.shell = subprocess.Popen(["virsh", "-q", "-c", self.uri], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                      stderr=subprocess.PIPE, text=True, errors="replace", bufsize=1,
                                      env=dict(os.environ, EDITOR="true", LC_ALL="C"))

    def fill(self, text):
        return text.replace("$DIR", self.folder)

    def answer(self, command):
        """"ok", a code, or "-", and what virsh said."""
        self.proxy.codes.clear()
        self.asked += 1
        end = f"end-of-{self.asked}"
        self.shell.stdin.write(f"{self.fill(command)}\necho --err {end}\n")
        said = ""
        for line in self.shell.stderr:
            if line.strip() == f"error: {end}":
                break
            said += line
        else:
            pytest.fail(f"virsh ended: {command}: {said}")
        if not re.search("^error:", said, re.M):
            return "ok", said
        return str(self.proxy.codes[-1]) if self.proxy.codes else "-", said

    def stop(self):
        self.shell.stdin.close()
        self.shell.wait()
        self.shell.stderr.close()
        for name in ("on", "brief"):
            self.daemon.virsh("destroy", name, check=False)
        self.proxy.stop()
        self.daemon.stop()


@pytest.fixture(scope="module")
def sides():
    """Ours and libvirtd's. As root both are run as nobody, who cannot enter pytest's folders."""
    top = tempfile.mkdtemp(prefix="lodge-wrong-")
    os.chmod(top, 0o755)
    root = os.path.join(top, "root")
    os.mkdir(root)
    prefix = []
    if os.geteuid() == 0:
        shutil.chown(root, "nobody")
        prefix = ["setpriv", "--reuid=nobody", "--clear-groups"]
    both = Side(Lodged(root, build=build_for_others(top), prefix=prefix), os.path.join(top, "l")), Side(libvirtd.Libvirtd(), os.path.join(top, "v"))
    yield both
    for side in both:
        side.stop()
    shutil.rmtree(top)


def test_codes_are_libvirtds(sides):
    wrong = []
    for row in read_rows():
        stale = set(row.expected)
        for name, command in row.commands():
            (ours, said), (theirs, says) = (side.answer(command) for side in sides)
            key = name if name in row.expected else "*"
            known = row.expected.get(key)
            if ours != theirs:
                stale.discard(key)
            if known[:2] != (ours, theirs) if known and ours != theirs else ours != theirs:
                wrong.append(f"line {row.number}: {command}: {ours} | {theirs}\n    {said.strip()}\n    {says.strip()}")
        wrong += [f"line {row.number}: {row.line}: {key} differs no more" for key in sorted(stale)]
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)


def test_every_command_is_asked_wrongly():
    asked = {shlex.split(row.line)[0] for row in read_rows()}
    never_wrong = {"uri", "hostname", "version", "nodeinfo", "nodecpumap", "capabilities"}  # they take no argument
    for group in ("domain", "monitor", "events", "host"):
        text = subprocess.run(["virsh", "help", group], capture_output=True, text=True, check=True).stdout
        commands = {line.split()[0] for line in text.splitlines() if line.startswith("    ")}
        assert len(commands) >= 1 and commands <= asked | never_wrong, commands - asked
