/* The character back ends there are.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/char/simple.h"
#include "vmm/char/socket.h"
#include "vmm/char/terminal.h"

const CharClass *const char_classes[] = {
    &char_file_class,    &char_null_class,   &char_pipe_class,  &char_pty_class,
    &char_ringbuf_class, &char_socket_class, &char_stdio_class, NULL,
};
