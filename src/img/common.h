/* What several commands need: opening images by the options given, and creating them.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_IMG_COMMON_H
#define LODGE_IMG_COMMON_H

#include "block/objects.h"
#include "img/command.h"

/* Exit codes that are not 0 or 1. */
enum {
    IMG_EXIT_DIFFERENT = 1, /* compare */
    IMG_EXIT_TROUBLE = 2,   /* compare: could not open */
    IMG_EXIT_STATUS = 3,    /* compare: cannot ask what is allocated */
    IMG_EXIT_READ = 4,      /* compare: cannot read */
    IMG_EXIT_CORRUPT = 2,   /* check */
    IMG_EXIT_LEAKS = 3,     /* check */
    IMG_EXIT_NO_CHECK = 63, /* check: the format has none */
};

/* The objects of all --object (transfer full; never NULL but with @error). */
BlockObjects *img_objects(const ImgArgs *args, GError **error);
/* Whether these can be made. False: reported. */
bool img_common_options(const ImgArgs *args);

/* BLOCK_OPEN_... of a cache mode; NULL: 0. False: reported. */
bool img_cache_flags(const char *mode, unsigned *out_flags);
/* Whether each write is to be on the disk before it is done; no flag of opening says so. */
bool img_cache_is_through(const char *mode);

/**
 * img_open - open an image as the command's options say
 * @name:   file name, or with --image-opts a list of options
 * @format: NULL: looked up in the content
 * @flags:  BLOCK_OPEN_...; -U adds SHARED, and refuses WRITABLE
 *
 * Returns: the node, or NULL with @error "Could not open 'NAME': ...".
 */
BlockNode *img_open(const ImgArgs *args, const char *name, const char *format, unsigned flags,
                    GError **error);
/* As img_open(), but -U is for another image. */
BlockNode *img_open_unshared(const ImgArgs *args, const char *name, const char *format,
                             unsigned flags, GError **error);
/* The same, reporting the failure. */
BlockNode *img_open_or_report(const ImgArgs *args, const char *name, const char *format,
                              unsigned flags);

/* Size as `create`, `resize` and `measure` take it: at most 2^63 - 1. */
bool img_parse_size(const char *text, uint64_t *out_bytes, GError **error);

/* Loads the snapshot that -l names: "snapshot.id=1,snapshot.name=x", or the id or name itself. */
bool img_load_snapshot(BlockNode *node, const char *text, GError **error);

/* Of -o texts "a=b,c=d" joined by commas; "a" alone is "a=on". NULL gives an empty one. */
BlockSpec *img_options(const char *text, GError **error);
/* The same, which may name what --object makes. */
BlockSpec *img_options_with_objects(const ImgArgs *args, const char *text, GError **error);
/* Prints the -o options of @format for creating or amending (-o help). Returns the exit code. */
int img_print_options(const char *format, bool is_amend);
bool img_wants_options_help(const char *text);
/* False with @error: @options has a key that @format lacks. */
bool img_check_options(const char *format, const BlockSpec *options, bool is_amend, GError **error);

/* Pieces of the chain's content, one after the other: what block_status_chain() says with
 * neighbours of the same flags put together. @limit: of the piece. */
int img_next_status(BlockNode *node, BlockNode *base, uint64_t offset, uint64_t limit,
                    BlockStatus *out_status);

#endif
