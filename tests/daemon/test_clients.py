"""Real clients against the daemon: virsh and libvirt-python.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import base64
import contextlib
import os
import subprocess
import sys
import threading
import time

import libvirt
import pytest
import rpc
from patience import PATIENCE


def test_virsh_sees_host_and_versions(lodged):
    assert "Running hypervisor: QEMU" in lodged.virsh("version").stdout
    assert "CPU(s):" in lodged.virsh("nodeinfo").stdout
    assert "total" in lodged.virsh("nodememstats").stdout
    assert "idle" in lodged.virsh("nodecpustats").stdout
    assert lodged.virsh("hostname").stdout.strip()


@pytest.mark.parametrize("command", ["net-list --all", "pool-list --all", "nodedev-list",
                                     "nwfilter-list", "secret-list", "iface-list --all"])
def test_virsh_lists_what_there_is_none_of(lodged, command):
    assert lodged.virsh(*command.split()).returncode == 0


@pytest.mark.parametrize("command,code", [("net-info nowhere", "Network not found"),
                                          ("pool-info nowhere", "Storage pool not found")])
def test_virsh_hears_that_a_name_is_unknown(lodged, command, code):
    done = lodged.virsh(*command.split(), check=False)
    assert done.returncode != 0 and code in done.stderr


def test_read_only_virsh_cannot_write(lodged):
    done = lodged.virsh("-r", "nodesuspend", "mem", "60", check=False)
    assert "read only" in done.stderr


def test_sixteen_threads_share_a_connection(lodged):
    connection = libvirt.open(lodged.uri)
    problems = []

    def work():
        try:
            for _ in range(100):
                assert connection.getType() == "QEMU"
                assert connection.getInfo()[0] == "x86_64"
        except Exception as error:  # what went wrong is shown by the assertion below
            problems.append(error)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    connection.close()
    assert not problems


def test_libvirt_python_sees_libvirts_codes(lodged):
    connection = libvirt.open(lodged.uri)
    with pytest.raises(libvirt.libvirtError) as caught:
        connection.networkLookupByName("nowhere")
    assert caught.value.get_error_code() == libvirt.VIR_ERR_NO_NETWORK
    with pytest.raises(libvirt.libvirtError) as caught:
        connection.storageVolLookupByPath("/nowhere")
    assert caught.value.get_error_code() == libvirt.VIR_ERR_NO_STORAGE_VOL
    assert connection.isSecure() == 1 and connection.isEncrypted() in (0, 1)
    connection.close()


def test_a_wrong_driver_is_refused(lodged):
    with pytest.raises(libvirt.libvirtError):
        libvirt.open(f"test+unix:///default?socket={lodged.socket}")


def test_the_daemon_leaves_when_nobody_needs_it(start_lodged):
    daemon = start_lodged("--timeout=1")
    daemon.virsh("uri")  # a process: in this one another test's event loop may keep the connection
    assert daemon.process.wait(20 * PATIENCE) == 0


# User "ann", password "pencil".
SCRAM_ENTRY = subprocess.run(
    [sys.executable, "-c", """
