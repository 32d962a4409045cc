/* Credentials for TLS as QEMU's objects tls-creds-x509 and tls-creds-psk describe them.
 *
 * A folder holds ca-cert.pem, ca-crl.pem (may be missing) and server-cert.pem, server-key.pem or
 * client-cert.pem, client-key.pem (clients may lack them); or keys.psk with lines "user:hexkey".
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_NBD_TLS_H
#define LODGE_BLOCK_NBD_TLS_H

#include <glib.h>
#include <gnutls/gnutls.h>
#include <stdbool.h>

typedef struct NbdTls NbdTls;

typedef struct NbdTlsOptions {
    const char *folder;
    bool is_server, is_psk;
    bool accepts_anybody; /* verify-peer=off */
    const char *username; /* PSK clients; NULL: "qemu" */
    const char *priority; /* GnuTLS's priority string; NULL: its defaults from TLS 1.2 on */
} NbdTlsOptions;

/* Loads the files. NULL with @error: names the file. */
NbdTls *nbd_tls_new(const NbdTlsOptions *options, GError **error);
NbdTls *nbd_tls_ref(NbdTls *tls);
/* NULL is accepted. */
void nbd_tls_unref(NbdTls *tls);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NbdTls, nbd_tls_unref)

bool nbd_tls_is_server(const NbdTls *tls);

/* One side of a connection, before its handshake. @host: a client checks the server's certificate
 * against it; NULL: no name to check. (transfer full; gnutls_deinit()) */
gnutls_session_t nbd_tls_session(NbdTls *tls, const char *host, GError **error);
/* After the handshake: whether the peer is one that the credentials accept. */
bool nbd_tls_verify(NbdTls *tls, gnutls_session_t session, const char *host, GError **error);

#endif
