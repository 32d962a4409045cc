/* Character back ends: where serial ports, consoles, monitors and the debugger send their bytes.
 *
 * A back end serves one front end at a time; a multiplexer (mux.h) serves several. All functions
 * run on the thread of the back end's loop, char_write() on any. A peer that goes away, a closed
 * terminal or a full pipe never ends or blocks the process. SPDX-License-Identifier:
 * GPL-2.0-or-later */
#ifndef LODGE_VMM_CHAR_CHAR_H
#define LODGE_VMM_CHAR_CHAR_H

#include "event/loop.h"
#include "vmm/device/property.h"

#include <glib.h>
#include <pthread.h>

typedef struct CharBackend CharBackend;

typedef enum CharEvent {
    CHAR_EVENT_OPENED,  /* a peer is there */
    CHAR_EVENT_CLOSED,  /* it went away; another may come */
    CHAR_EVENT_BREAK,   /* a serial break condition */
    CHAR_EVENT_DRAINED, /* char_write_room() is CHAR_PENDING_MAX again after it was less */
    CHAR_EVENT_FOCUS,   /* of a multiplexer: input goes to this front end from here on */
} CharEvent;

/* Who uses a back end. Each function may be NULL. */
typedef struct CharFrontend {
    /* Bytes that receive() takes at the moment; 0 stops reading until char_accept_input(). */
    size_t (*can_receive)(void *opaque);
    void (*receive)(void *opaque, const uint8_t *bytes, size_t length);
    void (*event)(void *opaque, CharEvent event);
    void *opaque;
} CharFrontend;

typedef struct CharClass {
    const char *name;    /* as in -chardev: "socket" */
    const char *summary; /* one line for -chardev help */
    size_t instance_size;
    const Property *properties; /* ends with a NULL name; may be NULL */
    /* required; @backend->loop is set. On failure nothing is left behind. */
    bool (*open)(CharBackend *backend, GError **error);
    void (*close)(CharBackend *backend); /* required; undoes open */
    /* Takes what it can of the bytes without blocking; the number taken, or -errno (the bytes are
     * dropped). NULL: all is dropped. Under backend->lock. */
    ssize_t (*write)(CharBackend *backend, const uint8_t *bytes, size_t length);
    /* Asks for char_flush() when writing is possible again, once. Loop thread. Required with write.
     */
    void (*want_write)(CharBackend *backend);
    /* The front end can take more input, or none: start or stop to read. */
    void (*accept_input)(CharBackend *backend);
    /* Where it can be reached, for query-chardev and the start message: "pty:/dev/pts/3". NULL: the
     * class's name. */
    char *(*describe)(CharBackend *backend); /* (transfer full) */
    /* The oldest descriptor that the peer sent along and nobody took (transfer full), or -1. */
    int (*take_fd)(CharBackend *backend);
} CharClass;

/* A back end's struct begins with this. */
struct CharBackend {
    const CharClass *class;
    char *id; /* owned */
    EventLoop *loop;
    CharFrontend front;
    bool has_frontend, is_open, is_connected;
    char *log_path; /* or NULL: a file that gets all that is written */
    bool log_appends;
    int log_fd; /* or -1; under lock */
    pthread_mutex_t lock;
    GByteArray *pending;   /* written, not yet taken; under lock; at most CHAR_PENDING_MAX */
    bool wants_flush;      /* under lock: want_write is under way */
    unsigned long dropped; /* bytes; under lock */
};

#define CHAR_PENDING_MAX (64 * 1024)

/* All classes, sorted by name; ends with NULL. */
extern const CharClass *const char_classes[];

/* The class, or NULL with an error that lists those there are. */
const CharClass *char_class_find(const char *name, GError **error);

/* What every class takes beside its own; ends with a NULL name. */
extern const Property char_common_properties[];

/* A back end with default properties. */
CharBackend *char_new(const CharClass *class, const char *id);

/* False: unknown property or bad value. Before char_open(). */
bool char_set_property(CharBackend *backend, const char *name, const char *value, GError **error);

/* Acquires what the class needs. Errors begin with "chardev 'ID': ". */
bool char_open(CharBackend *backend, EventLoop *loop, GError **error);

/* Closes and frees; NULL is accepted. */
void char_free(CharBackend *backend);

/* False: it serves another front end already. @front is copied; CHAR_EVENT_OPENED comes at once if
 * a peer is there. */
bool char_attach(CharBackend *backend, const CharFrontend *front, GError **error);
void char_detach(CharBackend *backend);

/**
 * char_write - bytes for the peer
 *
 * What the peer does not take at once is kept up to CHAR_PENDING_MAX and written later; beyond
 * that, and without a peer, bytes are dropped (a guest that prints is never held up). Context: any
 * thread, with device locks held.
 */
void char_write(CharBackend *backend, const void *bytes, size_t length);

/* Bytes that char_write() would not drop; CHAR_PENDING_MAX also where there is no peer, as nothing
 * is worth waiting for then. Context: any thread. */
size_t char_write_room(CharBackend *backend);

/* The front end's can_receive() grew from 0. Context: any thread. */
void char_accept_input(CharBackend *backend);

/* A descriptor that the peer sent (transfer full), or -1. */
int char_take_fd(CharBackend *backend);

/* (transfer full) where it is: see CharClass.describe. */
char *char_describe(CharBackend *backend);

/* -- for classes -- */

/* Bytes the front end would take at the moment; 0 without one. */
size_t char_can_receive(CharBackend *backend);
/* Hands input over; at most char_can_receive() bytes. */
void char_receive(CharBackend *backend, const uint8_t *bytes, size_t length);
/* A peer came or went, or a break; passed on to the front end. */
void char_event(CharBackend *backend, CharEvent event);
/* Writes what is pending; called when the peer takes bytes again. */
void char_flush(CharBackend *backend);

#endif
