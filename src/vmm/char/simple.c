/* Character back ends without a peer that comes and goes: null, file, pipe, ringbuf.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/char/simple.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "gbase/error.h"
#include "vmm/char/fd-stream.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* -- null: takes everything, says nothing -- */

static bool null_open(CharBackend *backend, GError **error)
{
    backend->is_connected = true;
    return true;
}

static void null_close(CharBackend *backend)
{
}

static ssize_t null_write(CharBackend *backend, const uint8_t *bytes, size_t length)
{
    return (ssize_t)length;
}

static void null_want_write(CharBackend *backend)
{
}

const CharClass char_null_class = {
    .name = "null",
    .summary = "output is dropped, no input",
    .instance_size = sizeof(CharBackend),
    .open = null_open,
    .close = null_close,
    .write = null_write,
    .want_write = null_want_write,
};

/* -- file and pipe -- */

typedef struct CharFile {
    CharBackend base;
    char *path, *input_path;
    bool appends;
    int in_fd, out_fd;
    FdStream stream;
} CharFile;

static int open_path(const char *path, int flags, GError **error)
{
    int fd = fd_open(path, flags | O_CLOEXEC | O_NOCTTY, 0666);
    if (fd < 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_IO, "cannot open '%s': %s", path,
                    strerror(-fd));
    }
    return fd;
}

static void ignore_hang_up(CharBackend *backend)
{
}

static bool file_start(CharFile *file, GError **error)
{
    if (!fd_stream_start(&file->stream, &file->base, file->in_fd, file->out_fd, ignore_hang_up,
                         error)) {
        cleanup_close(&file->in_fd);
        cleanup_close(&file->out_fd);
        return false;
    }
    file->base.is_connected = true;
    return true;
}

static bool require_path(const CharFile *file, GError **error)
{
    if (!file->path) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG, "'path' is missing");
        return false;
    }
    return true;
}

static bool file_open(CharBackend *backend, GError **error)
{
    CharFile *file = (CharFile *)backend;
    int flags = O_WRONLY | O_CREAT | (file->appends ? O_APPEND : O_TRUNC);
    file->in_fd = file->out_fd = -1;
    if (!require_path(file, error) || (file->out_fd = open_path(file->path, flags, error)) < 0) {
        return false;
    }
    if (file->input_path && (file->in_fd = open_path(file->input_path, O_RDONLY, error)) < 0) {
        cleanup_close(&file->out_fd);
        return false;
    }
    return file_start(file, error);
}

/* PATH.in and PATH.out if both are there, else PATH for both directions. */
static bool pipe_open(CharBackend *backend, GError **error)
{
    CharFile *file = (CharFile *)backend;
    file->in_fd = file->out_fd = -1;
    if (!require_path(file, error)) {
        return false;
    }
    g_autofree char *in = g_strdup_printf("%s.in", file->path);
    g_autofree char *out = g_strdup_printf("%s.out", file->path);
    /* Read-write, so that a peer that is not there yet, or leaves, is no error. */
    file->in_fd = open_path(in, O_RDWR, NULL);
    file->out_fd = file->in_fd < 0 ? -1 : open_path(out, O_RDWR, NULL);
    if (file->in_fd < 0 || file->out_fd < 0) {
        cleanup_close(&file->in_fd);
        file->in_fd = file->out_fd = open_path(file->path, O_RDWR, error);
    }
    return file->out_fd >= 0 && file_start(file, error);
}

static void file_close(CharBackend *backend)
{
    CharFile *file = (CharFile *)backend;
    fd_stream_stop(&file->stream);
    if (file->in_fd != file->out_fd) {
        cleanup_close(&file->in_fd);
    }
    cleanup_close(&file->out_fd);
}

static ssize_t file_write(CharBackend *backend, const uint8_t *bytes, size_t length)
{
    return fd_stream_write(&((CharFile *)backend)->stream, bytes, length);
}

static void file_want_write(CharBackend *backend)
{
    fd_stream_want_write(&((CharFile *)backend)->stream);
}

