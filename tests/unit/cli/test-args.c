/* Words and options of commands, lines of text, tables.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/args.h"
#include "cli/table.h"
#include "lib/check.h"

#include <stdlib.h>
#include <string.h>

static const CliOption sample_options[] = {
    { "domain", CLI_STRING, CLI_REQUIRED, CLI_VALUE_DOMAIN, "" },
    { "size", CLI_NUMBER, 0, CLI_VALUE_ANY, "" },
    { "unit", CLI_STRING, CLI_NAMED, CLI_VALUE_ANY, "" },
    { "live", CLI_FLAG, 0, CLI_VALUE_ANY, "" },
    { "config", CLI_FLAG, 0, CLI_VALUE_ANY, "" },
    { "current", CLI_FLAG, 0, CLI_VALUE_ANY, "" },
    { "more", CLI_REST, 0, CLI_VALUE_ANY, "" },
    CLI_OPTIONS_END,
};
static const CliCommand sample = { .name = "sample", .options = sample_options };

/* Every group is empty but this test's: the table that command.c looks in. */
static const CliCommand commands[] = {
    { .name = "start", .options = sample_options },
    { .name = "destroy" },
    { .name = NULL },
};
const CliGroup cli_groups[] = {
    { "domain", "Domains", (const CliCommand *const[]){ commands, NULL } },
    { NULL },
};

static CliArgs *bind(GError **error, const char *line)
{
    g_autoptr(GPtrArray) split = cli_split_line(line, NULL);
    static char *const none[] = { NULL };
    return cli_args_bind(&sample, split->len ? split->pdata[0] : none, error);
}

static void assert_refused(const char *line, const char *message)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(CliArgs) args = bind(&error, line);
    assert_null(args);
    assert_non_null(error);
    assert_non_null(strstr(error->message, message));
}

static void words_go_to_options_by_name_and_by_position(void **state)
{
    g_autoptr(CliArgs) args = bind(NULL, "web --live 0x20 one --unit=MiB -- --two");
    gint64 size = 0;
    assert_non_null(args);
    assert_string_equal(cli_args_string(args, "domain"), "web");
    assert_true(cli_args_int(args, "size", 0, 100, &size, NULL));
    assert_int_equal(size, 32);
    assert_string_equal(cli_args_string(args, "unit"), "MiB");
    assert_true(cli_args_flag(args, "live"));
    assert_false(cli_args_flag(args, "config"));
    assert_string_equal(cli_args_rest(args)[0], "one");
    assert_string_equal(cli_args_rest(args)[1], "--two");
    assert_null(cli_args_rest(args)[2]);
}

static void wrong_words_are_refused_by_name(void **state)
{
    assert_refused("", "requires <domain>");
    assert_refused("web --foo", "doesn't support option --foo");
    assert_refused("web --live=yes", "invalid '=' after option --live");
    assert_refused("web --unit", "expected syntax: --unit <string>");
    assert_refused("--domain a --domain b", "--domain already seen");
}

static void help_is_an_option_of_every_command(void **state)
{
    g_autoptr(CliArgs) asked = bind(NULL, "--live --help");
    assert_non_null(asked);
    assert_true(cli_args_wants_help(asked));
    g_autoptr(CliArgs) passed = bind(NULL, "web 1 -- --help");
    assert_non_null(passed);
    assert_false(cli_args_wants_help(passed));
    assert_string_equal(cli_args_rest(passed)[0], "--help");
    assert_refused("--help --foo", "doesn't support option --foo");
    assert_refused("--help=x", "doesn't support option --help");
}

static void current_beside_live_is_refused(void **state)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(CliArgs) args = bind(NULL, "web --live --current");
    guint flags;
    assert_false(cli_args_impact(args, &flags, &error));
    g_autoptr(CliArgs) both = bind(NULL, "web --live --config");
    assert_true(cli_args_impact(both, &flags, NULL));
    assert_int_equal(flags, CLI_IMPACT_LIVE | CLI_IMPACT_CONFIG);
}

