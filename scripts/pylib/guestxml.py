"""Small guests for tests of lodged: their XML, and a shell on their consoles.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import re
import select
import time

import images
from guest import GuestError
from patience import PATIENCE

QEMU = "/usr/bin/qemu-system-x86_64"
AGENT = "org.qemu.guest_agent.0"


def boot_files(build):
    """(kernel, initramfs with a shell on the console)."""
    return images.image(build, "fetch-kernel"), images.image(build, "make-initramfs")


def guest_xml(name, boot, emulator=None, devices="", memory=256, vcpus=1, extra="", ports=4, console="<console type='pty'/>"):
    """A guest with free hot-plug ports and a shell on its serial console."""
    kernel, initrd = boot
    slots = "".join(f"<controller type='pci' index='{n}' model='pcie-root-port'/>" for n in range(1, ports + 1))
    return f"""<domain type='qemu'><name>{name}</name><memory unit='MiB'>{memory}</memory>{vcpus_xml(vcpus)}
<os><type arch='x86_64' machine='q35'>hvm</type><kernel>{kernel}</kernel><initrd>{initrd}</initrd>
<cmdline>console=ttyS0 quiet lodge.hold lodge.shell</cmdline></os><features><acpi/><apic/></features>{extra}
<devices>{f'<emulator>{emulator}</emulator>' if emulator else ''}
<controller type='pci' index='0' model='pcie-root'/>{slots}{console}{devices}</devices></domain>"""


def vcpus_xml(vcpus):
    current, most = vcpus if isinstance(vcpus, tuple) else (vcpus, vcpus)
    return f"<vcpu current='{current}'>{most}</vcpu>"


def disk_xml(path, target, extra="", bus="virtio", fmt="raw", device="disk"):
    source = f"<source file='{path}'/>" if path else ""
    return (f"<disk type='file' device='{device}'><driver name='qemu' type='{fmt}'/>{source}"
            f"<target dev='{target}' bus='{bus}'/>{extra}</disk>")


class Console:
    """The shell on a guest's terminal."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        self.output = ""
        self._position = 0

    def close(self):
        os.close(self.fd)

    def expect(self, pattern, timeout=120):
        deadline = time.monotonic() + timeout * PATIENCE
        while True:
            match = re.compile(pattern).search(self.output, self._position)
            if match:
                self._position = match.end()
                return match
            left = deadline - time.monotonic()
            if left <= 0:
                raise GuestError(f"'{pattern}' did not appear: {self.output[-2000:]}")
            if select.select([self.fd], [], [], min(left, 1))[0]:
                try:
                    self.output += os.read(self.fd, 65536).decode(errors="replace")
                except BlockingIOError:
                    continue

    def run(self, command, timeout=120):
        """Runs a shell command; returns (status, output)."""
        mark = f"done{time.monotonic_ns()}"
        os.write(self.fd, f"{command}; echo {mark[:4]}''{mark[4:]}=$?\n".encode())
        before = self._position
        match = self.expect(rf"{mark}=(\d+)\r*\n", timeout)
        lines = self.output[before:match.start()].replace("\r", "").split("\n")
        if lines and f"{mark[:4]}''" in lines[0]:
            del lines[0]
        return int(match.group(1)), "\n".join(lines)
