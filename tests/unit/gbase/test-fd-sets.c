/* Passed descriptors: sets, names, and opening by their path.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/fd.h"
#include "gbase/error.h"
#include "gbase/fd-sets.h"
#include "lib/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A file without a name, in two modes. */
static int new_file(void)
{
    int fd = memfd_create("passed", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "passed", 6), 6);
    return fd;
}

static int reopened(int fd, int flags)
{
    char path[40];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int copy = open(path, flags | O_CLOEXEC);
    assert_true(copy >= 0);
    return copy;
}

static void a_set_opens_in_the_mode_asked_for(void **state)
{
    g_autoptr(FdSets) sets = fd_sets_new();
    int both = new_file();
    int readonly = reopened(both, O_RDONLY);
    assert_int_equal(fd_sets_add(sets, 3, both, "disk", NULL), 3);
    assert_int_equal(fd_sets_add(sets, 3, readonly, NULL, NULL), 3);
    g_autofree char *path = fd_sets_resolve(sets, "/dev/fdset/3", O_RDONLY, NULL);
    int fd = fd_open(path, O_RDONLY | O_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    char text[6];
    assert_int_equal(pread(fd, text, 6, 0), 6);
    assert_memory_equal(text, "passed", 6);
    close(fd);
    g_free(path);
    path = fd_sets_resolve(sets, "/dev/fdset/3", O_RDWR, NULL);
    fd = fd_open(path, O_RDWR, 0);
    assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDWR);
    close(fd);
}

static void a_set_without_the_mode_is_refused(void **state)
{
    g_autoptr(FdSets) sets = fd_sets_new();
    int both = new_file();
    fd_sets_add(sets, 0, reopened(both, O_RDONLY), NULL, NULL);
    close(both);
    g_autoptr(GError) error = NULL;
    assert_null(fd_sets_resolve(sets, "/dev/fdset/0", O_RDWR, &error));
    assert_int_equal(error->code, LODGE_ERROR_PERMISSION);
    g_clear_error(&error);
    assert_null(fd_sets_resolve(sets, "/dev/fdset/1", O_RDONLY, &error));
    assert_int_equal(error->code, LODGE_ERROR_NOT_FOUND);
    g_clear_error(&error);
    assert_null(fd_sets_resolve(sets, "/dev/fdset/-1", O_RDONLY, &error));
    g_clear_error(&error);
    g_autofree char *other = fd_sets_resolve(sets, "/etc/passwd", O_RDWR, &error);
    assert_string_equal(other, "/etc/passwd");
}

static void a_duplicate_keeps_to_its_access_mode(void **state)
{
    int both = new_file();
    int readonly = reopened(both, O_RDONLY);
    char path[40];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", readonly);
    assert_int_equal(fd_open(path, O_RDWR, 0), -EACCES);
    assert_int_equal(fd_open("/proc/self/fd/999", O_RDWR, 0), -EBADF);
    assert_int_equal(fd_open("/proc/self/fd/", O_RDWR, 0), -EISDIR);
    close(both);
    close(readonly);
}

static void new_sets_take_the_lowest_free_number(void **state)
{
    g_autoptr(FdSets) sets = fd_sets_new();
    assert_int_equal(fd_sets_add(sets, FD_SET_NEXT, new_file(), NULL, NULL), 0);
    assert_int_equal(fd_sets_add(sets, 2, new_file(), NULL, NULL), 2);
    assert_int_equal(fd_sets_add(sets, FD_SET_NEXT, new_file(), "one", NULL), 1);
    assert_int_equal(fd_sets_add(sets, FD_SET_NEXT, new_file(), NULL, NULL), 3);
    assert_int_equal(fd_sets_at(sets, 1)->id, 1);
    assert_true(fd_sets_remove(sets, 1, -1, NULL));
    assert_false(fd_sets_remove(sets, 1, -1, NULL));
    assert_int_equal(fd_sets_add(sets, FD_SET_NEXT, new_file(), NULL, NULL), 1);
    assert_int_equal(fd_sets_add(sets, -7, new_file(), NULL, NULL), -1);
}

static void one_descriptor_of_a_set_can_go(void **state)
{
    g_autoptr(FdSets) sets = fd_sets_new();
    int first = new_file(), second = new_file();
    fd_sets_add(sets, 0, first, NULL, NULL);
    fd_sets_add(sets, 0, second, NULL, NULL);
    assert_true(fd_sets_remove(sets, 0, first, NULL));
    assert_int_equal(fcntl(first, F_GETFD), -1);
    assert_true(fcntl(second, F_GETFD) >= 0);
    assert_false(fd_sets_remove(sets, 0, first, NULL));
    assert_true(fd_sets_remove(sets, 0, second, NULL));
    assert_null(fd_sets_at(sets, 0));
}

static void descriptors_are_bounded(void **state)
{
    g_autoptr(FdSets) sets = fd_sets_new();
    int file = new_file(), added = 0;
    for (int fd; added < 600 && (fd = dup(file)) >= 0; added++) {
        if (fd_sets_add(sets, 0, fd, NULL, NULL) < 0) {
            break;
        }
    }
    close(file);
    assert_int_equal(added, 512);
}

static void names_are_taken_once(void **state)
{
    g_autoptr(FdSets) sets = fd_sets_new();
    int first = new_file(), second = new_file();
    assert_false(fd_sets_set_name(sets, "1st", new_file(), NULL));
    assert_true(fd_sets_set_name(sets, "disk", first, NULL));
    assert_true(fd_sets_set_name(sets, "disk", second, NULL));
    assert_int_equal(fcntl(first, F_GETFD), -1);
    assert_int_equal(fd_sets_take_name(sets, "disk", NULL), second);
    assert_int_equal(fd_sets_take_name(sets, "disk", NULL), -1);
    close(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_set_opens_in_the_mode_asked_for),
        cmocka_unit_test(a_set_without_the_mode_is_refused),
        cmocka_unit_test(a_duplicate_keeps_to_its_access_mode),
        cmocka_unit_test(new_sets_take_the_lowest_free_number),
        cmocka_unit_test(one_descriptor_of_a_set_can_go),
        cmocka_unit_test(descriptors_are_bounded),
        cmocka_unit_test(names_are_taken_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
