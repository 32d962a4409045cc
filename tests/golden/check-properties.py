#!/usr/bin/env python3
# Whether QEMU knows each device, object and property that the expected command lines (*.args) name.
# Usage: check-properties.py DIRECTORY [QEMU]        ends with 77 where there is no QEMU
# SPDX-License-Identifier: GPL-2.0-or-later
import pathlib
import re
import shutil
import subprocess
import sys

folder = pathlib.Path(sys.argv[1])
qemu = sys.argv[2] if len(sys.argv) > 2 else shutil.which("qemu-system-x86_64")
if not qemu:
    print("1..0 # SKIP no qemu-system-x86_64")
    sys.exit(77)
ALWAYS = {"id", "bus"}
used = {}
for case in folder.glob("*.args"):
    for line in case.read_text().split("--- lodge-vmm")[0].splitlines():
        option, _, value = line.partition(" ")
        if option in ("-device", "-object", "-machine"):
            kind, *properties = re.split(r"(?<!,),(?!,)", value)
            kind = "q35" if option == "-machine" else kind
            names = used.setdefault((option, kind), {})
            for one in properties:
                names.setdefault(one.partition("=")[0], case.stem)
failed = 0
print(f"1..{len(used)}")
for number, ((option, kind), names) in enumerate(sorted(used.items()), 1):
    said = subprocess.run([qemu, option, f"{kind},help"], capture_output=True, text=True, check=False)
    known = set(re.findall(r"^ *(?:\S+\.)?([\w.-]+)=", said.stdout, re.M)) | ALWAYS
    missing = {name: case for name, case in names.items() if name not in known}
    good = said.returncode == 0 and not missing
    failed += not good
    print(f"{'ok' if good else 'not ok'} {number} {option} {kind}")
    for name, case in missing.items():
        print(f"# '{name}' of {case}.args is unknown to {qemu}")
    if said.returncode:
        print(f"# {said.stderr.strip()}")
sys.exit(failed > 0)
