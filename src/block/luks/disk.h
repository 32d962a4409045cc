/* Encrypted sectors in a layer below: requests of any alignment on them.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_LUKS_DISK_H
#define LODGE_BLOCK_LUKS_DISK_H

#include "block/driver.h"
#include "block/luks/luks.h"

typedef struct CryptoDisk {
    LuksHeader header;
    CryptoVolume *volume; /* NULL: opened without a key, to tell of the header */
    GBytes *secret;       /* that opened it */
    bool is_aes;          /* the method before LUKS: no header */
    /* Requests on whole sectors share it; who changes a part of one has it alone. */
    pthread_rwlock_t sectors;
} CryptoDisk;

/* Reads the header of @store, and with @key, the key of @spec that names the secret, unlocks it.
 * NULL with @error. */
CryptoDisk *crypto_disk_open(const LuksStore *store, uint64_t room, const BlockSpec *spec,
                             const char *key, GError **error);
/* The method of qcow, and of qcow2 before LUKS: AES-128-CBC whose key is the first 16 bytes of the
 * password; no password is a wrong one. */
CryptoDisk *crypto_disk_open_aes(const BlockSpec *spec, const char *key, GError **error);
/* NULL is accepted. */
void crypto_disk_free(CryptoDisk *disk);

/* Sectors are numbered from byte 0 of what is encrypted, which lies @shift bytes into @child.
 * Return 0 or -errno; -EPERM without a key. Context: any number of threads. */
int crypto_disk_readv(CryptoDisk *disk, BlockNode *child, uint64_t shift, uint64_t offset,
                      uint64_t length, const BlockVec *vec, uint64_t skip) LODGE_MUST_CHECK;
int crypto_disk_writev(CryptoDisk *disk, BlockNode *child, uint64_t shift, uint64_t offset,
                       uint64_t length, const BlockVec *vec, uint64_t skip) LODGE_MUST_CHECK;

#endif
