/* Who uses each node how, as QEMU's permissions say it: whether users of one node go together, and
 * the locks that other processes look at.
 *
 * A device reads, writes if it may, and allows others to write only with share-rw; an export
 * shares; a drive without device reads. Filters and raw pass on what is above them. Other formats
 * have their file for themselves, its size too; what a backing file may not bear is what the image
 * above may not. A job has its target for itself; of the nodes that it only copies from, it needs
 * the size. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "block/drivers.h"
#include "block/graph.h"
#include "block/lock.h"
#include "gbase/error.h"

#include <string.h>

/* The graph as it is, or as it is to be. */
typedef struct Walk {
    const BlockGraph *graph;
    GPtrArray *nodes;         /* all */
    const BlockNode *added;   /* and one that is not there yet; NULL: none */
    const BlockNode *changed; /* this one with @flags; NULL: none */
    unsigned flags;
    GHashTable *known; /* of nodes: BLOCK_ACCESS_..., of all their users together */
} Walk;

/* A use of a node. One of the first three is not NULL. */
typedef struct Use {
    const BlockNode *parent;
    const BlockBackend *backend;
    const char *job;
    const char *role;
    unsigned access;
} Use;

static const struct {
    unsigned used, refused;
    const char *name;
} permissions[] = {
    { BLOCK_ACCESS_READ, BLOCK_ACCESS_HIDDEN, "consistent read" },
    { BLOCK_ACCESS_WRITE, BLOCK_ACCESS_ALONE, "write" },
    { BLOCK_ACCESS_SAME, 0, "write unchanged" },
    { BLOCK_ACCESS_RESIZE, BLOCK_ACCESS_SIZE, "resize" },
};

static void walk_init(Walk *walk, BlockGraph *graph)
{
    *walk = (Walk){ .graph = graph,
                    .nodes = block_graph_nodes(graph),
                    .known = g_hash_table_new(NULL, NULL) };
}

static void walk_done(Walk *walk)
{
    g_ptr_array_unref(walk->nodes);
    g_hash_table_unref(walk->known);
}

static unsigned backend_access(const BlockBackend *backend)
{
    unsigned access = BLOCK_ACCESS_READ;
    if (block_backend_is_export(backend)) {
        access |= BLOCK_ACCESS_SIZE; /* clients were told of it */
    }
    if (block_backend_is_attached(backend)) {
        access |= (block_backend_is_readonly(backend) ? 0 : BLOCK_ACCESS_WRITE) |
                  (block_backend_shares_writes(backend) ? 0 : BLOCK_ACCESS_ALONE);
    }
    return access;
}

/* A backup's target may be used at once. */
static unsigned target_access(const BlockNode *node)
{
    unsigned alone = node->is_of_backup ? 0 : BLOCK_ACCESS_ALONE | BLOCK_ACCESS_HIDDEN;
    return BLOCK_ACCESS_WRITE | BLOCK_ACCESS_SIZE | alone;
}

/* Of the backing file of an image that is used so. */
static unsigned backing_access(unsigned access)
{
    return (access & BLOCK_ACCESS_READ) |
           (access & BLOCK_ACCESS_ALONE ? BLOCK_ACCESS_ALONE | BLOCK_ACCESS_SIZE : 0);
}

/* Of the file that holds an image's data alone: it grows with what is written. */
static unsigned data_access(unsigned access)
{
    return access | BLOCK_ACCESS_SIZE | (access & BLOCK_ACCESS_WRITE ? BLOCK_ACCESS_RESIZE : 0);
}

static unsigned access_of(const Walk *walk, const BlockNode *node);

static void add_parent(const Walk *walk, GArray *uses, const BlockNode *parent,
                       const BlockNode *node)
{
    Use use = { .parent = parent };
    if (parent->file == node) {
        unsigned flags = parent == walk->changed ? walk->flags : parent->flags;
        use.role = "file";
        use.access = block_file_access(parent, flags, access_of(walk, parent));
        g_array_append_val(uses, use);
    }
    if (parent->data_file == node) {
        use.role = "data-file";
        use.access = data_access(access_of(walk, parent));
        g_array_append_val(uses, use);
    }
    if (parent->backing == node) {
        use.role = "backing";
        use.access = backing_access(access_of(walk, parent));
        g_array_append_val(uses, use);
    }
}

