#!/usr/bin/env python3
"""Makes liblodge(3) from the comments of its header.

Usage: scripts/gen-lib-man.py HEADER OUTPUT
SPDX-License-Identifier: GPL-2.0-or-later
"""
import re
import sys

HEAD = r""".\" Made from lodge.h by scripts/gen-lib-man.py.
.TH LIBLODGE 3
.SH NAME
liblodge \- manage virtual machines from C
.SH SYNOPSIS
.B #include <lodge.h>
.PP
cc program.c $(pkg\-config \-\-cflags \-\-libs lodge)
.SH DESCRIPTION
"""
FOOT = r""".SH SEE ALSO
.BR lodge (1),
.BR lodged (8)
"""


def roff(text):
    """Escapes what roff would take for its own."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text.startswith((".", "'")) else text


def comment_lines(comment):
    """A comment's lines without its stars."""
    body = re.sub(r"^/\*+|\*/$", "", comment.strip())
    lines = [re.sub(r"^\s*\* ?", "", line).rstrip() for line in body.splitlines()]
    return [line.strip() for line in lines if line.strip() and "SPDX-License-Identifier" not in line]


def page(header):
    """The header's first comment, then its sections with their declarations and comments."""
    tokens = re.findall(r"/\*.*?\*/|(?:typedef (?:struct|enum) \w+ \{.*?\} \w+;)|^[a-zA-Z][^;{#]*;",
                        header, re.S | re.M)
    yield from (roff(line) for line in comment_lines(tokens[0]) if line)
    pending = []
    for token in tokens[1:]:
        section = re.fullmatch(r"/\* --- (.*) --- \*/", token)
        if section:
            yield f".SH {section.group(1).upper()}"
        elif token.startswith("/*"):
            pending = comment_lines(token)
        else:
            text = re.sub(r"/\*(.*?)\*/", r"/*\1*/", token)
            yield ".PP\n.nf"
            yield from (roff(line) for line in text.splitlines())
            yield ".fi"
            if pending:
                yield ".RS"
                yield from (roff(line) for line in pending)
                yield ".RE"
            pending = []


def main():
    source, output = sys.argv[1:]
    with open(source, encoding="utf-8") as file:
        header = file.read()
    with open(output, "w", encoding="utf-8") as file:
        file.write(HEAD + "\n".join(page(header)) + "\n" + FOOT)


if __name__ == "__main__":
    main()
