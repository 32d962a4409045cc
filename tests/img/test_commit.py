"""lodge-img commit does what qemu-img's does: to the base, to the image, and to images that somebody uses.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import json
import subprocess

import pytest

MIB = 1 << 20
SIZE = 8 * MIB


def io(path, *commands):
    words = [word for command in commands for word in ("-c", command)]
    subprocess.run(["qemu-io", "-f", "qcow2", *words, path], check=True, capture_output=True, timeout=60)


def chain(peer, tmp_path, which, options=()):
    folder = tmp_path / which
    folder.mkdir()
    peer("create", "-q", "-f", "qcow2", folder / "base.qcow2", SIZE)
    peer("create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", folder / "mid.qcow2")
    peer("create", "-q", "-f", "qcow2", *options, "-b", "mid.qcow2", "-F", "qcow2", folder / "top.qcow2", SIZE + MIB)
    io(folder / "base.qcow2", "write -P 1 0 4M")
    io(folder / "mid.qcow2", "write -P 2 1M 1M", "write -z 3M 64k")
    io(folder / "top.qcow2", "write -P 3 1500k 1M", "write -z 2M 128k", "write -P 4 8M 64k")
    return folder


VARIANTS = [((), ()), (("-d",), ()), (("-b", "base.qcow2"), ()), (("-d", "-r", "100M"), ()), (("-t", "none"), ()),
            ((), ("-o", "cluster_size=4k")), ((), ("-o", "extended_l2=on")), ((), ("-o", "lazy_refcounts=on")),
            (("-b", "other.qcow2"), ()), (("-q",), ())]


@pytest.mark.parametrize("options,layout", VARIANTS, ids=lambda words: "_".join(words) or "plain")
def test_a_commit_is_qemus(ours, peer, tmp_path, options, layout):
    told = []
    for which, tool in (("peer", peer), ("ours", ours)):
        folder = chain(peer, tmp_path, which, layout)
        tool.folder = folder
        done = tool("commit", "-f", "qcow2", *options, "top.qcow2", code=None)
        told.append((done.returncode, done.stdout))
        tool.folder = tmp_path
    assert told[0] == told[1]
    for name in ("base.qcow2", "mid.qcow2", "top.qcow2"):
        peer("check", "-q", tmp_path / "ours" / name)
        peer("compare", "-q", tmp_path / "peer" / name, tmp_path / "ours" / name)
        maps = [json.loads(peer("map", "--output", "json", "-f", "qcow2", tmp_path / which / name).stdout) for which in ("peer", "ours")]
        own = [sum(row["length"] for row in rows if row["depth"] == 0 and row.get("present", True)) for rows in maps]
        if name == "top.qcow2":
            assert own[0] == own[1]


def test_images_that_are_in_use_are_refused(ours, peer, tmp_path):
    folder = chain(peer, tmp_path, "used")
    for name in ("top.qcow2", "mid.qcow2"):
        with subprocess.Popen(["qemu-io", "-f", "qcow2", folder / name], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as user:
            user.stdin.write(b"read 0 512\n")
            user.stdin.flush()
            user.stdout.readline()
            before = (folder / "mid.qcow2").read_bytes(), (folder / "top.qcow2").read_bytes()
            done = ours("commit", "-f", "qcow2", folder / "top.qcow2", code=1)
            assert "lock" in done.stderr or "in use" in done.stderr
            assert before == ((folder / "mid.qcow2").read_bytes(), (folder / "top.qcow2").read_bytes())
            user.stdin.close()


def test_a_bitmap_of_the_base_outlives_a_commit(ours, peer, tmp_path):
    """The base is opened again to be written: it must not have its bitmaps twice then."""
    folder = chain(peer, tmp_path, "ours")
    peer("bitmap", "--add", folder / "mid.qcow2", "kept")
    peer("bitmap", "--add", "--disable", folder / "mid.qcow2", "idle")
    ours("commit", "-q", folder / "top.qcow2")
    info = json.loads(peer("info", "--output", "json", folder / "mid.qcow2").stdout)["format-specific"]["data"]["bitmaps"]
    assert {bitmap["name"]: bitmap["flags"] for bitmap in info} == {"kept": ["auto"], "idle": []}
    peer("check", folder / "mid.qcow2")
    ours("check", folder / "mid.qcow2")
