"""Huge pages of the host by virNodeAllocPages, beside the real libvirtd, and as root in the kernel's pools; 3 s.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os

import libvirt
import pytest

ADD, SET = libvirt.VIR_NODE_ALLOC_PAGES_ADD, libvirt.VIR_NODE_ALLOC_PAGES_SET
KIB = 2048
POOL = f"/sys/kernel/mm/hugepages/hugepages-{KIB}kB/nr_hugepages"
NODE = f"/sys/devices/system/node/node0/hugepages/hugepages-{KIB}kB/nr_hugepages"

# (sizes and counts, start cell, cells, flags). None of them changes a pool: 0 more.
ROWS = {
    "add": ({KIB: 0}, 0, 1, ADD),
    "whole-host": ({KIB: 0}, -1, 1, ADD),
    "whole-host-and-cells": ({KIB: 0}, -1, 100, ADD),
    "cells": ({KIB: 0}, 0, 100, ADD),
    "no-such-cell": ({KIB: 0}, 99, 1, ADD),
    "below-all-cells": ({KIB: 0}, -2, 1, ADD),
    "no-cells": ({KIB: 0}, 0, 0, ADD),
    "system-pages": ({os.sysconf("SC_PAGESIZE") // 1024: 1}, 0, 1, ADD),
    "no-such-size": ({3: 1}, 0, 1, ADD),
    "one-of-two": ({KIB: 0, 3: 1}, 0, 1, ADD),
    "flags": ({KIB: 0}, 0, 1, 2),
}

pytestmark = pytest.mark.skipif(not os.path.exists(NODE), reason="the kernel has no huge pages of 2 MiB")


def outcome(connection, arguments):
    try:
        return connection.allocPages(*arguments)
    except libvirt.libvirtError as error:
        return f"code {error.get_error_code()}"


@pytest.mark.parametrize("row", ROWS)
def test_pages_are_counted_and_refused_as_by_libvirtd(connection, real_connection, row):
    assert outcome(connection, ROWS[row]) == outcome(real_connection, ROWS[row])


def test_a_reader_gets_none(lodged):
    reader = libvirt.openReadOnly(lodged.uri)
    assert outcome(reader, ROWS["add"]) == "code 29"
    reader.close()


def pages(path):
    with open(path, encoding="utf-8") as file:
        return int(file.read())


@pytest.mark.skipif(not os.access(NODE, os.W_OK), reason="only root has pages reserved")
@pytest.mark.parametrize("cell", [0, -1])
def test_pages_are_reserved_and_given_back(connection, cell):
    before = pages(NODE if cell == 0 else POOL)
    try:
        assert connection.allocPages({KIB: 2}, cell, 1, ADD) == 1
        assert pages(POOL) == before + 2 and pages(NODE) <= before + 2
        assert connection.allocPages({KIB: before + 1}, cell, 1, SET) == 1
        assert pages(POOL) == before + 1
        assert outcome(connection, ({KIB: (1 << 64) - 1}, cell, 1, ADD)) == "code 9"
        assert pages(POOL) == before + 1
    finally:
        connection.allocPages({KIB: before}, cell, 1, SET)
    assert pages(POOL) == before
