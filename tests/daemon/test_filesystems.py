"""Folders of the host in guests under QEMU, by 9P: arguments beside libvirtd's, and who may read them (10 s).

SPDX-License-Identifier: GPL-2.0-or-later
"""
import json
import os
import re
import subprocess
import tempfile

import libvirt
import libvirt_qemu
import pytest

from conftest import Lodged

QEMU = "/usr/bin/qemu-system-x86_64"

SAME = {
    "plain": "<filesystem type='mount'><source dir='/srv'/><target dir='t'/></filesystem>",
    "mapped": "<filesystem type='mount' accessmode='mapped' fmode='0644' dmode='755' multidevs='remap'><driver type='path'/>"
              "<source dir='/srv'/><target dir='t,u'/><readonly/></filesystem>",
    "squash": "<filesystem type='mount' accessmode='squash' multidevs='forbid'><driver type='path' wrpolicy='immediate'/>"
              "<source dir='/s,rv'/><target dir='t'/></filesystem>",
    "warn": "<filesystem type='mount' multidevs='warn'><source dir='/srv'/><target dir='t'/></filesystem>",
    "two": "<filesystem type='mount'><source dir='/srv'/><target dir='t'/></filesystem>"
           "<filesystem type='mount'><source dir='/etc'/><target dir='u'/></filesystem>",
    "mode-unmapped": "<filesystem type='mount' fmode='0644'><source dir='/srv'/><target dir='t'/></filesystem>",
    "mode-bad": "<filesystem type='mount' accessmode='mapped' fmode='0999'><source dir='/srv'/><target dir='t'/></filesystem>",
    "template": "<filesystem type='template'><source name='x'/><target dir='t'/></filesystem>",
}


def guest(name, devices):
    return f"""<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features><devices><emulator>{QEMU}</emulator>
<controller type='usb' model='none'/><memballoon model='none'/>{devices}</devices></domain>"""


def folder_xml(path, inner=""):
    return f"<filesystem type='mount'><source dir='{path}'/><target dir='share'/>{inner}</filesystem>"


@pytest.fixture(autouse=True)
def quiet():
    libvirt.registerErrorHandler(lambda *_: None, None)


def facts(connection, devices):
    """What -fsdev and -device say, word by word, and the stored XML; or the error's code."""
    try:
        domain = connection.defineXML(guest("fs", devices))
    except libvirt.libvirtError as error:
        return error.get_error_code()
    xml = domain.XMLDesc()
    domain.undefine()
    line = connection.domainXMLToNative("qemu-argv", guest("fs", devices)).replace("\\\n", "")
    found = [re.sub(r"\s+", " ", one) for one in re.findall(r"<filesystem.*?</filesystem>", xml, re.S)]
    for words in re.findall(r"-fsdev '?([^' ]+)", line):
        found.append(sorted(word.removesuffix("=on") for word in words.split(",")))
    devices = re.findall(r"'(\{\"driver\":\"virtio-9p-pci\"[^']*\})'", line)
    for text in devices:
        words = json.loads(text)
        found.append(sorted(f"{k}={v}" for k, v in words.items() if k != "driver"))
    if not devices:
        for words in re.findall(r"-device '?virtio-9p-pci,([^' ]+)", line):
            found.append(sorted(word.replace(",,", ",") for word in re.split(r"(?<!,),(?!,)", words)))
    return found


@pytest.mark.parametrize("case", SAME)
def test_arguments_and_xml_are_libvirtds(case, lodged, real_connection):
    ours, theirs = facts(libvirt.open(lodged.uri), SAME[case]), facts(real_connection, SAME[case])
    assert ours == theirs
    assert isinstance(ours, int) or len(ours) >= 3


def test_a_guest_has_the_folder(lodged, tmp_path):
    domain = libvirt.open(lodged.uri).createXML(guest("has", folder_xml(tmp_path)), libvirt.VIR_DOMAIN_START_PAUSED)
    try:
        query = {"execute": "qom-get", "arguments": {"path": "/machine/peripheral/fs0", "property": "mount_tag"}}
        assert json.loads(libvirt_qemu.qemuMonitorCommand(domain, json.dumps(query), 0))["return"] == "share"
    finally:
        domain.destroy()


def refusal(daemon, devices):
    connection = libvirt.open(daemon.uri)
    try:
        connection.createXML(guest("refused", devices), libvirt.VIR_DOMAIN_START_PAUSED)
    except libvirt.libvirtError as error:
        return str(error)
    finally:
        connection.close()  # at once: one that is collected later takes the last error away
    raise AssertionError("the guest started")


def test_what_is_no_folder_is_named(lodged, tmp_path):
    (tmp_path / "file").write_text("")
    assert f"'{tmp_path}/none': No such file" in refusal(lodged, folder_xml(tmp_path / "none"))
    assert f"'{tmp_path}/file' is no folder" in refusal(lodged, folder_xml(tmp_path / "file"))
    assert "'relative' is no absolute path" in refusal(lodged, folder_xml("relative"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give guests other users")
def test_a_folder_that_the_guests_user_cannot_read_is_named(tmp_path_factory):
    daemon = Lodged(str(tmp_path_factory.mktemp("fs")), session=False)
    try:
        with tempfile.TemporaryDirectory() as top:  # not below a test's folder, which other users cannot enter
            inner = os.path.join(top, "inner")
            shared = os.path.join(inner, "shared")
            os.makedirs(shared)
            os.chmod(top, 0o755)
            os.chmod(inner, 0o700)
            assert f"search the folder '{inner}'" in refusal(daemon, folder_xml(shared))
            os.chmod(inner, 0o755)
            os.chmod(shared, 0o711)
            text = refusal(daemon, folder_xml(shared))
            assert f"read the folder '{shared}'" in text and "(uid 19" in text
            os.chmod(shared, 0o755)
            connection = libvirt.open(daemon.uri)
            connection.createXML(guest("may", folder_xml(shared)), libvirt.VIR_DOMAIN_START_PAUSED).destroy()
    finally:
        daemon.stop()


def test_the_engine_without_9p_names_the_one_that_has_it(lodged):
    xml = guest("lodge", folder_xml("/srv")).replace(QEMU, os.path.join(lodged.build, "bin", "lodge-vmm"))
    path = os.path.join(lodged.root, "guest.xml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(xml.replace("hvm</type>", f"hvm</type><kernel>{path}</kernel>"))
    done = subprocess.run(["virsh", "-c", lodged.uri, "create", path], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "<emulator>/usr/bin/qemu-system-x86_64</emulator>" in done.stderr
