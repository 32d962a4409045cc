"""SIGHUP: definitions and marks that were changed by hand, lodged.conf and the log file are read or opened again.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import signal
import subprocess
import time

import libvirt
import pytest
from test_crash import guest_xml

from conftest import BUILD
from patience import PATIENCE


def wait_for(daemon, words, count=1):
    deadline = time.monotonic() + 20 * PATIENCE
    while daemon.read_log().count(words) < count:
        assert time.monotonic() < deadline, daemon.read_log()
        time.sleep(0.02)


def reload(daemon):
    count = daemon.read_log().count("reloaded")
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(daemon, "reloaded", count + 1)


def names(connection):
    return sorted(domain.name() for domain in connection.listAllDomains())


@pytest.fixture
def daemon(start_lodged):
    return start_lodged(config="guest_log_max_size = 0\n")


@pytest.fixture
def connection(daemon):
    opened = libvirt.open(daemon.uri)
    yield opened
    opened.close()


def definition(daemon, name):
    return os.path.join(daemon.root, "etc", "qemu", name + ".xml")


def wait_for_file(path):
    deadline = time.monotonic() + 20 * PATIENCE
    while not os.path.exists(path):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def edit(path, old, new):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    assert old in text
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace(old, new))


def test_definitions_changed_by_hand_are_read_again(daemon, connection, event_loop):
    seen = []
    watcher = libvirt.open(daemon.uri)
    watcher.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                                   lambda _c, domain, event, detail, _o: seen.append((domain.name(), event, detail)), None)
    for name in ("kept", "edited", "runs", "broken", "gone"):
        connection.defineXML(guest_xml(name))
        wait_for_file(definition(daemon, name))
    running = connection.lookupByName("runs")
    running.create()
    broken = connection.lookupByName("broken").XMLDesc()
    seen.clear()

    edit(definition(daemon, "edited"), "<vcpu placement='static'>1</vcpu>", "<vcpu placement='static'>3</vcpu>")
    edit(definition(daemon, "runs"), "<vcpu placement='static'>1</vcpu>", "<vcpu placement='static'>2</vcpu>")
    edit(definition(daemon, "broken"), "</domain>", "</domian>")
    os.unlink(definition(daemon, "gone"))
    with open(definition(daemon, "new"), "w", encoding="utf-8") as file:
        file.write(guest_xml("new"))
    with open(definition(daemon, "misnamed"), "w", encoding="utf-8") as file:
        file.write(guest_xml("other"))
    reload(daemon)

    assert names(connection) == ["broken", "edited", "gone", "kept", "new", "runs"]
    assert connection.lookupByName("edited").info()[3] == 3
    assert running.isActive() and running.info()[3] == 1
    assert "placement='static'>2<" in running.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    assert connection.lookupByName("new").isPersistent()
    assert connection.lookupByName("broken").XMLDesc() == broken
    assert "misnamed.xml" in daemon.read_log() and "'other'" in daemon.read_log()
    assert "broken.xml" in daemon.read_log()
    for name in ("broken", "misnamed"):
        assert os.path.exists(definition(daemon, name))  # who edits it goes on
    deadline = time.monotonic() + 20 * PATIENCE
    while len(seen) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    defined = libvirt.VIR_DOMAIN_EVENT_DEFINED
    assert sorted(seen) == [("edited", defined, 1), ("new", defined, 0), ("runs", defined, 1)]
    uuid = connection.lookupByName("new").UUIDString()
    reload(daemon)
    assert connection.lookupByName("new").UUIDString() == uuid
    assert len(seen) == 3  # once was enough
    watcher.close()
    running.destroy()


def test_a_definition_of_another_program_is_completed_when_it_is_read(daemon, connection):
    """libvirt's file in place of the daemon's own has no mark of who wrote it."""
    connection.defineXML(guest_xml("guest"))
    wait_for_file(definition(daemon, "guest"))
    uuid = connection.lookupByName("guest").UUIDString()
    with open(definition(daemon, "guest"), "w", encoding="utf-8") as file:
        file.write(guest_xml("guest").replace("<memory", f"<uuid>{uuid}</uuid><memory", 1).replace(">32<", ">48<"))
    reload(daemon)
    assert connection.lookupByName("guest").info()[1] == 48 * 1024


def test_autostart_marks_are_looked_at_again(daemon, connection):
    for name in ("marked", "unmarked", "stays"):
        connection.defineXML(guest_xml(name))
        connection.lookupByName(name).setAutostart(name != "marked")
    folder = os.path.join(daemon.root, "etc", "qemu", "autostart")
    wait_for_file(os.path.join(folder, "stays.xml"))
    os.symlink("../marked.xml", os.path.join(folder, "marked.xml"))
    os.unlink(os.path.join(folder, "unmarked.xml"))
    reload(daemon)
    assert {name: connection.lookupByName(name).autostart() for name in names(connection)} == \
        {"marked": 1, "stays": 1, "unmarked": 0}


def test_settings_that_can_change_do_and_others_are_named(daemon, connection):
    path = os.path.join(daemon.root, "lodged.conf")
    log = os.path.join(daemon.root, "log", "qemu", "guest.log")
    with open(path, "w", encoding="utf-8") as file:
        file.write("guest_log_max_size = 4096\nguest_log_max_backups = 1\nlisten_tcp = 1\n")
    reload(daemon)
    assert "'listen_tcp'" in daemon.read_log() and "'guest_log" not in daemon.read_log()
    with open(log, "wb") as file:
        file.write(b"x" * 8192)
    connection.createXML(guest_xml("guest")).destroy()
    assert os.path.getsize(log + ".0") == 4096

    with open(path, "w", encoding="utf-8") as file:
        file.write("guest_log_max_backups = many\n")
    reload(daemon)
    assert "lodged.conf:1" in daemon.read_log()
    with open(log, "wb") as file:
        file.write(b"x" * 8192)
    os.unlink(log + ".0")
    connection.createXML(guest_xml("guest")).destroy()
    assert os.path.getsize(log + ".0") == 4096


def test_the_log_of_a_daemon_in_the_background_can_be_moved_away(tmp_path):
    pid_file = tmp_path / "pid"
    log = tmp_path / "log" / "lodged.log"
    subprocess.run([os.path.join(BUILD, "bin", "lodged"), "--session", "--root", str(tmp_path), "--daemon", "--pid-file",
                    str(pid_file)], check=True, timeout=30 * PATIENCE)
    pid = int(pid_file.read_text())
    try:
        log.rename(tmp_path / "lodged.log.1")
        os.kill(pid, signal.SIGHUP)
        deadline = time.monotonic() + 20 * PATIENCE
        while not (log.exists() and "reloaded" in log.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        os.kill(pid, signal.SIGTERM)
        while os.path.exists(f"/proc/{pid}/exe"):
            time.sleep(0.02)
