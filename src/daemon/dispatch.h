/* Procedures: how a handler is written, and what it may ask about the call it serves.
 *
 * A handler is the function handle_NAME() whose prototype scripts/gen-rpc.py makes from the table
 * ("schema/remote-handlers.h"; procedure DOMAIN_CREATE is handle_domain_create()). A module lists
 * those it has:
 *
 *     static const DispatchEntry handlers[] = {
 *         HANDLER_INLINE(domain_lookup_by_name),
 *         HANDLER(domain_create),
 *     };
 *
 * HANDLER_INLINE runs on the loop's thread and may not wait for disk, guest or lock held that long;
 * HANDLER runs on a worker thread and may. Both run at once with others: objects lock themselves.
 *
 * Arguments are borrowed until the handler returns. All that *@ret points to is borrowed too and
 * must live until the reply is encoded, right after the handler returns: allocate it with
 * arena_alloc(call_arena(call)), arena_strdup(), or hand a GLib pointer over by arena_take().
 * *@ret is zeroed before. Access rules of the table, limits of shapes and authentication are
 * checked before the handler is called. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DISPATCH_H
#define LODGE_DAEMON_DISPATCH_H

#include "schema/remote-handlers.h"

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

typedef struct Daemon Daemon;
typedef struct DaemonClient DaemonClient;

/* False: @error says why, and is the reply. */
typedef bool (*DaemonHandler)(DaemonCall *call, const void *args, void *ret, GError **error);

typedef struct DispatchEntry {
    uint32_t program;
    uint32_t procedure;
    DaemonHandler handler;
    bool run_inline;
} DispatchEntry;

#define HANDLER(name)                                                                              \
    {                                                                                              \
        HANDLER_ENTRY_##name, false                                                                \
    }
#define HANDLER_INLINE(name)                                                                       \
    {                                                                                              \
        HANDLER_ENTRY_##name, true                                                                 \
    }

/* Who is at the other end; fixed once authenticated. */
typedef struct DaemonIdentity {
    uid_t uid; /* (uid_t)-1: no local peer */
    gid_t gid;
    pid_t pid;             /* 0: unknown */
    uint64_t start_time;   /* of @pid, clock ticks since boot; 0: unknown */
    const char *user_name; /* of @uid, or NULL */
    const char *sasl_name; /* or NULL */
    const char *x509_name; /* or NULL */
    bool read_only;
} DaemonIdentity;

Daemon *call_daemon(DaemonCall *call);
DaemonClient *call_client(DaemonCall *call);
const DaemonIdentity *call_identity(DaemonCall *call);

/* For long replies of many objects: where the handler writes the reply's bytes (XDR) itself instead
 * of filling *@ret, which is then ignored. Called once; limits of the table are the handler's to
 * keep. */
XdrWriter *call_raw_reply(DaemonCall *call);

/* Which procedure is called, for handlers that serve several. */
const RpcProcedure *call_procedure(const DaemonCall *call);

/* Lives until the reply is encoded. */
Arena *call_arena(DaemonCall *call);

/* Whether the handler is on a worker thread. */
bool call_may_block(const DaemonCall *call);

/* For an inline handler that finds it has to wait: "return call_requeue(call);" runs it again from
 * its start on a worker thread. What it put into *@ret is zeroed. Returns: true. */
bool call_requeue(DaemonCall *call);

/**
 * call_hold - answer later
 *
 * After it the handler returns true without a reply being sent; the owner of the returned pointer
 * calls call_finish() once, from any thread. Arguments and arena live until then.
 */
DaemonCall *call_hold(DaemonCall *call);

/* Encodes and sends the reply of a held call: *ret as the handler or its owner left it, or @error
 * (transfer full; NULL: success). The call is gone after it. */
void call_finish(DaemonCall *call, GError *error);

/* The struct for the reply of a held call. */
void *call_ret(DaemonCall *call);

/* File descriptors that came with the call. call_take_fd() gives one to the caller (-1: none). */
unsigned call_n_fds(const DaemonCall *call);
int call_take_fd(DaemonCall *call, unsigned index);

/* Sends @fd (transfer full) with the reply. False: too many (@fd is closed). */
bool call_send_fd(DaemonCall *call, int fd, GError **error);

/**
 * client_on_close - be told once when the client's connection ends
 * @func: called on the loop's thread; may not block
 *
 * Returns: a handle for client_off_close(), which drops it and says whether it was still there; 0:
 * the connection has ended, @func will not be called. Any thread.
 */
unsigned client_on_close(DaemonClient *client, void (*func)(void *opaque), void *opaque);
bool client_off_close(DaemonClient *client, unsigned handle);

/* A number that no other client of this daemon has or had. */
uint64_t client_id(const DaemonClient *client);

#endif
