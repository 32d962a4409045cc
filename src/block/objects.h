/* Objects that specifications of images name: secrets and TLS credentials (--object).
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_OBJECTS_H
#define LODGE_BLOCK_OBJECTS_H

#include "block/block.h"
#include "block/nbd/tls.h"

/* Any number of specifications and threads share one; it is filled before they do. */
struct BlockObjects;

BlockObjects *block_objects_new(void);
BlockObjects *block_objects_ref(BlockObjects *objects);
/* NULL is accepted. */
void block_objects_unref(BlockObjects *objects);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BlockObjects, block_objects_unref)

/**
 * block_objects_add - make an object as QEMU's -object describes it
 * @text: "secret,id=ID,(data=TEXT|file=PATH)[,format=raw|base64]",
 *        "tls-creds-x509,id=ID,dir=PATH,endpoint=client|server[,verify-peer=on|off][,priority=TEXT]"
 *        or "tls-creds-psk,id=ID,dir=PATH,endpoint=client|server[,username=NAME][,priority=TEXT]"
 *
 * Returns: false with @error: which names the object, never a secret.
 */
bool block_objects_add(BlockObjects *objects, const char *text, GError **error);
/* A secret that was read already. False with @error: the id is taken. */
bool block_objects_add_secret(BlockObjects *objects, const char *id, GBytes *secret,
                              GError **error);

/* The secret of that id, borrowed; @objects may be NULL: there are none. NULL with @error. */
GBytes *block_objects_secret(const BlockObjects *objects, const char *id, GError **error);
NbdTls *block_objects_tls(const BlockObjects *objects, const char *id, bool is_server,
                          GError **error);

#endif
