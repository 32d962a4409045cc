/* Messages in and out of a non-blocking socket.
 *
 * The input buffer grows with what has come, never by what a length announces. Output is sent at
 * once where it can be; what is produced while input is worked off goes out in one system call.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rpc/connection.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "gbase/error.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define INPUT_FIRST_BYTES 4096u
#define INPUT_SPACE_MIN 1024u
#define SEND_BATCH 16u
/* Reads before others get their turn. */
#define READ_ROUNDS 4

struct RpcConnection {
    gint refs;
    EventLoop *loop;
    LoopWatch *watch;
    int fd;
    const RpcConnectionOps *ops;
    void *opaque;

    uint8_t *in; /* C heap */
    size_t in_size, in_capacity, in_limit;
    size_t in_skip; /* bytes that are no message */
    int in_fds[RPC_FDS_MAX];
    unsigned n_in_fds;
    bool paused, parsing;

    pthread_mutex_t lock; /* what follows, and the TLS session */
    RpcMessage *out_head, **out_tail;
    size_t out_bytes;
    bool corked; /* send when the input has been worked off */
    bool was_full;
    bool wants_write, update_posted;
    uint32_t watched; /* events the loop waits for */
    bool closed;
    const char *abort_reason;

    RpcTlsSession *tls;
    bool handshaking;
    bool greeted; /* the handshake was begun */
};

static void on_ready(void *opaque, uint32_t events);
static void parse(RpcConnection *conn);

RpcConnection *rpc_connection_new(EventLoop *loop, int fd, const RpcConnectionOps *ops,
                                  void *opaque)
{
    RpcConnection *conn = g_new0(RpcConnection, 1);
    conn->refs = 1;
    conn->loop = loop;
    conn->fd = fd;
    conn->ops = ops;
    conn->opaque = opaque;
    conn->in_limit = RPC_MESSAGE_MAX_UNAUTHENTICATED;
    conn->out_tail = &conn->out_head;
    conn->watched = EPOLLIN;
    pthread_mutex_init(&conn->lock, NULL);
    if (fd_set_nonblocking(fd, 1) < 0 ||
        !(conn->watch = loop_watch(loop, fd, EPOLLIN, on_ready, conn))) {
        rpc_connection_unref(conn);
        return NULL;
    }
    return conn;
}

RpcConnection *rpc_connection_ref(RpcConnection *conn)
{
    g_atomic_int_inc(&conn->refs);
    return conn;
}

static void drop_output(RpcConnection *conn)
{
    while (conn->out_head) {
        RpcMessage *message = conn->out_head;
        conn->out_head = message->next;
        rpc_message_free(message);
    }
    conn->out_tail = &conn->out_head;
    conn->out_bytes = 0;
}

static void close_input_fds(RpcConnection *conn)
{
    for (unsigned i = 0; i < conn->n_in_fds; i++) {
        if (conn->in_fds[i] >= 0) {
            close(conn->in_fds[i]);
        }
    }
    conn->n_in_fds = 0;
}

void rpc_connection_unref(RpcConnection *conn)
{
    if (!conn || !g_atomic_int_dec_and_test(&conn->refs)) {
        return;
    }
    if (conn->fd >= 0) {
        close(conn->fd);
    }
    drop_output(conn);
    close_input_fds(conn);
    rpc_tls_session_free(conn->tls);
    pthread_mutex_destroy(&conn->lock);
    free(conn->in);
    g_free(conn);
}

int rpc_connection_fd(const RpcConnection *conn)
{
    return conn->fd;
}

RpcTlsSession *rpc_connection_tls(RpcConnection *conn)
{
    return conn->tls;
}

void rpc_connection_set_limit(RpcConnection *conn, size_t limit)
{
    conn->in_limit = limit;
}

void rpc_connection_skip(RpcConnection *conn, size_t n)
{
    conn->in_skip = n;
}

/* Takes the socket out of the loop and closes it; the struct lives on with its references. */
static void shut(RpcConnection *conn)
{
    LOCK_GUARD(&conn->lock);
    if (conn->closed) {
        return;
    }
    conn->closed = true;
    loop_unwatch(conn->watch);
    conn->watch = NULL;
    if (conn->tls && !conn->handshaking) {
        rpc_tls_goodbye(conn->tls);
    }
    close(steal_fd(&conn->fd));
    drop_output(conn);
    close_input_fds(conn);
    conn->in_size = 0;
}

static void fail(RpcConnection *conn, const char *reason)
{
    if (!conn->closed) {
        shut(conn);
        conn->ops->closed(conn->opaque, reason);
    }
}

/* --- output --- */

