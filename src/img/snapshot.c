/* lodge-img snapshot. SPDX-License-Identifier: GPL-2.0-or-later */
#include "gbase/error.h"
#include "img/commands.h"
#include "img/common.h"
#include "img/snapshot-text.h"
#include "img/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

const ImgOption img_snapshot_options[] = {
    { 'l', NULL, NULL, "list the snapshots (also without any option)" },
    { 'c', NULL, "snapshot", "create one" },
    { 'a', NULL, "snapshot", "go back to it" },
    { 'd', NULL, "snapshot", "delete it" },
    { 'f', NULL, "fmt", "format of the image" },
    IMG_OPTION_OUTPUT,
    IMG_OPTION_QUIET,
    IMG_OPTION_SHARE,
    IMG_OPTION_OBJECT,
    IMG_OPTION_IMAGE_OPTS,
    IMG_OPTIONS_END,
};

void img_print_snapshots(const GArray *snapshots)
{
    printf("Snapshot list:\n%-10s%-17s%8s%20s%13s%11s\n", "ID", "TAG", "VM SIZE", "DATE",
           "VM CLOCK", "ICOUNT");
    for (unsigned i = 0; i < snapshots->len; i++) {
        const BlockSnapshot *s = &g_array_index(snapshots, BlockSnapshot, i);
        char date[32] = "", clock[64], icount[32] = "";
        struct tm when;
        time_t seconds = (time_t)s->date_seconds;
        if (localtime_r(&seconds, &when)) {
            strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &when);
        }
        uint64_t run = s->vm_clock_ns / 1000000000;
        snprintf(clock, sizeof(clock), "%02" PRIu64 ":%02" PRIu64 ":%02" PRIu64 ".%03" PRIu64,
                 run / 3600, run / 60 % 60, run % 60, s->vm_clock_ns / 1000000 % 1000);
        if (s->icount != UINT64_MAX) {
            snprintf(icount, sizeof(icount), "%" PRIu64, s->icount);
        }
        g_autofree char *size = text_size(s->vm_state_size);
        printf("%-9s %-16s %8s%20s%13s%11s\n", s->id, s->name, size, date, clock, icount);
    }
}

static void put_snapshot(JsonOut *json, const BlockSnapshot *snapshot)
{
    json_out_open(json, NULL, '{');
    if (snapshot->icount != UINT64_MAX) {
        json_out_uint(json, "icount", snapshot->icount);
    }
    json_out_uint(json, "vm-clock-nsec", snapshot->vm_clock_ns % 1000000000);
    json_out_string(json, "name", snapshot->name);
    json_out_uint(json, "date-sec", snapshot->date_seconds);
    json_out_uint(json, "date-nsec", snapshot->date_nanoseconds);
    json_out_uint(json, "vm-clock-sec", snapshot->vm_clock_ns / 1000000000);
    json_out_string(json, "id", snapshot->id);
    json_out_uint(json, "vm-state-size", snapshot->vm_state_size);
    json_out_close(json, '}');
}

void img_put_snapshots(JsonOut *json, const char *key, const GArray *snapshots)
{
    json_out_open(json, key, '[');
    for (unsigned i = 0; i < snapshots->len; i++) {
        put_snapshot(json, &g_array_index(snapshots, BlockSnapshot, i));
    }
    json_out_close(json, ']');
}

static int list(BlockNode *node, bool is_json)
{
    GError *error = NULL;
    BlockInfo info = { 0 };
    if (!block_get_info(node, &info, &error)) {
        return img_fail(error);
    }
    if (is_json) {
        JsonOut *json = json_out_new();
        img_put_snapshots(json, NULL, info.snapshots);
        json_out_print(json);
    } else if (info.snapshots->len) {
        img_print_snapshots(info.snapshots);
    }
    block_info_clear(&info);
    return 0;
}

/* By its name alone: an id that is somebody's name as well must not delete another. */
static bool delete_named(BlockNode *node, const char *name, GError **error)
{
    BlockInfo info = { 0 };
    g_autofree char *id = NULL;
    if (!block_get_info(node, &info, error)) {
        return false;
    }
    for (unsigned i = 0; !id && i < info.snapshots->len; i++) {
        const BlockSnapshot *snapshot = &g_array_index(info.snapshots, BlockSnapshot, i);
        id = strcmp(snapshot->name, name) == 0 ? g_strdup(snapshot->id) : NULL;
    }
    block_info_clear(&info);
    if (!id) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND,
                    "snapshot not found in '%s'; -l lists the names", block_node_filename(node));
        return false;
    }
    return block_snapshot_delete(node, id, error);
}

int img_snapshot(const ImgArgs *args)
{
    static const struct {
        const char *option, *verb;
        bool (*act)(BlockNode *node, const char *which, GError **error);
    } actions[] = {
        { "c", "create", block_snapshot_create },
        { "a", "apply", block_snapshot_apply },
        { "d", "delete", delete_named },
    };
    unsigned chosen = 0, count = img_args_flag(args, "l");
    for (unsigned i = 0; i < G_N_ELEMENTS(actions); i++) {
        if (img_args_flag(args, actions[i].option)) {
            chosen = i + 1;
            count++;
        }
    }
    if (count > 1) {
        img_error("Cannot mix '-l', '-a', '-c', '-d'");
        return 1;
    }
    bool is_json;
    if (!img_common_options(args) || !img_args_output(args, &is_json) ||
        !img_args_count(args, 1, 1, "one image file name")) {
        return 1;
    }
    const char *name = img_args_operand(args, 0);
    g_autoptr(BlockNode) node =
        img_open_or_report(args, name, img_args_value(args, "f"), chosen ? BLOCK_OPEN_WRITABLE : 0);
    if (!node || !chosen) {
        return node ? list(node, is_json) : 1;
    }
    GError *error = NULL;
    const char *which = img_args_value(args, actions[chosen - 1].option);
    if (!actions[chosen - 1].act(node, which, &error)) {
        g_prefix_error(&error, "Could not %s snapshot '%s': ", actions[chosen - 1].verb, which);
        return img_fail(error);
    }
    return 0;
}
