"""Disks served by I/O threads, with a Linux guest that writes while everything else happens to them: pauses,
snapshots, jobs, resizing, disks that come and go. Also what virtio-blk offers that guest: queues, discard,
serial number. About a minute and a half; other kinds of I/O than io_uring are slow tests.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import hashlib
import json
import subprocess

import pytest
from guest import Guest, GuestError, Qmp, monitor_command
from images import image

MIB = 1 << 20
DISK = 32 * MIB


@pytest.fixture(params=[pytest.param(("threads", "off"), marks=pytest.mark.slow), ("io_uring", "off"),
                        pytest.param(("native", "on"), marks=pytest.mark.slow)], ids=["threads", "io_uring", "native"])
def host(request, build, tmp_path):
    """A guest with three disks on two threads, and its monitor."""
    aio, direct = request.param
    socket = tmp_path / "qmp"
    options = []
    for name, fmt, thread in (("a", "qcow2", "io0"), ("b", "raw", "io0"), ("c", "qcow2", "io1")):
        path = tmp_path / f"{name}.{fmt}"
        subprocess.run(["qemu-img", "create", "-q", "-f", fmt, str(path), str(DISK)], check=True)
        node = {"driver": fmt, "node-name": name, "discard": "unmap", "cache": {"direct": direct == "on"},
                "file": {"driver": "file", "filename": str(path), "aio": aio, "discard": "unmap",
                         "cache": {"direct": direct == "on"}}}
        options += ["-blockdev", json.dumps(node), "-device",
                    f"virtio-blk-pci,drive={name},id=disk-{name},iothread={thread},serial=serial-{name},num-queues=2"]
    command = monitor_command(
        build, "-accel", "xlate", "-machine", "q35", "-m", "160", "-smp", "2", "-kernel", image(build, "fetch-kernel"),
        "-initrd", image(build, "make-initramfs"), "-append", "console=ttyS0 lodge.shell",
        "-object", "iothread,id=io0", "-object", "iothread,id=io1", "-device", "pcie-root-port,id=slot",
        "-qmp", f"unix:{socket},server=on,wait=off", *options)
    with Guest(command) as vm:
        vm.expect("# ", 600)
        vm.run("stty -echo; export PS1='# '", 300)
        qmp = Qmp(str(socket), 60)
        qmp.folder, qmp.aio = tmp_path, aio
        yield vm, qmp
        qmp.command("quit")
        assert vm.wait(60) == 0, vm.errors()
    for path in tmp_path.glob("*.qcow2"):
        subprocess.run(["qemu-img", "check", "-q", str(path)], check=True)


def run(vm, command, timeout=400):
    status, text = vm.run(command, timeout)
    assert status == 0, text
    return text.removeprefix("# ").strip()


def add_node(qmp, name, fmt="qcow2"):
    path = qmp.folder / f"{name}.{fmt}"
    subprocess.run(["qemu-img", "create", "-q", "-f", fmt, str(path), str(DISK)], check=True)
    qmp.command("blockdev-add", {"driver": fmt, "node-name": name, "discard": "unmap",
                                 "file": {"driver": "file", "filename": str(path), "discard": "unmap"}})


def wait_job(qmp, *states):
    while True:
        data = qmp.wait_event("JOB_STATUS_CHANGE", 120)["data"]
        assert data["status"] not in ("aborting",), data
        if data["status"] in states:
            return


# Writes disk $1 over and over, a new pattern each round, checks each and says so, until /tmp/stop is there.
WRITER = r"""
cat > /tmp/w <<'EOF'
n=0
while [ ! -e /tmp/stop ]; do
    n=$((n + 1))
    yes "$1 $n" | head -c 6000000 > /tmp/out$1
    dd if=/tmp/out$1 of=/dev/vd$1 bs=4k seek=$((n % 3 * 1500)) conv=fsync,notrunc 2>/dev/null || echo "write failed" >> /tmp/bad
    dd if=/dev/vd$1 bs=4k skip=$((n % 3 * 1500)) count=1465 iflag=direct 2>/dev/null | head -c 6000000 | cmp - /tmp/out$1 || echo "$1 $n differs" >> /tmp/bad
    echo $n > /tmp/round$1
