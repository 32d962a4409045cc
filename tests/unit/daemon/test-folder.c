/* Removing folders: of any depth, with bounded descriptors, and nothing outside of them.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/folder.h"

#include "base/cleanup.h"
#include "lib/check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct Place {
    char *top;     /* to be removed */
    char *outside; /* to stay */
    char *kept;    /* a file in it */
} Place;

static void setup(Place *place)
{
    /* In memory, as the run directory: 20,000 folders take a disk a while. */
    bool has_shm = access("/dev/shm", W_OK | X_OK) == 0;
    g_autofree char *base =
        g_build_filename(has_shm ? "/dev/shm" : g_get_tmp_dir(), "folder-XXXXXX", NULL);
    assert_non_null(g_mkdtemp(base));
    place->top = g_build_filename(base, "top", NULL);
    place->outside = g_build_filename(base, "outside", NULL);
    place->kept = g_build_filename(place->outside, "kept", NULL);
    assert_int_equal(g_mkdir(place->top, 0755), 0);
    assert_int_equal(g_mkdir(place->outside, 0755), 0);
    assert_true(g_file_set_contents(place->kept, "kept", -1, NULL));
}

static void teardown(Place *place)
{
    g_autofree char *base = g_path_get_dirname(place->top);
    assert_true(g_file_test(place->kept, G_FILE_TEST_IS_REGULAR));
    assert_true(folder_remove(base, NULL));
    assert_false(g_file_test(base, G_FILE_TEST_EXISTS));
    g_free(place->top);
    g_free(place->outside);
    g_free(place->kept);
}

static void make_file(int folder, const char *name)
{
    assert_int_equal(mknodat(folder, name, S_IFREG | 0600, 0), 0);
}

static void make_files(int folder, unsigned count)
{
    char name[32];
    for (unsigned i = 0; i < count; i++) {
        snprintf(name, sizeof(name), "file-%u", i);
        make_file(folder, name);
    }
}

/* Below @top, each with a file; @name is of each. */
static void make_nest(const char *top, const char *name, unsigned depth)
{
    int folder = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (unsigned i = 0; i < depth; i++) {
        assert_int_equal(mkdirat(folder, name, 0755), 0);
        int below = openat(folder, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(below >= 0);
        make_file(below, "file");
        close(folder);
        folder = below;
    }
    close(folder);
}

static void folders_of_any_depth_and_number_go(void **state)
{
    Place place;
    setup(&place);
    make_nest(place.top, "down", 5000);
    make_nest(place.top, "0", 300); /* the names that folders get above */
    make_nest(place.top, "1", 2);
    autofd top = open(place.top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    make_files(top, 10000);
    assert_true(folder_remove(place.top, NULL));
    assert_false(g_file_test(place.top, G_FILE_TEST_EXISTS));
    teardown(&place);
}

/* In a process of its own, which may have 6 descriptors beside the usual three. */
static void few_descriptors_are_enough(void **state)
{
    Place place;
    setup(&place);
    make_nest(place.top, "down", 200);
    pid_t pid = fork();
    if (pid == 0) {
        for (int fd = 3; fd < 256; fd++) {
            close(fd);
        }
        struct rlimit limit = { 9, 9 };
        bool ok = setrlimit(RLIMIT_NOFILE, &limit) == 0 && folder_remove(place.top, NULL);
        _exit(ok ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_false(g_file_test(place.top, G_FILE_TEST_EXISTS));
    teardown(&place);
}

static void links_are_not_followed(void **state)
{
    Place place;
    setup(&place);
    make_nest(place.top, "down", 40);
    autofd top = open(place.top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    autofd down = openat(top, "down", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(symlinkat(place.outside, top, "to-folder"), 0);
    assert_int_equal(symlinkat(place.kept, down, "to-file"), 0);
    assert_int_equal(symlinkat(place.outside, down, "to-folder"), 0);
    assert_int_equal(symlinkat("/", down, "to-root"), 0);
    assert_int_equal(mkfifoat(down, "pipe", 0600), 0);
    assert_true(folder_remove(place.top, NULL));
    assert_false(g_file_test(place.top, G_FILE_TEST_EXISTS));
    teardown(&place);
}

static void a_link_in_the_place_of_the_folder_stays(void **state)
{
    Place place;
    setup(&place);
    assert_int_equal(g_rmdir(place.top), 0);
    assert_int_equal(symlink(place.outside, place.top), 0);
    assert_false(folder_remove(place.top, NULL));
    assert_true(g_file_test(place.top, G_FILE_TEST_IS_SYMLINK));
    teardown(&place);
}

/* As a user who owns them, which root need not care for. */
static void folders_that_their_owner_closed_go(void **state)
{
    Place place;
    setup(&place);
    make_nest(place.top, "closed", 3);
    make_nest(place.top, "other", 3);
    g_autofree char *deep = g_build_filename(place.top, "closed", "closed", NULL);
    g_autofree char *middle = g_build_filename(place.top, "closed", NULL);
    assert_int_equal(chmod(deep, 0), 0);
    assert_int_equal(chmod(middle, 0500), 0);
    bool is_root = geteuid() == 0;
    if (is_root) {
        g_autofree char *base = g_path_get_dirname(place.top);
        g_autofree char *words = g_strdup_printf("chown -R 65534:65534 '%s'", base);
        assert_int_equal(system(words), 0);
    }
    pid_t pid = fork();
    if (pid == 0) {
        bool ok = !is_root || (setgid(65534) == 0 && setuid(65534) == 0);
        _exit(ok && folder_remove(place.top, NULL) ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    teardown(&place);
}

static void one_that_is_not_there_is_no_failure(void **state)
{
    assert_true(folder_remove("/nonexistent/folder", NULL));
}

static void a_large_one_stops_when_asked(void **state)
{
    Place place;
    const gint stop = 1;
    setup(&place);
    make_nest(place.top, "down", 3000);
    assert_false(folder_remove(place.top, &stop));
    assert_true(g_file_test(place.top, G_FILE_TEST_IS_DIR));
    assert_true(folder_remove(place.top, NULL));
    teardown(&place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folders_of_any_depth_and_number_go),
        cmocka_unit_test(few_descriptors_are_enough),
        cmocka_unit_test(links_are_not_followed),
        cmocka_unit_test(a_link_in_the_place_of_the_folder_stays),
        cmocka_unit_test(folders_that_their_owner_closed_go),
        cmocka_unit_test(one_that_is_not_there_is_no_failure),
        cmocka_unit_test(a_large_one_stops_when_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
