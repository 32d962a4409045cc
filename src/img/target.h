/* Files that a command makes and fills: half an image is taken away again.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_IMG_TARGET_H
#define LODGE_IMG_TARGET_H

#include "block/block.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

typedef struct ImgTarget {
    GPtrArray *paths; /* to take away; NULL: nothing is */
    bool is_watching;
    sigset_t signals; /* that end the command */
    pthread_t watcher;
} ImgTarget;

/**
 * img_target_begin - before the image is made
 * @target: zeroed
 * @format, @name, @options: as block_create() gets them. Only files that are not there yet are
 *                           taken away later: what was there, and a device, stays.
 *
 * From here on SIGINT, SIGTERM and SIGHUP take the files away before they end the process, unless
 * they are ignored. Context: the main thread, before others are started.
 */
void img_target_begin(ImgTarget *target, const char *format, const char *name,
                      const BlockSpec *options);
/* @is_whole: it may stay; else @error (of why; never NULL then) tells that it has gone. */
void img_target_end(ImgTarget *target, bool is_whole, GError **error);

#endif
