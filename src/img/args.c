/* Binds the words of a command line to the options of a command.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "gbase/error.h"
#include "gbase/size.h"
#include "gbase/strutil.h"
#include "img/command.h"

#include <string.h>

typedef struct Given {
    const ImgOption *option;
    const char *value; /* NULL for a flag */
} Given;

struct ImgArgs {
    const ImgCommand *command;
    GArray *given;       /* of Given, in order */
    GPtrArray *operands; /* borrowed words */
};

static void set_error(GError **error, char *message)
{
    g_set_error_literal(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, message);
    g_free(message);
}

static bool option_is(const ImgOption *option, const char *key)
{
    if (option->name) {
        return strcmp(option->name, key) == 0;
    }
    return key[0] == option->letter && !key[1];
}

static const ImgOption *find_letter(const ImgCommand *command, char letter)
{
    for (const ImgOption *o = command->options; o->help; o++) {
        if (o->letter == letter) {
            return o;
        }
    }
    return NULL;
}

/* All long names, for the suggestion of an error message. */
static char *suggest_long(const ImgCommand *command, const char *word)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    for (const ImgOption *o = command->options; o->help; o++) {
        if (o->name) {
            g_ptr_array_add(names, (char *)o->name);
        }
    }
    g_ptr_array_add(names, NULL);
    const char *near = str_closest(word, (const char *const *)names->pdata);
    return near ? g_strdup_printf("; did you mean '--%s'?", near) : g_strdup("");
}

/* @length bytes of @name: the option of that name, or the only one that starts so. */
static const ImgOption *find_long(const ImgCommand *command, const char *name, size_t length,
                                  GError **error)
{
    const ImgOption *found = NULL;
    bool is_ambiguous = false;
    for (const ImgOption *o = command->options; o->help; o++) {
        if (!o->name || strncmp(o->name, name, length) != 0) {
            continue;
        }
        if (!o->name[length]) {
            return o;
        }
        is_ambiguous = found != NULL;
        found = o;
    }
    if (found && !is_ambiguous) {
        return found;
    }
    g_autofree char *word = g_strndup(name, length);
    if (is_ambiguous) {
        set_error(error, g_strdup_printf("option '--%s' is ambiguous", word));
        return NULL;
    }
    g_autofree char *hint = suggest_long(command, word);
    set_error(error, g_strdup_printf("unrecognized option '--%s'%s", word, hint));
    return NULL;
}

/* One word "--name" or "--name=value". @next: the word behind; true in *out_used if it was the
 * value. */
static bool parse_long(ImgArgs *args, const char *word, const char *next, bool *out_used,
                       GError **error)
{
    size_t length = strcspn(word, "=");
    const ImgOption *option = find_long(args->command, word, length, error);
    if (!option) {
        return false;
    }
    Given given = { .option = option };
    if (word[length] && !option->value) {
        set_error(error, g_strdup_printf("option '--%s' takes no value", option->name));
        return false;
    }
    if (option->value) {
        given.value = word[length] ? word + length + 1 : next;
        *out_used = !word[length];
        if (!given.value) {
            set_error(error, g_strdup_printf("option '--%s' needs a value", option->name));
            return false;
        }
    }
    g_array_append_val(args->given, given);
    return true;
}

/* One word of letters behind its "-". */
static bool parse_letters(ImgArgs *args, const char *word, const char *next, bool *out_used,
                          GError **error)
{
    for (const char *p = word; *p; p++) {
        const ImgOption *option = find_letter(args->command, *p);
        if (!option) {
            set_error(error, g_strdup_printf("unrecognized option '-%c'", *p));
            return false;
        }
        Given given = { .option = option };
        if (option->value) {
            given.value = p[1] ? p + 1 : next;
            *out_used = !p[1];
            if (!given.value) {
                set_error(error, g_strdup_printf("option '-%c' needs a value", *p));
                return false;
            }
        }
        g_array_append_val(args->given, given);
        if (option->value) {
            break;
        }
    }
    return true;
}

