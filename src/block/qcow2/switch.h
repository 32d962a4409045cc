/* qcow2 changes all over the image that take effect at once: snapshots.
 *
 * Between begin and commit nothing is allocated; refcounts are changed freely. The lock is held,
 * and the node is locked alone. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_QCOW2_SWITCH_H
#define LODGE_BLOCK_QCOW2_SWITCH_H

#include "block/qcow2/qcow2.h"

typedef struct Qcow2Switch {
    Qcow2 *q;
    uint64_t l1_offset, snapshots_offset; /* where the new ones go; 0: of no length */

    uint64_t reftable_offset;
    GArray *taken;  /* of Qcow2Freed: all space that was taken */
    GArray *blocks; /* of uint64_t: clusters for refcount blocks */
    GArray *tables; /* of uint64_t: clusters for L2 tables */
    guint used_tables;
    bool is_copied; /* q->reftable names the copies */
    uint64_t *old_reftable;
    Qcow2Header old; /* its fields; not what it points to */
} Qcow2Switch;

typedef struct Qcow2SwitchSpace {
    uint32_t l1_entries;
    uint64_t snapshots_bytes;
    uint64_t tables; /* L2 tables whose flags may change, at most */
} Qcow2SwitchSpace;

/* Takes all space that the change may need. Returns: 0, or -errno with the image as it was. */
int qcow2_switch_begin(Qcow2Switch *change, Qcow2 *q, const Qcow2SwitchSpace *space);
/* Makes the COPIED flags of @l1_entry, of the new L1 table, and of its table fit the refcounts; a
 * table that has to change for that is replaced by a copy. */
int qcow2_switch_fit_table(Qcow2Switch *change, uint64_t *l1_entry);
/* Writes it all and switches the header to it; its size and snapshots are what the caller has set
 * in q->header, the L1 table is @l1. Failed: as qcow2_switch_abort(), or, if nobody can know which
 * header is on disk, nothing is written any more. */
int qcow2_switch_commit(Qcow2Switch *change, const uint64_t *l1, uint32_t entries);
/* The image, and q->header, are as before qcow2_switch_begin(). */
void qcow2_switch_abort(Qcow2Switch *change);

#endif
