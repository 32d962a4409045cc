"""lodge-img reads and writes what foreign NBD servers export.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import json
import socket
import subprocess
import threading

import pytest
from nbd_peers import nbdkit, needs, qemu_nbd, url, wait_for_socket

MIB = 1 << 20
SIZE = 24 * MIB


@pytest.fixture
def copy(disks, tmp_path):
    """A disk of its own, which the test may write."""
    path = tmp_path / "copy.raw"
    subprocess.run(["cp", "--sparse=always", disks(SIZE), path], check=True)
    return path


def test_what_qemu_nbd_exports_is_read_and_mapped_alike(ours, peer, copy, tmp_path):
    with qemu_nbd(copy, tmp_path / "s", "-x", "disk", "-r"):
        for name in (url(tmp_path / "s", "disk"), f"nbd:unix:{tmp_path}/s:exportname=disk",
                     "json:" + json.dumps({"driver": "nbd", "export": "disk",
                                           "server": {"type": "unix", "path": f"{tmp_path}/s"}})):
            ours("compare", "-f", "raw", "-F", "raw", copy, name) if not name.startswith("json") else \
                ours("compare", "-f", "raw", copy, name)
        maps = [json.loads(tool("map", "-f", "raw", "--output", "json", url(tmp_path / "s", "disk")).stdout)
                for tool in (ours, peer)]
        assert maps[0] == maps[1]
        ours("convert", "-f", "raw", "-O", "qcow2", url(tmp_path / "s", "disk"), "out.qcow2")
    peer("compare", "-f", "raw", "-F", "qcow2", copy, "out.qcow2")


def test_an_image_behind_a_server_is_written(ours, peer, disks, tmp_path):
    peer("create", "-q", "-f", "qcow2", "target.qcow2", SIZE)
    with qemu_nbd(tmp_path / "target.qcow2", tmp_path / "s", fmt="qcow2"):
        ours("convert", "-n", "-f", "raw", "-O", "raw", disks(SIZE), url(tmp_path / "s"))
    peer("compare", "-f", "raw", "-F", "qcow2", disks(SIZE), "target.qcow2")
    peer("check", "target.qcow2")


def test_a_qcow2_image_is_made_use_of_over_nbd(ours, peer, disks, tmp_path):
    peer("convert", "-f", "raw", "-O", "qcow2", disks(SIZE), "base.qcow2")
    with qemu_nbd(tmp_path / "base.qcow2", tmp_path / "s", "-r"):  # its bytes, not its content
        name = url(tmp_path / "s")
        peer("create", "-q", "-f", "qcow2", "-b", name, "-F", "qcow2", "top.qcow2")
        ours("check", "-f", "qcow2", name)
        ours("compare", "-f", "raw", "-F", "qcow2", disks(SIZE), "top.qcow2")


@pytest.mark.parametrize("args", [["--filter=blocksize-policy", "blocksize-minimum=4096", "blocksize-maximum=65536",
                                   "blocksize-error-policy=error"],
                                  ["--filter=blocksize-policy", "blocksize-minimum=512"],
                                  ["--no-sr"], ["-o", "--filter=nozero"], ["--filter=nozero"], ["--filter=delay", "delay-read=2ms"]],
                         ids=["blocks-4k", "blocks-512", "no-structured-replies", "oldstyle", "no-zeroes", "slow"])
def test_servers_of_every_kind_serve(ours, peer, disks, tmp_path, args):
    target = tmp_path / "target.raw"
    target.touch()
    target.write_bytes(b"\xaa" * SIZE)
    filters = [arg for arg in args if arg.startswith("-")]
    values = [arg for arg in args if not arg.startswith("-")]
    with nbdkit(tmp_path / "s", *filters, "file", target, *values):
        ours("convert", "-n", "-f", "raw", "-O", "raw", disks(SIZE), url(tmp_path / "s"))
        ours("compare", "-f", "raw", "-F", "raw", disks(SIZE), url(tmp_path / "s"))
        ours("dd", "-f", "raw", "-O", "raw", "bs=1000", "skip=13", "count=700", f"if={url(tmp_path / 's')}", "of=part")
    assert target.read_bytes() == disks(SIZE).read_bytes()
    assert (tmp_path / "part").read_bytes()[:700000] == disks(SIZE).read_bytes()[13000:13000 + 700000]


def test_errors_of_the_server_reach_the_caller(ours, peer, tmp_path):
    with nbdkit(tmp_path / "s", "--filter=error", "pattern", "1M", "error-pread=ENOMEM", "error-pread-rate=100%"):
        done = ours("convert", "-f", "raw", "-O", "raw", url(tmp_path / "s"), "out", code=1)
        assert "Cannot allocate memory" in done.stderr


def test_what_cannot_be_opened_is_named(ours, copy, tmp_path):
    done = ours("info", "nbd://localhost:1/x", code=1)
    assert "nbd://localhost:1/x" in done.stderr and "refused" in done.stderr
    with qemu_nbd(copy, tmp_path / "s", "-x", "disk", "-r"):
        done = ours("info", url(tmp_path / "s", "other"), code=1)
        assert "no such export" in done.stderr and "/other?socket=" in done.stderr
        done = ours("bench", "-w", "-f", "raw", "-c", "1", url(tmp_path / "s", "disk"), code=1)
        assert "read-only" in done.stderr
    for name in ("nbd://", "nbd:x", "nbd+unix:///x", "nbd:unix:"):
        assert ours("info", name, code=1).stderr


def test_a_lost_connection_is_made_again(ours, copy, tmp_path):
    """A relay cuts every connection after some megabytes; reconnect-delay hides it."""
    cuts = []

    def relay(listener):
        while True:
            try:
                front, _ = listener.accept()
            except OSError:
                return
            back = socket.socket(socket.AF_UNIX)
            back.connect(str(tmp_path / "s"))
            threading.Thread(target=pump, args=(front, back, 1 << 40), daemon=True).start()
            threading.Thread(target=pump, args=(back, front, 5 * MIB), daemon=True).start()

    def pump(source, sink, limit):
        passed = 0
        while passed < limit:
            try:
                data = source.recv(65536)
                sink.sendall(data)
            except OSError:
                break
            passed += len(data)
            if not data:
                break
        if passed >= limit:
            cuts.append(passed)
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    with qemu_nbd(copy, tmp_path / "s"), socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "relay"))
        listener.listen()
        threading.Thread(target=relay, args=(listener,), daemon=True).start()
        options = f"driver=nbd,server.type=unix,server.path={tmp_path}/relay"
        target = tmp_path / "out.raw"
        ours("convert", "-O", "raw", "--image-opts", f"driver=raw,file.{options.replace(',', ',file.')},"
             "file.reconnect-delay=20", target)
        assert target.read_bytes() == copy.read_bytes() and cuts
        done = ours("convert", "-O", "raw", "--image-opts", f"driver=raw,file.{options.replace(',', ',file.')}", "fails", code=1)
        assert "Input/output error" in done.stderr
        listener.shutdown(socket.SHUT_RDWR)


def test_opening_waits_for_a_server_that_is_late(ours, copy, tmp_path):
    needs("qemu-nbd")
    options = f"driver=nbd,server.type=unix,server.path={tmp_path}/s,open-timeout=30"
    client = subprocess.Popen([ours.path, "info", "--image-opts", options], stdout=subprocess.PIPE)
    with qemu_nbd(copy, tmp_path / "s"):
        assert client.wait(30) == 0
    client.stdout.close()
