"""Real work in a Debian guest with systemd: right results and no crash.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import shutil

import pytest
from guest import Guest, monitor_command
from images import image
from test_boot import TROUBLE

pytestmark = pytest.mark.slow

PROGRAM = r"""
#include <stdio.h>
#include <math.h>
int main(void) { double s = 0; for (int i = 1; i <= 1000000; i++) { s += 1.0 / ((double)i * i); }
printf("%.9f\n", sqrt(6 * s)); return 0; }
"""


@pytest.fixture(scope="module")
def shell(build, tmp_path_factory):
    """A booted guest, logged in as root."""
    disk = tmp_path_factory.mktemp("load") / "disk.raw"
    shutil.copyfile(image(build, "make-rootfs"), disk)
    command = monitor_command(
        build, "-accel", "xlate", "-m", "1G", "-smp", "2", "-kernel", image(build, "fetch-kernel"),
        "-initrd", image(build, "make-initramfs", "--root"),
        "-append", "console=ttyS0 root=/dev/vda rw",
        "-drive", f"file={disk},format=raw,if=virtio", "-nic", "user", "-device", "virtio-rng-pci")
    with Guest(command) as vm:
        vm.expect("login: ", 1800)
        vm.send("root\n")
        vm.expect("Password: ", 300)
        vm.send("lodge\n")
        vm.expect("# ", 300)
        vm.run("stty -echo; export PS1='# '")
        yield vm
        vm.send("poweroff\n")
        assert vm.wait(600) == 0
        trouble = [line for line in vm.output.splitlines() if TROUBLE.search(line)]
        assert not trouble, "\n".join(trouble)


def run(shell, command, timeout):
    status, text = shell.run(command, timeout)
    assert status == 0, text
    return text


def test_stress_ng_verifies_for_a_minute(shell):
    text = run(shell, "stress-ng --cpu 2 --vm 1 --vm-bytes 128M --verify -t 60s 2>&1", 600)
    assert "failed" not in text.replace("failed: 0", "")


def test_sysbench_cpu_finds_its_primes(shell):
    assert "total number of events" in run(shell, "sysbench cpu --time=10 --threads=2 run", 300)


def test_openssl_speed_and_digests(shell):
    run(shell, "openssl speed -seconds 1 -evp aes-256-gcm 2>&1", 300)
    run(shell, "openssl speed -seconds 1 rsa2048 2>&1", 300)
    text = run(shell, "printf abc | openssl dgst -sha256", 120)
    assert "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" in text


def test_python_computes_digits_of_pi(shell):
    code = ("from decimal import *;getcontext().prec=60;"
            "a=lambda x:sum(Decimal((-1)**k)/((2*k+1)*x**(2*k+1)) for k in range(60));"
            "print(4*(4*a(Decimal(5))-a(Decimal(239))))")
    assert "3.14159265358979323846264338327950288419716939937510" in run(shell, f'python3 -c "{code}"', 300)


def test_perl_sorts_and_matches(shell):
    code = "my %h; $h{$_ % 997}++ for 1..200000; print scalar(keys %h), qq{ $h{5}\\n}"
    assert "997 201" in run(shell, f"perl -e '{code}'", 300)


def test_gcc_compiles_a_program_that_is_right(shell):
    run(shell, f"cat > /tmp/p.c <<'END'\n{PROGRAM}\nEND", 60)
    assert "3.141591699" in run(shell, "gcc -O2 -o /tmp/p /tmp/p.c -lm && /tmp/p", 600)
