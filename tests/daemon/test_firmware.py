"""UEFI guests under QEMU: what lodged chooses, stores and keeps, beside libvirtd 9.0 (30 s).

SPDX-License-Identifier: GPL-2.0-or-later
"""
import json
import os
import re
import time
import xml.etree.ElementTree as ET

import libvirt
import pytest

from conftest import Lodged
from patience import PATIENCE

QEMU = "/usr/bin/qemu-system-x86_64"
OVMF = "/usr/share/OVMF/"
NO_SECURE_BOOT = "<firmware><feature enabled='no' name='secure-boot'/></firmware>"
SECURE_WITHOUT_KEYS = ("<firmware><feature enabled='yes' name='secure-boot'/>"
                       "<feature enabled='no' name='enrolled-keys'/></firmware>")

pytestmark = pytest.mark.skipif(not os.path.exists("/usr/share/qemu/firmware/60-edk2-x86_64.json"),
                                reason="the package ovmf is not installed")


def guest(name, inner="", firmware="efi", machine="q35", features="<acpi/>", emulator=QEMU, more=""):
    choice = f" firmware='{firmware}'" if firmware else ""
    return f"""<domain type='qemu'><name>{name}</name><memory unit='MiB'>128</memory><vcpu>1</vcpu>
<os{choice}><type arch='x86_64' machine='{machine}'>hvm</type>{inner}</os><features>{features}</features>{more}<devices>
<emulator>{emulator}</emulator><controller type='usb' model='none'/><memballoon model='none'/></devices></domain>"""


# Where both daemons' users may write; each life removes it.
NVRAM_FILE = f"/tmp/lodge-test-{os.getpid()}_VARS.fd"


def nvram(kind, source, attributes=""):
    return f"<nvram {attributes}type='{kind}'>{source}</nvram>"


def loader(code, attributes="readonly='yes' type='pflash'"):
    return f"<loader {attributes}>{OVMF}{code}</loader>"


