/* The comment at the end of a state file that says which generation it is and whether anybody
 * changed it: <!-- lodge v=1 gen=N sha256=HEX -->. The rest stays plain libvirt XML.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_STATE_ENVELOPE_H
#define LODGE_DAEMON_STATE_ENVELOPE_H

#include <glib.h>

#define ENVELOPE_VERSION 1

typedef enum EnvelopeState {
    ENVELOPE_INTACT,  /* written by this program, not changed since */
    ENVELOPE_CHANGED, /* somebody edited the file */
    ENVELOPE_ABSENT,  /* written by another program, libvirt for one */
    ENVELOPE_NEWER,   /* by a later version of this program */
} EnvelopeState;

typedef struct Envelope {
    EnvelopeState state;
    unsigned version;
    guint64 generation; /* 0 when absent */
    gsize body_size;    /* bytes before the comment */
} Envelope;

/* @body with its envelope, and a newline at the end (transfer full). */
char *envelope_seal(const char *body, gsize size, guint64 generation);

/* Looks at a file's text of @size bytes; never fails. */
Envelope envelope_open(const char *text, gsize size);

#endif
