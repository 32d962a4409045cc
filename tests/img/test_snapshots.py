"""Snapshots made, applied and deleted by lodge-img and qemu-img in turns on one image.

After each step both checks find the image clean, and at the end all that is there reads as it must.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import random
import shutil
import subprocess

import pytest

MIB = 1 << 20
SIZE = 8 * MIB
SHAPES = ("cluster_size=64k", "cluster_size=4k,refcount_bits=64", "cluster_size=512,compat=0.10",
          "cluster_size=16k,extended_l2=on", "cluster_size=2k,refcount_bits=8")


class Disk:
    """An image, what it must hold, and what its snapshots must hold."""

    def __init__(self, tools, folder, shape, rng):
        self.tools, self.folder, self.rng = tools, folder, rng
        self.content, self.snapshots = bytearray(SIZE), {}
        tools[0]("create", "-q", "-f", "qcow2", "-o", shape, "a.qcow2", SIZE)

    def write(self):
        """A few writes by QEMU's hands."""
        commands = []
        for _ in range(self.rng.randint(1, 4)):
            offset, length = self.rng.randrange(SIZE // 512) * 512, self.rng.choice((512, 4096, 65536, 300000)) // 512 * 512
            length, value = min(length, SIZE - offset), self.rng.randrange(256)
            commands += ["-c", f"write -P {value} {offset} {length}"]
            self.content[offset:offset + length] = bytes([value]) * length
        subprocess.run(["qemu-io", "-f", "qcow2", *commands, "a.qcow2"], cwd=self.folder, check=True, capture_output=True)

    def snapshot(self):
        """Makes, applies or deletes one by either tool."""
        tool = self.rng.choice(self.tools)
        names = sorted(self.snapshots)
        action = self.rng.choice("ccad") if names else "c"
        if action == "c":
            name = f"s{self.rng.randrange(10 ** 9)}"
            self.snapshots[name] = bytes(self.content)
        else:
            name = self.rng.choice(names)
        if action == "a":
            self.content[:] = self.snapshots[name]
        elif action == "d":
            del self.snapshots[name]
        tool("snapshot", f"-{action}", name, "a.qcow2")

    def check(self):
        """Neither tool finds anything."""
        for tool in self.tools:
            tool("check", "-q", "-f", "qcow2", "a.qcow2")

    def compare(self):
        """All that is there reads right, by either tool."""
        for tool in self.tools:
            for name, content in [(None, self.content), *self.snapshots.items()]:
                options = ["-l", f"snapshot.name={name}"] if name else []
                tool("convert", "-f", "qcow2", "-O", "raw", *options, "a.qcow2", "a.raw")
                with open(self.folder / "a.raw", "rb") as file:
                    assert file.read() == content, name


def run(ours, peer, folder, shape, seed, steps):
    """One image's life."""
    if not shutil.which("qemu-io"):
        pytest.skip("qemu-io is not installed")
    disk = Disk((ours, peer), folder, shape, random.Random(seed))
    for _ in range(steps):
        disk.write()
        disk.snapshot()
        disk.check()
    disk.compare()


@pytest.mark.parametrize("shape", SHAPES)
def test_snapshots_of_both_tools_live_together(ours, peer, tmp_path, shape):
    run(ours, peer, tmp_path, shape, 1, 12)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 12))
@pytest.mark.parametrize("shape", SHAPES)
def test_long_lives_of_snapshots_of_both_tools(ours, peer, tmp_path, shape, seed):
    run(ours, peer, tmp_path, shape, seed, 40)
