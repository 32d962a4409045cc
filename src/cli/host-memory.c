/* Commands about the host's memory and power.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/groups.h"
#include "cli/tools.h"

#include "gbase/error.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The host's capabilities, parsed: cells and page sizes. */
static XmlDoc *capabilities(CliSession *session, GError **error)
{
    RemoteConnectGetCapabilitiesRet ret;
    if (!remote_connect_get_capabilities(cli_client(session), &session->arena, &ret, error)) {
        cli_fail(error, "unable to get node capabilities");
        return NULL;
    }
    return xml_doc_parse(ret.capabilities, "capabilities", error);
}

static xmlNode *first_cell(const XmlDoc *doc)
{
    xmlNode *host = xml_child(xml_doc_root(doc), "host");
    xmlNode *topology = host ? xml_child(host, "topology") : NULL;
    xmlNode *cells = topology ? xml_child(topology, "cells") : NULL;
    return cells ? xml_child(cells, "cell") : NULL;
}

static int cell_number(const xmlNode *cell)
{
    g_autofree char *id = xml_attr(cell, "id");
    return id ? (int)g_ascii_strtoll(id, NULL, 10) : 0;
}

static const CliOption freecell_options[] = {
    { "cellno", CLI_NUMBER, 0, CLI_VALUE_ANY, "a NUMA cell" },
    { "all", CLI_FLAG, 0, CLI_VALUE_ANY, "of all cells" },
    CLI_OPTIONS_END,
};

static bool cell_free(CliSession *session, int cell, guint64 *out_kib, GError **error)
{
    RemoteNodeGetCellsFreeMemoryArgs call = { cell, 1 };
    RemoteNodeGetCellsFreeMemoryRet ret;
    bool ok =
        remote_node_get_cells_free_memory(cli_client(session), &call, &session->arena, &ret, error);
    *out_kib = ok && ret.n_cells > 0 ? ret.cells[0] / 1024 : 0;
    return ok;
}

static bool show_all_cells(CliSession *session, GError **error)
{
    static const char *const headings[] = { "Cell", "Free KiB", NULL };
    guint64 total = 0;
    g_autoptr(XmlDoc) doc = capabilities(session, error);
    if (!doc) {
        return false;
    }
    g_autoptr(CliTable) table = cli_table_new(headings);
    for (xmlNode *cell = first_cell(doc); cell; cell = xml_next(cell)) {
        guint64 kib;
        if (!cell_free(session, cell_number(cell), &kib, error)) {
            return cli_fail(error, "failed to get free memory for NUMA node number: %d",
                            cell_number(cell));
        }
        g_autofree char *number = g_strdup_printf("%d", cell_number(cell));
        g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, kib);
        cli_table_add(table, number, text);
        total += kib;
        if (!session->is_json) {
            printf("%5d: %10" G_GUINT64_FORMAT " KiB\n", cell_number(cell), kib);
        }
    }
    if (session->is_json) {
        cli_show_table(session, table);
    } else {
        printf("--------------------\n%5s: %10" G_GUINT64_FORMAT " KiB\n", "Total", total);
    }
    return true;
}

static bool run_freecell(CliSession *session, const CliArgs *args, GError **error)
{
    gint64 cell = -1;
    guint64 kib;
    if (!cli_args_exclusive(args, "all", "cellno", error) ||
        !cli_args_int(args, "cellno", 0, G_MAXINT32, &cell, error)) {
        return false;
    }
    if (cli_args_flag(args, "all")) {
        return show_all_cells(session, error);
    }
    if (cell >= 0) {
        if (!cell_free(session, (int)cell, &kib, error)) {
            return false;
        }
        if (session->is_json) {
            cli_print(session, "%" G_GUINT64_FORMAT, kib);
        } else {
            cli_print(session, "%d: %" G_GUINT64_FORMAT " KiB", (int)cell, kib);
        }
        return true;
    }
    RemoteNodeGetFreeMemoryRet ret;
    if (!remote_node_get_free_memory(cli_client(session), &session->arena, &ret, error)) {
        return false;
    }
    g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, (guint64)ret.free_mem / 1024);
    if (session->is_json) {
        cli_print(session, "%s", text);
    } else {
        cli_print(session, "Total: %s KiB", text);
    }
    return true;
}