/* All users of @node, but for what a job does with nodes that it got from others: they know of each
 * other by claims (graph.h). Those that came last are first. */
static GArray *uses_of(const Walk *walk, const BlockNode *node)
{
    GArray *uses = g_array_new(FALSE, FALSE, sizeof(Use));
    unsigned count = 0;
    if (walk->added) {
        add_parent(walk, uses, walk->added, node);
    }
    if (node->job) {
        const Use use = { .job = node->job,
                          .role = node->is_target ? "target" : "source",
                          .access = node->is_target ? target_access(node) : BLOCK_ACCESS_SIZE };
        g_array_append_val(uses, use);
    }
    while (block_graph_backend(walk->graph, count)) {
        count++;
    }
    while (count > 0) {
        const BlockBackend *backend = block_graph_backend(walk->graph, --count);
        if (block_backend_node(backend) == node) {
            const Use use = { .backend = backend,
                              .role = "root",
                              .access = backend_access(backend) };
            g_array_append_val(uses, use);
        }
    }
    for (guint i = walk->nodes->len; i > 0; i--) {
        add_parent(walk, uses, g_ptr_array_index(walk->nodes, i - 1), node);
    }
    return uses;
}

static unsigned access_of(const Walk *walk, const BlockNode *node)
{
    gpointer value;
    if (g_hash_table_lookup_extended(walk->known, node, NULL, &value)) {
        return GPOINTER_TO_UINT(value);
    }
    unsigned access = 0;
    g_autoptr(GArray) uses = uses_of(walk, node);
    for (guint i = 0; i < uses->len; i++) {
        access |= g_array_index(uses, Use, i).access;
    }
    if (node->job && !node->is_target) {
        access |= BLOCK_ACCESS_READ | (block_node_is_writable(node) ? BLOCK_ACCESS_WRITE : 0);
    }
    g_hash_table_insert(walk->known, (gpointer)node, GUINT_TO_POINTER(access));
    return access;
}

/* Whether users go together */

static char *describe(const Use *use)
{
    if (use->job) {
        return g_strdup(use->job);
    }
    if (use->parent) {
        return g_strdup_printf("node '%s'", use->parent->name ? use->parent->name : "");
    }
    const char *kind = block_backend_is_export(use->backend) ? "the export" : "block device";
    return g_strdup_printf("%s '%s'", kind, block_backend_user(use->backend));
}

/* What @one needs and @other refuses, by name. (transfer full); NULL: nothing. */
static char *conflict_of(const Use *one, const Use *other)
{
    GString *names = NULL;
    for (unsigned i = 0; i < G_N_ELEMENTS(permissions); i++) {
        if (one->access & permissions[i].used && other->access & permissions[i].refused) {
            names = names ? g_string_append(names, ", ") : g_string_new(NULL);
            g_string_append(names, permissions[i].name);
        }
    }
    return names ? g_string_free(names, FALSE) : NULL;
}

static bool check_pair(const BlockNode *node, const Use *one, const Use *other, GError **error)
{
    g_autofree char *names = conflict_of(one, other);
    if (!names) {
        return true;
    }
    g_autofree char *user = describe(one), *refuser = describe(other);
    bool may_share = other->backend && one->access & BLOCK_ACCESS_WRITE;
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_BUSY,
                "Permission conflict on node '%s': permissions '%s' are needed by %s (which has it "
                "as its '%s') and not shared by %s (which has it as its '%s')%s",
                node->name ? node->name : "", names, user, one->role, refuser, other->role,
                may_share ? "; share-rw=on of a device lets others write too" : "");
    return false;
}

static bool check_node(const Walk *walk, const BlockNode *node, GError **error)
{
    g_autoptr(GArray) uses = uses_of(walk, node);
    for (guint i = 0; i < uses->len && !(node->flags & BLOCK_OPEN_SHARED); i++) {
        for (guint j = 0; j < uses->len; j++) {
            if (i != j && !check_pair(node, &g_array_index(uses, Use, j),
                                      &g_array_index(uses, Use, i), error)) {
                return false;
            }
        }
    }
    return true;
}

