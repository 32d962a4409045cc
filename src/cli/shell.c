/* The interactive shell: line editing, history and completion by libedit.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/session.h"

#include <editline/readline.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HISTORY_LENGTH 500

static char *history_path(void)
{
    return g_build_filename(g_get_user_cache_dir(), "lodge", "history", NULL);
}

static const char *prompt(const CliSession *session)
{
    return session->is_readonly ? "lodge > " : "lodge # ";
}

static void load_history(const char *path)
{
    using_history();
    stifle_history(HISTORY_LENGTH);
    read_history(path);
}

static void save_history(const char *path)
{
    g_autofree char *folder = g_path_get_dirname(path);
    if (g_mkdir_with_parents(folder, 0700) == 0) {
        write_history(path);
    }
}

/* A line of standard input, or NULL at its end. (free) */
static char *next_line(const CliSession *session)
{
    if (isatty(STDIN_FILENO)) {
        return readline(prompt(session));
    }
    char *line = NULL;
    size_t size = 0;
    if (getline(&line, &size, stdin) < 0) {
        free(line);
        return NULL;
    }
    return line;
}

typedef struct Matches {
    const char *text;
    GPtrArray *names;
} Matches;

static void add_match(const CliCommand *command, void *opaque)
{
    Matches *matches = opaque;
    if (g_str_has_prefix(command->name, matches->text)) {
        g_ptr_array_add(matches->names, strdup(command->name));
    }
}

static void add_option_matches(const char *line, Matches *matches)
{
    g_autofree char *name = g_strndup(line, strcspn(line, " "));
    const CliCommand *command = cli_command_find(name);
    for (const CliOption *option = command ? command->options : NULL; option && option->name;
         option++) {
        g_autofree char *word = g_strconcat("--", option->name, NULL);
        if (g_str_has_prefix(word, matches->text)) {
            g_ptr_array_add(matches->names, strdup(word));
        }
    }
}

/* libedit's hook: the first entry is what all matches have in common; entries are malloc()ed. */
static char **complete_word(const char *text, int start, int end)
{
    Matches matches = { .text = text, .names = g_ptr_array_new() };
    g_ptr_array_add(matches.names, NULL);
    if (start == 0) {
        cli_command_foreach(add_match, &matches);
    } else if (g_str_has_prefix(text, "--")) {
        add_option_matches(rl_line_buffer, &matches);
    }
    if (matches.names->len == 1) {
        g_ptr_array_free(matches.names, TRUE);
        return NULL;
    }
    size_t common = strlen(matches.names->pdata[1]);
    for (unsigned i = 2; i < matches.names->len; i++) {
        const char *a = matches.names->pdata[1], *b = matches.names->pdata[i];
        size_t same = 0;
        while (same < common && a[same] == b[same]) {
            same++;
        }
        common = same;
    }
    matches.names->pdata[0] = strndup(matches.names->pdata[1], common);
    size_t count = matches.names->len;
    char **result = calloc(count + 1, sizeof(*result));
    memcpy(result, matches.names->pdata, count * sizeof(*result));
    g_ptr_array_free(matches.names, TRUE);
    return result;
}

int cli_shell(CliSession *session)
{
    g_autofree char *history = history_path();
    bool is_terminal = isatty(STDIN_FILENO);
    session->is_interactive = true;
    if (is_terminal) {
        rl_attempted_completion_function = complete_word;
        load_history(history);
        cli_note(session, "Welcome to lodge, the console of Lodge's guests.\n\n"
                          "Type:  'help' for help with commands\n"
                          "       'quit' to quit\n");
    }
    char *line;
    while (!session->wants_quit && (line = next_line(session))) {
        g_strstrip(line);
        if (*line && is_terminal) {
            add_history(line);
        }
        cli_run_line(session, line);
        free(line);
    }
    if (is_terminal) {
        save_history(history);
    }
    return 0;
}
