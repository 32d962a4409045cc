"""lodged on a whole Debian host: control groups of version 2 under systemd, traffic control, macvtap, VFIO, USB and SCSI
devices, vsock, polkit. The host is itself a guest, of QEMU's translator; what is limited or taken is read back from its
kernel (8 min; the first run makes its disk).

SPDX-License-Identifier: GPL-2.0-or-later
"""
import base64
import json
import os
import re
import shlex
import subprocess
import tarfile
import xml.etree.ElementTree as ET

import pytest

from guest import Guest, qemu_command
from images import image
from lodged import BUILD

pytestmark = pytest.mark.slow

URI = "qemu+unix:///system?socket=/run/lodge/lodge-sock"
GROUPS = "/sys/fs/cgroup"
MODULES = ("tun", "bridge", "dummy", "macvtap", "vhost_vsock", "vfio-pci", "sg", "loop", "dm-mod", "bfq", "sch_htb", "sch_ingress",
           "cls_u32", "act_police")
# The function that is given away is behind a port of its own, so that it has an IOMMU group of its own.
DEVICES = ("-device", "intel-iommu,intremap=on", "-device", "virtio-rng-pci",
           "-device", "pcie-root-port,id=port1,chassis=1", "-device", "e1000e,bus=port1,mac=52:54:00:12:34:99",
           "-device", "qemu-xhci,id=usb", "-device", "usb-tablet,bus=usb.0", "-device", "usb-mouse,bus=usb.0")
QEMU = "/usr/bin/qemu-system-x86_64"
LODGE_VMM = "/usr/local/bin/lodge-vmm"
ENGINES = pytest.mark.parametrize("emulator", [LODGE_VMM, QEMU], ids=["lodge-vmm", "qemu"])


class Host:
    """The outer guest: a shell as root on its console."""

    def __init__(self, vm):
        self.vm = vm

    def ask(self, command, timeout=60):
        """(status, all output) of a shell command."""
        status, text = self.vm.run(f"eval {shlex.quote(command)} 2>&1", timeout)
        return status, text.removeprefix("# ").strip()

    def run(self, command, timeout=60):
        status, text = self.ask(command, timeout)
        assert status == 0, f"{command}: {text}"
        return text

    def read(self, path):
        return self.run(f"cat {path}")

    def put(self, path, content):
        encoded = base64.b64encode(content.encode()).decode()
        self.run(f": > {path}.b64")
        for at in range(0, len(encoded), 1000):
            self.run(f"echo {encoded[at:at + 1000]} >> {path}.b64")
        self.run(f"base64 -d {path}.b64 > {path}")

    def virsh(self, *words):
        return self.run(f"virsh -q -c '{URI}' {shlex.join(words)}")

    def virsh_all(self, *commands):
        """Several commands of one virsh: its start takes a second here. It goes on after one that fails, so it must say nothing of
        errors."""
        text = self.run(f"virsh -q -c '{URI}' {shlex.quote('; '.join(commands))}")
        assert "error:" not in text, text
        return text

    def start(self, name, text):
        """Makes a paused guest of the XML."""
        self.put(f"/tmp/{name}.xml", text)
        self.virsh("create", f"/tmp/{name}.xml", "--paused")
        return InnerGuest(self, name)

    def wait_until_ready(self):
        self.run(f"for i in $(seq 300); do virsh -q -c '{URI}' uri && break; sleep 0.2; done")


class InnerGuest:
    def __init__(self, host, name):
        self.host, self.name = host, name
        self.pid = int(host.run(f"sed -n \"s/.*pid='\\([0-9]*\\)'.*/\\1/p\" /run/lodge/qemu/{name}.xml | head -n 1"))
        self.threads = {}
        for part in ("vcpu", "iothread"):
            words = host.virsh("qemu-monitor-command", name, '{"execute":"query-%s"}' % {"vcpu": "cpus-fast", "iothread": "iothreads"}[part])
            self.threads[part] = [int(tid) for tid in re.findall(r'"thread-id": ?([1-9]\d*)', words)]

    def group(self, tid=None):
        """The folder of the control group that a thread is in; the main one without @tid."""
        path = self.host.read(f"/proc/{self.pid}/task/{tid or self.pid}/cgroup")
        assert path.startswith("0::"), path
        return GROUPS + path.removeprefix("0::")

    def whole_group(self):
        """The one that holds all of the guest."""
        group = self.group()
        return os.path.dirname(group) if os.path.basename(group) == "emulator" else group

    def describe(self):
        return ET.fromstring(self.host.virsh("dumpxml", self.name))

    def destroy(self):
        self.host.virsh("destroy", self.name)