static const CliOption freepages_options[] = {
    { "cellno", CLI_NUMBER, 0, CLI_VALUE_ANY, "a NUMA cell" },
    { "pagesize", CLI_NUMBER, 0, CLI_VALUE_ANY, "KiB, or with a suffix" },
    { "all", CLI_FLAG, 0, CLI_VALUE_ANY, "of all cells and sizes" },
    CLI_OPTIONS_END,
};

static bool free_pages(CliSession *session, int cell, const GArray *sizes, GPtrArray *records,
                       bool has_heading, GError **error)
{
    RemoteNodeGetFreePagesArgs call = { (uint32_t *)sizes->data, sizes->len, cell, 1, 0 };
    RemoteNodeGetFreePagesRet ret;
    if (!remote_node_get_free_pages(cli_client(session), &call, &session->arena, &ret, error)) {
        return false;
    }
    CliRecord *record = cli_record_new(0);
    cli_record_add(record, "cell", "%d", cell);
    g_ptr_array_add(records, record);
    if (has_heading && !session->is_json) {
        printf("Node %d:\n", cell);
    }
    for (uint32_t i = 0; i < ret.n_counts && i < sizes->len; i++) {
        uint32_t size = g_array_index(sizes, uint32_t, i);
        g_autofree char *name = g_strdup_printf("%uKiB", size);
        cli_record_add(record, name, "%" PRIu64, ret.counts[i]);
        if (!session->is_json) {
            printf("%s: %" PRIu64 "\n", name, ret.counts[i]);
        }
    }
    if (has_heading && !session->is_json) {
        putchar('\n');
    }
    return true;
}

static int compare_sizes(gconstpointer a, gconstpointer b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* The page sizes (KiB) of the host's CPU. */
static GArray *page_sizes(const XmlDoc *doc)
{
    GArray *sizes = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    xmlNode *host = xml_child(xml_doc_root(doc), "host");
    xmlNode *cpu = host ? xml_child(host, "cpu") : NULL;
    xmlNode *cell = first_cell(doc);
    for (xmlNode *at = cpu ? xml_first(cpu) : NULL; at; at = xml_next(at)) {
        g_autofree char *size = xml_is(at, "pages") ? xml_attr(at, "size") : NULL;
        uint32_t kib = size ? (uint32_t)g_ascii_strtoull(size, NULL, 10) : 0;
        if (kib) {
            g_array_append_val(sizes, kib);
        }
    }
    for (xmlNode *at = cell && sizes->len == 0 ? xml_first(cell) : NULL; at; at = xml_next(at)) {
        g_autofree char *size = xml_is(at, "pages") ? xml_attr(at, "size") : NULL;
        uint32_t kib = size ? (uint32_t)g_ascii_strtoull(size, NULL, 10) : 0;
        if (kib) {
            g_array_append_val(sizes, kib);
        }
    }
    g_array_sort(sizes, compare_sizes);
    return sizes;
}

static bool run_freepages(CliSession *session, const CliArgs *args, GError **error)
{
    gint64 cell = -1;
    guint64 size = 0;
    bool ok = true;
    if (!cli_args_exclusive(args, "all", "cellno", error) ||
        !cli_args_int(args, "cellno", -1, G_MAXINT32, &cell, error) ||
        !cli_args_size(args, "pagesize", 1024, &size, error)) {
        return false;
    }
    g_autoptr(GPtrArray) records = g_ptr_array_new_with_free_func((GDestroyNotify)cli_record_free);
    g_autoptr(GArray) sizes = NULL;
    uint32_t kib = (uint32_t)(size / 1024);
    if (cli_args_flag(args, "all")) {
        g_autoptr(XmlDoc) doc = capabilities(session, error);
        if (!doc) {
            return false;
        }
        sizes = page_sizes(doc);
        if (kib) {
            g_array_set_size(sizes, 0);
            g_array_append_val(sizes, kib);
        }
        for (xmlNode *at = first_cell(doc); at && ok; at = xml_next(at)) {
            ok = free_pages(session, cell_number(at), sizes, records, true, error);
        }
    } else if (cell < 0 || !cli_args_string(args, "cellno")) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "missing cellno argument");
        return false;
    } else if (!kib) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "missing pagesize argument");
        return false;
    } else {
        sizes = g_array_new(FALSE, FALSE, sizeof(uint32_t));
        g_array_append_val(sizes, kib);
        ok = free_pages(session, (int)cell, sizes, records, false, error);
    }
    if (ok && session->is_json) {
        cli_records_print_json((CliRecord *const *)records->pdata, records->len, stdout);
    }
    return ok;
}