/* One descriptor, as the protocol wants it: apart, with one zero byte. Returns 0 or -errno. */
static int send_one_fd(int socket, int fd)
{
    char zero = 0;
    struct iovec iov = { &zero, 1 };
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = { 0 };
    struct msghdr msg = { .msg_iov = &iov,
                          .msg_iovlen = 1,
                          .msg_control = control.bytes,
                          .msg_controllen = sizeof(control.bytes) };
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
    return sendmsg(socket, &msg, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

/* Sends descriptors of messages whose bytes are out and frees those done. 0 or -errno. */
static int finish_heads(RpcConnection *conn)
{
    while (conn->out_head && conn->out_head->sent == conn->out_head->writer.size) {
        RpcMessage *message = conn->out_head;
        while (message->fds_sent < message->n_fds) {
            int rc =
                conn->tls ? -EOPNOTSUPP : send_one_fd(conn->fd, message->fds[message->fds_sent]);
            if (rc < 0) {
                return rc;
            }
            close(message->fds[message->fds_sent++]);
        }
        conn->out_head = message->next;
        if (!conn->out_head) {
            conn->out_tail = &conn->out_head;
        }
        rpc_message_free(message);
    }
    return 0;
}

/* Sends the heads' bytes up to the first message with descriptors. Bytes sent or -errno. */
static ssize_t send_batch(RpcConnection *conn)
{
    if (conn->tls) {
        RpcMessage *head = conn->out_head;
        return rpc_tls_send(conn->tls, head->writer.data + head->sent,
                            head->writer.size - head->sent);
    }
    struct iovec iov[SEND_BATCH];
    size_t n = 0;
    for (RpcMessage *m = conn->out_head; m && n < SEND_BATCH; m = m->next) {
        iov[n++] = (struct iovec){ m->writer.data + m->sent, m->writer.size - m->sent };
        if (m->n_fds) {
            break;
        }
    }
    struct msghdr msg = { .msg_iov = iov, .msg_iovlen = n };
    ssize_t sent = sendmsg(conn->fd, &msg, MSG_NOSIGNAL);
    return sent < 0 ? -errno : sent;
}

/* Sends what the socket takes. Called with the lock. False: the connection is broken. */
static bool flush_locked(RpcConnection *conn)
{
    while (conn->out_head && !conn->handshaking) {
        ssize_t sent = send_batch(conn);
        if (sent == -EINTR) {
            continue;
        }
        if (sent < 0) {
            return sent == -EAGAIN;
        }
        conn->out_bytes -= (size_t)sent;
        for (RpcMessage *m = conn->out_head; m && sent > 0; m = m->next) {
            size_t part = MIN((size_t)sent, m->writer.size - m->sent);
            m->sent += part;
            sent -= (ssize_t)part;
        }
        /* Only whole heads go; a descriptor that does not fit is tried again later. */
        int rc = finish_heads(conn);
        if (rc < 0) {
            return rc == -EAGAIN;
        }
    }
    return true;
}

static void update_events_locked(RpcConnection *conn)
{
    if (!conn->watch) {
        return;
    }
    uint32_t events = conn->paused ? 0 : EPOLLIN;
    conn->wants_write = conn->handshaking ? !conn->greeted || rpc_tls_wants_write(conn->tls)
                                          : conn->out_head != NULL;
    events |= conn->wants_write ? EPOLLOUT : 0;
    if (events != conn->watched) {
        conn->watched = events;
        loop_watch_set_events(conn->watch, events);
    }
}

/* On the loop's thread, for what other threads may not do. */
static void posted_update(void *opaque)
{
    RpcConnection *conn = opaque;
    const char *reason;
    {
        LOCK_GUARD(&conn->lock);
        conn->update_posted = false;
        reason = conn->abort_reason;
        if (!conn->closed && !reason) {
            update_events_locked(conn);
        }
    }
    if (reason) {
        fail(conn, reason);
    }
    rpc_connection_unref(conn);
}

static void post_update_locked(RpcConnection *conn)
{
    if (conn->update_posted) {
        return;
    }
    conn->update_posted = true;
    rpc_connection_ref(conn);
    if (loop_call(conn->loop, posted_update, conn) < 0) {
        conn->update_posted = false;
        g_atomic_int_add(&conn->refs, -1);
    }
}

void rpc_connection_send(RpcConnection *conn, RpcMessage *message)
{
    LOCK_GUARD(&conn->lock);
    if (conn->closed) {
        rpc_message_free(message);
        return;
    }
    bool idle = conn->out_head == NULL;
    *conn->out_tail = message;
    conn->out_tail = &message->next;
    conn->out_bytes += message->writer.size;
    if (conn->corked || !idle || conn->handshaking) {
        return;
    }
    if (!flush_locked(conn)) {
        conn->abort_reason = "the peer has gone";
        post_update_locked(conn);
    } else if (conn->out_head) {
        post_update_locked(conn);
    }
    conn->was_full |= conn->out_bytes > RPC_CONNECTION_LOW_MARK;
}

size_t rpc_connection_queued(RpcConnection *conn)
{
    LOCK_GUARD(&conn->lock);
    return conn->out_bytes;
}

void rpc_connection_abort(RpcConnection *conn, const char *reason)
{
    LOCK_GUARD(&conn->lock);
    if (!conn->closed) {
        conn->abort_reason = reason;
        post_update_locked(conn);
    }
}

/* Sends, looks what to wait for, and tells the owner when there is room again. */
static bool flush(RpcConnection *conn)
{
    bool ok, drained;
    {
        LOCK_GUARD(&conn->lock);
        if (conn->closed) {
            return false;
        }
        conn->was_full |= conn->out_bytes > RPC_CONNECTION_LOW_MARK;
        ok = flush_locked(conn);
        if (ok) {
            update_events_locked(conn);
        }
        drained = ok && conn->was_full && conn->out_bytes <= RPC_CONNECTION_LOW_MARK;
        if (drained) {
            conn->was_full = false;
        }
    }
    if (!ok) {
        fail(conn, "the peer has gone");
        return false;
    }
    if (drained && conn->ops->drained) {
        conn->ops->drained(conn->opaque);
    }
    return !conn->closed;
}

void rpc_connection_close(RpcConnection *conn)
{
    {
        LOCK_GUARD(&conn->lock);
        if (!conn->closed && !flush_locked(conn)) {
            drop_output(conn);
        }
    }
    shut(conn);
}

/* --- input --- */

static bool take_fds(RpcConnection *conn, struct msghdr *msg)
{
    bool ok = !(msg->msg_flags & MSG_CTRUNC);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
            if (conn->n_in_fds < RPC_FDS_MAX) {
                conn->in_fds[conn->n_in_fds++] = fd;
            } else {
                close(fd);
                ok = false;
            }
        }
    }
    return ok;
}

