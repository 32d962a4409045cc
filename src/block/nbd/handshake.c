/* The client's negotiation. SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/nbd/handshake.h"

#include "base/endian.h"
#include "base/int-math.h"
#include "block/nbd/proto.h"
#include "gbase/error.h"

#include <errno.h>
#include <string.h>

#define LISTED_MAX 4096u
#define REPLIES_MAX 4096u /* of one option */

typedef struct Reply {
    uint32_t type, length;
    uint8_t *data; /* with a zero byte behind it */
} Reply;

static void reply_clear(Reply *reply)
{
    g_free(reply->data);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Reply, reply_clear)

static bool lost(int rc, GError **error)
{
    if (rc == -ENOTCONN) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONNECTION,
                    "the server closed the connection during the negotiation");
    } else if (rc == -ETIMEDOUT) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_TIMEOUT,
                    "the server did not answer in time during the negotiation");
    } else if (rc < 0) {
        lodge_error_set_errno(error, rc, "the negotiation failed");
    }
    return rc == 0;
}

static bool violates(GError **error, const char *what)
{
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_PROTOCOL, "the server violates the protocol: %s",
                what);
    return false;
}

static bool send_option(NbdChannel *channel, uint32_t option, const void *data, uint32_t length,
                        GError **error)
{
    uint8_t head[NBD_OPTION_BYTES];
    struct iovec iov = { (void *)data, length };
    BlockVec vec = { &iov, 1 };
    nbd_option_pack(head, option, length);
    return lost(nbd_channel_write(channel, head, sizeof(head), &vec, 0, length), error);
}

/* @out_reply: empty; its data are (transfer full). */
static bool read_reply(NbdChannel *channel, uint32_t option, Reply *out_reply, GError **error)
{
    uint8_t head[NBD_OPTION_REPLY_BYTES];
    g_clear_pointer(&out_reply->data, g_free);
    if (!lost(nbd_channel_read(channel, head, sizeof(head)), error)) {
        return false;
    }
    out_reply->type = be32_get(head + 12);
    out_reply->length = be32_get(head + 16);
    if (be64_get(head) != NBD_OPTION_REPLY_MAGIC || be32_get(head + 8) != option) {
        return violates(error, "its answer is none to the option sent");
    }
    if (out_reply->length > NBD_OPTION_MAX) {
        return violates(error, "its answer is too long");
    }
    out_reply->data = g_malloc0(out_reply->length + 1);
    return lost(nbd_channel_read(channel, out_reply->data, out_reply->length), error);
}

static void set_refusal(uint32_t option, const Reply *reply, GError **error)
{
    g_autofree char *said =
        reply->length ? g_utf8_make_valid((char *)reply->data, (gssize)MIN(reply->length, 1024))
                      : NULL;
    LodgeErrorCode code = reply->type == NBD_REP_ERR_UNKNOWN    ? LODGE_ERROR_NOT_FOUND
                          : reply->type == NBD_REP_ERR_TLS_REQD ? LODGE_ERROR_AUTH
                                                                : LODGE_ERROR_FAILED;
    g_set_error(error, LODGE_ERROR, code, "%s refused: %s%s%s%s", nbd_option_name(option),
                nbd_option_error_text(reply->type), said ? " (it says: " : "", said ? said : "",
                said ? ")" : "");
}

/* An option without data whose answer is ACK or an error. False with @error: the connection broke.
 */
static bool ask(NbdChannel *channel, uint32_t option, bool *out_ok, Reply *reply, GError **error)
{
    if (!send_option(channel, option, NULL, 0, error) ||
        !read_reply(channel, option, reply, error)) {
        return false;
    }
    *out_ok = reply->type == NBD_REP_ACK;
    return *out_ok || (reply->type & NBD_REP_ERROR_BIT)
               ? true
               : violates(error, "an option was answered by neither yes nor no");
}

static bool start_tls(NbdChannel *channel, const NbdWish *wish, GError **error)
{
    g_auto(Reply) reply = { 0 };
    bool ok;
    if (!ask(channel, NBD_OPT_STARTTLS, &ok, &reply, error)) {
        return false;
    }
    if (!ok) {
        set_refusal(NBD_OPT_STARTTLS, &reply, error);
        return false;
    }
    return nbd_channel_start_tls(channel, wish->tls, wish->tls_host, error);
}

