/* The daemon's options: command line, configuration file, and where its files are.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_CONFIG_H
#define LODGE_DAEMON_CONFIG_H

#include "daemon/server.h"

#define BUSY_WAIT_MAX_US 1000u
#define GUEST_LOG_BACKUPS_MAX 100u

typedef struct DaemonConfig {
    ServerLimits limits;
    unsigned busy_wait_us; /* loop_set_busy_wait(); more than BUSY_WAIT_MAX_US means that */
    unsigned guest_log_max_size, guest_log_max_backups; /* see domain/guest-log.h */
    bool libvirt_sockets;                               /* listen on libvirt's own paths as well */
    bool listen_tls;
    bool listen_tcp;   /* in the clear */
    char *listen_addr; /* NULL: all */
    char *tls_port, *tcp_port;
    char *key_file, *cert_file, *ca_file, *crl_file;
    bool tls_no_verify_certificate;
    AuthMethod auth_tls, auth_tcp, auth_unix_rw, auth_unix_ro;
    char *guest_uids;  /* "FIRST-LAST": a user for each guest; "": the daemon's */
    char *sasl_file;   /* SCRAM credentials */
    GStrv lease_files; /* globs of dnsmasq's; NULL: where distributions put them */
    GStrv sasl_allowed_username_list, tls_allowed_dn_list; /* globs; NULL: all */
    char *unix_sock_group;                                 /* of sockets but the admin's; or NULL */
    mode_t unix_sock_rw_perms, unix_sock_ro_perms;
} DaemonConfig;

/* Defaults. */
void daemon_config_init(DaemonConfig *config, bool session);

/**
 * daemon_config_load - read lines "name = value" as of libvirtd.conf
 * @must_exist: whether a missing file is an error
 *
 * Values are numbers, quoted strings or lists of these in brackets, which may go over several
 * lines; names that only libvirtd has are passed over with a warning. False: @error names file and
 * line.
 */
bool daemon_config_load(DaemonConfig *config, const char *path, bool must_exist, GError **error);
/* Takes those settings of @fresh that can change while lodged runs: numbers alone. Others that
 * differ keep their values, and the log names them. */
void daemon_config_take(DaemonConfig *config, const DaemonConfig *fresh);

/* The users of guests: first and number. False with @error: it is no range. */
bool daemon_config_guest_uids(const DaemonConfig *config, uid_t *out_first, unsigned *out_count,
                              GError **error);

void daemon_config_clear(DaemonConfig *config);

/* @root: all below it, or NULL. */
void daemon_paths_init(DaemonPaths *paths, bool session, const char *root);

/* Makes the folders. */
bool daemon_paths_make(const DaemonPaths *paths, bool session, GError **error);
void daemon_paths_clear(DaemonPaths *paths);

#endif