def guest_xml(name, emulator, devices="", extra="", vcpus=1):
    return (f"<domain type='qemu'><name>{name}</name><memory unit='MiB'>96</memory><vcpu>{vcpus}</vcpu>{extra}"
            "<os><type arch='x86_64' machine='q35'>hvm</type><kernel>/boot/vmlinuz</kernel></os><features><acpi/></features>"
            f"<devices><emulator>{emulator}</emulator><controller type='pci' model='pcie-root'/>"
            + "<controller type='pci' model='pcie-root-port'/>" * 4 + f"{devices}<memballoon model='none'/></devices></domain>")


def write_programs(path):
    """A tar of what is installed, and of a kernel for inner guests."""
    tree = path + ".d"
    subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--strip", "--quiet", "--destdir", tree], check=True)
    with tarfile.open(path, "w") as tar:
        tar.add(tree, ".")
        tar.add(image(BUILD, "fetch-kernel"), "./boot/vmlinuz")


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    programs = str(tmp_path_factory.mktemp("host") / "programs.tar")
    write_programs(programs)
    # QEMU 7.2's translator: with two threads interrupts are lost around VMRUN (see test_nested_kvm.py), so one thread and no
    # SVM. Without SVM, but with LA57, the kernel's first program dies.
    command = qemu_command(
        "-cpu", "max,-svm,-la57", "-m", "3G", "-smp", "2", "-no-reboot", "-kernel", image(BUILD, "fetch-kernel"),
        "-initrd", image(BUILD, "make-initramfs", "--root"),
        "-append", "console=ttyS0 root=/dev/vda rw quiet intel_iommu=on systemd.default_timeout_start_sec=900 systemd.default_device_timeout_sec=900",
        "-drive", f"file={image(BUILD, 'make-rootfs', '--host')},format=raw,if=virtio,snapshot=on",
        "-drive", f"file={programs},format=raw,if=virtio,readonly=on", *DEVICES)
    command[command.index("tcg")] = "tcg,thread=single"
    with Guest(command) as vm:
        vm.log_in(600, 120)
        host = Host(vm)
        host.run("tar -C / --no-same-owner -xf /dev/vdb && ldconfig")
        host.run(f"modprobe -a {' '.join(MODULES)}")
        host.run("systemctl daemon-reload && systemctl start lodged")
        yield host
        vm.send("poweroff -f\n")
        vm.wait(120)


@pytest.fixture
def start(host):
    names = []

    def run(name, text):
        names.append(name)
        return host.start(name, text)
    yield run
    for name in names:
        host.ask(f"virsh -q -c '{URI}' destroy {name} ")  # a test may have ended it


# --- control groups ---

TUNED = """<iothreads>1</iothreads><cputune><shares>300</shares><period>50000</period><quota>40000</quota>
<global_period>80000</global_period><global_quota>70000</global_quota>
<emulator_period>60000</emulator_period><emulator_quota>30000</emulator_quota>
<iothread_period>90000</iothread_period><iothread_quota>20000</iothread_quota>
<vcpupin vcpu='0' cpuset='1'/><vcpupin vcpu='1' cpuset='0'/><emulatorpin cpuset='1'/><iothreadpin iothread='1' cpuset='0'/></cputune>
<memtune><hard_limit unit='KiB'>1048576</hard_limit><soft_limit unit='KiB'>524288</soft_limit>
<swap_hard_limit unit='KiB'>1572864</swap_hard_limit></memtune>
<blkiotune><weight>200</weight><device><path>/dev/vda</path><read_iops_sec>1000</read_iops_sec>
<write_bytes_sec>1048576</write_bytes_sec></device></blkiotune>
<numatune><memory mode='strict' nodeset='0'/></numatune>"""


