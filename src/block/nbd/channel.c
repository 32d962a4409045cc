/* Streams between NBD peers. SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/nbd/channel.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/int-math.h"
#include "gbase/error.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

#define AHEAD_BYTES (16u << 10) /* read ahead: small messages come together */
#define IOV_MAX_PARTS 64

struct NbdChannel {
    int fd;
    int64_t deadline_ns; /* 0: none */
    gnutls_session_t session;
    pthread_mutex_t session_lock; /* GnuTLS's session serves one call at a time */
    unsigned ahead_start, ahead_end;
    uint8_t ahead[AHEAD_BYTES]; /* the reader's */
};

NbdChannel *nbd_channel_new(int fd)
{
    NbdChannel *channel = g_new0(NbdChannel, 1);
    channel->fd = fd;
    pthread_mutex_init(&channel->session_lock, NULL);
    return channel;
}

void nbd_channel_free(NbdChannel *channel)
{
    if (!channel) {
        return;
    }
    if (channel->session) {
        gnutls_deinit(channel->session);
    }
    close(channel->fd);
    pthread_mutex_destroy(&channel->session_lock);
    g_free(channel);
}

void nbd_channel_set_deadline(NbdChannel *channel, int64_t deadline_ns)
{
    channel->deadline_ns = deadline_ns;
}

bool nbd_channel_has_tls(const NbdChannel *channel)
{
    return channel->session != NULL;
}

void nbd_channel_shutdown(NbdChannel *channel)
{
    shutdown(channel->fd, SHUT_RDWR);
}

static int wait_for(const NbdChannel *channel, short events)
{
    struct pollfd poll_fd = { .fd = channel->fd, .events = events };
    for (;;) {
        int timeout_ms = -1;
        if (channel->deadline_ns) {
            int64_t left_ns = channel->deadline_ns - clock_monotonic_ns();
            if (left_ns <= 0) {
                return -ETIMEDOUT;
            }
            timeout_ms = (int)MIN(left_ns / 1000000 + 1, G_MAXINT);
        }
        int rc = poll(&poll_fd, 1, timeout_ms);
        if (rc > 0) {
            return 0;
        }
        if (rc < 0 && errno != EINTR) {
            return -errno;
        }
    }
}

/* Some bytes of a socket: recvmsg() or sendmsg() with retries. Returns: > 0 or -errno. */
static ssize_t move_some(const NbdChannel *channel, struct iovec *iov, unsigned count,
                         bool is_write, int flags)
{
    struct msghdr message = { .msg_iov = iov, .msg_iovlen = count };
    flags |= MSG_NOSIGNAL | (channel->deadline_ns ? MSG_DONTWAIT : 0);
    for (;;) {
        ssize_t done = is_write ? sendmsg(channel->fd, &message, flags)
                                : recvmsg(channel->fd, &message, flags);
        if (done > 0) {
            return done;
        }
        if (done == 0) {
            return -ENOTCONN;
        }
        int rc = errno == EAGAIN ? wait_for(channel, is_write ? POLLOUT : POLLIN) : -errno;
        if (rc < 0 && rc != -EINTR) {
            return rc == -EPIPE || rc == -ECONNRESET ? -ENOTCONN : rc;
        }
    }
}

/* TLS */

static ssize_t push_record(gnutls_transport_ptr_t opaque, const void *data, size_t size)
{
    return send(((NbdChannel *)opaque)->fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static ssize_t pull_record(gnutls_transport_ptr_t opaque, void *data, size_t size)
{
    return recv(((NbdChannel *)opaque)->fd, data, size, MSG_DONTWAIT);
}

static ssize_t tls_some(NbdChannel *channel, void *data, size_t size, bool is_write)
{
    for (;;) {
        ssize_t done;
        bool wants_write;
        {
            LOCK_GUARD(&channel->session_lock);
            done = is_write ? gnutls_record_send(channel->session, data, size)
                            : gnutls_record_recv(channel->session, data, size);
            wants_write = gnutls_record_get_direction(channel->session) == 1;
        }
        if (done > 0) {
            return done;
        }
        if (done == 0 || done == GNUTLS_E_PREMATURE_TERMINATION) {
            return -ENOTCONN;
        }
        if (done != GNUTLS_E_AGAIN && done != GNUTLS_E_INTERRUPTED &&
            (is_write || gnutls_error_is_fatal((int)done))) {
            return -ENOTCONN;
        }
        /* The other direction's call may have set the direction: what this one needs is known but
         * for a reader who has to answer. */
        int rc = done == GNUTLS_E_AGAIN ? wait_for(channel, is_write      ? POLLOUT
                                                            : wants_write ? POLLIN | POLLOUT
                                                                          : POLLIN)
                                        : 0;
        if (rc < 0) {
            return rc;
        }
    }
}

static bool shake_hands(NbdChannel *channel, gnutls_session_t session, GError **error)
{
    gnutls_transport_set_ptr(session, channel);
    gnutls_transport_set_push_function(session, push_record);
    gnutls_transport_set_pull_function(session, pull_record);
    for (;;) {
        int rc = gnutls_handshake(session);
        if (rc == GNUTLS_E_SUCCESS) {
            return true;
        }
        if (rc == GNUTLS_E_AGAIN) {
            rc = wait_for(channel, gnutls_record_get_direction(session) == 1 ? POLLOUT : POLLIN);
            if (rc < 0) {
                lodge_error_set_errno(error, rc, "TLS handshake failed");
                return false;
            }
        } else if (gnutls_error_is_fatal(rc)) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_AUTH, "TLS handshake failed: %s",
                        gnutls_strerror(rc));
            return false;
        }
    }
}

