"""Hostile connections beside good ones.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import random
import select
import signal
import socket
import struct
import threading
import time

import pytest

from patience import PATIENCE

GOOD_CLIENTS = 16


def garbage(rng):
    return rng.randbytes(rng.randrange(1, 4096))


def oversize(rng):
    return struct.pack(">7I", rng.choice([0, 5, 40_000_000, 0xFFFFFFFF]), 0x20008086, 1, 1, 0, 1, 0)


def half_open(rng):
    """A header that promises what never comes."""
    return struct.pack(">7I", 30_000, 0x20008086, 1, 1, 0, 1, 0) + bytes(rng.randrange(1000))


def slow_reader(rng):
    """Calls whose answers are never read."""
    open_call = struct.pack(">7I", 36, 0x20008086, 1, 1, 0, 0, 0) + struct.pack(">II", 0, 0)
    info = struct.pack(">7I", 28, 0x20008086, 1, 6, 0, 1, 0)
    return open_call + info * rng.randrange(100, 2000)


def huge_counts(rng):
    payload = struct.pack(">I", 0xFFFFFFF0) * rng.randrange(1, 50)
    number = rng.randrange(1, 454)
    return struct.pack(">7I", 28 + len(payload), 0x20008086, 1, number, 0, 1, 0) + payload


def unexpected_types(rng):
    return b"".join(struct.pack(">7I", 28, 0x20008086, 1, 3, rng.randrange(10), i, rng.randrange(4))
                    for i in range(20))


def tls_garbage(rng):
    """A TLS handshake where none is expected."""
    return b"\x16\x03\x01" + struct.pack(">H", rng.randrange(1 << 14)) + rng.randbytes(rng.randrange(1, 600))


def half_handshake(rng):
    """AUTH_LIST and then the first bytes of an OPEN."""
    auth = struct.pack(">7I", 28, 0x20008086, 1, 66, 0, 0, 0)
    opening = struct.pack(">7I", 48, 0x20008086, 1, 1, 0, 1, 0) + struct.pack(">2I", 1, 12)
    return auth + opening[:rng.randrange(len(opening))]


def flood(rng):
    """Lists and statistics without end, none of which is read."""
    opening = struct.pack(">7I", 36, 0x20008086, 1, 1, 0, 0, 0) + struct.pack(">II", 0, 0)
    lists = struct.pack(">7I", 36, 0x20008086, 1, 273, 0, 1, 0) + struct.pack(">II", 1, 0)
    stats = struct.pack(">7I", 40, 0x20008086, 1, 344, 0, 2, 0) + struct.pack(">III", 0, 0, 0)
    return opening + (lists + stats) * rng.randrange(100, 1000)


KINDS = [garbage, oversize, half_open, slow_reader, huge_counts, unexpected_types, tls_garbage, half_handshake, flood]
# What the daemon may grow by at most while all of that goes on, KiB.
PEAK_GROWTH_KIB = 64 * 1024


class GoodClients:
    """Threads that call and check all the time."""

    def __init__(self, lodged):
        self.stopping = threading.Event()
        self.calls, self.problems = 0, []
        self.threads = [threading.Thread(target=self.run, args=(lodged,))
                        for _ in range(GOOD_CLIENTS)]
        for thread in self.threads:
            thread.start()

    def run(self, lodged):
        try:
            with lodged.client().open() as client:
                while not self.stopping.is_set():
                    assert client.call("CONNECT_GET_TYPE") == {"type": "QEMU"}
                    self.calls += 1
                    time.sleep(0.001)
        except Exception as error:  # shown by the test
            self.problems.append(error)

    def wait_for(self, calls):
        """Until so many were answered: on a busy host an attack is over before the daemon has its turn."""
        deadline = time.monotonic() + 30 * PATIENCE
        while self.calls < calls and not self.problems and time.monotonic() < deadline:
            time.sleep(0.01)

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()


def attack(lodged, total, rng, good):
    """@total connections, at most 200 at once; these stay until the good clients were answered beside them."""
    open_ones = []
    for _ in range(total):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(lodged.socket)
        sock.setblocking(False)
        try:
            sock.send(rng.choice(KINDS)(rng))
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            pass
        open_ones.append(sock)
        if len(open_ones) >= 200:
            open_ones.pop(rng.randrange(len(open_ones))).close()
    good.wait_for(GOOD_CLIENTS + 1)
    for sock in open_ones:
        sock.close()


def wait_for_fds(lodged, count):
    deadline = time.monotonic() + 30 * PATIENCE
    while lodged.count_fds() > count and time.monotonic() < deadline:
        select.select([], [], [], 0.05)
    return lodged.count_fds()


def run_attack(lodged, total):
    fds = lodged.count_fds()
    rss = lodged.rss_kib()
    peak = lodged.peak_kib()
    good = GoodClients(lodged)
    seed = int(os.environ.get("LODGE_SEED", "1"))
    attack(lodged, total, random.Random(seed), good)
    good.stop()
    assert not good.problems, good.problems
    assert good.calls > GOOD_CLIENTS
    assert wait_for_fds(lodged, fds) <= fds
    assert lodged.is_sanitized() or lodged.rss_kib() - rss <= 16 * 1024
    assert lodged.is_sanitized() or lodged.peak_kib() <= max(peak, rss + PEAK_GROWTH_KIB)
    assert lodged.process.poll() is None


def test_good_clients_do_not_notice_hostile_ones(lodged):
    run_attack(lodged, 1000)


@pytest.mark.slow
def test_good_clients_do_not_notice_many_hostile_ones(lodged):
    for _ in range(20):
        run_attack(lodged, 1000)


def test_a_crowd_of_clients_waits_while_the_daemon_is_busy(lodged):
    waiting = []
    lodged.process.send_signal(signal.SIGSTOP)
    try:
        for _ in range(1000):
            sock = socket.socket(socket.AF_UNIX)
            waiting.append(sock)
            sock.setblocking(False)
            sock.connect(lodged.socket)  # BlockingIOError: no room in the queue
    finally:
        lodged.process.send_signal(signal.SIGCONT)
        for sock in waiting:
            sock.close()
    with lodged.client().open() as client:
        assert client.call("CONNECT_GET_TYPE") == {"type": "QEMU"}


def test_a_client_that_does_not_read_cannot_fill_memory(lodged):
    before = lodged.rss_kib()
    with lodged.client().open() as client:
        call = struct.pack(">7I", 28, 0x20008086, 1, 6, 0, 1, 0)
        client.sock.setblocking(False)
        sent = 0
        idle_since = time.monotonic()
        while time.monotonic() - idle_since < 1 and sent < 64 << 20:
            try:
                sent += client.sock.send(call * 1000)
                idle_since = time.monotonic()
            except BlockingIOError:
                select.select([], [client.sock], [], 0.1)
        assert sent < 64 << 20
        assert lodged.is_sanitized() or lodged.rss_kib() - before <= 16 * 1024
