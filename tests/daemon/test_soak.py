"""Guests come and go for minutes: the daemon keeps no descriptor, memory, thread or file of them.

$LODGE_SOAK chooses the seconds of the slow run (300, 200 guests at a time); the quick one has 80 guests.
SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import tempfile
import threading
import time

import pytest
import rpc
from test_crash import guest_xml

from lodged import Lodged
from patience import PATIENCE

THREADS = 8


def usage(daemon):
    folder = f"/proc/{daemon.process.pid}"
    daemon.wait_for_removals()
    return {"descriptors": len(os.listdir(f"{folder}/fd")), "threads": len(os.listdir(f"{folder}/task")),
            "KiB": daemon.rss_kib(),
            "files": sum(len(names) for folder, _, names in os.walk(daemon.root) if "/log" not in folder)}


def one_round(daemon, number, count, problems):
    """Starts its share of the guests, then ends them all."""
    try:
        with daemon.client().open("qemu:///session") as client:
            guests = []
            for i in range(count):
                guests.append(client.call("DOMAIN_CREATE_XML", xml_desc=guest_xml(f"soak-{number}-{i}"))["dom"])
            for guest in guests:
                client.call("DOMAIN_GET_STATE", dom=guest, flags=0)
                client.call("DOMAIN_DESTROY", dom=guest)
    except (rpc.RpcError, ConnectionError) as error:
        problems.append(error)


def run_rounds(daemon, at_once, seconds):
    """Rounds until the time is over; two at least. The first one fills caches and pools."""
    first, rounds, until = None, 0, time.monotonic() + seconds
    while rounds < 2 or time.monotonic() < until:
        problems = []
        threads = [threading.Thread(target=one_round, args=(daemon, n, at_once // THREADS, problems))
                   for n in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not problems, problems
        rounds += 1
        last = settled(daemon, first)
        first = first or last
    print(f"{rounds} rounds of {at_once} guests: {first} to {last}")
    assert last["descriptors"] <= first["descriptors"] and last["files"] <= first["files"], (first, last)
    assert last["threads"] <= first["threads"] + 2, (first, last)
    assert daemon.is_sanitized() or last["KiB"] <= first["KiB"] + 4096, (first, last)


def settled(daemon, wanted):
    """What is in use once connections that ended are noticed."""
    deadline = time.monotonic() + 30 * PATIENCE
    while True:
        found = usage(daemon)
        if not wanted or found["descriptors"] <= wanted["descriptors"] or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


@pytest.fixture
def daemon():
    """A short path: names of sockets hold 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="lodge-") as folder:
        running = Lodged(folder)
        yield running
        running.stop()


def test_guests_leave_nothing_behind(daemon):
    run_rounds(daemon, 40, 0)


@pytest.mark.slow
def test_200_guests_at_a_time_for_minutes_leave_nothing_behind(daemon):
    run_rounds(daemon, 200, int(os.environ.get("LODGE_SOAK", "300")))
