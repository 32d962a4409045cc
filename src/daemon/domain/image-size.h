/* Sizes of images that no guest has open.
 *
 * All of this waits for the file system, which may be a server's that does not answer: on worker
 * threads only, and never with a lock. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_IMAGE_SIZE_H
#define LODGE_DAEMON_DOMAIN_IMAGE_SIZE_H

#include <stdbool.h>
#include <stdint.h>

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

#endif
