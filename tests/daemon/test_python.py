"""Debian's libvirt-python against the daemon: threads, events, streams, many definitions, keepalive, limits.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import threading
import time
import uuid
import xml.etree.ElementTree as ElementTree
from xml.sax.saxutils import escape

import libvirt
import pytest

from libvirt_client import hear
from lodged import BUILD, Lodged
from patience import PATIENCE

KERNEL = os.path.join(BUILD, "tests", "guest", "first-instruction.elf")
EMULATOR = os.path.join(BUILD, "bin", "lodge-vmm")


def guest_xml(name, description="", devices="<serial type='pty'/>"):
    """A guest that halts at once and stays."""
    return f"""<domain type='qemu'><name>{name}</name><description>{description}</description>
<memory unit='MiB'>32</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type><kernel>{KERNEL}</kernel></os>
<devices><emulator>{EMULATOR}</emulator><controller type='usb' model='none'/>{devices}</devices></domain>"""


def wait_for(condition, what):
    deadline = time.monotonic() + 60 * PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)


def run_threads(count, work):
    problems = []

    def guarded(number):
        try:
            work(number)
        except Exception as error:  # shown by the assertion below
            problems.append(error)

    threads = [threading.Thread(target=guarded, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems, problems


def test_sixteen_threads_define_look_and_undefine(lodged, connection):
    def work(number):
        for i in range(10):
            name = f"thread-{number}-{i}"
            domain = connection.defineXML(guest_xml(name))
            assert connection.lookupByName(name).UUIDString() == domain.UUIDString()
            assert f"<name>{name}</name>" in domain.XMLDesc()
            assert not domain.isActive() and domain.isPersistent()
            domain.undefine()

    run_threads(16, work)
    assert not [d for d in connection.listAllDomains() if d.name().startswith("thread-")]


def test_sixteen_connections_do_the_same_at_once(lodged):
    def work(number):
        connection = libvirt.open(lodged.uri)
        domain = connection.defineXML(guest_xml(f"own-{number}"))
        for _ in range(20):
            assert domain.info()[0] == libvirt.VIR_DOMAIN_SHUTOFF
            assert len(connection.listAllDomains()) >= 1
        domain.undefine()
        connection.close()

    run_threads(16, work)


def test_one_of_many_definers_of_a_name_wins(lodged, connection):
    won, refused = [], []

    def work(_):
        try:
            won.append(connection.defineXML(guest_xml("wanted").replace(
                "<memory", f"<uuid>{uuid.uuid4()}</uuid><memory", 1)))
        except libvirt.libvirtError as error:
            refused.append(error.get_error_code())

    run_threads(16, work)
    assert len(won) == 1 and refused == [libvirt.VIR_ERR_OPERATION_FAILED] * 15
    won[0].undefine()


def test_every_event_id_can_be_asked_for(lodged, connection):
    last = libvirt.VIR_DOMAIN_EVENT_ID_MEMORY_DEVICE_SIZE_CHANGE
    handles = [connection.domainEventRegisterAny(None, kind, lambda *_: None, None)
               for kind in range(last + 1)]
    for handle in handles:
        connection.domainEventDeregisterAny(handle)


def test_events_tell_a_guests_life_in_order(lodged, connection):
    seen, other = [], []
    hear(connection, None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, lambda _c, d, event, detail, _o: seen.append((d.name(), event)))
    domain = connection.defineXML(guest_xml("alive"))
    mute = connection.defineXML(guest_xml("mute"))
    hear(connection, mute, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, lambda _c, d, event, *_: other.append((d.name(), event)))
    domain.create()
    domain.suspend()
    domain.resume()
    domain.destroy()
    domain.undefine()
    mute.undefine()
    # "Resumed" comes before "started", as libvirtd's does.
    expected = [libvirt.VIR_DOMAIN_EVENT_DEFINED, libvirt.VIR_DOMAIN_EVENT_RESUMED, libvirt.VIR_DOMAIN_EVENT_STARTED,
                libvirt.VIR_DOMAIN_EVENT_SUSPENDED, libvirt.VIR_DOMAIN_EVENT_RESUMED, libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_UNDEFINED]
    wait_for(lambda: ("mute", libvirt.VIR_DOMAIN_EVENT_UNDEFINED) in seen and other, "the last event of both")
    mine = [event for name, event in seen if name == "alive"]
    assert mine == expected
    assert other == [("mute", libvirt.VIR_DOMAIN_EVENT_UNDEFINED)]


@pytest.mark.parametrize("prefix, uri", [("a b", "urn:x"), ("<a>", "urn:x"), ("p", ""), ("p", "\x01"), ("", "urn:x")])
def test_a_prefix_that_is_none_cannot_break_the_definition(lodged, connection, prefix, uri):
    domain = connection.defineXML(guest_xml("prefix"))
    with pytest.raises(libvirt.libvirtError):
        domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, "<a/>", prefix, uri)
    assert "<metadata>" not in domain.XMLDesc()
    domain.undefine()


def test_metadata_events_carry_what_changed(lodged, connection):
    seen = []
    hear(connection, None, libvirt.VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, lambda _c, d, kind, uri, _o: seen.append((d.name(), kind)))
    domain = connection.defineXML(guest_xml("titled"))
    domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_TITLE, "A title", None, None)
    wait_for(lambda: ("titled", libvirt.VIR_DOMAIN_METADATA_TITLE) in seen, "the metadata event")
    assert domain.metadata(libvirt.VIR_DOMAIN_METADATA_TITLE, None) == "A title"
    domain.undefine()


def test_no_client_sees_a_definition_that_is_half_filled_in(lodged, connection):
    """What a start chooses is there as a whole, as others read the definition meanwhile (3 s)."""
    channels = "".join(f"<channel type='unix'><target type='virtio' name='c{n}'/></channel>" for n in range(28))
    domain = connection.defineXML(guest_xml("fills", devices=channels))
    other = libvirt.open(lodged.uri)
    seen, done = set(), threading.Event()

    def read():
        copy = other.lookupByName("fills")
        while not done.is_set():
            seen.add(copy.XMLDesc().count("/run/qemu/domain-"))

    thread = threading.Thread(target=read)
    thread.start()
    for _ in range(15):
        domain.create()
        domain.destroy()
    done.set()
    thread.join()
    other.close()
    domain.undefine()
    assert seen == {0, 28}


def test_a_console_is_a_stream_and_closes(lodged, connection):
    domain = connection.createXML(guest_xml("talker", devices="<console type='pty'/>"))
    try:
        stream = connection.newStream(libvirt.VIR_STREAM_NONBLOCK)
        domain.openConsole(None, stream, 0)
        assert stream.recv(1024) == -2  # nothing yet
        assert stream.send(b"x" * 16) == 16
        with pytest.raises(libvirt.libvirtError) as caught:
            domain.openConsole(None, connection.newStream(0), 0)
        assert caught.value.get_error_code() == libvirt.VIR_ERR_OPERATION_FAILED
        stream.abort()
        again = connection.newStream(libvirt.VIR_STREAM_NONBLOCK)
        domain.openConsole(None, again, libvirt.VIR_DOMAIN_CONSOLE_FORCE)
        again.finish()
        with pytest.raises(libvirt.libvirtError):
            domain.openConsole("serial9", connection.newStream(0), 0)
    finally:
        domain.destroy()


def define_many(connection, count):
    for i in range(count):
        connection.defineXML(guest_xml(f"many-{i:05}"))
    mine = [d for d in connection.listAllDomains() if d.name().startswith("many-")]
    assert len(mine) == count and len({d.UUIDString() for d in mine}) == count
    records = [s for s in connection.getAllDomainStats() if s[0].name().startswith("many-")]
    assert len(records) == count
    assert all(record["vcpu.maximum"] == 1 and record["state.state"] == 5 for _, record in records)
    for domain in mine:
        domain.undefine()
    assert not [d for d in connection.listAllDomains() if d.name().startswith("many-")]


def test_100_definitions_come_and_go(lodged, connection):
    define_many(connection, 100)


@pytest.mark.slow
def test_10000_definitions_come_and_go(lodged, connection):
    define_many(connection, 10000)


@pytest.mark.parametrize("name", ["größe", "名前", "emoji-😀", "a b", "a'b", 'a"b', "a&b", "x" * 200])
def test_names_survive_as_they_are(lodged, connection, name):
    domain = connection.defineXML(guest_xml(escape(name)))
    assert domain.name() == name and connection.lookupByName(name).name() == name
    assert ElementTree.fromstring(domain.XMLDesc()).findtext("name") == name
    domain.undefine()


@pytest.mark.parametrize("name", ["", "a/b", "a\nb", "x" * 300])
def test_names_that_cannot_be_are_refused(lodged, connection, name):
    with pytest.raises(libvirt.libvirtError):
        connection.defineXML(guest_xml(name))
    assert connection.numOfDefinedDomains() == len(connection.listAllDomains())


def test_long_texts_are_kept_and_too_long_ones_refused(lodged, connection):
    domain = connection.defineXML(guest_xml("long", "y" * 1_000_000))
    assert "y" * 1_000_000 in domain.XMLDesc()
    with pytest.raises(libvirt.libvirtError):  # past the protocol's 4 MiB
        connection.defineXML(guest_xml("longer", "y" * 5_000_000))
    assert connection.lookupByName("long").info()
    domain.undefine()


def test_a_killed_daemon_is_noticed_and_a_new_one_found(tmp_path):
    daemon = Lodged(str(tmp_path))
    connection = libvirt.open(daemon.uri)
    connection.setKeepAlive(1, 3)
    reasons = []
    connection.registerCloseCallback(lambda _c, reason, _o: reasons.append(reason), None)
    connection.defineXML(guest_xml("kept"))
    daemon.process.kill()
    daemon.process.wait()
    wait_for(lambda: reasons, "the close callback")
    assert reasons == [libvirt.VIR_CONNECT_CLOSE_REASON_EOF]
    assert not connection.isAlive()
    with pytest.raises(libvirt.libvirtError):
        connection.getLibVersion()
    os.truncate(daemon.log, 0)
    daemon = Lodged(str(tmp_path))
    again = libvirt.open(daemon.uri)
    assert again.lookupByName("kept").isPersistent()
    again.close()
    daemon.stop()


def test_keepalive_holds_an_idle_connection(start_lodged):
    daemon = start_lodged(config="keepalive_interval = 1\nkeepalive_count = 2\n")
    connection = libvirt.open(daemon.uri)
    connection.setKeepAlive(1, 2)
    time.sleep(5)  # several times what would end a connection whose pings nobody answers
    assert connection.isAlive() and connection.getType() == "QEMU"
    connection.close()
