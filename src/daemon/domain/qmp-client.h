/* A client of a monitor (QMP, the QEMU Monitor Protocol): commands with deadlines from any thread,
 * events, descriptors. What the monitor sends is not trusted.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_QMP_CLIENT_H
#define LODGE_DAEMON_DOMAIN_QMP_CLIENT_H

#include "event/loop.h"

#include <json-glib/json-glib.h>
#include <stdbool.h>

#define QMP_TIMEOUT_MS 30000
#define QMP_QUERY_MAX 8

typedef struct QmpClient QmpClient;

/* On the loop's thread; may not wait for a command. */
typedef struct QmpClientOps {
    /* @data: borrowed, or NULL. */
    void (*event)(void *opaque, const char *name, JsonObject *data, gint64 seconds,
                  unsigned microseconds);
    /* The connection ended; called once, last. */
    void (*closed)(void *opaque, const GError *reason);
} QmpClientOps;

/**
 * qmp_client_new - speak to the monitor at the other end of @fd
 * @fd: (transfer full) connected stream socket; made non-blocking
 *
 * Negotiation follows: qmp_client_await_greeting(), then "qmp_capabilities". Context: any thread
 * that does not hold what the functions of @ops take. NULL with @error.
 */
QmpClient *qmp_client_new(EventLoop *loop, int fd, const QmpClientOps *ops, void *opaque,
                          GError **error);

/* Whose monitor it is, for errors. Context: before others have @client. */
void qmp_client_set_peer(QmpClient *client, const char *guest, const char *emulator);

/* Ends the connection; commands under way fail, closed() is not called any more. Context: as
 * qmp_client_new(), or the loop's thread. */
void qmp_client_close(QmpClient *client);

/* Whoever runs commands holds a reference; the last goes after qmp_client_close(). */
QmpClient *qmp_client_ref(QmpClient *client);
void qmp_client_unref(QmpClient *client);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(QmpClient, qmp_client_unref)

/* Waits until the monitor may be spoken to. Context: not the loop's thread. */
bool qmp_client_await_greeting(QmpClient *client, int timeout_ms, GError **error);

/**
 * qmp_client_query - run commands without arguments, sent all at once
 * @commands: ends with NULL; at most QMP_QUERY_MAX
 * @results:  (out) for each its "return" (transfer full), or NULL where it failed
 *
 * Context: not the loop's thread. Returns: false with @error (TIMEOUT, CONNECTION) when not all
 * were answered; @results are set all the same.
 */
bool qmp_client_query(QmpClient *client, const char *const *commands, JsonNode **results,
                      int timeout_ms, GError **error);

/**
 * qmp_client_call - run a command and wait for its answer
 * @arguments:  (transfer full, nullable)
 * @fd:         sent along, or -1; borrowed
 * @timeout_ms: > 0
 *
 * Context: not the loop's thread. Returns: "return" (transfer full), or NULL with @error: TIMEOUT,
 * CONNECTION, PROTOCOL; or FAILED with the monitor's words (NOT_FOUND for class DeviceNotFound,
 * UNSUPPORTED for CommandNotFound: the message then names the guest and its emulator).
 */
JsonNode *qmp_client_call(QmpClient *client, const char *command, JsonObject *arguments, int fd,
                          int timeout_ms, GError **error);

/* As qmp_client_call() without a descriptor, when no answer but success counts. */
bool qmp_client_run(QmpClient *client, const char *command, JsonObject *arguments, GError **error);

/* Sends a whole message of a user's own and gives the whole answer as text (transfer full). The
 * answer's "id" is that of @message, if it has one. @fd: sent along, or -1; borrowed. */
char *qmp_client_raw(QmpClient *client, JsonObject *message, int fd, int timeout_ms,
                     GError **error);

/**
 * qmp_client_capture - run a command that writes a file
 * @arguments: (transfer full) all but "filename"
 *
 * The file is memory that is handed over: the guest's user may have no folder to write to. Returns:
 * a descriptor to read it from (transfer full), or -1 with @error.
 */
int qmp_client_capture(QmpClient *client, const char *command, JsonObject *arguments,
                       GError **error);

/* An object of NAME, value pairs; the value's type by the first letter of NAME: "s:" const char *,
 * "i:" gint64, "b:" int as bool, "o:" JsonObject * (transfer full), "a:" JsonArray * (transfer
 * full). NULL strings and objects are left out. Ends with NULL. */
JsonObject *qmp_object(const char *first, ...) G_GNUC_NULL_TERMINATED;

/* Treats bytes as received. For tests and fuzzing; on the loop's thread. */
void qmp_client_receive(QmpClient *client, const void *data, gsize size);

#endif
