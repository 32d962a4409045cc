"""Logs of guests' processes stay within lodged.conf's bounds, whatever the process says and whichever daemon runs.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import signal
import time

import pytest
from test_crash import guest_xml

from lodged import BUILD, Lodged
from patience import PATIENCE

ENGINE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "spewing-engine.py")
KIB = 1024
LIMITS = "guest_log_max_size = 65536\nguest_log_max_backups = 2\n"
# What the engine can write before the daemon looks again, on a busy host too.
BETWEEN_LOOKS = 8 << 20


def log_of(daemon, name="spews"):
    return os.path.join(daemon.root, "log", "qemu", name + ".log")


def size(path):
    return os.path.getsize(path) if os.path.exists(path) else 0


def last_number(path):
    with open(path, "rb") as file:
        lines = file.read().splitlines()
    return next((int(line) for line in reversed(lines) if len(line) == 63 and line.isdigit()), -1)


def wait_for_rotation(path, after, check):
    """Until the copy holds lines beyond number @after."""
    deadline = time.monotonic() + 30 * PATIENCE
    while time.monotonic() < deadline:
        check()
        if os.path.exists(path + ".0") and last_number(path + ".0") > after:
            return last_number(path + ".0")
        time.sleep(0.05)
    raise AssertionError(f"not rotated: {size(path)} bytes")


def test_a_guest_that_spews_has_three_small_files_and_daemons_may_change_meanwhile(start_lodged, monkeypatch):
    monkeypatch.setenv("LODGE_BUILD", BUILD)
    daemon = start_lodged(config=LIMITS)
    path = log_of(daemon)

    def check():
        assert size(path) < BETWEEN_LOOKS
        assert size(path + ".0") <= 64 * KIB and size(path + ".1") <= 64 * KIB
        assert not os.path.exists(path + ".2")

    client = daemon.client().open("qemu:///session")
    dom = client.call("DOMAIN_CREATE_XML", xml_desc=guest_xml("spews", ENGINE))["dom"]
    first = wait_for_rotation(path, -1, check)
    wait_for_rotation(path, first, check)
    assert 0 < size(path + ".1") <= 64 * KIB
    with open(path, "rb") as file:
        assert b"\0" not in file.read()  # it goes on at the beginning, not where it was
    client.close()

    daemon.process.send_signal(signal.SIGKILL)
    daemon.process.wait()
    deadline = time.monotonic() + 30 * PATIENCE
    while size(path) <= 64 * KIB and time.monotonic() < deadline:
        time.sleep(0.05)
    assert size(path) > 64 * KIB
    later = Lodged(daemon.root, "--config", os.path.join(daemon.root, "lodged.conf"))
    try:
        wait_for_rotation(path, last_number(path), check)
        client = later.client().open("qemu:///session")
        client.call("DOMAIN_DESTROY", dom=dom)
        client.close()
    finally:
        later.stop()


@pytest.mark.parametrize("config,kept", [(None, 2 << 20), ("guest_log_max_size = 0\n", 0), ("guest_log_max_backups = 0\n", 0),
                                         ("guest_log_max_backups = 2000000000\n", 2 << 20)])
def test_a_long_log_is_put_aside_when_the_guest_starts(start_lodged, config, kept):
    daemon = start_lodged(config=config)
    path = log_of(daemon, "quiet")
    with open(path, "wb") as file:
        file.write(b"x" * (1 << 20) + b"y" * (2 << 20))
    client = daemon.client().open("qemu:///session")
    dom = client.call("DOMAIN_CREATE_XML", xml_desc=guest_xml("quiet"))["dom"]
    if config and "max_size" in config:
        assert size(path) > 3 << 20
    else:
        assert 0 < size(path) < 64 * KIB
    assert size(path + ".0") == kept
    if kept:
        with open(path + ".0", "rb") as file:
            assert set(file.read()) == {ord("y")}
    client.call("DOMAIN_DESTROY", dom=dom)
    client.close()
