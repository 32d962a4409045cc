/* A client's connection to the NBD server: its state, for server.c, negotiate.c, session.c and
 * request.c. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_EXPORT_SESSION_H
#define LODGE_BLOCK_EXPORT_SESSION_H

#include "block/export/export.h"
#include "block/nbd/channel.h"
#include "block/nbd/proto.h"

#include <pthread.h>

#define NBD_SESSION_WORKERS 16
#define NBD_SESSION_BUFFER_BYTES (64u << 20) /* of all requests being executed */

/* Ids of metadata contexts. */
enum { NBD_CONTEXT_ID_ALLOCATION = 1, NBD_CONTEXT_ID_DEPTH = 2, NBD_CONTEXT_ID_BITMAP = 16 };

typedef struct NbdSession NbdSession;

/* What a session needs of its server. Context: the session's threads. */
typedef struct NbdSessionHost {
    /* The export of that name, or NULL; release() gives it back. */
    NbdExport *(*find)(void *opaque, const char *name);
    void (*release)(void *opaque, NbdExport *export);
    /* All exports, borrowed until visit returns false or the end. */
    void (*foreach)(void *opaque, bool (*visit)(NbdExport *export, void *visit_opaque),
                    void *visit_opaque);
    /* The last thread is leaving: the session is the host's again. Returns at once. */
    void (*ended)(void *opaque, NbdSession *session);
    void *opaque;
    NbdTls *tls; /* NULL: plain connections */
} NbdSessionHost;

struct NbdSession {
    const NbdSessionHost *host; /* borrowed */
    NbdChannel *channel;

    /* Negotiated; fixed from the first request on */
    NbdExport *export; /* of find(); given back by the host */
    bool has_structured_replies;
    bool has_allocation, has_depth;
    uint64_t bitmaps;   /* bit n: the export's bitmap n was selected */
    char *contexts_for; /* name of the export that contexts were selected for, or NULL */

    pthread_mutex_t read_lock; /* its holder reads the next request */
    pthread_mutex_t send_lock; /* its holder sends a reply */
    pthread_mutex_t lock;      /* for all below; taken last */
    pthread_cond_t freed;      /* buffer bytes */
    size_t buffer_bytes;       /* in use */
    unsigned workers, waiting; /* threads; those of them that wait for read_lock */
    bool is_closing;           /* no more requests are read */
};

/* @fd: (transfer full). Returns: a session without threads. */
NbdSession *nbd_session_new(const NbdSessionHost *host, int fd);
/* Without threads. The host took session->export. */
void nbd_session_free(NbdSession *session);
/* False: no thread could be started. */
bool nbd_session_start(NbdSession *session);
/* Cuts the connection; ended() follows. Context: any thread. */
void nbd_session_cut(NbdSession *session);

/* negotiate.c: until an export was chosen. False: the session ends. */
bool nbd_session_negotiate(NbdSession *session);

/* request.c: executes and answers a request. @buf: its data, or room for those to be read. False:
 * the connection is broken. */
bool nbd_session_execute(NbdSession *session, const NbdRequest *request, uint8_t *buf);
/* Answers a request that is refused. */
bool nbd_session_refuse(NbdSession *session, const NbdRequest *request, int error);

#endif
