/* The NBD client's requests and its connection. SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/nbd/client.h"

#include "base/clock.h"
#include "base/endian.h"
#include "base/log.h"
#include "block/driver.h"
#include "gbase/error.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define SLOTS 64
#define RETRY_MS 200

/* A request in flight; on the stack of the thread that waits for it. */
typedef struct Flight {
    NbdJob *job;
    uint64_t cookie;
    int result;
    uint64_t received; /* bytes of a READ that chunks brought */
    bool is_done, is_lost;
    pthread_cond_t changed;
} Flight;

struct NbdClient {
    NbdClientOptions options;
    bool can_reconnect;
    NbdFacts facts;
    char *name; /* for messages */

    pthread_mutex_t send_lock; /* taken alone */
    pthread_mutex_t lock;      /* for all below */
    pthread_cond_t changed;    /* a slot or the connection */
    NbdChannel *channel;       /* NULL: broken and nobody uses it any more */
    bool is_broken, is_connecting, has_reader;
    unsigned in_flight;
    int64_t lost_ns;    /* when the connection broke */
    int64_t retried_ns; /* when the last attempt to connect ended */
    uint64_t generation;
    Flight *slots[SLOTS];
};

/* Connections */

static NbdChannel *connect_once(NbdClient *client, int64_t deadline_ns, NbdFacts *out_facts,
                                GError **error)
{
    const NbdClientOptions *options = &client->options;
    NbdWish wish = {
        .export_name = options->address.export_name,
        .context = options->context,
        .tls = options->tls,
        .tls_host = options->tls_host ? options->tls_host : options->address.host,
    };
    int fd = nbd_address_connect(&options->address, deadline_ns, error);
    if (fd < 0) {
        return NULL;
    }
    g_autoptr(NbdChannel) channel = nbd_channel_new(fd);
    nbd_channel_set_deadline(channel, deadline_ns ? deadline_ns
                                                  : clock_monotonic_ns() +
                                                        NBD_HANDSHAKE_SECONDS * NS_PER_SEC);
    if (!nbd_handshake(channel, &wish, out_facts, error)) {
        return NULL;
    }
    nbd_channel_set_deadline(channel, 0);
    return g_steal_pointer(&channel);
}

static void pause_ms(unsigned ms)
{
    struct timespec pause = { .tv_nsec = ms * NS_PER_MS };
    nanosleep(&pause, NULL);
}

static NbdClient *client_alloc(void)
{
    NbdClient *client = g_new0(NbdClient, 1);
    pthread_mutex_init(&client->send_lock, NULL);
    pthread_mutex_init(&client->lock, NULL);
    pthread_cond_init(&client->changed, NULL);
    return client;
}

NbdClient *nbd_client_new(NbdClientOptions *options, GError **error)
{
    NbdClient *client = client_alloc();
    client->options = *options;
    *options = (NbdClientOptions){ 0 };
    client->can_reconnect = true;
    client->name = nbd_address_name(&client->options.address);
    if (!client->options.context) {
        client->options.context = g_strdup(NBD_CONTEXT_ALLOCATION);
    }
    int64_t limit_ns = client->options.open_timeout_seconds * NS_PER_SEC;
    int64_t deadline_ns = limit_ns ? clock_monotonic_ns() + limit_ns : 0;
    for (;;) {
        g_autoptr(GError) reason = NULL;
        client->channel = connect_once(client, deadline_ns, &client->facts, &reason);
        if (client->channel) {
            return client;
        }
        bool may_retry = g_error_matches(reason, LODGE_ERROR, LODGE_ERROR_CONNECTION) ||
                         g_error_matches(reason, LODGE_ERROR, LODGE_ERROR_NOT_FOUND);
        if (!may_retry || clock_monotonic_ns() + RETRY_MS * NS_PER_MS >= deadline_ns) {
            g_propagate_error(error, g_steal_pointer(&reason));
            nbd_client_free(client);
            return NULL;
        }
        pause_ms(RETRY_MS);
    }
}

