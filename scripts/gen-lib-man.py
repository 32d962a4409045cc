#!/usr/bin/env python3
"""Makes liblodge(3) and a page for each function from the comments of its header.

Usage: scripts/gen-lib-man.py HEADER FOLDER     FOLDER: where the pages go
       scripts/gen-lib-man.py --list HEADER     the names of the pages
SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import re
import sys

HEAD = r""".\" Made from lodge.h by scripts/gen-lib-man.py.
.TH {title} 3
.SH NAME
{name} \- {summary}
.SH SYNOPSIS
.B #include <lodge.h>
.PP
"""
BUILD = "cc program.c $(pkg\\-config \\-\\-cflags \\-\\-libs lodge)\n"
# By the first word of a declaration: what comes back where the comment does not say.
RETURNS = {
    "int": "0 or more; \\-1 with *\\fIerror\\fR set when it failed.",
    "char *": "A string to be freed by\n.BR lodge_free (3),\nor NULL with *\\fIerror\\fR set.",
    "LodgeConnection *": "A connection to be ended by\n.BR lodge_close (3),\nor NULL with *\\fIerror\\fR set.",
    "LodgeDomain *": "A handle to be freed by\n.BR lodge_domain_free (3),\nor NULL with *\\fIerror\\fR set.",
    "LodgeDomain **": "An array to be freed by\n.BR lodge_domains_free (3),\nor NULL with *\\fIerror\\fR set.",
    "LodgeStream *": "A stream to be freed by\n.BR lodge_stream_free (3),\nor NULL with *\\fIerror\\fR set.",
}


def roff(text):
    """Escapes what roff would take for its own."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    text = re.sub(r"(?<!\w)@(\w+)", r"\\fI\1\\fR", text)
    return "\\&" + text if text.startswith((".", "'")) else text


def comment_lines(comment):
    """A comment's lines without its stars; "" parts paragraphs."""
    body = re.sub(r"^/\*+|\*/$", "", comment.strip())
    lines = [re.sub(r"^\s*\* ?", "", line).strip() for line in body.strip().splitlines()]
    return [line for line in lines if "SPDX-License-Identifier" not in line]


class Item:
    """A declaration with its comment."""

    def __init__(self, section, comment, text):
        self.section, self.text = section, text
        self.function = None
        found = re.match(r"(.*?[ *])(lodge_\w+)\(", text, re.S)
        if found and not text.startswith("typedef"):
            self.kind, self.function = found.group(1).strip(), found.group(2)
        lines = comment_lines(comment) if comment else []
        self.summary, self.arguments, self.returns = "", [], []
        if lines and self.function and lines[0].startswith(self.function + " - "):
            self.summary = lines.pop(0)[len(self.function) + 3:]
            while lines and lines[0] and not lines[0].startswith("@"):
                self.summary += " " + lines.pop(0)
        self.body = self.take(lines)

    def type_name(self):
        """The type that it spells out; None: none."""
        name = re.search(r"\} (\w+);$|\(\*(\w+)\)", self.text) if self.text.startswith("typedef") else None
        return name and (name.group(1) or name.group(2))

    def take(self, lines):
        """Moves arguments and the paragraph about the result out of @lines."""
        body, target = [], None
        for line in lines:
            if self.function and re.match(r"@\w+:", line):
                target = [line]
                self.arguments.append(target)
            elif self.function and line.startswith("Returns "):
                target = [line[len("Returns "):][0].upper() + line[len("Returns "):][1:]]
                self.returns.append(target)
            elif line == "" or target is None:
                target = None
                body.append(line)
            else:
                target.append(line)
        return body


def items(header):
    """Each declaration with the section it stands in; the header's own comment comes first."""
    tokens = re.findall(r"/\*.*?\*/|typedef (?:struct|enum) \w+ \{.*?\} \w+;|^[a-zA-Z][^;{#]*;", header, re.S | re.M)
    yield Item("", tokens[0], "")
    section, comment = "errors and memory", None
    for token in tokens[1:]:
        heading = re.fullmatch(r"/\* --- (.*) --- \*/", token)
        if heading:
            section = heading.group(1)
        elif token.startswith("/*"):
            comment = token
        else:
            yield Item(section, comment, token)
            comment = None


def paragraphs(lines):
    text = "\n".join(roff(line) if line else ".PP" for line in lines)
    return re.sub(r"^(\.PP\n)+|(\n\.PP)+$", "", text)


def declaration(text):
    return ".nf\n" + "\n".join(roff(line) for line in text.splitlines()) + "\n.fi\n"


def overview(found):
    """liblodge(3): the conventions, the types, and a line for each function."""
    text = HEAD.format(title="LIBLODGE", name="liblodge", summary="manage virtual machines from C") + BUILD
    text += ".SH DESCRIPTION\n" + paragraphs(found[0].body) + "\n"
    section = ""
    for item in found[1:]:
        if item.section != section:
            section = item.section
            text += f".SH {section.upper()}\n"
        if item.function:
            text += f".TP\n.BR {item.function} (3)\n{roff(item.summary)}\n"
        else:
            text += ".PP\n" + declaration(item.text)
            if item.body:
                text += ".RS\n" + paragraphs(item.body) + "\n.RE\n"
    return text + ".SH SEE ALSO\n.BR lodge (1),\n.BR lodged (8)\n"


def page(item, found):
    """The page of one function, with the types of ours that it takes."""
    text = HEAD.format(title=item.function.upper(), name=item.function, summary=roff(item.summary).rstrip("."))
    text += declaration(item.text)
    if item.arguments or any(item.body):
        text += ".SH DESCRIPTION\n"
        for lines in item.arguments:
            name, _, rest = lines[0].partition(":")
            text += f".TP\n.I {name[1:]}\n" + "\n".join(roff(line) for line in [rest.strip(), *lines[1:]]) + "\n"
        body = paragraphs(item.body)
        text += f".PP\n{body}\n" if body else ""
    if item.returns:
        text += ".SH RETURN VALUE\n" + paragraphs(item.returns[0]) + "\n"
    elif item.kind != "void":
        text += f".SH RETURN VALUE\n{RETURNS[item.kind]}\n"
    needed = item.text + str(item.arguments)
    for used in reversed(found[1:]):  # types stand before what uses them
        if used.type_name() not in (None, "LodgeError") and re.search(rf"\b{used.type_name()}\b", needed):
            needed += used.text
    for used in found[1:]:
        if used.text != item.text and used.text in needed:
            text += f".SH {used.type_name().upper()}\n" + declaration(used.text)
            text += ".PP\n" + paragraphs(used.body) + "\n" if used.body else ""
    return text + ".SH SEE ALSO\n.BR liblodge (3)\n"


def main():
    listing = sys.argv[1] == "--list"
    with open(sys.argv[2 if listing else 1], encoding="utf-8") as file:
        found = list(items(file.read()))
    if listing:
        print("\n".join(["liblodge.3", *(f"{item.function}.3" for item in found if item.function)]))
        return
    folder = sys.argv[2]
    with open(os.path.join(folder, "liblodge.3"), "w", encoding="utf-8") as file:
        file.write(overview(found))
    for item in found:
        if item.function:
            with open(os.path.join(folder, f"{item.function}.3"), "w", encoding="utf-8") as file:
                file.write(page(item, found))


if __name__ == "__main__":
    main()
