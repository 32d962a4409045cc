/* Connection, output and the running of commands.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/session.h"
#include "cli/tools.h"

#include "gbase/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void cli_session_init(CliSession *session)
{
    *session = (CliSession){
        .escape_character = 0x1d, /* ^] */
        .keepalive_interval = -1,
        .keepalive_count = -1,
        .use_color = isatty(STDOUT_FILENO) && !g_getenv("NO_COLOR"),
    };
}

void cli_session_done(CliSession *session)
{
    cli_session_disconnect(session);
    g_clear_pointer(&session->uri, g_free);
}

/* What the daemon wants to know, from the terminal. */
static char *ask_credential(LodgeQuestion question, const char *host, void *opaque)
{
    bool is_secret = question == LODGE_ASK_PASSWORD;
    g_autofree char *prompt =
        g_strdup_printf("%s for the daemon of %s: ", is_secret ? "Password" : "User name", host);
    char *answer = cli_ask_line(prompt, is_secret, NULL);
    char *own = answer ? strdup(answer) : NULL;
    cli_forget(answer);
    return own;
}

LodgeConnection *cli_session_connection(CliSession *session, GError **error)
{
    LodgeError *reason = NULL;
    if (session->connection && !lodge_is_alive(session->connection)) {
        cli_session_disconnect(session);
        fprintf(stderr, "The connection was lost; connecting again\n");
    }
    if (!session->connection) {
        session->connection =
            lodge_open_asking(session->uri, session->is_readonly ? LODGE_OPEN_READ_ONLY : 0,
                              isatty(STDIN_FILENO) ? ask_credential : NULL, NULL, &reason);
    }
    if (!session->connection) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONNECTION,
                    "failed to connect to the hypervisor\n%s", reason->message);
        lodge_error_free(reason);
    }
    return session->connection;
}

RpcClient *cli_client(const CliSession *session)
{
    return session->connection->client;
}

void cli_session_disconnect(CliSession *session)
{
    g_clear_pointer(&session->connection, lodge_close);
}

void cli_note(const CliSession *session, const char *fmt, ...)
{
    va_list list;
    if (session->is_quiet || session->is_json) {
        return;
    }
    va_start(list, fmt);
    vprintf(fmt, list);
    va_end(list);
    putchar('\n');
}

void cli_note_open(const CliSession *session, const char *fmt, ...)
{
    va_list list;
    if (session->is_quiet || session->is_json) {
        return;
    }
    va_start(list, fmt);
    vprintf(fmt, list);
    va_end(list);
}

void cli_print_open(const CliSession *session, const char *fmt, ...)
{
    va_list list;
    va_start(list, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, list);
    va_end(list);
    if (session->is_json) {
        cli_value_print_json(text, stdout);
    } else {
        fputs(text, stdout);
    }
}

void cli_print(const CliSession *session, const char *fmt, ...)
{
    va_list list;
    va_start(list, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, list);
    va_end(list);
    if (session->is_json) {
        cli_value_print_json(text, stdout);
    } else {
        puts(text);
    }
}

void cli_print_xml(const CliSession *session, const char *xml)
{
    if (session->is_json) {
        cli_value_print_json(xml, stdout);
        return;
    }
    fputs(xml, stdout);
    if (!g_str_has_suffix(xml, "\n")) {
        putchar('\n');
    }
}

void cli_show_table(const CliSession *session, const CliTable *table)
{
    if (session->is_json) {
        cli_table_print_json(table, stdout);
    } else {
        cli_table_print(table, stdout, session->is_quiet);
    }
}

void cli_show_record(const CliSession *session, const CliRecord *record)
{
    if (session->is_json) {
        cli_record_print_json(record, stdout);
    } else {
        cli_record_print(record, stdout);
    }
}

bool cli_fail_then(GError **error, const char *general)
{
    if (error && *error) {
        char *message = g_strconcat((*error)->message, "\n", general, NULL);
        g_free((*error)->message);
        (*error)->message = message;
    }
    return false;
}

