"""Every limit of a running guest, read back where it acts: control groups (version 1), threads, tc, the engine (6 s).

SPDX-License-Identifier: GPL-2.0-or-later
"""
import contextlib
import json
import os
import re
import stat
import xml.etree.ElementTree as ET

import libvirt
import pytest

from guestxml import QEMU, disk_xml, guest_xml
from lodged import Lodged
from test_interfaces import Network, bridged

ENGINES = pytest.mark.parametrize("emulator", [None, QEMU], ids=["lodge-vmm", "qemu"])
LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE
UNLIMITED = 9007199254740991  # KiB: libvirt's word for no limit
GROUPS = "/sys/fs/cgroup"


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read().strip()


def needs_groups(*controllers):
    for controller in controllers:
        if os.geteuid() or not os.access(os.path.join(GROUPS, controller, "cgroup.procs"), os.W_OK):
            pytest.skip(f"needs root and the control group {controller} of version 1")


def group_of(task, controller):
    """The folder of the control group that a process or thread is in."""
    for line in read(f"/proc/{task}/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return next(found for found in (f"{GROUPS}/{controller}{path}", f"{GROUPS}/{names}{path}") if os.path.isdir(found))
    raise AssertionError(f"{task} is in no group of {controller}")


def value_of(task, controller, file):
    return read(os.path.join(group_of(task, controller), file))


def times_of(task):
    return tuple(int(value_of(task, "cpu", f"cpu.cfs_{what}_us")) for what in ("period", "quota"))


class Guest:
    """A paused guest with two vCPUs, an IOThread and a disk."""

    def __init__(self, lodged, connection, name, boot, emulator, extra=""):
        self.name, self.lodged = name, lodged
        path = os.path.join(lodged.root, f"{name}.img")
        with open(path, "wb") as file:
            file.truncate(1 << 20)
        disk = disk_xml(path, "vda").replace("type='raw'", "type='raw' iothread='1'")
        text = guest_xml(name, boot, emulator, disk, vcpus=2, extra="<iothreads>1</iothreads>" + extra)
        self.domain = connection.createXML(text, libvirt.VIR_DOMAIN_START_PAUSED)
        status = read(os.path.join(lodged.root, "run", "qemu", name + ".xml"))
        self.pid = int(re.search(r"pid='(\d+)'", status).group(1))
        self.vcpus = [cpu["thread-id"] for cpu in self.ask("query-cpus-fast")]

    def ask(self, command):
        done = self.lodged.virsh("qemu-monitor-command", self.name, json.dumps({"execute": command}))
        return json.loads(done.stdout)["return"]

    def iothreads(self):
        return {item["id"]: item["thread-id"] for item in self.ask("query-iothreads")}

    def cpus_of(self, tid):
        return re.search(r"Cpus_allowed_list:\s+(\S+)", read(f"/proc/{self.pid}/task/{tid}/status")).group(1)


@pytest.fixture
def start(lodged, connection, boot):
    made = []

    def run(kind, emulator, extra=""):
        made.append(Guest(lodged, connection, kind + ("-q" if emulator else "-l"), boot, emulator, extra))
        return made[-1]

    yield run
    for guest in made:
        with contextlib.suppress(libvirt.libvirtError):  # a test may have ended it
            guest.domain.destroy()


@ENGINES
def test_processor_time_is_limited_in_the_groups_of_its_threads(start, emulator):
    needs_groups("cpu")
    guest = start("time", emulator)
    guest.domain.setSchedulerParametersFlags({"cpu_shares": 2000, "vcpu_period": 50000, "vcpu_quota": 40000,
                                              "emulator_period": 60000, "emulator_quota": 30000,
                                              "global_period": 80000, "global_quota": 70000,
                                              "iothread_period": 90000, "iothread_quota": 20000}, LIVE)
    whole = os.path.dirname(group_of(guest.vcpus[0], "cpu"))
    assert read(f"{whole}/cpu.shares") == "2000"
    assert (read(f"{whole}/cpu.cfs_period_us"), read(f"{whole}/cpu.cfs_quota_us")) == ("80000", "70000")
    assert [times_of(tid) for tid in guest.vcpus] == [(50000, 40000)] * 2
    assert len({group_of(tid, "cpu") for tid in guest.vcpus}) == 2  # each has the time for itself
    assert times_of(guest.pid) == (60000, 30000)
    assert [times_of(tid) for tid in guest.iothreads().values()] == [(90000, 20000)]
    # Threads that come later are under the limit of their kind.
    guest.domain.addIOThread(3, LIVE)
    assert [times_of(tid) for tid in guest.iothreads().values()] == [(90000, 20000)] * 2
    # -1 and 0 take limits away.
    guest.domain.setSchedulerParametersFlags({"cpu_shares": 512, "vcpu_period": 0, "vcpu_quota": 0, "emulator_quota": -1,
                                              "global_quota": -1, "iothread_quota": 0}, LIVE)
    assert read(f"{whole}/cpu.shares") == "512" and read(f"{whole}/cpu.cfs_quota_us") == "-1"
    assert [times_of(tid)[1] for tid in [*guest.vcpus, guest.pid, *guest.iothreads().values()]] == [-1] * 5
    guest.domain.destroy()
    assert not os.path.exists(whole)


@ENGINES
def test_processor_time_of_the_definition_is_limited_from_the_start(start, emulator):
    needs_groups("cpu")
    guest = start("begin", emulator, "<cputune><shares>300</shares><period>40000</period><quota>20000</quota></cputune>")
    assert [times_of(tid) for tid in guest.vcpus] == [(40000, 20000)] * 2
    assert read(os.path.join(os.path.dirname(group_of(guest.vcpus[0], "cpu")), "cpu.shares")) == "300"


@ENGINES
def test_memory_is_limited_and_let_go(start, emulator):
    needs_groups("memory")
    guest = start("memory", emulator)
    files = ["memory.limit_in_bytes", "memory.soft_limit_in_bytes"]
    fields = ["hard_limit", "soft_limit"]
    if os.path.exists(os.path.join(GROUPS, "memory", "memory.memsw.limit_in_bytes")):
        files.append("memory.memsw.limit_in_bytes")
        fields.append("swap_hard_limit")
    values = dict(zip(fields, (1 << 20, 1 << 19, 3 << 19)))
    guest.domain.setMemoryParameters(values, LIVE)
    group = group_of(guest.pid, "memory")
    assert [int(read(f"{group}/{file}")) for file in files] == [value << 10 for value in values.values()]
    assert {field: guest.domain.memoryParameters(LIVE)[field] for field in fields} == values
    guest.domain.setMemoryParameters(dict.fromkeys(fields, UNLIMITED), LIVE)
    assert all(int(read(f"{group}/{file}")) > 1 << 60 for file in files)


def block_device():
    """Of the host; it is only limited for the guest."""
    found = ["/dev/" + name for name in sorted(os.listdir("/sys/block"), reverse=True) if os.path.exists("/dev/" + name)]
    found = [path for path in found if stat.S_ISBLK(os.stat(path).st_mode)]
    if not found:
        pytest.skip("needs a block device")
    return found[0]


@ENGINES
def test_disks_of_the_host_are_shared_out(start, emulator):
    needs_groups("blkio")
    guest, path = start("disk", emulator), block_device()
    number = f"{os.major(os.stat(path).st_rdev)}:{os.minor(os.stat(path).st_rdev)}"
    limits = {"read_bytes_sec": ("read_bps", 4 << 20), "write_bytes_sec": ("write_bps", 3 << 20),
              "read_iops_sec": ("read_iops", 200), "write_iops_sec": ("write_iops", 100)}
    for field, (_, value) in limits.items():
        guest.domain.setBlkioParameters({f"device_{field}": f"{path},{value}"}, LIVE)
    for field, (file, value) in limits.items():
        assert value_of(guest.pid, "blkio", f"blkio.throttle.{file}_device") == f"{number} {value}"
        assert guest.domain.blkioParameters(LIVE)[f"device_{field}"] == f"{path},{value}"
    guest.domain.setBlkioParameters({"device_read_bytes_sec": f"{path},0"}, LIVE)
    assert value_of(guest.pid, "blkio", "blkio.throttle.read_bps_device") == ""
    weight = next((name for name in ("blkio.weight", "blkio.bfq.weight")
                   if os.path.exists(os.path.join(group_of(guest.pid, "blkio"), name))), None)
    if weight:
        guest.domain.setBlkioParameters({"weight": 700}, LIVE)
        assert value_of(guest.pid, "blkio", weight).split()[-1] == "700"


@ENGINES
def test_a_disks_own_weight_is_given_or_refused(start, emulator):
    needs_groups("blkio")
    guest, path = start("weight", emulator), block_device()
    number = f"{os.major(os.stat(path).st_rdev)}:{os.minor(os.stat(path).st_rdev)}"
    try:
        guest.domain.setBlkioParameters({"device_weight": f"{path},300"}, LIVE)
    except libvirt.libvirtError as error:  # the device's I/O scheduler is not BFQ
        assert "weight_device" in str(error)
        assert guest.domain.blkioParameters(LIVE)["device_weight"] == ""
    else:
        group = group_of(guest.pid, "blkio")
        files = [f"{group}/{name}" for name in ("blkio.weight_device", "blkio.bfq.weight_device")]
        assert any(f"{number} 300" in read(file) for file in files if os.path.exists(file))


@ENGINES
def test_memory_comes_from_the_nodes_that_are_named(start, emulator):
    needs_groups("cpuset")
    guest = start("nodes", emulator, "<numatune><memory mode='strict' nodeset='0'/></numatune>")
    assert value_of(guest.pid, "cpuset", "cpuset.mems") == "0"
    guest.domain.setNumaParameters({"numa_nodeset": "0"}, LIVE)
    assert value_of(guest.pid, "cpuset", "cpuset.mems") == "0"
    assert re.search(r"Mems_allowed_list:\s+0$", read(f"/proc/{guest.pid}/status"), re.M)


@ENGINES
def test_a_node_that_the_host_lacks_is_named_with_those_it_has(start, emulator):
    needs_groups("cpuset")
    online = read("/sys/devices/system/node/online").strip()
    guest = start("lacking", emulator, "<numatune><memory mode='strict' nodeset='0'/></numatune>")
    with pytest.raises(libvirt.libvirtError) as caught:
        guest.domain.setNumaParameters({"numa_nodeset": "0,777"}, LIVE)
    assert caught.value.get_error_code() == libvirt.VIR_ERR_CONFIG_UNSUPPORTED
    assert f"NUMA node 777 is not there: this host has {online}" in caught.value.get_error_message()
    assert guest.domain.numaParameters(LIVE)["numa_nodeset"] == "0"
    assert value_of(guest.pid, "cpuset", "cpuset.mems") == "0"


@ENGINES
def test_threads_are_where_they_are_pinned(start, emulator):
    if os.cpu_count() < 2:
        pytest.skip("needs two processors")
    guest = start("where", emulator)
    guest.domain.pinVcpu(0, (True, False))
    guest.domain.pinVcpu(1, (False, True))
    guest.domain.pinEmulator((True, False), LIVE)
    guest.domain.pinIOThread(1, (False, True), LIVE)
    assert [guest.cpus_of(tid) for tid in guest.vcpus] == ["0", "1"]
    assert guest.cpus_of(guest.pid) == "0"
    assert [guest.cpus_of(tid) for tid in guest.iothreads().values()] == ["1"]
    guest.domain.pinEmulator((False, True), LIVE)
    assert guest.cpus_of(guest.pid) == "1" and [guest.cpus_of(tid) for tid in guest.vcpus] == ["0", "1"]
    # Not bound with the thread that makes it.
    guest.domain.addIOThread(2, LIVE)
    assert guest.cpus_of(guest.iothreads()["iothread2"]) == f"0-{os.cpu_count() - 1}"


@ENGINES
def test_a_disk_is_throttled_in_the_engine(start, emulator):
    guest = start("throttle", emulator)
    told = {"read_bytes_sec": "bps_rd", "write_bytes_sec": "bps_wr", "read_iops_sec": "iops_rd", "write_iops_sec": "iops_wr",
            "read_bytes_sec_max": "bps_rd_max", "write_bytes_sec_max": "bps_wr_max", "read_iops_sec_max": "iops_rd_max",
            "write_iops_sec_max": "iops_wr_max", "size_iops_sec": "iops_size", "read_bytes_sec_max_length": "bps_rd_max_length",
            "write_iops_sec_max_length": "iops_wr_max_length"}
    values = {"read_bytes_sec": 1 << 20, "write_bytes_sec": 1 << 21, "read_iops_sec": 100, "write_iops_sec": 200,
              "read_bytes_sec_max": 1 << 22, "write_bytes_sec_max": 1 << 23, "read_iops_sec_max": 300, "write_iops_sec_max": 400,
              "size_iops_sec": 4096, "read_bytes_sec_max_length": 5, "write_iops_sec_max_length": 6}
    guest.domain.setBlockIoTune("vda", values, LIVE)
    held = guest.ask("query-block")[0]["inserted"]
    assert {field: held.get(told[field]) for field in values} == values
    tuned = guest.domain.blockIoTune("vda", LIVE)
    assert {field: tuned[field] for field in values} == values
    guest.domain.setBlockIoTune("vda", dict.fromkeys(values, 0), LIVE)
    held = guest.ask("query-block")[0]["inserted"]
    assert not any(held.get(name) for name in ("bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"))
    guest.domain.setBlockIoTune("vda", {"total_bytes_sec": 1 << 20, "total_iops_sec": 50}, LIVE)
    held = guest.ask("query-block")[0]["inserted"]
    assert (held["bps"], held["iops"]) == (1 << 20, 50)


@pytest.fixture(scope="module")
def network():
    if os.geteuid():
        pytest.skip("needs root")
    made = Network()
    yield made
    made.stop()


@ENGINES
def test_an_interface_is_limited_on_the_host(tmp_path, network, boot, emulator):
    def tc(what):
        done = os.popen(f"nsenter --net=/proc/{network.holder.pid}/ns/net tc -s {what} show dev {tap}"
                        + (" ingress" if what == "filter" else ""))
        return done.read()

    daemon = Lodged(str(tmp_path), prefix=network.enter)
    (tmp_path / "guest.xml").write_text(guest_xml("net", boot, emulator, bridged()))
    try:
        daemon.virsh("create", str(tmp_path / "guest.xml"), "--paused")
        tap = ET.fromstring(daemon.virsh("dumpxml", "net").stdout).find("devices/interface/target").get("dev")
        daemon.virsh("domiftune", "net", tap, "--inbound", "1000,5000,1024", "--live")
        assert "htb" in tc("qdisc")
        shaped = tc("class")
        assert "rate 8Mbit" in shaped and "ceil 40Mbit" in shaped and "burst 1Mb" in shaped, shaped
        done = daemon.virsh("domiftune", "net", tap, "--inbound", "500", "--outbound", "2000,0,512", "--live", check=False)
        if done.returncode:  # the kernel has no such action: all is as before
            assert "Failed to load TC action module" in done.stderr
            assert "rate 8Mbit" in tc("class") and "ingress" not in tc("qdisc")
        else:
            assert re.search(r"police .*rate 16Mbit burst 512Kb", tc("filter")), tc("filter")
            assert "rate 4Mbit" in tc("class")
            daemon.virsh("domiftune", "net", tap, "--inbound", "1000,5000,1024", "--live")
        told = daemon.virsh("domiftune", "net", tap).stdout
        assert re.search(r"inbound.average: 1000\s+inbound.peak\s*: 5000\s+inbound.burst\s*: 1024", told), told
        daemon.virsh("domiftune", "net", tap, "--inbound", "0", "--outbound", "0", "--live")
        assert "htb" not in tc("qdisc") and "ingress" not in tc("qdisc")
    finally:
        daemon.virsh("destroy", "net", check=False)
        daemon.stop()
