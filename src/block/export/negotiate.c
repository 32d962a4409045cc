/* The server's side of the negotiation: fixed newstyle.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/clock.h"
#include "base/endian.h"
#include "base/int-math.h"
#include "base/log.h"
#include "block/export/session.h"

#include <string.h>

#define QUERIES_MAX 1024u
#define SKIPPED_OPTION_MAX (1u << 20)

typedef enum Outcome { OUTCOME_GO_ON, OUTCOME_START, OUTCOME_END } Outcome;

typedef struct Option {
    uint32_t number, length;
    uint8_t *data; /* @length bytes and a zero */
} Option;

/* Reads numbers and texts of an option's data. */
typedef struct Reader {
    const uint8_t *at;
    uint32_t left;
} Reader;

static bool take_u32(Reader *reader, uint32_t *out_value)
{
    if (reader->left < 4) {
        return false;
    }
    *out_value = be32_get(reader->at);
    reader->at += 4;
    reader->left -= 4;
    return true;
}

/* A length and as many bytes; (transfer full). NULL: there are fewer, or too many for a name, or
 * zero bytes among them. */
static char *take_name(Reader *reader)
{
    uint32_t length;
    if (!take_u32(reader, &length) || length > reader->left || length > NBD_NAME_MAX ||
        memchr(reader->at, '\0', length)) {
        return NULL;
    }
    char *name = g_strndup((const char *)reader->at, length);
    reader->at += length;
    reader->left -= length;
    return name;
}

/* Replies */

static bool reply(NbdSession *session, uint32_t option, uint32_t type, const void *data,
                  uint32_t length)
{
    uint8_t head[NBD_OPTION_REPLY_BYTES];
    struct iovec iov = { (void *)data, length };
    BlockVec vec = { &iov, 1 };
    nbd_option_reply_pack(head, option, type, length);
    return nbd_channel_write(session->channel, head, sizeof(head), &vec, 0, length) == 0;
}

static Outcome answer(NbdSession *session, uint32_t option, uint32_t type, const char *text)
{
    return reply(session, option, type, text, text ? (uint32_t)strlen(text) : 0) ? OUTCOME_GO_ON
                                                                                 : OUTCOME_END;
}

static Outcome invalid(NbdSession *session, const Option *option)
{
    return answer(session, option->number, NBD_REP_ERR_INVALID, "malformed option");
}

static Outcome unknown_export(NbdSession *session, const Option *option, const char *name)
{
    g_autofree char *text = g_strdup_printf("export '%s' not present", name);
    return answer(session, option->number, NBD_REP_ERR_UNKNOWN, text);
}

/* What the client may do with @export. */
static uint16_t export_flags(const NbdSession *session, const NbdExport *export)
{
    uint16_t flags =
        NBD_CAN_FLAGS | NBD_CAN_FLUSH | NBD_CAN_FUA | NBD_CAN_MULTI_CONN | NBD_CAN_CACHE;
    flags |= session->has_structured_replies ? NBD_CAN_DF : 0;
    flags |= export->is_writable ? NBD_CAN_TRIM | NBD_CAN_WRITE_ZEROES | NBD_CAN_FAST_ZERO
                                 : NBD_IS_READ_ONLY;
    return flags;
}

/* Listing */

typedef struct Listing {
    NbdSession *session;
    GPtrArray *entries; /* of GByteArray */
} Listing;

static bool list_one(NbdExport *export, void *opaque)
{
    const Listing *listing = opaque;
    uint8_t length[4];
    GByteArray *entry = g_byte_array_new();
    be32_put(length, (uint32_t)strlen(export->name));
    g_byte_array_append(entry, length, sizeof(length));
    g_byte_array_append(entry, (const uint8_t *)export->name, (guint)strlen(export->name));
    if (export->description) {
        g_byte_array_append(entry, (const uint8_t *)export->description,
                            (guint)strlen(export->description));
    }
    g_ptr_array_add(listing->entries, entry);
    return true;
}

static Outcome list(NbdSession *session, const Option *option)
{
    if (option->length) {
        return invalid(session, option);
    }
    const NbdSessionHost *host = session->host;
    g_autoptr(GPtrArray) entries =
        g_ptr_array_new_with_free_func((GDestroyNotify)g_byte_array_unref);
    Listing listing = { session, entries };
    host->foreach(host->opaque, list_one, &listing);
    for (unsigned i = 0; i < entries->len; i++) {
        const GByteArray *entry = entries->pdata[i];
        if (!reply(session, option->number, NBD_REP_SERVER, entry->data, entry->len)) {
            return OUTCOME_END;
        }
    }
    return answer(session, option->number, NBD_REP_ACK, NULL);
}