NbdClient *nbd_client_new_on(int fd, GError **error)
{
    NbdClient *client = client_alloc();
    NbdWish wish = { .export_name = "", .context = NBD_CONTEXT_ALLOCATION };
    client->name = g_strdup("nbd");
    client->channel = nbd_channel_new(fd);
    if (!nbd_handshake(client->channel, &wish, &client->facts, error)) {
        nbd_client_free(client);
        return NULL;
    }
    return client;
}

void nbd_client_free(NbdClient *client)
{
    if (!client) {
        return;
    }
    if (client->channel && !client->is_broken) {
        uint8_t bytes[NBD_REQUEST_BYTES];
        NbdRequest goodbye = { .command = NBD_CMD_DISC };
        nbd_request_pack(&goodbye, bytes);
        nbd_channel_set_deadline(client->channel, clock_monotonic_ns() + NS_PER_SEC);
        (void)!nbd_channel_write(client->channel, bytes, sizeof(bytes), NULL, 0, 0);
    }
    nbd_channel_free(client->channel);
    nbd_address_clear(&client->options.address);
    nbd_tls_unref(client->options.tls);
    g_free(client->options.tls_host);
    g_free(client->options.context);
    g_free(client->name);
    pthread_cond_destroy(&client->changed);
    pthread_mutex_destroy(&client->lock);
    pthread_mutex_destroy(&client->send_lock);
    g_free(client);
}

const NbdFacts *nbd_client_facts(const NbdClient *client)
{
    return &client->facts;
}

/* Whether what a new connection offers can stand in for the old one. */
static bool is_same_export(const NbdFacts *old, const NbdFacts *new)
{
    uint16_t needed = old->flags & (NBD_CAN_FLUSH | NBD_CAN_TRIM | NBD_CAN_WRITE_ZEROES);
    bool became_read_only = !(old->flags & NBD_IS_READ_ONLY) && (new->flags &NBD_IS_READ_ONLY);
    return new->size == old->size && !became_read_only &&
           (new->flags &needed) ==
               needed &&new->min_block <= old->min_block &&new->max_block >= old->max_block &&
           (new->has_structured_replies || !old->has_structured_replies) &&
           (new->has_context || !old->has_context);
}

/* With the lock held and the connection broken, without users: one attempt. */
static void reconnect(NbdClient *client)
{
    client->is_connecting = true;
    nbd_channel_free(g_steal_pointer(&client->channel));
    pthread_mutex_unlock(&client->lock);
    NbdFacts facts;
    g_autoptr(GError) error = NULL;
    NbdChannel *channel =
        connect_once(client, clock_monotonic_ns() + 5 * NS_PER_SEC, &facts, &error);
    if (channel && !is_same_export(&client->facts, &facts)) {
        log_warn("%s: the export has changed; it is not used any more", client->name);
        g_clear_pointer(&channel, nbd_channel_free);
    }
    pthread_mutex_lock(&client->lock);
    client->retried_ns = clock_monotonic_ns();
    if (channel) {
        client->channel = channel;
        client->facts.context_id = facts.context_id;
        client->is_broken = false;
        log_info("%s: connected again", client->name);
    }
    client->is_connecting = false;
    pthread_cond_broadcast(&client->changed);
}

static void wait_ms(NbdClient *client, unsigned ms)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += ms * NS_PER_MS;
    until.tv_sec += until.tv_nsec / NS_PER_SEC;
    until.tv_nsec %= NS_PER_SEC;
    pthread_cond_timedwait(&client->changed, &client->lock, &until);
}

/* With the lock held: waits for a connection as long as requests may. */
static int await_connection(NbdClient *client)
{
    while (client->is_broken) {
        int64_t now_ns = clock_monotonic_ns();
        int64_t delay_ns = client->options.reconnect_delay_seconds * NS_PER_SEC;
        bool is_patient = now_ns < client->lost_ns + delay_ns;
        bool is_time = now_ns >= client->retried_ns + (is_patient ? RETRY_MS : 1000) * NS_PER_MS;
        if (!client->can_reconnect) {
            return -EIO;
        }
        if (client->is_connecting || client->in_flight) {
            pthread_cond_wait(&client->changed, &client->lock);
        } else if (is_time) {
            reconnect(client);
        } else if (is_patient) {
            wait_ms(client, RETRY_MS);
        } else {
            return -EIO;
        }
    }
    return 0;
}

