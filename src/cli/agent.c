/* Commands that reach into a guest: by its agent, its keyboard, its monitor.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/descriptors.h"
#include "cli/groups.h"
#include "cli/keycodes.h"
#include "cli/tools.h"

#include "gbase/error.h"

#include <json-glib/json-glib.h>
#include <stdio.h>
#include <string.h>

/* File systems */

static const CliOption domfsfreeze_options[] = {
    { "domain", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ACTIVE_DOMAIN, "its name, id or UUID" },
    { "mountpoint", CLI_REST, 0, CLI_VALUE_ANY, "only these mount points" },
    CLI_OPTIONS_END,
};

static bool run_freeze(CliSession *session, const CliArgs *args, GError **error)
{
    const char *const *points = cli_args_rest(args);
    RemoteDomainFsfreezeArgs call = { .mountpoints = (const char **)points,
                                      .n_mountpoints = g_strv_length((char **)points) };
    RemoteDomainFsfreezeRet ret;
    if (!cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    if (!remote_domain_fsfreeze(cli_client(session), &call, &session->arena, &ret, error)) {
        return cli_fail(error, "Unable to freeze filesystems");
    }
    cli_note(session, "Froze %d filesystem(s)", ret.filesystems);
    return true;
}

static const CliOption domfsthaw_options[] = {
    { "domain", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ACTIVE_DOMAIN, "its name, id or UUID" },
    { "mountpoint", CLI_REST, 0, CLI_VALUE_ANY, "only these mount points" },
    CLI_OPTIONS_END,
};

static bool run_thaw(CliSession *session, const CliArgs *args, GError **error)
{
    const char *const *points = cli_args_rest(args);
    RemoteDomainFsthawArgs call = { .mountpoints = (const char **)points,
                                    .n_mountpoints = g_strv_length((char **)points) };
    RemoteDomainFsthawRet ret;
    if (!cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    if (!remote_domain_fsthaw(cli_client(session), &call, &session->arena, &ret, error)) {
        return cli_fail(error, "Unable to thaw filesystems");
    }
    cli_note(session, "Thawed %d filesystem(s)", ret.filesystems);
    return true;
}

static const CliOption domfstrim_options[] = {
    { "domain", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ACTIVE_DOMAIN, "its name, id or UUID" },
    { "minimum", CLI_NUMBER, 0, CLI_VALUE_ANY, "leave smaller free ranges: bytes" },
    { "mountpoint", CLI_STRING, 0, CLI_VALUE_ANY, "a mount point in the guest" },
    CLI_OPTIONS_END,
};

static bool run_trim(CliSession *session, const CliArgs *args, GError **error)
{
    guint64 minimum = 0;
    RemoteDomainFstrimArgs call = { .mount_point = cli_args_string(args, "mountpoint") };
    if (!cli_args_size(args, "minimum", 1, &minimum, error) ||
        !cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    call.minimum = minimum;
    return remote_domain_fstrim(cli_client(session), &call, error) ||
           cli_fail(error, "Unable to invoke fstrim");
}

static const CliOption domfsinfo_options[] = {
    { "domain", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ACTIVE_DOMAIN, "its name, id or UUID" },
    CLI_OPTIONS_END,
};

static bool run_fsinfo(CliSession *session, const CliArgs *args, GError **error)
{
    static const char *const headings[] = { "Mountpoint", "Name", "Type", "Target", NULL };
    RemoteDomainGetFsinfoArgs call = { .flags = 0 };
    RemoteDomainGetFsinfoRet ret;
    if (!cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    if (!remote_domain_get_fsinfo(cli_client(session), &call, &session->arena, &ret, error)) {
        return cli_fail(error, "Unable to get filesystem information");
    }
    if (ret.n_info == 0 && !session->is_json) {
        cli_note_open(session, "No filesystems are mounted in the domain");
        return true;
    }
    g_autoptr(CliTable) table = cli_table_new(headings);
    for (uint32_t i = 0; i < ret.n_info; i++) {
        g_autoptr(GString) targets = g_string_new(NULL);
        for (uint32_t j = 0; j < ret.info[i].n_dev_aliases; j++) {
            g_string_append_printf(targets, "%s%s", j ? "," : "", ret.info[i].dev_aliases[j]);
        }
        cli_table_add(table, ret.info[i].mountpoint, ret.info[i].name, ret.info[i].fstype,
                      targets->str);
    }
    cli_show_table(session, table);
    return true;
}

/* What the guest knows of itself */

static const CliOption guestinfo_options[] = {
    { "domain", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ACTIVE_DOMAIN, "its name, id or UUID" },
    { "user", CLI_FLAG, 0, CLI_VALUE_ANY, "users that are logged in" },
    { "os", CLI_FLAG, 0, CLI_VALUE_ANY, "the system" },
    { "timezone", CLI_FLAG, 0, CLI_VALUE_ANY, "its time zone" },
    { "hostname", CLI_FLAG, 0, CLI_VALUE_ANY, "its name" },
    { "filesystem", CLI_FLAG, 0, CLI_VALUE_ANY, "file systems" },
    { "disk", CLI_FLAG, 0, CLI_VALUE_ANY, "disks" },
    { "interface", CLI_FLAG, 0, CLI_VALUE_ANY, "network interfaces" },
    CLI_OPTIONS_END,
};

static bool run_guestinfo(CliSession *session, const CliArgs *args, GError **error)
{
    static const CliBit bits[] = { { "user", 1 },        { "os", 2 },
                                   { "timezone", 4 },    { "hostname", 8 },
                                   { "filesystem", 16 }, { "disk", 32 },
                                   { "interface", 64 },  { NULL } };
    RemoteDomainGetGuestInfoArgs call = { .types = cli_args_bits(args, bits) };
    RemoteDomainGetGuestInfoRet ret;
    if (!cli_domain(session, args, &call.dom, error) ||
        !remote_domain_get_guest_info(cli_client(session), &call, &session->arena, &ret, error)) {
        return false;
    }
    g_autoptr(CliRecord) record = cli_record_new_aligned(20);
    for (uint32_t i = 0; i < ret.n_params; i++) {
        g_autofree char *text = cli_param_text(&ret.params[i]);
        cli_record_add(record, ret.params[i].field, "%s", text);
    }
    cli_show_record(session, record);
    return true;
}

static const CliOption domhostname_options[] = {
    CLI_DOMAIN_OPTION,
    { "source", CLI_STRING, 0, CLI_VALUE_ANY, "lease or agent" },
    CLI_OPTIONS_END,
};

static bool run_domhostname(CliSession *session, const CliArgs *args, GError **error)
{
    static const char *const sources[] = { "", "lease", "agent", NULL };
    const char *source = cli_args_string(args, "source");
    int index = source ? cli_word_index(source, sources) : 0;
    if (index < 0 || (source && !*source)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "Unknown data source '%s'",
                    source);
        return false;
    }
    RemoteDomainGetHostnameArgs call = { .flags = (uint32_t)index };
    RemoteDomainGetHostnameRet ret;
    if (!cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    if (!remote_domain_get_hostname(cli_client(session), &call, &session->arena, &ret, error)) {
        return cli_fail(error, "failed to get hostname");
    }
    cli_print(session, "%s", ret.hostname);
    return true;
}

static const CliOption domtime_options[] = {
    { "domain", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ACTIVE_DOMAIN, "its name, id or UUID" },
    { "now", CLI_FLAG, 0, CLI_VALUE_ANY, "set it to the host's" },
    { "pretty", CLI_FLAG, 0, CLI_VALUE_ANY, "as date and time" },
    { "sync", CLI_FLAG, 0, CLI_VALUE_ANY, "set it from the guest's hardware clock" },
    { "time", CLI_NUMBER, 0, CLI_VALUE_ANY, "set it to seconds since 1970" },
    CLI_OPTIONS_END,
};

static bool set_time(CliSession *session, const CliArgs *args, const RemoteDomain *domain,
                     GError **error)
{
    gint64 now_us = g_get_real_time();
    RemoteDomainSetTimeArgs call = { .dom = *domain };
    call.flags = cli_args_flag(args, "sync") ? 1 : 0;
    if (cli_args_flag(args, "now")) {
        call.seconds = now_us / G_USEC_PER_SEC;
        call.nseconds = (uint32_t)(now_us % G_USEC_PER_SEC) * 1000;
    } else if (!cli_args_int(args, "time", 0, G_MAXINT64, &call.seconds, error)) {
        return false;
    }
    return remote_domain_set_time(cli_client(session), &call, error);
}

static bool run_domtime(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomain domain;
    if (!cli_args_exclusive(args, "time", "now", error) ||
        !cli_args_exclusive(args, "time", "sync", error) ||
        !cli_args_exclusive(args, "now", "sync", error) ||
        !cli_domain(session, args, &domain, error)) {
        return false;
    }
    if (cli_args_string(args, "time") || cli_args_flag(args, "now") ||
        cli_args_flag(args, "sync")) {
        return set_time(session, args, &domain, error);
    }
    RemoteDomainGetTimeArgs call = { .dom = domain };
    RemoteDomainGetTimeRet ret;
    if (!remote_domain_get_time(cli_client(session), &call, &session->arena, &ret, error)) {
        return false;
    }
    g_autoptr(GDateTime) time = g_date_time_new_from_unix_utc(ret.seconds);
    g_autofree char *text = cli_args_flag(args, "pretty") && time
                                ? g_date_time_format(time, "%Y-%m-%d %H:%M:%S")
                                : g_strdup_printf("%" G_GINT64_FORMAT, ret.seconds);
    if (session->is_json) {
        cli_print(session, "%s", text);
    } else {
        cli_print_open(session, "Time: %s", text);
    }
    return true;
}

/* Users */

static const CliOption get_user_sshkeys_options[] = {
    CLI_DOMAIN_OPTION,
    { "user", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ANY, "the user's name in the guest" },
    CLI_OPTIONS_END,
};

static bool run_get_keys(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomainAuthorizedSshKeysGetArgs call = { .user = cli_args_string(args, "user") };
    RemoteDomainAuthorizedSshKeysGetRet ret;
    if (!cli_domain(session, args, &call.dom, error) ||
        !remote_domain_authorized_ssh_keys_get(cli_client(session), &call, &session->arena, &ret,
                                               error)) {
        return false;
    }
    g_autoptr(GString) text = g_string_new(NULL);
    for (uint32_t i = 0; i < ret.n_keys; i++) {
        g_string_append_printf(text, "%s%s", i ? "\n" : "", ret.keys[i]);
    }
    cli_print(session, "%s", text->str);
    return true;
}

static const CliOption set_user_sshkeys_options[] = {
    CLI_DOMAIN_OPTION,
    { "user", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ANY, "the user's name in the guest" },
    { "file", CLI_STRING, 0, CLI_VALUE_FILE, "a file with keys; all are removed without" },
    { "reset", CLI_FLAG, 0, CLI_VALUE_ANY, "remove those that are there first" },
    { "remove", CLI_FLAG, 0, CLI_VALUE_ANY, "remove these keys" },
    CLI_OPTIONS_END,
};

static bool run_set_keys(CliSession *session, const CliArgs *args, GError **error)
{
    bool resets = cli_args_flag(args, "reset");
    bool removes = cli_args_flag(args, "remove");
    const char *file = cli_args_string(args, "file");
    g_autofree char *text = NULL;
    RemoteDomainAuthorizedSshKeysSetArgs call = { .user = cli_args_string(args, "user") };
    if (!cli_args_exclusive(args, "reset", "remove", error) ||
        !cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    if (!file && (removes || !resets)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    removes ? "Option --file is required by option --remove"
                            : "Option --file is required");
        return false;
    }
    if (file && !(text = cli_read_file(args, "file", error))) {
        return false;
    }
    g_auto(GStrv) lines = g_strsplit(text ? text : "", "\n", -1);
    g_autoptr(GPtrArray) keys = g_ptr_array_new();
    for (char **line = lines; *line; line++) {
        g_strstrip(*line);
        if (**line && **line != '#') {
            g_ptr_array_add(keys, *line);
        }
    }
    if (file && keys->len == 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "File contains no keys");
        return false;
    }
    call.keys = (const char **)keys->pdata;
    call.n_keys = keys->len;
    call.flags = removes ? 2 : resets ? 0 : 1; /* remove, replace, append */
    return remote_domain_authorized_ssh_keys_set(cli_client(session), &call, error);
}

static const CliOption set_user_password_options[] = {
    CLI_DOMAIN_OPTION,
    { "user", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ANY, "the user's name in the guest" },
    { "password", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ANY, "the new one" },
    { "encrypted", CLI_FLAG, 0, CLI_VALUE_ANY, "it is encrypted as for crypt(3)" },
    CLI_OPTIONS_END,
};

static bool run_set_password(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomainSetUserPasswordArgs call = { .user = cli_args_string(args, "user"),
                                             .password = cli_args_string(args, "password"),
                                             .flags = cli_args_flag(args, "encrypted") };
    if (!cli_domain(session, args, &call.dom, error) ||
        !remote_domain_set_user_password(cli_client(session), &call, error)) {
        return false;
    }
    cli_note_open(session, "Password set successfully for %s in %s", call.user, call.dom.name);
    return true;
}

/* Commands as they are */

static const CliOption qemu_agent_command_options[] = {
    CLI_DOMAIN_OPTION,
    { "timeout", CLI_NUMBER, CLI_NAMED, CLI_VALUE_ANY, "seconds to wait at most" },
    { "async", CLI_FLAG, 0, CLI_VALUE_ANY, "do not wait" },
    { "block", CLI_FLAG, 0, CLI_VALUE_ANY, "wait without limit" },
    { "pretty", CLI_FLAG, 0, CLI_VALUE_ANY, "for people" },
    { "cmd", CLI_REST, CLI_REQUIRED, CLI_VALUE_ANY, "JSON" },
    CLI_OPTIONS_END,
};

/* @text with line breaks if it is JSON. (transfer full) */
static char *pretty_json(const char *text)
{
    g_autoptr(JsonParser) parser = json_parser_new();
    if (!json_parser_load_from_data(parser, text, -1, NULL)) {
        return g_strdup(text);
    }
    g_autoptr(JsonGenerator) generator = json_generator_new();
    json_generator_set_pretty(generator, TRUE);
    json_generator_set_root(generator, json_parser_get_root(parser));
    g_autofree char *wide = json_generator_to_data(generator, NULL);
    /* "key": value, as virsh has it. */
    g_autoptr(GRegex) colon =
        g_regex_new("^(\\s*\"(?:[^\"\\\\]|\\\\.)*\") : ", G_REGEX_MULTILINE, 0, NULL);
    return g_regex_replace(colon, wide, -1, 0, "\\1: ", 0, NULL);
}

static bool run_agent_command(CliSession *session, const CliArgs *args, GError **error)
{
    enum { TIMEOUT_BLOCK = -2, TIMEOUT_DEFAULT = -1, TIMEOUT_NONE = 0 };
    gint64 timeout = TIMEOUT_DEFAULT;
    g_autofree char *command = g_strjoinv(" ", (char **)cli_args_rest(args));
    if (!cli_args_exclusive(args, "timeout", "async", error) ||
        !cli_args_exclusive(args, "timeout", "block", error) ||
        !cli_args_exclusive(args, "async", "block", error) ||
        !cli_args_int(args, "timeout", 1, G_MAXINT32, &timeout, error)) {
        return false;
    }
    timeout = cli_args_flag(args, "block")   ? TIMEOUT_BLOCK
              : cli_args_flag(args, "async") ? TIMEOUT_NONE
                                             : timeout;
    QemuDomainAgentCommandArgs call = { .cmd = command, .timeout = (int32_t)timeout };
    QemuDomainAgentCommandRet ret;
    if (!cli_domain(session, args, &call.dom, error) ||
        !qemu_domain_agent_command(cli_client(session), &call, &session->arena, &ret, error)) {
        return false;
    }
    const char *result = ret.result ? ret.result : "";
    g_autofree char *text = cli_args_flag(args, "pretty") ? pretty_json(result) : g_strdup(result);
    puts(text);
    return true;
}

static const CliOption guest_agent_timeout_options[] = {
    CLI_DOMAIN_OPTION,
    { "timeout", CLI_NUMBER, CLI_NAMED, CLI_VALUE_ANY,
      "seconds; -2: for ever, -1: the default, 0: not at all" },
    CLI_OPTIONS_END,
};

static bool run_agent_timeout(CliSession *session, const CliArgs *args, GError **error)
{
    gint64 timeout = -2;
    RemoteDomainAgentSetResponseTimeoutArgs call = { .flags = 0 };
    RemoteDomainAgentSetResponseTimeoutRet ret;
    if (!cli_args_int(args, "timeout", G_MININT32, G_MAXINT32, &timeout, error) ||
        !cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    call.timeout = (int32_t)timeout;
    return remote_domain_agent_set_response_timeout(cli_client(session), &call, &session->arena,
                                                    &ret, error);
}

static const CliOption monitor_options[] = {
    CLI_DOMAIN_OPTION,
    { "hmp", CLI_FLAG, 0, CLI_VALUE_ANY, "a line of the human monitor" },
    { "pretty", CLI_FLAG, 0, CLI_VALUE_ANY, "JSON with line breaks" },
    { "return-value", CLI_FLAG, 0, CLI_VALUE_ANY, "only what the command returned" },
    CLI_PASS_FDS_OPTION,
    { "cmd", CLI_REST, CLI_REQUIRED, CLI_VALUE_ANY, "the command" },
    CLI_OPTIONS_END,
};

/* The member "return" of a reply. (transfer full) */
static char *return_value(const char *reply, GError **error)
{
    g_autoptr(JsonParser) parser = json_parser_new();
    if (!json_parser_load_from_data(parser, reply, -1, error)) {
        return NULL;
    }
    JsonNode *root = json_parser_get_root(parser);
    JsonObject *object = JSON_NODE_HOLDS_OBJECT(root) ? json_node_get_object(root) : NULL;
    if (!object || !json_object_has_member(object, "return")) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_FAILED,
                    "'return' member missing in the monitor's reply: %s", reply);
        return NULL;
    }
    g_autoptr(JsonGenerator) generator = json_generator_new();
    json_generator_set_root(generator, json_object_get_member(object, "return"));
    return json_generator_to_data(generator, NULL);
}

static bool run_monitor_command(CliSession *session, const CliArgs *args, GError **error)
{
    g_autofree char *command = g_strjoinv(" ", (char **)cli_args_rest(args));
    QemuDomainMonitorCommandArgs call = { .cmd = command, .flags = cli_args_flag(args, "hmp") };
    QemuDomainMonitorCommandRet ret;
    CliDescriptors fds;
    if (!cli_args_exclusive(args, "hmp", "pretty", error) ||
        !cli_args_exclusive(args, "hmp", "return-value", error) ||
        !cli_descriptors_parse(args, &fds, error) || !cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    bool ok =
        fds.count
            ? cli_call_with_fds(session, &qemu_program, QEMU_PROC_DOMAIN_MONITOR_COMMAND_WITH_FILES,
                                &call, &fds, &ret, error)
            : qemu_domain_monitor_command(cli_client(session), &call, &session->arena, &ret, error);
    if (!ok) {
        return false;
    }
    g_autofree char *value = cli_args_flag(args, "return-value") ? return_value(ret.result, error)
                                                                 : g_strdup(ret.result);
    if (!value) {
        return false;
    }
    g_autofree char *text = cli_args_flag(args, "pretty") ? pretty_json(value) : g_strdup(value);
    bool is_open = cli_args_flag(args, "pretty") || cli_args_flag(args, "return-value");
    printf("%s%s", text, is_open ? "" : "\n");
    return true;
}

/* Keys, signals, sleep */

static const CliOption send_key_options[] = {
    { "domain", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ACTIVE_DOMAIN, "its name, id or UUID" },
    { "codeset", CLI_STRING, CLI_NAMED, CLI_VALUE_ANY, "linux, xt, atset1, win32, usb, qnum, ..." },
    { "holdtime", CLI_NUMBER, CLI_NAMED, CLI_VALUE_ANY, "how long they are held: ms" },
    { "keycode", CLI_REST, CLI_REQUIRED, CLI_VALUE_ANY, "names (KEY_A) or numbers" },
    CLI_OPTIONS_END,
};

static bool run_send_key(CliSession *session, const CliArgs *args, GError **error)
{
    const char *set = cli_args_string(args, "codeset");
    const char *const *words = cli_args_rest(args);
    gint64 hold = 0;
    uint32_t codes[16];
    RemoteDomainSendKeyArgs call = { .keycodes = codes };
    if (!cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    int codeset = cli_codeset_find(set ? set : "linux");
    if (codeset < 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "unknown codeset: '%s'", set);
        return false;
    }
    if (!cli_args_int(args, "holdtime", 0, G_MAXINT32, &hold, error)) {
        return false;
    }
    for (; words[call.n_keycodes]; call.n_keycodes++) {
        const char *word = words[call.n_keycodes];
        if (call.n_keycodes == G_N_ELEMENTS(codes)) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "too many keycodes");
            return false;
        }
        if (!cli_keycode_find((unsigned)codeset, word, &codes[call.n_keycodes])) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "invalid keycode: '%s'",
                        word);
            return false;
        }
    }
    call.codeset = (uint32_t)codeset;
    call.holdtime = (uint32_t)hold;
    return remote_domain_send_key(cli_client(session), &call, error);
}

