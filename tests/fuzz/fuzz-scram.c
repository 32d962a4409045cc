/* What a client may say to SCRAM: two messages, parted by a newline, to a fixed store; and the
 * same bytes from a server to our client.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "rpc/scram.h"

#include <glib/gstdio.h>
#include <stdint.h>
#include <string.h>

/* User "user", password "pencil", the salt of RFC 7677. */
#define ENTRY                                                                                      \
    "user 4096 W22ZaJ0SNY7soEsUEjb6gQ== WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY= "             \
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=\n"

static ScramStore *make_store(void)
{
    g_autofree char *path = NULL;
    int fd = g_file_open_tmp("fuzz-scram-XXXXXX", &path, NULL);
    g_close(fd, NULL);
    g_file_set_contents(path, ENTRY, -1, NULL);
    g_chmod(path, 0600);
    ScramStore *store = scram_store_load(path, NULL);
    g_unlink(path);
    return store;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static ScramStore *store;
    if (!store) {
        store = make_store();
    }
    ScramServer *server = scram_server_new(store);
    const char *text = (const char *)data;
    const char *split = size ? memchr(text, '\n', size) : NULL;
    size_t first = split ? (size_t)(split - text) : size;
    char *reply = NULL;
    bool complete = false;
    if (scram_server_step(server, text, first, &reply, &complete, NULL)) {
        g_clear_pointer(&reply, g_free);
        if (split) {
            scram_server_step(server, split + 1, size - first - 1, &reply, &complete, NULL);
        }
    }
    g_free(reply);
    scram_server_free(server);

    ScramClient *client = scram_client_new("user", "pencil");
    G_GNUC_UNUSED g_autofree char *hello = scram_client_first(client, NULL);
    char *answer = NULL;
    scram_client_step(client, text, size, &answer, NULL);
    g_free(answer);
    scram_client_free(client);
    return 0;
}
