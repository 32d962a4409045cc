"""Other ways to the daemon: SASL, TLS, ssh, libvirt's own sockets, socket activation, session start (35 s).

SPDX-License-Identifier: GPL-2.0-or-later
"""
import getpass
import os
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from pathlib import Path

import libvirt
import pytest
import rpc
from conftest import BUILD
from patience import PATIENCE

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
                          capture_output=True, text=True, timeout=30 * PATIENCE, check=False)
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
        sock.settimeout(20 * PATIENCE)
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
                          capture_output=True, text=True, timeout=30 * PATIENCE, check=False)
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


def refused(root, *options, env=None):
    """What a daemon that cannot start says."""
    done = subprocess.run([os.path.join(BUILD, "bin", "lodged"), "--session", "--root", str(root), *options],
                          env=dict(os.environ, **(env or {})), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    return done.stderr


def test_a_second_daemon_on_one_root_leaves_the_first_ones_sockets(start_lodged, tmp_path):
    first = start_lodged()
    assert f"another lodged (pid {first.process.pid}) uses" in refused(first.root)
    for suffix in ("", "-ro", "-admin"):
        assert os.path.exists(first.socket + suffix)
    assert first.virsh("list").returncode == 0


def test_sockets_of_libvirts_daemon_are_left_to_it(tmp_path):
    folder = tmp_path / "libvirt"
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as theirs:
        theirs.bind(str(folder / "virtqemud-sock"))
        theirs.listen()
        said = refused(tmp_path / "root", "--libvirt-sockets", env={"XDG_RUNTIME_DIR": str(tmp_path)})
        assert f"another daemon listens on '{folder}/virtqemud-sock'" in said
        assert os.listdir(folder) == ["virtqemud-sock"]  # without those that lodged had bound


def test_a_socket_that_took_the_place_of_ours_stays(start_lodged):
    daemon = start_lodged()
    os.unlink(daemon.socket)
    with socket.socket(socket.AF_UNIX) as theirs:
        theirs.bind(daemon.socket)
        daemon.stop()
        assert os.listdir(os.path.dirname(daemon.socket)).count("lodge-sock") == 1
        assert not os.path.exists(daemon.socket + "-ro")


def test_sockets_of_systemd_are_taken(tmp_path):
    path = tmp_path / "root" / "run" / "lodge-sock-ro"
    path.parent.mkdir(parents=True)
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
    assert path.exists()  # systemd goes on to listen on it


# --- SASL, by Debian's virsh ---

AUTH_FAILED = 45
needs_scram = pytest.mark.skipif(not any(os.path.exists(f"{folder}/libscram.so.2") for folder in (
    "/usr/lib/x86_64-linux-gnu/sasl2", "/usr/lib/sasl2", "/usr/lib64/sasl2")), reason="cyrus-sasl's SCRAM is not installed")


def passwd(path, user, password, *words, check=True):
    return subprocess.run([os.path.join(BUILD, "bin", "lodge"), "passwd", "--file", str(path), user, *words],
                          input=f"{password}\n", capture_output=True, text=True, timeout=30 * PATIENCE, check=check)


def virsh(uri, *words, **options):
    return subprocess.run(["virsh", "-c", uri, *words], capture_output=True, text=True, timeout=60 * PATIENCE, check=False, **options)


def auth_file(folder, user, password):
    path = folder / f"auth-{user}-{password}"
    path.write_text(f"[credentials-c]\nauthname={user}\nusername={user}\npassword={password}\n"
                    "[auth-libvirt-localhost]\ncredentials=c\n[auth-libvirt-default]\ncredentials=c\n")
    return path


@pytest.fixture
def users(tmp_path):
    path = tmp_path / "passwd"
    passwd(path, "ann", "pencil")
    passwd(path, "bob", "paper")
    return path


@needs_scram
def test_virsh_logs_in_with_what_lodge_passwd_made(start_lodged, users, tmp_path):
    daemon = start_lodged(config=f'auth_unix_rw = "sasl"\nsasl_file = "{users}"\n')
    uri = daemon.uri + "&authfile="
    done = virsh(f"{uri}{auth_file(tmp_path, 'ann', 'pencil')}", "version")
    assert done.returncode == 0 and "Running hypervisor" in done.stdout, done.stderr
    for user, password in (("ann", "paper"), ("eve", "pencil")):
        refused = virsh(f"{uri}{auth_file(tmp_path, user, password)}", "uri")
        assert refused.returncode == 1 and "authentication failed" in refused.stderr
    assert (users.stat().st_mode & 0o777) == 0o600 and "pencil" not in users.read_text()


@needs_scram
def test_users_that_are_not_on_the_list_stay_outside(start_lodged, users, tmp_path):
    daemon = start_lodged(config=f'auth_unix_rw = "sasl"\nsasl_file = "{users}"\n'
                                 'sasl_allowed_username_list = [\n  "a*", # one\n  "carl"\n]\n'.replace(" # one", ""))
    uri = daemon.uri + "&authfile="
    assert virsh(f"{uri}{auth_file(tmp_path, 'ann', 'pencil')}", "uri").returncode == 0
    assert "authentication failed" in virsh(f"{uri}{auth_file(tmp_path, 'bob', 'paper')}", "uri").stderr


def test_passwords_are_changed_and_users_removed(users):
    before = users.read_text()
    passwd(users, "ann", "other")
    assert users.read_text() != before and users.read_text().count("ann ") == 1
    passwd(users, "bob", "", "--delete")
    assert "bob" not in users.read_text()
    assert "no user 'bob'" in passwd(users, "bob", "", "--delete", check=False).stderr
    assert passwd(users, "x y", "z", check=False).returncode == 1


# --- TLS: who may come in ---

def tls_config(pki, port, extra=""):
    return (f'listen_tls = 1\nlisten_addr = "127.0.0.1"\ntls_port = "{port}"\nca_file = "{pki}/cacert.pem"\n'
            f'cert_file = "{pki}/servercert.pem"\nkey_file = "{pki}/serverkey.pem"\n{extra}')


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("allowed, works", [
    ('["CN=client"]', True), ('[ "CN=nobody",\n  "CN=cl*" ]', True), ('["CN=other"]', False), ("[]", False),
], ids=("name", "glob", "other", "nobody"))
def test_certificates_names_decide_who_comes_in(start_lodged, pki, allowed, works):
    port = free_port()
    daemon = start_lodged(config=tls_config(pki, port, f"tls_allowed_dn_list = {allowed}\n"))
    done = virsh(f"qemu+tls://localhost:{port}/system?pkipath={pki}", "uri")
    assert (done.returncode == 0) == works, done.stderr
    assert works or "not on tls_allowed_dn_list" in daemon.read_log()


def test_the_administrator_sees_the_certificate_s_name(tls_daemon, pki):
    connection = libvirt.open(f"qemu+tls://localhost:{tls_daemon.port}/system?pkipath={pki}")
    uri = f"libvirtd:///session?socket={tls_daemon.socket}-admin"
    listed = subprocess.run(["virt-admin", "-c", uri, "client-list", "lodged"], capture_output=True, text=True, check=True)
    number = next(line.split()[0] for line in listed.stdout.splitlines() if " tls " in f" {line} ")
    info = subprocess.run(["virt-admin", "-c", uri, "client-info", "lodged", number], capture_output=True, text=True, check=True)
    assert "CN=client" in info.stdout
    connection.close()


def test_a_server_of_another_name_is_not_trusted(start_lodged, pki, tmp_path):
    for name in ("cacert.pem", "cacert-key.pem", "clientcert.pem", "clientkey.pem"):
        shutil.copy(pki / name, tmp_path)
    make_cert(tmp_path, "cacert", "server", "subjectAltName=DNS:elsewhere.example")
    port = free_port()
    start_lodged(config=tls_config(tmp_path, port))
    uri = f"qemu+tls://localhost:{port}/system?pkipath={pki}"
    assert "hostname" in virsh(uri, "uri").stderr or "owner" in virsh(uri, "uri").stderr
    assert virsh(uri + "&no_verify=1", "uri").returncode == 0


@needs_scram
def test_tls_carries_sasl(start_lodged, pki, users, tmp_path):
    port = free_port()
    start_lodged(config=tls_config(pki, port, f'auth_tls = "sasl"\nsasl_file = "{users}"\n'))
    uri = f"qemu+tls://localhost:{port}/system?pkipath={pki}&authfile="
    done = virsh(f"{uri}{auth_file(tmp_path, 'bob', 'paper')}", "uri")
    assert done.returncode == 0, done.stderr
    assert "authentication failed" in virsh(f"{uri}{auth_file(tmp_path, 'bob', 'x')}", "uri").stderr


# --- ssh, by a real sshd ---

@pytest.fixture(scope="module")
def sshd(tmp_path_factory):
    """Port and key of an sshd of the test's own, whose sessions find our helper."""
    program = shutil.which("sshd") or "/usr/sbin/sshd"
    if not os.path.exists(program) or os.geteuid() != 0:
        pytest.skip("sshd is not installed, or not root")
    folder = tmp_path_factory.mktemp("sshd")
    os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    (folder / "user.pub").rename(folder / "authorized")
    port = free_port()
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
        "StrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\nPasswordAuthentication no\n"
        f"SetEnv PATH={BUILD}/bin:/usr/bin:/bin\n")
    with subprocess.Popen([program, "-D", "-e", "-f", str(folder / "config")], stderr=subprocess.PIPE, text=True) as process:
        while "listening" not in process.stderr.readline():
            assert process.poll() is None
        yield port, folder / "user"
        process.terminate()


