/* Copies images on several threads: each takes the next piece of one kind, reads, looks for zeroes,
 * compresses, writes. The pieces are handed out in order under a lock.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "img/copy.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/int-math.h"
#include "block/driver.h"
#include "gbase/error.h"
#include "img/common.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Large writes at round offsets get large folios, which cost the kernel a half of what small ones
 * do. */
#define PIECE_BYTES (2 * MIB)
#define PACKED_PIECE_BYTES (128 * KIB) /* each thread keeps one in memory; larger is not faster */
#define ZERO_PIECE_BYTES GIB
/* Ordered writes on their way: one that is ready when the one before ends, as a file takes one at a
 * time. */
#define ORDERED_WRITES 2
/* After so many writes in a row that had no other ready behind them, one more thread reads. */
#define GAPS_MOST 8

typedef enum PieceKind { PIECE_DATA, PIECE_ZERO, PIECE_BACKING } PieceKind;

typedef struct Run {
    const ImgCopy *copy;
    pthread_mutex_t lock;
    uint64_t next;      /* under lock, as all below: where the next piece begins */
    uint64_t known_end; /* up to here the sources' status is .known */
    PieceKind known;
    const ImgSource *known_source;              /* NULL: behind all sources */
    pthread_cond_t turns[IMG_COPY_THREADS_MAX]; /* by piece: it may write, or something failed */
    pthread_cond_t starved;                     /* too little is read ahead, or no piece is left */
    uint64_t taken, written;                    /* pieces handed out; done */
    unsigned ready;                             /* pieces read and not yet written */
    unsigned gaps;                              /* writes in a row that left no other piece ready */
    uint64_t settled; /* ordered writes: pieces before this have their places in the target */
    uint64_t done;    /* bytes finished */
    int64_t started_ns;
    uint64_t throttled; /* bytes read or written so far */
    GError *error;      /* the first */
} Run;

typedef struct Piece {
    PieceKind kind;
    uint64_t number; /* counted from 0 */
    uint64_t offset, length;
    const ImgSource *source;
} Piece;

static pthread_cond_t *turn_of(Run *run, uint64_t number)
{
    return &run->turns[number % run->copy->threads];
}

/* Nobody waits for its turn any longer. Lock held. */
static void wake_all(Run *run)
{
    for (unsigned i = 0; i < run->copy->threads; i++) {
        pthread_cond_broadcast(&run->turns[i]);
    }
    pthread_cond_broadcast(&run->starved);
}

/* From where a layer's number is counted: the target of a commit is a layer of its source. */
static BlockNode *top_of(const ImgCopy *copy, BlockNode *node)
{
    return node == copy->sources[0].base ? copy->sources[0].node : node;
}

static void fail(Run *run, int errnum, const char *what, BlockNode *node, uint64_t offset)
{
    LOCK_GUARD(&run->lock);
    if (!run->error) {
        g_autofree char *place = block_failure_place(top_of(run->copy, node), errnum);
        lodge_error_set_errno(&run->error, errnum, "error while %s '%s' at byte %" PRIu64 "%s",
                              what, block_node_filename(node), offset, place);
    }
    wake_all(run);
}

static const ImgSource *source_at(const ImgCopy *copy, uint64_t offset, uint64_t *out_end)
{
    for (unsigned i = 0; i < copy->source_count; i++) {
        const ImgSource *source = &copy->sources[i];
        uint64_t end = source->start + block_node_size(source->node);
        if (offset < end) {
            *out_end = min_u64(end, copy->size);
            return source;
        }
    }
    *out_end = copy->size;
    return NULL;
}

/* Looks up what is at run->next. Lock held. */
static int look(Run *run)
{
    const ImgCopy *copy = run->copy;
    uint64_t end;
    const ImgSource *source = source_at(copy, run->next, &end);
    BlockStatus status = { .flags = BLOCK_STATUS_ZERO | BLOCK_STATUS_ALLOCATED,
                           .length = end - run->next };
    int result = 0;
    if (source) {
        result = img_next_status(source->node, source->base, run->next - source->start,
                                 end - run->next, &status);
        if (result < 0 && copy->can_salvage) {
            status = (BlockStatus){ .flags = BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED,
                                    .length = min_u64(PIECE_BYTES, end - run->next) };
            result = 0;
        }
    }
    bool is_backing = copy->has_backing && source && !(status.flags & BLOCK_STATUS_ALLOCATED);
    bool is_zero = (status.flags & BLOCK_STATUS_ZERO) && copy->sparse;
    run->known = is_backing ? PIECE_BACKING : is_zero ? PIECE_ZERO : PIECE_DATA;
    run->known_source = source;
    run->known_end = run->next + status.length;
    return result < 0 ? result : status.length ? 0 : -EIO;
}

