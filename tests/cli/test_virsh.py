"""lodge beside virsh: the same commands to the same libvirtd (its test driver) print the same.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import shutil
import subprocess
import tempfile
import time

import pytest

from patience import PATIENCE

BUILD = os.environ.get("LODGE_BUILD", os.path.join(os.path.dirname(__file__), "..", "..", "build"))
LODGE = os.path.join(BUILD, "bin", "lodge")

SAME = """
list
list --all
list --all --name
list --uuid
list --id
-q list
list --title
list --state-running
dominfo test
domstate test
domstate test --reason
domid test
domuuid test
domname 1
domstats
domstats test
nodeinfo
hostname
uri
domblkinfo test vda
domblkinfo test vda --human
domcontrol test
maxvcpus
dumpxml test
capabilities
nodememstats
suspend test
resume test
autostart test
autostart test --disable
setmem test 2097152
setvcpus test 2
destroy test
start test
undefine test
echo a b
echo --xml <a>
list;domstate test
xyzzyxyzzy
list --foo
list --all=3
dominfo
dominfo nope
dominfo test extra
dominfo --domain
shutdown nope
setmem test abc
setmem test
setmem test 5 --live --current
define /nonexistent
dumpxml test --xpath //name
dumpxml test --xpath //name --wrap
vcpuinfo test
vcpuinfo test --pretty
vcpupin test
vcpupin test 9
vcpupin test --cpulist 0
vcpupin test 0 0-1
vcpupin test
emulatorpin test
iothreadinfo test
iothreadadd test 0
iothreadadd test 1
iothreadinfo test
iothreadset test 1 --poll-max-ns 5
iothreadset test 1
iothreadpin test 1 0
iothreaddel test 1
vcpucount test
vcpucount test --live
vcpucount test --live --config
vcpucount test --maximum --config
memtune test
memtune test --hard-limit 1G
memtune test --hard-limit -1
memtune test
schedinfo test
schedinfo test --set a=1
schedinfo test --set weight=3
schedinfo test weight=50
blkiotune test
blkiotune test --weight 500
blkdeviotune test vda
blkdeviotune test vda --total-bytes-sec 1M
blkdeviotune test vda
blkdeviotune test vda --total_bytes_sec 0
blkdeviotune test nope
domiftune test testnet0
domiftune test testnet0 --inbound 1,2,3
domiftune test testnet0
domiftune test testnet0 --inbound ,2,3
domiftune test vnet0
numatune test
numatune test --mode foo
numatune test --mode strict --nodeset 0
numatune test
perf test
perf test --enable cmt
perf test --disable cmt
cpu-stats test --start 9
domiflist test
domiflist test --inactive
domblklist test
domblklist test --details
domifaddr test
domifaddr test --full
domifaddr test --source foo
domifaddr test --source agent
domifaddr test --interface nope
domif-getlink test aa:bb:cc:dd:ee:ff
domif-getlink test testnet0
domif-getlink test 52:54:00:aa:bb:cc
domif-setlink test testnet0 foo
domfsinfo test
domfsfreeze test
domfsthaw test
domfstrim test
domhostname test
domhostname test --source foo
domblkerror test
domblkinfo test --all
domblkinfo test
domblkinfo test vda --all
desc test
desc test --title
desc test hello world
desc test
desc test --title a title
desc test --title
list --title
metadata test http://a
metadata test http://a --set <a/>
metadata test http://a --set <a/> --key b
metadata test http://a
metadata test http://a --remove
set-lifecycle-action test poweroff restart
set-lifecycle-action test x y
set-lifecycle-action test poweroff y
attach-disk test /x vdb --print-xml
attach-disk test /x vdb --print-xml --type cdrom --mode readonly --driver qemu --subdriver qcow2 --cache none --io native --serial abc --address pci:0000.00.05.0 --targetbus virtio --alias ua-x --wwn 5000c50015ea71ad --rawio --iothread 3 --multifunction
attach-disk test /x sdb --print-xml --targetbus scsi --address scsi:0.0.1 --mode shareable
attach-disk test /x sdb --print-xml --targetbus sata --address sata:0.0.1 --sourcetype block
attach-disk test /x sdb --print-xml --targetbus usb --address usb:1.2 --source-protocol nbd --source-host-name h:10 --source-host-transport tcp
attach-disk test /x hdb --print-xml --source-protocol nbd --source-host-socket /s --source-host-transport unix
attach-disk test /x vdb --print-xml --mode foo
attach-interface test network default --print-xml
attach-interface test bridge br0 --print-xml --target t0 --mac 52:54:00:11:22:33 --script /bin/x --model virtio --inbound 1,2,3 --outbound 4,5,6 --alias ua-1
attach-interface test hostdev 0000:01:02.3 --print-xml --managed
attach-interface test direct eth0 --print-xml
attach-interface test foo eth0 --print-xml
attach-interface test hostdev xx --print-xml
attach-interface test network default
detach-disk test vdx --print-xml
detach-interface test bridge --print-xml
change-media test vda --eject --print-xml
change-media test vda --insert --eject
detach-device-alias test x --live --current
update-memory-device test
domdisplay test
domdisplay test --type vnc
vncdisplay test
ttyconsole test
send-key test KEY_A
send-key test KEY_LEFTCTRL KEY_LEFTALT KEY_DELETE
send-key test 30 31
send-key test KEY_FOO
send-key test --codeset foo KEY_A
send-process-signal test 1 sigterm
send-process-signal test 1 foo
send-process-signal test x sigterm
set-user-password test a b
domtime test --now --time 5
domtime test --sync
dompmsuspend test foo
managedsave-remove test
inject-nmi test
guest-agent-timeout test 5
event --list
event
event --event foo
event --all --event lifecycle
event --all --timeout 1
event --event lifecycle --timeout 1
iothreadinfo test --current --live
domdirtyrate-calc test --mode foo
migrate test
blockcopy test vda
blockjob test vda --abort --info
screenshot test {folder}/shot
dommemstat test --period 5
undefine test --storage x
undefine test --nvram --keep-nvram
freecell
freecell --all
freecell 0
freecell 0 --all
freepages
freepages 0
freepages 0 4
freepages --all
freepages --all --pagesize 4
nodecpumap
nodecpumap --pretty
nodecpustats
nodecpustats --cpu 1
cpu-models x86_64
cpu-models foo
cpu-models
cpu-compare /etc/hostname
cpu-baseline /etc/hostname
hypervisor-cpu-compare /etc/hostname
nodesuspend foo 60
nodesevinfo
domlaunchsecinfo test
domsetlaunchsecstate test
domsetlaunchsecstate test --secrethdr /etc/hostname --secret /etc/hostname
domsetlaunchsecstate test --secrethdr /nonexistent --secret /etc/hostname
qemu-attach 1
start test --pass-fds x
create /etc/hostname --pass-fds 0,x
sysinfo
domxml-to-native qemu-argv
list --all --managed-save
list --with-checkpoint
start test --bogus
save test {folder}/saved
restore {folder}/saved
restore /nonexistent
save-image-dumpxml /nonexistent
managedsave test
start test
""".strip().splitlines()

# What the host of test:///default has. One of a file has no NUMA cells.
HOST = ("capabilities", "freecell", "freepages")

# The guest of test:///default. What is read from a file is each connection's own, where all connections to
# test:///default have one state that lasts as long as libvirtd has not let go of the last of them.
NODE = """<node>
<domain type='test'><name>test</name><uuid>6695eb01-f6a4-8304-79aa-97f2502e193f</uuid><memory>8388608</memory>
<currentMemory>2097152</currentMemory><vcpu>2</vcpu><os><type>hvm</type></os><devices>
<disk type='file'><source file='/guest/diskimage1'/><target dev='vda' bus='virtio'/>
<address type='pci' domain='0' bus='1' slot='0' function='0'/></disk>
<interface type='network'><mac address='aa:bb:cc:dd:ee:ff'/><source network='default'/><target dev='testnet0'/>
<address type='pci' domain='0' bus='0' slot='1' function='0'/></interface>
<memballoon model='virtio'><address type='pci' domain='0' bus='0' slot='2' function='0'/></memballoon>
</devices></domain>
<network><name>default</name><bridge name='virbr0'/><forward/><ip address='192.168.122.1' netmask='255.255.255.0'>
<dhcp><range start='192.168.122.2' end='192.168.122.254'/></dhcp></ip></network>
</node>
"""


@pytest.fixture(scope="module")
def folder():
    """A folder that libvirtd may write to: not below pytest's, which other users cannot enter."""
    path = tempfile.mkdtemp(prefix="lodge-cli-")
    with open(os.path.join(path, "node.xml"), "w", encoding="utf-8") as file:
        file.write(NODE)
    if os.geteuid() == 0:
        shutil.chown(path, "nobody")
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def socket(folder):
    """The socket of a libvirtd of its own, for the test driver."""
    libvirtd = shutil.which("libvirtd") or "/usr/sbin/libvirtd"
    if not os.path.exists(libvirtd) or not shutil.which("virsh"):
        pytest.skip("libvirtd and virsh are not installed")
    env = dict(os.environ, HOME=folder)
    for name in ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        env[name] = folder
    command = [libvirtd]
    if os.geteuid() == 0:
        # As root it would be the host's daemon; a session of nobody's is apart.
        command = ["setpriv", "--reuid=nobody", "--clear-groups", libvirtd]
    daemon = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    path = f"{folder}/libvirt/libvirt-sock"
    deadline = time.monotonic() + 60 * PATIENCE
    while subprocess.run(["virsh", "-c", f"test+unix:///default?socket={path}", "list"], capture_output=True).returncode != 0:
        assert daemon.poll() is None and time.monotonic() < deadline, "libvirtd does not start"
        time.sleep(0.05)
    yield path
    daemon.terminate()
    daemon.wait(timeout=20 * PATIENCE)


