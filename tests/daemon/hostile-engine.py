#!/usr/bin/python3
"""An emulator that was taken over: it listens where a monitor is expected and says anything.

Used by test_hostile_monitor.py. SPDX-License-Identifier: GPL-2.0-or-later
"""
import json
import os
import random
import re
import socket
import sys

EVENTS = ["STOP", "RESUME", "SHUTDOWN", "RESET", "GUEST_PANICKED", "DEVICE_DELETED", "BALLOON_CHANGE", "BLOCK_IO_ERROR",
          "VSERPORT_CHANGE", "JOB_STATUS_CHANGE", "BLOCK_JOB_READY", "RTC_CHANGE", "WATCHDOG", "NIC_RX_FILTER_CHANGED",
          "BLOCK_WRITE_THRESHOLD", "ACPI_DEVICE_OST", "SUSPEND", "WAKEUP", "POWERDOWN", "VNC_CONNECTED", "TRAY",
          "MEMORY_DEVICE_SIZE_CHANGE"]
NAMES = ["status", "running", "label", "filename", "frontend-open", "cpu-index", "thread-id", "props", "actual", "device",
         "qdev", "stats", "inserted", "image", "rd_bytes", "wr_operations", "node-name", "virtual-size", "actual-size",
         "file", "io-status", "base-memory", "plugged-memory", "id", "size", "iops", "type", "name", "vcpus-count",
         "qom-path", "core-id", "socket-id", "path", "reason", "action", "info", "guest", "host", "offset", "device-id",
         "desc", "class", "msr", "source", "operation", "nospace", "open", "poll-max-ns", "total-time", "ram",
         "backing", "drv", "parent", "backing-filename", "full-backing-filename", "format", "snapshots", "children"]
WORDS = ["", "running", "paused", "pty:/dev/pts/0", "charserial0", "drive-virtio-disk0", "libvirt-1-format", "virtio-disk0",
         "/machine/peripheral/net0", "\u0000", "x" * 5000, "../../etc/passwd", "%s%n", "suspended", "guest-panicked", "qcow2"]
NUMBERS = [0, 1, -1, 1 << 31, -(1 << 31), (1 << 63) - 1, -(1 << 63), 4095, 4096, 1e308, -0.5]


def anything(rng, depth=0):
    kind = rng.randrange(6 if depth < 4 else 4)
    if kind == 0:
        return rng.choice(NUMBERS)
    if kind == 1:
        return rng.choice(WORDS)
    if kind == 2:
        return rng.choice([True, False, None])
    if kind == 3:
        return rng.randrange(1 << 20)
    if kind == 4:
        return [anything(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {rng.choice(NAMES): anything(rng, depth + 1) for _ in range(rng.randrange(6))}


def answer(rng, message):
    """Mostly what keeps a conversation going, so that more is asked."""
    command, identity = message.get("execute"), message.get("id")
    if command in ("qmp_capabilities", "cont", "stop", "system_reset") and rng.random() < 0.95:
        return {"return": {}, "id": identity}
    chance = rng.random()
    if chance < 0.05:
        return {"error": anything(rng), "id": identity}
    if command == "query-status" and chance < 0.6:
        return {"return": {"status": rng.choice(["running", "paused"]), "running": rng.random() < 0.5}, "id": identity}
    if command and command.startswith("query-") and chance < 0.7:
        return {"return": [anything(rng, 1) for _ in range(rng.randrange(5))], "id": identity}
    return {"return": anything(rng), "id": identity}


def main():
    rng = random.Random(os.getpid())
    match = re.search(r"socket,id=charmonitor,fd=(\d+)", " ".join(sys.argv))
    if not match:
        return
    listener = socket.socket(fileno=int(match.group(1)))
    while True:
        peer = listener.accept()[0]
        reader = peer.makefile("rb")
        try:
            peer.sendall(b'{"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}, "package": ""}, "capabilities": []}}\r\n')
            for line in reader:
                messages = [answer(rng, json.loads(line))]
                if rng.random() < 0.1:  # to questions that nobody asked
                    messages.insert(0, {"return": anything(rng), "id": rng.choice([0, -1, 1 << 62, "x", [], None])})
                while rng.random() < 0.5:
                    event = rng.choice(EVENTS)
                    if event == "SHUTDOWN" and rng.random() < 0.95:
                        event = "STOP"  # after the other it is ended
                    messages.insert(rng.randrange(2), {"event": event, "data": anything(rng),
                                                       "timestamp": anything(rng, 3)})
                for message in messages:
                    peer.sendall(json.dumps(message).encode() + b"\r\n")
                if rng.random() < 0.001:
                    peer.sendall(bytes(rng.randrange(256) for _ in range(100)) + b"\n")
        except OSError:
            pass


main()