static BlockNode *source_node(const ImgCopy *copy, uint64_t offset)
{
    uint64_t end;
    const ImgSource *source = source_at(copy, offset, &end);
    return source ? source->node : copy->sources[0].node;
}

/* Compressed clusters are written whole: a cluster whose parts are of several kinds is data. Lock
 * held. */
static int widen(Run *run, Piece *piece)
{
    const ImgCopy *copy = run->copy;
    uint64_t cluster = copy->cluster, end = piece->offset + piece->length;
    if (!cluster || end >= copy->size) {
        return 0;
    }
    if (piece->length >= cluster) {
        piece->length -= end % cluster;
        return 0;
    }
    piece->length = min_u64(cluster, copy->size - piece->offset);
    piece->kind = PIECE_DATA;
    piece->source = NULL; /* of several sources, perhaps */
    return 0;
}

/* Waits while others have read enough ahead: where writing takes longer than reading, more threads
 * would only take the processors from it. Lock held. False: no piece is left, or something failed.
 */
static bool wait_until_starved(Run *run)
{
    const ImgCopy *copy = run->copy;
    while (!run->error && run->next < copy->size && copy->is_ordered &&
           run->ready >= ORDERED_WRITES) {
        pthread_cond_wait(&run->starved, &run->lock);
    }
    return !run->error && run->next < copy->size;
}

static void note_done(Run *run, uint64_t bytes)
{
    run->done += bytes;
    if (run->copy->progress) {
        img_progress_set(run->copy->progress, run->done);
    }
}

/* Whether the target has what is at run->next. */
static bool is_there(const Run *run)
{
    const ImgCopy *copy = run->copy;
    return !copy->is_compressed &&
           (run->known == PIECE_BACKING || (run->known == PIECE_ZERO && copy->is_zeroed));
}

/* Looks up what is at run->next, and passes by what is there. Lock held. */
static int find_work(Run *run)
{
    int result = 0;
    while (result == 0 && run->next < run->copy->size) {
        result = run->next >= run->known_end ? look(run) : 0;
        if (result < 0 || !is_there(run)) {
            break;
        }
        note_done(run, run->known_end - run->next);
        run->next = run->known_end;
    }
    return result;
}

/* The next piece; false: there is none, or something failed. */
static bool take_piece(Run *run, Piece *piece)
{
    const ImgCopy *copy = run->copy;
    LOCK_GUARD(&run->lock);
    if (!wait_until_starved(run)) {
        return false;
    }
    int result = find_work(run);
    if (result < 0) {
        if (!run->error) {
            BlockNode *node = source_node(copy, run->next);
            g_autofree char *place = block_failure_place(node, result);
            lodge_error_set_errno(&run->error, result,
                                  "error while reading block status of '%s' at offset %" PRIu64
                                  "%s",
                                  block_node_filename(node), run->next, place);
        }
        wake_all(run);
        return false;
    }
    if (run->next >= copy->size) {
        pthread_cond_broadcast(&run->starved);
        return false;
    }
    uint64_t data_bytes = copy->is_compressed ? PACKED_PIECE_BYTES : PIECE_BYTES;
    uint64_t most = run->known == PIECE_DATA ? data_bytes : ZERO_PIECE_BYTES;
    *piece = (Piece){ .kind = run->known,
                      .offset = run->next,
                      .length = min_u64(run->known_end - run->next, most),
                      .source = run->known_source };
    if (copy->is_compressed) {
        widen(run, piece);
    } else if (piece->kind == PIECE_DATA && run->known_end > run->next + most) {
        /* Later pieces begin at round offsets. */
        piece->length -= (piece->offset + piece->length) % PIECE_BYTES % most;
        piece->length = piece->length ? piece->length : most;
    }
    piece->number = run->taken++;
    run->next += piece->length;
    if (run->next > run->known_end) {
        run->known_end = run->next;
    }
    if (run->next >= copy->size) {
        pthread_cond_broadcast(&run->starved);
    }
    return true;
}

