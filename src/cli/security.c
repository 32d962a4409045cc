/* Guests whose memory the host cannot read (SEV), and QEMU processes of others.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/groups.h"
#include "cli/tools.h"

#include "gbase/error.h"

#include <stdio.h>
#include <string.h>

#define SECRET_MAX (1u << 20)

static void show_params(CliSession *session, const TypedParam *params, uint32_t count, int width)
{
    g_autoptr(CliRecord) record = cli_record_new(0);
    for (uint32_t i = 0; i < count; i++) {
        g_autofree char *text = cli_param_text(&params[i]);
        cli_record_add(record, params[i].field, "%s", text);
        if (!session->is_json) {
            printf("%-*s: %s\n", width, params[i].field, text);
        }
    }
    if (session->is_json) {
        cli_show_record(session, record);
    }
}

static bool run_nodesevinfo(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteNodeGetSevInfoArgs call = { 0 };
    RemoteNodeGetSevInfoRet ret;
    RpcClient *client = cli_client(session);
    bool ok = remote_node_get_sev_info(client, &call, &session->arena, &ret, error);
    if (ok && ret.nparams > 0) {
        call.nparams = ret.nparams;
        ok = remote_node_get_sev_info(client, &call, &session->arena, &ret, error);
    }
    if (!ok) {
        return cli_fail(error, "Unable to get host SEV information");
    }
    show_params(session, ret.params, ret.n_params, 18);
    return true;
}

static bool run_launch_info(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomainGetLaunchSecurityInfoArgs call = { .flags = 0 };
    RemoteDomainGetLaunchSecurityInfoRet ret;
    if (!cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    if (!remote_domain_get_launch_security_info(cli_client(session), &call, &session->arena, &ret,
                                                error)) {
        return cli_fail(error, "Unable to get launch security parameters");
    }
    show_params(session, ret.params, ret.n_params, 15);
    return true;
}

/* The base64 text of the file that an option names. (transfer full) */
static char *read_secret(const CliArgs *args, const char *option, GError **error)
{
    g_autofree char *text = cli_read_file(args, option, error);
    if (text && strlen(text) > SECRET_MAX) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT, "'%s' is no file with a secret",
                    cli_args_string(args, option));
        return NULL;
    }
    return g_steal_pointer(&text);
}

static bool run_launch_state(CliSession *session, const CliArgs *args, GError **error)
{
    TypedParam params[3];
    uint32_t count = 0;
    gint64 address;
    RemoteDomainSetLaunchSecurityStateArgs call = { .params = params };
    if (!cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    if (!cli_args_string(args, "secrethdr") || !cli_args_string(args, "secret")) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Both secret and the secret header are required");
        return false;
    }
    g_autofree char *header = read_secret(args, "secrethdr", error);
    g_autofree char *secret = header ? read_secret(args, "secret", error) : NULL;
    if (!secret || !cli_args_int(args, "set-address", 0, G_MAXINT64, &address, error)) {
        return false;
    }
    params[count++] = (TypedParam){ "sev-secret-header", TYPED_PARAM_STRING, { .s = header } };
    params[count++] = (TypedParam){ "sev-secret", TYPED_PARAM_STRING, { .s = secret } };
    if (cli_args_string(args, "set-address")) {
        params[count++] = (TypedParam){ "sev-secret-set-address",
                                        TYPED_PARAM_ULLONG,
                                        { .ul = (uint64_t)address } };
    }
    call.n_params = count;
    if (!remote_domain_set_launch_security_state(cli_client(session), &call, error)) {
        return cli_fail(error, "Unable to set launch security state");
    }
    return true;
}

static bool run_qemu_attach(CliSession *session, const CliArgs *args, GError **error)
{
    gint64 pid;
    if (!cli_args_int(args, "pid", 0, G_MAXUINT32, &pid, error)) {
        return false;
    }
    QemuDomainAttachArgs call = { .pid_value = (uint32_t)pid };
    QemuDomainAttachRet ret;
    if (!qemu_domain_attach(cli_client(session), &call, &session->arena, &ret, error)) {
        return cli_fail(error, "Failed to attach to pid %u", (unsigned)pid);
    }
    cli_note(session, "Domain '%s' attached to pid %u", ret.dom.name, (unsigned)pid);
    return true;
}

const CliCommand cli_security_commands[] = {
    { "domlaunchsecinfo", "what a guest with encrypted memory was launched with", NULL,
      cli_domain_only, 0, run_launch_info },
    { "domsetlaunchsecstate", "give a secret to a guest with encrypted memory", NULL,
      (const CliOption[]){
          CLI_DOMAIN_OPTION,
          { "secrethdr", CLI_STRING, CLI_NAMED, CLI_VALUE_FILE, "a file with its header: base64" },
          { "secret", CLI_STRING, CLI_NAMED, CLI_VALUE_FILE, "a file with the secret: base64" },
          { "set-address", CLI_NUMBER, CLI_NAMED, CLI_VALUE_ANY, "where in the guest it goes" },
          CLI_OPTIONS_END },
      0, run_launch_state },
    { "qemu-attach", "take a QEMU that somebody else started for a domain",
      "libvirt has dropped it: daemons refuse it.",
      (const CliOption[]){
          { "pid", CLI_NUMBER, CLI_REQUIRED, CLI_VALUE_ANY, "the process's number" },
          CLI_OPTIONS_END },
      0, run_qemu_attach },
    { NULL },
};

const CliCommand cli_sev_commands[] = {
    { "nodesevinfo", "what the host can do for guests with encrypted memory", NULL, NULL, 0,
      run_nodesevinfo },
    { NULL },
};
