"""Other ways to the daemon: TLS, ssh, libvirt's own sockets, socket activation.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import socket
import stat
import subprocess

import libvirt
import pytest
import rpc
from conftest import BUILD

EXAMPLES = os.path.join(BUILD, "src", "client", "examples")


def openssl(*words, cwd):
    subprocess.run(["openssl", *words], cwd=cwd, check=True, capture_output=True)


def make_ca(folder, name):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", f"{name}-key.pem", "-out", f"{name}.pem", "-subj", f"/CN={name}",
            "-days", "2", cwd=folder)


def make_cert(folder, ca, name, extension):
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
            f"{name}key.pem", "-out", f"{name}.csr", "-subj", f"/CN={name}", cwd=folder)
    (folder / "ext").write_text(extension)
    openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}-key.pem",
            "-CAcreateserial", "-days", "2", "-out", f"{name}cert.pem", "-extfile", "ext",
            cwd=folder)
    (folder / f"{name}key.pem").chmod(0o600)


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pki")
    make_ca(folder, "cacert")
    make_cert(folder, "cacert", "server", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    make_cert(folder, "cacert", "client", "extendedKeyUsage=clientAuth")
    return folder


@pytest.fixture
def tls_daemon(start_lodged, pki):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    daemon = start_lodged(config=f"""listen_tls = 1
listen_addr = "127.0.0.1"
tls_port = "{port}"
ca_file = "{pki}/cacert.pem"
cert_file = "{pki}/servercert.pem"
key_file = "{pki}/serverkey.pem"
""")
    daemon.port = port
    return daemon


def maps_gnutls(daemon):
    with open(f"/proc/{daemon.process.pid}/maps", encoding="utf-8") as maps:
        return "libgnutls" in maps.read()


def test_the_library_for_tls_is_loaded_when_it_is_needed(lodged, tls_daemon):
    assert not maps_gnutls(lodged)
    assert maps_gnutls(tls_daemon)


def test_libvirts_client_connects_by_tls(tls_daemon, pki):
    connection = libvirt.open(f"qemu+tls://localhost:{tls_daemon.port}/system?pkipath={pki}")
    assert connection.getType() == "QEMU" and connection.isSecure() == 1
    connection.close()


def test_liblodge_connects_by_tls(tls_daemon, pki):
    done = subprocess.run([os.path.join(EXAMPLES, "list-domains"),
                           f"qemu+tls://localhost:{tls_daemon.port}/system?pkipath={pki}"],
                          capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout.startswith("host:"), done.stderr


def test_a_client_without_a_certificate_is_refused(tls_daemon, pki, tmp_path):
    (tmp_path / "cacert.pem").write_bytes((pki / "cacert.pem").read_bytes())
    with pytest.raises(libvirt.libvirtError):
        libvirt.open(f"qemu+tls://localhost:{tls_daemon.port}/system?pkipath={tmp_path}")


def test_a_stranger_s_certificate_is_refused(tls_daemon, tmp_path):
    make_ca(tmp_path, "cacert")
    make_cert(tmp_path, "cacert", "client", "extendedKeyUsage=clientAuth")
    with pytest.raises(libvirt.libvirtError):
        libvirt.open(f"qemu+tls://localhost:{tls_daemon.port}/system?pkipath={tmp_path}"
                     "&no_verify=1")


def test_garbage_instead_of_tls_ends_the_connection(tls_daemon):
    with socket.create_connection(("127.0.0.1", tls_daemon.port)) as sock:
        sock.sendall(b"\0\0\0\x1c" + bytes(2000))
        sock.settimeout(20)
        try:
            while sock.recv(4096):
                pass
        except ConnectionError:
            pass
    assert tls_daemon.client().open().call("CONNECT_GET_TYPE")["type"] == "QEMU"


def test_a_key_that_others_can_read_is_refused(start_lodged, pki, tmp_path):
    key = tmp_path / "key.pem"
    key.write_bytes((pki / "serverkey.pem").read_bytes())
    key.chmod(0o644)
    with pytest.raises(AssertionError, match="chmod"):
        start_lodged(config=f'listen_tls = 1\nca_file = "{pki}/cacert.pem"\n'
                            f'cert_file = "{pki}/servercert.pem"\nkey_file = "{key}"\n')


def test_the_ssh_helper_joins_client_and_socket(lodged, tmp_path):
    """libvirt's client with +ssh; the "ssh" is a script that runs the helper here."""
    fake = tmp_path / "ssh"
    fake.write_text(f'#!/bin/sh\nexec "{BUILD}/bin/virt-ssh-helper" '
                    f'"qemu:///system?socket={lodged.socket}"\n')
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    connection = libvirt.open(f"qemu+ssh://host/system?command={fake}")
    assert connection.getType() == "QEMU"
    connection.close()
    done = subprocess.run([os.path.join(EXAMPLES, "list-domains"),
                           f"qemu+ssh://host/system?command={fake}"],
                          capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout.startswith("host:"), done.stderr


def test_clients_without_a_uri_find_libvirts_sockets(tmp_path):
    """As libvirt starts a session's daemon: with its options, on its paths."""
    if os.geteuid() == 0:
        env = dict(os.environ, XDG_RUNTIME_DIR=str(tmp_path))
        root = ["--root", str(tmp_path / "root")]
    else:
        env, root = dict(os.environ, XDG_RUNTIME_DIR=str(tmp_path), HOME=str(tmp_path)), []
    with subprocess.Popen([os.path.join(BUILD, "bin", "lodge-libvirtd"), "--timeout=30", *root],
                          env=env, stderr=subprocess.PIPE, text=True) as process:
        while "ready:" not in process.stderr.readline():
            assert process.poll() is None
        try:
            for name in ("libvirt-sock", "virtqemud-sock"):
                with rpc.Client(str(tmp_path / "libvirt" / name)) as client:
                    assert client.open().call("CONNECT_GET_TYPE")["type"] == "QEMU"
        finally:
            process.terminate()
    assert not (tmp_path / "libvirt" / "libvirt-sock").exists()


def test_sockets_of_systemd_are_taken(tmp_path):
    path = tmp_path / "handed-over-ro"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def hand_over():
        os.dup2(listener.fileno(), 3, inheritable=True)
        os.environ["LISTEN_FDS"] = "1"
        os.environ["LISTEN_PID"] = str(os.getpid())
        os.execv(os.path.join(BUILD, "bin", "lodged"),
                 ["lodged", "--session", "--root", str(tmp_path / "root")])

    child = os.fork()
    if child == 0:
        try:
            hand_over()
        finally:
            os._exit(1)
    try:
        with rpc.Client(str(path)) as client:
            client.open()
            with pytest.raises(rpc.RpcError) as caught:
                client.call("DOMAIN_CREATE")
            assert caught.value.code == 29
    finally:
        os.kill(child, 15)
        assert os.waitpid(child, 0)[1] == 0
