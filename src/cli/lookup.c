/* What many commands need: domains by name, files, names of numbers.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/session.h"
#include "gbase/error.h"
#include "gbase/strutil.h"
#include "gbase/uuid.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool find_by_id(CliSession *session, const char *word, RemoteDomain *out_domain)
{
    char *end;
    gint64 id = g_ascii_strtoll(word, &end, 10);
    if (*word == '\0' || *end != '\0' || id < 0 || id > G_MAXINT32) {
        return false;
    }
    RemoteDomainLookupByIdArgs args = { (int32_t)id };
    RemoteDomainLookupByIdRet ret;
    bool ok = remote_domain_lookup_by_id(cli_client(session), &args, &session->arena, &ret, NULL);
    *out_domain = ok ? ret.dom : (RemoteDomain){ 0 };
    return ok;
}

static bool find_by_uuid(CliSession *session, const char *word, RemoteDomain *out_domain)
{
    RemoteDomainLookupByUuidArgs args;
    RemoteDomainLookupByUuidRet ret;
    if (!uuid_parse(word, &args.uuid, NULL)) {
        return false;
    }
    bool ok = remote_domain_lookup_by_uuid(cli_client(session), &args, &session->arena, &ret, NULL);
    *out_domain = ok ? ret.dom : (RemoteDomain){ 0 };
    return ok;
}

static bool find_by_name(CliSession *session, const char *word, RemoteDomain *out_domain)
{
    RemoteDomainLookupByNameArgs args = { word };
    RemoteDomainLookupByNameRet ret;
    bool ok = remote_domain_lookup_by_name(cli_client(session), &args, &session->arena, &ret, NULL);
    *out_domain = ok ? ret.dom : (RemoteDomain){ 0 };
    return ok;
}

bool cli_domain(CliSession *session, const CliArgs *args, RemoteDomain *out_domain, GError **error)
{
    return cli_domain_by_word(session, cli_args_string(args, "domain"), out_domain, error);
}

/* What follows where a guest has nearly that name, else nothing. (transfer full) */
static char *near_name(CliSession *session, const char *word)
{
    enum { WORD_MIN = 3 }; /* all shorter ones are near each other */
    RemoteConnectListAllDomainsArgs args = { .need_results = 1 };
    RemoteConnectListAllDomainsRet ret;
    if (strlen(word) < WORD_MIN ||
        !remote_connect_list_all_domains(cli_client(session), &args, &session->arena, &ret, NULL)) {
        return g_strdup("");
    }
    g_autofree const char **names = g_new0(const char *, ret.n_domains + 1);
    for (uint32_t i = 0; i < ret.n_domains; i++) {
        names[i] = ret.domains[i].name;
    }
    return str_did_you_mean(word, names);
}

bool cli_domain_by_word(CliSession *session, const char *word, RemoteDomain *out_domain,
                        GError **error)
{
    if (find_by_id(session, word, out_domain) || find_by_uuid(session, word, out_domain) ||
        find_by_name(session, word, out_domain)) {
        return true;
    }
    g_autofree char *hint = near_name(session, word);
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND, "failed to get domain '%s'%s", word,
                hint);
    return false;
}

const char *cli_state_name(int state)
{
    static const char *const names[] = { "no state",    "running",  "idle",    "paused",
                                         "in shutdown", "shut off", "crashed", "pmsuspended" };
    return state >= 0 && state < (int)G_N_ELEMENTS(names) ? names[state] : names[0];
}

char *cli_read_file(const CliArgs *args, const char *option, GError **error)
{
    const char *path = cli_args_string(args, option);
    char *text = NULL;
    g_autoptr(GError) why = NULL;
    if (strcmp(path, "-") == 0) {
        path = "/dev/stdin";
    }
    errno = 0;
    if (g_file_get_contents(path, &text, NULL, &why)) {
        return text;
    }
    if (g_error_matches(why, G_FILE_ERROR, G_FILE_ERROR_ISDIR)) {
        lodge_error_set_errno(error, EISDIR, "Failed to read file '%s'", path);
    } else {
        lodge_error_set_errno(error, errno ? errno : EIO, "Failed to open file '%s'", path);
    }
    return text;
}