ImgArgs *img_args_parse(const ImgCommand *command, char *const *words, GError **error)
{
    g_autoptr(ImgArgs) args = g_new0(ImgArgs, 1);
    args->command = command;
    args->given = g_array_new(FALSE, FALSE, sizeof(Given));
    args->operands = g_ptr_array_new();
    bool only_operands = false;
    for (unsigned i = 0; words[i]; i++) {
        const char *word = words[i];
        bool used = false;
        /* "-1G" is a size where no option has that letter. */
        bool is_number = g_ascii_isdigit(word[1]) && !find_letter(command, word[1]);
        if (only_operands || word[0] != '-' || !word[1] || is_number) {
            g_ptr_array_add(args->operands, words[i]);
        } else if (strcmp(word, "--") == 0) {
            only_operands = true;
        } else if (word[1] == '-' ? !parse_long(args, word + 2, words[i + 1], &used, error)
                                  : !parse_letters(args, word + 1, words[i + 1], &used, error)) {
            return NULL;
        }
        i += used;
    }
    return g_steal_pointer(&args);
}

void img_args_free(ImgArgs *args)
{
    if (args) {
        g_array_free(args->given, TRUE);
        g_ptr_array_free(args->operands, TRUE);
        g_free(args);
    }
}

const ImgCommand *img_args_command(const ImgArgs *args)
{
    return args->command;
}

static const Given *last_given(const ImgArgs *args, const char *option)
{
    for (unsigned i = args->given->len; i-- > 0;) {
        const Given *given = &g_array_index(args->given, Given, i);
        if (option_is(given->option, option)) {
            return given;
        }
    }
    return NULL;
}

bool img_args_flag(const ImgArgs *args, const char *option)
{
    return last_given(args, option) != NULL;
}

const char *img_args_value(const ImgArgs *args, const char *option)
{
    const Given *given = last_given(args, option);
    return given ? given->value : NULL;
}

char *img_args_joined(const ImgArgs *args, const char *option)
{
    g_autoptr(GString) joined = NULL;
    for (unsigned i = 0; i < args->given->len; i++) {
        const Given *given = &g_array_index(args->given, Given, i);
        if (!option_is(given->option, option)) {
            continue;
        }
        if (!joined) {
            joined = g_string_new(given->value);
        } else {
            g_string_append_printf(joined, ",%s", given->value);
        }
    }
    return joined ? g_string_free(g_steal_pointer(&joined), FALSE) : NULL;
}

unsigned img_args_operands(const ImgArgs *args)
{
    return args->operands->len;
}

const char *img_args_operand(const ImgArgs *args, unsigned index)
{
    return index < args->operands->len ? args->operands->pdata[index] : NULL;
}

bool img_args_given(const ImgArgs *args, unsigned index, const char **out_option,
                    const char **out_value)
{
    if (index >= args->given->len) {
        return false;
    }
    const Given *given = &g_array_index(args->given, Given, index);
    *out_option = given->option->name;
    *out_value = given->value;
    return true;
}

bool img_args_size(const ImgArgs *args, const char *option, guint64 max, guint64 *out_bytes)
{
    const char *text = img_args_value(args, option);
    guint64 bytes = 0;
    g_autoptr(GError) error = NULL;
    if (!text) {
        return true;
    }
    if (!size_parse(text, 1, &bytes, &error)) {
        img_error("%s%s: %s", option[1] ? "--" : "-", option, error->message);
        return false;
    }
    if (bytes > max) {
        img_error("%s%s: '%s' is past the limit of %" G_GUINT64_FORMAT " bytes",
                  option[1] ? "--" : "-", option, text, max);
        return false;
    }
    *out_bytes = bytes;
    return true;
}

bool img_args_number(const ImgArgs *args, const char *option, guint64 min, guint64 max,
                     guint64 *out_value)
{
    const char *text = img_args_value(args, option);
    guint64 value = 0;
    if (!text) {
        return true;
    }
    if (!str_parse_u64(text, &value) || value < min || value > max) {
        img_error("%s%s: '%s' is no number from %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT,
                  option[1] ? "--" : "-", option, text, min, max);
        return false;
    }
    *out_value = value;
    return true;
}

bool img_args_output(const ImgArgs *args, bool *out_json)
{
    const char *text = img_args_value(args, "output");
    *out_json = text && strcmp(text, "json") == 0;
    if (text && !*out_json && strcmp(text, "human") != 0) {
        img_error("--output must be used with human or json as argument.");
        return false;
    }
    return true;
}

bool img_args_count(const ImgArgs *args, unsigned min, unsigned max, const char *what)
{
    if (args->operands->len < min || args->operands->len > max) {
        img_error("Expecting %s\nTry 'lodge-img %s --help' for more information", what,
                  args->command->name);
        return false;
    }
    return true;
}
