/* virt-ssh-helper: joins standard input and output to the daemon's socket.
 *
 * Clients with +ssh URIs run it on the daemon's host, libvirt's too: virt-ssh-helper [-r] URI.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "client/dial.h"

#include "base/fd.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER_BYTES 65536

/* Moves what is there from one to the other. 1: more may come, 0: the end, -1: failed. */
static int move_some(int from, int to)
{
    char buffer[BUFFER_BYTES];
    ssize_t got = read(from, buffer, sizeof(buffer));
    if (got < 0) {
        return errno == EINTR || errno == EAGAIN ? 1 : -1;
    }
    if (got == 0) {
        return 0;
    }
    return fd_write_full(to, buffer, (size_t)got) < 0 ? -1 : 1;
}

static int join(int socket)
{
    struct pollfd fds[2] = { { .fd = STDIN_FILENO, .events = POLLIN },
                             { .fd = socket, .events = POLLIN } };
    for (;;) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR) {
            return EXIT_FAILURE;
        }
        if (fds[0].revents) {
            int rc = move_some(STDIN_FILENO, socket);
            if (rc < 0) {
                return EXIT_FAILURE;
            }
            if (rc == 0) {
                shutdown(socket, SHUT_WR);
                fds[0].fd = -1;
            }
        }
        if (fds[1].revents) {
            int rc = move_some(socket, STDOUT_FILENO);
            if (rc <= 0) {
                return rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
            }
        }
    }
}

int main(int argc, char **argv)
{
    DialTarget target;
    g_autoptr(GError) error = NULL;
    bool read_only = false;
    int option;
    while ((option = getopt(argc, argv, "rhV")) != -1) {
        if (option == 'V') {
            printf("virt-ssh-helper (lodge) %s\n", LODGE_VERSION);
            return EXIT_SUCCESS;
        }
        if (option != 'r') {
            fprintf(option == 'h' ? stdout : stderr, "Usage: virt-ssh-helper [-r] URI\n");
            return option == 'h' ? EXIT_SUCCESS : EXIT_FAILURE;
        }
        read_only = true;
    }
    if (optind + 1 != argc) {
        fprintf(stderr, "Usage: virt-ssh-helper [-r] URI\n");
        return EXIT_FAILURE;
    }
    if (!dial_parse(argv[optind], &target, &error)) {
        fprintf(stderr, "virt-ssh-helper: %s\n", error->message);
        return EXIT_FAILURE;
    }
    target.read_only = read_only;
    int socket = dial_local(&target, &error);
    dial_clear(&target);
    if (socket < 0) {
        fprintf(stderr, "virt-ssh-helper: %s\n", error->message);
        return EXIT_FAILURE;
    }
    return join(socket);
}
