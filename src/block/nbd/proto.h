/* The wire format of NBD, for the client and the server: numbers, names and headers.
 *
 * Source: "The NBD protocol" (doc/proto.md of NetworkBlockDevice/nbd): fixed newstyle negotiation,
 * structured replies, metadata contexts. Leaves out: extended headers, resize.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_BLOCK_NBD_PROTO_H
#define LODGE_BLOCK_NBD_PROTO_H

#include <stdbool.h>
#include <stdint.h>

/* Limits of both sides */
#define NBD_DEFAULT_PORT "10809"
#define NBD_NAME_MAX 4096                 /* bytes of a name of an export or context */
#define NBD_OPTION_MAX (64u << 10)        /* bytes of data of an option or its reply */
#define NBD_PAYLOAD_MAX (32u << 20)       /* bytes that one read or write carries */
#define NBD_STATUS_PAYLOAD_MAX (1u << 20) /* bytes of a block status chunk */
#define NBD_ERROR_TEXT_MAX 4096
#define NBD_HANDSHAKE_SECONDS 10

/* Negotiation */
#define NBD_MAGIC UINT64_C(0x4e42444d41474943)
#define NBD_OPTION_MAGIC UINT64_C(0x49484156454f5054)
#define NBD_OLDSTYLE_MAGIC UINT64_C(0x00420281861253)
#define NBD_OPTION_REPLY_MAGIC UINT64_C(0x0003e889045565a9)

enum { NBD_FLAG_FIXED_NEWSTYLE = 1, NBD_FLAG_NO_ZEROES = 2 };

typedef enum NbdOption {
    NBD_OPT_EXPORT_NAME = 1,
    NBD_OPT_ABORT = 2,
    NBD_OPT_LIST = 3,
    NBD_OPT_STARTTLS = 5,
    NBD_OPT_INFO = 6,
    NBD_OPT_GO = 7,
    NBD_OPT_STRUCTURED_REPLY = 8,
    NBD_OPT_LIST_META_CONTEXT = 9,
    NBD_OPT_SET_META_CONTEXT = 10,
} NbdOption;

#define NBD_REP_ERROR_BIT (1u << 31)
enum {
    NBD_REP_ACK = 1,
    NBD_REP_SERVER = 2,
    NBD_REP_INFO = 3,
    NBD_REP_META_CONTEXT = 4,
};
#define NBD_REP_ERR_UNSUP (NBD_REP_ERROR_BIT | 1)
#define NBD_REP_ERR_POLICY (NBD_REP_ERROR_BIT | 2)
#define NBD_REP_ERR_INVALID (NBD_REP_ERROR_BIT | 3)
#define NBD_REP_ERR_PLATFORM (NBD_REP_ERROR_BIT | 4)
#define NBD_REP_ERR_TLS_REQD (NBD_REP_ERROR_BIT | 5)
#define NBD_REP_ERR_UNKNOWN (NBD_REP_ERROR_BIT | 6)
#define NBD_REP_ERR_SHUTDOWN (NBD_REP_ERROR_BIT | 7)
#define NBD_REP_ERR_BLOCK_SIZE_REQD (NBD_REP_ERROR_BIT | 8)
#define NBD_REP_ERR_TOO_BIG (NBD_REP_ERROR_BIT | 9)

enum {
    NBD_INFO_EXPORT = 0,
    NBD_INFO_NAME = 1,
    NBD_INFO_DESCRIPTION = 2,
    NBD_INFO_BLOCK_SIZE = 3,
};

/* What an export can do */
enum {
    NBD_CAN_FLAGS = 1u << 0,
    NBD_IS_READ_ONLY = 1u << 1,
    NBD_CAN_FLUSH = 1u << 2,
    NBD_CAN_FUA = 1u << 3,
    NBD_CAN_TRIM = 1u << 5,
    NBD_CAN_WRITE_ZEROES = 1u << 6,
    NBD_CAN_DF = 1u << 7,
    NBD_CAN_MULTI_CONN = 1u << 8,
    NBD_CAN_CACHE = 1u << 10,
    NBD_CAN_FAST_ZERO = 1u << 11,
};

