/* lodge-img bitmap, and bitmaps for convert. SPDX-License-Identifier: GPL-2.0-or-later */
#include "img/bitmap.h"

#include "block/named-bitmap.h"
#include "gbase/error.h"
#include "img/commands.h"
#include "img/common.h"

#include <string.h>

const ImgOption img_bitmap_options[] = {
    { 0, "add", NULL, "make the bitmap" },
    { 0, "remove", NULL, "take it away" },
    { 0, "clear", NULL, "forget what was written" },
    { 0, "enable", NULL, "record writes" },
    { 0, "disable", NULL, "record nothing" },
    { 0, "merge", "source", "add what another bitmap has recorded" },
    { 'b', NULL, "source_file", "the image of the source of --merge" },
    { 'F', NULL, "source_fmt", "the format of that image" },
    { 'g', NULL, "granularity", "bytes for each bit, for --add" },
    IMG_OPTION_FORMAT,
    IMG_OPTION_OBJECT,
    IMG_OPTION_IMAGE_OPTS,
    IMG_OPTIONS_END,
};

typedef struct BitmapCommand {
    const ImgArgs *args;
    BlockNode *node, *source;
    const char *name;
    guint64 granularity; /* 0: not given */
} BitmapCommand;

/* Makes one change, which @option says. */
static bool act(const BitmapCommand *c, const char *option, const char *value, GError **error)
{
    bool is_enable = strcmp(option, "enable") == 0;
    if (strcmp(option, "add") == 0) {
        return block_bitmap_add(c->node, c->name, c->granularity, BLOCK_BITMAP_PERSISTENT, error) !=
               NULL;
    }
    if (strcmp(option, "remove") == 0) {
        return block_bitmap_remove(c->node, c->name, error);
    }
    if (strcmp(option, "clear") == 0) {
        return block_bitmap_clear(c->node, c->name, error);
    }
    if (is_enable || strcmp(option, "disable") == 0) {
        return block_bitmap_enable(c->node, c->name, is_enable, error);
    }
    return block_bitmap_merge(c->node, c->name, c->source ? c->source : c->node, value, error);
}

static bool is_action(const char *option)
{
    static const char *const actions[] = { "add", "remove", "clear", "enable", "disable", "merge" };
    for (unsigned i = 0; i < G_N_ELEMENTS(actions); i++) {
        if (g_strcmp0(option, actions[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool act_all(const BitmapCommand *c)
{
    GError *error = NULL;
    const char *option, *value;
    for (unsigned i = 0; img_args_given(c->args, i, &option, &value); i++) {
        if (is_action(option) && !act(c, option, value, &error)) {
            g_prefix_error(&error, "Operation %s on bitmap %s of '%s' failed: ", option, c->name,
                           img_args_operand(c->args, 0));
            img_fail(error);
            return false;
        }
    }
    return true;
}

static bool check_arguments(const ImgArgs *args)
{
    const char *option, *value, *problem = NULL;
    bool acts = false;
    for (unsigned i = 0; img_args_given(args, i, &option, &value); i++) {
        acts |= is_action(option);
    }
    if (img_args_operands(args) != 2) {
        problem = "Expecting filename and bitmap name";
    } else if (!acts) {
        problem = "Need at least one of --add, --remove, --clear, --enable, --disable, or --merge";
    } else if (img_args_flag(args, "g") && !img_args_flag(args, "add")) {
        problem = "granularity only supported with --add";
    } else if (img_args_flag(args, "F") && !img_args_flag(args, "b")) {
        problem = "-F only supported with -b";
    } else if (img_args_flag(args, "b") && !img_args_flag(args, "merge")) {
        problem = "Merge bitmap source file only supported with --merge";
    }
    if (problem) {
        img_error("%s", problem);
    }
    return !problem;
}

int img_bitmap(const ImgArgs *args)
{
    BitmapCommand c = { .args = args };
    if (!img_common_options(args) || !check_arguments(args) ||
        !img_args_size(args, "g", INT64_MAX, &c.granularity)) {
        return 1;
    }
    if (img_args_flag(args, "g") && !c.granularity) {
        img_error("Granularity must be power of 2 and at least 512");
        return 1;
    }
    g_autoptr(BlockNode) node = img_open_or_report(args, img_args_operand(args, 0),
                                                   img_args_value(args, "f"), BLOCK_OPEN_WRITABLE);
    g_autoptr(BlockNode) source = NULL;
    if (node && img_args_flag(args, "b")) {
        GError *error = NULL;
        const char *name = img_args_value(args, "b");
        g_autoptr(BlockSpec) spec = block_spec_from_name(name, img_args_value(args, "F"), &error);
        source = spec ? block_open(spec, 0, &error) : NULL;
        if (!source) {
            g_prefix_error(&error, "Could not open '%s': ", name);
            return img_fail(error);
        }
    }
    c.node = node;
    c.source = source;
    c.name = img_args_operand(args, 1);
    if (!node || !act_all(&c)) {
        return 1;
    }
    int result = block_node_close(g_steal_pointer(&node));
    if (result < 0) {
        img_error("Could not store the bitmaps of '%s': %s", img_args_operand(args, 0),
                  g_strerror(-result));
    }
    return result < 0;
}

/* convert */

static bool is_wanted(DirtyBitmap *bitmap)
{
    return dirty_bitmap_flags(bitmap) & DIRTY_BITMAP_PERSISTENT;
}

static bool is_broken(DirtyBitmap *bitmap)
{
    return dirty_bitmap_flags(bitmap) & DIRTY_BITMAP_INCONSISTENT;
}

bool img_bitmaps_check(BlockNode *source, bool skip_broken, GError **error)
{
    DirtyBitmap *bitmap;
    if (!block_bitmaps_are_storable(source)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED, "Source lacks bitmap support");
        return false;
    }
    for (unsigned i = 0; !skip_broken && (bitmap = block_node_bitmap(source, i)); i++) {
        if (is_wanted(bitmap) && is_broken(bitmap)) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_STATE,
                        "Cannot copy inconsistent bitmap '%s'; try --skip-broken-bitmaps, or use "
                        "'lodge-img bitmap --remove'",
                        dirty_bitmap_name(bitmap));
            return false;
        }
    }
    return true;
}

bool img_bitmaps_copy(BlockNode *target, BlockNode *source, GError **error)
{
    DirtyBitmap *bitmap;
    for (unsigned i = 0; (bitmap = block_node_bitmap(source, i)); i++) {
        const char *name = dirty_bitmap_name(bitmap);
        if (!is_wanted(bitmap)) {
            continue;
        }
        if (is_broken(bitmap)) {
            img_error("warning: Skipping inconsistent bitmap '%s'", name);
            continue;
        }
        bool records = dirty_bitmap_flags(bitmap) & DIRTY_BITMAP_RECORDING;
        unsigned flags = BLOCK_BITMAP_PERSISTENT | (records ? 0 : BLOCK_BITMAP_DISABLED);
        if (!block_bitmap_add(target, name, dirty_bitmap_granularity(bitmap), flags, error) ||
            !block_bitmap_merge(target, name, source, name, error)) {
            g_prefix_error(error, "Failed to populate bitmap %s: ", name);
            return false;
        }
    }
    return true;
}