static ssize_t receive_some(RpcConnection *conn, void *data, size_t size)
{
    if (conn->tls) {
        LOCK_GUARD(&conn->lock);
        return rpc_tls_receive(conn->tls, data, size);
    }
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * RPC_FDS_MAX)];
    } control;
    struct iovec iov = { data, size };
    struct msghdr msg = { .msg_iov = &iov,
                          .msg_iovlen = 1,
                          .msg_control = control.bytes,
                          .msg_controllen = sizeof(control.bytes) };
    ssize_t got = recvmsg(conn->fd, &msg, MSG_CMSG_CLOEXEC);
    if (got < 0) {
        return -errno;
    }
    return take_fds(conn, &msg) ? got : -EPROTO;
}

static bool make_room(RpcConnection *conn)
{
    if (conn->in_capacity - conn->in_size >= INPUT_SPACE_MIN) {
        return true;
    }
    size_t capacity = MAX(conn->in_capacity * 2, INPUT_FIRST_BYTES);
    uint8_t *bigger = realloc(conn->in, capacity);
    if (!bigger) {
        return false;
    }
    conn->in = bigger;
    conn->in_capacity = capacity;
    return true;
}

/* The message at the start of @at. Returns its bytes with those of its descriptors, 0 when it is
 * not complete, -1 when it breaks the rules. */
static ssize_t next_message(RpcConnection *conn, const uint8_t *at, size_t available,
                            RpcIncoming *out)
{
    if (available < RPC_LENGTH_BYTES) {
        return 0;
    }
    XdrReader reader = { at, at + available };
    uint32_t length;
    if (!xdr_get_u32(&reader, &length) || length < RPC_MESSAGE_MIN || length > conn->in_limit) {
        return -1;
    }
    if (available < length) {
        return 0;
    }
    rpc_header_read(at + RPC_LENGTH_BYTES, &out->header);
    out->payload = at + RPC_MESSAGE_MIN;
    out->size = length - RPC_MESSAGE_MIN;
    out->fds = conn->in_fds;
    out->n_fds = 0;
    if (out->header.type != RPC_CALL_WITH_FDS && out->header.type != RPC_REPLY_WITH_FDS) {
        return length;
    }
    reader = (XdrReader){ out->payload, out->payload + out->size };
    uint32_t n_fds;
    if (!xdr_get_u32(&reader, &n_fds) || n_fds > RPC_FDS_MAX || conn->tls) {
        return -1;
    }
    if (available - length < n_fds || conn->n_in_fds < n_fds) {
        return 0;
    }
    out->payload += 4;
    out->size -= 4;
    out->n_fds = n_fds;
    return (ssize_t)length + n_fds;
}

static void drop_message_fds(RpcConnection *conn, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (conn->in_fds[i] >= 0) {
            close(conn->in_fds[i]);
        }
    }
    conn->n_in_fds -= n;
    memmove(conn->in_fds, conn->in_fds + n, conn->n_in_fds * sizeof(int));
}