/* Requests and replies */
#define NBD_REQUEST_MAGIC 0x25609513u
#define NBD_SIMPLE_REPLY_MAGIC 0x67446698u
#define NBD_STRUCTURED_REPLY_MAGIC 0x668e33efu

typedef enum NbdCommand {
    NBD_CMD_READ = 0,
    NBD_CMD_WRITE = 1,
    NBD_CMD_DISC = 2,
    NBD_CMD_FLUSH = 3,
    NBD_CMD_TRIM = 4,
    NBD_CMD_CACHE = 5,
    NBD_CMD_WRITE_ZEROES = 6,
    NBD_CMD_BLOCK_STATUS = 7,
} NbdCommand;

enum {
    NBD_CMD_FLAG_FUA = 1u << 0,
    NBD_CMD_FLAG_NO_HOLE = 1u << 1,
    NBD_CMD_FLAG_DF = 1u << 2,
    NBD_CMD_FLAG_REQ_ONE = 1u << 3,
    NBD_CMD_FLAG_FAST_ZERO = 1u << 4,
};

enum { NBD_CHUNK_DONE = 1 };

#define NBD_CHUNK_ERROR_BIT (1u << 15)
enum {
    NBD_CHUNK_NONE = 0,
    NBD_CHUNK_OFFSET_DATA = 1,
    NBD_CHUNK_OFFSET_HOLE = 2,
    NBD_CHUNK_BLOCK_STATUS = 5,
    NBD_CHUNK_ERROR = NBD_CHUNK_ERROR_BIT | 1,
    NBD_CHUNK_ERROR_OFFSET = NBD_CHUNK_ERROR_BIT | 2,
};

/* Flags of the context base:allocation */
enum { NBD_STATE_HOLE = 1, NBD_STATE_ZERO = 2 };
/* Of qemu:dirty-bitmap:NAME */
enum { NBD_STATE_DIRTY = 1 };
#define NBD_CONTEXT_ALLOCATION "base:allocation"
#define NBD_CONTEXT_DEPTH "qemu:allocation-depth"
#define NBD_CONTEXT_BITMAP "qemu:dirty-bitmap:"

/* Headers as they travel: numbers are big-endian, without gaps. */
#define NBD_REQUEST_BYTES 28
typedef struct NbdRequest {
    uint16_t flags, command;
    uint64_t cookie, offset;
    uint32_t length;
} NbdRequest;

void nbd_request_pack(const NbdRequest *request, uint8_t bytes[NBD_REQUEST_BYTES]);
/* False: no request. */
bool nbd_request_unpack(const uint8_t bytes[NBD_REQUEST_BYTES], NbdRequest *out_request);

#define NBD_SIMPLE_REPLY_BYTES 16
void nbd_simple_reply_pack(uint8_t bytes[NBD_SIMPLE_REPLY_BYTES], uint32_t error, uint64_t cookie);

#define NBD_CHUNK_BYTES 20
typedef struct NbdChunk {
    uint16_t flags, type;
    uint64_t cookie;
    uint32_t length; /* bytes behind the header */
} NbdChunk;

void nbd_chunk_pack(const NbdChunk *chunk, uint8_t bytes[NBD_CHUNK_BYTES]);
/* The magic was looked at. */
void nbd_chunk_unpack(const uint8_t bytes[NBD_CHUNK_BYTES], NbdChunk *out_chunk);

#define NBD_OPTION_BYTES 16 /* magic, option, length */
void nbd_option_pack(uint8_t bytes[NBD_OPTION_BYTES], uint32_t option, uint32_t length);

#define NBD_OPTION_REPLY_BYTES 20 /* magic, option, type, length */
void nbd_option_reply_pack(uint8_t bytes[NBD_OPTION_REPLY_BYTES], uint32_t option, uint32_t type,
                           uint32_t length);

/* Errors travel as numbers of their own. @result: -errno or 0. */
uint32_t nbd_error_from_errno(int result);
int nbd_error_to_errno(uint32_t error);

/* "NBD_OPT_GO" and its kin, for messages; "unknown option". Static. */
const char *nbd_option_name(uint32_t option);
const char *nbd_option_error_text(uint32_t type);

#endif
