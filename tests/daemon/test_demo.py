"""make demo: a Debian guest by way of the daemon under both engines. One minute each where KVM does not work.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import subprocess

import pytest

from conftest import BUILD, TOP
from patience import PATIENCE


@pytest.mark.parametrize("engine", ["lodge", pytest.param("qemu", marks=pytest.mark.slow)])
def test_the_demo_passes_all_steps(engine):
    done = subprocess.run([os.path.join(TOP, "scripts", "demo"), "--engine", engine, BUILD], capture_output=True,
                          text=True, timeout=1800 * PATIENCE, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert done.stdout.endswith("demo: all steps passed\n")