static guint64 size_of(const char *line)
{
    g_autoptr(CliArgs) args = bind(NULL, line);
    guint64 bytes = 0xdead;
    return cli_args_size(args, "size", 1024, &bytes, NULL) ? bytes : 0xbad;
}

static void sizes_count_the_scale_without_a_suffix(void **state)
{
    assert_int_equal(size_of("web 5"), 5 * 1024);
    assert_int_equal(size_of("web 5b"), 5);
    assert_int_equal(size_of("web 5MiB"), 5 * 1024 * 1024);
    assert_int_equal(size_of("web 5mb"), 5000000);
    assert_int_equal(size_of("web 5g"), 5ull << 30);
    assert_int_equal(size_of("web 5q"), 0xbad);
    assert_int_equal(size_of("web x"), 0xbad);
    assert_int_equal(size_of("web 99999999999E"), 0xbad);
}

static void a_line_is_split_as_a_shell_would(void **state)
{
    g_autoptr(GPtrArray) split =
        cli_split_line("echo 'a b' \"c \\\" d\" e\\ f ''; list # rest; no\nend", NULL);
    assert_int_equal(split->len, 3);
    char **first = split->pdata[0];
    assert_int_equal(g_strv_length(first), 5);
    assert_string_equal(first[1], "a b");
    assert_string_equal(first[2], "c \" d");
    assert_string_equal(first[3], "e f");
    assert_string_equal(first[4], "");
    assert_string_equal(((char **)split->pdata[1])[0], "list");
    assert_string_equal(((char **)split->pdata[2])[0], "end");
}

static void an_open_quote_is_refused(void **state)
{
    g_autoptr(GError) error = NULL;
    assert_null(cli_split_line("echo 'a", &error));
    assert_non_null(error);
}

static void an_unknown_command_brings_the_nearest_one(void **state)
{
    g_autofree char *near = cli_command_unknown("strat");
    g_autofree char *far = cli_command_unknown("qqqqqq");
    assert_string_equal(near, "unknown command: 'strat'; did you mean 'start'?");
    assert_string_equal(far, "unknown command: 'qqqqqq'");
}

static char *printed(const CliTable *table, bool is_json, bool bare)
{
    char *text = NULL;
    size_t size;
    FILE *file = open_memstream(&text, &size);
    if (is_json) {
        cli_table_print_json(table, file);
    } else {
        cli_table_print(table, file, bare);
    }
    fclose(file);
    return text;
}

static void tables_look_as_virsh_prints_them(void **state)
{
    static const char *const headings[] = { "Id", "Name", "State", NULL };
    g_autoptr(CliTable) table = cli_table_new(headings);
    cli_table_add(table, "1", "test", "running");
    cli_table_add(table, NULL, "a\033b", "shut off");
    char *text = printed(table, false, false);
    char *bare = printed(table, false, true);
    char *json = printed(table, true, false);
    assert_string_equal(text, " Id   Name     State\n"
                              "-------------------------\n"
                              " 1    test     running\n"
                              " -    a\\x1bb   shut off\n");
    assert_string_equal(bare, " 1   test     running\n"
                              " -   a\\x1bb   shut off\n");
    assert_non_null(strstr(json, "\"id\" : 1"));
    assert_non_null(strstr(json, "\"id\" : null"));
    assert_non_null(strstr(json, "\"state\" : \"shut off\""));
    free(text);
    free(bare);
    free(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_go_to_options_by_name_and_by_position),
        cmocka_unit_test(wrong_words_are_refused_by_name),
        cmocka_unit_test(help_is_an_option_of_every_command),
        cmocka_unit_test(current_beside_live_is_refused),
        cmocka_unit_test(sizes_count_the_scale_without_a_suffix),
        cmocka_unit_test(a_line_is_split_as_a_shell_would),
        cmocka_unit_test(an_open_quote_is_refused),
        cmocka_unit_test(an_unknown_command_brings_the_nearest_one),
        cmocka_unit_test(tables_look_as_virsh_prints_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
