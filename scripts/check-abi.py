#!/usr/bin/env python3
"""Compares liblodge's binary interface with the committed table src/client/lodge.abi.

Usage: scripts/check-abi.py [--header FILE] [--library FILE] [--table FILE] [--update]

The table has a line for each function (with the version it is exported by), each member of a struct (offset and size),
each size and each enumerator. What it has must stay: programs were built with it. --update adds what is new, and still
refuses what changed.
SPDX-License-Identifier: GPL-2.0-or-later
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Structs that callers allocate: not even a member at the end may be added.
FIXED = {"LodgeNodeInfo"}


def strip_comments(text):
    return re.sub(r"/\*.*?\*/", "", text, flags=re.S)


def functions(header):
    """Name to declaration, white space apart."""
    found = {}
    for text in re.findall(r"^[a-zA-Z][^;{#]*\b(?=lodge_)[^;{#]*;", header, re.M):
        if not text.startswith("typedef"):
            found[re.search(r"\b(lodge_\w+)\(", text).group(1)] = " ".join(text.rstrip(";").split())
    return found


def callbacks(header):
    return {name: " ".join(text.split()) for text, name in
            re.findall(r"^(typedef [^;{#]*\(\*(\w+)\)[^;{#]*);", header, re.M)}


def members(body):
    """Each member of a struct's body with its declaration."""
    for text in body.split(";"):
        kind, _, names = " ".join(text.split()).rpartition(" ") if "," not in text else \
            (text.split()[0], "", " ".join(text.split()[1:]))
        for name in names.split(","):
            bare = re.search(r"\w+", name)
            if bare:
                yield bare.group(0), f"{kind} {name.strip()}"


def enumerators(body):
    return [part.split("=")[0].strip() for part in body.split(",") if part.strip()]


def layout(path, header):
    """Lines about structs and enumerators, from a program that the compiler measures them by."""
    lines = []
    for body, name in re.findall(r"typedef struct \w+ \{(.*?)\} (\w+);", header, re.S):
        lines.append(f'printf("size {name} %zu\\n", sizeof({name}));')
        for member, text in members(body):
            lines.append(f'printf("member {name}.{member} at %zu, %zu bytes: {text}\\n", offsetof({name}, {member}), '
                         f"sizeof((({name} *)0)->{member}));")
    for body, name in re.findall(r"typedef enum \w+ \{(.*?)\} (\w+);", header, re.S):
        for enumerator in enumerators(body):
            lines.append(f'printf("enumerator {name} {enumerator} %lld\\n", (long long){enumerator});')
    with tempfile.TemporaryDirectory() as folder:
        source, program = os.path.join(folder, "layout.c"), os.path.join(folder, "layout")
        with open(source, "w", encoding="utf-8") as file:
            file.write(f'#include "{os.path.abspath(path)}"\n#include <stddef.h>\n#include <stdio.h>\n'
                       "int main(void)\n{\n" + "\n".join(lines) + "\nreturn 0;\n}\n")
        subprocess.run([os.environ.get("CC", "cc"), "-o", program, source], check=True)
        return subprocess.check_output([program], text=True).splitlines()


def exported(library):
    """Name to version of what the library exports."""
    text = subprocess.check_output(["nm", "-D", "--defined-only", library], text=True)
    return dict(line.split()[2].split("@@") for line in text.splitlines() if " T " in line)


def interface(header_path, library):
    with open(header_path, encoding="utf-8") as file:
        header = strip_comments(file.read())
    versions = exported(library)
    lines = [f"function {versions.get(name, 'not exported')} {text}" for name, text in functions(header).items()]
    lines += [f"function {version} {name} without declaration" for name, version in versions.items()
              if name not in functions(header)]
    lines += [f"callback {text}" for text in callbacks(header).values()]
    return sorted(lines + layout(header_path, header))


def broken(old, new):
    """Lines of the table that hold no longer. A struct that the library allocates may grow."""
    sizes = {line.split()[1]: int(line.split()[2]) for line in new if line.startswith("size ")}
    for line in sorted(set(old) - set(new)):
        kind, name, *rest = line.split()
        if not (kind == "size" and name not in FIXED and sizes.get(name, 0) > int(rest[0])):
            yield line


def main():
    parser = argparse.ArgumentParser()
    build = os.environ.get("LODGE_BUILD", os.path.join(TOP, "build"))
    parser.add_argument("--header", default=os.path.join(TOP, "src", "client", "lodge.h"))
    parser.add_argument("--library", default=os.path.join(build, "src", "client", "liblodge.so.0"))
    parser.add_argument("--table", default=os.path.join(TOP, "src", "client", "lodge.abi"))
    parser.add_argument("--update", action="store_true")
    options = parser.parse_args()
    new = interface(options.header, options.library)
    old = []
    if os.path.exists(options.table):
        with open(options.table, encoding="utf-8") as file:
            old = [line.rstrip("\n") for line in file if not line.startswith("#")]
    failed = False
    for line in broken(old, new):
        print(f"changed or gone, which breaks programs that were built with it: {line}")
        failed = True
    if options.update and not failed:
        with open(options.table, "w", encoding="utf-8") as file:
            file.write("# liblodge's binary interface; made and checked by scripts/check-abi.py.\n" + "\n".join(new) + "\n")
        return 0
    for line in sorted(set(new) - set(old)):
        if not failed:
            print(f"not in the table (scripts/check-abi.py --update adds it): {line}")
    return 1 if failed or set(new) != set(old) else 0


if __name__ == "__main__":
    sys.exit(main())
