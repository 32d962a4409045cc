"""Which bytes of its images lodge-img has locked while it reads and writes them, beside qemu-img.

Byte 100 is held by who reads, 101 by who writes, 103 by who changes the size; 201 by who lets nobody else write, 203 by
who lets nobody else change the size. Takes about 5 s.
SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import re
import shutil
import subprocess
from collections import Counter

import pytest

from nbd_peers import needs
from peer import run_tool

MAKE = """
qemu-img create -q -f raw s.raw 1M
qemu-img create -q -f raw t.raw 1M
qemu-img create -q -f raw base.raw 1M
qemu-img create -q -f raw base2.raw 1M
qemu-img create -q -f qcow2 s.qcow2 1M
qemu-img create -q -f qcow2 t.qcow2 1M
qemu-img create -q -f qcow2 -o data_file=data.raw data.qcow2 1M
qemu-img create -q -f qcow2 base.qcow2 1M
qemu-img create -q -f qcow2 base2.qcow2 1M
qemu-img create -q -f luks --object secret,id=s,data=x -o key-secret=s,iter-time=10 s.luks 16M
qemu-img create -q -f luks --object secret,id=s,data=x -o key-secret=s,iter-time=10 t.luks 16M
qemu-img create -q -f qcow2 -b base.raw -F raw over-raw.qcow2
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 over.qcow2
"""
WRITTEN = ("s.raw", "t.raw", "base.raw", "base2.raw", "s.qcow2", "t.qcow2", "data.qcow2", "base.qcow2", "over-raw.qcow2", "over.qcow2")
LINES = """
convert -f raw -O raw s.raw new.raw
convert -U -f raw -O raw s.raw new.raw
convert -f qcow2 -O qcow2 s.qcow2 new.qcow2
convert -f qcow2 -O raw over.qcow2 new.raw
convert -f qcow2 -O raw over-raw.qcow2 new.raw
convert -f qcow2 -O raw data.qcow2 new.raw
convert -n -f raw -O raw s.raw t.raw
convert -n -f qcow2 -O qcow2 s.qcow2 t.qcow2
convert -n -f raw -O qcow2 s.raw data.qcow2
commit -f qcow2 over.qcow2
commit -f qcow2 over-raw.qcow2
rebase -f qcow2 -b base2.qcow2 -F qcow2 over.qcow2
rebase -f qcow2 -b base2.raw -F raw over-raw.qcow2
rebase -u -f qcow2 -b base2.qcow2 -F qcow2 over.qcow2
resize -f raw t.raw 2M
resize -f qcow2 t.qcow2 2M
compare -f raw -F raw s.raw t.raw
compare -f qcow2 -F qcow2 over-raw.qcow2 data.qcow2
check -f qcow2 s.qcow2
check -r all -f qcow2 s.qcow2
map -f raw s.raw
map -f qcow2 over-raw.qcow2
snapshot -c a s.qcow2
amend -f qcow2 -o lazy_refcounts=on s.qcow2
bitmap --add -f qcow2 s.qcow2 b
measure -f raw -O qcow2 s.raw
convert --object secret,id=s,data=x --image-opts driver=luks,key-secret=s,file.filename=s.luks -O raw new.raw
convert --object secret,id=s,data=x -n --image-opts --target-image-opts driver=raw,file.filename=s.raw driver=luks,key-secret=s,file.filename=t.luks
resize --object secret,id=s,data=x --image-opts driver=luks,key-secret=s,file.filename=t.luks 20M
amend --object secret,id=s,data=x --object secret,id=new,data=y -o new-secret=new,state=active --image-opts driver=luks,key-secret=s,file.filename=t.luks
compare --object secret,id=s,data=x --image-opts driver=luks,key-secret=s,file.filename=s.luks driver=luks,key-secret=s,file.filename=t.luks
""".strip().split("\n")
# lodge-img has these beside qemu-img's: file -> bytes, why.
MORE = {
    "new.raw": ({100, 103, 201, 203}, "an image that is made is nobody else's until it is there"),
    "base.raw": ({100}, "it may also read the base"),
}
LOCK = re.compile(r"fcntl\(\d+</(.*)>, F_OFD_SETLK, \{l_type=(\w+), l_whence=SEEK_SET, l_start=(\d+), l_len=(\d+)\}\) += 0")
CALLS = "pread64|preadv|preadv2|pwrite64|pwritev|pwritev2|lseek|ftruncate|fallocate|copy_file_range"
WORK = re.compile(rf"({CALLS})\(\d+</(.*?)>")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    needs("strace", "qemu-img", "qemu-io")
    folder = tmp_path_factory.mktemp("locks")
    for command in MAKE.strip().split("\n"):
        assert run_tool(command.split(), cwd=folder).returncode == 0
    for name in WRITTEN:
        form = name.partition(".")[2]
        assert run_tool(["qemu-io", "-f", form, "-c", "write 0 128k", name], cwd=folder).returncode == 0
    return folder


def held(program, line, folder, images):
    """{file: bytes} that it mostly had locked when it did something with the file; of a file that it wrote, when it wrote."""
    shutil.copytree(images, folder)
    trace = folder / "trace"
    subprocess.run(["strace", "-ff", "-ttt", "-y", "-e", f"trace=fcntl,{CALLS.replace('|', ',')}", "-o", trace,
                    program, *line.split()], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, check=False, timeout=60)
    locked, seen = {}, {}
    rows = [row for part in folder.glob("trace.*") for row in part.read_text(errors="replace").split("\n")]
    for row in sorted(rows):  # of all threads, by time
        match = LOCK.search(row)
        if match:
            path, kind, start, length = match.groups()
            span = set(range(int(start), int(start) + int(length))) if int(length) else set(range(int(start), 300))
            before = locked.get(path, set())
            locked[path] = before - span if kind == "F_UNLCK" else before | span
        match = WORK.search(row)
        if match and locked.get(match[2]):
            is_write = not match[1].startswith(("pread", "lseek"))
            seen.setdefault((os.path.basename(match[2]), is_write), Counter())[frozenset(locked[match[2]])] += 1
    names = {name for name, is_write in seen}
    return {name: set(seen.get((name, True), seen.get((name, False))).most_common(1)[0][0]) for name in names}


def difference(name, theirs, ours):
    """What of a file's bytes no row of MORE explains."""
    more = MORE.get(name, ({}, None))[0]
    return (theirs - ours) | (ours - theirs - set(more))


@pytest.mark.parametrize("line", LINES)
def test_images_are_locked_as_qemu_img_locks_them(ours, peer, tmp_path, images, line):
    expected = held(peer.path, line, tmp_path / "peer", images)
    found = held(ours.path, line, tmp_path / "ours", images)
    assert found
    strange = {name: (sorted(expected[name]), sorted(found[name])) for name in found.keys() & expected.keys()
               if difference(name, expected[name], found[name])}
    assert not strange