static const CliOption allocpages_options[] = {
    { "pagesize", CLI_NUMBER, CLI_REQUIRED, CLI_VALUE_ANY, "KiB, or with a suffix" },
    { "pagecount", CLI_NUMBER, CLI_REQUIRED, CLI_VALUE_ANY, "how many" },
    { "cellno", CLI_NUMBER, 0, CLI_VALUE_ANY, "a NUMA cell" },
    { "add", CLI_FLAG, 0, CLI_VALUE_ANY, "so many more" },
    { "all", CLI_FLAG, 0, CLI_VALUE_ANY, "on all cells" },
    CLI_OPTIONS_END,
};

static bool run_allocpages(CliSession *session, const CliArgs *args, GError **error)
{
    guint64 size = 0;
    gint64 count = 0, cell = -1;
    if (!cli_args_exclusive(args, "all", "cellno", error) ||
        !cli_args_size(args, "pagesize", 1024, &size, error) ||
        !cli_args_int(args, "pagecount", 0, G_MAXINT64, &count, error) ||
        !cli_args_int(args, "cellno", -1, G_MAXINT32, &cell, error)) {
        return false;
    }
    uint32_t kib = (uint32_t)(size / 1024);
    uint64_t pages = (uint64_t)count;
    unsigned cells = 1;
    if (cli_args_flag(args, "all")) {
        g_autoptr(XmlDoc) doc = capabilities(session, error);
        if (!doc) {
            return false;
        }
        cells = 0;
        for (xmlNode *at = first_cell(doc); at; at = xml_next(at)) {
            cells++;
        }
        cell = 0;
    }
    RemoteNodeAllocPagesArgs call = {
        .page_sizes = &kib,
        .n_page_sizes = 1,
        .page_counts = &pages,
        .n_page_counts = 1,
        .start_cell = (int32_t)cell,
        .cell_count = cells,
        .flags = cli_args_flag(args, "add") ? 0 : 1, /* set */
    };
    RemoteNodeAllocPagesRet ret;
    return remote_node_alloc_pages(cli_client(session), &call, &session->arena, &ret, error);
}

static const CliOption node_memory_tune_options[] = {
    { "shm-pages-to-scan", CLI_NUMBER, 0, CLI_VALUE_ANY, "pages in each round" },
    { "shm-sleep-millisecs", CLI_NUMBER, 0, CLI_VALUE_ANY, "ms between rounds" },
    { "shm-merge-across-nodes", CLI_NUMBER, 0, CLI_VALUE_ANY, "1: over NUMA cells too" },
    CLI_OPTIONS_END,
};

