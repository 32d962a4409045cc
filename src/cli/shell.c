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

/* The editor is one for the process, and its hook has no argument. */
static CliSession *completing;

static void add_match(const char *word, void *opaque)
{
    g_ptr_array_add(opaque, strdup(word));
}

/* libedit's hook: the first entry is what all matches have in common; entries are malloc()ed. NULL:
 * files are offered. */
static char **complete_word(const char *text, int start, int end)
{
    g_autofree char *line = g_strndup(rl_line_buffer, (gsize)start);
    g_autoptr(GStrvBuilder) builder = g_strv_builder_new();
    g_auto(GStrv) before = g_strsplit_set(line, " \t", -1);
    for (unsigned i = 0; before[i]; i++) {
        if (*before[i]) {
            g_strv_builder_add(builder, before[i]);
        }
    }
    g_strv_builder_add(builder, text);
    g_auto(GStrv) words = g_strv_builder_end(builder);
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    g_ptr_array_add(names, NULL);
    cli_complete(completing, words, add_match, names);
    if (names->len == 1) {
        return NULL;
    }
    size_t common = strlen(names->pdata[1]);
    for (unsigned i = 2; i < names->len; i++) {
        const char *a = names->pdata[1], *b = names->pdata[i];
        size_t same = 0;
        while (same < common && a[same] == b[same]) {
            same++;
        }
        common = same;
    }
    names->pdata[0] = strndup(names->pdata[1], common);
    size_t count = names->len;
    char **result = calloc(count + 1, sizeof(*result));
    memcpy(result, names->pdata, count * sizeof(*result));
    return result;
}

int cli_shell(CliSession *session)
{
    g_autofree char *history = history_path();
    bool is_terminal = isatty(STDIN_FILENO);
    session->is_interactive = true;
    if (is_terminal) {
        completing = session;
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
