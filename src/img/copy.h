/* The engine of convert, dd, commit and rebase: copies the content of images to a target, on
 * several threads. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_IMG_COPY_H
#define LODGE_IMG_COPY_H

#include "block/block.h"
#include "img/progress.h"

#define IMG_COPY_THREADS_MAX 16

typedef struct ImgSource {
    BlockNode *node; /* borrowed */
    BlockNode *base; /* what this and the layers below have is left out; NULL: the whole chain */
    uint64_t start;  /* in the target */
} ImgSource;

typedef struct ImgCopy {
    const ImgSource *sources;
    unsigned source_count;
    BlockNode *target;
    uint64_t size;    /* bytes of the target; behind the last source are zeroes */
    uint64_t cluster; /* bytes; compressed writes go in these; 0: none */
    uint64_t sparse;  /* runs of zeroes of so many bytes are left out; 0: holes are written too */
    bool is_compressed;
    bool is_zeroed;            /* the target reads as zeroes */
    bool has_backing;          /* what sources do not have is the target's backing file's */
    bool can_salvage;          /* unreadable parts become zeroes */
    bool is_ordered;           /* writes go upwards */
    unsigned threads;          /* 1 to IMG_COPY_THREADS_MAX */
    uint64_t bytes_per_second; /* 0: no limit */
    ImgProgress *progress;
} ImgCopy;

/* Returns: false with @error naming the file and the offset. */
bool img_copy(const ImgCopy *copy, GError **error);

#endif
