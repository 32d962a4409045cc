#!/usr/bin/env python3
# Each element of elements.tsv in a guest of its own: what it becomes on the command lines of both engines, or which
# error it gives, and that it is still there in the stored definition.
# Usage: check-elements.py CONVERT ARGUMENTS TABLE [--show]
# SPDX-License-Identifier: GPL-2.0-or-later
import pathlib
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET

BASE = """<domain type='qemu'>
<name>a</name><uuid>4dea22b3-1d52-d8f3-2516-782e98ab3fa0</uuid><memory unit='KiB'>262144</memory><vcpu>2</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type><kernel>/boot/kernel</kernel></os><features><acpi/></features>
<devices><controller type='usb' model='none'/><memballoon model='none'/></devices>
</domain>"""
QEMU_NAMESPACE = "http://libvirt.org/schemas/domain/qemu/1.0"
ET.register_namespace("qemu", QEMU_NAMESPACE)


def guest(path, snippet):
    """The base with the snippet: a device is added, all else takes the place of what has its name."""
    domain = ET.fromstring(BASE)
    devices = domain.find("devices")
    parts = ET.fromstring(f"<x xmlns:qemu='{QEMU_NAMESPACE}'>{snippet}</x>")
    for part in parts:
        top = part.tag if path.startswith("devices/") else path.split("/")[0].split("@")[0]
        if path.startswith("devices/") and part.tag not in ("memoryBacking", "cpu", "memory_", "maxMemory", "iothreads",
                                                            "vcpu"):
            if part.tag == "controller" and part.get("type") == "usb":
                devices.remove(devices.find("controller[@type='usb']"))
            if part.tag == "memballoon":
                devices.remove(devices.find("memballoon"))
            devices.append(part)
            continue
        if path.startswith("domain@") and top == "domain":
            domain.attrib.update(part.attrib)
            continue
        old = domain.find(part.tag)
        if old is not None:
            domain.remove(old)
        if part.tag == "os" and part.find("kernel") is None and part.find("loader") is None:
            ET.SubElement(part, "kernel").text = "/boot/kernel"
        if part.tag == "os" and part.find("type") is None:
            part.insert(0, ET.Element("type", arch="x86_64", machine="q35"))
            part[0].text = "hvm"
        domain.append(part)
    return ET.tostring(domain, encoding="unicode")


def kept(path, stored):
    """Whether the element (and its attribute) is in the stored definition."""
    element, _, attribute = path.partition("@")
    tree = ET.fromstring(stored)
    for prefix in ("qemu:",):
        element = element.replace(prefix, "{" + QEMU_NAMESPACE + "}")
    found = [tree] if element == "domain" else tree.findall(element)
    return any(attribute in one.attrib if attribute else True for one in found)


def matches(expected, text):
    """"!WORDS": refused with them; ".": nothing on the command line, and not refused; else an argument."""
    if expected.startswith("!"):
        return text.startswith("error ") and expected[1:] in text
    if text.startswith("error "):
        return False
    return expected == "." or all(word in text for word in expected.split(" & "))


def names_wrong_way_out(qemu, lodge):
    """lodge-vmm's refusal sends to QEMU where that has WHAT, and nowhere else. QEMU may yet refuse another part."""
    if not lodge.startswith("error ") or "lodge-vmm has no " not in lodge:
        return False
    what, is_named, _ = lodge.partition("lodge-vmm has no ")[2].partition("; <emulator>")
    if not is_named:
        return not qemu.startswith("error ")
    return f"configuration: {what} is not supported" in qemu


def main():
    convert, arguments, table = sys.argv[1:4]
    rows = [line.split("\t") for line in pathlib.Path(table).read_text().splitlines()
            if line and not line.startswith("#")]
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for number, row in enumerate(rows):
            files.append(f"{folder}/{number:03}.xml")
            pathlib.Path(files[-1]).write_text(guest(row[1], row[2]))
        stored = subprocess.run([convert, *files], capture_output=True, text=True, check=True).stdout.split("\f")
        started = subprocess.run([arguments, *files], capture_output=True, text=True, check=True).stdout.split("\f")
    failed = 0
    print(f"1..{len(rows)}")
    for number, (row, xml, lines) in enumerate(zip(rows, stored, started), 1):
        tier, path, _, on_qemu, on_lodge = row[:5]
        _, qemu, lodge = lines.split("--- ")
        qemu, lodge = qemu.partition("\n")[2], lodge.partition("\n")[2]
        why = []
        if not xml.startswith("<domain") or not kept(path, xml.split("\nwarning:")[0]):
            if not on_qemu.startswith("!"):
                why.append("not stored: " + xml[:200])
        for engine, expected, text in (("qemu", on_qemu, qemu), ("lodge-vmm", on_lodge, lodge)):
            if not matches(expected, text):
                why.append(f"{engine}: expected {expected}; has\n{text}")
        if names_wrong_way_out(qemu, lodge):
            why.append(f"the way out is wrong: {lodge}qemu: {qemu}")
        failed += bool(why)
        print(f"{'not ok' if why else 'ok'} {number} {tier} {path}")
        for text in why:
            print("# " + text.replace("\n", "\n# "))
        if "--show" in sys.argv:
            print("# " + (qemu + "--\n" + lodge).replace("\n", "\n# "))
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
