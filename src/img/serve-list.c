/* lodge-img serve --list: the exports of another NBD server, in the words of qemu-nbd -L.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/nbd/address.h"
#include "block/nbd/handshake.h"
#include "block/nbd/proto.h"
#include "gbase/error.h"
#include "img/serve.h"

#include <inttypes.h>
#include <stdio.h>

static NbdChannel *connect_to(const NbdAddress *address, GError **error)
{
    int fd = nbd_address_connect(address, 0, error);
    return fd < 0 ? NULL : nbd_channel_new(fd);
}

static void print_flags(uint16_t flags)
{
    static const struct {
        uint16_t flag;
        const char *name;
    } names[] = {
        { NBD_IS_READ_ONLY, "readonly" },
        { NBD_CAN_FLUSH, "flush" },
        { NBD_CAN_FUA, "fua" },
        { NBD_CAN_TRIM, "trim" },
        { NBD_CAN_WRITE_ZEROES, "zeroes" },
        { NBD_CAN_DF, "df" },
        { NBD_CAN_MULTI_CONN, "multi" },
        { NBD_CAN_CACHE, "cache" },
        { NBD_CAN_FAST_ZERO, "fast-zero" },
    };
    printf("  flags: 0x%x (", flags);
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        if (flags & names[i].flag) {
            printf(" %s", names[i].name);
        }
    }
    printf(" )\n");
}

static bool print_export(const NbdAddress *address, NbdWish *wish, const NbdListed *listed,
                         GError **error)
{
    NbdFacts facts;
    g_autoptr(GPtrArray) contexts = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(NbdChannel) channel = connect_to(address, error);
    wish->export_name = listed->name;
    if (!channel || !nbd_describe(channel, wish, &facts, contexts, error)) {
        return false;
    }
    printf(" export: '%s'\n", listed->name);
    if (listed->description) {
        printf("  description: %s\n", listed->description);
    }
    printf("  size:  %" PRIu64 "\n", facts.size);
    print_flags(facts.flags);
    if (facts.preferred_block) {
        printf("  min block: %" PRIu32 "\n  opt block: %" PRIu32 "\n  max block: %" PRIu32 "\n",
               facts.min_block, facts.preferred_block, facts.max_block);
    }
    if (contexts->len) {
        printf("  available meta contexts: %u\n", contexts->len);
    }
    for (unsigned i = 0; i < contexts->len; i++) {
        printf("   %s\n", (const char *)contexts->pdata[i]);
    }
    return true;
}

static bool find_server(const ImgArgs *args, NbdAddress *address)
{
    const char *path = img_args_value(args, "socket"), *host = img_args_value(args, "bind");
    const char *port = img_args_value(args, "port");
    if (path && (port || host)) {
        img_error("-k excludes -p and -b: the server listens at one place");
        return false;
    }
    *address = (NbdAddress){ .path = g_strdup(path), .export_name = g_strdup("") };
    if (!path) {
        address->host = g_strdup(host ? host : "localhost");
        address->port = g_strdup(port ? port : NBD_DEFAULT_PORT);
    }
    return true;
}

static bool list(const NbdAddress *address, NbdTls *tls, GError **error)
{
    NbdWish wish = { .export_name = "", .tls = tls, .tls_host = address->host };
    g_autoptr(NbdChannel) channel = connect_to(address, error);
    g_autoptr(GArray) exports = channel ? nbd_list(channel, &wish, error) : NULL;
    if (!exports) {
        return false;
    }
    printf("exports available: %u\n", exports->len);
    for (unsigned i = 0; i < exports->len; i++) {
        if (!print_export(address, &wish, &g_array_index(exports, NbdListed, i), error)) {
            return false;
        }
    }
    return true;
}

int img_serve_list(const ImgArgs *args, NbdTls *tls)
{
    GError *error = NULL;
    NbdAddress address;
    if (!find_server(args, &address)) {
        return 1;
    }
    bool ok = list(&address, tls, &error);
    nbd_address_clear(&address);
    return ok ? 0 : img_fail(error);
}
