"""vCPUs, IOThreads and memory of guests: numbers, places, statistics, live and in definitions.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import re
import xml.etree.ElementTree as ET

import libvirt
import pytest

from guestxml import QEMU, Console, disk_xml, guest_xml
from libvirt_client import code_of

ENGINES = pytest.mark.parametrize("emulator", [None, QEMU], ids=["lodge-vmm", "qemu"])
# The same, with QEMU among the slow tests: they wait for what guests do, or do not.
QEMU_SLOWLY = pytest.mark.parametrize("emulator", [None, pytest.param(QEMU, marks=pytest.mark.slow)], ids=["lodge-vmm", "qemu"])
LIVE, CONFIG, MAXIMUM = 1, 2, 4


@pytest.fixture
def start(connection):
    """Defines and starts guests; ends them afterwards."""
    made = []

    def run(name, xml, paused=True):
        domain = connection.defineXML(xml)
        made.append(domain)
        domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED if paused else 0)
        return domain

    yield run
    for domain in made:
        if domain.isActive():
            domain.destroy()
        domain.undefine()


def definition(domain, flags=0):
    return ET.fromstring(domain.XMLDesc(flags))


def threads_on(pid):
    """Thread id -> CPUs, from the kernel."""
    found = {}
    for tid in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{tid}/status", encoding="utf-8") as status:
            found[int(tid)] = re.search(r"Cpus_allowed_list:\s+(\S+)", status.read()).group(1)
    return found


def pid_of(lodged, name):
    with open(os.path.join(lodged.root, "run", "qemu", name + ".xml"), encoding="utf-8") as status:
        return int(re.search(r"pid='(\d+)'", status.read()).group(1))


def test_vcpus_are_plugged(lodged, boot, start):
    xml = guest_xml("plug", boot, QEMU, vcpus=(1, 4), extra="<cpu><topology sockets='4' cores='1' threads='1'/></cpu>")
    domain = start("plug", xml, paused=False)
    console = Console(definition(domain).find("devices/console").get("tty"))
    console.expect("reached init", 300)
    domain.setVcpusFlags(3, LIVE | CONFIG)
    assert domain.vcpusFlags(LIVE) == 3 and domain.vcpusFlags(CONFIG) == 3 and domain.vcpusFlags(LIVE | MAXIMUM) == 4
    assert console.run("until [ -e /sys/devices/system/cpu/cpu2 ]; do sleep 0.1; done", 60)[0] == 0
    assert len(domain.vcpus()[0]) == 3
    assert definition(domain).find("vcpu").get("current") == "3"
    assert code_of(domain.setVcpusFlags, 5, LIVE) == libvirt.VIR_ERR_INVALID_ARG
    assert code_of(domain.setVcpusFlags, 8, LIVE | MAXIMUM) == libvirt.VIR_ERR_INVALID_ARG
    domain.setVcpu("3", 1, LIVE)
    assert [info[0] for info in domain.vcpus()[0]] == [0, 1, 2, 3]
    assert code_of(domain.setVcpu, "0", 0, LIVE) == libvirt.VIR_ERR_OPERATION_UNSUPPORTED
    console.close()


@ENGINES
def test_numbers_in_definitions(lodged, boot, connection, emulator):
    domain = connection.defineXML(guest_xml("count", boot, emulator, vcpus=(1, 2), memory=512))
    assert code_of(domain.setVcpusFlags, 3, CONFIG) == libvirt.VIR_ERR_INVALID_ARG
    assert code_of(domain.setVcpusFlags, 2, LIVE) == libvirt.VIR_ERR_OPERATION_INVALID
    domain.setVcpusFlags(4, CONFIG | MAXIMUM)
    domain.setVcpusFlags(3, CONFIG)
    assert lodged.virsh("vcpucount", "count", "--current", "--config").stdout.strip() == "3"
    domain.setVcpu("2", 0, CONFIG)
    assert domain.vcpusFlags(CONFIG) == 2
    assert code_of(domain.setVcpu, "0", 0, CONFIG) == libvirt.VIR_ERR_INVALID_ARG
    domain.setMemoryFlags(256 * 1024, CONFIG)
    assert definition(domain).find("currentMemory").text == str(256 * 1024)
    assert code_of(domain.setMemoryFlags, 1 << 30, CONFIG) == libvirt.VIR_ERR_INVALID_ARG
    domain.setMaxMemory(1024 * 1024)
    assert domain.maxMemory() == 1024 * 1024
    lodged.virsh("vcpupin", "count", "0", "0", "--config")
    lodged.virsh("emulatorpin", "count", "0", "--config")
    pins = definition(domain).find("cputune")
    assert pins.find("vcpupin").get("cpuset") == "0" and pins.find("emulatorpin").get("cpuset") == "0"
    assert code_of(domain.pinVcpuFlags, 9, (True,), CONFIG) == libvirt.VIR_ERR_INVALID_ARG
    assert code_of(domain.pinVcpuFlags, 0, (False,), CONFIG) == libvirt.VIR_ERR_INVALID_ARG
    domain.undefine()


@ENGINES
def test_threads_run_where_they_are_told(lodged, boot, start, emulator):
    name = "pin-" + ("q" if emulator else "l")
    extra = "<cputune><vcpupin vcpu='1' cpuset='1'/><emulatorpin cpuset='0'/></cputune>"
    domain = start(name, guest_xml(name, boot, emulator, vcpus=2, extra=extra))
    pid = pid_of(lodged, name)
    before = threads_on(pid)
    assert before[pid] == "0" and "1" in before.values()
    assert definition(domain).find("cputune/vcpupin").get("cpuset") == "1"
    domain.pinVcpu(0, (False, True))
    assert [tuple(cpus[:2]) for cpus in domain.vcpus()[1]] == [(False, True), (False, True)]
    domain.pinEmulator((True, True), LIVE)
    assert threads_on(pid)[pid] == "0-1"
    assert domain.emulatorPinInfo(LIVE)[:2] == (True, True) and domain.emulatorPinInfo(CONFIG)[:2] == (True, False)
    assert "CPU Affinity" in lodged.virsh("vcpuinfo", name).stdout
    assert domain.vcpuPinInfo(CONFIG)[0][:2] == (True, True)


@ENGINES
def test_iothreads(lodged, boot, start, emulator):
    name = "io-" + ("q" if emulator else "l")
    path = os.path.join(lodged.root, f"{name}.img")
    with open(path, "wb") as file:
        file.truncate(1 << 20)
    disk = disk_xml(path, "vda").replace("type='raw'", "type='raw' iothread='1'")
    domain = start(name, guest_xml(name, boot, emulator, disk, extra="<iothreads>2</iothreads>"))
    assert [item[0] for item in domain.ioThreadInfo(LIVE)] == [1, 2]
    domain.addIOThread(5, LIVE | CONFIG)
    assert [item[0] for item in domain.ioThreadInfo(LIVE)] == [item[0] for item in domain.ioThreadInfo(CONFIG)] == [1, 2, 5]
    domain.pinIOThread(5, (False, True), LIVE | CONFIG)
    assert tuple(domain.ioThreadInfo(LIVE)[2][1][:2]) == tuple(domain.ioThreadInfo(CONFIG)[2][1][:2]) == (False, True)
    assert code_of(domain.addIOThread, 5, LIVE) == libvirt.VIR_ERR_INVALID_ARG
    assert code_of(domain.delIOThread, 1, LIVE) == libvirt.VIR_ERR_INVALID_ARG
    assert code_of(domain.delIOThread, 7, CONFIG) == libvirt.VIR_ERR_INVALID_ARG
    domain.delIOThread(5, LIVE | CONFIG)
    assert definition(domain).find("iothreads").text == "2"
    lodged.virsh("iothreadset", name, "2", "--poll-max-ns", "1000", "--poll-grow", "3", "--poll-shrink", "4")
    stats = domain.connect().domainListGetStats([domain], libvirt.VIR_DOMAIN_STATS_IOTHREAD)[0][1]
    assert [stats[f"iothread.2.poll-{what}"] for what in ("max-ns", "grow", "shrink")] == [1000, 3, 4]
    assert code_of(domain.setIOThreadParams, 2, {"poll_max": 1}, LIVE) == libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED
    assert code_of(domain.setIOThreadParams, 9, {"poll_max_ns": 1}, LIVE) == libvirt.VIR_ERR_INVALID_ARG
    assert code_of(domain.setIOThreadParams, 2, {"poll_max_ns": 1}, CONFIG) == libvirt.VIR_ERR_OPERATION_UNSUPPORTED
    assert code_of(domain.delIOThread, 9, LIVE) == libvirt.VIR_ERR_INVALID_ARG


@QEMU_SLOWLY
def test_the_balloon_gives_and_tells(lodged, boot, start, emulator):
    name = "mem-" + ("q" if emulator else "l")
    xml = guest_xml(name, boot, emulator, "<memballoon model='virtio'><stats period='1'/></memballoon>", memory=384)
    domain = start(name, xml, paused=False)
    console = Console(definition(domain).find("devices/console").get("tty"))
    console.expect("reached init", 300)
    lodged.virsh("setmem", name, "256M", "--live")
    status, text = console.run("until [ $(awk '/MemTotal/ {print $2}' /proc/meminfo) -lt 300000 ]; do sleep 0.1; done", 60)
    assert status == 0, text
    lodged.virsh("qemu-monitor-command", name, '{"execute":"query-balloon"}')
    wait = r"for i in $(seq 100); do sleep 0.1; done"
    for _ in range(20):
        if domain.info()[2] == 256 * 1024 and domain.memoryStats().get("unused", 1 << 40) < 256 * 1024:
            break
        console.run(wait)
    assert domain.info()[2] == 256 * 1024
    stats = domain.memoryStats()
    assert stats["actual"] == 256 * 1024 and 0 < stats["unused"] < 256 * 1024 and stats["rss"] > 0
    assert code_of(domain.setMemory, 1 << 30) == libvirt.VIR_ERR_INVALID_ARG
    domain.setMemoryStatsPeriod(5, LIVE | CONFIG)
    assert definition(domain, 2).find("devices/memballoon/stats").get("period") == "5"
    console.close()
