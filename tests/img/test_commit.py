"""lodge-img commit does what qemu-img's does: to the base, to the image, and to images that somebody uses.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import json
import subprocess

import pytest

from patience import PATIENCE

MIB = 1 << 20
SIZE = 8 * MIB


def io(path, *commands):
    words = [word for command in commands for word in ("-c", command)]
    subprocess.run(["qemu-io", "-f", "qcow2", *words, path], check=True, capture_output=True, timeout=60 * PATIENCE)


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


THROTTLE = ("--object", "throttle-group,id=g")
TOP_BELOW_FILTERS = "driver=copy-on-read,file.driver=throttle,file.throttle-group=g,file.file.driver=qcow2,file.file.file.filename=top.qcow2"
MID_BELOW_A_FILTER = ("driver=qcow2,file.filename=top.qcow2,backing.driver=throttle,backing.throttle-group=g,"
                      "backing.file.driver=qcow2,backing.file.file.filename=mid.qcow2")
BASE_BELOW_THAT = (MID_BELOW_A_FILTER + ",backing.file.backing.driver=throttle,backing.file.backing.throttle-group=g,"
                   "backing.file.backing.file.driver=qcow2,backing.file.backing.file.file.filename=base.qcow2")


@pytest.mark.parametrize("names_backing,words,image", [
    (True, (), TOP_BELOW_FILTERS), (True, ("-d",), TOP_BELOW_FILTERS), (True, ("-b", "base.qcow2"), TOP_BELOW_FILTERS),
    (True, ("-b", "top.qcow2"), TOP_BELOW_FILTERS), (False, ("-d",), MID_BELOW_A_FILTER),
    (False, ("-b", "mid.qcow2"), MID_BELOW_A_FILTER), (False, ("-b", "base.qcow2"), BASE_BELOW_THAT)],
    ids=["plain", "kept", "base", "itself", "next", "next_by_name", "base_through_two"])
def test_the_base_is_found_through_filters(ours, peer, tmp_path, names_backing, words, image):
    told, maps = [], []
    for which, tool in (("peer", peer), ("ours", ours)):
        folder = chain(peer, tmp_path, which)
        if not names_backing:  # qemu-img does not take a filter in the place of a backing file that the image names
            for name in ("mid.qcow2", "top.qcow2"):
                peer("rebase", "-u", "-b", "", "-f", "qcow2", folder / name)
            for name in ("base.qcow2", "mid.qcow2"):  # nor does it grow an image below a filter
                peer("resize", "-q", folder / name, SIZE + MIB)
        tool.folder = folder
        done = tool("commit", *THROTTLE, *words, "--image-opts", image, code=None)
        tool.folder = tmp_path
        told.append((done.returncode, done.stdout))
        rows = json.loads(peer("map", "--output", "json", "--image-opts", f"driver=qcow2,backing=,file.filename={folder}/top.qcow2").stdout)
        maps.append([(row["start"], row["length"], row["present"]) for row in rows])
    assert told[0] == told[1]
    assert maps[0] == maps[1]
    for name in ("base.qcow2", "mid.qcow2", "top.qcow2"):
        peer("check", "-q", tmp_path / "ours" / name)
        peer("compare", "-q", tmp_path / "peer" / name, tmp_path / "ours" / name)


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


def test_a_base_below_a_filter_is_not_grown(ours, peer, tmp_path):
    """Whatever the filter shows has the size of what is below it."""
    words = ("--image-opts", "driver=qcow2,file.filename=big,backing.driver=throttle,backing.throttle-group=g,"
             "backing.file.driver=qcow2,backing.file.file.filename=small")
    for tool in (peer, ours):
        peer("create", "-q", "-f", "qcow2", tmp_path / "small", "1M")
        peer("create", "-q", "-f", "qcow2", tmp_path / "big", "2M")
        before = (tmp_path / "small").read_bytes(), (tmp_path / "big").read_bytes()
        done = tool("commit", *THROTTLE, *words, code=1)
        assert "Permission conflict on node" in done.stderr and "'resize'" in done.stderr
        assert before == ((tmp_path / "small").read_bytes(), (tmp_path / "big").read_bytes())
        peer("resize", "-q", tmp_path / "small", "2M")
        tool("commit", "-q", *THROTTLE, *words)
