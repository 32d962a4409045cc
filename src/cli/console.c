/* The terminal on a guest's console: raw mode, both directions, until the escape character.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/session.h"
#include "gbase/error.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <termios.h>
#include <unistd.h>

typedef struct Console {
    RpcClientStream *stream;
    int escape;
    int ended; /* eventfd: the guest's side is over */
} Console;

/* The guest's output, on a thread of its own. */
static void *show_output(void *opaque)
{
    Console *console = opaque;
    char data[4096];
    gssize length;
    uint64_t one = 1;
    while ((length = rpc_client_stream_read(console->stream, data, sizeof(data), NULL)) > 0) {
        fwrite(data, 1, (size_t)length, stdout);
        fflush(stdout);
    }
    (void)!write(console->ended, &one, sizeof(one));
    return NULL;
}

/* What is typed. Returns at the escape character, at the end of either side. */
static void send_input(Console *console)
{
    char data[1024];
    for (;;) {
        struct pollfd fds[] = { { STDIN_FILENO, POLLIN, 0 }, { console->ended, POLLIN, 0 } };
        if (poll(fds, 2, -1) < 0 && errno != EINTR) {
            return;
        }
        if (fds[1].revents) {
            return;
        }
        ssize_t length = fds[0].revents ? read(STDIN_FILENO, data, sizeof(data)) : -1;
        if (fds[0].revents && length <= 0) {
            return;
        }
        char *escape = length > 0 ? memchr(data, console->escape, (size_t)length) : NULL;
        size_t part = escape ? (size_t)(escape - data) : (size_t)MAX(length, 0);
        if ((part && !rpc_client_stream_write(console->stream, data, part, NULL)) || escape) {
            return;
        }
    }
}

bool cli_run_console(CliSession *session, const RemoteDomain *domain, const char *device,
                     unsigned flags, bool resumes, GError **error)
{
    RemoteDomainResumeArgs resume = { *domain };
    RemoteDomainOpenConsoleArgs call = { *domain, device, flags };
    struct termios before, raw;
    bool is_terminal = tcgetattr(STDIN_FILENO, &before) == 0;
    pthread_t thread;
    Console console = { .escape = session->escape_character, .ended = eventfd(0, EFD_CLOEXEC) };
    console.stream = rpc_client_open_stream(cli_client(session), &remote_program,
                                            REMOTE_PROC_DOMAIN_OPEN_CONSOLE, &call, &session->arena,
                                            NULL, error);
    if (!console.stream) {
        close(console.ended);
        return false;
    }
    cli_note(session, "Connected to domain '%s'\nEscape character is ^%c (Ctrl + %c)", domain->name,
             console.escape ^ 0x40, console.escape ^ 0x40);
    fflush(stdout);
    if (resumes && !remote_domain_resume(cli_client(session), &resume, error)) {
        rpc_client_stream_free(console.stream);
        close(console.ended);
        return cli_fail(error, "Failed to resume domain '%s'", domain->name);
    }
    if (is_terminal) {
        raw = before;
        cfmakeraw(&raw);
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    if (pthread_create(&thread, NULL, show_output, &console) == 0) {
        send_input(&console);
        rpc_client_stream_finish(console.stream, NULL);
        pthread_join(thread, NULL);
    }
    if (is_terminal) {
        tcsetattr(STDIN_FILENO, TCSANOW, &before);
        putchar('\n');
    }
    rpc_client_stream_free(console.stream);
    close(console.ended);
    return true;
}
