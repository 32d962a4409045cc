/* Sizes for people. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_IMG_TEXT_H
#define LODGE_IMG_TEXT_H

#include <stdint.h>

/* "64 MiB", "1.21 MiB", "0 B": three digits, as qemu-img has them. (transfer full) */
char *text_size(uint64_t bytes);

#endif