/* Slots */

static int enter(NbdClient *client, Flight *flight)
{
    pthread_mutex_lock(&client->lock);
    int rc = await_connection(client);
    while (rc == 0 && client->in_flight == SLOTS) {
        pthread_cond_wait(&client->changed, &client->lock);
        rc = await_connection(client);
    }
    if (rc == 0) {
        unsigned slot = 0;
        while (client->slots[slot]) {
            slot++;
        }
        flight->cookie = slot | client->generation++ << 8;
        client->slots[slot] = flight;
        client->in_flight++;
    }
    pthread_mutex_unlock(&client->lock);
    return rc;
}

/* With the lock held. */
static void leave(NbdClient *client, const Flight *flight)
{
    bool was_full = client->in_flight == SLOTS;
    client->slots[flight->cookie & 0xff] = NULL;
    client->in_flight--;
    if (was_full || client->is_broken) {
        pthread_cond_broadcast(&client->changed);
    }
}

/* With the lock held. NULL: no such request. */
static Flight *find_flight(NbdClient *client, uint64_t cookie)
{
    unsigned slot = cookie & 0xff;
    Flight *flight = slot < SLOTS ? client->slots[slot] : NULL;
    return flight && flight->cookie == cookie && !flight->is_done ? flight : NULL;
}

/* Receiving: by the one thread that has_reader stands for, without the lock. What comes in belongs
 * to a flight whose thread sleeps until is_done. */

static int receive_simple(NbdClient *client, Flight *flight, uint32_t error)
{
    NbdJob *job = flight->job;
    flight->result = nbd_error_to_errno(error);
    if (error || job->command != NBD_CMD_READ) {
        return job->command == NBD_CMD_BLOCK_STATUS && !error ? -EPROTO : 0;
    }
    /* With structured replies negotiated, data come in chunks only. */
    return client->facts.has_structured_replies
               ? -EPROTO
               : nbd_channel_read_vec(client->channel, job->vec, job->skip, job->length);
}

static int receive_data(NbdClient *client, Flight *flight, const NbdChunk *chunk)
{
    NbdJob *job = flight->job;
    uint8_t head[12];
    bool is_hole = chunk->type == NBD_CHUNK_OFFSET_HOLE;
    if (job->command != NBD_CMD_READ || (is_hole ? chunk->length != 12 : chunk->length <= 8)) {
        return -EPROTO;
    }
    int rc = nbd_channel_read(client->channel, head, is_hole ? 12 : 8);
    if (rc < 0) {
        return rc;
    }
    uint64_t offset = be64_get(head);
    uint32_t length = is_hole ? be32_get(head + 8) : chunk->length - 8;
    if (offset < job->offset || offset - job->offset > job->length ||
        length > job->length - (offset - job->offset) || length == 0 ||
        length > job->length - flight->received) {
        return -EPROTO;
    }
    uint64_t at = job->skip + (offset - job->offset);
    flight->received += length;
    if (is_hole) {
        block_vec_zero(job->vec, at, length);
        return 0;
    }
    return nbd_channel_read_vec(client->channel, job->vec, at, length);
}