def limits_of(host, guest):
    """What the kernel says of every limit of TUNED."""
    whole = guest.whole_group()
    threads = [guest.pid, *guest.threads["vcpu"], *guest.threads["iothread"]]
    files = [*(f"{whole}/{file}" for file in ("cpu.weight", "cpu.max", "memory.max", "memory.high", "memory.swap.max", "io.max", "io.weight",
                                             "io.bfq.weight", "cpuset.mems")),
             *(f"{guest.group(tid)}/cpu.max" for tid in threads)]
    pins = "; ".join(f"sed -n 's/Cpus_allowed_list:[^0-9]*//p' /proc/{guest.pid}/task/{tid}/status" for tid in threads)
    text = host.run(f"for i in {' '.join(files)}; do echo $(cat $i); done; {pins}")
    values = [line.strip() for line in text.split("\n")]
    quotas, cpus = values[9:9 + len(threads)], values[9 + len(threads):]
    vcpus = len(guest.threads["vcpu"])
    return {"weight": values[0], "global": values[1], "memory": values[2:5], "io": values[5], "io weight": values[6:8], "nodes": values[8],
            "emulator": quotas[0], "vcpus": quotas[1:1 + vcpus], "iothreads": quotas[1 + vcpus:], "pins": cpus}


def test_the_host_has_what_is_tested(host):
    assert host.read("/proc/1/comm") == "systemd"
    assert set("cpuset cpu io memory".split()) <= set(host.read(f"{GROUPS}/cgroup.controllers").split())
    assert host.run("ls /sys/kernel/iommu_groups | wc -l") != "0"


HELD = {
    "weight": "300", "global": "70000 80000", "vcpus": ["40000 50000"] * 2, "iothreads": ["20000 90000"], "emulator": "30000 60000",
    "memory": [str(1 << 30), str(1 << 29), str(1 << 29)],  # the kernel counts swap alone
    "io": "254:0 rbps=max wbps=1048576 riops=1000 wiops=max", "io weight": ["default 200"] * 2, "nodes": "0",
    "pins": ["1", "1", "0", "0"],
}


@ENGINES
def test_limits_of_the_definition_hold_and_go_with_the_guest(host, start, emulator):
    guest = start("tuned", guest_xml("tuned", emulator, extra=TUNED, vcpus=2))
    assert limits_of(host, guest) == HELD
    guest.destroy()
    assert host.ask(f"ls -d {GROUPS}/machine")[0] != 0


@ENGINES
def test_limits_set_while_it_runs_hold_at_once(host, start, emulator):
    guest = start("live", guest_xml("live", emulator, extra="<iothreads>1</iothreads>", vcpus=2))
    # A guest without limits is its daemon's.
    assert guest.group() == f"{GROUPS}/system.slice/lodged.service"
    settings = " ".join(f"--set {part}_{what}={value}" for part, period, quota in
                        (("vcpu", 50000, 40000), ("global", 80000, 70000), ("emulator", 60000, 30000), ("iothread", 90000, 20000))
                        for what, value in (("period", period), ("quota", quota)))
    host.virsh_all(f"schedinfo live --live {settings} --set cpu_shares=300",
                   "memtune live --live --hard-limit 1048576 --soft-limit 524288 --swap-hard-limit 1572864",
                   "blkiotune live --live --weight 200 --device-read-iops-sec /dev/vda,1000 --device-write-bytes-sec /dev/vda,1048576",
                   "vcpupin live 0 1 --live", "vcpupin live 1 0 --live", "emulatorpin live 1 --live", "iothreadpin live 1 0 --live",
                   "numatune live --nodeset 0 --live")
    assert limits_of(host, guest) == HELD
    told = host.virsh_all("schedinfo live", "memtune live", "blkiotune live")
    for line in (r"cpu_shares +: 300", r"vcpu_quota +: 40000", r"hard_limit +: 1048576", r"weight +: 200", r"/dev/vda,1000"):
        assert re.search(line, told), told
    # What is taken away again is gone.
    host.virsh_all("schedinfo live --live --set vcpu_quota=-1 --set global_quota=-1 --set emulator_quota=-1 --set iothread_quota=-1 "
                   "--set cpu_shares=100", "memtune live --live --hard-limit -1 --soft-limit -1 --swap-hard-limit -1",
                   "blkiotune live --live --device-read-iops-sec /dev/vda,0 --device-write-bytes-sec /dev/vda,0")
    limits = limits_of(host, guest)
    assert limits["memory"] == ["max"] * 3 and limits["io"] == "" and limits["weight"] == "100", limits
    assert all(value.startswith("max ") for part in ("vcpus", "iothreads") for value in limits[part])
    assert limits["global"].startswith("max ") and limits["emulator"].startswith("max ")
    assert limits["pins"] == HELD["pins"]
    group = guest.whole_group()
    guest.destroy()
    assert host.ask(f"ls -d {group}")[0] != 0


