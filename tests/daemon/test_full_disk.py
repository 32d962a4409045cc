"""The state directory's file system is full: what is refused did not happen, what is answered lasts.

Runs on a small tmpfs, which root alone can mount. About 10 s.
SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import subprocess
import uuid

import pytest
import rpc
from test_crash import guest_xml

from lodged import Lodged

PAGE = 4096
SYSTEM_ERROR = 38
MIB = 1 << 20

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system takes root")


@pytest.fixture
def small_root(tmp_path):
    folder = str(tmp_path / "r")
    os.mkdir(folder)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "full-disk", folder], check=True)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


class Filler:
    """A file that takes all but some pages."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "filler")

    def leave(self, pages):
        with open(self.path, "ab") as file:
            try:
                while True:
                    os.write(file.fileno(), bytes(PAGE))
            except OSError:
                pass
            os.truncate(self.path, max(0, os.path.getsize(self.path) // PAGE - pages) * PAGE)

    def remove(self):
        os.unlink(self.path)


class Session:
    """Calls that may be refused for want of space, and what must be true after them."""

    def __init__(self, root):
        self.daemon = Lodged(root)
        self.client = self.daemon.client().open("qemu:///session")
        self.defined = {}  # name -> autostart
        self.refused = 0

    def attempt(self, procedure, **arguments):
        try:
            self.client.call(procedure, **arguments)
            return True
        except rpc.RpcError as error:
            assert error.code == SYSTEM_ERROR and "space" in error.message.lower(), error
            self.refused += 1
            return False

    @staticmethod
    def xml(name, padding=0):
        identity = f"<uuid>{uuid.uuid5(uuid.NAMESPACE_DNS, name)}</uuid>"
        text = f"<description>{'x' * padding}</description>" if padding else ""
        return guest_xml(name).replace("<memory", f"{identity}{text}<memory", 1)

    def dom(self, name):
        return self.client.call("DOMAIN_LOOKUP_BY_NAME", name=name)["dom"]

    def define(self, name, padding=0):
        if self.attempt("DOMAIN_DEFINE_XML", xml=self.xml(name, padding)):
            self.defined[name] = self.defined.get(name, False)

    def undefine(self, name):
        if self.attempt("DOMAIN_UNDEFINE", dom=self.dom(name)):
            del self.defined[name]

    def set_autostart(self, name, value):
        if self.attempt("DOMAIN_SET_AUTOSTART", dom=self.dom(name), autostart=value):
            self.defined[name] = value

    def run(self, name):
        """Starts, and ends what was started: never refused for want of space."""
        dom = self.dom(name)
        if self.attempt("DOMAIN_CREATE", dom=dom):
            self.client.call("DOMAIN_DESTROY", dom=dom)
        assert self.client.call("DOMAIN_GET_STATE", dom=dom, flags=0)["state"] == 5

    def check(self):
        domains = self.client.call("CONNECT_LIST_ALL_DOMAINS", need_results=1, flags=0)["domains"]
        assert {dom["name"] for dom in domains} == set(self.defined)
        for dom in domains:
            assert dom["id"] == -1
            autostart = self.client.call("DOMAIN_GET_AUTOSTART", dom=dom)["autostart"]
            assert bool(autostart) == self.defined[dom["name"]], dom["name"]
            assert dom["name"] in self.client.call("DOMAIN_GET_XML_DESC", dom=dom, flags=0)["xml"]

    def restart(self):
        self.client.close()
        self.daemon.stop()
        self.daemon = Lodged(self.daemon.root)
        self.client = self.daemon.client().open("qemu:///session")


def left_over(root):
    """Files that are only there while something is being written, or while a guest runs."""
    files = [os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names]
    return [path for path in files if path.endswith(".new") or "/run/qemu/" in path]


def test_each_change_on_an_ever_fuller_disk_is_done_or_refused_whole(small_root):
    session, filler = Session(small_root), Filler(small_root)
    session.define("lasting")
    for pages in (*range(8, -1, -1), 0):
        filler.leave(pages)
        session.define(f"new-{pages}")
        session.set_autostart("lasting", pages % 2)
        session.run("lasting")
        session.check()
        if f"new-{pages}" in session.defined:
            session.undefine(f"new-{pages}")
    assert session.refused, "the disk was never full"
    # Nor is a start with a full disk a reason to forget anything.
    session.restart()
    session.check()
    filler.remove()
    session.define("after")
    session.run("after")
    session.restart()
    session.check()
    assert not left_over(small_root)
    session.daemon.stop()


def test_a_journal_that_cannot_be_begun_anew_refuses_and_recovers(small_root):
    session, filler = Session(small_root), Filler(small_root)
    session.define("lasting")
    filler.leave(0)
    refused = 0
    for i in range(60):  # far more than the journal holds
        session.define("lasting", padding=200000 + i)
        refused = session.refused
        if refused >= 5:
            break
    assert refused >= 5, "the journal never was full"
    session.check()
    assert len(session.client.call("DOMAIN_GET_XML_DESC", dom=session.dom("lasting"), flags=0)["xml"]) > 200000
    session.restart()
    session.check()
    filler.remove()
    session.define("after", padding=100)
    assert "after" in session.defined
    session.restart()
    session.check()
    assert not left_over(small_root)
    session.daemon.stop()
