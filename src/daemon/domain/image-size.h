/* Sizes of images that no guest has open.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_IMAGE_SIZE_H
#define LODGE_DAEMON_DOMAIN_IMAGE_SIZE_H

#include <stdint.h>

/* What a guest sees of the image, bytes; @otherwise where it cannot be told. @format: NULL: raw.
 * Context: a worker thread: reads the image's header, takes no lock. */
uint64_t image_size(const char *path, const char *format, uint64_t otherwise);

#endif