done
EOF
"""


def rounds(vm):
    return [int(n) for n in run(vm, "cat /tmp/rounda /tmp/roundb /tmp/roundc 2>/dev/null || true").split()]


def wait_rounds(vm, more):
    """Returns when each disk was written and checked so many times more; no assertion about how long it takes."""
    before = rounds(vm) or [0]
    while True:
        after = rounds(vm)
        if len(after) == 3 and min(after) >= min(before) + more:
            return
        run(vm, "sleep 0.2")


def test_disks_of_threads_survive_what_happens_to_disks(host):
    vm, qmp = host
    threads = qmp.command("query-iothreads")
    assert [t["id"] for t in threads] == ["io0", "io1"]
    assert all(open(f"/proc/{vm.process.pid}/task/{t['thread-id']}/comm").read() == "iothread\n" for t in threads)
    assert run(vm, "cat /sys/block/vd[abc]/serial") == "serial-aserial-bserial-c"
    assert run(vm, "ls /sys/block/vda/mq | wc -l") == "2"
    run(vm, WRITER + "true", 60)
    vm.run("for d in a b c; do sh /tmp/w $d & done", 60)
    wait_rounds(vm, 1)
    for _ in range(10):
        qmp.command("stop")
        assert qmp.command("query-status")["status"] == "paused"
        qmp.command("cont")
    wait_rounds(vm, 1)
    # A snapshot of all three at once, and the first's merged back.
    for name in "abc":
        add_node(qmp, f"{name}1")
    qmp.command("transaction", {"actions": [
        {"type": "blockdev-snapshot", "data": {"node": n, "overlay": f"{n}1"}} for n in "abc"]})
    wait_rounds(vm, 1)
    qmp.command("block-commit", {"job-id": "j", "device": "a1", "auto-dismiss": False})
    wait_job(qmp, "ready")
    qmp.command("job-complete", id="j")
    wait_job(qmp, "concluded")
    qmp.command("job-dismiss", id="j")
    # The second goes elsewhere while it is written to.
    add_node(qmp, "moved")
    qmp.command("blockdev-mirror", {"job-id": "m", "device": "b1", "target": "moved", "sync": "full", "auto-dismiss": False})
    wait_job(qmp, "ready")
    qmp.command("stop")
    qmp.command("cont")
    qmp.command("job-complete", id="m")
    wait_job(qmp, "concluded")
    qmp.command("job-dismiss", id="m")
    wait_rounds(vm, 1)
    qmp.command("block_resize", node_name="c1", size=DISK + 4 * MIB)
    # A disk of the same thread comes and goes.
    with pytest.raises(GuestError, match="in use"):
        qmp.command("object-del", id="io1")
    add_node(qmp, "hot")
    qmp.command("object-add", {"qom-type": "iothread", "id": "io2"})
    for thread in ("io1", "io2"):
        qmp.command("device_add", {"driver": "virtio-blk-pci", "drive": "hot", "id": "hot0", "bus": "slot", "iothread": thread})
        run(vm, "while [ ! -b /dev/vdd ]; do sleep 0.1; done; echo hot > /tmp/h; dd if=/tmp/h of=/dev/vdd conv=fsync 2>/dev/null")
        qmp.command("device_del", id="hot0")
        while qmp.wait_event("DEVICE_DELETED", 120)["data"].get("device") != "hot0":
            pass
        run(vm, "while [ -b /dev/vdd ]; do sleep 0.1; done")
    qmp.command("object-del", id="io2")
    assert [t["id"] for t in qmp.command("query-iothreads")] == ["io0", "io1"]
    wait_rounds(vm, 1)
    run(vm, "touch /tmp/stop; wait")
    run(vm, "! cat /tmp/bad")
    assert run(vm, "blockdev --getsize64 /dev/vdc") == str(DISK + 4 * MIB)
    # What the guest sees is what the images hold.
    run(vm, "echo 1 > /proc/sys/kernel/printk; sync; echo 3 > /proc/sys/vm/drop_caches")  # which the kernel tells
    sums = {name: run(vm, f"head -c {DISK} /dev/vd{name} | md5sum").split()[0] for name in "ab"}
    qmp.command("stop")
    for name, path in (("a", "a.qcow2"), ("b", "moved.qcow2")):
        subprocess.run(["qemu-img", "convert", "-U", "-O", "raw", str(qmp.folder / path), str(qmp.folder / "out")], check=True)
        assert hashlib.md5((qmp.folder / "out").read_bytes()).hexdigest() == sums[name], name
    qmp.command("cont")


def test_a_guest_discards(host):
    vm, qmp = host
    path = qmp.folder / "b.raw"
    run(vm, "dd if=/dev/zero bs=64k count=64 2>/dev/null | tr '\\0' x > /tmp/data; dd if=/tmp/data of=/dev/vdb bs=64k conv=fsync 2>/dev/null")
    assert path.stat().st_blocks * 512 >= 4 * MIB
    run(vm, "blkdiscard -o 1048576 -l 1048576 /dev/vdb")
    assert path.stat().st_blocks * 512 <= 3 * MIB + 65536
    run(vm, "sync")
    with open(path, "rb") as file:
        content = file.read(4 * MIB)
    assert content[:MIB] == b"x" * MIB and content[2 * MIB:] == b"x" * 2 * MIB
    assert not any(content[MIB:2 * MIB])
