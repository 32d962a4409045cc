"""Every option of every command of qemu-img beside lodge-img: same exit code, same output, same images afterwards.

The command lines come from option_cases.py, which reads the options from the peer's own help: an option without a row
in its table fails. What is known to differ is in EXPLAINED, with the reason; a row that explains nothing fails too.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import concurrent.futures
import filecmp
import json
import os
import re
import shutil
import struct
import subprocess

import option_cases
import pytest

from patience import PATIENCE
from peer import run_tool

KIB = 1024
MAKE = """
convert -f raw -O raw SOURCE a.raw
convert -f raw -O qcow2 SOURCE a.qcow2
snapshot -c s1 a.qcow2
bitmap --add a.qcow2 bm
create -q -f qcow2 b.qcow2 2M
create -q -f qcow2 -b a.qcow2 -F qcow2 top.qcow2
bench -q -w -c 4 -s 65536 -S 262144 --pattern 17 top.qcow2
create -q -f qcow2 -b top.qcow2 -F qcow2 upper.qcow2
bench -q -w -c 3 -s 65536 -S 196608 --pattern 18 upper.qcow2
create -q -f qcow2 -u -b gone.qcow2 -F qcow2 orphan.qcow2 1M
create -q -f qcow2 loop.qcow2 1M
rebase -u -b loop.qcow2 -F qcow2 loop.qcow2
convert -f raw -O vmdk SOURCE v.vmdk
convert -f raw -O vdi SOURCE v.vdi
convert -f raw -O vhdx SOURCE v.vhdx
convert -f raw -O vpc SOURCE v.vpc
convert -f raw -O qcow SOURCE v.qcow
convert -f raw -O qcow2 -o data_file=d.data SOURCE d.qcow2
convert -f raw -O qcow2 SOURCE leak.qcow2
convert -f raw -O qcow2 SOURCE bad.qcow2
convert --object SECRET -f raw -O luks -o key-secret=k,iter-time=10 SOURCE x.luks
convert --object SECRET -f raw -O qcow2 -o encrypt.format=luks,encrypt.key-secret=k,encrypt.iter-time=10 SOURCE x.qcow2
"""
BESIDE = {"top.qcow2": ["a.qcow2"], "upper.qcow2": ["top.qcow2", "a.qcow2"], "d.qcow2": ["d.data"]}
# Of other layers than the format's (extent_size_hint, nocow), or that have no effect.
IGNORED_OPTIONS = {"extent_size_hint", "nocow", "encryption", "preallocation"}
TIMES = re.compile(r"\d\d\d\d-\d\d-\d\d \d\d:\d\d:\d\d|(?<=completed in )[\d.]+")


# Command lines (as regular expressions) of which something differs, what (code, output, errors, image), and why.
EXPLAINED = [
    (r".*--object (tls-creds-anon|throttle-group|authz-simple),", "code output errors image",
     "types of objects that lodge-img has no use for are refused by name"),
    (r"amend .*--force .*state=inactive", "image", "the last key is gone from both, so that neither can be compared"),
    (r"bench (.* )?-q ", "output", "-q leaves out the line before the result; the peer's does nothing"),
    (r"bench .*--flush-interval ", "code errors", "flushes may be nearer than the depth: the writes before one are waited for"),
    (r"bench -c 0 ", "code output errors", "no request is nothing to measure"),
    (r"bench .*-s 0 ", "code output errors", "a request has at least a byte"),
    (r"check .*-r (leaks|all) .*a\.qcow2|check -r (leaks|all) a\.qcow2", "output errors image",
     "qemu-img 7.2 loses the snapshots of an image that it repairs, and then finds their clusters leaked"),
    (r"check .*-r leaks .*bad\.qcow2", "code output", "what is broken is reported and left as it is; the peer gives up"),
    (r"check .*-r all .*bad\.qcow2", "output", "a refcount is mended where it is; the peer writes all refcounts anew"),
    (r"check .*-r (leaks|all) v\.vdi", "code output errors", "lodge-img mends vdi images; the peer only checks them"),
    (r"check .*orphan\.qcow2", "code output errors", "a check reads nothing of the backing file, so it need not be there"),
    (r"compare .*-s a\.qcow2 top\.qcow2", "output", "the first difference is told as content; the peer tells layers as allocation"),
    (r"convert .*-o size=", "code errors image", "the size asked for is what the target gets; the peer ignores it"),
    (r"convert .*-b ", "code errors image", "-b is -B, as create has it"),
    (r"(create|convert) .*-[fO] (qcow|qed) ", "code output errors image", "formats that nobody should begin to use are only read"),
    (r"create .*-f vdi -o preallocation=metadata", "code output errors image", "supported; the peer leaves half an image"),
    (r"create .*-f luks ", "image", "what was never written decrypts to anything"),
    (r"dd .*count=\d+ .*skip=|dd .*skip=\d+ .*count=", "errors image", "skip counts from the begin of the input, as in dd; the peer ends at count"),
    (r"info .*driver=raw,(offset|size)=|info json:.*offset", "output", "the file is named; the peer shows its JSON description"),
    (r"info .*driver=null-co,size=", "output", "the disk is named; the peer shows its JSON description"),
    (r"(info|map) .*backing\.driver=null-co", "code output errors",
     "what is said of the backing file replaces what the image says; the peer gives its name to null-co as well, which takes none"),
    (r"info /dev/null", "code output errors", "no character devices"),
    (r"measure --size 1G -O luks", "code output errors", "no key is needed to tell the size"),
    (r"resize .* --shrink$", "code output errors image", "options may stand behind the size"),
    (r"snapshot(?!.* -[lacd] ).* \S+$", "output errors", "lists without -l, as newer qemu-img; the peer does nothing"),
    (r"snapshot -f ", "code errors", "-f names the format, as everywhere; the peer always guesses it"),
    (r"snapshot (.* )?-U ", "code output errors", "listing opens read-only, so that -U works without -l"),
]


def change_refcount(path, wanted, value):
    """Of the first cluster that @wanted accepts the count of; all images here have one block of 16-bit counts."""
    with open(path, "r+b") as file:
        file.seek(48)
        table, = struct.unpack(">Q", file.read(8))
        file.seek(table)
        block, = struct.unpack(">Q", file.read(8))
        file.seek(block)
        counts = struct.unpack(">256H", file.read(512))
        index = max(i for i, count in enumerate(counts) if wanted(count) and i < os.stat(path).st_size >> 16)
        file.seek(block + 2 * index)
        file.write(struct.pack(">H", value))


@pytest.fixture(scope="module")
def template(disks, tmp_path_factory):
    folder = tmp_path_factory.mktemp("template")
    for line in MAKE.strip().split("\n"):
        words = line.replace("SOURCE", str(disks(KIB * KIB, seed=4))).replace("SECRET", option_cases.SECRET).split()
        run_tool(["qemu-img", *words], cwd=folder).check_returncode()
    (folder / "pass").write_text("abc")
    with open(folder / "leak.qcow2", "ab") as file:
        file.truncate((file.tell() + 65535 & ~65535) + 65536)
    change_refcount(folder / "leak.qcow2", lambda count: count == 0, 1)
    change_refcount(folder / "bad.qcow2", lambda count: count == 1, 0)
    return folder


def copy_named(template, words, folder):
    """The images that a command line names, and what they stand on."""
    folder.mkdir()
    wanted = {"pass"}
    for name in os.listdir(template):
        if any(name in word for word in words):
            wanted |= {name, *BESIDE.get(name, [])}
    for name in wanted:
        shutil.copy2(template / name, folder / name)
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def execute(path, words, folder):
    done = run_tool([path, *words], cwd=folder, stdin=subprocess.DEVNULL, timeout=60 * PATIENCE)
    return done.returncode, *(data.decode(errors="replace") for data in (done.stdout, done.stderr))


def facts(folder, name):
    """What the peer says about an image, without what depends on where it lies and when it was written."""
    code, text, _ = execute("qemu-img", ["info", "-U", "--output", "json", name], folder)
    if code:
        return code
    found = json.loads(text)
    for key in ("filename", "actual-size", "full-backing-filename"):
        found.pop(key, None)
    for snapshot in found.get("snapshots", []):
        for key in ("date-sec", "date-nsec", "icount"):  # icount: the peer records 0, we none
            snapshot.pop(key, None)
    for key in ("cid", "id", "parent-cid", "offset", "key-offset", "payload-offset", "master-key-iters", "iters", "uuid"):
        text = json.dumps(found)
        found = json.loads(re.sub(rf'"{key}": ("[^"]*"|\d+)', f'"{key}": 0', text))
    return found


def content_differs(folders, name, kind):
    """None if the disk is the same in both folders. @kind: the format of what is encrypted, or None."""
    args = [str(folder / name) for folder in folders]
    if kind:
        key = "key-secret" if kind == "luks" else "encrypt.key-secret"
        args = ["--object", option_cases.SECRET, "--image-opts", *(f"driver={kind},{key}=k,file.filename={path}" for path in args)]
    code, out, err = execute("qemu-img", ["compare", *args], folders[0])
    if code == 0 or "Could not open backing file" in err or filecmp.cmp(folders[0] / name, folders[1] / name, shallow=False):
        return None
    ends = [(folder / name).read_bytes()[-512:] for folder in folders]
    if all(end.startswith(b"conectix") for end in ends):  # a fixed vpc: without its footer, which has a time and an identity
        data = [(folder / name).read_bytes()[:-512] for folder in folders]
        return None if data[0] == data[1] else "other data"
    return out + err


def compare_images(folders, before):
    """What differs between the images that were written."""
    names = sorted({path.name for folder in folders for path in folder.iterdir()})
    for name in names:
        paths = [folder / name for folder in folders]
        if not all(path.exists() for path in paths):
            yield f"{name} is only in {paths[0].exists() and 'ours' or 'theirs'}"
        elif any(path.stat().st_mtime_ns != before.get(name) for path in paths) and name != "d.data":
            mine, theirs = (facts(folder, name) for folder in folders)
            if mine != theirs:
                yield f"{name}: {mine} != {theirs}"
            elif isinstance(mine, dict):
                text = content_differs(folders, name, mine["format"] if mine["format"] == "luks" or mine.get("encrypted") else None)
                if text:
                    yield f"{name}: {text}"


def normal(words, text):
    """What is printed, without times, progress, and the words of help (whose names stay)."""
    if "--help" in words or "-h" in words or "--hel" in words:
        return "help" if "sage: " in text else text
    if "help" in words or "?" in words:
        return sorted(set(re.findall(r"^  ([a-z0-9_.-]+)=", text, re.MULTILINE)) - IGNORED_OPTIONS)
    text = TIMES.sub("T", re.sub(r"[\r\n]*    \(\d+\.\d\d/100%\)\r?", "", text)).strip("\n")
    if text.startswith(("{", "[")):
        try:
            return json.loads(text)
        except ValueError:
            pass
    # The peer prints the fields of an object by their hashes.
    return sorted(text.split("\n")) if "info" in words else text


def compare_once(programs, template, words, folder):
    """The kinds of differences of one command line: code, output, errors, image; with what they are."""
    folders = [folder / "ours", folder / "theirs"]
    folder.mkdir()
    before = [copy_named(template, words, each) for each in folders][1]
    mine, theirs = (execute(path, words, each) for path, each in zip(programs, folders))
    found = {}
    if mine[0] != theirs[0]:
        found["code"] = f"{mine[0]} != {theirs[0]}\n{mine[2]}\n{theirs[2]}"
    # What a program printed before it failed is nothing to read.
    tells = mine[0] == theirs[0] == 0 or words[0] in ("check", "compare")
    if tells and normal(words, mine[1]) != normal(words, theirs[1]):
        found["output"] = f"{mine[1]}\n!=\n{theirs[1]}"
    if bool(mine[2]) != bool(theirs[2]):
        found["errors"] = f"{mine[2]!r} != {theirs[2]!r}"
    images = list(compare_images(folders, before)) if mine[0] == 0 or theirs[0] == 0 else []
    if images:
        found["image"] = "\n".join(images)
    shutil.rmtree(folder)
    return found


def explained(words, found, used):
    """What of @found nothing explains; the rows that do are added to @used."""
    line, left = " ".join(words), dict(found)
    for row in EXPLAINED:
        if re.match(row[0], line) and set(row[1].split()) & set(left):
            used.add(row)
            left = {kind: what for kind, what in left.items() if kind not in row[1].split()}
    return left


@pytest.fixture(scope="module")
def options():
    return option_cases.synopsis(execute("qemu-img", ["--help"], "/")[1])


@pytest.fixture
def unlike(build, template, tmp_path):
    """Runs command lines by both programs, two at a time; returns what is not explained, and the rows used."""
    if not shutil.which("qemu-img"):
        pytest.skip("qemu-img is not installed")
    programs = os.path.join(build, "bin", "lodge-img"), "qemu-img"

    def run(lines):
        used, text = set(), []
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            found = pool.map(lambda i: compare_once(programs, template, lines[i], tmp_path / str(i)), range(len(lines)))
            for words, differences in zip(lines, found):
                left = explained(words, differences, used)
                if left:
                    text.append(f"{' '.join(words)}\n{left}")
        return "\n".join(text), used

    return run


def test_every_option_of_the_peer_has_values_here(options):
    assert set(options) == set(option_cases.COMMANDS)
    for command, names in options.items():
        for name in names:
            assert option_cases.values(command, name), (command, name)


@pytest.mark.parametrize("command", option_cases.COMMANDS)
def test_each_option_is_the_peers(options, unlike, command):
    text, _ = unlike(list(option_cases.first_cases(command, options)))
    assert not text, text


@pytest.mark.slow
def test_each_value_of_each_option_is_taken_as_by_the_peer(options, unlike):
    text, used = unlike(list(dict.fromkeys(option_cases.single_cases(options))))
    assert not text, text
    assert not set(EXPLAINED) - used, "these rows explain nothing"


@pytest.mark.slow
@pytest.mark.parametrize("command", option_cases.COMMANDS)
def test_two_options_together_are_taken_as_by_the_peer(options, unlike, command):
    text, _ = unlike([words for words in dict.fromkeys(option_cases.pair_cases(options)) if words[0] == command])
    assert not text, text