/* The export's name with its length before it, and space for @extra bytes behind. */
static uint8_t *pack_name(const char *name, uint32_t extra, uint32_t *out_length)
{
    uint32_t length = (uint32_t)strlen(name);
    uint8_t *data = g_malloc0(4 + length + extra);
    be32_put(data, length);
    memcpy(data + 4, name, length);
    *out_length = 4 + length;
    return data;
}

static bool set_context(NbdChannel *channel, const NbdWish *wish, NbdFacts *facts, GError **error)
{
    uint32_t at, query = (uint32_t)strlen(wish->context);
    g_autofree uint8_t *data = pack_name(wish->export_name, 8 + query, &at);
    be32_put(data + at, 1);
    be32_put(data + at + 4, query);
    memcpy(data + at + 8, wish->context, query);
    if (!send_option(channel, NBD_OPT_SET_META_CONTEXT, data, at + 8 + query, error)) {
        return false;
    }
    for (unsigned i = 0; i < REPLIES_MAX; i++) {
        g_auto(Reply) reply = { 0 };
        if (!read_reply(channel, NBD_OPT_SET_META_CONTEXT, &reply, error)) {
            return false;
        }
        if (reply.type == NBD_REP_ACK || reply.type & NBD_REP_ERROR_BIT) {
            facts->has_context &= reply.type == NBD_REP_ACK;
            return true;
        }
        if (reply.type != NBD_REP_META_CONTEXT || reply.length < 4) {
            return violates(error, "a bad answer about metadata contexts");
        }
        if (reply.length == 4 + query && memcmp(reply.data + 4, wish->context, query) == 0) {
            facts->has_context = true;
            facts->context_id = be32_get(reply.data);
        }
    }
    return violates(error, "too many answers to an option");
}

static bool take_block_sizes(const Reply *reply, NbdFacts *facts, GError **error)
{
    if (reply->length != 14) {
        return violates(error, "its block sizes have a wrong length");
    }
    facts->min_block = be32_get(reply->data + 2);
    facts->preferred_block = be32_get(reply->data + 6);
    facts->max_block = be32_get(reply->data + 10);
    if (!is_power_of_two(facts->min_block) || facts->min_block > 64 * KIB ||
        !is_power_of_two(facts->preferred_block) || facts->preferred_block < facts->min_block ||
        facts->max_block < facts->min_block || facts->max_block < 512) {
        return violates(error, "its block sizes make no sense");
    }
    return true;
}

static bool take_info(const Reply *reply, NbdFacts *facts, bool *has_size, GError **error)
{
    if (reply->length < 2) {
        return violates(error, "a piece of information without type");
    }
    switch (be16_get(reply->data)) {
    case NBD_INFO_EXPORT:
        if (reply->length != 12) {
            return violates(error, "the export's size has a wrong length");
        }
        facts->size = be64_get(reply->data + 2);
        facts->flags = be16_get(reply->data + 10);
        *has_size = true;
        return true;
    case NBD_INFO_BLOCK_SIZE:
        return take_block_sizes(reply, facts, error);
    default:
        return true;
    }
}

/* @option: NBD_OPT_GO, or NBD_OPT_INFO, which begins nothing. *out_is_known false: the server has
 * it not. */
static bool go(NbdChannel *channel, uint32_t option, const NbdWish *wish, NbdFacts *facts,
               bool *out_is_known, GError **error)
{
    uint32_t at;
    bool has_size = false;
    g_autofree uint8_t *data = pack_name(wish->export_name, 4, &at);
    be16_put(data + at, 1);
    be16_put(data + at + 2, NBD_INFO_BLOCK_SIZE);
    *out_is_known = true;
    if (!send_option(channel, option, data, at + 4, error)) {
        return false;
    }
    for (unsigned i = 0; i < REPLIES_MAX; i++) {
        g_auto(Reply) reply = { 0 };
        if (!read_reply(channel, option, &reply, error)) {
            return false;
        }
        if (reply.type == NBD_REP_ERR_UNSUP) {
            *out_is_known = false;
            return true;
        }
        if (reply.type & NBD_REP_ERROR_BIT) {
            set_refusal(option, &reply, error);
            return false;
        }
        if (reply.type == NBD_REP_ACK) {
            return has_size || violates(error, "it does not say the export's size");
        }
        if (reply.type != NBD_REP_INFO) {
            return violates(error, "an answer of a wrong kind to a question about an export");
        }
        if (!take_info(&reply, facts, &has_size, error)) {
            return false;
        }
    }
    return violates(error, "too many answers to an option");
}

