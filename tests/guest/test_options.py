"""What lodge-vmm says to a wrong command line: one clear line, exit status 1, nothing left behind.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import signal
import subprocess

import pytest
from images import image


def run(vmm, *options):
    return subprocess.run([vmm, *options], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)


def refused(vmm, *options):
    """Runs it; returns the one line it ends with."""
    result = run(vmm, *options)
    assert result.returncode == 1, result
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("lodge-vmm: "), result.stderr
    assert result.stdout == ""
    return lines[0]


@pytest.fixture(scope="module")
def kernel(build):
    return image(build, "fetch-kernel")


@pytest.fixture
def quiet(kernel):
    return ["-nodefaults", "-display", "none", "-accel", "xlate", "-m", "256", "-kernel", kernel]


@pytest.mark.parametrize("option,part", [
    ("-device", "virtio-blk-pci"), ("-machine", "q35"), ("-cpu", "x86-64-v3"), ("-accel", "xlate"),
    ("-netdev", "user"), ("-chardev", "socket"), ("-object", "rng-builtin")])
def test_help_lists_what_there_is(vmm, option, part):
    result = run(vmm, option, "help")
    assert result.returncode == 0 and part in result.stdout and result.stderr == ""


def test_a_device_explains_its_properties(vmm):
    assert "drive=<" in run(vmm, "-device", "virtio-blk-pci,help").stdout
    assert "jit=<bool>" in run(vmm, "-accel", "help").stdout
    assert "hpet=<bool>" in run(vmm, "-machine", "q35,help").stdout


def test_version_and_help_print_to_standard_output(vmm):
    for option in ("-version", "--version"):
        assert run(vmm, option).stdout.startswith("lodge-vmm ")
    assert "-kernel FILE" in run(vmm, "--help").stdout


@pytest.mark.parametrize("options,part", [
    (["-m", "0"], "-m: 0 is not a size"),
    (["-smp", "0"], "'cpus' cannot be '0'"),
    (["-smp", "1000"], "too many"),
    (["-cpu", "penguin"], "penguin"),
    (["-cpu", "max,+nonsense"], "nonsense"),
    (["-machine", "q53"], "did you mean 'q35'?"),
    (["-accel", "kwm"], "did you mean 'kvm'?"),
    (["-frobnicate"], "'-frobnicate' is not supported"),
    (["-device", "virtio-blk-pic"], "did you mean 'virtio-blk-pci'?"),
    (["-device", "virtio-rng-pci,speed=9"], "has no property 'speed'"),
    (["-device", "virtio-rng-pci,addr=99"], "99"),
    (["-device", "virtio-rng-pci,bus=pcie.9"], "pcie.9"),
    (["-device", "virtio-blk-pci,drive=nowhere"], "there is no drive 'nowhere'"),
    (["-device", "virtio-rng-device"], "needs virtio-mmio"),
    (["-device", "q35-host"], "part of the machine"),
    (["-device", "isa-serial,irq=2"], "'irq' cannot be '2'"),
    (["-device", "isa-serial,chardev=gone"], "there is no chardev 'gone'"),
    (["-netdev", "usr,id=n"], "netdev type 'usr' is not supported"),
    (["-chardev", "sokcet,id=n"], "sokcet"),
    (["-global", "nothing.x=y"], "no device is called 'nothing'"),
    (["-object", "iothread,id=i"], "object type 'iothread' is not supported"),
    (["-machine", "memory-backend=gone"], "no memory-backend-* object 'gone'"),
    (["-initrd", "/nowhere/initrd"], "initrd '/nowhere/initrd': cannot open it: No such file"),
    (["-serial", "unix:/nowhere/socket,server=on"], "/nowhere/socket"),
    (["-drive", "file=/nowhere/disk,format=raw"], "/nowhere/disk"),
    (["-drive", "file=/dev/null,format=qcow3"], "format 'qcow3' is not supported"),
    (["-bios", "/usr/share/seabios/bios.bin"], "-bios: firmware cannot run yet"),
])
def test_nonsense_is_refused_in_one_line(vmm, quiet, options, part):
    assert part in refused(vmm, *quiet, *options)


def test_without_a_kernel_it_says_what_to_give(vmm):
    assert "-kernel FILE" in refused(vmm, "-nodefaults", "-display", "none", "-accel", "xlate")


def test_broken_kernels_are_refused(vmm, kernel, tmp_path):
    def refused_kernel(path, memory="256"):
        return refused(vmm, "-nodefaults", "-display", "none", "-accel", "xlate", "-m", memory, "-kernel", str(path))
    short = tmp_path / "short"
    with open(kernel, "rb") as file:
        short.write_bytes(file.read(1 << 20))
    assert f"kernel '{short}': the file is cut short" in refused_kernel(short)
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    assert "not a kernel" in refused_kernel(script)
    empty = tmp_path / "empty"
    empty.touch()
    assert "the file is empty" in refused_kernel(empty)
    assert "not a regular file" in refused_kernel(tmp_path)
    assert "No such file" in refused_kernel(tmp_path / "gone")
    assert "too little RAM" in refused_kernel(kernel, "32")


def test_an_initrd_larger_than_ram_is_refused(vmm, quiet, tmp_path):
    initrd = tmp_path / "initrd"
    with open(initrd, "wb") as file:
        file.truncate(1 << 30)
    line = refused(vmm, *quiet, "-initrd", str(initrd))
    assert "too large: it has 1024 MiB" in line


def test_daemonize_leaves_a_process_that_its_pid_file_names(vmm, quiet, tmp_path):
    pidfile = tmp_path / "pid"
    result = run(vmm, *quiet, "-S", "-daemonize", "-pidfile", str(pidfile))
    assert result.returncode == 0 and result.stderr == ""
    pid = int(pidfile.read_text())
    try:
        assert f"is in use by process {pid}" in refused(vmm, *quiet, "-S", "-pidfile", str(pidfile))
    finally:
        os.kill(pid, 15)
        subprocess.run(["tail", "-f", f"--pid={pid}", "/dev/null"], timeout=30, check=True)
    assert not pidfile.exists()


def test_passed_descriptors_are_opened_by_their_set(vmm, kernel, tmp_path):
    """Kernel, disk and console from descriptors alone: the files have no name any more."""
    files = {"kernel": os.open(kernel, os.O_RDONLY)}
    for name, flags in (("disk", os.O_RDWR), ("log", os.O_WRONLY)):
        path = tmp_path / name
        path.write_bytes(bytes(1 << 20) if name == "disk" else b"")
        files[name] = os.open(path, flags)
        if name == "disk":
            path.unlink()
    options = ["-nodefaults", "-display", "none", "-accel", "xlate", "-m", "256", "-kernel", "/dev/fdset/0",
               "-append", "console=ttyS0 panic=-1", "-no-reboot",
               "-drive", "file=/dev/fdset/1,format=raw,if=virtio",
               "-chardev", "file,id=s,path=/dev/fdset/2,append=on", "-serial", "chardev:s"]
    for number, fd in enumerate(files.values()):
        options += ["-add-fd", f"fd={fd},set={number},opaque=test"]
    result = subprocess.run([vmm, *options], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                            timeout=300, pass_fds=list(files.values()))
    assert result.returncode == 0, result.stderr
    # Without an init the kernel panics, after it has said what it is.
    assert "Linux version" in (tmp_path / "log").read_text()


def test_a_passed_descriptor_of_the_wrong_mode_is_refused(vmm, quiet, tmp_path):
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(4096))
    fd = os.open(disk, os.O_RDONLY)
    result = subprocess.run([vmm, *quiet, "-add-fd", f"fd={fd},set=1", "-drive", "file=/dev/fdset/1,format=raw"],
                            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, pass_fds=[fd])
    assert result.returncode == 1
    assert "no descriptor of the set is open for reading and writing" in result.stderr
    assert "no such set" in refused(vmm, *quiet, "-drive", "file=/dev/fdset/7,format=raw")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_wait_for_a_peer(vmm, quiet, tmp_path, number):
    path = tmp_path / "qmp"
    process = subprocess.Popen([vmm, *quiet, "-S", "-qmp", f"unix:{path},server=on"], stdin=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True)
    try:
        assert "waiting for connection on" in process.stderr.readline()
        process.send_signal(number)
        assert process.wait(30) == 1
        assert f"signal {number:d} from pid" in process.stderr.read()
        assert not path.exists()
    finally:
        process.kill()
        process.wait()
