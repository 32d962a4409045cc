/* Fuzz target: what a daemon, or whoever sits in its place, answers to our client. The first byte
 * chooses the call; the rest is the payload of its reply, with a header that fits or (odd second
 * byte) as it is.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "client/rpc-client.h"
#include "rpc/message.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void send_all(int fd, const void *bytes, size_t size)
{
    if (size && send(fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        return;
    }
}

/* A reply to the first call of a connection, whose serial is 0. */
static void send_reply(int fd, uint32_t procedure, uint8_t kind, const uint8_t *data, size_t size)
{
    const uint32_t words[] = { htonl((uint32_t)(RPC_MESSAGE_MIN + size)),
                               htonl(0x20008086u),
                               htonl(1),
                               htonl(procedure),
                               htonl(kind & 4 ? RPC_MESSAGE : RPC_REPLY),
                               htonl(0),
                               htonl(kind & 2 ? RPC_ERROR : RPC_OK) };
    send_all(fd, words, sizeof(words));
    send_all(fd, data, size);
}

static void call(RpcClient *client, unsigned which, Arena *arena)
{
    RemoteConnectGetLibVersionRet version;
    RemoteConnectListAllDomainsRet domains;
    RemoteDomainGetXmlDescRet xml;
    RemoteConnectListAllDomainsArgs list = { .need_results = 1 };
    RemoteDomainGetXmlDescArgs description = { .dom = { .name = "a", .id = 1 } };
    switch (which % 3) {
    case 0:
        remote_connect_get_lib_version(client, arena, &version, NULL);
        break;
    case 1:
        remote_connect_list_all_domains(client, &list, arena, &domains, NULL);
        break;
    default:
        remote_domain_get_xml_desc(client, &description, arena, &xml, NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint32_t procedures[] = { REMOTE_PROC_CONNECT_GET_LIB_VERSION,
                                           REMOTE_PROC_CONNECT_LIST_ALL_DOMAINS,
                                           REMOTE_PROC_DOMAIN_GET_XML_DESC };
    int fds[2];
    Arena arena;
    if (size < 2 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
        return 0;
    }
    if (data[1] & 1) {
        send_all(fds[1], data + 2, size - 2);
    } else {
        send_reply(fds[1], procedures[data[0] % 3], data[1], data + 2, size - 2);
    }
    shutdown(fds[1], SHUT_WR);
    const RpcClientOptions options = { .passes_fds = true };
    RpcClient *client = rpc_client_new(fds[0], &options, NULL);
    arena_init(&arena, 1u << 20);
    if (client) {
        call(client, data[0], &arena);
    }
    rpc_client_free(client);
    arena_clear(&arena);
    close(fds[1]);
    return 0;
}