CASES = {
    "any": guest("g"),
    "no-secure-boot": guest("g", NO_SECURE_BOOT),
    "keys": guest("g", "<firmware><feature enabled='yes' name='enrolled-keys'/></firmware>"),
    "secure-without-keys": guest("g", SECURE_WITHOUT_KEYS + "<loader secure='yes'/>"),
    "pc": guest("g", machine="pc"),
    "smm": guest("g", NO_SECURE_BOOT, features="<acpi/><smm state='on'/>"),
    "s3": guest("g", more="<pm><suspend-to-mem enabled='yes'/></pm>"),
    "named": guest("g", loader("OVMF_CODE_4M.fd"), None),
    "named-old": guest("g", loader("OVMF_CODE.fd"), None),
    "named-secure": guest("g", loader("OVMF_CODE_4M.secboot.fd", "readonly='yes' type='pflash' secure='yes'") +
                          f"<nvram template='{OVMF}OVMF_VARS_4M.ms.fd'/>", None, features="<acpi/><smm state='on'/>"),
    "named-stateless": guest("g", loader("OVMF_CODE_4M.fd", "readonly='yes' type='pflash' stateless='yes'"), None),
    "source": guest("g", loader("OVMF_CODE_4M.fd") + nvram("file", f"<source file='{NVRAM_FILE}'/>"), None),
    "source-template": guest("g", loader("OVMF_CODE_4M.fd") + nvram("file", f"<source file='{NVRAM_FILE}'/>",
                                                                    f"template='{OVMF}OVMF_VARS_4M.ms.fd' "), None),
    "source-chosen": guest("g", nvram("file", f"<source file='{NVRAM_FILE}'/>")),
    "source-of-a-disk": guest("g", loader("OVMF_CODE_4M.fd") + nvram(
        "file", f"<source file='{NVRAM_FILE}' startupPolicy='optional' index='3'>"
        "<seclabel model='dac' relabel='no'/></source>"), None),
    "source-without-type": guest("g", loader("OVMF_CODE_4M.fd") + f"<nvram>{NVRAM_FILE}<source file='/nowhere/x'/></nvram>", None),
    # Refused when it is defined or started.
    "source-dir": guest("g", loader("OVMF_CODE_4M.fd") + nvram("dir", "<source dir='/tmp'/>"), None),
    "source-volume": guest("g", loader("OVMF_CODE_4M.fd") + nvram("volume", "<source pool='p' volume='v'/>"), None),
    "source-bogus": guest("g", loader("OVMF_CODE_4M.fd") + nvram("bogus", "<source file='/nowhere/x'/>"), None),
    "source-alone": guest("g", nvram("file", "<source file='/nowhere/x'/>"), None),
    "source-stateless": guest("g", loader("OVMF_CODE_4M.fd", "readonly='yes' type='pflash' stateless='yes'") +
                              nvram("file", "<source file='/nowhere/x'/>"), None),
    "source-chosen-template": guest("g", nvram("file", "<source file='/nowhere/x'/>", "template='/nowhere/y' ")),
    "bios": guest("g", firmware="bios"),
    "s4": guest("g", more="<pm><suspend-to-disk enabled='yes'/></pm>"),
    "stateless": guest("g", "<loader stateless='yes'/>"),
    "stateless-nvram": guest("g", "<loader stateless='yes'/><nvram>/nowhere/x</nvram>"),
    "secure-pc": guest("g", "<loader secure='yes'/>", machine="pc"),
    "secure-refused": guest("g", NO_SECURE_BOOT + "<loader secure='yes'/>"),
    "not-secure": guest("g", "<loader secure='no'/>"),
    "smm-off": guest("g", features="<acpi/><smm state='off'/>"),
    "template": guest("g", "<nvram template='/nowhere/x'/>"),
    "type": guest("g", "<loader type='rom'/>"),
    "readonly": guest("g", "<loader readonly='yes'/>"),
    "keys-unsecure": guest("g", "<firmware><feature enabled='no' name='secure-boot'/>"
                           "<feature enabled='yes' name='enrolled-keys'/></firmware>"),
    "unknown-feature": guest("g", "<firmware><feature enabled='no' name='bogus'/></firmware>"),
    "features-alone": guest("g", NO_SECURE_BOOT, None),
    "nvram-alone": guest("g", "<nvram>/nowhere/x</nvram>", None),
    "secure-without-smm": guest("g", loader("OVMF_CODE_4M.secboot.fd", "readonly='yes' type='pflash' secure='yes'"), None),
    "unknown-loader": guest("g", "<loader readonly='yes' type='pflash'>/nowhere/CODE.fd</loader>", None),
}


@pytest.fixture(scope="module")
def ours(lodged):
    return libvirt.open(lodged.uri)


@pytest.fixture(autouse=True)
def quiet():
    libvirt.registerErrorHandler(lambda *_: None, None)


def os_of(domain, flags=0):
    """<os> and <smm>, without what differs by daemon: the folder for variables."""
    root = ET.fromstring(domain.XMLDesc(flags))
    for element in root.iter():
        element.tail = None
        element.text = (element.text or "").strip() or None
    nvram = root.find("os/nvram")
    if nvram is not None and nvram.text:
        nvram.text = re.sub(r".*/nvram/", ".../nvram/", nvram.text)
    smm = root.find("features/smm")
    return [ET.tostring(element, encoding="unicode") for element in (root.find("os"), smm) if element is not None]


def life(connection, xml):
    """What each step of a guest's life gives."""
    steps = []
    try:
        domain = connection.defineXML(xml)
    except libvirt.libvirtError as error:
        return [("define", error.get_error_code())]
    steps.append(("defined", os_of(domain)))
    try:
        domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
        steps.append(("live", os_of(domain)))
        steps.append(("inactive", os_of(domain, libvirt.VIR_DOMAIN_XML_INACTIVE)))
        domain.destroy()
    except libvirt.libvirtError as error:
        steps.append(("start", error.get_error_code()))
    steps.append(("stopped", os_of(domain)))
    for flags in (0, libvirt.VIR_DOMAIN_UNDEFINE_NVRAM | libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM,
                  libvirt.VIR_DOMAIN_UNDEFINE_NVRAM):
        try:
            domain.undefineFlags(flags)
            steps.append((f"undefine {flags}", 0))
        except libvirt.libvirtError as error:
            steps.append((f"undefine {flags}", error.get_error_code()))
    return steps