bool cli_fail(GError **error, const char *fmt, ...)
{
    va_list list;
    if (error && *error) {
        va_start(list, fmt);
        g_autofree char *general = g_strdup_vprintf(fmt, list);
        va_end(list);
        char *message = g_strconcat(general, "\n", (*error)->message, NULL);
        g_free((*error)->message);
        (*error)->message = message;
    }
    return false;
}

/* {"code": 42, "message": "..."}; the code is libvirt's number, 0 for errors of our own. */
static void print_error_json(const GError *error)
{
    g_autoptr(CliRecord) record = cli_record_new(0);
    cli_record_add(record, "code", "%d", error->domain == RPC_CLIENT_ERROR ? error->code : 0);
    cli_record_add(record, "message", "%s", error->message);
    cli_record_print_json(record, stderr);
}

void cli_print_error(const CliSession *session, const GError *error)
{
    if (session->is_json) {
        print_error_json(error);
        return;
    }
    g_auto(GStrv) lines = g_strsplit(error->message, "\n", -1);
    bool color = session->use_color && isatty(STDERR_FILENO);
    fflush(stdout);
    for (char **line = lines; *line; line++) {
        fprintf(stderr, "%serror:%s %s\n", color ? "\033[1;31m" : "", color ? "\033[0m" : "",
                *line);
    }
}

/* Whether to end the output of a command with an empty line, as virsh does. */
static void end_output(const CliSession *session, const CliCommand *command)
{
    if (!session->is_quiet && !session->is_json && !(command->flags & CLI_BARE)) {
        putchar('\n');
    }
    fflush(stdout);
}

/* Takes --json out of a command's words: it may stand before or behind the command's name. */
static bool take_json(char **words, const CliCommand *command)
{
    bool found = false;
    char **to = words;
    bool is_open = cli_command_option(command, "json") == NULL;
    for (char **from = words; *from; from++) {
        is_open = is_open && strcmp(*from, "--") != 0;
        if (is_open && strcmp(*from, "--json") == 0) {
            g_free(*from);
            found = true;
        } else {
            *to++ = *from;
        }
    }
    *to = NULL;
    return found;
}

static bool run_command(CliSession *session, const CliCommand *command, char *const *words)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(CliArgs) args = cli_args_bind(command, words, &error);
    if (!args) {
        cli_print_error(session, error);
        return false;
    }
    if (cli_args_wants_help(args)) {
        char *const topic[] = { (char *)command->name, NULL };
        return run_command(session, cli_command_find("help"), topic);
    }
    bool connects = !(command->flags & CLI_NO_CONNECTION);
    if (connects && !cli_session_connection(session, &error)) {
        cli_print_error(session, error);
        return false;
    }
    gint64 start = g_get_monotonic_time();
    arena_init(&session->arena, ANSWER_LIMIT);
    bool ok = command->run(session, args, &error);
    arena_clear(&session->arena);
    if (!ok && error) {
        cli_print_error(session, error);
    }
    if (session->shows_times) {
        printf("\n(Time: %.3f ms)\n", (double)(g_get_monotonic_time() - start) / 1000);
    }
    end_output(session, command);
    return ok;
}

bool cli_run_words(CliSession *session, char *const *words)
{
    g_autoptr(GError) error = NULL;
    const CliCommand *command = cli_command_find(words[0]);
    if (!command) {
        g_autofree char *text = cli_command_unknown(words[0]);
        g_set_error_literal(&error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND, text);
        cli_print_error(session, error);
        return false;
    }
    g_auto(GStrv) own = g_strdupv((char **)words + 1);
    bool was_json = session->is_json;
    session->is_json = take_json(own, command) || was_json;
    bool ok = run_command(session, command, own);
    session->is_json = was_json;
    return ok;
}

bool cli_run_line(CliSession *session, const char *line)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) commands = cli_split_line(line, &error);
    if (!commands) {
        cli_print_error(session, error);
        return false;
    }
    for (unsigned i = 0; i < commands->len && !session->wants_quit; i++) {
        if (!cli_run_words(session, commands->pdata[i])) {
            return false;
        }
    }
    return true;
}