def test_what_the_kernel_cannot_take_is_refused_by_its_range(host, start):
    start("range", guest_xml("range", QEMU))
    status, text = host.ask(f"virsh -q -c '{URI}' schedinfo range --live --set cpu_shares=10001")
    assert status != 0 and "cpu_shares" in text, text
    assert re.search(r"cpu_shares +: 100\b", host.virsh("schedinfo", "range"))  # version 2's own default


def kill_daemon(host):
    """systemd starts it again."""
    before = host.run("systemctl show -P MainPID lodged")
    host.run(f"kill -9 {before}")
    host.run(f"for i in $(seq 100); do now=$(systemctl show -P MainPID lodged); "
             f"[ $now != 0 ] && [ $now != {before} ] && break; sleep 0.2; done; [ $now != {before} ]")
    host.wait_until_ready()


def test_limits_outlive_the_daemon_and_are_its_successors(host, start):
    guests = [start(name, guest_xml(name, emulator, extra=TUNED, vcpus=2)) for name, emulator in (("kept-l", LODGE_VMM), ("kept-q", QEMU))]
    guests.append(start("kept-free", guest_xml("kept-free", QEMU)))
    kill_daemon(host)
    for guest in guests[:2]:
        assert limits_of(host, guest) == HELD
        host.virsh_all(f"schedinfo {guest.name} --live --set vcpu_quota=30000 --set vcpu_period=50000",
                       f"memtune {guest.name} --live --hard-limit 1048577 --swap-hard-limit 1572864")
        assert limits_of(host, guest)["vcpus"] == ["30000 50000"] * 2
        assert limits_of(host, guest)["emulator"] == HELD["emulator"]
    # Stopping the service is no end of guests either, in a group of their own or in the service's.
    host.run("systemctl restart lodged")
    host.wait_until_ready()
    assert set(host.virsh("list", "--name").split()) >= {guest.name for guest in guests}
    # One that ends while no daemon is there leaves nothing.
    groups = [guest.whole_group() for guest in guests[:2]]
    host.run(f"systemctl stop lodged; kill -9 {' '.join(str(guest.pid) for guest in guests)}; systemctl start lodged")
    host.wait_until_ready()
    assert host.virsh("list", "--name").strip() == ""
    for group in groups:
        assert host.ask(f"ls -d {group}")[0] != 0


# --- interfaces ---

BANDWIDTH = ("<bandwidth><inbound average='1000' peak='2000' burst='512'/><outbound average='500' burst='256'/></bandwidth>")


def traffic_of(host, link):
    """(class for what the guest gets, filter for what it sends) as the kernel tells them."""
    return host.run(f"tc class show dev {link}"), host.run(f"tc filter show dev {link} parent ffff:")


@pytest.fixture
def networks(host):
    """A bridge, and an interface that macvtap can be on."""
    host.run("ip link add lodgebr type bridge; ip link set lodgebr up; ip link add lodgedummy type dummy; ip link set lodgedummy up")
    yield
    host.run("ip link del lodgebr; ip link del lodgedummy")


@ENGINES
def test_bandwidth_is_limited_by_the_kernel(host, start, networks, emulator):
    card = f"<interface type='bridge'><source bridge='lodgebr'/><target dev='lodgetap'/><model type='virtio'/>{BANDWIDTH}</interface>"
    guest = start("band", guest_xml("band", emulator, card))
    gets, sends = traffic_of(host, "lodgetap")
    assert re.search(r"htb .*rate 8Mbit ceil 16Mbit burst 512Kb", gets), gets
    assert re.search(r"police .*rate 4Mbit burst 256Kb", sends), sends
    assert "lodgetap" in host.run("ip -o link show master lodgebr")
    host.virsh_all("domiftune band lodgetap --live --inbound 2000 --outbound 1000,0,64")
    gets, sends = traffic_of(host, "lodgetap")
    assert re.search(r"htb .*rate 16Mbit ceil 16Mbit", gets), gets
    assert re.search(r"police .*rate 8Mbit burst 64Kb", sends), sends
    host.virsh_all("domiftune band lodgetap --live --inbound 0 --outbound 0")
    assert traffic_of(host, "lodgetap") == ("", "")
    guest.destroy()
    assert host.ask("ip link show lodgetap")[0] != 0


