/* What a guest's monitor or agent sends.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/json-peer.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    JsonLines lines;
    json_lines_init(&lines, 4096);
    for (size_t at = 0; at < size; at += 100) {
        if (!json_lines_add(&lines, data + at, MIN(100, size - at), NULL)) {
            break;
        }
        char *line;
        gsize length;
        while ((line = json_lines_take(&lines, &length))) {
            JsonObject *object = json_peer_parse(line, length, NULL);
            if (object) {
                json_peer_string(object, "event");
                json_peer_int(object, "id", 0);
                json_peer_object(object, "data");
                json_object_unref(object);
            }
            g_free(line);
        }
    }
    json_lines_done(&lines);
    return 0;
}
