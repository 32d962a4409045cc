"""Compressed clusters: read by the peer whatever they hold, and no larger than the peer's.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import random

import pytest

CLUSTER = 65536


def words(rng, size):
    """Text of which words come back, also from far away."""
    known = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(2000)]
    return " ".join(rng.choices(known, k=size // 6)).encode().ljust(size)[:size]


def far_repeats(rng, size):
    """Random bytes that come again 5 KB and 30 KB later: only long distances make them smaller."""
    block, far = rng.randbytes(5000), rng.randbytes(30000)
    return (block * 3 + far * 2 * (size // 75000 + 1))[:size]


def log_lines(rng, size):
    lines = (f"2024-05-{rng.randint(1, 28):02} host{rng.randint(1, 9)} app[{rng.randint(100, 9999)}]: request {i} "
             f"took {rng.randint(1, 5000)} ms\n" for i in range(size // 40))
    return "".join(lines).encode().ljust(size)[:size]


CONTENTS = {"words": words, "far-repeats": far_repeats, "log-lines": log_lines,
            "random": lambda rng, size: rng.randbytes(size),
            "few-values": lambda rng, size: bytes(rng.choices(range(16), k=size))}


@pytest.mark.parametrize("kind", ["zlib", "zstd"])
@pytest.mark.parametrize("content", CONTENTS)
def test_compressed_clusters_are_read_by_the_peer_and_not_larger(ours, peer, tmp_path, kind, content):
    size = 40 * CLUSTER
    (tmp_path / "disk").write_bytes(CONTENTS[content](random.Random(content), size) + bytes(CLUSTER))
    for tool, name in ((ours, "ours.qcow2"), (peer, "peer.qcow2")):
        tool("convert", "-c", "-f", "raw", "-O", "qcow2", "-o", f"compression_type={kind}", "disk", name)
        for reader in (ours, peer):
            reader("compare", "-f", "raw", "-F", "qcow2", "disk", name)
            reader("check", "-q", name)
    mine, theirs = ((tmp_path / name).stat().st_size for name in ("ours.qcow2", "peer.qcow2"))
    # Three clusters of grace for tables: the disk is small.
    assert mine <= theirs * 1.05 + 3 * CLUSTER
