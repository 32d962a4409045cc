/* lodge-img rebase and commit: what an image has beside its backing file.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "base/int-math.h"
#include "gbase/error.h"
#include "gbase/strutil.h"
#include "img/commands.h"
#include "img/common.h"
#include "img/copy.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BUFFER_BYTES (2 * MIB)

const ImgOption img_rebase_options[] = {
    IMG_OPTION_FORMAT,
    { 'b', NULL, "backing_file", "the new backing file; \"\": none" },
    { 'F', NULL, "backing_fmt", "its format" },
    { 'u', NULL, NULL, "unsafe: only the name changes, the content is the user's care" },
    IMG_OPTION_CACHE,
    IMG_OPTION_SOURCE_CACHE,
    IMG_OPTION_PROGRESS,
    IMG_OPTION_QUIET,
    IMG_OPTION_SHARE,
    IMG_OPTION_OBJECT,
    IMG_OPTION_IMAGE_OPTS,
    IMG_OPTIONS_END,
};

const ImgOption img_commit_options[] = {
    IMG_OPTION_FORMAT,
    { 'b', NULL, "base", "commit into this layer (the backing file if not given)" },
    { 'd', NULL, NULL, "do not empty the image afterwards (-b implies this)" },
    { 'r', NULL, "rate_limit", "at most so many bytes a second" },
    IMG_OPTION_CACHE,
    IMG_OPTION_PROGRESS,
    IMG_OPTION_QUIET,
    IMG_OPTION_OBJECT,
    IMG_OPTION_IMAGE_OPTS,
    IMG_OPTIONS_END,
};

/* @length bytes of @node, which may end before; NULL reads as zeroes. */
static int read_padded(BlockNode *node, uint64_t offset, uint8_t *buf, uint64_t length)
{
    uint64_t size = node ? block_node_size(node) : 0;
    uint64_t there = offset < size ? min_u64(length, size - offset) : 0;
    memset(buf + there, 0, length - there);
    return there ? block_pread(node, offset, buf, there) : 0;
}

/* Copies into @node what the old backing file shows and the new one does not. */
static int copy_differences(BlockNode *node, BlockNode *old, BlockNode *fresh, uint8_t *a,
                            uint8_t *b, ImgProgress *progress)
{
    uint64_t size = block_node_size(node);
    for (uint64_t offset = 0; offset < size;) {
        BlockStatus status;
        int result = block_status(node, offset, size - offset, &status);
        if (result < 0 || !status.length) {
            return result < 0 ? result : -5;
        }
        uint64_t length = min_u64(status.length, BUFFER_BYTES);
        if (!(status.flags & BLOCK_STATUS_ALLOCATED)) {
            result = read_padded(old, offset, a, length);
            if (result == 0) {
                result = read_padded(fresh, offset, b, length);
            }
            for (uint64_t at = 0; result == 0 && at < length; at += 4096) {
                uint64_t part = min_u64(4096, length - at);
                if (memcmp(a + at, b + at, part) != 0) {
                    result = block_pwrite(node, offset + at, a + at, part, 0);
                }
            }
            if (result < 0) {
                return result;
            }
        } else {
            length = status.length;
        }
        offset += length;
        img_progress_set(progress, offset);
    }
    return 0;
}

static BlockNode *open_new_backing(const ImgArgs *args, BlockNode *node, const char *name,
                                   unsigned flags, GError **error)
{
    const char *format = img_args_value(args, "F");
    g_autofree char *path = block_backing_path(block_node_filename(node), name);
    g_autoptr(BlockSpec) spec = block_spec_from_name(path, format, error);
    g_autoptr(BlockObjects) objects = spec ? img_objects(args, error) : NULL;
    if (objects) {
        block_spec_set_objects(spec, objects);
    }
    BlockNode *backing = objects ? block_open(spec, flags, error) : NULL;
    if (!backing) {
        g_prefix_error(error, "Could not open new backing file '%s': ", name);
    }
    return backing;
}

static bool rebase_content(const ImgArgs *args, BlockNode *node, const char *name, unsigned flags,
                           GError **error)
{
    g_autoptr(BlockNode) fresh = NULL;
    ImgProgress progress;
    if (*name) {
        fresh = open_new_backing(args, node, name, flags, error);
        if (!fresh) {
            return false;
        }
    }
    autofree uint8_t *a = aligned_alloc(4096, BUFFER_BYTES), *b = aligned_alloc(4096, BUFFER_BYTES);
    img_progress_init(&progress, img_args_flag(args, "p") && !img_args_flag(args, "q"),
                      block_node_size(node));
    int result =
        a && b ? copy_differences(node, block_node_backing(node), fresh, a, b, &progress) : -12;
    /* The content must be there before the old backing file is forgotten. */
    if (result == 0) {
        result = block_flush(node);
    }
    img_progress_end(&progress, result == 0);
    if (result < 0) {
        g_autofree char *place = block_failure_place(node, result);
        g_autofree char *other = fresh ? block_failure_place(fresh, result) : g_strdup("");
        lodge_error_set_errno(error, result,
                              "error while copying from the old backing files of '%s'%s",
                              block_node_filename(node), *place ? place : other);
    }
    return result == 0;
}

/* @format: of the new backing file; NULL: not given. False: reported. */
static bool check_format(const char *format)
{
    if (!format) {
        img_error("backing format must be specified: say it with -F");
        return false;
    }
    if (!block_format_is_known(format)) {
        g_autofree const char **formats = block_formats();
        g_autofree char *hint = str_suggestion(format, formats);
        img_error("Invalid format name: '%s'%s", format, hint);
        return false;
    }
    return true;
}

