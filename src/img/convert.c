/* lodge-img convert. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/int-math.h"
#include "block/driver.h"
#include "block/named-bitmap.h"
#include "gbase/error.h"
#include "gbase/strutil.h"
#include "img/bitmap.h"
#include "img/commands.h"
#include "img/common.h"
#include "img/copy.h"
#include "img/target.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define SPARSE_BYTES 4096

const ImgOption img_convert_options[] = {
    { 'f', NULL, "fmt", "format of the input" },
    { 'O', NULL, "output_fmt", "format of the output (raw if not given)" },
    { 'o', NULL, "options", "options of the output's format; -o help lists them" },
    { 'c', NULL, NULL, "compress the output" },
    { 'S', NULL, "sparse_size", "leave out runs of zeroes from this size on (4k); 0: write all" },
    { 'm', NULL, "num_coroutines", "parallel requests, 1 to 16 (8)" },
    { 'W', NULL, NULL, "write out of order" },
    { 'n', NULL, NULL, "the output exists: do not create it" },
    { 0, "target-is-zero", NULL, "with -n: the output reads as zeroes" },
    { 'l', NULL, "snapshot_param",
      "convert a snapshot: [snapshot.id=ID,snapshot.name=NAME] or its name" },
    { 'B', NULL, "backing_file", "the output is a layer over this file" },
    { 'b', NULL, "backing_file", "as -B" },
    { 'F', NULL, "backing_fmt", "format of the backing file" },
    { 'r', NULL, "rate_limit", "at most so many bytes a second" },
    { 'C', NULL, NULL, "let the host copy where it can (the default way is as fast)" },
    { 0, "salvage", NULL, "go on where the input cannot be read: zeroes instead" },
    { 0, "bitmaps", NULL, "copy dirty bitmaps too" },
    { 0, "skip-broken-bitmaps", NULL, "leave out broken ones" },
    { 0, "target-image-opts", NULL, "the output's name is a list of options" },
    IMG_OPTION_CACHE,
    IMG_OPTION_SOURCE_CACHE,
    IMG_OPTION_PROGRESS,
    IMG_OPTION_QUIET,
    IMG_OPTION_SHARE,
    IMG_OPTION_OBJECT,
    IMG_OPTION_IMAGE_OPTS,
    IMG_OPTIONS_END,
};

typedef struct Conversion {
    const ImgArgs *args;
    const char *format, *output;
    unsigned source_count, target_flags, source_flags;
    ImgSource *sources;
    BlockNode *target;
    BlockSpec *options;
    uint64_t size;
    ImgCopy copy;
    ImgProgress progress;
    ImgTarget file;
} Conversion;

static void conversion_clear(Conversion *c)
{
    for (unsigned i = 0; i < c->source_count; i++) {
        block_node_unref(c->sources[i].node);
    }
    g_free(c->sources);
    block_node_unref(c->target);
    block_spec_free(c->options);
}

static bool open_sources(Conversion *c, GError **error)
{
    unsigned count = img_args_operands(c->args) - 1;
    const char *snapshot = img_args_value(c->args, "l");
    c->sources = g_new0(ImgSource, count);
    if (snapshot && count > 1) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "No support for concatenating multiple snapshot");
        return false;
    }
    for (unsigned i = 0; i < count; i++) {
        BlockNode *node = img_open(c->args, img_args_operand(c->args, i),
                                   img_args_value(c->args, "f"), c->source_flags, error);
        if (!node || !block_keep_alone(node, error)) {
            block_node_unref(node);
            return false;
        }
        c->sources[c->source_count++] = (ImgSource){ .node = node, .start = c->size };
        if (snapshot && !img_load_snapshot(node, snapshot, error)) {
            return false;
        }
        if (!checked_add(c->size, block_node_size(node), &c->size) || c->size > INT64_MAX) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT, "the inputs are too large together");
            return false;
        }
    }
    return true;
}

/* What -B, -F and -o say of a backing file goes together. */
static bool set_backing(Conversion *c, GError **error)
{
    const char *backing = img_args_value(c->args, "B");
    backing = backing ? backing : img_args_value(c->args, "b");
    if (backing) {
        block_spec_set(c->options, "backing_file", backing);
    }
    if (img_args_flag(c->args, "F")) {
        block_spec_set(c->options, "backing_fmt", img_args_value(c->args, "F"));
    }
    const char *format = block_spec_get(c->options, "backing_fmt");
    backing = block_spec_get(c->options, "backing_file");
    g_autofree char *problem = NULL;
    if (!backing) {
        return true;
    }
    if (!block_format_has_backing(c->format)) {
        problem = g_strdup_printf("Backing file not supported for file format '%s'", c->format);
    } else if (c->source_count > 1) {
        problem = g_strdup("Having a backing file for the target makes no sense when concatenating "
                           "multiple input images");
    } else if (!format) {
        problem = g_strdup("Use of backing file requires explicit backing format; say it with -F");
    } else if (!block_format_is_known(format)) {
        g_autofree const char **formats = block_formats();
        g_autofree char *hint = str_suggestion(format, formats);
        problem = g_strdup_printf("Unknown backing format '%s'%s", format, hint);
    }
    if (problem) {
        g_set_error_literal(error, LODGE_ERROR, LODGE_ERROR_CONFIG, problem);
    }
    return !problem;
}

