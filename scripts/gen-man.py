#!/usr/bin/env python3
"""Makes the manual page of a program from its own -help, so that options are described in one place.

Usage: scripts/gen-man.py PROGRAM HEAD FOOT OUTPUT     HEAD and FOOT: roff text before and after the options
SPDX-License-Identifier: GPL-2.0-or-later
"""
import re
import subprocess
import sys

OPTION = re.compile(r"^(?: {2}-| {6}--)\S.*$")


def roff(text):
    """Escapes what roff would take for its own."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text.startswith((".", "'")) else text


def split_option(line):
    """An option's name and help where both stand on one line."""
    parts = re.split(r" {2,}", line.strip(), maxsplit=1)
    return parts[0], parts[1] if len(parts) > 1 else ""


def options(help_text):
    """The option part of -help as roff: sections, then one tagged paragraph each."""
    lines = help_text.splitlines()
    headings = (i for i, line in enumerate(lines) if line.endswith(":") and not line.startswith(" "))
    first = next(headings, None)
    if first is None:  # one list of options without headings
        first = next(i for i, line in enumerate(lines) if OPTION.match(line))
    for line in lines[first:]:
        if line and not line.startswith(" "):
            yield f".SS {roff(line.rstrip(':'))}"
        elif OPTION.match(line):
            name, text = split_option(line)
            yield f".TP\n.B {roff(name)}"
            if text:
                yield roff(text)
        elif line.strip():
            yield roff(line.strip())


def main():
    program, head, foot, output = sys.argv[1:]
    help_text = subprocess.check_output([program, "-help"], text=True)
    with open(head, encoding="utf-8") as file:
        text = file.read()
    text += "\n".join(options(help_text)) + "\n"
    with open(foot, encoding="utf-8") as file:
        text += file.read()
    with open(output, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main()