@pytest.mark.parametrize("case", CASES)
def test_the_same_firmware_is_chosen_as_by_libvirtd(case, ours, real_connection):
    assert life(ours, CASES[case]) == life(real_connection, CASES[case])


def test_sources_of_variables_that_are_no_files_are_refused_by_name(lodged, tmp_path):
    """libvirtd begins no block device from a template either, and fails without words without <source>."""
    network = "<source protocol='nbd' name='x'><host name='localhost' port='10809'/></source>"
    for kind, source, wrong in (("block", "<source dev='/dev/nowhere'/>", "<nvram type='block'>"),
                                ("network", network, "<nvram type='network'>"),
                                ("file", "", "<source file='PATH'/>"), ("block", "", "<source dev='PATH'/>"),
                                ("dir", "<source dir='/tmp'/>", "<nvram type='dir'>"),
                                ("file", f"<source file='{tmp_path}/x'><slices><slice type='storage' offset='0' size='1'/></slices>"
                                 "</source>", "<slices>")):
        xml = guest("source", loader("OVMF_CODE_4M.fd") + nvram(kind, source), None)
        done = lodged.virsh("create", write(lodged, xml), check=False)
        assert done.returncode == 1 and wrong in done.stderr
        assert not os.path.exists("/dev/nowhere")


def test_a_guest_keeps_its_variables_in_its_source(lodged, ours, tmp_path):
    path = tmp_path / "own.fd"
    domain = ours.defineXML(guest("sourced", loader("OVMF_CODE_4M.fd") + nvram("file", f"<source file='{path}'/>"), None))
    domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    drives = {drive["device"]: drive["inserted"] for drive in monitor(domain, "query-block") if drive.get("inserted")}
    assert not drives["pflash1"]["ro"]
    domain.destroy()
    assert contents(path) == contents(OVMF + "OVMF_VARS_4M.fd")
    domain.rename("resourced")  # the file is not the name's
    assert path.exists()
    domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)
    assert not path.exists()


@pytest.mark.parametrize("machine", ["q35", "pc"])
def test_domain_capabilities_tell_what_libvirtd_tells(machine, ours, real_connection):
    told = []
    for connection in (ours, real_connection):
        root = ET.fromstring(connection.getDomainCapabilities(QEMU, "x86_64", machine, "qemu"))
        told.append(re.sub(r"\s+", "", ET.tostring(root.find("os"), encoding="unicode")))
    assert told[0] == told[1]


def nvram_of(lodged, name):
    return os.path.join(lodged.root, "lib", "nvram", f"{name}_VARS.fd")


def contents(path):
    with open(path, "rb") as file:
        return file.read()


def monitor(domain, command):
    import libvirt_qemu
    return json.loads(libvirt_qemu.qemuMonitorCommand(domain, json.dumps({"execute": command}), 0))["return"]


def test_a_guest_runs_by_the_firmware_and_has_both_flashes(lodged, ours):
    domain = ours.createXML(guest("runs", NO_SECURE_BOOT), 0)
    try:
        assert domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING
        drives = {drive["device"]: drive["inserted"] for drive in monitor(domain, "query-block") if drive.get("inserted")}
        assert drives["pflash0"]["ro"] and drives["pflash0"]["file"] == OVMF + "OVMF_CODE_4M.fd"
        assert not drives["pflash1"]["ro"]
        assert os.stat(nvram_of(lodged, "runs")).st_mode & 0o777 == 0o600
        # The firmware writes variables as it starts: by the file that the daemon opened.
        template = contents(OVMF + "OVMF_VARS_4M.fd")
        deadline = time.monotonic() + 60 * PATIENCE
        while contents(nvram_of(lodged, "runs")) == template:
            assert time.monotonic() < deadline, "the firmware has written no variables"
            time.sleep(0.1)
    finally:
        domain.destroy()


