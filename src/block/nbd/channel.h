/* A stream between two NBD peers: a socket, later perhaps with TLS.
 *
 * One thread at a time reads and one at a time writes; both may happen at once. Calls block until
 * all bytes are through, the deadline has passed or nbd_channel_shutdown() ends them.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_NBD_CHANNEL_H
#define LODGE_BLOCK_NBD_CHANNEL_H

#include "base/compiler.h"
#include "block/block.h"
#include "block/nbd/tls.h"

typedef struct NbdChannel NbdChannel;

/* @fd: a connected stream socket (transfer full). */
NbdChannel *nbd_channel_new(int fd);
/* Closes the socket. NULL is accepted. */
void nbd_channel_free(NbdChannel *channel);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NbdChannel, nbd_channel_free)

/* From here on calls fail with -ETIMEDOUT at @deadline_ns of CLOCK_MONOTONIC; 0: never. Context:
 * while nobody reads or writes. */
void nbd_channel_set_deadline(NbdChannel *channel, int64_t deadline_ns);

/* Goes on with TLS: handshake and check of the peer. @host: see nbd_tls_session(). */
bool nbd_channel_start_tls(NbdChannel *channel, NbdTls *tls, const char *host, GError **error);
bool nbd_channel_has_tls(const NbdChannel *channel);

/* Returns: 0, -ENOTCONN at the end of the stream, or another -errno. */
int nbd_channel_read(NbdChannel *channel, void *buf, size_t length) LODGE_MUST_CHECK;
/* Into @length bytes of @vec from @skip on. */
int nbd_channel_read_vec(NbdChannel *channel, const BlockVec *vec, uint64_t skip,
                         size_t length) LODGE_MUST_CHECK;
/* Reads and forgets. */
int nbd_channel_skip(NbdChannel *channel, size_t length) LODGE_MUST_CHECK;
/* @head, then @length bytes of @vec from @skip on (@vec NULL: nothing). */
int nbd_channel_write(NbdChannel *channel, const void *head, size_t head_length,
                      const BlockVec *vec, uint64_t skip, size_t length) LODGE_MUST_CHECK;

/* Ends the connection: all calls on it fail soon. Context: any thread. */
void nbd_channel_shutdown(NbdChannel *channel);

#endif
