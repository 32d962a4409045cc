/* Lists of domains.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/groups.h"
#include "cli/tools.h"

#include "gbase/error.h"
#include "gbase/uuid.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Lists */

static const CliOption list_options[] = {
    { "inactive", CLI_FLAG, 0, CLI_VALUE_ANY, "those that do not run" },
    { "all", CLI_FLAG, 0, CLI_VALUE_ANY, "those that run and those that do not" },
    { "transient", CLI_FLAG, 0, CLI_VALUE_ANY, "those without a definition" },
    { "persistent", CLI_FLAG, 0, CLI_VALUE_ANY, "those with a definition" },
    { "with-snapshot", CLI_FLAG, 0, CLI_VALUE_ANY, "those with snapshots" },
    { "without-snapshot", CLI_FLAG, 0, CLI_VALUE_ANY, "those without snapshots" },
    { "with-checkpoint", CLI_FLAG, 0, CLI_VALUE_ANY, "those with checkpoints" },
    { "without-checkpoint", CLI_FLAG, 0, CLI_VALUE_ANY, "those without checkpoints" },
    { "state-running", CLI_FLAG, 0, CLI_VALUE_ANY, "those that run" },
    { "state-paused", CLI_FLAG, 0, CLI_VALUE_ANY, "those that are paused" },
    { "state-shutoff", CLI_FLAG, 0, CLI_VALUE_ANY, "those that are off" },
    { "state-other", CLI_FLAG, 0, CLI_VALUE_ANY, "those in another state" },
    { "autostart", CLI_FLAG, 0, CLI_VALUE_ANY, "those that start with the host" },
    { "no-autostart", CLI_FLAG, 0, CLI_VALUE_ANY, "those that do not" },
    { "with-managed-save", CLI_FLAG, 0, CLI_VALUE_ANY, "those with a saved state" },
    { "without-managed-save", CLI_FLAG, 0, CLI_VALUE_ANY, "those without" },
    { "uuid", CLI_FLAG, 0, CLI_VALUE_ANY, "print UUIDs, a line each" },
    { "name", CLI_FLAG, 0, CLI_VALUE_ANY, "print names, a line each" },
    { "id", CLI_FLAG, 0, CLI_VALUE_ANY, "print ids, a line each" },
    { "table", CLI_FLAG, 0, CLI_VALUE_ANY, "print a table (the default)" },
    { "managed-save", CLI_FLAG, 0, CLI_VALUE_ANY, "show which have a saved state" },
    { "title", CLI_FLAG, 0, CLI_VALUE_ANY, "with titles" },
    CLI_OPTIONS_END,
};

static uint32_t list_flags(const CliArgs *args)
{
    static const struct {
        const char *option;
        uint32_t bit;
    } bits[] = {
        { "persistent", 4 },          { "transient", 8 },
        { "state-running", 16 },      { "state-paused", 32 },
        { "state-shutoff", 64 },      { "state-other", 128 },
        { "with-managed-save", 256 }, { "without-managed-save", 512 },
        { "autostart", 1024 },        { "no-autostart", 2048 },
        { "with-snapshot", 4096 },    { "without-snapshot", 8192 },
        { "with-checkpoint", 16384 }, { "without-checkpoint", 32768 },
    };
    uint32_t flags = cli_args_flag(args, "all") ? 1 | 2 : cli_args_flag(args, "inactive") ? 2 : 1;
    for (unsigned i = 0; i < G_N_ELEMENTS(bits); i++) {
        flags |= cli_args_flag(args, bits[i].option) ? bits[i].bit : 0;
    }
    return flags;
}

/* Running ones by id, then the others by name. */
static int compare_domains(const void *a, const void *b)
{
    const RemoteDomain *x = a, *y = b;
    if (x->id != y->id) {
        return x->id < 0 ? 1 : y->id < 0 ? -1 : x->id < y->id ? -1 : 1;
    }
    return strcasecmp(x->name, y->name);
}

