/* Sizes of images that no guest has open.
 *
 * All of this waits for the file system, which may be a server's that does not answer: on worker
 * threads only, and never with a lock. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_IMAGE_SIZE_H
#define LODGE_DAEMON_DOMAIN_IMAGE_SIZE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/* Bytes. */
typedef struct ImageSizes {
    uint64_t allocation; /* what the file takes */
    uint64_t capacity;   /* what a guest sees */
    uint64_t physical;   /* the file's length */
} ImageSizes;

/* What a guest sees of the image, bytes; @otherwise where it cannot be told. @format: NULL: raw.
 * Reads the image's header, takes no lock on it. */
uint64_t image_size(const char *path, const char *format, uint64_t otherwise);

/* All but the capacity. False: errno says why. */
bool image_size_physical(const char *path, ImageSizes *out);

/* All three. A pipe or socket is not opened: its length is all there is. False: errno says why. */
bool image_size_look(const char *path, const char *format, ImageSizes *out);

/* The folder of the image that was looked at last: of many in one folder only names are looked up,
 * and those of a folder that is not there not at all. For one pass over many images. */
typedef struct ImageFolder {
    char *path; /* with the last slash; NULL: none yet */
    int fd;     /* -1: @error says why */
    int error;
} ImageFolder;

#define IMAGE_FOLDER_INIT                                                                          \
    {                                                                                              \
        .fd = -1                                                                                   \
    }
void image_folder_clear(ImageFolder *folder);

/* What an image's header said, and of which state of the file. Zero bytes: nothing yet. */
typedef struct ImageMemo {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec changed;
    uint64_t capacity;
} ImageMemo;

/* As image_size_look() of one of many images: the header is read again only where the file changed.
 * @memo: of this image, changed. */
bool image_size_look_again(ImageFolder *folder, const char *path, const char *format,
                           ImageMemo *memo, ImageSizes *out);

#endif