static bool create_target(Conversion *c, GError **error)
{
    if (block_format_is_known(c->format) && !set_backing(c, error)) {
        return false;
    }
    if (!block_spec_get(c->options, "size")) {
        g_autofree char *text = g_strdup_printf("%" PRIu64, c->size);
        block_spec_set(c->options, "size", text);
    }
    bool ok = img_check_options(c->format, c->options, false, error);
    if (ok) {
        img_target_begin(&c->file, c->format, c->output, c->options);
        ok = block_create(c->format, c->output, c->options, error);
    }
    if (!ok) {
        g_prefix_error(error, "%s: error while converting %s: ", c->output, c->format);
    }
    return ok;
}

static bool open_target(Conversion *c, GError **error)
{
    bool has_options = img_args_flag(c->args, "target-image-opts");
    g_autoptr(BlockSpec) spec = has_options ? block_spec_from_text(c->output, error)
                                            : block_spec_from_name(c->output, c->format, error);
    unsigned flags = c->target_flags | BLOCK_OPEN_WRITABLE | BLOCK_OPEN_DISCARD;
    static const char *const keys[] = { "key-secret", "encrypt.format", "encrypt.key-secret" };
    for (unsigned i = 0; spec && i < G_N_ELEMENTS(keys); i++) {
        const char *value = block_spec_get(c->options, keys[i]);
        if (value && !block_spec_get(spec, keys[i])) {
            block_spec_set(spec, keys[i], value);
        }
    }
    if (spec) {
        block_spec_set_objects(spec, block_spec_objects(c->options));
    }
    /* Of the target's own backing file only the name is needed, unless clusters are copied up. */
    c->target = spec ? block_open(spec, flags, error) : NULL;
    if (!c->target) {
        g_prefix_error(error, "Could not open '%s': ", c->output);
        return false;
    }
    if (block_node_size(c->target) < c->size) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "output file '%s' of %" PRIu64 " bytes is smaller than the %" PRIu64
                    " bytes of input; lodge-img resize makes it larger",
                    block_node_filename(c->target), block_node_size(c->target), c->size);
        return false;
    }
    return true;
}

static bool can_compress(const char *format, GError **error)
{
    if (!block_format_compresses(format)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "Compression not supported for this file format");
        return false;
    }
    return true;
}

/* What holds the bytes: a file, a device, an NBD export. */
static BlockNode *bottom_of(const BlockNode *node)
{
    BlockNode *below;
    while ((below = block_node_file(node))) {
        node = below;
    }
    return (BlockNode *)node;
}

static bool is_in_file(const BlockNode *image)
{
    const BlockNode *node = bottom_of(image);
    return strcmp(block_node_driver(node), "file") == 0 ||
           strcmp(block_node_driver(node), "host_device") == 0;
}

