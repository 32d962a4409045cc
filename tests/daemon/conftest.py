"""A lodged of its own for each module of tests, below a temporary folder.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import sys

import libvirt
import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "scripts", "pylib"))
os.environ["PATH"] += ":/usr/sbin:/sbin"  # not in the PATH of Debian's ordinary users: losetup, cryptsetup

import libvirtd  # noqa: E402  (needs the path above)
from guestxml import boot_files  # noqa: E402
from libvirt_client import EventLoop, stop_hearing  # noqa: E402
from lodged import BUILD, Lodged  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: minutes each; run by make check-slow")


@pytest.fixture(scope="module")
def lodged(tmp_path_factory):
    daemon = Lodged(str(tmp_path_factory.mktemp("lodged")))
    yield daemon
    daemon.stop()


@pytest.fixture(scope="session", autouse=True)
def event_loop():
    """For all tests, not only those that wait for events: each test finds the same, in whatever order they run."""
    EventLoop.start()


@pytest.fixture
def connection(lodged):
    opened = libvirt.open(lodged.uri)
    yield opened
    stop_hearing(opened)
    opened.close()


@pytest.fixture(scope="module")
def real_connection():
    """To a libvirtd of its own, the oracle."""
    if not libvirtd.find():
        pytest.skip("libvirtd is not installed")
    daemon = libvirtd.Libvirtd()
    opened = libvirt.open(daemon.uri)
    yield opened
    stop_hearing(opened)
    opened.close()
    daemon.stop()


@pytest.fixture(scope="session")
def boot():
    """(kernel, initramfs) of the small guest."""
    return boot_files(BUILD)


@pytest.fixture
def start_lodged(tmp_path):
    """Starts one with options: start_lodged("--timeout=1")."""
    running = []

    def start(*options, config=None):
        root = tmp_path / f"d{len(running)}"  # short: sockets below it have 107 bytes at most
        root.mkdir()
        if config is not None:
            (root / "lodged.conf").write_text(config)
            options = (*options, "--config", str(root / "lodged.conf"))
        running.append(Lodged(str(root), *options))
        return running[-1]

    yield start
    for daemon in running:
        if daemon.process.poll() is None:
            daemon.stop()
