"""What lodge-img prints about an image is what qemu-img prints; exit codes and errors too.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import json
import shutil
import subprocess

import cases
import pytest

from patience import PATIENCE

MIB = 1 << 20
FORMATS = ["raw", "qcow2", "vdi", "vmdk", "vpc", "vhdx", "qcow"]


@pytest.fixture
def image(peer, disks):
    """Makes an image of a format by the peer."""
    def make(fmt):
        peer("convert", "-f", "raw", "-O", fmt, disks(cases.SIZES[0]), f"image.{fmt}")
        return f"image.{fmt}"

    return make


def peer_disk(folder):
    (folder / "plain").write_bytes(b"x" * MIB)
    return folder / "plain"


def both(ours, peer, *args, code=0):
    return [json.loads(tool(*args, code=code).stdout) for tool in (ours, peer)]


@pytest.mark.parametrize("fmt", FORMATS)
def test_info_is_the_same(ours, peer, image, fmt):
    name = image(fmt)
    mine, theirs = both(ours, peer, "info", "-f", fmt, "--output", "json", name)
    assert mine == theirs
    assert ours("info", "-f", fmt, name).stdout == peer("info", "-f", fmt, name).stdout


def test_info_of_a_chain_and_snapshots_is_the_same(ours, peer, image, tmp_path):
    peer("create", "-q", "-f", "qcow2", "-b", image("qcow2"), "-F", "qcow2", "top.qcow2")
    peer("snapshot", "-c", "one", "top.qcow2")
    mine, theirs = both(ours, peer, "info", "--backing-chain", "--output", "json", "top.qcow2")
    assert mine == theirs
    assert ours("info", "--backing-chain", "top.qcow2").stdout == peer("info", "--backing-chain", "top.qcow2").stdout
    assert ours("snapshot", "-l", "top.qcow2").stdout == peer("snapshot", "-l", "top.qcow2").stdout


def test_info_does_not_open_the_backing_file(ours, peer, tmp_path):
    peer("create", "-q", "-f", "qcow2", "-u", "-b", "/nowhere/at-all", "-F", "raw", "top.qcow2", "1M")
    assert "backing file: /nowhere/at-all" in ours("info", "top.qcow2").stdout


def total(pieces, key):
    return sum(piece["length"] for piece in pieces if piece[key])


@pytest.mark.parametrize("fmt", ["raw", "qcow2", "vdi", "vmdk", "vpc", "qcow"])
def test_map_is_the_same(ours, peer, image, fmt):
    mine, theirs = both(ours, peer, "map", "-f", fmt, "--output", "json", image(fmt))
    if fmt in ("vdi", "vpc"):
        # qemu-img ends pieces where it stopped looking; the content is the same.
        mine, theirs = ([(total(m, "data"), total(m, "zero"))] for m in (mine, theirs))
    assert mine == theirs


@pytest.mark.parametrize("options", ["preallocation=metadata", "preallocation=metadata,cluster_size=4k",
                                     "preallocation=metadata,extended_l2=on", "preallocation=falloc", "preallocation=full"])
def test_preallocated_clusters_in_holes_are_zeroes(ours, peer, tmp_path, options):
    """As large as they are, and empty: convert reads none of them."""
    peer("create", "-q", "-f", "qcow2", "-o", options, "a.qcow2", "64M")
    peer("bench", "-q", "-w", "-c", "4", "-s", "65536", "-S", "5242880", "--pattern", "17", "a.qcow2")
    mine, theirs = both(ours, peer, "map", "--output", "json", "a.qcow2")
    assert [(p["start"], p["length"], p["zero"], p["data"]) for p in mine] == [
        (p["start"], p["length"], p["zero"], p["data"]) for p in theirs]
    mine, theirs = both(ours, peer, "measure", "-O", "raw", "--output", "json", "a.qcow2")
    assert mine["required"] == theirs["required"]
    ours("convert", "-O", "raw", "a.qcow2", "a.raw")
    peer("compare", "-F", "raw", "a.qcow2", "a.raw")


def test_map_behind_a_short_backing_file_is_the_same(ours, peer, tmp_path):
    """Nothing is there: neither in the image nor in what it has below."""
    peer("create", "-q", "-f", "qcow2", "base.qcow2", "2M")
    peer("create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "mid.qcow2", "1M")
    peer("bench", "-q", "-w", "-c", "8", "-s", "65536", "-S", "262144", "base.qcow2")
    peer("create", "-q", "-f", "qcow2", "-b", "mid.qcow2", "-F", "qcow2", "top.qcow2", "8M")
    peer("bench", "-q", "-w", "-c", "1", "-s", "65536", "-o", "5242880", "top.qcow2")
    mine, theirs = both(ours, peer, "map", "--output", "json", "top.qcow2")
    assert mine == theirs


@pytest.mark.parametrize("first", ["raw", "qcow2", "full", "empty", "over"])
@pytest.mark.parametrize("second", ["raw", "qcow2", "full", "empty", "over"])
def test_strict_comparison_is_the_same(ours, peer, tmp_path, first, second):
    make = {"raw": ["-f", "raw", "raw", "1M"], "qcow2": ["-f", "qcow2", "qcow2", "1M"],
            "full": ["-f", "qcow2", "-o", "preallocation=metadata", "full", "1M"], "empty": ["-f", "qcow2", "empty", "1M"],
            "over": ["-f", "qcow2", "-b", "full", "-F", "qcow2", "over"]}
    for name in dict.fromkeys(["full", first, second]):
        peer("create", "-q", *make[name])
    for name in {"raw", "qcow2"} & {first, second}:
        peer("bench", "-q", "-w", "-c", "1", "-s", "65536", "-f", name, name)
    mine, theirs = (tool("compare", "-s", first, second, code=None) for tool in (ours, peer))
    assert (mine.returncode, mine.stdout) == (theirs.returncode, theirs.stdout)


def test_map_of_vhdx_knows_holes(ours, peer, tmp_path):
    """qemu-img calls all of a vhdx image data; that is the one explained difference."""
    peer("create", "-q", "-f", "vhdx", "empty.vhdx", "64M")
    mine, _ = both(ours, peer, "map", "--output", "json", "empty.vhdx")
    assert [(p["zero"], p["data"]) for p in mine] == [(True, False)]


@pytest.mark.parametrize("fmt", ["qcow2", "vdi", "vmdk"])
def test_check_is_the_same(ours, peer, image, fmt):
    name = image(fmt)
    mine, theirs = both(ours, peer, "check", "--output", "json", name)
    assert mine == theirs


@pytest.mark.parametrize("fmt", ["raw", "vpc", "qcow"])
def test_check_of_a_format_without_one_ends_with_63(ours, peer, image, fmt):
    name = image(fmt)
    for tool in (ours, peer):
        tool("check", "-f", fmt, name, code=63)


@pytest.mark.parametrize("fmt, options", [("raw", {}), ("qcow2", {}), ("qcow2", {"cluster_size": 4096}),
                                          ("qcow2", {"preallocation": "full"})])
def test_measure_is_the_same(ours, peer, image, fmt, options):
    name = image("qcow2")
    for what in (["--size", "3G"], [name]):
        mine, theirs = both(ours, peer, "measure", "-O", fmt, *cases.flags(options), "--output", "json", *what)
        theirs.pop("bitmaps", None)
        mine.pop("bitmaps", None)
        assert mine == theirs


def test_compare_finds_the_first_difference(ours, peer, disks, tmp_path):
    source = disks(cases.SIZES[0])
    data = bytearray(source.read_bytes())
    data[5_000_001] ^= 1
    (tmp_path / "other.raw").write_bytes(data)
    outputs = [tool("compare", "-f", "raw", "-F", "raw", source, "other.raw", code=1).stdout for tool in (ours, peer)]
    assert "Content mismatch at offset 5000001!" in outputs[0]
    assert ours("compare", "-f", "raw", "-F", "raw", source, "nothing", code=2).stderr


def test_sizes_that_differ_are_told(ours, peer, tmp_path):
    for name, size in (("a", "1M"), ("b", "2M")):
        peer("create", "-q", "-f", "raw", name, size)
    for tool in (ours, peer):
        done = tool("compare", "-f", "raw", "-F", "raw", "a", "b")
        assert done.stdout == "Warning: Image size mismatch!\nImages are identical.\n"
        tool("compare", "-s", "-f", "raw", "-F", "raw", "a", "b", code=1)


@pytest.mark.parametrize("args, hint", [
    (["conver", "a", "b"], "did you mean 'convert'?"),
    (["info", "--outptu=json", "a"], "did you mean '--output'?"),
    (["create", "-f", "qcow", "a", "1M"], "qcow"),
    (["create", "-f", "qcow3", "a", "1M"], "did you mean 'qcow"),
    (["create", "-f", "qcow2", "-o", "cluster_sise=4k", "a", "1M"], "did you mean 'cluster_size'?"),
    (["create", "-f", "raw", "a", "many"], "many"),
    (["info", "missing"], "Could not open 'missing'"),
    (["info"], "Expecting one image file name"),
    (["resize", "missing"], "Expecting"),
    (["dd", "if=a", "off=b"], "invalid operand off=b"),
])
def test_an_error_is_told_in_one_line_with_a_way_out(ours, args, hint):
    done = ours(*args, code=1)
    assert hint in done.stderr and done.stderr.startswith("lodge-img: "), done.stderr


def test_each_command_has_help(ours):
    text = ours("--help").stdout
    for name in ("amend bench check commit compare convert create dd info map measure rebase resize "
                 "snapshot").split():
        assert f"lodge-img {name} " in text
        assert "Options:" in ours(name, "--help").stdout


def test_an_extent_outside_the_folder_is_refused(ours, tmp_path):
    (tmp_path / "evil.vmdk").write_text(
        '# Disk DescriptorFile\nversion=1\nCID=00000001\nparentCID=ffffffff\ncreateType="monolithicFlat"\n'
        'RW 2 FLAT "/etc/passwd" 0\n')
    done = ours("info", "evil.vmdk", code=1)
    assert "extents-anywhere=on" in done.stderr


def test_changes_of_an_image_are_right(ours, peer, disks, tmp_path):
    peer("convert", "-f", "raw", "-O", "qcow2", disks(cases.SIZES[0]), "base.qcow2")
    ours("create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "top.qcow2")
    ours("bench", "-q", "-w", "-c", "50", "-d", "4", "-s", "8192", "-S", "131072", "--pattern", "9", "top.qcow2")
    peer("convert", "-O", "raw", "top.qcow2", "want.raw")
    ours("commit", "-q", "top.qcow2")
    peer("compare", "-f", "raw", "want.raw", "base.qcow2")
    peer("compare", "-f", "raw", "want.raw", "top.qcow2")
    peer("create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "next.qcow2")
    ours("rebase", "-b", "", "next.qcow2")
    peer("compare", "-f", "raw", "want.raw", "next.qcow2")
    ours("resize", "-q", "next.qcow2", "+1M")
    assert json.loads(peer("info", "--output", "json", "next.qcow2").stdout)["virtual-size"] == cases.SIZES[0] + MIB
    for name in ("base.qcow2", "top.qcow2", "next.qcow2"):
        peer("check", "-q", name)


def test_dd_copies_a_part(ours, peer, disks, tmp_path):
    source = disks(cases.SIZES[0])
    for tool, name in ((ours, "a"), (peer, "b")):
        tool("dd", "-f", "raw", "-O", "raw", "bs=64k", "count=7", "skip=3", f"if={source}", f"of={name}")
    assert (tmp_path / "a").read_bytes()[:7 * 65536] == source.read_bytes()[3 * 65536:10 * 65536]


def test_snapshots_as_json_are_those_of_info(ours, peer, image, tmp_path):
    name = image("qcow2")
    assert json.loads(ours("snapshot", "--output", "json", "-l", name).stdout) == []
    peer("snapshot", "-c", "one", name)
    peer("snapshot", "-c", "two", name)
    info = json.loads(peer("info", "--output", "json", name).stdout)
    assert json.loads(ours("snapshot", "--output", "json", "-l", name).stdout) == info["snapshots"]


def test_a_comparison_as_json_says_where_images_differ(ours, peer, disks, tmp_path):
    source = disks(cases.SIZES[0])
    data = bytearray(source.read_bytes())
    data[5_000_001] ^= 1
    (tmp_path / "other.raw").write_bytes(data)
    peer("create", "-q", "-f", "raw", "a", "1M")
    peer("create", "-q", "-f", "raw", "b", "2M")

    def compare(*args, code):
        return json.loads(ours("compare", "--output", "json", "-f", "raw", "-F", "raw", *args, code=code).stdout)

    assert compare(source, source, code=0) == {"identical": True, "same-size": True}
    assert compare(source, "other.raw", code=1) == {"identical": False, "difference": "content", "offset": 5_000_001}
    assert compare("a", "b", code=0) == {"identical": True, "same-size": False}
    assert compare("-s", "a", "b", code=1) == {"identical": False, "difference": "size"}


@pytest.mark.parametrize("fmt", ["raw", "qcow2"])
@pytest.mark.parametrize("mode, syncs", [("writeback", False), ("unsafe", False), ("writethrough", True), ("directsync", True)])
def test_bench_waits_for_the_disk_at_each_write_where_the_cache_mode_says_so(ours, peer, tmp_path, fmt, mode, syncs):
    """The image is allocated before, so that the rest of the syncs are those of opening and closing."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    counts = []
    peer("convert", "-f", "raw", "-O", fmt, "-S", "0", peer_disk(tmp_path), "image")
    for tool in (ours, peer):
        args = ["bench", "-q", "-w", "-f", fmt, "-t", mode, "-c", "8", "-d", "1", "image"]
        subprocess.run(["strace", "-f", "-e", "trace=fdatasync,fsync", "-o", "trace", tool.path, *args], cwd=tmp_path,
                       check=True, stdout=subprocess.DEVNULL, timeout=60 * PATIENCE)
        counts.append(sum("sync(" in line for line in (tmp_path / "trace").read_text().splitlines()))
    assert [count >= 8 for count in counts] == [syncs, syncs], counts