def test_variables_are_kept_until_they_are_reset(lodged, ours):
    domain = ours.defineXML(guest("keeps"))
    domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    domain.destroy()
    path = nvram_of(lodged, "keeps")
    template = contents(OVMF + "OVMF_VARS_4M.ms.fd")
    assert contents(path) == template
    with open(path, "r+b") as file:
        file.write(b"mine")
    domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    domain.destroy()
    assert contents(path)[:4] == b"mine"
    assert lodged.virsh("start", "keeps", "--paused", "--reset-nvram").returncode == 0
    assert contents(path) == template
    domain.destroy()
    refused = lodged.virsh("undefine", "keeps", check=False)
    assert refused.returncode == 1 and path in refused.stderr and "--keep-nvram" in refused.stderr
    lodged.virsh("undefine", "keeps", "--keep-nvram")
    assert contents(path) == template
    lodged.virsh("define", write(lodged, guest("keeps")))
    lodged.virsh("undefine", "keeps", "--nvram")
    assert not os.path.exists(path)


def test_a_transient_guest_can_begin_anew(lodged):
    path = nvram_of(lodged, "passes")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(b"old")
    lodged.virsh("create", write(lodged, guest("passes")), "--paused", "--reset-nvram")
    assert contents(path) == contents(OVMF + "OVMF_VARS_4M.ms.fd")
    lodged.virsh("destroy", "passes")


def test_a_renamed_guest_takes_its_variables_along(lodged, ours):
    domain = ours.defineXML(guest("before"))
    domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    domain.destroy()
    domain.rename("after")
    assert not os.path.exists(nvram_of(lodged, "before")) and os.path.exists(nvram_of(lodged, "after"))
    domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)


