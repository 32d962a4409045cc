#!/usr/bin/python3
# Writes virt-install-NAME.xml for each line "NAME: OPTIONS" of a list, by Debian's virt-install --print-xml
# SPDX-License-Identifier: GPL-2.0-or-later
"""Usage: virt-install-cases.py LIST FOLDER [URI]

URI: a connection to QEMU; without one a libvirtd is started for it."""
import contextlib
import io
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, "/usr/share/virt-manager")
from virtinst import virtinstall  # noqa: E402  (Debian keeps it apart from Python's modules)

BASE = ("--memory 1024 --vcpus 2 --import --print-xml 1 --check all=off --noautoconsole --uuid "
        "4dea22b3-1d52-d8f3-2516-782e98ab3fa0")


def make(uri, images, name, options):
    options = options.replace("/img/", images + "/")
    words = shlex.split(f"--connect {uri} --name {name} {BASE} {options}")
    for option, value in (("--osinfo", "debian11"), ("--disk", f"{images}/a.qcow2,device=disk,format=qcow2"),
                          ("--network", "user,mac=52:54:00:12:34:56")):
        if not any(word.startswith(option) or (option == "--disk" and word == "--nodisks") for word in words):
            words += [option, value]
    sys.argv = ["virt-install", *words]
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            virtinstall.main()
        except SystemExit as end:
            if end.code:
                return None, said.getvalue().strip() or out.getvalue().strip()
        except (ValueError, RuntimeError) as why:  # this osinfo or host lacks something
            return None, str(why)
    text = re.sub(r"(?s)^.*?(?=<domain)", "", out.getvalue())
    return text.replace(images, "/img"), None


def main():
    listing, folder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    if len(sys.argv) > 3:
        uri, daemon = sys.argv[3], None
    else:
        sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../scripts/pylib"))
        from libvirtd import Libvirtd
        daemon = Libvirtd()
        uri = daemon.uri
    images = tempfile.mkdtemp(prefix="lodge-img-")
    os.chmod(images, 0o755)
    for name in ("a.qcow2", "b.raw", "a.raw", "a.iso", "f.img"):
        kind = "qcow2" if name.endswith("qcow2") else "raw"
        subprocess.run(["qemu-img", "create", "-q", "-f", kind, f"{images}/{name}", "1G"], check=True)
    for line in listing.read_text().splitlines():
        name, _, options = line.partition(":")
        if not options or line.startswith("#"):
            continue
        text, why = make(uri, images, name.strip(), options)
        if text is None:
            print(f"{name}: {why}", file=sys.stderr)
        else:
            (folder / f"virt-install-{name.strip()}.xml").write_text(text)
    shutil.rmtree(images)
    if daemon:
        daemon.stop()


if __name__ == "__main__":
    main()
