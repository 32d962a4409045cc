/* Cylinders, heads and sectors of a VHD: "CHS Calculation" of Microsoft's Virtual Hard Disk Image
 * Format Specification 1.0. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/int-math.h"
#include "block/vpc/vpc.h"

VpcGeometry vpc_geometry(uint64_t sectors)
{
    sectors = min_u64(sectors, VPC_GEOMETRY_MAX);
    uint64_t per_track, heads = 16, tracks;
    if (sectors >= 65535ull * 16 * 63) {
        per_track = 255;
        tracks = sectors / per_track;
    } else {
        per_track = 17;
        tracks = sectors / per_track;
        heads = max_u64(div_round_up(tracks, 1024), 4);
        if (tracks >= heads * 1024 || heads > 16) {
            per_track = 31;
            heads = 16;
            tracks = sectors / per_track;
        }
        if (tracks >= heads * 1024) {
            per_track = 63;
            heads = 16;
            tracks = sectors / per_track;
        }
    }
    return (VpcGeometry){ (uint16_t)(tracks / heads), (uint8_t)heads, (uint8_t)per_track };
}
