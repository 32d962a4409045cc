/* The files behind an image, as its headers name them.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_BACKING_CHAIN_H
#define LODGE_DAEMON_DOMAIN_BACKING_CHAIN_H

#include <glib.h>
#include <stdbool.h>

#define BACKING_CHAIN_MAX 200u

typedef struct BackingLayer {
    char *path; /* absolute, or relative to the daemon's folder as the image's own was */
    char *format;
} BackingLayer;

/**
 * backing_chain_read - all layers below the image at @path, the nearest first
 * @out_layers: of BackingLayer (transfer full); NULL: none, or none that is a file here (NBD and
 *              the like, which the engine opens itself), or the image cannot be read
 *
 * Opens the images for reading, without locks. Context: may wait for the disk. Returns: false with
 * @error (OPERATION_INVALID) where a layer's format is not said and it is not raw: what a guest
 * wrote into it may look like any.
 */
bool backing_chain_read(const char *path, const char *format, GPtrArray **out_layers,
                        GError **error);

#endif
