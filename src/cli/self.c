/* Commands about the program itself: help, quit, connect, cd, pwd, echo.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/groups.h"
#include "cli/session.h"
#include "gbase/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void print_group(const CliGroup *group)
{
    printf(" %s (help keyword '%s'):\n", group->title, group->name);
    g_autoptr(GPtrArray) list = cli_group_list(group);
    for (unsigned i = 0; i < list->len; i++) {
        const CliCommand *command = list->pdata[i];
        printf("    %-30s %s\n", command->name, command->summary);
    }
    putchar('\n');
}

static const char *value_word(const CliOption *option)
{
    return option->kind == CLI_NUMBER ? "number" : "string";
}

static void print_synopsis(const CliCommand *command)
{
    printf("  SYNOPSIS\n    %s", command->name);
    for (const CliOption *option = command->options; option && option->name; option++) {
        bool is_required = option->flags & CLI_REQUIRED;
        if (option->kind == CLI_FLAG) {
            printf(" [--%s]", option->name);
        } else if (option->kind == CLI_REST) {
            printf(is_required ? " <%s>..." : " [<%s>]...", option->name);
        } else if (is_required && !(option->flags & CLI_NAMED)) {
            printf(" <%s>", option->name);
        } else {
            printf(is_required ? " --%s <%s>" : " [--%s <%s>]", option->name, value_word(option));
        }
    }
    printf("\n\n");
}

static void print_option(const CliOption *option)
{
    g_autofree char *text = NULL;
    if (option->kind == CLI_FLAG) {
        text = g_strdup_printf("--%s", option->name);
    } else if (option->kind == CLI_REST) {
        text = g_strdup_printf("<%s>", option->name);
    } else if (option->flags & CLI_REQUIRED) {
        text = g_strdup_printf("[--%s] <%s>", option->name, value_word(option));
    } else {
        text = g_strdup_printf("--%s <%s>", option->name, value_word(option));
    }
    printf("    %-28s %s\n", text, option->help);
}

static void print_command(const CliCommand *command)
{
    printf("  NAME\n    %s - %s\n\n", command->name, command->summary);
    print_synopsis(command);
    if (command->description) {
        g_auto(GStrv) lines = g_strsplit(command->description, "\n", -1);
        printf("  DESCRIPTION\n");
        for (char **line = lines; *line; line++) {
            printf("    %s\n", *line);
        }
        putchar('\n');
    }
    if (command->options && command->options->name) {
        printf("  OPTIONS\n");
        for (const CliOption *option = command->options; option->name; option++) {
            print_option(option);
        }
        putchar('\n');
    }
}

static bool run_help(CliSession *session, const CliArgs *args, GError **error)
{
    const char *word = cli_args_string(args, "command");
    if (!word) {
        printf("Grouped commands:\n\n");
        for (const CliGroup *group = cli_groups; group->name; group++) {
            print_group(group);
        }
        return true;
    }
    const CliCommand *command = cli_command_find(word);
    const CliGroup *group = cli_group_find(word);
    if (command) {
        print_command(command);
    } else if (group) {
        print_group(group);
    } else if (cli_later_subject(word)) {
        g_autofree char *text = cli_command_unknown(word);
        g_set_error_literal(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND, text);
        return false;
    } else {
        g_autofree char *hint = cli_command_suggestion(word);
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND,
                    "command or command group '%s' doesn't exist%s", word, hint);
        return false;
    }
    return true;
}

static bool run_quit(CliSession *session, const CliArgs *args, GError **error)
{
    session->wants_quit = true;
    return true;
}

static bool run_connect(CliSession *session, const CliArgs *args, GError **error)
{
    cli_session_disconnect(session);
    const char *uri = cli_args_string(args, "name");
    if (uri) {
        g_free(session->uri);
        session->uri = g_strdup(uri);
    }
    session->is_readonly = cli_args_flag(args, "readonly");
    return cli_session_connection(session, error) != NULL;
}

static bool run_cd(CliSession *session, const CliArgs *args, GError **error)
{
    const char *folder = cli_args_string(args, "dir");
    folder = folder ? folder : g_get_home_dir();
    if (!session->is_interactive) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "cd: command valid only in interactive mode");
        return false;
    }
    if (chdir(folder) != 0) {
        lodge_error_set_errno(error, errno, "cd: %s", folder);
        return false;
    }
    return true;
}

static bool run_pwd(CliSession *session, const CliArgs *args, GError **error)
{
    g_autofree char *folder = g_get_current_dir();
    cli_print(session, "%s", folder);
    return true;
}

/* Quotes @word for a shell where it needs it. (transfer full) */
static char *shell_word(const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_-./:=@%+,";
    return *word && strspn(word, plain) == strlen(word) ? g_strdup(word) : g_shell_quote(word);
}

