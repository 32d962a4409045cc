/* Reads a domain's XML as the daemon would define it and writes the stored form: for comparing with
 * expected texts and with other programs.
 * Usage: conf-convert FILE...      one definition after the other; errors as "error CODE: TEXT"
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "environment.h"

#include <stdio.h>
#include <string.h>

static char *convert(const char *text, const DomainEnvironment *env, GPtrArray *warnings)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(DomainDef) def = domain_def_parse(text, DOMAIN_PARSE_INACTIVE, env, warnings, &error);
    if (def == NULL) {
        return g_strdup_printf("error %d: %s\n", error->code, error->message);
    }
    g_autofree char *xml = domain_def_format(def, DOMAIN_FORMAT_INACTIVE | DOMAIN_FORMAT_SECURE);
    /* What is written is read back as it is, also by way of a copy. */
    g_autoptr(DomainDef) again = domain_def_parse(xml, DOMAIN_PARSE_INACTIVE, env, NULL, &error);
    if (again == NULL) {
        return g_strdup_printf("unstable, error %d: %s\n", error->code, error->message);
    }
    g_autoptr(DomainDef) copy = domain_def_copy(again);
    g_autofree char *xml2 = domain_def_format(copy, DOMAIN_FORMAT_INACTIVE | DOMAIN_FORMAT_SECURE);
    if (strcmp(xml, xml2) != 0) {
        return g_strdup_printf("unstable:\n%s--- and then ---\n%s", xml, xml2);
    }
    return g_steal_pointer(&xml);
}

int main(int argc, char **argv)
{
    const DomainEnvironment env = test_environment;
    for (int i = 1; i < argc; i++) {
        g_autofree char *text = NULL;
        g_autoptr(GError) error = NULL;
        if (!g_file_get_contents(argv[i], &text, NULL, &error)) {
            fprintf(stderr, "%s\n", error->message);
            return 1;
        }
        g_autoptr(GPtrArray) warnings = g_ptr_array_new_with_free_func(g_free);
        g_autofree char *out = convert(text, &env, warnings);
        printf("%s", out);
        for (unsigned w = 0; w < warnings->len; w++) {
            printf("warning: %s\n", (const char *)warnings->pdata[w]);
        }
        if (argc > 2) {
            putchar('\f');
        }
    }
    return 0;
}
