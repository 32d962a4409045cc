"""Files that a command writes to: an image that others count on is not overwritten, a half one does not look whole.

Takes some seconds.
SPDX-License-Identifier: GPL-2.0-or-later
"""
import hashlib
import os

import pytest

MIB = 1 << 20


def digest(path):
    return hashlib.sha256(path.read_bytes()).digest()


@pytest.fixture
def chain(peer, tmp_path):
    """base.qcow2, under other names too, below mid.qcow2; data.qcow2 with its data in data.raw."""
    peer("create", "-q", "-f", "qcow2", "base.qcow2", "1M")
    peer("create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "mid.qcow2")
    peer("create", "-q", "-f", "qcow2", "-o", "data_file=data.raw", "data.qcow2", "1M")
    os.link(tmp_path / "base.qcow2", tmp_path / "hard.qcow2")
    os.symlink("base.qcow2", tmp_path / "soft.qcow2")
    return tmp_path


@pytest.mark.parametrize("name", ["base.qcow2", "./base.qcow2", "hard.qcow2", "soft.qcow2", "mid.qcow2", "data.raw"])
def test_an_image_over_itself_is_refused(chain, ours, name):
    backing = "data.qcow2" if name == "data.raw" else "mid.qcow2"
    before = digest(chain / name)
    done = ours("create", "-f", "qcow2", "-b", backing, "-F", "qcow2", name, code=1)
    assert "same filename as the backing file" in done.stderr and done.stdout == ""
    assert digest(chain / name) == before


def test_a_backing_file_that_is_not_opened_is_kept_too(chain, ours):
    before = digest(chain / "base.qcow2")
    ours("create", "-f", "qcow2", "-u", "-b", "base.qcow2", "-F", "qcow2", "./base.qcow2", "1M", code=1)
    assert digest(chain / "base.qcow2") == before


def test_a_backing_file_is_no_data_file(chain, ours):
    before = digest(chain / "base.qcow2")
    ours("create", "-f", "qcow2", "-o", "data_file=base.qcow2", "-b", "mid.qcow2", "-F", "qcow2", "new.qcow2", code=1)
    assert digest(chain / "base.qcow2") == before and not (chain / "new.qcow2").exists()


@pytest.mark.parametrize("command", [["info", "a:b"], ["create", "-f", "raw", "a:b", "1M"], ["convert", "base.qcow2", "a:b"],
                                     ["create", "-f", "qcow2", "-b", "a:b", "-F", "raw", "new.qcow2"]])
def test_a_name_of_an_unknown_protocol_is_no_file(chain, ours, peer, command):
    (chain / "a:b").write_bytes(bytes(MIB))
    assert "Unknown protocol 'a'" in peer(*command, code=1).stderr
    assert "Unknown protocol 'a'" in ours(*command, code=1).stderr
    ours("info", "file:a:b")
    ours("info", "./a:b")


def test_a_backing_format_that_does_not_exist_is_refused(chain, ours, peer):
    before = digest(chain / "mid.qcow2")
    for tool in (ours, peer):
        assert "Invalid format name" in tool("rebase", "-u", "-b", "base.qcow2", "-F", "nosuch", "mid.qcow2", code=1).stderr
    assert digest(chain / "mid.qcow2") == before
