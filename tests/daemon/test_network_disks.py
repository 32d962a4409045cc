"""Disks by NBD whose names are not of a URI, names of shared memory, with both engines (3 s).

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import shutil
import subprocess
import threading
from xml.sax.saxutils import quoteattr

import libvirt
import pytest

from conftest import BUILD

KERNEL = os.path.join(BUILD, "tests", "guest", "first-instruction.elf")
ENGINES = {"lodge-vmm": os.path.join(BUILD, "bin", "lodge-vmm"), "qemu": "/usr/bin/qemu-system-x86_64"}
NAMES = ["plain", "a?socket=/nowhere", "/slash//es", "a%20b", "a#b&c=d;e", 'quo"te\\s', "comma,,s", "spa ce é"]


def guest(name, emulator, devices):
    return f"""<domain type='qemu'><name>{name}</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type><kernel>{KERNEL}</kernel></os>
<devices><emulator>{emulator}</emulator><controller type='usb' model='none'/>{devices}</devices></domain>"""


def nbd_disk(export, path, target):
    return (f"<disk type='network' device='disk'><driver name='qemu' type='raw'/><source protocol='nbd' name={quoteattr(export)}>"
            f"<host transport='unix' socket={quoteattr(path)}/></source><target dev='{target}' bus='virtio'/></disk>")


def code_of(call, *words):
    with pytest.raises(libvirt.libvirtError) as caught:
        call(*words)
    return caught.value.get_error_code()


class Server:
    """One export, told apart by its size."""

    def __init__(self, folder, export, number):
        self.socket = str(folder / f"so?ck&et,{number}")
        self.size = (number + 1) << 20
        image = folder / f"{number}.raw"
        image.touch()
        os.truncate(image, self.size)
        self.process = subprocess.Popen(["qemu-nbd", "-x", export, "-k", self.socket, "-f", "raw", "-t", str(image)])
        while not os.path.exists(self.socket):
            assert self.process.poll() is None
            threading.Event().wait(0.01)

    def stop(self):
        self.process.terminate()
        self.process.wait()


@pytest.mark.skipif(not shutil.which("qemu-nbd"), reason="qemu-utils is not installed")
@pytest.mark.parametrize("engine", ENGINES)
def test_names_of_exports_and_sockets_reach_the_engine_as_they_are(connection, tmp_path, engine):
    servers = [Server(tmp_path, export, number) for number, export in enumerate(NAMES)]
    disks = [nbd_disk(export, server.socket, f"vd{chr(97 + number)}")
             for number, (export, server) in enumerate(zip(NAMES, servers))]
    domain = connection.createXML(guest("nbd-" + engine, ENGINES[engine], "".join(disks[:-1])), libvirt.VIR_DOMAIN_START_PAUSED)
    domain.attachDevice(disks[-1])  # and when it is plugged
    stats = connection.domainListGetStats([domain], libvirt.VIR_DOMAIN_STATS_BLOCK)[0][1]
    assert [stats[f"block.{number}.capacity"] for number in range(len(NAMES))] == [server.size for server in servers]
    domain.destroy()
    for server in servers:
        server.stop()


def test_a_socket_is_needed_where_one_is_said(connection):
    disk = nbd_disk("a", "/s", "vda").replace(" socket=\"/s\"", "")
    assert code_of(connection.defineXML, guest("none", ENGINES["qemu"], disk)) == libvirt.VIR_ERR_XML_ERROR


@pytest.mark.parametrize("name", ["a/b", "/a", ".", "..", "../a", ""])
@pytest.mark.parametrize("model", ["ivshmem-plain", "ivshmem-doorbell"])
def test_names_of_shared_memory_are_names_of_files(connection, name, model):
    """libvirt 9.0: 67 for each; the empty one it takes, and starts no guest with it."""
    device = f"<shmem name='{name}'><model type='{model}'/>{'<server/>' if model == 'ivshmem-doorbell' else ''}</shmem>"
    xml = guest("shared", ENGINES["qemu"], device)
    assert code_of(connection.defineXML, xml) == libvirt.VIR_ERR_CONFIG_UNSUPPORTED
    assert code_of(connection.createXML, xml) == libvirt.VIR_ERR_CONFIG_UNSUPPORTED


@pytest.mark.parametrize("device", ["<shmem name='a'><model type='ivshmem-doorbell'/></shmem>",
                                    "<shmem name='a'><model type='ivshmem-plain'/><server path='/x'/></shmem>"])
def test_doorbells_and_they_alone_have_a_server(connection, device):
    assert code_of(connection.defineXML, guest("shared", ENGINES["qemu"], device)) == libvirt.VIR_ERR_CONFIG_UNSUPPORTED
