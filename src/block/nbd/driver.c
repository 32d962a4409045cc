/* The protocol "nbd": a disk that an NBD server exports.
 *
 * Leaves out: changing its size. Exports whose blocks are larger than a byte are read and written
 * with the bytes around what was asked for.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/int-math.h"
#include "block/drivers.h"
#include "block/nbd/client.h"
#include "block/objects.h"
#include "gbase/error.h"
#include "gbase/strutil.h"

#include <errno.h>
#include <string.h>

#define ZERO_BYTES_MAX (1u << 30) /* of a request that carries no data */
#define STATUS_BYTES_MAX (1u << 30)
#define STATUS_AGE_NS (100 * NS_PER_MS)
#define RECONNECT_SECONDS_MAX 86400

/* Answers of a block status that were not asked for yet. What another client changes is seen when
 * they are too old, what this one changes at once. */
typedef struct Ahead {
    pthread_mutex_t lock;
    uint64_t start, end; /* bytes */
    int64_t until_ns;
    uint64_t changes; /* counts requests that change the disk */
    unsigned count;
    NbdExtent extents[NBD_EXTENTS_MAX];
} Ahead;

typedef struct NbdDisk {
    NbdClient *client;
    const NbdFacts *facts;
    pthread_mutex_t align_lock; /* read, change and write again */
    Ahead ahead;
} NbdDisk;

static NbdDisk *disk_of(const BlockNode *node)
{
    return node->state;
}

/* Opening */

static bool get_seconds(const BlockSpec *spec, const char *key, unsigned *out_seconds,
                        GError **error)
{
    const char *text = block_spec_get(spec, key);
    guint64 value = 0;
    if (text && (!str_parse_u64(text, &value) || value > RECONNECT_SECONDS_MAX)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Parameter '%s' expects seconds, at most %u, not '%s'", key,
                    RECONNECT_SECONDS_MAX, text);
        return false;
    }
    *out_seconds = (unsigned)value;
    return true;
}

static void options_clear(NbdClientOptions *options)
{
    nbd_address_clear(&options->address);
    nbd_tls_unref(options->tls);
    g_free(options->tls_host);
    g_free(options->context);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(NbdClientOptions, options_clear)

static bool get_options(const BlockSpec *spec, NbdClientOptions *options, GError **error)
{
    const char *creds = block_spec_get(spec, "tls-creds");
    const char *bitmap = block_spec_get(spec, "x-dirty-bitmap");
    if (!nbd_address_from_spec(spec, &options->address, error) ||
        !get_seconds(spec, "reconnect-delay", &options->reconnect_delay_seconds, error) ||
        !get_seconds(spec, "open-timeout", &options->open_timeout_seconds, error)) {
        return false;
    }
    if (bitmap && strlen(bitmap) > NBD_NAME_MAX) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT, "'x-dirty-bitmap' is too long");
        return false;
    }
    options->tls_host = g_strdup(block_spec_get(spec, "tls-hostname"));
    options->context = g_strdup(bitmap);
    if (!creds && options->address.wants_tls) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "nbds: needs TLS credentials: add --object tls-creds-x509,... and name them "
                    "by 'tls-creds' (--image-opts)");
        return false;
    }
    if (creds) {
        options->tls = block_objects_tls(block_spec_objects(spec), creds, false, error);
    }
    return !creds || options->tls;
}

static bool check_export(BlockNode *node, const NbdFacts *facts, const char *context,
                         GError **error)
{
    if (node->flags & BLOCK_OPEN_WRITABLE && facts->flags & NBD_IS_READ_ONLY) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_PERMISSION,
                    "Could not open '%s' for writing: the server exports it read-only",
                    node->filename);
        return false;
    }
    if (context && !facts->has_context) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND,
                    "Could not open '%s': the server has no metadata context '%s'", node->filename,
                    context);
        return false;
    }
    return true;
}

static void disk_free(NbdDisk *disk)
{
    nbd_client_free(disk->client);
    pthread_mutex_destroy(&disk->align_lock);
    pthread_mutex_destroy(&disk->ahead.lock);
    g_free(disk);
}

/* @client: taken. */
static NbdDisk *disk_new(NbdClient *client)
{
    NbdDisk *disk = g_new0(NbdDisk, 1);
    disk->client = client;
    disk->facts = nbd_client_facts(client);
    pthread_mutex_init(&disk->align_lock, NULL);
    pthread_mutex_init(&disk->ahead.lock, NULL);
    return disk;
}

static bool open_nbd(BlockNode *node, const BlockSpec *spec, unsigned flags, GError **error)
{
    g_auto(NbdClientOptions) options = { 0 };
    if (!get_options(spec, &options, error)) {
        return false;
    }
    g_free(node->filename);
    node->filename = nbd_address_name(&options.address);
    g_autofree char *context = g_strdup(options.context);
    NbdClient *client = nbd_client_new(&options, error);
    if (!client) {
        g_prefix_error(error, "Could not open '%s': ", node->filename);
        return false;
    }
    NbdDisk *disk = disk_new(client);
    if (!check_export(node, disk->facts, context, error)) {
        disk_free(disk);
        return false;
    }
    node->state = disk;
    node->size = disk->facts->size;
    return true;
}

