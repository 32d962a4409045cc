#!/usr/bin/env python3
"""No text of a definition becomes an option of its own on an engine's command line.

Each attribute and each text of the definitions gets ",evil=on" at its end, one at a time: it is refused, or its comma
is doubled, or it is left out. What several definitions have alike is tried once.
Usage: check-injection.py CONF_ARGUMENTS CHECK_ELEMENTS ELEMENTS_TSV FOLDER
SPDX-License-Identifier: GPL-2.0-or-later"""
import copy
import importlib.machinery
import importlib.util
import pathlib
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET

EVIL = ",evil=on"
# A comma that is not one of a pair.
FOUND = re.compile(r"(?<!,)(?:,,)*" + EVIL)
# Whose values are no lists of options.
WHOLE = ("-kernel ", "-initrd ", "-append ", "-dtb ", "-k ", "-bios ", "error ")
KINDS = ("type", "mode", "bus", "model", "protocol", "backend")
QEMU = "{http://libvirt.org/schemas/domain/qemu/1.0}"


def run(program, texts, folder):
    """What each definition becomes."""
    files = []
    for number, text in enumerate([*texts, "<domain/>"]):  # two at least, so that form feeds divide them
        files.append(f"{folder}/{number}.xml")
        pathlib.Path(files[-1]).write_text(text)
    done = subprocess.run([program, *files], capture_output=True, check=True)
    return done.stdout.decode(errors="replace").split("\f")[:len(texts)]


def kind(element):
    return element.tag, *(element.get(name) for name in KINDS)


def variants(root, seen):
    """A name of what was changed, and the text of the definition."""
    parents = {child: parent for parent in root.iter() for child in parent}
    for number, element in enumerate(root.iter()):
        if element.tag.startswith(QEMU):  # arguments as they are meant to be
            continue
        places = list(element.attrib) + ([None] if element.text and element.text.strip() else [])
        above = parents.get(element, root)
        for place in places:
            key = (kind(parents.get(above, root)), kind(above), kind(element), place)
            if key in seen:
                continue
            seen.add(key)
            other = copy.deepcopy(root)
            changed = list(other.iter())[number]
            if place is None:
                changed.text += EVIL
            else:
                changed.set(place, changed.get(place) + EVIL)
            yield f"<{element.tag}{'' if place is None else ' ' + place + '='}>", ET.tostring(other, encoding="unicode")


def guests(elements, table, folder):
    loader = importlib.machinery.SourceFileLoader("elements", elements)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("elements", loader))
    loader.exec_module(module)
    for row in pathlib.Path(table).read_text().splitlines():
        if row and not row.startswith("#"):
            yield module.guest(*row.split("\t")[1:3])
    for path in sorted(pathlib.Path(folder).glob("*.xml")):
        yield path.read_text(errors="replace")


def main():
    program, elements, table, definitions = sys.argv[1:5]
    seen, names, texts, found = set(), [], [], {}
    with tempfile.TemporaryDirectory() as folder:
        sound = list(guests(elements, table, definitions))
        for text, arguments in zip(sound, run(program, sound, folder)):
            if not arguments.startswith("--- qemu\nerror"):
                for name, variant in variants(ET.fromstring(text), seen):
                    names.append(name)
                    texts.append(variant)
        for name, arguments in zip(names, run(program, texts, folder)):
            for line in arguments.splitlines():
                if FOUND.search(line) and not line.startswith(WHOLE):
                    found.setdefault(name, line)
    print("1..1")
    print("not ok" if found or len(texts) < 500 else "ok", f"1 - {len(texts)} texts stay within their options")
    for name, line in sorted(found.items()):
        print(f"# {name}: {line}")


main()
