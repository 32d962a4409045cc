/* Events of domains as text.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_CLI_EVENT_TEXT_H
#define LODGE_CLI_EVENT_TEXT_H

#include "schema/remote.h"

#include <glib.h>

/* A kind of event: the protocol's number, its name, and what follows the domain's name in virsh's
 * line, appended to @out. @describe: NULL for nothing. */
typedef struct EventKind {
    int id;
    const char *name;
    uint32_t procedure; /* of the message */
    void (*describe)(const void *message, GString *out);
} EventKind;

extern const EventKind event_kinds[];
extern const unsigned event_kind_count;

/* Returns: the kind of that name, or of that message; NULL: none. */
const EventKind *event_kind_find(const char *name);
const EventKind *event_kind_of(uint32_t procedure);

#endif