/* Choosing */

/* False: the export is being removed. The session has it in any case. */
static bool choose(NbdSession *session, NbdExport *export)
{
    __atomic_store_n(&session->export, export, __ATOMIC_SEQ_CST);
    if (g_strcmp0(session->contexts_for, export->name) != 0) {
        session->has_allocation = session->has_depth = false;
        session->bitmaps = 0;
    }
    nbd_channel_set_deadline(session->channel, 0);
    return !__atomic_load_n(&export->is_removed, __ATOMIC_SEQ_CST);
}

static Outcome export_by_name(NbdSession *session, const Option *option, bool has_padding)
{
    uint8_t bytes[10 + 124] = { 0 };
    const NbdSessionHost *host = session->host;
    bool is_name = option->length <= NBD_NAME_MAX && !memchr(option->data, '\0', option->length);
    NbdExport *export = is_name ? host->find(host->opaque, (const char *)option->data) : NULL;
    if (!export) {
        return OUTCOME_END; /* there is no other answer */
    }
    be64_put(bytes, export->size);
    be16_put(bytes + 8, export_flags(session, export));
    return choose(session, export) &&
                   nbd_channel_write(session->channel, bytes, has_padding ? sizeof(bytes) : 10,
                                     NULL, 0, 0) == 0
               ? OUTCOME_START
               : OUTCOME_END;
}

static bool send_info(NbdSession *session, uint32_t option, const NbdExport *export,
                      unsigned wanted)
{
    uint8_t bytes[14];
    be16_put(bytes, NBD_INFO_EXPORT);
    be64_put(bytes + 2, export->size);
    be16_put(bytes + 10, export_flags(session, export));
    if (!reply(session, option, NBD_REP_INFO, bytes, 12)) {
        return false;
    }
    be16_put(bytes, NBD_INFO_BLOCK_SIZE);
    be32_put(bytes + 2, 1);
    be32_put(bytes + 6, export->preferred_block);
    be32_put(bytes + 10, NBD_PAYLOAD_MAX);
    if (!reply(session, option, NBD_REP_INFO, bytes, 14)) {
        return false;
    }
    const struct {
        unsigned kind;
        const char *text;
    } texts[] = { { NBD_INFO_NAME, export->name }, { NBD_INFO_DESCRIPTION, export->description } };
    for (unsigned i = 0; i < 2; i++) {
        if (!(wanted & 1u << texts[i].kind) || !texts[i].text) {
            continue;
        }
        size_t length = strlen(texts[i].text);
        g_autofree uint8_t *data = g_malloc(2 + length);
        be16_put(data, (uint16_t)texts[i].kind);
        memcpy(data + 2, texts[i].text, length);
        if (!reply(session, option, NBD_REP_INFO, data, (uint32_t)(2 + length))) {
            return false;
        }
    }
    return true;
}

/* NBD_OPT_INFO and NBD_OPT_GO */
static Outcome info(NbdSession *session, const Option *option)
{
    Reader reader = { option->data, option->length };
    const NbdSessionHost *host = session->host;
    g_autofree char *name = take_name(&reader);
    if (!name || reader.left < 2 || reader.left - 2 != 2u * be16_get(reader.at)) {
        return invalid(session, option);
    }
    unsigned wanted = 0;
    for (uint32_t at = 2; at < reader.left; at += 2) {
        uint16_t kind = be16_get(reader.at + at);
        wanted |= kind <= NBD_INFO_BLOCK_SIZE ? 1u << kind : 0;
    }
    NbdExport *export = host->find(host->opaque, name);
    if (!export) {
        return unknown_export(session, option, name);
    }
    bool is_go = option->number == NBD_OPT_GO;
    bool ok = send_info(session, option->number, export, wanted);
    if (!is_go || !ok) {
        host->release(host->opaque, export);
        return ok ? answer(session, option->number, NBD_REP_ACK, NULL) : OUTCOME_END;
    }
    return choose(session, export) && reply(session, NBD_OPT_GO, NBD_REP_ACK, NULL, 0)
               ? OUTCOME_START
               : OUTCOME_END;
}

