"""lodge proves who the user is: files of credentials, questions on a terminal, over unix sockets, TCP and TLS (15 s).

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import re
import shutil
import socket
import subprocess
import time

import pytest

import libvirtd as peer
from lodged import BUILD, Lodged
from patience import PATIENCE
from terminal import Terminal

LODGE = os.path.join(BUILD, "bin", "lodge")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def users(tmp_path):
    path = tmp_path / "passwd"
    subprocess.run([LODGE, "passwd", "--file", str(path), "ann"], input="pencil\n", text=True, check=True, capture_output=True)
    return path


@pytest.fixture
def start(tmp_path, users):
    """A daemon that asks for names and passwords, by a port of its own too."""
    running = []

    def daemon(more=""):
        root = tmp_path / "root"
        root.mkdir()
        port = free_port()
        (root / "lodged.conf").write_text(f'auth_unix_rw = "sasl"\nsasl_file = "{users}"\nlisten_tcp = 1\ntcp_port = "{port}"\n'
                                          f'listen_addr = "127.0.0.1"\n{more}')
        running.append(Lodged(str(root), "--config", str(root / "lodged.conf")))
        running[0].tcp = f"qemu+tcp://127.0.0.1:{port}/session"
        return running[0]
    yield daemon
    for one in running:
        one.stop()


def lodge(uri, *words, home, **variables):
    """lodge as of a user without any file of credentials but those below @home."""
    env = dict(os.environ, HOME=str(home), XDG_CONFIG_HOME=str(home / "config"), **variables)
    env.pop("LIBVIRT_AUTH_FILE", None)
    return subprocess.run([LODGE, "-c", uri, *words], env={**env, **variables}, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=60 * PATIENCE, check=False)


def credentials(path, host="localhost", user="ann", password="pencil"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"[credentials-one]\nauthname={user}\npassword={password}\n\n[auth-libvirt-{host}]\ncredentials=one\n")
    return path


def test_the_file_that_the_uri_names_is_used(start, tmp_path):
    daemon = start()
    for host, uri in (("localhost", daemon.uri + "&"), ("127.0.0.1", daemon.tcp + "?"), ("default", daemon.tcp + "?")):
        path = credentials(tmp_path / f"auth-{host}", host)
        done = lodge(f"{uri}authfile={path}", "uri", home=tmp_path)
        assert done.returncode == 0 and "/session" in done.stdout, done.stderr


@pytest.mark.parametrize("place", ["config/lodge/auth.conf", "config/libvirt/auth.conf", "named"])
def test_files_are_found_in_their_usual_places(start, tmp_path, place):
    daemon = start()
    path = credentials(tmp_path / place)
    named = {"LIBVIRT_AUTH_FILE": str(path)} if place == "named" else {}
    done = lodge(daemon.uri, "uri", home=tmp_path, **named)
    assert done.returncode == 0, done.stderr


def test_without_credentials_the_user_is_told_where_they_go(start, tmp_path):
    done = lodge(start().uri, "uri", home=tmp_path)
    assert done.returncode == 1 and "~/.config/lodge/auth.conf" in done.stderr and "authfile=" in done.stderr


@pytest.mark.parametrize("user, password", [("ann", "paper"), ("eve", "pencil")])
def test_wrong_credentials_are_refused(start, tmp_path, user, password):
    path = credentials(tmp_path / "auth", user=user, password=password)
    done = lodge(f"{start().uri}&authfile={path}", "uri", home=tmp_path)
    assert done.returncode == 1 and "authentication failed" in done.stderr


@pytest.mark.parametrize("text, told", [
    ("no section\n", "auth"), ("[auth-libvirt-localhost]\ncredentials=none\n", "[credentials-none], which is not there"),
    ("[auth-libvirt-localhost]\n", "credentials"), (None, "No such file"),
], ids=["garbage", "dangling", "nameless", "absent"])
def test_a_file_that_is_no_use_is_named(start, tmp_path, text, told):
    path = tmp_path / "auth"
    if text is not None:
        path.write_text(text)
    done = lodge(f"{start().uri}&authfile={path}", "uri", home=tmp_path)
    assert done.returncode == 1 and f"cannot use the credentials in '{path}'" in done.stderr and told in done.stderr


def test_a_user_of_the_uri_needs_a_password_of_their_own(start, tmp_path):
    path = credentials(tmp_path / "auth", "default", user="eve")
    done = lodge(f"{start().tcp.replace('//', '//ann@')}?authfile={path}", "uri", home=tmp_path)
    assert done.returncode == 1 and "asks for a user's name and password" in done.stderr


def ask(uri, home, *answers, wait=lambda: None):
    env = {"HOME": str(home), "XDG_CONFIG_HOME": str(home / "config")}
    terminal = Terminal([LODGE, "-c", uri, "uri"], env)
    for prompt, answer in zip(("User name for the daemon of", "Password for the daemon of"), answers):
        terminal.expect(prompt)
        wait()
        terminal.type(answer + "\r")
    return terminal.end(), terminal.text


def test_a_terminal_is_asked_and_does_not_show_the_password(start, tmp_path):
    status, text = ask(start().uri, tmp_path, "ann", "pencil")
    assert status == 0 and "/session" in text and "pencil" not in text


def test_who_types_slowly_comes_in_all_the_same(start, tmp_path):
    """The daemon ends a connection that does not log in within a second: there is a second one."""
    daemon = start("login_timeout = 1\n")
    before = daemon.count_fds()

    def until_it_hangs_up():
        deadline = time.monotonic() + 60 * PATIENCE
        while daemon.count_fds() > before:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    status, text = ask(daemon.tcp, tmp_path, "ann", "pencil", wait=until_it_hangs_up)
    assert status == 0 and "/session" in text


def test_who_types_the_wrong_password_is_refused(start, tmp_path):
    status, text = ask(start().uri, tmp_path, "ann", "paper")
    assert status == 1 and "authentication failed" in text


def test_tcp_without_authentication_is_warned_of_and_serves_virsh(start, tmp_path):
    daemon = start('auth_tcp = "none"\n')
    assert "anybody who reaches port" in daemon.read_log()
    assert lodge(daemon.tcp, "uri", home=tmp_path).returncode == 0
    if shutil.which("virsh"):
        done = subprocess.run(["virsh", "-c", daemon.tcp, "uri"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.fixture
def real():
    """libvirtd that asks for names and passwords by cyrus-sasl."""
    if not peer.find() or not shutil.which("saslpasswd2"):
        pytest.skip("libvirtd or saslpasswd2 (sasl2-bin) is not installed")

    def prepare(folder):
        with open(os.path.join(folder, "libvirt.conf"), "w", encoding="utf-8") as file:
            file.write(f"mech_list: scram-sha-256\nsasldb_path: {folder}/users\n")
        subprocess.run(["saslpasswd2", "-p", "-c", "-f", f"{folder}/users", "-a", "libvirt", "ann"], input="pencil\n",
                       text=True, check=True)
        return {"SASL_CONF_PATH": folder}
    daemon = peer.Libvirtd('auth_unix_rw = "sasl"\n', prepare, probe=lambda d: os.path.exists(d.socket))
    yield daemon
    daemon.stop()


def test_libvirtd_lets_lodge_in_by_its_own_rules(real, tmp_path):
    for password, status in (("pencil", 0), ("paper", 1)):
        path = credentials(tmp_path / f"auth-{password}", password=password)
        done = lodge(f"{real.uri}&authfile={path}", "uri", home=tmp_path)
        assert done.returncode == status and ("authentication failed" in done.stderr) == bool(status), done.stderr


@pytest.mark.parametrize("line", ['auth_tcp = "polkit"', 'listen_tls = 1\nauth_tls = "polkit"'])
def test_polkit_is_refused_over_the_network(start, line):
    with pytest.raises(AssertionError, match='cannot be "polkit"'):
        start(line + "\n")


def test_no_port_is_open_unless_asked_for(lodged):
    listening = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=False).stdout
    assert not re.search(rf"pid={lodged.process.pid}\b", listening)


@pytest.mark.parametrize("uri, told", [
    ("qemu+tcp://127.0.0.1:1/system", "cannot connect to '127.0.0.1' port 1: Connection refused"),
    ("qemu+tls://127.0.0.1:1/system?pkipath=/nowhere", "/nowhere/cacert.pem"),
    ("qemu+ssh://127.0.0.1/system?command=/nowhere/ssh", "/nowhere/ssh"),
    ("qemu+tcp:///system", "no host is named"), ("qemu+udp://h/system", "+unix, +tls, +tcp or +ssh"),
])
def test_a_way_that_leads_nowhere_is_named(tmp_path, uri, told):
    done = lodge(uri, "uri", home=tmp_path)
    assert done.returncode == 1 and told in done.stderr
