"""What is installed beside the programs: manual pages without roff warnings, liblodge's interface, its header, examples (10 s).

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import re
import shutil
import subprocess
import time

import pytest

import images
from lodged import Lodged
from patience import PATIENCE

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("LODGE_BUILD", os.path.join(TOP, "build"))
HEADER = os.path.join(TOP, "src", "client", "lodge.h")


@pytest.mark.parametrize("page", ["lodge.1", "lodged.8", "lodge-img.1", "lodge-vmm.1", "liblodge.3"])
def test_a_manual_page_has_no_mistakes(page):
    if not shutil.which("groff"):
        pytest.skip("groff is not installed")
    path = os.path.join(BUILD, "docs", "man", page)
    done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr == ""


def test_the_manual_has_every_command():
    text = open(os.path.join(BUILD, "docs", "man", "lodge.1"), encoding="utf-8").read().replace("\\-", "-")
    help_text = subprocess.run([os.path.join(BUILD, "bin", "lodge"), "help"], capture_output=True, text=True,
                               check=True).stdout
    for line in help_text.splitlines():
        if line.startswith("    "):
            assert re.search(rf"^\.B {re.escape(line.split()[0])}( |$)", text, re.M), line


def declared():
    """Functions of the header."""
    with open(HEADER, encoding="utf-8") as file:
        text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
    return set(re.findall(r"\b(lodge_[a-z_]+)\(", text))


def test_each_function_has_a_manual_page():
    for name in declared():
        text = open(os.path.join(BUILD, "docs", "man", f"{name}.3"), encoding="utf-8").read()
        assert re.search(rf"^\.SH NAME\n{name} \\- \w", text, re.M) and ".SH SYNOPSIS" in text
        done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z"], input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0 and done.stderr == "", name


def check_abi(*words):
    return subprocess.run([os.path.join(TOP, "scripts", "check-abi.py"), *words], capture_output=True, text=True,
                          env=dict(os.environ, LODGE_BUILD=BUILD), check=False)


def test_the_binary_interface_is_the_committed_one():
    done = check_abi()
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("old, new, told", [
    ("char *name;\n    unsigned char uuid", "int first;\n    char *name;\n    unsigned char uuid", "member LodgeDomain.name"),
    ("sockets, cores, threads;", "sockets, cores, threads, dies;", "size LodgeNodeInfo"),
    ("int code;", "long code;", "member LodgeError.code"),
    ("LODGE_OPEN_NO_START = 2", "LODGE_OPEN_NO_START = 4", "enumerator LodgeOpenFlags LODGE_OPEN_NO_START 2"),
    ("int lodge_is_alive(LodgeConnection *connection);", "int lodge_is_alive(LodgeConnection *connection, int x);",
     "int lodge_is_alive"),
], ids=["member-before", "fixed-size", "type", "enumerator", "parameter"])
def test_what_breaks_old_programs_is_found(tmp_path, old, new, told):
    with open(HEADER, encoding="utf-8") as file:
        text = file.read()
    assert old in text
    (tmp_path / "lodge.h").write_text(text.replace(old, new))
    done = check_abi("--header", str(tmp_path / "lodge.h"))
    assert done.returncode == 1 and re.search(rf"^changed or gone.*: .*{re.escape(told)}", done.stdout, re.M), done.stdout


def test_a_member_at_the_end_of_the_library_s_own_structs_may_come(tmp_path):
    with open(HEADER, encoding="utf-8") as file:
        text = file.read()
    (tmp_path / "lodge.h").write_text(text.replace(
        "lifecycle: why */", "lifecycle: why */\n    long later;"))
    done = check_abi("--header", str(tmp_path / "lodge.h"))
    assert "changed or gone" not in done.stdout and "not in the table" in done.stdout


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    """What `make install DESTDIR=...` leaves, and pkg-config's view of it."""
    if not shutil.which("pkg-config"):
        pytest.skip("pkg-config is not installed")
    folder = tmp_path_factory.mktemp("prefix")
    subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", str(folder)], check=True, capture_output=True)
    (pc,) = folder.rglob("lodge.pc")
    env = dict(os.environ, PKG_CONFIG_LIBDIR=str(pc.parent), PKG_CONFIG_SYSROOT_DIR=str(folder))
    return folder, pc.parent.parent, env


def test_the_example_of_a_configuration_has_every_setting(prefix, tmp_path):
    folder, _, _ = prefix
    (path,) = folder.rglob("lodged.conf")
    with open(os.path.join(TOP, "src", "daemon", "config.c"), encoding="utf-8") as file:
        known = set(re.findall(r'KEY\("(\w+)"', file.read()))
    text = path.read_text()
    assert set(re.findall(r"^#(\w+) = ", text, re.M)) == known
    # All of it in force, but what needs files and groups of this host.
    text = re.sub(r"^#(?!sasl_file|crl_file|unix_sock_group|guest_uids)(\w+ = )", r"\1", text, flags=re.M)
    (tmp_path / "lodged.conf").write_text(text)
    daemon = Lodged(str(tmp_path), "--config", str(tmp_path / "lodged.conf"))
    daemon.stop()
    assert "passed over" not in daemon.read_log()


