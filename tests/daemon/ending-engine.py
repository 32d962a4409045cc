#!/usr/bin/python3
"""An emulator that says what it is asked for, and ends when it is asked for its descriptors: a device comes then.

What speaks is a child, so that its end is seen before that of the connection.

Used by test_hostile_monitor.py. SPDX-License-Identifier: GPL-2.0-or-later
"""
import json
import os
import re
import signal
import socket
import sys

ANSWERS = {"query-chardev": [], "query-cpus-fast": [{"cpu-index": 0, "thread-id": os.getpid()}]}


def main():
    listener = socket.socket(fileno=int(re.search(r"socket,id=charmonitor,fd=(\d+)", " ".join(sys.argv)).group(1)))
    peer = listener.accept()[0]
    peer.sendall(b'{"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}, "package": ""}, "capabilities": []}}\r\n')
    for line in peer.makefile("rb"):
        message = json.loads(line)
        if message["execute"] == "query-fdsets":
            os.kill(os.getppid(), signal.SIGKILL)
            continue
        peer.sendall(json.dumps({"return": ANSWERS.get(message["execute"], {}), "id": message.get("id")}).encode() + b"\r\n")


if os.fork() == 0:
    main()
else:
    os.wait()
