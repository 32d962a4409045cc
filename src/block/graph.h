/* The graph of a machine's nodes: which there are, by what name, who uses which; and its changes
 * while guests and jobs read and write.
 *
 * Nodes are found from their roots: back ends (disks), nodes that the monitor owns (blockdev-add)
 * and nodes that jobs hold. Each has a name; those that were given none get one like "#block042".
 *
 * A change waits until no request is on its way through the links that change, makes the change and
 * lets requests go on. Context of all functions: the loop.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_GRAPH_H
#define LODGE_BLOCK_GRAPH_H

#include "block/backend.h"

typedef struct BlockGraph BlockGraph;

BlockGraph *block_graph_new(void);
/* Closes the monitor's nodes. The other roots are gone. NULL is accepted. */
void block_graph_free(BlockGraph *graph);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BlockGraph, block_graph_free)

/* Roots */

void block_graph_add_backend(BlockGraph *graph, BlockBackend *backend);
void block_graph_remove_backend(BlockGraph *graph, const BlockBackend *backend);
/* NULL: past the last; no such id. Anonymous ones are not found by id. */
BlockBackend *block_graph_backend(const BlockGraph *graph, unsigned index);
BlockBackend *block_graph_find_backend(const BlockGraph *graph, const char *id);

/* Who uses a node how (QEMU's permissions): each user of a node reads, writes, changes its size,
 * and may refuse that others do (graph-access.c). */

/* After users of @node were added, which may be refused: another user of it, or of a node below,
 * does not allow it. False with @error, which names both; the caller takes its change back. */
bool block_graph_check_access(BlockGraph *graph, const BlockNode *node, GError **error);
/* Before: @node is to be opened over node->file; or is to have other flags. */
bool block_graph_check_new(BlockGraph *graph, const BlockNode *node, GError **error);
bool block_graph_reopen(BlockGraph *graph, BlockNode *node, unsigned flags, GError **error);
/* As block_graph_check_access(), and has all files locked as their users need them: another process
 * may not allow that either. */
bool block_graph_update_access(BlockGraph *graph, const BlockNode *node, GError **error);
/* As block_graph_update_access(), after what only takes users away; the log tells of a failure.
 * Changes of the graph do it themselves. */
void block_graph_settle_access(BlockGraph *graph);
/* What one user does with @node: BLOCK_ACCESS_... of lock.h. Either @parent is not NULL, which has
 * it as its @role ("file", "data-file", "backing"), or @backend. */
unsigned block_graph_access_of(BlockGraph *graph, const BlockNode *node, const BlockNode *parent,
                               const BlockBackend *backend, const char *role);
/* One who has @node, as messages say it. (transfer full) */
char *block_graph_describe_user(BlockGraph *graph, const BlockNode *node);

/* A node that a job uses and nobody else may know. The graph holds a reference. */
void block_graph_hold(BlockGraph *graph, BlockNode *node);
void block_graph_release(BlockGraph *graph, BlockNode *node);

/* Opens what @spec says, which has a "node-name", and gives it to the monitor. "file" and "backing"
 * may name nodes. Returns: borrowed; NULL with @error. */
BlockNode *block_graph_add(BlockGraph *graph, const BlockSpec *spec, GError **error);
/* Opens what @spec says, with references; a name that it gives is free. Until it is in the graph it
 * is locked as for one who has it alone, but with BLOCK_OPEN_BY_USERS. (transfer full) */
BlockNode *block_graph_open(BlockGraph *graph, const BlockSpec *spec, unsigned flags,
                            GError **error);
/* Closes a node of the monitor's, which nobody uses. */
bool block_graph_del(BlockGraph *graph, const char *name, GError **error);

/* Looking */

/* All nodes, a node before those below it; names those that have none. (free with
 * g_ptr_array_unref; nodes are borrowed) */
GPtrArray *block_graph_nodes(BlockGraph *graph);
/* NULL with @error: no node has that name. */
BlockNode *block_graph_find(BlockGraph *graph, const char *name, GError **error);
/* As block_graph_find(); a back end's id means its node. */
BlockNode *block_graph_find_device(BlockGraph *graph, const char *name, GError **error);
/* Whether @node may change its size: no format above counts on it. */
bool block_graph_check_resize(BlockGraph *graph, const BlockNode *node, GError **error);
/* A node that has @node for its file, data file or backing; NULL: none. */
const BlockNode *block_graph_parent(BlockGraph *graph, const BlockNode *node);
/* The back end through whose filters and backing files @node is reached first; NULL: none. */
BlockBackend *block_graph_backend_of(const BlockGraph *graph, const BlockNode *node);
/* Whether @name may be a new node's; an error says why not. */
bool block_graph_is_free_name(BlockGraph *graph, const char *name, GError **error);
/* Below @node through filters that no user asked for. */
BlockNode *block_skip_implicit(BlockNode *node);
/* Whether @below is @node, or in its chain of backing files and filters. */
bool block_chain_contains(BlockNode *node, const BlockNode *below);
/* The next image of the chain: past filters, then backing, then filters. NULL: none. */
BlockNode *block_chain_next(BlockNode *node);

/* Claims: a job says of which nodes it relies on the links and the content. */

/* False with @error: another job has claimed @node. @user: text for messages, as "block device is
 * in use by block job: mirror". */
bool block_node_claim(BlockNode *node, const char *user, GError **error);
void block_node_unclaim(BlockNode *node);
/* False with @error: it is claimed. */
bool block_node_check_unclaimed(const BlockNode *node, GError **error);

/* Changes */

/* No request is on its way through @node from a back end above it, until block_graph_drain_end() of
 * what this returns. Sections may be nested. */
typedef struct BlockDrain BlockDrain;
BlockDrain *block_graph_drain_begin(BlockGraph *graph, const BlockNode *node);
void block_graph_drain_end(BlockDrain *drain);

/* Whether block_graph_replace() can do it. */
bool block_graph_check_replace(BlockGraph *graph, BlockNode *from, const BlockNode *to,
                               GError **error);
/* All that use @from, but @to, use @to from here on; block_graph_check_replace() said yes. Requests
 * wait meanwhile. */
void block_graph_replace(BlockGraph *graph, BlockNode *from, BlockNode *to);
/* Gives @overlay, which has no backing and is used by nobody, @node for its backing, and puts it in
 * the place of @node. False with @error: nothing changed. */
bool block_graph_snapshot(BlockGraph *graph, BlockNode *node, BlockNode *overlay, GError **error);
/* Takes it back. */
void block_graph_undo_snapshot(BlockGraph *graph, BlockNode *node, BlockNode *overlay);
/* Exchanges the backing of @node, without a word to the image. @backing: referenced; NULL: none. */
void block_graph_set_backing(BlockNode *node, BlockNode *backing);

#endif
