/* The filter "throttle": requests reach the node below when the limits of a group allow. The group
 * ("throttle-group", of -object) may be shared with other nodes and disks.
 *
 * A request waits on its own thread, which looks at the limits itself: that needs no loop, so the
 * loop's thread may wait for requests that are held back. block_node_hurry() lets them go at once.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/filter/filter.h"
#include "block/objects.h"
#include "block/throttle-group.h"
#include "gbase/error.h"

typedef struct ThrottleNode {
    char *name;           /* of the group */
    ThrottleGroup *group; /* referenced */
    ThrottleMember member;
} ThrottleNode;

static ThrottleMember *member_of(const BlockNode *node)
{
    return &((ThrottleNode *)node->state)->member;
}

static bool open_filter(BlockNode *node, const BlockSpec *spec, unsigned flags, GError **error)
{
    const char *name = block_spec_get(spec, "throttle-group");
    if (!name) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "Parameter 'throttle-group' is missing: the id of an object of that type");
        return false;
    }
    ThrottleGroup *group = block_objects_limits(block_spec_objects(spec), name, error);
    if (!group) {
        return false;
    }
    ThrottleNode *throttle = g_new0(ThrottleNode, 1);
    throttle->name = g_strdup(name);
    throttle->group = group;
    throttle_group_join(group, &throttle->member);
    node->state = throttle;
    node->size = block_node_size(node->file);
    return true;
}

static int close_filter(BlockNode *node)
{
    ThrottleNode *throttle = node->state;
    throttle_group_leave(&throttle->member);
    throttle_group_unref(throttle->group);
    g_free(throttle->name);
    g_free(throttle);
    return 0;
}

const char *block_throttle_group(const BlockNode *node)
{
    return ((const ThrottleNode *)node->state)->name;
}

bool block_throttle_set_group(BlockNode *node, const char *name, GError **error)
{
    ThrottleNode *throttle = node->state;
    ThrottleGroup *group = block_objects_limits(block_spec_objects(node->spec), name, error);
    if (!group) {
        return false;
    }
    block_node_lock_alone(node);
    throttle_group_leave(&throttle->member);
    throttle_group_unref(throttle->group);
    g_free(throttle->name);
    throttle->name = g_strdup(name);
    throttle->group = group;
    throttle_group_join(group, &throttle->member);
    pthread_rwlock_unlock(&node->lock);
    return true;
}

static int read_filter(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                       uint64_t skip)
{
    throttle_group_wait(member_of(node), false, length);
    return block_filter_read(node, offset, length, vec, skip);
}

static int write_filter(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                        uint64_t skip)
{
    throttle_group_wait(member_of(node), true, length);
    return block_filter_write(node, offset, length, vec, skip);
}

static int zero_filter(BlockNode *node, uint64_t offset, uint64_t length, unsigned flags)
{
    throttle_group_wait(member_of(node), true, length);
    return block_filter_write_zeroes(node, offset, length, flags);
}

static int discard_filter(BlockNode *node, uint64_t offset, uint64_t length)
{
    throttle_group_wait(member_of(node), true, length);
    return block_filter_discard(node, offset, length);
}

static int write_compressed_filter(BlockNode *node, uint64_t offset, const void *buf, size_t length)
{
    throttle_group_wait(member_of(node), true, length);
    return block_filter_write_compressed(node, offset, buf, length);
}

static void hurry_filter(BlockNode *node, bool on)
{
    throttle_group_hurry(member_of(node), on);
}

const BlockDriver block_driver_throttle = {
    .name = "throttle",
    .is_filter = true,
    .open = open_filter,
    .close = close_filter,
    .hurry = hurry_filter,
    .read = read_filter,
    .write = write_filter,
    .write_zeroes = zero_filter,
    .discard = discard_filter,
    .write_compressed = write_compressed_filter,
    .status = block_filter_status,
    .truncate = block_filter_truncate,
    .granularity = block_filter_granularity,
};
