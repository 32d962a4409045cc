"""lodge against lodged: what it prints beside virsh on the same daemon, and the commands that virsh lacks.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import json
import os
import re
import shutil
import subprocess

import pytest

import guest
import images
from lodged import BUILD
from patience import PATIENCE

# Times and counters that move between two looks.
MOVING = re.compile(r"CPU time|cpu\.(time|user|system)|vcpu\.\d+\.(time|delay|wait)|last.update|rss|_time +|"
                    r"actual|usable|memory\.|\.time=|^Total: |KiB: |^(user|system|idle|iowait|intr)|CPU\d*:|block\.|net\.")

SAME = """
list --all
list --all --name
list --all --uuid --name
dominfo g
domstate g --reason
domid g
domuuid g
dumpxml g
dumpxml g --inactive
dumpxml g --xpath //devices/interface
dumpxml g --xpath //devices/* --wrap
domblklist g
domblklist g --details
domblkinfo g vda
domblkinfo g --all --human
domblkstat g vda
domiflist g
domif-getlink g 52:54:00:11:22:33
ttyconsole g
domdisplay g
vncdisplay g
vcpucount g
vcpuinfo g --pretty
vcpupin g
emulatorpin g
iothreadinfo g
memtune g
schedinfo g
blkiotune g
blkdeviotune g vda
numatune g
desc g
desc g --title
domcontrol g
domblkerror g
dommemstat g
domjobinfo g
domfsinfo g
domhostname g
domtime g
guestinfo g
qemu-monitor-command g {"execute":"query-status"}
qemu-monitor-command g --pretty {"execute":"query-status"}
qemu-monitor-command g --return-value {"execute":"query-status"}
qemu-monitor-command g {"execute":"nope"}
qemu-agent-command g {"execute":"guest-ping"}
send-key g KEY_A
metadata g http://a --set <a/> --key b
metadata g http://a
metadata g http://a --remove
managedsave-remove g
domstats g --state
domstats nope
attach-disk g /nonexistent/disk vdz
detach-disk g vdz
detach-device-alias g nope
change-media g vda --eject
blockjob g vda
start g
define /dev/null
undefine nope
setvcpus g 99
setmem g 1T
nodeinfo
hostname
uri
capabilities
domcapabilities
maxvcpus
nodecpumap
freecell
freepages --all
cpu-models x86_64
cpu-models foo
sysinfo
version --daemon
event --event lifecycle --timeout 1
suspend g
resume g
domrename g h
autostart g
autostart g --disable
destroy g
destroy g
vcpuinfo g --pretty
domblkinfo g vda
""".strip().splitlines()


@pytest.fixture(scope="module")
def kernel():
    return images.image(BUILD, "fetch-kernel")


@pytest.fixture(scope="module")
def one_guest(lodged, kernel):
    """A paused guest g with a disk and an interface."""
    disk = os.path.join(lodged.root, "disk.raw")
    with open(disk, "wb") as file:
        file.truncate(1 << 20)
    path = os.path.join(lodged.root, "g.xml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"""<domain type='qemu'><name>g</name><memory unit='MiB'>128</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type><kernel>{kernel}</kernel></os><devices><console type='pty'/>
