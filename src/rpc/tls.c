/* TLS by GnuTLS. At least version 1.2, no session tickets, no renegotiation.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rpc/tls.h"

#include "gbase/error.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <sys/stat.h>

#define PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:%NO_TICKETS"
#define NAME_MAX_BYTES 1024u

struct RpcTlsContext {
    gint refs;
    bool server;
    gnutls_certificate_credentials_t credentials;
    gnutls_priority_t priorities;
};

struct RpcTlsSession {
    RpcTlsContext *context;
    gnutls_session_t session;
    char *host_name;
    bool verify;
    char *peer_name;
};

static bool check_gnutls(int rc, GError **error, const char *what, const char *file)
{
    if (rc < 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG, "cannot %s '%s': %s", what, file,
                    gnutls_strerror(rc));
        return false;
    }
    return true;
}

static bool check_key_mode(const char *key, GError **error)
{
    struct stat info;
    if (stat(key, &info) < 0) {
        lodge_error_set_errno(error, errno, "cannot use the TLS key '%s'", key);
        return false;
    }
    if (info.st_mode & 0027) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_PERMISSION,
                    "the TLS key '%s' can be read by others (mode %04o); chmod it to 0600", key,
                    (unsigned)(info.st_mode & 07777));
        return false;
    }
    return true;
}

static bool load(RpcTlsContext *context, const RpcTlsFiles *files, GError **error)
{
    if (!check_gnutls(gnutls_certificate_set_x509_trust_file(context->credentials, files->ca,
                                                             GNUTLS_X509_FMT_PEM),
                      error, "load the TLS authorities", files->ca)) {
        return false;
    }
    if (files->crl && !check_gnutls(gnutls_certificate_set_x509_crl_file(
                                        context->credentials, files->crl, GNUTLS_X509_FMT_PEM),
                                    error, "load the TLS revocation list", files->crl)) {
        return false;
    }
    if (!files->key) {
        return true;
    }
    return check_key_mode(files->key, error) &&
           check_gnutls(gnutls_certificate_set_x509_key_file(context->credentials, files->cert,
                                                             files->key, GNUTLS_X509_FMT_PEM),
                        error, "load the TLS certificate", files->cert);
}

RpcTlsContext *rpc_tls_context_new(const RpcTlsFiles *files, bool server, GError **error)
{
    RpcTlsContext *context = g_new0(RpcTlsContext, 1);
    context->refs = 1;
    context->server = server;
    if (gnutls_certificate_allocate_credentials(&context->credentials) < 0 ||
        gnutls_priority_init(&context->priorities, PRIORITIES, NULL) < 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NO_MEMORY, "cannot set TLS up");
        rpc_tls_context_unref(context);
        return NULL;
    }
    if (!load(context, files, error)) {
        rpc_tls_context_unref(context);
        return NULL;
    }
    return context;
}

RpcTlsContext *rpc_tls_context_ref(RpcTlsContext *context)
{
    g_atomic_int_inc(&context->refs);
    return context;
}

void rpc_tls_context_unref(RpcTlsContext *context)
{
    if (!context || !g_atomic_int_dec_and_test(&context->refs)) {
        return;
    }
    if (context->credentials) {
        gnutls_certificate_free_credentials(context->credentials);
    }
    if (context->priorities) {
        gnutls_priority_deinit(context->priorities);
    }
    g_free(context);
}

RpcTlsSession *rpc_tls_session_new(RpcTlsContext *context, int fd, const char *host_name,
                                   bool verify, GError **error)
{
    RpcTlsSession *tls = g_new0(RpcTlsSession, 1);
    tls->context = rpc_tls_context_ref(context);
    tls->host_name = g_strdup(host_name);
    tls->verify = verify;
    unsigned flags =
        (context->server ? GNUTLS_SERVER : GNUTLS_CLIENT) | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL;
    if (gnutls_init(&tls->session, flags) < 0 ||
        gnutls_priority_set(tls->session, context->priorities) < 0 ||
        gnutls_credentials_set(tls->session, GNUTLS_CRD_CERTIFICATE, context->credentials) < 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NO_MEMORY, "cannot start a TLS session");
        rpc_tls_session_free(tls);
        return NULL;
    }
    if (context->server) {
        gnutls_certificate_server_set_request(tls->session,
                                              verify ? GNUTLS_CERT_REQUIRE : GNUTLS_CERT_REQUEST);
    } else if (host_name) {
        gnutls_server_name_set(tls->session, GNUTLS_NAME_DNS, host_name, strlen(host_name));
    }
    gnutls_transport_set_int(tls->session, fd);
    return tls;
}

void rpc_tls_session_free(RpcTlsSession *tls)
{
    if (!tls) {
        return;
    }
    if (tls->session) {
        gnutls_deinit(tls->session);
    }
    rpc_tls_context_unref(tls->context);
    g_free(tls->host_name);
    g_free(tls->peer_name);
    g_free(tls);
}

/* The peer's certificate: its chain, times, and for servers the name. */
static bool verify_peer(RpcTlsSession *tls, GError **error)
{
    unsigned status = 0;
    int rc = gnutls_certificate_verify_peers3(tls->session, tls->host_name, &status);
    if (rc < 0 || status != 0) {
        gnutls_datum_t text = { NULL, 0 };
        if (rc >= 0) {
            gnutls_certificate_verification_status_print(
                status, gnutls_certificate_type_get(tls->session), &text, 0);
        }
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_AUTH,
                    "the TLS certificate of the peer is not accepted: %s",
                    text.data ? (const char *)text.data : gnutls_strerror(rc));
        gnutls_free(text.data);
        return false;
    }
    unsigned n = 0;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(tls->session, &n);
    gnutls_x509_crt_t cert;
    if (n == 0 || gnutls_x509_crt_init(&cert) < 0) {
        return true;
    }
    char name[NAME_MAX_BYTES];
    size_t size = sizeof(name);
    if (gnutls_x509_crt_import(cert, &chain[0], GNUTLS_X509_FMT_DER) >= 0 &&
        gnutls_x509_crt_get_dn(cert, name, &size) >= 0) {
        tls->peer_name = g_strndup(name, size);
    }
    gnutls_x509_crt_deinit(cert);
    return true;
}

