#!/usr/bin/python3
"""An emulator whose monitor ends at the point that the guest's name tells: "HOW-N" or "HOW-N-exits".

N: 0, before the greeting; 1, in it; then after as many commands as are left. HOW: shut, nothing is said any more; half, a
part of an answer; junk, no JSON; long, a line without end; flood, events without end of the kinds that are never dropped; deaf,
a hundred events that make the daemon ask, and no answer ever; wordy, the same with names of a megabyte. The process stays, or exits too. Used by test_hostile_monitor.py. SPDX-License-Identifier: GPL-2.0-or-later
"""
import json
import os
import re
import signal
import socket
import sys

GREETING = b'{"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}, "package": ""}, "capabilities": []}}\r\n'
ANSWERS = {"query-chardev": [], "query-cpus-fast": [{"cpu-index": 0, "thread-id": os.getpid()}],
           "query-status": {"status": "running", "running": True}}
EVENTS = [("DEVICE_DELETED", {"device": "vcpu7", "path": "/x"}), ("STOP", {}), ("RESUME", {}), ("BALLOON_CHANGE", {"actual": 1})]
FLOOD = 100000


def event(number):
    name, data = EVENTS[number % len(EVENTS)]
    return json.dumps({"timestamp": {"seconds": 1, "microseconds": 2}, "event": name, "data": data}).encode() + b"\r\n"


def end(peer, how, exits):
    try:
        if how == "half":
            peer.sendall(b'{"return": {"status": "ru')
        elif how == "junk":
            peer.sendall(b'\xff\x00{]\r\n')
        elif how == "long":
            for _ in range(2048):
                peer.sendall(b'"' + b"x" * 65535)
        elif how == "flood":
            burst = b"".join(event(number) for number in range(1000))
            for _ in range(FLOOD // 1000):
                peer.sendall(burst)
        elif how == "deaf":
            peer.sendall(event(0) * 100)
            while True:
                signal.pause()
        elif how == "wordy":
            for _ in range(100):
                peer.sendall(b'{"event": "BLOCK_WRITE_THRESHOLD", "data": {"node-name": "' + b"x" * (1 << 20) + b'"}}\r\n')
            peer.sendall(event(2))
            while True:
                signal.pause()
    except OSError:
        pass
    if exits:
        sys.exit(1)
    try:
        peer.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    while True:
        signal.pause()


def main():
    words = " ".join(sys.argv)
    how, number, *rest = re.search(r"-name (?:guest=)?([a-z0-9-]+)", words).group(1).split("-")
    left = int(number)
    peer = socket.socket(fileno=int(re.search(r"socket,id=charmonitor,fd=(\d+)", words).group(1))).accept()[0]
    if left == 0:
        end(peer, how, bool(rest))
    if left == 1:
        peer.sendall(GREETING[:40])
        end(peer, how, bool(rest))
    peer.sendall(GREETING)
    for line in peer.makefile("rb"):
        left -= 1
        message = json.loads(line)
        if left == 1:
            end(peer, how, bool(rest))
        peer.sendall(json.dumps({"return": ANSWERS.get(message["execute"], {}), "id": message.get("id")}).encode() + b"\r\n")
    while True:
        signal.pause()


main()
