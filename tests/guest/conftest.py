"""Fixtures of the guest tests: the built monitor and the images.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import sys

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "scripts", "pylib"))
os.environ["PATH"] += ":/usr/sbin:/sbin"  # not in the PATH of Debian's ordinary users: losetup, cryptsetup


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: minutes each; run by make check-slow")


@pytest.fixture(scope="session")
def build():
    """The build folder, from LODGE_BUILD or the default."""
    return os.environ.get("LODGE_BUILD", os.path.join(TOP, "build"))


@pytest.fixture(scope="session")
def vmm(build):
    return os.path.join(build, "bin", "lodge-vmm")


@pytest.fixture
def machine(build, tmp_path):
    """machine("lodge") or machine("qemu"): a machine with one disk, in a folder of its own."""
    from block_machine import Machine  # needs the path above
    machines = []

    def start(engine, *options):
        folder = tmp_path / f"{engine}{len(machines)}"
        folder.mkdir()
        machines.append(Machine(engine, build, folder, *options))
        return machines[-1]
    yield start
    for one in machines:
        one.vm.kill()
