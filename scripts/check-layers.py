#!/usr/bin/env python3
"""Checks the include rule: every #include in src/ against scripts/layers.toml.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import re
import sys
import tomllib

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]')
RING0_BANNED = ("glib", "gio/", "json-glib", "gmodule", "gobject")


def owner(path, folders):
    """The most specific folder of the table that holds @path (relative to src/)."""
    folder = os.path.dirname(path)
    while folder and folder not in folders:
        folder = os.path.dirname(folder)
    return folder


def is_below(folder, ancestors):
    return any(folder == a or folder.startswith(a + "/") for a in ancestors)


def complaint(folder, row, libs, kind, name, folders):
    """What is wrong with one include, or None."""
    if kind == '"':
        target = owner(name, folders)
        allowed = target == folder or target in row["may"] or is_below(target, row.get("below", []))
        if not allowed or is_below(target, row.get("not", [])):
            return f"'{folder}' may not include '{name}'"
        return None
    if row.get("ring") == 0 and name.startswith(RING0_BANNED):
        return f"'{folder}' may not include <{name}>: ring 0 has libc only"
    for prefix, users in libs.items():
        if name.startswith(prefix) and folder not in users:
            return f"'{folder}' may not include <{name}>: only {', '.join(users)}"
    return None


def check_file(path, rules):
    """Yields a line for each include of @path that the table does not allow."""
    folders, libs = rules["folders"], rules["libs"]
    folder = owner(path, folders)
    if not folder:
        yield f"src/{path}: no row for its folder in scripts/layers.toml"
        return
    with open(os.path.join(TOP, "src", path), encoding="utf-8") as source:
        for number, line in enumerate(source, 1):
            match = INCLUDE.match(line)
            if match:
                wrong = complaint(folder, folders[folder], libs, *match.groups(), folders)
                if wrong:
                    yield f"src/{path}:{number}: {wrong}"


def main():
    with open(os.path.join(TOP, "scripts", "layers.toml"), "rb") as table:
        rules = tomllib.load(table)
    complaints = []
    for root, _, files in os.walk(os.path.join(TOP, "src")):
        for name in sorted(files):
            if name.endswith((".c", ".h", ".S")):
                path = os.path.relpath(os.path.join(root, name), os.path.join(TOP, "src"))
                complaints += check_file(path, rules)
    print("\n".join(complaints) or "layers: every include is allowed")
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
