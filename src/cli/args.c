/* Binding of words to options, and typed access to the values.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/args.h"

#include "gbase/error.h"

#include <string.h>

struct CliArgs {
    const CliCommand *command;
    const char **values; /* by option's position; borrowed from words; flags: "" */
    GPtrArray *rest;     /* borrowed words, NULL at the end */
    char **words;
    bool wants_help;
};

static unsigned option_count(const CliCommand *command)
{
    unsigned count = 0;
    while (command->options && command->options[count].name) {
        count++;
    }
    return count;
}

static int option_index(const CliCommand *command, const char *name)
{
    const CliOption *option = cli_command_option(command, name);
    return option ? (int)(option - command->options) : -1;
}

void cli_args_free(CliArgs *args)
{
    if (args) {
        g_free(args->values);
        g_ptr_array_free(args->rest, TRUE);
        g_strfreev(args->words);
        g_free(args);
    }
}

static void usage_error(GError **error, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
static void usage_error(GError **error, const char *fmt, ...)
{
    va_list list;
    va_start(list, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, list);
    va_end(list);
    g_set_error_literal(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, text);
}

static const char *kind_name(const CliOption *option)
{
    return option->kind == CLI_NUMBER ? "number" : "string";
}

/* The option that takes the next word by position, or -1. */
static int next_positional(const CliArgs *args)
{
    for (unsigned i = 0; i < option_count(args->command); i++) {
        const CliOption *option = &args->command->options[i];
        bool is_positional = option->kind != CLI_FLAG && !(option->flags & CLI_NAMED);
        if (is_positional && (!args->values[i] || option->kind == CLI_REST)) {
            return (int)i;
        }
    }
    return -1;
}

static void set_value(CliArgs *args, int index, const char *value)
{
    args->values[index] = value;
    if (args->command->options[index].kind == CLI_REST) {
        g_ptr_array_add(args->rest, (gpointer)value);
    }
}

/* Binds "--name", "--name=value" or "--name value". Returns the words used, 0 on an error. */
static unsigned bind_option(CliArgs *args, char **words, GError **error)
{
    const char *text = words[0] + 2;
    const char *equals = strchr(text, '=');
    g_autofree char *name = equals ? g_strndup(text, (gsize)(equals - text)) : g_strdup(text);
    int index = option_index(args->command, name);
    if (index < 0 && strcmp(text, "help") == 0) {
        args->wants_help = true;
        return 1;
    }
    if (index < 0) {
        /* Older spellings: --total_bytes_sec. */
        g_autofree char *dashed = g_strdelimit(g_strdup(name), "_", '-');
        index = option_index(args->command, dashed);
    }
    if (index < 0) {
        usage_error(error, "command '%s' doesn't support option --%s", args->command->name, name);
        return 0;
    }
    const CliOption *option = &args->command->options[index];
    if (args->values[index] && option->kind != CLI_REST) {
        usage_error(error, "option --%s already seen", name);
        return 0;
    }
    if (option->kind == CLI_FLAG) {
        if (equals) {
            usage_error(error, "invalid '=' after option --%s", name);
            return 0;
        }
        args->values[index] = "";
        return 1;
    }
    if (equals) {
        set_value(args, index, equals + 1);
        return 1;
    }
    if (!words[1]) {
        usage_error(error, "expected syntax: --%s <%s>", name, kind_name(option));
        return 0;
    }
    set_value(args, index, words[1]);
    return 2;
}

static bool bind_words(CliArgs *args, GError **error)
{
    bool only_values = false;
    for (char **word = args->words; *word;) {
        if (!only_values && strcmp(*word, "--") == 0) {
            only_values = true;
            word++;
        } else if (!only_values && g_str_has_prefix(*word, "--")) {
            unsigned used = bind_option(args, word, error);
            if (used == 0) {
                return false;
            }
            word += used;
        } else {
            int index = next_positional(args);
            if (index < 0) {
                usage_error(error, "unexpected data '%s'", *word);
                return false;
            }
            set_value(args, index, *word++);
        }
    }
    return true;
}

static bool has_required(const CliArgs *args, GError **error)
{
    for (unsigned i = 0; i < option_count(args->command); i++) {
        const CliOption *option = &args->command->options[i];
        if (!(option->flags & CLI_REQUIRED) || args->values[i]) {
            continue;
        }
        bool is_named = (option->flags & CLI_NAMED) || option->kind == CLI_NUMBER;
        usage_error(error, "command '%s' requires %s%s%s option", args->command->name,
                    is_named ? "--" : "<", option->name, is_named ? "" : ">");
        return false;
    }
    return true;
}

CliArgs *cli_args_bind(const CliCommand *command, char *const *words, GError **error)
{
    CliArgs *args = g_new0(CliArgs, 1);
    args->command = command;
    args->values = g_new0(const char *, option_count(command) + 1);
    args->rest = g_ptr_array_new();
    args->words = g_strdupv((char **)words);
    if (!bind_words(args, error) || (!args->wants_help && !has_required(args, error))) {
        cli_args_free(args);
        return NULL;
    }
    g_ptr_array_add(args->rest, NULL);
    return args;
}

static const char *value_of(const CliArgs *args, const char *option)
{
    int index = option_index(args->command, option);
    return index < 0 ? NULL : args->values[index];
}

bool cli_args_wants_help(const CliArgs *args)
{
    return args->wants_help;
}

bool cli_args_flag(const CliArgs *args, const char *option)
{
    return value_of(args, option) != NULL;
}

const char *cli_args_string(const CliArgs *args, const char *option)
{
    return value_of(args, option);
}

const char *const *cli_args_rest(const CliArgs *args)
{
    return (const char *const *)args->rest->pdata;
}

bool cli_args_int(const CliArgs *args, const char *option, gint64 min, gint64 max,
                  gint64 *out_value, GError **error)
{
    const char *text = value_of(args, option);
    if (!text) {
        return true;
    }
    char *end;
    gint64 value = g_ascii_strtoll(text, &end, 0);
    if (*text == '\0' || *end != '\0' || value < min || value > max) {
        usage_error(error, "Numeric value '%s' for <%s> option is malformed or out of range", text,
                    option);
        return false;
    }
    *out_value = value;
    return true;
}

/* "", b/bytes, k/KiB (1024), KB (1000), ... Returns 0 for an unknown suffix. */
static guint64 suffix_factor(const char *suffix, guint64 scale)
{
    static const char units[] = "kmgtpe";
    if (*suffix == '\0') {
        return scale;
    }
    if (g_ascii_strcasecmp(suffix, "b") == 0 || g_ascii_strcasecmp(suffix, "bytes") == 0 ||
        g_ascii_strcasecmp(suffix, "byte") == 0) {
        return 1;
    }
    const char *unit = strchr(units, g_ascii_tolower(*suffix));
    if (!unit) {
        return 0;
    }
    bool is_decimal = g_ascii_strcasecmp(suffix + 1, "b") == 0;
    if (!is_decimal && suffix[1] != '\0' && g_ascii_strcasecmp(suffix + 1, "ib") != 0) {
        return 0;
    }
    guint64 factor = 1;
    for (const char *step = units; step <= unit; step++) {
        factor *= is_decimal ? 1000 : 1024;
    }
    return factor;
}

bool cli_args_size(const CliArgs *args, const char *option, guint64 scale, guint64 *out_value,
                   GError **error)
{
    const char *text = value_of(args, option);
    if (!text) {
        return true;
    }
    guint64 number, factor = 0;
    char *end = NULL;
    if (g_ascii_isdigit(*text)) {
        number = g_ascii_strtoull(text, &end, 10);
        while (*end == ' ') {
            end++;
        }
        factor = suffix_factor(end, scale);
    }
    if (factor == 0 || !g_uint64_checked_mul(out_value, number, factor)) {
        usage_error(error, "Scaled numeric value '%s' for <%s> option is malformed or out of range",
                    text, option);
        return false;
    }
    return true;
}

bool cli_args_exclusive(const CliArgs *args, const char *one, const char *other, GError **error)
{
    if (value_of(args, one) && value_of(args, other)) {
        usage_error(error, "Options --%s and --%s are mutually exclusive", one, other);
        return false;
    }
    return true;
}

bool cli_args_impact(const CliArgs *args, guint *out_flags, GError **error)
{
    *out_flags = (cli_args_flag(args, "live") ? CLI_IMPACT_LIVE : 0) |
                 (cli_args_flag(args, "config") ? CLI_IMPACT_CONFIG : 0);
    return cli_args_exclusive(args, "current", "live", error) &&
           cli_args_exclusive(args, "current", "config", error);
}
