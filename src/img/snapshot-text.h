/* The list of snapshots, as text. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_IMG_SNAPSHOT_TEXT_H
#define LODGE_IMG_SNAPSHOT_TEXT_H

#include <glib.h>

/* @snapshots: of BlockSnapshot. */
void img_print_snapshots(const GArray *snapshots);

#endif
