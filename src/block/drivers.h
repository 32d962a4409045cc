/* The drivers, for the list of them, and creating files.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_DRIVERS_H
#define LODGE_BLOCK_DRIVERS_H

#include "block/driver.h"

extern const BlockDriver block_driver_file;
extern const BlockDriver block_driver_host_device;
/* Either of them: files and devices of the host. */
bool block_driver_is_file(const BlockDriver *driver);
extern const BlockDriver block_driver_copy_on_read;
extern const BlockDriver block_driver_throttle;
/* The group of a node of it; and another one. Context: the thread that changes the graph. */
const char *block_throttle_group(const BlockNode *node);
bool block_throttle_set_group(BlockNode *node, const char *name, GError **error);
extern const BlockDriver block_driver_fault;
extern const BlockDriver block_driver_raw;
extern const BlockDriver block_driver_luks;
extern const BlockDriver block_driver_nbd;
extern const BlockDriver block_driver_null_aio;
extern const BlockDriver block_driver_null_co;
extern const BlockDriver block_driver_qcow;
extern const BlockDriver block_driver_qcow2;
extern const BlockDriver block_driver_vdi;
extern const BlockDriver block_driver_vhdx;
extern const BlockDriver block_driver_vmdk;
extern const BlockDriver block_driver_vpc;

/* spec.c: the path that the name of a file says ("x", "file:x"); NULL with @error: it is of another
 * protocol. Borrowed from @name. */
const char *block_name_path(const char *name, GError **error);

/* node.c */

/* A bare node with one reference; the rest is the caller's. */
BlockNode *block_node_new(const BlockDriver *driver, const char *filename, unsigned flags);
/* Frees the node's own memory; driver, state and children have been seen to. */
void block_node_free(BlockNode *node);

/* Whether what uses @node uses the node below in much the same way: a filter, or raw. */
bool block_node_passes_access(const BlockNode *node);
/* The file at the bottom of @node is locked for BLOCK_ACCESS_... as well. False with @error:
 * another process does not allow it. */
bool block_node_add_access(BlockNode *node, unsigned access, GError **error);
/* What @node, open with @flags, does with its file where those above do @access with it.
 * BLOCK_ACCESS_... */
unsigned block_file_access(const BlockNode *node, unsigned flags, unsigned access);

/* nbd/driver.c */

/* The default export of a server on the connected socket @fd (transfer full, also on failure). */
BlockNode *block_nbd_node(int fd, unsigned flags, GError **error);

/* file-node.c */

/* Opens or makes a file, locks it and empties it. *out_is_new: it was not there. */
File *block_file_create(const char *filename, bool *out_is_new, GError **error);
void block_file_remove(const char *filename);
/* Does with @file, which is empty, what BLOCK_FILE_CREATE_OPTIONS among @options say, if its file
 * system can. False with @error: they say nothing. */
bool block_file_prepare(File *file, const char *filename, const BlockSpec *options, GError **error);
/* A node over @file, which the node closes when it is unreferenced (not when it is only freed, and
 * not on failure). */
BlockNode *block_file_node(File *file, const char *name, unsigned flags, GError **error);

/* spec-keys.c: false with @error: @spec says what a node of @driver does not have. */
bool block_spec_check_keys(const BlockSpec *spec, const BlockDriver *driver, GError **error);

#endif