static void file_accept_input(CharBackend *backend)
{
    fd_stream_accept_input(&((CharFile *)backend)->stream);
}

static char *file_describe(CharBackend *backend)
{
    return g_strdup_printf("%s:%s", backend->class->name, ((CharFile *)backend)->path);
}

static const Property file_properties[] = {
    { "path", PROPERTY_STRING, offsetof(CharFile, path), .help = "file that output goes to" },
    { "input-path", PROPERTY_STRING, offsetof(CharFile, input_path),
      .help = "file that input comes from" },
    { "append", PROPERTY_BOOL, offsetof(CharFile, appends), .fallback = "off",
      .help = "keep what the file holds" },
    { 0 },
};

static const Property pipe_properties[] = {
    { "path", PROPERTY_STRING, offsetof(CharFile, path),
      .help = "fifo, or the stem of two: PATH.in and PATH.out" },
    { 0 },
};

const CharClass char_file_class = {
    .name = "file",
    .summary = "output to a file",
    .instance_size = sizeof(CharFile),
    .properties = file_properties,
    .open = file_open,
    .close = file_close,
    .write = file_write,
    .want_write = file_want_write,
    .accept_input = file_accept_input,
    .describe = file_describe,
};

const CharClass char_pipe_class = {
    .name = "pipe",
    .summary = "named pipes",
    .instance_size = sizeof(CharFile),
    .properties = pipe_properties,
    .open = pipe_open,
    .close = file_close,
    .write = file_write,
    .want_write = file_want_write,
    .accept_input = file_accept_input,
    .describe = file_describe,
};

/* -- ringbuf: the last bytes written, read by the monitor -- */

typedef struct CharRingbuf {
    CharBackend base;
    uint64_t size_bytes;
    uint8_t *ring;
    uint64_t written; /* under base.lock */
    uint64_t read;    /* under base.lock; written - size_bytes <= read <= written */
} CharRingbuf;

static bool ringbuf_open(CharBackend *backend, GError **error)
{
    CharRingbuf *ringbuf = (CharRingbuf *)backend;
    ringbuf->ring = g_malloc(ringbuf->size_bytes);
    backend->is_connected = true;
    return true;
}

static void ringbuf_close(CharBackend *backend)
{
    g_free(((CharRingbuf *)backend)->ring);
}

static ssize_t ringbuf_write(CharBackend *backend, const uint8_t *bytes, size_t length)
{
    CharRingbuf *ringbuf = (CharRingbuf *)backend;
    for (size_t i = 0; i < length; i++) {
        ringbuf->ring[ringbuf->written++ % ringbuf->size_bytes] = bytes[i];
    }
    if (ringbuf->written - ringbuf->read > ringbuf->size_bytes) {
        ringbuf->read = ringbuf->written - ringbuf->size_bytes;
    }
    return (ssize_t)length;
}

GByteArray *char_ringbuf_read(CharBackend *backend, size_t limit)
{
    if (backend->class != &char_ringbuf_class) {
        return NULL;
    }
    CharRingbuf *ringbuf = (CharRingbuf *)backend;
    GByteArray *bytes = g_byte_array_new();
    LOCK_GUARD(&backend->lock);
    while (ringbuf->read < ringbuf->written && bytes->len < limit) {
        g_byte_array_append(bytes, &ringbuf->ring[ringbuf->read++ % ringbuf->size_bytes], 1);
    }
    return bytes;
}

static const Property ringbuf_properties[] = {
    { "size", PROPERTY_SIZE, offsetof(CharRingbuf, size_bytes), .fallback = "64K", .min = 1,
      .max = 16 << 20, .help = "bytes that are kept" },
    { 0 },
};

const CharClass char_ringbuf_class = {
    .name = "ringbuf",
    .summary = "the last bytes written, read by the monitor",
    .instance_size = sizeof(CharRingbuf),
    .properties = ringbuf_properties,
    .open = ringbuf_open,
    .close = ringbuf_close,
    .write = ringbuf_write,
    .want_write = null_want_write,
};