/* Metadata contexts */

typedef struct ContextQuery {
    NbdSession *session;
    const Option *option;
    const NbdExport *export;
    bool is_list;
} ContextQuery;

static bool send_context(const ContextQuery *query, uint32_t id, const char *prefix,
                         const char *name)
{
    g_autofree char *full = g_strconcat(prefix, name, NULL);
    uint32_t length = (uint32_t)strlen(full);
    g_autofree uint8_t *data = g_malloc(4 + length);
    be32_put(data, query->is_list ? 0 : id);
    memcpy(data + 4, full, length);
    return reply(query->session, query->option->number, NBD_REP_META_CONTEXT, data, 4 + length);
}

/* Whether @text asks for the context: by its name, or in a list by a start of it that ends in a
 * colon; NULL asks for all. */
static bool asks_for(const ContextQuery *query, const char *text, const char *prefix,
                     const char *name)
{
    g_autofree char *full = g_strconcat(prefix, name, NULL);
    return !text || strcmp(text, full) == 0 ||
           (query->is_list && g_str_has_suffix(text, ":") && g_str_has_prefix(full, text));
}

static bool query_contexts(const ContextQuery *query, const char *text)
{
    NbdSession *session = query->session;
    bool is_set = !query->is_list;
    if (asks_for(query, text, NBD_CONTEXT_ALLOCATION, "") && !(is_set && session->has_allocation)) {
        session->has_allocation |= is_set;
        if (!send_context(query, NBD_CONTEXT_ID_ALLOCATION, NBD_CONTEXT_ALLOCATION, "")) {
            return false;
        }
    }
    if (query->export->has_depth && asks_for(query, text, NBD_CONTEXT_DEPTH, "") &&
        !(is_set && session->has_depth)) {
        session->has_depth |= is_set;
        if (!send_context(query, NBD_CONTEXT_ID_DEPTH, NBD_CONTEXT_DEPTH, "")) {
            return false;
        }
    }
    for (unsigned i = 0; i < query->export->bitmap_count; i++) {
        const char *name = dirty_bitmap_name(query->export->bitmaps[i]);
        uint64_t bit = UINT64_C(1) << i;
        if (asks_for(query, text, NBD_CONTEXT_BITMAP, name) &&
            !(is_set && session->bitmaps & bit)) {
            session->bitmaps |= is_set ? bit : 0;
            if (!send_context(query, NBD_CONTEXT_ID_BITMAP + i, NBD_CONTEXT_BITMAP, name)) {
                return false;
            }
        }
    }
    return true;
}

static Outcome answer_queries(ContextQuery *query, Reader *reader, uint32_t count)
{
    NbdSession *session = query->session;
    if (count == 0 && query->is_list && !query_contexts(query, NULL)) {
        return OUTCOME_END;
    }
    for (uint32_t i = 0; i < count; i++) {
        g_autofree char *text = take_name(reader);
        if (!text) {
            return invalid(session, query->option);
        }
        if (!query_contexts(query, text)) {
            return OUTCOME_END;
        }
    }
    return reader->left ? invalid(session, query->option)
                        : answer(session, query->option->number, NBD_REP_ACK, NULL);
}

static Outcome contexts(NbdSession *session, const Option *option)
{
    const NbdSessionHost *host = session->host;
    Reader reader = { option->data, option->length };
    uint32_t count;
    g_autofree char *name = take_name(&reader);
    bool is_list = option->number == NBD_OPT_LIST_META_CONTEXT;
    if (!is_list) {
        session->has_allocation = session->has_depth = false;
        session->bitmaps = 0;
        g_clear_pointer(&session->contexts_for, g_free);
    }
    if (!session->has_structured_replies || !name || !take_u32(&reader, &count) ||
        count > QUERIES_MAX) {
        return invalid(session, option);
    }
    NbdExport *export = host->find(host->opaque, name);
    if (!export) {
        return unknown_export(session, option, name);
    }
    if (!is_list) {
        session->contexts_for = g_strdup(name);
    }
    ContextQuery query = { session, option, export, is_list };
    Outcome outcome = answer_queries(&query, &reader, count);
    host->release(host->opaque, export);
    return outcome;
}

/* Options */

