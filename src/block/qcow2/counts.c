/* References to clusters, in pages that exist where there are any.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/qcow2/counts.h"

#include "base/int-math.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_CLUSTERS 4096u
#define CLUSTERS_MAX (1ull << 30) /* 64 TiB of 64 KiB clusters: 2 MiB of pointers */
#define BYTES_MAX (2ull << 30)
#define WIDE UINT8_MAX /* the count is in wide[] */

typedef struct Qcow2CountPage {
    uint64_t *wide; /* PAGE_CLUSTERS of them; NULL: no count is wide */
    uint8_t narrow[PAGE_CLUSTERS];
} Qcow2CountPage;

int qcow2_counts_init(Qcow2Counts *counts, uint64_t clusters)
{
    *counts = (Qcow2Counts){ .clusters = clusters };
    if (clusters > CLUSTERS_MAX) {
        return -EFBIG;
    }
    counts->pages = calloc(div_round_up(clusters, PAGE_CLUSTERS) + 1, sizeof(counts->pages[0]));
    return counts->pages ? 0 : -ENOMEM;
}

void qcow2_counts_clear(Qcow2Counts *counts)
{
    uint64_t pages = counts->pages ? div_round_up(counts->clusters, PAGE_CLUSTERS) : 0;
    for (uint64_t i = 0; i < pages; i++) {
        if (counts->pages[i]) {
            free(counts->pages[i]->wide);
            free(counts->pages[i]);
            counts->pages[i] = NULL;
        }
    }
    counts->bytes = 0;
}

void qcow2_counts_done(Qcow2Counts *counts)
{
    qcow2_counts_clear(counts);
    free(counts->pages);
    counts->pages = NULL;
}

static void *take(Qcow2Counts *counts, size_t bytes)
{
    if (counts->bytes + bytes > BYTES_MAX) {
        return NULL;
    }
    counts->bytes += bytes;
    return calloc(1, bytes);
}

int qcow2_counts_add(Qcow2Counts *counts, uint64_t cluster)
{
    Qcow2CountPage **page = &counts->pages[cluster / PAGE_CLUSTERS];
    unsigned index = cluster % PAGE_CLUSTERS;
    if (!*page && !(*page = take(counts, sizeof(**page)))) {
        return -ENOMEM;
    }
    uint8_t *narrow = &(*page)->narrow[index];
    if (*narrow < WIDE - 1) {
        ++*narrow;
        return 0;
    }
    uint64_t **wide = &(*page)->wide;
    if (!*wide && !(*wide = take(counts, PAGE_CLUSTERS * sizeof(**wide)))) {
        return -ENOMEM;
    }
    (*wide)[index] = *narrow == WIDE ? (*wide)[index] + 1 : WIDE;
    *narrow = WIDE;
    return 0;
}

uint64_t qcow2_counts_get(const Qcow2Counts *counts, uint64_t cluster)
{
    if (cluster >= counts->clusters || !counts->pages[cluster / PAGE_CLUSTERS]) {
        return 0;
    }
    const Qcow2CountPage *page = counts->pages[cluster / PAGE_CLUSTERS];
    uint8_t narrow = page->narrow[cluster % PAGE_CLUSTERS];
    return narrow == WIDE ? page->wide[cluster % PAGE_CLUSTERS] : narrow;
}

bool qcow2_counts_is_hole(const Qcow2Counts *counts, uint64_t cluster)
{
    return cluster >= counts->clusters || !counts->pages[cluster / PAGE_CLUSTERS];
}
