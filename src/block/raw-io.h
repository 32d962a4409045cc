/* Execution of requests on raw images; libc only. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_RAW_IO_H
#define LODGE_BLOCK_RAW_IO_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

typedef struct RawImage {
    int fd;
    bool is_block_device;
    bool is_direct;           /* opened with O_DIRECT */
    unsigned alignment;       /* bytes; of offsets, lengths and memory for direct I/O */
    _Atomic(int) flush_error; /* of the first flush that failed, -errno: all later ones fail too, as
                                 the kernel may have dropped what it could not write */
} RawImage;

/* All may block. @iov is changed. What lies behind the end of the file reads as zeroes. Returns: 0
 * or -errno. */
int raw_read(RawImage *image, struct iovec *iov, unsigned iov_count, uint64_t offset);
int raw_write(RawImage *image, struct iovec *iov, unsigned iov_count, uint64_t offset);
int raw_flush(RawImage *image);
/* Gives space back; no error if the host cannot. */
int raw_discard(RawImage *image, uint64_t offset, uint64_t length);
int raw_write_zeroes(RawImage *image, uint64_t offset, uint64_t length, bool may_unmap);

#endif
