/* Where an NBD server is and what is wanted of it: from specifications and URIs.
 *
 * Source of the URIs: doc/uri.md of NetworkBlockDevice/nbd; "nbd:HOST:PORT[:exportname=NAME]" and
 * "nbd:unix:PATH[:exportname=NAME]" are QEMU's older form.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_NBD_ADDRESS_H
#define LODGE_BLOCK_NBD_ADDRESS_H

#include "block/block.h"
#include "block/nbd/channel.h"

#include <sys/socket.h>

typedef struct NbdAddress {
    char *path;        /* of a Unix socket, or NULL: */
    char *host, *port; /* TCP */
    char *export_name; /* never NULL */
    bool wants_tls;    /* nbds: */
} NbdAddress;

void nbd_address_clear(NbdAddress *address);

/* False with @error: @text is no name of an NBD server. */
bool nbd_address_parse(const char *text, NbdAddress *out_address, GError **error);
/* Of the keys "uri"; or "server.type" with "server.path", "server.host", "server.port"; or "path",
 * "host", "port"; and "export". */
bool nbd_address_from_spec(const BlockSpec *spec, NbdAddress *out_address, GError **error);
/* "nbd://HOST:PORT/EXPORT" or "nbd+unix:///EXPORT?socket=PATH". (transfer full) */
char *nbd_address_name(const NbdAddress *address);

/* A connected socket with what suits NBD set; @deadline_ns of CLOCK_MONOTONIC, 0: as long as the
 * kernel tries. Returns -1 with @error. */
int nbd_address_connect(const NbdAddress *address, int64_t deadline_ns, GError **error);
/* Keeps small messages from waiting and notices peers that are gone; on sockets of any kind. */
void nbd_socket_tune(int fd);

#endif
