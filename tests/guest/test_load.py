"""Real work in a Debian guest with systemd: the results of the host, and no crash.

Whatever computes something runs on the host too, and both must print the same.
SPDX-License-Identifier: GPL-2.0-or-later
"""
import base64
import re
import shutil
import subprocess

import pytest
from guest import Guest, monitor_command
from images import image
from test_boot import TROUBLE

pytestmark = pytest.mark.slow

C_PROGRAM = r"""
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static float f[4096];
static double d[4096];
static int by_value(const void *a, const void *b)
{ const int32_t *x = a, *y = b; return (*x > *y) - (*x < *y); }
static uint64_t mix(uint64_t h, const void *p, size_t n)
{ const uint8_t *b = p; while (n--) { h = (h ^ *b++) * 1099511628211u; } return h; }
int main(void)
{
    uint64_t x = 88172645463325252u, h = 14695981039346656037u;
    static int32_t v[100000];
    for (int i = 0; i < 100000; i++) {
        x ^= x << 13; x ^= x >> 7; x ^= x << 17;
        v[i] = (int32_t)x; f[i % 4096] += (float)(int32_t)x / 65536; d[i % 4096] += (double)(int64_t)x / 3;
    }
    qsort(v, 100000, sizeof(*v), by_value);
    h = mix(h, v, sizeof(v));
    printf("sort %016llx\n", (unsigned long long)h);
    for (int i = 0; i < 4096; i++) { f[i] = f[i] * 0.5f + f[4095 - i]; d[i] = sqrt(fabs(d[i])) * d[4095 - i]; }
    printf("vectors %016llx %016llx\n", (unsigned long long)mix(h, f, sizeof(f)), (unsigned long long)mix(h, d, sizeof(d)));
    long double l = 0; double s = 0;
    for (int i = 1; i <= 1000000; i++) { s += 1.0 / ((double)i * i); l += 1.0L / i; }
    printf("sums %.17g %.20Lg %a %a\n", s, l, sin(s), pow(s, 1.7));
    unsigned __int128 w = x; for (int i = 0; i < 1000; i++) { w = w * w + x; w ^= w >> 61; h += (uint64_t)(w % 1000003); }
    printf("wide %016llx %d %d\n", (unsigned long long)h, __builtin_popcountll(h), __builtin_clzll(h | 1));
    char *text = malloc(1 << 20); memset(text, 'a', (1 << 20) - 1); text[(1 << 20) - 1] = 0;
    memmove(text + 3, text, 1000); text[777777] = 'b';
    printf("strings %zu %ld\n", strlen(text), (long)(strchr(text, 'b') - text));
    return 0;
}
"""

PYTHON_PROGRAM = r"""
import decimal, hashlib, json, math, re, zlib
decimal.getcontext().prec = 60
a = lambda x: sum(decimal.Decimal((-1) ** k) / ((2 * k + 1) * x ** (2 * k + 1)) for k in range(60))
print(4 * (4 * a(decimal.Decimal(5)) - a(decimal.Decimal(239))))
print(pow(3, 10 ** 5, 2 ** 607 - 1), math.factorial(300) % (10 ** 40 + 7))
x, values = 1, []
for i in range(20000):
    x = (x * 6364136223846793005 + 1442695040888963407) % 2 ** 64
    values.append((x >> 11) / 2 ** 53)
print(repr(math.fsum(values)), repr(sum(math.sin(v) ** 2 for v in values)), sorted(values)[::4999])
text = json.dumps({str(i): values[i] for i in range(2000)})
print(hashlib.sha256(text.encode()).hexdigest(), hashlib.md5(text.encode()).hexdigest(), zlib.crc32(text.encode()))
print(len(zlib.compress(text.encode(), 9)), len(re.findall(r"0\.\d*7\d*3", text)), json.loads(text)["77"] == values[77])
"""

PERL_PROGRAM = r"""
my (%h, $x); $x = 12345;
for (1 .. 200000) { $x = ($x * 1103515245 + 12345) % 2147483648; $h{$x % 997}++ }
print scalar(keys %h), " ", join(",", map { "$_=$h{$_}" } (sort { $h{$b} <=> $h{$a} || $a <=> $b } keys %h)[0 .. 9]), "\n";
my $s = join "", map { chr(97 + $_ * $_ % 26) } 1 .. 50000; my $n = () = $s =~ /(a[^b]*?z)/g;
print "$n ", unpack("%32C*", $s), " ", sprintf("%.15g %.15g", atan2(1, 1) * 4, exp(1) ** 2.5), "\n";
"""