static const CliOption send_process_signal_options[] = {
    CLI_DOMAIN_OPTION,
    { "pid", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ANY, "the process in the guest" },
    { "signame", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ANY, "name or number" },
    CLI_OPTIONS_END,
};

static bool signal_number(const char *word, uint32_t *out_number)
{
    static const char *const names[] = {
        "nop",  "hup",  "int",  "quit", "ill",    "trap",   "abrt",  "bus",  "fpe",  "kill", "usr1",
        "segv", "usr2", "pipe", "alrm", "term",   "stkflt", "chld",  "cont", "stop", "tstp", "ttin",
        "ttou", "urg",  "xcpu", "xfsz", "vtalrm", "prof",   "winch", "poll", "pwr",  "sys",  NULL
    };
    guint64 number;
    g_autofree char *lower = g_ascii_strdown(word, -1);
    int index = cli_word_index(g_str_has_prefix(lower, "sig") ? lower + 3 : lower, names);
    bool is_number = g_ascii_string_to_unsigned(word, 10, 0, 64, &number, NULL);
    *out_number = index >= 0 ? (uint32_t)index : (uint32_t)number;
    return index >= 0 || is_number;
}

static bool run_signal(CliSession *session, const CliArgs *args, GError **error)
{
    const char *name = cli_args_string(args, "signame");
    const char *pid = cli_args_string(args, "pid");
    char *end;
    RemoteDomainSendProcessSignalArgs call = { .flags = 0 };
    if (!cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    call.pid_value = g_ascii_strtoll(pid, &end, 10);
    if (!*pid || *end) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Numeric value '%s' for <pid> option is malformed or out of range", pid);
        return false;
    }
    if (!signal_number(name, &call.signum)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "malformed signal name: %s",
                    name);
        return false;
    }
    return remote_domain_send_process_signal(cli_client(session), &call, error);
}

