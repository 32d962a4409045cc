"""What is installed beside the programs: manual pages without roff warnings, liblodge's symbols and its header.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import re
import shutil
import subprocess

import pytest

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


def test_the_library_exports_what_its_header_declares():
    library = os.path.join(BUILD, "src", "client", "liblodge.so.0")
    text = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True).stdout
    exported = {line.split()[2].partition("@")[0] for line in text.splitlines() if " T " in line}
    assert exported == declared()
    assert "@@LODGE_0.1" in text


def test_the_version_script_lists_what_the_header_declares():
    with open(os.path.join(TOP, "src", "client", "lodge.map"), encoding="utf-8") as file:
        assert set(re.findall(r"(lodge_[a-z_]+);", file.read())) == declared()
