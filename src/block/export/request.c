/* Executing and answering the requests of NBD clients.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "base/endian.h"
#include "base/int-math.h"
#include "block/driver.h"
#include "block/export/session.h"

#include <errno.h>
#include <string.h>

#define EXTENTS_MAX 2048u    /* of one answer */
#define HOLE_BYTES_MIN 4096u /* zeroes from there on are sent as a hole */
#define CACHE_BYTES (1u << 20)

/* Sending */

static bool send_simple(NbdSession *session, const NbdRequest *request, int error,
                        const uint8_t *data, size_t length)
{
    uint8_t head[NBD_SIMPLE_REPLY_BYTES];
    struct iovec iov = { (void *)data, length };
    BlockVec vec = { &iov, 1 };
    nbd_simple_reply_pack(head, nbd_error_from_errno(error), request->cookie);
    LOCK_GUARD(&session->send_lock);
    return nbd_channel_write(session->channel, head, sizeof(head), &vec, 0, length) == 0;
}

/* One chunk: @head behind the chunk's own header, then @data. */
static bool send_chunk(NbdSession *session, const NbdRequest *request, uint16_t type, bool is_last,
                       const void *head, uint32_t head_length, const void *data, uint32_t length)
{
    uint8_t bytes[NBD_CHUNK_BYTES + 16];
    struct iovec iov = { (void *)data, length };
    BlockVec vec = { &iov, 1 };
    NbdChunk chunk = { is_last ? NBD_CHUNK_DONE : 0, type, request->cookie, head_length + length };
    nbd_chunk_pack(&chunk, bytes);
    memcpy(bytes + NBD_CHUNK_BYTES, head, head_length);
    LOCK_GUARD(&session->send_lock);
    return nbd_channel_write(session->channel, bytes, NBD_CHUNK_BYTES + head_length, &vec, 0,
                             length) == 0;
}

/* READ and BLOCK_STATUS are answered by chunks where they are agreed on, errors too. */
bool nbd_session_refuse(NbdSession *session, const NbdRequest *request, int error)
{
    bool is_chunked = request->command == NBD_CMD_READ || request->command == NBD_CMD_BLOCK_STATUS;
    if (!is_chunked || !session->has_structured_replies) {
        return send_simple(session, request, error, NULL, 0);
    }
    uint8_t head[6];
    const char *text = g_strerror(-error);
    uint16_t length = (uint16_t)strlen(text);
    be32_put(head, nbd_error_from_errno(error));
    be16_put(head + 4, length);
    return send_chunk(session, request, NBD_CHUNK_ERROR, true, head, sizeof(head), text, length);
}

/* Reading */

static bool answer_read(NbdSession *session, const NbdRequest *request, const uint8_t *buf)
{
    uint8_t head[12];
    if (!session->has_structured_replies) {
        return send_simple(session, request, 0, buf, request->length);
    }
    if (request->length == 0) {
        return send_chunk(session, request, NBD_CHUNK_NONE, true, head, 0, NULL, 0);
    }
    struct iovec iov = { (void *)buf, request->length };
    BlockVec vec = { &iov, 1 };
    be64_put(head, request->offset);
    if (request->length >= HOLE_BYTES_MIN && block_vec_is_zero(&vec, 0, request->length)) {
        be32_put(head + 8, request->length);
        return send_chunk(session, request, NBD_CHUNK_OFFSET_HOLE, true, head, 12, NULL, 0);
    }
    return send_chunk(session, request, NBD_CHUNK_OFFSET_DATA, true, head, 8, buf, request->length);
}

/* The data come into the host's cache. */
static int fill_cache(BlockNode *node, const NbdRequest *request)
{
    g_autofree uint8_t *waste = g_try_malloc(min_u64(request->length, CACHE_BYTES));
    int rc = waste || !request->length ? 0 : -ENOMEM;
    for (uint64_t done = 0; rc == 0 && done < request->length; done += CACHE_BYTES) {
        rc = block_pread(node, request->offset + done, waste,
                         min_u64(request->length - done, CACHE_BYTES));
    }
    return rc;
}

/* Block status */

/* What one context says. */
typedef struct Extents {
    uint32_t id, max, count;
    uint64_t covered; /* bytes */
    uint8_t *bytes;   /* of the answer, 8 for each */
} Extents;

