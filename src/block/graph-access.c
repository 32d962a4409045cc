/* What the users of each file do with it, for the locks that other processes look at.
 *
 * A device reads, writes if it may, and allows others to write only with share-rw; an export
 * shares; a drive without device reads. Filters and raw pass on what is above them. Other formats
 * have their file for themselves, its size too; what a backing file may not bear is what the image
 * above may not. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "block/drivers.h"
#include "block/graph.h"
#include "block/lock.h"

typedef struct Walk {
    const BlockGraph *graph;
    GPtrArray *nodes; /* all */
} Walk;

static unsigned root_access(const BlockGraph *graph, const BlockNode *node)
{
    unsigned access = 0;
    BlockBackend *backend;
    for (unsigned i = 0; (backend = block_graph_backend(graph, i)); i++) {
        if (block_backend_node(backend) != node) {
            continue;
        }
        access |= BLOCK_ACCESS_READ;
        if (block_backend_is_export(backend)) {
            access |= BLOCK_ACCESS_SIZE; /* clients were told of it */
        }
        if (block_backend_is_attached(backend)) {
            access |= (block_backend_is_readonly(backend) ? 0 : BLOCK_ACCESS_WRITE) |
                      (block_backend_shares_writes(backend) ? 0 : BLOCK_ACCESS_ALONE);
        }
    }
    return access;
}

/* Of a job, beside the others' @access. What nobody else has is its target, which it does not read.
 * A backup's may be used at once, but its source is written to through the job alone. */
static unsigned claim_access(const BlockNode *node, unsigned access)
{
    unsigned writes = block_node_is_writable(node) ? BLOCK_ACCESS_WRITE : 0;
    unsigned source = BLOCK_ACCESS_READ | (node->is_of_backup ? BLOCK_ACCESS_ALONE : 0);
    unsigned target = node->is_of_backup ? 0 : BLOCK_ACCESS_ALONE | BLOCK_ACCESS_HIDDEN;
    return writes | BLOCK_ACCESS_SIZE | (access ? source : target);
}

/* Of the backing file of an image that is used so. */
static unsigned backing_access(unsigned access)
{
    return (access & BLOCK_ACCESS_READ) |
           (access & BLOCK_ACCESS_ALONE ? BLOCK_ACCESS_ALONE | BLOCK_ACCESS_SIZE : 0);
}

static unsigned access_of(const Walk *walk, const BlockNode *node)
{
    unsigned access = root_access(walk->graph, node);
    for (guint i = 0; i < walk->nodes->len; i++) {
        const BlockNode *parent = g_ptr_array_index(walk->nodes, i);
        if (parent->file == node || parent->data_file == node) {
            access |= block_node_passes_access(parent) ? access_of(walk, parent)
                                                       : block_format_access(parent);
        }
        if (parent->backing == node) {
            access |= backing_access(access_of(walk, parent));
        }
    }
    return node->is_of_job ? access | claim_access(node, access) : access;
}

bool block_graph_update_access(BlockGraph *graph, GError **error)
{
    g_autoptr(GPtrArray) nodes = block_graph_nodes(graph);
    const Walk walk = { graph, nodes };
    /* First what is given up: it may be in the way of the rest. */
    for (unsigned pass = 0; pass < 2; pass++) {
        for (guint i = 0; i < nodes->len; i++) {
            BlockNode *node = g_ptr_array_index(nodes, i);
            if (!node->driver->set_access) {
                continue;
            }
            unsigned wanted = access_of(&walk, node);
            unsigned access = pass == 0 ? node->access & wanted : wanted;
            if (!node->driver->set_access(node, access, error)) {
                return false;
            }
        }
    }
    return true;
}

void block_graph_settle_access(BlockGraph *graph)
{
    g_autoptr(GError) error = NULL;
    if (!block_graph_update_access(graph, &error)) {
        log_warn("a disk goes on without a lock: %s", error->message);
    }
}
