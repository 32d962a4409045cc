/* Fuzz target: what an agent inside a guest sends, in pieces of any size.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/agent-reader.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AgentReader reader;
    size_t piece = size ? data[0] % 64u + 1 : 1;
    agent_reader_init(&reader, 7);
    for (size_t at = 0; at < size; at += piece) {
        size_t part = size - at < piece ? size - at : piece;
        if (!agent_reader_add(&reader, data + at, part, NULL)) {
            break;
        }
        JsonObject *answer = agent_reader_take(&reader, NULL);
        if (answer) {
            json_peer_string(json_peer_object(answer, "error"), "desc");
            json_object_unref(answer);
        }
    }
    agent_reader_done(&reader);
    return 0;
}
