/* A client's connection inside the daemon: calls that run, streams, what it may do.
 *
 * For the files of the server itself; modules see dispatch.h.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_CLIENT_H
#define LODGE_DAEMON_CLIENT_H

#include "base/list.h"
#include "daemon/daemon.h"
#include "daemon/stream.h"
#include "rpc/connection.h"
#include "rpc/scram.h"

typedef struct DaemonServer DaemonServer;

typedef enum AuthMethod { AUTH_METHOD_NONE, AUTH_METHOD_SASL, AUTH_METHOD_POLKIT } AuthMethod;

/* Why nothing is read from a client at the moment. */
typedef enum ClientPause {
    PAUSE_CALLS = 1 << 0,   /* too many calls wait */
    PAUSE_OUTPUT = 1 << 1,  /* it does not read its replies */
    PAUSE_STREAM = 1 << 2,  /* a stream's receiver is slow */
    PAUSE_REFUSAL = 1 << 3, /* it failed to authenticate and is about to be told */
} ClientPause;

struct DaemonClient {
    gint refs;
    List node; /* of the server */
    Daemon *daemon;
    DaemonServer *server;
    RpcConnection *connection;
    uint64_t id;
    int64_t since_s;         /* when it connected, seconds since the epoch */
    int64_t deadline_ns;     /* monotonic; unauthenticated ones are cut off then */
    DaemonIdentity identity; /* strings owned */
    bool admin;              /* came by the admin socket */
    bool local;              /* came by a unix socket */
    AuthMethod auth;
    bool authenticated, opened, closed;
    ScramServer *scram;  /* while SASL goes on */
    DaemonCall *refused; /* held; see client_refuse() */
    GError *refusal;
    int64_t refuse_at_ns;
    unsigned pause; /* ClientPause */

    bool answers_pings;
    int64_t next_ping_ns;
    unsigned pings_missed;

    unsigned n_running;  /* calls on workers or held */
    GQueue pending;      /* DaemonCall that wait for one of those */
    GHashTable *streams; /* serial to DaemonStream */
    int32_t next_callback_id;

    GMutex hooks_lock;
    GArray *hooks;
    bool hooks_ran; /* none is taken any more */
    unsigned next_hook;
};

/* @fd: (transfer full). NULL: it could not be set up. */
DaemonClient *client_new(DaemonServer *server, int fd);
DaemonClient *client_ref(DaemonClient *client);
void client_unref(DaemonClient *client);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DaemonClient, client_unref)

/* Ends the connection. @reason: for the log. Context: the loop's thread. */
void client_close(DaemonClient *client, const char *reason);

/* The client has shown who it is. */
void client_set_authenticated(DaemonClient *client);

/* Holds @call, by which the client failed to authenticate: @why (transfer full) is its answer in 2
 * to 2.5 seconds, then the connection ends. Together with max_anonymous_clients this is what limits
 * guessing. Context: the loop's thread; the handler then returns true. */
void client_refuse(DaemonCall *call, GError *why);

void client_set_pause(DaemonClient *client, ClientPause why, bool on);

/* Keepalive and time limits. @now_ns: monotonic. */
void client_tick(DaemonClient *client, int64_t now_ns);

/* What a handler asked for: on its caller's stack, as a held call may be answered, and freed, by
 * another thread before the handler returns. */
typedef struct CallOutcome {
    bool requeued, held;
} CallOutcome;

struct DaemonCall {
    DaemonClient *client; /* a reference */
    const RpcProgram *program;
    const RpcProcedure *procedure;
    const DispatchEntry *entry;
    uint32_t serial;
    Arena arena;
    void *args, *ret; /* in the arena; NULL where the procedure has none */
    int in_fds[RPC_FDS_MAX];
    unsigned n_in_fds;
    int out_fds[RPC_FDS_MAX];
    unsigned n_out_fds;
    bool on_worker, counted;
    RpcMessage *raw;      /* a reply that the handler writes itself, or NULL */
    CallOutcome *outcome; /* while the handler runs */
    DaemonStream *stream;
    /* Sends the reply (transfer full) where something must be true before the client can answer
     * to it; NULL: nothing. Any thread. */
    void (*send_reply)(DaemonClient *client, RpcMessage *reply);
};

/* Takes a message of type call apart, checks it, and runs or queues it. */
void call_receive(DaemonClient *client, RpcIncoming *incoming);

/* Runs a call that waited. Context: the loop's thread. */
void call_start(DaemonCall *call);
void call_free(DaemonCall *call);

/* The thread pool's function. */
void call_run_on_worker(void *call, void *unused);

/* Sends a message of status error for what is no call that can be run. */
void client_send_error(DaemonClient *client, const RpcHeader *to, uint32_t type,
                       const RpcProcedure *procedure, const GError *error);

/* A packet of a stream. */
void stream_receive(DaemonClient *client, const RpcIncoming *incoming);
/* Sends @reply (transfer full) of the call that opened it, on the loop, so that what the client
 * sends next finds the stream. Context: any thread. */
void stream_start(DaemonStream *stream, RpcMessage *reply);
/* The call failed after all. */
void stream_cancel(DaemonStream *stream);
/* There is room in the client's output. */
void stream_wake_all(DaemonClient *client);
/* The connection ended. */
void stream_close_all(DaemonClient *client);

#endif
