/* What the commands of one run of `lodge` share: the connection, the form of the output.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_CLI_SESSION_H
#define LODGE_CLI_SESSION_H

#include "cli/args.h"
#include "cli/command.h"
#include "cli/table.h"
#include "client/private.h"

#include <glib.h>
#include <stdbool.h>

struct CliSession {
    char *uri; /* NULL: the default */
    LodgeConnection *connection;
    Arena arena; /* of the answers of the command that runs */
    bool is_readonly;
    bool is_quiet; /* no headings, no notes */
    bool is_json;
    bool is_interactive; /* within the shell */
    bool wants_quit;
    bool use_color;
    bool shows_times;
    int escape_character;
    int keepalive_interval, keepalive_count; /* seconds; count; -1: the library's */
};

void cli_session_init(CliSession *session);
void cli_session_done(CliSession *session);

/* Returns: the open connection (opened when first needed; borrowed), or NULL with @error. */
LodgeConnection *cli_session_connection(CliSession *session, GError **error);
/* The connection's protocol client, for commands (which run with an open connection). */
RpcClient *cli_client(const CliSession *session);
/* The domain that option "domain" names, by id, UUID or name; its strings live as long as the
 * command. False with @error: there is none. */
bool cli_domain(CliSession *session, const CliArgs *args, RemoteDomain *out_domain, GError **error);
/* The same of a word. */
bool cli_domain_by_word(CliSession *session, const char *word, RemoteDomain *out_domain,
                        GError **error);
/* "running", "shut off", ... of libvirt's number. */
const char *cli_state_name(int state);
/* The text of a file for commands that take one. (transfer full) */
char *cli_read_file(const CliArgs *args, const char *option, GError **error);
/* Attaches the terminal to a domain's console until the escape character; @resumes: lets it run. */
bool cli_run_console(CliSession *session, const RemoteDomain *domain, const char *device,
                     unsigned flags, bool resumes, GError **error);
/* Closes the connection; the next command opens @uri (NULL: as before). */
void cli_session_disconnect(CliSession *session);

/* Prints a note that says what was done; nothing with --quiet or --json. */
void cli_note(const CliSession *session, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
/* The same without the line's end, which the command's end brings. */
void cli_note_open(const CliSession *session, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
void cli_print_open(const CliSession *session, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
/* Prints a result: a line, or a JSON value. */
void cli_print(const CliSession *session, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
/* Prints a document as it came, with a line's end. */
void cli_print_xml(const CliSession *session, const char *xml);
/* Print a table or record in the session's form. */
void cli_show_table(const CliSession *session, const CliTable *table);
void cli_show_record(const CliSession *session, const CliRecord *record);

/* Puts a more general line before the message of *@error. Returns false, for `return`. */
bool cli_fail(GError **error, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
/* The same where virsh has the general line last. Returns: false. */
bool cli_fail_then(GError **error, const char *general);

/* Prints @error's lines, "error: " before each, to stderr. */
void cli_print_error(const CliSession *session, const GError *error);

/* Runs one command, given as words (ends with NULL). Prints what failed. Returns: success. */
bool cli_run_words(CliSession *session, char *const *words);
/* Runs the commands of a line, separated by ";", until one fails. */
bool cli_run_line(CliSession *session, const char *line);

/* The interactive shell: history, completion. Returns: the exit status. */
int cli_shell(CliSession *session);

/* Calls @take for each word that could be the last of @words, which may be begun. */
typedef void (*CliOffer)(const char *word, void *opaque);
void cli_complete(CliSession *session, char *const *words, CliOffer take, void *opaque);

#endif
