"""Images that lodge-img writes are right for qemu-img, and the other way round.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import hashlib
import json
import shutil
import subprocess

import cases
import pytest

MIB = 1 << 20

QUICK = list(cases.quick_cases())
REST = [case for case in cases.all_cases() if case not in QUICK]


def params():
    for case in QUICK:
        yield pytest.param(*case[1:], id=case[0])
    for case in REST:
        yield pytest.param(*case[1:], id=case[0], marks=pytest.mark.slow)


def convert(tool, source, fmt, options, compressed, sparse, target):
    packed = ["-c"] if compressed else []
    sparse = [] if compressed else ["-S", sparse]
    words = [word.replace(f"={cases.DATA_FILE}", f"={target}.data") for word in cases.flags(options)]
    return tool("convert", "-f", "raw", "-O", fmt, *sparse, *packed, *words, source, target)


def assert_clean(tool, image, fmt):
    if fmt in cases.CHECKED and not image.name.endswith("-flat"):
        done = tool("check", "-f", fmt, "--output", "json", image, code=None)
        if done.returncode == 63:
            return  # this kind has no check
        assert done.returncode == 0, done.stdout + done.stderr
        found = json.loads(done.stdout)
        assert not found.get("corruptions") and not found.get("leaks"), found


@pytest.mark.parametrize("fmt, options, compressed, size, sparse", params())
def test_what_is_written_reads_the_same(ours, peer, disks, tmp_path, fmt, options, compressed, size, sparse):
    source = disks(size)
    for writer, reader in [(ours, peer), (peer, ours)]:
        target = tmp_path / f"{'ours' if writer is ours else 'peer'}.{fmt}"
        convert(writer, source, fmt, options, compressed, sparse, target)
        assert_clean(reader, target, fmt)
        assert_clean(writer, target, fmt)
        for tool in (ours, peer):
            tool("compare", "-f", "raw", "-F", fmt, source, target)
    shutil.rmtree(tmp_path)  # those of all cases take 15 GiB


@pytest.mark.parametrize("fmt, options", [("qcow2", "cluster_size=4k"), ("qcow2", "extended_l2=on"), ("vdi", "static=off")])
def test_the_number_of_threads_does_not_change_the_file(ours, tmp_path, fmt, options):
    source = tmp_path / "source.raw"
    with open(source, "wb") as file:
        for i in range(48):
            file.seek(3 * i * MIB)
            file.write(bytes([i + 1]) * (MIB + (i % 5) * 100 * 1024))
    files = set()
    for threads in (1, 2, 4, 8, 16):
        target = tmp_path / "target"
        ours("convert", "-f", "raw", "-O", fmt, "-o", options, "-m", threads, source, target)
        content = bytearray(target.read_bytes())
        if fmt == "vdi":
            content[392:424] = bytes(32)  # its identities
        files.add(hashlib.sha256(content).hexdigest())
    assert len(files) == 1


@pytest.mark.parametrize("fmt", ["raw", "qcow2", "vdi", "vmdk", "vpc", "vhdx"])
def test_an_image_is_read_back_as_raw(ours, peer, disks, tmp_path, fmt):
    source, image, back = disks(cases.SIZES[0]), tmp_path / "image", tmp_path / "back.raw"
    peer("convert", "-f", "raw", "-O", fmt, source, image)
    ours("convert", "-f", fmt, "-O", "raw", image, back)
    with open(source, "rb") as a, open(back, "rb") as b:
        assert a.read() == b.read()[:cases.SIZES[0]]


def test_qcow_version_1_is_read(ours, peer, disks, tmp_path):
    source = disks(cases.SIZES[0])
    peer("convert", "-f", "raw", "-O", "qcow", source, "plain.qcow")
    ours("compare", "-f", "raw", "-F", "qcow", source, "plain.qcow")


def test_several_inputs_are_put_together(ours, peer, disks, tmp_path):
    first, second = disks(cases.SIZES[0]), disks(cases.SIZES[1], 2)
    ours("convert", "-f", "raw", "-O", "qcow2", first, second, "ours.qcow2")
    peer("convert", "-f", "raw", "-O", "qcow2", first, second, "peer.qcow2")
    peer("compare", "ours.qcow2", "peer.qcow2")


def test_a_layer_keeps_only_what_its_backing_file_lacks(ours, peer, disks, tmp_path):
    peer("convert", "-f", "raw", "-O", "qcow2", disks(cases.SIZES[0]), "base.qcow2")
    peer("create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "top.qcow2")
    peer("bench", "-q", "-w", "-c", "20", "-s", "65536", "-S", "262144", "--pattern", "17", "top.qcow2")
    ours("convert", "-O", "qcow2", "-B", "base.qcow2", "-F", "qcow2", "top.qcow2", "ours.qcow2")
    peer("compare", "top.qcow2", "ours.qcow2")
    used = [json.loads(peer("check", "--output", "json", name).stdout)["allocated-clusters"]
            for name in ("top.qcow2", "ours.qcow2")]
    assert used[1] <= used[0]


def test_an_existing_target_is_overwritten_with_zeroes_too(ours, peer, disks, tmp_path):
    size = cases.SIZES[0]
    peer("convert", "-f", "raw", "-O", "qcow2", disks(size, 3), "target.qcow2")
    ours("convert", "-n", "-f", "raw", "-O", "qcow2", disks(size), "target.qcow2")
    peer("compare", "-f", "raw", "-F", "qcow2", disks(size), "target.qcow2")


def test_a_rate_limit_and_ordered_writes_change_nothing(ours, peer, disks, tmp_path):
    size = cases.SIZES[0]
    ours("convert", "-f", "raw", "-O", "vdi", "-m", "1", "-r", "1G", disks(size), "a.vdi")
    peer("compare", "-f", "raw", "-F", "vdi", disks(size), "a.vdi")


def test_progress_has_the_form_that_scripts_read(ours, disks, tmp_path):
    out = ours("convert", "-p", "-f", "raw", "-O", "qcow2", disks(cases.SIZES[0]), "a.qcow2").stdout
    assert out.startswith("    (0.00/100%)\r") and out.endswith("    (100.00/100%)\r\n"), out


@pytest.mark.parametrize("subformat", ["monolithicSparse", "monolithicFlat"])
def test_a_vmdk_disk_may_be_larger_than_2_tib(ours, peer, tmp_path, subformat):
    """Thin, with data behind that place; the other tool reads it."""
    for maker, reader in ((ours, peer), (peer, ours)):
        maker("create", "-q", "-f", "vmdk", "-o", f"subformat={subformat}", "a.vmdk", "3T")
        assert f'"virtual-size": {3 << 40},' in reader("info", "--output=json", "a.vmdk").stdout
        maker("bench", "-q", "-w", "-c", "1", "-s", "65536", "-o", str(5 << 39), "--pattern", "7", "-f", "vmdk", "a.vmdk")
        skip = (5 << 39) // 65536
        count = 1 if reader is ours else skip + 1  # qemu-img counts what is skipped
        reader("dd", "-f", "vmdk", "bs=65536", f"skip={skip}", f"count={count}", "if=a.vmdk", "of=a.raw")
        assert (tmp_path / "a.raw").read_bytes() == b"\7" * 65536
        for path in tmp_path.glob("a*"):
            path.unlink()


@pytest.fixture
def device(tmp_path):
    """A block device that had something before."""
    (tmp_path / "backing").write_bytes(b"old " * (MIB // 2))
    done = subprocess.run(["losetup", "--find", "--show", tmp_path / "backing"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no loop device: {done.stderr}")
    yield done.stdout.strip()
    subprocess.run(["losetup", "--detach", done.stdout.strip()], check=True)


@pytest.mark.parametrize("fmt", ["raw", "qcow2"])
def test_zeroes_of_the_source_replace_what_a_device_had(ours, peer, tmp_path, device, fmt):
    (tmp_path / "a.raw").write_bytes(bytes(65536) + b"a" * 65536 + bytes(MIB - 2 * 65536))
    ours("convert", "-f", "raw", "-O", fmt, "a.raw", device)
    size = ["size=1M,"] if fmt == "raw" else [""]
    for tool in (ours, peer):
        tool("compare", "--image-opts", "driver=raw,file.filename=a.raw",
             f"driver={fmt},{size[0]}file.driver=host_device,file.filename={device}" if tool is peer else
             f"driver={fmt},{size[0]}file.filename={device}")
