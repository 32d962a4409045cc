/* lodge passwd: the users that may come in by SASL, in the file that lodged.conf names (sasl_file).
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/groups.h"
#include "cli/tools.h"

#include "gbase/error.h"
#include "rpc/scram.h"

#include <string.h>
#include <unistd.h>

static const CliOption passwd_options[] = {
    { "user", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ANY, "the user's name" },
    { "file", CLI_STRING, CLI_NAMED, CLI_VALUE_FILE,
      "the file; /etc/lodge/passwd, for users ~/.config/lodge/passwd" },
    { "delete", CLI_FLAG, 0, CLI_VALUE_ANY, "the user may no longer come in" },
    CLI_OPTIONS_END,
};

/* The line for the file. (transfer full) NULL: @error. */
static char *new_entry(const char *user, GError **error)
{
    char *entry = NULL;
    char *password = cli_ask_line("New password: ", true, error);
    char *again = password && isatty(STDIN_FILENO) ? cli_ask_line("Again: ", true, error)
                                                   : g_strdup(password);
    if (password && again && strcmp(password, again) != 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "the two are not the same");
    } else if (password && again) {
        entry = scram_make_entry(user, password, SCRAM_ITERATIONS, error);
    }
    cli_forget(password);
    cli_forget(again);
    return entry;
}

static bool is_of_user(const char *line, const char *user)
{
    size_t length = strlen(user);
    return strncmp(line, user, length) == 0 && line[length] == ' ';
}

/* The file's text with the user's line replaced by @entry (NULL: left out). (transfer full) */
static char *edit(const char *text, const char *user, const char *entry, bool *out_found)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    GString *out = g_string_new(NULL);
    *out_found = false;
    for (unsigned i = 0; lines[i]; i++) {
        if (is_of_user(lines[i], user)) {
            *out_found = true;
        } else if (*lines[i]) {
            g_string_append_printf(out, "%s\n", lines[i]);
        }
    }
    if (entry) {
        g_string_append_printf(out, "%s\n", entry);
    }
    return g_string_free(out, FALSE);
}

static char *default_file(void)
{
    return geteuid() == 0 ? g_strdup("/etc/lodge/passwd")
                          : g_build_filename(g_get_user_config_dir(), "lodge", "passwd", NULL);
}

static bool run_passwd(CliSession *session, const CliArgs *args, GError **error)
{
    const char *user = cli_args_string(args, "user");
    const char *word = cli_args_string(args, "file");
    g_autofree char *path = word ? g_strdup(word) : default_file();
    g_autofree char *text = NULL;
    g_autoptr(GError) why = NULL;
    bool is_deletion = cli_args_flag(args, "delete");
    bool found;
    if (!g_file_get_contents(path, &text, NULL, &why) &&
        !g_error_matches(why, G_FILE_ERROR, G_FILE_ERROR_NOENT)) {
        g_propagate_error(error, g_steal_pointer(&why));
        return false;
    }
    g_autofree char *entry = is_deletion ? NULL : new_entry(user, error);
    if (!is_deletion && !entry) {
        return false;
    }
    g_autofree char *changed = edit(text ? text : "", user, entry, &found);
    if (is_deletion && !found) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND, "'%s' has no user '%s'", path, user);
        return false;
    }
    if (!g_file_set_contents_full(path, changed, -1,
                                  G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE,
                                  0600, error)) {
        return false;
    }
    cli_note(session, "User '%s' %s '%s'; lodged reads it when it starts", user,
             is_deletion ? "is gone from"
             : found     ? "has a new password in"
                         : "may come in by",
             path);
    return true;
}

const CliCommand cli_passwd_commands[] = {
    { "passwd", "set the password by which a user comes in over the network",
      "Asks for it, or reads a line of standard input. Kept are salted keys (SCRAM-SHA-256), "
      "never\n"
      "the password. lodged.conf names the file: sasl_file = \"...\", auth_tls = \"sasl\".",
      passwd_options, CLI_NO_CONNECTION, run_passwd },
    { NULL },
};