static int close_nbd(BlockNode *node)
{
    disk_free(disk_of(node));
    return 0;
}

/* Reading and writing */

static void note_change(NbdDisk *disk)
{
    LOCK_GUARD(&disk->ahead.lock);
    disk->ahead.changes++;
    disk->ahead.count = 0;
}

/* What lies on whole blocks, in pieces as large as the server takes. */
static int transfer_blocks(NbdDisk *disk, NbdCommand command, uint64_t offset, uint64_t length,
                           const BlockVec *vec, uint64_t skip)
{
    int rc = 0;
    while (length > 0 && rc == 0) {
        NbdJob job = {
            .command = command,
            .offset = offset,
            .length = (uint32_t)min_u64(length, disk->facts->max_block),
            .vec = vec,
            .skip = skip,
        };
        rc = nbd_client_run(disk->client, &job);
        offset += job.length;
        length -= job.length;
        skip += job.length;
    }
    return rc;
}

/* What lies within a few blocks, with the bytes around it. */
static int transfer_around(NbdDisk *disk, NbdCommand command, uint64_t offset, uint64_t length,
                           const BlockVec *vec, uint64_t skip)
{
    uint64_t start = round_down(offset, disk->facts->min_block);
    uint64_t end = round_up(offset + length, disk->facts->min_block);
    g_autofree uint8_t *buf = g_try_malloc(end - start);
    if (!buf) {
        return -ENOMEM;
    }
    struct iovec iov = { buf, end - start };
    BlockVec around = { &iov, 1 };
    int rc = transfer_blocks(disk, NBD_CMD_READ, start, end - start, &around, 0);
    if (rc == 0 && command == NBD_CMD_READ) {
        block_vec_write(vec, skip, buf + (offset - start), length);
    } else if (rc == 0) {
        block_vec_read(vec, skip, buf + (offset - start), length);
        rc = transfer_blocks(disk, NBD_CMD_WRITE, start, end - start, &around, 0);
    }
    return rc;
}

/* Head, whole blocks and tail. */
static int transfer_any(NbdDisk *disk, NbdCommand command, uint64_t offset, uint64_t length,
                        const BlockVec *vec, uint64_t skip)
{
    uint64_t block = disk->facts->min_block;
    uint64_t head = min_u64(round_up(offset, block) - offset, length);
    uint64_t middle = round_down(length - head, block);
    uint64_t tail = length - head - middle;
    int rc = head ? transfer_around(disk, command, offset, head, vec, skip) : 0;
    if (rc == 0 && middle) {
        rc = transfer_blocks(disk, command, offset + head, middle, vec, skip + head);
    }
    if (rc == 0 && tail) {
        rc =
            transfer_around(disk, command, offset + head + middle, tail, vec, skip + head + middle);
    }
    return rc;
}

static int read_nbd(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                    uint64_t skip)
{
    return transfer_any(disk_of(node), NBD_CMD_READ, offset, length, vec, skip);
}

static int write_nbd(BlockNode *node, uint64_t offset, uint64_t length, const BlockVec *vec,
                     uint64_t skip)
{
    NbdDisk *disk = disk_of(node);
    uint32_t block = disk->facts->min_block;
    bool is_aligned = offset % block == 0 && length % block == 0;
    note_change(disk);
    LOCK_GUARD(is_aligned ? NULL : &disk->align_lock);
    int rc = transfer_any(disk, NBD_CMD_WRITE, offset, length, vec, skip);
    note_change(disk);
    return rc;
}

/* Requests that name a range and carry no data. */
static int send_range(NbdDisk *disk, NbdCommand command, uint16_t flags, uint64_t offset,
                      uint64_t length)
{
    int rc = 0;
    note_change(disk);
    while (length > 0 && rc == 0) {
        NbdJob job = {
            .command = command,
            .flags = flags,
            .offset = offset,
            .length = (uint32_t)min_u64(length, ZERO_BYTES_MAX),
        };
        rc = nbd_client_run(disk->client, &job);
        offset += job.length;
        length -= job.length;
    }
    note_change(disk);
    return rc;
}

static int zero_nbd(BlockNode *node, uint64_t offset, uint64_t length, unsigned flags)
{
    NbdDisk *disk = disk_of(node);
    uint32_t block = disk->facts->min_block;
    if (!(disk->facts->flags & NBD_CAN_WRITE_ZEROES) || offset % block || length % block) {
        return -ENOTSUP;
    }
    return send_range(disk, NBD_CMD_WRITE_ZEROES,
                      flags & BLOCK_IO_MAY_UNMAP ? 0 : NBD_CMD_FLAG_NO_HOLE, offset, length);
}

static int discard_nbd(BlockNode *node, uint64_t offset, uint64_t length)
{
    NbdDisk *disk = disk_of(node);
    uint32_t block = disk->facts->min_block;
    uint64_t start = round_up(offset, block), end = round_down(offset + length, block);
    if (!(disk->facts->flags & NBD_CAN_TRIM) || !(node->flags & BLOCK_OPEN_DISCARD) ||
        start >= end) {
        return 0;
    }
    return send_range(disk, NBD_CMD_TRIM, 0, start, end - start);
}

