/* Virtio block device under a hostile driver, on a small image in memory.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "base/log.h"
#include "block/backend.h"
#include "fuzz/fuzz-virtio.h"
#include "vmm/virtio/blk/blk.h"

#include <linux/virtio_blk.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define IMAGE_BYTES 65536

static void *prepare(FakeHost *fake)
{
    char path[64];
    int fd = memfd_create("image", MFD_CLOEXEC);
    lodge_assert(fd >= 0 && ftruncate(fd, IMAGE_BYTES) == 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    const BlockOptions options = { .id = "d",
                                   .path = path,
                                   .format = "raw",
                                   .is_unlocked = true,
                                   .can_discard = true,
                                   .cache = BLOCK_CACHE_UNSAFE };
    BlockBackend *backend = block_backend_open(&options, fake->loop, NULL);
    lodge_assert(backend);
    close(fd);
    fake_host_add_backend(fake, VIRTIO_BLK_BACKEND, "disk", backend);
    return backend;
}

static void finish(void *backend)
{
    block_backend_close(backend);
}

static void settle(void *backend)
{
    block_backend_wait_idle(backend);
}

static void make_request(uint8_t *bytes, size_t size, uint8_t what, uint32_t value)
{
    static const uint32_t types[] = { VIRTIO_BLK_T_IN,       VIRTIO_BLK_T_OUT,
                                      VIRTIO_BLK_T_FLUSH,    VIRTIO_BLK_T_GET_ID,
                                      VIRTIO_BLK_T_DISCARD,  VIRTIO_BLK_T_WRITE_ZEROES,
                                      VIRTIO_BLK_T_SCSI_CMD, 0xffffffff };
    uint64_t sector = what & 0x80 ? (uint64_t)value << 24 : value % (IMAGE_BYTES / 512 + 2);
    le32_put(bytes, types[what & 7]);
    le64_put(bytes + 8, sector);
    /* A range, if the readable part goes on. */
    le64_put(bytes + 16, sector);
    le32_put(bytes + 24, what & 0x40 ? value : value % 16);
    le32_put(bytes + 28, what >> 3 & 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const properties[] = { "drive", "disk", "num-queues", "2", NULL };
    static const FuzzVirtio fuzz = { .class = &virtio_blk_pci_class,
                                     .properties = properties,
                                     .prepare = prepare,
                                     .finish = finish,
                                     .settle = settle,
                                     .make_request = make_request };
    return fuzz_virtio_run(&fuzz, data, size);
}
