"""What people see on a terminal: top, the shell, completion, colours, run and its removal, doctor (20 s).

SPDX-License-Identifier: GPL-2.0-or-later
"""
import json
import os
import shutil
import signal
import subprocess
import termios
import time

import pytest

import images
from lodged import BUILD, TOP
from patience import PATIENCE
from terminal import Terminal

LODGE = os.path.join(BUILD, "bin", "lodge")
COMPLETION = os.path.join(TOP, "packaging", "completion")


@pytest.fixture(scope="module")
def kernel():
    return images.image(BUILD, "fetch-kernel")


@pytest.fixture(scope="module")
def guests(lodged, kernel):
    """Two paused guests with a disk and an interface each."""
    for name in ("alpha", "beta"):
        disk = os.path.join(lodged.root, name + ".img")
        with open(disk, "wb") as file:
            file.truncate(1 << 20)
        path = os.path.join(lodged.root, name + ".xml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"""<domain type='qemu'><name>{name}</name><memory unit='MiB'>128</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type><kernel>{kernel}</kernel></os><devices><console type='pty'/>
<disk type='file'><driver name='qemu' type='raw'/><source file='{disk}'/><target dev='vda' bus='virtio'/></disk>
<interface type='user'><mac address='52:54:00:11:22:33'/><model type='virtio'/></interface></devices></domain>""")
        lodged.lodge("create", path, "--paused")
    yield
    for name in ("alpha", "beta"):
        lodged.lodge("destroy", name, check=False)


def test_top_takes_keys_and_sizes(lodged, guests):
    top = Terminal(lodged.lodge_command("top"))
    top.expect(r"\x1b\[\?1049h.*2 guests running.*alpha.*beta")
    for key in "mnda":
        top.type(key)
        top.expect(r"2 guests running.*alpha.*beta")
    before = termios.tcgetattr(top.fd)[3]
    assert not before & termios.ECHO
    top.resize(7, 80)  # room for two rows
    top.expect(r"2 guests running.*alpha.*beta")
    top.type("q")
    assert top.end() == 0
    assert "\x1b[?1049l" in top.text


def test_top_puts_the_terminal_back_when_it_is_ended(lodged, guests):
    top = Terminal(lodged.lodge_command("top"))
    top.expect("2 guests running")
    os.kill(top.pid, signal.SIGTERM)
    top.expect(r"\x1b\[\?1049l")
    top.end()


def test_the_shell_completes_and_remembers(lodged, guests, tmp_path):
    env = {"XDG_CACHE_HOME": str(tmp_path)}
    shell = Terminal(lodged.lodge_command(), env)
    shell.expect("lodge # ")
    # What was completed is seen by what the line then does.
    shell.type("domsta\te alp\t\n")
    shell.expect("paused")
    shell.type("domblkstat alpha vd\t\n")
    shell.expect("vda rd_req")
    shell.type("quit\n")
    assert shell.end() == 0
    again = Terminal(lodged.lodge_command(), env)
    again.expect("lodge # ")
    again.type("\x1b[A\x1b[A\x1b[A\n")  # quit, domblkstat, domstate
    again.expect(r"state alpha.*paused")
    again.expect("lodge # ")
    again.type("quit\n")
    assert again.end() == 0
    with open(tmp_path / "lodge" / "history", encoding="utf-8") as file:
        assert "domblkstat" in file.read()


def bash_offers(line, lodge=LODGE):
    """What bash would offer: COMP_WORDS as it makes them, taken apart at spaces and colons."""
    script = f"""source {COMPLETION}/lodge.bash
COMP_LINE=$1 COMP_POINT=${{#1}}
read -ra COMP_WORDS <<<"${{1//:/ : }}"
[[ $1 == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_lodge; printf '%s\\n' "${{COMPREPLY[@]}}" """
    done = subprocess.run(["bash", "-c", script, "bash", line.replace("lodge ", lodge + " ", 1)],
                          capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_bash_completes(lodged, guests):
    assert {"domstate", "domstats"} <= set(bash_offers("lodge domst"))
    assert bash_offers("lodge domstate --r") == ["--reason"]
    at = f"lodge -c {lodged.uri} "
    assert bash_offers(at + "domstate al") == ["alpha"]
    assert sorted(bash_offers(at + "destroy ")) == ["alpha", "beta"]
    assert bash_offers(at + "domblkstat alpha ") == ["vda"]
    assert bash_offers(at + "domif-getlink alpha 52:54:0") == ["00:11:22:33"]
    assert "lifecycle" in bash_offers("lodge event --event life")
    assert bash_offers("lodge nonesuch x") == []


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
def test_zsh_completes(lodged, guests, tmp_path):
    (tmp_path / "_lodge").write_bytes(open(os.path.join(COMPLETION, "lodge.zsh"), "rb").read())
    (tmp_path / "lodge").symlink_to(LODGE)
    zsh = Terminal(["zsh", "-f"], {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path), "PS1": "READY> "})
    zsh.expect("READY> ")
    zsh.type(f"fpath=({tmp_path} $fpath); autoload -Uz compinit; compinit -u -D; PS1='GO> '\n")
    zsh.expect(r"GO> \x1b\[K")
    zsh.type(f"lodge -c '{lodged.uri}' domstate alp\t")
    zsh.expect("alpha")
    zsh.type("\n")
    zsh.expect("paused")
    zsh.type("exit\n")
    zsh.end()


def test_a_near_command_is_offered(lodged):
    assert "did you mean 'start'?" in lodged.lodge("strat", "x", check=False).stderr
    assert "did you mean 'start'?" in lodged.lodge("help", "strat", check=False).stderr
    assert "did you mean" not in lodged.lodge("xyzzyxyzzy", check=False).stderr


def test_a_near_guest_is_offered(lodged, guests):
    said = lodged.lodge("start", "alhpa", check=False).stderr
    assert "failed to get domain 'alhpa'; did you mean 'alpha'?" in said
    assert "did you mean" not in lodged.lodge("start", "xyzzyxyzzy", check=False).stderr


@pytest.mark.parametrize("env, expected", [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_on_terminals_unless_refused(lodged, env, expected):
    terminal = Terminal(lodged.lodge_command("start", "nope"), env)
    assert terminal.end() == 1
    assert ("\x1b[" in terminal.text) == expected
    assert "failed to get domain 'nope'" in terminal.text


def test_a_run_that_is_ended_leaves_no_guest(lodged, kernel):
    command = lodged.lodge_command("run", "--kernel", kernel, "--memory", "128", "--name", "brief", "--append", "console=ttyS0")
    for ended in (signal.SIGTERM, signal.SIGHUP):
        run = Terminal(command)
        run.expect("Linux version", 300)
        os.kill(run.pid, ended)
        run.end()
        deadline = time.monotonic() + 30 * PATIENCE
        while "brief" in lodged.lodge("list", "--all", "--name").stdout:
            assert time.monotonic() < deadline, "the guest is still there"


def test_rm_all_removes_all(start_daemon, kernel):
    daemon = start_daemon()
    for name in ("one", "two"):
        daemon.lodge("run", "--kernel", kernel, "--memory", "128", "--detach", "--name", name)
    assert "--force" in daemon.lodge("rm", "--all", check=False).stderr
    daemon.lodge("rm", "--all", "--force")
    assert daemon.lodge("list", "--all", "--name").stdout.strip() == ""
    assert json.loads(daemon.lodge("ls", "--json").stdout) == []


def test_ls_json_names_each_guest(lodged, guests):
    rows = {row["name"]: row for row in json.loads(lodged.lodge("ls", "--json").stdout)}
    assert rows["alpha"]["state"] == "paused" and isinstance(rows["alpha"]["id"], int)
