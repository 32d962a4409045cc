/* Drives an image format with a hostile file: open, ask, check, read, write, reopen.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_TESTS_FUZZ_IMAGE_H
#define LODGE_TESTS_FUZZ_IMAGE_H

#include "block/block.h"

#include <stddef.h>
#include <stdint.h>

/* The first byte of @data says whether the image is opened for writing; the rest is the file. */
int fuzz_image(const char *format, const uint8_t *data, size_t size);

/* The same with a file that is there already (taken). */
void fuzz_image_file(const char *format, File *file, bool is_writable);

#endif
