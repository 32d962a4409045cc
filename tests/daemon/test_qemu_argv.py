"""Command lines of the same guests by lodged and by the real libvirtd (`domxml-to-native`), fact by fact; 5 s.

The guests are those of tests/golden/elements.tsv. Both are put beside the guest without the element, so what is compared
is what the element brings. What differs is in EXPLAINED, or fails.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import importlib.util
import os
import re
import shlex

import libvirt
import libvirtd
import pytest
from argv import facts_of

from conftest import TOP
from guestxml import QEMU

GOLDEN = os.path.join(TOP, "tests", "golden")
# (of the row, of the fact as "theirs OPTION KEY=VALUE" or "ours ...", why): patterns.
EXPLAINED = [
    (".", "theirs -device write-cache=|theirs -device [rw]error=", "-drive has it"),
    (".", "ours -smp maxcpus=", "always said"),
    (".", "ours -device (addr|port)=", "ports begin at another slot beside a display"),
    ("memory|numa|<memory", "(theirs|ours) -(m|object) ", "RAM without a back end of its own where it needs none; no files "
     "below libvirt's folders; nodes of the host by control groups"),
    ("loader|firmware='efi'", "theirs -machine pflash", "-drive if=pflash"),
    ("sysinfo", "theirs -smbios manufacturer=$", "an empty word"),
    ("apic eoi|kvm>|ioapic", "theirs -(cpu|machine) k", "nothing to hint at without KVM"),
    ("sibling", "ours -numa", "the distance to itself is said"),
    ("offset='variable'", "-rtc base", "a second later"),
    ("name='pit' present='no'", "(theirs -global|ours -machine)", "no PIT here, another policy there"),
    ("on_reboot", "ours -no-reboot", "by set-action there"),
    ("bus='scsi'", "(theirs|ours) -device ", "ids of SCSI disks"),
    ("removable|bus='usb'", "theirs -device removable=off", "the default"),
    ("transitional", "(theirs|ours) -device (driver|disable-)", "as properties here, as types there"),
    ("type='sata' index|ich9-ehci1", "(theirs|ours) -device ", "on the root here, behind bridges there"),
    ("bochs|qxl", "theirs -device (vgamem=16777216|vram64_size_mb=0)", "the default"),
    ("poll", "ours -object poll-", "libvirt 9.0 sets none at the start"),
    ("<tpm", "(theirs|ours) -chardev backend=", "no swtpm runs for a text there"),
    ("ivshmem-doorbell", "ours -device master=off", "its role is said here too"),
    ("<listen type='none'", "theirs -vnc audiodev=", "there is no screen to hear by"),
    ("evdev", "(theirs|ours) -(object|device) evdev=", "a descriptor here"),
    ("guestfwd", "guestfwd=", "-netdev's two notations"),
    ("hugepages|memfd", "theirs -object x-use-canonical", "the machine's default"),
    ("virtio-mem", "ours -device requested-size=0", "the default"),
]
# Rows of which one refuses what the other has: patterns of the row.
REFUSED = [
    ("<interface", "libvirtd of a session has no taps, and opens them for a text"),
    ("firmware='efi'|<nvram type='block'|dtb|rbd|volume|lun|transient|encryption|stdio|<listen type='network'|accel3d|tpm|filesystem"
     "|/a</partition|type='file'/></memoryBacking|<discard/>|smartcard|spice|sdl|egl-headless|type='scsi'"
     "|smbios mode='host'|keywrap|launchSecurity|vcpusched|<seclabel type='static'|coredump-", "not built here; see elements.tsv"),
    ("cputune|blkiotune|memtune|hugepages|type='kvm'|host-passthrough", "not in a session, or not on this host, there"),
    ("passt|itco|iommu model|pcie-to-pci-bridge", "libvirt 9.0 has it not, or not like that"),
    ("hostdev", "libvirtd looks at the host for a text"),
]


def load_rows():
    spec = importlib.util.spec_from_file_location("elements", os.path.join(GOLDEN, "check-elements.py"))
    elements = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(elements)
    with open(os.path.join(GOLDEN, "elements.tsv"), encoding="utf-8") as file:
        rows = [line.split("\t") for line in file.read().splitlines() if line and not line.startswith("#")]
    emulator = f"<devices><emulator>{QEMU}</emulator>"
    texts = [(row[2], elements.guest(row[1], row[2]).replace("<devices>", emulator, 1)) for row in rows if "<emulator>" not in row[2]]
    return elements.guest("name", "<name>a</name>").replace("<devices>", emulator, 1), texts


def native(connection, text):
    """Facts, or None: refused."""
    try:
        words = shlex.split(connection.domainXMLToNative("qemu-argv", text, 0))
    except libvirt.libvirtError:
        return None
    return facts_of(words[words.index("-name"):])


def is_explained(row, fact):
    return any(re.search(of_row, row) and re.search(of_fact, fact) for of_row, of_fact, _ in EXPLAINED)


def differences(row, ours, theirs, our_base, their_base):
    """Facts that the element brings to one alone, as text."""
    if ours is None or theirs is None:
        is_known = ours is theirs or any(re.search(pattern, row) for pattern, _ in REFUSED)
        return [] if is_known else [f"refused by {'lodged' if ours is None else 'libvirtd'} alone"]
    found = [("theirs", fact) for fact in theirs - their_base - ours] + [("ours", fact) for fact in ours - our_base - theirs]
    texts = sorted(f"{side} {option} {pair}" for side, (option, _, pair) in found)
    return [text for text in texts if not is_explained(row, text)]


@pytest.mark.slow
@pytest.mark.skipif(libvirtd.find() is None, reason="no libvirtd")
def test_elements_become_what_libvirtd_makes_of_them(lodged):
    base, texts = load_rows()
    daemon = libvirtd.Libvirtd()
    try:
        ours, theirs = libvirt.open(lodged.uri), libvirt.open(daemon.uri)
        our_base, their_base = native(ours, base), native(theirs, base)
        unlike = {}
        for row, text in texts:
            found = differences(row, native(ours, text), native(theirs, text), our_base, their_base)
            if found:
                unlike[row] = found
        ours.close()
        theirs.close()
    finally:
        daemon.stop()
    assert not unlike, "\n".join(f"{row}\n  " + "\n  ".join(found) for row, found in unlike.items())