static bool export_by_name(NbdChannel *channel, const NbdWish *wish, bool has_padding,
                           NbdFacts *facts, GError **error)
{
    uint8_t answer[10];
    if (!send_option(channel, NBD_OPT_EXPORT_NAME, wish->export_name,
                     (uint32_t)strlen(wish->export_name), error) ||
        !lost(nbd_channel_read(channel, answer, sizeof(answer)), error)) {
        return false;
    }
    facts->size = be64_get(answer);
    facts->flags = be16_get(answer + 8);
    return !has_padding || lost(nbd_channel_skip(channel, 124), error);
}

static bool oldstyle(NbdChannel *channel, const NbdWish *wish, NbdFacts *facts, GError **error)
{
    uint8_t answer[12];
    if (wish->tls || *wish->export_name) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "the server speaks the oldstyle protocol, which has neither TLS nor names of "
                    "exports");
        return false;
    }
    if (!lost(nbd_channel_read(channel, answer, sizeof(answer)), error) ||
        !lost(nbd_channel_skip(channel, 124), error)) {
        return false;
    }
    facts->size = be64_get(answer);
    facts->flags = be16_get(answer + 10);
    return true;
}

/* Reads the greeting and answers it. *out_flags: what of NBD_FLAG_... holds. */
static bool greet(NbdChannel *channel, bool *out_is_oldstyle, uint32_t *out_flags, GError **error)
{
    uint8_t magic[16], flags[4];
    *out_flags = 0;
    if (!lost(nbd_channel_read(channel, magic, sizeof(magic)), error)) {
        return false;
    }
    *out_is_oldstyle = be64_get(magic + 8) == NBD_OLDSTYLE_MAGIC;
    if (be64_get(magic) != NBD_MAGIC ||
        (!*out_is_oldstyle && be64_get(magic + 8) != NBD_OPTION_MAGIC)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_PROTOCOL, "the peer is no NBD server");
        return false;
    }
    if (*out_is_oldstyle) {
        return true;
    }
    if (!lost(nbd_channel_read(channel, flags, 2), error)) {
        return false;
    }
    *out_flags = be16_get(flags) & (NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
    be32_put(flags, *out_flags);
    return lost(nbd_channel_write(channel, flags, sizeof(flags), NULL, 0, 0), error);
}

static bool newstyle(NbdChannel *channel, const NbdWish *wish, uint32_t flags, NbdFacts *facts,
                     GError **error)
{
    bool knows_go = false;
    if (wish->tls && !(flags & NBD_FLAG_FIXED_NEWSTYLE)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED, "the server is too old for TLS");
        return false;
    }
    if (wish->tls && !start_tls(channel, wish, error)) {
        return false;
    }
    if (flags & NBD_FLAG_FIXED_NEWSTYLE) {
        g_auto(Reply) reply = { 0 };
        if (!ask(channel, NBD_OPT_STRUCTURED_REPLY, &facts->has_structured_replies, &reply,
                 error)) {
            return false;
        }
        if (reply.type == NBD_REP_ERR_TLS_REQD) {
            set_refusal(NBD_OPT_STRUCTURED_REPLY, &reply, error);
            return false;
        }
        if (facts->has_structured_replies && !set_context(channel, wish, facts, error)) {
            return false;
        }
        if (!go(channel, NBD_OPT_GO, wish, facts, &knows_go, error)) {
            return false;
        }
    }
    return knows_go || export_by_name(channel, wish, !(flags & NBD_FLAG_NO_ZEROES), facts, error);
}

static bool check_facts(NbdFacts *facts, GError **error)
{
    if (facts->size > INT64_MAX) {
        return violates(error, "the export is larger than 8 EiB");
    }
    if (!(facts->flags & NBD_CAN_FLAGS)) {
        return violates(error, "it does not say what the export can do");
    }
    facts->size = round_down(facts->size, facts->min_block);
    facts->max_block =
        (uint32_t)round_down(min_u64(facts->max_block, NBD_PAYLOAD_MAX), facts->min_block);
    return true;
}

bool nbd_handshake(NbdChannel *channel, const NbdWish *wish, NbdFacts *out_facts, GError **error)
{
    bool is_oldstyle;
    uint32_t flags;
    *out_facts =
        (NbdFacts){ .min_block = 1, .preferred_block = 4096, .max_block = NBD_PAYLOAD_MAX };
    if (!greet(channel, &is_oldstyle, &flags, error)) {
        return false;
    }
    bool ok = is_oldstyle ? oldstyle(channel, wish, out_facts, error)
                          : newstyle(channel, wish, flags, out_facts, error);
    return ok && check_facts(out_facts, error);
}