<disk type='file'><driver name='qemu' type='raw'/><source file='{disk}'/><target dev='vda' bus='virtio'/></disk>
<interface type='user'><mac address='52:54:00:11:22:33'/><model type='virtio'/></interface>
</devices></domain>""")
    lodged.lodge("define", path)
    lodged.lodge("start", "g", "--paused")
    yield "g"
    lodged.lodge("destroy", "g", check=False)
    lodged.lodge("undefine", "g")


def looks(done):
    """What can be compared: lines without what moves, and the exit status."""
    text = done.stdout + done.stderr
    return [line for line in text.splitlines() if not MOVING.search(line)], done.returncode


@pytest.mark.skipif(not shutil.which("virsh"), reason="virsh is not installed")
@pytest.mark.parametrize("line", SAME)
def test_prints_what_virsh_prints(lodged, one_guest, line):
    words = line.split()
    ours = looks(lodged.lodge(*words, check=False))
    if any("not supported by the connection driver" in text for text in ours[0]):
        pytest.skip("lodged lacks it: each client asks by calls of its own")
    # A command that changed the state is undone before virsh does the same.
    undo = {"destroy": "start", "suspend": "resume", "resume": "suspend"}.get(words[0])
    if undo and ours[1] == 0:
        lodged.lodge(undo, "g", *(["--paused"] if undo == "start" else []))
    theirs = looks(lodged.virsh(*words, check=False))
    if line.startswith("version"):
        ours, theirs = ours[1], theirs[1]
    assert ours == theirs


def test_an_event_is_printed_with_its_domain(lodged, one_guest):
    same = os.path.join(lodged.root, "same.xml")
    with open(same, "w", encoding="utf-8") as file:
        file.write(lodged.lodge("dumpxml", "g", "--inactive").stdout)
    command = lodged.lodge_command("event", "--all", "--loop", "--timestamp", "--timeout", "20")
    log = os.path.join(lodged.root, "events")
    with open(log, "w+", encoding="utf-8") as out, subprocess.Popen(command, stdout=out) as waiting:
        while "Updated" not in open(log, encoding="utf-8").read():
            lodged.lodge("define", same)
            assert waiting.poll() is None
        waiting.send_signal(2)
        assert waiting.wait(30 * PATIENCE) == 0
    with open(log, encoding="utf-8") as out:
        text = out.read()
    assert re.match(r"\d{4}-.*: event 'lifecycle' for domain 'g': Defined Updated\n", text)
    assert "event loop interrupted\nevents received: " in text


def test_run_shows_the_console_and_leaves_nothing(lodged, kernel):
    initrd = images.image(BUILD, "make-initramfs")
    command = lodged.lodge_command("run", "--kernel", kernel, "--initrd", initrd, "--memory", "256", "--vcpus", "1",
                                   "--append", "console=ttyS0", "--name", "brief")
    with guest.Guest(command) as console:
        console.expect(r"Linux version", 300)
        assert "brief" in lodged.lodge("list", "--name").stdout
        console.send("\x1d")
        assert console.wait(60 * PATIENCE) == 0
    assert "brief" not in lodged.lodge("list", "--all", "--name").stdout


def test_run_says_what_is_missing(lodged):
    assert "cannot open the disk '/nonexistent'" in lodged.lodge("run", "/nonexistent", check=False).stderr
    assert "--append needs --kernel" in lodged.lodge("run", "--append", "x", check=False).stderr


def test_a_folder_is_not_taken_for_an_absent_file(lodged, tmp_path):
    said = lodged.lodge("define", str(tmp_path), check=False).stderr
    assert f"Failed to read file '{tmp_path}': Is a directory" in said


def test_rm_asks_for_force_and_removes(lodged, kernel):
    lodged.lodge("run", "--kernel", kernel, "--memory", "128", "--detach", "--name", "stays")
    assert "give --force" in lodged.lodge("rm", "stays", check=False).stderr
    assert lodged.lodge("rm", "stays", "--force").stdout.startswith("Domain 'stays' removed")
    assert "stays" not in lodged.lodge("list", "--all", "--name").stdout
    assert "give --all" in lodged.lodge("rm", check=False).stderr


def test_top_prints_tables_and_json(lodged, one_guest):
    lodged.lodge("start", "g", "--paused", check=False)
    assert re.search(r"^ g +paused +1 ", lodged.lodge("top", "--batch", "--interval", "1").stdout, re.M)
    row = json.loads(lodged.lodge("--json", "top", "--interval", "1").stdout)[0]
    assert row["name"] == "g" and row["vcpus"] == 1


@pytest.mark.parametrize("words", [["ls", "--all"], ["dominfo", "g"], ["domstats", "g"], ["domblklist", "g"], ["dumpxml", "g"],
                                   ["nodeinfo"], ["domid", "g"], ["domiflist", "g"]])
def test_json_is_json(lodged, one_guest, words):
    assert json.loads(lodged.lodge("--json", *words).stdout) is not Ellipsis


def test_a_guest_without_a_terminal_is_told_in_json(lodged, one_guest):
    lodged.lodge("destroy", "g", check=False)
    silent = lodged.lodge("ttyconsole", "g", check=False)
    assert (silent.returncode, silent.stdout.strip(), silent.stderr) == (1, "", "")  # as virsh
    told = lodged.lodge("--json", "ttyconsole", "g", check=False)
    assert (told.returncode, told.stdout) == (1, "")
    assert "'g' has no terminal" in json.loads(told.stderr)["message"]


def test_whatever_is_printed_is_json_on_request(lodged, one_guest):
    """All commands of the comparison with virsh: one value, or nothing where there is nothing to tell."""
    lodged.lodge("start", "g", "--paused", check=False)
    for line in SAME:
        done = lodged.lodge("--json", *line.split(), check=False)
        if done.returncode == 0:
            assert not done.stdout.strip() or json.loads(done.stdout) is not Ellipsis, line
        elif not line.startswith("event "):
            assert json.loads(done.stderr)["message"], line
    lodged.lodge("start", "g", "--paused", check=False)


def with_descriptor(lodged, path, *words):
    """lodge with the file as descriptor 9."""
    return subprocess.run(["sh", "-c", f'exec "$@" 9<>"{path}"', "sh", *lodged.lodge_command(*words)], capture_output=True,
                          text=True, timeout=60 * PATIENCE, check=False)


def test_descriptors_become_a_guest_s_disk(lodged, kernel, tmp_path):
    """The file has no name that the daemon could open."""
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(1 << 20))
    (tmp_path / "f.xml").write_text(f"""<domain type='qemu'><name>f</name><memory unit='MiB'>128</memory>