static const CliOption dompmsuspend_options[] = {
    { "domain", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ACTIVE_DOMAIN, "its name, id or UUID" },
    { "target", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ANY, "mem, disk or hybrid" },
    { "duration", CLI_NUMBER, CLI_NAMED, CLI_VALUE_ANY, "seconds until it wakes up; 0: never" },
    CLI_OPTIONS_END,
};

static bool run_pmsuspend(CliSession *session, const CliArgs *args, GError **error)
{
    static const char *const targets[] = { "mem", "disk", "hybrid", NULL };
    const char *target = cli_args_string(args, "target");
    gint64 duration = 0;
    RemoteDomainPmSuspendForDurationArgs call = { .flags = 0 };
    if (!cli_domain(session, args, &call.dom, error) ||
        !cli_args_int(args, "duration", 0, G_MAXINT64, &duration, error)) {
        return false;
    }
    if (cli_word_index(target, targets) < 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "Invalid target");
        return false;
    }
    call.target = (uint32_t)cli_word_index(target, targets);
    call.duration = (uint64_t)duration;
    if (!remote_domain_pm_suspend_for_duration(cli_client(session), &call, error)) {
        return cli_fail(error, "Domain '%s' could not be suspended", call.dom.name);
    }
    cli_note(session, "Domain '%s' successfully suspended", call.dom.name);
    return true;
}

