"""Options of convert, compare, measure, map and amend: taken, refused and answered as by qemu-img.

Each command line runs by both programs on the same images: the exit code is the same, and so is what the output
image is afterwards. A refusal says what is wrong in words of its own, but on standard error.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import json
import os
import re
import select
import shutil
import subprocess
import time

import cases
import pytest

from patience import PATIENCE
from peer import run_tool

CONVERT = """
a.raw
-S 0 a.raw o
-S 512 a.raw o
-S 100 a.raw o
-S 17M a.raw o
-S x a.raw o
-m 0 a.raw o
-m 17 a.raw o
-m 16 -W a.raw o
-r 0 a.raw o
-r x a.raw o
-c -S 0 -O qcow2 a.raw o
-c -W -O qcow2 a.raw o
-c -O raw a.raw o
-c -O vdi a.raw o
-c -O vhdx a.raw o
-c -O vmdk a.raw o
-c -O vmdk -o subformat=streamOptimized a.raw o
-C a.raw o
-C -c -O qcow2 a.raw o
-C -S 4k a.raw o
-C --salvage a.raw o
--salvage a.raw o
--target-is-zero a.raw o
-n --target-is-zero -O qcow2 a.raw a.qcow2
--target-image-opts a.raw driver=raw,file.filename=o
-n --target-image-opts a.raw driver=qcow2,file.filename=a.qcow2
-n --target-image-opts -O qcow2 a.raw driver=qcow2,file.filename=a.qcow2
-n --target-image-opts a.raw driver=qcow2,file.filename=b.qcow2
-n a.raw nothing
-n -O qcow2 a.raw a.qcow2
-n -O qcow2 a.raw b.qcow2
-n -o cluster_size=4k -O qcow2 a.raw a.qcow2
-l s1 a.qcow2 o
-l 1 a.qcow2 o
-l snapshot.id=1 a.qcow2 o
-l snapshot.name=s1 a.qcow2 o
-l snapshot.id=9 a.qcow2 o
-l nothing a.qcow2 o
-l s1 a.raw o
-l s1 a.qcow2 b.qcow2 o
-B a.qcow2 -O qcow2 top.qcow2 o
-B a.qcow2 -F qcow2 -O qcow2 top.qcow2 o
-B a.qcow2 -F qcow2 -O raw top.qcow2 o
-B a.qcow2 -F nothing -O qcow2 top.qcow2 o
-B a.qcow2 -F qcow2 -O qcow2 a.qcow2 top.qcow2 o
-F qcow2 -O qcow2 a.qcow2 o
-O qcow2 -o backing_file=a.raw a.raw o
-O qcow2 -o backing_file=a.qcow2,backing_fmt=qcow2 top.qcow2 o
--bitmaps -O qcow2 a.qcow2 o
--bitmaps -O qcow2 a.raw o
--bitmaps -O qcow2 a.qcow2 b.qcow2 o
--skip-broken-bitmaps -O qcow2 a.qcow2 o
--bitmaps --skip-broken-bitmaps -O qcow2 a.qcow2 o
-O nothing a.raw o
-f nothing a.raw o
-f qcow2 a.raw o
-O qcow2 -o nothing=1 a.raw o
-O qcow2 -o cluster_size=3k a.raw o
-O qcow2 -o preallocation=nothing a.raw o
-O qcow2 -o preallocation=metadata -B a.qcow2 -F qcow2 top.qcow2 o
-O qcow2 -o compression_type=zstd,compat=0.10 a.raw o
-O qcow2 -o cluster_size=4k -o refcount_bits=8 a.raw o
-T nothing a.raw o
-T none -t none a.raw o
-t writethrough a.raw o
-t directsync a.raw o
--image-opts driver=qcow2,file.filename=a.qcow2 o
--image-opts -f qcow2 driver=qcow2,file.filename=a.qcow2 o
--image-opts a.qcow2 o
-U a.qcow2 o
-q -p a.qcow2 o
-X a.raw o
a.raw a.raw
a.raw b.qcow2 o
"""
OTHERS = """
compare a.raw nothing
compare a.raw b.qcow2
compare -s a.raw b.qcow2
compare -s a.raw a.qcow2
compare -q a.raw a.qcow2
compare -f nothing a.raw a.qcow2
compare -T nothing a.raw b.qcow2
compare -p a.raw a.qcow2
compare -U a.raw a.qcow2
measure
measure a.raw
measure --size 1G
measure --size 1G a.raw
measure --size 1G -O nothing
measure --size x
measure --size 1G -O vmdk
measure --size 1G -O qcow2 -o cluster_size=3k
measure --size 1G -O qcow2 -f raw
measure --size 1G --output nothing
measure -O qcow2 -l s1 a.qcow2
measure -O qcow2 -l nothing a.qcow2
measure -O qcow2 a.qcow2
measure -O qcow2 -U a.qcow2
measure --output json -O qcow2 a.qcow2
map
map nothing
map --output nothing a.raw
map -s 1M a.raw
map -s 5M a.raw
map -l 1M a.raw
map -s x a.raw
map --output json -s 1M -l 1M a.qcow2
map -f nothing a.raw
map top.qcow2
map --output json top.qcow2
map -U top.qcow2
map --image-opts driver=qcow2,file.filename=top.qcow2
amend a.qcow2
amend -o compat=0.10 -f raw a.raw
amend -o nothing=1 a.qcow2
amend -o cluster_size=4k a.qcow2
amend -o compat=nothing a.qcow2
amend -o lazy_refcounts=on b.qcow2
amend -o refcount_bits=3 b.qcow2
amend -o size=8M b.qcow2
amend -o size=x b.qcow2
amend -o backing_file=a.raw,backing_fmt=raw b.qcow2
amend -o data_file_raw=on b.qcow2
amend -o data_file=x b.qcow2
amend -o preallocation=off b.qcow2
amend -o encrypt.state=active b.qcow2
amend -p -o size=8M b.qcow2
amend -q -o size=8M b.qcow2
amend -t nothing -o size=8M b.qcow2
amend -f raw -o help
amend -o compat=0.10 b.qcow2
amend -o compat=0.10 top.qcow2
amend -o compat=0.10,refcount_bits=32 b.qcow2
amend -o compat=1.1,refcount_bits=32 b.qcow2
amend -o refcount_bits=1 a.qcow2
amend -o refcount_bits=1 b.qcow2
amend -o refcount_bits=64 a.qcow2
amend -o compat=1.1,lazy_refcounts=on b.qcow2
amend -o compat=0.10,lazy_refcounts=on b.qcow2
amend -f qcow2
amend --force -o lazy_refcounts=on b.qcow2
amend --image-opts -o lazy_refcounts=on driver=qcow2,file.filename=b.qcow2
"""
LINES = ([f"convert {line}" for line in CONVERT.split("\n") if line]
         + [line for line in OTHERS.split("\n") if line])
OUTPUTS = ("o", "a.qcow2", "b.qcow2", "a.raw")


MAKE = """
convert -f raw -O raw SOURCE a.raw
convert -f raw -O qcow2 SOURCE a.qcow2
snapshot -c s1 a.qcow2
bitmap --add a.qcow2 bm
create -q -f qcow2 b.qcow2 2M
create -q -f qcow2 -b a.qcow2 -F qcow2 top.qcow2
bench -q -w -c 4 -s 65536 -S 262144 --pattern 17 top.qcow2
"""


@pytest.fixture(scope="module")
def template(disks, tmp_path_factory):
    """The images that the command lines are about."""
    folder = tmp_path_factory.mktemp("template")
    for line in MAKE.strip().split("\n"):
        words = line.replace("SOURCE", str(disks(4 << 20))).split()
        run_tool(["qemu-img", *words], cwd=folder).check_returncode()
    return folder


@pytest.fixture
def images(peer, template, tmp_path):
    """Copies them to a folder of @name."""
    return lambda name: shutil.copytree(template, tmp_path / name)


@pytest.fixture
def qemu_io(tmp_path):
    """Runs commands of qemu-io on the image that is named last."""
    def execute(*words):
        commands = [part for word in words[:-1] for part in ("-c", word)]
        done = subprocess.run(["qemu-io", *commands, words[-1]], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    return execute


def run(tool, folder, words):
    return subprocess.run([tool.path, *words], cwd=folder, capture_output=True, text=True, timeout=60 * PATIENCE, check=False)


def facts(peer, folder, name):
    """What qemu-img says about an image, without what depends on where it lies and when it was written."""
    if not (folder / name).exists():
        return None
    found = json.loads(peer("info", "-U", "--output", "json", folder / name).stdout)
    for key in ("filename", "actual-size", "full-backing-filename", "children"):
        found.pop(key, None)
    for snapshot in found.get("snapshots", []):
        for key in ("date-sec", "date-nsec"):
            snapshot.pop(key)
    text = json.dumps(found).replace(str(folder), "")
    return json.loads(re.sub(r'"(c?id)": \d+', '"id": 0', text))


@pytest.mark.parametrize("line", LINES)
def test_an_option_does_what_it_does_in_the_peer(ours, peer, images, line):
    folders = images("ours"), images("peer")
    mine, theirs = (run(tool, folder, line.split()) for tool, folder in zip((ours, peer), folders))
    assert mine.returncode == theirs.returncode, (mine.stderr, theirs.stderr)
    if mine.returncode == 0:
        assert not mine.stderr or "WARNING" in theirs.stderr, mine.stderr
        for name in OUTPUTS:
            assert facts(peer, folders[0], name) == facts(peer, folders[1], name)
            if (folders[0] / name).exists():
                peer("compare", folders[0] / name, folders[1] / name)
    elif line.split()[0] != "compare":
        assert mine.stderr
    if "json" in line and mine.returncode == 0:
        assert json.loads(mine.stdout) == json.loads(theirs.stdout)


@pytest.mark.parametrize("fmt", ["raw", "qcow2", "vdi"])
def test_sparse_size_0_allocates_all_of_the_output(ours, peer, disks, tmp_path, fmt):
    source = disks(4 << 20)
    for tool in (ours, peer):
        tool("convert", "-S", "0", "-f", "raw", "-O", fmt, source, os.path.basename(tool.path))
    sizes = [os.stat(tmp_path / os.path.basename(tool.path)).st_blocks for tool in (ours, peer)]
    assert sizes[0] >= (4 << 20) // 512 and sizes[1] >= (4 << 20) // 512
    peer("compare", "-f", "raw", "-F", fmt, source, "lodge-img")


@pytest.mark.parametrize("flags", [["-W"], ["-m", "1"], ["-m", "16"], ["-m", "3", "-W"], ["-T", "none"], ["-t", "none"]])
@pytest.mark.parametrize("fmt", ["raw", "qcow2", "vmdk"])
def test_order_and_number_of_requests_change_nothing(ours, peer, disks, tmp_path, fmt, flags):
    source = disks(24 << 20)
    ours("convert", *flags, "-f", "raw", "-O", fmt, source, "o")
    peer("compare", "-f", "raw", "-F", fmt, source, "o")


def read_terminal(command, folder):
    """What a program prints to a terminal."""
    master, slave = os.openpty()
    process = subprocess.Popen(command, cwd=folder, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    text, end = b"", time.monotonic() + 60 * PATIENCE
    while time.monotonic() < end:
        if select.select([master], [], [], 1)[0]:
            try:
                part = os.read(master, 65536)
            except OSError:  # the other end was closed
                break
            text += part
        elif process.poll() is not None:
            break
    os.close(master)
    assert process.wait(timeout=60 * PATIENCE) == 0, text
    return text.decode()


def test_a_terminal_shows_share_rate_and_time_left(ours, disks, tmp_path):
    source = disks(24 << 20)
    text = read_terminal([ours.path, "convert", "-p", "-r", "10M", "-f", "raw", "-O", "raw", source, "o"], tmp_path)
    lines = text.replace("\033[K", "").split("\r")
    shares = [float(found.group(1)) for found in re.finditer(r"\] +([0-9.]+)%", text)]
    assert shares == sorted(shares) and shares[-1] == 100.0
    assert any(re.search(r"\[#*\.*\] +[0-9.]+%  [0-9.]+ [KM]?i?B/s  0:0\d left", line) for line in lines), lines
    assert text.endswith("\r\n")


def test_a_quiet_convert_shows_no_progress(ours, disks, tmp_path):
    assert read_terminal([ours.path, "convert", "-p", "-q", "-f", "raw", "-O", "raw", disks(24 << 20), "o"], tmp_path) == ""


OLD = [{}, {"refcount_bits": 1}, {"refcount_bits": 64, "cluster_size": 512}, {"cluster_size": 4096}, {"extended_l2": "on"},
       {"compat": "0.10"}]


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16, 32, 64])
@pytest.mark.parametrize("old", OLD, ids=cases.text)
def test_refcounts_of_another_width_count_the_same(ours, peer, disks, tmp_path, old, bits):
    source = disks(4 << 20)
    peer("convert", "-f", "raw", "-O", "qcow2", *cases.flags(old), source, "a.qcow2")
    ours("amend", "-o", f"compat=1.1,refcount_bits={bits}", "a.qcow2")
    assert json.loads(peer("info", "--output", "json", "a.qcow2").stdout)["format-specific"]["data"]["refcount-bits"] == bits
    for tool in (ours, peer):
        tool("check", "a.qcow2")
        tool("compare", "-f", "raw", "-F", "qcow2", source, "a.qcow2")
    for tool in (ours, peer):
        tool("bench", "-q", "-w", "-c", "8", "-s", "65536", "-S", "262144", "--pattern", "17", "a.qcow2")
        tool("check", "a.qcow2")


def test_refcounts_that_do_not_fit_a_width_stay(ours, peer, disks, tmp_path):
    peer("convert", "-f", "raw", "-O", "qcow2", disks(4 << 20), "a.qcow2")
    peer("snapshot", "-c", "one", "a.qcow2")
    for tool in (ours, peer):
        tool("amend", "-o", "refcount_bits=1", "a.qcow2", code=1)
        peer("check", "a.qcow2")
    ours("amend", "-o", "refcount_bits=2", "a.qcow2")
    peer("check", "a.qcow2")
    peer("snapshot", "-d", "one", "a.qcow2")
    ours("check", "a.qcow2")


@pytest.mark.parametrize("has_backing", [False, True])
def test_zero_clusters_stay_zeroes_in_version_2(ours, peer, qemu_io, disks, tmp_path, has_backing):
    source = disks(4 << 20)
    peer("convert", "-f", "raw", "-O", "qcow2", source, "base.qcow2")
    if has_backing:
        peer("create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "a.qcow2")
    else:
        peer("convert", "-f", "raw", "-O", "qcow2", source, "a.qcow2")
    qemu_io("write -z 0 1M", "write -z -u 1M 1M", "write -P 5 64k 64k", "write -z 3M 512", "a.qcow2")
    peer("convert", "-O", "raw", "a.qcow2", "before.raw")
    ours("amend", "-o", "compat=0.10", "a.qcow2")
    assert json.loads(peer("info", "--output", "json", "a.qcow2").stdout)["format-specific"]["data"]["compat"] == "0.10"
    for tool in (ours, peer):
        tool("check", "a.qcow2")
        tool("compare", "-f", "raw", "-F", "qcow2", "before.raw", "a.qcow2")


@pytest.mark.parametrize("options", ["extended_l2=on", "compression_type=zstd", "refcount_bits=8", "data_file=a.data", ""])
def test_what_version_2_cannot_say_keeps_version_3(ours, peer, tmp_path, options):
    """zstd and bitmaps, which qemu-img 7.2 loses, as well."""
    peer("create", "-q", "-f", "qcow2", *(["-o", options] if options else []), "a.qcow2", "4M")
    if not options:
        peer("bitmap", "--add", "a.qcow2", "bm")
    ours("amend", "-o", "compat=0.10", "a.qcow2", code=1)
    assert json.loads(peer("info", "--output", "json", "a.qcow2").stdout)["format-specific"]["data"]["compat"] == "1.1"
    peer("check", "a.qcow2")


@pytest.mark.parametrize("compat", ["0.10", "1.1"])
def test_a_snapshot_with_zero_clusters_outlives_a_downgrade_or_prevents_it(ours, peer, qemu_io, disks, tmp_path, compat):
    peer("convert", "-f", "raw", "-O", "qcow2", disks(4 << 20), "a.qcow2")
    qemu_io("write -P 7 0 1M", *(["write -z 2M 1M"] if compat == "1.1" else []), "a.qcow2")
    peer("snapshot", "-c", "one", "a.qcow2")
    qemu_io("write -z 1M 1M", "a.qcow2")
    peer("convert", "-l", "one", "-O", "raw", "a.qcow2", "before.raw")
    ours("amend", "-o", "compat=0.10", "a.qcow2", code=None)
    assert json.loads(peer("info", "--output", "json", "a.qcow2").stdout)["format-specific"]["data"]["compat"] == compat
    peer("check", "a.qcow2")
    peer("convert", "-l", "one", "-O", "raw", "a.qcow2", "after.raw")
    peer("compare", "-f", "raw", "-F", "raw", "before.raw", "after.raw")
