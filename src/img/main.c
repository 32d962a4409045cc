/* lodge-img: creates, converts, checks and describes disk images.
 *
 * Speaks qemu-img's command line; the commands are in command-table.c.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "img/command.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_word(const char *word, const char *letter, const char *name)
{
    return strcmp(word, letter) == 0 || strcmp(word, name) == 0 || strcmp(word, name + 1) == 0;
}

/* Options before the command. Returns: the index of the command, 0 when all is done. */
static int parse_global(int argc, char **argv)
{
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i++) {
        if (is_word(argv[i], "-h", "--help")) {
            img_print_help();
            return 0;
        }
        if (is_word(argv[i], "-V", "--version")) {
            printf("lodge-img version %s\n", LODGE_VERSION);
            return 0;
        }
        if (is_word(argv[i], "-T", "--trace")) {
            i++;
        } else if (strncmp(argv[i], "-T", 2) != 0 && strncmp(argv[i], "--trace=", 8) != 0) {
            img_error("unrecognized option '%s'\nTry 'lodge-img --help' for more information",
                      argv[i]);
            exit(EXIT_FAILURE);
        }
    }
    return i;
}

static bool wants_help(char *const *words)
{
    for (; *words && strcmp(*words, "--") != 0; words++) {
        if (strcmp(*words, "-h") == 0 ||
            (strncmp(*words, "--h", 3) == 0 && g_str_has_prefix("--help", *words))) {
            return true;
        }
    }
    return false;
}

static int run_command(const ImgCommand *command, char *const *words)
{
    if (wants_help(words)) {
        img_print_command_help(command);
        return EXIT_SUCCESS;
    }
    GError *error = NULL;
    g_autoptr(ImgArgs) args = img_args_parse(command, words, &error);
    if (!args) {
        g_autofree char *message = g_strdup(error->message);
        g_error_free(error);
        img_error("%s\nTry 'lodge-img %s --help' for more information", message, command->name);
        return EXIT_FAILURE;
    }
    return command->run(args);
}

/* For progress.h. */
static void hold_progress_signal(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGUSR1);
    sigprocmask(SIG_BLOCK, &signals, NULL);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    hold_progress_signal();
    int index = parse_global(argc, argv);
    if (!index) {
        return EXIT_SUCCESS;
    }
    if (index >= argc) {
        img_error("Not enough arguments\nTry 'lodge-img --help' for more information");
        return EXIT_FAILURE;
    }
    const ImgCommand *command = img_command_find(argv[index]);
    if (!command) {
        g_autofree char *message = img_command_unknown(argv[index]);
        img_error("%s", message);
        return EXIT_FAILURE;
    }
    int status = run_command(command, argv + index + 1);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        img_error("cannot write to standard output");
        return status ? status : EXIT_FAILURE;
    }
    return status;
}
