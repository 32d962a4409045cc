"""lodge's commands and options are virsh's: compared with `virsh help` of the installed release.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import re
import shutil
import subprocess

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("LODGE_BUILD", os.path.join(TOP, "build"))
LODGE = os.path.join(BUILD, "bin", "lodge")
GROUPS = ["domain", "monitor", "events", "host"]

# Of containers, which no daemon of Lodge's has.
ABSENT = {"lxc-enter-namespace"}
# What lodge alone has.
OWN_OPTIONS = {"console": {"--resume"}}

pytestmark = pytest.mark.skipif(not shutil.which("virsh"), reason="virsh is not installed")


def commands(program, group):
    text = subprocess.run([program, "help", group], capture_output=True, text=True, check=True).stdout
    return {line.split()[0] for line in text.splitlines() if line.startswith("    ")}


def options(program, command):
    """Each option's name with the kind of its value: "", "string" or "number"."""
    text = subprocess.run([program, "help", command], capture_output=True, text=True, check=True).stdout
    found = {}
    for line in text.partition("  OPTIONS\n")[2].splitlines():
        match = re.match(r" {4}[\[{<]*(?:--)?([a-zA-Z0-9-]+)[\]>]*(?: <(string|number)>)?", line)
        if match and line.startswith(("    -", "    [", "    {", "    <")):
            found[match.group(1)] = match.group(2) or ("string" if "<" in line.split("  ")[2] else "")
    return found


@pytest.mark.parametrize("group", GROUPS)
def test_every_command_is_there(group):
    assert commands("virsh", group) - ABSENT <= commands(LODGE, group)


@pytest.mark.parametrize("group", GROUPS)
def test_every_option_is_there(group):
    wrong = {}
    for command in sorted(commands("virsh", group) - ABSENT):
        ours, theirs = options(LODGE, command), options("virsh", command)
        lacking = {name for name, kind in theirs.items() if name not in ours or bool(ours[name]) != bool(kind)}
        if lacking:
            wrong[command] = lacking
    assert not wrong


def said_of(*words):
    return subprocess.run([LODGE, *words], capture_output=True, text=True, check=False)


def test_what_lodge_lacks_of_virsh_is_said_to_be_virshs():
    every = subprocess.run(["virsh", "help"], capture_output=True, text=True, check=True).stdout
    names = {line.split()[0] for line in every.splitlines() if line.startswith("    ")}
    lacking = {name for name in names if said_of("help", name).returncode}
    assert {"net-list", "snapshot-create-as", "lxc-enter-namespace"} <= lacking
    for name in sorted(lacking):
        assert f"'{name}' is a command of virsh that lodge does not have yet" in said_of("help", name).stderr, name
    assert "does not manage storage pools" in said_of("pool-list", "--all").stderr
    assert "unknown command: 'net-lst'" in said_of("net-lst").stderr


def synopsis(program, command):
    """Words taken by position, in their order; what goes by its name alone, in any."""
    text = subprocess.run([program, "help", command], capture_output=True, text=True, check=True).stdout
    line = text.partition("  SYNOPSIS\n")[2].splitlines()[0].split(None, 1)
    # virsh marks repeated words in three ways: {[--cmd] <string>}..., [[--set] <string>]..., [<string>]...
    rest = re.sub(r"\{\[--([\w-]+)\] <string>\}\.\.\.", r"<\1>...", line[1] if len(line) > 1 else "")
    rest = re.sub(r"\[\[--([\w-]+)\] <string>\]\.\.\.", r"[<\1>]...", rest)
    words = re.findall(r"\[--[^][]*\]|\[<[\w-]+>\]\.\.\.|<[\w-]+>\.\.\.|<[\w-]+>|--[\w-]+ <\w+>", rest)
    assert " ".join(words) == rest.strip(), (command, rest)
    return [word for word in words if word.startswith("<")], {word for word in words if not word.startswith("<")}


@pytest.mark.parametrize("group", GROUPS)
def test_every_synopsis_is_virsh_s(group):
    """What must be given, what repeats, and in which order words are taken."""
    wrong = {}
    for command in sorted(commands("virsh", group) - ABSENT):
        ours, theirs = synopsis(LODGE, command), synopsis("virsh", command)
        if (ours[0], ours[1] - {f"[{name}]" for name in OWN_OPTIONS.get(command, ())}) != theirs:
            wrong[command] = ours, theirs
    assert not wrong


@pytest.mark.parametrize("words", [["start", "--help"], ["start", "--paused", "--help"], ["list", "--help", "--all"],
                                   ["start", "--frob", "--help"], ["help", "--help"]], ids=" ".join)
def test_every_command_explains_itself(words):
    """As virsh does, and without a daemon."""
    ours, theirs = (subprocess.run([program, *words], capture_output=True, text=True, check=False) for program in (LODGE, "virsh"))
    assert ours.returncode == theirs.returncode
    assert (f"  NAME\n    {words[0]} - " in ours.stdout) == (f"  NAME\n    {words[0]} - " in theirs.stdout)
    assert ours.stderr == theirs.stderr
