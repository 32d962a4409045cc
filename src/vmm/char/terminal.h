/* Character back ends on terminals: the process's own (stdio) and a new one (pty).
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_CHAR_TERMINAL_H
#define LODGE_VMM_CHAR_TERMINAL_H

#include "vmm/char/char.h"

extern const CharClass char_stdio_class, char_pty_class;

#endif
