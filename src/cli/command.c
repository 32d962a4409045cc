/* Look-ups in the table of commands.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/command.h"

#include "gbase/strutil.h"

#include <string.h>

static const CliCommand *find_in(const CliGroup *group, const char *name)
{
    for (unsigned i = 0; group->tables[i]; i++) {
        for (const CliCommand *command = group->tables[i]; command->name; command++) {
            if (strcmp(command->name, name) == 0) {
                return command;
            }
        }
    }
    return NULL;
}

const CliCommand *cli_command_find(const char *name)
{
    const CliCommand *found = NULL;
    for (const CliGroup *group = cli_groups; group->name && !found; group++) {
        found = find_in(group, name);
    }
    return found;
}

const CliGroup *cli_group_find(const char *name)
{
    for (const CliGroup *group = cli_groups; group->name; group++) {
        if (strcmp(group->name, name) == 0) {
            return group;
        }
    }
    return NULL;
}

const CliOption *cli_command_option(const CliCommand *command, const char *name)
{
    for (const CliOption *option = command->options; option && option->name; option++) {
        if (strcmp(option->name, name) == 0) {
            return option;
        }
    }
    return NULL;
}

static int compare_names(gconstpointer a, gconstpointer b)
{
    const CliCommand *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

GPtrArray *cli_group_list(const CliGroup *group)
{
    GPtrArray *list = g_ptr_array_new();
    for (unsigned i = 0; group->tables[i]; i++) {
        for (const CliCommand *command = group->tables[i]; command->name; command++) {
            if (!(command->flags & CLI_ALIAS)) {
                g_ptr_array_add(list, (gpointer)command);
            }
        }
    }
    g_ptr_array_sort(list, compare_names);
    return list;
}

void cli_command_foreach(void (*visit)(const CliCommand *command, void *opaque), void *opaque)
{
    for (const CliGroup *group = cli_groups; group->name; group++) {
        g_autoptr(GPtrArray) list = cli_group_list(group);
        for (unsigned i = 0; i < list->len; i++) {
            visit(list->pdata[i], opaque);
        }
    }
}

static void add_name(const CliCommand *command, void *opaque)
{
    g_ptr_array_add(opaque, (gpointer)command->name);
}

char *cli_command_suggestion(const char *name)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    cli_command_foreach(add_name, names);
    g_ptr_array_add(names, NULL);
    return str_did_you_mean(name, (const char *const *)names->pdata);
}

char *cli_command_unknown(const char *name)
{
    const char *subject = cli_later_subject(name);
    if (subject) {
        return g_strdup_printf(
            "'%s' is a command of virsh that lodge does not have yet: it does not "
            "manage %s",
            name, subject);
    }
    g_autofree char *hint = cli_command_suggestion(name);
    return g_strdup_printf("unknown command: '%s'%s", name, hint);
}