int rpc_tls_handshake(RpcTlsSession *tls, GError **error)
{
    int rc;
    do {
        rc = gnutls_handshake(tls->session);
    } while (rc == GNUTLS_E_INTERRUPTED ||
             (rc < 0 && rc != GNUTLS_E_AGAIN && !gnutls_error_is_fatal(rc)));
    if (rc == GNUTLS_E_AGAIN) {
        return 0;
    }
    if (rc < 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_AUTH, "the TLS handshake failed: %s",
                    gnutls_strerror(rc));
        return -1;
    }
    unsigned n = 0;
    gnutls_certificate_get_peers(tls->session, &n);
    if ((tls->verify || n > 0) && !verify_peer(tls, error)) {
        return -1;
    }
    return 1;
}

bool rpc_tls_wants_write(RpcTlsSession *tls)
{
    return gnutls_record_get_direction(tls->session) == 1;
}

static ssize_t result(ssize_t rc)
{
    if (rc >= 0) {
        return rc;
    }
    switch (rc) {
    case GNUTLS_E_AGAIN:
    case GNUTLS_E_INTERRUPTED:
    case GNUTLS_E_WARNING_ALERT_RECEIVED:
        return -EAGAIN;
    default:
        return -ECONNRESET;
    }
}

ssize_t rpc_tls_receive(RpcTlsSession *tls, void *data, size_t size)
{
    return result(gnutls_record_recv(tls->session, data, size));
}

ssize_t rpc_tls_send(RpcTlsSession *tls, const void *data, size_t size)
{
    return result(gnutls_record_send(tls->session, data, size));
}

bool rpc_tls_has_pending(RpcTlsSession *tls)
{
    return gnutls_record_check_pending(tls->session) > 0;
}

void rpc_tls_goodbye(RpcTlsSession *tls)
{
    /* Non-blocking: where it does not fit, the peer sees the socket end. */
    gnutls_bye(tls->session, GNUTLS_SHUT_WR);
}

const char *rpc_tls_peer_name(RpcTlsSession *tls)
{
    return tls->peer_name;
}
