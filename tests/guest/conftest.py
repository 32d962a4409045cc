"""Fixtures of the guest tests: the built monitor and the images.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import subprocess
import sys

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "scripts", "pylib"))


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: minutes each; run by make check-slow")


@pytest.fixture(scope="session")
def build():
    """The build folder, from LODGE_BUILD or the default."""
    return os.environ.get("LODGE_BUILD", os.path.join(TOP, "build"))


@pytest.fixture(scope="session")
def vmm(build):
    return os.path.join(build, "bin", "lodge-vmm")


def make_image(build, script, *arguments):
    """Runs a script of scripts/images, which prints the path it made or found."""
    command = [os.path.join(TOP, "scripts", "images", script), *arguments]
    env = dict(os.environ, LODGE_IMAGES=os.path.join(build, "images"))
    return subprocess.check_output(command, text=True, env=env).strip().splitlines()[-1]
