/* GnuTLS, loaded when it is first called.
 *
 * Most daemons serve local sockets alone; GnuTLS and the libraries below it would take 2 MiB of
 * each. The functions that the daemon's parts call are defined here under their own names, so the
 * linker leaves the library out, and lead to the library that is loaded by name. Where it is not
 * there, calls fail as GnuTLS's calls do. What is called and not listed here ends the build by
 * linking the library after all: tests/daemon/test_transports.py looks. SPDX-License-Identifier:
 * GPL-2.0-or-later */
#include "base/log.h"

#include <dlfcn.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <pthread.h>
#include <stdlib.h>

#define LIBRARY "libgnutls.so.30"
#define NO_LIBRARY GNUTLS_E_INTERNAL_ERROR

static void *library;

static void load(void)
{
    library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        log_error("cannot load the library for TLS and passwords: %s", dlerror());
    }
}

static void *find(const char *name)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load);
    void *function = library ? dlsym(library, name) : NULL;
    if (library && !function) {
        log_error("%s has no %s", LIBRARY, name);
    }
    return function;
}

#define FORWARD(type, failure, name, params, args)                                                 \
    type name params                                                                               \
    {                                                                                              \
        __typeof__(&name) function = (__typeof__(&name))find(#name);                               \
        return function ? function args : (failure);                                               \
    }
#define FORWARD_VOID(name, params, args)                                                           \
    void name params                                                                               \
    {                                                                                              \
        __typeof__(&name) function = (__typeof__(&name))find(#name);                               \
        if (function) {                                                                            \
            function args;                                                                         \
        }                                                                                          \
    }

/* GnuTLS allocates with malloc(), as long as nobody sets something else. */
gnutls_free_function gnutls_free = free;

FORWARD(int, NO_LIBRARY, gnutls_bye, (gnutls_session_t session, gnutls_close_request_t how),
        (session, how))
FORWARD(int, NO_LIBRARY, gnutls_certificate_allocate_credentials,
        (gnutls_certificate_credentials_t * res), (res))
FORWARD_VOID(gnutls_certificate_free_credentials, (gnutls_certificate_credentials_t sc), (sc))
FORWARD(const gnutls_datum_t *, NULL, gnutls_certificate_get_peers,
        (gnutls_session_t session, unsigned int *list_size), (session, list_size))
FORWARD_VOID(gnutls_certificate_server_set_request,
             (gnutls_session_t session, gnutls_certificate_request_t req), (session, req))
FORWARD(int, NO_LIBRARY, gnutls_certificate_set_x509_crl_file,
        (gnutls_certificate_credentials_t res, const char *crlfile, gnutls_x509_crt_fmt_t type),
        (res, crlfile, type))
FORWARD(int, NO_LIBRARY, gnutls_certificate_set_x509_key_file,
        (gnutls_certificate_credentials_t res, const char *certfile, const char *keyfile,
         gnutls_x509_crt_fmt_t type),
        (res, certfile, keyfile, type))
FORWARD(int, NO_LIBRARY, gnutls_certificate_set_x509_trust_file,
        (gnutls_certificate_credentials_t cred, const char *cafile, gnutls_x509_crt_fmt_t type),
        (cred, cafile, type))
FORWARD(gnutls_certificate_type_t, GNUTLS_CRT_UNKNOWN, gnutls_certificate_type_get,
        (gnutls_session_t session), (session))
FORWARD(int, NO_LIBRARY, gnutls_certificate_verification_status_print,
        (unsigned int status, gnutls_certificate_type_t type, gnutls_datum_t *out,
         unsigned int flags),
        (status, type, out, flags))
FORWARD(int, NO_LIBRARY, gnutls_certificate_verify_peers3,
        (gnutls_session_t session, const char *hostname, unsigned int *status),
        (session, hostname, status))
FORWARD(int, NO_LIBRARY, gnutls_credentials_set,
        (gnutls_session_t session, gnutls_credentials_type_t type, void *cred),
        (session, type, cred))
FORWARD_VOID(gnutls_deinit, (gnutls_session_t session), (session))
FORWARD(int, 1, gnutls_error_is_fatal, (int error), (error))
FORWARD(int, NO_LIBRARY, gnutls_handshake, (gnutls_session_t session), (session))
FORWARD(int, NO_LIBRARY, gnutls_hash_fast,
        (gnutls_digest_algorithm_t algorithm, const void *text, size_t textlen, void *digest),
        (algorithm, text, textlen, digest))
FORWARD(int, NO_LIBRARY, gnutls_hmac_fast,
        (gnutls_mac_algorithm_t algorithm, const void *key, size_t keylen, const void *text,
         size_t textlen, void *digest),
        (algorithm, key, keylen, text, textlen, digest))
FORWARD(int, NO_LIBRARY, gnutls_init, (gnutls_session_t * session, unsigned int flags),
        (session, flags))
FORWARD(int, 1, gnutls_memcmp, (const void *s1, const void *s2, size_t n), (s1, s2, n))
FORWARD_VOID(gnutls_memset, (void *data, int c, size_t size), (data, c, size))
FORWARD(int, NO_LIBRARY, gnutls_pbkdf2,
        (gnutls_mac_algorithm_t mac, const gnutls_datum_t *key, const gnutls_datum_t *salt,
         unsigned iter_count, void *output, size_t length),
        (mac, key, salt, iter_count, output, length))
FORWARD_VOID(gnutls_priority_deinit, (gnutls_priority_t priority_cache), (priority_cache))
FORWARD(int, NO_LIBRARY, gnutls_priority_init,
        (gnutls_priority_t * priority_cache, const char *priorities, const char **err_pos),
        (priority_cache, priorities, err_pos))
FORWARD(int, NO_LIBRARY, gnutls_priority_set,
        (gnutls_session_t session, gnutls_priority_t priority), (session, priority))
FORWARD(int, NO_LIBRARY, gnutls_priority_set_direct,
        (gnutls_session_t session, const char *priorities, const char **err_pos),
        (session, priorities, err_pos))
FORWARD(int, NO_LIBRARY, gnutls_psk_allocate_client_credentials,
        (gnutls_psk_client_credentials_t * sc), (sc))
FORWARD(int, NO_LIBRARY, gnutls_psk_allocate_server_credentials,
        (gnutls_psk_server_credentials_t * sc), (sc))
FORWARD_VOID(gnutls_psk_free_client_credentials, (gnutls_psk_client_credentials_t sc), (sc))
FORWARD_VOID(gnutls_psk_free_server_credentials, (gnutls_psk_server_credentials_t sc), (sc))
FORWARD(int, NO_LIBRARY, gnutls_psk_set_client_credentials,
        (gnutls_psk_client_credentials_t res, const char *username, const gnutls_datum_t *key,
         gnutls_psk_key_flags flags),
        (res, username, key, flags))
FORWARD(int, NO_LIBRARY, gnutls_psk_set_server_credentials_file,
        (gnutls_psk_server_credentials_t res, const char *password_file), (res, password_file))
FORWARD(size_t, 0, gnutls_record_check_pending, (gnutls_session_t session), (session))
FORWARD(int, NO_LIBRARY, gnutls_record_get_direction, (gnutls_session_t session), (session))
FORWARD(ssize_t, NO_LIBRARY, gnutls_record_recv,
        (gnutls_session_t session, void *data, size_t data_size), (session, data, data_size))
FORWARD(ssize_t, NO_LIBRARY, gnutls_record_send,
        (gnutls_session_t session, const void *data, size_t data_size), (session, data, data_size))
FORWARD(int, NO_LIBRARY, gnutls_rnd, (gnutls_rnd_level_t level, void *data, size_t len),
        (level, data, len))
FORWARD(int, NO_LIBRARY, gnutls_server_name_set,
        (gnutls_session_t session, gnutls_server_name_type_t type, const void *name,
         size_t name_length),
        (session, type, name, name_length))
FORWARD(const char *, "libgnutls.so.30 cannot be loaded", gnutls_strerror, (int error), (error))
FORWARD_VOID(gnutls_transport_set_int2, (gnutls_session_t session, int r, int s), (session, r, s))
FORWARD_VOID(gnutls_transport_set_ptr, (gnutls_session_t session, gnutls_transport_ptr_t ptr),
             (session, ptr))
FORWARD_VOID(gnutls_transport_set_pull_function,
             (gnutls_session_t session, gnutls_pull_func pull_func), (session, pull_func))
FORWARD_VOID(gnutls_transport_set_push_function,
             (gnutls_session_t session, gnutls_push_func push_func), (session, push_func))
FORWARD_VOID(gnutls_x509_crt_deinit, (gnutls_x509_crt_t cert), (cert))
FORWARD(int, NO_LIBRARY, gnutls_x509_crt_get_dn,
        (gnutls_x509_crt_t cert, char *buf, size_t *buf_size), (cert, buf, buf_size))
FORWARD(int, NO_LIBRARY, gnutls_x509_crt_import,
        (gnutls_x509_crt_t cert, const gnutls_datum_t *data, gnutls_x509_crt_fmt_t format),
        (cert, data, format))
FORWARD(int, NO_LIBRARY, gnutls_x509_crt_init, (gnutls_x509_crt_t * cert), (cert))
