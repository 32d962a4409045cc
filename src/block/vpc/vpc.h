/* Virtual PC disk images (VHD). SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_VPC_VPC_H
#define LODGE_BLOCK_VPC_VPC_H

#include "block/driver.h"

/* A disk geometry of the format; sectors of 512 bytes. */
typedef struct VpcGeometry {
    uint16_t cylinders;
    uint8_t heads, sectors;
} VpcGeometry;

#define VPC_GEOMETRY_MAX (65535ull * 16 * 255) /* sectors */

/* The geometry of a disk of @sectors, by the rule of the format's specification; it may hold fewer.
 */
VpcGeometry vpc_geometry(uint64_t sectors);

#endif
