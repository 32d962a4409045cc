/* VMware disk images. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_VMDK_VMDK_H
#define LODGE_BLOCK_VMDK_VMDK_H

#include "block/driver.h"

extern const BlockCreateOption vmdk_create_options[];
bool vmdk_create(File *file, const char *name, const BlockSpec *options, GError **error);
void vmdk_create_files(const char *name, const BlockSpec *options, GPtrArray *paths);

#endif