typedef struct StatusAnswer {
    Extents contexts[2 + NBD_EXPORT_BITMAPS_MAX];
    unsigned count;
} StatusAnswer;

/* False: there is no more room. */
static bool add_extent(Extents *extents, uint64_t length, uint32_t flags)
{
    uint8_t *last = extents->count ? extents->bytes + 8 * (extents->count - 1) : NULL;
    if (last && be32_get(last + 4) == flags) {
        be32_put(last, be32_get(last) + (uint32_t)length);
    } else if (extents->count == extents->max) {
        return false;
    } else {
        be32_put(extents->bytes + 8 * extents->count, (uint32_t)length);
        be32_put(extents->bytes + 8 * extents->count++ + 4, flags);
    }
    extents->covered += length;
    return true;
}

static int find_allocation(BlockNode *node, const NbdRequest *request, bool is_depth,
                           Extents *extents)
{
    while (extents->covered < request->length) {
        BlockStatus status;
        BlockNode *layer;
        unsigned depth;
        int rc = block_status_chain(node, NULL, request->offset + extents->covered,
                                    request->length - extents->covered, &status, &layer, &depth);
        if (rc < 0 || status.length == 0) {
            return extents->count ? 0 : rc < 0 ? rc : -EIO;
        }
        uint32_t flags = (status.flags & BLOCK_STATUS_DATA ? 0 : NBD_STATE_HOLE) |
                         (status.flags & BLOCK_STATUS_ZERO ? NBD_STATE_ZERO : 0);
        if (is_depth) {
            flags = status.flags & BLOCK_STATUS_ALLOCATED ? depth + 1 : 0;
        }
        if (!add_extent(extents, status.length, flags)) {
            return 0;
        }
    }
    return 0;
}

static void find_dirty(DirtyBitmap *bitmap, const NbdRequest *request, Extents *extents)
{
    uint64_t end = request->offset + request->length;
    for (uint64_t at = request->offset; at < end; at = request->offset + extents->covered) {
        uint64_t offset, length;
        if (!dirty_bitmap_next(bitmap, at, end - at, &offset, &length) || offset >= end) {
            add_extent(extents, end - at, 0);
            break;
        }
        if ((offset > at && !add_extent(extents, offset - at, 0)) ||
            !add_extent(extents, min_u64(length, end - offset), NBD_STATE_DIRTY)) {
            break;
        }
    }
}

static void add_context(StatusAnswer *answer, const NbdRequest *request, uint32_t id)
{
    uint32_t max = request->flags & NBD_CMD_FLAG_REQ_ONE ? 1 : EXTENTS_MAX;
    answer->contexts[answer->count++] =
        (Extents){ .id = id, .max = max, .bytes = g_malloc(8 * max) };
}

static void status_answer_clear(StatusAnswer *answer)
{
    for (unsigned i = 0; i < answer->count; i++) {
        g_free(answer->contexts[i].bytes);
    }
}

/* @answer: empty; to be cleared also on failure. */
static int find_status(NbdSession *session, const NbdRequest *request, BlockNode *node,
                       StatusAnswer *answer)
{
    const NbdExport *export = session->export;
    int rc = 0;
    if (session->has_allocation) {
        add_context(answer, request, NBD_CONTEXT_ID_ALLOCATION);
    }
    if (session->has_depth && export->has_depth) {
        add_context(answer, request, NBD_CONTEXT_ID_DEPTH);
    }
    for (unsigned i = 0; i < export->bitmap_count; i++) {
        if (session->bitmaps >> i & 1) {
            add_context(answer, request, NBD_CONTEXT_ID_BITMAP + i);
        }
    }
    if (answer->count == 0 || request->length == 0) {
        return -EINVAL;
    }
    for (unsigned i = 0; i < answer->count && rc == 0; i++) {
        Extents *extents = &answer->contexts[i];
        if (extents->id >= NBD_CONTEXT_ID_BITMAP) {
            find_dirty(export->bitmaps[extents->id - NBD_CONTEXT_ID_BITMAP], request, extents);
        } else {
            rc = find_allocation(node, request, extents->id == NBD_CONTEXT_ID_DEPTH, extents);
        }
    }
    return rc;
}

