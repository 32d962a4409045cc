/* TLS credentials by GnuTLS. SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/nbd/tls.h"

#include "gbase/error.h"

#include <gnutls/x509.h>
#include <string.h>

#define PRIORITY "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"
#define PRIORITY_PSK PRIORITY ":+ECDHE-PSK:+DHE-PSK:+PSK"
#define KEYS_BYTES_MAX (1u << 20)

struct NbdTls {
    gint refs;
    bool is_server, is_psk, accepts_anybody;
    char *priority;
    gnutls_certificate_credentials_t certificates;
    gnutls_psk_client_credentials_t psk_client;
    gnutls_psk_server_credentials_t psk_server;
};

static bool check(int rc, const char *what, const char *path, GError **error)
{
    if (rc < 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG, "Unable to %s '%s': %s", what, path,
                    gnutls_strerror(rc));
    }
    return rc >= 0;
}

static bool load_own(NbdTls *tls, const NbdTlsOptions *options, GError **error)
{
    const char *side = options->is_server ? "server" : "client";
    g_autofree char *cert_name = g_strdup_printf("%s-cert.pem", side);
    g_autofree char *key_name = g_strdup_printf("%s-key.pem", side);
    g_autofree char *cert = g_build_filename(options->folder, cert_name, NULL);
    g_autofree char *key = g_build_filename(options->folder, key_name, NULL);
    bool has_cert = g_file_test(cert, G_FILE_TEST_EXISTS);
    if (!has_cert && !options->is_server) {
        return true;
    }
    return check(
        gnutls_certificate_set_x509_key_file(tls->certificates, cert, key, GNUTLS_X509_FMT_PEM),
        "load the TLS certificate (with its key beside it)", cert, error);
}

static bool load_certificates(NbdTls *tls, const NbdTlsOptions *options, GError **error)
{
    g_autofree char *ca = g_build_filename(options->folder, "ca-cert.pem", NULL);
    g_autofree char *crl = g_build_filename(options->folder, "ca-crl.pem", NULL);
    if (!check(gnutls_certificate_allocate_credentials(&tls->certificates), "use", ca, error)) {
        return false;
    }
    bool has_ca = g_file_test(ca, G_FILE_TEST_EXISTS);
    bool needs_ca = !options->is_server || !options->accepts_anybody;
    if ((has_ca || needs_ca) &&
        !check(gnutls_certificate_set_x509_trust_file(tls->certificates, ca, GNUTLS_X509_FMT_PEM),
               "load the TLS authorities", ca, error)) {
        return false;
    }
    if (g_file_test(crl, G_FILE_TEST_EXISTS) &&
        !check(gnutls_certificate_set_x509_crl_file(tls->certificates, crl, GNUTLS_X509_FMT_PEM),
               "load the TLS revocation list", crl, error)) {
        return false;
    }
    return load_own(tls, options, error);
}

/* The key of @user, in hexadecimal digits. */
static char *find_key(const char *path, const char *user, GError **error)
{
    g_autofree char *text = NULL;
    gsize length;
    if (!g_file_get_contents(path, &text, &length, error)) {
        return NULL;
    }
    g_auto(GStrv) lines = length <= KEYS_BYTES_MAX ? g_strsplit(text, "\n", -1) : NULL;
    for (char **line = lines; line && *line; line++) {
        char *colon = strchr(*line, ':');
        if (colon && (size_t)(colon - *line) == strlen(user) &&
            strncmp(*line, user, colon - *line) == 0) {
            return g_strstrip(g_strdup(colon + 1));
        }
    }
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND, "'%s' has no key for the user '%s'",
                path, user);
    return NULL;
}

static bool load_keys(NbdTls *tls, const NbdTlsOptions *options, GError **error)
{
    g_autofree char *path = g_build_filename(options->folder, "keys.psk", NULL);
    if (options->is_server) {
        return check(gnutls_psk_allocate_server_credentials(&tls->psk_server), "use", path,
                     error) &&
               check(gnutls_psk_set_server_credentials_file(tls->psk_server, path),
                     "load the TLS keys", path, error);
    }
    const char *user = options->username ? options->username : "qemu";
    g_autofree char *hex = find_key(path, user, error);
    if (!hex) {
        return false;
    }
    gnutls_datum_t key = { (unsigned char *)hex, strlen(hex) };
    return check(gnutls_psk_allocate_client_credentials(&tls->psk_client), "use", path, error) &&
           check(gnutls_psk_set_client_credentials(tls->psk_client, user, &key, GNUTLS_PSK_KEY_HEX),
                 "use the TLS key of", path, error);
}