def macvtap_xml(mode, mac):
    return f"<interface type='direct'><mac address='{mac}'/><source dev='lodgedummy' mode='{mode}'/><model type='virtio'/>{BANDWIDTH}</interface>"


def descriptors_of(host, guest):
    return host.run(f"ls -l /proc/{guest.pid}/fd")


@pytest.mark.parametrize("mode, emulator", [("vepa", QEMU), ("bridge", LODGE_VMM), ("private", QEMU), ("passthrough", LODGE_VMM)])
def test_a_macvtap_link_is_made_handed_over_and_removed(host, start, networks, mode, emulator):
    mac = "52:54:00:aa:bb:01"
    before = host.read("/sys/class/net/lodgedummy/address")
    guest = start("direct", guest_xml("direct", emulator, macvtap_xml(mode, mac)))
    link = guest.describe().find("./devices/interface/target").get("dev")
    told = host.run(f"ip -d link show {link}")
    assert re.search(rf"macvtap +mode {mode.replace('passthrough', 'passthru')}\b", told) and mac in told and "UP" in told, told
    gets, sends = traffic_of(host, link)
    assert "rate 8Mbit" in gets and "rate 4Mbit" in sends
    index = host.read(f"/sys/class/net/{link}/ifindex")
    assert f"/dev/tap{index}\n" in descriptors_of(host, guest) + "\n"
    assert (host.read("/sys/class/net/lodgedummy/address") == mac) == (mode == "passthrough")
    guest.destroy()
    assert host.ask(f"ip link show {link}")[0] != 0
    assert host.read("/sys/class/net/lodgedummy/address") == before


def test_macvtap_links_of_guests_of_a_killed_daemon_go_with_them(host, start, networks):
    guests = [start(f"left{n}", guest_xml(f"left{n}", QEMU, macvtap_xml("bridge", f"52:54:00:aa:bb:0{n}"))) for n in (2, 3)]
    links = [guest.describe().find("./devices/interface/target").get("dev") for guest in guests]
    kill_daemon(host)
    guests[0].destroy()
    assert [host.ask(f"ip link show {link}")[0] == 0 for link in links] == [False, True]
    # One that ends while no daemon is there.
    host.run(f"systemctl stop lodged; kill -9 {guests[1].pid}; systemctl start lodged")
    host.wait_until_ready()
    assert host.ask(f"ip link show {links[1]}")[0] != 0


def test_interfaces_are_plugged_and_unplugged(host, start, networks):
    guest = start("plugged", guest_xml("plugged", QEMU))
    host.put("/tmp/direct.xml", macvtap_xml("bridge", "52:54:00:aa:bb:04"))
    host.put("/tmp/bridge.xml", "<interface type='bridge'><mac address='52:54:00:aa:bb:05'/><source bridge='lodgebr'/>"
             f"<target dev='lodgeplug'/><model type='virtio'/>{BANDWIDTH}</interface>")
    host.virsh_all("attach-device plugged /tmp/direct.xml --live", "attach-device plugged /tmp/bridge.xml --live")
    link = guest.describe().find("./devices/interface[@type='direct']/target").get("dev")
    assert f"/dev/tap{host.read(f'/sys/class/net/{link}/ifindex')}\n" in descriptors_of(host, guest) + "\n"
    gets, sends = traffic_of(host, "lodgeplug")
    assert "rate 8Mbit" in gets and "rate 4Mbit" in sends
    guest.destroy()
    assert host.ask(f"ip link show {link}")[0] != 0 and host.ask("ip link show lodgeplug")[0] != 0


# --- devices of the host ---

NETCARD = "0000:01:00.0"


def driver_of(host, function=NETCARD):
    return os.path.basename(host.run(f"readlink /sys/bus/pci/devices/{function}/driver"))


