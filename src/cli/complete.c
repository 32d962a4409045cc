/* Completion: what could follow the words typed so far. The completion scripts of the shells ask
 * `lodge --complete WORDS...`, whose last word may be begun or empty.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/session.h"

#include <stdio.h>
#include <string.h>

static void offer(const char *word, const char *begun)
{
    if (g_str_has_prefix(word, begun)) {
        printf("%s\n", word);
    }
}

static void offer_command(const CliCommand *command, void *begun)
{
    offer(command->name, begun);
}

static void offer_domains(CliSession *session, CliValue value, const char *begun)
{
    unsigned flags = value == CLI_VALUE_ACTIVE_DOMAIN     ? 1
                     : value == CLI_VALUE_INACTIVE_DOMAIN ? 2
                                                          : 0;
    LodgeConnection *connection = cli_session_connection(session, NULL);
    LodgeDomain **domains = connection ? lodge_list_domains(connection, flags, NULL, NULL) : NULL;
    for (LodgeDomain **domain = domains; domain && *domain; domain++) {
        offer((*domain)->name, begun);
    }
    lodge_domains_free(domains);
}

static void offer_options(const CliCommand *command, char *const *words, const char *begun)
{
    for (const CliOption *option = command->options; option && option->name; option++) {
        g_autofree char *word = g_strconcat("--", option->name, NULL);
        if (!g_strv_contains((const char *const *)words, word)) {
            offer(word, begun);
        }
    }
}

static void offer_value(CliSession *session, const CliOption *option, const char *begun)
{
    switch (option->value) {
    case CLI_VALUE_DOMAIN:
    case CLI_VALUE_ACTIVE_DOMAIN:
    case CLI_VALUE_INACTIVE_DOMAIN:
        offer_domains(session, option->value, begun);
        break;
    case CLI_VALUE_COMMAND:
        cli_command_foreach(offer_command, (void *)begun);
        break;
    default:
        break; /* the shell offers files */
    }
}

/* The option whose value comes next, or NULL. @words: those before the begun one. */
static const CliOption *awaited(const CliCommand *command, char *const *words)
{
    unsigned taken = 0;
    const CliOption *named = NULL;
    for (; *words; words++) {
        if (named) {
            named = NULL;
        } else if (g_str_has_prefix(*words, "--")) {
            const CliOption *option = cli_command_option(command, *words + 2);
            named = option && option->kind != CLI_FLAG ? option : NULL;
        } else {
            taken++;
        }
    }
    if (named) {
        return named;
    }
    for (const CliOption *option = command->options; option && option->name; option++) {
        bool is_positional = option->kind != CLI_FLAG && !(option->flags & CLI_NAMED);
        if (is_positional && (option->kind == CLI_REST || taken-- == 0)) {
            return option;
        }
    }
    return NULL;
}

void cli_complete(CliSession *session, char *const *words)
{
    unsigned count = g_strv_length((char **)words);
    const char *begun = count ? words[count - 1] : "";
    if (count <= 1) {
        cli_command_foreach(offer_command, (void *)begun);
        return;
    }
    const CliCommand *command = cli_command_find(words[0]);
    if (!command) {
        return;
    }
    if (g_str_has_prefix(begun, "-")) {
        offer_options(command, words, begun);
        return;
    }
    g_auto(GStrv) before = g_new0(char *, count);
    for (unsigned i = 1; i + 1 < count; i++) {
        before[i - 1] = g_strdup(words[i]);
    }
    const CliOption *option = awaited(command, before);
    if (option) {
        offer_value(session, option, begun);
    }
}