static char *title_of(CliSession *session, const RemoteDomain *domain)
{
    RemoteDomainGetMetadataArgs call = { .dom = *domain, .type = 1 };
    RemoteDomainGetMetadataRet ret;
    bool ok = remote_domain_get_metadata(cli_client(session), &call, &session->arena, &ret, NULL);
    return g_strdup(ok ? ret.metadata : "");
}

static int state_of(CliSession *session, const RemoteDomain *domain)
{
    RemoteDomainGetStateArgs call = { .dom = *domain };
    RemoteDomainGetStateRet ret;
    bool ok = remote_domain_get_state(cli_client(session), &call, &session->arena, &ret, NULL);
    return ok ? ret.state : 0;
}

/* "saved" for those off with a saved state, where that is asked for. */
static const char *state_text(CliSession *session, const RemoteDomain *domain, bool shows_saved)
{
    int state = state_of(session, domain);
    RemoteDomainHasManagedSaveImageArgs call = { .dom = *domain };
    RemoteDomainHasManagedSaveImageRet ret;
    bool is_saved = shows_saved && domain->id < 0 &&
                    remote_domain_has_managed_save_image(cli_client(session), &call,
                                                         &session->arena, &ret, NULL) &&
                    ret.result;
    return is_saved ? "saved" : cli_state_name(state);
}

static void print_list_lines(CliSession *session, const CliArgs *args, const RemoteDomain *domains,
                             uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        char uuid[UUID_TEXT_SIZE];
        uuid_format(&domains[i].uuid, uuid);
        g_autoptr(GString) line = g_string_new(NULL);
        if (cli_args_flag(args, "uuid")) {
            g_string_append(line, uuid);
        }
        if (cli_args_flag(args, "name")) {
            g_string_append_printf(line, "%s%s", line->len ? " " : "", domains[i].name);
        }
        if (cli_args_flag(args, "id") && domains[i].id >= 0) {
            g_string_append_printf(line, "%s%d", line->len ? " " : "", domains[i].id);
        }
        if (line->len) { /* one that is off has no id */
            cli_print(session, "%s", line->str);
        }
    }
}

static void print_list_table(CliSession *session, bool has_titles, bool shows_saved,
                             const RemoteDomain *domains, uint32_t count)
{
    static const char *const plain[] = { "Id", "Name", "State", NULL };
    static const char *const titled[] = { "Id", "Name", "State", "Title", NULL };
    g_autoptr(CliTable) table = cli_table_new(has_titles ? titled : plain);
    for (uint32_t i = 0; i < count; i++) {
        g_autofree char *id =
            domains[i].id >= 0 ? g_strdup_printf("%d", domains[i].id) : g_strdup("-");
        g_autofree char *title = has_titles ? title_of(session, &domains[i]) : NULL;
        cli_table_add(table, id, domains[i].name, state_text(session, &domains[i], shows_saved),
                      title);
    }
    cli_show_table(session, table);
}

static bool run_list(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteConnectListAllDomainsArgs call = { .need_results = 1, .flags = list_flags(args) };
    RemoteConnectListAllDomainsRet ret;
    if (!remote_connect_list_all_domains(cli_client(session), &call, &session->arena, &ret,
                                         error)) {
        return cli_fail(error, "Failed to list domains");
    }
    if (ret.n_domains) { /* none is a null pointer, which qsort may not be given */
        qsort(ret.domains, ret.n_domains, sizeof(ret.domains[0]), compare_domains);
    }
    bool is_lines =
        cli_args_flag(args, "name") || cli_args_flag(args, "uuid") || cli_args_flag(args, "id");
    if (is_lines && !session->is_json) {
        print_list_lines(session, args, ret.domains, ret.n_domains);
    } else {
        print_list_table(session, cli_args_flag(args, "title"), cli_args_flag(args, "managed-save"),
                         ret.domains, ret.n_domains);
    }
    return true;
}

const CliCommand cli_list_commands[] = {
    { "list", "list domains", "Without an option: those that run.", list_options, 0, run_list },
    { "ls", "list domains", NULL, list_options, CLI_ALIAS, run_list },
    { NULL },
};
