/* VMDK descriptors. SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/vmdk/descriptor.h"

#include "gbase/error.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void extent_line_clear(void *line)
{
    g_free(((VmdkExtentLine *)line)->type);
    g_free(((VmdkExtentLine *)line)->filename);
}

void vmdk_descriptor_clear(VmdkDescriptor *descriptor)
{
    g_clear_pointer(&descriptor->create_type, g_free);
    g_clear_pointer(&descriptor->parent_hint, g_free);
    g_clear_pointer(&descriptor->extents, g_array_unref);
}

/* "key" or "key" in quotes behind '='. */
static char *value_of(const char *text)
{
    g_autofree char *value = g_strstrip(g_strdup(text));
    size_t length = strlen(value);
    if (length >= 2 && value[0] == '"' && value[length - 1] == '"') {
        return g_strndup(value + 1, length - 2);
    }
    return g_steal_pointer(&value);
}

static bool is_access(const char *word)
{
    return strcmp(word, "RW") == 0 || strcmp(word, "RDONLY") == 0 || strcmp(word, "NOACCESS") == 0;
}

static bool parse_u64(const char **text, uint64_t *out_value)
{
    char *end;
    while (**text == ' ' || **text == '\t') {
        ++*text;
    }
    if (!g_ascii_isdigit(**text)) {
        return false;
    }
    *out_value = g_ascii_strtoull(*text, &end, 10);
    *text = end;
    return *out_value <= INT64_MAX / 512;
}

static char *parse_word(const char **text)
{
    while (**text == ' ' || **text == '\t') {
        ++*text;
    }
    const char *start = *text;
    while (g_ascii_isgraph(**text)) {
        ++*text;
    }
    return *text > start ? g_strndup(start, (size_t)(*text - start)) : NULL;
}

/* access size type ["file" [offset]] */
static bool parse_extent(const char *text, VmdkExtentLine *line)
{
    g_autofree char *access = parse_word(&text);
    if (!access || !is_access(access) || !parse_u64(&text, &line->sectors)) {
        return false;
    }
    line->type = parse_word(&text);
    const char *open = strchr(text, '"'), *close = open ? strchr(open + 1, '"') : NULL;
    if (close) {
        line->filename = g_strndup(open + 1, (size_t)(close - open - 1));
        text = close + 1;
        if (*text && !parse_u64(&text, &line->flat_sectors)) {
            return strspn(text, " \t") == strlen(text);
        }
    }
    return line->type && (line->filename || strcmp(line->type, "ZERO") == 0);
}

static bool is_extent_line(const char *line)
{
    g_autofree char *word = parse_word(&line);
    return word && is_access(word);
}

static bool add_extent(VmdkDescriptor *descriptor, const char *text, GError **error)
{
    VmdkExtentLine line = { 0 };
    if (descriptor->extents->len >= VMDK_EXTENTS_MAX) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT, "more than %d VMDK extents",
                    VMDK_EXTENTS_MAX);
        return false;
    }
    if (!parse_extent(text, &line)) {
        extent_line_clear(&line);
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT, "Invalid extent line: %.200s", text);
        return false;
    }
    g_array_append_val(descriptor->extents, line);
    return true;
}

static bool parse_line(VmdkDescriptor *descriptor, const char *line, GError **error)
{
    if (is_extent_line(line)) {
        return add_extent(descriptor, line, error);
    }
    const char *equals = strchr(line, '=');
    if (line[0] == '#' || !equals) {
        return true;
    }
    g_autofree char *key = g_strstrip(g_strndup(line, (size_t)(equals - line)));
    g_autofree char *value = value_of(equals + 1);
    if (strcmp(key, "CID") == 0) {
        descriptor->cid = (uint32_t)strtoul(value, NULL, 16);
    } else if (strcmp(key, "parentCID") == 0) {
        descriptor->parent_cid = (uint32_t)strtoul(value, NULL, 16);
    } else if (strcmp(key, "createType") == 0) {
        g_free(descriptor->create_type);
        descriptor->create_type = g_steal_pointer(&value);
    } else if (strcmp(key, "parentFileNameHint") == 0) {
        g_free(descriptor->parent_hint);
        descriptor->parent_hint = g_steal_pointer(&value);
    }
    return true;
}

bool vmdk_descriptor_parse(const char *text, VmdkDescriptor *out_descriptor, GError **error)
{
    VmdkDescriptor descriptor = { .parent_cid = VMDK_NO_PARENT };
    descriptor.extents = g_array_new(FALSE, TRUE, sizeof(VmdkExtentLine));
    g_array_set_clear_func(descriptor.extents, extent_line_clear);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (unsigned i = 0; lines[i]; i++) {
        if (!parse_line(&descriptor, g_strchomp(lines[i]), error)) {
            vmdk_descriptor_clear(&descriptor);
            return false;
        }
    }
    if (!descriptor.create_type) {
        vmdk_descriptor_clear(&descriptor);
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT, "invalid VMDK image descriptor");
        return false;
    }
    *out_descriptor = descriptor;
    return true;
}

static void format_extents(GString *text, const VmdkDescriptor *descriptor)
{
    g_string_append(text, "\n# Extent description\n");
    for (unsigned i = 0; i < descriptor->extents->len; i++) {
        const VmdkExtentLine *line = &g_array_index(descriptor->extents, VmdkExtentLine, i);
        g_string_append_printf(text, "RW %" PRIu64 " %s \"%s\"", line->sectors, line->type,
                               line->filename);
        g_string_append(text, strcmp(line->type, "FLAT") == 0 ? " 0\n" : "\n");
    }
}

char *vmdk_descriptor_format(const VmdkDescriptor *descriptor, const VmdkDisk *disk)
{
    GString *text = g_string_new("# Disk DescriptorFile\nversion=1\n");
    unsigned heads = strcmp(disk->adapter, "ide") == 0 ? 16 : 255;
    g_string_append_printf(text, "CID=%08" PRIx32 "\nparentCID=%08" PRIx32 "\ncreateType=\"%s\"\n",
                           descriptor->cid, descriptor->parent_cid, descriptor->create_type);
    if (descriptor->parent_hint) {
        g_string_append_printf(text, "parentFileNameHint=\"%s\"\n", descriptor->parent_hint);
    }
    format_extents(text, descriptor);
    g_string_append_printf(text,
                           "\n# The Disk Data Base\n#DDB\n\n"
                           "ddb.virtualHWVersion = \"%s\"\n"
                           "ddb.geometry.cylinders = \"%" PRIu64 "\"\n"
                           "ddb.geometry.heads = \"%u\"\n"
                           "ddb.geometry.sectors = \"63\"\n"
                           "ddb.adapterType = \"%s\"\n"
                           "ddb.toolsVersion = \"%s\"\n",
                           disk->hardware_version, disk->sectors / (63 * heads), heads,
                           disk->adapter, disk->tools_version);
    return g_string_free(text, FALSE);
}

char *vmdk_descriptor_find_cid(char *text)
{
    char *at = g_str_has_prefix(text, "CID=") ? text : strstr(text, "\nCID=");
    if (!at) {
        return NULL;
    }
    at = strchr(at, '=') + 1;
    for (unsigned i = 0; i < 8; i++) {
        if (!g_ascii_isxdigit(at[i])) {
            return NULL;
        }
    }
    return at;
}
