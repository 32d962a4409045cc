"""Runs a program of QEMU beside which ours is tested.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import subprocess

# QEMU times a key derivation before it makes a LUKS header, and gives up where the host was busy meanwhile.
BUSY = b"Unable to get accurate CPU usage"


def run_tool(words, **options):
    """subprocess.run() with what is printed caught as bytes; again where only the host was too busy."""
    for _ in range(50):
        done = subprocess.run(words, capture_output=True, check=False, **options)
        if BUSY not in done.stderr:
            break
    return done
