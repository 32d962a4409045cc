"""Persistent bitmaps: lodge-img and qemu-img read each other's, show the same, and refuse the same.

The content of a bitmap is read through qemu-nbd -B and qemu-img map, which says what is dirty.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import fcntl
import json
import random
import re
import shutil
import subprocess

import pytest

MIB = 1 << 20
NAMES = ("b0", "fine", "disabled")


@pytest.fixture
def dirty_ranges(tmp_path):
    """Asks qemu-nbd for the dirty ranges of a bitmap as a list of (start, length)."""
    if not shutil.which("qemu-nbd"):
        pytest.skip("qemu-nbd is not installed")

    def ask(image, bitmap):
        socket = tmp_path / "nbd"
        server = subprocess.Popen(["qemu-nbd", "-r", "-f", "qcow2", "-k", socket, "-B", bitmap, "--fork",
                                   "--pid-file", tmp_path / "pid", tmp_path / image])
        assert server.wait() == 0
        options = f"driver=nbd,server.type=unix,server.path={socket},x-dirty-bitmap=qemu:dirty-bitmap:{bitmap}"
        out = subprocess.run(["qemu-img", "map", "--output", "json", "--image-opts", options],
                             check=True, capture_output=True).stdout
        with open(tmp_path / "pid", "r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX)  # the server ends with its client, and has the lock until then
        return [(e["start"], e["length"]) for e in json.loads(out) if not e["data"]]

    return ask


def write(image, ranges, cwd):
    """Writes by QEMU's hands."""
    commands = [f"write -P 7 {offset} {length}" for offset, length in ranges]
    subprocess.run(["qemu-io", "-f", "qcow2", *sum((["-c", c] for c in commands), []), image], cwd=cwd, check=True,
                   capture_output=True)