@pytest.mark.parametrize("proxy", ["native", "netcat", "auto"])
def test_virsh_comes_by_ssh(lodged, sshd, proxy):
    if proxy == "netcat" and not shutil.which("nc"):
        pytest.skip("nc is not installed")
    port, key = sshd
    done = virsh(f"qemu+ssh://{getpass.getuser()}@127.0.0.1:{port}/session?socket={lodged.socket}&keyfile={key}"
                 f"&no_verify=1&no_tty=1&proxy={proxy}", "uri")
    assert done.returncode == 0, done.stderr


def test_lodge_comes_by_ssh(lodged, sshd, tmp_path):
    port, key = sshd
    wrapper = tmp_path / "ssh"
    wrapper.write_text('#!/bin/sh\nexec ssh -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -q "$@"\n')
    wrapper.chmod(0o755)
    done = subprocess.run([os.path.join(BUILD, "bin", "lodge"), "-c", f"qemu+ssh://{getpass.getuser()}@127.0.0.1:{port}/session"
                           f"?socket={lodged.socket}&keyfile={key}&command={wrapper}", "version"],
                          capture_output=True, text=True, timeout=60 * PATIENCE, check=False)
    assert done.returncode == 0 and "lodge" in done.stdout.lower(), done.stderr


def test_a_daemon_that_does_not_run_is_told_by_ssh(sshd):
    port, key = sshd
    done = virsh(f"qemu+ssh://{getpass.getuser()}@127.0.0.1:{port}/session?socket=/nowhere/sock&keyfile={key}"
                 "&no_verify=1&no_tty=1", "uri")
    assert done.returncode == 1 and "/nowhere/sock" in done.stderr