/* What the target's format asks of the copy. */
static bool examine_target(Conversion *c, GError **error)
{
    BlockInfo info = { 0 };
    if (!block_get_info(c->target, &info, error)) {
        return false;
    }
    ImgCopy *copy = &c->copy;
    copy->has_backing = info.backing_filename != NULL;
    copy->is_compressed = img_args_flag(c->args, "c") || info.is_compressed;
    copy->cluster = copy->is_compressed ? info.cluster_size : 0;
    /* A file takes one buffered write at a time: more than one behind it would burn time, and the
     * image has its data in order. Compressing and encrypting is part of the write and wants all
     * processors. */
    copy->is_ordered = !img_args_flag(c->args, "W") && !copy->is_compressed &&
                       !(c->target_flags & BLOCK_OPEN_DIRECT) && !info.is_encrypted &&
                       is_in_file(c->target);
    bool is_new = !img_args_flag(c->args, "n"), is_encrypted = info.is_encrypted;
    copy->is_zeroed = img_args_flag(c->args, "target-is-zero") ||
                      (is_new && !copy->has_backing && block_node_is_blank(c->target));
    block_info_clear(&info);
    if (copy->is_compressed && !copy->cluster) {
        copy->is_compressed = false; /* a vmdk image that has no grains to compress */
    }
    if (img_args_flag(c->args, "c") && !can_compress(block_node_driver(c->target), error)) {
        return false;
    }
    if (img_args_flag(c->args, "c") && is_encrypted) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "Compression and encryption not supported at the same time");
        return false;
    }
    if (copy->has_backing) {
        for (unsigned i = 0; i < c->source_count; i++) {
            c->sources[i].base = block_node_backing(c->sources[i].node);
        }
    }
    return true;
}

static bool parse_numbers(Conversion *c)
{
    ImgCopy *copy = &c->copy;
    uint64_t threads = 8;
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    copy->sparse = SPARSE_BYTES;
    if (!img_args_size(c->args, "S", INT32_MAX, &copy->sparse) ||
        !img_args_number(c->args, "m", 1, IMG_COPY_THREADS_MAX, &threads) ||
        !img_args_size(c->args, "r", INT64_MAX, &copy->bytes_per_second)) {
        return false;
    }
    if (copy->sparse && (copy->sparse % 512 || copy->sparse > 16 * MIB)) {
        img_error(
            "Invalid buffer size for sparse output specified. Valid sizes are multiples of "
            "512 up to 16 MiB. Select 0 to disable sparse detection (fully allocates output).");
        return false;
    }
    /* Half of them wait for the disk. */
    copy->threads = (unsigned)min_u64(threads, cpus > 0 ? 2 * (uint64_t)cpus : 2);
    copy->can_salvage = img_args_flag(c->args, "salvage");
    return true;
}

static bool check_arguments(const Conversion *c)
{
    const ImgArgs *args = c->args;
    bool is_existing = img_args_flag(args, "n");
    const char *problem = NULL;
    if (img_args_flag(args, "target-is-zero") && !is_existing) {
        problem = "--target-is-zero requires use of -n flag";
    } else if (img_args_flag(args, "target-image-opts") && !is_existing) {
        problem = "--target-image-opts requires use of -n flag";
    } else if (img_args_flag(args, "skip-broken-bitmaps") && !img_args_flag(args, "bitmaps")) {
        problem = "Use of --skip-broken-bitmaps requires --bitmaps";
    } else if (img_args_flag(args, "bitmaps") && img_args_operands(args) > 2) {
        problem = "Copying bitmaps only possible with single source";
    } else if (img_args_flag(args, "C") && img_args_value(args, "S")) {
        problem = "Cannot enable copy offloading when -S is used";
    } else if (img_args_flag(args, "C") && img_args_flag(args, "c")) {
        problem = "Cannot enable copy offloading when -c is used";
    } else if (img_args_flag(args, "C") && img_args_flag(args, "salvage")) {
        problem = "Cannot use copy offloading in salvaging mode";
    } else if (is_existing && img_args_flag(args, "o")) {
        problem = "-o has no effect when skipping image creation";
    } else if (img_args_flag(args, "target-image-opts") && img_args_flag(args, "O")) {
        problem = "--target-image-opts and -O are mutually exclusive: it has the key driver";
    }
    if (problem) {
        img_error("%s", problem);
    }
    return !problem;
}

