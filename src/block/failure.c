/* Where in a tree of nodes a request failed: an error number that comes up through the layers says
 * nothing of it. Every node notes its last failure.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/clock.h"
#include "block/driver.h"

#include <errno.h>
#include <string.h>

int block_node_note_failure(BlockNode *node, int rc)
{
    if (rc < 0 && rc != -ENOTSUP) {
        __atomic_store_n(&node->failed_ns, clock_monotonic_ns(), __ATOMIC_RELAXED);
        __atomic_store_n(&node->failed, rc, __ATOMIC_RELEASE);
    }
    return rc;
}

/* When @node or one below it failed last with @rc; 0: none did. */
static int64_t failure_time(const BlockNode *node, int rc)
{
    int64_t latest = 0;
    for (; node; node = node->backing) {
        bool has_failed = __atomic_load_n(&node->failed, __ATOMIC_ACQUIRE) == rc;
        int64_t own = has_failed ? __atomic_load_n(&node->failed_ns, __ATOMIC_RELAXED) : 0;
        latest = MAX(latest, own);
        latest = node->file ? MAX(latest, failure_time(node->file, rc)) : latest;
        latest = node->data_file ? MAX(latest, failure_time(node->data_file, rc)) : latest;
    }
    return latest;
}

/* The link of @node through which @rc came, if it did: of several, where it did so last. Looks at
 * the status go past nodes in between, which then know of no failure. */
static BlockNode *failed_below(const BlockNode *node, int rc)
{
    BlockNode *const below[] = { node->file, node->data_file, node->backing };
    BlockNode *found = NULL;
    int64_t latest = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(below); i++) {
        int64_t when = below[i] ? failure_time(below[i], rc) : 0;
        if (when > latest) {
            latest = when;
            found = below[i];
        }
    }
    return found;
}

char *block_failure_place(BlockNode *node, int rc)
{
    unsigned depth = 0;
    BlockNode *at = node, *next;
    while ((next = failed_below(at, rc))) {
        depth += next == at->backing;
        at = next;
    }
    if (depth == 0 && strcmp(at->filename, node->filename) == 0) {
        return g_strdup("");
    }
    if (depth == 0) {
        return g_strdup_printf(" (failed in '%s', driver '%s')", at->filename, at->driver->name);
    }
    return g_strdup_printf(" (failed in '%s', driver '%s', backing file %u of the chain)",
                           at->filename, at->driver->name, depth);
}
