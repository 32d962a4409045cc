#!/usr/bin/env python3
"""Lists functions over 60 and files over 600 lines; fails on functions over 120 and files over 1200
lines that scripts/size-exempt.txt does not name (one 'PATH[:FUNCTION] reason' a line).

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FUNCTION_HABIT, FUNCTION_LIMIT = 60, 120
FILE_HABIT, FILE_LIMIT = 600, 1200


def exemptions():
    with open(os.path.join(TOP, "scripts", "size-exempt.txt"), encoding="utf-8") as lines:
        words = [line.split() for line in lines if not line.startswith("#")]
    return {w[0] for w in words if w}


def sources():
    listing = subprocess.check_output(["git", "-C", TOP, "ls-files", "*.c", "*.h"], text=True)
    return listing.split()


def file_sizes(paths):
    for path in paths:
        with open(os.path.join(TOP, path), encoding="utf-8") as source:
            yield sum(1 for _ in source), path


def function_sizes(paths):
    command = ["ctags", "--fields=+ne", "-o", "-", "--c-kinds=f", "--languages=C", *paths]
    for line in subprocess.check_output(command, cwd=TOP, text=True).splitlines():
        fields = line.split("\t")
        numbers = {k: int(v) for k, _, v in (f.partition(":") for f in fields[3:])
                   if k in ("line", "end") and v.isdigit()}
        if len(numbers) == 2:
            yield numbers["end"] - numbers["line"] + 1, f"{fields[1]}:{fields[0]}"


def report(kind, sizes, habit, limit, exempt):
    """Prints what is over the habit; returns how many are over the limit without leave."""
    over = sorted((size, name) for size, name in sizes if size > habit and name not in exempt)
    for size, name in reversed(over):
        print(f"{kind}: {size} lines: {name}" + (f" (limit {limit})" if size > limit else ""))
    return sum(1 for size, _ in over if size > limit)


def main():
    paths = sources()
    exempt = exemptions()
    failed = report("file", file_sizes(paths), FILE_HABIT, FILE_LIMIT, exempt)
    failed += report("function", function_sizes(paths), FUNCTION_HABIT, FUNCTION_LIMIT, exempt)
    print(f"size: {failed} over the limit")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
