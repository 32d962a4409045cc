"""The KVM accelerator on (translated) hardware: QEMU's translator runs Debian's kernel with kvm-amd, and in there
runs what is tested.

The inner guests get no XSAVE: QEMU 7.2 does not intercept XSETBV, so that the kernel's KVM would work with another
XCR0 than its guest.
SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import re

import pytest
from guest import Guest, qemu_command
from images import image
from test_boot import TROUBLE

INNER = "-accel kvm -cpu max,-xsave -nodefaults -display none -serial stdio -kernel /vmlinuz"


class Outer:
    """Makes and runs the outer guest; its init runs a script."""

    def __init__(self, build, folder):
        self.build = build
        self.folder = folder

    def initramfs(self, script, added):
        path = os.path.join(self.folder, "script")
        with open(path, "w", encoding="ascii") as stream:
            stream.write(script)
        arguments = ["--modules", "kvm-amd", "--run", path, "--output", os.path.join(self.folder, "outer.gz")]
        for item in added:
            arguments += ["--add", item]
        return image(self.build, "make-initramfs", *arguments)

    def run(self, script, added, timeout, *options):
        """Returns what the outer console showed after its init was reached.

        The outer guest has one CPU: with two, QEMU 7.2's translator loses interrupts around VMRUN now and then,
        and the outer kernel locks up (6 runs: 3 locked up; with one CPU none of 25).
        """
        command = qemu_command("-cpu", "max", "-m", "1536", "-smp", "1", "-no-reboot",
                               "-kernel", image(self.build, "fetch-kernel"),
                               "-initrd", self.initramfs(script, added),
                               "-append", "console=ttyS0 quiet", *options)
        with Guest(command) as vm:
            vm.expect("reached init", 120)
            # "init done" alone is also what a kernel says of its random numbers.
            vm.expect(r"status=\d+", timeout)
            vm.expect(r"\ninit done", 60)
            vm.wait(60)
            return vm.output.split("reached init", 1)[1]

    def monitor(self):
        """The files that every inner guest needs."""
        return [os.path.join(self.build, "bin", "lodge-vmm"),
                f"{image(self.build, 'fetch-kernel')}:/vmlinuz"]


@pytest.fixture
def outer(build, tmp_path):
    return Outer(build, str(tmp_path))


def assert_healthy(console):
    """The inner TSC is the translator's: on a loaded host it stands while the host's threads wait."""
    trouble = [line for line in console.splitlines()
               if TROUBLE.search(line) and "Marking clocksource 'tsc' as unstable" not in line]
    assert not trouble, "\n".join(trouble)


def test_the_accelerators_unit_tests_pass_on_hardware(outer):
    """Also that the probe finds this KVM usable: the same program says so."""
    program = os.path.join(outer.build, "tests", "unit", "vmm_accel_kvm_test_kvm")
    console = outer.run("vmm_accel_kvm_test_kvm; echo status=$?\n", [program], 120)
    assert "status=0" in console, console
    assert "usable: yes" in console, console


@pytest.mark.slow
@pytest.mark.parametrize("cpus", [1, 2])
def test_the_stock_kernel_powers_off_under_kvm(outer, cpus):
    inner = f"{image(outer.build, 'make-initramfs')}:/inner.gz"
    script = (f"lodge-vmm {INNER} -m 256 -smp {cpus} -initrd /inner.gz "
              "-append 'console=ttyS0 lodge.cmd=echo,inner:,$(nproc)' </dev/null; echo status=$?\n")
    console = outer.run(script, [*outer.monitor(), inner], 600)
    assert "Hypervisor detected: KVM" in console, console[-2000:]
    assert "reached init" in console, console[-2000:]
    assert re.search(rf"inner: {cpus}\b", console), console[-2000:]
    assert "status=0" in console, console[-2000:]
    assert_healthy(console)


@pytest.mark.slow
def test_the_probe_chooses_kvm_where_it_works(outer):
    inner = f"{image(outer.build, 'make-initramfs')}:/inner.gz"
    options = INNER.replace("-accel kvm", "-accel kvm:xlate")
    script = (f"lodge-vmm {options} -m 256 -initrd /inner.gz -append 'console=ttyS0 quiet' </dev/null 2>&1; "
              "echo status=$?\n")
    console = outer.run(script, [*outer.monitor(), inner], 600)
    assert "reached init" in console and "status=0" in console, console[-2000:]
    assert "going on with" not in console, console[-2000:]


@pytest.mark.slow
def test_the_root_disk_reaches_its_login_prompt_under_kvm(outer, tmp_path):
    disk = image(outer.build, "make-rootfs")
    inner = f"{image(outer.build, 'make-initramfs', '--root')}:/inner.gz"
    # systemd gives up on the serial port after 90 s, and on a busy host its udev takes longer here.
    script = (f"lodge-vmm {INNER} -m 768 -smp 2 -initrd /inner.gz -append 'console=ttyS0 root=/dev/vda rw quiet "
              "systemd.default_timeout_start_sec=900 systemd.default_device_timeout_sec=900' "
              "-drive file=/dev/vda,format=raw,if=virtio -nic user,model=virtio-net-pci -device virtio-rng-pci\n")
    command = qemu_command("-cpu", "max", "-m", "1536", "-smp", "1", "-no-reboot",
                           "-kernel", image(outer.build, "fetch-kernel"),
                           "-initrd", outer.initramfs(script, [*outer.monitor(), inner]),
                           "-append", "console=ttyS0 quiet",
                           "-drive", f"file={disk},format=raw,if=virtio,snapshot=on")
    with Guest(command) as vm:
        vm.log_in()
        status, text = vm.run("systemd-detect-virt; systemctl is-system-running --wait; nproc", 600)
        assert status == 0 and "kvm" in text and "running" in text, text
        vm.send("poweroff\n")
        vm.expect("init done", 600)
        vm.wait(60)
