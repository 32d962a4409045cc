"""NBD servers for the tests, ours and foreign ones, each for the length of a with block.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import contextlib
import os
import select
import shutil
import socket
import subprocess

import pytest

from patience import PATIENCE


def needs(*programs):
    """Skips where a foreign program is missing."""
    for program in programs:
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")


def wait_for_socket(path, process):
    """Until something answers at @path. A server that ends before fails the test."""
    while True:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
                return
            except OSError:
                assert process.poll() is None, f"{process.args} ended: {process.stderr.read().decode()}"
                select.select([], [], [], 0.02)


@contextlib.contextmanager
def running(args, path, **options):
    """A server in the foreground that listens at @path."""
    process = subprocess.Popen(list(map(str, args)), stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, **options)
    try:
        wait_for_socket(path, process)
        yield process
    finally:
        process.terminate()
        process.wait(20 * PATIENCE)
        process.stderr.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def qemu_nbd(image, path, *args, fmt="raw"):
    needs("qemu-nbd")
    return running(["qemu-nbd", "-t", "-f", fmt, "-k", path, "-e", "10", *args, image], path)


def nbdkit(path, *args):
    needs("nbdkit")
    return running(["nbdkit", "-f", "-U", path, *args], path)


def url(path, name="", scheme="nbd+unix"):
    return f"{scheme}:///{name}?socket={path}"