def test_the_service_names_what_is_installed(prefix):
    folder, _, _ = prefix
    (unit,) = folder.rglob("lodged.service")
    text = unit.read_text()
    program = re.search(r"^ExecStart=(\S+)", text, re.M).group(1)
    assert (folder / program.lstrip("/")).exists() and "KillMode=process" in text
    if shutil.which("systemd-analyze"):
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False)
        assert "lodged.service:" not in done.stderr.replace(f"lodged.service: Command {program} is not executable", ""), done.stderr


@pytest.fixture(scope="module")
def examples(prefix):
    """The examples, built from the installed files alone, as their readers would."""
    folder, libraries, env = prefix
    for flag in ("--cflags", "--libs"):
        assert str(folder) in subprocess.run(["pkg-config", flag, "lodge"], env=env, capture_output=True, text=True, check=True).stdout
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "lodge"], env=env, capture_output=True, text=True,
                           check=True).stdout.split()
    if "libasan" in subprocess.run(["ldd", libraries / "liblodge.so.0"], capture_output=True, text=True, check=True).stdout:
        pytest.skip("built with sanitizers")
    sources = sorted((next(folder.rglob("share/doc/lodge/examples"))).glob("*.c"))
    assert len(sources) >= 3
    for source in sources:
        command = ["-Wall", "-Wextra", "-Werror", "-std=c11", str(source), "-o", str(folder / source.stem), *flags]
        subprocess.run(["cc", *command], check=True)

    def run(name, *words, start=False):
        command, env = [str(folder / name), *words], dict(os.environ, LD_LIBRARY_PATH=str(libraries))
        if start:
            return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
        return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60 * PATIENCE, env=env, check=False)
    return run


def test_the_header_is_good_cplusplus(prefix, tmp_path):
    if not shutil.which("c++"):
        pytest.skip("no C++ compiler")
    folder, _, _ = prefix
    (tmp_path / "x.cc").write_text("#include <lodge.h>\nint main() { return lodge_open(nullptr, 0, nullptr) != nullptr; }\n")
    (header,) = folder.rglob("include/lodge.h")
    subprocess.run(["c++", "-Wall", "-Werror", "-fsyntax-only", f"-I{header.parent}", str(tmp_path / "x.cc")], check=True)


def test_an_example_lists_the_domains(examples, lodged, tmp_path):
    xml = tmp_path / "g.xml"
    xml.write_text("<domain type='qemu'><name>kept</name><memory unit='MiB'>64</memory>"
                   "<os><type arch='x86_64' machine='q35'>hvm</type></os></domain>")
    lodged.lodge("define", str(xml))
    done = examples("list-domains", lodged.uri)
    assert done.stdout.startswith("host: x86_64, ") and re.search(r"^ +-1 kept$", done.stdout, re.M), done.stderr


def test_an_example_watches_events(examples, lodged):
    assert examples("watch-events", lodged.uri).stdout == "watching\n"


def test_an_example_runs_a_guest_and_shows_its_console(examples, lodged, tmp_path):
    kernel, initrd = images.image(BUILD, "fetch-kernel"), images.image(BUILD, "make-initramfs")
    xml = tmp_path / "g.xml"
    xml.write_text(f"""<domain type='qemu'><name>brief</name><memory unit='MiB'>256</memory>
<os><type arch='x86_64' machine='q35'>hvm</type><kernel>{kernel}</kernel><initrd>{initrd}</initrd>
<cmdline>console=ttyS0</cmdline></os><devices><console type='pty'/></devices></domain>""")
    with examples("run-domain", lodged.uri, str(xml), start=True) as running:
        for line in running.stdout:
            if "Linux version" in line:
                lodged.lodge("destroy", "brief")
                break
        assert "Linux version" in line, running.stderr.read()
        running.stdout.read()
        assert running.wait(60 * PATIENCE) == 0
    deadline = time.monotonic() + 60 * PATIENCE
    while "brief" in lodged.lodge("list", "--all", "--name").stdout:
        assert time.monotonic() < deadline
    refused = examples("run-domain", lodged.uri, "/dev/null")
    assert refused.returncode == 1 and refused.stderr.endswith("Document is empty (35)\n")


def test_the_version_script_lists_what_the_header_declares():
    with open(os.path.join(TOP, "src", "client", "lodge.map"), encoding="utf-8") as file:
        assert set(re.findall(r"(lodge_[a-z_]+);", file.read())) == declared()


def test_what_was_installed_goes_again(tmp_path):
    """Twice installed, as after an update, where the second time makes no folder; others' files and folders stay."""
    root, build = tmp_path / "root", tmp_path / "build"
    stranger = root / "usr" / "local" / "share" / "zsh" / "site-functions" / "_other"
    stranger.parent.mkdir(parents=True)
    stranger.touch()
    build.mkdir()
    with open(build / "installed", "w", encoding="utf-8") as installed:
        for _ in range(2):
            subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", str(root)], check=True, capture_output=True)
            with open(os.path.join(BUILD, "meson-logs", "install-log.txt"), encoding="utf-8") as log:
                installed.writelines(line for line in log if not line.startswith("#"))
    assert len(list(root.rglob("lodge*"))) > 10
    uninstall = [os.path.join(TOP, "scripts", "uninstall"), str(build)]
    done = subprocess.run(uninstall, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr == ""
    assert {path for path in root.rglob("*") if path.is_file() or path.is_symlink()} == {stranger}
    assert {path for path in root.rglob("*") if path.is_dir()} == set(stranger.parents) - set(root.parents) - {root}
    assert subprocess.run(uninstall, capture_output=True, text=True, check=False).returncode == 1