static bool check_from(const Walk *walk, GHashTable *seen, const BlockNode *node, GError **error)
{
    return !node || !g_hash_table_add(seen, (gpointer)node) ||
           (check_node(walk, node, error) && check_from(walk, seen, node->file, error) &&
            check_from(walk, seen, node->data_file, error) &&
            check_from(walk, seen, node->backing, error));
}

/* @node and all below it. */
static bool check(const Walk *walk, const BlockNode *node, GError **error)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
    return check_from(walk, seen, node, error);
}

bool block_graph_check_access(BlockGraph *graph, const BlockNode *node, GError **error)
{
    Walk walk;
    walk_init(&walk, graph);
    bool ok = check(&walk, node, error);
    walk_done(&walk);
    return ok;
}

bool block_graph_check_new(BlockGraph *graph, const BlockNode *node, GError **error)
{
    Walk walk;
    walk_init(&walk, graph);
    walk.added = node;
    bool ok = check(&walk, node->file, error) &&
              (!node->is_data_named || check(&walk, node->data_file, error));
    walk_done(&walk);
    return ok;
}

bool block_graph_reopen(BlockGraph *graph, BlockNode *node, unsigned flags, GError **error)
{
    Walk walk;
    walk_init(&walk, graph);
    walk.changed = node;
    walk.flags = flags;
    bool ok = check(&walk, node, error);
    walk_done(&walk);
    return ok && block_reopen(node, flags, error);
}

/* Locks */

static bool lock_files(const Walk *walk, GError **error)
{
    /* First what is given up: it may be in the way of the rest. */
    for (unsigned pass = 0; pass < 2; pass++) {
        for (guint i = 0; i < walk->nodes->len; i++) {
            BlockNode *node = g_ptr_array_index(walk->nodes, i);
            if (!node->driver->set_access) {
                continue;
            }
            unsigned wanted = access_of(walk, node);
            unsigned access = pass == 0 ? node->access & wanted : wanted;
            if (!node->driver->set_access(node, access, error)) {
                return false;
            }
        }
    }
    return true;
}

static void count_users(const Walk *walk)
{
    for (guint i = 0; i < walk->nodes->len; i++) {
        BlockNode *node = g_ptr_array_index(walk->nodes, i);
        g_autoptr(GArray) uses = uses_of(walk, node);
        node->users = uses->len;
    }
}

bool block_graph_update_access(BlockGraph *graph, const BlockNode *node, GError **error)
{
    Walk walk;
    walk_init(&walk, graph);
    bool ok = check(&walk, node, error) && lock_files(&walk, error);
    count_users(&walk);
    walk_done(&walk);
    return ok;
}

void block_graph_settle_access(BlockGraph *graph)
{
    g_autoptr(GError) error = NULL;
    Walk walk;
    walk_init(&walk, graph);
    if (!lock_files(&walk, &error)) {
        log_warn("a disk goes on without a lock: %s", error->message);
    }
    count_users(&walk);
    walk_done(&walk);
}

unsigned block_graph_access_of(BlockGraph *graph, const BlockNode *node, const BlockNode *parent,
                               const BlockBackend *backend, const char *role)
{
    Walk walk;
    walk_init(&walk, graph);
    g_autoptr(GArray) uses = uses_of(&walk, node);
    unsigned access = 0;
    for (guint i = 0; i < uses->len; i++) {
        const Use *use = &g_array_index(uses, Use, i);
        if (use->parent == parent && use->backend == backend && strcmp(use->role, role) == 0) {
            access |= use->access;
        }
    }
    walk_done(&walk);
    return access;
}

char *block_graph_describe_user(BlockGraph *graph, const BlockNode *node)
{
    Walk walk;
    walk_init(&walk, graph);
    g_autoptr(GArray) uses = uses_of(&walk, node);
    char *text;
    if (uses->len == 0) {
        text = g_strdup("a job");
    } else {
        const Use *use = &g_array_index(uses, Use, 0);
        g_autofree char *user = describe(use);
        text = use->parent ? g_strdup_printf("%s as its '%s'", user, use->role)
                           : g_steal_pointer(&user);
    }
    walk_done(&walk);
    return text;
}
