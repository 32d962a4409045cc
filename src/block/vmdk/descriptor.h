/* The text that describes a VMDK: identity, kind, extents. Format: VMware Virtual Disk Format 1.1.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_VMDK_DESCRIPTOR_H
#define LODGE_BLOCK_VMDK_DESCRIPTOR_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define VMDK_DESCRIPTOR_BYTES_MAX (1u << 20)
#define VMDK_EXTENTS_MAX 4096
#define VMDK_NO_PARENT 0xffffffffu

typedef struct VmdkExtentLine {
    char *type;            /* "SPARSE", "FLAT", "ZERO", ... */
    char *filename;        /* NULL: none (ZERO) */
    uint64_t sectors;      /* of 512 bytes */
    uint64_t flat_sectors; /* where a FLAT extent begins in its file */
} VmdkExtentLine;

typedef struct VmdkDescriptor {
    uint32_t cid, parent_cid;
    char *create_type; /* "monolithicSparse" */
    char *parent_hint; /* the backing file; NULL: none */
    GArray *extents;   /* of VmdkExtentLine */
} VmdkDescriptor;

/**
 * vmdk_descriptor_parse - read a descriptor
 * @text:        ends with a zero byte
 * @out_descriptor: to be cleared by the caller, on success only
 *
 * Unknown lines are skipped. Returns: false with @error quoting the line.
 */
bool vmdk_descriptor_parse(const char *text, VmdkDescriptor *out_descriptor, GError **error);
void vmdk_descriptor_clear(VmdkDescriptor *descriptor);

typedef struct VmdkDisk {
    uint64_t sectors;
    const char *adapter, *hardware_version, *tools_version;
} VmdkDisk;

/* The text of a descriptor. (transfer full) */
char *vmdk_descriptor_format(const VmdkDescriptor *descriptor, const VmdkDisk *disk);

/* The place of the eight digits behind "CID=" at the start of a line, or NULL. */
char *vmdk_descriptor_find_cid(char *text);

#endif