# --- clients that know no URI of ours ---

@pytest.mark.skipif(os.geteuid() != 0, reason="needs a mount namespace")
def test_libvirts_default_paths_of_the_host(tmp_path):
    """In a mount namespace of its own: virsh without a URI, read-only virsh, virt-admin; a second daemon is refused."""
    script = f"""set -e
mkdir -p /run/libvirt && mount -t tmpfs none /run/libvirt
mkdir -p {tmp_path}/etc && echo 'libvirt_sockets = yes' > {tmp_path}/etc/lodged.conf
{BUILD}/bin/lodged --root {tmp_path} --daemon --pid-file {tmp_path}/pid
trap 'kill $(cat {tmp_path}/pid)' EXIT
virsh uri
virsh -r list --all
virsh -c qemu:///system version | grep 'Running hypervisor'
virt-admin server-list | grep lodged
ls /run/libvirt
! {BUILD}/bin/lodged --root {tmp_path}/second --libvirt-sockets 2> {tmp_path}/refused
"""
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, timeout=60 * PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "qemu:///system" in done.stdout and "virtqemud-sock-ro" in done.stdout
    assert "another daemon listens on '/run/libvirt/libvirt-sock'" in (tmp_path / "refused").read_text()


def wait_gone(path):
    deadline = time.monotonic() + 30 * PATIENCE
    while os.path.exists(path):
        assert time.monotonic() < deadline, f"{path} is still there"
        time.sleep(0.05)


def starter(tmp_path, program):
    """The daemon that clients start, with a shorter time to stay than they ask for."""
    path = tmp_path / "starter"
    path.write_text(f"#!/bin/sh\necho \"$@\" >> {tmp_path}/started\nexec {program} \"$@\" --timeout=2\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def nobody():
    """A folder of a user's that is not root, and what begins commands of this user's: libvirt's client starts no daemon for root."""
    folder = Path(tempfile.mkdtemp(prefix="lodge-session-"))
    prefix = []
    shutil.copy(os.path.join(BUILD, "bin", "lodged"), folder)
    shutil.copy(os.path.join(BUILD, "bin", "lodge-libvirtd"), folder)
    if os.geteuid() == 0:
        shutil.chown(folder, "nobody")
        prefix = ["setpriv", "--reuid=nobody", "--clear-groups"]
    yield folder, prefix
    shutil.rmtree(folder, ignore_errors=True)


def session_env(tmp_path, **variables):
    names = {name: str(tmp_path) for name in ("HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME")}
    return dict(os.environ, **names, **variables)


def test_libvirts_client_starts_the_session_s_daemon_which_leaves_again(nobody):
    folder, prefix = nobody
    (folder / "bin").mkdir()
    starter(folder, f"{folder}/lodge-libvirtd").rename(folder / "bin" / "libvirtd")
    env = session_env(folder, LIBVIRTD_PATH=str(folder / "bin"))
    command = [*prefix, "virsh", "-c", "qemu:///session", "uri"]
    for _ in range(2):
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60 * PATIENCE, check=False)
        assert done.returncode == 0 and done.stdout.strip() == "qemu:///session", done.stderr
    assert (folder / "started").read_text() == "--timeout=120\n", "the second client finds the first one's daemon"
    wait_gone(folder / "libvirt" / "libvirt-sock")