int img_rebase(const ImgArgs *args)
{
    GError *error = NULL;
    unsigned flags, source_flags;
    bool is_unsafe = img_args_flag(args, "u");
    const char *name = img_args_value(args, "b");
    const char *format = img_args_value(args, "F");
    if (!name && !is_unsafe) {
        img_error("Must specify backing file (-b) or use simple rebase mode (-u)");
        return 1;
    }
    name = name ? name : "";
    if (*name && !check_format(format)) {
        return 1;
    }
    if (!img_common_options(args) || !img_cache_flags(img_args_value(args, "t"), &flags) ||
        !img_cache_flags(img_args_value(args, "T"), &source_flags) ||
        !img_args_count(args, 1, 1, "one image file name")) {
        return 1;
    }
    flags |= BLOCK_OPEN_WRITABLE | (is_unsafe ? BLOCK_OPEN_NO_BACKING : 0);
    source_flags |= img_args_flag(args, "force-share") ? BLOCK_OPEN_SHARED : 0;
    g_autoptr(BlockNode) node = img_open_unshared(args, img_args_operand(args, 0),
                                                  img_args_value(args, "f"), flags, &error);
    if (!node) {
        return img_fail(error);
    }
    if (!is_unsafe && !rebase_content(args, node, name, source_flags, &error)) {
        return img_fail(error);
    }
    if (!block_change_backing(node, *name ? name : NULL, *name ? format : NULL, &error)) {
        g_prefix_error(&error, "Could not change the backing file to '%s': ", name);
        return img_fail(error);
    }
    return 0;
}

/* What @node's content goes into: the nearest backing node that shows the image @name, NULL: the
 * nearest of all; the layers between are read. It may be a filter, as which it is written to. */
static BlockNode *find_base(BlockNode *node, const char *name)
{
    BlockNode *base = block_node_backing(block_skip_filters(node));
    while (base && name && strcmp(block_node_filename(block_skip_filters(base)), name) != 0) {
        base = block_node_backing(block_skip_filters(base));
    }
    return base;
}

static bool grow_base(BlockNode *base, uint64_t size, GError **error)
{
    return block_node_size(base) >= size ||
           block_truncate(base, size, BLOCK_PREALLOCATION_OFF, error);
}

static bool commit_into(const ImgArgs *args, BlockNode *node, BlockNode *base, GError **error)
{
    ImgProgress progress;
    const ImgSource source = { .node = node, .base = base };
    ImgCopy copy = {
        .sources = &source,
        .source_count = 1,
        .target = base,
        .size = block_node_size(node),
        .sparse = 4096,
        .has_backing = true,
        .threads = 2,
        .progress = &progress,
    };
    if (!img_args_size(args, "r", INT64_MAX, &copy.bytes_per_second)) {
        return false;
    }
    img_progress_init(&progress, img_args_flag(args, "p") && !img_args_flag(args, "q"), copy.size);
    bool ok = img_copy(&copy, error);
    int result = ok ? block_flush(base) : 0;
    img_progress_end(&progress, ok && result == 0);
    if (result < 0) {
        g_autofree char *place = block_failure_place(node, result);
        lodge_error_set_errno(error, result, "cannot flush '%s'%s", block_node_filename(base),
                              place);
    }
    return ok && result == 0;
}

/* What the image had its backing file has as well. Returns: the exit code. */
static int empty(BlockNode *node)
{
    int rc = block_make_empty(node);
    if (rc == -ENOTSUP) {
        return 0; /* a filter, or a format that cannot: it stays as it is, as with QEMU */
    }
    if (rc < 0) {
        g_autofree char *place = block_failure_place(node, rc);
        img_error("Could not empty '%s'%s: %s", block_node_filename(node), place, g_strerror(-rc));
    }
    return rc < 0;
}

static int commit(const ImgArgs *args, BlockNode *node)
{
    GError *error = NULL;
    const char *base_name = img_args_value(args, "b");
    BlockNode *base = find_base(node, base_name);
    if (!base) {
        if (base_name) {
            img_error("Did not find '%s' in the backing chain of '%s'", base_name,
                      block_node_filename(node));
        } else {
            img_error("Image '%s' does not have a backing file", block_node_filename(node));
        }
        return 1;
    }
    if (!block_check_grow(node, block_skip_filters(base), &error) ||
        !block_reopen(base, block_node_flags(base) | BLOCK_OPEN_WRITABLE, &error) ||
        !block_keep_size(base, &error) || !grow_base(base, block_node_size(node), &error) ||
        !commit_into(args, node, base, &error)) {
        if (!error) { /* of an option; it has been said */
            return 1;
        }
        g_prefix_error(&error, "Could not commit '%s': ", block_node_filename(node));
        return img_fail(error);
    }
    return base_name || img_args_flag(args, "d") ? 0 : empty(node);
}

int img_commit(const ImgArgs *args)
{
    unsigned flags;
    if (!img_common_options(args) || !img_cache_flags(img_args_value(args, "t"), &flags) ||
        !img_args_count(args, 1, 1, "one image file name")) {
        return 1;
    }
    g_autoptr(BlockNode) node = img_open_or_report(
        args, img_args_operand(args, 0), img_args_value(args, "f"), flags | BLOCK_OPEN_WRITABLE);
    if (!node) {
        return 1;
    }
    int status = commit(args, node);
    if (status == 0 && !img_args_flag(args, "q")) {
        printf("Image committed.\n");
    }
    return status;
}
