"""Guest images by the scripts of scripts/images: each prints the path of what it made or found as its last line.

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os
import subprocess

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def image(build, script, *arguments):
    """Path of an image, made now if the cache lacks it. Progress goes to standard error."""
    command = [os.path.join(TOP, "scripts", "images", script), *arguments]
    env = dict(os.environ, LODGE_IMAGES=os.path.join(build, "images"))
    return subprocess.check_output(command, text=True, env=env).strip().splitlines()[-1]