static int receive_extents(NbdClient *client, Flight *flight, const NbdChunk *chunk)
{
    NbdJob *job = flight->job;
    uint8_t bytes[8];
    if (job->command != NBD_CMD_BLOCK_STATUS || chunk->length < 12 || (chunk->length - 4) % 8 ||
        chunk->length > NBD_STATUS_PAYLOAD_MAX || job->extent_count) {
        return -EPROTO;
    }
    int rc = nbd_channel_read(client->channel, bytes, 4);
    if (rc == 0 && be32_get(bytes) != client->facts.context_id) {
        return -EPROTO;
    }
    uint64_t covered = 0;
    for (uint32_t left = chunk->length - 4; left && rc == 0; left -= 8) {
        rc = nbd_channel_read(client->channel, bytes, sizeof(bytes));
        NbdExtent extent = { be32_get(bytes), be32_get(bytes + 4) };
        if (rc == 0 && extent.length == 0) {
            rc = -EPROTO;
        }
        if (rc == 0 && job->extent_count < NBD_EXTENTS_MAX && covered < job->length) {
            extent.length = (uint32_t)MIN(extent.length, job->length - covered);
            covered += extent.length;
            job->extents[job->extent_count++] = extent;
        }
    }
    return rc;
}

static int receive_error(NbdClient *client, Flight *flight, const NbdChunk *chunk)
{
    uint8_t head[6];
    if (chunk->length < sizeof(head) || chunk->length > sizeof(head) + NBD_ERROR_TEXT_MAX) {
        return -EPROTO;
    }
    int rc = nbd_channel_read(client->channel, head, sizeof(head));
    if (rc < 0) {
        return rc;
    }
    int problem = nbd_error_to_errno(be32_get(head));
    if (flight->result == 0) {
        flight->result = problem ? problem : -EIO;
    }
    return nbd_channel_skip(client->channel, chunk->length - sizeof(head));
}

static int receive_chunk(NbdClient *client, Flight *flight, const NbdChunk *chunk)
{
    switch (chunk->type) {
    case NBD_CHUNK_NONE:
        return chunk->length || !(chunk->flags & NBD_CHUNK_DONE) ? -EPROTO : 0;
    case NBD_CHUNK_OFFSET_DATA:
    case NBD_CHUNK_OFFSET_HOLE:
        return receive_data(client, flight, chunk);
    case NBD_CHUNK_BLOCK_STATUS:
        return receive_extents(client, flight, chunk);
    default:
        return chunk->type & NBD_CHUNK_ERROR_BIT ? receive_error(client, flight, chunk) : -EPROTO;
    }
}

static void finish_chunks(Flight *flight)
{
    const NbdJob *job = flight->job;
    if (flight->result < 0) {
        return;
    }
    if ((job->command == NBD_CMD_READ && flight->received != job->length) ||
        (job->command == NBD_CMD_BLOCK_STATUS && !job->extent_count)) {
        flight->result = -EIO;
    }
}

static Flight *lock_and_find(NbdClient *client, uint64_t cookie)
{
    pthread_mutex_lock(&client->lock);
    Flight *flight = find_flight(client, cookie);
    pthread_mutex_unlock(&client->lock);
    return flight;
}

/* One message. *out_done: the flight that it ended, if any. */
static int receive_one(NbdClient *client, Flight **out_done)
{
    uint8_t head[NBD_CHUNK_BYTES];
    *out_done = NULL;
    int rc = nbd_channel_read(client->channel, head, NBD_SIMPLE_REPLY_BYTES);
    if (rc < 0) {
        return rc;
    }
    bool is_chunk = be32_get(head) == NBD_STRUCTURED_REPLY_MAGIC;
    if (!is_chunk && be32_get(head) != NBD_SIMPLE_REPLY_MAGIC) {
        return -EPROTO;
    }
    Flight *flight = lock_and_find(client, be64_get(head + 8));
    if (!flight || (is_chunk && !client->facts.has_structured_replies)) {
        return -EPROTO;
    }
    if (!is_chunk) {
        rc = receive_simple(client, flight, be32_get(head + 4));
        *out_done = flight;
        return rc;
    }
    NbdChunk chunk;
    rc = nbd_channel_read(client->channel, head + NBD_SIMPLE_REPLY_BYTES,
                          NBD_CHUNK_BYTES - NBD_SIMPLE_REPLY_BYTES);
    if (rc < 0) {
        return rc;
    }
    nbd_chunk_unpack(head, &chunk);
    rc = receive_chunk(client, flight, &chunk);
    if (rc == 0 && chunk.flags & NBD_CHUNK_DONE) {
        finish_chunks(flight);
        *out_done = flight;
    }
    return rc;
}