def vfio_xml(managed="yes"):
    return (f"<hostdev mode='subsystem' type='pci' managed='{managed}'><source><address domain='0' bus='1' slot='0' function='0'/>"
            "</source></hostdev>")


def test_a_pci_device_is_taken_from_its_driver_and_given_back(host, start):
    assert driver_of(host) == "e1000e"
    guest = start("vfio", guest_xml("vfio", QEMU, vfio_xml()))
    assert driver_of(host) == "vfio-pci"
    group = os.path.basename(host.run(f"readlink /sys/bus/pci/devices/{NETCARD}/iommu_group"))
    assert f"/dev/vfio/{group}" in descriptors_of(host, guest)
    assert f'host = "{NETCARD}"' in host.virsh("qemu-monitor-command", "vfio", "--hmp", "info qtree")
    # Another guest is refused while it is taken.
    host.put("/tmp/other.xml", guest_xml("other", QEMU, vfio_xml()))
    status, text = host.ask(f"virsh -q -c '{URI}' create /tmp/other.xml --paused")
    assert status != 0 and "in use by driver QEMU, domain vfio" in text, text
    guest.destroy()
    assert driver_of(host) == "e1000e"


def test_a_pci_device_goes_back_after_the_daemon_was_killed(host, start):
    guest = start("vfiokill", guest_xml("vfiokill", QEMU))
    host.put("/tmp/vfio.xml", vfio_xml())
    host.virsh("attach-device", "vfiokill", "/tmp/vfio.xml", "--live")
    assert "/dev/vfio/" in descriptors_of(host, guest)
    kill_daemon(host)
    assert driver_of(host) == "vfio-pci"
    host.run(f"systemctl stop lodged; kill -9 {guest.pid}; systemctl start lodged")
    host.wait_until_ready()
    assert driver_of(host) == "e1000e"


USB = "<hostdev mode='subsystem' type='usb'><source>{}</source></hostdev>"
XHCI = "<controller type='usb' model='qemu-xhci'/>"


def usb_devices(host):
    """[(bus, device)] of the two pointers, which have one vendor and product."""
    found = re.findall(r"Bus 0*(\d+) Device 0*(\d+): ID 0627:0001", host.run("lsusb"))
    assert len(found) == 2, found
    return sorted(found)


def usb_drivers(host):
    """Of each interface of a device; "none" where a guest has it."""
    return host.run("for i in /sys/bus/usb/devices/1-*:1.0; do basename $(readlink $i/driver || echo none); done").split()


def node_of(bus, device):
    return f"/dev/bus/usb/{int(bus):03}/{int(device):03}"


def test_usb_devices_of_the_host_are_handed_over(host, start):
    (bus, first), (_, second) = usb_devices(host)
    before = usb_drivers(host)
    assert before.count("usbhid") == 2
    guest = start("usb", guest_xml("usb", QEMU, XHCI + USB.format(f"<address bus='{bus}' device='{first}'/>")))
    host.virsh("resume", "usb")  # QEMU closes what was passed only while it runs
    assert node_of(bus, first) in descriptors_of(host, guest)
    assert usb_drivers(host).count("usbhid") == 1
    # By vendor there are two: the caller has to say which.
    host.put("/tmp/usb-vendor.xml", USB.format("<vendor id='0x0627'/><product id='0x0001'/>"))
    status, text = host.ask(f"virsh -q -c '{URI}' attach-device usb /tmp/usb-vendor.xml --live")
    assert status != 0 and "Multiple USB devices for 0627:0001" in text, text
    host.put("/tmp/usb-place.xml", USB.format(f"<vendor id='0x0627'/><product id='0x0001'/><address bus='{bus}' device='{second}'/>"))
    host.virsh("attach-device", "usb", "/tmp/usb-place.xml", "--live")
    assert node_of(bus, second) in descriptors_of(host, guest)
    assert usb_drivers(host).count("usbhid") == 0
    host.virsh("detach-device", "usb", "/tmp/usb-place.xml", "--live")
    assert node_of(bus, second) not in descriptors_of(host, guest)
    assert usb_drivers(host).count("usbhid") == 1
    assert len(guest.describe().findall("./devices/hostdev")) == 1
    guest.destroy()
    assert sorted(usb_devices(host)) == sorted([(bus, first), (bus, second)])
    assert usb_drivers(host) == before