static Outcome start_tls(NbdSession *session, const Option *option)
{
    if (option->length || nbd_channel_has_tls(session->channel)) {
        return invalid(session, option);
    }
    if (!session->host->tls) {
        return answer(session, option->number, NBD_REP_ERR_POLICY,
                      "the server has no TLS credentials");
    }
    g_autoptr(GError) error = NULL;
    if (!reply(session, option->number, NBD_REP_ACK, NULL, 0)) {
        return OUTCOME_END;
    }
    /* What was agreed on before, anybody may have said. */
    session->has_structured_replies = session->has_allocation = session->has_depth = false;
    session->bitmaps = 0;
    g_clear_pointer(&session->contexts_for, g_free);
    if (!nbd_channel_start_tls(session->channel, session->host->tls, NULL, &error)) {
        log_info("NBD server: a client is refused: %s", error->message);
        return OUTCOME_END;
    }
    return OUTCOME_GO_ON;
}

static Outcome structured_replies(NbdSession *session, const Option *option)
{
    if (option->length) {
        return invalid(session, option);
    }
    session->has_structured_replies = true;
    return answer(session, option->number, NBD_REP_ACK, NULL);
}

static Outcome handle(NbdSession *session, const Option *option, uint32_t client_flags)
{
    bool lacks_tls = session->host->tls && !nbd_channel_has_tls(session->channel);
    switch (option->number) {
    case NBD_OPT_ABORT:
        (void)!reply(session, option->number, NBD_REP_ACK, NULL, 0);
        return OUTCOME_END;
    case NBD_OPT_STARTTLS:
        return start_tls(session, option);
    case NBD_OPT_EXPORT_NAME:
        return lacks_tls ? OUTCOME_END
                         : export_by_name(session, option, !(client_flags & NBD_FLAG_NO_ZEROES));
    default:
        break;
    }
    if (lacks_tls) {
        return answer(session, option->number, NBD_REP_ERR_TLS_REQD,
                      "use NBD_OPT_STARTTLS before any other option");
    }
    switch (option->number) {
    case NBD_OPT_LIST:
        return list(session, option);
    case NBD_OPT_INFO:
    case NBD_OPT_GO:
        return info(session, option);
    case NBD_OPT_STRUCTURED_REPLY:
        return structured_replies(session, option);
    case NBD_OPT_LIST_META_CONTEXT:
    case NBD_OPT_SET_META_CONTEXT:
        return contexts(session, option);
    default:
        return answer(session, option->number, NBD_REP_ERR_UNSUP, "unsupported option");
    }
}

static Outcome next_option(NbdSession *session, uint32_t client_flags)
{
    uint8_t head[NBD_OPTION_BYTES];
    if (nbd_channel_read(session->channel, head, sizeof(head)) < 0 ||
        be64_get(head) != NBD_OPTION_MAGIC) {
        return OUTCOME_END;
    }
    Option option = { be32_get(head + 8), be32_get(head + 12), NULL };
    if (option.length > NBD_OPTION_MAX) {
        return option.length <= SKIPPED_OPTION_MAX && option.number != NBD_OPT_EXPORT_NAME &&
                       nbd_channel_skip(session->channel, option.length) == 0
                   ? answer(session, option.number, NBD_REP_ERR_TOO_BIG, "the option is too long")
                   : OUTCOME_END;
    }
    option.data = g_malloc0(option.length + 1);
    Outcome outcome = nbd_channel_read(session->channel, option.data, option.length) == 0
                          ? handle(session, &option, client_flags)
                          : OUTCOME_END;
    g_free(option.data);
    return outcome;
}

bool nbd_session_negotiate(NbdSession *session)
{
    uint8_t greeting[18], flags[4];
    be64_put(greeting, NBD_MAGIC);
    be64_put(greeting + 8, NBD_OPTION_MAGIC);
    be16_put(greeting + 16, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
    if (nbd_channel_write(session->channel, greeting, sizeof(greeting), NULL, 0, 0) < 0 ||
        nbd_channel_read(session->channel, flags, sizeof(flags)) < 0) {
        return false;
    }
    uint32_t client_flags = be32_get(flags);
    if (client_flags & ~(uint32_t)(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES)) {
        return false;
    }
    for (;;) {
        Outcome outcome = next_option(session, client_flags);
        if (outcome != OUTCOME_GO_ON) {
            return outcome == OUTCOME_START;
        }
    }
}
