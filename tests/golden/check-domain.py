#!/usr/bin/env python3
# Compares what domain definitions become with the texts beside them: NAME.xml -> NAME.out
# Usage: check-domain.py CONVERT DIRECTORY [--update]
# SPDX-License-Identifier: GPL-2.0-or-later
import difflib
import pathlib
import re
import subprocess
import sys

convert, folder = sys.argv[1], pathlib.Path(sys.argv[2])
update = "--update" in sys.argv[3:]
cases = sorted(folder.glob("*.xml"))
out = subprocess.run([convert, *map(str, cases)], capture_output=True, text=True, check=True).stdout
texts = out.split("\f")
failed = 0
print(f"1..{len(cases)}")
for number, (case, text) in enumerate(zip(cases, texts), 1):
    # What is chosen at random.
    given = case.read_text()
    for mac in set(re.findall(r"52:54:00:[0-9a-f:]{8}", text)):
        if mac not in given:
            text = text.replace(mac, "52:54:00:xx:xx:xx")
    expected = case.with_suffix(".out")
    if update:
        expected.write_text(text)
    good = expected.exists() and expected.read_text() == text
    failed += not good
    print(f"{'ok' if good else 'not ok'} {number} {case.stem}")
    if not good:
        old = expected.read_text() if expected.exists() else ""
        for line in difflib.unified_diff(old.splitlines(), text.splitlines(), lineterm="", n=1):
            print("#", line)
sys.exit(failed > 0)
