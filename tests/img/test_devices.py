"""Block devices of the host as images: their driver, and that they have the size they have. What file systems do for images.

Takes some seconds; needs loop devices. SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import shutil
import subprocess

import pytest

MIB = 1 << 20


def losetup(*args):
    return subprocess.run(["losetup", *args], capture_output=True, text=True, check=False)


@pytest.fixture
def device(tmp_path):
    """A loop device of 8 MiB over the file "below"."""
    with open(tmp_path / "below", "wb") as file:
        file.truncate(8 * MIB)
    done = losetup("--find", "--show", tmp_path / "below")
    if done.returncode:
        pytest.skip(f"no loop device: {done.stderr}")
    yield done.stdout.strip()
    losetup("--detach", done.stdout.strip())


def grow(device, path, size):
    os.truncate(path, size)
    assert losetup("--set-capacity", device).returncode == 0


@pytest.mark.parametrize("options", ["driver=host_device,filename={}", "driver=raw,file.driver=host_device,file.filename={}",
                                     "driver=qcow2,file.driver=host_device,file.filename={}"])
def test_host_device_is_a_driver(ours, peer, device, options):
    if "qcow2" in options:
        peer("create", "-q", "-f", "qcow2", device, "1M")
    for command in (["info"], ["map", "--output=json"]):
        mine, theirs = (tool(*command, "--image-opts", options.format(device)).stdout for tool in (ours, peer))
        lines = [[line for line in out.splitlines() if "disk size" not in line] for out in (mine, theirs)]
        assert lines[0] == lines[1]


def test_host_device_opens_no_file(ours, peer, tmp_path):
    (tmp_path / "a.raw").write_bytes(bytes(MIB))
    for tool in (ours, peer):
        assert "'host_device' driver requires 'a.raw' to be" in tool("info", "--image-opts", "driver=host_device,filename=a.raw", code=1).stderr


@pytest.mark.parametrize("args", [["+1M"], ["--shrink", "4M"], ["9M"], ["8M"]])
def test_a_device_is_not_resized(ours, peer, device, args):
    code = 0 if args == ["8M"] else 1
    mine, theirs = (tool("resize", "-f", "raw", *args[:-1], device, args[-1], code=code) for tool in (ours, peer))
    assert mine.stdout == theirs.stdout
    assert code == 0 or "Cannot resize device files" in mine.stderr or "Cannot grow device files" in mine.stderr


def test_an_image_on_a_device_is_resized_within_it(ours, peer, device, tmp_path):
    for tool in (ours, peer):
        tool("create", "-q", "-f", "qcow2", device, "4M")
        tool("resize", device, "64M")
        tool("resize", "--shrink", device, "2M")
        peer("check", device)
    ours("create", "-q", "-f", "luks", "--object", "secret,id=k,data=abc", "-o", "key-secret=k,iter-time=10", device, "4M")


def test_a_device_that_has_grown_may_be_taken_as_it_is(ours, device, tmp_path):
    """As block_resize does after lvextend: the size asked for is the device's."""
    ours("convert", "-f", "raw", "-O", "raw", "below", device)
    grow(device, tmp_path / "below", 16 * MIB)
    assert '"virtual-size": 16777216' in ours("info", "-f", "raw", "--output=json", device).stdout
    ours("resize", "-f", "raw", device, "16M")


@pytest.fixture
def mounted(tmp_path, request):
    """A new file system of the kind that the test names."""
    make = shutil.which(f"mkfs.{request.param}", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if not make:
        pytest.skip(f"mkfs.{request.param} is not installed")
    with open(tmp_path / "below", "wb") as file:
        file.truncate(400 * MIB)
    subprocess.run([make, "-q", tmp_path / "below"], check=True, capture_output=True)
    (tmp_path / "mnt").mkdir()
    done = subprocess.run(["mount", "-o", "loop", tmp_path / "below", tmp_path / "mnt"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount {request.param}: {done.stderr}")
    yield tmp_path / "mnt"
    subprocess.run(["umount", tmp_path / "mnt"], check=True)


@pytest.mark.parametrize("fmt", ["raw", "qcow2", "vmdk", "vdi", "vhdx", "vpc"])
@pytest.mark.parametrize("mounted", ["btrfs"], indirect=True)
def test_images_on_btrfs_may_go_without_copy_on_write(ours, peer, mounted, fmt):
    flags = []
    for tool in (ours, peer):
        done = tool("create", "-f", fmt, "-o", "nocow=on", mounted / "a", "8M")
        assert "nocow=on" in done.stdout
        tool("convert", "-O", fmt, "-o", "nocow=on", "-f", fmt, mounted / "a", mounted / "b")
        flags += [subprocess.run(["lsattr", mounted / name], capture_output=True, text=True, check=True).stdout for name in "ab"]
        (mounted / "a").unlink()
        (mounted / "b").unlink()
    assert flags[:2] == flags[2:] and all("C" in line.split()[0] for line in flags)


@pytest.mark.parametrize("mounted", ["xfs", "btrfs"], indirect=True)
def test_an_extent_size_hint_is_set_where_there_are_any(ours, peer, mounted):
    for tool in (ours, peer):
        done = tool("create", "-q", "-f", "qcow2", "-o", "extent_size_hint=2M", mounted / "a", "8M")
        assert ("extent size hint" in done.stderr) == ("btrfs" in subprocess.run(["stat", "-fc", "%T", mounted], capture_output=True, text=True,
                                                                              check=True).stdout)
        if not done.stderr and shutil.which("xfs_io"):
            assert "[2097152]" in subprocess.run(["xfs_io", "-c", "extsize", mounted / "a"], capture_output=True, text=True, check=True).stdout
