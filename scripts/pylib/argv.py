"""Command lines of QEMU as sets of facts that can be compared, however they are written.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import json
import re

# What says nothing of the guest: where things are opened, how the monitor is reached, and libvirt's own set-up.
DROPPED_OPTIONS = {"-add-fd", "-S", "-no-user-config", "-nodefaults", "-mon", "-msg", "-sandbox", "-uuid", "-blockdev", "-drive",
                   "-no-shutdown"}
DROPPED_KEYS = {"fd", "vhostfd", "hostdevice", "drive", "path", "logfile", "file"}
FIRST = {"-device": "driver", "-object": "qom-type", "-netdev": "type", "-chardev": "backend", "-audiodev": "driver",
         "-machine": "type", "-cpu": "model", "-accel": "accel", "-numa": "kind", "-m": "size", "-smp": "cpus"}
SIZE = re.compile(r"^(\d+)([kmgKMG])$")


def value_of(value):
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        return ";".join(value_of(one) for one in value)
    if isinstance(value, dict):
        return ";".join(f"{key}={one}" for key, one in sorted(flat_pairs("", value)))
    text = str(value)
    if SIZE.match(text):
        number, unit = SIZE.match(text).groups()
        return str(int(number) << {"k": 10, "m": 20, "g": 30}[unit.lower()])
    if re.match(r"^0x[0-9a-fA-F]+$", text):
        return str(int(text, 16))
    return text


def flat_pairs(prefix, members):
    pairs = []
    for key, value in members.items():
        pairs += flat_pairs(f"{prefix}{key}.", value) if isinstance(value, dict) else [(prefix + key, value_of(value))]
    return pairs


def pairs_of(option, text):
    if text.startswith("{"):
        return flat_pairs("", json.loads(text))
    pairs = []
    for number, part in enumerate(re.split(r"(?<!,),(?!,)", text)):
        key, equals, value = part.replace(",,", ",").partition("=")
        if not equals and number == 0:
            key, value = FIRST.get(option, ""), key
        elif not equals and key[:1] in "+-":
            key, value = key[1:], "on" if key[0] == "+" else "off"
        pairs.append((key, value_of(value) if equals or number == 0 else value or "on"))
    return pairs


def facts_of(words):
    """A set of (option, id, "key=value") of a list of arguments."""
    facts = set()
    at = 0
    while at < len(words):
        option = words[at]
        text = words[at + 1] if at + 1 < len(words) and not words[at + 1].startswith("-") else ""
        at += 2 if text else 1
        if option in DROPPED_OPTIONS or not option.startswith("-"):
            continue
        pairs = pairs_of(option, text) if text else []
        name = dict(pairs).get("id", "")
        for key, value in pairs or [("", "")]:
            if key not in DROPPED_KEYS:
                facts.add((option, name, f"{key}={value}"))
    return facts
