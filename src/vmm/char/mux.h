/* Multiplexer: several front ends on one back end, chosen by Ctrl-a keys as QEMU's users know them.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_CHAR_MUX_H
#define LODGE_VMM_CHAR_MUX_H

#include "vmm/char/char.h"

#define CHAR_MUX_FRONTENDS_MAX 4

/* What the keys ask of the machine; functions may be NULL. Called on the loop thread. */
typedef struct CharMuxTarget {
    void (*quit)(void *opaque);  /* x */
    void (*flush)(void *opaque); /* s: write what disks hold back */
    void *opaque;
} CharMuxTarget;

typedef struct CharMux CharMux;

/**
 * char_mux_new - share @backend
 * @backend: open, without a front end; (transfer full)
 * @target:  copied; NULL: keys ask for nothing
 *
 * Front ends attach to ports made by char_mux_port(). Returns: the multiplexer.
 */
CharMux *char_mux_new(CharBackend *backend, const CharMuxTarget *target);
void char_mux_free(CharMux *mux);

/* A further port: a back end for one front end, owned by @mux. NULL with @error when there are too
 * many. The first port has the focus. */
CharBackend *char_mux_port(CharMux *mux, GError **error);

/* The back end below. */
CharBackend *char_mux_backend(CharMux *mux);

#endif
