/* Proving to a daemon who we are: SCRAM with what a file or the user says, polkit.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LODGE_CLIENT_AUTH_H
#define LODGE_CLIENT_AUTH_H

#include "client/lodge.h"
#include "client/rpc-client.h"

typedef struct AuthSource {
    const char *file; /* as of libvirt's auth.conf; NULL: the first of the usual ones there is */
    const char *user; /* of the URI, or NULL */
    const char *host; /* the file's section for it is taken, else that for "default" */
    LodgeAskFunc ask; /* for what the file does not say; may be NULL */
    void *opaque;
    char *name, *password; /* filled in by auth_log_in(), which takes them where they are */
    bool asked;            /* the user was, which takes time */
} AuthSource;

/* Does what the daemon asks for; nothing where it asks for nothing. */
bool auth_log_in(RpcClient *client, AuthSource *source, GError **error);
/* Forgets name and password. */
void auth_source_clear(AuthSource *source);

#endif
