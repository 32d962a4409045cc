/* Help texts, made from the tables of options.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "gbase/strutil.h"
#include "img/command.h"

#include <stdio.h>
#include <string.h>

#define OPTION_WIDTH 28

/* "-f fmt", "-U, --force-share", "--output=ofmt" (transfer full) */
static char *option_label(const ImgOption *option)
{
    GString *label = g_string_new(NULL);
    if (option->letter) {
        g_string_append_printf(label, "-%c", option->letter);
    }
    if (option->name) {
        g_string_append_printf(label, "%s--%s", option->letter ? ", " : "", option->name);
    }
    if (option->value) {
        g_string_append_printf(label, "%c%s", option->name ? '=' : ' ', option->value);
    }
    return g_string_free(label, FALSE);
}

static void print_option(const ImgOption *option)
{
    g_autofree char *label = option_label(option);
    g_auto(GStrv) lines = g_strsplit(option->help, "\n", -1);
    if (strlen(label) + 2 <= OPTION_WIDTH) {
        printf("  %-*s  %s\n", OPTION_WIDTH, label, lines[0]);
    } else {
        printf("  %s\n  %-*s  %s\n", label, OPTION_WIDTH, "", lines[0]);
    }
    for (unsigned i = 1; lines[i]; i++) {
        printf("  %-*s  %s\n", OPTION_WIDTH, "", lines[i]);
    }
}

void img_print_command_help(const ImgCommand *command)
{
    printf("Usage: lodge-img %s [options] %s\n%s.\n\nOptions:\n", command->name, command->operands,
           command->summary);
    for (const ImgOption *o = command->options; o->help; o++) {
        print_option(o);
    }
}

void img_print_help(void)
{
    printf("lodge-img version %s: work on disk images\n"
           "Usage: lodge-img [options] command [command options]\n"
           "\n"
           "Options:\n"
           "  -h, --help                    this help; behind a command: help of the command\n"
           "  -V, --version                 print the version\n"
           "  -T, --trace=pattern           accepted for compatibility\n"
           "\n"
           "Commands:\n",
           LODGE_VERSION);
    for (const ImgCommand *c = img_commands; c->name; c++) {
        printf("  %-10s %s\n", c->name, c->summary);
    }
    for (const ImgCommand *c = img_commands; c->name; c++) {
        printf("\nlodge-img %s [options] %s:\n", c->name, c->operands);
        for (const ImgOption *o = c->options; o->help; o++) {
            print_option(o);
        }
    }
    printf("\nSizes are in bytes or have a suffix: k, M, G, T, P, E (powers of 1024).\n");
}

const ImgCommand *img_command_find(const char *name)
{
    for (const ImgCommand *c = img_commands; c->name; c++) {
        if (strcmp(c->name, name) == 0) {
            return c;
        }
    }
    return NULL;
}

char *img_command_unknown(const char *name)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    for (const ImgCommand *c = img_commands; c->name; c++) {
        g_ptr_array_add(names, (char *)c->name);
    }
    g_ptr_array_add(names, NULL);
    g_autofree char *hint = str_suggestion(name, (const char *const *)names->pdata);
    return g_strdup_printf("Command not found: %s%s", name, hint);
}
