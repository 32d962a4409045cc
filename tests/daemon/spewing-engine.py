#!/usr/bin/python3
"""lodge-vmm beside a child that writes numbered lines to the guest's log, some 640 KiB a second, as long as it runs.

Used by test_guest_logs.py. SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import sys
import time

BUILD = os.environ.get("LODGE_BUILD") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "build")


def spew(parent):
    number = 0
    while os.getppid() == parent:
        os.write(2, b"".join(b"%063d\n" % (number + i) for i in range(1024)))
        number += 1024
        time.sleep(0.1)


if "-name" in sys.argv:
    own = os.getpid()
    if os.fork() == 0:
        spew(own)
        os._exit(0)
os.execv(os.path.join(BUILD, "bin", "lodge-vmm"), ["lodge-vmm", *sys.argv[1:]])