static bool run_memory_tune(CliSession *session, const CliArgs *args, GError **error)
{
    static const char *const names[][2] = {
        { "shm-pages-to-scan", "shm_pages_to_scan" },
        { "shm-sleep-millisecs", "shm_sleep_millisecs" },
        { "shm-merge-across-nodes", "shm_merge_across_nodes" },
    };
    TypedParam params[G_N_ELEMENTS(names)];
    uint32_t count = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        gint64 value = 0;
        if (!cli_args_int(args, names[i][0], 0, G_MAXUINT32, &value, error)) {
            return false;
        }
        if (cli_args_string(args, names[i][0])) {
            params[count++] = (TypedParam){ .field = names[i][1],
                                            .type = TYPED_PARAM_UINT,
                                            .value.ui = (uint32_t)value };
        }
    }
    if (count > 0) {
        RemoteNodeSetMemoryParametersArgs set = { params, count, 0 };
        return remote_node_set_memory_parameters(cli_client(session), &set, error) ||
               cli_fail(error, "Unable to change memory parameters");
    }
    RemoteNodeGetMemoryParametersArgs call = { 0, 0 };
    RemoteNodeGetMemoryParametersRet ret;
    if (!remote_node_get_memory_parameters(cli_client(session), &call, &session->arena, &ret,
                                           error)) {
        return cli_fail(error, "Unable to get number of memory parameters");
    }
    call.nparams = ret.nparams;
    if (call.nparams > 0 && !remote_node_get_memory_parameters(cli_client(session), &call,
                                                               &session->arena, &ret, error)) {
        return cli_fail(error, "Unable to get memory parameters");
    }
    g_autoptr(CliRecord) record = cli_record_new_plain("\t");
    for (uint32_t i = 0; i < ret.n_params; i++) {
        g_autofree char *text = cli_param_text(&ret.params[i]);
        g_autofree char *name = g_strdup_printf("%-15s", ret.params[i].field);
        cli_record_add(record, session->is_json ? ret.params[i].field : name, "%s", text);
    }
    if (!session->is_json) {
        printf("Shared memory:\n");
    }
    cli_show_record(session, record);
    return true;
}

/* Power */

static const CliOption nodesuspend_options[] = {
    { "target", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ANY, "mem, disk or hybrid" },
    { "duration", CLI_NUMBER, CLI_REQUIRED, CLI_VALUE_ANY, "seconds until it wakes up" },
    CLI_OPTIONS_END,
};

static bool run_nodesuspend(CliSession *session, const CliArgs *args, GError **error)
{
    static const char *const targets[] = { "mem", "disk", "hybrid", NULL };
    const char *target = cli_args_string(args, "target");
    gint64 duration = 0;
    if (!cli_args_int(args, "duration", 0, G_MAXINT64, &duration, error)) {
        return false;
    }
    if (cli_word_index(target, targets) < 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "Invalid target");
        return false;
    }
    RemoteNodeSuspendForDurationArgs call = { (uint32_t)cli_word_index(target, targets),
                                              (uint64_t)duration, 0 };
    return remote_node_suspend_for_duration(cli_client(session), &call, error) ||
           cli_fail(error, "The host was not suspended");
}

static bool run_sysinfo(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteConnectGetSysinfoArgs call = { 0 };
    RemoteConnectGetSysinfoRet ret;
    if (!remote_connect_get_sysinfo(cli_client(session), &call, &session->arena, &ret, error)) {
        return cli_fail(error, "failed to get sysinfo");
    }
    cli_print_open(session, "%s", ret.sysinfo);
    return true;
}

const CliCommand cli_host_memory_commands[] = {
    { "allocpages", "reserve or give back huge pages of the host", NULL, allocpages_options, 0,
      run_allocpages },
    { "freecell", "free memory of the host", NULL, freecell_options, 0, run_freecell },
    { "freepages", "free pages of the host by size", NULL, freepages_options, 0, run_freepages },
    { "node-memory-tune", "show or change how the host merges equal pages", NULL,
      node_memory_tune_options, 0, run_memory_tune },
    { "nodesuspend", "let the host sleep", NULL, nodesuspend_options, 0, run_nodesuspend },
    { "sysinfo", "what the host's firmware says of it, as XML", NULL, NULL, 0, run_sysinfo },
    { NULL },
};
