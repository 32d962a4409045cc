"""Secrets and TLS credentials by -object and object-add: encrypted disks, NBD by TLS on both sides, on lodge-vmm and on QEMU.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import base64
import os
import subprocess

import pytest
from block_machine import tool

SECRET = "secret,id=s0,data=correct horse"


def write_keys(m):
    os.makedirs(m.path("psk"), exist_ok=True)
    with open(m.path("psk/keys.psk"), "w", encoding="ascii") as keys:
        keys.write("qemu:" + "0123456789abcdef" * 4 + "\n")


def make_luks(m, name):
    tool("qemu-img", "create", "-q", "-f", "luks", "--object", SECRET, "-o", "key-secret=s0,iter-time=10", m.path(name), "2M")
    tool("qemu-io", "--object", SECRET, "-c", "write -P 7 0 2M", "--image-opts",
         f"driver=luks,key-secret=s0,file.filename={m.path(name)}")


def luks_node(m, name, secret):
    return {"driver": "luks", "node-name": name, "key-secret": secret,
            "file": {"driver": "file", "filename": m.path("disk.luks")}}


def copy_out(m, name):
    """What a node holds, through an export of it."""
    m.say("nbd-server-start", {"addr": {"type": "unix", "data": {"path": m.path("nbd")}}})
    m.say("block-export-add", {"type": "nbd", "id": "out", "node-name": name, "name": "out"})
    tool("nbdcopy", f"nbd+unix:///out?socket={m.path('nbd')}", m.path(f"{name}.raw"))
    m.say("nbd-server-stop")
    m.wait_export("out")


def encrypted_disk(m):
    make_luks(m, "disk.luks")
    m.say("blockdev-add", luks_node(m, "crypt", "s0"))
    m.say("object-add", {"qom-type": "secret", "id": "bad", "data": "wrong"})
    m.say("blockdev-add", luks_node(m, "crypt", "bad"))
    m.say("object-add", {"qom-type": "secret", "id": "s0", "data": "correct horse"})
    m.say("object-add", {"qom-type": "secret", "id": "s0", "data": "correct horse"})
    m.say("object-add", {"qom-type": "secret", "id": "s1", "data": "x", "colour": "red"})
    m.say("blockdev-add", luks_node(m, "crypt", "s0"))
    copy_out(m, "crypt")
    m.say("object-del", id="s0")
    m.say("object-del", id="s0")
    m.say("blockdev-del", node_name="crypt")
    m.say("blockdev-add", luks_node(m, "crypt", "s0"))
    return ["crypt.raw"]


def wrapped_secret(m):
    """As libvirt hands secrets over: encrypted with a master key that only the process has."""
    make_luks(m, "disk.luks")
    key, iv = os.urandom(32), os.urandom(16)
    cipher = subprocess.run(["openssl", "enc", "-aes-256-cbc", "-K", key.hex(), "-iv", iv.hex()], check=True,
                            input=b"correct horse", capture_output=True).stdout
    with open(m.path("master-key.aes"), "wb") as out:
        out.write(key)
    m.say("object-add", {"qom-type": "secret", "id": "masterKey0", "format": "raw", "file": m.path("master-key.aes")})
    wrapped = {"qom-type": "secret", "id": "s0", "data": base64.b64encode(cipher).decode(), "keyid": "masterKey0",
               "iv": base64.b64encode(iv).decode(), "format": "base64"}
    m.say("object-add", wrapped | {"keyid": "missing"})
    m.say("object-add", wrapped | {"iv": "AAAA"})
    m.say("object-add", wrapped)
    m.say("blockdev-add", luks_node(m, "crypt", "s0"))
    copy_out(m, "crypt")
    return ["crypt.raw"]


def server_and_client_by_tls(m):
    write_keys(m)
    creds = {"qom-type": "tls-creds-psk", "dir": m.path("psk")}
    start = {"addr": {"type": "unix", "data": {"path": m.path("nbd")}}, "tls-creds": "srv"}
    m.say("nbd-server-start", start)
    m.say("object-add", creds | {"id": "cli", "endpoint": "client"})
    m.say("nbd-server-start", start | {"tls-creds": "cli"})
    m.say("object-add", creds | {"id": "srv", "endpoint": "server"})
    m.say("object-add", creds | {"id": "bad", "endpoint": "server", "dir": m.path("nowhere")})
    m.say("nbd-server-start", start)
    m.say("block-export-add", {"type": "nbd", "id": "e", "node-name": "libvirt-1-format", "name": "disk"})
    plain = subprocess.run(["qemu-img", "info", f"nbd+unix:///disk?socket={m.path('nbd')}"], capture_output=True, check=False)
    assert plain.returncode != 0 and b"TLS" in plain.stderr
    secured = f"driver=nbd,server.type=unix,server.path={m.path('nbd')},export=disk,tls-creds=t"
    tool("qemu-img", "convert", "--object", f"tls-creds-psk,id=t,dir={m.path('psk')},endpoint=client,username=qemu",
         "--image-opts", "-O", "raw", secured, m.path("tls.raw"))
    return ["tls.raw"]


@pytest.mark.parametrize("script", [encrypted_disk, wrapped_secret, server_and_client_by_tls], ids=lambda script: script.__name__)
def test_objects_are_qemus(machine, script):
    machines = []
    for engine in ("qemu", "lodge"):
        m = machine(engine)
        images = script(m)
        m.end()
        machines.append(m)
    qemu, lodge = machines
    assert lodge.trace == qemu.trace
    for name in images:
        tool("qemu-img", "compare", "-q", "-f", "raw", "-F", "raw", qemu.path(name), lodge.path(name))


def test_a_client_node_speaks_tls(machine):
    """The monitor as NBD client, with credentials of the command line."""
    m = machine("lodge")
    write_keys(m)
    m.write("served.qcow2", 1, 2, 3)
    peer = subprocess.Popen(["qemu-nbd", "-t", "-f", "qcow2", "-k", m.path("peer"), "-x", "d", "--object",
                             f"tls-creds-psk,id=t,dir={m.path('psk')},endpoint=server", "--tls-creds", "t", "-r",
                             m.path("served.qcow2")], stderr=subprocess.DEVNULL)
    try:
        while not os.path.exists(m.path("peer")) and peer.poll() is None:
            m.qmp.command("query-status")
        node = {"driver": "nbd", "node-name": "remote", "server": {"type": "unix", "path": m.path("peer")}, "export": "d",
                "read-only": True}
        assert "error" in m.qmp.raw("blockdev-add", node)
        m.qmp.command("object-add", {"qom-type": "tls-creds-psk", "id": "c", "dir": m.path("psk"), "endpoint": "client"})
        m.qmp.command("blockdev-add", node | {"tls-creds": "c"})
        copy_out(m, "remote")
        tool("qemu-img", "compare", "-q", "-f", "qcow2", "-F", "raw", m.path("served.qcow2"), m.path("remote.raw"))
    finally:
        peer.terminate()
        peer.wait(20)
