/* The filter of system calls that -sandbox asks for (seccomp).
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_SANDBOX_H
#define LODGE_VMM_SANDBOX_H

#include "vmm/options/config.h"

/**
 * sandbox_enter - filter the system calls of all threads from here on
 *
 * What no monitor needs always ends the process: mounts, modules, clocks, other processes'
 * memory. The switches of @config add to it: obsolete calls, changes of identity, new processes
 * (threads stay possible), and priorities. "children" of elevate only keeps a program that is
 * executed from getting more rights.
 *
 * Returns: false with @error: the kernel or this build has no filter.
 */
bool sandbox_enter(const SandboxConfig *config, GError **error);

#endif
