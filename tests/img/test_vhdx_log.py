"""A vhdx log that a crash left behind is replayed as the peer replays it.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import shutil
import struct

import pytest

KIB, MIB = 1 << 10, 1 << 20
SECTOR = 4096
GUID = bytes(range(1, 17))


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def log_entry(sequence, tail, target, content, file_bytes):
    """An entry with one data sector for @target."""
    entry = bytearray(2 * SECTOR)
    struct.pack_into("<4sIIIQI", entry, 0, b"loge", 0, len(entry), tail, sequence, 1)
    entry[32:48] = GUID
    struct.pack_into("<QQ", entry, 48, file_bytes, file_bytes)
    struct.pack_into("<4s4s8sQQ", entry, 64, b"desc", content[-4:], content[:8], target, sequence)
    entry[SECTOR:] = content
    struct.pack_into("<4sI", entry, SECTOR, b"data", sequence >> 32)
    struct.pack_into("<I", entry, 2 * SECTOR - 4, sequence & 0xffffffff)
    struct.pack_into("<I", entry, 4, crc32c(entry))
    return bytes(entry)


@pytest.fixture
def crashed(peer, tmp_path):
    """An image whose block table's change is only in the log: block 0 lies at 4 MiB."""
    peer("create", "-q", "-f", "vhdx", "-o", "block_size=1M", "crashed.vhdx", "4M")
    path = tmp_path / "crashed.vhdx"
    with open(path, "r+b") as file:
        image = bytearray(file.read())
        region = image[192 * KIB:]
        bat, = struct.unpack_from("<Q", region, 16 + 16)
        if region[16:20] != bytes([0x66, 0x77, 0xc2, 0x2d]):
            bat, = struct.unpack_from("<Q", region, 48 + 16)
        end = max(len(image), bat + MIB)
        file.truncate(end + MIB)
        file.seek(end)
        file.write(b"\x21" * MIB)
        sector = bytearray(SECTOR)
        struct.pack_into("<Q", sector, 0, end | 6)
        sector[-4:] = b"last"
        headers = [struct.unpack_from("<Q", image, at + 8)[0] for at in (64 * KIB, 128 * KIB)]
        at = (64 * KIB, 128 * KIB)[headers[1] > headers[0]]
        header = image[at:at + SECTOR]
        header[48:64] = GUID
        header[4:8] = bytes(4)
        struct.pack_into("<I", header, 4, crc32c(header))
        file.seek(at)
        file.write(header)
        log, = struct.unpack_from("<Q", header, 72)
        stale = bytearray(SECTOR)
        file.seek(log)
        file.write(log_entry(7, 0, bat, bytes(stale), end + MIB))
        file.write(log_entry(8, 0, bat, bytes(sector), end + MIB))
    return path


def test_a_log_is_replayed_as_the_peer_does(ours, peer, crashed, tmp_path):
    shutil.copy(crashed, tmp_path / "peer.vhdx")
    ours("check", "-r", "all", crashed, code=None)
    peer("check", "-r", "all", "peer.vhdx")
    for tool in (ours, peer):
        tool("compare", crashed, "peer.vhdx")
        tool("check", crashed)
    ours("convert", "-O", "raw", crashed, "out.raw")
    assert (tmp_path / "out.raw").read_bytes() == b"\x21" * MIB + bytes(3 * MIB)


def test_an_image_with_a_log_is_not_read_without_replay(ours, crashed):
    assert "log that needs to be replayed" in ours("info", crashed, code=1).stderr
