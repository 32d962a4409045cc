#!/usr/bin/env python3
"""Makes lodge(1) from the program's own table of commands: `lodge help` and `lodge help COMMAND`.

Usage: scripts/gen-cli-man.py LODGE HEAD FOOT OUTPUT     HEAD and FOOT: roff text before and after the commands
SPDX-License-Identifier: GPL-2.0-or-later
"""
import re
import subprocess
import sys


def roff(text):
    """Escapes what roff would take for its own."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text.startswith((".", "'")) else text


def sections(text):
    """The parts of a help text by their headings."""
    found, name = {}, None
    for line in text.splitlines():
        heading = re.match(r" {2}([A-Z]+)$", line)
        if heading:
            name = heading.group(1)
            found[name] = []
        elif name and line.strip():
            found[name].append(line.strip())
    return found


def command(program, name):
    """One command as a tagged paragraph: its synopsis, what it does, its options."""
    parts = sections(subprocess.check_output([program, "help", name], text=True))
    summary = parts["NAME"][0].partition(" - ")[2]
    yield f".TP\n.B {roff(' '.join(parts['SYNOPSIS']))}"
    yield roff(summary[0].upper() + summary[1:] + ".")
    for line in parts.get("DESCRIPTION", []):
        yield roff(line)
    for line in parts.get("OPTIONS", []):
        option, _, text = line.partition("  ")
        yield f".RS\n.TP\n.B {roff(option)}\n{roff(text.strip())}\n.RE"


def commands(program):
    for line in subprocess.check_output([program, "help"], text=True).splitlines():
        group = re.match(r" (.*) \(help keyword '(.*)'\):$", line)
        if group:
            yield f".SS {roff(group.group(1))}"
        elif line.startswith("    "):
            yield from command(program, line.split()[0])


def main():
    program, head, foot, output = sys.argv[1:]
    with open(head, encoding="utf-8") as file:
        text = file.read()
    text += "\n".join(commands(program)) + "\n"
    with open(foot, encoding="utf-8") as file:
        text += file.read()
    with open(output, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main()
