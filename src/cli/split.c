/* A line of text into commands and words.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/args.h"

#include "gbase/error.h"

#include <string.h>

typedef struct Splitter {
    GPtrArray *commands; /* of GStrv */
    GPtrArray *words;    /* of the command at hand */
    GString *word;
    bool has_word;
} Splitter;

static void end_word(Splitter *splitter)
{
    if (splitter->has_word) {
        g_ptr_array_add(splitter->words, g_strdup(splitter->word->str));
        g_string_truncate(splitter->word, 0);
        splitter->has_word = false;
    }
}

static void end_command(Splitter *splitter)
{
    end_word(splitter);
    if (splitter->words->len > 0) {
        g_ptr_array_add(splitter->words, NULL);
        g_ptr_array_add(splitter->commands, g_ptr_array_free(splitter->words, FALSE));
        splitter->words = g_ptr_array_new();
    }
}

/* Copies a quoted part; @at is after the opening quote. Returns the place after the closing one, or
 * NULL if there is none. */
static const char *take_quoted(Splitter *splitter, const char *at, char quote)
{
    for (; *at; at++) {
        if (*at == quote) {
            return at + 1;
        }
        if (quote == '"' && *at == '\\' && (at[1] == '"' || at[1] == '\\')) {
            at++;
        }
        g_string_append_c(splitter->word, *at);
    }
    return NULL;
}

static bool split(Splitter *splitter, const char *at)
{
    while (at && *at) {
        char c = *at++;
        if (c == ';' || c == '\n') {
            end_command(splitter);
        } else if (g_ascii_isspace(c)) {
            end_word(splitter);
        } else if (c == '#' && !splitter->has_word) {
            at = strchr(at, '\n');
            if (!at) {
                return true;
            }
        } else if (c == '\'' || c == '"') {
            splitter->has_word = true;
            at = take_quoted(splitter, at, c);
        } else {
            splitter->has_word = true;
            if (c == '\\' && *at) {
                c = *at++;
            }
            g_string_append_c(splitter->word, c);
        }
    }
    return at != NULL;
}

GPtrArray *cli_split_line(const char *line, GError **error)
{
    Splitter splitter = {
        .commands = g_ptr_array_new_with_free_func((GDestroyNotify)g_strfreev),
        .words = g_ptr_array_new(),
        .word = g_string_new(NULL),
    };
    bool ok = split(&splitter, line);
    end_command(&splitter);
    g_ptr_array_free(splitter.words, TRUE);
    g_string_free(splitter.word, TRUE);
    if (!ok) {
        g_ptr_array_free(splitter.commands, TRUE);
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "a quote is not closed in: %s", line);
        return NULL;
    }
    return splitter.commands;
}
