"""virsh's view of guests under both engines: definitions, states, errors, and a daemon that is killed.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import re

import pytest

import images
from conftest import BUILD, Lodged

QEMU = "/usr/bin/qemu-system-x86_64"
UUID = "6695eb01-f6a4-8304-79aa-97f2502e193f"


@pytest.fixture(scope="session")
def kernel():
    return images.image(BUILD, "fetch-kernel")


def domain(name, kernel, emulator=None, uuid=None, extra=""):
    """The XML of a small guest with a serial console."""
    return f"""<domain type='qemu'><name>{name}</name>{f'<uuid>{uuid}</uuid>' if uuid else ''}
<memory unit='MiB'>256</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type><kernel>{kernel}</kernel></os>
<devices>{f'<emulator>{emulator}</emulator>' if emulator else ''}<console type='pty'/>{extra}</devices></domain>"""


def write(daemon, name, xml):
    path = os.path.join(daemon.root, f"{name}.xml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(xml)
    return path


def out(daemon, *words):
    return daemon.virsh(*words).stdout.strip()


def fails(daemon, *words):
    done = daemon.virsh(*words, check=False)
    assert done.returncode != 0
    return done.stderr


@pytest.mark.parametrize("emulator", [None, QEMU], ids=["lodge-vmm", "qemu"])
def test_a_guest_lives_and_ends(lodged, kernel, emulator):
    name = "qemu" if emulator else "lodge"
    lodged.virsh("define", write(lodged, name, domain(name, kernel, emulator)))
    assert out(lodged, "domstate", name, "--reason") in ("shut off (unknown)", "shut off")
    lodged.virsh("start", name, "--paused")
    assert out(lodged, "domstate", name, "--reason") == "paused (user)"
    lodged.virsh("resume", name)
    assert out(lodged, "domstate", name, "--reason") == "running (unpaused)"
    assert "already active" in fails(lodged, "start", name)
    lodged.virsh("suspend", name)
    assert out(lodged, "domstate", name, "--reason") == "paused (user)"
    assert out(lodged, "ttyconsole", name).startswith("/dev/pts/")
    assert '"status":"paused"' in out(lodged, "qemu-monitor-command", name, '{"execute":"query-status"}')
    assert "vcpu.current=1" in out(lodged, "domstats", name)
    assert "actual 262144" in out(lodged, "dommemstat", name)
    lodged.virsh("destroy", name)
    assert out(lodged, "domstate", name, "--reason") == "shut off (destroyed)"
    assert "not running" in fails(lodged, "destroy", name)
    lodged.virsh("undefine", name)
    assert "failed to get domain" in fails(lodged, "dominfo", name)


def test_a_transient_guest_is_gone_after_its_end(lodged, kernel):
    lodged.virsh("create", write(lodged, "brief", domain("brief", kernel)), "--paused")
    assert re.search(r"Persistent:\s+no", out(lodged, "dominfo", "brief"))
    assert "transient" in fails(lodged, "autostart", "brief")
    lodged.virsh("destroy", "brief")
    assert "brief" not in out(lodged, "list", "--all", "--name")


def test_names_and_uuids_belong_to_one_guest(lodged, kernel):
    lodged.virsh("define", write(lodged, "one", domain("one", kernel, uuid=UUID)))
    other = write(lodged, "two", domain("two", kernel, uuid=UUID))
    assert f"domain 'one' already exists with uuid {UUID}" in fails(lodged, "define", other)
    again = write(lodged, "one", domain("one", kernel))
    assert "already exists with uuid" in fails(lodged, "define", again)
    lodged.virsh("domrename", "one", "three")
    assert out(lodged, "domuuid", "three") == UUID
    lodged.virsh("undefine", "three")


def test_what_lodge_vmm_lacks_is_refused_with_the_way_out(lodged, kernel):
    xml = domain("screen", kernel, extra="<graphics type='vnc'/><video><model type='vga'/></video>")
    lodged.virsh("define", write(lodged, "screen", xml))
    message = fails(lodged, "start", "screen")
    assert "lodge-vmm has no" in message and f"<emulator>{QEMU}</emulator>" in message
    assert out(lodged, "domstate", "screen") == "shut off"
    lodged.virsh("undefine", "screen")


def test_devices_are_named_before_the_controllers_that_they_brought(lodged, kernel, tmp_path):
    image = tmp_path / "disk"
    image.write_bytes(bytes(1 << 20))
    for extra, missing in ((f"<disk type='file'><source file='{image}'/><target dev='sda'/></disk>",
                            "no disk 'sda' on bus 'scsi' (use bus 'virtio')"),
                           ("<interface type='user'><model type='rtl8139'/></interface>",
                            "no network card 'rtl8139' (use model 'virtio')")):
        lodged.virsh("define", write(lodged, "lacks", domain("lacks", kernel, extra=extra)))
        assert missing in fails(lodged, "start", "lacks")
        lodged.virsh("undefine", "lacks")


@pytest.mark.parametrize("emulator, card", [(None, "virtio"), (QEMU, "rtl8139")], ids=["lodge-vmm", "qemu"])
def test_an_interface_without_a_model_gets_one_that_its_engine_has(lodged, kernel, emulator, card):
    xml = domain("card", kernel, emulator, extra="<interface type='user'/>")
    lodged.virsh("define", write(lodged, "card", xml))
    lodged.virsh("start", "card")
    assert f"<model type='{card}'/>" in out(lodged, "dumpxml", "card")
    lodged.virsh("destroy", "card")
    lodged.virsh("undefine", "card")


@pytest.mark.parametrize("emulator", [None, QEMU], ids=["lodge-vmm", "qemu"])
def test_what_an_engine_says_of_a_descriptor_names_the_file(lodged, kernel, emulator, tmp_path):
    image = tmp_path / "broken.qcow2"
    image.write_bytes(b"QFI\xfb" + bytes(1000))
    disk = f"<disk type='file'><driver type='qcow2'/><source file='{image}'/><target dev='vda' bus='virtio'/></disk>"
    lodged.virsh("define", write(lodged, "broken", domain("broken", kernel, emulator, extra=disk)))
    assert f"(disk 'vda' is '{image}')" in fails(lodged, "start", "broken")
    lodged.virsh("undefine", "broken")


def test_a_kernel_that_is_none_is_named(lodged, tmp_path):
    text = tmp_path / "text"
    text.write_text("not a kernel")
    lodged.virsh("define", write(lodged, "text", domain("text", text)))
    assert f"('{text}')" in fails(lodged, "start", "text")
    lodged.virsh("undefine", "text")


def test_a_program_that_is_no_emulator_is_named(lodged, kernel):
    lodged.virsh("define", write(lodged, "false", domain("false", kernel, "/bin/false")))
    assert "the emulator '/bin/false' said nothing" in fails(lodged, "start", "false")
    lodged.virsh("undefine", "false")


def test_a_port_below_those_of_screens_is_refused(lodged, kernel):
    xml = domain("port", kernel, QEMU, extra="<graphics type='vnc' port='22'/>")
    lodged.virsh("define", write(lodged, "port", xml))
    assert "screens have the ports from 5900 on" in fails(lodged, "start", "port")
    lodged.virsh("undefine", "port")


def test_a_locked_or_missing_disk_is_named(lodged, kernel):
    disk = os.path.join(lodged.root, "disk.img")
    extra = f"<disk type='file'><driver name='qemu' type='raw'/><source file='{disk}'/><target dev='vda' bus='virtio'/></disk>"
    lodged.virsh("define", write(lodged, "d1", domain("d1", kernel, extra=extra)))
    assert disk in fails(lodged, "start", "d1")
    with open(disk, "wb") as file:
        file.truncate(1 << 20)
    lodged.virsh("start", "d1", "--paused")
    lodged.virsh("define", write(lodged, "d2", domain("d2", kernel, QEMU, extra=extra)))
    assert "vda" in fails(lodged, "start", "d2")
    assert "Capacity:       1048576" in out(lodged, "domblkinfo", "d1", "vda")
    lodged.virsh("destroy", "d1")
    lodged.virsh("start", "d2", "--paused")
    lodged.virsh("destroy", "d2")
    for name in ("d1", "d2"):
        lodged.virsh("undefine", name)


@pytest.mark.parametrize("emulator", [None, QEMU], ids=["lodge-vmm", "qemu"])
def test_a_definition_of_a_former_daemon_starts(tmp_path, kernel, emulator):
    root = str(tmp_path / "root")
    os.mkdir(root)
    daemon = Lodged(root)
    daemon.virsh("define", write(daemon, "old", domain("old", kernel, emulator)))
    shown = out(daemon, "dumpxml", "old")
    daemon.stop()
    daemon = Lodged(root)
    assert out(daemon, "dumpxml", "old") == shown
    daemon.virsh("start", "old")
    assert re.search(r"CPU\(s\): +1\n", out(daemon, "dominfo", "old") + "\n")
    assert "<alias name='serial0'/>" in out(daemon, "dumpxml", "old").split("<console")[1].split("</console>")[0]
    daemon.virsh("destroy", "old")
    daemon.stop()


def test_guests_survive_a_killed_daemon(tmp_path, kernel):
    root = str(tmp_path / "root")
    os.mkdir(root)
    daemon = Lodged(root)
    for name, emulator in (("a", None), ("b", QEMU)):
        daemon.virsh("define", write(daemon, name, domain(name, kernel, emulator)))
        daemon.virsh("start", name)
    daemon.virsh("suspend", "a")
    daemon.virsh("autostart", "b")
    for _ in range(3):
        daemon.process.kill()
        daemon.process.wait()
        os.truncate(daemon.log, 0)
        daemon = Lodged(root)
        assert out(daemon, "domstate", "a") == "paused"
        assert out(daemon, "domstate", "b") == "running"
        assert '"running":true' in out(daemon, "qemu-monitor-command", "b", '{"execute":"query-status"}')
    daemon.virsh("destroy", "a")
    daemon.virsh("destroy", "b")
    assert os.listdir(os.path.join(root, "run", "qemu")) == []
    daemon.stop()