<os><type arch='x86_64' machine='q35'>hvm</type><kernel>{kernel}</kernel></os><devices>
<disk type='file'><driver name='qemu' type='raw'/><source file='/nowhere/disk' fdgroup='images'/><target dev='vda' bus='virtio'/></disk>
</devices></domain>""")
    lodged.lodge("define", str(tmp_path / "f.xml"))
    assert "images" in lodged.lodge("start", "f", check=False).stderr
    done = with_descriptor(lodged, disk, "dom-fd-associate f images 9; start f --paused; domblkstat f vda")
    assert done.returncode == 0 and "vda rd_req" in done.stdout, done.stderr
    lodged.lodge("destroy", "f")
    lodged.lodge("undefine", "f")


def test_descriptors_reach_the_monitor(lodged, one_guest, tmp_path):
    lodged.lodge("start", "g", "--paused", check=False)
    (tmp_path / "file").write_bytes(b"x")
    done = with_descriptor(lodged, tmp_path / "file", "qemu-monitor-command", "g", "--pass-fds", "9",
                           '{"execute":"add-fd","arguments":{"fdset-id":77}}')
    assert done.returncode == 0 and '"fdset-id":77' in done.stdout.replace(" ", ""), done.stdout + done.stderr


def test_descriptors_that_cannot_go_are_named(lodged, one_guest):
    lodged.lodge("destroy", "g", check=False)
    assert "descriptor 99 is not open" in lodged.lodge("start", "g", "--pass-fds", "99", check=False).stderr
    assert "'x'" in lodged.lodge("start", "g", "--pass-fds", "0,x", check=False).stderr
    lodged.lodge("start", "g", "--paused")


def test_json_errors_carry_the_number(lodged):
    error = json.loads(lodged.lodge("--json", "start", "nope", check=False).stderr)
    assert "nope" in error["message"]


def test_doctor_finds_the_daemon_and_its_absence(lodged, tmp_path):
    assert re.search(r"^ok +daemon +lodged answers", lodged.lodge("doctor", check=False).stdout, re.M)
    done = subprocess.run([os.path.join(BUILD, "bin", "lodge"), "-c", f"qemu+unix:///session?socket={tmp_path}/none",
                           "doctor"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and re.search(r"^problem +daemon .*\n +-> ", done.stdout, re.M)


def test_colours_only_on_terminals(lodged):
    env = dict(os.environ)
    env.pop("NO_COLOR", None)
    command = lodged.lodge_command("start", "nope")
    plain = subprocess.run(command, capture_output=True, env=env, check=False).stderr
    assert b"\x1b[" not in plain
