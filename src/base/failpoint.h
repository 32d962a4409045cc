/* Named points of programs at which tests make them end as a crash would, or wait.
 *
 * The failpoint() of this library does nothing. A program for tests defines one of its own, which
 * the linker takes instead (tests/daemon/lodged-failpoints.c). The names are listed in
 * tests/daemon/test_crash.py, test_helpers.py and test_stuck_files.py. SPDX-License-Identifier:
 * GPL-2.0-or-later */
#ifndef LODGE_BASE_FAILPOINT_H
#define LODGE_BASE_FAILPOINT_H

/* Any thread; @name lives as long as the program. */
void failpoint(const char *name);

#endif
