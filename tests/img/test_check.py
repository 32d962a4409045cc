"""`check` of damaged qcow2 images: the exit codes and JSON keys of qemu-img, and whatever it mends lodge-img mends too.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import json
import random
import shutil
import struct
import subprocess

import pytest

SHAPES = ("cluster_size=4k", "cluster_size=64k,compat=0.10", "cluster_size=4k,refcount_bits=8",
          "cluster_size=16k,extended_l2=on")
MASK = 0xfffffffffe00
FIXES = ((), ("-r", "leaks"), ("-r", "all"))
# qemu-img gives up with 1 ("internal errors") where refcount structures are broken; lodge-img goes on. Counts of
# clusters past the end of the file are leaks for lodge-img, nothing for qemu-img.
BETTER = {(1, 2), (1, 0), (2, 0), (1, 3), (0, 3)}


@pytest.fixture
def good(peer, tmp_path):
    """Makes a good image with data, zeroes and a snapshot."""
    if not shutil.which("qemu-io"):
        pytest.skip("qemu-io is not installed")

    def write(*commands):
        subprocess.run(["qemu-io", "-f", "qcow2", *sum((["-c", c] for c in commands), []), "good"], cwd=tmp_path,
                       check=True, capture_output=True)

    def make(shape):
        peer("create", "-q", "-f", "qcow2", "-o", shape, "good", "4M")
        write("write -P 1 0 300k", "write -P 2 1M 70k", "write -z 2M 64k")
        peer("snapshot", "-c", "s", "good")
        write("write -P 3 10k 100k", "write -P 4 3M 5k")
        return (tmp_path / "good").read_bytes()

    return make


def word(data, offset):
    """A big-endian number of 64 bits."""
    return struct.unpack_from(">Q", data, offset)[0]


def damaged(data, rng):
    """One entry of a table changed."""
    data = bytearray(data)
    cluster = 1 << struct.unpack_from(">I", data, 20)[0]
    l1, reftable = word(data, 40), word(data, 48)
    table = rng.choice((l1, reftable, word(data, l1) & MASK, word(data, l1) & MASK, word(data, reftable)))
    used = [table + 8 * i for i in range(cluster // 8) if word(data, table + 8 * i)]
    offset = rng.choice(used)
    value = word(data, offset)
    past = rng.randrange(len(data) // cluster, len(data) // cluster * 3) * cluster
    value = rng.choice((0, value ^ 1 << rng.randrange(64), value ^ 1 << 63, word(data, rng.choice(used)),
                        rng.getrandbits(64), value & 0xff << 56 | past))
    struct.pack_into(">Q", data, offset, value)
    return bytes(data)


def compare(ours, peer, folder, data, case):
    """The same image checked and repaired by both. Where a damaged entry makes qemu-img count for minutes there is nothing
    to compare with, and False is returned."""
    for fix in FIXES:
        codes, keys = [], []
        for tool in (peer, ours):
            (folder / "bad").write_bytes(data)
            try:
                done = tool("check", "-f", "qcow2", "--output", "json", *fix, "bad", code=None)
            except subprocess.TimeoutExpired:
                assert tool is peer, (case, fix)
                return False
            codes.append(done.returncode)
            keys.append(set(json.loads(done.stdout)) if done.stdout.startswith("{") else None)
            if fix == FIXES[2] and done.returncode == 0:
                peer("check", "-q", "-f", "qcow2", "bad")
        assert codes[0] == codes[1] or tuple(codes) in BETTER, (case, fix, codes)
        if None not in keys and codes == [0, 0]:
            assert keys[0] == keys[1] - ({"leaks-fixed"} - keys[0]), (case, fix)
    return True


def run(ours, peer, good, folder, shape, cases):
    """Cases by number."""
    data = good(shape)
    compared = sum(compare(ours, peer, folder, damaged(data, random.Random(case)), case) for case in cases)
    assert compared >= len(cases) * 9 // 10


@pytest.mark.parametrize("shape", SHAPES)
def test_damaged_images_are_checked_as_by_qemu_img(ours, peer, good, tmp_path, shape):
    run(ours, peer, good, tmp_path, shape, range(10))


def refcount_blocks(data):
    table, clusters = struct.unpack_from(">QI", data, 48)
    size = 1 << struct.unpack_from(">I", data, 20)[0]
    return sum(word(data, table + 8 * i) != 0 for i in range(clusters * size // 8))


@pytest.mark.parametrize("is_lost", [False, True], ids=["uncovered", "lost_table"])
@pytest.mark.parametrize("is_far", [False, True], ids=["leak", "far_data"])
@pytest.mark.parametrize("shape", ["cluster_size=512", "cluster_size=4k,refcount_bits=64", "cluster_size=64k"])
def test_a_sparse_image_is_as_small_after_the_repair_as_qemu_imgs(ours, peer, good, tmp_path, shape, is_far, is_lost):
    """A cluster 40 MiB into the file, counted by no block: there are no blocks for the hole before it."""
    data, far = bytearray(good(shape)), 40 << 20
    cluster = 1 << struct.unpack_from(">I", data, 20)[0]
    if is_far:
        struct.pack_into(">Q", data, word(data, word(data, 40)) & MASK, 1 << 63 | far)
    if is_lost:
        table = word(data, 48)
        data[table:table + cluster] = bytes(cluster)
    for name in ("peer", "ours"):
        with open(tmp_path / name, "wb") as file:
            file.write(data)
            file.truncate(far + cluster)
    peer("check", "-q", "-r", "all", "-f", "qcow2", "peer", code=None)
    ours("check", "-q", "-r", "all", "-f", "qcow2", "ours", code=None)
    peer("check", "-q", "-f", "qcow2", "ours")
    peer("compare", "-q", "-f", "qcow2", "-F", "qcow2", "peer", "ours")
    sizes = [(tmp_path / name).stat() for name in ("peer", "ours")]
    assert sizes[1].st_size <= sizes[0].st_size
    assert sizes[1].st_blocks * 512 <= sizes[0].st_blocks * 512 + 2 * cluster
    assert refcount_blocks((tmp_path / "ours").read_bytes()) <= refcount_blocks((tmp_path / "peer").read_bytes())


@pytest.mark.parametrize("is_in_file", [False, True], ids=["past_the_end", "in_the_file"])
def test_old_structures_that_leave_no_room_for_a_small_table(ours, peer, good, tmp_path, is_in_file):
    """A header that says of 8 MiB of the file that they are the refcount table: the new one lies behind, which takes more
    blocks and a longer table."""
    data = bytearray(good("cluster_size=512"))
    end = len(data) // 512
    if is_in_file:
        table, clusters = struct.unpack_from(">QI", data, 48)
        data += data[table:table + clusters * 512]
        struct.pack_into(">Q", data, 48, end * 512)
        data += bytes(16384 * 512 - clusters * 512)
    struct.pack_into(">I", data, 56, 16384)
    struct.pack_into(">Q", data, word(data, 48), word(data, word(data, 48)) | 1)
    (tmp_path / "bad").write_bytes(data)
    (tmp_path / "before").write_bytes(good("cluster_size=512"))
    ours("check", "-q", "-r", "all", "-f", "qcow2", "bad", code=None)
    for tool in (peer, ours):
        tool("check", "-q", "-f", "qcow2", "bad")
        tool("compare", "-q", "-f", "qcow2", "-F", "qcow2", "before", "bad")


@pytest.mark.parametrize("shape, offset, clusters", [*((shape, 0, 0) for shape in SHAPES), (SHAPES[0], 0, 1), (SHAPES[0], 1 << 16, 0)])
def test_a_table_that_the_header_does_not_name_is_made(ours, peer, good, tmp_path, shape, offset, clusters):
    """qemu-img makes one too where both are 0."""
    data = bytearray(good(shape))
    struct.pack_into(">QI", data, 48, offset, clusters)
    for name in ("peer", "ours"):
        (tmp_path / name).write_bytes(data)
    assert "reference count table" in ours("info", "-f", "qcow2", "ours", code=1).stderr.lower()
    assert ours("check", "-f", "qcow2", "ours", code=2).stderr
    ours("check", "-r", "leaks", "-f", "qcow2", "ours", code=2)
    assert (tmp_path / "ours").read_bytes() == data
    peer("check", "-q", "-r", "all", "-f", "qcow2", "peer", code=None)
    ours("check", "-q", "-r", "all", "-f", "qcow2", "ours")
    for tool in (peer, ours):
        tool("check", "-q", "-f", "qcow2", "ours")
        for snapshot in ([], ["-l", "s"]):
            for name in ("good", "ours"):
                tool("convert", "-f", "qcow2", *snapshot, "-O", "raw", name, name + ".raw")
            assert (tmp_path / "good.raw").read_bytes() == (tmp_path / "ours.raw").read_bytes()
    if not offset and not clusters:
        peer("check", "-q", "-f", "qcow2", "peer")
    assert (tmp_path / "ours").stat().st_size <= len(data)


@pytest.fixture
def crowd(peer, tmp_path):
    """Makes an image of 70,000 clusters that are all the first one."""
    def make(bits, refcount):
        peer("create", "-q", "-f", "qcow2", "-o", f"preallocation=metadata,refcount_bits={bits}", "crowd", 70000 << 16)
        with open(tmp_path / "crowd", "r+b") as file:
            def words(offset, count):
                file.seek(offset)
                return struct.unpack(f">{count}Q", file.read(8 * count))

            size, table = struct.unpack(">IQ", (file.seek(36), file.read(12))[1])
            tables = [entry & MASK for entry in words(table, size)]
            shared = words(tables[0], 1)[0] & MASK
            for i, offset in enumerate(tables):
                count = min(8192, 70000 - 8192 * i)
                file.seek(offset)
                file.write(struct.pack(f">{count}Q", *[shared] * count))
            block = words(words(48, 1)[0], 1)[0]
            file.seek(block + (shared >> 16) * bits // 8)
            file.write(refcount.to_bytes(bits // 8, "big"))
    return make


@pytest.mark.parametrize("stated", [70000, 1, 69999, 70000 - 65536])
def test_a_cluster_is_counted_70000_times(ours, peer, crowd, stated):
    crowd(32, stated)
    found = json.loads(ours("check", "--output", "json", "crowd", code=None).stdout)
    flags = 70000 if stated == 1 else 0  # COPIED is missing where the count is 1
    assert found.get("corruptions", 0) == flags + (stated != 70000)
    theirs = json.loads(peer("check", "--output", "json", "crowd", code=None).stdout)
    assert {key: found.get(key) for key in ("corruptions", "leaks")} == {key: theirs.get(key) for key in ("corruptions", "leaks")}
    ours("check", "-r", "all", "crowd")
    for tool in (ours, peer):
        tool("check", "crowd")


def test_70000_references_do_not_fit_16_bits(ours, crowd):
    crowd(16, 65535)
    assert "cannot count that" in ours("check", "crowd", code=2).stderr
    ours("check", "-r", "all", "crowd", code=2)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_many_damaged_images_are_checked_as_by_qemu_img(ours, peer, good, tmp_path, shape):
    run(ours, peer, good, tmp_path, shape, range(1000, 1500))
