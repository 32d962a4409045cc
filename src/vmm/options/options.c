/* The command line: looks each word up in the groups' tables.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "gbase/error.h"
#include "gbase/strutil.h"
#include "vmm/options/table.h"

#include <string.h>

static const OptionGroup *const groups[] = {
    &machine_option_group, &boot_option_group,      &block_option_group,   &network_option_group,
    &device_option_group,  &character_option_group, &process_option_group,
};

static const OptionRow *find_row(const char *name)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(groups); i++) {
        for (const OptionRow *row = groups[i]->rows; row->name; row++) {
            if (!strcmp(row->name, name)) {
                return row;
            }
        }
    }
    return NULL;
}

static void set_unknown_error(const char *word, const char *name, GError **error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    for (unsigned i = 0; i < G_N_ELEMENTS(groups); i++) {
        for (const OptionRow *row = groups[i]->rows; row->name; row++) {
            g_ptr_array_add(names, (void *)row->name);
        }
    }
    g_ptr_array_add(names, NULL);
    const char *near = str_closest(name, (const char *const *)names->pdata);
    if (near) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND,
                    "option '%s' is not supported; did you mean '-%s'?", word, near);
    } else {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND,
                    "option '%s' is not supported; '-help' lists those that are", word);
    }
}

static bool apply_row(const OptionRow *row, MachineConfig *config, const char *argument,
                      GError **error)
{
    if (row->apply) {
        if (!row->apply(config, argument, error)) {
            g_prefix_error(error, "-%s: ", row->name);
            return false;
        }
    } else if (row->argument) {
        char **slot = (char **)((char *)config + row->text);
        g_free(*slot);
        *slot = g_strdup(argument);
    } else {
        *(bool *)((char *)config + row->flag) = true;
    }
    return true;
}

/* Reads the option at argv[i] with its argument. Returns how many words it took, 0 on failure. */
static int parse_option(int argc, char *const *argv, int i, MachineConfig *config, GError **error)
{
    const char *word = argv[i];
    if (word[0] != '-' || !word[1]) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "'%s' is no option; a disk image is given by -drive file=%s", word, word);
        return 0;
    }
    const char *name = word + (word[1] == '-' ? 2 : 1);
    const OptionRow *row = find_row(name);
    if (!row) {
        set_unknown_error(word, name, error);
        return 0;
    }
    if (row->argument && i + 1 >= argc) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "option '-%s' needs an argument: %s", name, row->argument);
        return 0;
    }
    if (!apply_row(row, config, row->argument ? argv[i + 1] : NULL, error)) {
        return 0;
    }
    return row->argument ? 2 : 1;
}

MachineConfig *options_parse(int argc, char *const *argv, GError **error)
{
    g_autoptr(MachineConfig) config = machine_config_new();
    for (int i = 1; i < argc && !config->help;) {
        int taken = parse_option(argc, argv, i, config, error);
        if (!taken) {
            return NULL;
        }
        i += taken;
    }
    if (!config->help && !options_finish(config, error)) {
        return NULL;
    }
    return g_steal_pointer(&config);
}

bool option_apply(const char *argument, const char *implied, const Property *table, void *object,
                  GError **error)
{
    g_autoptr(KeyvalList) list = keyval_parse(argument, implied, error);
    return list && keyval_apply(list, table, object, error);
}

static void format_row(const OptionRow *row, GString *out)
{
    g_autofree char *usage =
        g_strdup_printf("-%s%s%s", row->name, row->argument ? " " : "", row->argument ?: "");
    if (strlen(usage) < 22) {
        g_string_append_printf(out, "  %-22s %s\n", usage, row->help);
    } else {
        g_string_append_printf(out, "  %s\n  %-22s %s\n", usage, "", row->help);
    }
}

char *options_format_help(const char *program)
{
    GString *out = g_string_new(NULL);
    g_string_append_printf(
        out,
        "Usage: %s [options]\n"
        "Runs a guest. Options are written with one dash or two. '-device help', "
        "'-machine help',\n'-cpu help', '-accel help', '-netdev help', "
        "'-chardev help' and '-object help' list what there is.\n",
        program);
    for (unsigned i = 0; i < G_N_ELEMENTS(groups); i++) {
        g_string_append_printf(out, "\n%s:\n", groups[i]->title);
        for (const OptionRow *row = groups[i]->rows; row->name; row++) {
            if (row->help) {
                format_row(row, out);
            }
        }
    }
    return g_string_free(out, FALSE);
}