def test_lodge_starts_the_session_s_daemon_which_leaves_again(tmp_path):
    env = session_env(tmp_path, LODGED_PATH=str(starter(tmp_path, f"{BUILD}/bin/lodged")))
    command = [os.path.join(BUILD, "bin", "lodge"), "-c", "qemu:///session", "list", "--all"]
    subprocess.run(command, env=env, check=True, capture_output=True, timeout=60 * PATIENCE)
    subprocess.run(command, env=env, check=True, capture_output=True, timeout=60 * PATIENCE)
    assert len((tmp_path / "started").read_text().splitlines()) == 1
    wait_gone(tmp_path / "lodge" / "lodge-sock")


def test_virsh_reaches_a_daemon_that_systemd_starts(tmp_path):
    """Three sockets are handed over before anybody listens: what they are for is told by their names."""
    names = ("libvirt-sock", "libvirt-sock-ro", "libvirt-admin-sock")
    listeners = []
    for name in names:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(tmp_path / name))
        listener.listen()
        listeners.append(listener)
    child = os.fork()
    if child == 0:
        try:
            for number, fd in enumerate([os.dup(listener.fileno()) for listener in listeners]):
                os.dup2(os.dup(fd), 3 + number, inheritable=True)
            os.environ.update(LISTEN_FDS="3", LISTEN_PID=str(os.getpid()))
            os.execv(os.path.join(BUILD, "bin", "lodged"), ["lodged", "--session", "--root", str(tmp_path / "root")])
        finally:
            os._exit(1)
    try:
        uri = f"qemu+unix:///session?socket={tmp_path}"
        assert virsh(f"{uri}/libvirt-sock", "uri").returncode == 0
        (tmp_path / "net.xml").write_text("<domain/>")
        denied = virsh(f"{uri}/libvirt-sock-ro", "-r", "define", str(tmp_path / "net.xml"))
        assert denied.returncode == 1
        admin = subprocess.run(["virt-admin", "-c", f"libvirtd:///session?socket={tmp_path}/libvirt-admin-sock", "server-list"],
                               capture_output=True, text=True, timeout=30 * PATIENCE, check=False)
        assert "lodged" in admin.stdout, admin.stderr
        assert not (tmp_path / "root" / "run" / "lodge-sock").exists(), "systemd's sockets are all there are"
    finally:
        os.kill(child, 15)
        assert os.waitpid(child, 0)[1] == 0
    assert (tmp_path / "libvirt-sock").exists(), "they are systemd's to remove"


@pytest.mark.parametrize("abstract", [False, True], ids=["file", "abstract"])
def test_systemd_is_told_when_the_daemon_is_ready(tmp_path, abstract):
    name = f"@lodge-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name.replace("@", "\0"))
        manager.settimeout(60 * PATIENCE)
        env = dict(os.environ, NOTIFY_SOCKET=name)
        with subprocess.Popen([os.path.join(BUILD, "bin", "lodged"), "--session", "--root", str(tmp_path)], env=env,
                              stderr=subprocess.DEVNULL) as daemon:
            assert manager.recv(100) == b"READY=1"
            try:
                assert virsh(f"qemu+unix:///session?socket={tmp_path}/run/lodge-sock", "uri").returncode == 0
            finally:
                daemon.terminate()


def test_a_daemon_started_in_the_background_says_nothing_when_all_is_well(tmp_path):
    done = subprocess.run([os.path.join(BUILD, "bin", "lodged"), "--session", "--root", str(tmp_path), "--daemon", "--timeout=1"],
                          capture_output=True, text=True, timeout=60 * PATIENCE, check=True)
    assert done.stdout + done.stderr == ""
    assert "ready:" in (tmp_path / "log" / "lodged.log").read_text()
