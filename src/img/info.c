/* lodge-img info. SPDX-License-Identifier: GPL-2.0-or-later */
#include "img/commands.h"
#include "img/common.h"
#include "img/json-out.h"
#include "img/snapshot-text.h"
#include "img/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const ImgOption img_info_options[] = {
    IMG_OPTION_FORMAT, { 0, "backing-chain", NULL, "the backing files too" },
    IMG_OPTION_OUTPUT, IMG_OPTION_SHARE,
    IMG_OPTION_OBJECT, IMG_OPTION_IMAGE_OPTS,
    IMG_OPTIONS_END,
};

#define CHAIN_MAX 200 /* layers */

static void print_facts(const GArray *facts, unsigned depth);

/* The text of an object that is nothing else; NULL: it has fields. */
static const char *bare_text(const GArray *facts)
{
    const BlockFact *fact = facts->len ? &g_array_index(facts, BlockFact, 0) : NULL;
    return fact && !fact->name ? fact->text : NULL;
}

static void print_list(const GPtrArray *list, unsigned depth)
{
    for (unsigned i = 0; i < list->len; i++) {
        const char *text = bare_text(list->pdata[i]);
        printf("%*s[%u]:%s%s\n", (int)depth * 4, "", i, text ? " " : "", text ? text : "");
        if (!text) {
            print_facts(list->pdata[i], depth + 1);
        }
    }
}

static void print_facts(const GArray *facts, unsigned depth)
{
    for (unsigned i = 0; i < facts->len; i++) {
        const BlockFact *fact = &g_array_index(facts, BlockFact, i);
        g_autofree char *label = g_strdelimit(g_strdup(fact->name), "-", ' ');
        printf("%*s%s:", (int)depth * 4, "", label);
        switch (fact->kind) {
        case BLOCK_FACT_TEXT:
            printf(" %s\n", fact->text);
            break;
        case BLOCK_FACT_NUMBER:
            printf(" %" PRId64 "\n", fact->number);
            break;
        case BLOCK_FACT_BOOL:
            printf(" %s\n", fact->number ? "true" : "false");
            break;
        case BLOCK_FACT_OBJECT:
            putchar('\n');
            print_facts(fact->list->pdata[0], depth + 1);
            break;
        case BLOCK_FACT_LIST:
            putchar('\n');
            print_list(fact->list, depth + 1);
        }
    }
}

#define USAGE_UNKNOWN UINT64_MAX

static void print_human(BlockNode *node, const BlockInfo *info, uint64_t disk_usage)
{
    g_autofree char *size = text_size(info->virtual_size);
    g_autofree char *usage =
        disk_usage == USAGE_UNKNOWN ? g_strdup("unavailable") : text_size(disk_usage);
    printf("image: %s\nfile format: %s\nvirtual size: %s (%" PRIu64 " bytes)\ndisk size: %s\n",
           block_node_filename(node), info->format, size, info->virtual_size, usage);
    if (info->is_encrypted) {
        printf("encrypted: yes\n");
    }
    if (info->cluster_size) {
        printf("cluster_size: %" PRIu64 "\n", info->cluster_size);
    }
    if (info->is_dirty) {
        printf("cleanly shut down: no\n");
    }
    if (info->backing_filename) {
        printf("backing file: %s", info->backing_filename);
        if (info->full_backing_filename &&
            strcmp(info->full_backing_filename, info->backing_filename) != 0) {
            printf(" (actual path: %s)", info->full_backing_filename);
        }
        putchar('\n');
        if (info->backing_format) {
            printf("backing file format: %s\n", info->backing_format);
        }
    }
    if (info->snapshots->len) {
        img_print_snapshots(info->snapshots);
    }
    if (info->facts->len) {
        printf("Format specific information:\n");
        print_facts(info->facts, 1);
    }
}

static void put_facts(JsonOut *json, const GArray *facts);

static void put_item(JsonOut *json, const GArray *facts)
{
    const char *text = bare_text(facts);
    if (text) {
        json_out_string(json, NULL, text);
        return;
    }
    json_out_open(json, NULL, '{');
    put_facts(json, facts);
    json_out_close(json, '}');
}

static void put_facts(JsonOut *json, const GArray *facts)
{
    for (unsigned i = 0; i < facts->len; i++) {
        const BlockFact *fact = &g_array_index(facts, BlockFact, i);
        switch (fact->kind) {
        case BLOCK_FACT_TEXT:
            json_out_string(json, fact->name, fact->text);
            break;
        case BLOCK_FACT_NUMBER:
            json_out_int(json, fact->name, fact->number);
            break;
        case BLOCK_FACT_BOOL:
            json_out_bool(json, fact->name, fact->number);
            break;
        case BLOCK_FACT_OBJECT:
            json_out_open(json, fact->name, '{');
            put_facts(json, fact->list->pdata[0]);
            json_out_close(json, '}');
            break;
        case BLOCK_FACT_LIST:
            json_out_open(json, fact->name, '[');
            for (unsigned k = 0; k < fact->list->len; k++) {
                put_item(json, fact->list->pdata[k]);
            }
            json_out_close(json, ']');
        }
    }
}

