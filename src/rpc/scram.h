/* SCRAM-SHA-256 (RFC 5802, RFC 7677), server and client, without channel binding.
 *
 * The store keeps salt, iterations, StoredKey and ServerKey for each user, never a password. User
 * names and passwords are taken as UTF-8 bytes; SASLprep is not applied.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LODGE_RPC_SCRAM_H
#define LODGE_RPC_SCRAM_H

#include <glib.h>
#include <stdbool.h>

#define SCRAM_MECHANISM "SCRAM-SHA-256"
/* The most that clients with cyrus-sasl take, libvirt's among them. */
#define SCRAM_ITERATIONS 65536u
#define SCRAM_MESSAGE_MAX 4096u

typedef struct ScramStore ScramStore;
typedef struct ScramServer ScramServer;
typedef struct ScramClient ScramClient;

/* Lines "USER ITERATIONS SALT STOREDKEY SERVERKEY", the last three in base64; '#' begins a comment.
 * A file that others can read is refused. */
ScramStore *scram_store_load(const char *path, GError **error);
void scram_store_free(ScramStore *store);

/* Such a line for a new password, without a newline. (transfer full) */
char *scram_make_entry(const char *user, const char *password, unsigned iterations, GError **error);

/* One authentication. @store: borrowed. */
ScramServer *scram_server_new(const ScramStore *store);
void scram_server_free(ScramServer *server);

/**
 * scram_server_step - answer a message of the client
 * @in:           @size bytes, hostile
 * @out_reply:    text for the client (transfer full)
 * @out_complete: the client has proved who it is; the reply proves who we are
 *
 * An unknown user is answered as a known one until the proof fails. Returns: false when the
 * message breaks the rules or the proof is wrong (LODGE_ERROR_AUTH, always the same words).
 */
bool scram_server_step(ScramServer *server, const char *in, gsize size, char **out_reply,
                       bool *out_complete, GError **error);

/* Who it is; NULL before the first message. Borrowed. */
const char *scram_server_user(const ScramServer *server);

ScramClient *scram_client_new(const char *user, const char *password);
void scram_client_free(ScramClient *client);

/* The first message. (transfer full) */
char *scram_client_first(ScramClient *client, GError **error);

/* Answers the server's message; *@out_reply is NULL when its proof was right and all is done. */
bool scram_client_step(ScramClient *client, const char *in, gsize size, char **out_reply,
                       GError **error);

#endif
