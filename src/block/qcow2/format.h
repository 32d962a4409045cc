/* qcow2 on disk: numbers of docs/interop/qcow2 (versions 2 and 3). All fields are big-endian.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_QCOW2_FORMAT_H
#define LODGE_BLOCK_QCOW2_FORMAT_H

#include <stdint.h>

#define QCOW2_MAGIC 0x514649fbu

/* Offsets of header fields. */
enum {
    QCOW2_H_MAGIC = 0,
    QCOW2_H_VERSION = 4,
    QCOW2_H_BACKING_OFFSET = 8,
    QCOW2_H_BACKING_SIZE = 16,
    QCOW2_H_CLUSTER_BITS = 20,
    QCOW2_H_SIZE = 24,
    QCOW2_H_CRYPT = 32,
    QCOW2_H_L1_SIZE = 36,
    QCOW2_H_L1_OFFSET = 40,
    QCOW2_H_REFTABLE_OFFSET = 48,
    QCOW2_H_REFTABLE_CLUSTERS = 56,
    QCOW2_H_SNAPSHOTS = 60,
    QCOW2_H_SNAPSHOTS_OFFSET = 64,
    QCOW2_H_V2_LENGTH = 72,
    QCOW2_H_INCOMPATIBLE = 72,
    QCOW2_H_COMPATIBLE = 80,
    QCOW2_H_AUTOCLEAR = 88,
    QCOW2_H_REFCOUNT_ORDER = 96,
    QCOW2_H_LENGTH = 100,
    QCOW2_H_COMPRESSION = 104,
    QCOW2_H_V3_LENGTH = 112, /* with the compression type and padding */
    QCOW2_H_V3_MIN_LENGTH = 104,
};

enum {
    QCOW2_INCOMPATIBLE_DIRTY = 1u << 0,
    QCOW2_INCOMPATIBLE_CORRUPT = 1u << 1,
    QCOW2_INCOMPATIBLE_DATA_FILE = 1u << 2,
    QCOW2_INCOMPATIBLE_COMPRESSION = 1u << 3,
    QCOW2_INCOMPATIBLE_EXTENDED_L2 = 1u << 4,
    QCOW2_INCOMPATIBLE_KNOWN = 0x1f,
    QCOW2_COMPATIBLE_LAZY_REFCOUNTS = 1u << 0,
    QCOW2_AUTOCLEAR_BITMAPS = 1u << 0,
    QCOW2_AUTOCLEAR_DATA_FILE_RAW = 1u << 1,
    QCOW2_AUTOCLEAR_KNOWN = 0x3,
};

enum { QCOW2_CRYPT_NONE = 0, QCOW2_CRYPT_AES = 1, QCOW2_CRYPT_LUKS = 2 };
enum { QCOW2_COMPRESSION_ZLIB = 0, QCOW2_COMPRESSION_ZSTD = 1 };

/* Header extensions. */
#define QCOW2_EXT_END 0u
#define QCOW2_EXT_BACKING_FORMAT 0xe2792acau
#define QCOW2_EXT_FEATURE_NAMES 0x6803f857u
#define QCOW2_EXT_BITMAPS 0x23852875u
#define QCOW2_EXT_CRYPT 0x0537be77u
#define QCOW2_EXT_DATA_FILE 0x44415441u

/* L1 and L2 entries. */
#define QCOW2_COPIED (1ull << 63)     /* refcount is 1: may be written in place */
#define QCOW2_COMPRESSED (1ull << 62) /* L2 */
#define QCOW2_ZERO (1ull << 0)        /* L2, version 3, without subclusters */
#define QCOW2_OFFSET_MASK 0x00fffffffffffe00ull
#define QCOW2_L1_RESERVED 0x7f000000000001ffull
#define QCOW2_L2_RESERVED 0x3f000000000001feull
#define QCOW2_REFTABLE_RESERVED 0x1ffull

/* Entries of the bitmap directory: offsets of fields, flags. Each is padded to 8 bytes. */
enum {
    QCOW2_B_TABLE_OFFSET = 0,
    QCOW2_B_TABLE_ENTRIES = 8,
    QCOW2_B_FLAGS = 12,
    QCOW2_B_TYPE = 16,
    QCOW2_B_GRANULARITY_BITS = 17,
    QCOW2_B_NAME_LENGTH = 18,
    QCOW2_B_EXTRA_LENGTH = 20,
    QCOW2_B_LENGTH = 24, /* then extra data and the name */
    QCOW2_BITMAP_IN_USE = 1u << 0,
    QCOW2_BITMAP_AUTO = 1u << 1,
    QCOW2_BITMAP_EXTRA_COMPATIBLE = 1u << 2,
    QCOW2_BITMAP_FLAGS_KNOWN = 0x7,
    QCOW2_BITMAP_DIRTY_TRACKING = 1, /* the type */
};
#define QCOW2_BITMAP_ALL_ONES (1ull << 0) /* of a table's entry without offset */
#define QCOW2_BITMAP_ENTRY_RESERVED 0xff000000000001feull

/* Limits of what is opened; larger ones come from broken or hostile images. */
enum {
    QCOW2_CLUSTER_BITS_MIN = 9,
    QCOW2_CLUSTER_BITS_MAX = 21,
    QCOW2_BACKING_NAME_MAX = 1023,
    QCOW2_SNAPSHOTS_MAX = 65536,
    QCOW2_SNAPSHOT_EXTRA_MAX = 1024,
    QCOW2_BITMAPS_MAX = 65535,
    QCOW2_BITMAP_NAME_MAX = 1023,
    QCOW2_BITMAP_GRANULARITY_BITS_MIN = 9,
    QCOW2_BITMAP_GRANULARITY_BITS_MAX = 31,
    QCOW2_SUBCLUSTERS = 32,
    QCOW2_SUBCLUSTER_SIZE_MIN = 512,
};
#define QCOW2_L1_BYTES_MAX (32u << 20)
#define QCOW2_REFTABLE_BYTES_MAX (8u << 20)
#define QCOW2_SNAPSHOT_TABLE_BYTES_MAX (64u << 20)
#define QCOW2_BITMAP_DIRECTORY_BYTES_MAX (64u << 20)
#define QCOW2_BITMAP_BYTES_MAX (512u << 20)      /* of one bitmap's data */
#define QCOW2_BITMAPS_MEMORY_MAX (1024ull << 20) /* of all bitmaps of an image together */

#endif