/* Listing */

static void listed_clear(gpointer opaque)
{
    NbdListed *listed = opaque;
    g_free(listed->name);
    g_free(listed->description);
}

static bool take_listed(const Reply *reply, GArray *list, GError **error)
{
    uint32_t length = reply->length >= 4 ? be32_get(reply->data) : UINT32_MAX;
    if (reply->type != NBD_REP_SERVER || length > reply->length - 4 || length > NBD_NAME_MAX ||
        list->len >= LISTED_MAX) {
        return violates(error, "a bad list of exports");
    }
    uint32_t rest = reply->length - 4 - length;
    NbdListed listed = {
        .name = g_utf8_make_valid((char *)reply->data + 4, length),
        .description =
            rest ? g_utf8_make_valid((char *)reply->data + 4 + length, (gssize)MIN(rest, 4096))
                 : NULL,
    };
    g_array_append_val(list, listed);
    return true;
}

/* Up to where a client may ask what the server has. */
static bool begin_asking(NbdChannel *channel, const NbdWish *wish, GError **error)
{
    bool is_oldstyle;
    uint32_t flags;
    if (!greet(channel, &is_oldstyle, &flags, error)) {
        return false;
    }
    if (is_oldstyle || !(flags & NBD_FLAG_FIXED_NEWSTYLE)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "the server is too old to list its exports");
        return false;
    }
    return !wish->tls || start_tls(channel, wish, error);
}

static bool list_contexts(NbdChannel *channel, const NbdWish *wish, GPtrArray *contexts,
                          GError **error)
{
    uint32_t length;
    g_autofree uint8_t *data = pack_name(wish->export_name, 4, &length); /* and no query: all */
    if (!send_option(channel, NBD_OPT_LIST_META_CONTEXT, data, length + 4, error)) {
        return false;
    }
    for (unsigned i = 0; i < LISTED_MAX; i++) {
        g_auto(Reply) reply = { 0 };
        if (!read_reply(channel, NBD_OPT_LIST_META_CONTEXT, &reply, error)) {
            return false;
        }
        if (reply.type == NBD_REP_ACK || reply.type & NBD_REP_ERROR_BIT) {
            return true;
        }
        if (reply.type != NBD_REP_META_CONTEXT || reply.length < 4) {
            return violates(error, "a bad answer about metadata contexts");
        }
        g_ptr_array_add(contexts, g_utf8_make_valid((char *)reply.data + 4,
                                                    (gssize)MIN(reply.length - 4, NBD_NAME_MAX)));
    }
    return violates(error, "too many answers to an option");
}

bool nbd_describe(NbdChannel *channel, const NbdWish *wish, NbdFacts *out_facts,
                  GPtrArray *contexts, GError **error)
{
    bool is_known = false;
    g_auto(Reply) reply = { 0 };
    /* No preferred block: the server says none. */
    *out_facts = (NbdFacts){ .min_block = 1 };
    if (!begin_asking(channel, wish, error) ||
        !ask(channel, NBD_OPT_STRUCTURED_REPLY, &out_facts->has_structured_replies, &reply,
             error) ||
        (out_facts->has_structured_replies && !list_contexts(channel, wish, contexts, error)) ||
        !go(channel, NBD_OPT_INFO, wish, out_facts, &is_known, error)) {
        return false;
    }
    (void)!send_option(channel, NBD_OPT_ABORT, NULL, 0, NULL);
    if (!is_known) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "the server is too old to describe its exports");
    }
    return is_known;
}

GArray *nbd_list(NbdChannel *channel, const NbdWish *wish, GError **error)
{
    if (!begin_asking(channel, wish, error) ||
        !send_option(channel, NBD_OPT_LIST, NULL, 0, error)) {
        return NULL;
    }
    g_autoptr(GArray) list = g_array_new(FALSE, TRUE, sizeof(NbdListed));
    g_array_set_clear_func(list, listed_clear);
    for (;;) {
        g_auto(Reply) reply = { 0 };
        if (!read_reply(channel, NBD_OPT_LIST, &reply, error)) {
            return NULL;
        }
        if (reply.type == NBD_REP_ACK) {
            (void)!send_option(channel, NBD_OPT_ABORT, NULL, 0, NULL);
            return g_steal_pointer(&list);
        }
        if (reply.type & NBD_REP_ERROR_BIT) {
            set_refusal(NBD_OPT_LIST, &reply, error);
            return NULL;
        }
        if (!take_listed(&reply, list, error)) {
            return NULL;
        }
    }
}
