/* The wire format of NBD: headers and names. SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/nbd/proto.h"

#include "base/endian.h"

#include <errno.h>
#include <stddef.h>

void nbd_request_pack(const NbdRequest *request, uint8_t bytes[NBD_REQUEST_BYTES])
{
    be32_put(bytes, NBD_REQUEST_MAGIC);
    be16_put(bytes + 4, request->flags);
    be16_put(bytes + 6, request->command);
    be64_put(bytes + 8, request->cookie);
    be64_put(bytes + 16, request->offset);
    be32_put(bytes + 24, request->length);
}

bool nbd_request_unpack(const uint8_t bytes[NBD_REQUEST_BYTES], NbdRequest *out_request)
{
    if (be32_get(bytes) != NBD_REQUEST_MAGIC) {
        return false;
    }
    *out_request = (NbdRequest){
        .flags = be16_get(bytes + 4),
        .command = be16_get(bytes + 6),
        .cookie = be64_get(bytes + 8),
        .offset = be64_get(bytes + 16),
        .length = be32_get(bytes + 24),
    };
    return true;
}

void nbd_simple_reply_pack(uint8_t bytes[NBD_SIMPLE_REPLY_BYTES], uint32_t error, uint64_t cookie)
{
    be32_put(bytes, NBD_SIMPLE_REPLY_MAGIC);
    be32_put(bytes + 4, error);
    be64_put(bytes + 8, cookie);
}

void nbd_chunk_pack(const NbdChunk *chunk, uint8_t bytes[NBD_CHUNK_BYTES])
{
    be32_put(bytes, NBD_STRUCTURED_REPLY_MAGIC);
    be16_put(bytes + 4, chunk->flags);
    be16_put(bytes + 6, chunk->type);
    be64_put(bytes + 8, chunk->cookie);
    be32_put(bytes + 16, chunk->length);
}

void nbd_chunk_unpack(const uint8_t bytes[NBD_CHUNK_BYTES], NbdChunk *out_chunk)
{
    *out_chunk = (NbdChunk){
        .flags = be16_get(bytes + 4),
        .type = be16_get(bytes + 6),
        .cookie = be64_get(bytes + 8),
        .length = be32_get(bytes + 16),
    };
}

void nbd_option_pack(uint8_t bytes[NBD_OPTION_BYTES], uint32_t option, uint32_t length)
{
    be64_put(bytes, NBD_OPTION_MAGIC);
    be32_put(bytes + 8, option);
    be32_put(bytes + 12, length);
}

void nbd_option_reply_pack(uint8_t bytes[NBD_OPTION_REPLY_BYTES], uint32_t option, uint32_t type,
                           uint32_t length)
{
    be64_put(bytes, NBD_OPTION_REPLY_MAGIC);
    be32_put(bytes + 8, option);
    be32_put(bytes + 12, type);
    be32_put(bytes + 16, length);
}

/* Numbers of the protocol, which are Linux's. */
static const struct {
    uint32_t number;
    int error;
} errors[] = {
    { 1, EPERM },   { 5, EIO },        { 12, ENOMEM },     { 22, EINVAL },
    { 28, ENOSPC }, { 75, EOVERFLOW }, { 95, EOPNOTSUPP }, { 108, ESHUTDOWN },
};

uint32_t nbd_error_from_errno(int result)
{
    if (result == 0) {
        return 0;
    }
    for (unsigned i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        if (errors[i].error == -result) {
            return errors[i].number;
        }
    }
    switch (-result) {
    case EROFS:
    case EACCES:
        return 1;
    case EDQUOT:
    case EFBIG:
        return 28;
    default:
        return 5;
    }
}

int nbd_error_to_errno(uint32_t error)
{
    if (error == 0) {
        return 0;
    }
    for (unsigned i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        if (errors[i].number == error) {
            return -errors[i].error;
        }
    }
    return -EIO;
}

const char *nbd_option_name(uint32_t option)
{
    static const char *const names[] = {
        [NBD_OPT_EXPORT_NAME] = "NBD_OPT_EXPORT_NAME",
        [NBD_OPT_ABORT] = "NBD_OPT_ABORT",
        [NBD_OPT_LIST] = "NBD_OPT_LIST",
        [NBD_OPT_STARTTLS] = "NBD_OPT_STARTTLS",
        [NBD_OPT_INFO] = "NBD_OPT_INFO",
        [NBD_OPT_GO] = "NBD_OPT_GO",
        [NBD_OPT_STRUCTURED_REPLY] = "NBD_OPT_STRUCTURED_REPLY",
        [NBD_OPT_LIST_META_CONTEXT] = "NBD_OPT_LIST_META_CONTEXT",
        [NBD_OPT_SET_META_CONTEXT] = "NBD_OPT_SET_META_CONTEXT",
    };
    size_t count = sizeof(names) / sizeof(names[0]);
    return option < count && names[option] ? names[option] : "unknown option";
}

const char *nbd_option_error_text(uint32_t type)
{
    static const char *const texts[] = {
        "unknown error",
        "the server does not support it",
        "the server's policy forbids it",
        "the server calls it invalid",
        "the server's platform does not support it",
        "the server requires TLS",
        "the server has no such export",
        "the server is shutting down",
        "the server requires a client that heeds its block sizes",
        "the request is too big for the server",
    };
    uint32_t index = type & ~NBD_REP_ERROR_BIT;
    return texts[index < sizeof(texts) / sizeof(texts[0]) ? index : 0];
}