def write(lodged, xml):
    path = os.path.join(lodged.root, "guest.xml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(xml)
    return path


def test_the_engine_without_firmware_names_the_one_that_has_it(lodged):
    done = lodged.virsh("create", write(lodged, guest("none", emulator=os.path.join(lodged.build, "bin", "lodge-vmm"))),
                        check=False)
    assert done.returncode == 1 and "<emulator>/usr/bin/qemu-system-x86_64</emulator>" in done.stderr


def test_a_missing_template_is_named_with_its_package(lodged):
    xml = guest("lacks", loader("OVMF_CODE_4M.fd") + "<nvram template='/nowhere/VARS.fd'/>", None)
    done = lodged.virsh("create", write(lodged, xml), check=False)
    assert done.returncode == 1 and "'/nowhere/VARS.fd'" in done.stderr and "'ovmf'" in done.stderr


def test_a_user_can_describe_other_firmware(tmp_path):
    """Files of the user come before those of the same name of the system; broken ones are passed over."""
    folder = tmp_path / "config" / "qemu" / "firmware"
    folder.mkdir(parents=True)
    for name in ("40-edk2-x86_64-secure-enrolled.json", "50-edk2-x86_64-secure.json"):
        (folder / name).write_text("")
    (folder / "55-broken.json").write_text('{"mapping": [')
    root = tmp_path / "lodged"
    root.mkdir()
    daemon = Lodged(str(root), prefix=("env", f"XDG_CONFIG_HOME={tmp_path / 'config'}"))
    try:
        daemon.virsh("create", write(daemon, guest("other")), "--paused")
        assert "OVMF_CODE_4M.fd<" in daemon.virsh("dumpxml", "other").stdout
        daemon.virsh("destroy", "other")
        (folder / "60-edk2-x86_64.json").write_text("")
        done = daemon.virsh("create", write(daemon, guest("other")), "--paused", check=False)
        assert done.returncode == 1 and "55-broken.json: " in done.stderr
        (folder / "55-broken.json").unlink()
        done = daemon.virsh("create", write(daemon, guest("other")), "--paused", check=False)
        assert done.returncode == 1 and "'ovmf'" in done.stderr and "/usr/share/qemu/firmware" in done.stderr
    finally:
        daemon.stop()


def test_the_arguments_name_the_files_that_libvirtd_names(ours, real_connection):
    named = []
    for connection in (ours, real_connection):
        line = connection.domainXMLToNative("qemu-argv", guest("argv"))
        assert "driver=cfi.pflash01,property=secure,value=on" in line and "smm=on" in line
        named.append(set(re.findall(r"/usr/share/OVMF/[A-Za-z0-9_.]+", line)))
    assert named[0] == named[1] == {OVMF + "OVMF_CODE_4M.ms.fd"}


def test_a_guest_of_a_user_of_its_own_keeps_its_variables(tmp_path):
    """The file stays root's; the guest's process gets it open."""
    if os.geteuid() != 0:
        pytest.skip("only root can give guests other users")
    root = tmp_path / "system"
    root.mkdir()
    daemon = Lodged(str(root), session=False)
    try:
        daemon.virsh("create", write(daemon, guest("own", NO_SECURE_BOOT)))
        path = nvram_of(daemon, "own")
        status = os.stat(path)
        assert status.st_uid == 0 and status.st_mode & 0o777 == 0o600
        template = contents(OVMF + "OVMF_VARS_4M.fd")
        deadline = time.monotonic() + 60 * PATIENCE
        while contents(path) == template:
            assert time.monotonic() < deadline, "the firmware has written no variables"
            time.sleep(0.1)
        daemon.virsh("destroy", "own")
    finally:
        daemon.stop()


@pytest.mark.parametrize("kinds", [("cdrom", "hd"), ("hd", "cdrom")], ids="-before-".join)
def test_the_firmware_tries_kinds_of_devices_in_their_order(ours, tmp_path, kinds):
    """Both are empty: it says of each that it does not boot from it; 3 s."""
    for target in ("vda", "sda"):
        (tmp_path / target).write_bytes(bytes(1 << 20))
    said = tmp_path / "serial"
    disks = "".join(f"<disk type='file' device='{kind}'><driver name='qemu' type='raw'/><source file='{tmp_path}/{target}'/>"
                    f"<target dev='{target}' bus='{bus}'/></disk>" for kind, target, bus in (("disk", "vda", "virtio"), ("cdrom", "sda", "sata")))
    text = guest("tries", loader("OVMF_CODE_4M.fd", "readonly='yes' type='pflash' stateless='yes'") +
                 "".join(f"<boot dev='{kind}'/>" for kind in kinds), None)
    domain = ours.createXML(text.replace("</devices>", f"{disks}<serial type='file'><source path='{said}'/></serial></devices>"))
    try:
        deadline = time.monotonic() + 300 * PATIENCE
        tried = []
        while len(tried) < 2:
            assert time.monotonic() < deadline and domain.isActive(), said.read_text(errors="replace")
            time.sleep(0.2)
            tried = re.findall(r"BdsDxe: failed to load Boot\w+ \"UEFI (\S+)", said.read_text(errors="replace"))
        names = {"cdrom": "QEMU", "hd": "Misc"}
        assert tried[:2] == [names[kind] for kind in kinds]
    finally:
        domain.destroy()


def test_a_file_of_variables_in_use_is_not_made_anew(lodged, tmp_path):
    """By another running guest, under this or another name; --reset-nvram or a file that went would take it from that."""
    connection = libvirt.open(lodged.uri)
    path, link = tmp_path / "shared_VARS.fd", tmp_path / "link_VARS.fd"
    link.symlink_to(path)
    runs = connection.createXML(guest("has-it", loader("OVMF_CODE_4M.fd") + f"<nvram>{path}</nvram>", None),
                                libvirt.VIR_DOMAIN_START_PAUSED)
    before = os.stat(path).st_ino
    for name, used in ("same", path), ("linked", link):
        domain = connection.defineXML(guest(name, loader("OVMF_CODE_4M.fd") + f"<nvram>{used}</nvram>", None))
        with pytest.raises(libvirt.libvirtError, match="'has-it' uses it") as caught:
            domain.createWithFlags(libvirt.VIR_DOMAIN_START_RESET_NVRAM | libvirt.VIR_DOMAIN_START_PAUSED)
        assert caught.value.get_error_code() == libvirt.VIR_ERR_RESOURCE_BUSY and not domain.isActive()
    assert os.stat(path).st_ino == before and link.is_symlink()
    os.unlink(path)
    with pytest.raises(libvirt.libvirtError, match="'has-it' uses it"):
        connection.lookupByName("same").createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    assert not path.exists()
    runs.destroy()
    connection.lookupByName("same").createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    connection.lookupByName("same").destroy()
    for name in "same", "linked":
        connection.lookupByName(name).undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM)
