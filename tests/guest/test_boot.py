"""Debian's stock kernel with a busybox initramfs: reaches its init, powers off, and has nothing to complain about.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import re

import pytest
from guest import Guest, monitor_command
from images import image

# What a healthy boot never prints.
TROUBLE = re.compile(r"WARNING:|BUG:|Oops|general protection|Call Trace|rcu.*stall|soft lockup|"
                     r"hung task|Kernel panic|unchecked MSR|spurious|irq \d+: nobody cared|MTRRs disabled|clocksource.*unstable",
                     re.IGNORECASE)


def boot_options(build, cpus, append=""):
    return ["-m", "256", "-smp", str(cpus), "-kernel", image(build, "fetch-kernel"),
            "-initrd", image(build, "make-initramfs"), "-append", f"console=ttyS0 {append}".strip()]


def boot_to_power_off(build, cpus, *extra, append=""):
    """One boot; returns the console's text."""
    command = monitor_command(build, *extra, *boot_options(build, cpus, append))
    with Guest(command) as vm:
        vm.expect("reached init", 300)
        status = vm.wait(120)
        assert status == 0, f"the monitor ended with status {status}\n{vm.errors()}"
        return vm.output


def assert_healthy(console, cpus):
    trouble = [line for line in console.splitlines() if TROUBLE.search(line)]
    assert not trouble, "\n".join(trouble)
    if cpus > 1:
        assert f"Brought up 1 node, {cpus} CPUs" in console


@pytest.mark.parametrize("cpus", [1, 2])
def test_the_stock_kernel_powers_off_without_a_complaint(build, cpus):
    assert_healthy(boot_to_power_off(build, cpus, "-accel", "xlate"), cpus)


def test_the_interpreter_alone_boots_the_stock_kernel(build):
    # With sanitizers on a busy host it is slow enough for the kernel to think that its processor is stuck.
    console = boot_to_power_off(build, 1, "-accel", "xlate,jit=off", append="nosoftlockup")
    assert_healthy(console, 1)


@pytest.mark.slow
@pytest.mark.parametrize("cpus", [1, 2])
def test_fifty_boots_of_fifty(build, cpus):
    for boot in range(50):
        console = boot_to_power_off(build, cpus, "-accel", "xlate")
        assert_healthy(console, cpus)
        print(f"boot {boot + 1} of 50 with {cpus} vCPU: ok", flush=True)
