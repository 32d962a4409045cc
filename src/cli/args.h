/* The arguments of one command: words bound to the command's options.
 *
 * A word that starts with "--" is an option (up to a lone "--"); any other goes to the first option
 * with a value that has none yet, in the command's order. Every command has --help.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_CLI_ARGS_H
#define LODGE_CLI_ARGS_H

#include "cli/command.h"

/* Binds @words (without the command's name; ends with NULL) to @command's options. Returns: the
 * arguments, or NULL with @error: unknown option, missing or unexpected value. Beside --help no
 * option is required. */
CliArgs *cli_args_bind(const CliCommand *command, char *const *words, GError **error);
void cli_args_free(CliArgs *args);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CliArgs, cli_args_free)

/* Whether --help was given: the command is to be explained, not run. */
bool cli_args_wants_help(const CliArgs *args);
bool cli_args_flag(const CliArgs *args, const char *option);
/* Returns: the value, or NULL if it was not given. Borrowed. */
const char *cli_args_string(const CliArgs *args, const char *option);
/* The words of the command's CLI_REST option; ends with NULL, may be empty. Borrowed. */
const char *const *cli_args_rest(const CliArgs *args);

/* The number of @option. @out_value is left alone if it was not given. Returns: false with @error
 * if the text is no number of the range @min to @max. */
bool cli_args_int(const CliArgs *args, const char *option, gint64 min, gint64 max,
                  gint64 *out_value, GError **error);
/* The same with a size: a number and an optional suffix (b, k, KiB, KB, M, MiB, ...). A number
 * without suffix counts @scale bytes. @out_value: bytes. */
bool cli_args_size(const CliArgs *args, const char *option, guint64 scale, guint64 *out_value,
                   GError **error);

/* Refuses two options of which only one may be given. */
bool cli_args_exclusive(const CliArgs *args, const char *one, const char *other, GError **error);

typedef enum CliImpact {
    CLI_IMPACT_CURRENT = 0,
    CLI_IMPACT_LIVE = 1,
    CLI_IMPACT_CONFIG = 2,
} CliImpact;

/* The bits of --live, --config and --current as libvirt's calls take them; refuses --current beside
 * another. */
bool cli_args_impact(const CliArgs *args, guint *out_flags, GError **error);

/* Splits a line into commands as a shell would: words in '' or "", \ before a character, commands
 * separated by ";", "#" starts a comment. Returns: an array of GStrv (transfer full), or NULL with
 * @error for a quote that is left open. */
GPtrArray *cli_split_line(const char *line, GError **error);

#endif
