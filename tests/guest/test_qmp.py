"""QMP of a real machine: what programs ask when they connect, and devices that come and go.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import json
import os
import socket

import pytest
from guest import Guest, GuestError, Qmp, monitor_command
from images import image


def call(qmp, name, arguments=None, fds=()):
    """As Qmp.command(), with names and descriptors sent as they are."""
    message = {"execute": name}
    if arguments:
        message["arguments"] = arguments
    socket.send_fds(qmp.socket, [json.dumps(message).encode() + b"\n"], list(fds))
    while True:
        reply = json.loads(qmp.stream.readline())
        if "event" in reply:
            qmp.events.append(reply)
        elif "error" in reply:
            raise GuestError(f"{reply['error']['class']}: {reply['error']['desc']}")
        else:
            return reply["return"]


@pytest.fixture
def paused(build, tmp_path):
    """Starts a machine that never runs; gives its QMP connection."""
    machines = []

    def start(*options):
        path = str(tmp_path / f"qmp{len(machines)}")
        vm = Guest(monitor_command(build, "-accel", "xlate", "-m", "256", "-kernel", image(build, "fetch-kernel"),
                                   "-S", "-qmp", f"unix:{path},server=on,wait=off", *options))
        machines.append(vm)
        return Qmp(path)
    yield start
    for vm in machines:
        vm.kill()


def test_what_is_asked_at_connect_is_answered(paused):
    qmp = paused("-device", "virtio-balloon-pci,id=balloon0", "-smp", "2")
    commands = {row["name"] for row in call(qmp, "query-commands")}
    schema = call(qmp, "query-qmp-schema")
    assert commands == {row["name"] for row in schema if row["meta-type"] == "command"}
    types = {row["name"] for row in schema}
    for row in schema:
        for member in row.get("members", ()):
            assert "type" not in member or member["type"] in types, (row["name"], member)
    for name in sorted(commands):
        # Those without arguments that change nothing.
        if name.startswith("query-") and name != "query-cpu-model-expansion":
            assert call(qmp, name) is not None
    assert len(call(qmp, "query-hotpluggable-cpus")) == 2
    assert call(qmp, "query-memory-size-summary")["base-memory"] == 256 << 20
    props = call(qmp, "query-cpu-model-expansion", {"type": "full", "model": {"name": "max"}})["model"]["props"]
    assert props["sse2"] is True
    assert call(qmp, "query-balloon") == {"actual": 256 << 20}
    assert "pic1: irr=" in call(qmp, "human-monitor-command", {"command-line": "info pic"})
    assert "ioapic0:" in call(qmp, "human-monitor-command", {"command-line": "info irq"})


def test_a_missing_balloon_is_not_active(paused):
    qmp = paused()
    for name, arguments in (("query-balloon", None), ("balloon", {"value": 1 << 20})):
        with pytest.raises(GuestError, match="DeviceNotActive: No balloon device has been activated"):
            call(qmp, name, arguments)


def test_cards_without_an_address_count_up(paused):
    qmp = paused("-netdev", "user,id=a", "-netdev", "user,id=b", "-netdev", "user,id=c",
                 "-device", "virtio-net-pci,id=n0,netdev=a", "-device", "virtio-net-pci,id=n1,netdev=b,mac=52:54:00:12:34:57",
                 "-device", "virtio-net-pci,id=n2,netdev=c")
    macs = [call(qmp, "qom-get", {"path": f"/machine/peripheral/n{i}", "property": "mac"}) for i in range(3)]
    assert macs == ["52:54:00:12:34:56", "52:54:00:12:34:57", "52:54:00:12:34:58"]


def test_descriptors_come_by_the_monitor(paused, tmp_path):
    qmp = paused("-device", "virtio-serial-pci,id=vs")
    log = tmp_path / "log"
    fd = os.open(log, os.O_WRONLY | os.O_CREAT)
    added = call(qmp, "add-fd", {"opaque": "log"}, [fd])
    assert added["fdset-id"] == 0
    assert call(qmp, "query-fdsets") == [{"fdset-id": 0, "fds": [{"fd": added["fd"], "opaque": "log"}]}]
    call(qmp, "chardev-add", {"id": "c", "backend": {"type": "file", "data": {"out": "/dev/fdset/0", "append": True}}})
    call(qmp, "remove-fd", {"fdset-id": 0})
    assert call(qmp, "query-fdsets") == []
    call(qmp, "chardev-remove", {"id": "c"})
    # A listening socket under a name.
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "server"))
    server.listen(1)
    call(qmp, "getfd", {"fdname": "server"}, [server.fileno()])
    call(qmp, "chardev-add", {"id": "s", "backend": {"type": "socket", "data": {
        "addr": {"type": "fd", "data": {"str": "server"}}, "server": True, "wait": False}}})
    call(qmp, "device_add", {"driver": "virtserialport", "bus": "vs.0", "chardev": "s", "id": "port", "name": "x"})
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(str(tmp_path / "server"))
    with pytest.raises(GuestError, match="Chardev 's' is busy"):
        call(qmp, "chardev-remove", {"id": "s"})
    call(qmp, "device_del", {"id": "port"})
    assert qmp.wait_event("DEVICE_DELETED")["data"] == {"device": "port", "path": "/machine/peripheral/port"}
    call(qmp, "chardev-remove", {"id": "s"})
    call(qmp, "getfd", {"fdname": "again"}, [fd])
    call(qmp, "closefd", {"fdname": "again"})
    with pytest.raises(GuestError, match="File descriptor named 'again' not found"):
        call(qmp, "closefd", {"fdname": "again"})


def test_what_cannot_be_added_is_refused(paused):
    qmp = paused("-device", "pcie-root-port,id=slot", "-device", "virtio-rng-pci,id=rng")
    for arguments, part in (
            ({"driver": "virtio-rng-pci"}, "Bus 'pcie.0' does not support hotplugging"),
            ({"driver": "virtio-rng-pci", "bus": "nowhere"}, "Bus 'nowhere' not found"),
            ({"driver": "virtio-rng-pci", "id": "rng", "bus": "slot"}, "Duplicate device ID 'rng'"),
            ({"driver": "isa-serial"}, "cannot be added while the machine is there"),
            ({"driver": "virtio-rng-cpi", "bus": "slot"}, "did you mean 'virtio-rng-pci'"),
            ({"driver": "virtio-net-pci", "bus": "slot", "netdev": "gone"}, "there is no netdev 'gone'")):
        with pytest.raises(GuestError, match=part):
            call(qmp, "device_add", arguments)
    call(qmp, "device_add", {"driver": "virtio-rng-pci", "id": "hot", "bus": "slot"})
    with pytest.raises(GuestError, match="no slot left on bus 'slot'"):
        call(qmp, "device_add", {"driver": "virtio-rng-pci", "bus": "slot"})
    with pytest.raises(GuestError, match="Bus 'pcie.0' does not support hotplugging"):
        call(qmp, "device_del", {"id": "rng"})
    with pytest.raises(GuestError, match="DeviceNotFound: Device 'gone' not found"):
        call(qmp, "device_del", {"id": "gone"})
    with pytest.raises(GuestError, match="no console"):
        call(qmp, "screendump", {"filename": "/tmp/x"})


def test_a_guests_doings_are_told(build, tmp_path):
    """A port opened and closed, memory given up, the clock set."""
    path = str(tmp_path / "qmp")
    command = monitor_command(build, "-accel", "xlate", "-m", "256", "-kernel", image(build, "fetch-kernel"),
                              "-initrd", image(build, "make-initramfs"),
                              "-append", "console=ttyS0 lodge.hold lodge.shell", "-device", "virtio-balloon-pci",
                              "-device", "virtio-serial-pci,id=vs", "-chardev", "null,id=c",
                              "-device", "virtserialport,chardev=c,id=port0,name=org.test",
                              "-qmp", f"unix:{path},server=on,wait=off")
    with Guest(command) as vm:
        vm.expect("reached init", 300)
        qmp = Qmp(path)
        assert vm.run("echo hello > /dev/vport1p1 || ls /dev")[0] == 0
        assert qmp.wait_event("VSERPORT_CHANGE")["data"] == {"open": True, "id": "port0"}
        assert qmp.wait_event("VSERPORT_CHANGE")["data"] == {"open": False, "id": "port0"}
        call(qmp, "balloon", {"value": 200 << 20})
        while qmp.wait_event("BALLOON_CHANGE", 60)["data"]["actual"] != 200 << 20:
            pass
        assert call(qmp, "query-balloon") == {"actual": 200 << 20}
        assert vm.run("date -s 2030-01-01; hwclock -w -u || echo no hwclock")[0] == 0
        offset = qmp.wait_event("RTC_CHANGE", 60)["data"]["offset"]
        assert offset > 10 * 24 * 3600
        call(qmp, "quit")
        assert vm.wait(30) == 0


def test_a_disk_comes_and_goes_while_the_guest_runs(build, tmp_path):
    path = str(tmp_path / "qmp")
    disk = tmp_path / "disk"
    disk.write_bytes(b"hot-plugged".ljust(1 << 20, b"\0"))
    command = monitor_command(build, "-accel", "xlate", "-m", "256", "-kernel", image(build, "fetch-kernel"),
                              "-initrd", image(build, "make-initramfs"),
                              "-append", "console=ttyS0 lodge.hold lodge.shell", "-device", "pcie-root-port,id=slot",
                              "-drive", f"file={disk},format=raw,if=none,id=d",
                              "-qmp", f"unix:{path},server=on,wait=off")
    with Guest(command) as vm:
        vm.expect("reached init", 300)
        qmp = Qmp(path)
        for _ in range(2):
            call(qmp, "device_add", {"driver": "virtio-blk-pci", "drive": "d", "id": "hot", "bus": "slot"})
            status, text = vm.run("until [ -b /dev/vda ]; do mdev -s 2>/dev/null; sleep 0.1; done; head -c 11 /dev/vda", 60)
            assert status == 0 and "hot-plugged" in text
            call(qmp, "device_del", {"id": "hot"})
            assert qmp.wait_event("DEVICE_DELETED", 60)["data"]["device"] == "hot"
            status, text = vm.run("while [ -e /sys/block/vda ]; do sleep 0.1; done; ls /sys/block", 60)
            assert status == 0 and "vda" not in text.splitlines()
        call(qmp, "quit")
        assert vm.wait(30) == 0
