"""Jobs on a disk that a guest writes to without pause: snapshot, stream, active commit, mirror with pivot, full and
incremental backups. What the guest reads in the end is what the images hold. Minutes.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import json
import re
import subprocess

import pytest
from guest import Guest, Qmp, monitor_command
from images import image

SIZE = 16 << 20
WRITER = ("(n=0; while [ ! -e /tmp/stop ]; do yes $n-of-many | head -c 65536 | "
          "dd of=/dev/vda bs=64k seek=$((n*37%256)) conv=notrunc 2>/dev/null; n=$((n+1)); "
          "[ $((n%16)) = 0 ] && sync; echo $n > /tmp/count; done; sync; touch /tmp/stopped) & true")


class Disk:
    """The disk of the guest by QMP, as libvirt handles it."""

    def __init__(self, qmp, folder):
        self.qmp = qmp
        self.folder = folder

    def path(self, name):
        return str(self.folder / f"{name}.qcow2")

    def add(self, name, backing=None):
        words = ["qemu-img", "create", "-q", "-f", "qcow2"]
        words += ["-u", "-b", self.path(backing), "-F", "qcow2"] if backing else []
        subprocess.run([*words, self.path(name), str(SIZE)], check=True)
        self.qmp.command("blockdev-add", {"driver": "qcow2", "node-name": name, "backing": None, "discard": "unmap",
                                          "file": {"driver": "file", "filename": self.path(name)}})

    def wait(self, status, job="job"):
        while True:
            data = self.qmp.wait_event("JOB_STATUS_CHANGE", 120)["data"]
            if data == {"id": job, "status": status}:
                return
            assert data["status"] != "aborting", self.qmp.command("query-jobs")

    def finish(self, completes=False):
        if completes:
            self.wait("ready")
            self.qmp.command("job-complete", id="job")
        self.wait("concluded")
        jobs = self.qmp.command("query-jobs")
        assert "error" not in jobs[0], jobs
        self.qmp.command("job-dismiss", id="job")
        self.wait("null")

    def active(self):
        return [disk["inserted"]["node-name"] for disk in self.qmp.command("query-block") if "inserted" in disk][0]

    def backup(self, name, sync, transaction=()):
        action = {"job-id": "job", "device": self.active(), "target": name, "sync": sync, "auto-dismiss": False}
        action |= {"bitmap": "since"} if sync == "incremental" else {}
        self.qmp.command("transaction", {"actions": [*transaction, {"type": "blockdev-backup", "data": action}]})
        self.finish()


def count(vm):
    return int(vm.run("cat /tmp/count")[1].split()[-1])


def progress(vm):
    """Waits until the guest has written some blocks more: it is not held up."""
    before = count(vm)
    assert vm.run(f"while [ $(cat /tmp/count) -lt {before + 8} ]; do sleep 0.1; done", 120)[0] == 0


def run_jobs(disk, vm):
    job = {"job-id": "job", "auto-dismiss": False}
    disk.add("full")
    disk.backup("full", "full", [{"type": "block-dirty-bitmap-add", "data": {"node": "base", "name": "since"}}])
    progress(vm)
    # The part of the disk that changed meanwhile.
    disk.add("incr1", "full")
    disk.backup("incr1", "incremental")
    progress(vm)
    disk.add("over1")
    disk.qmp.command("blockdev-snapshot", node="base", overlay="over1")
    progress(vm)
    disk.qmp.command("block-commit", job | {"device": "over1", "top-node": "over1", "base-node": "base"})
    disk.finish(completes=True)
    assert disk.active() == "base"
    progress(vm)
    for name, mode in (("copy1", "background"), ("copy2", "write-blocking")):
        disk.add(name)
        disk.qmp.command("blockdev-mirror", job | {"device": disk.active(), "target": name, "sync": "full", "copy-mode": mode})
        disk.finish(completes=True)
        assert disk.active() == name
        progress(vm)
    disk.add("over2")
    disk.qmp.command("blockdev-snapshot", node="copy2", overlay="over2")
    progress(vm)
    disk.qmp.command("block-stream", job | {"device": "over2"})
    disk.finish()
    progress(vm)
    for name in ("over1", "copy2", "copy1", "full"):
        disk.qmp.command("blockdev-del", node_name=name)


def md5(path):
    raw = subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, path + ".raw"], check=True)
    assert raw.returncode == 0
    return subprocess.run(["md5sum", path + ".raw"], check=True, capture_output=True, text=True).stdout.split()[0]


@pytest.mark.slow
def test_jobs_under_a_guest_that_writes_without_pause(build, tmp_path):
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(tmp_path / "base.qcow2"), str(SIZE)], check=True)
    node = {"driver": "qcow2", "node-name": "base", "discard": "unmap",
            "file": {"driver": "file", "filename": str(tmp_path / "base.qcow2")}}
    command = monitor_command(build, "-accel", "xlate", "-m", "128", "-kernel", image(build, "fetch-kernel"),
                              "-initrd", image(build, "make-initramfs"), "-append", "console=ttyS0 lodge.shell",
                              "-qmp", f"unix:{tmp_path}/qmp,server=on,wait=off", "-blockdev", json.dumps(node),
                              "-device", "virtio-blk-pci,drive=base,id=disk0")
    with Guest(command) as vm:
        vm.expect("# ", 600)
        qmp = Qmp(str(tmp_path / "qmp"))
        disk = Disk(qmp, tmp_path)
        vm.run("stty -echo; export PS1='# '", 300)
        vm.run(f"echo 0 > /tmp/count; {WRITER}", 60)
        progress(vm)
        run_jobs(disk, vm)
        assert vm.run("touch /tmp/stop; while [ ! -e /tmp/stopped ]; do sleep 0.1; done", 300)[0] == 0
        disk.add("last")
        disk.backup("last", "full")
        vm.run("echo 3 > /proc/sys/vm/drop_caches", 60)
        status, seen = vm.run("md5sum < /dev/vda", 300)
        assert status == 0
        qmp.command("quit")
        assert vm.wait(60) == 0, vm.errors()
    for name in ("base", "full", "incr1", "over1", "copy1", "copy2", "over2", "last"):
        subprocess.run(["qemu-img", "check", "-q", disk.path(name)], check=True)
    assert md5(disk.path("over2")) == md5(disk.path("last")) == re.search("[0-9a-f]{32}", seen)[0]
