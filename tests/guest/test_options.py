"""What lodge-vmm says to a wrong command line: one clear line, exit status 1, nothing left behind.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import signal
import subprocess

import pytest
from guest import Guest, Qmp
from images import image
from patience import PATIENCE


def run(vmm, *options):
    return subprocess.run([vmm, *options], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60 * PATIENCE)


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
    (["-device", '{"driver":"virtio-rng-pci","addr":'], "-device: no JSON object"),
    (["-device", '{"driver":"virtio-rng-pci","speed":9}'], "has no property 'speed'"),
    (["-device", '{"id":"x"}'], "the device's name comes first"),
    (["-object", "rng-random,id=r,filename=/nowhere"], "cannot open '/nowhere'"),
    (["-blockdev", "driver=raw,node-name=n,colour=red,file.driver=file,file.filename=/dev/null"],
     "Parameter 'colour' is unexpected: the driver 'raw' of the node 'n' does not have it"),
    (["-blockdev", '{"driver":"raw","node-name":"n","file":{"driver":"file","filename":"/dev/null","lockin":"off"}}'],
     "Parameter 'lockin' is unexpected: the driver 'file' of '/dev/null' does not have it; did you mean 'locking'?"),
    (["-object", "secret,id=s"], "either 'data' or 'file' is needed"),
    (["-object", "secret,id=s,file=/nowhere"], "Unable to read '/nowhere'"),
    (["-object", "memory-backend-file,id=m,size=256M,mem-path=/tmp/x", "-machine", "memory-backend=m"],
     "give share=on, or a folder"),
    (["-object", "memory-backend-file,id=m,size=256M", "-machine", "memory-backend=m"], "'mem-path' is missing"),
    (["-object", "memory-backend-ram,id=m,size=64M", "-machine", "memory-backend=m"], "-m asks for 256M"),
    (["-sandbox", "on,spawn=perhaps"], "spawn"),
    (["-global", "ICH9-LPC.disable_s3=0"], "no device is called 'ICH9-LPC'"),
    (["-audiodev", "driver=alsa,id=a"], "driver 'alsa' is not supported"),
    (["-action", "reboot=explode"], "explode"),
    (["-chardev", "socket,id=c,path=/nowhere/x,wait=on"], "'wait' is for servers only"),
    (["-device", "virtio-blk-pci,drive=nowhere"], "there is no drive 'nowhere'"),
    (["-device", "virtio-rng-device"], "needs virtio-mmio"),
    (["-device", "q35-host"], "part of the machine"),
    (["-device", "isa-serial,irq=2"], "'irq' cannot be '2'"),
    (["-device", "isa-serial,chardev=gone"], "there is no chardev 'gone'"),
    (["-netdev", "usr,id=n"], "netdev type 'usr' is not supported"),
    (["-chardev", "sokcet,id=n"], "sokcet"),
    (["-global", "nothing.x=y"], "no device is called 'nothing'"),
    (["-object", "iothreads,id=i"], "object type 'iothreads' is not supported"),
    (["-machine", "memory-backend=gone"], "no memory-backend-* object 'gone'"),
    (["-initrd", "/nowhere/initrd"], "initrd '/nowhere/initrd': cannot open it: No such file"),
    (["-serial", "unix:/nowhere/socket,server=on"], "/nowhere/socket"),
    (["-drive", "file=/nowhere/disk,format=raw"], "/nowhere/disk"),
    (["-drive", "file=/dev/null,format=qcow3"], "Unknown driver 'qcow3'"),
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
        subprocess.run(["tail", "-f", f"--pid={pid}", "/dev/null"], timeout=30 * PATIENCE, check=True)
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
                            timeout=300 * PATIENCE, pass_fds=list(files.values()))
    assert result.returncode == 0, result.stderr
    # Without an init the kernel panics, after it has said what it is.
    assert "Linux version" in (tmp_path / "log").read_text()


def test_a_passed_descriptor_of_the_wrong_mode_is_refused(vmm, quiet, tmp_path):
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(4096))
    fd = os.open(disk, os.O_RDONLY)
    result = subprocess.run([vmm, *quiet, "-add-fd", f"fd={fd},set=1", "-drive", "file=/dev/fdset/1,format=raw"],
                            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60 * PATIENCE, pass_fds=[fd])
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
        assert process.wait(30 * PATIENCE) == 1
        assert f"signal {number:d} from pid" in process.stderr.read()
        assert not path.exists()
    finally:
        process.kill()
        process.wait()


def libvirt_command_line(tmp_path, disk):
    """What libvirt 9.0's domxml-to-native gives for a q35 guest with virtio devices, but for the disk: -drive."""
    key = tmp_path / "master-key.aes"
    key.write_bytes(os.urandom(32))
    ports = []
    for number in range(6):
        multifunction = ',"multifunction":true' if number == 0 else ""
        ports += ["-device", f'{{"driver":"pcie-root-port","port":{8 + number},"chassis":{1 + number},'
                             f'"id":"pci.{1 + number}","bus":"pcie.0"{multifunction},"addr":"0x1.0x{number}"}}']
    return [
        "-name", "guest=demo,debug-threads=on", "-S",
        "-object", f'{{"qom-type":"secret","id":"masterKey0","format":"raw","file":"{key}"}}',
        "-machine", "pc-q35-7.2,usb=off,dump-guest-core=off,memory-backend=pc.ram", "-accel", "tcg",
        "-cpu", "EPYC,acpi=on,ss=on,monitor=on,hypervisor=on,erms=on,mpx=on,pcommit=on,clwb=on,umip=on,pku=on,vaes=on,"
                "la57=on,pks=on,3dnowext=on,3dnow=on,npt=on,vgif=on,svme-addr-chk=on,vme=off,rdseed=off,sha-ni=off,"
                "xsavec=off,fxsr-opt=off,misalignsse=off,3dnowprefetch=off,osvw=off,topoext=off,nrip-save=off",
        "-m", "512", "-object", '{"qom-type":"memory-backend-ram","id":"pc.ram","size":536870912}',
        "-overcommit", "mem-lock=off", "-smp", "2,sockets=2,cores=1,threads=1",
        "-uuid", "c7a5fdbd-edaf-9455-926a-d65c16db1809", "-display", "none", "-no-user-config", "-nodefaults",
        "-chardev", f"socket,id=charmonitor,path={tmp_path}/monitor.sock,server=on,wait=off",
        "-mon", "chardev=charmonitor,id=monitor,mode=control", "-rtc", "base=utc,driftfix=slew",
        "-global", "kvm-pit.lost_tick_policy=delay", "-no-hpet", "-no-shutdown",
        "-global", "ICH9-LPC.disable_s3=1", "-global", "ICH9-LPC.disable_s4=1", "-boot", "strict=on", *ports,
        "-device", '{"driver":"virtio-serial-pci","id":"virtio-serial0","bus":"pci.2","addr":"0x0"}',
        "-drive", f"file={disk},format=raw,if=none,id=libvirt-1-format,cache=none,discard=unmap",
        "-device", '{"driver":"virtio-blk-pci","bus":"pci.3","addr":"0x0","drive":"libvirt-1-format",'
                   '"id":"virtio-disk0","bootindex":1,"write-cache":"on","serial":"abc"}',
        "-netdev", '{"type":"user","id":"hostnet0"}',
        "-device", '{"driver":"virtio-net-pci","netdev":"hostnet0","id":"net0","mac":"52:54:00:11:22:33",'
                   '"bus":"pci.1","addr":"0x0"}',
        "-chardev", "stdio,id=charserial0",
        "-device", '{"driver":"isa-serial","chardev":"charserial0","id":"serial0","index":0}',
        "-chardev", f"socket,id=charchannel0,path={tmp_path}/agent,server=on,wait=off",
        "-device", '{"driver":"virtserialport","bus":"virtio-serial0.0","nr":1,"chardev":"charchannel0",'
                   '"id":"channel0","name":"org.qemu.guest_agent.0"}',
        "-audiodev", '{"id":"audio1","driver":"none"}',
        "-device", '{"driver":"virtio-balloon-pci","id":"balloon0","bus":"pci.4","addr":"0x0"}',
        "-object", '{"qom-type":"rng-random","id":"objrng0","filename":"/dev/urandom"}',
        "-device", '{"driver":"virtio-rng-pci","rng":"objrng0","id":"rng0","bus":"pci.5","addr":"0x0"}',
        "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        "-device", '{"driver":"pvpanic"}', "-msg", "timestamp=on"]


def test_the_line_that_libvirt_writes_runs_a_guest(vmm, build, tmp_path):
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(1 << 20))
    command = [vmm, *libvirt_command_line(tmp_path, disk), "-kernel", image(build, "fetch-kernel"),
               "-initrd", image(build, "make-initramfs"), "-append", "console=ttyS0 lodge.hold lodge.shell"]
    # The sandbox forbids ptrace, by which a build with sanitizers looks for leaks as it ends.
    with Guest(command, env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}) as vm:
        qmp = Qmp(str(tmp_path / "monitor.sock"))
        assert qmp.command("query-status")["status"] == "prelaunch"
        qmp.command("cont")
        vm.expect("reached init", 300)
        status, text = vm.run("cat /sys/class/net/eth0/address /sys/block/vda/serial; ls /sys/class/virtio-ports; "
                              "dd if=/dev/hwrng bs=16 count=1 2>/dev/null | wc -c; echo a > /dev/vda; sync")
        assert status == 0 and "52:54:00:11:22:33\nabc" in text and "vport1p1\n16\n" in text
        qmp.command("quit")
        assert vm.wait(30) == 0


@pytest.mark.parametrize("backend", ["memory-backend-ram,id=m,size=256M,prealloc=on", "memory-backend-memfd,id=m,size=256M",
                                     "memory-backend-file,id=m,size=256M,mem-path={},share=on",
                                     "memory-backend-file,id=m,size=256M,mem-path={folder}"])
def test_guest_ram_is_what_an_object_describes(vmm, quiet, tmp_path, backend):
    path = tmp_path / "ram"
    socket_path = str(tmp_path / "qmp")
    command = [vmm, *quiet, "-machine", "memory-backend=m", "-object", backend.format(path, folder=tmp_path), "-S",
               "-qmp", f"unix:{socket_path},server=on,wait=off"]
    with Guest(command) as vm:
        qmp = Qmp(socket_path)
        assert qmp.command("query-memory-size-summary")["base-memory"] == 256 << 20
        assert path.exists() == ("share=on" in backend)
        if path.exists():
            assert path.stat().st_size == 256 << 20
        assert not [name for name in os.listdir(tmp_path) if name.startswith("lodge-ram")]
        qmp.command("quit")
        assert vm.wait(30) == 0