/* Gives the memory of a large message back. */
static void shrink_input(RpcConnection *conn)
{
    if (conn->in_size == 0 && conn->in_capacity > INPUT_FIRST_BYTES * 16) {
        free(conn->in);
        conn->in = NULL;
        conn->in_capacity = 0;
    }
}

/* Delivers the whole messages that are there. Holds a reference of the caller. */
static void parse(RpcConnection *conn)
{
    if (conn->parsing) {
        return;
    }
    conn->parsing = true;
    size_t at = MIN(conn->in_skip, conn->in_size);
    conn->in_skip -= at;
    while (!conn->closed && !conn->paused) {
        RpcIncoming incoming;
        ssize_t used = next_message(conn, conn->in + at, conn->in_size - at, &incoming);
        if (used < 0) {
            conn->parsing = false;
            fail(conn, "a message breaks the rules of the protocol");
            return;
        }
        if (used == 0) {
            break;
        }
        conn->ops->message(conn->opaque, &incoming);
        if (conn->closed) {
            break;
        }
        drop_message_fds(conn, incoming.n_fds);
        at += (size_t)used;
    }
    conn->parsing = false;
    if (!conn->closed && at) {
        conn->in_size -= at;
        memmove(conn->in, conn->in + at, conn->in_size);
        shrink_input(conn);
    }
}

static void set_corked(RpcConnection *conn, bool corked)
{
    LOCK_GUARD(&conn->lock);
    conn->corked = corked;
}

static void read_input(RpcConnection *conn)
{
    bool more = true;
    for (int round = 0; more && !conn->closed && !conn->paused; round++) {
        if (!make_room(conn)) {
            fail(conn, "out of memory");
            return;
        }
        size_t space = conn->in_capacity - conn->in_size;
        ssize_t got = receive_some(conn, conn->in + conn->in_size, space);
        if (got == -EAGAIN || got == -EINTR) {
            break;
        }
        if (got <= 0) {
            fail(conn, got == 0 ? "the peer closed the connection" : "receiving failed");
            return;
        }
        conn->in_size += (size_t)got;
        parse(conn);
        /* TLS keeps decrypted bytes that the socket does not announce. */
        more = !conn->closed && (conn->tls ? rpc_tls_has_pending(conn->tls)
                                           : (size_t)got == space && round < READ_ROUNDS);
    }
}

static bool handshake(RpcConnection *conn)
{
    g_autoptr(GError) error = NULL;
    conn->greeted = true;
    int rc = rpc_tls_handshake(conn->tls, &error);
    if (rc < 0) {
        /* The owner's reason is static; interned, since the text is GnuTLS's or of a few kinds. */
        fail(conn, g_intern_string(error->message));
        return false;
    }
    {
        LOCK_GUARD(&conn->lock);
        conn->handshaking = rc == 0;
        update_events_locked(conn);
    }
    if (rc > 0 && conn->ops->secured) {
        conn->ops->secured(conn->opaque);
    }
    return rc > 0 && !conn->closed;
}

void rpc_connection_start_tls(RpcConnection *conn, RpcTlsSession *session)
{
    LOCK_GUARD(&conn->lock);
    conn->tls = session;
    conn->handshaking = true;
    update_events_locked(conn);
}

/* Whether there is something to send, or the socket is watched as if there were. */
static bool needs_flush(RpcConnection *conn)
{
    LOCK_GUARD(&conn->lock);
    return !conn->closed && (conn->out_head || conn->wants_write);
}

static void on_ready(void *opaque, uint32_t events)
{
    RpcConnection *conn = rpc_connection_ref(opaque);
    if (conn->handshaking && !handshake(conn)) {
        rpc_connection_unref(conn);
        return;
    }
    set_corked(conn, true);
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        read_input(conn);
    }
    set_corked(conn, false);
    if (needs_flush(conn)) {
        flush(conn);
    }
    /* A paused connection that hangs up would wake the loop for ever. */
    if (!conn->closed && conn->paused && (events & (EPOLLHUP | EPOLLERR))) {
        fail(conn, "the peer closed the connection");
    }
    rpc_connection_unref(conn);
}

void rpc_connection_pause(RpcConnection *conn, bool paused)
{
    if (conn->closed || conn->paused == paused) {
        return;
    }
    rpc_connection_ref(conn);
    conn->paused = paused;
    {
        LOCK_GUARD(&conn->lock);
        update_events_locked(conn);
    }
    if (!paused && !conn->parsing) {
        parse(conn);
        if (!conn->closed && conn->tls && rpc_tls_has_pending(conn->tls)) {
            read_input(conn);
        }
    }
    rpc_connection_unref(conn);
}