@pytest.fixture
def scsi_disk(host):
    """(number of the adapter, its node) of a disk that the kernel plays."""
    host.run("modprobe scsi_debug dev_size_mb=8 && udevadm settle")
    number = re.search(r"host(\d+)/", host.run("grep -l scsi_debug /sys/class/scsi_host/*/proc_name")).group(1)
    yield number, f"/dev/{host.run(f'ls /sys/bus/scsi/devices/{number}:0:0:0/scsi_generic')}"
    host.ask("modprobe -r scsi_debug")


def test_a_scsi_disk_of_the_host_is_handed_over(host, start, scsi_disk):
    number, node = scsi_disk
    controller = "<controller type='scsi' model='virtio-scsi'/>"
    device = (f"<hostdev mode='subsystem' type='scsi'><source><adapter name='scsi_host{number}'/>"
              "<address bus='0' target='0' unit='0'/></source></hostdev>")
    before = host.run(f"stat -c '%U:%G %a' {node}")
    guest = start("scsi", guest_xml("scsi", QEMU, controller + device))
    assert node in descriptors_of(host, guest)
    assert "scsi-generic" in host.virsh("qemu-monitor-command", "scsi", "--hmp", "info qtree")
    guest.destroy()
    assert host.run(f"stat -c '%U:%G %a' {node}") == before
    # Plugged and taken away again, twice, as the second time needs what the first had.
    guest = start("scsiplug", guest_xml("scsiplug", QEMU, controller))
    host.virsh("resume", "scsiplug")
    host.put("/tmp/scsi.xml", device)
    for _ in range(2):
        host.virsh("attach-device", "scsiplug", "/tmp/scsi.xml", "--live")
        assert node in descriptors_of(host, guest)
        assert "scsi-generic" in host.virsh("qemu-monitor-command", "scsiplug", "--hmp", "info qtree")
        host.virsh("detach-device", "scsiplug", "/tmp/scsi.xml", "--live")
        assert node not in descriptors_of(host, guest)
        assert host.run(f"stat -c '%U:%G %a' {node}") == before
    assert guest.describe().find("./devices/hostdev") is None


def test_vsock_numbers_are_the_kernels(host, start):
    cards = []
    for name in ("vsock1", "vsock2"):
        guest = start(name, guest_xml(name, QEMU, "<vsock model='virtio'><cid auto='yes'/></vsock>"))
        cards.append(int(guest.describe().find("./devices/vsock/cid").get("address")))
        assert "/dev/vhost-vsock" in descriptors_of(host, guest)
    assert len(set(cards)) == 2 and min(cards) >= 3, cards
    # The kernel knows them: nobody else gets the number.
    take = (f"import fcntl, struct; fcntl.ioctl(open('/dev/vhost-vsock', 'r+b', 0), 0x4008af60, struct.pack('Q', {cards[0]}))")
    status, text = host.ask(f"python3 -c \"{take}\"")
    assert status != 0 and "Address already in use" in text, text
    host.virsh("destroy", "vsock1")
    host.run(f"python3 -c \"{take}\"")


def test_disks_of_the_device_mapper_are_opened_for_guests(host, start):
    host.run("truncate -s 8M /var/tmp/dm.img && loop=$(losetup -f --show /var/tmp/dm.img) && echo \"0 16384 linear $loop 0\" | "
             "dmsetup create lodgedm && udevadm settle")
    disk = "<disk type='block'><source dev='/dev/mapper/lodgedm'/><target dev='vda' bus='virtio'/></disk>"
    for emulator in (QEMU, LODGE_VMM):
        guest = start("mapped", guest_xml("mapped", emulator, disk))
        assert f"{host.run('readlink -f /dev/mapper/lodgedm')}\n" in descriptors_of(host, guest) + "\n"
        assert re.search(r"Capacity: +8388608", host.virsh("domblkinfo", "mapped", "vda"))
        guest.destroy()
    host.run("udevadm settle; dmsetup remove --retry lodgedm && losetup -D")


# --- who may come in, and when ---

POLKIT_RULE = """polkit.addRule(function(action, subject) {
    if (action.id == "org.libvirt.unix.manage" && subject.user == "keeper") { return polkit.Result.YES; }
});
"""


