/* From a URI to an open connection.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LODGE_CLIENT_DIAL_H
#define LODGE_CLIENT_DIAL_H

#include "client/lodge.h"
#include "client/rpc-client.h"

typedef enum DialTransport { DIAL_UNIX, DIAL_TLS, DIAL_TCP, DIAL_SSH } DialTransport;

typedef struct DialTarget {
    DialTransport transport;
    bool session, read_only, no_start;
    bool is_test; /* libvirt's mock driver, in a libvirtd */
    char *user, *host;
    int port;   /* -1: the transport's own */
    char *name; /* what the daemon is asked to open: qemu:///system */
    char *socket, *command, *keyfile, *pki_path, *auth_file;
    bool no_verify;
} DialTarget;

/* False: @error quotes @uri. */
bool dial_parse(const char *uri, DialTarget *out_target, GError **error);
void dial_clear(DialTarget *target);

/* The socket of the daemon on this host; a session's daemon is started when absent. -1: @error. */
int dial_local(const DialTarget *target, GError **error);

/* Connects, authenticates and opens. @ask: for what the daemon asks of the user; may be NULL. */
RpcClient *dial_open(const DialTarget *target, LodgeAskFunc ask, void *ask_opaque,
                     RpcClientEventFunc event, void *event_opaque, GError **error);

#endif