static bool check_bitmaps(const Conversion *c, GError **error)
{
    if (!img_args_flag(c->args, "bitmaps")) {
        return true;
    }
    if (c->format && !block_format_stores_bitmaps(c->format)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "Format driver '%s' does not support bitmaps", c->format);
        return false;
    }
    return img_bitmaps_check(c->sources[0].node, img_args_flag(c->args, "skip-broken-bitmaps"),
                             error);
}

/* Behind the end of a file there are zeroes: one that was cut meanwhile has been read as such. */
static bool check_length(const BlockNode *image, GError **error)
{
    uint64_t now;
    BlockNode *node = bottom_of(image);
    if (block_child_size(node, &now) < 0 || now >= block_node_size(node)) {
        return true;
    }
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_IO,
                "'%s' was cut from %" PRIu64 " to %" PRIu64 " bytes while it was read",
                block_node_filename(node), block_node_size(node), now);
    return false;
}

static bool check_sources(const Conversion *c, GError **error)
{
    if (img_args_flag(c->args, "force-share") || c->copy.can_salvage) {
        return true; /* who writes to them may cut them */
    }
    for (unsigned i = 0; i < c->source_count; i++) {
        for (BlockNode *node = c->sources[i].node; node; node = block_node_backing(node)) {
            const BlockNode *data = block_node_data_file(node);
            if (!check_length(node, error) || (data && !check_length(data, error))) {
                return false;
            }
        }
    }
    return true;
}

static bool convert(Conversion *c, GError **error)
{
    bool is_new = !img_args_flag(c->args, "n");
    bool is_known = c->format && block_format_is_known(c->format);
    if (is_new && is_known && img_args_flag(c->args, "c") && !can_compress(c->format, error)) {
        return false;
    }
    if (!open_sources(c, error) || !check_bitmaps(c, error)) {
        return false;
    }
    if ((is_new && !create_target(c, error)) || !open_target(c, error) ||
        !examine_target(c, error)) {
        return false;
    }
    ImgCopy *copy = &c->copy;
    copy->sources = c->sources;
    copy->source_count = c->source_count;
    copy->target = c->target;
    copy->size = c->size;
    copy->progress = &c->progress;
    img_progress_init(&c->progress, img_args_flag(c->args, "p") && !img_args_flag(c->args, "q"),
                      c->size);
    bool ok = img_copy(copy, error) && check_sources(c, error);
    if (ok && img_args_flag(c->args, "bitmaps")) {
        ok = img_bitmaps_copy(c->target, c->sources[0].node, error);
    }
    if (ok) {
        int result = block_flush(c->target);
        if (result < 0) {
            lodge_error_set_errno(error, result, "error while writing '%s'", c->output);
            ok = false;
        }
    }
    img_progress_end(&c->progress, ok);
    return ok;
}

int img_convert(const ImgArgs *args)
{
    GError *error = NULL;
    g_autofree char *text = img_args_joined(args, "o");
    const char *cache = img_args_value(args, "t");
    Conversion c = { .args = args, .format = img_args_value(args, "O") };
    c.format = c.format || img_args_flag(args, "target-image-opts") ? c.format : "raw";
    if (img_wants_options_help(text)) {
        return img_print_options(c.format ? c.format : "raw", false);
    }
    if (!img_common_options(args) || !check_arguments(&c) || !parse_numbers(&c) ||
        !img_cache_flags(cache ? cache : "unsafe", &c.target_flags) ||
        !img_cache_flags(img_args_value(args, "T"), &c.source_flags) ||
        !img_args_count(args, 2, UINT32_MAX, "at least one input and one output file name")) {
        return 1;
    }
    c.output = img_args_operand(args, img_args_operands(args) - 1);
    c.options = img_options_with_objects(args, text, &error);
    bool ok = c.options && convert(&c, &error);
    conversion_clear(&c);
    img_target_end(&c.file, ok, &error);
    return ok ? 0 : img_fail(error);
}
