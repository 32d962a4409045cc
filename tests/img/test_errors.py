"""What lodge-img says about typical mistakes: which file, which layer of the chain, and why; never success, never a signal.

The chain is top.qcow2 -> mid.qcow2 -> base.qcow2. Takes some seconds.
SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import resource
import shutil
import signal
import struct
import subprocess

import pytest

from nbd_peers import needs
from patience import PATIENCE
from peer import run_tool

MIB = 1 << 20
CHAIN = ["top.qcow2", "mid.qcow2", "base.qcow2"]
ABC = "secret,id=k,data=abc"
WRONG = "secret,id=k,data=wrong"
MAKE = f"""
create -q -f qcow2 base.qcow2 1M
bench -q -w -t unsafe -c 8 -s 65536 --pattern 17 -f qcow2 base.qcow2
create -q -f qcow2 -b base.qcow2 -F qcow2 mid.qcow2
create -q -f qcow2 -b mid.qcow2 -F qcow2 top.qcow2
create -q -f luks --object {ABC} -o key-secret=k,iter-time=10 x.luks 1M
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    if not shutil.which("qemu-img"):
        pytest.skip("qemu-img is not installed")
    folder = tmp_path_factory.mktemp("errors")
    for line in MAKE.strip().split("\n"):
        done = run_tool(["qemu-img", *line.split()], cwd=folder)
        assert done.returncode == 0, (line, done.stderr)
    (folder / "plain.raw").write_bytes(b"plain " * (MIB // 6) + b"ends")
    return folder


@pytest.fixture
def chain(template, tmp_path):
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    return tmp_path


def poke(path, offset, fmt, value):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(struct.pack(">" + fmt, value))


def header(path, offset, fmt):
    return struct.unpack_from(">" + fmt, path.read_bytes(), offset)[0]


def gone(folder):
    (folder / "base.qcow2").unlink()


def version_9(folder):
    poke(folder / "base.qcow2", 4, "I", 9)


def unknown_feature(folder):
    poke(folder / "base.qcow2", 72, "Q", 1 << 63)


def bad_cluster_bits(folder):
    poke(folder / "base.qcow2", 20, "I", 99)


def bad_l1_offset(folder):
    poke(folder / "base.qcow2", 40, "Q", 77)


def bad_refcount_table(folder):
    poke(folder / "base.qcow2", 48, "Q", 77)


def bad_l1_entry(folder):
    poke(folder / "base.qcow2", header(folder / "base.qcow2", 40, "Q"), "Q", (1 << 64) - 1)


def no_magic(folder):
    poke(folder / "base.qcow2", 0, "I", 0)


def cut_off(folder):
    os.truncate(folder / "base.qcow2", 50)


def is_a_folder(folder):
    gone(folder)
    (folder / "base.qcow2").mkdir()


def loop(folder):
    subprocess.run(["qemu-img", "rebase", "-u", "-b", "mid.qcow2", "-F", "qcow2", "base.qcow2"], cwd=folder, check=True)


def data_in_top(folder):
    subprocess.run("qemu-img bench -q -w -t unsafe -c 1 -s 65536 --pattern 18 -f qcow2 top.qcow2".split(" "), cwd=folder, check=True)


def bad_l1_entry_in_mid(folder):
    poke(folder / "mid.qcow2", header(folder / "mid.qcow2", 40, "Q"), "Q", (1 << 64) - 1)


def data_above_bad_l1_entry(folder):
    data_in_top(folder)
    bad_l1_entry_in_mid(folder)


IN_MID = "failed in 'mid.qcow2', driver '{}', backing file 1 of the chain"
IN_BASE = "failed in 'base.qcow2', driver 'qcow2', backing file 2 of the chain"
# The chain with a base whose data cannot be read.
FAULTY = ("driver=qcow2,file.filename=top.qcow2,backing.driver=qcow2,backing.file.filename=mid.qcow2,backing.backing.driver=fault,"
          "backing.backing.ops=read,backing.backing.file.driver=qcow2,backing.backing.file.file.filename=base.qcow2")
# Top and mid, of which something fails.
FAULTY_MID = "driver=qcow2,file.filename=top.qcow2,backing.driver=fault,backing.file.driver=qcow2,backing.file.file.filename=mid.qcow2,backing.ops="

# What is done before, the command line, and what the message has to have in this order.
ROWS = [
    (None, "info gone.qcow2", ["'gone.qcow2'", "No such file or directory"]),
    (None, "convert -O raw plain.raw /nowhere/x", ["'/nowhere/x'", "No such file or directory"]),
    (None, "map plain.raw/x", ["'plain.raw/x'", "Not a directory"]),
    (None, "info .", ["'.'", "neither a regular file nor a block device"]),
    (None, "info -f qcow2 plain.raw", ["'plain.raw'", "not in qcow2 format"]),
    (None, "info -f vmdk plain.raw", ["'plain.raw'", "invalid VMDK"]),
    (None, "info -f vdi plain.raw", ["'plain.raw'", "not in VDI format"]),
    (None, "info -f vhdx plain.raw", ["'plain.raw'", "invalid VHDX"]),
    (None, "info -f vpc plain.raw", ["'plain.raw'", "invalid VPC"]),
    (None, "info -f luks plain.raw", ["'plain.raw'", "LUKS header"]),
    (None, "info -f qcow3 plain.raw", ["'plain.raw'", "Unknown driver 'qcow3'", "did you mean 'qcow'"]),
    (None, "create -f qcow3 new 1M", ["new", "Unknown file format 'qcow3'", "did you mean 'qcow'"]),
    (None, "create -f qcow2 -o clusters=1 new 1M", ["new", "'clusters'", "supported", "cluster_size"]),
    (None, "create -f qcow2 -o cluster_size=3 new 1M", ["new", "power of two between 512 and 2048k"]),
    (None, "create -f qcow2 -o compat=7 new 1M", ["new", "'7'", "0.10, 1.1"]),
    (None, "create -f qcow2 new 1Q", ["new", "'1Q'", "suffix"]),
    (None, "create -f qcow2 new", ["new", "needs a size"]),
    (None, "create -f qcow2 -b gone.qcow2 -F qcow2 new", ["new", "backing file", "'gone.qcow2'", "No such file"]),
    (None, "convert --frob a b", ["'--frob'", "convert --help"]),
    (None, "frob", ["frob", "supported: amend"]),
    (None, "resize base.qcow2 64k", ["'base.qcow2'", "--shrink"]),
    (None, "commit plain.raw", ["'plain.raw'", "does not have a backing file"]),
    (None, "commit -b gone.qcow2 top.qcow2", ["'gone.qcow2'", "chain of 'top.qcow2'"]),
    (None, "snapshot -a none base.qcow2", ["'none'", "not found", "'base.qcow2'"]),
    (None, "snapshot -d none base.qcow2", ["'none'", "not found"]),
    (None, "convert -l none -O raw base.qcow2 new", ["'none'", "not found", "'base.qcow2'"]),
    (None, "bitmap --remove base.qcow2 none", ["'base.qcow2'", "'none' not found"]),
    (None, "convert -n -f qcow2 -O raw base.qcow2 small.raw", ["'small.raw'", "65536", "smaller", "1048576"]),
    (None, "check -r all -U base.qcow2", ["'base.qcow2'", "-U"]),
    (None, "snapshot -U -c new base.qcow2", ["'base.qcow2'", "-U"]),
    (None, "info nbd+unix:///x?socket=/nowhere/s", ["nbd+unix", "'/nowhere/s'", "No such file"]),
    (None, "info nbd://127.0.0.1:1/x", ["nbd://", "'127.0.0.1:1'", "Connection refused"]),
    (None, f"map --object {WRONG} --image-opts driver=luks,key-secret=k,file.filename=x.luks", ["'x.luks'", "Invalid password"]),
    (None, "map --image-opts driver=luks,key-secret=k,file.filename=x.luks", ["'x.luks'", "no secret 'k'", "--object"]),
    (None, "map -f luks x.luks", ["'x.luks'", "'key-secret' is required"]),
    (gone, "map top.qcow2", [*(f"'{name}'" for name in CHAIN), "No such file or directory"]),
    (gone, "convert -O raw top.qcow2 new", [*(f"'{name}'" for name in CHAIN), "No such file or directory"]),
    (is_a_folder, "map top.qcow2", [*(f"'{name}'" for name in CHAIN), "neither a regular file"]),
    (no_magic, "map top.qcow2", [*(f"'{name}'" for name in CHAIN), "not in qcow2 format"]),
    (version_9, "map top.qcow2", [*(f"'{name}'" for name in CHAIN), "version 9"]),
    (unknown_feature, "map top.qcow2", [*(f"'{name}'" for name in CHAIN), "features 0x8000000000000000", "newer program"]),
    (bad_cluster_bits, "map top.qcow2", [*(f"'{name}'" for name in CHAIN), "cluster size"]),
    (bad_l1_offset, "map top.qcow2", [*(f"'{name}'" for name in CHAIN), "L1 table offset"]),
    (bad_refcount_table, "map top.qcow2", [*(f"'{name}'" for name in CHAIN), "eference count table offset"]),
    (cut_off, "map top.qcow2", [*(f"'{name}'" for name in CHAIN), "header"]),
    *[(bad_l1_entry, line, ["'base.qcow2' is corrupt", "L1 entry 0", "top.qcow2", IN_BASE, "Input/output error"]) for line in (
        "map top.qcow2", "convert -O raw top.qcow2 new", "compare top.qcow2 plain.raw", "rebase -b  top.qcow2", "measure -O qcow2 top.qcow2",
        "dd if=top.qcow2 of=new -O raw")],
    *[(None, line, ["top.qcow2", "failed in 'base.qcow2', driver 'fault', backing file 2", "Input/output error"]) for line in (
        f"convert --image-opts -O raw {FAULTY} new", f"dd --image-opts if={FAULTY} of=new -O raw", f"compare --image-opts {FAULTY} driver=raw,file.filename=plain.raw")],
    *[(data_in_top, f"commit --image-opts {FAULTY_MID}{ops}", ["commit 'top.qcow2'", what, IN_MID.format("fault"), "Input/output error"])
      for ops, what in (("write", "writing 'mid.qcow2' at byte 0"), ("flush", "cannot flush 'mid.qcow2'"))],
    *[(prepare, line, ["'mid.qcow2' is corrupt", "commit 'top.qcow2'", what, IN_MID.format("qcow2"), "Input/output error"])
      for prepare, line, what in ((data_above_bad_l1_entry, "commit top.qcow2", "writing 'mid.qcow2'"),
                                  (bad_l1_entry_in_mid, "commit -b base.qcow2 top.qcow2", "reading block status of 'top.qcow2'"))],
    (loop, "map top.qcow2", ["'mid.qcow2'", "'base.qcow2'"]),
]


def assert_says(done, words):
    text, at = done.stderr, 0
    assert done.returncode > 0 and text, (done.returncode, text)
    for word in words:
        at = text.find(word, at)
        assert at >= 0, f"{word!r} of {words} is not in, or not in its place in:\n{text}"
        at += len(word)
    assert len(text) < 4000, "too long to be read"


@pytest.mark.parametrize("prepare, line, words", ROWS, ids=[f"{row[0].__name__}: {row[1]}" if row[0] else row[1] for row in ROWS])
def test_a_mistake_is_told_with_file_layer_and_reason(ours, chain, prepare, line, words):
    with open(chain / "small.raw", "wb") as file:
        file.truncate(65536)
    if prepare:
        prepare(chain)
    before = (chain / "base.qcow2").read_bytes() if (chain / "base.qcow2").is_file() else None
    assert_says(ours(*line.split(" "), code=None), words)
    if before:
        assert (chain / "base.qcow2").read_bytes() == before, "the mistake changed the image"


@pytest.mark.parametrize("line, name", [
    ("resize top.qcow2 2M", "top.qcow2"), ("check -r all mid.qcow2", "mid.qcow2"), ("info top.qcow2", "top.qcow2"),
    ("convert -O raw top.qcow2 new", "top.qcow2"), ("convert -O qcow2 plain.raw top.qcow2", "top.qcow2"),
    ("create -f qcow2 top.qcow2 1M", "top.qcow2"), ("commit top.qcow2", "top.qcow2")])
def test_a_locked_image_is_told_with_the_process_that_holds_it(ours, chain, line, name):
    needs("qemu-io")
    with subprocess.Popen(["qemu-io", "-f", "qcow2", "top.qcow2"], cwd=chain, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        holder.stdin.write(b"length\n")
        holder.stdin.flush()
        assert b"MiB" in holder.stdout.readline()
        assert_says(ours(*line.split(), code=None), [f"'{name}' is in use by process {holder.pid} (qemu-io)"])
        holder.stdin.close()
        holder.stdout.read()


@pytest.mark.parametrize("line, name", [
    ("convert -f raw -O raw plain.raw full", "full"), ("convert -f raw -O qcow2 plain.raw full", "full"),
    ("create -f raw -o preallocation=full full 1M", "full"), ("dd -f raw -O raw if=plain.raw of=full", "full"),
    ("bench -w -c 99 -f qcow2 -s 4k mid.qcow2", "mid.qcow2")])
def test_a_full_disk_is_told_with_the_file_that_does_not_fit(ours, chain, line, name):
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (400 << 10, 400 << 10))

    assert_says(ours(*line.split(), code=None, preexec_fn=limit), [name, "File too large"])


@pytest.mark.parametrize("line, words", [
    ("map top.qcow2", [*(f"'{name}'" for name in CHAIN), "Permission denied"]),
    ("info base.qcow2", ["'base.qcow2'", "Permission denied"]),
    ("resize mid.qcow2 2M", ["'mid.qcow2'", "Permission denied"]),
    ("create -f raw new 1M", ["'new'", "Permission denied"])])
def test_a_file_without_permission_is_told(build, chain, line, words):
    """As an unprivileged user in a folder that others may read, below some that they may not enter."""
    if os.geteuid() != 0:
        pytest.skip("root is needed to become another user")
    chain.chmod(0o755)
    (chain / "base.qcow2").chmod(0)
    program = os.open(os.path.join(build, "bin", "lodge-img"), os.O_RDONLY)

    def drop():
        os.chdir(chain)
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)

    done = subprocess.run(["lodge-img", *line.split()], executable=f"/proc/self/fd/{program}", preexec_fn=drop,
                          pass_fds=[program], capture_output=True, text=True, timeout=60 * PATIENCE)
    os.close(program)
    assert_says(done, words)