static bool run_pmwakeup(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomainPmWakeupArgs call = { .flags = 0 };
    if (!cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    if (!remote_domain_pm_wakeup(cli_client(session), &call, error)) {
        return cli_fail(error, "Domain '%s' could not be woken up", call.dom.name);
    }
    cli_note(session, "Domain '%s' successfully woken up", call.dom.name);
    return true;
}

static bool run_nmi(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomainInjectNmiArgs call = { .flags = 0 };
    return cli_domain(session, args, &call.dom, error) &&
           remote_domain_inject_nmi(cli_client(session), &call, error);
}

const CliCommand cli_agent_commands[] = {
    { "domfsfreeze", "stop writes to a guest's file systems", "Asks the guest's agent.",
      domfsfreeze_options, 0, run_freeze },
    { "domfsinfo", "list a guest's file systems", "Asks the guest's agent.", domfsinfo_options, 0,
      run_fsinfo },
    { "domfsthaw", "let a guest's file systems be written again", "Asks the guest's agent.",
      domfsthaw_options, 0, run_thaw },
    { "domfstrim", "let a guest give back what its file systems do not use",
      "Asks the guest's agent.", domfstrim_options, 0, run_trim },
    { "domhostname", "print a guest's own name", NULL, domhostname_options, 0, run_domhostname },
    { "dompmsuspend", "let a guest sleep", "Asks the guest's agent.", dompmsuspend_options, 0,
      run_pmsuspend },
    { "dompmwakeup", "wake a guest up", NULL, cli_domain_only, 0, run_pmwakeup },
    { "get-user-sshkeys", "print the SSH keys that may log in as a guest's user",
      "Asks the guest's agent.", get_user_sshkeys_options, 0, run_get_keys },
    { "guest-agent-timeout", "how long to wait for a guest's agent", NULL,
      guest_agent_timeout_options, 0, run_agent_timeout },
    { "guestinfo", "what a guest's agent knows", "Without an option: everything.",
      guestinfo_options, 0, run_guestinfo },
    { "inject-nmi", "send a non-maskable interrupt to a guest", NULL, cli_domain_only, 0, run_nmi },
    { "qemu-agent-command", "send a command to a guest's agent",
      "JSON as the agent takes it. For experts: lodged does not know what it changes.",
      qemu_agent_command_options, 0, run_agent_command },
    { "qemu-monitor-command", "send a command to a guest's monitor",
      "JSON of QMP, or a line of the human monitor with --hmp.\n"
      "For experts: lodged does not know what it changes.",
      monitor_options, 0, run_monitor_command },
    { "send-key", "press keys on a guest's keyboard", "All at once, as for Ctrl-Alt-Del.",
      send_key_options, 0, run_send_key },
    { "send-process-signal", "send a signal to a process in a guest", NULL,
      send_process_signal_options, 0, run_signal },
    { "set-user-password", "change the password of a guest's user", "Asks the guest's agent.",
      set_user_password_options, 0, run_set_password },
    { "set-user-sshkeys", "change the SSH keys that may log in as a guest's user",
      "Asks the guest's agent.", set_user_sshkeys_options, 0, run_set_keys },
    { NULL },
};

const CliCommand cli_clock_commands[] = {
    { "domtime", "show or set a guest's clock", "Asks the guest's agent.", domtime_options, 0,
      run_domtime },
    { NULL },
};
