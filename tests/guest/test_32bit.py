"""32-bit code: an i386 program under the 64-bit kernel, and a 32-bit kernel of its own.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import pytest
from guest import Guest, monitor_command
from images import image
from test_boot import assert_healthy

SCRIPT = """#!/bin/sh
/bin/busybox32 sh -c 'i=0; while [ $i -lt 200 ]; do i=$((i+1)); done; echo thirty-two $i'
/bin/busybox32 sha256sum /bin/busybox32 > /tmp/a
/bin/busybox sha256sum /bin/busybox32 > /tmp/b
/bin/busybox32 awk 'BEGIN { printf "%.6f\\n", 22 / 7 * 1.5 }'
cmp /tmp/a /tmp/b && echo same sums
"""


def test_a_32_bit_program_runs_under_the_64_bit_kernel(build, tmp_path):
    script = tmp_path / "run"
    script.write_text(SCRIPT)
    busybox = image(build, "fetch-i386", "busybox")
    initrd = image(build, "make-initramfs", "--no-modules", "--run", str(script), "--add",
                   f"{busybox}:/bin/busybox32", "--output", str(tmp_path / "initrd"))
    command = monitor_command(build, "-accel", "xlate", "-m", "256", "-kernel", image(build, "fetch-kernel"),
                              "-initrd", initrd, "-append", "console=ttyS0 quiet")
    with Guest(command) as vm:
        vm.expect("thirty-two 200", 300)
        vm.expect(r"4\.714286", 60)
        vm.expect("same sums", 60)
        assert vm.wait(120) == 0


@pytest.mark.parametrize("jit", ["on", pytest.param("off", marks=pytest.mark.slow)])
def test_a_32_bit_kernel_reaches_its_init(build, tmp_path, jit):
    busybox = image(build, "fetch-i386", "busybox")
    initrd = image(build, "make-initramfs", "--no-modules", "--add", f"{busybox}:/bin/busybox",
                   "--output", str(tmp_path / "initrd"))
    command = monitor_command(build, "-accel", f"xlate,jit={jit}", "-m", "256", "-kernel",
                              image(build, "fetch-i386", "kernel"), "-initrd", initrd,
                              "-append", "console=ttyS0")
    with Guest(command) as vm:
        vm.expect("reached init", 600)
        assert vm.wait(120) == 0
        assert_healthy(vm.output, 1)
