"""By what time limits are multiplied: a busy host is no failure (scripts/run-checks gives more than 1).

SPDX-License-Identifier: GPL-2.0-or-later
"""
import os

PATIENCE = float(os.environ.get("LODGE_PATIENCE", "1"))
