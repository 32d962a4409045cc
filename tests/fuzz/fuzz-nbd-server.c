/* What an NBD client sends to the server: the whole stream, fed at once; answers are thrown away.
 *
 * The export is called "disk" and has 64 KiB, a dirty bitmap "b" and the allocation depth.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "block/export/server.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STREAM_BYTES_MAX (48u << 10) /* fits a socket's buffer */
#define DISK_BYTES (64u << 10)

static BlockNode *enter(void *opaque)
{
    return opaque;
}

static void leave(void *opaque)
{
}

typedef struct Drain {
    int fd;
    LoopWatch *watch;
} Drain;

static void drain(void *opaque, uint32_t events)
{
    static uint8_t waste[65536];
    Drain *self = opaque;
    if (read(self->fd, waste, sizeof(waste)) <= 0) {
        loop_watch_set_events(self->watch, 0);
    }
}

static void client_left(void *opaque, unsigned remaining)
{
    loop_quit(opaque);
}

static void add_export(NbdServer *server, BlockNode *node)
{
    DirtyBitmap *bitmap = dirty_bitmap_new("b", DISK_BYTES, 4096);
    NbdExportOptions options = {
        .name = "disk",
        .description = "fuzz",
        .is_writable = true,
        .has_depth = true,
        .bitmaps = &bitmap,
        .bitmap_count = 1,
    };
    NbdDiskSource source = { enter, leave, NULL, node };
    dirty_bitmap_set(bitmap, 8192, 100);
    NbdExport *export = nbd_export_new(&options, &source, NULL);
    (void)!nbd_server_add(server, export, NULL);
    nbd_export_unref(export);
    dirty_bitmap_unref(bitmap);
}

static void serve(EventLoop *loop, BlockNode *node, int ends[2], const uint8_t *data, size_t size)
{
    NbdServerOptions options = { .loop = loop, .client_left = client_left, .opaque = loop };
    NbdServer *server = nbd_server_new(&options);
    Drain self = { .fd = ends[1] };
    add_export(server, node);
    self.watch = loop_watch(loop, ends[1], EPOLLIN, drain, &self);
    nbd_server_serve(server, ends[0]);
    if (write(ends[1], data, size) == (ssize_t)size) {
        shutdown(ends[1], SHUT_WR);
        loop_run(loop);
    }
    loop_unwatch(self.watch);
    nbd_server_free(server);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int ends[2];
    log_init("fuzz", LOG_LEVEL_ERROR);
    if (size > STREAM_BYTES_MAX || socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0) {
        return 0;
    }
    EventLoop *loop = loop_new();
    File *file = file_memory_new("", 0, 2 * DISK_BYTES);
    BlockNode *node = NULL;
    if (file && file_truncate(file, DISK_BYTES) == 0) {
        node = block_open_file(file, "fuzz", "raw", BLOCK_OPEN_WRITABLE | BLOCK_OPEN_DISCARD, NULL);
    }
    if (loop && node) {
        serve(loop, node, ends, data, size);
    } else {
        close(ends[0]);
    }
    close(ends[1]);
    block_node_unref(node);
    loop_free(loop);
    return 0;
}