NbdTls *nbd_tls_new(const NbdTlsOptions *options, GError **error)
{
    g_autoptr(NbdTls) tls = g_new0(NbdTls, 1);
    tls->refs = 1;
    tls->is_server = options->is_server;
    tls->is_psk = options->is_psk;
    tls->accepts_anybody = options->accepts_anybody;
    tls->priority = options->priority && options->is_psk
                        ? g_strconcat(options->priority, ":+ECDHE-PSK:+DHE-PSK:+PSK", NULL)
                        : g_strdup(options->priority ? options->priority
                                   : options->is_psk ? PRIORITY_PSK
                                                     : PRIORITY);
    bool ok = tls->is_psk ? load_keys(tls, options, error) : load_certificates(tls, options, error);
    return ok ? g_steal_pointer(&tls) : NULL;
}

NbdTls *nbd_tls_ref(NbdTls *tls)
{
    g_atomic_int_inc(&tls->refs);
    return tls;
}

void nbd_tls_unref(NbdTls *tls)
{
    if (!tls || !g_atomic_int_dec_and_test(&tls->refs)) {
        return;
    }
    if (tls->certificates) {
        gnutls_certificate_free_credentials(tls->certificates);
    }
    if (tls->psk_client) {
        gnutls_psk_free_client_credentials(tls->psk_client);
    }
    if (tls->psk_server) {
        gnutls_psk_free_server_credentials(tls->psk_server);
    }
    g_free(tls->priority);
    g_free(tls);
}

bool nbd_tls_is_server(const NbdTls *tls)
{
    return tls->is_server;
}

static int set_credentials(NbdTls *tls, gnutls_session_t session)
{
    if (!tls->is_psk) {
        gnutls_certificate_server_set_request(session, tls->accepts_anybody ? GNUTLS_CERT_IGNORE
                                                                            : GNUTLS_CERT_REQUIRE);
        return gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, tls->certificates);
    }
    return gnutls_credentials_set(session, GNUTLS_CRD_PSK,
                                  tls->is_server ? (void *)tls->psk_server
                                                 : (void *)tls->psk_client);
}

gnutls_session_t nbd_tls_session(NbdTls *tls, const char *host, GError **error)
{
    gnutls_session_t session = NULL;
    const char *at = NULL;
    int rc =
        gnutls_init(&session, (tls->is_server ? GNUTLS_SERVER : GNUTLS_CLIENT) | GNUTLS_NO_SIGNAL);
    rc = rc < 0 ? rc : gnutls_priority_set_direct(session, tls->priority, &at);
    rc = rc < 0 ? rc : set_credentials(tls, session);
    if (rc >= 0 && host && !tls->is_server && !g_hostname_is_ip_address(host)) {
        rc = gnutls_server_name_set(session, GNUTLS_NAME_DNS, host, strlen(host));
    }
    if (rc < 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG, "Unable to set up TLS: %s",
                    gnutls_strerror(rc));
        if (session) {
            gnutls_deinit(session);
        }
        return NULL;
    }
    return session;
}

bool nbd_tls_verify(NbdTls *tls, gnutls_session_t session, const char *host, GError **error)
{
    unsigned status = 0;
    if (tls->is_psk || (tls->is_server && tls->accepts_anybody)) {
        return true;
    }
    const char *name = tls->is_server || tls->accepts_anybody ? NULL : host;
    int rc = gnutls_certificate_verify_peers3(session, name, &status);
    if (rc >= 0 && status == 0) {
        return true;
    }
    gnutls_datum_t text = { NULL, 0 };
    if (rc >= 0) {
        (void)gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0);
    }
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_AUTH, "The peer's TLS certificate is refused: %s",
                text.data ? g_strchomp((char *)text.data) : gnutls_strerror(rc));
    gnutls_free(text.data);
    return false;
}