static int flush_nbd(BlockNode *node)
{
    NbdDisk *disk = disk_of(node);
    NbdJob job = { .command = NBD_CMD_FLUSH };
    if (!(disk->facts->flags & NBD_CAN_FLUSH) || node->flags & BLOCK_OPEN_NO_FLUSH ||
        !(node->flags & BLOCK_OPEN_WRITABLE)) {
        return 0;
    }
    return nbd_client_run(disk->client, &job);
}

/* Status */

/* With the lock held: what was said of @offset, neighbours of the same kind put together. */
static bool find_ahead(const Ahead *ahead, uint64_t offset, NbdExtent *out_extent)
{
    uint64_t at = ahead->start;
    unsigned i = 0;
    if (!ahead->count || offset < at || offset >= ahead->end ||
        clock_monotonic_ns() > ahead->until_ns) {
        return false;
    }
    while (offset >= at + ahead->extents[i].length) {
        at += ahead->extents[i++].length;
    }
    uint64_t length = at + ahead->extents[i].length - offset;
    out_extent->flags = ahead->extents[i].flags;
    for (i++; i < ahead->count && ahead->extents[i].flags == out_extent->flags; i++) {
        length += ahead->extents[i].length;
    }
    out_extent->length = (uint32_t)length;
    return true;
}

static void put_ahead(Ahead *ahead, const NbdJob *job)
{
    ahead->start = ahead->end = job->offset;
    ahead->count = job->extent_count;
    memcpy(ahead->extents, job->extents, job->extent_count * sizeof(job->extents[0]));
    for (unsigned i = 0; i < job->extent_count; i++) {
        ahead->end += job->extents[i].length;
    }
    ahead->until_ns = clock_monotonic_ns() + STATUS_AGE_NS;
}

static int ask_status(NbdDisk *disk, uint64_t offset, uint64_t length, NbdExtent *out_extent)
{
    Ahead *ahead = &disk->ahead;
    NbdExtent extents[NBD_EXTENTS_MAX];
    uint32_t block = disk->facts->min_block;
    uint64_t start = round_down(offset, block);
    uint64_t end = min_u64(round_up(offset + length, block), disk->facts->size);
    NbdJob job = {
        .command = NBD_CMD_BLOCK_STATUS,
        .offset = start,
        .length = (uint32_t)min_u64(end - start, STATUS_BYTES_MAX),
        .extents = extents,
    };
    pthread_mutex_lock(&ahead->lock);
    uint64_t changes = ahead->changes;
    pthread_mutex_unlock(&ahead->lock);
    int rc = nbd_client_run(disk->client, &job);
    if (rc < 0) {
        return rc;
    }
    *out_extent = extents[0];
    LOCK_GUARD(&ahead->lock);
    if (ahead->changes == changes) {
        put_ahead(ahead, &job);
    }
    if (extents[0].length <= offset - start) {
        return -EIO; /* less than a block */
    }
    out_extent->length -= (uint32_t)(offset - start);
    return 0;
}

static int status_nbd(BlockNode *node, uint64_t offset, uint64_t length, BlockStatus *out_status)
{
    NbdDisk *disk = disk_of(node);
    NbdExtent extent;
    if (!disk->facts->has_context) {
        return 0;
    }
    pthread_mutex_lock(&disk->ahead.lock);
    bool is_known = find_ahead(&disk->ahead, offset, &extent);
    pthread_mutex_unlock(&disk->ahead.lock);
    int rc = is_known ? 0 : ask_status(disk, offset, length, &extent);
    if (rc == -EINVAL || rc == -ENOTSUP || rc == -EOPNOTSUPP) {
        return 0; /* a server that promised and cannot: all is data */
    }
    if (rc < 0) {
        return rc;
    }
    out_status->length = extent.length;
    out_status->flags = BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_OFFSET |
                        (extent.flags & NBD_STATE_HOLE ? 0 : BLOCK_STATUS_DATA) |
                        (extent.flags & NBD_STATE_ZERO ? BLOCK_STATUS_ZERO : 0);
    return 0;
}

static unsigned granularity(const BlockNode *node)
{
    return MAX(disk_of(node)->facts->preferred_block, 512);
}

const BlockDriver block_driver_nbd = {
    .name = "nbd",
    .is_protocol = true,
    .open = open_nbd,
    .close = close_nbd,
    .read = read_nbd,
    .write = write_nbd,
    .write_zeroes = zero_nbd,
    .discard = discard_nbd,
    .flush = flush_nbd,
    .status = status_nbd,
    .granularity = granularity,
};

BlockNode *block_nbd_node(int fd, unsigned flags, GError **error)
{
    NbdClient *client = nbd_client_new_on(fd, error);
    if (!client) {
        return NULL;
    }
    BlockNode *node = block_node_new(&block_driver_nbd, "nbd", flags);
    NbdDisk *disk = disk_new(client);
    node->state = disk;
    node->size = disk->facts->size;
    return node;
}