@pytest.fixture
def policy(host):
    """lodged asks the system's polkit; "keeper" may manage by a rule of the administrator's, "visitor" has none."""
    host.run("cp /usr/local/share/polkit-1/actions/org.lodge.policy /usr/share/polkit-1/actions/")
    host.put("/etc/polkit-1/rules.d/50-lodge.rules", POLKIT_RULE)
    host.run("mkdir -p /etc/lodge; for i in keeper visitor; do useradd -m $i; done; systemctl restart polkit")
    host.put("/etc/lodge/lodged.conf", 'auth_unix_rw = "polkit"\nauth_unix_ro = "polkit"\nunix_sock_rw_perms = "0777"\n')
    host.run("systemctl restart lodged")
    host.wait_until_ready()
    yield
    host.run("rm /etc/lodge/lodged.conf; systemctl restart lodged; for i in keeper visitor; do userdel -r $i; done")
    host.wait_until_ready()


def test_polkit_decides_who_may_manage(host, policy):
    def list_as(user):
        return host.ask(f"setsid -w runuser -u {user} -- virsh -q -c '{URI}' list --all < /dev/null")
    assert host.run("systemctl is-active polkit dbus").split() == ["active"] * 2
    assert list_as("keeper")[0] == 0
    status, text = list_as("visitor")
    assert status != 0 and "no polkit agent available" in text, text
    # On a terminal virsh asks for the password that the action wants.
    host.vm.send(f"runuser -u visitor -- virsh -q -c '{URI}' list --all; echo status=$?\n")
    host.vm.expect("Authenticating as: root")
    host.vm.expect("Password: ")
    host.vm.send("lodge\n")
    assert host.vm.expect(r"status=(\d+)").group(1) == "0"
    # Looking on is for all by default.
    read_only = URI + "-ro"
    assert host.ask(f"runuser -u visitor -- virsh -q -r -c '{read_only}' list --all")[0] == 0
    host.put("/etc/polkit-1/rules.d/40-lodge.rules", POLKIT_RULE.replace("manage", "monitor").replace("keeper", "visitor").replace("YES", "NO"))
    host.run("systemctl restart polkit")
    status, text = host.ask(f"runuser -u visitor -- virsh -q -r -c '{read_only}' list --all")
    assert status != 0 and "access denied by policy" in text, text
    host.run("rm /etc/polkit-1/rules.d/40-lodge.rules")


UNITS = "lodged.socket lodged-ro.socket lodged-admin.socket"


@pytest.fixture
def activation(host):
    host.run(f"systemctl stop lodged && systemctl start {UNITS}")
    yield
    host.run(f"systemctl stop lodged {UNITS}; systemctl start lodged")
    host.wait_until_ready()


def test_systemd_starts_the_daemon_for_its_first_client(host, activation):
    assert host.ask("systemctl is-active lodged")[1] == "inactive"
    assert "QEMU" in host.virsh("version")
    assert host.ask("systemctl is-active lodged")[1] == "active"
    assert host.run("stat -c '%a' /run/lodge/lodge-sock /run/lodge/lodge-sock-ro /run/lodge/lodge-sock-admin").split() == ["660", "666", "600"]
    host.put("/tmp/read-only.xml", guest_xml("looker", QEMU))
    status, text = host.ask(f"virsh -q -r -c '{URI}-ro' define /tmp/read-only.xml")
    assert status != 0 and "read only access" in text, text
    # The sockets are systemd's: they outlive the daemon, and the next client starts it again.
    host.run("systemctl stop lodged")
    assert "QEMU" in host.virsh("version")
    kill_daemon(host)
    assert host.ask("systemctl is-active lodged lodged.socket")[1].split() == ["active"] * 2


def test_the_doctor_finds_nothing_wrong_with_this_host(host):
    status, text = host.ask("lodge doctor --json")
    assert status == 0, text
    checks = {row["check"]: row["result"] for row in json.loads(text)}
    for name in ("programs", "network", "vhost", "daemon", "engine", "cgroups", "permissions"):
        assert checks[name] == "ok", text
    # ... and what is wrong where something is.
    host.run("systemctl stop lodged")
    status, text = host.ask("lodge doctor --json")
    host.run("systemctl start lodged")
    host.wait_until_ready()
    assert status == 1 and "systemctl start lodged" in text, text