DIGESTS = ["md5", "sha1", "sha256", "sha512", "sha3-256", "blake2b512"]
CIPHERS = ["aes-128-cbc", "aes-256-ctr", "aes-256-ecb", "chacha20", "camellia-256-cbc"]


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
        vm.log_in()
        yield vm
        status, messages = vm.run("dmesg -c", 300)
        assert status == 0
        vm.send("poweroff\n")
        assert vm.wait(600) == 0
        trouble = [line for line in (vm.output + messages).splitlines() if TROUBLE.search(line)]
        assert not trouble, "\n".join(trouble)


def run(shell, command, timeout):
    """Runs @command in the guest; returns its output without the prompt that comes before it."""
    status, text = shell.run(command, timeout)
    assert status == 0, text
    return text.removeprefix("# ")


def copy_in(shell, content, path):
    """Makes @path in the guest, by lines that the terminal takes."""
    text = base64.b64encode(content).decode()
    run(shell, f": > {path}.b64", 60)
    for at in range(0, len(text), 1024):
        run(shell, f"echo {text[at:at + 1024]} >> {path}.b64", 60)
    run(shell, f"base64 -d {path}.b64 > {path}", 60)


def same_on_the_host(shell, command, folder, timeout=600):
    """Runs the shell command in the guest's /tmp and in @folder on the host; returns what both print."""
    here = subprocess.run(["sh", "-c", command], cwd=folder, text=True, check=True, capture_output=True).stdout
    assert run(shell, f"(cd /tmp; {command})", timeout).strip() == here.strip()
    assert here.strip()
    return here


def test_stress_ng_verifies_for_a_minute(shell):
    text = run(shell, "stress-ng --cpu 2 --vm 1 --vm-bytes 128M --verify -t 60s 2>&1", 600)
    assert "successful run completed" in text
    assert "fail" not in text.replace("failed: 0", "")


def test_sysbench_cpu_finds_its_primes(shell):
    text = run(shell, "sysbench cpu --time=10 --threads=2 run", 300)
    assert int(re.search(r"total number of events: +(\d+)", text)[1]) > 0


def test_openssl_speed_ends(shell):
    for what in ["-evp aes-256-gcm", "rsa2048", "ecdsap256"]:
        print(run(shell, f"openssl speed -seconds 1 {what} 2>&1", 300).splitlines()[-1])


def test_openssl_has_the_hosts_digests_and_ciphers(shell, tmp_path):
    digests = same_on_the_host(
        shell, "yes lodge | head -c 1000003 > plain; for d in " + " ".join(DIGESTS) + "; do openssl dgst -$d -r plain; done",
        tmp_path)
    assert len(digests.splitlines()) == len(DIGESTS)
    same_on_the_host(
        shell, "for c in " + " ".join(CIPHERS) + "; do "
        "openssl enc -$c -pbkdf2 -S 0102030405060708 -pass pass:lodge -in plain 2>/dev/null | sha256sum; done", tmp_path)


def test_openssl_signs_as_the_host_does(shell, tmp_path):
    key = tmp_path / "key.pem"
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
    copy_in(shell, key.read_bytes(), "/tmp/key.pem")
    same_on_the_host(
        shell, "echo lodge > m; openssl dgst -sha256 -sign key.pem m | sha256sum", tmp_path)


def test_python_prints_what_the_hosts_does(shell, tmp_path):
    (tmp_path / "p.py").write_text(PYTHON_PROGRAM)
    copy_in(shell, PYTHON_PROGRAM.encode(), "/tmp/p.py")
    text = same_on_the_host(shell, "/usr/bin/python3 p.py", tmp_path)
    assert "3.14159265358979323846264338327950288419716939937510" in text


def test_perl_prints_what_the_hosts_does(shell, tmp_path):
    (tmp_path / "p.pl").write_text(PERL_PROGRAM)
    copy_in(shell, PERL_PROGRAM.encode(), "/tmp/p.pl")
    same_on_the_host(shell, "perl p.pl", tmp_path)


@pytest.mark.parametrize("flags", ["-O0", "-O2", "-O3 -march=x86-64-v3 -ffp-contract=off"])
def test_gcc_compiles_what_the_hosts_does(shell, tmp_path, flags):
    (tmp_path / "p.c").write_text(C_PROGRAM)
    copy_in(shell, C_PROGRAM.encode(), "/tmp/p.c")
    text = same_on_the_host(shell, f"gcc {flags} -o p p.c -lm && ./p", tmp_path)
    assert len(text.splitlines()) == 5