static void put_json(JsonOut *json, BlockNode *node, const BlockInfo *info, uint64_t disk_usage)
{
    json_out_open(json, NULL, '{');
    if (info->backing_format) {
        json_out_string(json, "backing-filename-format", info->backing_format);
    }
    if (info->snapshots->len) {
        img_put_snapshots(json, "snapshots", info->snapshots);
    }
    json_out_uint(json, "virtual-size", info->virtual_size);
    json_out_string(json, "filename", block_node_filename(node));
    if (info->cluster_size) {
        json_out_uint(json, "cluster-size", info->cluster_size);
    }
    if (info->is_encrypted) {
        json_out_bool(json, "encrypted", true);
    }
    json_out_string(json, "format", info->format);
    if (disk_usage != USAGE_UNKNOWN) {
        json_out_uint(json, "actual-size", disk_usage);
    }
    if (info->facts->len) {
        json_out_open(json, "format-specific", '{');
        json_out_string(json, "type", info->format);
        json_out_open(json, "data", '{');
        put_facts(json, info->facts);
        json_out_close(json, '}');
        json_out_close(json, '}');
    }
    if (info->backing_filename) {
        if (info->full_backing_filename) {
            json_out_string(json, "full-backing-filename", info->full_backing_filename);
        }
        json_out_string(json, "backing-filename", info->backing_filename);
    }
    json_out_bool(json, "dirty-flag", info->is_dirty);
    json_out_close(json, '}');
}

/* Prints one layer. @out_next: the full name of its backing file (transfer full) or NULL. */
static bool show_layer(const ImgArgs *args, const char *name, const char *format, JsonOut *json,
                       bool is_first, char **out_next, char **out_format, GError **error)
{
    BlockInfo info = { 0 };
    uint64_t usage = 0;
    g_autoptr(BlockNode) node =
        img_open(args, name, format, BLOCK_OPEN_NO_BACKING | BLOCK_OPEN_NO_DATA, error);
    if (!node || !block_get_info(node, &info, error)) {
        return false;
    }
    if (block_node_disk_usage(node, &usage) < 0) {
        usage = USAGE_UNKNOWN;
    }
    if (json) {
        put_json(json, node, &info, usage);
    } else {
        fputs(is_first ? "" : "\n", stdout);
        print_human(node, &info, usage);
    }
    *out_next = g_strdup(info.full_backing_filename);
    *out_format = g_strdup(info.backing_format);
    block_info_clear(&info);
    return true;
}

/* Whether the chain came back to @name, which is then noted. */
static bool is_seen(GPtrArray *names, const char *name)
{
    for (unsigned i = 0; i < names->len; i++) {
        if (strcmp(names->pdata[i], name) == 0) {
            return true;
        }
    }
    g_ptr_array_add(names, g_strdup(name));
    return false;
}

static int show_chain(const ImgArgs *args, JsonOut *json, bool is_chain)
{
    GError *error = NULL;
    g_autofree char *name = g_strdup(img_args_operand(args, 0));
    g_autofree char *format = g_strdup(img_args_value(args, "f"));
    g_autoptr(GPtrArray) seen = g_ptr_array_new_with_free_func(g_free);
    for (unsigned layer = 0; name; layer++) {
        char *next = NULL, *next_format = NULL;
        if (layer >= CHAIN_MAX || is_seen(seen, name)) {
            img_error("Backing file '%s' creates an infinite loop.", name);
            return 1;
        }
        if (!show_layer(args, name, format, json, layer == 0, &next, &next_format, &error)) {
            return img_fail(error);
        }
        g_free(name);
        g_free(format);
        name = next;
        format = next_format;
        if (!is_chain) {
            break;
        }
    }
    return 0;
}

int img_info(const ImgArgs *args)
{
    bool is_json;
    if (!img_common_options(args) || !img_args_output(args, &is_json) ||
        !img_args_count(args, 1, 1, "one image file name")) {
        return 1;
    }
    g_autoptr(JsonOut) json = is_json ? json_out_new() : NULL;
    bool is_chain = img_args_flag(args, "backing-chain");
    if (json && is_chain) {
        json_out_open(json, NULL, '[');
    }
    int status = show_chain(args, json, is_chain);
    if (json && is_chain) {
        json_out_close(json, ']');
    }
    if (json && status == 0) {
        json_out_print(g_steal_pointer(&json));
    }
    return status;
}
