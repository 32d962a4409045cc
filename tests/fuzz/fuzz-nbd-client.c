/* What an NBD server sends to the client: the whole stream, fed at once.
 *
 * The client's cookies are 0, 0x100, 0x200, ... in the order of the calls below.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "block/drivers.h"

#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STREAM_BYTES_MAX (48u << 10) /* fits a socket's buffer */

static void use(BlockNode *node)
{
    static uint8_t buffer[8192];
    uint64_t size = block_node_size(node), length = size < sizeof(buffer) ? size : sizeof(buffer);
    BlockStatus status;
    (void)!block_status(node, 0, size, &status);
    (void)!block_pread(node, 0, buffer, length);
    (void)!block_pread(node, size / 2, buffer, length / 2);
    (void)!block_status(node, size / 2, size, &status);
    (void)!block_pwrite(node, length / 2, buffer, length / 2, 0);
    (void)!block_write_zeroes(node, 0, length, BLOCK_IO_MAY_UNMAP);
    (void)!block_discard(node, 0, length);
    (void)!block_flush(node);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int ends[2];
    log_init("fuzz", LOG_LEVEL_ERROR);
    if (size > STREAM_BYTES_MAX || socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0) {
        return 0;
    }
    if (write(ends[1], data, size) == (ssize_t)size) {
        shutdown(ends[1], SHUT_WR);
        BlockNode *node = block_nbd_node(ends[0], BLOCK_OPEN_WRITABLE | BLOCK_OPEN_DISCARD, NULL);
        if (node) {
            use(node);
            block_node_unref(node);
        }
    } else {
        close(ends[0]);
    }
    close(ends[1]);
    return 0;
}
