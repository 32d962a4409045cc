"""Life of guests under QEMU: what lodged answers beside libvirtd 9.0, step by step.

Each test is a session of steps, run with both at the same time: values, codes and XML must be the same.
Takes 20 s. SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import re
import shutil
import tempfile
import threading

import libvirt
import libvirt_qemu
import pytest

import libvirtd as real
from conftest import BUILD
from lodged import Lodged

HERE = os.path.dirname(os.path.abspath(__file__))
QEMU = "/usr/bin/qemu-system-x86_64"
LIVE, CONFIG, MAXIMUM, HOTPLUGGABLE = 1, 2, 4, 16


class Steps:
    """Keeps what each step gave: a value, or "error CODE"."""

    def __init__(self, uri, folder):
        self.connection = libvirt.open(uri)
        self.folder = folder
        self.results = []

    def step(self, name, action, *arguments):
        try:
            value = action(*arguments)
        except libvirt.libvirtError as error:
            value = f"error {error.get_error_code()}"
        self.results.append((name, value))
        return value

    def xml(self, name, vcpu="<vcpu>1</vcpu>", emulator=QEMU, extra="", devices="", machine="q35"):
        return f"""<domain type='qemu'><name>{name}</name><memory unit='MiB'>32</memory>{vcpu}
<os><type arch='x86_64' machine='{machine}'>hvm</type><kernel>{self.folder}/kernel.elf</kernel></os><features><acpi/></features>{extra}
<devices><emulator>{emulator}</emulator><controller type='usb' model='none'/>{devices}</devices></domain>"""


@pytest.fixture(scope="module")
def folder():
    """With what the emulator needs, also where libvirtd runs it as nobody."""
    with tempfile.TemporaryDirectory(prefix="lodge-beside-") as path:
        os.chmod(path, 0o755)
        shutil.copy(os.path.join(BUILD, "tests", "guest", "first-instruction.elf"), os.path.join(path, "kernel.elf"))
        shutil.copy(os.path.join(HERE, "qemu-interposed.py"), path)
        os.mkdir(os.path.join(path, "l"))
        yield path


@pytest.fixture(scope="module")
def compare(folder, event_loop):
    """Runs a session's function with both, and fails with what differs."""
    if not real.find():
        pytest.skip("libvirtd is not installed")
    daemons = [real.Libvirtd(), Lodged(os.path.join(folder, "l"))]

    def run(script, *arguments):
        failed = []
        sessions = [Steps(daemon.uri, folder) for daemon in daemons]

        def play(session):
            try:
                script(session, *arguments)
            except BaseException as error:  # pylint: disable=broad-except
                failed.append(error)
            finally:
                session.connection.close()

        threads = [threading.Thread(target=play, args=(session,)) for session in sessions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failed:
            raise failed[0]
        theirs, ours = (session.results for session in sessions)
        assert len(theirs) == len(ours) > 0
        differing = [f"{mine[0]}: ours {mine[1]}, libvirtd's {other[1]}" for mine, other in zip(ours, theirs) if mine != other]
        assert not differing, "\n".join(differing)
        return theirs

    yield run
    for daemon in daemons:
        daemon.stop()


# --- vCPUs ---

def vcpus_of(domain, flags=0):
    found = re.findall(r"<vcpu .*?</vcpu>|<vcpus>.*?</vcpus>", domain.XMLDesc(flags), re.DOTALL)
    return re.sub(r"\s+", " ", "".join(found))


def all_vcpus_of(domain):
    return vcpus_of(domain), vcpus_of(domain, libvirt.VIR_DOMAIN_XML_INACTIVE), domain.vcpusFlags(LIVE), domain.vcpusFlags(CONFIG)


def vcpus_go(session, machine, port):
    domain = session.connection.defineXML(session.xml("go-" + machine, "<vcpu current='2'>4</vcpu>", machine=machine))
    domain.create()

    def count(name, number, flags):
        session.step(name, domain.setVcpusFlags, number, flags)
        session.step(name + ": then", all_vcpus_of, domain)

    def switch(name, which, on, flags):
        session.step(name, domain.setVcpu, which, on, flags)
        session.step(name + ": then", all_vcpus_of, domain)

    try:
        session.step("at first", all_vcpus_of, domain)
        count("one of the start", 1, LIVE)
        count("more", 4, LIVE)
        count("fewer, by a guest that never looked", 3, LIVE)
        # What a guest's system does: it turns to QEMU's way of plugging that can take vCPUs out.
        session.step("a system starts", libvirt_qemu.qemuMonitorCommand, domain, f"o /4 {port:#x} 0", 1)
        count("fewer", 3, LIVE)
        switch("one off in both", "2", 0, LIVE | CONFIG)
        switch("one of the start off", "1", 0, LIVE)
        switch("the first off", "0", 0, LIVE)
        switch("none such", "9", 0, LIVE)
        switch("two off", "2-3", 0, LIVE)
        switch("one on that is on", "3", 1, LIVE)
        switch("no such state", "3", 2, LIVE)
        switch("no number", "x", 1, LIVE)
        count("none", 0, LIVE)
        count("too many", 5, LIVE)
        count("as many as there are, to be plugged", 4, LIVE | HOTPLUGGABLE)
    finally:
        domain.destroy()
    session.step("off", vcpus_of, domain)
    domain.undefine()


@pytest.mark.parametrize("machine, port", [("q35", 0xcd8), pytest.param("pc", 0xaf00, marks=pytest.mark.slow)], ids=["q35", "pc"])
def test_vcpus_go_or_stay_as_with_libvirtd(compare, machine, port):
    results = dict(compare(vcpus_go, machine, port))
    assert results["fewer"] == "error 68" and results["one off in both"] == "error 68"
    assert results["fewer, by a guest that never looked"] == "error 1"


def vcpus_of_definitions(session):
    domain = session.connection.defineXML(session.xml("numbers", "<vcpu current='2'>4</vcpu>"))
    steps = [("setVcpusFlags", 3, CONFIG), ("setVcpusFlags", 2, CONFIG), ("setVcpusFlags", 3, CONFIG | HOTPLUGGABLE),
             ("setVcpusFlags", 4, CONFIG), ("setVcpusFlags", 3, CONFIG), ("setVcpusFlags", 2, CONFIG | MAXIMUM),
             ("setVcpu", "1", 0, CONFIG), ("setVcpu", "1", 1, CONFIG), ("setVcpu", "1", 1, CONFIG), ("setVcpu", "0", 0, CONFIG),
             ("setVcpu", "9", 1, CONFIG), ("setVcpu", "x", 1, CONFIG), ("setVcpusFlags", 1, CONFIG), ("setVcpu", "1", 1, LIVE)]
    for name, *arguments in steps:
        session.step(f"{name} {arguments}", getattr(domain, name), *arguments)
        session.step(f"{name} {arguments}: then", vcpus_of, domain)
    domain.undefine()
    singles = "<vcpu id='2' enabled='no'/><vcpu id='0' enabled='yes' hotpluggable='no'{}/>" \
        "<vcpu id='1' enabled='yes' hotpluggable='yes'{}/><vcpu id='3' enabled='yes' hotpluggable='yes'{}/>"
    for name, orders in (("by number", ("", "", "")), ("by order", (" order='1'", " order='3'", " order='2'"))):
        domain = session.connection.defineXML(session.xml("single", f"<vcpu>4</vcpu><vcpus>{singles.format(*orders)}</vcpus>"))
        session.step(name, vcpus_of, domain)
        session.step(name + " start", domain.create)
        session.step(name + " live", all_vcpus_of, domain)
        session.step(name + " one more", domain.setVcpu, "2", 1, LIVE | CONFIG)
        session.step(name + " then", all_vcpus_of, domain)
        domain.destroy()
        domain.undefine()
    for name, vcpus in (
            ("first off", "<vcpu id='0' enabled='no'/>"), ("first plugged", "<vcpu id='0' enabled='yes' hotpluggable='yes'/>"),
            ("first late", "<vcpu id='0' enabled='yes' order='3'/>"), ("order twice", "<vcpu id='0' enabled='yes' order='1'/><vcpu id='1' enabled='yes' order='1'/>"),
            ("some orders", "<vcpu id='0' enabled='yes' order='1'/><vcpu id='1' enabled='yes'/>"),
            ("off, not to plug", "<vcpu id='0' enabled='yes'/><vcpu id='1' enabled='no' hotpluggable='no'/>"),
            ("off with order", "<vcpu id='0' enabled='yes' order='1'/><vcpu id='1' enabled='no' order='2'/>"),
            ("number out of range", "<vcpu id='7' enabled='yes'/>"), ("one alone", "<vcpu id='3' enabled='yes'/>")):
        def define(xml=session.xml("bad", f"<vcpu current='2'>4</vcpu><vcpus>{vcpus}</vcpus>")):
            domain = session.connection.defineXML(xml)
            try:
                return vcpus_of(domain)
            finally:
                domain.undefine()
        session.step(name, define)


def test_numbers_of_vcpus_in_definitions_are_libvirtds(compare):
    compare(vcpus_of_definitions)
