/* The list of snapshots, as text and as JSON. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_IMG_SNAPSHOT_TEXT_H
#define LODGE_IMG_SNAPSHOT_TEXT_H

#include "img/json-out.h"

#include <glib.h>

/* @snapshots: of BlockSnapshot. */
void img_print_snapshots(const GArray *snapshots);
/* As an array. @key: in the open object; NULL: at the top. */
void img_put_snapshots(JsonOut *json, const char *key, const GArray *snapshots);

#endif
