"""lodge-img serve gives foreign NBD clients, and our own, what the image holds.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import json
import os
import signal
import socket
import struct
import subprocess

import pytest
from nbd_peers import needs, running, url
from patience import PATIENCE

MIB = 1 << 20
SIZE = 24 * MIB


@pytest.fixture
def serve(ours, tmp_path):
    """serve(image, *options): a server at tmp_path/s."""

    def start(image, *options, fmt="raw"):
        return running([ours.path, "serve", "-t", "-e", "0", "-f", fmt, "-k", tmp_path / "s", *options, image],
                       tmp_path / "s")

    return start


@pytest.fixture
def copy(disks, tmp_path):
    path = tmp_path / "copy.raw"
    subprocess.run(["cp", "--sparse=always", disks(SIZE), path], check=True)
    return path


def run(*args, **options):
    return subprocess.run(list(map(str, args)), check=True, timeout=60 * PATIENCE, capture_output=True, **options).stdout


def test_foreign_clients_read_the_image(serve, ours, peer, copy, tmp_path):
    with serve(copy, "-x", "disk", "-r", "-D", "a disk"):
        name = url(tmp_path / "s", "disk")
        peer("compare", "-f", "raw", "-F", "raw", copy, name)
        maps = [json.loads(tool("map", "-f", "raw", "--output", "json", name).stdout) for tool in (ours, peer)]
        assert maps[0] == maps[1] == json.loads(peer("map", "-f", "raw", "--output", "json", copy).stdout)
        if subprocess.run(["which", "nbdcopy"], capture_output=True, check=False).returncode == 0:
            run("nbdcopy", name, tmp_path / "out.raw")
            assert (tmp_path / "out.raw").read_bytes() == copy.read_bytes()
            info = json.loads(run("nbdinfo", "--no-content", "--json", name))["exports"][0]
            assert info["export-size"] == SIZE and info["description"] == "a disk" and info["is_read_only"]
            assert info["can_multi_conn"] and info["contexts"] == ["base:allocation"]
        done = peer("bench", "-w", "-f", "raw", "-c", "1", name, code=1)
        assert "read-only" in done.stderr or "denied" in done.stderr or "permitted" in done.stderr


def test_force_share_is_for_reading(ours, peer, copy, tmp_path):
    """QEMU's rule for images; qemu-nbd has no such option of its own."""
    done = ours("serve", "-U", "-f", "raw", "-k", tmp_path / "s", copy, code=1)
    assert "add -r (--read-only)" in done.stderr
    options = ("--image-opts", f"driver=raw,file.driver=file,file.filename={copy},force-share=on")
    assert "force-share=on can only be used with read-only images" in ours("resize", *options, "1M", code=1).stderr
    assert "force-share=on can only be used with read-only images" in peer("resize", *options, "1M", code=1).stderr


def test_foreign_clients_write_the_image(serve, peer, ours, disks, tmp_path):
    peer("create", "-q", "-f", "qcow2", "target.qcow2", SIZE)
    with serve(tmp_path / "target.qcow2", "--discard=unmap", "--detect-zeroes=unmap", fmt="qcow2"):
        peer("convert", "-n", "-f", "raw", "-O", "raw", disks(SIZE), url(tmp_path / "s"))
    peer("check", "target.qcow2")
    peer("compare", "-f", "raw", "-F", "qcow2", disks(SIZE), "target.qcow2")
    with serve(tmp_path / "target.qcow2", fmt="qcow2"):
        needs("nbdcopy")
        run("nbdcopy", "--destination-is-zero", disks(SIZE), url(tmp_path / "s"))
        ours("compare", "-f", "raw", "-F", "raw", disks(SIZE), url(tmp_path / "s"))
    peer("check", "target.qcow2")


def test_every_command_does_what_qemu_io_asks(serve, peer, tmp_path):
    needs("qemu-io")
    peer("create", "-q", "-f", "raw", "disk.raw", MIB)
    commands = ["write -P 17 0 64k", "write -f -P 18 64k 4k", "write -z 4k 8k", "write -z -u 16k 8k", "discard 32k 8k",
                "flush", "read -P 17 0 4k", "read -P 0 4k 8k", "read -P 0 16k 8k", "read -P 18 64k 4k", "read -P 17 1 100"]
    with serve(tmp_path / "disk.raw", "--discard=unmap"):
        done = run("qemu-io", "-f", "raw", *[word for command in commands for word in ("-c", command)], url(tmp_path / "s"))
    assert b"failed" not in done.lower()
    done = run("qemu-io", "-f", "raw", *[word for command in commands[6:] for word in ("-c", command)], tmp_path / "disk.raw")
    assert b"failed" not in done.lower()


