/* lodge: the command line of Lodge. Options as virsh's.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/session.h"
#include "gbase/error.h"

#include <getopt.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPTION_JSON = 256, OPTION_COLOR, OPTION_COMPLETE };

static const struct option options[] = {
    { "connect", required_argument, NULL, 'c' },
    { "debug", required_argument, NULL, 'd' },
    { "escape", required_argument, NULL, 'e' },
    { "help", no_argument, NULL, 'h' },
    { "keepalive-interval", required_argument, NULL, 'k' },
    { "keepalive-count", required_argument, NULL, 'K' },
    { "log", required_argument, NULL, 'l' },
    { "quiet", no_argument, NULL, 'q' },
    { "readonly", no_argument, NULL, 'r' },
    { "timing", no_argument, NULL, 't' },
    { "version", optional_argument, NULL, 'v' },
    { "json", no_argument, NULL, OPTION_JSON },
    { "color", required_argument, NULL, OPTION_COLOR },
    { "complete", no_argument, NULL, OPTION_COMPLETE },
    { NULL },
};

static void print_usage(void)
{
    printf("lodge [OPTION]... [COMMAND [ARGUMENT]...]\n"
           "lodge [OPTION]... 'COMMAND ARGUMENT...; COMMAND...'\n"
           "Without a command: an interactive shell.\n\n"
           "  -c, --connect URI              the daemon to talk to, as libvirt's URIs\n"
           "  -r, --readonly                 read, never change\n"
           "  -q, --quiet                    results only: no headings, no notes\n"
           "      --json                     results as JSON\n"
           "      --color auto|always|never  colours (auto: on a terminal)\n"
           "  -t, --timing                   print how long each command took\n"
           "  -e, --escape CHAR              leaves a console (^]); ^X is Ctrl-X\n"
           "  -k, --keepalive-interval NUM   seconds between keepalive probes; 0: none\n"
           "  -K, --keepalive-count NUM      unanswered probes that end the connection\n"
           "  -v, -V, --version[=long]       version\n"
           "  -h, --help                     this text\n\n"
           "'lodge help' lists the commands, 'lodge help COMMAND' explains one.\n");
}

static bool parse_escape(CliSession *session, const char *text)
{
    if (text[0] == '^' && text[1] && !text[2]) {
        session->escape_character = g_ascii_toupper(text[1]) ^ 0x40;
    } else if (text[0] && !text[1]) {
        session->escape_character = (unsigned char)text[0];
    } else {
        fprintf(stderr, "error: Invalid string '%s' for escape sequence\n", text);
        return false;
    }
    return true;
}

static bool parse_number(const char *name, const char *text, int *out_value)
{
    char *end;
    gint64 value = g_ascii_strtoll(text, &end, 10);
    if (*text == '\0' || *end != '\0' || value < 0 || value > G_MAXINT) {
        fprintf(stderr, "error: Invalid value for option %s: '%s' is no number\n", name, text);
        return false;
    }
    *out_value = (int)value;
    return true;
}

static bool parse_color(CliSession *session, const char *text)
{
    if (strcmp(text, "always") == 0) {
        session->use_color = true;
    } else if (strcmp(text, "never") == 0) {
        session->use_color = false;
    } else if (strcmp(text, "auto") != 0) {
        fprintf(stderr, "error: --color takes auto, always or never, not '%s'\n", text);
        return false;
    }
    return true;
}

/* Returns: -1 to go on, else the exit status. */
static int take_option(CliSession *session, int letter, bool *out_completes)
{
    switch (letter) {
    case 'c':
        g_free(session->uri);
        session->uri = g_strdup(optarg);
        return -1;
    case 'd':
    case 'l':
        return -1;
    case 'e':
        return parse_escape(session, optarg) ? -1 : EXIT_FAILURE;
    case 'h':
        print_usage();
        return EXIT_SUCCESS;
    case 'k':
        return parse_number("-k", optarg, &session->keepalive_interval) ? -1 : EXIT_FAILURE;
    case 'K':
        return parse_number("-K", optarg, &session->keepalive_count) ? -1 : EXIT_FAILURE;
    case 'q':
        session->is_quiet = true;
        return -1;
    case 'r':
        session->is_readonly = true;
        return -1;
    case 't':
        session->shows_times = true;
        return -1;
    case 'v':
    case 'V':
        printf("%s\n", LODGE_VERSION);
        return EXIT_SUCCESS;
    case OPTION_JSON:
        session->is_json = true;
        return -1;
    case OPTION_COLOR:
        return parse_color(session, optarg) ? -1 : EXIT_FAILURE;
    case OPTION_COMPLETE:
        *out_completes = true;
        return -1;
    default:
        fprintf(stderr, "Try 'lodge --help'\n");
        return EXIT_FAILURE;
    }
}

static const char *default_uri(void)
{
    const char *uri = g_getenv("LODGE_URI");
    uri = uri && *uri ? uri : g_getenv("VIRSH_DEFAULT_CONNECT_URI");
    return uri && *uri ? uri : g_getenv("LIBVIRT_DEFAULT_URI");
}

static void print_offer(const char *word, void *opaque)
{
    puts(word);
}

static int run(CliSession *session, char **words, bool completes)
{
    if (completes) {
        cli_complete(session, words, print_offer, NULL);
        return EXIT_SUCCESS;
    }
    if (!words[0]) {
        return cli_shell(session);
    }
    bool ok = words[1] ? cli_run_words(session, words) : cli_run_line(session, words[0]);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    CliSession session;
    bool completes = false;
    int letter;
    setlocale(LC_ALL, "");
    signal(SIGPIPE, SIG_IGN);
    cli_session_init(&session);
    session.uri = g_strdup(default_uri());
    while ((letter = getopt_long(argc, argv, "+:c:d:e:hk:K:l:qrtvV", options, NULL)) != -1) {
        if (letter == ':' || letter == '?') {
            fprintf(stderr,
                    letter == ':' ? "error: option '%s' requires an argument\n"
                                  : "error: unsupported option '%s'. See --help.\n",
                    argv[optind - 1]);
            return EXIT_FAILURE;
        }
        int status = take_option(&session, letter, &completes);
        if (status >= 0) {
            cli_session_done(&session);
            return status;
        }
    }
    int status = run(&session, argv + optind, completes);
    cli_session_done(&session);
    return fflush(stdout) == 0 ? status : EXIT_FAILURE;
}
