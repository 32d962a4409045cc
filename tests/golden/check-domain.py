#!/usr/bin/env python3
# Compares what domain definitions become with the texts beside them: NAME.xml -> NAME.SUFFIX
# Usage: check-domain.py PROGRAM DIRECTORY SUFFIX [--update]
# SPDX-License-Identifier: GPL-2.0-or-later
import difflib
import pathlib
import re
import subprocess
import sys

program, folder, suffix = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
update = "--update" in sys.argv[4:]
cases = sorted(folder.glob("*.xml"))
out = subprocess.run([program, *map(str, cases)], capture_output=True, text=True, check=True).stdout
texts = out.split("\f")
failed = 0
print(f"1..{len(cases)}")
for number, (case, text) in enumerate(zip(cases, texts), 1):
    # What is chosen at random.
    given = case.read_text()
    for mac in set(re.findall(r"52:54:00:[0-9a-f:]{8}", text)):
        if mac not in given:
            text = text.replace(mac, "52:54:00:xx:xx:xx")
    # What depends on the time.
    text = re.sub(r"base=20\d\d-[0-9T:-]+", "base=TIME", text)
    expected = case.with_suffix(suffix)
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
