"""Fixtures of the image tests: lodge-img, qemu-img as its peer, and a disk with every kind of content.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import random
import shutil
import sys

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "scripts", "pylib"))
os.environ["PATH"] += ":/usr/sbin:/sbin"  # not in the PATH of Debian's ordinary users: losetup, cryptsetup

from patience import PATIENCE  # noqa: E402
from peer import run_tool  # noqa: E402  (needs the path above)

MIB = 1 << 20


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: all generated cases; run by make check-slow")


class Tool:
    """A program with qemu-img's command line."""

    def __init__(self, path, folder):
        self.path = path
        self.folder = folder

    def __call__(self, *args, code=0, **options):
        """Runs it; the exit code must be @code (None: any). Returns the completed process."""
        done = run_tool([self.path, *map(str, args)], cwd=self.folder, timeout=120 * PATIENCE, **options)
        done.stdout, done.stderr = (data.decode(errors="replace") for data in (done.stdout, done.stderr))
        if code is not None:
            assert done.returncode == code, f"{self.path} {args}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done


@pytest.fixture(scope="session")
def build():
    return os.path.abspath(os.environ.get("LODGE_BUILD", os.path.join(TOP, "build")))


@pytest.fixture
def ours(build, tmp_path):
    return Tool(os.path.join(build, "bin", "lodge-img"), tmp_path)


@pytest.fixture
def peer(tmp_path):
    path = shutil.which("qemu-img")
    if not path:
        pytest.skip("qemu-img is not installed")
    return Tool(path, tmp_path)


def fill(path, size, seed=1):
    """A disk with random bytes, text, zeroes and holes in runs from 512 bytes to megabytes."""
    rng = random.Random(seed)
    with open(path, "wb") as file:
        file.truncate(size)
        offset = 0
        while offset < size:
            length = min(rng.choice([512, 4096, 5120, 65536, 100352, MIB, 3 * MIB]), size - offset)
            kind = rng.choice(["random", "text", "zero", "hole", "hole"])
            file.seek(offset)
            if kind == "random":
                file.write(rng.randbytes(length))
            elif kind == "text":
                file.write((b"lodge-img %d " % offset * (length // 12 + 1))[:length])
            elif kind == "zero":
                file.write(bytes(length))
            offset += length


@pytest.fixture(scope="session")
def disks(tmp_path_factory):
    """Raw disks by size in bytes, made once."""
    folder = tmp_path_factory.mktemp("disks")
    made = {}

    def get(size, seed=1):
        key = (size, seed)
        if key not in made:
            made[key] = folder / f"{size}-{seed}.raw"
            fill(made[key], size, seed)
        return made[key]

    return get