static int read_source(const ImgCopy *copy, uint64_t offset, uint64_t length, uint8_t *buf)
{
    while (length > 0) {
        uint64_t end;
        const ImgSource *source = source_at(copy, offset, &end);
        uint64_t part = min_u64(length, end - offset);
        int result = 0;
        if (source) {
            result = block_pread(source->node, offset - source->start, buf, part);
        } else {
            memset(buf, 0, part);
        }
        if (result < 0) {
            return result;
        }
        offset += part;
        buf += part;
        length -= part;
    }
    return 0;
}

/* What cannot be read becomes zeroes, sector by sector. */
static int salvage(const ImgCopy *copy, uint64_t offset, uint64_t length, uint8_t *buf)
{
    for (uint64_t i = 0; i < length; i += 512) {
        uint64_t part = min_u64(512, length - i);
        if (read_source(copy, offset + i, part, buf + i) < 0) {
            memset(buf + i, 0, part);
            img_error("warning: error while reading offset %" PRIu64, offset + i);
        }
    }
    return 0;
}

static int write_zeroes(const ImgCopy *copy, uint64_t offset, uint64_t length)
{
    if (copy->is_zeroed || !length) {
        return 0;
    }
    return block_write_zeroes(copy->target, offset, length, BLOCK_IO_MAY_UNMAP);
}

/* Bytes from @buf on that are all of one kind, in steps of the sparse size. */
static uint64_t run_length(const ImgCopy *copy, const uint8_t *buf, uint64_t offset,
                           uint64_t length, bool *out_is_zero)
{
    uint64_t step = copy->sparse - offset % copy->sparse;
    uint64_t at = min_u64(step, length);
    *out_is_zero = block_is_zero(buf, at);
    while (at < length) {
        uint64_t part = min_u64(copy->sparse, length - at);
        if (block_is_zero(buf + at, part) != *out_is_zero) {
            break;
        }
        at += part;
    }
    return at;
}

/* @settled: told by the last part at most. */
static int write_plain(const ImgCopy *copy, uint64_t offset, const uint8_t *buf, uint64_t length,
                       const BlockSettled *settled)
{
    int result = 0;
    while (length > 0 && result == 0) {
        bool is_zero = false;
        uint64_t part = copy->sparse ? run_length(copy, buf, offset, length, &is_zero) : length;
        const BlockSettled *asks = part == length ? settled : NULL;
        result = is_zero ? write_zeroes(copy, offset, part)
                         : block_pwrite_settled(copy->target, offset, buf, part, asks);
        offset += part;
        buf += part;
        length -= part;
    }
    return result;
}

/* Bytes of whole clusters from @buf on that are all zero, or all not. */
static uint64_t packed_run(const ImgCopy *copy, const uint8_t *buf, uint64_t length,
                           bool *out_is_zero)
{
    uint64_t at = 0;
    while (at < length) {
        uint64_t part = min_u64(length - at, copy->cluster);
        bool is_zero = copy->sparse && block_is_zero(buf + at, part);
        if (at > 0 && is_zero != *out_is_zero) {
            break;
        }
        *out_is_zero = is_zero;
        at += part;
    }
    return at;
}

static int write_packed(const ImgCopy *copy, uint64_t offset, const uint8_t *buf, uint64_t length)
{
    int result = 0;
    while (length > 0 && result == 0) {
        bool is_zero = false;
        uint64_t part = packed_run(copy, buf, length, &is_zero);
        result = is_zero ? write_zeroes(copy, offset, part)
                         : block_write_compressed(copy->target, offset, buf, part);
        offset += part;
        buf += part;
        length -= part;
    }
    return result;
}

/* Sleeps as long as the rate limit asks for. */
static void throttle(Run *run, uint64_t bytes)
{
    uint64_t limit = run->copy->bytes_per_second;
    if (!limit) {
        return;
    }
    pthread_mutex_lock(&run->lock);
    run->throttled += bytes;
    int64_t due =
        run->started_ns + (int64_t)((double)run->throttled / (double)limit * (double)NS_PER_SEC);
    pthread_mutex_unlock(&run->lock);
    int64_t wait = due - clock_monotonic_ns();
    if (wait > 0) {
        g_usleep((gulong)(wait / NS_PER_US));
    }
}

