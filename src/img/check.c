/* lodge-img check. SPDX-License-Identifier: GPL-2.0-or-later */
#include "img/commands.h"
#include "img/common.h"
#include "img/json-out.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const ImgOption img_check_command_options[] = {
    IMG_OPTION_FORMAT, { 'r', "repair", "what", "mend what is found: leaks, or all" },
    IMG_OPTION_OUTPUT, IMG_OPTION_SOURCE_CACHE,
    IMG_OPTION_QUIET,  IMG_OPTION_SHARE,
    IMG_OPTION_OBJECT, IMG_OPTION_IMAGE_OPTS,
    IMG_OPTIONS_END,
};

static void print_finding(void *opaque, const char *text)
{
    fprintf(stderr, "%s\n", text);
}

static void print_human(const BlockCheck *check)
{
    if (!check->corruptions && !check->leaks && !check->check_errors) {
        printf("No errors were found on the image.\n");
    }
    if (check->corruptions) {
        printf("\n%" PRIu64 " errors were found on the image.\n"
               "Data may be corrupted, or further writes to the image may corrupt it.\n",
               check->corruptions);
    }
    if (check->leaks) {
        printf("\n%" PRIu64 " leaked clusters were found on the image.\n"
               "This means waste of disk space, but no harm to data.\n",
               check->leaks);
    }
    if (check->check_errors) {
        printf("\n%" PRIu64 " internal errors have occurred during the check.\n",
               check->check_errors);
    }
    if (check->total_clusters && check->allocated_clusters) {
        double allocated = (double)check->allocated_clusters;
        printf("%" PRIu64 "/%" PRIu64 " = %0.2f%% allocated, %0.2f%% fragmented, %0.2f%% "
               "compressed clusters\n",
               check->allocated_clusters, check->total_clusters,
               allocated * 100 / (double)check->total_clusters,
               (double)check->fragmented_clusters * 100 / allocated,
               (double)check->compressed_clusters * 100 / allocated);
    }
    if (check->image_end_offset) {
        printf("Image end offset: %" PRIu64 "\n", check->image_end_offset);
    }
}

static void put_count(JsonOut *json, const char *key, uint64_t value)
{
    if (value) {
        json_out_uint(json, key, value);
    }
}

static void print_json(BlockNode *node, const BlockCheck *check)
{
    JsonOut *json = json_out_new();
    json_out_open(json, NULL, '{');
    put_count(json, "image-end-offset", check->image_end_offset);
    put_count(json, "total-clusters", check->total_clusters);
    json_out_uint(json, "check-errors", check->check_errors);
    put_count(json, "corruptions", check->corruptions);
    put_count(json, "leaks", check->leaks);
    put_count(json, "corruptions-fixed", check->corruptions_fixed);
    put_count(json, "leaks-fixed", check->leaks_fixed);
    put_count(json, "allocated-clusters", check->allocated_clusters);
    put_count(json, "fragmented-clusters", check->fragmented_clusters);
    put_count(json, "compressed-clusters", check->compressed_clusters);
    json_out_string(json, "filename", block_node_filename(node));
    json_out_string(json, "format", block_node_driver(node));
    json_out_close(json, '}');
    json_out_print(json);
}

static int exit_code(const BlockCheck *check)
{
    if (check->check_errors) {
        img_error("Check failed: %" PRIu64 " internal errors", check->check_errors);
        return 1;
    }
    if (check->corruptions) {
        return IMG_EXIT_CORRUPT;
    }
    return check->leaks ? IMG_EXIT_LEAKS : 0;
}

/* Checks again what was mended, keeping the counts of what was fixed. */
static int check_twice(BlockNode *node, BlockCheck *check, bool is_talkative)
{
    if (is_talkative) {
        printf("The following inconsistencies were found and repaired:\n\n    %" PRIu64
               " leaked clusters\n    %" PRIu64 " corruptions\n\n"
               "Double checking the fixed image now...\n",
               check->leaks_fixed, check->corruptions_fixed);
    }
    BlockCheck again = { .report = print_finding };
    int result = block_check(node, &again, 0);
    again.leaks_fixed = check->leaks_fixed;
    again.corruptions_fixed = check->corruptions_fixed;
    *check = again;
    return result;
}

static int run(BlockNode *node, unsigned fix, bool is_json, bool is_quiet)
{
    BlockCheck check = { .report = print_finding };
    int result = block_check(node, &check, fix);
    if (result == -ENOTSUP) {
        img_error(fix ? "This image format cannot be repaired"
                      : "This image format does not support checks");
        return IMG_EXIT_NO_CHECK;
    }
    if (result == 0 && (check.leaks_fixed || check.corruptions_fixed)) {
        result = check_twice(node, &check, !is_json && !is_quiet);
    }
    if (result < 0) {
        g_autofree char *place = block_failure_place(node, result);
        img_error("Check failed%s: %s", place, g_strerror(-result));
        return 1;
    }
    if (!is_quiet) {
        is_json ? print_json(node, &check) : print_human(&check);
    }
    return exit_code(&check);
}

int img_check(const ImgArgs *args)
{
    bool is_json;
    unsigned fix = 0, flags = 0;
    const char *repair = img_args_value(args, "repair");
    if (repair && strcmp(repair, "leaks") == 0) {
        fix = BLOCK_FIX_LEAKS;
    } else if (repair && strcmp(repair, "all") == 0) {
        fix = BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS;
    } else if (repair) {
        img_error("-r expects 'leaks' or 'all', not '%s'", repair);
        return 1;
    }
    if (!img_common_options(args) || !img_args_output(args, &is_json) ||
        !img_cache_flags(img_args_value(args, "T"), &flags) ||
        !img_args_count(args, 1, 1, "one image file name")) {
        return 1;
    }
    flags |= fix ? BLOCK_OPEN_WRITABLE | BLOCK_OPEN_REPAIR : BLOCK_OPEN_REPAIR;
    g_autoptr(BlockNode) node = img_open_or_report(
        args, img_args_operand(args, 0), img_args_value(args, "f"), flags | BLOCK_OPEN_NO_BACKING);
    return node ? run(node, fix, is_json, img_args_flag(args, "q")) : 1;
}
