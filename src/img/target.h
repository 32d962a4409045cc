/* A file that a command makes and fills: half of it is taken away again.
 *
 * Left out: what an image has beside its first file (extents of vmdk, data files of qcow2) stays.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_IMG_TARGET_H
#define LODGE_IMG_TARGET_H

#include <glib.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

typedef struct ImgTarget {
    char *path; /* to take away; NULL: nothing is */
    bool is_watching;
    sigset_t signals; /* that end the command */
    pthread_t watcher;
} ImgTarget;

/**
 * img_target_begin - before the image is made
 * @target: zeroed
 * @name: as the user wrote it. Only a file that is not there yet is taken away later: what was
 *        there, and a device, stays.
 *
 * From here on SIGINT, SIGTERM and SIGHUP take the file away before they end the process, unless
 * they are ignored. Context: the main thread, before others are started.
 */
void img_target_begin(ImgTarget *target, const char *name);
/* @is_whole: it may stay; else @error (of why; never NULL then) tells that it has gone. */
void img_target_end(ImgTarget *target, bool is_whole, GError **error);

#endif
