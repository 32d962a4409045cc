"""Files that a command writes to: an image that others count on is not overwritten, a half one does not look whole.

Takes some seconds.
SPDX-License-Identifier: GPL-2.0-or-later
"""
import hashlib
import os
import signal
import subprocess
import time

import pytest

from patience import PATIENCE

MIB = 1 << 20


def digest(path):
    return hashlib.sha256(path.read_bytes()).digest()


@pytest.fixture
def chain(peer, tmp_path):
    """base.qcow2, under other names too, below mid.qcow2; data.qcow2 with its data in data.raw."""
    peer("create", "-q", "-f", "qcow2", "base.qcow2", "1M")
    peer("create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "mid.qcow2")
    peer("create", "-q", "-f", "qcow2", "-o", "data_file=data.raw", "data.qcow2", "1M")
    os.link(tmp_path / "base.qcow2", tmp_path / "hard.qcow2")
    os.symlink("base.qcow2", tmp_path / "soft.qcow2")
    return tmp_path


@pytest.mark.parametrize("name", ["base.qcow2", "./base.qcow2", "hard.qcow2", "soft.qcow2", "mid.qcow2", "data.raw"])
def test_an_image_over_itself_is_refused(chain, ours, name):
    backing = "data.qcow2" if name == "data.raw" else "mid.qcow2"
    before = digest(chain / name)
    done = ours("create", "-f", "qcow2", "-b", backing, "-F", "qcow2", name, code=1)
    assert "same filename as the backing file" in done.stderr and done.stdout == ""
    assert digest(chain / name) == before


def test_a_backing_file_that_is_not_opened_is_kept_too(chain, ours):
    before = digest(chain / "base.qcow2")
    ours("create", "-f", "qcow2", "-u", "-b", "base.qcow2", "-F", "qcow2", "./base.qcow2", "1M", code=1)
    assert digest(chain / "base.qcow2") == before


def test_a_backing_file_is_no_data_file(chain, ours):
    before = digest(chain / "base.qcow2")
    ours("create", "-f", "qcow2", "-o", "data_file=base.qcow2", "-b", "mid.qcow2", "-F", "qcow2", "new.qcow2", code=1)
    assert digest(chain / "base.qcow2") == before and not (chain / "new.qcow2").exists()


@pytest.mark.parametrize("command", [["info", "a:b"], ["create", "-f", "raw", "a:b", "1M"], ["convert", "base.qcow2", "a:b"],
                                     ["create", "-f", "qcow2", "-b", "a:b", "-F", "raw", "new.qcow2"]])
def test_a_name_of_an_unknown_protocol_is_no_file(chain, ours, peer, command):
    (chain / "a:b").write_bytes(bytes(MIB))
    assert "Unknown protocol 'a'" in peer(*command, code=1).stderr
    assert "Unknown protocol 'a'" in ours(*command, code=1).stderr
    ours("info", "file:a:b")
    ours("info", "./a:b")


def test_a_backing_format_that_does_not_exist_is_refused(chain, ours, peer):
    before = digest(chain / "mid.qcow2")
    for tool in (ours, peer):
        assert "Invalid format name" in tool("rebase", "-u", "-b", "base.qcow2", "-F", "nosuch", "mid.qcow2", code=1).stderr
    assert digest(chain / "mid.qcow2") == before


def default_signals():
    """As a terminal's programs have them: background jobs ignore SIGINT, what nohup starts ignores SIGHUP."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture
def copying(ours, tmp_path):
    """Starts a copy that takes seconds; returns the process once it has begun to write."""
    (tmp_path / "in.raw").write_bytes(b"data" * (16 * MIB))

    def start(output, *options, fmt="qcow2", source="raw"):
        command = [ours.path, "convert", "-p", "-r", "32M", "-f", source, "-O", fmt, *options, "in.raw", output]
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=default_signals)
        while b"(0.00" in (part := read_part(process)):
            pass
        assert part, process.communicate()
        return process
    return start


def read_part(process):
    part = b""
    while not part.endswith(b"\r"):
        byte = process.stdout.read(1)
        if not byte:
            return b""
        part += byte
    return part


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("fmt", ["raw", "qcow2", "vmdk"])
def test_a_copy_that_is_interrupted_leaves_no_half_image(copying, tmp_path, number, fmt):
    process = copying("out", fmt=fmt)
    assert (tmp_path / "out").exists()
    process.send_signal(number)
    process.communicate(timeout=60 * PATIENCE)
    assert process.returncode == -number and not (tmp_path / "out").exists()


# Of a disk of 5 GiB, and one file of each that was there before.
FURTHER = {("vmdk", "subformat=monolithicFlat"): ["out-flat.x"],
           ("vmdk", "subformat=twoGbMaxExtentFlat"): ["out-f001.x", "out-f002.x", "out-f003.x"],
           ("vmdk", "subformat=twoGbMaxExtentSparse"): ["out-s001.x", "out-s002.x", "out-s003.x"],
           ("qcow2", "data_file=data.x"): ["data.x"]}


@pytest.mark.parametrize("kept", [0, 1])
@pytest.mark.parametrize("fmt, options", FURTHER)
@pytest.mark.parametrize("is_cut", [False, True])
def test_a_half_image_leaves_no_further_files_either(copying, tmp_path, fmt, options, kept, is_cut):
    """But for those that were there before."""
    os.truncate(tmp_path / "in.raw", 5 << 30)
    files = FURTHER[fmt, options]
    for name in files[-1:] * kept:
        (tmp_path / name).write_bytes(b"before")
    process = copying("out.x", "-o", options, fmt=fmt)
    assert all((tmp_path / name).exists() for name in files)
    if is_cut:
        os.truncate(tmp_path / "in.raw", 32 * MIB)
    else:
        process.send_signal(signal.SIGTERM)
    stderr = process.communicate(timeout=60 * PATIENCE)[1].decode()
    assert process.returncode == 1 if is_cut else -signal.SIGTERM
    assert sorted(os.listdir(tmp_path)) == sorted(["in.raw", *files[-1:] * kept])
    gone = len(files) - kept
    assert not is_cut or stderr.endswith("removed\n" if gone == 0 else f"removed, and {gone} further file{'s' * (gone > 1)} of it\n"), stderr


@pytest.mark.parametrize("kept", [False, True])
def test_creating_that_fails_leaves_no_data_file(ours, tmp_path, kept):
    if kept:
        (tmp_path / "data.raw").write_bytes(b"before")
    ours("create", "-f", "qcow2", "-u", "-o", "data_file=data.raw,cluster_size=512", "-b", "x" * 600, "-F", "raw", "out", "1M", code=1)
    assert os.listdir(tmp_path) == ["data.raw"] * kept


@pytest.mark.parametrize("fmt, options", [("raw", "preallocation=full"), ("qcow2", "preallocation=full"),
                                          ("qcow2", "preallocation=full,data_file=data.raw")])
def test_creating_that_is_interrupted_leaves_nothing(ours, tmp_path, fmt, options):
    process = subprocess.Popen([ours.path, "create", "-q", "-f", fmt, "-o", options, "out", "8G"], cwd=tmp_path)
    while process.poll() is None and not any(entry.stat().st_blocks > 8192 for entry in tmp_path.iterdir()):
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60 * PATIENCE)
    assert process.returncode == -signal.SIGTERM and os.listdir(tmp_path) == []


def test_an_interrupted_copy_leaves_a_file_that_was_there(copying, ours, tmp_path):
    ours("create", "-q", "-f", "qcow2", "out", "64M")
    process = copying("out", "-n")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60 * PATIENCE)
    assert process.returncode == -signal.SIGINT and (tmp_path / "out").exists()


def test_an_ignored_signal_does_not_end_a_copy(ours, tmp_path):
    (tmp_path / "in.raw").write_bytes(b"data" * MIB)
    command = [ours.path, "convert", "-p", "-r", "2M", "-O", "qcow2", "-f", "raw", "in.raw", "out"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE,
                               preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    read_part(process)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=60 * PATIENCE)
    assert process.returncode == 0
    ours("compare", "-f", "raw", "in.raw", "out")


@pytest.mark.parametrize("command", [["convert"], ["dd"]])
def test_a_copy_that_fails_leaves_no_half_image(ours, tmp_path, command):
    """The file may not grow over 1 MiB."""
    (tmp_path / "in.raw").write_bytes(b"data" * MIB)
    words = ["bs=64k", "if=in.raw", "of=out"] if command == ["dd"] else ["in.raw", "out"]
    script = 'ulimit -f 1024; trap "" XFSZ; exec "$0" "$@"'
    done = subprocess.run(["bash", "-c", script, ours.path, *command, "-f", "raw", "-O", "qcow2", *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and "incomplete 'out' was removed" in done.stderr, done.stderr
    assert not (tmp_path / "out").exists()


def test_sigusr1_tells_the_progress(copying, ours, tmp_path):
    process = copying("out")
    process.send_signal(signal.SIGUSR1)
    stderr = process.communicate(timeout=60 * PATIENCE)[1]
    assert process.returncode == 0
    assert stderr.endswith(b"/100%)\n") and stderr.startswith(b"    ("), stderr


@pytest.mark.parametrize("fmt", ["raw", "qcow2"])
def test_a_source_that_is_cut_meanwhile_is_no_success(copying, ours, tmp_path, fmt):
    """What is behind the end reads as zeroes, so nothing fails until then."""
    if fmt == "qcow2":
        process = copying("in.qcow2")
        assert process.communicate(timeout=60) and process.returncode == 0
        os.replace(tmp_path / "in.qcow2", tmp_path / "in.raw")
    process = copying("out", fmt=fmt, source=fmt)
    os.truncate(tmp_path / "in.raw", 32 * MIB)
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 1 and b"'in.raw' was cut from" in stderr, stderr
    assert not (tmp_path / "out").exists()


def test_images_are_created_in_files_only(ours, tmp_path):
    (tmp_path / "in.raw").write_bytes(bytes(MIB))
    for command in (["create", "-f", "qcow2", "nbd://localhost:1/x", "1M"], ["convert", "in.raw", "nbd://localhost:1/x"]):
        assert "Protocol driver 'nbd' does not support image creation" in ours(*command, code=1).stderr
