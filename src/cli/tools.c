/* Flags, typed parameters, CPU maps.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/tools.h"

#include "conf/cpuset.h"
#include "gbase/error.h"

#include <string.h>

const CliOption cli_domain_only[] = { CLI_DOMAIN_OPTION, CLI_OPTIONS_END };

uint32_t cli_args_bits(const CliArgs *args, const CliBit *bits)
{
    uint32_t flags = 0;
    for (; bits->option; bits++) {
        flags |= cli_args_flag(args, bits->option) ? bits->bit : 0;
    }
    return flags;
}

char *cli_param_text(const TypedParam *param)
{
    switch (param->type) {
    case TYPED_PARAM_INT:
        return g_strdup_printf("%d", param->value.i);
    case TYPED_PARAM_UINT:
        return g_strdup_printf("%u", param->value.ui);
    case TYPED_PARAM_LLONG:
        return g_strdup_printf("%" G_GINT64_FORMAT, param->value.l);
    case TYPED_PARAM_ULLONG:
        return g_strdup_printf("%" G_GUINT64_FORMAT, param->value.ul);
    case TYPED_PARAM_DOUBLE:
        return g_strdup_printf("%f", param->value.d);
    case TYPED_PARAM_BOOLEAN:
        return g_strdup(param->value.b ? "yes" : "no");
    default:
        return g_strdup(param->value.s);
    }
}

const TypedParam *cli_param_find(const TypedParam *params, uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(params[i].field, name) == 0) {
            return &params[i];
        }
    }
    return NULL;
}

guint64 cli_param_number(const TypedParam *param, guint64 fallback)
{
    switch (param ? param->type : TYPED_PARAM_STRING) {
    case TYPED_PARAM_INT:
        return (guint64)param->value.i;
    case TYPED_PARAM_UINT:
        return param->value.ui;
    case TYPED_PARAM_LLONG:
        return (guint64)param->value.l;
    case TYPED_PARAM_ULLONG:
        return param->value.ul;
    default:
        return fallback;
    }
}

unsigned cli_host_cpus(CliSession *session, GError **error)
{
    RemoteNodeGetCpuMapArgs call = { 0 };
    RemoteNodeGetCpuMapRet map;
    RemoteNodeGetInfoRet info;
    if (remote_node_get_cpu_map(cli_client(session), &call, &session->arena, &map, NULL) &&
        map.ret > 0) {
        return (unsigned)map.ret;
    }
    if (!remote_node_get_info(cli_client(session), &session->arena, &info, error)) {
        return 0;
    }
    return (unsigned)(info.nodes * info.sockets * info.cores * info.threads);
}

char *cli_cpumap_text(const uint8_t *map, size_t size, unsigned cpus)
{
    CpuSet set = { { 0 } };
    for (unsigned cpu = 0; cpu < cpus && cpu / 8 < size; cpu++) {
        if (map[cpu / 8] >> (cpu % 8) & 1) {
            cpuset_add(&set, cpu);
        }
    }
    return cpuset_format(&set);
}

bool cli_cpumap_parse(CliSession *session, const char *text, uint8_t **out_map, uint32_t *out_size,
                      GError **error)
{
    CpuSet set = { { 0 } };
    unsigned cpus = cli_host_cpus(session, error);
    if (cpus == 0) {
        return false;
    }
    bool is_all = strcmp(text, "r") == 0;
    if (!is_all && (!cpuset_parse(text, &set) || cpuset_count(&set) == 0)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "cpulist: '%s' is no list of CPUs; write it as 0-3,^2, or r for all", text);
        return false;
    }
    *out_size = (cpus + 7) / 8;
    *out_map = arena_alloc(&session->arena, *out_size);
    if (!*out_map) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NO_MEMORY, "out of memory");
        return false;
    }
    for (unsigned cpu = 0; cpu < cpus; cpu++) {
        (*out_map)[cpu / 8] |= is_all || cpuset_has(&set, cpu) ? (uint8_t)(1 << (cpu % 8)) : 0;
    }
    return true;
}

int cli_word_index(const char *word, const char *const *words)
{
    for (int i = 0; words[i]; i++) {
        if (strcmp(words[i], word) == 0) {
            return i;
        }
    }
    return -1;
}