static bool run_echo(CliSession *session, const CliArgs *args, GError **error)
{
    g_autoptr(GString) text = g_string_new(NULL);
    for (const char *const *word = cli_args_rest(args); *word; word++) {
        g_autofree char *xml =
            cli_args_flag(args, "xml") ? g_markup_escape_text(*word, -1) : g_strdup(*word);
        g_autofree char *shown = cli_args_flag(args, "shell") ? shell_word(xml) : g_strdup(xml);
        g_string_append_printf(text, "%s%s", text->len ? " " : "", shown);
    }
    if (cli_args_string(args, "prefix")) {
        g_string_prepend(text, " ");
        g_string_prepend(text, cli_args_string(args, "prefix"));
    }
    if (cli_args_flag(args, "err")) {
        fprintf(stderr, "%s\n", text->str);
    } else {
        cli_print(session, "%s", text->str);
    }
    return true;
}

const CliCommand cli_self_commands[] = {
    { "help", "list the commands, or explain one",
      "Without an argument all groups with their commands are listed.",
      (const CliOption[]){
          { "command", CLI_STRING, 0, CLI_VALUE_COMMAND, "a command, or the keyword of a group" },
          CLI_OPTIONS_END,
      },
      CLI_NO_CONNECTION | CLI_BARE, run_help },
    { "connect", "connect to another daemon", "Closes the present connection first.",
      (const CliOption[]){
          { "name", CLI_STRING, 0, CLI_VALUE_ANY, "its URI; the present one if left out" },
          { "readonly", CLI_FLAG, 0, CLI_VALUE_ANY, "read, never change" },
          CLI_OPTIONS_END,
      },
      CLI_NO_CONNECTION, run_connect },
    { "cd", "change the working folder", "Only within the interactive shell.",
      (const CliOption[]){
          { "dir", CLI_STRING, 0, CLI_VALUE_FILE, "the folder; home if left out" },
          CLI_OPTIONS_END,
      },
      CLI_NO_CONNECTION | CLI_BARE, run_cd },
    { "pwd", "print the working folder", NULL, NULL, CLI_NO_CONNECTION | CLI_BARE, run_pwd },
    { "echo", "print the arguments", "Handy for trying out quoting.",
      (const CliOption[]){
          { "shell", CLI_FLAG, 0, CLI_VALUE_ANY, "quoted for a shell" },
          { "xml", CLI_FLAG, 0, CLI_VALUE_ANY, "escaped for XML" },
          { "err", CLI_FLAG, 0, CLI_VALUE_ANY, "to standard error" },
          { "prefix", CLI_STRING, CLI_NAMED, CLI_VALUE_ANY, "a text before the arguments" },
          { "string", CLI_REST, 0, CLI_VALUE_ANY, "what to print" },
          CLI_OPTIONS_END,
      },
      CLI_NO_CONNECTION | CLI_BARE, run_echo },
    { "quit", "leave the interactive shell", NULL, NULL, CLI_NO_CONNECTION | CLI_BARE, run_quit },
    { "exit", "leave the interactive shell", NULL, NULL, CLI_NO_CONNECTION | CLI_BARE, run_quit },
    { NULL },
};