static bool answer_status(NbdSession *session, const NbdRequest *request,
                          const StatusAnswer *answer)
{
    bool ok = true;
    for (unsigned i = 0; i < answer->count && ok; i++) {
        const Extents *extents = &answer->contexts[i];
        uint8_t head[4];
        be32_put(head, extents->id);
        ok = send_chunk(session, request, NBD_CHUNK_BLOCK_STATUS, i == answer->count - 1, head,
                        sizeof(head), extents->bytes, 8 * extents->count);
    }
    return ok;
}

/* Checks */

/* Flags by command. */
static uint16_t allowed_flags(uint16_t command)
{
    switch (command) {
    case NBD_CMD_READ:
        return NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_DF;
    case NBD_CMD_WRITE_ZEROES:
        return NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO;
    case NBD_CMD_BLOCK_STATUS:
        return NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_REQ_ONE;
    default:
        return NBD_CMD_FLAG_FUA;
    }
}

static int check(const NbdSession *session, const NbdRequest *request)
{
    uint16_t command = request->command;
    bool changes =
        command == NBD_CMD_WRITE || command == NBD_CMD_WRITE_ZEROES || command == NBD_CMD_TRIM;
    if (command > NBD_CMD_BLOCK_STATUS || command == NBD_CMD_DISC ||
        request->flags & ~allowed_flags(command) ||
        (command == NBD_CMD_BLOCK_STATUS && !session->has_structured_replies)) {
        return -EINVAL;
    }
    if (changes && !session->export->is_writable) {
        return -EPERM;
    }
    if (command != NBD_CMD_FLUSH &&
        !range_fits(request->offset, request->length, session->export->size)) {
        return command == NBD_CMD_WRITE || command == NBD_CMD_WRITE_ZEROES ? -ENOSPC : -EINVAL;
    }
    return 0;
}

static int zero(BlockNode *node, const NbdRequest *request, unsigned fua)
{
    unsigned flags = fua;
    flags |= request->flags & NBD_CMD_FLAG_NO_HOLE ? 0 : BLOCK_IO_MAY_UNMAP;
    flags |= request->flags & NBD_CMD_FLAG_FAST_ZERO ? BLOCK_IO_NO_FALLBACK : 0;
    return block_write_zeroes(node, request->offset, request->length, flags);
}

static int execute_on(NbdSession *session, const NbdRequest *request, BlockNode *node, uint8_t *buf,
                      StatusAnswer *status)
{
    bool is_through = request->flags & NBD_CMD_FLAG_FUA || session->export->is_through;
    unsigned fua = is_through ? BLOCK_IO_FUA : 0;
    int rc;
    switch (request->command) {
    case NBD_CMD_READ:
        return block_pread(node, request->offset, buf, request->length);
    case NBD_CMD_BLOCK_STATUS:
        return find_status(session, request, node, status);
    case NBD_CMD_WRITE:
        return block_pwrite(node, request->offset, buf, request->length, fua);
    case NBD_CMD_WRITE_ZEROES:
        return zero(node, request, fua);
    case NBD_CMD_TRIM:
        rc = block_discard(node, request->offset, request->length);
        return rc == 0 && fua ? block_flush(node) : rc;
    case NBD_CMD_FLUSH:
        return block_flush(node);
    case NBD_CMD_CACHE:
        return fill_cache(node, request);
    default:
        return -EINVAL;
    }
}

bool nbd_session_execute(NbdSession *session, const NbdRequest *request, uint8_t *buf)
{
    const NbdDiskSource *source = &session->export->source;
    StatusAnswer status = { .count = 0 };
    int rc = check(session, request);
    if (rc == 0) {
        BlockNode *node = source->enter(source->opaque);
        rc = execute_on(session, request, node, buf, &status);
        source->leave(source->opaque);
    }
    /* Sending waits for the client, so nothing of the disk is held. */
    bool ok;
    if (rc < 0) {
        ok = nbd_session_refuse(session, request, rc);
    } else if (request->command == NBD_CMD_READ) {
        ok = answer_read(session, request, buf);
    } else if (request->command == NBD_CMD_BLOCK_STATUS) {
        ok = answer_status(session, request, &status);
    } else {
        ok = send_simple(session, request, 0, NULL, 0);
    }
    status_answer_clear(&status);
    return ok;
}
