/* Block device: migrated fields. SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/virtio/blk/blk-private.h"

static const StateField fields[] = {
    VIRTIO_STATE,
    STATE_FIELD(VirtioBlk, STATE_BOOL, is_writeback),
    { .name = "failed_chains",
      .kind = STATE_BUFFER,
      .offset = offsetof(VirtioBlk, failed_chains),
      .size = (size_t)BLK_FAILED_ENTRY * VIRTIO_QUEUES_MAX * VIRTQ_SIZE_MAX,
      .count = 1,
      .count_offset = offsetof(VirtioBlk, failed_length) },
    STATE_END,
};

const StateTable blk_state = { .name = "virtio-blk", .version = 1, .fields = fields };
