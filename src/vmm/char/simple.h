/* Character back ends without a peer that comes and goes: null, file, pipe, ringbuf.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_CHAR_SIMPLE_H
#define LODGE_VMM_CHAR_SIMPLE_H

#include "vmm/char/char.h"

extern const CharClass char_null_class, char_file_class, char_pipe_class, char_ringbuf_class;

/* Takes up to @limit of the oldest bytes out of a ringbuf; NULL: @backend is none. (transfer full)
 */
GByteArray *char_ringbuf_read(CharBackend *backend, size_t limit);

#endif