def test_layers_and_bitmaps_have_contexts(serve, ours, peer, tmp_path):
    needs("nbdinfo")
    peer("create", "-q", "-f", "qcow2", "base.qcow2", MIB)
    run("qemu-io", "-f", "qcow2", "-c", "write 0 128k", tmp_path / "base.qcow2")
    peer("create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "top.qcow2")
    run("qemu-io", "-f", "qcow2", "-c", "write 64k 128k", tmp_path / "top.qcow2")
    with serve(tmp_path / "top.qcow2", "-A", fmt="qcow2"):
        found = json.loads(run("nbdinfo", "--map=qemu:allocation-depth", "--json", url(tmp_path / "s")))
    assert [(e["offset"], e["length"], e["type"]) for e in found] == [
        (0, 65536, 2), (65536, 131072, 1), (196608, MIB - 196608, 0)]


def test_a_server_without_t_ends_with_its_last_client(ours, peer, copy, tmp_path):
    ours("serve", "--fork", "--pid-file", "pid", "-f", "raw", "-k", tmp_path / "s", copy)
    pid = int((tmp_path / "pid").read_text())
    fd = os.pidfd_open(pid)
    peer("info", "-f", "raw", url(tmp_path / "s"))
    import select
    assert select.select([fd], [], [], 20)[0]
    os.close(fd)
    assert not (tmp_path / "s").exists()


def test_what_cannot_be_served_is_said(ours, copy, tmp_path):
    assert "No such file" in ours("serve", "-f", "raw", "-k", "s", "absent", code=1).stderr
    assert "No such file" in ours("serve", "--fork", "-f", "raw", "-k", "s", "absent", code=1).stderr
    assert "absent/s" in ours("serve", "-f", "raw", "-k", "absent/s", copy, code=1).stderr
    assert "'zero'" in ours("serve", "-f", "raw", "-k", "s", "--tls-creds", "zero", copy, code=1).stderr
    assert "Bitmap 'b'" in ours("serve", "-f", "raw", "-k", "s", "-B", "b", copy, code=1).stderr
    assert not (tmp_path / "s").exists()


def test_a_terminated_server_writes_what_it_has(ours, peer, serve, disks, tmp_path):
    peer("create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=on", "t.qcow2", SIZE)
    with serve(tmp_path / "t.qcow2", fmt="qcow2") as server:
        peer("convert", "-n", "-f", "raw", "-O", "raw", disks(SIZE), url(tmp_path / "s"))
        server.send_signal(signal.SIGTERM)
        assert server.wait(20 * PATIENCE) == 0
    peer("check", "t.qcow2")


def test_a_client_that_stops_reading_hinders_nobody(serve, peer, copy, tmp_path):
    """It asks for more than the socket holds and reads nothing; others are served, and the server ends."""
    with serve(copy) as server, socket.socket(socket.AF_UNIX) as rude:
        rude.connect(str(tmp_path / "s"))
        rude.recv(18, socket.MSG_WAITALL)
        rude.sendall(struct.pack(">I", 3) + b"IHAVEOPT" + struct.pack(">II", 1, 0))
        for i in range(64):
            rude.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 0, i, 0, 8 * MIB))
        peer("compare", "-U", "-f", "raw", "-F", "raw", copy, url(tmp_path / "s"))
        server.terminate()
        assert server.wait(20 * PATIENCE) == 0


def make_certificates(folder):
    """An authority, a server's and a client's certificate, by GnuTLS's or OpenSSL's tool."""
    needs("openssl")

    def openssl(*args):
        run("openssl", *args, cwd=folder)

    folder.mkdir()
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "9", "-subj", "/CN=test authority",
            "-keyout", "ca-key.pem", "-out", "ca-cert.pem")
    for who in ("server", "client"):
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout", f"{who}-key.pem", "-out",
                f"{who}.csr")
        (folder / "ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        openssl("x509", "-req", "-in", f"{who}.csr", "-CA", "ca-cert.pem", "-CAkey", "ca-key.pem", "-CAcreateserial",
                "-days", "9", "-extfile", "ext", "-out", f"{who}-cert.pem")


