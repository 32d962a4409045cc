/* Descriptors of the client's own that guests get: --pass-fds, dom-fd-associate.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/descriptors.h"

#include "cli/groups.h"
#include "gbase/error.h"

#include <fcntl.h>

bool cli_descriptors_parse(const CliArgs *args, CliDescriptors *out, GError **error)
{
    const char *text = cli_args_string(args, "pass-fds");
    *out = (CliDescriptors){ .count = 0 };
    if (!text) {
        return true;
    }
    g_auto(GStrv) words = g_strsplit(text, ",", -1);
    for (unsigned i = 0; words[i]; i++) {
        guint64 fd;
        if (!g_ascii_string_to_unsigned(words[i], 10, 0, G_MAXINT, &fd, NULL)) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                        "Unable to parse FD number '%s'", words[i]);
            return false;
        }
        if (fcntl((int)fd, F_GETFD) < 0) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                        "descriptor %s is not open in this process; a shell opens one by '%s<FILE'",
                        words[i], words[i]);
            return false;
        }
        if (out->count == CLI_DESCRIPTORS_MAX) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                        "at most %u descriptors can be passed at once", CLI_DESCRIPTORS_MAX);
            return false;
        }
        out->fds[out->count++] = (int)fd;
    }
    return true;
}

bool cli_call_with_fds(CliSession *session, const RpcProgram *program, uint32_t procedure,
                       const void *args, const CliDescriptors *fds, void *ret, GError **error)
{
    return rpc_client_call_with_fds(cli_client(session), program, procedure, args, fds->fds,
                                    fds->count, &session->arena, ret, error);
}

static const CliOption associate_options[] = {
    CLI_DOMAIN_OPTION,
    { "name", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ANY, "what its XML calls them (fdgroup=)" },
    { "pass-fds", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ANY,
      "numbers of this process's descriptors, with commas" },
    { "seclabel-writable", CLI_FLAG, 0, CLI_VALUE_ANY, "label them for writing" },
    { "seclabel-restore", CLI_FLAG, 0, CLI_VALUE_ANY, "give them their labels back" },
    CLI_OPTIONS_END,
};

static bool run_associate(CliSession *session, const CliArgs *args, GError **error)
{
    static const CliBit flags[] = { { "seclabel-writable", 1 },
                                    { "seclabel-restore", 2 },
                                    { NULL } };
    RemoteDomainFdAssociateArgs call = { .name = cli_args_string(args, "name"),
                                         .flags = cli_args_bits(args, flags) };
    CliDescriptors fds;
    return cli_descriptors_parse(args, &fds, error) &&
           cli_domain(session, args, &call.dom, error) &&
           cli_call_with_fds(session, &remote_program, REMOTE_PROC_DOMAIN_FD_ASSOCIATE, &call, &fds,
                             NULL, error);
}

const CliCommand cli_descriptors_commands[] = {
    { "dom-fd-associate", "give descriptors to a domain for its disks",
      "They serve a start within the same connection: use it in the interactive shell, or as\n"
      "lodge 'dom-fd-associate GUEST NAME 3; start GUEST' 3<>FILE",
      associate_options, 0, run_associate },
    { NULL },
};
