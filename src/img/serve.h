/* Parts of lodge-img serve. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_IMG_SERVE_H
#define LODGE_IMG_SERVE_H

#include "img/common.h"

/* Prints the exports of the server that -k, or -b and -p, name. @tls: NULL for none. Returns: the
 * exit code. */
int img_serve_list(const ImgArgs *args, NbdTls *tls);

/* A writable layer over @below (referenced) in a file that has no name any more, in $TMPDIR or
 * /var/tmp. NULL with @error. */
BlockNode *img_serve_temporary(BlockNode *below, GError **error);
/* The disk from @offset on of @below (referenced). NULL with @error. */
BlockNode *img_serve_part(BlockNode *below, uint64_t offset, GError **error);

#endif
