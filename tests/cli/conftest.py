"""Where the tests of lodge find the build and a daemon.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import sys

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "scripts", "pylib"))
os.environ["PATH"] += ":/usr/sbin:/sbin"  # not in the PATH of Debian's ordinary users: losetup, cryptsetup

from lodged import Lodged  # noqa: E402  (needs the path above)


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: minutes each; run by make check-slow")


@pytest.fixture(scope="module")
def lodged(tmp_path_factory):
    daemon = Lodged(str(tmp_path_factory.mktemp("lodged")))
    yield daemon
    daemon.stop()


@pytest.fixture
def start_daemon(tmp_path):
    """Starts daemons that end with the test."""
    running = []

    def start():
        root = tmp_path / f"lodged-{len(running)}"
        root.mkdir()
        running.append(Lodged(str(root)))
        return running[-1]

    yield start
    for daemon in running:
        daemon.stop()
