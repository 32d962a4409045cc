/* Lines that the user types in answer to a question.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/tools.h"

#include "gbase/error.h"

#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define ANSWER_MAX 1024

char *cli_ask_line(const char *prompt, bool is_secret, GError **error)
{
    struct termios before, silent;
    char line[ANSWER_MAX];
    bool is_terminal = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &before) == 0;
    if (is_terminal) {
        silent = before;
        silent.c_lflag &= ~(tcflag_t)(is_secret ? ECHO : 0);
        /* First, as it drops what was typed before. */
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
        fputs(prompt, stderr);
    }
    char *got = fgets(line, sizeof(line), stdin);
    if (is_terminal) {
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
        fputs(is_secret ? "\n" : "", stderr);
    }
    size_t length = got ? strcspn(line, "\n") : 0;
    if (length == 0 || length == sizeof(line) - 1) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "an answer is a line of 1 to %d bytes", ANSWER_MAX - 2);
        return NULL;
    }
    line[length] = '\0';
    char *answer = g_strdup(line);
    explicit_bzero(line, sizeof(line));
    return answer;
}

void cli_forget(char *secret)
{
    if (secret) {
        explicit_bzero(secret, strlen(secret));
        g_free(secret);
    }
}
