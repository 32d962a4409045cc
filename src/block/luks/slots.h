/* Key slots of LUKS headers, for luks.c and slots.c.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_LUKS_SLOTS_H
#define LODGE_BLOCK_LUKS_SLOTS_H

#include "block/luks/luks.h"

/* Bytes of a slot's key material. */
uint64_t luks_material_bytes(const LuksHeader *header);
/* Writes the header's sectors, not the material, and flushes. Returns 0 or -errno. */
int luks_write(const LuksStore *store, const LuksHeader *header);
/* Makes slot @index unlock @key by @secret, and writes the header. */
bool luks_set_slot(const LuksStore *store, LuksHeader *header, unsigned index, const uint8_t *key,
                   GBytes *secret, unsigned iter_ms, GError **error);
/* Value of "@prefix""iter-time". */
bool luks_iter_ms(const BlockSpec *options, const char *prefix, unsigned *out_ms, GError **error);

#endif