bool nbd_channel_start_tls(NbdChannel *channel, NbdTls *tls, const char *host, GError **error)
{
    if (channel->ahead_start != channel->ahead_end) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_PROTOCOL,
                    "The peer sent plain bytes behind the start of TLS");
        return false;
    }
    gnutls_session_t session = nbd_tls_session(tls, host, error);
    if (!session) {
        return false;
    }
    if (!shake_hands(channel, session, error) || !nbd_tls_verify(tls, session, host, error)) {
        gnutls_deinit(session);
        return false;
    }
    channel->session = session;
    return true;
}

/* Reading */

static size_t take_ahead(NbdChannel *channel, void *buf, size_t length)
{
    size_t part = min_u64(length, channel->ahead_end - channel->ahead_start);
    memcpy(buf, channel->ahead + channel->ahead_start, part);
    channel->ahead_start += (unsigned)part;
    return part;
}

int nbd_channel_read(NbdChannel *channel, void *buf, size_t length)
{
    uint8_t *at = buf;
    size_t there = take_ahead(channel, at, length);
    at += there;
    length -= there;
    while (length > 0) {
        ssize_t done;
        bool is_large = length >= AHEAD_BYTES;
        struct iovec parts[2] = { { at, length }, { channel->ahead, AHEAD_BYTES } };
        if (channel->session && is_large) {
            done = tls_some(channel, at, length, false);
        } else if (channel->session) {
            done = tls_some(channel, channel->ahead, AHEAD_BYTES, false);
            channel->ahead_start = 0;
            channel->ahead_end = done > 0 ? (unsigned)done : 0;
            done = done > 0 ? (ssize_t)take_ahead(channel, at, length) : done;
        } else {
            done = move_some(channel, parts, is_large ? 1 : 2, false, is_large ? MSG_WAITALL : 0);
            if (done > (ssize_t)length) {
                channel->ahead_start = 0;
                channel->ahead_end = (unsigned)(done - (ssize_t)length);
                done = (ssize_t)length;
            }
        }
        if (done < 0) {
            return (int)done;
        }
        at += done;
        length -= (size_t)done;
    }
    return 0;
}

int nbd_channel_read_vec(NbdChannel *channel, const BlockVec *vec, uint64_t skip, size_t length)
{
    for (unsigned i = 0; i < vec->count && length > 0; i++) {
        if (skip >= vec->iov[i].iov_len) {
            skip -= vec->iov[i].iov_len;
            continue;
        }
        size_t part = min_u64(vec->iov[i].iov_len - skip, length);
        int rc = nbd_channel_read(channel, (uint8_t *)vec->iov[i].iov_base + skip, part);
        if (rc < 0) {
            return rc;
        }
        length -= part;
        skip = 0;
    }
    return 0;
}

int nbd_channel_skip(NbdChannel *channel, size_t length)
{
    uint8_t waste[4096];
    while (length > 0) {
        size_t part = min_u64(length, sizeof(waste));
        int rc = nbd_channel_read(channel, waste, part);
        if (rc < 0) {
            return rc;
        }
        length -= part;
    }
    return 0;
}

/* Writing */

static int write_tls(NbdChannel *channel, const struct iovec *parts, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        uint8_t *at = parts[i].iov_base;
        size_t left = parts[i].iov_len;
        while (left > 0) {
            ssize_t done = tls_some(channel, at, left, true);
            if (done < 0) {
                return (int)done;
            }
            at += done;
            left -= (size_t)done;
        }
    }
    return 0;
}

static int write_parts(NbdChannel *channel, struct iovec *parts, unsigned count, int flags)
{
    if (channel->session) {
        return write_tls(channel, parts, count);
    }
    unsigned first = 0;
    while (first < count) {
        ssize_t done = move_some(channel, parts + first, count - first, true, flags);
        if (done < 0) {
            return (int)done;
        }
        size_t left = (size_t)done;
        while (first < count && left >= parts[first].iov_len) {
            left -= parts[first++].iov_len;
        }
        if (first < count) {
            parts[first].iov_base = (uint8_t *)parts[first].iov_base + left;
            parts[first].iov_len -= left;
        }
    }
    return 0;
}

int nbd_channel_write(NbdChannel *channel, const void *head, size_t head_length,
                      const BlockVec *vec, uint64_t skip, size_t length)
{
    struct iovec parts[IOV_MAX_PARTS] = { { (void *)head, head_length } };
    unsigned count = 1;
    for (unsigned i = 0; vec && i < vec->count && length > 0; i++) {
        if (skip >= vec->iov[i].iov_len) {
            skip -= vec->iov[i].iov_len;
            continue;
        }
        if (count == IOV_MAX_PARTS) {
            int rc = write_parts(channel, parts, count, MSG_MORE);
            if (rc < 0) {
                return rc;
            }
            count = 0;
        }
        size_t part = min_u64(vec->iov[i].iov_len - skip, length);
        parts[count++] = (struct iovec){ (uint8_t *)vec->iov[i].iov_base + skip, part };
        length -= part;
        skip = 0;
    }
    return write_parts(channel, parts, count, 0);
}