@pytest.fixture
def uri(folder, socket):
    """Each connection by it finds the guest as NODE has it."""
    return f"test+unix://{folder}/node.xml?socket={socket}"


def run(program, uri, line):
    words = [line] if ";" in line else line.split()
    env = dict(os.environ, LC_ALL="C.UTF-8")
    done = subprocess.run([program, "-c", uri, *words], capture_output=True, text=True, env=env, timeout=60 * PATIENCE)
    lines = [text for text in (done.stdout + done.stderr).splitlines() if not text.startswith("CPU time:")]
    return lines, done.returncode


@pytest.mark.parametrize("line", SAME)
def test_prints_what_virsh_prints(folder, socket, uri, line):
    line = line.replace("{folder}", folder)
    if line.startswith(HOST):
        uri = f"test+unix:///default?socket={socket}"
    assert run(LODGE, uri, line) == run("virsh", uri, line)


def test_json_of_a_list_has_an_object_for_each_domain(uri):
    import json
    done = subprocess.run([LODGE, "-c", uri, "--json", "list", "--all"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [{"id": 1, "name": "test", "state": "running"}]


def test_an_unknown_command_brings_the_nearest(uri):
    done = subprocess.run([LODGE, "-c", uri, "strat", "test"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "did you mean 'start'" in done.stderr


def test_completion_offers_commands_options_and_domains(uri):
    def offers(*words):
        done = subprocess.run([LODGE, "-c", uri, "--complete", "--", *words], capture_output=True, text=True, check=True)
        return done.stdout.split()
    assert "domstate" in offers("dom")
    assert offers("domstate", "--r") == ["--reason"]
    assert offers("domstate", "te") == ["test"]
    assert offers("nope", "x") == []


def test_every_command_explains_itself():
    done = subprocess.run([LODGE, "help"], capture_output=True, text=True, check=True)
    names = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("    ")]
    assert len(names) > 30
    for name in names:
        text = subprocess.run([LODGE, "help", name], capture_output=True, text=True, check=True).stdout
        assert "SYNOPSIS" in text


def test_no_daemon_is_named_with_its_socket(tmp_path):
    done = subprocess.run([LODGE, "-c", f"qemu+unix:///system?socket={tmp_path}/none", "list"],
                          capture_output=True, text=True)
    assert done.returncode == 1
    assert "failed to connect to the hypervisor" in done.stderr
    assert f"{tmp_path}/none" in done.stderr
