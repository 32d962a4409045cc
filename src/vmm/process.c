/* The process around a machine.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/process.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "gbase/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Waits for the child's word; does not return. */
static void wait_for_child(int fd)
{
    char word;
    ssize_t got = fd_read_full(fd, &word, 1);
    _exit(got == 1 ? 0 : 1);
}

bool process_daemonize(int *out_ready_fd, GError **error)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0) {
        lodge_error_set_errno(error, errno, "-daemonize: cannot make a pipe");
        return false;
    }
    pid_t pid = fork();
    if (pid < 0) {
        lodge_error_set_errno(error, errno, "-daemonize: cannot fork");
        close(fds[0]);
        close(fds[1]);
        return false;
    }
    if (pid > 0) {
        close(fds[1]);
        wait_for_child(fds[0]);
    }
    close(fds[0]);
    setsid();
    *out_ready_fd = fds[1];
    return true;
}

void process_ready(int ready_fd)
{
    autofd null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
    }
    int r = chdir("/"); /* keeps no file system busy */
    (void)r;
    r = fd_write_full(ready_fd, "", 1);
    (void)r; /* the parent was killed: nobody waits */
    close(ready_fd);
}

int process_write_pidfile(const char *path, GError **error)
{
    autofd fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) {
        lodge_error_set_errno(error, errno, "-pidfile: cannot open '%s'", path);
        return -1;
    }
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    if (fcntl(fd, F_SETLK, &lock) < 0) {
        struct flock holder = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
        if (fcntl(fd, F_GETLK, &holder) == 0 && holder.l_type != F_UNLCK) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_BUSY,
                        "-pidfile: '%s' is in use by process %d", path, (int)holder.l_pid);
        } else {
            lodge_error_set_errno(error, EAGAIN, "-pidfile: cannot lock '%s'", path);
        }
        return -1;
    }
    char text[16];
    snprintf(text, sizeof(text), "%d\n", (int)getpid());
    int r = ftruncate(fd, 0) < 0 ? -errno : fd_pwrite_full(fd, text, strlen(text), 0);
    if (r < 0) {
        lodge_error_set_errno(error, r, "-pidfile: cannot write '%s'", path);
        return -1;
    }
    return steal_fd(&fd);
}
