/* Sessions: the threads that read requests in turn, execute and answer them.
 *
 * There is one thread more than requests are executed, up to a limit: it waits for the next
 * request, so no request is handed from thread to thread.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/export/session.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#define KEPT_BYTES (1u << 20)                   /* of buffer, from one request to the next */
#define SKIPPED_BYTES_MAX (2 * NBD_PAYLOAD_MAX) /* a client that sends more is not a client */

typedef struct Buffer {
    uint8_t *bytes;
    size_t size;
} Buffer;

NbdSession *nbd_session_new(const NbdSessionHost *host, int fd)
{
    NbdSession *session = g_new0(NbdSession, 1);
    session->host = host;
    session->channel = nbd_channel_new(fd);
    pthread_mutex_init(&session->read_lock, NULL);
    pthread_mutex_init(&session->send_lock, NULL);
    pthread_mutex_init(&session->lock, NULL);
    pthread_cond_init(&session->freed, NULL);
    return session;
}

void nbd_session_free(NbdSession *session)
{
    nbd_channel_free(session->channel);
    g_free(session->contexts_for);
    pthread_cond_destroy(&session->freed);
    pthread_mutex_destroy(&session->lock);
    pthread_mutex_destroy(&session->send_lock);
    pthread_mutex_destroy(&session->read_lock);
    g_free(session);
}

void nbd_session_cut(NbdSession *session)
{
    nbd_channel_shutdown(session->channel);
}

/* Buffers */

/* Waits until so many bytes may be used. */
static void reserve(NbdSession *session, size_t bytes)
{
    LOCK_GUARD(&session->lock);
    while (session->buffer_bytes && session->buffer_bytes + bytes > NBD_SESSION_BUFFER_BYTES) {
        pthread_cond_wait(&session->freed, &session->lock);
    }
    session->buffer_bytes += bytes;
}

static void unreserve(NbdSession *session, size_t bytes)
{
    LOCK_GUARD(&session->lock);
    session->buffer_bytes -= bytes;
    pthread_cond_broadcast(&session->freed);
}

static bool grow(Buffer *buffer, size_t bytes)
{
    if (buffer->size < bytes) {
        g_free(buffer->bytes);
        buffer->bytes = g_try_malloc(bytes);
        buffer->size = buffer->bytes ? bytes : 0;
    }
    return buffer->bytes || bytes == 0;
}

static void shrink(Buffer *buffer)
{
    if (buffer->size > KEPT_BYTES) {
        g_clear_pointer(&buffer->bytes, g_free);
        buffer->size = 0;
    }
}

/* Requests */

typedef enum Incoming {
    INCOMING_END,     /* goodbye, or the connection is broken */
    INCOMING_REFUSED, /* to be answered with an error */
    INCOMING_REQUEST,
} Incoming;

static size_t bytes_needed(const NbdRequest *request)
{
    return request->command == NBD_CMD_READ || request->command == NBD_CMD_WRITE ? request->length
                                                                                 : 0;
}

/* With the read lock held: the next request, a write's data with it. Its bytes are reserved then.
 */
static Incoming read_request(NbdSession *session, NbdRequest *request, Buffer *buffer,
                             int *out_error)
{
    uint8_t bytes[NBD_REQUEST_BYTES];
    if (nbd_channel_read(session->channel, bytes, sizeof(bytes)) < 0 ||
        !nbd_request_unpack(bytes, request) || request->command == NBD_CMD_DISC) {
        return INCOMING_END;
    }
    bool is_write = request->command == NBD_CMD_WRITE;
    size_t needed = bytes_needed(request);
    if (needed > NBD_PAYLOAD_MAX) {
        *out_error = -EINVAL;
        return is_write && (needed > SKIPPED_BYTES_MAX ||
                            nbd_channel_skip(session->channel, needed) < 0)
                   ? INCOMING_END
                   : INCOMING_REFUSED;
    }
    reserve(session, needed);
    if (!grow(buffer, needed)) {
        unreserve(session, needed);
        *out_error = -ENOMEM;
        return is_write && nbd_channel_skip(session->channel, needed) < 0 ? INCOMING_END
                                                                          : INCOMING_REFUSED;
    }
    if (is_write && nbd_channel_read(session->channel, buffer->bytes, needed) < 0) {
        unreserve(session, needed);
        return INCOMING_END;
    }
    return INCOMING_REQUEST;
}

static bool start_worker(NbdSession *session);

/* With the read lock held, before the request is executed: somebody else reads the next one. */
static void pass_reading_on(NbdSession *session)
{
    pthread_mutex_lock(&session->lock);
    bool is_needed = !session->waiting && session->workers < NBD_SESSION_WORKERS;
    pthread_mutex_unlock(&session->lock);
    if (is_needed) {
        (void)!start_worker(session);
    }
}

static bool serve_one(NbdSession *session, Buffer *buffer)
{
    NbdRequest request;
    int error = 0;
    pthread_mutex_lock(&session->lock);
    session->waiting++;
    pthread_mutex_unlock(&session->lock);
    pthread_mutex_lock(&session->read_lock);
    pthread_mutex_lock(&session->lock);
    session->waiting--;
    bool is_closing = session->is_closing;
    pthread_mutex_unlock(&session->lock);
    Incoming kind = is_closing ? INCOMING_END : read_request(session, &request, buffer, &error);
    if (kind == INCOMING_END) {
        pthread_mutex_lock(&session->lock);
        session->is_closing = true;
        pthread_mutex_unlock(&session->lock);
    } else {
        pass_reading_on(session);
    }
    pthread_mutex_unlock(&session->read_lock);
    if (kind != INCOMING_REQUEST) {
        return kind == INCOMING_REFUSED && nbd_session_refuse(session, &request, error);
    }
    bool ok = nbd_session_execute(session, &request, buffer->bytes);
    unreserve(session, bytes_needed(&request));
    shrink(buffer);
    return ok;
}

static void *work(void *opaque)
{
    NbdSession *session = opaque;
    Buffer buffer = { 0 };
    bool is_first;
    pthread_mutex_lock(&session->lock);
    is_first = !session->export;
    pthread_mutex_unlock(&session->lock);
    bool ok = !is_first || nbd_session_negotiate(session);
    while (ok) {
        ok = serve_one(session, &buffer);
    }
    g_free(buffer.bytes);
    pthread_mutex_lock(&session->lock);
    bool was_closing = session->is_closing;
    session->is_closing = true;
    bool is_last = --session->workers == 0;
    pthread_mutex_unlock(&session->lock);
    if (!was_closing) {
        nbd_channel_shutdown(session->channel); /* the one that reads ends too */
    }
    if (is_last) {
        session->host->ended(session->host->opaque, session);
    }
    return NULL;
}

static bool start_worker(NbdSession *session)
{
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t all, before;
    pthread_mutex_lock(&session->lock);
    session->workers++;
    pthread_mutex_unlock(&session->lock);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&thread, &attributes, work, session);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (rc != 0) {
        log_warn("NBD server: cannot start a thread: %s", strerror(rc));
        pthread_mutex_lock(&session->lock);
        session->workers--;
        pthread_mutex_unlock(&session->lock);
    }
    return rc == 0;
}

bool nbd_session_start(NbdSession *session)
{
    nbd_channel_set_deadline(session->channel,
                             clock_monotonic_ns() + NBD_HANDSHAKE_SECONDS * NS_PER_SEC);
    return start_worker(session);
}