/* With the lock held: the connection is of no use any more, nor are the requests on it. */
static void give_up(NbdClient *client, int reason)
{
    if (!client->is_broken) {
        log_warn("%s: %s", client->name,
                 reason == -EPROTO ? "the server violates the protocol; the connection is closed"
                                   : "the connection is lost");
        client->is_broken = true;
        client->lost_ns = clock_monotonic_ns();
    }
    nbd_channel_shutdown(client->channel);
    for (unsigned i = 0; i < SLOTS; i++) {
        Flight *flight = client->slots[i];
        if (flight && !flight->is_done) {
            flight->is_done = flight->is_lost = true;
            pthread_cond_signal(&flight->changed);
        }
    }
}

/* With the lock held: some thread whose request is still in flight goes on reading. */
static void pass_on(NbdClient *client)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        if (client->slots[i] && !client->slots[i]->is_done) {
            pthread_cond_signal(&client->slots[i]->changed);
            return;
        }
    }
}

/* With the lock held: reads until @flight is done. */
static void read_replies(NbdClient *client, Flight *flight)
{
    client->has_reader = true;
    while (!flight->is_done) {
        Flight *done;
        pthread_mutex_unlock(&client->lock);
        int rc = receive_one(client, &done);
        pthread_mutex_lock(&client->lock);
        if (rc < 0) {
            give_up(client, rc);
        } else if (done) {
            done->is_done = true;
            if (done != flight) {
                pthread_cond_signal(&done->changed);
            }
        }
    }
    client->has_reader = false;
    pass_on(client);
}

static void send_request(NbdClient *client, const Flight *flight)
{
    const NbdJob *job = flight->job;
    uint8_t bytes[NBD_REQUEST_BYTES];
    NbdRequest request = { job->flags, (uint16_t)job->command, flight->cookie, job->offset,
                           job->length };
    nbd_request_pack(&request, bytes);
    bool is_write = job->command == NBD_CMD_WRITE;
    pthread_mutex_lock(&client->send_lock);
    int rc = nbd_channel_write(client->channel, bytes, sizeof(bytes), is_write ? job->vec : NULL,
                               job->skip, is_write ? job->length : 0);
    if (rc < 0) {
        /* The reader notices. */
        nbd_channel_shutdown(client->channel);
    }
    pthread_mutex_unlock(&client->send_lock);
}

static int run_once(NbdClient *client, NbdJob *job, bool *out_lost)
{
    Flight flight = { .job = job };
    *out_lost = false;
    job->extent_count = 0;
    int rc = enter(client, &flight);
    if (rc < 0) {
        return rc;
    }
    pthread_cond_init(&flight.changed, NULL);
    send_request(client, &flight);
    pthread_mutex_lock(&client->lock);
    while (!flight.is_done) {
        if (client->has_reader) {
            pthread_cond_wait(&flight.changed, &client->lock);
        } else {
            read_replies(client, &flight);
        }
    }
    leave(client, &flight);
    pthread_mutex_unlock(&client->lock);
    pthread_cond_destroy(&flight.changed);
    *out_lost = flight.is_lost;
    return flight.is_lost ? -EIO : flight.result;
}

int nbd_client_run(NbdClient *client, NbdJob *job)
{
    bool is_lost;
    int64_t delay_ns = client->options.reconnect_delay_seconds * NS_PER_SEC;
    int rc = run_once(client, job, &is_lost);
    /* A server that breaks off again and again does not hold a request for ever. */
    int64_t deadline_ns = is_lost ? clock_monotonic_ns() + delay_ns : 0;
    while (is_lost && client->can_reconnect && clock_monotonic_ns() < deadline_ns) {
        rc = run_once(client, job, &is_lost);
    }
    return rc;
}
