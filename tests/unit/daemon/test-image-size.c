/* Sizes of many images: files that change are looked at again, others are not, folders come and go.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/image-size.h"

#include "block/block.h"
#include "lib/check.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define KIB 1024u

typedef struct Place {
    char *folder, *image;
    ImageFolder at;
    ImageMemo memo;
} Place;

static void setup(Place *place)
{
    g_autofree char *top = g_build_filename(g_get_tmp_dir(), "image-size-XXXXXX", NULL);
    assert_non_null(g_mkdtemp(top));
    *place = (Place){ .at = IMAGE_FOLDER_INIT };
    place->folder = g_build_filename(top, "images", NULL);
    place->image = g_build_filename(place->folder, "disk.qcow2", NULL);
}

static void teardown(Place *place)
{
    g_autofree char *top = g_path_get_dirname(place->folder);
    image_folder_clear(&place->at);
    g_unlink(place->image);
    g_rmdir(place->folder);
    assert_int_equal(g_rmdir(top), 0);
    g_free(place->folder);
    g_free(place->image);
}

static void make_image(const Place *place, const char *size)
{
    g_autoptr(BlockSpec) options = block_spec_new();
    block_spec_set(options, "size", size);
    g_mkdir(place->folder, 0700);
    assert_true(block_create("qcow2", place->image, options, NULL));
}

static uint64_t capacity_of(Place *place)
{
    ImageSizes sizes;
    bool ok = image_size_look_again(&place->at, place->image, "qcow2", &place->memo, &sizes);
    return ok ? sizes.capacity : 0;
}

static void an_image_that_was_just_written_is_read_each_time(void **state)
{
    Place place;
    setup(&place);
    make_image(&place, "1M");
    assert_int_equal(capacity_of(&place), 1024 * KIB);
    make_image(&place, "2M");
    assert_int_equal(capacity_of(&place), 2048 * KIB);
    teardown(&place);
}

static void an_image_as_it_was_is_not_read_again(void **state)
{
    Place place;
    struct stat st;
    setup(&place);
    make_image(&place, "1M");
    assert_int_equal(stat(place.image, &st), 0);
    ImageMemo noted = { .dev = st.st_dev,
                        .ino = st.st_ino,
                        .size = st.st_size,
                        .changed = st.st_ctim,
                        .capacity = 77 };
    place.memo = noted;
    assert_int_equal(capacity_of(&place), 77);
    place.memo.ino++;
    assert_int_equal(capacity_of(&place), 1024 * KIB);
    place.memo = noted;
    place.memo.changed.tv_nsec ^= 1;
    assert_int_equal(capacity_of(&place), 1024 * KIB);
    place.memo = noted;
    place.memo.size++;
    assert_int_equal(capacity_of(&place), 1024 * KIB);
    teardown(&place);
}

static void a_folder_that_is_not_there_has_no_images(void **state)
{
    Place place;
    setup(&place);
    assert_int_equal(capacity_of(&place), 0);
    assert_int_equal(errno, ENOENT);
    make_image(&place, "1M");
    assert_int_equal(capacity_of(&place), 0); /* the same pass */
    image_folder_clear(&place.at);
    assert_int_equal(capacity_of(&place), 1024 * KIB);
    teardown(&place);
}

static void each_image_is_looked_for_in_its_own_folder(void **state)
{
    Place place;
    ImageSizes sizes;
    ImageMemo memo = { 0 };
    setup(&place);
    make_image(&place, "1M");
    g_autofree char *top = g_path_get_dirname(place.folder);
    g_autofree char *beside = g_build_filename(top, "disk.qcow2", NULL);
    g_autofree char *longer = g_strconcat(place.folder, "2/disk.qcow2", NULL);
    assert_int_equal(capacity_of(&place), 1024 * KIB);
    assert_false(image_size_look_again(&place.at, beside, "qcow2", &memo, &sizes));
    assert_int_equal(capacity_of(&place), 1024 * KIB);
    assert_false(image_size_look_again(&place.at, longer, "qcow2", &memo, &sizes));
    assert_false(image_size_look_again(&place.at, "disk.qcow2", "qcow2", &memo, &sizes));
    assert_int_equal(capacity_of(&place), 1024 * KIB);
    teardown(&place);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(an_image_that_was_just_written_is_read_each_time),
    cmocka_unit_test(an_image_as_it_was_is_not_read_again),
    cmocka_unit_test(a_folder_that_is_not_there_has_no_images),
    cmocka_unit_test(each_image_is_looked_for_in_its_own_folder),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
