/* Objects that specifications of images name: secrets and TLS credentials (--object).
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_OBJECTS_H
#define LODGE_BLOCK_OBJECTS_H

#include "block/block.h"
#include "block/nbd/tls.h"
#include "block/throttle-group.h"

/* Any number of specifications and threads share one. */
struct BlockObjects;

BlockObjects *block_objects_new(void);
BlockObjects *block_objects_ref(BlockObjects *objects);
/* NULL is accepted. */
void block_objects_unref(BlockObjects *objects);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BlockObjects, block_objects_unref)

/**
 * block_objects_add - make an object as QEMU's -object describes it
 * @text: "secret,id=ID,(data=TEXT|file=PATH)[,format=raw|base64][,keyid=ID,iv=TEXT]",
 *        "tls-creds-x509,id=ID,dir=PATH,endpoint=client|server[,verify-peer=on|off][,priority=TEXT]"
 *        or "tls-creds-psk,id=ID,dir=PATH,endpoint=client|server[,username=NAME][,priority=TEXT]"
 *
 * The same as JSON: {"qom-type": "secret", "id": "ID", ...}. With keyid the secret is encrypted by
 * AES-256-CBC with another secret of 32 bytes; iv is base64. Returns: false with @error: which
 * names the object, never a secret.
 */
bool block_objects_add(BlockObjects *objects, const char *text, GError **error);
/* As block_objects_add(), with the options but type and id in @spec. */
bool block_objects_add_spec(BlockObjects *objects, const char *type, const char *id,
                            const BlockSpec *spec, GError **error);
/* A secret that was read already. False with @error: the id is taken. */
bool block_objects_add_secret(BlockObjects *objects, const char *id, GBytes *secret,
                              GError **error);
/* Those who found it keep what they have. False: there is none. */
/* Limits that the node "throttle" finds by @id. @group: referenced. */
bool block_objects_add_limits(BlockObjects *objects, const char *id, ThrottleGroup *group,
                              GError **error);
bool block_objects_remove(BlockObjects *objects, const char *id);

/* The secret of that id (transfer full); @objects may be NULL: there are none. NULL with @error. */
GBytes *block_objects_secret(BlockObjects *objects, const char *id, GError **error);
/* Credentials for that side of a connection (transfer full), or NULL with @error. */
NbdTls *block_objects_tls(BlockObjects *objects, const char *id, bool is_server, GError **error);
/* (transfer full); NULL with @error: there are none of that id. */
ThrottleGroup *block_objects_limits(BlockObjects *objects, const char *id, GError **error);

#endif
