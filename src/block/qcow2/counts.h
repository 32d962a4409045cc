/* How often each cluster of an image is referred to, while it is checked.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_QCOW2_COUNTS_H
#define LODGE_BLOCK_QCOW2_COUNTS_H

#include <stdbool.h>
#include <stdint.h>

/* Memory is taken where something is counted: a byte a cluster, in pages of neighbours; pages with
 * a count of 255 or more take 8 bytes a cluster besides. */
typedef struct Qcow2Counts {
    struct Qcow2CountPage **pages;
    uint64_t clusters;
    uint64_t bytes; /* taken for pages */
} Qcow2Counts;

/* Room for @clusters counts of 0. Returns: 0, -EFBIG or -ENOMEM. */
int qcow2_counts_init(Qcow2Counts *counts, uint64_t clusters);
/* All counts are 0 again. */
void qcow2_counts_clear(Qcow2Counts *counts);
void qcow2_counts_done(Qcow2Counts *counts);
/* One more of @cluster, which is less than the number of clusters. Returns: 0, or -ENOMEM: the
 * host has no memory, or the counts would take more than 2 GiB. */
int qcow2_counts_add(Qcow2Counts *counts, uint64_t cluster);
/* 0 past the end. */
uint64_t qcow2_counts_get(const Qcow2Counts *counts, uint64_t cluster);
/* Whether nothing was ever counted near @cluster, which shares that fate with all clusters whose
 * numbers differ in the last 6 bits alone. */
bool qcow2_counts_is_hole(const Qcow2Counts *counts, uint64_t cluster);

#endif