import base64, hashlib, hmac
salt = b'0123456789abcdef'
salted = hashlib.pbkdf2_hmac('sha256', b'pencil', salt, 4096)
client = hmac.digest(salted, b'Client Key', 'sha256')
server = hmac.digest(salted, b'Server Key', 'sha256')
text = [base64.b64encode(b).decode() for b in (salt, hashlib.sha256(client).digest(), server)]
print('ann 4096', *text)
"""], capture_output=True, text=True, check=True).stdout


def log_in(uri, user, password):
    def answer(credentials, _):
        for credential in credentials:
            credential[4] = user if credential[0] == libvirt.VIR_CRED_AUTHNAME else password
        return 0

    kinds = [libvirt.VIR_CRED_AUTHNAME, libvirt.VIR_CRED_PASSPHRASE]
    return libvirt.openAuth(uri, [kinds, answer, None], 0)


def has_scram():
    return any(os.path.exists(f"{folder}/libscram.so.2") for folder in
               ("/usr/lib/x86_64-linux-gnu/sasl2", "/usr/lib/sasl2", "/usr/lib64/sasl2"))


@pytest.fixture
def sasl_daemon(start_lodged, tmp_path):
    credentials = tmp_path / "credentials"
    credentials.write_text(SCRAM_ENTRY)
    credentials.chmod(0o600)
    return start_lodged(config=f'auth_unix_rw = "sasl"\nsasl_file = "{credentials}"\n')


def test_nothing_is_allowed_without_the_password(sasl_daemon):
    with sasl_daemon.client() as client:
        assert client.call("AUTH_LIST")["types"] == [1]
        for name in ("CONNECT_OPEN", "CONNECT_GET_TYPE", "AUTH_POLKIT"):
            with pytest.raises(rpc.RpcError):
                client.call(name)


@pytest.mark.skipif(not has_scram(), reason="cyrus-sasl's SCRAM is not installed")
def test_libvirts_client_logs_in_by_scram(sasl_daemon):
    connection = log_in(sasl_daemon.uri, "ann", "pencil")
    assert connection.getType() == "QEMU"
    connection.close()
    for user, password in (("ann", "pen"), ("bob", "pencil")):
        with pytest.raises(libvirt.libvirtError) as caught:
            log_in(sasl_daemon.uri, user, password)
        assert caught.value.get_error_code() == libvirt.VIR_ERR_AUTH_FAILED


def guess(client, word):
    """Begins SCRAM and ends it with a proof that is wrong. The serial: the answer is not waited for."""
    first = client.call("AUTH_SASL_START", mech="SCRAM-SHA-256", nil=0, data=b"n,,n=ann,r=" + word)
    nonce = bytes(first["data"]).split(b",")[0]
    return client.start("AUTH_SASL_STEP", nil=0, data=b"c=biws," + nonce + b",p=" + base64.b64encode(bytes(32)))


def test_who_guesses_passwords_waits_for_each_answer(sasl_daemon):
    started = time.monotonic()
    with sasl_daemon.client() as client:
        serial = guess(client, b"abcdefgh")
        with pytest.raises(rpc.RpcError) as caught:
            client.wait(serial, "AUTH_SASL_STEP")
        assert caught.value.code == 45
        assert time.monotonic() - started >= 2  # what it must be at least
        with pytest.raises(ConnectionError):  # and that was the only guess
            client.call("AUTH_LIST")


def test_guesses_that_wait_for_answers_use_up_connections(start_lodged, tmp_path):
    credentials = tmp_path / "credentials"
    credentials.write_text(SCRAM_ENTRY)
    credentials.chmod(0o600)
    daemon = start_lodged(config=f'auth_unix_rw = "sasl"\nsasl_file = "{credentials}"\nmax_anonymous_clients = 3\n')
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            guess(stack.enter_context(daemon.client()), b"abcdefgh")
        with pytest.raises(ConnectionError):
            with daemon.client() as fourth:
                fourth.call("AUTH_LIST")
    # Guessers that leave give their places back.
    deadline = time.monotonic() + 30 * PATIENCE
    while True:
        try:
            with daemon.client() as client:
                assert client.call("AUTH_LIST")["types"] == [1]
                return
        except ConnectionError:
            assert time.monotonic() < deadline


def virt_admin(daemon, *words):
    uri = f"libvirtd:///session?socket={daemon.socket}-admin"
    return subprocess.run(["virt-admin", "-c", uri, *words], capture_output=True, text=True,
                          timeout=30 * PATIENCE, check=False)


def listed_clients(daemon):
    lines = virt_admin(daemon, "client-list", "lodged").stdout.splitlines()
    return {int(line.split()[0]) for line in lines if line.split()[:1] and line.split()[0].isdigit()}


def test_virt_admin_sees_and_closes_clients(lodged):
    assert "lodged" in virt_admin(lodged, "server-list").stdout
    limits = virt_admin(lodged, "server-clients-info", "lodged").stdout
    assert "nclients_max" in limits and "5000" in limits
    before = listed_clients(lodged)  # of earlier tests, too
    with lodged.client().open() as client:
        ours = str(min(listed_clients(lodged) - before))  # virt-admin itself came later
        assert "unix_process_id" in virt_admin(lodged, "client-info", "lodged", ours).stdout
        assert virt_admin(lodged, "client-disconnect", "lodged", ours).returncode == 0
        with pytest.raises(ConnectionError):
            while True:
                client.receive()