def granules(ranges, granularity, size):
    """What must be dirty, merged."""
    bits = sorted({g for offset, length in ranges
                   for g in range(offset // granularity, (offset + length - 1) // granularity + 1)})
    found = []
    for bit in bits:
        start, end = bit * granularity, min((bit + 1) * granularity, size)
        if found and sum(found[-1]) == start:
            found[-1] = (found[-1][0], end - found[-1][0])
        else:
            found.append((start, end - start))
    return found


def add_all(tool, image):
    tool("bitmap", "--add", image, "b0")
    tool("bitmap", "--add", "-g", "512", image, "fine")
    tool("bitmap", "--add", "--disable", "-g", "4k", image, "disabled")


def is_clean(image, ours, peer):
    peer("check", image)
    ours("check", image)


def random_ranges(seed, size):
    rng = random.Random(seed)
    return [(rng.randrange(size // 512 - 64) * 512, rng.randrange(1, 64) * 512) for _ in range(12)]


@pytest.mark.parametrize("options", ["cluster_size=64k", "cluster_size=512", "cluster_size=2M", "extended_l2=on"])
@pytest.mark.parametrize("maker", ["ours", "peer"])
def test_bitmaps_record_and_survive(maker, options, ours, peer, tmp_path, dirty_ranges):
    """Made by one, written by QEMU, merged by the other: the bits are those written."""
    first, second = (ours, peer) if maker == "ours" else (peer, ours)
    size, image = 5 * MIB + 1536, "a.qcow2"
    first("create", "-q", "-f", "qcow2", "-o", options, image, size)
    add_all(first, image)
    is_clean(image, ours, peer)
    ranges = random_ranges(options, size)
    write(image, ranges, tmp_path)
    second("bitmap", "--add", "--merge", "fine", "-g", "32k", image, "merged")
    second("bitmap", "--enable", image, "disabled")
    is_clean(image, ours, peer)
    assert ours("info", "--output", "json", image).stdout == peer("info", "--output", "json", image).stdout
    assert dirty_ranges(image, "fine") == granules(ranges, 512, size)
    assert dirty_ranges(image, "merged") == granules(granules(ranges, 512, size), 32768, size)
    assert dirty_ranges(image, "disabled") == []
    for name in (*NAMES, "merged"):
        second("bitmap", "--clear", "--remove", image, name)
    is_clean(image, ours, peer)


def test_our_writes_set_bits(ours, peer, tmp_path, dirty_ranges):
    ours("create", "-q", "-f", "qcow2", "a.qcow2", "8M")
    add_all(ours, "a.qcow2")
    with open(tmp_path / "raw", "wb") as file:
        file.truncate(8 * MIB)
        file.seek(3 * MIB)
        file.write(b"x" * 65536)
    ours("convert", "-n", "-f", "raw", "-O", "qcow2", "--target-is-zero", "raw", "a.qcow2")
    assert (3 * MIB, 65536) in dirty_ranges("a.qcow2", "fine")
    assert dirty_ranges("a.qcow2", "disabled") == []
    is_clean("a.qcow2", ours, peer)


def test_convert_takes_bitmaps_along(ours, peer, tmp_path, dirty_ranges):
    peer("create", "-q", "-f", "qcow2", "a.qcow2", "8M")
    add_all(peer, "a.qcow2")
    ranges = random_ranges(3, 8 * MIB)
    write("a.qcow2", ranges, tmp_path)
    ours("convert", "--bitmaps", "-O", "qcow2", "-o", "cluster_size=4k", "a.qcow2", "b.qcow2")
    is_clean("b.qcow2", ours, peer)
    assert dirty_ranges("b.qcow2", "fine") == granules(ranges, 512, 8 * MIB)
    assert ours("measure", "-O", "qcow2", "a.qcow2").stdout == peer("measure", "-O", "qcow2", "a.qcow2").stdout


def break_bitmaps(path):
    """Leaves the bitmaps marked as in use, as a crash does: the first flags word of each entry is set."""
    with open(path, "r+b") as file:
        head = file.read(65536)
        at = head.index(bytes.fromhex("23852875 00000018"))
        offset = int.from_bytes(head[at + 24:at + 32], "big")
        file.seek(offset + 12)
        flags = int.from_bytes(file.read(4), "big") | 1
        file.seek(offset + 12)
        file.write(flags.to_bytes(4, "big"))


def test_lost_bitmaps_are_refused(ours, peer, tmp_path):
    for tool in (ours, peer):
        peer("create", "-q", "-f", "qcow2", "a.qcow2", "8M")
        add_all(peer, "a.qcow2")
        break_bitmaps(tmp_path / "a.qcow2")
        assert "inconsistent" in tool("bitmap", "--clear", "a.qcow2", "b0", code=1).stderr
        assert "inconsistent" in tool("convert", "--bitmaps", "-O", "qcow2", "a.qcow2", "b.qcow2", code=1).stderr
        assert "Skipping" in tool("convert", "--bitmaps", "--skip-broken-bitmaps", "-O", "qcow2", "a.qcow2",
                                  "b.qcow2").stderr
        assert tool("resize", "a.qcow2", "9M", code=1).stderr
        assert ours("info", "a.qcow2").stdout == peer("info", "a.qcow2").stdout
        is_clean("a.qcow2", ours, peer)
        tool("bitmap", "--remove", "a.qcow2", "b0")
        is_clean("a.qcow2", ours, peer)
        assert tool("resize", "a.qcow2", "9M")
        is_clean("a.qcow2", ours, peer)


def test_resize_and_snapshots(ours, peer, tmp_path, dirty_ranges):
    ours("create", "-q", "-f", "qcow2", "a.qcow2", "8M")
    add_all(ours, "a.qcow2")
    write("a.qcow2", [(0, 512), (7 * MIB, 1024)], tmp_path)
    ours("resize", "a.qcow2", "3G")
    is_clean("a.qcow2", ours, peer)
    assert dirty_ranges("a.qcow2", "fine") == [(0, 512), (7 * MIB, 1024)]
    ours("resize", "--shrink", "a.qcow2", "1M")
    is_clean("a.qcow2", ours, peer)
    assert dirty_ranges("a.qcow2", "fine") == [(0, 512)]
    ours("snapshot", "-c", "s", "a.qcow2")
    assert "active dirty bitmaps" in ours("snapshot", "-a", "s", "a.qcow2", code=1).stderr
    ours("snapshot", "-d", "s", "a.qcow2")
    is_clean("a.qcow2", ours, peer)
    assert dirty_ranges("a.qcow2", "fine") == [(0, 512)]


MISTAKES = [
    ("bitmap", "--add", "a.qcow2", "b0"),
    ("bitmap", "--remove", "a.qcow2", "none"),
    ("bitmap", "--merge", "none", "a.qcow2", "b0"),
    ("bitmap", "--merge", "b0", "-b", "small.qcow2", "-F", "qcow2", "a.qcow2", "fine"),
    ("bitmap", "a.qcow2", "b0"),
    ("bitmap", "--clear", "a.qcow2"),
    ("bitmap", "--add", "-g", "100", "a.qcow2", "x"),
    ("bitmap", "--clear", "-g", "4096", "a.qcow2", "b0"),
    ("bitmap", "--clear", "-b", "x", "a.qcow2", "b0"),
    ("bitmap", "--merge", "b0", "-F", "x", "a.qcow2", "b0"),
    ("convert", "--bitmaps", "-O", "raw", "a.qcow2", "x"),
    ("convert", "--bitmaps", "-f", "raw", "-O", "qcow2", "raw", "x"),
    ("convert", "--bitmaps", "-O", "qcow2", "a.qcow2", "a.qcow2", "x"),
    ("convert", "--skip-broken-bitmaps", "-O", "qcow2", "a.qcow2", "x"),
]


@pytest.mark.parametrize("words", MISTAKES, ids=" ".join)
def test_mistakes_get_the_same_message(words, ours, peer, tmp_path):
    peer("create", "-q", "-f", "qcow2", "a.qcow2", "8M")
    add_all(peer, "a.qcow2")
    peer("create", "-q", "-f", "qcow2", "small.qcow2", "1M")
    peer("bitmap", "--add", "small.qcow2", "b0")
    (tmp_path / "raw").write_bytes(bytes(MIB))
    said = [tool(*words, code=1).stderr.replace("lodge-img:", "qemu-img:") for tool in (ours, peer)]
    # lodge-img names the image too.
    assert re.sub(r"(on bitmap \S*) of '[^']+'", r"\1", said[0]) == said[1]