@pytest.mark.parametrize("kind", ["x509", "psk"])
def test_tls_protects_both_directions(ours, peer, serve, copy, tmp_path, kind):
    creds = tmp_path / "creds"
    if kind == "x509":
        make_certificates(creds)
    else:
        creds.mkdir()
        (creds / "keys.psk").write_text("other:00\nqemu:00112233445566778899aabbccddeeff\n")

    def objects(side):
        return ["--object", f"tls-creds-{kind},id=t,dir={creds},endpoint={side}"]

    options = f"driver=nbd,server.type=unix,server.path={tmp_path}/s"
    name = "tls-hostname=localhost," if kind == "x509" else ""
    with serve(copy, *objects("server"), "--tls-creds", "t"):
        for tool in (ours, peer):
            secured = options + ",tls-creds=t" + ("" if kind == "psk" else ",tls-hostname=localhost")
            tool("convert", *objects("client"), "--image-opts", "-O", "raw", secured, "out.raw")
            assert (tmp_path / "out.raw").read_bytes() == copy.read_bytes()
            done = tool("info", "--image-opts", options, code=1)
            assert "TLS" in done.stderr
        if kind == "x509":
            wrong = ours("info", *objects("client"), "--image-opts", options + ",tls-creds=t,tls-hostname=other", code=1)
            assert "certificate" in wrong.stderr
    needs("qemu-nbd")
    with running(["qemu-nbd", "-t", "-f", "raw", "-k", tmp_path / "s", *objects("server"), "--tls-creds", "t", copy],
                 tmp_path / "s"):
        ours("convert", *objects("client"), "--image-opts", "-O", "raw", f"{options},{name}tls-creds=t", "out2.raw")
        assert (tmp_path / "out2.raw").read_bytes() == copy.read_bytes()


def test_exports_are_listed_as_by_qemu_nbd(serve, ours, peer, tmp_path):
    """Of both servers, by both clients; a server that ends with its last client is asked twice."""
    needs("qemu-nbd")
    peer("create", "-q", "-f", "qcow2", "a.qcow2", MIB)
    peer("bitmap", "--add", "a.qcow2", "bm")
    for start in (serve(tmp_path / "a.qcow2", "-x", "disk", "-D", "a disk", "-A", "-B", "bm", fmt="qcow2"),
                  running(["qemu-nbd", "-f", "qcow2", "-x", "", "-r", "-k", tmp_path / "s", tmp_path / "a.qcow2"], tmp_path / "s")):
        with start:
            mine = ours("serve", "--list", "-k", tmp_path / "s").stdout
            assert mine == run("qemu-nbd", "--list", "-k", tmp_path / "s").decode()
            assert "exports available: 1\n" in mine
    assert "excludes" in ours("serve", "-L", "-k", "s", "-p", "1", code=1).stderr
    assert "No such file" in ours("serve", "-L", "-k", "s", code=1).stderr


def test_what_is_written_to_a_temporary_layer_is_lost(serve, peer, copy, tmp_path):
    before = copy.read_bytes()
    with serve(copy, "-s"):
        name = url(tmp_path / "s")
        run("qemu-io", "-f", "raw", "-c", "write -P 17 64k 64k", "-c", "read -P 17 64k 64k", name)
        peer("compare", "-f", "raw", "-F", "raw", copy, name, code=1)
        run("qemu-io", "-f", "raw", "-c", "discard 0 1M", name)
    assert copy.read_bytes() == before
    with serve(copy, "-s", "-r"):
        peer("compare", "-f", "raw", "-F", "raw", copy, url(tmp_path / "s"))


@pytest.mark.parametrize("flags", [[], ["-s"]])
def test_an_offset_leaves_out_what_lies_before(serve, ours, peer, copy, tmp_path, flags):
    before = copy.read_bytes()
    with serve(copy, "-o", "64k", *flags):
        name = url(tmp_path / "s")
        peer("compare", "--image-opts", f"driver=raw,offset=65536,file.filename={copy}",
             f"driver=raw,file.driver=nbd,file.server.type=unix,file.server.path={tmp_path / 's'}")
        run("qemu-io", "-f", "raw", "-c", "write -P 17 0 4k", name)
    written = before if flags else before[:65536] + b"\x11" * 4096 + before[65536 + 4096:]
    assert copy.read_bytes() == written
    done = ours("serve", "-f", "raw", "-k", "x", "-o", "1G", copy, code=1)
    assert "has to be smaller than the image size" in done.stderr


@pytest.mark.parametrize("mode, syncs", [("writeback", False), ("writethrough", True), ("directsync", True)])
def test_each_write_is_on_disk_with_a_cache_mode_that_says_so(serve, copy, tmp_path, mode, syncs):
    """The client never flushes (-t unsafe); the end of the server is one flush, if it is still seen."""
    needs("strace")
    with serve(copy, f"--cache={mode}") as server:
        trace = subprocess.Popen(["strace", "-f", "-e", "trace=fdatasync,fsync,pwritev2", "-p", str(server.pid), "-o",
                                  tmp_path / "trace"], stderr=subprocess.PIPE)
        assert b"attached" in trace.stderr.readline()
        run("qemu-io", "-t", "unsafe", "-f", "raw", "-c", "write -P 17 0 64k", "-c", "write -P 18 0 64k",
            "-c", "write -P 19 0 64k", url(tmp_path / "s"))
        trace.send_signal(signal.SIGINT)
        trace.communicate(timeout=60 * PATIENCE)
    count = (tmp_path / "trace").read_text().count("sync(")
    assert count >= 3 if syncs else count <= 1
