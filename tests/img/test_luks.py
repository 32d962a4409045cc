"""LUKS images: what lodge-img writes, qemu-img and cryptsetup read, and the other way round.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import json
import random
import shutil
import struct
import subprocess

import pytest

MIB = 1 << 20
SIZE = 3 * MIB + 512 * 7
SECRETS = ["--object", "secret,id=s0,data=correct horse", "--object", "secret,id=s1,data=YmF0dGVyeSBzdGFwbGU=,format=base64",
           "--object", "secret,id=wrong,data=x"]
QUICK = "iter-time=10"


def opts(path, secret="s0"):
    return f"driver=luks,key-secret={secret},file.filename={path}"


def create(tool, path, *options, size=SIZE):
    tool("create", "-q", "-f", "luks", *SECRETS, "-o", ",".join(["key-secret=s0", QUICK, *options]), path, size)


def fill(tool, source, path):
    tool("convert", "-n", *SECRETS, "--target-image-opts", "-f", "raw", source, opts(path))


def assert_holds(tools, source, path, secret="s0"):
    for tool in tools:
        tool("convert", *SECRETS, "--image-opts", "-O", "raw", opts(path, secret), "plain")
        with open(source, "rb") as a, open(tool.folder / "plain", "rb") as b:
            assert a.read() == b.read()


VARIANTS = [[], ["cipher-alg=aes-128"], ["cipher-alg=aes-192"], ["cipher-alg=aes-256,cipher-mode=ctr"],
            ["cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=sha256"], ["ivgen-alg=plain"], ["hash-alg=sha1"],
            ["hash-alg=sha512"], ["hash-alg=ripemd160"], ["cipher-alg=serpent-256"], ["cipher-alg=twofish-128"],
            ["cipher-alg=cast5-128,cipher-mode=cbc"], ["cipher-mode=ecb"]]


def check_variant(writer, readers, source, variant, image):
    done = writer("create", "-q", "-f", "luks", *SECRETS, "-o", ",".join(["key-secret=s0", QUICK, *variant]), image, SIZE,
                  code=None)
    if done.returncode and writer.path.endswith("qemu-img"):
        pytest.skip(f"qemu-img was built without it: {done.stderr}")
    assert done.returncode == 0, done.stderr
    fill(writer, source, image)
    assert_holds(readers, source, image)


def name(variant):
    return "-".join(variant).replace("=", "_").replace(",", "-") or "default"


@pytest.mark.parametrize("variant", [pytest.param(v, id=name(v), marks=pytest.mark.slow if i % 4 else ()) for i, v in
                                     enumerate(VARIANTS)])
def test_what_we_write_both_programs_read(ours, peer, disks, tmp_path, variant):
    check_variant(ours, (ours, peer), disks(SIZE), variant, tmp_path / "a.luks")


# qemu-img measures the processor for seconds before it creates.
@pytest.mark.parametrize("variant", [pytest.param(v, id=name(v), marks=pytest.mark.slow if i else ()) for i, v in
                                     enumerate(VARIANTS)])
def test_what_the_peer_writes_is_read(ours, peer, disks, tmp_path, variant):
    check_variant(peer, (ours,), disks(SIZE), variant, tmp_path / "a.luks")


def test_info_is_that_of_qemu_img(ours, peer, tmp_path):
    create(ours, "a.luks", "cipher-mode=cbc", "ivgen-alg=essiv", "ivgen-hash-alg=sha256")
    for args in (["info"], ["info", "--output", "json"]):
        texts = [tool(*args, "a.luks").stdout for tool in (ours, peer)]
        if "json" in args:
            found = [json.loads(text) for text in texts]
            assert found[0]["format-specific"] == found[1]["format-specific"]
        else:
            assert sorted(line.strip() for line in texts[0].splitlines()) == sorted(
                line.strip() for line in texts[1].splitlines())


def test_cryptsetup_reads_the_header(ours, tmp_path):
    if not shutil.which("cryptsetup"):
        pytest.skip("cryptsetup is not installed")
    create(ours, "a.luks")
    dump = subprocess.run(["cryptsetup", "luksDump", tmp_path / "a.luks"], capture_output=True, check=True).stdout.decode()
    assert "aes" in dump and "xts-plain64" in dump and "Key Slot 0: ENABLED" in dump and "Key Slot 1: DISABLED" in dump
    done = subprocess.run(["cryptsetup", "open", "--test-passphrase", tmp_path / "a.luks"], input=b"correct horse",
                          capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    done = subprocess.run(["cryptsetup", "open", "--test-passphrase", tmp_path / "a.luks"], input=b"wrong", capture_output=True,
                          check=False)
    assert done.returncode == 2


def test_what_cryptsetup_formats_is_opened(ours, peer, disks, tmp_path):
    if not shutil.which("cryptsetup"):
        pytest.skip("cryptsetup is not installed")
    with open(tmp_path / "a.luks", "wb") as file:
        file.truncate(SIZE + 4 * MIB)
    subprocess.run(["cryptsetup", "luksFormat", "--type", "luks1", "--pbkdf-force-iterations", "1000", "-q", tmp_path / "a.luks",
                    "-"], input=b"correct horse", check=True)
    fill(ours, disks(SIZE), "a.luks")
    for tool in (ours, peer):
        tool("convert", *SECRETS, "--image-opts", "-O", "raw", opts("a.luks"), "plain")
        assert (tmp_path / "plain").read_bytes()[:SIZE] == disks(SIZE).read_bytes()


@pytest.mark.parametrize("which", ["ours", pytest.param("peer", marks=pytest.mark.slow)])
def test_key_slots_change(ours, peer, disks, tmp_path, which):
    """Either program changes slots; the other sees it."""
    tool, other = (ours, peer) if which == "ours" else (peer, ours)
    create(tool, "a.luks")
    fill(other, disks(SIZE), "a.luks")

    def amend(options, secret="s0", code=0):
        return tool("amend", *SECRETS, "--image-opts", "-o", options, opts("a.luks", secret), code=code)

    amend(f"state=active,new-secret=s1,keyslot=5,{QUICK}")
    assert_holds((ours, peer), disks(SIZE), "a.luks", "s1")
    amend(f"state=active,new-secret=s1,keyslot=5,{QUICK}", code=1)
    amend("state=inactive,old-secret=s0", "s1")
    assert_holds((ours, peer), disks(SIZE), "a.luks", "s1")
    for reader in (ours, peer):
        assert "Invalid password" in reader("info", "--image-opts", *SECRETS, opts("a.luks"), code=None).stderr or \
            "Invalid password" in reader("compare", "--image-opts", *SECRETS, opts("a.luks"), opts("a.luks"), code=2).stderr
    amend("state=inactive,old-secret=s1", "s1", code=1)
    assert_holds((ours, peer), disks(SIZE), "a.luks", "s1")


def test_refusals_say_why(ours, tmp_path):
    create(ours, "a.luks")
    assert "key-secret" in ours("create", "-f", "luks", "b.luks", "1M", code=1).stderr
    assert "'none'" in ours("create", "-f", "luks", "-o", "key-secret=none", "b.luks", "1M", code=1).stderr
    assert "cipher-alg 'rot13'" in ours("create", "-f", "luks", *SECRETS, "-o", "key-secret=s0,cipher-alg=rot13", "b.luks", "1M",
                                        code=1).stderr
    assert "Invalid password" in ours("map", *SECRETS, "--image-opts", opts("a.luks", "wrong"), code=1).stderr
    assert "key-secret" in ours("map", "-f", "luks", "a.luks", code=1).stderr
    assert "state" in ours("create", "-f", "luks", *SECRETS, "-o", "key-secret=s0,state=active", "b.luks", "1M", code=1).stderr
    assert not (tmp_path / "b.luks").exists()
    leaks = ours("create", "-f", "luks", "--object", "secret,id=s,data=hush,format=bad", "b.luks", "1M", code=1)
    assert "hush" not in leaks.stderr + leaks.stdout


HEADER = 592  # bytes; the key slots begin at 208, 48 bytes each


def damaged_header(data, rng):
    """One to three fields or bytes of the header, or of the first slot's key material, changed. Iterations stay below
    2^24: what they cost is what the header says."""
    data = bytearray(data)
    for _ in range(rng.randrange(1, 4)):
        kind = rng.randrange(4)
        if kind == 0:
            data[rng.randrange(HEADER)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            struct.pack_into(">I", data, rng.choice([104, 108, *range(208, 256, 4)]), rng.choice([0, 1, 1 << 31, rng.getrandbits(32)]))
        elif kind == 2:
            data[rng.randrange(8, 104)] = rng.choice([0, 0x20, 0x7f, 0xff])
        else:
            data[rng.randrange(4096, 4096 + 128000)] ^= 1 << rng.randrange(8)
    for place in (164, *range(212, HEADER, 48)):
        struct.pack_into(">I", data, place, struct.unpack_from(">I", data, place)[0] & 0xffffff)
    return bytes(data)


def read_damaged(tool, image):
    """The plain content, or None with a refusal that says something."""
    (tool.folder / "plain").unlink(missing_ok=True)
    done = tool("convert", *SECRETS, "--image-opts", "-O", "raw", opts(image), "plain", code=None)
    assert done.returncode in (0, 1), (done.returncode, done.stderr)
    assert done.returncode == 0 or image in done.stderr, done.stderr
    return (tool.folder / "plain").read_bytes() if done.returncode == 0 else None


@pytest.mark.parametrize("cases", [range(6), pytest.param(range(1000, 1300), marks=pytest.mark.slow)], ids=["few", "many"])
def test_a_damaged_header_gives_what_qemu_img_reads_or_a_refusal(ours, peer, disks, tmp_path, cases):
    create(ours, "good.luks")
    fill(ours, disks(SIZE), "good.luks")
    good = (tmp_path / "good.luks").read_bytes()
    for case in cases:
        (tmp_path / "bad.luks").write_bytes(damaged_header(good, random.Random(case)))
        mine, theirs = (read_damaged(tool, "bad.luks") for tool in (ours, peer))
        assert mine is None or theirs is None or mine == theirs, case
        assert theirs is None or mine is not None, f"case {case} is refused by lodge-img alone"


def test_parts_of_sectors_are_written(ours, disks, tmp_path):
    create(ours, "a.luks")
    fill(ours, disks(SIZE), "a.luks")
    with open(disks(SIZE), "rb") as file:
        data = bytearray(file.read())
    ours("bench", "-w", "-q", *SECRETS, "--image-opts", "-c", "300", "-s", "777", "-S", "1111", "--pattern", "65",
         opts("a.luks"))
    for i in range(300):
        start = i * 1111
        data[start:start + 777] = b"A" * 777
    ours("convert", *SECRETS, "--image-opts", "-O", "raw", opts("a.luks"), "plain")
    assert (tmp_path / "plain").read_bytes() == bytes(data)


def inside(path, secret="s0"):
    return f"driver=qcow2,encrypt.key-secret={secret},file.filename={path}"


@pytest.mark.parametrize("which", ["ours", pytest.param("peer", marks=pytest.mark.slow)])
def test_qcow2_keeps_its_data_encrypted(ours, peer, disks, tmp_path, which):
    tool, other = (ours, peer) if which == "ours" else (peer, ours)
    tool("create", "-q", "-f", "qcow2", *SECRETS, "-o", f"encrypt.format=luks,encrypt.key-secret=s0,encrypt.{QUICK}", "a.qcow2",
         SIZE)
    other("convert", "-n", *SECRETS, "--target-image-opts", "-f", "raw", disks(SIZE), inside("a.qcow2"))
    # Parts of clusters, after a snapshot too: copied and encrypted at their new place.
    other("snapshot", *SECRETS, "--image-opts", "-c", "one", inside("a.qcow2"))
    ours("bench", "-w", "-q", *SECRETS, "--image-opts", "-c", "40", "-s", "1000", "-S", "70001", "--pattern", "65",
         inside("a.qcow2"))
    data = bytearray(disks(SIZE).read_bytes())
    for i in range((SIZE - 1000) // 70001 + 1 if SIZE < 40 * 70001 else 40):
        data[i * 70001:i * 70001 + 1000] = b"A" * 1000
    for reader in (ours, peer):
        reader("check", *SECRETS, "--image-opts", inside("a.qcow2"))
        reader("convert", *SECRETS, "--image-opts", "-O", "raw", inside("a.qcow2"), "plain")
        plain = (tmp_path / "plain").read_bytes()
        if which == "ours":
            assert plain == bytes(data)
        reader("convert", *SECRETS, "--image-opts", "-l", "one", "-O", "raw", inside("a.qcow2"), "before")
        assert (tmp_path / "before").read_bytes() == disks(SIZE).read_bytes()
    tool("amend", *SECRETS, "--image-opts", "-o", f"encrypt.state=active,encrypt.new-secret=s1,encrypt.{QUICK}", inside("a.qcow2"))
    for reader in (ours, peer):
        reader("compare", *SECRETS, "--image-opts", inside("a.qcow2", "s1"), "driver=raw,file.filename=plain")
    infos = [json.loads(reader("info", "--output", "json", "a.qcow2").stdout) for reader in (ours, peer)]
    assert infos[0]["format-specific"] == infos[1]["format-specific"] and infos[0]["encrypted"]
    assert b"A" * 512 not in (tmp_path / "a.qcow2").read_bytes()


def test_qcow2_without_its_key_is_refused(ours, peer, tmp_path):
    ours("create", "-q", "-f", "qcow2", *SECRETS, "-o", f"encrypt.format=luks,encrypt.key-secret=s0,encrypt.{QUICK}", "a.qcow2",
         "1M")
    assert "encrypt.key-secret" in ours("map", "a.qcow2", code=1).stderr
    assert "Invalid password" in ours("map", *SECRETS, "--image-opts", inside("a.qcow2", "wrong"), code=1).stderr


# The method before LUKS

AES = "encrypt.format=aes,encrypt.key-secret={}"
LONG = ["--object", "secret,id=long,data=sixteen bytes and more", "--object", "secret,id=cut,data=sixteen bytes and"]


def old(fmt, path, secret):
    return f"driver={fmt},encrypt.key-secret={secret},file.filename={path}"


@pytest.mark.parametrize("secret", ["s0", "s1", "long"])
@pytest.mark.parametrize("writer, fmt, more", [("peer", "qcow2", []), ("peer", "qcow2", ["compat=0.10", "cluster_size=512"]), ("peer", "qcow", []),
                                               ("ours", "qcow2", []), ("ours", "qcow2", ["compat=0.10", "cluster_size=512"])])
def test_aes_is_read_and_written_as_qemu_img_does(ours, peer, disks, tmp_path, writer, fmt, more, secret):
    source = disks(SIZE)
    tool = {"ours": ours, "peer": peer}[writer]
    tool("convert", *SECRETS, *LONG, "-f", "raw", "-O", fmt, "-o", ",".join([AES.format(secret), *more]), source, "a")
    for reader in (ours, peer):
        for key in {"long": ["long", "cut"]}.get(secret, [secret]):  # 16 bytes of it count
            reader("compare", *SECRETS, *LONG, "--image-opts", old(fmt, "a", key), f"driver=raw,file.filename={source}")
            reader("convert", *SECRETS, *LONG, "--image-opts", "-O", "raw", old(fmt, "a", key), "plain")
            assert (tmp_path / "plain").read_bytes() == source.read_bytes()
        done = reader("compare", *SECRETS, *LONG, "--image-opts", old(fmt, "a", "wrong"), f"driver=raw,file.filename={source}", code=1)
        assert "Content mismatch" in done.stdout
    maps = [json.loads(reader("map", "--output=json", *SECRETS, *LONG, "--image-opts", old(fmt, "a", secret)).stdout) for reader in (ours, peer)]
    assert [[(row["start"], row["length"], row["data"], "offset" in row) for row in rows] for rows in maps[:1]] == \
        [[(row["start"], row["length"], row["data"], "offset" in row) for row in rows] for rows in maps[1:]]
    infos = [json.loads(reader("info", "--output=json", "a").stdout) for reader in (ours, peer)]
    assert infos[0]["encrypted"] and infos[0].get("format-specific") == infos[1].get("format-specific")


@pytest.mark.parametrize("writer", ["ours", "peer"])
def test_parts_of_aes_sectors_are_changed(ours, peer, disks, tmp_path, writer):
    """Also of clusters that a snapshot shares, and of a backing file's."""
    peer("convert", "-f", "raw", "-O", "qcow2", disks(SIZE), "base.qcow2")
    tool = {"ours": ours, "peer": peer}[writer]
    tool("create", "-q", "-f", "qcow2", *SECRETS, "-o", AES.format("s0"), "-b", "base.qcow2", "-F", "qcow2", "a")
    data = bytearray(disks(SIZE).read_bytes())
    for turn, (offset, length) in enumerate([(100, 3), (70000, 150000), (65536 * 5 - 7, 9000), (SIZE - 512, 512)]):
        data[offset:offset + length] = bytes([65 + turn]) * length
        (tmp_path / "next").write_bytes(data)
        if writer == "peer":
            io = ["qemu-io", *SECRETS, "--image-opts", "-c", f"write -P {65 + turn} {offset} {length}", old("qcow2", "a", "s0")]
            subprocess.run(io, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
        else:
            ours("bench", "-w", "-q", *SECRETS, "--image-opts", "-c", "1", "-o", offset, "-s", length, "--pattern", 65 + turn, old("qcow2", "a", "s0"))
        tool("snapshot", *SECRETS, "--image-opts", "-c", f"s{turn}", old("qcow2", "a", "s0"))
        for reader in (ours, peer):
            reader("compare", *SECRETS, "--image-opts", old("qcow2", "a", "s0"), "driver=raw,file.filename=next")
    for reader in (ours, peer):
        reader("check", *SECRETS, "--image-opts", old("qcow2", "a", "s0"))


@pytest.mark.parametrize("fmt", ["qcow2", "qcow"])
def test_aes_asks_for_its_key_and_is_not_luks(ours, peer, tmp_path, fmt):
    peer("create", "-q", "-f", fmt, *SECRETS, "-o", AES.format("s0"), "a", "1M")
    peer("create", "-q", "-f", fmt, "plain", "1M")
    for tool in (ours, peer):
        assert "'encrypt.key-secret' is required" in tool("map", "a", code=1).stderr
        for words in (["encrypt.format=luks"], ["encrypt.format=aes"]):
            tool("map", *SECRETS, "--image-opts", ",".join([old(fmt, "a" if words == ["encrypt.format=luks"] else "plain", "s0"), *words]), code=1)
        tool("create", "-f", "qcow2", *SECRETS, "-o", AES.format("s0") + ",encrypt.cipher-alg=aes-256", "new", "1M", code=1)
        tool("amend", *SECRETS, "--image-opts", "-o", "encrypt.new-secret=s1,encrypt.state=active", old(fmt, "a", "s0"), code=1)
        tool("convert", "-c", *SECRETS, "-O", "qcow2", "-o", AES.format("s0"), "plain", "c", code=1)
    sizes = [json.loads(tool("measure", *SECRETS, "--output=json", "-O", "qcow2", "-o", AES.format("s0"), "--size", "1G").stdout) for tool in (ours, peer)]
    assert sizes[0]["required"] == sizes[1]["required"] and sizes[0]["fully-allocated"] == sizes[1]["fully-allocated"]


@pytest.mark.parametrize("fmt, options", [("luks", "key-secret=k,iter-time=10"), (
    "qcow2", "encrypt.format=luks,encrypt.key-secret=k,encrypt.iter-time=10")])
def test_zeroes_of_the_source_are_zeroes_in_an_encrypted_target(ours, peer, tmp_path, fmt, options):
    """What is not written there decrypts to anything."""
    (tmp_path / "a.raw").write_bytes(bytes(65536) + b"a" * 65536 + bytes(MIB))
    secret, key = "secret,id=k,data=abc", "key-secret" if fmt == "luks" else "encrypt.key-secret"
    ours("convert", "--object", secret, "-f", "raw", "-O", fmt, "-o", options, "a.raw", "o")
    for tool in (ours, peer):
        tool("compare", "--object", secret, "--image-opts", "driver=raw,file.filename=a.raw", f"driver={fmt},{key}=k,file.filename=o")