/* Waits until all pieces before have their places, and all but the last of them are written. False:
 * something failed. */
static bool wait_turn(Run *run, const Piece *piece)
{
    LOCK_GUARD(&run->lock);
    run->ready++;
    while (run->copy->is_ordered && !run->error &&
           (run->settled < piece->number || piece->number - run->written >= ORDERED_WRITES)) {
        pthread_cond_wait(turn_of(run, piece->number), &run->lock);
    }
    return !run->error;
}

/* The next piece's turn, perhaps. */
static void pass_turn(void *opaque)
{
    Run *run = opaque;
    LOCK_GUARD(&run->lock);
    run->settled++;
    pthread_cond_signal(turn_of(run, run->settled));
}

static void finish_piece(Run *run, const Piece *piece)
{
    LOCK_GUARD(&run->lock);
    run->written++;
    run->settled = max_u64(run->settled, piece->number + 1);
    note_done(run, piece->length);
    pthread_cond_signal(turn_of(run, run->settled));
    run->ready--;
    run->gaps = run->ready ? 0 : run->gaps + 1;
    if (run->gaps >= GAPS_MOST) {
        run->gaps = 0;
        pthread_cond_signal(&run->starved);
    }
}

static bool copy_piece(Run *run, const Piece *piece, uint8_t *buf)
{
    const ImgCopy *copy = run->copy;
    const BlockSettled turn = { pass_turn, run }, *settled = copy->is_ordered ? &turn : NULL;
    int result = 0;
    if (piece->kind == PIECE_DATA) {
        result = read_source(copy, piece->offset, piece->length, buf);
        if (result < 0 && copy->can_salvage) {
            result = salvage(copy, piece->offset, piece->length, buf);
        }
        if (result < 0) {
            fail(run, result, "reading", source_node(copy, piece->offset), piece->offset);
            return false;
        }
        throttle(run, piece->length);
    }
    if (!wait_turn(run, piece)) {
        return false;
    }
    if (piece->kind == PIECE_DATA) {
        result = copy->is_compressed
                     ? write_packed(copy, piece->offset, buf, piece->length)
                     : write_plain(copy, piece->offset, buf, piece->length, settled);
    } else if (piece->kind == PIECE_ZERO) {
        result = write_zeroes(copy, piece->offset, piece->length);
    }
    if (result < 0) {
        fail(run, result, "writing", copy->target, piece->offset);
    }
    return result == 0;
}

static void *work(void *opaque)
{
    Run *run = opaque;
    Piece piece;
    uint64_t most = run->copy->is_compressed ? PACKED_PIECE_BYTES : PIECE_BYTES;
    uint64_t bytes = max_u64(most, run->copy->cluster);
    autofree uint8_t *buf = aligned_alloc(4096, bytes);
    if (!buf) {
        fail(run, -ENOMEM, "starting to write", run->copy->target, 0);
        return NULL;
    }
    while (take_piece(run, &piece) && copy_piece(run, &piece, buf)) {
        finish_piece(run, &piece);
    }
    return NULL;
}

bool img_copy(const ImgCopy *copy, GError **error)
{
    Run run = { .copy = copy, .started_ns = clock_monotonic_ns() };
    pthread_mutex_init(&run.lock, NULL);
    for (unsigned i = 0; i < copy->threads; i++) {
        pthread_cond_init(&run.turns[i], NULL);
    }
    g_autofree pthread_t *threads = g_new(pthread_t, copy->threads);
    pthread_cond_init(&run.starved, NULL);
    unsigned started = 0;
    while (started + 1 < copy->threads &&
           pthread_create(&threads[started], NULL, work, &run) == 0) {
        started++;
    }
    work(&run);
    for (unsigned i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
    }
    for (unsigned i = 0; i < copy->threads; i++) {
        pthread_cond_destroy(&run.turns[i]);
    }
    pthread_cond_destroy(&run.starved);
    pthread_mutex_destroy(&run.lock);
    if (run.error) {
        g_propagate_error(error, run.error);
        return false;
    }
    return true;
}
